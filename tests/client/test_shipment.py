"""Sessions on their way to a service: each event once, whatever dies, and a cursor that moves behind them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.ingest_double import IngestDouble
from support.processes import run_python

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.archive.sealed.sealing import seal
from Agent.client.destination import Destination, Stopped
from Agent.client.shipment import Shipment
from Agent.errors import NotDelivered, SessionInUse
from Agent.flight import recorder
from Agent.tree.layout import list_sessions, tree_files
from Agent.tree.read.reader import TreeReader
from Agent.tree.retention import cursors_hold


def never(_seconds):
    return False


def at_once(_seconds):
    return True


def record(root, actions=50, **options):
    setup_logging(trace_root=root, **options)
    logger = AgentLogger("clerk", "writer")
    with recorder.run("clerk", {"agent_version": "1.0.0"}), recorder.step("one", "first"):
        for number in range(actions):
            logger.log_action("write", {"number": number, "text": "a secret sentence"})
    shutdown_logging()
    return list_sessions(root)[-1].path


def ids_of(session):
    return {event.id for event in TreeReader(session).events()}


def send_all(shipment):
    while shipment.ship() or shipment.behind:
        pass


def test_every_event_of_a_session_arrives_once_with_its_run(trace_root):
    session = record(trace_root)
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(session)
        assert service.duplicates == 0
        assert shipment.outcome.sent == shipment.outcome.stored == len(ids_of(session))
        run = service.runs[-1]
        assert (run.agent_id, run.agent_version, run.status, len(run.steps)) == (
            "clerk",
            "1.0.0",
            "success",
            1,
        )
        assert b"secret sentence" not in service.everything()
        assert shipment.dropped["/extra/action_data"] == 50


def test_progress_does_not_look_at_every_file_after_every_request(trace_root, monkeypatch):
    session = record(trace_root)
    looks = []
    monkeypatch.setattr(
        "Agent.client.shipment.tree_files", lambda path: looks.append(path) or tree_files(path)
    )
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        before = shipment.share
        send_all(shipment)
        assert [before, *(shipment.share for _ in range(50))] == [0.0] + [1.0] * 50
        assert len(looks) == 1


def test_the_next_sender_goes_on_where_the_last_one_was(trace_root):
    session = record(trace_root)
    with IngestDouble() as service:
        for _ in range(3):
            with Shipment(session, Destination(service.url), never) as shipment:
                send_all(shipment)
        assert len(service.bodies) == 1
        with Shipment(session, Destination(service.url, "another-project"), never) as shipment:
            send_all(shipment)
        assert len(service.bodies) == 2
        assert service.headers[-1]["Authorization"] == "Bearer another-project"


def test_what_was_not_taken_is_sent_again_and_nothing_twice(trace_root):
    session = record(trace_root)
    fails = iter([True, True, False])
    with IngestDouble(lambda *_: (503, {}, {}) if next(fails, False) else None) as service:
        with Shipment(session, Destination(service.url), at_once) as shipment:
            for _ in range(2):
                with pytest.raises(Stopped):
                    shipment.ship()
            send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(session)
        assert service.duplicates == 0


def test_an_answer_that_was_lost_makes_no_event_double(trace_root):
    session = record(trace_root)
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        service.loses_answers = 1
        send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(session)
        assert service.duplicates == len(ids_of(session))


@pytest.mark.integration
def test_a_database_that_changes_while_a_session_is_sent_gets_all_of_it(trace_root):
    session = record(trace_root, actions=20_000)
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        assert shipment.ship() > 0 and shipment.behind
        service.make_anew()
        send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(session)


@pytest.mark.further
def test_a_database_that_changes_while_an_archive_is_sent_gets_all_of_it(trace_root):
    session = record(trace_root, actions=5_000)
    whole = ids_of(session)
    seal(session, remove=True)

    def changes(service, _body, _headers):
        if service.requests == 2:
            service.database = "other"
            service.events.clear()

    with IngestDouble(changes) as service, Shipment(session, Destination(service.url), never) as shipment:
        shipment.ship_archive()
        send_all(shipment)
        assert {identity for _, identity in service.events} == whole


@pytest.mark.integration
def test_services_with_a_database_each_behind_one_address_are_not_sent_to_for_ever(trace_root):
    session = record(trace_root, actions=5_000)

    def in_turn(service, _body, _headers):
        service.database = f"number {service.requests}"

    with IngestDouble(in_turn) as service, Shipment(session, Destination(service.url), never) as shipment:
        with pytest.raises(NotDelivered, match="another database answers again and again"):
            send_all(shipment)
        assert service.requests < 30


def test_only_one_process_sends_a_session_to_a_place(trace_root):
    session = record(trace_root)
    with IngestDouble() as service, Shipment(session, Destination(service.url), never):
        with pytest.raises(SessionInUse, match="another process is sending this session"):
            Shipment(session, Destination(service.url), never)
        with Shipment(session, Destination(service.url, "other"), never) as other:
            send_all(other)


def test_retention_keeps_what_was_not_sent_yet(trace_root):
    session = record(trace_root)
    with (
        IngestDouble(lambda *_: (503, {}, {})) as service,
        Shipment(session, Destination(service.url), at_once) as shipment,
    ):
        with pytest.raises(Stopped):
            shipment.ship()
        service.answers = None
        send_all(shipment)
    held = cursors_hold(session)
    assert not any(held(path, path.stat()) for path in tree_files(session))
    path = session / "agents" / "clerk.log"
    with path.open("ab") as file:
        file.write(b"{}\n")
    assert held(path, path.stat())


def test_what_was_sealed_and_removed_is_sent_from_the_archive(trace_root):
    session = record(trace_root, actions=200)
    before = ids_of(session)
    seal(session, remove=True)
    with IngestDouble() as service:
        with Shipment(session, Destination(service.url), never) as shipment:
            assert shipment.ship_archive() > 0
            send_all(shipment)
        assert {identity for _, identity in service.events} == before
        taken = len(service.bodies)
        with Shipment(session, Destination(service.url), never) as shipment:
            assert shipment.ship_archive() == 0
            send_all(shipment)
        assert len(service.bodies) == taken


def test_a_damaged_cursor_costs_a_second_sending_and_nothing_else(trace_root):
    session = record(trace_root)
    destination = None
    with IngestDouble() as service:
        destination = Destination(service.url)
        with Shipment(session, destination, never) as shipment:
            send_all(shipment)
        cursor = next((session / ".state" / "cursors").glob("*.json"))
        for damage in (b"", b"{", b"[]", b'{"version":1}', b'{"version":9,"files":[]}'):
            cursor.write_bytes(damage)
            with Shipment(session, destination, never) as shipment:
                send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(session)


def test_damaged_lines_are_counted_and_not_sent(trace_root):
    session = record(trace_root)
    with (session / "agents" / "clerk.log").open("ab") as file:
        file.write(b"no event at all\n")
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        send_all(shipment)
        assert shipment.damaged_lines == 1
        assert b"no event at all" not in service.everything()


def test_with_content_payloads_go_and_without_none_does(trace_root):
    session = record(trace_root)
    with IngestDouble(content=True) as service:
        with Shipment(session, Destination(service.url), never, content=True) as shipment:
            send_all(shipment)
        assert "a secret sentence" in json.dumps([event.body for event in service.events.values()])


def test_a_key_that_is_refused_ends_it_and_moves_no_cursor(trace_root):
    session = record(trace_root)
    with IngestDouble(lambda *_: (401, {"error": {"message": "no key"}}, {})) as service:
        with (
            Shipment(session, Destination(service.url), never) as shipment,
            pytest.raises(NotDelivered, match="401"),
        ):
            shipment.ship()
        assert not list((session / ".state" / "cursors").glob("*.json"))


KILLED = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from Agent.client.destination import Destination
from Agent.client.shipment import Shipment
with Shipment(Path(sys.argv[1]), Destination(sys.argv[2]), lambda seconds: False) as shipment:
    while shipment.ship() or shipment.behind:
        pass
"""


@pytest.mark.integration
def test_a_sender_that_is_killed_at_any_request_leaves_nothing_out_and_nothing_double(trace_root, tmp_path):
    session = record(trace_root, actions=5_000)
    whole = ids_of(session)
    with IngestDouble() as service:
        kills = 0
        for at in (1, 2, 4, 5, 100):
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, str(session), service.url, str(tmp_path)]
            )

            def kill(double, _body, _headers, process=process, at=at):
                if double.requests >= at:
                    process.kill()

            service.answers = kill
            kills += process.wait(120) != 0
        assert kills == 4
        assert {identity for _, identity in service.events} == whole


def test_bodies_are_compressed_and_hold_no_host_argument_or_setting(trace_root, monkeypatch):
    # one that no identifier holds by chance
    monkeypatch.setattr("Agent.tree.files.session.hostname", lambda: "a-machine-of-its-own")
    session = record(trace_root)
    with IngestDouble() as service, Shipment(session, Destination(service.url), never) as shipment:
        send_all(shipment)
        assert service.headers[0]["Content-Encoding"] == "gzip"
        assert set(service.bodies[0]["session"]) == {"session_uid", "session_id", "started_at"}
        told = json.loads((session / "session.json").read_text())
        assert told["host"] == "a-machine-of-its-own"
        assert told["host"].encode() not in service.everything()


@pytest.mark.integration
def test_a_session_of_several_processes_is_sent_whole(trace_root, tmp_path):
    script = tmp_path / "several.py"
    script.write_text(
        "import multiprocessing\n"
        "from Agent import AgentLogger\n"
        "def work(n):\n"
        "    AgentLogger('shared').log_action('do', {'n': n})\n"
        "if __name__ == '__main__':\n"
        "    AgentLogger('shared').log_action('begin', {})\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        pool.map(work, range(20))\n"
        "        pool.close()\n"
        "        pool.join()\n"
    )
    done = run_python(str(script), cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root))
    assert done.returncode == 0, done.stderr
    (ref,) = list_sessions(trace_root)
    with IngestDouble() as service, Shipment(ref.path, Destination(service.url), never) as shipment:
        send_all(shipment)
        assert {identity for _, identity in service.events} == ids_of(ref.path)
        assert len(ids_of(ref.path)) >= 21


@pytest.mark.integration
def test_a_session_without_its_session_json_keeps_no_other_from_being_sent(trace_root):
    nameless = trace_root / "session_20200101_000000"
    nameless.mkdir(parents=True)
    (nameless / "agent.log").touch()  # an empty directory is no session
    session = record(trace_root)
    with IngestDouble() as service:
        words = ["-m", "Agent", "ship", "--to", service.url, "--root", str(trace_root)]
        done = run_python(*words, "--all", cwd=trace_root)
        assert done.returncode == 0, done.stderr
        assert "20200101_000000: the session has no session.json" in done.stderr
        assert {identity for _, identity in service.events} == ids_of(session)
        alone = run_python(*words, "20200101_000000", cwd=trace_root)
        assert alone.returncode == 3
