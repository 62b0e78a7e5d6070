"""What of the events that were written stands in the files: read by nobody's reader but a JSON parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.contenders.contract import Identity


@dataclass(frozen=True)
class Kept:
    """Events that stand there, that do not, that stand there more than once; and lines that are none."""

    events: int
    lost: int
    doubled: int
    damaged: int

    def __str__(self) -> str:
        further = {"doubled": self.doubled, "damaged lines": self.damaged}
        words = [f"{count:,} {what}" for what, count in further.items() if count]
        return ", ".join([f"{self.lost:,}", *words])


def read_back(
    paths: Iterable[Path],
    identities: Callable[[dict[str, Any]], Iterable[Identity]],
    *,
    workers: int,
    each: int,
) -> Kept:
    """Look for events 0 to `each` - 1 of every worker."""
    times = [bytearray(each) for _ in range(workers)]
    damaged = 0
    for path in paths:
        with path.open("rb") as file:
            for raw in file:
                if raw == b"\n":
                    continue
                try:
                    for worker, number in identities(orjson.loads(raw)):
                        times[worker][number] = min(times[worker][number] + 1, 255)
                except (orjson.JSONDecodeError, LookupError, TypeError):
                    damaged += 1
    lost = sum(seen.count(0) for seen in times)
    once = sum(seen.count(1) for seen in times)
    return Kept(workers * each - lost, lost, workers * each - lost - once, damaged)
