"""Opens DuckDB for queries and for the archive, with bounded memory and private temporary files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from Agent.errors import InputError, MissingExtra
from Agent.tree.files.writer_claim import is_running
from Agent.tree.layout import entries_in, is_text, shown_name

MEMORY_LIMIT_MB: Final = 1000
OLDEST_DUCKDB: Final = (1, 4)
"""Older versions lack functions and options that queries and sealing use."""
_LARGE: Final = ctypes.c_size_t(1024 * 1024)
_LEFTOVER_AGE_S: Final = 3600.0
"""On a shared disk, a process of another machine may have the same pid."""


@contextlib.contextmanager
def open_connection(session: Path, share: int = 1, threads: int | None = None) -> Iterator[Any]:
    """A DuckDB connection of bounded memory; it spills to the session's `.state` if that is writable.

    Args:
        session: its directory.
        share: the number of parallel connections; each gets its share of the memory, and one core.
        threads: the number of cores; None for all, or for one if `share` is above 1.

    Raises:
        MissingExtra: duckdb is not installed.
        InputError: an operation needs more memory, a file cannot be read or written, or the session's path is
            not UTF-8.
    """
    duckdb = load_duckdb("the archive")
    refuse_non_utf8_path(session)
    with contextlib.closing(Spill(session)) as spill:
        threads = threads or (cores() if share == 1 else 1)
        connection = connected(duckdb, spill, f"{MEMORY_LIMIT_MB // share}MB", threads)
        with contextlib.closing(connection):
            try:
                yield connection
            except duckdb.OutOfMemoryException as error:
                raise InputError(
                    f"its lines need more memory than the archive's limit of {MEMORY_LIMIT_MB // share} MB",
                    path=session,
                    remedy="leave the session unsealed, or erase what holds values of many megabytes",
                ) from error
            except duckdb.IOException as error:
                message = str(error).partition("\n")[0].removeprefix("IO Error: ")
                raise InputError(
                    f"a file cannot be read or written: {message}",
                    path=session,
                    remedy="free disk space, or make its files accessible, and try again",
                ) from error


@contextlib.contextmanager
def releasing_large_buffers() -> Iterator[None]:
    """Make the engine return buffers of 1 MiB and more to the system as soon as it frees them.

    Its allocator keeps them for a while, although with rows of several KB it frees about 10 MB every 10 ms.
    Applies to the calling thread, on an open connection. Without this allocator, it does nothing.
    """
    import _duckdb

    control: Any = getattr(ctypes.CDLL(_duckdb.__file__), "duckdb_je_mallctl", None)
    before: dict[bytes, ctypes.c_size_t] = {}
    if control is not None:
        arenas = ctypes.c_uint()
        size = ctypes.c_size_t(ctypes.sizeof(arenas))
        control(b"arenas.narenas", ctypes.byref(arenas), ctypes.byref(size), None, ctypes.c_size_t(0))
        for arena in range(arenas.value):
            name, old, new = f"arena.{arena}.oversize_threshold".encode(), ctypes.c_size_t(), _LARGE
            size = ctypes.c_size_t(ctypes.sizeof(old))
            # for an arena that no thread has used yet, it fails and changes nothing
            if not control(name, ctypes.byref(old), ctypes.byref(size), ctypes.byref(new), size):
                before[name] = old
    try:
        yield
    finally:
        for name, old in before.items():
            control(name, None, None, ctypes.byref(old), ctypes.c_size_t(ctypes.sizeof(old)))


class Spill:
    """A private directory for large sorts and joins; `close` removes it.

    It is in the session's `.state`, and created when the engine needs it; `seal` removes leftovers of killed
    processes. If `.state` is not writable, as in another user's session, it is a private temporary directory.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.path = _spill_path(session / ".state")
        """The path for the engine; empty if no directory can be created: then too large operations fail."""
        # also if an engine is never closed
        self._remove = weakref.finalize(self, _remove_spill, self.path, os.getpid())

    def close(self) -> None:
        """Remove the directory."""
        self._remove()


def _spill_path(state: Path) -> str:
    if os.access(state, os.W_OK):
        return str(state / f"spill-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        return tempfile.mkdtemp(prefix="agent-trace-spill-")
    except OSError:
        return ""


def _remove_spill(path: str, pid: int) -> None:
    # a forked child inherited it from its parent, which may still use it
    if path and pid == os.getpid():
        shutil.rmtree(path, ignore_errors=True)


def remove_stale_spills(session: Path) -> None:
    """Remove spill directories of killed processes in `.state`, 1 hour after their last change."""
    for spill in entries_in(session / ".state", beginning="spill-"):
        pid = spill.name.split("-")[1]
        if (
            pid.isdecimal()
            and not is_running(int(pid))
            and time.time() - spill.stat().st_mtime > _LEFTOVER_AGE_S
        ):
            shutil.rmtree(spill, ignore_errors=True)


def load_duckdb(purpose: str) -> Any:
    """Import duckdb; MissingExtra if it is missing, or too old for `purpose`."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra(f"{purpose} needs duckdb", remedy="pip install duckdb") from error
    if numbers_of(duckdb.__version__) < OLDEST_DUCKDB:
        oldest = ".".join(map(str, OLDEST_DUCKDB))
        raise MissingExtra(
            f"{purpose} needs duckdb {oldest} or newer, and {duckdb.__version__} is installed",
            remedy=f"pip install 'duckdb>={oldest}'",
        )
    return duckdb


def refuse_non_utf8_path(session: Path) -> None:
    """Raise InputError for a session whose path is not UTF-8, which the engine requires."""
    if not is_text(str(session)):
        raise InputError(
            "the path of the session is not UTF-8, which queries and sealing need",
            path=shown_name(str(session)),
            remedy="rename the directory, or move the trace root elsewhere",
        )


def connected(duckdb: Any, spill: Spill, memory_limit: str, threads: int) -> Any:
    """A DuckDB connection of bounded memory that loads no extensions or remote files."""
    config = {
        "memory_limit": memory_limit,
        "autoinstall_known_extensions": False,
        "temp_directory": spill.path,
        "threads": threads,
    }
    if numbers_of(duckdb.__version__) >= (2, 0):
        # The eight threads for prefetching remote files would only waste memory.
        config["async_threads"] = 1
    return duckdb.connect(config=config)


def numbers_of(version: object) -> tuple[int, ...]:
    """Return the first two numbers of a version; (0, 0) if it has none."""
    match = re.match(r"(\d+)\.(\d+)", str(version))
    return (0, 0) if match is None else (int(match[1]), int(match[2]))


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
