"""The fixed sets of values in events: levels, categories, statuses of runs, types of failures."""

from __future__ import annotations

from enum import StrEnum

LEVELS: dict[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
LEVEL_NAMES: dict[int, str] = {number: name for name, number in LEVELS.items()}
LEVEL_OFF = 100

ACTION_KINDS = frozenset({"agent_action", "learning_update"})
"""The kinds of events that traced methods write."""
INTERVENTION = "intervention"
"""The kind of a pause or step by hand, and the trigger of a change by hand (`agent-trace control`)."""
SNAPSHOT = "state"
"""The kind of events that repeat a whole state, which other events brought about: none of them is a cause."""


class Category(StrEnum):
    """The categories of events, each with its mirror files."""

    AGENTS = "agents"
    LEARNING = "learning"
    INTERACTIONS = "interactions"
    PERFORMANCE = "performance"
    EVENTS = "events"
    SYSTEM = "system"
    ERRORS = "errors"


class Meaning(StrEnum):
    """What the events of a kind are to the questions of analysis."""

    ACT = "act"
    """Something an agent does, in which its state, its learning and its messages show."""
    UPDATE = "update"
    """A change of how an agent acts later."""
    OBSERVATION = "observation"
    """How things are; it explains nothing by itself."""
    FRAME = "frame"
    """Where a program, a run or a pause begins or ends; `debug` does not read it."""
    BOOKKEEPING = "bookkeeping"
    """What recording adds itself, whatever agents do."""
    OTHER = "other"


class Home(StrEnum):
    """The two views; each kind of event is written in one of them."""

    LOG = "log"
    RUN = "run"


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    PARTIAL = "partial"


RUN_STATUSES: frozenset[str] = frozenset(status.value for status in RunStatus)


class StepType(StrEnum):
    """What a step of a run does."""

    PLAN = "plan"
    RETRIEVE = "retrieve"
    TOOL = "tool"
    RESPOND = "respond"
    OTHER = "other"


class FailureType(StrEnum):
    """Which part of an agent failed."""

    TOOL = "tool"
    MODEL = "model"
    RETRIEVAL = "retrieval"
    ORCHESTRATION = "orchestration"


FAILURE_TYPES: frozenset[str] = frozenset(kind.value for kind in FailureType)


class FailureCode(StrEnum):
    """How a part of an agent failed."""

    TIMEOUT = "timeout"
    SCHEMA_INVALID = "schema_invalid"
    EMPTY_RETRIEVAL = "empty_retrieval"
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    CONNECTION = "connection"
    REFUSED = "refused"
    LOOP = "loop"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
