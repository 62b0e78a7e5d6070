"""The agents whose decorated method is timed: the same body under each decorator, and under none."""

from __future__ import annotations

from typing import Any

import eliot

from Agent import trace_agent_action


class Undecorated:
    """The body alone: its own cost is in every figure of a decorator."""

    def act(self, topic: str, budget: int) -> dict[str, Any]:
        return {"topic": topic, "spent": budget, "ok": True}


class Eliot:
    """The body under eliot's decorator, which writes a start and an end."""

    @eliot.log_call
    def act(self, topic: str, budget: int) -> dict[str, Any]:
        return {"topic": topic, "spent": budget, "ok": True}


class Stateless:
    """No exposed state beyond who it is."""

    def __init__(self) -> None:
        self.agent_id = "creator_001"
        self.agent_role = "creator"

    def trace_state(self) -> dict[str, Any]:
        return {}

    @trace_agent_action(action_type="act")
    def act(self, topic: str, budget: int) -> dict[str, Any]:
        return {"topic": topic, "spent": budget, "ok": True}


class TenFields:
    """Ten exposed fields, of which each call changes one."""

    def __init__(self) -> None:
        self.agent_id = "creator_001"
        self.agent_role = "creator"
        self.followers = 0
        self.mood = "calm"
        self.energy = 0.75
        self.topics = ["ai", "tech"]
        self.best = {"video": 0.5, "text": 0.25}
        self.seen = 17
        self.rank = 3
        self.active = True
        self.region = "north"
        self.epsilon = 0.1

    @trace_agent_action(action_type="act")
    def act(self, topic: str, budget: int) -> dict[str, Any]:
        self.followers += 1
        return {"topic": topic, "spent": budget, "ok": True}
