"""What recording says about itself: counters by reason, and one line on stderr at the first of each kind.

Nothing in here raises, since it is called from where something already went wrong; but an exception that the
program's own handler of a signal raised goes on to the program, whatever was interrupted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from errno import errorcode
from typing import Any, Final

from Agent.event.limits_of_time import pass_on
from Agent.record.encode.safe_text import message_of

TOO_LATE: Final = "recording ended before the event was written"


class Health:
    """Counters of one pipeline; `dropped` maps a reason to the number of events it cost."""

    __slots__ = ("_safe_events", "dropped", "events", "late", "notes", "too_deep", "unreported")

    def __init__(self) -> None:
        self.events = 0
        """Events written."""
        self.dropped: Counter[str] = Counter()
        self.unreported: Counter[str] = Counter()
        """Drops for which no `log.dropped` event stands in the recording yet."""
        self.notes: Counter[str] = Counter()
        """What was odd but cost no event: collisions of keys, cut values, unreadable state."""
        self._safe_events = 0
        self.too_deep = 0
        """Events lost where the recursion limit left no frame to count them in; `settle` does."""
        self.late: int | None = None
        """Events lost since the files were closed, by calls that were under way then; None before."""

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
        """Note that what was written so far stands where it should."""
        self._safe_events = self.events

    def lose_since_safe(self, reason: str) -> None:
        """Count as lost what was written since `seen_safe`: where it went nobody can say."""
        lost = self.events - self._safe_events
        self.events = self._safe_events
        self.note(reason)
        if lost:
            self.drop(reason, lost)

    def hand_over(self, other: Health) -> None:
        """Let another one count on from here, and count in it from now on."""
        other.events += self.events
        other.dropped.update(self.dropped)
        other.unreported.update(self.unreported)
        other.notes.update(self.notes)
        self.dropped, self.unreported, self.notes = other.dropped, other.unreported, other.notes

    def settle(self) -> None:
        """Count what could only be noted."""
        lost, self.too_deep = self.too_deep, 0
        if lost:
            self.drop("the recursion limit left no room for the call", lost)

    def take_back(self, lines: Sequence[bytes]) -> None:
        """Count events that were refused after they had been taken; a report among them is due again."""
        self.events -= len(lines)
        import orjson

        self.drop("the file system refused the write", len(lines))
        for line in lines:
            if b'"event_type":"log.dropped"' in line:
                report = orjson.loads(line)["extra"]
                self.unreported[report["reason"]] += report["count"]

    def note(self, what: str, count: int = 1) -> None:
        """Count something odd that cost nothing."""
        self.notes[what] += count

    def moved(self, fields: Mapping[str, Any], own_keys: AbstractSet[str]) -> Mapping[str, Any]:
        """The user's fields; one that has the name of one of our keys moves to `user.<key>`, counted."""
        try:
            if own_keys.isdisjoint(fields):
                return fields
            moved = {f"user.{key}" if key in own_keys else key: value for key, value in fields.items()}
        except Exception:  # noqa: BLE001 - a key whose __hash__ or __eq__ raises is none of ours
            return fields
        self.note("a user's key had the name of one of ours and moved to user.<key>")
        return moved

    def trouble(self, where: str, error: BaseException) -> None:
        """Count an error of our own in code that serves the user's call.

        Raises:
            Exception: the same error, if a handler of a signal raised it, such as that of a time limit.
        """
        what = f"{where}: {type(error).__name__}"
        if isinstance(error, OSError) and (name := errorcode.get(error.errno or 0)):
            what += f" {name}"
        self.notes[what] += 1
        if self.notes[what] == 1:
            say(f"recording had trouble in {what}: {message_of(error)[:300]}")
        pass_on(error)

    def forget(self) -> None:
        """Begin to count again, in a child process."""
        self.events = self.too_deep = self._safe_events = 0
        for counter in (self.dropped, self.unreported, self.notes):
            counter.clear()


_current: Health | None = None


def attend(health: Health | None) -> None:
    """Let `note` count where what is recorded now is counted."""
    global _current  # noqa: PLW0603 - there is one pipeline that events go to
    _current = health


def note(what: str, count: int = 1) -> None:
    """Count something odd where no pipeline is at hand."""
    if _current is not None:
        _current.note(what, count)


def lost(reason: str) -> None:
    """Count an event that was not written, likewise."""
    if _current is not None:
        _current.drop(reason)


def trouble(where: str, error: BaseException) -> None:
    """Count an error of our own in code that serves the user's call, likewise."""
    if _current is not None:
        _current.trouble(where, error)


def say(text: str) -> None:
    """One line on stderr; a closed or broken stderr is nobody's reason to fail."""
    stream = sys.__stderr__
    if stream is None:
        return
    line = " ".join(text.split())
    try:
        stream.write(f"agent-trace: {line}\n")
    except (OSError, ValueError, RuntimeError):  # the last where a signal handler interrupts its own writing
        return
