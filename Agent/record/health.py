"""What recording says about itself: counters by reason, and one line on stderr the first time a kind of trouble
shows. Nothing in here raises, since it is called from where something already went wrong.
"""

from __future__ import annotations

import sys
from collections import Counter


class Health:
    """Counters of one pipeline; `dropped` maps a reason to the number of events it cost."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.unreported: Counter[str] = Counter()
        """Drops for which no `log.dropped` event stands in the record yet."""
        self.notes: Counter[str] = Counter()
        """What was odd but cost no event: collisions of keys, cut values, unreadable state."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count events that were not written."""
        self.dropped[reason] += count
        self.unreported[reason] += count
        if self.dropped[reason] == count:
            say(f"events are being lost: {reason}; `Agent.health()` counts them")

    def note(self, what: str) -> None:
        """Count something odd that cost nothing."""
        self.notes[what] += 1

    def trouble(self, where: str, error: BaseException) -> None:
        """Count an error of our own in code that serves the user's call."""
        what = f"{where}: {type(error).__name__}"
        self.notes[what] += 1
        if self.notes[what] == 1:
            say(f"recording had trouble in {where}: {type(error).__name__}: {error}")


def say(text: str) -> None:
    """One line on stderr; a closed or broken stderr is nobody's reason to fail."""
    stream = sys.__stderr__
    if stream is None:
        return
    try:
        stream.write(f"agent-trace: {text}\n")
    except (OSError, ValueError):
        return
