"""A crossword magazine: setters, an editor, checkers, a typesetter, the press, a prize clerk and the subscriptions desk."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from Agent import AgentLogger
from benchmarks.fault_worlds.kit import Case, World

SETTERS = ("Quillon", "Marrow", "Tansy", "Obelisk", "Pewter", "Hobnail")
CHECKERS = ("checker-hal", "checker-uma")
SOLVERS = ("D. Pryce", "M. Hale", "R. Okafor", "S. Lindqvist", "T. Moreau", "V. Szabo", "W. Ames", "Y. Kato")
TOWNS = ("Ely", "Frome", "Hexham", "Kelso", "Ludlow", "Oban", "Stroud", "Totnes")
CLUES = ("Flower of London", "Gegs", "Bar of soap", "Half a dance", "Odd bits of choir", "Ring a nurse")
SLOTS = tuple(f"{number}{way}" for number in range(1, 29) for way in ("A", "D"))
CHORES = (("sharpen-pencils", "boxes"), ("sort-dictionaries", "volumes"), ("water-ficus", "cups"))
HOUR = 60


class Office:
    """The queue of things to happen, the clock, and what lies on the desks."""

    def __init__(self, case: Case, steps: int) -> None:
        self.case, self.rng, self.steps = case, case.rng("office"), steps
        self.queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.minute = self.entries = 0
        self.serial = 500 + case.seed % 7000
        self.loggers: dict[str, AgentLogger] = {}
        self.file: dict[str, dict[str, str]] = {}
        self.want: dict[tuple[str, str], str] = {}
        self.credit: dict[str, int] = {}
        self.address: dict[str, str] = {}
        self.name: dict[str, str] = {}
        self.same: dict[str, str] = {}
        self.puzzle, self.slot = "", self.rng.choice(SLOTS)
        self.reader = self.twin = self.double = ""
        self.posts: list[int] = []
        self.paid = 0

    def at(self, minute: int, what: Callable[..., None], *args: Any) -> None:
        """Put something into the queue."""
        self.entries += 1
        heapq.heappush(self.queue, (minute, self.entries, what, args))

    def step(self, number: int) -> int:
        """Return the minute at which a step of four hours begins."""
        return number * 4 * HOUR

    def ref(self, prefix: str) -> str:
        """Return the next reference."""
        self.serial += self.rng.randint(1, 2)
        return f"{prefix}{self.serial:05d}"

    def log(self, who: str, what: str, **data: Any) -> str:
        """Record an act with the time on the clock."""
        if who not in self.loggers:
            self.loggers[who] = AgentLogger(who, who.partition("-")[0])
        day, rest = divmod(self.minute, 24 * HOUR)
        return self.loggers[who].log_action(what, {"at": f"{day}d{rest // 60:02d}:{rest % 60:02d}", **data})

    def run(self) -> None:
        """Let everything happen."""
        while self.queue:
            self.minute, _, what, args = heapq.heappop(self.queue)
            what(self, *args)


TEXTS = {
    "clue": (
        "The clue {slot} in puzzle {puzzle} was printed as '{shown}', we had put that right weeks ago",
        "{count} letters about {slot} of {puzzle}. Why was the old wording printed, postbag is overflowing",
        "press printed '{shown}' at {slot}, which nobody can solve",
    ),
    "order": (
        "{puzzle}: the setter's last version of {slot} is not what stands in the paper",
        "The postbag brings {count} letters on {slot}, it reads '{shown}' and should be '{right}'",
        "we printed '{shown}' in {puzzle} although a better wording had come after it",
    ),
    "credit": (
        "{who} has paid for {many} numbers and did not get the last one",
        "my subscription ended one issue too early, reader {reader}",
        "why did dispatch-bay leave {who} out this time? There was one number to come",
    ),
    "prize": (
        "{who} of {town} won the prize and never got it, they say it went to {other}",
        "the dictionary for reader {reader} was posted to {other}, where nobody of that kind solves with us",
        "dispatch-bay sent the prize of {who} to the wrong town",
    ),
}


def complain(o: Office, event: str, about: str, **words: Any) -> None:
    """Note what a reader or a colleague writes."""
    o.case.symptom(event, *(text.format(**words) for text in TEXTS[about]))


# Puzzles: sent in, checked, corrected, set and printed.


def send_in(o: Office, puzzle: str, setter: str, printed: int) -> None:
    """Take a new puzzle in."""
    slots = o.rng.sample([slot for slot in SLOTS if slot != o.slot], 3)
    slots += [o.slot] * (puzzle == o.puzzle)
    o.file[puzzle] = {slot: o.rng.choice(CLUES) for slot in slots}
    o.log(f"setter-{setter}", "send-puzzle", puzzle=puzzle, clues=dict(o.file[puzzle]))
    o.log("editor", "accept", puzzle=puzzle, number=printed)
    o.at(o.minute + o.rng.randint(20, 200), correct, puzzle, slots[0], o.rng.choice(CHECKERS))
    o.at(o.step(printed) + 30, print_puzzle, puzzle)


def correct(o: Office, puzzle: str, slot: str, checker: str) -> None:
    """Open the file of a puzzle, change one clue, and save all of it."""
    copy = dict(o.file[puzzle])
    o.log("editor", "pass-on", puzzle=puzzle, to=[checker])
    o.log(checker, "open-file", puzzle=puzzle, clues=copy)
    copy[slot] += "?"
    o.at(o.minute + o.rng.randint(4, 15), save, puzzle, checker, copy)


def save(o: Office, puzzle: str, checker: str, clues: dict[str, str]) -> None:
    """Save a file as it is on the screen."""
    o.file[puzzle] = dict(clues)
    saved = o.log(checker, "save-file", puzzle=puzzle, clues=dict(clues))
    proof = o.log("typesetter", "fetch-proof", puzzle=puzzle, clues=len(clues))
    if o.case.has("lost_update") and (puzzle, o.slot) in o.want:
        o.case.root(saved)
        o.case.hop(proof)


def two_checkers(o: Office) -> None:
    """Let both checkers work on the puzzle of the case, one after the other."""
    o.log("editor", "pass-on", puzzle=o.puzzle, to=list(CHECKERS))
    early = o.case.strikes("lost_update")
    second = next(slot for slot in o.file[o.puzzle] if slot != o.slot)
    o.want[o.puzzle, o.slot] = o.file[o.puzzle][o.slot] + " (4,3)"
    for start, who, slot, tail in ((1, 0, o.slot, " (4,3)"), (3 if early else 13, 1, second, "!")):
        o.at(o.minute + start, open_one, CHECKERS[who], slot, tail, o.minute + (9, 24)[who])


def open_one(o: Office, checker: str, slot: str, tail: str, until: int) -> None:
    """Open the puzzle of the case for one change."""
    copy = dict(o.file[o.puzzle])
    opened = o.log(checker, "open-file", puzzle=o.puzzle, clues=copy)
    if slot != o.slot:
        o.case.root(opened)
    o.at(until, save, o.puzzle, checker, {**copy, slot: copy[slot] + tail})


def rewordings(o: Office) -> None:
    """Let the setter of the puzzle send two new wordings, and the typesetter put them in."""
    first, last = o.ref("W"), o.ref("W")
    words = {first: "Tide turns", last: "Tied, we hear"}
    o.want[o.puzzle, o.slot] = words[last]
    for reference, text in words.items():
        note = o.log("setter-Tansy", "send-wording", ref=reference, puzzle=o.puzzle, slot=o.slot, text=text)
        if reference == last:
            o.case.hop(note)
    for reference in (last, first) if o.case.strikes("out_of_order") else (first, last):
        o.file[o.puzzle][o.slot] = words[reference]
        put = o.log("typesetter", "put-wording", ref=reference, puzzle=o.puzzle, slot=o.slot)
        o.case.root(put)


def reword(o: Office, puzzle: str, setter: str) -> None:
    """Send two wordings of different clues; their order is of no matter."""
    pair = [(o.ref("W"), slot) for slot in list(o.file[puzzle])[:2]]
    for reference, slot in pair:
        text = o.rng.choice(CLUES)
        o.log(f"setter-{setter}", "send-wording", ref=reference, puzzle=puzzle, slot=slot, text=text)
        o.file[puzzle][slot] = text
    for reference, slot in o.rng.sample(pair, 2):
        o.log("typesetter", "put-wording", ref=reference, puzzle=puzzle, slot=slot)


def print_puzzle(o: Office, puzzle: str) -> None:
    """Print a puzzle, and read the letters about it."""
    clues = o.file.pop(puzzle)
    proof = o.log("typesetter", "make-plate", puzzle=puzzle, clues=clues)
    printed = o.log("press", "print", puzzle=puzzle, copies=o.rng.randint(3000, 4000))
    right, few, many = o.want.get((puzzle, o.slot), ""), o.rng.randint(0, 5), o.rng.randint(30, 90)
    shown = clues.get(o.slot, "")
    if not right or shown == right:
        o.log("postbag", "count-letters", puzzle=puzzle, letters=few)
        return
    o.case.hop(proof, printed)
    event = o.log("postbag", "count-letters", puzzle=puzzle, letters=many, about=o.slot)
    about = "clue" if o.case.has("lost_update") else "order"
    complain(o, event, about, slot=o.slot, puzzle=puzzle, shown=shown, right=right, count=many)


# Readers: numbers paid ahead, prizes, and double entries.


def enrol(o: Office, name: str, town: str, numbers: int) -> str:
    """Enter a reader."""
    reader = o.ref("R")
    o.name[reader], o.address[reader], o.credit[reader] = name, town, numbers
    o.log("subs-desk", "enrol", reader=reader, name=name, town=town, numbers=numbers)
    return reader


def send_number(o: Office, reader: str, last: bool) -> None:
    """Send a number to a reader who has one to come, and take it off the account."""
    slip, left = o.ref("N"), o.credit[reader]
    listed = o.log("subs-desk", "list-for-post", slip=slip, reader=reader, left=left)
    if left <= 0:
        skipped = o.log("dispatch-bay", "pass-over", slip=slip, reader=reader)
        if reader == o.reader:
            o.case.hop(listed, skipped)
            event = o.log("postbag", "open-letter", reader=reader, subject="last number")
            complain(o, event, "credit", who=o.name[reader], reader=reader, many=o.paid)
        return
    o.log("dispatch-bay", "post-number", slip=slip, reader=reader)
    planned = (
        reader == o.reader and o.case.has("doubled_act") and o.minute < o.step(o.case.begin + 1) and last
    )
    for _ in range(2 if planned and o.case.strikes("doubled_act") else 1):
        o.credit[reader] -= 1
        booked = o.log("accounts-ivy", "take-off", slip=slip, reader=reader, numbers=1)
        if planned:
            o.case.root(booked)
    if reader != o.reader and o.credit[reader] < 2:
        o.credit[reader] += 26
        o.log("subs-desk", "renew", reader=reader, numbers=26)


def merge(o: Office, keep: str, drop: str) -> None:
    """Join two entries of what is taken for one reader."""
    joined = o.log("subs-desk", "join-entries", keep=keep, drop=drop, name=o.name[keep])
    o.same[drop] = keep
    if o.case.has("wrong_merge") and keep == o.twin and o.minute >= o.step(o.case.begin):
        o.case.root(joined)


def award(o: Office, reader: str) -> None:
    """Draw a winner and post the prize to the address of the entry."""
    drawn = o.log("prize-clerk", "draw-winner", reader=reader, name=o.name[reader])
    entry = o.same.get(reader, reader)
    town, parcel = o.address[entry], o.ref("P")
    label = o.log("subs-desk", "give-address", reader=reader, entry=entry, town=town)
    sent = o.log("dispatch-bay", "post-parcel", parcel=parcel, town=town, grams=o.rng.randint(900, 1400))
    if town == o.address[reader]:
        o.log("postbag", "open-letter", reader=reader, subject="thanks")
        return
    o.case.trigger(drawn)
    o.case.hop(label, sent)
    event = o.log("postbag", "open-letter", reader=reader, subject="prize")
    complain(o, event, "prize", who=o.name[reader], town=o.address[reader], other=town, reader=reader)


def a_step(o: Office, number: int, rng: random.Random) -> None:
    """Put what belongs to four hours into the queue."""
    case, base = o.case, o.step(number)
    for _ in range(2):
        printed, setter, puzzle = number + rng.randint(1, 6), rng.choice(SETTERS), o.ref("X")
        o.at(base + rng.randint(0, 20), send_in, puzzle, setter, printed)
        if rng.random() < 0.4:
            o.at(base + 235, reword, puzzle, setter)
    readers = [each for each in o.name if each not in {o.reader, o.twin, o.double}]
    for reader in rng.sample(readers, 3):
        o.at(base + rng.randint(40, 120), send_number, reader, False)
    if case.has("doubled_act") and number in o.posts:
        o.at(base + 60, send_number, o.reader, number == case.begin)
    if rng.random() < 0.4:
        o.at(base + rng.randint(60, 200), award, rng.choice(readers))
    if rng.random() < 0.35:
        one = rng.choice(readers)
        o.at(base + 5, enrol_again, one)
    if number == case.begin:
        o.at(base + 25, {"lost_update": two_checkers, "out_of_order": rewordings}.get(case.kind, no_more))
    if case.has("wrong_merge") and number == case.begin:
        o.at(base + 25, merge, o.twin, o.reader if case.strikes("wrong_merge", number) else o.double)
    if case.has("wrong_merge") and number == case.end:
        o.at(base + 40, award, o.reader)
    o.at(base + rng.randint(0, 239), chore, rng.random(), rng.randint(1, 30))
    if number == case.decoy_at:
        o.at(base + 100, chore, 2.0, rng.randint(1, 30))


def no_more(o: Office) -> None:
    """Read the news at the beginning of a shift."""
    o.log("editor", "read-news", pages=o.rng.randint(2, 9))


def enrol_again(o: Office, reader: str) -> None:
    """Enter somebody who was entered before, and join the entries."""
    merge(o, reader, enrol(o, o.name[reader], o.address[reader], 5))


def chore(o: Office, draw: float, number: int) -> None:
    """Do something of no consequence."""
    what, unit = CHORES[number % 3]
    if draw > 1:
        o.log("press", "stop-press", seconds=number, why="paper jam, cleared")
    elif draw < 0.4:
        o.log("editor", what, **{unit: number})
    elif draw < 0.6:
        o.log("subs-desk", "set_display", font=number)
    elif draw < 0.8:
        o.log("dispatch-bay", "retry-scan", tries=number % 3 + 2)


def play(case: Case) -> None:
    """Play some weeks of the magazine."""
    steps = case.rng("steps").choice((30, 50, 80, 110))
    begin, end = case.window(steps)
    o = Office(case, steps)
    for number in range(14):
        enrol(o, SOLVERS[number % 8], o.rng.choice(TOWNS), o.rng.randint(8, 26))
    o.twin = enrol(o, SOLVERS[1], TOWNS[0], 20)
    o.double = enrol(o, SOLVERS[1], TOWNS[0], 3)
    o.posts = sorted({begin, end, *range(0, end, max(2, end // 12))})
    o.paid = len(o.posts)
    o.reader = enrol(o, SOLVERS[1], TOWNS[4], o.paid)
    if case.kind in {"lost_update", "out_of_order"}:
        o.puzzle = o.ref("X")
        o.at(o.step(begin - 2), send_in, o.puzzle, "Tansy", end)
    for number in range(steps):
        a_step(o, number, o.rng)
    o.run()


WORLD = World("crosswords", "bare", ("lost_update", "doubled_act", "out_of_order", "wrong_merge"), play, 24)
