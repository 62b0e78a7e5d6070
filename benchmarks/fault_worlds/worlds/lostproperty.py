"""Lost property of a railway: stations find things, a desk answers claims, a store keeps and forwards.

Messages take their time, and they and all actions name their causes; no ticks: a clock and a heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

STATIONS = ("Ardenbrook", "Bexley Road", "Cold Harbour", "Dunmore", "East Quay")
DESK, STORE, VAN, BOARD = "claims desk", "store", "van", "switchboard"
ANNEX = "store annex"  # torn down years ago; its number rings at the switchboard
THINGS = (
    "umbrella",
    "cello",
    "briefcase",
    "child's shoe",
    "laptop",
    "walking stick",
    "hat box",
    "violin bow",
)
NAMES = (
    "Mr Abiola",
    "Mrs Bianchi",
    "Ms Chen",
    "Mr Dragomir",
    "Mrs Engel",
    "Mr Fontaine",
    "Ms Gupta",
    "Mr Hale",
)
ROLES = {**dict.fromkeys(STATIONS, "station"), **dict.fromkeys(NAMES, "traveller")}
Body = dict[str, Any]


@dataclass(order=True)
class Due:
    """Something that will happen."""

    time: float
    number: int
    act: Callable[[], object] = field(compare=False)


class Railway:
    """Who knows what, where things lie, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.time, self.last, self.heap = case, 0.0, case.seed % 700, list[Due]()
        self.days = case.rng("days").choice((18, 34, 58, 82))
        case.window(self.days, 1 if case.has("omitted_message") else 3)
        rng = case.rng("plan")
        self.owner, self.thing = rng.choice(NAMES), rng.choice(THINGS)
        self.stations = rng.sample(STATIONS, 2)
        self.mine, self.queued = "?", 0
        self.logs: dict[str, AgentLogger] = {}
        self.list: dict[str, str] = {}
        self.shelves: dict[str, str] = {}
        self.pile: list[tuple[Any, str]] = []
        self.orders: dict[str, tuple[str, str]] = {}
        self.permits: dict[str, float] = {}

    def number(self) -> str:
        """Return the next number of a thing."""
        self.last += 1
        return f"N{self.last:04}"

    def log(self, who: str) -> AgentLogger:
        """Return the log of somebody."""
        return self.logs.setdefault(who, AgentLogger(who, ROLES.get(who, who)))

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record what somebody does."""
        return self.log(who).log_action(what, data, causes=causes)

    def later(self, wait: float, act: Callable[[], object]) -> None:
        """Put something onto the heap."""
        self.queued += 1
        heapq.heappush(self.heap, Due(self.time + wait, self.queued, act))

    def write(self, who: str, to: str, cause: str, /, **body: Any) -> str:
        """Send a message; it arrives after a while, or at the switchboard if nobody has that number."""
        message = self.log(who).send(to, body, causes=cause)
        wait = self.case.rng(f"wire/{who}/{to}/{body['item']}/{body['about']}").uniform(0.01, 0.04)
        if to == STORE and body["about"] == "forward":
            self.later(wait, lambda: self.pile.append((message, body["item"])))
        elif to in ROLES or to in {DESK, STORE}:
            self.later(wait, lambda: HEAR[body["about"]](self, to, body, self.log(to).receive(message)))
        else:
            self.later(wait, lambda: put_aside(self, who, body, message.event_id))
        return message.event_id


def put_aside(rail: Railway, sender: str, body: Body, sent: str) -> None:
    """Put a message aside that reached nobody; ring its sender if there is one who answers."""
    case, item = rail.case, body["item"]
    kept = rail.do(BOARD, "put_aside", sent, item=item, about=body["about"])
    if item == rail.mine:
        case.root(sent, kept)
        case.hop(kept)
        return
    if body["about"] == "forward":
        rang = rail.do(BOARD, "ring_back", kept, item=item)
        again = rail.do(sender, "look_up_number", rang, item=item)
        rail.write(sender, STORE, again, **body)


def find(rail: Railway, station: str, item: str, thing: str) -> None:
    """Find a thing, label it, tell the desk, and send it to the store; food is thrown away."""
    case, is_mine = rail.case, item == rail.mine
    found = rail.do(station, "find", None, item=item, thing=thing)
    if thing == "sandwich":
        rail.do(station, "throw_away", found, item=item)
        return
    labelled = rail.do(station, "label", found, item=item, colour=len(item + thing) % 5)
    if not (is_mine and case.strikes("omitted_message", int(rail.time))):
        rail.write(station, DESK, labelled, about="found", item=item, thing=thing)
    loaded = rail.do(station, "load", labelled, item=item)
    rail.later(0.2, lambda: rail.do(STORE, "shelve", loaded, item=item))
    rail.shelves[item] = STORE
    if is_mine and case.has("omitted_message"):
        case.root(labelled, loaded)


def hear_found(rail: Railway, who: str, body: Body, got: str) -> None:
    """Put a thing on the list of the desk."""
    rail.list[body["item"]] = rail.do(who, "put_on_list", got, item=body["item"], thing=body["thing"])


def claim(rail: Railway, owner: str, item: str, thing: str, *, has_receipt: bool) -> None:
    """Ask for a thing; some have a receipt, others only hope."""
    missed = rail.do(owner, "miss_thing", None, thing=thing, receipt=has_receipt)
    asked = rail.write(owner, DESK, missed, about="claim", item=item, owner=owner, thing=thing)
    if item == rail.mine:
        rail.case.trigger(asked)


def hear_claim(rail: Railway, who: str, body: Body, got: str) -> None:
    """Look at the list."""
    item = body["item"]
    causes = [got, rail.list[item]] if item in rail.list else [got]
    looked = rail.do(who, "look_at_list", causes, item=item, there=item in rail.list)
    told = rail.write(who, body["owner"], looked, about="answer", item=item, there=item in rail.list)
    if item == rail.mine:
        rail.case.hop(looked, told)


def hear_answer(rail: Railway, who: str, body: Body, got: str) -> None:
    """Be glad, or not."""
    case, item = rail.case, body["item"]
    if body["there"]:
        rail.do(who, "plan_visit", got, item=item)
    elif item not in rail.shelves:
        rail.do(who, "give_up", got, item=item)
    else:
        case.symptom(
            rail.do(who, "wave_receipt", got, item=item),
            f"They tell me nobody handed in a {rail.thing}, and I saw the guard carry it away",
            f"{who} has a receipt from the platform, and your people say that nothing was found",
            "So my property exists on a slip of paper, and nowhere else in your company?",
        )


def ask_forward(rail: Railway, owner: str, item: str, to: str, *, first: str = "", by: str = STORE) -> None:
    """Ask to have a thing sent to a station; with `first`, that station was asked for a little earlier."""
    rng = rail.case.rng(f"forward/{item}")
    rail.shelves.setdefault(item, STORE)
    wish = rail.do(owner, "look_at_timetable", None, item=item, lines=rng.randint(1, 9))
    if first:
        rail.write(owner, DESK, wish, about="wish", item=item, to=first, by=by)
        rail.later(0.09, lambda: change_mind(rail, owner, item, to, wish, by))
    else:
        rail.write(owner, DESK, wish, about="wish", item=item, to=to, by=by)


def change_mind(rail: Railway, owner: str, item: str, to: str, wish: str, by: str) -> None:
    """Ask for another station after all."""
    other = rail.do(owner, "change_mind", wish, item=item)
    rail.write(owner, DESK, other, about="wish", item=item, to=to, by=by)


def hear_wish(rail: Railway, who: str, body: Body, got: str) -> None:
    """Order the store to forward a thing."""
    agreed = rail.do(who, "stamp_order", got, item=body["item"], to=body["to"])
    number = body["by"]
    if body["item"] == rail.mine and rail.case.strikes("dead_letter"):
        number = ANNEX
    sent = rail.write(who, number, agreed, about="forward", item=body["item"], to=body["to"])
    if body["item"] == rail.mine and rail.case.has("out_of_order"):
        rail.case.hop(sent)


def read_pile(rail: Railway) -> None:
    """Read the orders of the day in the store, and note for each thing where it has to go."""
    case, rng = rail.case, rail.case.rng(f"pile/{int(rail.time)}")
    has_mine = any(item == rail.mine for _, item in rail.pile)
    once = len({item for _, item in rail.pile}) == len(rail.pile)
    opened = rail.do(STORE, "open_box", None, orders=len(rail.pile))
    from_top = rng.random() < 0.4 and once
    if has_mine and case.has("out_of_order"):
        from_top = case.strikes("out_of_order")
        case.root(opened)
    for message, item in reversed(rail.pile) if from_top else rail.pile:
        got = rail.log(STORE).receive(message, causes=opened)
        noted = rail.do(STORE, "note_order", got, item=item, to=message.body["to"])
        rail.orders[item] = message.body["to"], noted
        if item == rail.mine and case.has("out_of_order"):
            case.root(got, noted)
    rail.pile.clear()


def drive(rail: Railway) -> None:
    """Drive from the store to the stations."""
    start = rail.do(VAN, "start", None, litres=rail.case.rng(f"van/{int(rail.time)}").randint(9, 60))
    for item, (to, noted) in sorted(rail.orders.items()):
        loaded = rail.do(VAN, "load", [start, noted], item=item)
        put = rail.do(VAN, "put_down", loaded, item=item, station=to)
        rail.shelves[item] = to
        if item == rail.mine:
            rail.case.hop(put)
    rail.orders.clear()


def pick_up(rail: Railway, owner: str, item: str, station: str) -> None:
    """Come to a station for a thing."""
    case = rail.case
    came = rail.do(owner, "come_to_counter", None, item=item, station=station)
    looked = rail.do(station, "look_on_shelf", came, item=item)
    if rail.shelves[item] == station:
        rail.do(station, "hand_over", looked, item=item)
        rail.do(owner, "sign", looked, item=item)
        return
    case.hop(looked)
    case.symptom(
        rail.do(owner, "leave_with_nothing", looked, item=item),
        f"I took the day off to collect my {rail.thing} in {station}, and there is no trace of it",
        f"{owner} was promised it would lie at the counter of {station} by now",
        f"{item} has not arrived, the man behind the counter had never heard of it",
    )


def grant(rail: Railway, owner: str, item: str, visit: float, *, short: bool = False) -> None:
    """Grant a permit to fetch a thing from the strongroom until after the planned visit."""
    case, is_mine = rail.case, item == rail.mine
    rng = case.rng(f"permit/{item}")
    planned = rail.do(owner, "announce_visit", None, item=item, day=int(visit))
    spare = rng.randint(1, 9)
    until = rail.time + rng.uniform(0.3, 0.9) * (visit - rail.time) if short else visit + spare
    granted = rail.do(DESK, "grant_permit", planned, item=item, until=round(until, 1))
    rail.permits[item] = until
    rail.write(DESK, owner, granted, about="permit", item=item, until=round(until, 1))
    if is_mine:
        case.root(granted)
        case.hop(granted)


def hear_permit(rail: Railway, who: str, body: Body, got: str) -> None:
    """Put a permit into the purse."""
    rail.do(who, "put_into_purse", got, item=body["item"])


def fetch(rail: Railway, owner: str, item: str) -> None:
    """Come to the strongroom with a permit."""
    case = rail.case
    shown = rail.do(owner, "show_permit", None, item=item)
    checked = rail.do(STORE, "check_permit", shown, item=item, until=round(rail.permits[item], 1))
    if rail.permits[item] >= rail.time:
        rail.do(STORE, "open_strongroom", checked, item=item)
        return
    case.hop(checked)
    case.symptom(
        rail.do(owner, "be_sent_away", checked, item=item),
        "I came on exactly the day that I had announced, and the guard would not let me in",
        f"{owner} stood before the strongroom with all papers and was refused",
        f"My own {rail.thing} is behind that door, and they say that I have no right to take it",
    )


def hear_news(rail: Railway, who: str, body: Body, got: str) -> None:
    """Hear something of no importance."""
    rail.do(who, "nod", got, item=body["item"])


HEAR: dict[str, Callable[[Railway, str, Body, str], None]] = {
    "found": hear_found,
    "claim": hear_claim,
    "answer": hear_answer,
    "wish": hear_wish,
    "permit": hear_permit,
    "news": hear_news,
}


def begin(rail: Railway) -> None:
    """Do what the case is about, well or badly."""
    case, owner, item = rail.case, rail.owner, rail.number()
    rail.mine = item
    wait = case.end - case.begin
    first, second = rail.stations
    if case.has("omitted_message"):
        find(rail, first, item, rail.thing)
        rail.later(wait, lambda: claim(rail, owner, item, rail.thing, has_receipt=True))
    elif case.has("dead_letter"):
        ask_forward(rail, owner, item, second)
        rail.later(wait, lambda: pick_up(rail, owner, item, second))
    elif case.has("out_of_order"):
        ask_forward(rail, owner, item, second, first=first)
        rail.later(wait, lambda: pick_up(rail, owner, item, second))
    else:
        grant(rail, owner, item, rail.time + wait, short=case.strikes("expired_permission", int(rail.time)))
        rail.later(wait, lambda: fetch(rail, owner, item))


def plan_day(rail: Railway) -> None:
    """Plan what happens on a day."""
    case, day = rail.case, int(rail.time)
    rng = case.rng(f"day/{day}")
    for _ in range(rng.randint(2, 4)):
        plan_find(rail, rng.uniform(0.02, 0.5), rng.random() < 0.15)
    if rng.random() < 0.5:
        item, owner, thing = rail.number(), rng.choice(NAMES), rng.choice(THINGS)
        rail.later(rng.uniform(0.05, 0.8), lambda: claim(rail, owner, item, thing, has_receipt=False))
    for _ in range(rng.randint(1, 2)):
        plan_forward(rail, rng.uniform(0.02, 0.5))
    if rng.random() < 0.6 or day == case.decoy_at:
        plan_permit(rail, rng.uniform(0.02, 0.6))
    if rng.random() < 0.5 or day == case.decoy_at:
        who, to, item = rng.choice(STATIONS), rng.choice((DESK, ANNEX, rng.choice(STATIONS))), rail.number()
        rail.later(rng.random(), lambda: gossip(rail, who, to, item))
    if rng.random() < 0.3:
        name, value = rng.choice(("counter_hours", "fee", "heating", "bell")), rng.randint(1, 9)
        rail.later(rng.random(), lambda: SystemLogger("railway").log_config(name, 5, value))
    if rng.random() < 0.2 or day == case.decoy_at:
        rail.later(rng.random(), lambda: rail.log(VAN).warning("flat tyre, changed it", {"wheel": "rear"}))
    if day == case.decoy_at:
        rail.later(0.1, lambda: rail.log(BOARD).error("fuse blew, ten minutes without a line", {"fuse": 4}))


def plan_find(rail: Railway, wait: float, is_food: bool) -> None:
    """Plan that something is found and, mostly, claimed some days later."""
    item = rail.number()
    rng = rail.case.rng(f"find/{item}")
    station, owner, thing = (
        rng.choice(STATIONS),
        rng.choice(NAMES),
        "sandwich" if is_food else rng.choice(THINGS),
    )
    rail.later(wait, lambda: find(rail, station, item, thing))
    if rng.random() < 0.7:
        after = wait + rng.uniform(0.5, 6)
        rail.later(after, lambda: claim(rail, owner, item, thing, has_receipt=not is_food))


def plan_forward(rail: Railway, wait: float) -> None:
    """Plan that a thing is forwarded and picked up, sometimes after a change of mind or a wrong number."""
    item = rail.number()
    rng = rail.case.rng(f"ask/{item}")
    owner, (first, second) = rng.choice(NAMES), rng.sample(STATIONS, 2)
    if rng.random() < 0.3:
        rail.later(wait, lambda: ask_forward(rail, owner, item, second, first=first))
    else:
        by = ANNEX if rng.random() < 0.25 else STORE
        rail.later(wait, lambda: ask_forward(rail, owner, item, second, by=by))
    rail.later(wait + rng.uniform(1.8, 5), lambda: pick_up(rail, owner, item, second))


def plan_permit(rail: Railway, wait: float) -> None:
    """Plan that a permit is granted; some announce a late visit and never come."""
    item = rail.number()
    rng = rail.case.rng(f"plan/{item}")
    owner, days, comes = rng.choice(NAMES), rng.uniform(0.5, 9), rng.random() < 0.7
    rail.later(wait, lambda: grant(rail, owner, item, rail.time + days, short=not comes))
    if comes:
        rail.later(wait + days, lambda: fetch(rail, owner, item))


def gossip(rail: Railway, who: str, to: str, item: str) -> None:
    """Write something of no importance."""
    thought = rail.do(who, "look_out_of_window", None, item=item)
    rail.write(who, to, thought, about="news", item=item)


def play(case: Case) -> None:
    """Play some weeks."""
    rail = Railway(case)
    for day in range(rail.days):
        rail.time = float(day)
        plan_day(rail)
        rail.later(0.1, lambda: drive(rail))
        if day == case.begin:
            rail.later(case.rng("hour").uniform(0.15, 0.5), lambda: begin(rail))
        rail.later(0.9, lambda: read_pile(rail))
        while rail.heap and rail.heap[0].time < day + 1:
            due = heapq.heappop(rail.heap)
            rail.time = due.time
            due.act()


FAULTS = ("omitted_message", "dead_letter", "expired_permission", "out_of_order")
WORLD = World("lostproperty", "edges", FAULTS, play, 30)
