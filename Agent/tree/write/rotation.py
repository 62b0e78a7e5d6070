"""How a full file of the recording becomes a numbered segment and an empty one takes its name.

No file ever stands under two names that a reader looks at, and no step overwrites a file of the recording,
wherever the process is killed; `segment_writer` decides when, and goes on with the old file where this fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import NamedTuple

from Agent.tree.files.segment import Segment, claim_segment

__all__ = ["Rolled", "numbered", "roll_segment"]

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class Rolled(NamedTuple):
    """What a roll came to: the new segment, the live name it stands under, the number the old one got."""

    segment: Segment
    path: Path
    number: int
    untidy: OSError | None
    """Why the temporary name still stands, which no reader looks at; the next roll takes it away."""


def numbered(path: Path, number: int) -> Path:
    """The name of a rolled segment: `<stem>.<n>.log`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def roll_segment(
    path: Path, further: Path, inode: tuple[int, int], number: int, limit_bytes: int, writer: str
) -> Rolled:
    """Give the live file its number and put a new one under the live name.

    The new file is open before anything is renamed. For a moment nothing stands under the live name; should
    another process claim it then, the new file goes under the further name, which is this writer's own.

    Args:
        path: the live name.
        further: the name that only this writer uses.
        inode: the old file, which is renamed only if it stands there.
        number: the lowest number that the old file may get.
        limit_bytes: how much the new one takes.
        writer: the writer's id.

    Raises:
        OSError: there is no new file; the old one goes on, under its live name or already under its number.
    """
    temporary = path.with_name(f".{path.name}.{writer}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    segment = claim_segment(temporary, limit_bytes)
    try:
        # only this writer makes names of this stem, so a number that is free stays free
        while os.path.lexists(numbered(path, number)):
            number += 1
        # Somebody may have moved it away, or an earlier roll came only so far; then another process may have
        # claimed the name since.
        if _stands_at(path, inode):
            path.rename(numbered(path, number))
        live, untidy = _put_in_place(temporary, path, further)
    except BaseException:
        segment.close()
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return Rolled(segment, live, number, untidy)


def _stands_at(path: Path, inode: tuple[int, int]) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == inode


def _put_in_place(temporary: Path, path: Path, further: Path) -> tuple[Path, OSError | None]:
    """Name the new file, exclusively; the name that it got, and why it has two."""
    for name in (path, further):
        try:
            os.link(temporary, name, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # a file system that knows no links has no exclusive renaming either
            temporary.rename(name)
            return name, None
        # under its temporary name no reader looks at it, so being killed here leaves nothing that counts
        # twice
        try:
            temporary.unlink()
        except OSError as error:
            return name, error
        return name, None
    raise FileExistsError(errno.EEXIST, "the next name is taken", str(further))
