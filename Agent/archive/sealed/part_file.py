"""Writes the Parquet file of a part from the lines of its segments, and reads it back line by line.

Lines of several KB are taken in slices of some MB, since the engine otherwise works on 2048 rows at a time,
whatever their length. `parquet_rows` defines the rows; `sealing` chooses the segments and creates the part.
"""

# ruff: noqa: S608 - statements are put together from names of this package and quoted paths
from __future__ import annotations

import codecs
import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from Agent.archive.sealed.parquet_rows import (
    HEX_MARK,
    LINE_BYTES,
    ROW_GROUP_BYTES,
    TEXT_BYTES,
    VECTOR_ROWS,
    copy_statement,
    identified,
    literal,
    promoted_columns,
    rows_of,
)
from Agent.archive.sealed.parts import FinishedSegment, Part, SealedSegment, escaped, file_digest
from Agent.archive.sealed.reader import releasing_large_buffers
from Agent.errors import DamagedInput, InputError
from Agent.event.clock import format_timestamp
from Agent.tree.files.lines import MAX_LINE_BYTES, chunks_of, first_id
from Agent.tree.files.session import open_session
from Agent.tree.layout import NEW_FILE, open_file, open_private
from Agent.tree.write.artifacts import new_hash

LONG_LINE_BYTES: Final = ROW_GROUP_BYTES // VECTOR_ROWS
"""The mean length of lines from which on the engine would hold more than a row group of them at once."""
_SLICE_BYTES: Final = ROW_GROUP_BYTES // 2
_LEAST_LINE_BYTES: Final = 2 * 1024 * 1024
_LEAST_BUFFER_BYTES: Final = 32 * 1024 * 1024
_END: Final = 2**62
"""After the last row of any file."""


ODD_BYTES: Final = (b"\r", b"\x00", b"\x01", b"\x02")
"""Bytes that valid JSON lines do not contain and that line readers could misinterpret."""


class LineMarks:
    """Counts, measures and digests the lines in the chunks of a file, and checks that they are plain text."""

    def __init__(self) -> None:
        self.digest = new_hash()
        self._newlines = 0
        self._rest = 0
        self._is_odd = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.longest = 0
        """Length in bytes of the longest line that crosses a chunk boundary. Of lines within one chunk only
        the first counts."""

    def take(self, chunk: bytes) -> None:
        """Process the next chunk."""
        self.digest.update(chunk)
        first = chunk.find(b"\n")
        self.longest = max(self.longest, self._rest + (len(chunk) if first < 0 else first))
        self._rest = self._rest + len(chunk) if first < 0 else len(chunk) - 1 - chunk.rfind(b"\n")
        self._newlines += chunk.count(b"\n")
        if not self._is_odd:
            self._is_odd = any(byte in chunk for byte in ODD_BYTES) or not self._decodes(chunk)

    @property
    def lines(self) -> int:
        """Number of lines so far, including a last line without a newline."""
        return self._newlines + (1 if self._rest else 0)

    @property
    def ends_with_newline(self) -> bool:
        """Whether the last byte was a newline."""
        return self._newlines > 0 and not self._rest

    @property
    def is_odd(self) -> bool:
        """Whether some bytes were not UTF-8 or were in `ODD_BYTES`."""
        return self._is_odd or bool(self._decoder.getstate()[0])

    def _decodes(self, chunk: bytes) -> bool:
        # an ASCII chunk needs no decoding unless a character began in the previous chunk
        if chunk.isascii() and not self._decoder.getstate()[0]:
            return True
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
        return True


class _ReadBack(NamedTuple):
    """The comparison of one file's rows in the new part with its lines."""

    lines: int
    same: int
    """Number of lines that are read back unchanged and in place."""
    size_bytes: int
    """Size of the loaded lines, each with a newline."""
    events: int
    damaged: int
    verbatim: int
    """Number of events whose line is stored as bytes."""
    agent_id: str | None
    first_us: int | None
    last_us: int | None


def write_rows(connection: Any, group: list[FinishedSegment], target: Path, name: str) -> Part:
    """Write the rows of some segments into a new file, read it back, and sync it.

    Args:
        connection: to DuckDB.
        group: the segments.
        target: the file.
        name: of the part that the file is to become.

    Raises:
        DamagedInput: it does not read back as it was written, or a segment changed meanwhile.
    """
    seen = [_inspected(each.path) for each in group]
    for each, marks in zip(group, seen, strict=True):
        if marks.longest > MAX_LINE_BYTES:
            raise DamagedInput(
                f"a line is longer than {MAX_LINE_BYTES >> 20} MiB, which no event is; it is not sealed",
                path=each.path,
                remedy="remove that line; `verify` names it",
            )
    is_long = sum(each.size_bytes for each in group) > LONG_LINE_BYTES * sum(each.lines for each in seen)
    with releasing_large_buffers() if is_long else contextlib.nullcontext():
        if is_long:
            connection.execute("SET threads = 1")  # each would hold a slice
            _load_long(connection, [each.path for each in group])
        else:
            _load(connection, group, seen)
        back = _write(connection, group, seen, target)
        connection.execute("DROP TABLE sealed_lines")
    digest = file_digest(target, sync=True)
    segments = []
    for each, marks, rows in zip(group, seen, back, strict=True):
        status = each.path.lstat()
        if (status.st_size, status.st_mtime_ns) != (each.size_bytes, each.mtime_ns):
            raise DamagedInput(
                "the file changed while it was sealed",
                path=each.path,
                remedy="seal again when no process writes it",
            )
        segments.append(
            SealedSegment(
                file=each.file,
                size_bytes=each.size_bytes,
                lines=marks.lines,
                events=rows.events,
                damaged=rows.damaged,
                digest=marks.digest.hexdigest(),
                ends_with_newline=marks.ends_with_newline,
                mtime_ns=each.mtime_ns,
                first_id=first_id(each.path),
                agent_id=rows.agent_id,
                first_us=rows.first_us,
                last_us=rows.last_us,
            )
        )
    return Part(
        name=name,
        rows=sum(each.lines for each in segments),
        events=sum(each.events for each in segments),
        damaged=sum(each.damaged for each in segments),
        verbatim=sum(rows.verbatim for rows in back),
        size_bytes=target.stat().st_size,
        digest=digest,
        sealed_at=format_timestamp(time.time_ns() // 1000),
        segments=tuple(segments),
        promoted=promoted_columns(),
        directory=target.parent,
    )


def _inspected(path: Path) -> LineMarks:
    """Read a file once for its digest, lines and marks."""
    marks = LineMarks()
    for chunk in chunks_of(path):
        marks.take(chunk)
    return marks


def _as_text(path: Path, stack: contextlib.ExitStack) -> Path:
    """Write a copy in which lines that are not plain text are replaced by a mark and hexadecimal."""
    import tempfile

    copy = tempfile.NamedTemporaryFile(prefix="lines-", suffix=".log")  # noqa: SIM115 - the stack closes it
    stack.enter_context(copy)
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb") as file:
        for line in file:
            ended = line.endswith(b"\n")
            plain = line[:-1] if ended else line
            copy.write(_plain_or_hex(plain) + (b"\n" if ended else b""))
    copy.flush()
    return Path(copy.name)


def _plain_or_hex(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return HEX_MARK.encode() + line.hex().encode()
    return HEX_MARK.encode() + line.hex().encode() if any(byte in line for byte in ODD_BYTES) else line


def _load(connection: Any, group: list[FinishedSegment], seen: list[LineMarks]) -> None:
    """The lines of the files as a table, in their order; `rowid` then numbers them."""
    longest = max(_LEAST_LINE_BYTES, *(2 * marks.longest + 2 for marks in seen))
    with contextlib.ExitStack() as stack:
        # For a name with a wildcard the engine lists the directory, and fails at names with a backslash.
        sources = [
            _as_text(each.path, stack)
            if marks.is_odd or escaped(each.path.name) != each.path.name
            else each.path
            for each, marks in zip(group, seen, strict=True)
        ]
        listed = ", ".join(literal(escaped(str(path))) for path in sources)
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE sealed_lines AS SELECT file_index::BIGINT AS number, "
            "coalesce(text, '') AS text FROM "
            f"read_csv([{listed}], columns={{text: 'VARCHAR'}}, delim={literal(chr(1))}, quote='', "
            "escape='', header=false, auto_detect=false, new_line='\\n', comment='', "
            f"max_line_size={longest}, buffer_size={max(4 * longest, _LEAST_BUFFER_BYTES)})"
        )


def _load_long(connection: Any, paths: list[Path]) -> None:
    """As `_load`, for long lines, of which a reader of the engine would hold 2048 at once."""
    connection.execute("CREATE OR REPLACE TEMP TABLE sealed_lines (number BIGINT, text VARCHAR)")
    for number, path in enumerate(paths):
        for texts in _batches(path):
            connection.execute("INSERT INTO sealed_lines SELECT ?, unnest(?::VARCHAR[])", [number, texts])


def _batches(path: Path) -> Iterator[list[str]]:
    """The lines of a file as `_load` needs them, some MB at a time."""
    texts, size_bytes = [], 0
    with os.fdopen(open_file(path)[0], "rb") as file:
        for line in file:
            texts.append(_plain_or_hex(line.removesuffix(b"\n")).decode())
            size_bytes += len(line)
            if size_bytes >= _SLICE_BYTES:
                yield texts
                texts, size_bytes = [], 0
    if texts:
        yield texts


_Slice = tuple[int, int]
"""The first of some loaded lines, and the one after the last."""


def _slices(connection: Any, number: int) -> list[_Slice]:
    """Split the loaded lines, if there are long ones, into slices for the engine to take one at a time."""
    heaviest = connection.execute(
        "SELECT max(size_bytes) FROM (SELECT sum(strlen(text)) AS size_bytes FROM sealed_lines "
        f"GROUP BY rowid // {VECTOR_ROWS})"
    ).fetchone()[0]
    if heaviest <= ROW_GROUP_BYTES:
        return [(0, number)]
    starts, size_bytes = [0], 0
    sizes = connection.execute("SELECT strlen(text) FROM sealed_lines ORDER BY rowid")
    for row in range(number):
        length = sizes.fetchone()[0]
        if size_bytes and (size_bytes + length > _SLICE_BYTES or row - starts[-1] == VECTOR_ROWS):
            starts.append(row)
            size_bytes = 0
        size_bytes += length
    return list(itertools.pairwise([*starts, number]))


def _session_uid(session: Path) -> str | None:
    """The session's UUID; None if its description is missing."""
    try:
        return open_session(session).session_uid
    except InputError:
        return None  # seal it without the UUID


def _write(
    connection: Any, group: list[FinishedSegment], seen: list[LineMarks], target: Path
) -> list[_ReadBack]:
    """Write the rows of the loaded lines, read them back, and compare them with the files."""
    line_bytes = sum(each.size_bytes for each in group) // max(sum(each.lines for each in seen), 1)
    slices = _slices(connection, sum(each.lines for each in seen))
    target.unlink(missing_ok=True)
    os.close(open_private(target, NEW_FILE))
    with contextlib.ExitStack() as stack:
        paths = [target]
        if len(slices) > 1:
            paths = [_beside(target, number, stack) for number in range(len(slices))]
        for path, limits in zip(paths, slices, strict=True):
            connection.execute(copy_statement(_rows(group, seen, limits, target), str(path), line_bytes))
        if len(slices) > 1:
            # not one statement with a union: the engine does not keep the order of its parts on one thread
            listed = ", ".join(literal(escaped(str(path))) for path in paths)
            stored = f"SELECT * FROM read_parquet([{listed}])"
            connection.execute(copy_statement(stored, str(target), line_bytes))
    back = _read_back(connection, group, seen, target, slices)
    if any(read_back.same != read_back.lines for read_back in back):
        raise DamagedInput(
            "the sealed part does not read back identically",
            path=target,
            remedy="the JSON lines are unchanged; please report this",
        )
    for each, marks, read_back in zip(group, seen, back, strict=True):
        expected = each.size_bytes + (0 if marks.ends_with_newline or not marks.lines else 1)
        if (read_back.lines, read_back.size_bytes) != (marks.lines, expected):
            raise DamagedInput(
                f"{read_back.lines} of {marks.lines} lines were read while it was sealed",
                path=each.path,
                remedy="the JSON lines are unchanged; if agent-trace verify finds no edit, report this",
            )
    return back


def _line_position(group: list[FinishedSegment], seen: list[LineMarks]) -> tuple[str, str]:
    """SQL for the file of a loaded line and its number there, from the file's `number` and the `rowid`."""
    names = ", ".join(literal(each.file) for each in group)
    starts = itertools.accumulate((look.lines for look in seen[:-1]), initial=0)
    return f"([{names}])[number + 1]", f"(rowid - ([{', '.join(map(str, starts))}])[number + 1] + 1)"


def _rows(group: list[FinishedSegment], seen: list[LineMarks], limits: _Slice, target: Path) -> str:
    """A query for the rows of some loaded lines, in the columns of the part."""
    file, line = _line_position(group, seen)
    within = _within("rowid", limits)
    lines = f"(SELECT {file} AS file, {line} AS line, text FROM sealed_lines WHERE {within})"
    return identified(rows_of(lines), _session_uid(target.parent.parent))


def _beside(target: Path, number: int, stack: contextlib.ExitStack) -> Path:
    """An empty file for a slice, which the stack removes; its name ends as that of the unfinished part."""
    path = target.with_name(f".{number}{target.name}")
    path.unlink(missing_ok=True)
    os.close(open_private(path, NEW_FILE))
    stack.callback(path.unlink, missing_ok=True)
    return path


def _within(row: str, limits: _Slice) -> str:
    return f"{row} >= {limits[0]} AND {row} < {limits[1]}"


def _read_back(
    connection: Any,
    group: list[FinishedSegment],
    seen: list[LineMarks],
    target: Path,
    slices: list[_Slice],
) -> list[_ReadBack]:
    """Compare each loaded line with the row in its place, by file.

    Reordered, additional or missing rows count as differences.
    """
    file, line = _line_position(group, seen)
    same = f"file = {file} AND line = {line} AND {LINE_BYTES} = {TEXT_BYTES}"
    blank = "regexp_full_match(TRY(decode(raw)), '\\s*')"
    number = sum(each.lines for each in seen)
    stored = f"read_parquet({literal(escaped(str(target)))}, file_row_number=true)"
    # both sides as scanned: columns computed below the join would be copied for it
    pairs = " UNION ALL ".join(
        f"SELECT number, {same} AS same, octet_length({TEXT_BYTES}) + 1 AS size_bytes, event_type, "
        f"raw IS NOT NULL AS is_verbatim, event_type IS NULL AND NOT coalesce({blank}, false) AS is_damaged, "
        f"agent_id, line, ts_us FROM (SELECT rowid, number, text FROM sealed_lines WHERE {within}) "
        f"POSITIONAL JOIN (SELECT * FROM {stored} WHERE {stored_within})"
        for within, stored_within in (
            (
                _within("rowid", each),
                _within("file_row_number", each if each[1] < number else (each[0], _END)),
            )
            for each in slices
        )
    )
    rows = connection.execute(
        "SELECT number, count(number), count(*) FILTER (WHERE same), sum(size_bytes), count(event_type), "
        "count(*) FILTER (WHERE is_damaged), count(*) FILTER (WHERE event_type IS NOT NULL AND is_verbatim), "
        "arg_min(agent_id, line) FILTER (WHERE event_type IS NOT NULL), min(ts_us), max(ts_us) "
        f"FROM ({pairs}) GROUP BY number"
    ).fetchall()
    by_number = {row[0]: _ReadBack(*row[1:]) for row in rows}
    # rows after the last loaded line have no number
    excess = by_number.pop(None, None)
    nothing = _ReadBack(0, 0, 0, 0, 0, 0, None, None, None)
    listed = [by_number.get(number, nothing) for number in range(len(group))]
    return listed if excess is None else [each._replace(same=-1) for each in listed]
