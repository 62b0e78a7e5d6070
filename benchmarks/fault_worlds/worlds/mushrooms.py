"""A mushroom farm: compost is steamed, rooms are filled and picked, shops take the punnets or send them back.

Plain classes, traced with `instrument`; a heap of things to do drives them, a tick is a shift.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

STRAINS = ("white_A15", "white_X25", "brown_B14")
SHOPS = ("Fennbrook", "Markthal", "Tallow and Sons", "Green Larder")
GANGS = ("gang_east", "gang_west", "gang_mill")
ROOMS = tuple(f"hall{number}" for number in range(1, 10))
OWN = "hall9"  # the hall that the case plans for
HOT = 57


class Boiler:
    """Makes steam; the pressure that it reaches differs."""

    def __init__(self, ident: str) -> None:
        self.ident, self.next_bar = ident, 3.0

    def steam(self, tunnel: str, load: str) -> dict[str, float]:
        """Blow steam into a tunnel."""
        return {"bar": self.next_bar, "celsius": 61 if self.next_bar > 2 else 44}


class Tunnel:
    """Heats compost, so that nothing else grows in it."""

    def __init__(self, ident: str, boiler: Boiler) -> None:
        self.ident, self.boiler = ident, boiler
        self.loads: dict[str, float] = {}

    def heat(self, load: str, tries: list[float]) -> str:
        """Heat a load, again if it did not get hot."""
        for bar in tries:
            self.boiler.next_bar = bar
            self.loads[load] = self.boiler.steam(self.ident, load)["celsius"]
        return "heated"

    def hand_out(self, load: str) -> float:
        """Give a load to the fillers."""
        return self.loads.pop(load)


class Hall:
    """A growing room with shelves, a damper and whatever grows there."""

    def __init__(self, ident: str) -> None:
        self.ident, self.load, self.strain = ident, "", ""
        self.damper, self.heat, self.ripe, self.rinsed = "open", 61.0, 0, True

    def clear(self, after: str) -> None:
        """Carry out what is left of a crop."""
        self.load, self.rinsed = "", False

    def rinse(self, chlorine_ppm: int) -> None:
        """Rinse shelves and floor."""
        self.rinsed = True

    def fill(self, load: str, strain: str, heat: float) -> None:
        """Lay a load on the shelves."""
        self.load, self.strain, self.heat = load, strain, heat

    def cover(self, load: str, peat_mm: int) -> None:
        """Cover the compost with peat."""

    def shut_damper(self, why: str, no: int) -> str:
        """Let no air in."""
        self.damper = "shut"
        return self.damper

    def open_damper(self, no: int) -> str:
        """Let air in again."""
        self.damper = "open"
        return self.damper

    def look(self, shift: int) -> dict[str, Any]:
        """Tell how the crop looks."""
        return self.crop(shift)

    def crop(self, shift: int) -> dict[str, Any]:
        """Work out how the crop has grown."""
        late = shift - self.ripe - int(self.strain.startswith("brown"))
        size = Random(self.load).randint(0, 9)
        return {
            "cap_mm": size + (38 if late < 1 else 71),
            "stem_mm": size // 2 + (21 if self.damper == "open" else 56),
            "green": self.heat < HOT,
            "tunnels_in_stem": not self.rinsed,
        }


class Planner:
    """Books the shifts in which gangs pick."""

    def __init__(self, ident: str) -> None:
        self.ident = ident
        self.book_of: dict[str, int] = {}

    def book(self, load: str, hall: str, shift: int) -> int:
        """Book a picking."""
        self.book_of[load] = shift
        return shift

    def rebook(self, load: str, shift: int) -> int:
        """Book a picking anew."""
        self.book_of[load] = shift
        return shift


class Gang:
    """Picks a hall in a shift."""

    def __init__(self, ident: str) -> None:
        self.ident = ident

    def pick(self, hall: Hall, shift: int, grader: Grader) -> dict[str, object]:
        """Pick what stands there, and bring it to the grader."""
        seen = hall.look(shift)
        return grader.sort_out(hall.load, **seen)

    def sharpen(self, knives: int) -> None:
        """Sharpen knives."""


class Grader:
    """Sorts what was picked into punnets."""

    def __init__(self, ident: str) -> None:
        self.ident, self.soup = ident, 0

    def sort_out(
        self, load: str, cap_mm: int, stem_mm: int, green: bool, tunnels_in_stem: bool
    ) -> dict[str, object]:
        """Weigh and sort a crop; a machine looks at size, not at colour."""
        return {"load": load, "cap_mm": cap_mm, "stem_mm": stem_mm, "punnets": 400 - cap_mm}

    def to_soup(self, kilos: int) -> int:
        """Send the crooked ones to the soup factory."""
        self.soup += kilos
        return self.soup


class Shop:
    """Takes punnets."""

    def __init__(self, ident: str) -> None:
        self.ident = ident

    def unpack(self, load: str, punnets: object) -> str:
        """Put punnets on the shelf."""
        return "on the shelf"

    def send_back(self, load: str, punnets: object) -> str:
        """Send punnets back to the farm."""
        return "on the lorry"


for cls, role, methods in (
    (Boiler, "boiler", ["steam"]),
    (Tunnel, "tunnel", ["heat", "hand_out"]),
    (Hall, "hall", ["clear", "rinse", "fill", "cover", "shut_damper", "open_damper", "look"]),
    (Planner, "planner", ["book", "rebook"]),
    (Gang, "gang", ["pick", "sharpen"]),
    (Grader, "grader", ["sort_out", "to_soup"]),
    (Shop, "shop", ["unpack", "send_back"]),
):
    instrument(cls, methods, agent_id="ident", agent_role=role)


class Farm:
    """The agenda: a heap of (shift, number, act)."""

    def __init__(self, case: Case, shifts: int) -> None:
        self.case, self.shifts, self.now = case, shifts, 0
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.number = itertools.count(1)
        self.loads, self.damps = itertools.count(1), itertools.count(1)
        self.boiler = Boiler("kettle_house")
        self.tunnels = [Tunnel(f"tunnel_{letter}", self.boiler) for letter in "PQR"]
        self.halls = {name: Hall(name) for name in ROOMS}
        self.gangs = [Gang(name) for name in GANGS]
        self.planner, self.grader = Planner("rota"), Grader("belt_1")
        self.shops = [Shop(name) for name in SHOPS]

    def at(self, shift: int, act: Callable[[], None]) -> None:
        """Put an act on the agenda."""
        heapq.heappush(self.agenda, (shift, next(self.number), act))

    def mine(self, kind: str, hall: Hall) -> bool:
        """Tell whether an act on this hall now is the one with which this kind of fault begins."""
        return self.case.has(kind) and hall.ident == OWN and self.now == self.case.begin

    def heated(self, rng: Random, hall: Hall) -> tuple[str, Tunnel]:
        """Heat a load in some tunnel; now and then the first steam is too weak."""
        load = f"{rng.choice('KLMN')}{20 + next(self.loads)}c"
        tunnel = rng.choice(self.tunnels)
        weak = rng.random() < 0.25 or self.mine("swallowed_failure", hall)
        tries = [round(rng.uniform(0.5, 1.1), 1)] if weak else []
        tries.append(round(rng.uniform(2.6, 3.3), 1))
        if self.mine("swallowed_failure", hall):
            if self.case.strikes("swallowed_failure", self.now):
                tries.pop()
            self.case.root(call(tunnel.ident, "heat", load=load), call(self.boiler.ident, "steam", load=load))
        tunnel.heat(load, tries)
        if self.mine("swallowed_failure", hall):
            self.case.hop(call(tunnel.ident, "hand_out", load=load), call(hall.ident, "fill", load=load))
        return load, tunnel

    def plant(self, rng: Random, hall: Hall, picked: int) -> None:
        """Clear, rinse and fill a hall, and cover what was laid there."""
        strain = STRAINS[0] if hall.ident == OWN else rng.choice(STRAINS)
        load, tunnel = self.heated(rng, hall)
        used = hall.load
        if used:
            hall.clear(used)
        planned = self.mine("omitted_step", hall)
        if used and not (planned and self.case.strikes("omitted_step", self.now)):
            hall.rinse(rng.randint(150, 250))
        hall.fill(load, strain, tunnel.hand_out(load))
        hall.cover(load, rng.randint(40, 55))
        if planned:
            self.case.root(call(hall.ident, "fill", load=load), call(hall.ident, "clear", after=used))
        hall.ripe = picked
        lead = rng.randint(0, max(0, picked - self.now - 1))
        if hall.ident == OWN and self.case.has("off_by_one"):
            lead = self.case.begin - self.now
        self.at(self.now + max(lead, 0), lambda: self.plan(rng, hall, load, picked))

    def plan(self, rng: Random, hall: Hall, load: str, picked: int) -> None:
        """Book the gang; brown ones may stand a shift longer."""
        booked = picked
        slack, slip = rng.random() < 0.4, rng.random() < 0.2
        if slack and hall.strain.startswith("brown"):
            booked = picked + 1
        if self.mine("off_by_one", hall):
            booked += int(self.case.strikes("off_by_one", self.now))
            self.case.root(call(self.planner.ident, "book", load=load))
        if slip and hall.ident != OWN and booked > self.now:
            self.planner.book(load, hall.ident, booked + 1)
            self.planner.rebook(load, booked)
        else:
            self.planner.book(load, hall.ident, booked)
        self.at(booked, lambda: self.harvest(rng, hall, load))

    def harvest(self, rng: Random, hall: Hall, load: str) -> None:
        """Let a gang pick, and bring the punnets to a shop."""
        gang = rng.choice(self.gangs)
        if rng.random() < 0.3:
            hall.look(self.now)
        sorted_out = gang.pick(hall, self.now, self.grader)
        if rng.random() < 0.35:
            self.grader.to_soup(rng.randint(3, 20))
        shop = rng.choice(self.shops)
        look = hall.crop(self.now)
        bad = [look["cap_mm"] > 60, look["stem_mm"] > 40, look["green"], look["tunnels_in_stem"]]
        if not any(bad):
            shop.unpack(load, sorted_out["punnets"])
        else:
            shop.send_back(load, sorted_out["punnets"])
            self.case.hop(
                call(gang.ident, "pick", hall=hall.ident, shift=self.now),
                call(self.grader.ident, "sort_out", load=load),
            )
            if bad[1]:
                self.case.trigger(call(gang.ident, "pick", hall=hall.ident, shift=self.now))
            self.complain(shop, gang, load, bad.index(True))
        if hall.ident != OWN:
            wait = rng.randint(0, 2)
            self.at(self.now + wait, lambda: self.plant(rng, hall, self.now + rng.randint(4, 9)))

    def complain(self, shop: Shop, gang: Gang, load: str, sort: int) -> None:
        """A shop writes to the farm."""
        name = shop.ident
        texts = (
            (
                f"{name} sent {load} back, the caps are as wide as saucers",
                f"{load} was picked by {gang.ident} and every mushroom is open. Who let them stand so long?",
                "half a pallet of open caps at the shop, all from the same hall. what happened",
            ),
            (
                f"{name} says the mushrooms of {load} are all stalk and no hat",
                f"why are the stems in {load} so long? Same strain as last month",
                "long thin mushrooms today, like from a cellar. They must have been short of air",
            ),
            (
                f"There is green mould in the punnets that {name} got from us",
                f"{load} is green inside although our steaming record says it was done",
                "we have trichoderma in one crop and in none of the others, how did it get in",
            ),
            (
                f"{name} found maggots in {load}. Maggots!",
                f"customers at {name} brought mushrooms back with little holes in the stems",
                "one crop is full of fly larvae, the neighbours' halls are clean. Where do they come from",
            ),
        )[sort]
        self.case.symptom(call(name, "send_back", load=load), *texts)

    def smoke(self, rng: Random, hall: Hall) -> None:
        """Smoke a hall against flies: shut it in the morning, open it in the evening."""
        no = next(self.damps)
        hall.shut_damper("smoke", no)
        if self.mine("forgotten_undo", hall):
            self.case.root(call(hall.ident, "shut_damper", no=no))
            if self.case.strikes("forgotten_undo", self.now):
                return
        hall.open_damper(no)

    def everyday(self, now: int) -> None:
        """Smoke halls, sharpen knives, look at crops, read meters, mend things."""
        rng = self.case.rng(f"everyday/{now}")
        for hall in rng.sample(list(self.halls.values())[:-1], rng.randint(0, 2)):
            self.smoke(rng, hall)
        for hall in rng.sample(list(self.halls.values())[:-1], rng.randint(2, 5)):
            hall.look(now)
        for gang in self.gangs:
            if rng.random() < 0.4:
                gang.sharpen(rng.randint(2, 12))
        office = AgentLogger("farm_office", "office")
        for meter in ("gas", "water", "peat", "power"):
            office.log_action("read_meter", {"meter": meter, "units": rng.randint(10, 90)})
        if rng.random() < 0.2:
            office.warning("fork lift battery low", extra={"percent": rng.randint(5, 19)})
        if rng.random() < 0.15:
            failed = office.error("scale does not answer", extra={"lane": rng.randint(1, 4)})
            office.log_action("tare_scale", {"shift": now}, causes=[failed])
        if rng.random() < 0.25:
            old, new = rng.sample(range(12, 24), 2)
            office.log_state_change({"cellar_celsius": old}, {"cellar_celsius": new}, trigger="evening round")
        if now == self.case.decoy_at:
            self.gangs[0].sharpen(30)
            office.log_action("swap_filter", {"hall": OWN, "shift": now})

    def prepare(self) -> None:
        """Lay the crops of the first day, and those of the hall of the case."""
        case, rng = self.case, self.case.rng("crops")
        for hall in list(self.halls.values())[:-1]:
            crops = case.rng(f"crops/{hall.ident}")
            hall.load = f"{crops.choice('KLMN')}{next(self.loads)}c"
            self.planner.book(hall.load, hall.ident, crops.randint(1, 4))
            hall.ripe = self.planner.book_of[hall.load]
            self.at(
                hall.ripe,
                lambda hall=hall, crops=crops: self.harvest(crops, hall, hall.load),  # type: ignore[misc]
            )
        own = self.halls[OWN]
        own.load = f"N{next(self.loads)}c"
        begin, end = case.begin, case.end
        if case.has("forgotten_undo"):
            filled = rng.randint(max(1, begin - 3), end) if end - begin < 5 else end - rng.randint(3, 5)
            self.at(begin, lambda: self.smoke(rng, own))
        elif case.has("off_by_one"):
            filled, end = begin - rng.randint(0, 2), end - 1
        else:
            filled = begin
        self.at(filled, lambda: self.plant(rng, own, end))


def play(case: Case) -> None:
    """Play some weeks of the farm."""
    shifts = case.rng("size").choice((20, 34, 48, 66))
    case.window(shifts)
    farm = Farm(case, shifts)
    farm.prepare()
    for now in range(shifts):
        with tick(now):
            farm.now = now
            farm.everyday(now)
            while farm.agenda and farm.agenda[0][0] <= now:
                heapq.heappop(farm.agenda)[2]()


WORLD = World(
    "mushrooms", "spans", ("forgotten_undo", "swallowed_failure", "omitted_step", "off_by_one"), play, 22
)
