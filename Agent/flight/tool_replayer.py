"""Return the recorded responses of a run's tools and models, by name or to the decorated tools themselves.

`recorded_calls.py` finds the matching recorded call and restores its response.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import Token
from dataclasses import KW_ONLY, dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any, Literal

import orjson

from Agent.errors import RecordingMiss, ReplayError, UsageError
from Agent.event.pointers import value_at
from Agent.flight.artifact_saving import Tagged
from Agent.flight.open_runs import recorded_root
from Agent.flight.recorded_calls import (
    CALL_KINDS,
    DEFAULTS,
    CallBook,
    Match,
    Nearest,
    RecordedCall,
    RequestedCall,
    find_match,
    read_calls,
)
from Agent.flight.run_reading import RunRef, find_run
from Agent.flight.tool_calls import OPEN_PLAYERS, TOOLS
from Agent.record.emit import installed
from Agent.record.emit.context import CallPlace, Player, Response, TracedCall, current_player
from Agent.record.emit.installed import flush_active
from Agent.record.encode.artifact_bytes import encode_json
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.health import say
from Agent.record.loggers.loggers import WARNING
from Agent.record.state.agents import agent_id_of

_SHOWN_CHARS = 120
Decode = Callable[[Any], Any]


class ToolReplayer:
    """Returns the recorded responses of a run's tools, each once, in recorded order.

    Args:
        run: a run, named as for `find_run`; its nested runs are included.
        root: the trace root; default: the one being recorded into, the configured one, then ./trace.
        tolerance: the largest difference of an argument, from 0 to 1, for which a response is still given.
            Each inexact response is in `inexact`, and an event if something records.
        codecs: {name: codec} of tools that are not imported here.
        book: the calls themselves, if they were already read.

    Raises:
        RunNotFound, SessionNotFound: the run does not exist.
    """

    def __init__(
        self,
        run: str | os.PathLike[str] | RunRef | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        tolerance: float = 0.5,
        codecs: Mapping[str, Any] | None = None,
        book: CallBook | None = None,
    ) -> None:
        if not 0.0 <= tolerance <= 1.0:
            raise UsageError(f"{tolerance} is not a tolerance", remedy="give one from 0 to 1")
        flush_active()  # the run may be recorded by this process, with events still in its buffer
        if book is not None:
            run = book.ref
        self.ref = run if isinstance(run, RunRef) else find_run(run, root or recorded_root())
        self.matches: list[Match] = []
        """The match of every response that was returned, in order."""
        self.missed: RecordingMiss | None = None
        """The first call without a recorded response; later calls get the same error."""
        self._tolerance = tolerance
        self._codecs = dict(codecs or {})
        self._book: CallBook = read_calls(self.ref) if book is None else book
        self._free: dict[tuple[str, str], list[RecordedCall]] = {}
        for call in self._book.calls:
            self._free.setdefault((call.kind, call.name), []).append(call)
        self._totals = {key: len(calls) for key, calls in self._free.items()}
        self._request_counts: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
        self._lock = Lock()
        self._private_capture: Capture | None = None

    @property
    def inexact(self) -> list[Match]:
        """Return the matches that are not exact."""
        return [match for match in self.matches if not match.is_exact]

    @property
    def unused(self) -> list[RecordedCall]:
        """Return the recorded calls whose response was not used, in recorded order."""
        return sorted((call for calls in self._free.values() for call in calls), key=lambda call: call.number)

    def replay(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        """Return the recorded response of a tool called with these arguments; a recorded exception is raised.

        For a generator, return an iterator over its items.

        Raises:
            RecordingMiss: no recorded call matches, or its response cannot be restored.
        """
        answer = self.answer("tool.call", name, {} if args is None else dict(args))
        if answer.change is not None:
            answer.change()
        if answer.items is not None:
            return _played(answer)
        if answer.error is not None:
            raise answer.error
        return answer.result

    def answer(
        self,
        kind: str,
        name: str,
        arguments: Any,
        place: CallPlace | None = None,
        defaults: Callable[[Any], str] | None = None,
    ) -> Response:
        """Return the recorded response as a `Response`, for a `Player`; it may hold an exception or items.

        Raises:
            RecordingMiss: as for `replay`, and for every call after the first miss.
        """
        with self._lock:
            # After the first miss, all calls fail, even if the program caught its error.
            if self.missed is not None:
                raise self.missed
            request = self.ask(kind, name, arguments, place, defaults)
            match = self.find(request)
            if not isinstance(match, Match):
                self.missed = self._miss(request, match)
                raise self.missed
            answer = self.take(match, arguments if isinstance(arguments, Mapping) else None)
        if not match.is_exact:
            self._report_match(match)
        return answer

    def ask(
        self,
        kind: str,
        name: str,
        arguments: Any,
        place: CallPlace | None = None,
        defaults: Callable[[Any], str] | None = None,
    ) -> RequestedCall:
        """Describe a current call in the recorded form, so that it can be compared."""
        used = None if defaults is None else defaults(self._active_capture().reading.hides)
        tagged = self._tagged(kind, name, arguments)
        return RequestedCall(kind, name, tagged, *self._turn(kind, name, place), used)

    def find(self, request: RequestedCall) -> Match | tuple[Nearest, ...]:
        """Find the matching recorded call; if there is none, return the nearest ones."""
        return find_match(self._free.get((request.kind, request.name), []), request, self._tolerance)

    def take(self, match: Match, arguments: Mapping[str, Any] | None = None) -> Response:
        """Return the response of a matching call and mark it as used.

        Args:
            match: a match that `find` returned.
            arguments: the current arguments; `Response.change` repeats on them what the recorded call changed
                in place.

        Raises:
            RecordingMiss: the response cannot be restored.
        """
        call = match.call
        self._free[call.kind, call.name].remove(call)
        self.matches.append(match)
        return self._book.answer(call, self._decoder(call.name), arguments)

    def forget_miss(self) -> None:
        """Clear `missed`, for a caller that makes the call live instead."""
        self.missed = None

    def _turn(
        self, kind: str, name: str, call_place: CallPlace | None
    ) -> tuple[tuple[str, tuple[str, ...]] | None, int]:
        """The place of a call, and the number of earlier calls there."""
        if call_place is None:
            return None, 0
        key = (kind, name, call_place.site, call_place.path)
        self._request_counts[key] += 1
        return (call_place.site, call_place.path), self._request_counts[key] - 1

    def _decoder(self, name: str) -> Decode | None:
        codec = self._codecs.get(name)
        if codec is None and name in TOOLS:
            codec = TOOLS[name].codec
        return None if codec is None else codec.decode

    def _tagged(self, kind: str, name: str, arguments: Any) -> Tagged:
        """The arguments in recorded form, with this process's redaction and capture levels applied."""
        capture = self._active_capture()
        levels = capture.redactor.levels
        if levels is None:
            encoded = encode_json(capture, arguments)
        else:
            part = ("args" if kind == "tool.call" else "prompt",)
            encoded, _ = levels.kept(capture, part, name, lambda given: encode_json(given, arguments))
        content = encoded.content
        raw = content if isinstance(content, bytes) else b"".join(content)
        return Tagged(orjson.loads(raw), encoded.types or {}).with_script(self._book.decoding.scripts())

    def _active_capture(self) -> Capture:
        active = installed.active_pipeline()
        return active.capture if active is not None else self._capture()

    def _capture(self) -> Capture:
        """A capture for use without a recording. Its random key yields tokens that no recording contains.

        Matching treats tokens as hidden values, so different ones do not prevent a match.
        """
        if self._private_capture is None:
            self._private_capture = Capture(Redactor(os.urandom(16)), agent_of=agent_id_of)
        return self._private_capture

    def _miss(self, request: RequestedCall, nearest: tuple[Nearest, ...]) -> RecordingMiss:
        """The error for a call without a match: the call, the nearest recorded calls, and the remedy."""
        key = (request.kind, request.name)
        total, left = self._totals.get(key, 0), len(self._free.get(key, []))
        arguments = short_json(request.arguments.value, _SHOWN_CHARS)
        text = f"{request.name}({arguments}) has no recorded response in this run: "
        if not total:
            recorded_names = ", ".join(
                sorted({name for kind, name in self._totals if kind == request.kind})[:5]
            )
            text += f"it has no call of {request.name}" + (
                f", but {recorded_names}" if recorded_names else ""
            )
        elif not left:
            text += f"all {total} recorded calls of it were used"
        else:
            first, *others = nearest
            described = [_described_call(first) + _both_values(first, request), *map(_described_call, others)]
            text += f"{left} of {total} recorded calls are left, the nearest " + "; ".join(described)
        earlier = sum((call.kind, call.name) == key for call in self._book.earlier)
        if earlier:
            text += f"; not counted: {earlier} before the checkpoint"
        return RecordingMiss(
            text,
            path=self.ref.session,
            remedy=f"record the run again, or allow the call: live={{{request.name!r}}}",
        )

    def _report_match(self, matched: Match) -> None:
        """Record an inexact match as an event; if nothing is recorded, print a message for the first one."""
        active = installed.active_pipeline()
        call = matched.call
        if active is None:
            if sum(not match.is_exact for match in self.matches) == 1:
                say(
                    f"{call.name} was matched with a recorded call that differs in "
                    f"{_differing(matched.distance)}"
                )
            return
        payload: dict[str, Any] = {
            "name": call.name,
            "call": call.kind,
            "rung": matched.rung.value,
            "recorded_id": call.event.id,
            "distance": dict(matched.distance),
        }
        if call.event.run_id is not None:
            payload["recorded_run"] = call.event.run_id
        slot = active.binding(None, None, "replay", "events").slot("replay.match", WARNING)
        active.emit(slot, call.name, payload)


def check_live(name: str, place: CallPlace | None) -> None:
    """Refuse a live call of a write tool unless it has an idempotency key, by which repetitions are detected.

    Raises:
        ReplayError: the tool is a write tool and the call has no idempotency key.
    """
    if place is not None and place.is_write and place.idempotency_key is None:
        raise ReplayError(
            f"the write tool {name} would be executed during replay without an idempotency key",
            remedy='name the parameter, @record_tool(kind="write", idempotency_key=...), and give it',
        )


def is_live(live: bool | Collection[str], name: str) -> bool:
    """Whether calls of the tool or model with that name are made live."""
    return live if isinstance(live, bool) else name in live


def _played(answer: Response) -> Iterator[Any]:
    yield from answer.items or ()
    if answer.error is not None:
        raise answer.error


def short_json(value: Any, chars: int = 80) -> str:
    """Return a value as JSON, cut to a number of characters."""
    text = orjson.dumps(value, default=repr).decode("utf-8", "replace")
    return text if len(text) <= chars else text[: chars - 3] + "..."


def _described_call(one: Nearest) -> str:
    where = f" in {one.call.site}" if one.call.site else ""
    return f"{one.call.event.id}{where}, which differs in {_differing(one.distance)}"


def _both_values(one: Nearest, request: RequestedCall) -> str:
    """The recorded and the current value at the pointer where a recorded call differs most."""
    if not any(one.distance.values()):
        return ""
    at = max(one.distance, key=lambda each: one.distance[each])
    if at == DEFAULTS:
        return ": its parameters have other defaults now"
    sides = [value_at(given, at, _ABSENT) for given in (one.call.arguments.value, request.arguments.value)]
    recorded, now = shown_around_difference(sides[0], sides[1], _SHOWN_CHARS)
    return f": {recorded} recorded, {now} now"


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def _differing(distance: Mapping[str, float]) -> str:
    worst = sorted(distance.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{at or 'the whole'} ({value:.2f})" for at, value in worst) or "nothing visible"


_SHOWN_DIFF_CHARS = 160
_SHOWN_BEFORE = 40


def shown_around_difference(one: Any, other: Any, chars: int = _SHOWN_DIFF_CHARS) -> tuple[str, str]:
    """The `repr` of both values, cut to `chars` characters around their first difference."""
    texts = repr(one), repr(other)
    shorter = min(map(len, texts))
    same = next((at for at in range(shorter) if texts[0][at] != texts[1][at]), shorter)
    begin = max(0, same - _SHOWN_BEFORE) if max(map(len, texts)) > chars else 0
    return _cut(texts[0], begin, chars), _cut(texts[1], begin, chars)


def _cut(text: str, begin: int, chars: int) -> str:
    end = begin + chars
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"


@dataclass(eq=False, repr=False)
class replaying_tools:  # noqa: N801 - used like a function
    """A block in which tools of `record_tool` and models of `recorded_model` return responses of a run.

    `with ... as replayer` binds the `ToolReplayer`. The block applies to all threads of the process. If a
    call has no recorded response, the block ends with a RecordingMiss, even if the code inside caught it.
    All calls of other kinds go to the player around it.

    Args:
        run: as for `ToolReplayer`, or a `ToolReplayer`.
        root: as for `ToolReplayer`.
        live: the names of tools and models that are called live, or True for all; a write tool is called
            live only with an idempotency key.
        on_miss: `stop` raises for a call without a recorded response; `live` makes it, as a fork does after
            its point.
        models: False calls all models live.
        tolerance: as for `ToolReplayer`.
        codecs: likewise.
    """

    run: str | os.PathLike[str] | RunRef | ToolReplayer | None = None
    root: str | os.PathLike[str] | None = None
    _: KW_ONLY
    live: bool | Collection[str] = False
    on_miss: Literal["stop", "live"] = "stop"
    models: bool = True
    tolerance: float = 0.5
    codecs: Mapping[str, Any] | None = None
    replayer: ToolReplayer | None = field(default=None, init=False)
    """None until the block is entered."""
    _outer: Player | None = field(default=None, init=False)
    _token: Token[Player | Literal[False] | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.live, str):
            self.live = {self.live}

    def __enter__(self) -> ToolReplayer:
        run = self.run
        if not isinstance(run, ToolReplayer):
            run = ToolReplayer(run, self.root, tolerance=self.tolerance, codecs=self.codecs)
        self.replayer = run
        self._outer = current_player.get() or None
        self._token = current_player.set(self)
        OPEN_PLAYERS.append(self)
        return run

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self in OPEN_PLAYERS:
            OPEN_PLAYERS.remove(self)
        if self._token is not None:
            current_player.reset(self._token)
        # The code inside may have caught the error of the miss.
        missed = self.replayer.missed if self.replayer is not None else None
        if missed is not None and error is None:
            raise missed

    async def __aenter__(self) -> ToolReplayer:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def enter(self, call: TracedCall) -> Response | None:
        """Return the recorded response; None lets the body run.

        Raises:
            RecordingMiss: the call has no recorded response and may not be made live.
            ReplayError: a write tool would be called live without an idempotency key.
        """
        if call.kind not in CALL_KINDS or self.replayer is None:
            return None if self._outer is None else self._outer.enter(call)
        name = call.action_type
        if (call.kind == "model.call" and not self.models) or is_live(self.live, name):
            check_live(name, call.place)
            return None
        try:
            return self.replayer.answer(call.kind, name, dict(call.args), call.place, call.defaults)
        except RecordingMiss:
            if self.on_miss != "live":
                raise
            check_live(name, call.place)
            self.replayer.forget_miss()
            return None

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """Pass the end of a live call to the outer player, unless it is a tool or model call."""
        if call.kind not in CALL_KINDS and self._outer is not None:
            self._outer.leave(call, result, error)
