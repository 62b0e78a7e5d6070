"""A program that closes every descriptor and opens its own files, as daemons do: no byte of the log gets into them."""

from __future__ import annotations

import json

import pytest
from support.processes import run_python
from support.session_files import record_files

PROGRAM = """
import os, resource, sys
from Agent import AgentLogger, health, setup_logging, shutdown_logging

root, own, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
setup_logging(trace_root=root)
logger = AgentLogger("a", "r")
logger.log_action("before")
logger.error("before")
os.closerange(3, limit)
files = [open(f"{own}/{n}", "w+b") for n in range(200)]
for file in files:
    file.write(b"own")
    file.flush()
for n in range(300):
    assert logger.log_action("after", {"n": n})
logger.error("after")
shutdown_logging()
assert all(open(file.name, "rb").read() == b"own" for file in files)
file.write(b" still open")
"""


@pytest.mark.integration
@pytest.mark.parametrize("limit", [1024, 8192])
def test_a_log_whose_descriptors_were_closed_writes_into_its_own_files(tmp_path, limit):
    own = tmp_path / "own"
    own.mkdir()
    root = tmp_path / "trace"
    done = run_python(
        "-c",
        PROGRAM,
        str(root),
        str(own),
        str(limit),
        cwd=tmp_path,
        HOME=str(tmp_path),
        AGENT_TRACE_SESSION="",
    )
    assert done.returncode == 0, done.stderr
    session = next(root.glob("session_*"))
    lines = [line for path in record_files(session) for line in path.read_bytes().splitlines()]
    after = [json.loads(line)["extra"].get("action_data") for line in lines if b'"after"' in line]
    assert sorted(each["n"] for each in after if each) == list(range(300))
    assert json.loads((session / "trace_summary.json").read_bytes())["losses"]["lost"] == 0
