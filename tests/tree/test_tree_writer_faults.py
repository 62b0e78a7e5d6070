"""When the operating system refuses: nothing is raised, everything is counted, what can be written is written."""

import contextlib
import errno
import os
import resource
import shutil

import pytest
from tree_kit import Recorder

from Agent.tree import own_file, rotation, writer
from Agent.tree.layout import agent_files
from Agent.tree.reader import TreeReader
from Agent.tree.writer import SessionWriter


class FaultyWrite:
    """`os.write` that answers the calls in `plan` with an error or with a part of the bytes."""

    def __init__(self, monkeypatch):
        self.plan = []
        for module in (writer, own_file):
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
    assert [path.name for path in agent_files(session, "creator_001")] == ["creator_001.log"]
    assert 2 < len(tries) < 100
    assert sink.counters() == {"roll:EACCES": len(tries)}
    for _ in range(20):
        assert recorder.write() > 0
    assert len(agent_files(session, "creator_001")) > 1
    assert not [path for path in (session / "agents").iterdir() if path.name.startswith(".")]
    assert len(lines_in(session)) == 220


@pytest.mark.parametrize("fails", ["link", "replace", "open"])
def test_a_roll_that_fails_at_any_step_changes_nothing(fails, session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    recorder.write()

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "no")

    with monkeypatch.context() as patch:
        if fails == "open":
            patch.setattr(rotation, "claim_segment", refuse)
        elif fails == "link":
            patch.setattr(rotation.os, "link", refuse)
        else:
            patch.setattr(rotation.Path, "replace", refuse)
        for _ in range(10):
            assert recorder.write() > 0
    assert [path.name for path in (session / "agents").iterdir()] == ["creator_001.log"]
    assert len(lines_in(session)) == 11


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
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
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
    assert sink.counters() == {}


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
    assert sink.counters() == {"write:EBADF": 1}


def test_a_session_whose_state_cannot_be_written_is_recorded_all_the_same(session):
    shutil.rmtree(session / ".state")
    sink = SessionWriter(session)
    sink.board.thread_slot()(1)
    sink.board.close_span(sink.board.open_span("0" * 16, "a", "b", 1))
    assert Recorder(sink).write() == 1
    assert sink.counters() == {"claim:ENOENT": 1, "board:ENOENT": 1}
    sink.close()
    losses = TreeReader(session).losses()
    assert (losses.total_read, losses.clean) == (1, False)
