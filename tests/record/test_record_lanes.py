"""The short way and the careful way write the same event, and what went in comes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_kit import recording
from sameness import same
from strategies import json_values, restorable_values

from Agent.event.codec import decode_line, encode_event, validate_event
from Agent.event.values.values import decode_value
from Agent.record.emit.context import SpanScope, current_scope
from Agent.utils import AgentLogger, trace_agent_action

TEXTS = st.text(max_size=12)
PAYLOADS = st.fixed_dictionaries(
    {"action_type": TEXTS},
    optional={
        "action_data": json_values,
        "decision_context": st.dictionaries(TEXTS, json_values, max_size=4),
    },
)
ODD_PAYLOADS = st.fixed_dictionaries({"action_type": TEXTS}, optional={"action_data": restorable_values})


def written_both_ways(payload, causes=()):
    """The same payload through `emit_plain` (twice, so that its head is known) and through `emit`."""
    with recording(redact=False) as found:
        slot = found.pipeline.binding("a", "creator", "agent.creator").slot("agent_action", 20)
        label = payload["action_type"]
        found.pipeline.emit_plain(slot, label, payload)
        found.pipeline.emit_plain(slot, label, payload)
        found.pipeline.emit(slot, label, payload)
        assert not found.health.dropped and not found.health.notes
        return found.sink.lines


def without_stamp(line):
    event = json.loads(line)
    return {key: value for key, value in event.items() if key not in {"timestamp", "id"}}


@given(st.one_of(PAYLOADS, ODD_PAYLOADS))
def test_both_ways_write_the_same_valid_event_and_the_values_come_back(payload):
    first, short, careful = written_both_ways(payload)
    assert without_stamp(first) == without_stamp(short) == without_stamp(careful)
    assert list(json.loads(short)) == list(json.loads(careful))
    for line in (short, careful):
        event = decode_line(line)
        assert json.loads(encode_event(event)) == json.loads(line)
        assert validate_event(json.loads(line)) == []
        for key, value in payload.items():
            if key != "action_type":
                assert same(decode_value(event.extra[key], event.types, f"/extra/{key}"), value)
    assert json.loads(short)["extra"]["action_type"] == payload["action_type"]


@given(PAYLOADS)
def test_redaction_leaves_what_it_does_not_name(payload):
    with recording() as found:
        AgentLogger("a").log_action(**payload)
        AgentLogger("a").log_action(**payload)
        for event in found.events:
            if "redacted" not in str(event.get("types")) and "[redacted:" not in str(event):
                assert event["extra"]["action_type"] == payload["action_type"]
                assert event["extra"].get("action_data") == payload.get("action_data")
        assert not found.health.dropped


# of a key that begins so it cannot be told from outside whether it was moved there
@pytest.mark.further
@given(st.dictionaries(TEXTS.filter(lambda key: not key.startswith("user.")), restorable_values, max_size=4))
def test_fields_of_messages_and_contexts_come_back(fields):
    with recording(redact=False) as found:
        logger = AgentLogger("a")
        logger.info("m", extra=fields)
        logger.bind(**fields).log_action("act")
        token = current_scope.set(SpanScope(None, fields=fields))
        try:
            logger.log_action("act", {"x": 1})
        finally:
            current_scope.reset(token)
        assert not found.health.dropped
        for event in found.events:
            for key, value in fields.items():
                own = "user." if f"user.{key}" in event["extra"] else ""
                pointer = "/extra/" + (own + key).replace("~", "~0").replace("/", "~1")
                assert same(decode_value(event["extra"][own + key], event.get("types"), pointer), value)


@pytest.mark.further
@given(
    st.lists(restorable_values, max_size=3),
    st.dictionaries(TEXTS.filter(str.isidentifier), restorable_values, max_size=2),
)
def test_arguments_and_results_of_calls_come_back(args, kwargs):
    @trace_agent_action
    def act(*rest, **more):
        return (rest, more)

    with recording(redact=False) as found:
        act(*args, **kwargs)
        event = found.only("agent_action")
        types = event.get("types")
        assert same(decode_value(event["extra"]["result"], types, "/extra/result"), (tuple(args), kwargs))
        told = decode_value(event["extra"]["args"], types, "/extra/args")
        assert same(told.get("*rest", []), args)
        assert not found.health.dropped


@pytest.mark.parametrize(
    "label", ["", "x", "ü" * 3000, 'quote " and \\ and \n newline', "\udcff", "{action_type}", "%s %d"]
)
def test_any_label_is_one_message(label):
    with recording() as found:
        slot = found.pipeline.binding("a", None, "agent").slot("agent_action", 20)
        for _ in range(2):
            found.pipeline.emit_plain(slot, label, {"action_type": label})
        one, two = found.events
        assert one["message"] == two["message"]
        assert one["message"].startswith("Agent action: ")


def test_a_scope_gives_its_links_on_both_ways(recorded):
    slot = recorded.pipeline.binding("a", None, "agent").slot("agent_action", 20)
    token = current_scope.set(SpanScope(None, span_id="00000000000000ff", tick=4, causes=("aaaaaaaa-1",)))
    try:
        for _ in range(3):
            recorded.pipeline.emit_plain(slot, "x", {"action_type": "x"})
        recorded.pipeline.emit(slot, "x", {"action_type": "x"})
    finally:
        current_scope.reset(token)
    assert len(recorded.events) == 4
    for event in recorded.events:
        assert (event["parent_span_id"], event["tick"], event["causes"]) == (
            "00000000000000ff",
            4,
            ["aaaaaaaa-1"],
        )
