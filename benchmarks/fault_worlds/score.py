"""Measure `debug_issue` on the fault worlds.

    python -m benchmarks.fault_worlds.score --seed 7                    # 220 faulty cases and 110 healthy twins
    python -m benchmarks.fault_worlds.score --seed 7 --cases 24         # fewer
    python -m benchmarks.fault_worlds.score --seed 7 --worlds hospital,crew --out scores.json
    python -m benchmarks.fault_worlds.score --seed 7 --author 2          # the worlds of one author
    python -m benchmarks.fault_worlds.score --seed 7 --prove            # only prove that each fault causes its symptom

Each case runs in a process of its own with a trace root in a temporary directory and a limit of 300 s. A hit: one of the
first six `event_ids` of a cause is an event at which the fault began.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fault_benchmark.agent_fault_benchmark import Answer, Cause, place_of, score
from benchmarks.fault_benchmark.agent_fault_benchmark import Truth as KnownTruth
from benchmarks.fault_benchmark.agent_fault_benchmark.scoring import (
    ALARM,
    LOOKED_AT,
    STRATA,
    grouped,
    heading,
)
from benchmarks.fault_worlds.kit import Case, Truth, baselines, play, worlds

LIMIT_S = 300
DEFAULT_CASES = 220
WORDED = 7  # every seventh case is asked in all its wordings
DEPTHS = (
    1,
    6,
    12,
)  # event ids of a cause that are looked at: what its sentence tells, what forms it, what it names
BASELINES = ("oddest", "settings", "errors", "nearest")


@dataclass(frozen=True)
class Task:
    """One case to run.

    Args:
        complaint: for the healthy twin, the complaint of the faulty case.
        all_wordings: whether to ask in each of the case's wordings.
        is_pointed: whether the complaint names the event that shows the symptom by its id.
        healthy_runs: number of sessions of the same world with other seeds, in which all is well, to name as baselines.
    """

    world: str
    kind: str
    seed: int
    faulty: bool = True
    complaint: str = ""
    all_wordings: bool = False
    is_pointed: bool = False
    healthy_runs: int = 0


def draw(seed: int, count: int, chosen: Sequence[str]) -> list[Task]:
    """Draw cases: each kind of each world once, in random order, and again until there are enough."""
    rng = random.Random(f"cases/{seed}")
    pairs = [
        (name, kind) for name, world in sorted(worlds().items()) if name in chosen for kind in world.kinds
    ]
    drawn: list[Task] = []
    while pairs and len(drawn) < count:
        rng.shuffle(pairs)
        drawn.extend(Task(name, kind, rng.randrange(10**6)) for name, kind in pairs)
    return drawn[:count]


def add_choice_of_cases(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chosen_cases` reads."""
    parser.add_argument("--seed", type=int, default=0, help="draws the cases")
    parser.add_argument(
        "--cases", type=int, default=DEFAULT_CASES, help=f"number of faulty cases, default {DEFAULT_CASES}"
    )
    parser.add_argument("--worlds", help="names of worlds, separated by commas; default: all")
    parser.add_argument(
        "--author",
        type=int,
        choices=sorted({world.author for world in worlds().values()}),
        help="only the worlds of one author; default: all",
    )


def chosen_cases(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Task]:
    """Return the cases that a command line asks for; end the program if it names no world."""
    chosen = options.worlds.split(",") if options.worlds else sorted(worlds())
    if unknown := set(chosen) - set(worlds()):
        parser.error(
            f"no world is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(worlds()))}"
        )
    if options.author:
        chosen = [name for name in chosen if worlds()[name].author == options.author]
    return draw(options.seed, options.cases, chosen)


def run_here(task: Task, root: Path) -> dict[str, Any]:
    """Play one case in this process and ask for its causes; return truth, causes and baselines."""
    usual = [_healthy_run(task, number, root / f"healthy-{number}") for number in range(task.healthy_runs)]
    case = Case(task.world, task.kind, task.seed, task.faulty)
    truth, events = play(worlds()[task.world], case, root)
    answer: dict[str, Any] = {"truth": dataclasses.asdict(truth), "status": "", "causes": [], "seconds": 0.0}
    if task.faulty:
        answer["baselines"] = baselines(events, truth.symptom_id)
    del events
    from Agent import debug_issue

    began = time.process_time()
    pointed = f" ({truth.symptom_id})" if task.is_pointed and truth.symptom_id else ""
    report = debug_issue((task.complaint or truth.complaint) + pointed, root=root, baselines=usual)
    answer["seconds"] = time.process_time() - began
    answer["status"] = report.status
    answer["causes"] = _first_causes(report)
    answer["others"] = (
        [_first_causes(debug_issue(text, root=root, baselines=usual)) for text in truth.wordings]
        if task.all_wordings
        else []
    )
    return answer


def _healthy_run(task: Task, number: int, root: Path) -> Path:
    """Play a healthy session of a case's world with another seed; return its directory."""
    root.mkdir()
    play(worlds()[task.world], Case(task.world, task.kind, task.seed + 1 + number, False), root)
    return next(root.glob("session_*"))


def _first_causes(report: Any) -> list[dict[str, Any]]:
    """Return what is scored of a report: the ids and the confidence of its first three causes."""
    return [
        {"event_ids": list(cause.event_ids)[: DEPTHS[-1]], "confidence": cause.confidence}
        for cause in report.causes[:LOOKED_AT]
    ]


def run_apart(task: Task) -> dict[str, Any]:
    """Run one case in a child process; `failed` tells why there is no answer."""
    with tempfile.TemporaryDirectory(prefix="fault_worlds_") as directory:
        return in_child("benchmarks.fault_worlds.score", task, Path(directory))


def in_child(module: str, task: Task, root: Path, *more: str) -> dict[str, Any]:
    """Let a module's command line work on a task in a child process, with a trace root; return what it printed last.

    `failed` tells why there is nothing.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_TRACE_")}
    environment["AGENT_TRACE_ROOT"] = str(root)
    parents = [str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, parents))
    command = [sys.executable, "-m", module, "--task", json.dumps(dataclasses.asdict(task)), *more]
    try:
        done = subprocess.run(
            command, env=environment, cwd=root, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {LIMIT_S} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def causes_of(answer: Sequence[dict[str, Any]]) -> tuple[Cause, ...]:
    """Return the causes of an answer as the scorer takes them."""
    return tuple(Cause(tuple(cause["event_ids"]), cause["confidence"]) for cause in answer)


def rank_of(answer: dict[str, Any], causes: Sequence[dict[str, Any]]) -> int:
    """Return the place of the first true cause, from 1 to 3, or 0."""
    return place_of(answer["truth"]["accepted"], causes_of(causes))


def proof(truth: Truth, twin: Truth) -> str:
    """Return what is wrong with a pair of twins, or an empty text."""
    if not truth.symptom:
        return "no symptom with the fault"
    if twin.symptom:
        return "the symptom is there without the fault"
    if not truth.accepted or truth.lag_events <= 0:
        return "no cause before the symptom"
    return ""


def prove(tasks: Sequence[Task]) -> int:
    """Play each case with and without its fault; return the number of cases that prove nothing."""
    rows: list[dict[str, Any]] = []
    bad = 0
    for number, task in enumerate(tasks, 1):
        truth, events = _play_here(task, faulty=True)
        simple = baselines(events, truth.symptom_id)
        twin, _ = _play_here(task, faulty=False)
        problem = proof(truth, twin)
        bad += bool(problem)
        rows.append({"truth": dataclasses.asdict(truth), "baselines": simple})
        print(
            f"{number:3} {task.world:12} {task.kind:18} {task.seed:6}  lag {truth.lag:6.1%}  {problem or 'proven'}",
            flush=True,
        )
    print(f"\n{len(tasks) - bad} of {len(tasks)} proven")
    _table_of_baselines(rows)
    describe([Truth(**row["truth"]) for row in rows])
    return bad


def _play_here(task: Task, *, faulty: bool) -> tuple[Truth, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="fault_worlds_") as directory:
        return play(worlds()[task.world], Case(task.world, task.kind, task.seed, faulty), Path(directory))


def _table_of_baselines(rows: Sequence[dict[str, Any]]) -> None:
    """Print how often simple rules name the true cause."""
    print(f"\n{heading('baseline')}")
    for group in grouped(
        "baseline", ((name, _place(row, name)) for name in BASELINES for row in rows), BASELINES
    ):
        print(group.to_text())


def describe(truths: Sequence[Truth]) -> None:
    """Print what the cases are like."""
    if not truths:
        return
    lags = sorted(truth.lag for truth in truths)
    sizes = sorted(truth.events for truth in truths)
    print(f"\nevents: {sizes[0]} to {sizes[-1]}, median {statistics.median(sizes):.0f}")
    print(
        f"lag: median {statistics.median(lags):.1%}, {statistics.median(t.lag_events for t in truths):.0f} events; "
        + ", ".join(f"{sum(low <= lag < high for lag in lags)} {name}" for name, low, high in STRATA)
    )
    shares: dict[str, Callable[[Truth], bool]] = {
        "two hops or more": lambda truth: truth.hops >= 2,
        "guilty agent named": lambda truth: truth.guilty_named,
        "healthy agent named": lambda truth: truth.healthy_named,
        "no error at the cause": lambda truth: not truth.error_at_cause,
        "coincidence before the symptom": lambda truth: truth.decoy,
        "trigger that is not the cause": lambda truth: truth.trigger,
    }
    for name, test in shares.items():
        print(f"{name}: {sum(map(test, truths)) / len(truths):.0%}")


def measure(tasks: Sequence[Task]) -> dict[str, Any]:
    """Score all cases and every second one's healthy twin; print a line for each."""
    faulty, twins = [], []
    for number, task in enumerate(tasks, 1):
        answer = run_apart(dataclasses.replace(task, all_wordings=number % WORDED == 0))
        row = {"world": task.world, "kind": task.kind, "seed": task.seed, **answer}
        faulty.append(row)
        if "failed" in answer:
            row |= {"rank": 0, "truth": None, "causes": []}
            print(
                f"{number:3} {task.world:12} {task.kind:18} {task.seed:6}  FAILED: {answer['failed']}",
                flush=True,
            )
            continue
        row["rank"] = rank_of(answer, answer["causes"])
        row["worded"] = [rank_of(answer, causes) for causes in answer["others"]]
        truth = answer["truth"]
        first = answer["causes"][0]["confidence"] if answer["causes"] else 0.0
        verdict = f"hit at {row['rank']}" if row["rank"] else "missed"
        verdict += "" if truth["symptom"] else "  NO SYMPTOM"
        print(
            f"{number:3} {task.world:12} {task.kind:18} {task.seed:6}  lag {truth['lag']:6.1%}  {truth['events']:6} events  "
            f"{answer['seconds']:5.1f} s  {first:.2f}  {verdict}",
            flush=True,
        )
        if number % 2 == 0:
            twin = run_apart(dataclasses.replace(task, faulty=False, complaint=truth["complaint"]))
            alarm = any(cause["confidence"] >= ALARM for cause in twin.get("causes", ()))
            if "failed" not in twin and (problem := proof(Truth(**truth), Truth(**twin["truth"]))):
                row["unproven"] = problem
                print(f"    {'':12} UNPROVEN: {problem}", flush=True)
            twins.append({"world": task.world, "kind": task.kind, "seed": task.seed, "alarm": alarm, **twin})
            said = twin.get("failed") or ("FALSE ALARM" if alarm else f"quiet ({twin['status']})")
            print(f"    {'':12} {'healthy twin':18} {'':6}  {said}", flush=True)
    return {"faulty": faulty, "twins": twins}


def _place(answer: dict[str, Any], baseline: str) -> int:
    """Return the place at which a baseline names the true cause, or 0."""
    return place_of(answer["truth"]["accepted"], [Cause((name,)) for name in answer["baselines"][baseline]])


def known_of(row: dict[str, Any], *, faulty: bool) -> KnownTruth:
    """Return the truth of a case as the scorer takes it; a case that failed has no event that could be hit."""
    truth = row["truth"] if faulty and row.get("truth") else {"accepted": (), "lag": None}
    labels = {"world": row["world"], "kind": row["kind"], "evidence": worlds()[row["world"]].evidence}
    name = f"{row['world']}/{row['kind']}/{row['seed']}/{'faulty' if faulty else 'healthy'}"
    return KnownTruth(name, faulty, frozenset(truth["accepted"]), truth["lag"], labels)


def _table_of_depths(answered: Sequence[dict[str, Any]]) -> None:
    """Print the hits among the first event ids of each cause; the scores above look at six."""
    print("\ntrue events among the first event ids of the first cause; of the first three")
    for depth in DEPTHS:
        hits = [
            [not wanted.isdisjoint(cause["event_ids"][:depth]) for cause in row["causes"]]
            for row in answered
            for wanted in [set(row["truth"]["accepted"])]
        ]
        print(
            f"    {depth:2}  {sum(any(each[:1]) for each in hits):5}; {sum(map(any, hits)):5} of {len(hits)}"
        )


def table(scores: dict[str, Any]) -> None:
    """Print the scores, those of the baselines and of other wordings, and what the cases are like."""
    rows, twins = scores["faulty"], scores["twins"]
    answered = [row for row in rows if row["truth"]]
    truth = [known_of(row, faulty=True) for row in rows] + [known_of(twin, faulty=False) for twin in twins]
    answers = [
        Answer(known.case, causes_of(row["causes"]))
        for known, row in zip(truth, [*rows, *twins], strict=True)
        if "failed" not in row
    ]
    print(f"\n{score(truth, answers).to_text()}")
    _table_of_depths(answered)
    _table_of_baselines(answered)
    worded = [row["worded"] for row in answered if len(row["worded"]) > 1]
    if worded:
        asked, same = sum(map(len, worded)), sum(len({rank > 0 for rank in ranks}) == 1 for ranks in worded)
        hits = sum(rank > 0 for ranks in worded for rank in ranks)
        print(
            f"\nall wordings of {len(worded)} cases: {hits} hits of {asked}; the same verdict in {same} cases"
        )
    unproven = sum("unproven" in row for row in rows) + sum(not row["truth"]["symptom"] for row in answered)
    print(f"\nunproven cases: {unproven}")
    describe([Truth(**row["truth"]) for row in answered])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a case proves nothing (`--prove`), else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_worlds.score", description="Measure debug_issue on the fault worlds."
    )
    add_choice_of_cases(parser)
    parser.add_argument("--out", type=Path, help="a JSON file for all answers")
    parser.add_argument("--prove", action="store_true", help="only check that each fault causes its symptom")
    parser.add_argument(
        "--pointed", action="store_true", help="complaints name the event that shows the symptom"
    )
    parser.add_argument(
        "--healthy-runs",
        type=int,
        default=0,
        help="how many healthy sessions of other seeds are named as baselines",
    )
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        print(json.dumps(run_here(Task(**json.loads(options.task)), Path(os.environ["AGENT_TRACE_ROOT"]))))
        return 0
    tasks = [
        dataclasses.replace(task, is_pointed=options.pointed, healthy_runs=options.healthy_runs)
        for task in chosen_cases(parser, options)
    ]
    if options.prove:
        return 1 if prove(tasks) else 0
    scores = measure(tasks)
    table(scores)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    scores["processor_s"] = round(usage.ru_utime + usage.ru_stime, 1)
    print(f"processor: {scores['processor_s'] / 60:.1f} minutes")
    if options.out:
        options.out.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
