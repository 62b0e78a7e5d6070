"""Describe an event as text: its message, and the payload that the message does not contain."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.record.encode.safe_text import cut, shown_safely
from Agent.render.formats import seconds
from Agent.render.layout import clip

LEFT_TO_JSON = frozenset(
    "agent_id agent_role event_type type call root class fields digest traceback fingerprint error_module "
    "args_after args_held args_shared result_is error_args error_cause error_id error_left_out error_members "
    "context_span learning_type source duration_ms asked_at tick_number tick_in_span".split()
)
"""Keys of `extra` that a line shows elsewhere, or that only `--json` shows."""

OPENED = ("_data", "_state", "metadata", "args", "data")
"""Suffixes of keys whose value is a dict that the user logged: its own keys are shown instead."""

MOST_CHARS = 400
"""The longest line of `event_line_text`."""


def event_line_text(event: Event) -> str:
    """One printable line about an event: the message, then the details of `describe`."""
    message = shown_safely(cut(event.message or event.kind, MOST_CHARS))
    return cut(f"{message}  {describe(event)}".rstrip(), MOST_CHARS)


def describe(event: Event) -> str:
    """The payload beyond the message: `key=value` pairs, changed fields and the duration."""
    hidden = _in_message(event.kind) | LEFT_TO_JSON
    parts = [f"{key}={_short(value)}" for key, value in _pairs(event.extra, hidden)]
    if event.state:
        changed = sorted({*event.state.get("set", {}), *event.state.get("unset", [])})
        parts += [f"changed={','.join(changed)}"] if changed else []
    duration_ms = event.extra.get("duration_ms")
    if isinstance(duration_ms, int | float):
        is_long = 1000 <= duration_ms < 1e12
        parts.append(f"({seconds(duration_ms / 1000) if is_long else f'{duration_ms:.3g} ms'})")
    return shown_safely(" ".join(parts))


def _pairs(extra: Mapping[str, Any], hidden: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The non-empty keys and values: outcome and result first, old values last: a terminal cuts the end."""
    for key in sorted(extra, key=lambda name: (name not in ("outcome", "result"), name == "old_state")):
        value = extra[key]
        if key in hidden or value is None or value in ({}, [], ""):
            continue
        if isinstance(value, dict) and key.endswith(OPENED):
            prefix = "old." if key == "old_state" else ""
            yield from ((prefix + inner, each) for inner, each in value.items())
        else:
            yield key, value


def _short(value: Any) -> str:
    """A value shortened to at most 48 characters."""
    if isinstance(value, str):
        return clip(value, 40)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return clip("{" + ", ".join(f"{key}: {_short(each)}" for key, each in value.items()) + "}", 48)
    if isinstance(value, list):
        return clip("[" + ", ".join(_short(each) for each in value) + "]", 48)
    return str(value)


@lru_cache(maxsize=256)
def _in_message(kind: str) -> frozenset[str]:
    """The fields that the message of a kind already shows."""
    row = KINDS.get(kind)
    template = row.message if row else ""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
