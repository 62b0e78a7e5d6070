"""Worlds in which agents, their peers and an untraced scheduler write the same things, replayed.

    python tests/mutations/world_trials.py [--worlds 40] [--seed N] [--no-program] [--useless]

Each world is made by chance from the statements below. Unchanged it has to be IDENTICAL. Then one statement of an
action is changed or taken out. What the world shows after each action, also of those that agents call of each other,
in a run without tracing, tells whether that had an effect: such a change must not be green, and one without must not
be red. Exit code 1 where a verdict is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program_trials import call

HEAD = """
import json
import random
import zlib

import numpy as np

from Agent import trace_agent_action

SHOWN = None
COUNT = 0
STREAM = np.random.default_rng(11)


class Item:
    def __init__(self, value):
        self.value = value


class Clock:
    def __init__(self):
        self.time, self.book = 0, {"a": [1]}


class World:
    def __init__(self):
        self.level, self.share, self.flag = 0, 1.5, False
        self.draws, self.stream = random.Random(3), np.random.default_rng(9)
        self.grid, self.prices, self.board = np.zeros((3, 3)), {"tea": 3}, [[0, 0], [0, 0]]
        self.queue, self.tags, self.inner, self.agents = [], set(), Clock(), []


def plain(field):
    name, value = field
    if isinstance(value, random.Random):
        return name, zlib.crc32(repr(value.getstate()).encode())
    if isinstance(value, np.random.Generator):
        return name, value.bit_generator.state["state"]
    if isinstance(value, Clock):
        return name, value.time, value.book
    if name == "items":
        return name, [item.value for item in value]
    return name, None if name in ("world", "peer", "agents") else sorted(value) if name == "tags" else value


def show(agent, result):
    if SHOWN:
        world = agent.world
        seen = [[plain(field) for field in vars(each).items()] for each in world.agents]
        rest = [plain(field) for field in vars(world).items()]
        rest += [("COUNT", COUNT), plain(("STREAM", STREAM))]
        with open(SHOWN, "a") as file:
            file.write(json.dumps([agent.agent_id, repr(result), repr(seen), repr(rest)]) + "\\n")
"""
READS = """self.world.level|self.world.share|int(self.world.flag)|int(self.world.grid.sum())|sum(self.world.prices.values())
len(self.world.queue)|len(self.world.tags)|self.world.board[1][0]|sum(self.world.inner.book['a'])|self.world.inner.time
self.world.draws.randint(0, 9)|int(self.world.stream.integers(0, 9))|int(STREAM.integers(0, 9))|COUNT|self.x|len(self.box)
self.own.randint(0, 9)|sum(item.value for item in self.items)|len(self.peer.box)|self.peer.x|self.clock.time"""
ACTS = """self.x += {r} % {k}|self.y = ({r} * {k}) % 97|self.log.append({r} % {k})|self.items.append(Item({k}))|self.own.random()
self.box and self.box.pop(0)|self.clock.time += {k}|self.peer.x += {k}|self.peer.y = ({r} + {k}) % 31|self.peer.log.append({k})
self.peer.items.append(Item({k}))|self.peer.box.append((n, {k}))|self.peer.marks['t{k}'] = n|self.peer.note(n + {k})
self.peer.fresh_{k} = n|[each.box.append({k}) for each in self.world.agents if each is not self and n % {k} == 0]
self.world.level += {k}|self.world.flag = not self.world.flag|self.world.prices[f'p{{n % {k}}}'] = {k}|self.world.queue.append({k})
self.world.grid[(n + {k}) % len(self.world.grid), 0] += 1|self.world.queue and self.world.queue.pop()|self.world.stream.random()
self.world.board[n % 2][1] += {k}|self.world.inner.book['a'].append(n % {k})|self.world.draws.random()|STREAM.random()"""
OUTSIDE = """world.level += {k}|world.share = round(world.share * 0.5 + {k}, 3)|world.flag = not world.flag|world.draws.random()
world.stream.random()|world.grid = world.grid * 0.5 + {k}|world.grid[step % 3] += {k}|world.prices['tea'] += {k}
world.prices = {{**world.prices, 'q': step}}|world.queue.append(step)|world.queue.clear()|world.tags.add(step % {k})
world.board[step % 2][0] += {k}|world.inner.book['a'].append({k})|world.inner.time += {k}|each.clock.time += {k}|COUNT += {k}
STREAM.random()|each.own.random()|each.x += {k}|each.y = {k}|each.box.append({k})|each.log.append({k})|each.marks['s'] = {k}
each.items.append(Item({k}))|world.agents[-1].x += {k}|world.agents[-1].box.append({k})"""
AGENT = """

class {cls}:
    def __init__(self, number, world):
        self.agent_id, self.world, self.peer = f"{cls}{{number}}", world, None
        self.x, self.y, self.log, self.items, self.box, self.marks = number, 0, [], [], [], {{}}
        self.clock, self.own = {clock}, random.Random(number)

    @trace_agent_action
    def note(self, n):
        self.y = (self.y + n) % 53
        show(self, self.y)
        return self.y

    @trace_agent_action
    def act(self, n):
        global COUNT
{statements}
        result = {result}
        show(self, result)
        return result
"""
TAIL = """

def fresh():
    world = World()
    world.agents = [cls(number, world) for cls in ({classes},) for number in range(2)]
    for number, agent in enumerate(world.agents):
        agent.peer = world.agents[number - 1]
    return world


def build(spec):
    return {{agent.agent_id: agent for agent in fresh().agents}}


world = fresh()


def main():
    global COUNT
    for step in range(20):
        for each in world.agents:
            if step >= {start} and ({often} or each is world.agents[0]):
{statements}
            each.act(step)
"""
RUN = "import importlib, sys; made = importlib.import_module(sys.argv[1]); made.SHOWN = sys.argv[2]; made.main()"
RECORD = (
    "import importlib, sys; from Agent import setup_logging, shutdown_logging; made = importlib.import_module(sys.argv[1]); "
    "setup_logging(trace_root=sys.argv[2], state=sys.argv[3]); made.main(); shutdown_logging()"
)


@dataclass(frozen=True)
class World:
    """A program, and the same with one statement of an action changed or taken out."""

    name: str
    source: str
    changed: str
    state: str
    """How much of the agents is recorded, as `setup_logging(state=...)` takes it."""


def world_of(seed: int, number: int) -> World:
    """The world that a seed and a number make."""
    rng = random.Random(f"{seed}-{number}")

    def drawn(statements: str) -> str:
        text = rng.choice(re.split(r"[|\n]", statements))
        return text.format(r=rng.choice(re.split(r"[|\n]", READS)), k=rng.randint(2, 9))

    classes = ["A", "B"][: rng.randint(1, 2)]
    lines: list[str] = []
    source = HEAD
    for cls in classes:
        own = [f"        {drawn(ACTS)}" for _ in range(rng.randint(1, 4))]
        lines += own
        clock = rng.choice(["Clock()", "world.inner"])
        result = rng.choice(["self.x + self.y", "self.y", rng.choice(re.split(r"[|\n]", READS))])
        source += AGENT.format(cls=cls, clock=clock, statements="\n".join(own), result=result)
    outside = "\n".join(f"                {drawn(OUTSIDE)}" for _ in range(rng.randint(1, 4)))
    # Not before the first actions: what a factory does not make has to be built there.
    start, often = rng.choice([1, 2, 7]), rng.random() < 0.5
    source += TAIL.format(classes=", ".join(classes), start=start, often=often, statements=outside)
    line = rng.choice(lines)
    digit = list(re.finditer(r"\b[2-9]\b", line))
    is_changed = bool(digit) and rng.random() < 0.4
    at = digit[-1].start() if is_changed else 0
    other = f"{line[:at]}{int(line[at]) % 9 + 1}{line[at + 1 :]}" if is_changed else "        pass"
    state = rng.choice(["exit", "exit", "strict"])
    return World(f"world_{seed}_{number}", source, source.replace(f"{line}\n", f"{other}\n", 1), state)


def problems(
    world: World,
    directory: Path,
    tally: Counter[str] | None = None,
    *,
    options: Sequence[str] = (),
    useless: list[str] | None = None,
) -> Iterator[str]:
    """What is wrong with the verdicts for a world.

    Args:
        options: of `agent-trace replay`.
        useless: takes the reports of changes without an effect of which nothing is proved.
    """
    path, root = directory / f"{world.name}.py", directory / "recorded"
    path.write_text(world.source)
    before = _shown(world.name, directory)
    _python(directory, "-c", RECORD, world.name, str(root), world.state)
    verdict, _ = _verdict(world.name, directory, root, options)
    found = Counter([f"unchanged: {verdict}"])
    if verdict != "IDENTICAL":
        yield f"{world.name} unchanged ({world.state}): {verdict}"
    path.write_text(world.changed)
    after = _shown(world.name, directory)
    verdict, report = _verdict(world.name, directory, root, options)
    is_told = any(name.endswith(".world") for name in report["at_full_states"]) and _is_only_on_the_way(
        before, after
    )
    effect = "without" if after == before else "with passing" if is_told else "with"
    found[f"changed {effect} effect: {verdict}"] += 1
    if effect == "with" and verdict not in {"DIVERGED", "UNVERIFIED"}:
        yield f"{world.name} changed ({world.state}): {verdict}"
    if effect == "without" and verdict == "DIVERGED":
        yield f"{world.name} changed without an effect ({world.state}): {verdict}"
    if useless is not None and effect != "with" and verdict == "UNVERIFIED":
        useless.append(
            f"{world.name} changed {effect} effect ({world.state}): {'; '.join(report['reasons'])}"
        )
    if tally is not None:
        tally.update(found)


def _is_only_on_the_way(before: str, after: str) -> bool:
    """Whether agents and results are the same throughout, and the world that they share at the end."""
    one, other = ([json.loads(line) for line in text.splitlines()] for text in (before, after))
    return [row[:3] for row in one] == [row[:3] for row in other] and one[-1] == other[-1]


def _shown(name: str, directory: Path) -> str:
    file = directory / "shown.txt"
    file.unlink(missing_ok=True)
    _python(directory, "-c", RUN, name, str(file))
    return file.read_text()


def _verdict(name: str, directory: Path, root: Path, options: Sequence[str]) -> tuple[str, dict[str, Any]]:
    done = _python(
        directory, "-m", "Agent", "replay", "last", "--target", f"{name}:build", "--root", str(root), "--json",
        *options, check=False,
    )  # fmt: skip
    if not done.startswith("{"):
        return done, {"at_full_states": [], "reasons": []}
    report = json.loads(done)
    return str(report["verdict"]), report


def _python(directory: Path, *arguments: str, check: bool = True) -> str:
    done = call(list(arguments), directory)
    if check and done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--no-program", action="store_true", help="do not run the program again as a whole")
    parser.add_argument(
        "--useless", action="store_true", help="print why changes without an effect prove nothing"
    )
    given = parser.parse_args()
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    useless: list[str] = []
    options = ["--no-program"] if given.no_program else []
    for number in range(given.worlds):
        with tempfile.TemporaryDirectory() as directory:
            world = world_of(given.seed, number)
            wrong += problems(world, Path(directory), tally, options=options, useless=useless)
    print(f"seed {given.seed}")
    for what, count in sorted(tally.items()):
        print(f"{count:5} {what}")
    for each in useless if given.useless else ():
        print(each)
    for each in wrong:
        print(f"wrong: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
