"""The tree's reader over a session of any form: files as they stand, and what was removed out of the archive.

Everything above this package opens sessions with `open_reader`. Files that are still there are read as files,
also where they are sealed: for one agent's questions that is the shorter way.
"""

# ruff: noqa: S608 - statements are put together from names of this package; values are quoted
from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from Agent.archive.sealed.numbers import add_numbers, count_others, rows_to_read
from Agent.archive.sealed.parquet_rows import LINE_BYTES, literal
from Agent.archive.sealed.part_writer import open_connection
from Agent.archive.sealed.parts import Part, SealedSegment, archive_dir, read_parts
from Agent.archive.sealed.sealed_lines import part_source
from Agent.errors import DamagedInput
from Agent.tree.files.lines import RawLine
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import parse_file_name, segment_order
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.kept_counts import Tally

__all__ = ["ArchiveLines", "open_reader"]

_BATCH_ROWS: Final = 4096


def open_reader(session: Path) -> TreeReader:
    """A reader of a session's events, wherever they lie.

    Raises:
        SessionNotFound: there is no such directory.

    What it reads raises DamagedInput where a part of the archive cannot be read.
    """
    path = Path(session)
    return TreeReader(path, ArchiveLines(path))


class ArchiveLines:
    """The lines of segments whose files were removed after they were sealed.

    `Agent.tree.read.reader.ColdLines`.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._known: list[Part] = []
        self._seen_ns = -1

    @property
    def _parts(self) -> list[Part]:
        """Those parts that are the record, as they are now; every change of one changes the directory."""
        try:
            changed_ns = archive_dir(self._session).stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return []  # nothing was sealed
        if changed_ns != self._seen_ns:
            self._known = [part for part in read_parts(self._session) if part.json_removed]
            self._seen_ns = changed_ns
        return self._known

    def _gone(self) -> list[tuple[Part, SealedSegment]]:
        """The segments that are to be read here: a file that a killed `seal --remove` left is read itself."""
        found = [
            (part, segment)
            for part in self._parts
            for segment in part.segments
            if not segment.is_file(self._session / segment.file)
        ]
        return sorted(found, key=lambda pair: _place(pair[1].file))

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of this session, on which what the engine cannot read is DamagedInput."""
        with open_connection(self._session) as connection:
            import duckdb  # opening has said clearly if it is missing

            try:
                yield connection
            except duckdb.Error as error:
                raise DamagedInput(
                    f"the archive cannot be read: {str(error).partition(chr(10))[0]}",
                    path=archive_dir(self._session),
                    remedy="agent-trace verify names the damaged part; restore it from a copy",
                ) from error

    def files(self) -> dict[Path, str | None]:
        """The names that the segments had, in order, and the agent of the first event of each."""
        return {self._session / segment.file: segment.agent_id for _, segment in self._gone()}

    def lines(self, path: Path) -> Iterator[RawLine]:
        """The lines of one segment, as they stood."""
        file = path.relative_to(self._session).as_posix()
        own = [(part, segment) for part, segment in self._gone() if segment.file == file]
        if own:
            with self._connection() as connection:
                yield from self._read(connection, f"{self._rows_of(own)} ORDER BY line")

    def all_lines(self) -> Iterator[RawLine]:
        """The lines of all segments, each segment's as they stood."""
        gone = self._gone()
        if not gone:
            return
        with self._connection() as connection:
            # one part after another, since sorting takes the memory of what is sorted
            for part in self._parts:
                own = [pair for pair in gone if pair[0].name == part.name]
                if own:
                    yield from self._read(connection, f"{self._rows_of(own)} ORDER BY file, line")

    def lines_to_read(
        self, kinds: Collection[str], seen: dict[str, SeqSet], tally: Tally | None = None
    ) -> Iterator[RawLine]:
        """The lines of some kinds, and what may be no event; the numbers of all others go into `seen`."""
        gone = self._gone()
        if not gone:
            return
        rows = self._rows_of(gone)
        with self._connection() as connection:
            doubtful = add_numbers(connection, rows, kinds, seen)
            if tally is not None:
                count_others(connection, rows, kinds, doubtful, tally)
            wanted = rows_to_read(kinds, doubtful)
            yield from self._read(connection, f"{rows} AND {wanted} ORDER BY filename, file, line")

    def _read(self, connection: Any, rows: str) -> Iterator[RawLine]:
        return self._fetch(
            connection, f"SELECT parse_filename(filename, true), file, line, {LINE_BYTES} FROM {rows}"
        )

    def _fetch(self, connection: Any, query: str) -> Iterator[RawLine]:
        """The lines that a query for (part, file, line, bytes) finds."""
        places = {
            (part.name, segment.file): (int(part.name.removeprefix("part-")), place, segment)
            for part in self._parts
            for place, segment in enumerate(part.segments)
        }
        cursor = connection.execute(query)
        while found := cursor.fetchmany(_BATCH_ROWS):
            for part, file, line, data in found:
                if data:
                    number, place, segment = places[part, file]
                    yield RawLine(
                        line=bytes(data),
                        path=self._session / file,
                        # an inode of its own, so that damage at one place is counted once
                        inode=(-number, place),
                        number=line,
                        offset=line,
                        complete=line < segment.lines or segment.ends_with_newline,
                    )

    def _rows_of(self, gone: list[tuple[Part, SealedSegment]]) -> str:
        """The rows of some segments as a relation, with their condition at its end."""
        by_part: dict[str, list[str]] = {}
        for part, segment in gone:
            by_part.setdefault(part.name, []).append(segment.file)
        parts = [part for part in self._parts if part.name in by_part]
        source = f"{part_source(parts).removesuffix(')')}, filename=true) WHERE true"
        for part in parts:
            files = by_part[part.name]
            if len(files) < len(part.segments):
                listed, name = ", ".join(map(literal, files)), literal(part.name)
                source += f" AND (parse_filename(filename, true) <> {name} OR file IN ({listed}))"
        return source

    def ordered_lines(self, since_us: int | None, until_us: int | None) -> Iterator[RawLine]:
        """The lines of all segments in order of (timestamp, writer, seq); the sort spills to the disk."""
        wanted = [(part.name, segment.file) for part, segment in self._gone()]
        if not wanted:
            return
        with self._connection() as connection:
            yield from self._fetch(connection, self._ordered_query(wanted, since_us, until_us))

    def _ordered_query(
        self, wanted: list[tuple[str, str]], since_us: int | None, until_us: int | None
    ) -> str:
        listed = ", ".join(f"({literal(part)}, {literal(file)})" for part, file in wanted)
        bounds = [
            f"(ts_us IS NULL OR ts_us {sign} {bound})"
            for sign, bound in ((">=", since_us), ("<", until_us))
            if bound is not None
        ]
        # A line that is no event has no time: it takes that of the event before it in its file.
        known = {part for part, _ in wanted}
        time_us = "ts_us"
        if any(part.damaged for part in self._parts if part.name in known):
            time_us = "coalesce(ts_us, max(ts_us) OVER (PARTITION BY filename, file ORDER BY line), 0)"
        source = part_source([part for part in self._parts if part.name in known]).removesuffix(")")
        return (
            f"SELECT part, file, line, data FROM (SELECT parse_filename(filename, true) AS part, file, line, "
            f"{LINE_BYTES} AS data, {time_us} AS time_us, ts_us IS NULL AS is_late, writer, seq "
            f"FROM {source}, filename=true) {'WHERE ' + ' AND '.join(bounds) if bounds else ''}) "
            f"WHERE (part, file) IN ({listed}) ORDER BY time_us, is_late, writer, seq, file, line"
        )


def _place(file: str) -> tuple[str, str, str, float]:
    path = Path(file)
    name = parse_file_name(path.name)
    return (path.parent.as_posix(), *(segment_order(name) if name is not None else (path.name, "", 0.0)))
