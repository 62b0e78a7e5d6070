"""Files beside an archive that is the record: changed copies, and names that another writer took since."""

import os
import signal

import pytest
from support.session_files import only_session

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.archive.erase.erasing import erase, target_of
from Agent.archive.recover import recover_session
from Agent.archive.sealed.parts import mark_removed, read_parts
from Agent.archive.sealed.reader import open_reader, unseal
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify


def write(agent, numbers):
    for number in numbers:
        AgentLogger(agent).log_action("write", {"number": number})


def in_a_child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    os.waitpid(pid, 0)


def assert_numbers(session, agent, numbers):
    """Every way of reading finds each event once, and nothing is wrong."""
    reader = open_reader(session)
    for events in (reader.agent_events(agent), reader.events(), open_reader(session).scan()):
        own = [e.extra["action_data"]["number"] for e in events if e.agent_id == agent]
        assert sorted(own) == list(numbers)
    with open_engine(session) as engine:
        rows = engine.rows(f"SELECT count(*) AS n FROM {scan()} WHERE agent_id = '{agent}'")
    assert rows == [{"n": len(numbers)}]
    found = verify(session)
    assert found.sound, found.to_dict()


@pytest.fixture
def crashed(trace_root):
    """A session whose program was killed with half a line written."""

    def die():
        session = setup_logging(trace_root=trace_root).path
        write("a", range(10))
        write("b", range(10))
        with (session / "agents" / "a.log").open("ab") as file:
            file.write(b'{"timestamp":"2026-')
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(die)
    return only_session(trace_root)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("how", ["restored", "removal cut short"])
def test_a_copy_of_a_sealed_file_whose_end_is_recovered_is_read_once(crashed, how):
    seal(crashed, remove=how == "restored")
    if how == "restored":
        unseal(crashed)
    else:
        mark_removed(read_parts(crashed)[0])
    before = open_reader(crashed).scan()
    assert len(list(before)) > 20
    recover_session(crashed)
    assert_numbers(crashed, "a", range(10))
    assert_numbers(crashed, "b", range(10))
    for _ in range(2):
        seal(crashed, remove=True)
        assert not list(crashed.glob("agents/*"))
        assert_numbers(crashed, "a", range(10))


@pytest.fixture
def taken(trace_root):
    """A child's files are sealed and removed while its parent records, who then takes one of the names."""
    session = setup_logging(trace_root=trace_root).path

    def child():
        write("x", range(10))
        shutdown_logging()

    in_a_child(child)
    assert seal(session, remove=True).removed == 2
    write("x", range(10, 20))
    assert (session / "agents" / "x.log").exists()
    return session


@pytest.mark.integration
def test_a_name_that_another_writer_took_after_sealing_is_no_edit(taken):
    assert_numbers(taken, "x", range(20))
    shutdown_logging()
    assert_numbers(taken, "x", range(20))
    seal(taken, remove=True)
    assert_numbers(taken, "x", range(20))


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("sealed_again", [False, True])
def test_restoring_brings_back_both_files_that_had_one_name(taken, sealed_again):
    shutdown_logging()
    if sealed_again:
        seal(taken, remove=True)
    unseal(taken)
    assert len(list(taken.glob("agents/x*.log"))) == 2
    assert_numbers(taken, "x", range(20))
    seal(taken, remove=True)
    assert_numbers(taken, "x", range(20))


@pytest.mark.integration
def test_erasing_from_a_part_keeps_the_other_lines_of_a_file_whose_name_was_taken(taken, trace_root):
    shutdown_logging()
    done = erase(trace_root, target_of(match='"number":3'))
    assert (done.events, done.proof.clean) == (1, True)
    assert_numbers(taken, "x", [number for number in range(20) if number != 3])


def test_a_file_whose_name_has_a_backslash_is_sealed_beside_one_with_a_wildcard(trace_root):
    session = setup_logging(trace_root=trace_root).path
    write("a", range(3))
    write("b", range(3))
    shutdown_logging()
    (session / "agents" / "b.log").rename(session / "agents" / "*.log")
    (session / "agents" / "a.log").rename(session / "agents" / "\\.log")
    seal(session)
    numbers = [e.extra["action_data"]["number"] for e in open_reader(session).events() if e.agent_id]
    assert sorted(numbers) == [0, 0, 1, 1, 2, 2]
    assert sum(part.events for part in read_parts(session)) >= len(numbers)
