"""The fixed sets of values in events: levels, categories, statuses of runs, types of failures."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

LEVELS: dict[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
LEVEL_NAMES: dict[int, str] = {number: name for name, number in LEVELS.items()}
LEVEL_OFF = 100

ACTION_KINDS = frozenset({"agent_action", "learning_update"})
"""The kinds of events that traced methods write."""
INTERVENTION = "intervention"
"""The kind of a pause or step by hand, and the trigger of a change by hand (`agent-trace control`)."""
HELD = "held"
"""The trigger of a `state_change` in objects that agents hold, by code outside of actions."""
HELD_STATE = "held "
"""The beginning of the `name` of a `source.state` event from which such a change counts; a number follows."""
POSITIONS = "first_at", "now_at"
"""Keys of such a change with positions of a generator in its stream, counted from a `source.state` event."""
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
    """How things are; it explains nothing by itself, and is not exported to OpenTelemetry."""
    FRAME = "frame"
    """Where a program, a run or a pause begins or ends; `debug` does not read it."""
    BOOKKEEPING = "bookkeeping"
    """What recording adds itself, whatever agents do."""
    OTHER = "other"


class Home(StrEnum):
    """The two forms of lines: each kind of event is written in one of them (docs/FORMAT.md, "The event")."""

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


def is_of_generators(extra: Mapping[str, Any]) -> bool:
    """Whether a payload tells only that code outside of actions moved generators on, or from which state."""
    if isinstance(name := extra.get("name"), str) and name.startswith(HELD_STATE) and "source" in extra:
        return True
    moved = extra.get("moved") if extra.get("trigger") == HELD else None
    return isinstance(moved, Mapping) and all(
        isinstance(moves, Mapping) and all(map(is_generator_move, moves.items())) for moves in moved.values()
    )


def is_generator_move(move: tuple[str, Any]) -> bool:
    """Whether a change, (name of an attribute, values), is the move of a generator, whose own name is ""."""
    name, values = move
    if not isinstance(values, Mapping):
        return False
    return not name or not values.keys().isdisjoint(POSITIONS)
