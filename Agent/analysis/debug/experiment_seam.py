"""The seam through which `debug` tests causes by forks; `config` installs the implementation.

Analysis and replay do not import each other, so this module defines the request and the result as protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from Agent.errors import UsageError

# Imported for annotations only: importing the package loads this module.
if TYPE_CHECKING:
    from pathlib import Path


class HowToTest(NamedTuple):
    """How to test causes; every field has a default."""

    target: Any = None
    """`module:factory`, or such a function; default: the target that the session remembers."""
    outcome: str = ""
    """The outcome to measure: a field at the end, or a condition on one; default: taken from the text."""
    live: bool | Collection[str] = False
    """Calls that forks may execute where the recording has no response."""
    seeds: int | None = None
    """Number of other random seeds to try for each cause."""
    timeout_seconds: float | None = None
    """Time limit for the test of one event."""


class Measurable(NamedTuple):
    """The part of a complaint that can be measured in a fork."""

    sort: str
    """`count`, `reward` or `state`."""
    series: tuple[str, ...]
    """The series to count."""
    agents: tuple[str, ...]
    """The agents to measure; empty for all."""
    worse: int
    """1 if more is worse, -1 if less is worse, 0 if the text does not say."""

    @property
    def in_words(self) -> str:
        """The measure in words."""
        whose = f" of {', '.join(self.agents[:3])}" if self.agents else ""
        if self.sort == "reward":
            return f"the mean reward{whose}"
        if self.sort == "state":
            return "the requested outcome"
        return f"the number of {' or '.join(map(_events_of, self.series))}{whose}"


def _events_of(series: str) -> str:
    """Return the events of a series in words."""
    word, _, name = series.partition(":")
    if not name:
        return f"{word}s"
    return f"{name} {word}s" if word != "tool" else f"calls of {name}"


class TriedEvent(Protocol):
    """The result of one way to leave out an event."""

    @property
    def event_id(self) -> str | None:
        """The event; None if only the random seed differed."""

    @property
    def change(self) -> str:
        """What was changed, in words."""

    @property
    def with_it(self) -> Sequence[Any]:
        """The measures of forks with the event; the one with the recorded seed is first."""

    @property
    def without_it(self) -> Sequence[Any]:
        """The measures of forks without the event."""

    @property
    def expected(self) -> float | None:
        """What the measure would be if the run went on as before the event; None if that is unknown."""

    @property
    def lacks(self) -> str | None:
        """Why nothing was compared; None if it was."""


class CauseTester(Protocol):
    """Reruns a session's program with and without events, and measures what the complaint is about."""

    def try_events(
        self, suspicions: Sequence[tuple[str, str, Collection[str]]]
    ) -> Sequence[Sequence[TriedEvent]]:
        """Return the results with other seeds alone, followed by those of every way to leave out each event.

        Args:
            suspicions: for each event its id, the rule that suspects it, and the ids of all events
                suspected with it.
        """


def nobody(session: Path, complaint: Measurable, how: HowToTest) -> CauseTester:  # noqa: ARG001
    """Raise UsageError: the default until a tester is installed."""
    raise UsageError(
        "testing causes needs forks, but no tester is installed",
        remedy="import Agent, or ask without test",
    )


find: Callable[[Path, Measurable, HowToTest], CauseTester] = nobody
"""Returns the tester for the causes of a complaint in a session; set once, by `config/seams.py`.

It raises UsageError if the outcome is not valid, and ReplayError if the session cannot be replayed.
"""
