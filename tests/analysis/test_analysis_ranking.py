"""Which causes a report shows, and in which order."""

from __future__ import annotations

from Agent.analysis.debug.causes import Cause
from Agent.analysis.debug.ranking import ranked


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


def test_an_event_of_the_same_matter_is_told_with_the_surer_cause() -> None:
    surer = cause("a stopped", 0.8, ("e1", "e2"), "a", "departure")
    event = cause("b sent a message to a", 0.4, ("e3", "e2"), "b", "event")
    (joined,) = ranked([event, surer], {"a", "b"})
    assert joined.event_ids == ("e1", "e2", "e3")
    assert event.title in joined.explanation
