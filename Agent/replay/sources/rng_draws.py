"""The recorded draws of one generator in one action, taken again one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_WHAT = {"random": "words", "numpy": "calls"}


class RecordedDraws:
    """Segments of draws: where each began, and how many there were.

    Args:
        kind: `random`, `numpy` or `draws`, see `Agent/record/sources/`.
        key: under which they stand in the event.
        place: what their generator is told from others by.
        segments: as they stand there.
    """

    def __init__(self, kind: str, key: str, place: str, segments: list[Any]) -> None:
        self.kind = kind
        self.place = place
        self.key = key
        self.is_free = True
        """No generator of the replay has drawn them yet."""
        self.value: Any = None
        """What was drawn last, of kind `draws`."""
        self._segments = segments
        self._index = 0
        self._used = 0
        self._is_put = False

    @property
    def recorded(self) -> str:
        """How much was drawn, for people."""
        return f"{sum(map(self._length, self._segments))} {_WHAT.get(self.kind, 'draws')} from {self._name}"

    @property
    def _name(self) -> str:
        return {"random": "a random.Random", "numpy": "a numpy generator"}.get(self.kind, "a generator")

    def _length(self, segment: list[Any]) -> int:
        return len(segment) if self.kind == "draws" else int(segment[1])

    def take(self, count: int, put: Callable[[list[Any]], None]) -> list[Any] | None:
        """The segment in which so many more draws stand, None where they are more than was recorded.

        Args:
            count: draws.
            put: puts the generator where a segment begins.
        """
        while self._index < len(self._segments):
            segment: list[Any] = self._segments[self._index]
            if not self._is_put:
                put(segment)
                self._is_put = True
            length = self._length(segment)
            if self._used + count <= length:
                if self.kind == "draws":
                    self.value = _value(segment[self._used])
                self._used += count
                return segment
            if self._used < length:
                return None
            self._index, self._used, self._is_put = self._index + 1, 0, False
        return None

    def is_at_end_of(self, segment: list[Any]) -> bool:
        """Whether all draws of a segment were taken."""
        return self._used == self._length(segment)

    def left(self) -> tuple[str, str] | None:
        """(recorded, replayed) where less was drawn than in the recording."""
        taken = sum(map(self._length, self._segments[: self._index])) + self._used
        if taken == sum(map(self._length, self._segments)):
            return None
        return self.recorded, str(taken)


def _value(kept: Any) -> Any:
    """A drawn value: integers stand as text, being of any size; other text marks a seed."""
    return int(kept, 16) if isinstance(kept, str) and kept.startswith(("0x", "-0x")) else kept
