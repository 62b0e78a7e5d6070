"""A program that closes every descriptor and opens its own files, as daemons do: no byte of the log gets into them."""

from __future__ import annotations

import json
import os

import pytest
from support.processes import run_python
from support.session_files import record_files

from Agent.archive.maintenance.verify import verify
from Agent.tree.files.descriptors import give_back, let_go, out_of_the_way

PROGRAM = """
import os, resource, sys
from Agent import AgentLogger, PerformanceLogger, setup_logging, shutdown_logging

root, own, limit, durability = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
setup_logging(trace_root=root, durability=durability, buffer_entries=3)
logger, others = AgentLogger("a", "r"), [AgentLogger(f"other_{n}", "r") for n in range(6)]
for each in others:
    each.log_action("before")
logger.log_action("before")
logger.error("before")
os.closerange(3, limit)
files = [open(f"{own}/{n}", "w+b") for n in range(200)]
for file in files:
    file.write(b"own")
    file.flush()
for n in range(300):
    # one of ours that is opened again must not get the number that another still has
    assert others[n % 6].log_action("beside", {"n": n})
    assert logger.log_action("after", {"n": n})
    PerformanceLogger().log_metric("latency", n, "ms")
logger.error("after")
shutdown_logging()
assert all(open(file.name, "rb").read() == b"own" for file in files)
file.write(b" still open")
"""


@pytest.mark.integration
@pytest.mark.parametrize(("limit", "durability"), [(1024, "kernel"), (1024, "queued"), (8192, "kernel")])
def test_a_log_whose_descriptors_were_closed_writes_into_its_own_files(tmp_path, limit, durability):
    own = tmp_path / "own"
    own.mkdir()
    root = tmp_path / "trace"
    done = run_python(
        "-c",
        PROGRAM,
        str(root),
        str(own),
        str(limit),
        durability,
        cwd=tmp_path,
        HOME=str(tmp_path),
        AGENT_TRACE_SESSION="",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    session = next(root.glob("session_*"))
    lines = [line for path in record_files(session) for line in path.read_bytes().splitlines()]
    for label in ("after", "beside"):
        extras = [json.loads(line)["extra"] for line in lines if b'"%s"' % label.encode() in line]
        assert sorted(each["action_data"]["n"] for each in extras if "action_data" in each) == [*range(300)]
    for path in (session / "agents").iterdir():
        agents = {json.loads(line)["extra"]["agent_id"] for line in path.read_bytes().splitlines()}
        assert agents == {path.name.partition(".")[0].partition("@")[0]}
    found = verify(session)
    assert found.sound and not found.dropped
    assert {row.state for row in found.writers} == {"closed"} and len(found.writers) == 2
    assert json.loads((session / "trace_summary.json").read_bytes())["losses"]["lost"] == 0


def test_a_number_that_was_closed_from_outside_is_no_other_files_before_its_owner_let_go(tmp_path):
    pytest.importorskip("fcntl")
    opened = []
    for name in ("one", "two", "three"):
        fd = out_of_the_way(os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT, 0o600))
        status = os.fstat(fd)
        opened.append((fd, (status.st_dev, status.st_ino)))
    for fd, _ in opened:
        os.close(fd)  # as a program does that closes all
    again = out_of_the_way(os.open(tmp_path / "four", os.O_WRONLY | os.O_CREAT, 0o600))
    assert again not in {fd for fd, _ in opened}
    for fd, inode in opened[:2]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"a line")
        let_go(fd)
        give_back(fd, inode)
    freed = out_of_the_way(os.open(tmp_path / "five", os.O_WRONLY | os.O_CREAT, 0o600))
    assert freed == opened[0][0]
    for fd in (again, freed):
        status = os.fstat(fd)
        give_back(fd, (status.st_dev, status.st_ino))
        give_back(fd, (status.st_dev, status.st_ino))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    give_back(*opened[2])
