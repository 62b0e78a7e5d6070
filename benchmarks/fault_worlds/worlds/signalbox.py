"""A branch line worked by bell and telegram: boxes, a control office, stations, gangs. Messages and `causes=`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

BOXES = ("Alder Box", "Birch Box", "Cray Box", "Dunmore Box", "Elm Box", "Fenwick Box")
STATIONS = ("Thornby", "Little Marsh", "Oxley Road")
DRIVERS = ("driver Pell", "driver Strand", "driver Ames", "driver Kerr")
GANGS = ("gang 4", "gang 9")
CONTROL, OFFICE = "Control", "Telegraph"
CLOSED_HOLE = 7  # the pigeonhole of Fallow Box, which is boarded up


class Branch:
    """Everybody who writes in a train register, and what each of them knows."""

    def __init__(self, case: Case) -> None:
        self.case, self.day, self.serial = case, 0, 100
        roles = {CONTROL: "control", OFFICE: "telegraph"}
        roles |= dict.fromkeys(BOXES, "box") | dict.fromkeys(STATIONS, "station")
        roles |= dict.fromkeys(DRIVERS, "driver") | dict.fromkeys(GANGS, "gang")
        self.books = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.board: dict[
            str, tuple[str, str]
        ] = {}  # what control believes stands in a loop, and since which event
        self.loops: dict[str, str] = {}  # what really stands there
        self.pinned: dict[tuple[str, str, int], str] = {}  # notices on the wall of a box
        self.speed: dict[str, tuple[int, str]] = dict.fromkeys(BOXES, (50, ""))
        self.bears = dict.fromkeys(BOXES, 50)
        self.bag: list[tuple[int, str, dict[str, Any], str]] = []
        self.holes: list[tuple[int, int, str, dict[str, Any], str]] = []
        rng = case.rng("branch")
        self.mine, self.other, self.third = rng.sample(BOXES, 3)
        self.town = rng.choice(STATIONS)
        self.driver = rng.choice(DRIVERS)
        self.gang = rng.choice(GANGS)
        self.train = f"{rng.randint(1, 9)}{rng.choice('MTZV')}{rng.randint(10, 99)}"
        self.due: list[tuple[int, str, str, str]] = []  # connections: day, box, train, station
        self.wide: list[tuple[int, str, str, str]] = []  # wide loads: day, box, load, station
        self.tight: set[str] = set()  # sections on which nothing heavy is sent

    def headcode(self, rng: random.Random, letters: str = "ACDF") -> str:
        return f"{rng.randint(1, 9)}{rng.choice(letters)}{rng.randint(10, 99)}"

    def number(self) -> str:
        self.serial += 1
        return f"C.{self.serial}"

    def act(self, who: str, deed: str, causes: Sequence[str] = (), **what: Any) -> str:
        """Write one line into somebody's book."""
        return self.books[who].log_action(deed, what, causes=[cause for cause in causes if cause] or None)

    def ring(self, who: str, to: str, signal: str, cause: str, **body: Any) -> tuple[str, str]:
        """Send by wire or bell, which arrives at once; return both events."""
        sent = self.books[who].send(to, {"signal": signal, **body}, causes=cause or None)
        return sent.event_id, self.books[to].receive(sent)


def run_train(line: Branch, code: str, start: int, sections: int, late: str = "") -> str:
    """Pass a train from box to box; return the last event."""
    done = late
    for number in range(start, min(start + sections, len(BOXES) - 1)):
        here, there = BOXES[number], BOXES[number + 1]
        _, asked = line.ring(here, there, "is line clear", done, train=code)
        _, told = line.ring(
            there, here, "line clear", line.act(there, "accept", [asked], train=code), train=code
        )
        done = line.act(
            here, "pull_off", [told, line.speed[here][1]], train=code, max_mph=line.speed[here][0]
        )
    return done


def set_out(line: Branch, box: str, wagon: str, road: str, *, wires: bool) -> None:
    """Put a crippled wagon away; control is wired if it stands in a loop."""
    found = line.act(box, "examine_train", wagon=wagon, axle=f"{line.case.rng(wagon).randint(70, 99)} C")
    put = line.act(box, "set_out", [found], wagon=wagon, road=road)
    if road == "loop":
        line.loops[box] = wagon
    if wires:
        _, got = line.ring(box, CONTROL, "wagon in loop", put, wagon=wagon)
        line.board[box] = wagon, line.act(CONTROL, "chalk_up", [got], box=box, road=road, wagon=wagon)
    entry = line.act(box, "enter_register", [put], wagon=wagon, road=road)
    if line.case.has("omitted_message") and box == line.mine and line.day == line.case.begin:
        line.case.root(put, entry, found)


def fetch_wagon(line: Branch, box: str) -> None:
    """An engine takes a mended wagon away, and control is told."""
    taken = line.act(box, "couple_up", wagon=line.loops.pop(box))
    _, got = line.ring(box, CONTROL, "loop clear", taken)
    line.board.pop(box, None)
    line.act(CONTROL, "wipe_off", [got], box=box)


def wagons(line: Branch, rng: random.Random) -> None:
    """Wagons are set out and fetched; those in a coal dock are in nobody's way, so nobody is wired."""
    case, mine = line.case, line.mine if line.case.has("omitted_message") else ""
    if rng.random() < 0.5:
        box, road = rng.choice(BOXES), rng.choice(("loop", "coal dock"))
        wagon = f"W{rng.randint(10000, 99999)}"
        if road == "coal dock" or (box != mine and box not in line.loops):
            set_out(line, box, wagon, road, wires=road == "loop")
    kept = {mine, line.other if mine else ""}
    fetched = [box for box in line.loops if box not in kept]
    if fetched and rng.random() < 0.6:
        fetch_wagon(line, rng.choice(fetched))
    if mine and line.day == case.end - 1 and line.other in line.loops:
        fetch_wagon(line, line.other)
    if mine and line.day == case.begin:
        set_out(
            line,
            mine,
            f"W{rng.randint(10000, 99999)}",
            "loop",
            wires=not case.strikes("omitted_message", line.day),
        )


def goods(line: Branch, rng: random.Random) -> None:
    """Control lets slow trains be overtaken in the first loop of its list that is free on its board."""
    case, plan = line.case, []
    if rng.random() < 0.7:
        safe = [box for box in BOXES if not (case.has("omitted_message") and box == line.mine)]
        plan.append((line.headcode(rng, "68"), rng.sample(safe, 3), rng.choice(STATIONS)))
    if case.has("omitted_message") and line.day == case.end:
        plan.append((line.train, [line.mine, line.other, line.third], line.town))
    for code, wanted, town in plan:
        free = next((box for box in wanted if box not in line.board), wanted[-1])
        known = [line.board[box][1] for box in wanted if box in line.board]
        chosen = line.books[CONTROL].log_decision(
            "overtake",
            {"train": code, "loop": free},
            f"first free of {', '.join(wanted)}",
            causes=known or None,
        )
        _, got = line.ring(CONTROL, free, "turn in", chosen, train=code)
        stands = line.loops.get(free, "")
        if not stands or free in line.board:
            line.act(free, "turn_in", [got], train=code)
            continue
        held = line.act(free, "stop_at_home_signal", [got], train=code, loop_has=stands)
        _, heard = line.ring(free, town, "running late", held, train=code, minutes=rng.randint(45, 90))
        case.hop(chosen, held)
        late = line.act(town, "announce_delay", [heard], train=code, behind=line.train)
        tell(line, late, "omitted_message")


def holds(line: Branch, rng: random.Random) -> None:
    """Control asks boxes to keep a connection on a later day; on that day a box looks at its wall."""
    case, today = line.case, line.day
    if rng.random() < 0.55:
        box, code, ahead = rng.choice(BOXES), line.headcode(rng), rng.choice((1, 1, 2, 4, 8, 15))
        hold(line, box, code, today + ahead)
        if rng.random() < 0.3:  # for information only
            hold(line, rng.choice(BOXES), code, today + ahead, copy=True)
        line.due.append((today + ahead, box, code, rng.choice(STATIONS)))
    if case.has("wrong_recipient") and today == case.begin:
        box = line.other if case.strikes("wrong_recipient", today) else line.mine
        case.root(hold(line, box, line.train, case.end))
    mine = [(case.end, line.mine, line.train, line.town)] if case.has("wrong_recipient") else []
    for day, box, code, town in [*line.due, *mine]:
        if day != today:
            continue
        feeder = line.headcode(rng, "E")
        _, rung = line.ring(town, box, "feeder late", line.act(town, "note_late", train=feeder), train=feeder)
        notice = line.pinned.get((box, code, day), "")
        if notice:
            line.act(box, "keep_at_danger", [rung, notice], train=code, until=feeder)
            continue
        gone = line.act(box, "clear_starter", [rung], train=code, minute=0)
        _, heard = line.ring(box, town, "departed", gone, train=code)
        case.hop(gone)
        tell(line, line.act(town, "order_taxis", [heard], missed=code, from_train=feeder), "wrong_recipient")


def hold(line: Branch, box: str, code: str, day: int, *, copy: bool = False) -> str:
    """Send one notice; it stays on the wall of the box."""
    asked = line.act(CONTROL, "plan_connection", train=code, on_day=day)
    signal = "hold, copy" if copy else "hold"
    sent, got = line.ring(CONTROL, box, signal, asked, train=code, on_day=day)
    pin = line.act(box, "pin_up", [got], train=code, on_day=day)
    if not copy:
        line.pinned[box, code, day] = pin
    if line.case.has("wrong_recipient") and code == line.train:
        line.case.hop(pin)
    return sent


def loads(line: Branch, rng: random.Random) -> None:
    """Wide loads are wired ahead; a telegram waits in a pigeonhole while its wire is busy."""
    case, today = line.case, line.day
    own = case.has("dead_letter")
    for item in [item for item in line.holes if item[0] < today and item[1] != CLOSED_HOLE]:
        line.holes.remove(item)
        _, hole, box, body, cause = item
        hand_over(line, box, body, line.act(OFFICE, "empty_hole", [cause], hole=hole))
    if rng.random() < 0.5:
        box, ahead = rng.choice(BOXES), rng.choice((2, 2, 3, 6, 12))
        load, town = f"L{rng.randint(300, 999)}", rng.choice(STATIONS)
        wire_load(line, box, load, today + ahead, busy=rng.random() < 0.45, hole=BOXES.index(box) + 1)
        line.wide.append((today + ahead, box, load, town))
    if rng.random() < 0.25:  # printed matter for the closed box
        _, got = line.ring(
            CONTROL, OFFICE, "pass on", line.act(CONTROL, "print_circular"), address="Fallow Box"
        )
        line.act(OFFICE, "pigeonhole", [got], hole=CLOSED_HOLE, words=rng.randint(9, 40))
    if own and today == case.begin:
        hole = CLOSED_HOLE if case.strikes("dead_letter", today) else BOXES.index(line.mine) + 1
        wire_load(line, line.mine, "L" + line.train[2:] + "7", case.end, busy=True, hole=hole)
    mine = [(case.end, line.mine, "L" + line.train[2:] + "7", line.town)] if own else []
    for day, box, load, town in [*line.wide, *mine]:
        if day != today:
            continue
        _, rung = line.ring(
            CONTROL, box, "train with load", line.act(CONTROL, "despatch", load=load), load=load
        )
        notice = line.pinned.get((box, load, day), "")
        if notice:
            line.act(box, "fold_back_awning", [rung, notice], load=load)
            continue
        let = line.act(box, "pass_train", [rung], load=load)
        _, heard = line.ring(box, town, "train entering", let, load=load)
        case.hop(let)
        tell(
            line,
            line.act(town, "sweep_up_glass", [heard], load=load, panes=rng.randint(3, 20)),
            "dead_letter",
        )


def wire_load(line: Branch, box: str, load: str, day: int, *, busy: bool, hole: int) -> None:
    """Telegraph about a wide load."""
    body: dict[str, Any] = {"load": load, "on_day": day}
    _, got = line.ring(
        CONTROL, OFFICE, "pass on", line.act(CONTROL, "measure_load", **body), address=box, **body
    )
    if not busy:
        hand_over(line, box, body, got)
        return
    laid = line.act(OFFICE, "pigeonhole", [got], hole=hole, words=len(box) + len(load), load=load)
    line.holes.append((line.day, hole, box, body, laid))
    if line.case.has("dead_letter") and line.day == line.case.begin and box == line.mine:
        line.case.root(laid)


def hand_over(line: Branch, box: str, body: dict[str, Any], cause: str) -> None:
    _, read = line.ring(OFFICE, box, "telegram", cause, **body)
    line.pinned[box, body["load"], body["on_day"]] = line.act(box, "pin_up", [read], **body)


def speeds(line: Branch, rng: random.Random) -> None:
    """Gangs measure the track, control writes circulars, by wire or in the bag of the next train."""
    case, today, own = line.case, line.day, line.case.has("out_of_order")
    for item in [item for item in line.bag if item[0] < today]:
        line.bag.remove(item)
        _, box, body, cause = item
        apply(line, box, body, line.ring(CONTROL, box, "circular from bag", cause, **body)[1])
    if rng.random() < 0.4:
        box = rng.choice([box for box in BOXES if not (own and box == line.mine)])
        first, last = rng.choice((30, 40, 50)), rng.choice((20, 30, 40))
        ways = ("bag", "wire") if rng.random() < 0.4 else ("wire", "wire")
        line.bears[box] = last
        if ways[0] == "bag":  # light trains only, until both have come
            line.tight.add(box)
        else:
            line.tight.discard(box)
        survey(line, rng.choice(GANGS), box, ((first, ways[0]), (last, ways[1])))
    if own and today == case.begin:
        line.bears[line.mine] = 20
        way = "bag" if case.strikes("out_of_order", today) else "wire"
        survey(line, line.gang, line.mine, ((50, way), (20, "wire")))
    heavy = [(line.headcode(rng, "7"), rng.choice(DRIVERS), rng.choice(BOXES))] if rng.random() < 0.4 else []
    heavy = [item for item in heavy if item[2] not in line.tight and not (own and item[2] == line.mine)]
    if own and today == case.end:
        heavy.append((line.train, line.driver, line.mine))
    for code, driver, box in heavy:
        offered = line.act(CONTROL, "make_up_train", train=code, tons=rng.randint(900, 1600))
        _, got = line.ring(CONTROL, box, "heavy train", offered, train=code)
        mph, since = line.speed[box]
        _, shown = line.ring(box, driver, "caution", got, train=code, mph=mph)
        ran = line.act(driver, "run_section", [shown, since], train=code, after=box, mph=mph)
        if mph <= line.bears[box]:
            continue
        case.trigger(offered)
        case.hop(got, ran)
        _, heard = line.ring(driver, line.town, "stopped in section", ran, train=code)
        tell(line, line.act(line.town, "call_breakdown_crane", [heard], train=code), "out_of_order")


def survey(line: Branch, gang: str, box: str, orders: Sequence[tuple[int, str]]) -> None:
    """A gang reports a stretch of track; control issues one circular after the other."""
    measured = line.act(gang, "measure_track", beyond=box, bears_mph=orders[-1][0])
    _, got = line.ring(gang, CONTROL, "track report", measured, beyond=box, bears_mph=orders[-1][0])
    for mph, way in orders:
        body = {"circular": line.number(), "mph": mph}
        issued = line.act(CONTROL, "issue", [got], beyond=box, by=way, **body)
        if line.case.has("out_of_order") and box == line.mine and line.day == line.case.begin:
            line.case.root(issued)
        if way == "bag":
            line.bag.append((line.day, box, body, issued))
        else:
            apply(line, box, body, line.ring(CONTROL, box, "circular", issued, **body)[1])


def apply(line: Branch, box: str, body: dict[str, Any], cause: str) -> None:
    """A box shows drivers the speed of the circular that it read last."""
    line.speed[box] = body["mph"], line.act(box, "change_board", [cause], **body)
    if line.case.has("out_of_order") and box == line.mine:
        line.case.hop(line.speed[box][1])


def routine(line: Branch, rng: random.Random) -> None:
    """Passenger trains, lamps, settings, small mishaps, and something striking shortly before the symptom."""
    for _ in range(rng.randint(1, 3)):
        run_train(line, line.headcode(rng), rng.randrange(4), rng.randint(1, 3))
    box = rng.choice(BOXES)
    if rng.random() < 0.2:
        line.act(box, "set_threshold", lever=rng.randint(1, 40), pull_kg=rng.randint(12, 30))
    if rng.random() < 0.15:
        stuck = line.books[box].warning("points slow to lock", {"lever": rng.randint(1, 40)})
        line.act(box, "oil_points", [stuck])
    if rng.random() < 0.12:
        lost = line.books[box].error("no answer on the block wire", {"tries": 1})
        line.act(box, "ring_again", [lost])
    if rng.random() < 0.4:
        line.act(rng.choice(BOXES), rng.choice(("trim_lamps", "polish_levers", "wind_clock", "feed_cat")))
    if line.day == line.case.decoy_at:
        sort = rng.randrange(3)
        if sort == 0:
            line.act(line.town, "set_display", font="large")
        elif sort == 1:
            line.books[line.mine].error("lamp out at the distant signal", {"relit": "yes"})
        else:
            line.act(CONTROL, "change_plan", roster="winter", clerk="relief")


TEXTS = {
    "omitted_message": (
        "{train} stood outside for an hour and everything behind it too. {town} had to announce it all evening",
        "Why was the goods {train} left standing on the main line? It should have been tucked away for the express",
        "sat in the dark before {town} with no explanation, they say a freight train blocked us",
        "Delay minutes on the branch jump on day {day}: {train} never got into the loop it had been promised",
    ),
    "wrong_recipient": (
        "our connection {train} left without us although control had promised that it waits",
        "{town} paid for taxis again. {train} was to be held and went to the minute",
        "Why did {mine} let {train} go? They knew nothing of people changing trains",
        "30 people stranded at {town}, the connection had been arranged beforehand!!",
    ),
    "dead_letter": (
        "A wide load has taken the glass off our platform roof. {town} is full of splinters",
        "How could {mine} wave a load like that through without folding the awning back?",
        "the roof was hit by a transformer on day {day}, somebody must have known that it was coming",
        "awning at {town} smashed by a train. In the years before, they always folded it in time",
    ),
    "out_of_order": (
        "{train} broke apart in the section, crane is on its way",
        "{driver} swears the board showed that speed. The track there was never good for it",
        "Why do we need the crane at {town}? The bad stretch had been reported and was to be taken slowly",
        "a heavy train came off just past {mine}, it was running far too fast for this bit",
    ),
}


def tell(line: Branch, event: str, kind: str) -> None:
    """Write the complaint about what a station had to do."""
    names = {
        "train": line.train,
        "town": line.town,
        "mine": line.mine,
        "driver": line.driver,
        "day": line.day,
    }
    line.case.symptom(event, *(text.format(**names) for text in TEXTS[kind]))


def play(case: Case) -> None:
    """Work the branch for some weeks, day by day."""
    days = case.rng("season").choice((18, 30, 48, 75))
    case.window(days)
    line = Branch(case)
    for day in range(days):
        line.day = day
        with tick(day):
            for work in (speeds, wagons, routine, holds, loads, goods):
                work(line, case.rng(f"{work.__name__}/{day}"))


WORLD = World(
    "signalbox", "edges", ("omitted_message", "wrong_recipient", "dead_letter", "out_of_order"), play, 20
)
