"""Read the lines of chosen events again: by offset from files, by number from the store of an archive."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from Agent.errors import EventNotFound
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.tree.layout import open_file
from Agent.view.index.columns import Index
from Agent.view.index.gathering import Gatherer

_FIRST_BYTES: Final = 8 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


class FilesMovedError(EventNotFound):
    """A file of the index has moved: it was sealed, retired or rewritten since."""


def moved(subject: str) -> FilesMovedError:
    """Return the error for lines that are in the index but no longer in the files."""
    return FilesMovedError(
        f"{subject} is not where it was read", remedy="try again in a moment: the index is made again"
    )


class Lines:
    """The lines of a session's events.

    Args:
        gatherer: provides the paths of the files.
    """

    def __init__(self, gatherer: Gatherer) -> None:
        self.gatherer = gatherer

    def read(self, index: Index, rows: Sequence[int]) -> list[bytes]:
        """Return the line of each row, as recorded and without its newline.

        Raises:
            FilesMovedError: a line has moved or was removed.
        """
        by_source: defaultdict[int, list[int]] = defaultdict(list)
        for row, source in zip(rows, index.columns["file"][np.asarray(rows, np.int64)].tolist(), strict=True):
            by_source[source].append(row)
        by_row: dict[int, bytes] = {}
        for source, numbers in by_source.items():
            offsets = {row: int(index.columns["offset"][row]) for row in numbers}
            if self.gatherer.sources[source].inode is None:
                by_row.update(self._from_store(offsets))
            else:
                by_row.update(self._from_file(source, offsets))
        return [by_row[row] for row in rows]

    def events(self, index: Index, rows: Sequence[int]) -> list[Event]:
        """Return the event of each row; FilesMovedError if one has moved or was removed."""
        events = []
        for row, line in zip(rows, self.read(index, rows), strict=True):
            try:
                event: Event | None = decode_line(line)
            except DamagedLine:
                event = None
            if event is None or event.id != index.id_of(row):
                raise moved(f"event {index.id_of(row)}")
            events.append(event)
        return events

    def _from_store(self, numbers: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
        store = self.gatherer.store
        if store is None:
            raise moved("the archive")
        for row, number in sorted(numbers.items(), key=lambda pair: pair[1]):
            yield row, store.read(number)

    def _from_file(self, source: int, offsets: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
        fd = self._open(source)
        try:
            for row, offset in offsets.items():
                yield row, _line_at(fd, offset)
        finally:
            os.close(fd)

    def _open(self, source: int) -> int:
        """Open the file of a source, under its current name."""
        inode = self.gatherer.sources[source].inode
        for path in self.gatherer.paths_of(source):
            try:
                fd, status = open_file(path)
            except OSError:
                continue  # rolled since it was read; its next name follows
            if (status.st_dev, status.st_ino) == inode:
                return fd
            os.close(fd)
        raise moved(self.gatherer.sources[source].path.name)


def _line_at(fd: int, offset: int) -> bytes:
    data = os.pread(fd, _FIRST_BYTES, offset)
    end = data.find(b"\n")
    if end >= 0:
        return data[:end]
    parts = [data]
    while data:
        offset += len(data)
        data = os.pread(fd, _CHUNK_BYTES, offset)
        end = data.find(b"\n")
        if end >= 0:
            parts.append(data[:end])
            break
        parts.append(data)
    return b"".join(parts)
