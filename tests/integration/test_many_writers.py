"""Many writers in one session, and writers that are killed: what was acknowledged stands in the files, once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support.processes import child_environment
from support.session_files import (
    of_kind,
    only_session,
    raw_lines,
    record_files,
    session_directories,
    session_events,
)

from Agent import AgentLogger, shutdown_logging
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("writers_program.py")
PROCESSES = 4
THREADS = 4
SEGMENT_BYTES = 256 * 1024


def start(root: Path, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments],
        env=child_environment(AGENT_TRACE_ROOT=str(root), **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what was read ahead into a buffer here would be lost to communicate()
    )


def follow_until_end(program: subprocess.Popen[bytes], root: Path, deadline_s: float) -> Counter[str]:
    """How often a follower that reads along saw each id, the last look after the program's end included."""
    assert program.stdout.readline() == b"opened\n", program.stderr.read().decode()
    follower = Follower(only_session(root))
    seen: Counter[str] = Counter()
    end = time.monotonic() + deadline_s
    ended = False
    while True:
        events = follower.poll()
        seen.update(event.id for event in events)
        if ended and not events:
            follower.close()
            return seen
        ended = program.poll() is not None
        assert time.monotonic() < end, "the program did not end in time"
        if not events:
            time.sleep(0.02)


def check_files(session: Path, events_a_thread: int) -> Counter[str]:
    """Every id of the files, after it was checked that none is missing, doubled or glued to another."""
    ids: Counter[str] = Counter()
    written: Counter[tuple[int, int, int]] = Counter()
    last_seq: dict[str, int] = {}
    for path in record_files(session):
        for line in raw_lines(path):
            event = json.loads(line)  # a glued or torn line is no JSON object
            ids[event["id"]] += 1
            extra = event["extra"]
            if extra.get("action_type") == "write":
                data = extra["action_data"]
                written[data["process"], data["thread"], data["number"]] += 1
            elif extra.get("event_type") == "log.closed":
                last_seq[extra["writer"]] = extra["last_seq"]
    expected = [(p, t, n) for p in range(PROCESSES) for t in range(THREADS) for n in range(events_a_thread)]
    assert written == Counter(expected)
    assert set(ids.values()) == {1}
    # Four processes and the root, each with at least one durability stream; numbers run from 1 without a gap.
    assert len(last_seq) >= PROCESSES + 1
    assert ids == Counter(
        f"{writer}-{seq}" for writer, last in last_seq.items() for seq in range(1, last + 1)
    )
    return ids


@pytest.mark.parametrize(
    "events_a_thread",
    [500, pytest.param(20_000, marks=pytest.mark.slow)],
)
def test_four_processes_of_four_threads_lose_double_and_glue_nothing(events_a_thread, trace_root):
    program = start(
        trace_root,
        "root",
        str(THREADS),
        str(events_a_thread),
        AGENT_TRACE_SEGMENT_SIZE_BYTES=str(SEGMENT_BYTES),
    )
    seen = follow_until_end(program, trace_root, deadline_s=400)
    _, told = program.communicate()
    assert program.returncode == 0, told.decode()
    session = only_session(trace_root)
    ids = check_files(session, events_a_thread)
    assert seen == ids

    segments = [path for path in record_files(session) if path.name.startswith("shared")]
    assert len(segments) > PROCESSES + 1  # they rolled, beside one live file a writer
    longest_line = 4096
    assert max(path.stat().st_size for path in segments) <= SEGMENT_BYTES + THREADS * longest_line

    reader = TreeReader(session)
    assert {event.id for event in reader.events()} == set(ids)
    assert reader.damage() == []
    losses = reader.losses()
    assert (losses.total_lost, losses.clean) == (0, True)


def test_threads_that_log_first_at_the_same_moment_begin_one_session(trace_root):
    together = threading.Barrier(8)
    loggers = [AgentLogger(f"agent_{number}", "writer") for number in range(together.parties)]

    def write(number: int) -> None:
        together.wait()
        loggers[number].log_action("write", {"number": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shutdown_logging()
    events = session_events(only_session(trace_root))
    assert sorted(
        event["extra"]["action_data"]["number"] for event in of_kind(events, "agent_action")
    ) == list(range(8))
    assert len(of_kind(events, "log.opened")) == len(of_kind(events, "log.closed")) == 1


def kill_at_random(root: Path, chance: random.Random) -> tuple[set[str], float]:
    """Kill a writing program some time after its first acknowledgement; the ids that it had been given."""
    program = start(root, "victim", AGENT_TRACE_SEGMENT_SIZE_BYTES=str(SEGMENT_BYTES))
    first = program.stdout.readline()
    assert first.strip(), program.stderr.read().decode()
    delay = chance.uniform(0.0, 0.25)
    os.set_blocking(program.stdout.fileno(), False)
    told = first
    end = time.monotonic() + delay
    while time.monotonic() < end:
        told += program.stdout.read() or b""
        time.sleep(0.001)
    program.send_signal(signal.SIGKILL)
    os.set_blocking(program.stdout.fileno(), True)
    rest, _ = program.communicate()
    assert program.returncode == -signal.SIGKILL
    lines = (told + rest).split(b"\n")
    # Every acknowledgement ends in a newline, so what follows the last one was never whole.
    return {line.decode() for line in lines[:-1]}, delay


@pytest.mark.parametrize("turn", range(20))
def test_nothing_acknowledged_is_missing_after_kill_9(turn, trace_root):
    acknowledged, delay = kill_at_random(trace_root, random.Random())
    assert acknowledged
    assert "" not in acknowledged
    session = only_session(trace_root)
    present: Counter[str] = Counter()
    for path in record_files(session):
        lines = path.read_bytes().split(b"\n")
        for line in lines[:-1]:
            present[json.loads(line)["id"]] += 1
    missing = acknowledged - set(present)
    assert missing == set(), f"{len(missing)} of {len(acknowledged)} are missing after {delay * 1000:.0f} ms"
    assert set(present.values()) == {1}

    reader = TreeReader(session)
    assert acknowledged <= {event.id for event in reader.events()}
    losses = reader.losses()
    # Each of the two threads can have been about to write one event; nothing else may be unaccounted for.
    assert (losses.total_lost, losses.total_unknown, losses.clean) == (0, 0, True)
    assert losses.total_unacknowledged <= 2
    assert not any(writer.closed for writer in losses.writers)


def test_a_session_can_be_read_and_a_new_one_begun_after_a_kill(trace_root):
    kill_at_random(trace_root, random.Random())
    time.sleep(1.1)  # names of sessions count seconds
    kill_at_random(trace_root, random.Random())
    sessions = session_directories(trace_root)
    assert len(sessions) == 2
    assert all(TreeReader(session).agents() for session in sessions)
