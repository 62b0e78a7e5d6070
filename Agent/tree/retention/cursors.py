"""How far those who send a session elsewhere are: what retention keeps for them, up to a cap.

A cursor is a file under `.state/cursors/` that holds what `Follower.cursor()` gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from Agent.tree.files.lines import first_id
from Agent.tree.files.session import replace_file
from Agent.tree.layout import DIRECTORY_MODE, cursors_dir, entries_in, safe_name

__all__ = ["IsHeld", "held_by_cursors", "write_cursor"]

IsHeld = Callable[[Path, os.stat_result], bool]
"""Whether somebody still has to read a segment; asked by retention, which then takes another one."""


def write_cursor(session: Path, name: str, cursor: dict[str, Any]) -> None:
    """Leave how far somebody is; OSError if it cannot be written."""
    directory = cursors_dir(session)
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    replace_file(
        directory / f"{safe_name(name)}.json", orjson.dumps(cursor, option=orjson.OPT_APPEND_NEWLINE)
    )


def held_by_cursors(session: Path) -> IsHeld:
    """What the cursors of a session say: a segment is held until each of them has read it to its end.

    A cursor that cannot be read holds everything.
    """
    read: list[dict[str, int] | None] = []
    for path in entries_in(cursors_dir(session), ".json"):
        try:
            files = orjson.loads(path.read_bytes())["files"]
            read.append({str(entry["first_id"]): int(entry["offset"]) for entry in files})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError):
            read.append(None)
    if not read:
        return lambda _path, _status: False

    def is_held(path: Path, status: os.stat_result) -> bool:
        begins_with = str(first_id(path))
        return any(far is None or far.get(begins_with, 0) < status.st_size for far in read)

    return is_held
