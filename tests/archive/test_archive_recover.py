"""Recovering a session whose program was killed: what is found, what is left alone, and kills in the middle."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from support.processes import child_environment

from Agent.archive.recover import rebuild_mirrors, recover_session
from Agent.archive.verify import verify
from Agent.errors import SessionInUse, SessionNotFound
from Agent.tree.files.session import open_session, update_session
from Agent.tree.layout import boards_dir, list_sessions, summary_file, tree_files
from Agent.tree.read.reader import TreeReader

pytestmark = pytest.mark.integration

PROGRAM = """
import os, signal, sys, threading
from Agent import AgentLogger, setup_logging, trace_agent_action
setup_logging(segment_size_bytes=8192, mirrors=False)

class Thinker:
    agent_id = "bob"
    logger = AgentLogger("alice", agent_role="writer")
    @trace_agent_action
    def think(self):
        for number in range(int(sys.argv[1])):
            self.logger.log_action("write", {"number": number, "text": "x" * 40})
        if sys.argv[2] == "wait":
            print("ready", flush=True)
            sys.stdin.read()
        if sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
Thinker().think()
"""


def run_program(root, events, end):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(events), end],
        env=child_environment(AGENT_TRACE_ROOT=str(root), AGENT_TRACE_SESSION=""),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def recorded(root, end="kill", events=200):
    """The session of a program that was killed inside a traced call, or ended."""
    program = run_program(root, events, end)
    program.communicate()
    assert program.returncode == (-signal.SIGKILL if end == "kill" else 0)
    return list_sessions(root)[-1].path


@pytest.fixture
def crashed(trace_root):
    return recorded(trace_root)


def contents(session):
    return {path: path.read_bytes() for path in tree_files(session)}


def told(session):
    """What reader and board say of the session."""
    reader = TreeReader(session)
    spans = [(span.agent_id, span.name, span.span_id, span.writer, span.pid) for span in reader.in_flight()]
    losses = reader.losses()
    return losses.to_dict() | {"damaged_lines": 0}, spans


def test_a_killed_session_is_finished_and_says_the_same_as_before_without_its_board(crashed):
    before = told(crashed)
    files = contents(crashed)
    done = recover_session(crashed)
    assert done.changed
    assert [(span.agent_id, span.name) for span in done.open_spans] == [("bob", "think")]
    assert list(boards_dir(crashed).iterdir()) == []
    assert told(crashed) == before
    assert contents(crashed) == files
    info = open_session(crashed)
    assert info.recovered_at is not None and info.ended_at is not None
    assert '"bob"' in summary_file(crashed).read_text()


def test_a_second_time_nothing_is_changed(crashed):
    recover_session(crashed)
    state = everything(crashed)
    done = recover_session(crashed)
    assert not done.changed
    assert everything(crashed) == state


def everything(session):
    """Each file of a session but the locks."""
    return {
        path: path.read_bytes()
        for path in sorted(session.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".pass"}
    }


def test_a_session_that_ended_well_is_left_as_it_is(trace_root):
    session = recorded(trace_root, "end")
    before = everything(session)
    assert not recover_session(session).changed
    assert everything(session) == before


def test_a_torn_end_stays_readable_and_is_no_damage(crashed):
    path = crashed / "agents" / "alice.log"
    torn = path.read_bytes()[:-20]
    path.write_bytes(torn)
    before = told(crashed)
    done = recover_session(crashed)
    (tail,) = done.torn_tails
    assert (tail.file, tail.offset + tail.size_bytes) == ("agents/alice.log", len(torn))
    assert path.read_bytes() == torn + b"\n"
    assert told(crashed) == before
    found = verify(crashed)
    assert (found.torn_tails, found.damaged_lines) == (1, 0)


def test_a_last_line_without_its_newline_is_an_event_and_no_torn_end(crashed):
    path = crashed / "agents" / "alice.log"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    before = told(crashed)
    done = recover_session(crashed)
    assert done.torn_tails == ()
    assert path.read_bytes().endswith(b"}\n")
    assert told(crashed) == before


def test_what_goes_away_after_recovering_is_lost(crashed):
    recover_session(crashed)
    rolled = crashed / "agents" / "alice.1.log"
    events = rolled.read_bytes().count(b"\n")
    rolled.unlink()
    losses = TreeReader(crashed).losses()
    assert (losses.total_lost, losses.total_unknown) == (events, 0)


def test_numbers_keep_their_verdicts_when_the_board_is_gone(crashed):
    # an event vanishes before the session is recovered: nobody can say why
    path = crashed / "agents" / "alice.1.log"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], *lines[4:]]))
    before = told(crashed)
    assert before[0]["unknown"] == 1
    recover_session(crashed)
    assert told(crashed) == before


def test_a_session_that_is_written_to_is_refused_by_the_pid_of_its_writer(trace_root):
    program = run_program(trace_root, 10, "wait")
    try:
        program.stdout.readline()
        session = list_sessions(trace_root)[-1].path
        with pytest.raises(SessionInUse, match=f"process {program.pid} writes to it"):
            recover_session(session)
    finally:
        program.communicate("")
    assert not recover_session(session).changed


def test_a_session_of_another_machine_that_may_still_run_is_refused(crashed):
    update_session(crashed, host="elsewhere")
    with pytest.raises(SessionInUse, match="written on elsewhere"):
        recover_session(crashed)


def test_no_session_is_one_clear_error(tmp_path):
    with pytest.raises(SessionNotFound):
        recover_session(tmp_path / "session_x")


def test_without_its_description_the_rest_is_recovered_all_the_same(crashed):
    (crashed / "session.json").unlink()
    done = recover_session(crashed)
    assert done.changed and "session.json" in done.notes[0]
    assert list(boards_dir(crashed).iterdir()) == []
    assert not recover_session(crashed).changed


CALLS = ("write", "fsync", "replace", "unlink")


def _killed_at(session, number):
    """Recover in a child that is killed at the n-th call that changes the disk; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        left = [number]

        def tampered(call):
            def act(*arguments, **options):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return act

        for name in CALLS:
            setattr(os, name, tampered(getattr(os, name)))
        try:
            recover_session(session)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_killed_at_any_change_of_the_disk_it_says_the_same_and_can_be_run_again(crashed):
    path = crashed / "agents" / "alice.log"
    path.write_bytes(path.read_bytes()[:-20])
    before = told(crashed)
    number = 1
    while _killed_at(crashed, number):
        assert told(crashed) == before
        number += 1
        assert number < 100
    # each of them began where the one before was killed; the first that was not had a few to make
    assert number > 2
    assert not recover_session(crashed).changed
    assert told(crashed) == before
    assert list(boards_dir(crashed).iterdir()) == []


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_it_can_be_run_again(crashed, seed):
    before = told(crashed)
    chance = random.Random(seed)
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            recover_session(crashed)
            os._exit(0)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert told(crashed) == before
    recover_session(crashed)
    assert told(crashed) == before
    assert verify(crashed).sound


def lines_of(path):
    return [line for line in path.read_bytes().split(b"\n") if line]


def test_mirrors_are_made_anew_from_the_record_of_all_sessions(trace_root, crashed):
    recorded(trace_root, "end", events=20)
    counts = rebuild_mirrors(trace_root)
    events = [event.id for ref in list_sessions(trace_root) for event in TreeReader(ref.path).events()]
    ids = [
        line.partition(b'"id":"')[2].partition(b'"')[0].decode()
        for name in ("agents/agents.log", "system/system.jsonl")
        for line in lines_of(trace_root / name)
    ]
    assert sorted(ids) == sorted(events)
    assert sum(counts.values()) == len(events)
    again = (trace_root / "agents" / "agents.log").read_bytes()
    rebuild_mirrors(trace_root)
    assert (trace_root / "agents" / "agents.log").read_bytes() == again
    assert list(trace_root.glob(".mirrors-*")) == []


def test_mirrors_stay_as_they_are_while_somebody_records(trace_root):
    program = run_program(trace_root, 10, "wait")
    try:
        program.stdout.readline()
        with pytest.raises(SessionInUse, match=f"process {program.pid} records here"):
            rebuild_mirrors(trace_root)
    finally:
        program.communicate("")
