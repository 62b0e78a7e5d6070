"""The thread that the main thread's queries run in: it lasts, and keeps nothing of what it answered."""

from __future__ import annotations

import os
import threading
import time
import traceback
import weakref

import pytest

from Agent.analysis.query.progress import interruptible


class Table:
    """Something large that a query gives."""


def answering() -> str:
    """The thread that a query of the main thread runs in."""
    return interruptible(None, lambda: f"{os.getpid()} {threading.get_ident()}")


def test_all_queries_of_the_main_thread_run_in_one_thread_beside_it() -> None:
    first = answering()
    assert first != f"{os.getpid()} {threading.get_ident()}"
    assert {answering() for _ in range(10)} == {first}


@pytest.mark.process
def test_a_forked_process_has_a_query_thread_of_its_own() -> None:
    before = answering()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if answering() != before else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert answering() == before


def test_what_a_query_raises_is_raised_where_it_was_asked_and_the_next_one_is_answered() -> None:
    def fail() -> None:
        raise KeyError("no such column")

    with pytest.raises(KeyError, match="no such column"):
        interruptible(None, fail)
    assert interruptible(None, lambda: 42) == 42


def test_an_answer_does_not_live_until_the_next_question() -> None:
    table = weakref.ref(interruptible(None, Table))
    # the thread may be on its way back to its queue
    end_s = time.monotonic() + 10
    while table() is not None and time.monotonic() < end_s:
        time.sleep(0.01)
    assert table() is None


def test_another_thread_asks_by_itself() -> None:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(interruptible(None, threading.get_ident)))
    thread.start()
    thread.join()
    assert seen == [thread.ident]
