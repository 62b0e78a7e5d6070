"""Performance metrics wait in memory for a while, in a durability stream of their own."""

import itertools
import time

import pytest

from Agent.record.emit.installed import flush_active, install_pipeline
from Agent.record.emit.pipeline import Pipeline, RecordOptions
from Agent.record.encode.redaction import Redactor
from Agent.testing import FakeClock, MemorySink
from Agent.utils import AgentLogger, PerformanceLogger, measure_performance, trace_performance


class Recording:
    def __init__(self, entries=5, seconds=10.0):
        self.clock = FakeClock()
        self.plain = MemorySink("aaaaaaaa")
        self.held = MemorySink("bbbbbbbb")
        self.opened = 0
        self.pipeline = Pipeline(
            self.plain,
            session_id="s",
            redactor=Redactor(b"key"),
            options=RecordOptions(buffer_entries=entries, buffer_seconds=seconds),
            open_buffered=self.open,
            clock=self.clock,
        )

    def open(self):
        self.opened += 1
        return self.held

    @property
    def metrics(self):
        return [event for event in self.held.events if event.kind == "metric"]


@pytest.fixture
def buffered():
    made = Recording()
    before = install_pipeline(made.pipeline)
    yield made
    install_pipeline(before)


def test_metrics_are_held_back_until_there_are_enough(buffered):
    logger = PerformanceLogger()
    ids = [logger.log_metric("m", float(number)) for number in range(4)]
    assert buffered.metrics == []
    assert len(buffered.pipeline.buffer) == 4
    ids.append(logger.log_metric("m", 4.0))
    assert [event.id for event in buffered.metrics] == ids
    assert len(buffered.pipeline.buffer) == 0


def test_they_belong_to_a_writer_of_their_own(buffered):
    PerformanceLogger("a").log_metric("m", 1.0)
    AgentLogger("a").info("m")
    flush_active()
    assert buffered.opened == 1
    assert [event.writer for event in buffered.plain.events] == ["aaaaaaaa"]
    assert [(event.kind, event.id) for event in buffered.held.events] == [
        ("log.opened", "bbbbbbbb-1"),
        ("metric", "bbbbbbbb-2"),
    ]
    assert buffered.held.events[0].extra["durability"] == "buffered"


def test_no_stream_is_opened_for_metrics_that_never_come(buffered):
    AgentLogger("a").info("m")
    flush_active()
    assert buffered.opened == 0


def test_old_ones_go_with_the_next(buffered):
    logger = PerformanceLogger()
    logger.log_metric("m", 1.0)
    buffered.clock.advance(11)
    logger.log_metric("m", 2.0)
    assert len(buffered.metrics) == 2


def test_old_ones_go_without_another():
    made = Recording(seconds=0.05)
    before = install_pipeline(made.pipeline)
    try:
        for _ in range(2):
            PerformanceLogger().log_metric("m", 1.0)
            end = time.monotonic() + 5
            while len(made.pipeline.buffer) and time.monotonic() < end:
                time.sleep(0.01)
            assert len(made.pipeline.buffer) == 0
    finally:
        install_pipeline(before)
    assert len(made.metrics) == 2


def test_an_error_brings_them_to_the_files(buffered):
    PerformanceLogger().log_metric("m", 1.0)
    AgentLogger("a").warning("not yet")
    assert buffered.metrics == []
    AgentLogger("a").error("now")
    assert len(buffered.metrics) == 1


def test_they_can_be_flushed(buffered):
    logger = PerformanceLogger()
    for flush in (logger.flush, flush_active, buffered.pipeline.flush):
        logger.log_metric("m", 1.0)
        assert len(buffered.pipeline.buffer) == 1
        flush()
        assert len(buffered.pipeline.buffer) == 0
    assert len(buffered.metrics) == 3


def test_the_end_writes_them_and_closes_both_streams(buffered):
    PerformanceLogger().log_metric("m", 1.0)
    buffered.pipeline.close()
    assert [event.kind for event in buffered.held.events] == ["log.opened", "metric", "log.closed"]
    assert buffered.held.events[-1].extra["last_seq"] == 3
    assert buffered.plain.events[-1].kind == "log.closed"
    buffered.pipeline.close()
    assert len(buffered.held.events) == 3


def test_decorators_and_blocks_are_buffered_too(buffered):
    @trace_performance
    def act():
        with measure_performance("block"):
            return 1

    act()
    assert len(buffered.pipeline.buffer) == 2
    flush_active()
    block, call = buffered.metrics
    assert block.parent_span_id == call.span_id


def test_a_child_forgets_what_the_parent_holds(buffered):
    PerformanceLogger().log_metric("m", 1.0)
    buffered.pipeline.after_fork_in_child(None)
    buffered.held = MemorySink("cccccccc")
    PerformanceLogger().log_metric("m", 2.0)
    flush_active()
    assert [event.extra["value"] for event in buffered.metrics] == [2.0]
    assert buffered.opened == 2


def test_refused_ones_are_counted(buffered):
    logger = PerformanceLogger()
    logger.log_metric("m", 1.0)
    buffered.held.is_failing = True
    flush_active()
    assert buffered.pipeline.health.dropped["the file system refused the write"] == 1
    buffered.held.is_failing = False
    AgentLogger("a").info("m")
    assert any(event.kind == "log.dropped" for event in buffered.plain.events)


def test_a_buffer_of_none_writes_each_at_once():
    sink = MemorySink()
    pipeline = Pipeline(sink, session_id="s", redactor=Redactor(b"key"))
    before = install_pipeline(pipeline)
    try:
        PerformanceLogger().log_metric("m", 1.0)
        assert len(sink.events) == 1
    finally:
        install_pipeline(before)


def test_threads_lose_and_double_nothing():
    import threading

    made = Recording(entries=7)
    before = install_pipeline(made.pipeline)
    try:

        def work(number):
            for step in range(200):
                PerformanceLogger().log_metric("m", float(number * 1000 + step))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        flush_active()
    finally:
        install_pipeline(before)
    values = sorted(event.extra["value"] for event in made.metrics)
    assert values == sorted(float(n * 1000 + step) for n, step in itertools.product(range(4), range(200)))
    assert made.opened == 1
    assert len({event.id for event in made.held.events}) == 801
