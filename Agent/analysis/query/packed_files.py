"""Many small files of a session put behind one another, so that the query engine opens one in their place.

The engine takes half a millisecond a file and some more for each column, which is most of the time where
there are thousands of small ones. `engine` hands in what `data_files` listed.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from Agent.analysis.query.data_files import Standing, standing_at
from Agent.tree.files.lines import open_file

__all__ = ["LEAST_FILES", "Pack", "new_pack"]

LEAST_FILES: Final = 64
"""Fewer small files are read one by one."""
_SMALL_BYTES: Final = 256 * 1024
_MOST_BYTES: Final = 1 << 30
_BATCH_BYTES: Final = 4 << 20


class Pack:
    """A nameless file in a directory, which goes with the process; filled again when small files changed.

    Args:
        directory: where it lies; it is for the owner alone.

    Raises:
        OSError: no file can be made there, or the system cannot open it a second time.
    """

    def __init__(self, directory: Path) -> None:
        with tempfile.TemporaryFile(dir=directory) as file:
            self._fd = os.dup(file.fileno())
        # also where an engine is not closed but forgotten
        self._close = weakref.finalize(self, os.close, self._fd)
        self.path = f"/proc/self/fd/{self._fd}"
        """What the engine opens."""
        self._holds: dict[Path, Standing] = {}
        try:
            Path(self.path).stat()
        except OSError:
            self.close()
            raise

    def fill(
        self, standing: Mapping[Path, Standing], list_files: Callable[[], Sequence[Path]]
    ) -> frozenset[Path]:
        """Take in the small ones of some files, each as it was listed, whatever it is called by now.

        Args:
            standing: the files as they were listed.
            list_files: lists them again, where some were rolled since.

        Returns:
            The names of those that are in here; the others are to be read by name.
        """
        small = _small(standing)
        if len(small) < LEAST_FILES:
            return frozenset()
        if small == self._holds:
            return frozenset(small)
        self._holds = {}
        try:
            taken = self._copy(small, list_files)
        except OSError:
            # no room for it: they are read by name, which takes longer
            os.ftruncate(self._fd, 0)
            return frozenset()
        if len(taken) == len(small):
            self._holds = small
        return frozenset(taken)

    def _copy(self, small: Mapping[Path, Standing], list_files: Callable[[], Sequence[Path]]) -> list[Path]:
        fd = self._fd
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        parts: list[bytes] = []
        waiting_bytes = 0
        taken: list[Path] = []
        renamed: dict[int, Path] | None = None
        for path, listed in small.items():
            data = _read(path, listed)
            if data is None:
                renamed = _by_inode(list_files()) if renamed is None else renamed
                data = _read(renamed.get(listed.inode, path), listed)
            if data is None:
                continue
            taken.append(path)
            # a line that is just being written, or was torn, must not be glued to the next file's first
            parts.append(data if data.endswith(b"\n") else data + b"\n")
            waiting_bytes += len(data)
            if waiting_bytes > _BATCH_BYTES:
                _write_all(fd, b"".join(parts))
                parts, waiting_bytes = [], 0
        _write_all(fd, b"".join(parts))
        return taken

    def close(self) -> None:
        """Give the file back."""
        self._close()


def new_pack(directory: Path) -> Pack | None:
    """A pack in that directory; None where none can be made: small files are read one by one then."""
    try:
        return Pack(directory)
    except OSError:
        # where nothing can be written it takes longer, and nothing else is different
        return None


def _small(standing: Mapping[Path, Standing]) -> dict[Path, Standing]:
    """The small ones, as far as there is room for them."""
    found: dict[Path, Standing] = {}
    left_bytes = _MOST_BYTES
    for path, listed in standing.items():
        if listed.inode >= 0 and listed.size_bytes <= min(_SMALL_BYTES, left_bytes):
            left_bytes -= listed.size_bytes
            found[path] = listed
    return found


def _read(path: Path, listed: Standing) -> bytes | None:
    """So much of a file as was there when it was listed; None if another stands under that name."""
    try:
        fd, status = open_file(path)
    except OSError:
        return None
    try:
        return os.read(fd, listed.size_bytes) if status.st_ino == listed.inode else None
    finally:
        os.close(fd)


def _by_inode(paths: Sequence[Path]) -> dict[int, Path]:
    found = {path: standing_at(path) for path in paths}
    return {listed.inode: path for path, listed in found.items() if listed is not None}


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
