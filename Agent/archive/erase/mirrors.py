"""Erasing from the mirrors across sessions, their backups and their text twins.

A mirror may hold lines of sessions that were removed long ago, so lines are taken out and nothing is rebuilt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from Agent.archive.erase.lines import lines_of, rewrite
from Agent.archive.erase.target import AGENT, MATCH, Target
from Agent.tree.layout import MIRROR_FILES

__all__ = ["erase_from_mirrors", "find_in_mirrors"]

_TEXT: Final = ".text"
_HEADER: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ID_AT_END: Final = re.compile(rb"\(([a-z2-7]{8}-[0-9]+)\)\Z")


def find_in_mirrors(root: Path, target: Target) -> int:
    """How many lines of the mirrors go, their text twins left out."""
    return sum(_going(path, target, set()) for category, path in _files(root) if not _is_twin(category))


def erase_from_mirrors(root: Path, target: Target) -> None:
    """Take what goes out of every mirror.

    The twins come first: which of their entries go is known by the ids in the mirrors.

    Raises:
        OSError: one of them cannot be read or replaced.
    """
    ids: set[bytes] = set()
    plain = [path for category, path in _files(root) if not _is_twin(category)]
    going = [path for path in plain if _going(path, target, ids)]
    for category, path in _files(root):
        if _is_twin(category) and _twin_holds(path, target, ids):
            rewrite(path, _EntryJudge(target, ids).kept)
    for path in going:
        rewrite(path, lambda line: target.judge(line, "").kept)


def _is_twin(category: str) -> bool:
    return category.endswith(_TEXT)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every mirror with its backups."""
    for category, name in MIRROR_FILES.items():
        live = root / name
        for path in sorted(live.parent.glob(f"{live.name}*")):
            number = path.name.removeprefix(live.name)
            if path.is_file() and not path.is_symlink() and (not number or number[1:].isdigit()):
                yield category, path


def _going(path: Path, target: Target, ids: set[bytes]) -> int:
    count = 0
    for line in lines_of(path):
        kept, event = target.judge(line, "")
        if kept is not line:
            count += 1
            if event is not None:
                ids.add(event.id.encode())
    return count


def _twin_holds(path: Path, target: Target, ids: set[bytes]) -> bool:
    judge = _EntryJudge(target, ids)
    return any(judge.kept(line) is None for line in lines_of(path))


class _EntryJudge:
    """Judges the lines of a text twin: an entry is a line that begins with its time, and those below it.

    A value may stand below the first line only; then what of the entry goes are the lines that hold it.
    """

    def __init__(self, target: Target, ids: set[bytes]) -> None:
        self._target = target
        self._ids = ids
        self._goes = False

    def kept(self, line: bytes) -> bytes | None:
        """What stays of the next line."""
        if _HEADER.match(line):
            self._goes = self._header_goes(line)
        holds = self._target.kind == MATCH and self._target.forms.find(line) is not None
        return None if self._goes or holds else line

    def _header_goes(self, line: bytes) -> bool:
        found = _ID_AT_END.search(line)
        if found is not None and found[1] in self._ids:
            return True
        return self._target.kind == AGENT and f" [{self._target.value}] ".encode() in line
