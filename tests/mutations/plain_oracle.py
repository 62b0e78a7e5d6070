"""Whether a mutation changes what a program does, told by running it without this project.

The script is run on agents of the mutated text, begun from the state in which the original's agents began, as
a re-drive begins. What counts: what each call gave or raised, every field of every agent behind it, all that
was called and logged on the way, and how far each source of chance and time was read.
"""

from __future__ import annotations

import copy
import random
import sys
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import plain_doubles
from made_programs import AGENTS, PLAIN_HEAD, Program

Outcome = list[dict[str, Any]]
"""What a program did: for each call, and once more at the end, the parts of it by name."""


def outcome_of(program: Program, body: str | None = None, *, is_by_actions: bool = False) -> Outcome:
    """What the program does, or what it does with another text for its body.

    Args:
        is_by_actions: look at an agent behind its own calls alone. What is written to it between these counts as
            far as its next action knows of it: nobody else acts on it.
    """
    namespace = _loaded(program, program.body if body is None else body)
    agents = namespace["make"](AGENTS)
    for agent_id, began in _loaded(program, program.body)["make"](AGENTS).items():
        _put(agents[agent_id], began, agents)
    plain_doubles.SEEN.clear()
    plain_doubles.time.readings = 0
    random.seed(program.seed)
    found: Outcome = []

    def after(agents: dict[str, Any], number: int, ending: Any) -> None:
        told = {"ending": plain(ending), "seen": [plain(note) for note in plain_doubles.SEEN]}
        told["sources"] = (random.getstate(), plain_doubles.time.readings)
        for agent_id, agent in agents.items():
            if is_by_actions and number >= 0 and namespace["SCRIPT"][number][0] != agent_id:
                continue
            told |= {f"{agent_id}.{name}": plain(value) for name, value in vars(agent).items()}
        found.append(told)
        plain_doubles.SEEN.clear()

    namespace["play"](agents, after)
    if "kept" in program.traits:
        after(agents, -1, None)
    return found


def changes(one: Outcome, other: Outcome) -> set[str]:
    """In what two outcomes differ: `ending`, `seen`, `sources`, `agent.field`, or the number of calls."""
    found = set() if len(one) == len(other) else {"calls"}
    for left, right in zip(one, other, strict=False):
        found |= {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}
    return found


def changes_on_the_way(one: Outcome, other: Outcome) -> set[str]:
    """What differs, and is the same again at the end."""
    return changes(one, other) - changes(one[-1:], other[-1:])


def _loaded(program: Program, body: str) -> dict[str, Any]:
    module = ModuleType("plain_program")
    sys.modules[module.__name__] = module  # a dataclass looks there for what its annotations name
    exec(compile(PLAIN_HEAD + body, program.name, "exec"), vars(module))
    return vars(module)


def _put(agent: Any, began: Any, agents: dict[str, Any]) -> None:
    """Give an agent the fields with which the original began, other agents and loggers left out."""
    for name, value in vars(began).items():
        if not hasattr(value, "agent_id") and not isinstance(value, plain_doubles.AgentLogger):
            setattr(agent, name, copy.deepcopy(value))


def plain(value: Any) -> Any:
    """A value as tuples and texts that are equal only where kind and contents are."""
    kind = type(value).__name__
    if isinstance(value, plain_doubles.AgentLogger):
        return kind
    if isinstance(value, dict):
        return kind, tuple(sorted((repr(plain(key)), plain(item)) for key, item in value.items()))
    if isinstance(value, (set, frozenset)):
        return kind, tuple(sorted(repr(plain(item)) for item in value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(plain(item) for item in value)
    if isinstance(value, random.Random):
        return kind, value.getstate()
    if hasattr(value, "agent_id"):
        return "agent", value.agent_id
    if is_dataclass(value):
        return kind, tuple((field.name, plain(getattr(value, field.name))) for field in fields(value))
    return kind, repr(value)
