"""Patterns of errors and other log messages: their trends, and which errors occur together."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import math
import re
from _blake2 import blake2b  # hashlib has the same, and loads OpenSSL
from collections import defaultdict, deque
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.tables import Rows
from Agent.analysis.query.views import (
    DIV,
    EVENT_COLUMNS,
    EVERY,
    FIRST,
    IS_ERROR,
    TOTAL,
    Only,
    engine_row,
    event_row,
    is_agent,
    scan,
    whole_lines,
)
from Agent.errors import AgentNotFound
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.code_places import CodePlace, frame_of
from Agent.tree.read.reader import TreeReader

NUMBERS: Final = r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|[0-9]+(?:[.,:][0-9]+)*"
"""The regular expression for the parts that become #, in the syntax that RE2, Java and Python share."""

# a sequence that controls a terminal, also one whose numbers were replaced
_ESCAPE = re.compile(r"\x1b\[[0-9;:?#]*[A-Za-z]")
_NUMBERS = re.compile(NUMBERS, re.ASCII)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_PATH = re.compile(
    r"(?:[A-Za-z]:\\|https?://|(?<![\w.])~?/)[^\s,;:)\]]+|(?<![\w.#~-])(?:[\w.#~-]+[/\\]){2,}[\w.#~-]*"
)
_ID = re.compile(r"(?<![\w-])[\w-]*#[\w-]*#[\w#-]*|#[A-Za-z_][\w-]*")
# The beginning of a message distinguishes errors; the rest only costs time.
_SHAPED_CHARS = 2000


def shape_of(message: str) -> str:
    """The message without numbers, ids, quoted values, paths, and the colours of a terminal.

    A message whose numbers were already replaced gives the same shape.
    """
    shape = _NUMBERS.sub("#", _ESCAPE.sub("", message[:_SHAPED_CHARS]))
    shape = _QUOTED.sub("'*'", shape)
    shape = _PATH.sub("<path>", shape)
    return " ".join(_ID.sub("#", shape).split())


def place_of(traceback: str | None) -> str:
    """The innermost function of the program's own code in a traceback, as file:function; "" without frames.

    Own code is outside the standard library and the installed packages. If no frame is own code, the
    innermost frame of all is used.
    """
    frame = frame_of(traceback)
    if frame is None:
        return ""
    file = frame.file.replace("\\", "/").rpartition("/")[2]
    return f"{file}:{frame.function}"


def fingerprint(error_type: str | None, message: str, place: str) -> str:
    """A digest of error type, message shape and place, as 16 hexadecimal digits."""
    text = "|".join((error_type or "", shape_of(message), place))
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def pattern_text(pattern: Mapping[str, Any]) -> str:
    """The text of a pattern: the message, or type and shape if the messages of its errors differ."""
    if not pattern["varies"]:
        return str(pattern["message"] or pattern["error_type"] or "(no message)")
    return ": ".join(part for part in (pattern["error_type"], pattern["shape"]) if part)


TOP_MESSAGES = 20
TOP_PATTERNS = 50
MAX_ERRORS = 10_000
"""The maximum number of errors in a list; the newest are kept."""
MAX_SHAPES = 20_000
TOP_TOGETHER = 10
WINDOW_US = 1_000_000
"""Errors within one such window, or inside one span, occur together."""
TAIL = 5
NO_AGENT = "(no agent)"
NO_TYPE = "(logged)"

_SLICES = 10
_MIN_TREND = 5
_MIN_TOGETHER = 3
_RARE = 0.01

# A rough grouping by error type and message without numbers; `fingerprint` then joins these groups.
_SHAPE = f"regexp_replace(coalesce(error_message, message, ''), '{NUMBERS}', '#', {EVERY})"
FINGERPRINT = f"left(md5(concat(coalesce(error_type, ''), '|', {_SHAPE})), 16)"
"""SQL for a rough fingerprint, for queries that only need to count groups."""
_OF_FIRST: Final = {
    **{name: name for name in ("error_type", "message", "error_message", "traceback")},
    "example_id": "concat(writer, '-', seq)",
    "example_agent": "agent_id",
}
_ERRORS = Only(("error",), with_errors=True)
_LOGS = Only(("log",), with_warnings=True)
_IS_LOG = "(level = 'WARNING' OR (event_type = 'log' AND level NOT IN ('ERROR', 'CRITICAL')))"
# of the column itself: of an expression, the engine replaces in each row, not in each distinct message
_SHAPE_OF_LOG = f"coalesce(regexp_replace(message, '{NUMBERS}', '#', {EVERY}), '')"
_AGENTS: Final = (
    f"{FIRST}(array_sort(array_agg(DISTINCT agent_id) FILTER (WHERE agent_id IS NOT NULL)), 1, 1000) "
    "AS agent_ids, count(DISTINCT agent_id) AS agents"
)
"""SQL of a pattern: its first 1,000 agents, and how many it has."""
_KEYS = ("error_type", "error_message", "error_id", "traceback", "fingerprint")


class Errors(Rows):
    """Errors as event dicts, newest last; `total` is the number of errors in the session."""

    total: int = 0


def error_patterns(engine: QueryEngine, ends_us: tuple[int, int] | None = None) -> dict[str, Any]:
    """Count every error of the session once, and group them into patterns.

    An error is an event of kind `error`, or a line of level ERROR or CRITICAL that does not refer to one.

    Args:
        engine: over the session.
        ends_us: the times of the first and last event; queried if None.

    Returns:
        `total_errors`; `most_common_messages`, a list of (message, count), most frequent first, at most 20;
        `by_type`, `by_agent`, `by_level` ({name: count}); `fingerprints`, at most 50 dicts with fingerprint,
        error_type, message (of the first), shape (the message without its variable parts), varies (whether
        the messages differ), place, file and line (of the first), count, agents (how many), agent_ids (the
        first 5), first_seen, last_seen, trend (see `trend`), slices (counts in tenths of the session),
        example_id (the first) and example_agent; `total_fingerprints`; `together`, at most 10 dicts with the
        fingerprints `first` and `second`, the number of one-second windows with both (`windows`), the number
        expected by chance (`expected`), and the number of spans with both (`spans`); `logs`, see
        `log_patterns`.
    """
    ends_us = ends_us or engine.ends_us() or (0, 0)
    query = (
        "(SELECT ts_us, writer, seq, level, message, agent_id, parent_span_id, error_type, "
        "md5(concat(coalesce(error_type, ''), '|', shape, '|', coalesce(fingerprint, ''))) AS "
        "shape_hash, traceback, coalesce(error_message, message, '') AS error_message "
        "FROM (SELECT ts_us, writer, seq, level, message, agent_id, parent_span_id, error_type, fingerprint, "
        f"traceback, error_message, {_SHAPE} AS shape FROM {scan(*_KEYS, only=_ERRORS)} WHERE {IS_ERROR}))"
    )
    with kept(engine, "error_lines", query) as lines:
        messages = engine.counts("coalesce(message, '')", lines, TOP_MESSAGES)
        first_us, last_us = ends_us
        span_us = max(1, last_us - first_us)
        patterns, member_of = _patterns(_groups(engine, lines, first_us, span_us), first_us, span_us)
        return {
            "total_errors": engine.row(f"SELECT count(*) AS n FROM {lines}")["n"],
            "most_common_messages": [*messages.items()],
            "by_type": engine.counts(f"coalesce(error_type, '{NO_TYPE}')", lines),
            "by_agent": engine.counts(f"coalesce(agent_id, '{NO_AGENT}')", lines),
            "by_level": engine.counts("level", lines),
            "fingerprints": patterns[:TOP_PATTERNS],
            "total_fingerprints": len(patterns),
            "logs": log_patterns(engine, ends_us),
            "together": _together(engine, lines, patterns[:TOP_MESSAGES], member_of, span_us),
        }


def log_patterns(engine: QueryEngine, ends_us: tuple[int, int]) -> dict[str, Any]:
    """Group all warnings and other logged messages; those of a group differ only in numbers, ids and paths.

    Args:
        engine: over the session.
        ends_us: the times of the first and last event.

    Returns:
        `warnings` (how many), `total` (with all other lines of kind `log` below ERROR), `total_patterns`, and
        `patterns`: at most 50, warnings first and the most frequent first, dicts as in `error_patterns` with
        `level` instead of error_type, place, file and line.
    """
    first_us, last_us = ends_us
    span_us = max(1, last_us - first_us)
    source = f"{scan(only=_LOGS)} WHERE {_IS_LOG}"
    # First by agent and tenth, which leaves few rows for lists of agents and conditional sums; by shape, not
    # by message, because many programs put numbers into each message.
    parts = (
        f"SELECT level, {_SHAPE_OF_LOG} AS shape, agent_id, message IS NULL AS is_null, "
        f"{_tenth(first_us, span_us)} AS tenth, min((ts_us, writer, seq)) AS first, "
        "min_by(message, (ts_us, writer, seq)) AS message, min(coalesce(message, '')) AS lowest, "
        "max(coalesce(message, '')) AS highest, count(*) AS n, min(ts_us) AS first_us, "
        f"max(ts_us) AS last_us, avg(ts_us - {first_us}) AS mean_us FROM {source} GROUP BY 1, 2, 3, 4, 5"
    )
    slices = ", ".join(
        f"CAST(coalesce(sum(n) FILTER (WHERE tenth = {n}), 0) AS BIGINT) AS slice_{n}" for n in range(_SLICES)
    )
    groups = engine.rows(
        "SELECT level AS error_type, shape, min_by(message, first) FILTER (WHERE message IS NOT NULL) AS "
        "message, min_by(agent_id, first) FILTER (WHERE agent_id IS NOT NULL) AS example_agent, "
        "min(first) AS first, CAST(sum(n) AS BIGINT) AS count, min(lowest) <> max(highest) AS varies, "
        f"{_AGENTS}, min(first_us) AS first_us, max(last_us) AS last_us, "
        f"{TOTAL}(mean_us * n) / sum(n) AS mean_us, {slices}, CAST(sum(sum(n)) OVER () AS BIGINT) AS total, "
        "CAST(sum(sum(n) FILTER (WHERE level = 'WARNING')) OVER () AS BIGINT) AS warnings "
        f"FROM ({parts}) GROUP BY level, shape ORDER BY count DESC, first_us, first LIMIT {MAX_SHAPES}"
    )
    for group in groups:
        _, writer, seq = group.pop("first")
        group |= {"example_id": f"{writer}-{seq}", "error_message": group["message"] or "", "traceback": None}
    patterns, _ = _patterns(groups, first_us, span_us)
    named = [
        {"level": row["error_type"], **{key: value for key, value in row.items() if key not in _OF_ERRORS}}
        for row in sorted(patterns, key=lambda row: row["error_type"] != "WARNING")
    ]
    return {
        "warnings": (groups[0]["warnings"] if groups else 0) or 0,
        "total": groups[0]["total"] if groups else 0,
        "total_patterns": len(named),
        "patterns": named[:TOP_PATTERNS],
    }


_OF_ERRORS: Final = {"error_type", "place", "file", "line"}


def _tenth(first_us: int, span_us: int) -> str:
    """SQL: the tenth of the session, from 0, in which an event is."""
    return f"least({_SLICES - 1}, ((ts_us - {first_us}) * {_SLICES}) {DIV} {span_us})"


def _groups(engine: QueryEngine, lines: str, first_us: int, span_us: int) -> list[dict[str, Any]]:
    """The rough shapes of kept errors, most frequent first."""
    tenth = _tenth(first_us, span_us)
    slices = ", ".join(f"count(*) FILTER (WHERE {tenth} = {n}) AS slice_{n}" for n in range(_SLICES))
    firsts = ", ".join(
        f"min_by({expression}, (ts_us, writer, seq)) FILTER (WHERE {expression} IS NOT NULL) AS {name}"
        for name, expression in _OF_FIRST.items()
    )
    return engine.rows(
        f"SELECT shape_hash, {firsts}, count(*) AS count, "
        f"min(error_message) <> max(error_message) AS varies, {_AGENTS}, "
        f"min(ts_us) AS first_us, max(ts_us) AS last_us, avg(ts_us - {first_us}) AS mean_us, "
        f"{slices} FROM {lines} "
        f"GROUP BY shape_hash ORDER BY count DESC, first_us, example_id LIMIT {MAX_SHAPES}"
    )


def _patterns(
    groups: list[dict[str, Any]], first_us: int, span_us: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The patterns, most frequent first, and {hash of a rough shape: the fingerprint it belongs to}."""
    joined: dict[str, list[dict[str, Any]]] = {}
    member_of = {}
    for group in groups:
        place = place_of(group["traceback"])
        group["place"], group["frame"] = place, frame_of(group["traceback"])
        group["slices"] = [group.pop(f"slice_{n}") for n in range(_SLICES)]
        name = fingerprint(group["error_type"], group["error_message"], place)
        joined.setdefault(name, []).append(group)
        member_of[group.get("shape_hash", name)] = name
    patterns = [_joined(name, group, first_us, span_us) for name, group in joined.items()]
    patterns.sort(key=lambda row: (-row["count"], row["first_seen"], row["fingerprint"]))
    return patterns, member_of


def _joined(name: str, groups: list[dict[str, Any]], begin_us: int, span_us: int) -> dict[str, Any]:
    first = min(groups, key=lambda group: (group["first_us"], group["example_id"]))
    count = sum(group["count"] for group in groups)
    agents = sorted({agent for group in groups for agent in group["agent_ids"] or ()})
    last_us = max(group["last_us"] for group in groups)
    mean = sum(group["mean_us"] * group["count"] for group in groups) / count
    slices = [sum(group["slices"][n] for group in groups) for n in range(_SLICES)]
    frame: CodePlace | None = first["frame"]
    return {
        "fingerprint": name,
        "error_type": first["error_type"],
        "message": first["message"],
        "shape": shape_of(first["error_message"]),
        "varies": len(groups) > 1 or first["varies"],
        "place": first["place"] or None,
        "file": None if frame is None else frame.file,
        "line": None if frame is None else frame.line,
        "count": count,
        "agents": max(len(agents), *(group["agents"] for group in groups)),
        "agent_ids": agents[:5],
        "first_seen": format_timestamp(first["first_us"]),
        "last_seen": format_timestamp(last_us),
        "trend": trend(slices, mean / span_us, (last_us - begin_us) / span_us),
        "slices": slices,
        "example_id": first["example_id"],
        "example_agent": first["example_agent"],
    }


def trend(slices: list[int], mean: float, last: float) -> str:
    """Classify how errors of one pattern spread over the session: rising, falling, steady, burst, over, few.

    `few`: fewer than 5 errors. `burst`: at least 80 % fall within one tenth of the session. `over`: the
    errors stopped; at a steady rate, fewer than 1 % of sessions would end with so long a gap. Otherwise
    Laplace's trend test on the mean time, at 1 % on either side (D. R. Cox and P. A. W. Lewis, The
    Statistical Analysis of Series of Events, 1966).

    Args:
        slices: counts in tenths of the session.
        mean: the mean time of the errors, as a share of the session.
        last: the time of the last error, as a share of the session.
    """
    count = sum(slices)
    if count < _MIN_TREND:
        return "few"
    if max(slices) >= 0.8 * count:
        return "burst"
    if last < 1.0 and count * math.log(max(last, 1e-9)) < math.log(_RARE):
        return "over"
    score = (mean - 0.5) * math.sqrt(12 * count)
    return "rising" if score > 2.33 else "falling" if score < -2.33 else "steady"


def _together(
    engine: QueryEngine,
    lines: str,
    patterns: list[dict[str, Any]],
    member_of: dict[str, str],
    span_us: int,
) -> list[dict[str, Any]]:
    """Pairs of patterns that occur together more often than by chance, or inside the same spans."""
    names = {row["fingerprint"] for row in patterns}
    hashes = [each for each, name in member_of.items() if name in names]
    if len(names) < 2:
        return []
    both: dict[str, dict[tuple[str, str], int]] = {}
    alone: defaultdict[str, int] = defaultdict(int)
    for key in (f"(ts_us {DIV} {WINDOW_US})", "parent_span_id"):
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        # one row for each distinct set of patterns: few rows, however many windows there are
        sets = engine.rows(
            "SELECT members, count(*) AS n FROM ("
            "SELECT array_sort(array_agg(DISTINCT shape_hash)) AS members "
            f"FROM {lines} WHERE array_contains(?, shape_hash) AND {key} IS NOT NULL GROUP BY {key}) "
            "GROUP BY members ORDER BY n DESC LIMIT 10000",
            [hashes],
        )
        for row in sets:
            present = sorted({member_of[each] for each in row["members"]})
            for pair in combinations(present, 2):
                counts[pair] += row["n"]
            if key.startswith("("):
                for name in present:
                    alone[name] += row["n"]
        both["windows" if key.startswith("(") else "spans"] = counts
    return _unusual_pairs(both, alone, max(1, span_us // WINDOW_US + 1))


def _unusual_pairs(
    both: dict[str, dict[tuple[str, str], int]], alone: dict[str, int], windows: int
) -> list[dict[str, Any]]:
    unusual_pairs: list[dict[str, Any]] = []
    pairs = both["windows"].keys() | both["spans"].keys()
    for first, second in pairs:
        seen, spans = both["windows"].get((first, second), 0), both["spans"].get((first, second), 0)
        expected = alone[first] * alone[second] / windows
        unusual = seen >= _MIN_TOGETHER and _poisson_tail(seen, expected) * len(pairs) < _RARE
        if unusual or spans >= _MIN_TOGETHER:
            unusual_pairs.append(
                {
                    "first": first, "second": second, "windows": seen, "expected": round(expected, 2),
                    "spans": spans,
                }
            )  # fmt: skip
    unusual_pairs.sort(key=lambda pair: (-pair["spans"] - pair["windows"], pair["first"], pair["second"]))
    return unusual_pairs[:TOP_TOGETHER]


def _poisson_tail(count: int, mean: float) -> float:
    if mean <= 0:
        return 0.0
    below = math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count))
    return max(0.0, 1.0 - below)


def journey_tail(reader: TreeReader, pattern: dict[str, Any]) -> list[dict[str, Any]]:
    """The last 5 events of the agent before a pattern's example, and the example itself, as event dicts."""
    if pattern["example_agent"] is None:
        return []
    until_us = parse_timestamp(pattern["first_seen"]) + 1
    last: deque[Any] = deque(maxlen=TAIL + 1)
    try:
        for event in reader.events(pattern["example_agent"], until_us=until_us):
            last.append(event)
            if event.id == pattern["example_id"]:
                break
    except AgentNotFound:
        return []
    return [event_row(event) for event in last]


def errors(engine: Engine, agent_id: str | None = None, limit: int | None = None) -> Errors:
    """Return errors as event dicts, newest last.

    Args:
        engine: over the session.
        agent_id: only errors of this agent.
        limit: only this many, the newest; default: 10,000. `total` of the list counts all.
    """
    most = MAX_ERRORS if limit is None else max(0, int(limit))
    source = (
        f"FROM (SELECT *, extra->>'$.error_id' AS error_id FROM {whole_lines(_ERRORS)}) "
        f"WHERE {IS_ERROR} AND {is_agent(agent_id)}"
    )
    rows = engine.rows(
        f"SELECT {EVENT_COLUMNS} {source} ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT {most}"
    )
    listed = Errors(engine_row(row) for row in reversed(rows))
    listed.total = len(listed)
    if len(listed) == most:
        listed.total = engine.row(f"SELECT count(*) AS n {source}")["n"]
    return listed
