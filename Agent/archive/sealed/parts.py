"""The parts of an archive: a Parquet file each, and beside it a JSON file that says which segments it holds.

A part exists when its JSON file does, so one rename makes it and one unlink takes it away. `seal` makes
parts; `reader`, the views of `Agent.analysis` and what verifies and prunes ask `read_parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import orjson

from Agent.errors import DamagedInput
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import replace_durably, sync_directory
from Agent.tree.layout import entries_in

ARCHIVE_VERSION: Final = 1
_SUFFIX: Final = ".parquet"


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """One file of the recording as it was sealed."""

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
        """Whether the file that was sealed stands at `path`, as far as its size and first line say."""
        try:
            status = path.lstat()
        except OSError:
            return False
        if status.st_size != self.size_bytes:
            return False
        return status.st_mtime_ns == self.mtime_ns or first_id(path) == self.first_id


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file and what it holds."""

    name: str
    rows: int
    events: int
    damaged: int
    verbatim: int
    """Events whose line is kept as it stands, since it is not put together of columns."""
    size_bytes: int
    digest: str
    """BLAKE2b (32 bytes) of the Parquet file."""
    sealed_at: str
    segments: tuple[SealedSegment, ...]
    promoted: Mapping[str, str] = field(default_factory=dict)
    """Payload keys that are columns, with their types."""
    json_removed: bool = False
    """Whether this part is the record: its JSON lines were removed, or are about to be."""
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
        """The part that a JSON object describes; TypeError or KeyError if it does not."""
        known = {each.name for each in fields(cls)} - {"directory", "segments"}
        names = {each.name for each in fields(SealedSegment)}
        segments = tuple(
            SealedSegment(**{name: value for name, value in each.items() if name in names})
            for each in stored["segments"]
        )
        own = {name: value for name, value in stored.items() if name in known}
        return cls(segments=segments, directory=directory, **own)

    def to_object(self) -> dict[str, Any]:
        """As JSON, without the directory it lies in."""
        stored = asdict(self)
        del stored["directory"]
        return stored


def archive_dir(session: Path) -> Path:
    """Where the parts of a session lie."""
    return session / "archive"


def read_parts(session: Path) -> list[Part]:
    """The parts of a session by name; empty where nothing was sealed.

    Raises:
        DamagedInput: a part's description cannot be read, or its Parquet file is away.
    """
    descriptions = entries_in(archive_dir(session), ".json")
    return [_read_part(path) for path in descriptions if path.name.startswith("part-")]


def _read_part(path: Path) -> Part:
    try:
        part = Part.from_object(orjson.loads(path.read_bytes()), path.parent)
        # ours were made under this name; another would lead out of the directory
        if part.name != path.stem:
            raise DamagedInput(f"it describes {part.name!r}", path=path, remedy=_REMEDY)
        if part.archive_version > ARCHIVE_VERSION:
            raise DamagedInput(
                f"the archive is of version {part.archive_version}, this program knows {ARCHIVE_VERSION}",
                path=path,
                remedy="read it with a newer agent-trace",
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedInput(
            f"a part of the archive cannot be read: {error}", path=path, remedy=_REMEDY
        ) from None
    if not part.parquet.is_file():
        raise DamagedInput("a part of the archive is missing", path=part.parquet, remedy=_REMEDY)
    return part


_REMEDY = "restore it from a copy; if the JSON lines are still there, delete the archive and seal again"


def write_part(part: Part) -> None:
    """Make a part known, or replace its description, as a whole and on the disk."""
    path = part.directory / f"{part.name}.json"
    replace_durably(path, orjson.dumps(part.to_object(), option=orjson.OPT_APPEND_NEWLINE))


def drop_part(part: Part) -> None:
    """Take a part away: first what makes it known, then its rows."""
    (part.directory / f"{part.name}.json").unlink(missing_ok=True)
    sync_directory(part.directory)
    part.parquet.unlink(missing_ok=True)


def mark_removed(part: Part) -> Part:
    """Say on the disk that from now on this part is the record of its segments."""
    marked = replace(part, json_removed=True)
    write_part(marked)
    return marked


def usable_segments(session: Path, part: Part) -> tuple[SealedSegment, ...]:
    """What may be read from a part instead of JSON lines.

    Of a part that is the record: every segment. Of any other: those whose file still stands there as it was
    sealed; one that has changed, or that was taken away by somebody else, is not what the recording says.
    """
    if part.json_removed:
        return part.segments
    return tuple(each for each in part.segments if each.is_file(session / each.file))
