"""Routes by which a page controls the running program of a session; `guard.py` says who may ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from Agent.errors import InputError
from Agent.tree.files import control

_WAIT_S: Final = 10.0


class AskedControl(BaseModel):
    """A request to a running program, as a page asks for it."""

    model_config = ConfigDict(extra="forbid")

    command: Literal["pause", "step", "resume", "set"]
    ticks: int = Field(1, ge=1, le=1_000_000, description="of a step")
    agent: str = Field("", max_length=1_000, description="of a change")
    field: str = Field("", max_length=1_000, description="of a change")
    text: str = Field("", max_length=100_000, description="its new value: JSON, or a text")


def control_routes(path_of: Callable[[str], Path]) -> APIRouter:
    """Return the routes.

    Args:
        path_of: returns the directory of a session by its name.
    """
    routes = APIRouter(prefix="/api")

    @routes.get("/{session}/control")
    def status(session: str) -> dict[str, Any]:
        try:
            program = control.controlled(path_of(session))
        except InputError as error:
            return {"state": "none", "why": error.message}
        return {"state": program.state, "tick": program.tick, "since": program.since}

    @routes.post("/{session}/control")
    def ask(session: str, asked: AskedControl) -> dict[str, Any]:
        given: dict[str, Any] = {"command": asked.command, "by": f"{control.user_name()}, in a page"}
        if asked.command == "set":
            value = control.parsed(asked.text)
            given |= {"agent_id": asked.agent, "field": asked.field, "value": value, "text": asked.text}
        elif asked.command == "step":
            given["ticks"] = asked.ticks
        try:
            answer = control.request(path_of(session), given, _WAIT_S)
        except (control.NoTick, InputError) as error:
            return {"done": False, "why": str(error)}
        refused = answer.get("refused")
        if refused is not None:
            return {"done": False, "why": "; ".join(filter(None, (refused["message"], refused["remedy"])))}
        return {"done": True, **{name: value for name, value in answer.items() if name != "id"}}

    return routes
