"""What the tests of the tree share."""

import sys
from pathlib import Path

import pytest

# `tree_kit` stands beside the tests and is found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))

from tree_kit import make_session


@pytest.fixture
def session(trace_root: Path) -> Path:
    """A session's directory with nothing recorded in it."""
    return make_session(trace_root)
