"""The seam through which `debug` has causes tested by forks; `config` says what can do it.

Analysis and replay do not know one another: what is asked for and what comes back is told here by its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from Agent.errors import UsageError

# Only named here: importing the package loads this module.
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CauseTester", "HowToTest", "Measurable", "TriedEvent", "cause_tester", "find", "nobody"]


class HowToTest(NamedTuple):
    """How causes are tested; everything has a default."""

    target: Any = None
    """`module:factory`, or such a function; without it the one that the session remembers."""
    outcome: str = ""
    """What the complaint is about, a field at the end or a condition on one; without it the text tells."""
    live: bool | Collection[str] = False
    """What may be called live where the recording has no answer."""
    seeds: int | None = None
    """With how many other seeds of chance each cause is tried."""
    timeout_seconds: float | None = None
    """After this the test of one event is given up."""


class Measurable(NamedTuple):
    """What of a complaint can be measured in a fork."""

    sort: str
    """count, reward or state."""
    series: tuple[str, ...]
    """What is counted."""
    agents: tuple[str, ...]
    """Whose; everybody's where empty."""
    worse: int
    """1 where more of it is worse, -1 where less is, 0 where the text does not say."""

    @property
    def told(self) -> str:
        """In words."""
        whose = f" of {', '.join(self.agents[:3])}" if self.agents else ""
        if self.sort == "reward":
            return f"the mean reward{whose}"
        if self.sort == "state":
            return "the requested outcome"
        return f"how often there is {' or '.join(self.series)}{whose}"


class TriedEvent(Protocol):
    """What came of leaving out one event."""

    @property
    def event_id(self) -> str | None:
        """The event; None where only chance was another."""

    @property
    def told(self) -> str:
        """What was done, in words."""

    @property
    def with_it(self) -> Sequence[Any]:
        """The measure of forks in which it happened; first that with the recorded chance."""

    @property
    def without_it(self) -> Sequence[Any]:
        """That of forks in which it did not."""

    @property
    def lacks(self) -> str | None:
        """Why nothing was compared."""


class CauseTester(Protocol):
    """Runs a session's program again, with and without events, and measures what the complaint is about."""

    def try_events(
        self, suspicions: Sequence[tuple[str, str, Collection[str]]]
    ) -> Sequence[Sequence[TriedEvent]]:
        """Other chance alone, then every way to be without each event.

        Args:
            suspicions: of each event its id, the rule that suspects it, and all that are suspected with it.
        """


def nobody(session: Path, complaint: Measurable, how: HowToTest) -> CauseTester:  # noqa: ARG001
    """What stands here until something that can is installed: UsageError."""
    raise UsageError(
        "testing causes needs forks, but no tester is installed",
        remedy="import Agent, or ask without test",
    )


find: Callable[[Path, Measurable, HowToTest], CauseTester] = nobody
"""Set once, by `config/first_event.py`."""


def cause_tester(session: Path, complaint: Measurable, how: HowToTest) -> CauseTester:
    """What tests the causes of a complaint in a session.

    Raises:
        UsageError: nothing can, or the outcome is none.
        ReplayError: there is nothing to replay; the text says how to give it.
    """
    return find(session, complaint, how)
