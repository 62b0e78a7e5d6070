"""Programs over Mesa, LangGraph and openai-agents, recorded and driven again: `python -m benchmarks.third_party`.

Each is recorded once. Then a new process drives it as it was, with one line of it changed, and with a draw of
chance put in that no recorder was told of. The peer, reeltime, records and replays the same programs, without
our tracing in them. What each says is in the table, and what it should have said decides.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table
from benchmarks.third_party_programs import STEPS, SUBJECTS, Change, Subject

_REPOSITORY = Path(__file__).resolve().parents[1]
_PATIENCE_S = 500

# What a child process does; the same commands as a user's would do it.
_RECORD = "import {module}; {module}.main()"
_REDRIVE = """
from Agent.replay import replay_run
report = replay_run({run!r}, target="{module}:build")
print(report.verdict)
print(report.divergence.step if report.divergence is not None else 0)
print(report)
"""
_GO_ON = """
import asyncio
from Agent.flight import list_runs
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor
run_id = next(list_runs()).run_id
config = ReplayConfig(target="{module}:build")
result = asyncio.run(ReplayExecutor(CheckpointManager()).replay(run_id + ":step_0", config))
told = str(result.execution.divergence or "")
print(result.verdict)
print(told.partition("step ")[2].partition(",")[0] or 0)
print(result, told)
"""


class Told(NamedTuple):
    """What a replay of ours said."""

    verdict: str
    step: int
    text: str


def missing(subject: Subject) -> list[str]:
    """The packages of a program that are not installed."""
    return [name for name in subject.needs if find_spec(name) is None]


class Traced:
    """A program of one subject, recorded in a directory of its own."""

    def __init__(self, subject: Subject, directory: Path) -> None:
        self._subject = subject
        self._directory = directory
        directory.mkdir(parents=True)
        self.write(None)
        self._run(_RECORD)

    def write(self, change: Change | None) -> None:
        """Change the program."""
        _write(self._directory / f"{self._subject.module}.py", self._subject.traced(change))

    def redriven(self, change: Change | None) -> Told:
        """What a new process says that drives it with that change."""
        self.write(change)
        printed = self._run(_GO_ON if self._subject.run == "graph" else _REDRIVE)
        # What the program itself prints stands before.
        lines = printed.splitlines()
        at = next(i for i, line in enumerate(lines) if line in _VERDICTS)
        return Told(lines[at], int(lines[at + 1]), "\n".join(lines[at + 2 :]))

    def _run(self, code: str) -> str:
        code = code.format(module=self._subject.module, run=self._subject.run)
        path = os.pathsep.join([str(self._directory), str(_REPOSITORY)])
        done = _start([sys.executable, "-c", code], self._directory, PYTHONPATH=path)
        if done.returncode != 0:
            raise RuntimeError(f"{self._subject.name}: {done.stderr}")
        return done.stdout


_VERDICTS = frozenset({"IDENTICAL", "EQUIVALENT", "DIVERGED", "UNVERIFIED"})


class ByPeer:
    """The same program recorded by reeltime."""

    def __init__(self, subject: Subject, directory: Path, command: str) -> None:
        self._subject = subject
        self._directory = directory
        self._command = command
        directory.mkdir(parents=True)
        self._write(None)
        # what it offers for LangChain, where the program has to do with that
        more = ["--langchain"] if "langchain_core" in subject.needs else []
        self._recorded = self._start("run", *more, sys.executable, f"{subject.module}.py")

    def replayed(self, change: Change | None) -> str:
        """Its answer: its last line, its exit code, and whether the program printed something else."""
        self._write(change)
        done = self._start("replay")
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        told = [line for line in lines if not line.startswith("wall clock")] or lines
        # of an error the last line says what it is, of a replay the one with its mark
        said = told[-1] if done.returncode else next((one for one in told if "replayed" in one), told[-1])
        same = "the same" if done.stdout == self._recorded.stdout else "something else"
        return f'exit {done.returncode}, "{said.partition(" in ")[0]}"; the program printed {same}'

    def _write(self, change: Change | None) -> None:
        _write(self._directory / f"{self._subject.module}.py", self._subject.plain(change))

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _start([self._command, *arguments], self._directory)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    # two texts of one size within a second would share their byte code
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)


def _start(command: list[str], directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE_")}
    environment |= {"AGENT_TRACE_ROOT": str(directory / "trace"), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False,
        timeout=_PATIENCE_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def short(told: Told, change: Change | None) -> str:
    """Verdict, and step and names as far as the answer has them."""
    if change is None:
        return told.verdict
    parts = [told.verdict]
    if told.verdict == "DIVERGED":
        parts.append(f"step {told.step}")
    line = next((line for line in told.text.splitlines() if all(name in line for name in change.named)), "")
    parts += [place for place in (_place(line, change),) if place]
    return ", ".join(parts)


def _place(line: str, change: Change) -> str:
    """Where the line says that it is."""
    if " read by " in line:
        return line.strip().removeprefix("because ").partition(" in step")[0]
    words = line.replace(",", " ").replace(":", " ").replace("(", " ").replace(")", " ").split()
    return " ".join(word for word in words if any(name in word for name in change.named))


def is_right(told: Told, change: Change | None) -> bool:
    """Whether the answer is what it has to be."""
    if change is None:
        return told.verdict == "IDENTICAL"
    named = all(name in told.text for name in change.named)
    if change.step:
        return (told.verdict, told.step, named) == ("DIVERGED", change.step, True)
    return (told.verdict, named) == ("UNVERIFIED", True)


def measure(given: argparse.Namespace, directory: Path) -> Report:
    report = Report()
    peer = shutil.which("tape", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if peer is None:
        report.notes.append("reeltime: not measured, not installed")
    table = Table(
        f"What a replay says ({STEPS} steps of a simulation)",
        ("program", "driven again", "Agent Trace", "reeltime"),
    )
    report.tables.append(table)
    right = 0
    for subject in SUBJECTS:
        if given.only not in (None, subject.module):
            continue
        absent = missing(subject)
        if absent:
            report.notes.append(f"{subject.name}: not measured, {', '.join(absent)} not installed")
            continue
        progress(subject.name)
        traced = Traced(subject, directory / subject.module / "traced")
        by_peer = ByPeer(subject, directory / subject.module / "peer", peer) if peer is not None else None
        cases = {
            "as it was": None,
            f"one line changed, so that step {subject.changed.step} differs": subject.changed,
            "a draw put in past the recorder": subject.drawn,
        }
        for what, change in cases.items():
            told = traced.redriven(change)
            right += is_right(told, change)
            answer = by_peer.replayed(change) if by_peer is not None else "not installed"
            table.lines.append((subject.name, what, short(told, change), answer))
    count = len(table.lines)
    report.rows.append(Row("right answers", f"{right} of {count}", "", f"{count}", right == count))
    report.figures["third_party"] = {"right": right, "of": count}
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.third_party", "Programs of others recorded and driven again.")
    names = [subject.module for subject in SUBJECTS]
    parser.add_argument("--only", choices=names, help="one program")
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
