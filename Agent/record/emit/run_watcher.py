"""The seam through which checkpoints learn what ends while a run is recorded: actions, ticks, phases.

`flight/` installs a watcher with the first run that wants checkpoints; without one each of these places asks
once and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from Agent.record.tracing.traced_call import Call


class RunWatcher(Protocol):
    """Told behind each event, in the context around it; none of its calls raises."""

    def action_ended(self, call: Call, event_id: str, error: BaseException | None) -> None:
        """The outermost action of an agent has ended, and its event has been written.

        Args:
            call: which one.
            event_id: its event, "" if that could not be written.
            error: what the body raised, None for none and for what is no error, such as a cancellation.
        """

    def tick_ended(self, number: int) -> None:
        """A step of the simulation, `with tick(number):`, has ended."""

    def phase_began(self, name: str) -> None:
        """The program said that a phase begins."""
