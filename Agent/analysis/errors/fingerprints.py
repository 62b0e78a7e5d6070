"""When two errors are one: by type, by message without what changes from case to case, and by place.

`failures` groups errors by it in two steps: the engine takes numbers out, the rest is done once a group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

NUMBERS: Final = r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|[0-9]+(?:[.,:][0-9]+)*"
"""What the engine replaces by #, in the syntax that RE2 and Python share."""

_NUMBERS = re.compile(NUMBERS, re.ASCII)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_PATH = re.compile(
    r"(?:[A-Za-z]:\\|https?://|(?<![\w.])~?/)[^\s,;:)\]]+|(?<![\w.#~-])(?:[\w.#~-]+[/\\]){2,}[\w.#~-]*"
)
_ID = re.compile(r"(?<![\w-])[\w-]*#[\w-]*#[\w#-]*|#[A-Za-z_][\w-]*")
# What tells errors apart stands at their beginning.
_SHAPED_CHARS = 2000
_FRAME = re.compile(r'File "([^"\n]+)", line \d+, in ([^\n]+)')
_FOREIGN = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python[0-9.]+[/\\]|[/\\]Lib[/\\]|^<frozen "
    r"|[/\\]Agent[/\\]record[/\\]"
)


def shape_of(message: str) -> str:
    """A message without numbers, ids, quoted values and paths; one without numbers already gives the same."""
    shape = _NUMBERS.sub("#", message[:_SHAPED_CHARS])
    shape = _QUOTED.sub("'*'", shape)
    shape = _PATH.sub("<path>", shape)
    return " ".join(_ID.sub("#", shape).split())


def place_of(traceback: str | None) -> str:
    """The innermost function of one's own code in a traceback, as file:function; empty if there is none.

    Own is what lies neither in the standard library nor among installed packages; without such a frame it is
    the innermost of all.
    """
    frames = _FRAME.findall(traceback or "")
    own = [frame for frame in frames if not _FOREIGN.search(frame[0])]
    if not frames:
        return ""
    path, function = (own or frames)[-1]
    file = path.replace("\\", "/").rpartition("/")[2]
    return f"{file}:{function.strip()}"


def fingerprint(error_type: str | None, message: str, place: str) -> str:
    """What errors of one sort have in common, as 16 hexadecimal digits."""
    text = "|".join((error_type or "", shape_of(message), place))
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def fingerprint_of(row: Mapping[str, Any]) -> str:
    """The fingerprint of an error as an event dict."""
    extra = row["extra"]
    message = extra.get("error_message")
    return fingerprint(
        extra.get("error_type"),
        str(message if message is not None else row["message"] or ""),
        place_of(extra.get("traceback")),
    )


def told_pattern(pattern: Mapping[str, Any]) -> str:
    """What the errors of a pattern say: the message, less what changes where not all say the same."""
    if not pattern["varies"]:
        return str(pattern["message"] or pattern["error_type"] or "(no message)")
    return ": ".join(part for part in (pattern["error_type"], pattern["shape"]) if part)
