"""A wholesale flower market with a falling clock: plain functions with typed loggers, lot after lot; no ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, InteractionLogger, LearningLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

GROWERS = (
    "Van Dijk",
    "Rosario & Sons",
    "Kiptoo Farm",
    "Gaertnerei Moll",
    "Petals of Hope",
    "Aalsmeer Nine",
    "Dona Ines",
    "Lindqvist Bulbs",
    "Sato Greenhouses",
)
SCHOOL = "School Garden"
FLORISTS = (
    "Bluetezeit",
    "Stem & Co",
    "Fleur Sauvage",
    "Corner Roses",
    "Hotel Astoria",
    "Green Thumb",
    "Bloomsday",
)
FLOWERS = ("tulips", "roses", "lisianthus", "gerberas", "ranunculus", "eucalyptus", "peonies", "freesias")
ROOM = 720  # buckets in the cool house


@dataclass
class Consignment:
    """Flowers that fly in: `buckets` of them come in round `due` and leave three rounds later."""

    ref: str
    due: int
    buckets: int


@dataclass
class Market:
    """The books of the market, and who is special in the case."""

    case: Case
    books: dict[str, str] = field(default_factory=dict)
    sold: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    balance: dict[str, int] = field(default_factory=dict)
    own_book: dict[str, int] = field(default_factory=dict)
    score: dict[str, float] = field(default_factory=dict)
    flights: list[Consignment] = field(default_factory=list)
    leaving: list[tuple[int, int]] = field(default_factory=list)
    buckets: int = 0
    serial: int = 0
    short: int = 0
    agents: dict[str, AgentLogger] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.case.rng("market")
        self.grower, self.rival = rng.sample(GROWERS, 2)
        self.florist, self.tester = rng.sample(FLORISTS, 2)
        self.flower = rng.choice(FLOWERS)
        everybody = (*GROWERS, SCHOOL)
        self.books = {name: rng.choice("AB") for name in GROWERS} | {SCHOOL: "C"}
        self.sold, self.paid = dict.fromkeys(everybody, 0), dict.fromkeys(everybody, 0)
        self.balance = dict.fromkeys(FLORISTS, 400_000)
        self.own_book = dict(self.balance)
        self.score = {name: round(rng.uniform(2, 3), 2) for name in everybody}
        self.score[self.rival] = self.score[self.grower]
        self.keeps = {name: rng.randint(7, 12) for name in everybody} | {self.rival: 3}  # days in the vase
        self.grading = LearningLogger("grower_scores", agent_id="grading_desk", agent_role="office")
        self.floor = InteractionLogger(agent_id="clock_1", agent_role="auctioneer")
        self.cold = PerformanceLogger(agent_id="cool_house", agent_role="store")
        self.system = SystemLogger("market_system")

    def log(self, name: str, role: str) -> AgentLogger:
        """Return the logger of somebody."""
        return self.agents.setdefault(name, AgentLogger(name, role))


TEXTS = {
    "underpaid": (
        "{grower} sold for {sold} but {paid} is all that came in. Where is the rest?",
        "the statement of {grower} is a bit too low, every time we look it is some more",
        "Why does the bank show {paid} when the lots of {grower} fetched {sold} after commission",
        "small change keeps missing from what growers get here, this time {missing} euro",
    ),
    "refused": (
        "the clock refused our bid of {bid} though there must be enough on our account",
        "{florist} was told that its credit does not cover {bid}, but its own books say {own}",
        "Why could {florist} not buy? money was paid in and now it is not there",
        "our account is short by a whole deposit, so the big purchase for {bid} failed",
    ),
    "drooping": (
        "Half the {flower} that {florist} unpacked hang their heads, the lot stood on the warm ramp",
        "why was a fresh lot of {flower} left outside the cool house",
        "{florist}: lot {lot} wilted before we got it home. There was no room in the cold they say",
        "The cool house was so full that our {flower} had to stand in the sun (lot {lot})",
    ),
    "short vase life": (
        "we were sold the showcase lot as the best of the house, and it was dead after {days} days",
        "{florist} bought from the showcase, the heads fell off after {days} days. Who chose that grower?",
        "Why did such poor flowers get the showcase place? {better} brings much better ones",
        "the stage was given to flowers that keep {days} days, everyone here knows better growers",
    ),
}


def euro(cents: int) -> str:
    """Return an amount as users write it."""
    return f"{cents / 100:.2f}"


def tell(market: Market, event: str, matter: str, **words: object) -> None:
    """Let a user write about an event."""
    words = {"grower": market.grower, "florist": market.florist, "flower": market.flower} | words
    market.case.symptom(event, *(text.format(**words) for text in TEXTS[matter]))


def settle(market: Market, lot: str, grower: str, gross: int) -> None:
    """Credit a grower for a lot, by the book in which it is kept, and transfer the money."""
    net = round(gross * 0.93)
    step = {"A": 1, "B": 1, "C": 50}[market.books[grower]]
    credited = net - net % step
    market.sold[grower] += net
    office, bank = market.log("settlement_office", "office"), market.log("market_bank", "bank")
    data = {"lot": lot, "grower": grower, "gross": gross, "cents": credited, "book": market.books[grower]}
    credit = office.log_action("credit_grower", data)
    if (
        market.case.strikes("rounding_leak")
        and grower == market.grower
        and credited != net
        and market.short < 3
    ):
        market.short += 1
        market.case.root(credit)
    market.paid[grower] += credited
    moved = bank.log_action("transfer", {"to": grower, "cents": credited, "for": lot})
    if grower == market.grower and credited != net:
        market.case.hop(moved)


def look_up(market: Market, clerk: str, florist: str, slip: int) -> tuple[str, int]:
    """Read a balance."""
    held = market.balance[florist]
    return market.log(clerk, "clerk").log_action(
        "look_up", {"account": florist, "cents": held, "slip": slip}
    ), held


def write_in(market: Market, clerk: str, florist: str, slip: int, cents: int) -> str:
    """Write a balance."""
    market.balance[florist] = cents
    return market.log(clerk, "clerk").log_action(
        "write_in", {"account": florist, "cents": cents, "slip": slip}
    )


def next_slip(market: Market) -> int:
    """Return the number of the next slip."""
    market.serial += 1
    return 30_000 + market.serial


def charge(market: Market, florist: str, cents: int, other: str = "") -> bool:
    """Take money from an account, if it is there; meanwhile somebody else may pay in."""
    slip = next_slip(market)
    read, held = look_up(market, "clock_clerk", florist, slip)
    if other:
        pay_in(market, other, 20_000)
    if held < cents:
        market.case.hop(read)
        return False
    write_in(market, "clock_clerk", florist, slip, held - cents)
    market.own_book[florist] -= cents
    return True


def pay_in(market: Market, florist: str, cents: int) -> None:
    """Add money to an account."""
    slip = next_slip(market)
    _, held = look_up(market, "cashier", florist, slip)
    write_in(market, "cashier", florist, slip, held + cents)
    market.own_book[florist] += cents


def both_at_once(market: Market) -> None:
    """The clerk and the cashier write into the same account in the same minute."""
    case, florist = market.case, market.florist
    bought, paid, rng = next_slip(market), next_slip(market), case.rng("both_at_once")
    cash, price = rng.randint(120, 180) * 1000, rng.randint(30, 90) * 100
    if hasty := case.strikes("lost_update"):
        read, held = look_up(market, "clock_clerk", florist, bought)
    _, other = look_up(market, "cashier", florist, paid)
    write_in(market, "cashier", florist, paid, other + cash)
    if not hasty:
        read, held = look_up(market, "clock_clerk", florist, bought)
    case.root(read, write_in(market, "clock_clerk", florist, bought, held - price))
    market.own_book[florist] += cash - price


def store(market: Market, now: int, buckets: int, what: str, room: int = ROOM) -> bool:
    """Bring buckets into the cool house, if there is room; they leave three rounds later."""
    house, before = market.log("cool_house", "store"), market.buckets
    fits = before + buckets <= room
    if fits:
        market.buckets += buckets
        market.leaving.append((now + 3, buckets))
    event = house.log_state_change({"buckets": before}, {"buckets": market.buckets}, trigger=what)
    if not fits:
        market.case.hop(event)
    return fits


def fly_in(market: Market, now: int, rng: Random) -> None:
    """Order flowers from abroad, and take in what arrives."""
    case, desk = market.case, market.log("import_desk", "office")
    orders: list[tuple[int, int, int]] = []
    if rng.random() < 0.3:
        ahead = rng.randint(1, 12) if rng.random() < 0.8 else rng.randint(13, 90)
        orders.append((now + ahead, rng.randint(10, 40), rng.choice((1, 1, 1, 1, 2))))
    if case.has("doubled_act") and now == case.begin:
        orders.append((case.end, 360, 2 if case.strikes("doubled_act", now) else 1))
    for due, buckets, times in orders:
        ref = f"IMP{next_slip(market)}"
        for copy in range(times):
            telex = rng.randint(100, 999) if due != case.end else 100 + now + copy
            event = desk.log_action(
                "order_flight", {"ref": ref, "buckets": buckets, "round": due, "telex": telex}
            )
            market.flights.append(Consignment(ref, due, buckets))
            if buckets == 360:
                case.root(event)
    for flight in [item for item in market.flights if item.due == now]:
        landed = market.log("air_freight", "carrier").log_action(
            "unload", {"ref": flight.ref, "buckets": flight.buckets}
        )
        case.hop(landed) if flight.buckets == 360 else None
        store(market, now, flight.buckets, flight.ref, room=2 * ROOM)  # the gangways are used as well


def grade(market: Market, now: int, rng: Random, lots: list[tuple[str, str]]) -> None:
    """Florists praise or blame lots of this hour; the desk books it for their growers."""
    case = market.case
    for lot, grower in lots:
        is_case = case.has("wrong_credit") and now == case.begin and grower == market.grower
        if not is_case and rng.random() > 0.4:
            continue
        points = rng.choice((-0.2, -0.1, 0.1, 0.2, 0.3, 3.0))
        if grower in {market.grower, market.rival}:
            points = 3.0 if is_case else rng.choice((-0.1, 0.1))
        florist = rng.choice(FLORISTS)
        said = market.floor.log_interaction("rate", florist, grower, lot, {"points": points})
        booked = market.rival if is_case and case.strikes("wrong_credit", now) else grower
        market.score[booked] = round(market.score[booked] + points, 2)
        reward = market.grading.log_reward(lot, points, market.score[booked])
        update = market.grading.log_learning_update(
            "grower_score", {"grower": booked, "lot": lot, "score": market.score[booked]}
        )
        if is_case:
            case.hop(said)
            case.root(update, reward)


def showcase(market: Market, now: int, rng: Random) -> None:
    """Give the showcase to the better of two growers, by their scores; a florist buys what stands there."""
    case = market.case
    others = [name for name in GROWERS if name not in {market.grower, market.rival}]
    due = case.has("wrong_credit") and now == case.end
    if not due and rng.random() > 0.3:
        return
    pair = (market.grower, market.rival) if due else rng.sample(others, 2)
    best = max(pair, key=lambda name: market.score[name])
    chosen = market.log("clock_1", "auctioneer").log_decision(
        "showcase", {"grower": best, "round": now}, {name: market.score[name] for name in pair}
    )
    buyer, days = (market.tester if due else rng.choice(FLORISTS)), market.keeps[best]
    event = market.log(buyer, "florist").log_action("throw_away", {"from": best, "days_in_vase": days})
    if days < 5:
        case.hop(chosen)
        tell(market, event, "short vase life", days=days, better=market.grower, florist=buyer)


def sell(market: Market, now: int, rng: Random, grower: str) -> tuple[str, str]:
    """Sell a lot: bring it in, let the clock fall, charge, settle, unpack."""
    case = market.case
    lot, flower, stems = f"{now}/{next_slip(market) % 1000:03}", rng.choice(FLOWERS), rng.randint(4, 30) * 10
    florist, cents = rng.choice(FLORISTS), rng.randint(17, 96)
    due = case.has("doubled_act") and now == case.end
    florist, flower = (market.tester, market.flower) if due else (florist, flower)
    market.log(grower, "grower").log_action("bring_in", {"lot": lot, "flower": flower, "stems": stems})
    is_cold = store(market, now, 50 if due else rng.randint(4, 12), lot)
    market.log("clock_1", "auctioneer").log_decision(
        "start_price",
        {"lot": lot, "cents": cents + rng.randint(5, 30)},
        {"season": rng.choice(("high", "low"))},
    )
    market.floor.log_interaction("knock_down", "clock_1", florist, lot, {"stems": stems, "cents": cents})
    payer = rng.choice([name for name in FLORISTS if name != florist]) if rng.random() < 0.15 else ""
    charge(market, florist, stems * cents, payer)
    settle(market, lot, grower, stems * cents + rng.randint(1, 49))
    looks = rng.choice(("fresh", "fresh", "a leaf torn")) if is_cold else "drooping"
    event = market.log(florist, "florist").log_action("unpack", {"lot": lot, "looks": looks})
    if looks == "drooping":
        tell(market, event, looks, lot=lot, florist=florist)
    return lot, grower


def accounts(market: Market, now: int, rng: Random) -> None:
    """Florists pay in; growers compare their statements; one buys in a big way."""
    case = market.case
    for florist in FLORISTS:
        if market.own_book[florist] < 330_000:
            pay_in(market, florist, rng.randint(60, 90) * 1000)
    if case.has("lost_update") and now == case.begin:
        both_at_once(market)
    if case.has("lost_update") and now == case.end:
        own = market.own_book[market.florist]
        bid = own - 30_000
        event = market.floor.log_interaction("big_bid", market.florist, "clock_1", f"{now}/B", {"cents": bid})
        case.trigger(event)
        if not charge(market, market.florist, bid):
            case.hop(market.floor.log_interaction("no_credit", "clock_1", market.florist, f"{now}/B"))
            seen = market.log(market.florist, "florist").log_action(
                "go_home", {"lot": f"{now}/B", "own": own}
            )
            tell(market, seen, "refused", bid=euro(bid), own=euro(own))
    others = [name for name in GROWERS if name != market.grower]
    asking = [rng.choice(others)] if rng.random() < 0.3 else []
    asking += [market.grower] if case.has("rounding_leak") and now == case.end else []
    for grower in asking:
        sold, paid = market.sold[grower], market.paid[grower]
        event = market.log(grower, "grower").log_action("compare_statement", {"sold": sold, "paid": paid})
        if sold - paid > 3:
            words = {"sold": euro(sold), "paid": euro(paid), "missing": euro(sold - paid)}
            tell(market, event, "underpaid", grower=grower, **words)


def office(market: Market, now: int, rng: Random) -> None:
    """Growers are moved to other books; settings, hiccups and chores."""
    case, desk = market.case, market.log("settlement_office", "office")
    moves = (
        [(rng.choice([n for n in GROWERS if n != market.grower]), rng.choice("AB"))]
        if rng.random() < 0.25
        else []
    )
    if rng.random() < 0.05:
        moves.append((SCHOOL, "C"))
    if case.has("rounding_leak") and now == case.begin:
        moves.append((market.grower, "C" if case.strikes("rounding_leak", now) else "B"))
    for grower, book in moves:
        old, market.books[grower] = market.books[grower], book
        event = desk.log_state_change(
            {"grower": grower, "book": old}, {"grower": grower, "book": book}, trigger="yearly list"
        )
        if grower == market.grower:
            case.root(event)
    if rng.random() < 0.5:
        market.cold.log_metric("air_temperature", round(rng.uniform(3.1, 5.2), 1), "C")
    if rng.random() < 0.08:
        name, old_value = rng.choice((("clock_speed", 40), ("hall_lights", 3), ("opening_bell", 5)))
        market.system.log_config(name, old_value, old_value + rng.randint(1, 4))
    if rng.random() < 0.06:
        market.log("clock_clerk", "clerk").error("card reader silent, read again", extra={"tries": 2})
    if rng.random() < 0.1:
        market.log("loading_bay", "bay").warning(
            "trolley wheel blocked", extra={"trolley": rng.randint(1, 99)}
        )
    if rng.random() < 0.2:
        act = rng.choice(("sweep_floor", "rinse_buckets", "count_trolleys", "print_lists", "feed_the_cat"))
        market.log("loading_bay", "bay").log_action(act, {"minutes": rng.randint(3, 40)})
    if now == case.decoy_at:
        market.log("loading_bay", "bay").log_action("count_trolleys", {"minutes": 55, "by": "a trainee"})


def play(case: Case) -> None:
    """Play some market days, round by round."""
    rounds = case.rng("rounds").choice((36, 70, 120, 190))
    case.window(rounds, shortest=6 if case.kind == "rounding_leak" else 1)
    market = Market(case)
    for now in range(rounds):
        rng = case.rng(f"round/{now}")
        for item in [item for item in market.leaving if item[0] <= now]:
            market.leaving.remove(item)
            market.buckets -= item[1]
        office(market, now, rng)
        fly_in(market, now, rng)
        growers = rng.sample((*GROWERS, SCHOOL), rng.choice((1, 2, 2)))
        if case.has("rounding_leak") and case.begin <= now < case.end and market.grower not in growers:
            growers.append(market.grower)
        if case.has("wrong_credit") and now == case.begin and market.grower not in growers:
            growers.append(market.grower)
        lots = [sell(market, now, rng, grower) for grower in growers]
        grade(market, now, rng, lots)
        showcase(market, now, rng)
        accounts(market, now, rng)


WORLD = World(
    "flowerclock", "bare", ("rounding_leak", "lost_update", "doubled_act", "wrong_credit"), play, author=21
)
