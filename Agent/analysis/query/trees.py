"""Many sealed sessions as one source of rows: find them, and check that each is sealed.

`Engine` (DuckDB) and `SparkEngine` read them; both refuse a session with unsealed lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from Agent.analysis.query.data_files import Sources, find_sources
from Agent.archive.sealed.parquet_rows import literal
from Agent.archive.sealed.parts import Part, archive_dir, read_parts
from Agent.errors import InputError, SessionNotFound
from Agent.tree.layout import readable_sessions, runs_dir, tree_files

_REMOTE: Final = "://"


class SealedTree(NamedTuple):
    """A session whose logs are all in its archive."""

    session: Path
    parts: tuple[Part, ...]
    sources: Sources
    """The sources to read; `only` selects rows if not all rows of a part are read."""
    run_files: tuple[Path, ...]
    """The event files of its runs, which remain JSON lines."""


class Trees(NamedTuple):
    """The sessions named on a command line."""

    local: tuple[SealedTree, ...]
    remote: tuple[str, ...]
    """URLs of sessions in an object store."""


def sealed_trees(paths: Sequence[str]) -> Trees:
    """Find the sessions of some paths: sessions, trace roots, globs of both, or URLs of sessions.

    Raises:
        SessionNotFound: a path is none of these.
        InputError: a session has lines that are not sealed.
    """
    remote = tuple(dict.fromkeys(path for path in paths if _REMOTE in path))
    directories: dict[Path, None] = {}
    for path in paths:
        if _REMOTE not in path:
            directories.update(dict.fromkeys(_sessions_at(path)))
    return Trees(tuple(map(sealed_tree, directories)), remote)


def _sessions_at(path: str) -> list[Path]:
    """The sessions of one path, which may be a pattern."""
    directory = Path(path)
    inside = Path(directory.anchor or ".")
    places = (
        [directory]
        if directory.exists()
        else sorted(inside.glob(str(directory.relative_to(directory.anchor))))
    )
    sessions: list[Path] = []
    for each in places:
        is_session = (each / "session.json").is_file() or archive_dir(each).is_dir()
        sessions += [each] if is_session else [ref.path for ref in readable_sessions(each)]
    if not sessions:
        raise SessionNotFound(
            "no session is there", path=path, remedy="name a session's directory, a trace root, or a pattern"
        )
    return [each.resolve() for each in sessions]


def sealed_tree(session: Path) -> SealedTree:
    """Return one session with its sources; InputError if it has lines that are not sealed."""
    parts = read_parts(session)
    sources = find_sources(session, tree_files(session), parts=parts)
    of_runs = [path for path in sources.standing if path.is_relative_to(runs_dir(session))]
    unsealed = [
        path for path, listed in sources.standing.items() if listed.size_bytes and path not in of_runs
    ]
    if unsealed or not parts:
        more = f" and {len(unsealed) - 1} more" if len(unsealed) > 1 else ""
        raise InputError(
            f"the session is not sealed: {unsealed[0].name}{more} would be left out"
            if unsealed
            else "the session is not sealed",
            path=session,
            remedy=f"agent-trace seal {session}",
        )
    return SealedTree(session, tuple(parts), sources, tuple(of_runs))


class SealedSources:
    """The sources of several sealed sessions together, for `Engine`.

    Args:
        trees: the sessions on this machine.
        remote: the sources of those in an object store.
    """

    def __init__(self, trees: Sequence[SealedTree], remote: Sequence[Sources] = ()) -> None:
        self._sessions = [tree.session for tree in trees]
        self._remote = list(remote)

    def find(self) -> Sources:
        """The current sources; InputError if a session is not sealed any more."""
        trees = [sealed_tree(session) for session in self._sessions]
        each = [*(tree.sources for tree in trees), *self._remote]
        return replace(
            each[0],
            live=tuple(name for sources in each for name in sources.live),
            sealed=tuple(name for sources in each for name in sources.sealed),
            older=tuple(name for sources in each for name in sources.older),
            verbatim=tuple(name for sources in each for name in sources.verbatim),
            only=" AND ".join(map(_only_there, trees)) if any(sources.only for sources in each) else "",
            uniform=all(sources.uniform for sources in each),
            damaged=tuple(pair for sources in each for pair in sources.damaged),
            standing={path: listed for sources in each for path, listed in sources.standing.items()},
            is_whole=all(sources.is_whole for sources in each),
        )


def _only_there(tree: SealedTree) -> str:
    """A session's condition on archive rows, which accepts all rows of other sessions."""
    here = f"starts_with(filename, {literal(f'{archive_dir(tree.session)}/')})"
    return f"(NOT {here} OR {tree.sources.only or 'true'})"
