"""The policies `max_session_bytes` and `keep_sessions` in a program that records."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from support.processes import child_environment
from support.recording_threads import recording_threads

from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.analysis import LogAnalyzer
from Agent.config.recording import current_session
from Agent.tree.layout import list_sessions, tree_files
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import read_account

LIMIT = 100_000
WRITER = """
import os, sys, time
from Agent import AgentLogger, setup_logging
setup_logging(max_session_bytes=int(sys.argv[1]), segment_size_bytes=8192, mirrors=False)
from multiprocessing import get_context

def write(name, events):
    loggers = [AgentLogger(f"{name}_{number}", agent_role="x") for number in range(5)]
    for number in range(events):
        identity = loggers[number % 5].log_action("write", {"number": number, "text": "x" * 100})
        os.write(1, f"{identity}\\n".encode())
        if number % 100 == 0:
            time.sleep(0.01)

if __name__ == "__main__":
    AgentLogger("first", agent_role="x").info("here")
    children = [get_context("fork").Process(target=write, args=(f"p{n}", int(sys.argv[2]))) for n in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
"""


def size_bytes(session):
    total = 0
    for path in tree_files(session):
        with contextlib.suppress(FileNotFoundError):  # retention took it since it was listed
            total += path.stat().st_size
    return total


def retention_threads():
    return recording_threads("agent-trace-retention")


def write(events, agents=5):
    loggers = [AgentLogger(f"agent_{number}", agent_role="x") for number in range(agents)]
    for number in range(events):
        loggers[number % agents].log_action("write", {"number": number, "text": "x" * 100})


def test_without_a_policy_there_is_no_thread():
    setup_logging(mirrors=False)
    write(1)
    assert retention_threads() == []


def test_a_session_stays_under_its_limit_and_what_went_is_told():
    setup_logging(mirrors=False, max_session_bytes=LIMIT, segment_size_bytes=8192)
    session = current_session().path
    write(2000)
    until = time.monotonic() + 20
    while size_bytes(session) > LIMIT and time.monotonic() < until:
        time.sleep(0.05)
    assert size_bytes(session) <= LIMIT
    write(100)
    assert health()["notes"] == {}
    shutdown_logging()
    assert retention_threads() == []
    losses = TreeReader(session).losses()
    assert losses.clean and losses.total_retired > 1000
    assert losses.total_read + losses.total_retired == sum(writer.last_seq for writer in losses.writers)
    told = list(TreeReader(session).events(kinds=["log.retired"]))
    assert told[-1].extra["policy"] == "max_session_bytes"
    assert told[-1].message.endswith("were retired")


def test_the_end_of_a_session_brings_it_under_its_limit():
    setup_logging(mirrors=False, max_session_bytes=LIMIT, segment_size_bytes=8192)
    session = current_session().path
    write(2000)
    shutdown_logging()
    # the last events, and a summary that reads what is left
    assert size_bytes(session) <= LIMIT
    assert TreeReader(session).losses().clean


def test_the_engine_and_the_reader_give_the_same_account(trace_root):
    setup_logging(mirrors=False, max_session_bytes=LIMIT, segment_size_bytes=8192)
    session = current_session().path
    write(3000, agents=7)
    shutdown_logging()
    by_reader = TreeReader(session).losses().to_dict()
    by_engine = LogAnalyzer(session).losses()
    assert by_reader["retired"] > 0
    assert {key: by_engine[key] for key in by_reader} == by_reader


@pytest.mark.further
def test_old_sessions_are_removed_when_a_new_one_begins(trace_root):
    paths = []
    for _ in range(4):
        # named by the second: one that is removed within it would leave its name to the next
        time.sleep(1.05 - time.time() % 1)
        setup_logging(mirrors=False, keep_sessions=2)
        write(1)
        paths.append(current_session().path)
        until = time.monotonic() + 20
        while len(list_sessions(trace_root)) > 2 and time.monotonic() < until:
            time.sleep(0.02)
        shutdown_logging()
    assert [ref.path for ref in list_sessions(trace_root)] == paths[-2:]


@pytest.mark.integration
def test_processes_of_one_session_keep_it_under_one_limit(trace_root):
    environment = child_environment(AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION="")
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(LIMIT), "1500"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (ref,) = list_sessions(trace_root)
    losses = TreeReader(ref.path).losses()
    assert losses.clean and losses.total_lost == losses.total_unacknowledged == 0
    assert losses.total_retired > 0
    live = sum(path.stat().st_size for path in tree_files(ref.path) if path.name.count(".") == 1)
    assert size_bytes(ref.path) <= max(LIMIT, live) + 8192 * 8
    by_engine = LogAnalyzer(ref.path).losses()
    assert (by_engine["read"], by_engine["retired"]) == (losses.total_read, losses.total_retired)


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(3))
def test_killed_while_segments_go_nothing_that_was_acknowledged_is_unaccounted_for(trace_root, seed):
    environment = child_environment(AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION="")
    program = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(LIMIT), "100000"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = []
    passes = 0
    # killed some way into the second step that retention makes, or later
    while passes < 2 + seed or len(lines) < 6000:
        lines.append(program.stdout.readline())
        assert lines[-1], "the program ended"
        if len(lines) % 200 == 0:
            passes += len(list(trace_root.glob("*/.state/retired.json")))
    os.killpg(program.pid, signal.SIGKILL)
    lines += program.stdout.readlines()
    program.wait()
    program.stdout.close()
    acknowledged = {line.strip() for line in lines if line.endswith("\n")}
    (ref,) = list_sessions(trace_root)
    losses = TreeReader(ref.path).losses()
    # what was entered and is still there counts as read
    assert losses.total_retired > 0 or read_account(ref.path).removing
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    read = {event.id for event in TreeReader(ref.path).events()}
    gone = read_account(ref.path).numbers
    for identity in acknowledged - read:
        writer, _, seq = identity.partition("-")
        assert writer in gone and int(seq) in gone[writer], identity
