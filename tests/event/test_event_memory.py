"""Memory is asked for before orjson needs it: never less than it then takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from Agent.event.values import plain
from Agent.event.values.plain import ask_memory, ask_memory_for, read_json, write_json
from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.record.encode import capture
from Agent.record.encode.native import native
from Agent.record.encode.redaction import Redactor

NOT_ASKED_FOR_BYTES = 262_144
"""What a small value takes at most."""
LETTERS = ("x", '"', "\x01", "\u00e9", "\u4e2d", "\U0001f600")
COUNTS = (1, 60, 904)
"""At 904 items the buffer of a list has just doubled."""


def values(count: int) -> dict[str, Any]:
    return {
        "null": [None] * count,
        "floats": [0.1234567890123456] * count,
        "integers": [-(2**63)] * count,
        "dict": {str(n): None for n in range(count)},
        "keys": {"\u4e2d" * 20 + str(n): 1.5 for n in range(count)},
        "empty lists": [[] for _ in range(count)],
        "empty dicts": [{} for _ in range(count)],
        "dicts": [{"id": n, "x": n * 0.5, "ok": True} for n in range(count)],
        "deep": nested(min(count, 12), ["x"] * count),
        "texts first": ["x" * count, [0.5] * count],
        **{f"text {letter!a}": letter * count for letter in LETTERS},
        **{f"texts {letter!a}": [letter * 9] * count for letter in LETTERS},
        **{f"by name {letter!a}": {f"{n}": letter * 30 for n in range(count)} for letter in LETTERS},
    }


def nested(levels: int, value: Any) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def peak_bytes(act: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        begun, _ = tracemalloc.get_traced_memory()
        act()
        return tracemalloc.get_traced_memory()[1] - begun
    finally:
        tracemalloc.stop()


def test_as_much_is_asked_for_as_writing_takes():
    for count in COUNTS:
        for name, value in values(count).items():
            asked = peak_bytes(lambda value=value: ask_memory_for(value))
            for options in (plain.DUMP_OPTIONS, orjson.OPT_SORT_KEYS):
                taken = peak_bytes(lambda value=value, options=options: orjson.dumps(value, None, options))
                assert taken <= max(asked, NOT_ASKED_FOR_BYTES), (name, count, options)


def test_as_much_is_asked_for_as_reading_takes(monkeypatch):
    texts = {(name, count): orjson.dumps(value) for count in COUNTS for name, value in values(count).items()}
    taken = {each: peak_bytes(lambda data=data: orjson.loads(data)) for each, data in texts.items()}
    monkeypatch.setattr(plain.orjson, "loads", lambda data: None)
    for each, data in texts.items():
        assert taken[each] <= peak_bytes(lambda data=data: read_json(data)), each


def test_as_much_is_asked_for_a_text_as_writing_takes():
    for letter in LETTERS:
        for count in COUNTS:
            text = letter * count
            asked = peak_bytes(lambda text=text: ask_memory(plain.most_utf8(text)))
            assert peak_bytes(lambda text=text: orjson.dumps(text)) <= asked, (letter, count)


@pytest.mark.skipif(native is None, reason="the native part is not built")
def test_the_native_judge_asks_for_as_much_as_writing_takes(monkeypatch):
    payloads = {(name, count): {"value": value} for count in COUNTS for name, value in values(count).items()}
    taken = {
        each: peak_bytes(lambda payload=payload: orjson.dumps(payload, None, plain.DUMP_OPTIONS))
        for each, payload in payloads.items()
    }
    monkeypatch.setattr(capture.orjson, "dumps", lambda *_: written.append(1) or b"{}")
    judge = capture.make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    judged = set()
    for each, payload in payloads.items():
        written: list[int] = []
        asked = peak_bytes(lambda payload=payload: judge.line_end(payload))
        if written:
            judged.add(each[0])
            assert taken[each] <= max(asked, 49_152), each
    assert {"null", "floats", "deep", "texts 'x'", r"text '\u4e2d'"} <= judged, judged


def test_no_small_value_takes_more_than_is_left_out():
    texts = {f"{n:02}".ljust(64, "\u4e2d"): "\u4e2d" * 64 for n in range(12)}
    small = {f"{n}": dict(texts) for n in range(12)}
    assert peak_bytes(lambda: ask_memory_for(small)) < 2_000  # it is a small one
    assert peak_bytes(lambda: orjson.dumps(small)) <= NOT_ASKED_FOR_BYTES


def test_what_is_written_is_what_orjson_writes():
    for value in (None, 1.5, "x", [1, [2]], {"b": 1, "a": [None]}):
        assert write_json(value) == orjson.dumps(value)
        assert read_json(write_json(value)) == value
    assert write_json({"b": 1, "a": 2}, orjson.OPT_SORT_KEYS) == b'{"a":2,"b":1}'


@pytest.mark.parametrize("count", COUNTS)
def test_the_count_in_c_is_the_count_in_python(count):
    if native is not None:
        for value in [
            *values(count).values(),
            values(count),
            "text",
            "\u4e2d" * 9,
            1,
            None,
            [1, [2, (3, {4: "x"})]],
        ]:
            assert native.most_needed(value) == plain._counted_needs(value)
        assert native.most_needed(nested(300, [])) == -1
