"""Time as the record writes it."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.system_clock import SystemClock

MICROSECONDS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@given(MICROSECONDS)
def test_a_time_comes_back_as_it_was_written(unix_us):
    assert parse_timestamp(format_timestamp(unix_us)) == unix_us


@given(MICROSECONDS)
def test_a_time_is_what_the_standard_library_says(unix_us):
    text = format_timestamp(unix_us)
    assert len(text) == 27 and text.endswith("Z")
    if unix_us >= 0:
        seconds, micros = divmod(unix_us, 1_000_000)
        assert text == f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z".rjust(
            27, "0"
        )


@given(MICROSECONDS, MICROSECONDS)
def test_times_sort_as_texts(one, other):
    assert (one < other) == (format_timestamp(one) < format_timestamp(other))


@pytest.mark.parametrize(
    ("text", "unix_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 00:00:01", 1_000_000),
        ("1970-01-02", 86_400_000_000),
    ],
)
def test_other_forms_of_a_time_are_read(text, unix_us):
    assert parse_timestamp(text) == unix_us


@pytest.mark.parametrize("text", ["", "now", "2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z"])
def test_what_is_no_time_says_so(text):
    with pytest.raises(ValueError):
        parse_timestamp(text)


def test_the_clock_of_the_machine_tells_its_time():
    clock = SystemClock()
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9
    assert clock.monotonic_ns() <= clock.monotonic_ns()
