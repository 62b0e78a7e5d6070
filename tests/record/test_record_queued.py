"""Events that wait in a queue: what a call may leave to a thread, what it may not, and what a kill costs."""

from __future__ import annotations

import collections
import ctypes
import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from support.processes import run_python

from Agent import caused_by, health, setup_logging, shutdown_logging, tick
from Agent.analysis import LogAnalyzer
from Agent.errors import ConfigurationError
from Agent.event.background_threads import BackgroundThread, current
from Agent.record.emit.installed import active_pipeline, flush_active, install_pipeline
from Agent.record.emit.pipeline import Pipeline, RecordOptions
from Agent.record.encode.redaction import Redactor
from Agent.testing import MemorySink
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.queued import QueuedSink
from Agent.utils import AgentLogger, SystemLogger, trace_agent_action

SIZE = 8


class Gate:
    """A sink in memory whose streams wait at a gate, as a slow disk does."""

    def __init__(self):
        self.memory = MemorySink()
        self.open = threading.Event()
        self.open.set()
        self.writer, self.next_seq = self.memory.writer, self.memory.next_seq
        self.threads = set()
        self.flushes = 0

    def open_stream(self, agent_id, category):
        gate = self

        class Stream:
            def write(self, line):
                thread = current() or threading.current_thread()
                gate.threads.add(thread.name)
                assert gate.open.wait(20)
                return gate.memory.open_stream(None, "").write(line)

        return Stream()

    def flush(self):
        self.flushes += 1

    def close(self, *, clean=True):
        self.clean = clean


class Recording:
    def __init__(self, size=SIZE, when_full="block"):
        self.gate = Gate()
        self.queue = QueuedSink(self.gate, size=size, when_full=when_full, gather_s=0.001)
        options = RecordOptions(sync_errors=False)
        self.pipeline = Pipeline(self.queue, session_id="s", redactor=Redactor(b"key"), options=options)
        self.queue.on_refused(self.pipeline.health.take_back)

    @property
    def health(self):
        return self.pipeline.health

    @property
    def numbers(self):
        return [event.extra["n"] for event in self.gate.memory.events if "n" in event.extra]

    def log(self, *numbers, logger=None):
        return [(logger or AgentLogger("a")).info("m", {"n": number}) for number in numbers]

    def stall(self):
        """Let the thread stand in the midst of a write, with nothing else waiting."""
        flush_active()
        self.gate.open.clear()
        self.log(-1)
        self.until(lambda: self.queue.in_hand == 1)

    def until(self, condition):
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def make():
    made = []
    before = active_pipeline()

    def make_recording(*args, **kwargs):
        recording = Recording(*args, **kwargs)
        made.append(recording)
        install_pipeline(recording.pipeline)
        return recording

    yield make_recording
    install_pipeline(before)
    for recording in made:
        recording.gate.open.set()
        recording.queue.write_through()


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# What is taken, and in which order it is written.


def test_a_call_returns_before_its_line_is_written_and_another_thread_writes_it(make):
    found = make()
    found.gate.open.clear()
    (event_id,) = found.log(1)
    assert event_id == "aaaaaaaa-1" and found.numbers == [] and len(found.queue) == 1
    found.gate.open.set()
    flush_active()
    assert found.numbers == [1] and len(found.queue) == 0
    assert found.gate.threads == {"agent-trace-queue"}


def test_lines_are_written_in_the_order_of_their_calls_without_a_flush(make):
    found = make(size=10_000)
    ids = found.log(*range(500))
    found.until(lambda: len(found.numbers) == 500)
    assert [event.id for event in found.gate.memory.events] == ids


def test_a_thread_that_went_to_rest_wakes_for_the_next_line(make):
    found = make()
    for number in range(3):
        found.log(number)
        found.until(lambda number=number: found.numbers == list(range(number + 1)) and found.queue.idle)


def test_threads_lose_and_double_nothing(make):
    found = make(size=20)
    workers = [
        in_thread(lambda first=first: found.log(*range(first, first + 300), logger=AgentLogger(str(first))))
        for first in (0, 1000, 2000, 3000)
    ]
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
    flush_active()
    wanted = [first + step for first, step in itertools.product((0, 1000, 2000, 3000), range(300))]
    assert sorted(found.numbers) == wanted
    for first in (0, 1000, 2000, 3000):
        own = [number for number in found.numbers if first <= number < first + 300]
        assert own == sorted(own)


# A full queue.


def test_a_full_queue_makes_the_caller_wait_until_there_is_room(make):
    found = make()
    found.stall()
    returned = []
    caller = in_thread(lambda: returned.extend(found.log(*range(SIZE))))
    found.until(lambda: len(found.queue) == SIZE + 1)
    caller.join(0.2)
    assert caller.is_alive() and returned == []
    found.gate.open.set()
    caller.join(10)
    assert len(returned) == SIZE
    flush_active()
    assert found.numbers == [-1, *range(SIZE)]


def test_no_more_lines_wait_than_may_when_a_call_has_returned(make):
    found = make(size=3)
    most = 0
    for number in range(200):
        found.log(number)
        most = max(most, len(found.queue))
    assert 0 < most <= 3


def test_a_full_queue_that_drops_counts_and_reports_what_it_dropped(make):
    found = make(when_full="drop_new")
    found.stall()
    ids = found.log(*range(20))
    assert all(ids[: SIZE - 1]) and not any(ids[SIZE - 1 :])
    dropped = 20 - (SIZE - 1)
    assert found.health.dropped == {"queue_full": dropped}
    found.gate.open.set()
    flush_active()
    (after,) = found.log(100)
    flush_active()
    assert found.numbers == [-1, *range(SIZE - 1), 100]
    (report,) = [event for event in found.gate.memory.events if event.kind == "log.dropped"]
    assert (report.extra["count"], report.extra["reason"]) == (dropped, "queue_full")
    # a dropped event took no number: nothing is missing between those that were written
    assert [event.seq for event in found.gate.memory.events] == list(range(1, SIZE + 3))
    assert after == f"aaaaaaaa-{SIZE + 1}"


def test_a_report_for_which_there_is_no_room_is_not_counted_as_another_loss(make):
    found = make(when_full="drop_new")
    found.stall()
    found.log(*range(SIZE))
    assert found.health.dropped == {"queue_full": 1}
    found.pipeline._report_drops()
    assert found.health.dropped == {"queue_full": 1} == found.health.unreported


def test_an_error_is_taken_though_the_queue_is_full(make):
    found = make(when_full="drop_new")
    found.stall()
    found.log(*range(SIZE))
    ids = []
    caller = in_thread(lambda: ids.append(AgentLogger("a").error("broken", {"n": 99})))
    found.until(lambda: len(found.queue) > SIZE)
    assert ids == []
    found.gate.open.set()
    caller.join(10)
    assert ids == [f"aaaaaaaa-{SIZE + 1}"] and 99 in found.numbers


def test_a_traced_call_that_finds_no_room_is_dropped_and_counted_too(make):
    found = make(when_full="drop_new")

    class Agent:
        agent_id = "a"

        @trace_agent_action
        def act(self):
            return 1

    agent = Agent()
    agent.act()
    found.stall()
    found.log(*range(SIZE - 1))
    assert agent.act() == 1
    assert found.health.dropped == {"queue_full": 1} and not found.health.notes


# Errors, flushing, reading.


def test_an_error_is_written_when_its_call_returns_with_everything_before_it(make):
    found = make()
    found.log(1, 2)
    AgentLogger("a").error("broken", {"n": 3})
    assert found.numbers == [1, 2, 3]


def test_a_refused_line_is_counted_and_told_when_writing_works_again(make):
    found = make()
    found.gate.open.clear()
    found.gate.memory.is_failing = True
    found.log(1, 2, 3)
    found.gate.open.set()
    flush_active()
    assert found.health.dropped == {"the file system refused the write": 3}
    assert found.health.events == 0
    found.gate.memory.is_failing = False
    found.log(4)
    flush_active()
    (report,) = [event for event in found.gate.memory.events if event.kind == "log.dropped"]
    assert report.extra["count"] == 3


def test_reading_in_the_same_process_sees_what_waits(trace_root):
    setup_logging(durability="queued")
    for number in range(50):
        AgentLogger("a").log_action("act", {"n": number})
    assert len(LogAnalyzer().trace_agent_journey("a")) == 50


def test_the_end_writes_what_waits_and_loses_nothing(trace_root):
    session = setup_logging(durability="queued", queue_size=100_000)
    for number in range(2000):
        AgentLogger(f"agent_{number % 7}").log_action("act", {"n": number})
    shutdown_logging()
    losses = TreeReader(session.path).losses()
    (writer,) = [writer for writer in losses.writers if writer.durability == "queued"]
    assert losses.clean and writer.closed and writer.read == 2002
    events = [event for event in TreeReader(session.path).events() if event.kind == "agent_action"]
    assert sorted(event.extra["action_data"]["n"] for event in events) == list(range(2000))


def test_small_segments_roll_and_lose_nothing(trace_root):
    session = setup_logging(durability="queued", segment_size_bytes=4096, queue_size=500)
    for number in range(1000):
        AgentLogger("a").log_action("act", {"n": number})
    shutdown_logging()
    files = list((session.path / "agents").iterdir())
    assert len(files) > 20 and all(file.stat().st_size <= 4096 for file in files)
    events = [event for event in TreeReader(session.path).events() if event.kind == "agent_action"]
    assert [event.extra["action_data"]["n"] for event in events] == list(range(1000))
    assert TreeReader(session.path).losses().clean


def test_health_tells_how_many_wait(trace_root):
    setup_logging(durability="queued")
    AgentLogger("a").info("m")
    assert 0 <= health()["queued"] <= 2
    flush_active()
    assert health()["queued"] == 0


@pytest.mark.parametrize("options", [{"queue_size": 0}, {"queue_full": "wait"}, {"queue_full": "drop_old"}])
def test_a_queue_that_cannot_be_is_refused(trace_root, options):
    with pytest.raises(ConfigurationError):
        setup_logging(durability="queued", **options)


# A thread that is gone.


def end_thread(found):
    """Let the thread die as if it had been killed, and wait for that."""
    thread = found.queue._thread
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    found.queue._wake_thread()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_followed_by_another(make):
    found = make()
    found.log(1)
    flush_active()
    end_thread(found)
    found.log(2)
    found.until(lambda: found.numbers == [1, 2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_thread_had_in_hand_when_it_died_is_written_once(make):
    found = make()
    found.gate.open.clear()
    found.log(1, 2, 3)
    found.until(lambda: found.gate.threads)
    thread = found.queue._thread
    kill = ctypes.pythonapi.PyThreadState_SetAsyncExc
    kill(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    found.gate.open.set()
    thread.join(10)
    assert not thread.is_alive()
    found.log(4)
    flush_active()
    assert found.numbers == [1, 2, 3, 4]


def test_callers_write_themselves_where_no_thread_can_begin(make, monkeypatch):
    found = make()

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(BackgroundThread, "start", refuse)
    found.log(*range(3 * SIZE))
    assert found.numbers == list(range(3 * SIZE))
    assert found.gate.threads == {"MainThread"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_ever_for_a_thread_that_died_unnoticed(make):
    found = make()
    found.log(0)
    flush_active()
    end_thread(found)
    found.queue.idle = False  # as if it had died in the midst of its work
    found.log(*range(1, SIZE + 3))
    flush_active()
    assert found.numbers == list(range(SIZE + 3))


def test_a_report_that_is_refused_itself_is_made_again(make):
    found = make()
    found.health.drop("a reason", 5)
    found.gate.memory.is_failing = True
    found.log(1)
    flush_active()
    # The event and the report; a thread that is quick refuses the event before the report is made, which has two.
    refused = found.health.unreported["the file system refused the write"]
    assert refused in {2, 3}
    assert found.health.unreported == {"a reason": 5, "the file system refused the write": refused}
    found.gate.memory.is_failing = False
    found.pipeline._next_report_ns = 0
    found.log(2)
    flush_active()
    reports = collections.Counter()
    for event in found.gate.memory.events:
        if event.kind == "log.dropped":
            reports[event.extra["reason"]] += event.extra["count"]
    assert reports == {"a reason": 5, "the file system refused the write": refused}


# Signals, forks, interrupts.


@pytest.mark.integration
def test_a_signal_handler_that_logs_neither_blocks_nor_loses(make):
    found = make(size=4)
    handled = itertools.count()

    def handle(*_):
        at = next(handled)
        found.log(100_000 + at)
        if at % 5 == 0:
            AgentLogger("h").error("e", {"n": -at})
        # once more when this one is done: handlers that nest without end are another matter
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        end = time.monotonic() + 1.5
        count = 0
        while time.monotonic() < end:
            found.log(count)
            count += 1
            if count % 50 == 0:
                flush_active()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    flush_active()
    signals = next(handled)
    assert signals > 10
    wanted = [*range(count), *range(100_000, 100_000 + signals), *(-at for at in range(0, signals, 5))]
    assert sorted(found.numbers) == sorted(wanted)
    assert found.health.dropped == {}


def test_an_interrupt_while_a_call_waits_for_room_loses_and_doubles_nothing(make):
    found = make()
    found.stall()
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            found.log(*range(SIZE + 5))
    finally:
        signal.signal(signal.SIGALRM, before)
    found.gate.open.set()
    flush_active()
    assert found.numbers == [-1, *range(SIZE)]


FORK = """
import os, sys, threading
from Agent import setup_logging, shutdown_logging
from Agent.utils import AgentLogger

session = setup_logging(trace_root=sys.argv[1], durability="queued", queue_size=50)
logger = AgentLogger("parent")
stop = threading.Event()

def busy():
    number = 0
    while not stop.is_set():
        AgentLogger("thread").info("m", {"n": number})
        number += 1

thread = threading.Thread(target=busy)
thread.start()
children = []
for child in range(5):
    for number in range(40):
        logger.info("m", {"n": child * 40 + number})
    pid = os.fork()
    if pid == 0:
        own = AgentLogger(f"child_{child}")
        for number in range(60):
            own.info("m", {"n": number})
        shutdown_logging()
        os._exit(0)
    children.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
stop.set()
thread.join()
shutdown_logging()
print(session.path)
"""


@pytest.mark.integration
def test_a_forked_child_begins_with_an_empty_queue_and_each_line_is_written_once(tmp_path):
    done = run_python("-c", FORK, str(tmp_path / "trace"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    reader = TreeReader(Path(done.stdout.strip()))
    numbers: dict[str, list[int]] = {}
    for event in reader.events():
        if "n" in event.extra:
            numbers.setdefault(event.extra["agent_id"], []).append(event.extra["n"])
    assert numbers.pop("parent") == list(range(200))
    assert {name: got for name, got in numbers.items() if name != "thread"} == {
        f"child_{child}": list(range(60)) for child in range(5)
    }
    assert numbers["thread"] == list(range(len(numbers["thread"])))
    assert reader.losses().clean


# What a kill costs.

KILLED = """
import os, signal, sys, threading
from Agent import setup_logging
from Agent.utils import AgentLogger

session = setup_logging(trace_root=sys.argv[1], durability="queued", queue_size=int(sys.argv[2]))
taken = []

def work(number):
    logger = AgentLogger(f"agent_{number}")
    for step in range(4000):
        taken.append(logger.info("m", {"n": step}))
    if number == 0:
        error_id = logger.error("broken")
        taken.extend(logger.info("m") for _ in range(5))
        sys.stdout.write(f"{session.path}\\n{len(taken)}\\n{error_id}\\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

for number in range(1, int(sys.argv[3])):
    threading.Thread(target=work, args=(number,), daemon=True).start()
work(0)
"""


@pytest.mark.integration
@pytest.mark.parametrize(("size", "threads"), [(10_000, 1), (100, 1), (1000, 4)])
def test_a_kill_costs_no_more_than_the_queue_and_losses_say_so(tmp_path, size, threads):
    done = run_python("-c", KILLED, str(tmp_path / "trace"), str(size), str(threads), cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    path, taken, error_id = done.stdout.split()
    reader = TreeReader(Path(path))
    ids = [event.id for event in reader.events()]
    losses = reader.losses()
    assert error_id in ids
    assert len(ids) == len(set(ids))
    assert len(ids) >= int(taken) - size
    assert losses.clean and losses.total_unknown == losses.total_lost == 0
    (writer,) = losses.writers
    assert (writer.durability, writer.closed) == ("queued", False)
    assert writer.read + writer.unacknowledged == writer.last_seq >= int(taken)
    # calls of other threads that had not returned may be above the bound
    assert writer.unacknowledged <= size + threads


@pytest.mark.process
def test_a_number_missing_in_the_midst_of_what_a_killed_writer_wrote_is_not_excused(tmp_path):
    done = run_python("-c", KILLED, str(tmp_path / "trace"), "100", "1", cwd=tmp_path)
    path = Path(done.stdout.split()[0])
    file = path / "agents" / "agent_0.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:100] + lines[110:]))
    losses = TreeReader(path).losses()
    assert losses.total_unknown == 10 and not losses.clean


# A torn batch.


def test_a_batch_that_is_written_in_part_is_finished_and_nothing_stands_twice(trace_root, monkeypatch):
    from Agent.tree.write import writer

    real, torn = os.write, []

    def tear(fd, data):
        if len(data) > 500 and len(torn) < 5:
            torn.append(len(data))
            return real(fd, data[: len(data) * 2 // 3])
        return real(fd, data)

    monkeypatch.setattr(writer, "_write", tear)
    session = setup_logging(durability="queued", mirrors=False)
    for _ in range(6):
        for number in range(100):
            AgentLogger("a").info("m", {"n": number})
        flush_active()
    shutdown_logging()
    assert len(torn) == 5
    reader = TreeReader(session.path)
    numbers = [event.extra["n"] for event in reader.events() if "n" in event.extra]
    assert numbers == [*range(100)] * 6
    losses = reader.losses()
    assert losses.clean and 1 <= losses.damaged_lines <= 5


def test_a_full_disk_costs_what_it_refused_and_is_told(trace_root, monkeypatch):
    from Agent.tree.write import segment_writer, writer

    real = os.write
    full = threading.Event()

    def write(fd, data):
        if full.is_set():
            raise OSError(28, "No space left on device")
        return real(fd, data)

    for module in (segment_writer, writer):
        monkeypatch.setattr(module, "_write", write)
    session = setup_logging(durability="queued", mirrors=False)
    logger = AgentLogger("a")
    logger.info("m", extra={"n": 0})
    flush_active()
    full.set()
    for number in range(1, 31):
        logger.info("m", extra={"n": number})
    flush_active()
    # a report of the first refusals may have come among them, and was refused as well
    refused = health()["dropped"]["the file system refused the write"]
    assert refused in {30, 31}
    full.clear()
    logger.info("m", extra={"n": 31})
    shutdown_logging()
    events = list(TreeReader(session.path).events())
    assert [event.extra["n"] for event in events if "n" in event.extra] == [0, 31]
    assert sum(event.extra["count"] for event in events if event.kind == "log.dropped") == refused
    assert TreeReader(session.path).losses().total_lost == refused


def test_what_surrounds_a_call_is_that_of_the_call(make):
    found = make()
    found.gate.open.clear()
    cause = found.log(0)[0]
    with tick(7), caused_by(cause):
        found.log(1)
    SystemLogger().log_phase("after")
    found.gate.open.set()
    flush_active()
    lines = [json.loads(line) for line in found.gate.memory.lines]
    assert (lines[1]["tick"], lines[1]["causes"]) == (7, [cause])
    assert "tick" not in lines[2]
