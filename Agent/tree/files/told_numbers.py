"""What events say of their writers' numbers: how far one came, what was dropped, what was retired."""

from __future__ import annotations

from Agent.event.model import Event

__all__ = ["dropped_by", "last_seq_in", "retired_by"]


def last_seq_in(closed: Event) -> int:
    """The last number that a writer took, as its `log.closed` says; its own number where it says none."""
    last_seq = closed.extra.get("last_seq")
    return max(closed.seq, last_seq if isinstance(last_seq, int) else 0)


def dropped_by(event: Event) -> tuple[str, int]:
    """The reason of a `log.dropped`, and how many events were dropped for it."""
    count = event.extra.get("count")
    return str(event.extra.get("reason")), count if isinstance(count, int) else 0


def retired_by(event: Event) -> tuple[str, int, int] | None:
    """Writer, first and last number of a `log.retired` that accounts for its range.

    None for one with a count, which is for people: not all numbers of its range were retired, the account of
    retention has those that were.
    """
    writer, first, last = (event.extra.get(key) for key in ("writer", "first_seq", "last_seq"))
    if "count" in event.extra or not isinstance(writer, str):
        return None
    return (writer, first, last) if isinstance(first, int) and isinstance(last, int) else None
