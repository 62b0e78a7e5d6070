"""Mutants of programs, recorded once and driven again one by one: what each verdict is, and whether it is right.

`harness.py` is the command; the tests try a few.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from forked import forks, in_fork
from made_programs import TRACED_HEAD, Program, make_program
from mutants import KINDS, OUTSIDE, mutants_of
from plain_oracle import changes, changes_on_the_way, outcome_of

import Agent.replay.compare.report
from Agent.replay import ReplayReport, Verdict, replay_run

EACH = 10
"""Mutants of one program."""
UNMUTATED = "unmutated"
GREEN = {Verdict.IDENTICAL, Verdict.EQUIVALENT}


@dataclass
class Row:
    """One re-drive."""

    program: int
    kind: str
    what: str
    changes: list[str]
    """In what the mutant's outcome differs, by the oracle."""
    verdict: str
    unseen: list[str]
    """`agent.field` that the report itself names as not seen at the end, or where it differed in the meantime."""
    told: str
    """The report's first lines."""
    written: str = ""
    """`agent.field` that the mutation itself writes from outside."""
    imposed: list[str] = field(default_factory=list)
    """`agent.field` that the report names as put in from the record."""

    @property
    def is_told(self) -> bool:
        """Whether the report names what the mutation touches, and all that differs for it.

        A write from outside that was recorded as that is put in where it was made, and all that follows from it is
        the same then: what was put in has to be that very field. Of all others each field that differs has to stand
        among those that no full state shows at the end, or that full states alone show and that end the same.
        """
        if self.written and self.written in self.imposed:
            return True
        return set(self.changes) <= set(self.unseen)

    @property
    def problem(self) -> str:
        """What is wrong with the verdict; "" where nothing is."""
        if self.changes and self.verdict in GREEN and not self.is_told:
            return f"it does something else ({', '.join(self.changes)}) and passes"
        if not self.changes and self.verdict == Verdict.DIVERGED:
            return "it does the same and has diverged"
        if self.kind == UNMUTATED and self.verdict not in GREEN:
            return "it was not changed, and nothing was proved"
        return ""

    def __str__(self) -> str:
        return f"program {self.program}, {self.kind} ({self.what}): {self.problem}\n  {self.told}"


@dataclass
class Task:
    """One program: how many mutants of it, and where."""

    seed: int
    mutants: int
    directory: Path
    is_blind: bool = False
    is_fresh: bool = False
    is_unmutated: bool = True


def work(task: Task) -> list[Row]:
    """Record a program, and drive it and its mutants again."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(task.directory.parent / "bytecode")
    if task.is_blind:
        vars(Agent.replay.compare.report)["judge"] = lambda outcome: (Verdict.IDENTICAL, [])
    program = make_program(task.seed)
    original = task.directory / "original"
    record(program, program.body, original)
    expected = outcome_of(program)
    rows = []
    if task.is_unmutated:
        report = redrive(program, original, original, is_fresh=task.is_fresh)
        rows.append(row_of(report, program, UNMUTATED, "nothing", []))
    mutants = mutants_of(program, task.mutants, random.Random(task.seed))
    for number, mutant in enumerate(mutants):
        place = task.directory / f"mutant_{number}"
        if mutant.kind == OUTSIDE:  # whoever calls is not driven, so that one is recorded
            record(program, mutant.body, place)
            report = redrive(program, original, place, is_fresh=task.is_fresh)
        else:
            write(program, mutant.body, place)
            report = redrive(program, place, original, is_fresh=task.is_fresh)
        is_outside = mutant.kind == OUTSIDE
        before = outcome_of(program, is_by_actions=True) if is_outside else expected
        after = outcome_of(program, mutant.body, is_by_actions=is_outside)
        changed = sorted(changes(before, after))
        row = row_of(report, program, mutant.kind, mutant.what, changed)
        row.unseen += changes_on_the_way(before, after) & set(report.outcome.at_full_states)
        rows.append(row)
    return rows


def row_of(report: ReplayReport, program: Program, kind: str, what: str, changed: list[str]) -> Row:
    """What came of one re-drive."""
    outcome = report.outcome
    unseen = [f"{agent}.{name}" for agent, names in outcome.unseen_at_end.items() for name in names]
    told = "\n  ".join(str(report).splitlines()[:6])
    written = f"a.{what.partition(' ')[0]}" if kind == OUTSIDE else ""
    verdict, imposed = str(report.verdict), list(outcome.imposed)
    return Row(program.seed, kind, what, changed, verdict, unseen, told, written, imposed)


def write(program: Program, body: str, place: Path) -> None:
    """Write the text as a module of the program's name."""
    place.mkdir(parents=True)
    (place / f"{program.name}.py").write_text(TRACED_HEAD + body)


def record(program: Program, body: str, place: Path) -> None:
    """Write the text, and record it in a process of its own."""
    write(program, body, place)

    def main() -> None:
        sys.path.insert(0, str(place))
        importlib.import_module(program.name).main(place / "trace")

    ended = in_fork(main, place / "output.txt")
    if ended.returncode != 0:
        raise RuntimeError(f"program {program.seed} could not be recorded:\n{ended.stderr}")


def redrive(program: Program, code: Path, recorded: Path, *, is_fresh: bool = False) -> ReplayReport:
    """The report on the code in one place over the record in another."""
    before = list(sys.path)
    sys.path.insert(0, str(code))
    try:
        with nullcontext() if is_fresh else forks():
            report = replay_run(program.run, target=f"{program.name}:build", root=recorded / "trace")
    finally:
        sys.path[:] = before
    return report


def all_rows(tasks: Iterable[Task], workers: int) -> Iterator[list[Row]]:
    """The rows of the programs as they get ready."""
    # A new process for each: what a mutant leaves in this one is gone with it.
    os.environ["PYTHONHASHSEED"] = str(1 + secrets.randbelow(2**32 - 1))
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(work, tasks)


@dataclass
class Tally:
    """What came of all of them."""

    unmutated: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    problems: list[Row] = field(default_factory=list)
    named: list[Row] = field(default_factory=list)
    """Those that passed, and differ in what their reports name alone."""

    def add(self, row: Row) -> None:
        """Count one."""
        if row.problem:
            self.problems.append(row)
        if row.kind == UNMUTATED:
            self.unmutated[row.verdict] += 1
            return
        if not row.changes:
            column, counts = SAME, self.same
        elif row.verdict in GREEN and row.is_told:
            column, counts = TOLD, self.told
            self.named.append(row)
        else:
            column, counts = row.verdict, self.changed
        self.kinds[row.kind][column] += 1
        counts[row.verdict] += 1

    def to_object(self) -> dict[str, object]:
        """The tally as JSON values."""
        counts = {name: dict(getattr(self, name)) for name in ("unmutated", "changed", "told", "same")}
        kinds = {kind: dict(each) for kind, each in self.kinds.items()}
        rows = {"problems": self.problems, "named": self.named}
        return {**counts, "kinds": kinds} | {
            name: [asdict(row) for row in each] for name, each in rows.items()
        }

    def lines(self) -> Iterator[str]:
        """The tally as text."""
        yield f"{'':<32}" + "".join(f"{name:>12}" for name in _COLUMNS)
        for kind, counts in self.kinds.items():
            yield f"{kind:<32}" + "".join(f"{counts[name]:>12}" for name in _COLUMNS)
        yield f"{sum(self.changed.values())} mutants that do something else: {_shares(self.changed)}"
        yield f"{sum(self.told.values())} that differ in what the report names as passed over: {_shares(self.told)}"
        yield f"{sum(self.same.values())} equivalent mutants: {_shares(self.same)}"
        yield f"{sum(self.unmutated.values())} programs without a change: {_shares(self.unmutated)}"
        yield f"{len(self.problems)} wrong"


SAME, TOLD = "the same", "named"
_COLUMNS = (*map(str, Verdict), TOLD, SAME)


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def run(
    count: int,
    seed: int,
    directory: Path,
    *,
    unmutated: int = 0,
    workers: int = 2,
    is_blind: bool = False,
    is_fresh: bool = False,
) -> Tally:
    """Try so many mutants, and so many programs without a change."""
    programs = max(unmutated, -(-count // EACH))
    tasks = [
        Task(
            seed + number,
            max(0, min(EACH, count - number * EACH)),
            directory / f"program_{seed + number}",
            is_blind=is_blind,
            is_fresh=is_fresh,
            is_unmutated=number < unmutated,
        )
        for number in range(programs)
    ]
    tally = Tally()
    for rows in all_rows(tasks, workers):
        for row in rows:
            tally.add(row)
        if sys.stderr.isatty():
            done = sum(
                map(sum, (each.values() for each in (tally.changed, tally.told, tally.same, tally.unmutated)))
            )
            print(f"\r{done} driven, {len(tally.problems)} wrong", end="", file=sys.stderr, flush=True)
    return tally
