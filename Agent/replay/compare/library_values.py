"""The ids and moments that installed libraries made in a replay, which are others in every run.

What a library reads from a clock or draws for an id is not recorded. Where such a value is all that two texts
or numbers differ by, they agree if the recorded one has the same form. `Overlooked` sees to it that each
replayed id stands for one recorded id throughout; `rerun.py` replays twice more with other clocks and draws.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from Agent.event.values.made_texts import UNITS, unit_of

T = TypeVar("T")
_SHORTEST_ID: Final = 8
_GAIN_US: Final = 50
_PIECES: Final = re.compile(
    r"(?<![0-9A-Za-z])(?P<id>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{8,64})(?![0-9A-Za-z])"
    r"|(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,]\d{1,9})?"
)


class LibraryValues:
    """Collects what libraries made; tells where a recorded and a replayed value differ in that alone."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._seconds: set[str] = set()
        """Moments by the second, in UTC, in local time and as they were made."""
        self._numbers: set[float] = set()
        self._reads = 0

    def __bool__(self) -> bool:
        return bool(self._ids or self._numbers)

    def kept(self, value: T, clock_shift_s: int) -> T:
        """What a library's read gives, from a clock that is so far ahead; it is kept.

        A clock that is ahead gains with each read: two runs may measure the same duration, to the tick.
        """
        moved: Any = value
        self._reads += 1
        ahead_us = clock_shift_s * 1_000_000 + (self._reads * _GAIN_US if clock_shift_s else 0)
        if isinstance(value, int):
            moved = value + ahead_us * 1000
        elif isinstance(value, float):
            moved = value + ahead_us / 1e6
        elif isinstance(value, datetime):
            moved = value + timedelta(microseconds=ahead_us)
        self.add(moved)
        return moved  # type: ignore[no-any-return]

    def add(self, value: object) -> None:
        """Keep bytes of chance, a moment, or a number of seconds."""
        if isinstance(value, bytes):
            self._add_id(value.hex())
            if len(value) == 16:  # `uuid4` sets six of the bits
                high, low = f"{value[6] & 0x0F | 0x40:02x}", f"{value[8] & 0x3F | 0x80:02x}"
                self._add_id(value[:6].hex() + high + value[7:8].hex() + low + value[9:].hex())
        elif isinstance(value, datetime):
            self._add_moment(value)
        elif isinstance(value, (int, float)):
            self._add_number(value)
        else:  # an id of a library in compiled code
            self._add_id(str(value).replace("-", "").lower())

    def _add_id(self, made: str) -> None:
        self._ids.update(made[:end] for end in range(_SHORTEST_ID, len(made) + 1))

    def _add_number(self, value: float) -> None:
        unit = unit_of(value)
        if unit is None:
            return
        seconds = value / unit
        self._numbers.add(value)
        self._numbers.update(int(seconds * each) for each in UNITS)
        for moment in (datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(seconds)):  # noqa: DTZ006
            self._seconds.add(f"{moment:%Y-%m-%dT%H:%M:%S}")

    def _add_moment(self, moment: datetime) -> None:
        self._seconds.add(f"{moment:%Y-%m-%dT%H:%M:%S}")
        self._add_number(moment.timestamp())

    def ids_apart(self, recorded: str, replayed: str) -> list[tuple[str, str]] | None:
        """The ids in which two texts differ, each with the replayed one that stands for it.

        None where the texts differ in more than ids and moments, or a replayed one is not a library's.
        """
        if not self or _PIECES.sub(_form, recorded) != _PIECES.sub(_form, replayed):
            return None
        apart = []
        for one, other in zip(_PIECES.finditer(recorded), _PIECES.finditer(replayed), strict=True):
            if one[0] == other[0]:
                continue
            if other["id"] is not None:
                apart.append((one["id"], other["id"]))
            elif f"{other['day']}T{other['time']}" not in self._seconds:
                return None
        is_of_library = all(other.replace("-", "").lower() in self._ids for _, other in apart)
        return apart if is_of_library else None

    def number(self, recorded: float, replayed: float) -> bool:
        """Whether two numbers are moments, and the replayed one is a library's."""
        return replayed in self._numbers and unit_of(recorded) == unit_of(replayed)


def form_of(value: Any) -> str:
    """A value as text, without its ids and moments: what two replays have in common."""
    return _PIECES.sub(_form, repr(value))


def _form(piece: re.Match[str]) -> str:
    """What has to agree of an id or a moment: which of the two it is, and its length."""
    return f"<id of {len(piece['id'])}>" if piece["id"] is not None else "<moment>"
