"""Programs of many pairs: each pair is one agent, one kind of value and one place, and one leaf that changes.

A program is Python text for one module. Whether a leaf changes is told by the environment variable CHANGED. The
same text with `PLAIN_HEAD` in the place of `TRACED_HEAD` is what the oracle runs: nothing of this project is there.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import value_kit
from drawn_leaves import DRAWN, draw
from value_kinds import KINDS, Kind
from value_places import PLACES, Place

TRACED_HEAD = """
from Agent import AgentLogger, send, setup_logging, shutdown_logging, trace_agent_action
from Agent.flight import record_tool, recorded_model
"""
PLAIN_HEAD = """
class AgentLogger:
    def __init__(self, *_): pass
    def log_decision(self, *_): pass

def send(to, body): pass
def setup_logging(**_): pass
def shutdown_logging(): pass
def unchanged(thing): return thing
trace_agent_action = record_tool = recorded_model = unchanged
"""
_HEAD = """
import asyncio
import json
import os
import sys
from value_kit import *

CHANGED = int(os.environ.get("CHANGED", "0"))
KEPT = {}

def at(n): return CHANGED if n >= 2 else 0
def keep(agent_id, value): KEPT.setdefault(agent_id, []).append((True, value))
def keep_plain(agent_id, value): KEPT.setdefault(agent_id, []).append((False, value))

class Agent:
    agent_role = "pair"

    def __init__(self, agent_id):
        self.agent_id, self.n = agent_id, 0
        self.logger = AgentLogger(agent_id, "pair")

class SlottedAgent:
    __slots__ = ("agent_id", "n")
    agent_role = "pair"

    def __init__(self, agent_id):
        self.agent_id, self.n = agent_id, 0
"""
_MODEL_HEAD = """
from smolagents import models as smol

class FakeModel(smol.Model):
    def generate(self, messages, **options):
        return smol.ChatMessage(role=smol.MessageRole.ASSISTANT, content="fine")

def ask_model(model, held):
    asked = smol.ChatMessage(role=smol.MessageRole.USER, content=[{"type": "text", "text": held}])
    return model.generate([asked]).content
"""
_TAIL = """
def build(spec):
    return MADE[spec.agent_id]()

def main(root):
    setup_logging(trace_root=root)
    agents, told = [], {}
    for agent_id, made in MADE.items():
        try:
            given = made()
            agent = given[agent_id] if isinstance(given, dict) else given
            agents.append(agent)
            PLAYED[agent_id](agent)
        except Exception as error:
            told[agent_id] = f"failed: {error!r}"
    shutdown_logging()
    for agent_id, kept in KEPT.items():
        if agent_id in told:
            continue
        try:
            told[agent_id] = [repr(LEAVES[agent_id](value) if is_value else value) for is_value, value in kept]
        except Exception as error:
            told[agent_id] = f"failed: {error!r}"
    print(json.dumps(told))

if __name__ == "__main__":
    main(sys.argv[1])
"""


@dataclass(frozen=True)
class Pair:
    """One kind of value at one place, with the leaf that changes."""

    number: str
    kinds: tuple[str, ...]
    """The kind, and those it holds from the outside inwards."""
    place: str
    make: str
    """An expression of `c`, 0 or 1."""
    path: str
    """An expression of `V`, the value."""
    unchanged_only: str

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return f"p{self.number}"


_PLACES = {place.name: place for place in PLACES}
_BY_NAME: dict[str, Kind | None] = {kind.name: kind for kind in KINDS} | {
    f"drawn {name}": None for name in DRAWN
}
ALL_KINDS = list(_BY_NAME)
FAMILIES = {name: kind.family if kind else "drawn by Hypothesis" for name, kind in _BY_NAME.items()}


@dataclass(frozen=True)
class Value:
    """An expression of `c`, and the path to its leaf."""

    kinds: tuple[str, ...]
    make: str
    path: str
    unchanged_only: str = ""

    def is_good(self, *, is_hashed: bool) -> bool:
        """Whether both values can be made, print another leaf each, and can be hashed where that is asked."""
        told = []
        for c in (0, 1):
            names = {**vars(value_kit), "c": c}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = eval(self.make, names)
                    if is_hashed:
                        hash(value)
                        {value: 0}[value]
                    told.append(repr(eval(self.path, {**names, "V": value})))
            except Exception:  # whatever it is: such a value is not made
                return False
        return told[0] != told[1]


def _filled(text: str, letter: str, by: str) -> str:
    return re.sub(rf"\b{letter}\b", lambda _: by, text)


def _leaf(holds: str, chance: random.Random) -> tuple[str, str]:
    """What stands for X in a kind that holds that, and the path to its leaf."""
    if holds == "flag":
        return "c", "V"
    if holds == "int" or (holds != "text" and chance.random() < 0.5):
        return f"(c + {chance.randrange(2, 9)})", "V"
    word = "".join(chance.choices("abcdefgh", k=chance.randrange(1, 8)))
    return f'("{word}a", "{word}b")[c]', "V"


def make_value(names: list[str], chance: random.Random, number: int) -> Value:
    """A value of the kinds of these names, each in the one before."""
    kind = _BY_NAME[names[0]]
    if kind is None:
        make, path = draw(names[0].removeprefix("drawn "), chance, number)
        return Value((names[0],), make, path)
    if len(names) > 1 and kind.holds == "any":
        inner = make_value(names[1:], chance, number)
        held, path, kinds, why = inner.make, inner.path, inner.kinds, inner.unchanged_only
    else:
        (held, path), kinds, why = _leaf(kind.holds, chance), (), ""
    outer = _filled(kind.path, "V", "(V)")
    made = _filled(kind.make, "X", f"({held})")
    return Value((kind.name, *kinds), made, _filled(path, "V", f"({outer})"), kind.unchanged_only or why)


def _holds_any(name: str) -> bool:
    kind = _BY_NAME[name]
    return kind is not None and kind.holds == "any"


NO_HASH = "it cannot be hashed"


def why_not(name: str, place: Place) -> str:
    """Why there is no pair of that kind at that place; "" where there is."""
    if place.lacking:
        return place.lacking
    chance = random.Random(name)
    if place.is_hashed and not any(make_value([name], chance, 0).is_good(is_hashed=True) for _ in range(3)):
        return NO_HASH
    return ""


def all_values(
    amount: int, seed: int, kinds: list[str], places: list[Place], depth: int, innermost: list[str]
) -> Iterator[tuple[Place, Value]]:
    """So many values and their places.

    Rounds go over all kinds at all places, each kind alone or within another that was not there yet. With fewer
    pairs than a round has, the kinds and places are drawn evenly. With `innermost`, each kind that can hold
    one of these holds one.
    """
    chance = random.Random(seed)
    left = amount
    rounds: dict[Place, Iterator[Value]] = {}
    places = [place for place in places if not place.lacking]
    while left > 0:
        begun = left
        for place in places:
            value = next(rounds.get(place, iter(())), None)
            if value is None:
                rounds[place] = _round(kinds, place, chance, seed, depth, innermost)
                value = next(rounds[place], None)
            if value is not None and left > 0:
                yield place, value
                left -= 1
        if left == begun:
            raise ValueError("no pair can be made of these kinds and places")


def _round(
    kinds: list[str], place: Place, chance: random.Random, seed: int, depth: int, innermost: list[str]
) -> Iterator[Value]:
    """Values that are of all the kinds, each once at least, or of all that hold others around `innermost`."""
    possible = [name for name in kinds if not place.is_hashed or not why_not(name, place)]
    holders = [name for name in possible if _holds_any(name)]
    others = [name for name in possible if not _holds_any(name)]
    chance.shuffle(holders)
    chance.shuffle(others)
    if innermost:
        others = [chance.choice(innermost) for _ in holders]
    chains = []
    while holders or (others and not innermost):
        chain = [names.pop() for names in (holders, others) if names]
        if depth > 1 and chance.random() < 0.15 and holders:
            chain.insert(0, holders.pop())
        chains.append(chain)
    chance.shuffle(chains)
    for chain in sorted(chains, key=_FirstOfFamilies()):
        value = make_value(chain, chance, seed) if depth else None
        if value is not None and value.is_good(is_hashed=place.is_hashed):
            yield value
        elif not innermost:
            for name in chain:
                yield _alone(name, place, chance, seed)


class _FirstOfFamilies:
    """A key that brings chains of a new family to the front, so that a few pairs are of all families."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, chain: list[str]) -> int:
        families = {FAMILIES[name] for name in chain}
        new = families - self.seen
        self.seen |= families
        return -len(new)


def _alone(name: str, place: Place, chance: random.Random, seed: int) -> Value:
    for _ in range(20):
        value = make_value([name], chance, seed)
        if value.is_good(is_hashed=place.is_hashed):
            return value
    raise ValueError(f"no value of the kind {name!r} has a leaf that changes: {value}")


def pairs_of(
    amount: int,
    seed: int,
    kinds: list[str],
    places: list[Place],
    depth: int = 2,
    innermost: list[str] | None = None,
) -> list[Pair]:
    """So many pairs, by seed."""
    return [
        Pair(f"{number:03}", value.kinds, place.name, value.make, value.path, value.unchanged_only)
        for number, (place, value) in enumerate(
            all_values(amount, seed, kinds, places, depth, innermost or [])
        )
    ]


def program_of(pairs: list[Pair]) -> str:
    """The text of a program of these pairs, without its head."""
    parts = [_HEAD]
    if any(_PLACES[pair.place].needs for pair in pairs):
        parts.append(_MODEL_HEAD)
    for pair in pairs:
        number = pair.number
        parts += [
            f"\n# {' of '.join(pair.kinds)} @ {pair.place}\n",
            f"def value_{number}(c): return {pair.make}\n",
            f"def leaf_{number}(V): return {pair.path}\n",
            _PLACES[pair.place].text(number),
        ]
    for table, name in (("MADE", "given"), ("PLAYED", "play"), ("LEAVES", "leaf")):
        entries = ", ".join(f'"{pair.agent_id}": {name}_{pair.number}' for pair in pairs)
        parts.append(f"\n{table} = {{{entries}}}\n")
    return "".join([*parts, _TAIL])
