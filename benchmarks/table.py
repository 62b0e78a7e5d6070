"""What a measurement comes to: budgets, tables, configurations, notes; as text or as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass
class Row:
    """A figure, what it is compared with, and the budget."""

    what: str
    figure: str
    compared: str = ""
    budget: str = ""
    met: bool | None = None


@dataclass
class Table:
    """Further figures, in columns of their own."""

    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]] = field(default_factory=list)


@dataclass
class Report:
    """All rows and tables, the peers' configurations and what could not be measured."""

    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    configurations: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Take in what another measurement came to."""
        self.rows += other.rows
        self.tables += other.tables
        self.configurations |= other.configurations
        self.notes += other.notes
        self.figures |= other.figures

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return {**machine(), **asdict(self)}


def print_markdown(lines: Sequence[Sequence[str]]) -> None:
    """The same as a table of Markdown, the first line its heading."""
    heading, *others = [f"| {' | '.join(line)} |" for line in lines]
    print("\n".join([heading, "|---" * len(lines[0]) + "|", *others]))


def print_columns(lines: Sequence[Sequence[str]]) -> None:
    """Lines of equal length, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def print_report(report: Report, *, markdown: bool = False) -> None:
    """The tables, then the budgets, then how each peer was set up."""
    show, after_title = (print_markdown, "\n") if markdown else (print_columns, "")
    print("; ".join(machine().values()))
    for table in report.tables:
        print(f"\n{table.title}{after_title}")
        show([table.headings, *table.lines])
    if report.rows:
        marks = {True: "met", False: "MISSED", None: ""}
        lines = [(row.what, row.figure, row.compared, row.budget, marks[row.met]) for row in report.rows]
        print(f"\nBudgets: ratios are medians of those within each round, quartiles in brackets{after_title}")
        show([("what", "figure", "beside", "budget", ""), *lines])
    if report.configurations:
        print(f"\nHow each was set up{after_title}")
        show([("", "configuration"), *report.configurations.items()])
    for note in report.notes:
        print(f"note: {note}")


def machine() -> dict[str, str]:
    """Python, system and the versions of what is measured."""
    # here, so that the processes of the peers do not load it
    from Agent.version import __version__

    names = (
        "orjson",
        "structlog",
        "eliot",
        "python-json-logger",
        "concurrent-log-handler",
        "loguru",
        "opentelemetry-sdk",
        "logfire",
        "reeltime",
    )
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return {
        "python": f"Python {platform.python_version()}",
        "system": platform.platform(),
        "packages": f"agent-trace {__version__}, {versions}",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
