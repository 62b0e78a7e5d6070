"""What a call returned in the recording, as something that can be given again: a result, or an exception.

`player.py` asks for it when a call of an agent that is not replayed comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.record.emit.player import Answer
from Agent.record.tracing.error_restore import LACKING, Unanswerable, remake_error, value_in
from Agent.record.tracing.imposed_arguments import with_changes
from Agent.replay.compare.comparison import Recorded
from Agent.replay.plan.values import Decoder


class AnswerBook:
    """Gives recorded responses.

    Args:
        decoder: makes values again.
        errors: the `error` events of the run by id.
        session_id: what marks an exception as recorded already, so that it is not recorded twice.
    """

    def __init__(self, decoder: Decoder, errors: dict[str, Event], session_id: str) -> None:
        self._decoder = decoder
        self._errors = errors
        self._session_id = session_id

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
