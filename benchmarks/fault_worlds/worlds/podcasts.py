"""A house of podcasts: producers, a transcriber, a cutter, a publisher and a label at work side by side, with models and tools.

Coroutines in a run a round with steps, model calls and tool calls; actions name their causes, and there are no ticks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World

SHOWS = ("Night Bus", "Small Seas", "Paper Trail", "Ninth Floor")
PRODUCERS = ("marlene", "ossian", "priya")
STUDIOS = ("studio red", "studio blue")
TOPICS = ("eels", "old lifts", "bread", "the moon", "mail rooms", "lost gloves")
TRACKS = ("Copper Rain", "Hollow Step", "Lanterns", "Slow Ferry", "Gull Song", "Attic Waltz")
PRICE, STORM, USUAL_TRIES = 2, 34, 3


class TapeError(Exception):
    """A recording could not be read."""


@record_tool
async def licence_lookup(track: str, terms: str) -> str:
    """Tell on which terms a track may be used."""
    await asyncio.sleep(0)
    return terms


@record_tool
async def loudness_meter(minutes: int) -> float:
    """Measure how loud a mix is."""
    await asyncio.sleep(0)
    return -16.0 - minutes % 3


@record_tool
async def speech_to_text(tape: str, is_readable: bool) -> int:
    """Write down what is said on a tape."""
    await asyncio.sleep(0)
    if not is_readable:
        raise TapeError(tape)
    return 800 + len(tape)


@record_tool
async def put_file(name: str, line_is_up: bool) -> str:
    """Put a file on the host."""
    await asyncio.sleep(0)
    if not line_is_up:
        raise ConnectionResetError(name)
    return name


class House:
    """Who works here, what has been booked, and the plan of one case."""

    def __init__(self, case: Case, rounds: int) -> None:
        self.case, self.now, self.rounds, self.numbers = case, 0, rounds, case.seed % 600
        self.rng = case.rng("house")
        self.logs: dict[str, AgentLogger] = {}
        self.show, (self.first, self.second) = self.rng.choice(SHOWS), self.rng.sample(PRODUCERS, 2)
        self.track, self.studio = self.rng.choice(TRACKS), self.rng.choice(STUDIOS)
        self.slots: dict[tuple[int, str], list[tuple[str, str]]] = {}
        self.mixes: dict[str, tuple[str, bool, str]] = {}
        self.host: set[str] = set()
        self.due: dict[int, list[tuple[str, str]]] = {}
        self.credits, self.payer = 10**6, ""
        self.star = ""
        tapes = case.rng("tapes")
        self.bad = {(now, who) for now in range(rounds) for who in PRODUCERS if tapes.random() < 0.12}
        if case.has("retry_storm"):  # a plan that lasts until a while after the end, unless much is wasted
            self.bad.add((case.begin, self.first))
            bad = sum(1 for now, _ in self.bad if now <= case.end)
            jobs = len(PRODUCERS) * (case.end + 1) + bad * (USUAL_TRIES - 1)
            self.credits = PRICE * (jobs + STORM - USUAL_TRIES - 2)

    def number(self, letters: str) -> str:
        """Return the next number of an episode, a tape or a claim."""
        self.numbers += 1 + self.numbers % 3
        return f"{letters}-{self.numbers}"

    def do(self, who: str, what: str, causes: str | Sequence[str] | None, /, **data: Any) -> str:
        """Record an act."""
        if who not in self.logs:
            role = "producer" if who in PRODUCERS else ("room" if who in STUDIOS else "house")
            self.logs[who] = AgentLogger(who, role)
        return self.logs[who].log_action(what, data, causes=causes)

    def think(self, step: str, prompt: str, output: str) -> None:
        """Record a call of the writing model."""
        recorder.record_model_call(
            step_id=step, model_name="quill-2", prompt=prompt, output=output, prompt_tokens=len(prompt)
        )


# Music: the producer asks the licence tool, the cutter mixes, the publisher releases, the label listens.


async def choose_track(h: House, who: str, episode: str, brief: str, planned: bool) -> str:
    """Look for a track that is free to use, and give it to the cutter."""
    rng = h.case.rng(f"track/{who}/{h.now}")
    track = h.track if planned else rng.choice([one for one in TRACKS if one != h.track])
    is_owned = planned or rng.random() < 0.3
    terms = "free" if planned and h.case.strikes("trusted_tool") else ("fee" if is_owned else "free")
    asked = h.do(who, "ask_licence", brief, track=track, episode=episode)
    answer = await licence_lookup(track, terms)
    read = h.do(who, "read_terms", asked, track=track, terms=answer, episode=episode)
    if planned:
        h.case.root(asked, read)
    used = track if answer == "free" else "house jingle"
    mixed = h.do("cutter", "mix", read, episode=episode, track=used)
    h.do("cutter", "measure", mixed, episode=episode, lufs=await loudness_meter(rng.randint(18, 55)))
    h.mixes[episode] = used, is_owned and used == track, mixed
    return mixed


async def listen(h: House, planned: bool) -> None:
    """Let the label search what is out for its music."""
    others = [name for name in h.mixes if name != h.star]
    for episode in [h.star] if planned else h.rng.sample(others, min(2, len(others))):
        used, is_claimed, mixed = h.mixes[episode]
        heard = h.do("oakwood label", "match_sound", mixed, episode=episode, track=used)
        if is_claimed:
            claim = h.do("oakwood label", "file_claim", heard, episode=episode, claim=f"CL/{episode}")
            taken = h.do("publisher", "take_down", claim, episode=episode)
            h.case.hop(mixed, heard, claim)
            h.case.symptom(
                taken,
                f"{episode} is gone from all the apps, a record company says we stole {used}",
                "We got a bill of four figures for ten seconds of music in the intro",
                f"oakwood label made the publisher pull an episode of {h.show}, we never use paid music",
            )


# Tapes: a producer sends a tape, the transcriber pays for each try.


async def transcribe(h: House, who: str, cause: str, planned: bool) -> None:
    """Have a tape written down; a bad tape is tried a few times."""
    tape, is_bad = h.number("T"), (h.now, who) in h.bad
    sent = h.do(who, "send_tape", cause, tape=tape)
    storm = planned and h.case.strikes("retry_storm")
    for attempt in range(STORM if storm else (USUAL_TRIES if is_bad else 1)):
        if h.credits < PRICE:
            refused = h.do("transcriber", "refuse", [sent, h.payer], tape=tape, credits=h.credits)
            missed = h.do(who, "miss_deadline", refused, tape=tape)
            h.case.hop(h.payer, refused, missed)
            h.case.symptom(
                h.do("publisher", "postpone", missed, tape=tape),
                f"No text for {tape}, and the interview should be online tonight",
                f"{who} had to type two hours of talk by hand because our account is empty",
                "the monthly plan is used up and we are only half through, who spent it?",
            )
            return
        h.credits -= PRICE
        tried = h.do("transcriber", "try_tape", sent, tape=tape, attempt=attempt)
        if storm and attempt in {2, 3, 4, 5}:
            h.case.root(tried)
        try:
            words = await speech_to_text(tape, not is_bad)
        except TapeError:
            h.payer = h.logs["transcriber"].warning("tape unreadable", {"tape": tape}, causes=tried)
            if storm and attempt == 3:
                h.case.root(h.payer)
            continue
        h.payer = tried if not h.payer else h.payer
        h.do("transcriber", "hand_text", tried, tape=tape, words=words)
        return
    h.do(who, "write_by_ear", sent, tape=tape)


# Studios: who wants one looks at the calendar and books; two may want the same hour.


async def look_and_book(h: House, who: str, hour: int, studio: str, turn: asyncio.Event, late: bool) -> None:
    """Look for a free hour and book it; whoever is late looks when the other has booked."""
    if late:
        await turn.wait()
    else:
        await asyncio.sleep(0)
    free = [one for one in (studio, *STUDIOS) if (hour, one) not in h.slots]
    looked = h.do(who, "look_at_calendar", None, hour=hour, free=list(dict.fromkeys(free)))
    h.think("book", f"free at {hour}: {free}", free[0] if free else "phone")
    await asyncio.sleep(0)
    if free:
        booked = h.do(who, "book", looked, hour=hour, studio=free[0])
        h.slots.setdefault((hour, free[0]), []).append((who, booked))
        if hour == h.case.end and h.case.has("race"):
            h.case.root(looked, booked)
    turn.set()


def open_studios(h: House) -> None:
    """Let those into the studios who have booked the hour."""
    for studio in STUDIOS:
        guests = h.slots.pop((h.now, studio), [])
        for place, (who, booked) in enumerate(guests):
            came = h.do(who, "arrive_with_guest", booked, studio=studio)
            h.do(studio, "light_on" if place == 0 else "door_locked", came, by=who)
            if place:
                h.case.hop(came)
                sent = h.do("front desk", "send_guest_home", [came, guests[0][1]], studio=studio)
                h.case.symptom(
                    sent,
                    "The minister came for an hour and found somebody else at the microphone",
                    f"{studio} was taken when our guest arrived, with a confirmed booking",
                    "my guest left angry after waiting in the corridor, front desk could do nothing",
                )


# Files: the publisher puts an episode on the host, and on its day the feed takes it from there.


async def upload(h: House, episode: str, cause: str, due: int, planned: bool) -> None:
    """Put an episode on the host; a broken line means another try in a moment."""
    is_up = not planned and h.case.rng(f"line/{episode}").random() < 0.85
    sent = h.do("publisher", "send_file", cause, episode=episode)
    try:
        await put_file(episode, is_up)
    except ConnectionResetError:
        lost = h.logs["publisher"].error("connection reset", {"episode": episode}, causes=sent)
        if planned and h.case.strikes("swallowed_failure"):
            done = h.do("publisher", "report_uploaded", lost, episode=episode)
            h.case.root(lost, sent, done)
            h.due.setdefault(due, []).append((episode, done))
            return
        sent = h.do("publisher", "send_file", lost, episode=episode)
        await put_file(episode, line_is_up=True)
    h.host.add(episode)
    done = h.do("publisher", "report_uploaded", sent, episode=episode)
    h.due.setdefault(due, []).append((episode, done))


def release(h: House) -> None:
    """Let the feed announce what is due, and the listeners fetch it."""
    for episode, done in h.due.pop(h.now, []):
        out = h.do("feed", "announce", done, episode=episode)
        if episode in h.host:
            h.do("listeners", "play", out, episode=episode, starts=h.rng.randint(200, 900))
            continue
        h.case.hop(done, out)
        h.case.symptom(
            h.do("listeners", "get_nothing", out, episode=episode),
            f"{episode} shows up in my app but when I press play nothing happens",
            f"listeners write that the new episode of {h.show} is silent",
            f"the feed lists {episode} and there is no sound behind it",
        )


async def produce(h: House, who: str, planned: str) -> None:
    """Work on one episode of a show."""
    case, rng = h.case, h.case.rng(f"produce/{who}/{h.now}")
    show, episode, topic = rng.choice(SHOWS), h.number("EP"), rng.choice(TOPICS)
    delay, makes_music, sends = rng.randint(1, 9), rng.random() < 0.5, rng.random() < 0.4
    if planned:
        h.star = episode
    async with recorder.step(f"{who}_{h.now}", f"Episode of {show}", step_type="produce") as step:
        h.think(f"{who}_{h.now}", f"Outline an episode about {topic}", f"Five scenes about {topic}")
        brief = h.do(who, "write_outline", None, episode=episode, show=show, topic=topic)
        await asyncio.sleep(0)
        await transcribe(h, who, brief, planned == "retry_storm")
        cut = brief
        if makes_music or planned == "trusted_tool":
            cut = await choose_track(h, who, episode, brief, planned == "trusted_tool")
        if sends or planned == "swallowed_failure":
            mine = planned == "swallowed_failure"
            await upload(h, episode, cut, case.end if mine else h.now + delay, mine)
        step.output = {"episode": episode}


async def book_studios(h: House) -> None:
    """Let two producers look for an hour side by side."""
    case, rng = h.case, h.rng
    planned = h.now == case.begin and case.has("race")
    hour, studio, turn = h.now + rng.randint(1, 12), rng.choice(STUDIOS), asyncio.Event()
    wants = planned or rng.random() < 0.45
    if planned:
        hour, studio = case.end, h.studio
    if wants and (planned or hour != case.end):
        late = not (planned and case.strikes("race", h.now))
        first = look_and_book(h, h.first, hour, studio, turn, late=False)
        await asyncio.gather(first, look_and_book(h, h.second, hour, studio, turn, late))


async def chores(h: House) -> None:
    """Do what belongs to any day."""
    rng = h.rng
    roll, who, minutes = rng.random(), rng.choice(PRODUCERS), rng.randint(1, 30)
    if roll < 0.3:
        h.do(who, rng.choice(("answer_mail", "tidy_cables", "water_fern")), None, minutes=minutes)
    elif roll < 0.45:
        SystemLogger("house").log_config(rng.choice(("lamp", "bitrate", "cover_size")), 3, minutes)
    elif roll < 0.55:
        AgentLogger("cutter", "house").warning("disk nearly full, old takes moved", {"gb": minutes})
    if h.now == h.case.decoy_at:
        AgentLogger("front desk", "house").error("phone line dead for a minute", {"seconds": minutes})
    await asyncio.sleep(0)


async def work(h: House) -> None:
    """Play all rounds, each a run of its own."""
    case = h.case
    kinds: dict[str, Callable[[House], Awaitable[None]]] = {"book": book_studios, "rest": chores}
    for now in range(h.rounds):
        h.now = now
        if now == case.end + 1 and case.has("retry_storm"):
            h.credits = 10**6
        planned = next((kind for kind in WORLD.kinds if case.has(kind)), "") if now == case.begin else ""
        async with recorder.run("podcasts", {"round": str(now)}):
            release(h)
            open_studios(h)
            jobs = [produce(h, who, planned if who == h.first else "") for who in PRODUCERS]
            await asyncio.gather(*jobs, *(kind(h) for kind in kinds.values()))
            if h.rng.random() < 0.5 or (now == case.end and case.has("trusted_tool")):
                await listen(h, now == case.end and case.has("trusted_tool"))


def play(case: Case) -> None:
    """Play some weeks of the house."""
    rounds = case.rng("rounds").randint(60, 110)
    case.window(rounds)
    asyncio.run(work(House(case, rounds)))


WORLD = World("podcasts", "edges", ("trusted_tool", "retry_storm", "race", "swallowed_failure"), play, 26)
