"""A log file that is removed, moved away or replaced while it is written to: what follows is in another one."""

import itertools
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from tree_kit import Recorder

from Agent.tree.layout import RUN_CATEGORY, run_dir
from Agent.tree.write import chain, segment_writer
from Agent.tree.write.writer import SessionWriter

RUN = "0199aaaa-0000-7000-8000-000000000000"


def _replace(path, make):
    path.unlink()
    make(path)


def _session_of(path):
    return next(parent for parent in path.parents if parent.name.startswith("session_"))


ATTACKS = {
    "removed": Path.unlink,
    "moved": lambda path: path.rename(_session_of(path).with_name("moved")),
    "replaced by a file": lambda path: _replace(path, lambda at: at.write_bytes(b"somebody else's\n")),
    "replaced by a directory": lambda path: _replace(path, Path.mkdir),
    "replaced by a pipe": lambda path: _replace(path, os.mkfifo),
    "replaced by a link": lambda path: _replace(
        path, lambda at: at.symlink_to(_session_of(at).with_name("elsewhere"))
    ),
    "directory removed": lambda path: shutil.rmtree(path.parent),
    "directory replaced": lambda path: _replace(path, lambda _: path.parent.rmdir() or path.parent.touch()),
}
PLACES = {
    "agent": (("a", "agents"), lambda session: session / "agents" / "a.log"),
    "category": ((None, "learning"), lambda session: session / "learning.log"),
    "run": ((None, f"{RUN_CATEGORY}{RUN}"), lambda session: run_dir(session, RUN) / "events.jsonl"),
}


def sequences_below(directory, writer):
    """The numbers of the lines of that writer in all plain files below a directory."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".state" not in path.parts:
            pieces = path.read_bytes().split(f'"id":"{writer}-'.encode())[1:]
            found += [int(piece[: piece.index(b'"')]) for piece in pieces]
    return sorted(found)


@pytest.mark.parametrize(("attack", "place"), list(itertools.product(ATTACKS, PLACES)))
def test_what_is_written_after_a_file_went_away_is_in_another_one(session, attack, place):
    if place == "category" and attack.startswith("directory"):
        pytest.skip("that directory is the session")
    (agent_id, category), where = PLACES[place]
    sink = SessionWriter(session)
    held = sink.open_stream(agent_id, category)  # a run's file is there as long as its stream is held
    recorder = Recorder(sink)
    for _ in range(100):
        recorder.write(agent_id, category)
    sink.head()
    ATTACKS[attack](where(session))
    blocked = attack == "directory replaced"
    numbers = [recorder.write(agent_id, category) for _ in range(100)]
    sink.head()
    later = [recorder.write(agent_id, category) for _ in range(10)]
    found = sequences_below(session.parents[1], sink.writer)
    if blocked:
        assert all(number < 0 for number in later)
        assert sink.counters()["vanished_lines"] == 100
    else:
        assert [number for number in numbers + later if number not in found] == []
        assert len(found) == len(set(found))
    assert sink.counters().get("file_vanished", 0) == (attack != "moved")
    del held


def test_threads_that_write_while_files_go_away_lose_no_line_written_afterwards(session, monkeypatch):
    monkeypatch.setattr(chain, "_INTERVAL_S", 0.02)
    sink = SessionWriter(session, segment_size_bytes=20_000)
    recorder = Recorder(sink)
    stop = threading.Event()
    written = {name: [] for name in "abcd"}

    def work(name):
        while not stop.is_set():
            number = recorder.write(name)
            assert number > 0
            written[name].append((time.monotonic(), number))
            time.sleep(0.0002)

    threads = [threading.Thread(target=work, args=(name,)) for name in written]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.1)
        for name in written:
            (session / "agents" / f"{name}.log").unlink(missing_ok=True)
    went = time.monotonic()
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(timeout=10)
    recorder.close()
    found = set(sequences_below(session, sink.writer))
    after = [number for told in written.values() for at, number in told if at > went]
    assert len(after) > 100
    assert [number for number in after if number not in found] == []
    assert sink.counters()["file_vanished"] >= 4


def test_a_system_that_gives_no_second_descriptor_is_counted(session, monkeypatch):
    def refuse(_fd):
        raise FileNotFoundError(2, "no /proc")

    monkeypatch.setattr(segment_writer, "open_unnamed", refuse)
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write("a")
    (session / "agents" / "a.log").unlink()
    recorder.write("a")
    sink.head()
    assert sink.counters() == {"file_vanished": 1, "vanished:ENOENT": 1}
    assert recorder.write("a") == 3
    assert sequences_below(session, sink.writer) == [3]


def test_a_rolled_segment_that_retention_took_is_no_loss(session):
    sink = SessionWriter(session, segment_size_bytes=2000)
    recorder = Recorder(sink)
    for _ in range(50):
        recorder.write("a")
    sink.head()
    for path in (session / "agents").glob("a.[0-9]*.log"):
        path.unlink()
    sink.head()
    sink.head()
    assert sink.counters() == {}


def test_no_file_appears_in_a_directory_that_is_being_emptied(session, monkeypatch):
    monkeypatch.setattr(segment_writer, "_REMOVAL_S", 20.0)
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    for number in range(40):
        recorder.write(f"agent_{number}")
    listed = list((session / "agents").iterdir())
    for path in listed[:20]:
        path.unlink()
    time.sleep(2 * segment_writer._PROBE_INTERVAL_S)
    thread = threading.Thread(target=recorder.write, args=("new",))
    thread.start()
    time.sleep(0.01)
    for path in listed[20:]:
        path.unlink()
    (session / "agents").rmdir()
    (session / ".state").rename(session.with_name("elsewhere"))
    session.rmdir()
    thread.join()
    assert not session.exists()
    assert sink.counters() == {"open:ENOENT": 1}


def test_a_new_file_waits_once_for_a_removal_that_goes_no_further(session):
    sink = SessionWriter(session)
    recorder = Recorder(sink)
    recorder.write("a")
    (session / "agents" / "a.log").unlink()
    time.sleep(2 * segment_writer._PROBE_INTERVAL_S)
    began = time.monotonic()
    assert all(recorder.write(f"agent_{number}") > 0 for number in range(20))
    assert segment_writer._REMOVAL_S <= time.monotonic() - began < 10 * segment_writer._REMOVAL_S
