"""One small recorded session for all tests of the command line, and a way to run it as a user does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import be_one_user, run_python

from Agent.cli.main import main

RECORD = """
import sys
from pathlib import Path
from Agent.demo.platform import Settings
from Agent.demo.platform import record_session

recording = record_session(Path(sys.argv[1]), Settings(agents=20, ticks=48, seed=7))
print(recording.session_id)
"""


@dataclass(frozen=True)
class Recorded:
    """A trace root with one finished session of the demo in it."""

    root: Path
    session_id: str

    @property
    def session(self) -> Path:
        return self.root / f"session_{self.session_id}"


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Read it, do not write to it."""
    place = tmp_path_factory.mktemp("recorded")
    root = place / "trace"
    be_one_user()
    done = run_python("-c", RECORD, str(root), cwd=place, HOME=str(place), AGENT_TRACE_SESSION="")
    assert done.returncode == 0, done.stderr
    return Recorded(root, done.stdout.strip())


@pytest.fixture
def one_user(isolation: None) -> None:
    """Who asks is who recorded: the targets of a recording are called without being given."""
    be_one_user()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `agent-trace` with the arguments given, in this process and in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run_command(*arguments: str, **environment: str) -> Done:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code = main([*map(str, arguments)])
        return Done(code, *capsys.readouterr())

    return run_command


_SLOWEST = ("debug", "causes")
_answered: dict[tuple[str, ...], Done] = {}


@pytest.fixture
def ask(run: Run, recorded: Recorded) -> Run:
    """The same, asked about the recorded session; what takes longest is answered once for all tests."""

    def ask_command(*arguments: str, **environment: str) -> Done:
        if environment or arguments[0] not in _SLOWEST:
            return run(*arguments, AGENT_TRACE_ROOT=str(recorded.root), **environment)
        if arguments not in _answered:
            _answered[arguments] = run(*arguments, AGENT_TRACE_ROOT=str(recorded.root))
        return _answered[arguments]

    return ask_command


@pytest.fixture
def start(tmp_path: Path, recorded: Recorded) -> Run:
    """Runs `agent-trace` as a user does, in a process of its own, asked about the recorded session."""

    def start_command(*arguments: str, **environment: str) -> Done:
        settings = {"AGENT_TRACE_ROOT": str(recorded.root), **environment}
        done = run_python("-m", "Agent", *map(str, arguments), cwd=tmp_path, **settings)
        return Done(done.returncode, done.stdout, done.stderr)

    return start_command
