"""A recording in memory, and levels that every test finds open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from record_kit import Recorded, recording


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """What is recorded in the test, in memory."""
    with recording() as found:
        yield found


@pytest.fixture
def level(monkeypatch: pytest.MonkeyPatch):
    """Sets the level of a category for the test."""
    from Agent.record.emit.installed import LIMITS

    return lambda category, number: monkeypatch.setattr(LIMITS[category], "value", number)
