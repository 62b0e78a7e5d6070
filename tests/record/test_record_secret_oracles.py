"""The two error rates of redaction against cases of others, which are fetched and not kept here.

`GITLEAKS_REPOSITORY` and `LOGHUB_REPOSITORY` name a checkout or a bare repository of each; without them the
tests are skipped.
"""

import os
import re
from pathlib import Path

import pytest

from Agent.record.redaction import Redactor
from benchmarks.gitleaks_cases import Rule, some_of
from benchmarks.secrets import changed, harmless, left_in_clear, log_lines, read_rules, stays

REDACTOR = Redactor(b"key")


def place_of(variable):
    place = os.environ.get(variable)
    if not place:
        pytest.skip(f"{variable} names no repository, so its cases are not measured")
    return Path(place)


@pytest.fixture(scope="module")
def rules():
    found, unread = read_rules(place_of("GITLEAKS_REPOSITORY"))
    assert len(found) > 200 and len(unread) < 10, unread
    return [rule for rule in found if rule.positives]


def test_at_most_one_kind_of_secret_in_twenty_stays_in_clear(rules):
    left = {rule.name: found for rule in rules if (found := left_in_clear(rule, REDACTOR))}
    assert len(left) <= 0.05 * len(rules), left
    assert sum(map(len, left.values())) <= 0.01 * sum(len(rule.positives) for rule in rules)


def test_negative_cases_that_no_rule_calls_a_secret_are_mostly_kept(rules):
    negatives = harmless(rules)
    # What is left holds a value under the name of a secret, or behind the prefix of a key, that gitleaks finds
    # too short or too even; a redactor cannot let it pass.
    assert len(changed(negatives, REDACTOR)) <= 0.16 * len(negatives)


def test_at_most_one_line_of_public_logs_in_fifty_is_changed():
    lines = log_lines(place_of("LOGHUB_REPOSITORY"))
    assert len(lines) >= 10_000
    assert len(changed(lines, REDACTOR)) <= 0.02 * len(lines)


def test_the_measure_sees_a_secret_that_stays_and_a_text_that_changes():
    rule = Rule(
        "made up",
        ["note: qw7Rt9zXc5vB2", "password: qw7Rt9zXc5vB2"],
        expression=re.compile("qw7[A-Za-z0-9]+"),
    )
    assert left_in_clear(rule, REDACTOR) == ["note: qw7Rt9zXc5vB2"]
    assert [text for text, _ in changed(["plain", "password: qw7Rt9zXc5vB2"], REDACTOR)] == [
        "password: qw7Rt9zXc5vB2"
    ]
    assert stays("abcdefghijklmnopqrst", "xx efghijklmnop xx") and not stays(
        "abcdefghijklmnopqrst", "abcdefghijk"
    )


def test_texts_are_drawn_from_the_expressions_of_a_rule():
    import random

    for expression in ("[a-f0-9]{32}", "(?:sk|rk)_(?i)live_[\\w-]{8,}", "A3-[A-Z0-9]{6}", "x=*"):
        drawn = some_of(expression, random.Random(1))
        assert re.fullmatch(expression.replace("(?i)", ""), drawn)
