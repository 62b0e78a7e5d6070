"""A blood-test laboratory: tubes are registered, spun, measured, frozen, thawed for later questions, and sent on.

Decorated methods that call each other; a day has no tick, and no call names its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

PRACTICES = ("Lindenhof", "Quayside", "Northgate", "Marktplatz", "Old Mill")
SORTS = ("serum", "citrate", "edta")
LOWEST = {"ferritin": 30.0, "folate": 5.0, "copper": 11.0, "zinc": 9.0, "cortisol": 140.0, "albumin": 34.0}
MACHINES = {
    "ferritin": ("atlas", "boreas"),
    "folate": ("atlas", "boreas"),
    "copper": ("boreas", "castor"),
    "zinc": ("castor",),
    "cortisol": ("atlas", "castor"),
    "albumin": ("atlas", "boreas", "castor"),
}
SIDE = 40


@dataclass
class Tube:
    """What is really true of one tube of blood."""

    barcode: str
    practice: str
    sort: str
    is_clear: bool = False
    row: int = 0
    column: int = 0
    is_away: bool = False


class Post:
    """A place in the laboratory where somebody or something works."""

    trace_ignore: ClassVar[tuple[str, ...]] = ("house",)

    def __init__(self, agent_id: str, agent_role: str, house: House) -> None:
        self.agent_id, self.agent_role, self.house = agent_id, agent_role, house


class Clerk(Post):
    """Writes down what comes in, and where it is kept."""

    @trace_agent_action()
    def register(self, barcode: str, practice: str, sort: str) -> str:
        """Register a tube."""
        self.house.tubes[barcode] = Tube(barcode, practice, sort)
        return f"{practice}/{len(self.house.tubes)}"

    @trace_agent_action()
    def file_position(self, barcode: str, row: int, column: int) -> None:
        """Write down where a frozen tube stands."""
        self.house.positions[barcode] = (row, column)


class Arm(Post):
    """Puts tubes into the freezer and takes them out."""

    @trace_agent_action()
    def put(self, barcode: str) -> dict[str, int]:
        """Put a tube into a free hole of the freezer."""
        house, tube = self.house, self.house.tubes[barcode]
        tube.row, tube.column = house.free.pop()
        house.holes[tube.row, tube.column] = barcode
        return {"row": tube.row, "column": tube.column}

    @trace_agent_action()
    def pick(self, row: int, column: int) -> str | None:
        """Take out what stands at a position, if anything does."""
        return self.house.holes.pop((row, column), None)


class Freezer(Post):
    """The cold store with its own robot."""

    @trace_agent_action()
    def keep(self, barcode: str) -> str:
        """Freeze a tube and have its position written down."""
        house = self.house
        at = house.arm.put(barcode)
        row, column = at["row"], at["column"]
        if barcode == house.victim and house.case.strikes("swapped_fields"):
            row, column = column, row
            house.case.root(call("ines", "file_position", barcode=barcode))
        house.ines.file_position(barcode, row, column)
        return "kept"

    @trace_agent_action()
    def thaw(self, barcode: str) -> str | None:
        """Fetch a tube back from where the clerk says that it is."""
        row, column = self.house.positions[barcode]
        return self.house.arm.pick(row, column)


class Spinner(Post):
    """The centrifuge."""

    @trace_agent_action()
    def spin(self, barcode: str, g: int) -> str:
        """Separate the cells."""
        self.house.tubes[barcode].is_clear = True
        return "separated"


class Bench(Post):
    """Prepares tubes for the machines and for the freezer."""

    @trace_agent_action()
    def prepare(self, barcode: str, sort: str, freeze: bool) -> str:
        """Spin what is not measured whole, and freeze what may be asked for again."""
        case, house = self.house.case, self.house
        skipped = barcode == house.victim and case.strikes("omitted_step")
        if sort != "edta" and not skipped:
            house.spinner.spin(barcode, 1800 if sort == "serum" else 2500)
        if freeze:
            house.freezer.keep(barcode)
        if skipped:
            case.root(call("bench", "prepare", barcode=barcode), call("freezer", "keep", barcode=barcode))
        return "on the rack"


class Analyser(Post):
    """Measures, and flags what is below the reference range that it has loaded."""

    def __init__(self, agent_id: str, agent_role: str, house: House) -> None:
        super().__init__(agent_id, agent_role, house)
        self.limits = {assay: low for assay, low in LOWEST.items() if agent_id in MACHINES[assay]}

    @trace_agent_action()
    def load_range(self, assay: str, low: float) -> str:
        """Load a reference range."""
        self.limits[assay] = low
        return f"{assay} loaded"

    @trace_agent_action()
    def measure(self, barcode: str | None, assay: str, amount: float) -> dict[str, object]:
        """Measure one substance; a tube that is cloudy gives no value."""
        tube = self.house.tubes.get(barcode or "")
        if tube is None or (tube.sort != "edta" and not tube.is_clear):
            return {"value": None, "flag": "none" if tube is None else "turbid"}
        return {"value": amount, "flag": "low" if amount < self.limits[assay] else ""}


class Handbook(Post):
    """Keeps the reference ranges."""

    @trace_agent_action()
    def revise(self, assay: str, low: float) -> list[str]:
        """Change a range and let the machines that use it load it."""
        house = self.house
        house.lowest[assay] = low
        machines = MACHINES[assay]
        if house.is_key_revision and house.case.strikes("stale_cache"):
            house.case.root(call("handbook", "revise", assay=assay, low=low))
            machines = machines[:-1]
        for name in machines:
            house.machines[name].load_range(assay, low)
        return list(house.lowest)


class Courier(Post):
    """Carries tubes to the partner laboratory, if there is room in the van."""

    @trace_agent_action()
    def collect(self, barcode: str) -> dict[str, int]:
        """Take a tube along; code 7 means that there was no room."""
        is_full = self.agent_id == "van" and self.house.is_full
        self.house.tubes[barcode].is_away = not is_full
        return {"code": 7 if is_full else 0}


class Outbound(Post):
    """Sends tubes out for tests that this laboratory does not do."""

    @trace_agent_action()
    def ship(self, barcode: str, test: str) -> dict[str, str]:
        """Give a tube to the courier, and to the late one if the first has no room."""
        house = self.house
        code = house.van.collect(barcode)["code"]
        if code and barcode == house.victim and house.case.strikes("swallowed_failure"):
            house.case.root(
                call("van", "collect", barcode=barcode), call("outbound", "ship", barcode=barcode)
            )
        elif code:
            house.late_van.collect(barcode)
        return {"state": "shipped", "test": test}


class Partner(Post):
    """The laboratory in the next town."""

    @trace_agent_action()
    def answer(self, barcode: str) -> str:
        """Tell what came out, if the tube is there."""
        return "attached" if self.house.tubes[barcode].is_away else "not on our list"


class Doctor(Post):
    """Reads results and answers the practices."""

    @trace_agent_action()
    def review(self, barcode: str, assay: str, value: float | None, flag: str) -> str:
        """Write a comment on a result."""
        return "no result possible" if value is None else ("please treat" if flag else "unremarkable")

    @trace_agent_action()
    def add_test(self, barcode: str, assay: str, amount: float, machine: str) -> str:
        """Have something measured in a tube that was frozen."""
        found = self.house.freezer.thaw(barcode)
        result = self.house.machines[machine].measure(found, assay, amount)
        self.house.case.hop(call("freezer", "thaw", barcode=barcode))
        return self.review(barcode, assay, result["value"], str(result["flag"]))  # type: ignore[arg-type]

    @trace_agent_action()
    def ask_partner(self, barcode: str) -> str:
        """Ask what became of a tube that was sent away."""
        return self.house.partner.answer(barcode)


class Practice(Post):
    """A doctor's practice that waits for results."""

    @trace_agent_action()
    def read_report(self, barcode: str, comment: str) -> str:
        """Read what the laboratory says."""
        return "patient called in" if comment == "please treat" else "filed"

    @trace_agent_action()
    def phone(self, barcode: str, topic: str) -> str:
        """Talk with the laboratory."""
        return f"noted: {topic}"


class House:
    """The laboratory with its tubes, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(70, 130)
        case.window(self.days)
        self.tubes: dict[str, Tube] = {}
        self.positions: dict[str, tuple[int, int]] = {}
        self.holes: dict[tuple[int, int], str] = {}
        rng = case.rng("holes")
        pairs = [(one, other) for one in range(1, SIDE) for other in range(one + 1, SIDE + 1)]
        self.free = [(one, other) if rng.random() < 0.5 else (other, one) for one, other in pairs]
        rng.shuffle(self.free)
        self.lowest = dict(LOWEST)
        self.victim, self.is_key_revision, self.is_full = "", False, False
        self.ines, self.arm = Clerk("ines", "clerk", self), Arm("arm", "robot", self)
        self.freezer, self.spinner = Freezer("freezer", "store", self), Spinner("spinner", "robot", self)
        self.bench, self.handbook = Bench("bench", "technician", self), Handbook("handbook", "office", self)
        self.machines = {name: Analyser(name, "analyser", self) for name in ("atlas", "boreas", "castor")}
        self.van, self.late_van = Courier("van", "courier", self), Courier("late_van", "courier", self)
        self.outbound, self.partner = Outbound("outbound", "office", self), Partner("partner", "lab", self)
        self.doctors = [Doctor(name, "doctor", self) for name in ("Dr Osei", "Dr Halvorsen")]
        self.practices = {name: Practice(name, "practice", self) for name in PRACTICES}
        self.kept: list[str] = []
        self.sent: list[str] = []

    def pass_through(
        self, barcode: str, practice: str, sort: str, amount: float, assay: str, last: bool
    ) -> None:
        """Let one tube through the house: registered, prepared, measured, read."""
        rng = self.case.rng(f"tube/{barcode}")
        self.ines.register(barcode, practice, sort)
        freeze = rng.random() < 0.25 or barcode == self.victim
        self.bench.prepare(barcode, sort, freeze)
        if freeze and barcode != self.victim:
            self.kept.append(barcode)
        if barcode == self.victim and not self.case.has("stale_cache"):
            return
        doctor, machine = rng.choice(self.doctors), rng.choice(MACHINES[assay])
        machine = MACHINES[assay][-1] if last else machine
        result = self.machines[machine].measure(barcode, assay, amount)
        comment = doctor.review(barcode, assay, amount if result["value"] else None, str(result["flag"]))
        if last:
            self.case.hop(call(machine, "measure", barcode=barcode))
            self.case.hop(call(doctor.agent_id, "review", barcode=barcode))
        self.practices[practice].read_report(barcode, comment)
        if (amount < self.lowest[assay]) != (comment == "please treat"):
            self.practices[practice].phone(barcode, "patient fainted")
            self.case.symptom(
                call(practice, "phone", barcode=barcode),
                f"A patient collapsed a day after we had called her {assay} of {amount} unremarkable.",
                f"Why did nobody say that {barcode} is too low? The report just says that all is well.",
                f"{doctor.agent_id} let a {assay} through that other laboratories would have treated at once.",
            )

    def key_tube(self, practice: str) -> None:
        """Let the tube of the case come in, which is asked for again at the end."""
        case = self.case
        self.victim = f"HB{case.begin:03}{case.rng('victim').randint(14, 19)}"
        sort = "citrate" if case.has("omitted_step") else "edta"
        self.pass_through(self.victim, practice, sort, 60.0, "albumin", last=False)
        if case.has("swallowed_failure"):
            self.is_full = True
            self.outbound.ship(self.victim, "allergens")

    def ask_again(self, practice: str) -> None:
        """Let the practice ask for the tube of the case once more."""
        case, tube = self.case, self.victim
        doctor = case.rng("doctor").choice(self.doctors)
        where = self.practices[practice]
        asked = case.rng("asked").choice(("zinc", "copper", "cortisol"))
        if case.has("swallowed_failure"):
            where.phone(tube, "waiting")
            case.hop(call(practice, "phone", barcode=tube))
            if doctor.ask_partner(tube) != "attached":
                case.hop(call("partner", "answer", barcode=tube))
                where.read_report(tube, "no result possible")
                case.symptom(
                    call(practice, "read_report", barcode=tube),
                    f"{practice} still waits for the allergens of {tube}, and the patient cannot be treated.",
                    f"We asked partner about a test of ours, and they have never seen {tube}.",
                    f"Nothing has come back for {tube}. It is far too long now, who has it?",
                )
            return
        if case.has("swapped_fields"):
            case.trigger(call(doctor.agent_id, "add_test", barcode=tube))
        comment = doctor.add_test(tube, asked, 2.0 * LOWEST[asked], MACHINES[asked][0])
        where.read_report(tube, comment)
        if comment == "no result possible" and case.has("swapped_fields"):
            case.symptom(
                call(practice, "read_report", barcode=tube),
                f"The sample {tube} cannot be found any more, and {practice} wanted one more value from it.",
                f"{doctor.agent_id} could not add {asked} for {practice}; it says there is no material.",
                f"How can a frozen tube vanish? We wanted {asked} in {tube} and got nothing.",
            )
        elif comment == "no result possible":
            case.symptom(
                call(practice, "read_report", barcode=tube),
                f"The {asked} of {tube} could not be measured, and the patient has to be pricked again.",
                f"{MACHINES[asked][0]} gives no value for a tube of {practice} that was kept for this purpose.",
                f"Frozen material turned out to be useless when somebody wanted {asked} from {tube}.",
            )

    def everyday(self, day: int) -> None:
        """Let the tubes of a day through, and a few questions about older ones."""
        case, rng = self.case, self.case.rng(f"day/{day}")
        for number in range(rng.randint(2, 4)):
            assay = rng.choice(list(LOWEST))
            amount = round(
                LOWEST[assay] * (rng.uniform(0.4, 0.7) if rng.random() < 0.2 else rng.uniform(1.4, 3)), 1
            )
            barcode = f"HB{day:03}{number + 10}"
            self.pass_through(barcode, rng.choice(PRACTICES), rng.choice(SORTS), amount, assay, last=False)
            if rng.random() < 0.2:
                self.is_full = rng.random() < 0.3
                self.outbound.ship(barcode, rng.choice(("allergens", "antibodies")))
                self.sent.append(barcode)
        if self.kept and rng.random() < 0.5:
            barcode, assay = self.kept.pop(rng.randrange(len(self.kept))), rng.choice(list(LOWEST))
            comment = rng.choice(self.doctors).add_test(
                barcode, assay, 2.1 * LOWEST[assay], MACHINES[assay][0]
            )
            self.practices[self.tubes[barcode].practice].read_report(barcode, comment)
        if self.sent and rng.random() < 0.4:
            rng.choice(self.doctors).ask_partner(rng.choice(self.sent))
        if rng.random() < 0.4 or day == case.decoy_at:
            assay = rng.choice(
                [one for one in LOWEST if one != "ferritin" or not case.begin <= day <= case.end]
            )
            self.handbook.revise(
                assay, round(LOWEST[assay] * rng.uniform(0.8, 1.0 if assay == "ferritin" else 1.25), 1)
            )
        if rng.random() < 0.15 or day == case.decoy_at:
            AgentLogger(rng.choice(list(self.machines)), "analyser").warning(
                "lamp warm, cooled down in a minute"
            )
        if rng.random() < 0.25:
            SystemLogger("house").log_config(
                rng.choice(("light_level", "door_delay_s")), 3, rng.randint(1, 9)
            )
        if rng.random() < 0.1:
            self.practices[rng.choice(PRACTICES)].phone(f"HB{day:03}10", "new fax number")

    def run(self) -> None:
        """Play all days."""
        case = self.case
        practice = case.rng("practice").choice(PRACTICES)
        for day in range(self.days):
            self.everyday(day)
            if case.has("stale_cache") and day == case.begin:
                self.is_key_revision = True
                self.handbook.revise("ferritin", 37.5)
                self.is_key_revision = False
            elif day == case.begin:
                self.key_tube(practice)
            if day == case.end and case.has("stale_cache"):
                low = case.rng("low").randint(31, 36) + 0.4
                self.pass_through(f"HB{day:03}15", practice, "edta", low, "ferritin", last=True)
            elif day == case.end:
                self.ask_again(practice)


def play(case: Case) -> None:
    """Play some months of the laboratory."""
    House(case).run()


WORLD = World(
    "haemolab", "spans", ("swapped_fields", "stale_cache", "swallowed_failure", "omitted_step"), play, 25
)
