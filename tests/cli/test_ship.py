"""`agent-trace ship`: what it sends, what it says, and how it ends."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
from support.ingest_double import IngestDouble

from Agent.client.destination import Destination
from Agent.client.sender import lock_sending
from Agent.tree.files.descriptors import close_lock
from Agent.tree.read.reader import TreeReader


@pytest.fixture
def copied(recorded, tmp_path):
    """The recorded session under a root that may be written to."""
    root = tmp_path / "copied"
    shutil.copytree(recorded.root, root)
    return root


def ids_under(root):
    return {event.id for path in root.glob("session_*") for event in TreeReader(path).events()}


@pytest.mark.integration
def test_the_newest_session_is_sent_whole_and_the_second_call_finds_nothing_to_do(copied, run):
    with IngestDouble() as service:
        first = run("ship", "--to", service.url, "--root", str(copied))
        assert first.returncode == 0, first.stderr
        whole = ids_under(copied)
        assert {identity for _, identity in service.events} == whole
        assert f"{len(whole):,} events sent to {service.url}" in first.stdout
        assert "not sent: /" in first.stderr
        requests = service.requests
        again = run("ship", "--to", service.url, "--root", str(copied))
        # one request asks whether it is still the same database
        assert (again.returncode, service.requests) == (0, requests + 1)
        assert "everything is already at" in again.stdout


@pytest.mark.further
def test_a_database_that_was_made_anew_gets_everything(copied, run):
    with IngestDouble() as service:
        ship = ("ship", "--to", service.url, "--root", str(copied))
        assert run(*ship).returncode == 0
        whole = set(service.events)
        service.make_anew()
        again = run(*ship)
        assert again.returncode == 0, again.stderr
        assert set(service.events) == whole
        assert "a different database answered than before" in again.stderr
        assert "everything is already at" in run(*ship).stdout


@pytest.mark.further
def test_again_sends_everything_and_nothing_is_stored_twice(copied, run):
    with IngestDouble() as service:
        ship = ("ship", "--to", service.url, "--root", str(copied), "--json")
        first = json.loads(run(*ship).stdout)
        again = json.loads(run(*ship, "--again").stdout)
        assert (again["sent"], again["stored"]) == (first["sent"], 0)
        assert len(service.events) == first["stored"]


@pytest.mark.further
def test_a_process_that_still_sends_is_waited_for(copied, run):
    session = next(copied.glob("session_*"))
    with IngestDouble() as service:
        lock = lock_sending(session, Destination(service.url))
        freed = threading.Timer(1.0, close_lock, (lock,))
        freed.start()
        done = run("ship", "--to", service.url, "--root", str(copied))
        freed.join()
        assert done.returncode == 0, done.stderr
        assert "waiting for it to end" in done.stderr
        assert {identity for _, identity in service.events} == ids_under(copied)


@pytest.mark.further
def test_json_says_the_same_for_scripts(copied, run):
    with IngestDouble() as service:
        done = run("ship", "--to", service.url, "--all", "--json", "--root", str(copied))
        (told,) = json.loads(done.stdout)
        assert told["sent"] == told["stored"] == len(ids_under(copied))
        assert told["refused"] == 0
        assert told["dropped"]["/state"] > 0
        assert not told["is_written"]


def test_nobody_there_is_one_line_and_exit_code_3(copied, run):
    with IngestDouble() as service:
        url = service.url
    done = run("ship", "--to", url, "--patience", "0.2", "--root", str(copied))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "no answer (connection refused); nothing is lost" in done.stderr
    assert len(done.stderr.splitlines()) == 2  # that it tries again, and that it gave up


def test_a_wrong_key_is_told_with_what_to_do(copied, run):
    with IngestDouble(lambda *_: (401, {"error": {"message": "there is no such key"}}, {})) as service:
        done = run("ship", "--to", service.url, "--api-key", "k", "--root", str(copied))
        assert done.returncode == 3
        assert "401 Unauthorized: there is no such key; give a key of that service" in done.stderr


@pytest.mark.further
def test_events_that_are_refused_are_told_and_make_exit_code_1(copied, run):
    def judge(_double, body, _headers):
        is_bad = any(event["kind"] == "log.opened" for event in body["events"])
        return (422, {"error": {"message": "not this kind"}}, {}) if is_bad else None

    with IngestDouble(judge) as service:
        done = run("ship", "--to", service.url, "--root", str(copied))
        assert done.returncode == 1
        assert "refused: it answers 422" in done.stderr
        assert "not this kind" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "missing option '--to'"),
        (("--to", "nowhere"), "not an address of a service"),
        (("--to", "http://x", "--all", "last"), "give SESSION or --all"),
        (("--to", "http://x", "--all", "--follow"), "--follow needs a single session"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, says, run, tmp_path):
    done = run("ship", *arguments, "--root", str(tmp_path))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_root_without_sessions_says_so(run, tmp_path):
    done = run("ship", "--to", "http://x", "--all", "--root", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert "no session here yet" in done.stderr


@pytest.mark.further
def test_follow_ends_when_the_sessions_program_has_ended(trace_root, run):
    from Agent import AgentLogger, setup_logging, shutdown_logging

    setup_logging(trace_root=trace_root)
    AgentLogger("clerk").log_action("first", {})
    with IngestDouble() as service:
        timer = threading.Timer(
            2.0, lambda: (AgentLogger("clerk").log_action("last", {}), shutdown_logging())
        )
        timer.start()
        done = run("ship", "--to", service.url, "--follow", "--root", str(trace_root))
        timer.join()
        assert done.returncode == 0, done.stderr
        assert {identity for _, identity in service.events} == ids_under(trace_root)
        assert {event.name for event in service.events.values()} >= {"first", "last"}
