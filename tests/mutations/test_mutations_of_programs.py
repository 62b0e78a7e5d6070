"""A few of the mutants that `harness.py` tries by the thousand, and the harness itself put to the test."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

import mutant_trials  # noqa: E402 - found by the line above
from made_programs import make_program  # noqa: E402
from mutants import KINDS, OUTSIDE, mutants_of  # noqa: E402
from plain_oracle import changes, outcome_of  # noqa: E402

pytestmark = pytest.mark.integration

SEED = 1


@pytest.fixture(scope="module")
def tally(tmp_path_factory) -> mutant_trials.Tally:
    return mutant_trials.run(40, SEED, tmp_path_factory.mktemp("mutants"), unmutated=6)


def test_no_mutant_that_does_something_else_passes_and_no_program_without_a_change_diverges(tally):
    assert tally.problems == [], "\n".join(map(str, tally.problems))
    assert sum(tally.unmutated.values()) == 6
    assert sum(tally.changed.values()) >= 15
    assert sum(sum(counts.values()) for counts in tally.kinds.values()) == 40


def test_a_verdict_that_always_says_identical_is_found_out(tmp_path):
    blind = mutant_trials.run(10, SEED, tmp_path, is_blind=True)
    changed = sum(blind.changed.values())
    assert changed >= 3
    assert len(blind.problems) == changed


def test_a_verdict_that_always_says_diverged_is_found_out(tally):
    row = mutant_trials.Row(1, mutant_trials.UNMUTATED, "nothing", [], "DIVERGED", [], "")
    assert "has diverged" in row.problem
    row = mutant_trials.Row(1, "swapped order", "line 2", [], "DIVERGED", [], "")
    assert "has diverged" in row.problem


def test_what_a_report_names_as_unseen_is_let_pass_and_nothing_beside_it():
    row = mutant_trials.Row(1, "extra draw", "", ["a.rng"], "IDENTICAL", ["a.rng"], "")
    assert row.problem == ""
    row = mutant_trials.Row(1, "extra draw", "", ["a.cash", "a.rng"], "IDENTICAL", ["a.rng"], "")
    assert "passes" in row.problem


def test_a_write_from_outside_is_let_pass_where_that_very_field_was_put_in():
    changed = ["a.cash", "ending"]
    row = mutant_trials.Row(1, OUTSIDE, "", changed, "IDENTICAL", [], "", "a.cash", ["a.cash", "a.mood"])
    assert row.problem == ""
    row = mutant_trials.Row(1, OUTSIDE, "", changed, "IDENTICAL", [], "", "a.cash", ["a.mood"])
    assert "passes" in row.problem
    row = mutant_trials.Row(1, "extra draw", "", ["a.cash"], "IDENTICAL", [], "", "", ["a.cash"])
    assert "passes" in row.problem


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_oracle_finds_nothing_in_a_program_without_a_change(seed):
    program = make_program(seed)
    again = ast.unparse(ast.parse(program.body))
    assert changes(outcome_of(program), outcome_of(program, again)) == set()


def test_the_oracle_finds_changes_in_results_fields_logs_and_draws():
    program = make_program(SEED)
    expected = outcome_of(program)
    for more, field in {
        "self.cash = 0.125": "a.cash",
        "self.logger.info('more')": "seen",
        "random.random()": "sources",
        "self.rng.random()": "a.rng",
        "raise KeyError(1)": "ending",
    }.items():
        body = program.body.replace("total = 0.0", f"total = 0.0; {more}")
        assert field in changes(expected, outcome_of(program, body)), more


def test_a_write_from_outside_counts_from_the_agents_next_action_on():
    program = make_program(141_997)
    script = "('b', 'rest', (2,)), ('a', 'review', ('salt', 7.25, 2))"
    assert script in program.body
    write = "('a', '=mood', ('odd',)), "
    # Overwritten by the next action before anything reads it; and written behind the last one.
    between = program.body.replace(script, write + script)
    for is_by_actions, expected in ((False, {"a.mood"}), (True, set())):
        before = outcome_of(program, is_by_actions=is_by_actions)
        assert changes(before, outcome_of(program, between, is_by_actions=is_by_actions)) == expected
    more = program.body.replace("self.mood = ", "self.level = 77; self.mood = ")
    assert changes(before, outcome_of(program, more, is_by_actions=True)) >= {"a.level"}


def test_mutants_are_drawn_by_seed_and_every_kind_is_among_them():
    import random

    found = set()
    for seed in range(1, 6):
        program = make_program(seed)
        mutants = mutants_of(program, 20, random.Random(seed))
        assert mutants == mutants_of(program, 20, random.Random(seed))
        assert len({mutant.body for mutant in mutants}) == len(mutants)
        found |= {mutant.kind for mutant in mutants}
    assert found == set(KINDS)
