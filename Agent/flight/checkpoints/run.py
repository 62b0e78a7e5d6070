"""Save the checkpoints of a run as full snapshots or as deltas on the previous one, and load and remove them.

A chain is a snapshot and the deltas after it, of one agent and one writer. A new chain begins when loading
would take too long, or when a delta would not be much smaller than a snapshot. So the cost of loading any
checkpoint is bounded by a multiple of the cost of its snapshot.

Every change of a run's files happens in one transaction of the index, so that two processes never change them
at the same time. A kill leaves either a row with its frame or a frame without a row, which is removed later.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput, SessionInUse
from Agent.event.values.digest import digest_bytes
from Agent.event.values.plain import read_json, write_json
from Agent.flight.checkpoints.delta import CheckpointDocument, apply, diff
from Agent.flight.checkpoints.files import (
    INDEX_NAME,
    PACK_SUFFIX,
    REMOVED_FACT,
    CheckpointIndex,
    ChunkFiles,
    RemovedMeanwhile,
    Row,
    append_frame,
    chunk_digest,
    compressed,
    frames,
    frames_at,
    is_written_to,
    split,
)
from Agent.flight.checkpoints.model import CheckpointProblem, Removed
from Agent.record.health import say
from Agent.tree.files.descriptors import fcntl, give_back, out_of_the_way
from Agent.tree.layout import NO_FOLLOW, entries_in, files_below, open_private, read_file

_CLAIM_SUFFIX: Final = ".writer"
_PACK_BYTES: Final = 8 << 20
_INLINE_BYTES: Final = 8192
"""Snapshots up to this length are stored in their frame: a chunk file would take a block of the disk."""
_ATTEMPTS: Final = 5
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
    """The checkpoints of one run, opened by one process; threads and processes may save at the same time.

    Callers that change something hold `lock`.

    Args:
        directory: the directory of the run's checkpoints.
        shared: the directory of chunks that runs share.
        make: whether to create the index if it is missing.
        run_id: the id as the user gave it; default: the stored one.
    """

    def __init__(self, directory: Path, shared: Path, *, make: bool, run_id: str | None = None) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.index = CheckpointIndex(directory / INDEX_NAME, make=make)
        self.chunks = ChunkFiles(directory / "chunks", shared)
        self.writer = os.urandom(5).hex()
        self._pack: Path | None = None
        """The pack to which frames are appended."""
        self._pack_bytes = 0
        self._created_packs = 0
        self._claim: tuple[int, tuple[int, int]] | None = None
        """(descriptor, (device, inode)) of the locked claim, if this process has begun a pack."""
        self._chain_ends: OrderedDict[str | None, _ChainEnd] = OrderedDict()
        self._cached_bytes = 0
        self._repeated: dict[tuple[str, str | None], int] = {}
        """{(step, agent): last number added to the name}; the search for a free number starts there."""
        stored_id = self.index.fact("run_id")
        if stored_id is None and make and run_id is not None:
            with self.changing():
                self.index.note("run_id", run_id)
        if stored_id is None:
            stored_id = directory.parent.name if run_id is None else run_id
        if run_id not in {None, stored_id}:
            self.index.suspend()
            raise DamagedInput(
                "the index of the checkpoints is that of another run",
                path=self.index.path,
                remedy="rebuild_index(run_id) rebuilds the index from the packs",
            )
        self.run_id = stored_id

    def close(self) -> None:
        """Close all files, stop continuing chains, and release the claim, so that others may change them."""
        with self.lock:
            self._chain_ends.clear()
            self._cached_bytes = 0
            self._pack = None
            if self._claim is not None:
                give_back(*self._claim)
                self._claim_of(self.writer).unlink(missing_ok=True)
                self._claim = None
            self.index.suspend()

    def suspend(self) -> None:
        """Drop the held documents and close the index; the next save still continues its chain."""
        for head in self._chain_ends.values():
            head.value = None
        self._cached_bytes = 0
        self.index.suspend()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Return a block that is one transaction; an exception also truncates what was appended to packs."""
        pack, size_bytes = self._pack, self._pack_bytes
        try:
            with self.lock, self.index.transaction():
                if self.index.fact(REMOVED_FACT) is not None:
                    raise RemovedMeanwhile(f"the checkpoints in {self.directory} were removed")  # noqa: TRY301
                yield
        except BaseException:
            if self._pack is not None and self._pack != pack:
                self._pack.unlink(missing_ok=True)
                self._pack = None
            elif self._pack is not None and self._pack_bytes != size_bytes:
                os.truncate(self._pack, size_bytes)
                self._pack_bytes = size_bytes
            raise

    def append(self, frame: bytes) -> tuple[str, int]:
        """Append a frame and return (name of its pack, offset in it)."""
        if self._pack is None or self._pack_bytes + len(frame) > _PACK_BYTES > len(frame):
            self._claim = self._claim or self._claimed()
            self._created_packs += 1
            self._pack = self.directory / f"{self.writer}-{self._created_packs}{PACK_SUFFIX}"
            self.index.run("INSERT OR REPLACE INTO packs VALUES (?)", self._pack.name)
        offset = append_frame(self._pack, frame)
        self._pack_bytes = offset + len(frame)
        return self._pack.name, offset

    def end_pack(self) -> None:
        """End the current pack; the next frame begins a new one."""
        self._pack = None

    def _claim_of(self, writer: str) -> Path:
        return self.directory / f"{writer}{_CLAIM_SUFFIX}"

    def _claimed(self) -> tuple[int, tuple[int, int]]:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW
        fd = out_of_the_way(open_private(self._claim_of(self.writer), flags))
        if fcntl is not None:  # platforms without advisory locks support only one process
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(fd)
        return fd, (status.st_dev, status.st_ino)

    def is_live(self, writer: str) -> bool:
        """Whether another writer, in this process or another one, still holds its claim."""
        return writer != self.writer and is_written_to(self._claim_of(writer))

    def write(self, row: Row, value: Any, delta: Any) -> None:
        """Write the frame of a checkpoint and its chunks, and set pack, offset and sizes of the row.

        Args:
            row: the checkpoint, with its place in a chain.
            value: the whole document.
            delta: the delta from the previous row if the row is not a snapshot; None for no change.
        """
        row.size_bytes = 0
        content: dict[str, Any]
        if row.position:
            content = {"delta": delta}
        elif row.state_bytes <= _INLINE_BYTES:
            content = {"document": value}
        else:
            digests = []
            for chunk in split(value):
                digest = chunk_digest(chunk)
                used = self.index.run("SELECT 1 FROM chunks WHERE digest = ? LIMIT 1", digest)
                if digest not in digests and not (used and self.chunks.path(digest).exists()):
                    row.size_bytes += self.chunks.put(digest, chunk)
                digests.append(digest)
            self.index.set_chunks(row.number, digests)
            content = {"chunks": digests}
        frame = compressed(write_json({**row.head(self.run_id), **content}, orjson.OPT_APPEND_NEWLINE))
        row.pack, row.offset = self.append(frame)
        row.frame_bytes = len(frame)
        row.size_bytes += len(frame)

    def documents(self, rows: Iterable[Row]) -> Iterator[Any]:
        """Yield the document of each row of a chain from its snapshot on; the next may change it in place.

        Raises:
            DamagedInput: a row cannot be read, or its delta does not fit.
            FileNotFoundError: its pack is missing.
        """
        value: Any = None
        for pack, group in groupby(rows, key=attrgetter("pack")):
            of_pack = list(group)
            path = self.directory / pack
            places = ((row.offset, row.frame_bytes) for row in of_pack)
            for row, frame in zip(of_pack, frames_at(path, places), strict=True):
                try:
                    if "delta" in frame:
                        value = value if frame["delta"] is None else apply(value, frame["delta"])
                    elif "chunks" in frame:
                        value = read_json(b"".join(map(self.chunks.get, frame["chunks"])))
                    else:
                        value = frame["document"]
                except (LookupError, TypeError, ValueError) as error:
                    raise DamagedInput(
                        f"the checkpoint of {row.step_id} does not fit the one that it builds on: {error}",
                        path=path,
                        remedy="the checkpoints of its chain before it can be loaded",
                    ) from None
                yield value

    def document(self, row: Row) -> tuple[Any, bytes]:
        """The document of a checkpoint, parsed and as text; the text equals the saved one to the byte.

        Raises:
            DamagedInput: it cannot be read, or its digest differs from the saved one.
        """
        problem: DamagedInput | None = None
        for _ in range(_ATTEMPTS):
            below: list[Row] = []
            try:
                below = self._below(row)
                value: Any = None
                for value in self.documents(below):  # noqa: B007 - the last one is the row's
                    pass
                return value, self.verified(row, value)
            except FileNotFoundError as error:
                problem = DamagedInput(
                    f"the checkpoint of {row.step_id} is in the index, but its pack is missing",
                    path=error.filename,
                    remedy="copy the file back, or delete the checkpoint",
                )
            except DamagedInput as error:
                problem = error
            # Another process may have rewritten the chain; then the index has its new place.
            rows = self.index.rows(removed=None, number=row.number)
            has_packs = all((self.directory / each.pack).exists() for each in below)
            if not rows or (rows[0] == row and has_packs):
                break
            row = rows[0]
        assert problem is not None  # noqa: S101 - set by each failed attempt
        raise problem

    def _below(self, row: Row) -> list[Row]:
        """The rows from the snapshot up to a checkpoint, from which its document is built."""
        rows = [each for each in self.index.chain(row.chain) if each.position <= row.position]
        if not rows or rows[0].position or rows[-1].number != row.number:
            raise DamagedInput(
                f"the chain of the checkpoint of {row.step_id} is incomplete",
                path=self.index.path,
                remedy="rebuild_index(run_id) rebuilds the index from the packs",
            )
        return rows

    def verified(self, row: Row, value: Any) -> bytes:
        """The text of a loaded document; raises DamagedInput if its digest differs from the saved one."""
        text = write_json(value)
        if digest_bytes(text) != row.digest:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} differs from what was saved",
                path=self.directory / row.pack,
                remedy="restore the run's checkpoints from a copy",
            )
        return text

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
        with self.lock:
            head = None if full else self._chain_end(row.agent_id)
            try:
                with self.changing():
                    index = self.index
                    ((row.number,),) = index.run("SELECT coalesce(max(number), 0) + 1 FROM checkpoints")
                    row.writer = self.writer
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
        while self.index.row(name, agent_id) is not None:
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
                self.write(row, document.value, delta)
                return _ChainEnd(row, document.value, head.snapshot_bytes, head.delta_bytes + delta_bytes)
        row.chain, row.position = row.number, 0
        self.write(row, document.value, None)
        return _ChainEnd(row, document.value, len(document.text))

    def _chain_end(self, agent_id: str | None) -> _ChainEnd | None:
        """The end of the agent's chain with its document, which is loaded again if it is not held."""
        head = self._chain_ends.get(agent_id)
        if head is not None and head.value is None:
            try:
                head.value = self.document(head.row)[0]
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
        index.run("INSERT OR REPLACE INTO packs VALUES (?)", path.name)
        for offset, size, frame in frames(path):
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


_MANY_ROWS: Final = 1000
"""From this number of removed rows on, the index is vacuumed."""


def remove(run: RunCheckpoints, rows: Iterable[Row]) -> Removed:
    """Remove checkpoints of a run; all others can still be loaded.

    Raises:
        OSError: a file could not be written; the next removal continues from there.
    """
    removed = list(rows)
    with run.changing():
        run.index.mark_removed(row.number for row in removed)
    outcome = sweep(run)
    outcome.checkpoints = len(removed)
    return outcome


def sweep(run: RunCheckpoints) -> Removed:
    """Finish pending removals, and delete files and bytes that belong to no checkpoint."""
    index = run.index
    outcome = Removed()
    with run.lock:
        before = _size_of(run)
        waiting: dict[int, int] = {}
        for row in index.rows(removed=True):
            waiting[row.chain] = waiting.get(row.chain, 0) + 1
        if waiting:
            run.forget_chains(set(waiting))
        for chain, count in waiting.items():
            if any(run.is_live(writer) for writer in {row.writer for row in index.chain(chain)}):
                outcome.waiting += count
                continue
            outcome.damaged += _rebase(run, chain)
        _rewrite_packs(run)
        with run.changing():
            _collect(run)
        if waiting:
            index.shrink(vacuum=sum(waiting.values()) >= _MANY_ROWS)
        outcome.size_bytes = before - _size_of(run)
    return outcome


def _size_of(run: RunCheckpoints) -> int:
    """The size of the run's files in bytes, without those that other runs share."""
    total = 0
    for path in files_below(run.directory):
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
    index = run.index
    with run.changing():
        rows = index.chain(chain)
        last_kept = max((place for place, row in enumerate(rows) if not row.removed), default=-1)
        base: bytes | None = None
        lacks_base = False
        read = 0
        try:
            for row, value in zip(rows[: last_kept + 1], run.documents(rows[: last_kept + 1]), strict=True):
                if not row.removed:
                    if lacks_base:
                        _rewrite(run, row, base, run.verified(row, value))
                    # If the next row is removed, a later one needs this document as its base.
                    base = write_json(value) if read < last_kept and rows[read + 1].removed else None
                lacks_base = bool(row.removed)
                read += 1
        except (DamagedInput, FileNotFoundError):
            pass  # the first unreadable row and all kept rows after it are counted below
        index.forget(row.number for row in rows if row.removed)
    return sum(not row.removed for row in rows[read : last_kept + 1])


def _rewrite(run: RunCheckpoints, row: Row, base: bytes | None, text: bytes) -> None:
    """Write a row's frame again as a delta on `base`, or as a snapshot if `base` is None."""
    value = read_json(text)
    row.position = row.position if base is not None else 0
    run.write(row, value, None if base is None else diff(read_json(base), value))
    run.index.put(row)


def _rewrite_packs(run: RunCheckpoints) -> None:
    """Copy the valid frames out of packs that also hold other bytes, and delete these packs."""
    index = run.index
    for name in sorted(index.packs()):
        path = run.directory / name
        if run.is_live(name.partition("-")[0]) or not path.exists():
            continue
        rows = index.rows("offset", removed=None, pack=name)
        if sum(row.frame_bytes for row in rows) == path.stat().st_size:
            continue
        run.end_pack()
        with run.changing():
            data = read_file(path)
            for row in rows:
                frame = data[row.offset : row.offset + row.frame_bytes]
                if len(frame) < row.frame_bytes:
                    break  # keep a damaged pack as it is, so that it can be repaired
                row.pack, row.offset = run.append(frame)
                index.put(row)
            else:
                index.run("DELETE FROM packs WHERE name = ?", name)
        # Delete it after the commit, since the index names it until then. After a kill, `_collect` does.
        if name not in index.packs():
            path.unlink(missing_ok=True)


def _collect(run: RunCheckpoints) -> None:
    """Delete files that belong to no checkpoint; in a transaction, so that no other process saves one."""
    for path in _stray_packs(run):
        path.unlink(missing_ok=True)
    for path in entries_in(run.directory, ".writer"):
        if path.stem != run.writer and not is_written_to(path):
            path.unlink(missing_ok=True)
    run.chunks.remove(_stray_chunks(run))
    run.chunks.remove_leftovers()


def _stray_packs(run: RunCheckpoints) -> list[Path]:
    """The packs that are not in the index and have no live writer."""
    indexed = run.index.packs()
    packs = [path for path in entries_in(run.directory, PACK_SUFFIX) if path.name not in indexed]
    return [path for path in packs if not run.is_live(path.name.partition("-")[0])]


def _stray_chunks(run: RunCheckpoints) -> list[str]:
    """The digests of chunks that no snapshot uses."""
    used = run.index.all_chunks()
    return [digest for digest in run.chunks.names() if digest not in used]


def problems(run: RunCheckpoints) -> list[CheckpointProblem]:
    """List all checkpoints that cannot be loaded and all files that belong to none; reads all of them."""
    reported: list[CheckpointProblem] = []
    chains: dict[int, list[Row]] = {}
    for row in run.index.rows(removed=None):
        chains.setdefault(row.chain, []).append(row)
    for rows in chains.values():
        rows.sort(key=attrgetter("position"))
        documents = run.documents(rows)
        trouble: tuple[str, str] | None = None
        for row in rows:
            try:
                if trouble is None:
                    run.verified(row, next(documents))
            except FileNotFoundError as error:
                trouble = str(error.filename), "its pack is missing"
            except DamagedInput as error:
                trouble = error.path or str(run.directory), error.message
            if trouble is not None and not row.removed:
                reported.append(CheckpointProblem(*trouble, row.step_id, row.agent_id))
    strays = [*_stray_packs(run), *map(run.chunks.path, _stray_chunks(run))]
    reported += [
        CheckpointProblem(str(path), "belongs to no checkpoint; prune removes it") for path in strays
    ]
    return reported
