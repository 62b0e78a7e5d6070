"""What the events of one agent or category have in common, prepared once: stream, envelope, heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
"""One number, which an event adds to without a call."""


class HeadRoom:
    """What the agents of one pipeline share: room for prepared heads, and counts of what was written."""

    __slots__ = ("left", "written")

    def __init__(self, left: int = 65_536) -> None:
        self.left = left
        self.written: dict[tuple[str, str, str | None], Cell] = {}
        """(kind, level, agent id) to the number of events written, those of the buffer included."""

    def cell(self, kind: str, level: int, agent_id: str | None) -> Cell:
        """The count of what is alike."""
        return self.written.setdefault((kind, LEVEL_NAMES[level], agent_id), [0])


class Slot:
    """One kind of event at one level from one binding: the bytes before and after what differs."""

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
        # its agent may stand in the payload, and what is an error is looked at by the summary
        self.is_read = self.urgent or binding.agent_id is None
        self.mirror = binding.mirror_of(self.category) if binding.mirror_of is not None else None
        self.heads: dict[str, bytes] = {}
        # a message's label names two agents, so that hardly one comes again
        self.most_heads = 0 if kind == "agent_message" else _MAX_HEADS
        self.emit_plain = binding.emit_plain
        own = {"agent_id": binding.agent_id, "agent_role": binding.agent_role, "event_type": kind}
        present = {key: value for key, value in own.items() if value is not None}
        self.extra_alone = b',"extra":' + orjson.dumps(present)[:-1]
        self.extra = self.extra_alone + b","
        # "Agent action: {action_type}" gives its beginning; a richer template is filled in by the caller.
        before, brace, after = row.message.partition("{")
        self.prefix = before if brace and after.find("}") == len(after) - 1 else ""
        self.own_keys = _own_keys(kind, *present)

    def head(self, label: str) -> bytes:
        """The bytes from `schema_version` to `message`; kept for labels that come again."""
        label = as_text(label)
        head = self.heads.get(label)
        if head is None:
            text = clean_head(self.prefix + label, self.binding.redactor.text)
            head = (
                self.binding.envelope
                + orjson.dumps(
                    {
                        "level": LEVEL_NAMES[self.level],
                        "logger": self.binding.logger,
                        "message": text,
                    }
                )[1:-1]
            )
            if (
                len(self.heads) < self.most_heads
                and len(label) <= _MAX_KEPT_CHARS
                and self.binding.room.left > 0
            ):
                self.binding.room.left -= 1
                self.heads[label] = head
        return head


@lru_cache(maxsize=512)
def _own_keys(kind: str, *present: str) -> frozenset[str]:
    """The keys of the payload that are ours; one set for all agents, of which there may be many thousands."""
    return frozenset(present) | {field.name for field in KINDS[kind].fields}


class AgentBinding:
    """An agent, or a category where there is no agent, as one pipeline writes it.

    Args:
        stream: where its events are kept.
        envelope: the bytes `","schema_version":...,"session_id":"...",` that follow the id.
        emit_plain: the pipeline's short way for plain payloads.
        mirror_of: gives for a category the function that takes copies of its lines, None for none.
        room: what it shares with others of the same pipeline; one of its own by default.
    """

    __slots__ = (
        "agent_id",
        "agent_role",
        "category",
        "emit_plain",
        "envelope",
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

    def slot(self, kind: str, level: int) -> Slot:
        """The prepared bytes for a kind at a level."""
        slot = self.slots.get((kind, level))
        if slot is None:
            slot = self.slots[kind, level] = Slot(self, kind, level)
        return slot
