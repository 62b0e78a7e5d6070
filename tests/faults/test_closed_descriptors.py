"""A program that closes every descriptor and opens its own files, as daemons do: no byte of the log gets into them."""

from __future__ import annotations

import json
import os

import pytest
from support.processes import run_python
from support.session_files import record_files

from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.archive.verify import verify
from Agent.tree.files import descriptors
from Agent.tree.files.descriptors import give_back, let_go, out_of_the_way
from Agent.tree.write import segment_writer, writer

PROGRAM = """
import os, resource, sys
from Agent import AgentLogger, PerformanceLogger, setup_logging, shutdown_logging

root, own, limit, durability, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
setup_logging(trace_root=root, durability=durability, buffer_entries=3)
logger, others = AgentLogger("a", "r"), [AgentLogger(f"other_{n}", "r") for n in range(6)]
for each in others:
    each.log_action("before")
logger.log_action("before")
logger.error("before")
os.closerange(3, limit)
files = [open(f"{own}/{n}", "w+b") for n in range(count)]
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
@pytest.mark.parametrize(
    ("limit", "durability", "files"),
    [
        (1024, "kernel", 200),
        (1024, "queued", 200),
        (8192, "kernel", 200),
        # so many that they get the very numbers that the log had
        (1024, "kernel", 900),
        (1024, "queued", 900),
        (1024, "disk", 900),
        (128, "kernel", 110),
    ],
)
def test_a_log_whose_descriptors_were_closed_writes_into_its_own_files(tmp_path, limit, durability, files):
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
        str(files),
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


def test_a_file_that_takes_a_logs_number_gets_no_byte_and_the_log_goes_on_in_its_own(trace_root, tmp_path):
    pytest.importorskip("fcntl")
    session = setup_logging(mirrors=False)
    logger = AgentLogger("a")
    others = AgentLogger("b")
    logger.info("m", extra={"n": 0})
    others.info("m", extra={"n": 0})
    own = (tmp_path / "own").open("ab")
    for round_, natively in enumerate((True, False), start=1):
        with pytest.MonkeyPatch.context() as patch:
            if not natively:
                for module in (writer, segment_writer):
                    patch.setattr(module, "_write", descriptors._write_own)
            for path in (session.path / "agents").iterdir():
                number = number_of(path)
                os.dup2(own.fileno(), number, inheritable=False)
            assert logger.info("m", extra={"n": round_})
            assert others.info("m", extra={"n": round_})
            os.close(number)
            assert logger.info("m", extra={"n": round_ + 10})
    told = health()
    shutdown_logging()
    own.close()
    assert (tmp_path / "own").read_bytes() == b""
    assert told["dropped"] == {} and told["writer"]["descriptor_closed"] >= 4
    for path in (session.path / "agents").iterdir():
        numbers = [json.loads(line)["extra"]["n"] for line in path.read_bytes().splitlines()]
        assert numbers == ([0, 1, 11, 2, 12] if path.name == "a.log" else [0, 1, 2])
    assert verify(session.path).sound


def number_of(path):
    """Under which number this process has a file open."""
    wanted = path.stat()
    for number in sorted(descriptors._ours):
        try:
            if os.path.samestat(os.fstat(number), wanted):
                return number
        except OSError:
            continue
    raise AssertionError(f"{path} is not open")


def test_where_log_files_have_no_flags_in_common_nothing_is_compared(tmp_path, monkeypatch):
    """A system that tells other flags of each file must not cost a line."""
    pytest.importorskip("fcntl")
    told = []
    for name in ("_known_flags", "_is_known", "_know_flags"):
        monkeypatch.setattr(
            descriptors, name, {"_known_flags": -1, "_is_known": False}.get(name, told.append)
        )
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    plain = os.open(tmp_path / "plain", flags, 0o600)
    waiting = os.open(tmp_path / "waiting", flags | os.O_NONBLOCK, 0o600)
    try:
        descriptors.know_log(plain)
        descriptors.know_log(plain)
        assert len(told) == 1
        with pytest.raises(OSError, match="another file"):
            descriptors._write_own(waiting, b"line\n")
        descriptors.know_log(waiting)
        assert told[1:] == [-1]
        assert descriptors._write_own(waiting, b"line\n") == descriptors._write_own(plain, b"line\n") == 5
    finally:
        os.close(plain)
        os.close(waiting)


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


CHECKPOINTS = """
import os, resource, sys
from Agent import health, setup_logging, shutdown_logging
from Agent.flight import checkpoint_store

root, own = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
setup_logging(trace_root=root)
for number in range(6):
    checkpoint_store.save_checkpoint("run-7", f"step_{number}", {"n": number, "all": list(range(900))}, tick=number)
    if number == 2:
        os.closerange(3, 256)
        files = [open(f"{own}/{n}", "w+b") for n in range(100)]
print([checkpoint_store.load_checkpoint("run-7", f"step_{n}").state["n"] for n in range(6)], health()["dropped"])
shutdown_logging()
print({file.name: os.stat(file.name).st_size for file in files if os.stat(file.name).st_size})
"""


@pytest.mark.integration
def test_an_index_of_checkpoints_whose_descriptors_were_closed_is_made_anew_and_no_foreign_file_is_touched(
    tmp_path,
):
    """SQLite writes by number, and its numbers are the lowest: 36,864 and 547,992 bytes went into two own files."""
    own = tmp_path / "own"
    own.mkdir()
    environment = {"HOME": str(tmp_path), "AGENT_TRACE_SESSION": ""}
    done = run_python("-c", CHECKPOINTS, str(tmp_path / "trace"), str(own), cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[0, 1, 2, 3, 4, 5] {}", "{}"]
    assert done.stderr == ""
