"""Watch sources of randomness, time and environment during an action, to reveal unrecorded reads.

The wrappers of `record/sources/` are installed here, too: `source_results.py` answers from the recording, and
unrecorded reads are noted here. Reads that bypass the wrappers are seen in the C functions themselves or by a
profile hook (`record/sources/sources.py`), under any name. Draws that neither sees are found by comparing the
states of generators before and after. A read is attributed to the first frame outside the standard library
(`record/sources/adopted.py`). Also watched: draws from any `random.Random` that is neither exposed nor seeded
during the action, and threads. Sockets and new processes are refused.
"""

from __future__ import annotations

import os
import random
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from Agent.event.classes import is_of_library
from Agent.record.emit import installed
from Agent.record.emit.context import ENVIRONMENT, making_answer
from Agent.record.sources.adopted import (
    Adopted,
    Asker,
    asker_of,
    is_for_itself,
    is_foreign_name,
    is_import_of_library,
    is_own,
    is_remade,
    living,
    module_of,
    reads_here,
)
from Agent.record.sources.generators import adopted_of, hidden_random, numpy_random_module
from Agent.record.sources.patches import source_patches
from Agent.record.sources.sources import (
    SEEDERS,
    UNADOPTED,
    WATCHED_NAMES,
    begin_hook,
    end_hook,
    has_hook,
    recorded_sources,
    seeds_with_known_values,
    source_of_call,
    touch_notice,
)
from Agent.record.state.identity import traced_files
from Agent.replay.compare.normaliser import LibraryValues
from Agent.replay.compare.outcome import ReplayOutcome, SourceRead
from Agent.replay.drive.numpy_seeds import NumpySeeds
from Agent.replay.drive.thread_watch import ThreadWatch, first_frame

if TYPE_CHECKING:
    from Agent.replay.plan.actions import DrivenAction

_NUMPY_SEEDERS = frozenset(
    {"default_rng", "SeedSequence", "RandomState", "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}
)
"""Names by which code creates a numpy generator, which seeds itself from entropy without a given seed."""
NETWORK = frozenset(
    f"socket.{each}" for each in ("connect", "getaddrinfo", "gethostbyname", "sendto", "sendmsg")
)
"""Audit events of access to the network."""
NEW_PROCESS = "a new process"
_PROCESSES = ("system", "posix_spawn", "fork", "forkpty", "exec")
REFUSED = dict.fromkeys((*NETWORK, "socket.bind"), "network") | dict.fromkeys(
    ("subprocess.Popen", *(f"os.{each}" for each in _PROCESSES)), NEW_PROCESS
)
"""What audit events announce that a replay must not do."""
T = TypeVar("T")
VARIED_SOURCES = ("time.", "datetime.", "os.urandom", "uuid", "secrets", "random")
"""Sources whose values change in a replay with `clock_shift_s`."""
_WRITING = frozenset({"open", "os.remove", "os.rename", "os.truncate", "sqlite3.connect"})
"""Names of the audit events for writes to files."""
_LAST_OF_NUMPY = "numpy.random.mtrand"
"""The module of `numpy.random` that is imported last."""
_TRIED = (("127.0.0.1", 0), ("localhost", 0), ("::1", 0))
"""Addresses that libraries bind as a test, without reaching another machine."""
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC
_HOW = {"os.remove": "removed", "os.rename": "moved", "os.truncate": "cut"}


class SourceWatch:
    """Notes reads of unrecorded sources by replayed code.

    Use `begin` and `end` around each replayed call, and `close` after the last; `allow` marks generators that
    belong to the exposed state.
    """

    _records = False
    """Whether the watched code records its sources itself."""

    def __init__(self) -> None:
        self.reads: list[SourceRead] = []
        self.action: DrivenAction | None = None
        """The current action."""
        self.is_on = False
        """Whether an action is being replayed."""
        self.allows_network = False
        """Whether live calls are allowed, as after a fork point."""
        self.reachable: frozenset[str] = frozenset()
        """Accesses that are allowed because the user declared them."""
        self.reached: set[str] = set()
        """The parts of `reachable` that were used."""
        self.built_with: list[SourceRead] = []
        """Draws by the target while it built the replayed objects."""
        self._unseeded_at_import: dict[int, ref[Any]] = {}
        """Generators of `random` that an imported module left without a known seed."""
        self._unseeded = _UnseededGenerators()
        self.files = FileWrites()
        """Writes to files that existed before the replay."""
        self.imported_with: list[SourceRead] = []
        """Entropy that the user's modules read at import, which agents may use at any time."""
        self.clocks_at_import: list[str] = []
        """Clocks that the user's modules read at import."""
        self.clocks: list[SourceRead] = []
        """Unrecorded clock reads of a program that records itself."""
        self.made = LibraryValues()
        self._is_building = self._is_importing = self._is_hooked = False
        self._seeds = NumpySeeds()
        self._numpy_place: SourceRead | None = None
        """Where an imported module seeded a numpy generator from entropy."""
        self._numpy_seeded: list[tuple[Any, Any]] = []
        """Numpy's generators after the import, with their states."""
        self.seeded: set[str] = set()
        """Modules whose global generators the target seeded with known values."""
        self._step = 0
        self._hook = self._look
        self._places: set[tuple[str, int]] = set()
        self._read_now: set[str] = set()
        self._allowed: dict[int, Any] = {}
        """Generators whose draws count as recorded: of an exposed state, or seeded with known values."""
        self._granted: dict[int, Any] = {}
        """Generators of an exposed state."""
        self._before: dict[str, Any] = {}
        """States of the global generators at the beginning of the action."""
        self._before_touch = touch_notice()
        self._touch = self._touched
        self._is_random_known = False
        """Whether the action gave a known seed to the global generator of `random`."""
        self.threads = ThreadWatch(lambda: self.is_on, self._add_at)
        self.hook_in()

    def hook_in(self) -> None:
        """Install the audit hook of this process and the watch on its threads."""
        announce_spawned_processes()
        sys.addaudithook(_hook_of(self))
        self.threads.install()

    @contextmanager
    def building(self, clock_shift_s: int = 0, *, records: bool = False) -> Iterator[None]:
        """Watch while the target is imported and builds objects: its draws are not recorded.

        Args:
            clock_shift_s: shift in seconds of the clocks that libraries read.
            records: whether the code records its sources itself.
        """
        numpy_random = numpy_random_module()
        if not self._is_importing:
            self._seeds.install()
        self._seeds.look_at_seeding()
        self._seeds.is_global_known = False
        before = numpy_state()
        self._is_building, self._records = True, records
        begin_hook(self._hook, self._allowed)
        player = installed.source_player
        if not records:
            installed.source_player = _BuildingPlayer(self, clock_shift_s)
        try:
            with self._seeds.looking_at_made(None if self._is_importing else numpy_random):
                yield
        finally:
            installed.source_player = player
            end_hook()
            self._is_building = False
            self._seeds.set_built()
            if self._seeds.is_global_known:
                self.seeded.add("numpy.random")
            self._allowed.clear()
            self._places.clear()
            if before and before != numpy_state() and "numpy.random" not in self.seeded:
                reads = self.imported_with if self._is_importing else self.built_with
                if not any(read.source == "numpy.random" for read in reads):
                    reads.append(self._unseen("numpy.random"))

    def numpy_is_loading(self) -> None:
        """Watch the seeding of numpy's generators before the code that loads them creates the first one."""
        if self.runs_target and not self._is_importing:
            self._seeds.install()

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Watch while the target's module is imported: no agent's state may contain values drawn then."""
        self._is_importing = True
        try:
            with self.building():
                yield
        finally:
            self._is_importing = False
        if self._numpy_place is not None:
            self._numpy_seeded = [(bits, repr(bits.state)) for bits in self._seeds.not_given()]

    def install_patches(self) -> None:
        """Install the wrappers of the sources; call this after the target's import."""
        self._seeds.install()
        recorded_sources(notice="none").__enter__()

    def allow(self, generator: Any) -> None:
        """Count draws from this generator as part of the exposed state."""
        self._granted[id(generator)] = generator
        if generator is not hidden_random:  # all code draws from it
            self._allowed[id(generator)] = generator

    def allows(self, adopted: Adopted) -> bool:
        """Whether the generator was allowed."""
        return any(
            getattr(generator, "agent_trace_adopted", None) is adopted
            or (isinstance(generator, random.Random) and adopted_of(generator) is adopted)
            for generator in self._granted.values()
        )

    def is_of_chance(self, generator: Any) -> bool:
        """Whether an imported module left the generator without a known seed."""
        known = self._unseeded_at_import.get(id(generator))
        return known is not None and known() is generator

    def answered(self, source: str) -> None:
        """Note that draws from this source get recorded values, so a changed state is not a draw."""
        self._read_now.add(source)

    def is_seeded(self, module: str) -> bool:
        """Whether the action gave a known seed to the global generator of that module."""
        if module == "numpy.random":
            return self._seeds.is_global_known
        return module == "random" and self._is_random_known

    def unrecorded(self, source: str, asker: FrameType) -> None:
        """Note that replayed code reads a source that the recording lacks at that point."""
        if self.is_on:
            self._add(source, asker)

    def noted(self, value: T, asker: FrameType, clock_shift_s: int) -> T:
        """Return the value of an unrecorded read; those of libraries are kept, with the clock shift."""
        return self.made.kept(value, clock_shift_s) if is_of_library(asker.f_code.co_filename) else value

    @property
    def runs_target(self) -> bool:
        """Whether code of the target runs: at import, while building, or in a replayed action."""
        return self.is_on or self._is_building

    def report_to(self, outcome: ReplayOutcome, excuses: Callable[[str], str | None]) -> None:
        """Report unrecorded reads in the outcome; declared ones become normalisers.

        Args:
            excuses: returns the declaration that lets reads of a source differ, or None.
        """
        outcome.normalisers += [f"{what} was allowed, as declared" for what in sorted(self.reached)]
        outcome.unsteady += [f"a clock that is read at import, {each}" for each in self.clocks_at_import]
        outcome.unsteady += [f"threads, {place}" for place in self.threads.places]
        for what in dict.fromkeys(self.files.refused):
            outcome.reason(f"--no-writes refused {what}")
        for read in self.imported_with:
            if excuses(read.source) is None:
                outcome.reason(
                    f"{read.source} read by {read.reader} when its module was imported, which is not "
                    "recorded: read it in an action or in the agent's constructor"
                )
        outcome.sources = self.reads
        if outcome.divergence is not None:
            return  # any of the reads may be the cause
        outcome.sources = [read for read in self.reads if excuses(read.source) is None]
        outcome.normalisers += [
            f"{read}: {excuses(read.source)} may differ, as declared"
            for read in self.reads
            if excuses(read.source) is not None
        ]

    def begin(self, action: DrivenAction) -> None:
        """Start watching; the caller must always call `end`."""
        self.action, self._step = action, action.number
        self._read_now.clear()
        self._before.clear()
        self._seeds.is_global_known = self._is_random_known = False
        if "numpy.random" in sys.modules:
            self._seeds.install()
            self._before = numpy_state()
        if self._before_touch is None:
            self._touched()
        else:
            self._before_touch(self._touch)
        self.threads.begin()
        self.is_on = True
        if not self._is_hooked:
            self._is_hooked = True
            begin_hook(self._hook, self._allowed)

    def end(self) -> None:
        """End the watch of an action."""
        self.threads.end()
        self.is_on = False
        for read in self._seeds.take():
            if not any((read.file, read.line) == (known.file, known.line) for known in self.reads):
                self.reads.append(read)
        if self._before_touch is None:
            self.close()  # a profile hook also slows the code between actions
        if self._seeds.is_global_known:
            self._before.pop("numpy.random", None)
        if self._is_random_known:
            self._before.pop("random", None)
        if self._before:
            self._compare_states()
        if self._numpy_seeded:
            self._compare_imported()

    def close(self) -> None:
        """Remove the profile hook after the last action."""
        if not self._is_hooked:
            return
        self._is_hooked = False
        if not has_hook(self._hook):
            self.reads.append(self._unseen("a profiler, which ended the watch,", "replayed code"))
        end_hook()
        if self._before_touch is not None:
            self._before_touch(None)

    def _touched(self) -> None:
        """Store the state of the global generator of `random` before it is used."""
        self._before["random"] = random.getstate()

    def _compare_states(self) -> None:
        """Detect draws by C code, which makes no visible call but changes the state."""
        now = numpy_state()
        if "random" in self._before:
            now["random"] = random.getstate()
        for source, state in now.items():
            place = (source, 0)
            if (
                self._before.get(source, state) != state
                and source not in self._read_now
                and place not in self._places
            ):
                self._places.add(place)
                self.reads.append(self._unseen(source))

    def _unseen(self, source: str, by: str = "code that was not seen") -> SourceRead:
        """Return a read whose place is not known."""
        return SourceRead(source, by, "?", 0, self._step)

    def _compare_imported(self) -> None:
        """Detect draws from a numpy generator that an import seeded from entropy and no agent holds."""
        granted = {id(getattr(each, "bit_generator", None)) for each in self._granted.values()}
        for bits, state in self._numpy_seeded:
            is_adopted = any(getattr(each, "bits", None) is bits for each in list(living))
            if id(bits) not in granted and not is_adopted and repr(bits.state) != state:
                assert self._numpy_place is not None  # noqa: S101 - set whenever such generators exist
                self.imported_with.append(self._numpy_place)
                self._numpy_seeded = []
                return

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        """The profile hook, which may stay installed between actions."""
        if self.is_on or self._is_building:
            self._profile(frame, event, argument)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            name = argument.__name__
            if name in WATCHED_NAMES:
                source = source_of_call(argument, name, self._is_known)
                if source == UNADOPTED:
                    self._unseeded.drew(argument.__self__)
                if source is not None:
                    self._note(source, frame)
        elif event == "call" and id(frame.f_code) in SEEDERS:
            self._seeded(frame)

    def _is_known(self, generator: Any) -> bool:
        return id(generator) in self._allowed

    def _seeded(self, frame: FrameType) -> None:
        """Note a seeding: a generator with a known seed makes known draws."""
        generator = frame.f_locals.get("self")
        if generator is hidden_random:
            self._is_random_known = self.is_on and seeds_with_known_values(frame)
            if self._is_building and seeds_with_known_values(frame):
                self.seeded.add("random")
            return
        if seeds_with_known_values(frame):
            self._allowed[id(generator)] = generator
            self._unseeded_at_import.pop(id(generator), None)
            self._unseeded.seeded(frame, () if "random" in self.seeded else (hidden_random,))
            return
        self._allowed.pop(id(generator), None)
        if self._is_importing:
            self._unseeded_at_import[id(generator)] = ref(generator)
        asker = asker_of(frame) if self._is_building and not self._is_importing else None
        if asker is not None and not (is_import_of_library(asker.frame) or is_for_itself(asker.frame)):
            code, line = asker.frame.f_code, asker.frame.f_lineno
            place = SourceRead(
                "a generator without a seed", code.co_qualname, Path(code.co_filename).name, line, 0
            )
            self._unseeded.add(generator, place)

    def _note(self, source: str, frame: FrameType) -> None:
        asker = asker_of(frame)
        if asker is None or (self._records and _is_recorded(source)):
            return
        if self._is_importing and self._is_entropy_of_import(source, asker):
            return
        self._add(source, asker.frame)

    def _is_entropy_of_import(self, source: str, asker: Asker) -> bool:
        """Note entropy that the user's own module reads at import; return whether it did."""
        code = asker.frame.f_code
        is_seeded = source in self.seeded or self.is_seeded(source)
        if is_seeded or is_of_library(code.co_filename) or is_import_of_library(asker.frame):
            return False
        file = Path(code.co_filename).name
        read = SourceRead(asker.via or source, code.co_qualname, file, asker.frame.f_lineno, 0)
        if source.startswith(("time.", "datetime.")):
            self.clocks_at_import.append(f"{source} by {read.reader}")
            return True
        if asker.via in {"secrets", "random.SystemRandom"} and not _NUMPY_SEEDERS.isdisjoint(code.co_names):
            self._numpy_place = replace(read, source="entropy for a numpy generator")
            self._seeds.look_at_seeding()
        elif read not in self.imported_with:
            self.imported_with.append(read)
        return True

    def _add(self, source: str, asker: FrameType) -> None:
        if (
            making_answer.get()
            or self.is_seeded(source)
            or is_for_itself(asker)
            or is_remade(asker)
            or _is_configuration(source, asker)
        ):
            return
        if self._is_building and (
            self._is_clock(source, asker)
            or source in self.seeded
            or (is_import_of_library(asker) and not (self._records and source == "random"))
        ):
            return
        self._add_at(source, asker.f_code, asker.f_lineno)

    def _is_clock(self, source: str, asker: FrameType) -> bool:
        """Whether the source is a clock, which is not random; clock reads of a whole program are kept."""
        if not source.startswith(("time.", "datetime.")):
            return False
        if self._records and not is_import_of_library(asker):
            self._add_at(source, asker.f_code, asker.f_lineno)
        return True

    def _add_at(self, source: str, code: CodeType, line: int) -> None:
        read = SourceRead(
            source,
            code.co_qualname,
            file_of(code.co_filename),
            line,
            self._step,
            is_of_library=source.startswith(VARIED_SOURCES)
            and is_of_library(code.co_filename)
            and not (source.startswith("random") and code.co_filename in traced_files),
        )
        if self._seeds.holds(read):
            return
        self._read_now.add(source)
        place = (code.co_filename, line)
        if place in self._places:
            return
        self._places.add(place)
        is_clock = self._is_building and source.startswith(("time.", "datetime."))
        (self.clocks if is_clock else self.built_with if self._is_building else self.reads).append(read)

    def built_by_chance(self) -> list[SourceRead]:
        """Return randomness in built objects: draws, and unseeded generators whose state was not restored."""
        unseeded = [
            place for generator, place in self._unseeded.living() if id(generator) not in self._granted
        ]
        seeds = self._seeds.built(self._granted.values())
        return [*self.built_with, *dict.fromkeys([*seeds, *unseeded])]

    def keep_out(self, refused: str) -> None:
        """Refuse an access that a replay must not make, and note the code that requested it.

        Raises:
            PermissionError: it is refused here.
        """
        if self.allows_network:
            return
        if refused in self.reachable:
            self.reached.add(refused)
            return
        caller = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if not self.is_on and (refused != "network" or is_of_pool(caller)):
            return
        if self.is_on:
            frame = first_frame(caller, lambda each: not is_own(each) and is_foreign_name(module_of(each)))
            if frame is not None:
                self._add(refused, frame)
            elif not any(read.source == refused for read in self.reads):
                self.reads.append(self._unseen(refused, "a library"))
        raise PermissionError(f"{refused} is not allowed during a replay")


class _UnseededGenerators:
    """Generators of `random` that were seeded from entropy while building; creating one is not yet a draw."""

    def __init__(self) -> None:
        self._places: list[tuple[ref[Any], SourceRead]] = []
        self._drawn: dict[int, ref[Any]] = {}
        """By id, generators that drew before they had a known seed."""

    def add(self, generator: Any, place: SourceRead) -> None:
        """Note a generator and where it was made."""
        self._places.append((ref(generator), place))

    def drew(self, generator: Any) -> None:
        """Note that a generator without a known seed draws."""
        self._drawn[id(generator)] = ref(generator)

    def seeded(self, frame: FrameType, others: Sequence[Any]) -> None:
        """Forget a generator that gets a known seed before it draws, as a copy gets a state when it is made.

        Args:
            others: further generators without a known seed, whose state is not a known one.
        """
        generator, state = frame.f_locals.get("self"), frame.f_locals.get("state")
        drawn = self._drawn.get(id(generator))
        if not self._places or (drawn is not None and drawn() is generator):
            return
        unseeded = [*others, *(each for each, _ in self.living() if each is not generator)]
        if state is None or not any(random.Random.getstate(each) == state for each in unseeded):
            self._places = [each for each in self._places if each[0]() is not generator]

    def living(self) -> Iterator[tuple[Any, SourceRead]]:
        """Yield the generators that still exist, each with its place."""
        for reference, place in self._places:
            generator = reference()
            if generator is not None:
                yield generator, place


class _BuildingPlayer:
    """Notes reads through wrappers while the target builds, which no C function shows."""

    def __init__(self, watch: SourceWatch, clock_shift_s: int) -> None:
        self._watch = watch
        self._note = watch._note  # noqa: SLF001 - this class is part of the watch
        self._clock_shift_s = clock_shift_s

    def read(self, source: str, frame: FrameType, now: Callable[[], T], _decode: Callable[[Any], T]) -> T:
        """Implement `SourcePlayer`."""
        self._note(source, frame)
        return self._watch.noted(now(), frame, self._clock_shift_s)

    def variable(self, _name: str, _frame: FrameType, now: Callable[[], Any]) -> Any:
        """Implement `SourcePlayer`."""
        return now()

    def draw(self, adopted: Adopted, _count: int, now: Callable[[], T], _bits: int | None = None) -> T:
        """Implement `SourcePlayer`."""
        frame = first_frame(sys._getframe(1))  # noqa: SLF001 - the only way to a caller
        if frame is not None and adopted is adopted_of(hidden_random):
            self._note("random", frame)
        elif frame is not None and adopted.place == "numpy.random":
            self._note("numpy.random", frame)
        return now()

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """Implement `SourcePlayer`; the profile hook sees the seeding."""


def _is_recorded(source: str) -> bool:
    """Whether the current action of a program that records itself records a read of the source."""
    if reads_here() is None:
        return False
    # If only generators were adopted, the other sources are unrecorded.
    is_adopted = source == UNADOPTED or (source == "random" and adopted_of(hidden_random) is not None)
    return source_patches.are_installed or is_adopted


def numpy_state() -> dict[str, Any]:
    """Return the state of numpy's global generator; empty without numpy."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return {}
    name, words, position, *gauss = numpy_random.get_state()
    return {"numpy.random": (name, words.tobytes(), position, gauss)}


_POOLS = frozenset(
    f"multiprocessing.{each}" for each in ("popen_fork", "popen_spawn_posix", "forkserver", "reduction")
)
"""The modules that start workers of the standard library's pools, and reach them."""


def is_of_pool(frame: FrameType) -> bool:
    """Whether `multiprocessing` starts, reaches or signals a worker."""
    if is_own(frame) and frame.f_back is not None:  # which announces a spawned one
        frame = frame.f_back
    return frame.f_globals.get("__name__") in _POOLS


first_code_of_spawned = ""
"""Python code that each process which `multiprocessing` spawns runs first, ending with `;`."""


@cache
def announce_spawned_processes() -> None:
    """Let `multiprocessing` raise the audit event of a new process for those that it spawns.

    Those that it forks have one. The tracker of its shared memory runs no code of the program.
    """
    from multiprocessing import util

    spawn = util.spawnv_passfds

    def announced(path: Any, args: Any, passfds: Any) -> int:
        caller = sys._getframe(1)  # noqa: SLF001 - the only way to a caller
        if caller.f_globals.get("__name__") == "multiprocessing.resource_tracker":
            return spawn(path, args, passfds)
        sys.audit("subprocess.Popen", path, args, None, None)
        code = list(args).index("-c") + 1
        return spawn(path, [*args[:code], first_code_of_spawned + args[code], *args[code + 1 :]], passfds)

    util.spawnv_passfds = announced


def _hook_of(watch: SourceWatch) -> Callable[[str, tuple[Any, ...]], None]:
    """Return the audit hook.

    A plain function takes half the time of a method; each `id()` in replayed code calls the hook.
    """

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in REFUSED and not is_trial(event, arguments):
            watch.keep_out(REFUSED[event])
        elif event in _WRITING and watch.runs_target:
            watch.files.look(event, arguments, sys._getframe(1))  # noqa: SLF001 - the only way to a caller
        elif event == "import" and arguments[0] == _LAST_OF_NUMPY:
            watch.numpy_is_loading()

    return audit


def is_trial(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event comes from a library that tests whether an address can be bound."""
    return event == "socket.bind" and isinstance(arguments[1], tuple) and arguments[1][:2] in _TRIED


def _is_configuration(source: str, asker: FrameType) -> bool:
    """Whether a library reads its configuration or is being imported: then it is not the agent's read.

    A library's draws from the global generators always count, since they advance them.
    """
    if source == ENVIRONMENT and is_of_library(asker.f_code.co_filename):
        return True
    is_of_process = source in {"random", "numpy.random"}
    return not is_of_process and is_import_of_library(asker)


class FileWrites:
    """Notes writes to files that existed before the replay; files that the replay created may be written.

    Audit events (PEP 578) report each such call in advance. Files opened by C code are not seen, except those
    of sqlite3.

    Call `look` for each audit event of `_WRITING` while code of the target runs.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []
        """`path by function (file:line)`, once per file."""
        self.refused: list[str] = []
        """Those that were refused."""
        self.is_refusing = False
        """Whether writes are refused as well as noted."""
        self._made: set[str] = set()
        """Files that the replay created."""
        self._seen: set[str] = set()

    def look(self, event: str, arguments: tuple[Any, ...], frame: FrameType | None) -> None:
        """Note the write that an event of `_WRITING` announces.

        Raises:
            PermissionError: it is refused.
        """
        if event == "open" and not writes(arguments[2]):
            return
        asker = outside_library(frame)
        if frame is None or asker is None or is_own(asker) or module_of(frame) == "importlib":
            return  # bytecode, and files of this package
        for place in arguments[: 2 if event == "os.rename" else 1]:
            path = path_of(place)
            if path is not None and not path.endswith(":memory:"):
                self._touch(event, path, frame)

    def _touch(self, event: str, path: str, frame: FrameType) -> None:
        try:
            is_there = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - avoids an object per call
        except OSError:
            self._made.add(path)
            return
        if not is_there or path in self._made:
            return
        place = user_place(frame)
        what = f"{path} {_HOW[event]}" if event in _HOW else path
        if path not in self._seen:
            self._seen.add(path)
            self.opened.append(f"{what} by {place}")
        if self.is_refusing:
            self.refused.append(f"{what} by {place}")
            raise PermissionError(f"{path} is not written to, because of --no-writes")


def writes(flags: Any) -> bool:
    """Whether these flags open a file for writing."""
    return isinstance(flags, int) and bool(flags & _TO_WRITE)


def path_of(given: Any) -> str | None:
    """Return the absolute path; None for a descriptor."""
    try:
        return os.path.abspath(os.fsdecode(given))  # noqa: PTH100 - symbolic links are not resolved
    except (TypeError, ValueError, OSError):
        return None


def file_of(path: str) -> str:
    """Return the name of a source file, with its place in an installed library: `rich/style.py`."""
    parts = Path(path).parts
    places = [at for at, part in enumerate(parts) if part in {"site-packages", "dist-packages"}]
    return "/".join(parts[places[-1] + 1 :]) if places else parts[-1]


def outside_library(frame: FrameType | None) -> FrameType | None:
    """Return the first frame outside the standard library, or the outermost one."""
    while frame is not None and module_of(frame) in sys.stdlib_module_names - {"__main__"} and frame.f_back:
        frame = frame.f_back
    return frame


def user_place(frame: FrameType | None) -> str:
    """Return the place of the first frame outside the standard library."""
    frame = outside_library(frame)
    if frame is None:
        return "?"
    code = frame.f_code
    return f"{code.co_qualname} ({file_of(code.co_filename)}:{frame.f_lineno})"
