"""Memory for columns that grow: files without a name beside the index, mapped, so that none of it is private.

What nobody looks at is in the file alone once it is let go. Where no file can be made, as in a session that
cannot be written, and for what is small, the memory is the process's own.
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


def made_view_dir(session: Path) -> Path:
    """Return the directory of a session's index, made if it is missing; OSError if that is impossible."""
    directory = view_dir(session)
    if not is_directory(directory.parent) or directory.is_symlink():
        raise NotADirectoryError(directory)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    return directory


class Rooms:
    """Makes room for columns.

    Args:
        session: beside whose index; None for private memory.
        stored: a stored index, whose memory is let go with the rest.
    """

    def __init__(self, session: Path | None = None, stored: mmap.mmap | None = None) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._mapped = weakref.WeakSet(() if stored is None else (stored,))

    def empty(self, count: int, dtype: Any) -> NDArray[Any]:
        """Return a column of so many numbers, to be filled."""
        size = count * np.dtype(dtype).itemsize
        if self._session is not None and size >= _SMALL_BYTES and hasattr(os, "posix_fallocate"):
            try:
                with tempfile.TemporaryFile(dir=made_view_dir(self._session), buffering=0) as file:
                    # reserved, since who writes into a mapping would not learn of a full disk
                    os.posix_fallocate(file.fileno(), 0, size)
                    mapped = mmap.mmap(file.fileno(), size)
                with self._lock:
                    self._mapped.add(mapped)
                return np.frombuffer(mapped, dtype, count)
            except (OSError, ValueError):
                pass  # read-only, full, or without mappings
        return np.empty(count, dtype)

    def kept(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a column, which is out of memory until it is looked at if it is large."""
        if self._session is None or values.nbytes < _SMALL_BYTES:
            return values
        array = self.empty(len(values), values.dtype)
        array[:] = values
        self.let_go()
        return array

    def continued(self, old: NDArray[Any], head: int, new: NDArray[Any]) -> NDArray[Any]:
        """Return the first `head` numbers of a column and new ones, of the same type.

        The result has room behind it, which the next call fills: known numbers are copied seldom, not each
        time. Only the last result may be continued; what others see of the same memory does not change.
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
        """Let the memory of all columns in files go until they are looked at again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            with self._lock:
                mapped = list(self._mapped)
            for each in mapped:
                each.madvise(mmap.MADV_DONTNEED)


def _address(values: NDArray[Any]) -> int:
    return int(values.ctypes.data)
