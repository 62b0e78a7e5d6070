"""What the record says a call gave, as something that can be given again: a result, or an exception to raise.

`player.py` asks for it when a call of an agent that is not driven comes.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any

from Agent.event.model import Event
from Agent.record.player import Answer
from Agent.replay.comparison import Recorded
from Agent.replay.values import Decoder

_MARK = "__agent_trace_error__"


class Unanswerable(Exception):
    """The record holds the call, and its answer cannot be given again; the text says why."""


class AnswerBook:
    """Gives recorded answers.

    Args:
        decoder: makes values again.
        errors: the `error` events of the run by id.
        session_id: what marks an exception as recorded already, so that it is not recorded twice.
    """

    def __init__(self, decoder: Decoder, errors: dict[str, Event], session_id: str) -> None:
        self._decoder = decoder
        self._errors = errors
        self._session_id = session_id

    def answer(self, event: Event) -> tuple[Answer, bool]:
        """The answer, and whether it holds tokens where secrets were.

        Raises:
            Unanswerable: it was not captured, or it cannot be made again.
        """
        outcome = event.extra.get("outcome")
        if outcome == "error":
            return Answer(error=self._error(event)), False
        if outcome == "cancelled":
            from asyncio import CancelledError

            return Answer(error=CancelledError()), False
        if outcome is not None:
            raise Unanswerable(f"it was {outcome}, and what was raised is not in the record")
        if "result" not in event.extra:
            raise Unanswerable("its result was not captured (capture_result=False)")
        restored = self._decoder.restore(Recorded(event.extra["result"], event.types or {}, "/extra/result"))
        if restored.unrestored:
            raise Unanswerable(f"its result cannot be restored: {restored.unrestored[0]}")
        return Answer(restored.value), restored.is_redacted

    def _error(self, event: Event) -> BaseException:
        error_id = str(event.extra.get("error_id"))
        told = self._errors.get(error_id)
        if told is None:
            raise Unanswerable(f"its error event {error_id} is not in the record")
        cls = self._error_class(told)
        restored = self._decoder.restore(
            Recorded(told.extra.get("error_args", []), told.types or {}, "/extra/error_args")
        )
        args: Any = restored.value
        if restored.unrestored or not isinstance(args, list):
            args = [told.extra.get("error_message", "")]
        error = _make(cls, tuple(args), str(told.extra.get("error_message", "")))
        try:
            setattr(error, _MARK, (self._session_id, error_id))
        except (AttributeError, TypeError):
            pass  # then it is recorded once more, and shows up as a difference of effects
        return error

    def _error_class(self, told: Event) -> type[BaseException]:
        qualname = str(told.extra.get("error_type"))
        module = told.extra.get("error_module")
        if module is not None:
            found = self._decoder.find_class(f"{module}.{qualname}")
            candidates = [] if found is None else [found]
        else:
            candidates = _exceptions_named(qualname)
        if len(candidates) != 1 or not issubclass(candidates[0], BaseException):
            where = f"{module}." if module is not None else ""
            count = "not loaded here" if not candidates else f"{len(candidates)} loaded classes"
            raise Unanswerable(f"the class of its exception, {where}{qualname}, cannot be bound: {count}")
        return candidates[0]


def _exceptions_named(qualname: str) -> list[type]:
    """The loaded exception classes of a qualified name, where the record does not name the module."""
    known: Any = getattr(builtins, qualname, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return [known]
    found: dict[int, type] = {}
    for module in list(sys.modules.values()):
        value: Any = module
        for part in qualname.split("."):
            value = vars(value).get(part) if hasattr(value, "__dict__") else None
            if value is None:
                break
        if isinstance(value, type) and issubclass(value, BaseException) and value.__qualname__ == qualname:
            found[id(value)] = value
    return list(found.values())


def _make(cls: type[BaseException], args: tuple[Any, ...], message: str) -> BaseException:
    """An exception of the class: by its constructor if that gives the recorded text, else around it."""
    try:
        made = cls(*args)
        if isinstance(made, cls) and str(made) == message:
            return made
    except Exception:  # noqa: BLE001 - a constructor that wants other arguments is passed by
        made = None
    try:
        bare = cls.__new__(cls, *args)
        bare.args = args
    except Exception as error:  # noqa: BLE001 - whatever a strange class does, it is named
        raise Unanswerable(f"its exception {cls.__qualname__} cannot be made again: {error}") from None
    return bare
