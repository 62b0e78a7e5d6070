"""Lines out of an archive, byte for byte as they stood in their files, and the files themselves.

`reader` hands them to the tree's reader in the place of files that are no longer there.
"""

# ruff: noqa: S608 - statements are put together from names of this package; values are quoted
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from Agent.archive.sealed.parquet_rows import LINE_BYTES, literal
from Agent.archive.sealed.part_writer import DIGEST_BYTES, escaped, open_connection
from Agent.archive.sealed.parts import Part, SealedSegment, read_parts
from Agent.errors import DamagedInput
from Agent.tree.files.session import replacing, sync_directory
from Agent.tree.layout import DIRECTORY_MODE

__all__ = ["digests_of", "file_lines", "part_source", "unseal"]

_BATCH_ROWS: Final = 4096


def part_source(parts: Iterable[Part]) -> str:
    """The rows of some parts as a relation."""
    paths = ", ".join(literal(escaped(str(part.parquet))) for part in parts)
    return f"read_parquet([{paths}])"


def file_lines(
    connection: Any, part: Part, files: Sequence[str] | None = None
) -> Iterator[tuple[str, int, bytes]]:
    """(file, number, bytes) of a part's lines in the order of files and numbers; of some files, or of all.

    A part is about a hundred megabytes of lines at most; it is sorted, which may take as much memory.
    """
    wanted = "" if files is None else f"WHERE file IN ({', '.join(literal(name) for name in files)})"
    cursor = connection.cursor()
    try:
        cursor.execute(
            f"SELECT file, line, {LINE_BYTES} FROM {part_source([part])} {wanted} ORDER BY file, line"
        )
        while rows := cursor.fetchmany(_BATCH_ROWS):
            yield from rows
    finally:
        cursor.close()


def digests_of(connection: Any, part: Part) -> dict[str, str]:
    """The digest of each file of a part as it would be if it were written again."""
    by_name = {segment.file: segment for segment in part.segments}
    found: dict[str, str] = {}
    for file, lines in _by_file(file_lines(connection, part)):
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for chunk in _chunks(lines, by_name[file]):
            digest.update(chunk)
        found[file] = digest.hexdigest()
    return found


def _by_file(rows: Iterator[tuple[str, int, bytes]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    from itertools import groupby

    for file, group in groupby(rows, key=lambda row: row[0]):
        yield file, (row[2] for row in group)


def _chunks(lines: Iterator[bytes], segment: SealedSegment) -> Iterator[bytes]:
    """The bytes of a file from its lines, with the newlines that it had."""
    batch: list[bytes] = []
    for line in lines:
        if len(batch) == _BATCH_ROWS:
            yield b"\n".join(batch) + b"\n"
            batch = []
        batch.append(line)
    if batch:
        yield b"\n".join(batch) + (b"\n" if segment.ends_with_newline else b"")


def unseal(
    session: str | os.PathLike[str],
    into: str | os.PathLike[str] | None = None,
    *,
    only: Sequence[Part] | None = None,
) -> list[Path]:
    """Write the sealed files of a session again as they were, each checked against its digest.

    Args:
        session: the session's directory.
        into: the directory to write to; default: the session itself, where the files that still stand there
            are left alone.
        only: the parts whose files are wanted; default: all.

    Returns:
        The files written.

    Raises:
        DamagedInput: a file differs from what was sealed; it is not put in place.
    """
    path = Path(session)
    target = path if into is None else Path(into)
    written: list[Path] = []
    with open_connection(path) as connection:
        for part in read_parts(path) if only is None else only:
            by_name = {segment.file: segment for segment in part.segments}
            missing = [name for name in by_name if not (target / name).exists()]
            if not missing:
                continue
            for file, lines in _by_file(file_lines(connection, part, missing)):
                written.append(_restore(part, by_name[file], lines, target / file))
    return written


def _restore(part: Part, segment: SealedSegment, lines: Iterator[bytes], target: Path) -> Path:
    target.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with replacing(target) as file:
        for chunk in _chunks(lines, segment):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != segment.digest:
            raise DamagedInput(
                f"{segment.file} differs from what was sealed",
                path=part.parquet,
                remedy="take the archive from a copy",
            )
        file.flush()
        os.utime(file.fileno(), ns=(segment.mtime_ns, segment.mtime_ns))
    sync_directory(target.parent)
    return target
