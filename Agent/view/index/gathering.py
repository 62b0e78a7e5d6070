"""Read the lines of a session into columns: first all of them, then appended ones.

`RowReader` converts lines to rows in C, block by block, if they have the log's canonical form and every
required key is valid. Other lines go through `LineDecoder` and `add_event`, so that the same lines count as
events here and in `TreeReader`. A test checks that both ways give the same columns.

`Lines` reads the lines of chosen events again.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from Agent.analysis.query.views import is_error
from Agent.archive.sealed.parts import archive_dir, read_parts
from Agent.archive.sealed.reader import ArchiveLines
from Agent.errors import DamagedInput, EventNotFound
from Agent.event.codec import CURRENT_SCHEMA, DamagedLine, decode_line
from Agent.event.model import Event
from Agent.event.values.plain import number_in
from Agent.tree.files.lines import (
    Block,
    DamageLog,
    FilePosition,
    Inode,
    LineDecoder,
    RawLine,
    Tail,
    first_id,
    own_line,
)
from Agent.tree.layout import inode_at, open_file, parse_file_name, stem_files, tree_files
from Agent.tree.read.losses import Accounting, Writers, add_accounts
from Agent.view.index.columns import (
    BELIEVED,
    ERROR,
    FULL_STATE,
    NO_TICK,
    NOBODY,
    RECEIVED,
    SENT,
    STATE,
    WARNING,
    ColumnMemory,
    Index,
    RowBatch,
    Tables,
)
from Agent.view.index.merging import merged
from Agent.view.index.stored import LineStore, Stored

if TYPE_CHECKING:
    from Agent.view.index import _rows


_Rows: type[_rows.Rows] | None
try:
    from Agent.view.index import _rows

    _Rows = _rows.Rows
except (ImportError, AttributeError):  # built without a compiler, or from an older source
    _Rows = None

_LONGEST_MS: Final = 1e12
MOST_TICK: Final = 2**62
"""Ticks outside this limit count as missing."""
_FULL: Final = frozenset({"state", "checkpoint"})


def is_built() -> bool:
    """Return whether the C extension is available."""
    return _Rows is not None


def mark(text: str) -> int:
    """Return a 32-bit hash of a text, to find rows that may name it."""
    return crc32(text.encode("utf-8", "surrogatepass"))


def message_key(message_id: str) -> int:
    """Return a 64-bit hash of a message's id, to find its halves."""
    text = message_id.encode("utf-8", "surrogatepass")
    return crc32(text) << 32 | crc32(text[::-1])


def add_event(batch: RowBatch, tables: Tables, event: Event, source: int, offset: int, flags: int) -> None:
    """Add a decoded event as a row."""
    extra = event.extra
    flags |= ERROR if is_error(event) else WARNING if event.level == "WARNING" else 0
    if event.state is not None or event.kind == "state_change":
        flags |= STATE
    if event.kind in _FULL:
        flags |= FULL_STATE
    agent_id = event.agent_id
    agent = NOBODY if agent_id is None else tables.agents[agent_id]
    if event.agent_role is not None:
        tables.roles[agent] = event.agent_role
    if event.kind == "agent_message":
        flags |= _message(batch, tables, extra)
    for cause in event.causes:
        _link(batch, cause)
    error_id = extra.get("error_id")
    if isinstance(error_id, str):
        _link(batch, error_id)
    add = batch.columns
    add["t_us"].append(event.timestamp_us)
    add["writer"].append(tables.writers[event.writer])
    add["seq"].append(event.seq)
    add["agent"].append(agent)
    add["kind"].append(min(tables.kinds[event.kind], 65_535))
    add["flags"].append(flags)
    add["duration_us"].append(_duration_us(event.span_id, extra))
    add["tick"].append(NO_TICK if event.tick is None or abs(event.tick) >= MOST_TICK else event.tick)
    add["file"].append(source)
    add["offset"].append(offset)
    add["span"].append(mark(event.span_id) if event.span_id else 0)
    add["parent"].append(mark(event.parent_span_id) if event.parent_span_id else 0)


def _message(batch: RowBatch, tables: Tables, extra: Mapping[str, Any]) -> int:
    """Add a half of a message, and return its flag."""
    is_sent = str(extra.get("direction", "")).startswith("sen")
    message_id = extra.get("message_id")
    if message_id is not None:
        other = extra.get("recipient" if is_sent else "sender")
        batch.messages["place"].append(len(batch))
        batch.messages["key"].append(message_key(str(message_id)))
        batch.messages["party"].append(tables.parties[other] if isinstance(other, str) else -1)
    return SENT if is_sent else RECEIVED


def _link(batch: RowBatch, event_id: str) -> None:
    batch.links["place"].append(len(batch))
    batch.links["key"].append(mark(event_id))


def _duration_us(span_id: str | None, extra: Mapping[str, Any]) -> float:
    """Return the duration of a span in microseconds; 0 for other events and invalid durations."""
    taken_ms = None if span_id is None else number_in(extra.get("duration_ms"))
    return taken_ms * 1000 if taken_ms is not None and 0 <= taken_ms < _LONGEST_MS else 0.0


class RowReader:
    """Reads the lines of a block into a batch, except those that need decoding.

    In C, a line costs 1/15 of `add_event`; without the extension every line is decoded.

    Args:
        tables: the texts that columns refer to; new texts are added.
    """

    def __init__(self, tables: Tables) -> None:
        names = (tables.agents, tables.kinds, tables.writers, tables.parties)
        self._rows = None if _Rows is None else _Rows(*names, tables.roles, CURRENT_SCHEMA)

    def take(
        self, batch: RowBatch, lines: bytes, source: int, offset: int, *, numbered: bool = False
    ) -> list[tuple[int, int, int]]:
        """Add the lines in canonical form as rows.

        Args:
            batch: receives the rows.
            lines: the bytes of the lines; only the last may lack its newline.
            source: the index of the source.
            offset: the offset of the first line.
            numbered: whether offsets count lines instead of bytes.

        Returns:
            (number, begin, end) of every other line: its number from 0, and its range in `lines`.
        """
        if self._rows is None:
            return list(_places(lines))
        columns, odd = self._rows.take(lines, source, offset, len(batch), numbered)
        for column, data in zip(batch.all_columns(), columns, strict=True):
            column.frombytes(data)
        return odd


def _places(lines: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    for index, line in enumerate(lines.split(b"\n")):
        if line:
            yield index, at, at + len(line)
        at += len(line) + 1


_LOOKS: Final = 3
_PASS_BYTES: Final = 8 * 1024 * 1024
_ASIDE_ROWS: Final = 65_536
"""The number of rows after which a batch is set aside; rows take at least 59 bytes until they are merged."""


@dataclass(slots=True)
class Source:
    """A file with events: on disk (`inode` is set), or in the archive, where offsets are line numbers."""

    path: Path
    inode: Inode | None


class Gatherer:
    """Reads a session's events into a batch; each call of `read_on` continues after the last.

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
        self.store: LineStore | None = None
        """The lines of the archive, if it has any."""
        self.is_explained = True
        self._accounted: Accounting | None = None
        self._looks = 0
        self._damaged_before = 0
        self._archived_ns = _changed_ns(archive_dir(session))
        self._rests: set[tuple[Inode, int]] = set()
        self.repeated = 0
        """The number of events left out because another event has their id."""
        self.batch = RowBatch()
        """The current batch, not merged yet."""
        self._aside: list[RowBatch] = []
        """Earlier batches, not merged yet."""
        self._memory = ColumnMemory(session)
        self._rows = RowReader(self.tables)
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
    def damaged(self) -> int:
        """Return the number of damaged lines."""
        return self._damaged_before + self.damage.count

    @property
    def progress(self) -> float:
        """Return the share of the files that was read, from 0 to 1."""
        done = sum(position.offset for position in self._tail.places.values())
        return min(done / self._total_bytes, 1.0) if self._total_bytes else 0.0

    def is_outdated(self) -> bool:
        """Return whether a file was removed or rewritten, so that everything has to be read again."""
        if self._archived_ns != _changed_ns(archive_dir(self.session)):
            return True
        inodes = {source.inode for source in self.sources if source.inode is not None}
        sizes: dict[Inode, int] = {}
        for path in tree_files(self.session):
            with contextlib.suppress(OSError):  # rolled or removed since it was listed
                status = path.lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
        positions = self._tail.places
        return any(
            inode not in sizes or (inode in positions and sizes[inode] < positions[inode].offset)
            for inode in inodes
        )

    def merged(self, earlier: Index | None) -> Index:
        """Return an index of the earlier events and those read since the last call."""
        batches, self._aside, self.batch = [*self._aside, self.batch], [], RowBatch()
        index, repeated = merged(earlier, batches, self.tables, self._memory)
        self.repeated += repeated
        return index

    @property
    def has_news(self) -> bool:
        """Return whether unmerged events were read."""
        return bool(self._aside) or len(self.batch) > 0

    def lost(self, index: Index) -> int:
        """Count missing events by their writers' numbers; `is_explained` tells whether the count is final.

        For a running process only numbers taken before the files were read are judged; the others need
        another pass over the files.
        """
        account = Accounting(index.numbers(), dict(self.account.closed), dict(self.account.retired))
        with contextlib.suppress(DamagedInput):  # events that it removed then count as lost, as in `losses`
            add_accounts(account, self.session)
        losses = self.writers.losses(account, self.damaged)
        self.is_explained = self.writers.are_explained(losses) or self._looks >= _LOOKS
        self._looks = 0 if self.is_explained else self._looks + 1
        self._accounted = account
        return losses.total_lost

    def read_on(self) -> Iterator[None]:
        """Read new lines, and yield after about every 8 MiB, or after each part of the archive."""
        self.writers = Writers(self.session, self._accounted)
        self._total_bytes = sum(_size_bytes(path) for path in tree_files(self.session))
        if self._archive is not None:
            yield from self._archived(self._archive.fixed())
            self._archive = None
        while True:
            for block in self._tail.new_blocks(_PASS_BYTES):
                self._take_block(block)
                self._set_aside()
            yield
            if not self._tail.behind:
                break
        for raw in self._tail.rests():
            # a last line without a newline, which stays incomplete if its writer has ended
            if (raw.inode, raw.offset) not in self._rests and not self.writers.may_finish(raw):
                self._rests.add((raw.inode, raw.offset))
                self._take(raw, self._source(raw))

    def state(self) -> dict[str, Any]:
        """Return the state from which another gatherer can continue, as JSON."""
        begin = f"{self.session.as_posix()}/"
        files = [
            {
                "file": position.path.as_posix().removeprefix(begin),
                "offset": position.offset,
                "number": position.number,
                "first_id": position.first_id,
                "source": self._source_of.get(inode, -1),
                "rests": [offset for of, offset in self._rests if of == inode],
            }
            for inode, position in self._tail.places.items()
        ]
        return {
            "files": files,
            "sources": [
                [source.path.as_posix().removeprefix(begin), source.inode is None] for source in self.sources
            ],
            "archive": _parts_of(self.session),
            "lines": None if self.store is None else self.store.state(),
            "closed": self.account.closed,
            "retired": self.account.retired,
            "damaged": self.damaged,
            "repeated": self.repeated,
        }

    def resume(self, stored: Stored) -> bool:
        """Continue from a stored index; False, without changes, if its files are not those on disk."""
        try:
            return self._resume(stored)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            return False  # written by another version

    def _resume(self, stored: Stored) -> bool:
        state = stored.state
        if state["archive"] != _parts_of(self.session):
            return False
        store = LineStore.open(self.session, state["lines"])
        if store is None and any(is_archived for _, is_archived in state["sources"]):
            return False
        standing = _standing(self.session)
        sources = [Source(self.session / name, None) for name, _ in state["sources"]]
        positions: dict[Inode, FilePosition] = {}
        missing = {number for number, (_, is_archived) in enumerate(state["sources"]) if not is_archived}
        rests: set[tuple[Inode, int]] = set()
        for entry in state["files"]:
            first = entry["first_id"]
            standing_path = standing.get(entry["file"] if first is None else first)
            if standing_path is None or standing_path[2] < entry["offset"]:
                if entry["source"] >= 0 or entry["offset"]:
                    return False
                continue
            path, inode, _ = standing_path
            positions[inode] = FilePosition(path, int(entry["offset"]), int(entry["number"]), first)
            rests.update((inode, int(offset)) for offset in entry["rests"])
            if entry["source"] >= 0:
                sources[entry["source"]] = Source(path, inode)
                missing.discard(entry["source"])
        if missing:
            return False
        closed = {name: int(last) for name, last in state["closed"].items()}
        retired = {name: [(int(a), int(b)) for a, b in each] for name, each in state["retired"].items()}
        damaged, repeated = int(state["damaged"]), int(state["repeated"])
        # nothing may fail from here on, since a partial change would be continued wrongly
        self.tables, self.sources = stored.index.tables.copy(), sources
        self._rows = RowReader(self.tables)
        self._source_of = {each.inode: n for n, each in enumerate(sources) if each.inode is not None}
        self._tail.places.update(positions)
        self._rests, self._archive, self.store = rests, None, store
        self.account.closed.update(closed)
        self.account.retired.update(retired)
        self._damaged_before, self.repeated = damaged, repeated
        return True

    def _archived(self, archive: ArchiveLines) -> Iterator[None]:
        """Read the lines of the archive into a store; their numbers there are their offsets."""
        source = len(self.sources)
        try:
            for part in archive.every_part():
                for lines, raw_line in part:
                    if self.store is None:
                        self.store = LineStore.create(self.session)
                        self.sources.append(Source(archive_dir(self.session), None))
                    first, block = self.store.add(lines)
                    for position, _, _ in self._rows.take(self.batch, block, source, first, numbered=True):
                        self._take(raw_line(position), source, first + position)
                    self._set_aside()
                yield  # merge now, while the engine holds no memory, since merging takes as much
            if self.store is not None:
                self.store.keep(self.session)
        finally:
            if self.store is not None:
                self.store.discard()

    def _set_aside(self) -> None:
        if len(self.batch) >= _ASIDE_ROWS:
            self.batch.set_aside(self._memory)
            self._aside.append(self.batch)
            self.batch = RowBatch()

    def _take_block(self, block: Block) -> None:
        source = self._source(block)
        if block.left_out_bytes:  # longer than any event
            odd = list(block.lines())
        else:
            odd = [
                RawLine(
                    block.data[begin:end],
                    block.path,
                    block.inode,
                    block.number + position,
                    block.offset + begin,
                    block.complete,
                )
                for position, begin, end in self._rows.take(self.batch, block.data, source, block.offset)
            ]
        for raw in odd:
            self._take(raw, source)

    def _source(self, raw: RawLine | Block) -> int:
        source = self._source_of.get(raw.inode)
        if source is None:
            source = self._source_of[raw.inode] = len(self.sources)
            self.sources.append(Source(raw.path, raw.inode))
        elif self.sources[source].path != raw.path:
            self.sources[source].path = raw.path
        return source

    def paths_of(self, source: int) -> Iterator[Path]:
        """Yield the possible paths of a file: where it was read, then the names of rolled segments."""
        source_of = self.sources[source]
        yield source_of.path
        name = parse_file_name(source_of.path.name)
        if name is None:
            return
        for path in stem_files(source_of.path.parent, name.stem, source_of.path.suffix):
            if inode_at(path) == source_of.inode:
                source_of.path = path
                yield path

    def _take(self, raw: RawLine, source: int, number: int | None = None) -> None:
        """Decode a line in full and add its event, if it has one.

        Args:
            raw: the line.
            source: the index of its source.
            number: its number in the store; None for a line in a file.
        """
        event = self._decoder.decode(raw)
        if event is None:
            return
        # an event after a torn line is at its end, and any other event with its id takes precedence
        own_bytes = own_line(raw.line, event)
        skipped = len(raw.line) - len(own_bytes)
        self.account.see(event)
        if number is None or self.store is None:
            offset = raw.offset + skipped
        else:
            offset = self.store.add([own_bytes])[0] if skipped else number
        add_event(self.batch, self.tables, event, source, offset, BELIEVED if skipped else 0)


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # rolled or removed since it was listed


def _changed_ns(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0  # nothing was sealed


def _parts_of(session: Path) -> list[list[str]]:
    """Return an identity of the archive, to detect that it changed."""
    return [[part.name, part.digest] for part in read_parts(session) if part.json_removed]


def _standing(session: Path) -> dict[str, tuple[Path, Inode, int]]:
    """Return the files of a session with their sizes, by the id on their first line, else by name."""
    positions = {}
    for path in tree_files(session):
        with contextlib.suppress(OSError):  # rolled or removed since it was listed
            status = path.lstat()
            key = first_id(path) or path.relative_to(session).as_posix()
            positions[key] = (path, (status.st_dev, status.st_ino), status.st_size)
    return positions


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
        for row, place in sorted(numbers.items(), key=lambda pair: pair[1]):
            yield row, store.read(place)

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
