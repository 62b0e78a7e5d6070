"""Makes messages, labels and names for people from any value; a broken `__str__` never raises here."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import FunctionType
from typing import Any

from Agent.event.classes import class_name
from Agent.event.limits_of_time import RAISED, pass_on

_CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytes, bytearray, BaseException)
_SHOWN = frozenset({str, int, float, bool, type(None)})
_ARGS: Any = BaseException.__dict__["args"]
MAX_SHOWN_CHARS = 2000
"""The longest message; longer texts are cut."""

# A text may have many megabytes, and a list of its single characters takes 50 times as much memory.
_PIECE_CHARS = 4096

# Margin around a cut that may split a secret; only private keys are longer.
_MARGIN_CHARS = 600


def as_text(value: object) -> str:
    """Return the value as text for a label, without running user code and without writing out containers."""
    cls = type(value)
    if cls is str:
        return value  # type: ignore[return-value]
    try:
        if issubclass(cls, str):
            return str.__str__(value)
        if issubclass(cls, _CONTAINERS) or _is_strange(cls):
            return f"<{class_name(cls)}>"
        return str(value)
    except RAISED as error:
        pass_on(error)
        return f"<{class_name(cls)}>"


def cut(text: str, most: int) -> str:
    """Return the text cut to at most `most` characters, with an ellipsis at the cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown_safely(text: str) -> str:
    """Return the text with all unprintable characters, which may control a terminal, as Python escapes."""
    if text.isprintable():
        return text
    pieces = (text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS))
    return "".join(piece if piece.isprintable() else _escaped(piece) for piece in pieces)


def json_shown_safely(text: str) -> str:
    """Return JSON with characters that may control a terminal, such as C1 controls, as JSON escapes."""
    if text.isprintable():
        return text
    import json
    import re

    return re.sub(r"[^\t\n -~]+", lambda found: _escaped(found[0], json.dumps), text)


def _escaped(text: str, quoted: Callable[[str], str] = ascii) -> str:
    return "".join(char if char.isprintable() else quoted(char)[1:-1] for char in text)


def as_message(value: object) -> str:
    """Return the value as text, by `__str__` of its class; containers as JSON."""
    try:
        if isinstance(value, BaseException):
            return message_of(value)
        if issubclass(type(value), _CONTAINERS):
            from Agent.event.values.values import to_json

            return to_json(value, "").json.decode()
        text = value if type(value) is str else str(value)
        return text if type(text) is str else str.__str__(text)
    except RAISED as error:
        pass_on(error)
        return f"<{class_name(type(value))}>"


class _Here(threading.local):
    is_asking = False
    """Whether this thread runs the `__str__` of an exception."""


_here = _Here()


@contextmanager
def asking() -> Iterator[None]:
    """Note that exceptions are asked for their texts within the block."""
    before, _here.is_asking = _here.is_asking, True
    try:
        yield
    finally:
        _here.is_asking = before


def message_of(error: BaseException) -> str:
    """Return the text of an exception; a short one if `__str__` is broken or an argument may be huge."""
    try:
        if has_plain_text(error):
            with asking():
                return str(error)
        return ", ".join(as_text(argument) for argument in _ARGS.__get__(error))
    except RAISED as trouble:
        pass_on(trouble)
        return "<its text could not be made>"


def has_plain_text(error: BaseException) -> bool:
    """Whether an exception's text comes from `__str__` of its class, or from scalars and enum members.

    An exception that is raised while one is asked for its text is not asked, which may never end.
    """
    if isinstance(type(error).__str__, FunctionType):
        return not _here.is_asking
    if type(error).__str__ is BaseExceptionGroup.__str__:
        # Its text is its message and the number of its exceptions.
        return True
    return all(type(one) in _SHOWN or isinstance(one, Enum) for one in _ARGS.__get__(error))


def _is_strange(cls: type) -> bool:
    """Whether the text of objects is made by code outside the standard library, or is the default `repr`."""
    method: Any = cls.__str__
    if method is object.__str__:
        method = cls.__repr__
    if not isinstance(method, FunctionType):
        return method is object.__repr__
    return str(method.__module__).partition(".")[0] not in sys.stdlib_module_names


def printable(text: str) -> str:
    """Return the text with lone surrogates as escapes, since UTF-8 cannot encode them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def clean_head(text: str, redact: Callable[[str], str], max_chars: int = MAX_SHOWN_CHARS) -> str:
    """Return the beginning of a text without its secrets, cut so that no part of a secret remains."""
    if len(text) <= max_chars:
        return printable(redact(text))
    # The end of the piece may split a secret, which is then not recognised: the margin is dropped.
    clean = redact(text[: max_chars + 2 * _MARGIN_CHARS])
    return printable(clean[: min(max_chars, len(clean) - _MARGIN_CHARS)])


def clean_tail(text: str, redact: Callable[[str], str], max_chars: int) -> str:
    """Return the end of a text without its secrets, beginning with a whole line."""
    if len(text) <= max_chars:
        return printable(redact(text))
    clean = redact(text[-8 * max_chars :])[-max_chars:]
    return printable(clean[clean.find("\n") + 1 :])
