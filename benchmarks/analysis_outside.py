"""The same two questions as a user asks them: a process each, from its start to its answer.

One over everything (the rewards of each agent), one about a single agent (its journey). Everybody gets the
files that the question needs: for the journey those of the agent, which their names tell.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from Agent.tree.layout import agent_files, tree_files
from benchmarks.analysis_commands import Asked
from benchmarks.analysis_questions import JOURNEY_JQ, JOURNEY_LNAV, JOURNEY_SQL, QUESTIONS, by_hand
from benchmarks.children import OWN, Ran, run_child
from benchmarks.command import progress
from benchmarks.table import Report, Row, Table

__all__ = ["measure_outside"]

_REWARDS = QUESTIONS[0]
_BY_HAND = """
import json, sys, duckdb
query, parameters = json.load(open(sys.argv[1]))
print(duckdb.execute(query, parameters).fetchall())
"""
_PATIENCE_S = 900.0
_AGENT = re.compile(rb"agent_\d+")
JOURNEY_S = 0.3


def measure_outside(report: Report, asked: Asked, form: str, *, rounds: int, outside: bool) -> None:
    """A table for each of the two questions, and the row of the budget for a journey.

    Args:
        report: is added to.
        asked: the session.
        form: in words.
        rounds: how often each is asked; jq and lnav, which take minutes, once over everything.
        outside: whether to ask others, too; a session without JSON lines has nothing for them.
    """
    everything = {"Agent Trace": [*OWN, "sql", _OWN_REWARDS, str(asked.session), "--csv"]}
    journey = {"Agent Trace": [*OWN, "journey", asked.agent, str(asked.session)]}
    with tempfile.TemporaryDirectory() as place:
        if outside:
            everything |= _others_on_everything(asked, Path(place), report)
            journey |= _others_on_journey(asked, Path(place))
        _table(report, f"Rewards by agent, a process each, {form}", everything, rounds, slow=("jq", "lnav"))
        ran = _table(report, f"One agent's journey, a process each, {form}", journey, rounds)
    bare = min(run_child([sys.executable, "-c", "pass"]).wall_s for _ in range(3))
    own = statistics.median(each.wall_s for each in ran["Agent Trace"])
    report.rows.append(
        Row(
            f"one agent's journey, {form}",
            f"{own:.2f} s, process start included",
            f"bare Python {bare:.2f} s",
            f"<= {JOURNEY_S} s",
            own <= JOURNEY_S,
        )
    )


_OWN_REWARDS = "SELECT agent_id, round(sum(reward), 6) AS total FROM rewards GROUP BY agent_id"


def _duckdb(place: Path, query: str, *parameters: object) -> list[str]:
    # in a file: a thousand paths are too long for an argument
    asked = place / f"query-{len(list(place.iterdir()))}.json"
    asked.write_text(json.dumps([query, parameters]))
    return [sys.executable, "-c", _BY_HAND, str(asked)]


def _others_on_everything(asked: Asked, place: Path, report: Report) -> dict[str, list[str]]:
    files = [str(path) for path in tree_files(asked.session)]
    found = {"DuckDB by hand": _duckdb(place, by_hand(_REWARDS, _REWARDS.condition, sealed=False), files)}
    if shutil.which("jq"):
        names = place / "files"
        names.write_text("\0".join(files))
        command = f"xargs -0 -a {shlex.quote(str(names))} jq -r {shlex.quote(_REWARDS.jq)} | {_REWARDS.tally}"
        found["jq"] = ["sh", "-c", command]
    if shutil.which("lnav"):
        found["lnav"] = [*_lnav(place, _REWARDS.lnav), *files]
    absent = [name for name in ("jq", "lnav") if name not in found]
    if absent:
        report.notes.append(f"{' and '.join(absent)} not installed: left out")
    return found


def _others_on_journey(asked: Asked, place: Path) -> dict[str, list[str]]:
    own = [str(path) for path in agent_files(asked.session, asked.agent)]
    files = [str(path) for path in tree_files(asked.session)]
    found = {
        "DuckDB by hand, that agent's files": _duckdb(place, JOURNEY_SQL, own, asked.agent),
        "DuckDB by hand, all files": _duckdb(place, JOURNEY_SQL, files, asked.agent),
    }
    if shutil.which("jq"):
        found["jq, that agent's files"] = ["jq", "-r", "--arg", "agent", asked.agent, JOURNEY_JQ, *own]
    if shutil.which("lnav"):
        found["lnav, that agent's files"] = [*_lnav(place, JOURNEY_LNAV.format(agent=asked.agent)), *own]
    return found


def _lnav(place: Path, query: str) -> list[str]:
    formats = place / "lnav" / "formats"
    if not formats.is_dir():
        run_child([*OWN, "lnav", "install", "--to", str(formats)])
    return ["lnav", "-n", "-I", str(formats.parent), "-c", f";{query}", "-c", ":write-csv-to -"]


def _table(
    report: Report, title: str, commands: dict[str, list[str]], rounds: int, slow: tuple[str, ...] = ()
) -> dict[str, list[Ran]]:
    ran: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            if number and name in slow:
                continue
            progress(f"{title}: {name}")
            ran[name].append(run_child(command, patience_s=_PATIENCE_S))
    table = Table(title, ("", "s", "processor s", "peak MB", ""))
    for name, each in ran.items():
        wrong = [f"exit {one.exit_code}" for one in each if one.exit_code]
        if slow:
            # an answer may be well-formed and of a part of the files alone
            wrong.append(f"tells of {len(set(_AGENT.findall(each[0].out))):,} agents")
        table.lines.append(
            (
                name,
                f"{statistics.median(one.wall_s for one in each):.2f}",
                f"{statistics.median(one.cpu_s for one in each):.2f}",
                f"{max(one.peak_mb for one in each):,.0f}",
                ", ".join(wrong),
            )
        )
    report.tables.append(table)
    return ran
