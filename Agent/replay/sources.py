"""Sources of chance, time and surroundings, watched while an action is driven: what was not recorded shows.

A profile hook sees every call that Python code makes, by whatever name; states compared before and after see
draws that it cannot. What counts is who asked: the first frame outside the standard library.

Watched: the module functions of `random` and draws from any `random.Random` that is not part of the exposed
state and was not seeded during the action; the module functions of `numpy.random`, unseeded numpy generators;
`time.time`, `monotonic`, `perf_counter`, `process_time`, `thread_time` and their `_ns` forms, and without a
time given `time.localtime`, `gmtime`, `ctime`, `asctime`, `strftime` as attributes of the module;
`datetime.now`, `utcnow`, `today` and `date.today`, of subclasses too;
`uuid.uuid1`, `uuid4`; `os.urandom`, `os.getrandom`, `secrets`, `random.SystemRandom`; reads of `os.environ`
and `os.getenv`; the start of a thread; sockets and new processes, which are refused as well.

Exempt, whoever asked: this package (the demo counts as user code), asyncio, logging, structlog, importlib,
threading, concurrent.futures, queue, selectors, contextvars, warnings, traceback, linecache, unittest.mock.

Cannot be noticed: draws inside C extensions from generators of their own and from numpy `Generator` objects
outside the exposed state; clock functions called by C code (`map(time.time, ...)`,
`functools.partial(time.time)()`); `id()`, `hash()` of an object, the order of a set of objects; files and
databases; the name of the host, the working directory, the number of processors; memory and its collection.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from Agent.replay.outcome import SourceRead

EXEMPT_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextvars",
        "importlib",
        "linecache",
        "logging",
        "queue",
        "selectors",
        "structlog",
        "threading",
        "traceback",
        "unittest",
        "warnings",
    }
)
"""Modules on whose behalf nothing counts."""

_CLOCKS = frozenset(
    {
        *(f"{name}{unit}" for unit in ("", "_ns") for name in ("time", "monotonic", "perf_counter")),
        *("process_time", "process_time_ns", "thread_time", "thread_time_ns"),
    }
)
_MOMENTS = frozenset({"now", "utcnow", "today"})
_ENTROPY = frozenset({"urandom", "getrandom"})
_DRAWS = frozenset({"random", "getrandbits"})
_WATCHED_NAMES = _CLOCKS | _MOMENTS | _ENTROPY | _DRAWS
_REFUSED = {
    "socket.connect": "network",
    "socket.getaddrinfo": "network",
    "socket.gethostbyname": "network",
    "socket.sendto": "network",
    "socket.sendmsg": "network",
    "socket.bind": "network",
    "subprocess.Popen": "a new process",
    "os.system": "a new process",
    "os.posix_spawn": "a new process",
    "os.fork": "a new process",
    "os.forkpty": "a new process",
    "os.exec": "a new process",
}


class SourceWatch:
    """Notes reads of unrecorded sources by driven code.

    Use `watching(step)` around each driven call; `allow` names generators that belong to the exposed state.
    """

    def __init__(self) -> None:
        self.reads: list[SourceRead] = []
        self._step = 0
        self._is_on = False
        self._hook = self._profile
        self._places: set[tuple[str, int]] = set()
        self._read_now: set[str] = set()
        self._allowed: dict[int, Any] = {}
        # By identity: the hash of a code object is made anew, from all of it, each time.
        self._codes = _python_sources()
        self._python_sources = {id(code): source for code, source in self._codes.items()}
        self._seeder_codes = _seeders()
        self._seeders = frozenset(id(code) for code in self._seeder_codes)
        self._global_random = _global_random()
        sys.addaudithook(self._audit)
        _watch_threads(self._thread_started)

    def wrap_modules(self) -> None:
        """Watch module functions that no profile hook sees; call it once the target is imported."""
        _wrap_module_functions(self._called)

    def allow(self, generator: Any) -> None:
        """Draws from this generator are part of the exposed state."""
        self._allowed[id(generator)] = generator

    @contextmanager
    def watching(self, step: int) -> Iterator[None]:
        """Watch until the block ends."""
        self._step = step
        before = _global_states()
        self._read_now.clear()
        threading.setprofile(self._hook)
        self._is_on = True
        sys.setprofile(self._hook)
        try:
            yield
        finally:
            self._is_on = False
            if sys.getprofile() is not self._hook:
                self.reads.append(
                    SourceRead("a profiler, which ended the watch,", "driven code", "?", 0, step)
                )
            sys.setprofile(None)
            threading.setprofile(None)
            self._compare_states(before)

    def _compare_states(self, before: dict[str, Any]) -> None:
        """A draw by C code leaves no call, but it leaves another state."""
        for source, state in _global_states().items():
            place = (source, 0)
            if (
                before.get(source, state) != state
                and source not in self._read_now
                and place not in self._places
            ):
                self._places.add(place)
                self.reads.append(SourceRead(source, "code that was not seen", "?", 0, self._step))

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            name = argument.__name__
            if name in _WATCHED_NAMES:
                source = self._c_source(argument, name)
                if source is not None:
                    self._note(source, frame)
        elif event == "call":
            code = id(frame.f_code)
            source = self._python_sources.get(code)
            if source is not None and frame.f_back is not None:
                self._note(source, frame.f_back)
            elif code in self._seeders:
                self._seeded(frame)

    def _c_source(self, function: Any, name: str) -> str | None:
        owner = getattr(function, "__self__", None)
        if name in _DRAWS and isinstance(owner, sys.modules["_random"].Random):
            if owner is self._global_random:
                return "random"
            return None if id(owner) in self._allowed else "a random.Random outside the exposed state"
        module = getattr(function, "__module__", None)
        if name in _CLOCKS and module == "time":
            return f"time.{name}"
        if name in _ENTROPY and module in {"posix", "nt"}:
            return f"os.{name}"
        if name in _MOMENTS and isinstance(owner, type):
            datetime = sys.modules.get("datetime")
            if datetime is not None and issubclass(owner, datetime.date):
                kind = "datetime" if issubclass(owner, datetime.datetime) else "date"
                return f"datetime.{kind}.{name}" if kind == "datetime" else f"datetime.date.{name}"
        return None

    def _seeded(self, frame: FrameType) -> None:
        """A generator that is seeded from known values during the action draws known numbers."""
        values = frame.f_locals
        generator = values.get("self")
        if generator is self._global_random:
            return
        if frame.f_code.co_name == "seed" and values.get("a") is None:
            self._allowed.pop(id(generator), None)
        else:
            self._allowed[id(generator)] = generator

    def _note(self, source: str, frame: FrameType) -> None:
        asker = self._asker(frame)
        if asker is not None:
            self._add(source, asker)

    def _add(self, source: str, asker: FrameType) -> None:
        self._read_now.add(source)
        code = asker.f_code
        place = (code.co_filename, asker.f_lineno)
        if place in self._places:
            return
        self._places.add(place)
        self.reads.append(
            SourceRead(
                source, code.co_qualname, os.path.basename(code.co_filename), asker.f_lineno, self._step  # noqa: PTH119
            )
        )  # fmt: skip

    def _called(self, source: str, frame: FrameType) -> None:
        if self._is_on:
            self._note(source, frame)

    def _asker(self, frame: FrameType | None) -> FrameType | None:
        """The frame of user or model code on whose behalf a call is made; None where that is exempt."""
        while frame is not None:
            top = module_of(frame)
            if top in EXEMPT_MODULES or is_own(frame):
                return None
            if id(frame.f_code) in self._python_sources:
                return None  # inside uuid4() and its like, which was noted when it was called
            if top not in sys.stdlib_module_names or top == "__main__":
                return frame
            frame = frame.f_back
        return None

    def _audit(self, event: str, _arguments: tuple[Any, ...]) -> None:
        refused = _REFUSED.get(event)
        if refused is None:
            return
        if refused != "network" and not self._is_on:
            return
        if self._is_on:
            asker = self._asker(sys._getframe(1))  # noqa: SLF001 - the one way to a caller
            if asker is not None:
                self._add(refused, asker)
            elif not any(read.source == refused for read in self.reads):
                self.reads.append(SourceRead(refused, "a library", "?", 0, self._step))
        raise PermissionError(f"{refused} is out of reach during a replay")

    def _thread_started(self, frame: FrameType) -> None:
        if self._is_on:
            asker = self._first_outside(frame)
            if asker is not None:
                self._add("a thread, whose order nobody recorded", asker)

    def _first_outside(self, frame: FrameType | None) -> FrameType | None:
        while frame is not None:
            if module_of(frame) not in sys.stdlib_module_names and not is_own(frame):
                return frame
            frame = frame.f_back
        return None


def module_of(frame: FrameType) -> str:
    """The top-level package of the code that runs in a frame."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_own(frame: FrameType) -> bool:
    """Whether it is this package's code; the demo is written as a user would write it."""
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("Agent.") and not name.startswith("Agent.demo")


def _python_sources() -> dict[CodeType, str]:
    """Sources that are Python functions, by their code."""
    import random
    import secrets
    import uuid

    environ: Any = type(os.environ)
    functions: list[tuple[Callable[..., Any], str]] = [
        (uuid.uuid1, "uuid.uuid1"),
        (uuid.uuid4, "uuid.uuid4"),
        (secrets.token_bytes, "secrets"),
        (secrets.token_hex, "secrets"),
        (secrets.token_urlsafe, "secrets"),
        (secrets.randbelow, "secrets"),
        (random.SystemRandom.random, "random.SystemRandom"),
        (random.SystemRandom.getrandbits, "random.SystemRandom"),
        (random.SystemRandom.randbytes, "random.SystemRandom"),
        (environ.__getitem__, "os.environ"),
        (environ.__iter__, "os.environ"),
        (environ.copy, "os.environ"),
        (environ.__repr__, "os.environ"),
    ]
    return {function.__code__: source for function, source in functions if hasattr(function, "__code__")}


def _seeders() -> frozenset[CodeType]:
    import random

    functions: tuple[Any, ...] = (random.Random.seed, random.Random.setstate)
    return frozenset(function.__code__ for function in functions)


def _global_random() -> Any:
    import random

    return random._inst  # noqa: SLF001 - the generator behind the module functions


def _global_states() -> dict[str, Any]:
    """The states of the generators that module functions draw from."""
    import random

    states: dict[str, Any] = {"random": random.getstate()}
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        name, words, position, *gauss = numpy_random.get_state()
        states["numpy.random"] = (name, words.tobytes(), position, gauss)
    return states


def _watch_threads(started: Callable[[FrameType], None]) -> None:
    """Have every new thread see the player of the thread that starts it, and be told of it."""
    import contextvars

    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        started(sys._getframe(1))  # noqa: SLF001 - the one way to a caller
        context = contextvars.copy_context()
        run = self.run
        self.run = lambda: context.run(run)  # type: ignore[method-assign]
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]


_CLOCK_FORMS = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions that read the clock where fewer arguments than one more than this are given, or None."""


def _wrap_module_functions(called: Callable[[str, FrameType], None]) -> None:
    """Replace functions that no profile hook sees, or whose arguments decide, by ones that tell of a call."""
    import time

    for name, needed in _CLOCK_FORMS.items():
        setattr(time, name, _reporting(getattr(time, name), f"time.{name}", called, needed))
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is None:
        return
    behind = numpy_random.mtrand._rand  # noqa: SLF001 - the generator behind the module functions
    for name in list(vars(numpy_random)):
        function = getattr(numpy_random, name)
        if getattr(function, "__self__", None) is behind and name not in {"get_state", "set_state"}:
            setattr(numpy_random, name, _reporting(function, "numpy.random", called, None))


def _reporting(
    function: Callable[..., Any], source: str, called: Callable[[str, FrameType], None], needed: int | None
) -> Callable[..., Any]:
    @functools.wraps(function)
    def report(*args: Any, **kwargs: Any) -> Any:
        if needed is None or len(args) <= needed or args[needed] is None:
            called(source, sys._getframe(1))  # noqa: SLF001 - the one way to a caller
        return function(*args, **kwargs)

    return report
