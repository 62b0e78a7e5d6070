"""Declared differences: two values that differ only in these count as equal.

`comparison.py` uses this if two leaves differ. A difference allowed here makes a replay EQUIVALENT, and the
report counts it; every option is off by default.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from Agent.errors import UsageError
from Agent.event.script_names import text_elsewhere
from Agent.event.values.made_texts import unit_of
from Agent.replay.compare.library_values import LibraryValues

_HEX = "0-9a-fA-F"
_ID: Final = re.compile(
    rf"(?<![0-9A-Za-z])(?:[{_HEX}]{{8}}(?:-[{_HEX}]{{4}}){{3}}-[{_HEX}]{{12}}"  # a UUID
    rf"|(?=[{_HEX}]{{0,63}}[0-9])[{_HEX}]{{16,64}}"  # a span's id, a digest
    r"|[0-7][0-9A-HJKMNP-TV-Z]{25})(?![0-9A-Za-z])"  # a ULID
)
_TIME: Final = re.compile(
    r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)"
    r"|(?<!\d)\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?!\d)"
)
_PATH: Final = re.compile(r"(?<![\w./~-])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+~%-]+){2,}")
_TEMPORARY: Final = re.compile(r"tmp[a-z0-9_]{8}")
_TIME_TAGS: Final = frozenset({"datetime", "date", "time", "timedelta"})
_CLOCKS: Final = ("time.", "datetime.")
_MADE_IDS: Final = ("uuid.",)


class _Bindings(NamedTuple):
    """The one-to-one matches of recorded and replayed ids, in both directions."""

    replayed: dict[str, str]
    recorded: dict[str, str]


_Mark = tuple[Counter[str], _Bindings, int]
"""A copy of the state of `Overlooked`."""


@dataclass(frozen=True, slots=True)
class Normaliser:
    """The differences that are allowed between a recording and its replay; each is off by default.

    Args:
        ids: UUIDs, ULIDs and hexadecimal ids of 16 to 64 digits, provided that they match one to one.
        times: dates and times, in texts, as values of `datetime`, and as numbers since 1970.
        order: the order of lists and of an action's effects; the members must be the same.
        floats: the allowed difference of numbers relative to the larger one; 0 for none.
        paths: the directories in absolute paths, and the names of temporary files.
    """

    ids: bool = False
    times: bool = False
    order: bool = False
    floats: float = 0.0
    paths: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.floats, (int, float)) or not 0 <= self.floats < 1:
            raise UsageError(f"floats is {self.floats!r}, not a share from 0 to below 1", remedy="try 1e-9")

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        return ", ".join(
            f"floats={self.floats:g}" if each.name == "floats" else each.name
            for each in fields(self)
            if getattr(self, each.name)
        )

    def to_object(self) -> dict[str, Any]:
        """Return the options that are on as a JSON object."""
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}

    @classmethod
    def from_object(cls, stored: Mapping[str, Any]) -> Normaliser:
        """Restore a normaliser from a JSON object.

        Raises:
            UsageError: an option is unknown or has a wrong type.
        """
        known = {each.name: type(each.default) for each in fields(cls)}
        for name, value in stored.items():
            fits = isinstance(value, (int, float)) if known.get(name) is float else isinstance(value, bool)
            if name not in known or not fits:
                raise UsageError(
                    f"unknown normaliser {name}={value!r}",
                    remedy="ids, times, order and paths are true or false, floats is a number",
                )
        return cls(**stored)


class Overlooked:
    """Decides whether differing leaves count as equal, counts them, and keeps the matches of ids.

    Args:
        normaliser: the allowed differences.
        made: values that installed libraries made in this replay.
    """

    def __init__(self, normaliser: Normaliser, made: LibraryValues | None = None) -> None:
        self.normaliser = normaliser
        self.made = LibraryValues() if made is None else made
        self.of_libraries = 0
        """The number of values that differ only in values that libraries made."""
        self.counts: Counter[str] = Counter()
        self._bound = _Bindings({}, {})

    def mark(self) -> _Mark:
        """Return a copy of the state, for `go_back` after a failed attempt."""
        bound = _Bindings(dict(self._bound.replayed), dict(self._bound.recorded))
        return Counter(self.counts), bound, self.of_libraries

    def go_back(self, mark: _Mark) -> None:
        """Restore the state of the mark."""
        self.counts, self._bound, self.of_libraries = mark

    def text(self, recorded: str, replayed: str) -> bool:
        """Whether two texts differ only in allowed ways; memory addresses may always differ."""
        if " at 0x" in recorded and text_elsewhere(recorded) == text_elsewhere(replayed):
            return True
        mark = self.mark()
        apart = self.made.ids_apart(recorded, replayed)
        if apart is not None and all(self._bind(*pair) for pair in apart):
            self.of_libraries += 1
            return True
        if apart:
            self.go_back(mark)
            mark = self.mark()
        one, other = self._without(recorded), self._without(replayed)
        same = one.rest == other.rest and len(one.ids) == len(other.ids)
        same = same and all(map(self._bind, one.ids, other.ids))
        if not same:
            self.go_back(mark)
            return False
        pairs = {"ids": (one.ids, other.ids), "times": (one.times, other.times)}
        pairs["paths"] = (one.paths, other.paths)
        for kind, (left, right) in pairs.items():
            self.counts[kind] += sum(a != b for a, b in zip(left, right, strict=True))
        return True

    def number(self, recorded: Any, replayed: Any) -> bool:
        """Whether two numbers differ only in allowed ways: within the tolerance, or both are times."""
        tolerance = self.normaliser.floats
        is_float = isinstance(recorded, float) or isinstance(replayed, float)
        if tolerance and is_float and math.isclose(recorded, replayed, rel_tol=tolerance, abs_tol=1e-300):
            self.counts["floats"] += 1
            return True
        if self.normaliser.times and unit_of(recorded) is not None and unit_of(recorded) == unit_of(replayed):
            self.counts["times"] += 1
            return True
        if self.made.number(recorded, replayed):
            self.of_libraries += 1
            return True
        return False

    def tagged(self, tag: str) -> bool:
        """Whether any two values with this tag count as equal."""
        if self.normaliser.times and tag in _TIME_TAGS:
            self.counts["times"] += 1
            return True
        return False

    def excuses(self, source: str) -> str | None:
        """Return the option that allows an unrecorded read of this source to differ; None if none does."""
        if self.normaliser.times and source.startswith(_CLOCKS):
            return "times"
        return "ids" if self.normaliser.ids and source.startswith(_MADE_IDS) else None

    def descriptions(self) -> list[str]:
        """Return the counted differences in words."""
        return [
            f"{count:,} {kind} that differ, as declared"
            for kind, count in sorted(self.counts.items())
            if count
        ]

    def _bind(self, recorded: str, replayed: str) -> bool:
        """Match two ids; return whether neither was matched with a different id before."""
        known = self._bound.replayed.setdefault(recorded, replayed)
        return known == replayed and self._bound.recorded.setdefault(replayed, recorded) == recorded

    def _without(self, text: str) -> _Parts:
        """Split a text into the parts that may differ and the rest."""
        parts = _Parts("", [], [], [])
        for is_on, pattern, found, mark in (
            (self.normaliser.paths, _PATH, parts.paths, "<path>"),
            (self.normaliser.times, _TIME, parts.times, "<time>"),
            (self.normaliser.ids, _ID, parts.ids, "<id>"),
        ):
            if not is_on:
                continue
            ends = [_last_part(each) for each in pattern.findall(text)] if pattern is _PATH else []
            found.extend(pattern.findall(text))
            at = iter(ends)
            text = pattern.sub(lambda _, mark=mark, at=at: mark + next(at, ""), text)  # type: ignore[misc]
        return parts._replace(rest=text)


class _Parts(NamedTuple):
    rest: str
    ids: list[str]
    times: list[str]
    paths: list[str]


def _last_part(path: str) -> str:
    """Return the part of a path that must agree: its last part, unless that is a random temporary name."""
    last = re.split(r"[/\\]", path)[-1]
    return _TEMPORARY.sub("/<temporary>", last) if _TEMPORARY.fullmatch(last) else f"/{last}"


def ignored_names(ignore: Collection[str]) -> tuple[str, ...]:
    """Return the distinct patterns of fields to ignore.

    Raises:
        UsageError: `ignore` is a single text, or a pattern is empty.
    """
    if isinstance(ignore, str) or not all(isinstance(each, str) and each for each in ignore):
        raise UsageError(f"ignore is {ignore!r}", remedy='give a list of names of fields, such as ["cache"]')
    return tuple(dict.fromkeys(ignore))
