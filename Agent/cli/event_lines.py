"""How one event, and one session, looks as a line for people."""

from __future__ import annotations

import contextlib
import string
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from Agent.archive.sealed.parts import archive_dir
from Agent.cli.render import LEVEL_STYLES, clean, clip, display_width, paint
from Agent.errors import InputError
from Agent.event.clock import parse_timestamp
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.tree.files.session import Lineage, lineage_within, open_session
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import SessionRef, list_sessions, summary_file, tree_files
from Agent.tree.read.summary import summarise

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


_LARGE_BYTES: Final = 8 * 1024 * 1024


def session_rows(root: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """One dict a session, newest last.

    Returns:
        session_id, path, started_at, ended_at, duration_s, agents, events, errors, lost (counts), state:
        `running`, `closed`, `crashed`, or `recovered` where somebody finished it after that; and problem: why
        the session's description could not be read, so that state is a guess; else None; and origin: what a
        forked or resumed run in it comes from, else None.
    """
    found = list_sessions(root)
    return [_row(ref) for ref in (found if limit is None else found[-limit:])]


def _row(ref: SessionRef) -> dict[str, Any]:
    started_at = ended_at = recovered_at = problem = lineage = None
    try:
        info = open_session(ref.path)
        started_at, ended_at = info.started_at or None, info.ended_at
        recovered_at = info.recovered_at
        lineage = lineage_within(info)
    except InputError as error:
        # its events are there all the same, and say when it was
        problem = error.message
    running = any(claim.is_alive() for claim in read_claims(ref.path).values())
    closed = ended_at is not None and not running
    summary = _stored_summary(ref.path) if closed else None
    counts = _counted(ref.path) if summary is None else _summed(summary)
    started_at = started_at or counts["first_timestamp"]
    until = ended_at or counts["last_timestamp"]
    return {
        "session_id": ref.session_id,
        "path": str(ref.path),
        "started_at": started_at,
        "ended_at": ended_at,
        "duration_s": _seconds(started_at, until),
        "agents": counts["agents"],
        "events": counts["events"],
        "errors": counts["errors"],
        "lost": counts["lost"],
        "state": _state(running, closed, recovered_at is not None),
        "problem": problem,
        "origin": None if lineage is None else origin_of(lineage),
    }


def origin_of(lineage: Lineage) -> dict[str, Any]:
    """What a forked or resumed run comes from, as the lists show it."""
    names = ("relation", "run", "session_id", "step", "patch", "seed")
    return {name: getattr(lineage, name) for name in names}


def _state(running: bool, closed: bool, recovered: bool) -> str:
    if running:
        return "running"
    return "recovered" if recovered else "closed" if closed else "crashed"


def _stored_summary(session: Path) -> dict[str, Any] | None:
    """The summary that a clean end left, None if there is none that can be read."""
    import orjson

    from Agent.tree.read.summary import SUMMARY_VERSION

    try:
        stored = orjson.loads(summary_file(session).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None  # it is a cache: what it would say is counted again
    if not isinstance(stored, dict) or stored.get("summary_version") != SUMMARY_VERSION:
        return None
    try:
        counts = _summed(stored)
    except (KeyError, TypeError):
        return None  # it lacks a count: all is counted again
    times = (counts.pop("first_timestamp"), counts.pop("last_timestamp"))
    is_sound = all(type(n) is int for n in counts.values()) and all(isinstance(t, str | None) for t in times)
    return stored if is_sound else None


def _summed(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "agents": len(summary["by_agent"]),
        "events": summary["events"],
        "errors": summary["errors"]["count"],
        "lost": summary["losses"]["lost"],
        "first_timestamp": summary["first_timestamp"],
        "last_timestamp": summary["last_timestamp"],
    }


def _counted(session: Path) -> dict[str, Any]:
    """The same of a session without a summary; for a large one the engine is worth its loading."""
    if archive_dir(session).is_dir() or _size_bytes(session) > _LARGE_BYTES:
        from Agent.analysis.session import session_counts

        return session_counts(session)
    return _summed(summarise(session))


def _size_bytes(session: Path) -> int:
    total = 0
    for path in tree_files(session):
        with contextlib.suppress(FileNotFoundError):  # rolled or removed since it was listed
            total += path.lstat().st_size
    return total


def _seconds(started_at: str | None, until: str | None) -> float | None:
    if started_at is None or until is None:
        return None
    try:
        return (parse_timestamp(until) - parse_timestamp(started_at)) / 1_000_000
    except ValueError:  # in a damaged session.json, or a damaged summary
        return None
