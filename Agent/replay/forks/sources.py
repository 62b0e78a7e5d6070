"""Chance, clocks and environment after the point of a fork: each continues from its place in the recording.

A call that has a counterpart in the original reads what that read, so that a fork without a change is the
same run. From the first call that draws more or less than its counterpart, a generator goes on by itself.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import FrameType
from typing import Any, TypeVar

from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.event.values.digest import digest_bytes
from Agent.record.emit import installed
from Agent.record.emit.context import kinds_of_draws
from Agent.record.sources.adopted import Adopted, living
from Agent.record.sources.seams import CLOCK_FORMS, CLOCKS
from Agent.replay.drive.states import generators_in
from Agent.replay.forks.outcome import ForkOutcome
from Agent.replay.forks.player import ForkPlayer
from Agent.replay.plan.actions import PlannedCall
from Agent.replay.sources.rng_draws import RecordedDraws
from Agent.replay.sources.source_results import CallReads, SourceAnswers

T = TypeVar("T")

WALL = "time"
_OF_WALL = {f"time.{name}" for name in CLOCK_FORMS} | {"datetime.datetime.now", "datetime.datetime.utcnow"}


class ForkSources(SourceAnswers):
    """Gives the code of a fork what it reads: `begin_forks` at the point, `go_on` for each fork there."""

    fork: ForkOutcome
    player: ForkPlayer
    clocks: ForkClocks

    def begin_forks(self, first: Event | None, wall_us: float, fork: ForkOutcome) -> None:
        """Take in what was read before the point, and put adopted generators where they were there.

        Args:
            first: the first event behind the point; None behind all.
            wall_us: the time of day at the point, microseconds since 1970.
            fork: takes notes.
        """
        self.fork, self._wall_us = fork, wall_us
        events = [event for event in self._recording.events if "reads" in event.extra]
        behind = [first is not None and order_key(event) >= order_key(first) for event in events]
        self._latest = latest_reads(
            event.extra["reads"] for event, is_behind in zip(events, behind, strict=True) if not is_behind
        )
        self._put_all([event for event, is_behind in zip(events, behind, strict=True) if is_behind])

    def go_on(self, player: ForkPlayer) -> None:
        """A fork begins, whose calls that player distinguishes."""
        self.player, self.clocks = player, ForkClocks(self._wall_us, self._latest)
        self._on_their_own: set[str] = set()
        self._are_released = False
        self._calls.clear()

    def release(self) -> None:
        """Let all generators go on by themselves: somebody seeded them."""
        self._are_released = True

    def _put_all(self, behind: Sequence[Event]) -> None:
        """Put adopted generators where the first draws behind the point begin."""
        draws: dict[str, list[tuple[str, list[Any]]]] = {}
        for event in behind:
            for kind, key in kinds_of_draws(event.extra["reads"]):
                segments = event.extra["reads"][key]
                if kind != "draws" and segments:
                    draws.setdefault(self._places.of_key(key), []).append((key, segments[0]))
        self.is_putting = True
        for adopted in list(living):
            found = draws.get(self._places.of(adopted) or "")
            if found:
                self._move(adopted, *_earliest(found))
        self.is_putting = False

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:  # noqa: ARG002
        """See `SourcePlayer`."""
        if self.player.is_live:
            return now()
        reads = self._reads()
        values = () if reads is None else reads.values.get(source, ())
        if reads is not None and reads.taken[source] < len(values):
            kept = values[reads.taken[source]]
            reads.taken[source] += 1
            try:
                value = decode(kept)
            except Exception:  # noqa: BLE001 - it was hidden, or somebody changed it
                self.fork.note(f"the recorded value of {source} cannot be restored, so it is read live")
            else:
                return self.clocks.recorded(source, value, now)
        return self.clocks.now(source, now)

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:  # noqa: ARG002
        """See `SourcePlayer`."""
        reads = None if self.player.is_live else self._reads()
        runs = None if reads is None else reads.variables.get(name)
        if reads is not None and runs is not None:
            return reads.next_of(name, runs)
        known = self._variables.get(name, {})
        return next(iter(known.values())) if len(known) == 1 and not self.player.is_live else now()

    def draw(self, adopted: Adopted, count: int, now: Callable[[], T]) -> T:
        """See `SourcePlayer`."""
        place = None if self.is_putting or self.player.is_live else self._places.of(adopted)
        if place is None or self._are_released or place in self._on_their_own:
            return adopted.drawn(count, now)
        reads = self._reads()
        draws = None if reads is None else reads.draws_for(adopted, place)
        segment = None if draws is None else draws.take(count, lambda each: self._begin(adopted, draws, each))
        if draws is None or segment is None or isinstance(draws.value, str):
            self._on_their_own.add(place)
            return adopted.drawn(count, now)
        if draws.kind == "draws":
            kept = draws.value
            return adopted.drawn(count, lambda: kept)  # type: ignore[no-any-return]
        value = adopted.drawn(count, now)
        if draws.is_at_end_of(segment) and adopted.end_differs(segment):
            self._on_their_own.add(place)
        return value

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """See `SourcePlayer`."""
        if self.is_putting:
            return
        reads = self._reads()
        if mark is not None:
            adopted.marked(mark)
            place = self._places.of(adopted)
            draws = None if reads is None or place is None else reads.draws_for(adopted, place)
            if place and (draws is None or draws.take(1, lambda _: None) is None or draws.value != mark):
                self._on_their_own.add(place)
            return
        if reads is not None:
            reads.of.pop(adopted.number, None)  # what it draws now stands under another state
        self._seeded[adopted.number] = adopted.snapshot()
        if not is_known:
            del self._seeded[adopted.number]

    def left(self, call: PlannedCall) -> None:
        """A call that has this counterpart ended: what it drew less leaves generators elsewhere."""
        known = self._calls.get(call.event.id)
        for draws in known.draws if known is not None else ():
            if draws.left() is not None:
                self._on_their_own.add(draws.place)

    def _reads(self) -> CallReads | None:
        call = self.player.open_call()
        return None if call is None else self._of(call)

    def _begin(self, adopted: Adopted, draws: RecordedDraws, segment: list[Any]) -> None:
        """Put a generator where a recorded segment begins, unless it was seeded otherwise than then."""
        if draws.kind == "draws":
            return
        seeded = self._seeded.pop(adopted.number, None)
        base_id = adopted.base_id(draws.key, segment)
        if seeded is not None and not adopted.began_at(
            seeded, None if base_id is None else self._base(base_id)
        ):
            self._on_their_own.add(draws.place)
            return
        self._move(adopted, draws.key, segment)

    def _move(self, adopted: Adopted, key: str, segment: list[Any]) -> None:
        base_id = adopted.base_id(key, segment)
        base = None if base_id is None else self._base(base_id)
        if base_id is not None and base is None:
            self.fork.note(f"a state of {adopted.name} is missing in the recording, so it is not set")
            return
        try:
            adopted.move(segment, base)
        except Exception as error:  # noqa: BLE001 - a state of another version, or that somebody changed
            self.fork.note(f"a recorded state of {adopted.name} cannot be put back: {error}")


def _earliest(found: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """The draws that came first: of positions behind one state the lowest, else those of the first event."""
    key = found[0][0]
    same = [each for each in found if each[0] == key]
    return min(same, key=lambda each: each[1][0]) if key.startswith("random@") else found[0]


def kind_of(source: str) -> str | None:
    """Which clock a source reads: `time`, `monotonic`, `perf_counter`, ...; None where it is no clock."""
    if source in _OF_WALL:
        return WALL
    module, _, name = source.partition(".")
    return name.removesuffix("_ns") if module == "time" and name in CLOCKS else None


class ForkClocks:
    """Shows recorded time, so that a fork is not years later than its original.

    A call that the original made as well reads what it read then. Any other read is the recorded time plus
    what has really gone by since, and no clock goes back.

    Args:
        wall_us: the time of day where the fork goes on, microseconds since 1970.
        latest: the last recorded value of other clocks before that, by source.
    """

    def __init__(self, wall_us: float, latest: Mapping[str, float]) -> None:
        self._ahead_ns = {WALL: int(wall_us * 1000) - time.time_ns()}
        """By kind of clock, how far the recording is ahead of the real one."""
        self._shown: dict[str, tuple[int, int]] = {}
        """By kind, how far ahead it was when a time that is not recorded was shown, and when that was."""
        for source, value in latest.items():
            kind = kind_of(source)
            if kind is not None and kind != WALL:
                self._ahead_ns[kind] = _ahead_ns(source, value, getattr(time, source.partition(".")[2])())

    def recorded(self, source: str, value: T, now: Callable[[], T]) -> T:
        """The recorded value that is due, but where the fork was shown a later time already."""
        kind = kind_of(source)
        if kind is None:
            return value
        ahead = _ahead_ns(source, value, now())
        shown = self._shown.get(kind)
        if shown is not None:
            before, at_ns = shown
            if ahead < before - (time.monotonic_ns() - at_ns):
                return self.now(source, now)
            del self._shown[kind]
        self._ahead_ns[kind] = ahead
        return value

    def now(self, source: str, now: Callable[[], T]) -> T:
        """What the source shows where nothing was recorded: for a clock, recorded time and what went by."""
        kind, real = kind_of(source), now()
        if kind is None or kind not in self._ahead_ns:
            return real
        ahead = self._ahead_ns[kind]
        self._shown[kind] = ahead, time.monotonic_ns()
        later: T = _later(source, real, ahead)
        return later


def latest_reads(reads: Iterable[Any]) -> dict[str, float]:
    """The last value of each clock but the time of day in the reads of calls, in order."""
    found: dict[str, float] = {}
    for each in reads:
        for source, values in each.items() if isinstance(each, dict) else ():
            if kind_of(source) not in {None, WALL} and values:
                found[source] = values[-1]
    return found


def _ahead_ns(source: str, value: Any, real: Any) -> int:
    if isinstance(value, datetime):
        return int((value - real) / timedelta(microseconds=1)) * 1000
    return int(value - real) if source.endswith("_ns") else round((value - real) * 1e9)


def _later(source: str, value: Any, ahead_ns: int) -> Any:
    if isinstance(value, datetime):
        return value + timedelta(microseconds=ahead_ns // 1000)
    return value + (ahead_ns if source.endswith("_ns") else ahead_ns / 1e9)


def seed_generators(objects: Mapping[str, object], seed: int) -> int:
    """Seed every generator that agents expose, and those of the modules; how many.

    Each gets a seed of its own, made of the one given, the agent and the field.
    """
    count = 0
    for agent_id, obj in objects.items():
        for place, (name, generator) in enumerate(generators_in(obj)):
            _seed(generator, f"{seed}/{agent_id}/{name}/{place}")
            count += 1
    player = installed.source_player
    if isinstance(player, ForkSources):
        player.release()
    random.seed(f"{seed}/random")
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(_number(f"{seed}/numpy.random"))
    return count


def _seed(generator: Any, text: str) -> None:
    if isinstance(generator, random.Random):
        generator.seed(text)
    elif hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        bits.state = type(bits)(_number(text)).state
    else:
        generator.seed(_number(text))


def _number(text: str) -> int:
    return int(digest_bytes(text.encode())[:8], 16)
