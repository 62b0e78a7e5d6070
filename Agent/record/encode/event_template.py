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

_MAX_HEADS = 512
_MAX_KEPT_CHARS = 256


Cell = list[int]
"""A counter in a list, which events increment without a function call."""


class HeadRoom:
    """Shared by the agents of one pipeline: common heads, how many more are kept, and counts of events."""

    __slots__ = ("common", "left", "written")

    def __init__(self, left: int = 65_536) -> None:
        self.left = left
        self.common: dict[tuple[int, str, str], bytes] = {}
        """(level, logger, message) to the head, which agents of one role share."""
        self.written: dict[tuple[str, str, str | None], Cell] = {}
        """(kind, level, agent id) to the number of events written, including those in the buffer."""

    def cell(self, kind: str, level: int, agent_id: str | None) -> Cell:
        """Return the counter of events with this kind, level and agent."""
        return self.written.setdefault((kind, LEVEL_NAMES[level], agent_id), [0])


class Slot:
    """One kind of event at one level from one binding, with the bytes that are the same in all of them."""

    __slots__ = (
        "binding",
        "category",
        "emit_plain",
        "extra",
        "extra_alone",
        "heads",
        "is_read",
        "kind",
        "level",
        "mirror",
        "most_heads",
        "own_keys",
        "prefix",
        "urgent",
        "written",
    )

    def __init__(self, binding: AgentBinding, kind: str, level: int) -> None:
        self.binding = binding
        self.kind = kind
        self.level = level
        row = KINDS[kind]
        self.category = binding.category if kind == "log" else row.category.value
        self.urgent = level >= 40
        self.written = binding.room.cell(kind, level, binding.agent_id)
        # The summary reads errors, and events without an agent, whose payload may name one.
        self.is_read = self.urgent or binding.agent_id is None
        self.mirror = binding.mirror_of(self.category) if binding.mirror_of is not None else None
        self.heads: dict[str, bytes] = {}
        # The label of a message names two agents and rarely recurs, so its heads are not cached.
        self.most_heads = 0 if kind == "agent_message" else _MAX_HEADS
        self.emit_plain = binding.emit_plain
        self.extra_alone = b'%s"event_type":"%s"' % (binding.extra, kind.encode())
        self.extra = self.extra_alone + b","
        self.prefix = _prefix(kind)
        self.own_keys = _own_keys(kind, binding.agent_id is not None, binding.agent_role is not None)

    def head(self, label: str) -> bytes:
        """Return the bytes from `schema_version` to `message`; cached by label."""
        label = as_text(label)
        head = self.heads.get(label)
        if head is None:
            head = self._common_head(self.prefix + label)
            if (
                len(self.heads) < self.most_heads
                and len(label) <= _MAX_KEPT_CHARS
                and self.binding.room.left > 0
            ):
                self.binding.room.left -= 1
                self.heads[label] = head
        return head

    def _common_head(self, message: str) -> bytes:
        """Return the bytes for a message; cached for the agents with the same logger."""
        common, key = self.binding.room.common, (self.level, self.binding.logger, message)
        head = common.get(key)
        if head is None:
            text = clean_head(message, self.binding.redactor.text)
            shown = {"level": LEVEL_NAMES[self.level], "logger": self.binding.logger, "message": text}
            head = self.binding.envelope + orjson.dumps(shown)[1:-1]
            if len(common) < _MAX_HEADS and len(message) <= _MAX_KEPT_CHARS:
                common[key] = head
        return head


@cache
def _prefix(kind: str) -> str:
    """Return the beginning of a kind's messages, such as "Agent action: ".

    It is empty for templates with more fields, which the caller fills in.
    """
    before, brace, after = KINDS[kind].message.partition("{")
    return before if brace and after.find("}") == len(after) - 1 else ""


@cache
def _own_keys(kind: str, has_id: bool, has_role: bool) -> frozenset[str]:
    """Return the payload keys that this package defines; one shared set, since there may be many agents."""
    own = {"agent_id": has_id, "agent_role": has_role, "event_type": True}
    return frozenset(key for key, is_own in own.items() if is_own) | {
        field.name for field in KINDS[kind].fields
    }


class AgentBinding:
    """Prepared bytes for the events of an agent, or of a category for events without an agent.

    Args:
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
        "logger",
        "mirror_of",
        "redactor",
        "room",
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
        self.logger = logger
        self.category = category
        self.stream = stream
        self.envelope = envelope
        self.redactor = redactor
        self.mirror_of = mirror_of
        self.room = room or HeadRoom()
        self.emit_plain = emit_plain
        self.slots: dict[tuple[str, int], Slot] = {}
        own = {"agent_id": agent_id, "agent_role": agent_role}
        present = orjson.dumps({key: value for key, value in own.items() if value is not None})[:-1]
        self.extra = b',"extra":' + present + (b"," if len(present) > 1 else b"")
        """The beginning of `extra`, up to the kind of event."""

    def slot(self, kind: str, level: int) -> Slot:
        """Return the prepared bytes for a kind of event at a level."""
        slot = self.slots.get((kind, level))
        if slot is None:
            slot = self.slots[kind, level] = Slot(self, kind, level)
        return slot
