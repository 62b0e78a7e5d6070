"""`trace_summary.json`, the summary of a session: a cache that can be rebuilt at any time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from Agent.tree.files.session import replace_file
from Agent.tree.layout import session_id_of, summary_file
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.event_counts import MOST_ERRORS, EventCounts, forget_counts, shown_error

SUMMARY_VERSION = 1
_SHOWN_DAMAGES = 100
_SHOWN_SPANS = 1000


def summarise(
    session: Path, reader: TreeReader | None = None, counts: EventCounts | None = None
) -> dict[str, Any]:
    """Compute counts by kind, level and agent, errors, files with sizes, and losses; reads every line once.

    Args:
        session: the session's directory.
        reader: the reader to use, needed if some of its lines are in the archive.
        counts: counts kept by its processes, whose lines are then not read.

    Raises:
        SessionNotFound: the session is missing.
    """
    reader = reader or TreeReader(session)
    totals = EventCounts()
    scan = reader.scan({"error"}, totals, counts)
    for event in scan:
        totals.error_types[str(event.extra.get("error_type", "unknown"))] += 1
        totals.errors.append(shown_error(event.timestamp, event.id, event.extra))
        if len(totals.errors) >= 2 * MOST_ERRORS:
            totals.errors = _earliest(totals.errors)
    kinds = totals.by(0)
    return {
        "summary_version": SUMMARY_VERSION,
        "session_id": session_id_of(session),
        "events": kinds.total(),
        "first_timestamp": totals.first,
        "last_timestamp": totals.last,
        "by_kind": _ranked(kinds),
        "by_level": _ranked(totals.by(1)),
        "by_agent": _ranked(totals.by(2)),
        "errors": {
            "count": kinds["error"],
            "by_type": _ranked(totals.error_types),
            "first": _earliest(totals.errors),
        },
        "open_spans": _left_open(reader),
        "files": _files(reader, session),
        "losses": scan.losses.to_dict(),
        "damage": _damage(reader, session),
    }


def _left_open(reader: TreeReader) -> list[dict[str, Any]]:
    """Return the spans that ended processes left open."""
    return [
        {"agent_id": span.agent_id, "name": span.name, "span_id": span.span_id, "writer": span.writer}
        for span in reader.in_flight()[:_SHOWN_SPANS]
        if not span.alive
    ]


def _damage(reader: TreeReader, session: Path) -> list[dict[str, Any]]:
    return [
        {
            "file": entry.path.relative_to(session).as_posix(),
            "line": entry.line_number,
            "reason": entry.reason,
        }
        for entry in reader.damage()[:_SHOWN_DAMAGES]
    ]


def write_summary(
    session: Path, reader: TreeReader | None = None, *, counts: EventCounts | None = None
) -> Path:
    """Write a session's `trace_summary.json`; `reader` and `counts` as in `summarise`.

    Raises:
        SessionNotFound: the session is missing.
        OSError: it cannot be written.
    """
    path = summary_file(session)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    replace_file(path, orjson.dumps(summarise(session, reader, counts), option=options, default=str))
    forget_counts(session)
    return path


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _earliest(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(errors, key=lambda error: (error["timestamp"], error["id"]))[:MOST_ERRORS]


def _files(reader: TreeReader, session: Path) -> list[dict[str, Any]]:
    files = []
    for path in reader.files():
        try:
            size_bytes = path.lstat().st_size
        except FileNotFoundError:
            # rolled since it was listed
            continue
        files.append({"file": path.relative_to(session).as_posix(), "size_bytes": size_bytes})
    return files
