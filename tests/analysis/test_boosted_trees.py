"""The trees that order symptoms and causes: how they score, and that the files ask for measures that exist."""

from __future__ import annotations

import pytest

from Agent.analysis.debug.root_causes import ranking, symptoms
from Agent.analysis.debug.root_causes.acts import read_acts
from Agent.analysis.debug.root_causes.measures import BoostedTrees, boosted_trees
from Agent.analysis.debug.root_causes.scan import Finding


def test_a_score_is_the_sum_of_a_leaf_of_each_tree_and_of_what_they_correct() -> None:
    first = [0, 1.5, [0.25], [1, 2.0, [0.5], [-1.0]]]
    judge = BoostedTrees(("odd", "near"), 2.0, [first, [0.125]])
    weights = {"odd": 3.0}
    assert judge.score({"odd": 1.5, "near": 9.0}, weights) == 2 * 4.5 + 0.25 + 0.125
    assert judge.score({"odd": 2.0, "near": 2.0}, weights) == 2 * 6.0 + 0.5 + 0.125
    assert judge.score({"odd": 2.0, "near": 2.5}, weights) == 2 * 6.0 - 1.0 + 0.125


@pytest.mark.parametrize("name", [symptoms.TREES, ranking.TREES])
def test_each_measure_that_the_trees_ask_for_is_measured(name: str) -> None:
    rows = [
        {
            "id": f"e-{place}", "ts_us": place, "tick": place, "agent_id": "mill", "event_type": "agent_action",
            "agent_role": "mill", "message": "", "level": "INFO", "extra": {"action_type": "grind", "sack": place},
            "state": None, "span_id": None, "parent_span_id": None, "causes": [],
        }
        for place in range(4)
    ]  # fmt: skip
    log = read_acts(rows, lambda row: row["tick"])
    findings = [Finding("new value", "sack", [log.acts[2]], 6.0)]
    if name == symptoms.TREES:
        measured = symptoms.measures_of_symptoms(log, symptoms.Subject({}, {}, {}, ()), findings)
    else:
        shares = {3: 1.0}
        blamed = symptoms.blame(log, shares)
        told = ranking.findings_by_place(findings)
        measured = ranking.measures_of_causes(log, findings, told, shares, blamed)
    judge = boosted_trees(name)
    weights = symptoms.WEIGHTS if name == symptoms.TREES else ranking.WEIGHTS
    assert len(measured) == 4
    for found in measured.values():
        assert set(judge.measures) <= set(found)
        assert isinstance(judge.score(found, weights), float)
