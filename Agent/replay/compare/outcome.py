"""The outcome of a replay: the first differences and their places, and the verdict.

Everything here is plain data, which the worker process sends to the caller as JSON.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.python_text import differing_texts, python_path, python_text
from Agent.tree.read.reader import TreeReader

if TYPE_CHECKING:
    from Agent.record.encode.redaction import Redactor

_KEYS = orjson.OPT_NON_STR_KEYS
_OPTIONS = {"results": "result", "arguments": "args"}
"""The part of the option's name by which a decorator leaves them out."""
MADE_BY_FACTORY = "what the factory made"
"""The place of a difference from a recorded first state."""


class ReplayStopped(BaseException):
    """Ends a replay from inside the replayed code; not caught by `except Exception`."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A difference between recording and replay."""

    step: int
    """The number of the replayed action, from 1; 0 before the first."""
    event_id: str
    action: str
    agent_id: str
    field: str
    """`result`, `state.<name>`, `outcome`, `error`, `args`, `calls` or `effects`."""
    recorded: Any
    replayed: Any
    path: str = ""
    """JSON Pointer inside the field; "" for the whole."""
    place: str = ""
    """The nested call or effect that differs, if it is one."""
    inner_agent_id: str = ""
    """The agent whose nested call or effect differs, if it is not the action's."""
    inner_field: str = ""
    """The part of an effect that differs, in the form of `field`: `state.<name>`, `result`, `args`."""
    tick: int | None = None
    """The recorded tick of the action."""
    since: int | None = None
    """The last step after which the field was compared, if it is not the previous step; 0 for none."""
    where: str = ""
    """The differing part in Python notation: `field orders['a'].price`; set by `locate`."""

    @property
    def step_text(self) -> str:
        """The step with its tick, action, agent and event."""
        tick = "" if self.tick is None else f" (tick {self.tick})"
        whose = f" of {self.agent_id}" if self.agent_id else ""
        return f"step {self.step}{tick}, {self.action}{whose}, event {self.event_id}"

    @property
    def texts(self) -> tuple[str, str]:
        """Both values in Python notation; long ones are cut around the first difference."""
        return differing_texts(self.recorded, self.replayed)

    def __str__(self) -> str:
        recorded, replayed = self.texts
        where = self.where or f"{self.field}{self.path}"
        return f"{self.step_text}: {where}: recorded {recorded}, replayed {replayed}"


def short(value: Any) -> str:
    """Return a value in Python notation, cut to 160 characters."""
    text = python_text(value)
    return text if len(text) <= 160 else text[:159] + "…"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source (clock, random generator, environment) that replayed code read and that was not recorded."""

    source: str
    function: str
    file: str
    line: int
    step: int
    is_of_library: bool = False
    """Whether an installed library read it, so that another replay may read a different value."""

    @property
    def reader(self) -> str:
        """The function that read it, with its place."""
        return f"{self.function} ({self.file}:{self.line})"

    def __str__(self) -> str:
        return f"{self.source} read by {self.reader} in step {self.step}"


@dataclass(slots=True)
class Counts:
    """How much was replayed and compared."""

    actions: int = 0
    """All entry actions of the replayed agents, whether they were replayed or not."""
    driven: int = 0
    """Replayed actions."""
    covered: int = 0
    """Actions up to the last informative comparison."""
    informative: int = 0
    results: int = 0
    fields: int = 0
    effects: int = 0
    answers: int = 0
    full_states: int = 0
    redacted: int = 0
    identifiers: int = 0
    callbacks: int = 0


@dataclass(slots=True)
class ReplayOutcome:
    """The result of a replay."""

    agents: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    divergence: Divergence | None = None
    further: list[Divergence] = field(default_factory=list)
    """The differences after the first one, if they were requested."""
    reasons: list[str] = field(default_factory=list)
    """Why the verdict is UNVERIFIED, in order of occurrence."""
    doubts: list[str] = field(default_factory=list)
    """Why a difference, if any, would prove nothing."""
    questions: list[str] = field(default_factory=list)
    """Effects of changed code that the recording cannot confirm: UNVERIFIED if nothing differs."""
    remarks: list[str] = field(default_factory=list)
    """Notes for the reader that do not affect the verdict."""
    sources: list[SourceRead] = field(default_factory=list)
    """Unrecorded sources that replayed code read."""
    chance_of_libraries: str = ""
    """The doubt about random values that only installed libraries drew while the target built objects."""
    unseen: list[str] = field(default_factory=list)
    """Fields that could not be seen; `agent.field` if several agents are replayed."""
    unseen_fields: dict[str, str] = field(default_factory=dict)
    """{`agent.field`: why one side could not see it}."""
    ignored: list[str] = field(default_factory=list)
    """`agent.field` that the program or the caller asked to ignore."""
    left_out: list[str] = field(default_factory=list)
    """`agent.field` that only has a digest, in which installed libraries put unrecorded times and ids."""
    references: list[str] = field(default_factory=list)
    """`agent.field` compared by name: references to the agents' environment, or shared with other agents."""
    handles: list[str] = field(default_factory=list)
    """`agent.field` that belong to their process, such as locks and files."""
    factory_differences: list[str] = field(default_factory=list)
    """Differences of the target's objects from the states recorded before the first action."""
    set_by_factory: list[str] = field(default_factory=list)
    """Class attributes, and constants and functions of the program's modules, that the target set."""
    unseen_at_end: dict[str, list[str]] = field(default_factory=dict)
    """{agent: fields in full states only}, if no full state follows the agent's last action."""
    unseen_ends: dict[str, list[str]] = field(default_factory=dict)
    """The same for garbage-collected agents, if changed code may have changed these fields at the end."""
    at_full_states: list[str] = field(default_factory=list)
    """`agent.field` over 4 KiB and generators, of agents with actions that no full state follows."""
    untouched: list[str] = field(default_factory=list)
    """Large fields that differ although no replayed action changed them, each with a remedy."""
    imposed: Counter[str] = field(default_factory=Counter)
    """{`agent.field`: how many recorded writes from outside were repeated}."""
    by_hand: Counter[str] = field(default_factory=Counter)
    """{`agent.field`: how many recorded changes by hand (`agent-trace control`) were repeated}."""
    normalisers: list[str] = field(default_factory=list)
    """The ways in which values agree that are not byte-equal."""
    answered: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    """{agent: calls} of agents that the target does not return, whose code ran inside other agents."""
    undriven: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    """{method: digests of the recorded and the replayed code}; does not affect the verdict."""
    classes: dict[str, str] = field(default_factory=dict)
    """{agent: the class of the object that the target returned}."""
    is_of_program: bool = False
    """Whether the whole program was run again, instead of its actions one by one."""
    changed_modules: list[str] = field(default_factory=list)
    """The program's modules whose source files changed since the recording."""
    are_modules_known: bool = False
    """Whether the recording has digests of the program's modules."""
    open_arguments: list[str] = field(default_factory=list)
    """Arguments whose final values differ from the recording, which other code may have changed."""
    uncaptured: list[str] = field(default_factory=list)
    """Results and arguments that were not captured, in which changed code may show."""
    changed_inside: dict[str, str] = field(default_factory=dict)
    """{`agent.field`: difference} of fields that contain changed code, which alone proves nothing."""
    by_code_alone: Divergence | None = None
    """The first difference that is only in a field's code; it counts if no other difference follows."""
    opened_for_writing: list[str] = field(default_factory=list)
    """Existing files that replayed code opened for writing."""
    unsteady: list[str] = field(default_factory=list)
    """Possible causes of differences that vary between replays: threads, clocks read at import."""
    varying: list[str] = field(default_factory=list)
    """Lines of the differing agent's code whose value varies between processes, such as `hash()`."""
    beside: int = 0
    """The first step that may have run concurrently with another agent's in one event loop; 0 for none."""
    needs_others: bool = False
    """Whether objects shared with agents that do not run here may prevent a proof."""
    has_unknown_order: bool = False
    """Whether agents acted at the same time, in an order that a replay cannot repeat."""
    has_unknown_turns: bool = False
    """Whether actions interleaved in one event loop, in an order that was not recorded."""
    has_held: bool = False
    """Whether an action was held back after an `await`, to continue as late as in the recording."""
    is_waiting: bool = False
    """Whether an action waited for something that never happened."""
    scope: str = "whole"
    environment: dict[str, Any] = field(default_factory=dict)
    printed: tuple[str, str] = ("", "")
    """What the replayed code wrote to stdout and stderr; not part of the outcome as a JSON object."""

    def note_code(self, name: str, divergence: Divergence) -> None:
        """Store that a field differs only in its code; a later difference in behaviour takes precedence."""
        self.by_code_alone = self.by_code_alone or divergence
        self.changed_inside.setdefault(f"{divergence.agent_id}.{name}", str(divergence))

    def note_argument(self, divergence: Divergence, name: str) -> None:
        """Store that an argument's final value differs, which other code that holds it may have caused."""
        reason = (
            f"argument {name} of {divergence.action} of {divergence.agent_id} ended differently than in the "
            f"recording (step {divergence.step}), where other code that holds it may have changed it"
        )
        add_new(self.open_arguments, reason)

    def note_uncaptured(self, what: str, name: str) -> None:
        """Store that the results or arguments of calls were not captured, so that they are not compared."""
        self.remark(f"{what} of {name} are not captured, so they are not compared")
        add_new(
            self.uncaptured,
            f"code changed, and {what} of {name} were not captured: remove capture_{_OPTIONS[what]}=False",
        )

    def ask(self, question: str) -> None:
        """Note an effect of changed code that the recording cannot confirm."""
        add_new(self.questions, question)

    def note_made(self, agent_id: str, name: str, description: str) -> None:
        """Store how the target's object differs from the first recorded state, which replaces its state."""
        self.factory_differences.append(f"{agent_id}: factory made {description}")
        if self.changed_code:
            self.ask(
                f"{name} of {agent_id} differs from the recording before its first action; changed code "
                "ran before, and it is unknown whether that code should set it: set it in the factory"
            )

    @property
    def changed_code(self) -> tuple[str, ...]:
        """Traced methods, and fields that contain functions, whose code changed since the recording."""
        changed = [name for name, each in self.code.items() if each["recorded"] != each["replayed"]]
        return (*changed, *(f"functions in {name}" for name in self.changed_inside))

    @property
    def is_changed(self) -> bool:
        """Whether code of the program changed since the recording."""
        return bool(self.changed_code or self.changed_modules)

    @property
    def is_same_code(self) -> bool:
        """Whether the differing method and every other compared method still have their recorded code."""
        divergence = self.divergence
        return (
            divergence is not None
            and f"{divergence.agent_id}.{divergence.action}" in self.code
            and not self.changed_code
        )

    @property
    def may_be_of_target(self) -> bool:
        """Whether the factory may have given its objects functions that differ from the program's."""
        is_built = self.divergence is not None and self.divergence.place == MADE_BY_FACTORY
        return is_built or bool(self.changed_inside)

    def reason(self, text: str) -> None:
        """Add a reason unless it exists already."""
        add_new(self.reasons, text)

    def remark(self, text: str) -> None:
        """Add a remark unless it exists already."""
        add_new(self.remarks, text)

    def put_first(self, unproved: Mapping[str, Any]) -> None:
        """Make the first of several differences the one that is judged.

        Args:
            unproved: what `unproved` returned when it was found: what came up later has not caused it.
        """
        last = [] if self.divergence is None else [self.divergence]
        self.divergence, *rest = (*self.further, *last)
        # What was written to an agent after its last action is compared at the end.
        self.further[:] = sorted(rest, key=lambda divergence: divergence.step)
        for reason in self.reasons[len(unproved["reasons"]) :]:
            self.remark(f"after the first difference: {reason}")
        for name, content in unproved.items():
            setattr(self, name, content)

    def unproved(self) -> dict[str, Any]:
        """Return a copy of all that makes a difference prove nothing, by name."""
        return {name: copy(getattr(self, name)) for name in ("reasons", "doubts", "sources", "unseen_fields")}

    def to_object(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        stored: dict[str, Any] = orjson.loads(orjson.dumps(self, default=repr, option=_KEYS))
        del stored["printed"]
        return stored

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> ReplayOutcome:
        """Restore an outcome from a JSON object."""
        values = dict(stored)
        values["counts"] = Counts(**values["counts"])
        if values["divergence"] is not None:
            values["divergence"] = Divergence(**values["divergence"])
        values["further"] = [Divergence(**each) for each in values["further"]]
        values["sources"] = [SourceRead(**read) for read in values["sources"]]
        return cls(**values | counters_in(cls, values))


def counters_in(cls: type, stored: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """Return the fields of a dataclass that are counters, from their form as JSON objects."""
    names = (each.name for each in fields(cls) if str(each.type).startswith("Counter"))
    return {name: Counter(stored[name]) for name in names}


def add_new(texts: list[str], text: str) -> None:
    """Add a text unless the list has it already."""
    if text not in texts:
        texts.append(text)


def redacted_texts(value: Any, redactor: Redactor) -> Any:
    """Return a value with every text in it redacted, except keys."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {str(key): redacted_texts(item, redactor) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_texts(item, redactor) for item in value]
    return value


# The place of a difference in the program's terms: the tick, and `result[0].price` instead of a JSON Pointer.
#
# A difference names the recorded event, whose tags distinguish attributes from keys.

STATE = "state."
OF_PROGRAM = "program."
"""The prefix of a field in a difference outside of agents, such as in a global."""


def locate(divergences: Iterable[Divergence], session: Path) -> list[Divergence]:
    """Return the differences with `tick` and `where` set, using the session's events that they name."""
    located = list(divergences)
    wanted = {each.event_id for each in located}
    events: dict[str, Event] = {}
    reader = open_reader(session)
    for agent_id in {name for each in located for name in (each.agent_id, each.inner_agent_id) if name}:
        for event in reader.events(agent_id) if wanted - events.keys() else ():
            if event.id in wanted:
                events[event.id] = event
    return [_located(each, events.get(each.event_id), reader) for each in located]


def _located(divergence: Divergence, event: Event | None, reader: TreeReader) -> Divergence:
    tick = event.tick if event is not None and divergence.tick is None else divergence.tick
    inner = _inner_event(divergence, event, reader) if event is not None and divergence.inner_field else None
    return replace(divergence, tick=tick, where=_where(divergence, event, inner))


def _inner_event(divergence: Divergence, action: Event, reader: TreeReader) -> Event | None:
    """Return the last event before the action's end that matches the effect's description, for its tags."""
    last = None
    for event in reader.events(divergence.inner_agent_id or divergence.agent_id):
        if event.timestamp_us <= action.timestamp_us and f"({describe(event)})" in divergence.place:
            last = event
    return last


def _where(divergence: Divergence, event: Event | None, inner: Event | None) -> str:
    if divergence.inner_field:
        key, _, rest = divergence.inner_field.partition("/")
        who = divergence.inner_agent_id or divergence.agent_id
        return f"{_named(key, f'/{rest}' if rest else '', inner)} of {who}, in {divergence.place}"
    if divergence.field in {"result", "args"}:
        place = f" of {divergence.place}" if divergence.place else ""
        # Arguments that differ are those of a call inside the action, whose event this is not.
        about = event if divergence.field == "result" else None
        return place_in(divergence.field, divergence.path, about) + place
    if divergence.field.startswith(STATE) or divergence.field == "args_after":
        at = f", in {divergence.place}" if divergence.place else ""
        return place_in(divergence.field, divergence.path, event) + at
    if divergence.field.startswith(OF_PROGRAM):
        return f"{divergence.field.removeprefix(OF_PROGRAM)}, {divergence.place or 'as the program left it'}"
    if divergence.field == "error":
        return {"/error_type": "type of the error", "/error_message": "text of the error"}.get(
            divergence.path, f"error{divergence.path}"
        )
    if divergence.field == "effects" and divergence.path:
        return f"{divergence.place}: {_from_name(divergence.path)}"
    return {"effects": "what it left", "calls": "calls", "reads": "what it read", "defaults": "defaults"}.get(
        divergence.field, place_in(divergence.field, divergence.path, None)
    ) + (f": {divergence.place}" if divergence.place else "")


def place_in(field: str, path: str, event: Event | None) -> str:
    """Return an event's field and the JSON Pointer inside it in Python notation."""
    if field == "result" or field.startswith(STATE):
        return _named(field, path, event)
    if field == "args":
        return f"argument {_from_name(path, event)}" if path else "arguments"
    if field == "args_after":
        return f"argument {_from_name(path, event, field)}, as the call left it"
    return _from_name(f"/{field}{path}")


def _named(key: str, pointer: str, event: Event | None = None) -> str:
    """Return a field or a result with the path inside it in Python notation."""
    if not key.startswith(STATE):
        value = event.extra.get(key) if event is not None else None
        return python_path(pointer, value, _types(event), f"/extra/{key}", key)
    name = key.removeprefix(STATE)
    value, at = _recorded_field(event, name)
    return "field " + python_path(pointer, value, _types(event), at, name)


def _recorded_field(event: Event | None, name: str) -> tuple[Any, str]:
    """Return an event's value of a field, and its JSON Pointer."""
    if event is None:
        return None, "?"
    if event.kind == "state":
        fields, at = event.extra.get("fields"), "/extra/fields"
    else:
        fields, at = (event.state or {}).get("set"), "/state/set"
    return fields.get(name) if isinstance(fields, dict) else None, f"{at}/{escape(name)}"


def _types(event: Event | None) -> dict[str, str]:
    return {} if event is None else dict(event.types or {})


def _from_name(pointer: str, event: Event | None = None, key: str = "args") -> str:
    """Return a pointer that begins with an argument's name or an event's key in Python notation."""
    first, slash, rest = pointer.removeprefix("/").partition("/")
    arguments = event.extra.get(key) if event is not None else None
    value = arguments.get(first) if isinstance(arguments, dict) else None
    return python_path(f"{slash}{rest}", value, _types(event), f"/extra/{key}/{first}", first)


MOST_NAMED = 6
_MOST_OF_LIBRARIES = 2


def listed(names: Iterable[str], most: int = MOST_NAMED) -> str:
    """Return names in one line; of more than `most`, the first ones and the number of the others."""
    all_names = [name if name.isprintable() else " ".join(name.split()) for name in names]
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return ", ".join(all_names[:most]) + more


MAY_BE_WHY = "this may be why the replay differs, so the difference is not counted"
"""Printed between the reasons of an UNVERIFIED replay and its difference."""


class Verdict(StrEnum):
    """The result of a replay."""

    IDENTICAL = "IDENTICAL"
    """Everything compared is equal, something informative was, and no unrecorded source was read."""
    EQUIVALENT = "EQUIVALENT"
    """Equal after declared normalisers, or over redacted values."""
    DIVERGED = "DIVERGED"
    """The code behaved differently; the report names the first difference."""
    UNVERIFIED = "UNVERIFIED"
    """Nothing was proved; the report says why."""


EXIT_CODES = {Verdict.IDENTICAL: 0, Verdict.EQUIVALENT: 0, Verdict.DIVERGED: 1, Verdict.UNVERIFIED: 4}
"""The exit code of a command, by verdict."""


def joined_outcomes(outcomes: Sequence[ReplayOutcome]) -> ReplayOutcome:
    """Join the outcomes of several replays without a difference, one for each agent of a run."""
    joined = copy(outcomes[0])
    joined.counts = Counts(
        **{each.name: sum(getattr(one.counts, each.name) for one in outcomes) for each in fields(Counts)}
    )
    for name in (each.name for each in fields(ReplayOutcome)):
        values = [getattr(one, name) for one in outcomes]
        if type(values[0]) is list:
            setattr(joined, name, list(dict.fromkeys(item for value in values for item in value)))
        elif isinstance(values[0], dict):
            setattr(joined, name, type(values[0])(ChainMap(*values)))
    return joined


def judge(outcome: ReplayOutcome) -> tuple[Verdict, list[str]]:
    """Return the verdict and, if it is UNVERIFIED, the reasons; all rules are here.

    IDENTICAL requires that everything compared is equal and something informative is among it. A difference
    is DIVERGED only if nothing but the code can have caused it. Everything else is UNVERIFIED.
    """
    reasons = [*outcome.reasons, *_describe_reads(outcome.sources)]
    for name, why in outcome.unseen_fields.items():
        own = name.rpartition(".")[2]
        reasons.append(f"field {name} cannot be seen: {why}; if it does not matter: --ignore {own}")
    if outcome.open_arguments and outcome.is_changed:
        reasons += [
            f"code changed, and {each}: replay in the script's directory, or return what changed"
            for each in outcome.open_arguments[:MOST_NAMED]
        ]
    if not outcome.reasons and outcome.counts.driven == 0 and outcome.divergence is None:
        reasons.insert(0, _nothing_driven(outcome))
    if outcome.divergence is not None:
        if reasons or outcome.doubts:
            return Verdict.UNVERIFIED, [
                *reasons,
                *outcome.doubts,
                f"{MAY_BE_WHY}: {outcome.divergence}",
            ]
        return Verdict.DIVERGED, []
    if not reasons and outcome.counts.informative == 0:
        reasons.append(
            "nothing informative was compared: no result, no changed field, no event, no call; an empty "
            "method would have passed: trace methods that return or change something"
        )
    if reasons:
        return Verdict.UNVERIFIED, reasons
    return (Verdict.EQUIVALENT if outcome.normalisers else Verdict.IDENTICAL), []


def _describe_reads(reads: Sequence[SourceRead]) -> list[str]:
    """Return unrecorded reads as texts: those of the program first, those of libraries counted."""
    libraries = [read for read in reads if read.is_of_library]
    reasons = [str(read) for read in reads if not read.is_of_library]
    reasons += map(str, libraries[:_MOST_OF_LIBRARIES])
    more = len(libraries) - _MOST_OF_LIBRARIES
    if more > 0:
        reasons[-1] += f", and {more} more {'read' if more == 1 else 'reads'} by installed libraries"
    return reasons


def _nothing_driven(outcome: ReplayOutcome) -> str:
    notes = sum(outcome.notes.values())
    if notes:
        return (
            f"the recording has {notes} notes (log_action) and no traced action of "
            f"{', '.join(outcome.agents)}: notes cannot be replayed"
        )
    return "the recording has no traced action that could be replayed"
