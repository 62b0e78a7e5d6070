"""Builds the sdist and the wheel, and tries each, and each extra alone, in a virtual environment of its own.

python .ci/packages.py [EXTRA...]: without names, all extras that users install. Needs the package registry.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from Agent import setup_logging, tick, trace_agent_action

class Counter:
    def __init__(self, agent_id):
        self.agent_id, self.count = agent_id, 0

    @trace_agent_action()
    def add(self, by):
        self.count += by
        return self.count

if __name__ == "__main__":
    setup_logging()
    with tick(1):
        Counter("counter").add(1)
"""
TRIES: dict[str, list[str]] = {
    "": [
        "agent-trace replay last/counter --target counters:Counter",
        "agent-trace analyze",
        "agent-trace seal",
        "agent-trace verify",
        "agent-trace export csv last rows.csv",
        "agent-trace doctor",
    ],
    "bridges": [
        "python -c 'import logging; from Agent.bridges import TraceHandler, structlog_processor; "
        'logging.getLogger().addHandler(TraceHandler()); logging.error("once")\'',
    ],
    "server": [
        'agent-trace serve --database x.db >serve.log 2>&1 & trap "kill $!" EXIT; '
        "for _ in {1..30}; do agent-trace ship --to http://localhost:8000 && exit; sleep 1; done; "
        "cat serve.log; exit 1",
    ],
    "langgraph": [
        "python -c 'from Agent.flight import TraceSaver as T; t = T(); print(t.get_tuple("
        '{"configurable": {"thread_id": "t"}})); t.close()\'',
    ],
    "perfetto": ["agent-trace export perfetto last x.pftrace"],
    "mcp": ["python -c 'import Agent.mcp.server, mcp'", "agent-trace mcp </dev/null"],
    "otel": ["agent-trace run counters.py", "agent-trace export otlp last >x.json"],
    "view": ["python -c 'from Agent.server.pages.app import Pages'"],
    "dataframe": [
        "agent-trace export parquet last x.parquet",
        'python -c \'from Agent import LogAnalyzer; a = LogAnalyzer(); print(a.sql("SELECT 1 AS x").to_df(), '
        "a.agent_vars())'",
    ],
    "cluster": [  # Spark needs Java
        "agent-trace seal && agent-trace errors --engine duckdb trace",
        "if command -v java; then agent-trace errors --engine spark trace; fi",
    ],
    "encryption": [
        "umask 077; python -c 'import secrets; print(secrets.token_hex(32))' >key; "
        "export AGENT_TRACE_ENCRYPTION_KEY_FILE=key; agent-trace seal last --encrypt --remove && "
        "agent-trace journey counter",
    ],
    "golden": ["agent-trace golden add last/counter --target counters:Counter --test", "pytest -q"],
    "all": ["agent-trace export parquet last x.parquet", "python -c 'import Agent.mcp.server'"],
}


def run(command: str, cwd: Path, bin_dir: Path | None = None) -> None:
    """Run a shell command; SystemExit with its output if it fails."""
    foreign = ("PYTHON", "AGENT_TRACE")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    if bin_dir is not None:
        environment["PATH"] = f"{bin_dir}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {command}\n{done.stdout}{done.stderr}")


def tried(package: Path, extra: str, parent: Path) -> None:
    """Install a package with an extra in a new environment, and run what the extra is for."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=parent) as made:
        place = Path(made)
        venv.create(place / "venv", with_pip=True)
        bin_dir = place / "venv" / "bin"
        wanted = f"{package}[{extra}]" if extra else str(package)
        run(f"pip install --quiet '{wanted}'", place, bin_dir)
        desk = place / "desk"
        desk.mkdir()
        (desk / "counters.py").write_text(PROGRAM)
        for command in ["python counters.py", *TRIES[extra]]:
            run(command, desk, bin_dir)
    print(f"ok  {package.name} [{extra or 'no extra'}]  {time.monotonic() - began:.0f} s", flush=True)


def benchmark_alone(parent: Path) -> None:
    """Install the fault benchmark, which needs nothing else, and score an answer."""
    with tempfile.TemporaryDirectory(dir=parent) as made:
        place = Path(made)
        venv.create(place / "venv", with_pip=True)
        bin_dir = place / "venv" / "bin"
        run(f"pip install --quiet '{ROOT / 'benchmarks' / 'fault_benchmark'}'", place, bin_dir)
        (place / "truth.jsonl").write_text('{"case": "a", "faulty": true, "accepted": ["w-1"], "lag": 0.1}')
        (place / "answers.jsonl").write_text('{"case": "a", "causes": [{"event_ids": ["w-1"]}]}')
        run("agent-fault-benchmark score truth.jsonl answers.jsonl | grep -q '1.00     1.00'", place, bin_dir)
    print("ok  agent-fault-benchmark alone", flush=True)


def extras_of_users() -> list[str]:
    """Return the names of the extras that users install."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [name for name in extras if name not in {"test", "frameworks", "bench", "docs"}]


def main() -> None:
    """Build, and try what was asked for; SystemExit with the output of the first command that fails."""
    users = extras_of_users()
    missing = set(users) ^ (set(TRIES) - {""})
    if missing:
        raise SystemExit(f"extras without a try, or tries without an extra: {sorted(missing)}")
    with tempfile.TemporaryDirectory() as made:
        parent = Path(made)
        venv.create(parent / "build", with_pip=True)
        bin_dir = parent / "build" / "bin"
        run("pip install --quiet build", ROOT, bin_dir)
        run(f"python -m build --quiet --outdir '{parent / 'dist'}' .", ROOT, bin_dir)
        (wheel,) = (parent / "dist").glob("*.whl")
        (sdist,) = (parent / "dist").glob("*.tar.gz")
        chosen = sys.argv[1:]
        if not chosen:
            tried(sdist, "", parent)
            tried(wheel, "", parent)
            benchmark_alone(parent)
        for extra in chosen or users:
            tried(wheel, extra, parent)


if __name__ == "__main__":
    main()
