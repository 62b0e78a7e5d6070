"""The index of a run's checkpoints made again from its packs, for when it is lost or damaged."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import Any

from Agent.errors import SessionInUse
from Agent.event.clock import parse_timestamp
from Agent.flight.checkpoints.storage.files import INDEX_NAME
from Agent.flight.checkpoints.storage.index import CheckpointIndex, Row
from Agent.flight.checkpoints.storage.packs import PACK_SUFFIX, frames, is_written_to
from Agent.record.health import say

__all__ = ["rebuild"]


def rebuild(directory: Path) -> int:
    """Make the index of a run's checkpoints again; how many checkpoints it lists now.

    The old one is kept as `index.sqlite.damaged`. What of the packs is no checkpoint is told on stderr. A
    checkpoint that was removed while its chain was written to comes back, and whether the run failed is
    known from its checkpoints alone.

    Raises:
        SessionInUse: a process writes checkpoints of the run.
        OSError: it could not be written.
    """
    for claim in directory.glob("*.writer"):
        if is_written_to(claim):
            raise SessionInUse(
                "a process writes checkpoints of this run", path=claim, remedy="try again when it has ended"
            )
    for path in directory.glob(f"{INDEX_NAME}-*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(directory / INDEX_NAME, directory / f"{INDEX_NAME}.damaged")  # noqa: PTH105 - one call
    index = CheckpointIndex(directory / INDEX_NAME, make=True)
    try:
        with index.transaction():
            _fill(index, directory)
        return index.count()
    finally:
        index.suspend()


def _fill(index: CheckpointIndex, directory: Path) -> None:
    found: dict[int, tuple[Row, list[str]]] = {}
    for path in sorted(directory.glob(f"*{PACK_SUFFIX}")):
        index.add_pack(path.name)
        for offset, size, frame in frames(path, partial(_tell_rest, path)):
            try:
                row = _row(path, offset, size, frame)
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


def _row(path: Path, offset: int, size: int, frame: dict[str, Any]) -> Row:
    return Row(
        number=int(frame["number"]),
        step_id=str(frame["step_id"]),
        agent_id=frame.get("agent_id"),
        saved_us=parse_timestamp(frame["timestamp"]),
        pack=path.name,
        offset=offset,
        frame_bytes=size,
        size_bytes=size,
        chain=int(frame["chain"]),
        position=int(frame["position"]),
        state_bytes=int(frame["state_bytes"]),
        digest=str(frame["digest"]),
        agent_version=frame.get("agent_version"),
        code=frame.get("code"),
        tick=frame.get("tick"),
        phase=frame.get("phase"),
        reason=frame.get("reason"),
        event_id=frame.get("event_id"),
        opaque=int(frame.get("opaque") or 0),
        writer=path.name.partition("-")[0],
    )
