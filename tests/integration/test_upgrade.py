"""Trees that earlier versions left read for ever: each version of the schema has one under tests/golden."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from support.session_files import only_session, record_files

from Agent.event.codec import CURRENT_SCHEMA, encode_event, event_to_object, validate_event
from Agent.event.values.values import decode_value
from Agent.tree.read.reader import TreeReader
from Agent.utils import LogAnalyzer, debug_issue

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*") if path.is_dir())


@pytest.fixture(params=VERSIONS)
def golden(request, tmp_path) -> tuple[Path, dict]:
    """A copy of a golden session, and what must be read from it."""
    root = tmp_path / "golden"
    shutil.copytree(GOLDEN / request.param, root)
    return only_session(root), json.loads((root / "expected.json").read_text())


def test_every_version_of_the_schema_left_a_tree():
    assert [f"v{number}" for number in range(1, CURRENT_SCHEMA + 1)] == VERSIONS


def test_all_events_are_read_in_order_and_without_damage(golden):
    session, expected = golden
    reader = TreeReader(session)
    events = list(reader.events())
    assert [event.id for event in events] == expected["ids"]
    assert Counter(event.kind for event in events) == expected["kinds"]
    assert {event.schema_version for event in events} == {CURRENT_SCHEMA}
    assert {event.session_id for event in events} == {expected["session_id"]}
    assert sorted({event.agent_id for event in events if event.agent_id is not None}) == expected["agents"]
    assert reader.damage() == []
    assert reader.losses().clean


def test_all_events_are_valid_and_written_again_they_are_the_same(golden):
    session, _ = golden
    events = list(TreeReader(session).events())
    assert len(events) > 20
    for event in events:
        assert validate_event(event_to_object(event)) == []
        assert json.loads(encode_event(event)) == event_to_object(event)


def test_a_journey_is_read_as_it_was(golden):
    session, expected = golden
    journey = LogAnalyzer(session=session).trace_agent_journey("clerk/one")
    assert [[event["timestamp"], event["message"]] for event in journey] == expected["journey"]


def test_values_come_back_as_what_they_were(golden):
    session, _ = golden
    event = next(
        event for event in TreeReader(session).events() if event.extra.get("action_type") == "values"
    )
    assert event.types
    values = decode_value(event.extra["action_data"], event.types, "/extra/action_data")
    assert values == {
        "tuple": (1, "two", None),
        "set": {3},
        "bytes": b"\x00\xff",
        "when": datetime(2026, 11, 20, 10, 30, 45, 123456, tzinfo=UTC),
        "span": timedelta(seconds=90),
        "uuid": UUID("0192f3a4-5b6c-7d8e-9f01-23456789abcd"),
        "decimal": Decimal("1.10"),
        "infinite": float("-inf"),
        "large": 2**80,
        "q_table": {(0, 1): 0.5, (1, 1): -0.25},
        "text": 'quotes " and\na line, ünïcödé',
    }


def test_a_report_about_it_finds_its_error(golden):
    session, _ = golden
    patterns = LogAnalyzer(session=session).find_error_patterns()
    assert patterns["total_errors"] == 1
    report = str(debug_issue("form 27b is lost", session=session))
    assert "form 27b is lost" in report


def test_reading_changes_nothing_of_the_record(golden):
    session, _ = golden
    before = {path: path.read_bytes() for path in record_files(session)}
    list(TreeReader(session).events())
    LogAnalyzer(session=session).find_error_patterns()
    assert {path: path.read_bytes() for path in record_files(session)} == before
