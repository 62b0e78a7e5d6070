"""What holds for every test: its own trace root, its own home, and no recording left running behind it."""

from __future__ import annotations

import gc
import itertools
import os
import re
import signal
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from Agent.record.tracing import function_facts, process_settings
from Agent.replay.worker.fork_server import ForkServer
from Agent.replay.worker.jobs import Child, Launcher, launched_by, spawn

# `support` holds what several tests share; it is found under either import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))
# `benchmarks` is no part of the package; last, so that an installed package is the one that is tested.
sys.path.append(str(Path(__file__).parents[1]))

# `--hypothesis-profile=ci` and `full` look at more; a test that names a number of its own names a smaller one.
settings.register_profile("default", deadline=None, max_examples=20, derandomize=bool(os.environ.get("CI")))
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("full", deadline=None, max_examples=500)
settings.load_profile("default")

# The first use of pydantic in a process would load the plugins of all that is installed, such as logfire's: a second.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

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
    # A process of pytest-xdist runs a string; what is recorded of a program is its file, so it gets that of pytest.
    if hasattr(config, "workerinput"):
        sys.argv[0] = sys.modules["__main__"].__file__ = str(Path(pytest.__file__).with_name("__main__.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core and one more, for tests that wait; none besides this one for a few files."""
    asked = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    if any(place.is_dir() for place in asked):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cores + 1
    return 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process runs whole files (`loadfile`), but a page that is followed as a reader does is for itself: all take minutes.

    README and TOUR stay together, because they have the large demo in common.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            is_alone = "test_a_reader_can_follow_the_page[" in nodeid
            return nodeid.replace("TOUR.md", "README.md") if is_alone else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a process reports to the first one is UTF-8; hostile texts that tests print are not always."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    return type(value)(map(_encodable, value)) if type(value) in {list, tuple} else value


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """PostgreSQL is of the second tier, and databases that a test does not name are of the third.

    Of a test marked `first_case` only the first case is of its own tier; the others are of the second. Modules with tests of the second tier come first, so that no process is left alone with one at the end.
    """
    seen: set[object] = set()
    for item in items:
        function = getattr(item, "function", None)
        if item.get_closest_marker("first_case") and function in seen:
            item.add_marker(pytest.mark.integration)
        seen.add(function)
        parameters = getattr(item, "callspec", None)
        values = [] if parameters is None else parameters.params.values()
        asked = {"sqlite", "postgresql"}.intersection(value for value in values if isinstance(value, str))
        named = item.get_closest_marker("database")
        if named is not None and not asked <= set(named.args):
            item.add_marker(pytest.mark.slow)
        if "postgresql" in asked or "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)
        if item.path.parent.name == "docs":
            item.add_marker(pytest.mark.docs)
    result = yield
    long = {item.path for item in items if item.get_closest_marker("integration")}
    items.sort(key=lambda item: item.path not in long)
    return result


@pytest.fixture(scope="module", autouse=True)
def other_tests_are_not_the_program(request: pytest.FixtureRequest) -> Iterator[None]:
    """A recording names the modules of its program, and looks through what they import; the files of other tests are none.

    Each of some thousand recordings would else read and name 500 files, and the attributes of 600 modules.
    """
    others = _collected - {request.module.__name__}
    found, is_of_program = function_facts._new_modules, process_settings.is_of_program

    def found_beside_others(told: set[str]) -> dict[str, str]:
        told.update(others)
        return found(told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_facts, "_new_modules", found_beside_others)
        patch.setattr(
            process_settings, "is_of_program", lambda name: name not in others and is_of_program(name)
        )
        yield


_collected: frozenset[str] = frozenset()
"""The modules that were loaded once all tests were collected."""


def pytest_collection_finish() -> None:
    global _collected
    _collected = frozenset(sys.modules)


_PROCESS_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
_started: list[str] | None = None
"""What the test that runs has started against the rule; None while processes may be started."""


def _note_process_start(event: str, arguments: tuple[object, ...]) -> None:
    if _started is not None and event in _PROCESS_STARTS:
        _started.append(f"{event} {arguments[1] if len(arguments) > 1 else ''}"[:200])


sys.addaudithook(_note_process_start)


@contextmanager
def _processes_allowed() -> Iterator[None]:
    global _started
    before, _started = _started, None
    try:
        yield
    finally:
        _started = before


def _may_start_processes(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("process", "integration", "slow"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that starts a process without saying so: that is what makes test runs long."""
    global _started
    if _may_start_processes(item):
        return (yield)
    _started = started = []
    try:
        result = yield
    finally:
        _started = None
    if started:
        pytest.fail(f"starts processes, so it needs the marker `process` or `integration`: {started}")
    return result


@pytest.fixture(scope="session")
def fork_server() -> Iterator[Launcher]:
    """Forks the children of replays from one warm process."""
    with ForkServer() as server:

        def launch(module: str, request: Path, environment: Mapping[str, str]) -> Child:
            with _processes_allowed():
                return server(module, request, environment)

        yield launch


@pytest.fixture(autouse=True)
def replay_children(request: pytest.FixtureRequest, fork_server: Launcher) -> Iterator[None]:
    """Replays of the first tier are carried out in forks; from the second on a child is a new interpreter."""
    later = any(request.node.get_closest_marker(name) for name in ("integration", "slow"))
    with launched_by(spawn if later else fork_server):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # Of the thousands of tests nothing becomes garbage, so they need not be walked through: neither while they are
    # collected nor by every collection of garbage from here on.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        _freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    # What files leave behind are modules that they imported: a hundred files later a collection would take a second.
    result = yield
    if nextitem is None or (nextitem.path != item.path and next(_files) % 4 == 3):
        _freeze()
    return result


_files = itertools.count()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    # What is frozen is not collected at the end of the process either: DuckDB then lists it all as leaked.
    gc.unfreeze()


def _shut_down_recording() -> None:
    """Close what the test left open; nothing is imported for a test that recorded nothing."""
    module = sys.modules.get("Agent.config.logging_config")
    if module is not None and hasattr(module, "shutdown_logging"):
        module.shutdown_logging()


_directories = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, which looks for the next free number among the directories of all tests before."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    directory = tmp_path_factory.getbasetemp() / f"{name}{next(_directories)}"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def trace_root(tmp_path: Path) -> Path:
    """The trace root of this test; it is made by the first event, not before."""
    return tmp_path / "trace"


def _forget_settings(patch: pytest.MonkeyPatch, root: Path, home: Path) -> None:
    """Let the environment point into directories of the tests, and at no setting of the user's."""
    for name in [name for name in os.environ if name.startswith(_ENVIRONMENT_PREFIX)]:
        patch.delenv(name)
    for name in ("COLUMNS", "LINES"):  # the width of pages is that of no terminal
        patch.delenv(name, raising=False)
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
    _forget_settings(monkeypatch, trace_root, tmp_path / "home")
    # After the settings: a thread that an earlier test left may log at any time, and so begin a session anew.
    _shut_down_recording()
    yield
    _shut_down_recording()
    context = sys.modules.get("Agent.record.emit.context")
    if context is not None:
        # A test of a run that is never ended leaves the run's scope behind.
        context.current_scope.set(None)
    # Variables that recording itself sets for child processes, or the canary, are not monkeypatch's to undo.
    for name in [name for name in os.environ if name.startswith((_ENVIRONMENT_PREFIX, "PLANTED_"))]:
        if name != "AGENT_TRACE_ROOT":
            del os.environ[name]


@pytest.fixture(autouse=True)
def nobody_keeps_reads():
    """A generator that was adopted beyond any block has every later action keep what it reads."""
    yield
    sources = sys.modules.get("Agent.record.sources.sources")
    if sources is not None:
        sources.release_random_module()
        sources._adoptions.lasting_notice, sources._adoptions.is_lasting = None, False
        sources.installed.open_reads = None
