"""What holds for every test: its own trace root, its own home, and no recording left running behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# `support` holds what several tests share; it is found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("project", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "project")

_ENVIRONMENT_PREFIX = "AGENT_TRACE"
_USER_DIRECTORIES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--documents",
        metavar="DIR",
        help="a directory with the source documents: their Python blocks are run unchanged",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A plain run leaves the slow tests out; `-m slow` and `-m "slow or not slow"` ask for them.
    if not config.option.markexpr:
        config.option.markexpr = "not slow"


def _shut_down_recording() -> None:
    """Close what the test left open; nothing is imported for a test that recorded nothing."""
    module = sys.modules.get("Agent.config.logging_config")
    if module is not None and hasattr(module, "shutdown_logging"):
        module.shutdown_logging()


@pytest.fixture
def trace_root(tmp_path: Path) -> Path:
    """The trace root of this test; it is made by the first event, not before."""
    return tmp_path / "trace"


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trace_root: Path) -> Iterator[None]:
    """Everything that the package reads or writes outside its arguments lies under this test's directory."""
    _shut_down_recording()
    for name in [name for name in os.environ if name.startswith(_ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(trace_root))
    for name in _USER_DIRECTORIES:
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    yield
    _shut_down_recording()
    # Variables that recording itself sets for child processes are not monkeypatch's to undo.
    for name in [name for name in os.environ if name.startswith(_ENVIRONMENT_PREFIX)]:
        if name != "AGENT_TRACE_ROOT":
            del os.environ[name]
