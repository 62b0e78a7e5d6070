"""The files of one run's checkpoints: its index, its packs and chunks, and the claim of whoever writes there.

Everything that changes them goes through `changing`, one transaction of the index. `run` saves, loads
and removes with it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.flight.checkpoints.storage.delta import apply
from Agent.flight.checkpoints.storage.index import CheckpointIndex, Row
from Agent.flight.checkpoints.storage.packs import (
    PACK_SUFFIX,
    ChunkFiles,
    PackReader,
    PackWriter,
    chunk_digest,
    compressed,
    is_written_to,
    split,
)
from Agent.tree.layout import run_dir, runs_dir

INDEX_NAME: Final = "index.sqlite"
REMOVED_FACT: Final = "removed"
"""Stands in the index of a run that is being removed as a whole."""
_CLAIM_SUFFIX: Final = ".writer"
_PACK_BYTES: Final = 8 << 20
_WHOLE_BYTES: Final = 8192
"""Snapshots up to this length stand in their frame: as files they would take a block of the disk each."""
_ATTEMPTS: Final = 5


class RemovedMeanwhile(OSError):
    """Somebody removed the run's checkpoints while this process had them open."""


def checkpoints_dir(session: Path, run_id: str) -> Path:
    """Where the checkpoints of a run lie."""
    return run_dir(session, run_id) / "checkpoints"


def shared_chunks_dir(session: Path) -> Path:
    """Links to the chunks of all runs of a session, by which runs share them: a cache."""
    return runs_dir(session) / ".chunks"


class RunFiles:
    """What one process has open of one run's checkpoints; whoever changes something holds `lock`.

    Args:
        directory: of the run's checkpoints.
        shared: of chunks that runs share; None for none.
        make: False: there have to be checkpoints.
        durable: each save is on the disk itself when it returns.
    """

    def __init__(self, directory: Path, shared: Path | None, *, make: bool, durable: bool = False) -> None:
        self.directory = directory
        self.durable = durable
        self.lock = threading.RLock()
        self.index = CheckpointIndex(directory / INDEX_NAME, make=make, durable=durable)
        self.chunks = ChunkFiles(directory / "chunks", shared, durable=durable)
        self.writer = os.urandom(5).hex()
        self._pack: PackWriter | None = None
        self._packs_made = 0
        self._claim: PackWriter | None = None

    def close(self) -> None:
        """End writing; chains that were written here may be changed by others from now on."""
        with self.lock:
            self.end_pack()
            if self._claim is not None:
                self._claim.close()
                self._claim.path.unlink(missing_ok=True)
                self._claim = None
            self.index.suspend()

    def suspend(self) -> None:
        """Hold as few files as will do, until something is asked for; the claim to what was begun stays."""
        with self.lock:
            if self._pack is not None:
                self._pack.close()
            self.index.suspend()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Everything that is done in it counts, or nothing: what was appended meanwhile is taken back."""
        pack, size_bytes = self._pack, 0 if self._pack is None else self._pack.size_bytes
        try:
            with self.lock, self.index.transaction():
                self._refuse_if_removed()
                yield
        except BaseException:
            if self._pack is not None and self._pack is not pack:
                self._pack.path.unlink(missing_ok=True)
                self.end_pack()
            elif self._pack is not None:
                self._pack.take_back(size_bytes)
            raise

    def _refuse_if_removed(self) -> None:
        if self.index.fact(REMOVED_FACT) is not None:
            raise RemovedMeanwhile(f"the checkpoints in {self.directory} were removed")

    def append(self, frame: bytes) -> tuple[str, int]:
        """Write a frame; name of its pack, and offset in it."""
        pack = self._pack
        if pack is None or pack.size_bytes + len(frame) > _PACK_BYTES > len(frame):
            pack = self._begin_pack()
        return pack.path.name, pack.append(frame)

    def _begin_pack(self) -> PackWriter:
        self.end_pack()
        if self._claim is None:
            self._claim = PackWriter(self.directory / f"{self.writer}{_CLAIM_SUFFIX}")
        self._packs_made += 1
        path = self.directory / f"{self.writer}-{self._packs_made}{PACK_SUFFIX}"
        self._pack = PackWriter(path, durable=self.durable)
        self.index.add_pack(path.name)
        return self._pack

    def end_pack(self) -> None:
        """Append no more to the pack that is open."""
        if self._pack is not None:
            self._pack.close()
            self._pack = None

    def is_live(self, writer: str) -> bool:
        """Whether another writer, in this process or in another, still appends to what it began."""
        return writer != self.writer and is_written_to(self.directory / f"{writer}{_CLAIM_SUFFIX}")

    def write(self, row: Row, head: Mapping[str, Any], delta: Any, *, is_delta: bool, value: Any) -> None:
        """Write the frame of a checkpoint, and its chunks; the row is told where it stands.

        Args:
            row: its place in a chain; pack, offset and sizes are set here.
            head: what the frame says besides.
            delta: from the row before, where it is one; None for no change.
            is_delta: whether it is one.
            value: the whole document.
        """
        row.size_bytes = 0
        content: dict[str, Any]
        if is_delta:
            content = {"delta": delta}
        elif row.state_bytes <= _WHOLE_BYTES:
            content = {"document": value}
        else:
            digests = []
            for chunk in split(value):
                digest = chunk_digest(chunk)
                is_there = self.index.knows_chunk(digest) and self.chunks.path(digest).exists()
                if digest not in digests and not is_there:
                    row.size_bytes += self.chunks.put(digest, chunk)
                digests.append(digest)
            self.index.set_chunks(row.number, digests)
            content = {"chunks": digests}
        line = orjson.dumps({**head, **content}, option=orjson.OPT_APPEND_NEWLINE)
        frame = compressed(line)
        row.pack, row.offset = self.append(frame)
        row.frame_bytes = len(frame)
        row.size_bytes += len(frame)

    def after(self, value: Any, row: Row, readers: dict[str, PackReader] | None = None) -> Any:
        """The document after a row, from that of the row before, which is used up.

        Args:
            value: that document; anything for a snapshot.
            row: what is read.
            readers: by pack; where given, those that are opened are left in it, for the caller to close.

        Raises:
            DamagedInput: the row cannot be read, or does not fit.
            FileNotFoundError: its pack is not there.
        """
        reader = readers.get(row.pack) if readers is not None else None
        if reader is None:
            reader = PackReader(self.directory / row.pack)
        try:
            frame = reader.frame(row.offset, row.frame_bytes)
        finally:
            if readers is None:
                reader.close()
            else:
                readers[row.pack] = reader
        try:
            if "delta" in frame:
                return value if frame["delta"] is None else apply(value, frame["delta"])
            if "chunks" in frame:
                return orjson.loads(b"".join(map(self.chunks.get, frame["chunks"])))
            return frame["document"]
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} does not fit the one that it builds on: {error}",
                path=self.directory / row.pack,
                remedy="the checkpoints of its chain before it can be loaded",
            ) from None

    def document(self, row: Row) -> tuple[Any, bytes]:
        """The document of a checkpoint, parsed and as text, which is what was saved to the byte.

        Raises:
            DamagedInput: it cannot be read, or differs from what was saved.
        """
        problem: DamagedInput | None = None
        for _ in range(_ATTEMPTS):
            try:
                value = self._folded(row)
                return value, self.verified(row, value)
            except FileNotFoundError as error:
                problem = DamagedInput(
                    f"the checkpoint of {row.step_id} is in the index, but its pack is missing",
                    path=error.filename,
                    remedy="copy the file back, or delete the checkpoint",
                )
            except DamagedInput as error:
                problem = error
            # Somebody may have rewritten the chain meanwhile: then the index says where it stands now.
            found = self.index.row_of_number(row.number)
            if found is None or (found == row and self._stands(found)):
                break
            row = found
        assert problem is not None  # noqa: S101 - no attempt ends otherwise
        raise problem

    def _stands(self, row: Row) -> bool:
        """Whether the chain that the index names now is on the disk, so that looking again is idle."""
        rows = self.index.chain(row.chain, row.position)
        return all((self.directory / each.pack).exists() for each in rows)

    def _folded(self, row: Row) -> Any:
        rows = self.index.chain(row.chain, row.position)
        if not rows or rows[0].position or rows[-1].number != row.number:
            raise DamagedInput(
                f"the chain of the checkpoint of {row.step_id} is incomplete",
                path=self.index.path,
                remedy="rebuild_index(run_id) rebuilds the index from the packs",
            )
        value: Any = None
        readers: dict[str, PackReader] = {}
        try:
            for each in rows:
                value = self.after(value, each, readers)
        finally:
            for reader in readers.values():
                reader.close()
        return value

    def verified(self, row: Row, value: Any) -> bytes:
        """The text of a document that was loaded; DamagedInput if it differs from what was saved."""
        from Agent.event.values.digest import digest_bytes

        text = orjson.dumps(value)
        if digest_bytes(text) != row.digest:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} differs from what was saved",
                path=self.directory / row.pack,
                remedy="restore the run's checkpoints from a copy",
            )
        return text
