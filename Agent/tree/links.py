"""Symbolic links in the place of directories of a session: what is behind them may belong to others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from Agent.errors import InputError

_OF_SESSION: Final = ("agents", "archive", "blobs", "runs", ".state")
_OF_STATE: Final = ("board", "chain", "control", "cursors", "view", "writers")
_OF_RUN: Final = ("artifacts", "checkpoints", "checkpoints/chunks", "replays")


def leads_above(path: Path) -> bool:
    """Return whether a path is a link to one of the directories above it."""
    if not path.is_symlink():
        return False
    # unlike `Path.resolve`, it does not fail on a loop of links
    real = os.path.realpath
    return Path(real(path.parent)).is_relative_to(real(path))


def refuse_links(session: Path, *, leading_out: bool = False) -> None:
    """Refuse a session in which a link replaces a directory.

    Args:
        session: its directory.
        leading_out: whether to refuse only links to places outside the session, which is enough for reading.

    Raises:
        InputError: one of its directories is such a link.
    """
    for directory in _linked(session):
        if not leading_out or _is_outside(directory, session):
            raise InputError(
                "a link is in the place of a directory of the session",
                path=directory,
                remedy="remove or rename it",
            )


def refuse_ways_out(directory: Path, path: Path) -> None:
    """Refuse a path below a directory of a session on which a link leads out of that directory.

    Raises:
        InputError: it leads out.
    """
    if _is_outside(path.parent, directory):
        raise InputError(
            "a link on the way to it leads elsewhere", path=path, remedy="put the recorded directory back"
        )


def _linked(session: Path) -> Iterator[Path]:
    yield from _links(str(session), _OF_SESSION)
    yield from _links(f"{session}/.state", _OF_STATE)
    runs = f"{session}/runs"
    names = [".chunks"]
    with suppress(OSError):  # it is not there, or its entries cannot be listed
        names = os.listdir(runs)  # noqa: PTH208 - there may be 10,000 runs
    yield from _links(runs, names)
    for name in names:
        yield from _links(f"{runs}/{name}", _OF_RUN)


def _links(directory: str, names: tuple[str, ...] | list[str]) -> Iterator[Path]:
    for name in names:
        path = f"{directory}/{name}"
        if os.path.islink(path):  # noqa: PTH114
            yield Path(path)


def _is_outside(path: Path, directory: Path) -> bool:
    real = os.path.realpath
    return not Path(real(path)).is_relative_to(real(directory))
