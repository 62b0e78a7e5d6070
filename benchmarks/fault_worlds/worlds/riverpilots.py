"""Pilots on a tidal river: agencies order them, a roster sends them, and a watch keeps the traffic. Telegrams only."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

PILOTS = ("pilot_ivers", "pilot_odgaard", "pilot_sand", "pilot_thorne")
AGENCIES = ("agency_holm", "agency_reis", "agency_van_dam")
BARS = ("Red Bar", "Gull Bar", "Mill Flat", "Nun Shoal")
STEMS = ("Alder", "Bittern", "Corran", "Dunlin", "Esker", "Fulmar", "Garnet", "Heron", "Isolde", "Juniper")
CHORES = ("polish_brass", "make_coffee", "air_lifejackets", "copy_tide_table", "wind_clock")

Form = dict[str, Any]


class River:
    """The telegraph, the ships that are due, and what is true of bars and berths."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.turn = case, case.rng("riverpilots"), 0
        desks = ("roster", "watch", "quay_office", "lock_keeper", "survey_launch", "hydro_office")
        names = (*desks, "pilotage_board", "mail_room", *AGENCIES, *PILOTS)
        self.log = {name: AgentLogger(name, name.partition("_")[0]) for name in names}
        self.wires: deque[tuple[str, Any, Form]] = deque()
        self.orders: dict[str, tuple[str, Form]] = {}
        self.exempt: dict[str, tuple[str, int]] = {}
        self.berths: dict[str, int] = {}
        self.agent_of: dict[str, str] = {}
        self.real = {bar: round(self.rng.uniform(9.0, 11.0), 1) for bar in BARS}
        self.notes: dict[str, tuple[str, float]] = {}
        self.due: dict[int, list[Form]] = {}
        self.ship = ""
        self.bar = self.rng.choice(BARS)
        self.count = case.seed % 60

    def does(self, who: str, what: str, why: str | list[str] | None = None, **facts: Any) -> str:
        """Record an act and what led to it."""
        return self.log[who].log_action(what, facts, causes=why)

    def wire(self, who: str, to: str, topic: str, why: str | list[str], **facts: Any) -> str:
        """Send a telegram; it is read before the turn ends."""
        form = {"topic": topic, **facts}
        slip = self.log[who].send(to, form, causes=why)
        self.wires.append((to, slip, {"sender": who, **form}))
        return slip.event_id

    def carry(self) -> None:
        """Hand out telegrams until none is left; those for unknown desks go to the mail room."""
        while self.wires:
            to, slip, form = self.wires.popleft()
            if to in self.log:
                got = self.log[to].receive(slip)
                DESKS[to.partition("_")[0], form["topic"]](self, to, got, form)
                continue
            kept = self.does("mail_room", "pigeonhole", slip.event_id, desk=to, topic=form["topic"])
            if form.get("ship") == self.ship:
                self.case.root(kept)
            if form.get("reply"):
                self.wire("mail_room", form["sender"], "unknown_desk", kept, form=form)

    def new_ship(self) -> str:
        self.count += 1
        name = f"MV {self.rng.choice(STEMS)} {self.count}"
        self.agent_of[name] = self.rng.choice(AGENCIES)
        self.berths[name] = self.rng.randint(1, 18)
        return name

    def of_ship(self, ship: str) -> random.Random:
        """Return the generator of a ship's passage, which no other ship uses."""
        return self.case.rng(f"passage of {ship}")

    def mine(self, ship: str, *events: str) -> None:
        if ship == self.ship:
            self.case.hop(*events)


def agency_unknown_desk(river: River, me: str, got: str, form: Form) -> None:
    again = {key: value for key, value in form["form"].items() if key not in {"sender", "topic", "reply"}}
    looked = river.does(me, "look_up_desk", got, topic=form["form"]["topic"])
    river.wire(me, "roster", form["form"]["topic"], looked, **again)


def agency_trouble(river: River, me: str, got: str, form: Form) -> None:
    ship = form["ship"]
    logged = river.does(me, "enter_delay", got, ship=ship, reason=form["reason"])
    words = {"ship": ship, "agency": me, "bar": river.bar, "berth": river.berths[ship]}
    river.case.symptom(logged, *(text.format(**words) for text in TEXTS[form["reason"]]))


def roster_order(river: River, me: str, got: str, form: Form) -> None:
    entered = river.does(me, "chalk_up", got, ship=form["ship"], turn=form["turn"], berth=form["berth"])
    river.orders[form["ship"]] = (entered, form)


def roster_new_berth(river: River, me: str, got: str, form: Form) -> None:
    changed = river.does(me, "rub_out", got, ship=form["ship"], berth=form["berth"])
    river.orders[form["ship"]] = (changed, {**river.orders[form["ship"]][1], "berth": form["berth"]})


def roster_notice(river: River, me: str, got: str, form: Form) -> None:
    pinned = river.does(me, "pin_up", got, bar=form["bar"], metres=form["metres"])
    river.notes[form["bar"]] = (pinned, form["metres"])
    if form["bar"] == river.bar and river.turn == river.case.begin and river.case.has("false_belief"):
        river.case.hop(got, pinned)


def roster_who(river: River, me: str, got: str, form: Form) -> None:
    ship = form["ship"]
    if ship not in river.orders:
        looked = river.does(me, "read_board", got, ship=ship, lines=0)
        river.mine(ship, got, looked)
        river.wire(me, "watch", "nobody", looked, ship=ship)
        return
    written, order = river.orders.pop(ship)
    pilot = river.of_ship(ship).choice(PILOTS)
    chosen = river.does(me, "assign", [got, written], ship=ship, pilot=pilot)
    river.mine(ship, written, chosen)
    river.wire(
        me, pilot, "go", chosen, ship=ship, berth=order["berth"], draught=order["draught"], bar=form["bar"]
    )


def pilot_go(river: River, me: str, got: str, form: Form) -> None:
    ship, bar = form["ship"], form["bar"]
    boarded = river.does(
        me, "climb_aboard", got, ship=ship, ladder=river.of_ship(ship).choice(("port", "starboard"))
    )
    note, metres = river.notes[bar]
    at = "half_tide" if metres >= form["draught"] + 0.6 else "high_water"
    planned = river.does(
        me, "plan_passage", [boarded, note], ship=ship, bar=bar, draught=form["draught"], cross_at=at
    )
    river.mine(ship, got, planned)
    river.wire(me, "watch", "under_way", planned, ship=ship, bar=bar, cross_at=at, draught=form["draught"])
    river.wire(me, "quay_office", "coming", planned, ship=ship, berth=form["berth"])


def watch_under_way(river: River, me: str, got: str, form: Form) -> None:
    ship = form["ship"]
    water = river.real[form["bar"]] + (2.5 if form["cross_at"] == "high_water" else 0.0)
    knots = river.of_ship(ship).choice((6, 7, 8)) if water > form["draught"] else 0
    seen = river.does(me, "follow_echo", got, ship=ship, off=form["bar"], knots=knots)
    if not knots:
        river.mine(ship, got, seen)
        river.wire(me, river.agent_of[ship], "trouble", seen, ship=ship, reason="not moving")


def watch_nobody(river: River, me: str, got: str, form: Form) -> None:
    anchored = river.does(
        me, "give_anchorage", got, ship=form["ship"], anchorage=river.of_ship(form["ship"]).choice("ABC")
    )
    river.mine(form["ship"], got, anchored)
    river.wire(me, river.agent_of[form["ship"]], "trouble", anchored, ship=form["ship"], reason="at anchor")


def watch_listed(river: River, me: str, got: str, form: Form) -> None:
    entered = river.does(me, "enter_certificate", got, ship=form["ship"], last_turn=form["last_turn"])
    river.exempt[form["ship"]] = (entered, form["last_turn"])
    river.mine(form["ship"], got, entered)


def quay_coming(river: River, me: str, got: str, form: Form) -> None:
    ship, berth = form["ship"], form["berth"]
    tied = river.does(
        me, "take_lines", got, ship=ship, berth=berth, bollards=river.of_ship(ship).randint(4, 9)
    )
    if berth != river.berths[ship]:
        river.mine(ship, got, tied)
        river.wire(me, river.agent_of[ship], "trouble", tied, ship=ship, reason="must shift")


def lock_new_berth(river: River, me: str, got: str, form: Form) -> None:
    river.does(me, "plan_locking", got, ship=form["ship"], berth=form["berth"])


def board_renew(river: River, me: str, got: str, form: Form) -> None:
    ship, last = form["ship"], form["until"]
    shorter = river.rng.randint(river.turn, max(river.turn, form["until"] - 2))
    if ship == river.ship and river.case.strikes("expired_permission", river.turn):
        last = min(shorter, river.case.end - 1)
    issued = river.does(me, "seal_certificate", got, ship=ship, last_turn=last)
    sent = river.wire(me, "watch", "listed", issued, ship=ship, last_turn=last)
    if ship == river.ship and river.case.has("expired_permission"):
        river.case.root(issued, sent)


def hydro_sounding(river: River, me: str, got: str, form: Form) -> None:
    drawn = river.does(me, "correct_chart", got, bar=form["bar"], metres=form["metres"])
    sent = river.wire(me, "roster", "notice", drawn, bar=form["bar"], metres=form["metres"])
    if form["bar"] == river.bar and river.turn == river.case.begin and river.case.has("false_belief"):
        river.case.hop(drawn, sent)


DESKS: dict[tuple[str, str], Callable[[River, str, str, Form], None]] = {
    ("agency", "unknown_desk"): agency_unknown_desk,
    ("agency", "trouble"): agency_trouble,
    ("roster", "order"): roster_order,
    ("roster", "new_berth"): roster_new_berth,
    ("roster", "notice"): roster_notice,
    ("roster", "who_takes"): roster_who,
    ("pilot", "go"): pilot_go,
    ("watch", "under_way"): watch_under_way,
    ("watch", "nobody"): watch_nobody,
    ("watch", "listed"): watch_listed,
    ("quay", "coming"): quay_coming,
    ("lock", "new_berth"): lock_new_berth,
    ("pilotage", "renew"): board_renew,
    ("hydro", "sounding"): hydro_sounding,
}

TEXTS = {
    "not moving": (
        "{ship} is stuck on {bar} and we wait for tugs, how could she be taken over it at that water?",
        "Our ship ran aground with a pilot of the roster on board. Why?",
        "the watch says {ship} makes no way since {bar}, there was too little water under her",
    ),
    "at anchor": (
        "{ship} lies at anchor, nobody came out to her although we had booked",
        "we ordered a pilot for {ship} and the roster has never heard of it",
        "Why is no pilot there for {ship}? She costs us a fortune for every turn of the tide",
    ),
    "must shift": (
        "{ship} was made fast at the wrong berth and has to shift again, {berth} was the right one",
        "the cranes wait at berth {berth} and our {ship} is somewhere else",
        "Who brought {ship} to the old place? the lock_keeper knew better",
    ),
    "turned round": (
        "{ship} was sent back to sea by the watch, they do not let her in without a pilot any more",
        "Why may the master of {ship} not sail up alone? He always did",
        "{agency} had to send {ship} round again, her certificate was not good on the day",
    ),
}


def book(river: River, *, planned: bool = False) -> None:
    """An agency orders a pilot for a ship that comes later; some forms go to a desk that is not there."""
    rng, case = river.rng, river.case
    ship = river.ship if planned else river.new_ship()
    agency = river.agent_of[ship]
    due = case.end if planned else river.turn + rng.randint(1, 9)
    bar = river.bar if planned else rng.choice(BARS)
    draught = round(rng.uniform(5.0, 7.9), 1)
    if case.has("false_belief"):
        draught = round(river.real[river.bar] + 0.9, 1) if planned else draught
    asked = river.does(agency, "open_call", ship=ship, draught=draught, eta_turn=due)
    river.due.setdefault(due, []).append({"ship": ship, "bar": bar})
    facts = {"ship": ship, "draught": draught, "turn": due, "berth": river.berths[ship]}
    lost = case.strikes("dead_letter", river.turn) if planned else rng.random() < 0.12
    reply = not planned and (lost or rng.random() < 0.5)
    sent = river.wire(agency, "relief_roster" if lost else "roster", "order", asked, reply=reply, **facts)
    if planned and case.has("dead_letter"):
        case.root(sent)


def move_berth(river: River, ship: str, *, piloted: bool) -> None:
    """The quay office gives a ship another berth; those without a pilot concern the lock only."""
    rng, case = river.rng, river.case
    river.berths[ship] = 1 + (river.berths[ship] + rng.randint(0, 15)) % 18
    moved = river.does("quay_office", "swap_berth", ship=ship, berth=river.berths[ship])
    told = river.wire("quay_office", "lock_keeper", "new_berth", moved, ship=ship, berth=river.berths[ship])
    planned = ship == river.ship
    if planned:
        case.root(moved, told)
    if piloted and not (planned and case.strikes("omitted_message", river.turn)):
        river.wire("quay_office", "roster", "new_berth", moved, ship=ship, berth=river.berths[ship])


def renew(river: River, *, planned: bool = False) -> None:
    """A master who knows the river asks for leave to sail it alone."""
    rng, case = river.rng, river.case
    ship = river.ship if planned else river.new_ship()
    due = case.end if planned else river.turn + rng.randint(1, 9)
    until = due + rng.randint(0, 6)
    wish = river.does(river.agent_of[ship], "ask_exemption", ship=ship, trips=rng.randint(3, 30))
    river.wire(river.agent_of[ship], "pilotage_board", "renew", wish, ship=ship, until=until)
    river.due.setdefault(due, []).append({"ship": ship, "bar": rng.choice(BARS)})


def sound(river: River, bar: str) -> None:
    """The launch measures a bar and tells the hydrographers."""
    case, metres = river.case, round(river.real[bar] + river.rng.uniform(-0.1, 0.1), 1)
    planned = case.has("false_belief") and bar == river.bar and river.turn == case.begin
    ran = river.does("survey_launch", "run_lines", bar=bar, lines=river.rng.randint(5, 12))
    if planned and case.strikes("false_belief"):
        metres = round(metres + 2.0 + 0.1 * (case.seed % 7), 1)
    sent = river.wire("survey_launch", "hydro_office", "sounding", ran, bar=bar, metres=metres)
    if planned:
        case.root(sent)


def arrive(river: River, ship: str, bar: str) -> None:
    """A ship calls the watch, which looks for her certificate or asks for her pilot."""
    heard = river.does("watch", "answer_radio", ship=ship, channel=river.rng.choice((12, 14)))
    if ship == river.ship and river.case.kind in {"false_belief", "expired_permission"}:
        river.case.trigger(heard)
    if ship not in river.exempt:
        asked = river.wire("watch", "roster", "who_takes", heard, ship=ship, bar=bar)
        river.mine(ship, asked)
        return
    entry, last = river.exempt.pop(ship)
    if last >= river.turn:
        cleared = river.does("watch", "wave_through", [heard, entry], ship=ship)
        river.wire("watch", "quay_office", "coming", cleared, ship=ship, berth=river.berths[ship])
        return
    turned = river.does("watch", "turn_round", [heard, entry], ship=ship, last_turn=last)
    river.mine(ship, turned)
    river.wire("watch", river.agent_of[ship], "trouble", turned, ship=ship, reason="turned round")


def a_turn(river: River) -> None:
    """One turn of the tide."""
    rng, case, now = river.rng, river.case, river.turn
    begins = now == case.begin
    for bar in BARS:
        spared = case.has("false_belief") and bar == river.bar and now > 0
        if now == 0 or (rng.random() < 0.2 and not spared) or (begins and spared):
            sound(river, bar)
    if now == 1:
        river.ship = river.new_ship()
    early = case.has("omitted_message") and now == case.begin - 1
    late = case.has("false_belief") and now == max(case.begin, case.end - 1)
    if early or late or (case.has("dead_letter") and begins):
        river.carry()
        book(river, planned=True)
    for _ in range(rng.choice((1, 1, 2))):
        book(river)
    if begins and case.has("expired_permission"):
        renew(river, planned=True)
    if rng.random() < 0.5:
        renew(river)
    river.carry()
    if begins and case.has("omitted_message"):
        move_berth(river, river.ship, piloted=True)
    waiting = sorted((set(river.orders) | set(river.exempt)) - {river.ship})
    for ship in rng.sample(waiting, min(len(waiting), rng.choice((0, 1, 1)))):
        move_berth(river, ship, piloted=ship in river.orders)
    river.carry()
    for form in river.due.pop(now, []):
        arrive(river, form["ship"], form["bar"])
        river.carry()
    if rng.random() < 0.6:
        who = rng.choice(sorted(river.log))
        river.does(who, rng.choice(CHORES), minutes=rng.randint(5, 40))
    if rng.random() < 0.25:
        text = rng.choice(("radio hisses", "launch engine coughs", "telegraph jammed, sent again"))
        river.log[rng.choice(sorted(river.log))].warning(text, {"seconds": rng.randint(3, 90)})
    if rng.random() < 0.3:
        river.wire(rng.choice(AGENCIES), "old_boys_club", "invitation", river.does("watch", "read_barometer"))
    if now == case.decoy_at:
        log = river.log[rng.choice(PILOTS)]
        log.log_state_change({"watch_bill": "A"}, {"watch_bill": rng.choice("BC")}, "swap of shifts")
        river.log["lock_keeper"].error("gate motor tripped", {"amps": rng.randint(40, 70)})
    river.carry()


def play(case: Case) -> None:
    """Play some weeks of tides."""
    turns = case.rng("turns").choice((25, 40, 60, 75))
    case.window(turns)
    river = River(case)
    for river.turn in range(turns):
        with tick(river.turn):
            a_turn(river)


WORLD = World(
    "riverpilots",
    "edges",
    ("dead_letter", "omitted_message", "expired_permission", "false_belief"),
    play,
    23,
)
