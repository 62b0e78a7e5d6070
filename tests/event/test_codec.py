"""Between an event and its line: both views, nothing lost, damage told."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values
from support.processes import run_python

from Agent.event.codec import (
    LINE_PREFIX,
    DamagedLine,
    decode_line,
    encode_event,
    event_from_object,
    event_to_object,
)
from Agent.event.kinds import LEVELS, Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS

TEXTS = st.text(max_size=10)
LOG_KINDS = [name for name, row in KINDS.items() if row.home is Home.LOG]
RUN_KINDS = [name for name, row in KINDS.items() if row.home is Home.RUN]
ENVELOPE_NAMES = [
    "timestamp",
    "id",
    "type",
    "level",
    "message",
    "types",
    "state",
    "user.id",
    "user.user.type",
    "x/y",
    "~",
]
KEYS = st.sampled_from(ENVELOPE_NAMES) | TEXTS


@st.composite
def events(draw, kinds):
    kind = draw(st.sampled_from(kinds))
    extra = draw(st.dictionaries(KEYS, json_values, max_size=5))
    if KINDS[kind].home is Home.LOG:
        extra["event_type"] = kind
    else:
        extra.pop("event_type", None)
    pointers = [f"/extra/{key.replace('~', '~0').replace('/', '~1')}" for key in extra]
    tags = st.dictionaries(
        st.sampled_from([*pointers, "/state/set/x"]), st.sampled_from(["set", "tuple"]), min_size=1
    )
    return Event(
        timestamp="2026-11-20T10:30:45.123456Z",
        id=f"abcdefgh-{draw(st.integers(1, 2**40))}",
        schema_version=1,
        kind=kind,
        session_id=draw(TEXTS),
        level=draw(st.sampled_from(sorted(LEVELS))),
        logger=draw(TEXTS),
        message=draw(TEXTS),
        run_id=draw(st.none() | TEXTS),
        span_id=draw(st.none() | TEXTS),
        parent_span_id=draw(st.none() | TEXTS),
        causes=tuple(draw(st.lists(TEXTS, max_size=2))),
        tick=draw(st.none() | st.integers(-100, 100)),
        extra=extra,
        code=draw(st.none() | TEXTS),
        state=draw(st.none() | st.just({"set": {"x": 1}, "unset": []})),
        types=draw(st.none() | tags),
    )


@given(events(LOG_KINDS) | events(RUN_KINDS))
def test_a_round_trip_loses_nothing(event):
    line = encode_event(event)
    assert line.startswith(LINE_PREFIX) and line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_line(line) == event
    assert encode_event(decode_line(line)) == line
    assert event_from_object(event_to_object(event)) == event


@given(events(LOG_KINDS))
def test_the_log_view_keeps_the_order_of_the_record(event):
    keys = list(json.loads(encode_event(event)))
    assert keys[:7] == ["timestamp", "id", "schema_version", "session_id", "level", "logger", "message"]
    order = ["run_id", "span_id", "parent_span_id", "causes", "tick", "extra", "code", "state", "types"]
    assert keys[7:] == [key for key in order if key in keys]


@given(events(RUN_KINDS))
def test_the_run_view_is_flat(event):
    obj = json.loads(encode_event(event))
    assert list(obj)[:4] == ["timestamp", "id", "schema_version", "type"]
    assert obj["type"] == event.kind and "extra" not in obj


def test_absent_values_are_absent_keys():
    event = Event("2026-11-20T10:30:45.123456Z", "abcdefgh-1", 1, "log", "s", extra={"event_type": "log"})
    assert set(event_to_object(event)) == {
        "timestamp", "id", "schema_version", "session_id", "level", "logger", "message", "extra",
    }  # fmt: skip


VALID = {
    "timestamp": "2026-11-20T10:30:45.123456Z",
    "id": "abcdefgh-1",
    "schema_version": 1,
    "session_id": "s",
    "extra": {"event_type": "log"},
}


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{}", b"[]", b"5", b"null", b'"text"', b"{", b'{"timestamp":"x"}', b"\xff\xfe", b"{}{}", b"NaN",
        json.dumps({**VALID, "id": "nonsense"}).encode(), json.dumps({**VALID, "id": 5}).encode(),
        json.dumps({**VALID, "extra": 5}).encode(), json.dumps({**VALID, "extra": {"event_type": 5}}).encode(),
        json.dumps({**VALID, "timestamp": 5}).encode(), json.dumps({**VALID, "schema_version": 99}).encode(),
        json.dumps({**VALID, "type": 5}).encode(), json.dumps({**VALID, "causes": 5}).encode(),
        json.dumps({**VALID, "type": "run.started", "types": []}).encode(),
        json.dumps({key: value for key, value in VALID.items() if key != "id"}).encode(),
        json.dumps(VALID).encode()[:-3],
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_is_damage_with_a_reason(line):
    with pytest.raises(DamagedLine) as damage:
        decode_line(line)
    assert str(damage.value)


def test_an_event_with_less_than_usual_is_read():
    event = decode_line(json.dumps(VALID).encode())
    assert (event.kind, event.level, event.logger, event.message, event.causes) == ("log", "INFO", "", "", ())
    assert decode_line(json.dumps({**VALID, "extra": {}}).encode()).kind == "log"


def test_keys_of_a_later_version_are_no_damage():
    assert decode_line(json.dumps({**VALID, "host": "later"}).encode()).kind == "log"


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(DamagedLine):
        decode_line(data)


READ_WITHOUT_MEMORY = """
import resource
from Agent.event.codec import decode_line

line = b'{"timestamp": "' + b"x" * (64 << 20) + b'"}'
resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
try:
    decode_line(line)
except MemoryError as error:
    print("out of memory:", error)
"""


@pytest.mark.process
def test_a_line_that_no_memory_is_left_for_is_not_called_damaged(tmp_path):
    done = run_python("-c", READ_WITHOUT_MEMORY, cwd=tmp_path)
    assert (done.returncode, done.stdout[:14]) == (0, "out of memory:"), done.stderr
