"""Splits files into lines and decodes lines to events, with a defined result for every kind of damage.

`Tail` reads new lines: every complete line once, even if its file is renamed. `reader` and `losses` make one
pass over the files with it, `follower` repeated passes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from Agent.event.clock import format_timestamp
from Agent.event.codec import LINE_PREFIX, DamagedLine, decode_line
from Agent.event.ids import WRITER_CHARS, split_event_id
from Agent.event.model import Event
from Agent.event.system_clock import SystemClock
from Agent.tree.files.segment import error_name
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import inode_at, open_file, parse_file_name, retired_file, stem_files, tree_entries

Inode = tuple[int, int]
OrderKey = tuple[bytes, bytes, int]
"""(timestamp as text, writer, seq): sorts like (timestamp_us, writer, seq)."""

_TIMESTAMP_END: Final = len(LINE_PREFIX) + 27
_AFTER_TIMESTAMP: Final = b'Z","id":"'
_WRITER_AT: Final = _TIMESTAMP_END - 1 + len(_AFTER_TIMESTAMP)
_SEQ_AT: Final = _WRITER_AT + WRITER_CHARS + 1
_ID: Final = re.compile(rb'"id":"([a-z2-7]{8})-')
_FIRST_ID: Final = re.compile(rb'\{"timestamp":"[^"\n]*","id":"([a-z2-7]{8}-(?:0|[1-9][0-9]*))"')
_ID_WITHIN_BYTES: Final = 256
_STEP_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 256 * 1024
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""The maximum length of an event's line; of a longer line only the first 1,024 bytes are kept."""
_KEPT_OF_LONG_BYTES: Final = 1024
_KEPT_DAMAGES = 1000
_SHOWN_CHARS = 200


class RawLine(NamedTuple):
    """A line of a file, without its newline; `complete` says whether it had one.

    For a line longer than any event, `line` is its beginning and `left_out_bytes` the length of the rest.
    """

    line: bytes
    path: Path
    inode: Inode
    number: int
    offset: int
    complete: bool
    left_out_bytes: int = 0


class Block(NamedTuple):
    """Whole lines of a file in their order, each with its newline, or the rest behind the last newline.

    The first line begins at `offset` and has the number `number`. Of a line longer than any event, `data` is
    the beginning and its newline, in a block of its own, and `left_out_bytes` the length of the rest.
    """

    data: bytes
    path: Path
    inode: Inode
    number: int
    offset: int
    complete: bool
    left_out_bytes: int = 0

    def lines(self) -> Iterator[RawLine]:
        """Yield the lines, including blank ones."""
        _, path, inode, _, at, complete, left_out = self
        pieces = self.data.split(b"\n")
        if complete:
            pieces.pop()
        for number, piece in enumerate(pieces, self.number):
            yield RawLine(piece, path, inode, number, at, complete, left_out)
            at += len(piece) + left_out + 1


class Damage(NamedTuple):
    """A part of the tree that could not be decoded as an event and was skipped."""

    path: Path
    line_number: int
    reason: str
    text: str


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks of 256 KiB; OSError if it cannot be read."""
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _read_chunk(path: Path, inode: Inode, offset: int, size_bytes: int) -> bytes | None:
    """Read bytes of the file with this inode; None if the path now refers to another file."""
    try:
        fd, status = open_file(path)
    except FileNotFoundError:
        return None  # rolled or retired; the caller looks for its new name
    try:
        if (status.st_dev, status.st_ino) != inode:
            return None
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, min(size_bytes, max(status.st_size - offset, 0)))
    finally:
        os.close(fd)


def read_lines(
    path: Path, inode: Inode, *, chunk_bytes: int = _CHUNK_BYTES, max_line_bytes: int | None = None
) -> Iterator[RawLine]:
    """Yield the lines of one file, including blank ones; arguments and errors as of `read_blocks`."""
    for block in read_blocks(path, inode, chunk_bytes=chunk_bytes, max_line_bytes=max_line_bytes):
        yield from block.lines()


def read_blocks(
    path: Path,
    inode: Inode,
    *,
    offset: int = 0,
    number: int = 0,
    chunk_bytes: int = _CHUNK_BYTES,
    limit_bytes: int | None = None,
    max_line_bytes: int | None = None,
    find_again: Callable[[Inode], Path | None] = lambda _: None,
) -> Iterator[Block]:
    """Yield the lines of one file in blocks, without keeping it open.

    Args:
        path: the current path of the file.
        inode: identifies the file if it is renamed.
        offset: where to begin; the beginning of a line.
        number: how many lines precede the offset.
        chunk_bytes: how much to read at once.
        limit_bytes: approximate limit of bytes to read, but at least one line.
        max_line_bytes: longer lines are cut to their beginning; None keeps all.
        find_again: returns the new path of a file that was rolled during reading.

    Raises:
        OSError: the file cannot be read, or was removed.
    """
    at, position = offset, offset
    parts: list[bytes] = []
    held_bytes = left_out_bytes = 0
    while limit_bytes is None or position - offset < limit_bytes or at == offset:
        data = _read_chunk(path, inode, position, chunk_bytes)
        if data is None:
            renamed = find_again(inode)
            if renamed is None:
                raise FileNotFoundError(errno.ENOENT, "the file was removed while it was read", str(path))
            path = renamed
            continue
        if not data:
            break
        position += len(data)
        parts.append(data)
        held_bytes += len(data)
        if b"\n" not in data:
            if max_line_bytes is not None and held_bytes > max_line_bytes:
                parts = [b"".join(parts)[:_KEPT_OF_LONG_BYTES]]
                left_out_bytes += held_bytes - len(parts[0])
                held_bytes = len(parts[0])
            continue
        partial = b"".join(parts)
        end = partial.rfind(b"\n") + 1
        first = partial.find(b"\n") + 1 if left_out_bytes else end
        for piece in (partial[:first], partial[first:end]):
            if piece:
                yield Block(piece, path, inode, number + 1, at, True, left_out_bytes)
                number += piece.count(b"\n")
                at += len(piece) + left_out_bytes
                left_out_bytes = 0
        parts = [partial[end:]]
        held_bytes = len(parts[0])
    else:
        return
    remainder = b"".join(parts)
    if remainder:
        yield Block(remainder, path, inode, number + 1, at, False, left_out_bytes)


def line_key(line: bytes) -> OrderKey | None:
    """Return the sort key of a line without decoding it; None if its beginning is not an event's."""
    if not line.startswith(LINE_PREFIX) or line[_TIMESTAMP_END - 1 : _WRITER_AT] != _AFTER_TIMESTAMP:
        return None
    end = line.find(b'"', _SEQ_AT, _SEQ_AT + 20)
    seq = line[_SEQ_AT:end]
    if end < 0 or line[_SEQ_AT - 1] != 45 or not seq.isdigit() or not line.endswith(b"}"):
        return None
    if seq[:1] == b"0" != seq:
        return None
    return line[len(LINE_PREFIX) : _TIMESTAMP_END], line[_WRITER_AT : _SEQ_AT - 1], int(seq)


def tail_writer(raw: RawLine) -> str | None:
    """Return the writer of an incomplete last line: from its id if present, else from the file name."""
    match = _ID.search(raw.line[: _SEQ_AT + 1])
    if match is not None:
        return match[1].decode()
    name = parse_file_name(raw.path.name)
    return None if name is None else name.writer


def id_of(line: bytes) -> str | None:
    """Return the event id in a line; None if its beginning is not an event's."""
    match = _FIRST_ID.match(line[:_ID_WITHIN_BYTES])
    return None if match is None else match[1].decode()


def first_id(path: Path) -> str | None:
    """Return the id on the first line of a file, which identifies the file; None if it has none."""
    try:
        fd, _ = open_file(path)
    except OSError:
        return None  # missing or unreadable
    try:
        return id_of(os.read(fd, _ID_WITHIN_BYTES))
    finally:
        os.close(fd)


def after_last_newline(fd: int, size_bytes: int) -> int:
    """Return the offset of a file's incomplete last line; its size if the last line is complete."""
    end = size_bytes
    while end > 0:
        start = max(end - _STEP_BYTES, 0)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def begins_otherwise(path: Path, inode: Inode, known_id: str | None) -> bool:
    """Return whether the file with this inode has another first id; False if it was renamed in between."""
    try:
        data = _read_chunk(path, inode, 0, _ID_WITHIN_BYTES)
    except OSError:
        return False
    return data is not None and id_of(data) != known_id


def event_key(event: Event) -> OrderKey:
    """Return the sort key of a decoded event, equal to that of its line."""
    writer, seq = split_event_id(event.id)
    return format_timestamp(event.timestamp_us).encode(), writer.encode(), seq


class DamageLog:
    """The damages of one session, each place counted once."""

    def __init__(self) -> None:
        self.count = 0
        self._places: set[tuple[Inode, int]] = set()
        self._kept: list[Damage] = []

    def note(self, raw: RawLine, reason: str) -> None:
        """Record a damaged line."""
        position = (raw.inode, raw.offset)
        if position in self._places:
            return
        self._places.add(position)
        self.count += 1
        if len(self._kept) < _KEPT_DAMAGES:
            text = raw.line[:_SHOWN_CHARS].decode("utf-8", "backslashreplace")
            self._kept.append(Damage(raw.path, raw.number, reason, text))

    def note_unreadable(self, path: Path, inode: Inode, error: OSError) -> None:
        """Record that a file could not be read to its end."""
        self.note(RawLine(b"", path, inode, 0, -1, False), f"unreadable: {error_name(error)}")

    def note_file(self, path: Path, reason: str) -> None:
        """Record that a file other than a log, such as a chain or a description, is damaged."""
        self.note(RawLine(b"", path, (-1, hash(path)), 0, -1, False), reason)

    def kept(self) -> list[Damage]:
        """Return the first 1,000 damages; `count` counts all."""
        return list(self._kept)


def own_line(line: bytes, event: Event) -> bytes:
    """Return the bytes of a line that belong to its event: all of it, or the part after a torn line."""
    prefix = b'{"timestamp":"%s","id":"%s"' % (event.timestamp.encode(), event.id.encode())
    return line[max(line.rfind(prefix), 0) :]


class LineDecoder:
    """Decodes lines to events, each id once; other lines go to the damage log and raise nothing.

    Args:
        damage: records damaged lines.
        is_known_writer: returns whether a writer has a claim in this session; an event after a torn line is
            accepted only from a known writer.
    """

    def __init__(self, damage: DamageLog, is_known_writer: Callable[[str], bool]) -> None:
        self.damage = damage
        self._is_known_writer = is_known_writer
        self.seen: dict[str, SeqSet] = {}

    def decode(self, raw: RawLine) -> Event | None:
        """Decode the event on a line, even after a torn line; None if there is none or its id is known."""
        try:
            event = _decoded(raw)
        except DamagedLine as error:
            self.damage.note(raw, f"torn: {error}" if not raw.complete else str(error))
            behind = None if raw.left_out_bytes else event_behind(raw.line)
            return None if behind is None else self._believed(behind[1])
        writer, seq = split_event_id(event.id)
        if not self._is_new(writer, seq):
            self.damage.note(raw, f"repeated id {event.id}")
            return None
        return event

    def key_of(self, line: bytes) -> OrderKey | None:
        """Decode a line only for its sort key, recording neither id nor damage; None if damaged."""
        try:
            return event_key(decode_line(line))
        except DamagedLine:
            return None  # `decode` notes the damage

    def _is_new(self, writer: str, seq: int) -> bool:
        seen = self.seen.get(writer)
        if seen is None:
            seen = self.seen[writer] = SeqSet()
        return seen.add(seq)

    def _believed(self, event: Event) -> Event | None:
        """Return an event at the end of a damaged line if its id is new and its writer known."""
        writer, seq = split_event_id(event.id)
        return event if self._is_known_writer(writer) and self._is_new(writer, seq) else None


def is_event(raw: RawLine) -> bool:
    """Return whether a line is an event."""
    try:
        _decoded(raw)
    except DamagedLine:
        return False
    return True


def _decoded(raw: RawLine) -> Event:
    if raw.left_out_bytes:
        raise DamagedLine("longer than any event")
    return decode_line(raw.line)


def event_behind(line: bytes) -> tuple[int, Event] | None:
    """Find the complete event at the end of a damaged line; returns its offset and the event, or None."""
    at = line.find(LINE_PREFIX, 1)
    while at > 0:
        try:
            return at, decode_line(line[at:])
        except DamagedLine:
            at = line.find(LINE_PREFIX, at + 1)
    return None


# after this time a rolled segment that did not grow is skipped, and a missing file counts as removed
_SETTLED_S = 2.0
_LEAST_SHARE_BYTES = 64 * 1024
# a reader that is behind spends at most 5% of its time on listing files
_LISTING_SHARE = 0.05
_LISTING_INTERVAL_S = 0.25


@dataclass(slots=True)
class FilePosition:
    """The reading position in one file."""

    path: Path
    offset: int = 0
    number: int = 0
    first_id: str | None = None
    size_bytes: int = 0
    mtime_ns: int = 0
    read_in_pass: int = 0
    seen_in_pass: int = 0
    quiet_since: float | None = None
    absent_since: float | None = None
    rest: RawLine | None = None
    """The incomplete line after the last newline."""


class Tail:
    """The reading positions in all files of one session, by inode.

    Args:
        session: the session's directory.
        on_unreadable: called for a file that cannot be read.
        files: lists the files to read; all files of the session if None.
        chunk_bytes: how much to read at once.
    """

    def __init__(
        self,
        session: Path,
        on_unreadable: Callable[[Path, Inode, OSError], None],
        files: Callable[[], list[Path]] | None = None,
        chunk_bytes: int = _CHUNK_BYTES,
    ) -> None:
        self._session = session
        self._chunk_bytes = chunk_bytes
        self._retires = False
        self._on_unreadable = on_unreadable
        self._files = files
        self.places: dict[Inode, FilePosition] = {}
        self.vanished = 0
        """Number of files that were removed, for example by retention, before they were read to their end."""
        self.behind = False
        self._pass = 0
        self._look = 0
        self._waiting: deque[tuple[Inode, FilePosition]] = deque()
        self._share_bytes = 0
        self._list_again_s = 0.0
        self.listing_s = 0.0
        """Duration of the last listing of all files, in seconds."""

    def new_lines(
        self, limit_bytes: int | None = None, only: Collection[Path] | None = None
    ) -> Iterator[RawLine]:
        """Make one pass: yield the complete lines that were not yielded before.

        Args:
            limit_bytes: approximate limit of bytes to read; afterwards `behind` says whether more is waiting.
                While much is waiting the files are listed at intervals; a pass that ends without `behind`
                has listed them.
            only: read only these files; renamed and removed files are left to a pass over all files.
        """
        for position, block in self._pass_over(limit_bytes, only):
            for raw in block.lines():
                position.offset = raw.offset + len(raw.line) + raw.left_out_bytes + 1
                position.number = raw.number
                # checks the offset: line numbers count from where following began
                if raw.offset == 0:
                    position.first_id = id_of(raw.line)
                # a newline that ends a torn line can leave a blank one
                if raw.line:
                    yield raw

    def new_blocks(self, limit_bytes: int | None = None) -> Iterator[Block]:
        """Make one pass like `new_lines`, but yield the lines in blocks, of which each counts as read."""
        for position, block in self._pass_over(limit_bytes, None):
            if block.offset == 0:
                position.first_id = id_of(block.data)
            position.offset = block.offset + len(block.data) + block.left_out_bytes
            position.number = block.number + block.data.count(b"\n") - 1
            yield block

    def _pass_over(
        self, limit_bytes: int | None, only: Collection[Path] | None
    ) -> Iterator[tuple[FilePosition, Block]]:
        """Yield the new blocks of a pass; the caller advances the position before the next block."""
        self.behind = False
        if limit_bytes is None:
            for inode, position in self._grown_files(only):
                yield from self._blocks_of(inode, position, None)
            return
        is_new = not self._waiting or SystemClock.monotonic_s() > self._list_again_s
        if is_new:
            self._list(limit_bytes, only)
        left_bytes = limit_bytes
        while self._waiting and left_bytes > 0:
            inode, position = self._waiting.popleft()
            begin = position.offset
            yield from self._blocks_of(inode, position, self._share_bytes)
            position.read_in_pass = self._pass
            left_bytes -= position.offset - begin
        if self._waiting or not is_new:
            self.behind = True

    def rests(self) -> Iterator[RawLine]:
        """Yield the incomplete last lines of the files that were read, each once."""
        for position in self.places.values():
            remainder, position.rest = position.rest, None
            if remainder is not None:
                yield remainder

    def _list(self, limit_bytes: int, only: Collection[Path] | None) -> None:
        """List the files that have grown, and compute how much of each to read in a pass."""
        began = SystemClock.monotonic_s()
        grown = self._grown_files(only)
        # the file that waited longest comes first, so that busy files do not starve others
        grown.sort(key=lambda pair: pair[1].read_in_pass)
        self._waiting = deque(grown)
        self._share_bytes = max(limit_bytes // max(len(grown), 1), _LEAST_SHARE_BYTES)
        self._pass += 1
        ended = SystemClock.monotonic_s()
        if only is None:
            self.listing_s = ended - began
        self._list_again_s = ended + max(_LISTING_INTERVAL_S, self.listing_s / _LISTING_SHARE)

    def _grown_files(self, only: Collection[Path] | None) -> list[tuple[Inode, FilePosition]]:
        now = SystemClock.monotonic_s()
        self._retires = self._retires or os.path.lexists(retired_file(self._session))
        self._look += 1
        grown: list[tuple[Inode, FilePosition]] = []
        for path in self._files_to_check(now) if only is None else only:
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # rolled or retired since it was listed
            except OSError as error:
                self._on_unreadable(path, (-1, hash(path)), error)
                continue
            inode = (status.st_dev, status.st_ino)
            known_position = self.places.get(inode)
            # a file that is being rolled can be listed under both names
            if known_position is not None and known_position.seen_in_pass == self._look:
                continue
            position = self._place(inode, path, status)
            position.seen_in_pass = self._look
            # other than regular files are read, too, so that opening them reports the error
            if status.st_size > position.offset or not stat.S_ISREG(status.st_mode):
                position.quiet_since = None
                grown.append((inode, position))
            elif position.quiet_since is None and _is_rolled(path):
                position.quiet_since = now
        if only is None:
            self._forget_absent(now)
        return grown

    def _files_to_check(self, now: float) -> Iterator[Path]:
        """Yield the files to check: the given ones, or all of the session's except settled segments.

        Files are yielded one at a time, because a list of all paths takes as much memory as the positions.
        Directories are listed twice, because one listing can miss a file that is being renamed.
        """
        if self._files is not None:
            yield from self._files()
            return
        try:
            device = self._session.stat().st_dev
        except FileNotFoundError:
            return  # the session was removed
        for _ in range(2):
            for entry in tree_entries(self._session):
                # if the directory reports a wrong inode number, the caller stats the file
                position = self.places.get((device, entry.inode()))
                if position is not None and position.path.name == entry.name:
                    if position.quiet_since is not None and now - position.quiet_since > _SETTLED_S:
                        position.seen_in_pass, position.absent_since = self._look, None
                    if position.seen_in_pass == self._look:
                        continue
                yield Path(entry.path)

    def _place(self, inode: Inode, path: Path, status: os.stat_result) -> FilePosition:
        position = self.places.setdefault(inode, FilePosition(path))
        if status.st_size < position.offset or self._is_reused(inode, position, path, status):
            position = self.places[inode] = FilePosition(path)
        # keep the old path object if it is equal: the new one would keep memory of this listing in use
        if position.path != path:
            position.path = path
        position.size_bytes, position.absent_since = status.st_size, None
        position.mtime_ns = status.st_mtime_ns
        return position

    def _is_reused(self, inode: Inode, position: FilePosition, path: Path, status: os.stat_result) -> bool:
        """Return whether retention removed the file with this inode and a new file reuses the number."""
        if not self._retires or not position.offset or status.st_mtime_ns == position.mtime_ns:
            return False
        return begins_otherwise(path, inode, position.first_id)

    def _forget_absent(self, now: float) -> None:
        """Drop the positions of removed files, because another file may reuse their inode numbers.

        A listing can miss a file that is being rolled, so a file counts as removed after 2 s of absence.
        """
        absent = [pair for pair in self.places.items() if pair[1].seen_in_pass != self._look]
        for inode, position in absent:
            if position.absent_since is None:
                position.absent_since = now
            elif now - position.absent_since > _SETTLED_S:
                self.vanished += position.offset < position.size_bytes
                del self.places[inode]

    def _blocks_of(
        self, inode: Inode, position: FilePosition, share: int | None
    ) -> Iterator[tuple[FilePosition, Block]]:
        position.rest = None
        blocks = read_blocks(
            position.path,
            inode,
            offset=position.offset,
            number=position.number,
            chunk_bytes=self._chunk_bytes,
            limit_bytes=share,
            max_line_bytes=MAX_LINE_BYTES,
            # a search costs as much as a listing of all files, which follows soon if only a share is read
            find_again=lambda inode: self._find_again(position, inode) if share is None else None,
        )
        try:
            for block in blocks:
                if not block.complete:
                    (position.rest,) = block.lines()
                    return
                yield position, block
        except OSError as error:
            # removed between listing and opening, or not readable
            if not isinstance(error, FileNotFoundError):
                self._on_unreadable(position.path, inode, error)
            elif share is not None and not _is_rolled(position.path):
                self.behind = True
            return
        if position.offset < position.size_bytes:
            self.behind = True

    def _find_again(self, position: FilePosition, inode: Inode) -> Path | None:
        name = parse_file_name(position.path.name)
        if name is None or name.segment is not None:
            # a numbered segment is never renamed, so it was removed
            return None
        for path in stem_files(position.path.parent, name.stem, position.path.suffix):
            if inode_at(path) == inode:
                position.path = path
                return path
        return None


def _is_rolled(path: Path) -> bool:
    name = parse_file_name(path.name)
    return name is not None and name.segment is not None
