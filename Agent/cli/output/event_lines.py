"""How one event looks as a line for people; `journey`, `tail` and `errors` print these."""

from __future__ import annotations

import string
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from Agent.cli.output.render import LEVEL_STYLES, clean, clip, display_width, paint
from Agent.event.model import Event
from Agent.event.payloads import KINDS

__all__ = ["describe", "event_line"]

LEFT_TO_JSON = frozenset(
    "agent_id agent_role event_type type call root class fields digest traceback fingerprint error_module "
    "args_after args_held result_is error_args error_cause error_id error_members context_span learning_type "
    "source duration_ms".split()
)
"""Keys of `extra` that a line shows elsewhere, or leaves to `--json`."""

AGENT_COLOURS = (32, 37, 64, 67, 71, 98, 103, 106, 131, 133, 136, 139, 166, 169, 172, 31, 65, 97, 130, 161)

OPENED = ("_data", "_state", "metadata", "args", "data")
"""How keys end whose value is what the user logged: its own keys are shown instead."""


def event_line(event: Event, *, width: int | None, with_agent: bool = True) -> str:
    """One event as `time tick level agent message details`, in at most `width` columns if that is given."""
    tick = "" if event.tick is None else f"t{event.tick}"
    head = "  ".join([event.timestamp[11:23], tick.rjust(5), clean(event.level)[:8].ljust(8)])
    who = ""
    if with_agent:
        name = clip(clean(event.agent_id or event.logger or "-"), 16)
        who = "  " + name + " " * (16 - display_width(name))
    message = clean(event.message or event.kind)
    details = describe(event)
    if width is not None:
        message = clip(message, max(width - len(head) - 16 * with_agent - 4, 12))
        taken = len(head) + 18 * with_agent + display_width(message)
        details = clip(details, max(width - taken - 4, 0))
    look = LEVEL_STYLES.get(event.level, {})
    own = {"fg": _colour_of(event.agent_id)} if event.agent_id else look or {"dim": True}
    line = f"{paint(head, **(look or {'dim': True}))}{paint(who, **own)}  {paint(message, **look)}"
    return f"{line}  {paint(details, dim=True)}" if details.strip("…") else line


@lru_cache(maxsize=4096)
def _colour_of(agent_id: str) -> int:
    """The agent's own colour out of those of 256 that can be read on dark and on light, always the same."""
    return AGENT_COLOURS[zlib.crc32(agent_id.encode("utf-8", "surrogatepass")) % len(AGENT_COLOURS)]


def describe(event: Event) -> str:
    """What the payload says beyond the message: `key=value` pairs, what changed, how long it took."""
    hidden = _told_by_message(event.kind) | LEFT_TO_JSON
    parts = [f"{key}={_short(value)}" for key, value in _pairs(event.extra, hidden)]
    if event.state:
        changed = sorted({*event.state.get("set", {}), *event.state.get("unset", [])})
        parts += [f"changed={','.join(changed)}"] if changed else []
    duration_ms = event.extra.get("duration_ms")
    if isinstance(duration_ms, int | float):
        parts.append(f"({duration_ms:.3g} ms)")
    return clean(" ".join(parts))


def _pairs(extra: Mapping[str, Any], hidden: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Keys and values in order, how it ended first; empty values say nothing."""
    for key in sorted(extra, key=lambda name: name not in ("outcome", "result")):
        value = extra[key]
        if key in hidden or value is None or value in ({}, [], ""):
            continue
        if isinstance(value, dict) and key.endswith(OPENED):
            prefix = "old." if key == "old_state" else ""
            yield from ((prefix + inner, each) for inner, each in value.items())
        else:
            yield key, value


def _short(value: Any) -> str:
    """A value in few characters."""
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
def _told_by_message(kind: str) -> frozenset[str]:
    """The fields that the message of a kind already shows."""
    row = KINDS.get(kind)
    template = row.message if row else ""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
