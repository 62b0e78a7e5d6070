"""Facts from the recording about the agents that an issue names, at fault or not."""

from __future__ import annotations

from collections import Counter
from typing import Final

from Agent.analysis.debug.question.question import Question
from Agent.analysis.debug.root_causes import Log
from Agent.analysis.debug.root_causes.wording import moment
from Agent.render.formats import plural

_MAX_AGENTS: Final = 5
_MAX_SERIES: Final = 4


def observations(log: Log, question: Question) -> list[str]:
    """Compare how often named agents and their peers did what the text names, and list the agents' errors."""
    told = [
        f"No agent is called {word!r} here; {agent_id} is assumed."
        for agent_id, word in question.guessed.items()
    ]
    if not question.agents and not question.roles:
        told.append("The text names no agent or role of this session, so all agents were examined.")
    for agent in question.agents[:_MAX_AGENTS]:
        for series in question.series[:_MAX_SERIES]:
            told += _done(log, agent, series.partition(":")[2] or series)
        told += _errors(log, agent)
    return told


def _done(log: Log, agent: str, name: str) -> list[str]:
    acts = [act for act in log.acts if name in (act.name, act.kind) and act.kind != "error"]
    counts = Counter(act.agent for act in acts)
    role = log.roles.get(agent)
    others = sorted(counts[peer] for peer in log.peers.get(role or "", ()) if peer != agent)
    if not counts[agent] and not any(others):
        return []
    line = f"{agent} never called {name}"
    if counts[agent]:
        last = next(act for act in reversed(acts) if act.agent == agent)
        often = plural(counts[agent], "time")
        line = f"{agent} called {name} {often}, last at {moment(last)} (event {last.id})"
    if others:
        same = plural(others[0], "time") + " each" * (len(others) > 1)
        times = f"{others[0]} to {others[-1]} times" if others[0] != others[-1] else same
        line += f"; its {plural(len(others), 'peer')} {times}"
    return [f"{line}."]


def _errors(log: Log, agent: str) -> list[str]:
    errors = [act for act in log.acts if act.agent == agent and act.is_error]
    if not errors:
        return []
    common, number = Counter(act.message for act in errors).most_common(1)[0]
    last = next(act for act in reversed(errors) if act.message == common)
    line = f"{agent} has {plural(len(errors), 'error')}"
    if number < len(errors):
        line += f", {plural(number, 'time')}"
    return [f'{line} "{common}", last at {moment(last)} (event {last.id}).']
