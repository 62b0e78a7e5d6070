"""Executors (`AgentExecutor`), what one is asked (`ReplayConfig`), and what came of it, with a verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol, runtime_checkable

import orjson

from Agent.errors import RunNotFound
from Agent.flight.checkpoints.delta import CHECKPOINT_LIMITS
from Agent.flight.recorded_calls import CallBook, RequestedCall, read_calls
from Agent.flight.run_reading import RunRef
from Agent.flight.tool_replayer import ToolReplayer, shown_where_they_part
from Agent.record.emit.context import CallPlace
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.sources.adopted import asker_of, module_of
from Agent.record.state.agents import agent_id_of
from Agent.replay.compare.comparison import EVERY_MAPPING, Agreement, Comparison, Difference, Recorded
from Agent.replay.compare.outcome import EXIT_CODES, SourceRead, Verdict, short
from Agent.replay.drive.watched import SourceWatch
from Agent.replay.forks.outcome import Patch

NOT_GIVEN: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """How to continue from a checkpoint; without anything, as it was recorded."""

    modified_input: Any = None
    """Another input. A mapping is a JSON merge patch of a recorded mapping; all else takes its place."""
    dry_run: bool = False
    """Run no user code and ask no model: the mock executor."""
    modified_state: Patch | None = None
    """A patch of the state, as `fork_run` takes it."""
    overrides: Mapping[str, Any] | None = None
    """Handed to the executor as they are."""
    executor: str | None = None
    """By name; without it the run's label `framework`, then what the record shows."""
    target: Any = None
    """`module:factory`, or such a function, for executors that build agents or graphs."""
    live: bool | Collection[str] = False
    """Names of tools and models that may be called live, or True for all."""
    timeout_seconds: float | None = None

    @property
    def is_modified(self) -> bool:
        """Whether something is to be other than it was recorded."""
        return self.modified_input is not None or self.modified_state is not None or bool(self.live)


@dataclass(slots=True)
class ReplayResult:
    """What continuing from a checkpoint gave, beside what was recorded; `str()` of it is for people."""

    checkpoint_id: str
    run: str
    executor: str
    input: Any
    execution: Execution = field(repr=False)
    diff: dict[str, Any]
    verdict: Verdict | None
    """None of a comparison: where something was modified, or a fork was made."""
    reasons: tuple[str, ...]
    """Why it is UNVERIFIED."""
    duration_ms: float
    replay_id: str = ""
    path: Path | None = None
    """The directory that keeps the report; None where it could not be written."""

    @property
    def output(self) -> Any:
        """What it gave."""
        return self.execution.output

    @property
    def original_output(self) -> Any:
        """What was recorded."""
        return self.execution.original

    @property
    def error(self) -> str | None:
        """Type and text of what the executor raised."""
        return self.execution.error

    @property
    def completed(self) -> bool:
        """Whether the executor came to its end."""
        return self.error is None

    @property
    def user_code_ran(self) -> bool:
        """Whether code of the user's made the output."""
        return self.execution.user_code_ran

    @property
    def exit_code(self) -> int:
        """Of the verdict; of a comparison 0, or 4 where it did not come to its end."""
        if self.verdict is not None:
            return EXIT_CODES[self.verdict]
        return 0 if self.completed and not self.execution.reasons else 4

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without secrets."""
        names = ("replay_id", "checkpoint_id", "run", "executor", "verdict", "completed", "user_code_ran")
        more = ("error", "input", "output", "original_output", "diff")
        told = {name: getattr(self, name) for name in (*names, *more)} | {
            "reasons": list(self.reasons),
            "duration_ms": round(self.duration_ms, 3),
            "divergence": self.execution.divergence,
            "notes": list(self.execution.notes),
            "details": self.execution.details,
        }
        return dict(recorded_form(told)[0])

    def __str__(self) -> str:
        verdict = "comparison" if self.verdict is None else self.verdict.value
        has_output = self.user_code_ran or self.output is not None
        summary = self.diff["summary"] if has_output else "nothing was replayed"
        lines = [f"{verdict} {self.checkpoint_id} by {self.executor}: {summary}"]
        lines += [f"  because {reason}" for reason in self.reasons]
        if self.execution.divergence is not None:
            lines.append(f"  first difference: {self.execution.divergence}")
        if self.error is not None and self.error not in str(self.execution.divergence):
            lines.append(f"  raised: {self.error}")
        if has_output:
            lines += self._changes()
        return "\n".join([*lines, *(f"  note: {note}" for note in self.execution.notes)])

    def _changes(self) -> Iterator[str]:
        for key, change in self.diff["changed"].items():
            yield f"  {key}: {' -> '.join(shown_where_they_part(change['old'], change['new']))}"
        for key, value in self.diff["added"].items():
            yield f"  {key}: added, {short(value)}"
        for key, value in self.diff["removed"].items():
            yield f"  {key}: missing, was {short(value)}"


def judge_execution(execution: Execution, *, is_modified: bool) -> dict[str, Any]:
    """Compare the output with the recorded one: `diff`, `verdict`, and the `reasons` why nothing was proved.

    Where no user code ran nothing is ever proved; what was meant to differ is a comparison.

    Args:
        is_modified: something was to be other than recorded.
    """
    comparison = Comparison(None, execution.same_id)
    diff = compute_diff(execution.original, execution.output, comparison)
    if execution.divergence is None and not diff["has_changes"]:
        execution.divergence = _order_difference(execution)
    verdict, reasons = _verdict(execution, diff, comparison.agreement, is_modified=is_modified)
    return {"diff": diff, "verdict": verdict, "reasons": tuple(reasons)}


def _verdict(
    execution: Execution, diff: Mapping[str, Any], agreement: Agreement, *, is_modified: bool
) -> tuple[Verdict | None, list[str]]:
    if not execution.user_code_ran:
        return Verdict.UNVERIFIED, execution.reasons or ["no user code ran"]
    if is_modified or execution.is_comparison:
        return None, execution.reasons
    overlooked = [*sorted(agreement.unseen), *sorted(agreement.older)]
    reasons = [*execution.reasons, *map(str, execution.reads)]
    reasons += [f"the value of {name} cannot be compared" for name in overlooked]
    found = execution.divergence or execution.error or (diff["summary"] if diff["has_changes"] else None)
    if reasons:
        return Verdict.UNVERIFIED, reasons + ([] if found is None else [f"so this proves nothing: {found}"])
    if found is not None:
        return Verdict.DIVERGED, []
    if execution.output is None or execution.output == {}:
        return Verdict.UNVERIFIED, ["nothing informative was compared: neither run has an output"]
    is_equivalent = bool(agreement.redacted or agreement.identifiers)
    return (Verdict.EQUIVALENT if is_equivalent else Verdict.IDENTICAL), []


def _order_difference(execution: Execution) -> str | None:
    """Where two outputs part that `compute_diff` finds to be the same: in the order of keys in a value."""
    one, other = _keyed(execution.original), _keyed(execution.output)
    found = recorded_difference(one, other, Comparison(None, execution.same_id))
    if found is None:
        return None
    return f"output{found.path}: {short(found.recorded)} -> {short(found.replayed)}"


@runtime_checkable
class AgentExecutor(Protocol):
    """Continues from a checkpoint with user code, or reports that it did not."""

    async def execute(
        self,
        input: Any,  # noqa: A002 - the name that the executors of users have
        state: Any,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Any:
        """Continue from a checkpoint.

        Args:
            input: the input of the step after the checkpoint, or that of `ReplayConfig`; None if it was not
                recorded.
            state: the state of the checkpoint, with the changes of `ReplayConfig`.
            config: `checkpoint_id`, `run_id`, `step_id`, `agent_id`, `session`, `framework`, `labels`,
                `original_output`, `target`, `modified_state`, `modified_input`, `live`, `timeout_seconds`.
            overrides: `ReplayConfig.overrides`, unchanged.

        Returns:
            The output, or an `Execution` with more details.
        """


@dataclass(slots=True)
class Execution:
    """The result of an executor with details."""

    output: Any
    user_code_ran: bool = True
    original: Any = NOT_GIVEN
    """What to compare the output with, where the executor knows better than the run's last output."""
    reasons: list[str] = field(default_factory=list)
    """What stands in the way of a verdict."""
    reads: list[SourceRead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    divergence: str | None = None
    """The first difference on the way, in words."""
    error: str | None = None
    """Type and text of what ended it early."""
    is_comparison: bool = False
    """Whether it was meant to differ, so that there is no verdict."""
    same_id: Callable[[str, str], bool] | None = None
    """Whether two texts are ids that were made by chance and stand for the same."""
    details: dict[str, Any] = field(default_factory=dict)
    """For programs: ids of what was made, counts."""


# The difference of two outputs, key by key: what changed, what came, what went.
#
# Both are compared in the form in which they would be recorded, so that a tuple is no list, 1 is not True,
# and a secret hidden in the recording is no difference. The order of a mapping's keys is none here either;
# a verdict asks `recorded_difference`, where it is one.

OUTPUT_KEY = "output"
"""The key of an output that is no mapping of its own."""
_SHOWN_KEYS = 5


def compute_diff(original: Any, replayed: Any, comparison: Comparison | None = None) -> dict[str, Any]:
    """What a replay gave differently.

    Args:
        original: what was recorded.
        replayed: what the replay gave.
        comparison: keeps what had to be overlooked, such as hidden values.

    Returns:
        `summary` in words, `has_changes`, `changed` {key: {"old", "new"}}, `added` and `removed`
        {key: value}. What is no mapping is compared under the key `output`.
    """
    comparison = comparison or Comparison()
    old, new = _keyed(original), _keyed(replayed)
    changed = {
        key: {"old": old[key], "new": new[key]}
        for key in old
        if key in new and recorded_difference(old[key], new[key], comparison, EVERY_MAPPING) is not None
    }
    added = {key: new[key] for key in new if key not in old}
    removed = {key: old[key] for key in old if key not in new}
    return {
        "summary": _summary(changed, added, removed),
        "has_changes": bool(changed or added or removed),
        "changed": changed,
        "added": added,
        "removed": removed,
    }


def recorded_form(value: Any) -> tuple[Any, dict[str, str]]:
    """A value as JSON without its secrets, and its tags as pointers; never raises for a value."""
    body, types = _capture().body({"value": value}, "")
    return orjson.loads(b"{" + body + b"}")["value"], {
        pointer.removeprefix("/value"): tag for pointer, tag in (types or {}).items()
    }


def recorded_difference(
    original: Any, replayed: Any, comparison: Comparison, names: Collection[str] = ("",)
) -> Difference | None:
    """Where two outputs part, the order of keys included but where keys are names; None where they agree.

    Args:
        names: pointers of mappings whose keys are names.
    """
    one, other = (Recorded(*recorded_form(value), "") for value in (original, replayed))
    return comparison.difference(one, other, names)


def _capture() -> Capture:
    return Capture(Redactor(os.urandom(32)), CHECKPOINT_LIMITS, agent_id_of)


def _keyed(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return (
        {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {OUTPUT_KEY: value}
    )


def _summary(changed: dict[str, Any], added: dict[str, Any], removed: dict[str, Any]) -> str:
    kinds = (("changed", changed), ("added", added), ("removed", removed))
    found = [f"{len(keys)} {word} ({_names(list(keys))})" for word, keys in kinds if keys]
    return ", ".join(found) if found else "no changes"


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN_KEYS]) + (", ..." if len(keys) > _SHOWN_KEYS else "")


# User code under watch in this process: reads of chance and time are noticed, the network is refused.
#
# The hook stands only while the code itself runs, also between the awaits of a coroutine; whatever else the
# event loop does is not seen. Its calls of tools and models get the recorded responses after the checkpoint.

_NETWORK: Final = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "socket.sendmsg",
}
_open_watch: ContextVar[ExecutorWatch | None] = ContextVar("agent_trace_executor_watch", default=None)


class ExecutorWatch(SourceWatch):
    """Notices what user code reads; without the process-wide hooks of a replay in a process of its own.

    Args:
        allows_network: somebody asked for live calls.
        frameworks: top-level packages whose own reads do not count, such as ids that a framework gives out.
    """

    def __init__(self, *, allows_network: bool, frameworks: Collection[str] = ()) -> None:
        super().__init__()
        self.allows_network = allows_network
        self._frameworks = frozenset(frameworks)

    def hook_in(self) -> None:
        """Only while user code runs, and in its context; see `open` and `noticing`."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Refuse the network in this context, and those made from it."""
        _install_audit()
        token = _open_watch.set(self)
        try:
            yield
        finally:
            _open_watch.reset(token)

    @contextmanager
    def noticing(self, step: int | None = None) -> Iterator[None]:
        """Notice what this thread reads in the block; a profiler that is at work comes back behind it."""
        before = sys.getprofile()
        if step is not None:
            self._step = step
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _note(self, source: str, frame: FrameType) -> None:
        asker = asker_of(frame)
        if asker is not None and module_of(asker.frame) not in self._frameworks:
            self._add(source, asker.frame)

    def refuse(self, frame: FrameType) -> None:
        """Say that the network was asked for, and by whom."""
        asker = asker_of(frame)
        if asker is not None:
            self._add("network", asker.frame)
        else:
            self.reads.append(SourceRead("network", "a library", "?", 0, self._step))


class watched:  # noqa: N801 - used like a function
    """An awaitable like the one given, noticed while it runs."""

    def __init__(self, awaitable: Awaitable[Any], watch: ExecutorWatch, step: int | None = None) -> None:
        self._awaitable = awaitable
        self._watch = watch
        self._step = step

    def __await__(self) -> Generator[Any, Any, Any]:
        inner: Any = self._awaitable.__await__()
        go_on: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                with self._watch.noticing(self._step):
                    waited = go_on()
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited
            except BaseException as error:  # noqa: BLE001 - handed on to the code that waits
                go_on = partial(inner.throw, error)
            else:
                go_on = partial(next, inner) if sent is None else partial(inner.send, sent)


@cache
def _install_audit() -> None:
    """Once a process, for there is no way back; it does nothing where no watch is open."""

    def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
        if event not in _NETWORK:
            return
        watch = _open_watch.get()
        if watch is None or watch.allows_network:
            return
        watch.refuse(sys._getframe(1))  # noqa: SLF001 - the one way to a caller
        raise PermissionError("the network is not allowed during a replay; ReplayConfig(live=...) allows it")

    sys.addaudithook(refuse)


class AnswersBehind(ToolReplayer):
    """Answers by name and arguments alone: executors call from other places than the recorded program."""

    def ask(self, kind: str, name: str, arguments: Any, _place: CallPlace | None = None) -> RequestedCall:
        """A call that is made now, wherever."""
        return super().ask(kind, name, arguments, None)


def replayer_behind(
    ref: RunRef, after_us: int, is_meant: Callable[[Collection[str]], bool] | None = None
) -> ToolReplayer:
    """The recorded responses of a run's tools and models, of those calls that ended behind a moment.

    Args:
        is_meant: says of the spans around a call whether it counts; all do without it.
    """
    try:
        book = read_calls(ref)
    except RunNotFound:
        book = CallBook(ref)
    book.calls = [
        call
        for call in book.calls
        if call.event.timestamp_us > after_us and (is_meant is None or is_meant(call.place[1]))
    ]
    return AnswersBehind(book=book, tolerance=0.0)
