"""A laboratory in orbit: stowage with tablets, experiment cards, suits and airlock, and filters that must be changed in time."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

ASTRONAUTS = ("amundsen", "okoro", "lindgren", "petrenko")
MODULES = ("forward", "aft", "zenith")
GOODS = ("pipette kit", "torque wrench", "growth pouch", "spare fan", "laser head", "sample bag")
CHECKS = ("leak_check", "comm_check", "visor_wipe", "battery_swap")


class Crewed:
    """Something that acts, with a name that is recorded."""

    def __init__(self, agent_id: str, agent_role: str, station: Station) -> None:
        self.agent_id, self.agent_role, self._station = agent_id, agent_role, station


class Stowage(Crewed):
    """Knows where everything is, and tells the tablets when something moves."""

    def __init__(self, station: Station) -> None:
        super().__init__("stowage", "database", station)
        self._where: dict[str, str] = {}

    @trace_agent_action()
    def relocate(self, item: str, rack: str, tell: list[str]) -> str:
        """Move an item, and have it told."""
        self._where[item] = rack
        for name in tell:
            self._station.tablets[name].refresh(item, rack)
        return rack

    @trace_agent_action()
    def look(self, item: str, rack: str) -> bool:
        """Tell whether an item is in a rack."""
        return self._where.get(item) == rack


class Tablet(Crewed):
    """Remembers what it was told."""

    def __init__(self, owner: str, station: Station) -> None:
        super().__init__(f"tablet_{owner}", "tablet", station)
        self._copy: dict[str, str] = {}

    @trace_agent_action()
    def refresh(self, item: str, rack: str) -> int:
        """Note a place."""
        self._copy[item] = rack
        return len(self._copy)

    @trace_agent_action()
    def lead_to(self, item: str) -> str:
        """Say where an item should be."""
        return self._copy.get(item, "?")


class Furnace(Crewed):
    """Runs experiments by the card that it was given."""

    def __init__(self, name: str, station: Station) -> None:
        super().__init__(name, "rack", station)
        self._cards: dict[str, tuple[int, int]] = {}

    @trace_agent_action()
    def load(self, run: str, soak: int, cool: int) -> str:
        """Take a card in."""
        self._cards[run] = (soak, cool)
        return run

    @trace_agent_action()
    def melt(self, run: str) -> dict[str, Any]:
        """Run a card; a sample that cools faster than it was soaked cracks."""
        soak, cool = self._cards.pop(run)
        return {"soak": soak, "cool": cool, "intact": cool >= soak}


class Suit(Crewed):
    """Keeps its wearer dry, if it was dried."""

    def __init__(self, name: str, station: Station) -> None:
        super().__init__(name, "suit", station)
        self.water = 0

    @trace_agent_action()
    def check(self, job: str, what: str) -> str:
        """Check one thing."""
        return "good"

    @trace_agent_action()
    def dry(self, job: str) -> int:
        """Blow the loop dry."""
        self.water = 0
        return self.water

    @trace_agent_action()
    def wear(self, walk: str, hours: int) -> dict[str, Any]:
        """Go outside."""
        before = self.water
        self.water = 30
        return {"hours": hours if before < 10 else 1, "visor": "clear" if before < 10 else "water"}


class Scrubber(Crewed):
    """Takes carbon dioxide out of a module, less with an old filter."""

    def __init__(self, module: str, station: Station) -> None:
        super().__init__(f"scrubber_{module}", "scrubber", station)
        self._fresh = -99

    @trace_agent_action()
    def change_filter(self, task: str, orbit: int) -> str:
        """Put a new filter in."""
        self._fresh = orbit
        return task

    @trace_agent_action()
    def measure(self, orbit: int, heads: int) -> dict[str, Any]:
        """Measure the air; a filter binds what four heads breathe, a new one that of eight."""
        binds = 8 if orbit - self._fresh < 2 else 4
        return {"orbit": orbit, "mmhg": round(1.8 + 0.9 * max(0, heads - binds), 1)}


class Planner(Crewed):
    """Writes cards and the timeline, on the ground."""

    @trace_agent_action()
    def write_card(self, run: str, furnace: str, soak: int, cool: int) -> str:
        """Write a card for a furnace and send it up."""
        return self._station.furnaces[furnace].load(run, soak, cool)

    @trace_agent_action()
    def put_on_timeline(self, task: str, module: str, orbit: int) -> int:
        """Plan a change of filters."""
        self._station.timeline.setdefault(orbit, []).append((task, module))
        return orbit


class Astronaut(Crewed):
    """Works aboard."""

    @trace_agent_action()
    def fetch(self, errand: str, item: str) -> bool:
        """Go where the tablet says and look for an item."""
        rack = self._station.tablets[self.agent_id].lead_to(item)
        return self._station.stowage.look(item, rack)

    @trace_agent_action()
    def prepare(self, job: str, suit: str, steps: list[str]) -> int:
        """Make a suit ready."""
        for step in steps:
            if step == "dry":
                self._station.suits[suit].dry(job)
            else:
                self._station.suits[suit].check(job, step)
        return len(steps)

    @trace_agent_action()
    def go_outside(self, walk: str, suit: str, hours: int) -> int:
        """Walk in space."""
        return int(self._station.suits[suit].wear(walk, hours)["hours"])

    @trace_agent_action()
    def swap(self, task: str, module: str, orbit: int) -> str:
        """Change a filter."""
        return self._station.scrubbers[module].change_filter(task, orbit)

    @trace_agent_action()
    def take_reading(self, module: str, orbit: int, heads: int) -> float:
        """Read the air of a module."""
        return float(self._station.scrubbers[module].measure(orbit, heads)["mmhg"])

    @trace_agent_action()
    def open_furnace(self, run: str, furnace: str) -> bool:
        """Run an experiment and look at what comes out."""
        return bool(self._station.furnaces[furnace].melt(run)["intact"])


class Capcom(Crewed):
    """Listens on the loop."""

    @trace_agent_action()
    def copy_down(self, line: int, heard: str) -> int:
        """Write down what is said from above."""
        return line


SAYINGS = {
    "item": (
        "The {item} is nowhere, half an hour of crew time went into looking for it",
        "{who} opened the rack and there was no {item} in it.",
        "Where on Earth, or off it, is the {item}? {who} cannot find it",
        "errand {key} failed, thing not there. Does anyone keep track of what lies where",
    ),
    "crystal": (
        "Our sample came back in splinters, run {key}. Two years of work.",
        "The principal investigator of {key} asks why the crystal cracked",
        "{rack} gave us shards instead of a crystal from {key}",
        "{who} opened {rack}: everything cracked",
    ),
    "visor": (
        "The spacewalk was broken off after an hour, water in the helmet!",
        "{who} came back in at once from {key}, drops on the visor",
        "EVA {key} cut short. Somebody explain how a helmet gets wet inside",
        "why was {suit} soaking when {who} went out in it?",
    ),
    "air": (
        "Everybody in the {module} module has a headache and the air is thick",
        "{who} read far too much carbon dioxide in {module} while the visitors were there",
        "CO2 alarm with the guests aboard, we had been promised fresh air",
        "scrubber_{module} did not keep up when the second crew had docked",
    ),
}


class Station:
    """The laboratory with all aboard, and two on the ground."""

    def __init__(self, case: Case, orbits: int) -> None:
        self.case, self.rng, self.orbits = case, case.rng("station"), orbits
        self.stowage = Stowage(self)
        self.tablets = {name: Tablet(name, self) for name in ASTRONAUTS}
        self.furnaces = {name: Furnace(name, self) for name in ("furnace_red", "furnace_blue")}
        self.suits = {name: Suit(name, self) for name in ("suit_3004", "suit_3011", "suit_3015")}
        self.scrubbers = {module: Scrubber(module, self) for module in MODULES}
        self.timeline: dict[int, list[tuple[str, str]]] = {}
        self.planner, self.capcom = Planner("planner", "ground", self), Capcom("capcom", "ground", self)
        self.crew = {name: Astronaut(name, "astronaut", self) for name in ASTRONAUTS}
        self.items = [f"{good} {letter}" for good in GOODS for letter in "AB"]
        self.number, self.line = 200 + case.seed % 90, 0
        rng = self.rng
        self.key, self.furnace, self.suit = rng.choice(self.items), "", rng.choice(list(self.suits))
        self.seeker, self.walker = rng.choice(ASTRONAUTS), rng.choice(ASTRONAUTS)
        self.module, self.run = rng.choice(MODULES), ""
        self.dockings = {case.end: self.module}
        self.waiting: list[tuple[str, str]] = []
        self.racks = [f"{deck}{bay}" for deck in "PSOF" for bay in range(1, 7)]
        for item in self.items:
            self.stowage.relocate(item, rng.choice(self.racks), list(ASTRONAUTS))

    def next(self, letters: str) -> str:
        """Return a fresh name."""
        self.number += 1
        return f"{letters}-{self.number}"

    def report(self, about: str, cause: Any, **words: str) -> None:
        """Have a failure told on the loop."""
        self.case.hop(cause)
        self.line += 1
        self.capcom.copy_down(self.line, f"{words['who']}: {about}, {words['key']}")
        texts = [text.format(**words) for text in SAYINGS[about]]
        self.case.symptom(call("capcom", "copy_down", line=self.line), *texts)

    def errands(self, now: int) -> None:
        """Move things, and look for things."""
        case, rng = self.case, self.rng
        mine = case.has("stale_cache")
        others = [item for item in self.items if item != self.key]
        if mine and now == case.begin:
            rack = next(one for one in self.racks if one != self.tablets[self.seeker].lead_to(self.key))
            told = [one for one in ASTRONAUTS if one != self.seeker or not case.strikes("stale_cache", now)]
            self.stowage.relocate(self.key, rack, told)
            case.root(call("stowage", "relocate", item=self.key, rack=rack, tell=told))
        for _ in range(rng.randint(0, 2)):
            item, told = rng.choice(others), list(ASTRONAUTS)
            self.stowage.relocate(item, rng.choice(self.racks), told)
        wants = [(rng.choice(ASTRONAUTS), rng.choice(others)) for _ in range(rng.randint(1, 2))]
        if mine and now == case.end:
            wants.append((self.seeker, self.key))
        for who, item in wants:
            errand = self.next("errand")
            if not self.crew[who].fetch(errand, item):
                case.hop(call(f"tablet_{who}", "lead_to", item=item))
                self.report("item", call(who, "fetch", errand=errand), who=who, item=item, key=errand)

    def science(self, now: int) -> None:
        """Send cards up and run them."""
        case, rng = self.case, self.rng
        soak = rng.randint(20, 50)
        cool = soak + rng.randint(5, 60)
        furnace = rng.choice(list(self.furnaces))
        if case.has("swapped_fields") and now == case.begin:
            self.run, self.furnace = self.next("run"), furnace
            if case.strikes("swapped_fields", now):
                soak, cool = cool, soak
            self.planner.write_card(self.run, furnace, soak, cool)
            case.root(call("planner", "write_card", run=self.run), call(furnace, "load", run=self.run))
        elif rng.random() < 0.5:
            self.waiting.append((self.next("run"), furnace))
            self.planner.write_card(self.waiting[-1][0], furnace, soak, cool)
        runs = [self.waiting.pop(0)] if len(self.waiting) > rng.randint(0, 5) else []
        if self.run and now == case.end:
            runs.append((self.run, self.furnace))
        for run, rack in runs:
            who = rng.choice(ASTRONAUTS)
            if not self.crew[who].open_furnace(run, rack):
                case.hop(call(rack, "melt", run=run))
                self.report("crystal", call(who, "open_furnace", run=run), who=who, key=run, rack=rack)

    def walks(self, now: int) -> None:
        """Prepare suits, and walk."""
        case, rng = self.case, self.rng
        mine, others = case.has("omitted_step"), [name for name in self.suits if name != self.suit]
        job, who = self.next("prep"), rng.choice(ASTRONAUTS)
        steps = [*rng.sample(CHECKS, 3), "dry"]
        rng.shuffle(steps)
        if mine and now == case.begin:
            who = next(name for name in ASTRONAUTS if name not in (who, self.walker))
            self.crew[self.walker].go_outside(self.next("walk"), self.suit, 6)
            if case.strikes("omitted_step", now):
                steps.remove("dry")
            self.crew[who].prepare(job, self.suit, steps)
            case.root(call(who, "prepare", job=job))
            case.root(*(call(self.suit, "check", job=job, what=step) for step in steps if step != "dry"))
        elif rng.random() < 0.45:
            suit = rng.choice(others)
            self.crew[who].prepare(job, suit, steps)
            if rng.random() < 0.4:
                self.crew[who].go_outside(self.next("walk"), suit, rng.randint(4, 7))
                # put on again only after the next preparation
                self.crew[who].prepare(self.next("prep"), suit, [*steps[:1], "dry"])
        if mine and now == case.end:
            walk = self.next("walk")
            case.trigger(call(self.walker, "go_outside", walk=walk))
            if self.crew[self.walker].go_outside(walk, self.suit, 6) < 2:
                case.hop(call(self.suit, "wear", walk=walk))
                outside = call(self.walker, "go_outside", walk=walk)
                self.report("visor", outside, who=self.walker, key=walk, suit=self.suit)

    def air(self, now: int) -> None:
        """Plan and change filters, and measure the air."""
        case, rng = self.case, self.rng
        task = self.next("task")
        if case.has("off_by_one") and now == case.begin:
            orbit = case.end + 1 if case.strikes("off_by_one", now) else case.end
            self.planner.put_on_timeline(task, self.module, orbit)
            case.root(call("planner", "put_on_timeline", task=task))
        elif rng.random() < 0.3:
            orbit = now + rng.randint(1, 9)
            module = rng.choice([one for one in MODULES if one != self.module])
            self.planner.put_on_timeline(task, module, orbit)
        for due, module in self.timeline.pop(now, []):
            self.crew[rng.choice(ASTRONAUTS)].swap(due, module, now)
        for module in rng.sample(MODULES, rng.randint(1, 3)) + [self.module] * (now == case.end):
            guests = case.has("off_by_one") and now == case.end and module == self.module
            who, heads = rng.choice(ASTRONAUTS), 8 if guests else rng.randint(0, 4)
            if self.crew[who].take_reading(module, now, heads) > 3:
                case.hop(call(f"scrubber_{module}", "measure", orbit=now, heads=heads))
                reading = call(who, "take_reading", orbit=now, heads=heads)
                self.report("air", reading, who=who, key=task, module=module)

    def routine(self, now: int) -> None:
        """Exercise, change small settings, lose the signal."""
        rng, case = self.rng, self.case
        log = AgentLogger(rng.choice(ASTRONAUTS), "astronaut")
        log.log_action(
            rng.choice(("treadmill", "wipe_handrails", "photo_pass")), {"minutes": rng.randint(10, 90)}
        )
        if rng.random() < 0.15:
            SystemLogger().log_config(rng.choice(("lamp_level", "fan_speed")), rng.randint(1, 5), 3)
        if rng.random() < 0.1:
            AgentLogger("capcom", "ground").warning("loss of signal, regained on the next satellite")
        if now == case.decoy_at:
            AgentLogger("stowage", "database").error("power bus switched over", extra={"bus": 2})


def play(case: Case) -> None:
    """Fly some days, an orbit a tick."""
    orbits = case.rng("orbits").choice((50, 80, 140, 260))
    case.window(orbits)
    station = Station(case, orbits)
    for now in range(orbits):
        with tick(now):
            for part in (station.errands, station.science, station.air, station.walks, station.routine):
                part(now)


WORLD = World("orbitlab", "spans", ("stale_cache", "swapped_fields", "omitted_step", "off_by_one"), play, 28)
