"""A building: somebody else's thermostats, traced from outside, and a boiler of two pumps."""

from __future__ import annotations

import random
from functools import cache

from Agent import AgentLogger, LearningLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_set.case import Plan, Truth, World


class Thermostat:
    """Heats one room after a schedule: a class that knows nothing of tracing."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.number = number
        self._rng = rng
        self.target = 20.0
        self.temperature = 19.5
        self.sensor = f"sensor_{number}"
        self.reading = 19.5
        self.hold_reading = False
        self.shift = 0
        self.hysteresis = 0.4
        self.heating = False
        self.keep = 20
        self.history: list[float] = []

    def sense(self, reading: float) -> float:
        """Takes what the sensor says."""
        if not self.hold_reading:
            self.reading = reading
        self.history = [*self.history, reading][-self.keep :]
        return self.reading

    def wanted(self, hour: int) -> float:
        """The target at an hour: colder at night."""
        return self.target - (3.0 if (hour + self.shift) % 24 < 6 else 0.0)

    def control(self, hour: int) -> bool:
        """Heat or not."""
        wanted = self.wanted(hour)
        if self.hysteresis == 0:
            self.heating = not self.heating
        elif self.reading < wanted - self.hysteresis:
            self.heating = True
        elif self.reading > wanted + self.hysteresis:
            self.heating = False
        return self.heating

    def pair(self, sensor: str) -> str:
        """Listens to that sensor."""
        self.sensor = sensor
        return sensor

    def set_target(self, degrees: float) -> float:
        """What is comfortable here."""
        self.target = degrees
        return degrees

    def adjust(self, hysteresis: float) -> float:
        """How far from the target it may be."""
        self.hysteresis = hysteresis
        return hysteresis

    def set_clock(self, hours_east: int) -> int:
        """The time zone."""
        self.shift = hours_east
        return hours_east

    def buffer(self, hold: bool) -> bool:
        """Whether readings are kept while the radio is busy."""
        self.hold_reading = hold
        return hold

    def keep_history(self, readings: int) -> int:
        """How many readings are remembered."""
        self.keep = readings
        return readings


class Boiler:
    """Water that all pumps heat."""

    def __init__(self) -> None:
        self.agent_id = "boiler"
        self.pressure = 1.5
        self.fed = 0.0


class Pump:
    """Feeds the boiler: looks at the pressure and writes the new one."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.strokes = 0

    def look(self, pressure: float) -> float:
        """The pressure it works from."""
        return pressure

    def feed(self, pressure: float, amount: float) -> float:
        """The pressure after a stroke."""
        self.strokes += 1
        return round(pressure + amount, 3)


class Comfort:
    """Grades each room."""

    def __init__(self) -> None:
        self.agent_id = "comfort"
        self.weight = 1.0

    def load_formula(self, weight: float) -> float:
        """How much a degree too far counts."""
        self.weight = weight
        return weight


TRACED = ("sense", "control", "pair", "set_target", "adjust", "set_clock", "buffer", "keep_history")


@cache
def _instrument() -> None:
    instrument(
        Thermostat, methods=list(TRACED), agent_id=lambda it: f"room_{it.number}", agent_role="thermostat"
    )
    instrument(Pump, methods=["look", "feed"], agent_id="agent_id", agent_role="pump")
    instrument(Comfort, methods=["load_formula"], agent_id="agent_id", agent_role="grader")


class House:
    """The rooms, and the weather."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rooms = [Thermostat(n, plan.chance(f"room {n}")) for n in plan.numbers]
        self.comfort = Comfort()
        self.boiler = Boiler()
        self.pumps = [Pump("pump_a"), Pump("pump_b")]
        self.meter = AgentLogger("meter", "meter")
        self.performance = PerformanceLogger()
        self.learning = {room.number: LearningLogger("comfort", f"room_{room.number}") for room in self.rooms}
        self.rng = plan.chance("weather")

    def hour(self, now: int) -> None:
        """All rooms sense, heat and are graded."""
        by_sensor = {f"sensor_{room.number}": room.temperature for room in self.rooms}
        for room in self.rooms:
            room.sense(round(by_sensor[room.sensor] + room._rng.gauss(0, 0.05), 2))
            room.control(hour=now % 24)
            gain = 0.8 if room.heating else -0.5
            room.temperature = round(room.temperature + gain + self.rng.gauss(0, 0.05), 2)
            room.temperature = max(5.0, min(45.0, room.temperature))
            # what people feel: the true schedule, whatever the thermostat believes
            felt = abs(room.temperature - (20.0 - (3.0 if now % 24 < 6 else 0.0)))
            self.learning[room.number].log_reward("hour", round(2.0 - self.comfort.weight * felt, 3))

    def water(self, now: int, overlap: bool) -> None:
        """Both pumps feed the boiler; what is used goes."""
        if overlap:  # both look before one has written
            seen = [(pump, pump.look(self.boiler.pressure)) for pump in self.pumps]
            for pump, pressure in seen:
                self.boiler.pressure = pump.feed(pressure, 0.1)
        else:
            for pump in self.pumps:
                self.boiler.pressure = pump.feed(pump.look(self.boiler.pressure), 0.1)
        self.boiler.fed = round(self.boiler.fed + 0.2, 3)
        if now % 8 == 7:
            difference = round(1.5 + self.boiler.fed - self.boiler.pressure, 3)
            if abs(difference) > 0.01:
                self.meter.warning("water is missing", extra={"difference": difference})
            else:
                self.meter.log_action("balance", {"pressure": self.boiler.pressure})


def run(plan: Plan, truth: Truth) -> None:
    """One session of the building."""
    _instrument()
    house, system = House(plan), SystemLogger("building")
    system.log_simulation_start("building", {"rooms": plan.size})
    house.comfort.load_formula(weight=1.0)
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 5:
                system.log_config("display", "bright", "dim")
            if now % 10 == 7:
                room = house.rooms[now % plan.size]
                if room is not house.rooms[plan.victim] or now < plan.at:
                    room.set_target(round(20 + house.rng.uniform(-0.3, 0.3), 1))
                    room.pair(f"sensor_{room.number}")
            if now % 11 == 4:
                room = house.rooms[(now * 3) % plan.size]
                if room is not house.rooms[plan.victim] or now < plan.at:
                    room.set_clock(hours_east=0)
                    room.adjust(hysteresis=0.4)
                    room.keep_history(readings=20)
                    room.buffer(hold=False)
            _plant(plan, truth, house, now)
            house.hour(now)
            house.water(now, plan.begins("lost_update", now))
            held = sum(len(room.history) for room in house.rooms)
            house.performance.log_resource(memory_bytes=40_000_000 + 50_000 * held)
    system.log_simulation_end("building", "finished")


def _plant(plan: Plan, truth: Truth, house: House, now: int) -> None:
    room, neighbour = house.rooms[plan.victim], house.rooms[plan.other]
    name = f"room_{room.number}"
    if plan.begins("stale_cache", now):
        room.buffer(hold=True)
        truth.seek(name, "buffer", now)
    if plan.begins("off_by_one_in_time", now):
        room.set_clock(hours_east=plan.rng.choice([-1, 1]))
        truth.seek(name, "set_clock", now)
    if plan.begins("wrong_peer", now):
        room.pair(f"sensor_{neighbour.number}")
        truth.seek(name, "pair", now)
    if plan.begins("state_corruption", now):
        room.set_target(round(plan.rng.uniform(64, 72), 1))  # in Fahrenheit
        truth.seek(name, "set_target", now)
    if plan.begins("stuck_loop", now):
        room.adjust(hysteresis=0)
        truth.seek(name, "adjust", now)
    if plan.begins("resource_leak", now):
        room.keep_history(readings=10**9)
        truth.seek(name, "keep_history", now)
    if plan.begins("reward_bug", now):
        house.comfort.load_formula(weight=-1.0)
        truth.seek("comfort", "load_formula", now)
    if plan.begins("lost_update", now):
        for pump in house.pumps:
            truth.seek(pump.agent_id, "look", now)
            truth.seek(pump.agent_id, "feed", now)


WORLD = World(
    name="building",
    run=run,
    prefix="room",
    sizes=(10, 16),
    ticks=(80, 120),
    complaints={
        "stale_cache": "it is far too hot or too cold in {victim}, nobody touched anything there",
        "off_by_one_in_time": "people in {victim} say it is the wrong temperature in the mornings",
        "wrong_peer": "{victim} does not keep its temperature any more",
        "state_corruption": "{victim} heats all day and night",
        "stuck_loop": "the heating of {victim} goes on and off every hour",
        "resource_leak": "memory goes up and up in the second half",
        "reward_bug": "comfort rewards are odd since tick {when}, the worse a room the better its grade",
        "lost_update": "the water meter says that water is missing from the boiler",
    },
)
