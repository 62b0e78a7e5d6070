"""Save the checkpoints of a run as full snapshots or as deltas on the previous one, and load and remove them.

A chain is a snapshot and the deltas after it, of one agent and one writer. A new chain begins when loading
would take too long, or when a delta would not be much smaller than a snapshot. So the cost of loading any
checkpoint is bounded by a multiple of the cost of its snapshot.
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
from Agent.flight.checkpoints.delta import CheckpointDocument, diff
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
"""The maximum number of deltas in a chain."""
_MAX_DELTAS: Final = 2.0
"""The maximum size of all deltas in a chain, as a multiple of the snapshot or of the current state."""
_SMALL_BYTES: Final = 8192
"""States smaller than this count as this size for `_MAX_DELTAS`, since they load fast."""
_MAX_DELTA: Final = 0.5
"""A delta larger than this fraction of the whole state is replaced by a snapshot."""
_MAX_CACHED_BYTES: Final = 16 << 20
"""The limit for last documents held parsed, in bytes of their JSON; others are loaded when needed."""


@dataclass(slots=True)
class _ChainEnd:
    """The last checkpoint of a chain that this process continues; `value` is None while it is not held."""

    row: Row
    value: Any
    snapshot_bytes: int
    delta_bytes: int = 0


class RunCheckpoints:
    """Saves the checkpoints of one run; threads and processes may do so at the same time.

    Args:
        run_id: the id as the user gave it.
        files: the files of the run.
    """

    def __init__(self, run_id: str, files: RunFiles) -> None:
        self.run_id = run_id
        self.files = files
        self._chain_ends: OrderedDict[str | None, _ChainEnd] = OrderedDict()
        self._cached_bytes = 0
        self._repeated: dict[tuple[str, str | None], int] = {}
        """{(step, agent): last number added to the name}; the search for a free number starts there."""

    def save(
        self, row: Row, document: CheckpointDocument, *, full: bool = False, replace: bool = True
    ) -> Row:
        """Save a document under the row's step and agent.

        Args:
            row: the facts about the checkpoint; number, chain and place are set here.
            document: its values.
            full: save a snapshot even if a delta would be smaller.
            replace: True replaces an existing checkpoint; False keeps it and adds a number to the new name.

        Raises:
            OSError: it could not be written; nothing was changed.
        """
        files = self.files
        with files.lock:
            head = None if full else self._chain_end(row.agent_id)
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
            self._cache(row.agent_id, head)
        return row

    def _free_name(self, step_id: str, agent_id: str | None) -> str:
        """The name of a step, with a number added if the agent already has a checkpoint of that name."""
        number = self._repeated.get((step_id, agent_id), 1)
        name = step_id if number == 1 else f"{step_id}-{number}"
        while self.files.index.row(name, agent_id) is not None:
            number += 1
            name = f"{step_id}-{number}"
        if number > 1:
            self._repeated[step_id, agent_id] = number
        return name

    def _write(self, row: Row, document: CheckpointDocument, head: _ChainEnd | None) -> _ChainEnd:
        """Write a delta if it is within the limits of the chain, otherwise a snapshot; return the new end."""
        delta: Any = None
        if head is not None and head.row.position < MAX_CHAIN:
            delta = diff(head.value, document.value)
            delta_bytes = 4 if delta is None else len(write_json(delta))  # 4 for `null`
            full_size = len(document.text)
            if delta_bytes <= _MAX_DELTA * full_size and (
                head.delta_bytes + delta_bytes
                <= _MAX_DELTAS * max(full_size, head.snapshot_bytes, _SMALL_BYTES)
            ):
                row.chain, row.position = head.row.chain, head.row.position + 1
                self.files.write(row, self.run_id, document.value, delta)
                return _ChainEnd(row, document.value, head.snapshot_bytes, head.delta_bytes + delta_bytes)
        row.chain, row.position = row.number, 0
        self.files.write(row, self.run_id, document.value, None)
        return _ChainEnd(row, document.value, len(document.text))

    def _chain_end(self, agent_id: str | None) -> _ChainEnd | None:
        """The end of the agent's chain with its document, which is loaded again if it is not held."""
        head = self._chain_ends.get(agent_id)
        if head is not None and head.value is None:
            try:
                head.value = self.files.document(head.row)[0]
            except DamagedInput:
                # The next checkpoint begins a new chain; loading the damaged one reports the damage.
                self.forget(agent_id)
                return None
            self._cached_bytes += head.row.state_bytes
        return head

    def _cache(self, agent_id: str | None, head: _ChainEnd) -> None:
        """Cache the end of a chain; above `_MAX_CACHED_BYTES`, the least recent documents are dropped."""
        self.forget(agent_id)
        self._chain_ends[agent_id] = head
        self._cached_bytes += head.row.state_bytes
        for other in list(self._chain_ends) if self._cached_bytes > _MAX_CACHED_BYTES else ():
            if other != agent_id and self._chain_ends[other].value is not None:
                self._chain_ends[other].value = None
                self._cached_bytes -= self._chain_ends[other].row.state_bytes
                if self._cached_bytes <= _MAX_CACHED_BYTES:
                    break

    def forget(self, agent_id: str | None) -> None:
        """Stop continuing the agent's chain; its next checkpoint will be a snapshot."""
        head = self._chain_ends.pop(agent_id, None)
        if head is not None and head.value is not None:
            self._cached_bytes -= head.row.state_bytes

    def forget_chains(self, chains: set[int]) -> None:
        """Stop continuing these chains."""
        for agent_id in [known for known, head in self._chain_ends.items() if head.row.chain in chains]:
            self.forget(agent_id)

    def suspend(self) -> None:
        """Drop the held documents and close files; the next save still continues its chain."""
        for head in self._chain_ends.values():
            head.value = None
        self._cached_bytes = 0
        self.files.suspend()

    def close(self) -> None:
        """Close all files and stop continuing all chains."""
        self._chain_ends.clear()
        self._cached_bytes = 0
        self.files.close()


def rebuild(directory: Path) -> int:
    """Rebuild the index of a run's checkpoints from its packs; return the number of checkpoints in it.

    The old index is kept as `index.sqlite.damaged`. Bytes of packs that are no checkpoint are reported on
    stderr. Checkpoints whose removal was waiting for a writer are listed again, and the run's recorded
    outcome is lost, so that `prune` derives it from events or checkpoints.

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
    """Enter the frames of all packs into an empty index; the newest row of a step and agent is listed."""
    rows_by_number: dict[int, tuple[Row, list[str]]] = {}
    for path in entries_in(directory, PACK_SUFFIX):
        index.add_pack(path.name)
        for offset, size, frame in frames(path, partial(_report_incomplete_end, path)):
            try:
                row = Row.of_frame(path, offset, size, frame)
            except (KeyError, TypeError, ValueError) as error:
                say(f"{path}: no valid checkpoint at byte {offset}: {type(error).__name__} {error}")
                continue
            existing = rows_by_number.get(row.number)
            # Frames with the same number are copies of each other, or an earlier one was not committed.
            if existing is None or existing[0].saved_us <= row.saved_us:
                rows_by_number[row.number] = row, frame.get("chunks") or []
    newest: dict[tuple[str, str | None], int] = {}
    begun = {row.chain for row, _ in rows_by_number.values() if row.position == 0}
    for number, (row, digests) in sorted(rows_by_number.items()):
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


def _report_incomplete_end(path: Path, size_bytes: int) -> None:
    say(f"{path}: its last {size_bytes} bytes are not a complete checkpoint")


_OPEN_RUNS: Final = 6
"""The number of runs whose files are kept open; each holds at most five."""
_MAX_CONTINUED_RUNS: Final = 30
"""The number of runs whose chains are continued; one that is not open holds one file, its claim.

A later save in any other run begins a new chain.
"""
_REMOVED_SUFFIX: Final = ".removed"


class OpenRuns:
    """The open runs of one session's store; callers hold `lock`.

    Args:
        session: the session's directory.
        durable: whether a save waits for the disk.
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
        """The lock for all other methods; in a forked child, all files are opened again."""
        if self._pid != os.getpid():
            # Keep a reference: deallocating the connections would close the parent's files.
            self._abandoned.append(self._runs)
            self._begin()
        return self._lock

    def get(self, run_id: str, *, make: bool = False) -> RunCheckpoints:
        """A run, opened if necessary; raises RunNotFound if it has no checkpoints and `make` is False."""
        run = self._runs.get(run_id)
        directory = checkpoints_dir(self.session, run_id)
        # Another process may have removed the run's checkpoints, or the program closed its descriptors.
        if run is not None and (not run.files.index.path.exists() or run.files.index.was_closed()):
            self.end(run)
            run = None
        if run is None and is_closed(directory / INDEX_NAME):
            # The packs hold all saved checkpoints, so the index can be rebuilt from them.
            rebuild(directory)
        if run is None and (make or (directory / INDEX_NAME).exists()):
            run = self._opened(directory, make=make, run_id=run_id)
        if run is not None and run.files.index.fact(REMOVED_FACT) is not None:
            # A removal was interrupted: finish it.
            self._delete_directory(run)
            run = self._opened(directory, make=True, run_id=run_id) if make else None
        if run is None:
            raise self._no_run(run_id)
        self._runs.move_to_end(run_id)
        if len(self._runs) > _OPEN_RUNS:
            list(self._runs.values())[-_OPEN_RUNS - 1].suspend()
        return run

    def _opened(self, directory: Path, *, make: bool, run_id: str | None = None) -> RunCheckpoints:
        files = RunFiles(directory, shared_chunks_dir(self.session), make=make, durable=self.durable)
        stored_id = files.index.fact("run_id")
        if stored_id is None and run_id is not None and make:
            with files.changing():
                files.index.note("run_id", run_id)
        if stored_id is None:
            stored_id = directory.parent.name if run_id is None else run_id
        run = self._runs[stored_id] = RunCheckpoints(stored_id, files)
        while len(self._runs) > _MAX_CONTINUED_RUNS:
            self._runs.popitem(last=False)[1].close()
        return run

    def ids(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        run_ids = []
        at_hand = {run.files.directory: run.run_id for run in self._runs.values()}
        for directory in saved_runs(self.session):
            run_id = at_hand.get(directory)
            if run_id is None:
                files = RunFiles(directory, None, make=False)
                run_id = files.index.fact("run_id") or directory.parent.name
                files.close()
            run_ids.append(run_id)
        return run_ids

    def end(self, run: RunCheckpoints) -> None:
        """Close a run; a checkpoint saved later begins with a snapshot."""
        self._runs.pop(run.run_id, None)
        run.close()

    def close(self) -> None:
        """Close all runs."""
        for run in list(self._runs.values()):
            self.end(run)

    def rebuilt(self, run_id: str) -> int:
        """Rebuild a run's index and return its number of checkpoints.

        Raises:
            RunNotFound, SessionInUse, OSError: as `LocalCheckpointStore.rebuild_index`.
        """
        directory = checkpoints_dir(self.session, run_id)
        if not directory.is_dir():
            raise self._no_run(run_id)
        for run in [run for run in self._runs.values() if run.files.directory == directory]:
            self.end(run)
        count = rebuild(directory)
        self._opened(directory, make=True, run_id=run_id)
        return count

    def remove(self, run: RunCheckpoints) -> Removed | None:
        """Remove a run's checkpoints with their directory; None if another process writes there."""
        files = run.files
        outcome = Removed(runs=1)
        with files.changing():
            if any(files.is_live(path.stem) for path in entries_in(files.directory, ".writer")):
                return None
            outcome.checkpoints = len(files.index.listed())
            # The mark stops all saves; the next process that opens the run finishes an interrupted removal.
            files.index.note(REMOVED_FACT, "yes")
        outcome.size_bytes = self._delete_directory(run)
        return outcome

    def _delete_directory(self, run: RunCheckpoints) -> int:
        """Remove the directory of a run that is marked as removed; return the bytes freed."""
        files = run.files
        freed = files.chunks.remove(files.chunks.names())
        freed += sum(path.stat().st_size for path in files_below(files.directory))
        self.end(run)
        # Rename first, so that a kill leaves no partial directory under the old name.
        renamed = files.directory.with_name(f"{files.directory.name}.{files.writer}{_REMOVED_SUFFIX}")
        try:
            files.directory.rename(renamed)
        except FileNotFoundError:
            return 0  # another process found the mark and removed it first
        shutil.rmtree(renamed)
        return freed

    def finish_removals(self) -> None:
        """Delete the renamed directories of interrupted removals."""
        for run in run_dirs(self.session):
            for path in entries_in(run, _REMOVED_SUFFIX, "checkpoints."):
                shutil.rmtree(path)

    def sweep_shared(self) -> None:
        """Remove shared links to chunks that no run has any more."""
        remove_unshared(shared_chunks_dir(self.session))

    def _no_run(self, run_id: str) -> RunNotFound:
        return RunNotFound(
            f"no checkpoints of a run {run_id!r} in this session",
            path=self.session,
            remedy="list_checkpoints and runs() list them",
        )


_MANY_ROWS: Final = 1000
"""From this number of removed rows on, the index is vacuumed."""


def remove(run: RunCheckpoints, rows: Iterable[Row]) -> Removed:
    """Remove checkpoints of a run; all others can still be loaded.

    Raises:
        OSError: a file could not be written; the next removal continues from there.
    """
    removed = list(rows)
    with run.files.changing():
        run.files.index.mark_removed(row.number for row in removed)
    outcome = sweep(run)
    outcome.checkpoints = len(removed)
    return outcome


def sweep(run: RunCheckpoints) -> Removed:
    """Finish pending removals, and delete files and bytes that belong to no checkpoint."""
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
            index.shrink(vacuum=sum(waiting.values()) >= _MANY_ROWS)
        outcome.size_bytes = before - _size_of(run)
    return outcome


def _size_of(run: RunCheckpoints) -> int:
    """The size of the run's files in bytes, without those that other runs share."""
    total = 0
    for path in files_below(run.files.directory):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            # One link is the run's own, the other is in the shared directory.
            if status.st_nlink <= 2:
                total += status.st_size
    return total


def _rebase(run: RunCheckpoints, chain: int) -> int:
    """Delete the removed rows of a chain, and rewrite the deltas that built on them.

    Returns:
        The number of remaining rows that cannot be read. They build on damaged rows and could not be loaded
        before either.
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
                    _rewrite(run, row, base, files.verified(row, value))
                    lacks_base = False
                # If the next row is removed, a later one needs this document as its base.
                base = write_json(value) if reading < last_kept and rows[reading + 1].removed else None
            reading = last_kept + 1
        except (DamagedInput, FileNotFoundError):
            # `reading` is the first unreadable row; it and all kept rows after it are counted below.
            pass
        index.forget(row.number for row in rows if row.removed)
    return sum(not row.removed for row in rows[reading : last_kept + 1])


def _rewrite(run: RunCheckpoints, row: Row, base: bytes | None, text: bytes) -> None:
    """Write a row's frame again as a delta on `base`, or as a snapshot if `base` is None."""
    value = read_json(text)
    row.position = row.position if base is not None else 0
    run.files.write(row, run.run_id, value, None if base is None else diff(read_json(base), value))
    run.files.index.put(row)


def _rewrite_packs(run: RunCheckpoints) -> None:
    """Copy the valid frames out of packs that also hold other bytes, and delete these packs."""
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
                    break  # keep a damaged pack as it is, so that it can be repaired
                row.pack, row.offset = files.append(frame)
                index.put(row)
            else:
                index.drop_pack(name)
        # Delete it after the commit, since the index names it until then. After a kill, `_collect` does.
        if name not in index.packs():
            path.unlink(missing_ok=True)


def _collect(run: RunCheckpoints) -> None:
    """Delete files that belong to no checkpoint; in a transaction, so that no other process saves one."""
    files = run.files
    for path in _stray_packs(run):
        path.unlink(missing_ok=True)
    for path in entries_in(files.directory, ".writer"):
        if path.stem != files.writer and not is_written_to(path):
            path.unlink(missing_ok=True)
    files.chunks.remove(_stray_chunks(run))
    files.chunks.remove_leftovers()


def _stray_packs(run: RunCheckpoints) -> list[Path]:
    """The packs that are not in the index and have no live writer."""
    indexed = run.files.index.packs()
    packs = [path for path in entries_in(run.files.directory, PACK_SUFFIX) if path.name not in indexed]
    return [path for path in packs if not run.files.is_live(path.name.partition("-")[0])]


def _stray_chunks(run: RunCheckpoints) -> list[str]:
    """The digests of chunks that no snapshot uses."""
    used = run.files.index.all_chunks()
    return [digest for digest in run.files.chunks.names() if digest not in used]


def problems(run: RunCheckpoints) -> list[CheckpointProblem]:
    """List all checkpoints that cannot be loaded and all files that belong to none; reads all of them."""
    files = run.files
    reported: list[CheckpointProblem] = []
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
                trouble = str(error.filename), "its pack is missing"
            except DamagedInput as error:
                trouble = error.path or str(files.directory), error.message
            if trouble is not None and not row.removed:
                reported.append(CheckpointProblem(*trouble, row.step_id, row.agent_id))
    strays = [*_stray_packs(run), *map(files.chunks.path, _stray_chunks(run))]
    reported += [
        CheckpointProblem(str(path), "belongs to no checkpoint; prune removes it") for path in strays
    ]
    return reported
