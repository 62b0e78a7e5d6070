"""The recorded responses that are left at a checkpoint, for executors that continue from there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from Agent.errors import RunNotFound
from Agent.flight.matching.recorded_calls import CallBook, read_calls
from Agent.flight.matching.tool_matching import RequestedCall
from Agent.flight.matching.tool_replayer import ToolReplayer
from Agent.flight.runs.reading import RunRef
from Agent.record.emit.player import CallPlace


class AnswersBehind(ToolReplayer):
    """Answers by name and arguments alone: executors call from other places than the recorded program."""

    def ask(self, kind: str, name: str, arguments: Any, _place: CallPlace | None = None) -> RequestedCall:
        """A call that is made now, wherever."""
        return super().ask(kind, name, arguments, None)


def replayer_behind(
    ref: RunRef, after_us: int, is_meant: Callable[[Collection[str]], bool] | None = None
) -> ToolReplayer:
    """The recorded responses of a run's tools and models, of those calls that ended behind a moment.

    Args:
        is_meant: says of the spans around a call whether it counts; all do without it.
    """
    try:
        book = read_calls(ref)
    except RunNotFound:
        book = CallBook(ref)
    book.calls = [
        call
        for call in book.calls
        if call.event.timestamp_us > after_us and (is_meant is None or is_meant(call.place[1]))
    ]
    return AnswersBehind(book=book, tolerance=0.0)
