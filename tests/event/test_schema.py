"""What a valid event is, and how older ones become current."""

import pytest

from Agent.event import payloads
from Agent.event.codec import CURRENT_SCHEMA, SchemaError, migrate_event, validate_event
from Agent.event.kinds import Home
from Agent.event.payloads import KINDS

SAMPLES = {
    "string": "x",
    "number": 1.5,
    "integer": 1,
    "boolean": True,
    "object": {},
    "array": [],
    "any": None,
}
WRONG = {"string": 5, "number": [], "integer": 1.5, "boolean": "yes", "object": [], "array": {}}


def sample(kind, *, optional=True):
    """A valid event of a kind, in its home view."""
    row = KINDS[kind]
    payload = {field.name: SAMPLES[field.type] for field in row.fields if field.required or optional}
    event = {
        "timestamp": "2026-11-20T10:30:45.123456Z",
        "id": "abcdefgh-1",
        "schema_version": CURRENT_SCHEMA,
    }
    if row.home is Home.RUN:
        return {**event, "type": kind, **payload}
    return {**event, "level": "INFO", "logger": "x", "message": "m", "extra": {"event_type": kind, **payload}}


def test_an_event_of_every_kind_can_be_valid():
    for kind in KINDS:
        for optional in (True, False):
            assert validate_event(sample(kind, optional=optional)) == [], (kind, optional)


def test_each_field_is_looked_at():
    for kind, field in [(kind, field) for kind, row in KINDS.items() for field in row.fields]:
        event = sample(kind)
        payload = event if "type" in event else event["extra"]
        if field.type in WRONG:
            payload[field.name] = WRONG[field.type]
            assert any(field.name in problem for problem in validate_event(event)), (kind, field)
        payload.pop(field.name)
        assert bool(validate_event(event)) == field.required, (kind, field)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 5}, "timestamp"),
        ({"id": "1"}, "id"),
        ({"id": None}, "id"),
        ({"schema_version": "1"}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"level": "LOUD"}, "level"),
        ({"level": None}, "level"),
        ({"extra": []}, "extra"),
        ({"extra": {}}, "type"),
        ({"extra": {"event_type": 5}}, "type"),
    ],
)
def test_a_broken_envelope_is_told_in_words(change, word):
    problems = validate_event({**sample("log"), **change})
    assert any(word in problem for problem in problems)


@pytest.mark.parametrize("key", ["timestamp", "id", "schema_version", "level", "extra"])
def test_a_missing_key_is_a_problem(key):
    event = sample("log")
    del event[key]
    assert validate_event(event)


def test_validation_is_total():
    for odd in (
        {},
        {"type": "x"},
        {"extra": None},
        {"type": None},
        {"extra": {"event_type": "state", "fields": 1}},
    ):
        assert validate_event(odd)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("NaN", "float"),
        ("Infinity", "numpy:float32"),
        ("123456789012345678901234567890", "int"),
        ("0.1", "decimal"),
        ("1/3", "fraction"),
        ("[redacted:x]", "redacted"),
        ("[str 5:x]", "opaque"),
        ({"head": "x"}, "truncated"),
        ({"digest": "x"}, "opaque"),
    ],
)
def test_values_that_plain_json_lacks_stand_in_for_numbers_if_they_are_tagged(value, tag):
    event = sample("reward")
    event["extra"]["reward"] = value
    assert len(validate_event(event)) == 1
    assert validate_event({**event, "types": {"/extra/reward": tag}}) == []
    run = {**sample("step.finished"), "duration_ms": value}
    assert len(validate_event(run)) == 1
    assert validate_event({**run, "types": {"/duration_ms": tag}}) == []


def test_a_text_is_no_number_though_it_is_tagged_as_another_value():
    event = sample("reward")
    event["extra"]["reward"] = "high"
    for tag in ("str", "bytes", "uuid", "numpy:str_"):
        assert validate_event({**event, "types": {"/extra/reward": tag}}) == [
            "reward.reward is str, not number"
        ]
    whole = {**sample("cascade"), "types": {"/extra/size": "float"}}
    whole["extra"]["size"] = "NaN"
    assert validate_event(whole) == ["cascade.size is str, not integer"]


def test_a_kind_of_a_later_version_is_kept_not_judged():
    event = sample("log")
    event["extra"] = {"event_type": "from.the.future", "anything": 1}
    assert validate_event(event) == []


def test_the_current_version_is_left_as_it_is():
    event = sample("agent_action")
    migrated = migrate_event(event)
    assert migrated == event and migrated is not event


@pytest.mark.parametrize("version", [0, -1, CURRENT_SCHEMA + 1, None, "1", 1.0, True])
def test_an_unknown_version_is_refused(version):
    with pytest.raises(SchemaError, match="schema version") as caught:
        migrate_event({**sample("log"), "schema_version": version})
    assert ("newer" in str(caught.value)) is (version == CURRENT_SCHEMA + 1)


def test_an_older_version_is_brought_up_step_by_step(monkeypatch):
    from Agent.event import codec

    monkeypatch.setattr(codec, "CURRENT_SCHEMA", 3)
    monkeypatch.setitem(codec._UPCASTERS, 1, lambda event: {**event, "steps": ["1 to 2"]})
    monkeypatch.setitem(codec._UPCASTERS, 2, lambda event: {**event, "steps": [*event["steps"], "2 to 3"]})
    event = {**sample("log"), "schema_version": 1}
    assert codec.migrate_event(event)["steps"] == ["1 to 2", "2 to 3"]
    assert codec.migrate_event(event)["schema_version"] == 3
    assert event["schema_version"] == 1


def test_the_payload_table_is_in_order():
    for name, row in KINDS.items():
        assert row.name == name
        assert len({field.name for field in row.fields}) == len(row.fields)
        assert {field.type for field in row.fields} <= SAMPLES.keys()
        assert not {"agent_id", "agent_role", "event_type"} & {field.name for field in row.fields}
    assert {name for name, row in KINDS.items() if row.is_span} == {
        "agent_action",
        "learning_update",
        "metric",
        "context_exit",
        "span",
        "tool.call",
    }


def test_the_fields_in_a_message_are_fields_of_the_kind():
    import re

    for row in KINDS.values():
        for name in re.findall(r"\{(\w+)\}", row.message):
            known = {field.name for field in row.fields} | {"agent_id", "message"}
            assert name in known or row.home is Home.RUN, (row.name, name)


def test_every_line_of_the_table_of_kinds_belongs_to_a_row():
    lines = [line for line in payloads._TABLE.splitlines() if line.strip() and not line.startswith("#")]
    assert [line.split()[0] for line in lines if not line[0].isspace()] == list(KINDS)
    for line in lines:
        assert not line[0].isspace() or line.startswith("    "), f"indent it by four blanks: {line}"
