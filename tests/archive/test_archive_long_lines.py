"""A part of an archive with longer lines than were sealed ends in one error, and is read in small pieces."""

from __future__ import annotations

import shutil

import pytest
from support.known_truth import make_session

from Agent import LogAnalyzer
from Agent.archive import open_reader, seal, unseal
from Agent.archive.sealed.parts import read_parts
from Agent.archive.sealed.reader import _batches
from Agent.errors import DamagedInput

MIB = 1024 * 1024


@pytest.fixture
def inflated(tmp_path):
    """A sealed session whose messages were replaced by long ones, which take few bytes in the file."""
    session = make_session(tmp_path / "trace", events=300, agents=3).session
    seal(session, remove=True)
    import duckdb

    for part in read_parts(session):
        made = tmp_path / "made.parquet"
        rows = f"SELECT * REPLACE (repeat('a', 200000) AS message) FROM read_parquet('{part.parquet}')"
        duckdb.sql(f"COPY ({rows}) TO '{made}' (FORMAT parquet)")
        assert made.stat().st_size < MIB
        shutil.copyfile(made, part.parquet)
    return session


@pytest.mark.first_case
@pytest.mark.parametrize(
    "read",
    [
        lambda session: list(open_reader(session).events()),
        lambda session: list(open_reader(session).agent_events("agent_00001")),
        lambda session: list(open_reader(session).category_events("interactions")),
        lambda session: LogAnalyzer(session).trace_agent_journey("agent_00001"),
        unseal,
    ],
    ids=["all", "agent", "category", "journey", "unseal"],
)
def test_lines_longer_than_those_sealed_are_one_error(inflated, read):
    with pytest.raises(DamagedInput, match="lines are longer than those that were sealed") as raised:
        read(inflated)
    assert "part-000001.parquet" in str(raised.value)


class Cursor:
    """Rows of 1 MiB each."""

    def __init__(self, rows):
        self.rows, self.fetched = rows, []

    def fetchmany(self, number):
        number = min(number, self.rows)
        self.rows -= number
        self.fetched.append(number)
        return [("part-000001", "x.log", 1, b"a" * MIB)] * number


def test_rows_are_fetched_by_the_length_of_those_before(inflated):
    (part,) = read_parts(inflated)
    cursor = Cursor(100)
    # as if one agent's lines were long in a part whose lines are short on average
    list(_batches(cursor, [part] * (200 * MIB // part.json_bytes), 4096))
    assert max(cursor.fetched) <= 16 and sum(cursor.fetched) == 100
