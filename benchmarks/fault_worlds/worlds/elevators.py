"""Lifts of a tower that learn where to wait: kiosks, a dispatcher, a wait meter, a sway guard, a mechanic and an office."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, LearningLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

CARS = ("car_a", "car_b", "car_c", "car_d")
TENANTS = ("Orbis", "Lumen", "Fenwick", "Caldera", "Norddata", "Tessel", "Hallo", "Quill")
STORES = ("depot 1", "depot 2", "depot 3")
FLOORS = (0, 5, 9, 14)
SLOTS = ("morning", "noon", "evening", "night")
SHORTEST = {"slow_drift": 6, "starved_queue": 3}


class Part:
    """Something in the tower with a name."""

    trace_ignore = ("log", "learning", "cars", "guard", "noise", "offset", "rate")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class Car(Part):
    """A lift that learns, for each time of day, on which floor to wait."""

    def __init__(self, agent_id: str, noise: random.Random) -> None:
        super().__init__(agent_id)
        self.learning = LearningLogger("tabular", agent_id, "car")
        self.noise, self.parked, self.offset, self.rate = noise, 0, 0.0, 0.0
        fair = {"fair": {0: 4.0, 5: 1.0, 9: 2.4, 14: 1.6}}
        self.values = {slot: dict.fromkeys(FLOORS, 1.0) for slot in SLOTS} | fair

    def park(self, slot: str, explore: bool, pick: int) -> int:
        """Go to the floor that was best so far, or try one."""
        best = max(FLOORS, key=lambda floor: self.values[slot][floor])
        self.parked = pick if explore else best
        self.learning.log_exploration_exploitation(f"{slot}/{self.parked}", explore, 0.1)
        return self.parked

    def learn(self, trip: str, slot: str, floor: int, reward: float) -> float:
        """Move the value of a floor halfway to the reward."""
        self.learning.log_reward(f"{slot}/{floor}/{trip}", reward)
        self.values[slot][floor] = round((self.values[slot][floor] + reward) / 2, 2)
        return self.values[slot][floor]

    def read_cell(self, now: int) -> float:
        """Read the load cell while the car is empty."""
        self.offset += self.rate
        return round(self.offset + self.noise.uniform(-2, 2), 1)

    def serve(self, trip: str, origin: int, to: int, kg: int) -> dict[str, Any]:
        """Fetch somebody, unless the cell shows too much load."""
        wait = 8 + 9 * abs(self.parked - origin)
        if kg + self.offset > 630:
            return {"outcome": "overload", "shown_kg": round(kg + self.offset), "wait_s": wait}
        return {"outcome": "arrived", "floor": to, "wait_s": wait}

    def halt(self, sway_mm: float) -> str:
        """Stop between floors."""
        return "halted"


class Meter(Part):
    """Turns waiting times into rewards."""

    def __init__(self, cars: dict[str, Car]) -> None:
        super().__init__("wait_meter")
        self.cars = cars

    def credit(self, trip: str, car: str, slot: str, wait_s: int) -> float:
        """Reward the car for the floor where it waited."""
        reward = round(5 - wait_s / 12, 2)
        self.cars[car].learn(trip, slot, self.cars[car].parked, reward)
        return reward


class Kiosk(Part):
    """Takes calls; it keeps a copy of the directory."""

    def __init__(self, agent_id: str, plan: dict[str, int]) -> None:
        super().__init__(agent_id)
        self.plan = dict(plan)

    def refresh(self, tenant: str, floor: int) -> str:
        """Take a change of the directory over."""
        self.plan[tenant] = floor
        return "ok"

    def request(self, trip: str, tenant: str, kind: str) -> dict[str, Any]:
        """Take a call for a tenant."""
        return {"trip": trip, "kind": kind, "floor": self.plan[tenant]}


class Directory(Part):
    """Says who is on which floor."""

    def __init__(self, plan: dict[str, int]) -> None:
        super().__init__("directory")
        self.plan = plan

    def move(self, tenant: str, floor: int) -> str:
        """Note that a tenant moved."""
        self.plan[tenant] = floor
        return f"{tenant} on {floor}"


class Dispatcher(Part):
    """Gives calls to cars, so many of each kind in a round."""

    def __init__(self, cars: dict[str, Car]) -> None:
        super().__init__("dispatcher")
        self.learning = LearningLogger("shares", "dispatcher", "dispatcher")
        self.cars = cars
        self.shares = {"visitor": 3, "staff": 1, "goods": 1}

    def relearn(self, shares: dict[str, int]) -> str:
        """Take new shares over."""
        self.learning.log_policy_update({"rounds": 96}, dict(self.shares), shares)
        self.shares = shares
        return "updated"

    def assign(self, trip: str, car: str, slot: str, origin: int, to: int, kg: int) -> dict[str, Any]:
        """Let a car serve a call."""
        return self.cars[car].serve(trip, origin, to, kg)


class Guard(Part):
    """Watches how much the tower sways in the wind."""

    def __init__(self) -> None:
        super().__init__("sway_guard")
        self.limit_mm = 24

    def configure(self, limit_mm: int) -> str:
        """Take a new limit over."""
        self.limit_mm = limit_mm
        return "ok"

    def read_sway(self, sway_mm: float) -> bool:
        """Tell whether cars have to stop."""
        return sway_mm > self.limit_mm


class Office(Part):
    """Changes settings."""

    def __init__(self, guard: Guard) -> None:
        super().__init__("office")
        self.guard = guard

    def change(self, setting: str, value: int) -> str:
        """Change a setting."""
        if setting == "sway_limit_mm":
            self.guard.configure(value)
        return f"{setting}={value}"


class Mechanic(Part):
    """Services cars."""

    def service(self, car: str, part: str, job: str) -> str:
        """Exchange a part."""
        return f"{part} of {car}"


class Desk(Part):
    """Where people complain."""

    def note(self, trip: str, about: str) -> str:
        """Write a complaint down."""
        return "noted"


METHODS: dict[type[Part], list[str]] = {
    Car: ["park", "learn", "read_cell", "serve", "halt"],
    Meter: ["credit"],
    Kiosk: ["refresh", "request"],
    Directory: ["move"],
    Dispatcher: ["relearn", "assign"],
    Guard: ["configure", "read_sway"],
    Office: ["change"],
    Mechanic: ["service"],
    Desk: ["note"],
}
TEXTS = {
    "long wait": (
        "on fair evenings the wide lift used to stand open in the hall, now we waited for minutes with the wheelchair",
        "Endless wait in the lobby tonight, {other} was long gone",
        "why does the big lift wait upstairs when all people are in the hall?",
    ),
    "stuck": (
        "We hung between two floors for an hour. There was hardly any wind!",
        "the lift stopped in mid-air with us in it. {other} is said to have stopped in worse storms never",
        "stuck between floors on a mild day, {other} went on as if nothing were",
    ),
    "overload": (
        "six of us and the lift says it is too full, it takes ten! front_desk only shrugs",
        "The lift threw us out as too heavy, {other} then took all of us",
        "too heavy? we were half as many as the plate allows",
    ),
    "goods": (
        "Our trolleys stand in the basement and no lift ever comes for them",
        "the caterer has waited since forever, visitors go up all the time. is everybody asleep?",
        "nothing is brought up any more from the loading bay, {other} passes empty",
    ),
    "wrong floor": (
        "We were taken to a floor with bare walls, {tenant} is not there",
        "the lift let us out at the wrong place, and our host sits elsewhere. {other} people had the same last year",
        "sent to an empty floor by the touch screen, and front_desk knew of nothing",
    ),
}


class Tower:
    """All parts, and the plan of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.now, self.serial = case, case.rng("tower"), 0, 0
        plan = {tenant: self.rng.randint(1, 17) for tenant in (*TENANTS, *STORES)}
        self.cars = {name: Car(name, self.rng) for name in CARS}
        self.meter, self.desk, self.mechanic = Meter(self.cars), Desk("front_desk"), Mechanic("mechanic")
        self.kiosks = {name: Kiosk(name, plan) for name in ("lobby_kiosk", "garage_kiosk", "loading_bay")}
        self.directory, self.dispatcher, self.guard = (
            Directory(plan),
            Dispatcher(self.cars),
            Guard(),
        )
        self.office = Office(self.guard)
        self.wide, self.other, self.third = self.rng.sample(CARS, 3)
        self.tenant = self.rng.choice(TENANTS)
        self.goods, self.waiting = "", list[dict[str, Any]]()

    def fair(self, now: int) -> bool:
        """Tell whether there is a fair."""
        return self.case.has("wrong_credit") and now in (0, 1, self.case.begin, self.case.end)

    def slot(self) -> str:
        """Return the time of day; a fair is a rare one."""
        return "fair" if self.fair(self.now) else SLOTS[self.now % 4]

    def complain(self, trip: str, about: str, texts: str) -> None:
        """Note a complaint, which is the symptom."""
        self.desk.note(trip, about)
        words = [text.format(other=self.other, tenant=self.tenant) for text in TEXTS[texts]]
        self.case.symptom(call("front_desk", "note", trip=trip), *words)

    def ride(self, trip: str, car: str, origin: int, to: int, kg: int) -> dict[str, Any]:
        """Let somebody ride, and credit the wait."""
        done = self.dispatcher.assign(trip, car, self.slot(), origin, to, kg)
        if done["outcome"] == "arrived":
            self.meter.credit(trip, car, self.slot(), done["wait_s"])
        return done


def play(case: Case) -> None:
    """Play some weeks in the tower, four rounds a day."""
    for kind, methods in METHODS.items():
        instrument(
            kind, methods, agent_id="agent_id", agent_role=kind.__name__.lower(), ignore=Part.trace_ignore
        )
    steps = case.rng("size").choice((24, 50, 90, 140))
    case.window(steps, SHORTEST.get(case.kind, 1))
    tower = Tower(case)
    for tower.now in range(steps):
        with tick(tower.now):
            _idle(tower)
            _round(tower)
            if tower.now == case.begin:
                _begin(tower)
            if tower.now == case.end:
                _end(tower)


def _idle(tower: Tower) -> None:
    """Park, read cells and sway, and do what is done on other days."""
    case, rng, now, slot = tower.case, tower.rng, tower.now, tower.slot()
    for lift in tower.cars.values():
        explore, pick = rng.random() < 0.1, rng.choice(FLOORS)
        lift.park(slot, explore and slot != "fair", pick)
        lift.read_cell(now)
        if lift.rate and len(case.roots) < 4:
            case.root(call(lift.agent_id, "read_cell", now=now))
    calm = round(rng.uniform(0, 2.4), 1)
    gust = round(rng.uniform(5, 17), 1)
    windy = rng.random() < 0.3 and now < case.begin and now != case.end
    if now != case.end or not case.has("config_change"):
        tower.guard.read_sway(gust if windy else calm)
    draws = [rng.random() for _ in range(6)]
    name = rng.choice(("fan_minutes", "chime_volume", "display_dim", "sway_limit_mm", "sway_limit_mm"))
    if draws[0] < 0.3 and (name != "sway_limit_mm" or now < case.begin):
        tower.office.change(name, rng.randint(20, 30))
    car, part = (
        rng.choice([c for c in CARS if c != tower.wide]),
        rng.choice(("cell spring", "door belt", "lamp")),
    )
    if draws[1] < 0.1:
        tower.mechanic.service(car, part, f"M{now}")
    shares = {"visitor": rng.choice((2, 3)), "staff": rng.choice((1, 2)), "goods": 1}
    if draws[2] < 0.3 and (not case.has("starved_queue") or now < case.begin or now > case.end):
        tower.dispatcher.relearn(shares)
    tenant, floor = rng.choice([*STORES, *TENANTS]), rng.randint(1, 17)
    if draws[3] < 0.12 and tenant != tower.tenant:
        tower.directory.move(tenant, floor)
        for kiosk in list(tower.kiosks.values())[: 1 if tenant in STORES else 3]:
            kiosk.refresh(tenant, floor)
    if draws[4] < 0.1:
        rng.choice(list(tower.cars.values())).log.warning("door opened twice", extra={"floor": floor})
    if 0.5 < draws[5] < 0.54:
        tower.desk.log.log_action(
            rng.choice(("fire_drill", "open_hall", "lend_umbrella", "call_cleaner")), {"round": now}
        )
    if draws[5] < 0.2:
        tower.desk.note(f"none-{now}", rng.choice(("lost umbrella", "too warm", "music")))
    if now == case.decoy_at:
        tower.mechanic.log.warning("lamp in shaft 2 flickers", extra={"round": now})


def _round(tower: Tower) -> None:
    """Take calls, and serve so many of each kind."""
    case, rng, now = tower.case, tower.rng, tower.now
    waiting, shares = tower.waiting, tower.dispatcher.shares
    booked = any(tower.fair(now + soon) for soon in range(4))  # the wide lift is kept for booked rides
    for number in range(7):
        tower.serial += 1
        trip, kind = f"T{tower.serial}", "staff" if number == 4 else "goods" if number > 4 else "visitor"
        tenants = [t for t in TENANTS if t != tower.tenant or now < case.begin]
        tenant, kiosk, origin = (
            rng.choice(tenants),
            rng.choice(("lobby_kiosk", "garage_kiosk")),
            rng.choice(FLOORS),
        )
        cars = [c for c in CARS if c != tower.wide or not booked]
        car, kg, comes = rng.choice(cars), rng.randint(60, 380), rng.random() < 0.2
        if kind == "goods" and not comes and not (number == 6 and now == case.begin + 1):
            continue
        asked = tower.kiosks["loading_bay" if kind == "goods" else kiosk].request(trip, tenant, kind)
        waiting.append({"ride": (trip, car, origin, asked["floor"], kg), "kind": kind, "since": now})
        if kind == "goods" and now > case.begin and not tower.goods:
            tower.goods = trip
    for kind, share in shares.items():
        for ride in [ride for ride in waiting if ride["kind"] == kind][:share]:
            waiting.remove(ride)
            tower.ride(*ride["ride"])
    for ride in [ride for ride in waiting if ride["kind"] != "goods" and now - ride["since"] >= 2]:
        waiting.remove(ride)
        tower.dispatcher.log.log_action("drop_call", {"trip": ride["ride"][0], "reason": "took the stairs"})


def _begin(tower: Tower) -> None:
    """Do the act of the plan, rightly or wrongly."""
    case, now, rng = tower.case, tower.now, tower.case.rng("plan")
    trip = f"B{now}"
    if case.has("wrong_credit"):
        tower.cars[tower.other].park("fair", explore=True, pick=14)
        done = tower.dispatcher.assign(trip, tower.other, "fair", 0, 9, 200)
        car = tower.wide if case.strikes("wrong_credit", now) else tower.other
        tower.meter.credit(trip, car, "fair", done["wait_s"])
        case.root(
            call("wait_meter", "credit", trip=trip),
            call(car, "learn", trip=trip),
            call(car, "reward", action_id=f"fair/{tower.cars[car].parked}/{trip}"),
        )
    elif case.has("config_change"):
        value = 3 if case.strikes("config_change", now) else 23
        tower.office.change("sway_limit_mm", value)
        case.root(
            call("office", "change", setting="sway_limit_mm", value=value),
            call("sway_guard", "configure", limit_mm=value),
        )
    elif case.has("slow_drift"):
        tower.mechanic.service(tower.wide, "cell spring", f"M{now}")
        case.root(call("mechanic", "service", car=tower.wide, job=f"M{now}"))
        if case.strikes("slow_drift", now):
            tower.cars[tower.wide].rate = 200 / (case.end - now)
    elif case.has("starved_queue"):
        shares = {"visitor": 3, "staff": 2, "goods": 0 if case.strikes("starved_queue", now) else 1}
        tower.dispatcher.relearn(shares)
        case.root(
            call("dispatcher", "relearn", shares=shares),
            call("dispatcher", "policy_update", new_policy=shares),
        )
    else:
        floor = 18 + rng.randint(0, 2)
        tower.directory.move(tower.tenant, floor)
        case.root(call("directory", "move", tenant=tower.tenant, floor=floor))
        if not case.strikes("stale_cache", now):
            tower.kiosks["lobby_kiosk"].refresh(tower.tenant, floor)
        tower.kiosks["garage_kiosk"].refresh(tower.tenant, floor)


def _end(tower: Tower) -> None:
    """Let happen what needs the act of the plan to have been right."""
    case, trip = tower.case, f"W{tower.now}"
    if case.has("starved_queue"):
        if any(ride["ride"][0] == tower.goods for ride in tower.waiting):
            case.hop(call("loading_bay", "request", trip=tower.goods))
            tower.complain(tower.goods, "goods", "goods")
        return
    asked = tower.kiosks["lobby_kiosk"].request(trip, tower.tenant, "booked")
    if case.has("config_change"):
        sway = 9.2
        if tower.guard.read_sway(sway):
            tower.cars[tower.wide].halt(sway)
            case.trigger(call("sway_guard", "read_sway", sway_mm=sway))
            case.hop(call("sway_guard", "read_sway", sway_mm=sway), call(tower.wide, "halt"))
            tower.complain(trip, "stuck", "stuck")
        return
    done = tower.ride(trip, tower.wide, 0, asked["floor"], 470)
    case.hop(call("lobby_kiosk", "request", trip=trip), call(tower.wide, "serve", trip=trip))
    if done["outcome"] == "overload":
        tower.complain(trip, "overload", "overload")
    elif asked["floor"] != tower.directory.plan[tower.tenant]:
        tower.complain(trip, "wrong floor", "wrong floor")
    elif case.has("wrong_credit") and done["wait_s"] > 60:
        tower.complain(trip, "wait", "long wait")


WORLD = World(
    "elevators",
    "spans",
    ("wrong_credit", "config_change", "slow_drift", "starved_queue", "stale_cache"),
    play,
    author=11,
)
