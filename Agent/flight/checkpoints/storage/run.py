"""The checkpoints of one run: saved as a full snapshot or as a delta on the one before, and loaded again.

A chain is a snapshot and the deltas on it, of one agent and one writer. It ends where loading would take too
long, or where a snapshot would hardly be larger; so the price of a load is bounded by that of its snapshot.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.event.clock import format_timestamp
from Agent.flight.checkpoints.model import ABOUT
from Agent.flight.checkpoints.storage.delta import diff
from Agent.flight.checkpoints.storage.files import RunFiles
from Agent.flight.checkpoints.storage.index import Row
from Agent.flight.checkpoints.storage.values import Document

__all__ = ["RunCheckpoints", "frame_head"]

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
_FORMAT: Final = 1


@dataclass(slots=True)
class _Head:
    """The end of a chain that this process goes on with."""

    row: Row
    value: Any
    snapshot_bytes: int
    delta_bytes: int = 0


def frame_head(run_id: str, row: Row) -> dict[str, Any]:
    """What a frame says of its checkpoint: enough to make the index again from frames alone."""
    told = {
        "format": _FORMAT,
        "run_id": run_id,
        "step_id": row.step_id,
        "agent_id": row.agent_id,
        "timestamp": format_timestamp(row.saved_us),
        "number": row.number,
        "chain": row.chain,
        "position": row.position,
        "state_bytes": row.state_bytes,
        "digest": row.digest,
        **{name: getattr(row, name) for name in ABOUT},
        "opaque": row.opaque or None,
    }
    return {key: value for key, value in told.items() if value is not None}


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
            delta_bytes = 4 if delta is None else len(orjson.dumps(delta))
            whole = len(document.text)
            if delta_bytes <= _MAX_DELTA * whole and (
                head.delta_bytes + delta_bytes <= _MAX_DELTAS * max(whole, head.snapshot_bytes, _SMALL_BYTES)
            ):
                row.chain, row.position = head.row.chain, head.row.position + 1
                told = frame_head(self.run_id, row)
                self.files.write(row, told, delta, is_delta=True, value=document.value)
                return _Head(row, document.value, head.snapshot_bytes, head.delta_bytes + delta_bytes)
        row.chain, row.position = row.number, 0
        self.files.write(row, frame_head(self.run_id, row), None, is_delta=False, value=document.value)
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
