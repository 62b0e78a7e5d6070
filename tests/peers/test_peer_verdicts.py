"""What `run.py` makes of the outcome of a peer's case; the suites themselves are run by it, and not from here."""

import pytest
from peer_suites import SUITES
from peer_verdicts import Outcome, Row, judge, read_table

ROW = Row("deviates", "ours says it in another way", ("test_a.py::test_x[*]",), shows="not (this|that)")


def failed(case, message="not this"):
    return Outcome(case, "failed", True, message)


def test_a_case_counts_as_passed_only_where_our_part_was_called():
    found = judge(
        [Outcome("a", "passed", True), Outcome("b", "passed", False), Outcome("c", "skipped", True)], []
    )
    assert found.counts == {"passed": 1, "not reached": 1, "skipped by the suite": 1} and not found.problems


def test_a_failure_without_a_reason_is_a_problem():
    found = judge([failed("test_a.py::test_y", "why")], [ROW], whole=False)
    assert found.problems == ["test_a.py::test_y: why"] and found.counts == {"unexplained": 1}


def test_a_failure_with_a_reason_is_told_with_it():
    found = judge([failed("test_a.py::test_x[1]"), failed("test_a.py::test_x[2]", "not that")], [ROW])
    assert found.problems == [] and found.counts == {"deviates": 2}
    assert found.explained[0] == ("test_a.py::test_x[1]", "deviates", ROW.reason)


def test_another_failure_of_the_same_case_is_not_taken_for_the_one_that_is_meant():
    found = judge([failed("test_a.py::test_x[1]", "something else")], [ROW], whole=False)
    assert found.counts == {"unexplained": 1} and len(found.problems) == 1


def test_a_reason_that_no_case_needs_any_more_is_a_problem_where_all_cases_were_run():
    passed = [Outcome("test_a.py::test_x[1]", "passed", True)]
    assert judge(passed, [ROW], whole=False).problems == []
    (problem,) = judge(passed, [ROW]).problems
    assert "test_x[*]" in problem
    may_pass = Row(ROW.verdict, ROW.reason, ROW.cases, sometimes="in later versions it does")
    assert judge(passed, [may_pass]).problems == []


def test_a_star_is_the_only_sign_with_a_meaning_in_the_name_of_a_case():
    row = Row("deviates", "said in a few words", ("a[x.y]*",))
    assert row.explains(failed("a[x.y] and more")) and not row.explains(failed("ax"))


@pytest.mark.parametrize(
    "text",
    [
        '[[s]]\nverdict = "wrong"\nreason = "one two three four"\ncases = ["a"]',
        '[[s]]\nverdict = "deviates"\nreason = "short"\ncases = ["a"]',
        '[[s]]\nverdict = "deviates"\nreason = "one two three four"\ncases = ["*"]',
        '[[s]]\nverdict = "deviates"\nreason = "one two three four"',
    ],
)
def test_a_row_that_says_nothing_or_fits_everything_is_refused(tmp_path, text):
    table = tmp_path / "table.toml"
    table.write_text(text)
    with pytest.raises(ValueError, match="a row"):
        read_table(table)


def test_every_row_of_the_table_belongs_to_a_suite_that_is_run():
    table = read_table()
    assert set(table) <= {suite.name for suite in SUITES}
    names = [name for rows in table.values() for row in rows for name in row.cases]
    assert len(names) == len(set(names))
