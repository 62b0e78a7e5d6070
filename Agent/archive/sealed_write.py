"""One part on the way to the disk: segments in, a Parquet file out that was read back line by line.

`seal` decides which segments and makes the part known; what a row is stands in `parquet_rows`.
"""

# ruff: noqa: S608 - statements are put together from names of this package and quoted paths
from __future__ import annotations

import codecs
import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from Agent.archive.parquet_rows import (
    HEX_MARK,
    LINE_BYTES,
    TEXT_BYTES,
    copy_statement,
    literal,
    promoted_columns,
    rows_of,
)
from Agent.archive.sealed_files import Finished
from Agent.archive.sealed_parts import SealedSegment
from Agent.errors import DamagedInput, MissingExtra
from Agent.tree.layout import FILE_MODE
from Agent.tree.lines import first_id, open_file

__all__ = [
    "DIGEST_BYTES",
    "Written",
    "cores",
    "escaped",
    "file_digest",
    "open_connection",
    "remove_left_spills",
    "write_rows",
]

MEMORY_LIMIT_MB: Final = 1000
DIGEST_BYTES: Final = 32
_CHUNK_BYTES: Final = 1024 * 1024
_ODD: Final = (b"\r", b"\x00", b"\x01", HEX_MARK.encode())
_LEFT_S: Final = 3600.0
"""Another machine may have a process of that number that is at work on a shared disk."""
_LEAST_LINE_BYTES: Final = 2 * 1024 * 1024
_LEAST_BUFFER_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in a part that was written."""

    segments: tuple[SealedSegment, ...]
    verbatim: int
    digest: str
    promoted: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look at the bytes of a file says."""

    lines: int
    longest: int
    """Of the lines that are longer than a chunk the longest, in bytes; of others no more than a chunk."""
    digest: str
    ends_with_newline: bool
    is_odd: bool
    """Whether it holds bytes that are no text, or that DuckDB's reader of lines would take for its own."""


@contextlib.contextmanager
def open_connection(session: Path, share: int = 1) -> Iterator[Any]:
    """A DuckDB connection of bounded memory, whose overflow goes into the session's `.state` if it can.

    Args:
        session: its directory.
        share: of how many that work side by side it is one; each has its share of the memory, and one core.

    Raises:
        MissingExtra: duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("the archive needs duckdb", remedy="pip install duckdb") from error
    state = session / ".state"
    place = state if os.access(state, os.W_OK) else None
    spill = Path(tempfile.mkdtemp(prefix=f"spill-{os.getpid()}-", dir=place))
    try:
        connection = duckdb.connect(
            config={
                "memory_limit": f"{MEMORY_LIMIT_MB // share}MB",
                "autoinstall_known_extensions": False,
                "temp_directory": str(spill),
                "threads": cores() if share == 1 else 1,
                "async_threads": 1,
            }
        )
        try:
            yield connection
        finally:
            connection.close()
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def remove_left_spills(session: Path) -> None:
    """Take away what engines of killed processes left in `.state`, an hour after it was last written to."""
    for spill in (session / ".state").glob("spill-*"):
        pid = spill.name.split("-")[1]
        if pid.isdecimal() and not _runs(int(pid)) and time.time() - spill.stat().st_mtime > _LEFT_S:
            shutil.rmtree(spill, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_rows(connection: Any, group: list[Finished], target: Path) -> Written:
    """Write the rows of some segments into a new file, read it back, and bring it to the disk.

    Raises:
        DamagedInput: it does not read back as it was written, or a segment changed meanwhile.
    """
    with contextlib.ExitStack() as stack:
        seen = [_look_at(each.path) for each in group]
        sources = [
            _as_text(each.path, stack) if look.is_odd else each.path
            for each, look in zip(group, seen, strict=True)
        ]
        longest = max(_LEAST_LINE_BYTES, *(2 * look.longest + 2 for look in seen))
        _load(connection, sources, longest)
    _make_private(target)
    connection.execute(copy_statement(rows_of(_numbered(group, seen)), str(target)))
    _check(connection, group, seen, target)
    counts = _counts(connection, target)
    connection.execute("DROP TABLE sealed_lines")
    digest = file_digest(target, sync=True)
    segments = []
    for each, look in zip(group, seen, strict=True):
        status = each.path.lstat()
        if (status.st_size, status.st_mtime_ns) != (each.size_bytes, each.mtime_ns):
            raise DamagedInput(
                "the file changed while it was sealed",
                path=each.path,
                remedy="seal again when nobody writes it",
            )
        row = counts[each.file]
        segments.append(
            SealedSegment(
                file=each.file,
                size_bytes=each.size_bytes,
                lines=look.lines,
                events=row[1],
                damaged=row[2],
                digest=look.digest,
                ends_with_newline=look.ends_with_newline,
                mtime_ns=each.mtime_ns,
                first_id=first_id(each.path),
                agent_id=row[4],
                first_us=row[5],
                last_us=row[6],
            )
        )
    verbatim = sum(row[3] for row in counts.values())
    return Written(tuple(segments), verbatim, digest, promoted_columns())


def _look_at(path: Path) -> _Seen:
    """Read a file once: how many lines, the digest, and whether every byte of it is plain text."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    decoder = _Decoder()
    lines = longest = rest = 0
    is_odd = False
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            first = chunk.find(b"\n")
            longest = max(longest, rest + (len(chunk) if first < 0 else first))
            rest = rest + len(chunk) if first < 0 else len(chunk) - 1 - chunk.rfind(b"\n")
            lines += chunk.count(b"\n")
            is_odd = is_odd or any(byte in chunk for byte in _ODD) or not decoder.takes(chunk)
    return _Seen(
        lines=lines + (1 if rest else 0),
        longest=longest,
        digest=digest.hexdigest(),
        ends_with_newline=lines > 0 and not rest,
        is_odd=is_odd or not decoder.takes(b"", is_last=True),
    )


class _Decoder:
    """Whether bytes that come in chunks are UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def takes(self, chunk: bytes, *, is_last: bool = False) -> bool:
        # most chunks need no decoding, unless a character began in the one before
        if not is_last and chunk.isascii() and not self._decoder.getstate()[0]:
            return True
        try:
            self._decoder.decode(chunk, is_last)
        except UnicodeDecodeError:
            return False
        return True


def _as_text(path: Path, stack: contextlib.ExitStack) -> Path:
    """A copy in which lines that are no plain text stand in hexadecimal, behind a mark."""
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
    return HEX_MARK.encode() + line.hex().encode() if any(byte in line for byte in _ODD) else line


def _load(connection: Any, sources: list[Path], longest: int) -> None:
    """The lines of the files as a table, in their order; `rowid` then numbers them."""
    listed = ", ".join(literal(escaped(str(path))) for path in sources)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE sealed_lines AS SELECT file_index::BIGINT AS file_index, text FROM "
        f"read_csv([{listed}], columns={{text: 'VARCHAR'}}, delim={literal(chr(1))}, quote='', escape='', "
        f"header=false, auto_detect=false, new_line='\\n', comment='', max_line_size={longest}, "
        f"buffer_size={max(4 * longest, _LEAST_BUFFER_BYTES)})"
    )


def escaped(path: str) -> str:
    """A path in which nothing is a wildcard."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _numbered(group: list[Finished], seen: list[_Seen]) -> str:
    """The loaded lines with the names of their files and their numbers there."""
    names = ", ".join(literal(each.file) for each in group)
    starts = itertools.accumulate((look.lines for look in seen[:-1]), initial=0)
    before = ", ".join(map(str, starts))
    return (
        f"(SELECT ([{names}])[file_index + 1] AS file, coalesce(text, '') AS text, "
        f"rowid - ([{before}])[file_index + 1] + 1 AS line FROM sealed_lines)"
    )


def _make_private(target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def _check(connection: Any, group: list[Finished], seen: list[_Seen], target: Path) -> None:
    """Hold what the file gives back against what was loaded, and that against the files' bytes."""
    fingerprint = "count(*), sum(hash(line, data))::VARCHAR, sum(octet_length(data) + 1)"
    loaded = connection.execute(
        f"SELECT file, {fingerprint} FROM (SELECT file, line, {TEXT_BYTES} AS data "
        f"FROM {_numbered(group, seen)}) GROUP BY file"
    ).fetchall()
    back = connection.execute(
        f"SELECT file, {fingerprint} FROM (SELECT file, line, {LINE_BYTES} AS data "
        f"FROM read_parquet({literal(escaped(str(target)))})) GROUP BY file"
    ).fetchall()
    by_file = {row[0]: row[1:] for row in loaded}
    if by_file != {row[0]: row[1:] for row in back}:
        raise DamagedInput(
            "what was sealed does not read back as it was",
            path=target,
            remedy="the JSON lines are untouched; report this",
        )
    for each, look in zip(group, seen, strict=True):
        count, _, size = by_file.get(each.file, (0, "", 0))
        expected = each.size_bytes + (0 if look.ends_with_newline else 1)
        if (count, size) != (look.lines, expected):
            raise DamagedInput(
                f"{count} of {look.lines} lines were read while it was sealed",
                path=each.path,
                remedy="the JSON lines are untouched; report this",
            )


def _counts(connection: Any, target: Path) -> dict[str, tuple[Any, ...]]:
    """By file: events, damaged lines, events kept verbatim, first agent, first and last time."""
    blank = "regexp_full_match(TRY(decode(raw)), '\\s*')"
    rows = connection.execute(
        "SELECT file, count(event_type), count(*) FILTER (WHERE event_type IS NULL AND "
        f"NOT coalesce({blank}, false)), count(*) FILTER (WHERE event_type IS NOT NULL AND raw IS NOT NULL), "
        "arg_min(agent_id, line) FILTER (WHERE event_type IS NOT NULL), min(ts_us), max(ts_us) "
        f"FROM read_parquet({literal(escaped(str(target)))}) GROUP BY file"
    ).fetchall()
    return {row[0]: row for row in rows}


def file_digest(path: Path, *, sync: bool = False) -> str:
    """BLAKE2b of a file's bytes, which are brought to the disk if asked for."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()
