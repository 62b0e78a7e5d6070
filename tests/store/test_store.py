"""The store: what is written comes back once, in order, to its own project alone, and a reader cannot write."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import CursorResult, inspect, text
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from support.processes import run_python

from Agent.errors import InputError, UsageError
from Agent.event.ids import uuid7
from Agent.store import (
    EventFilter,
    EventRow,
    FailureRow,
    RunFilter,
    RunRow,
    Scope,
    StepRow,
    Store,
    open_store,
)
from Agent.store.schema import METADATA, make_cursor

T0 = 1_795_170_645_000_000
SESSION = uuid7(T0 // 1000, b"0123456789")
RUN = uuid7(T0 // 1000, b"abcdefghij")


@pytest.fixture
def store(database_url):
    with open_store(database_url) as opened:
        yield opened


@pytest.fixture
def project(store):
    return store.find_project("default")


def event(number: int, **changes) -> EventRow:
    values = {
        "session_uid": SESSION,
        "event_id": f"k3v9q2ma-{number}",
        "ts_us": T0 + number,
        "kind": "agent_action",
    }
    return EventRow(**values | {"agent_id": "creator_001", "body": {"size": number}} | changes)


def run_row(**changes) -> RunRow:
    step = StepRow("s1", 1, "fetch", "tool", "fetch", T0 + 1, 12.5, "ok", {"result_count": 10})
    failure = FailureRow("f1", "tool", "timeout", occurred_us=T0 + 5)
    whole = RunRow(
        RUN,
        "shop",
        "1.0.0",
        "failure",
        T0,
        T0 + 9_000,
        SESSION,
        None,
        {"environment": "test"},
        (step,),
        (failure,),
    )
    return dataclasses.replace(whole, **changes)


def test_an_event_that_comes_again_is_stored_once(store, project):
    assert store.ingest(project, events=[event(1), event(2)])[:2] == (2, 0)
    assert store.ingest(project, events=[event(2), event(3), event(3)])[:2] == (1, 2)
    page = store.list_events(project, EventFilter(session_uid=SESSION))
    assert [each["event_id"] for each in page.items] == ["k3v9q2ma-1", "k3v9q2ma-2", "k3v9q2ma-3"]
    assert store.list_sessions(project).items[0]["events"] == 3


def test_an_event_comes_back_as_it_was_sent(store, project):
    sent = event(
        7,
        severity=40,
        agent_role="creator",
        run_id=RUN,
        span_id="8f2c11d0a4e96b37",
        parent_span_id="8f2c11d0a4e96b38",
        tick=17,
        name="publish",
        duration_ms=1.25,
        outcome="error",
        causes=("k3v9q2ma-1",),
        body={"deep": {"list": [1, 2.5, None, True, "x"]}},
    )
    store.ingest(project, events=[sent])
    (found,) = store.list_events(project, EventFilter(run_id=RUN)).items
    assert found == dataclasses.asdict(sent) | {"causes": ["k3v9q2ma-1"]}


def test_a_run_comes_back_with_its_steps_and_its_failure(store, project):
    assert store.ingest(project, runs=[run_row()])[2:] == (1, 1)
    found = store.find_run(project, RUN)
    assert (found["status"], found["failure_type"], found["failure_code"]) == ("failure", "tool", "timeout")
    assert found["labels"] == {"environment": "test"}
    (step,) = store.list_steps(project, RUN).items
    assert (step["step_type"], step["latency_ms"], step["metadata"]) == ("tool", 12.5, {"result_count": 10})
    (failure,) = store.list_failures(project, RUN)
    assert (failure["failure_id"], failure["occurred_us"]) == ("f1", T0 + 5)
    assert store.ingest(project, runs=[run_row()])[2:] == (1, 0)
    assert store.find_run(project, RUN) == found


def parts_of_a_run() -> list[RunRow]:
    """One run as five batches tell it."""
    return [
        RunRow(RUN, "shop", "1.0.0", "running", T0, None, SESSION, None, {"environment": "test"}),
        RunRow(
            RUN,
            session_uid=SESSION,
            steps=(StepRow("s1", 11, "fetch", "tool", "fetch", T0 + 1, None, "running"),),
        ),
        RunRow(
            RUN,
            session_uid=SESSION,
            steps=(StepRow("s1", 11, "fetch", None, None, None, 4.5, "ok", {"n": 1}),),
        ),
        RunRow(RUN, status="partial", ended_us=T0 + 99, session_uid=SESSION, labels={"region": "eu"}),
        RunRow(
            RUN, session_uid=SESSION, failures=(FailureRow("f2", "model", "refused", occurred_us=T0 + 8),)
        ),
    ]


@pytest.mark.further
def test_the_parts_of_a_run_give_the_same_run_in_any_order(store, project):
    seen = set()
    for number in range(12):
        parts = parts_of_a_run()
        random.Random(number).shuffle(parts)
        run_id = f"{RUN[:-2]}{number:02}"
        for part in [*parts, *parts[:2]]:
            store.ingest(project, runs=[dataclasses.replace(part, run_id=run_id)])
        run = store.find_run(project, run_id) | {"run_id": ""}
        (step,) = store.list_steps(project, run_id).items
        run["labels"] = sorted(run["labels"].items())
        seen.add(repr((sorted(run.items(), key=str), step | {"run_id": ""})))
    assert len(seen) == 1
    assert run["status"] == "partial"
    assert dict(run["labels"]) == {"environment": "test", "region": "eu"}
    assert (run["listed_us"], run["ended_us"], run["agent_version"]) == (T0, T0 + 99, "1.0.0")
    assert (run["failure_type"], run["failure_code"]) == ("model", "refused")


def test_a_run_that_has_ended_does_not_run_again(store, project):
    store.ingest(project, runs=[run_row(status="success")])
    store.ingest(project, runs=[run_row(status="running", ended_us=None)])
    store.ingest(project, runs=[run_row(status="failure", ended_us=T0 + 77)])
    assert (store.find_run(project, RUN)["status"], store.find_run(project, RUN)["ended_us"]) == (
        "success",
        T0 + 9000,
    )


def test_one_batch_may_hold_several_parts_of_a_run(store, project):
    assert store.ingest(project, runs=parts_of_a_run())[2:] == (5, 1)
    assert store.find_run(project, RUN)["status"] == "partial"


def many_runs(count: int) -> list[RunRow]:
    return [
        run_row(
            run_id=f"run-{number:03}",
            agent_id=f"agent_{number % 3}",
            status=["success", "failure"][number % 2],
            started_us=T0 + number // 4,
            failures=(),
            steps=(),
        )
        for number in range(count)
    ]


def walk(store: Store, project, wanted: RunFilter, limit: int) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = store.list_runs(project, wanted, limit=limit, cursor=cursor)
        pages.append([run["run_id"] for run in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages


@pytest.mark.first_case
@pytest.mark.parametrize("limit", [1, 7, 50, 51])
def test_pages_hold_every_run_once_newest_first(store, project, limit):
    store.ingest(project, runs=many_runs(50))
    pages = walk(store, project, RunFilter(), limit)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert [each for page in pages for each in page] == [f"run-{number:03}" for number in reversed(range(50))]


def test_runs_are_narrowed_by_each_field(store, project):
    store.ingest(project, runs=[*many_runs(12), run_row()])
    for wanted, count in [
        (RunFilter(), 13),
        (RunFilter(agent_id="agent_1"), 4),
        (RunFilter(agent_id="agent_1", status="failure"), 2),
        (RunFilter(agent_version="1.0.0"), 13),
        (RunFilter(failure_type="tool"), 1),
        (RunFilter(failure_type="tool", failure_code="loop"), 0),
        (RunFilter(session_uid=SESSION), 13),
        (RunFilter(since_us=T0 + 1), 8),
        (RunFilter(until_us=T0 + 1), 5),
    ]:
        assert len(store.list_runs(project, wanted).items) == count, wanted


def test_a_cursor_that_is_none_and_a_limit_out_of_bounds_are_told(store, project):
    for cursor in ["x", "", "W10", "WyJhIiwxXQ", "[1,2]", "é", "A" * 5000]:
        with pytest.raises(UsageError, match="not a cursor"):
            store.list_runs(project, RunFilter(), cursor=cursor)
    for limit in (0, -1, 1001):
        with pytest.raises(UsageError, match="limit"):
            store.list_runs(project, RunFilter(), limit=limit)


def test_sessions_come_in_pages_newest_first(store, project):
    uids = [uuid7(T0 // 1000 + number, b"0123456789") for number in range(5)]
    for number, uid in enumerate(uids):
        store.ingest(
            project, events=[event(1, session_uid=uid, ts_us=T0 + number // 2)], session_id=f"s{number}"
        )
    seen, cursor = [], None
    for _ in range(3):
        page = store.list_sessions(project, limit=2, cursor=cursor)
        seen += [(each["session_uid"], each["session_id"]) for each in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == [(uids[number], f"s{number}") for number in (4, 3, 2, 1, 0)]
    with pytest.raises(UsageError, match="not a cursor"):
        store.list_sessions(project, cursor=make_cursor(1, "no uuid", "session_uid"))
    with pytest.raises(UsageError, match="not a cursor of an earlier page of this list"):
        store.list_runs(project, RunFilter(), cursor=store.list_sessions(project, limit=2).next_cursor)


def test_a_lookup_does_not_wait_for_a_writer(store, project):
    with store.writing() as writing:
        writing.execute(text("UPDATE projects SET created_us = 1"))
        assert store.find_project("default") == project


def test_events_of_one_agent_are_its_journey_in_pages(store, project):
    store.ingest(
        project, events=[event(n, agent_id=f"agent_{n % 2}", severity=40 if n == 3 else 20) for n in range(9)]
    )
    wanted = EventFilter(session_uid=SESSION, agent_id="agent_1")
    first = store.list_events(project, wanted, limit=3)
    rest = store.list_events(project, wanted, limit=3, cursor=first.next_cursor)
    assert [each["ts_us"] - T0 for each in first.items + rest.items] == [1, 3, 5, 7]
    assert rest.next_cursor is None
    assert len(store.list_events(project, EventFilter(session_uid=SESSION, min_severity=40)).items) == 1
    with pytest.raises(UsageError, match="by session or by run"):
        store.list_events(project, EventFilter(agent_id="agent_1"))


def test_one_project_sees_nothing_of_another(store, project):
    other = store.issue_key("other", [Scope.QUERY]).token
    other_project = store.authenticate(other).project
    store.ingest(project, events=[event(1, run_id=RUN)], runs=[run_row()])
    assert store.find_run(other_project, RUN) is None
    assert store.list_runs(other_project, RunFilter()).items == []
    assert store.list_steps(other_project, RUN).items == []
    assert store.list_failures(other_project, RUN) == []
    assert store.list_events(other_project, EventFilter(run_id=RUN)).items == []
    assert store.list_events(other_project, EventFilter(session_uid=SESSION)).items == []
    assert store.list_sessions(other_project).items == []
    assert store.count_runs(other_project, RunFilter())["runs"] == 0
    assert store.ingest(other_project, events=[event(1)], runs=[run_row(status="success")]) == (1, 0, 1, 1)
    assert store.find_run(project, RUN)["status"] == "failure"


def test_runs_in_numbers(store, project):
    runs = [
        run_row(
            run_id=f"run-{number:03}",
            ended_us=T0 + 1000 * (number + 1),
            status="failure" if number < 5 else "success",
            steps=(StepRow("s", 0, "s", "tool", latency_ms=float(number)),),
            failures=(FailureRow("f", "tool", "timeout"),) if number < 5 else (),
        )
        for number in range(100)
    ]
    store.ingest(project, runs=runs)
    counts = store.count_runs(project, RunFilter())
    assert (counts["runs"], counts["by_status"]) == (100, {"success": 95, "failure": 5})
    assert counts["agents"] == [{"agent_id": "shop", "runs": 100, "failed": 5}]
    assert counts["failures"] == [{"failure_type": "tool", "failure_code": "timeout", "runs": 5}]
    assert counts["run_ms"] == {"count": 100, "mean": 50.5, "p50": 50.0, "p95": 95.0, "max": 100.0}
    (steps,) = counts["steps"]
    assert steps == {"step_type": "tool", "count": 100, "mean": 49.5, "p50": 49.0, "p95": 94.0, "max": 99.0}


def test_nothing_in_numbers_is_zero_and_not_an_error(store, project):
    counts = store.count_runs(project, RunFilter())
    assert (counts["runs"], counts["by_status"], counts["run_ms"], counts["steps"]) == (0, {}, None, [])


def test_a_reader_cannot_write_and_the_database_itself_says_so(store, project, database_url):
    store.ingest(project, runs=[run_row()])
    with open_store(database_url, role="query") as reader:
        with pytest.raises(DBAPIError), reader.engine.begin() as connection:
            connection.execute(text("DELETE FROM runs"))
        assert reader.find_run(project, RUN)["agent_id"] == "shop"
        with pytest.raises(UsageError, match="opened for queries"):
            reader.ingest(project, runs=[run_row()])
        for statement in (
            "DELETE FROM runs",
            "INSERT INTO projects (name, content_allowed, created_us) VALUES ('x', true, 1)",
            "UPDATE api_keys SET scopes = 'ingest'",
            "CREATE TABLE mine (x int)",
            "DROP TABLE events",
        ):
            with pytest.raises(DBAPIError), reader.engine.begin() as connection:
                connection.execute(text(statement))
    assert len(store.list_runs(project, RunFilter()).items) == 1


def test_a_reader_of_postgresql_is_refused_by_its_role_even_where_transactions_may_write(store, database_url):
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite has no roles; its file is opened for reading")
    with open_store(database_url, role="query") as reader, reader.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text("DELETE FROM runs"))


def test_a_reader_reads_a_database_that_nobody_has_open(database_url):
    open_store(database_url).close()
    with open_store(database_url, role="query") as reader:
        assert reader.list_projects()[0].name == "default"


def test_a_database_without_a_schema_is_no_database_for_a_reader(database_url):
    with pytest.raises(InputError, match=r"database does not exist|no Agent Trace schema"):
        open_store(database_url, role="query")


def test_the_migrated_database_has_the_tables_that_the_code_names(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def ours(_object, name, kind, _reflected, _other):
        return not (kind == "table" and (name.startswith(("events_", "steps_")) or name == "alembic_version"))

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert set(METADATA.tables) <= set(inspect(connection).get_table_names())


def test_opening_twice_changes_nothing(store, project, database_url):
    store.ingest(project, runs=[run_row()])
    with open_store(database_url) as again:
        assert again.find_run(project, RUN) == store.find_run(project, RUN)


def test_a_database_of_a_newer_version_is_refused(store, database_url):
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for role in ("ingest", "query"):
        with pytest.raises(InputError, match=r"9999.*does not know"):
            open_store(database_url, role=role)


def test_the_files_of_sqlite_are_for_the_user_alone(tmp_path: Path):
    path = tmp_path / "deep" / "er" / "service.db"
    with open_store(str(path)) as store:
        store.ingest(store.find_project("default"), runs=[run_row()])
        for name in ("", "-wal", "-shm"):
            assert stat.S_IMODE(Path(f"{path}{name}").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_what_is_no_database_is_told_in_one_line(tmp_path):
    (tmp_path / "text.db").write_text("this is not a database " * 100)
    with pytest.raises(InputError, match="not a database"):
        open_store(str(tmp_path / "text.db"))
    for url in ("", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "://x"):
        with pytest.raises(UsageError):
            open_store(url)


def test_a_password_is_never_shown():
    with pytest.raises(InputError) as caught:
        open_store("postgresql://someone:hunter2secret@127.0.0.1:1/nothing")
    assert "hunter2secret" not in str(caught.value)


OTHER_PROCESS = """
import sys
from Agent.store import RunFilter, open_store
with open_store(sys.argv[1], role="admin") as store:
    print(store.issue_key("default", ["ingest"]).token)
    print(len(store.list_runs(store.find_project("default"), RunFilter()).items))
"""


@pytest.mark.integration
def test_a_process_that_comes_and_goes_takes_no_file_from_one_that_runs(database_url, tmp_path):
    """SQLite keeps new rows in a file beside the database, which the last process to leave removes."""

    def come_and_go() -> list[str]:
        ended = run_python("-c", OTHER_PROCESS, database_url, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.split()

    with open_store(database_url) as ingest, open_store(database_url, role="replay") as replay:
        default = ingest.find_project("default")
        assert replay.find_project("default") == default
        token, runs = come_and_go()
        assert runs == "0"
        assert ingest.authenticate(token) is not None
        ingest.ingest(default, runs=[RunRow(run_id="first")])
        assert come_and_go()[1] == "1"
        assert len(replay.list_runs(default, RunFilter()).items) == 1


def test_an_event_that_comes_again_with_content_is_completed_and_nothing_of_it_is_changed(store, project):
    taking = project._replace(content_allowed=True)
    poor = event(1, body={"call": "f", "source_id": "~51c0", "metadata": {"size": 1}})
    more = {"args": {"q": "x"}, "metadata": {"size": 1, "note": "n"}}
    whole = event(1, body={"call": "f", "source_id": "Jane Doe", **more})
    other = event(1, body={**whole.body, "args": {"q": "y"}})

    def stored() -> dict:
        return store.list_events(project, EventFilter(session_uid=SESSION)).items[0]["body"]

    assert store.ingest(project, events=[poor]).accepted == 1
    assert store.ingest(project, events=[whole]).duplicates == 1
    assert stored() == poor.body  # the project takes no content
    store.ingest(taking, events=[other, event(2)])
    assert stored() == other.body  # which adds to what was there, as well
    store.ingest(taking, events=[whole, event(2)])
    store.ingest(taking, events=[poor])
    assert stored() == other.body


def test_the_message_of_a_failure_may_come_later(store, project):
    store.ingest(project, runs=[run_row()])
    told = FailureRow("f1", "tool", "timeout", occurred_us=T0 + 5, message="it took too long")
    for failure in (told, dataclasses.replace(told, message="something else"), run_row().failures[0]):
        store.ingest(project, runs=[run_row(failures=(failure,))])
        (row,) = store.list_failures(project, RUN)
        assert row["message"] == "it took too long"


@pytest.mark.integration
def test_what_led_to_an_event_is_found_by_index(postgres):
    asked = []
    with open_store(postgres.make_database("spans")) as store:

        @listens_for(store.engine, "before_cursor_execute")
        def note(_connection, _cursor, statement, parameters, *_):
            asked.append((statement, parameters))

        project = store.find_project("default")
        store.ingest(
            project, events=[event(n, span_id=f"s{n}", parent_span_id=f"s{n // 9}") for n in range(1, 3000)]
        )
        with store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE events")
        asked.clear()
        store.events_of_spans(project, SESSION, around=["s7"], within=["s8"], since_us=1, until_us=2 * T0)
        (statement, parameters) = asked[-1]
        with store.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
            told = "\n".join(plan)
    assert "session_uid_span_id_idx" in told
    assert "session_uid_parent_span_id_idx" in told


@pytest.mark.integration
def test_a_page_is_cut_where_its_items_are_large_and_the_next_one_goes_on(store, project):
    sizes = [6 << 20, 1, 6 << 20, 6 << 20, 20 << 20, 20 << 20, 1]
    sent = [event(number, body={"text": "x" * size}) for number, size in enumerate(sizes, start=1)]
    for each in sent:
        store.ingest(project, events=[each])
    wanted, cursor, pages = EventFilter(session_uid=SESSION), None, []
    while cursor is not None or not pages:
        page = store.list_events(project, wanted, limit=1000, cursor=cursor)
        pages.append([len(item["body"]["text"]) for item in page.items])
        cursor = page.next_cursor
    assert pages == [sizes[:4], sizes[4:5], sizes[5:6], sizes[6:]]
    found = store.events_by_id(project, SESSION, [each.event_id for each in sent])
    assert sum(len(item["body"]["text"]) for item in found) < 40 << 20


def test_only_lists_whose_rows_may_be_large_are_streamed(store, project):
    store.ingest(project, events=[event(1)])
    streamed = []

    @listens_for(store.engine, "before_cursor_execute")
    def seen(connection, cursor, statement, parameters, context, executemany):
        streamed.append(bool(context.execution_options.get("stream_results")))

    store.list_sessions(project)
    store.list_error_groups(project, EventFilter())
    assert streamed and not any(streamed)
    streamed.clear()
    store.list_events(project, EventFilter(session_uid=SESSION))
    assert any(streamed)


def test_a_page_of_fifty_takes_few_round_trips(store, project, monkeypatch):
    store.ingest(project, events=[event(number) for number in range(1, 100)])
    asked = []
    fetchmany = CursorResult.fetchmany

    def counted(self, size=None):
        asked.append(size)
        return fetchmany(self, size)

    monkeypatch.setattr(CursorResult, "fetchmany", counted)
    page = store.list_events(project, EventFilter(session_uid=SESSION), limit=50)
    assert (len(page.items), asked) == (50, [1, 16, 16, 16, 16])


def test_nothing_is_written_to_a_file_that_was_removed_or_replaced(tmp_path):
    path = tmp_path / "service.db"
    url = f"sqlite:///{path}"
    with open_store(url) as store, open_store(url, role="query") as reader:
        project = store.find_project("default")
        store.ingest(project, events=[event(1)])
        for each in tmp_path.glob("service.db*"):
            each.rename(tmp_path / f"moved-{each.name}")
        for role in (store, reader):
            with pytest.raises(OperationalError):
                role.ping()
        with pytest.raises(OperationalError):
            store.ingest(project, events=[event(2)])
        for each in tmp_path.glob("moved-*"):
            each.rename(tmp_path / each.name.removeprefix("moved-"))
        store.ingest(project, events=[event(3)])
        assert ids_stored(reader, project) == ["k3v9q2ma-1", "k3v9q2ma-3"]
        with sqlite3.connect(path) as source, sqlite3.connect(tmp_path / "backup.db") as copy:
            source.backup(copy)
        store.ingest(project, events=[event(4)])
        for each in tmp_path.glob("service.db*"):
            each.unlink()
        (tmp_path / "backup.db").rename(path)
        store.ingest(project, events=[event(5)])
        assert ids_stored(reader, project) == ["k3v9q2ma-1", "k3v9q2ma-3", "k3v9q2ma-5"]
        path.unlink()


def ids_stored(store, project) -> list[str]:
    found = store.list_events(project, EventFilter(session_uid=SESSION)).items
    return [item["event_id"] for item in found]


def test_a_writer_waits_for_others_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("Agent.store.database._TURN_S", 0.1)
    with open_store(f"sqlite:///{tmp_path / 'service.db'}") as store:
        project = store.find_project("default")
        with store.writing(), ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(store.ingest, project, events=[event(n)]) for n in range(1, 5)]
            assert {type(each.exception(timeout=30)) for each in waiting} == {PoolTimeout}
        store.ingest(project, events=[event(1)])


@pytest.mark.first_case
@pytest.mark.parametrize("number", [True, False, 1.5, None, "1", 1 << 63, -(1 << 63)])
def test_a_cursor_of_another_type_is_none_of_ours(store, project, number):
    with pytest.raises(UsageError, match="not a cursor"):
        store.list_runs(project, RunFilter(), cursor=make_cursor(number, "x", "run_id"))


def test_a_disk_that_is_full_when_a_database_is_opened_is_named_with_its_remedy(tmp_path, monkeypatch):
    def full(engine, role):
        raise OperationalError("CREATE TABLE runs", {}, Exception("database or disk is full"))

    monkeypatch.setattr("Agent.store.pool._prepare", full)
    with pytest.raises(InputError, match="cannot be opened: database or disk is full; make room there"):
        open_store(f"sqlite:///{tmp_path / 'service.db'}")
