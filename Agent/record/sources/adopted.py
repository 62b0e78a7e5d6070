"""Who reads a source, and what all adopted generators share: whose action draws from them, and from where.

A source is read on behalf of the first frame outside the standard library, unless that is exempt; recording
and replays ask here alike, so that both count the same reads. As long as one action draws, its draws are a
count; whoever draws next begins a segment of its own.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from Agent.event.kinds import Category
from Agent.event.values.digest import digest_bytes
from Agent.record.emit.context import current_scope
from Agent.record.encode.native import native
from Agent.record.health import trouble

if TYPE_CHECKING:
    from Agent.record.emit.context import Reads
    from Agent.record.emit.pipeline import Pipeline


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
    return _INSTALLED.search(path) is not None


_INSTALLED = re.compile(r"(?:^|[\\/])(?:site|dist)-packages(?:[\\/]|$)")


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


T = TypeVar("T")

_numbers = itertools.count(1)
_MAX_STATES = 10_000
_lock = threading.RLock()  # a signal handler may draw, too
_told: dict[bytes, str] = {}
_told_in: list[Pipeline] = []


living: weakref.WeakSet[Adopted] = weakref.WeakSet()
"""All that were adopted in this process and are still there."""
_places: Counter[str] = Counter()


class Adopted:
    """One generator whose draws are recorded.

    Args:
        name: the class of the generator, for people.
        place: where it was adopted, see `place_of_caller`.
    """

    __slots__ = ("__weakref__", "name", "number", "owner", "place", "segment")

    kind = ""
    """`random`, `numpy` or `draws`: how its draws are kept."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        """What tells it from others, in another process, too: its name, or the function that adopted it."""
        self.number = next(_numbers)
        living.add(self)
        self.owner: object = self
        """The reads of the action that drew last, None outside of any; itself before the first draw."""
        self.segment: list[Any] = [0, 0]
        """Where that action's draws began, and how many there were since."""

    def begin(self, reads: Reads | None) -> None:
        """From now on this action draws, or None does."""
        with _lock:
            self.owner = self  # whoever draws meanwhile comes here, and waits
            try:
                self.segment = self.outside() if reads is None else self.new_segment(reads)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that draws
                self.segment = [0, 0]
                trouble("a segment of draws", error)
            self.owner = reads

    def outside(self) -> list[Any]:
        """A segment that nobody keeps: it is drawn from outside of actions."""
        return [0, 0]

    def new_segment(self, reads: Reads) -> list[Any]:
        """A segment that begins where the generator stands now, entered in the reads."""
        raise NotImplementedError

    def base_id(self, key: str, segment: list[Any]) -> str | None:
        """The `source.state` event that a recorded segment needs, None for none."""
        raise NotImplementedError

    def drawn(self, count: int, now: Callable[[], T]) -> T:
        """A draw that is recorded, where a player stands in the way of the usual recording."""
        self.follow()
        self.segment[1] += count
        return now()

    def follow(self) -> None:
        """Whoever draws here has a segment of its own."""
        reads = reads_here()
        while self.owner is not reads:
            self.begin(reads)

    def marked(self, mark: str) -> None:
        """Keep what it was seeded with, where draws are kept by value."""

    def move(self, segment: list[Any], base: Any) -> None:
        """As `put`; if it stood elsewhere, what is drawn next begins a new segment."""
        raise NotImplementedError

    def put(self, segment: list[Any], base: Any) -> None:
        """Put the generator where a recorded segment begins; `base` is the state that it counts from."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """Its state, to be compared later."""
        return None

    def began_at(self, snapshot: Any, base: Any) -> bool:  # noqa: ARG002 - of those that are not seeded apart
        """Whether a recorded base is that state."""
        return True

    def end_differs(self, segment: list[Any]) -> bool:  # noqa: ARG002 - of those that count words it cannot
        """Whether as many draws as in the recording left it elsewhere."""
        return False


if native is not None:
    native.learn({"Adopted": Adopted})


def place_of_caller() -> str:
    """The file and function outside this package that adopts, and the ordinal it is; never a line."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the one way to a caller
    while frame is not None and is_own(frame):
        frame = frame.f_back
    code = None if frame is None else frame.f_code
    place = "?" if code is None else f"{PurePath(code.co_filename).stem}.{code.co_qualname}"
    return numbered(place)


def numbered(place: str) -> str:
    """The place with the ordinal of the generator that is adopted there now."""
    _places[place] += 1
    return f"{place}#{_places[place]}"


def reads_here() -> Reads | None:
    """The reads of the action in which the caller stands."""
    scope = current_scope.get()
    return None if scope is None else scope.reads


def tell_state(pipeline: Pipeline, adopted: Adopted, key: bytes, value: Any) -> str:
    """Write a generator's state as a `source.state` event, once a session; its id.

    Args:
        adopted: whose it is.
        key: bytes by which equal states are known.
        value: the state, as the value codec takes it.
    """
    digest = digest_bytes(adopted.place.encode("utf-8", "replace") + b" " + key).encode()
    with _lock:
        if not _told_in or _told_in[0] is not pipeline:
            _told.clear()
            _told_in[:] = [pipeline]
        known = _told.get(digest)
    if known is None:
        slot = pipeline.binding(None, None, "sources", Category.SYSTEM.value).slot("source.state", 10)
        told = {"source": adopted.name, "name": adopted.place, "value": value}
        known = pipeline.emit(slot, adopted.name, told)
        if known and len(_told) < _MAX_STATES:
            _told[digest] = known
    return known


def forget_after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603 - of the one process
    _lock = threading.RLock()
