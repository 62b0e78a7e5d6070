"""The checkpoints of one run: saved as a full snapshot or as a delta on the one before, and loaded again.

A chain is a snapshot and the deltas on it, of one agent and one writer. It ends where loading would take too
long, or where a snapshot would hardly be larger; so the price of a load is bounded by that of its snapshot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from Agent.errors import DamagedInput, RunNotFound, SessionInUse
from Agent.event.values.plain import read_json, write_json
from Agent.flight.checkpoints.delta import Document, diff
from Agent.flight.checkpoints.files import (
    INDEX_NAME,
    REMOVED_FACT,
    CheckpointIndex,
    Row,
    RunFiles,
    checkpoints_dir,
    is_closed,
    saved_runs,
    shared_chunks_dir,
)
from Agent.flight.checkpoints.model import CheckpointProblem, Removed
from Agent.flight.checkpoints.packs import PACK_SUFFIX, frames, is_written_to, remove_unshared
from Agent.record.health import say
from Agent.tree.layout import entries_in, files_below, read_file, run_dirs

MAX_CHAIN: Final = 64
"""Most deltas on one snapshot."""
_MAX_DELTAS: Final = 2.0
"""Most bytes of deltas on one snapshot, as multiples of its own: what a load reads besides it."""
_SMALL_BYTES: Final = 8192
"""A state below this is read at once, however many deltas stand on it."""
_MAX_DELTA: Final = 0.5
"""From this part of the whole on a delta is not worth its link to the one before."""
_HELD_BYTES: Final = 16 << 20
"""How much of the last documents is kept parsed, as their JSON; others are loaded when they are needed."""


@dataclass(slots=True)
class _Head:
    """The end of a chain that this process goes on with."""

    row: Row
    value: Any
    snapshot_bytes: int
    delta_bytes: int = 0


class RunCheckpoints:
    """Saves and loads the checkpoints of one run; any number of threads and processes may.

    Args:
        run_id: as the user knows it.
        files: of that run.
    """

    def __init__(self, run_id: str, files: RunFiles) -> None:
        self.run_id = run_id
        self.files = files
        self._heads: OrderedDict[str | None, _Head] = OrderedDict()
        self._held_bytes = 0
        self._repeated: dict[tuple[str, str | None], int] = {}
        """The number that a repeated step's name came to; where to begin looking for a free one."""

    def save(self, row: Row, document: Document, *, full: bool = False, replace: bool = True) -> Row:
        """Keep a document under a row's step and agent, in the place of what was there.

        Args:
            row: what is known of it; number, chain and place are set here.
            document: its values.
            full: as a snapshot, whatever would be smaller.
            replace: False: what was there stays, and the step's name gets a number.

        Raises:
            OSError: it could not be written; nothing was changed.
        """
        files = self.files
        with files.lock:
            head = None if full else self._head(row.agent_id)
            try:
                with files.changing():
                    index = files.index
                    row.number = index.next_number()
                    row.writer = files.writer
                    row.state_bytes, row.digest = len(document.text), document.digest
                    row.opaque = len(document.opaque)
                    if replace:
                        before = index.row(row.step_id, row.agent_id)
                        if before is not None:
                            index.mark_removed([before.number])
                    else:
                        row.step_id = self._free_name(row.step_id, row.agent_id)
                    head = self._write(row, document, head)
                    index.put(row)
            except BaseException:
                self.forget(row.agent_id)
                raise
            self._hold(row.agent_id, head)
        return row

    def _free_name(self, step_id: str, agent_id: str | None) -> str:
        """The name of a step, with a number behind it where the agent has a checkpoint of that name."""
        known = self._repeated.get((step_id, agent_id), 1)
        name = step_id if known == 1 else f"{step_id}-{known}"
        while self.files.index.row(name, agent_id) is not None:
            known += 1
            name = f"{step_id}-{known}"
        if known > 1:
            self._repeated[step_id, agent_id] = known
        return name

    def _write(self, row: Row, document: Document, head: _Head | None) -> _Head:
        delta: Any = None
        if head is not None and head.row.position < MAX_CHAIN:
            delta = diff(head.value, document.value)
            delta_bytes = 4 if delta is None else len(write_json(delta))
            whole = len(document.text)
            if delta_bytes <= _MAX_DELTA * whole and (
                head.delta_bytes + delta_bytes <= _MAX_DELTAS * max(whole, head.snapshot_bytes, _SMALL_BYTES)
            ):
                row.chain, row.position = head.row.chain, head.row.position + 1
                self.files.write(row, self.run_id, document.value, delta)
                return _Head(row, document.value, head.snapshot_bytes, head.delta_bytes + delta_bytes)
        row.chain, row.position = row.number, 0
        self.files.write(row, self.run_id, document.value, None)
        return _Head(row, document.value, len(document.text))

    def _head(self, agent_id: str | None) -> _Head | None:
        """The end of the agent's chain with its document, loaded again where it was put aside."""
        head = self._heads.get(agent_id)
        if head is not None and head.value is None:
            try:
                head.value = self.files.document(head.row)[0]
            except DamagedInput:
                # What comes stands on a snapshot of its own; loading the damaged one tells what is wrong.
                self.forget(agent_id)
                return None
            self._held_bytes += head.row.state_bytes
        return head

    def _hold(self, agent_id: str | None, head: _Head) -> None:
        self.forget(agent_id)
        self._heads[agent_id] = head
        self._held_bytes += head.row.state_bytes
        for other in list(self._heads) if self._held_bytes > _HELD_BYTES else ():
            if other != agent_id and self._heads[other].value is not None:
                self._heads[other].value = None
                self._held_bytes -= self._heads[other].row.state_bytes
                if self._held_bytes <= _HELD_BYTES:
                    break

    def forget(self, agent_id: str | None) -> None:
        """Begin the agent's next checkpoint with a snapshot."""
        head = self._heads.pop(agent_id, None)
        if head is not None and head.value is not None:
            self._held_bytes -= head.row.state_bytes

    def forget_chains(self, chains: set[int]) -> None:
        """The same for whoever goes on with one of these chains."""
        for agent_id in [known for known, head in self._heads.items() if head.row.chain in chains]:
            self.forget(agent_id)

    def suspend(self) -> None:
        """Hold as little as will do; the next save goes on with its chain."""
        for head in self._heads.values():
            head.value = None
        self._held_bytes = 0
        self.files.suspend()

    def close(self) -> None:
        """End writing."""
        self._heads.clear()
        self._held_bytes = 0
        self.files.close()


def rebuild(directory: Path) -> int:
    """Make the index of a run's checkpoints again; how many checkpoints it lists now.

    The old one is kept as `index.sqlite.damaged`. What of the packs is no checkpoint is told on stderr. A
    checkpoint that was removed while its chain was written to comes back, and whether the run failed is
    known from its checkpoints alone.

    Raises:
        SessionInUse: a process writes checkpoints of the run.
        OSError: it could not be written.
    """
    for claim in entries_in(directory, ".writer"):
        if is_written_to(claim):
            raise SessionInUse(
                "a process writes checkpoints of this run", path=claim, remedy="try again when it has ended"
            )
    for path in entries_in(directory, beginning=f"{INDEX_NAME}-"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(directory / INDEX_NAME, directory / f"{INDEX_NAME}.damaged")  # noqa: PTH105 - one call
    index = CheckpointIndex(directory / INDEX_NAME, make=True)
    try:
        with index.transaction():
            _fill(index, directory)
        return len(index.listed())
    finally:
        index.suspend()


def _fill(index: CheckpointIndex, directory: Path) -> None:
    found: dict[int, tuple[Row, list[str]]] = {}
    for path in entries_in(directory, PACK_SUFFIX):
        index.add_pack(path.name)
        for offset, size, frame in frames(path, partial(_tell_rest, path)):
            try:
                row = Row.of_frame(path, offset, size, frame)
            except (KeyError, TypeError, ValueError) as error:
                say(f"{path}: no valid checkpoint at byte {offset}: {type(error).__name__} {error}")
                continue
            known = found.get(row.number)
            # Copies of a frame are equal; a number is given twice only where the first was not committed.
            if known is None or known[0].saved_us <= row.saved_us:
                found[row.number] = row, frame.get("chunks") or []
    newest: dict[tuple[str, str | None], int] = {}
    begun = {row.chain for row, _ in found.values() if row.position == 0}
    for number, (row, digests) in sorted(found.items()):
        if row.chain not in begun:
            say(
                f"{directory}: the checkpoint of {row.step_id} is left out, because the one that "
                "it builds on is missing"
            )
            continue
        before = newest.get((row.step_id, row.agent_id))
        if before is not None:
            index.mark_removed([before])
        newest[row.step_id, row.agent_id] = number
        index.put(row)
        if digests:
            index.set_chunks(number, digests)


def _tell_rest(path: Path, size_bytes: int) -> None:
    say(f"{path}: its last {size_bytes} bytes are no whole checkpoint")


_OPEN_RUNS: Final = 6
"""Runs whose files are kept open; each holds at most five."""
_KNOWN_RUNS: Final = 30
"""Runs whose chains are continued; each that is not open holds one file. What others save begins again."""
_REMOVED_SUFFIX: Final = ".removed"


class OpenRuns:
    """The runs of one session's store; callers hold `lock`.

    Args:
        session: the session's directory.
        durable: each save is on the disk itself when it returns.
    """

    def __init__(self, session: Path, *, durable: bool) -> None:
        self.session = session
        self.durable = durable
        self._abandoned: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._runs: OrderedDict[str, RunCheckpoints] = OrderedDict()

    @property
    def lock(self) -> threading.RLock:
        """One thread at a time; after a fork everything is opened again."""
        if self._pid != os.getpid():
            # Kept, for SQLite would close what is the parent's.
            self._abandoned.append(self._runs)
            self._begin()
        return self._lock

    def get(self, run_id: str, *, make: bool = False) -> RunCheckpoints:
        """A run, opened if need be; RunNotFound where it has no checkpoints and none may be made."""
        run = self._runs.get(run_id)
        directory = checkpoints_dir(self.session, run_id)
        # Somebody may have removed the run with its directory meanwhile, or died while doing so.
        if run is not None and (not run.files.index.path.exists() or run.files.index.was_closed()):
            self.end(run)
            run = None
        if run is None and is_closed(directory / INDEX_NAME):
            # All that was saved stands in the packs.
            rebuild(directory)
        if run is None and (make or (directory / INDEX_NAME).exists()):
            run = self._opened(directory, make=make, run_id=run_id)
        if run is not None and run.files.index.fact(REMOVED_FACT) is not None:
            self._take_away(run)
            run = self._opened(directory, make=True, run_id=run_id) if make else None
        if run is None:
            raise self._no_run(run_id)
        self._runs.move_to_end(run_id)
        if len(self._runs) > _OPEN_RUNS:
            list(self._runs.values())[-_OPEN_RUNS - 1].suspend()
        return run

    def _opened(self, directory: Path, *, make: bool, run_id: str | None = None) -> RunCheckpoints:
        files = RunFiles(directory, shared_chunks_dir(self.session), make=make, durable=self.durable)
        known = files.index.fact("run_id")
        if known is None and run_id is not None and make:
            with files.changing():
                files.index.note("run_id", run_id)
        if known is None:
            known = directory.parent.name if run_id is None else run_id
        run = self._runs[known] = RunCheckpoints(known, files)
        while len(self._runs) > _KNOWN_RUNS:
            self._runs.popitem(last=False)[1].close()
        return run

    def ids(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        found = []
        at_hand = {run.files.directory: run.run_id for run in self._runs.values()}
        for directory in saved_runs(self.session):
            run_id = at_hand.get(directory)
            if run_id is None:
                files = RunFiles(directory, None, make=False)
                run_id = files.index.fact("run_id") or directory.parent.name
                files.close()
            found.append(run_id)
        return found

    def end(self, run: RunCheckpoints) -> None:
        """Write no more into a run; what is saved afterwards begins with a snapshot."""
        self._runs.pop(run.run_id, None)
        run.close()

    def close(self) -> None:
        """The same for all."""
        for run in list(self._runs.values()):
            self.end(run)

    def rebuilt(self, run_id: str) -> int:
        """Make a run's index again; how many checkpoints it lists; RunNotFound, SessionInUse, OSError."""
        directory = checkpoints_dir(self.session, run_id)
        if not directory.is_dir():
            raise self._no_run(run_id)
        for run in [run for run in self._runs.values() if run.files.directory == directory]:
            self.end(run)
        count = rebuild(directory)
        self._opened(directory, make=True, run_id=run_id)
        return count

    def remove(self, run: RunCheckpoints) -> Removed | None:
        """Remove a run's checkpoints with their directory; None where another process writes there."""
        files = run.files
        outcome = Removed(runs=1)
        with files.changing():
            if any(files.is_live(path.stem) for path in entries_in(files.directory, ".writer")):
                return None
            outcome.checkpoints = len(files.index.listed())
            # From here on nobody saves there, and whoever finds it finishes.
            files.index.note(REMOVED_FACT, "yes")
        outcome.size_bytes = self._take_away(run)
        return outcome

    def _take_away(self, run: RunCheckpoints) -> int:
        """Remove the directory of a run that is marked as removed; the bytes that are gone."""
        files = run.files
        freed = files.chunks.remove(files.chunks.names())
        freed += sum(path.stat().st_size for path in files_below(files.directory))
        self.end(run)
        # Under another name at once, so that a kill leaves no half of it in its place.
        gone = files.directory.with_name(f"{files.directory.name}.{files.writer}{_REMOVED_SUFFIX}")
        try:
            files.directory.rename(gone)
        except FileNotFoundError:
            return 0  # another process, which found the mark, was faster
        shutil.rmtree(gone)
        return freed

    def finish_removals(self) -> None:
        """Remove what removals that were killed had set aside."""
        for run in run_dirs(self.session):
            for path in entries_in(run, _REMOVED_SUFFIX, "checkpoints."):
                shutil.rmtree(path)

    def sweep_shared(self) -> None:
        """Remove what runs shared and none has any more."""
        remove_unshared(shared_chunks_dir(self.session))

    def _no_run(self, run_id: str) -> RunNotFound:
        return RunNotFound(
            f"no checkpoints of a run {run_id!r} in this session",
            path=self.session,
            remedy="list_checkpoints and runs() list them",
        )


_MANY_ROWS: Final = 1000
"""From so many removed rows on the index is written again without their pages."""


def remove(run: RunCheckpoints, rows: Iterable[Row]) -> Removed:
    """Remove checkpoints of a run; the others load as before.

    Raises:
        OSError: something could not be written; what was done counts, and the next removal goes on.
    """
    gone = list(rows)
    with run.files.changing():
        run.files.index.mark_removed(row.number for row in gone)
    outcome = sweep(run)
    outcome.checkpoints = len(gone)
    return outcome


def sweep(run: RunCheckpoints) -> Removed:
    """Finish removals, and remove files and bytes that belong to no checkpoint."""
    files, index = run.files, run.files.index
    outcome = Removed()
    with files.lock:
        before = _size_of(run)
        waiting: dict[int, int] = {}
        for row in index.rows(removed=True):
            waiting[row.chain] = waiting.get(row.chain, 0) + 1
        if waiting:
            run.forget_chains(set(waiting))
        for chain, count in waiting.items():
            if any(files.is_live(writer) for writer in {row.writer for row in index.chain(chain)}):
                outcome.waiting += count
                continue
            outcome.damaged += _rebase(run, chain)
        _rewrite_packs(run)
        with files.changing():
            _collect(run)
        if waiting:
            index.shrink(whole=sum(waiting.values()) >= _MANY_ROWS)
        outcome.size_bytes = before - _size_of(run)
    return outcome


def _size_of(run: RunCheckpoints) -> int:
    """Bytes of the run's files that no other run shares."""
    total = 0
    for path in files_below(run.files.directory):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            # the run's own name and that among the shared chunks
            if found.st_nlink <= 2:
                total += found.st_size
    return total


def _rebase(run: RunCheckpoints, chain: int) -> int:
    """Take the removed rows out of a chain, and put what stood on one onto the row before it.

    How many of the others cannot be read: what stands on damage could not be loaded before either.
    """
    files, index = run.files, run.files.index
    with files.changing():
        rows = index.chain(chain)
        last_kept = max((place for place, row in enumerate(rows) if not row.removed), default=-1)
        base: bytes | None = None
        value: Any = None
        lacks_base = False
        reading = 0
        try:
            for reading, row in enumerate(rows[: last_kept + 1]):
                value = files.after(value, row)
                if row.removed:
                    lacks_base = True
                    continue
                if lacks_base:
                    _write_again(run, row, base, files.verified(row, value))
                    lacks_base = False
                # What a later row will stand on, where the next one goes.
                base = write_json(value) if reading < last_kept and rows[reading + 1].removed else None
            reading = last_kept + 1
        except (DamagedInput, FileNotFoundError):
            # Whatever stands on what cannot be read could not be loaded before either: it is counted.
            pass
        index.forget(row.number for row in rows if row.removed)
    return sum(not row.removed for row in rows[reading : last_kept + 1])


def _write_again(run: RunCheckpoints, row: Row, base: bytes | None, text: bytes) -> None:
    """Write a row's frame as a delta on another document, or as a snapshot if there is none."""
    value = read_json(text)
    row.position = row.position if base is not None else 0
    run.files.write(row, run.run_id, value, None if base is None else diff(read_json(base), value))
    run.files.index.put(row)


def _rewrite_packs(run: RunCheckpoints) -> None:
    """Copy what counts out of packs that hold other bytes, too."""
    files, index = run.files, run.files.index
    for name in sorted(index.packs()):
        path = files.directory / name
        if files.is_live(name.partition("-")[0]) or not path.exists():
            continue
        rows = index.rows("offset", removed=None, pack=name)
        if sum(row.frame_bytes for row in rows) == path.stat().st_size:
            continue
        files.end_pack()
        with files.changing():
            data = read_file(path)
            for row in rows:
                frame = data[row.offset : row.offset + row.frame_bytes]
                if len(frame) < row.frame_bytes:
                    break  # damage is kept as it is, for whoever can mend it
                row.pack, row.offset = files.append(frame)
                index.put(row)
            else:
                index.drop_pack(name)
        # Behind the commit: until then the index names it. A kill before leaves it to `_collect`.
        if name not in index.packs():
            path.unlink(missing_ok=True)


def _collect(run: RunCheckpoints) -> None:
    """Remove files that belong to no checkpoint; within a transaction, so nobody is making one."""
    files = run.files
    for path in _stray_packs(run):
        path.unlink(missing_ok=True)
    for path in entries_in(files.directory, ".writer"):
        if path.stem != files.writer and not is_written_to(path):
            path.unlink(missing_ok=True)
    files.chunks.remove(_stray_chunks(run))
    files.chunks.remove_leftovers()


def _stray_packs(run: RunCheckpoints) -> list[Path]:
    """Packs that no row names and nobody writes."""
    known = run.files.index.packs()
    packs = [path for path in entries_in(run.files.directory, PACK_SUFFIX) if path.name not in known]
    return [path for path in packs if not run.files.is_live(path.name.partition("-")[0])]


def _stray_chunks(run: RunCheckpoints) -> list[str]:
    """The digests of chunks that no snapshot is made of."""
    wanted = run.files.index.all_chunks()
    return [digest for digest in run.files.chunks.names() if digest not in wanted]


def problems(run: RunCheckpoints) -> list[CheckpointProblem]:
    """Every checkpoint that cannot be loaded, and every file that belongs to none; reads all of them."""
    files = run.files
    found: list[CheckpointProblem] = []
    chains: dict[int, list[Row]] = {}
    for row in files.index.rows(removed=None):
        chains.setdefault(row.chain, []).append(row)
    for rows in chains.values():
        value: Any = None
        trouble: tuple[str, str] | None = None
        for row in sorted(rows, key=lambda each: each.position):
            try:
                value = None if trouble else files.after(value, row)
                if trouble is None:
                    files.verified(row, value)
            except FileNotFoundError as error:
                trouble = str(error.filename), "its pack is gone"
            except DamagedInput as error:
                trouble = error.path or str(files.directory), error.message
            if trouble is not None and not row.removed:
                found.append(CheckpointProblem(*trouble, row.step_id, row.agent_id))
    strays = [*_stray_packs(run), *map(files.chunks.path, _stray_chunks(run))]
    found += [CheckpointProblem(str(path), "belongs to no checkpoint; prune removes it") for path in strays]
    return found
