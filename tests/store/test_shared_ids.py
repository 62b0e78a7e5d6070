"""What two projects, and two databases, call by the same name stays apart."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="the store needs the extra [server]")

from Agent.event.ids import uuid7
from Agent.store import EventFilter, EventRow, RunRow, open_store
from Agent.store.keys import Scope

T0 = 1_795_170_645_000_000
SESSION = uuid7(T0 // 1000, b"0123456789")


def test_a_second_project_cannot_overwrite_an_event_or_a_run_of_the_same_id(database_url):
    with open_store(database_url) as store:
        for name in ("mine", "yours"):
            store.issue_key(name, [Scope.INGEST])
            project = store.set_content(name, allowed=True)
            event = EventRow(
                session_uid=SESSION,
                event_id="k3v7q2ma-1",
                ts_us=T0,
                kind="log",
                agent_id=f"agent of {name}",
                run_id="run",
                body={"message": f"message of {name}"},
            )
            run = RunRow("run", session_uid=SESSION, agent_id=f"agent of {name}")
            for _ in range(2):
                store.ingest(project, events=[event], runs=[run])
        for name in ("mine", "yours"):
            project = store.find_project(name)
            (found,) = store.list_events(project, EventFilter(session_uid=SESSION)).items
            assert (found["agent_id"], found["body"]["message"]) == (f"agent of {name}", f"message of {name}")
            assert store.find_run(project, "run")["agent_id"] == f"agent of {name}"


def test_a_database_that_is_made_anew_has_another_id_and_one_that_is_opened_again_the_same(tmp_path):
    path = tmp_path / "service.db"
    ids = []
    for _ in range(2):
        for _ in range(2):
            with open_store(str(path)) as store:
                ids.append(store.find_project("default").database_id)
        for each in tmp_path.glob("service.db*"):
            each.unlink()
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_key_names_the_same_database_as_its_project(tmp_path):
    with open_store(str(tmp_path / "service.db")) as store:
        issued = store.issue_key("shop", [Scope.INGEST])
        grant = store.authenticate(issued.token)
        assert grant.project.database_id == store.find_project("shop").database_id
        assert grant.project.database_id != store.find_project("default").database_id


def test_a_sqlite_file_is_whole_once_the_store_is_closed_though_a_reader_stays(tmp_path):
    path, copy = tmp_path / "service.db", tmp_path / "copy.db"
    with open_store(str(path)) as store:
        store.ingest(store.find_project("default"), runs=[RunRow("run", agent_id="a")])
        reader = open_store(str(path), role="query")
        assert reader.find_run(reader.find_project("default"), "run") is not None
    copy.write_bytes(path.read_bytes())
    with reader, open_store(str(copy), role="query") as copied:
        assert copied.find_run(copied.find_project("default"), "run") is not None
