"""What survives what: lines in the kernel, errors and whole sessions on the disk itself."""

import errno
import os
import time
from pathlib import Path

import pytest
from support.session_files import of_kind, only_session, session_events

import Agent
from Agent import AgentLogger, PerformanceLogger, setup_logging, shutdown_logging
from Agent.errors import ConfigurationError
from Agent.record.emit.pipeline import DurableErrors
from Agent.testing import FakeClock
from Agent.tree.files.session import read_claims
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import segment_writer
from Agent.utils import trace_agent_action


@pytest.fixture
def synced(monkeypatch, trace_root):
    """The names of the files below the trace root that were brought to the disk, in order."""
    found = []

    def sync(fd):
        try:
            path = Path(f"/proc/self/fd/{fd}").readlink()
        except FileNotFoundError:  # closed meanwhile, as by a thread of an earlier test
            return
        if path.is_relative_to(trace_root):  # what an earlier test left behind may write, too
            found.append(path.name)
        os.fdatasync(fd)

    monkeypatch.setattr(segment_writer, "_sync_data", sync)
    return found


def test_under_disk_every_line_is_on_the_disk_when_its_call_returns(trace_root, synced):
    session = setup_logging(durability="disk")
    logger = AgentLogger("a")
    for number in range(3):
        before = len(synced)
        logger.log_action("told", {"number": number})
        assert synced[before:] == ["a.log"]

    @trace_agent_action
    def act():
        return 1

    before = len(synced)
    act()
    assert len(synced) > before
    before = len(synced)
    logger.error("an error is one line, and one sync")
    assert [name for name in synced[before:] if name == "a.log"] == ["a.log"]  # the session's may come beside
    shutdown_logging()
    events = session_events(only_session(trace_root))
    assert {event["extra"]["durability"] for event in of_kind(events, "log.opened")} == {"disk"}
    assert {claim.durability for claim in read_claims(session.path).values()} == {"disk"}
    assert TreeReader(session.path).losses().clean


def test_under_kernel_only_errors_ask_for_the_disk(trace_root, synced):
    setup_logging()
    logger = AgentLogger("a")
    logger.info("told")
    logger.warning("told")
    PerformanceLogger().info("told")
    assert synced == []
    logger.error("failed")
    assert synced == ["a.log"]


def test_an_exception_in_an_action_is_on_the_disk(trace_root, synced):
    class Failing:
        agent_id = "f"

        @trace_agent_action
        def act(self):
            raise ValueError("x")

    setup_logging()
    with pytest.raises(ValueError, match="x"):
        Failing().act()
    assert synced == ["f.log"]


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_errors_can_be_left_to_the_kernel(trace_root, synced, way, monkeypatch):
    if way == "environment":
        monkeypatch.setenv("AGENT_TRACE_SYNC_ERRORS", "0")
        setup_logging()
    else:
        setup_logging(sync_errors=False)
    AgentLogger("a").error("failed")
    shutdown_logging()
    assert synced == []


def test_errors_in_quick_succession_share_a_sync(trace_root, monkeypatch):
    syncs = []

    def slow(fd):
        syncs.append(fd)
        time.sleep(0.01)

    monkeypatch.setattr(segment_writer, "_sync_data", slow)
    session = setup_logging()
    loggers = [AgentLogger(f"a{number}") for number in range(5)]
    for _ in range(10):
        for logger in loggers:
            logger.error("failed")
    assert 1 <= len(syncs) < 25
    before = len(syncs)
    shutdown_logging()
    # What still waited was brought to the disk at the end: each of the other files once.
    assert before < len(syncs) <= before + 5
    assert sum(event.level == "ERROR" for event in TreeReader(session.path).events()) == 50


class Stream:
    """A stream whose sync takes a second."""

    def __init__(self, clock):
        self.clock, self.syncs = clock, 0

    def sync(self):
        self.syncs += 1
        self.clock.advance(1)
        return True


def test_a_tenth_of_the_time_is_spent_on_the_disk_at_most():
    clock = FakeClock()
    errors, stream = DurableErrors(clock.monotonic_ns), Stream(clock)
    begun_ns = clock.now_ns
    for _ in range(1000):
        errors.ask(stream)
        clock.advance(0.1)
    passed_s = (clock.now_ns - begun_ns) / 1e9
    assert 0.08 * passed_s < stream.syncs <= 0.1 * passed_s + 1
    before = stream.syncs
    errors.finish()
    errors.finish()
    assert stream.syncs == before + 1
    errors.ask(stream)
    errors.forget()
    errors.finish()
    assert stream.syncs == before + 1


def test_streams_without_a_disk_are_left_alone():
    errors = DurableErrors(FakeClock().monotonic_ns)
    errors.ask(object())
    errors.finish()


def refuse(fd):
    raise OSError(errno.EIO, "the disk refused")


def test_a_disk_that_refuses_costs_no_error_under_kernel(trace_root, monkeypatch):
    session = setup_logging()
    logger = AgentLogger("a")
    monkeypatch.setattr(segment_writer, "_sync_data", refuse)
    assert logger.error("failed")
    assert Agent.health()["dropped"] == {}
    assert Agent.health()["writer"]["sync:EIO"] == 1
    # What follows a refusal goes to another segment: the kernel may have thrown away what it held of this one.
    assert logger.info("after")
    shutdown_logging()
    messages = [event.message for event in TreeReader(session.path).agent_events("a")]
    assert messages == ["failed", "after"]
    assert (session.path / "agents" / "a.1.log").exists()
    assert TreeReader(session.path).losses().clean


def test_a_disk_that_refuses_is_told_under_disk(trace_root, monkeypatch, capfd):
    setup_logging(durability="disk")
    logger = AgentLogger("a")
    logger.info("before")
    with monkeypatch.context() as broken:
        broken.setattr(segment_writer, "_sync_data", refuse)
        assert logger.info("refused") == ""
    assert Agent.health()["dropped"] == {"the file system refused the write": 1}
    assert logger.info("after")
    events = session_events(only_session(trace_root))
    (dropped,) = of_kind(events, "log.dropped")
    assert dropped["extra"]["count"] == 1
    assert "events are being lost" in capfd.readouterr().err


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("durability", ["kernel", "disk"])
def test_a_forked_child_has_the_same_durability(trace_root, durability):
    session = setup_logging(durability=durability)
    AgentLogger("a").error("parent")
    child = os.fork()
    if child == 0:
        try:
            AgentLogger("a").error("child")
            shutdown_logging()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    shutdown_logging()
    reader = TreeReader(session.path)
    events = list(reader.events())
    opened = [event.extra["durability"] for event in events if event.kind == "log.opened"]
    assert opened == [durability, durability]
    assert {event.message for event in reader.agent_events("a")} == {"parent", "child"}


def test_a_file_that_was_closed_meanwhile_is_counted_not_opened_again(trace_root, synced):
    setup_logging(max_open_files=4)
    first = AgentLogger("first")
    first.info("told")
    stream = first._own_binding.stream
    for number in range(20):
        AgentLogger(f"other{number}").info("told")
    assert stream.sync() is False
    assert Agent.health()["writer"]["sync_missed"] == 1
    assert synced == []


@pytest.mark.parametrize("durability", ["disc", "", None, 1, "queue", True])
def test_an_unknown_durability_is_refused(trace_root, durability):
    from Agent.config.options import Options, with_changes

    with pytest.raises(ConfigurationError, match="durability"):
        with_changes(Options(), {"durability": durability})
    if isinstance(durability, str) and durability:
        with pytest.raises(ConfigurationError, match="durability"):
            setup_logging(durability=durability)


def test_durability_comes_from_the_environment_too(trace_root, synced, monkeypatch):
    monkeypatch.setenv("AGENT_TRACE_DURABILITY", "disk")
    assert setup_logging().options.durability == "disk"
    AgentLogger("a").info("told")
    assert "a.log" in synced
