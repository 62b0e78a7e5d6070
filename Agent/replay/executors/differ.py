"""The difference of two outputs, key by key: what changed, what came, what went.

Both are compared in the form in which they would be recorded, so that a tuple is no list, 1 is not True, and
a secret hidden in the recording is no difference. The order of a mapping's keys is none here either; a
verdict asks `recorded_difference`, where it is one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from Agent.flight.checkpoints.storage.delta import CHECKPOINT_LIMITS
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of
from Agent.replay.compare.comparison import EVERY_MAPPING, Comparison, Difference, Recorded, SameId

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


def order_difference(original: Any, replayed: Any, same_id: SameId | None) -> Difference | None:
    """Where two outputs part that `compute_diff` finds to be the same: in the order of keys in a value."""
    return recorded_difference(_keyed(original), _keyed(replayed), Comparison(None, same_id))


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


__all__ = ["OUTPUT_KEY", "compute_diff", "order_difference", "recorded_difference", "recorded_form"]
