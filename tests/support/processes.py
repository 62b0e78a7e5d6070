"""Child processes that see the same package as the test, and nothing else of the environment's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import Agent

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout that the tests stand in."""


def child_environment(**settings: str) -> dict[str, str]:
    """The test's environment with the package on the path and the settings given."""
    package_parent = str(Path(Agent.__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": package_parent, **settings}


def run_python(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter of the test; its output is text, its exit code is for the test to judge."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=child_environment(**settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
