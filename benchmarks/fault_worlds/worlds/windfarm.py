"""The maintenance of a wind farm at sea: orders, crews, kits and storms. Decorated methods that call each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

UNITS = tuple(f"T{number:02}" for number in range(1, 13))
CREWS = ("Ines", "Joost", "Freya")
REPAIRS = ("gearbox", "flange", "hydraulics", "blade", "cable")
TORQUE = {"M16": 280, "M24": 960, "M36": 2800, "M42": 4500}  # newton metres, as the handbook has it


@dataclass
class Order:
    """Work to do at a turbine, with everything that is found there."""

    number: str
    unit: str
    kind: str
    crew: str
    bolt: str
    bar: float
    typed: list[float]
    overnight: bool = False
    left_bypassed: bool = False
    kit_kept: bool = False


class Turbine:
    """A turbine with its sensor, its flange and its brake."""

    trace_ignore = ("farm", "log")

    def __init__(self, name: str, farm: Farm) -> None:
        self.agent_id, self.agent_role, self.farm = name, "turbine", farm
        self.log = AgentLogger(name, "turbine")
        self.sensor_bypassed = False
        self.bolt, self.torque_nm = "M36", 2800
        self.pressure = 180.0
        self.running = True

    @trace_agent_action()
    def bypass_sensor(self, order: str) -> None:
        self.sensor_bypassed = True

    @trace_agent_action()
    def restore_sensor(self, order: str) -> None:
        self.sensor_bypassed = False

    @trace_agent_action()
    def tighten(self, order: str, bolt: str, torque_nm: int) -> None:
        self.bolt, self.torque_nm = bolt, torque_nm

    @trace_agent_action()
    def top_up(self, order: str, pressure: float) -> None:
        self.pressure = pressure

    @trace_agent_action()
    def vibrate(self, day: int, mm_s: float) -> str:
        """Shake; the sensor stops the turbine."""
        if self.sensor_bypassed:
            return "running"
        self.running = False
        return "stopped"

    @trace_agent_action()
    def ride_out(self, day: int, wind_m_s: int) -> str:
        """Turn the blades out of the wind, and hold."""
        if self.pressure < 100:
            return "overspeed"
        return "slipped" if self.torque_nm < TORQUE[self.bolt] * 0.8 else "feathered"


class Store:
    """The store of parts: lends kits of tools."""

    trace_ignore = ("farm",)

    def __init__(self, farm: Farm, kits: int) -> None:
        self.agent_id, self.agent_role, self.farm, self.kits = "parts_store", "office", farm, kits

    @trace_agent_action()
    def lend(self, crew: str, order: str) -> bool:
        if self.kits == 0:
            return False
        self.kits -= 1
        return True

    @trace_agent_action()
    def hand_in(self, crew: str, order: str) -> int:
        self.kits += 1
        return self.kits


class Handbook:
    """A tool that answers what torque a bolt needs."""

    def __init__(self, farm: Farm) -> None:
        self.agent_id, self.agent_role, self.farm = "handbook", "tool", farm

    trace_ignore = ("farm",)

    @trace_agent_action()
    def look_up(self, bolt: str, order: str) -> int:
        return self.farm.answers.get(order, TORQUE[bolt])


class Crew:
    """Two technicians who go out to the turbines."""

    trace_ignore = ("farm",)

    def __init__(self, name: str, farm: Farm) -> None:
        self.agent_id, self.agent_role, self.farm, self.jobs = name, "crew", farm, 0

    @trace_agent_action()
    def repair(self, order: str, unit: str, kind: str) -> str:
        """Fetch a kit, do the work, bring the kit back."""
        farm, work, turbine = self.farm, self.farm.orders[order], self.farm.units[unit]
        if not farm.store.lend(self.agent_id, order):
            return "no kit"
        self.jobs += 1
        if kind == "gearbox":
            turbine.bypass_sensor(order)
            if not (work.overnight or work.left_bypassed):
                turbine.restore_sensor(order)
        if kind == "flange":
            turbine.tighten(order, work.bolt, farm.handbook.look_up(work.bolt, order))
        if kind == "hydraulics":
            turbine.top_up(order, work.bar)
            for pressure in work.typed:
                farm.control.enter_pressure(unit, order, pressure)
        turbine.running = True
        if work.overnight:
            farm.overnight.append((self.agent_id, order))
        elif not work.kit_kept:
            farm.store.hand_in(self.agent_id, order)
        return "done"


class Control:
    """The control room: watches pressures against what was entered, and writes orders."""

    trace_ignore = ("farm",)

    def __init__(self, farm: Farm) -> None:
        self.agent_id, self.agent_role, self.farm = "control_room", "office", farm
        self.limits: dict[str, float] = dict.fromkeys(UNITS, 144.0)

    @trace_agent_action()
    def enter_pressure(self, unit: str, order: str, pressure: float) -> float:
        """Keep what a crew reports, and warn below four fifths of it from now on."""
        self.limits[unit] = round(pressure * 0.8, 1)
        return self.limits[unit]

    @trace_agent_action()
    def check_pressure(self, unit: str, pressure: float) -> str:
        return "low" if pressure < self.limits[unit] else "ok"

    @trace_agent_action()
    def write_order(self, order: str, unit: str, kind: str) -> None:
        self.farm.queue.append(order)

    @trace_agent_action()
    def restart(self, unit: str) -> None:
        self.farm.units[unit].running = True


class Dispatcher:
    """Sends crews out: the lower the rank of a kind, the sooner; routine rounds fill the day."""

    trace_ignore = ("farm",)

    def __init__(self, farm: Farm) -> None:
        self.agent_id, self.agent_role, self.farm = "dispatcher", "office", farm
        self.ranks = dict.fromkeys(REPAIRS, 2) | {"round": 3}

    @trace_agent_action()
    def set_rank(self, kind: str, rank: int) -> None:
        self.ranks[kind] = rank

    @trace_agent_action()
    def plan_day(self, day: int) -> list[str]:
        """Choose the five orders of the day, and have them done; rounds that are not reached are dropped."""
        farm = self.farm
        chosen = sorted(farm.queue, key=lambda number: self.ranks[farm.orders[number].kind])[:5]
        for number in chosen:
            farm.queue.remove(number)
            work = farm.orders[number]
            if (
                farm.crews[work.crew].repair(number, work.unit, work.kind) == "no kit"
                and work.kind != "round"
            ):
                farm.no_kit(work)
        farm.queue = [number for number in farm.queue if farm.orders[number].kind != "round"]
        return chosen


class Forecast:
    """The weather desk."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "weather_desk", "office"

    @trace_agent_action()
    def announce(self, day: int, wind_m_s: int) -> str:
        return "storm" if wind_m_s > 24 else "fair"


@dataclass
class Farm:
    """The farm, and the turbine `mine` at which the plan of the case shows."""

    case: Case
    now: int = 0
    orders: dict[str, Order] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    overnight: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    waiting: str = ""

    def start(self, leaks: int) -> None:
        """Build everything that acts."""
        self.rng = self.case.rng("farm")
        self.units = {name: Turbine(name, self) for name in UNITS}
        self.crews = {name: Crew(name, self) for name in CREWS}
        self.store, self.handbook = Store(self, leaks), Handbook(self)
        self.control, self.dispatcher, self.forecast = Control(self), Dispatcher(self), Forecast()
        self.mine, self.crew = self.rng.choice(UNITS), self.rng.choice(CREWS)
        self.other = self.rng.choice([name for name in UNITS if name != self.mine])
        self.quiet = [name for name in UNITS if name != self.mine]

    def order(
        self, kind: str, unit: str, *, crew: str = "", mine: bool = False, rng: Random | None = None
    ) -> str:
        """Write an order; what the crew will find and do is drawn now."""
        rng, number = rng or self.rng, f"W{len(self.orders) + 1:04}"
        crew, bolt = crew or rng.choice(CREWS), rng.choice(tuple(TORQUE))
        overnight = rng.random() < 0.04 and not self.overnight and not mine
        bar, slip = float(rng.randint(165, 195)), rng.random() < 0.06 and not mine
        work = Order(number, unit, kind, crew, "M36" if mine else bolt, bar, [bar], overnight)
        if slip:  # typed in the unit of the gauge, seen, and typed again
            work.typed.insert(0, round(bar / 10, 1))
        self.orders[number] = work
        self.control.write_order(number, unit, kind)
        return number

    def say(self, event: str, *texts: str) -> None:
        """A user complains, in one of these wordings."""
        fill = {"mine": self.mine, "other": self.other, "crew": self.crew}
        self.case.symptom(event, *(text.format(**fill) for text in texts))

    def no_kit(self, work: Order) -> None:
        """A crew came back without having done anything."""
        self.case.hop(call("parts_store", "lend", order=work.number))
        event = self.units[work.unit].log.warning("turbine still down", {"order": work.number})
        self.say(
            event,
            "a boat went out and came back, and the turbine stands as dead as before",
            f"nothing was done at {work.unit} today. They say that there is nothing to work with",
            f"{work.unit} is down, and all of a sudden nobody can repair anything any more",
        )


def _planned(farm: Farm, now: int, leaks: list[int]) -> None:
    """The acts of the plan: an order for the turbine, or a change of ranks."""
    case = farm.case
    if case.has("leaked_resource"):
        if now == case.end:
            farm.order("cable", farm.mine)
        for _ in range(leaks.count(now)):
            number = farm.order("cable", farm.rng.choice(UNITS), crew=farm.crew, mine=True)
            farm.orders[number].kit_kept = case.strikes("leaked_resource")
            if len(case.roots) < 3:
                case.root(call(farm.crew, "repair", order=number))
    if case.has("starved_queue"):
        if now == case.begin:
            rank = 6 if case.strikes("starved_queue", now) else 1
            farm.dispatcher.set_rank("blade", rank)
            case.root(call("dispatcher", "set_rank", kind="blade", rank=rank))
        if now == case.begin + 1:
            farm.waiting = farm.order("blade", farm.mine)
            case.hop(call("control_room", "write_order", order=farm.waiting))
    if now != case.begin:
        return
    kinds = {"forgotten_undo": "gearbox", "trusted_tool": "flange", "wrong_unit": "hydraulics"}
    if case.kind in kinds:
        number = farm.order(kinds[case.kind], farm.mine, crew=farm.crew, mine=True)
        work = farm.orders[number]
        if case.has("trusted_tool"):
            if case.strikes("trusted_tool", now):
                farm.answers[number] = TORQUE["M16"]
            case.root(call("handbook", "look_up", order=number))
            case.hop(call(farm.mine, "tighten", order=number))
        elif case.has("wrong_unit"):
            if case.strikes("wrong_unit", now):
                work.typed = [round(work.bar / 10, 1)]
            case.root(call(farm.crew, "repair", order=number))
            case.root(call("control_room", "enter_pressure", order=number))
        else:
            work.left_bypassed = case.strikes("forgotten_undo", now)
            case.root(call(farm.crew, "repair", order=number))
            case.root(call(farm.mine, "bypass_sensor", order=number))


def _watch(farm: Farm, now: int) -> None:
    """Readings, vibrations and what the control room makes of them."""
    rng, case = farm.rng, farm.case
    seen = set(rng.sample(farm.quiet, 2))
    leaking = rng.choice(farm.quiet)
    if case.has("wrong_unit") and now in {case.end - 1, case.end}:
        seen.add(farm.mine)
        if now == case.end - 1:
            farm.units[farm.mine].pressure = 88.0
    if rng.random() < 0.15:
        farm.units[leaking].pressure = float(rng.randint(105, 120))
        seen.add(leaking)
    for name in sorted(seen):
        pressure = farm.units[name].pressure
        if farm.control.check_pressure(name, pressure) == "low":
            farm.order("hydraulics", name, rng=case.rng(f"low/{now}/{name}"))
    shaking = rng.choice(farm.quiet) if rng.random() < 0.2 else ""
    if case.has("forgotten_undo") and now == case.end:
        shaking = farm.mine
    if shaking and (shaking == farm.mine or not farm.units[shaking].sensor_bypassed):
        result = farm.units[shaking].vibrate(now, round(rng.uniform(9, 14), 1))
        if result == "stopped":
            farm.control.restart(shaking)
        else:
            case.trigger(call(shaking, "vibrate", day=now))
            case.hop(call(shaking, "vibrate", day=now))
            event = AgentLogger("control_room", "office").error("gearbox lost", {"unit": shaking})
            farm.say(
                event,
                "one of our machines tore its gears to pieces, it should have switched itself off",
                "{mine} ran on while it shook itself apart",
                "smoke from {mine}! {other} once shook like this and simply stopped",
            )


def _storm(farm: Farm, now: int) -> None:
    """The weather of the day, and what the turbines make of a storm."""
    rng, case = farm.rng, farm.case
    wind = rng.randint(25, 32) if rng.random() < 0.12 else rng.randint(4, 20)
    due = now == case.end and (case.has("wrong_unit") or case.has("trusted_tool"))
    wind = max(wind, 27) if due else wind
    exposed = [*rng.sample(farm.quiet, 3), *([farm.mine] if due else [])]
    if farm.forecast.announce(now, wind) == "fair":
        return
    for name in exposed:
        result = farm.units[name].ride_out(now, wind)
        if result == "feathered":
            continue
        case.trigger(call("weather_desk", "announce", day=now))
        case.hop(call(name, "ride_out", day=now))
        event = AgentLogger("control_room", "office").error(
            "emergency stop", {"unit": name, "reason": result}
        )
        if result == "overspeed":
            case.hop(call("control_room", "check_pressure", unit=name, pressure=farm.units[name].pressure))
            farm.say(
                event,
                "the mill off our beach raced like mad in the gale until something broke",
                "{mine} went far too fast last night, why did nobody see that coming",
                "in the same storm {other} turned out of the wind, as it should, the one beside it did not",
            )
        else:
            farm.say(
                event,
                "a loud bang in the storm, and now the tower leans on its foot",
                "the foot of {mine} came loose though people had been there to fix exactly that",
                "{mine} moved on its base. Nothing of the kind at {other} in the same wind",
            )


def _chores(farm: Farm, now: int) -> None:
    """Rounds, small repairs, changed ranks and mishaps of every day."""
    rng, case = farm.rng, farm.case
    for crew, order in farm.overnight:  # what could not be finished yesterday
        if farm.orders[order].kind == "gearbox":
            farm.units[farm.orders[order].unit].restore_sensor(order)
        farm.store.hand_in(crew, order)
    farm.overnight.clear()
    for _ in range(rng.randint(0, 2)):
        farm.order(rng.choice(REPAIRS), rng.choice(farm.quiet))
    if rng.random() < 0.12:
        kind = rng.choice((*REPAIRS, "round"))
        if kind != "blade" or not case.has("starved_queue"):
            farm.dispatcher.set_rank(kind, rng.randint(3, 5) if kind == "round" else rng.randint(0, 2))
    if rng.random() < 0.1:
        AgentLogger(rng.choice(CREWS), "crew").warning("radio dead", {"minutes": rng.randint(2, 20)})
    for _ in range(5):
        farm.order("round", rng.choice(UNITS))
    if now == case.decoy_at:
        AgentLogger(rng.choice(UNITS), "turbine").warning(
            "gulls on the nacelle", {"count": rng.randint(2, 9)}
        )


def play(case: Case) -> None:
    """Play a season."""
    steps = case.rng("steps").choice((25, 40, 70, 110))
    begin, end = case.window(steps, shortest=2)
    count = min(8, max(3, end - begin))
    leaks = [begin + place * (end - begin) // count for place in range(count)]
    farm = Farm(case)
    farm.start(count)
    for now in range(steps):
        farm.now = now
        with tick(now):
            _chores(farm, now)
            _planned(farm, now, leaks)
            farm.dispatcher.plan_day(now)
            _watch(farm, now)
            if case.has("starved_queue") and now == end and farm.waiting in farm.queue:
                event = farm.units[farm.mine].log.warning("blade edge torn off", {"metres": 3})
                farm.say(
                    event,
                    "that howling at night, and this morning a piece of the wing lay on the beach",
                    "{mine} has been whistling ever since we first reported it, and nobody comes",
                    "they go round to {other} every week just to look, and here a blade falls apart",
                )
            _storm(farm, now)


WORLD = World(
    "windfarm",
    "spans",
    ("wrong_unit", "leaked_resource", "forgotten_undo", "starved_queue", "trusted_tool"),
    play,
    author=10,
)
