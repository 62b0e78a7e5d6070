"""The document pages: the list of sessions, and reports on one session made of blocks of `Agent.render`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup

from Agent.analysis import LogAnalyzer
from Agent.analysis.report import details, run_details, session_report
from Agent.analysis.report import sections as overview
from Agent.analysis.reports import REPORTS, Report
from Agent.errors import EventNotFound, RunNotFound
from Agent.flight.run_reading import RunRef, list_runs, read_run
from Agent.render import formats
from Agent.render.blocks import Cell, Column, Head, Link, Section, Words, grid
from Agent.render.html import block_html
from Agent.tree.layout import find_session

_MOST_RUNS: Final = 50


Numbers = Sequence[tuple[str, str, str | None]]


@dataclass(frozen=True, slots=True)
class Document:
    """One document page."""

    title: str
    about: str
    numbers: Numbers
    """The key numbers: name, value, look."""
    sections: tuple[tuple[str, Markup], ...]
    """Title and drawn blocks of each section."""


def _drawn(title: str, about: str, sections: Iterator[Section], numbers: Numbers = ()) -> Document:
    parts = tuple((each.title, Markup("".join(map(block_html, each.blocks)))) for each in sections)  # noqa: S704
    return Document(title, about, numbers, parts)


def sessions_page(listed: Mapping[str, Any], base: str) -> Document:
    """Make the page that lists the sessions, newest first."""
    rows = listed["sessions"]
    return _drawn("Sessions", formats.plural(len(rows), "session"), _sessions(rows, base))


def _sessions(rows: list[dict[str, Any]], base: str) -> Iterator[Section]:
    if not rows:
        yield Section("", [Words("No session was recorded here yet. agent-trace demo records one.", "soft")])
        return
    table = grid(
        rows,
        Column("Session", lambda row: Link(row["id"], f"{base}/s/{quote(row['id'], safe='')}")),
        Column("Started (UTC)", "started", formats.date_time),
        Column("Size", "size_bytes", formats.size, spare=1),
        Column("State", lambda row: Cell("running", "good") if row["is_running"] else ""),
    )
    yield Section("", [table])


# reports


Contents = tuple[Head | None, Iterator[Section]]


def _overview(log: LogAnalyzer) -> Contents:
    facts = session_report.gather(log.path, log.reader, log.engine)
    return overview.header(facts), overview.sections(facts)


def _report(report: Report, log: LogAnalyzer) -> Contents:
    return None, report.sections(log.report(report.name))


def _errors(log: LogAnalyzer) -> Contents:
    patterns = log.find_error_patterns()
    return None, overview.error_sections(patterns, patterns["fingerprints"], {})


def _runs(log: LogAnalyzer) -> Contents:
    newest = islice(list_runs(log.path.parent, str(log.path)), _MOST_RUNS)
    refs = [RunRef(log.path, None), *(RunRef(log.path, each.run_id) for each in newest)]
    sections = [section for ref in refs for section in _run(ref)]
    nothing = "No step, model call, tool call, artifact or checkpoint was recorded."
    return None, iter(sections or [Section("", [Words(nothing, "soft")])])


def _run(ref: RunRef) -> Iterator[Section]:
    try:
        record = read_run(ref)
    except RunNotFound:
        return iter(())  # nothing was recorded outside of runs
    return run_details.run_sections(record)


SECTIONS: Final[Mapping[str, tuple[str, Callable[[LogAnalyzer], Contents]]]] = {
    "overview": ("Overview", _overview),
    "runs": ("Runs", _runs),
    "interactions": (
        "Interactions",
        lambda log: (None, details.interaction_sections(log.interaction_report())),
    ),
    **{each.name: (each.name.capitalize(), partial(_report, each)) for each in REPORTS.values()},
    "errors": ("Errors", _errors),
}
"""The reports of a session: {name in the address: (title, how to make its head and sections)}."""


def report_page(root: Path, session: str, section: str) -> Document:
    """Make one report on a session.

    Raises:
        EventNotFound: no report has that name.
        SessionNotFound: the session does not exist, or is empty.
    """
    if section not in SECTIONS:
        raise EventNotFound(f"no report {section[:40]!r}", remedy=f"use one of {', '.join(SECTIONS)}")
    title, make = SECTIONS[section]
    with LogAnalyzer(find_session(root, session)) as log:
        head, sections = make(log)
        listed = list(sections)
    nothing = Section("", [Words("Nothing of this was recorded.", "soft")])
    about, numbers = (session, ()) if head is None else (head.about, head.numbers)
    return _drawn(title, about, iter(listed or [nothing]), numbers)
