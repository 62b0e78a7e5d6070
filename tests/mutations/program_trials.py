"""Programs as strangers write them, replayed: as they were recorded, with one line changed, and with a draw put in.

    python tests/mutations/program_trials.py [NAME ...]

Unchanged ones must be IDENTICAL, changed ones DIVERGED at the step of the change, and a draw that nobody recorded
UNVERIFIED with its place. Exit code 1 where a verdict is wrong. Programs whose library is missing are named.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Program:
    """A program, what of it is replayed, and how it is changed."""

    name: str
    old: str
    """Text of the one line that is changed."""
    new: str
    step: int
    """The action, counted from 1, that the change alters."""
    run: str = "last"
    is_by_ids: bool = False
    """Whether a value holds ids of events, which makes an unchanged one EQUIVALENT."""
    needs: str = ""


PROGRAMS = [
    Program("gridworld_q", "learning_rate = 0.5", "learning_rate = 0.5 if number != 10 else 0.4", 11),
    Program("sarsa_numpy", "10.0 if following", "(10.0 if number != 7 else 9.0) if following", 8),
    Program("async_market", "1100)) / 100", "1100)) / (100 if day != 9 else 50)", 10, "last/ann"),
    Program(
        "order_book", "Fill(bid[2], ask[2], ask[0])", "Fill(bid[2], ask[2], ask[0] + (sequence > 15))", 19
    ),
    Program(
        "strategies",
        "return theirs[-1] if theirs",
        'return "D" if len(theirs) == 5 else theirs[-1] if theirs',
        11,
        "last/tat",
    ),
    Program("research_loop", "* 0.001", "* (0.001 if len(self.messages) != 4 else 0.002)", 2),
    Program(
        "support_desk",
        "in ticket.text else 1)",
        "in ticket.text else 1) + (ticket.number == 3)",
        4,
        is_by_ids=True,
    ),
    Program("rumour_graph", "< 0.2", "< (0.2 if self.day != 6 else 0.9)", 6),
    Program("ant_colony", "*= 0.9", "*= 0.9 if self.age != 8 else 0.8", 8),
    Program("elevator", "self.door = Door.OPEN", "self.door = Door.OPEN if self.log else Door.SHUT", 2),
    Program("bandit_frame", "< self.means[arm])", "< self.means[arm]) + (number == 12) / 2", 15),
    Program("supply_chain", "0.3 * amount", "0.3 * (amount if amount != 6 else 7)", 8, "last/retailer"),
    Program("evolution", "< 0.05", "< (0.05 if self.age != 6 else 0.5)", 6),
    Program("words", "< 12", '< (12 if word != "dog" else 3)', 4),
    Program(
        "mesa_virus",
        "= self.virus_spread_chance",
        "= self.virus_spread_chance if self.model.steps != 5 else 1.0",
        5,
    ),
    Program("machine_shop", "until=200", "until=200 if number != 4 else 190", 5, needs="simpy"),
    Program(
        "wealth_agentpy", "if self.wealth > 0", "if self.wealth > (self.model.t == 7)", 7, needs="agentpy"
    ),
]


@dataclass
class Verdict:
    """What a replay says."""

    verdict: str
    step: int | None
    lines: str


def problems(program: Program, directory: Path) -> Iterator[str]:
    """What is wrong with the verdicts on the program."""
    text = (_HERE / "programs" / f"{program.name}.py").read_text()
    if text.count(program.old) != 1:
        yield f"{program.name}: {program.old!r} stands there {text.count(program.old)} times"
        return
    path = directory / f"{program.name}.py"
    path.write_text(text)
    ended = call([str(path.name)], directory)
    if ended.returncode != 0:
        yield f"{program.name}: it does not run\n{ended.stderr[-1000:]}"
        return
    found = replay(program, directory)
    wanted = "EQUIVALENT" if program.is_by_ids else "IDENTICAL"
    if found.verdict != wanted:
        yield f"{program.name}, unchanged: {found.lines}"
    path.write_text(text.replace(program.old, program.new))
    found = replay(program, directory)
    if (found.verdict, found.step) != ("DIVERGED", program.step):
        yield f"{program.name}, changed at step {program.step}: {found.lines}"
    path.write_text(_with_draw(text, program.old))
    found = replay(program, directory)
    if found.verdict != "UNVERIFIED" or f"{program.name}.py" not in found.lines:
        yield f"{program.name}, with an unrecorded draw: {found.lines}"


def _with_draw(text: str, old: str) -> str:
    """The text with a draw that no seed reaches before the line of the change."""
    lines = text.splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if old in line)
    while not lines[number].lstrip().startswith(
        ("self.", "for ", "if ", "while ", "return ", "fills", "counts")
    ) and (" = " not in lines[number]):
        number -= 1
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines.insert(number, f'{indent}__import__("os").urandom(1)\n')
    return "".join(lines)


def replay(program: Program, directory: Path) -> Verdict:
    """The verdict on the program as it stands in the directory."""
    command = [
        "-c",
        "from Agent.cli.main import run; run()",
        "replay",
        program.run,
        "--target",
        f"{program.name}:build",
    ]
    ended = call([*command, "--json"], directory)
    if not ended.stdout.strip():
        return Verdict(f"exit code {ended.returncode}", None, ended.stderr[-1000:])
    told = json.loads(ended.stdout)
    divergence = told.get("divergence") or {}
    return Verdict(told["verdict"], divergence.get("step"), json.dumps({**told, "outcome": None})[:1500])


def call(arguments: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run Python there, with the package in reach and without writing bytecode."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE")},
        "AGENT_TRACE_ROOT": str(directory / "trace"),
        "PYTHONPATH": os.pathsep.join([str(_HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",  # a change within the same second must be seen
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def main(names: list[str]) -> int:
    """The command."""
    code = 0
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        if program.needs and importlib.util.find_spec(program.needs) is None:
            print(f"{program.name}: left out, {program.needs} is not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="agent-trace-programs-") as directory:
            found = list(problems(program, Path(directory)))
        print("\n".join(found) or f"{program.name}: as it should be")
        code |= bool(found)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
