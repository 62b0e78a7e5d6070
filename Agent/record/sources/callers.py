"""On whose behalf a source is read: the first frame outside the standard library, unless that is exempt.

Recording and replays ask here alike, so that both count the same reads.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from types import FrameType
from typing import NamedTuple

EXEMPT_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextvars",
        "importlib",
        "linecache",
        "logging",
        "multiprocessing",
        "queue",
        "selectors",
        "structlog",
        "threading",
        "traceback",
        "unittest",
        "warnings",
    }
)
"""Modules on whose behalf nothing counts; this package is another one, but for its demo."""
FOR_THEMSELVES = frozenset({"joblib", "tqdm"})
"""Libraries that read clocks and ids for progress and names of files, from which no value of a program comes.

`recorded_sources()` keeps such reads and a replay answers them; not to have recorded them is no reason.
"""

_STANDS_IN = "Agent.replay.drive.numpy_seeds"
"""Code of ours through which numpy reads entropy: on whose behalf, the frames behind it say."""
OWN, NOT_OWN = "Agent.", "Agent.demo"
"""How names of modules of this package begin, and of those that count as the user's."""
_LIBRARY = sys.stdlib_module_names - {"__main__"}
_FOREIGN, _STANDARD, _EXEMPT = range(3)
_GENERATED = "__create_fn__.<locals>."
"""How the names of methods begin that `dataclasses` writes."""
_sorts: dict[str, int] = {}


class Asker(NamedTuple):
    """Who reads a source."""

    frame: FrameType
    via: str
    """The function of `uuid`, `secrets` or `random` that reads on its behalf; "" if there is none."""


def module_of(frame: FrameType) -> str:
    """The top-level package of the code that runs in a frame."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def place_of(frame: FrameType) -> str:
    """Where a frame is, as `function (file.py:12)`."""
    code = frame.f_code
    return f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"  # noqa: PTH119 - a text


def is_own(frame: FrameType) -> bool:
    """Whether it is this package's code; the demo is written as a user would write it."""
    return is_own_name(str(frame.f_globals.get("__name__", "")))


def is_own_name(name: str) -> bool:
    """The same for the name of a module."""
    return name.startswith(OWN) and not name.startswith(NOT_OWN)


def is_foreign_name(name: str) -> bool:
    """Whether a module is the user's or a library's: neither standard, nor exempt, nor this package."""
    return _sort_of(name) == _FOREIGN


def asker_of(frame: FrameType | None) -> Asker | None:
    """The frame of user or model code on whose behalf `frame` reads; None where that is exempt."""
    via = ""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        sort = _sorts.get(name) if type(name) is str else None
        if sort is None:
            sort = _sort_of(str(name))
        if sort == _FOREIGN and frame.f_code.co_qualname.startswith(_GENERATED):
            frame = frame.f_back  # that line stands in no file: who makes the object asks
            continue
        if sort == _FOREIGN:
            return None if gc.callbacks and _in_collection(frame) else Asker(frame, via)
        if sort == _EXEMPT:
            return None
        via = _via(str(name), frame) or via
        frame = frame.f_back
    return None


def _in_collection(frame: FrameType | None) -> bool:
    """Whether the garbage collector called: it comes when it likes, on nobody's behalf."""
    codes = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _via(module: str, frame: FrameType) -> str:
    if module == "uuid":
        return f"uuid.{frame.f_code.co_name}"
    if module == "secrets":
        return "secrets"
    if module == "random" and frame.f_code.co_qualname.startswith("SystemRandom"):
        return "random.SystemRandom"
    return ""


def _sort_of(name: str) -> int:
    known = _sorts.get(name)
    if known is None:
        top = name.partition(".")[0]
        if name == _STANDS_IN:
            known = _STANDARD
        elif top in EXEMPT_MODULES or is_own_name(name):
            known = _EXEMPT
        else:
            known = _STANDARD if top in _LIBRARY else _FOREIGN
        _sorts[name] = known
    return known


def is_of_library(path: str) -> bool:
    """Whether a file belongs to an installed library."""
    return not {"site-packages", "dist-packages"}.isdisjoint(re.split(r"[\\/]", path))


def is_remade(frame: FrameType) -> bool:
    """Whether numpy makes a generator to put a state into it, as copies and unpickling do."""
    code = frame.f_code
    return code.co_name.endswith("_ctor") and code.co_filename.replace("\\", "/").endswith(
        "/numpy/random/_pickle.py"
    )


def is_import_of_library(frame: FrameType | None) -> bool:
    """Whether an installed library is just being imported: what it draws then goes into no agent.

    A module that is run is not imported, such as this package's own where it is installed.
    """
    while frame is not None:
        caller = frame.f_back
        is_imported = caller is not None and caller.f_code.co_filename.startswith("<frozen importlib")
        if is_imported and frame.f_code.co_name == "<module>":
            return is_of_library(frame.f_code.co_filename)
        frame = caller
    return False
