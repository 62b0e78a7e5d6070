"""Whose turn it is to look at what agents hold: nobody waits for long, and no exception keeps the turn."""

import threading
import time

import pytest

from Agent.record.state.agent_writes import BY, LOOK_S, BetweenActions, wait_for_turn


def own():
    return (threading.get_ident(),)


def test_a_free_turn_is_taken_and_a_thread_does_not_wait_for_itself():
    taken, mine = {}, own()
    wait_for_turn(taken, mine)
    assert taken[BY] is mine
    began = time.monotonic()
    wait_for_turn(taken, own())
    assert time.monotonic() - began < LOOK_S / 2
    assert taken[BY] is mine


def test_another_threads_turn_is_waited_for_up_to_a_limit():
    taken = {BY: (threading.get_ident() + 1,)}
    began = time.monotonic()
    wait_for_turn(taken, own())
    assert LOOK_S <= time.monotonic() - began < 20 * LOOK_S
    threading.Timer(LOOK_S / 5, taken.clear).start()
    mine = own()
    wait_for_turn(taken, mine)
    assert taken[BY] is mine


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_an_exception_during_a_turn_gives_it_back(error, monkeypatch):
    between = BetweenActions({}, is_on=True)
    between.begins((), None)

    def ended(*_, **__):
        raise error

    monkeypatch.setattr(type(between.objects), "ended", ended)
    with pytest.raises(error):
        between.ended((), None)
    assert between.taken == {}
