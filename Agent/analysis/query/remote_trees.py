"""Sealed sessions in an object store, which DuckDB reads through fsspec: `s3://`, `gs://`, `memory://`.

Such a session is a copy of its directory: `session.json`, `archive/` and, if it has runs, `runs/`. All rows
of its archive are read. The user installs fsspec and the library of the store; nothing else needs them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson

from Agent.analysis.query.data_files import Sources
from Agent.archive.sealed.parquet_rows import promoted_columns
from Agent.archive.sealed.parts import ARCHIVE_VERSION, Part, escaped
from Agent.errors import AgentTraceError, DamagedInput, InputError, MissingExtra, SessionNotFound
from Agent.tree.layout import CATEGORY_FILES, parse_file_name

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
            session_urls.update(dict.fromkeys(_sessions_at(url)))
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


def _sessions_at(url: str) -> list[str]:
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
    return RemoteTree(url, store, tuple(parts), tuple(of_runs), _sources(url, parts, of_runs))


def _is_log(name: str) -> bool:
    path = PurePosixPath(name)
    parsed = parse_file_name(path.name) if path.suffix == ".log" else None
    if parsed is None:
        return False
    is_own = path.parent == PurePosixPath() and parsed.stem in CATEGORY_FILES
    return is_own or path.parent == PurePosixPath("agents")


def _part(url: str, text: bytes) -> Part:
    try:
        part = Part.from_object(orjson.loads(text), Path())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedInput(
            f"a part of the archive cannot be read: {error}", path=url, remedy=_AGAIN
        ) from None
    # another name could point outside the session
    if part.name != PurePosixPath(url).stem or part.archive_version > ARCHIVE_VERSION:
        raise DamagedInput("a part of the archive has another name or version", path=url, remedy=_AGAIN)
    return part


def _sources(url: str, parts: list[Part], of_runs: list[str]) -> Sources:
    def of(chosen: Iterable[Part]) -> tuple[str, ...]:
        return tuple(escaped(f"{url}/archive/{part.name}.parquet") for part in chosen)

    fitting = [part for part in parts if dict(part.promoted) == promoted_columns()]
    segments = [each for part in parts for each in part.segments if each.damaged]
    return Sources(
        live=tuple(escaped(f"{url}/{name}") for name in of_runs),
        sealed=of(fitting),
        older=of(part for part in parts if part not in fitting),
        verbatim=of(part for part in parts if part.verbatim),
        uniform=all(part.rows == part.events and not part.verbatim for part in parts),
        damaged=tuple((f"{url}/{each.file}", each.damaged) for each in segments),
    )
