"""What the tests of the view share."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy")

# `view_kit` stands beside the tests and is found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))

from view_kit import record


@pytest.fixture
def session(trace_root: Path) -> Path:
    """A small session that was recorded with the real loggers, and has ended."""
    return record(trace_root)
