"""Exceptions recorded as events, and exceptions rebuilt from events.

Each exception object has one `error` event, written where it was first seen. `remake_error` rebuilds the
exception for replays of traced calls, tools and models whose recorded response is an error.
"""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.event.classes import ERROR_MARK, class_name, find_in_classes, mro_of, namespace_of, solid_base
from Agent.event.kinds import LEVELS, Category
from Agent.event.limits_of_time import RAISED, pass_on
from Agent.record.emit.installed import LIMITS
from Agent.record.encode.safe_text import as_text, asking, clean_head, clean_tail, has_plain_text, message_of
from Agent.record.tracing.function_facts import leave_unread

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding


LACKING = object()
"""Sentinel for a part of the event that is missing or cannot be restored."""

Part = Callable[[tuple[str, ...]], Any]
"""Returns the restored value at a path of keys in the payload of an event; `LACKING` if there is none."""


class Unanswerable(Exception):
    """The call is recorded, but its recorded response cannot be reproduced; the text says why."""


class Remade(NamedTuple):
    """A rebuilt exception."""

    error: BaseException
    lack: str | None
    """How it differs from the recorded exception; None if it is the same."""


def remake_error(
    payload: Mapping[str, Any],
    error_id: str,
    session_id: str,
    *,
    part: Part,
    find_class: Callable[[str], type | None],
) -> Remade:
    """Rebuild the exception of an `error` event, with its attributes, its notes and its causes.

    Args:
        payload: that of the event.
        error_id: the id of the event.
        session_id: the session for which the exception is marked as recorded, to avoid a second event.
        part: restores a value of the payload.
        find_class: returns the loaded class of a `module.QualName`.

    Raises:
        Unanswerable: its class is not loaded, or cannot be instantiated.
    """
    error, lack = _remade(payload, (), part, find_class)
    if not _mark_as_recorded(error, session_id, error_id):
        lack = lack or "it refuses the mark of an exception that was recorded already"
    return Remade(error, lack)


def _remade(
    payload: Mapping[str, Any], path: tuple[str, ...], part: Part, find_class: Callable[[str], type | None]
) -> Remade:
    """Rebuild the exception at a path of an `error` event: the error itself, or one of its causes."""
    cls = _error_class(payload, find_class)
    message = str(payload.get("error_message", ""))
    lacks: list[str] = []
    args = part((*path, "error_args"))
    if not isinstance(args, list):
        args = [message]
        lacks.append(f"arguments of its {cls.__qualname__} cannot be restored")
    held = {
        name: part((*path, key, name))
        for key in ("error_attributes", "error_members")
        for name in _names(payload.get(key))
    }
    error = None
    has_constructor = any("__init__" in vars(base) for base in cls.__mro__ if base.__module__ != "builtins")
    if not held and has_constructor:
        # It has no recorded attributes, perhaps because the format did not have them: try the constructor.
        error = _construct(cls, args, message)
        if error is None and "error_attributes" not in payload:
            lacks.append(
                f"attributes that the constructor of {cls.__qualname__} sets are not in the recording"
            )
    error = error or _bare(cls, tuple(args))
    if left_out := payload.get("error_left_out"):
        lacks.append(f"{left_out} exceptions of its {cls.__qualname__} are not in the recording")
    for name, value in held.items():
        if value is LACKING or not _put(error, name, value):
            lacks.append(f"the attribute {name} of its {cls.__qualname__} cannot be restored")
    cause = payload.get("error_cause")
    if cause is not None:
        try:
            error.__cause__, lack = _remade_cause(cause, (*path, "error_cause"), part, find_class)
            lacks += [lack] if lack is not None else []
        except Unanswerable as trouble:
            lacks.append(f"what it was raised from cannot be made again: {trouble}")
    elif payload.get("error_suppressed") is True:
        error.__suppress_context__ = True
    if not lacks and len(message) < _MAX_MESSAGE_CHARS and _text(error) != message:
        lacks.append(f"the text of its {cls.__qualname__} is another here: {_text(error)!r}")
    return Remade(error, lacks[0] if lacks else None)


def _remade_cause(
    payload: Any, path: tuple[str, ...], part: Part, find_class: Callable[[str], type | None]
) -> Remade:
    """Rebuild a cause; the first one beyond `_MAX_CAUSES` is a value with all before it."""
    if isinstance(payload, Mapping) and "error_type" in payload:
        return _remade(payload, path, part, find_class)
    value = part(path)
    if not isinstance(value, BaseException):
        raise Unanswerable(f"one of more than {_MAX_CAUSES} causes cannot be restored")
    return Remade(value, None)


def value_in(payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Return the recorded value at a path of keys in a payload; `LACKING` if there is none."""
    found: Any = payload
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return LACKING
        found = found[key]
    return found


def _names(held: Any) -> list[str]:
    return list(held) if isinstance(held, dict) else []


def _put(error: BaseException, name: str, value: Any) -> bool:
    """Set a member of the exception's class, or an attribute of the exception; return False if that fails."""
    member = find_in_classes(type(error), name)
    try:
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType):
            member.__set__(error, value)
        else:
            BaseException.__getattribute__(error, "__dict__")[name] = value
    except (AttributeError, TypeError):
        return False
    return True


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001 - its `__str__` may need an attribute that is missing
        return f"<{type(trouble).__name__}>"


def _error_class(payload: Mapping[str, Any], find_class: Callable[[str], type | None]) -> type[BaseException]:
    name = f"{payload.get('error_module')}.{payload.get('error_type')}"
    found = find_class(name)
    if found is None or not issubclass(found, BaseException):
        raise Unanswerable(f"the class of its exception, {name}, cannot be bound: not loaded here")
    return found


def _construct(cls: type[BaseException], args: list[Any], message: str) -> BaseException | None:
    """Call the exception's constructor; return None if it fails or if the text is not the recorded one."""
    try:
        made = cls(*args)
        return made if isinstance(made, cls) and str(made) == message else None
    except Exception:  # noqa: BLE001 - the constructor takes other arguments: `_bare` bypasses it
        return None


def _bare(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without running constructors that are written in Python."""
    base: Any = solid_base(cls)
    try:
        bare: BaseException = base.__new__(cls, *args)
        base.__init__(bare, *args)
        bare.args = args
    except Exception as error:  # noqa: BLE001 - a class may raise anything; the message names the class
        raise Unanswerable(f"its exception {cls.__qualname__} cannot be made again: {error}") from None
    return bare


# Compiled at the first error, to keep the import of the package fast.
_NUMBERS = r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?"
_QUOTED = r"'[^']*'|\"[^\"]*\""
_MAX_MESSAGE_CHARS = 4000
_MAX_TRACEBACK_CHARS = 12_000
_MAX_FRAMES = 40
_MAX_CHAIN = 20
_MAX_MEMBERS = 100
_MAX_CAUSES = 20
_MAX_RECORDED = 100
"""Number of exceptions of a group that are recorded, nested ones included; the others are only counted."""
_NO_MEMBERS = frozenset({"obj", "__weakref__", "__dict__", "__module__"})
"""Members that are not recorded; `obj` of an AttributeError may be a whole agent."""
_ARGS: Any = BaseException.__dict__["args"]
# Exceptions are read through these: a class may have properties of the same names, which run the user's code.
_CAUSE, _CONTEXT, _TRACEBACK, _NO_CONTEXT, _DICT = (
    vars(BaseException)[name]
    for name in ("__cause__", "__context__", "__traceback__", "__suppress_context__", "__dict__")
)
_recorded: dict[int, tuple[weakref.ref[BaseException], tuple[str, str]]] = {}
"""The session and the event of each exception that has been recorded and is alive, by its id."""
_MEMBERS_OF_GROUP = vars(BaseExceptionGroup)["exceptions"]


def outcome_of(error: BaseException) -> str:
    """Return the outcome of a call that raised this exception: `error`, `cancelled` or `interrupted`."""
    if isinstance(error, Exception):
        return "error"
    # A coroutine that is no longer awaited is closed by a GeneratorExit; trio's exception is Cancelled.
    if type(error).__name__ in {"CancelledError", "Cancelled", "GeneratorExit"}:
        return "cancelled"
    # gevent ends a greenlet from outside by a GreenletExit, a replay ends an action by one of this package.
    is_from_outside = type(error).__name__ == "GreenletExit" or class_name(type(error)).startswith("Agent.")
    if is_from_outside or isinstance(error, (KeyboardInterrupt, SystemExit, BaseExceptionGroup)):
        return "interrupted"
    return "error"  # a class of the program, which raised it


def fingerprint(error_type: str, message: str, place: str) -> str:
    """Return a digest that groups errors by type, place, and message without numbers and quoted parts."""
    from Agent.event.values.digest import digest_bytes

    shape = re.sub(_NUMBERS, "#", re.sub(_QUOTED, "'*'", message))
    return digest_bytes(f"{error_type}|{shape}|{place}".encode("utf-8", "replace"))


def place_of(error: BaseException) -> str:
    """Return the qualified name of the function in which the exception was raised."""
    step = _TRACEBACK.__get__(error)
    place = ""
    while step is not None:
        place = step.tb_frame.f_code.co_qualname
        step = step.tb_next
    return place


def _user_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback without the leading frames of this package."""
    step: TracebackType | None = _TRACEBACK.__get__(error)
    while step is not None and step.tb_frame.f_globals.get("__name__", "").startswith("Agent.record."):
        step = step.tb_next
    return step


def recorded_id(error: BaseException, pipeline: Pipeline) -> str | None:
    """Return the id of the event already recorded for this exception object in this session, or None."""
    ref, mark = _recorded.get(id(error)) or (None, None)
    if ref is None or ref() is not error:
        mark = _attributes(error).get(ERROR_MARK)
    if type(mark) is tuple and len(mark) == 2 and mark[0] == pipeline.session_id:
        return str(mark[1])
    return None


def _mark_as_recorded(error: BaseException, session_id: str, error_id: str) -> bool:
    """Note the event of an exception; return False if that is impossible.

    The program may look at the attributes of its own exceptions, so they get none. Python's allow no weak
    references, so theirs is an attribute.
    """
    key, mark = id(error), (session_id, error_id)
    try:
        _recorded[key] = weakref.ref(error, partial(_recorded.pop, key)), mark
    except TypeError:
        try:
            BaseException.__setattr__(error, ERROR_MARK, mark)
        except (AttributeError, TypeError):  # its class has no attributes
            return False
    return True


def _attributes(error: BaseException) -> dict[str, Any]:
    """Return the exception's instance attributes, bypassing `__getattribute__` of its class."""
    found = _DICT.__get__(error)
    return found if type(found) is dict else {}


def _chain(error: BaseException) -> list[BaseException]:
    """Return the exception and the chain of its causes and contexts, oldest first."""
    chain = [error]
    while len(chain) < _MAX_CHAIN:
        last = chain[-1]
        before = _CAUSE.__get__(last) or (None if _NO_CONTEXT.__get__(last) else _CONTEXT.__get__(last))
        if before is None or any(before is known for known in chain):
            break
        chain.append(before)
    return chain[::-1]


def _everything(error: BaseException) -> list[BaseException]:
    """Return the exception, its chain, and the members of exception groups; stops above `_MAX_MEMBERS`.

    A member of several groups stands there several times, as Python prints it.
    """
    found: list[BaseException] = []
    met: set[int] = set()
    waiting = [error]
    while waiting and len(found) <= _MAX_MEMBERS:
        one = waiting.pop()
        found.append(one)
        met.add(id(one))
        before = [each for each in _chain(one) if id(each) not in met]
        met.update(map(id, before))
        waiting += before
        if isinstance(one, BaseExceptionGroup):
            waiting += _MEMBERS_OF_GROUP.__get__(one)
    return found


def _traceback_of(error: BaseException) -> str:
    """Return the traceback as Python prints it; assembled here if an argument may be too large to print."""
    import traceback

    frames = _user_frames(error)
    chain = _chain(error)
    everything = _everything(error)
    leave_unread({file for one in everything for file in _files_of(_TRACEBACK.__get__(one))})
    if len(everything) <= _MAX_MEMBERS and all(map(has_plain_text, everything)):
        with asking():
            return "".join(traceback.format_exception(type(error), error, frames, limit=-_MAX_FRAMES))
    parts: list[str] = []
    for one in chain:
        steps = traceback.format_tb(frames if one is error else _TRACEBACK.__get__(one), limit=-_MAX_FRAMES)
        parts += [
            "Traceback (most recent call last):\n",
            *steps,
            f"{type(one).__qualname__}: {message_of(one)}\n",
            *_notes_of(one),
        ]
        if isinstance(one, BaseExceptionGroup):
            parts += [
                f"  | {type(inner).__qualname__}: {message_of(inner)}\n"
                for inner in _MEMBERS_OF_GROUP.__get__(one)[:_MAX_CHAIN]
            ]
    return "".join(parts)


def _files_of(step: TracebackType | None) -> Iterator[str]:
    while step is not None:
        yield step.tb_frame.f_code.co_filename
        step = step.tb_next


def _notes_of(error: BaseException) -> list[str]:
    notes = _attributes(error).get("__notes__")
    return [f"{as_text(note)}\n" for note in notes[:_MAX_CHAIN]] if type(notes) is list else []


def record_error(
    pipeline: Pipeline,
    binding: AgentBinding,
    error: BaseException,
    *,
    message: str | None = None,
    more: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
    causes: tuple[str, ...] = (),
) -> str:
    """Write the `error` event of an exception, unless it was written before, and return the event's id.

    Args:
        message: the message of the event; default: type and text of the exception.
        more: further payload under keys that this kind of event defines.
        fields: further payload under the user's own keys.
    """
    known = recorded_id(error, pipeline)
    if known is not None:
        return known
    if LIMITS[Category.ERRORS.value].value > LEVELS["ERROR"]:
        return ""
    text = message_of(error)
    payload = _payload_of(error, text, pipeline.redactor.text, more or {})
    slot = binding.slot("error", 40)
    body, types = pipeline.capture.body(payload)
    if fields:
        moved = pipeline.health.moved(fields, slot.own_keys | payload.keys())
        own = pipeline.capture.user_body(moved, "/extra")
        body, types = pipeline.capture.joined((body, types), own)
    label = message or f"{type(error).__qualname__}: {text}"
    identity = pipeline.emit(slot, label, causes=causes, body=body, types=types)
    if identity and not _mark_as_recorded(error, pipeline.session_id, identity):
        # outer calls write it again
        pipeline.health.note("an exception could not be marked as recorded")
    return identity


def _payload_of(
    error: BaseException, text: str, redact: Callable[[str], str], more: dict[str, Any]
) -> dict[str, Any]:
    """Return the payload of the `error` event of an exception whose text is `text`."""
    error_type = type(error).__qualname__
    try:
        trace = _traceback_of(error)
    except RAISED as trouble:  # formatting runs the user's __str__ and __repr__
        pass_on(trouble)
        trace = f"<the traceback could not be made: {type(trouble).__name__}>"
    held = _held_by(error, _MAX_CAUSES)
    payload: dict[str, Any] = {
        "error_type": error_type,
        "error_module": str(type(error).__module__),
        "error_message": clean_head(text, redact, _MAX_MESSAGE_CHARS),
        "error_args": held["error_args"],
        "traceback": clean_tail(trace, redact, _MAX_TRACEBACK_CHARS),
        "fingerprint": fingerprint(error_type, text[:_MAX_MESSAGE_CHARS], place_of(error)),
        **more,
    }
    payload.update(held)
    return payload


def _held_by(error: BaseException, most_causes: int) -> dict[str, Any]:
    """Return what an exception holds, so that `remake_error` can rebuild it.

    `error_args` has its arguments, `error_left_out` the number of exceptions in a group that are not among
    them, `error_attributes` its instance attributes and notes, `error_members` the values that its class
    keeps elsewhere (slots, the `filename` of an OSError), `error_cause` the one that it was raised from;
    beyond `_MAX_CAUSES` that is a value. Without a cause, `error_suppressed` says whether it was raised from
    None.
    """
    from Agent.event.values.codecs import plan_of  # with the first event, not with the decorators

    plan_of(type(error))  # so that its class counts as met
    arguments, left_out = _told_arguments(error)
    held: dict[str, Any] = {"error_args": arguments}
    if left_out:
        held["error_left_out"] = left_out
    attributes = {name: value for name, value in _attributes(error).items() if name != ERROR_MARK}
    if attributes:
        held["error_attributes"] = attributes
    members = _members(error)
    if left_out:
        members.pop("exceptions", None)
    if members:
        held["error_members"] = members
    cause = _CAUSE.__get__(error)
    if cause is None:
        held["error_suppressed"] = bool(_NO_CONTEXT.__get__(error))
    elif not most_causes:
        held["error_cause"] = cause
    else:
        held["error_cause"] = {
            "error_type": type(cause).__qualname__,
            "error_module": str(type(cause).__module__),
            "error_message": message_of(cause),
            **_held_by(cause, most_causes - 1),
        }
    return held


def _told_arguments(error: BaseException) -> tuple[list[Any], int]:
    """Return the arguments, and how many exceptions of a large group are left out of them."""
    arguments = list(_ARGS.__get__(error))
    if not isinstance(error, BaseExceptionGroup) or len(_everything(error)) <= _MAX_MEMBERS:
        return arguments, 0
    members = _MEMBERS_OF_GROUP.__get__(error)
    left, kept = _MAX_RECORDED, 0
    while kept < len(members) and (left := left - len(_everything(members[kept]))) >= 0:
        kept += 1
    if kept < len(members):
        # not necessarily the second: its class may have arguments of its own
        are_members = [type(each) in (list, tuple) and len(each) == len(members) for each in arguments]
        for at in [at for at, is_list in enumerate(are_members) if is_list]:
            arguments[at] = list(members[:kept])
    return arguments, len(members) - kept


def _members(error: BaseException) -> dict[str, Any]:
    """Return the values of slots and C members of the exception's classes, except its arguments."""
    found: dict[str, Any] = {}
    arguments = _ARGS.__get__(error)
    for cls in mro_of(type(error)):
        if cls is BaseException:
            break
        for name, member in list(namespace_of(cls).items()):
            if type(member) not in {MemberDescriptorType, GetSetDescriptorType} or name in _NO_MEMBERS:
                continue
            try:
                value = member.__get__(error)
            except AttributeError:
                continue  # a slot that was never filled
            if value is not None and not any(value is argument for argument in arguments):
                found.setdefault(name, value)
    return found


def current_exception() -> BaseException | None:
    """Return the exception that is being handled, or None."""
    return sys.exc_info()[1]
