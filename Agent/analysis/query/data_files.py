"""Find the files and the parts of the archive that hold a session's lines at this moment.

`engine` calls this before and after each query; a sealed, unchanged segment is read from the archive.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from Agent.analysis.query.views import LINES, LIVE, OLDER, SEALED, VERBATIM
from Agent.archive.sealed.parquet_rows import literal, promoted_columns
from Agent.archive.sealed.parts import (
    Part,
    SealedSegment,
    escaped,
    removed_otherwise,
)
from Agent.archive.sealed.reader import Listing
from Agent.tree.layout import agents_dir, is_text, open_file, parse_file_name, runs_dir, safe_name, tree_files

PATTERNS: Final = (LIVE, SEALED, OLDER, VERBATIM)
"""The forms whose files DuckDB opens."""
_BLANK: Final = b" \t\n\f\r"


class Standing(NamedTuple):
    """The state of a file when it was listed; `inode` is -1 if there was no file of that name."""

    inode: int
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of each form."""

    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The files of `PATTERNS`, as glob patterns with all wildcards escaped."""
    lines: tuple[tuple[str, int, int, int], ...] = ()
    """Files that `_columns` reads: path, inode, size in bytes, time of the last change."""
    only: str = ""
    """An SQL condition on rows of the archive, if only some rows of a part are read."""
    uniform: bool = False
    """Whether every row of the archive is an event stored in columns, without its original line."""
    damaged: tuple[tuple[str, int], ...] = ()
    """(file, count) of damaged lines in the archive, and in files for which the engine returns no row."""
    standing: Mapping[Path, Standing] = field(default_factory=dict, compare=False)
    """The file under each live name at listing time, in the order of its patterns."""
    is_whole: bool = field(default=True, compare=False)
    """False if a file was rolled, removed or sealed between listing the names and looking at the files."""

    def of(self, form: str) -> tuple[str, ...]:
        """The patterns of a form."""
        return self.patterns.get(form, ())

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that have files."""
        return (*filter(self.of, PATTERNS), *([LINES] if self.lines else []))

    @property
    def statement(self) -> tuple[tuple[str, ...], str, bool]:
        """Everything besides file names that the SQL over these files depends on."""
        return self.forms, self.only, self.uniform

    def set_apart(self, session: Path, odd: Collection[str]) -> Sources:
        """Return the sources with all live files in `lines`, except those that `_columns` cannot read."""
        live, lines = [], []
        root = f"{session.resolve()}{os.sep}"
        for name, listed, pattern in zip(
            _below(session, self.standing), self.standing.values(), self.of(LIVE), strict=True
        ):
            text = root + name
            if listed.inode < 0 or text in odd or not is_text(text):
                live.append(pattern)
            elif listed.size_bytes:
                lines.append((text, *listed))
        # empty files hold no lines, but DuckDB reads nothing without a file
        patterns = {**self.patterns, LIVE: tuple(live)} if live or lines else self.patterns
        return replace(self, patterns=patterns, lines=tuple(lines))


def files_of(session: Path) -> Listing[Path]:
    """The files of a session; not cached if runs have their own directories."""
    return Listing(
        lambda: [] if os.path.lexists(runs_dir(session)) else [session, agents_dir(session)],
        lambda: tree_files(session),
    )


class KnownSources:
    """The sources of a session, cached until a file appears, disappears, grows or changes.

    Nothing writes to a sealed segment, so its state is checked only once a second, and whenever a name in the
    watched directories changes.

    Args:
        As for `find_sources`.
    """

    def __init__(
        self,
        session: Path,
        list_files: Callable[[], Sequence[Path]],
        agent_id: str | None = None,
        *,
        parts: Listing[Part] | None = None,
    ) -> None:
        self._session = session
        self._list_files = list_files
        self._agent_id = agent_id
        self._parts = parts
        self._found = Sources()
        self._listed: tuple[Sequence[Path], list[Part]] | None = None
        self._looked_s = -_UNSEEN_S

    def find(self) -> Sources:
        """Return the current sources, as `find_sources` does."""
        for _ in range(_LOOKS):
            # files first: a file that is sealed and removed in between is then in both lists
            files, parts = self._list_files(), [] if self._parts is None else self._parts.read()
            if self._holds(files, parts):
                break
            self._looked_s = time.monotonic()
            self._found = find_sources(self._session, files, self._agent_id, parts=parts)
            self._listed = files, parts
            if self._found.is_whole:
                break
        return self._found

    def size_bytes(self) -> int:
        """The size of all lines as last found; of sealed ones, before they were sealed."""
        files = (self._found if self._listed else self.find()).standing.values()
        _, parts = self._listed or ((), [])
        sealed = (segment.size_bytes for part in parts for segment in part.segments)
        return sum(listed.size_bytes for listed in files) + sum(sealed)

    def _holds(self, files: Sequence[Path], parts: list[Part]) -> bool:
        """Whether the cached sources are still current."""
        if self._listed is None or time.monotonic() - self._looked_s >= _UNSEEN_S:
            return False
        known_files, known_parts = self._listed
        # compared by identity: `Listing` returns the same list only if no name changed
        if files is not known_files or parts is not known_parts:
            return False
        return all(standing_at(path) == listed for path, listed in self._found.standing.items())


_LOOKS: Final = 3
_UNSEEN_S: Final = 1.0
"""For how long an in-place change of a sealed file, made by hand, may go unnoticed."""


def find_sources(
    session: Path, files: Iterable[Path], agent_id: str | None = None, *, parts: Sequence[Part] = ()
) -> Sources:
    """Find the current files and archive parts that hold the lines of a session, or of one agent.

    Args:
        session: its directory.
        files: those that may be read.
        agent_id: read only this agent's rows of the archive; None for all.
        parts: parts of its archive that may be read.
    """
    listed = {path: listing for path in files if (listing := standing_at(path)) is not None}
    is_whole = all(listing.inode != -1 for listing in listed.values())
    if not parts:
        return Sources(
            {LIVE: _patterns(session, listed)},
            standing=listed,
            damaged=tuple(_of_one_byte(session, listed)),
            is_whole=is_whole,
        )
    wanted = _wanted(session, agent_id)
    # as text, not as Path: there may be tens of thousands of files, for every query
    names = dict(zip(_below(session, listed), listed.items(), strict=True))
    removed = removed_otherwise(session, parts, names.__contains__)
    gone = {(part.name, segment.file) for part, segment in removed}
    instead: set[str] = set()
    read: list[tuple[Part, list[SealedSegment]]] = []
    for part in parts:
        chosen = [each for each in part.segments if wanted(each)]
        standing = {each.file for each in chosen if _is_sealed(each, names.get(each.file))}
        instead |= standing
        # from the sealed cache only unchanged files; segments whose file was removed always
        segments = [
            each
            for each in chosen
            if each.file in standing
            or (part.name, each.file) in gone
            or (part.json_removed and not _is_read_instead(each, names))
        ]
        if segments:
            read.append((part, segments))
    by_form = by_columns(part for part, _ in read).items()
    live = dict(pair for name, pair in names.items() if name not in instead)
    return Sources(
        {form: _patterns(session, (part.parquet for part in of)) for form, of in by_form}
        | {LIVE: _patterns(session, live)},
        standing=live,
        only=_only(session, read),
        uniform=all(part.rows == part.events and not part.verbatim for part, _ in read),
        damaged=(
            *(
                (str(session.resolve() / each.file), each.damaged)
                for _, segments in read
                for each in segments
                if each.damaged
            ),
            *_of_one_byte(session, live),
        ),
        is_whole=is_whole,
    )


def by_columns(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts of an archive by the forms of their rows, which depend on their promoted columns."""
    found: dict[str, list[Part]] = {SEALED: [], OLDER: [], VERBATIM: []}
    for part in parts:
        found[SEALED if dict(part.promoted) == promoted_columns() else OLDER].append(part)
        found[VERBATIM] += [part] if part.verbatim else []
    return found


def _of_one_byte(session: Path, files: Mapping[Path, Standing]) -> Iterator[tuple[str, int]]:
    """Files of one non-blank byte: a damaged line for which DuckDB's JSON reader returns no row."""
    for path, listed in files.items():
        if listed.size_bytes == 1:
            # if the file disappeared or grew, the next query lists it again
            with contextlib.suppress(OSError), os.fdopen(open_file(path)[0], "rb") as file:
                if len(held := file.read(2)) == 1 and held not in _BLANK:
                    yield str(session.resolve() / path.relative_to(session)), 1


def _is_sealed(segment: SealedSegment, listed: tuple[Path, Standing] | None) -> bool:
    """Whether the file of that name is the one that was sealed (`SealedSegment.is_file`)."""
    if listed is None or listed[1].size_bytes != segment.size_bytes:
        return False
    path, standing = listed
    return standing.mtime_ns == segment.mtime_ns or segment.is_file(path)


def _is_read_instead(segment: SealedSegment, names: Mapping[str, tuple[Path, Standing]]) -> bool:
    """Whether a live file with the segment's lines is read, so that the archive must not add them again."""
    listed = names.get(segment.file)
    return (listed is not None and segment.exists_at(listed[0])) or segment.beside in names


def _wanted(session: Path, agent_id: str | None) -> Callable[[SealedSegment], bool]:
    if agent_id is None:
        return lambda _: True
    stem = safe_name(agent_id)
    directory = agents_dir(session).relative_to(session).as_posix()

    def is_the_agents(segment: SealedSegment) -> bool:
        """Whether a segment belongs to the agent."""
        place, _, name = segment.file.rpartition("/")
        parsed = parse_file_name(name)
        return place == directory and parsed is not None and parsed.stem == stem

    return is_the_agents


def _only(session: Path, read: list[tuple[Part, list[SealedSegment]]]) -> str:
    """A condition for the rows to read if the parts have others; its constants let DuckDB skip row groups."""
    if all(len(segments) == len(part.segments) for part, segments in read):
        return ""
    files = sorted({each.file for _, segments in read for each in segments})
    condition = f"file IN ({', '.join(map(literal, files))})"
    for part, segments in read:
        gone = {each.file for each in part.segments}.difference(each.file for each in segments)
        beside = sorted(gone.intersection(files))
        if beside:
            # the same file name was sealed again in another part
            place = literal(str(session.resolve() / part.parquet.relative_to(session)))
            condition += f" AND NOT (filename = {place} AND file IN ({', '.join(map(literal, beside))}))"
    return condition


def _patterns(session: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    resolved = escaped(f"{session.resolve()}{os.sep}")
    return tuple(resolved + escaped(name) for name in _below(session, paths))


def _below(session: Path, paths: Iterable[Path]) -> Iterator[str]:
    """The paths relative to the session, as text."""
    root = f"{session}{os.sep}"
    for path in paths:
        text = str(path)
        yield text[len(root) :] if text.startswith(root) else str(path.relative_to(session))


def standing_at(path: Path) -> Standing | None:
    """The state of the file of that name; None for anything but a regular file, such as a symbolic link."""
    try:
        status = os.lstat(path)
    except OSError:
        # keep it in the list, so that reading the file reports the error
        return Standing(-1, 0, 0)
    if not stat.S_ISREG(status.st_mode):
        return None
    return Standing(status.st_ino, status.st_size, status.st_mtime_ns)
