"""Format events and sessions as lines for people, and select the events that a command shows.

Events are selected by agent, level, kind, time and conditions on fields; fields have the names that they
have in the event's line (`field_values`).
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
import string
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import click

from Agent.archive.sealed.parts import archive_dir
from Agent.cli.parameters import Since
from Agent.cli.render import LEVEL_STYLES, clean, paint
from Agent.errors import DamagedInput, InputError
from Agent.event.clock import seconds_between
from Agent.event.kinds import LEVELS
from Agent.event.model import ENVELOPE_KEYS, Event
from Agent.event.payloads import KINDS
from Agent.render.layout import clip, display_width
from Agent.tree.files.session import Lineage, lineage_within, open_session
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import SessionRef, list_sessions, read_file, summary_file, tree_files
from Agent.tree.read.summary import SUMMARY_VERSION, summarise

LEFT_TO_JSON = frozenset(
    "agent_id agent_role event_type type call root class fields digest traceback fingerprint error_module "
    "args_after args_held result_is error_args error_cause error_id error_members context_span learning_type "
    "source duration_ms".split()
)
"""Keys of `extra` that a line shows elsewhere, or that only `--json` shows."""

AGENT_COLOURS = (32, 37, 64, 67, 71, 98, 103, 106, 131, 133, 136, 139, 166, 169, 172, 31, 65, 97, 130, 161)

OPENED = ("_data", "_state", "metadata", "args", "data")
"""Suffixes of keys whose value is a dict that the user logged: its own keys are shown instead."""


def event_line(event: Event, *, width: int | None, with_agent: bool = True) -> str:
    """One event as `time tick level agent message details`, at most `width` columns wide."""
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
    """The agent's colour, always the same, out of those of 256 that are readable on dark and light."""
    return AGENT_COLOURS[zlib.crc32(agent_id.encode("utf-8", "surrogatepass")) % len(AGENT_COLOURS)]


def describe(event: Event) -> str:
    """The payload beyond the message: `key=value` pairs, changed fields and the duration."""
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
    """The non-empty keys and values, outcome and result first."""
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
def _told_by_message(kind: str) -> frozenset[str]:
    """The fields that the message of a kind already shows."""
    row = KINDS.get(kind)
    template = row.message if row else ""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


_LARGE_BYTES: Final = 8 * 1024 * 1024


def session_rows(root: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """One dict for each session, newest last.

    Returns:
        session_id, path, size_bytes (of all its files), started_at, ended_at, duration_s, agents, events,
        errors, lost (counts); state:
        `running`, `closed`, `crashed`, or `recovered` after a crash; problem: why the session's description
        could not be read, so that the state is a guess, else None; and origin: where a forked or resumed run
        of the session comes from, else None.
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
        # its events still exist, and show when it ran
        problem = error.message
    running = any(claim.is_alive() for claim in read_claims(ref.path).values())
    closed = ended_at is not None and not running
    counts = (_stored_counts(ref.path) if closed else None) or _counted(ref.path)
    started_at = started_at or counts["first_timestamp"]
    until = ended_at or counts["last_timestamp"]
    return {
        "session_id": ref.session_id,
        "path": str(ref.path),
        "size_bytes": size_on_disk(ref.path),
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
    """The origin of a forked or resumed run, for the lists."""
    names = ("relation", "run", "session_id", "step", "patch", "seed")
    return {name: getattr(lineage, name) for name in names}


def _state(running: bool, closed: bool, recovered: bool) -> str:
    if running:
        return "running"
    return "recovered" if recovered else "closed" if closed else "crashed"


def _stored_counts(session: Path) -> dict[str, Any] | None:
    """The counts in the summary that a clean end writes; None if it is missing or unreadable."""
    import orjson

    try:
        stored = orjson.loads(read_file(summary_file(session)))
        counts = _summed(stored) if stored["summary_version"] == SUMMARY_VERSION else None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None  # only a cache: count again
    if counts is None:
        return None
    times = counts["first_timestamp"], counts["last_timestamp"]
    numbers = [number for name, number in counts.items() if not name.endswith("_timestamp")]
    is_sound = all(type(n) is int for n in numbers) and all(isinstance(t, str | None) for t in times)
    return counts if is_sound else None


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
    """The counts of a session without a summary; large sessions are counted with DuckDB."""
    if is_for_engine(session):
        from Agent.analysis.session import session_counts

        with contextlib.suppress(DamagedInput):  # SQL cannot skip an overlong line, but the reader can
            return session_counts(session)
    return _summed(summarise(session))


def is_for_engine(session: Path) -> bool:
    """Whether counting a session's events with DuckDB is faster than decoding each line, or the only way."""
    return archive_dir(session).is_dir() or _total_bytes(tree_files(session)) > _LARGE_BYTES


def size_on_disk(session: Path) -> int:
    """Return the bytes of all files of a session: log files, runs, the archive and caches."""
    return _total_bytes(Path(place, name) for place, _, names in os.walk(session) for name in names)


def _total_bytes(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # rolled or removed since the listing
            total += path.lstat().st_size
    return total


def _seconds(started_at: str | None, until: str | None) -> float | None:
    try:
        return seconds_between(started_at, until)
    except ValueError:  # from a damaged session.json or summary
        return None


LEVEL_NAMES: Final = tuple(LEVELS)

_CONDITION: Final = re.compile(r"([^=~!<>\s][^=~!<>]*?)\s*(!=|!~|>=|<=|=|~|>|<)(.*)", re.DOTALL)
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ENVELOPE: Final = frozenset(ENVELOPE_KEYS) - {"types"}


@dataclass(frozen=True, slots=True)
class FieldTest:
    """One condition on a field: `key=value`, `key!=value`, `key~regex`, `key!~regex`, `key>number` ..."""

    key: str
    sign: str
    value: str
    pattern: re.Pattern[str] | None = None

    def holds_for(self, event: Event) -> bool:
        """Whether it holds; in a list for one item (!= and !~: all), without the field for != and !~ only."""
        found = any(self._holds(value) for value in field_values(event, self.key))
        return not found if self.sign in {"!=", "!~"} else found

    def _holds(self, value: Any) -> bool:
        if self.sign in _COMPARE:
            number = _number(value)
            return number is not None and _COMPARE[self.sign](number, float(self.value))
        text = _value_text(value)
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        if text == self.value:
            return True
        number = _number(value)
        # compare as numbers, since 1 may have been recorded as 1.0
        return number is not None and number == _number(self.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The conditions on events from a command line; empty ones match everything."""

    agents: tuple[str, ...] = ()
    level: str | None = None
    kinds: tuple[str, ...] = ()
    fields: tuple[FieldTest, ...] = ()
    since: Since | None = None
    until: Since | None = None

    def __call__(self, event: Event) -> bool:
        """Whether the event matches."""
        return (
            (not self.agents or event.agent_id in self.agents)
            and (self.level is None or event.severity >= LEVELS[self.level])
            and (not self.kinds or event.kind in self.kinds)
            and (self.since is None or self.since.reached_by(event))
            and (self.until is None or not self.until.passed_by(event))
            and all(test.holds_for(event) for test in self.fields)
        )

    @property
    def since_us(self) -> int | None:
        """The requested start time, if one was given."""
        return None if self.since is None else self.since.timestamp_us

    @property
    def until_us(self) -> int | None:
        """The requested end time (exclusive), if one was given."""
        return None if self.until is None else self.until.timestamp_us


def field_values(event: Event, key: str) -> Iterator[Any]:
    """The values of a field: a key of the envelope or of the payload, nested ones with dots.

    A key that contains dots is found as well; a list gives each of its items.
    """
    parts = key.split(".")
    if key in {"event_type", "type"}:
        yield event.kind
    elif parts[0] in _ENVELOPE:
        value = getattr(event, parts[0])
        yield from _inside(list(value) if isinstance(value, tuple) else value, parts[1:])
    else:
        yield from _inside(event.extra, parts)


def _inside(value: Any, parts: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        if parts and parts[0].isdecimal():
            if int(parts[0]) < len(value):
                yield from _inside(value[int(parts[0])], parts[1:])
            return
        for each in value:
            yield from _inside(each, parts)
    elif not parts:
        yield value
    elif isinstance(value, Mapping):
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in value:
                yield from _inside(value[name], parts[end:])


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None  # not a number: no numeric condition matches


def parse_condition(text: str) -> FieldTest:
    """Parse a condition; ValueError with a one-clause message if it is invalid."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a condition, write key=value, 'key~regex' or 'key>number'")
    key, sign, value = found[1], found[2], found[3]
    pattern = None
    if sign in {"~", "!~"}:
        try:
            pattern = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
    if sign in _COMPARE:
        number = _number(value)
        if number is None or number != number:
            raise ValueError(f"{value!r} is not a number; {key}{sign} needs one")
    return FieldTest(key, sign, value, pattern)


def conditions(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[FieldTest, ...]:
    """The click callback of an option that takes conditions."""
    try:
        return tuple(parse_condition(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


Where = Annotated[
    tuple[FieldTest, ...],
    "--where CONDITION",
    "Only events that match: key=value, 'key~regex', 'key>number' (also != !~ >= < <=). "
    "Nested keys are joined by dots; repeatable.",
    {"callback": conditions},
]
