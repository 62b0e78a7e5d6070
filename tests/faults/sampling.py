"""What processes take of the machine while they run, and whether that stays flat.

`soak.py` takes a sample every few seconds; the last three quarters of them are judged by a straight line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One look at one process."""

    at_s: float
    rss_bytes: int
    uss_bytes: int
    open_files: int
    threads: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def sample(pid: int, at_s: float) -> Sample | None:
    """What a process takes now; None when it is gone.

    `uss_bytes` are the pages that the process wrote and shares with no other. Those of a library that it alone
    has loaded are left out: they become its own when another process ends, whatever it does itself.
    """
    place = Path(f"/proc/{pid}")
    try:
        rss_bytes = int((place / "statm").read_text().split()[1]) * PAGE_BYTES
        rollup = (place / "smaps_rollup").read_text()
        private = [line.split()[1] for line in rollup.splitlines() if line.startswith("Private_Dirty:")]
        open_files = sum(1 for _ in (place / "fd").iterdir())
        threads = sum(1 for _ in (place / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sample(at_s, rss_bytes, sum(map(int, private)) * 1024, open_files, threads)


def size_of(directory: Path, suffix: str = "") -> tuple[int, int]:
    """Bytes and number of the files of a name's end below a directory, of which some may vanish meanwhile."""
    size = count = 0
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
                        elif entry.name.endswith(suffix):
                            size += entry.stat(follow_symlinks=False).st_size
                            count += 1
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            continue
    return size, count


@dataclass(frozen=True)
class Trend:
    """How a quantity went over the last three quarters of a run."""

    begin: float
    median: float
    end: float
    growth: float
    """The rise of the straight line of least squares over that time."""
    most: float


def trend(points: Iterable[tuple[float, float]]) -> Trend:
    """The trend of (time, value) pairs, the first quarter of the time left out as warming up."""
    pairs = sorted(points)
    first, last = pairs[0][0], pairs[-1][0]
    kept = [pair for pair in pairs if pair[0] >= first + (last - first) / 4]
    times, values = [pair[0] for pair in kept], [pair[1] for pair in kept]
    return Trend(
        values[0], median(values), values[-1], slope(times, values) * (times[-1] - times[0]), max(values)
    )


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Least squares: sum((t - t̄)(v - v̄)) / sum((t - t̄)²); 0 where all times are one."""
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times)
    together = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True))
    return together / spread if spread else 0.0
