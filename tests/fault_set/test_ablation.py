"""What a relation pays is how much later the true event is named without it."""

from __future__ import annotations

from math import inf

from benchmarks.fault_set.ablation import ALL, Paid, ablation


def test_a_relation_pays_by_the_places_that_are_lost_without_it() -> None:
    places = [
        {ALL: 1, "level shifts": 4, "fails": 1},
        {ALL: 2, "level shifts": 2, "fails": 1},
        {ALL: 1, "level shifts": inf},
    ]
    assert ablation(places) == {
        "level shifts": Paid(first=-2, among_three=-2, reciprocal=0.25 - 1 + 0 - 1),
        "fails": Paid(first=1, among_three=0, reciprocal=0.5),
    }
