"""Differences that do not count: those that the user declared, and ids and times that libraries made.

`comparison.py` uses this if two leaves differ. A declared difference makes a replay EQUIVALENT, and the
report counts it; every option is off by default.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from Agent.errors import UsageError
from Agent.event.script_names import text_elsewhere
from Agent.event.values.plain import SHORTEST_MADE, UNITS, unit_of

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
_DECLARED: Final = {"paths": _PATH, "times": _TIME, "ids": _ID}
"""The parts of texts that an option of `Normaliser` lets differ, in the order in which they are masked."""
_TIME_TAGS: Final = frozenset({"datetime", "date", "time", "timedelta"})
_CLOCKS: Final = ("time.", "datetime.")
_MADE_IDS: Final = ("uuid.",)


class Matches(NamedTuple):
    """The one-to-one matches of recorded and replayed ids, in both directions."""

    replayed: dict[str, str]
    recorded: dict[str, str]

    def match(self, recorded: str, replayed: str) -> bool:
        """Match two ids; return whether neither was matched with a different id before."""
        known = self.replayed.setdefault(recorded, replayed)
        return known == replayed and self.recorded.setdefault(replayed, recorded) == recorded


_Mark = tuple[Counter[str], Matches, int]
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
        self._bound = Matches({}, {})

    def mark(self) -> _Mark:
        """Return a copy of the state, for `go_back` after a failed attempt."""
        bound = Matches(*map(dict, self._bound))
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
        if apart is not None and all(self._bound.match(*pair) for pair in apart):
            self.of_libraries += 1
            return True
        if apart:
            self.go_back(mark)
            mark = self.mark()
        (one, parts), (other, its_parts) = self._split(recorded), self._split(replayed)
        ids, its_ids = parts.get("ids", []), its_parts.get("ids", [])
        if one != other or len(ids) != len(its_ids) or not all(map(self._bound.match, ids, its_ids)):
            self.go_back(mark)
            return False
        for kind, texts in parts.items():
            self.counts[kind] += sum(a != b for a, b in zip(texts, its_parts[kind], strict=True))
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

    def _split(self, text: str) -> tuple[str, dict[str, list[str]]]:
        """Return a text without the parts that may differ, and these parts by kind."""
        parts = {}
        for kind, pattern in _DECLARED.items():
            if getattr(self.normaliser, kind):
                parts[kind] = pattern.findall(text)
                text = pattern.sub(_masked_path if pattern is _PATH else f"<{kind[:-1]}>", text)
        return text, parts


def _masked_path(path: re.Match[str]) -> str:
    """Return the part of a path that must agree: its last part, unless that is a random temporary name."""
    last = re.split(r"[/\\]", path[0])[-1]
    return f"<path>/{'<temporary>' if _TEMPORARY.fullmatch(last) else last}"


def ignored_names(ignore: Collection[str]) -> tuple[str, ...]:
    """Return the distinct patterns of fields to ignore.

    Raises:
        UsageError: `ignore` is a single text, or a pattern is empty.
    """
    if isinstance(ignore, str) or not all(isinstance(each, str) and each for each in ignore):
        raise UsageError(f"ignore is {ignore!r}", remedy='give a list of names of fields, such as ["cache"]')
    return tuple(dict.fromkeys(ignore))


# The ids and times that installed libraries made in a replay, which differ in every run.
#
# A library's clock reads and draws for ids are not recorded. If two texts or numbers differ only in such
# values, they agree if the recorded value has the same form. `Overlooked` makes sure that each replayed id
# matches one recorded id throughout; `attempts.py` replays twice more with other clocks and draws.

T = TypeVar("T")
NOT_READ_IN_CALLS: Final = (
    "large arguments or results were not read in their calls: compared by class and plain attributes"
)
RECORD_LARGE: Final = 'to compare their content, record with large_arguments="always"'
MADE_BY_LIBRARIES: Final = "values agree but for ids and times that installed libraries made"
MADE_BY_RUNS: Final = "values agree but for ids and times, which each run makes anew"
_SHORTEST_ID: Final = 8
_UUID_DIGITS: Final = 32
_GAIN_US: Final = 50
_NEAR_S: Final = 86_400.0
"""How far a moment may be from the start of its run; local time may be that far from UTC."""
_PIECES: Final = re.compile(
    r"(?<![0-9A-Za-z])(?P<id>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{8,64})(?![0-9A-Za-z])"
    r"|(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,]\d{1,9})?"
)
_DURATION: Final = re.compile(r"(?<![\w:.-])(?:\d{1,2}:[0-5]\d:[0-5]\d\.\d{6}|0:00:00)(?![\w:.])")


class LibraryValues:
    """Collects values that libraries made, and checks whether values differ only in those."""

    note = MADE_BY_LIBRARIES

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._seconds: set[str] = set()
        """Times to the second, in UTC, in local time and in the library's own time zone."""
        self._numbers: set[float] = set()
        self._milliseconds: set[int] = set()
        """Moments as the first digits of a UUID version 7, made from a clock and random bytes."""
        self._reads = 0

    def __bool__(self) -> bool:
        return bool(self._ids or self._numbers)

    def kept(self, value: T, clock_shift_s: int) -> T:
        """Collect and return a value that a library reads, moved ahead by `clock_shift_s` if it is a time.

        A shifted clock also gains _GAIN_US per read, so that two runs cannot measure the same duration.
        """
        self._reads += 1
        ahead_us = clock_shift_s * 1_000_000 + (self._reads * _GAIN_US if clock_shift_s else 0)
        later = later_time(value, ahead_us * 1000)
        self.add(later)
        return later

    def add(self, value: object) -> None:
        """Collect random bytes, a datetime, a number of seconds since 1970 (in any unit), or an id."""
        if isinstance(value, bytes):
            self._add_id(value.hex())
            if len(value) == 16:  # `uuid4` sets six of the bits
                high, low = f"{value[6] & 0x0F | 0x40:02x}", f"{value[8] & 0x3F | 0x80:02x}"
                self._add_id(value[:6].hex() + high + value[7:8].hex() + low + value[9:].hex())
        elif isinstance(value, datetime):
            self._seconds.add(f"{value:%Y-%m-%dT%H:%M:%S}")
            self._add_number(value.timestamp())
        elif isinstance(value, (int, float)):
            self._add_number(value)
        else:  # an id that a compiled library returned
            self._add_id(str(value).replace("-", "").lower())

    def _add_id(self, new_id: str) -> None:
        self._ids.update(new_id[:end] for end in range(_SHORTEST_ID, len(new_id) + 1))

    def _add_number(self, value: float) -> None:
        unit = unit_of(value)
        if unit is None:
            return
        seconds = value / unit
        self._numbers.add(value)
        self._numbers.update(int(seconds * each) for each in UNITS)
        self._milliseconds.add(int(seconds * 1000))
        for moment in (datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(seconds)):  # noqa: DTZ006
            self._seconds.add(f"{moment:%Y-%m-%dT%H:%M:%S}")

    def ids_apart(self, recorded: str, replayed: str) -> list[tuple[str, str]] | None:
        """Return the (recorded, replayed) pairs of ids in which two texts differ.

        None if the texts differ in more than ids and times, or in one that is not a library's.
        """
        if not self or _PIECES.sub(_form, recorded) != _PIECES.sub(_form, replayed):
            return None
        apart = []
        for one, other in zip(_PIECES.finditer(recorded), _PIECES.finditer(replayed), strict=True):
            if one[0] == other[0]:
                continue
            if other["id"] is not None:
                apart.append((one["id"], other["id"]))
            elif not self._is_moment(one, other):
                return None
        return apart if all(self._is_made(*pair) for pair in apart) else None

    def _is_moment(self, _recorded: re.Match[str], replayed: re.Match[str]) -> bool:
        """Whether the replayed moment is a library's."""
        return f"{replayed['day']}T{replayed['time']}" in self._seconds

    def _is_made(self, recorded: str, replayed: str) -> bool:
        """Whether the replayed id is a library's; a UUID version 7 contains the moment when it was made."""
        one, other = (each.replace("-", "").lower() for each in (recorded, replayed))
        if other in self._ids:
            return True
        is_of_time = len(one) == len(other) == _UUID_DIGITS and one[12] == other[12] == "7"
        return is_of_time and int(other[:12], 16) in self._milliseconds

    def number(self, recorded: float, replayed: float) -> bool:
        """Whether two numbers are times in the same unit, and the replayed one is a library's."""
        return replayed in self._numbers and unit_of(recorded) == unit_of(replayed)


class ValuesOfRun(LibraryValues):
    """For another run of the whole program, in which the ids and times of libraries were not collected.

    Any id agrees with another of its form, and a moment of one run with a moment of the other.

    Args:
        not_made: (recorded, replayed) ids that do not agree, since other runs have them, too.
        runs_s: the seconds since 1970 at which each of both runs began.
        durations: gets the replayed durations, as `str(timedelta)` writes them, that differ from the recorded
            ones, which then agree, too; None compares durations.
    """

    note = MADE_BY_RUNS

    def __init__(
        self,
        runs_s: tuple[float, float],
        *,
        durations: list[str] | None = None,
        not_made: Collection[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self.made_ids: set[tuple[str, str]] = set()
        """The (recorded, replayed) ids that agreed by their form."""
        self._not_made = not_made
        self._runs_s = runs_s
        self._durations = durations

    def __bool__(self) -> bool:
        return True

    def ids_apart(self, recorded: str, replayed: str) -> list[tuple[str, str]] | None:
        """Return the same as for one action, for ids of at least 16 digits and moments near both runs."""
        if self._durations is not None:
            pairs = zip(_DURATION.findall(recorded), _DURATION.findall(replayed), strict=False)
            self._durations += [other for one, other in pairs if one != other]
            recorded, replayed = (_DURATION.sub("<duration>", each) for each in (recorded, replayed))
        return super().ids_apart(recorded, replayed)

    def _is_moment(self, recorded: re.Match[str], replayed: re.Match[str]) -> bool:
        return self._are_near(_moment_s(recorded), _moment_s(replayed))

    def _is_made(self, recorded: str, replayed: str) -> bool:
        is_made = _is_long(recorded) and _is_long(replayed) and (recorded, replayed) not in self._not_made
        if is_made:
            self.made_ids.add((recorded, replayed))
        return is_made

    def number(self, recorded: float, replayed: float) -> bool:
        """Whether two numbers are moments in the same unit, each near its run."""
        unit = unit_of(recorded)
        return (
            unit is not None
            and unit == unit_of(replayed)
            and self._are_near(recorded / unit, replayed / unit)
        )

    def _are_near(self, recorded_s: float, replayed_s: float) -> bool:
        sides = zip((recorded_s, replayed_s), self._runs_s, strict=True)
        return all(abs(moment_s - run_s) <= _NEAR_S for moment_s, run_s in sides)


def later_time(value: T, ahead_ns: int) -> T:
    """Return what a clock shows later: nanoseconds, seconds or a datetime; other values as they are."""
    later: Any = value
    if isinstance(value, int):
        later = value + ahead_ns
    elif isinstance(value, float):
        later = value + ahead_ns / 1e9
    elif isinstance(value, datetime):
        later = value + timedelta(microseconds=ahead_ns // 1000)
    return later  # type: ignore[no-any-return]


def _moment_s(piece: re.Match[str]) -> float:
    try:
        return datetime.fromisoformat(f"{piece['day']}T{piece['time']}+00:00").timestamp()
    except ValueError:  # such as month 13
        return 0.0


def _is_long(text: str) -> bool:
    return len(text) >= SHORTEST_MADE and not text.isdecimal()


def form_of(value: Any) -> str:
    """Return a value as text with ids and times masked, which is equal in two replays."""
    return _PIECES.sub(_form, repr(value))


def agree_by_form(recorded: Any, replayed: Any) -> bool:
    """Whether two values differ in ids and times alone."""
    if type(recorded) in {int, float} and type(replayed) in {int, float}:
        unit = unit_of(recorded)
        return unit is not None and unit == unit_of(replayed)
    return form_of(recorded) == form_of(replayed)


def _form(piece: re.Match[str]) -> str:
    """Return the form in which two ids or times must agree: an id's length, or just a time."""
    return f"<id of {len(piece['id'])}>" if piece["id"] is not None else "<moment>"
