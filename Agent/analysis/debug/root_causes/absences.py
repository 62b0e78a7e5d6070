"""Recount what is missing about things: of the acts that lack something, how many in the session have it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import OUTCOMES, Act, Log, leaf
from Agent.analysis.debug.root_causes.scan import Absence, KindOfAct

__all__ = ["Absences", "plain"]

Places = Mapping[Any, list[int]]
_FAILED: Final = "failed"


def plain(thing: Any) -> Any:
    """Return the value that names a thing."""
    return thing[1] if isinstance(thing, tuple) else thing


class Absences:
    """Which acts about the same things follow, or precede, others in one session."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: dict[KindOfAct, Places] = {}
        self._kept: dict[Hashable, dict[int, bool]] = {}

    def fails(self, step: KindOfAct) -> bool:
        """Whether acts of the sort of a step fail, too, although the step is of those that do not."""
        return not step.ended and any(act.failed for act in self._log.by_sort[step.sort])

    def places(self, step: KindOfAct) -> Places:
        """Return {thing: places of the acts of a step about it}."""
        if step not in self._found:
            found: dict[Any, list[int]] = defaultdict(list)
            for act in self._log.by_sort[step.sort]:
                if _is_of(act, step):
                    for value in _under(act, step.named):
                        found[value].append(act.place)
            self._found[step] = found
        return self._found[step]

    def kept(
        self, missing: Absence, group: Collection[tuple[str, str]], *, is_after: bool
    ) -> dict[int, bool]:
        """Return {place of an act of a group: whether it has what others lack, about all of its things}.

        Args:
            missing: what is missing.
            group: (field, value) pairs of the acts to count; empty for all.
            is_after: whether it is missing after these acts, not before.
        """
        key = missing, tuple(group), is_after
        if key not in self._kept:
            self._kept[key] = self._recounted(missing, group, is_after=is_after)
        return self._kept[key]

    def _recounted(
        self, missing: Absence, group: Collection[tuple[str, str]], *, is_after: bool
    ) -> dict[int, bool]:
        others = self.places(missing.other)
        kept: dict[int, bool] = {}
        for thing, own in self.places(missing.step).items():
            held = others.get(thing, [])
            for n, place in enumerate(own):
                if missing.is_of_repeated and not n:
                    continue
                again = missing.is_until_again
                if is_after:
                    end = own[n + 1] if again and n + 1 < len(own) else len(self._log.acts)
                    has = bisect_right(held, place) < bisect_left(held, end)
                else:
                    has = bisect_right(held, own[n - 1] if again and n else -1) < bisect_left(held, place)
                kept[place] = kept.get(place, True) and has
        if group:
            wanted = set(group)
            kept = {
                place: has
                for place, has in kept.items()
                if wanted <= {pair for each in self._log.acts[place].groups for pair in each.key}
            }
        return kept

    def comes_anyway(self, act: Act, thing: Any, other: KindOfAct, *, is_after: bool) -> bool:
        """Whether what an act lacks happens about the thing, but not before such an act recurs."""
        held = self.places(other).get(thing, [])
        return bool(held) and (held[-1] > act.place if is_after else held[0] < act.place)

    def comes_elsewhere(self, act: Act, thing: Any, other: KindOfAct, *, is_after: bool) -> bool:
        """Whether an act of the name that is missing has the thing, in another field or by another role."""
        return any(
            (act.place < each.place if is_after else each.place < act.place)
            for sort, acts in self._log.by_sort.items()
            if sort[1:] == other.sort[1:]
            for each in acts
            if _is_of(each, other) and thing in each.values.values()
        )

    @staticmethod
    def things(act: Act, step: KindOfAct) -> list[Any]:
        """Return the things that an act has in the field that names them."""
        return _under(act, step.named)


def _under(act: Act, named: str) -> list[Any]:
    found = (value for path, value in act.values.items() if leaf(path) == named and not path.endswith("#"))
    return [*dict.fromkeys(found)]


def _is_of(act: Act, step: KindOfAct) -> bool:
    if not step.ended or act.failed:
        return act.failed == (step.ended == _FAILED)
    return step.ended in {str(act.values[path]) for path in OUTCOMES if path in act.values}
