"""Runs cases in child processes, asks about each, and counts; `__main__.py` prints what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import progress
from benchmarks.fault_set.case import Case

LOOKED_AT = 3
"""A hit is among the first three causes."""
STATED_THRESHOLD = 0.5
"""From this confidence on the report calls a cause a finding (docs/WHY.md)."""
TIME_LIMIT_S = 120

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class ChildFailed(Exception):
    """A child process ended with an error; its last lines are the message."""


@dataclass(frozen=True)
class Result:
    """What one session came to."""

    case: str
    kind: str
    complaint: str
    events: int
    truth: list[str]
    rank: int | None
    """The place of the first cause that names a true event, from 1; None where none does."""
    hit: bool
    named: int
    """How many events the first three causes name together: a hit by naming everything would show here."""
    highest: float
    """The confidence of the surest cause; 0 where there is none."""
    failed: str = ""
    """Why the report could not be made."""
    causes: list[dict[str, Any]] = field(default_factory=list)


def child(*arguments: str) -> dict[str, Any]:
    """The answer of a child process, without the user's configuration."""
    with tempfile.TemporaryDirectory(prefix="agent-trace-child-") as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENT_TRACE_")}
        source = str(Path(__file__).resolve().parents[2])
        environment |= {"XDG_CONFIG_HOME": home, "PYTHONPATH": source}
        command = [sys.executable, "-m", "benchmarks.fault_set.child", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildFailed(f"no answer within {TIME_LIMIT_S} s") from error
    if done.returncode:
        raise ChildFailed(done.stderr.strip()[-600:] or f"exit code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def record(case: Case, root: Path, *, faulty: bool) -> dict[str, Any]:
    """The session of a case, recorded by a child process; a simulation that fails is no miss but an error."""
    return child("record", case.name, str(root), *([] if faulty else ["--healthy"]))


def ask_analyzer(recorded: dict[str, Any]) -> dict[str, Any]:
    """What the public API says about a recorded session."""
    return child("ask", recorded["root"], recorded["session"], recorded["complaint"])


def judge(case: Case, recorded: dict[str, Any], ask: Ask) -> Result:
    """Ask about a recorded session and compare the answer with the truth."""
    failed = ""
    try:
        causes = ask(recorded)["causes"]
    except ChildFailed as error:  # a report that cannot be made names no cause
        failed, causes = str(error), []
    true = set(recorded["truth"])
    rank = next((n for n, cause in enumerate(causes, 1) if true & set(cause["event_ids"])), None)
    return Result(
        case=case.name,
        kind=case.kind,
        complaint=recorded["complaint"],
        events=recorded["events"],
        truth=recorded["truth"],
        rank=rank,
        hit=rank is not None and rank <= LOOKED_AT,
        named=len({identity for cause in causes[:LOOKED_AT] for identity in cause["event_ids"]}),
        highest=max((cause["confidence"] for cause in causes), default=0.0),
        failed=failed,
        causes=causes,
    )


def score(cases: Sequence[Case], *, faulty: bool, ask: Ask = ask_analyzer) -> list[Result]:
    """The results of all cases, each recorded under a root of its own that is removed again."""
    results = []
    for number, case in enumerate(cases, 1):
        progress(f"{number} of {len(cases)}: {case.name}")
        with tempfile.TemporaryDirectory(prefix="agent-trace-fault-") as directory:
            recorded = record(case, Path(directory).resolve() / "trace", faulty=faulty)
            results.append(judge(case, recorded, ask))
    return results


def is_quiet(result: Result) -> bool:
    """Whether a report was made and has no cause that it calls a finding."""
    return not result.failed and result.highest < STATED_THRESHOLD


def as_object(results: Sequence[Result], *, healthy: bool) -> dict[str, Any]:
    """For JSON."""
    found: dict[str, Any] = {"healthy": healthy, "cases": len(results)}
    if healthy:
        quiet = sum(map(is_quiet, results))
        found |= {"threshold": STATED_THRESHOLD, "quiet": quiet, "share": quiet / len(results)}
    else:
        hits = sum(result.hit for result in results)
        found |= {"hits": hits, "share": hits / len(results), "kinds": by_kind(results)}
    return {**found, "results": [asdict(result) for result in results]}


def by_kind(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Hits and cases of each kind."""
    table: dict[str, dict[str, int]] = {}
    for result in results:
        row = table.setdefault(result.kind, {"hits": 0, "cases": 0})
        row["hits"] += result.hit
        row["cases"] += 1
    return dict(sorted(table.items()))


def as_text(results: Sequence[Result], *, healthy: bool) -> str:
    """The table of a terminal: by kind and in all, then what was missed or cried out for nothing."""
    found = as_object(results, healthy=healthy)
    if healthy:
        share = f"{found['quiet']} of {found['cases']} ({found['share']:.0%})"
        lines = [f"no cause from {STATED_THRESHOLD} on: {share}"]
        loud = [result for result in results if not is_quiet(result)]
        return "\n".join([*lines, *(f"  {r.case}: {r.failed or r.highest}  {r.complaint!r}" for r in loud)])
    lines = [f"{'kind':<22} hits"]
    lines += [f"{kind:<22} {row['hits']} of {row['cases']}" for kind, row in found["kinds"].items()]
    named = [result.named for result in results]
    lines.append(f"{'all':<22} {found['hits']} of {found['cases']} ({found['share']:.0%})")
    lines.append(f"events named by the first three causes: median {median(named):g}, most {max(named)}")
    for miss in (result for result in results if not result.hit):
        place = f"at place {miss.rank}" if miss.rank else "not named"
        lines.append(f"  missed {miss.case}: {miss.failed or place}  {miss.complaint!r}")
    return "\n".join(lines)
