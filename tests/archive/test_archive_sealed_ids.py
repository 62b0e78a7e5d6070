"""Sealed rows say which event of which session they are; older parts read on; edited lines beside a part are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.session_files import record_files

from Agent import AgentLogger, LogAnalyzer, setup_logging, shutdown_logging
from Agent.archive.sealed import parquet_rows, part_file
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify


@pytest.fixture
def session(trace_root):
    path = setup_logging(trace_root=trace_root).path
    for agent in ("a", "b"):
        for n in range(50):
            AgentLogger(agent, "r").log_action("x", {"n": n})
    shutdown_logging()
    return path


def lines_of(session: Path) -> set[str]:
    return {
        json.loads(line)["id"] for path in record_files(session) for line in path.read_bytes().splitlines()
    }


def test_a_sealed_row_carries_the_session_and_the_id_of_its_event(session):
    ids = lines_of(session)
    with (session / "agents" / "b.log").open("ab") as file:
        file.write(b"damaged\n")
    seal(session)
    uid = json.loads((session / "session.json").read_bytes())["session_uid"]
    import duckdb  # here: what is there before `gc.freeze` is told to be leaked at the end

    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT session_uid, id FROM '{session}/archive/*.parquet'").fetchall()
    assert {row[0] for row in rows} == {uid}
    assert {row[1] for row in rows} == ids | {None}


def test_a_part_has_row_groups_that_several_tasks_can_share(trace_root, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROW_GROUP_BYTES", 2_000_000)
    session = setup_logging(trace_root=trace_root).path
    logger = AgentLogger("c", "r")
    for n in range(5000):
        logger.log_action(
            "x", {"n": n, "text": "a" * 600}
        )  # 2,048 of them, the fewest that the engine groups
    shutdown_logging()
    seal(session)
    import duckdb  # here: as above

    with duckdb.connect() as connection:
        groups = connection.execute(
            f"SELECT file_name, max(row_group_num_rows) FROM parquet_metadata('{session}/archive/*.parquet') "
            "GROUP BY file_name, row_group_id"
        ).fetchall()
    assert len(groups) > len({name for name, _ in groups}) and max(rows for _, rows in groups) <= 2048


def without_ids(rows: str, _: str | None) -> str:
    """The rows of the first version of the archive."""
    return rows


@pytest.mark.further
@pytest.mark.parametrize("older_first", [True, False])
def test_parts_of_both_forms_are_read_together(session, monkeypatch, older_first):
    ids = lines_of(session)
    calls = 0
    newer = part_file.identified

    def by_turns(*given) -> str:
        nonlocal calls
        calls += 1
        return (without_ids if calls % 2 == older_first else newer)(*given)

    monkeypatch.setattr(part_file, "identified", by_turns)
    seal(session, remove=True, part_bytes=1)
    assert calls >= 3 and not record_files(session)
    with LogAnalyzer(session) as analyzer:
        assert {row["id"] for row in analyzer.sql("SELECT id FROM events")} == ids
        assert {event.id for event in analyzer.reader.events()} == ids
        assert analyzer.sql("SELECT count(*) AS n FROM actions") == [{"n": 100}]
    assert verify(session).sound


def test_a_line_that_was_edited_beside_its_sealed_copy_is_named(session):
    seal(session)
    assert verify(session).sound
    path = session / "agents" / "a.log"
    path.write_bytes(path.read_bytes().replace(b'"n":7}', b'"n":8}'))
    found = verify(session)
    assert not found.sound
    assert found.changed_files == ("agents/a.log",)


def test_a_line_behind_what_was_sealed_changes_nothing(session):
    seal(session)
    with (session / "agents" / "a.log").open("ab") as file:
        file.write(b"\n")
    assert verify(session).changed_files == ()
