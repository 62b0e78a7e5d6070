"""How a full file of the record becomes a numbered segment and an empty one takes its name.

The live name always stands for a file of this writer, so that no other process can claim it half way;
`own_file` decides when, and goes on with the old file where this fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from Agent.tree.segment import Segment, claim_segment

__all__ = ["numbered", "roll_segment"]

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def numbered(path: Path, number: int) -> Path:
    """The name of a rolled segment: `<stem>.<n>.log`."""
    return path.with_name(f"{path.name.removesuffix('.log')}.{number}.log")


def roll_segment(path: Path, number: int, limit_bytes: int, writer: str) -> tuple[Segment, int]:
    """Give the live file its number and put a new one under the live name.

    The new file is open before anything is renamed, and no step overwrites a file of the record.

    Returns:
        The new segment and the number that the old one got, at least `number`.

    Raises:
        OSError: nothing has changed: the old file still has its live name.
    """
    temporary = path.with_name(f".{path.name}.{writer}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    segment = claim_segment(temporary, limit_bytes)
    try:
        number = _take_the_name(path, temporary, number)
    except BaseException:
        segment.close()
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return segment, number


def _take_the_name(path: Path, temporary: Path, number: int) -> int:
    while True:
        kept = numbered(path, number)
        try:
            os.link(path, kept, follow_symlinks=False)
        except FileExistsError:
            number += 1
            continue
        except FileNotFoundError:
            # somebody moved the live file away; the link is exclusive, so nobody's new file is overwritten
            os.link(temporary, path, follow_symlinks=False)
            temporary.unlink()
            return number
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _take_the_name_without_links(path, temporary, number)
        try:
            temporary.replace(path)
        except OSError:
            kept.unlink()
            raise
        return number


def _take_the_name_without_links(path: Path, temporary: Path, number: int) -> int:
    """For file systems that know no hard links: two renames, with the live name vacant between them."""
    while os.path.lexists(numbered(path, number)):
        number += 1
    kept = numbered(path, number)
    path.rename(kept)
    try:
        temporary.rename(path)
    except OSError:
        kept.rename(path)
        raise
    return number
