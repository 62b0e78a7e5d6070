"""Exceptions as sorts of failures: by name, by status, by bases, and by what led to them."""

from __future__ import annotations

import json

import pytest

from Agent.event.kinds import FailureCode, FailureType
from Agent.export import classify, classify_exception


class OverTheWire(Exception):
    def __init__(self, status_code):
        self.status_code = status_code


class SlowBackend(TimeoutError):
    """Its name says nothing, its base does."""


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TimeoutError", "timeout"),
        ("ConnectTimeout", "timeout"),
        ("DeadlineExceeded", "timeout"),
        ("RateLimitError", "rate_limited"),
        ("TooManyRequests", "rate_limited"),
        ("AuthenticationError", "unauthorized"),
        ("PermissionDeniedError", "unauthorized"),
        ("FileNotFoundError", "not_found"),
        ("NoSuchKey", "not_found"),
        ("ConnectionRefusedError", "connection"),
        ("ServiceUnavailable", "connection"),
        ("JSONDecodeError", "schema_invalid"),
        ("ValidationError", "schema_invalid"),
        ("OutputParserException", "schema_invalid"),
        ("NoResultsFound", "empty_retrieval"),
        ("GraphRecursionError", "loop"),
        ("MaxTurnsExceeded", "loop"),
        ("ContentFilterError", "refused"),
        ("CancelledError", "cancelled"),
        ("ValueError", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_name_of_an_exception_says_how_it_failed(name, code):
    assert classify(name)[1] == code


@pytest.mark.parametrize(
    ("step_type", "kind"),
    [
        ("tool", "tool"),
        ("retrieve", "retrieval"),
        ("respond", "model"),
        ("plan", "orchestration"),
        (None, "orchestration"),
    ],
)
def test_the_step_says_which_part_failed(step_type, kind):
    assert classify("TimeoutError", step_type)[0] == kind


def test_an_exception_of_a_models_library_is_the_models_failure_wherever_it_comes_up():
    assert classify("APIError", "tool", "openai._exceptions")[0] is FailureType.MODEL
    assert classify("ContextLengthExceeded")[0] is FailureType.MODEL


def parse_badly():
    try:
        json.loads("{")
    except ValueError as error:
        raise RuntimeError("the tool failed") from error


def test_a_status_code_bases_and_causes_are_looked_at():
    assert classify_exception(OverTheWire(429))[1] is FailureCode.RATE_LIMITED
    assert classify_exception(OverTheWire(504))[1] is FailureCode.TIMEOUT
    assert classify_exception(OverTheWire("429"))[1] is FailureCode.UNKNOWN
    assert classify_exception(SlowBackend())[1] is FailureCode.TIMEOUT
    with pytest.raises(RuntimeError) as caught:
        parse_badly()
    assert classify_exception(caught.value, "tool") == (FailureType.TOOL, FailureCode.SCHEMA_INVALID)


def test_no_code_of_the_exception_is_run():
    class Trap(Exception):
        @property
        def status_code(self):
            raise AssertionError("this must not run")

        def __getattribute__(self, name):
            if name == "status_code":
                raise AssertionError("nor this")
            return super().__getattribute__(name)

    assert classify_exception(Trap())[1] is FailureCode.UNKNOWN
