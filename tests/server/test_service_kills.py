"""The service killed at random while agents record and are sent: afterwards each event is there, exactly once."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from contextlib import closing

import pytest
from killing import judge, kill_under_load
from sqlalchemy import text
from support.databases import postgres_server
from support.services import ServedProcess

from Agent.store import open_store

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)

EARLY_ANSWERS = """
import sys, threading, time
from Agent.store import Ingested, Store
commits = Store.ingest

def ingest(self, project, *, events=(), runs=(), session_id=None):
    def later():
        time.sleep(0.4)
        commits(self, project, events=events, runs=runs, session_id=session_id)
    threading.Thread(target=later, daemon=True).start()
    return Ingested(len(events), 0, len(runs), len(runs))

Store.ingest = ingest
from Agent.cli.main import run
sys.exit(run())
"""
"""A service that answers before it has committed."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    return postgres_server().make_database(f"kills_{next(_numbers)}")


@pytest.mark.parametrize(
    ("kills", "longest_outage_s"), [(3, 1.0), pytest.param(100, 150.0, marks=pytest.mark.slow)]
)
def test_every_event_is_there_once_after_the_service_was_killed(
    database_url, tmp_path, kills, longest_outage_s
):
    seed = random.randrange(2**32)
    course = kill_under_load(
        database_url, tmp_path, random.Random(seed), kills=kills, longest_outage_s=longest_outage_s
    )
    problems, compared = judge(course.roots, database_url)
    print(f"seed {seed}: {course}, {compared} events compared")
    assert problems[:20] == []
    assert course.kills == kills
    assert course.retries >= kills / 4  # of the later half the shipper met nearly each
    assert compared > 100 * kills
    assert kills < 100 or course.cut > 0  # some kills came while a body was at work


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'service.db'}"


@pytest.mark.slow
def test_a_shipper_that_forgets_what_nobody_took_is_caught(sqlite_url, tmp_path):
    course = kill_under_load(
        sqlite_url, tmp_path, random.Random(7), kills=2, longest_outage_s=1.0, forgets=True
    )
    problems, _ = judge(course.roots, sqlite_url)
    assert any("is lost" in problem for problem in problems)


def test_a_service_that_answers_before_it_commits_is_caught(sqlite_url, tmp_path):
    service = ServedProcess(sqlite_url, tmp_path, program=("-c", EARLY_ANSWERS))
    course = kill_under_load(
        sqlite_url, tmp_path, random.Random(7), kills=4, longest_outage_s=1.0, service=service
    )
    problems, _ = judge(course.roots, sqlite_url)
    assert any("is lost" in problem for problem in problems)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A short course, and its database."""
    directory = tmp_path_factory.mktemp("undisturbed")
    place = directory / "service.db"
    course = kill_under_load(f"sqlite:///{place}", directory, random.Random(3), kills=1, longest_outage_s=0.0)
    with closing(sqlite3.connect(place)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file alone is copied below
    return course, place


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM events WHERE event_id = :event_id", "is lost"),
        ("UPDATE events SET event_id = 'zzzzzzzz-1' WHERE event_id = :event_id", "is in no tree"),
        ("UPDATE events SET kind = 'metric' WHERE event_id = :event_id", "recorded was"),
        ("UPDATE sessions SET events = events + 1", "counts"),
        ("DELETE FROM steps WHERE run_id = (SELECT min(run_id) FROM steps)", "steps"),
        ("UPDATE runs SET status = 'running'", "running"),
    ],
)
def test_the_judge_notices_each_difference(undisturbed, tmp_path, statement, told):
    course, place = undisturbed
    assert judge(course.roots, f"sqlite:///{place}")[0] == []
    url = f"sqlite:///{shutil.copy(place, tmp_path)}"
    with open_store(url) as store, store.engine.connect() as connection:
        transaction = connection.begin()
        event_id = connection.execute(text("SELECT max(event_id) FROM events")).scalar()
        connection.execute(text(statement), {"event_id": event_id} if ":event_id" in statement else {})
        transaction.commit()
    problems, _ = judge(course.roots, url)
    assert any(told in problem for problem in problems), problems[:5]
