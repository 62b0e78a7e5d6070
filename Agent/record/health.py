"""The health of the recording: counters by reason, and a line on stderr for the first event of each reason.

Nothing here raises, since it is called while errors are handled; but an error raised by a signal handler of
the program is passed on to the program.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from errno import errorcode
from typing import Any, Final

from Agent.event.limits_of_time import pass_on
from Agent.record.encode.safe_text import message_of, shown_safely

TOO_LATE: Final = "recording ended before the event was written"


class Health:
    """Counters of one pipeline; `dropped` maps a reason to the number of lost events."""

    __slots__ = ("_safe_events", "clean", "dropped", "events", "late", "notes", "too_deep", "unreported")

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        self.clean = clean
        """Replaces secrets in a message that goes to stderr, which may be a log file."""
        self.events = 0
        """Events written."""
        self.dropped: Counter[str] = Counter()
        self.unreported: Counter[str] = Counter()
        """Drops that no `log.dropped` event in the recording has reported yet."""
        self.notes: Counter[str] = Counter()
        """Problems that lost no event: collisions of keys, cut values, unreadable state."""
        self._safe_events = 0
        self.too_deep = 0
        """Events lost when the recursion limit left no frame to count them; `settle` counts them."""
        self.late: int | None = None
        """Events lost by calls that were running when the files were closed; None while they are open."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count events that were not written."""
        if self.late is not None:
            reason = TOO_LATE
            self.late += count
        self.dropped[reason] += count
        self.unreported[reason] += count
        if self.dropped[reason] == count:
            say(f"events are being lost: {reason}; `Agent.health()` counts them")

    def seen_safe(self) -> None:
        """Note that the events written so far are safely in the files."""
        self._safe_events = self.events

    def lose_since_safe(self, reason: str) -> None:
        """Count the events written since `seen_safe` as lost, since it is unknown where they were written."""
        lost = self.events - self._safe_events
        self.events = self._safe_events
        self.note(reason)
        if lost:
            self.drop(reason, lost)

    def hand_over(self, other: Health) -> None:
        """Add the counts to another `Health`, and share its counters from now on."""
        other.events += self.events
        other.dropped.update(self.dropped)
        other.unreported.update(self.unreported)
        other.notes.update(self.notes)
        self.dropped, self.unreported, self.notes = other.dropped, other.unreported, other.notes

    def settle(self) -> None:
        """Count the events in `too_deep`."""
        lost, self.too_deep = self.too_deep, 0
        if lost:
            self.drop("the recursion limit left no room for the call", lost)

    def take_back(self, lines: Sequence[bytes]) -> None:
        """Count events that the file system refused; a `log.dropped` event among them is due again."""
        self.events -= len(lines)
        import orjson

        self.drop("the file system refused the write", len(lines))
        for line in lines:
            if b'"event_type":"log.dropped"' in line:
                report = orjson.loads(line)["extra"]
                self.unreported[report["reason"]] += report["count"]

    def note(self, what: str, count: int = 1) -> None:
        """Count a problem that lost no event."""
        self.notes[what] += count

    def moved(self, fields: Mapping[str, Any], own_keys: AbstractSet[str]) -> Mapping[str, Any]:
        """Return the user's fields; one with a reserved name moves to `user.<key>` and is counted."""
        try:
            if own_keys.isdisjoint(fields):
                return fields
            moved = {f"user.{key}" if key in own_keys else key: value for key, value in fields.items()}
        except Exception:  # noqa: BLE001 - a key whose __hash__ or __eq__ raises is none of ours
            return fields
        self.note("a user's key with a reserved name was renamed to user.<key>")
        return moved

    def trouble(self, where: str, error: BaseException) -> None:
        """Count an internal error during a user's call.

        Raises:
            Exception: the same error, if a handler of a signal raised it, such as that of a time limit.
        """
        what = f"{where}: {type(error).__name__}"
        if isinstance(error, OSError) and (name := errorcode.get(error.errno or 0)):
            what += f" {name}"
        self.notes[what] += 1
        if self.notes[what] == 1:
            say(f"recording had trouble in {what}: {self.clean(message_of(error))[:300]}")
        pass_on(error)

    def forget(self) -> None:
        """Reset all counters, in a child process."""
        self.events = self.too_deep = self._safe_events = 0
        for counter in (self.dropped, self.unreported, self.notes):
            counter.clear()


_current: Health | None = None


def attend(health: Health | None) -> None:
    """Make `note`, `lost` and `trouble` count in this `Health`."""
    global _current  # noqa: PLW0603 - there is one pipeline that events go to
    _current = health


def note(what: str, count: int = 1) -> None:
    """Count a problem that lost no event, without access to the pipeline."""
    if _current is not None:
        _current.note(what, count)


def lost(reason: str) -> None:
    """Count an event that was not written, without access to the pipeline."""
    if _current is not None:
        _current.drop(reason)


def trouble(where: str, error: BaseException) -> None:
    """Count an internal error during a user's call, without access to the pipeline."""
    if _current is not None:
        _current.trouble(where, error)


def say(text: str) -> None:
    """Write a line on stderr; ignore a closed or broken stderr."""
    stream = sys.__stderr__
    if stream is None:
        return
    line = shown_safely(" ".join(text.split()))
    try:
        stream.write(f"agent-trace: {line}\n")
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a signal handler interrupted a write
        return
