"""The arithmetic of a generated session: who writes which number when; every id is known without a file.

Each agent has the same number of events in every tick, one for each slot of `lines`, so that the
number, the time and the spans of any event follow from (agent, tick, slot). `generator` writes by it.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from dataclasses import dataclass
from typing import Final

from Agent.errors import UsageError

__all__ = ["GROUP_EVENTS", "METRIC_EVENTS", "SLOTS", "Plan", "make_plan"]

SLOTS: Final = 12
"""Events of one agent in one tick."""
GROUP_EVENTS: Final = 4
"""Events of no single agent that each process writes in a tick."""
METRIC_EVENTS: Final = 3
"""Performance metrics in a tick."""
START_US: Final = 1_795_170_645_000_000
"""2026-11-20T10:30:45Z, so that a session depends on its seed alone."""
LEARNING_TICKS: Final = 8
LEAST_TICKS: Final = 8

_DRAW_MODULUS: Final = 2_147_483_647
_ROLES: Final = ("creator", "curator", "critic")


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a session is, and where each event of it stands."""

    seed: int
    agents: int
    ticks: int
    processes: int

    @property
    def writers(self) -> tuple[str, ...]:
        """The writer of each process."""
        return tuple(self._writer(number) for number in range(self.processes))

    @property
    def metric_writer(self) -> str:
        """The writer of the performance metrics."""
        return self._writer(self.processes)

    def _writer(self, number: int) -> str:
        digest = hashlib.blake2b(f"{self.seed} {number}".encode(), digest_size=5).digest()
        return b32encode(digest).decode().lower()

    def own_agents(self, process: int) -> int:
        """How many agents a process runs: agent n belongs to process n modulo the number of processes."""
        return (self.agents - process + self.processes - 1) // self.processes

    def base(self, process: int) -> int:
        """The numbers before the first tick: two of the system, a first state of each agent."""
        return 2 + self.own_agents(process)

    def stride(self, process: int) -> int:
        """The numbers of one tick."""
        return self.own_agents(process) * SLOTS + GROUP_EVENTS

    def last_seq(self, process: int) -> int:
        """The number of a process's `log.closed`: behind the ticks stand an end and a last state of each."""
        return self.base(process) + self.ticks * self.stride(process) + 1 + self.own_agents(process) + 1

    @property
    def metrics(self) -> int:
        """All numbers of the writer of metrics."""
        return 2 + self.ticks * METRIC_EVENTS

    @property
    def events(self) -> int:
        """All events, before anything is damaged."""
        return sum(self.last_seq(process) for process in range(self.processes)) + self.metrics

    @property
    def step_us(self) -> int:
        """Microseconds between two events of a process."""
        return max(1, min(200, 900_000 // max(self.stride(process) for process in range(self.processes))))

    @property
    def tick_us(self) -> int:
        """Microseconds of a tick."""
        longest = max(self.stride(process) for process in range(self.processes)) * self.step_us
        return max(1_000_000, longest + 1000)

    def agent_id(self, agent: int) -> str:
        """The id of an agent."""
        return f"agent_{agent:05d}"

    def role(self, agent: int) -> str:
        """The role of an agent."""
        return _ROLES[agent % len(_ROLES)]

    def seq(self, agent: int, tick: int, slot: int) -> int:
        """The number of an agent's event."""
        process = agent % self.processes
        at = self.base(process) + tick * self.stride(process)
        return at + agent // self.processes * SLOTS + slot + 1

    def event_id(self, agent: int, tick: int, slot: int) -> str:
        """The id of an agent's event."""
        return f"{self.writers[agent % self.processes]}-{self.seq(agent, tick, slot)}"

    def group_id(self, process: int, tick: int, place: int) -> str:
        """The id of an event of no single agent."""
        at = self.base(process) + tick * self.stride(process) + self.own_agents(process) * SLOTS
        return f"{self.writers[process]}-{at + place + 1}"

    def sender_to(self, agent: int, tick: int) -> int:
        """Whose message of the tick before an agent receives in a tick."""
        return (agent - 1 - (tick - 1) % 7) % self.agents

    def draw(self, what: int, bound: int) -> int:
        """A number below `bound` that depends on the seed alone."""
        digest = hashlib.blake2b(f"{self.seed} draw {what}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % bound

    # the same in SQL

    def per_process(self, values: list[int] | list[str], agent: str = "a") -> str:
        """A value that depends on the process of an agent."""
        listed = ", ".join(repr(value) for value in values)
        return f"([{listed}])[({agent}) % {self.processes} + 1]" if self.processes > 1 else repr(values[0])

    def seq_sql(self, agent: str, tick: str, slot: str) -> str:
        """`seq` as an expression."""
        base = self.per_process([self.base(p) for p in range(self.processes)], agent)
        stride = self.per_process([self.stride(p) for p in range(self.processes)], agent)
        return f"({base} + ({tick}) * {stride} + ({agent}) // {self.processes} * {SLOTS} + ({slot}) + 1)"

    def id_sql(self, agent: str, tick: str, slot: str) -> str:
        """`event_id` as an expression."""
        writer = self.per_process(list(self.writers), agent)
        return f"concat({writer}, '-', {self.seq_sql(agent, tick, slot)})"

    def draw_sql(self, what: int, agent: str = "a", tick: str = "t") -> str:
        """A number from 0 to 1 for an agent in a tick; the arithmetic is the same in every engine."""
        placed = f"(({agent}) * 7919 + ({tick})) * 104729 + {what * 1299709 + self.seed * 15485863}"
        reduced = f"(({placed}) % {_DRAW_MODULUS})"
        return f"({reduced} * {reduced} % {_DRAW_MODULUS} / {_DRAW_MODULUS}.0)"


def make_plan(events: int, agents: int, seed: int, processes: int) -> Plan:
    """The plan of a session of about that many events; fewer agents where they would not get eight ticks.

    Raises:
        UsageError: a number is out of range.
    """
    for name, value, least in (("events", events, 200), ("agents", agents, 2), ("processes", processes, 1)):
        if value < least:
            raise UsageError(f"{name} is {value}", remedy=f"use at least {least}")
    if not 0 <= seed < 1_000_000:
        raise UsageError(f"seed is {seed}", remedy="use 0 to 999999")
    agents = max(2, min(agents, events // (LEAST_TICKS * (SLOTS + 2))))
    processes = min(processes, agents)
    fixed = Plan(seed, agents, 0, processes).events
    a_tick = agents * SLOTS + processes * GROUP_EVENTS + METRIC_EVENTS
    return Plan(seed, agents, max(LEAST_TICKS, round((events - fixed) / a_tick)), processes)
