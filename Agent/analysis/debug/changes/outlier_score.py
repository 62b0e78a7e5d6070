"""How unlike all before it a change of a field is, whether it lasted, and how peers stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from Agent.analysis.debug.changes.history import FieldChange


def novelty(changes: list[FieldChange], n: int) -> float:
    """How unlike everything before it a change of a field is, 0 to 1."""
    change, before = changes[n], changes[:n]
    number, numbers = change.number, [known.number for known in before]
    known_numbers = [value for value in numbers if value is not None]
    if _breaks(change, before, known_numbers):
        return 0.95
    if number is None or len(known_numbers) < len(before):
        seen = any(known.value == change.value for known in before)
        return 0.2 if seen else 1.0 / (1.0 + 0.1 * (len(before) - 1))
    others = [*_steps(changes[:n]), *_steps(changes[n:])]
    if len(others) < 3:
        # A field that hardly ever moves says much when it does.
        return 0.9 if number not in known_numbers else 0.3
    low, high = min(known_numbers), max(known_numbers)
    step = abs(number - known_numbers[-1])
    largest = max(others) or 1e-12
    if low <= number <= high:
        return 0.2 if step <= largest else 0.5
    # A counter is always beyond everything before it; only a leap says something.
    return max(0.0, min(1.0, (step / largest - 1.5) / 1.5))


def _breaks(change: FieldChange, before: Sequence[FieldChange], numbers: Sequence[float]) -> bool:
    """Whether a value is of another sort than all before it: no number, no sign, a count that goes back."""
    if len(before) < 2:
        return False
    types = {type(known.value) for known in before}
    if change.value is None or type(change.value) not in types | {int, float}:
        return type(change.value) not in types
    number = change.number
    if number is None or len(numbers) < len(before):
        return False
    if number != number or abs(number) == float("inf"):
        return True
    if number < 0 <= min(numbers):
        return True
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    return len(steps) >= 4 and min(steps) >= 0 and number < numbers[-1]


def _steps(changes: list[FieldChange]) -> list[float]:
    """How far a field moved at each of its changes."""
    numbers = [known.number for known in changes]
    return [abs(b - a) for a, b in pairwise(numbers) if a is not None and b is not None]


def lasting(changes: list[FieldChange], n: int) -> float:
    """Whether a field stayed where the change took it, 0.2 to 1; 0.6 if it never came back, but moved on."""
    change, later = changes[n], changes[n + 1 :]
    if not later:
        return 1.0
    before = [known.number for known in changes[:n] if known.number is not None]
    after = [known.number for known in [change, *later] if known.number is not None]
    if before and len(after) == len(later) + 1 and (min(after) > max(before) or max(after) < min(before)):
        return 0.6
    stayed = sum(1 for known in later if known.value == change.value)
    return 0.2 + 0.5 * stayed / len(later)


def share_alike(name: str, change: FieldChange, peers: Mapping[str, Mapping[str, Any]]) -> float:
    """The share of peers whose field ends at the same value: what all have explains nothing."""
    values = [fields[name] for fields in peers.values() if name in fields]
    if len(values) < 3:
        return 0.0
    number = change.number
    if number is not None:
        finals = [value for value in map(_number, values) if value is not None]
        alike = sum(1 for value in finals if abs(value - number) <= 0.25 * abs(number))
        # A value between those of the peers is an ordinary one.
        ordinary = 0.4 if finals and min(finals) <= number <= max(finals) else 0.0
        return max(ordinary, alike / len(values))
    return sum(1 for value in values if value == change.value) / len(values)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(len(value)) if isinstance(value, list | dict) else None


def told_change(name: str, changes: Sequence[FieldChange], n: int) -> str:
    """A change of a field in words."""
    told = f"it set {name} from {_told(changes[n - 1])} to {_told(changes[n])}"
    return told + (", where it stayed" if n == len(changes) - 1 else "")


def _told(change: FieldChange) -> str:
    if change.size is not None:
        return f"{change.size} items"
    return repr(change.value) if isinstance(change.value, str) else str(change.value)


def peer_values(name: str, peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Between what the peers end, in words; empty where too few have numbers."""
    numbers = sorted(value for fields in peers.values() if (value := _number(fields.get(name))) is not None)
    if len(numbers) < 3:
        return ""
    return f" (its peers ended between {numbers[0]:g} and {numbers[-1]:g})"
