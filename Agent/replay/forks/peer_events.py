"""What other agents answered in a fork, written into its record as their own actions.

So the record of a fork is whole: it can be replayed and forked like any other. `player.py` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from Agent.event.kinds import LEVELS
from Agent.event.model import Event
from Agent.record.emit.pipeline import Pipeline
from Agent.replay.plan.recording import CodeFacts

_OF_THE_SLOT = frozenset({"agent_id", "agent_role", "event_type"})


class Echo:
    """Writes recorded responses into a fork.

    Args:
        errors: the original's `error` events by id; those of the fork are added.
        codes: what digests of code stand for in the original.
    """

    def __init__(self, pipeline: Pipeline, errors: dict[str, Event], codes: Mapping[str, CodeFacts]) -> None:
        self._pipeline = pipeline
        self._errors = errors
        self._codes = codes
        self._told: set[str] = set()

    def write(self, event: Event) -> Event:
        """Write an answered call, and what it raised; the event with the ids that they have in the fork."""
        extra = {**event.extra, "answered_by": event.id}
        told = self._errors.get(str(extra.get("error_id")))
        if told is not None:
            extra["error_id"] = self._put(told, told.extra)
            self._errors[str(extra["error_id"])] = told
        tail = b""
        if event.code is not None:
            self._tell_code(event.code)
            tail = b',"code":"%s"' % event.code.encode()
        span_id = self._pipeline.next_span_id()
        identity = self._put(event, extra, span_id=span_id, tail=tail)
        return replace(event, id=identity, span_id=span_id, extra=extra)

    def _put(
        self, event: Event, extra: Mapping[str, Any], *, span_id: str | None = None, tail: bytes = b""
    ) -> str:
        pipeline = self._pipeline
        binding = pipeline.binding(event.agent_id, event.agent_role, event.logger)
        slot = binding.slot(event.kind, LEVELS.get(event.level, 20))
        label = event.message.removeprefix(slot.prefix)
        # Redacted it was when it was recorded.
        body = orjson.dumps({key: value for key, value in extra.items() if key not in _OF_THE_SLOT})[1:-1]
        types = {at: tag for at, tag in (event.types or {}).items() if at.startswith("/extra/")}
        return pipeline.emit(slot, label, body=body, types=types or None, span_id=span_id, tail=tail)

    def _tell_code(self, digest: str) -> None:
        facts = self._codes.get(digest)
        if facts is None or digest in self._told:
            return
        self._told.add(digest)
        payload = {"digest": digest, "module": facts.module, "qualname": facts.qualname}
        if facts.source is not None:
            payload["source"] = facts.source
        slot = self._pipeline.binding(None, None, "system", "system").slot("code", 10)
        self._pipeline.emit(slot, facts.qualname, payload)
