"""A stock exchange with 100,000 events: traders, a gateway, an engine, clearing, risk and a bank.

One tick is a second. Evidence: bare actions, neither spans nor causes.
"""

from __future__ import annotations

import math
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SYMBOLS = ("AKR", "BEX", "CLO", "DUN", "EFT", "GLM")


class Exchange:
    """The shared books; every agent has a logger."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("flow")
        self.logs = {f"trader_{n:02d}": AgentLogger(f"trader_{n:02d}", "trader") for n in range(1, 31)}
        for agent in ("gateway", "engine", "clearing", "risk", "bank"):
            self.logs[agent] = AgentLogger(agent, agent)
        self.system = SystemLogger()
        self.cash = dict.fromkeys([name for name in self.logs if name.startswith("trader")], 50_000)
        self.number = self.rng.randint(10**5, 9 * 10**5)
        self.carry = self.excess = 0.0
        self.rounds_up = False
        self.resting: dict[int, list[dict[str, Any]]] = {}

    def act(self, agent: str, name: str, **data: object) -> str:
        """Record one action."""
        return self.logs[agent].log_action(name, data)

    def trade(self, buyer: str, seller: str) -> None:
        """One everyday trade with its fee."""
        rng = self.rng
        self.number += 1
        order, symbol = f"O{self.number}", rng.choice(SYMBOLS)
        shares, price = rng.randint(1, 90), round(rng.uniform(20, 60), 2)
        self.act(buyer, "submit", order=order, symbol=symbol, shares=shares, price=price)
        self.act("gateway", "forward", order=order, trader=buyer, part=1)
        if rng.random() < 0.004:
            self.logs["gateway"].warning("duplicate dropped", {"order": order})
        if rng.random() < 0.004:
            self.logs["gateway"].log_action("forward", {"order": order, "trader": buyer, "part": 1})
            self.act("engine", "ignore_duplicate", order=order)
        self.act("engine", "fill", order=order, buyer=buyer, seller=seller, shares=shares)
        exact = shares * price * 0.0007 * 100
        fee = math.ceil(exact) if self.rounds_up else round(exact + self.carry)
        self.carry = 0.0 if self.rounds_up else self.carry + exact - fee
        self.excess += fee - exact
        event = self.act(
            "clearing", "charge_fee", order=order, notional=round(shares * price, 2), fee_cents=fee
        )
        if self.rounds_up and len(self.case.roots) < 3:
            self.case.root(event)

    def move_cash(self, account: str, amount: int, *, stale: bool, fixed: bool = False) -> str:
        """A deposit, and the interest that risk books on the same account at the same moment."""
        before = self.cash[account]
        if stale:
            self.act("risk", "read_balance", account=account, balance=before)
        self.cash[account] += amount
        self.act("bank", "deposit", account=account, amount=amount, balance=self.cash[account])
        if not stale:
            self.act("risk", "read_balance", account=account, balance=self.cash[account])
        self.cash[account] = (before if stale else self.cash[account]) + 3
        wrote = self.act("risk", "write_balance", account=account, balance=self.cash[account])
        if fixed:  # seen and booked again
            self.cash[account] += amount
            self.act("bank", "deposit", account=account, amount=amount, balance=self.cash[account])
        return wrote

    def rest(
        self, trader: str, wanted: int, due: int, *, swapped: bool = False, doubled: bool = False
    ) -> list[str]:
        """An order that waits for its price until `due`, amended twice on the way in."""
        self.number += 1
        order = f"O{self.number}"
        self.act(
            trader, "submit", order=order, symbol=self.rng.choice(SYMBOLS), shares=wanted * 9, price=19.5
        )
        events = [self.act("gateway", "forward", order=order, trader=trader, part=1)]
        self.act("engine", "enter", order=order, shares=wanted * 9)
        sizes = {2: wanted * 10, 3: wanted}
        for part, shares in sizes.items():
            self.act(trader, "amend", order=order, shares=shares, part=part)
        applied = wanted
        for part in (3, 2) if swapped else (2, 3):
            events.append(self.act("gateway", "forward", order=order, trader=trader, part=part))
            events.append(self.act("engine", "amend", order=order, shares=sizes[part]))
            applied = sizes[part]
        if doubled:
            events.append(self.act("gateway", "forward", order=order, trader=trader, part=3))
            events.append(self.act("engine", "enter", order=order, shares=wanted))
            applied += wanted
        self.resting.setdefault(due, []).append(
            {"order": order, "trader": trader, "wanted": wanted, "shares": applied}
        )
        return events

    def fill_resting(self, now: int) -> None:
        """Fill the waiting orders that are due; each trader compares what was booked with what was wanted."""
        due = self.resting.pop(now, ())
        if due:
            touched = self.act("engine", "price_touches", price=19.5)
            if any(entry["shares"] != entry["wanted"] for entry in due):
                self.case.trigger(touched)
        for entry in due:
            filled = self.act(
                "engine", "fill", order=entry["order"], buyer=entry["trader"], shares=entry["shares"]
            )
            booked = self.act(
                "clearing", "book", order=entry["order"], account=entry["trader"], shares=entry["shares"]
            )
            order, trader = entry["order"], entry["trader"]
            seen = self.act(trader, "reconcile", order=order, wanted=entry["wanted"], booked=entry["shares"])
            if entry["shares"] != entry["wanted"]:
                self.case.hop(filled, booked)
                self.case.symptom(
                    seen,
                    f"order {order} bought {entry['shares']} shares instead of {entry['wanted']}",
                    f"{trader} has too many shares after {order}, he wanted {entry['wanted']}",
                    f"position of {trader} is wrong, see {order}",
                )


def play(case: Case) -> None:
    """Play one session of the exchange."""
    market = Exchange(case)
    rng = market.rng
    seconds = 400
    begin, end = case.window(seconds)
    traders = sorted(market.cash)
    rng.shuffle(traders)
    victim, others = traders[-1], traders[:-1]
    limit = 0.45 * 62 * (end - begin)
    for now in range(seconds):
        with tick(now):
            if rng.random() < 0.1:
                market.system.log_config(
                    rng.choice(("heartbeat_ms", "log_level", "ticker_font", "page")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if now == case.decoy_at or rng.random() < 0.02:
                market.act("engine", "rotate_log", file=rng.randint(1, 99))
            if case.has("rounding_leak") and now == begin:
                market.rounds_up = case.strikes("rounding_leak")
            for _ in range(rng.randint(54, 70)):
                market.trade(*rng.sample(traders, 2))
            if rng.random() < 0.3:
                stale = rng.random() < 0.2
                market.move_cash(rng.choice(others), 1000 * rng.randint(1, 9), stale=stale, fixed=stale)
            if rng.random() < 0.02:
                market.move_cash(victim, 100 * rng.randint(1, 9), stale=False)
            if rng.random() < 0.3:
                market.rest(rng.choice(traders), rng.randint(5, 60), now + rng.randint(1, 120))
            if rng.random() < 0.1:
                market.logs["gateway"].error("session reset, resumed", {"trader": rng.choice(others)})
            _planned(case, market, now, victim)
            market.fill_resting(now)
            if now % 2 == 0:
                account = rng.choice(others)
                market.act(
                    "clearing",
                    "check_funds",
                    account=account,
                    needed=20_000,
                    balance=market.cash[account],
                    ok=True,
                )
            seen = market.act("trader_07", "check_fees", paid_too_much_cents=round(max(0.0, market.excess)))
            if market.excess > limit and case.has("rounding_leak"):
                case.symptom(
                    seen,
                    "the fees on our statement are higher than 0.07 percent of what we traded",
                    "why do we pay more fees than agreed? The gateway confirmed all orders",
                    "fee total is too high, trader_07 complains",
                )


def _planned(case: Case, market: Exchange, now: int, victim: str) -> None:
    """Do what the plan has for this second, with the fault or without it."""
    if now == case.begin:
        if case.has("lost_update"):
            wrote = market.move_cash(victim, 40_000, stale=case.strikes("lost_update"))
            case.root(wrote)
        elif case.has("out_of_order"):
            events = market.rest(victim, 40, case.end, swapped=case.strikes("out_of_order"))
            case.root(*events[1:])
        elif case.has("doubled_act"):
            events = market.rest(victim, 40, case.end, doubled=case.strikes("doubled_act"))
            case.root(*events[5:] or events)
    if now == case.end and case.has("lost_update"):
        market.number += 1
        order, balance = f"O{market.number}", market.cash[victim]
        asked = market.act(victim, "submit", order=order, symbol="AKR", shares=1500, price=50.0)
        checked = market.act(
            "clearing", "check_funds", account=victim, needed=75_000, balance=balance, ok=balance >= 75_000
        )
        if balance < 75_000:
            case.hop(asked, checked)
            case.symptom(
                market.act(victim, "order_refused", order=order, reason="funds"),
                f"{order} was refused for lack of funds, although {victim} had paid in enough",
                f"why was {order} refused? There should be 90000 on the account",
                f"{order} refused by the exchange",
            )


WORLD = World("exchange", "bare", ("lost_update", "out_of_order", "rounding_leak", "doubled_act"), play)
