"""A session as one HTML page to look at and to mail: no script, no network, nothing beside the file.

`html_sections` says what stands in it; this is the frame, the look and the writing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from Agent.analysis.report.html_facts import SessionQuestions, gather
from Agent.analysis.report.html_sections import header, sections
from Agent.analysis.report.html_text import Markup, tag
from Agent.analysis.report.session_report import write_whole
from Agent.version import __version__

__all__ = ["page", "write_page"]

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(asked: SessionQuestions, *, now: datetime | None = None) -> str:
    """The page about one session; what it holds is asked of an analyzer's public methods."""
    made_at = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    facts = gather(asked)
    document = tag(
        "html",
        tag(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="referrer" content="no-referrer">'),
            tag("title", f"Session {facts.summary['session_id']}"),
            tag("style", Markup(_style())),
        ),
        tag(
            "body",
            header(facts),
            tag("main", *sections(facts)),
            tag("footer", f"Made by Agent Trace {__version__} at {made_at}. All times are UTC."),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{document}\n"


def _style() -> str:
    return files("Agent.analysis.report").joinpath("html_page.css").read_text("utf-8")


def write_page(target: Path, asked: SessionQuestions) -> Path:
    """Write the page, readable by its owner only, whole or not at all; the path written.

    Raises:
        InputError: the place cannot be written.
    """
    return write_whole(target, page(asked).encode("utf-8", "backslashreplace"))
