"""Write cases of the fault worlds as files that any tool can enter with.

    python -m benchmarks.fault_worlds.write_cases --seed 7 --out DIR              # 220 faulty cases, 110 healthy twins
    python -m benchmarks.fault_worlds.write_cases --seed 7 --cases 24 --out DIR   # fewer
    python -m benchmarks.fault_worlds.write_cases --seed 7 --out DIR --trees      # keeps what Agent Trace recorded, too

The files are those of `benchmarks/fault_benchmark/FORMAT.md`. The order of cases is drawn, and their names say nothing, so
neither tells which of them are healthy. A case whose fault does not cause its symptom is left out and counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_benchmark.agent_fault_benchmark.files import CASES, EVENTS, TRUTH
from benchmarks.fault_worlds.kit import Case, Truth, play, worlds
from benchmarks.fault_worlds.score import Task, add_choice_of_cases, chosen_cases, in_child, proof

CHECKOUT = f"{Path(__file__).resolve().parents[2]}{os.sep}"
LEFT_OUT = {"code", "log.opened", "log.closed"}
"""Kinds of events about the recording: source code would show where a world asks whether its fault strikes."""


def played(task: Task, folder: Path, *, keeps_tree: bool) -> dict[str, Any]:
    """Play a case in a child process and write its events; return its truth, or `failed`."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="fault_worlds_") as directory:
        root = Path(directory)
        truth = in_child("benchmarks.fault_worlds.write_cases", task, root, "--into", str(folder))
        if keeps_tree and "failed" not in truth:
            (folder / "tree").mkdir()
            for session in root.glob("session_*"):
                shutil.copytree(session, folder / "tree" / session.name)
    return truth


def play_here(task: Task, folder: Path) -> Truth:
    """Play a case in this process, and write its events as they were recorded, without paths of this machine."""
    case = Case(task.world, task.kind, task.seed, task.faulty)
    truth, events = play(worlds()[task.world], case, Path(os.environ["AGENT_TRACE_ROOT"]))
    with (folder / EVENTS).open("w", encoding="utf-8") as written:
        for event in events:
            if event.get("extra", {}).get("event_type") not in LEFT_OUT:
                written.write(json.dumps(event, ensure_ascii=False).replace(CHECKOUT, "") + "\n")
    return truth


def cases_of(
    tasks: Sequence[Task], out: Path, *, keeps_tree: bool
) -> Iterator[tuple[Task, Truth, Path, str]]:
    """Yield each case with its truth, the folder of its events and its complaint; every second one's twin, too."""
    for number, task in enumerate(tasks, 1):
        folders = out / f"{number}_faulty", out / f"{number}_healthy"
        told = played(task, folders[0], keeps_tree=keeps_tree)
        twin = (
            {}
            if "failed" in told
            else played(dataclasses.replace(task, faulty=False), folders[1], keeps_tree=keeps_tree)
        )
        problem = told.get("failed") or twin.get("failed") or proof(Truth(**told), Truth(**twin))
        print(f"{number:3} {task.world:12} {task.kind:18} {task.seed:6}  {problem or 'written'}", flush=True)
        if problem or number % 2:
            shutil.rmtree(folders[1], ignore_errors=True)
        if problem:
            shutil.rmtree(folders[0])
            continue
        truth = Truth(**told)
        yield task, truth, folders[0], truth.complaint
        if number % 2 == 0:
            yield dataclasses.replace(task, faulty=False), Truth(**twin), folders[1], truth.complaint


def write(tasks: Sequence[Task], out: Path, seed: int, *, keeps_tree: bool) -> tuple[int, int]:
    """Write the files; return how many cases there are, and how many of them are healthy."""
    found = list(cases_of(tasks, out, keeps_tree=keeps_tree))
    random.Random(f"order/{seed}").shuffle(found)
    with (
        (out / CASES).open("w", encoding="utf-8") as cases,
        (out / TRUTH).open("w", encoding="utf-8") as known,
    ):
        for number, (task, truth, folder, complaint) in enumerate(found, 1):
            name = f"case_{number:04}"
            folder.rename(out / name)
            cases.write(json.dumps({"case": name, "complaint": complaint}, ensure_ascii=False) + "\n")
            labels = {"world": task.world, "kind": task.kind, "evidence": worlds()[task.world].evidence}
            row: dict[str, Any] = {"case": name, "faulty": task.faulty, "labels": labels}
            if task.faulty:
                row |= {"accepted": truth.accepted, "symptom": truth.symptom_id, "lag": truth.lag}
            known.write(json.dumps(row) + "\n")
    return len(found), sum(not task.faulty for task, *_ in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if no case could be written, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_worlds.write_cases",
        description="Write cases of the fault worlds as files.",
    )
    add_choice_of_cases(parser)
    parser.add_argument("--out", type=Path, help="an empty directory, or one to be made")
    parser.add_argument("--trees", action="store_true", help="keep the sessions as Agent Trace recorded them")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        print(json.dumps(dataclasses.asdict(play_here(Task(**json.loads(options.task)), options.into))))
        return 0
    if options.out is None:
        parser.error("--out is missing")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty")
    tasks = chosen_cases(parser, options)
    cases, healthy = write(tasks, options.out.resolve(), options.seed, keeps_tree=options.trees)
    print(f"{cases} cases in {options.out}, {healthy} of them healthy")
    return 0 if cases else 1


if __name__ == "__main__":
    sys.exit(main())
