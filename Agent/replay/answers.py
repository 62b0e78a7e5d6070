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

    def answer(self, event: Event) -> tuple[Answer, str | None]:
        """The answer, and in what it is less than what was given then; None where it is the same.

        Raises:
            Unanswerable: it was not captured, or it cannot be made again.
        """
        outcome = event.extra.get("outcome")
        if outcome == "error":
            return self._error(event)
        if outcome == "cancelled":
            from asyncio import CancelledError

            return Answer(error=CancelledError()), None
        if outcome is not None:
            raise Unanswerable(f"it was {outcome}, and what was raised is not in the record")
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
            raise Unanswerable(f"its error event {error_id} is not in the record")
        cls = self._error_class(told)
        message = str(told.extra.get("error_message", ""))
        args = self._part(told, "error_args")
        error = _construct(cls, args, message) if isinstance(args, list) else None
        lack = None
        if error is None:
            error = _bare(cls, tuple(args) if isinstance(args, list) else (message,))
            attributes = self._part(told, "error_attributes")
            if isinstance(attributes, dict):
                vars(error).update(attributes)
            elif _has_own_constructor(cls):
                lack = f"attributes that the constructor of {cls.__qualname__} sets are not in the record"
        try:
            setattr(error, _MARK, (self._session_id, error_id))
        except (AttributeError, TypeError):
            lack = lack or "it refuses the mark of an exception that was recorded already"
        return Answer(error=error), lack

    def _part(self, told: Event, key: str) -> Any:
        """A value of an error event, None where it is not there or cannot be restored."""
        if key not in told.extra:
            return None
        restored = self._decoder.restore(Recorded(told.extra[key], told.types or {}, f"/extra/{key}"))
        return None if restored.unrestored else restored.value

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


def _has_own_constructor(cls: type[BaseException]) -> bool:
    return any("__init__" in vars(base) for base in cls.__mro__ if base.__module__ != "builtins")


def _construct(cls: type[BaseException], args: list[Any], message: str) -> BaseException | None:
    """An exception made by its constructor, None where that does not give the recorded text."""
    try:
        made = cls(*args)
        return made if isinstance(made, cls) and str(made) == message else None
    except Exception:  # noqa: BLE001 - a constructor that wants other arguments is passed by
        return None


def _bare(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception made around its constructor."""
    try:
        bare = cls.__new__(cls, *args)
        bare.args = args
    except Exception as error:  # noqa: BLE001 - whatever a strange class does, it is named
        raise Unanswerable(f"its exception {cls.__qualname__} cannot be made again: {error}") from None
    return bare
