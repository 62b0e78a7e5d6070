"""Where a session's lines lie at this moment: in which files, in which parts of its archive.

`engine` asks before and after each query; a segment that is sealed and unchanged is read from the archive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from Agent.analysis.legs import LIVE, OLDER, SEALED, VERBATIM
from Agent.archive.parquet_rows import literal, promoted_columns
from Agent.archive.sealed_parts import Part, SealedSegment, read_parts
from Agent.tree.layout import agents_dir, parse_file_name, safe_name

__all__ = ["Sources", "Standing", "escape", "find_sources", "standing_at"]

FORMS: Final = (LIVE, SEALED, OLDER, VERBATIM)
_WILD: Final = str.maketrans({char: f"[{char}]" for char in "*?["})


class Standing(NamedTuple):
    """One file as it was when files were listed; `inode` is -1 where none stood under its name."""

    inode: int
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of each form, as patterns in which nothing is a wildcard."""

    live: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    verbatim: tuple[str, ...] = ()
    only: str = ""
    """A condition on rows of the archive, where not all of a part are to be read."""
    damaged: tuple[tuple[str, int], ...] = ()
    """(file, count) of the damaged lines in the archive."""
    standing: Mapping[Path, Standing] = field(default_factory=dict, compare=False)
    """Which file stood under each live name when they were listed, in the order of `live`."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that there are."""
        return tuple(form for form in FORMS if getattr(self, form))


def find_sources(
    session: Path,
    list_files: Callable[[], Sequence[Path]],
    agent_id: str | None = None,
    *,
    archive: bool = True,
) -> Sources:
    """Where the lines of a session, or of one agent's files, lie now.

    Args:
        session: its directory.
        list_files: the files that may be read.
        agent_id: whose rows are wanted of the archive; None for all.
        archive: whether there may be one.
    """
    listed = {path: found for path in list_files() if (found := standing_at(path)) is not None}
    parts = read_parts(session) if archive else []
    if not parts:
        return Sources(live=_patterns(session, listed), standing=listed)
    wanted = _wanted(session, agent_id)
    instead: set[Path] = set()
    read: list[tuple[Part, list[SealedSegment]]] = []
    for part in parts:
        chosen = [each for each in part.segments if wanted(each)]
        standing = {each.file for each in chosen if each.is_file(session / each.file)}
        instead |= {session / file for file in standing}
        # of a cache only what still stands there unchanged; of the record everything
        segments = chosen if part.json_removed else [each for each in chosen if each.file in standing]
        if segments:
            read.append((part, segments))
    promoted = promoted_columns()
    fitting = [part for part, _ in read if dict(part.promoted) == promoted]
    live = {path: found for path, found in listed.items() if path not in instead}
    return Sources(
        live=_patterns(session, live),
        standing=live,
        sealed=_patterns(session, (part.parquet for part in fitting)),
        older=_patterns(session, (part.parquet for part, _ in read if part not in fitting)),
        verbatim=_patterns(session, (part.parquet for part, _ in read if part.verbatim)),
        only=_only(session, read),
        damaged=tuple(
            (str(session.resolve() / each.file), each.damaged)
            for _, segments in read
            for each in segments
            if each.damaged
        ),
    )


def _wanted(session: Path, agent_id: str | None) -> Callable[[SealedSegment], bool]:
    if agent_id is None:
        return lambda _: True
    stem = safe_name(agent_id)
    directory = agents_dir(session).relative_to(session).as_posix()

    def is_the_agents(segment: SealedSegment) -> bool:
        """Whether a segment is one of the agent's own."""
        place, _, name = segment.file.rpartition("/")
        parsed = parse_file_name(name)
        return place == directory and parsed is not None and parsed.stem == stem

    return is_the_agents


def _only(session: Path, read: list[tuple[Part, list[SealedSegment]]]) -> str:
    """Which rows are meant, where a part holds others too; constants, so that row groups are skipped."""
    if all(len(segments) == len(part.segments) for part, segments in read):
        return ""
    files = sorted({each.file for _, segments in read for each in segments})
    condition = f"file IN ({', '.join(map(literal, files))})"
    for part, segments in read:
        gone = {each.file for each in part.segments}.difference(each.file for each in segments)
        beside = sorted(gone.intersection(files))
        if beside:
            # the same name, sealed again in another part
            place = literal(str(session.resolve() / part.parquet.relative_to(session)))
            condition += f" AND NOT (filename = {place} AND file IN ({', '.join(map(literal, beside))}))"
    return condition


def _patterns(session: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    # by their text: there may be tens of thousands of files, which are listed with every question
    root, resolved = f"{session}{os.sep}", escape(f"{session.resolve()}{os.sep}")
    found = []
    for path in paths:
        text = str(path)
        below = text[len(root) :] if text.startswith(root) else str(path.relative_to(session))
        found.append(resolved + escape(below))
    return tuple(found)


def escape(path: str) -> str:
    """A path in which nothing is a wildcard: unescaped, `a?b.log` would read `aXb.log` too."""
    return path.translate(_WILD)


def standing_at(path: Path) -> Standing | None:
    """What stands under a name now; None for a link, which is not followed."""
    try:
        status = os.lstat(path)
    except OSError:
        # it stays in the list, so that whoever reads it says what is wrong
        return Standing(-1, 0, 0)
    if stat.S_ISLNK(status.st_mode):
        return None
    return Standing(status.st_ino, status.st_size, status.st_mtime_ns)
