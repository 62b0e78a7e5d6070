"""What a habit finds odd, where a course changes, and in which order causes are shown."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis.causes import Cause
from Agent.analysis.courses import NOISE, Courses, Onset, begins, onset_of
from Agent.analysis.habits import ALIKE, BACK, NEW, Habit
from Agent.analysis.leaves import MAX_KEYS, label_of, leaves
from Agent.analysis.ranking import ranked
from Agent.analysis.stretches import dense_from
from Agent.analysis.touched import chance_beside_untouched

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def learnt(values: list[Any], agent: str = "a") -> Habit:
    habit = Habit()
    for step, value in enumerate(values):
        habit.learn(value, agent, step, step)
    return habit


def test_what_was_always_said_is_not_odd_and_what_never_was_is_the_odder_the_more_was_said() -> None:
    few, many = learnt(["on"] * 5), learnt(["on"] * 50)
    assert few.oddity("on", "a") == ALIKE
    assert many.oddity("off", "a").chance < few.oddity("off", "a").chance < 0.2


def test_a_counter_and_a_clock_are_never_odd() -> None:
    assert learnt(list(range(100))).oddity(100, "a").chance > 0.5
    assert learnt([f"id {n}" for n in range(100)]).oddity("id 100", "a").chance > 0.5


def test_what_only_ever_rose_is_odd_where_it_goes_back() -> None:
    orders = learnt([3, 9, 17, 22, 40, 51, 60, 78])
    assert orders.oddity(66, "a").sort == BACK
    assert orders.oddity(66, "a").chance < 0.05 < orders.oddity(90, "a").chance
    assert learnt([3, 9, 7, 22, 20, 51, 60, 58]).oddity(50, "a").chance > 0.5


def test_one_more_on_a_scale_of_counts_is_not_new_and_a_number_that_stands_apart_is() -> None:
    counts = learnt([n % 13 for n in range(400)])
    assert counts.oddity(13, "a").sort != NEW
    assert counts.oddity(77, "a").chance < 0.001 < counts.oddity(13, "a").chance
    assert learnt([200, 404] * 30).oddity(503, "a").chance < 0.05


def test_who_goes_to_and_fro_between_values_says_nothing_unlike_the_others() -> None:
    def odd_values(values: list[str]) -> set[Any]:
        return {said.value for said, _ in learnt(values).beside_others()}

    assert odd_values(["dollar", "franc"] * 8) == set()
    assert "yen" in odd_values(["dollar", "franc"] * 5 + ["yen"] + ["dollar", "franc"] * 3)


def test_a_number_far_beyond_all_others_is_odder_than_one_just_beyond() -> None:
    draw = random.Random(1)
    habit = learnt([draw.gauss(20, 1) for _ in range(40)])
    near, far = habit.oddity(23.5, "a").chance, habit.oddity(900.0, "a").chance
    assert far < 0.001 < near


def test_what_breaks_a_law_is_odder_than_one_more_exception() -> None:
    law, habit = learnt(["on"] * 40), learnt(["on", "off"] * 3 + ["on"] * 34)
    assert (
        law.oddity("no", "a").chance
        < 0.2 * learnt([f"v{n // 2}" for n in range(40)]).oddity("no", "a").chance
    )
    assert habit.oddity("off", "a").chance > law.oddity("off", "a").chance


def test_a_new_value_is_odd_where_all_there_are_seemed_known_and_not_where_new_ones_keep_coming() -> None:
    known = learnt(["home", "shop", "dock"] * 30).oddity("loop", "a").chance
    ever_new = learnt([f"spot {n // 2}" for n in range(90)]).oddity("loop", "a").chance
    assert known < 0.005 < 0.3 < ever_new


def test_a_counter_that_stands_still_once_is_odd_and_two_noisy_numbers_that_meet_are_less_so() -> None:
    draw = random.Random(4)
    counter = learnt(list(range(100, 160)))
    noise = learnt([round(draw.gauss(0, 50), 3) for _ in range(60)])
    again = noise.said[3].value
    assert counter.oddity(159, "a").chance < 0.002
    assert counter.oddity(159, "b").chance < noise.oddity(again, "b").chance


def test_another_sort_of_value_is_odd() -> None:
    habit = learnt([1.5, 2.5, 1.0, 2.0, 3.5])
    for value in (None, -1.0, 0, float("nan"), "two"):
        assert habit.oddity(value, "b").chance < 0.3


def test_a_value_that_names_another_agent_is_odd_where_all_name_themselves() -> None:
    habit = Habit()
    for n in range(10):
        habit.learn(f"sensor {n}", f"room_{n}", n, n)
    assert habit.oddity("sensor 12", "room_12").chance > 0.5
    assert habit.oddity("sensor 3", "room_12").chance < 0.1


def test_an_identifier_that_comes_again_is_odd_where_each_comes_once() -> None:
    habit = learnt([f"id {n}" for n in range(60)])
    assert habit.oddity("id 17", "b").chance < 0.02


def test_what_is_said_seldom_is_compared_with_what_comes_later_too() -> None:
    habit = learnt([20, 20, 7000, 20, 20, 20])
    found = {said.value: odd.chance for said, odd in habit.beside_others()}
    assert found[7000] < 0.01
    assert 20 not in found


@given(st.lists(SCALARS, max_size=40), SCALARS)
def test_any_values_have_a_chance_between_nothing_and_one(values: list[Any], value: Any) -> None:
    odd = learnt(values).oddity(value, "a")
    assert 0.0 <= odd.chance <= 1.0


def test_an_event_says_its_scalars_by_their_paths_and_large_mappings_by_their_size() -> None:
    extra = {
        "agent_id": "a",
        "action_type": "x",
        "args": {"n": 1, "at": [2, 3]},
        "result": dict.fromkeys("abc"),
    }
    said = dict(leaves(extra, {"set": {"mood": "calm"}}))
    assert said["args.n"] == 1
    assert said["args.at[1]"] == 3
    assert said["state.mood"] == "calm"
    assert not any(path.startswith(("agent_id", "action_type")) for path in said)
    assert dict(leaves({"args": {str(n): n for n in range(MAX_KEYS + 1)}}, None)) == {"args#": MAX_KEYS + 1}


def test_lines_that_differ_in_numbers_have_one_label() -> None:
    assert label_of("log", {}, "shard 7 is full") == label_of("log", {}, "shard 12 is full")


def test_a_change_of_level_begins_where_it_begins_and_noise_explains_none() -> None:
    draw = random.Random(4)
    level = [draw.gauss(0, 1) + (4 if n >= 37 else 0) for n in range(80)]
    gains = begins(level)
    assert abs(max(gains, key=lambda place: gains[place]) - 37) <= 1
    assert max(gains.values()) > NOISE
    assert max(begins([draw.gauss(0, 1) for _ in range(80)]).values()) < NOISE
    assert begins([3.0] * 50) == {}


def test_a_course_that_wanders_explains_less_than_one_that_breaks() -> None:
    draw = random.Random(5)
    walk, at = [], 0.0
    for _ in range(100):
        at += draw.gauss(0, 1)
        walk.append(at)
    step = [draw.gauss(0, 1) + (3 if n >= 50 else 0) for n in range(100)]
    assert max(begins(walk).values()) < max(begins(step).values()) / 2


def test_what_all_peers_do_alike_is_no_change_of_one_of_them() -> None:
    draw = random.Random(6)
    courses = Courses(60)
    for step in range(60):
        for n in range(6):
            value = draw.gauss(5 if step >= 20 else 0, 1) + (6 if n == 0 and step >= 40 else 0)
            courses.track(f"a{n}", ("agent_action", "x", "args.v")).add(step, value)
    onset = onset_of(courses, "a0", [f"a{n}" for n in range(1, 6)], ())
    assert [abs(change.step - 40) <= 1 for change in onset.changes] == [True]


def test_a_cause_stands_where_the_change_begins_or_before_it_not_after() -> None:
    onset = Onset([25.0 if step == 30 else 0.0 for step in range(60)], weight=25.0)
    fits = onset.fits()
    assert fits[30] == fits[29] > fits[20] > fits[35]
    assert Onset([0.0] * 10).fits() == [1.0] * 10
    weak = Onset([1.0 if step == 30 else 0.0 for step in range(60)], weight=1.0)
    assert 1.0 < weak.fits()[30] < onset.fits()[30] / 2


def cause(title: str, confidence: float, ids: tuple[str, ...], agent: str, sort: str = "errors") -> Cause:
    return Cause(title, "", ids, (agent,), (), confidence, sort)


def test_the_same_told_of_several_agents_leaves_room_for_another_cause() -> None:
    same = [cause(f"worker_{n} fails with 'no disk'", 0.7, (f"e{n}",), f"worker_{n}") for n in range(4)]
    other = cause("quota was set from 9 to 0", 0.5, ("q",), "", "event")
    order = ranked([*same, other], {f"worker_{n}" for n in range(4)})
    assert [each.title for each in order[:2]] == [same[0].title, other.title]
    assert len(order) == 5


def test_of_the_first_three_causes_only_one_tells_of_a_course_where_single_events_are_known() -> None:
    courses = [
        cause(f"{name} falls", 0.9 - n / 10, (f"e{n}",), name, "departure") for n, name in enumerate("abc")
    ]
    events = [cause(f"event {n}", 0.4, (f"s{n}",), f"x{n}", "event") for n in range(2)]
    order = [each.sort for each in ranked([*courses, *events], {*"abc", "x0", "x1"})]
    assert order == ["departure", "event", "event", "departure", "departure"]
    weak = [cause("d falls", 0.45, ("e9",), "d", "departure"), *events]
    assert [each.sort for each in ranked(weak, {"d", "x0", "x1"})] == ["event", "event", "departure"]


def test_what_a_part_of_all_does_otherwise_is_seen_beside_those_who_were_left_alone() -> None:
    draw = random.Random(6)
    courses = Courses(60)
    courses.members["learner"] = [f"a{n}" for n in range(12)]
    for n in range(12):
        for step in range(60):
            mean = 1.0 if n % 3 == 0 and step >= 30 else 4.0
            courses.track(f"a{n}", ("reward", "lever", "reward")).add(step, draw.gauss(mean, 0.5))
    touched, others, one = {"a0", "a3", "a6", "a9"}, {"a1", "a2", "a4", "a5"}, {"a0"}
    asked = ("agent_action", "install")
    assert chance_beside_untouched(courses, touched, "learner", 30, asked) < 1e-6
    assert chance_beside_untouched(courses, others, "learner", 30, asked) > 0.001
    assert chance_beside_untouched(courses, one, "learner", 30, asked) == 1.0


def test_failures_that_come_now_and_then_begin_where_they_come_thick_and_fast() -> None:
    assert dense_from([3, 20, 40, 41, 41, 42, 42, 43, 43, 44], 60) == 2
    assert dense_from(list(range(0, 60, 5)), 60) == 0
    assert dense_from([40, 41, 42, 43, 44, 45], 60) == 0


def test_what_only_tells_a_surer_cause_again_is_left_out() -> None:
    surer = cause("a stopped", 0.8, ("e1", "e2"), "a", "departure")
    again = cause("a did x at tick 3", 0.5, ("e2",), "a", "event")
    assert [each.title for each in ranked([again, surer], {"a"})] == [surer.title]


def test_several_symptoms_of_one_agent_leave_room_for_another_cause() -> None:
    faces = [
        cause("a calls b again and again", 0.9, ("e1",), "a", "loop"),
        cause("a fails with 'no b'", 0.7, ("e2",), "a"),
        cause("a has its duration rise", 0.6, ("e3",), "a", "departure"),
    ]
    other = cause("c did set_b at tick 3", 0.4, ("e4",), "c", "event")
    assert other.title in [each.title for each in ranked([*faces, other], {"a", "c"})][:3]


def test_a_course_that_has_its_event_keeps_its_place_among_the_first_three() -> None:
    first = cause("a calls b again and again", 0.95, ("e1",), "a", "loop")
    second = cause("a calls c again and again", 0.55, ("e2", "e3"), "a", "loop")
    own = cause("a did c at tick 3, keep is text", 0.45, ("e3",), "a", "event")
    events = [cause(f"event {n}", 0.4 - n / 100, (f"s{n}",), f"x{n}", "event") for n in range(3)]
    order = [each.title for each in ranked([first, second, own, *events], {"a"})]
    assert second.title in order[:3]
    without = [each.title for each in ranked([first, second, *events], {"a"})]
    assert second.title not in without[:3]


def test_what_changes_when_a_session_has_just_begun_counts_little() -> None:
    courses = Courses(100)
    for step in range(100):
        courses.track("early", ("metric", "queue", "value")).add(step, 0.0 if step < 4 else 9.0)
        courses.track("late", ("metric", "queue", "value")).add(step, 0.0 if step < 60 else 9.0)
    early, late = (onset_of(courses, owner, [], set()) for owner in ("early", "late"))
    assert late.changes[0].step == 60
    assert early.weight < 0.2 * late.weight


def test_level_movement_and_trend_of_one_value_are_one_change() -> None:
    draw = random.Random(4)
    courses = Courses(80)
    for step in range(80):
        cell = courses.track("a", ("metric", "queue", "value")).cell(step)
        level, move = (9.0, 3.0) if step >= 40 else (1.0, 0.2)
        cell[:] = [1, level + draw.random(), 1, move + draw.random() / 9, 1, draw.random() / 9]
    assert len(onset_of(courses, "a", [], set()).changes) == 1


def test_an_event_of_the_same_matter_is_told_with_the_surer_cause() -> None:
    surer = cause("a stopped", 0.8, ("e1", "e2"), "a", "departure")
    event = cause("b sent a message to a", 0.4, ("e3", "e2"), "b", "event")
    (joined,) = ranked([event, surer], {"a", "b"})
    assert joined.event_ids == ("e1", "e2", "e3")
    assert event.title in joined.explanation
