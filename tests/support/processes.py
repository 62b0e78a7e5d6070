"""Child processes that see the same package as the test, and nothing else of the environment's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import Agent

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout that the tests stand in."""


def child_environment(**settings: str) -> dict[str, str]:
    """The test's environment with the package on the path and the settings given."""
    package_parent = str(Path(Agent.__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": package_parent, **settings}


def wait_until_it_computes(process: subprocess.Popen[str], seconds: float = 0.5) -> None:
    """Wait until a process has loaded DuckDB and spent that much processor time since: it is in a query."""
    maps, stat = Path(f"/proc/{process.pid}/maps"), Path(f"/proc/{process.pid}/stat")
    since = None
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        # behind the name in brackets the 12th and 13th field are user and system time
        used = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        if since is None and "duckdb" in maps.read_text():
            since = used
        if since is not None and used - since >= seconds:
            return
        time.sleep(0.02)
    raise AssertionError(f"process {process.pid} computes nothing")


def run_python(
    *arguments: str, cwd: Path, timeout_s: float = 300, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter of the test; its output is text, its exit code is for the test to judge."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=child_environment(**settings),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def be_one_user(config_home: Path | None = None) -> None:
    """Give a configuration directory the key of one user for all tests, who trusts what any of them recorded."""
    directory = (config_home or Path(os.environ["XDG_CONFIG_HOME"])) / "agent-trace"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = directory / "redaction.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
