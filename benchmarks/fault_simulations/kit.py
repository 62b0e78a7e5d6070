"""What all simulations share: their faults, and the events by which the truth about a fault is told.

A simulation is a module with `FAULTS`, {name: Fault}, and `run(seed, fault)`, which plays it with the fault of that name, or
with none for "", and returns its outcome as a dict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST = 3
"""Of a faulty act that recurs, so many are taken as the beginning."""


@dataclass(frozen=True)
class Event:
    """One recorded event.

    Args:
        act: the name of the action, decision, message type, metric or event.
        args: the arguments or data, by name.
        record: the whole line.
    """

    id: str
    number: int
    tick: int | None
    agent: str
    kind: str
    act: str
    args: Mapping[str, Any]
    result: Any
    message: str
    span: str | None
    parent: str | None
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """One fault of a simulation.

    Args:
        complaint: what a user writes who sees the symptom only.
        symptom: whether the outcome of the faulty run (first), beside that of the healthy one, shows the symptom.
        true: the ids of the events at which the fault began, from all events in order.
    """

    complaint: str
    symptom: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
    true: Callable[[Sequence[Event]], list[str]]


def read_events(session: Path) -> list[Event]:
    """Return the events of a session directory in order, states left out."""
    found: dict[str, Event] = {}
    for path in session.rglob("*"):
        if path.suffix not in {".log", ".jsonl"} or ".state" in path.parts:
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "id" in record and "timestamp" in record:
                event = _event(record)
                if event.kind not in {"state", "code"}:
                    found.setdefault(event.id, event)
    return sorted(found.values(), key=lambda event: event.number)


def _event(record: Mapping[str, Any]) -> Event:
    extra = record.get("extra", {})
    kind = extra.get("event_type", "")
    named = (
        "action_type",
        "decision_type",
        "interaction_type",
        "message_type",
        "metric_name",
        "learning_stage",
    )
    act = (
        next((extra[key] for key in named if extra.get(key)), "") or str(extra.get("call", "")).split(".")[-1]
    )
    held = (
        "args",
        "action_data",
        "decision_data",
        "update_data",
        "interaction_data",
        "metrics",
        "body",
        "data",
    )
    args: Mapping[str, Any] = next((extra[key] for key in held if isinstance(extra.get(key), dict)), {})
    return Event(
        record["id"], int(record["id"].rsplit("-", 1)[1]), record.get("tick"),
        str(extra.get("agent_id") or record.get("agent_id") or ""), kind, act or kind, args, extra.get("result"),
        str(record.get("message", "")), record.get("span_id"), record.get("parent_span_id"), record,
    )  # fmt: skip


def pick(
    events: Iterable[Event],
    agent: str = "",
    act: str = "",
    tick: int | Callable[[int], bool] | None = None,
    where: Callable[[Event], bool] | None = None,
    first: int = FIRST,
) -> list[str]:
    """Return the ids of the first events of an agent with a name, a tick and what `where` asks for."""

    def fits(event: Event) -> bool:
        at = event.tick
        then = tick is None or (at is not None and (tick(at) if callable(tick) else at == tick))
        is_of = agent in {"", event.agent} and act in {"", event.act}
        return is_of and then and (where is None or where(event))

    return [event.id for event in events if fits(event)][:first]
