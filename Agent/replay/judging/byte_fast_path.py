"""The short way to compare: what an action is about to write and what the recording has of it, to the byte.

Where both are equal, the line need not be made, decoded and compared value by value, which takes longer than
most actions do. Whatever differs, or may not say the same, is written and goes the long way: `judge.py` also
says in what two differ.
"""

from __future__ import annotations

import orjson

from Agent.event.model import Event
from Agent.record.emit.opening import LineSink
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import Slot
from Agent.replay.plan.actions import DrivenAction

_TOKEN = b"[redacted:"
_NUMBER = b"0123456789.e+-"
_SPAN, _STAMP, _ID = b',"span_id":"', b'{"timestamp":"', b'","id":"'
_NO_IDS: list[str] = []
_LABELS = ("action_type", "learning_stage")


class ExpectedLine:
    """Stands before the sink of a replay, and holds back a replayed action's line that says what it should.

    Args:
        pipeline: what records the replay.
        sink: where it records to.
    """

    def __init__(self, pipeline: Pipeline, sink: LineSink) -> None:
        self._sink = sink
        self._write = pipeline.put
        self._heads: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._agent_id: str | None = None
        self._before = self._behind = b""
        self._held: tuple[Slot, bytes, bytes, bytes, bytes] | None = None
        self._place = 0
        """How many lines stood before it."""
        pipeline.put = self._put
        if pipeline.lane is not None:
            pipeline.lane.hold(self._put)

    def learn(self, action: DrivenAction, code: str | None) -> None:
        """Such an action agreed: from now on the next ones of that agent and method may go the short way.

        Args:
            code: the digest of the code that ran here.
        """
        if not action.is_plain:
            return
        extra = action.event.extra
        call = extra["call"]
        named = {name: extra[name] for name in _LABELS if name in extra}
        head = orjson.dumps({**named, "call": call, "root": True})[1:-1]
        self._heads[action.agent_id, call] = head, b'},"code":"%s"' % str(code).encode()

    def expect(self, action: DrivenAction) -> None:
        """This one is replayed next.

        Only what is plain is expected: where values have tags, or secrets are hidden, equal bytes are not the
        whole story.
        """
        self._held = self._agent_id = None
        if not action.is_plain:
            return
        event, extra = action.event, action.event.extra
        known = self._heads.get((action.agent_id, extra["call"]))
        if known is None:
            return
        try:
            parts = known[0], orjson.dumps(extra["args"]), orjson.dumps(extra["result"])
            self._before = before = b'%s,"args":%s,"result":%s,"duration_ms":' % parts
            self._behind = behind = b'%s,"state":%s}\n' % (known[1], orjson.dumps(event.state))
        except orjson.JSONEncodeError:  # a text that is no Unicode
            return
        if _TOKEN not in before and _TOKEN not in behind:
            self._agent_id = action.agent_id

    def came(self, action: DrivenAction) -> list[str] | None:
        """The ids of its effects if it left just what was expected; else all of it is in the sink now."""
        held, self._held, self._agent_id = self._held, None, None
        if held is None:
            return None  # the long way compares it
        lines = self._sink.lines
        if not action.effects:
            if not lines:
                return _NO_IDS
        elif len(lines) == len(action.effects) == self._place:
            links = held[2]
            pairs = zip(action.effects, lines, strict=True)
            ids = [same for pair in pairs if (same := _id_if_same(*pair, links)) is not None]
            if len(ids) == len(lines):
                return ids
        later = lines[self._place :]
        del lines[self._place :]
        self._write(*held)
        lines.extend(later)
        return None

    def _put(self, slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        """What `Pipeline.put` does, unless it is the expected line."""
        if (
            self._agent_id is not None
            and rest.startswith(self._before)
            and rest.endswith(self._behind)
            and (duration := rest[len(self._before) : -len(self._behind)])
            and not duration.strip(_NUMBER)
            and slot.binding.agent_id == self._agent_id
        ):
            self._held, self._agent_id = (slot, head, links, extra, rest), None
            self._place = len(self._sink.lines)
            return ""
        return self._write(slot, head, links, extra, rest)


def _id_if_same(recorded: Event, line: bytes, links: bytes) -> str | None:
    """The id of an effect whose line says what the recording says, in the span that `links` names."""
    if not links.startswith(_SPAN):
        return None
    parent = links[len(_SPAN) : links.index(b'"', len(_SPAN))]
    tick = b"" if recorded.tick is None else b',"tick":%d' % recorded.tick
    try:
        parts = [orjson.dumps(part) for part in (recorded.level, recorded.logger, recorded.message)]
        extra = orjson.dumps(recorded.extra)
    except orjson.JSONEncodeError:
        return None
    end = b',"level":%s,"logger":%s,"message":%s,"parent_span_id":"%s"%s,"extra":%s}\n' % (
        *parts, parent, tick, extra,
    )  # fmt: skip
    if _TOKEN in extra or not line.endswith(end) or not line.startswith(_STAMP):
        return None
    begin = line.index(_ID) + len(_ID)
    return line[begin : line.index(b'"', begin)].decode()
