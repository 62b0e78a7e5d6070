"""Lines that other programs logged become a session: by a mapping, without secrets, with what is skipped counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Agent import LogAnalyzer
from Agent.archive.log_import import FieldMap, import_lines, import_otlp
from Agent.archive.sealed.reader import open_reader
from Agent.cli.main import main
from Agent.errors import DamagedInput, InputError, UsageError
from Agent.record.encode.redaction import Redactor
from Agent.tree.files.session import open_session

REDACTOR = Redactor(b"key")


def written(tmp_path, *lines):
    path = tmp_path / "app.jsonl"
    path.write_bytes(
        b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines)
    )
    return path


def test_lines_with_usual_names_need_no_mapping(tmp_path, trace_root):
    path = written(
        tmp_path,
        {
            "ts": "2026-01-02T03:04:05.000001Z",
            "level": "warn",
            "msg": "low on tea",
            "agent": "cook",
            "stock": 2,
        },
        {
            "ts": "2026-01-02T03:04:06Z",
            "agent": "cook",
            "action": "buy",
            "duration_s": 0.25,
            "step": 7,
            "paid": [1],
        },
        {"ts": 1767323047.5, "agent": "waiter", "error": "dropped a cup"},
    )
    done = import_lines(path, [], trace_root, REDACTOR)
    assert (done.events, done.agents, done.skipped) == (3, {"cook", "waiter"}, 0)
    info = open_session(done.session)
    assert (info.started_at, info.ended_at) == ("2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:07.500000Z")
    analyzer = LogAnalyzer(done.session)
    low, buy = analyzer.trace_agent_journey("cook")
    assert (low["timestamp"], low["level"], low["message"]) == (
        "2026-01-02T03:04:05.000001Z",
        "WARNING",
        "low on tea",
    )
    assert (low["event_type"], low["extra"]["stock"]) == ("log", 2)
    assert (buy["event_type"], buy["tick"], buy["extra"]["duration_ms"]) == ("agent_action", 7, 250.0)
    assert buy["message"] == "Agent action: buy"
    assert buy["extra"]["action_type"] == "buy" and buy["extra"]["paid"] == [1] and buy["span_id"]
    (error,) = analyzer.get_errors("waiter")
    assert error["extra"]["error_message"] == "dropped a cup"
    assert error["timestamp"] == "2026-01-02T03:04:07.500000Z"
    summary = analyzer.session_summary()
    assert summary["total_events"] == 4 and summary["losses"]["clean"]  # with the closing of the writer
    assert done.session.name == "session_20260102_030405"


def test_a_mapping_finds_fields_in_depth_by_pointer_and_as_constants(tmp_path, trace_root):
    path = written(
        tmp_path,
        {
            "at": 1767323045123,
            "who": {"user.name": "a/b"},
            "ev": {"t~x": "walk"},
            "id": 1,
            "span": "s1",
            "k": 1,
        },
        {
            "at": 1767323045124,
            "who": {"user.name": "a/b"},
            "ev": {"t~x": "run"},
            "id": 2,
            "of": "s1",
            "why": [1, 99],
        },
    )
    mapping = ["timestamp=at,agent_id=who.user.name", "action=/ev/t~0x", "agent_role==walker", "span_id=span"]
    mapping += ["parent_span_id=of", "causes=why"]
    done = import_lines(path, mapping, trace_root, REDACTOR)
    walk, run = LogAnalyzer(done.session).trace_agent_journey("a/b")
    assert (
        walk["extra"]["action_type"] == "walk" and walk["agent_role"] == "walker" and walk["extra"]["k"] == 1
    )
    assert run["parent_span_id"] == walk["span_id"] != "s1"
    assert run["causes"] == [walk["id"]] and done.unknown_causes == 1
    assert walk["timestamp"] == "2026-01-02T03:04:05.123000Z"


def test_lines_that_are_no_events_are_skipped_and_counted_with_their_numbers(tmp_path, trace_root):
    path = written(
        tmp_path, b"{broken", {"msg": "no time"}, [1], {"ts": "yesterday"}, {"ts": 5, "duration_ms": "long"}, b"",
        {"ts": "2026-01-01", "msg": "fine"}, {"ts": True}, {"ts": -1e300},
    )  # fmt: skip
    done = import_lines(path, [], trace_root, REDACTOR)
    assert (done.events, done.skipped) == (1, 7)
    assert done.problems[0].startswith("line 1: not JSON") and done.problems[1] == "line 2: no time"
    assert "'yesterday' is not a number" in done.problems[3]
    with pytest.raises(
        InputError, match=r"no line is an event: line 1: not JSON.*--map says where a field is"
    ):
        import_lines(written(tmp_path, b"x"), [], trace_root, REDACTOR)
    assert len(list(trace_root.glob("session_*"))) == 1


def test_secrets_never_reach_the_tree(tmp_path, trace_root):
    secret = "sk-proj-" + "a1B2c3D4e5F6" * 4
    line = {
        "ts": 1767323045,
        "agent": "a",
        "msg": f"key {secret}",
        "deep": {"api_key": "hunter2hunter2"},
        "t": [secret],
    }
    done = import_lines(written(tmp_path, line), [], trace_root, REDACTOR)
    everything = b"".join(path.read_bytes() for path in done.session.rglob("*") if path.is_file())
    assert secret.encode() not in everything and b"hunter2hunter2" not in everything
    assert b"[redacted:" in everything


def test_wrong_mappings_say_what_is_possible(tmp_path, trace_root):
    for wrong in ("nonsense=x", "agent_id", "agent_id=", "=x"):
        with pytest.raises(UsageError, match=r"write FIELD=PLACE.*timestamp"):
            FieldMap.of([wrong])
    with pytest.raises(InputError, match="no such file"):
        import_lines(tmp_path / "nothing", [], trace_root, REDACTOR)


def test_a_line_without_end_is_refused(tmp_path, trace_root, monkeypatch):
    monkeypatch.setattr("Agent.archive.log_import.MAX_LINE_BYTES", 100)
    with pytest.raises(DamagedInput, match="a line is longer"):
        import_lines(written(tmp_path, {"ts": 1}, {"ts": 1, "x": "y" * 200}), [], trace_root, REDACTOR)
    assert not list(trace_root.glob("session_*"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "agent_id", "types", "state", "event_type", "k", "extra", "causes"]), inner),
    max_leaves=8,
)  # fmt: skip
KEYS = [
    "ts",
    "level",
    "msg",
    "agent",
    "role",
    "action",
    "kind",
    "tick",
    "duration_ms",
    "span_id",
    "parent_id",
    "id",
]
KEYS += [
    "causes",
    "error",
    "types",
    "state",
    "code",
    "message",
    "extra",
    "event_type",
    "logger",
    "call",
    "root",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.dictionaries(st.sampled_from(KEYS), JSON), min_size=1, max_size=4))
def test_any_line_gives_a_session_that_can_be_read_whole(tmp_path, trace_root, lines):
    lines = [{"ts": 1767323044}, *({**line, "ts": 1767323045} for line in lines)]
    done = import_lines(written(tmp_path, *lines), [], trace_root, REDACTOR)
    reader = open_reader(done.session)
    events = list(reader.events())
    of_actions = {event.extra.get("error_id") for event in events if event.kind == "agent_action"}
    made = sum(event.kind == "error" and event.id in of_actions for event in events)
    assert done.events - made + done.skipped == len(lines)
    assert len(events) == done.events + 1
    assert not reader.damaged_lines


SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "execute_tool search",
    "startTimeUnixNano": "1767323045000000000", "endTimeUnixNano": "1767323045250000000",
    "attributes": [
        {"key": "gen_ai.agent.name", "value": {"stringValue": "scout"}},
        {"key": "n", "value": {"intValue": "3"}},
        {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}, {"doubleValue": 0.5}]}}},
    ],
    "status": {"code": 2, "message": "timed out"},
    "events": [{"name": "exception", "timeUnixNano": "1767323045200000000", "attributes": []}],
}  # fmt: skip


def test_spans_of_otlp_json_become_nested_actions(tmp_path, trace_root):
    child = {
        **SPAN,
        "spanId": "1111111111111111",
        "parentSpanId": SPAN["spanId"],
        "status": {},
        "attributes": [],
    }
    service = [{"key": "service.name", "value": {"stringValue": "shop"}}]
    spans = [child, SPAN, {"name": "broken"}]
    request = {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": [{"spans": spans}]}]}
    done = import_otlp(written(tmp_path, request, {"other": 1}, b"{"), [], trace_root, REDACTOR)
    assert (done.events, done.agents, done.skipped) == (3, {"scout", "shop"}, 2)
    analyzer = LogAnalyzer(done.session)
    (below,) = analyzer.trace_agent_journey("shop")
    (above,) = (
        event for event in analyzer.trace_agent_journey("scout") if event["extra"]["event_type"] != "error"
    )
    assert below["parent_span_id"] == above["span_id"]
    assert above["extra"]["action_type"] == "execute_tool search" and above["extra"]["duration_ms"] == 250.0
    assert above["extra"]["attributes"]["list"] == [True, 0.5] and above["extra"]["attributes"]["n"] == 3
    assert above["extra"]["outcome"] == "error" and "outcome" not in below["extra"]


def test_a_failed_span_is_one_error_and_so_are_those_that_it_left(tmp_path, trace_root):
    child = {**SPAN, "spanId": "1111111111111111", "parentSpanId": SPAN["spanId"]}
    child["attributes"] = [
        *SPAN["attributes"],
        {"key": "error.type", "value": {"stringValue": "TimeoutError"}},
    ]
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [child, SPAN]}]}]}
    done = import_otlp(written(tmp_path, request), [], trace_root, REDACTOR)
    analyzer = LogAnalyzer(done.session)
    (error,) = analyzer.get_errors()
    assert (error["extra"]["error_message"], error["extra"]["error_type"]) == ("timed out", "TimeoutError")
    actions = [each for each in analyzer.trace_agent_journey("scout") if each["id"] != error["id"]]
    assert [each["extra"]["outcome"] for each in actions] == ["error", "error"]
    (inner,) = (each for each in actions if each["extra"].get("error_id") == error["id"])
    assert error["parent_span_id"] == inner["span_id"] and inner["parent_span_id"] is not None


def test_a_failed_action_of_foreign_lines_is_an_error_too(tmp_path, trace_root):
    lines = [
        {"at": 1767323045, "who": "ann", "did": "pay", "why": "card declined"},
        {"at": 1767323046, "who": "ann", "did": "pay", "why": True},
        {"at": 1767323047, "who": "ann", "did": "pay", "why": None},
    ]
    fields = ["timestamp=at", "agent_id=who", "action=did", "error=why"]
    done = import_lines(written(tmp_path, *lines), fields, trace_root, REDACTOR)
    errors = LogAnalyzer(done.session).get_errors()
    assert [each["extra"]["error_message"] for each in errors] == ["card declined", "pay failed"]
    assert {each["agent_id"] for each in errors} == {"ann"} and done.events == 5


def test_what_export_otlp_writes_import_otlp_reads(tmp_path, trace_root, capsys):
    from Agent.demo.platform import Settings, record_session

    record_session(trace_root, Settings(agents=4, ticks=12, seed=3))
    before = LogAnalyzer(root=trace_root)
    spans = before.sql("SELECT count(*) AS n FROM spans WHERE event_type = 'agent_action'")[0]["n"]
    assert main(["export", "otlp", "--root", str(trace_root), "--file", str(tmp_path / "spans.jsonl")]) == 0
    assert main(["import", "otlp", str(tmp_path / "spans.jsonl"), "--root", str(tmp_path / "other")]) == 0
    assert "imported as session" in capsys.readouterr().out
    after = LogAnalyzer(root=tmp_path / "other")
    assert after.sql("SELECT count(*) AS n FROM actions")[0]["n"] >= spans
    counts = (
        "SELECT agent_id, count(*) AS n FROM actions WHERE action_type LIKE '%publish%' GROUP BY 1 ORDER BY 1"
    )
    assert list(after.sql(counts)) == list(before.sql(counts))
