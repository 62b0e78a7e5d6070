"""The ladder from a call that is made now to the recorded one that is meant; one module, and one table of it.

Rungs, the first that holds: the same arguments at the same place; the same elsewhere; arguments that differ
only where a secret is hidden; arguments that are near, at the same place and turn. Else it is a miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, NamedTuple

from Agent.event.pointers import escape
from Agent.event.values.digest import canonical_bytes, differ_in_tokens_alone, is_shape
from Agent.flight.matching.recorded_calls import RecordedCall
from Agent.flight.open_runs.tagged_values import Tagged, is_unseen, opaque_key

__all__ = ["Match", "Nearest", "RequestedCall", "Rung", "distances", "find_match"]

_UNORDERED = frozenset({"set", "frozenset", "map", "Counter", "defaultdict"})
_MAX_COMPARED_CHARS = 1_000
_MAX_LOOKED_AT = 24
_SHOWN_NEAREST = 3


class Rung(StrEnum):
    """How a call was found."""

    EXACT = "exact"
    MOVED = "moved"
    HIDDEN = "hidden"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call that is made now.

    Args:
        place: the call site and the path of spans; None where only name and arguments count.
        ordinal: how many calls of that name were made there before.
    """

    kind: str
    name: str
    arguments: Tagged
    place: tuple[str, tuple[str, ...]] | None = None
    ordinal: int = 0

    def is_at(self, call: RecordedCall) -> bool:
        """Whether the recorded call was made where this one is."""
        return self.place is None or self.place == call.place


@dataclass(frozen=True, slots=True)
class Match:
    """The recorded call that was meant."""

    call: RecordedCall
    rung: Rung
    distance: Mapping[str, float]
    """Pointer of each argument that differs, `site` and `path` to how much: 0 (hidden) to 1 (another)."""

    @property
    def is_exact(self) -> bool:
        """Whether name, arguments and place are those of the recording."""
        return self.rung is Rung.EXACT


class Nearest(NamedTuple):
    """A recorded call that was not meant, and in what it differs."""

    call: RecordedCall
    distance: Mapping[str, float]


def find_match(
    free: Sequence[RecordedCall], asked: RequestedCall, tolerance: float
) -> Match | tuple[Nearest, ...]:
    """The first rung that holds; where none does, the calls that come nearest.

    Args:
        free: the calls of that name that no answer was taken of, in recorded order.
        tolerance: the most that any one argument may differ on the last rung; 0 shuts it.
    """
    digest = asked.arguments.digest
    elsewhere = None
    for call in free:
        if digest and call.digest == digest:
            if asked.is_at(call):
                return Match(call, Rung.EXACT, {})
            elsewhere = elsewhere or call
    if elsewhere is not None:
        return Match(elsewhere, Rung.MOVED, _moved(elsewhere, asked))
    here = [call for call in free if asked.is_at(call)]
    turn = _at_its_turn(here, asked)
    looked_at = dict.fromkeys((*filter(None, (turn,)), *here[:_MAX_LOOKED_AT], *free[:_MAX_LOOKED_AT]))
    measured = [Nearest(call, distances(call.arguments, asked.arguments)) for call in looked_at]
    for call, distance in measured:
        if not any(distance.values()):
            return Match(call, Rung.HIDDEN, {**_moved(call, asked), **distance})
    for call, distance in measured:
        if call is turn and max(distance.values()) <= tolerance:
            return Match(call, Rung.NEAR, distance)
    return tuple(sorted(measured, key=lambda one: sum(one.distance.values()))[:_SHOWN_NEAREST])


def _at_its_turn(here: Sequence[RecordedCall], asked: RequestedCall) -> RecordedCall | None:
    """The call that comes next here: where the place is known the one of the same ordinal."""
    if asked.place is None:
        return here[0] if here else None
    return next((call for call in here if call.ordinal == asked.ordinal), None)


def _moved(call: RecordedCall, asked: RequestedCall) -> dict[str, float]:
    if asked.place is None:
        return {}
    pairs = zip(("site", "path"), call.place, asked.place, strict=True)
    return {name: 1.0 for name, recorded, given in pairs if recorded != given}


def distances(recorded: Tagged, given: Tagged) -> dict[str, float]:
    """How far two values are from each other, by the JSON Pointer of each part that differs.

    0 where a secret hides the difference; for texts the share that is not common (Ratcliff and Obershelp, as
    `difflib` has it), for floats the relative difference, 1 for everything else, and for texts of which
    only the shape was kept.
    """
    found: dict[str, float] = {}
    _walk(recorded.value, given.value, "", recorded.types, given.types, found)
    return found


def _walk(
    one: Any,
    other: Any,
    at: str,
    tags: Mapping[str, str],
    other_tags: Mapping[str, str],
    found: dict[str, float],
) -> None:
    tag, other_tag = tags.get(at), other_tags.get(at)
    if isinstance(one, str) and isinstance(other, str):
        if one != other:
            # Two digests are not nearer to each other for the digits that they happen to share.
            unlike = "opaque" in {tag, other_tag} and (is_shape(one) or is_shape(other))
            found[at] = 1.0 if unlike else _text_distance(one, other)
        elif tag != other_tag and "redacted" not in {tag, other_tag}:
            found[at] = 1.0
        return
    is_object = tag == "opaque" and isinstance(one, dict)
    if tag != other_tag or type(one) is not type(other) or (is_object and not _are_one_object(one, other)):
        found[at] = 1.0
    elif is_object:
        return
    elif isinstance(one, dict):
        for key in filter(other.__contains__, one):
            _walk(one[key], other[key], f"{at}/{escape(key)}", tags, other_tags, found)
        alone = [key for key in {**one, **other} if (key in one) != (key in other)]
        found.update({f"{at}/{escape(key)}": 1.0 for key in alone})
    elif isinstance(one, list) and (tag or "").partition(":")[0] in _UNORDERED:
        if canonical_bytes(one, tags, at) != canonical_bytes(other, other_tags, at):
            found[at] = 1.0
    elif isinstance(one, list):
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            _walk(left, right, f"{at}/{index}", tags, other_tags, found)
        shorter, longer = sorted((len(one), len(other)))
        found.update({f"{at}/{index}": 1.0 for index in range(shorter, longer)})
    elif repr(one) != repr(other):  # 0.0 and -0.0 are two values
        found[at] = _number_distance(one, other)


def _are_one_object(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects without a codec are equal as far as both descriptions go."""
    left, right = opaque_key(one), opaque_key(other)
    if is_unseen("opaque", left) or is_unseen("opaque", right):
        return False
    if ("digest" in left) == ("digest" in right):
        return left == right
    # One was recorded before content digests.
    return all(one.get(key) == other.get(key) for key in ("class", "repr", "attributes"))


def _text_distance(one: str, other: str) -> float:
    if differ_in_tokens_alone(one, other):
        return 0.0
    if max(len(one), len(other)) > _MAX_COMPARED_CHARS:
        one_words, other_words = one.split(), other.split()
        if max(len(one_words), len(other_words)) > _MAX_COMPARED_CHARS:
            return 1.0
        ratio = SequenceMatcher(None, one_words, other_words, autojunk=False).quick_ratio()
    else:
        ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return round(1.0 - ratio, 4) or 0.0001


def _number_distance(one: Any, other: Any) -> float:
    """Counts and numbers of pages are other ones where they differ at all; measurements may be close."""
    if type(one) is not float:
        return 1.0
    if one == other:
        return 0.0001
    return round(min(1.0, abs(one - other) / max(abs(one), abs(other))), 4) or 0.0001
