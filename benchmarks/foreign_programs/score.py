"""Replays programs of other authors, unchanged and with one line changed, and tells where a verdict is wrong.

    python benchmarks/foreign_programs/score.py [--only NAME ...] [--unchanged] [--workers 2] [--json ROWS]

`programs/NAME.json` says which agents to replay, which line may change, and whether the program draws without a seed.
The oracle is the program's own: with ORACLE set it writes each action's result and state by code that knows nothing of
Agent Trace, so the first line in which two runs differ is the step where the replay has to diverge. A change that
reaches an agent by its inputs alone is not the replay's to find: there, inputs are the recorded ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
GREEN = {"IDENTICAL", "EQUIVALENT"}
TIMEOUT_S = 300
MOST_AGENTS = 2
"""How many agents of a program are replayed alone."""


class Acted(NamedTuple):
    """One action by the program's own account."""

    number: int
    """In the order in which actions returned."""
    given: str
    """Its arguments, and its agent's state before."""
    came: str
    """Its result, and its agent's state behind it."""


class FirstDifference(NamedTuple):
    """Where two runs begin to differ."""

    number: int
    step: tuple[str, int]
    is_given: bool
    """The action was given something else, so that a replay with the recorded arguments may differ later."""


Told = dict[str, list[Acted]]
Step = tuple[str, int]
"""An agent, and the number of one of its actions, from 0."""
WHOLE = ""
"""Stands for all agents of a session, replayed together."""


def main() -> int:
    """The command: exit code 1 where a changed program is green or an unchanged, seeded one is DIVERGED."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, default=PROGRAMS)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--unchanged", action="store_true", help="leave the changed programs out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write one JSON object for each verdict")
    given = parser.parse_args()
    names = given.only or sorted(path.stem for path in given.programs.glob("*.json"))
    with ThreadPoolExecutor(given.workers) as pool:
        found = [
            row
            for rows in pool.map(lambda name: tried(given.programs, name, given.unchanged), names)
            for row in rows
        ]
    if given.json:
        given.json.write_text("".join(json.dumps(row) + "\n" for row in found))
    print_summary(found)
    return int(any(row["judged"] in {"false green", "false red"} for row in found))


def tried(programs: Path, name: str, unchanged_only: bool) -> list[dict[str, Any]]:
    """Record one program, and replay each of its agents unchanged and changed."""
    described = json.loads((programs / f"{name}.json").read_text())
    if "needs" in described and importlib.util.find_spec(described["needs"]) is None:
        return [_row(name, "", "record", f"skipped: {described['needs']} is not installed")]
    source = (programs / f"{name}.py").read_text()
    with tempfile.TemporaryDirectory(prefix=f"foreign-{name}-") as place:
        home = Path(place) / "recorded"
        home.mkdir()
        for path in programs.iterdir():
            if (
                path.is_file()
                and path.suffix != ".json"
                and (path.stem == name or path.stem.startswith("oracle"))
            ):
                shutil.copy(path, home)
        ended = _run([sys.executable, f"{name}.py"], home, TRACE_ROOT="trace")
        if ended.returncode:
            return [_row(name, "", "record", "no program", told=ended.stderr[-600:])]
        described["agents"] = [WHOLE, *described["agents"][:MOST_AGENTS]]
        rows = [_unchanged(home, name, described, agent) for agent in described["agents"]]
        if described["deterministic"] and not unchanged_only:
            before = _oracle(home, name, Path(place) / "before.jsonl")
            for number, change in enumerate(described["changes"]):
                rows += _changed(Path(place), home, (name, source, described, number, change, before))
    for row in rows:
        print(_line(row), flush=True)
    return rows


def _unchanged(home: Path, name: str, described: dict[str, Any], agent: str) -> dict[str, Any]:
    report = _replay(home, agent, described["target"])
    verdict = report["verdict"]
    judged = "right"
    if described["deterministic"]:
        judged = {"DIVERGED": "false red", "UNVERIFIED": "useless"}.get(verdict, judged)
        judged = "right" if verdict in GREEN else judged if verdict != "no verdict" else verdict
    elif verdict in GREEN:
        judged = "draw not seen"
    return _row(name, agent, "unchanged" if described["deterministic"] else "draws", judged, report)


def _changed(place: Path, home: Path, case: tuple[Any, ...]) -> list[dict[str, Any]]:
    name, source, described, number, change, before = case
    if source.count(change["old"]) != 1:
        return [_row(name, "", f"change {number}", "no change", told=change["old"])]
    changed = place / f"changed{number}"
    shutil.copytree(home, changed, symlinks=True)
    (changed / f"{name}.py").write_text(source.replace(change["old"], change["new"]))
    after = _oracle(changed, name, place / f"after{number}.jsonl")
    rows = []
    for agent in described["agents"]:
        agents = {*before, *after} if agent == WHOLE else {agent}
        differences = [_first_difference(each, before, after) for each in agents]
        first = min((each for each in differences if each is not None), default=None)
        step, is_given = (None, False) if first is None else (first.step, first.is_given)
        report = _replay(changed, agent, described["target"])
        found = _place_of(report, home)
        verdict = report["verdict"]
        if verdict == "DIVERGED":
            is_later = is_given and step is not None and found is not None and found[1] >= step[1]
            judged = (
                "right" if step == found or is_later else "another step" if step is not None else "false red"
            )
        elif verdict in GREEN:
            judged = "right" if step is None or is_given else "false green"
        else:
            judged = "useless" if verdict == "UNVERIFIED" else verdict
        rows.append(_row(name, agent, f"change {number}", judged, report, wanted=step, found=found))
    return rows


def _oracle(home: Path, name: str, path: Path) -> Told:
    """What each agent did by the program's own account: an entry for each action, in the order they returned."""
    with tempfile.TemporaryDirectory() as root:
        _run([sys.executable, f"{name}.py"], home, TRACE_ROOT=root, ORACLE=str(path))
    told: Told = {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else []):
        entry = json.loads(line)
        given, came = f"{entry['action']} {entry.get('given', '')}", f"{entry['result']} {entry['state']}"
        told.setdefault(str(entry["agent"]), []).append(Acted(number, given, came))
    return told


def _first_difference(agent: str, before: Told, after: Told) -> FirstDifference | None:
    """Where the actions of an agent begin to differ."""
    ours, theirs = before.get(agent, []), after.get(agent, [])
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one[1:] != other[1:]:
            return FirstDifference(one.number, (agent, at), one.given != other.given)
    if len(ours) == len(theirs):
        return None
    at = min(len(ours), len(theirs))
    return FirstDifference(ours[at].number if at < len(ours) else sys.maxsize, (agent, at), True)


def _place_of(report: dict[str, Any], home: Path) -> Step | None:
    """The agent whose action the report calls the first difference, and the number of that action."""
    told = report.get("divergence") or {}
    agent = str(told.get("agent_id"))
    lines = [
        json.loads(line)
        for path in home.glob("trace/session_*/agents/*.log")
        for line in path.read_text().splitlines()
    ]
    actions = [
        line["id"]
        for line in lines
        if line["extra"].get("event_type") == "agent_action" and str(line["extra"].get("agent_id")) == agent
    ]
    actions = sorted(dict.fromkeys(actions), key=lambda each: int(each.rpartition("-")[2]))
    return (agent, actions.index(told["event_id"])) if told.get("event_id") in actions else None


def _replay(home: Path, agent: str, target: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "Agent",
        "replay",
        f"last/{agent}".rstrip("/"),
        "--target",
        target,
        "--json",
    ]
    ended = _run(command, home, AGENT_TRACE_ROOT="trace")
    try:
        report: dict[str, Any] = json.loads(ended.stdout)
        report["verdict"]
    except (ValueError, KeyError):
        return {"verdict": "no verdict", "headline": (ended.stderr or ended.stdout)[-600:]}
    return report


def _run(command: list[str], home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if key not in {"ORACLE", "TRACE_ROOT"}
    } | more
    try:
        return subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"it ran longer than {TIMEOUT_S} s")


def _row(
    name: str, agent: str, what: str, judged: str, report: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    report = report or {}
    told = {
        "verdict": report.get("verdict"),
        "headline": report.get("headline"),
        "divergence": report.get("divergence"),
        "reasons": report.get("reasons"),
    }
    return {"program": name, "agent": agent, "what": what, "judged": judged, **told, **more}


def _line(row: dict[str, Any]) -> str:
    words = [f"{row['program']}/{row['agent'] or '(all)'}", row["what"], row["judged"], row["verdict"] or ""]
    if row.get("wanted") is not None or row.get("found") is not None:
        words.append(f"step {row.get('found')} (oracle {row.get('wanted')})")
    if row["judged"] != "right":
        words += [str((row["reasons"] or [row["headline"] or row.get("told", "")])[0])[:240]]
    return "  ".join(words)


def print_summary(rows: list[dict[str, Any]]) -> None:
    """Counts by agents, and of unchanged programs as a whole."""
    whole: dict[str, bool] = {}
    for row in rows:
        if row["what"] == "unchanged":
            whole[row["program"]] = whole.get(row["program"], True) and row["judged"] == "right"
    print(f"\nunchanged, seeded programs whose agents are all green: {sum(whole.values())} of {len(whole)}")
    for what in ("unchanged", "change", "draws"):
        counts = Counter(
            row["judged"] for row in rows if row["what"].startswith(what + " ") or row["what"] == what
        )
        print(f"{what}: " + ", ".join(f"{count} {judged}" for judged, count in counts.most_common()))


if __name__ == "__main__":
    sys.exit(main())
