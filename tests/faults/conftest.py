"""What the tests of faults share: the harness beside them, and one process that forks the writers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# harness, oracle and programs stand beside the tests and are found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))

from harness import Launcher, why_no_tracing


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """Starts writer programs within milliseconds."""
    with Launcher() as running:
        yield running


@pytest.fixture
def tracing() -> None:
    """Leaves the test out, with the reason, where strace cannot tamper with system calls."""
    reason = why_no_tracing()
    if reason is not None:
        pytest.skip(reason)
