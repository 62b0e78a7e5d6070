"""The account of a session that goes on while it is read: what comes behind the reading is never called missing."""

import pytest
from tree_kit import Recorder, make_line

from Agent.tree.files import lines
from Agent.tree.files.lines import Tail
from Agent.tree.layout import agents_dir, retired_file
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.writer import SessionWriter


class Busy:
    """A writer that goes on, in turn with the two agents whose files are read one after the other."""

    def __init__(self, session, **options):
        self.sink = SessionWriter(session, **options)
        self.store = self.sink.board.thread_slot() if self.sink.board is not None else lambda _: None
        self.taken = 0

    def take(self):
        self.taken = self.sink.next_seq()
        self.store(self.taken)
        return self.taken

    def write(self, agent_id="a", seq=None):
        line = make_line(self.sink.writer, self.take() if seq is None else seq, agent_id=agent_id)
        assert self.sink.open_stream(agent_id, "agents").write(line)

    def both(self):
        for agent_id in "ababab":
            self.write(agent_id)


@pytest.fixture
def behind(monkeypatch):
    """What happens whenever a file has been read: the list, to which tests add."""
    steps = []
    blocks_of = Tail._blocks_of

    def read_and_step(self, *arguments):
        yield from blocks_of(self, *arguments)
        for step in steps:
            step()

    monkeypatch.setattr(Tail, "_blocks_of", read_and_step)
    return steps


def only(losses):
    (writer,) = losses.writers
    return writer


def test_what_is_written_behind_the_reading_is_under_way(session, behind):
    busy = Busy(session)
    busy.both()
    behind.append(busy.both)
    losses = TreeReader(session).losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    # of the last ones those of the first agent stand in the file that had been read
    assert only(losses).in_flight > 1
    behind.clear()
    losses = TreeReader(session).losses()
    assert (losses.total_read, only(losses).in_flight, losses.clean) == (busy.taken, 0, True)


@pytest.mark.integration
def test_a_file_that_is_rolled_behind_the_reading_leaves_nothing_unknown(session, behind):
    busy = Busy(session, segment_size_bytes=300)
    busy.both()
    behind.append(busy.both)
    for _ in range(2):
        losses = TreeReader(session).losses()
        assert (losses.total_lost, losses.total_unknown) == (0, 0)
    assert busy.sink.rolled_segments > 10


def test_a_writer_that_ends_while_its_files_are_read_lost_nothing(session, behind):
    busy = Busy(session)
    busy.both()

    def end():
        behind.clear()
        busy.write("a")
        Recorder(busy.sink).close()

    behind.append(end)
    losses = TreeReader(session).losses()
    assert (losses.total_read, losses.clean, only(losses).closed) == (8, True, True)


def test_a_writer_that_begins_while_files_are_read_lost_nothing(session, behind):
    busy = Busy(session)
    busy.both()
    began = []

    def begin():
        if len(began) < 12:
            began.append(Busy(session))
        for writer in began:
            writer.write("a")
            writer.write("z")

    behind.append(begin)
    losses = TreeReader(session).losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    assert len(losses.writers) > 2


@pytest.mark.parametrize("durability", ["kernel", "buffered", "queued"])
def test_what_a_running_writer_did_lose_is_told_all_the_same(session, behind, durability):
    busy = Busy(session, durability=durability)
    busy.both()
    missing = [busy.take() for _ in range(5)]
    busy.both()
    behind.append(busy.both)
    losses = TreeReader(session).losses()
    gaps = [gap for gap in only(losses).gaps if gap.verdict == "unknown"]
    assert [(gap.first_seq, gap.last_seq) for gap in gaps] == [(missing[0], missing[-1])]


def test_without_a_board_a_second_look_tells_what_is_missing(session, behind):
    busy = Busy(session, board=False)
    assert busy.sink.board is None
    busy.both()
    behind.append(busy.both)
    losses = TreeReader(session).losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    busy.take()
    busy.both()
    losses = TreeReader(session).losses()
    assert losses.total_unknown == 1


@pytest.mark.parametrize("durability", ["buffered", "queued"])
def test_what_was_held_in_memory_and_is_written_behind_the_reading_is_under_way(session, behind, durability):
    busy = Busy(session, durability=durability)
    busy.both()
    held = []

    def hold_and_hand_over():
        held.extend(busy.take() for _ in range(4))
        while len(held) > 6:
            # the first of a pair goes to the file that was read
            busy.write("a", held.pop(0))
            busy.write("b", held.pop(0))

    behind.append(hold_and_hand_over)
    losses = TreeReader(session).losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    assert only(losses).in_flight > 0


def test_a_file_that_is_rolled_while_its_inode_is_looked_at_is_not_followed_twice(session, monkeypatch):
    busy = Busy(session)
    busy.both()
    retired_file(session).touch()
    first = Follower(session)
    assert len(first.poll()) == 6
    # what begins anew at a cursor remembers no ids
    follower = Follower(session, cursor=first.cursor())
    busy.write("a")
    look = lines.begins_otherwise
    live = agents_dir(session) / "a.log"

    def roll_and_look(*arguments):
        if not live.with_name("a.1.log").exists():
            live.rename(live.with_name("a.1.log"))
            live.touch()
        return look(*arguments)

    monkeypatch.setattr(lines, "begins_otherwise", roll_and_look)
    events = [event for _ in range(3) for event in follower.poll()]
    assert live.with_name("a.1.log").exists()
    assert [event.seq for event in events] == [7]
