"""What the process uses, sampled."""

import gc
import mmap
import os
import time

import pytest
from record_kit import recording
from support.recording_threads import recording_threads

from Agent import ResourceSampler, setup_logging, shutdown_logging
from Agent.errors import ConfigurationError
from Agent.record.loggers import resources
from Agent.record.loggers.resources import usage


def sampler_threads():
    return recording_threads("agent-trace-resources")


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_sampler_stays():
    yield
    assert sampler_threads() == []
    assert resources._running == {}


def test_samples_are_taken_at_the_beginning_between_and_at_the_end(recorded):
    with ResourceSampler(interval_s=0.01) as sampler:
        assert len(recorded.of("resource")) >= 1 and sampler.is_running
        wait_for(lambda: len(recorded.of("resource")) >= 3)
        before = len(recorded.of("resource"))
    assert not sampler.is_running
    after = len(recorded.of("resource"))
    assert after > before
    assert sampler_threads() == [], "so none comes any more"


def test_a_sample_tells_memory_processor_and_open_files(recorded, tmp_path):
    with ResourceSampler(interval_s=60):
        # Fresh pages: memory that was freed before would be used again and not show.
        held = mmap.mmap(-1, 50_000_000)
        held[::4096] = b"x" * len(range(0, 50_000_000, 4096))
        files = [open(tmp_path / str(number), "w") for number in range(7)]  # noqa: SIM115 - they stay open
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
    for file in files:
        file.close()
    assert len(held) == 50_000_000
    held.close()
    first, last = (event["extra"] for event in recorded.of("resource"))
    assert "cpu_percent" not in first and 0 < last["cpu_percent"] < 1000
    assert last["memory_bytes"] - first["memory_bytes"] > 20_000_000
    assert last["open_files"] - first["open_files"] >= 5  # 7, unless others are closed meanwhile
    assert last["data"]["threads"] >= 1 and last["data"]["peak_memory_bytes"] >= last["memory_bytes"] // 2


def test_the_open_files_are_those_that_are_open():
    gc.collect()  # what it closes must not be closed below
    before = usage()["open_files"]
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    assert usage()["open_files"] == before + 3
    for fd in fds:
        os.close(fd)


def test_a_sampler_can_be_started_again_and_twice_is_once(recorded):
    sampler = ResourceSampler(interval_s=60)
    sampler.start()
    assert sampler.start() is sampler
    assert len(sampler_threads()) == 1
    sampler.stop()
    sampler.stop()
    sampler.start()
    sampler.stop()
    assert len(recorded.of("resource")) == 4


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_an_interval_that_cannot_be_is_refused(interval):
    with pytest.raises(ConfigurationError, match="interval_s"):
        ResourceSampler(interval_s=interval)


def test_a_level_hides_samples(recorded, level):
    level("performance", 30)
    with ResourceSampler(interval_s=60):
        pass
    assert recorded.events == []


def test_it_ends_with_the_recording_and_its_last_sample_is_in_the_record(tmp_path):
    from Agent.tree.read.reader import TreeReader

    session = setup_logging(trace_root=tmp_path)
    sampler = ResourceSampler(interval_s=60).start()
    shutdown_logging()
    assert not sampler.is_running and sampler_threads() == []
    reader = TreeReader(session.path)
    kinds = [event.kind for event in reader.events()]
    assert kinds.count("resource") == 2 and kinds[-1] == "log.closed"
    assert reader.losses().clean


def test_a_recording_that_is_closed_gets_no_more_samples():
    with recording() as found:
        sampler = ResourceSampler(interval_s=0.01).start()
        found.pipeline.closed = True
        wait_for(lambda: not sampler_threads())
        count = len(found.sink.lines)
        sampler.stop()
        assert len(found.sink.lines) == count
        assert found.health.dropped == {}


@pytest.mark.further
@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_no_sampler_until_it_starts_one(recorded):
    with ResourceSampler(interval_s=0.01) as sampler:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    before = len(recorded.sink.lines)
                    right = not sampler.is_running
                    sampler.stop()
                    right = right and len(recorded.sink.lines) == before
                    with sampler:
                        right = right and sampler.is_running
                    code = 0 if right and len(recorded.sink.lines) >= before + 2 else 2
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
