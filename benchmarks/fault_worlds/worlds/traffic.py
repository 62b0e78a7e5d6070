"""Traffic signals: junctions with detectors, a planner, a control room and a crew. `instrument` on plain classes.

One tick is a minute. Evidence: nested calls (spans), no recorded causes.
"""

from __future__ import annotations

import random

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

LIMIT = 30


class Detector:
    """A loop in the road that counts cars; dirt makes it count fewer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sensitivity = 1.0
        self.loss_per_minute = 0.0

    def count(self, minute: int, passing: int) -> int:
        self.sensitivity = max(0.0, round(self.sensitivity - self.loss_per_minute, 5))
        del minute
        return round(passing * self.sensitivity)

    def adjust(self, coil: float) -> float:
        self.loss_per_minute = coil
        return coil


class Junction:
    """A junction with a main road; its plan limits how many cars can pass in a minute."""

    def __init__(self, name: str, detector: Detector) -> None:
        self.name = name
        self.detector = detector
        self.plans = {"day": 20, "evening": 72, "match": 74, "night": 16}
        self.plan = "day"
        self.held_at: int | None = None
        self.queue = 0

    def store_plan(self, plan: str, cars: int) -> dict[str, int]:
        self.plans[plan] = cars
        return dict(self.plans)

    def switch(self, plan: str) -> str:
        self.plan = plan
        return plan

    def hold(self, cars: int) -> None:
        self.held_at = cars

    def release(self) -> None:
        self.held_at = None

    def serve(self, minute: int, arriving: int) -> dict[str, int]:
        seen = self.detector.count(minute, arriving)
        green = min(self.plans[self.plan], round(1.3 * seen) + 2)
        if self.held_at is not None:
            green = self.held_at
        self.queue = max(0, self.queue + arriving - green)
        return {"green": green, "queue": self.queue}


class Camera:
    """Looks at the main road of one junction."""

    def __init__(self, name: str) -> None:
        self.name = name

    def look(self, minute: int, queue: int) -> str:
        del minute
        return "jam" if queue > LIMIT else "free"


class ControlRoom:
    """People who change stored plans and switch all junctions."""

    name = "control_room"

    def change_plan(self, junction: Junction, plan: str, cars: int) -> None:
        junction.store_plan(plan, cars)

    def set_display(self, item: str, value: int) -> int:
        del item
        return value

    def announce(self, event: str) -> str:
        return event


class Planner:
    """Knows when which plan is needed, and tells the clock."""

    name = "planner"

    def __init__(self) -> None:
        self.entries = 0

    def schedule(self, junction: str, plan: str, at: int) -> dict[str, object]:
        self.entries += 1
        return {"junction": junction, "plan": plan, "at": at}


class Clock:
    """Switches plans at their minute."""

    name = "clock"

    def due(self, minute: int, junction: Junction, plan: str) -> str:
        del minute
        return junction.switch(plan)


class Crew:
    """Works at the roadside."""

    def __init__(self, name: str) -> None:
        self.name = name

    def begin_works(self, junction: Junction, cars: int) -> None:
        junction.hold(cars)

    def finish_works(self, junction: Junction, after: list[str]) -> int:
        for step in after:
            if step == "release":
                junction.release()
        return len(after)

    def clean(self, detector: Detector, coil: float) -> None:
        detector.adjust(coil)

    def call_in(self, attempt: int) -> str:
        if attempt == 1:
            raise ConnectionError("no radio")
        return "heard"


def _instrument() -> None:
    """Trace the classes once for each process."""
    if getattr(Junction, "traced", False):
        return
    Junction.traced = True  # type: ignore[attr-defined]
    table = {
        Detector: ["count", "adjust"],
        Camera: ["look"],
        Planner: ["schedule"],
        Clock: ["due"],
        Junction: ["store_plan", "switch", "hold", "release", "serve"],
        ControlRoom: ["change_plan", "set_display", "announce"],
        Crew: ["begin_works", "finish_works", "clean", "call_in"],
    }
    for owner, methods in table.items():
        instrument(owner, methods, agent_id="name", agent_role=owner.__name__.lower(), ignore=("detector",))


def play(case: Case) -> None:
    """Play the signals for some hours."""
    _instrument()
    rng = case.rng("town")
    minutes = rng.randint(60, 320)
    _, end = case.window(minutes)
    junctions = [Junction(f"junction_{n}", Detector(f"detector_{n}")) for n in range(1, rng.randint(4, 11))]
    cameras = {junction.name: Camera(f"camera_{junction.name[-1]}") for junction in junctions}
    room, planner, clock = ControlRoom(), Planner(), Clock()
    crews = [Crew("crew_red"), Crew("crew_blue")]
    victim = rng.choice(junctions)
    switches: dict[int, list[tuple[Junction, str]]] = {}
    works: dict[int, list[tuple[Crew, Junction]]] = {}
    held = set()

    def plan_switch(junction: Junction, plan: str, at: int, late: int = 0) -> None:
        planner.schedule(junction.name, plan, at + late)
        switches.setdefault(at + late, []).append((junction, plan))

    peak = end if not case.has("slow_drift") else 10**6
    if case.has("forgotten_undo"):
        with tick(0):
            crews[0].begin_works(victim, 12)
            held.add(victim.name)
            plan_switch(victim, "evening", peak)
    if case.has("config_change"):
        with tick(0):
            plan_switch(victim, "evening", peak)
    for minute in range(1, minutes):
        with tick(minute):
            _everyday(rng, minute, case, junctions, victim, room, crews, works, held, plan_switch)
            _plan(case, minute, victim, room, crews, plan_switch)
            for junction, plan in switches.pop(minute, ()):
                clock.due(minute, junction, plan)
            if minute == peak:
                room.announce(f"crowd near {victim.name}")
                case.trigger(call("control_room", "announce", event=f"crowd near {victim.name}"))
            for junction in junctions:
                arriving = rng.randint(4, 10)
                if junction is victim and minute >= peak:
                    arriving = rng.randint(56, 64) if minute < peak + 8 else arriving
                found = junction.serve(minute, arriving)
                camera = cameras[junction.name]
                camera.look(minute, found["queue"])
                if found["queue"] > LIMIT:
                    case.hop(call(junction.name, "serve", minute=minute))
                    case.symptom(
                        call(camera.name, "look", minute=minute),
                        f"cars are standing at {junction.name}, it has been jammed since minute {minute}",
                        f"{camera.name} reports a jam; the signals there looked normal all day, and so did {junctions[0].name}",
                        f"long queue at {junction.name}",
                    )


def _plan(
    case: Case, minute: int, victim: Junction, room: ControlRoom, crews: list[Crew], plan_switch: object
) -> None:
    """Do what the plan has for this minute, with the fault or without it."""
    if minute != case.begin:
        return
    if case.has("config_change"):
        room.change_plan(victim, "evening", 22 if case.strikes("config_change") else 70)
        case.root(
            call("control_room", "change_plan", cars=22 if case.faulty else 70, plan="evening"),
            call(victim.name, "store_plan", cars=22 if case.faulty else 70, plan="evening"),
        )
    elif case.has("off_by_one"):
        late = 10 if case.strikes("off_by_one") else 0
        plan_switch(victim, "match", case.end, late)  # type: ignore[operator]
        case.root(call("planner", "schedule", plan="match", junction=victim.name, at=case.end + late))
    elif case.has("slow_drift"):
        loss = 1 / (case.end - case.begin) if case.strikes("slow_drift") else 0.0
        crews[1].clean(victim.detector, round(loss, 5))
        case.root(
            call("crew_blue", "clean", coil=round(loss, 5)),
            call(victim.detector.name, "adjust", coil=round(loss, 5)),
        )
        case.root(
            *(
                call(victim.detector.name, "count", minute=minute + n)
                for n in range(min(3, case.end - case.begin))
            )
        )
    elif case.has("forgotten_undo"):
        after = ["sweep", "sign"] if case.strikes("forgotten_undo") else ["sweep", "release", "sign"]
        crews[0].finish_works(victim, after)
        case.root(call("crew_red", "finish_works", after=after))


def _everyday(
    rng: random.Random,
    minute: int,
    case: Case,
    junctions: list[Junction],
    victim: Junction,
    room: ControlRoom,
    crews: list[Crew],
    works: dict[int, list[tuple[Crew, Junction]]],
    held: set[str],
    plan_switch: object,
) -> None:
    """Chores, settings, works and handled errors that belong to every day."""
    others = [junction for junction in junctions if junction is not victim]
    if rng.random() < 0.06:
        room.set_display(rng.choice(("brightness", "zoom", "map_layer")), rng.randint(1, 9))
    if rng.random() < 0.05:  # stored plans are changed, some to as little, where no crowd comes
        room.change_plan(rng.choice(others), rng.choice(("evening", "match", "night")), rng.randint(14, 80))
    if rng.random() < 0.02:
        room.change_plan(victim, "night", rng.randint(14, 20))
    if rng.random() < 0.04:
        plan_switch(rng.choice(others), "day", minute + rng.randint(1, 60))  # type: ignore[operator]
    if rng.random() < 0.04 or minute == case.decoy_at:
        room.announce(rng.choice(("rain", "parade cancelled", "tram replaced")))
    if rng.random() < 0.05:
        crews[rng.randint(0, 1)].clean(
            rng.choice(others if case.has("slow_drift") else junctions).detector, 0.0
        )
    if rng.random() < 0.05:
        try:
            crews[0].call_in(1)
        except ConnectionError:
            crews[0].call_in(2)
    if rng.random() < 0.05:
        place = rng.choice(others)
        if place.name not in held:
            held.add(place.name)
            crews[1].begin_works(place, 14)
            works.setdefault(minute + rng.randint(2, 30), []).append((crews[1], place))
    for crew, place in works.pop(minute, ()):
        by_hand = rng.random() < 0.3  # the control room releases it afterwards
        crew.finish_works(place, ["sweep", "sign"] if by_hand else ["sweep", "release", "sign"])
        if by_hand:
            place.release()
        held.discard(place.name)


WORLD = World("traffic", "spans", ("config_change", "off_by_one", "slow_drift", "forgotten_undo"), play)
