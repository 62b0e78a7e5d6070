"""One small recorded session for all tests of the command line, and a way to run it as a user does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import run_python

RECORD = """
import sys
from pathlib import Path
from Agent.demo.platform import Settings
from Agent.demo.recording import record_session

recording = record_session(Path(sys.argv[1]), Settings(agents=30, ticks=72, seed=7))
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
    done = run_python("-c", RECORD, str(root), cwd=place, HOME=str(place), AGENT_TRACE_SESSION="")
    assert done.returncode == 0, done.stderr
    return Recorded(root, done.stdout.strip())


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `agent-trace` with the arguments given in a process of its own, output piped."""

    def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_python("-m", "Agent", *map(str, arguments), cwd=tmp_path, **environment)

    return run_command


@pytest.fixture
def ask(run: Run, recorded: Recorded) -> Run:
    """The same, asked about the recorded session."""

    def ask_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, AGENT_TRACE_ROOT=str(recorded.root), **environment)

    return ask_command
