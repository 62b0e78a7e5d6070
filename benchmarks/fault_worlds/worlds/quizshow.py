"""A quiz on television: agents write cards, ask an almanac, fetch tapes, record jingles, and play the show.

Coroutines side by side in a run an evening, with steps, model and tool calls; actions name their causes.
No ticks.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World

WRITERS = ("writer Odile", "writer Pim", "writer Quentin")
CHECKERS = ("checker Rosa", "checker Sven")
TAPERS = ("tapes Tilda", "tapes Umar", "tapes Vera")
BANDS = ("Wicked Brass", "Xylo Trio", "Yodel Club", "Zither Two")
EDITOR, HOST, GUEST, HALL = "editor Nan", "host Marlene", "candidate", "audience"
ROOMS = ("booth", "echo room", "hall stage", "organ loft")
TOPICS = ("bridges", "comets", "kings", "rivers", "records", "towers")
MOST_TRIES, TURNS, FULL, REFILL = 3, 14, 80, 12
ROLES = {
    **dict.fromkeys(WRITERS, "writer"),
    **dict.fromkeys(CHECKERS, "checker"),
    **dict.fromkeys(TAPERS, "taper"),
    **dict.fromkeys(BANDS, "band"),
}


class TapeError(Exception):
    """The archive gives no tape."""


@dataclass
class Card:
    """A question, the key that the host reads, and the event by which it was approved."""

    number: str
    fact: int
    key: int
    approved: str


@dataclass
class Clip:
    """A place in a show: whether it is planned, whether a tape is there, and why."""

    number: str
    is_planned: bool
    has_tape: bool
    event: str
    is_gap: bool = False


class Quiz:
    """The team, its archive and rooms, what is true, and the plan of one case."""

    def __init__(self, case: Case, evenings: int) -> None:
        self.case, self.evenings, self.evening, self.last = case, evenings, 0, case.seed % 700
        rng = case.rng("plan")
        self.writer, self.checker, self.taper = rng.choice(WRITERS), rng.choice(CHECKERS), rng.choice(TAPERS)
        self.pair = rng.sample(BANDS, 2)
        self.rooms = sorted(rng.sample(ROOMS, 2))
        self.outside, self.star, self.asked = Outside(self), "", ""
        self.logs: dict[str, AgentLogger] = {}
        self.facts: dict[str, int] = {}
        self.wrong: dict[str, int] = {}
        self.broken: set[str] = set()
        self.tokens, self.storm = FULL, 0
        self.cards: dict[int, list[Card]] = {}
        self.clips: dict[int, list[Clip]] = {}
        self.holders: dict[str, str] = {}
        self.jingles: dict[str, str] = {}
        self.waiting: dict[str, str] = {}

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record an act."""
        if who not in self.logs:
            self.logs[who] = AgentLogger(who, ROLES.get(who, "stage"))
        return self.logs[who].log_action(what, data, causes=causes)

    def number(self, letter: str) -> str:
        """Return the next number."""
        self.last += 1
        return f"{letter}{self.last}"


class Outside:
    """What the team asks: an almanac, and an archive that counts the questions."""

    def __init__(self, quiz: Quiz) -> None:
        self._quiz = quiz

    @record_tool
    async def almanac(self, question: str) -> int:
        """Look something up."""
        await asyncio.sleep(0)
        return self._quiz.wrong.get(question, self._quiz.facts[question])

    @record_tool
    async def archive(self, tape: str) -> str:
        """Ask the archive for a tape; each question costs a token."""
        if self._quiz.tokens <= 0:
            raise TapeError("no requests left")
        self._quiz.tokens -= 1
        if tape in self._quiz.broken:
            raise TapeError("tape is torn")
        return f"{tape}.wav"


async def make_card(quiz: Quiz, writer: str, checker: str, number: str, due: int) -> None:
    """Write a question, look up its key, and put the card into the box of a show."""
    case, rng = quiz.case, quiz.case.rng(f"card/{number}")
    quiz.facts[number] = rng.randint(1100, 1990)
    is_mine = number == quiz.star
    with recorder.step(f"card {number}", "make a card") as step:
        drafted = quiz.do(writer, "draft_question", None, question=number, topic=rng.choice(TOPICS))
        recorder.record_model_call(
            step_id=f"card {number}",
            call_id=f"draft {number}",
            model_name="small-writer",
            prompt=f"A question about {rng.choice(TOPICS)} whose answer is a year",
            output=f"In which year ... ({number})",
            prompt_tokens=rng.randint(20, 60),
            completion_tokens=rng.randint(10, 40),
        )
        await asyncio.sleep(0)
        is_doubtful = rng.random() < 0.25 and not is_mine
        if (is_doubtful and rng.random() < 0.4) or (is_mine and case.strikes("trusted_tool", quiz.evening)):
            quiz.wrong[number] = quiz.facts[number] + rng.choice((-60, -12, 9, 30))
        says = await quiz.outside.almanac(number)
        looked = quiz.do(checker, "ask_almanac", drafted, question=number, says=says)
        if is_doubtful:
            second = quiz.do(checker, "ask_museum", looked, question=number, says=quiz.facts[number])
            if says != quiz.facts[number]:
                says = quiz.facts[number]
                second = quiz.do(checker, "settle", [looked, second], question=number, says=says)
            looked = second
        approved = quiz.do(checker, "approve_card", looked, question=number, key=says)
        step.output = {"question": number, "key": says}
    if is_mine and case.has("trusted_tool"):
        case.root(looked, approved)
    quiz.cards.setdefault(due, []).append(Card(number, quiz.facts[number], says, approved))


async def fetch_tape(quiz: Quiz, taper: str, tape: str, due: int) -> None:
    """Get a tape from the archive, in three tries at most, and tell the editor."""
    case, asked, refusal = quiz.case, "", ""
    is_mine = tape == quiz.star
    with recorder.step(f"tape {tape}", "fetch a tape") as step:
        ordered = quiz.do(EDITOR, "order_tape", None, tape=tape, show=due)
        for attempt in range(MOST_TRIES):
            asked = quiz.do(taper, "ask_archive", asked or ordered, tape=tape, attempt=attempt + 1)
            try:
                await quiz.outside.archive(tape)
            except TapeError as error:
                refusal = str(error)
                await asyncio.sleep(0)
                continue
            refusal = ""
            break
        if is_mine and case.strikes("retry_storm", quiz.evening):
            case.root(asked)
            quiz.asked = asked
            quiz.storm = math.ceil(FULL / (case.end - case.begin)) + REFILL - 4
            step.output = {"tape": tape, "state": "waiting"}
            quiz.clips.setdefault(due, []).append(Clip(tape, False, False, asked))
            return
        is_fine = not refusal or (is_mine and case.strikes("swallowed_failure", quiz.evening))
        told = quiz.do(taper, "report_tape", asked, tape=tape, ready=is_fine)
        if is_mine and case.has("swallowed_failure"):
            case.root(told, asked)
        if refusal == "no requests left":
            case.hop(asked, told)
        heard = quiz.do(EDITOR, "plan_tape" if is_fine else "plan_talk_instead", told, tape=tape, show=due)
        step.output = {"tape": tape, "ready": is_fine}
    quiz.clips.setdefault(due, []).append(
        Clip(tape, is_fine, not refusal, heard, refusal == "no requests left")
    )


async def keep_asking(quiz: Quiz) -> None:
    """Ask for one tape again and again, as long as somebody does."""
    for number in range(quiz.storm):
        quiz.asked = quiz.do(quiz.taper, "ask_archive", quiz.asked, tape=quiz.star, attempt=number + 4)
        if number < 3 and quiz.evening == quiz.case.begin + 1:
            quiz.case.root(quiz.asked)
        quiz.case.hop(quiz.asked)
        try:
            await quiz.outside.archive(quiz.star)
        except TapeError:
            continue


async def record_jingle(quiz: Quiz, band: str, jingle: str, wanted: list[str], *, is_stubborn: bool) -> None:
    """Take two rooms, one after the other, play in them, and leave them."""
    held: list[str] = []
    case, cause = quiz.case, quiz.do(band, "tune_up", None, jingle=jingle)
    with recorder.step(f"jingle {jingle}", "record a jingle"):
        for room in wanted:
            turns = 0
            while room in quiz.holders and turns < TURNS:
                if turns == 0:
                    cause = quiz.do(band, "wait_for_room", cause, room=room, jingle=jingle)
                    if is_stubborn and held:
                        case.hop(cause)
                        case.root(*([cause] if band == quiz.pair[1] else []))
                turns += 1
                await asyncio.sleep(0)
            if room in quiz.holders:
                if is_stubborn:
                    quiz.waiting[band] = cause
                    return
                cause = quiz.do(band, "play_in_the_corridor", cause, jingle=jingle)
                break
            quiz.holders[room] = band
            cause = quiz.do(band, "take_room", cause, room=room, jingle=jingle)
            if is_stubborn and not held and band == quiz.pair[1]:
                case.root(cause)
            held.append(room)
            await asyncio.sleep(0)
        cause = quiz.do(band, "play_jingle", cause, jingle=jingle)
        await asyncio.sleep(0)
        for room in held:
            del quiz.holders[room]
            cause = quiz.do(band, "leave_room", cause, room=room, jingle=jingle)
        quiz.jingles[jingle] = quiz.do(EDITOR, "file_jingle", cause, jingle=jingle)


def afternoon(quiz: Quiz) -> list[Any]:
    """Return what has to be done before the show, as coroutines."""
    case, now = quiz.case, quiz.evening
    rng = case.rng(f"afternoon/{now}")
    work: list[Any] = []
    if now == case.begin:
        if case.has("trusted_tool"):
            quiz.star = quiz.number("Q")
            work.append(make_card(quiz, quiz.writer, quiz.checker, quiz.star, case.end))
        elif case.has("deadlock"):
            quiz.star = quiz.number("J")
            first, second = quiz.rooms
            order = [second, first] if case.strikes("deadlock", now) else [first, second]
            work.append(record_jingle(quiz, quiz.pair[0], quiz.star, [first, second], is_stubborn=True))
            other = quiz.number("J")
            work.append(record_jingle(quiz, quiz.pair[1], other, order, is_stubborn=True))
        else:
            quiz.star = quiz.number("T")
            quiz.broken.add(quiz.star)
            work.append(fetch_tape(quiz, quiz.taper, quiz.star, case.end))
    for band, cause in list(quiz.waiting.items()):
        quiz.waiting[band] = quiz.do(band, "wait_for_room", cause, room="still the same", jingle=quiz.star)
    if quiz.storm and now > case.begin:
        work.append(keep_asking(quiz))
    for _ in range(rng.randint(4, 6)):
        due = now + rng.choice((0, 1, 1, 2, 4))
        work.append(make_card(quiz, rng.choice(WRITERS), rng.choice(CHECKERS), quiz.number("Q"), due))
    for _ in range(4):
        tape = quiz.number("T")
        if rng.random() < 0.15:
            quiz.broken.add(tape)
        work.append(fetch_tape(quiz, rng.choice(TAPERS), tape, now + rng.choice((0, 0, 1, 2))))
    is_free = not (case.has("deadlock") and now == case.begin)
    for band in rng.sample([one for one in BANDS if one not in quiz.waiting], 2) if is_free else ():
        rooms = sorted(rng.sample(ROOMS, 2))
        work.append(record_jingle(quiz, band, quiz.number("J"), rooms, is_stubborn=False))
    return work


def show(quiz: Quiz) -> None:
    """Play the show."""
    case, now = quiz.case, quiz.evening
    rng = case.rng(f"show/{now}")
    opened = quiz.do(HOST, "greet", None, show=now)
    if case.has("deadlock") and now == case.end:
        filed = quiz.jingles.get(quiz.star)
        if filed:
            quiz.do(HALL, "clap_along", [opened, filed], jingle=quiz.star)
        else:
            case.symptom(
                quiz.do(HALL, "sit_in_silence", opened, show=now),
                f"The anniversary show {now} began without any music, the host just stood there",
                "We were promised a new melody for tonight and got a minute of silence",
                "No opening tune, no band, nothing. It was embarrassing for everybody in the hall.",
            )
    for clip in quiz.clips.pop(now, []):
        called = quiz.do(HOST, "announce_clip", [opened, clip.event], tape=clip.number)
        if clip.is_gap:
            case.symptom(
                quiz.do(HALL, "see_grey_screen", called, show=now),
                "Half of the picture round was a grey screen tonight",
                f"Show {now}: no film at all, the candidates had to guess from nothing",
                "Why does the archive tell us that we have asked enough? We ask for four tapes a day!",
            )
        elif not clip.is_planned:
            quiz.do(HOST, "tell_story", called, tape=clip.number)
        elif clip.has_tape:
            quiz.do(HALL, "watch_clip", called, tape=clip.number)
        else:
            case.hop(clip.event, called)
            case.symptom(
                quiz.do(HALL, "hear_nothing", called, tape=clip.number),
                f"The host said 'and now the film' and then there was nothing, in show {now}",
                f"Dead air for forty seconds where {clip.number} should have been",
                "Twenty viewers phoned because the clip did not start",
            )
    for card in quiz.cards.pop(now, []):
        asked = quiz.do(HOST, "ask", [opened, card.approved], question=card.number)
        knows = rng.random() < 0.55 or card.number == quiz.star
        answer = card.fact if knows else card.fact + rng.randint(1, 40)
        said = quiz.do(GUEST, "answer", asked, question=card.number, value=answer)
        judged = quiz.do(HOST, "judge", [said, asked], question=card.number, right=answer == card.key)
        if answer == card.key:
            quiz.do(GUEST, "cheer", judged, question=card.number)
        elif answer != card.fact:
            quiz.do(GUEST, "shrug", judged, question=card.number)
        else:
            case.hop(card.approved, asked, judged)
            case.symptom(
                quiz.do(GUEST, "protest", judged, question=card.number),
                f"I said {answer} and I am right, any history book will tell you",
                f"A candidate lost the final over {card.number} although her answer was correct",
                f"Eleven teachers wrote: the year that the host read out for {card.number} is nonsense",
            )


def around(quiz: Quiz) -> None:
    """Do what belongs to any evening."""
    rng, now = quiz.case.rng(f"around/{quiz.evening}"), quiz.evening
    quiz.tokens = min(FULL, quiz.tokens + REFILL)
    if rng.random() < 0.35:
        name = rng.choice(("lamp_colour", "applause_level", "break_minutes", "draft_temperature"))
        SystemLogger("studio").log_config(name, rng.randint(1, 9), rng.randint(1, 9))
    if rng.random() < 0.3 or now == quiz.case.decoy_at:
        who = rng.choice((*TAPERS, *WRITERS, EDITOR))
        quiz.do(who, "look_for_coffee", None, cups=rng.randint(1, 4))
        quiz.logs[who].warning("the printer jams again", {"sheet": rng.randint(1, 90)})
    if now == quiz.case.decoy_at:
        quiz.do(EDITOR, "call_archive", None, about="opening hours")
        quiz.logs[EDITOR].error("line was busy, called later", {"minutes": 10})


async def evening(quiz: Quiz) -> None:
    """Work in the afternoon, then play the show."""
    with recorder.run("quiz team", {"evening": quiz.evening}):
        around(quiz)
        await asyncio.gather(*afternoon(quiz))
        show(quiz)


def play(case: Case) -> None:
    """Play a season."""
    evenings = case.rng("evenings").choice((12, 24, 45, 75))
    case.window(evenings, 2)
    quiz = Quiz(case, evenings)
    for now in range(evenings):
        quiz.evening = now
        asyncio.run(evening(quiz))


FAULTS = ("trusted_tool", "retry_storm", "deadlock", "swallowed_failure")
WORLD = World("quizshow", "edges", FAULTS, play, 29)
