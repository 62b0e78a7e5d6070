"""Kills the service at random under load, and says what of the tree the database then holds.

Two agents are sent by their own clients, two by a shipper that hardly waits between its tries, so that kills
meet requests; the shipper is killed now and then, too. `judge` compares every event of every session.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text
from support.processes import child_environment, run_python
from support.services import ServedProcess

from Agent.store import open_store
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

PROGRAM = Path(__file__).with_name("kill_programs.py")
_PATIENCE_S = 180.0


@dataclass
class Course:
    """What happened while the service was killed."""

    kills: int = 0
    shippers_killed: int = 0
    came_again: int = 0
    """Events that the shipper sent although they were stored: their answer was lost with the service."""
    retries: int = 0
    cut: int = 0
    """Requests that a kill came into."""
    seconds: float = 0.0
    roots: list[Path] = field(default_factory=list)
    shipped: str = ""
    """What `agent-trace ship --all` said at the end."""


def kill_under_load(
    database_url: str,
    directory: Path,
    chance: random.Random,
    *,
    kills: int,
    longest_outage_s: float,
    service: ServedProcess | None = None,
    forgets: bool = False,
) -> Course:
    """So many kills, one long outage among them, and everything sent afterwards.

    Args:
        database_url: of the service.
        directory: where the programs record.
        chance: when the kills come.
        kills: how many.
        longest_outage_s: how long the service stays away once, in the middle.
        service: another one than the command starts, for mutations.
        forgets: use a shipper that is wrong.
    """
    course = Course(roots=[directory / "traced", directory / "plain"])
    served = service or ServedProcess(database_url, directory)
    began_s = time.monotonic()
    served.start()
    url = served.ingest_url
    traced = [_start(course.roots[0], "traced", url) for _ in range(2)]
    plain = [_start(course.roots[1], "plain") for _ in range(2)]
    words = ["ship", url, str(course.roots[1]), *(["--forget"] if forgets else [])]
    shipper = _start(course.roots[1], *words)
    try:
        for number in range(kills):
            time.sleep(chance.uniform(0.05, 1.5))
            served.kill()
            course.kills += 1
            # later on its account of what came again is wanted, which a kill would take with it
            if number < kills // 2 and chance.random() < 0.2:
                shipper.kill()
                shipper.communicate()
                course.shippers_killed += 1
                shipper = _start(course.roots[1], *words)
            time.sleep(longest_outage_s if number == kills // 2 else chance.uniform(0.0, 0.3))
            served.start()
            if (
                number % 3 == 0
            ):  # as `agent-trace keys` does, whose leaving must take nothing from the service
                with open_store(database_url, role="admin") as visitor:
                    visitor.list_keys()
        for program in [*traced, *plain]:
            _finish(program)
        told = _finish(shipper)
        course.came_again = told["sent"] - told["stored"]
        course.retries, course.cut = told["retries"], told["cut"]
        if not forgets:
            for root in course.roots:
                done = run_python(
                    "-m", "Agent", "ship", "--to", url, "--all", "--root", str(root), cwd=directory
                )
                course.shipped += done.stdout + done.stderr
                assert done.returncode == 0, done.stderr
    finally:
        for program in [*traced, *plain, shipper]:
            program.kill()
            program.communicate()
        served.kill()
    course.seconds = time.monotonic() - began_s
    return course


def _start(root: Path, *words: str) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    with (root.parent / f"{words[0]}.stderr.txt").open("a", encoding="utf-8") as said:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=root,
            env=child_environment(AGENT_TRACE_ROOT=str(root), HOME=str(root)),
        )


def _finish(program: subprocess.Popen[str]) -> dict[str, int]:
    said, _ = program.communicate(timeout=_PATIENCE_S)
    assert program.returncode == 0, program.args
    told: dict[str, int] = json.loads(said.splitlines()[-1])
    return told


def judge(roots: list[Path], database_url: str) -> tuple[list[str], int]:
    """What differs between the trees and the database, and how many events were compared.

    Every event of every session must be there once, as it was recorded, and nothing else; a session's count
    and a run's steps and status must be those of the tree.
    """
    expected: dict[tuple[str, str], tuple[Any, ...]] = {}
    steps: Counter[str] = Counter()
    ended: dict[str, str] = {}
    for root in roots:
        for ref in list_sessions(root):
            uid = open_session(ref.path).session_uid
            for event in TreeReader(ref.path).events():
                expected[uid, event.id] = (event.kind, event.timestamp_us, event.run_id, event.span_id)
                if event.kind == "step.finished":
                    steps[str(event.run_id)] += 1
                if event.kind == "run.finished":
                    ended[str(event.run_id)] = str(event.extra.get("status") or "")
    with open_store(database_url, role="query") as store, store.engine.connect() as connection:
        columns = "session_uid, event_id, kind, ts_us, run_id, span_id"
        rows = connection.execute(text(f"SELECT {columns} FROM events")).all()
        sessions = connection.execute(text("SELECT session_uid, events FROM sessions")).all()
        runs = connection.execute(text("SELECT run_id, status FROM runs")).all()
        of_steps = connection.execute(
            text("SELECT run_id, count(*) FROM steps WHERE status <> 'running' GROUP BY run_id")
        ).all()
    stored = [((str(uuid.UUID(str(row[0]))), row[1]), tuple(row[2:])) for row in rows]
    times = Counter(key for key, _ in stored)
    problems = [f"{key} is there {count} times" for key, count in times.items() if count != 1]
    problems += [f"{key} is lost" for key in expected if key not in times]
    problems += [f"{key} is in no tree" for key in times if key not in expected]
    problems += [
        f"{key} is {value}, recorded was {expected[key]}"
        for key, value in stored
        if key in expected and value != expected[key]
    ]
    counts = Counter(uid for uid, _ in expected)
    told = {str(uuid.UUID(str(uid))): events for uid, events in sessions}
    problems += [
        f"session {uid} counts {told.get(uid)} of {n} events"
        for uid, n in counts.items()
        if told.get(uid) != n
    ]
    known = dict(map(tuple, runs))
    problems += [f"run {run} is {known.get(run)}" for run in ended if known.get(run) in (None, "running")]
    problems += [
        f"run {run} is {known[run]}, not {status}"
        for run, status in ended.items()
        if status and known.get(run, status) != status
    ]
    found = dict(map(tuple, of_steps))
    problems += [
        f"run {run} has {found.get(run)} of {n} steps" for run, n in steps.items() if found.get(run) != n
    ]
    return problems, len(expected)
