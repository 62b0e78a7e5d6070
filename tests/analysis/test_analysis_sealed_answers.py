"""Every report of a session is the same whether its lines stand as files or sealed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from known import Known

from Agent.analysis import LogAnalyzer

AGENT = "agent_00003"

QUESTIONS: dict[str, Callable[[LogAnalyzer], Any]] = {
    "learning of all": lambda ask: ask.learning_report(),
    "learning of one": lambda ask: ask.learning_report(AGENT),
    "learning by time": lambda ask: ask.learning_report(AGENT, "time"),
    "lineage": lambda ask: ask.learning_lineage(AGENT),
    "interactions": lambda ask: ask.interaction_report(edges=True),
    "performance": lambda ask: ask.performance_report(),
    "journey": lambda ask: ask.journey_overview(AGENT, gaps=True),
    "steps": lambda ask: ask.trace_agent_journey(AGENT, nested=True),
    "state": lambda ask: ask.state_at(AGENT, 20),
    "field": lambda ask: ask.field_changes(AGENT, "ticks"),
    "checkpoints": lambda ask: ask.checkpoints(AGENT),
}


def same(one: Any, other: Any, at: str = "") -> None:
    """Equal, floating-point sums but for rounding: the order in which an engine adds is its own."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one:
            same(one[key], other[key], f"{at}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), at
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            same(left, right, f"{at}/{number}")
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), at
    else:
        assert one == other, at


@pytest.mark.integration
@pytest.mark.parametrize("question", QUESTIONS)
def test_live_and_sealed_answers_are_the_same(known: Known, question: str) -> None:
    live, sealed = LogAnalyzer(known.truth.session), LogAnalyzer(known.sealed.session)
    try:
        assert not list(known.sealed.session.glob("agents/*.log")), "nothing but the archive is left"
        same(QUESTIONS[question](live), QUESTIONS[question](sealed))
    finally:
        live.close()
        sealed.close()
