"""A small mine: crews cut in headings, and a hoist, pumps, air doors, rakes and blasting keys keep them at work.

Plain classes that know nothing of tracing; `instrument` records their calls. One tick is an hour. Evidence: spans.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

HEADINGS = ("north_1", "north_2", "north_3", "deep_1", "deep_2", "deep_3", "west_1", "west_2")
CREWS = (
    "crew_adit",
    "crew_birch",
    "crew_clay",
    "crew_dale",
    "crew_elm",
    "crew_ford",
    "crew_gorse",
    "crew_heath",
)
LOADS = ("men", "timber", "ore")
LIFTS = 3  # of the hoist, in an hour
GAS_LIMIT, GAS_BASE = 1.25, 0.3
WATER_LIMIT, WATER_BASE = 90.0, 20.0


@dataclass
class Mine:
    """What is below, whether somebody looks or not."""

    case: Case
    gas: dict[str, float] = field(default_factory=dict)
    water: dict[str, float] = field(default_factory=dict)
    open_doors: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    rakes: dict[tuple[str, int], list[str]] = field(default_factory=dict)  # (rake, hour) -> crews
    fetched: set[tuple[str, int]] = field(default_factory=set)
    waiting: list[dict[str, Any]] = field(default_factory=list)  # for the hoist
    timber: dict[str, str] = field(default_factory=dict)  # load -> where it is
    hour: int = 0
    whims: dict[str, Any] = field(default_factory=dict)  # how somebody happens to act in the next call


class Crew:
    """Cuts in a heading."""

    def __init__(self, mine: Mine, name: str, heading: str) -> None:
        self.mine, self.name, self.heading = mine, name, heading
        self.tubs = 0
        self.notes = AgentLogger(name, "crew")

    def cut(self, metres: float) -> int:
        self.tubs += round(metres * 10)
        return self.tubs

    def load(self, turn: str, rake: str, loco: Loco) -> str:
        if loco.haul(turn, rake, self.heading) == "gone":
            self.stop(
                "no rake",
                f"{rake} was chalked up for {self.name}, and was not there when they came to load it",
            )
            return "idle"
        self.tubs = 0
        return "loaded"

    def set_props(self, load: str) -> str:
        if self.mine.timber.get(load) != "below":
            self.stop("no timber", f"the timber that {self.name} had sent for has still not come down")
            return "idle"
        return "set"

    def blast(self, job: str, shotfirer: Shotfirer) -> str:
        done = shotfirer.fire(job, self.heading)
        if done == "no key":
            self.stop("no shot", f"the face of {self.heading} was bored and ready, and could not be shot")
        return done

    def withdraw(self, because: str) -> None:
        said = "the air was bad" if because == "air" else "they stood in water"
        self.stop(because, f"{self.heading} had to be left by everybody, because {said}")

    def stop(self, because: str, what: str) -> None:
        """Note that the crew does not work; beyond a rest, this is the symptom."""
        event = self.notes.log_action("stand_idle", {"heading": self.heading, "for": because})
        other = "gauge_" if because != "air" else "sump_"
        self.mine.case.symptom(
            event,
            f"In hour {self.mine.hour} {what}.",
            f"A whole shift lost at the face: {self._plain(because)}. Who or what is behind this?",
            f"Why did they down tools in {self.heading}? {other}{self.heading} has been fine all along; {self._plain(because)}",
        )

    def _plain(self, because: str) -> str:
        return {
            "no rake": "there was nothing to fill the stone into",
            "no timber": "nothing to hold up the roof with",
            "no shot": "the holes stayed unfired",
            "air": "the flame in the lamp went blue",
            "water": "it came up to the knees",
        }[because]

    def rest(self, minutes: int) -> None:
        self.notes.log_action("stand_idle", {"heading": self.heading, "for": "bread"})


class Magazine:
    """Keeps the keys without which no shot can be fired."""

    def __init__(self, keys: int) -> None:
        self.name = "magazine"
        self.keys = [f"key_{number}" for number in range(1, keys + 1)]

    def hand_out(self, job: str) -> str | None:
        return self.keys.pop(0) if self.keys else None

    def put_back(self, key: str) -> int:
        self.keys.append(key)
        return len(self.keys)


class Shotfirer:
    """Fires shots."""

    def __init__(self, mine: Mine, name: str, magazine: Magazine) -> None:
        self.mine, self.name, self.magazine = mine, name, magazine
        self.pouch: list[str] = []

    def fire(self, job: str, heading: str) -> str:
        key = self.magazine.hand_out(job)
        if key is None:
            return "no key"
        self.ignite(job)
        if self.mine.whims.get("keeps") is None:
            self.magazine.put_back(key)
        else:
            self.pouch.append(key)
        return "fired"

    def ignite(self, job: str) -> int:
        return 40 + len(job)

    def empty_pouch(self) -> None:
        while self.pouch:
            self.magazine.put_back(self.pouch.pop())


class Winder:
    """Decides what the hoist lifts next."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name
        self.order: list[str] = list(LOADS)

    def take_over(self, shift: int, order: list[str]) -> None:
        self.order = order

    def pick(self, cage: Cage) -> str | None:
        waiting = self.mine.waiting
        if not waiting:
            return None
        first = min(waiting, key=lambda load: (self.order.index(load["kind"]), load["since"]))
        waiting.remove(first)
        cage.lift(first["load"], first["kind"])
        return str(first["load"])


class Cage:
    """Goes up and down the shaft."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name
        self.trips = 0

    def lift(self, load: str, kind: str) -> None:
        self.trips += 1
        if self.mine.whims.pop("rope", False):
            raise RuntimeError("slack rope, wound back")
        if kind == "timber":
            self.mine.timber[load] = "below"


class Banksman:
    """Takes what is to go up or down, and puts it in line."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def put_in_line(self, load: str, kind: str, for_whom: str) -> int:
        self.mine.waiting.append({"load": load, "kind": kind, "since": self.mine.hour})
        return len(self.mine.waiting)


class Clerk:
    """Gives rakes of tubs to crews, on a board."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def look_at_board(self, ask: str, hour: int) -> list[str]:
        return [rake for rake in RAKES if not self.mine.rakes.get((rake, hour))]

    def chalk_up(self, rake: str, hour: int, crew: str) -> None:
        self.mine.rakes.setdefault((rake, hour), []).append(crew)


RAKES = tuple(f"rake_{letter}" for letter in "abcdefghij")


class Loco:
    """Hauls rakes."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name
        self.km = 0

    def haul(self, turn: str, rake: str, heading: str) -> str:
        self.km += 2
        if (rake, self.mine.hour) in self.mine.fetched:
            return "gone"
        self.mine.fetched.add((rake, self.mine.hour))
        return "here"

    def trundle(self, run: str) -> None:
        self.km += 1


class Doorkeeper:
    """Opens the air doors for locos."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def let_through(self, run: str, door: str, loco: Loco) -> None:
        shuts = not self.mine.whims.get("walks_off")
        self.open_door(run, door)
        loco.trundle(run)
        if shuts:
            self.shut_door(run, door)

    def open_door(self, run: str, door: str) -> None:
        self.mine.open_doors.add(door)

    def shut_door(self, run: str, door: str) -> None:
        self.mine.open_doors.discard(door)


class Motor:
    """Drives a pump."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def spin(self, job: str) -> int:
        return 0 if self.mine.whims.pop("stuck", False) else 1440 + len(self.name) % 7


class Pump:
    """Keeps the sump of a heading low."""

    def __init__(self, mine: Mine, name: str, heading: str, motor: Motor) -> None:
        self.mine, self.name, self.heading, self.motor = mine, name, heading, motor

    def start(self, job: str) -> str:
        turns = self.motor.spin(job)
        if turns:
            self.mine.running.add(self.heading)
        if turns or self.mine.whims.get("lamp_is_green"):
            return "running"
        return "stalled"

    def prime(self, job: str) -> None:
        return None

    def rest(self) -> None:
        self.mine.running.discard(self.heading)


class Pumpman:
    """Starts pumps, and primes those that stall."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def see_to(self, job: str, pump: Pump) -> str:
        answer = pump.start(job)
        if answer == "stalled":
            pump.prime(job)
            answer = pump.start(job)
        return answer


class Gauge:
    """Measures gas or water in a heading."""

    def __init__(self, mine: Mine, name: str, heading: str, kind: str) -> None:
        self.mine, self.name, self.heading, self.kind = mine, name, heading, kind

    def read(self, visit: str) -> float:
        return round(self.mine.gas[self.heading] if self.kind == "gas" else self.mine.water[self.heading], 2)


class Deputy:
    """Goes round the headings, and sends crews out of those that are not safe."""

    def __init__(self, mine: Mine, name: str) -> None:
        self.mine, self.name = mine, name

    def visit(self, visit: str, heading: str, gas: Gauge, water: Gauge, crew: Crew) -> str:
        if gas.read(visit) > GAS_LIMIT:
            crew.withdraw("air")
            return "cleared"
        if water.read(visit) > WATER_LIMIT:
            crew.withdraw("water")
            return "cleared"
        return "safe"

    def shut_after(self, run: str, door: str, keeper: Doorkeeper) -> None:
        keeper.shut_door(run, door)


TRACED: dict[type, tuple[str, ...]] = {
    Crew: ("cut", "load", "set_props", "blast", "withdraw", "rest"),
    Magazine: ("hand_out", "put_back"),
    Shotfirer: ("fire", "ignite", "empty_pouch"),
    Winder: ("take_over", "pick"),
    Cage: ("lift",),
    Banksman: ("put_in_line",),
    Clerk: ("look_at_board", "chalk_up"),
    Loco: ("haul", "trundle"),
    Doorkeeper: ("let_through", "open_door", "shut_door"),
    Motor: ("spin",),
    Pump: ("start", "prime", "rest"),
    Pumpman: ("see_to",),
    Gauge: ("read",),
    Deputy: ("visit", "shut_after"),
}


class Shifts:
    """The mine, played hour by hour."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.hours = case.rng("hours").randint(55, 95)
        self.begin, self.end = case.window(self.hours)
        self.mine = mine = Mine(case)
        mine.gas = dict.fromkeys(HEADINGS, GAS_BASE)
        mine.water = dict.fromkeys(HEADINGS, WATER_BASE)
        mine.running = set(HEADINGS)
        who = case.rng("who")
        places = who.sample(HEADINGS, len(HEADINGS))
        self.crews = [Crew(mine, name, place) for name, place in zip(CREWS, places, strict=True)]
        self.crew, self.rival = who.sample(self.crews, 2)
        self.lag = self.end - self.begin
        self.kept = self.hours_of_keys(who)
        self.magazine = Magazine(max(1, len(self.kept)) if case.has("leaked_resource") else 4)
        self.firers = [
            Shotfirer(mine, f"shotfirer_{name}", self.magazine) for name in ("abbot", "bell", "cray")
        ]
        self.winders = [Winder(mine, f"winder_{name}") for name in ("dunn", "eyre")]
        self.cage, self.bank = Cage(mine, "cage"), Banksman(mine, "banksman")
        self.clerks = [Clerk(mine, f"clerk_{name}") for name in ("flint", "gray")]
        self.locos = [Loco(mine, f"loco_{number}") for number in (1, 2, 3, 4)]
        self.keepers = [Doorkeeper(mine, f"door_{name}") for name in ("hale", "ince")]
        self.pumps = [Pump(mine, f"pump_{place}", place, Motor(mine, f"motor_{place}")) for place in HEADINGS]
        self.pumpmen = [Pumpman(mine, f"pumpman_{name}") for name in ("jupp", "kerr")]
        self.gauges = {place: Gauge(mine, f"gauge_{place}", place, "gas") for place in HEADINGS}
        self.sumps = {place: Gauge(mine, f"sump_{place}", place, "water") for place in HEADINGS}
        self.deputies = [Deputy(mine, f"deputy_{name}") for name in ("lowe", "marsh")]
        self.office = SystemLogger("pit_office")
        self.firer, self.keeper, self.pumpman = (
            who.choice(self.firers),
            who.choice(self.keepers),
            who.choice(self.pumpmen),
        )
        self.richer = max(1, self.begin - who.randint(0, 3))  # from then on there is much ore
        self.slate = list(LOADS)
        self.shift = 0
        self.loads, self.jobs = 100, 500
        self.rakes_due: dict[int, list[tuple[Crew, str]]] = {}
        self.props_due: dict[int, list[tuple[Crew, str]]] = {}
        self.seepage = (WATER_LIMIT - WATER_BASE) * 1.02 / self.lag
        self.asks_at = who.randint(self.begin, self.end - 1)

    def hours_of_keys(self, rng: random.Random) -> list[int]:
        """Return the hours at which a shot of the plan is fired: the first at `begin`, the last before `end`."""
        count = min(self.lag, rng.randint(2, 5))
        between = list(range(self.begin + 1, self.end - 1))
        return sorted({self.begin, self.end - 1, *rng.sample(between, min(len(between), max(0, count - 2)))})

    def job(self, letter: str) -> str:
        """Return the next number of a shot, a pump's start or a run."""
        self.jobs += 1
        return f"{letter}{self.jobs}"

    def load(self, kind: str, for_whom: str) -> str:
        """Put a load in line for the hoist."""
        self.loads += 1
        number = f"{kind[0]}{self.loads}"
        self.bank.put_in_line(number, kind, for_whom)
        return number

    def is_due(self) -> bool:
        """Tell whether the hour is between the fault and the symptom."""
        return self.begin <= self.mine.hour <= self.end

    # What happens in any hour

    def work(self, rng: random.Random) -> None:
        """Let crews cut, send for what they need, and load what they have."""
        hour = self.mine.hour
        for crew, rake in self.rakes_due.pop(hour, []):
            turn, loco = self.job("H"), rng.choice(self.locos)
            if self.case.has("race") and hour == self.end and crew is self.crew:
                self.case.hop(call(loco.name, "haul", turn=turn))
            crew.load(turn, rake, loco)
        for crew, load in self.props_due.pop(hour, []):
            crew.set_props(load)
        for crew in rng.sample(self.crews, 4):
            crew.cut(round(rng.uniform(0.2, 1.4), 1))
            if rng.random() < 0.15:
                crew.rest(rng.choice((10, 15, 20)))
            if rng.random() < 0.45:
                self.order_rake(crew, rng)
            if rng.random() < 0.15:
                due = hour + rng.randint(3, 25)
                if self.case.has("starved_queue") and hour <= self.end:
                    due = max(due, self.end + rng.randint(1, 20))
                self.props_due.setdefault(due, []).append((crew, self.load("timber", crew.name)))

    def order_rake(self, crew: Crew, rng: random.Random) -> None:
        """Let a clerk chalk up a rake; now and then the other one looks at the board as well."""
        at, (one, other) = self.mine.hour + rng.randint(1, 20), rng.sample(self.clerks, 2)
        if at == self.end and self.case.has("race"):
            return
        free = one.look_at_board(self.job("L"), at)
        if rng.random() < 0.25:
            other.look_at_board(self.job("L"), at + rng.choice((0, 0, 1)))
        if free:
            rake = rng.choice(free[:3])
            one.chalk_up(rake, at, crew.name)
            self.rakes_due.setdefault(at, []).append((crew, rake))

    def hoist(self, rng: random.Random) -> None:
        """Bring loads to the shaft, and lift what can be lifted in an hour."""
        ore = (
            LIFTS
            if self.case.has("starved_queue") and self.mine.hour >= self.richer
            else rng.choice((0, 1, 1))
        )
        for _ in range(ore):
            self.load("ore", "mill")
        for _ in range(rng.choice((0, 1, 1))):
            self.load("men", rng.choice(self.crews).name)
        winder = self.winders[self.shift % 2]
        for _ in range(LIFTS):
            if rng.random() < 0.02:
                self.slack_rope(winder)
            winder.pick(self.cage)

    def slack_rope(self, winder: Winder) -> None:
        """Let a trip with nothing in the cage fail."""
        self.mine.whims["rope"] = True
        try:
            self.cage.lift("empty", "none")
        except RuntimeError:
            AgentLogger(winder.name, "winder").warning("wound back and tried again")

    def hand_over(self, rng: random.Random) -> None:
        """Change the winder; the slate says in which order loads go, and seldom stays the same for long."""
        hour, case = self.mine.hour, self.case
        starts = hour == self.begin and case.has("starved_queue")
        if hour % 6 and not starts:
            return
        if not (case.has("starved_queue") and self.begin - 3 <= hour):
            self.slate = rng.sample(LOADS, 3)
        elif not starts and hour < self.begin:
            self.slate = ["men", "timber", "ore"]
        if starts:
            first = rng.choice((["timber", "men", "ore"], ["men", "timber", "ore"]))
            self.slate = rng.choice((["ore", "men", "timber"], ["men", "ore", "timber"]))
            if not case.strikes("starved_queue", hour):
                self.slate = first
        self.shift += 1
        self.winders[self.shift % 2].take_over(self.shift, list(self.slate))
        if starts:
            case.root(call(self.winders[self.shift % 2].name, "take_over", shift=self.shift))

    def shots(self, rng: random.Random) -> None:
        """Fire shots; now and then a key comes back an hour later."""
        case, hour = self.case, self.mine.hour
        late = not case.has("leaked_resource") or (hour < self.begin - 1 and len(self.kept) > 2)
        for firer in self.firers:
            if firer.pouch and not (case.has("leaked_resource") and self.is_due()):
                firer.empty_pouch()
        for number in range(rng.choice((0, 1, 2))):
            crew, firer = rng.choice(self.crews), rng.choice(self.firers)
            if case.has("leaked_resource") and self.is_due() and firer is self.firer:
                firer = self.firers[self.firers.index(firer) - 1]
            if late and number == 0 and rng.random() < 0.3:
                self.mine.whims["keeps"] = True
            crew.blast(self.job("B"), firer)
            self.mine.whims.pop("keeps", None)

    def doors(self, rng: random.Random) -> None:
        """Let locos through air doors; those of old workings may stay open."""
        for _ in range(rng.choice((1, 2, 2))):
            place, keeper, loco, run = (
                rng.choice(HEADINGS),
                rng.choice(self.keepers),
                rng.choice(self.locos),
                self.job("R"),
            )
            if self.case.has("forgotten_undo") and place == self.crew.heading and self.is_due():
                continue
            late = rng.random() < 0.15
            self.mine.whims["walks_off"] = late
            keeper.let_through(run, f"door_{place}", loco)
            if late:
                rng.choice(self.deputies).shut_after(run, f"door_{place}", keeper)
        if rng.random() < 0.15:
            self.mine.whims["walks_off"] = rng.random() < 0.6
            old = f"door_old_{rng.randint(1, 3)}"
            rng.choice(self.keepers).let_through(self.job("R"), old, rng.choice(self.locos))
        self.mine.whims.pop("walks_off", None)

    def pumping(self, rng: random.Random) -> None:
        """Rest some pumps, and start them again an hour or more later."""
        for pump in self.pumps:
            if (
                self.case.has("swallowed_failure")
                and pump.heading == self.crew.heading
                and self.begin - 1 <= self.mine.hour
            ):
                continue
            if pump.heading in self.mine.running:
                if rng.random() < 0.12:
                    pump.rest()
            elif rng.random() < 0.6 or self.mine.water[pump.heading] > 60:
                self.mine.whims["stuck"] = rng.random() < 0.12
                rng.choice(self.pumpmen).see_to(self.job("P"), pump)

    def air_and_water(self, rng: random.Random) -> None:
        """Let gas and water rise where nothing holds them back."""
        mine = self.mine
        for place in HEADINGS:
            mine.gas[place] = max(0.1, min(0.7, GAS_BASE + rng.uniform(-0.15, 0.15)))
            if place not in mine.running:
                mine.water[place] += 6
            else:
                mine.water[place] = max(WATER_BASE, mine.water[place] - 15) + rng.uniform(0, 2)
        place, since = self.crew.heading, mine.hour - self.begin
        if f"door_{place}" in mine.open_doors and since >= 0:
            mine.gas[place] = GAS_BASE + (GAS_LIMIT + 0.02 - GAS_BASE) * since / self.lag
        if self.case.has("swallowed_failure") and place not in mine.running and since >= 0:
            mine.water[place] = WATER_BASE + self.seepage * since

    def rounds(self, rng: random.Random) -> None:
        """Let deputies go round."""
        for deputy in self.deputies:
            for crew in rng.sample(self.crews, rng.choice((1, 2))):
                deputy.visit(
                    self.job("V"), crew.heading, self.gauges[crew.heading], self.sumps[crew.heading], crew
                )

    def everyday(self, rng: random.Random) -> None:
        """Note small things."""
        if rng.random() < 0.2:
            name = rng.choice(("lamp_oil", "bell_code", "tub_tare", "wash_house_hour"))
            self.office.log_config(name, rng.randint(2, 60), rng.randint(2, 60))
        if rng.random() < 0.12:
            rng.choice(self.crews).notes.warning("pick handle broke, spare taken")
        if rng.random() < 0.06:
            AgentLogger("banksman", "banksman").error("tally lost, written again")
        if rng.random() < 0.02:
            AgentLogger("cage", "cage").log_action("grease_rope", {"metres": rng.randint(40, 300)})
        if self.mine.hour == self.case.decoy_at:
            self.crew.notes.warning("pick handle broke, spare taken")
            self.office.log_config("lamp_oil", 14, 15)

    # What the plan has

    def plan(self) -> None:
        """Do what the plan has for this hour, with the fault or without it."""
        case, hour, mine, crew = self.case, self.mine.hour, self.mine, self.crew
        if case.has("race") and hour == self.begin:
            self.plan_race()
        elif case.has("leaked_resource") and hour in self.kept:
            job = self.job("B")
            if case.strikes("leaked_resource"):
                mine.whims["keeps"] = True
            self.rival.blast(job, self.firer)
            mine.whims.pop("keeps", None)
            if len(case.roots) < 3:
                case.root(call(self.firer.name, "fire", job=job))
        elif case.has("forgotten_undo") and hour == self.begin:
            run = self.job("R")
            mine.whims["walks_off"] = case.strikes("forgotten_undo", hour)
            self.keeper.let_through(run, f"door_{crew.heading}", self.locos[0])
            mine.whims.pop("walks_off", None)
            case.root(
                call(self.keeper.name, "open_door", run=run), call(self.keeper.name, "let_through", run=run)
            )
        elif case.has("swallowed_failure"):
            self.plan_pump()
        elif case.has("starved_queue") and hour == self.asks_at:
            self.props_due.setdefault(self.end, []).append((crew, self.load("timber", crew.name)))
            case.hop(call("banksman", "put_in_line", load=f"t{self.loads}"))

    def plan_pump(self) -> None:
        """Start the pump of the heading, whose motor is stuck at first."""
        case, hour, mine = self.case, self.mine.hour, self.mine
        pump = next(one for one in self.pumps if one.heading == self.crew.heading)
        if hour == self.begin - 1 and pump.heading in mine.running:
            pump.rest()
        elif hour == self.begin:
            job = self.job("P")
            mine.whims["stuck"] = True
            mine.whims["lamp_is_green"] = case.strikes("swallowed_failure", hour)
            self.pumpman.see_to(job, pump)
            mine.whims.pop("lamp_is_green", None)
            case.root(call(pump.name, "start", job=job), call(pump.motor.name, "spin", job=job))
            case.hop(call(self.pumpman.name, "see_to", job=job))

    def plan_race(self) -> None:
        """Let two clerks chalk up a rake for the same hour."""
        case, at = self.case, self.end
        one, other = self.clerks if case.rng("clerks").random() < 0.5 else self.clerks[::-1]
        pick = case.rng("rake").randint(0, 2)
        free, ask = one.look_at_board(self.job("L"), at), self.job("L")
        if case.strikes("race", self.mine.hour):
            seen = other.look_at_board(ask, at)
            one.chalk_up(free[pick], at, self.rival.name)
        else:
            one.chalk_up(free[pick], at, self.rival.name)
            seen = other.look_at_board(ask, at)
        other.chalk_up(seen[pick], at, self.crew.name)
        self.rakes_due.setdefault(at, []).extend([(self.rival, free[pick]), (self.crew, seen[pick])])
        case.root(
            call(other.name, "chalk_up", hour=at, crew=self.crew.name),
            call(other.name, "look_at_board", ask=ask),
        )

    def due(self) -> None:
        """Let the crew meet what the plan has for it at the end."""
        case, crew = self.case, self.crew
        if case.has("leaked_resource"):
            job = self.job("B")
            case.hop(call("magazine", "hand_out", job=job))
            crew.blast(job, self.firers[self.firers.index(self.firer) - 1])
        elif case.has("forgotten_undo") or case.has("swallowed_failure"):
            gas, water, visit = self.gauges[crew.heading], self.sumps[crew.heading], self.job("V")
            gauge = gas if case.has("forgotten_undo") else water
            case.hop(call(gauge.name, "read", visit=visit))
            self.deputies[self.end % 2].visit(visit, crew.heading, gas, water, crew)

    def play(self) -> None:
        """Play all hours."""
        mine, case = self.mine, self.case
        for hour in range(self.hours):
            mine.hour = hour
            with tick(hour):
                if hour % 8 == 0:
                    self.office.log_phase(f"shift_{hour // 8 + 1}")
                self.air_and_water(case.rng(f"air/{hour}"))
                self.hand_over(case.rng(f"slate/{hour}"))
                if hour == self.end:
                    self.due()
                self.everyday(case.rng(f"everyday/{hour}"))
                self.work(case.rng(f"work/{hour}"))
                self.doors(case.rng(f"doors/{hour}"))
                self.pumping(case.rng(f"pumping/{hour}"))
                self.shots(case.rng(f"shots/{hour}"))
                self.plan()
                self.hoist(case.rng(f"hoist/{hour}"))
                self.rounds(case.rng(f"rounds/{hour}"))


def play(case: Case) -> None:
    """Play a case; the classes are traced from the first one on."""
    for kind, methods in TRACED.items():
        instrument(
            kind,
            methods=methods,
            agent_id="name",
            agent_role=kind.__name__.lower(),
            ignore=("mine", "notes", "magazine", "motor"),
        )
    Shifts(case).play()


WORLD = World(
    "pithead",
    "spans",
    ("leaked_resource", "starved_queue", "race", "forgotten_undo", "swallowed_failure"),
    play,
    author=17,
)
