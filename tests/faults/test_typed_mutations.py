"""Values of a wrong type at every place of real lines: each reading command answers, and what is no event is counted."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes import run_python
from support.session_files import record_files

from Agent import LogAnalyzer
from Agent.cli.main import EXIT_BUG, main
from Agent.event.codec import DamagedLine, decode_line

PROGRAM = """
import sys
from Agent import AgentLogger, receive, send, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.flight import record_tool
from Agent.flight import recorder
from Agent.utils import InteractionLogger, LearningLogger, PerformanceLogger

setup_logging(trace_root=sys.argv[1])

@record_tool
def price(what):
    return {"price": 3}

class Trader:
    def __init__(self, agent_id):
        self.agent_id, self.agent_role, self.cash, self.seen = agent_id, "trader", 10, set()
    @trace_agent_action()
    def buy(self, n):
        self.cash -= n
        self.seen.add((n, "x"))
        if n == 3:
            raise ValueError("too dear")
        return {"n": n}

traders = [Trader("a1"), Trader("a2")]
for step in range(5):
    with tick(step):
        for trader in traders:
            try:
                trader.buy(step)
            except ValueError:
                pass
logger = AgentLogger("a2", "trader")
first = logger.log_action("look", {"k": (1, 2)})
logger.error("bad", causes=(first,))
AgentLogger("a1", "trader").receive(logger.send("a1", {"q": 1}))
LearningLogger("a2").log_training_step(1, {"loss": 0.5})
LearningLogger("a2").log_reward("x", 1.0, 1.0)
InteractionLogger().log_interaction("like", "a1", "a2", {"w": 1})
PerformanceLogger().log_metric("latency", 3.5, "ms")
recorder.start_run("a2", {"label": "x"})
recorder.start_step("one")
price("tea")
recorder.record_model_call("m", {"p": 1}, "prompt", "answer")
recorder.finish_step("one", "one", {"ok": True})
recorder.finish_run(True, None)
shutdown_logging()
"""
WRONG = [
    None,
    True,
    -1,
    1.5,
    10**30,
    10**400,
    1e308,
    "x",
    "",
    "2026-NaN-20T10:30:45.123456Z",
    [],
    ["x"],
    [[1]],
    {},
    {"a": 1},
    [None],
]
COMMANDS = [
    ["sessions"], ["sessions", "--json"], ["analyze"], ["analyze", "--html", "{out}"], ["journey", "a2"],
    ["journey", "a1", "--json"], ["errors"], ["debug", "a2 fails"], ["debug", "the cash of a1 fell"],
    ["causes", "{id}"], ["diff", "last", "last"], ["diff", "last", "last", "--stats"], ["tail", "-n", "500"],
    ["tail", "--json"], ["play", "last"], ["play", "last/a2"], ["learning"], ["interactions"], ["performance"],
    ["state", "a2"], ["state", "a1", "--json"], ["runs"], ["runs", "{run}"], ["sql", "SELECT * FROM events"],
    ["sql", "SELECT count(*) FROM spans"], ["verify"], ["state", "a1", "--why", "cash"], ["prove", "{id}"],
    ["runs", "{run}", "--steps"], ["runs", "{run}", "--tools"], ["erase", "--match", "tea", "--dry-run"],
]  # fmt: skip
WORKING = [
    ["runs", "{run}", "--export", "{zip}"], ["replay", "last/a2"], ["resume", "{run}", "--step", "one"],
    ["golden", "add", "{run}", "--dir", "{golden}"], ["recover"], ["prune", "--keep", "5"],
]  # fmt: skip
"""Those that write something."""
SEALED = [
    ["analyze"], ["errors"], ["journey", "a2"], ["debug", "a2 fails"], ["state", "a2"], ["learning"], ["interactions"],
    ["performance"], ["diff", "last", "last"], ["sql", "SELECT * FROM events"], ["verify"],
]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("typed")
    done = run_python("-c", PROGRAM, str(place / "trace"), cwd=place, HOME=str(place), AGENT_TRACE_SESSION="")
    assert done.returncode == 0, done.stderr
    return place / "trace"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutants(line: bytes) -> Iterator[bytes]:
    """The line with one value left out or of a wrong type, for every value in it."""
    event = json.loads(line)
    for path in places(event):
        for wrong in [..., *WRONG]:
            changed = copy.deepcopy(event)
            inside = changed
            for key in path[:-1]:
                inside = inside[key]
            if wrong is ...:
                del inside[path[-1]]
            else:
                inside[path[-1]] = wrong
            yield json.dumps(changed).encode()


def numbered(line: bytes, writer: str, seq: int) -> bytes:
    """The line with a number that none has, unless the number is what was mutated."""
    event = json.loads(line)
    if isinstance(event.get("id"), str) and event["id"][:9] == f"{writer}-":
        event["id"] = f"{writer}-{seq}"
    return json.dumps(event).encode()


def mutate(root: Path, chance: random.Random, count: int) -> int:
    """Adds some mutants of its own lines to every file of the record; how many of them are no event."""
    damaged = 0
    seq = 1_000_000
    for path in record_files(next(root.glob("session_*"))):
        lines = path.read_bytes().splitlines()
        found = [mutant for line in lines for mutant in mutants(line)]
        writer = json.loads(lines[0])["id"].partition("-")[0]
        with path.open("ab") as file:
            for mutant in chance.sample(found, min(count, len(found))):
                seq += 1
                line = numbered(mutant, writer, seq)
                file.write(line + b"\n")
                try:
                    decode_line(line)
                except DamagedLine:
                    damaged += 1
    return damaged


def check(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    patch: pytest.MonkeyPatch,
    commands: list[list[str]] = COMMANDS,
) -> None:
    """Runs commands over a tree; fails where one meets what nobody foresaw."""
    patch.setenv("AGENT_TRACE_ROOT", str(root))
    session = next(root.glob("session_*"))
    for cache in (session / "trace_summary.json", root.parent / "report.html"):
        cache.unlink(missing_ok=True)
    first = json.loads((session / "agents" / "a2.log").read_bytes().splitlines()[2])["id"]
    names = {
        "{out}": str(root.parent / "report.html"),
        "{id}": first,
        "{run}": next((session / "runs").iterdir()).name,
        "{zip}": str(root.parent / "run.zip"),
        "{golden}": str(root.parent / "golden"),
    }
    for command in commands:
        code = main(["--debug", *(names.get(word, word) for word in command)])
        said = capsys.readouterr()
        assert code != EXIT_BUG, (command, said.err[-3000:])


@pytest.mark.integration
def test_values_of_a_wrong_type_break_no_reading_command(recorded, tmp_path, capsys, monkeypatch):
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    damaged = mutate(root, random.Random(20261121), 60)
    check(root, capsys, monkeypatch)
    assert damaged > 50
    assert main(["verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged_lines"] == damaged


def events_of(session: Path) -> dict[str, tuple[str, str | None]]:
    with LogAnalyzer(session) as analyzer:
        rows = analyzer.sql("SELECT id, event_type, agent_id FROM events")
        return {row["id"]: (row["event_type"], row["agent_id"]) for row in rows}


@pytest.mark.integration
def test_sealing_lines_of_a_wrong_type_changes_no_answer(recorded, tmp_path, capsys, monkeypatch):
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    mutate(root, random.Random(20261123), 100)
    session = next(root.glob("session_*"))
    live = events_of(session)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(root))
    assert main(["seal"]) == 0
    assert events_of(session) == live
    check(root, capsys, monkeypatch, SEALED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_values_of_a_wrong_type_break_no_reading_command_in_many_trees(
    recorded, tmp_path, capsys, monkeypatch, seed
):
    # few in a tree, so that none hides behind another
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    mutate(root, random.Random(seed), 3 if seed % 2 else 300)
    check(root, capsys, monkeypatch, COMMANDS + WORKING)
    main(["seal"])
    check(root, capsys, monkeypatch, SEALED)


@pytest.mark.integration
def test_values_of_a_wrong_type_in_the_files_beside_the_events_break_no_list(
    recorded, tmp_path, capsys, monkeypatch
):
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(root))
    chance = random.Random(20261122)
    for path in sorted(next(root.glob("session_*")).rglob("*.json")):
        sound = path.read_bytes()
        found = list(mutants(sound))
        for mutant in chance.sample(found, min(20, len(found))):
            path.write_bytes(mutant)
            for command in (["sessions"], ["verify"]):
                code = main(["--debug", *command])
                assert code != EXIT_BUG, (path.name, mutant, capsys.readouterr().err[-2000:])
        path.write_bytes(sound)
