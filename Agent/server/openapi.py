"""The OpenAPI document of an app, with what its routes have in common: parameters, refusals, who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

from Agent.server.settings import ServerRole, ServerSettings

__all__ = ["complete_openapi"]

_PARAMETERS: Final = {
    "trace_id": "A run by its id, or a session by its UUID.",
    "checkpoint_id": "A checkpoint by its id, as listed.",
    "replay_id": "A replay by its id.",
    "run_id": "A run by its full id.",
    "agent_id": "An agent by its id, as sent.",
    "agent_version": "A version of agents.",
    "status": "How runs ended; `running` if no end is known.",
    "failure_type": "Which part failed: tool, model, retrieval or orchestration.",
    "failure_code": "How it failed, such as timeout.",
    "kind": "A kind of events, such as tool.call.",
    "min_level": "Events of this level and above.",
}
_OPEN: Final = frozenset({"/health"})
_REFUSAL: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of a project. Not needed on a server that listens on loopback only.",
}


def complete_openapi(app: FastAPI, role: ServerRole, settings: ServerSettings) -> None:
    """Lets the app's document describe each parameter, and where keys are needed the scope of each route."""
    made: Callable[[], dict[str, Any]] = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        told = made()
        told.setdefault("components", {})["securitySchemes"] = {"key": _SCHEME}
        for path, operations in told["paths"].items():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    known = _PARAMETERS.get(parameter["name"])
                    if known is not None:
                        parameter.setdefault("description", known)
                for status, answer in operation["responses"].items():
                    if status >= "400":  # in the shape of all, whatever the route itself answers in
                        answer["content"] = _REFUSAL
                if path not in _OPEN and settings.needs_keys:
                    operation["security"] = [{"key": ["replay" if path.startswith("/api/") else role]}]
        return told

    app.openapi = document  # type: ignore[method-assign]  # which is how FastAPI has it
