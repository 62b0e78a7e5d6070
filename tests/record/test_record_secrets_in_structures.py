"""Secrets in large structures, and those that their place in a structure names."""

import time

import pytest

from Agent.record.encode.redaction import Redactor

REDACTOR = Redactor(b"key")


def shaped(count, kind):
    """A value with many secrets, and its tags."""
    numbers = range(count)
    if kind == "members":
        return [{"user": f"u{at}", "password": f"Hunter{at}xY"} for at in numbers], {}
    if kind == "keys":
        return {f"password{at}": at for at in numbers}, {}
    if kind == "beside":
        return [{"name": "password", "value": at + 100} for at in numbers], {}
    tags = {f"/{at}/password/{part}": "tuple" for at in numbers for part in range(3)}
    if kind == "tagged":
        return [{"password": [[1], [2], [3]]} for _ in numbers], tags
    keys = [f"ghp_{at:04}" + "aB3dE6gH9j" * 3 + "aB" for at in numbers]
    return {key: [1, 2] for key in keys}, dict.fromkeys((f"/{key}" for key in keys), "tuple")


@pytest.mark.parametrize("kind", ["members", "keys", "beside", "tagged", "tagged keys"])
def test_many_secrets_in_a_structure_are_replaced_in_linear_time(kind):
    def took(count):
        value, tags = shaped(count, kind)
        begun = time.process_time()
        REDACTOR.value(value, "", tags)
        return time.process_time() - begun

    took(100)
    assert took(6_000) < 0.5 + 10 * took(1_000)


def test_tags_below_a_replaced_value_are_taken_away_and_those_below_a_replaced_key_follow_it():
    key = "ghp_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    value = {key: {"password": [[1], 2], "b": [1]}, "a!": [1], "password": [[1]], "password-hint": [1]}
    tagged = [
        f"/{key}",
        f"/{key}/password",
        f"/{key}/password/0",
        f"/{key}/b",
        "/a!",
        "/password/0",
        "/password-hint",
    ]
    tags = dict.fromkeys(tagged, "tuple")
    clean = REDACTOR.value(value, "", tags)
    hidden = next(iter(clean))
    assert hidden.startswith("[redacted:") and clean["password"].startswith("[redacted:")
    assert tags == {
        f"/{hidden}": "tuple",
        f"/{hidden}/b": "tuple",
        f"/{hidden}/password": "redacted",
        "/a!": "tuple",
        "/password": "redacted",
        "/password-hint": "tuple",
    }
