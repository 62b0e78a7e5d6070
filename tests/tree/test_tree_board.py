"""The board: what each thread took last and what stands open, readable after the process is gone."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import child_environment

from Agent.tree.write import crash_board as board_module
from Agent.tree.write.crash_board import SIZE_BYTES, SPAN_SLOTS, THREAD_SLOTS, Board, read_board

SPAN = "8f2c11d0a4e96b37"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "abcdefgh.board"


def test_a_board_is_small_private_and_its_blocks_are_reserved(path):
    Board.create(path)
    status = path.stat()
    assert status.st_size == SIZE_BYTES <= 128 * 1024
    assert status.st_blocks * 512 >= SIZE_BYTES
    assert status.st_mode & 0o777 == 0o600


def test_each_thread_has_a_slot_that_outlives_it(path):
    board = Board.create(path)
    board.thread_slot()(7)

    def work(last):
        store = board.thread_slot()
        for seq in (1, last):
            store(seq)

    for last in (20, 30):
        thread = threading.Thread(target=work, args=(last,))
        thread.start()
        thread.join()
    view = read_board(path)
    assert sorted(view.last_seq_by_thread) == [7, 20, 30]
    assert (view.last_seq, view.threads, view.overflow) == (30, 3, 0)


def test_when_slots_run_out_those_of_ended_threads_are_used_again_and_it_is_noted(path):
    board = Board.create(path)

    def work(number):
        board.thread_slot()(number)

    for number in range(1, THREAD_SLOTS + 11):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    view = read_board(path)
    assert len(view.last_seq_by_thread) == THREAD_SLOTS
    assert (view.threads, view.overflow, view.last_seq) == (THREAD_SLOTS + 10, 10, THREAD_SLOTS + 10)


def test_when_every_slot_is_in_use_the_last_one_is_shared(path):
    board = Board.create(path)
    for number in range(1, THREAD_SLOTS + 4):
        # one thread, which lives, asks again and again
        board.thread_slot()(number)
    view = read_board(path)
    assert (view.overflow, view.last_seq) == (3, THREAD_SLOTS + 3)


def test_open_spans_are_read_back_in_order_and_closed_ones_are_not(path):
    board = Board.create(path)
    late = board.open_span("0" * 16, None, "late", 30)
    early = board.open_span(SPAN, "creator_001", "create_content", 10)
    gone = board.open_span("1" * 16, "creator_001", "gone", 20)
    board.close_span(gone)
    assert len({late, early, gone}) == 3
    spans = read_board(path).open_spans
    assert [(span.span_id, span.agent_id, span.name, span.started_us) for span in spans] == [
        (SPAN, "creator_001", "create_content", 10),
        ("0" * 16, None, "late", 30),
    ]


def test_a_full_table_of_spans_is_counted_and_works_again(path):
    board = Board.create(path)
    slots = [board.open_span(SPAN, "a", "b", 1) for _ in range(SPAN_SLOTS)]
    assert board.open_span(SPAN, "a", "b", 1) == -1
    board.close_span(-1)
    board.close_span(slots[5])
    assert board.open_span(SPAN, "a", "c", 1) >= 0
    view = read_board(path)
    assert (len(view.open_spans), view.span_overflow) == (SPAN_SLOTS, 1)
    assert [span.name for span in view.open_spans].count("c") == 1


def test_a_span_is_closed_once(path):
    board = Board.create(path)
    slot = board.open_span(SPAN, "a", "b", 1)
    board.close_span(slot)
    board.close_span(slot)
    tokens = {board.open_span(SPAN, "a", "b", 1) for _ in range(3)}
    assert len(tokens) == 3
    assert len(read_board(path).open_spans) == 3


def test_more_names_than_the_board_holds_stand_beside_it(path):
    board = Board.create(path)
    for number in range(9000):
        board.close_span(board.open_span(SPAN, f"a_rather_long_agent_{number:05}", "act", number + 1))
    board.open_span(SPAN, "a_rather_long_agent_00007", "act", 1)
    board.open_span(SPAN, "a_rather_long_agent_08999", "act", 2)
    assert path.stat().st_size == SIZE_BYTES
    assert path.with_suffix(".names").exists()
    names = [span.agent_id for span in read_board(path).open_spans]
    assert names == ["a_rather_long_agent_00007", "a_rather_long_agent_08999"]
    board.remove()
    assert list(path.parent.iterdir()) == []


def test_a_name_that_finds_no_place_is_counted_and_the_span_stands_without(path, monkeypatch):
    monkeypatch.setattr(board_module, "_FURTHER_NAMES", 2)
    monkeypatch.setattr(board_module, "SIZE_BYTES", board_module._NAMES_AT_BYTES + 24)
    board = Board.create(path)
    for number in range(4):
        board.open_span(SPAN, f"agent_{number}", "act", number + 1)
    board_file = path.read_bytes()
    assert len(board_file) == board_module._NAMES_AT_BYTES + 24
    names = [span.agent_id for span in read_board(path).open_spans]
    assert names[0] == "agent_0"
    assert names[-1] is None


@given(
    st.lists(
        st.tuples(st.none() | st.text(max_size=400), st.text(max_size=400), st.integers(1, 2**62)),
        max_size=20,
    )
)
def test_any_name_is_stored_and_none_breaks_another(tmp_path_factory, spans):
    path = tmp_path_factory.mktemp("board") / "abcdefgh.board"
    board = Board.create(path)
    for agent_id, name, started_us in spans:
        board.open_span(SPAN, agent_id, name, started_us)
    found = [(span.agent_id, span.name, span.started_us) for span in read_board(path).open_spans]

    def cut(text):
        return (
            None if text is None else text.encode("utf-8", "surrogatepass")[:1000].decode("utf-8", "replace")
        )

    assert sorted(found, key=repr) == sorted(((cut(a), cut(n), us) for a, n, us in spans), key=repr)


@pytest.mark.process
def test_a_killed_process_leaves_its_board(path):
    program = """
import os, signal, sys
from pathlib import Path
from Agent.tree.write.crash_board import Board
board = Board.create(Path(sys.argv[1]))
store = board.thread_slot()
for seq in range(1, 1001):
    store(seq)
board.open_span("8f2c11d0a4e96b37", "creator_001", "create", 5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=child_environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    view = read_board(path)
    assert view.last_seq_by_thread == (1000,)
    assert [span.agent_id for span in view.open_spans] == ["creator_001"]


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\0" * SIZE_BYTES])
def test_what_is_no_board_is_read_as_none(content, path):
    assert read_board(path) is None
    path.write_bytes(content)
    assert read_board(path) is None


def test_a_full_disk_makes_no_board_and_leaves_nothing(path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="full"):
        Board.create(path)
    assert not path.exists()


def test_where_blocks_cannot_be_reserved_they_are_written(path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    Board.create(path).thread_slot()(9)
    assert read_board(path).last_seq == 9
