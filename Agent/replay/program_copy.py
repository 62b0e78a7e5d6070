"""The copy of the working directory in which a recorded program runs again.

The program may write there. What it records tells the paths of the copy as those of the working directory.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from Agent.event.clock import parse_timestamp
from Agent.event.script_names import as_original
from Agent.tree.files.session import SessionInfo

COPY = "copy"
_MOST_FILES = 2_000
_MOST_BYTES = 64 << 20
"""The size limit of a working directory that is copied."""
_END_US = 1_000_000
"""How long after the end of its recording a program may still have written files."""


def recorded_until_us(info: SessionInfo) -> int:
    """Return the time after which the recorded program wrote no more files, in microseconds since 1970."""
    return parse_timestamp(info.ended_at or info.started_at) + _END_US


class Copy(NamedTuple):
    """A copy of the working directory."""

    directory: Path
    left_out: Sequence[Path]
    """Files written during the recording, such as redirected output, by their paths in the copy."""


def copied(source: Path, copy: Path, session: Path, info: SessionInfo) -> Copy | None:
    """Copy the working directory without files written during the recording; None if it is too large.

    The trace root is left out too. Symbolic links are copied as links.
    """
    left_out = {session.parent.resolve(), session.resolve()}
    written_us = range(parse_timestamp(info.started_at), recorded_until_us(info))
    files, size_bytes = 0, 0
    lacking: list[Path] = []

    def names(place: str, listing: list[str]) -> list[str]:
        nonlocal files, size_bytes
        left = []
        for name in listing:
            path = Path(place) / name
            status = path.lstat()
            is_new = status.st_mtime_ns // 1000 in written_us and stat.S_ISREG(status.st_mode)
            is_tool = name.startswith(".") and stat.S_ISDIR(status.st_mode)  # such as .git and .venv
            if is_tool or name == "__pycache__" or path.resolve() in left_out:
                left.append(name)
            elif is_new and path.suffix != ".py":
                left.append(name)
                lacking.append(copy / path.relative_to(source))
            else:
                files += 1
                size_bytes += status.st_size
        if files > _MOST_FILES or size_bytes > _MOST_BYTES:
            raise OverflowError
        return left

    try:
        shutil.copytree(source, copy, symlinks=True, ignore=names)
    except (OSError, shutil.Error, OverflowError):
        return None
    return Copy(copy, lacking)


def tell_as_original(session: Path, copy: Path, original: Path) -> None:
    """Replace paths of a copied directory by those of the original in what the program recorded there."""
    for path in session.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            told = as_original(data, str(copy), str(original))
            if told != data:
                path.write_bytes(told)
