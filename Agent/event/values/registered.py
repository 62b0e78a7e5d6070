"""Codecs that users register for their own classes; the one table of this package that can grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from Agent.errors import UsageError
from Agent.event.classes import class_name
from Agent.event.values.codecs import is_builtin_type

__all__ = ["REGISTERED", "REGISTERED_NAMES", "RegisteredCodec", "register_codec", "registered_codec"]


class RegisteredCodec(NamedTuple):
    """The way there and back for one class."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


REGISTERED: dict[type, RegisteredCodec] = {}
REGISTERED_NAMES: dict[str, RegisteredCodec] = {}


def registered_codec(cls: type) -> RegisteredCodec | None:
    """The codec registered for exactly this class."""
    try:
        return REGISTERED.get(cls) if REGISTERED else None
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return None


def register_codec(cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
    """Record instances of exactly this class by `encode`, and bring them back by `decode`.

    Args:
        cls: the class; UsageError for types that have their place in the recording already.
        encode: gives a dict with string keys, a list or a tuple, a string, a finite number, a bool or None;
            what stands inside may be anything that can be recorded.
        decode: makes the object again from that; of a tuple it gets a list.
    """
    if is_builtin_type(cls):
        raise UsageError(f"{class_name(cls)} has a codec of its own", remedy="register a class of yours")
    REGISTERED[cls] = REGISTERED_NAMES[class_name(cls)] = RegisteredCodec(encode, decode)
