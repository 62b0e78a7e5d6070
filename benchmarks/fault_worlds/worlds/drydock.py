"""A shipyard: ships lie in docks for some shifts, and share planks, welders and crates.

Plain classes under `instrument`; a tick is a shift, and each ship goes through its stages at its own pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

DOCKS = ("dock 1", "dock 2", "dock 3", "dock 4")
SLIP, FRIGATE = "long slip", "frigate Brunhilde"
SHIPS = ("Astrid", "Castor", "Eleonora", "Halcyon", "Mistral", "Perseus", "Tramontane", "Zephyr")
FISHERS = ("skipper Amaro", "skipper Brid", "skipper Conall", "skipper Dora")
FITTERS, PAINTERS = ("Ottilie", "Pavel"), ("Quim", "Rosalind", "Stavros")
PLANKS, A_SHIFT, ALWAYS, TIGHT = 66, 4, 7, 4.5


@dataclass
class Stay:
    """A ship in a dock."""

    ship: str
    dock: str
    leaves: int
    wants: int
    planks: int = 0


class Part:
    """A part of the yard."""

    def __init__(self, name: str, yard: Yard) -> None:
        self.name, self.yard = name, yard


class Store(Part):
    """Lends planks and sends crates."""

    def __init__(self, name: str, yard: Yard) -> None:
        super().__init__(name, yard)
        self.planks = PLANKS

    def give(self, ship: str, wanted: int) -> int:
        """Give planks, as far as there are any."""
        given = min(wanted, self.planks)
        self.planks -= given
        return given

    def take_back(self, ship: str, brought: int) -> int:
        """Pile up planks again."""
        self.planks += brought
        return self.planks

    def send_crate(self, crate: str, ship: str) -> str:
        """Send a crate to where the ship lies."""
        yard, dock = self.yard, self.yard.dock_of(ship)
        if crate == yard.mine and yard.case.strikes("misrouted_thing", yard.shift):
            dock = yard.other_dock
        if crate == yard.mine and yard.case.has("misrouted_thing"):
            yard.case.root(call(self.name, "send_crate", crate=crate), call("lorry", "unload", crate=crate))
        yard.lorry.unload(crate, dock)
        return dock


class Lorry(Part):
    """Brings crates to docks."""

    def unload(self, crate: str, dock: str) -> str:
        """Put a crate down beside a dock."""
        self.yard.crates[crate] = dock
        return dock

    def shift_crate(self, crate: str, dock: str) -> str:
        """Move a crate that stands in the way, for instance to another dock and back."""
        self.yard.crates[crate] = dock
        return dock


class Rigger(Part):
    """Builds scaffolds and takes them down."""

    def build(self, ship: str, wanted: int) -> int:
        """Build a scaffold around a ship."""
        return self.yard.store.give(ship, wanted)

    def take_down(self, ship: str, planks: int) -> int:
        """Take a scaffold down and bring the planks back; wet ones follow after the next shift."""
        yard, case, brought = self.yard, self.yard.case, planks
        if case.strikes("leaked_resource") and yard.shift >= case.begin:
            brought = planks - yard.losing(planks)
            if len(case.roots) < 6:
                case.root(
                    call(self.name, "take_down", ship=ship), call("plank store", "take_back", ship=ship)
                )
        elif case.rng(f"wet/{ship}").random() < 0.3 and planks > 2:
            brought = planks - 2
            yard.drying.append(ship)
        yard.store.take_back(ship, brought)
        return brought

    def bring_dried(self, ship: str) -> int:
        """Bring planks that had to dry."""
        return self.yard.store.take_back(f"{ship}, dried", 2)


class Foreman(Part):
    """Has the board with the jobs for the welders."""

    def post(self, job: str, boat: str, tons: int) -> int:
        """Pin a job to the board."""
        self.yard.board.append((self.yard.shift, len(self.yard.board), job, tons))
        return len(self.yard.board)

    def draw_up(self, shift: int) -> list[str]:
        """Put the board in order for a shift."""
        yard, case = self.yard, self.yard.case
        yard.board.sort()
        if case.has("starved_queue") and case.begin <= shift < case.begin + 3:
            case.root(call(self.name, "draw_up", shift=shift))
        if case.strikes("starved_queue") and shift >= case.begin:
            yard.board.sort(key=lambda one: (one[3] < 100, *one))
            case.hop(call(self.name, "draw_up", shift=shift))
        return [one[2] for one in yard.board[: A_SHIFT + 2]]


class Welder(Part):
    """Welds what comes first."""

    def weld(self, job: str) -> str:
        """Do a job of the board."""
        self.yard.done.add(job)
        return "welded"

    def lay_seam(self, seam: str, attempt: int) -> str:
        """Lay a seam, the better the second time."""
        rng = self.yard.case.rng(f"seam/{seam}")
        bad = rng.random() < 0.3 or seam == self.yard.mine
        self.yard.bar[seam] = round(
            rng.uniform(2.1, 4.2) if bad and attempt == 1 else rng.uniform(4.6, 6.0), 1
        )
        return "laid"


class Gauge(Part):
    """Shows how much pressure a seam holds."""

    def hold(self, seam: str, minutes: int) -> float:
        """Hold the pressure for some minutes and return what is left of it."""
        return self.yard.bar[seam]


class Inspector(Part):
    """Tests seams and signs for them."""

    def test_seam(self, seam: str, attempt: int) -> bool:
        """Test a seam; what is not tight is laid again."""
        yard, case = self.yard, self.yard.case
        tight = yard.gauge.hold(seam, 10 * attempt) >= TIGHT
        if seam == yard.mine and case.has("swallowed_failure") and attempt == 1:
            case.root(call(self.name, "sign", seam=seam), call(self.name, "test_seam", seam=seam))
            if case.strikes("swallowed_failure", yard.shift):
                tight = True
        self.sign(seam, "tight" if tight else "to be laid again")
        return tight

    def sign(self, seam: str, verdict: str) -> str:
        """Sign a sheet."""
        return f"sheet {seam}"


class Dockmaster(Part):
    """Lets ships in and out, and water."""

    def let_in(self, ship: str, dock: str) -> str:
        """Let a ship in and pump the dock dry."""
        return self.pump(dock, "out")

    def pump(self, dock: str, way: str) -> str:
        """Pump."""
        return f"water {way}"

    def flood(self, ship: str, dock: str, seams: list[str]) -> str:
        """Let the water come up to the seams of a ship."""
        self.pump(dock, "in")
        return "dry inside" if all(self.yard.bar[seam] >= TIGHT for seam in seams) else "water inside"


class Crew(Part):
    """Fitters, painters and the skippers of small boats."""

    def fit(self, crate: str, ship: str) -> str:
        """Look for a crate beside the ship and fit what is in it."""
        return "fitted" if self.find(crate, self.yard.dock_of(ship)) else "nothing to fit"

    def find(self, crate: str, dock: str) -> bool:
        """Look whether a crate stands beside a dock."""
        return self.yard.crates.get(crate) == dock

    def paint(self, ship: str, planks: int, wants: int) -> str:
        """Paint a hull as high as the scaffold goes."""
        return "painted" if planks >= wants else "cannot reach the bow"

    def come_for(self, boat: str, job: str) -> str:
        """Come for a small boat."""
        return "casts off" if job in self.yard.done else "not begun"

    def go_below(self, ship: str, trial: str) -> str:
        """Look into the bilge while a ship is afloat."""
        return self.yard.afloat[trial]


class Yard:
    """The yard, what is true in it, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.shift, self.last = case, 0, dict.fromkeys("BCJSVT", case.seed % 300)
        self.shifts = case.rng("shifts").choice((45, 80, 130, 190))
        case.window(self.shifts, 6 if case.has("leaked_resource") or case.has("starved_queue") else 1)
        self.store, self.lorry, self.rigger = (
            Store("plank store", self),
            Lorry("lorry", self),
            Rigger("Hamid", self),
        )
        self.foreman, self.welder, self.gauge = (
            Foreman("Mr Tolland", self),
            Welder("Ines", self),
            Gauge("gauge", self),
        )
        self.inspector, self.master = Inspector("Mrs Vane", self), Dockmaster("dockmaster", self)
        self.crew = {name: Crew(name, self) for name in (*FISHERS, *FITTERS, *PAINTERS, "chief engineer")}
        self.stays: dict[str, Stay] = {}
        self.board: list[tuple[int, int, str, int]] = []
        self.done: set[str] = set()
        self.crates: dict[str, str] = {}
        self.bar: dict[str, float] = {}
        self.afloat: dict[str, str] = {}
        self.drying: list[str] = []
        self.fetching: dict[int, list[tuple[str, str]]] = {}
        self.fitting: dict[int, list[tuple[str, str, str]]] = {}
        self.lost, self.mine = 0, "?"
        rng = case.rng("plan")
        self.fisher, self.fitter = rng.choice(FISHERS), rng.choice(FITTERS)
        self.other_dock = rng.choice(DOCKS)

    def number(self, letter: str) -> str:
        """Return the next number of a boat, a crate, a job, a seam, a visit or a trial."""
        self.last[letter] += 1
        return f"{letter}{self.last[letter]:04}"

    def dock_of(self, ship: str) -> str:
        """Return where a ship lies."""
        return next((stay.dock for stay in self.stays.values() if stay.ship == ship), SLIP)

    def losing(self, planks: int) -> int:
        """Return how many of these planks stay on the quay for good."""
        span = self.case.end - self.case.begin
        due = PLANKS * (self.shift - self.case.begin + 1) // span - self.lost
        now = max(1, min(planks, due)) if planks else 0
        self.lost += now
        return now

    def move_ships(self) -> None:
        """Let ships out whose time is over, and others in."""
        for dock in DOCKS:
            rng = self.case.rng(f"dock/{dock}/{self.shift}")
            stay = self.stays.get(dock)
            if stay is not None and stay.leaves == self.shift:
                self.rigger.take_down(stay.ship, stay.planks)
                seam = self.number("S")
                self.seam(seam)
                self.float_out(stay.ship, dock, seam)
                del self.stays[dock]
            elif stay is None and rng.random() < 0.7:
                name = f"{rng.choice(SHIPS)} {self.number('V')}"
                stay = Stay(name, dock, self.shift + rng.randint(3, 8), rng.randint(7, 15))
                self.stays[dock] = stay
                self.master.let_in(name, dock)
                stay.planks = self.rigger.build(name, stay.wants)
                self.paint(stay, rng.choice(PAINTERS))

    def paint(self, stay: Stay, painter: str) -> None:
        """Let a hull be painted from its scaffold."""
        case = self.case
        if self.crew[painter].paint(stay.ship, stay.planks, stay.wants) != "painted":
            case.hop(call("plank store", "give", ship=stay.ship))
            case.symptom(
                call(painter, "paint", ship=stay.ship),
                f"Half of the hull of {stay.ship} is still rusty, because nobody could get up there",
                f"{painter} stood under the bow with a roller and nothing to climb on",
                "We pay for every day in here, and the men say there is no wood left for a scaffold",
            )

    def seam(self, seam: str) -> None:
        """Lay a seam and test it, until it is signed as tight."""
        attempt = 1
        self.welder.lay_seam(seam, attempt)
        while not self.inspector.test_seam(seam, attempt):
            attempt += 1
            self.welder.lay_seam(seam, attempt)

    def float_out(self, ship: str, dock: str, seam: str) -> None:
        """Flood a dock and look whether the ship stays dry."""
        case, trial = self.case, self.number("T")
        self.afloat[trial] = self.master.flood(ship, dock, [seam])
        if seam == self.mine:
            case.trigger(call("dockmaster", "flood", ship=ship))
        if self.crew["chief engineer"].go_below(ship, trial) != "dry inside":
            case.hop(call("dockmaster", "flood", ship=ship))
            case.symptom(
                call("chief engineer", "go_below", trial=trial),
                "The bilge was full an hour after they let the water in, straight through a new weld",
                f"{ship} had hardly lifted off the blocks when the sea came in",
                "All papers say tight, and the chief engineer stands in it up to his knees",
            )

    def work_board(self) -> None:
        """Post jobs, weld the first ones, and let skippers come for their boats."""
        case, rng = self.case, self.case.rng(f"board/{self.shift}")
        for _ in range(ALWAYS - sum(one[3] >= 100 for one in self.board)):
            job = self.number("J")
            self.foreman.post(job, "ship", 100 * case.rng(f"tons/{job}").randint(2, 60))
        if rng.random() < 0.5:
            fisher, job, due = rng.choice(FISHERS), self.number("B"), self.shift + rng.randint(6, 14)
            if case.has("starved_queue") and case.begin - 6 < self.shift < case.end:
                due = max(due, case.end + 1)
            self.foreman.post(job, f"boat of {fisher}", rng.randint(4, 30))
            self.fetching.setdefault(due, []).append((fisher, job))
        self.foreman.draw_up(self.shift)
        last = ""
        for _, _, job, _ in self.board[:A_SHIFT]:
            self.welder.weld(job)
            last = job
        del self.board[:A_SHIFT]
        for fisher, job in self.fetching.pop(self.shift, []):
            if self.crew[fisher].come_for(f"boat of {fisher}", job) != "casts off":
                case.hop(call("Ines", "weld", job=last))
                case.symptom(
                    call(fisher, "come_for", job=job),
                    "My boat has stood on trestles for ages with a hole in it, and the herring is running",
                    f"{fisher} wants to know when somebody will touch job {job} at last",
                    "Liners come and go in that yard, but for a cutter of nine tons nobody has a minute",
                )

    def bring_crates(self) -> None:
        """Send crates ahead, move some about, and fit what is in them."""
        case, rng = self.case, self.case.rng(f"crates/{self.shift}")
        lying = [(stay.ship, stay.leaves) for stay in self.stays.values() if stay.leaves > self.shift + 1]
        for ship, leaves in [*lying, (FRIGATE, self.shift + 8)]:
            if rng.random() < 0.3:
                crate, due = self.number("C"), rng.randint(self.shift + 1, leaves - 1)
                self.store.send_crate(crate, ship)
                self.fitting.setdefault(due, []).append((rng.choice(FITTERS), crate, ship))
                if rng.random() < 0.25:
                    home = self.crates[crate]
                    self.lorry.shift_crate(crate, rng.choice([one for one in (*DOCKS, SLIP) if one != home]))
                    self.lorry.shift_crate(crate, home)
        for fitter, crate, ship in self.fitting.pop(self.shift, []):
            if self.crew[fitter].fit(crate, ship) != "fitted":
                case.hop(call("lorry", "unload", crate=crate), call(fitter, "find", crate=crate))
                case.symptom(
                    call(fitter, "fit", crate=crate),
                    f"The propeller for {ship} is nowhere to be seen, and we sail on Monday",
                    f"{fitter} searched the whole quay for crate {crate}",
                    "It was paid for, it came through the gate, and now it is not beside the ship",
                )

    def begin(self) -> None:
        """Do what the case is about, well or badly."""
        case = self.case
        if case.has("misrouted_thing"):
            self.mine = self.number("C")
            self.store.send_crate(self.mine, FRIGATE)
            self.fitting.setdefault(case.end, []).append((self.fitter, self.mine, FRIGATE))
        elif case.has("swallowed_failure"):
            self.mine = self.number("S")
            self.seam(self.mine)
        elif case.has("starved_queue"):
            self.mine = self.number("B")
            self.foreman.post(self.mine, f"boat of {self.fisher}", 9)
            self.fetching.setdefault(case.end, []).append((self.fisher, self.mine))

    def everyday(self) -> None:
        """Do what belongs to any shift."""
        case, rng = self.case, self.case.rng(f"shift/{self.shift}")
        while self.drying:
            self.rigger.bring_dried(self.drying.pop())
        for _ in range(rng.randint(0, 2)):
            seam = self.number("S")
            self.seam(seam)
        if rng.random() < 0.25:
            name = rng.choice(("horn_at", "canteen_price", "crane_lamp", "gas_order"))
            SystemLogger("yard").log_config(name, 5, rng.randint(1, 9))
        if rng.random() < 0.2 or self.shift == case.decoy_at:
            who = rng.choice(("Hamid", "Ines", "lorry"))
            AgentLogger(who, "yard").warning(
                "a cable was frayed, took the spare one", {"spare": rng.randint(1, 4)}
            )
        if self.shift == case.decoy_at:
            AgentLogger("crane", "crane").error("wind above the limit, waited for an hour", {"knots": 38})

    def run(self) -> None:
        """Play all shifts."""
        case = self.case
        for shift in range(self.shifts):
            self.shift = shift
            with tick(shift):
                self.everyday()
                self.move_ships()
                if shift == case.begin:
                    self.begin()
                self.work_board()
                self.bring_crates()
                if shift == case.end and case.has("swallowed_failure"):
                    self.float_out(FRIGATE, SLIP, self.mine)


SHOWN: dict[Any, tuple[str, ...]] = {
    Store: ("give", "take_back", "send_crate"),
    Lorry: ("unload", "shift_crate"),
    Rigger: ("build", "take_down", "bring_dried"),
    Foreman: ("post", "draw_up"),
    Welder: ("weld", "lay_seam"),
    Gauge: ("hold",),
    Inspector: ("test_seam", "sign"),
    Dockmaster: ("let_in", "pump", "flood"),
    Crew: ("fit", "find", "paint", "come_for", "go_below"),
}
for part, acts in SHOWN.items():
    instrument(part, acts, agent_id="name", agent_role=part.__name__.lower(), ignore=("yard",))


def play(case: Case) -> None:
    """Play some weeks of shifts."""
    Yard(case).run()


FAULTS = ("leaked_resource", "starved_queue", "misrouted_thing", "swallowed_failure")
WORLD = World("drydock", "spans", FAULTS, play, 30)
