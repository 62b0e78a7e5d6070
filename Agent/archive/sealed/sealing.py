"""`seal` converts the finished segments of a session to Parquet and checks the result by reading it back.

A part is written to a temporary file, read back, synced, and created by one rename. After a kill, the parts
created so far are complete and `seal` continues from there. `reader` reads the parts.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from Agent.archive.sealed.part_file import LONG_LINE_BYTES, write_rows
from Agent.archive.sealed.parts import (
    FinishedSegment,
    Part,
    SealedSegment,
    archive_dir,
    drop_part,
    finished_segments,
    mark_removed,
    read_parts,
    removed_otherwise,
    usable_segments,
    write_part,
)
from Agent.archive.sealed.reader import cores, digests_of, open_connection, remove_stale_spills, unseal
from Agent.errors import DamagedInput, UsageError
from Agent.tree.files.descriptors import locked
from Agent.tree.files.lines import chunks_of
from Agent.tree.files.session import remove_half_written, sync_directory
from Agent.tree.layout import agents_dir, entries_in, make_private
from Agent.tree.links import refuse_links
from Agent.tree.retention import nothing_retired

PART_BYTES: Final = 96 * 1024 * 1024
"""Approximate size of the JSON lines in one part, which is in memory while it is written."""

LARGE_BYTES: Final = 2 * PART_BYTES
"""If a single file makes a part larger than this, parts are written one at a time."""

_LONG_WEIGHT: Final = 4
"""Long lines count this many times: what works on one holds several copies of it."""

MOST_WORKERS: Final = 4
"""Maximum number of workers; each has one part in memory."""

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Sealed:
    """The result of `seal`."""

    session: Path
    parts: list[str] = field(default_factory=list)
    """The new parts."""
    segments: int = 0
    lines: int = 0
    events: int = 0
    damaged: int = 0
    json_bytes: int = 0
    parquet_bytes: int = 0
    duration_s: float = 0.0
    already: int = 0
    """Number of segments that were already sealed."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Segments that cannot be sealed yet, with the reason."""
    removed: int = 0
    """Number of log files that were removed."""
    removed_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        shown = {name: getattr(self, name) for name in self.__slots__}
        return {**shown, "session": str(self.session)}


def seal(
    session: str | os.PathLike[str],
    remove: bool = False,
    *,
    part_bytes: int = PART_BYTES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Sealed:
    """Convert the finished segments of a session to Parquet in its `archive/`.

    Segments of running writers are skipped and listed in `waiting`. A sealed segment is sealed again only if
    its file has changed since.

    Args:
        session: the session's directory.
        remove: remove the JSON lines of every sealed segment afterwards, once it has been read back byte by
            byte; from then on the archive is the record.
        part_bytes: about how many bytes of JSON lines one Parquet file holds.
        progress: called with (bytes sealed, bytes to seal).

    Raises:
        SessionNotFound: the directory does not exist.
        UsageError: another process is sealing this session.
        DamagedInput: the archive does not read back identically; nothing was removed.
        MissingExtra: duckdb is not installed.
        OSError: the archive cannot be written.
    """
    path = Path(session)
    began = time.monotonic()
    finished, waiting = finished_segments(path)
    done = Sealed(path, waiting=waiting)
    directory = archive_dir(path)
    if not finished and not directory.is_dir():
        return done
    make_private(directory, exist_ok=True)
    with locked(directory) as is_alone, nothing_retired(path):
        if not is_alone:
            raise UsageError(
                "another process is sealing this session", path=path, remedy="wait for it and try again"
            )
        existing = tidy(path)
        sealed = {each.file for part in existing for each in part.segments if each.is_file(path / each.file)}
        open_ones = [each for each in finished if each.file not in sealed]
        done.already = len(finished) - len(open_ones)
        total = sum(each.size_bytes for each in open_ones)
        with contextlib.closing(_make_parts(path, directory, _groups(open_ones, part_bytes))) as parts:
            for part in parts:
                _count(done, part)
                progress(done.json_bytes, total)
        if remove:
            _remove(path, done)
    done.duration_s = round(time.monotonic() - began, 3)
    return done


def tidy(session: Path) -> list[Part]:
    """Remove the leftovers of a killed seal, and parts whose log files have changed."""
    refuse_links(session)
    remove_stale_spills(session)
    remove_half_written([*entries_in(session), *entries_in(agents_dir(session))])
    parts = []
    known_parts = read_parts(session)
    removed = removed_otherwise(session, known_parts)
    for part in known_parts:
        if part.json_removed and any(_is_changed(session, each) for each in part.segments):
            # use the changed file: sealing it again next to the old part would duplicate its events
            unseal(session, only=[part])
            drop_part(part)
        elif len(usable_segments(session, part)) == len(part.segments):
            parts.append(part)
        else:
            files = {segment.file for whose, segment in removed if whose is part}
            if files:
                unseal(session, only=[part], files=files)  # these lines exist nowhere else
            drop_part(part)
    names = {part.parquet.name for part in parts}
    for entry in entries_in(archive_dir(session)):
        unfinished = entry.name.startswith(".") and entry.name.endswith(".new")
        if unfinished or (entry.suffix == ".parquet" and entry.name not in names):
            entry.unlink()
    return parts


def _is_changed(session: Path, segment: SealedSegment) -> bool:
    """Return whether the log file exists and differs from what was sealed, for example after a recovery."""
    return segment.exists_in(session) and not segment.is_file(session / segment.file)


def _groups(segments: list[FinishedSegment], part_bytes: int) -> list[list[FinishedSegment]]:
    """Group segments by name, so by agent, into parts of at most that size.

    If there are several, they are of about equal size, and enough to keep all cores busy.
    """
    total = sum(map(_weight, segments))
    workers = min(cores(), MOST_WORKERS)
    rounds = math.ceil(total / part_bytes / workers)
    if total > part_bytes:
        largest = max(map(_weight, segments))
        part_bytes = min(part_bytes, total // (rounds * workers) + largest)
    groups: list[list[FinishedSegment]] = []
    size = part_bytes
    for segment in segments:
        if size + _weight(segment) > part_bytes:
            groups.append([])
            size = 0
        groups[-1].append(segment)
        size += _weight(segment)
    return groups


@lru_cache(maxsize=65_536)
def _weight(segment: FinishedSegment) -> int:
    """The size of a file, and a multiple of it if its first lines are long."""
    first = next(chunks_of(segment.path), b"")
    is_long = len(first) > LONG_LINE_BYTES * max(first.count(b"\n"), 1)
    return segment.size_bytes * (_LONG_WEIGHT if is_long else 1)


def _make_parts(session: Path, directory: Path, groups: list[list[FinishedSegment]]) -> Generator[Part]:
    """Write a part for each group; yields them in order of completion."""
    numbers = [int(part.name.removeprefix("part-")) for part in read_parts(session)]
    tasks = [
        partial(_make_part, directory=directory, name=f"part-{number:06d}", group=group)
        for number, group in enumerate(groups, max(numbers, default=0) + 1)
    ]
    # a part much larger than usual needs all the memory
    is_large = any(sum(map(_weight, group)) > LARGE_BYTES for group in groups)
    yield from side_by_side(session, tasks, 1 if is_large else 0)


def _make_part(connection: Any, directory: Path, name: str, group: list[FinishedSegment]) -> Part:
    aside = directory / f".{name}.parquet.new"
    try:
        part = write_rows(connection, group, aside, name)
        aside.rename(part.parquet)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(directory)
    write_part(part)
    return part


def side_by_side(
    session: Path, tasks: Sequence[Callable[[Any], _Result]], workers: int = 0
) -> Generator[_Result]:
    """Run tasks in parallel and yield their results in order of completion; each gets a DuckDB connection.

    One connection cannot keep two cores busy with a part: its tables have blocks of 100,000 rows, and work
    outside the engine runs on one thread.

    Args:
        session: its `.state` holds the engine's spill files.
        tasks: the functions to call, in any order.
        workers: how many run in parallel; default: the number of cores, at most 4.

    An exception of a task is re-raised here, and the other tasks are interrupted. They are also interrupted
    when the generator is closed; a caller that stops early has to close it.
    """
    number = max(min(workers or cores(), MOST_WORKERS, len(tasks)), 1)
    at_work: set[Any] = set()
    # so that no connection is closed during its interruption
    lock = threading.Lock()

    def work(task: Callable[[Any], _Result]) -> _Result:
        with open_connection(session, share=number) as connection:
            with lock:
                at_work.add(connection)
            try:
                return task(connection)
            finally:
                with lock:
                    at_work.discard(connection)

    pool = ThreadPoolExecutor(number, "agent-trace-seal")
    try:
        for done in as_completed([pool.submit(work, task) for task in tasks]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        with lock:
            for connection in at_work:
                connection.interrupt()
        pool.shutdown()


def _count(done: Sealed, part: Part) -> None:
    done.parts.append(part.name)
    done.segments += len(part.segments)
    done.lines += part.rows
    done.events += part.events
    done.damaged += part.damaged
    done.json_bytes += part.json_bytes
    done.parquet_bytes += part.size_bytes


def _remove(session: Path, done: Sealed) -> None:
    """Remove the log files of sealed segments, part by part, after reading each part back completely."""
    existing = read_parts(session)
    intact = {
        part.name: [each for each in part.segments if each.is_file(session / each.file)] for part in existing
    }
    parts = [part for part in existing if intact[part.name]]
    with contextlib.closing(side_by_side(session, [partial(_proven, part=part) for part in parts])) as proven:
        for part in proven:
            intact_part = intact[part.name]
            if not part.json_removed:
                mark_removed(part)
            done.removed += _unlink(session, intact_part)
            done.removed_bytes += sum(each.size_bytes for each in intact_part)


def _proven(connection: Any, part: Part) -> Part:
    """Check a part by reading it back, unless it replaces its log files; DamagedInput if it differs."""
    if not part.json_removed:
        digests = digests_of(connection, part)
        wrong = [each for each in part.segments if digests.get(each.file) != each.digest]
        if wrong:
            raise DamagedInput(
                f"{wrong[0].file} does not read back identically",
                path=part.parquet,
                remedy="nothing was removed; delete this part and its .json, and seal again",
            )
    return part


def _unlink(session: Path, segments: list[SealedSegment]) -> int:
    for segment in segments:
        (session / segment.file).unlink(missing_ok=True)
    for directory in {(session / segment.file).parent for segment in segments}:
        sync_directory(directory)
    return len(segments)
