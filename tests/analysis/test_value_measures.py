"""How unusual the values of an event are among those of its sort: by rarity, by rank and by ratio."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis.debug.root_causes.acts import Act
from Agent.analysis.debug.root_causes.measures import (
    NumberContrast,
    ValueRarity,
    number_contrasts,
    value_rarity,
)


def act(place: int, **values: Any) -> Act:
    return Act(
        place,
        f"e-{place}",
        0,
        0,
        None,
        "till",
        "till",
        "agent_action",
        "pay",
        "",
        False,
        values,
        {},
        None,
        None,
        (),
        None,
    )


def test_a_value_that_one_event_has_is_rare_by_its_nats_beyond_the_mean_of_the_field() -> None:
    found = value_rarity([act(n, coin="silver" if n == 3 else "gold") for n in range(10)])
    mean = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert math.isclose(found[3].rare_value, -math.log(0.1) - mean)
    assert found[3].rare_second == 0.0
    assert found[4] == ValueRarity()


def test_identifiers_are_not_rare() -> None:
    assert set(value_rarity([act(n, order=f"o-{n}") for n in range(10)]).values()) == {ValueRarity()}


def test_true_and_1_are_two_values() -> None:
    found = value_rarity([act(n, paid=1 if n == 3 else True) for n in range(10)])
    assert found[3].rare_value > 0


def test_the_largest_of_101_numbers_lies_furthest_out() -> None:
    found = value_rarity([act(n, euros=float(n)) for n in range(101)])
    assert math.isclose(found[100].tail, math.log(102))
    assert math.isclose(found[100].beyond, math.log1p(50 / 40))
    assert found[50] == ValueRarity(0.0, 0.0, math.log(102 / 101), 0.0)


def test_numbers_beyond_those_of_a_float_have_no_distance() -> None:
    numbers = [1, 2, 3, 4, 5, 10**400, -(10**400), math.inf, math.nan]
    found = value_rarity([act(place, euros=number) for place, number in enumerate(numbers)])
    assert all(math.isfinite(each) for measures in found.values() for each in measures)
    assert found[5].tail == 0.0


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("ab"),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
        )
    )
)
def test_every_event_has_finite_measures(values: list[dict[str, Any]]) -> None:
    found = value_rarity([act(place, **each) for place, each in enumerate(values)])
    assert [*found] == [*range(len(values))]
    assert all(math.isfinite(number) and number >= 0 for each in found.values() for number in each)


def test_a_number_is_compared_with_the_one_that_it_replaces() -> None:
    changed = act(0, limit=18)
    changed.before["limit"] = 180
    assert math.isclose(number_contrasts([changed])[0].replaced, math.log(10))


def test_a_number_is_compared_with_the_previous_one_about_the_same_thing() -> None:
    orders = [act(n, amount=amount) for n, amount in enumerate([5, 100, 5, 1000])]
    for number, each in enumerate(orders):
        each.things = ("even" if number % 2 == 0 else "odd",)
    found = number_contrasts(orders)
    assert found[2].previous == 0.0
    assert math.isclose(found[3].previous, math.log(10))
    assert math.isclose(found[3].previous_rank, math.log(3 / 2))


def test_a_number_is_compared_with_the_median_of_its_field_and_with_those_around_it() -> None:
    found = number_contrasts([act(n, kg=6.0 if n == 4 else 54.0) for n in range(9)])
    assert math.isclose(found[4].usual, math.log(9))
    assert math.isclose(found[4].around, math.log(9))
    assert math.isclose(found[4].around_rank, math.log(10 / 2))
    assert found[3] == NumberContrast()


def test_an_item_of_a_list_is_compared_with_the_others() -> None:
    found = number_contrasts([act(0, **{"bikes[0]": 20, "bikes[1]": 2, "bikes[2]": 20})])
    assert math.isclose(found[0].listed, math.log(10))


def test_a_change_of_sign_is_a_contrast() -> None:
    assert number_contrasts([act(n, order=-7 if n == 3 else 7) for n in range(7)])[3].around > 0


@given(st.lists(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=2)), max_size=8))
def test_contrasts_of_any_numbers_are_finite_and_not_negative(values: list[Any]) -> None:
    for found in number_contrasts([act(n, value=value) for n, value in enumerate(values)]).values():
        assert all(math.isfinite(each) and each >= 0 for each in asdict(found).values())
