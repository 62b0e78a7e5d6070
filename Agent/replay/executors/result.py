"""The executor protocol (`AgentExecutor`), its settings (`ReplayConfig`), and the result with its verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import orjson

from Agent.errors import RunNotFound
from Agent.flight.checkpoints.delta import CHECKPOINT_LIMITS
from Agent.flight.recorded_calls import CallBook, RequestedCall, read_calls
from Agent.flight.run_reading import RunRef
from Agent.flight.tool_replayer import ToolReplayer, shown_around_difference
from Agent.record.emit.context import CallPlace
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of
from Agent.render.html import TextInNotebook
from Agent.replay.compare.comparison import Agreement, Comparison, Difference, Recorded
from Agent.replay.compare.outcome import EXIT_CODES, MAY_BE_WHY, SourceRead, Verdict, listed, short
from Agent.replay.forks.outcome import Patch

NOT_GIVEN: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """How to continue from a checkpoint; by default, exactly as recorded."""

    modified_input: Any = None
    """A new input. A mapping is a JSON merge patch of a recorded mapping; any other value replaces it."""
    dry_run: bool = False
    """Use the mock executor: run no user code and call no model."""
    modified_state: Patch | None = None
    """A patch of the state, as `fork_run` takes it."""
    overrides: Mapping[str, Any] | None = None
    """Passed to the executor unchanged."""
    executor: str | None = None
    """The executor's name; by default the run's label `framework`, else chosen by its steps or its target."""
    target: Any = None
    """`module:factory`, or such a function, for executors that build agents or graphs."""
    live: bool | Collection[str] = False
    """Names of tools and models that may be called live, or True for all."""
    timeout_seconds: float | None = None

    @property
    def is_modified(self) -> bool:
        """Whether the input, the state or the responses may differ from the recording."""
        return self.modified_input is not None or self.modified_state is not None or bool(self.live)


@dataclass(slots=True)
class ReplayResult(TextInNotebook):
    """The outcome of continuing from a checkpoint, with the recorded output; `str()` is for people."""

    checkpoint_id: str
    run: str
    executor: str
    input: Any
    execution: Execution = field(repr=False)
    diff: dict[str, Any]
    verdict: Verdict | None
    """None for a comparison: something was modified, or a fork was made."""
    reasons: tuple[str, ...]
    """Why it is UNVERIFIED."""
    duration_ms: float
    replay_id: str = ""
    path: Path | None = None
    """The directory of the report; None if it could not be written."""

    @property
    def output(self) -> Any:
        """The output of the replay."""
        return self.execution.output

    @property
    def original_output(self) -> Any:
        """The recorded output."""
        return self.execution.original

    @property
    def error(self) -> str | None:
        """Type and message of the executor's exception."""
        return self.execution.error

    @property
    def completed(self) -> bool:
        """Whether the executor finished without an error."""
        return self.error is None

    @property
    def user_code_ran(self) -> bool:
        """Whether user code produced the output."""
        return self.execution.user_code_ran

    @property
    def exit_code(self) -> int:
        """The verdict's exit code; for a comparison 0, or 4 if it did not finish."""
        if self.verdict is not None:
            return EXIT_CODES[self.verdict]
        return 0 if self.completed and not self.execution.reasons else 4

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values without secrets."""
        names = ("replay_id", "checkpoint_id", "run", "executor", "verdict", "completed", "user_code_ran")
        more = ("error", "input", "output", "original_output", "diff")
        fields = {name: getattr(self, name) for name in (*names, *more)} | {
            "reasons": list(self.reasons),
            "duration_ms": round(self.duration_ms, 3),
            "divergence": self.execution.divergence,
            "notes": list(self.execution.notes),
            "details": self.execution.details,
        }
        return dict(recorded_form(fields)[0])

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
            yield f"  {key}: {' -> '.join(shown_around_difference(change['old'], change['new']))}"
        for key, value in self.diff["added"].items():
            yield f"  {key}: added, {short(value)}"
        for key, value in self.diff["removed"].items():
            yield f"  {key}: missing, was {short(value)}"


def judge_execution(execution: Execution, *, is_modified: bool) -> dict[str, Any]:
    """Compare the output with the recorded one; return `diff`, `verdict` and the `reasons` for UNVERIFIED.

    If no user code ran, the verdict is UNVERIFIED. A modified replay or a fork is a comparison, verdict None.

    Args:
        is_modified: the input, the state or the responses may differ from the recording.
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
    reasons = [*execution.reasons, *map(str, execution.reads)]
    reasons += [f"the value of {name} cannot be compared" for name in sorted(agreement.unseen)]
    difference = execution.divergence or execution.error or (diff["summary"] if diff["has_changes"] else None)
    if reasons:
        return Verdict.UNVERIFIED, reasons + ([] if difference is None else [f"{MAY_BE_WHY}: {difference}"])
    if difference is not None:
        return Verdict.DIVERGED, []
    if execution.output is None or execution.output == {}:
        return Verdict.UNVERIFIED, ["nothing informative was compared: neither run has an output"]
    is_equivalent = bool(agreement.redacted or agreement.identifiers)
    return (Verdict.EQUIVALENT if is_equivalent else Verdict.IDENTICAL), []


def _order_difference(execution: Execution) -> str | None:
    """Find a difference that `compute_diff` ignores: the order of keys in a value."""
    one, other = _keyed(execution.original), _keyed(execution.output)
    difference = recorded_difference(one, other, Comparison(None, execution.same_id))
    if difference is None:
        return None
    return f"output{difference.path}: {short(difference.recorded)} -> {short(difference.replayed)}"


@runtime_checkable
class AgentExecutor(Protocol):
    """Continues from a checkpoint with user code, or reports that it did not."""

    async def execute(
        self,
        input: Any,  # noqa: A002 - the name in users' executors
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
    """The value to compare the output with; by default the run's last output."""
    reasons: list[str] = field(default_factory=list)
    """Why the verdict is UNVERIFIED."""
    reads: list[SourceRead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    divergence: str | None = None
    """The first difference before the output, in words."""
    error: str | None = None
    """Type and message of the error that ended it early."""
    is_comparison: bool = False
    """Whether a difference is expected, so that there is no verdict."""
    same_id: Callable[[str, str], bool] | None = None
    """Whether two texts are random ids of the same thing."""
    details: dict[str, Any] = field(default_factory=dict)
    """Machine-readable details: ids of created forks, counts."""


# The difference between two outputs, key by key: changed, added and removed.
#
# Both are compared in their recorded form: a tuple differs from a list, 1 differs from True, and a secret
# that is hidden in the recording is not a difference. The order of a mapping's keys is ignored here;
# `recorded_difference`, which a verdict uses, compares it.

OUTPUT_KEY = "output"
"""The key under which an output that is not a mapping is compared."""
_SHOWN_KEYS = 5


def compute_diff(original: Any, replayed: Any, comparison: Comparison | None = None) -> dict[str, Any]:
    """Compare the output of a replay with the recorded one, key by key.

    Args:
        original: the recorded output.
        replayed: the output of the replay.
        comparison: collects values that could not be compared, such as hidden ones.

    Returns:
        `summary` in words, `has_changes`, `changed` {key: {"old", "new"}}, `added` and `removed`
        {key: value}. A value that is not a mapping is compared under the key `output`.
    """
    comparison = comparison or Comparison()
    old, new = _keyed(original), _keyed(replayed)
    changed = {
        key: {"old": old[key], "new": new[key]}
        for key in old
        if key in new and recorded_difference(old[key], new[key], comparison, None) is not None
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
    """Return a value as JSON without secrets, and its type tags by JSON pointer; accepts every value."""
    capture = Capture(Redactor(os.urandom(32)), CHECKPOINT_LIMITS, agent_id_of)
    body, types = capture.body({"value": value}, "")
    return orjson.loads(b"{" + body + b"}")["value"], {
        pointer.removeprefix("/value"): tag for pointer, tag in (types or {}).items()
    }


def recorded_difference(
    original: Any, replayed: Any, comparison: Comparison, names: Collection[str] | None = ("",)
) -> Difference | None:
    """Return the first difference between two outputs, including the order of keys; None if they agree.

    Args:
        names: pointers of mappings whose order of keys does not matter; None for all.
    """
    one, other = (Recorded(*recorded_form(value), "") for value in (original, replayed))
    return comparison.difference(one, other, names)


def _keyed(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return (
        {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {OUTPUT_KEY: value}
    )


def _summary(changed: dict[str, Any], added: dict[str, Any], removed: dict[str, Any]) -> str:
    kinds = (("changed", changed), ("added", added), ("removed", removed))
    clauses = [f"{len(keys)} {word} ({listed(keys, _SHOWN_KEYS)})" for word, keys in kinds if keys]
    return ", ".join(clauses) or "no changes"


class ReplayerByArguments(ToolReplayer):
    """Matches calls by name and arguments alone, since executors call from other places than the program."""

    def ask(
        self,
        kind: str,
        name: str,
        arguments: Any,
        _place: CallPlace | None = None,
        defaults: Callable[[Any], str] | None = None,
    ) -> RequestedCall:
        """Describe a call made by the replay, without its place."""
        return super().ask(kind, name, arguments, None, defaults)


def replayer_after(
    ref: RunRef, after_us: int, is_meant: Callable[[Collection[str]], bool] | None = None
) -> ToolReplayer:
    """Return a replayer with the responses of a run's tool and model calls that ended after a time.

    Args:
        ref: the run; it may lack recorded calls.
        after_us: microseconds since 1970.
        is_meant: returns whether a call counts, given its enclosing spans; by default all calls count.
    """
    try:
        book = read_calls(ref)
    except RunNotFound:
        book = CallBook(ref)
    meant = [call for call in book.calls if is_meant is None or is_meant(call.place[1])]
    book.earlier = [call for call in meant if call.event.timestamp_us <= after_us]
    book.calls = [call for call in meant if call.event.timestamp_us > after_us]
    return ReplayerByArguments(book=book, tolerance=0.0)
