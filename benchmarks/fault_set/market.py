"""A market: traders buy and sell one good at an exchange, on quotes of a feed and share accounts."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_set.case import Plan, Truth, World


class Rejected(Exception):
    """The exchange did not take an order."""


class Exchange:
    """Executes orders at the current price and takes a fee."""

    def __init__(self) -> None:
        self.agent_id = "exchange"
        self.logger = AgentLogger("exchange", "venue")
        self.price = 100.0
        self.fee_rate = 0.001
        self.orders = 0

    def execute(self, side: int, limit: float, stamp: int, now: int) -> float:
        """The price paid; Rejected where the order is out of time or too far off."""
        self.orders += 1
        if stamp != now:
            raise Rejected(f"order stamped {stamp} at {now}")
        if abs(limit - self.price) > 0.06 * self.price:
            raise Rejected(f"limit {limit:.2f} too far from the market")
        return self.price

    @trace_agent_action()
    def close_round(self, price: float) -> dict[str, float]:
        """The end of a round: the next price stands."""
        self.price = price
        return {"price": price, "orders": self.orders}


class Desk:
    """An account that the traders of a desk share."""

    def __init__(self, number: int) -> None:
        self.name = f"desk_{number}"
        self.balance = 10_000.0
        self.booked: list[float] = []


class Trader:
    """Buys below its moving average and sells above."""

    def __init__(self, agent_id: str, plan: Plan, exchange: Exchange) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "trader")
        self.learning = LearningLogger("trading", agent_id)
        self.rng = plan.chance(agent_id)
        self._exchange = exchange
        self.version = "2.0"
        self.quote = 100.0
        self.quoted_at = 0
        self.cache_ttl = 1
        self.clock_offset = 0
        self.outlook = "0.0"
        self.average = 100.0
        self.profit = 0.0

    @trace_agent_action()
    def set_cache(self, ttl: int) -> int:
        """How many rounds a quote is used for."""
        self.cache_ttl = ttl
        return ttl

    @trace_agent_action()
    def sync_clock(self, reference: int, local: int) -> int:
        """Corrects the own clock by what a reference says."""
        self.clock_offset = reference - local
        return self.clock_offset

    @trace_agent_action()
    def upgrade(self, version: str) -> str:
        """Takes another version of the strategy."""
        self.version = version
        return version

    @trace_agent_action()
    def read_news(self, message: Any) -> None:
        """Takes the outlook from the news."""
        self.logger.receive(message)
        self.outlook = message.body["impact"]

    @trace_agent_action()
    def trade(self, now: int) -> float:
        """One order; gives what it earned against the market's fair price."""
        if now - self.quoted_at >= self.cache_ttl:
            self.quote, self.quoted_at = self._exchange.price, now
        bias = float(self.outlook)
        side = 1 if self.quote * (1 + bias) < self.average else -1
        self.average += 0.1 * (self.quote - self.average)
        limit = self.quote * (1 + self.rng.uniform(-0.002, 0.002))
        if self.version == "2.1":
            limit -= side * round(limit * 0.03)
        paid = self._exchange.execute(side, limit, now + self.clock_offset, now)
        slip = abs(limit - paid) if self.version == "2.1" else 0.0
        return round(self.rng.gauss(0.5, 0.4) - slip - paid * self._exchange.fee_rate, 4)

    @trace_agent_action()
    def look_up_account(self, desk: str, balance: float) -> float:
        """The balance of the desk, as it stands now."""
        return balance

    @trace_agent_action()
    def book(self, desk: str, amount: float, balance: float) -> float:
        """The desk's new balance."""
        return round(balance + amount, 2)


def _round(plan: Plan, traders: list[Trader], now: int) -> dict[str, float]:
    """All traders trade; gives what each earned."""
    earned: dict[str, float] = {}
    for trader in traders:
        try:
            gain = trader.trade(now)
        except Rejected:
            gain = -1.0
        except ValueError:
            gain = -1.5
        earned[trader.agent_id] = gain
        trader.profit = round(trader.profit + gain, 4)
        trader.learning.log_reward("trade", gain, trader.profit)
    return earned


def _settle(plan: Plan, desk: Desk, team: list[Trader], earned: dict[str, float], overlap: bool) -> None:
    """Each trader books what it earned on the desk's account."""
    amounts = {trader.agent_id: round(100 * earned[trader.agent_id], 2) for trader in team}
    if overlap:  # all look before one has written
        seen = [(trader, trader.look_up_account(desk.name, desk.balance)) for trader in team]
        for trader, balance in seen:
            desk.balance = trader.book(desk.name, amounts[trader.agent_id], balance)
    else:
        for trader in team:
            balance = trader.look_up_account(desk.name, desk.balance)
            desk.balance = trader.book(desk.name, amounts[trader.agent_id], balance)
    desk.booked += amounts.values()


def run(plan: Plan, truth: Truth) -> None:
    """One session of the market."""
    system, exchange = SystemLogger("market"), Exchange()
    press = AgentLogger("press", "press")
    auditor = AgentLogger("auditor", "auditor")
    desks = [Desk(number) for number in range(plan.size // 2)]
    teams: dict[str, list[Trader]] = {desk.name: [] for desk in desks}
    traders = []
    for number in range(plan.size):
        traders.append(Trader(plan.name("trader", number), plan, exchange))
        teams[desks[min(number // 2, len(desks) - 1)].name].append(traders[-1])
    victim = traders[plan.victim]
    prices = plan.chance("prices")
    system.log_simulation_start("market", {"traders": plan.size, "fee_rate": exchange.fee_rate})
    for trader in traders:
        trader.set_cache(ttl=1)
    price, calm = 100.0, plan.ticks // 4
    for now in range(plan.ticks):
        with tick(now):
            if now == calm:
                system.log_config("report_every", 20, 10)
                for trader in traders[1::3]:
                    trader.upgrade("2.0.1")
            if plan.begins("wrong_configuration", now):
                new = plan.rng.randint(2, 6) / 100
                truth.note(system.log_config("fee_rate", exchange.fee_rate, new))
                exchange.fee_rate = new
            if now % 9 == 4:
                traders[now % plan.size].sync_clock(reference=now, local=now)
            if now % 12 == 5:
                reader = traders[(now * 7) % plan.size]
                impact = f"{prices.uniform(-0.01, 0.01):.3f}"
                reader.read_news(press.send(reader.agent_id, {"impact": impact}))
            _plant(plan, truth, now, traders, press)
            earned = _round(plan, traders, now)
            for desk in desks:
                team = teams[desk.name]
                overlap = plan.begins("lost_update", now) and victim in team
                _settle(plan, desk, team, earned, overlap)
                if overlap:
                    for trader in team:
                        truth.seek(trader.agent_id, "look_up_account", now)
                        truth.seek(trader.agent_id, "book", now)
            if now % 10 == 9:
                _audit(desks, auditor)
            price = round(max(60.0, price * (1 + prices.gauss(0.003, 0.006))), 3)
            exchange.close_round(price)
    system.log_simulation_end("market", "finished")


def _audit(desks: list[Desk], auditor: AgentLogger) -> None:
    for desk in desks:
        difference = round(10_000.0 + sum(desk.booked) - desk.balance, 2)
        if abs(difference) > 0.5:
            auditor.error("the account does not add up", extra={"desk": desk.name, "difference": difference})
        else:
            auditor.log_action("audit", {"desk": desk.name, "balance": desk.balance})


def _plant(plan: Plan, truth: Truth, now: int, traders: list[Trader], press: AgentLogger) -> None:
    victim = traders[plan.victim]
    if plan.begins("stale_cache", now):
        victim.set_cache(ttl=900)
        truth.seek(victim.agent_id, "set_cache", now)
    if plan.begins("off_by_one_in_time", now):
        victim.sync_clock(reference=now + 1, local=now)
        truth.seek(victim.agent_id, "sync_clock", now, contains=f'"reference": {now + 1}')
    if plan.begins("poisoned_message", now):
        message = press.send(victim.agent_id, {"impact": "n/a"})
        victim.read_news(message)
        truth.note(message.event_id)
        truth.seek_event(victim.agent_id, "agent_message", now, contains=message.id)
        truth.seek(victim.agent_id, "read_news", now, contains="n/a")
    if plan.begins("bad_rollout", now):
        for trader in traders[:: 2 + plan.victim % 2]:
            trader.upgrade("2.1")
            truth.seek(trader.agent_id, "upgrade", now)


WORLD = World(
    name="market",
    run=run,
    prefix="trader",
    sizes=(10, 16),
    ticks=(50, 80),
    complaints={
        "wrong_configuration": "The traders used to make a profit, now all of them lose money. Why?",
        "stale_cache": "{victim} hardly gets an order through towards the end, the exchange turns it away",
        "off_by_one_in_time": "orders of {victim} are rejected all the time",
        "poisoned_message": "{victim} crashes with ValueError whenever it should trade",
        "lost_update": "the account of a desk does not add up any more, money has vanished",
        "bad_rollout": "Some of the traders earn much less than the others since about tick {when}",
    },
)
