"""Putting recorded functions into the places of those that read sources, and taking every one away again.

Names that other modules bound before (`from time import time`) are found in those modules and replaced, too.
What hides in a default argument, a closure or an object is not: `watch.py` notices its use.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from Agent.record.sources import clock, datetime_seams, environment
from Agent.record.sources.callers import is_foreign_name


class _Swap(NamedTuple):
    owner: Any
    name: str
    original: Any
    recorded: Any


class Swaps:
    """Functions that stand in the places of others, in order."""

    def __init__(self) -> None:
        self._swaps: list[_Swap] = []

    def put(self, owner: Any, name: str, recorded: Any) -> None:
        """Put one function into the place of another."""
        self._swaps.append(_Swap(owner, name, vars(owner)[name], recorded))
        setattr(owner, name, recorded)

    def pairs(self) -> list[tuple[Any, Any]]:
        """(original, what stands in its place)."""
        return [(swap.original, swap.recorded) for swap in self._swaps]

    def take_back(self) -> None:
        """Put the originals back, also where other modules bound a name meanwhile."""
        for swap in reversed(self._swaps):
            if vars(swap.owner).get(swap.name) is swap.recorded:  # else somebody else replaced it since
                setattr(swap.owner, swap.name, swap.original)
        rebind([(recorded, original) for original, recorded in self.pairs()])
        self._swaps.clear()


class Seams:
    """All of them; put in by the first who asks, taken away by the last."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._swaps = Swaps()
        self._restore_moments: Callable[[], None] | None = None

    @property
    def are_in(self) -> bool:
        """Whether somebody has sources recorded."""
        return self._users > 0

    def put_in(self) -> bool:
        """Have sources recorded from here on; whether this was the first to ask."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return False
            for owner, name, recorded in (*clock.seams(), *environment.seams()):
                self._swaps.put(owner, name, recorded)
            self._restore_moments = datetime_seams.replace_moments()
            rebind(self._swaps.pairs())
            return True

    def take_away(self) -> bool:
        """No longer on behalf of this one; whether it was the last."""
        with self._lock:
            self._users -= 1
            if self._users:
                return False
            if self._restore_moments is not None:
                self._restore_moments()
            self._swaps.take_back()
            return True

    def after_fork(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = threading.RLock()


def rebind(pairs: list[tuple[Any, Any]]) -> None:
    """Bind names of modules that hold the first of a pair to the second.

    Modules of the standard library, of this package and exempt ones keep theirs.
    """
    if not pairs:  # looking into every module takes 20 ms in a large program
        return
    table = {id(old): (old, new) for old, new in pairs}
    known = frozenset(table)
    for module_name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if type(namespace) is not dict or not is_foreign_name(module_name):
            continue
        if known.isdisjoint(map(id, list(namespace.values()))):  # at the speed of C: most modules hold none
            continue
        for name, value in list(namespace.items()):
            found = table.get(id(value))
            if found is not None and found[0] is value and not name.startswith("__"):
                namespace[name] = found[1]


seams = Seams()
"""Those of this process."""
