"""Find the code that reads a source, and the base class of adopted random generators.

A read belongs to the first frame outside the standard library, unless that frame is exempt. Recording and
replay both use this module, so both count the same reads. The draws of one action are one segment with a
count; a draw by another action begins a new segment.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from Agent.event.classes import is_of_library
from Agent.event.kinds import Category
from Agent.event.values.digest import digest_bytes
from Agent.record.emit.context import current_scope
from Agent.record.encode.native import native
from Agent.record.health import trouble

if TYPE_CHECKING:
    from Agent.record.emit.context import Reads
    from Agent.record.emit.pipeline import Pipeline


EXEMPT_MODULES = frozenset(
    "asyncio concurrent contextvars importlib linecache logging multiprocessing queue selectors structlog "
    "threading traceback unittest warnings".split()
)
"""Modules whose reads are not recorded; nor are those of this package, except its demo."""
FOR_THEMSELVES = frozenset({"gettext", "joblib", "tempfile", "tqdm"})
"""Modules that read sources only for progress bars, file names and languages, not for values of the program.

`recorded_sources()` records such reads and a replay returns them; if they were not recorded, it reports
nothing.
"""

_STANDS_IN = "Agent.replay.drive.numpy_seeds"
"""The module of this package through which numpy reads entropy in a replay; the read belongs to a caller."""
OWN, NOT_OWN = "Agent.", "Agent.demo"
"""Name prefixes: of the modules of this package, and of those among them that count as user code."""
_LIBRARY = sys.stdlib_module_names - {"__main__"}
_FOREIGN, _STANDARD, _EXEMPT = range(3)
_GENERATED = "__create_fn__.<locals>."
"""The prefix of the qualified names of methods that `dataclasses` generates."""
_sorts: dict[str, int] = {}


class Asker(NamedTuple):
    """The frame that reads a source."""

    frame: FrameType
    via: str
    """The function of `uuid`, `secrets` or `random` that reads for the frame; "" if it reads directly."""


def module_of(frame: FrameType) -> str:
    """Return the top-level package of the code of a frame."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def place_of(frame: FrameType) -> str:
    """Return the position of a frame as `function (file.py:12)`."""
    code = frame.f_code
    return f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"  # noqa: PTH119 - a text


def is_own(frame: FrameType) -> bool:
    """Return whether a frame runs code of this package; its demo counts as user code."""
    return is_own_name(str(frame.f_globals.get("__name__", "")))


def is_own_name(name: str) -> bool:
    """Return whether a module name belongs to this package; its demo counts as user code."""
    return name.startswith(OWN) and not name.startswith(NOT_OWN)


def is_foreign_name(name: str) -> bool:
    """Return whether a module belongs to the user or a library, not to Python or this package, nor exempt."""
    return _sort_of(name) == _FOREIGN


def asker_of(frame: FrameType | None) -> Asker | None:
    """Return the frame of user or library code for which `frame` reads; None if that is exempt."""
    via = ""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        sort = _sorts.get(name) if type(name) is str else None
        if sort is None:
            sort = _sort_of(str(name))
        if sort == _FOREIGN and frame.f_code.co_qualname.startswith(_GENERATED):
            frame = frame.f_back  # generated code has no file: the read belongs to its caller
            continue
        if sort == _FOREIGN:
            return None if gc.callbacks and _in_collection(frame) else Asker(frame, via)
        if sort == _EXEMPT:
            return None
        via = _via(str(name), frame) or via
        frame = frame.f_back
    return None


def _in_collection(frame: FrameType | None) -> bool:
    """Return whether the garbage collector called: it runs at any time, so the read belongs to no action."""
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


def is_for_itself(asker: FrameType) -> bool:
    """Return whether the reading frame, or code that it called, reads sources only for its own purposes."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to a caller
    while frame is not None:
        if module_of(frame) in FOR_THEMSELVES:
            return True
        if frame is asker:
            return False
        frame = frame.f_back
    return False


def is_remade(frame: FrameType) -> bool:
    """Return whether numpy creates a generator only to set its state, for a copy or an unpickled object."""
    code = frame.f_code
    return code.co_name.endswith("_ctor") and code.co_filename.replace("\\", "/").endswith(
        "/numpy/random/_pickle.py"
    )


def is_import_of_library(frame: FrameType | None) -> bool:
    """Return whether an installed library is being imported: its draws then reach no agent.

    A module that is run (`python -m`), such as this package's own, does not count as imported.
    """
    while frame is not None:
        caller = frame.f_back
        is_imported = caller is not None and caller.f_code.co_filename.startswith("<frozen importlib")
        if is_imported and frame.f_code.co_name == "<module>":
            return is_of_library(frame.f_code.co_filename)
        frame = caller
    return False


T = TypeVar("T")

_numbers = itertools.count(1)
_MAX_STATES = 10_000
_lock = threading.RLock()  # a signal handler may draw, too
_recorded: dict[bytes, str] = {}
_recorded_in: list[Pipeline] = []


living: weakref.WeakSet[Adopted] = weakref.WeakSet()
"""All generators that were adopted in this process and still exist."""
_places: Counter[str] = Counter()


class Adopted:
    """One generator whose draws are recorded.

    Args:
        name: the class of the generator, for display.
        place: where it was adopted, see `place_of_caller`.
    """

    __slots__ = ("__weakref__", "name", "number", "owner", "place", "segment")

    kind = ""
    """`random`, `numpy` or `draws`: the form in which its draws are recorded."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        """Identifies the generator, in other processes too: its name, or the function that adopted it."""
        self.number = next(_numbers)
        living.add(self)
        self.owner: object = self
        """The reads of the action that drew last, None outside of actions; `self` before the first draw."""
        self.segment: list[Any] = [0, 0]
        """The position at which the owner's draws began, and their number."""

    def begin(self, reads: Reads | None) -> None:
        """Begin the segment of another action; `reads` is None outside of actions."""
        with _lock:
            self.owner = self  # a draw in another thread sees a changed owner, calls `begin` and waits
            try:
                self.segment = self.outside() if reads is None else self.new_segment(reads)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that draws
                self.segment = [0, 0]
                trouble("a segment of draws", error)
            self.owner = reads

    def outside(self) -> list[Any]:
        """Return a segment for draws outside of actions, which is not recorded."""
        return [0, 0]

    def new_segment(self, reads: Reads) -> list[Any]:
        """Add a segment that begins at the current position of the generator to the reads, and return it."""
        raise NotImplementedError

    def base_id(self, key: str, segment: list[Any]) -> str | None:
        """Return the id of the `source.state` event that a recorded segment refers to, or None."""
        raise NotImplementedError

    def drawn(self, count: int, now: Callable[[], T]) -> T:
        """Record a draw during a replay, when the player replaces the usual recording."""
        self.follow()
        self.segment[1] += count
        return now()

    def follow(self) -> None:
        """Begin a new segment if the current action is not the one that drew last."""
        reads = reads_here()
        while self.owner is not reads:
            self.begin(reads)

    def marked(self, mark: str) -> None:
        """Record a seed; only for generators whose draws are recorded by value."""

    def move(self, segment: list[Any], base: Any) -> None:
        """Do as `put`; if this changes the position, the next draw begins a new segment."""
        raise NotImplementedError

    def put(self, segment: list[Any], base: Any) -> None:
        """Set the generator to the start of a recorded segment, which is counted from the state `base`."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """Return the state of the generator, to be compared later."""
        return None

    def began_at(self, snapshot: Any, base: Any) -> bool:  # noqa: ARG002 - of those that are not seeded apart
        """Return whether a recorded base equals a snapshot."""
        return True

    def end_differs(self, segment: list[Any]) -> bool:  # noqa: ARG002 - of those that count words it cannot
        """Return whether the state after equally many draws differs from the recorded one."""
        return False


if native is not None:
    native.learn({"Adopted": Adopted})


def place_of_caller() -> str:
    """Return the file and function outside this package that adopts, with an ordinal.

    Line numbers are left out, since they change with every edit of the file.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the one way to a caller
    while frame is not None and is_own(frame):
        frame = frame.f_back
    code = None if frame is None else frame.f_code
    place = "?" if code is None else f"{PurePath(code.co_filename).stem}.{code.co_qualname}"
    return numbered(place)


def numbered(place: str) -> str:
    """Append the ordinal of the generator that is being adopted at this place, counted from 1."""
    _places[place] += 1
    return f"{place}#{_places[place]}"


def reads_here() -> Reads | None:
    """Return the reads of the current action, None outside of actions."""
    scope = current_scope.get()
    return None if scope is None else scope.reads


def tell_state(pipeline: Pipeline, name: str, place: str, key: bytes, value: Any) -> str:
    """Write a generator's state as a `source.state` event, once per session, and return the event's id.

    Args:
        name: the class of the generator, for display.
        place: identifies the generator.
        key: bytes that are equal for equal states.
        value: the state, in a form that the value codec encodes.
    """
    digest = digest_bytes(place.encode("utf-8", "replace") + b" " + key).encode()
    with _lock:
        if not _recorded_in or _recorded_in[0] is not pipeline:
            _recorded.clear()
            _recorded_in[:] = [pipeline]
        known = _recorded.get(digest)
    if known is None:
        slot = pipeline.binding(None, None, "sources", Category.SYSTEM.value).slot("source.state", 10)
        payload = {"source": name, "name": place, "value": value}
        known = pipeline.emit(slot, name, payload)
        if known and len(_recorded) < _MAX_STATES:
            _recorded[digest] = known
    return known


def forget_after_fork() -> None:
    """Replace the lock: another thread of the parent process may have held it."""
    global _lock  # noqa: PLW0603 - of the one process
    _lock = threading.RLock()
