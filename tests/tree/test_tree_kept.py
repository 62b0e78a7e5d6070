"""Readers by name and retention: who waits for whom."""

import threading

import pytest
from tree_kit import Recorder

from Agent.tree.layout import retention_lock_file
from Agent.tree.retention import Retention, nothing_retired, readers_excluded
from Agent.tree.write.writer import SessionWriter


@pytest.fixture
def full(session):
    """A session with segments to be retired, and a first pass behind it."""
    recorder = Recorder(SessionWriter(session, segment_size_bytes=4096))
    for _ in range(200):
        recorder.write()
    assert Retention(session, 40_000).run() is not None
    return session


def segments(session):
    return sorted(path.name for path in (session / "agents").iterdir())


def test_nothing_is_removed_while_somebody_reads_and_then_it_is(full, monkeypatch):
    monkeypatch.setattr("Agent.tree.retention._PATIENCE_S", 0.1)
    retention = Retention(full, 30_000)
    before = segments(full)
    with nothing_retired(full), nothing_retired(full):
        retention.run()
        assert segments(full) == before
    retention.run()
    assert set(segments(full)) < set(before)


def test_a_reader_who_goes_on_for_ever_does_not_fill_the_disk(full, monkeypatch):
    monkeypatch.setattr("Agent.tree.retention._PATIENCE_S", 0.05)
    before = segments(full)
    with nothing_retired(full):
        Retention(full, 10_000).run()
        assert set(segments(full)) < set(before)


def test_readers_one_after_another_do_not_hold_retention_up_for_ever(full):
    before, stop, rounds = segments(full), threading.Event(), []

    def read():
        while not stop.is_set():
            with nothing_retired(full):
                rounds.append(stop.wait(0.05))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        Retention(full, 20_000).run()
        assert set(segments(full)) < set(before)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(rounds) >= 3


def test_a_session_that_nothing_was_ever_retired_from_is_read_without_a_trace(session):
    with nothing_retired(session):
        assert not retention_lock_file(session).exists()


def test_two_passes_are_told_apart_from_readers(full):
    with readers_excluded(full) as alone:
        assert alone
