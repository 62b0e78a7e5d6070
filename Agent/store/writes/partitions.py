"""Months on PostgreSQL: events lie by the time in their session's UUIDv7, steps by that in their run's id.

A partition's key must be part of the table's key. The time in an id is; that of an event is not. So an
event stays unique by session and id, and old months go away whole. What carries no time, or one that is far
off, lies in the default partition.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from Agent.event.ids import uuid7_unix_ms

__all__ = ["Months", "make_month", "month_of_id"]

_FIRST_MONTH: Final = (2020, 1)
_MONTHS_AHEAD: Final = 3
_LOCK_NUMBER: Final = 0x6D6F_6E74  # "mont": two processes make a month one after the other

Month = tuple[int, int]


def month_of_id(text_id: str) -> Month | None:
    """The year and month in a UUIDv7; None where the id is none."""
    try:
        moment = datetime.fromtimestamp(uuid7_unix_ms(text_id) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.year, moment.month


def _following(month: Month) -> Month:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)


def _bound(month: Month) -> str:
    """The first UUID of a month."""
    unix_ms = int(datetime(*month, 1, tzinfo=UTC).timestamp() * 1000)
    digits = f"{unix_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


class Months:
    """Which months have their partitions, so that ingest asks the database once for each."""

    def __init__(self) -> None:
        self._there: set[Month] = set()
        self._lock = threading.Lock()

    def missing(self, ids: Iterable[str], now: datetime) -> list[Month]:
        """The months that these ids need and that were not made yet, and this month and the next likewise.

        Args:
            ids: of sessions and runs.
            now: months up to three ahead of it are made, none later.
        """
        last = month = (now.year, now.month)
        for _ in range(_MONTHS_AHEAD):
            last = _following(last)
        wanted = {found for found in map(month_of_id, ids) if found and _FIRST_MONTH <= found <= last}
        wanted |= {month, _following(month)}
        with self._lock:
            return sorted(wanted - self._there)

    def made(self, month: Month) -> None:
        """Remembers that a month is there."""
        with self._lock:
            self._there.add(month)


def make_month(connection: Connection, month: Month) -> None:
    """Makes the partitions of a month where they are not there; the caller commits."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    name = f"{month[0]}_{month[1]:02}"
    begin, end = _bound(month), _bound(_following(month))
    for table in ("events", "steps"):
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": f"{table}_{name}"}).scalar():
            continue
        try:
            with connection.begin_nested():
                connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {table}_{name} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{begin}') TO ('{end}')"
                    )
                )
        except IntegrityError:
            continue  # rows of that month came while it was far ahead; the default partition keeps them
