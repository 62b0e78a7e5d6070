"""Read the lines of a session into columns: all of them at first, then those that were appended.

Most lines are read without making an `Event`; whatever is unusual goes through `LineDecoder`, so that the
same lines count as events here and in `TreeReader`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.archive.sealed.reader import ArchiveLines
from Agent.tree.files.lines import DamageLog, Inode, LineDecoder, RawLine, Tail, own_line
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import inode_at, parse_file_name, stem_files, tree_files
from Agent.tree.read.losses import Accounting, Writers
from Agent.view.columns import BELIEVED, Batch, Index, Tables, merged
from Agent.view.line_columns import PlainLines, add_event

_PASS_BYTES: Final = 8 * 1024 * 1024


@dataclass(slots=True)
class Source:
    """A file with events: on disk (`inode` is set), or in the archive, where offsets are line numbers."""

    path: Path
    inode: Inode | None


class Gatherer:
    """Reads a session's events into batches; each call of `new_events` continues after the last.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.session = session
        self.tables = Tables()
        self.sources: list[Source] = []
        self.damage = DamageLog()
        self.writers = Writers(session)
        self.account = Accounting({})
        self.repeated = 0
        """How many events were left out, because another one has their id."""
        self._plain = PlainLines(self.tables)
        self._tail = Tail(session, self.damage.note_unreadable)
        self._decoder = LineDecoder(self.damage, self._knows)
        self._source_of: dict[Inode, int] = {}
        self._archive: ArchiveLines | None = ArchiveLines(session)
        self._total_bytes = 0

    def _knows(self, writer: str) -> bool:
        if not self.writers.knows(writer):
            self.writers = Writers(self.session)
        return self.writers.knows(writer)

    @property
    def progress(self) -> float:
        """Return which share of the files was read, 0 to 1."""
        done = sum(place.offset for place in self._tail.places.values())
        return min(done / self._total_bytes, 1.0) if self._total_bytes else 0.0

    def is_outdated(self) -> bool:
        """Return whether a file that was read is gone or rewritten, so that all is to be read again."""
        if not self.sources:
            return False
        known = {source.inode for source in self.sources if source.inode is not None}
        sizes: dict[Inode, int] = {}
        for path in tree_files(self.session):
            with contextlib.suppress(OSError):  # rolled or removed since it was listed
                status = path.lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
        places = self._tail.places
        return any(
            inode not in sizes or (inode in places and sizes[inode] < places[inode].offset) for inode in known
        )

    def merged(self, known: Index | None, batches: Sequence[Batch]) -> Index:
        """Return an index of known and new events."""
        index, repeated = merged(known, batches, self.tables)
        self.repeated += repeated
        return index

    def account_of(self, index: Index) -> Accounting:
        """Return the numbers that were read, by writer, with what the log says about itself."""
        writer, seq = index.columns["writer"], index.columns["seq"]
        order = np.lexsort((seq, writer))
        writer, seq = writer[order], seq[order]
        seen: dict[str, SeqSet] = {}
        for place, name in enumerate(self.tables.writers.texts):
            own = seq[slice(*np.searchsorted(writer, [place, place + 1]))]
            seen[name] = _set_of(own)
        return Accounting(seen, dict(self.account.closed), dict(self.account.retired))

    def new_events(self) -> Iterator[Batch]:
        """Yield what is new in batches of about 8 MiB of lines."""
        self._total_bytes = sum(_size_bytes(path) for path in tree_files(self.session))
        if self._archive is not None:
            yield from self._archived(self._archive.fixed())
            self._archive = None
        while True:
            batch = Batch()
            take, inode, source = self._plain.take, None, 0
            for raw in self._tail.new_lines(_PASS_BYTES):
                if raw.inode != inode:
                    inode, source = raw.inode, self._source(raw)
                if not take(batch, raw.line, source, raw.offset):
                    self._take(batch, raw, source)
            if len(batch):
                yield batch
            if not self._tail.behind:
                return

    def _archived(self, archive: ArchiveLines) -> Iterator[Batch]:
        numbers: dict[Path, int] = {}
        batch = Batch()
        for raw in archive.lines_to_read(None, {}):
            source = numbers.get(raw.path)
            if source is None:
                source = numbers[raw.path] = len(self.sources)
                self.sources.append(Source(raw.path, None))
            if not self._plain.take(batch, raw.line, source, raw.offset):
                self._take(batch, raw, source)
            if len(batch) >= 20_000:
                yield batch
                batch = Batch()
        if len(batch):
            yield batch

    def _source(self, raw: RawLine) -> int:
        source = self._source_of.get(raw.inode)
        if source is None:
            source = self._source_of[raw.inode] = len(self.sources)
            self.sources.append(Source(raw.path, raw.inode))
        elif self.sources[source].path != raw.path:
            self.sources[source].path = raw.path
        return source

    def paths_of(self, source: int) -> Iterator[Path]:
        """Yield where a file may be: where it was read, then the names that it can have been rolled to."""
        known = self.sources[source]
        yield known.path
        name = parse_file_name(known.path.name)
        if name is None:
            return
        for path in stem_files(known.path.parent, name.stem, known.path.suffix):
            if inode_at(path) == known.inode:
                known.path = path
                yield path

    def _take(self, batch: Batch, raw: RawLine, source: int) -> None:
        event = self._decoder.decode(raw)
        if event is None:
            return
        # an event after a torn line is on the line's end, and any other with its id comes before it
        skipped = raw.line.rfind(own_line(raw.line, event))
        self.account.see(event)
        flags = BELIEVED if skipped > 0 else 0
        add_event(batch, self.tables, event, source, raw.offset + max(skipped, 0), flags)


def _set_of(seq: NDArray[Any]) -> SeqSet:
    """Return ascending numbers as a set."""
    found = SeqSet()
    breaks = np.flatnonzero(np.diff(seq) != 1)
    firsts, lasts = (
        seq[np.r_[0, breaks + 1]] if len(seq) else seq,
        seq[np.r_[breaks, -1]] if len(seq) else seq,
    )
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        found.add_range(first, last)
    return found


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # rolled or removed since it was listed
