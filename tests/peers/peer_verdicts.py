"""What the outcome of a peer's case means: passed, meant to differ, without meaning here, or a failure to explain.

`deviations.toml` holds one sentence for each case or named group that differs. A row that no case needs any more is
a failure too, so that the table stays what is true.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).with_name("deviations.toml")
VERDICTS = ("deviates", "not applicable")


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    case: str
    outcome: str
    """passed, failed or skipped."""
    ours: bool
    """Whether our part was called in it."""
    message: str = ""


@dataclass(frozen=True)
class Row:
    """Why some cases fail, and are meant to."""

    verdict: str
    reason: str
    cases: tuple[str, ...]
    """Names of cases; `*` stands for any text."""
    shows: str = ""
    """What the failure must say, so that another failure of the same case is not taken for it."""
    sometimes: str = ""
    """Why the cases may pass as well; without it each of them must be there, and fail."""

    def explains(self, outcome: Outcome) -> str | None:
        """The name among its own that the failure fits, None where it is another's."""
        if self.shows and not re.search(self.shows, outcome.message):
            return None
        return next((name for name in self.cases if _fits(name, outcome.case)), None)


@dataclass
class Judgement:
    """The sum over a suite."""

    counts: Counter[str] = field(default_factory=Counter)
    explained: list[tuple[str, str, str]] = field(default_factory=list)
    """(case, verdict, reason)."""
    problems: list[str] = field(default_factory=list)


def _fits(name: str, case: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, name.split("*"))), case, re.DOTALL) is not None


def read_table(path: Path = TABLE) -> dict[str, list[Row]]:
    """The rows by suite; ValueError for one that is not whole."""
    table = tomllib.loads(path.read_text())
    return {suite: list(_rows(suite, rows)) for suite, rows in table.items()}


def _rows(suite: str, rows: Iterable[dict[str, object]]) -> Iterator[Row]:
    for row in rows:
        cases, reason = row.get("cases"), row.get("reason")
        if row.get("verdict") not in VERDICTS or not isinstance(cases, list) or not isinstance(reason, str):
            raise ValueError(f"{suite}: a row needs verdict, reason and cases: {row}")
        if any(set(name) <= set("*:/.") for name in cases) or len(reason.split()) < 4:
            raise ValueError(f"{suite}: a row that fits everything, or says nothing: {row}")
        yield Row(
            str(row["verdict"]),
            reason,
            tuple(cases),
            str(row.get("shows", "")),
            str(row.get("sometimes", "")),
        )


def judge(outcomes: Iterable[Outcome], rows: list[Row], *, whole: bool = True) -> Judgement:
    """Sort the outcomes of a suite.

    Args:
        whole: every case of the suite was run, so that a row without a failure has no reason to be there.
    """
    found = Judgement()
    needed: set[tuple[int, str]] = set()
    for outcome in outcomes:
        if outcome.outcome == "passed":
            found.counts["passed" if outcome.ours else "not reached"] += 1
        elif outcome.outcome == "skipped":
            found.counts["skipped by the suite"] += 1
        else:
            fits = [(number, row, row.explains(outcome)) for number, row in enumerate(rows)]
            number, row, name = next((fit for fit in fits if fit[2]), (0, None, None))
            if row is None or name is None:
                found.counts["unexplained"] += 1
                found.problems.append(f"{outcome.case}: {outcome.message}")
            else:
                needed.add((number, name))
                found.counts[row.verdict] += 1
                found.explained.append((outcome.case, row.verdict, row.reason))
    if whole:
        found.problems += [
            f"deviations.toml: no failing case fits {name!r} any more"
            for number, row in enumerate(rows)
            for name in row.cases
            if (number, name) not in needed and not row.sometimes
        ]
    return found
