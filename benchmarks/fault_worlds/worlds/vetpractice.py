"""A veterinary practice: cards with weights, doses by weight, operations with kits, and stays on the ward."""

from __future__ import annotations

import random
from dataclasses import dataclass

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

ANIMALS = {
    "Pepper": ("owner_falk", 11.5),
    "Olive": ("owner_bryce", 4.2),
    "Rufus": ("owner_nwosu", 31.0),
    "Tansy": ("owner_hale", 3.6),
    "Mabel": ("owner_iqbal", 18.4),
    "Otto": ("owner_jansen", 9.1),
    "Juno": ("owner_keller", 26.7),
    "Widget": ("owner_lowe", 5.3),
    "Fern": ("owner_mora", 14.9),
    "Barnaby": ("owner_ruiz", 38.2),
}
KITS = ("kit_A", "kit_B", "kit_C", "kit_D", "kit_E")
BY_WEIGHT = {"meloxicam": 0.2, "amoxiclav": 0.5, "tramadol": 0.1}
FIXED = {"eardrops": 1.0, "wormer": 2.0, "probiotic": 5.0}
OPERATIONS = ("spay", "dental", "lump", "hernia")
POUNDS = 2.2046


@dataclass
class Kit:
    """A tray of instruments; whether it carries germs is not on record."""

    dirty: bool = False


class Dispensary:
    """The dispensary, which fills prescriptions from its own sheets."""

    agent_id, agent_role = "dispensary", "dispensary"
    trace_ignore = ("sheets", "cards")

    def __init__(self) -> None:
        self.sheets: dict[str, float] = {}
        self.cards: Cards | None = None

    @trace_agent_action()
    def copy_card(self, animal: str, weight_kg: float) -> str:
        """Copy the weight on an animal's card to the dosing sheet."""
        self.sheets[animal] = weight_kg
        return f"sheet of {animal}: {weight_kg}"

    @trace_agent_action()
    def print_label(self, rx: int, attempt: int) -> str:
        """Print a label; the paper sticks now and then."""
        if attempt == 1:
            raise OSError("label roll sticks")
        return "printed"

    @trace_agent_action()
    def fill(self, rx: int, animal: str, drug: str) -> float:
        """Measure out a prescription."""
        if drug in FIXED:
            return FIXED[drug]
        return round(self.sheets[animal] * BY_WEIGHT[drug], 2)


class Cards:
    """The card index of the practice."""

    agent_id, agent_role = "cards", "index"
    trace_ignore = ("dispensary", "weights")

    def __init__(self, dispensary: Dispensary) -> None:
        self.dispensary = dispensary
        self.weights: dict[str, float] = {}

    @trace_agent_action()
    def write_weight(self, animal: str, weighing: int, kg: float, on_treatment: bool) -> float:
        """Write a weight on the card; the sheet of an animal on treatment follows."""
        before = self.weights.get(animal, kg)
        self.weights[animal] = kg
        if on_treatment:
            self.dispensary.copy_card(animal, kg)
        return before


class Nurse:
    """A nurse, who weighs, cleans and looks after the ward."""

    agent_role = "nurse"
    trace_ignore = ("cards", "kits", "needs")

    def __init__(
        self, name: str, cards: Cards, kits: dict[str, Kit], needs: dict[int, dict[str, int]]
    ) -> None:
        self.agent_id, self.cards, self.kits, self.needs = name, cards, kits, needs

    @trace_agent_action()
    def put_on_scale(self, animal: str, weighing: int, scale: str, grams: int) -> dict[str, float | str]:
        """Read a scale; the one in the yard is an old one."""
        if scale == "yard":
            return {"shows": round(grams / 1000 * POUNDS, 1), "in": "lb"}
        return {"shows": round(grams / 1000, 1), "in": "kg"}

    @trace_agent_action()
    def wash(self, kit: str, load: int) -> None:
        """Wash a kit by hand."""

    @trace_agent_action()
    def autoclave(self, kit: str, load: int) -> int:
        """Heat a kit; return the temperature that it reached."""
        self.kits[kit].dirty = False
        return 134

    @trace_agent_action()
    def shelve(self, kit: str, load: int) -> None:
        """Put a kit on its shelf."""

    @trace_agent_action()
    def inject(self, stay: int, animal: str, part: str, units: int) -> None:
        """Give an animal on the ward its insulin."""

    @trace_agent_action()
    def look_in(self, stay: int, animal: str, units: int) -> str:
        """Look in at night, some hours after the evening's units."""
        return "calm" if units <= self.needs[stay]["evening"] + 1 else "shaky"


class Vet:
    """A vet."""

    agent_role = "vet"
    trace_ignore = ("dispensary", "kits")

    def __init__(self, name: str, dispensary: Dispensary, kits: dict[str, Kit]) -> None:
        self.agent_id, self.dispensary, self.kits = name, dispensary, kits

    @trace_agent_action()
    def examine(self, visit: int, animal: str, why: str) -> str:
        """Examine an animal."""
        return "seen"

    @trace_agent_action()
    def prescribe(self, rx: int, animal: str, drug: str) -> float:
        """Prescribe something; return the millilitres that were filled."""
        return self.dispensary.fill(rx, animal, drug)

    @trace_agent_action()
    def operate(self, op: int, animal: str, what: str, kit: str) -> str:
        """Operate on an animal."""
        carried = self.kits[kit].dirty
        self.kits[kit].dirty = True
        return "warm" if carried else "clean"


class Reception:
    """The reception, which keeps the book of stays."""

    agent_id, agent_role = "reception", "reception"

    def __init__(self) -> None:
        self.stays: dict[int, dict[str, int]] = {}

    @trace_agent_action()
    def book_stay(self, stay: int, animal: str, day: int, morning: int, evening: int) -> None:
        """Enter a stay with the insulin units of the owner's plan."""
        self.stays[stay] = {"morning": morning, "evening": evening}

    @trace_agent_action()
    def set_display(self, what: str, value: int) -> None:
        """Change something about the desk or the waiting room."""

    @trace_agent_action()
    def take_payment(self, visit: int, cents: int) -> str:
        """Take the money for a visit."""
        return "paid"


class Owner:
    """Somebody with an animal."""

    agent_role = "owner"
    trace_ignore = ("real",)

    def __init__(self, name: str, real: dict[str, float]) -> None:
        self.agent_id, self.real = name, real

    @trace_agent_action()
    def hand_in_plan(self, stay: int, animal: str, day: int, units: dict[str, int]) -> str:
        """Ask for a stay and tell what the animal gets at home."""
        return f"{units['morning']} in the morning, {units['evening']} in the evening"

    @trace_agent_action()
    def give(self, rx: int, animal: str, drug: str, ml: float) -> str:
        """Give a medicine at home and watch."""
        fits = FIXED[drug] if drug in FIXED else self.real[animal] * BY_WEIGHT[drug]
        return "sick" if ml > 1.2 * fits else "fine"

    @trace_agent_action()
    def take_home(self, number: int, animal: str, found: str) -> str:
        """Fetch an animal after an operation or a stay."""
        return f"{animal} was {found}"


class Practice:
    """The practice, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(60, 100)
        self.begin, self.end = case.window(self.days)
        who = case.rng("who")
        self.real = {name: kg for name, (_, kg) in ANIMALS.items()}
        self.needs: dict[int, dict[str, int]] = {}
        self.kits = {name: Kit() for name in KITS}
        self.dispensary = Dispensary()
        self.cards, self.reception = Cards(self.dispensary), Reception()
        self.nurses = [Nurse(n, self.cards, self.kits, self.needs) for n in ("nurse_wren", "nurse_tobi")]
        self.vets = [Vet(n, self.dispensary, self.kits) for n in ("dr_okafor", "dr_lund", "dr_castel")]
        self.owners = {owner: Owner(owner, self.real) for owner, _ in ANIMALS.values()}
        self.pet, self.diabetic = who.sample(sorted(ANIMALS), 2)
        self.kit = who.choice(KITS)
        self.desk = AgentLogger("caretaker", "caretaker")
        self.number = 4000
        self.now = self.planned_stay = 0

    def next(self) -> int:
        """Return a new running number."""
        self.number += 1
        return self.number

    def weigh(self, animal: str, scale: str, rng: random.Random, on_treatment: bool = True) -> int:
        """Weigh an animal and write it on the card; return the number of the weighing."""
        case, nurse, weighing = self.case, rng.choice(self.nurses), self.next()
        shown = nurse.put_on_scale(animal, weighing, scale, round(1000 * self.real[animal]))
        kg = float(shown["shows"])
        planned = animal == self.pet and len(case.roots) == 0
        slip = planned and case.strikes("wrong_unit", self.now)
        if shown["in"] == "lb" and not slip:
            kg = round(kg / POUNDS, 1)
        if planned and case.strikes("stale_cache", self.now):
            on_treatment = False
        self.cards.write_weight(animal, weighing, kg, on_treatment)
        return weighing

    def medicate(self, animal: str, drug: str, rng: random.Random) -> None:
        """Prescribe something that is given at home; an animal that is sick from it is a symptom."""
        case, vet, rx = self.case, rng.choice(self.vets), self.next()
        owner = self.owners[ANIMALS[animal][0]]
        ml = vet.prescribe(rx, animal, drug)
        if rng.random() < 0.15:
            for attempt in (1, 2):
                try:
                    self.dispensary.print_label(rx, attempt)
                except OSError:
                    continue
        if owner.give(rx, animal, drug, ml) == "fine":
            return
        case.hop(call("dispensary", "fill", rx=rx), call(vet.agent_id, "prescribe", rx=rx))
        case.symptom(
            call(owner.agent_id, "give", rx=rx),
            f"{owner.agent_id} says {animal} was sick all night after {ml} ml of {drug}. Why so much?",
            f"{animal} got far too much {drug} from us. How did that come about?",
            f"Why was the {drug} for {animal} measured out as {ml} ml?",
            f"{owner.agent_id} is angry: the bottle for {animal} had a dose in it that does not fit the animal.",
        )

    def stay(self, stay: int, animal: str, rng: random.Random) -> None:
        """Keep an animal for a day, with insulin by the book; one that shakes is a symptom."""
        case, nurse = self.case, rng.choice(self.nurses)
        owner, got = self.owners[ANIMALS[animal][0]], self.reception.stays[stay]
        for part in ("morning", "evening"):
            nurse.inject(stay, animal, part, got[part])
        found = nurse.look_in(stay, animal, got["evening"])
        owner.take_home(stay, animal, found)
        if found == "calm":
            return
        case.hop(call(nurse.agent_id, "inject", stay=stay, part="evening"))
        case.hop(call(nurse.agent_id, "look_in", stay=stay))
        case.symptom(
            call(owner.agent_id, "take_home", number=stay),
            f"{owner.agent_id} was told that {animal} had a low sugar in the night on our ward. How come?",
            f"{animal} was shaky after the evening on the ward. At home it never is.",
            f"What went wrong with the insulin of {animal}? The plan that we were given was a good one.",
            f"{owner.agent_id} wants to know why {animal} came home trembling from a night with us.",
        )

    def operation(self, animal: str, kit: str, rng: random.Random, planned: bool = False) -> None:
        """Operate, clean up, and send home; an animal that comes home with a fever is a symptom."""
        case, vet, op = self.case, rng.choice(self.vets), self.next()
        nurse, owner = rng.choice(self.nurses), self.owners[ANIMALS[animal][0]]
        wound = vet.operate(op, animal, rng.choice(OPERATIONS), kit)
        load = self.next()
        nurse.wash(kit, load)
        if planned and case.strikes("omitted_step", self.now):
            case.root(call(nurse.agent_id, "wash", load=load), call(nurse.agent_id, "shelve", load=load))
        else:
            nurse.autoclave(kit, load)
        nurse.shelve(kit, load)
        owner.take_home(op, animal, "feverish" if wound == "warm" else "drowsy")
        if wound == "clean":
            return
        case.trigger(call(vet.agent_id, "operate", op=op))
        case.hop(call(vet.agent_id, "operate", op=op))
        case.symptom(
            call(owner.agent_id, "take_home", number=op),
            f"{animal} came home with a fever and a wound that wept. Where did the infection come from?",
            f"{owner.agent_id} reports that the wound of {animal} is infected. Why?",
            f"Why did {animal} get a fever after a small operation? Nobody else did.",
            f"{owner.agent_id} asks us to find out how germs got into a routine operation.",
        )

    def planned(self, now: int) -> None:
        """Do what the plan has for this day."""
        case, rng = self.case, self.case.rng(f"plan {now}")
        need = {"morning": 9, "evening": 3}
        if now == self.begin:
            if case.has("stale_cache"):
                self.real[self.pet] = round(0.68 * self.real[self.pet], 1)
                case.root(call("cards", "write_weight", weighing=self.weigh(self.pet, "table", rng)))
            if case.has("wrong_unit"):
                case.root(call("cards", "write_weight", weighing=self.weigh(self.pet, "yard", rng)))
            if case.has("omitted_step"):
                self.operation(self.pet, self.kit, rng, planned=True)
            if case.has("swapped_fields"):
                stay = self.next()
                owner = self.owners[ANIMALS[self.diabetic][0]]
                owner.hand_in_plan(stay, self.diabetic, self.end, need)
                morning, evening = need["morning"], need["evening"]
                if case.strikes("swapped_fields", now):
                    morning, evening = evening, morning
                self.reception.book_stay(stay, self.diabetic, self.end, morning, evening)
                case.root(call("reception", "book_stay", stay=stay))
                self.planned_stay, self.needs[stay] = stay, need
        if now == self.end:
            if case.has("stale_cache") or case.has("wrong_unit"):
                self.medicate(self.pet, rng.choice(sorted(BY_WEIGHT)), rng)
            if case.has("omitted_step"):
                self.operation(self.diabetic, self.kit, rng)
            if case.has("swapped_fields"):
                self.stay(self.planned_stay, self.diabetic, rng)

    def everyday(self, now: int) -> None:
        """See patients, operate, keep animals over night, and do chores."""
        rng = self.case.rng(f"day {now}")
        others = [name for name in ANIMALS if name not in (self.pet, self.diabetic)]
        for _ in range(rng.randint(1, 2)):
            animal, vet, visit = rng.choice(sorted(ANIMALS)), rng.choice(self.vets), self.next()
            vet.examine(visit, animal, rng.choice(("limps", "scratches", "check", "vaccine", "off its food")))
            if rng.random() < 0.4 and animal in others:
                self.weigh(animal, rng.choice(("table", "floor", "yard")), rng, rng.random() < 0.8)
            if rng.random() < 0.5:
                drugs = {**BY_WEIGHT, **FIXED} if animal in others else FIXED
                self.medicate(animal, rng.choice(sorted(drugs)), rng)
            self.reception.take_payment(visit, rng.randrange(3000, 15000, 50))
        if rng.random() < 0.4:
            waits = self.case.has("omitted_step") and self.begin <= now <= self.end
            free = [kit for kit in KITS if not (waits and kit == self.kit)]
            self.operation(rng.choice(others), rng.choice(free), rng)
        if rng.random() < 0.25:
            rng.choice(self.nurses).wash(rng.choice(("clippers", "rasps")), self.next())
        if rng.random() < 0.35:
            stay, animal = self.next(), rng.choice(others)
            need = {"morning": rng.randint(3, 8), "evening": rng.randint(3, 8)}
            self.owners[ANIMALS[animal][0]].hand_in_plan(stay, animal, now, need)
            self.reception.book_stay(stay, animal, now, need["morning"], need["evening"])
            self.needs[stay] = need
            self.stay(stay, animal, rng)
        if rng.random() < 0.2:
            self.reception.set_display(
                rng.choice(("chairs", "radio", "poster", "opening")), rng.randint(1, 20)
            )
        if rng.random() < 0.05:
            self.desk.error("the boiler locked out, reset by hand")
        if now == self.case.decoy_at:
            self.desk.warning(
                f"power was off for a minute while {self.pet} and {self.diabetic} were in the house"
            )

    def play(self) -> None:
        """Play all days."""
        for now in range(self.days):
            self.now = now
            with tick(now):
                if now == 0:
                    first = self.case.rng("first")
                    for animal in ANIMALS:
                        self.weigh(animal, first.choice(("table", "floor", "yard")), first)
                self.everyday(now)
                self.planned(now)


def play(case: Case) -> None:
    """Play a case."""
    Practice(case).play()


WORLD = World(
    "vetpractice",
    "spans",
    ("stale_cache", "wrong_unit", "omitted_step", "swapped_fields"),
    play,
    18,
)
