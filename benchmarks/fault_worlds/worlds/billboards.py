"""Screens along the streets learn which advert to show, tills report what was sold, and a media desk keeps plans and accounts.

Learning loggers and plain actions, without ticks and without causes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

BRANDS = ("Lumen", "Lumen Optik", "Nordlys", "Nordlys Tea", "Varga", "Varga Sport", "Pomelo", "Pomelo Bank")
TWINS = {"Lumen Optik": "Lumen", "Nordlys Tea": "Nordlys", "Varga Sport": "Varga", "Pomelo Bank": "Pomelo"}
STREETS = (
    "Mill Lane",
    "Quay",
    "Old Gate",
    "Station",
    "Fair Ground",
    "Hill Stop",
    "Canal",
    "Town Hall",
    "Zoo Gate",
    "Mall",
)
CLERKS, TILLS = ("Yara", "Per", "Simone"), ("till 1", "till 2", "till 3", "till 4")
DESK, CASHIER, HOUSE = "media desk", "cashier", "city clock"
SHOWS, USUAL_CAP, FEE, SLACK, CURIOUS = 6, 12, 400, 100, 0.05


class Screen:
    """A screen that shows the advert which has earned most, and another one now and then."""

    def __init__(self, street: str, adverts: list[str]) -> None:
        self.agent_id = f"screen {street}"
        self.log, self.learning = (
            AgentLogger(self.agent_id, "screen"),
            LearningLogger("bandit", self.agent_id, "screen"),
        )
        self.earned = {HOUSE: 0.0, **dict.fromkeys(adverts, 0.0)}
        self.accounts = {name: name for name in adverts}
        self.promised = ""
        self.shown: Counter[str] = Counter()

    def credit(self, advert: str, show: str, reward: float) -> str:
        """Book a reward for an advert."""
        if advert in self.earned:
            self.earned[advert] += reward
        return self.learning.log_reward(show, reward, self.earned.get(advert))

    def choose(self, roll: float, pick: float, caps: dict[str, int]) -> str:
        """Choose what to show next."""
        allowed = [one for one in self.earned if self.shown[one] < caps.get(one, 99)] or [HOUSE]
        if roll < CURIOUS:
            return allowed[int(pick * len(allowed))]
        return max(allowed, key=lambda one: (self.earned[one], one))


class Streets:
    """All screens, plans and accounts, and the plan of one case."""

    def __init__(self, case: Case, screens: int, rounds: int) -> None:
        self.case, self.now, self.rounds, self.numbers = case, 0, rounds, case.seed % 1000
        rng = case.rng("plan")
        self.brand = rng.choice(list(TWINS))
        self.twin, self.clerk, self.till = TWINS[self.brand], rng.choice(CLERKS), rng.choice(TILLS)
        self.rival = rng.choice([name for name in BRANDS if name not in {self.brand, self.twin}])
        self.third = rng.choice([name for name in BRANDS if name not in {self.brand, self.twin, self.rival}])
        self.screens = [Screen(street, rng.sample(BRANDS, 3)) for street in rng.sample(STREETS, screens)]
        self.mine = self.screens[0]
        self.appeal = {name: rng.uniform(0.15, 0.5) for name in BRANDS}
        self.caps = dict.fromkeys(BRANDS, USUAL_CAP)
        self.logs: dict[str, AgentLogger] = {}
        orders = [self.order_of(now) for now in range(min(rounds, case.end + 1))]
        self.money = dict.fromkeys(BRANDS, 10**6)
        if case.has("doubled_act"):
            self.money[self.brand] = FEE + SLACK + sum(units for name, units in orders if name == self.brand)
        if case.has("config_change"):
            self.mine.earned[self.brand], self.mine.accounts[self.brand] = 30.0 * rounds, self.brand
            self.mine.promised = self.brand

    def do(self, who: str, what: str, /, **data: Any) -> str:
        """Record an act."""
        if who not in self.logs:
            groups = ((BRANDS, "brand"), (CLERKS, "clerk"), (TILLS, "till"))
            self.logs[who] = AgentLogger(who, next((role for names, role in groups if who in names), "desk"))
        return self.logs[who].log_action(what, data)

    def number(self, letters: str) -> str:
        """Return the next number of a show, an invoice or a campaign."""
        self.numbers += 1
        return f"{letters}{self.numbers}"

    def order_of(self, now: int) -> tuple[str, int]:
        """Return who orders slots in a round, and for how much."""
        rng = self.case.rng(f"order/{now}")
        if now == self.case.end and self.case.has("doubled_act"):
            return self.brand, FEE + rng.randint(10, 60)
        return rng.choice(BRANDS), rng.randint(5, 60)


def run_campaign(
    s: Streets, screen: Screen, clerk: str, brands: list[str], sold: int, *, planned: bool = False
) -> None:
    """Begin a campaign: old adverts go, new ones come, and the first big sale decides who leads."""
    case, (first, second) = s.case, brands[:2]
    screen.earned, screen.accounts = {HOUSE: 0.0}, {}
    for name in brands:
        campaign = s.number("C")
        account = name
        if planned and name == first and case.strikes("wrong_merge", s.now):
            account = s.twin
        filed = s.do(clerk, "file_campaign", campaign=campaign, brand=name, account=account)
        screen.earned[name], screen.accounts[name] = 0.0, account
        loaded = screen.log.log_action("load_advert", {"campaign": campaign, "brand": name})
        if planned and name == first and case.has("wrong_merge"):
            case.root(filed)
            case.hop(loaded)
    screen.promised = first
    for name in brands:
        if s.caps[name] < SHOWS:
            set_cap(s, name, USUAL_CAP)
    show = s.number("S")
    screen.log.log_action("show", {"advert": first, "show": show})
    till = s.till if planned else case.rng(f"till/{show}").choice(TILLS)
    credited = second if planned and case.strikes("wrong_credit", s.now) else first
    reported = s.do(till, "report_sale", advert=first, show=show, pieces=sold)
    booked = s.do(till, "book_sale", advert=credited, show=show)
    rewarded = screen.credit(credited, show, float(sold))
    if planned and case.has("wrong_credit"):
        case.root(booked, rewarded, reported)


def sell(s: Streets) -> None:
    """Begin campaigns."""
    case, rng = s.case, s.case.rng(f"campaign/{s.now}")
    planned = s.now == case.begin and (case.has("wrong_credit") or case.has("wrong_merge"))
    screen, brands, sold = rng.choice(s.screens), rng.sample(BRANDS, 3), rng.randint(30, 60)
    held = case.has("config_change") or (s.now >= case.begin and not case.has("doubled_act"))
    if case.has("config_change"):
        brands = [name for name in brands if name != s.brand]
    if rng.random() < 0.3 and not (screen is s.mine and held):
        run_campaign(s, screen, rng.choice(CLERKS), brands, sold)
    if planned:
        run_campaign(s, s.mine, s.clerk, [s.brand, s.rival, s.third], sold, planned=True)


def cancel(s: Streets, brand: str) -> str:
    """Empty the account of a brand."""
    asked = s.do(brand, "cancel_contract", reason="end of season")
    s.do(DESK, "close_account", account=brand)
    for screen in s.screens:
        for name in [name for name, account in screen.accounts.items() if account == brand]:
            del screen.earned[name], screen.accounts[name]
            taken = screen.log.log_action("unload_advert", {"account": brand})
            if screen is s.mine and s.now == s.case.end:
                s.case.hop(taken)
            if screen.promised == brand:
                screen.promised = ""
    return asked


def keep_plans(s: Streets) -> None:
    """Change caps, cancel contracts."""
    case, rng = s.case, s.case.rng(f"plans/{s.now}")
    brand, cap = rng.choice(BRANDS), rng.randint(1, 14)
    if any(brand in screen.earned for screen in s.screens):
        cap = max(cap, SHOWS)
    if case.has("config_change") and s.now == case.begin:
        new = 2 if case.strikes("config_change", s.now) else 11
        case.root(*set_cap(s, s.brand, new))
    elif rng.random() < 0.6 and not (case.has("config_change") and brand == s.brand and s.now > case.begin):
        set_cap(s, brand, cap)
    if rng.random() < 0.25:
        name = rng.choice(("brightness", "dim_hour", "font_size", "loop_seconds"))
        SystemLogger("screens").log_config(name, rng.randint(1, 9), rng.randint(1, 9))
    others = [name for name in BRANDS if name not in {s.brand, s.twin, s.rival}]
    name = rng.choice(others)
    if rng.random() < 0.06:
        cancel(s, name)
    if case.has("wrong_merge") and s.now == case.end:
        case.trigger(cancel(s, s.twin))


def set_cap(s: Streets, brand: str, cap: int) -> tuple[str, str]:
    """Limit how often a brand is shown in a round."""
    decided = s.do(DESK, "adjust_plan", brand=brand, cap=cap)
    changed = SystemLogger("screens").log_config("cap", s.caps[brand], cap, {"brand": brand})
    s.caps[brand] = cap
    return decided, changed


def keep_accounts(s: Streets) -> None:
    """Charge fees, take orders."""
    case, rng = s.case, s.case.rng(f"money/{s.now}")
    planned = case.has("doubled_act") and s.now == case.begin
    fees = [(rng.choice(BRANDS), rng.randint(100, 500))] if rng.random() < 0.4 else []
    fees = [one for one in fees if not (case.has("doubled_act") and one[0] == s.brand)]
    if planned:
        fees.append((s.brand, FEE))
    for brand, euros in fees:
        invoice = s.number("I")
        is_mine = planned and brand == s.brand
        s.do(s.clerk if is_mine else rng.choice(CLERKS), "hand_invoice", invoice=invoice, brand=brand)
        for _ in range(2 if is_mine and case.strikes("doubled_act", s.now) else 1):
            s.money[brand] -= euros
            charged = s.do(CASHIER, "charge", invoice=invoice, brand=brand, euros=euros)
            if is_mine:
                case.root(charged)
    brand, euros = s.order_of(s.now)
    ordered = s.do(brand, "order_slots", euros=euros)
    if s.money[brand] >= euros:
        s.money[brand] -= euros
        s.do(CASHIER, "accept_order", brand=brand, euros=euros)
    else:
        refused = s.do(CASHIER, "decline_order", brand=brand, euros=euros)
        told = s.do(DESK, "tell_no", brand=brand)
        case.trigger(ordered)
        case.hop(refused, told)
        case.symptom(
            s.do(brand, "miss_launch", euros=euros),
            f"{brand} was told that there is not enough on the account, and that is simply not true",
            "Our slots for the opening were refused although we paid in more than enough",
            f"The order over {euros} euros bounced. Look at our deposit, please",
            f"{DESK} says we are broke, our books say 400 more",
        )
    if s.now == case.end + 1:
        s.money[brand] += 10**6
        s.money[s.brand] += 10**6


def show_all(s: Streets) -> None:
    """Let all screens show adverts and learn from what is sold."""
    for screen in s.screens:
        rng = s.case.rng(f"{screen.agent_id}/{s.now}")
        screen.shown.clear()
        for _ in range(SHOWS):
            roll, pick, sale, pieces = rng.random(), rng.random(), rng.random(), rng.randint(1, 3)
            advert, show = screen.choose(roll, pick, s.caps), s.number("S")
            screen.shown[advert] += 1
            seen = screen.log.log_action("show", {"advert": advert, "show": show})
            if screen is s.mine and s.now == s.case.end:
                s.case.hop(seen)
            if sale < s.appeal.get(advert, 0.0):
                till = TILLS[int(sale * 100) % len(TILLS)]
                s.do(till, "report_sale", advert=advert, show=show, pieces=pieces)
                s.do(till, "book_sale", advert=advert, show=show)
                screen.credit(advert, show, float(pieces))
        leader = max(screen.earned, key=lambda one: screen.earned[one])
        screen.learning.log_policy_update({"leader": leader, "shows": SHOWS})


def look(s: Streets) -> None:
    """Let brands count how often they were on a screen."""
    case, rng = s.case, s.case.rng(f"look/{s.now}")
    visits = [(screen, 3) for screen in s.screens if rng.random() < 0.2]
    if not case.has("doubled_act"):
        visits = [one for one in visits if one[0] is not s.mine or s.now < case.begin]
        if s.now == case.end:
            visits.append((s.mine, 4 if case.has("config_change") else 3))
    for screen, wanted in visits:
        brand = screen.promised
        if not brand:
            continue
        times = screen.shown[brand]
        counted = s.do(brand, "count_shows", street=screen.agent_id, times=times, wanted=wanted)
        if times >= wanted:
            continue
        case.symptom(
            counted,
            f"{brand} stood in front of the screen for an hour and hardly saw itself",
            f"{screen.agent_id} shows everything but our spot, and we booked the first place",
            "Nobody sees our advert any more, on the very day when we open",
            f"We paid for the {screen.agent_id.removeprefix('screen ')} spot and it is not running",
        )


def chores(s: Streets) -> None:
    """Do what belongs to any day."""
    rng = s.case.rng(f"rest/{s.now}")
    for _ in range(rng.randint(0, 3)):
        s.do(
            rng.choice((*CLERKS, DESK)),
            rng.choice(("answer_phone", "water_plants", "sort_posters")),
            minutes=rng.randint(1, 40),
        )
    if rng.random() < 0.2 or s.now == s.case.decoy_at:
        rng.choice(s.screens).log.warning(
            "no network for a minute, loop kept running", {"seconds": rng.randint(20, 90)}
        )
    if rng.random() < 0.1:
        AgentLogger(DESK, "desk").error("mail bounced, sent by post instead", {"pages": rng.randint(1, 4)})


def play(case: Case) -> None:
    """Play some weeks in the streets."""
    screens, rounds = case.rng("size").choice(((3, 16), (4, 50), (4, 80), (6, 90), (10, 240)))
    case.window(rounds)
    streets = Streets(case, screens, rounds)
    for now in range(rounds):
        streets.now = now
        for part in (sell, keep_plans, keep_accounts, show_all, look, chores):
            part(streets)


WORLD = World("billboards", "bare", ("wrong_credit", "config_change", "doubled_act", "wrong_merge"), play, 27)
