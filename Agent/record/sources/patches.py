"""Replace the functions that read clocks, entropy and the environment by functions that record.

`uuid4`, `secrets` and `SystemRandom` all read `os.urandom`, so replacing that is enough; `date.today()` and
`datetime.today()` read `time.time`. `datetime.now` and `utcnow` are replaced in the mapping behind their
class: the class accepts no attributes, and another class would break pickles and `isinstance`. If the
interpreter has no such mapping, `sources.py` notices their reads. All reads of `os.environ` use `__getitem__`
and `__iter__` of its class. Names that other modules bound before (`from time import time`) are found in
those modules and replaced too. Functions in default arguments, closures or objects are not replaced:
`sources.py` notices their use. The ids that `uuid_utils` makes in compiled code have a replacement in this
module.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import index
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from Agent.record.emit import installed
from Agent.record.emit.context import ALL_NAMES, OtherSize, Reads, SourcePlayer
from Agent.record.sources.adopted import Asker, asker_of, is_foreign_name, reads_here

T = TypeVar("T")
Patch = tuple[Any, str, Callable[..., Any]]
"""The owner and the name of a function, and its replacement."""


class _Applied(NamedTuple):
    owner: Any
    name: str
    original: Any
    recorded: Any


class Patches:
    """Replaced attributes, in the order of their replacement."""

    def __init__(self) -> None:
        self._patches: list[_Applied] = []

    def apply(self, patches: Iterable[Patch]) -> None:
        """Replace functions, also in modules that bound them before."""
        for owner, name, recorded in patches:
            self._patches.append(_Applied(owner, name, vars(owner)[name], recorded))
            setattr(owner, name, recorded)
        rebind([(patch.original, patch.recorded) for patch in self._patches])

    def undo(self) -> None:
        """Restore the originals, also in modules that bound a replacement in the meantime."""
        for patch in reversed(self._patches):
            # Another value is that of other code, which has replaced it since.
            if vars(patch.owner).get(patch.name) is patch.recorded:
                setattr(patch.owner, patch.name, patch.original)
        rebind([(patch.recorded, patch.original) for patch in self._patches])
        self._patches.clear()


class SharedPatches:
    """All replacements: the first `install` makes them, the last `remove` removes them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._patches = Patches()
        self._restore_moments: Callable[[], None] | None = None

    @property
    def are_installed(self) -> bool:
        """Return whether the replacements are in place."""
        return self._users > 0

    def install(self) -> bool:
        """Add a user; return whether it is the first, for which the replacements were made."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return False
            self._patches.apply(all_patches())
            self._restore_moments = replace_moments()
            return True

    def remove(self) -> bool:
        """Remove a user; return whether it was the last, after which the originals were restored."""
        with self._lock:
            self._users -= 1
            if self._users:
                return False
            if self._restore_moments is not None:
                self._restore_moments()
            self._patches.undo()
            return True

    def after_fork(self) -> None:
        """Replace the lock: another thread of the parent process may have held it."""
        self._lock = threading.RLock()


def rebind(pairs: list[tuple[Any, Any]]) -> None:
    """Replace the first object of each pair by the second in the namespaces of all loaded modules.

    Modules of the standard library and of this package and exempt modules are not changed.
    """
    if not pairs:  # a search of all modules takes 20 ms in a large program
        return
    if _postponed.pairs is not None:
        _postponed.pairs += pairs
        return
    table = {id(old): (old, new) for old, new in pairs}
    known = frozenset(table)
    for module_name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if type(namespace) is not dict or not is_foreign_name(module_name):
            continue
        if known.isdisjoint(map(id, list(namespace.values()))):  # fast check in C, as most modules have none
            continue
        for name, value in list(namespace.items()):
            pair = table.get(id(value))
            if pair is not None and pair[0] is value and not name.startswith("__"):
                namespace[name] = pair[1]


class _Postponed(threading.local):
    pairs: list[tuple[Any, Any]] | None = None


_postponed = _Postponed()


@contextmanager
def rebound_together() -> Iterator[None]:
    """Search all modules once, at the end of the block, for what is replaced in it."""
    if _postponed.pairs is not None:  # a signal handler that began in an outer block
        yield
        return
    pairs: list[tuple[Any, Any]] = []
    _postponed.pairs = pairs
    try:
        yield
    finally:
        _postponed.pairs = None
        rebind(pairs)


source_patches = SharedPatches()
"""The replacements of this process."""


def all_patches() -> list[Patch]:
    """Return (owner, attribute, replacement) for all functions that read a source."""
    return [*clock_patches(), *environment_patches(), *_id_patches()]


_environ: Any = type(os.environ)


def environment_patches() -> list[Patch]:
    """Return (owner, attribute, replacement) for reads of `os.environ`."""
    getitem, names, shown = _environ.__getitem__, _environ.__iter__, _environ.__repr__

    def read_variable(self: Any, key: Any) -> Any:
        def now() -> Any:
            try:
                return getitem(self, key)
            except KeyError:
                return None  # unset, which is recorded as null

        name = _text(key)
        if name is None:
            return getitem(self, key)  # raises the usual error
        value = _read(name, sys._getframe(1), now, _text)  # noqa: SLF001 - the one way to a caller
        if value is None:
            raise KeyError(key)
        return os.fsencode(value) if type(key) is bytes and type(value) is str else value

    def read_names(self: Any) -> Iterator[Any]:
        frame = sys._getframe(1)  # noqa: SLF001 - as above
        variables = _read(ALL_NAMES, frame, lambda: list(names(self)), lambda found: [*map(_text, found)])
        is_bytes = self is getattr(os, "environb", None)
        return iter([os.fsencode(name) if is_bytes and type(name) is str else name for name in variables])

    def show(self: Any) -> str:
        for _ in self.items():
            pass  # `repr` reads all variables, so each is recorded
        return str(shown(self))

    return [
        (_environ, "__getitem__", read_variable),
        (_environ, "__iter__", read_names),
        (_environ, "__repr__", show),
    ]


def _read(name: str, frame: Any, now: Callable[[], Any], as_json: Callable[[Any], Any]) -> Any:
    player, reads, asker = _asked(frame)
    if asker is None:
        return now()
    value = now() if player is None else player.variable(name, asker.frame, now)
    if reads is not None:
        reads.add_variable(name, as_json(value))
    return value


def _asked(frame: FrameType | None) -> tuple[SourcePlayer | None, Reads | None, Asker | None]:
    """Return who answers a read of a source, who records it, and the code that asks; None if nobody does."""
    player, reads = installed.source_player, reads_here()
    return player, reads, asker_of(frame) if player is not None or reads is not None else None


def _text(value: Any) -> str | None:
    """Return a name or value as text; None for other types."""
    if type(value) is bytes:
        return os.fsdecode(value)
    return value if isinstance(value, str) else None


CLOCKS = frozenset(
    {
        *(f"{name}{unit}" for unit in ("", "_ns") for name in ("time", "monotonic", "perf_counter")),
        *("process_time", "process_time_ns", "thread_time", "thread_time_ns"),
    }
)
"""Functions of `time` that read a clock."""
CLOCKS_BY_ID = frozenset({"clock_gettime", "clock_gettime_ns"})
"""Functions of `time` that read the clock with the id in their argument."""
CLOCK_FORMS = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions that read the clock if the time argument is missing or None: {name: its index}."""


def read_source(
    source: str,
    frame: FrameType | None,
    now: Callable[[], T],
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
) -> T:
    """Read a source for a frame: a replay returns the recorded value, else the value is read and recorded."""
    player, reads, asker = _asked(frame)
    if asker is None:
        return now()
    if asker.via and source == "os.urandom":
        source = asker.via
    value = now() if player is None else player.read(source, asker.frame, now, decode or (lambda kept: kept))
    if reads is not None:
        reads.add(source, value if encode is None else encode(value))
    return value


def clock_patches() -> list[Patch]:
    """Return (owner, attribute, replacement) for functions that read clocks or entropy."""
    replacements: list[Patch] = [(time, name, _clock(name)) for name in sorted(CLOCKS) if hasattr(time, name)]
    replacements += [
        (time, name, _reading(getattr(time, name), f"time.{name}"))
        for name in sorted(CLOCKS_BY_ID)
        if hasattr(time, name)
    ]
    replacements += [(time, name, _form(name, needed)) for name, needed in CLOCK_FORMS.items()]
    entropy = _entropy("urandom")
    replacements += [(os, "urandom", entropy), (random, "_urandom", entropy)]
    if hasattr(os, "getrandom"):
        replacements.append((os, "getrandom", _entropy("getrandom")))
    uuid_time: Any = getattr(uuid, "_generate_time_safe", None)
    if uuid_time is not None:
        # its result is that of the system library: 16 bytes and a safety code
        read_uuid_time = _reading(
            uuid_time,
            "uuid.uuid1",
            lambda value: [bytes.hex(value[0]), value[1]],
            lambda kept: (bytes.fromhex(kept[0]), kept[1]),
        )
        replacements.append((uuid, "_generate_time_safe", read_uuid_time))
    return replacements


def _clock(name: str) -> Callable[..., Any]:
    original = getattr(time, name)
    source = f"time.{name}"

    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return original(*args, **kwargs)  # raises the usual error
        return read_source(source, sys._getframe(1), original)  # noqa: SLF001 - the one way to a caller

    return read


def _form(name: str, needed: int) -> Callable[..., Any]:
    """Wrap a function of `CLOCK_FORMS`: the time is read by `read_source` and passed to the function."""
    original, now, local = getattr(time, name), time.time, time.localtime
    takes_seconds = name in {"localtime", "gmtime", "ctime"}
    source = f"time.{name}"

    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) < needed or (len(args) > needed and args[needed] is not None):
            return original(*args, **kwargs)
        seconds = read_source(source, sys._getframe(1), now)  # noqa: SLF001 - as above
        return original(*args[:needed], seconds if takes_seconds else local(seconds))

    return read


def _reading(
    original: Callable[..., Any],
    source: str,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Callable[..., Any]:
    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)  # noqa: SLF001 - as above
        return read_source(source, frame, lambda: original(*args, **kwargs), encode, decode)

    return read


_ALWAYS_WHOLE = 256
"""`getrandom` may return less only if it is asked for more bytes than that."""


def _entropy(name: str) -> Callable[..., Any]:
    """Wrap a function that returns as many random bytes as its argument says."""
    original: Any = getattr(os, name)
    may_be_short = name == "getrandom"

    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        size_bytes = _size_bytes(args[0] if args else kwargs.get("size"))
        if size_bytes < 0:
            return original(*args, **kwargs)  # raises the usual error

        def decode(kept: str) -> bytes:
            answer = bytes.fromhex(kept)
            is_short = may_be_short and _ALWAYS_WHOLE <= len(answer) < size_bytes
            if len(answer) != size_bytes and not is_short:
                raise OtherSize(len(answer), size_bytes)
            return answer

        frame = sys._getframe(1)  # noqa: SLF001 - as above
        return read_source(f"os.{name}", frame, lambda: original(*args, **kwargs), bytes.hex, decode)

    return read


def _size_bytes(argument: Any) -> int:
    """Return the number of bytes that an argument asks for; -1 if the function refuses it."""
    try:
        return index(argument)
    except TypeError:
        return -1


IDS_OF_LIBRARY = "uuid_utils"
"""A compiled module that makes UUIDs and reads clock and entropy directly; LangChain uses it for run ids."""
_MADE_BY_LIBRARY = ("uuid1", "uuid4", "uuid6", "uuid7", "_uuid4_int", "_uuid7_int")


def _id_patches() -> list[Patch]:
    """Return (owner, attribute, replacement) for `uuid_utils`; an empty list if it is not loaded."""
    library: Any = sys.modules.get(IDS_OF_LIBRARY)
    cls = getattr(library, "UUID", None)
    if cls is None:
        return []

    replacements: list[Patch] = []
    for name in _MADE_BY_LIBRARY:
        original = vars(library).get(name)
        if original is None:
            continue
        source, is_number = f"{IDS_OF_LIBRARY}.{name.removeprefix('_')}", name.startswith("_")
        encode: Callable[[Any], Any] = hex if is_number else lambda made: hex(made.int)
        decode: Callable[[Any], Any] = (
            (lambda kept: int(kept, 16)) if is_number else lambda kept: cls(int=int(kept, 16))
        )
        replacements.append((library, name, _reading(original, source, encode, decode)))
    return replacements


METHODS = ("now", "utcnow")


def replace_moments() -> Callable[[], None] | None:
    """Replace `datetime.now` and `utcnow`; return a function that restores them, None if it is impossible."""
    try:
        namespace, tell, cls = _inside()
        originals = {name: namespace[name] for name in METHODS}
    except (ImportError, AttributeError, LookupError, TypeError):
        return None  # another interpreter; `sources.py` still notices these reads

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
    """Return the mapping behind `datetime`, a function to call after changing it, and the class."""
    import ctypes

    cls: Any = _builtin_class()
    (namespace,) = (mapping for mapping in gc.get_referents(cls.__dict__) if type(mapping) is dict)
    modified = ctypes.pythonapi.PyType_Modified
    return namespace, lambda: modified(ctypes.py_object(cls)), cls


def _builtin_class() -> type:
    """Return the class defined in C, even if other code replaced it in the module `datetime`."""
    cls: type = importlib.import_module("_datetime").datetime
    return cls


def _recorded(name: str, original: Any) -> Any:
    @functools.wraps(original)
    def read(cls: Any, *args: Any, **kwargs: Any) -> Any:
        zone = args[0] if args else kwargs.get("tz")
        frame = sys._getframe(1)  # noqa: SLF001 - the one way to a caller
        return read_moment(name, cls, zone, lambda: original.__get__(None, cls)(*args, **kwargs), frame)

    return classmethod(read)


def read_moment(name: str, cls: Any, zone: Any, now: Callable[[], Any], frame: FrameType) -> Any:
    """Return the result of a method of `METHODS` for a frame, see `read_source`."""

    def decode(kept: Any) -> Any:
        iso, fold = (kept, 0) if type(kept) is str else kept
        return cls.fromisoformat(iso).replace(tzinfo=zone, fold=fold)

    return read_source(f"datetime.datetime.{name}", frame, now, _encode, decode)


def _encode(moment: Any) -> Any:
    # The local time without its zone: at replay, `decode` adds the zone that the caller passes.
    bare = moment.replace(tzinfo=None, fold=0).isoformat()
    return [bare, 1] if moment.fold else bare
