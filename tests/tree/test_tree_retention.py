"""Retention: what goes is said first, exactly, whatever is read, killed or damaged meanwhile."""

import contextlib
import os
import random
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_kit import Recorder, make_line

from Agent.errors import DamagedInput
from Agent.event.system_clock import SystemClock
from Agent.tree import retention
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import parse_file_name, retired_file, tree_files
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import RetiredAccount, read_account, write_account
from Agent.tree.retention import Retention, finish_removal, is_open_for_writing, nothing_retired, write_cursor
from Agent.tree.write.writer import SessionWriter

SEGMENT_BYTES = 4096


def record(session, events=400, agents=5, seed=1, close=True):
    """A session in many small segments of several agents, whose numbers lie scattered."""
    recorder = Recorder(SessionWriter(session, segment_size_bytes=SEGMENT_BYTES))
    chance = random.Random(seed)
    for number in range(events):
        recorder.write(f"agent_{chance.randrange(agents)}", n=number)
    if close:
        recorder.close()
    return recorder


def size_bytes(session):
    return sum(path.stat().st_size for path in tree_files(session))


def read_numbers(session, writer):
    return {event.seq for event in TreeReader(session).events() if event.writer == writer}


def account_of(session, writer):
    (found,) = [each for each in TreeReader(session).losses().writers if each.writer == writer]
    return found


def retired_numbers(session, writer):
    return {
        seq
        for first, last in read_account(session).numbers[writer].ranges()
        for seq in range(first, last + 1)
    }


def test_the_oldest_segments_go_until_the_rest_fits_and_what_went_is_known_exactly(session):
    writer = record(session).sink.writer
    before = read_numbers(session, writer)
    done = Retention(session, 40_000).run()
    assert size_bytes(session) == done.left_bytes <= 40_000
    left = read_numbers(session, writer)
    assert done.files > 0 and left < before
    assert retired_numbers(session, writer) == before - left
    found = account_of(session, writer)
    assert (found.read, found.retired, found.lost, found.unknown) == (len(left), len(before - left), 0, 0)
    assert found.read + found.retired == found.last_seq
    assert TreeReader(session).losses().clean
    assert done.writers[0].events == len(before - left)


def test_no_agents_newer_event_goes_before_its_older_one(session):
    writer = record(session).sink.writer
    Retention(session, 40_000).run()
    for path in tree_files(session):
        name = parse_file_name(path.name)
        assert name.segment is None or name.segment > 1
    newest_gone = max(retired_numbers(session, writer))
    assert newest_gone < 402 - 40


def test_a_live_file_stays_however_small_the_limit(session):
    recorder = record(session, close=False)
    live = [path for path in tree_files(session) if parse_file_name(path.name).segment is None]
    done = Retention(session, 1).run()
    assert sorted(tree_files(session)) == sorted(live)
    assert done.left_bytes == size_bytes(session)
    recorder.write("agent_0")
    recorder.close()
    assert TreeReader(session).losses().clean


def test_a_large_pass_goes_in_steps_whose_account_is_small(session, monkeypatch):
    writer = record(session).sink.writer
    before = read_numbers(session, writer)
    steps = []

    def write_and_note(place, account):
        steps.append(len(account.removing))
        write_account(place, account)

    monkeypatch.setattr(retention, "_STEP_FILES", 3)
    monkeypatch.setattr(retention, "write_account", write_and_note)
    done = Retention(session, 40_000).run()
    assert len(steps) > 2 and max(steps) == 3 and sum(steps) == done.files
    assert retired_numbers(session, writer) == before - read_numbers(session, writer)
    assert done.left_bytes == size_bytes(session) <= 40_000
    assert TreeReader(session).losses().clean


def test_a_pass_of_many_steps_ends_where_somebody_begins_to_read(session, monkeypatch):
    record(session)
    Retention(session, 90_000).run()
    reading = contextlib.ExitStack()

    def read_from_here(place, account):
        write_account(place, account)
        reading.enter_context(nothing_retired(place))

    monkeypatch.setattr(retention, "_STEP_FILES", 3)
    monkeypatch.setattr(retention, "_PATIENCE_S", 0.0)
    with monkeypatch.context() as patch, reading:
        patch.setattr(retention, "write_account", read_from_here)
        assert Retention(session, 60_000).run().files == 3
    assert len(read_account(session).removing) == 3
    assert TreeReader(session).losses().clean
    Retention(session, 60_000).run()
    assert size_bytes(session) <= 60_000
    assert TreeReader(session).losses().clean


def test_what_fits_is_left_alone_and_no_account_is_made(session):
    record(session)
    done = Retention(session, 10_000_000).run()
    assert done.files == 0
    assert not retired_file(session).exists()


def test_a_second_pass_adds_to_the_account_of_the_first(session):
    recorder = record(session, close=False)
    Retention(session, 60_000).run()
    first = retired_numbers(session, recorder.sink.writer)
    for number in range(200):
        recorder.write(f"agent_{number % 5}")
    recorder.close()
    Retention(session, 40_000).run()
    assert first < retired_numbers(session, recorder.sink.writer)
    assert TreeReader(session).losses().clean


def test_the_account_survives_the_retention_of_the_writers_last_word(session):
    # `log.closed` and the earlier `log.retired` lie in the file that goes
    recorder = Recorder(SessionWriter(session, segment_size_bytes=SEGMENT_BYTES))
    recorder.write("agent_0")
    recorder.sink.next_seq()  # taken, and lost
    recorder.write(None, "system", kind="log.dropped", count=3, reason="the disk was full")
    recorder.write(None, "system", kind="log.retired", writer="zzzzzzzz", first_seq=2, last_seq=5)
    recorder.close()
    other = Recorder(SessionWriter(session, segment_size_bytes=SEGMENT_BYTES))
    (session / "system.log").rename(session / "system.1.log")
    for _ in range(50):
        other.write("agent_1")
    Retention(session, 3000).run()
    assert not (session / "system.1.log").exists()
    found = account_of(session, recorder.sink.writer)
    assert (found.closed, found.last_seq, found.lost, found.retired) == (True, 5, 1, 3)
    account = read_account(session)
    assert set(account.numbers["zzzzzzzz"].ranges()) == {(2, 5)}
    assert account.dropped_before(session) == {"the disk was full": 3}


def test_only_what_could_be_read_of_a_damaged_segment_is_retired(session):
    writer = record(session).sink.writer
    oldest = min(tree_files(session), key=lambda path: path.stat().st_mtime_ns)
    lines = oldest.read_bytes().split(b"\n")
    gone = int(lines[1].partition(b'"id":"')[2][9:].partition(b'"')[0])
    lines[1] = lines[1][:60] + b"#" * 20 + lines[1][80:]
    stamp = oldest.stat()
    oldest.write_bytes(b"\n".join(lines))
    os.utime(oldest, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert account_of(session, writer).lost == 1
    Retention(session, 40_000).run()
    assert not oldest.exists()
    found = account_of(session, writer)
    assert gone not in retired_numbers(session, writer)
    assert [gap.first_seq for gap in found.gaps if gap.verdict == "lost"] == [gone]
    assert found.lost == 1


def test_a_segment_that_somebody_may_still_write_to_stays(session):
    writer = record(session).sink.writer
    oldest = min(tree_files(session), key=lambda path: path.stat().st_mtime_ns)
    with oldest.open("ab"):
        done = Retention(session, 40_000).run()
        assert done.in_use == 1
        assert oldest.exists()
    assert Retention(session, 10_000).run().in_use == 0
    assert not oldest.exists()
    assert account_of(session, writer).lost == 0


def test_where_leases_are_not_to_be_had_a_young_segment_counts_as_open(session, monkeypatch):
    record(session)
    monkeypatch.setattr("Agent.tree.retention._leases_work", lambda _: False)
    oldest = min(tree_files(session), key=lambda path: path.stat().st_mtime_ns)
    assert is_open_for_writing(oldest, session)
    monkeypatch.setattr(SystemClock, "wall_ns", lambda: oldest.stat().st_ctime_ns + 31 * 10**9)
    assert not is_open_for_writing(oldest, session)


def test_what_a_cursor_has_not_passed_is_kept_up_to_twice_the_limit(session):
    recorder = record(session, close=False)
    limit = size_bytes(session) - 5_000
    follower = Follower(session)
    write_cursor(session, "ship", follower.cursor())
    done = Retention(session, limit).run()
    assert (done.files, done.held > 0) == (0, True)
    while follower.poll():
        pass
    write_cursor(session, "ship", follower.cursor())
    assert Retention(session, limit).run().files > 0
    for number in range(2000):
        recorder.write(f"agent_{number % 5}")
    done = Retention(session, limit).run()
    assert done.files > 0 and done.held > 0
    assert done.left_bytes <= 2 * limit
    recorder.close()
    assert TreeReader(session).losses().clean


def test_a_damaged_account_stops_retention_and_is_told_by_losses(session):
    writer = record(session).sink.writer
    Retention(session, 40_000).run()
    good = retired_file(session).read_bytes()
    retired_file(session).write_bytes(good[:50])
    size = size_bytes(session)
    with pytest.raises(DamagedInput, match="account of retired events"):
        Retention(session, 10_000).run()
    assert size_bytes(session) == size
    losses = TreeReader(session).losses()
    assert losses.damaged_lines == 1
    assert losses.total_retired == 0 and not losses.clean
    retired_file(session).write_bytes(good)
    assert account_of(session, writer).lost == 0


@pytest.mark.parametrize(
    "stored", ["[]", '{"version":2}', '{"version":1,"writers":{"a":{"ranges":[[1,1e30]],"bits":{}}}}']
)
def test_an_account_that_is_none_is_one_clear_error(session, stored):
    retired_file(session).write_text(stored)
    with pytest.raises(DamagedInput) as error:
        read_account(session)
    assert error.value.path == str(retired_file(session))


def test_only_one_pass_at_a_time(session):
    record(session)
    first, second = Retention(session, 40_000), Retention(session, 40_000)
    answers = []

    def may_continue(_):
        answers.append(second.run())
        return False

    first = Retention(session, 40_000, may_continue=may_continue)
    assert first.run() is not None
    assert answers and set(answers) == {None}


@pytest.mark.process
def test_a_file_between_the_account_and_its_removal_is_read_and_not_retired(session):
    writer = record(session).sink.writer
    before = read_numbers(session, writer)
    _killed_at_unlink(session, 40_000)
    found = account_of(session, writer)
    assert found.read == len(before)
    assert (found.retired, found.lost) == (0, 0)
    assert finish_removal(session) == 0
    found = account_of(session, writer)
    assert found.retired > 0 and found.read + found.retired == found.last_seq


def _killed_at_unlink(session, limit, removals=0):
    """A pass in a child that is killed once it has removed so many files."""
    pid = os.fork()
    if pid == 0:
        left = [removals]
        unlink = os.unlink

        def unlink_or_die(path, *rest, **options):
            if ".state" not in str(path):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
            unlink(path, *rest, **options)

        os.unlink = unlink_or_die
        try:
            Retention(session, limit).run()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("seed", range(12))
def test_killed_anywhere_nothing_is_unaccounted_for_and_the_next_pass_goes_on(session, seed):
    writer = record(session, seed=seed).sink.writer
    before = read_numbers(session, writer)
    chance = random.Random(seed)
    for limit in (60_000, 40_000, 20_000):
        pid = os.fork()
        if pid == 0:
            Retention(session, limit).run()
            os._exit(0)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = account_of(session, writer)
        assert (found.lost, found.unknown, found.last_seq) == (0, 0, len(before))
        assert found.read + found.retired == found.last_seq
    assert Retention(session, 20_000).run() is not None
    assert size_bytes(session) <= 20_000
    found = account_of(session, writer)
    assert (found.lost, found.read) == (0, len(read_numbers(session, writer)))


def test_a_follower_that_keeps_up_sees_every_event_once_across_reused_inodes(session):
    recorder = Recorder(SessionWriter(session, segment_size_bytes=SEGMENT_BYTES))
    follower, seen = Follower(session), []
    retention = Retention(session, 3 * SEGMENT_BYTES)
    for number in range(1500):
        recorder.write(f"agent_{number % 2}")
        if number % 7 == 0:
            seen += [event.seq for event in follower.poll()]
            retention.run()
    recorder.close()
    seen += [event.seq for event in follower.poll()]
    assert sorted(seen) == list(range(1, 1502))
    assert follower.vanished_files == 0


def test_a_reader_goes_on_where_segments_go_away_under_it(session):
    recorder = record(session, events=600, agents=2)
    reader = TreeReader(session)
    seqs = []
    for number, event in enumerate(reader.events()):
        seqs.append(event.seq)
        if number == 20:
            Retention(session, 20_000).run()
    assert reader.damaged_lines == 0
    assert len(seqs) == len(set(seqs))
    assert set(seqs) >= read_numbers(session, recorder.sink.writer)


@given(
    st.sets(st.integers(1, 200_000), max_size=300),
    st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 70_000)), max_size=3),
)
def test_any_account_comes_back_from_the_disk_as_it_was(tmp_path_factory, numbers, runs):
    session = tmp_path_factory.mktemp("session")
    (session / ".state").mkdir()
    found = SeqSet.of_ranges([(first, first + more) for first, more in runs])
    for number in numbers:
        found.add(number)
    expected = set(numbers).union(*(range(first, first + more + 1) for first, more in runs))
    assert len(found) == len(expected)
    write_account(session, RetiredAccount(numbers={"abcdefgh": found}))
    back = read_account(session).numbers["abcdefgh"]
    assert {seq for first, last in back.ranges() for seq in range(first, last + 1)} == expected
    assert (len(back), back.highest) == (len(expected), max(expected, default=0))
    assert back.lowest == min(expected, default=0)


def test_scattered_numbers_take_a_bit_each_and_not_a_line(session):
    found = SeqSet()
    for number in range(1, 400_000, 2):
        found.add(number)
    write_account(session, RetiredAccount(numbers={"abcdefgh": found}))
    assert retired_file(session).stat().st_size < 400_000 / 8 * 1.4


def test_a_retired_event_with_a_count_is_no_account_of_all_between_its_ends(session):
    recorder = Recorder(SessionWriter(session))
    recorder.write()
    recorder.sink.next_seq()
    recorder.write(
        None, "system", kind="log.retired", writer=recorder.sink.writer, first_seq=1, last_seq=3, count=1
    )
    recorder.close()
    assert account_of(session, recorder.sink.writer).lost == 1


def test_lines_that_only_the_decoder_knows_are_retired_as_well(session):
    recorder = record(session, events=50, agents=1, close=False)
    # another form of the same time is an event too
    seq = recorder.sink.next_seq()
    line = make_line(recorder.sink.writer, seq, agent_id="agent_0").replace(b'Z","id"', b'+00:00","id"')
    recorder.sink.open_stream("agent_0", "agents").write(line)
    for _ in range(50):
        recorder.write("agent_0")
    recorder.close()
    Retention(session, 1).run()
    assert seq in retired_numbers(session, recorder.sink.writer)
    assert TreeReader(session).losses().clean


def test_a_segment_that_was_rolled_and_removed_while_its_chain_was_read_hides_no_later_one(
    session, monkeypatch
):
    # a reader sorts in a window: with a small one it reads on while its events are taken
    monkeypatch.setattr("Agent.tree.read.reader._MEMORY_LINES", 32)
    recorder = record(session, events=200, agents=1, close=False)
    seqs = []
    for number, event in enumerate(TreeReader(session).events()):
        seqs.append(event.seq)
        if number == 5:
            # the next number is rolled and gone by the time it would be read, the one after it is not
            last = max(parse_file_name(path.name).segment or 0 for path in tree_files(session))
            for _ in range(60):
                recorder.write("agent_0")
            (session / "agents" / f"agent_0.{last + 1}.log").unlink()
    left = read_numbers(session, recorder.sink.writer)
    assert max(left) == 260
    assert left <= set(seqs)


@pytest.mark.process
def test_a_child_that_was_forked_in_a_pass_holds_nothing_up(session):
    record(session)
    children = []

    def may_continue(_):
        if not children:
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(write)
                os.read(read, 1)
                os._exit(0)
            os.close(read)
            children.append((pid, write))
        return True

    assert Retention(session, 60_000, may_continue=may_continue).run().files > 0
    try:
        assert Retention(session, 40_000).run().files > 0
        with nothing_retired(session):
            assert TreeReader(session).losses().clean
    finally:
        os.close(children[0][1])
        os.waitpid(children[0][0], 0)


def test_a_new_file_with_the_inode_of_one_that_was_removed_is_read_from_its_beginning(session):
    recorder = record(session, events=5, agents=1, close=False)
    write_account(session, RetiredAccount())
    follower = Follower(session)
    assert len(follower.poll()) == 5
    # what a file system does that gives the number of a removed file to the next one, here for certain
    path = session / "agents" / "agent_0.log"
    inode = path.stat().st_ino
    writer = recorder.sink.writer
    path.write_bytes(b"".join(make_line(writer, seq, agent_id="agent_0", n="x" * 50) for seq in range(6, 20)))
    assert path.stat().st_ino == inode
    assert [event.seq for event in follower.poll()] == list(range(6, 20))
