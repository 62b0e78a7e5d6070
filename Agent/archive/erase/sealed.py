"""Erasing from an archive: parts that are the record are written again, those that are a cache are dropped.

A new part takes the place of the old one under the same name: first its rows, then its description. Whoever
reads in between reads the new rows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from Agent.archive.erase.lines import FoundLines
from Agent.archive.erase.target import Target
from Agent.archive.sealed.part_writer import open_connection, write_rows
from Agent.archive.sealed.parts import (
    Part,
    archive_dir,
    drop_part,
    read_parts,
    sync_directory,
    write_part,
)
from Agent.archive.sealed.sealable_files import Finished
from Agent.archive.sealed.sealed_lines import file_lines
from Agent.event.clock import format_timestamp
from Agent.tree.layout import DIRECTORY_MODE, FILE_MODE

__all__ = [
    "drop_stale_parts",
    "files_in_parts",
    "find_sealed",
    "finish_sealing",
    "rewrite_part",
    "sealed_lines",
]


def finish_sealing(session: Path) -> None:
    """Remove the files that a killed `seal --remove` left beside the part that is their record."""
    for part in read_parts(session):
        for segment in part.segments if part.json_removed else ():
            path = session / segment.file
            if segment.is_file(path):
                path.unlink()
    directory = archive_dir(session)
    known = {part.parquet.name for part in read_parts(session)}
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        if path.name.endswith(".new") or (path.suffix == ".parquet" and path.name not in known):
            path.unlink()


def find_sealed(session: Path, target: Target, found: FoundLines) -> None:
    """Find what goes in the parts that are the record.

    Raises:
        DamagedInput: a part cannot be read.
        MissingExtra: duckdb is not installed.
    """
    parts = [part for part in read_parts(session) if part.json_removed]
    if not parts:
        return
    session_id = session.name.removeprefix("session_")
    with open_connection(session) as connection:
        for part in parts:
            hit = False
            for _, _, line in file_lines(connection, part):
                kept, event = target.judge(line, session_id)
                if kept is not line:
                    hit = True
                    found.note(event, "root")
            # A kill may have left new rows under the old description.
            if hit or part.size_bytes != part.parquet.stat().st_size or _is_named(part, target):
                found.parts.append(part.name)


def _is_named(part: Part, target: Target) -> bool:
    """Whether the description names what goes."""
    return any(
        (target.kind == "agent" and segment.agent_id == target.value)
        or target.is_named_by(f"{segment.agent_id or ''}\n{segment.file}")
        for segment in part.segments
    )


def drop_stale_parts(session: Path, found: FoundLines) -> bool:
    """Drop the parts that hold a copy of files that lose lines; whether there were any."""
    going = {path.relative_to(session).as_posix() for path in found.files}
    stale = [
        part
        for part in read_parts(session)
        if not part.json_removed and any(segment.file in going for segment in part.segments)
    ]
    for part in stale:
        drop_part(part)
    return bool(stale)


def rewrite_part(session: Path, name: str, target: Target) -> None:
    """Write a part again without what goes; one of which nothing is left is dropped.

    Raises:
        DamagedInput: it cannot be read, or does not read back as it was written; it is as it was.
        OSError: it cannot be replaced.
    """
    part = next((each for each in read_parts(session) if each.name == name), None)
    if part is None:
        return
    place = archive_dir(session) / f".{name}.{os.getpid()}.erasing"
    place.mkdir(mode=DIRECTORY_MODE)
    try:
        with open_connection(session) as connection:
            group = _extracted(connection, part, session, target, place)
            if not group:
                drop_part(part)
                return
            aside = part.directory / f".{name}.parquet.new"
            aside.unlink(missing_ok=True)
            try:
                written = write_rows(connection, group, aside)
                size_bytes = aside.stat().st_size
                aside.rename(part.parquet)
            finally:
                aside.unlink(missing_ok=True)
    finally:
        shutil.rmtree(place)
    sync_directory(part.directory)
    write_part(
        replace(
            part,
            rows=sum(each.lines for each in written.segments),
            events=sum(each.events for each in written.segments),
            damaged=sum(each.damaged for each in written.segments),
            verbatim=written.verbatim,
            size_bytes=size_bytes,
            digest=written.digest,
            sealed_at=format_timestamp(time.time_ns() // 1000),
            segments=written.segments,
            promoted=written.promoted,
        )
    )


def _extracted(connection: Any, part: Part, session: Path, target: Target, place: Path) -> list[Finished]:
    """The files of a part without what goes, written beside it; empty ones are left out."""
    session_id = session.name.removeprefix("session_")
    by_name = {segment.file: segment for segment in part.segments}
    found = []
    lines = file_lines(connection, part)
    for number, (file, rows) in enumerate(groupby(lines, key=lambda row: row[0])):
        path = place / f"{number}.log"
        size_bytes = _write(path, (target.judge(row[2], session_id).kept for row in rows))
        if size_bytes:
            mtime_ns = by_name[file].mtime_ns
            os.utime(path, ns=(mtime_ns, mtime_ns))
            found.append(Finished(file, path, size_bytes, mtime_ns))
    return found


def _write(path: Path, lines: Iterable[bytes | None]) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    size_bytes = 0
    with os.fdopen(fd, "wb") as file:
        for line in lines:
            if line is not None:
                size_bytes += file.write(line + b"\n")
    return size_bytes


def files_in_parts(session: Path, names: Collection[str]) -> Iterator[str]:
    """The names of the files in some parts."""
    for part in read_parts(session):
        yield from (segment.file for segment in part.segments if part.name in names)


def sealed_lines(session: Path) -> Iterator[tuple[Path, bytes]]:
    """Every line of every part, with the part's file; DamagedInput where one cannot be read."""
    parts = read_parts(session)
    if not parts:
        return
    with open_connection(session) as connection:
        for part in parts:
            for _, _, line in file_lines(connection, part):
                yield part.parquet, line
