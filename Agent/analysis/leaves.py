"""An event taken apart: under which name it is done, and every value it carries with the path to it.

`suspects` reads them and `habits` learns what each usually is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["LABELS", "Leaf", "label_of", "leaves", "scalars"]

Leaf = tuple[str, Any]
"""A path, such as args.hours_east, and the scalar there.

Behind a path `{}` gives keys, `#` a size, `~` the length of a text.
"""

MAX_KEYS: Final = 24
"""A mapping of more keys is data, not a form: it counts by its size alone."""
MAX_ITEMS: Final = 4
MAX_DEPTH: Final = 4
MAX_TEXT: Final = 200
LONG_TEXT: Final = 16
"""Of a text of so many characters or more the length is a value of its own."""

LABELS: Final = (
    "action_type", "decision_type", "interaction_type", "metric_name", "collaboration_type", "strategy_type",
    "learning_stage", "name", "component", "module", "content_type", "operation", "error_type",
    "learning_type", "context", "trigger",
)  # fmt: skip
# Who, how long, how linked, and what was before: none of it is what the event itself says.
_NOT_SAID: Final = frozenset(
    {
        *LABELS, "agent_id", "agent_role", "event_type", "error_id", "message_id", "call", "call_id", "root",
        "duration_ms", "active_ms", "traceback", "fingerprint", "digest", "source", "step_id", "span_id",
        "context_span", "reason", "class", "init", "shared", "unseen", "cumulative_reward", "old_state",
        "old_value", "old_strategy", "old_policy", "previous", "error_module", "error_args",
        "error_attributes", "error_members", "error_cause", "direction", "sender", "recipient",
        "code_version", "yielded", "returned", "fields", "reads", "adopted", "args_after", "result_is",
    }
)  # fmt: skip
_NUMBER: Final = re.compile(r"[0-9]+")


def label_of(kind: str, extra: Mapping[str, Any], message: str) -> str:
    """The name under which an event is one of many: its action, setting, metric, or its text."""
    if kind == "agent_message":
        return "received" if str(extra.get("direction", "")).startswith("rec") else "sent"
    for key in LABELS:
        name = extra.get(key)
        if isinstance(name, str):
            return name
    return _NUMBER.sub("#", message)[:MAX_TEXT] if kind == "log" else ""


def leaves(extra: Mapping[str, Any], state: Mapping[str, Any] | None) -> list[Leaf]:
    """Every value that an event says, and every field of its agent that it left changed (state.NAME)."""
    found: list[Leaf] = []
    for key, value in extra.items():
        if key not in _NOT_SAID:
            found.extend(scalars(value, key))
    new = (state or {}).get("set")
    if isinstance(new, dict):
        for name, value in new.items():
            found.extend(scalars(value, f"state.{name}"))
    return found


def scalars(value: Any, path: str, depth: int = 0) -> Iterator[Leaf]:
    """The scalars inside a JSON value, each with its path."""
    if isinstance(value, dict):
        if len(value) > MAX_KEYS or depth >= MAX_DEPTH:
            yield f"{path}#", len(value)
            return
        yield f"{path}{{}}", ",".join(sorted(value))
        for key, inner in value.items():
            yield from scalars(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        yield f"{path}#", len(value)
        if len(value) <= MAX_ITEMS:
            for place, inner in enumerate(value):
                if not isinstance(inner, dict | list):
                    yield f"{path}[{place}]", inner
    else:
        if isinstance(value, str) and len(value) >= LONG_TEXT:
            yield f"{path}~", len(value)
        yield path, value[:MAX_TEXT] if isinstance(value, str) else value
