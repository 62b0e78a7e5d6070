"""An opera's surtitles: translators, an editor, cues and screens. Coroutines of plain classes, in a run; no ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, instrument
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

OPERAS = ("Norma", "Rusalka", "Otello", "Carmen", "Alcina", "Fidelio")
TRANSLATORS = ("Livia", "Piotr", "Noor", "Tove")
CUERS = ("Marta", "Ivo")
SCREENS = ("stalls_screen", "gallery_screen")
STARTS = "My heart|The night|Your letter|This house|The river|No king|Her shadow|An oath|The last rose|Our song".split(
    "|"
)
VERBS = "waits|is silent|betrays us|comes too late|knows me|forgives|will not sleep|burns|is forgotten|calls".split(
    "|"
)
ENDS = (
    "for ever|and so do I|like snow|at dawn|my child|for nothing|across the sea|once more|alas|in vain".split(
        "|"
    )
)


class Archive:
    """Keeps the book of each opera: the text of each slot."""

    def __init__(self, unsteady: set[str]) -> None:
        self.agent_id, self.unsteady = "archive", unsteady
        self.books: dict[str, dict[int, str]] = {}

    async def next_slot(self, opera: str) -> int:
        return max(self.books[opera]) + 1

    async def put(self, opera: str, slot: int, text: str) -> None:
        """Store a text; the first try may fail."""
        await asyncio.sleep(0)
        if text in self.unsteady:
            self.unsteady.discard(text)
            raise OSError("archive did not answer")
        self.books[opera][slot] = text

    async def insert(self, opera: str, slot: int, text: str) -> None:
        """Put a text in between; those from this slot on move up by one."""
        book = self.books[opera]
        self.books[opera] = {number + (number >= slot): old for number, old in book.items()} | {slot: text}

    async def book_of(self, opera: str) -> dict[int, str]:
        return dict(self.books[opera])


class Cuer:
    """Knows at which phrase which slot has to be shown, and gives the cues."""

    def __init__(self, name: str, cues: dict[str, dict[str, int]], screens: list[Screen]) -> None:
        self.agent_id, self.cues, self.screens, self.given = name, cues, screens, 0

    async def set_cue(self, opera: str, phrase: str, slot: int) -> None:
        self.cues[opera][phrase] = slot

    async def move_cues(self, opera: str, first: int, by: int) -> None:
        """Move all cues from a slot on."""
        cues = self.cues[opera]
        self.cues[opera] = {phrase: slot + by * (slot >= first) for phrase, slot in cues.items()}

    async def give_cue(self, opera: str, phrase: str) -> list[str]:
        self.given += 1
        return [await screen.show(opera, self.cues[opera][phrase]) for screen in self.screens]


class Screen:
    """Shows texts from its own copy of a book, until it is told to drop it."""

    def __init__(self, name: str, archive: Archive) -> None:
        self.agent_id, self.archive = name, archive
        self.copies: dict[str, dict[int, str]] = {}

    async def preload(self, opera: str) -> int:
        self.copies[opera] = await self.archive.book_of(opera)
        return len(self.copies[opera])

    async def drop(self, opera: str) -> bool:
        return self.copies.pop(opera, None) is not None

    async def show(self, opera: str, slot: int) -> str:
        if opera not in self.copies:
            await self.preload(opera)
        return self.copies[opera].get(slot, "")


class Translator:
    """Writes lines that are added to a book."""

    def __init__(self, name: str, archive: Archive, cuer: Cuer, hasty: set[str]) -> None:
        self.agent_id, self.archive, self.cuer, self.hasty = name, archive, cuer, hasty

    async def add_line(self, opera: str, phrase: str, text: str) -> str:
        """Write a line into the next free slot, and set its cue."""
        slot = await self.archive.next_slot(opera)
        await asyncio.sleep(0)
        recorder.record_model_call(
            call_id=f"check {phrase}", model_name="spelling-small", prompt=text, output="no mistakes"
        )
        try:
            await self.archive.put(opera, slot, text)
        except OSError:
            if phrase not in self.hasty:
                await self.archive.put(opera, slot, text)
        await self.cuer.set_cue(opera, phrase, slot)
        return "saved"


class Editor:
    """Corrects, inserts, and tells the screens that a book has changed."""

    def __init__(self, archive: Archive, cuer: Cuer, screens: list[Screen]) -> None:
        self.agent_id, self.archive, self.cuer = "Edith", archive, cuer
        self.screens = {screen.agent_id: screen for screen in screens}

    async def correct(self, note: str, opera: str, slot: int, text: str) -> None:
        await self.archive.put(opera, slot, text)

    async def insert_line(self, opera: str, phrase: str, slot: int, first: int, text: str) -> None:
        """Put a line in between, and move the cues that come after it."""
        await self.archive.insert(opera, slot, text)
        await self.cuer.move_cues(opera, first, 1)
        await self.cuer.set_cue(opera, phrase, slot)

    async def publish(self, opera: str, day: int, screens: list[str]) -> None:
        for name in screens:
            await self.screens[name].drop(opera)


@dataclass
class House:
    """The opera house, with the opera `mine` in which the plan of the case shows."""

    case: Case
    rng: Random
    used: set[str] = field(default_factory=set)
    right: dict[str, dict[str, str]] = field(default_factory=dict)
    phrases: int = 0
    notes: int = 0
    watched: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Build everything that acts, and the books as they are at first."""
        self.unsteady: set[str] = set()
        self.hasty: set[str] = set()
        self.archive = Archive(self.unsteady)
        self.screens = [Screen(name, self.archive) for name in SCREENS]
        cues: dict[str, dict[str, int]] = {}
        self.cuers = [Cuer(name, cues, self.screens) for name in CUERS]
        self.editor = Editor(self.archive, self.cuers[0], self.screens)
        self.staff = {
            name: Translator(name, self.archive, self.cuers[number % 2], self.hasty)
            for number, name in enumerate(TRANSLATORS)
        }
        self.director, self.door = (
            AgentLogger("stage_manager", "office"),
            AgentLogger("front_of_house", "office"),
        )
        for opera in OPERAS:
            lines = {self.phrase(): self.text() for _ in range(6)}
            self.right[opera] = dict(lines)
            self.archive.books[opera] = dict(enumerate(lines.values(), 1))
            cues[opera] = {phrase: slot for slot, phrase in enumerate(lines, 1)}
        self.mine = self.rng.choice(OPERAS)
        self.others = [opera for opera in OPERAS if opera != self.mine]
        self.pair = self.rng.sample(TRANSLATORS, 2)

    def phrase(self) -> str:
        """Name a phrase of the score that has no line yet."""
        self.phrases += 1
        return f"bar {self.phrases * 7 + 3}"

    def text(self) -> str:
        """Write a line that is not used anywhere else."""
        while True:
            text = " ".join(self.rng.choice(words) for words in (STARTS, VERBS, ENDS))
            if text not in self.used:
                self.used.add(text)
                return text

    def note(self, opera: str, phrase: str) -> tuple[str, str]:
        """The stage manager writes down how the director wants a line; return the note and the text."""
        self.notes += 1
        number, text = f"note {self.notes}", self.text()
        self.right[opera][phrase] = text
        self.director.log_action(
            "write_note", {"note": number, "opera": opera, "phrase": phrase, "text": text}
        )
        return number, text

    def new_line(self, opera: str) -> tuple[str, str]:
        """Choose a phrase that gets a line; return the phrase and the text."""
        phrase, text = self.phrase(), self.text()
        self.right[opera][phrase] = text
        if self.rng.random() < 0.08:
            self.unsteady.add(text)
        return phrase, text


async def _later(pause: int, work: Coroutine[object, object, object]) -> None:
    for _ in range(pause):
        await asyncio.sleep(0)
    await work


def _planned(house: House, now: int) -> list[Coroutine[object, object, None]]:
    """Return the work on the opera of the plan, which is not given again until the evening when it shows."""
    case, opera, cuer = house.case, house.mine, house.cuers[0]
    cues, (first, second) = cuer.cues[opera], house.pair
    phrase = house.rng.choice(list(cues)[:5])
    house.watched = [phrase]
    if case.has("race"):
        (one, text), (other, later) = house.new_line(opera), house.new_line(opera)
        house.watched = [one, other]
        case.root(call(second, "add_line", phrase=other), call(first, "add_line", phrase=one))
        case.root(call("archive", "put", opera=opera, text=later))
        return [
            _later(0, house.staff[first].add_line(opera, one, text)),
            _later(0 if case.strikes("race", now) else 12, house.staff[second].add_line(opera, other, later)),
        ]
    if case.has("swallowed_failure"):
        new, text = house.new_line(opera)
        house.unsteady.add(text)
        house.watched = [new]
        if case.strikes("swallowed_failure", now):
            house.hasty.add(new)
        case.root(call(first, "add_line", phrase=new), call("archive", "put", opera=opera, text=text))
        return [_later(0, house.staff[first].add_line(opera, new, text))]
    if case.has("off_by_one"):
        new, text = house.new_line(opera)
        slot = cues[phrase]
        moved = slot + 1 if case.strikes("off_by_one", now) else slot
        case.root(
            call("Edith", "insert_line", phrase=new),
            call(cuer.agent_id, "move_cues", opera=opera, first=moved),
        )
        case.hop(call(cuer.agent_id, "set_cue", phrase=new))
        return [_later(0, house.editor.insert_line(opera, new, slot, moved, text))]
    notes = [house.note(opera, phrase) for _ in range(2 if case.has("out_of_order") else 1)]
    pauses = [0, 6]
    if case.strikes("out_of_order", now):
        pauses.reverse()
    if case.has("out_of_order"):
        case.root(*(call("Edith", "correct", note=number) for number, _ in notes))
    else:
        case.root(call("Edith", "publish", opera=opera, day=now), call("Edith", "correct", note=notes[0][0]))
    slot = cues[phrase]
    return [
        _later(pause, house.editor.correct(number, opera, slot, text))
        for pause, (number, text) in zip(pauses, notes, strict=False)
    ]


async def _morning(house: House, now: int) -> None:
    """Everybody works on the books at the same time; then the screens are told what changed."""
    rng, case = house.rng, house.case
    free = house.others if case.begin <= now <= case.end else list(OPERAS)
    work: list[Coroutine[object, object, None]] = []
    touched: dict[str, list[str]] = {}
    for opera in rng.sample(free, 3):
        cues, staff, kind = house.cuers[0].cues[opera], rng.sample(TRANSLATORS, 2), rng.random()
        phrase = rng.choice(list(cues))
        if kind < 0.45 and len(cues) < 18:
            for pause, name in zip((0, 12), staff[: 1 if kind < 0.3 else 2], strict=False):
                work.append(_later(pause, house.staff[name].add_line(opera, *house.new_line(opera))))
        elif kind < 0.6 and len(cues) < 18:
            new, text = house.new_line(opera)
            slot = cues[phrase]
            work.append(_later(0, house.editor.insert_line(opera, new, slot, slot, text)))
            house.unsteady.discard(text)
        elif kind < 0.9:
            for pause in (0, 6)[: 1 if kind < 0.75 else 2]:
                number, text = house.note(opera, phrase)
                work.append(_later(pause, house.editor.correct(number, opera, cues[phrase], text)))
        else:
            continue
        touched[opera] = list(SCREENS)
    if now == case.begin:
        work += _planned(house, now)
        for screen in house.screens:
            await screen.preload(house.mine)
        touched[house.mine] = list(SCREENS)
        if case.strikes("stale_cache", now):
            touched[house.mine] = [SCREENS[0]]
    await asyncio.gather(*work)
    for opera, names in touched.items():
        held = [screen.agent_id for screen in house.screens if opera in screen.copies]
        short = (
            held if rng.random() < 0.3 and opera != house.mine else names
        )  # the others have no copy to drop
        await house.editor.publish(opera, now, short)


async def _evening(house: House, now: int) -> None:
    """Give an opera; guests leave cards with what they did not like."""
    rng, case = house.rng, house.case
    opera = house.mine if now == case.end else rng.choice(house.others)
    if now < case.begin and rng.random() < 0.2:
        opera = house.mine
    cuer, cues = house.cuers[rng.randrange(2)], house.cuers[0].cues[opera]
    phrases = set(rng.sample(list(cues), 5)) | (set(house.watched) if now == case.end else set())
    wrong, card, about = "", rng.random() < 0.3, rng.choice(("cold seats", "titles too small", "coughing"))
    for phrase in sorted(phrases, key=lambda name: int(name.split()[1])):
        shown = await cuer.give_cue(opera, phrase)
        if any(text != house.right[opera][phrase] for text in shown) and not wrong:
            wrong = phrase
            case.hop(call(cuer.agent_id, "give_cue", opera=opera, phrase=phrase))
    if wrong:
        event = house.door.warning("card from a guest", {"opera": opera, "about": "titles", "at": wrong})
        _complain(house, event, cuer.agent_id)
    elif card:
        house.door.warning("card from a guest", {"opera": opera, "about": about})


def _complain(house: House, event: str, cuer: str) -> None:
    """A guest or the director complains about the titles."""
    case = house.case
    if case.has("swallowed_failure"):
        texts = [
            "everybody around me waited for the translation and nothing came, just a dark stripe above the stage",
            f"one whole verse had no words at all. I thought {cuer} had fallen asleep",
        ]
    elif case.has("stale_cache"):
        texts = [
            "from the cheap seats we still read the joke that I had asked you to take out",
            "my friends below had other words than we had up here, was that meant to be funny",
            "the stalls_screen had the new wording and the balcony did not",
        ]
    elif case.has("out_of_order"):
        texts = [
            "I changed my mind about that verse twice, and tonight I had to read my first idea",
            f"why do I give notes at all? {cuer} showed a wording that I had already given up",
        ]
    else:
        texts = [
            "what stood above the stage had nothing to do with what she sang",
            f"the words came from some other place in the scene, did {cuer} lose the page",
            "people laughed in the saddest aria because of the words they were given to read",
        ]
    case.symptom(event, *texts)


def _chores(house: House, now: int) -> None:
    """Chores, settings and mishaps behind the stage."""
    rng = house.rng
    if rng.random() < 0.35:
        name = rng.choice(TRANSLATORS)
        AgentLogger(name, "Translator").log_action(
            rng.choice(("sharpen_pencils", "tidy_desk")), {"evening": now}
        )
    if rng.random() < 0.15:
        old = rng.randint(40, 60)
        house.director.log_action("set_display", {"brightness": old, "screen": rng.choice(SCREENS)})
    if rng.random() < 0.1:
        AgentLogger(rng.choice(CUERS), "Cuer").warning("headset crackles", {"minutes": rng.randint(1, 9)})
    if now == house.case.decoy_at:
        house.door.warning("soprano replaced", {"by": rng.choice(("A. Roth", "M. Silva", "J. Berg"))})


async def _season(house: House, evenings: int) -> None:
    with recorder.run("season", {"house": "municipal"}):
        for now in range(evenings):
            with recorder.step(f"day_{now}", "A day at the house"):
                _chores(house, now)
                await _morning(house, now)
                await _evening(house, now)


def play(case: Case) -> None:
    """Play a season."""
    evenings = case.rng("evenings").choice((14, 30, 60, 100))
    case.window(evenings)
    house = House(case, case.rng("house"))
    house.build()
    with ExitStack() as traced:
        traced.enter_context(
            instrument(Archive, ["next_slot", "put", "insert", "book_of"], ignore=["unsteady"])
        )
        traced.enter_context(
            instrument(Cuer, ["set_cue", "move_cues", "give_cue"], ignore=["cues", "screens"])
        )
        traced.enter_context(instrument(Screen, ["preload", "drop", "show"], ignore=["archive"]))
        traced.enter_context(instrument(Translator, ["add_line"], ignore=["archive", "cuer", "hasty"]))
        traced.enter_context(
            instrument(Editor, ["correct", "insert_line", "publish"], ignore=["archive", "cuer", "screens"])
        )
        asyncio.run(_season(house, evenings))


WORLD = World(
    "surtitles",
    "spans",
    ("race", "stale_cache", "off_by_one", "swallowed_failure", "out_of_order"),
    play,
    author=10,
)
