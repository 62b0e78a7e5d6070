"""Sessions written by hand: a builder of single events, and a small content platform with faults planted in it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.kinds import Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.tree.layout import agents_dir, category_file, create_session_dir, safe_name

START_US = 1_795_170_645_000_000
WRITER = "aaaabbbb"


class SessionBuilder:
    """Writes events one by one into the files in which they belong; time stands still until `pass_time`."""

    def __init__(self, root: Path, session_id: str = "20261120_103045", writer: str = WRITER) -> None:
        self.root = root
        self.path, self.session_id = create_session_dir(root, session_id)
        self.writer = writer
        self.seq = 0
        self.now_us = START_US
        self.tick: int | None = None
        self.events: list[Event] = []
        self._spans = 0

    def pass_time(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)

    def span(self) -> str:
        self._spans += 1
        return f"{self._spans:016x}"

    def emit(
        self,
        kind: str,
        agent: str | None = None,
        *,
        role: str | None = None,
        level: str = "INFO",
        message: str | None = None,
        span: str | None = None,
        parent: str | None = None,
        causes: tuple[str, ...] = (),
        state: dict[str, Any] | None = None,
        **extra: Any,
    ) -> str:
        """Write one event; its id. Each takes ten microseconds."""
        self.seq += 1
        self.now_us += 10
        row = KINDS.get(kind)
        own: dict[str, Any] = {}
        if agent is not None:
            own["agent_id"] = agent
        if role is not None:
            own["agent_role"] = role
        if row is None or row.home is Home.LOG:
            own["event_type"] = kind
        event = Event(
            timestamp=format_timestamp(self.now_us),
            id=f"{self.writer}-{self.seq}",
            schema_version=1,
            kind=kind,
            session_id=self.session_id,
            level=level,
            logger="agent",
            message=f"{kind} {extra.get('action_type', '')}".strip() if message is None else message,
            span_id=span,
            parent_span_id=parent,
            causes=causes,
            tick=self.tick,
            extra=own | extra,
            state=state,
        )
        self.write_line(encode_event(event), agent, kind)
        self.events.append(event)
        return event.id

    def file_of(self, agent: str | None, kind: str = "log") -> Path:
        if agent is not None:
            return agents_dir(self.path) / f"{safe_name(agent)}.log"
        category = KINDS[kind].category.value if kind in KINDS else "system"
        return self.path / f"{category_file(category)}.log"

    def write_line(self, line: bytes, agent: str | None = None, kind: str = "log") -> None:
        with self.file_of(agent, kind).open("ab") as file:
            file.write(line)


class Platform:
    """Creators that create content tick by tick, with a trend tool that fails now and then.

    `fault` is None, or one of blocked, collapse, retry, quit (see `_is_stuck` and `_create`), planted in `victim`
    from `fault_tick` on.
    """

    def __init__(
        self,
        root: Path,
        *,
        fault: str | None = None,
        victim: str = "creator_005",
        fault_tick: int = 40,
        creators: int = 12,
        ticks: int = 80,
        seed: int = 7,
        with_ticks: bool = True,
        blocked_field: tuple[str, Any] = ("mood", "discouraged"),
    ) -> None:
        self.builder = SessionBuilder(root)
        self.random = random.Random(seed)
        self.fault, self.victim, self.fault_tick = fault, victim, fault_tick
        self.creators = [f"creator_{n:03d}" for n in range(creators)]
        self.followers = dict.fromkeys(self.creators, 10)
        self.blocked_field = blocked_field
        self.facts: dict[str, str] = {}
        for agent in self.creators:
            fields = {"followers": 10, "mood": "eager", "epsilon": 0.2, "backlog": [], "posts": 0}
            self.builder.emit("state", agent, role="creator", fields=fields, reason="first", digest="0" * 16)
        self.posts = dict.fromkeys(self.creators, 0)
        for tick in range(ticks):
            if with_ticks:
                self.builder.tick = tick
            for agent in self.creators:
                self._step(agent, tick)
            self.builder.pass_time(0.05)

    def _step(self, agent: str, tick: int) -> None:
        build = self.builder
        build.pass_time(0.0005)
        faulty = self.fault is not None and agent == self.victim and tick >= self.fault_tick
        if faulty and self.fault == "retry":
            self._retry(agent)
            return
        stuck = faulty and self.fault in {"blocked", "quit"}
        if faulty and tick == self.fault_tick and self.fault == "blocked":
            self._block(agent)
        elif not stuck and self.random.random() < 0.75:
            self._create(agent, faulty)
        else:
            build.emit(
                "agent_action", agent, role="creator", span=build.span(), action_type="rest",
                args={}, result=None, duration_ms=0.01, root=True,
            )  # fmt: skip

    def _tool(self, caller_span: str, fails: bool) -> str | None:
        """A call of the trend tool inside a span; the id of its error if it fails."""
        build = self.builder
        span = build.span()
        error = None
        if fails:
            error = build.emit(
                "error", "trend_tool", role="tool", level="ERROR", parent=span,
                message="TrendToolError: upstream timed out", error_type="TrendToolError",
                error_message="upstream timed out", action_type="fetch_trends",
            )  # fmt: skip
        outcome = {"outcome": "error", "error_id": error} if fails else {"result": ["ai"]}
        build.emit(
            "agent_action", "trend_tool", role="tool", span=span, parent=caller_span,
            action_type="fetch_trends", args={"n": 3}, duration_ms=0.02, **outcome,
        )  # fmt: skip
        return error

    def _create(self, agent: str, faulty: bool) -> None:
        build = self.builder
        span = build.span()
        if faulty and self.fault == "collapse" and "strategy" not in self.facts:
            self.facts["strategy"] = build.emit(
                "strategy_update", agent, role="creator", message="Strategy update: content_mix",
                strategy_type="content_mix", old_strategy={"video": 0.7}, new_strategy={"video": 0.0},
            )  # fmt: skip
        self._tool(span, self.random.random() < 0.04)
        explore = self.random.random() < 0.2
        build.emit(
            "exploration", agent, role="creator", parent=span, level="DEBUG",
            action_selected="video", exploration=explore, epsilon=0.2,
        )  # fmt: skip
        build.emit(
            "content_generation",
            agent,
            role="creator",
            parent=span,
            content_type="video",
            content_id=f"c{build.seq}",
        )
        mean = 0.2 if faulty and self.fault == "collapse" else 1.0
        reward = self.random.gauss(mean, 0.3)
        build.emit("reward", agent, role="creator", parent=span, reward=reward, action_id=f"a{build.seq}")
        self.followers[agent] += self.random.randrange(5)
        self.posts[agent] += 1
        build.emit(
            "agent_action", agent, role="creator", span=span, action_type="create_content",
            message="Agent action: create_content", args={"topic": "ai"}, result={"ok": True},
            duration_ms=self.random.uniform(0.05, 0.2), root=True,
            state={"set": {"followers": self.followers[agent], "posts": self.posts[agent]}, "unset": []},
        )  # fmt: skip

    def _block(self, agent: str) -> None:
        build = self.builder
        span = build.span()
        self.facts["error"] = self._tool(span, True) or ""
        name, value = self.blocked_field
        self.facts["trigger"] = build.emit(
            "agent_action", agent, role="creator", span=span, action_type="create_content",
            message="Agent action: create_content", args={"topic": "ai"}, result=None, duration_ms=0.1, root=True,
            state={"set": {name: value}, "unset": []},
        )  # fmt: skip

    def _retry(self, agent: str) -> None:
        build = self.builder
        for _ in range(3):
            span = build.span()
            error = build.emit(
                "error", agent, role="creator", level="ERROR", parent=span, message="RateLimited: try again",
                error_type="RateLimited", error_message="try again", action_type="publish",
            )  # fmt: skip
            self.facts.setdefault("first_error", error)
            build.emit(
                "agent_action", agent, role="creator", span=span, action_type="publish", args={"draft": 1},
                outcome="error", error_id=error, duration_ms=0.1, root=True,
            )  # fmt: skip
