"""Writing a session: one file a writer, segments that roll, few descriptors, and threads that never meet a lock."""

import os
import signal
import stat
import threading
import time
from collections import Counter

import pytest
from tree_kit import Recorder, make_line, open_descriptors

from Agent.errors import ConfigurationError
from Agent.event.model import RedactedBytes
from Agent.tree.layout import agent_files
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import segment_writer
from Agent.tree.write.writer import SessionWriter


def ids_in(session, agent_id="creator_001"):
    """The ids in an agent's files, read without the reader."""
    lines = [line for path in agent_files(session, agent_id) for line in path.read_bytes().split(b"\n")]
    return [line.split(b'"id":"')[1].split(b'"')[0].decode() for line in lines if line]


def test_a_written_line_is_in_the_file_when_the_call_returns(session):
    sink = SessionWriter(session)
    line = make_line(sink.writer, sink.next_seq())
    assert sink.open_stream("creator_001", "agents").write(line) is True
    assert (session / "agents" / "creator_001.log").read_bytes() == line


def test_events_of_no_agent_go_to_their_categorys_file(session):
    sink = SessionWriter(session)
    for category, name in [
        ("learning", "learning"),
        ("system", "system"),
        ("agents", "events"),
        ("odd", "events"),
    ]:
        assert sink.open_stream(None, category).write(make_line(sink.writer, sink.next_seq(), agent_id=None))
        assert (session / f"{name}.log").exists()


def test_files_are_private(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=400))
    for _ in range(5):
        recorder.write()
    files = [path for path in session.rglob("*") if path.is_file()]
    assert len(files) >= 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_one_stream_is_one_object_and_a_file_belongs_to_all_categories_of_an_agent(session):
    sink = SessionWriter(session)
    assert sink.open_stream("a", "agents") is sink.open_stream("a", "agents")
    for category in ("agents", "errors", "learning"):
        assert sink.open_stream("a", category).write(make_line(sink.writer, sink.next_seq(), agent_id="a"))
    assert [path.name for path in (session / "agents").iterdir()] == ["a.log"]
    assert len(ids_in(session, "a")) == 3


def test_a_second_writer_of_the_same_agent_has_a_file_of_its_own(session):
    first, second = SessionWriter(session), SessionWriter(session)
    assert first.writer != second.writer
    for sink in (first, second, first):
        Recorder(sink).write()
    names = {path.name for path in (session / "agents").iterdir()}
    assert names == {"creator_001.log", f"creator_001@{second.writer}.log"}
    assert Counter(ids_in(session)) == Counter(
        [f"{first.writer}-1", f"{first.writer}-2", f"{second.writer}-1"]
    )


def test_two_writers_never_take_one_id(session, monkeypatch):
    drawn = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr("Agent.tree.write.writer.new_writer_id", lambda _: next(drawn))
    first, second = SessionWriter(session), SessionWriter(session)
    assert first.writer != second.writer


def test_segments_roll_in_ascending_numbers_and_the_live_name_stays(session):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    for _ in range(40):
        recorder.write()
    paths = agent_files(session, "creator_001")
    assert [path.name for path in paths[:3]] == [
        "creator_001.1.log",
        "creator_001.2.log",
        "creator_001.3.log",
    ]
    assert paths[-1].name == "creator_001.log"
    assert all(0 < path.stat().st_size <= 1000 for path in paths)
    assert ids_in(session) == [f"{sink.writer}-{n}" for n in range(1, 41)]
    assert [path.name for path in (session / "agents").iterdir() if path.name.startswith(".")] == []
    assert sink.counters() == {}


def test_a_rolled_segment_is_never_renamed_again(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=600))
    for _ in range(10):
        recorder.write()
    first = session / "agents" / "creator_001.1.log"
    inode, content = first.stat().st_ino, first.read_bytes()
    for _ in range(50):
        recorder.write()
    assert (first.stat().st_ino, first.read_bytes()) == (inode, content)


def test_a_line_longer_than_a_segment_is_written_whole_in_a_segment_of_its_own(session):
    sink = SessionWriter(session, segment_size_bytes=1000)
    recorder = Recorder(sink)
    recorder.write()
    recorder.write(text="x" * 5000)
    recorder.write()
    sizes = [path.stat().st_size for path in agent_files(session, "creator_001")]
    assert len(sizes) == 3
    assert sizes[1] > 5000
    assert len(ids_in(session)) == 3


def test_threads_share_a_stream_while_it_rolls_and_nothing_is_lost_doubled_or_torn(session):
    sink = SessionWriter(session, segment_size_bytes=3000, max_open_files=2)
    start = threading.Barrier(6)

    def work(number):
        shared, own = sink.open_stream("shared", "agents"), sink.open_stream(f"own_{number}", "agents")
        store = sink.board.thread_slot()
        start.wait()
        for turn in range(600):
            seq = sink.next_seq()
            store(seq)
            agent_id, stream = ("shared", shared) if turn % 3 else (f"own_{number}", own)
            assert stream.write(make_line(sink.writer, seq, agent_id=agent_id))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [
        *ids_in(session, "shared"),
        *(one for number in range(6) for one in ids_in(session, f"own_{number}")),
    ]
    assert Counter(ids) == Counter(f"{sink.writer}-{seq}" for seq in range(1, 3601))
    reader = TreeReader(session)
    assert reader.losses().total_read == 3600
    assert reader.damage() == []
    assert sink.counters() == {}


@pytest.mark.further
def test_a_thousand_agents_need_only_the_descriptors_allowed(session):
    sink = SessionWriter(session, max_open_files=8)
    before = open_descriptors(session)
    recorder = Recorder(sink)
    for _ in range(2):
        for number in range(1000):
            recorder.write(f"agent_{number}")
            if number % 100 == 0:
                assert open_descriptors(session) <= before + 8
    assert open_descriptors(session) > before
    assert len(TreeReader(session).agents()) == 1000
    assert TreeReader(session).losses().total_read == 2000
    sink.close()
    assert open_descriptors(session) <= before


def test_a_file_in_use_outlives_idle_ones_in_the_set_of_open_files(session):
    sink = SessionWriter(session, max_open_files=3)
    recorder = Recorder(sink)
    busy = sink.open_stream("busy", "agents")
    recorder.write("busy")
    for number in range(20):
        recorder.write("busy")
        kept = busy._file.segment
        recorder.write(f"other_{number}")
        recorder.write("busy")
    assert busy._file.segment is kept
    assert len(ids_in(session, "busy")) == 41


def test_after_close_a_write_is_refused_and_counted(session):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    assert recorder.write() == 1
    sink.close()
    sink.close()
    assert recorder.write() == -2
    assert sink.counters() == {"closed": 1}
    assert len(ids_in(session)) == 1


def test_sizes_that_make_no_sense_are_told_at_once(session):
    with pytest.raises(ConfigurationError):
        SessionWriter(session, segment_size_bytes=0)
    with pytest.raises(ConfigurationError):
        SessionWriter(session, max_open_files=0)


@pytest.mark.further
def test_a_signal_handler_may_record_while_its_thread_is_writing(session):
    sink = SessionWriter(session, segment_size_bytes=2000, max_open_files=2)
    recorder = Recorder(sink)
    handled = []

    def handler(*_):
        handled.append(recorder.write("shared"))
        handled.append(recorder.write(f"handler_{len(handled) % 7}"))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        written = [recorder.write("shared" if n % 2 else f"agent_{n % 11}") for n in range(3000)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) > 20
    assert min(written + handled) > 0, sink.counters()
    losses = TreeReader(session).losses()
    assert losses.total_read == 3000 + len(handled)
    assert losses.damaged_lines == 0


def test_a_handler_that_records_while_a_file_is_rolled_writes_aside(session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=500)
    recorder = Recorder(sink)
    recorder.write()
    plain = segment_writer.roll_segment
    inner = []

    def interrupted(*arguments):
        inner.append(recorder.write())
        inner.append(recorder.write("other"))
        rolled = plain(*arguments)
        inner.append(recorder.write())
        return rolled

    monkeypatch.setattr(segment_writer, "roll_segment", interrupted)
    written = [recorder.write() for _ in range(6)]
    assert min(written + inner) > 0
    assert len(inner) >= 9
    reader = TreeReader(session)
    assert Counter(event.seq for event in reader.events()) == Counter([1, *written, *inner])
    assert reader.damage() == []
    assert (session / "agents" / f"creator_001@{sink.writer}.log").exists()


def test_a_handler_that_ends_recording_in_the_middle_of_a_write_breaks_nothing(session, monkeypatch):
    sink = SessionWriter(session, segment_size_bytes=500)
    recorder = Recorder(sink)
    recorder.write()
    plain = segment_writer.roll_segment

    def interrupted(*arguments):
        sink.close()
        return plain(*arguments)

    monkeypatch.setattr(segment_writer, "roll_segment", interrupted)
    assert [recorder.write() for _ in range(3)] == [2, 3, 4]
    assert recorder.write("new") == -5
    assert sink.counters() == {"closed": 1}


def test_with_disk_durability_every_line_is_synced_and_threads_share_a_sync(session, monkeypatch):
    synced = []

    def slow_sync(fd):
        synced.append(fd)
        time.sleep(0.02)

    monkeypatch.setattr("Agent.tree.write.segment_writer._sync_data", slow_sync)
    sink = SessionWriter(session, durability="disk")
    stream = sink.open_stream("a", "agents")
    assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a"))
    assert len(synced) == 1
    start = threading.Barrier(8)

    def work():
        start.wait()
        assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 2 <= len(synced) < 9
    assert len(ids_in(session, "a")) == 9


def test_one_line_can_be_synced_where_the_others_are_not(session, monkeypatch):
    synced = []
    monkeypatch.setattr("Agent.tree.write.segment_writer._sync_data", synced.append)
    sink = SessionWriter(session)
    stream = sink.open_stream("a", "agents")
    assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a"))
    assert synced == []
    assert stream.write_synced(make_line(sink.writer, sink.next_seq(), agent_id="a"))
    assert len(synced) == 1


def test_a_disk_that_refuses_to_sync_is_told_and_the_writer_goes_on_in_a_new_segment(session, monkeypatch):
    def refuse(_):
        raise OSError(5, "no")

    monkeypatch.setattr("Agent.tree.write.segment_writer._sync_data", refuse)
    sink = SessionWriter(session, durability="disk")
    stream = sink.open_stream("a", "agents")
    assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a")) is False
    monkeypatch.setattr("Agent.tree.write.segment_writer._sync_data", os.fdatasync)
    assert stream.write(make_line(sink.writer, sink.next_seq(), agent_id="a")) is True
    assert sink.counters() == {"sync:EIO": 1}
    assert [path.name for path in agent_files(session, "a")] == ["a.1.log", "a.log"]


def test_bytes_are_written_as_they_come(session):
    sink = SessionWriter(session)
    line = RedactedBytes(b'{"odd": "\xf0\x9f\xa4\x96"}\n')
    assert sink.open_stream("\N{ROBOT FACE}", "agents").write(line)
    (path,) = (session / "agents").iterdir()
    assert path.read_bytes() == line


class WrittenTo:
    """An open segment that another thread writes to between any two looks at it."""

    def __init__(self):
        self.pins, self.room_seen_bytes, self.left = [], 0, 1_000_000

    @property
    def room_bytes(self):
        self.left -= 1
        return self.left

    def close(self):
        pass


class OfSegment:
    """A file by its segment alone."""

    segment = segment_writer.CLOSED

    def forget_segment(self, segment):
        pass


def test_a_file_that_is_opened_stays_open_while_all_others_are_written_to():
    files = segment_writer.OpenFiles(2, segment_writer.ErrorCounters())
    for _ in range(2):
        files.admit(OfSegment(), WrittenTo())
    opened, idle = OfSegment(), segment_writer.Segment(-1, 100, (1, 1))
    files.admit(opened, idle)
    assert opened.segment is idle
    assert len(files) == 2
