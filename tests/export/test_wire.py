"""The wire: what of an event leaves, what comes in of a body, and that nothing else ever gets through."""

from __future__ import annotations

import json
import string

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.export import AllowList, WireError, encode_body, event_to_wire, read_batch, read_run
from Agent.export.allow_list import _ROWS

UID = "01a1faff-075e-7c23-890d-c1a7a6022ab5"
PROSE = "Please tell Jane Doe that her test was positive"
TIME = "2026-11-20T10:30:45.123456Z"


def event(kind="agent_action", **more):
    extra = {"agent_id": "clerk", **more.pop("extra", {})}
    return Event(
        timestamp=TIME, id="abcdefgh-7", schema_version=1, kind=kind, session_id="s", extra=extra, **more
    )


def wire(*events, content=False, allowed=None):
    allowed = allowed or AllowList(b"key")
    return orjson.loads(
        encode_body(
            {"session_uid": UID},
            [event_to_wire(each, allowed, content=content) for each in events],
            content=content,
        )
    )


def one(body, **more):
    batch, dropped = read_batch(body, **more)
    assert batch.refused == ()
    return batch.events[0], dropped


def test_an_action_leaves_with_its_name_time_and_outcome_and_without_what_it_was_given():
    allowed = AllowList(b"key")
    body = wire(
        event(
            message="Agent action: answer",
            span_id="8f2c11d0a4e96b37",
            extra={
                "action_type": "answer", "args": {"q": PROSE}, "result": PROSE, "duration_ms": 1.5, "outcome": "error",
                "error_id": "abcdefgh-6", "root": True, "note": PROSE,
            },
            state={"set": {"memory": PROSE}},
            code="5f0c9a1e22b7d6c4",
            causes=("abcdefgh-3",),
            tick=17,
        ),
        allowed=allowed,
    )  # fmt: skip
    found, dropped = one(body)
    assert PROSE not in json.dumps(body)
    assert (found.name, found.duration_ms, found.outcome, found.agent_id) == ("answer", 1.5, "error", "clerk")
    assert (found.causes, found.tick, found.span_id) == (("abcdefgh-3",), 17, "8f2c11d0a4e96b37")
    assert found.body == {"error_id": "abcdefgh-6", "root": True, "code": "5f0c9a1e22b7d6c4"}
    assert set(allowed.dropped) == {"/extra/args", "/extra/result", "/extra/note", "/state"}
    assert not dropped


def test_a_name_that_is_no_label_leaves_as_a_digest_and_is_dropped_by_who_has_no_key():
    body = wire(event(extra={"agent_id": "Jane Doe", "action_type": PROSE}))
    found, _ = one(body)
    assert found.agent_id.startswith("~")
    assert found.name.startswith("~")
    body["events"][0]["agent_id"] = "Jane Doe"
    body["events"][0]["extra"]["action_type"] = PROSE
    found, dropped = one(body)
    assert (found.agent_id, found.name) == (None, None)
    assert dict(dropped) == {"/agent_id": 1, "/extra/action_type": 1}


def test_an_error_leaves_as_its_class_its_fingerprint_and_the_sort_of_failure():
    found, _ = one(
        wire(
            event(
                "error",
                level="ERROR",
                extra={
                    "error_type": "ConnectTimeout", "error_module": "httpx", "error_message": PROSE, "traceback": PROSE,
                    "fingerprint": "0123456789abcdef", "error_args": [PROSE],
                },
            )
        )
    )  # fmt: skip
    assert found.name == "ConnectTimeout"
    assert found.body == {
        "error_module": "httpx",
        "fingerprint": "0123456789abcdef",
        "failure_type": "orchestration",
        "failure_code": "timeout",
    }


def test_content_leaves_only_where_both_ends_want_it():
    sent = event(
        message=PROSE, extra={"action_type": "answer", "args": {"q": PROSE}}, state={"set": {"x": PROSE}}
    )
    assert PROSE in json.dumps(one(wire(sent, content=True), content=True)[0].body)
    for body, takes in (
        (wire(sent, content=True), False),
        ({**wire(sent, content=True), "content": False}, True),
    ):
        found, dropped = one(body, content=takes)
        assert PROSE not in json.dumps(found.body)
        assert {"/extra/args", "/message", "/state"} <= set(dropped)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_of_every_kind_a_text_in_any_key_is_held_back(kind):
    names = {field.name for field in KINDS[kind].fields} | {"agent_role", "own_key", "message", PROSE}
    for value in (PROSE, [PROSE], {"a": PROSE}, {PROSE: 1}, [[{"x": PROSE}]]):
        extra = dict.fromkeys(names, value)
        sent = wire(event(kind, message=PROSE, logger=PROSE, extra=extra))
        assert PROSE not in json.dumps(sent)
        straight = {**wire(event(kind)), "content": True}
        straight["events"][0] |= {
            "extra": extra,
            "message": PROSE,
            "logger": PROSE,
            "state": {PROSE: PROSE},
            "code": PROSE,
        }
        straight["events"][0] |= {
            "agent_id": PROSE,
            "agent_role": PROSE,
            "span_id": PROSE,
            "tick": PROSE,
            "causes": [PROSE],
            PROSE: 1,
        }
        found, dropped = one(straight)
        assert PROSE not in repr(found)
        assert PROSE not in repr(dropped)


def test_every_kind_of_the_payload_table_has_its_row_so_a_new_one_is_a_decision():
    assert set(_ROWS) == set(KINDS)
    named = {(kind, key) for kind, row in _ROWS.items() for key in row}
    assert named <= {(kind, field.name) for kind, row in KINDS.items() for field in row.fields} | {
        ("error", "failure_type"),
        ("error", "failure_code"),
    }


def test_metadata_keeps_counts_flags_and_labels_and_names_what_it_leaves_out():
    allowed = AllowList()
    kept = allowed.metadata(
        {
            "result_count": 10, "http_status": 503, "cached": True, "region": "eu-west-1", "version": "1.0.0", "score": 0.5,
            "prompt": "hello", "query": PROSE, "email": "a@b.c", "phone": 4915112345678, "nested": {"a": 1}, "list": [1],
            "card_like": 4111111111111111, "big": 2**70, "nan": float("nan"), "none": None, PROSE: 1,
        },
        "/metadata",
    )  # fmt: skip
    assert kept == {
        "result_count": 10, "http_status": 503, "cached": True, "region": "eu-west-1", "version": "1.0.0", "score": 0.5,
    }  # fmt: skip
    assert set(allowed.dropped) == {
        f"/metadata/{key}" for key in "prompt query email phone nested list card_like big nan *".split()
    }


def test_what_was_let_through_once_is_let_through_again():
    body = wire(
        event("run.finished", run_id="r1", extra={"ok": False, "status": "failure", "open_steps": ["a", "b"]})
    )
    found, dropped = one(body)
    assert found.body == {"ok": False, "status": "failure", "open_steps": 2}
    assert not dropped


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([PROSE, TIME, UID, "abcdefgh-1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
envelope_keys = (
    "timestamp id kind level run_id span_id causes tick agent_id agent_role extra code schema_version".split()
)


@given(st.dictionaries(st.sampled_from(envelope_keys) | st.text(max_size=5), json_values), json_values)
def test_any_event_gives_a_result_or_is_refused_by_path(item, session):
    good = wire(event())["events"][0]
    for each in (item, {**good, **item}):
        batch, dropped = read_batch({"session": {"session_uid": UID}, "events": [each]})
        assert len(batch.events) + len(batch.refused) == 1
        assert all(path.startswith("/events/0") for _, path, _ in batch.refused)
        assert PROSE not in repr((batch.events, dropped))
        orjson.dumps([vars_of(found) for found in batch.events])


def place_of_problem(read, value):
    """Where a body is none, "" where it is one, in which nothing is that somebody wrote."""
    try:
        found = read(value)
    except WireError as error:
        return error.path
    assert PROSE not in repr(found)
    return ""


@given(json_values)
def test_any_body_gives_a_batch_or_says_where_it_is_none(value):
    for body in (
        value,
        {"events": value},
        {"events": [], "runs": value},
        {"wire_version": value},
        {"events": [1], "session": value},
    ):
        assert place_of_problem(read_batch, body)[:1] in {"", "/"}


@given(
    st.dictionaries(
        st.sampled_from("run_id agent_id status steps failures failure metadata started_at".split()),
        json_values,
    )
)
def test_any_document_is_a_run_or_says_where_it_is_none(document):
    for value in (document, {"run_id": "r1", "agent_id": "a", **document}):
        assert place_of_problem(read_run, value)[:1] in {"", "/"}


def vars_of(message):
    return {name: getattr(message, name) for name in message.__slots__}


def test_a_body_of_depth_a_thousand_or_of_too_many_items_is_answered():
    deep = orjson.loads(b'{"a":' * 900 + b"1" + b"}" * 900)
    body = {**wire(event()), "content": True}
    body["events"][0]["extra"] = deep
    found, _ = one(body, content=True)
    assert "a" in found.body
    with pytest.raises(WireError, match="at most 10,000"):
        read_batch({"session": {"session_uid": UID}, "events": [1] * 10_001})


def test_one_bad_event_does_not_keep_the_others_out():
    body = wire(event(), event(), event())
    body["events"][1] = {"id": "nonsense"}
    batch, _ = read_batch(body)
    assert len(batch.events) == 2
    assert [(number, path) for number, path, _ in batch.refused] == [(1, "/events/1/kind")]


@pytest.mark.parametrize("number", [0, 10**18, 2**63 - 1, 2**63, 10**40])
def test_an_event_with_a_number_that_no_writer_gives_is_refused_and_the_others_are_stored(number):
    body = wire(event(), event())
    body["events"][0]["id"] = f"abcdefgh-{number}"
    body["events"][1] |= {"id": f"abcdefgh-{10**18 - 1}", "causes": [f"abcdefgh-{number}", "abcdefgh-1"]}
    batch, _ = read_batch(body)
    assert [each.causes for each in batch.events] == [("abcdefgh-1",)]
    assert [(index, path) for index, path, _ in batch.refused] == [(0, "/events/0/id")]


DOCUMENT = {
    "run_id": "run-1",
    "agent_id": "my_agent",
    "agent_version": "1.0.0",
    "environment": "production",
    "started_at": "2026-11-20T10:00:00Z",
    "ended_at": "2026-11-20T10:00:03Z",
    "steps": [
        {"step_type": "plan", "name": "analyze_query", "latency_ms": 12},
        {
            "step_id": "s2",
            "seq": 7,
            "step_type": "tool",
            "name": "call_api",
            "metadata": {"attempt": 1, "prompt": PROSE},
        },
        {"step_id": "s2", "step_type": "tool", "name": PROSE},
    ],
    "failures": [{"failure_type": "tool", "failure_code": "timeout", "message": PROSE, "step_id": "s2"}],
    "thoughts": PROSE,
}


def test_a_run_as_a_document_is_read_and_stores_no_free_text():
    run, dropped = read_run(DOCUMENT)
    assert PROSE not in repr(run)
    assert (run.run_id, run.agent_id, run.agent_version, run.status) == (
        "run-1",
        "my_agent",
        "1.0.0",
        "failure",
    )
    assert run.ended_us - run.started_us == 3_000_000
    assert run.labels == {"agent_version": "1.0.0", "environment": "production"}
    assert [(step.step_id, step.step_key, step.position) for step in run.steps] == [
        ("step_1", "step_1", 0), ("s2", "s2", 7), ("s2", "s2.2", 2),
    ]  # fmt: skip
    assert run.steps[1].metadata == {"attempt": 1}
    assert (run.failures[0].failure_type, run.failures[0].failure_code) == ("tool", "timeout")
    assert dict(dropped) == {
        "/thoughts": 1, "/steps/*/metadata/prompt": 1, "/steps/*/name": 1, "/failures/*/message": 1,
    }  # fmt: skip
    assert read_run(DOCUMENT, content=True)[0].failures[0].message == PROSE


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"run_id": None}, "/run_id"),
        ({"agent_id": "Jane Doe"}, "/agent_id"),
        ({"status": "fine"}, "/status"),
        ({"started_at": "yesterday"}, "/started_at"),
        ({"steps": {}}, "/steps"),
        ({"steps": [{"step_type": "think"}]}, "/steps/0/step_type"),
        ({"steps": [{"latency_ms": -1}]}, "/steps/0/latency_ms"),
        ({"failures": [{"failure_type": "bug"}]}, "/failures/0/failure_type"),
    ],
)
def test_a_document_that_is_no_run_says_where(change, path):
    with pytest.raises(WireError) as caught:
        read_run({**DOCUMENT, **change})
    assert caught.value.path == path


@given(st.text(alphabet=string.printable, max_size=80))
def test_no_text_comes_back_from_a_label_but_itself(text):
    run, _ = read_run({"run_id": "r", "agent_id": "a", "metadata": {"region": text}})
    assert run.labels in ({}, {"region": text})


def test_the_name_of_a_session_comes_through_and_nothing_else_in_its_place():
    named = {
        **wire(event()),
        "session": {"session_uid": UID, "session_id": "20261120_103045-2", "host": PROSE},
    }
    assert read_batch(named)[0].session_id == "20261120_103045-2"
    for other in (PROSE, "20261120_103045-" + "2" * 60, 7, ["x"]):
        batch, dropped = read_batch({**named, "session": {"session_uid": UID, "session_id": other}})
        assert (batch.session_uid, batch.session_id) == (UID, None)
        assert dict(dropped) == {"/session/session_id": 1}


@pytest.mark.parametrize("content", [False, True])
def test_a_run_whose_id_tells_something_leaves_under_a_digest_and_so_does_what_points_to_it(content):
    outer = event("run.started", run_id="order-4915112345678", extra={"agent": "clerk"})
    inner = event("run.started", run_id="inner", extra={"parent_run_id": "order-4915112345678"})
    body = wire(outer, inner, content=content)
    assert "4915112345678" not in json.dumps(body)
    batch, _ = read_batch(body, content=content)
    assert batch.refused == ()
    assert batch.runs[0].run_id.startswith("~")
    assert batch.runs[1].parent_run_id == batch.runs[0].run_id


ODD = [7, 2**70, -1.5, True, "", "x" * 9000, "é" * 3000, [], ["x"], {}, {"a": None}, None]


@pytest.mark.parametrize(
    "kind", ["run.started", "run.finished", "run.failure", "step.started", "step.finished", "error"]
)
def test_a_payload_of_any_types_is_stored_with_its_content_and_tells_of_a_run_what_is_sound(kind):
    keys = sorted(
        {*_ROWS[kind], "failure_message", "failure_code", "duration_ms", "outcome", "message", "code", "name"}
    )
    for odd in ODD:
        item = {
            "timestamp": TIME,
            "id": "abcdefgh-1",
            "kind": kind,
            "run_id": "r",
            "extra": dict.fromkeys(keys, odd),
        }
        item |= dict.fromkeys(("message", "state", "types", "artifact_text", "logger", "code"), odd)
        batch, _ = read_batch(
            {"session": {"session_uid": UID}, "content": True, "events": [item]}, content=True
        )
        assert batch.refused == ()
        for run in batch.runs:
            for each in (run, *run.steps, *run.failures):
                told = {
                    name: value
                    for name, value in vars_of(each).items()
                    if name not in ("message", "steps", "failures")
                }
                for name, value in told.items():
                    assert isinstance(
                        value, dict if name in ("labels", "metadata") else (str, int, float, None.__class__)
                    )
                    assert not isinstance(value, str) or len(value) <= 200


def test_a_key_of_a_payload_that_is_called_as_something_beside_it_stays_apart_from_that():
    sent = wire(
        event("log", message="hello", extra={"message": {"of": "mine"}, "state": "ready", "code": 7}),
        content=True,
    )
    found, _ = one(sent, content=True)
    assert found.body == {
        "message": "hello",
        "user.message": {"of": "mine"},
        "user.state": "ready",
        "user.code": 7,
    }


def test_what_took_no_time_at_all_took_zero_milliseconds():
    found, _ = one(wire(event(extra={"action_type": "go", "duration_ms": 0})))
    assert found.duration_ms == 0.0


def test_a_step_that_ended_before_it_began_is_kept_and_its_time_is_not_known():
    times = {"started_at": "2026-11-20T10:00:03Z", "ended_at": "2026-11-20T10:00:00Z"}
    run, _ = read_run({**DOCUMENT, **times, "steps": [times]})
    assert run.steps[0].latency_ms is None


def test_steps_whose_ids_repeat_stay_steps_of_their_own_whatever_the_others_are_called():
    named = [{"step_id": each} for each in ("s.2", "s", "s", "s.2", "s.2.2", "s.2")]
    run, _ = read_run({**DOCUMENT, "steps": named})
    assert len({step.step_key for step in run.steps}) == len(named)
    assert [step.step_id for step in run.steps] == ["s.2", "s", "s", "s.2", "s.2.2", "s.2"]


def test_a_run_without_status_is_running_until_an_end_is_known():
    begun = {"run_id": "r", "agent_id": "a"}
    ended = {**begun, "ended_at": "2026-11-20T10:30:45Z"}
    failed = {**begun, "failures": [{"failure_type": "tool", "failure_code": "timeout"}]}
    said = {**begun, "status": "partial"}
    assert [read_run(each)[0].status for each in (begun, ended, failed, said)] == [
        "running",
        "success",
        "failure",
        "partial",
    ]
