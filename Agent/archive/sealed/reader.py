"""Reads sessions in any form: existing log files as files, and removed ones from the archive, by DuckDB.

Packages above this one open sessions with `open_reader`. Log files that still exist are read as files even if
they are sealed, which is faster for queries about one agent.
"""

# ruff: noqa: S608 - statements are put together from names of this package; values are quoted
from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from Agent.archive.sealed.duckdb_module import load_duckdb, numbers_of
from Agent.archive.sealed.parquet_rows import LINE_BYTES, literal
from Agent.archive.sealed.parts import (
    Part,
    SealedSegment,
    SegmentOfPart,
    archive_dir,
    damaged,
    escaped,
    read_parts,
    segments_only_archived,
)
from Agent.errors import DamagedInput, InputError
from Agent.event.clock import format_timestamp
from Agent.tree.files.lines import RawLine
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.session import is_running, remove_half_written, replacing, sync_directory
from Agent.tree.layout import (
    agents_dir,
    entries_in,
    is_text,
    make_private,
    parse_file_name,
    segment_order,
    settled_state,
    shown_name,
)
from Agent.tree.links import refuse_links
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.artifacts import digest_of, new_hash
from Agent.tree.write.event_counts import EventCounts

MEMORY_LIMIT_MB: Final = 1000
_LEFTOVER_AGE_S: Final = 3600.0
"""On a shared disk, a process of another machine may have the same pid."""


@contextlib.contextmanager
def open_connection(session: Path, share: int = 1, threads: int | None = None) -> Iterator[Any]:
    """A DuckDB connection of bounded memory; it spills to the session's `.state` if that is writable.

    Args:
        session: its directory.
        share: the number of parallel connections; each gets its share of the memory, and one core.
        threads: the number of cores; None for all, or for one if `share` is above 1.

    Raises:
        MissingExtra: duckdb is not installed.
        InputError: an operation needs more memory, a file cannot be read or written, or the session's path is
            not UTF-8.
    """
    duckdb = load_duckdb("the archive")
    refuse_non_utf8_path(session)
    with contextlib.closing(Spill(session)) as spill:
        threads = threads or (cores() if share == 1 else 1)
        connection = connected(duckdb, spill, f"{MEMORY_LIMIT_MB // share}MB", threads)
        with contextlib.closing(connection):
            try:
                yield connection
            except duckdb.OutOfMemoryException as error:
                raise InputError(
                    f"its lines need more memory than the archive's limit of {MEMORY_LIMIT_MB // share} MB",
                    path=session,
                    remedy="leave the session unsealed, or erase what holds values of many megabytes",
                ) from error
            except duckdb.IOException as error:
                message = str(error).partition("\n")[0].removeprefix("IO Error: ")
                raise InputError(
                    f"a file cannot be read or written: {message}",
                    path=session,
                    remedy="free disk space, or make its files accessible, and try again",
                ) from error


@contextlib.contextmanager
def releasing_large_buffers() -> Iterator[None]:
    """Make the engine return buffers of 1 MiB and more to the system as soon as it frees them.

    Its allocator keeps them for a while, although with rows of several KB it frees about 10 MB every 10 ms.
    Applies to the calling thread, on an open connection. Without this allocator, it does nothing.
    """
    import ctypes

    import _duckdb

    large = ctypes.c_size_t(1 << 20)
    control: Any = getattr(ctypes.CDLL(_duckdb.__file__), "duckdb_je_mallctl", None)
    before: dict[bytes, ctypes.c_size_t] = {}
    if control is not None:
        arenas = ctypes.c_uint()
        size = ctypes.c_size_t(ctypes.sizeof(arenas))
        control(b"arenas.narenas", ctypes.byref(arenas), ctypes.byref(size), None, ctypes.c_size_t(0))
        for arena in range(arenas.value):
            name, old, new = f"arena.{arena}.oversize_threshold".encode(), ctypes.c_size_t(), large
            size = ctypes.c_size_t(ctypes.sizeof(old))
            # for an arena that no thread has used yet, it fails and changes nothing
            if not control(name, ctypes.byref(old), ctypes.byref(size), ctypes.byref(new), size):
                before[name] = old
    try:
        yield
    finally:
        for name, old in before.items():
            control(name, None, None, ctypes.byref(old), ctypes.c_size_t(ctypes.sizeof(old)))


class Spill:
    """A private directory for large sorts and joins; `close` removes it.

    It is in the session's `.state`, and created when the engine needs it; `seal` removes leftovers of killed
    processes. If `.state` is not writable, as in another user's session, it is a private temporary directory.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.path = _spill_path(session / ".state")
        """The path for the engine; empty if no directory can be created: then too large operations fail."""
        # also if an engine is never closed
        self._remove = weakref.finalize(self, _remove_spill, self.path, os.getpid())

    def close(self) -> None:
        """Remove the directory."""
        self._remove()


def _spill_path(state: Path) -> str:
    if os.access(state, os.W_OK):
        return str(state / f"spill-{os.getpid()}-{os.urandom(4).hex()}")
    import tempfile

    try:
        return tempfile.mkdtemp(prefix="agent-trace-spill-")
    except OSError:
        return ""


def _remove_spill(path: str, pid: int) -> None:
    # a forked child inherited it from its parent, which may still use it
    if path and pid == os.getpid() and Path(path).is_dir():  # most queries never wrote there
        import shutil  # here: it loads the libraries for archives

        shutil.rmtree(path, ignore_errors=True)


def remove_stale_spills(session: Path) -> None:
    """Remove spill directories of killed processes in `.state`, 1 hour after their last change."""
    for spill in entries_in(session / ".state", beginning="spill-"):
        pid = spill.name.split("-")[1]
        if (
            pid.isdecimal()
            and not is_running(int(pid))
            and time.time() - spill.stat().st_mtime > _LEFTOVER_AGE_S
        ):
            import shutil

            shutil.rmtree(spill, ignore_errors=True)


def refuse_non_utf8_path(session: Path) -> None:
    """Raise InputError for a session whose path is not UTF-8, which the engine requires."""
    if not is_text(str(session)):
        raise InputError(
            "the path of the session is not UTF-8, which queries and sealing need",
            path=shown_name(str(session)),
            remedy="rename the directory, or move the trace root elsewhere",
        )


def connected(duckdb: Any, spill: Spill, memory_limit: str, threads: int) -> Any:
    """A DuckDB connection of bounded memory that loads no extensions or remote files."""
    config = {
        "memory_limit": memory_limit,
        "autoinstall_known_extensions": False,
        "temp_directory": spill.path,
        "threads": threads,
    }
    if numbers_of(duckdb.__version__) >= (2, 0):
        # The eight threads for prefetching remote files would only waste memory.
        config["async_threads"] = 1
    return duckdb.connect(config=config)


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_BATCH_ROWS: Final = 4096
_BATCH_BYTES: Final = 4 * 1024 * 1024
_STREAMED_ROWS: Final = 256
_FIRST_ROWS: Final = 16
"""Read before it is known how long the lines are."""
_POSITION: Final = "CAST(file AS VARCHAR) AS file, CAST(line AS BIGINT) AS line"
"""The position of a line; cast, because a part written by another tool may have other column types."""
_ROW: Final = f"{_POSITION}, {LINE_BYTES}"


def open_reader(session: Path) -> TreeReader:
    """Open a reader of a session's events, from log files and the archive.

    Raises:
        SessionNotFound: the directory is missing.

    The reader's methods raise DamagedInput if a part of the archive cannot be read.
    """
    path = Path(session)
    return TreeReader(path, ArchiveLines(path))


Entry = TypeVar("Entry")


class Listing(Generic[Entry]):
    """A cached listing of directories, read again when a name in them may have changed.

    Args:
        directories: returns the directories to watch; [] to read the listing every time.
        read: reads the listing.
    """

    def __init__(self, directories: Callable[[], Sequence[Path]], read: Callable[[], list[Entry]]) -> None:
        self._directories, self._read = directories, read
        self._entries: list[Entry] = []
        self._seen: tuple[int, ...] | None = None

    def read(self) -> list[Entry]:
        """The entries; the same list object as before if no name changed."""
        state = settled_state(*self._directories())
        if state is None or state != self._seen:
            self._entries, self._seen = self._read(), state
        return self._entries


def parts_of(session: Path) -> Listing[Part]:
    """The parts of a session's archive; a change of a part always changes the directory."""
    return Listing(lambda: [archive_dir(session)], lambda: read_parts(session))


_Found = tuple[list[SegmentOfPart], list[SegmentOfPart], dict[Path, str | None]]
"""Segments as they were found, the same in order, and what `ArchiveLines.files` returns for them."""


class ArchiveLines:
    """The lines of segments whose files were removed after they were sealed.

    `Agent.tree.read.reader.ColdLines`.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._parts = parts_of(session)
        self._fixed: list[SegmentOfPart] | None = None
        self._last: _Found = [], [], {}
        """What was found last: a reader asks for it several times for each question."""

    def segments(self) -> list[SegmentOfPart]:
        """The segments to read from the archive; a file left by a killed `seal --remove` is read itself."""
        return self._fixed if self._fixed is not None else self._find()[1]

    def _find(self) -> _Found:
        found = segments_only_archived(self._session, self._parts.read())
        last = self._last
        if found != last[0]:
            in_order = sorted(found, key=lambda pair: _file_order(pair[1].file))
            last = found, in_order, self._files_of(in_order)
            self._last = last
        return last

    def _files_of(self, segments: list[SegmentOfPart]) -> dict[Path, str | None]:
        return {self._session / segment.file: segment.agent_id for _, segment in segments}

    def fixed(self) -> ArchiveLines:
        """Return a snapshot: the segments that are removed now."""
        fixed_lines = ArchiveLines(self._session)
        fixed_lines._fixed = self.segments()
        return fixed_lines

    @contextmanager
    def _connection(self, threads: int | None = None) -> Iterator[Any]:
        """A connection of this session that raises DamagedInput for unreadable data."""
        with (
            open_connection(self._session, threads=threads) as connection,
            _reported_as_damage(self._session),
        ):
            yield connection

    def files(self) -> dict[Path, str | None]:
        """The former paths of the segments, in order, each with the agent of its first event."""
        return self._files_of(self._fixed) if self._fixed is not None else dict(self._find()[2])

    def lines(self, path: Path) -> Iterator[RawLine]:
        """Yield the lines of one segment in their original order."""
        file = path.relative_to(self._session).as_posix()
        pairs = [(part, segment) for part, segment in self.segments() if segment.file == file]
        if pairs:
            with self._connection() as connection:
                yield from self._read(connection, pairs, f"{_rows_of(pairs)} ORDER BY line")

    def lines_to_read(
        self, kinds: Collection[str] | None, seen: dict[str, SeqSet], tally: EventCounts | None = None
    ) -> Iterator[RawLine]:
        """The lines of some kinds, damaged and odd ones; the numbers of all others are added to `seen`."""
        segments = self.segments()
        if not segments:
            return
        with self._connection() as connection:
            rows = _rows_of(segments)
            numbers = None if kinds is None else _numbers_of_others(connection, rows, kinds)
            if kinds is None or numbers is None:
                # one part after another, since a sort holds its input in memory
                for part in _parts_in(segments):
                    of_part = [pair for pair in segments if pair[0] is part]
                    yield from self._read(connection, of_part, f"{_rows_of(of_part)} ORDER BY file, line")
                return
            for writer, of_writer in numbers.items():
                seen.setdefault(writer, SeqSet()).update(of_writer)
            if tally is not None:
                _count_others(connection, rows, kinds, tally)
            condition = f"{_to_read(kinds)} ORDER BY filename, file, line"
            yield from self._read(connection, segments, f"{rows} AND {condition}")

    def _read(self, connection: Any, segments: list[SegmentOfPart], rows: str) -> Iterator[RawLine]:
        query = f"SELECT parse_filename(filename, true), {_ROW} FROM {rows}"
        return self._fetch(connection, segments, query)

    def _fetch(self, connection: Any, segments: list[SegmentOfPart], query: str) -> Iterator[RawLine]:
        """The lines found by a query for (part, file, line, bytes) of these segments."""
        raw_line = self._raw_lines(segments)
        cursor = connection.execute(query)
        for rows in _batches(cursor, _parts_in(segments), _BATCH_ROWS):
            for part, file, line, data in rows:
                if data:
                    yield raw_line(part, file, line, data)

    def _raw_lines(self, segments: list[SegmentOfPart]) -> Callable[[str, str, int, bytes], RawLine]:
        """Return a function that converts a row of these segments to a line."""
        by_file = {
            (part.name, segment.file): (
                int(part.name.removeprefix("part-")),
                index,
                segment,
                self._session / segment.file,
            )
            for part in _parts_in(segments)
            for index, segment in enumerate(part.segments)
        }

        def raw_line(part: str, file: str, line: int, data: bytes) -> RawLine:
            if (part, file) not in by_file:
                _segment_of(next(known for known, _ in segments if known.name == part), file)
            number, index, segment, path = by_file[part, file]
            return RawLine(
                line=bytes(data),
                path=path,
                # a distinct inode, so that damage at one place is counted once
                inode=(-number, index),
                number=line,
                offset=line,
                complete=line < segment.lines or segment.ends_with_newline,
            )

        return raw_line

    def every_part(self) -> Iterator[Iterator[tuple[list[bytes], Callable[[int], RawLine]]]]:
        """Yield all lines, part by part, in batches; each has a function that returns the line at an index.

        Rows are read in stored order, by file and line, without a sort and on one thread, so that the engine
        holds only the current batch, and nothing between two parts.
        """
        segments = self.segments()
        if segments:
            raw_line = self._raw_lines(segments)
            for part in _parts_in(segments):
                yield self._every_line(part.name, [pair for pair in segments if pair[0] is part], raw_line)

    def _every_line(
        self, part: str, segments: list[SegmentOfPart], raw_line: Callable[[str, str, int, bytes], RawLine]
    ) -> Iterator[tuple[list[bytes], Callable[[int], RawLine]]]:
        def nth(rows: Sequence[tuple[str, int, bytes]], at: int) -> RawLine:
            return raw_line(part, *rows[at])

        with self._connection(threads=1) as connection, releasing_large_buffers():
            connection.execute("SET disable_parquet_prefetching = true")  # would read a whole row group ahead
            connection.execute("SET streaming_buffer_size = '1MB'")  # for results that are not fetched yet
            cursor = connection.execute(f"SELECT {_ROW} FROM {_rows_of(segments)}")
            for rows in _batches(cursor, _parts_in(segments), _STREAMED_ROWS):
                yield [row[2] for row in rows], partial(nth, rows)

    def ordered_lines(
        self, since_us: int | None, until_us: int | None, only: Collection[Path] | None = None
    ) -> Iterator[RawLine]:
        """Yield the lines of segments in order of (timestamp, writer, seq); large sorts spill to disk."""
        segments = self.segments()
        if only is not None:
            files = {path.relative_to(self._session).as_posix() for path in only}
            segments = [pair for pair in segments if pair[1].file in files]
        if not segments:
            return
        with self._connection() as connection:
            yield from self._fetch(connection, segments, _ordered_query(segments, since_us, until_us))


@contextmanager
def _reported_as_damage(session: Path) -> Iterator[None]:
    """Raise DamagedInput if the engine cannot read a session's archive."""
    duckdb = load_duckdb("the archive")
    try:
        yield
    except duckdb.Error as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise  # about the spill directory, not the archive
        raise DamagedInput(
            f"the archive cannot be read: {str(error).partition(chr(10))[0]}",
            path=archive_dir(session),
            remedy="agent-trace verify names the damaged part; restore it from a copy",
        ) from error


def _segment_of(part: Part, file: str) -> SealedSegment:
    """Return the segment of that name; DamagedInput for the row of a file that the part does not describe."""
    matching = next((segment for segment in part.segments if segment.file == file), None)
    if matching is None:
        raise damaged(f"it holds lines of {file!r}, which its description does not name", part.parquet)
    return matching


def _parts_in(segments: list[SegmentOfPart]) -> list[Part]:
    """The parts that contain some segments, each once, in order."""
    return sorted({part.name: part for part, _ in segments}.values(), key=lambda part: part.name)


def _rows_of(segments: list[SegmentOfPart]) -> str:
    """The rows of some segments as a relation that ends with its condition."""
    parts = _parts_in(segments)
    source = f"{part_source(parts)} WHERE true"
    wanted = {part.name: [segment.file for known, segment in segments if known is part] for part in parts}
    if all(len(wanted[part.name]) < len(part.segments) for part in parts):
        # By a plain column the engine skips row groups; by the name of the part, it reads all of them.
        source += f" AND file IN ({_listed(itertools.chain.from_iterable(wanted.values()))})"
        if len(parts) == 1:
            return source
    for part in parts:
        files = wanted[part.name]
        if len(files) < len(part.segments):
            name = literal(part.name)
            source += f" AND (parse_filename(filename, true) <> {name} OR file IN ({_listed(files)}))"
    return source


def _listed(files: Iterable[str]) -> str:
    return ", ".join(map(literal, sorted(set(files))))


def _ordered_query(segments: list[SegmentOfPart], since_us: int | None, until_us: int | None) -> str:
    bounds = "".join(
        f" AND (ts_us IS NULL OR ts_us {sign} {bound})"
        for sign, bound in ((">=", since_us), ("<", until_us))
        if bound is not None
    )
    # A line that is not an event has no time: use that of the event before it in its file.
    time_us = "ts_us"
    if any(part.damaged for part in _parts_in(segments)):
        time_us = "coalesce(ts_us, max(ts_us) OVER (PARTITION BY filename, file ORDER BY line), 0)"
    return (
        f"SELECT part, file, line, data FROM (SELECT parse_filename(filename, true) AS part, {_POSITION}, "
        f"{LINE_BYTES} AS data, {time_us} AS time_us, ts_us IS NULL AS is_late, writer, seq "
        f"FROM {_rows_of(segments)}{bounds}) ORDER BY time_us, is_late, writer, seq, file, line"
    )


@lru_cache(maxsize=65_536)
def _file_order(file: str) -> tuple[str, str, str, float]:
    path = Path(file)
    name = parse_file_name(path.name)
    return (path.parent.as_posix(), *(segment_order(name) if name is not None else (path.name, "", 0.0)))


PIECE: Final = "seq >> 16"
"""The index of a number's chunk of 65,536 numbers, for `SeqSet.add_bits`."""
NUMBER_BITS: Final = "bitstring_agg((seq & 65535)::INTEGER, 0, 65535)::BLOB"
"""The numbers of a group within one chunk as bits, since retention leaves them scattered."""
_LOWEST_FIRST: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Reverses the bits of a byte: the engine's bit strings begin with the highest bit, ours with the lowest."""


def bits_of(answer: Any) -> int:
    """Convert a result of `NUMBER_BITS` to an integer with the lowest number in the lowest bit."""
    return int.from_bytes(bytes(answer).translate(_LOWEST_FIRST), "little")


def _numbers_of_others(connection: Any, rows: str, kinds: Collection[str]) -> dict[str, SeqSet] | None:
    """The numbers of the events whose lines `_to_read` leaves out, by writer.

    None if a number is repeated: then only reading all lines shows which one is the event.

    Args:
        connection: to DuckDB.
        rows: sealed rows as a relation, with a condition after WHERE.
        kinds: the kinds to read.
    """
    numbers: dict[str, SeqSet] = {}
    cursor = connection.execute(
        f"SELECT writer, {PIECE} AS piece, count(*), {NUMBER_BITS} FROM {rows} AND NOT {_to_read(kinds)} "
        "GROUP BY ALL"
    )
    while row := cursor.fetchone():
        writer, piece, count, answer = row
        bits = bits_of(answer)
        if bits.bit_count() != count:
            return None
        numbers.setdefault(writer, SeqSet()).add_bits(piece, bits)
    return numbers


def _count_others(connection: Any, rows: str, kinds: Collection[str], tally: EventCounts) -> None:
    """Count the events whose lines `_to_read` leaves out; arguments as for `_numbers_of_others`."""
    others = f"{rows} AND NOT {_to_read(kinds)}"
    cursor = connection.execute(f"SELECT event_type, level, agent_id, count(*) FROM {others} GROUP BY ALL")
    while fetched := cursor.fetchmany(_BATCH_ROWS):
        for kind, level, agent_id, number in fetched:
            tally.rows[kind, level, agent_id] += number
    first_us, last_us = connection.execute(f"SELECT min(ts_us), max(ts_us) FROM {others}").fetchone()
    if first_us is not None:
        tally.reach(format_timestamp(first_us), format_timestamp(last_us))


def _to_read(kinds: Collection[str]) -> str:
    """SQL for damaged lines, lines stored as bytes, and events of these kinds."""
    listed = ", ".join(map(literal, sorted(kinds)))
    among = f" OR event_type IN ({listed})" if listed else ""
    return f"coalesce(event_type IS NULL OR raw IS NOT NULL{among}, true)"


def part_source(parts: Iterable[Part]) -> str:
    """Return SQL for the rows of some parts, with the file of each row."""
    paths = ", ".join(literal(escaped(str(part.parquet))) for part in parts)
    return f"read_parquet([{paths}], filename=true)"


def _batches(cursor: Any, parts: Sequence[Part], most_rows: int) -> Iterator[list[Any]]:
    """Yield the rows of some parts, which end with the bytes of a line, about 4 MiB at a time.

    Raises:
        DamagedInput: they hold more bytes than were sealed, as in a file made to exhaust memory.
    """
    left_bytes = sum(part.json_bytes for part in parts)
    number = _FIRST_ROWS
    while rows := cursor.fetchmany(number):
        size_bytes = sum(len(row[-1] or b"") for row in rows)
        left_bytes -= size_bytes
        if left_bytes < 0:
            raise damaged("its lines are longer than those that were sealed", parts[0].parquet)
        number = min(max(_BATCH_BYTES * len(rows) // max(size_bytes, 1), 1), number * 16, most_rows)
        yield rows


def file_lines(
    connection: Any, part: Part, files: Sequence[str] | None = None
) -> Iterator[tuple[str, int, bytes]]:
    """(file, number, bytes) of a part's lines, file by file and in the order of their numbers.

    For some files or all. Only a part that another tool wrote in another order is sorted, in memory. Raises
    DamagedInput if the engine cannot read the part.
    """
    wanted = frozenset(files or ())
    condition = ""
    if wanted:
        # a range and not `IN`, of which the engine makes a join from five names on, in no order of its rows
        between = f"{literal(min(wanted))} AND {literal(max(wanted))}"
        condition = f"WHERE CAST(file AS VARCHAR) BETWEEN {between}"
    cursor = connection.cursor()
    try:
        with _reported_as_damage(part.directory.parent), releasing_large_buffers():
            order = "" if _is_in_order(cursor, part) else "ORDER BY file, line"
            cursor.execute(f"SELECT {_ROW} FROM {part_source([part])} {condition} {order}")
            for rows in _batches(cursor, [part], _BATCH_ROWS):
                yield from rows if files is None else (row for row in rows if row[0] in wanted)
    finally:
        cursor.close()


def _is_in_order(cursor: Any, part: Part) -> bool:
    """Whether the lines of each file are side by side, in the order of their numbers."""
    (answer,) = cursor.execute(
        "SELECT count(*) FILTER (file IS DISTINCT FROM file_before) = count(DISTINCT file) "
        "AND coalesce(bool_and(line > line_before) FILTER (file = file_before), true) "
        f"FROM (SELECT {_POSITION}, lag(file) OVER stored AS file_before, "
        "lag(line) OVER stored AS line_before "
        f"FROM read_parquet({literal(escaped(str(part.parquet)))}, file_row_number=true) "
        "WINDOW stored AS (ORDER BY file_row_number))"
    ).fetchone()
    return bool(answer)


def digests_of(connection: Any, part: Part) -> dict[str, str]:
    """Return the digest that each file of a part would have if it were restored."""
    files = _by_file(file_lines(connection, part))
    return {file: digest_of(_chunks(lines, _segment_of(part, file))) for file, lines in files}


def _by_file(rows: Iterator[tuple[str, int, bytes]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    for file, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield file, (row[2] for row in group)


def _chunks(lines: Iterator[bytes], segment: SealedSegment) -> Iterator[bytes]:
    """Yield the original bytes of a file from its lines, with the original newlines."""
    batch: list[bytes] = []
    size_bytes = 0
    for line in lines:
        if len(batch) == _BATCH_ROWS or size_bytes > _BATCH_BYTES:
            yield b"\n".join(batch) + b"\n"
            batch, size_bytes = [], 0
        batch.append(line)
        size_bytes += len(line)
    if batch:
        yield b"\n".join(batch) + (b"\n" if segment.ends_with_newline else b"")


def unseal(
    session: str | os.PathLike[str],
    into: str | os.PathLike[str] | None = None,
    *,
    only: Sequence[Part] | None = None,
    files: Collection[str] | None = None,
) -> list[Path]:
    """Restore the sealed files of a session, each checked against its digest.

    Args:
        session: the session's directory.
        into: the directory to write to; default: the session itself, where existing files are left alone. A
            file whose name another writer took since then gets the writer's id in its name.
        only: the parts to restore; default: all.
        files: the names of the files to restore; default: all.

    Returns:
        The files written.

    Raises:
        DamagedInput: a file is missing, or differs from what was sealed; then it is not put in place.
    """
    path = Path(session)
    if into is None:
        refuse_links(path)
        remove_half_written([*entries_in(path), *entries_in(agents_dir(path))])
    target = path if into is None else Path(into)
    written: list[Path] = []
    with open_connection(path) as connection:
        for part in read_parts(path) if only is None else only:
            by_name = {
                segment.file: segment for segment in part.segments if files is None or segment.file in files
            }
            paths = {name: segment.path_in(target) for name, segment in by_name.items()}
            missing = [name for name, place in paths.items() if not place.exists()]
            if not missing:
                continue
            left = {name for name in missing if by_name[name].size_bytes}
            for file, lines in _by_file(file_lines(connection, part, missing)):
                written.append(_restore(part, by_name[file], lines, paths[file]))
                left.discard(file)
            if left:
                raise damaged(f"it holds no line of {min(left)}", part.parquet)
    return written


def _restore(part: Part, segment: SealedSegment, lines: Iterator[bytes], target: Path) -> Path:
    make_private(target.parent, parents=True, exist_ok=True)
    digest = new_hash()
    with replacing(target) as file:
        for chunk in _chunks(lines, segment):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != segment.digest:
            raise damaged(f"{segment.file} differs from what was sealed", part.parquet)
        file.flush()
        os.utime(file.fileno(), ns=(segment.mtime_ns, segment.mtime_ns))
    sync_directory(target.parent)
    return target
