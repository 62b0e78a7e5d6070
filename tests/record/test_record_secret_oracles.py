"""The two error rates of redaction against shapes of our own, and cases of others, which are fetched and not kept here.

`GITLEAKS_REPOSITORY` and `LOGHUB_REPOSITORY` name a checkout or a bare repository of each; without them
their tests are skipped.
"""

import os
import re
from pathlib import Path

import pytest

from Agent.record.encode.redaction import Redactor
from benchmarks import second_oracle
from benchmarks.gitleaks_cases import Rule, some_of
from benchmarks.secrets import (
    changed,
    harmless,
    is_named_value,
    left_in_clear,
    log_lines,
    read_rules,
    recorded,
    shapes_changed,
    shapes_in_clear,
    stays,
)

REDACTOR = Redactor(b"key")


def place_of(variable):
    place = os.environ.get(variable)
    if not place:
        pytest.skip(f"{variable} names no repository, so its cases are not measured")
    return Path(place)


@pytest.mark.further
def test_no_shape_of_our_own_stays_in_clear_and_no_harmless_text_is_changed():
    assert shapes_in_clear(REDACTOR) == {}
    assert shapes_changed(REDACTOR) == {}


@pytest.fixture(scope="module")
def rules():
    found, unread = read_rules(place_of("GITLEAKS_REPOSITORY"))
    assert len(found) > 200 and len(unread) < 10, unread
    return [rule for rule in found if rule.positives]


def test_at_most_one_kind_of_secret_in_twenty_stays_in_clear(rules):
    left = {rule.name: found for rule in rules if (found := left_in_clear(rule, REDACTOR))}
    assert len(left) <= 0.05 * len(rules), left
    assert sum(map(len, left.values())) <= 0.01 * sum(len(rule.positives) for rule in rules)


def test_at_most_one_negative_case_in_fifty_is_changed_but_for_drawn_values_under_a_name(rules):
    negatives = harmless(rules)
    wrong = changed(negatives, REDACTOR)
    assert len([pair for pair in wrong if not is_named_value(*pair)]) <= 0.02 * len(negatives)
    # The rest are drawn values under the name of a secret, which gitleaks takes for another issuer's.
    assert len(wrong) <= 0.02 * len(negatives)


@pytest.mark.process
def test_at_most_one_line_of_public_logs_in_fifty_is_changed():
    lines = log_lines(place_of("LOGHUB_REPOSITORY"))
    assert len(lines) >= 10_000
    assert len(changed(lines, REDACTOR)) <= 0.02 * len(lines)


@pytest.fixture(scope="module")
def second():
    pytest.importorskip("detect_secrets")
    return second_oracle.generated()


@pytest.mark.integration
def test_formats_that_a_second_oracle_knows_are_replaced(second):
    assert len(second) > 20 and sum(map(len, second.values())) > 500
    left = {
        sort: [text for text, secret in cases if stays(secret, recorded(text, REDACTOR))]
        for sort, cases in second.items()
    }
    assert sum(map(bool, left.values())) <= 0.05 * len(left), left
    assert sum(map(len, left.values())) <= 0.02 * sum(map(len, second.values()))


@pytest.mark.integration
def test_lines_of_sources_in_which_a_second_oracle_finds_nothing_are_kept():
    pytest.importorskip("detect_secrets")
    lines = second_oracle.lines_of(Path(pytest.__file__).parents[1], most=10_000)
    harmless_lines = [line.text for line in lines if not line.named and not line.drawn]
    assert len(harmless_lines) >= 9_000
    assert len(changed(harmless_lines, REDACTOR)) <= 0.002 * len(harmless_lines)


def test_a_value_under_a_name_is_told_from_words_and_from_a_value_alone():
    token = "[redacted:0123456789abcdef]"
    assert is_named_value("token: a98ljvghaknkg94j", f"token: {token}")
    assert not is_named_value("token: aaaaaaaaaaaaaaaa", f"token: {token}")
    assert not is_named_value("note: a98ljvghaknkg94j", f"note: {token}")
    assert not is_named_value("token: a98ljvghaknkg94j, aaaa", f"token: {token}, {token}")


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
