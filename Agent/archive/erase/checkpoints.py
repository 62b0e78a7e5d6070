"""Erasing from the checkpoints of a session's runs: whole runs, one agent's, or those that hold a value.

What stood on a checkpoint that goes is written again by the store, and loads as before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from Agent.archive.erase.target import AGENT, MATCH, Target
from Agent.errors import DamagedInput, NotErased, RunNotFound
from Agent.flight.checkpoints.storage.files import INDEX_NAME, REMOVED_FACT, RunFiles, shared_chunks_dir
from Agent.flight.checkpoints.storage.index import Row
from Agent.flight.checkpoints.storage.packs import PACK_SUFFIX, remove_unshared
from Agent.flight.checkpoints.storage.run import RunCheckpoints, remove
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.record.encode.redaction import Redactor
from Agent.tree.layout import runs_dir

__all__ = ["FoundCheckpoints", "erase_checkpoints", "find_checkpoints"]


@dataclass(slots=True)
class FoundCheckpoints:
    """The checkpoints that go, by run."""

    whole: list[str] = field(default_factory=list)
    """Runs whose checkpoints go with all that belongs to them."""
    numbers: dict[Path, list[int]] = field(default_factory=dict)
    """Of others the numbers that go."""
    count: int = 0


def find_checkpoints(session: Path, target: Target) -> FoundCheckpoints:
    """Find the checkpoints that go.

    Raises:
        NotErased: one of them cannot be read, so nobody can say whether it holds the value.
        OSError: an index cannot be opened.
    """
    found = FoundCheckpoints()
    for index in sorted(runs_dir(session).glob(f"*/checkpoints/{INDEX_NAME}")):
        directory = index.parent
        with _opened(session, directory) as run:
            rows = run.files.index.everything()
            whole = directory.parent.name in target.run_dirs
            named = target.kind == MATCH and target.is_named_by(run.run_id)
            if whole or named or run.files.index.fact(REMOVED_FACT) is not None:
                found.whole.append(run.run_id)
                found.count += len(rows)
                continue
            numbers = list(_going(run, rows, target))
            if numbers or _is_unfinished(run, rows):
                found.numbers[directory] = numbers
                found.count += len(numbers)
    return found


def erase_checkpoints(session: Path, found: FoundCheckpoints) -> None:
    """Remove what was found, and what removals that were killed had left.

    Raises:
        OSError, DamagedInput: something cannot be written; what was done counts.
    """
    with LocalCheckpointStore(session, redactor=Redactor(b"")) as store:
        for run_id in found.whole:
            # One whose removal was interrupted is finished when it is looked for, and then is none.
            with contextlib.suppress(RunNotFound):
                store.delete_checkpoints(run_id)
    for directory, numbers in found.numbers.items():
        with _opened(session, directory) as run:
            going = set(numbers)
            remove(run, [row for row in run.files.index.everything() if row.number in going])
            run.files.index.shrink(whole=True)
    remove_unshared(shared_chunks_dir(session))


def _is_unfinished(run: RunCheckpoints, rows: list[Row]) -> bool:
    """Whether a removal that was killed has left bytes behind that belong to no checkpoint."""
    sizes = {path.name: path.stat().st_size for path in run.files.directory.glob(f"*{PACK_SUFFIX}")}
    for row in rows:
        sizes[row.pack] = sizes.get(row.pack, 0) - row.frame_bytes
    wanted = run.files.index.all_chunks()
    is_stray = any(digest not in wanted for digest in run.files.chunks.names())
    return is_stray or any(sizes.values()) or any(row.removed for row in rows)


@contextlib.contextmanager
def _opened(session: Path, directory: Path) -> Iterator[RunCheckpoints]:
    """One run's checkpoints, closed behind the block."""
    files = RunFiles(directory, shared_chunks_dir(session), make=False)
    run = RunCheckpoints(files.index.fact("run_id") or directory.parent.name, files)
    try:
        yield run
    finally:
        run.close()


def _going(run: RunCheckpoints, rows: list[Row], target: Target) -> Iterator[int]:
    if target.kind == AGENT:
        yield from (row.number for row in rows if row.agent_id == target.value and not row.removed)
        rows = [row for row in rows if row.agent_id is None]
    elif target.kind != MATCH:
        return
    chains: dict[int, list[Row]] = {}
    for row in rows:
        chains.setdefault(row.chain, []).append(row)
    for chain in chains.values():
        yield from _matching(run, sorted(chain, key=lambda row: row.position), target)


def _matching(run: RunCheckpoints, chain: list[Row], target: Target) -> Iterator[int]:
    """Those of a chain whose document, or whose row, holds the value; those of a run that hold the agent."""
    value: Any = None
    try:
        for row in chain:
            value = run.files.after(value, row)
            if row.removed:
                continue
            if target.kind == AGENT:
                state = value.get("state") if isinstance(value, dict) else None
                if isinstance(state, dict) and target.value in state:
                    yield row.number
                continue
            told = orjson.dumps({name: getattr(row, name) for name in Row.__slots__})
            if target.forms.find(orjson.dumps(value)) is not None or target.forms.find(told) is not None:
                yield row.number
    except (DamagedInput, FileNotFoundError) as error:
        raise NotErased(
            f"a checkpoint of run {run.run_id!r} cannot be read, so it cannot be searched",
            path=getattr(error, "path", None) or getattr(error, "filename", None),
            remedy="restore it from a copy, or delete the checkpoints of that run, and erase again",
        ) from error
