"""A container port: berths are booked ahead, boxes wait in rows, papers go by post, ropes come from one store.

Each act names the acts that led to it with `causes=`, and letters are messages between loggers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

STEPS = 130
BERTHS = ("Elm", "Oak", "Ash", "Fir", "Yew", "Box", "Bay", "Lime")
FIRST = (
    "Calder",
    "Morven",
    "Tresco",
    "Lindis",
    "Orrin",
    "Sark",
    "Brede",
    "Wharfe",
    "Nadder",
    "Kyle",
    "Ouse",
    "Teme",
)
SECOND = (
    "Star",
    "Trader",
    "Maid",
    "Bridge",
    "Wind",
    "Spirit",
    "Carrier",
    "Queen",
    "Venture",
    "Tide",
    "Rose",
    "Lark",
    "Pride",
    "Sound",
)
DRY = ("timber", "tiles", "cable", "paper")
COLD = ("fish", "butter", "vaccine")
CREW_ROPES = 3
ROPES = 24


@dataclass
class Ship:
    """A ship that was announced: its booked berth and the times of its stay."""

    name: str
    pilot: str
    due: int
    stay: int
    likes: str
    berth: str = ""
    booked: str = ""
    rope_event: str = ""
    boxes: list[Box] = field(default_factory=list)


@dataclass
class Box:
    """A container in the yard: where it stands and whether its papers are here."""

    number: str
    cargo: str
    collect: int
    forwarder: str
    row: int = 0
    warm: bool = False
    papers: bool = False
    placed: str = ""
    cleared: str = ""


class Port:
    """One session of the port."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(STEPS, 6 if case.has("leaked_resource") else 2)
        self.rng = case.rng("traffic")
        names = [f"{one} {two}" for one in FIRST for two in SECOND]
        self.rng.shuffle(names)
        self.names = iter(names)
        roles = {
            "lookout": "lookout",
            "planner_east": "berth planner",
            "planner_west": "berth planner",
            "yard_desk": "yard planner",
            "rope_store": "store",
            "post_room": "post",
            "customs_desk": "customs",
            "gate_1": "gate",
            "gate_2": "gate",
            "harbour_office": "office",
        }
        for number in range(1, 5):
            roles |= {
                f"pilot_{number}": "pilot",
                f"carrier_{number}": "carrier",
                f"forwarder_{number}": "forwarder",
            }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.slots: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self.arrivals: dict[int, list[Ship]] = defaultdict(list)
        self.departures: dict[int, list[Ship]] = defaultdict(list)
        self.collections: dict[int, list[Box]] = defaultdict(list)
        self.mended: dict[int, list[tuple[Box, str]]] = defaultdict(list)
        self.ropes = ROPES
        self.at_quay: dict[str, str] = {}
        self.boxes = self.rng.randint(100, 300)
        self.culprit = f"pilot_{case.rng('who').randint(1, 4)}"
        self.leaks = 0
        self.twins: set[str] = set()
        self.routine = dict.fromkeys((f"pilot_{number}" for number in range(1, 5)), "by launch")
        moments = case.rng("routine").sample(range(8, STEPS - 8), 3)
        others = [name for name in self.routine if name != self.culprit]
        self.new_routine = dict(zip(moments, others, strict=True))
        self.routine_change = ""

    # Berths

    def announce(self, now: int, due: int, likes: str, pilot: str) -> tuple[Ship, str]:
        ship = Ship(next(self.names), pilot, due, self.rng.randint(3, 5), likes)
        seen = self.log["lookout"].log_action(
            "announce_ship", {"ship": ship.name, "due_in_hours": due - now, "stay_hours": ship.stay}
        )
        return ship, seen

    def look(self, planner: str, ship: Ship, seen: str) -> tuple[str, list[str]]:
        free = [
            berth
            for berth in BERTHS
            if all(ship.due > last or ship.due + ship.stay < first for first, last, _ in self.slots[berth])
        ]
        looked = self.log[planner].log_action(
            "look_at_quay", {"for_ship": ship.name, "free_then": free}, causes=[seen]
        )
        return looked, free

    def book(self, planner: str, ship: Ship, looked: str, free: list[str]) -> str:
        if not free:
            return self.log[planner].log_decision(
                "decline_ship", {"ship": ship.name}, reasoning="all berths are booked then", causes=[looked]
            )
        ship.berth = ship.likes if ship.likes in free else self.case.rng(f"berth/{ship.name}").choice(free)
        self.slots[ship.berth].append((ship.due, ship.due + ship.stay, ship.name))
        ship.booked = self.log[planner].log_decision(
            "book_berth",
            {"ship": ship.name, "berth": ship.berth},
            reasoning="free for the whole stay",
            causes=[looked],
        )
        self.arrivals[ship.due].append(ship)
        order = self.log[planner].send(ship.pilot, {"ship": ship.name, "berth": ship.berth})
        self.log[ship.pilot].receive(order)
        return ship.booked

    def pair(self, now: int, one: Ship, seen_one: str, two: Ship, seen_two: str, overlapped: bool) -> None:
        """Both planners work at the same time; unless `overlapped`, the second looks after the first has booked."""
        first_look, first_free = self.look("planner_east", one, seen_one)
        if overlapped:
            second_look, second_free = self.look("planner_west", two, seen_two)
            first = self.book("planner_east", one, first_look, first_free)
        else:
            first = self.book("planner_east", one, first_look, first_free)
            second_look, second_free = self.look("planner_west", two, seen_two)
        second = self.book("planner_west", two, second_look, second_free)
        if self.case.strikes("race", now):
            self.case.root(second, first, second_look)
            self.twins = {one.name, two.name}

    def traffic(self, now: int) -> None:
        rng = self.rng
        if self.case.has("race") and now == self.case.begin:
            due = self.case.end
            likes = rng.choice(
                [
                    berth
                    for berth in BERTHS
                    if all(due - 2 > last or due + 5 < first for first, last, _ in self.slots[berth])
                ]
            )
            one, seen_one = self.announce(now, max(now + 1, due - 2), likes, "pilot_1")
            one.stay = 5
            two, seen_two = self.announce(now, due, likes, "pilot_2")
            self.pair(now, one, seen_one, two, seen_two, self.case.strikes("race", now))
        elif now % 11 == 6:
            quays = rng.sample(BERTHS, 2)
            dues = [now + rng.randint(3, 40), now + rng.randint(3, 40)]
            one, seen_one = self.announce(now, dues[0], quays[0], "pilot_3")
            two, seen_two = self.announce(now, dues[1], quays[1], "pilot_4")
            both_free = all(
                ship.due > last or ship.due + ship.stay < first
                for ship in (one, two)
                for first, last, _ in self.slots[ship.likes]
            )
            self.pair(now, one, seen_one, two, seen_two, both_free)
        elif rng.random() < 0.35:
            lead = round(math.exp(rng.uniform(math.log(2), math.log(60))))
            ship, seen = self.announce(now, now + lead, rng.choice(BERTHS), f"pilot_{rng.randint(1, 4)}")
            planner = rng.choice(("planner_east", "planner_west"))
            self.book(planner, ship, *self.look(planner, ship, seen))

    def moor(self, now: int, ship: Ship) -> None:
        pilot = self.log[ship.pilot]
        other = self.at_quay.get(ship.berth)
        if other is not None:
            held = pilot.log_action(
                "hold_at_anchor",
                {"ship": ship.name, "berth": ship.berth, "because": f"{other} lies there"},
                causes=[ship.booked],
            )
            self.case.symptom(
                held,
                f"The {ship.name} had to anchor outside with {ship.pilot} on board: somebody else lay in her place.",
                f"Why was there already a ship at {ship.berth} when the {ship.name} came in? She had been promised it.",
                "Two ships turned up for one and the same place at the quay, and one had to anchor outside for hours.",
            )
            return
        if self.ropes < CREW_ROPES:
            short = self.log["rope_store"].log_action(
                "refuse_ropes",
                {"ship": ship.name, "asked": CREW_ROPES, "left": self.ropes},
                causes=[ship.booked],
            )
            self.case.symptom(
                short,
                f"{ship.pilot} stood at the store and got no ropes for the {ship.name}. The shelf was full this morning!",
                "There are no more ropes in the store although hardly any ship is in. Where have they all gone?",
                f"The {ship.name} cannot be made fast, the store has nothing left to hand out.",
            )
            return
        self.at_quay[ship.berth] = ship.name
        self.ropes -= CREW_ROPES
        taken = self.log["rope_store"].log_action(
            "hand_out_ropes",
            {"ship": ship.name, "to": ship.pilot, "ropes": CREW_ROPES, "left": self.ropes},
            causes=[ship.booked],
        )
        ship.rope_event = taken
        moored = pilot.log_action(
            "moor", {"ship": ship.name, "berth": ship.berth}, causes=[ship.booked, taken]
        )
        if ship.name in self.twins:
            self.case.hop(moored)
        self.departures[now + ship.stay - 1].append(ship)
        for _ in range(self.rng.randint(1, 2)):
            self.land(now, ship.name, ship.pilot, now + round(math.exp(self.rng.uniform(0.7, 4.0))))

    def leave(self, ship: Ship) -> None:
        left = self.log[ship.pilot].log_action("cast_off", {"ship": ship.name, "berth": ship.berth})
        del self.at_quay[ship.berth]
        if (
            ship.pilot == self.culprit
            and self.routine[ship.pilot] == "by lorry"
            and self.case.strikes("leaked_resource")
        ):
            self.leaks += 1
            if self.leaks <= 3:
                self.case.root(left, ship.rope_event)
            self.case.hop(ship.rope_event, left)
            return
        self.ropes += CREW_ROPES
        self.log["rope_store"].log_action(
            "take_back_ropes",
            {"ship": ship.name, "ropes": CREW_ROPES, "brought": self.routine[ship.pilot], "left": self.ropes},
            causes=[left, ship.rope_event],
        )

    # Boxes

    def land(self, now: int, ship: str, pilot: str, collect: int, cargo: str = "") -> Box:
        rng, case = self.rng, self.case
        self.boxes += 1
        cargo = cargo or rng.choice((*DRY, *COLD))
        box = Box(f"K{self.boxes}", cargo, collect, f"forwarder_{rng.randint(1, 4)}")
        marked = collect == case.end and now == case.begin and pilot == ""
        row = 2 * rng.randint(3, 20)
        if cargo in DRY:
            row += rng.randint(0, 1)
        elif marked and case.strikes("off_by_one", now):
            row += 1
        box.row = row
        box.warm = cargo in COLD and row % 2 == 1  # only even rows have sockets
        planned = self.log["yard_desk"].log_decision(
            "assign_row",
            {"box": box.number, "cargo": cargo, "row": row},
            reasoning="next free place for this cargo",
        )
        carrier = self.log[f"carrier_{rng.randint(1, 4)}"]
        plug = {} if cargo in DRY else {"plugged_in": not box.warm}
        box.placed = carrier.log_action(
            "set_down", {"box": box.number, "row": row, **plug, "from": ship}, causes=[planned]
        )
        if marked and case.strikes("off_by_one", now):
            case.root(planned)
            case.hop(box.placed)
        self.collections[collect].append(box)
        lost = marked and case.strikes("dead_letter", now)
        mishap = rng.random() < 0.12
        papers = {"box": box.number, "papers": f"P{rng.randint(1000, 9999)}"}
        letter = self.log[box.forwarder].send(
            "customs" if lost or mishap else "customs_desk", papers, causes=[box.placed]
        )
        if lost or mishap:
            aside = self.log["post_room"].log_action(
                "set_letter_aside", {"box": box.number, "addressed_to": "customs"}, causes=[letter.event_id]
            )
            if lost:
                case.root(letter.event_id, aside)
                case.hop(aside)
            else:
                self.mended[now + 1].append((box, aside))
        else:
            box.papers = True
            came = self.log["customs_desk"].receive(letter)
            box.cleared = self.log["customs_desk"].log_action(
                "stamp_papers", {"box": box.number}, causes=[came]
            )
        return box

    def fetch_letters(self, now: int) -> None:
        for box, aside in self.mended.pop(now, ()):
            fetched = self.log[box.forwarder].log_action("fetch_letter", {"box": box.number}, causes=[aside])
            letter = self.log[box.forwarder].send("customs_desk", {"box": box.number}, causes=[fetched])
            came = self.log["customs_desk"].receive(letter)
            box.papers = True
            box.cleared = self.log["customs_desk"].log_action(
                "stamp_papers", {"box": box.number}, causes=[came]
            )

    def collect(self, box: Box) -> None:
        gate = self.log[self.rng.choice(("gate_1", "gate_2"))]
        lorry = f"L{self.rng.randint(100, 999)}"
        called = gate.log_action("lorry_arrives", {"lorry": lorry, "box": box.number}, causes=[box.placed])
        if not box.papers:
            self.case.trigger(called)
            sent = gate.log_action(
                "turn_lorry_away", {"lorry": lorry, "box": box.number, "because": "no stamp"}, causes=[called]
            )
            self.case.symptom(
                sent,
                f"A driver came for box {box.number} and was sent home from {gate.agent_id} because no stamp was there.",
                f"We cannot get {box.number} out of the port. The papers were posted, we have the receipt.",
                "A lorry was turned away at the gate today although all the papers for its load had been posted in time.",
            )
            return
        out = gate.log_action(
            "let_lorry_out", {"lorry": lorry, "box": box.number}, causes=[called, box.cleared]
        )
        degrees = 17 if box.warm else 4 if box.cargo in COLD else 14
        opened = gate.log_action(
            "open_box", {"box": box.number, "cargo": box.cargo, "degrees": degrees}, causes=[out]
        )
        if box.warm:
            self.case.symptom(
                opened,
                f"Box {box.number} was opened at {gate.agent_id} and the {box.cargo} in it was warm.",
                f"The customer refuses the {box.cargo}: 17 degrees when the doors were opened. It was cold on the ship.",
                "Goods that have to be kept cold leave our port warm. What happened in the yard?",
            )

    # Everyday life

    def everyday(self, now: int) -> None:
        rng = self.case.rng(f"everyday/{now}")
        if rng.random() < 0.35:
            name = rng.choice(sorted(self.log))
            setting, low, high = rng.choice(
                (("radio_channel", 6, 14), ("lamp_level", 1, 5), ("tea_break", 9, 16))
            )
            self.log[name].log_state_change(
                {setting: rng.randint(low, high)}, {setting: rng.randint(low, high)}, trigger="shift leader"
            )
        if rng.random() < 0.12:
            failed = self.log[f"carrier_{rng.randint(1, 4)}"].warning(
                "hydraulics slow", {"oil_bar": rng.randint(80, 99)}
            )
            self.log["harbour_office"].log_action("send_fitter", {"done": True}, causes=[failed])
        if rng.random() < 0.15:
            chore = rng.choice(
                (
                    "sweep_quay",
                    "grease_winch",
                    "read_tide_gauge",
                    "count_fenders",
                    "test_siren",
                    "paint_bollard",
                )
            )
            self.log["harbour_office"].log_action(chore, {"minutes": rng.randint(5, 50)})
        if rng.random() < 0.05:
            self.log["lookout"].warning("fog bank", {"sight_m": rng.randint(200, 900)})
        if now == self.case.decoy_at:
            self.log["harbour_office"].log_action("close_swing_bridge", {"minutes": 20})
            self.log["lookout"].log_action("report_swell", {"height_m": 1.8})
        turn = self.case.begin if self.case.has("leaked_resource") else -1
        name = self.culprit if now == turn else self.new_routine.get(now, "")
        if name:
            changed = self.log[name].log_state_change(
                {"ropes_go_back": self.routine[name]},
                {"ropes_go_back": "by lorry"},
                trigger="new launch timetable",
            )
            self.routine[name] = "by lorry"
            if self.case.strikes("leaked_resource", now):
                self.case.root(changed)

    def step(self, now: int) -> None:
        case = self.case
        self.everyday(now)
        self.fetch_letters(now)
        for ship in self.departures.pop(now, ()):
            self.leave(ship)
        self.traffic(now)
        if now == case.begin and (case.has("off_by_one") or case.has("dead_letter")):
            cargo = self.rng.choice(COLD) if case.has("off_by_one") else ""
            self.land(now, next(self.names), "", case.end, cargo)
        if case.has("leaked_resource") and case.begin <= now <= case.end + 8:
            spacing = max(1, (case.end - case.begin) // 8)
            if (now - case.begin) % spacing == 0 or now >= case.end - 3:
                busy = {
                    berth
                    for berth in BERTHS
                    if any(first <= now + 3 and last >= now for first, last, _ in self.slots[berth])
                }
                free = [berth for berth in BERTHS if berth not in busy]
                if free:
                    ship, seen = self.announce(now, now, free[0], self.culprit)
                    ship.stay = 2
                    self.book("planner_east", ship, *self.look("planner_east", ship, seen))
        for ship in self.arrivals.pop(now, ()):
            self.moor(now, ship)
        for box in self.collections.pop(now, ()):
            self.collect(box)


def play(case: Case) -> None:
    """Play one session."""
    port = Port(case)
    for now in range(STEPS):
        with tick(now):
            port.step(now)


WORLD = World("harbour", "edges", ("race", "off_by_one", "dead_letter", "leaked_resource"), play, author=4)
