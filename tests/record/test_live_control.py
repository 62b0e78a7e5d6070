"""What control costs and risks in the program: one look at a tick, and never an exception."""

import os
import shutil
import threading
import time

import pytest

from Agent import health, setup_logging, shutdown_logging, tick
from Agent.config.recording import current_session
from Agent.record.emit import installed
from Agent.record.tracing import live_control
from Agent.tree.files import control
from Agent.tree.files.control import ControlFiles, read_program, request
from Agent.tree.layout import control_dir
from Agent.utils import trace_agent_action


class Sheep:
    def __init__(self):
        self.agent_id, self.weight, self.key = "dolly", 1, "sk-ant-api03-" + "q7Zr" * 20

    @trace_agent_action
    def eat(self):
        self.weight += 1


@pytest.fixture
def controlled(trace_root):
    session = setup_logging(trace_root=trace_root, control=True)
    yield session.path
    shutdown_logging()


def in_thread(what):
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread


def wait_for(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def waits_to_be_taken(session):
    wait_for(lambda: (control_dir(session) / "request.json").exists())


def test_without_control_a_tick_calls_nothing_and_no_file_is_made(trace_root):
    path = setup_logging(trace_root=trace_root).path
    try:
        assert installed.at_tick is None and not control_dir(path).exists()
    finally:
        shutdown_logging()


def test_a_tick_that_nobody_waits_for_costs_one_look(controlled, monkeypatch):
    with tick(0):
        pass
    asked, written = [], []
    access, tell = os.access, ControlFiles.tell
    monkeypatch.setattr(control.os, "access", lambda *given: asked.append(given) or access(*given))
    monkeypatch.setattr(
        ControlFiles, "tell", lambda *given, **more: written.append(more) or tell(*given, **more)
    )
    sheep = Sheep()
    for number in range(50):
        with tick(number):
            sheep.eat()
    assert len(asked) == 50 and not written


def test_control_ends_with_the_recording(trace_root):
    path = setup_logging(trace_root=trace_root, control=True).path
    assert installed.at_tick is not None and read_program(path).state == "running"
    shutdown_logging()
    assert installed.at_tick is None and read_program(path).state == "ended"
    assert not read_program(path).token


def test_a_failure_of_control_does_not_reach_the_program(controlled, monkeypatch):
    def fail(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr(ControlFiles, "take", fail)
    monkeypatch.setattr(ControlFiles, "waits", lambda _: True)
    done = []
    with tick(1):
        done.append(1)
    assert done and any("control" in reason for reason in health()["notes"]), health()


def test_a_refused_request_is_counted_and_the_program_goes_on(controlled):
    path = control_dir(controlled) / "request.json"
    path.write_text('{"command": "pause", "token": "stale"}')
    path.chmod(0o600)
    with tick(1):
        pass
    assert any("stale" in note for note in health()["notes"]), health()
    assert read_program(controlled).state == "running" and not path.exists()


@pytest.mark.parametrize("end", ["shutdown", "removal"])
def test_a_pause_ends_with_the_recording_and_with_its_directory(trace_root, end):
    path = setup_logging(trace_root=trace_root, control=True).path

    def run():
        with tick(1):
            pass

    asker = in_thread(lambda: request(path, {"command": "pause"}, 30))
    waits_to_be_taken(path)
    program = in_thread(run)
    asker.join(10)
    assert read_program(path).state == "paused"
    if end == "removal":
        shutil.rmtree(path)
    else:
        shutdown_logging()
    program.join(10)
    assert not program.is_alive()
    shutdown_logging()


def test_all_threads_wait_where_their_tick_begins(controlled):
    begun = []

    def run(number):
        with tick(number):
            begun.append(number)

    in_thread(lambda: request(controlled, {"command": "pause"}, 30))
    waits_to_be_taken(controlled)
    threads = [in_thread(lambda number=number: run(number)) for number in range(3)]
    wait_for(lambda: read_program(controlled).state == "paused")
    time.sleep(0.1)
    assert not begun
    request(controlled, {"command": "resume"}, 30)
    for thread in threads:
        thread.join(10)
    assert sorted(begun) == [0, 1, 2]


@pytest.mark.process
def test_a_forked_child_is_not_controlled(controlled):
    child = os.fork()
    if child == 0:
        os._exit(installed.at_tick is not None)
    assert os.waitpid(child, 0)[1] == 0
    assert installed.at_tick is not None and read_program(controlled).state == "running"


def test_a_secret_is_neither_in_the_event_nor_in_the_answer(controlled):
    sheep = Sheep()
    with tick(0):
        sheep.eat()
    asked = {"command": "set", "agent_id": "dolly", "field": "key", "value": "sk-ant-api03-" + "t8Xw" * 20}
    answers = []
    asker = in_thread(lambda: answers.append(request(controlled, asked, 30)))
    waits_to_be_taken(controlled)
    with tick(1):
        sheep.eat()
    asker.join(10)
    assert answers[0]["event_id"] and sheep.key.endswith("t8Xw")
    written = [path.read_bytes() for path in controlled.rglob("*") if path.is_file()]
    assert not any(b"q7Zrq7Zr" in data or b"t8Xwt8Xw" in data for data in written)


def test_the_change_counts_neither_as_the_actions_nor_as_written_by_others(controlled):
    sheep = Sheep()
    with tick(0):
        sheep.eat()
    asked = {"command": "set", "agent_id": "dolly", "field": "weight", "value": 70}
    asker = in_thread(lambda: request(controlled, asked, 30))
    waits_to_be_taken(controlled)
    with tick(1):
        assert sheep.weight == 70
        sheep.eat()
    asker.join(10)
    lines = (controlled / "agents" / "dolly.log").read_text().splitlines()
    triggers = [line for line in lines if '"event_type":"state_change"' in line]
    assert len(triggers) == 1 and '"trigger":"intervention"' in triggers[0]
    assert '"set":{"weight":71}' in lines[-1] and current_session() is not None


def test_places_of_ticks_are_counted_anew_in_each_span():
    count = live_control.TickCount()
    assert [count.next(), count.next()] == [(1, 0), (2, 0)]
