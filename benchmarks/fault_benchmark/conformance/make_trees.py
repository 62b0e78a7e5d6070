"""Make the trees and `expected.json` from one recorded session: python make_trees.py SESSION.

SESSION is a directory of a session without runs, such as the one in `tests/golden/v1`. Run once; a tree that was handed on
never changes, so it refuses to write over one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
AGENT = "agents/clerk_two.log"
LONGEST = "agents/clerk_one~5ki5vu3xbrlzoia4.log"


def torn(session: Path) -> None:
    """Cut the last line of an agent's file."""
    path = session / AGENT
    path.write_bytes(path.read_bytes()[:-40])


def lost(session: Path) -> None:
    """Remove a line."""
    _lines(session / LONGEST, lambda line: b"")


def garbled(session: Path) -> None:
    """Overwrite the inside of a line."""
    _lines(session / LONGEST, lambda line: line[:30] + b"\xff\xfe" * 20 + line[70:])


def newer(session: Path) -> None:
    """Give an event a kind and keys of a later version."""

    def changed(line: bytes) -> bytes:
        event = json.loads(line)
        event["extra"] = {
            "agent_id": event["extra"]["agent_id"],
            "event_type": "dream",
            "depth": {"rem": [1, 2]},
        }
        return json.dumps(event | {"mood": "calm"}).encode() + b"\n"

    _lines(session / LONGEST, changed)


def _lines(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the third line of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = change(lines[2])
    path.write_bytes(b"".join(lines))


TREES: dict[str, Callable[[Path], None] | None] = {
    "whole": None,
    "torn": torn,
    "lost": lost,
    "garbled": garbled,
    "newer": newer,
}


def expected(session: Path) -> dict[str, Any]:
    """Read a session as plain lines of JSON."""
    events, damaged = [], 0
    for path in sorted([*session.glob("*.log"), *session.glob("agents/*.log")]):
        for line in path.read_bytes().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                damaged += 1
    events.sort(key=lambda event: (event["timestamp"], *_place(event)))
    numbers: dict[str, set[int]] = {}
    for event in events:
        writer, number = _place(event)
        numbers.setdefault(writer, set()).add(number)
    missing = {writer: sorted({*range(1, max(each))} - each) for writer, each in sorted(numbers.items())}
    return {
        "ids": [event["id"] for event in events],
        "agents": dict(
            Counter(event["extra"]["agent_id"] for event in events if "agent_id" in event["extra"])
        ),
        "kinds": dict(Counter(event["extra"].get("event_type", "log") for event in events)),
        "errors": [event["id"] for event in events if event["level"] in {"ERROR", "CRITICAL"}],
        "causes": {event["id"]: event["causes"] for event in events if event.get("causes")},
        "missing": {writer: each for writer, each in missing.items() if each},
        "damaged_lines": damaged,
    }


def _place(event: dict[str, Any]) -> tuple[str, int]:
    writer, _, number = event["id"].rpartition("-")
    return writer, int(number)


def main(source: Path) -> None:
    """Write every tree, and what is in it."""
    trees = HERE / "trees"
    trees.mkdir()  # an error if they are there
    answers = {}
    for name, change in TREES.items():
        session = trees / name / source.name
        shutil.copytree(source, session)
        if change is not None:
            change(session)
        answers[name] = expected(session)
    (HERE / "expected.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python make_trees.py SESSION")
    main(Path(sys.argv[1]))
