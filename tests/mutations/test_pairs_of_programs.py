"""A few of the pairs that `harness.py` tries by the thousand, and the harness itself put to the test."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

import pair_trials  # noqa: E402 - found by the line above
import program_trials  # noqa: E402
import value_kit  # noqa: E402
import world_trials  # noqa: E402
from pair_programs import ALL_KINDS, FAMILIES, make_value, pairs_of, program_of, why_not  # noqa: E402
from value_kinds import KINDS, SECRET  # noqa: E402
from value_places import PLACES  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
SEED = 1
TABLE = [kind.name for kind in KINDS]
"""The kinds that are no draws of Hypothesis, which take seconds to begin."""


def trial(
    recorded=("0",), same=("0",), changed=("1",), verdicts=("IDENTICAL", "DIVERGED"), unchanged_only=""
):
    pair = pair_trials.Pair("000", ("list",), "result", "[c]", "V[0]", unchanged_only)
    printed = [list(each) if isinstance(each, tuple) else each for each in (recorded, same, changed)]
    return pair_trials.Trial(pair, "p", *printed, dict(zip(("unchanged", "changed"), verdicts, strict=True)))


def test_every_kind_of_the_table_has_a_leaf_that_changes_at_its_path():
    chance = random.Random(SEED)
    for name in TABLE:
        assert any(make_value([name], chance, SEED).is_good(is_hashed=False) for _ in range(5)), name


def test_kinds_have_names_of_their_own_and_hold_what_is_known():
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {kind.holds for kind in KINDS} == {"any", "hash", "int", "text", "flag"}
    assert set(FAMILIES) == set(ALL_KINDS)


@pytest.mark.integration
def test_the_same_seed_makes_the_same_pairs_and_a_few_are_of_all_families_and_places():
    pairs = pairs_of(200, SEED, ALL_KINDS, PLACES)
    assert pairs == pairs_of(200, SEED, ALL_KINDS, PLACES)
    assert {pair.place for pair in pairs} == {place.name for place in PLACES if not place.lacking}
    assert {FAMILIES[kind] for pair in pairs for kind in pair.kinds} == set(FAMILIES.values())


def test_a_program_shows_the_leaf_of_each_pair_where_it_is():
    pairs = pairs_of(40, SEED, ["list", "object", "partial"], PLACES, depth=0)
    text = program_of(pairs)
    compile(text, "program", "exec")
    for pair in pairs:
        assert f"def leaf_{pair.number}(V): return {pair.path}\n" in text
        value = eval(pair.make, {**vars(value_kit), "c": 1})
        assert eval(pair.path, {**vars(value_kit), "V": value}) is not None


def test_what_the_program_prints_says_which_verdict_is_wrong():
    assert trial().problem == ""
    assert trial(verdicts=("DIVERGED", "DIVERGED")).problem == "false red"
    assert trial(verdicts=("IDENTICAL", "EQUIVALENT")).problem == "false green"
    assert trial(verdicts=("UNVERIFIED", "UNVERIFIED")).problem == ""
    assert trial(verdicts=("UNVERIFIED", "UNVERIFIED")).is_useless
    assert trial(changed="failed: KeyError()").problem == "no program"


def test_a_program_whose_own_runs_differ_proves_nothing_of_a_replay():
    assert trial(same=("2",), verdicts=("DIVERGED", "IDENTICAL")).problem == ""
    assert trial(changed=("0",), verdicts=("IDENTICAL", "IDENTICAL")).problem == ""
    assert trial(unchanged_only="a handle", verdicts=("IDENTICAL", "IDENTICAL")).problem == ""


def test_a_matrix_has_no_empty_field():
    pairs = pairs_of(30, SEED, TABLE, PLACES)
    trials = [trial()] + [
        pair_trials.Trial(pair, "p", ["0"], ["0"], ["1"], trial().verdicts) for pair in pairs
    ]
    lines = list(pair_trials.matrix(trials, by_kind=True, kinds=TABLE))
    rows = lines[len(PLACES) :][: len(TABLE)]
    assert [row.partition(" ")[2] for row in rows] == TABLE
    assert all(len(row.partition(" ")[0]) == len(PLACES) for row in rows)
    reasons = {line[0] for line in lines[len(PLACES) + len(TABLE) + 1 :]}
    assert {mark for row in rows for mark in row.partition(" ")[0]} <= reasons | set(".oRGN")


def test_what_cannot_be_hashed_is_no_key_and_the_matrix_says_so():
    place = next(place for place in PLACES if place.is_hashed)
    assert why_not("list", place)
    assert why_not("frozen dataclass", place) == ""


@pytest.mark.integration
def test_no_changed_value_is_green_and_no_unchanged_one_has_diverged(tmp_path):
    tally = pair_trials.run(24, SEED, tmp_path, workers=1)
    assert tally.problems == [], "\n".join("\n".join(each.lines(tmp_path)) for each in tally.problems)
    assert tally.counts()["changed"] >= 20


SECRETS = [kind.name for kind in KINDS if kind.unchanged_only == SECRET]


def test_every_secret_is_within_something_else_if_asked_so():
    pairs = pairs_of(60, SEED, TABLE, PLACES, innermost=SECRETS)
    assert all(len(pair.kinds) > 1 and pair.kinds[-1] in SECRETS for pair in pairs)


@pytest.mark.integration
def test_a_changed_secret_is_never_identical_wherever_it_is(tmp_path):
    tally = pair_trials.run(48, SEED, tmp_path, innermost=SECRETS, workers=1)
    assert tally.problems == [], "\n".join("\n".join(each.lines(tmp_path)) for each in tally.problems)
    assert tally.counts()["changed"] >= 45


@pytest.mark.integration
@pytest.mark.parametrize("place", ["event", "argument of a tool", "class attribute", "inside a result"])
def test_a_changed_secret_in_the_factory_of_a_mapping_is_never_identical(place, tmp_path):
    pairs = pairs_of(7, SEED, ["defaultdict factory"], PLACES, innermost=SECRETS)
    trials = pair_trials.work(
        pair_trials.Task(
            "program",
            [replace(pair, place=place) for pair in pairs],
            tmp_path / "program",
            is_script=False,
        )
    )
    assert [trial.problem for trial in trials] == [""] * len(trials)
    assert sum(trial.verdicts["changed"] == "EQUIVALENT" for trial in trials) >= 4


@pytest.mark.integration
def test_a_pair_that_ends_its_program_or_its_replay_is_named_and_the_others_are_tried(tmp_path):
    in_replay = 'os._exit(7) if "Agent.replay" in str(sys.orig_argv) else c'
    pairs = [
        pair_trials.Pair(f"{number:03}", ("int",), "result", make, "V", "")
        for number, make in enumerate(["c", in_replay, "os._exit(9)"])
    ]
    trials = pair_trials.work(pair_trials.Task("program", pairs, tmp_path / "program", is_script=True))
    assert [trial.problem for trial in trials] == ["", "no verdict", "no program"]
    assert "ended with 7" in trials[1].ended
    assert "ended with 9" in trials[2].fault


@pytest.mark.integration
def test_a_comparison_without_digests_is_found_out(tmp_path):
    kinds = ["object", "UserDict", "closure", "Queue", "structured array", "Series"]
    blinded = pair_trials.run(
        12, SEED, tmp_path, kinds=kinds, places=["result"], depth=0, workers=1, is_blinded=True
    )
    assert blinded.counts()["false greens"] >= 6


@pytest.mark.integration
@pytest.mark.parametrize("name", ["strategies", "evolution"])
def test_a_program_of_a_stranger_is_identical_until_a_line_is_changed(tmp_path, name):
    program = next(program for program in program_trials.PROGRAMS if program.name == name)
    assert list(program_trials.problems(program, tmp_path)) == []


@pytest.mark.integration
@pytest.mark.process
@pytest.mark.parametrize("number", range(4))
def test_worlds_whose_agents_and_scheduler_write_the_same_things(number, tmp_path):
    assert list(world_trials.problems(world_trials.world_of(1, number), tmp_path)) == []
