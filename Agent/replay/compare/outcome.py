"""What a replay finds out, step by step: the facts from which `judge` finds the verdict.

Everything here is plain data, so that it travels from the child process to the caller as JSON.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from Agent.replay.compare.python_text import differing_texts, python_text

if TYPE_CHECKING:
    from Agent.record.encode.redaction import Redactor

_COUNTERS = ("answered", "inside", "undriven", "notes", "imposed")
_KEYS = orjson.OPT_NON_STR_KEYS


class ReplayStopped(BaseException):
    """Ends a replay from inside the replayed code; no `except Exception` there can swallow it."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between record and replay."""

    step: int
    """Number of the replayed action, counted from 1; 0 before the first."""
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
    """Which nested call or effect it is, where it is one."""
    inner_agent_id: str = ""
    """The agent that did otherwise inside the action, where it is another."""
    inner_field: str = ""
    """What of an effect differs, as `field` names it for the action: `state.<name>`, `result`, `args`."""
    tick: int | None = None
    """The simulation step of the action, where one was recorded."""
    since: int | None = None
    """The step behind which the field was compared before, where that is not the step before; 0 for none."""
    where: str = ""
    """What differs, as Python would reach it: `field orders['a'].price`; `locating.py` finds it."""

    @property
    def step_text(self) -> str:
        """The step, with its tick, action, agent and event."""
        tick = "" if self.tick is None else f" (tick {self.tick})"
        return f"step {self.step}{tick}, {self.action} of {self.agent_id}, event {self.event_id}"

    @property
    def texts(self) -> tuple[str, str]:
        """Both values as Python writes them, the pieces around the first difference of long ones."""
        return differing_texts(self.recorded, self.replayed)

    def __str__(self) -> str:
        recorded, replayed = self.texts
        where = self.where or f"{self.field}{self.path}"
        return f"{self.step_text}: {where}: recorded {recorded}, replayed {replayed}"


def short(value: Any) -> str:
    """A value on one line as Python writes it, cut where it is long."""
    text = python_text(value)
    return text if len(text) <= 160 else text[:159] + "…"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source of chance, time or surroundings that replayed code read and the record does not hold."""

    source: str
    function: str
    file: str
    line: int
    step: int

    def __str__(self) -> str:
        return f"{self.source} read by {self.function} ({self.file}:{self.line}) in step {self.step}"


@dataclass(slots=True)
class Counts:
    """How much was replayed and compared."""

    actions: int = 0
    """Actions of the run that are the replayed agents' own, driven or not."""
    driven: int = 0
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
    """Everything that a replay found out."""

    agents: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    divergence: Divergence | None = None
    further: list[Divergence] = field(default_factory=list)
    """The differences behind the first one, where they were asked for."""
    reasons: list[str] = field(default_factory=list)
    """Why nothing can be proved, the first first."""
    doubts: list[str] = field(default_factory=list)
    """Why a difference, if there is one, would prove nothing."""
    remarks: list[str] = field(default_factory=list)
    """What a reader should know and what takes no part in the verdict."""
    sources: list[SourceRead] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Fields that could not be seen, `agent.field` where several agents are replayed."""
    unseen_fields: dict[str, str] = field(default_factory=dict)
    """`agent.field` that one side could not see, and why."""
    ignored: list[str] = field(default_factory=list)
    """`agent.field` that take no part because somebody asked for that."""
    references: list[str] = field(default_factory=list)
    """`agent.field` that lead to where agents live, or are shared with agents that do not run."""
    handles: list[str] = field(default_factory=list)
    """`agent.field` that belong to their process, such as locks and files."""
    factory_differences: list[str] = field(default_factory=list)
    """What the factory made otherwise than the recording has it before the first action."""
    unseen_at_end: dict[str, list[str]] = field(default_factory=dict)
    """Agent to fields that only full states hold, where none stands behind its last action."""
    imposed: Counter[str] = field(default_factory=Counter)
    """`agent.field` to how often a recorded write from outside was put in."""
    normalisers: list[str] = field(default_factory=list)
    """Ways in which values agree that are not equal byte for byte."""
    answered: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    """Agents without an object of their own whose code ran inside others, and how many calls."""
    undriven: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    """Method to the digests of the recorded and the replayed code; for people, no part of the verdict."""
    changed_inside: dict[str, str] = field(default_factory=dict)
    """`agent.field` of a state that holds other code than it did, and why that alone proves nothing."""
    by_code_alone: Divergence | None = None
    """The first difference in nothing but the code that a field holds; it counts where no other follows."""
    opened_for_writing: list[str] = field(default_factory=list)
    """Files that were there before and that replayed code opened for writing."""
    unsteady: list[str] = field(default_factory=list)
    """What may make a difference another one each time: threads, clocks that are read at import."""
    beside: int = 0
    """The first step that may have run while another agent's did, in one event loop; 0 for none."""
    scope: str = "whole"
    environment: dict[str, Any] = field(default_factory=dict)

    def note_code(self, name: str, divergence: Divergence) -> None:
        """Keep that a field differs in nothing but the code that it holds; what the code does tells more."""
        self.by_code_alone = self.by_code_alone or divergence
        self.changed_inside.setdefault(f"{divergence.agent_id}.{name}", str(divergence))

    @property
    def changed_code(self) -> tuple[str, ...]:
        """Traced methods, and fields that hold functions, whose code is other than it was when recorded."""
        changed = [name for name, each in self.code.items() if each["recorded"] != each["replayed"]]
        return (*changed, *(f"functions in {name}" for name in self.changed_inside))

    @property
    def is_same_code(self) -> bool:
        """Whether the method that differs, and every other one that was compared, has its recorded code."""
        found = self.divergence
        return found is not None and f"{found.agent_id}.{found.action}" in self.code and not self.changed_code

    def reason(self, text: str) -> None:
        """Add a reason, once."""
        if text not in self.reasons:
            self.reasons.append(text)

    def remark(self, text: str) -> None:
        """Add a remark, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def to_object(self) -> dict[str, Any]:
        """As a JSON object."""
        stored: dict[str, Any] = orjson.loads(orjson.dumps(self, default=repr, option=_KEYS))
        return stored

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> ReplayOutcome:
        """Back from a JSON object."""
        values = dict(stored)
        values["counts"] = Counts(**values["counts"])
        if values["divergence"] is not None:
            values["divergence"] = Divergence(**values["divergence"])
        values["further"] = [Divergence(**each) for each in values["further"]]
        values["sources"] = [SourceRead(**read) for read in values["sources"]]
        for name in _COUNTERS:
            values[name] = Counter(values[name])
        return cls(**values)


def redacted_texts(value: Any, redactor: Redactor) -> Any:
    """The value with every text in it redacted; names of keys say nothing about what a report holds."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {str(key): redacted_texts(item, redactor) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_texts(item, redactor) for item in value]
    return value
