"""What a case is: a world, a kind of fault, and everything else drawn from a seed. `cases.py` lists them all.

The truth is caught while the simulation runs: ids that logging calls returned, and for decorated actions
places in the record that `record_scan.py` looks up afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

Range = tuple[int, int]


@dataclass(frozen=True)
class Seek:
    """A place in the record: the events of an agent with that kind, and action, at that tick."""

    agent_id: str
    event_type: str
    tick: int
    action_type: str | None = None
    contains: str = ""
    """Text that the line must hold."""
    first: int = 1
    """How many of the matching events count, in the order of the file."""


@dataclass
class Truth:
    """What really was the cause: any of these events names it."""

    ids: list[str] = field(default_factory=list)
    seeks: list[Seek] = field(default_factory=list)

    def note(self, *ids: str) -> None:
        """Take ids that logging calls returned."""
        self.ids += ids

    def seek(self, agent_id: str, action_type: str, tick: int, contains: str = "", first: int = 1) -> None:
        """Take a decorated action, to be looked up in the record afterwards."""
        self.seeks.append(Seek(agent_id, "agent_action", tick, action_type, contains, first))

    def seek_event(self, agent_id: str, event_type: str, tick: int, contains: str = "") -> None:
        """Take an event of another kind, whose id the program was not given."""
        self.seeks.append(Seek(agent_id, event_type, tick, contains=contains))


class Plan:
    """The parameters of one session, all drawn from its seed; `fault` is None in a healthy one."""

    def __init__(self, seed: str, world: str, fault: str | None, sizes: Range, ticks: Range):
        self.rng = random.Random(f"{world}/{seed}")
        self.seed = seed
        self.fault = fault
        self.size = self.rng.randint(*sizes)
        self.ticks = self.rng.randint(*ticks)
        self.at = round(self.ticks * self.rng.uniform(0.3, 0.6))
        self.victim = self.rng.randrange(self.size)
        self.other = (self.victim + self.rng.randrange(1, self.size)) % self.size
        self.seen_at = min(self.ticks - 2, self.at + self.rng.randint(3, 7))
        self.numbers = self.rng.sample(range(100, 999), self.size)

    def name(self, prefix: str, index: int) -> str:
        """The id of one agent: numbers have gaps, as they do in practice."""
        return f"{prefix}_{self.numbers[index]}"

    def begins(self, kind: str, tick: int) -> bool:
        """Whether this is the tick in which this fault happens."""
        return self.fault == kind and tick == self.at

    def chance(self, name: str) -> random.Random:
        """A generator of its own for one agent, so that a fault in one leaves others' draws alone."""
        return random.Random(f"{self.seed}/{name}")


@dataclass(frozen=True)
class World:
    """A simulation: how it is run, its sizes, and what a user says of each kind of fault in it."""

    name: str
    run: Callable[[Plan, Truth], None]
    prefix: str
    """What the ids of the agents begin with that faults happen to."""
    sizes: Range
    ticks: Range
    complaints: Mapping[str, str]
    """By kind of fault; `{victim}` is an agent's id, `{when}` a tick at which the symptom is plain."""

    def plan(self, seed: str, fault: str | None) -> Plan:
        """The parameters of a session; the same for a case and its healthy twin."""
        return Plan(seed, self.name, fault, self.sizes, self.ticks)

    def complaint(self, kind: str, plan: Plan) -> str:
        """What the user says, who sees the symptom alone."""
        return self.complaints[kind].format(
            victim=plan.name(self.prefix, plan.victim),
            when=plan.seen_at,
        )


@dataclass(frozen=True)
class Case:
    """One kind of fault in one world; its name is its seed."""

    kind: str
    world: World

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.world.name}"


def digest(text: str) -> str:
    """What fixed rules sort by: without meaning, the same everywhere."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
