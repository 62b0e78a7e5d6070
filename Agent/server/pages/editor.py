"""Links from a code location in a recorded program to that line in the editor of this machine.

Recorded paths are untrusted: a link is made only if a Python file exists at the path on this machine, and
every character of the path is quoted.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Final
from urllib.parse import quote

from Agent.errors import UsageError
from Agent.event.clock import parse_timestamp

TEMPLATES: Final = {
    "vscode": "vscode://file/{path}:{line}",
    "cursor": "cursor://file/{path}:{line}",
    "pycharm": "pycharm://open?file={path}&line={line}",
}
"""The URL templates with which editors open a line of a file."""
NONE: Final = "none"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{1,40}):[!-~]*", re.IGNORECASE)
_NO_EDITOR: Final = frozenset({"javascript", "data", "vbscript", "blob", "about", "file", "view-source"})
_SUFFIXES: Final = frozenset({".py", ".pyw", ""})


@dataclass(frozen=True, slots=True)
class Editor:
    """An editor that opens URLs made from a template with `{path}` and `{line}`."""

    template: str

    def add_link(self, code: dict[str, Any], timestamp: str) -> None:
        """Add to a code location the URL that opens it, `link`, and whether the file is newer than the event.

        Args:
            code: `file` and `line` of the place; unchanged if this machine has no such Python file.
            timestamp: when the event was recorded.
        """
        modified_us = _modified_us(code["file"])
        if modified_us is not None:
            code["link"] = self.link(code["file"], code["line"])
            code["is_newer"] = modified_us > parse_timestamp(timestamp)

    def link(self, file: str, line: int) -> str:
        """Return the address that opens a line of a file, given by its absolute path."""
        path = quote(PureWindowsPath(file).as_posix() if PureWindowsPath(file).drive else file, safe="/")
        # Templates have a slash before the path, and paths begin with one, except on Windows.
        filled = self.template.replace("/{path}", "/" + path.removeprefix("/")).replace("{path}", path)
        return filled.replace("{line}", str(line))


def editor_of(text: str) -> Editor | None:
    """Return the editor of a name or a template; None for `none`.

    Raises:
        UsageError: it is neither, or the template is no address of a program.
    """
    if text == NONE:
        return None
    template = TEMPLATES.get(text, text)
    scheme = _SCHEME.fullmatch(template)
    if scheme is None or "{path}" not in template:
        raise UsageError(
            f"{text[:80]!r} is not an editor",
            remedy=f"give {', '.join(TEMPLATES)}, none, or a template such as {TEMPLATES['vscode']}",
        )
    if scheme[1].lower() in _NO_EDITOR:
        raise UsageError(f"{scheme[1]}: addresses open no editor", remedy="give the scheme of an editor")
    return Editor(template)


def _modified_us(file: str) -> int | None:
    """Return when a Python file was changed, in microseconds since 1970; None for everything else."""
    # Looking at \\server\share would send this user's name to that server.
    if file.startswith(("//", "\\\\")) or Path(file).suffix not in _SUFFIXES:
        return None
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns // 1000 if stat.S_ISREG(status.st_mode) else None
