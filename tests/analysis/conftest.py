"""Sessions that several tests of this room ask about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from analysis_kit import Platform, SessionBuilder
from known import Known, make_known
from support.known_truth import FAULTS


@pytest.fixture
def builder(trace_root: Path) -> SessionBuilder:
    """An empty session to write events into."""
    return SessionBuilder(trace_root)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Platform]:
    """Simulated platforms by their arguments, each made once; tests must not write into them."""
    made: dict[tuple[tuple[str, object], ...], Platform] = {}

    def platform(**arguments: object) -> Platform:
        key = tuple(sorted((name, repr(value)) for name, value in arguments.items()))
        if key not in made:
            made[key] = Platform(tmp_path_factory.mktemp("planted") / "trace", **arguments)  # type: ignore[arg-type]
        return made[key]

    return platform


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A generated session with every fault in it, live and sealed; tests must not write into it."""
    return make_known(tmp_path_factory.mktemp("known"), list(FAULTS))
