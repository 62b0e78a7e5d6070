"""Following: every line once, across rolling, new files, truncation and a restart from a cursor."""

import gc
import json
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.memory import traced_bytes
from tree_kit import START_US, Recorder, make_line, make_session

from Agent.errors import DamagedInput, SessionNotFound
from Agent.tree.files import lines as lines_module
from Agent.tree.read import follower as follower_module
from Agent.tree.read.follower import Follower
from Agent.tree.write.writer import SessionWriter

W = "aaaaaaaa"


@pytest.fixture
def recorder(session):
    return Recorder(SessionWriter(session, segment_size_bytes=900))


def seqs(events):
    return [event.seq for event in events]


def test_a_poll_gives_what_is_new_once_and_in_order(session, recorder):
    follower = Follower(session)
    assert follower.poll() == []
    for number in range(30):
        recorder.write(f"agent_{number % 3}")
    assert seqs(follower.poll()) == list(range(1, 31))
    assert follower.poll() == []
    recorder.write("agent_new")
    recorder.write(None, "learning")
    assert seqs(follower.poll()) == [31, 32]


def test_polls_across_rolling_segments_miss_and_double_nothing(session, recorder):
    follower = Follower(session)
    seen = []
    for turn in range(60):
        for _ in range(turn % 7):
            recorder.write(f"agent_{turn % 4}")
        seen += seqs(follower.poll())
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 150


def test_a_line_that_is_not_whole_yet_waits(session):
    path = session / "agents" / "a.log"
    first, second = make_line(W, 1), make_line(W, 2)
    path.write_bytes(first + second[:50])
    follower = Follower(session)
    assert seqs(follower.poll()) == [1]
    assert follower.poll() == []
    with path.open("ab") as file:
        file.write(second[50:])
    assert seqs(follower.poll()) == [2]
    assert follower.damage() == []


def test_following_can_begin_with_what_comes_from_now_on(session):
    path = session / "agents" / "a.log"
    third = make_line(W, 3)
    path.write_bytes(make_line(W, 1) + make_line(W, 2) + third[:40])
    follower = Follower(session, from_start=False)
    assert follower.poll() == []
    with path.open("ab") as file:
        file.write(third[40:])
    (session / "agents" / "b.log").write_bytes(make_line(W, 4))
    assert seqs(follower.poll()) == [3, 4]


def test_a_follower_goes_on_where_another_was(session, recorder):
    for number in range(20):
        recorder.write(f"agent_{number % 3}")
    first = Follower(session)
    seen = seqs(first.poll())
    cursor = json.loads(json.dumps(first.cursor()))
    for number in range(25):
        recorder.write(f"agent_{number % 5}")
    second = Follower(session, cursor=cursor)
    seen += seqs(second.poll())
    assert seen == list(range(1, 46))


@pytest.mark.parametrize("at", ["the cursor", "the end"])
def test_a_file_that_is_rolled_while_one_goes_on_comes_no_second_time(at, session, recorder, monkeypatch):
    recorder.write("agent_a")
    recorder.write("agent_b")
    first = Follower(session)
    assert seqs(first.poll()) == [1, 2]
    list_files, rolled = follower_module.tree_entries, []

    def list_and_roll(session):
        files = list(list_files(session))
        if not rolled:
            while not (session / "agents" / "agent_a.1.log").exists():
                rolled.append(recorder.write("agent_a"))
        return files

    monkeypatch.setattr(follower_module, "tree_entries", list_and_roll)
    if at == "the cursor":
        again = Follower(session, cursor=first.cursor())
        assert seqs(again.poll()) == rolled
    else:
        again = Follower(session, from_start=False)
        assert set(seqs(again.poll())) <= set(rolled)


def test_segments_that_vanish_while_they_are_read_cost_no_listing_each(session, recorder, monkeypatch):
    for _ in range(60):
        recorder.write("agent_a")
    rolled = sorted((session / "agents").glob("agent_a.*.log"))
    assert len(rolled) > 10
    list_files, listings = lines_module.tree_entries, []

    def list_and_retire(session):
        files = list(list_files(session))
        listings.append(len(files))
        for path in rolled:
            path.unlink(missing_ok=True)
        return files

    monkeypatch.setattr(lines_module, "tree_entries", list_and_retire)
    follower = Follower(session)
    assert 0 < len(follower.poll()) < 60
    # one look, which asks twice
    assert len(listings) == 2


@pytest.mark.parametrize("is_driven", [False, True])
def test_a_follower_that_was_let_go_leaves_nothing_in_memory(is_driven, session, recorder):
    recorder.write()
    follower = Follower(session)
    if is_driven:
        with follower:
            assert seqs(follower.follow(lambda: True)) == [1]
    else:
        assert seqs(follower.poll()) == [1]
    held = weakref.ref(follower)
    gc.disable()
    try:
        del follower
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("settled_s", [0.0, 60.0])
def test_a_look_at_many_files_takes_no_memory_for_each(settled_s, session, monkeypatch):
    monkeypatch.setattr(lines_module, "_SETTLED_S", settled_s)
    for number in range(1500):
        (session / "agents" / f"agent_{number:04d}.1.log").write_bytes(make_line(W, number + 1))
    follower = Follower(session)
    assert len(follower.poll()) == 1500
    assert follower.poll() == []

    def poll():
        assert follower.poll() == []

    held_bytes, peak_bytes = traced_bytes(poll)
    assert held_bytes < 100_000
    assert peak_bytes < 150_000


def test_a_follower_outlives_the_removal_of_its_session(session, recorder):
    recorder.write()
    follower = Follower(session)
    assert seqs(follower.poll()) == [1]
    shutil.rmtree(session)
    assert follower.poll() == []


def test_a_cursor_holds_after_the_session_was_copied(session, recorder, tmp_path):
    for _ in range(10):
        recorder.write()
    follower = Follower(session)
    follower.poll()
    copy = tmp_path / "copy"
    shutil.copytree(session, copy)
    assert Follower(copy, cursor=follower.cursor()).poll() == []


@pytest.mark.parametrize("stop_after", [1, 7, 20])
def test_a_cursor_taken_while_following_skips_nothing_and_doubles_nothing(stop_after, session, recorder):
    for number in range(20):
        recorder.write(f"agent_{number % 3}")
    follower = Follower(session)
    seen, cursor = [], None
    for event in follower.follow(lambda: True):
        seen.append(event.seq)
        cursor = json.loads(json.dumps(follower.cursor()))
        if len(seen) == stop_after:
            break
    resumed = Follower(session, cursor=cursor)
    assert seen + seqs(resumed.poll()) == list(range(1, 21))
    # and this very follower goes on with what it had not yielded
    recorder.write("agent_0")
    assert seen + seqs(follower.poll()) == list(range(1, 22))


def test_a_cursor_in_the_middle_of_a_file_stays_there(session):
    path = session / "agents" / "a.log"
    path.write_bytes(make_line(W, 1) + make_line(W, 2)[:30])
    follower = Follower(session)
    follower.poll()
    path.write_bytes(make_line(W, 1) + make_line(W, 2) + b"damaged\n")
    resumed = Follower(session, cursor=follower.cursor())
    assert seqs(resumed.poll()) == [2]
    assert [damage.line_number for damage in resumed.damage()] == [3]


@pytest.mark.parametrize(
    "cursor", [{}, {"version": 99, "files": []}, {"version": 1, "files": [{"name": "x"}]}, {"version": 1}]
)
def test_a_cursor_that_is_none_is_told(cursor, session):
    with pytest.raises(DamagedInput):
        Follower(session, cursor=cursor)


def test_a_session_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SessionNotFound):
        Follower(tmp_path / "nothing")


def test_a_truncated_file_is_read_from_its_beginning(session):
    path = session / "agents" / "a.log"
    path.write_bytes(make_line(W, 1) + make_line(W, 2))
    follower = Follower(session)
    follower.poll()
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(make_line(W, 3))
    assert seqs(follower.poll()) == [3]


def test_a_replaced_file_is_a_new_one(session, tmp_path):
    path = session / "agents" / "a.log"
    path.write_bytes(make_line(W, 1))
    follower = Follower(session)
    follower.poll()
    (tmp_path / "other").write_bytes(make_line(W, 2) + make_line(W, 3))
    (tmp_path / "other").replace(path)
    assert seqs(follower.poll()) == [2, 3]


def test_a_reused_inode_is_told_by_its_first_event_when_resuming(session):
    path = session / "agents" / "a.log"
    path.write_bytes(make_line(W, 1) + make_line(W, 2))
    follower = Follower(session)
    follower.poll()
    cursor = follower.cursor()
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.write(make_line(W, 7) + make_line(W, 8) + make_line(W, 9))
    assert path.stat().st_ino == inode
    assert seqs(Follower(session, cursor=cursor).poll()) == [7, 8, 9]


def test_damaged_lines_are_kept_and_do_not_stop_it(session):
    path = session / "agents" / "a.log"
    path.write_bytes(b"garbage\n" + make_line(W, 1) + make_line(W, 1) + b"\n\n")
    follower = Follower(session)
    assert seqs(follower.poll()) == [1]
    assert [(damage.line_number, damage.reason[:8]) for damage in follower.damage()] == [
        (1, "not JSON"),
        (3, "repeated"),
    ]
    assert follower.poll() == []
    assert not follower.behind


def test_an_event_behind_a_torn_line_is_yielded_if_its_writer_is_known(session, recorder):
    follower = Follower(session)
    writer = recorder.sink.writer
    torn = make_line(writer, 1)[:50]
    (session / "agents" / "a.log").write_bytes(torn + make_line(writer, 2) + torn + make_line("zzzzzzzz", 3))
    assert seqs(follower.poll()) == [2]
    assert [damage.line_number for damage in follower.damage()] == [1, 2]


def test_a_long_session_is_taken_in_pieces_of_bounded_size(session, monkeypatch):
    monkeypatch.setattr(follower_module, "_POLL_BYTES", 100_000)
    lines = [make_line(W, seq, text="x" * 2000) for seq in range(1, 501)]
    (session / "agents" / "a.log").write_bytes(b"".join(lines))
    follower = Follower(session)
    first = follower.poll()
    assert 0 < len(first) < 300
    assert follower.behind
    events = list(follower.follow(lambda: True))
    assert seqs(first + events) == list(range(1, 501))


def test_a_removed_segment_is_forgotten_so_that_its_inode_can_be_used_again(session, recorder, monkeypatch):
    monkeypatch.setattr("Agent.tree.files.lines._SETTLED_S", 0.0)
    for _ in range(12):
        recorder.write()
    follower = Follower(session)
    assert len(follower.poll()) == 12
    known = len(follower.cursor()["files"])
    for number in (1, 2):
        (session / "agents" / f"creator_001.{number}.log").unlink()
    for _ in range(3):
        time.sleep(0.001)
        assert follower.poll() == []
    assert len(follower.cursor()["files"]) == known - 2


def test_a_poll_over_many_files_is_bounded_too_and_none_starves(session, monkeypatch):
    monkeypatch.setattr(follower_module, "_POLL_BYTES", 20_000)
    for number in range(60):
        (session / "agents" / f"a{number:02}.log").write_bytes(make_line(W, number + 1, text="x" * 3000))
    follower = Follower(session)
    seen = []
    for turn in range(30):
        # the first files grow all the time
        for number in range(3):
            with (session / "agents" / f"a{number:02}.log").open("ab") as file:
                file.write(make_line(W, 1000 + turn * 3 + number, text="x" * 3000))
        events = follower.poll()
        assert len(events) < 30
        seen += seqs(events)
    assert set(range(1, 61)) <= set(seen)
    while follower.behind:
        seen += seqs(follower.poll())
    assert sorted(seen) == [*range(1, 61), *range(1000, 1090)]


def test_much_that_waits_in_many_files_is_read_with_few_looks_at_all_of_them(session, monkeypatch):
    monkeypatch.setattr(follower_module, "_POLL_BYTES", 3_000)
    for number in range(300):
        (session / "agents" / f"a{number:03}.log").write_bytes(make_line(W, number + 1, text="x" * 1000))
    follower = Follower(session)
    look, looks = follower._tail._files_to_check, []
    monkeypatch.setattr(follower._tail, "_files_to_check", lambda now: looks.append(1) or look(now))
    monkeypatch.setattr("Agent.tree.files.lines._LISTING_INTERVAL_S", 60.0)
    polls = [follower.poll()]
    # what is written meanwhile, into a file that was read already and into a new one, comes before the end
    (session / "agents" / "b.log").write_bytes(make_line(W, 302))
    with (session / "agents" / "a000.log").open("ab") as file:
        file.write(make_line(W, 301))
    while follower.behind:
        polls.append(follower.poll())
    assert sorted(seq for events in polls for seq in seqs(events)) == list(range(1, 303))
    assert len(polls) > 90 and len(looks) == 2


def test_notices_rest_while_much_waits_and_serve_again_after_it(session, monkeypatch):
    monkeypatch.setattr(follower_module, "_POLL_BYTES", 3_000)
    monkeypatch.setattr(follower_module, "_BEHIND_S", 0.0)
    for number in range(300):
        (session / "agents" / f"a{number:03}.log").write_bytes(make_line(W, number + 1, text="x" * 1000))
    follower = Follower(session)
    observed, idle = [], []

    def stop() -> bool:
        if len(observed) == 300 and follower._observer and not idle:
            idle.append(1)
            (session / "agents" / "b.log").write_bytes(make_line(W, 301))
        return len(observed) > 300

    for _ in follower.follow(stop):
        observed.append(bool(follower._observer))
    follower.close()
    assert idle and len(observed) == 301
    assert not any(observed[10:290]) and observed[-1]


def follow_in_thread(follower, stop, seen):
    """Collect (event, microseconds from its time to now) while another thread writes."""

    def work():
        for event in follower.follow(stop.is_set):
            seen.append((event, time.time_ns() // 1000 - event.timestamp_us))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.further
@pytest.mark.parametrize("notices", ["watchdog", "exhausted"])
def test_an_event_is_out_soon_after_it_was_written(notices, session, monkeypatch):
    if notices == "exhausted":
        from watchdog.observers import Observer

        def refuse(*_, **__):
            raise OSError(28, "inotify watch limit reached")

        monkeypatch.setattr(Observer, "schedule", refuse)
    recorder = Recorder(SessionWriter(session, segment_size_bytes=900))
    stop, seen = threading.Event(), []
    with Follower(session) as follower:
        thread = follow_in_thread(follower, stop, seen)
        time.sleep(0.1)
        for number in range(30):
            recorder.write(f"agent_{number % 4}")
            time.sleep(0.015)
        stop.set()
        thread.join(10)
    assert [event.seq for event, _ in seen] == list(range(1, 31))
    delays = sorted(delay for _, delay in seen)
    # the median: a busy machine may hold up a few
    assert delays[len(delays) // 2] < 20_000


def test_what_was_written_before_the_stop_is_still_yielded(session, recorder):
    recorder.write()
    recorder.write()
    with Follower(session) as follower:
        assert seqs(follower.follow(lambda: True)) == [1, 2]


@pytest.mark.further
def test_a_busy_writer_with_threads_is_followed_without_a_loss(session):
    sink = SessionWriter(session, segment_size_bytes=20_000, max_open_files=3)
    stop, seen = threading.Event(), []

    def write(number):
        for turn in range(1500):
            seq = sink.next_seq()
            line = make_line(
                sink.writer, seq, agent_id=f"agent_{(turn + number) % 5}", us=time.time_ns() // 1000
            )
            assert sink.open_stream(f"agent_{(turn + number) % 5}", "agents").write(line)

    with Follower(session) as follower:
        thread = follow_in_thread(follower, stop, seen)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        stop.set()
        thread.join(30)
        assert follower.damage() == []
    assert Counter(event.seq for event, _ in seen) == Counter(range(1, 4501))


class FollowerMachine(RuleBasedStateMachine):
    """A session that grows, rolls and is followed, against a plain list of what was written."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.session = make_session(self.directory)
        self.agents = self.session / "agents"
        self.follower = Follower(self.session)
        self.written: list[int] = []
        self.seen: list[int] = []
        self.rolled: Counter[str] = Counter()
        self.half: dict[str, bytes] = {}

    def append(self, name, data):
        with (self.agents / f"{name}.log").open("ab") as file:
            file.write(data)

    @rule(name=st.sampled_from("abc"), count=st.integers(1, 4))
    def write(self, name, count):
        self.finish(name)
        for _ in range(count):
            self.written.append(len(self.written) + 1)
            self.append(name, make_line(W, self.written[-1], agent_id=name, us=START_US))

    @rule(name=st.sampled_from("abc"), part=st.integers(1, 200))
    def write_half(self, name, part):
        self.finish(name)
        self.written.append(len(self.written) + 1)
        line = make_line(W, self.written[-1], agent_id=name)
        self.append(name, line[:part])
        self.half[name] = line[part:]

    def finish(self, name):
        if name in self.half:
            self.append(name, self.half.pop(name))

    @rule(name=st.sampled_from("abc"))
    def roll(self, name):
        live = self.agents / f"{name}.log"
        if live.exists():
            self.finish(name)
            self.rolled[name] += 1
            os.link(live, self.agents / f"{name}.{self.rolled[name]}.log")
            (self.agents / "new").touch()
            (self.agents / "new").replace(live)

    @rule()
    def poll(self):
        self.seen += seqs(self.follower.poll())

    @rule()
    def restart(self):
        self.follower = Follower(self.session, cursor=json.loads(json.dumps(self.follower.cursor())))

    @rule()
    @precondition(lambda self: not self.half)
    def catch_up(self):
        self.poll()
        assert sorted(self.seen) == self.written

    @invariant()
    def nothing_comes_twice_or_from_nowhere(self):
        assert len(set(self.seen)) == len(self.seen)
        assert set(self.seen) <= set(self.written)

    def teardown(self):
        try:
            for name in "abc":
                self.finish(name)
            self.poll()
            assert sorted(self.seen) == self.written
            assert self.follower.damage() == []
        finally:
            shutil.rmtree(self.directory)


TestFollowerAgainstAPlainList = FollowerMachine.TestCase
TestFollowerAgainstAPlainList.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def test_a_cursor_of_one_that_began_in_the_middle_finds_the_file_after_it_was_rolled(session):
    live = session / "agents" / "a.log"
    live.write_bytes(b"".join(make_line(W, seq) for seq in range(1, 6)))
    with Follower(session, from_start=False) as follower:
        with live.open("ab") as out:
            out.write(make_line(W, 6))
        assert seqs(follower.poll()) == [6]
        cursor = follower.cursor()
    live.rename(live.with_name("a.1.log"))
    with Follower(session, cursor=cursor) as follower:
        assert follower.poll() == []
