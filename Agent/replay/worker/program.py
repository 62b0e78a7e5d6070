"""Rerun a whole recorded program in a worker process, isolated from everything outside.

`program_run.py` uses this where replaying single actions does not decide.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

from Agent.event.classes import is_of_library
from Agent.event.script_names import name_copy
from Agent.event.values.digest import digest_bytes
from Agent.record.emit import installed
from Agent.record.sources.adopted import is_foreign_name, is_import_of_library, is_own, module_of
from Agent.record.sources.sources import adopt
from Agent.replay.compare.outcome import SourceRead
from Agent.replay.compare.program_state import bases_still_here
from Agent.replay.drive import watched
from Agent.replay.drive.changes_between import ScriptedChanges
from Agent.replay.drive.numpy_seeds import numpy_state_if_used
from Agent.replay.drive.watched import (
    NEW_PROCESS,
    REFUSED,
    SourceWatch,
    announce_spawned_processes,
    is_of_pool,
    is_trial,
    path_of,
    user_place,
    writes,
)
from Agent.replay.plan.recording import package_of
from Agent.replay.worker.workbench import turn_recording_away

_CHANGING: Final = dict.fromkeys(
    ("open", "sqlite3.connect", "os.truncate", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.chown"), 1
) | dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2)
"""Audit events that change files, with the number of arguments that are paths."""

_ACCESS: Final = os.O_ACCMODE | os.O_TRUNC
_ANEW: Final = os.O_WRONLY | os.O_TRUNC
"""Flags of a file that is opened for overwriting, so its old contents do not matter."""

_LISTING: Final = {"os.listdir", "os.scandir", "os.walk", "glob.glob"}
"""Audit events that list files."""

_LOOKUPS: Final = {"ctypes.util", "platform"}
"""Modules whose processes (ldconfig, gcc, uname) change nothing."""

_SHARED_MEMORY: Final = {"multiprocessing.heap"}
"""Modules whose files lose their names at once: only this process and those it forks see them."""

_OF_SYSTEM: Final = re.compile("/(dev(?!/shm/)|proc|sys)/")
"""Places of files that the system makes up; those in `/dev/shm` are a user's."""

_SIGNALS: Final = {"os.kill", "os.killpg"}


main_module: ModuleType | None = None
"""The module that a program fills here; None before one runs."""


def run_program(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the program of a request as `__main__`; return what the guard refused, and how the program failed.

    The recording ends when this process ends.

    Args:
        request: `program`, its file; `argv`; `directory`, the only writable place; `moved`, the working
            directory and its copy; `environment`; `left_out`, files missing from the copy;
            `recorded_until_ns`, when the recording ended; `by_hand`, changes to make at ticks;
            `bases`, recorded classes to look for at the end; `globals`, those whose values it ends with;
            `looks_at_numpy`, whether to find out where the program draws from numpy's global generator,
            instead of recording it; `looks_at_order`, whether to find out what may change the order of tasks.
    """
    directory = Path(request["directory"])
    here, there = request["moved"]
    writable = (directory, Path(request["outcome_path"]).parent)
    _turn_away(*writable)
    os.environ.update(request["environment"])
    os.chdir(there)
    if there != here:
        name_copy(there, here)
    tempfile.tempdir = str(directory)
    module, package = _main_module(request)
    guard = ProgramGuard(
        *writable,
        left_out=request["left_out"],
        recorded_until_ns=request["recorded_until_ns"],
    )
    failure = ""
    by_hand = ScriptedChanges(request["by_hand"])
    installed.at_tick = by_hand.at_tick
    installed.asked_of_program = request["globals"]
    begun = random.getstate()
    guard.begin()
    watch = SourceWatch()
    looks_at_numpy = request["looks_at_numpy"]
    if looks_at_numpy:
        adopt(import_module("numpy.random"))
    order = OrderOfTasks() if request["looks_at_order"] else None
    try:
        with watch.building(records=not looks_at_numpy):
            if package:
                import_module(package)
            SourceFileLoader("__main__", str(module.__file__)).exec_module(module)
    except SystemExit as left:
        failure = f"exit code {left.code}" if isinstance(left.code, int) else str(left.code or "")
        failure = "" if left.code == 0 else failure
    except Exception as error:  # noqa: BLE001 - the user's program; the caller reports it
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    reads = watch.built_by_chance()
    return {
        "refused": guard.refused,
        "failure": failure or by_hand.failure,
        "chance": _chance(begun),
        "unseeded": [_describe(read) for read in reads if not read.is_of_library],
        "drawn_by_libraries": [_describe(read) for read in reads if read.is_of_library],
        "clocks": [_describe(read) for read in watch.clocks if not read.is_of_library],
        "clocks_of_libraries": [_describe(read) for read in watch.clocks if read.is_of_library],
        "asked_for_left_out": _named_below(there, guard.asked_for_left_out),
        "read_newer": _named_below(there, guard.read_newer),
        "has_free_order": order is not None and order.is_free,
        "bases_here": bases_still_here(request["bases"]),
    }


def _main_module(request: Mapping[str, Any]) -> tuple[ModuleType, str]:
    """Return the module that the program fills, and its package; set `sys.argv` and `sys.path` for it."""
    here, there = request["moved"]
    path = _moved(request["program"], here, there)
    sys.argv[:] = request["argv"]
    package, location = package_of(Path(request["argv"][0]))
    own = str(Path(path).parent)
    others = [_moved(each, here, there) for each in sys.path]
    # A script called by its full path may be in a package, too, and import modules next to it.
    sys.path[:] = [_moved(str(location), here, there), *others, own] if package else [own, *others]
    module = ModuleType("__main__")
    module.__file__ = path
    if package:  # as Python does; recordings use this module name
        module.__package__, module.__spec__ = package, ModuleSpec(f"{package}.{Path(path).stem}", None)
    global main_module  # noqa: PLW0603 - a process runs one program
    main_module = sys.modules["__main__"] = module
    return module, package


def _named_below(directory: str, paths: Iterable[str]) -> list[str]:
    """Return paths relative to a directory where they are below it."""
    place = os.path.realpath(directory)
    return [os.path.relpath(path, place) if Path(path).is_relative_to(place) else path for path in paths]


def _describe(read: SourceRead) -> str:
    return f"{read.source} by {read.reader}"


def _chance(begun: object) -> dict[str, str]:
    """Return digests of the final states of the global generators that were seeded or drawn from.

    Args:
        begun: the state of `random` before the program ran.
    """
    generator_states: dict[str, object] = {"random": random.getstate()} if random.getstate() != begun else {}
    generator_states |= dict(zip(["numpy.random"], numpy_state_if_used(), strict=False))
    return {source: digest_bytes(repr(state).encode()) for source, state in generator_states.items()}


def _moved(path: str, here: str, there: str) -> str:
    """Return the copy of a path below the working directory if it exists, else the path."""
    moved_path = Path(here) / path
    copy = Path(there) / moved_path.relative_to(here) if moved_path.is_relative_to(here) else moved_path
    return str(copy if copy.exists() else moved_path)


def _is_allowed(event: str, arguments: tuple[Any, ...], frame: FrameType) -> bool:
    """Whether it tries an address, is for a worker of a pool, or starts a process to look up or to import.

    Workers have the guard, too. What differs between two runs, such as draws from `random` (a fork seeds it
    anew), shows in their results.
    """
    if is_of_pool(frame):
        return True
    is_process = REFUSED[event] == NEW_PROCESS
    return is_trial(event, arguments) or (
        is_process and (_is_for(_LOOKUPS, frame) or is_import_of_library(frame))
    )


def guard_spawned(*directories: str) -> None:
    """Begin the guard in a process that `multiprocessing` spawned, before the program's code runs there."""
    _turn_away(*map(Path, directories))
    ProgramGuard(*map(Path, directories)).begin()


def _turn_away(*directories: Path) -> None:
    """Redirect recording to the first directory, also of processes that `multiprocessing` spawns.

    These begin the guard.
    """
    turn_recording_away(directories[0])
    announce_spawned_processes()
    places = ", ".join(repr(str(each)) for each in directories)
    watched.first_code_of_spawned = f"from {__name__} import guard_spawned as guard; guard({places}); "


def _is_for(modules: Collection[str], frame: FrameType | None) -> bool:
    """Whether the standard library does something for one of its modules."""
    while frame is not None and not is_foreign_name(module_of(frame)):
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False


class OrderOfTasks:
    """Notes whether anything but the program's code decides in which order the tasks of its event loops run.

    Those of asyncio's own loops run in the order in which they became ready, which timers, files and threads
    may change, and `asyncio.wait` returns sets of tasks. Make one before the program runs; it stays there.
    """

    def __init__(self) -> None:
        import asyncio
        import threading

        self._has_run = self._has_waited = False
        loop = asyncio.base_events.BaseEventLoop
        self._note_calls(loop, "run_forever", "_has_run")
        self._note_calls(loop, "call_at", "_has_waited")
        self._note_calls(asyncio, "wait", "_has_waited")
        events = asyncio.selector_events.BaseSelectorEventLoop
        self._note_calls(events, "_process_events", "_has_waited", lambda _frame, _loop, ready: bool(ready))
        # Threads of the recording change no order.
        self._note_calls(threading.Thread, "start", "_has_waited", lambda frame, _thread: not is_own(frame))

    def _note_calls(
        self, owner: Any, name: str, mark: str, counts: Callable[..., bool] = lambda *_, **__: True
    ) -> None:
        """Set an attribute of this object at each call that counts, given the caller and the arguments."""
        function = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            if counts(sys._getframe(1), *args, **kwargs):  # noqa: SLF001 - the only way to a caller
                setattr(self, mark, True)
            return function(*args, **kwargs)

        setattr(owner, name, noted)

    @property
    def is_free(self) -> bool:
        """Whether times, files or threads may have changed the order, or other loops than asyncio's ran."""
        return self._has_waited or not self._has_run


class ProgramGuard:
    """Refuses writes outside given directories, network access, new processes and signals, by audit events.

    Actions of C code that raise no audit event are not noticed.

    Args:
        directories: where writing is allowed.
        left_out: files missing from the working directory.
        recorded_until_ns: when the recording ended.
    """

    def __init__(
        self, *directories: Path, left_out: Sequence[str] = (), recorded_until_ns: int | None = None
    ) -> None:
        self.refused: list[str] = []
        """What was refused, with the location of the caller."""
        self.asked_for_left_out: dict[str, None] = {}
        """The files left out that were opened, changed or listed."""
        self.read_newer: dict[str, None] = {}
        """The files opened that were written after the recording and before this run."""
        now_ns = time.time_ns()
        self._newer_ns = range(now_ns if recorded_until_ns is None else recorded_until_ns, now_ns)
        self._left_out = set(map(os.path.realpath, left_out))
        self._directories = tuple(f"{os.path.realpath(each)}{os.sep}" for each in directories)

    def begin(self) -> None:
        """Refuse from here to the end of the process."""

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if self._left_out and (event in _CHANGING or event in _LISTING):
                self._note_left_out(event, arguments)
            if event in {"open", "sqlite3.connect"}:
                self._note_newer(arguments[0], sys._getframe(1))  # noqa: SLF001
            if event in _SIGNALS:
                if arguments[0] != os.getpid() and not is_of_pool(sys._getframe(1)):  # noqa: SLF001
                    self._refuse("a signal to another process", sys._getframe(1))  # noqa: SLF001
            elif event in REFUSED and not _is_allowed(event, arguments, sys._getframe(1)):  # noqa: SLF001
                self._refuse(REFUSED[event], sys._getframe(1))  # noqa: SLF001 - the only way to a caller
            elif event in _CHANGING and (event != "open" or writes(arguments[2])):
                self._look(arguments[: _CHANGING[event]], sys._getframe(1))  # noqa: SLF001

        sys.addaudithook(audit)

    def _note_left_out(self, event: str, arguments: tuple[Any, ...]) -> None:
        frame = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if is_own(frame) or module_of(frame) == "importlib":
            return
        places = [
            os.path.realpath(str(path_of(each) or ".")) for each in arguments[: _CHANGING.get(event, 1)]
        ]
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _ACCESS == _ANEW:
            self._left_out.difference_update(places)  # from here on the file is this run's own
            return
        if event in _LISTING:
            asked = [each for each in sorted(self._left_out) if Path(each).is_relative_to(places[0])]
        else:
            asked = [each for each in places if each in self._left_out]
        self.asked_for_left_out |= dict.fromkeys(asked)

    def _note_newer(self, place: object, frame: FrameType) -> None:
        path = path_of(place)
        if not path or is_own(frame) or module_of(frame) == "importlib":
            return
        path = os.path.realpath(path)
        if path.endswith((".py", ".pyc")) or _OF_SYSTEM.match(path) or is_of_library(path):
            return  # the code that runs is compared by its digests
        with suppress(OSError):
            if Path(path).stat().st_mtime_ns in self._newer_ns:
                self.read_newer[path] = None

    def _look(self, places: tuple[Any, ...], frame: FrameType) -> None:
        if is_own(frame) or module_of(frame) == "importlib" or _is_for(_SHARED_MEMORY, frame):
            return  # files of the recording, bytecode, and memory
        for place in places:
            path = path_of(place)
            if path in {None, os.devnull} or str(path).endswith(":memory:"):
                continue
            if not f"{os.path.realpath(str(path))}{os.sep}".startswith(self._directories):
                self._refuse(f"to write {path}", frame)

    def _refuse(self, what: str, frame: FrameType) -> None:
        refusal = f"{what} by {user_place(frame)}"
        # A library that cannot write its cache during its import works without one.
        if refusal not in self.refused and not (what.startswith("to write ") and is_import_of_library(frame)):
            self.refused.append(refusal)
        raise PermissionError(f"{what} is not allowed while a replay runs the program")
