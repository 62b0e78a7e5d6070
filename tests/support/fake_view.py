"""A session of three events in memory, in place of `Agent.view`: what the app makes of answers and errors."""

from __future__ import annotations

import json
import struct
from typing import Any

from Agent.errors import AgentNotFound, EventNotFound, UsageError

HOSTILE = "<script>alert(1)</script>\u202e\x00\x1b[31m"


class FakeView:
    """Answers each question with its parameters, so that a test sees what arrived."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def wait(self, timeout_s: float) -> bool:
        return True

    def overview(self) -> dict[str, Any]:
        return {
            "session_id": self.session_id,
            "lanes": [{"agent": HOSTILE, "role": "tool"}],
            "pad": "x" * 4000,
        }

    def fork(self, **given: Any) -> dict[str, Any]:
        return {"state": "pending", "asked": given}

    def window(self, **given: Any) -> bytes:
        if given["px"] > 4000:
            raise UsageError("px is above 4000", remedy="ask for less")
        head = json.dumps(given).encode()
        return struct.pack("<I", len(head)) + head

    def events(self, **given: Any) -> dict[str, Any]:
        return {"events": [], "more": False, "asked": given}

    def event(self, event_id: str, *, links: bool = True) -> dict[str, Any]:
        if event_id == "missing-1":
            raise EventNotFound(f"no event has the id {event_id}", remedy="search for it")
        return {"event": {"id": event_id, "lone": "\ud800", "large": 1 << 80, "odd": float("nan")}}

    def state(self, *, agent: str, t: float) -> dict[str, Any]:
        raise AgentNotFound(f"no agent {agent}")

    def __getattr__(self, name: str) -> Any:
        if name not in {"arrows", "counters", "why", "series", "step", "findings", "search"}:
            raise AttributeError(name)
        return lambda **given: {"question": name, "asked": given}
