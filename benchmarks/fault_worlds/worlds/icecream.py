"""Ice cream vans: they learn where to stand, sell, order milk, and share what they take with an association.

Learning loggers, plain `log_action`, configuration; a tick is a day, and nothing names its cause.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

VANS = ("Pistacchio", "Amarena", "Stracciatella", "Limone", "Nocciola")
PLACES = ("pier", "school", "lido", "market", "station", "castle")
FLAVOURS = ("vanilla", "lemon", "hazelnut", "cherry", "mint")
DESK, CHAIR, DAIRY, GARAGE = "savings desk", "Signora Corti", "dairy", "garage Pozzi"
ROLES = {**dict.fromkeys(VANS, "van"), DESK: "desk", CHAIR: "chair", DAIRY: "dairy", GARAGE: "garage"}
FEE, TOWN_FEE, HOT, SOFT = 7, 3, 31, -13


class Season:
    """What is true of the vans and their money, what the books say, and the plan of one case."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.day, self.last = case, days, 0, case.seed % 300
        rng = case.rng("plan")
        self.van, self.other = rng.sample(VANS, 2)
        self.earned = dict.fromkeys(VANS, 0)
        self.credited = dict.fromkeys(VANS, 0)
        self.account = dict.fromkeys(VANS, 15000)
        self.owned = dict.fromkeys(VANS, 15000)
        self.drawer, self.booked = 0, 0
        self.freezer = dict.fromkeys(VANS, -18)
        self.values = {van: dict.fromkeys(PLACES, 40.0) for van in VANS}
        self.heat = 20
        self.wrong_shares = 0

    def number(self, letter: str) -> str:
        """Return the next number of an invoice or a party."""
        self.last += 1
        return f"{letter}{self.last:04}"


def do(who: str, what: str, /, **data: Any) -> str:
    """Record what somebody does."""
    return AgentLogger(who, ROLES[who]).log_action(what, data)


def sell_ice(season: Season, van: str) -> None:
    """Choose a place, sell there, count, learn from it, and share the takings."""
    case, rng = season.case, season.case.rng(f"{van}/{season.day}")
    values = season.values[van]
    explores = rng.random() < 0.25
    place = rng.choice(PLACES) if explores else max(PLACES, key=lambda one: (values[one], one))
    do(van, "park", place=place, curious=explores)
    freezer = season.freezer[van]
    do(van, "open_hatch", heat=season.heat, freezer=freezer + rng.randint(0, 1))
    for _ in range(rng.randint(2, 4)):
        do(van, "sell", flavour=rng.choice(FLAVOURS), scoops=rng.randint(1, 12))
    if season.heat >= HOT and freezer > SOFT:
        case.symptom(
            do(van, "pour_away", litres=rng.randint(20, 45)),
            f"I queued for half an hour and got a cup of warm milk from {van}",
            "Everything in the tubs was soup today, and that on the best day of the year",
            "Forty litres down the drain. What happened to our ice?",
            "The children got cones with a puddle in them",
        )
    takings = rng.randint(3000, 5000)
    do(van, "count_takings", cents=takings, place=place)
    credit(season, van, place, takings // 100)
    season.earned[van] += takings // 100
    values[place] += 0.2 * (takings / 100 - values[place])
    learner = LearningLogger("bandit", van, "van")
    learner.log_learning_update("place_values", {"place": place, "value": round(values[place], 2)})
    if rng.random() < 0.15:
        best = max(PLACES, key=lambda one: (values[one], one))
        learner.log_policy_update({"day": season.day}, {"favourite": place}, {"favourite": best})
    share(season, van, takings)


def credit(season: Season, van: str, what: str, euros: int) -> str:
    """Book a reward."""
    season.credited[van] += euros
    return LearningLogger("bandit", van, "van").log_reward(what, euros, season.credited[van])


def share(season: Season, van: str, takings: int) -> None:
    """Take the fees off, and book the rest for the van."""
    case = season.case
    fee, town = takings * FEE // 100, takings * TOWN_FEE // 100
    rest = takings - fee - town
    season.drawer += takings
    if case.strikes("rounding_leak") and season.day >= case.begin:
        rest = rest // 50 * 50
    do(DESK, "book_fee", van=van, cents=fee + town)
    booked = do(DESK, "book_share", van=van, cents=rest)
    if case.has("rounding_leak") and season.day >= case.begin and season.wrong_shares < 3:
        season.wrong_shares += 1
        case.root(booked)
    season.booked += fee + town + rest
    season.account[van] += rest
    season.owned[van] += takings - fee - town


def serve_party(season: Season, van: str, helper: str, euros: int, *, is_mine: bool = False) -> None:
    """Serve a party with a second van at hand, and credit who has earned it."""
    case, party = season.case, season.number("P")
    do(van, "serve_party", party=party, guests=euros // 3)
    do(helper, "lend_cups", party=party, cups=euros // 4)
    season.earned[van] += euros
    earner = helper if is_mine and case.strikes("wrong_credit", season.day) else van
    wrote = do(DESK, "book_party", party=party, van=earner, euros=euros)
    booked = credit(season, earner, party, euros)
    if is_mine:
        case.root(wrote, booked)


def pay_milk(season: Season, van: str, cents: int, *, is_mine: bool = False) -> None:
    """Order milk and pay its invoice; an invoice that was taken twice is given back on the spot."""
    case, invoice = season.case, season.number("M")
    rng = case.rng(f"milk/{invoice}")
    do(van, "order_milk", invoice=invoice, litres=cents // 90)
    do(DAIRY, "deliver_milk", invoice=invoice, van=van)
    first = debit(season, van, invoice, cents)
    season.owned[van] -= cents
    if is_mine:
        case.root(first)
        if case.strikes("doubled_act", season.day):
            case.root(debit(season, van, invoice, cents))
    elif rng.random() < 0.08:
        debit(season, van, invoice, cents)
        season.account[van] += cents
        do(DESK, "give_back", van=van, invoice=invoice, cents=cents)


def debit(season: Season, van: str, invoice: str, cents: int) -> str:
    """Take money from an account."""
    season.account[van] -= cents
    return do(DESK, "debit", van=van, invoice=invoice, cents=cents)


def repair(season: Season, van: str, cents: int) -> None:
    """Have a van repaired and pay for it."""
    case, bill = season.case, season.number("G")
    billed = do(GARAGE, "write_bill", van=van, bill=bill, cents=cents)
    if season.account[van] >= cents:
        debit(season, van, bill, cents)
        season.owned[van] -= cents
        do(van, "drive_off", bill=bill)
        return
    case.hop(billed, do(DESK, "decline", van=van, bill=bill))
    case.symptom(
        do(van, "stay_at_garage", bill=bill),
        f"My card was declined at the garage for {bill}, and I know what I have earned",
        f"{van} stands on the ramp because its money is not enough, says a machine",
        "I keep my own little book and by my book there is enough on the account. Who took it?",
    )


def set_freezer(season: Season, van: str, degrees: int) -> str:
    """Set how cold a freezer has to be."""
    before, season.freezer[van] = season.freezer[van], degrees
    return SystemLogger("vans").log_config("freezer_target", before, degrees, {"van": van})


def audit(season: Season) -> None:
    """Compare the drawer with the books."""
    case = season.case
    do(CHAIR, "count_drawer", cents=season.drawer)
    gap = season.drawer - season.booked
    compared = do(CHAIR, "compare_books", booked=season.booked)
    if gap > 100:
        case.hop(compared)
        case.symptom(
            do(CHAIR, "refuse_signature", gap=gap),
            f"There is {gap / 100:.2f} more in the drawer than in the books, I will not sign that",
            "The year's accounts do not add up, and nobody has stolen anything",
            f"We have money that belongs to nobody: {gap} cents",
            "Where does this extra money come from? The tax office will ask as well",
        )


def award(season: Season) -> None:
    """Give the place at the castle to the van with the highest credit."""
    case = season.case
    best = max(VANS, key=lambda one: season.credited[one])
    earner = max(VANS, key=lambda one: season.earned[one])
    awarded = do(CHAIR, "award_castle", van=best, euros=season.credited[best])
    for van in VANS:
        if van == best:
            do(van, "hang_up_certificate", place="castle")
        elif van == earner:
            case.hop(awarded)
            case.symptom(
                do(van, "read_letter_twice", place="castle"),
                f"{van} earned more than all the others this year and does not get the castle?",
                "Nobody can explain to me why that stand went to somebody who sold less",
                "I have all my slips here, add them up. I should be first on that list!",
            )
        else:
            do(van, "read_letter", place="castle")


def everyday(season: Season) -> None:
    """Do what belongs to any day."""
    case, day = season.case, season.day
    rng = case.rng(f"day/{day}")
    is_between = case.begin <= day <= case.end
    season.heat = rng.randint(14, 28)
    if rng.random() < 0.15 and not (case.has("config_change") and is_between):
        season.heat = rng.randint(HOT, 36)
    if day == case.end and case.has("config_change"):
        season.heat = rng.randint(HOT, 36)
    forecast = do(CHAIR, "read_forecast", heat=season.heat, rain=rng.random() < 0.2)
    if day == case.end and case.has("config_change"):
        case.trigger(forecast)
    for van in VANS:
        if rng.random() < 0.5:
            pay_milk(season, van, rng.randint(700, 1500))
    is_quiet = case.has("wrong_credit") and is_between
    if rng.random() < 0.3:
        euros = rng.randint(250, 400) if rng.random() < 0.2 and not is_quiet else rng.randint(25, 60)
        van, helper = rng.sample(VANS, 2)
        serve_party(season, van, helper, euros)
    for _ in range(rng.randint(0, 2)):
        van = rng.choice([one for one in VANS if one != season.van or not case.has("config_change")])
        set_freezer(season, van, rng.randint(-22, -15))
    if rng.random() < 0.4:
        name = rng.choice(("jingle", "price_of_scoop", "closing_hour"))
        SystemLogger("vans").log_config(name, rng.randint(1, 9), rng.randint(1, 9), {"van": rng.choice(VANS)})
    owes = rng.choice([one for one in VANS if one != season.van or day < case.end])
    if rng.random() < 0.1:
        repair(season, owes, rng.randint(800, 3000))
    if rng.random() < 0.12 and not (case.has("rounding_leak") and is_between):
        audit(season)
    if rng.random() < 0.2 or day == case.decoy_at:
        AgentLogger(rng.choice(VANS), "van").warning(
            "coin stuck in the slot", {"cents": rng.choice((5, 20, 50))}
        )
    if day == case.decoy_at:
        set_freezer(season, season.other, -19)
        AgentLogger(DESK, "desk").error("line to the bank was down, sent it later", {"minutes": 40})


def begin(season: Season) -> None:
    """Do what the case is about, well or badly."""
    case, rng = season.case, season.case.rng("begin")
    if case.has("wrong_credit"):
        ahead = max(season.earned.values()) - season.earned[season.van]
        euros = ahead + 450 + 2 * (case.end - case.begin)
        serve_party(season, season.van, season.other, euros, is_mine=True)
    elif case.has("config_change"):
        is_bad = case.strikes("config_change", season.day)
        case.root(set_freezer(season, season.van, -8 if is_bad else rng.randint(-21, -16)))
    elif case.has("doubled_act"):
        pay_milk(season, season.van, rng.randint(1100, 1700), is_mine=True)


def end(season: Season) -> None:
    """Let the day come on which it shows."""
    case = season.case
    if case.has("wrong_credit"):
        award(season)
    elif case.has("doubled_act"):
        repair(season, season.van, season.owned[season.van] - 300)
    elif case.has("rounding_leak"):
        audit(season)


def play(case: Case) -> None:
    """Play a season."""
    days = case.rng("days").choice((25, 45, 80, 125))
    case.window(days, 5 if case.has("rounding_leak") or case.has("config_change") else 1)
    season = Season(case, days)
    for day in range(days):
        season.day = day
        with tick(day):
            everyday(season)
            if day == case.begin:
                begin(season)
            for van in VANS:
                sell_ice(season, van)
            if day == case.end:
                end(season)


FAULTS = ("wrong_credit", "config_change", "doubled_act", "rounding_leak")
WORLD = World("icecream", "bare", FAULTS, play, 29)
