"""How often a key may ask: a bucket that fills steadily and is emptied by requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

__all__ = ["Pace"]

_BURST_S: Final = 2.0
_MAX_KEYS: Final = 10_000


class Pace:
    """Counts requests of each key against a rate.

    Args:
        per_second: how many a key may ask on average; 0 for no limit.
        now_s: tells the time.
    """

    def __init__(self, per_second: float, now_s: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._now_s = now_s
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key_id: str) -> float:
        """Takes one request of a key; 0 where it may be answered, else the seconds until one may come."""
        if self._per_second <= 0:
            return 0.0
        full = max(1.0, self._per_second * _BURST_S)
        with self._lock:
            now_s = self._now_s()
            left, then_s = self._left.pop(key_id, (full, now_s))
            left = min(full, left + (now_s - then_s) * self._per_second)
            allowed = left >= 1
            self._left[key_id] = (left - 1 if allowed else left, now_s)
            if len(self._left) > _MAX_KEYS:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second
