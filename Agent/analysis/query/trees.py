"""Many sealed sessions as one source of rows: find them, and check that each is sealed.

`Engine` (DuckDB) and `SparkEngine` read them; both refuse a session with unsealed lines. A session in an
object store (`s3://`, `gs://`, `memory://`) is a copy of its directory: `session.json`, `archive/` and, if it
has runs, `runs/`. All rows of its archive are read. The user installs fsspec and the library of the store;
nothing else needs them.

Analyses that need one session (`debug`, `journey`, `causes`) get a small one with selected events of them.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import orjson

from Agent.analysis.query.data_files import PATTERNS, Sources, by_columns, find_sources
from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.views import EVENT_COLUMNS, LIVE, json_of, scan, whole_lines
from Agent.archive.sealed.parquet_rows import literal
from Agent.archive.sealed.parts import ARCHIVE_VERSION, Part, archive_dir, escaped, read_parts
from Agent.errors import AgentTraceError, DamagedInput, InputError, MissingExtra, SessionNotFound
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.model import Event
from Agent.tree import layout
from Agent.tree.files.session import SessionInfo, create_session, why_unread
from Agent.tree.read.removal_logs import Recovery, read_recovery, write_recovery

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
        sessions += [each] if is_session else [ref.path for ref in layout.readable_sessions(each)]
    if not sessions:
        raise SessionNotFound(
            "no session is there", path=path, remedy="name a session's directory, a trace root, or a pattern"
        )
    return [each.resolve() for each in sessions]


def sealed_tree(session: Path) -> SealedTree:
    """Return one session with its sources; InputError if it has lines that are not sealed."""
    parts = read_parts(session)
    sources = find_sources(session, layout.tree_files(session), parts=parts)
    of_runs = [path for path in sources.standing if path.is_relative_to(layout.runs_dir(session))]
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
            patterns={
                form: tuple(chain.from_iterable(sources.of(form) for sources in each)) for form in PATTERNS
            },
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


_LIBRARIES: Final = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
}
"""{scheme of a URL: the package on PyPI that reads it}."""
_AGAIN: Final = "copy the session again"


@dataclass(frozen=True, slots=True)
class RemoteTree:
    """One session in an object store."""

    url: str
    store: Any
    """The file system of fsspec."""
    parts: tuple[Part, ...]
    run_files: tuple[str, ...]
    """The names in the store of the event files of its runs, which remain JSON lines."""
    sources: Sources


def remote_trees(urls: Iterable[str]) -> list[RemoteTree]:
    """Find the sessions of some URLs: sessions, trace roots, or patterns of both.

    Raises:
        MissingExtra: fsspec, or its library for the store, is not installed.
        SessionNotFound: a URL is none of these.
        InputError: a session has lines that are not sealed, or the store cannot be read.
    """
    session_urls: dict[str, None] = {}
    for url in urls:
        with _reading(url):
            session_urls.update(dict.fromkeys(_remote_sessions_at(url)))
    trees = []
    for url in session_urls:
        with _reading(url):
            trees.append(_remote_tree(url))
    return trees


def _store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    scheme = url.partition("://")[0]
    library = _LIBRARIES.get(scheme)
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        file_system_and_path: tuple[Any, str] = url_to_fs(url)
    except ImportError as error:
        raise MissingExtra(
            f"{scheme}:// needs {library or 'fsspec'} ({error})",
            remedy=f"pip install {library or 'fsspec'}",
        ) from error
    return file_system_and_path


@contextmanager
def _reading(url: str) -> Iterator[None]:
    try:
        yield
    except AgentTraceError:
        raise
    except Exception as error:  # the libraries of stores have no common base class of errors
        first = (str(error) or type(error).__name__).partition("\n")[0]
        raise InputError(
            f"the object store cannot be read: {first}",
            path=url,
            remedy="check the URL, and the keys and the endpoint in the environment of the store's library",
        ) from error


def _remote_sessions_at(url: str) -> list[str]:
    store, path = _store(url)
    places = sorted(store.glob(path)) if any(sign in path for sign in "*?[") else [path]
    sessions = []
    for each in places:
        is_session = store.exists(f"{each}/session.json") or store.exists(f"{each}/archive")
        below = [] if is_session else sorted(store.glob(f"{each}/*/session.json"))
        sessions += [each] if is_session else [posixpath.dirname(name) for name in below]
    if not sessions:
        raise SessionNotFound(
            "no session is there", path=url, remedy="name the URL of a session or a trace root, or a pattern"
        )
    return [store.unstrip_protocol(each) for each in sessions]


def _remote_tree(url: str) -> RemoteTree:
    store, root = _store(url)
    sizes = {name[len(root) + 1 :]: row["size"] for name, row in store.find(root, detail=True).items()}
    described = [name for name in sorted(sizes) if PurePosixPath(name).match("archive/part-*.json")]
    parts = [_part(f"{url}/{name}", store.cat_file(f"{root}/{name}")) for name in described]
    for part in parts:
        if f"archive/{part.name}.parquet" not in sizes:
            raise DamagedInput(f"{part.name}.parquet is missing", path=url, remedy=_AGAIN)
    sealed = {(each.file, each.size_bytes) for part in parts for each in part.segments}
    unsealed = [name for name, size in sizes.items() if size and _is_log(name) and (name, size) not in sealed]
    if unsealed or not parts:
        left_out = f": {unsealed[0]} would be left out" if unsealed else ""
        raise InputError(f"the session is not sealed{left_out}", path=url, remedy=f"seal it, and {_AGAIN}")
    of_runs = [
        name for name, size in sizes.items() if size and PurePosixPath(name).match("runs/*/events*.jsonl")
    ]
    return RemoteTree(url, store, tuple(parts), tuple(of_runs), _remote_sources(url, parts, of_runs))


def _is_log(name: str) -> bool:
    path = PurePosixPath(name)
    parsed = layout.parse_file_name(path.name) if path.suffix == ".log" else None
    if parsed is None:
        return False
    is_own = path.parent == PurePosixPath() and parsed.stem in layout.CATEGORY_FILES
    return is_own or path.parent == PurePosixPath("agents")


def _part(url: str, text: bytes) -> Part:
    try:
        part = Part.from_object(orjson.loads(text), Path())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedInput(
            f"a part of the archive cannot be read: {why_unread(error)}", path=url, remedy=_AGAIN
        ) from None
    # another name could point outside the session
    if part.name != PurePosixPath(url).stem or part.archive_version > ARCHIVE_VERSION:
        raise DamagedInput("a part of the archive has another name or version", path=url, remedy=_AGAIN)
    return part


def _remote_sources(url: str, parts: list[Part], of_runs: list[str]) -> Sources:
    names = {
        form: [f"archive/{part.name}.parquet" for part in chosen]
        for form, chosen in by_columns(parts).items()
    }
    segments = [each for part in parts for each in part.segments if each.damaged]
    return Sources(
        {
            form: tuple(escaped(f"{url}/{name}") for name in chosen)
            for form, chosen in (names | {LIVE: of_runs}).items()
        },
        uniform=all(part.rows == part.events and not part.verbatim for part in parts),
        damaged=tuple((f"{url}/{each.file}", each.damaged) for each in segments),
    )


MOST_ROWS: Final = 200_000
"""The maximum number of events: a search for causes among these takes about 300 MB of memory."""


class ChosenEvents(NamedTuple):
    """The events that an analysis needs."""

    where: str
    """A condition on the columns of `whole_lines`, and `error_id`."""
    parameters: list[Any]
    what: str
    """The description of the events, after their number in messages."""
    remedy: str
    """How to select fewer events."""


def of_agent(agent_id: str) -> ChosenEvents:
    """The events of one agent."""
    return ChosenEvents("agent_id = ?", [agent_id], f"of {agent_id}", "name fewer sessions")


@contextmanager
def selected_session(
    engine: QueryEngine, trees: Trees, chosen: ChosenEvents, most: int = MOST_ROWS
) -> Iterator[Path]:
    """Copy events of many sessions into a session in a temporary directory, which exists within the block.

    Raises:
        InputError: the selection has more than `most` events, or none.
    """
    where, parameters, what, remedy = chosen
    number = engine.row(f"SELECT count(*) AS n FROM {scan('error_id')} WHERE {where}", parameters)["n"]
    if not number:
        raise InputError(
            f"no event {what} in these sessions", remedy="check the id, and which sessions are named"
        )
    if number > most:
        raise InputError(f"{number:,} events {what}; at most {most:,} are read", remedy=remedy)
    columns = f"{EVENT_COLUMNS}, types"
    rows = engine.rows(
        f"SELECT {columns} FROM (SELECT {columns}, json_member(extra, 'error_id') AS error_id "
        f"FROM {whole_lines()}) WHERE {where} "
        "ORDER BY agent_id NULLS FIRST, ts_us, writer, seq",
        parameters,
    )
    import tempfile  # here: every command loads this module, and few read many sessions

    with tempfile.TemporaryDirectory(prefix="agent-trace-") as place:
        path = create_session(Path(place), replace(SessionInfo.begun_now(), session_id=_name(engine, trees)))
        layout.make_private(layout.agents_dir(path), exist_ok=True)
        for agent, own in groupby(rows, key=lambda row: row["agent_id"]):
            name = "system.log" if agent is None else f"agents/{layout.safe_name(agent)}.log"
            descriptor = layout.open_private(path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(encode_event(_event(row)) + b"\n" for row in own)
        _keep_accounts(trees, path)
        yield path


def _name(engine: QueryEngine, trees: Trees) -> str:
    """The id of the first session, and the number of the others."""
    paths = [*(tree.session for tree in trees.local), *(Path(tree.url) for tree in engine.remote)]
    # sessions that Spark reads through Hadoop
    paths += [Path(url) for url in trees.remote if not engine.remote]
    return layout.session_id_of(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _keep_accounts(trees: Trees, path: Path) -> None:
    """Copy the sessions' data about writers: open calls of a killed process are in no event."""
    import shutil  # here: it loads the libraries for archives

    recovery = Recovery()
    for tree in trees.local:
        recovery.writers |= read_recovery(tree.session).writers
        for claim in layout.entries_in(layout.claims_dir(tree.session), ".json"):
            layout.make_private(layout.claims_dir(path), parents=True, exist_ok=True)
            shutil.copy(claim, layout.claims_dir(path))
    if recovery.writers:
        write_recovery(path, recovery)


def _event(row: dict[str, Any]) -> Event:
    extra = json_of(row["extra"]) or {}
    if row["is_flat"]:
        extra = {key: value for key, value in extra.items() if value is not None}
    return Event(
        schema_version=CURRENT_SCHEMA,
        kind=row["event_type"],
        causes=tuple(row["causes"] or ()),
        extra=extra,
        state=json_of(row["state"]),
        types=json_of(row["types"]),
        session_id=row["session_id"] or "",
        logger=row["logger"] or "",
        message=row["message"] or "",
        **{name: row[name] for name in _UNCHANGED},
    )


_UNCHANGED: Final = ("timestamp", "id", "level", "run_id", "span_id", "parent_span_id", "tick", "code")
