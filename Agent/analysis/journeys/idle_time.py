"""When somebody was busy and when idle, told from intervals as they end; memory flat in their number."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Busy", "Stretch"]

MAX_STRETCHES: Final = 4096


class Stretch(NamedTuple):
    """A time between two busy ones, in microseconds; `after` and `before` are the events at its ends."""

    start_us: int
    end_us: int
    after: str
    before: str

    @property
    def length_us(self) -> int:
        """How long it was."""
        return self.end_us - self.start_us


class Busy:
    """The union of intervals; `add` takes them in the order of their ends, as spans are written.

    Of more than 4096 separate times the ones with the least between them are held as one: `blur_us` says up
    to which length idle stretches are no longer distinguished.
    """

    def __init__(self, most: int = MAX_STRETCHES) -> None:
        self._most = most
        self._times: list[tuple[int, int, str, str]] = []
        self.blur_us = 0

    def add(self, start_us: int, end_us: int, event_id: str) -> None:
        """Take what was done from then to then, an instant being both."""
        start_us = min(start_us, end_us)
        last_us, first, last = end_us, event_id, event_id
        while self._times and self._times[-1][1] >= start_us:
            before = self._times.pop()
            first = before[2] if before[0] <= start_us else first
            last = before[3] if before[1] > last_us else last
            start_us, last_us = min(start_us, before[0]), max(last_us, before[1])
        self._times.append((start_us, last_us, first, last))
        if len(self._times) > self._most:
            self._merge()

    def _merge(self) -> None:
        """Hold those times as one between which little lies, so that half of them are left."""
        between = sorted(b[0] - a[1] for a, b in zip(self._times, self._times[1:], strict=False))
        self.blur_us = max(self.blur_us, between[len(between) // 2])
        merged = [self._times[0]]
        for time in self._times[1:]:
            before = merged[-1]
            if time[0] - before[1] <= self.blur_us:
                merged[-1] = (before[0], time[1], before[2], time[3])
            else:
                merged.append(time)
        self._times = merged

    @property
    def busy_us(self) -> int:
        """How long something was going on, what `blur_us` no longer distinguishes included."""
        return sum(end - start for start, end, _, _ in self._times)

    @property
    def idle_us(self) -> int:
        """How long nothing was, between the first and the last."""
        return self._times[-1][1] - self._times[0][0] - self.busy_us if self._times else 0

    @property
    def first_us(self) -> int | None:
        """When it began."""
        return self._times[0][0] if self._times else None

    def stretches(self, most: int) -> list[Stretch]:
        """The longest idle stretches, in order of time."""
        pairs = zip(self._times, self._times[1:], strict=False)
        found = [Stretch(a[1], b[0], a[3], b[2]) for a, b in pairs]
        longest = sorted(found, key=lambda each: (-each.length_us, each.start_us))[:most]
        return sorted(longest)
