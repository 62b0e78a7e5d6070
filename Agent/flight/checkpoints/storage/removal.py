"""Removing checkpoints from a run: first from the list, then their bytes, chain by chain, pack by pack.

A delta whose base goes is rewritten on the checkpoint before it. Each step is one transaction, and what is
left to do can be seen from the files, so a removal that was killed is finished by the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.flight.checkpoints.model import CheckpointProblem, Removed
from Agent.flight.checkpoints.storage.delta import diff
from Agent.flight.checkpoints.storage.index import Row
from Agent.flight.checkpoints.storage.packs import PACK_SUFFIX, is_written_to
from Agent.flight.checkpoints.storage.run import RunCheckpoints, frame_head

__all__ = ["problems", "remove", "sweep"]

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
        for row in index.removed():
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
    for path in run.files.directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            # the run's own name and that among the shared chunks
            if path.is_file() and found.st_nlink <= 2:
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
                base = orjson.dumps(value) if reading < last_kept and rows[reading + 1].removed else None
            reading = last_kept + 1
        except (DamagedInput, FileNotFoundError):
            # Whatever stands on what cannot be read could not be loaded before either: it is counted.
            pass
        index.forget(row.number for row in rows if row.removed)
    return sum(not row.removed for row in rows[reading : last_kept + 1])


def _write_again(run: RunCheckpoints, row: Row, base: bytes | None, text: bytes) -> None:
    """Write a row's frame as a delta on another document, or as a snapshot if there is none."""
    value = orjson.loads(text)
    row.position = row.position if base is not None else 0
    delta = None if base is None else diff(orjson.loads(base), value)
    told = frame_head(run.run_id, row)
    run.files.write(row, told, delta, is_delta=base is not None, value=value)
    run.files.index.put(row)


def _rewrite_packs(run: RunCheckpoints) -> None:
    """Copy what counts out of packs that hold other bytes, too."""
    files, index = run.files, run.files.index
    for name in sorted(index.packs()):
        path = files.directory / name
        if files.is_live(name.partition("-")[0]) or not path.exists():
            continue
        rows = index.in_pack(name)
        if sum(row.frame_bytes for row in rows) == path.stat().st_size:
            continue
        files.end_pack()
        with files.changing():
            data = path.read_bytes()
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
    files, index = run.files, run.files.index
    known = index.packs()
    for path in files.directory.glob(f"*{PACK_SUFFIX}"):
        if path.name not in known and not files.is_live(path.name.partition("-")[0]):
            path.unlink(missing_ok=True)
    for path in files.directory.glob("*.writer"):
        if path.stem != files.writer and not is_written_to(path):
            path.unlink(missing_ok=True)
    wanted = index.all_chunks()
    files.chunks.remove(digest for digest in files.chunks.names() if digest not in wanted)
    files.chunks.remove_leftovers()


def problems(run: RunCheckpoints) -> list[CheckpointProblem]:
    """Every checkpoint that cannot be loaded, and every file that belongs to none; reads all of them."""
    files, index = run.files, run.files.index
    found: list[CheckpointProblem] = []
    chains: dict[int, list[Row]] = {}
    for row in index.everything():
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
    known = index.packs()
    strays = [
        path
        for path in files.directory.glob(f"*{PACK_SUFFIX}")
        if path.name not in known and not files.is_live(path.name.partition("-")[0])
    ]
    wanted = index.all_chunks()
    strays += [files.chunks.path(digest) for digest in files.chunks.names() if digest not in wanted]
    found += [CheckpointProblem(str(path), "belongs to no checkpoint; prune removes it") for path in strays]
    return found
