"""Commands that keep a tree, one after another over the same one, each killed a few times before it may end.

Run as a program: `command_kills.py --kills N --seed S`; the seed of a tree with a problem, with as many kills,
makes the same draws again. After each kill everything that was not asked to be removed is read exactly once and
`verify` gives the right verdict; the command, run again, leaves what it leaves where nobody kills it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (1, 2)]

import erase_kit as kit
from erase_kills import ENDED, KILLED, apart, die_before_change

from Agent import AgentLogger, setup_logging
from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.archive.erase.erasing import pending, plan_file
from Agent.archive.verify import verify
from Agent.cli.main import main as command_line
from Agent.event.codec import encode_event
from Agent.tree.layout import list_sessions
from Agent.tree.retention import Retention, interrupted_removals

_BY_ID = f"SELECT id, count(*) AS n FROM {scan()} GROUP BY id"
RETENTION = "retention"
MOST_KILLS_OF_A_COMMAND = 6


def run_command(root: Path, argv: list[str]) -> int:
    """What a command of the program does; `retention` is the thread of a program that records."""
    if argv[0] == RETENTION:
        for ref in list_sessions(root):
            Retention(ref.path, int(argv[1])).run()
        return 0
    with contextlib.redirect_stdout(sys.stderr):
        return command_line([*argv, "--root", str(root)])


def _drawn(chance: random.Random, root: Path) -> list[str]:
    """A command and its options."""
    sessions = [ref.session_id for ref in list_sessions(root)]
    one = [chance.choice(sessions)] if chance.random() < 0.5 else ["--all"]
    return chance.choice(
        [
            ["seal", *one],
            ["seal", *one, "--remove"],
            ["seal", *one, "--remove"],
            ["seal", *one, "--restore"],
            ["recover", "--all", *chance.choice([[], ["--mirrors"]])],
            ["erase", "--yes", "--agent", chance.choice(["writer", "reader", "new_1", "helper"])],
            ["erase", "--yes", "--match", chance.choice([kit.VALUE, "filler", "word", '"n":7'])],
            ["prune", "--keep-sessions", str(max(len(sessions) - 1, 2))],
            ["prune", "--checkpoints", "--older-than", "0d", "--failed-older-than", "0d", "--keep-last", "2"],
            [RETENTION, str(chance.choice([8000, 20_000, 60_000]))],
        ]
    )


_known: dict[str, dict[str, Any]] = {}
"""What was read of a session, by its files and their changes: most commands leave some sessions as they were."""


def look(root: Path) -> dict[str, Any]:
    """What can be read of a tree, as JSON; `known` is for the next looks."""
    documents = {"/".join(map(str, key)): repr(state) for key, state in kit.documents(root).items()}
    found: dict[str, Any] = {"events": {}, "doubled": {}, "verdicts": {}, "documents": documents, "known": {}}
    for session in kit.session_directories(root):
        files = _files_of(session)
        known = found["known"][files] = _known.get(files) or _look_at(session)
        for what in ("events", "doubled"):
            found[what] |= known[what]
        found["verdicts"][session.name] = known["verdict"]
    return found


def _files_of(session: Path) -> str:
    statuses = ((str(path), path.lstat()) for path in sorted(session.rglob("*")) if not path.is_dir())
    return repr([(name, status.st_ino, status.st_size, status.st_ctime_ns) for name, status in statuses])


def _look_at(session: Path) -> dict[str, Any]:
    found = verify(session).to_dict()
    with open_engine(session) as engine:
        rows = engine.rows(_BY_ID)
    events = list(kit.open_reader(session).events())
    read = Counter(event.id for event in events)
    doubled = {row["id"]: row["n"] for row in rows if row["n"] != 1}
    verdict = {
        **{name: found[name] for name in ("lost", "unknown", "damaged_lines", "torn_tails")},
        "edits": [] if found["chain"] is None else found["chain"]["edits"],
        "artifacts": len(found["damaged_artifacts"]),
        "parts": len(found["damaged_parts"]) + len(found["changed_files"]),
        "sound": found["sound"],
        "counted": sum(row["n"] for row in rows) - len(read),
    }
    return {
        "events": {event.id: encode_event(event).decode() for event in events},
        "doubled": doubled | {identity: times for identity, times in read.items() if times != 1},
        "verdict": verdict,
    }


def _looked(root: Path) -> Any:
    """What a process of its own reads of a tree; None where that fails."""
    _, found = apart(lambda: look(root), answers=True)
    if found is not None:
        _known.update(found.pop("known"))
    return found


def make_tree(root: Path) -> None:
    """Three sessions, the last of a program that was killed with half a line written."""
    kit.record(root)

    def killed() -> None:
        session = setup_logging(trace_root=root, segment_size_bytes=4096)
        for number in range(60):
            AgentLogger(f"new_{number % 3}").log_action("write", {"n": number, "text": "x" * 150})
        live = session.path / "agents" / "new_1.log"
        with live.open("ab") as file:
            file.write(live.read_bytes().splitlines()[-1][:50])
        os.kill(os.getpid(), signal.SIGKILL)

    apart(killed)


@dataclass
class Told:
    """What came of the kills of one tree."""

    kills: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def _killed_by_the_clock(root: Path, argv: list[str], after_s: float) -> int:
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            os._exit(run_command(root, argv))
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill(
    root: Path, argv: list[str], chance: random.Random, changes: int, whole_s: float
) -> tuple[str, bool]:
    """Kill a command somewhere in its changes or its time: where, and whether it was still at work."""
    if chance.random() < 0.25:
        after_s = chance.uniform(0, whole_s)
        return f"after {after_s:.3f} s", _killed_by_the_clock(root, argv, after_s) == -signal.SIGKILL
    k = chance.randint(1, max(changes, 1))

    def killed() -> None:
        die_before_change(k)
        run_command(root, argv)

    return f"before change {k} of {changes}", apart(killed)[0] == KILLED


def try_tree(root: Path, chance: random.Random, kills: int, commands: int = 6) -> Told:
    """Kill drawn commands over one tree until so many kills have struck."""
    told = Told()
    before = _looked(root)
    for _ in range(commands):
        if told.kills >= kills or not list_sessions(root):
            break
        argv = _drawn(chance, root)
        name = " ".join(argv)
        aside = root.with_name("aside")
        shutil.copytree(root, aside, symlinks=True)

        def whole(place: Path = aside, argv: list[str] = argv) -> list[int]:
            changes = die_before_change(0)
            return [run_command(place, argv), changes()]

        began = time.monotonic()
        _, (code, changes) = apart(whole, answers=True)
        whole_s = time.monotonic() - began
        wanted = _looked(aside)
        shutil.rmtree(aside)
        expect(told, name, "as it ends by itself", before, wanted, wanted)
        places = []
        for _ in range(chance.randint(2, MOST_KILLS_OF_A_COMMAND)):
            where, struck = _kill(root, argv, chance, changes, whole_s)
            told.kills += struck
            told.commands[argv[0]] += struck
            places.append(where)
            between = _looked(root)
            if between is None:
                told.problems.append(f"{name}, killed {places}: it cannot be read")
                return told
            expect(told, name, f"killed {places}", before, between, wanted)
            if not struck:
                break
        again = ["erase", "--yes"] if pending(root) is not None and chance.random() < 0.5 else argv
        _, last = apart(lambda argv=again: run_command(root, argv), answers=True)
        if last != code:
            told.problems.append(
                f"{name}, killed {places}: run again as {again}, it gives {last}, not {code}"
            )
        if again is not argv:
            apart(lambda argv=argv: run_command(root, argv), answers=True)
        after = _looked(root)
        if after != wanted:
            told.problems.append(f"{name}, killed {places}, run again: {differences(after, wanted)}")
        if plan_file(root).exists() or (argv[0] == "prune" and interrupted_removals(root)):
            told.problems.append(f"{name}, killed {places}, run again: something of it is left")
        if told.problems:
            return told
        before = after
    return told


def expect(told: Told, name: str, when: str, before: Any, found: Any, wanted: Any) -> None:
    """Whether nothing is missing that was not asked to go, nothing is new or twice, and the verdict is right."""
    said = []
    for what in ("events", "documents"):
        if not wanted[what].items() <= found[what].items():
            said.append(f"{what} missing: {sorted(wanted[what].items() - found[what].items())[:2]}")
        if not found[what].items() <= before[what].items():
            said.append(f"new {what}: {sorted(found[what].items() - before[what].items())[:2]}")
    if found["doubled"]:
        said.append(f"read twice: {list(found['doubled'].items())[:3]}")
    for session, verdict in found["verdicts"].items():
        was = before["verdicts"].get(session, {})
        if not verdict["sound"] and was.get("sound"):
            said.append(f"verify was sound and says {verdict} of {session}")
        if verdict["counted"]:
            said.append(f"{verdict['counted']} more are counted than read of {session}")
    told.problems += [f"{name}, {when}: {each}"[:700] for each in said]


def differences(found: Any, wanted: Any) -> str:
    """What differs between two looks."""
    parts = []
    for what, expected in wanted.items():
        if found is None or found[what] != expected:
            both = ({}, expected) if found is None else (found[what], expected)
            keys = [key for key in {**both[0], **both[1]} if both[0].get(key) != both[1].get(key)]
            parts.append(
                f"{len(keys)} {what}, such as {[(key, both[0].get(key), both[1].get(key)) for key in keys[:2]]}"
            )
    return "; ".join(parts)[:900]


def trees(directory: Path, kills: int, seed: int) -> Iterator[tuple[int, Told]]:
    """Trees with drawn commands, until so many kills have struck; one with a problem is kept."""
    template = directory / "template" / "trace"
    if apart(lambda: make_tree(template))[0] != ENDED:
        raise AssertionError("the tree cannot be recorded")
    for number in itertools.count(seed):
        place = directory / str(number)
        shutil.copytree(template, place / "trace", symlinks=True)
        told = try_tree(place / "trace", random.Random(number), kills)
        kills -= told.kills
        if not told.problems:
            shutil.rmtree(place)
        yield number, told
        if kills <= 0:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    # loaded once and not in each of the processes that are forked from here
    for module in (
        "duckdb",
        "Agent.archive.prune",
        "Agent.render.formats",
        "Agent.cli.commands.maintenance",
        "Agent.cli.commands.runs",
    ):
        importlib.import_module(module)
    # a killed process loses nothing that the kernel has
    os.fsync = os.fdatasync = lambda _fd: None
    directory = Path(tempfile.mkdtemp(prefix="command-kills-"))
    struck: Counter[str] = Counter()
    problems = 0
    for number, told in trees(directory, given.kills, given.seed):
        struck += told.commands
        problems += len(told.problems)
        for problem in told.problems:
            print(f"tree {number}: {problem}", flush=True)
    print(json.dumps({"kills": struck.total(), **struck, "problems": problems}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
