"""Files of the user's that replayed code would write into: named in the report, refused if that is asked for.

Only files that were there before count: what a replay makes itself it may write, move and remove. The
interpreter tells of each of these calls before it happens (PEP 578); C code that opens files by itself is not
seen, but for sqlite3.
"""

from __future__ import annotations

import os
import stat
import sys
from types import FrameType
from typing import Any

from Agent.record.sources.callers import is_own, module_of

__all__ = ["WRITING", "FileWrites"]

WRITING = frozenset({"open", "os.remove", "os.rename", "os.truncate", "sqlite3.connect"})
"""Names of the audit events that are looked at."""
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC
_HOW = {"os.remove": "removed", "os.rename": "moved", "os.truncate": "cut"}


class FileWrites:
    """Notes writes into files that were there before the replay.

    Use `look` for each audit event of `WRITING` while code of the target runs.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []
        """`path by function (file:line)`, once a file."""
        self.refused: list[str] = []
        """Those of them that were refused."""
        self.is_refusing = False
        """Whether a write is refused, not only noted."""
        self._made: set[str] = set()
        """What the replay made itself."""
        self._seen: set[str] = set()

    def look(self, event: str, arguments: tuple[Any, ...], frame: FrameType | None) -> None:
        """Note what an event of `WRITING` would do.

        Raises:
            PermissionError: it is refused.
        """
        if event == "open" and not _writes(arguments[2]):
            return
        if frame is None or is_own(frame) or module_of(frame) == "importlib":
            return  # bytecode, and what this package keeps for itself
        for place in arguments[: 2 if event == "os.rename" else 1]:
            path = _path_of(place)
            if path is not None and not path.endswith(":memory:"):
                self._touch(event, path, frame)

    def _touch(self, event: str, path: str, frame: FrameType) -> None:
        try:
            is_there = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - no object a call
        except OSError:
            self._made.add(path)
            return
        if not is_there or path in self._made:
            return
        place = _place(frame)
        what = f"{path} {_HOW[event]}" if event in _HOW else path
        if path not in self._seen:
            self._seen.add(path)
            self.opened.append(f"{what} by {place}")
        if self.is_refusing:
            self.refused.append(f"{what} by {place}")
            raise PermissionError(f"{path} is not written to, because of --no-writes")


def _writes(flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & _TO_WRITE)


def _path_of(given: Any) -> str | None:
    """The whole path; None for a descriptor."""
    try:
        return os.path.abspath(os.fsdecode(given))  # noqa: PTH100 - links stay what they are
    except (TypeError, ValueError, OSError):
        return None


def _place(frame: FrameType | None) -> str:
    """The first frame outside the standard library."""
    while frame is not None and module_of(frame) in sys.stdlib_module_names - {"__main__"} and frame.f_back:
        frame = frame.f_back
    if frame is None:
        return "?"
    code = frame.f_code
    return f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"  # noqa: PTH119 - a text
