"""What holds for every test: its own trace root, its own home, and no recording left running behind it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# `support` holds what several tests share; it is found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))
# `benchmarks` is no part of the package; last, so that an installed package is the one that is tested.
sys.path.append(str(Path(__file__).parents[1]))

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
    # A shell ignores interrupts for what it runs in the background, and every process below would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A plain run leaves the slow tests out; `-m slow` and `-m "slow or not slow"` ask for them.
    if not config.option.markexpr:
        config.option.markexpr = "not slow"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test that names its databases, leave the others to the slow run."""
    for item in items:
        named = item.get_closest_marker("database")
        parameters = getattr(item, "callspec", None)
        if named is not None and parameters is not None:
            asked = {"sqlite", "postgresql"}.intersection(
                value for value in parameters.params.values() if isinstance(value, str)
            )
            if not asked <= set(named.args):
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    # Thousands of collected tests need not be walked through by every collection of garbage from here on.
    gc.collect()
    gc.freeze()


def _shut_down_recording() -> None:
    """Close what the test left open; nothing is imported for a test that recorded nothing."""
    module = sys.modules.get("Agent.config.logging_config")
    if module is not None and hasattr(module, "shutdown_logging"):
        module.shutdown_logging()


@pytest.fixture
def trace_root(tmp_path: Path) -> Path:
    """The trace root of this test; it is made by the first event, not before."""
    return tmp_path / "trace"


def _forget_settings(patch: pytest.MonkeyPatch, root: Path, home: Path) -> None:
    """Let the environment point into directories of the tests, and at no setting of the user's."""
    for name in [name for name in os.environ if name.startswith(_ENVIRONMENT_PREFIX)]:
        patch.delenv(name)
    patch.setenv("AGENT_TRACE_ROOT", str(root))
    for name in _USER_DIRECTORIES:
        patch.setenv(name, str(home / name.lower()))


@pytest.fixture(scope="session", autouse=True)
def session_isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for fixtures of a module or of the session, which are made before those of a test."""
    directory = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        _forget_settings(patch, directory / "trace", directory / "home")
        yield


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trace_root: Path) -> Iterator[None]:
    """Everything that the package reads or writes outside its arguments lies under this test's directory."""
    _shut_down_recording()
    _forget_settings(monkeypatch, trace_root, tmp_path / "home")
    yield
    _shut_down_recording()
    # Variables that recording itself sets for child processes are not monkeypatch's to undo.
    for name in [name for name in os.environ if name.startswith(_ENVIRONMENT_PREFIX)]:
        if name != "AGENT_TRACE_ROOT":
            del os.environ[name]


@pytest.fixture(autouse=True)
def nobody_keeps_reads():
    """A generator that was adopted beyond any block has every later action keep what it reads."""
    yield
    sources = sys.modules.get("Agent.record.chance.sources")
    if sources is not None:
        sources._adoptions.lasting_notice = None
        sources.installed.open_reads = None
