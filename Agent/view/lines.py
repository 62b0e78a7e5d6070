"""Read the lines of chosen events again: by offset from files, by number from the archive."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from Agent.archive.sealed.reader import ArchiveLines
from Agent.errors import EventNotFound
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.tree.files.lines import event_behind
from Agent.tree.layout import open_file
from Agent.view.columns import Index
from Agent.view.gathering import Gatherer

_FIRST_BYTES: Final = 8 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


class FilesMovedError(EventNotFound):
    """A file of the index is not where it was: it was sealed, retired or rewritten since."""


def moved(what: str) -> FilesMovedError:
    """Return the error for what the index has and the files no longer have."""
    return FilesMovedError(
        f"{what} is not where it was read", remedy="try again in a moment: the index is made again"
    )


class Lines:
    """The lines of a session's events.

    Args:
        gatherer: knows where the files are.
    """

    def __init__(self, gatherer: Gatherer) -> None:
        self.gatherer = gatherer
        self._archive = ArchiveLines(gatherer.session)

    def read(self, index: Index, rows: Sequence[int]) -> list[bytes]:
        """Return the line of each row, as recorded and without its newline.

        Raises:
            FilesMovedError: a line is not there any more.
        """
        by_source: defaultdict[int, list[int]] = defaultdict(list)
        for row, source in zip(rows, index.columns["file"][np.asarray(rows, np.int64)].tolist(), strict=True):
            by_source[source].append(row)
        found: dict[int, bytes] = {}
        archived: dict[int, dict[int, int]] = {}
        for source, own in by_source.items():
            offsets = {row: int(index.columns["offset"][row]) for row in own}
            if self.gatherer.sources[source].inode is None:
                archived[source] = offsets
            else:
                found.update(self._from_file(source, offsets))
        if archived:
            found.update(self._from_archive(archived))
        return [found[row] for row in rows]

    def events(self, index: Index, rows: Sequence[int]) -> list[Event]:
        """Return the event of each row; FilesMovedError if one is not there any more."""
        made = []
        for row, line in zip(rows, self.read(index, rows), strict=True):
            event = _event_on(line)
            if event is None or event.id != index.id_of(row):
                raise moved(f"event {index.id_of(row)}")
            made.append(event)
        return made

    def _from_archive(self, wanted: Mapping[int, Mapping[int, int]]) -> Iterator[tuple[int, bytes]]:
        paths = {source: self.gatherer.sources[source].path for source in wanted}
        lines = self._archive.lines_at({paths[source]: set(wanted[source].values()) for source in wanted})
        for source, offsets in wanted.items():
            for row, number in offsets.items():
                line = lines.get((paths[source], number))
                if line is None:
                    raise moved(f"line {number} of {paths[source].name}")
                yield row, line

    def _from_file(self, source: int, offsets: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
        fd = self._open(source)
        try:
            for row, offset in offsets.items():
                yield row, _line_at(fd, offset)
        finally:
            os.close(fd)

    def _open(self, source: int) -> int:
        """Open the file of a source, under its present name."""
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


def _event_on(line: bytes) -> Event | None:
    try:
        return decode_line(line)
    except DamagedLine:
        behind = event_behind(line)  # a torn line in the archive, with the event that follows it
        return None if behind is None else behind[1]


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
