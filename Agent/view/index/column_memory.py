"""Memory for growing columns: unnamed files beside the index, mapped into memory, so that it is not private.

After `let_go`, unused pages are only in the file. Small columns, and all columns if no file can be created,
such as in a read-only session, use private memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.tree.layout import DIRECTORY_MODE, is_directory, view_dir

_SMALL_BYTES: Final = 256 * 1024
_LEAST_ROOM: Final = 4_096


def create_view_dir(session: Path) -> Path:
    """Return the directory of a session's index, created if missing; OSError if that is impossible."""
    directory = view_dir(session)
    if not is_directory(directory.parent) or directory.is_symlink():
        raise NotADirectoryError(directory)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    return directory


class ColumnMemory:
    """Allocates memory for columns.

    Args:
        session: the session beside whose index the files are; None for private memory.
        stored: a stored index, whose memory `let_go` releases, too.
    """

    def __init__(self, session: Path | None = None, stored: mmap.mmap | None = None) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._mapped = weakref.WeakSet(() if stored is None else (stored,))

    def empty(self, count: int, dtype: Any) -> NDArray[Any]:
        """Return an uninitialised column of a given length."""
        size = count * np.dtype(dtype).itemsize
        if self._session is not None and size >= _SMALL_BYTES and hasattr(os, "posix_fallocate"):
            try:
                with tempfile.TemporaryFile(dir=create_view_dir(self._session), buffering=0) as file:
                    # reserve blocks, since a write to a mapping on a full disk would kill the process
                    os.posix_fallocate(file.fileno(), 0, size)
                    mapped = mmap.mmap(file.fileno(), size)
                with self._lock:
                    self._mapped.add(mapped)
                return np.frombuffer(mapped, dtype, count)
            except (OSError, ValueError):
                pass  # read-only, full, or without mappings
        return np.empty(count, dtype)

    def kept(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of a column, which is out of memory until it is used if it is large."""
        if self._session is None or values.nbytes < _SMALL_BYTES:
            return values
        array = self.empty(len(values), values.dtype)
        array[:] = values
        self.let_go()
        return array

    def continued(self, old: NDArray[Any], head: int, new: NDArray[Any]) -> NDArray[Any]:
        """Return the first `head` numbers of a column followed by new ones of the same type.

        The result has spare capacity, which the next call fills, so numbers are rarely copied. Only the last
        result may be continued; earlier results that share its memory do not change.
        """
        array, end = old.base, head + len(new)
        is_room = isinstance(array, np.ndarray) and array.dtype == old.dtype and array.flags.writeable
        if (
            array is None
            or not is_room
            or head != len(old)
            or end > len(array)
            or _address(old) != _address(array)
        ):
            array = self.empty(max(end + end // 4, _LEAST_ROOM), old.dtype)
            array[:head] = old[:head]
            self.let_go()
        array[head:end] = new
        continued: NDArray[Any] = array[:end]
        return continued

    def let_go(self) -> None:
        """Release the memory of all columns in files until they are used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            with self._lock:
                mapped = list(self._mapped)
            for each in mapped:
                each.madvise(mmap.MADV_DONTNEED)


def _address(values: NDArray[Any]) -> int:
    return int(values.ctypes.data)
