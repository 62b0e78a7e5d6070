"""A dispatch of ambulances: calls, cars, hospitals, road works, recalls of medicine, and letters that cannot be delivered.

Everybody answers messages that a switchboard carries, and acts name what they answer to with `causes=`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World, call

Body = dict[str, Any]

CONTROLS = {
    "control_east": ("Medic 1", "Medic 2", "Medic 3"),
    "control_west": ("Medic 4", "Medic 5", "Medic 6"),
}
ROADS = {
    "control_east": ("Weir Lane", "Mill Lane", "Abbey Row", "Kiln Street"),
    "control_west": ("Dock Road", "Tanner's Hill", "Fleet Rise", "Glebe Way"),
}
CLINICS = {"control_east": "St Brigid", "control_west": "Cottage Hospital"}
WARDS = ("heart", "burns", "stroke", "bones")
HOUSES = ("Harbour House", "Elm Court", "The Maltings")
TROUBLES = ("heart", "burns", "stroke", "bones", "sting")


class Switchboard:
    """Carries messages, and parks what it cannot deliver."""

    def __init__(self) -> None:
        self.log = AgentLogger("switchboard", "switchboard")
        self.desks: dict[str, Desk] = {}
        self.silent: set[str] = set()
        self.parked: list[tuple[Any, str]] = []

    def pass_on(self, sender: Desk, to: str, body: Body, cause: str | None = None) -> str:
        """Carry one message; return the event of its sending."""
        message = sender.log.send(to, body, causes=[cause] if cause else None)
        if to in self.desks and to not in self.silent:
            self.desks[to].hear(message)
        else:
            held = self.log.log_action(
                "park", {"line": to, "topic": body["topic"]}, causes=[message.event_id]
            )
            self.parked.append((message, held))
        return str(message.event_id)

    def retry(self) -> None:
        """Deliver what is parked for lines that answer again."""
        for message, held in list(self.parked):
            if message.recipient in self.desks and message.recipient not in self.silent:
                self.parked.remove((message, held))
                self.log.log_action("unpark", {"line": message.recipient}, causes=[held])
                self.desks[message.recipient].hear(message)


class Desk:
    """Somebody who answers messages."""

    def __init__(self, name: str, role: str, service: Service) -> None:
        self.name, self.service = name, service
        self.log = AgentLogger(name, role)
        service.board.desks[name] = self

    def hear(self, message: Any) -> None:
        """Take a message and answer it by its topic."""
        heard = self.log.receive(message)
        answer: Callable[[Body, str], None] | None = getattr(self, f"on_{message.body['topic']}", None)
        if answer is not None:
            answer(message.body, heard)

    def tell(self, to: str, topic: str, cause: str | None = None, **more: Any) -> str:
        """Send a message."""
        return self.service.board.pass_on(self, to, {"topic": topic, **more}, cause)


class Control(Desk):
    """Sends cars; believes what it is told of roads and wards."""

    def __init__(self, name: str, service: Service) -> None:
        super().__init__(name, "control", service)
        self.shut: set[str] = set()
        self.buildings = dict.fromkeys(WARDS, "main")
        self.turn = 0

    def on_road(self, body: Body, heard: str) -> None:
        """Mark a road on the map."""
        (self.shut.add if body["state"] == "shut" else self.shut.discard)(body["road"])
        marked = self.log.log_action("mark_map", {"road": body["road"], "as": body["state"]}, causes=[heard])
        if self.service.is_root:
            self.service.case.root(heard, marked)

    def on_ward(self, body: Body, heard: str) -> None:
        """Note where a ward is."""
        if CLINICS[self.name] == body["clinic"]:
            self.buildings[body["ward"]] = body["building"]
        self.log.log_action("pin_note", {"clinic": body["clinic"], "ward": body["ward"]}, causes=[heard])

    def on_call(self, body: Body, heard: str) -> None:
        """Choose a car, a way and a building."""
        cars = CONTROLS[self.name]
        self.turn += 1
        car = body.get("nearest") or cars[self.turn % len(cars)]
        way = "ring road" if body["road"] in self.shut else "direct"
        building = self.buildings.get(body["what"], "main")
        chosen = self.log.log_decision(
            "assign", {"job": body["job"], "car": car, "way": way, "building": building}, causes=[heard]
        )
        if body["job"] == self.service.key_job:
            self.service.case.hop(chosen)
        passed = {key: value for key, value in body.items() if key != "topic"}
        self.tell(car, "go", chosen, **{**passed, "way": way, "building": building})

    def on_over(self, body: Body, heard: str) -> None:
        """Close a job."""
        self.log.log_action("close_job", {"job": body["job"], "min": body["min"]}, causes=[heard])


class Car(Desk):
    """Drives, opens doors, gives medicine, brings people in."""

    def __init__(self, name: str, service: Service) -> None:
        super().__init__(name, "car", service)
        self.lot = "K200"
        self.codes = dict.fromkeys(HOUSES, 1000)

    def on_recall(self, body: Body, heard: str) -> None:
        """Change a lot of adrenaline for another."""
        if self.lot == body["lot"]:
            self.lot = body["instead"]
        self.log.log_action("restock", {"lot": self.lot}, causes=[heard])

    def on_door(self, body: Body, heard: str) -> None:
        """Learn the new code of a house."""
        self.codes[body["house"]] = body["code"]
        self.log.log_action("write_on_visor", {"house": body["house"], "code": body["code"]}, causes=[heard])

    def on_go(self, body: Body, heard: str) -> None:
        """Do a job."""
        service, road, job = self.service, body["road"], body["job"]
        rng = service.case.rng(f"drive/{job}")
        minutes = rng.randint(6, 12) + (19 if body["way"] != "direct" else 0)
        is_late = body["way"] != "direct" and road not in service.dug_up
        at = self.log.log_action("arrive", {"job": job, "min": minutes, "way": body["way"]}, causes=[heard])
        house, is_out = body.get("house"), False
        if house:
            is_out = self.codes[house] != service.codes[house]
            at = self.log.log_action("key_in", {"house": house, "code": self.codes[house]}, causes=[at])
            if is_out:
                minutes += 22
                at = self.log.log_action("call_caretaker", {"house": house}, causes=[at])
        is_dull = False
        if body["what"] == "sting":
            is_dull = self.lot in service.recalled
            at = self.log.log_action("inject", {"job": job, "lot": self.lot}, causes=[at])
            if is_dull:
                at = self.log.log_action("inject", {"job": job, "lot": self.lot, "ml": 1.0}, causes=[at])
        if job == service.key_job:
            service.case.hop(at)
        outcome = "late" if is_late else "door" if is_out else "dull" if is_dull else ""
        service.outcome = outcome
        self.tell(
            CLINICS[body["control"]],
            "bring",
            at,
            job=job,
            what=body["what"],
            building=body["building"],
            min=minutes,
            signs="weak" if outcome else rng.choice(("fair", "good", "weak")),
        )


class Clinic(Desk):
    """A hospital with wards in several buildings."""

    def on_bring(self, body: Body, heard: str) -> None:
        """Take a patient in, or send the car around."""
        service, ward = self.service, body["what"]
        at = service.buildings[self.name].get(ward, "main")
        if ward in WARDS and body["building"] != at:
            service.outcome = "ward"
            heard = self.log.log_action("wheel_across", {"job": body["job"], "min": 25}, causes=[heard])
        bed = self.log.log_action("admit", {"job": body["job"], "signs": body["signs"]}, causes=[heard])
        if body["job"] == service.key_job:
            service.case.hop(bed)
        self.tell(service.control_of(self.name), "over", bed, job=body["job"], min=body["min"])
        if service.outcome:
            service.family(self.name, body, bed)


class RoadWatch(Desk):
    """Passes on which roads are dug up."""

    def on_dig(self, body: Body, heard: str) -> None:
        """Tell the control of a road."""
        service, road = self.service, body["road"]
        if service.is_key and service.case.strikes("false_belief"):
            road = service.road
            service.is_root = True
        told = self.tell(service.control_for(road), "road", heard, road=road, state=body["state"])
        if service.is_root:
            service.case.root(told)
        service.is_root = False


class Service:
    """The service, quarter of an hour by quarter of an hour."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.slots = case.rng("slots").randint(80, 150)
        case.window(self.slots)
        self.board = Switchboard()
        rng = case.rng("who")
        self.control = rng.choice(list(CONTROLS))
        self.wrong = next(name for name in CONTROLS if name != self.control)
        self.car = rng.choice(CONTROLS[self.control])
        self.road, self.dug = rng.sample(ROADS[self.control], 2)
        self.ward, self.house = rng.choice(WARDS), rng.choice(HOUSES)
        self.clinic = CLINICS[self.control]
        for name in CONTROLS:
            Control(name, self)
        self.cars = [Car(name, self) for names in CONTROLS.values() for name in names]
        self.clinics = {name: Clinic(name, "clinic", self) for name in CLINICS.values()}
        self.watch, self.works = RoadWatch("road_watch", "office", self), Desk("city_works", "office", self)
        self.pharmacy, self.estate = Desk("pharmacy", "office", self), Desk("estate_office", "office", self)
        self.hotline = Desk("hotline_112", "hotline", self)
        self.ombudsman = Desk("ombudsman", "office", self)
        self.relatives = Desk("relatives", "public", self)
        self.dug_up: set[str] = set()
        self.recalled: set[str] = set()
        self.codes = dict.fromkeys(HOUSES, 1000)
        self.buildings = {name: dict.fromkeys(WARDS, "main") for name in CLINICS.values()}
        self.is_key = self.is_root = False
        self.key_job, self.outcome = "", ""
        self.jobs = 3000

    def control_of(self, clinic: str) -> str:
        """Return the control that sends to a hospital."""
        return next(name for name, own in CLINICS.items() if own == clinic)

    def control_for(self, road: str) -> str:
        """Return the control that looks after a road."""
        return next(name for name, own in ROADS.items() if road in own)

    def emergency(self, control: str, road: str, what: str, **more: Any) -> None:
        """Let somebody call for help."""
        self.jobs += 1
        job, self.outcome = f"J{self.jobs}", ""
        if more.pop("is_due", False):
            self.key_job = job
        if job == self.key_job and self.case.has("omitted_message"):
            self.case.trigger(call("hotline_112", "sent", job=job))
        self.hotline.tell(control, "call", None, job=job, road=road, what=what, control=control, **more)

    def family(self, clinic: str, body: Body, cause: str) -> None:
        """Let relatives complain to the ombudsman when something went wrong."""
        job, wrong = body["job"], self.outcome
        self.outcome = ""
        told = self.relatives.log.log_action("sign_form", {"job": job, "about": clinic}, causes=[cause])
        message = self.relatives.log.send("ombudsman", {"topic": "form", "job": job}, causes=[told])
        self.case.hop(told)
        texts = {
            "late": (
                f"An ambulance needed half an hour to {self.road} on a quiet night, it is two miles.",
                f"{clinic} got the patient of {job} much too late. Why did the car go all around the town?",
                f"The relatives of a man in {self.road} want to know why help took so long.",
            ),
            "ward": (
                f"{clinic} had to wheel a {self.ward} patient across the yard, which cost 25 minutes.",
                f"The patient of {job} was brought to the old place, although {self.ward} is not there any more.",
                f"Why did a crew of ours stop in front of an empty {self.ward} ward, as the ombudsman was told?",
            ),
            "dull": (
                "The injection for a child with a sting did nothing, and a second one did nothing either.",
                f"{clinic} says that what was given in {job} had no effect at all.",
                f"Why was medicine used in {job} that was known to be bad?",
            ),
            "door": (
                f"The crew stood in front of {self.house} and could not get in.",
                f"In {job} we lost twenty minutes at a door; {clinic} was furious.",
                f"A form at ombudsman says that nobody got into {self.house}, and everybody had been told how.",
            ),
        }
        self.case.symptom(self.ombudsman.log.receive(message), *texts[wrong])

    def dig(self, road: str, state: str) -> None:
        """Let a road be dug up or closed up again."""
        (self.dug_up.add if state == "shut" else self.dug_up.discard)(road)
        self.works.tell(
            "road_watch", "dig", self.works.log.log_action("crew_out", {"road": road}), road=road, state=state
        )

    def move_ward(self, clinic: str, ward: str, building: str, to: str) -> tuple[str, str]:
        """Let a ward move, and tell a control."""
        self.buildings[clinic][ward] = building
        moved = self.clinics[clinic].log.log_action("move_beds", {"ward": ward, "building": building})
        told = self.clinics[clinic].tell(to, "ward", moved, clinic=clinic, ward=ward, building=building)
        return told, moved

    def recall(self, lot: str, instead: str, without: str) -> None:
        """Call a lot back from the cars that carry it."""
        self.recalled.add(lot)
        withdrawn = self.pharmacy.log.log_action("withdraw", {"lot": lot, "notice": f"N{lot[1:]}"})
        told = [
            self.pharmacy.tell(car.name, "recall", withdrawn, lot=lot, instead=instead)
            for car in self.cars
            if car.lot == lot and car.name != without
        ]
        if without:
            self.case.root(withdrawn, *told)

    def new_code(self, house: str, code: int, other: str) -> None:
        """Let a house have a new code, and tell all cars; `other` is how the line of the case is written."""
        self.codes[house] = code
        keyed = self.estate.log.log_action("set_lock", {"house": house})
        for car in self.cars:
            line = other if other and car.name == self.car else car.name
            told = self.estate.tell(line, "door", keyed, house=house, code=code)
            if line != car.name:
                self.case.root(told, self.board.parked[-1][1])

    def fault(self) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case = self.case
        if case.has("false_belief"):
            self.is_key = True
            self.dig(self.dug, "shut")
            self.is_key = False
        elif case.has("wrong_recipient"):
            wrong = case.strikes("wrong_recipient")
            building = "annexe" if self.buildings[self.clinic][self.ward] != "annexe" else "pavilion"
            roots = self.move_ward(self.clinic, self.ward, building, self.wrong if wrong else self.control)
            if wrong:
                case.root(*roots)
        elif case.has("omitted_message"):
            lot = self.cars[0].lot
            self.recall(lot, f"K{int(lot[1:]) + 1}", self.car if case.strikes("omitted_message") else "")
        else:
            other = self.car.replace(" ", "-") if case.strikes("dead_letter") else ""
            self.new_code(self.house, 1000 + case.rng("code").randint(1, 8999), other)

    def due(self) -> None:
        """Let the emergency come in which the fault shows."""
        case = self.case
        road = self.road if case.has("false_belief") else self.dug
        what = {"wrong_recipient": self.ward, "omitted_message": "sting"}.get(case.kind, "bones")
        more = {"house": self.house} if case.has("dead_letter") else {}
        self.emergency(self.control, road, what, nearest=self.car, is_due=True, **more)

    def slot(self, now: int) -> None:
        """Let a quarter of an hour pass."""
        case, rng = self.case, self.case.rng(f"slot/{now}")
        is_ours = case.begin <= now <= case.end
        self.board.silent = set()
        self.board.retry()
        self.board.silent = {rng.choice(self.cars).name} if rng.random() < 0.15 and not is_ours else set()
        for _ in range(rng.randint(1, 2)):
            control = rng.choice(list(CONTROLS))
            roads = [road for road in ROADS[control] if not (is_ours and road in (self.road, self.dug))]
            wards = [
                what for what in TROUBLES if not (is_ours and control == self.control and what == self.ward)
            ]
            what = rng.choice(wards)
            more = {"house": rng.choice(HOUSES)} if rng.random() < 0.3 else {}
            if case.has("dead_letter") and is_ours and more.get("house") == self.house:
                more = {}
            if what == "sting" and case.has("omitted_message") and is_ours and control == self.control:
                what = "bones" if self.ward != "bones" else "burns"
            cars = [
                car.name
                for car in self.cars
                if car.name in CONTROLS[control] and car.name not in self.board.silent
            ]
            self.emergency(control, rng.choice(roads), what, nearest=rng.choice(cars), **more)
        self.offices(now)

    def offices(self, now: int) -> None:
        """Let the offices do what they do, which harms nobody."""
        case, rng = self.case, self.case.rng(f"offices/{now}")
        is_ours = case.begin <= now <= case.end
        if rng.random() < 0.3 or now == case.decoy_at:
            open_roads = [
                road for roads in ROADS.values() for road in roads if road not in (self.road, self.dug)
            ]
            road = rng.choice(open_roads)
            self.dig(road, "free" if road in self.dug_up else "shut")
        if rng.random() < 0.2:
            clinic, ward = rng.choice(list(CLINICS.values())), rng.choice(WARDS)
            building = rng.choice(("annexe", "main", "pavilion"))
            if not (is_ours and case.has("wrong_recipient") and (clinic, ward) == (self.clinic, self.ward)):
                self.move_ward(clinic, ward, building, self.control_of(clinic))
        lots = {car.lot for car in self.cars}
        if rng.random() < 0.12 and len(lots) == 1 and not self.board.silent and not is_ours:
            self.recall(lots.pop(), f"K{200 + 10 * (now + 1)}", "")
        house = rng.choice(HOUSES)
        if rng.random() < 0.15 and not (is_ours and house == self.house):
            self.new_code(house, rng.randint(1000, 9999), "")
        if rng.random() < 0.15:
            line = rng.choice(
                (f"Pager {rng.randint(10, 19)}", rng.choice(self.cars).name, *sorted(self.board.silent))
            )
            self.estate.tell(line, "greeting", None, text="summer party on Friday")
        if rng.random() < 0.15 or now == case.decoy_at:
            self.relatives.tell(
                "ombudsman", "form", None, about=rng.choice(("siren at night", "thanks", "parking"))
            )
        if rng.random() < 0.15:
            rng.choice(self.cars).log.warning("reserve tank below a quarter, filled up")
        if rng.random() < 0.1 or now == case.decoy_at:
            self.hotline.log.error("second line dropped, caller got through at once on the first")
        if rng.random() < 0.2:
            SystemLogger("service").log_config("shift_minutes", 480, rng.choice((470, 480, 490)))

    def serve(self) -> None:
        """Play the whole time."""
        for now in range(self.slots):
            if now == self.case.begin:
                self.board.silent = set()
                self.board.retry()
                self.fault()
            self.slot(now)
            if now == self.case.end:
                self.due()


def play(case: Case) -> None:
    """Play some days of the service."""
    Service(case).serve()


WORLD = World(
    "ambulances",
    "edges",
    ("dead_letter", "wrong_recipient", "omitted_message", "false_belief"),
    play,
    author=25,
)
