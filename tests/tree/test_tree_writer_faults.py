"""When the operating system refuses: nothing is raised, everything is counted, what can be written is written."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment
from tree_kit import Recorder, make_line

from Agent.tree.files import segment as rotation
from Agent.tree.layout import agent_files
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import segment_writer, writer
from Agent.tree.write.writer import SessionWriter


class FaultyWrite:
    """`os.write` that answers the calls in `plan` with an error or with a part of the bytes."""

    def __init__(self, monkeypatch):
        self.plan = []
        for module in (writer, segment_writer):
            monkeypatch.setattr(module, "_write", self)

    def __call__(self, fd, data):
        fault = self.plan.pop(0) if self.plan else None
        if isinstance(fault, int):
            return os.write(fd, data[:fault])
        if fault is not None:
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
        return os.write(fd, data)


@pytest.fixture
def write(monkeypatch):
    return FaultyWrite(monkeypatch)


def lines_in(session, agent_id="creator_001"):
    return [
        line for path in agent_files(session, agent_id) for line in path.read_bytes().split(b"\n") if line
    ]


def test_a_short_write_is_sent_again_whole_on_a_new_line(session, write):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    write.plan = [17]
    assert recorder.write() == 2
    assert recorder.write() == 3
    lines = lines_in(session)
    assert [len(line) > 17 for line in lines] == [True, False, True, True]
    assert sink.counters() == {"short_write": 1}
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1, 2, 3]
    assert [(damage.line_number, damage.text) for damage in reader.damage()] == [(2, lines[1].decode())]
    assert reader.losses().total_read == 3


def test_a_write_short_by_its_newline_alone_is_read_once(session, write):
    recorder = Recorder(SessionWriter(session))
    write.plan = [-1]
    assert recorder.write() == 1
    assert recorder.write() == 2
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == [1, 2]
    assert [damage.reason for damage in reader.damage()] == [f"repeated id {recorder.sink.writer}-1"]


def test_a_short_write_followed_by_a_full_disk_does_not_glue_the_next_line(session, write):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    write.plan = [30, "ENOSPC", "ENOSPC"]
    # the first line is claimed on the slow path, which the fault meets as well
    assert recorder.write() == -1
    write.plan = ["ENOSPC"]
    assert recorder.write() == -2
    assert recorder.write() == 3
    assert recorder.write() == 4
    assert [event.seq for event in TreeReader(session).events()] == [3, 4]
    assert sink.counters() == {"short_write": 1, "write:ENOSPC": 2}


def test_a_full_disk_in_the_middle_of_a_line_does_not_glue_the_next_one_either(session, write):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    write.plan = [40, "ENOSPC", "ENOSPC"]
    assert recorder.write() == -2
    assert recorder.write() == -3
    assert recorder.write() == 4
    assert [event.seq for event in TreeReader(session).events()] == [1, 4]
    lines = lines_in(session)
    assert [len(line) > 40 for line in lines] == [True, False, True]
    assert sink.counters() == {"short_write": 1, "write:ENOSPC": 2}


@pytest.mark.parametrize("name", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_refused_write_is_counted_and_the_next_one_succeeds(name, session, write):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    write.plan = [name]
    assert recorder.write() == -2
    assert recorder.write() == 3
    assert sink.counters() == {f"write:{name}": 1}
    assert [event.seq for event in TreeReader(session).events()] == [1, 3]


def test_refused_writes_use_up_no_room(session, write):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=2000))
    recorder.write()
    write.plan = ["ENOSPC"] * 50
    assert all(recorder.write() < 0 for _ in range(50))
    recorder.write()
    assert len(agent_files(session, "creator_001")) == 1


def test_a_real_limit_on_file_size_makes_a_new_segment(session):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, hard))
    try:
        written = [recorder.write() for _ in range(40)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert min(written) > 0
    assert sorted(event.seq for event in TreeReader(session).events()) == list(range(1, 42))
    assert sink.counters()["short_write"] >= 3


def test_a_roll_that_fails_keeps_the_old_file_and_is_tried_again_later(session, monkeypatch):
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise OSError(errno.EACCES, "no")

    sink = SessionWriter(session, segment_size_bytes=16_000)
    recorder = Recorder(sink)
    with monkeypatch.context() as patch:
        patch.setattr(rotation.os, "link", refuse)
        for _ in range(200):
            assert recorder.write() > 0
    assert [path.name for path in agent_files(session, "creator_001")] == ["creator_001.1.log"]
    assert 2 < len(tries) < 100
    assert sink.counters() == {"roll:EACCES": len(tries)}
    for _ in range(20):
        assert recorder.write() > 0
    assert len(agent_files(session, "creator_001")) > 1
    assert not [path for path in (session / "agents").iterdir() if path.name.startswith(".")]
    assert len(lines_in(session)) == 220


@pytest.mark.parametrize("fails", ["open", "rename"])
def test_a_roll_that_fails_early_changes_nothing(fails, session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    recorder.write()

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "no")

    with monkeypatch.context() as patch:
        if fails == "open":
            patch.setattr(rotation, "claim_segment", refuse)
        else:
            patch.setattr(rotation.Path, "rename", refuse)
        for _ in range(10):
            assert recorder.write() > 0
    assert [path.name for path in (session / "agents").iterdir()] == ["creator_001.log"]
    assert len(lines_in(session)) == 11


def test_when_a_new_file_gets_no_name_the_old_one_goes_on_under_its_number(session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=1000, max_open_files=1)
    recorder = Recorder(sink)
    recorder.write()

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patch:
        patch.setattr(rotation.os, "link", refuse)
        for _ in range(10):
            assert recorder.write() > 0
    assert [path.name for path in (session / "agents").iterdir()] == ["creator_001.1.log"]
    # meanwhile another process claims the live name, which is left to it
    other = Recorder(SessionWriter(session))
    assert other.write() == 1
    live = session / "agents" / "creator_001.log"
    inode = live.stat().st_ino
    for _ in range(10):
        assert recorder.write() > 0
    recorder.write("evicts it")
    assert recorder.write() == 23
    assert live.stat().st_ino == inode
    assert live.read_bytes().count(b"\n") == 1
    assert (session / "agents" / f"creator_001@{sink.writer}.log").exists()
    assert len(lines_in(session)) == len(set(lines_in(session))) == 23
    assert TreeReader(session).losses().total_read == 24


def test_a_name_that_another_process_claims_in_the_middle_of_a_roll_is_left_to_it(session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder, other = Recorder(sink), Recorder(SessionWriter(session))
    plain = os.link
    wrote = []

    def late(*arguments, **options):
        if not wrote:
            wrote.append(other.write())
        return plain(*arguments, **options)

    monkeypatch.setattr(rotation.os, "link", late)
    for _ in range(30):
        assert recorder.write() > 0
    assert wrote == [1]
    assert other.write() == 2
    names = {path.name for path in agent_files(session, "creator_001")}
    further = f"creator_001@{sink.writer}"
    assert {
        "creator_001.1.log",
        "creator_001.log",
        f"{further}.1.log",
        f"{further}.2.log",
        f"{further}.log",
    } <= names
    assert (session / "agents" / "creator_001.log").read_bytes().count(b"\n") == 2
    losses = TreeReader(session).losses()
    assert (losses.total_read, losses.damaged_lines) == (32, 0)


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("step", ["claim_segment", "rename", "link", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_step_of_a_roll_leaves_every_line_once(step, when, session):
    program = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tree_kit import Recorder
from Agent.tree.files import segment as rotation
from Agent.tree.write.writer import SessionWriter
recorder = Recorder(SessionWriter(Path(sys.argv[1]), segment_size_bytes=1000))
for _ in range(10):
    recorder.write()
step, when = sys.argv[3:]
owner = {"claim_segment": rotation, "link": os}.get(step, Path)
plain = getattr(owner, step)
def killed(*arguments, **options):
    if step == "unlink" and not arguments[0].exists():
        return plain(*arguments, **options)
    if when == "after":
        plain(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, step, killed)
while True:
    os.write(1, b"%d\\n" % recorder.write())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(session), str(Path(__file__).parent), step, when],
        env=child_environment(),
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    acknowledged = max([10, *map(int, done.stdout.split())])
    # every log file that a plain tool would find
    lines = [line for path in (session / "agents").glob("*.log") for line in path.read_bytes().splitlines()]
    assert len(lines) == len(set(lines)) == acknowledged
    reader = TreeReader(session)
    assert [event.seq for event in reader.events()] == list(range(1, acknowledged + 1))
    assert reader.damage() == []


def test_a_file_system_without_links_rolls_by_renaming(session, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(rotation.os, "link", refuse)
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    for _ in range(30):
        assert recorder.write() > 0
    assert len(agent_files(session, "creator_001")) > 5
    assert [event.seq for event in TreeReader(session).events()] == list(range(1, 31))
    assert sink.counters() == {}


def test_a_live_file_that_was_moved_away_is_followed_by_a_new_one_of_its_name(session):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    recorder.write()
    live = session / "agents" / "creator_001.log"
    live.rename(session / "moved")
    for _ in range(10):
        assert recorder.write() > 0
    lines = (session / "moved").read_bytes().splitlines() + lines_in(session)
    assert len(lines) == len(set(lines)) == 11
    assert live.exists()
    assert sink.counters() == {}


def test_a_failing_sync_aside_and_a_short_write_aside_are_counted(session, write, monkeypatch):
    sink = SessionWriter(session)
    stream = sink.open_stream("a", "agents")
    sink._state.files.busy = True
    try:
        assert stream.write_synced(make_line(sink.writer, sink.next_seq(), agent_id="a")) is True
        write.plan = [5]
        assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a")) is False
        monkeypatch.setattr("Agent.tree.write.segment_writer.os.fsync", lambda _: os.close(-1))
        assert stream.write_synced(make_line(sink.writer, sink.next_seq(), agent_id="a")) is False
    finally:
        sink._state.files.busy = False
    assert sink.counters() == {"short_write": 1, "write:EBADF": 1}
    assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a")) is True
    assert [event.seq for event in TreeReader(session).events()] == [1, 3, 4]


def test_a_foreign_file_under_the_next_number_is_left_alone(session):
    foreign = session / "agents" / "creator_001.1.log"
    foreign.write_bytes(b"mine\n")
    recorder = Recorder(SessionWriter(session, segment_size_bytes=600))
    for _ in range(10):
        assert recorder.write() > 0
    assert foreign.read_bytes() == b"mine\n"
    assert (session / "agents" / "creator_001.2.log").exists()


def test_too_many_open_files_makes_the_writer_do_with_fewer(session):
    sink = SessionWriter(session, max_open_files=64)
    recorder = Recorder(sink)
    for number in range(30):
        recorder.write(f"agent_{number}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    # Above what is open by now: a number beyond the limit would not come back when its file is closed.
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        written = [recorder.write(f"agent_{number}") for number in range(100)]
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert min(written) > 0
    assert set(sink.counters()) == {"made_room:EMFILE"}


def test_without_any_descriptor_a_line_is_refused_and_counted(session):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert recorder.write() == -1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sink.counters() == {"open:EMFILE": 1}
    assert recorder.write() == 2


def test_a_directory_that_was_removed_is_made_again(session):
    sink = SessionWriter(session, max_open_files=1)
    recorder = Recorder(sink)
    recorder.write("a")
    recorder.write("b")
    shutil.rmtree(session / "agents")
    assert recorder.write("a") > 0
    assert recorder.write("c") > 0
    assert {path.name for path in (session / "agents").iterdir()} == {"a.log", "c.log"}
    assert sink.counters() == {"file_vanished": 1}


def test_a_place_that_takes_no_files_is_counted_and_not_raised(session):
    (session / "agents").rmdir()
    (session / "agents").write_bytes(b"")
    sink = SessionWriter(session)
    assert Recorder(sink).write() == -1
    assert sink.counters() == {"open:ENOTDIR": 1}


def test_a_link_under_an_agents_name_is_not_followed(session, tmp_path):
    target = tmp_path / "victim"
    target.write_bytes(b"untouched")
    (session / "agents" / "creator_001.log").symlink_to(target)
    sink = SessionWriter(session)
    assert Recorder(sink).write() == 1
    assert target.read_bytes() == b"untouched"
    assert (session / "agents" / f"creator_001@{sink.writer}.log").exists()


def test_a_descriptor_closed_from_outside_is_replaced_and_nobody_elses_is_closed(session):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write()
    fd = sink.open_stream("creator_001", "agents")._file.segment.fd
    os.close(fd)
    assert recorder.write() == 2
    assert recorder.write() == 3
    assert len(lines_in(session)) == 3
    assert sink.counters() == {"descriptor_closed": 1}


def test_a_descriptor_closed_from_outside_is_noticed_by_a_full_segment_too(session):
    sink = SessionWriter(session, segment_size_bytes=300)
    recorder = Recorder(sink)
    recorder.write()
    os.close(sink.open_stream("creator_001", "agents")._file.segment.fd)
    assert recorder.write() == 2
    assert len(lines_in(session)) == 2
    assert sink.counters() == {"descriptor_closed": 1}


def test_a_session_that_was_removed_and_cannot_be_made_again_raises_nothing(session):
    sink = SessionWriter(session, max_open_files=1)
    recorder = Recorder(sink)
    recorder.write("a")
    recorder.write("b")
    shutil.rmtree(session)
    session.write_bytes(b"in the way")
    assert recorder.write("a") == -3
    assert sink.counters() == {"open:ENOTDIR": 1}


def test_a_session_whose_state_cannot_be_written_is_recorded_all_the_same(session):
    shutil.rmtree(session / ".state")
    sink = SessionWriter(session)
    assert sink.board is None
    assert Recorder(sink).write() == 1
    assert sink.counters() == {"claim:ENOENT": 1, "board:ENOENT": 1}
    sink.close()
    losses = TreeReader(session).losses()
    assert (losses.total_read, losses.total_lost, losses.writers[0].closed) == (1, 0, False)
