"""Reads of `os.environ`, recorded in its class: every name for the mapping is the same object.

`os.getenv`, `get`, `in` and `copy` all come by `__getitem__` and `__iter__`. Names stand in the recording as
they are, what the variables hold goes the way of all values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from Agent.record.emit import installed
from Agent.record.sources.adopted import reads_here
from Agent.record.sources.callers import asker_of
from Agent.record.sources.reads import ALL_NAMES

_environ: Any = type(os.environ)


def seams() -> list[tuple[Any, str, Callable[..., Any]]]:
    """(owner, attribute, what stands in its place)."""
    getitem, names, shown = _environ.__getitem__, _environ.__iter__, _environ.__repr__

    def read_variable(self: Any, key: Any) -> Any:
        def now() -> Any:
            try:
                return getitem(self, key)
            except KeyError:
                return None

        name = _text(key)
        if name is None:
            return getitem(self, key)  # which says what is wrong with it
        found = _read(name, sys._getframe(1), now, _text)  # noqa: SLF001 - the one way to a caller
        if found is None:
            raise KeyError(key)
        return os.fsencode(found) if type(key) is bytes and type(found) is str else found

    def read_names(self: Any) -> Iterator[Any]:
        found = _read(ALL_NAMES, sys._getframe(1), lambda: list(names(self)), _texts)  # noqa: SLF001 - as above
        is_bytes = self is getattr(os, "environb", None)
        return iter([os.fsencode(name) if is_bytes and type(name) is str else name for name in found])

    def show(self: Any) -> str:
        for _ in self.items():
            pass  # all of it is read
        return str(shown(self))

    return [
        (_environ, "__getitem__", read_variable),
        (_environ, "__iter__", read_names),
        (_environ, "__repr__", show),
    ]


def _read(name: str, frame: Any, now: Callable[[], Any], as_json: Callable[[Any], Any]) -> Any:
    player, reads = installed.source_player, reads_here()
    if player is None and reads is None:
        return now()
    asker = asker_of(frame)
    if asker is None:
        return now()
    value = now() if player is None else player.variable(name, asker.frame, now)
    if reads is not None:
        reads.add_variable(name, as_json(value))
    return value


def _text(value: Any) -> str | None:
    """A name or value as text; None for what is none."""
    if type(value) is bytes:
        return os.fsdecode(value)
    return value if isinstance(value, str) else None


def _texts(values: list[Any]) -> list[str | None]:
    return [_text(value) for value in values]
