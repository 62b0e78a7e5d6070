"""Recording into a real tree: setting up, levels, mirrors, secrets, files, trouble, and the end."""

import os
import stat
import sys
import threading
import time

import pytest
from support.processes import run_python
from support.session_files import (
    kind_of,
    of_kind,
    only_session,
    record_files,
    session_directories,
    session_events,
)

import Agent
from Agent import (
    AgentLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
)
from Agent.config.recording import current_session
from Agent.errors import ConfigurationError
from Agent.event.codec import validate_event
from Agent.testing import record_in_memory
from Agent.tree.files.session import open_session
from Agent.tree.read.reader import TreeReader
from Agent.utils import trace_agent_action, trace_context


def messages(root):
    return [event["message"] for event in session_events(only_session(root)) if kind_of(event) == "log"]


def test_the_first_event_sets_up_what_nobody_set_up(trace_root, capfd):
    logger = AgentLogger("a")
    assert not trace_root.exists()
    identity = logger.info("first")
    assert [event["id"] for event in of_kind(session_events(only_session(trace_root)), "log")] == [identity]
    assert Agent.health()["recording"] is True
    assert capfd.readouterr() == ("", "")


def test_a_session_begins_and_ends_in_the_record(trace_root):
    session = setup_logging()
    AgentLogger("a").info("m")
    PerformanceLogger("a").log_metric("m", 1.0)
    shutdown_logging()
    events = session_events(session.path)
    assert all(validate_event(event) == [] for event in events)
    assert {event["session_id"] for event in events} == {session.session_id}
    opened, closed = of_kind(events, "log.opened"), of_kind(events, "log.closed")
    assert {event["extra"]["durability"] for event in opened} == {"kernel", "buffered"}
    assert len(closed) == 2
    for event in closed:
        writer, _, seq = event["id"].rpartition("-")
        assert (event["extra"]["writer"], event["extra"]["last_seq"]) == (writer, int(seq))
    assert TreeReader(session.path).losses().clean
    info = open_session(session.path)
    assert info.ended_at and info.pid == os.getpid() and info.configuration["level"] == "DEBUG"
    assert (session.path / "trace_summary.json").exists()
    assert list((session.path / ".state").rglob("*.board")) == []
    assert "AGENT_TRACE_SESSION" not in os.environ
    assert Agent.health()["recording"] is False


def test_files_are_for_the_user_alone(trace_root):
    os.umask(os.umask(0o000))
    AgentLogger("a").error("m")
    LearningLogger("rl").log_reward("x", 1.0)
    SystemLogger().info("m")
    shutdown_logging()
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [trace_root, *trace_root.rglob("*")]}
    assert len(modes) > 10
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_setting_up_twice_is_one_session(trace_root):
    first = setup_logging()
    assert setup_logging() == first
    assert setup_logging(trace_root=trace_root) == first
    AgentLogger("a").info("m")
    assert setup_logging().path == first.path
    assert len(session_directories(trace_root)) == 1


def test_levels_can_be_changed_while_a_session_runs(trace_root):
    first = setup_logging(mirrors=False)
    second = setup_logging(level="WARNING")
    assert second.path == first.path
    assert second.options.level == "WARNING" and second.options.mirrors is False
    logger = AgentLogger("a")
    logger.info("hidden")
    logger.warning("shown")
    setup_logging(levels={"agents": "ERROR"})
    logger.warning("hidden again")
    setup_logging({"loggers": {"agent": {"level": "DEBUG"}}}, level="DEBUG")
    logger.debug("all")
    assert messages(trace_root) == ["shown", "all"]


def test_any_other_change_begins_another_session(trace_root, tmp_path):
    first = setup_logging()
    AgentLogger("a").info("one")
    second = setup_logging(trace_root=tmp_path / "other", level="INFO")
    AgentLogger("a").info("two")
    third = setup_logging(buffer_entries=0)
    assert third.root == second.root == tmp_path / "other"
    assert third.options.level == "INFO"
    assert len({first.path, second.path, third.path}) == 3
    shutdown_logging()
    assert messages(trace_root) == ["one"]
    assert all(open_session(session.path).ended_at for session in (first, second, third))


@pytest.mark.parametrize("named", ["by default", "by the environment", "by an argument"])
def test_a_session_stays_where_it_began_when_the_program_changes_its_directory(named, tmp_path, monkeypatch):
    begun, elsewhere = tmp_path / "begun", tmp_path / "elsewhere"
    begun.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(begun)
    if named == "by the environment":
        monkeypatch.setenv("AGENT_TRACE_ROOT", "trace")
    else:
        monkeypatch.delenv("AGENT_TRACE_ROOT")
    options = {"trace_root": "trace"} if named == "by an argument" else {}
    first = setup_logging(**options)
    assert setup_logging(**options) == first
    AgentLogger("a").info("before")
    os.chdir(elsewhere)
    AgentLogger("b").error("a file of its own")
    time.sleep(0.01)  # longer than between two looks at the directory
    AgentLogger("a").info("after")
    assert setup_logging().path == first.path
    shutdown_logging()
    assert messages(begun / "trace") == ["before", "a file of its own", "after"]
    assert TreeReader(first.path).losses().clean and open_session(first.path).ended_at
    assert list(elsewhere.iterdir()) == []


def test_a_relative_root_in_a_removed_directory_is_named(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        setup_logging(trace_root="trace")


@pytest.mark.parametrize(
    ("source", "hidden", "shown"),
    [
        ("agent", lambda: AgentLogger("a").log_action("x"), lambda: AgentLogger("a").error("x")),
        (
            "learning",
            lambda: LearningLogger("rl", "a").log_reward("x", 1),
            lambda: LearningLogger().error("x"),
        ),
        (
            "interaction",
            lambda: Agent.InteractionLogger().info("x"),
            lambda: Agent.InteractionLogger().error("x"),
        ),
        (
            "performance",
            lambda: PerformanceLogger().log_metric("x", 1),
            lambda: PerformanceLogger().error("x"),
        ),
        ("system", lambda: SystemLogger().log_init(), lambda: SystemLogger().error("x")),
        ("event", lambda: SystemLogger().log_milestone("x"), lambda: SystemLogger().log_init()),
    ],
)
def test_a_level_of_a_logger_filters_that_logger_alone(source, hidden, shown):
    setup_logging({"version": 1, "loggers": {source: {"level": "WARNING"}}})
    assert hidden() == ""
    assert shown() != ""
    others = [AgentLogger("o").info, LearningLogger().info, PerformanceLogger().info, SystemLogger().info]
    names = ["agent", "learning", "performance", "system"]
    assert all(log("m") for name, log in zip(names, others, strict=True) if name != source)


def test_a_level_of_errors_filters_errors():
    setup_logging({"version": 1, "loggers": {"error": {"level": "CRITICAL"}}})

    @trace_agent_action
    def fail():
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    events = session_events(current_session().path)
    assert of_kind(events, "error") == []
    assert of_kind(events, "agent_action")[0]["extra"]["outcome"] == "error"


def test_off_records_nothing(trace_root):
    setup_logging(level="OFF")
    AgentLogger("a").critical("m")
    trace_agent_action(lambda: 1)()
    with trace_context(AgentLogger("a"), "c"):
        pass
    shutdown_logging()
    assert {kind_of(event) for event in session_events(only_session(trace_root))} == {
        "log.opened",
        "log.closed",
    }


def test_sizes_of_a_configuration_reach_the_mirrors(trace_root):
    setup_logging({"handlers": {"agent_file": {"maxBytes": 20_000, "backupCount": 2}}})
    logger = AgentLogger("a")
    for _ in range(6):
        for _ in range(64):
            logger.info("m", extra={"k": "y" * 100})
        Agent.record.emit.installed.flush_active()
    shutdown_logging()
    names = sorted(path.name for path in (trace_root / "agents").iterdir() if not path.name.startswith("."))
    assert names == ["agents.log", "agents.log.1", "agents.log.2"]
    assert all((trace_root / "agents" / name).stat().st_size <= 22_000 for name in names)


def test_mirrors_hold_what_people_look_for(trace_root):
    AgentLogger("a").error("went wrong")
    LearningLogger("rl", "a").log_reward("x", 1.0)
    SystemLogger().log_milestone("m")
    SystemLogger().info("framework")
    PerformanceLogger().log_metric("m", 1.0)
    Agent.InteractionLogger().log_interaction("like")
    shutdown_logging()
    for path, text in {
        "agents/agents.log": "went wrong", "errors/errors.jsonl": "went wrong", "errors/errors.log": "went wrong",
        "learning/learning.log": "reward", "events/events.log": "milestone", "system/system.jsonl": "framework",
        "system/system.log": "framework", "performance/performance.log": "metric",
        "interactions/interactions.log": "like",
    }.items():  # fmt: skip
        assert text in (trace_root / path).read_text(), path


def test_mirrors_can_be_switched_off(trace_root):
    setup_logging(mirrors=False)
    AgentLogger("a").error("m")
    shutdown_logging()
    assert [path.name for path in trace_root.iterdir() if path.is_dir()] == [only_session(trace_root).name]


def test_nothing_is_printed_unless_asked_for(capfd):
    AgentLogger("a").critical("m")
    trace_agent_action(lambda: 1)()
    shutdown_logging()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mirrors", [True, False])
def test_the_console_shows_one_line_an_event(capsys, mirrors):
    setup_logging(console=True, mirrors=mirrors)
    AgentLogger("a").info("two\nlines and \x1b[31mcolour")
    AgentLogger("a").error("once")
    SystemLogger().info("system")
    LearningLogger().log_reward("x", 1.0)
    shutdown_logging()
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 4
    assert lines[0].endswith("a: two\\nlines and \\x1b[31mcolour") and "INFO" in lines[0]
    assert "once" in lines[1] and "system" in lines[2]


def test_a_console_that_is_gone_costs_no_event(trace_root, monkeypatch):
    setup_logging(console=True)
    for stream in (None, open(os.devnull)):  # noqa: SIM115 - one that cannot be written
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        assert AgentLogger("a").error("m")
    assert Agent.health()["dropped"] == {}


SECRET = "ghp_" + "q8Wz" * 9


def test_no_secret_reaches_any_file(trace_root, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--token", SECRET, f"--api-key={SECRET}", SECRET])
    setup_logging(state="strict")

    class Agent_:
        def __init__(self):
            self.agent_id = "a"
            self.key = SECRET

        @trace_agent_action
        def act(self, given):
            with trace_context(AgentLogger("a"), f"open {SECRET}", note=SECRET):
                for path in trace_root.rglob("*"):
                    assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
                raise ValueError(SECRET)

    agent = Agent_()
    with pytest.raises(ValueError, match="ghp_"):
        agent.act(SECRET)
    AgentLogger("a").error(f"message {SECRET}", extra={SECRET: SECRET})
    SystemLogger().critical(SECRET)
    shutdown_logging()
    for path in trace_root.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_health_tells_what_was_done(trace_root):
    AgentLogger("a").info("m", extra={"password": "x"})
    PerformanceLogger().log_metric("m", 1.0)
    health = Agent.health()
    assert health["events"] == 1 and health["buffered"] == 1 and health["redacted"] == 1
    assert health["dropped"] == health["notes"] == health["writer"] == health["mirrors"] == {}
    assert health["path"] == str(only_session(trace_root))


def test_after_the_end_a_new_event_begins_a_new_session(trace_root):
    logger = AgentLogger("a")
    logger.info("one")
    shutdown_logging()
    shutdown_logging()
    assert logger.info("two") != ""
    shutdown_logging()
    first, second = session_directories(trace_root)
    assert [event["message"] for event in of_kind(session_events(first), "log")] == ["one"]
    assert [event["message"] for event in of_kind(session_events(second), "log")] == ["two"]


def test_a_state_that_logs_at_the_end_logs_into_its_own_session(trace_root):
    class Chatty:
        agent_id = "a"

        @trace_agent_action
        def act(self):
            return 1

        def trace_state(self):
            AgentLogger("a").info("asked")
            return {"x": 1}

    chatty = Chatty()
    chatty.act()
    shutdown_logging()
    assert len(session_directories(trace_root)) == 1
    assert Agent.health()["recording"] is False
    assert messages(trace_root).count("asked") == 4, "before and behind the action, and twice at the end"


def test_recording_in_memory_leaves_a_session_alone(trace_root):
    setup_logging()
    with record_in_memory() as sink:
        AgentLogger("a").info("in memory")
        assert len(sink.events) == 1
    AgentLogger("a").info("in the tree")
    with record_in_memory() as sink:
        shutdown_logging()
        AgentLogger("a").info("in memory")
        assert len(sink.events) == 1
    assert Agent.health()["recording"] is False
    assert messages(trace_root) == ["in the tree"]
    assert TreeReader(only_session(trace_root)).losses().clean


def test_threads_that_log_first_together_begin_one_session(trace_root):
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        AgentLogger(f"a{number}").info("m")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shutdown_logging()
    assert len(messages(trace_root)) == 8


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A trace root that cannot be made, for root as well."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a directory should be")
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(blocked / "trace"))
    return blocked


def test_a_root_that_cannot_be_written_is_told_once_and_the_program_goes_on(unwritable, capfd):
    class Actor:
        def __init__(self, agent_id):
            self.agent_id = agent_id

        def act(self, x):
            return x

    with Agent.instrument(Actor, methods=["act"]):
        logger = AgentLogger("a")
        for _ in range(3):
            assert logger.info("m") == "" and logger.critical("m") == "" and logger.log_action("x") == ""
            assert Actor("a").act(5) == 5
            with trace_context(logger, "c"), Agent.measure_performance("m"), Agent.tick(1):
                pass
            message = logger.send("b", 1)
            assert logger.receive(message) == ""
            assert Agent.send("b", 1).body == 1
    with pytest.raises(ValueError, match="x"):
        trace_agent_action(lambda: (_ for _ in ()).throw(ValueError("x")))()
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and err.startswith("agent-trace: nothing is recorded: ")
    assert "AGENT_TRACE_ROOT" in err
    assert Agent.health()["recording"] is False


def test_constructing_alone_tells_it_once_too(unwritable, capfd):
    class Actor:
        def __init__(self, agent_id):
            self.agent_id = agent_id

        def act(self):
            return 1

    with Agent.instrument(Actor, methods=["act"]):
        for number in range(5):
            Actor(number)
    assert capfd.readouterr().err.count("\n") == 1


def test_asked_for_it_is_an_error(unwritable):
    with pytest.raises(ConfigurationError) as refused:
        setup_logging()
    assert refused.value.remedy


def test_a_wrong_variable_is_told_once_and_the_program_goes_on(monkeypatch, capfd, trace_root):
    monkeypatch.setenv("AGENT_TRACE_LEVEL", "LOUD")
    for _ in range(3):
        assert AgentLogger("a").info("m") == ""
    assert capfd.readouterr().err.count("\n") == 1
    monkeypatch.delenv("AGENT_TRACE_LEVEL")
    setup_logging()
    assert AgentLogger("a").info("m") != ""


def test_after_a_shutdown_what_is_wrong_is_told_anew(monkeypatch, capfd, trace_root):
    monkeypatch.setenv("AGENT_TRACE_LEVEL", "LOUD")
    for _ in range(2):
        assert AgentLogger("a").info("m") == ""
        assert capfd.readouterr().err.count("\n") == 1
        Agent.shutdown_logging()
        assert Agent.health()["obstacle"] is None
    monkeypatch.delenv("AGENT_TRACE_LEVEL")
    assert AgentLogger("a").info("m") != ""


@pytest.mark.further
def test_a_full_disk_is_counted_and_told_when_there_is_room_again(trace_root, capfd):
    import resource

    setup_logging(mirrors=False)
    logger = AgentLogger("a")
    logger.info("before")
    size = max(path.stat().st_size for path in record_files(only_session(trace_root)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        lost = [logger.info("y" * 500) for _ in range(5)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert "" in lost
    time.sleep(1.1)
    logger.info("after")
    health = Agent.health()
    shutdown_logging()
    events = list(TreeReader(only_session(trace_root)).events())
    told = sum(event.extra["count"] for event in events if event.kind == "log.dropped")
    assert told == sum(health["dropped"].values()) >= lost.count("")
    assert "after" in [event.message for event in events]
    assert capfd.readouterr().err.count("agent-trace: events are being lost") == 1


PROGRAM_END = """
import atexit
import Agent
from Agent import AgentLogger

class Late:
    def __del__(self):
        AgentLogger("late").info("when the interpreter shuts down")

keep = Late()
atexit.register(lambda: AgentLogger("a").info("at the end"))
AgentLogger("a").info("first")
"""


@pytest.mark.process
def test_what_a_program_does_at_its_end_is_recorded(trace_root, tmp_path):
    done = run_python("-c", PROGRAM_END, cwd=tmp_path)
    assert done.returncode == 0
    assert messages(trace_root) == ["first", "at the end"]
    events = session_events(only_session(trace_root))
    assert of_kind(events, "log.closed")
    assert done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr


@pytest.mark.process
def test_importing_makes_nothing_on_disk(tmp_path, trace_root):
    done = run_python(
        "-c", "import Agent; Agent.AgentLogger('a'); print(Agent.health()['recording'])", cwd=tmp_path
    )
    assert done.stdout == "False\n"
    assert list(tmp_path.iterdir()) == []
