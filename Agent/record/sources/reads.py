"""What one traced action read of recorded sources; it stands as `reads` in the action's event.

A generator is kept by where its draws began and how many there were, everything else by value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from Agent.record.health import note

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture
    from Agent.record.encode.fast_encoder import Types

ENVIRONMENT = "os.environ"
ALL_NAMES = "*"
"""Stands in the place of a name where the names of all variables were read."""
_MAX_VALUES = 100_000


def kinds_of_draws(reads: Any) -> list[tuple[str, str]]:
    """(kind, key) of the generators that an action drew from; see `Adopted.kind`."""
    keys = list(reads) if isinstance(reads, dict) else []
    return [(key.partition("@")[0], key) for key in keys if "@" in key]


def states_of(reads: Any) -> set[str]:
    """The ids of the `source.state` events that the reads of an action refer to."""
    found: set[str] = set()
    for source, kept in reads.items() if isinstance(reads, dict) else ():
        kind, _, base = source.partition("@")
        if kind == "random":
            found.add(base)
        elif kind == "numpy" and isinstance(kept, list):
            # A state of another bit generator than PCG64 begins with its name and the event's id.
            states = [segment[0] for segment in kept if isinstance(segment, list) and segment]
            found.update(
                state[1] for state in states if isinstance(state, list) and isinstance(state[1], str)
            )
    return found


class Reads:
    """The reads of one action, in order."""

    __slots__ = ("at_close", "closed", "environment", "segments", "values")

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self.environment: dict[str, list[list[Any]]] = {}
        self.segments: dict[str, list[list[Any]]] = {}
        self.at_close: list[Callable[[Reads], None]] = []
        """Generators that tell how far they came."""
        self.closed = False

    def add(self, source: str, value: Any) -> None:
        """Keep what a source gave, as JSON."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        values = self.values.setdefault(source, [])
        if len(values) < _MAX_VALUES:
            values.append(value)
        else:
            note(f"an action read a source more than {_MAX_VALUES:,} times, and the rest is not recorded")

    def add_variable(self, name: str, value: Any) -> None:
        """Keep what a variable of the environment held; equal reads in a row are one with a count."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        runs = self.environment.setdefault(name, [])
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])

    def begin_segment(self, key: str, segment: list[Any]) -> list[Any]:
        """Let draws from a generator be counted in this segment from here on."""
        if self.closed:
            note("a generator was drawn from after its action had ended, so it was not recorded")
        else:
            self.segments.setdefault(key, []).append(segment)
        return segment

    def close(self) -> None:
        """The action ends."""
        self.closed = True
        for tell in self.at_close:
            tell(self)

    def _draws(self) -> dict[str, list[list[Any]]]:
        """The segments; of those that are counts, such as hold any: threads may begin one and not draw."""
        return {
            key: kept if key.startswith("draws@") else [each for each in kept if each[1]]
            for key, kept in self.segments.items()
        }

    def body(self, capture: Capture) -> tuple[bytes, Types | None]:
        """`"reads":{...},` as it stands in the event, with its tags; nothing where nothing was read."""
        if not (self.values or self.segments or self.environment):
            return b"", None
        types = None
        parts = []
        if self.values or self.segments:
            parts.append(orjson.dumps({**self.values, **self._draws()})[1:-1])
        if self.environment:
            # What variables hold goes the way of all values: names such as API_KEY make secrets of them.
            shown = {name: runs[0][0] if len(runs) == 1 else runs for name, runs in self.environment.items()}
            raw, types = capture.body({"reads": {ENVIRONMENT: shown}})
            parts.append(raw.removeprefix(b'"reads":{').removesuffix(b"}"))
        return b'"reads":{%s},' % b",".join(parts), types
