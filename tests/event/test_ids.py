"""Names of writers, events, sessions and runs."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.ids import (
    event_id,
    is_session_id,
    new_writer_id,
    session_id_for,
    split_event_id,
    uuid7,
    uuid7_unix_ms,
)


@given(st.binary(min_size=5, max_size=5))
def test_a_writer_is_eight_letters_for_each_chance(random5):
    writer = new_writer_id(random5)
    assert len(writer) == 8 and set(writer) <= set("abcdefghijklmnopqrstuvwxyz234567")


@given(st.lists(st.binary(min_size=5, max_size=5), unique=True, max_size=20))
def test_other_chance_makes_other_writers(chances):
    assert len({new_writer_id(chance) for chance in chances}) == len(chances)


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_writer_needs_exactly_five_bytes(length):
    with pytest.raises(ValueError, match="5 random bytes"):
        new_writer_id(bytes(length))


@given(st.binary(min_size=5, max_size=5), st.integers(0, 10**18 - 1))
def test_an_event_id_comes_apart_as_it_was_put_together(random5, seq):
    writer = new_writer_id(random5)
    assert split_event_id(event_id(writer, seq)) == (writer, seq)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "abc",
        "abcdefgh",
        "abcdefgh-",
        "-5",
        "abcdefgh-x",
        "abcdefgh--5",
        "abc-5",
        "abcdefgh-٣",
        "abcdefgh-5 ",
        "abcdefgh-05",
    ],
)
def test_what_is_no_event_id_says_so(text):
    with pytest.raises(ValueError, match="not an event id"):
        split_event_id(text)


@pytest.mark.parametrize("length", [9, 11])
def test_a_uuid_needs_exactly_ten_bytes(length):
    with pytest.raises(ValueError, match="10 random bytes"):
        uuid7(0, bytes(length))


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid_is_of_version_seven_and_tells_its_time(unix_ms, random10):
    text = uuid7(unix_ms, random10)
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)
    assert uuid7_unix_ms(text) == unix_ms


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_later_uuids_sort_behind_earlier_ones(unix_ms, one, other):
    assert uuid7(unix_ms, one) < uuid7(unix_ms + 1, other)


@pytest.mark.parametrize("text", ["", "x", str(uuid.UUID(int=5)), "0" * 32])
def test_what_is_no_uuid_of_version_seven_says_so(text):
    with pytest.raises(ValueError, match="not a UUIDv7"):
        uuid7_unix_ms(text)


def test_a_session_is_named_by_its_second_in_utc():
    assert session_id_for(1_700_000_000_999_999) == "20231114_221320"
    assert session_id_for(0) == "19700101_000000"


@given(st.integers(0, 4_000_000_000_000_000))
def test_every_session_id_is_one(unix_us):
    assert is_session_id(session_id_for(unix_us))
    assert is_session_id(session_id_for(unix_us) + "-2")


@pytest.mark.parametrize(
    "text",
    ["", "20231114", "20231314_221320", "20231114_2213200", "2023111_221320", "20231114_221320-x", "last"],
)
def test_what_is_no_session_id_is_none(text):
    assert not is_session_id(text)
