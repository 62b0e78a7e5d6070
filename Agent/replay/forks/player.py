"""Answers a fork's calls after its point with recorded responses, and continues its clocks and generators.

Unlike `drive/player.py`, it accepts calls in any order and does not compare them: a fork may differ.
"""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime, timedelta
from types import FrameType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import orjson

from Agent.errors import RecordingMiss, ReplayError
from Agent.event.kinds import ACTION_KINDS, LEVELS
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.values.digest import digest_bytes
from Agent.flight.recorded_calls import CALL_KINDS, CallBook, Match
from Agent.flight.tool_replayer import ToolReplayer, check_live, is_live, short_json
from Agent.record.emit import installed
from Agent.record.emit.context import Response, TracedCall, kinds_of_draws
from Agent.record.emit.pipeline import Pipeline
from Agent.record.sources.adopted import Adopted, living
from Agent.record.sources.generators import AdoptedDraws
from Agent.record.sources.patches import CLOCK_FORMS, CLOCKS
from Agent.record.tracing.failures import Unanswerable
from Agent.replay.compare.comparison import NAMES, Comparison
from Agent.replay.compare.normaliser import later_time
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.drive.player import (
    AnswerBook,
    Positional,
    both_arguments,
    close_call,
    named_arguments,
    take_nested,
    with_stop,
)
from Agent.replay.drive.source_results import CallReads, RecordedDraws, SourceAnswers
from Agent.replay.drive.states import generators_in
from Agent.replay.forks.outcome import ForkOutcome
from Agent.replay.plan.actions import PlannedCall
from Agent.replay.plan.recording import CodeFacts


class _Open(NamedTuple):
    """An open call."""

    recorded: PlannedCall | None
    """Its counterpart in the original, if any."""
    is_live: bool = False
    """Whether it is a tool or model call that runs live."""


_CallsByName = defaultdict[tuple[str | None, str], list[PlannedCall]]
"""{(agent, name): recorded calls in order}."""
_OF_THE_SLOT = frozenset({"agent_id", "agent_role", "event_type"})
_NOTHING = _Open(None)
_open: ContextVar[_Open | None] = ContextVar("agent_trace_forked_call", default=None)


class CallObserver(Protocol):
    """Observes the calls of a fork, and may answer them itself."""

    def entered(self, call: TracedCall, answer: Callable[[TracedCall], Response | None]) -> Response | None:
        """Handle the start of a call: return a response, such as `answer(call)`, or None to run its body."""

    def left(self, call: TracedCall) -> None:
        """Handle the end of a call whose body ran."""


@dataclass(slots=True, eq=False)
class ForkPlayer:
    """Answers the calls of a fork after its point."""

    live: frozenset[str]
    """The agents whose code runs."""
    _known: Collection[str]
    """The agents of the original; any other agent was created in the fork, and its code runs too."""
    reads_sources: bool
    """Whether the original recorded its reads of random generators, clocks and environment."""
    _comparison: Comparison
    """Compares arguments with recorded ones."""
    _outcome: ForkOutcome
    """Receives counts of responses, and the reason for a stop."""
    _allowed: bool | Collection[str]
    """Names of tools, models and agents that may be called live; True for all."""
    calls: InitVar[Iterable[PlannedCall]]
    """The recorded calls of agents whose code does not run, in order."""
    roots: InitVar[Iterable[PlannedCall]]
    """The recorded actions after the point, in order."""
    tools: InitVar[CallBook]
    """The recorded responses of tools and models."""
    current: PlannedCall | None = None
    """The recorded counterpart of the current action."""
    is_stopped: bool = False
    observer: CallObserver | None = None
    left: Callable[[PlannedCall], None] = lambda _call: None
    """Called with the counterpart when a call that has one ends."""
    _answers: AnswerBook = field(init=False)
    """Restores recorded responses of agents."""
    _pipeline: Pipeline = field(init=False)
    """Records the fork; also used to encode arguments for comparison."""
    _echo: ResponseRecorder | None = field(init=False)
    """Writes responses into the fork's recording; None if the fork is not recorded."""
    _opened: list[tuple[TracedCall, Token[_Open | None], _Open]] = field(default_factory=list)
    _tools: ToolReplayer = field(init=False)
    _roots: _CallsByName = field(default_factory=lambda: defaultdict(list))
    _free: _CallsByName = field(default_factory=lambda: defaultdict(list))

    def __post_init__(
        self, calls: Iterable[PlannedCall], roots: Iterable[PlannedCall], tools: CallBook
    ) -> None:
        self._tools = ToolReplayer(book=tools, tolerance=0.0)
        for known, recorded in ((self._roots, roots), (self._free, calls)):
            for call in recorded:
                known[call.agent_id, call.name].append(call)

    def begin(self, answers: AnswerBook, pipeline: Pipeline, echo: ResponseRecorder | None) -> None:
        """Begin a fork at the point."""
        self._answers, self._pipeline, self._echo = answers, pipeline, echo

    @property
    def is_needed(self) -> bool:
        """Whether agents' calls have to be intercepted: to answer or observe them, or to replay reads."""
        return self.reads_sources or self.observer is not None or not self.live.issuperset(self._known)

    def open_call(self) -> PlannedCall | None:
        """Return the counterpart of the innermost open call; None if it has none."""
        opened = _open.get()
        return None if opened is None else opened.recorded

    @property
    def is_live(self) -> bool:
        """Whether the innermost open call is a tool or model that runs live."""
        opened = _open.get()
        return opened is not None and opened.is_live

    def enter(self, call: TracedCall) -> Response | None:
        """Return the recorded response or the observer's; None to run the call's body."""
        return self._answer(call) if self.observer is None else self.observer.entered(call, self._answer)

    def _answer(self, call: TracedCall) -> Response | None:
        if self.is_stopped:
            raise ReplayStopped
        if call.kind in CALL_KINDS:
            return self._tool(call)
        if call.kind not in ACTION_KINDS:
            return None
        if call.agent_id is None or call.agent_id in self.live or call.agent_id not in self._known:
            if not call.is_generator:
                self._enter_own(call)
            return None
        return self._peer(call)

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:  # noqa: ARG002
        """Handle the end of a call whose body ran; nothing is compared."""
        self.close_call(call)
        if self.observer is not None:
            self.observer.left(call)

    def close_call(self, call: TracedCall) -> None:
        """Remove a call from the open calls."""
        entry = close_call(self._opened, call, _open)
        if entry is not None and entry[2].recorded is not None:
            self.left(entry[2].recorded)

    def _enter_own(self, call: TracedCall) -> None:
        """Open a call whose body runs, and find its counterpart inside the enclosing call's counterpart."""
        above = _open.get()
        planned: PlannedCall | None = None
        if above is None:
            free = self._roots[call.agent_id, call.qualname.rpartition(".")[2]]
            planned = free.pop(0) if free else None
        elif above.recorded is not None:
            planned = take_nested(call, above.recorded)
        self._note_open(call, _NOTHING if planned is None else _Open(planned))

    def _note_open(self, call: TracedCall, what: _Open) -> None:
        self._opened.append((call, _open.set(what), what))

    def stop(self, reason: str) -> NoReturn:
        """Stop the fork with a BaseException, which `except Exception` in replayed code does not catch."""
        self.is_stopped = True
        if self._outcome.stopped is None:
            self._outcome.stopped = reason
        raise ReplayStopped

    def _tool(self, call: TracedCall) -> Response | None:
        name = call.action_type
        if is_live(self._allowed, name):
            self._note_real(call, name)
            if not call.is_generator:
                self._note_open(call, _Open(None, is_live=True))
            return None
        kind = "tool.call" if call.kind == "tool.call" else "model.call"
        requested = self._tools.ask(kind, name, dict(call.args), defaults=call.defaults)
        match = self._tools.find(requested)
        if not isinstance(match, Match):
            what = "tool" if kind == "tool.call" else "model"
            self.stop(
                f"{what} {name}({short_json(requested.arguments.value)}) has no recorded response after the "
                f"point; allow a live call with --live {name}"
            )
        try:
            answer = self._tools.take(match, call.args)
        except RecordingMiss as error:
            self.stop(str(error))
        except Unanswerable as error:
            self.stop(f"the recorded response of {name} cannot be restored: {error}")
        self._outcome.answered[name] += 1
        return with_stop(answer, self.stop)

    def _note_real(self, call: TracedCall, name: str) -> None:
        try:
            check_live(name, call.place)
        except ReplayError as error:
            self.stop(str(error))
        self._outcome.live[name] += 1

    def _peer(self, call: TracedCall) -> Response | None:
        name = call.qualname.rpartition(".")[2]
        who = str(call.agent_id)
        if is_live(self._allowed, who) and call.target is not None:
            self._note_real(call, who)
            self._enter_own(call)
            return None
        planned = self._matching(call, name)
        if planned is None:
            hint = "" if call.target is None else f"; let its code run with --live {who}"
            arguments = list(call.args.values()) if isinstance(call.args, Positional) else dict(call.args)
            arguments_text = short_json(arguments)
            self.stop(
                f"{name} of {who}, called with {arguments_text}, has no recorded response after "
                f"the point{hint}"
            )
        self._free[planned.agent_id, planned.name].remove(planned)
        if planned.parent is not self.current:
            self._outcome.moved += 1
        try:
            event = planned.event if self._echo is None else self._echo.write(planned.event)
            answer, lack = self._answers.answer(event, named_arguments(call, event))
        except Unanswerable as error:
            self.stop(f"the recorded response of {name} of {who} (event {planned.event.id}): {error}")
        if lack is not None:
            self._outcome.note(f"the response of {name} of {who}: {lack}")
        self._outcome.answered[who] += 1
        return answer

    def _matching(self, call: TracedCall, name: str) -> PlannedCall | None:
        """Find an unused recorded call with the same arguments, preferably within the current action."""
        free = self._free[call.agent_id, name]
        near = [each for each in free if self.current is not None and each.parent is self.current]
        for each in (*near, *(other for other in free if other not in near)):
            if "args" not in each.event.extra:
                return each
            both = both_arguments(call, each.event, self._pipeline)
            if self._comparison.difference(*both, NAMES) is None:
                return each
        return None


def answerable(calls: Iterable[PlannedCall], own: frozenset[str]) -> list[PlannedCall]:
    """Select the calls to answer: of agents whose code does not run, made by code that runs."""
    calls_found = []
    for call in calls:
        above = call.parent
        if call.agent_id is None or call.agent_id in own:
            continue
        if above is None or above.agent_id is None or above.agent_id in own:
            calls_found.append(call)
    return sorted(calls_found, key=lambda call: (call.began_us, call.event.seq))


@dataclass(frozen=True, slots=True, eq=False)
class ResponseRecorder:
    """Copies answered actions of other agents into the fork's recording, which is then complete."""

    _pipeline: Pipeline
    """Records the fork."""
    _errors: dict[str, Event]
    """The original's `error` events by id; those of the fork are added."""
    _codes: Mapping[str, CodeFacts]
    """Facts about the original's code by digest."""
    _written_codes: set[str] = field(default_factory=set)

    def write(self, event: Event) -> Event:
        """Write an answered call and its error; return the event with its ids in the fork."""
        extra = {**event.extra, "answered_by": event.id}
        error_event = self._errors.get(str(extra.get("error_id")))
        if error_event is not None:
            extra["error_id"] = self._put(error_event, error_event.extra)
            self._errors[str(extra["error_id"])] = error_event
        tail = b""
        if event.code is not None:
            self._write_code(event.code)
            tail = b',"code":"%s"' % event.code.encode()
        span_id = self._pipeline.next_span_id()
        identity = self._put(event, extra, span_id=span_id, tail=tail)
        return replace(event, id=identity, span_id=span_id, extra=extra)

    def _put(
        self, event: Event, extra: Mapping[str, Any], *, span_id: str | None = None, tail: bytes = b""
    ) -> str:
        pipeline = self._pipeline
        binding = pipeline.binding(event.agent_id, event.agent_role, event.logger)
        slot = binding.slot(event.kind, LEVELS.get(event.level, 20))
        label = event.message.removeprefix(slot.shared.prefix)
        # The values were redacted when the original was recorded.
        body = orjson.dumps({key: value for key, value in extra.items() if key not in _OF_THE_SLOT})[1:-1]
        types = {at: tag for at, tag in (event.types or {}).items() if at.startswith("/extra/")}
        return pipeline.emit(slot, label, body=body, types=types or None, span_id=span_id, tail=tail)

    def _write_code(self, digest: str) -> None:
        facts = self._codes.get(digest)
        if facts is None or digest in self._written_codes:
            return
        self._written_codes.add(digest)
        payload = {"digest": digest, "module": facts.module, "qualname": facts.qualname, **facts.place}
        if facts.source is not None:
            payload["source"] = facts.source
        slot = self._pipeline.binding(None, None, "system", "system").slot("code", 10)
        self._pipeline.emit(slot, facts.qualname, payload)


# Sources after the point of a fork: generators, clocks and environment continue from their recorded position.
#
# A call with a counterpart in the original reads the same values, so that an unchanged fork is the same run.
# After the first call that draws more or less than its counterpart, a generator continues independently.

T = TypeVar("T")

WALL = "time"
_OF_WALL = {f"time.{name}" for name in CLOCK_FORMS} | {"datetime.datetime.now", "datetime.datetime.utcnow"}


class ForkSources(SourceAnswers):
    """Provides the values that a fork reads: `begin_forks` once at the point, then `go_on` for each fork."""

    fork: ForkOutcome
    player: ForkPlayer
    clocks: ForkClocks

    def begin_forks(self, first: Event | None, wall_us: float, fork: ForkOutcome) -> None:
        """Collect the reads before the point, and move adopted generators to their positions there.

        Args:
            first: the first event after the point; None if the point is at the end.
            wall_us: the wall-clock time at the point, in microseconds since 1970.
            fork: receives notes.
        """
        self.fork, self._wall_us = fork, wall_us
        events = [event for event in self._recording.events if "reads" in event.extra]
        behind = [first is not None and order_key(event) >= order_key(first) for event in events]
        self._latest = latest_reads(
            event.extra["reads"] for event, is_behind in zip(events, behind, strict=True) if not is_behind
        )
        self._put_all([event for event, is_behind in zip(events, behind, strict=True) if is_behind])

    def go_on(self, player: ForkPlayer) -> None:
        """Begin a fork; the player has its open calls."""
        self.player, self.clocks = player, ForkClocks(self._wall_us, self._latest)
        self._independent: set[str] = set()
        self._are_released = False
        self._calls.clear()

    def release(self) -> None:
        """Let all generators continue independently, since they were seeded."""
        self._are_released = True

    def _put_all(self, behind: Sequence[Event]) -> None:
        """Move adopted generators to where the first draws after the point begin."""
        draws: dict[str, list[tuple[str, list[Any]]]] = {}
        for event in behind:
            for kind, key in kinds_of_draws(event.extra["reads"]):
                segments = event.extra["reads"][key]
                if kind != "draws" and segments:
                    draws.setdefault(self.places.of_key(key), []).append((key, segments[0]))
        self.is_putting = True
        for adopted in list(living):
            recorded_draws = draws.get(self.places.of(adopted) or "")
            if recorded_draws:
                self._move(adopted, *_earliest(recorded_draws))
        self.is_putting = False

    @property
    def _is_off(self) -> bool:
        return self.player.is_live

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:  # noqa: ARG002
        """See `SourcePlayer`."""
        if self._is_off:
            return now()
        reads = self._reads()
        values = () if reads is None else reads.values.get(source, ())
        if reads is not None and reads.taken[source] < len(values):
            recorded_value = values[reads.taken[source]]
            reads.taken[source] += 1
            try:
                value = decode(recorded_value)
            except Exception:  # noqa: BLE001 - the value is redacted, or the log was edited
                self.fork.note(f"the recorded value of {source} cannot be restored, so it is read live")
            else:
                return self.clocks.recorded(source, value, now)
        return self.clocks.now(source, now)

    def draw(self, adopted: Adopted, count: int, now: Callable[[], T], bits: int | None = None) -> T:
        """See `SourcePlayer`."""
        place = None if self.is_putting or self._is_off else self.places.of(adopted)
        if place is None or self._are_released or place in self._independent:
            return self._drawn_now(adopted, count, now, bits)
        reads = self._reads()
        draws = None if reads is None else reads.draws_for(adopted, place)
        segment = None if draws is None else draws.take(count, lambda each: self._begin(adopted, draws, each))
        if draws is None or segment is None or isinstance(draws.value, str) or not draws.fits(bits):
            self._independent.add(place)
            return self._drawn_now(adopted, count, now, bits)
        if draws.kind == "draws":
            drawn = draws.value
            return self._drawn_now(adopted, count, lambda: drawn, bits)  # type: ignore[no-any-return]
        value = adopted.drawn(count, now)
        if draws.is_at_end_of(segment) and adopted.end_differs(segment):
            self._independent.add(place)
        return value

    @staticmethod
    def _drawn_now(adopted: Adopted, count: int, now: Callable[[], T], bits: int | None) -> T:
        if isinstance(adopted, AdoptedDraws):
            return adopted.drawn(count, now, bits)  # type: ignore[no-any-return]
        return adopted.drawn(count, now)

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """See `SourcePlayer`."""
        if self.is_putting:
            return
        reads = self._reads()
        if mark is not None:
            adopted.marked(mark)
            place = self.places.of(adopted)
            draws = None if reads is None or place is None else reads.draws_for(adopted, place)
            if place and (draws is None or draws.take(1, lambda _: None) is None or draws.value != mark):
                self._independent.add(place)
            return
        if reads is not None:
            reads.of.pop(adopted.number, None)  # later draws are recorded under another state
        self._seeded[adopted.number] = adopted.snapshot()
        if not is_known:
            del self._seeded[adopted.number]

    def left(self, call: PlannedCall) -> None:
        """Handle the end of a call with this counterpart; generators that drew less become independent."""
        known = self._calls.get(call.event.id)
        for draws in known.draws if known is not None else ():
            if draws.left() is not None:
                self._independent.add(draws.place)

    def _reads(self) -> CallReads | None:
        call = self.player.open_call()
        return None if call is None else self._of(call)

    def _begin(self, adopted: Adopted, draws: RecordedDraws, segment: list[Any]) -> None:
        """Move a generator to the beginning of a recorded segment, unless it was seeded differently."""
        if draws.kind == "draws":
            return
        seeded = self._seeded.pop(adopted.number, None)
        base_id = adopted.base_id(draws.key, segment)
        if seeded is not None and not adopted.began_at(
            seeded, None if base_id is None else self._base(base_id)
        ):
            self._independent.add(draws.place)
            return
        self._move(adopted, draws.key, segment)

    def _move(self, adopted: Adopted, key: str, segment: list[Any]) -> None:
        base_id = adopted.base_id(key, segment)
        base = None if base_id is None else self._base(base_id)
        if base_id is not None and base is None:
            self.fork.note(f"a state of {adopted.name} is missing from the recording, so it is not set")
            return
        try:
            adopted.move(segment, base)
        except Exception as error:  # noqa: BLE001 - a state of another version, or an edited log
            self.fork.note(f"a recorded state of {adopted.name} cannot be restored: {error}")


def _earliest(candidates: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """Return the first draws: the lowest position after one state, else those of the first event."""
    key = candidates[0][0]
    same = [each for each in candidates if each[0] == key]
    return min(same, key=lambda each: each[1][0]) if key.startswith("random@") else candidates[0]


def kind_of(source: str) -> str | None:
    """Return the clock that a source reads: `time`, `monotonic`, `perf_counter`, ...; None for others."""
    if source in _OF_WALL:
        return WALL
    module, _, name = source.partition(".")
    return name.removesuffix("_ns") if module == "time" and name in CLOCKS else None


class ForkClocks:
    """Shows recorded time, so that a fork takes place at the same time as its original.

    A read with a recorded counterpart returns the recorded value. Any other read returns the last recorded
    time plus the real time since then. No clock goes backwards.

    Args:
        wall_us: the wall-clock time at the point, in microseconds since 1970.
        latest: the last recorded value of each other clock before the point, by source.
    """

    def __init__(self, wall_us: float, latest: Mapping[str, float]) -> None:
        self._ahead_ns = {WALL: int(wall_us * 1000) - time.time_ns()}
        """By kind of clock, the recorded minus the real time in nanoseconds."""
        self._shown: dict[str, tuple[int, int]] = {}
        """By kind, that difference at the last unrecorded read, and the monotonic time of that read (ns)."""
        for source, value in latest.items():
            kind = kind_of(source)
            if kind is not None and kind != WALL:
                self._ahead_ns[kind] = _ahead_ns(source, value, getattr(time, source.partition(".")[2])())

    def recorded(self, source: str, value: T, now: Callable[[], T]) -> T:
        """Return the recorded value, or a later time if the clock would otherwise go backwards."""
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
        """Return the value of an unrecorded read: for a clock, the recorded time plus the real time since."""
        kind, real = kind_of(source), now()
        if kind is None or kind not in self._ahead_ns:
            return real
        ahead = self._ahead_ns[kind]
        self._shown[kind] = ahead, time.monotonic_ns()
        return later_time(real, ahead)


def latest_reads(reads: Iterable[Any]) -> dict[str, float]:
    """Return the last recorded value of each clock except the wall clock; `reads` are in order."""
    latest: dict[str, float] = {}
    for each in reads:
        for source, values in each.items() if isinstance(each, dict) else ():
            if kind_of(source) not in {None, WALL} and values:
                latest[source] = values[-1]
    return latest


def _ahead_ns(source: str, value: Any, real: Any) -> int:
    if isinstance(value, datetime):
        return int((value - real) / timedelta(microseconds=1)) * 1000
    return int(value - real) if source.endswith("_ns") else round((value - real) * 1e9)


def seed_generators(objects: Mapping[str, object], seed: int) -> int:
    """Seed all exposed generators of agents, and those of `random` and `numpy.random`.

    Each gets a different seed, derived from the given one, the agent and the field.

    Returns:
        The number of exposed generators, without those of modules.
    """
    count = 0
    for agent_id, obj in objects.items():
        for index, (name, generator) in enumerate(generators_in(obj)):
            _seed(generator, f"{seed}/{agent_id}/{name}/{index}")
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
