"""A forked child is a writer of its own, and its parent goes on undisturbed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.tree.files.session import read_claims
from Agent.tree.layout import agent_files
from Agent.tree.read.reader import TreeReader

# Each program runs in an interpreter of its own: a fork would take the test runner's threads along.
HEAD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tree_kit import Recorder, open_descriptors
from Agent.tree.write.mirror import Mirrors
from Agent.tree.write.writer import SessionWriter
session = Path(sys.argv[1])
sink = SessionWriter(session, segment_size_bytes=2000, max_open_files=4)
recorder = Recorder(sink)

def in_child(work):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        work()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""


def run(program: str, session: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + program, str(session), str(Path(__file__).parent)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_a_child_writes_its_own_files_under_its_own_id_from_one(session):
    run(
        """
stream = sink.open_stream("creator_001", "agents")
parent_writer, parent_board = sink.writer, sink.board
for _ in range(5):
    recorder.write()

def child():
    sink.after_fork_in_child()
    assert sink.writer != parent_writer
    assert sink.board is not parent_board
    assert sink.open_stream("creator_001", "agents") is stream
    assert [recorder.write() for _ in range(30)] == list(range(1, 31))
    recorder.close()

in_child(child)
assert sink.writer == parent_writer
assert [recorder.write() for _ in range(30)] == list(range(6, 36))
recorder.close()
""",
        session,
    )
    claims = read_claims(session)
    assert len({claim.pid for claim in claims.values()}) == 2
    reader = TreeReader(session)
    losses = reader.losses()
    assert losses.clean
    assert [(writer.lost, writer.closed) for writer in losses.writers] == [(0, True), (0, True)]
    assert losses.total_read == 31 + 36
    names = [path.name for path in agent_files(session, "creator_001")]
    child = next(name for name in names if "@" in name).partition("@")[2][:8]
    assert {path.name for path in (session / "agents").iterdir()} == set(names)
    for path in agent_files(session, "creator_001"):
        writers = {line.split(b'"id":"')[1][:8].decode() for line in path.read_bytes().splitlines()}
        assert writers == ({child} if "@" in path.name else set(claims) - {child})


@pytest.mark.process
def test_children_of_children_and_many_at_once_never_share_a_file(session):
    run(
        """
recorder.write("shared")
for _ in range(3):
    if os.fork() == 0:
        sink.after_fork_in_child()
        recorder.write("shared")
        def grandchild():
            sink.after_fork_in_child()
            for _ in range(20):
                recorder.write("shared")
            recorder.close()
        in_child(grandchild)
        for _ in range(20):
            recorder.write("shared")
        recorder.close()
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
recorder.close()
""",
        session,
    )
    losses = TreeReader(session).losses()
    assert len(losses.writers) == 7
    assert losses.clean
    assert losses.total_read == 2 + 3 * 22 + 3 * 21


@pytest.mark.process
def test_a_child_gives_the_parents_descriptors_back_and_a_pinned_one_stays_harmless(session):
    run(
        """
for number in range(4):
    recorder.write(f"agent_{number}")
segment = sink.open_stream("agent_0", "agents")._file.segment
segment.pins.append(None)
open_before = open_descriptors()

def child():
    sink.after_fork_in_child()
    # three were closed; the pinned one names the null device now
    assert open_descriptors() == open_before - 3
    assert os.write(segment.fd, b"of a write that a signal handler interrupted") > 0
    recorder.write("agent_0")

in_child(child)
segment.pins.pop()
recorder.write("agent_0")
""",
        session,
    )
    reader = TreeReader(session)
    assert len(list(reader.events())) == 6
    assert reader.damage() == []


@pytest.mark.process
def test_a_span_token_of_the_parent_closes_nothing_in_the_child(session):
    run(
        """
token = sink.board.open_span("0" * 16, "a", "outer", 1)

def child():
    sink.after_fork_in_child()
    own = sink.board.open_span("1" * 16, "a", "inner", 2)
    assert own != token
    sink.board.close_span(token)
    os.kill(os.getpid(), signal.SIGKILL)

child_pid = os.fork()
if child_pid == 0:
    child()
assert os.waitpid(child_pid, 0)[1] == signal.SIGKILL
""",
        session,
    )
    assert sorted(span.name for span in TreeReader(session).in_flight()) == ["inner", "outer"]


@pytest.mark.process
def test_lines_that_wait_for_a_mirror_are_written_by_the_parent_alone(session):
    run(
        """
mirrors = Mirrors(session.parent)
for number in range(10):
    mirrors.add("agents", b"parent %d\\n" % number)

def child():
    mirrors.after_fork_in_child()
    for number in range(10):
        mirrors.add("agents", b"child %d\\n" % number)
    mirrors.close()

in_child(child)
mirrors.close()
""",
        session,
    )
    lines = (session.parent / "agents" / "agents.log").read_bytes().split()
    assert len(lines) == 40
    assert lines.count(b"parent") == lines.count(b"child") == 10


@pytest.mark.integration
def test_a_fork_while_another_thread_records_leaves_both_sides_working(session):
    run(
        """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()
def work(number):
    while not stop.is_set():
        recorder.write(f"agent_{number}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
for thread in threads:
    thread.start()
for _ in range(15):
    def child():
        sink.after_fork_in_child()
        for number in range(40):
            assert recorder.write(f"agent_{number % 6}") > 0
        recorder.close()
    in_child(child)
stop.set()
for thread in threads:
    thread.join()
recorder.close()
""",
        session,
    )
    losses = TreeReader(session).losses()
    assert len(losses.writers) == 16
    assert losses.clean
    assert losses.damaged_lines == 0
    assert sorted(writer.read for writer in losses.writers)[:15] == [41] * 15


@pytest.mark.process
def test_the_pid_of_a_claim_is_the_childs(session):
    run("in_child(sink.after_fork_in_child)", session)
    assert os.getpid() not in {claim.pid for claim in read_claims(session).values()}
    assert TreeReader(session).losses().clean
