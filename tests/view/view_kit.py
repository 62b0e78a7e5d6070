"""What the tests of the view share: sessions, and slow answers made of their plain lines."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from support.session_files import kind_of, session_events

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.event.clock import parse_timestamp
from Agent.view import SessionView

SESSION = "(session)"


class Creator:
    """An agent whose fields change, that fails at times, and that talks to another."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.agent_role = "creator"
        self.posts = 0
        self.mood = "calm"
        self.log = AgentLogger(name, "creator")

    @trace_agent_action
    def publish(self, topic: str) -> int:
        self.posts += 1
        if self.posts % 5 == 0:
            self.mood = f"tired of {topic}"
            raise TimeoutError(f"no answer about {topic}")
        return self.posts


def record(root: Path, names: tuple[str, ...] = ("ada", "bob", "cy_10", "cy_9"), steps: int = 12) -> Path:
    """Record a small session with the real loggers; its directory."""
    setup_logging(trace_root=root, level="DEBUG", mirrors=False)
    creators = [Creator(name) for name in names]
    for step in range(steps):
        with tick(step):
            for number, creator in enumerate(creators):
                try:
                    creator.publish(f"topic {step}")
                except TimeoutError:
                    creator.log.warning("gave up")
                if step % 3 == 0:
                    other = creators[(number + 1) % len(creators)]
                    other.log.receive(creator.log.send(other.agent_id, {"at": step}))
                if step % 4 == 0:
                    creator.log.log_decision("topic", {"chosen": f"Ümläut {step}"})
    shutdown_logging()
    (session,) = root.glob("session_*")
    return session


@contextmanager
def viewed(session: Path) -> Iterator[SessionView]:
    """A view of a session whose index is complete."""
    view = SessionView(session)
    try:
        assert view.wait(30)
        yield view
    finally:
        view.close()


class Slow:
    """The answers made from every line, one after the other."""

    def __init__(self, session: Path) -> None:
        self.events = session_events(session)
        self.first_us = parse_timestamp(self.events[0]["timestamp"])
        self.rows = [(self.t(e), self.agent(e), self.is_error(e), self.duration_us(e)) for e in self.events]
        """(time, agent, whether it is an error, duration in microseconds) of each event."""

    def t(self, event: dict[str, Any]) -> int:
        return parse_timestamp(event["timestamp"]) - self.first_us

    @staticmethod
    def payload(event: dict[str, Any]) -> dict[str, Any]:
        return event if "type" in event else event["extra"]

    def agent(self, event: dict[str, Any]) -> str:
        return self.payload(event).get("agent_id", SESSION)

    def is_error(self, event: dict[str, Any]) -> bool:
        level = event.get("level", "INFO")
        return kind_of(event) == "error" or (
            level in ("ERROR", "CRITICAL") and self.payload(event).get("error_id") is None
        )

    def duration_us(self, event: dict[str, Any]) -> float:
        return 1000 * (self.payload(event).get("duration_ms") or 0.0) if event.get("span_id") else 0.0

    @property
    def length_us(self) -> int:
        return self.t(self.events[-1])

    def ticks(self) -> list[tuple[int, int]]:
        firsts: dict[int, int] = {}
        for event in self.events:
            if event.get("tick") is not None:
                firsts.setdefault(event["tick"], self.t(event))
        return sorted(firsts.items())


def decoded(answer: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A window's answer: its head, and its columns by name."""
    (size,) = struct.unpack_from("<I", answer)
    head = json.loads(answer[4 : 4 + size])
    at = -(-(4 + size) // 8) * 8
    if head["mode"] == "bins":
        lanes = head["to"] - head["from"]
        cells = lanes * head["px"]
        bins = np.frombuffer(answer, np.uint8, cells, at).reshape(lanes, -1)
        assert at + cells == len(answer)
        return head, {"activity": bins & 127, "has_error": bins >= 128}
    columns = {}
    for name, code in (
        ("t", "<f8"),
        ("duration", "<f4"),
        ("row", "<u4"),
        ("lane", "<u4"),
        ("kind", "u1"),
        ("flags", "u1"),
    ):
        columns[name] = np.frombuffer(answer, code, head["count"], at)
        at += columns[name].nbytes
    assert at == len(answer)
    return head, columns
