"""A whole session in one report: a mapping for programs, text for people, a file to keep."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from Agent.analysis import session as integrity
from Agent.analysis.causality.chains import causality_chain
from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.tables import as_json
from Agent.analysis.query.views import IS_ERROR, Only, scan
from Agent.analysis.questions import errors as failures
from Agent.analysis.questions import interactions, journeys, learning, performance, states
from Agent.analysis.report.sections import Facts, header, sections
from Agent.analysis.session import SessionRef, find
from Agent.archive.sealed.reader import open_reader
from Agent.errors import EventNotFound, InputError
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.record.encode.safe_text import printable
from Agent.render import html
from Agent.render.blocks import Section, Words
from Agent.render.formats import plural
from Agent.render.layout import sections_text
from Agent.tree.files.session import write_output
from Agent.tree.layout import open_file, recorded_at, session_id_of
from Agent.tree.read.reader import TreeReader

if TYPE_CHECKING:
    from Agent.analysis.query.trees import Trees

EXPORT_VERSION = 1
_BUCKETS: Final = 96
_EXAMPLES: Final = 12
_CHAINS: Final = 4
_LOOKBACK_S: Final = 60.0


class Analysis(Mapping[str, Any]):
    """The result of `analyze_session`: a mapping of its parts that prints as a report."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self._summary = summary

    def __getitem__(self, key: str) -> Any:
        return self._summary[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._summary)

    def __len__(self) -> int:
        return len(self._summary)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """Return the report as text; with a width, tables are cut to it."""
        head = header(self._facts)
        text = sections_text(sections(self._facts), width)
        return f"{head.title}\n  {self._summary['path']}\n  {head.about}\n\n{text}"

    @property
    def _facts(self) -> Facts:
        return Facts(self._summary, {"buckets": [], "marks": []}, {}, {})

    def _repr_html_(self) -> str:
        head = header(self._facts)
        return html.notebook_html([Section(head.title, [Words(head.about)]), *sections(self._facts)])

    def __repr__(self) -> str:
        events = plural(self._summary["total_events"], "event")
        return f"<Analysis of session {self._summary['session_id']}: {events}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the parts as one plain dict."""
        return dict(self._summary)


def analyze_session(
    session: SessionRef = None, root: str | os.PathLike[str] | None = None, agent_id: str | None = None
) -> Analysis:
    """Report on one session, by default the current or newest one; `print` it, or read its parts by key.

    With `agent_id`, the report is about that agent's events; `losses` is still the session's.

    Raises:
        SessionNotFound: the session does not exist, or is empty.
        AgentNotFound: the session does not contain this agent.
    """
    path = find(session, root)
    reader = open_reader(path)
    with open_engine(path) as engine:
        if agent_id is None:
            return Analysis(session_summary(path, reader, engine))
        agent_id = printable(agent_id)  # a lone surrogate is an escape in its events
        integrity.check_agent(reader, agent_id)
        with open_engine(path, agent_id) as own:
            return Analysis(session_summary(path, reader, own, engine) | {"agent_id": agent_id})


def session_summary(
    path: Path, reader: TreeReader, engine: Engine, whole: Engine | None = None
) -> dict[str, Any]:
    """Summarise the session in one dict; `whole` is an engine over all of it, if `engine` is over one agent.

    Returns:
        session_id, path, first_seen, last_seen, duration_s, first_tick, last_tick, total_events,
        damaged_lines, `event_types`, `levels`, `actions` ({name: count}), `agents` ({agent_id: role,
        events, actions, errors, first_seen, last_seen}), `errors`, `learning`, `interactions`,
        `performance`, `marks`, `in_flight`, `losses`.
    """
    counts = _counts(engine)
    # counting losses also finds every damaged line
    losses = integrity.losses(path, reader, whole or engine)
    return {
        "session_id": session_id_of(path),
        "path": str(recorded_at(path)),
        **counts,
        "damaged_lines": losses["damaged_lines"],
        **_answers(engine, counts),
        "in_flight": [
            each
            for each in integrity.in_flight(reader)
            if whole is None or each["agent_id"] in counts["agents"]
        ],
        "losses": losses,
    }


def trees_summary(trees: Trees, engine: QueryEngine) -> dict[str, Any]:
    """Summarise many sealed sessions as `session_summary` does one; `in_flight` is empty.

    Agents of the same id in several sessions are one agent; `losses` is from `written_losses`.
    """
    counts = _counts(engine)
    paths = [*(str(tree.session) for tree in trees.local), *trees.remote]
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    damaged = sum(part.damaged for tree in (*trees.local, *engine.remote) for part in tree.parts)
    return {
        "session_id": ", ".join(session_id_of(Path(path)) for path in paths[:_NAMED]) + more,
        "path": ", ".join(paths[:_NAMED]) + more,
        "sessions": paths,
        **counts,
        "damaged_lines": damaged,
        **_answers(engine, counts),
        "in_flight": [],
        "losses": integrity.written_losses(engine) | {"damaged_lines": damaged},
    }


_NAMED: Final = 3


def _answers(engine: QueryEngine, counts: Mapping[str, Any]) -> dict[str, Any]:
    ends_us = None
    if counts["total_events"]:
        ends_us = parse_timestamp(counts["first_seen"]), parse_timestamp(counts["last_seen"])
    return {
        "errors": failures.error_patterns(engine, ends_us),
        "learning": learning.learning_progress(engine),
        "interactions": interactions.interaction_summary(engine),
        "performance": performance.performance_summary(engine),
        "marks": journeys.marks(engine),
    }


def _counts(engine: QueryEngine) -> dict[str, Any]:
    """Count everything in one pass over the lines, in groups that fit into memory."""
    query = (
        "(SELECT agent_id, max(agent_role) AS role, event_type, level, "
        "CASE WHEN event_type = 'agent_action' THEN coalesce(action_type, '') END AS action, count(*) AS n, "
        f"count(*) FILTER (WHERE {IS_ERROR}) AS errors, min(ts_us) AS first_us, max(ts_us) AS last_us, "
        f"min(tick) AS first_tick, max(tick) AS last_tick FROM {scan('action_type', 'error_id')} "
        "GROUP BY agent_id, event_type, level, action)"
    )
    with kept(engine, "session_groups", query) as groups:
        ends = (
            "min(first_us) AS first_us, max(last_us) AS last_us, CAST(sum(n) AS BIGINT) AS events, "
            "min(first_tick) AS first_tick, max(last_tick) AS last_tick"
        )
        whole = engine.row(f"SELECT {ends} FROM {groups}")
        agents = engine.rows(
            "SELECT agent_id, max(role) AS role, CAST(sum(errors) AS BIGINT) AS errors, "
            f"CAST(coalesce(sum(n) FILTER (WHERE action IS NOT NULL), 0) AS BIGINT) AS actions, {ends} "
            f"FROM {groups} WHERE agent_id IS NOT NULL GROUP BY agent_id ORDER BY agent_id"
        )
        by_name = {
            f"{key}s": engine.counts(
                key, f"{groups} WHERE {key} IS NOT NULL", number="CAST(sum(n) AS BIGINT)"
            )
            for key in ("event_type", "level", "action")
        }
    first_us, last_us = whole["first_us"], whole["last_us"]
    return {
        "first_seen": _time(first_us),
        "last_seen": _time(last_us),
        "duration_s": 0.0 if first_us is None else (last_us - first_us) / 1e6,
        "first_tick": whole["first_tick"],
        "last_tick": whole["last_tick"],
        "total_events": whole["events"] or 0,
        **by_name,
        "agents": {
            row["agent_id"]: {
                **{key: row[key] for key in ("role", "events", "actions", "errors")},
                "first_seen": _time(row["first_us"]),
                "last_seen": _time(row["last_us"]),
            }
            for row in agents
        },
    }


def _time(us: int | None) -> str | None:
    return None if us is None else format_timestamp(us)


def export_analysis(target: Path, path: Path, reader: TreeReader, engine: Engine) -> Path:
    """Write the whole analysis to one JSON file, readable by its owner only, replacing an existing one.

    Raises:
        InputError: the file cannot be written.
    """
    body = {
        "analysis_version": EXPORT_VERSION,
        **session_summary(path, reader, engine),
        "timeline": journeys.timeline(engine),
        "checkpoints": states.checkpoints(engine),
        "recent_errors": list(failures.errors(engine, limit=200)),
    }
    return write_whole(target, as_json(body, is_indented=True) + b"\n")


def gather(path: Path, reader: TreeReader, engine: Engine) -> Facts:
    """Collect the facts about a session for its page."""
    summary = session_summary(path, reader, engine)
    examples = [row["example_id"] for row in summary["errors"]["fingerprints"] if row.get("example_id")]
    chains = {}
    for event_id in examples[:_CHAINS]:
        try:
            chains[event_id] = causality_chain(reader, engine, event_id, _LOOKBACK_S)
        except EventNotFound:
            continue  # retention removed the event in the meantime
    tracebacks = _tracebacks(engine, examples[:_EXAMPLES])
    return Facts(summary, journeys.timeline(engine, _BUCKETS), tracebacks, chains)


def _tracebacks(engine: Engine, event_ids: list[str]) -> dict[str, str]:
    source = scan("traceback", only=Only(ids=event_ids))
    query = f"SELECT id, traceback FROM {source} WHERE array_contains(?, id) AND traceback IS NOT NULL"
    return {row["id"]: row["traceback"] for row in engine.rows(query, [event_ids])} if event_ids else {}


def write_page(target: Path, path: Path, reader: TreeReader, engine: Engine) -> Path:
    """Write the HTML page of a session atomically, readable by its owner only; return its path.

    Raises:
        InputError: the file cannot be written.
    """
    return write_whole(target, session_page(path, reader, engine).encode("utf-8", "backslashreplace"))


def session_page(path: Path, reader: TreeReader, engine: Engine) -> str:
    """Render the HTML page of a session."""
    facts = gather(path, reader, engine)
    return html.page(header(facts), sections(facts))


def write_whole(target: Path, data: bytes) -> Path:
    """Write a report atomically, readable by its owner only; return its path.

    A page replaces an earlier page only; a link is followed, and a pipe or a device is written to.

    Raises:
        InputError: the file cannot be written, or a page would replace a file that is no page.
    """
    try:
        if _is_page(data) and target.is_file():
            with os.fdopen(open_file(os.path.realpath(target))[0], "rb") as file:
                head = file.read(_HEAD_BYTES)
            if head and not _is_page(head):
                raise InputError(
                    "the file exists and is no page",
                    path=target,
                    remedy="remove it, or name another file",
                )
        write_output(target, data)
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror}",
            path=target,
            remedy="free disk space"
            if error.errno == errno.ENOSPC
            else "choose a file in an existing directory",
        ) from error
    return target


_HEAD_BYTES: Final = 64


def _is_page(data: bytes) -> bool:
    return data[:_HEAD_BYTES].lstrip().lower().startswith(b"<!doctype html")
