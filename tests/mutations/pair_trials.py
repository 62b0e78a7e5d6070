"""Pairs of programs, recorded and replayed: what each verdict is, and whether it is right.

A pair is an agent that is replayed twice: as it was recorded, and with one leaf changed. `harness.py` is the command.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pair_programs import ALL_KINDS, FAMILIES, PLAIN_HEAD, TRACED_HEAD, Pair, pairs_of, program_of, why_not
from value_kinds import SECRET
from value_places import PLACES

from Agent.replay import ReplayReport, Verdict, replay_agents
from Agent.replay.attempts import RedriveOptions

EACH = 150
"""Pairs of one program."""
GREEN = {str(Verdict.IDENTICAL), str(Verdict.EQUIVALENT)}
_HERE = Path(__file__).parent
RECORDED_SEED = "11"
"""Of the hashes of the recorded process; a replay has another."""
REPLAY_S = 60.0
PROGRAM_S = 180.0
"""What one replay, and one run of a program of many pairs, may take; each takes under 10 s."""
NOT_READ = "while it was read"
"""What a report says of a value that raised an exception in the code that records it."""
WITHOUT_DIGESTS = "without_digests"
"""What a program imports so that values have no digests, in the recording and in the replay."""


@dataclass
class Trial:
    """One pair, and what came of it."""

    pair: Pair
    program: str
    recorded: Any
    """The leaf at each step as the recorded process printed it."""
    same: Any
    """The same under the hash seed of the replay."""
    changed: Any
    """The same of the changed program."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """The verdicts on the unchanged and the changed program."""
    told: dict[str, str] = field(default_factory=dict)
    """The first lines of their reports."""
    ended: str = ""
    """How a replay ended that gave no verdict: it was killed, or it took too long."""
    is_named: bool = False
    """Whether the report on the changed program names what its factory made otherwise."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the two unchanged runs print the same leaves, so that no replay may find a difference."""
        return self.recorded == self.same and not self.fault

    @property
    def is_changed(self) -> bool:
        """Whether the changed program prints another leaf, so that no replay may be green."""
        may_pass = self.pair.unchanged_only and self.pair.unchanged_only != SECRET
        return self.is_unchanged and self.changed != self.same and not may_pass

    @property
    def fault(self) -> str:
        """What is wrong with the program itself; "" where nothing is."""
        for printed in (self.recorded, self.same, self.changed):
            if not isinstance(printed, list):
                return f"the program does not run: {printed}"
        return ""

    @property
    def problem(self) -> str:
        """`false red`, `false green`, `no program`, `no verdict`, `not read`; "" where nothing is wrong."""
        if self.fault:
            return "no program"
        if self.ended:
            return "no verdict"
        if self.is_unchanged and self.verdicts["unchanged"] == Verdict.DIVERGED:
            return "false red"
        green = {str(Verdict.IDENTICAL)} if self.pair.unchanged_only == SECRET else GREEN
        if self.is_changed and self.verdicts["changed"] in green and not self.is_named:
            return "false green"
        if any(NOT_READ in told for told in self.told.values()):
            return "not read"
        return ""

    @property
    def is_useless(self) -> bool:
        """Whether nothing was proved of the unchanged program."""
        return self.is_unchanged and self.verdicts["unchanged"] == Verdict.UNVERIFIED

    def to_object(self) -> dict[str, Any]:
        """The trial as JSON values."""
        return {
            "agent_id": self.pair.agent_id,
            "kinds": self.pair.kinds,
            "place": self.pair.place,
            "value": self.pair.make,
            "leaf": self.pair.path,
            "program": self.program,
            "problem": self.problem,
            "is_useless": self.is_useless,
            "printed": [self.recorded, self.same, self.changed],
            "verdicts": self.verdicts,
            "ended": self.ended,
            "told": self.told,
        }

    def lines(self, directory: Path) -> Iterator[str]:
        """What is wrong, with the two lines that show it again."""
        name = " of ".join(self.pair.kinds)
        yield f"{self.problem or 'useless'}: {name} @ {self.pair.place}"
        yield f"  value: {_short(self.pair.make)}"
        yield f"  leaf:  {_short(self.pair.path)}"
        if self.fault:
            yield f"  {self.fault}"
            return
        if self.ended:
            yield f"  {self.ended}"
        which = "changed" if self.problem == "false green" else "unchanged"
        yield from (f"  | {line}" for line in self.told[which].splitlines())
        changed = int(which == "changed")
        yield f"  cd {directory / self.program} && rm -rf again && python {self.program}.py again"
        yield (
            f"  CHANGED={changed} agent-trace replay last/{self.pair.agent_id} --root again "
            f"--target {self.program}:build"
        )


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:150]} ... {text[-100:]}"


@dataclass
class Task:
    """One program: its pairs, and where."""

    name: str
    pairs: list[Pair]
    directory: Path
    is_script: bool
    """Whether it is recorded as a script, not as a module that is imported."""
    is_blinded: bool = False


def work(task: Task) -> list[Trial]:
    """Record a program, and replay its agents unchanged and changed."""
    task.directory.mkdir(parents=True, exist_ok=True)
    body = program_of(task.pairs)
    head = f"import {WITHOUT_DIGESTS}\n" if task.is_blinded else ""
    (task.directory / f"{task.name}.py").write_text(head + TRACED_HEAD + body)
    (task.directory / f"plain_{task.name}.py").write_text(PLAIN_HEAD + body)
    for name in ("value_kit", WITHOUT_DIGESTS):
        shutil.copy(_HERE / f"{name}.py", task.directory)
    try:
        recorded = printed_by(task, task.name, RECORDED_SEED, 0)
    except RuntimeError as error:
        return _work_on_halves(task, str(error))
    able = [pair.agent_id for pair in task.pairs if isinstance(recorded.get(pair.agent_id), list)]
    reports, printed = [], []
    for changed in (0, 1):
        reports.append(replayed(task, able, changed))
        environments = [report.proof["environment"] for report in reports[-1].values()]
        seeds = {each["hash_seed"] for each in environments if "hash_seed" in each}
        # The oracle prints under the very hash seed of the replay.
        seed = seeds.pop() if len(seeds) == 1 else RECORDED_SEED
        printed.append(printed_by(task, f"plain_{task.name}", seed, changed))
    trials = []
    for pair in task.pairs:
        leaves = [each.get(pair.agent_id, "nothing was printed") for each in (recorded, *printed)]
        trial = Trial(pair, task.name, *leaves)
        for which, found in zip(("unchanged", "changed"), reports, strict=True):
            if pair.agent_id in found:
                trial.verdicts[which] = str(found[pair.agent_id].verdict)
                trial.told[which] = "\n".join(str(found[pair.agent_id]).splitlines()[:6])
                if "hash_seed" not in found[pair.agent_id].proof["environment"]:
                    trial.ended = f"{which}: {', '.join(found[pair.agent_id].reasons)}"
        report = reports[1].get(pair.agent_id)
        of_factory = {place.name for place in PLACES if place.is_of_factory}
        trial.is_named = bool(pair.place in of_factory and report and report.proof["factory_differences"])
        trials.append(trial)
    return trials


def _work_on_halves(task: Task, why: str) -> list[Trial]:
    """The trials of a program that ends or hangs its process: those of two smaller ones, down to one pair."""
    if len(task.pairs) == 1:
        return [Trial(task.pairs[0], task.name, why, why, why)]
    middle = len(task.pairs) // 2
    trials = []
    for half, pairs in (("a", task.pairs[:middle]), ("b", task.pairs[middle:])):
        name = f"{task.name}{half}"
        trials += work(replace(task, name=name, pairs=pairs, directory=task.directory.with_name(name)))
    return trials


def printed_by(task: Task, module: str, hash_seed: str, changed: int) -> dict[str, Any]:
    """The leaves that the program prints, run in a process of its own: the traced one is recorded by that."""
    call = [f"{module}.py", "trace"]
    if not task.is_script:
        call = ["-c", f"import {module}; {module}.main('trace')"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE")},
        "CHANGED": str(changed),
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join([str(_HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
        "PYTHONWARNINGS": "ignore",  # what numpy and pandas warn of
    }
    try:
        ended = subprocess.run(
            [sys.executable, *call],
            cwd=task.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_S,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{task.directory}: the program does not end within {PROGRAM_S:g} s") from None
    if ended.returncode != 0:
        raise RuntimeError(
            f"{task.directory}: the program ended with {ended.returncode}\n{ended.stderr[-2000:]}"
        )
    return json.loads(ended.stdout.splitlines()[-1])


def replayed(task: Task, agent_ids: list[str], changed: int) -> dict[str, ReplayReport]:
    """The report on each of these agents of one session, all from one process, which forks for each."""
    before, os.environ["CHANGED"] = list(sys.path), str(changed)
    sys.path.insert(0, str(task.directory))
    try:
        reports = replay_agents(
            "last",
            f"{task.name}:build",
            agent_ids,
            task.directory / "trace",
            options=RedriveOptions(timeout_seconds=REPLAY_S),
            workers=1,
        )
    finally:
        sys.path[:] = before
    return dict(zip(agent_ids, reports, strict=True))


@dataclass
class Tally:
    """What came of all pairs."""

    trials: list[Trial] = field(default_factory=list)

    @property
    def problems(self) -> list[Trial]:
        """Those that are wrong."""
        return [trial for trial in self.trials if trial.problem]

    def to_object(self) -> dict[str, Any]:
        """The tally as JSON values."""
        return {
            "counts": self.counts(),
            "places": {place.name: self.share(place.name) for place in PLACES if not place.lacking},
            "problems": [trial.to_object() for trial in self.problems],
            "useless": [trial.to_object() for trial in self.trials if trial.is_useless],
        }

    def counts(self) -> dict[str, int]:
        """How many of each sort."""
        found = Counter(trial.problem for trial in self.trials)
        return {
            "pairs": len(self.trials),
            "unchanged": sum(trial.is_unchanged for trial in self.trials),
            "changed": sum(trial.is_changed for trial in self.trials),
            "false greens": found["false green"],
            "false reds": found["false red"],
            "no programs": found["no program"],
            "no verdicts": found["no verdict"],
            "not read": found["not read"],
            "useless": sum(trial.is_useless for trial in self.trials),
        }

    def share(self, *places: str) -> tuple[int, int]:
        """Of the unchanged ones at these places how many are green, and how many there are."""
        unchanged = [trial for trial in self.trials if trial.is_unchanged and trial.pair.place in places]
        return sum(trial.verdicts["unchanged"] in GREEN for trial in unchanged), len(unchanged)

    def lines(self) -> Iterator[str]:
        """The tally as text."""
        yield "unchanged ones that are green, by place:"
        for is_input, name in ((False, "all of these"), (True, "inputs, which have to be restored")):
            places = [place.name for place in PLACES if place.is_input == is_input]
            for place in [*places, ""]:
                green, amount = self.share(*([place] if place else places))
                if amount:
                    yield f"  {place or name:<36}{green:>6} of {amount:<6}{green / amount:>6.1%}"
        for place in PLACES:
            if place.lacking:
                yield f"  {place.name:<36}none: {place.lacking}"
        yield ", ".join(f"{count} {name}" for name, count in self.counts().items())


def matrix(
    trials: list[Trial], *, by_kind: bool, kinds: list[str] | None = None, places: list[str] | None = None
) -> Iterator[str]:
    """A table of kinds, or families of kinds, by place, in which no field is empty."""
    columns = [place for place in PLACES if places is None or place.name in places]
    rows: dict[str, list[str]] = {}
    for kind in kinds or ALL_KINDS:
        rows.setdefault(kind if by_kind else FAMILIES[kind], []).append(kind)
    cells: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        for kind in trial.pair.kinds:
            row = kind if by_kind else FAMILIES[kind]
            cells.setdefault((row, trial.pair.place), []).append(trial)
    reasons: dict[str, str] = {}
    for number, place in enumerate(columns):
        yield f"{'|' * number:<{len(columns)}} {place.name}"
    for row, members in rows.items():
        marks = []
        for place in columns:
            found = cells.get((row, place.name))
            if found:
                marks.append(_mark(found))
                continue
            why = {why_not(kind, place) for kind in members}
            reason = "not drawn this time" if "" in why else ", ".join(sorted(why))
            marks.append(reasons.setdefault(reason, "abcdefgh"[len(reasons)]))
        yield f"{''.join(marks)} {row}"
    yield ". as it should be, o nothing was proved of an unchanged one, R false red, G false green, N no program or verdict, or not read"
    yield from (f"{letter} {reason}" for reason, letter in reasons.items())


def _mark(trials: list[Trial]) -> str:
    problems = {trial.problem for trial in trials}
    for problem, mark in (
        ("false green", "G"),
        ("false red", "R"),
        ("no program", "N"),
        ("no verdict", "N"),
        ("not read", "N"),
    ):
        if problem in problems:
            return mark
    return "o" if any(trial.is_useless for trial in trials) else "."


def run(
    amount: int,
    seed: int,
    directory: Path,
    *,
    kinds: list[str] | None = None,
    places: list[str] | None = None,
    depth: int = 2,
    innermost: list[str] | None = None,
    workers: int = 2,
    is_blinded: bool = False,
    tell: Callable[[Trial], None] = lambda trial: None,
) -> Tally:
    """Try so many pairs; each trial is told as soon as it is known."""
    chosen = [place for place in PLACES if places is None or place.name in places]
    pairs = pairs_of(amount, seed, kinds or ALL_KINDS, chosen, depth, innermost)
    tasks = []
    for number, start in enumerate(range(0, len(pairs), EACH)):
        name = f"program_{seed}_{number}"
        tasks.append(Task(name, pairs[start : start + EACH], directory / name, bool(number % 2), is_blinded))
    tally = Tally()
    with multiprocessing.get_context("spawn").Pool(min(workers, len(tasks))) as pool:
        for trials in pool.imap_unordered(work, tasks):
            tally.trials += trials
            for trial in trials:
                tell(trial)
            if all(not trial.problem for trial in trials):
                for program in {trial.program for trial in trials}:
                    shutil.rmtree(directory / program)
            if sys.stderr.isatty():
                print(f"\r{len(tally.trials)} pairs, {len(tally.problems)} wrong", end="", file=sys.stderr)
    return tally
