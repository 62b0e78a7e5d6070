"""The position in the program's files of an event: of its function, or of the line that raised an error.

A `code` event has the file and line of a function; the action events name it by its digest. An `error` event
has them in its traceback. Both are recorded texts, so they may be invalid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple

_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d{1,9}), in ([^\n]+)')
_FOREIGN: Final = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python[0-9.]+[/\\]|[/\\]Lib[/\\]|^<frozen "
    r"|[/\\]Agent[/\\]record[/\\]"
)
_MOST_CHARS: Final = 4_096
_MOST_LINES: Final = 10**9


class CodePlace(NamedTuple):
    """A line of a file of the recorded program."""

    file: str
    """Its absolute path, as recorded."""
    line: int
    function: str
    """The qualified name of the function, with its module if known."""


def code_place(extra: Mapping[str, Any]) -> CodePlace | None:
    """Return the place of a function from its `code` event; None if it has no file."""
    file, line = extra.get("file"), extra.get("line")
    if not isinstance(file, str) or type(line) is not int or not 0 < line < _MOST_LINES:
        return None
    if len(file) > _MOST_CHARS or not file.isprintable() or not _is_absolute(file):
        return None
    return CodePlace(file, line, code_name(extra))


def code_name(extra: Mapping[str, Any]) -> str:
    """Return the qualified name of a function, with its module, from its `code` event."""
    return ".".join(str(part) for key in ("module", "qualname") if (part := extra.get(key)))


def frame_of(traceback: str | None) -> CodePlace | None:
    """Return the innermost place of the program's own code in a traceback; None without frames.

    Own code is outside the standard library and the installed packages. If no frame is own code, the
    innermost frame of all is used.
    """
    frames = _FRAME.findall(traceback or "")
    if not frames:
        return None
    own = [frame for frame in frames if not _FOREIGN.search(frame[0])]
    path, line, function = (own or frames)[-1]
    return CodePlace(path, int(line), function.strip())


def _is_absolute(file: str) -> bool:
    return PurePosixPath(file).is_absolute() or PureWindowsPath(file).is_absolute()


class CodePlaces:
    """The places of the functions of a session, from its `code` events."""

    def __init__(self) -> None:
        self._of_digest: dict[str, CodePlace] = {}
        self._of_name: dict[str, set[CodePlace]] = {}

    def __bool__(self) -> bool:
        return bool(self._of_digest)

    def add(self, extra: Mapping[str, Any]) -> None:
        """Add the place in the payload of a `code` event."""
        place = code_place(extra)
        if place is not None:
            self._of_digest[str(extra.get("digest"))] = place
            self._of_name.setdefault(str(extra.get("qualname")), set()).add(place)

    def of(self, kind: str, extra: Mapping[str, Any], code: str | None = None) -> CodePlace | None:
        """Return the place of an event: where its error was raised, or where its function begins.

        Args:
            kind: of the event.
            extra: its payload.
            code: the digest of its code, which only outermost actions have; other events are matched by the
                name of their function, if it is unique.
        """
        if kind == "code":
            return code_place(extra)
        if kind == "error" and isinstance(traceback := extra.get("traceback"), str):
            frame = frame_of(traceback)
            if frame is not None and _is_absolute(frame.file) and frame.file.isprintable():
                return frame
        if code is not None and code in self._of_digest:
            return self._of_digest[code]
        named = self._of_name.get(str(extra.get("call")), set())
        return next(iter(named)) if len(named) == 1 else None
