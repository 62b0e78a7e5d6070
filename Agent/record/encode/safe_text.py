"""Texts for people made of any value: messages, labels, names, which no `__str__` of a stranger may break."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import FunctionType
from typing import Any

from Agent.event.classes import class_name

_CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytes, bytearray, BaseException)
_SHOWN = frozenset({str, int, float, bool, type(None)})
_ARGS: Any = BaseException.__dict__["args"]
MAX_SHOWN_CHARS = 2000
"""How much of a text is a message."""

# A text may be of many megabytes, and its characters as single texts take fifty times as much.
_PIECE_CHARS = 4096

# What may be cut off inside a secret; nothing shaped like one is longer, private keys aside.
_MARGIN_CHARS = 600


def as_text(value: object) -> str:
    """The value as text for a label; no code of a stranger runs for it, and nothing long is written out."""
    cls = type(value)
    if cls is str:
        return value  # type: ignore[return-value]
    try:
        if issubclass(cls, str):
            return str.__str__(value)
        if issubclass(cls, _CONTAINERS) or _is_strange(cls):
            return f"<{class_name(cls)}>"
        return str(value)
    except Exception:  # noqa: BLE001 - a metaclass of a stranger, a number too long to be written
        return f"<{class_name(cls)}>"


def cut(text: str, most: int) -> str:
    """The text in at most so many characters, with an ellipsis where something is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown_safely(text: str) -> str:
    """The text on one line that a terminal only shows: what it would obey stands as escapes of Python."""
    if text.isprintable():
        return text
    pieces = (text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS))
    return "".join(piece if piece.isprintable() else _escaped(piece) for piece in pieces)


def json_shown_safely(text: str) -> str:
    """JSON that a terminal only shows: what it would obey, such as C1 controls, stands as escapes of JSON."""
    if text.isprintable():
        return text
    import json
    import re

    return re.sub(r"[^\t\n -~]+", lambda found: _escaped(found[0], json.dumps), text)


def _escaped(text: str, quoted: Callable[[str], str] = ascii) -> str:
    return "".join(char if char.isprintable() else quoted(char)[1:-1] for char in text)


def as_message(value: object) -> str:
    """The value as the text that its class gives it, which is asked for here; containers as JSON."""
    try:
        if isinstance(value, BaseException):
            return message_of(value)
        if issubclass(type(value), _CONTAINERS):
            from Agent.event.values.values import to_json

            return to_json(value, "").json.decode()
        text = value if type(value) is str else str(value)
        return text if type(text) is str else str.__str__(text)
    except Exception:  # noqa: BLE001 - a stranger's __str__ may do anything
        return f"<{class_name(type(value))}>"


def message_of(error: BaseException) -> str:
    """The text of an exception; a broken `__str__` gives a text too, and a huge argument no huge text."""
    try:
        if has_plain_text(error):
            return str(error)
        return ", ".join(as_text(argument) for argument in _ARGS.__get__(error))
    except Exception:  # noqa: BLE001 - as above
        return "<its text could not be made>"


def has_plain_text(error: BaseException) -> bool:
    """Whether the text of an exception is made by its own class, or of arguments that are short to write."""
    if isinstance(type(error).__str__, FunctionType):
        return True
    if type(error).__str__ is BaseExceptionGroup.__str__:
        # Its message, and how many it holds.
        return True
    return all(type(one) in _SHOWN or isinstance(one, Enum) for one in _ARGS.__get__(error))


def _is_strange(cls: type) -> bool:
    """Whether the text of such objects is made by code outside the standard library, or says nothing."""
    method: Any = cls.__str__
    if method is object.__str__:
        method = cls.__repr__
    if not isinstance(method, FunctionType):
        return method is object.__repr__
    return str(method.__module__).partition(".")[0] not in sys.stdlib_module_names


def printable(text: str) -> str:
    """The text with lone surrogates shown as escapes, since UTF-8 cannot hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def clean_head(text: str, redact: Callable[[str], str], max_chars: int = MAX_SHOWN_CHARS) -> str:
    """The beginning of a text without its secrets; it is cut where no half of a secret is left."""
    if len(text) <= max_chars:
        return printable(redact(text))
    # The end of the piece may cut a secret in two, which then has no shape: it is read, and not shown.
    clean = redact(text[: max_chars + 2 * _MARGIN_CHARS])
    return printable(clean[: min(max_chars, len(clean) - _MARGIN_CHARS)])


def clean_tail(text: str, redact: Callable[[str], str], max_chars: int) -> str:
    """The end of a text of many lines without its secrets, from the beginning of a line on."""
    if len(text) <= max_chars:
        return printable(redact(text))
    clean = redact(text[-8 * max_chars :])[-max_chars:]
    return printable(clean[clean.find("\n") + 1 :])
