"""What a call returned in the recording, as something that can be given again: a result, or an exception.

`player.py` asks for it when a call of an agent that is not replayed comes, or of a tool or model; a miss is
its to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from Agent.errors import RecordingMiss
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.flight.matching.recorded_calls import (
    CallBook,
    Decoding,
    Match,
    Nearest,
    RequestedCall,
    Rung,
    calls_among,
)
from Agent.flight.matching.tool_replayer import ToolReplayer
from Agent.flight.runs.reading import RunRef
from Agent.record.emit.player import Answer, TracedCall
from Agent.record.tracing.changed_arguments import with_changes
from Agent.record.tracing.failures import LACKING, Unanswerable, remake_error, value_in
from Agent.replay.compare.comparison import NAMES, Comparison, Recorded
from Agent.replay.plan.values import Decoder

NO_CALL = "<no further call>"
"""Stands for what is recorded where nothing more is."""


class AnswerBook:
    """Gives recorded responses.

    Args:
        decoder: makes values again.
        errors: the `error` events of the run by id.
        session: the recorded session, which holds artifacts.
        session_id: what marks an exception as recorded already, so that it is not recorded twice.
    """

    def __init__(self, decoder: Decoder, errors: dict[str, Event], session: Path, session_id: str) -> None:
        self._decoder = decoder
        self._errors = errors
        self._session = session
        self._session_id = session_id

    def calls_among(self, events: Iterable[Event]) -> CallBook:
        """The calls of tools and models among events, which can be answered again."""
        decoder = self._decoder
        decoding = Decoding(decoder.codecs, decoder.find_class, self._errors, decoder.scripts)
        return calls_among(events, RunRef(self._session, None), decoding)

    def answer(self, event: Event, given: Mapping[str, Any] | None = None) -> tuple[Answer, str | None]:
        """The answer, and in what it is less than what was given then; None where it is the same.

        Args:
            event: of the recorded call.
            given: the arguments of the call that is answered, by name; they are changed as they were then.

        Raises:
            Unanswerable: it was not captured, or it cannot be made again.
        """
        answer, lack = self._given_then(event)
        if given is not None:
            answer = with_changes(event.extra, lambda path: self._part(event, path), given, answer)
            if answer.change is not None:
                answer.change()
        return answer, lack

    def _given_then(self, event: Event) -> tuple[Answer, str | None]:
        outcome = event.extra.get("outcome")
        if outcome == "error":
            return self._error(event)
        if outcome == "cancelled":
            from asyncio import CancelledError

            return Answer(error=CancelledError()), None
        if outcome is not None:
            raise Unanswerable(f"it was {outcome}, and its exception is not in the recording")
        if "result" not in event.extra:
            raise Unanswerable("its result was not captured (capture_result=False)")
        restored = self._decoder.restore(Recorded(event.extra["result"], event.types or {}, "/extra/result"))
        if restored.unrestored:
            raise Unanswerable(f"its result cannot be restored: {restored.unrestored[0]}")
        return Answer(
            restored.value
        ), "a secret in it was replaced by a token" if restored.is_redacted else None

    def _error(self, event: Event) -> tuple[Answer, str | None]:
        error_id = str(event.extra.get("error_id"))
        told = self._errors.get(error_id)
        if told is None:
            raise Unanswerable(f"its error event {error_id} is not in the recording")
        error, lack = remake_error(
            told.extra,
            error_id,
            self._session_id,
            part=lambda path: self._part(told, path),
            find_class=self._decoder.find_class,
        )
        return Answer(error=error), lack

    def _part(self, told: Event, path: tuple[str, ...]) -> Any:
        """A value of an event; `LACKING` where it is not there or cannot be restored."""
        found = value_in(told.extra, path)
        if found is LACKING:
            return LACKING
        pointer = "/".join(("/extra", *map(escape, path)))
        restored = self._decoder.restore(Recorded(found, told.types or {}, pointer))
        return LACKING if restored.unrestored else restored.value


class Given(NamedTuple):
    """An answer, and why it may be less than what was given then."""

    answer: Answer
    doubt: str | None


class ToolMiss(NamedTuple):
    """A call that the record does not hold, and what it holds instead."""

    field: str
    recorded: Any
    replayed: Any
    path: str = ""


class ActionTools:
    """Answers the calls of one action, each once, by name and arguments in recorded order.

    Args:
        calls: those of the action.
        comparison: knows in what arguments may differ.
    """

    def __init__(self, calls: CallBook, comparison: Comparison) -> None:
        # Where in the code a call stands may change: what it asks for and in which order may not.
        self._book = calls
        self._replayer = ToolReplayer(book=self._book, tolerance=0.0)
        self._comparison = comparison

    def answer(self, call: TracedCall) -> Given | ToolMiss:
        """The recorded response, or what is recorded in its place.

        Raises:
            Unanswerable: the call is in the recording, and its answer cannot be given again.
        """
        asked = self._replayer.ask(call.kind, call.action_type, dict(call.args))
        unseen = asked.arguments.unseen
        if unseen is not None:
            raise Unanswerable(f"its argument {unseen}")
        found = self._replayer.find(asked)
        if not isinstance(found, Match):
            declared = self._as_declared(asked)
            if declared is None:
                return self._missed(asked, found)
            found = declared
        try:
            answer = self._replayer.take(found, call.args)
        except RecordingMiss as error:
            raise Unanswerable(str(error)) from None
        doubt = self._book.lacks.get(found.call.event.id)
        if not found.is_exact:
            doubt = "the call was matched past a secret"
        return Given(answer, None if doubt is None else f"the answer of {call.action_type}: {doubt}")

    def _as_declared(self, asked: RequestedCall) -> Match | None:
        """The first free call whose arguments differ only in what was declared, or in the script's name."""
        if not self._comparison.overlooked.normaliser and "opaque" in asked.arguments.types.values():
            return None  # what tells such objects apart was compared already
        given = Recorded(*asked.arguments, "")
        for call in self._replayer.unused:
            if (call.kind, call.name) == (asked.kind, asked.name):
                mark = self._comparison.mark()
                found, agreed = self._comparison.compare(Recorded(*call.arguments, ""), given, NAMES)
                if found is None and not agreed.unseen and not agreed.older:
                    return Match(call, Rung.EXACT, {})
                self._comparison.go_back(mark)
        return None

    def _missed(self, asked: RequestedCall, nearest: tuple[Nearest, ...]) -> ToolMiss:
        if not nearest:
            unused = self._replayer.unused
            recorded = f"{unused[0].kind} {unused[0].name}" if unused else NO_CALL
            return ToolMiss("calls", recorded, f"{asked.kind} {asked.name}")
        one = nearest[0]
        path = max(one.distance, key=lambda at: one.distance[at])
        return ToolMiss("args", one.call.arguments.value, asked.arguments.value, path)
