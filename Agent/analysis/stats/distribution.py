"""Durations and rewards in a few numbers, by the rule that the engine's `quantile_cont` follows too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
EXACT_ROWS = 1_000_000


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of an ordered, non-empty sequence lies, interpolated."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def describe(values: Sequence[float]) -> dict[str, Any]:
    """Count, mean, p50, p95, p99 and max of some numbers; only a count of 0 for none."""
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return {"count": 0}
    made: dict[str, Any] = {"count": len(finite), "mean": math.fsum(finite) / len(finite)}
    made.update({name: quantile(finite, share) for name, share in QUANTILES.items()})
    made["max"] = finite[-1]
    return made


def quantile_columns(column: str, rows: int) -> tuple[str, str]:
    """`describe_columns` for that many rows, and what its quantiles are: `exact` or `approximate`.

    Exact ones hold every number in memory; beyond a million of them a sketch takes their place.
    """
    if rows <= EXACT_ROWS:
        return describe_columns(column), "exact"
    return describe_columns(column, "approx_quantile"), "approximate (t-digest)"


def describe_columns(column: str, function: str = "quantile_cont") -> str:
    """The same numbers as SQL columns over one numeric column, `count` named `measured`."""
    finite = f"FILTER (WHERE isfinite({column}))"
    quantiles = ", ".join(
        f"{function}({column}, {share}) {finite} AS {name}" for name, share in QUANTILES.items()
    )
    return (
        f"count({column}) {finite} AS measured, fsum({column}) {finite} / measured AS mean, {quantiles}, "
        f"max({column}) {finite} AS max"
    )


def ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by name, the most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def number(value: object) -> float | None:
    """A JSON number, or the text of one (NaN, an integer beyond 64 bit), as a float; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None
