"""The common parts of the events of one agent or category, prepared once: stream, envelope, heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import orjson

from Agent.event.kinds import LEVEL_NAMES
from Agent.event.payloads import KINDS
from Agent.record.encode.redaction import Redactor
from Agent.record.encode.safe_text import as_text, clean_head
from Agent.tree.write.sink import Stream

EmitPlain = Callable[["Slot", str, dict[str, Any]], str]
MirrorOf = Callable[[str], Callable[[bytes], None] | None]

MAX_HEADS = 1024
"""Heads that are kept of one kind at one level from one logger."""
_MAX_KEPT_CHARS = 256
_NAMING_AGENTS = frozenset({"agent_message", "state"})
"""Kinds whose labels name agents and rarely recur, so that their heads are not kept."""


Cell = list[int]
"""A counter in a list, which events increment without a function call."""


class HeadRoom:
    """What the slots of one pipeline share, and how many more heads are kept."""

    __slots__ = ("left", "shared", "written")

    def __init__(self, left: int = 65_536) -> None:
        self.left = left
        self.shared: dict[tuple[bytes, str, str, bool, bool], dict[tuple[str, int], SharedSlot]] = {}
        """By envelope, logger, category, whether there is an agent id and a role; then by kind and level."""
        self.written: dict[tuple[str, str], dict[str | None, Cell]] = {}
        """(kind, level) and agent id to the number of events written, including those in the buffer."""

    def cells(self, kind: str, level: int) -> dict[str | None, Cell]:
        """Return the counters of events with this kind and level, by agent."""
        return self.written.setdefault((kind, LEVEL_NAMES[level]), {})


class SharedSlot:
    """What is the same in the slots of all agents with one logger, for one kind of event at one level."""

    __slots__ = (
        "category", "cells", "extra", "head", "heads", "key", "mirror", "most_heads", "own_keys", "prefix",
        "urgent",
    )  # fmt: skip

    def __init__(self, binding: AgentBinding, kind: str, level: int) -> None:
        row = KINDS[kind]
        self.key = kind, level
        self.category = binding.category if kind == "log" else row.category.value
        self.urgent = level >= 40
        self.cells = binding.room.cells(kind, level)
        self.mirror = binding.mirror_of(self.category) if binding.mirror_of is not None else None
        shown = {"level": LEVEL_NAMES[level], "logger": binding.logger}
        self.head = b'%s%s,"message":' % (binding.envelope, orjson.dumps(shown)[1:-1])
        """The bytes from `schema_version` to the text of `message`."""
        self.heads: dict[str, bytes] = {}
        """Both, by label."""
        self.most_heads = 0 if kind in _NAMING_AGENTS else MAX_HEADS
        self.extra = b'"event_type":"%s"' % kind.encode()
        self.prefix = _prefix(kind)
        own = {
            "agent_id": binding.agent_id is not None,
            "agent_role": binding.agent_role is not None,
            "event_type": True,
        }
        self.own_keys = frozenset(key for key, is_own in own.items() if is_own) | {
            field.name for field in row.fields
        }
        """The payload keys that this package defines."""


class Slot:
    """One kind of event at one level from one binding, with the bytes that are the same in all of them."""

    __slots__ = (
        "binding", "emit_plain", "extra", "extra_alone", "heads", "is_read", "kind", "level", "mirror",
        "shared", "written",
    )  # fmt: skip

    def __init__(self, binding: AgentBinding, shared: SharedSlot) -> None:
        self.binding, self.shared = binding, shared
        self.kind, self.level = shared.key
        agent_id = binding.agent_id
        written = shared.cells.get(agent_id)
        self.written = shared.cells.setdefault(agent_id, [0]) if written is None else written
        # The summary reads errors, and events without an agent, whose payload may name one.
        self.is_read = shared.urgent or agent_id is None
        self.mirror = shared.mirror
        self.heads = shared.heads
        self.emit_plain = binding.emit_plain
        self.extra_alone = binding.extra + shared.extra
        self.extra = self.extra_alone + b","

    @property
    def category(self) -> str:
        """The category of the events."""
        return self.shared.category

    @property
    def urgent(self) -> bool:
        """Whether they are errors, which are flushed at once."""
        return self.shared.urgent

    @property
    def own_keys(self) -> frozenset[str]:
        """The payload keys that this package defines."""
        return self.shared.own_keys

    def head(self, label: str) -> bytes:
        """Return the bytes from `schema_version` to `message`; cached by label."""
        label = as_text(label)
        head = self.heads.get(label)
        if head is None:
            binding, shared = self.binding, self.shared
            text = clean_head(shared.prefix + label, binding.redactor.text)
            head = shared.head + orjson.dumps(text)
            room = binding.room
            if len(self.heads) < shared.most_heads and len(label) <= _MAX_KEPT_CHARS and room.left > 0:
                room.left -= 1
                self.heads[label] = head
        return head


@cache
def _prefix(kind: str) -> str:
    """Return the beginning of a kind's messages, such as "Agent action: ".

    It is empty for templates with more fields, which the caller fills in.
    """
    before, brace, after = KINDS[kind].message.partition("{")
    return before if brace and after.find("}") == len(after) - 1 else ""


class AgentBinding:
    """Prepared bytes for the events of an agent, or of a category for events without an agent.

    Args:
        agent_id: its id as it is written, without secrets.
        stream: the stream that its events are written to.
        envelope: the bytes `","schema_version":...,"session_id":"...",` that follow the id.
        emit_plain: the pipeline's fast path for plain payloads.
        mirror_of: returns the function that takes copies of a category's lines, or None.
        room: shared with other bindings of the pipeline; default: a new one.
    """

    __slots__ = (
        "agent_id",
        "agent_role",
        "category",
        "emit_plain",
        "envelope",
        "extra",
        "given_id",
        "logger",
        "mirror_of",
        "redactor",
        "room",
        "shared",
        "slots",
        "stream",
    )

    def __init__(
        self,
        *,
        agent_id: str | None,
        agent_role: str | None,
        logger: str,
        category: str,
        stream: Stream,
        envelope: bytes,
        redactor: Redactor,
        emit_plain: EmitPlain,
        mirror_of: MirrorOf | None = None,
        room: HeadRoom | None = None,
    ) -> None:
        self.agent_id = agent_id
        self.agent_role = agent_role
        self.given_id = agent_id
        """Its id in the program, which differs if it holds a secret."""
        self.logger = logger
        self.category = category
        self.stream = stream
        self.envelope = envelope
        self.redactor = redactor
        self.mirror_of = mirror_of
        self.room = room or HeadRoom()
        self.emit_plain = emit_plain
        self.slots: dict[tuple[str, int], Slot] = {}
        key = envelope, logger, category, agent_id is not None, agent_role is not None
        self.shared = self.room.shared.get(key) or self.room.shared.setdefault(key, {})
        own = {"agent_id": agent_id, "agent_role": agent_role}
        present = orjson.dumps({key: value for key, value in own.items() if value is not None})[:-1]
        self.extra = b',"extra":' + present + (b"," if len(present) > 1 else b"")
        """The beginning of `extra`, up to the kind of event."""

    def slot(self, kind: str, level: int) -> Slot:
        """Return the prepared bytes for a kind of event at a level."""
        slot = self.slots.get((kind, level))
        if slot is None:
            shared = self.shared.get((kind, level))
            if shared is None:
                shared = self.shared.setdefault((kind, level), SharedSlot(self, kind, level))
            slot = self.slots[shared.key] = Slot(self, shared)
        return slot
