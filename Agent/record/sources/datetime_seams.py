"""`datetime.now` and `utcnow`, replaced inside the class itself, so that every name and subclass has them.

The class takes no attributes, but the mapping behind it does, if the interpreter is told to look again. Where
that is not to be had nothing is replaced: then these reads are noticed as unrecorded ones.
"""

from __future__ import annotations

import functools
import gc
import importlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from Agent.record.sources.clock import read_source

METHODS = ("now", "utcnow")


def replace_moments() -> Callable[[], None] | None:
    """Put recorded methods in their place; what takes them away again, None where it cannot be done."""
    try:
        namespace, tell, cls = _inside()
        originals = {name: namespace[name] for name in METHODS}
    except (ImportError, AttributeError, LookupError, TypeError):
        return None  # another interpreter: the watch still sees these reads

    def restore() -> None:
        namespace.update(originals)
        tell()

    namespace.update({name: _recorded(name, original) for name, original in originals.items()})
    tell()
    if cls.now.__func__ is not vars(cls)["now"].__func__:
        restore()
        return None
    return restore


def _inside() -> tuple[dict[str, Any], Callable[[], None], Any]:
    """The mapping behind the class, what has the interpreter look at it again, and the class."""
    import ctypes

    cls: Any = _builtin_class()
    (namespace,) = (found for found in gc.get_referents(cls.__dict__) if type(found) is dict)
    modified = ctypes.pythonapi.PyType_Modified
    return namespace, lambda: modified(ctypes.py_object(cls)), cls


def _builtin_class() -> type:
    """The class that C defines, whatever somebody put into its place in the module."""
    found: type = importlib.import_module("_datetime").datetime
    return found


def _recorded(name: str, original: Any) -> Any:
    @functools.wraps(original)
    def read(cls: Any, *args: Any, **kwargs: Any) -> Any:
        zone = args[0] if args else kwargs.get("tz")
        frame = sys._getframe(1)  # noqa: SLF001 - the one way to a caller
        return read_moment(name, cls, zone, lambda: original.__get__(None, cls)(*args, **kwargs), frame)

    return classmethod(read)


def read_moment(name: str, cls: Any, zone: Any, now: Callable[[], Any], frame: FrameType) -> Any:
    """What a method of `METHODS` gives whoever calls it in a frame, see `read_source`."""

    def decode(kept: Any) -> Any:
        iso, fold = (kept, 0) if type(kept) is str else kept
        return cls.fromisoformat(iso).replace(tzinfo=zone, fold=fold)

    return read_source(f"datetime.datetime.{name}", frame, now, _encode, decode)


def _encode(moment: Any) -> Any:
    # As it was shown, without its zone: the one who reads it again gives that.
    bare = moment.replace(tzinfo=None, fold=0).isoformat()
    return [bare, 1] if moment.fold else bare
