"""Turn on the recording of sources (`recorded_sources()`, `adopt()`), and detect reads that it misses.

Reads within a traced action are recorded in its event; reads outside of actions are not recorded.

The watch observes calls of the C functions that read clocks and draw random numbers, under any name. So it
finds a draw from a generator that is not adopted, with the place of the call, and a clock in a default
argument or a field's factory, which is then recorded and answered like a replaced function. The native part
changes the definitions of these functions, so no other call is slowed down; without it, a profile hook sees
all calls from Python code. A replay uses the same watch with another hook.
"""

from __future__ import annotations

import importlib
import inspect
import os
import random
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import FrameType, ModuleType, TracebackType
from typing import Any, Self, TypeVar

from Agent.errors import ConfigurationError
from Agent.event.kinds import Category
from Agent.record.emit import installed
from Agent.record.emit.context import Reads
from Agent.record.encode.native import native
from Agent.record.encode.safe_text import as_message
from Agent.record.health import note, say, trouble
from Agent.record.sources import adopted as adopted_generators
from Agent.record.sources.adopted import (
    NOT_OWN,
    OWN,
    Adopted,
    Asker,
    asker_of,
    is_import_of_library,
    is_remade,
    numbered,
    reads_here,
)
from Agent.record.sources.generators import (
    AdoptedDraws,
    AdoptedRandom,
    adopt_numpy,
    adopt_random,
    adopt_random_module,
    adopted_of,
    hidden_random,
    numpy_module_patches,
    numpy_random_module,
    release_random_module,
)
from Agent.record.sources.patches import (
    CLOCKS,
    CLOCKS_BY_ID,
    Patches,
    read_moment,
    read_source,
    rebound_together,
    source_patches,
)

Hook = Callable[[FrameType, str, Any], None]

_MOMENTS = frozenset({"now", "utcnow"})  # `today` looks up `time.time` by name
_ENTROPY = frozenset({"urandom", "getrandom"})
_DRAWS = frozenset({"random", "getrandbits"})
_SEEDS = frozenset({"seed", "setstate"})
WATCHED_NAMES = CLOCKS | CLOCKS_BY_ID | _MOMENTS | _ENTROPY | _DRAWS
"""Names of the C functions that are watched."""
UNADOPTED = "a random.Random outside the exposed state"
_MAX_SITES = 1_000
_FIRST_CALLS = 32
_EVERY = 64
_seeder_codes = (random.Random.seed.__code__, random.Random.setstate.__code__)
# By identity, as the hash of a code object is computed from all its parts at each use.
SEEDERS = frozenset(map(id, _seeder_codes))
"""The ids of the code objects that seed a generator."""


def begin_hook(hook: Hook, known: dict[int, Any] | None = None) -> None:
    """Call a hook for watched calls in this thread and in every thread that starts later.

    Args:
        known: generators, by id, whose draws do not need the hook; a profile hook gets them anyway.
    """
    threading.setprofile(partial(_begin_in_thread, hook, known))
    _set(hook, known)


def has_hook(hook: Hook) -> bool:
    """Return whether this hook is set in this thread; a profiler started later replaces a profile hook."""
    return present_hook() is hook


def present_hook() -> Any:
    """Return the hook or profiler that `begin_hook` would replace in this thread, or None."""
    watcher = _watcher()
    return sys.getprofile() if watcher is None else watcher.told_hook()


def end_hook() -> None:
    """Remove the hook from this thread and from threads that start later."""
    _set(None, None)
    threading.setprofile(None)


def answer_hidden_reads() -> None:
    """Also record and answer clocks that could not be replaced: in default arguments, closures and C code."""
    if (watcher := _watcher()) is not None:
        watcher.answer_reads(_answer)


def end_hidden_reads() -> None:
    """Undo `answer_hidden_reads`."""
    if (watcher := _watcher()) is not None:
        watcher.answer_reads(None)


def _answer(function: Any, frame: FrameType) -> Any:
    """Return the result of a watched function called without arguments; None if it is not recorded."""
    if installed.source_player is None and reads_here() is None:
        return None
    source = source_of_call(function, function.__name__, lambda _: True)
    if source is None:
        return None
    if source.startswith("datetime."):
        return read_moment(function.__name__, function.__self__, None, function, frame)
    return read_source(source, frame, function)


def touch_notice() -> Callable[[Callable[[], None] | None], None] | None:
    """Return a function that registers a callback for the next change of the hidden generator of `random`.

    The callback is called once, before the change. None without the native part: then only a comparison of
    states shows a change.
    """
    return getattr(_watcher(), "before_touch", None)


def _begin_in_thread(
    hook: Hook, known: dict[int, Any] | None, frame: FrameType, event: str, argument: Any
) -> None:
    """Set the hook in a new thread, at its first profile event."""
    if native is not None:
        sys.setprofile(None)
    _set(hook, known)
    hook(frame, event, argument)


def _set(hook: Hook | None, known: dict[int, Any] | None) -> None:
    if (watcher := _watcher()) is not None:
        watcher.watch_calls(hook, known)
    else:
        sys.setprofile(hook)


def _watcher() -> Any:
    """Return the native part if it can watch calls, else None."""
    return native if native is not None and _is_watching(native) else None


@cache
def _is_watching(native: Any) -> bool:
    """Pass the watched functions to the native part, unwrapped, and return whether it can watch them."""
    if not hasattr(native, "told_hook"):
        return False
    clocks: Any = importlib.import_module("time")
    system: Any = sys.modules.get("posix") or sys.modules["nt"]
    moments: Any = importlib.import_module("_datetime").datetime
    twister: Any = vars(sys.modules["_random"].Random)
    functions = [
        inspect.unwrap(getattr(clocks, name))
        for name in sorted(CLOCKS | CLOCKS_BY_ID)
        if hasattr(clocks, name)
    ]
    functions += [getattr(system, name) for name in sorted(_ENTROPY) if hasattr(system, name)]
    functions += [inspect.unwrap(vars(moments)[name]) for name in sorted(_MOMENTS)]
    drawing, seeding = (tuple(twister[name] for name in sorted(names)) for names in (_DRAWS, _SEEDS))
    hidden = vars(sys.modules["random"])["_inst"]
    return bool(native.set_watched(tuple(functions), drawing, seeding, OWN, NOT_OWN, hidden))


def seeds_with_known_values(frame: FrameType) -> bool:
    """Return whether a call of one of `SEEDERS` seeds with a given value, not with entropy."""
    return frame.f_code.co_name != "seed" or frame.f_locals.get("a") is not None


def source_of_call(function: Any, name: str, is_known: Callable[[Any], bool]) -> str | None:
    """Return the source that a C function with a watched name reads, None for any other function.

    Args:
        is_known: returns whether the draws of a generator count as recorded.
    """
    owner = getattr(function, "__self__", None)
    if name in _DRAWS and isinstance(owner, sys.modules["_random"].Random):
        if owner is vars(sys.modules["random"])["_inst"]:
            return "random"
        return None if is_known(owner) else UNADOPTED
    module = getattr(function, "__module__", None)
    if (name in CLOCKS or name in CLOCKS_BY_ID) and module == "time":
        return f"time.{name}"
    if name in _ENTROPY and module in {"posix", "nt"}:
        return f"os.{name}"
    if name in _MOMENTS and isinstance(owner, type):
        datetime = sys.modules.get("datetime")
        if datetime is not None and issubclass(owner, datetime.date):
            kind = "datetime" if issubclass(owner, datetime.datetime) else "date"
            return f"datetime.{kind}.{name}"
    return None


@dataclass(slots=True)
class UnrecordedRead:
    """A place in the code whose read of a source was not recorded."""

    source: str
    function: str
    file: str
    line: int
    count: int = 1

    def __str__(self) -> str:
        times = "" if self.count == 1 else f", {self.count} times"
        return f"{self.source} read by {self.function} ({self.file}:{self.line}{times})"


class ReadNotice:
    """Notices reads of traced actions that are not recorded; each place is reported once and counted.

    Args:
        is_full: watch every action; else the first 32 calls of each traced function and every 64th, since a
            watched call takes about 3 times as long.
        draws_only: ignore clocks and entropy.
    """

    def __init__(self, *, is_full: bool = False, draws_only: bool = False) -> None:
        self.found: dict[tuple[str, str, int], UnrecordedRead] = {}
        self._is_full = is_full
        self._draws_only = draws_only
        self._hook = self._profile
        self._seeded: weakref.WeakSet[Any] = weakref.WeakSet()
        self._calls: Counter[object] = Counter()
        self._recorded: dict[tuple[str, str, int], int] = {}

    def begin(self, function: object) -> bool:
        """Begin an action, a call of `function`; return whether it is watched and needs a call of `end`."""
        self._calls[function] += 1
        number = self._calls[function]
        if not (self._is_full or number <= _FIRST_CALLS or number % _EVERY == 0):
            return False
        present = present_hook()
        if present is not None or installed.source_player is not None:
            if present is not None and not isinstance(getattr(present, "__self__", None), ReadNotice):
                note("a profiler is at work, so reads past the recorder are not noticed")
            return False
        begin_hook(self._hook)
        return True

    def end(self) -> None:
        """End the watched action."""
        if has_hook(self._hook):
            end_hook()

    def tell_counts(self) -> None:
        """Write the number of reads of each place."""
        for place, read in self.found.items():
            if read.count > self._recorded.get(place, 1):
                self._recorded[place] = read.count
                _tell(read, {"count": read.count})

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "c_call":
            if event == "call" and id(frame.f_code) in SEEDERS:
                self._see_seed(frame)
            return
        name = argument.__name__
        if name not in (_DRAWS if self._draws_only else WATCHED_NAMES) or reads_here() is None:
            return
        source = source_of_call(argument, name, self._is_known)
        if source is None:
            return
        asker = asker_of(frame)
        if asker is None or is_remade(asker.frame):
            return
        if source == UNADOPTED and is_import_of_library(asker.frame):
            return
        owner = getattr(argument, "__self__", None)
        if isinstance(owner, random.Random):
            adopted = adopted_of(owner)
            if isinstance(adopted, AdoptedRandom):
                adopted.restart()  # its count misses this draw, so count from a new base
        self._note(source, asker)

    def _see_seed(self, frame: FrameType) -> None:
        """Note a seed: after a seed with a given value in an action, the draws are reproducible."""
        generator = frame.f_locals.get("self")
        if reads_here() is not None and seeds_with_known_values(frame):
            self._seeded.add(generator)
        else:
            self._seeded.discard(generator)

    def _is_known(self, generator: Any) -> bool:
        """Return whether the draws of a generator are reproducible, from its agent's state or its seed."""
        if not isinstance(generator, random.Random):
            return False
        adopted = adopted_of(generator)
        if adopted is not None:
            # A draw inside one of its recording methods is part of the value that the method records.
            return isinstance(adopted, AdoptedDraws) and adopted.drawing_thread == threading.get_ident()
        active = installed.active_pipeline()
        is_state = active is not None and active.agents.holders.is_of_one(generator)
        return is_state or generator in self._seeded

    def _note(self, source: str, asker: Asker) -> None:
        code, line = asker.frame.f_code, asker.frame.f_lineno
        place = (source, code.co_filename, line)
        known = self.found.get(place)
        if known is not None:
            known.count += 1
            return
        if len(self.found) >= _MAX_SITES:
            note("more places read past the recorder than are named")
            return
        file = os.path.basename(code.co_filename)  # noqa: PTH119 - a text, not a file
        read = self.found[place] = UnrecordedRead(source, code.co_qualname, file, line)
        note("a source was read past the recorder")
        active = installed.active_pipeline()
        if active is not None and self.tell_counts not in active.at_close:
            active.at_close.append(self.tell_counts)
        if len(self.found) == 1:
            say(f"{read} goes past the recorder, so a replay cannot prove anything; Agent.health() counts")
        _tell(read, {})


def _tell(read: UnrecordedRead, more: dict[str, Any]) -> None:
    active = installed.active_pipeline()
    if active is None:
        return
    slot = active.binding(None, None, "sources", Category.SYSTEM.value).slot("source.read", 30)
    payload = {"source": read.source, "call": read.function, "file": read.file, "line": read.line, **more}
    active.emit(slot, read.source, payload)


T = TypeVar("T")


class _Adoptions:
    """The adoptions of this process: lasting ones, and those of the outermost `recorded_sources` block."""

    def __init__(self) -> None:
        self.random_of_block = False
        self.numpy_of_block: Patches | None = None
        self.has_numpy = False
        self.notice: ReadNotice | None = None
        """The notice of the outermost block."""
        self.is_lasting = False
        self.lasting_notice: ReadNotice | None = None
        """The notice while generators are adopted by `adopt`; it watches draws only."""

    def open(self, *, lasting: bool = False, notices: bool = True) -> None:
        """Record the reads of actions from now on."""
        self.is_lasting |= lasting
        if lasting and notices and self.lasting_notice is None:
            self.lasting_notice = ReadNotice(draws_only=True)
        self._choose()

    def close(self) -> None:
        """End the outermost block."""
        notice, self.notice = self.notice, None
        if notice is not None:
            notice.tell_counts()
        if self.is_lasting:
            self._choose()
        else:
            installed.open_reads = None

    def _choose(self) -> None:
        has_more = source_patches.are_installed or self.notice is not None or self.lasting_notice is not None
        installed.open_reads = self._reads if has_more or native is None else native.new_reads

    def _reads(self, function: object) -> Reads:
        """Make the `Reads` of a call of a traced function."""
        reads = Reads()
        if (
            not self.has_numpy and "numpy" in sys.modules and source_patches.are_installed
        ):  # it was loaded since the block began
            self.numpy_of_block = self.adopt_numpy_module()
        notice = self.notice if source_patches.are_installed else self.lasting_notice
        if notice is not None and notice.begin(function):
            reads.at_close.append(lambda _reads: notice.end())
        return reads

    def adopt_numpy_module(self) -> Patches | None:
        """Replace the functions of `numpy.random`; None if they are already, or numpy is not loaded."""
        module = None if self.has_numpy else numpy_random_module()
        if module is None:
            return None
        patches = Patches()
        patches.apply(numpy_module_patches(module))
        self.has_numpy = True
        return patches


_adoptions = _Adoptions()


def adopt(source: T, name: str | None = None) -> T:
    """Record the draws of a generator, so that a replay draws the same, and return the generator.

    A `random.Random`, and the module `random` or `numpy.random`, is adopted in place, for all its holders.
    For numpy's generators another object over the same stream is returned: use that one. Adopting again
    changes nothing, and a copy is not adopted. An object that cannot be adopted is returned unchanged and
    counted in `Agent.health()`.

    Args:
        source: the generator.
        name: identifies the generator in a replay; needed if the target adopts several in other functions.
    """
    try:
        found = _adopt(source, None if name is None else as_message(name).replace("#", "_"))
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        trouble("adopting a generator", error)
        return source
    if found is None:
        note(f"a {type(source).__qualname__} cannot be adopted")
        return source
    _adoptions.open(lasting=True)
    return found  # type: ignore[no-any-return]


def adopt_held(generator: random.Random, place: str) -> None:
    """Record the draws of a generator that the recorder found in a recorded object.

    Args:
        place: the class and the attribute that hold the generator.
    """
    if generator is not hidden_random and adopted_of(generator) is None:
        adopt_random(generator, numbered(place))
        _adoptions.open(lasting=True, notices=False)  # notices take time, and the user did not enable them


def _adopt(source: Any, name: str | None) -> Any:
    if source is random:
        adopt_random_module()
        _adoptions.random_of_block = False
        return source
    if isinstance(source, ModuleType):
        if source is not sys.modules.get("numpy.random"):
            return None
        _adoptions.adopt_numpy_module()
        _adoptions.numpy_of_block = None
        return source
    if isinstance(source, random.Random):
        if source is hidden_random:
            return _adopt(random, None) and source
        adopt_random(source, name)
        return source
    return adopt_numpy(source, name)


def adoption_of(generator: Any) -> Adopted | None:
    """Return the `Adopted` of a generator, None if it is not adopted."""
    if isinstance(generator, random.Random):
        return adopted_of(generator)
    return getattr(generator, "agent_trace_adopted", None)


class recorded_sources:  # noqa: N801 - used like a function
    """Record random draws and reads of clocks and the environment in a block: `with recorded_sources():`.

    The sources are the functions of `random` and `numpy.random`, clocks, `datetime.now` and `utcnow`,
    `uuid1`, `uuid4`, `os.urandom`, `secrets` and `os.environ`. Blocks may be nested, also across threads; the
    last one to end restores the originals.

    Args:
        notice: which calls of traced functions are checked for reads that are not recorded (`unrecorded`):
            `some` checks the first 32 calls of each function and every 64th, `all` checks each call, which
            takes about 3 times as long, `none` checks none. A replay checks all calls. In nested blocks, the
            setting of the outermost one applies.
    """

    def __init__(self, *, notice: str = "some") -> None:
        if notice not in {"some", "all", "none"}:
            raise ConfigurationError(f"notice={notice!r} is unknown", remedy="use some, all or none")
        self._how = notice
        self._notice: ReadNotice | None = None
        self._is_in = False

    @property
    def unrecorded(self) -> tuple[UnrecordedRead, ...]:
        """Return the places with unrecorded reads so far."""
        return () if self._notice is None else tuple(self._notice.found.values())

    def __enter__(self) -> Self:
        try:
            self._enter()
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            trouble("recorded_sources", error)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._exit()
        except Exception as error:  # noqa: BLE001 - as above
            trouble("recorded_sources", error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _enter(self) -> None:
        with rebound_together():
            is_first = source_patches.install()
            self._is_in = True
            if is_first:
                answer_hidden_reads()
                _adoptions.random_of_block = adopted_of(hidden_random) is None
                adopt_random_module()
                _adoptions.numpy_of_block = _adoptions.adopt_numpy_module()
        if is_first:
            _adoptions.notice = None if self._how == "none" else ReadNotice(is_full=self._how == "all")
            _adoptions.open()
        self._notice = _adoptions.notice

    def _exit(self) -> None:
        if not self._is_in:
            return
        self._is_in = False
        with rebound_together():
            if not source_patches.remove():
                return
            end_hidden_reads()
            if _adoptions.random_of_block:
                release_random_module()
                _adoptions.random_of_block = False
            if _adoptions.numpy_of_block is not None:
                _adoptions.numpy_of_block.undo()
                _adoptions.numpy_of_block = None
                _adoptions.has_numpy = False
        _adoptions.close()


def _after_fork_in_child() -> None:
    source_patches.after_fork()
    adopted_generators.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
