"""What the end of recording met, told where nothing else can tell it any more: on stderr.

`recording` counts before it ends a session, and again when no event can follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from Agent.record.health import say


class LastWords:
    """Tells what failed since it was made.

    Args:
        counted: what counts failures by reason, such as `SessionWriter.counters`.
    """

    def __init__(self, *counted: Callable[[], Mapping[str, int]]) -> None:
        self._counted = counted
        self._before = self._now()

    def _now(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for counters in self._counted:
            # only what the system refused: other counters are of what found its way all the same
            total.update({reason: n for reason, n in counters().items() if ":" in reason})
        return total

    def tell(self) -> None:
        """One line, where there is anything to tell."""
        new = self._now() - self._before
        if new:
            said = ", ".join(
                reason if n == 1 else f"{reason} ({n} times)" for reason, n in sorted(new.items())
            )
            say(f"a failure while recording ended: {said}")
