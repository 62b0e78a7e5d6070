"""Reindeer in winter: families move herds, order feed by radio, call each other about strays, cross roads.

Loggers call each other over the radio and actions name their causes; a tick is a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SIIDAS = ("Gaskevuoma", "Norrevuoma", "Laevas", "Sarivuoma", "Talma")
ROADS = ("E10", "E45", "iron road")
OFFICES = {"E10": "road office Kiruna", "E45": "road office Pajala", "iron road": "track office"}
DRIVERS = {"E10": ("Hilda", "Bengt"), "E45": ("Ristin", "Matti"), "iron road": ("train 41", "train 46")}
DEPOT, OLD_DEPOT, PILOT, TOWER = "summer depot", "winter depot", "pilot Ante", "radio tower"
LAKES = ("Rautas", "Alesj", "Torne", "Sautus", "Vassi")
REACH = 2
ROLES = {
    **dict.fromkeys(SIIDAS, "family"),
    **dict.fromkeys(OFFICES.values(), "office"),
    **{name: "driver" for names in DRIVERS.values() for name in names},
    DEPOT: "depot",
    PILOT: "pilot",
    TOWER: "tower",
}

Body = dict[str, Any]


@dataclass
class Order:
    """Sacks that a family has ordered, and where it will look for them."""

    number: str
    siida: str
    day: int
    place: tuple[int, int]
    event: str


class Winter:
    """What is true on the mountains, who waits for what, and the plan of one case."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.day, self.last = case, days, 0, case.seed % 500
        rng = case.rng("plan")
        self.star, self.other = rng.sample(SIIDAS, 2)
        self.road, self.strays = rng.choice(ROADS), rng.randint(9, 23)
        self.mine = "?"
        self.logs: dict[str, AgentLogger] = {}
        self.calls: list[tuple[Any, str]] = []
        self.kept: list[tuple[Any, str]] = []
        self.out_of_range: set[str] = set()
        self.orders: list[Order] = []
        self.flights: dict[int, list[tuple[Body, str]]] = {}
        self.sacks: dict[tuple[int, str], list[tuple[int, int]]] = {}
        self.away: dict[str, tuple[str, int]] = {}
        self.fetching: dict[int, list[tuple[str, str, str]]] = {}
        self.crossings: dict[int, list[tuple[str, str, str]]] = {}
        self.signs: dict[tuple[int, str], str] = {}

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record what somebody does."""
        return self.log(who).log_action(what, data, causes=causes)

    def log(self, who: str) -> AgentLogger:
        """Return the log of somebody."""
        if who not in self.logs:
            self.logs[who] = AgentLogger(who, ROLES[who])
        return self.logs[who]

    def next(self, letter: str) -> str:
        """Return a new number."""
        self.last += 1
        return f"{letter}{self.last:04}"

    def call(self, who: str, to: str, cause: str, /, **body: Any) -> str:
        """Call somebody; the call is heard at the next round of the radio."""
        message = self.log(who).send(to, body, causes=cause)
        self.calls.append((message, message.event_id))
        return message.event_id

    def listen(self) -> None:
        """Let everybody hear their calls; the tower keeps those that nobody answers."""
        while self.calls:
            message, sent = self.calls.pop(0)
            to = message.recipient
            if to in ROLES and to not in self.out_of_range:
                self.hear(to, message.body, self.log(to).receive(message))
                continue
            kept = self.do(TOWER, "keep_call", sent, station=to, about=message.body["about"])
            self.kept.append((message, kept))
            if message.body.get("order", "") == self.mine:
                self.case.root(sent, kept)
                self.case.hop(kept)

    def repeat(self) -> None:
        """Let the tower repeat what it has kept for stations that are back in range."""
        for message, kept in list(self.kept):
            if message.recipient in ROLES and message.recipient not in self.out_of_range:
                self.kept.remove((message, kept))
                again = self.do(TOWER, "repeat_call", kept, station=message.recipient)
                self.hear(
                    message.recipient,
                    message.body,
                    self.log(message.recipient).receive(message, causes=again),
                )

    def hear(self, who: str, body: Body, got: str) -> None:
        """Let somebody act on a call."""
        about = body["about"]
        if about == "strays":
            hear_strays(self, who, body, got)
        elif about == "feed":
            hear_order(self, who, body, got)
        elif about == "flight":
            noted = self.do(who, "note_flight", got, order=body["order"], sacks=body["sacks"])
            self.flights.setdefault(body["day"], []).append((body, noted))
        elif about == "crossing":
            noted = self.do(who, "note_crossing", got, road=body["road"], day=body["day"])
            self.signs[body["day"], body["road"]] = noted
        else:
            self.do(who, "listen_to_news", got, about=about)


def hear_strays(winter: Winter, who: str, body: Body, got: str) -> None:
    """Compare the marks; if they are ours, set a day to fetch the animals."""
    ours = winter.away.get(body["flock"], ("", 0))[0] == who
    looked = winter.do(who, "compare_marks", got, flock=body["flock"], ours=ours)
    if body["flock"] == winter.mine and not ours:
        winter.case.root(got)
        winter.case.hop(got)
    if ours:
        winter.fetching.setdefault(winter.day, []).append((who, body["flock"], looked))
    else:
        winter.do(who, "leave_it", looked, flock=body["flock"])


def hear_order(winter: Winter, who: str, body: Body, got: str) -> None:
    """Note an order, write it on the list of flights, and call the pilot."""
    case, number = winter.case, body["order"]
    noted = winter.do(who, "note_order", got, order=number, sacks=body["sacks"])
    north, east = body["north"], body["east"]
    is_mine = number == winter.mine
    if is_mine and case.strikes("swapped_fields", winter.day):
        north, east = east, north
    listed = winter.do(who, "write_flight", noted, order=number, north=north, east=east, day=body["day"])
    if is_mine and case.has("swapped_fields"):
        case.root(listed)
    called = winter.call(
        who,
        PILOT,
        listed,
        about="flight",
        order=number,
        north=north,
        east=east,
        day=body["day"],
        sacks=body["sacks"],
        siida=body["siida"],
    )
    if is_mine:
        case.hop(called)


def order_feed(winter: Winter, siida: str, day: int, number: str, to: str = DEPOT) -> None:
    """Look at the snow, and call for sacks at a place and a day."""
    rng = winter.case.rng(f"feed/{number}")
    dug = winter.do(siida, "dig_in_snow", None, lake=rng.choice(LAKES), crust_cm=rng.randint(3, 20))
    decided = winter.do(siida, "choose_place", dug, order=number, day=day)
    place = rng.randint(10, 44), rng.randint(50, 95)
    if rng.random() < 0.5:
        place = place[1], place[0]
    sacks = rng.randint(20, 90)
    if rng.random() < 0.12 and number != winter.mine:
        wrong = winter.call(siida, OLD_DEPOT, decided, about="feed", order=number, sacks=sacks, siida=siida)
        decided = winter.do(siida, "hear_no_answer", wrong, order=number)
    called = winter.call(
        siida,
        to,
        decided,
        about="feed",
        order=number,
        north=place[0],
        east=place[1],
        day=day,
        sacks=sacks,
        siida=siida,
    )
    winter.orders.append(Order(number, siida, day, place, called))


def fly_and_feed(winter: Winter) -> None:
    """Drop the sacks of the day, and let the families go to where they expect them."""
    case = winter.case
    for body, noted in winter.flights.pop(winter.day, []):
        loaded = winter.do(PILOT, "load_sacks", noted, order=body["order"], sacks=body["sacks"])
        dropped = winter.do(
            PILOT, "drop_sacks", loaded, order=body["order"], north=body["north"], east=body["east"]
        )
        winter.sacks.setdefault((winter.day, body["siida"]), []).append((body["north"], body["east"]))
        if body["order"] == winter.mine:
            case.hop(noted, dropped)
    for order in [one for one in winter.orders if one.day == winter.day]:
        winter.orders.remove(order)
        lead = winter.do(order.siida, "lead_herd", order.event, order=order.number)
        heaps = winter.sacks.get((winter.day, order.siida), [])
        near = [
            one for one in heaps if max(abs(one[0] - order.place[0]), abs(one[1] - order.place[1])) <= REACH
        ]
        if near:
            winter.do(order.siida, "feed_herd", lead, order=order.number, heaps=len(near))
            continue
        case.hop(lead)
        case.symptom(
            winter.do(order.siida, "stand_without_feed", lead, order=order.number),
            "We drove four hundred animals up here and there is nothing to eat. Where are the sacks?",
            f"{order.siida} found only untouched snow where the fodder should lie",
            f"Fodder of order {order.number} is not here, the calves will not last until Sunday",
            "Nothing at all was on the spot today, we searched two kilometres around",
        )


def fetch_strays(winter: Winter) -> None:
    """Fetch the animals that were called in, and count herds."""
    case, rng = winter.case, winter.case.rng(f"count/{winter.day}")
    for who, flock, looked in winter.fetching.pop(winter.day, []):
        drove = winter.do(who, "drive_to_strays", looked, flock=flock)
        winter.do(who, "bring_home", drove, flock=flock, animals=winter.away.pop(flock)[1])
    counting = {one for one in SIIDAS if rng.random() < 0.15 and one != winter.star}
    if winter.day == case.end and case.has("wrong_recipient"):
        counting.add(winter.star)
    waiting = {message.recipient for message, _ in winter.kept} | winter.out_of_range
    for siida in sorted(counting - waiting):
        called = winter.do(siida, "gather_herd", None, lake=rng.choice(LAKES))
        missing = sum(number for owner, number in winter.away.values() if owner == siida)
        counted = winter.do(siida, "count_herd", called, missing=missing)
        if missing:
            case.hop(counted)
            case.symptom(
                winter.do(siida, "report_loss", counted, animals=missing),
                f"{missing} of our animals are gone, and nobody has seen a wolf all winter",
                f"{siida} counted twice and the herd is too small",
                "Where are the animals? In autumn they were all there, now the count is short",
                f"The insurance asks how we could lose {missing} heads without a single carcass",
            )


def plan_crossing(winter: Winter, siida: str, road: str, day: int, *, is_called: bool = True) -> None:
    """Plan to lead the herd over a road, and call the office of the road."""
    case = winter.case
    planned = winter.do(siida, "plan_crossing", None, road=road, day=day)
    winter.crossings.setdefault(day, []).append((siida, road, planned))
    if is_called:
        winter.call(siida, OFFICES[road], planned, about="crossing", road=road, day=day)
    ropes = winter.do(siida, "pack_ropes", planned, metres=50 + day % 40)
    if day == case.end and road == winter.road and siida == winter.star and case.has("omitted_message"):
        case.root(planned, ropes)


def use_roads(winter: Winter) -> None:
    """Put up signs, lead herds over roads, and let drivers come along."""
    case, rng = winter.case, winter.case.rng(f"roads/{winter.day}")
    put = {}
    for road, office in OFFICES.items():
        if (winter.day, road) in winter.signs:
            put[road] = winter.do(office, "put_up_signs", winter.signs[winter.day, road], road=road)
    herds = {}
    for siida, road, planned in winter.crossings.pop(winter.day, []):
        herds[road] = winter.do(siida, "cross", planned, road=road)
    for road, drivers in DRIVERS.items():
        for driver in drivers:
            drove = winter.do(driver, "drive", None, road=road, kmh=rng.randint(70, 110))
            if road in put:
                drove = winter.do(driver, "slow_down", [drove, put[road]], road=road)
            if road not in herds:
                winter.do(driver, "arrive", drove, minutes_late=rng.randint(0, 9))
            elif road in put:
                winter.do(driver, "let_herd_pass", [drove, herds[road]], road=road)
            else:
                case.hop(herds[road], drove)
                case.symptom(
                    winter.do(driver, "hit_animals", [drove, herds[road]], road=road),
                    f"There were animals all over the {road} at full speed, no sign, nothing",
                    f"{driver} ran into a herd. The lamps that flash before a crossing were dark.",
                    "Eleven dead reindeer and a broken windscreen: why did nobody make us slow down?",
                )


def begin(winter: Winter) -> None:
    """Do what the case is about, well or badly."""
    case, winter.mine = winter.case, winter.next("S" if winter.case.has("wrong_recipient") else "F")
    if case.has("omitted_message"):
        is_called = not case.strikes("omitted_message", winter.day)
        plan_crossing(winter, winter.star, winter.road, case.end, is_called=is_called)
    elif case.has("wrong_recipient"):
        finder = next(one for one in SIIDAS if one not in {winter.star, winter.other})
        winter.away[winter.mine] = winter.star, winter.strays
        to = winter.other if case.strikes("wrong_recipient", winter.day) else winter.star
        sent = tell_of_strays(winter, finder, winter.mine, [to])
        case.root(*sent)
    else:
        to = OLD_DEPOT if case.strikes("dead_letter", winter.day) else DEPOT
        order_feed(winter, winter.star, case.end, winter.mine, to)


def tell_of_strays(winter: Winter, finder: str, flock: str, to: list[str]) -> list[str]:
    """Find foreign animals in the herd, read their marks and call their owners."""
    animals = winter.away[flock][1]
    found = winter.do(finder, "find_strays", None, flock=flock, animals=animals)
    read = winter.do(finder, "read_marks", found, flock=flock)
    return [winter.call(finder, one, read, about="strays", flock=flock, animals=animals) for one in to]


def everyday(winter: Winter) -> None:
    """Do what belongs to any day."""
    case, day = winter.case, winter.day
    rng = case.rng(f"day/{day}")
    mine = {winter.star, winter.other}
    winter.out_of_range = {
        one for one in SIIDAS if rng.random() < 0.12 and not (one in mine and case.begin == day)
    }
    if case.has("wrong_recipient"):
        winter.out_of_range -= mine
    for siida in SIIDAS:
        if rng.random() < 0.4:
            moved = winter.do(siida, "move_herd", None, lake=rng.choice(LAKES), km=rng.randint(2, 15))
            winter.do(siida, "light_fire", moved, wood=rng.choice(("birch", "pine")))
        ahead = day + rng.randint(1, 5)
        is_free = siida != winter.star or ahead != case.end
        if rng.random() < 0.3 and siida not in winter.out_of_range and is_free:
            order_feed(winter, siida, ahead, winter.next("F"))
    if rng.random() < 0.5:
        finder, owner = rng.sample(SIIDAS, 2)
        flock = winter.next("S")
        winter.away[flock] = owner, rng.randint(2, 25)
        unsure = rng.random() < 0.4
        tell_of_strays(winter, finder, flock, [one for one in SIIDAS if one != finder] if unsure else [owner])
    if rng.random() < 0.35:
        siida, road, ahead = rng.choice(SIIDAS), rng.choice(ROADS), day + rng.randint(1, 5)
        is_free = not any(road == one[1] for one in winter.crossings.get(ahead, []))
        if is_free and not (case.has("omitted_message") and (road, ahead) == (winter.road, case.end)):
            plan_crossing(winter, siida, road, ahead)
    if rng.random() < 0.35:
        said = winter.do(rng.choice(SIIDAS), "think_of_somebody", None, coffee=rng.randint(1, 5))
        to = rng.choice((*SIIDAS, OLD_DEPOT, OLD_DEPOT, DEPOT))
        winter.call(rng.choice(SIIDAS), to, said, about=rng.choice(("weather", "greeting", "lost knife")))
    if rng.random() < 0.3:
        name = rng.choice(("lamp_brightness", "radio_power", "news_hour", "sack_price"))
        SystemLogger("station").log_config(name, rng.randint(1, 9), rng.randint(1, 9))
    if rng.random() < 0.2 or day == case.decoy_at:
        who = rng.choice((*SIIDAS, DEPOT, PILOT))
        winter.log(who).warning(
            "the motor did not start, took the other one", {"below_zero": rng.randint(20, 39)}
        )
    if day == case.decoy_at:
        winter.do(TOWER, "keep_call", None, station="old hut", about="feed")
        winter.log(TOWER).error("ice on the mast, one hour without sound", {"minutes": 60})


def play(case: Case) -> None:
    """Play a winter."""
    days = case.rng("days").choice((24, 50, 100, 170))
    case.window(days)
    winter = Winter(case, days)
    for day in range(days):
        winter.day = day
        with tick(day):
            everyday(winter)
            if day == case.begin:
                begin(winter)
            winter.repeat()
            winter.listen()
            fly_and_feed(winter)
            fetch_strays(winter)
            use_roads(winter)


FAULTS = ("omitted_message", "wrong_recipient", "dead_letter", "swapped_fields")
WORLD = World("reindeer", "edges", FAULTS, play, 29)
