"""What runs in a process of its own: `record` a session of a case, or `ask` the analyzer about one.

Each prints one JSON object on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.fault_set.case import Truth
from benchmarks.fault_set.cases import case_named
from benchmarks.fault_set.record_scan import events, resolve


def record(name: str, root: Path, *, faulty: bool) -> dict[str, Any]:
    """Run the simulation of a case; gives its session, complaint and true events (none if it is healthy)."""
    from Agent import setup_logging, shutdown_logging

    case = case_named(name)
    plan = case.world.plan(name, case.kind if faulty else None)
    truth = Truth()
    session = setup_logging(trace_root=root)
    began = time.process_time()
    case.world.run(plan, truth)
    shutdown_logging()
    cpu_s = time.process_time() - began
    path = Path(session.path)
    return {
        "case": name,
        "root": str(root),
        "session": session.session_id,
        "complaint": case.world.complaint(case.kind, plan),
        "truth": resolve(path, truth),
        "events": sum(1 for _ in events(path)),
        "cpu_s": round(cpu_s, 3),
    }


def ask(root: Path, session: str, complaint: str) -> dict[str, Any]:
    """What the public API answers, cause by cause in its order."""
    from Agent import LogAnalyzer

    began = time.perf_counter()
    report = LogAnalyzer(session=session, root=root).debug_issue(complaint)
    causes = [
        {
            "event_ids": list(cause.event_ids),
            "confidence": cause.confidence,
            "explanation": cause.explanation,
        }
        for cause in report.causes
    ]
    return {"causes": causes, "wall_s": round(time.perf_counter() - began, 3)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_set.child")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("case")
    recording.add_argument("root", type=Path)
    recording.add_argument("--healthy", action="store_true")
    asking = commands.add_parser("ask")
    asking.add_argument("root", type=Path)
    asking.add_argument("session")
    asking.add_argument("complaint")
    given = parser.parse_args(arguments)
    if given.command == "record":
        answer = record(given.case, given.root, faulty=not given.healthy)
    else:
        answer = ask(given.root, given.session, given.complaint)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
