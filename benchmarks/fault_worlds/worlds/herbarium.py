"""A herbarium: sheets are entered, frozen, moved and read, and old collectors are told apart.

Decorated methods call each other; a tick is a working day, whose jobs come in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

CABINETS = tuple(f"{hall}{number}" for hall in "ABCD" for number in range(1, 8))
READERS = ("Dr Castellanos", "Mr Whitlock", "Priya", "Professor Udo", "the Falk sisters")
GENERA = ("Carex", "Draba", "Gentiana", "Luzula", "Orchis", "Salix", "Viola")
REGISTRAR, DESK, PORTER, COLD_ROOM, FIELD = (
    "Ms Okafor",
    "reading room",
    "Lindgren",
    "Dr Pham",
    "field botanist Ruiz",
)


class Person:
    """Somebody who works in the house."""

    agent_role = "staff"

    def __init__(self, agent_id: str, house: House) -> None:
        self.agent_id, self._house = agent_id, house

    def trace_state(self) -> dict[str, Any]:
        """Return what is recorded of a person: little."""
        return {"name": self.agent_id}


class Registrar(Person):
    """Keeps the catalogue: where sheets lie, where plants grew, who collected them."""

    agent_role = "registrar"

    def __init__(self, agent_id: str, house: House) -> None:
        super().__init__(agent_id, house)
        self.places: dict[str, str] = {}
        self.squares: dict[str, tuple[int, int]] = {}
        self.years: dict[str, list[int]] = {}

    @trace_agent_action()
    def locate(self, sheet: str, slip: str) -> str:
        """Say where a sheet lies."""
        return self.places[sheet]

    @trace_agent_action()
    def move_sheet(self, sheet: str, cabinet: str, job: str) -> str:
        """Have a sheet carried elsewhere, and the card in the reading room torn up if there is one."""
        house, old = self._house, self.places[sheet]
        house.porter.carry(sheet, cabinet, job)
        self.places[sheet] = cabinet
        is_mine = job == house.mine and house.case.has("stale_cache")
        if is_mine:
            house.case.root(call(self.agent_id, "move_sheet", job=job), call(PORTER, "carry", job=job))
        if sheet in house.desk.cards and not (is_mine and house.case.strikes("stale_cache", house.day)):
            house.desk.drop_card(sheet)
        return f"{old} to {cabinet}"

    @trace_agent_action()
    def read_label(self, sheet: str, first: int, second: int, *, columns_first: bool) -> dict[str, int]:
        """Read the two numbers of a grid square off a label; some collectors wrote the column first."""
        house = self._house
        row, column = self.turn_round(sheet, first, second) if columns_first else (first, second)
        if sheet == house.mine and house.case.strikes("swapped_fields", house.day):
            row, column = column, row
        return self.enter(sheet, row, column)

    @trace_agent_action()
    def turn_round(self, sheet: str, first: int, second: int) -> tuple[int, int]:
        """Put the row first."""
        return second, first

    @trace_agent_action()
    def enter(self, sheet: str, row: int, column: int) -> dict[str, int]:
        """Enter a grid square into the catalogue."""
        self.squares[sheet] = row, column
        return {"row": row, "column": column}

    @trace_agent_action()
    def compare_hands(self, one: str, other: str, job: str, *, alike: bool) -> str:
        """Compare how two collectors wrote; join their names if the hand is the same."""
        if alike:
            return self.join_names(one, other, job)
        return self.keep_apart(one, other, job)

    @trace_agent_action()
    def join_names(self, one: str, other: str, job: str) -> str:
        """Take two names for one collector."""
        self.years[one] = sorted(self.years[one] + self.years[other])
        return one

    @trace_agent_action()
    def keep_apart(self, one: str, other: str, job: str) -> str:
        """Note that two names are two collectors."""
        return f"{one} is not {other}"

    @trace_agent_action()
    def list_years(self, collector: str, slip: str) -> list[int]:
        """List the years in which a collector was out."""
        return self.years[collector]


class Desk(Person):
    """Hands out sheets, and keeps a card for each that was asked for."""

    agent_role = "desk"

    def __init__(self, agent_id: str, house: House) -> None:
        super().__init__(agent_id, house)
        self.cards: dict[str, str] = {}

    @trace_agent_action()
    def take_slip(self, sheet: str, slip: str) -> str:
        """Look for the card, else in the catalogue, and send the porter."""
        if sheet not in self.cards:
            self.cards[sheet] = self._house.registrar.locate(sheet, slip)
        return self._house.porter.fetch(sheet, self.cards[sheet], slip)

    @trace_agent_action()
    def show_travels(self, collector: str, slip: str) -> list[int]:
        """Write out the years of a collector."""
        return self._house.registrar.list_years(collector, slip)

    @trace_agent_action()
    def print_map(self, sheet: str, slip: str) -> tuple[int, int]:
        """Print the square of a sheet on a map."""
        return self._house.registrar.squares[sheet]

    @trace_agent_action()
    def drop_card(self, sheet: str) -> None:
        """Tear up a card."""
        self.cards.pop(sheet, None)


class Porter(Person):
    """Carries sheets."""

    agent_role = "porter"

    @trace_agent_action()
    def carry(self, sheet: str, cabinet: str, job: str) -> str:
        """Put a sheet into another cabinet."""
        self._house.lies_in[sheet] = cabinet
        return cabinet

    @trace_agent_action()
    def fetch(self, sheet: str, cabinet: str, slip: str) -> str:
        """Fetch a sheet from where it should be."""
        house = self._house
        if house.lies_in[sheet] != cabinet:
            return "empty folder"
        since = house.beetles.get(cabinet)
        return "eaten" if since is not None and house.day - since >= house.hatching else "sheet"


class ColdRoom(Person):
    """Unpacks what comes back from loans and freezes it, because of the beetles."""

    agent_role = "conservator"

    @trace_agent_action()
    def take_in(self, parcel: str, cabinet: str, content: str) -> str:
        """Unpack, freeze, file; slides behind glass need no frost."""
        house = self._house
        self.unpack(parcel, content)
        is_mine = parcel == house.mine and house.case.has("omitted_step")
        if is_mine:
            house.case.root(
                call(self.agent_id, "file_away", parcel=parcel), call(self.agent_id, "unpack", parcel=parcel)
            )
        if content != "slides" and not (is_mine and house.case.strikes("omitted_step", house.day)):
            self.freeze(parcel, 72)
        self.file_away(parcel, cabinet)
        return cabinet

    @trace_agent_action()
    def unpack(self, parcel: str, content: str) -> str:
        """Cut the string."""
        if content != "slides" and self._house.case.rng(f"insects/{parcel}").random() < 0.3:
            self._house.crawling.add(parcel)
        if parcel == self._house.mine:
            self._house.crawling.add(parcel)
        return content

    @trace_agent_action()
    def freeze(self, parcel: str, hours: int) -> int:
        """Kill whatever is in it."""
        self._house.crawling.discard(parcel)
        return -30

    @trace_agent_action()
    def file_away(self, parcel: str, cabinet: str) -> str:
        """Put the sheets of a parcel back."""
        if parcel in self._house.crawling:
            self._house.beetles.setdefault(cabinet, self._house.day)
        return cabinet


class Reader(Person):
    """Asks for sheets and for collectors."""

    agent_role = "reader"

    @trace_agent_action()
    def ask_for(self, sheet: str, slip: str) -> str:
        """Hand in a slip and look at what comes."""
        return self.look_at(slip, self._house.desk.take_slip(sheet, slip))

    @trace_agent_action()
    def look_at(self, slip: str, got: str) -> str:
        """Look at a sheet with a lens."""
        return got

    @trace_agent_action()
    def follow_collector(self, collector: str, slip: str) -> str:
        """Check the travels of a collector against what the family Bible says."""
        born, died = self._house.lives[collector]
        years = self._house.desk.show_travels(collector, slip)
        return "plausible" if all(born < year <= died for year in years) else "after death"


class Botanist(Person):
    """Goes to where a plant was found a hundred years ago."""

    agent_role = "botanist"

    @trace_agent_action()
    def walk_to(self, sheet: str, slip: str) -> str:
        """Walk to the square that the catalogue names."""
        grew, told = self._house.grew[sheet], self._house.desk.print_map(sheet, slip)
        return "found it" if self.look_around(sheet, *told) == grew else "car park"

    @trace_agent_action()
    def look_around(self, sheet: str, row: int, column: int) -> tuple[int, int]:
        """Search a square."""
        return row, column


class House:
    """The house, what is true in it, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.day, self.last = case, 0, case.seed % 700
        self.days = case.rng("days").choice((35, 70, 120, 170))
        case.window(self.days, 1)
        self.hatching = case.end - case.begin
        self.registrar, self.desk = Registrar(REGISTRAR, self), Desk(DESK, self)
        self.porter, self.cold_room = Porter(PORTER, self), ColdRoom(COLD_ROOM, self)
        self.field = Botanist(FIELD, self)
        self.readers = {name: Reader(name, self) for name in READERS}
        self.lies_in: dict[str, str] = {}
        self.grew: dict[str, tuple[int, int]] = {}
        self.lives: dict[str, tuple[int, int]] = {}
        self.beetles: dict[str, int] = {}
        self.crawling: set[str] = set()
        rng = case.rng("plan")
        for number in range(120):
            sheet = f"{rng.choice(GENERA)} {number + 101}"
            self.lies_in[sheet] = self.registrar.places[sheet] = rng.choice(CABINETS)
        for number in range(24):
            name, born = (
                f"{rng.choice('ABCEFGHJLM')}. {rng.choice(('Berg', 'Holm', 'Lind', 'Strand'))} ({number})",
                0,
            )
            born = rng.randint(1780, 1850)
            self.lives[name] = born, born + rng.randint(45, 70)
            self.registrar.years[name] = sorted(
                rng.randint(born + 20, born + 45) for _ in range(rng.randint(3, 7))
            )
        self.sheet, self.mine = rng.choice(sorted(self.lies_in)), "?"
        self.cabinet = self.lies_in[self.sheet]
        self.reader, self.names = self.readers[rng.choice(READERS)], ("O. Sund", "Olga Sund")
        self.lives.update({"O. Sund": (1801, 1859), "Olga Sund": (1874, 1941)})
        self.registrar.years.update({"O. Sund": [1824, 1826, 1833], "Olga Sund": [1899, 1903, 1912, 1920]})

    def number(self, letter: str) -> str:
        """Return the next number of a slip, a job or a parcel."""
        self.last += 1
        return f"{letter}{self.last:04}"

    def ask(self, reader: Reader, sheet: str) -> None:
        """Let a reader ask for a sheet."""
        case, slip = self.case, self.number("S")
        if self.day == case.end and sheet == self.sheet:
            case.trigger(call(reader.agent_id, "ask_for", slip=slip))
        got = reader.ask_for(sheet, slip)
        if got == "sheet":
            return
        case.hop(call(DESK, "take_slip", slip=slip), call(PORTER, "fetch", slip=slip))
        seen = call(reader.agent_id, "look_at", slip=slip)
        if got == "eaten":
            case.symptom(
                seen,
                f"There is nothing left of {sheet} but the pins and some dust",
                f"{reader.agent_id} opened a folder full of holes and little brown larvae",
                "The leaves that I drew last summer have been eaten! How could you let this happen?",
            )
        else:
            case.symptom(
                seen,
                f"I have come from Chile for {sheet}, and they brought me an empty folder",
                f"{reader.agent_id} waited the whole morning for a type specimen that cannot be found",
                "Slip handed in, folder received, plant missing. Has it been stolen?",
            )

    def follow(self, reader: Reader, collector: str) -> None:
        """Let a reader follow a collector."""
        case, slip = self.case, self.number("S")
        if reader.follow_collector(collector, slip) != "plausible":
            case.hop(call(DESK, "show_travels", slip=slip), call(REGISTRAR, "list_years", slip=slip))
            case.symptom(
                call(reader.agent_id, "follow_collector", slip=slip),
                "My great-grandfather is said to have picked flowers half a century after his funeral",
                f"The travels of {collector} make no sense, nobody is on the road at the age of a hundred",
                f"{reader.agent_id} found finds of a dead man in the printed itinerary",
            )

    def walk(self, sheet: str) -> None:
        """Let the botanist look for a plant."""
        case, slip = self.case, self.number("S")
        if self.field.walk_to(sheet, slip) != "found it":
            case.hop(call(DESK, "print_map", slip=slip))
            case.symptom(
                call(FIELD, "walk_to", slip=slip),
                f"I was to revisit the place of {sheet} and stood on asphalt, thirty kilometres from any bog",
                "The spot on the printout is in the middle of a town. Nothing of the kind ever grew there.",
                f"No trace of {sheet} where it should be, and the soil is quite wrong for it",
            )

    def label(self, sheet: str) -> None:
        """Have the label of a new sheet read."""
        rng = self.case.rng(f"label/{sheet}")
        row = rng.randint(11, 58)
        column = rng.choice([one for one in range(11, 59) if abs(one - row) > 3])
        self.grew[sheet] = row, column
        columns_first = rng.random() < 0.35
        first, second = (column, row) if columns_first else (row, column)
        self.registrar.read_label(sheet, first, second, columns_first=columns_first)

    def begin(self) -> None:
        """Do what the case is about, well or badly."""
        case = self.case
        self.mine = self.number("P")
        if case.has("stale_cache"):
            others = [one for one in CABINETS if one != self.registrar.places[self.sheet]]
            self.registrar.move_sheet(self.sheet, case.rng("to").choice(others), self.mine)
        elif case.has("omitted_step"):
            self.cold_room.take_in(self.mine, self.cabinet, "sheets")
        elif case.has("swapped_fields"):
            self.mine = f"Drosera {self.mine[1:]}"
            case.root(
                call(REGISTRAR, "enter", sheet=self.mine), call(REGISTRAR, "read_label", sheet=self.mine)
            )
            self.label(self.mine)
        else:
            case.root(call(REGISTRAR, "compare_hands", job=self.mine))
            alike = case.strikes("wrong_merge", self.day)
            if alike:
                case.root(call(REGISTRAR, "join_names", job=self.mine))
            self.registrar.compare_hands(*self.names, self.mine, alike=alike)

    def end(self) -> None:
        """Let somebody come upon it."""
        if self.case.has("wrong_merge"):
            self.follow(self.reader, self.names[0])
        elif self.case.has("swapped_fields"):
            self.walk(self.mine)
        else:
            self.ask(self.reader, self.sheet)

    def jobs(self) -> list[Callable[[], object]]:
        """Return what is to be done today, in any order."""
        case, rng = self.case, self.case.rng(f"day/{self.day}")
        free = [one for one in sorted(self.lies_in) if one != self.sheet]
        names = [one for one in sorted(self.lives) if one not in self.names and "var." not in one]
        todo: list[Callable[[], object]] = []
        todo += [
            partial(self.ask, self.readers[rng.choice(READERS)], rng.choice(free))
            for _ in range(rng.randint(2, 4))
        ]
        for _ in range(rng.randint(0, 2)):
            job = self.number("P")
            todo.append(partial(self.registrar.move_sheet, rng.choice(free), rng.choice(CABINETS), job))
        if rng.random() < 0.6:
            content, cabinet = rng.choice(("sheets", "sheets", "slides", "mosses")), rng.choice(CABINETS)
            todo.append(partial(self.cold_room.take_in, self.number("P"), cabinet, content))
        todo += [
            partial(self.label, f"{rng.choice(GENERA)} {self.number('1')}") for _ in range(rng.randint(0, 2))
        ]
        if rng.random() < 0.4 or self.day == case.decoy_at:
            todo.append(partial(self.compare, rng.choice(names), alike=rng.random() < 0.5))
        if rng.random() < 0.5:
            todo.append(partial(self.follow, self.readers[rng.choice(READERS)], rng.choice(names)))
        if rng.random() < 0.5 and (known := sorted(set(self.grew) - {self.mine})):
            todo.append(partial(self.walk, rng.choice(known)))
        if rng.random() < 0.3:
            name = rng.choice(("humidity", "lamp", "glue", "opening_hour"))
            todo.append(partial(self.chore, name, rng.randint(3, 60)))
        rng.shuffle(todo)
        return todo

    def compare(self, one: str, *, alike: bool) -> None:
        """Compare a collector with a new spelling, or with another collector of that age."""
        other = f"{one} var. {self.number('V')}"
        born, _ = self.lives[one]
        years = [self.case.rng(f"years/{other}").randint(born + 20, born + 44) for _ in range(2)]
        self.registrar.years[other] = years
        self.registrar.compare_hands(one, other, self.number("P"), alike=alike)

    def chore(self, name: str, value: int) -> None:
        """Change something of no importance, or mend something."""
        SystemLogger("house").log_config(name, 10, value)
        if value % 3 == 0:
            AgentLogger(PORTER, "porter").warning("lift stuck, took the stairs", {"floor": value % 4})

    def run(self) -> None:
        """Play all days."""
        case = self.case
        if case.has("stale_cache"):
            with tick(0):
                self.ask(self.reader, self.sheet)
        for day in range(1, self.days):
            self.day = day
            with tick(day):
                todo = self.jobs()
                at = case.rng(f"at/{day}").randint(0, len(todo))
                for job in todo[:at]:
                    job()
                if day == case.begin:
                    self.begin()
                if day == case.end:
                    self.end()
                if day == case.decoy_at:
                    AgentLogger(DESK, "desk").error(
                        "card box fell from the table, put in order again", {"cards": 31}
                    )
                for job in todo[at:]:
                    job()


def play(case: Case) -> None:
    """Play some months."""
    House(case).run()


FAULTS = ("stale_cache", "wrong_merge", "omitted_step", "swapped_fields")
WORLD = World("herbarium", "spans", FAULTS, play, 30)
