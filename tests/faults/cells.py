"""What the matrix is made of: which kill or fault comes to which call of which scenario, and what came of it."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flight_oracle import judge_erasing, judge_flight_fault, judge_runs, judge_thinning
from harness import CALLS, Counting, KillAtRandom, Launcher, Outcome, Tampering
from keeping_oracle import judge_following, judge_pruning, judge_recovering, judge_sealing
from keeping_programs import QUEUE_SIZE
from oracle import Verdict, judge, judge_fault

BUFFER_ENTRIES = 10
EVENTS = {
    "writing": 10,
    "rolling": 40,
    "mirroring": 12,
    "starting": 16,
    "forking": 24,
    "claiming": 12,
    "following": 9,
    "retaining": 40,
    "recovering": 24,
    "pruning": 6,
    "sealing": 6,
    "stepping": 12,
    "storing": 10,
    "checkpointing": 9,
    "thinning": 0,
    "erasing": 8,
    "queueing": 40,
    "buffering": 24,
    "ending": 24,
    "summarising": 24,
    "faulting": 40,
}
"""How many events a scenario writes when it is killed at a system call."""
RUN_SCENARIOS = ("stepping", "storing", "checkpointing")
"""Those whose acknowledgements are of runs."""
PROCESSES = {"claiming": 3}
"""How many processes write in a scenario from its beginning, where it is not one."""
_MOST = dict.fromkeys(RUN_SCENARIOS, 60)
"""After how many acknowledgements a kill at random comes at the latest, where it is not 300."""
OWN_DEATHS = {"recovering": 1}
"""How many processes of a scenario die without being killed by anybody else."""
RANDOM_SCENARIOS = (
    "writing",
    "rolling",
    "mirroring",
    "forking",
    "claiming",
    "retaining",
    "queueing",
    "buffering",
    *RUN_SCENARIOS,
)
ERRORS = {
    "write": ("ENOSPC", "EIO", "EROFS", "EFBIG", "EINTR"),
    "openat": ("ENOSPC", "EIO", "EMFILE", "EROFS", "EINTR"),
    "rename": ("ENOSPC", "EIO", "EROFS"),
    "link": ("ENOSPC", "EIO", "EROFS", "EPERM"),
    "unlink": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "allocate": ("ENOSPC", "EIO"),
    "mkdir": ("ENOSPC", "EROFS"),
    "close": ("EIO",),
}
FAULT_SCENARIOS = (
    "faulting",
    "mirroring",
    "starting",
    "forking",
    "buffering",
    "queueing",
    "retaining",
    "ending",
    *RUN_SCENARIOS,
)
WINDOWS = ("{k}", "{k}..{last}", "{k}+")


@dataclass
class Row:
    """One line of the table."""

    scenario: str
    call: str
    action: str
    runs: int = 0
    struck: int = 0
    acknowledged: int = 0
    refused: int = 0
    torn: int = 0
    unacknowledged: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome, verdict: Verdict, struck: int, what: str) -> None:
        """Add one run."""
        self.runs += 1
        self.struck += struck
        self.acknowledged += verdict.acknowledged
        self.refused += len(outcome.refused)
        self.torn += verdict.torn
        self.unacknowledged += verdict.unacknowledged
        self.lost += verdict.lost + verdict.unknown
        self.problems += [f"{what}: {problem}" for problem in verdict.problems]

    def add(self, other: Row) -> None:
        """Add the runs of another row."""
        for name in ("runs", "struck", "acknowledged", "refused", "torn", "unacknowledged", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


@dataclass(frozen=True)
class Cell:
    """A row to be filled: every k of one call in one scenario, or kills at random."""

    scenario: str
    call: str
    action: str
    stride: int = 1
    most: int = 400
    window: str = "{k}"
    start: int = 1
    seeds: tuple[int, ...] = ()
    threads: int = 1

    def fill(self, launcher: Launcher, directory: Path) -> Row:
        """Run until the k-th call does not come any more."""
        row = Row(self.scenario, self.call, self.action)
        if self.seeds:
            for seed in self.seeds:
                self._kill_at_random(launcher, directory / str(seed), seed, row)
            return row
        for k in range(self.start, self.most + 1, self.stride):
            when = self.window.format(k=k, last=k + 2)
            struck = self._strike(launcher, directory / str(k), when, row)
            if not struck:
                break
        return row

    def _kill_at_random(self, launcher: Launcher, directory: Path, seed: int, row: Row) -> None:
        chance = random.Random(seed)
        outcome = launcher.run(
            self.scenario,
            directory,
            events=1_000_000,
            threads=chance.choice((1, 2, 3)),
            fault=KillAtRandom.drawn(chance, _MOST.get(self.scenario, 300), PROCESSES.get(self.scenario, 1)),
            **_options(self.scenario),
        )
        verdict = _judge_kill(self.scenario, outcome)
        verdict.expect(outcome.killed, f"exit code {outcome.exit_code}")
        row.take(outcome, verdict, 1, f"--again {self.scenario}/random/{seed}")
        _tidy(directory, verdict)

    def _strike(self, launcher: Launcher, directory: Path, when: str, row: Row) -> bool:
        events = EVENTS[self.scenario]
        tampering = Tampering(self.call, when, self.action)
        outcome = launcher.run(
            self.scenario,
            directory,
            events=events,
            threads=self.threads,
            fault=tampering,
            **_options(self.scenario),
        )
        if self.action == "signal=KILL":
            # in a child that was forked it strikes as well
            living = len(outcome.pids) - OWN_DEATHS.get(self.scenario, 0)
            struck = outcome.exit_code != 0 or len(outcome.done) < living
            verdict = _judge_kill(self.scenario, outcome)
        elif self.scenario in RUN_SCENARIOS:
            struck = bool(outcome.injected or outcome.injected_later)
            verdict = Verdict()
            judge_flight_fault(verdict, outcome, self.action.removeprefix("error="))
        else:
            struck = bool(outcome.injected or outcome.injected_later)
            verdict = judge_fault(
                outcome,
                calls_of(self.scenario, events),
                error=self.action.removeprefix("error="),
                buffer_entries=_buffered(self.scenario),
                lasting=when.endswith("+"),
            )
        again = f"{self.scenario}/{self.call}/{when}/{self.threads}/{self.action}"
        row.take(outcome, verdict, int(struck), f"--again {again}")
        _tidy(directory, verdict)
        return struck


def calls_of(scenario: str, events: int) -> int:
    """How many calls of the package a scenario makes."""
    return {
        "faulting": 1 + events + 12,
        "mirroring": 1 + 4 * events,
        "starting": events,
        "forking": 1 + 2 * (events // 2) + events,
        "buffering": 1 + events + events // 7,
        "queueing": 1 + events,
        "retaining": 40 + 4 * events,
        "ending": events + 3,
        "limited": 1 + events + 12,
    }[scenario]


def _judge_kill(scenario: str, outcome: Outcome) -> Verdict:
    verdict = judge(outcome, buffer_entries=_buffered(scenario))
    afterwards = {
        "following": judge_following,
        "recovering": judge_recovering,
        "pruning": judge_pruning,
        "sealing": judge_sealing,
        **dict.fromkeys(RUN_SCENARIOS, judge_runs),
        "thinning": judge_thinning,
        "erasing": judge_erasing,
    }
    if scenario in afterwards:
        afterwards[scenario](verdict, outcome)
    return verdict


def _options(scenario: str) -> dict[str, int]:
    return {"buffer_entries": BUFFER_ENTRIES} if scenario == "buffering" else {}


def _buffered(scenario: str) -> int:
    return {"buffering": BUFFER_ENTRIES, "ending": 3, "queueing": QUEUE_SIZE}.get(scenario, 0)


def _tidy(directory: Path, verdict: Verdict) -> None:
    if not verdict.problems:
        shutil.rmtree(directory, ignore_errors=True)


def kill_cells(stride: int, most: int) -> Iterator[Cell]:
    """Every scenario and call."""
    for scenario, call in itertools.product(EVENTS, CALLS):
        yield Cell(scenario, call, "signal=KILL", stride, most)


def random_cells(kills: int, seed: int) -> Iterator[Cell]:
    """Kills at random, evenly over the scenarios; a seed for each."""
    share = -(-kills // len(RANDOM_SCENARIOS))
    for index, scenario in enumerate(RANDOM_SCENARIOS):
        first = seed + index * share
        yield Cell(scenario, "random", "signal=KILL", seeds=tuple(range(first, first + share)))


def drawn_cells(kills: int, seed: int, directory: Path) -> Iterator[Cell]:
    """So many kills at system calls, drawn from all that the scenarios make with 1 to 3 threads.

    Each kind of call of each scenario has its turn before one has its second; no place comes twice before all
    came once.
    """
    chance = random.Random(seed)
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    with Launcher() as launcher:
        for scenario, threads in itertools.product(EVENTS, (1, 2, 3)):
            outcome = launcher.run(
                scenario,
                directory / f"count-{scenario}-{threads}",
                events=EVENTS[scenario],
                threads=threads,
                fault=Counting(),
                **_options(scenario),
            )
            for call, count in outcome.counted.items():
                places.setdefault((scenario, call), []).extend((threads, k) for k in range(1, count + 1))
    while True:
        for own in places.values():
            chance.shuffle(own)
        for turn in range(max(map(len, places.values()))):
            for (scenario, call), own in places.items():
                if turn < len(own):
                    threads, k = own[turn]
                    yield Cell(scenario, call, "signal=KILL", most=k, start=k, threads=threads)
                    kills -= 1
                if kills == 0:
                    return


def cell_of(again: str) -> Cell:
    """The cell of one run, from what a problem's line says after `--again`."""
    scenario, call, rest = again.split("/", 2)
    if call == "random":
        return Cell(scenario, call, "signal=KILL", seeds=(int(rest),))
    when, threads, action = rest.split("/")
    return Cell(scenario, call, action, most=1, window=when, threads=int(threads))


def fault_cells(stride: int, most: int) -> Iterator[Cell]:
    """Every scenario, call and error; one call, three in a row, and all from one on."""
    for scenario, (call, errors) in itertools.product(FAULT_SCENARIOS, ERRORS.items()):
        for error, window in itertools.product(errors, WINDOWS):
            if error == "EINTR" and window.endswith("+"):
                # a call that is interrupted for ever never ends, and that is right
                continue
            yield Cell(scenario, call, f"error={error}", stride, most, window)


_CALLS_MADE = {"openat": 40, "write": 45, "close": 20}


def drawn_fault_cells(faults: int, seed: int, only: str = "") -> Iterator[Cell]:
    """So many runs with faults, drawn evenly from the scenarios, calls, errors, windows and the first k.

    Of those scenarios alone whose names begin with `only`.
    """
    chance = random.Random(seed)
    kinds = [cell for cell in fault_cells(1, 1) if cell.scenario.startswith(only)]
    for _ in range(faults):
        kind = chance.choice(kinds)
        k = chance.randint(1, _CALLS_MADE.get(kind.call, 8))
        yield Cell(kind.scenario, kind.call, kind.action, most=k, window=kind.window, start=k)
