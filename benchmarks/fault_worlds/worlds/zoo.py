"""A zoo: diet cards, crates from the kitchen, vials, spare lamps on shelves, generators under test, and a cold store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

HOUSES = {
    "reptile_house": ("monitor", "boa"),
    "ape_hall": ("gibbon", "macaque"),
    "cat_rocks": ("serval", "lynx"),
    "bird_hall": ("hornbill", "turaco"),
    "night_house": ("loris", "galago"),
}
KEEPERS = ("keeper_ann", "keeper_bela", "keeper_cato", "keeper_dot")
FRUITS, RARE_FRUIT = ("pears", "grapes", "figs", "plums"), "apples"
STRENGTHS_MG_PER_ML = (10, 20, 50)
COLD_STORE_KILOS = 600


class Animal:
    """An animal; its condition is what a keeper sees in the evening."""

    def __init__(self, name: str, kilos: float, cannot_stand: str = "") -> None:
        self.name, self.kilos, self.cannot_stand, self.condition = name, kilos, cannot_stand, "well"

    def eat(self, fruit: str, grams: int, day: int) -> None:
        """Eat a meal."""
        if fruit == self.cannot_stand:
            self.condition = "poorly"

    def be_given(self, vial: str, millilitres: float, day: int) -> None:
        """Be given something from a vial."""

    def feel(self, condition: str) -> None:
        """Change condition."""
        self.condition = condition


class House:
    """A house with a lamp, a shelf of spare parts and a generator."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shelf: list[str] = []
        self.faulty = False

    def put_on_shelf(self, part: str) -> None:
        """Put a spare part on the shelf."""
        self.shelf.append(part)

    def take_off_shelf(self, part: str) -> bool:
        """Take a spare part off the shelf, if it is there."""
        if part not in self.shelf:
            return False
        self.shelf.remove(part)
        return True

    def start_generator(self, test: int) -> int:
        """Start the generator; return its speed."""
        if self.faulty:
            raise RuntimeError("generator turned over three times and stopped")
        return 1480 + test % 40

    def repair_generator(self, test: int) -> None:
        """Change the fuel filter."""
        self.faulty = False


class Records:
    """The diet cards."""

    def __init__(self, animals: list[str]) -> None:
        self.name = "records"
        self.cards: dict[str, dict[str, Any]] = {name: {"grams": 400, "never": []} for name in animals}

    def open_card(self, animal: str, reader: str) -> dict[str, Any]:
        """Return a copy of a card."""
        card = self.cards[animal]
        return {"grams": card["grams"], "never": list(card["never"])}

    def replace_card(self, animal: str, grams: int, never: list[str], edit: int) -> None:
        """Replace a card."""
        self.cards[animal] = {"grams": grams, "never": never}


class Official:
    """Somebody who edits cards: the curator or the vet; the vet also works with vials."""

    def __init__(self, name: str, records: Records) -> None:
        self.name, self.records = name, records

    def read_card(self, animal: str, edit: int) -> dict[str, Any]:
        """Read a card before changing it."""
        return self.records.open_card(animal, self.name)

    def write_card(self, animal: str, grams: int, never: list[str], edit: int) -> None:
        """Write a card back."""
        self.records.replace_card(animal, grams, never, edit)

    def dose(self, animal: Animal, milligrams: int, vial: str, strength: float, day: int) -> float:
        """Work out a dose from what the label says, and give it."""
        millilitres = round(milligrams / strength, 2)
        animal.be_given(vial, millilitres, day)
        return millilitres


class Pharmacy:
    """The pharmacy, which makes up vials and writes labels."""

    def __init__(self) -> None:
        self.name = "pharmacy"

    def label(self, vial: str, drug: str, strength: float) -> None:
        """Write the label of a vial."""


class Kitchen:
    """The kitchen, which packs crates by the cards and orders food."""

    def __init__(self, records: Records) -> None:
        self.name, self.records = "kitchen", records

    def pack(self, crate: int, animal: str, fruit: str) -> tuple[str, int]:
        """Pack a crate by the card of an animal; what it never gets is replaced."""
        card = self.records.open_card(animal, self.name)
        return ("pears" if fruit in card["never"] else fruit), card["grams"]

    def order(self, order: int, food: str, kilos: int, day: int) -> None:
        """Order food for a day."""


class ColdStore:
    """The cold store."""

    def __init__(self) -> None:
        self.name, self.kilos = "cold_store", 200

    def put_in(self, order: int, food: str, kilos: int) -> float:
        """Take a delivery in; return how cold it is afterwards."""
        self.kilos += kilos
        return -18.0 if self.kilos <= COLD_STORE_KILOS else -3.5

    def take_out(self, kilos: int) -> None:
        """Take food out."""
        self.kilos -= kilos


class Keeper:
    """A keeper."""

    def __init__(self, name: str) -> None:
        self.name = name

    def carry(self, crate: int, animal: Animal, fruit: str, grams: int, day: int) -> None:
        """Carry a crate to an animal."""
        animal.eat(fruit, grams, day)

    def store_part(self, part: str, house: House) -> None:
        """Store a spare part."""
        house.put_on_shelf(part)

    def fetch_part(self, part: str, house: House, day: int) -> bool:
        """Fetch a spare part when something broke."""
        return house.take_off_shelf(part)

    def test_generator(self, house: House, test: int) -> int:
        """Test a generator; a test that fails counts as no speed."""
        try:
            return house.start_generator(test)
        except RuntimeError:
            return 0

    def sign_test(self, house: str, test: int, verdict: str) -> None:
        """Sign the sheet of a test."""

    def evening_round(self, house: str, day: int, animals: list[str]) -> str:
        """Write down how the animals are."""
        return ", ".join(animals)

    def sweep(self, house: str) -> None:
        """Sweep a house."""


TRACED = {
    Animal: ("eat", "be_given", "feel"),
    House: ("put_on_shelf", "take_off_shelf", "start_generator", "repair_generator"),
    Records: ("open_card", "replace_card"),
    Official: ("read_card", "write_card", "dose"),
    Pharmacy: ("label",),
    Kitchen: ("pack", "order"),
    ColdStore: ("put_in", "take_out"),
    Keeper: (
        "carry",
        "store_part",
        "fetch_part",
        "test_generator",
        "sign_test",
        "evening_round",
        "sweep",
    ),
}


class Zoo:
    """The zoo, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("days")
        self.days = self.rng.randint(50, 100)
        self.begin, self.end = case.window(self.days)
        who = case.rng("who")
        self.house, self.other = who.sample(tuple(HOUSES), 2)
        self.animal = who.choice(HOUSES[self.house])
        names = [name for pair in HOUSES.values() for name in pair]
        self.animals = {name: Animal(name, who.randint(2, 30)) for name in names}
        self.animals[self.animal].cannot_stand = RARE_FRUIT
        self.houses = {name: House(name) for name in HOUSES}
        self.records = Records(names)
        self.vet, self.curator = Official("vet", self.records), Official("curator", self.records)
        self.pharmacy, self.kitchen, self.cold = Pharmacy(), Kitchen(self.records), ColdStore()
        self.keepers = [Keeper(name) for name in KEEPERS]
        self.due: dict[int, list[tuple[int, str, int]]] = {}
        self.gate = AgentLogger("front_gate", "gate")
        self.number = 700
        self.vial, self.strength, self.part = "", 20.0, ""

    def next(self) -> int:
        """Return a new running number."""
        self.number += 1
        return self.number

    def edit(self, who: Official, animal: str, never: str = "") -> None:
        """Read a card, change it and write it back."""
        number = self.next()
        card = who.read_card(animal, number)
        if never and never not in card["never"]:
            card["never"].append(never)
        who.write_card(animal, self.rng.randint(350, 480), card["never"], number)

    def fault(self, now: int) -> None:
        """Do what the plan has for the day on which the fault can begin."""
        case, rng = self.case, self.case.rng("plan")
        keeper = rng.choice(self.keepers)
        if case.has("lost_update"):
            one, two = self.next(), self.next()
            early = case.strikes("lost_update", now)
            old = self.vet.read_card(self.animal, one) if early else None
            card = self.curator.read_card(self.animal, two)
            self.curator.write_card(self.animal, card["grams"], [*card["never"], RARE_FRUIT], two)
            new = old or self.vet.read_card(self.animal, one)
            self.vet.write_card(self.animal, new["grams"] + 20, new["never"], one)
            case.root(call("vet", "write_card", edit=one), call("records", "replace_card", edit=one))
            case.root(call("vet", "read_card", edit=one))
        if case.has("wrong_unit"):
            self.vial = f"vial_{self.next()}"
            self.strength = self.strength / 10 if case.strikes("wrong_unit", now) else self.strength
            self.pharmacy.label(self.vial, "sedative", self.strength)
            case.root(call("pharmacy", "label", vial=self.vial))
        if case.has("misrouted_thing"):
            self.part = f"lamp_{self.next()}"
            house = self.other if case.strikes("misrouted_thing", now) else self.house
            keeper.store_part(self.part, self.houses[house])
            case.root(call(keeper.name, "store_part", part=self.part))
            case.root(call(house, "put_on_shelf", part=self.part))
        if case.has("swallowed_failure"):
            test = self.next()
            self.houses[self.house].faulty = True
            keeper.test_generator(self.houses[self.house], test)
            if case.strikes("swallowed_failure", now):
                keeper.sign_test(self.house, test, "runs")
            else:
                self.houses[self.house].repair_generator(test)
                keeper.sign_test(self.house, test, "repaired")
            case.root(call(keeper.name, "sign_test", test=test))
            case.root(call(self.house, "start_generator", test=test))
        if case.has("doubled_act"):
            first, second = self.next(), self.next()
            self.order(first, "herring", 260, self.end)
            if case.strikes("doubled_act", now):
                self.order(second, "herring", 260, self.end)
                case.root(call("kitchen", "order", order=second))

    def order(self, number: int, food: str, kilos: int, day: int) -> None:
        """Order food, which comes on its day."""
        self.kitchen.order(number, food, kilos, day)
        self.due.setdefault(day, []).append((number, food, kilos))

    def event(self, now: int) -> None:
        """Let happen what makes a fault matter; it happens with and without one."""
        case, rng, animal = self.case, self.case.rng("event"), self.animals[self.animal]
        keeper = rng.choice(self.keepers)
        if case.has("wrong_unit"):
            millilitres = self.vet.dose(animal, 30, self.vial, self.strength, now)
            case.hop(call("vet", "dose", vial=self.vial), call(animal.name, "be_given", vial=self.vial))
            animal.feel("drowsy" if millilitres < 5 else "poorly")
        if case.has("misrouted_thing"):
            case.trigger(self.gate.info(f"lamp out in {self.house}"))
            found = keeper.fetch_part(self.part, self.houses[self.house], now)
            case.hop(call(keeper.name, "fetch_part", part=self.part))
            case.hop(call(self.house, "take_off_shelf", part=self.part))
            animal.feel("well" if found else "poorly")
        if case.has("swallowed_failure"):
            case.trigger(self.gate.info(f"power cut at {self.house}, back after an hour"))
            test = self.next()
            speed = keeper.test_generator(self.houses[self.house], test)
            case.hop(call(keeper.name, "test_generator", test=test))
            animal.feel("well" if speed else "poorly")

    def meals(self, now: int) -> None:
        """Feed all animals."""
        rng = self.rng
        for name, animal in self.animals.items():
            crate, keeper = self.next(), rng.choice(self.keepers)
            rare = now == self.end and self.case.has("lost_update")
            drawn = rng.choice(FRUITS)
            fruit, grams = self.kitchen.pack(crate, name, RARE_FRUIT if rare else drawn)
            keeper.carry(crate, animal, fruit, grams, now)
            if rare and name == self.animal:
                self.case.hop(call("kitchen", "pack", crate=crate), call(keeper.name, "carry", crate=crate))
        if now == self.end and self.case.has("doubled_act"):
            crate, keeper = self.next(), rng.choice(self.keepers)
            keeper.carry(crate, self.animals[self.animal], "herring", 300, now)
            self.case.hop(call(keeper.name, "carry", crate=crate))
        used = rng.randint(20, 60)
        if self.cold.kilos > 150:
            self.cold.take_out(min(used, self.cold.kilos - 140))

    def deliveries(self, now: int) -> None:
        """Take in what comes today; hay goes to the barn."""
        for number, food, kilos in self.due.pop(now, []):
            if food == "hay":
                self.gate.log_action("barn", {"order": number, "kilos": kilos})
                continue
            degrees = self.cold.put_in(number, food, kilos)
            if degrees > -10:
                self.case.hop(call("cold_store", "put_in", order=number))
                self.animals[self.animal].cannot_stand = food

    def everyday(self, now: int) -> None:
        """Edit cards, label vials, store parts, test generators and order food that harms nobody."""
        rng, free = self.rng, [name for name in self.animals if name != self.animal]
        inside = self.begin <= now <= self.end
        for name in HOUSES:
            rng.choice(self.keepers).sweep(name)
        if rng.random() < 0.45:
            who = rng.choice((self.vet, self.curator))
            self.edit(who, rng.choice(free), rng.choice(("", "", "figs", "nuts")))
        if rng.random() < 0.1:
            self.clash(rng.choice(free))
        if rng.random() < 0.3:
            vial = f"vial_{self.next()}"
            drug, strength = "sedative", float(rng.choice(STRENGTHS_MG_PER_ML))
            if rng.random() < 0.3:
                drug, strength = "ointment", float(rng.choice((1, 2, 5)))
            self.pharmacy.label(vial, drug, strength)
            self.vet.dose(self.animals[rng.choice(free)], rng.randint(10, 40), vial, strength, now)
        if rng.random() < 0.3:
            part, house = f"{rng.choice(('lamp', 'hose', 'latch'))}_{self.next()}", rng.choice(tuple(HOUSES))
            rng.choice(self.keepers).store_part(part, self.houses[house])
            if rng.random() < 0.7:
                rng.choice(self.keepers).fetch_part(part, self.houses[house], now)
        if rng.random() < 0.4:
            house = rng.choice([name for name in HOUSES if name != self.house or not inside])
            self.test(house, rng.choice(self.keepers), rng.random() < 0.12)
        if rng.random() < 0.3:
            number, day = self.next(), now + rng.randint(1, 20)
            kilos = rng.randint(100, 300)
            self.order(number, "hay", kilos, day)
            if rng.random() < 0.25:
                self.order(self.next(), "hay", kilos, day)
        if rng.random() < 0.25 and not abs(now - self.end) <= 4:
            self.order(self.next(), "herring", rng.randint(30, 60), now + 1)
        if rng.random() < 0.2:
            self.animals[rng.choice(free)].feel(rng.choice(("well", "drowsy", "lively")))
        if rng.random() < 0.08:
            self.gate.info(f"{rng.choice(('coach', 'school class', 'power cut'))} at the main gate")
        if now == self.case.decoy_at:
            self.gate.warning(f"a balloon drifted over {self.house}, the animals looked up, nothing else")

    def test(self, name: str, keeper: Keeper, fails: bool) -> None:
        """Test a generator, and have it repaired if it does not run."""
        house, test = self.houses[name], self.next()
        house.faulty = fails
        if keeper.test_generator(house, test):
            keeper.sign_test(name, test, "runs")
        else:
            house.repair_generator(test)
            keeper.sign_test(name, test, "repaired")

    def clash(self, animal: str) -> None:
        """Let two people edit a card at a time; the second writes the same list that the first wrote."""
        one, two = self.next(), self.next()
        card, again = self.vet.read_card(animal, one), self.curator.read_card(animal, two)
        self.curator.write_card(animal, again["grams"], again["never"], two)
        self.vet.write_card(animal, card["grams"] + 10, card["never"], one)

    def evening(self, now: int) -> None:
        """Go round; an animal that is poorly is the symptom."""
        for name, pair in HOUSES.items():
            keeper = self.rng.choice(self.keepers)
            seen = [f"{one} {self.animals[one].condition}" for one in pair]
            keeper.evening_round(name, now, seen)
            for one in pair:
                if self.animals[one].condition != "poorly":
                    continue
                self.case.symptom(
                    call(keeper.name, "evening_round", house=name, day=now),
                    f"{one} lay in a corner on the evening of day {now} and would not move. What did we do to it?",
                    f"What made {one} ill? In the morning it had still been playing.",
                    f"An animal fell ill on day {now}, and the people on duty say that it was a normal day.",
                    "Visitors saw a sick animal and wrote to the paper. How could it come to that?",
                )

    def play(self) -> None:
        """Play all days."""
        for now in range(self.days):
            with tick(now):
                self.everyday(now)
                if now == self.begin:
                    self.fault(now)
                self.deliveries(now)
                self.meals(now)
                if now == self.end:
                    self.event(now)
                self.evening(now)


def play(case: Case) -> None:
    """Play a case."""
    with ExitStack() as stack:
        for owner, methods in TRACED.items():
            hidden = ("cannot_stand", "faulty", "records")
            stack.enter_context(
                instrument(owner, methods, agent_id="name", agent_role=owner.__name__.lower(), ignore=hidden)
            )
        Zoo(case).play()


WORLD = World(
    "zoo",
    "spans",
    ("lost_update", "wrong_unit", "misrouted_thing", "swallowed_failure", "doubled_act"),
    play,
    author=7,
)
