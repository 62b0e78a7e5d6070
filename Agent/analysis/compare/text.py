"""A comparison as one screen of text, from its plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from Agent.analysis.text import plural, section, short_number, table

MAX_REAL = 20
MAX_NOISE = 5


def comparison_text(found: Mapping[str, Any]) -> str:
    """The sides, the differences that noise does not explain, and the largest of those that it may.

    Args:
        found: what `Comparison.to_dict` gives.
    """
    head = [f"{label} {_side(side)}" for label, side in (("A", found["first"]), ("B", found["second"]))]
    real = [each for each in found["differences"] if each["is_real"]]
    noise = [each for each in found["differences"] if not each["is_real"]]
    parts = ["\n".join(head)]
    if real:
        parts.append(section(f"Differences that noise does not explain: {len(real)}", _rows(real, MAX_REAL)))
    else:
        parts.append("No difference that noise does not explain.")
    one_sided = [each for each in noise if each["note"].startswith(("new", "gone"))]
    title = "Only on one side, but too few or too close together to be sure"
    parts.append(section(title, _rows(one_sided, MAX_NOISE)))
    noise = [each for each in noise if each not in one_sided]
    changed = [each for each in noise if each["first"] != each["second"]]
    parts.append(section(f"Noise may explain: {plural(len(noise), 'comparison')}", _rows(changed, MAX_NOISE)))
    how = [f"rates are {found['unit']}", *_wrapped(found["method"]), *found["notes"]]
    return "\n\n".join(part for part in [*parts, section("How", how)] if part)


def _side(side: Mapping[str, Any]) -> str:
    ticks = f", {side['ticks']} ticks" if side["ticks"] else ""
    seconds = short_number(round(side["seconds"], 1))
    events, agents = plural(side["events"], "event"), plural(side["agents"], "agent")
    return f"{side['label']}: {events} of {agents} in {seconds} s{ticks}"


def _rows(differences: Sequence[Mapping[str, Any]], limit: int) -> list[str]:
    if not differences:
        return []
    rows: list[Sequence[Any]] = [("", "", "A", "B", "change", "95 % interval", "chance")]
    rows += [
        (
            each["what"],
            each["name"],
            short_number(each["first"]),
            short_number(each["second"]),
            _change(each),
            _interval(each),
            _chance(each),
        )
        for each in differences[:limit]
    ]
    hidden = len(differences) - limit
    return [*table(rows, frozenset({2, 3, 4, 6})), *([f"... and {hidden} more"] if hidden > 0 else [])]


def _change(each: Mapping[str, Any]) -> str:
    """A difference in words: +35 %, x 20, new."""
    first, second, change = each["first"], each["second"], each["change"]
    if each["note"].startswith(("new", "gone")):
        return str(each["note"])
    if change is None or first < 0 or second < 0:
        return f"{'+' if second >= first else ''}{short_number(second - first)}"
    return f"x {short_number(second / first)}" if change >= 2 else f"{change:+.0%}"


def _interval(each: Mapping[str, Any]) -> str:
    if each["low"] is None or each["high"] is None:
        return "-"
    mark = "x " if each["what"] == "latency" else ""
    return f"{mark}{short_number(each['low'])} to {short_number(each['high'])}"


def _chance(each: Mapping[str, Any]) -> str:
    if each["chance"] is None:
        return str(each["note"])
    return "< 0.001" if each["chance"] < 0.001 else f"{each['chance']:.3f}"


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 96)
