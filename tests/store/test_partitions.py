"""PostgreSQL: events lie in the month of their session, steps in that of their run, and schema.sql is the schema."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

import Agent.store
from Agent.event.ids import uuid7
from Agent.store import EventFilter, EventRow, RunRow, StepRow, open_store
from Agent.store.engines import READER_ROLE, schema_sql
from Agent.store.writes import month_of_id


def uid(year: int, month: int) -> str:
    return uuid7(int(datetime(year, month, 15, tzinfo=UTC).timestamp() * 1000), b"0123456789")


@pytest.fixture
def database_url(postgres, request):
    return postgres.make_database(f"months_{abs(hash(request.node.name))}")


def test_the_month_of_an_id_is_that_of_its_time():
    assert month_of_id(uid(2026, 2)) == (2026, 2)
    assert [
        month_of_id(each) for each in ("", "run-1", "0" * 32, "00000000-0000-4000-8000-000000000000")
    ] == [None] * 4


def test_rows_lie_in_the_months_of_their_ids(database_url):
    sessions = [uid(2024, 12), uid(2025, 1), "7c0e1d3a-36d4-5f43-8a30-4be1bfa4c8e1", uid(2099, 1)]
    with open_store(database_url) as store:
        project = store.find_project("default")
        events = [EventRow(each, "k3v9q2ma-1", 1_000, "log", run_id="r") for each in sessions]
        runs = [RunRow(each, steps=(StepRow("s", 0, "s"),)) for each in (uid(2025, 1), "run-1")]
        for _ in range(2):
            store.ingest(project, events=events, runs=runs)
        with store.engine.connect() as connection:
            places = connection.execute(
                text("SELECT tableoid::regclass::text, session_uid::text FROM events")
            ).all()
            steps = connection.execute(text("SELECT tableoid::regclass::text FROM steps")).scalars().all()
        assert sorted(places) == sorted(
            zip(
                ["events_2024_12", "events_2025_01", "events_default", "events_default"],
                sessions,
                strict=True,
            )
        )
        assert sorted(steps) == ["steps_2025_01", "steps_default"]
        assert len(store.list_events(project, EventFilter(run_id="r")).items) == 4


def test_a_month_whose_rows_came_too_early_stays_in_the_default_partition(database_url, monkeypatch):
    from Agent.store import writes as ingesting

    far = uid(2027, 8)
    with open_store(database_url) as store:
        project = store.find_project("default")
        monkeypatch.setattr(ingesting, "_FIRST_MONTH", (2030, 1))
        store.ingest(project, events=[EventRow(far, "k3v9q2ma-1", 1, "log")])
        monkeypatch.setattr(ingesting, "_FIRST_MONTH", (2020, 1))
        monkeypatch.setattr(ingesting, "_MONTHS_AHEAD", 60)
        store.ingest(project, events=[EventRow(far, f"k3v9q2ma-{n}", 1, "log") for n in (1, 2)])
        assert len(store.list_events(project, EventFilter(session_uid=far)).items) == 2


def test_one_session_is_read_from_one_partition(database_url):
    with open_store(database_url) as store:
        project = store.find_project("default")
        store.ingest(
            project, events=[EventRow(uid(2025, month), "k3v9q2ma-1", 1, "log") for month in range(1, 13)]
        )
        with store.engine.connect() as connection:
            plan = "\n".join(
                connection.execute(
                    text(
                        f"EXPLAIN SELECT * FROM events WHERE project_id = 1 AND session_uid = '{uid(2025, 3)}' ORDER BY ts_us"
                    )
                ).scalars()
            )
    assert "events_2025_03" in plan
    assert plan.count("events_2025") == plan.count("events_2025_03")


def test_schema_sql_is_what_the_migrations_say():
    path = Path(Agent.store.__file__).with_name("schema.sql")
    assert path.read_text() == schema_sql(), (
        "make it again: python -m Agent.store.engines > Agent/store/schema.sql"
    )


def test_a_database_made_of_schema_sql_is_taken_as_it_is(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(schema_sql())
    with open_store(database_url) as store:
        assert store.ingest(store.find_project("default"), runs=[RunRow("r")]).runs_new == 1
    with open_store(database_url, role="query") as reader, reader.engine.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar() == READER_ROLE
