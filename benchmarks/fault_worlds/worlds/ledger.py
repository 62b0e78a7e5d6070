"""A bank's ledger. Programs post, read and write balances in cents; plain actions, and no ticks."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from Agent import AgentLogger
from benchmarks.fault_worlds.kit import Case, World

ROUNDS = 160
TELLERS = ("teller_ines", "teller_marek", "teller_sofia")
GROUPS = ("savers", "pupils", "clubs", "farms", "clinics", "choirs", "ferries")


class Ledger:
    """Balances in cents, and the programs that change them.

    Each account of a group earns interest in fractions of a cent; what rounding leaves is meant to cancel out.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("customers")
        names = (
            *TELLERS,
            "clearing",
            "card_gate",
            "interest_job",
            "auditor",
            "fx_desk",
            "standing_orders",
            "backup",
        )
        self.log = {name: AgentLogger(name, "teller" if name in TELLERS else "program") for name in names}
        self.balance = {f"acc_{number}": self.rng.randint(20_000, 900_000) for number in range(4000, 4060)}
        self.limit = dict.fromkeys(self.balance, 50_000)
        self.exact = dict.fromkeys(GROUPS, Decimal(0))
        self.paid = dict.fromkeys(GROUPS, 0)
        self.postings = dict.fromkeys(GROUPS, 0)
        self.refs = 0
        case.window(ROUNDS)
        plan = case.rng("plan")
        self.mine = plan.choice(sorted(self.balance)[50:])
        self.group = plan.choice(GROUPS)
        self.teller, self.teller2 = plan.sample(TELLERS, 2)
        known = {"lost_update": 10_000, "wrong_unit": 3_000, "doubled_act": 70_000}
        self.balance[self.mine] = known.get(case.kind, 400_000)

    def some(self) -> str:
        return self.rng.choice(sorted(self.balance)[:50])

    def ref(self) -> str:
        self.refs += 1
        return f"tr{self.refs:06}"

    def transfer(self, account: str, cents: int, ref: str, source: str = "clearing") -> str:
        self.balance[account] += cents
        return self.log[source].log_action(
            "post_transfer",
            {"account": account, "cents": cents, "ref": ref, "balance": self.balance[account]},
        )

    def read(self, who: str, account: str) -> tuple[int, str]:
        value = self.balance[account]
        return value, self.log[who].log_action("read_balance", {"account": account, "balance": value})

    def write(self, who: str, account: str, value: int) -> str:
        self.balance[account] = value
        return self.log[who].log_action("write_balance", {"account": account, "balance": value})

    def set_limit(self, account: str, cents: int, sequence: int) -> str:
        self.limit[account] = cents
        data = {"account": account, "cents": cents, "order": sequence}
        return self.log["card_gate"].log_action("apply_limit", data)

    def order_limit(self, who: str, account: str, cents: int, sequence: int) -> str:
        return self.log[who].log_action(
            "order_limit", {"account": account, "cents": cents, "order": sequence}
        )

    def pay_by_card(self, account: str, cents: int) -> tuple[str, str]:
        self.log["card_gate"].log_action(
            "check_card", {"account": account, "cents": cents, "limit": self.limit[account]}
        )
        if cents > self.limit[account]:
            answer = "over the limit"
        elif cents > self.balance[account]:
            answer = "not enough money"
        else:
            answer = "paid"
            self.balance[account] -= cents
        paid = self.log["clearing"].log_action(
            "settle_card", {"account": account, "cents": cents, "answer": answer}
        )
        return answer, paid

    def interest(self, group: str, truncate: bool) -> None:
        for _ in range(12):
            due = Decimal(self.rng.randint(1_000, 99_999)) / 1000
            cents = int(due.quantize(Decimal(1), ROUND_DOWN if truncate else ROUND_HALF_EVEN))
            self.exact[group] += due
            self.paid[group] += cents
            self.postings[group] += 1
            data = {"group": group, "due_cents": float(due), "paid_cents": cents}
            wrote = self.log["interest_job"].log_action("pay_interest", data)
            wrong = truncate and cents != int(due.quantize(Decimal(1), ROUND_HALF_EVEN))
            if wrong and len(self.case.roots) < 3:
                self.case.root(wrote)

    def audit(self, group: str) -> tuple[bool, str]:
        collected = self.log["backup"].log_action("collect_postings", {"group": group})
        gap = float(round(self.exact[group] - self.paid[group], 3))
        within = abs(gap) <= 0.25 * self.postings[group]
        found = self.log["auditor"].log_action(
            "audit_interest", {"group": group, "gap_cents": gap, "passed": within}
        )
        if group == self.group and self.case.faulty:
            self.case.hop(collected)
        self.exact[group], self.paid[group], self.postings[group] = Decimal(0), 0, 0
        return within, found

    def everyday(self, now: int) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 4)):
            self.transfer(
                self.some(), rng.randint(500, 90_000), self.ref(), rng.choice(("clearing", "standing_orders"))
            )
        for _ in range(rng.randint(1, 2)):
            teller, account = rng.choice(TELLERS), self.some()
            value, _ = self.read(teller, account)
            if rng.random() < 0.6:
                self.write(teller, account, value + rng.randint(-5_000, 20_000))
        if rng.random() < 0.4:
            account, teller = self.some(), rng.choice(TELLERS)
            first = rng.randint(1, 10_000)
            self.order_limit(teller, account, 30_000, first)
            self.order_limit(rng.choice(TELLERS), account, 80_000, first + 1)
            self.set_limit(account, 30_000, first)
            self.set_limit(account, 80_000, first + 1)
        for _ in range(rng.randint(1, 3)):
            self.pay_by_card(self.some(), rng.choice((900, 4_000, 12_500, 26_000, 88_000)))
        if rng.random() < 0.3:
            self.convert(self.some(), rng.randint(20, 900), in_cents=True)
        if rng.random() < 0.25:
            group = rng.choice([group for group in GROUPS if group != self.group])
            self.interest(group, truncate=False)
            self.audit(group)
        if rng.random() < 0.15:
            ref = self.ref()
            self.log["clearing"].error("the file of the central bank was refused, sent again", {"ref": ref})
            self.log["clearing"].log_action("send_file", {"ref": ref, "attempt": 2})
        if rng.random() < 0.15:
            self.log["fx_desk"].log_strategy_update("spread", {"pips": 14}, {"pips": rng.randint(10, 20)})
        self.log["backup"].log_action("save_copy", {"round": now, "accounts": len(self.balance)})

    def convert(self, account: str, euros: int, in_cents: bool) -> str:
        quoted = self.log["fx_desk"].log_action(
            "quote", {"account": account, "pair": "EUR/NOK", "rate": 11.42}
        )
        wrote = self.transfer(account, euros * 100 if in_cents else euros, self.ref(), "fx_desk")
        if not in_cents:
            self.case.root(wrote, quoted)
        return wrote

    # One customer, whose balance and limit are known before: what she has must just be enough.

    def first(self) -> None:
        case, mine = self.case, self.mine
        if case.has("lost_update"):
            seen, looked = self.read(self.teller, mine)
            if not case.strikes("lost_update"):
                self.write(self.teller, mine, seen + 2_000)
                self.transfer(mine, 60_000, self.ref())
            else:
                came = self.transfer(mine, 60_000, self.ref())
                wrote = self.write(self.teller, mine, seen + 2_000)
                case.root(wrote, looked, came)
        elif case.has("wrong_unit"):
            self.convert(mine, 640, in_cents=not case.strikes("wrong_unit"))
        elif case.has("doubled_act"):
            ref = self.ref()
            once = self.transfer(mine, -25_000, ref, "standing_orders")
            if case.strikes("doubled_act"):
                case.root(self.transfer(mine, -25_000, ref, "standing_orders"), once)
        elif case.has("out_of_order"):
            orders = [(20_000, 10_100), (90_000, 10_101)]
            for teller, (cents, sequence) in zip((self.teller, self.teller2), orders, strict=True):
                self.order_limit(teller, mine, cents, sequence)
            reverse = case.strikes("out_of_order")
            applied = [self.set_limit(mine, *order) for order in (orders[::-1] if reverse else orders)]
            if reverse:
                case.root(applied[1], applied[0])

    def second(self) -> None:
        """A teller looks at the account between the first act and the payment."""
        _, looked = self.read(self.teller2, self.mine)
        self.case.hop(looked)

    def final(self) -> None:
        case, mine = self.case, self.mine
        if case.has("rounding_leak"):
            passed, found = self.audit(self.group)
            if not passed:
                case.symptom(
                    found,
                    f"the yearly check of the {self.group} does not come out even",
                    f"auditor reports cents missing from the interest of the {self.group}",
                    f"customers among the {self.group} got less than they were promised; it is in the report of auditor",
                )
            return
        answer, paid = self.pay_by_card(mine, 48_000 if case.kind != "doubled_act" else 44_000)
        case.trigger(paid)
        if answer != "paid":
            case.symptom(
                paid,
                f"the card of {mine} was refused in a shop today",
                f"{mine} could not pay in a shop although her account should be well filled",
                "clearing turned down a customer's payment, and she says there was enough money",
                f"Why did clearing answer '{answer}' for {mine}?",
            )


def play(case: Case) -> None:
    ledger = Ledger(case)
    middle = (case.begin + case.end) // 2
    for now in range(ROUNDS):
        ledger.everyday(now)
        leak = case.has("rounding_leak")
        if leak and case.begin <= now < case.end:
            ledger.interest(ledger.group, truncate=case.faulty)
        if not leak and now == case.begin:
            ledger.first()
        if not leak and now == middle:
            ledger.second()
        if now == case.decoy_at:
            ledger.log["backup"].log_action("move_copies", {"to": "cellar"})
            ledger.log["backup"].warning("the disk of the copies is nearly full", {"free_percent": 4})
        if now == case.end:
            ledger.final()


WORLD = World(
    "ledger",
    "bare",
    ("rounding_leak", "lost_update", "out_of_order", "doubled_act", "wrong_unit"),
    play,
    author=2,
)
