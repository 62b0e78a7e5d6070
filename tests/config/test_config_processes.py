"""Forks, children and other processes: one session, a writer for each, nothing doubled, everything closed."""

import multiprocessing
import os
import sys
import threading
from collections import Counter

import pytest
from support.processes import child_environment, run_python
from support.session_files import (
    kind_of,
    of_agent,
    of_kind,
    only_session,
    session_directories,
    session_events,
)

import Agent
from Agent import AgentLogger, PerformanceLogger, setup_logging, shutdown_logging
from Agent.tree.files.session import open_session
from Agent.tree.read.reader import TreeReader
from Agent.utils import trace_agent_action, trace_context

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work, *, clean=True):
    """Run something in a forked child and wait for it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            if clean:
                shutdown_logging()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def everything(root):
    events = session_events(only_session(root))
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids))
    return events


class Counting:
    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.n = 0

    @trace_agent_action
    def count(self):
        self.n += 1


@pytest.mark.process
def test_a_forked_child_is_a_writer_of_its_own(trace_root):
    setup_logging()
    logger = AgentLogger("a")
    logger.info("parent before")

    def work():
        logger.info("child")
        logger.log_action("child acts")
        assert Agent.health()["events"] == 2

    in_child(work)
    logger.info("parent after")
    shutdown_logging()
    events = everything(trace_root)
    by_message = {event["message"]: event["id"].partition("-")[0] for event in of_kind(events, "log")}
    assert by_message["parent before"] == by_message["parent after"] != by_message["child"]
    assert len(of_kind(events, "log.opened")) == len(of_kind(events, "log.closed")) == 2
    assert TreeReader(only_session(trace_root)).losses().clean
    names = sorted(path.name for path in (only_session(trace_root) / "agents").iterdir())
    assert names == ["a.log", f"a@{by_message['child']}.log"]


@pytest.mark.process
def test_what_the_parent_holds_back_is_written_once(trace_root):
    setup_logging()
    metrics = PerformanceLogger()
    metrics.log_metric("parent before", 1.0)

    def work():
        metrics.log_metric("child", 2.0)

    for _ in range(3):
        in_child(work)
    metrics.log_metric("parent after", 3.0)
    shutdown_logging()
    events = everything(trace_root)
    names = Counter(event["extra"]["metric_name"] for event in of_kind(events, "metric"))
    assert names == {"parent before": 1, "child": 3, "parent after": 1}
    assert TreeReader(only_session(trace_root)).losses().clean


@pytest.mark.further
@pytest.mark.process
def test_mirrors_hold_each_line_once_after_forks(trace_root):
    setup_logging()
    logger = AgentLogger("a")
    for number in range(10):
        logger.log_action(f"before {number}")
        in_child(lambda number=number: logger.log_action(f"child {number}"))
    shutdown_logging()
    lines = (trace_root / "agents" / "agents.log").read_text().split("\n")
    counted = Counter(line for line in lines if line)
    assert len(counted) == 20 and set(counted.values()) == {1}


@pytest.mark.process
def test_a_child_that_ends_at_once_loses_nothing_acknowledged(trace_root):
    setup_logging()
    in_child(lambda: AgentLogger("a").info("acknowledged"), clean=False)
    shutdown_logging()
    events = everything(trace_root)
    assert [event["message"] for event in of_kind(events, "log")] == ["acknowledged"]
    losses = TreeReader(only_session(trace_root)).losses()
    assert losses.total_lost == 0


@pytest.mark.process
def test_agents_of_the_parent_are_not_told_again_by_a_child(trace_root):
    agents = [Counting(f"a{number}") for number in range(5)]
    for agent in agents:
        agent.count()

    def work():
        agents[0].count()

    in_child(work)
    shutdown_logging()
    events = everything(trace_root)
    states = Counter(
        (event["extra"]["agent_id"], event["extra"]["reason"]) for event in of_kind(events, "state")
    )
    assert states[("a0", "first")] == 2 and states[("a0", "exit")] == 2
    assert all(
        states[(f"a{number}", "first")] == states[(f"a{number}", "exit")] == 1 for number in range(1, 5)
    )


@pytest.mark.process
def test_a_child_inherits_the_span_in_which_it_was_forked(trace_root):
    setup_logging()
    logger = AgentLogger("a")
    with trace_context(logger, "c"):
        in_child(lambda: logger.info("child"))
    shutdown_logging()
    events = everything(trace_root)
    assert of_kind(events, "log")[0]["parent_span_id"] == of_kind(events, "context_exit")[0]["span_id"]


@pytest.mark.process
def test_losses_of_the_parent_are_not_told_by_the_child(trace_root):
    setup_logging()
    from Agent.record.emit.installed import active_pipeline

    active_pipeline().health.drop("a reason of the parent", 5)

    def work():
        AgentLogger("a").info("child")
        assert Agent.health()["dropped"] == {}

    in_child(work)
    AgentLogger("a").info("parent")
    shutdown_logging()
    (dropped,) = of_kind(everything(trace_root), "log.dropped")
    assert dropped["extra"]["count"] == 5


@pytest.mark.integration
def test_a_fork_while_threads_log_blocks_nobody(trace_root):
    setup_logging()
    stop = threading.Event()

    def work(name):
        logger = AgentLogger(name)
        while not stop.is_set():
            logger.log_action("act", {"n": 1})
            PerformanceLogger(name).log_metric("m", 1.0)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            in_child(lambda number=number: [AgentLogger(f"c{number}").log_action("act") for _ in range(20)])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    shutdown_logging()
    events = everything(trace_root)
    for number in range(10):
        assert len(of_agent(events, f"c{number}")) == 20
    assert TreeReader(only_session(trace_root)).losses().total_lost == 0


@pytest.mark.process
def test_a_child_of_a_child_is_a_writer_too(trace_root):
    setup_logging()

    def grandchild():
        AgentLogger("a").info("grandchild")

    def child():
        AgentLogger("a").info("child")
        in_child(grandchild)

    in_child(child)
    AgentLogger("a").info("parent")
    shutdown_logging()
    events = everything(trace_root)
    assert len({event["id"].partition("-")[0] for event in of_kind(events, "log")}) == 3
    assert len(of_kind(events, "log.closed")) == 3


def work_in_process(name):
    AgentLogger(name).info("from a process")
    PerformanceLogger(name).log_metric("m", 1.0)
    Counting(name).count()


@pytest.mark.integration
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_join_the_session_and_close_cleanly(trace_root, method):
    setup_logging()
    AgentLogger("parent").info("m")
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=work_in_process, args=(f"p{number}",)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    shutdown_logging()
    events = everything(trace_root)
    for number in range(2):
        kinds = [kind_of(event) for event in of_agent(events, f"p{number}")]
        assert {"log", "metric", "agent_action", "state"} <= set(kinds)
    assert len(of_kind(events, "log.opened")) == len(of_kind(events, "log.closed"))
    assert TreeReader(only_session(trace_root)).losses().clean


@pytest.mark.process
def test_two_children_that_begin_before_the_parent_share_a_session(trace_root):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work_in_process, args=(f"p{number}",)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    session = only_session(trace_root)
    assert TreeReader(session).losses().clean
    assert len(of_kind(session_events(session), "metric")) == 2
    assert open_session(session).ended_at is not None


CHILD = "import sys; from Agent import AgentLogger; print(AgentLogger(sys.argv[1]).info('child'))"


@pytest.mark.further
@pytest.mark.process
def test_a_subprocess_joins_through_the_environment(trace_root, tmp_path):
    session = setup_logging()
    AgentLogger("a").info("parent")
    done = run_python("-c", CHILD, "a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shutdown_logging()
    events = everything(trace_root)
    assert done.stdout.strip() in [event["id"] for event in events]
    assert {event["session_id"] for event in events} == {session.session_id}
    assert len(of_kind(events, "log.closed")) == 2
    again = run_python("-c", CHILD, "a", cwd=tmp_path)
    assert again.returncode == 0
    assert len(session_directories(trace_root)) == 2


@pytest.mark.integration
def test_a_subprocess_with_a_root_of_its_own_stays_apart(trace_root, tmp_path):
    setup_logging()
    run_python("-c", CHILD, "a", cwd=tmp_path, AGENT_TRACE_ROOT=str(tmp_path / "own"))
    assert len(session_directories(tmp_path / "own")) == 1
    assert of_kind(session_events(only_session(trace_root)), "log") == []


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize(
    "variable", ["", "nonsense", "1:2", "999999:1:/nowhere", "x:y:z", "OWN:0:/nowhere", "1:0:"]
)
def test_a_session_that_is_none_is_not_joined(trace_root, tmp_path, variable):
    done = run_python(
        "-c", CHILD, "a", cwd=tmp_path, AGENT_TRACE_SESSION=variable.replace("OWN", str(os.getpid()))
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(session_directories(trace_root)) == 1


@pytest.mark.integration
def test_two_processes_write_for_one_agent_without_a_clash(trace_root, tmp_path):
    import subprocess

    setup_logging()
    program = (
        "from Agent import AgentLogger\nfor n in range(300): AgentLogger('same').log_action('act', {'n': n})"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=child_environment())
        for _ in range(2)
    ]
    for number in range(300):
        AgentLogger("same").log_action("act", {"n": number})
    assert [child.wait(60) for child in children] == [0, 0]
    shutdown_logging()
    events = of_kind(everything(trace_root), "agent_action")
    by_writer = Counter(event["id"].partition("-")[0] for event in events)
    assert sorted(by_writer.values()) == [300, 300, 300]
    assert TreeReader(only_session(trace_root)).losses().clean
