"""Cables under the sea: ships work on them, a control room leads traffic around, and a depot keeps spare parts.

Everybody has a box of messages, and actions name their causes; a tick is a night.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from Agent.record.messages import Message
from benchmarks.fault_worlds.kit import Case, World

SEGMENTS = ("Bude-Vigo", "Bude-Ponta", "Vigo-Ponta", "Ponta-Recife", "Vigo-Dakar", "Dakar-Recife")
CUSTOMERS = {
    "Meridian Bank": "Bude hall",
    "Hospital Grid": "Vigo hall",
    "Tele Norte": "Ponta hall",
    "Uni Atlas": "Dakar hall",
    "Radio Lagoa": "Recife hall",
}
SHIPS = ("Aurora", "Pelikan", "Tern")
WATCHES = ("coast watch", "buoy post", "trawler desk")
DEPOT, CONTROL, RELAY = "depot Cadiz", "control room", "mail relay"
ROLES = {
    **dict.fromkeys(CUSTOMERS, "customer"),
    **dict.fromkeys(CUSTOMERS.values(), "station"),
    **dict.fromkeys(SHIPS, "ship"),
    **dict.fromkeys(WATCHES, "watch"),
}
NEAR = 6

Body = dict[str, Any]


class Sea:
    """What is true of the cables, what the control room believes, and the plan of one case."""

    def __init__(self, case: Case, nights: int) -> None:
        self.case, self.now, self.nights, self.numbers = case, 0, nights, case.seed % 400
        rng = case.rng("plan")
        self.customer = rng.choice(list(CUSTOMERS))
        self.segment, (self.ship, self.other_ship) = rng.choice(SEGMENTS), rng.sample(SHIPS, 2)
        self.watch, self.job = rng.choice(WATCHES), f"R{rng.randint(600, 999)}"
        self.logs: dict[str, AgentLogger] = {}
        self.box: deque[Message] = deque()
        self.hall_box: deque[Message] = deque()
        start = case.rng("routes")
        self.believed = {name: start.choice(SEGMENTS) for name in CUSTOMERS}
        self.believed[self.customer] = self.segment
        self.routes = {name: (segment, "") for name, segment in self.believed.items()}
        self.works: dict[str, list[int]] = {segment: [] for segment in SEGMENTS}
        self.plans: dict[int, list[tuple[str, str, str]]] = {}
        self.dark: dict[str, str] = {}
        self.repairs: dict[int, list[Body]] = {}
        self.believed_km: dict[str, tuple[int, str]] = {}
        self.kits: dict[str, str] = {}
        self.late: list[tuple[str, list[str]]] = []

    def log(self, who: str) -> AgentLogger:
        """Return the log of somebody."""
        if who not in self.logs:
            self.logs[who] = AgentLogger(who, ROLES.get(who, "shore"))
        return self.logs[who]

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record an act."""
        return self.log(who).log_action(what, data, causes=causes)

    def say(self, who: str, to: str, cause: str, /, **body: Any) -> str:
        """Write to somebody; the relay puts aside what has no known address."""
        message = self.log(who).send(to, body, causes=cause)
        if to not in ROLES and to not in {DEPOT, CONTROL}:
            aside = self.do(RELAY, "put_aside", message.event_id, address=to, kind=body["kind"])
            if body["kind"] == "order_kit":
                self.case.root(message.event_id, aside)
        elif ROLES.get(to) == "station":
            self.hall_box.append(message)
        else:
            self.box.append(message)
        return message.event_id

    def number(self, letters: str) -> str:
        """Return the next number of a job."""
        self.numbers += 1
        return f"{letters}{self.numbers}"

    def deliver(self) -> None:
        """Let all read their boxes."""
        while self.box:
            message = self.box.popleft()
            got = self.log(message.recipient).receive(message)
            HANDLERS[message.body["kind"]](self, message.recipient, message.body, got)

    def read_in_halls(self) -> None:
        """Let the halls read theirs, as they do at midnight."""
        batch = list(self.hall_box)
        self.hall_box.clear()
        mine = [one for one in batch if one.body["customer"] == self.customer]
        if self.case.has("out_of_order") and self.now == self.case.begin:
            others = [one for one in batch if one not in mine]
            batch = others + (mine[::-1] if self.case.strikes("out_of_order", self.now) else mine)
        for message in batch:
            got = self.log(message.recipient).receive(message)
            switched = take_route(self, message.recipient, message.body, got)
            if message in mine and self.case.has("out_of_order") and self.now == self.case.begin:
                self.case.root(switched, got)


def take_route(sea: Sea, who: str, body: Body, got: str) -> str:
    """Lead the traffic of a customer over another segment."""
    customer = body["customer"]
    switched = sea.do(who, "switch_route", got, customer=customer, segment=body["segment"])
    sea.routes[customer] = body["segment"], switched
    return switched


def hear_notice(sea: Sea, who: str, body: Body, got: str) -> None:
    """Lead everybody around a segment on which somebody will work."""
    segment = body["segment"]
    sea.works[segment].append(body["night"])
    noted = sea.do(who, "note_work", got, segment=segment, night=body["night"])
    for customer, used in sea.believed.items():
        free = [one for one in SEGMENTS if all(night < sea.now for night in sea.works[one])]
        if used == segment and free:
            load = list(sea.believed.values())
            sea.believed[customer] = min(free, key=lambda one: (load.count(one), one))
            sea.say(
                who,
                CUSTOMERS[customer],
                noted,
                kind="reroute",
                customer=customer,
                segment=sea.believed[customer],
            )


def hear_position(sea: Sea, who: str, body: Body, got: str) -> None:
    """Believe where a cable is chafed, order a kit and set a night for the repair."""
    job = body["job"]
    noted = sea.do(who, "note_position", got, job=job, segment=body["segment"], km=body["km"])
    sea.believed_km[job] = body["km"], noted
    planned = job == sea.job and sea.now == sea.case.begin
    if planned and sea.case.has("false_belief"):
        sea.case.root(got, noted)
    is_lost = planned and sea.case.strikes("dead_letter", sea.now)
    sea.say(
        who, "depot Cadix" if is_lost else DEPOT, noted, kind="order_kit", job=job, segment=body["segment"]
    )


def hear_kit(sea: Sea, who: str, body: Body, got: str) -> None:
    """Pack a kit for a job."""
    sea.kits[body["job"]] = sea.do(who, "pack_kit", got, job=body["job"], segment=body["segment"])


def hear_order(sea: Sea, who: str, body: Body, got: str) -> None:
    """Load, sail, fish for the cable and mend it."""
    job = body["job"]
    packed = sea.kits.pop(job, "")
    loaded = sea.do(who, "load", [got, packed] if packed else got, job=job, kits=int(bool(packed)))
    fished = sea.do(who, "grapple", loaded, job=job, km=body["km"])
    is_there = abs(body["km"] - body["truth"]) <= NEAR
    result = "mended" if is_there and packed else ("no kit on board" if is_there else "only mud")
    ended = sea.do(who, "end_night", fished, job=job, result=result)
    sea.case.hop(loaded, fished, ended)
    sea.say(who, CONTROL, ended, kind="report", job=job, result=result, customer=body["customer"])


def hear_report(sea: Sea, who: str, body: Body, got: str) -> None:
    """Tell the customer how the night went."""
    told = sea.do(who, "close_job" if body["result"] == "mended" else "prolong_job", got, job=body["job"])
    sea.case.hop(told)
    sea.say(who, body["customer"], told, kind="news", job=body["job"], is_done=body["result"] == "mended")


def hear_news(sea: Sea, who: str, body: Body, got: str) -> None:
    """Take note; a customer without the promised line for another week complains."""
    if body["is_done"]:
        sea.do(who, "thank", got, job=body["job"])
        return
    sea.case.symptom(
        sea.do(who, "run_on_satellite", got, job=body["job"]),
        "You promised us a repaired line this morning, now it is another ten days on the dish",
        f"{who} pays for a fast line and still gets six hundred milliseconds",
        f"ticket {body['job']}: the ship came home and nothing is repaired, why?",
        "Third call in a row with an echo. What did that boat do all night?",
    )


def hear_small_talk(sea: Sea, who: str, body: Body, got: str) -> None:
    """Read what needs no answer."""
    sea.do(who, "file_letter", got, subject=body["subject"])


HANDLERS: dict[str, Callable[[Sea, str, Body, str], None]] = {
    "work_notice": hear_notice,
    "position": hear_position,
    "order_kit": hear_kit,
    "repair": hear_order,
    "report": hear_report,
    "news": hear_news,
    "letter": hear_small_talk,
}


def plan_work(sea: Sea, ship: str, segment: str, night: int, *, is_told: bool = True) -> tuple[str, str]:
    """Plan a night of work on a segment, and tell the control room."""
    planned = sea.do(ship, "plan_work", None, segment=segment, night=night)
    sea.plans.setdefault(night, []).append((ship, segment, planned))
    if is_told:
        sea.say(ship, CONTROL, planned, kind="work_notice", segment=segment, night=night)
    return planned, sea.do(ship, "order_fuel", planned, tons=20 + night % 30)


def make_plans(sea: Sea) -> None:
    """Plan what ships do in the next nights."""
    case, rng = sea.case, sea.case.rng(f"plans/{sea.now}")
    mine = {sea.segment} if case.has("omitted_message") or case.has("out_of_order") else set()
    is_quiet = case.has("out_of_order") and case.begin <= sea.now <= case.end
    if rng.random() < 0.4 and not is_quiet:
        segment, night = rng.choice(SEGMENTS[:4]), sea.now + rng.randint(1, 6)
        held = sum(any(one >= sea.now for one in nights) for nights in sea.works.values())
        if (
            segment not in mine
            and held < 3
            and not (case.has("out_of_order") and sea.now < case.begin <= night)
        ):
            plan_work(sea, rng.choice(SHIPS), segment, night)
    if sea.now != case.begin:
        return
    if case.has("omitted_message"):
        is_told = not case.strikes("omitted_message", sea.now)
        case.root(*plan_work(sea, sea.ship, sea.segment, case.end, is_told=is_told))
    if case.has("out_of_order"):
        plan_work(sea, sea.ship, sea.believed[sea.customer], case.end)
        sea.deliver()
        plan_work(sea, sea.other_ship, sea.believed[sea.customer], case.end)


def look_out(sea: Sea) -> None:
    """Report chafed cables, and send ships to those whose night has come."""
    case, rng = sea.case, sea.case.rng(f"watch/{sea.now}")
    planned = sea.now == case.begin and (case.has("false_belief") or case.has("dead_letter"))
    spots = [(rng.choice(WATCHES), sea.number("R"), rng.randint(1, 8))] if rng.random() < 0.45 else []
    if planned:
        spots.append((sea.watch, sea.job, case.end - case.begin))
    for watch, job, delay in spots:
        truth, segment = rng.randint(120, 880), rng.choice(SEGMENTS)
        km = truth + rng.randint(-4, 4)
        seen = sea.do(watch, "see_anchor", None, segment=segment, ship=rng.choice(("a tanker", "a trawler")))
        if job == sea.job and case.strikes("false_belief", sea.now):
            km = int(str(truth)[::-1]) if abs(int(str(truth)[::-1]) - truth) > 20 else truth + 90
        sent = sea.say(watch, CONTROL, seen, kind="position", job=job, segment=segment, km=km)
        if job == sea.job and case.has("false_belief"):
            case.root(sent)
        name = sea.customer if job == sea.job else rng.choice(list(CUSTOMERS))
        order: Body = {"job": job, "segment": segment, "truth": truth, "customer": name}
        sea.repairs.setdefault(sea.now + delay, []).append(order)
    for due in sea.repairs.pop(sea.now, []):
        km, noted = sea.believed_km[due["job"]]
        sea.say(
            CONTROL,
            sea.ship if due["job"] == sea.job else rng.choice(SHIPS),
            noted,
            kind="repair",
            km=km,
            **due,
        )


def work_at_night(sea: Sea) -> None:
    """Take light from segments and give it back to others."""
    for segment in list(sea.dark):
        sea.do(CONTROL, "confirm_light", sea.dark.pop(segment), segment=segment)
    for ship, segment, planned in sea.plans.pop(sea.now, []):
        sea.dark[segment] = sea.do(ship, "take_power_off", planned, segment=segment)


def use_lines(sea: Sea) -> None:
    """Let customers send their traffic."""
    case, rng = sea.case, sea.case.rng(f"use/{sea.now}")
    for customer, hall in CUSTOMERS.items():
        for _ in range(rng.randint(1, 3)):
            sent = sea.do(customer, "send_traffic", None, gigabits=rng.randint(1, 80))
            segment, switched = sea.routes[customer]
            causes = [sent, switched] if switched else [sent]
            if segment not in sea.dark:
                sea.do(hall, "carry", causes, segment=segment, customer=customer)
                continue
            lost = sea.do(
                hall, "see_no_light", [*causes, sea.dark[segment]], segment=segment, customer=customer
            )
            if sea.now == case.end:
                case.hop(sea.dark[segment], lost)
            case.symptom(
                sea.do(customer, "lose_line", lost, minutes=rng.randint(30, 400)),
                f"{customer} was cut off in the middle of the night without a word of warning",
                f"{customer} had no connection for hours although there are five other ways across",
                "Why were our customers offline last night? Nobody told us about any work",
                "We lost everything at 1 am and found out from the newspaper",
            )


def chores(sea: Sea) -> None:
    """Do what belongs to any night."""
    rng = sea.case.rng(f"rest/{sea.now}")
    for _ in range(rng.randint(0, 2)):
        address = rng.choice((*CUSTOMERS, "old office", "Pelikan II", "depot Cadix", DEPOT, CONTROL))
        who = rng.choice((*SHIPS, *WATCHES, CONTROL))
        wrote = sea.do(who, "write_letter", None, pages=rng.randint(1, 5))
        sea.say(who, address, wrote, kind="letter", subject=rng.choice(("crew change", "invoice", "weather")))
    if rng.random() < 0.2:
        SystemLogger("desk").log_config(
            rng.choice(("alarm_volume", "shift_hours", "map_zoom")), 4, rng.randint(1, 9)
        )
    if rng.random() < 0.15 or sea.now == sea.case.decoy_at:
        who = rng.choice((*SHIPS, *CUSTOMERS.values()))
        sea.log(who).warning("battery on reserve, switched over", {"volts": rng.randint(40, 47)})


def play(case: Case) -> None:
    """Play some months on the sea."""
    nights = case.rng("nights").choice((20, 45, 90, 160))
    case.window(nights)
    sea = Sea(case, nights)
    for now in range(nights):
        sea.now = now
        with tick(now):
            work_at_night(sea)
            make_plans(sea)
            look_out(sea)
            chores(sea)
            sea.deliver()
            sea.read_in_halls()
            use_lines(sea)


FAULTS = ("omitted_message", "dead_letter", "false_belief", "out_of_order")
WORLD = World("seacables", "edges", FAULTS, play, 27)
