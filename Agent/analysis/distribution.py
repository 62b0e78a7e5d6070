"""Durations and rewards in a few numbers, by the rule that the engine's `quantile_cont` follows too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


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


def describe_columns(column: str) -> str:
    """The same numbers as SQL columns over one numeric column, `count` named `measured`."""
    finite = f"FILTER (WHERE isfinite({column}))"
    quantiles = ", ".join(
        f"quantile_cont({column}, {share}) {finite} AS {name}" for name, share in QUANTILES.items()
    )
    return (
        f"count({column}) {finite} AS measured, fsum({column}) {finite} / measured AS mean, {quantiles}, "
        f"max({column}) {finite} AS max"
    )


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
