"""The faults that can be planted in a generated session, and the events that a perfect analyst would name.

A fault is a change of some agents' events from a tick on, for a recorded reason; `lines` asks
where, `generator` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from Agent.errors import UsageError

from .plan import LEARNING_TICKS, Plan

__all__ = ["FAULTS", "Fault", "find", "plant"]

_LEAST_TICKS: Final = 32
_TORN_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault.

    `cause_ids` are the events that explain it, the first cause first; `complaint` is what somebody who does
    not know the cause would say.
    """

    name: str
    agent: int
    agent_id: str
    tick: int
    complaint: str
    explanation: str
    cause_ids: tuple[str, ...]
    effects: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "agent"}
        return shown | {"cause_ids": list(self.cause_ids)}


def find(faults: Sequence[Fault], name: str) -> Fault | None:
    """The fault of that name, if it is planted."""
    return next((fault for fault in faults if fault.name == name), None)


def plant(plan: Plan, names: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of those names, each at agents of its own, in the second half of the session.

    Raises:
        UsageError: there is no such fault, or the session is too short or too small for them.
    """
    unknown = sorted(set(names).difference(FAULTS))
    if unknown:
        raise UsageError(f"there is no fault {unknown[0]!r}", remedy=f"use {', '.join(FAULTS)}")
    if names and (plan.ticks < _LEAST_TICKS or plan.agents < 3 * len(FAULTS)):
        raise UsageError(
            f"{plan.ticks} ticks of {plan.agents} agents are too few to plant faults",
            remedy=f"use at least {_LEAST_TICKS} ticks and {3 * len(FAULTS)} agents: more events",
        )
    order = sorted(range(len(FAULTS)), key=lambda place: plan.draw(place, 1 << 30))
    chosen = []
    for place, name in enumerate(FAULTS):
        if name in names:
            # far enough apart that nobody is hit by two
            agent = (plan.draw(100, plan.agents) + order[place] * (plan.agents // len(FAULTS))) % plan.agents
            tick = plan.ticks // 2 + plan.draw(200 + place, max(plan.ticks // 8, 1))
            chosen.append(FAULTS[name](plan, agent, tick))
    return tuple(chosen)


def _stuck_loop(plan: Plan, agent: int, tick: int) -> Fault:
    who = plan.agent_id(agent)
    return Fault(
        "stuck_loop",
        agent,
        who,
        tick,
        f"{who} publishes nothing new since tick {tick}",
        "its draft was locked, and it tries to publish the same draft again in every tick",
        (plan.event_id(agent, tick - 1, 8), plan.event_id(agent, tick, 3)),
        {"action_type": "retry_publish", "repeats": plan.ticks - tick, "error_type": "DraftLocked"},
    )


def _latency_step(plan: Plan, agent: int, tick: int) -> Fault:
    return Fault(
        "latency_step",
        agent,
        plan.agent_id(agent),
        tick,
        f"everything got slow around tick {tick}",
        "the size of the connection pool was set from 32 to 1, so every lookup takes twenty times as long",
        (plan.group_id(0, tick, 3),),
        {"operation": "lookup", "factor": 20},
    )


def _reward_collapse(plan: Plan, agent: int, tick: int) -> Fault:
    tick = tick // LEARNING_TICKS * LEARNING_TICKS + LEARNING_TICKS - 1
    who = plan.agent_id(agent)
    return Fault(
        "reward_collapse",
        agent,
        who,
        tick,
        f"the rewards of {who} collapsed",
        "a policy update made of one learning step set the learning rate to 10 and the quality weight to 0",
        (plan.event_id(agent, tick, 10), plan.event_id(agent, tick, 9)),
        {"mean_before": 1.0, "mean_after": 0.1},
    )


def _poisoned_message(plan: Plan, agent: int, tick: int) -> Fault:
    who, sender = plan.agent_id(agent), plan.sender_to(agent, tick)
    return Fault(
        "poisoned_message",
        agent,
        who,
        tick,
        f"lookups of {who} fail all the time",
        f"a message of {plan.agent_id(sender)} replaced its index by none",
        (
            plan.event_id(sender, tick - 1, 6),
            plan.event_id(agent, tick, 7),
            plan.event_id(agent, tick, 8),
        ),
        {"sender": plan.agent_id(sender), "error_type": "IndexMissing"},
    )


def _missing_action(plan: Plan, agent: int, tick: int) -> Fault:
    who = plan.agent_id(agent)
    return Fault(
        "missing_action",
        agent,
        who,
        tick,
        f"why does {who} never publish any more?",
        "a strategy update set its rate of publishing from 0.75 to 0",
        (plan.event_id(agent, tick - 1, 8),),
        {"action_type": "publish"},
    )


def _torn_file(plan: Plan, agent: int, tick: int) -> Fault:
    who = plan.agent_id(agent)
    return Fault(
        "torn_file",
        agent,
        who,
        tick,
        f"events of {who} are missing",
        "lines of its file are gone, one is torn",
        (),
        {
            "lost_ids": [plan.event_id(agent, tick + place, 0) for place in range(_TORN_LINES)],
            "torn_id": plan.event_id(agent, tick + _TORN_LINES, 0),
        },
    )


FAULTS: Final[dict[str, Callable[[Plan, int, int], Fault]]] = {
    "stuck_loop": _stuck_loop,
    "latency_step": _latency_step,
    "reward_collapse": _reward_collapse,
    "poisoned_message": _poisoned_message,
    "missing_action": _missing_action,
    "torn_file": _torn_file,
}
"""What can be planted, by name."""
