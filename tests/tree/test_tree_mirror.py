"""Mirrors: batches between newlines, rotated as logging does, never in the way of recording."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import child_environment
from support.recording_threads import recording_threads

from Agent.event.background_threads import BackgroundThread
from Agent.tree.write.mirror import Mirrors


@contextmanager
def taken(mirror):
    """Another thread writes the mirror."""
    mirror.taken["by"] = object()
    try:
        yield
    finally:
        del mirror.taken["by"]


def mirror_lines(root: Path, name: str = "agents/agents.log") -> list[bytes]:
    paths = sorted((root / name).parent.glob(Path(name).name + "*"))
    return [line for path in paths for line in path.read_bytes().split(b"\n") if line]


def wait_for(condition) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def test_nothing_is_made_before_the_first_line(tmp_path):
    threads = recording_threads("agent-trace-mirrors")
    mirrors = Mirrors(tmp_path)
    mirrors.flush()
    assert list(tmp_path.iterdir()) == []
    assert recording_threads("agent-trace-mirrors") == threads
    mirrors.close()


def test_lines_stay_in_memory_for_a_moment_and_then_come_by_themselves(tmp_path):
    mirrors = Mirrors(tmp_path)
    began = time.monotonic()
    mirrors.add("agents", b"one\n")
    assert not (tmp_path / "agents").exists() or time.monotonic() - began > 0.04
    log = tmp_path / "agents" / "agents.log"
    wait_for(lambda: log.exists() and log.stat().st_size > 0)
    assert mirror_lines(tmp_path) == [b"one"]
    mirrors.close()


class NotedEvent(threading.Event):
    """Knows how long it was waited for."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def wait(self, timeout=None):
        self.timeouts.append(timeout)
        return super().wait(timeout)


def test_closing_ends_the_thread_though_its_next_round_is_far_away(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._INTERVAL_S", 3600.0)
    mirrors = Mirrors(tmp_path)
    mirrors._wake = wake = NotedEvent()
    threads = recording_threads("agent-trace-mirrors")
    mirrors.add("agents", b"one\n")
    wait_for(lambda: 3600.0 in wake.timeouts)
    mirrors.close()
    assert recording_threads("agent-trace-mirrors") == threads
    assert mirror_lines(tmp_path) == [b"one"]


def test_a_full_batch_is_written_at_once_and_every_line_of_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._INTERVAL_S", 60.0)
    mirrors = Mirrors(tmp_path)
    for number in range(16_384):
        mirrors.add("agents", b"%d\n" % number)
    data = (tmp_path / "agents" / "agents.log").read_bytes()
    assert data == b"".join(b"%d\n" % number for number in range(16_384))


def test_a_large_batch_does_not_overrun_the_size_at_which_a_small_file_is_rotated(tmp_path):
    mirrors = Mirrors(tmp_path, rotation={"agents": (50_000, 1000)})
    line = b"x" * 999 + b"\n"
    with taken(mirrors._mirrors["agents"]):
        for _ in range(1000):
            mirrors.add("agents", line)
    mirrors.close()
    sizes = [path.stat().st_size for path in (tmp_path / "agents").glob("agents.log*")]
    assert max(sizes) <= 50_000 and len(sizes) >= 20
    assert mirror_lines(tmp_path) == [line.strip()] * 1000


@pytest.mark.parametrize("size_bytes", range(1, 10))
def test_the_smallest_sizes_rotate_after_each_line_and_lose_none(tmp_path, size_bytes):
    mirrors = Mirrors(tmp_path, rotation={"agents": (size_bytes, 100)})
    for number in range(60):
        mirrors.add("agents", b"line %d\n" % number)
    mirrors.close()
    assert sorted(mirror_lines(tmp_path)) == sorted(b"line %d" % number for number in range(60))
    assert len(list((tmp_path / "agents").glob("agents.log*"))) == 60


def test_an_urgent_line_and_errors_do_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._INTERVAL_S", 60.0)
    mirrors = Mirrors(tmp_path)
    mirrors.add("learning", b"one\n")
    mirrors.add("learning", b"two\n", urgent=True)
    assert mirror_lines(tmp_path, "learning/learning.log") == [b"one", b"two"]
    mirrors.adder("errors")(b"bad\n")
    assert mirror_lines(tmp_path, "errors/errors.jsonl") == [b"bad"]


def test_a_thread_that_went_idle_is_woken_by_the_next_line(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._INTERVAL_S", 0.005)
    monkeypatch.setattr("Agent.tree.write.mirror._IDLE_ROUNDS", 2)
    mirrors = Mirrors(tmp_path)
    add = mirrors.adder("agents")
    for number in range(5):
        add(b"%d\n" % number)
        wait_for(lambda number=number: len(mirror_lines(tmp_path)) == number + 1)
        wait_for(lambda: mirrors._idle)
    mirrors.close()


def test_a_category_that_is_not_mirrored_is_ignored(tmp_path):
    mirrors = Mirrors(tmp_path, categories=("errors",))
    mirrors.add("agents", b"one\n", urgent=True)
    assert mirrors.adder("agents") is None
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_rotates_keeps_so_many_backups_and_begins_anew(tmp_path):
    mirrors = Mirrors(tmp_path, rotation={"agents": (100, 2)})
    for number in range(12):
        mirrors.add("agents", b"%039d\n" % number, urgent=True)
    names = sorted(path.name for path in (tmp_path / "agents").iterdir() if not path.name.startswith("."))
    assert names == ["agents.log", "agents.log.1", "agents.log.2"]
    newest = (tmp_path / "agents" / "agents.log").read_bytes().split()
    assert int(newest[-1]) == 11
    kept = [int(line) for line in mirror_lines(tmp_path)]
    assert sorted(kept) == list(range(6, 12))
    assert mirrors.counts.snapshot() == {}


def test_without_backups_a_full_mirror_begins_anew(tmp_path):
    mirrors = Mirrors(tmp_path, rotation={"agents": (100, 0)})
    for number in range(7):
        mirrors.add("agents", b"%039d\n" % number, urgent=True)
    assert [int(line) for line in mirror_lines(tmp_path)] == [6]


def test_nothing_is_put_for_a_while_into_a_directory_that_is_being_emptied(tmp_path):
    mirrors = Mirrors(tmp_path)
    mirrors.add("agents", b"one\n", urgent=True)
    (tmp_path / "agents" / "agents.log").unlink()
    mirrors.add("agents", b"two\n", urgent=True)
    mirrors.add("agents", b"three\n", urgent=True)
    (tmp_path / "agents").rmdir()
    mirrors.add("agents", b"four\n", urgent=True)
    assert not (tmp_path / "agents").exists()
    assert mirrors.counts.snapshot() == {"mirror:removed": 3}


def test_a_directory_that_was_removed_is_made_again_after_a_while(tmp_path, monkeypatch):
    mirrors = Mirrors(tmp_path)
    mirrors.make_directories()
    (tmp_path / "errors").rmdir()
    mirrors.add("errors", b'{"n":1}\n', True)
    assert not (tmp_path / "errors").exists()
    assert mirrors.counts.snapshot() == {"mirror:ENOENT": 1}
    monkeypatch.setattr("Agent.tree.write.mirror._REMOVAL_NS", 0)
    mirrors.add("errors", b'{"n":2}\n', True)
    assert (tmp_path / "errors" / "errors.jsonl").read_bytes() == b'{"n":2}\n'
    mirrors.close()


def test_a_root_that_was_removed_is_not_made_again_by_a_mirror(tmp_path):
    root = tmp_path / "trace"
    root.mkdir()
    mirrors = Mirrors(root)
    root.rmdir()
    mirrors.add("agents", b"one\n", urgent=True)
    mirrors.close()
    assert not root.exists()
    assert mirrors.counts.snapshot() == {"mirror:ENOENT": 1}


def test_a_mirror_that_was_deleted_or_rotated_by_others_is_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._REMOVAL_NS", 0)
    mirrors = Mirrors(tmp_path)
    mirrors.add("agents", b"one\n", urgent=True)
    (tmp_path / "agents" / "agents.log").unlink()
    mirrors.add("agents", b"two\n", urgent=True)
    assert mirror_lines(tmp_path) == [b"two"]
    (tmp_path / "agents" / "agents.log").rename(tmp_path / "agents" / "elsewhere")
    (tmp_path / "agents" / "agents.log").write_bytes(b"")
    mirrors.add("agents", b"three\n", urgent=True)
    assert mirror_lines(tmp_path) == [b"three"]


def test_what_cannot_be_written_is_counted_and_forgotten(tmp_path):
    (tmp_path / "agents").write_bytes(b"")
    mirrors = Mirrors(tmp_path)
    for number in range(200):
        mirrors.add("agents", b"%d\n" % number)
    mirrors.close()
    (reason,) = mirrors.counts.snapshot()
    assert reason in {"mirror:EEXIST", "mirror:ENOTDIR"}
    assert mirrors.counts.snapshot()[reason] == 200


def test_after_close_lines_are_written_as_they_come(tmp_path):
    mirrors = Mirrors(tmp_path)
    add = mirrors.adder("agents")
    add(b"one\n")
    mirrors.close()
    assert mirror_lines(tmp_path) == [b"one"]
    add(b"two\n")
    assert mirror_lines(tmp_path) == [b"one", b"two"]


def test_where_no_thread_can_be_started_lines_are_written_as_they_come(tmp_path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(BackgroundThread, "start", refuse)
    mirrors = Mirrors(tmp_path)
    mirrors.add("agents", b"one\n")
    mirrors.add("agents", b"two\n")
    assert mirror_lines(tmp_path) == [b"one", b"two"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_thread_whose_start_was_interrupted_is_replaced_and_the_end_is_a_clean_one(
    begun, tmp_path, monkeypatch
):
    start = BackgroundThread.start

    def interrupted(thread):
        monkeypatch.setattr(BackgroundThread, "start", start)
        if begun:
            start(thread)
        raise KeyboardInterrupt

    mirrors = Mirrors(tmp_path)
    monkeypatch.setattr(BackgroundThread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mirrors.add("agents", b"one\n")
    mirrors.add("agents", b"two\n")
    wait_for(lambda: mirror_lines(tmp_path) == [b"one", b"two"])
    mirrors.close()


def test_threads_lose_and_double_no_line(tmp_path):
    mirrors = Mirrors(tmp_path, rotation={"agents": (20_000, 100)})
    add = mirrors.adder("agents")

    def work(number):
        for turn in range(2000):
            add(b"%d-%d-%s\n" % (number, turn, b"x" * 40))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mirrors.close()
    assert mirrors.counts.snapshot() == {}
    assert set(Counter(mirror_lines(tmp_path)).values()) == {1}
    assert len(mirror_lines(tmp_path)) == 8000


@pytest.mark.integration
def test_processes_rotate_one_mirror_without_losing_a_line(tmp_path):
    program = """
import sys
from pathlib import Path
from Agent.tree.write.mirror import Mirrors
mirrors = Mirrors(Path(sys.argv[1]), rotation={"agents": (30_000, 200)})
add = mirrors.adder("agents")
for turn in range(3000):
    add(b"%s-%d-%s\\n" % (sys.argv[2].encode(), turn, b"x" * 40))
mirrors.close()
assert mirrors.counts.snapshot() == {}, mirrors.counts.snapshot()
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(number)], env=child_environment())
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(set(mirror_lines(tmp_path))) == len(mirror_lines(tmp_path)) == 12_000


def test_lines_that_nobody_can_write_are_dropped_and_counted_not_hoarded(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._MAX_WAITING_LINES", 100)
    monkeypatch.setattr("Agent.tree.write.mirror._BATCH_LINES", 10)
    mirrors = Mirrors(tmp_path)
    add = mirrors.adder("agents")
    # as if a signal handler recorded while its own thread is inside a flush
    with taken(mirrors._mirrors["agents"]):
        for _ in range(300):
            add(b"x\n")
        assert len(mirrors._mirrors["agents"].waiting) <= 101
    mirrors.close()
    dropped = mirrors.counts.snapshot()["mirror:held_too_many"]
    assert dropped + len(mirror_lines(tmp_path)) == 300


def test_a_rotation_moves_the_backups_up_to_a_gap_and_leaves_those_behind_it(tmp_path):
    path = tmp_path / "agents" / "agents.log"
    path.parent.mkdir()
    for number in (1, 2, 4):
        path.with_name(f"agents.log.{number}").write_text(f"old {number}\n")
    mirrors = Mirrors(tmp_path, rotation={"agents": (40, 5)})
    for text in (b"a" * 30, b"b" * 30):
        mirrors.add("agents", text + b"\n", True)
    mirrors.close()
    kept = {name: path.with_name(f"agents.log.{name}").read_text().strip()[:5] for name in range(1, 5)}
    assert kept == {1: "aaaaa", 2: "old 1", 3: "old 2", 4: "old 4"}
    assert mirrors.counts.snapshot() == {}


def test_a_rotation_costs_what_is_there_and_not_what_may_be(tmp_path, monkeypatch):
    renamed = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda path, other: renamed.append(other) or replace(path, other))
    mirrors = Mirrors(tmp_path, rotation={"agents": (40, 2000)})
    for _ in range(4):
        mirrors.add("agents", b"a" * 30 + b"\n", True)
    mirrors.close()
    assert len(renamed) == 1 + 2 + 3


def test_lines_that_stay_behind_at_the_end_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.tree.write.mirror._END_PATIENCE_S", 0.05)
    monkeypatch.setattr("Agent.tree.write.mirror._INTERVAL_S", 60.0)
    mirrors = Mirrors(tmp_path)
    mirrors.add("agents", b"one\n")
    # as if another thread were writing and got no processor
    with taken(mirrors._mirrors["agents"]):
        mirrors.close()
    assert mirrors.counts.snapshot() == {"mirror:left_at_the_end": 1}


@pytest.mark.further
def test_an_exception_of_a_signals_handler_leaves_no_mirror_taken(tmp_path):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    mirrors = Mirrors(tmp_path)
    before = signal.signal(signal.SIGALRM, stop)
    stops, unheard, until = 0, 0, time.monotonic() + 1
    gc.disable()  # Hypothesis has a callback at collections, where Python drops what a handler raises
    try:
        while time.monotonic() < until:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0007)
                for _ in range(2_000):
                    mirrors.add("errors", b'{"a":1}\n', urgent=True)
                unheard += 1
            except Stop:
                stops += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert stops > 100 and unheard < stops / 20
    assert not any(mirror.taken for mirror in mirrors._mirrors.values())
    mirrors.add("errors", b'{"last":1}\n', urgent=True)
    assert mirrors._mirrors["errors"].path.read_bytes().endswith(b'{"last":1}\n')
    mirrors.close()
