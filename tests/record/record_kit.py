"""What the tests of recording share: a recording in memory whose lines are checked as they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from Agent.event.codec import decode_line, validate_event
from Agent.record.emit.installed import active_pipeline
from Agent.record.emit.pipeline import RecordOptions
from Agent.testing import FakeClock, record_in_memory


class Recorded:
    """What was recorded so far, as JSON objects."""

    def __init__(self, sink: Any, pipeline: Any) -> None:
        self.sink = sink
        self.takes_odd_values = False
        self.pipeline = pipeline

    def _problems(self, event: dict[str, Any]) -> list[str]:
        problems = validate_event(event)
        if self.takes_odd_values:
            # What a program gives as a number and is none is recorded as it is.
            problems = [
                problem for problem in problems if not problem.endswith(("not number", "not integer"))
            ]
        return problems

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event; AssertionError if one is not what the payload table promises."""
        found = []
        for line in self.sink.lines:
            assert line.endswith(b"\n") and line.count(b"\n") == 1
            event = json.loads(line)
            assert self._problems(event) == [], (self._problems(event), line[:2000])
            decode_line(line)
            found.append(event)
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["extra"]["event_type"] == kind]

    def only(self, kind: str) -> dict[str, Any]:
        """The one event of a kind."""
        (event,) = self.of(kind)
        return event

    @property
    def last(self) -> dict[str, Any]:
        """The newest event."""
        return self.events[-1]

    @property
    def text(self) -> str:
        """All lines as one text."""
        return b"".join(self.sink.lines).decode()

    @property
    def health(self) -> Any:
        """The counters of the recording."""
        return self.pipeline.health


@contextmanager
def recording(
    options: RecordOptions | None = None, clock: FakeClock | None = None, redact: bool = True
) -> Iterator[Recorded]:
    """Record into memory."""
    with record_in_memory(options=options, clock=clock, redact=redact) as sink:
        yield Recorded(sink, active_pipeline())
