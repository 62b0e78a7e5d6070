"""Requests to this process, one after the other, as somebody at the command line makes them."""

from __future__ import annotations

import threading
import time
from typing import Any

from Agent.config.recording import current_session
from Agent.tree.files.control import request
from Agent.tree.layout import control_dir

answers: list[dict[str, Any]] = []


def begin(*asked: dict[str, Any]) -> threading.Thread:
    """Make the requests from a thread; the first one waits for the next tick when this returns."""
    session = current_session().path
    answers.clear()

    def ask() -> None:
        for each in asked:
            answers.append(request(session, {"by": "tester", **each}, 30))

    thread = threading.Thread(target=ask)
    thread.start()
    while not (control_dir(session) / "request.json").exists():
        time.sleep(0.001)
    return thread


def change(agent_id: str, field: str, value: Any) -> dict[str, Any]:
    """Return the request for a change of a field."""
    return {"command": "set", "agent_id": agent_id, "field": field, "value": value, "text": str(value)}


PAUSE, RESUME = {"command": "pause"}, {"command": "resume"}


def step(ticks: int = 1) -> dict[str, Any]:
    """Return the request for a number of ticks."""
    return {"command": "step", "ticks": ticks}
