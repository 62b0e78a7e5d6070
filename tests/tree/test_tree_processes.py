"""Many processes and threads in one session, and processes that are killed: nothing acknowledged is missing."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.tree.files.session import read_claims
from Agent.tree.layout import tree_files
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("writers_program.py")
PROCESSES, THREADS = 4, 4


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, env=child_environment(), **options)


def ids_by_plain_reading(session):
    """Every id of the files as often as it stands there, by splitting lines and nothing of the reader's."""
    ids = Counter()
    for path in tree_files(session):
        data = path.read_bytes()
        assert data.endswith(b"\n") or not data, path
        for line in data.splitlines():
            assert line.startswith(b'{"timestamp":"'), line[:100]
            assert line.count(b'"id":"') == 1, line[:300]
            ids[line.split(b'"id":"')[1].split(b'"')[0].decode()] += 1
    return ids


@pytest.mark.parametrize(
    ("events", "segment_bytes"),
    [(2000, 64 * 1024), pytest.param(20_000, 256 * 1024, marks=pytest.mark.slow)],
)
def test_no_id_is_missing_doubled_or_glued(events, segment_bytes, session):
    running = [start("many", session, THREADS, events, segment_bytes) for _ in range(PROCESSES)]
    follower = Follower(session)
    followed = Counter()
    while any(process.poll() is None for process in running):
        followed.update(event.id for event in follower.poll())
        time.sleep(0.01)
    assert [process.returncode for process in running] == [0] * PROCESSES
    while events_now := follower.poll():
        followed.update(event.id for event in events_now)

    each = THREADS * events + 1
    expected = Counter(f"{writer}-{seq}" for writer in read_claims(session) for seq in range(1, each + 1))
    assert len(expected) == PROCESSES * each
    assert ids_by_plain_reading(session) == expected
    assert followed == expected
    reader = TreeReader(session)
    last = None
    in_order = Counter()
    places = Counter()
    for event in reader.events():
        in_order[event.id] += 1
        order = event.order
        assert last is None or last < order
        last = order
        if "place" in event.extra:
            places[tuple(event.extra["place"])] += 1
    assert in_order == expected
    assert len(places) == PROCESSES * THREADS * events
    assert reader.damage() == follower.damage() == []
    losses = reader.losses()
    assert losses.clean
    assert losses.total_read == PROCESSES * each
    assert sum(path.name.count(".") > 1 for path in reader.files()) > 20


def kill_at_random(session, chance):
    """A writer that is killed at a random moment; (writer, what it acknowledged)."""
    threads = chance.choice([1, 4])
    process = start("victim", session, threads, 48 * 1024, stdout=subprocess.PIPE, bufsize=0)
    told = process.stdout.read(1)
    os.set_blocking(process.stdout.fileno(), False)
    end = time.monotonic() + chance.uniform(0, 0.3)
    while time.monotonic() < end:
        told += process.stdout.read() or b""
    process.send_signal(signal.SIGKILL)
    os.set_blocking(process.stdout.fileno(), True)
    told += process.communicate()[0]
    assert process.returncode == -signal.SIGKILL
    # an acknowledgement is whole only with its newline
    return threads, Counter(told.decode().split("\n")[:-1])


def check_after_kill(session, writer, threads, acknowledged):
    assert set(acknowledged.values()) == {1}
    reader = TreeReader(session)
    read = Counter(event.id for event in reader.events() if event.writer == writer)
    assert set(read.values()) == {1}
    assert set(acknowledged) <= set(read)
    account = {writer.writer: writer for writer in reader.losses().writers}[writer]
    assert account.read == len(read)
    assert account.lost == account.unknown == 0
    # each thread was in one call at most
    assert account.unacknowledged <= threads
    assert account.last_seq == account.read + account.unacknowledged
    assert len(read) - len(acknowledged) <= threads
    assert not account.closed
    assert not account.alive
    return len(acknowledged)


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kill_9_everything_acknowledged_is_read_back_exactly_once(rounds, session):
    chance = random.Random()
    total = 0
    for _ in range(rounds):
        known = set(read_claims(session))
        threads, acknowledged = kill_at_random(session, chance)
        (writer,) = set(read_claims(session)) - known
        total += check_after_kill(session, writer, threads, acknowledged)
    assert total > rounds
    losses = TreeReader(session).losses()
    assert len(losses.writers) == rounds
    assert not any(writer.closed for writer in losses.writers)
    assert (losses.total_lost, losses.total_unknown, losses.clean) == (0, 0, True)
