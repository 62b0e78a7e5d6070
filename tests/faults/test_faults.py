"""System calls that fail, disks that are full, files that vanish: the program goes on, and says what it lacks."""

import fcntl
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from cells import Cell, calls_of, fault_cells
from harness import why_no_tracing
from matrix import fill_all
from oracle import judge, judge_fault, read_plainly
from support.processes import run_python
from support.session_files import only_session, record_files, session_directories

from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.event.clock import parse_timestamp
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.redaction import Redactor
from Agent.testing import FakeClock
from Agent.tree.layout import create_session_dir
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.writer import SessionWriter

A_FEW = [
    ("faulting", "write", "ENOSPC"),
    ("faulting", "write", "EIO"),
    ("faulting", "write", "EFBIG"),
    ("faulting", "write", "EINTR"),
    ("faulting", "openat", "EMFILE"),
    ("faulting", "openat", "EROFS"),
    ("faulting", "rename", "EIO"),
    ("faulting", "link", "ENOSPC"),
    ("faulting", "link", "EPERM"),
    ("faulting", "unlink", "EIO"),
    ("mirroring", "rename", "ENOSPC"),
    ("mirroring", "write", "ENOSPC"),
    ("starting", "openat", "ENOSPC"),
    ("starting", "mkdir", "EROFS"),
    ("starting", "allocate", "ENOSPC"),
    ("forking", "write", "EIO"),
    ("buffering", "write", "ENOSPC"),
    ("ending", "fsync", "EIO"),
    ("ending", "openat", "EMFILE"),
]


@pytest.mark.integration
@pytest.mark.process
@pytest.mark.parametrize(("scenario", "call", "error"), A_FEW)
def test_a_call_that_fails_three_times_is_named_and_costs_nothing_acknowledged(
    scenario, call, error, launcher, tracing, tmp_path
):
    start = random.randrange(1, 4)
    cell = Cell(scenario, call, f"error={error}", 9, 13, "{k}..{last}", start)
    row = cell.fill(launcher, tmp_path)
    assert row.problems == []


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize(("call", "error"), [("write", "ENOSPC"), ("openat", "EIO"), ("rename", "EROFS")])
def test_a_call_that_never_works_again_stops_nobody(call, error, launcher, tracing, tmp_path):
    row = Cell("faulting", call, f"error={error}", 5, 6, "{k}+").fill(launcher, tmp_path)
    assert row.problems == []
    assert row.struck >= 1


@pytest.mark.slow
def test_every_call_may_fail_with_every_error(tmp_path):
    reason = why_no_tracing()
    if reason is not None:
        pytest.skip(reason)
    rows = list(fill_all(fault_cells(stride=3, most=60), tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    assert sum(row.struck for row in rows) > 1000


@pytest.mark.further
@pytest.mark.parametrize("limit_bytes", [5000, 9001, 20_011])
@pytest.mark.parametrize("threads", [1, 3])
def test_files_that_may_not_grow_tear_lines_which_are_sent_again(limit_bytes, threads, launcher, tmp_path):
    outcome = launcher.run("limited", tmp_path, events=60, threads=threads, limit_bytes=limit_bytes)
    # each segment that meets the limit may end in a torn line
    verdict = judge_fault(outcome, 1 + 60 * threads + 12, error="EFBIG", torn_lines=60)
    assert verdict.problems == []
    counted = outcome.healths[0]["writer"]
    assert verdict.torn <= counted.get("short_write", 0)


@pytest.fixture
def full_disk(trace_root):
    """A logger whose file lies on a full disk while `is_full` is set."""
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("creator_001", "creator")
    assert logger.log_action("write", {"number": 0})
    name = str(only_session(trace_root) / "agents" / "creator_001.log")
    own = [fd for fd in _descriptors() if _link_of(fd) == name]
    assert len(own) == 1
    kept = os.dup(own[0])
    full = _open_full(like=own[0])
    yield logger, lambda is_full: os.dup2(full if is_full else kept, own[0], inheritable=False)
    os.close(full)
    os.close(kept)


def _open_full(like):
    """A full disk behind the flags of a log file: what has others is a file of the program's."""
    return os.open("/dev/full", fcntl.fcntl(like, fcntl.F_GETFL))


def _descriptors():
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def _link_of(fd):
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return None


def test_a_disk_that_is_full_for_a_while_is_told_in_health_and_in_the_tree(full_disk, trace_root, capfd):
    logger, fill = full_disk
    fill(True)
    assert [logger.log_action("write", {"number": number}) for number in (1, 2, 3)] == ["", "", ""]
    assert health()["writer"] == {"write:ENOSPC": 3}
    assert health()["dropped"] == {"the file system refused the write": 3}
    fill(False)
    kept = logger.log_action("write", {"number": 4})
    shutdown_logging()
    found = read_plainly(only_session(trace_root))
    assert kept in found.events
    assert [event["extra"]["count"] for event in found.of_kind("log.dropped")] == [3]
    losses = TreeReader(only_session(trace_root)).losses()
    assert (losses.total_lost, losses.total_unknown) == (3, 0)
    assert capfd.readouterr().err.count("events are being lost") == 1


def test_what_was_dropped_is_told_at_the_end_where_nothing_came_in_between(full_disk, trace_root):
    logger, fill = full_disk
    fill(True)
    assert logger.log_action("write", {"number": 1}) == ""
    shutdown_logging()
    found = read_plainly(only_session(trace_root))
    assert [event["extra"]["count"] for event in found.of_kind("log.dropped")] == [1]
    assert [event["extra"]["counters"] for event in found.of_kind("log.closed")] == [
        {"the file system refused the write": 1}
    ]


def test_a_report_that_cannot_be_written_is_not_tried_at_every_event(full_disk, trace_root):
    logger, fill = full_disk
    # system.log, where reports go, cannot be opened: a directory stands there under both names
    session = only_session(trace_root)
    system = next(fd for fd in _descriptors() if str(_link_of(fd)).endswith("system.log"))
    full = os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(system)
    os.dup2(full, system, inheritable=False)
    fill(True)
    logger.log_action("write", {"number": 1})
    fill(False)
    ids = [logger.log_action("write", {"number": number}) for number in range(2, 60)]
    assert all(ids)
    assert sum(health()["dropped"].values()) <= 3  # the event, and a report a second
    os.dup2(kept, system, inheritable=False)
    os.close(kept)
    os.close(full)
    shutdown_logging()
    found = read_plainly(session)
    told = sum(event["extra"]["count"] for event in found.of_kind("log.dropped"))
    assert told == sum(found.of_kind("log.closed")[0]["extra"]["counters"].values())


def test_what_fails_while_recording_ends_is_named_on_stderr(trace_root, capfd):
    setup_logging(trace_root=trace_root)
    AgentLogger("creator_001", "creator").log_action("write", {})
    (system,) = (fd for fd in _descriptors() if _link_of(fd) == str(only_session(trace_root) / "system.log"))
    full = _open_full(like=system)
    os.dup2(full, system, inheritable=False)
    os.close(full)
    shutdown_logging()
    assert "a failure while recording ended: write:ENOSPC" in capfd.readouterr().err
    # and the board stays, by which the losses are told
    assert not TreeReader(only_session(trace_root)).losses().writers[0].closed


def test_an_end_that_meets_nothing_says_nothing(trace_root, capfd):
    setup_logging(trace_root=trace_root)
    AgentLogger("creator_001", "creator").log_action("write", {})
    shutdown_logging()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "place", ["recording.stop_samplers", "recording.emit_last_states", "mirror.os.pread"]
)
def test_whatever_fails_while_recording_ends_does_not_reach_the_program(
    place, trace_root, capfd, monkeypatch
):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("creator_001", "creator")
    ids = [logger.log_action("write", {"number": number}) for number in range(5)]
    time.sleep(0.2)
    ids.append(logger.log_action("write", {"number": 5}))
    module, _, name = place.partition(".")
    home = {"recording": "Agent.config.recording", "mirror": "Agent.tree.write.mirror"}[module]

    def fail(*_args):
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(f"{home}.{name}", fail)
        shutdown_logging()
    assert "RuntimeError" in capfd.readouterr().err
    found = read_plainly(only_session(trace_root))
    assert set(ids) <= set(found.events)
    assert found.of_kind("log.closed")


@pytest.mark.integration
def test_a_first_event_deep_in_the_stack_is_counted_and_recording_begins_later(trace_root, tmp_path):
    program = """
import sys, time
from Agent import AgentLogger, health
logger = AgentLogger("a", "r")
sys.setrecursionlimit(40)
early = [logger.log_action("early") for _ in range(3)]
sys.setrecursionlimit(1000)
assert early == ["", "", ""], early
assert sum(health()["dropped"].values()) == 3, health()
time.sleep(1.1)
assert logger.log_action("later")
"""
    made = run_python("-c", program, cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root))
    assert made.returncode == 0, made.stderr
    found = read_plainly(only_session(trace_root))
    assert sum(event["extra"]["count"] for event in found.of_kind("log.dropped")) == 3


def test_a_session_that_is_removed_is_made_again(trace_root):
    setup_logging(trace_root=trace_root)
    loggers = [AgentLogger(f"agent_{number}", "writer") for number in range(100)]
    for logger in loggers:
        logger.log_action("write", {"number": 0})
    # at once, so that no file that another thread makes meanwhile stands in the way of the removal
    shutil.rmtree(trace_root.rename(trace_root.with_name("removed")))
    ids = [logger.log_action("write", {"number": 1}) for logger in loggers]
    until = time.monotonic() + 30
    while not session_directories(trace_root) and time.monotonic() < until:
        ids.append(loggers[0].log_action("wait", {}))
        time.sleep(0.005)
    later = [logger.log_action("write", {"number": 2}) for logger in loggers]
    shutdown_logging()
    found = [read_plainly(session) for session in session_directories(trace_root)]
    present = {event for each in found for event in each.events}
    assert set(later) <= present
    # what still went into open files is gone with them, and counted as what was refused is
    told = sum(event["extra"]["count"] for each in found for event in each.of_kind("log.dropped"))
    assert sum(event not in present for event in ids) <= told


def test_a_log_file_that_is_truncated_goes_on_and_the_loss_is_told(trace_root):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("creator_001", "creator")
    for number in range(10):
        logger.log_action("write", {"number": number})
    (session := only_session(trace_root)) and os.truncate(session / "agents" / "creator_001.log", 0)
    ids = [logger.log_action("write", {"number": number}) for number in range(10, 20)]
    shutdown_logging()
    assert set(ids) <= set(read_plainly(session).events)
    assert TreeReader(session).losses().total_lost == 10


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "file"])
def test_a_log_file_that_is_replaced_is_not_followed_and_nothing_is_missing(kind, trace_root, tmp_path):
    setup_logging(trace_root=trace_root, max_open_files=4)
    loggers = [AgentLogger(f"agent_{number}", "writer") for number in range(20)]
    before = [logger.log_action("write", {"number": 0}) for logger in loggers]
    session = only_session(trace_root)
    live = session / "agents" / "agent_0.log"
    live.rename(session / "agents" / "agent_0.1.log")
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    if kind == "link":
        live.symlink_to(target)
    elif kind == "directory":
        live.mkdir()
    elif kind == "pipe":
        os.mkfifo(live)
    else:
        live.write_bytes(b"")
    after = [logger.log_action("write", {"number": 1}) for logger in loggers]
    shutdown_logging()
    assert all(after)
    assert target.read_bytes() == b"untouched"
    if kind == "file":
        assert live.read_bytes() == b""
    found = set()
    for path in record_files(session):
        if path.is_file() and not path.is_symlink():
            found.update(json.loads(line)["id"] for line in path.read_bytes().splitlines() if line)
    assert set(before) | set(after) <= found
    assert {event.id for event in TreeReader(session).events()} == found


def test_a_clock_that_jumps_back_neither_reorders_a_thread_nor_loses_anything(trace_root):
    session, session_id = create_session_dir(trace_root, "20261120_103045")
    writer = SessionWriter(session)
    clock = FakeClock(step_ns=1000)
    pipeline = Pipeline(
        writer, session_id=session_id, redactor=Redactor(b"key" * 8), board=writer.board, clock=clock
    )
    install_pipeline(pipeline)
    logger = AgentLogger("creator_001", "creator")
    chance = random.Random(4)
    ids = []
    for number in range(400):
        clock.advance(chance.choice((0.001, -3600.0, 86400.0, -0.000001)))
        ids.append(logger.log_action("write", {"number": number}))
    install_pipeline(None)
    pipeline.close()
    reader = TreeReader(session)
    events = [event for event in reader.events() if event.kind == "agent_action"]
    assert [event.id for event in events] == ids
    times = [parse_timestamp(event.timestamp) for event in events]
    assert times == sorted(times)
    assert reader.losses().clean


UNPRIVILEGED = """
import os, sys
from Agent import AgentLogger, health, setup_logging, shutdown_logging
# what is imported later would be looked for where nobody may look
import tempfile
with tempfile.TemporaryDirectory() as warm:
    setup_logging(trace_root=warm)
    AgentLogger("warm", "up").log_action("w", {})
    shutdown_logging()
os.setgid(65534); os.setuid(65534)
from Agent.errors import ConfigurationError
try:
    setup_logging(trace_root=sys.argv[1])
except ConfigurationError as error:
    print("refused", "Permission denied" in str(error))
logger = AgentLogger("a", "b")
print([logger.log_action("write", {"number": number}) for number in range(3)])
print(health())
"""


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_root_that_may_not_be_written_is_one_clear_error_and_stops_no_program(child_place):
    root = child_place / "closed"
    root.mkdir(mode=0o755)
    done = run_python("-c", UNPRIVILEGED, str(root), cwd=Path("/"), AGENT_TRACE_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["refused True", "['', '', '']"]
    assert "'recording': False" in done.stdout
    assert "Permission denied" in done.stdout.splitlines()[2]
    assert "Traceback" not in done.stderr
    assert list(root.iterdir()) == []


@pytest.fixture
def child_place():
    """A directory that everybody may enter, unlike a test's own."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def test_a_mirror_whose_lock_another_process_holds_stops_nobody(trace_root):
    import fcntl

    setup_logging(trace_root=trace_root, rotation={"agents": (2000, 2)})
    logger = AgentLogger("creator_001", "creator")
    logger.log_action("write", {"number": 0})
    lock = trace_root / "agents" / ".agents.log.lock"
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    began = time.monotonic()
    ids = [logger.log_action("write", {"number": number}) for number in range(500)]
    assert time.monotonic() - began < 30
    assert all(ids)
    # the file grows beyond its limit as long as nobody can rotate it
    mirror = trace_root / "agents" / "agents.log"
    while not (mirror.exists() and all(identity.encode() in mirror.read_bytes() for identity in ids)):
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    os.close(fd)


@pytest.mark.integration
def test_calls_are_counted_as_the_program_makes_them(launcher, tmp_path):
    for scenario in ("faulting", "mirroring", "starting", "forking", "buffering", "ending"):
        outcome = launcher.run(scenario, tmp_path / scenario, events=14)
        assert len(outcome.calls) == calls_of(scenario, 14), scenario
        assert judge(outcome).problems == []
