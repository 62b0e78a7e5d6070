"""The account of every number: lost, unacknowledged, unknown, retired, in flight, each for its reason."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_kit import make_line

from Agent.event.codec import decode_line
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.session import Claim
from Agent.tree.read.losses import Accounting
from Agent.tree.write.crash_board import BoardView

WRITER = "abcdefgh"


def seqset(numbers):
    found = SeqSet()
    for number in numbers:
        found.add(number)
    return found


def board(*slots, threads=None, overflow=0):
    return BoardView(slots, len(slots) if threads is None else threads, overflow, 0, ())


def account(read, view=None, *, closed=None, alive=False, durability="kernel", retired=()):
    """The account of one writer, of which `read` stands in files and `view` on the board."""
    accounting = Accounting({WRITER: seqset(read)})
    if closed is not None:
        accounting.see(
            decode_line(make_line(WRITER, closed, agent_id=None, kind="log.closed", last_seq=closed))
        )
    for first, last in retired:
        accounting.see(
            decode_line(
                make_line(
                    "zzzzzzzz",
                    1,
                    agent_id=None,
                    kind="log.retired",
                    writer=WRITER,
                    first_seq=first,
                    last_seq=last,
                )
            )
        )
    claim = Claim(WRITER, 1, 2, None, "h", durability, "events", "")
    losses = accounting.losses(
        {WRITER: claim},
        {} if view is None else {WRITER: view},
        frozenset({WRITER}) if alive else frozenset(),
        0,
    )
    (writer,) = losses.writers
    gaps = [(gap.first_seq, gap.last_seq, gap.verdict) for gap in writer.gaps]
    assert writer.read + sum(gap.count for gap in writer.gaps) == writer.last_seq
    assert writer.lost == losses.total_lost
    return gaps, losses


def test_a_clean_end_makes_every_missing_number_lost():
    gaps, losses = account([1, 2, 5, 8], closed=8)
    assert gaps == [(3, 4, "lost"), (6, 7, "lost")]
    assert (losses.total_lost, losses.clean) == (4, False)


def test_a_clean_end_with_everything_there_is_clean():
    gaps, losses = account(range(1, 9), closed=8)
    assert gaps == []
    assert losses.clean


def test_numbers_after_the_last_one_read_are_lost_too_where_the_end_says_so():
    accounting = Accounting({WRITER: seqset([1, 3])})
    accounting.see(decode_line(make_line(WRITER, 3, agent_id=None, kind="log.closed", last_seq=5)))
    (writer,) = accounting.losses({}, {}, frozenset(), 0).writers
    assert [(gap.first_seq, gap.last_seq) for gap in writer.gaps] == [(2, 2), (4, 5)]
    assert writer.lost == 3


def test_what_a_dead_threads_slot_names_is_unacknowledged_and_the_rest_is_unknown():
    gaps, losses = account([1, 2, 3, 6], board(7, 6))
    assert gaps == [(4, 5, "unknown"), (7, 7, "unacknowledged")]
    assert (losses.total_lost, losses.total_unknown, losses.total_unacknowledged) == (0, 2, 1)
    assert not losses.clean


def test_a_number_taken_but_not_yet_stored_is_unacknowledged_only_for_a_thread_that_can_have_it():
    # the thread whose last number 3 was written may have taken 4 and died before it stored it
    gaps, _ = account([1, 2, 3, 5], board(3, 5))
    assert gaps == [(4, 4, "unacknowledged")]
    # both threads are beyond 2, so neither can have it
    gaps, _ = account([1, 3, 4, 5], board(4, 5))
    assert gaps == [(2, 2, "unknown")]
    # one thread explains one number
    gaps, _ = account([1, 2, 3, 6], board(3, 6))
    assert gaps == [(4, 4, "unacknowledged"), (5, 5, "unknown")]


def test_a_thread_that_stored_nothing_yet_may_have_taken_one():
    gaps, _ = account([2, 3], board(3, threads=2))
    assert gaps == [(1, 1, "unacknowledged")]


def test_where_slots_were_shared_the_number_of_threads_counts():
    gaps, _ = account([4], board(4, threads=3, overflow=2))
    assert gaps == [(1, 1, "unacknowledged"), (2, 2, "unacknowledged"), (3, 3, "unknown")]


def test_without_a_board_what_is_missing_is_unknown():
    gaps, losses = account([1, 3])
    assert gaps == [(2, 2, "unknown")]
    assert not losses.clean


def test_a_dead_writer_that_reads_back_whole_lost_nothing_and_is_not_closed():
    gaps, losses = account([1, 2], board(2))
    assert gaps == []
    assert (losses.total_lost, losses.clean, losses.writers[0].closed) == (0, True, False)


def test_what_was_never_acknowledged_is_told_and_is_no_loss():
    _, losses = account([1, 2], board(3))
    assert (losses.total_unacknowledged, losses.total_lost, losses.clean) == (1, 0, True)


def test_a_writer_that_never_wrote_spoils_nothing():
    _, losses = account([], board())
    assert losses.clean


def test_in_a_running_writer_the_same_numbers_are_in_flight():
    gaps, losses = account([1, 2, 3, 6], board(7, 6, 4), alive=True)
    assert gaps == [(4, 4, "in_flight"), (5, 5, "unknown"), (7, 7, "in_flight")]
    assert losses.writers[0].in_flight == 2
    gaps, losses = account([1, 2], board(3), alive=True)
    assert gaps == [(3, 3, "in_flight")]
    assert losses.clean


@pytest.mark.parametrize("durability", ["buffered", "queued"])
def test_the_end_that_was_held_in_memory_is_unacknowledged_and_a_hole_before_is_not(durability):
    gaps, _ = account([1, 2, 5], board(90), durability=durability)
    assert gaps == [(3, 4, "unknown"), (6, 90, "unacknowledged")]


def test_one_number_a_thread_may_have_gone_into_the_queue_behind_later_ones():
    gaps, _ = account([1, 2, 4], board(90), durability="queued")
    assert gaps == [(3, 3, "unacknowledged"), (5, 90, "unacknowledged")]


def test_what_a_policy_removed_is_retired_and_only_that():
    gaps, losses = account([1, 2, 12, 15], closed=15, retired=[(2, 10)])
    assert gaps == [(3, 10, "retired"), (11, 11, "lost"), (13, 14, "lost")]
    assert (losses.total_retired, losses.total_lost) == (8, 3)
    gaps, losses = account([8], closed=8, retired=[(1, 3), (4, 7)])
    assert (losses.total_retired, losses.clean) == (7, True)


def test_the_account_is_json():
    _, losses = account([1, 2, 3, 6], board(7, 6))
    told = losses.to_dict()
    assert told["writers"][WRITER]["gaps"] == [[4, 5, "unknown"], [7, 7, "unacknowledged"]]
    assert (told["read"], told["lost"], told["unknown"], told["clean"]) == (4, 0, 2, False)


@given(
    st.sets(st.integers(1, 60)),
    st.lists(st.integers(1, 70), max_size=6),
    st.none() | st.integers(1, 70),
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), max_size=3),
)
def test_every_number_has_exactly_one_fate(read, slots, closed, alive, retired):
    gaps, losses = account(read, board(*slots), closed=closed, alive=alive, retired=retired)
    numbers = [n for first, last, _ in gaps for n in range(first, last + 1)]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == set(range(1, losses.writers[0].last_seq + 1)) - read
    held = [
        n
        for first, last, fate in gaps
        if fate in {"unacknowledged", "in_flight"}
        for n in range(first, last + 1)
    ]
    assert len(held) <= max(len(slots), 0)


numbers = st.lists(
    st.one_of(
        st.integers(1, 400), st.integers(65_500, 65_600), st.integers(131_000, 131_100), st.just(10**17)
    )
)


@given(numbers, st.integers(0, 131_200))
def test_a_set_of_numbers_equals_the_plain_one(items, last):
    plain: set[int] = set()
    found = SeqSet()
    for item in items:
        assert found.add(item) is (item not in plain)
        plain.add(item)
    assert len(found) == len(plain)
    assert found.highest == max(plain, default=0)
    assert all((item in found) for item in plain)
    ranges = list(found.missing(last))
    assert [n for a, b in ranges for n in range(a, b + 1)] == [
        n for n in range(1, last + 1) if n not in plain
    ]
    # adjoining ranges are one
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))


def test_complete_runs_of_numbers_take_no_memory():
    found = seqset(range(1 << 18))
    assert len({id(chunk) for chunk in found._chunks.values()}) == 1
    assert not found.add(70_000)
    assert list(found.missing(1 << 18)) == [(1 << 18, 1 << 18)]


def test_one_wild_number_costs_nothing():
    found = seqset([10**18])
    assert list(found.missing(10**18)) == [(1, 10**18 - 1)]
