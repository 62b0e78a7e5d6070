"""Spans as trees: any order gives the same forest, and every event is in it once."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from Agent.event.model import Event
from Agent.event.ordering import Forest, Mark, Node, build_forest


def flatten(forest):
    return [node.event for _, node in forest.walk() if node.event is not None]


def event(seq, span=None, parent=None, *, writer="aaaaaaaa", second=0, kind="log", **extra):
    return Event(
        timestamp=f"2026-11-20T10:30:{second:02d}.000000Z",
        id=f"{writer}-{seq}",
        schema_version=1,
        kind=kind,
        session_id="20261120_103045",
        span_id=span,
        parent_span_id=parent,
        extra=extra,
    )


def shape(nodes):
    """The forest as nested lists: a span's id with what it holds, an event's id, marks after a colon."""
    out = []
    for node in nodes:
        name = node.span_id or node.event.id.partition("-")[2]
        if node.mark:
            name += f":{node.mark}"
        out.append([name, *shape(node.children)] if node.children else name)
    return out


def events_with_links():
    ids = st.sampled_from(["a", "b", "c", "d", "e"])
    return st.lists(
        st.builds(
            lambda seq, span, parent, writer, second, kind, inner: event(
                seq, span, parent, writer=writer, second=second, kind=kind, context_span=inner
            ),
            st.integers(1, 6),
            st.none() | ids,
            st.none() | ids,
            st.sampled_from(["aaaaaaaa", "bbbbbbbb"]),
            st.integers(0, 2),
            st.sampled_from(["log", "context_entry"]),
            ids,
        ),
        max_size=12,
    )


def test_spans_hold_what_happened_in_them():
    events = [
        event(1, parent="inner"),
        event(2, "inner", "outer"),
        event(3, parent="outer"),
        event(4, "outer"),
        event(5),
    ]
    assert shape(build_forest(events).roots) == [["outer", ["inner", "1"], "3"], "5"]


def test_children_stand_by_time_then_writer_then_number():
    events = [
        event(1, parent="s", writer="bbbbbbbb", second=1),
        event(10, parent="s", second=1),
        event(9, parent="s", second=1),
        event(30, parent="s", second=0),
        event(40, "s", second=2),
    ]
    (root,) = build_forest(events).roots
    assert [child.event.id for child in root.children] == [
        "aaaaaaaa-30",
        "aaaaaaaa-9",
        "aaaaaaaa-10",
        "bbbbbbbb-1",
    ]


def test_span_that_never_ended_is_an_unfinished_node():
    (root,) = build_forest([event(1, parent="gone"), event(2, "inner", "gone")]).roots
    assert root.unfinished
    assert root.event is None
    assert shape([root]) == [["gone:unfinished", "1", "inner"]]


def test_unfinished_context_is_placed_by_its_entry():
    events = [
        event(1, kind="context_entry", parent="outer", context_span="dead"),
        event(2, parent="dead"),
        event(3, parent="outer"),
        event(4, "outer"),
    ]
    assert shape(build_forest(events).roots) == [["outer", "1", ["dead:unfinished", "2"], "3"]]


def test_unfinished_spans_stand_where_their_first_event_stands():
    events = [event(1), event(2, parent="gone"), event(3), event(4, parent="gone")]
    assert shape(build_forest(events).roots) == ["1", ["gone:unfinished", "2", "4"], "3"]


def test_second_event_of_a_span_id_is_marked_and_holds_nothing():
    events = [event(1, parent="s"), event(2, "s"), event(3, "s")]
    assert shape(build_forest(events).roots) == [["s", "1"], "s:duplicate"]


def test_circle_of_parents_is_cut_at_its_earliest_span():
    events = [event(2, "b", "a"), event(1, "a", "c"), event(3, "c", "b"), event(4, parent="c")]
    assert shape(build_forest(events).roots) == [["a:cycle", ["b", ["c", "4"]]]]
    assert shape(build_forest([event(1, "x", "x")]).roots) == ["x:cycle"]


def test_circle_of_unfinished_contexts_is_cut_too():
    events = [
        event(1, kind="context_entry", parent="x", context_span="y"),
        event(2, kind="context_entry", parent="y", context_span="x"),
    ]
    assert shape(build_forest(events).roots) == [["x:unfinished", "1", ["y:unfinished", "2"]]]


def test_no_events_make_an_empty_forest():
    assert build_forest([]) == Forest(())
    assert flatten(Forest()) == []


def test_ids_that_are_no_text_count_as_absent():
    odd = event(1, span=["x"], parent=7)
    assert build_forest([odd]).roots == (Node(odd, None),)


def test_malformed_ids_and_timestamps_do_not_raise():
    events = [Event("never", "no id", 1, "log", "s"), event(1), Event("", "", 1, "log", "s")]
    assert len(flatten(build_forest(events))) == 3


def test_chain_of_ten_thousand_spans_is_built_and_walked():
    chain = [event(n + 1, f"s{n}", f"s{n + 1}") for n in range(10_000)]
    forest = build_forest(chain)
    assert max(depth for depth, _ in forest.walk()) == 10_000
    assert len(flatten(forest)) == 10_000


@given(events_with_links(), st.randoms(use_true_random=False))
def test_any_permutation_gives_the_same_forest(events, chance):
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert build_forest(shuffled) == build_forest(events)


@given(events_with_links())
def test_every_event_is_in_the_forest_once(events):
    assert sorted(map(repr, flatten(build_forest(events)))) == sorted(map(repr, events))


@given(events_with_links())
def test_parents_stand_before_children_and_hold_them(events):
    for _, node in build_forest(events).walk():
        for child in node.children:
            assert child.event is None or child.event.parent_span_id == node.span_id
        if node.mark is Mark.UNFINISHED:
            assert node.children
        if node.mark is Mark.DUPLICATE:
            assert not node.children


def test_shuffled_real_shape_is_stable():
    events = [event(n, f"s{n}", f"s{n // 3}" if n > 3 else None, second=n % 5) for n in range(1, 200)]
    expected = build_forest(events)
    for seed in range(5):
        random.Random(seed).shuffle(events)
        assert build_forest(events) == expected
