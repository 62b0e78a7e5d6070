"""The parts of an archive: a Parquet file each, with a JSON file that lists the segments in it.

A part exists if its JSON file does, so one rename creates it and one unlink removes it. After writing, it is
read back line by line; `parquet_rows` defines the rows. `sealing` chooses the segments and creates parts;
`reader`, the views of `Agent.analysis`, verifying and pruning use `read_parts`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import orjson

from Agent.errors import DamagedInput
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import (
    Claim,
    read_claims,
    record_of,
    replace_durably,
    sync_directory,
    why_unread,
)
from Agent.tree.layout import (
    LINK,
    SETTLED_NS,
    agents_dir,
    category_files,
    entries_in,
    existing,
    log_files,
    open_file,
    parse_file_name,
    read_file,
    scan,
)
from Agent.tree.read.removal_logs import RetiredAccount, read_account
from Agent.tree.write.artifacts import new_hash

ARCHIVE_VERSION: Final = 1
_SUFFIX: Final = ".parquet"


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """One log file as it was sealed."""

    file: str
    """Its path in the session, with `/`."""
    size_bytes: int
    lines: int
    """All lines, blank and damaged ones included."""
    events: int
    damaged: int
    digest: str
    """BLAKE2b (32 bytes) of the file's bytes."""
    ends_with_newline: bool
    mtime_ns: int
    first_id: str | None = None
    agent_id: str | None = None
    """The agent of its first event."""
    first_us: int | None = None
    last_us: int | None = None

    def is_file(self, path: Path) -> bool:
        """Return whether the file at `path` has the size and first line of the sealed file."""
        try:
            status = path.lstat()
        except OSError:
            return False
        if status.st_size != self.size_bytes:
            return False
        return status.st_mtime_ns == self.mtime_ns or first_id(path) == self.first_id

    def exists_at(self, path: Path) -> bool:
        """Return whether the file at `path` is the sealed file, even if it has grown or was edited since.

        Readers then use the file and skip the segment's rows, which would repeat its events. Another writer
        may have reused the name of a removed file; the id on the first line then differs.
        """
        if not os.path.lexists(path):
            return False
        if self.is_file(path):
            return True
        if self.first_id is not None:
            return first_id(path) == self.first_id
        return beginning_digest(path, self.size_bytes) == self.digest

    def path_in(self, directory: Path) -> Path:
        """Return the path to restore the file to: its own, or one with the writer's id if that is taken.

        Raises:
            DamagedInput: its name is taken, and its writer is unknown.
        """
        path = directory / self.file
        if self.exists_in(directory) and not self.exists_at(path):
            return directory / str(self.beside)
        if not os.path.lexists(path) or self.exists_at(path):
            return path
        if self.beside is None:
            raise DamagedInput(
                "another file took the name of a sealed one", path=path, remedy="move it out of the session"
            )
        return directory / self.beside

    def exists_in(self, directory: Path) -> bool:
        """Return whether the file exists below a directory, under either name."""
        if self.exists_at(directory / self.file):
            return True
        return self.beside is not None and os.path.lexists(directory / self.beside)

    @property
    def beside(self) -> str | None:
        """The name with the writer's id; None if it already has one, or the writer is unknown."""
        directory, _, base = self.file.rpartition("/")
        name = parse_file_name(base)
        if name is None or name.writer is not None or self.first_id is None:
            return None
        number = "" if name.segment is None else f".{name.segment}"
        ending = base.rpartition(".")[2]
        writer = split_event_id(self.first_id)[0]
        return f"{directory}{'/' if directory else ''}{name.stem}@{writer}{number}.{ending}"


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file and its segments."""

    name: str
    rows: int
    events: int
    damaged: int
    verbatim: int
    """Number of events whose line is stored as bytes, because the columns cannot reproduce it."""
    size_bytes: int
    digest: str
    """BLAKE2b (32 bytes) of the Parquet file."""
    sealed_at: str
    segments: tuple[SealedSegment, ...]
    promoted: Mapping[str, str] = field(default_factory=dict)
    """Payload keys that are columns, with their types."""
    json_removed: bool = False
    """Whether this part replaces its log files, which were removed or are about to be."""
    archive_version: int = ARCHIVE_VERSION
    directory: Path = Path()

    @property
    def parquet(self) -> Path:
        """The Parquet file."""
        return self.directory / f"{self.name}{_SUFFIX}"

    @property
    def json_bytes(self) -> int:
        """The size of the segments as JSON lines."""
        return sum(segment.size_bytes for segment in self.segments)

    @classmethod
    def from_object(cls, stored: Mapping[str, Any], directory: Path) -> Self:
        """Read a part from a JSON object; TypeError or KeyError if it is invalid."""
        segments = tuple(record_of(SealedSegment, each) for each in stored["segments"])
        part = record_of(cls, stored, segments=segments, directory=directory)
        _check_counts(part)
        for segment in segments:
            _check_counts(segment)
            _check_name(segment.file)
            if segment.first_id is not None:
                split_event_id(segment.first_id)
        if not all(isinstance(kind, str) for kind in part.promoted.values()):
            raise TypeError("promoted is not a table of types")
        return part

    def to_object(self) -> dict[str, Any]:
        """Return the part as JSON, without its directory."""
        stored = asdict(self)
        del stored["directory"]
        return stored


def _check_counts(stored: Part | SealedSegment) -> None:
    """ValueError for a number below 0."""
    for name in _names_of_counts(type(stored)):  # type: ignore[arg-type]
        value = getattr(stored, name)
        if type(value) is int and value < 0:
            raise ValueError(f"{name} is {value}")


@cache
def _names_of_counts(cls: type[Part | SealedSegment]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls) if not each.name.endswith("_us"))


def _check_name(file: str) -> None:
    """ValueError for a name that no log file of a session has, such as one outside of its directory."""
    base = file.rpartition("/")[2]
    if file not in {base, f"agents/{base}"} or parse_file_name(base) is None or "\0" in base:
        raise ValueError(f"{file!r} is not the name of a log file")


def archive_dir(session: Path) -> Path:
    """Directory of a session's parts."""
    return session / "archive"


def read_parts(session: Path, damaged: list[DamagedInput] | None = None) -> list[Part]:
    """Read the parts of a session, sorted by name; empty if nothing was sealed.

    Args:
        session: the session's directory.
        damaged: collects the errors of damaged parts, which are then left out.

    Raises:
        DamagedInput: a part's description cannot be read, or its Parquet file is missing, empty or a link.
    """
    parts = []
    for path in entries_in(archive_dir(session), ".json", "part-"):
        try:
            parts.append(_read_part(path))
        except DamagedInput as error:
            if damaged is None:
                raise
            damaged.append(error)
    return parts


def _read_part(path: Path) -> Part:
    try:
        status = path.lstat()
        if time.time_ns() - status.st_ctime_ns < SETTLED_NS:
            part = _described_by(path)
        else:
            part = _known_part(path, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedInput(
            f"a part of the archive cannot be read: {why_unread(error)}", path=path, remedy=OF_PART
        ) from None
    try:
        status = part.parquet.lstat()
        problem = LINK if stat.S_ISLNK(status.st_mode) else "not a plain file"
        if stat.S_ISREG(status.st_mode):
            problem = "" if status.st_size else "empty"
    except FileNotFoundError:
        problem = "missing"
    if problem:
        raise DamagedInput(f"a part of the archive is {problem}", path=part.parquet, remedy=OF_PART)
    return part


def _described_by(path: Path) -> Part:
    part = Part.from_object(orjson.loads(read_file(path)), path.parent)
    # parts are created under this name; another name could lead out of the directory
    if part.name != path.stem:
        raise DamagedInput(f"it describes {part.name!r}", path=path, remedy=OF_PART)
    if part.archive_version > ARCHIVE_VERSION:
        raise DamagedInput(
            f"the archive is of version {part.archive_version}, this program knows {ARCHIVE_VERSION}",
            path=path,
            remedy="read it with a newer agent-trace",
        )
    return part


@lru_cache(maxsize=256)
def _known_part(path: Path, *_state: int) -> Part:
    """The part of a description in this state; each reader of a session asks for its parts several times."""
    return _described_by(path)


def damaged(message: str, path: Path) -> DamagedInput:
    """Return an error about a file that only a copy can restore."""
    return DamagedInput(message, path=path, remedy="restore it from a copy")


OF_PART: Final = (
    "restore it from a copy; if the JSON lines are still there, delete the archive and seal again"
)
"""The remedy for a damaged part."""


def write_part(part: Part) -> None:
    """Write or replace a part's description atomically, synced to the disk."""
    path = part.directory / f"{part.name}.json"
    replace_durably(path, orjson.dumps(part.to_object(), option=orjson.OPT_APPEND_NEWLINE))


def drop_part(part: Part) -> None:
    """Remove a part: first its description, then its Parquet file."""
    (part.directory / f"{part.name}.json").unlink(missing_ok=True)
    sync_directory(part.directory)
    part.parquet.unlink(missing_ok=True)


def mark_removed(part: Part) -> Part:
    """Record on the disk that from now on this part replaces its log files."""
    marked = replace(part, json_removed=True)
    write_part(marked)
    return marked


SegmentOfPart = tuple[Part, SealedSegment]


def segments_only_archived(session: Path, parts: Sequence[Part]) -> list[SegmentOfPart]:
    """Return the segments that only the archive has, because their log files were removed.

    Raises:
        DamagedInput: the account of retired events is needed, and cannot be read.
    """
    names = _names_in(session) if parts else frozenset()
    named_by_writer = frozenset(name for name in names if "@" in name)
    segments = [
        (part, segment)
        for part in parts
        if part.json_removed
        for segment in part.segments
        if not (
            (segment.file in names or (named_by_writer and segment.beside in named_by_writer))
            and segment.exists_in(session)
        )
    ]
    return segments + removed_otherwise(session, parts)


def _names_in(session: Path) -> frozenset[str]:
    """The names in a session's directories of log files, as segments have them."""
    in_agents = (f"agents/{entry.name}" for entry in scan(agents_dir(session)))
    return frozenset([*(entry.name for entry in scan(session)), *in_agents])


def removed_otherwise(
    session: Path, parts: Sequence[Part], is_present: Callable[[str], bool] = lambda _: False
) -> list[SegmentOfPart]:
    """Return the segments whose log files were removed, but neither by `seal --remove` nor by retention.

    If several parts have a segment, the last one counts, and none if one of them replaces its log files.

    Args:
        session: the session's directory.
        parts: its parts.
        is_present: whether a log file of that name is known to exist, to save asking the system.

    Raises:
        DamagedInput: the account of retired events is needed, and cannot be read.
    """
    missing: dict[tuple[str, str | None], SegmentOfPart] = {}
    for part in parts:
        for segment in () if part.json_removed else part.segments:
            names = [name for name in (segment.file, segment.beside) if name is not None]
            if not any(is_present(name) or os.path.lexists(session / name) for name in names):
                missing[segment.file, segment.first_id] = part, segment
    if not missing:
        return []
    for part in parts:
        for segment in part.segments if part.json_removed else ():
            missing.pop((segment.file, segment.first_id), None)
    account = read_account(session)
    return [pair for pair in missing.values() if not is_retired(pair[1].first_id, account)]


def is_retired(first_id: str | None, account: RetiredAccount) -> bool:
    """Return whether retention removed a file, or is about to; if it has no event, whether any was removed.

    Args:
        first_id: the id of its first event; None if it has none.
        account: what was removed from the session.
    """
    if first_id is None:
        return bool(account.files or account.removing)
    try:
        writer, seq = split_event_id(first_id)
    except ValueError:
        return False
    return seq in account.numbers.get(writer, ())


def usable_segments(session: Path, part: Part) -> tuple[SealedSegment, ...]:
    """Return the segments that may be read from a part instead of from log files.

    All segments if the part replaces its log files; else those whose file still exists as it was sealed. A
    changed or missing file means that its rows are outdated.
    """
    if part.json_removed:
        return part.segments
    return tuple(each for each in part.segments if each.is_file(session / each.file))


_WILD: Final = str.maketrans({char: f"[{char}]" for char in "*?["})


def escaped(path: str) -> str:
    """Escape wildcards in a path: otherwise `a?b.log` would also match `aXb.log`."""
    return path.translate(_WILD)


def file_digest(path: Path, *, sync: bool = False) -> str:
    """Return the BLAKE2b digest of a file's bytes, optionally syncing the file to the disk."""
    import hashlib  # loads OpenSSL, which questions do not need

    with os.fdopen(open_file(path)[0], "rb") as file:
        digest = hashlib.file_digest(file, new_hash).hexdigest()
        if sync:
            os.fsync(file.fileno())
    return digest


def beginning_digest(path: Path, size_bytes: int) -> str | None:
    """The digest of the first bytes of a file; None if the file is shorter."""
    try:
        fd, status = open_file(path)
    except OSError:
        return None  # the file is missing
    hasher = new_hash()
    with os.fdopen(fd, "rb") as file:
        if status.st_size < size_bytes:
            return None
        while size_bytes > 0 and (chunk := file.read(min(size_bytes, _TAIL_BYTES))):
            hasher.update(chunk)
            size_bytes -= len(chunk)
    return hasher.hexdigest()


_TAIL_BYTES: Final = 64 * 1024


class FinishedSegment(NamedTuple):
    """A file that no process writes to any more."""

    file: str
    path: Path
    size_bytes: int
    mtime_ns: int


def finished_segments(session: Path) -> tuple[list[FinishedSegment], dict[str, str]]:
    """The session's files whose writer has ended, by name; empty ones are left out.

    Returns:
        The files that can be sealed, and those that cannot with the reason.

    Raises:
        SessionNotFound: the directory does not exist.
    """
    finished, waiting = [], {}
    running = _running_writers(existing(session))
    for path in log_files(session):  # a run's own events stay the plain file that people read
        try:
            status = path.lstat()
        except FileNotFoundError:  # rolled since it was listed, so its writer runs
            continue
        file = path.relative_to(session).as_posix()
        if path.is_symlink() or not status.st_size:
            continue
        writer = writer_of(path)
        if writer in running or (writer is None and running):
            claim = running.get(writer or "") or next(iter(running.values()))
            waiting[file] = f"writer {claim.writer} (process {claim.pid}) still runs"
            continue
        finished.append(FinishedSegment(file, path, status.st_size, status.st_mtime_ns))
    return finished, waiting


def _running_writers(session: Path) -> dict[str, Claim]:
    """Return the writers whose process runs and that have no `log.closed` event."""
    alive = {writer: claim for writer, claim in read_claims(session).items() if claim.is_alive()}
    if alive:
        for writer in _closed_writers(category_files(session, "system")):
            alive.pop(writer, None)
    return alive


def _closed_writers(files: Iterable[Path]) -> set[str]:
    """Return the writers whose `log.closed` event is at the end of one of these files."""
    closed = set()
    for path in files:
        try:
            fd, status = open_file(path)
        except OSError:
            # Rolled, or unreadable: then its writer counts as running, and its files are listed as waiting.
            continue
        try:
            os.lseek(fd, max(status.st_size - _TAIL_BYTES, 0), os.SEEK_SET)
            lines = os.read(fd, _TAIL_BYTES).split(b"\n")
        finally:
            os.close(fd)
        for line in lines:
            if b'"log.closed"' in line:
                try:
                    event = decode_line(line)
                except DamagedLine:
                    continue  # cut at the start of reading, or torn, so not a `log.closed`
                if event.kind == "log.closed":
                    closed.add(event.writer)
    return closed


def writer_of(path: Path) -> str | None:
    """Return the writer of a file: from its first event, else from its name; None if unknown."""
    event_id = first_id(path)
    if event_id is not None:
        return split_event_id(event_id)[0]
    name = parse_file_name(path.name)
    return None if name is None else name.writer
