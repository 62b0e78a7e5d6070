"""The seam through which `debug` has a cause tested by a fork; `config` installs what can do it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from Agent.analysis.causes import Cause
from Agent.errors import UsageError

__all__ = ["CauseTester", "cause_tester", "install_cause_tester"]


class CauseTester(Protocol):
    """Runs a session's program again without a cause and sees whether the effect is gone."""

    def test_cause(self, cause: Cause, session: Path) -> Cause:
        """The cause with edges of the basis `tested`, and the confidence that the test gives it."""
        ...


_installed: CauseTester | None = None


def install_cause_tester(tester: CauseTester | None) -> None:
    """Set what tests causes, or take it away."""
    global _installed  # noqa: PLW0603 - the one seam of this room, set by the wiring
    _installed = tester


def cause_tester() -> CauseTester:
    """What tests causes; UsageError where nothing is installed."""
    if _installed is None:
        raise UsageError(
            "testing causes needs fork, which this version does not have",
            remedy="ask without test, and follow the commands at the end of the report",
        )
    return _installed
