"""Two values with their tags: equal exactly, over hidden parts, or different at one place."""

import ctypes
import queue
import threading

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values.values import encode_value
from Agent.replay.compare.comparison import Agreement, Comparison, Recorded
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.python_text import python_path


def recorded(value):
    encoded = encode_value(value)
    return Recorded(encoded.value, encoded.types, "")


def difference(one, other):
    return Comparison().difference(recorded(one), recorded(other))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers(), inner)
    ),
    max_leaves=12,
)


@given(values)
def test_a_value_agrees_with_itself(value):
    assert difference(value, value) is None


@given(values, values)
def test_two_values_agree_exactly_where_their_recorded_forms_do(one, other):
    from Agent.event.values.digest import named_bytes

    left, right = recorded([one]), recorded([other])
    same = named_bytes(left.value, left.types) == named_bytes(right.value, right.types)
    assert (difference(one, other) is None) == same


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "/a/b/1"),
        ({"a": 1}, {"a": 1, "b": 2}, "/b"),
        ([1, 2], [1], "/1"),
        ((1, 2), [1, 2], ""),
        (1, 1.0, ""),
        (1, True, ""),
        (0.0, -0.0, ""),
        ({1, 2}, {1, 3}, ""),
        ({("x", "y"): 1}, {("x", "y"): 2}, '/["x","y"]'),
        ({"a/b": 1}, {"a/b": 2}, "/a~1b"),
        (None, 0, ""),
    ],
)
def test_a_difference_has_its_place(one, other, path):
    found = difference(one, other)
    assert found is not None
    assert found.path == path
    assert repr(found.recorded) != repr(found.replayed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({3, 1, 2}, {1, 2, 3}),
        (float("nan"), float("nan")),
    ],
)
def test_what_equality_does_not_see_makes_no_difference(one, other):
    assert difference(one, other) is None


TOKEN, OTHER_TOKEN = "[redacted:0123456789abcdef]", "[redacted:fedcba9876543210]"


def test_hidden_values_agree_and_are_counted():
    comparison = Comparison()
    one = Recorded({"key": TOKEN, "text": f"Bearer {TOKEN}!"}, {"/key": "redacted", "/text": "redacted"}, "")
    other = Recorded({"key": OTHER_TOKEN, "text": f"Bearer {OTHER_TOKEN}!"}, {"/key": "redacted"}, "")
    assert comparison.difference(one, other) is None
    assert comparison.agreement.redacted == 2


OPAQUE = {"repr": "<K object>", "class": "K"}
HIDES, SHOWS = "c1/3.11/redacted:1234567890abcdef", "c1/3.11:1234567890abcdef"


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ([["a", 1]], {"": "defaultdict:app.make@{}"}),
        ({"held": [[["a", 1]]]}, {"/held/0": "defaultdict:app.make@{}"}),
        (OPAQUE | {"digest": "{}"}, {"": "opaque"}),
        (OPAQUE | {"reference": "environment K with {}"}, {"": "opaque"}),
        (OPAQUE | {"reference": "class K with {}"}, {"": "opaque"}),
        ({"head": ["a"], "items": 9, "tag": "list", "digest": "{}"}, {"": "truncated"}),
    ],
)
def test_an_equal_digest_that_leaves_secrets_out_counts_as_redacted_wherever_it_stands(value, tags):
    for digest, amount in ((HIDES, 1), (SHOWS, 0)):
        form = Recorded(
            orjson.loads(orjson.dumps(value).replace(b"{}", digest.encode())),
            {at: tag.replace("{}", digest) for at, tag in tags.items()},
            "",
        )
        comparison = Comparison()
        assert comparison.difference(form, form) is None
        assert comparison.agreement.redacted == amount


def test_contents_that_agree_but_for_ids_of_libraries_count_as_redacted_too():
    def form(number):
        made = {"made": [f"{number:032x}"], "without_made": "c1/redacted:1"}
        return Recorded(OPAQUE | {"digest": f"c1/redacted:{number}"} | made, {"": "opaque"}, "")

    comparison = Comparison(same_id=lambda _one, _other: True)
    assert comparison.difference(form(1), form(2)) is None
    assert comparison.agreement.redacted == 1


@pytest.mark.parametrize("other", ["plain", f"Basic {OTHER_TOKEN}", f"{TOKEN}{TOKEN}", 7, None])
def test_a_hidden_value_is_no_wildcard_for_what_is_not_hidden(other):
    one = Recorded(TOKEN, {"": "redacted"}, "")
    assert Comparison().difference(one, Recorded(other, {}, "")) is not None


def test_keys_and_members_that_differ_in_tokens_alone_agree():
    def forms(texts):
        yield Recorded(dict.fromkeys(texts, 1), {}, "")
        yield Recorded([[text, 1] for text in texts], {"": "map"}, "")
        yield Recorded(sorted(texts), {"": "set"}, "")

    once, again = ["b", f"a {TOKEN}"], ["b", f"a {OTHER_TOKEN}"]
    for one, other, plain in zip(forms(once), forms(again), forms(["b", "a c"]), strict=True):
        assert Comparison().difference(one, other) is None
        assert Comparison().difference(one, plain) is not None


class Thing:
    def __init__(self, inside):
        self.inside = inside


def test_the_order_of_keys_counts_in_values_and_not_among_names():
    for one, other in (
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({2: "x", 1: "y"}, {1: "y", 2: "x"}),
        ([{"a": {"b": 1, "c": 2}}], [{"a": {"c": 2, "b": 1}}]),
    ):
        assert difference(one, other) is not None
    one, other = recorded({"a": 1, "b": 2}), recorded({"b": 2, "a": 1})
    assert Comparison().difference(one, other, names=("",)) is None
    assert Comparison(normaliser=Normaliser(order=True)).difference(one, other) is None


def test_values_without_a_codec_are_compared_by_their_content():
    comparison = Comparison()
    assert comparison.difference(recorded([Thing([1])]), recorded([Thing([1])])) is None
    assert comparison.agreement == Agreement()
    found = comparison.difference(recorded([Thing([1])]), recorded([Thing([2])]))
    assert found is not None and found.path == "/0"


def test_what_cannot_be_seen_is_named_with_its_reason():
    pointer = ctypes.pointer(ctypes.c_int(1))
    comparison = Comparison()
    assert comparison.difference(recorded([pointer]), recorded([pointer])) is None
    assert "pointer" in comparison.agreement.unseen["/0"]


def test_references_are_compared_by_name_and_handles_by_nothing():
    comparison = Comparison()
    assert comparison.difference(recorded(int), recorded(int)) is None
    assert comparison.agreement.references == {"": "class builtins.int"}
    assert comparison.difference(recorded(int), recorded(str)) is not None
    assert comparison.difference(recorded(threading.Lock()), recorded(threading.Lock())) is None
    assert comparison.agreement.handles == {"": "lock"}


def test_a_value_recorded_before_content_digests_says_so():
    form = {"repr": "<app.Thing object>", "class": "app.Thing", "digest": "0123456789abcdef"}
    comparison = Comparison()
    assert comparison.difference(Recorded(form, {"": "opaque"}, ""), recorded(Thing(1))) is None
    assert "record the program again" in comparison.agreement.unseen[""]


def test_a_class_of_the_main_program_has_another_module_name_now():
    one = Recorded({"x": 1}, {"": "dataclass:__main__.Point"}, "")
    other = Recorded({"x": 1}, {"": "dataclass:app.Point"}, "")
    assert Comparison("app").difference(one, other) is None
    assert Comparison("other").difference(one, other) is not None
    assert Comparison().difference(one, other) is not None


def test_a_key_without_a_codec_is_itself_whatever_token_its_secret_has():
    def held(token, digest):
        key = {
            "repr": "<K object>",
            "class": "K",
            "attributes": {"secret": token},
            "digest": f"c1/redacted:{digest}",
        }
        return Recorded([[key, 0], ["b", 1]], {"": "map", "/0/0": "opaque"}, "")

    assert Comparison().difference(held(TOKEN, "1"), held(OTHER_TOKEN, "1")) is None
    found = Comparison().difference(held(TOKEN, "1"), held(OTHER_TOKEN, "2"))
    assert found is not None


def test_an_object_that_serves_as_a_key_and_changed_differs_by_its_attribute():
    one, other = ({Thing(1): "a", Thing(first): "b"} for first in (2, 5))
    found = difference(one, other)
    assert found is not None and found.path.endswith("/inside")
    assert (found.recorded, found.replayed) == (2, 5)
    form = recorded(one)
    told = python_path(found.path, form.value, form.types, start="held")
    assert told.startswith("held[<") and "Thing object with inside=2>]" in told
    missing = difference({Thing(1): "a", Thing(2): "b"}, {Thing(1): "a"})
    assert missing is not None and missing.replayed == "<absent>"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({f"x{n:03}" for n in range(200)}, {f"x{n:03}" for n in range(199)} | {"y"}),
        ([*range(300), "late"], (*range(300), "later")),
        (["same " * 200, "late"], {"k": "same " * 200, "z": "later"}),
        ("same " * 200 + "late" + " end" * 200, "same " * 200 + "later" + " end" * 200),
    ],
)
def test_values_too_long_to_show_are_cut_around_what_differs(one, other):
    found = difference(one, other)
    assert found.recorded != found.replayed
    assert max(len(found.recorded), len(found.replayed)) <= 402


LONG_PROMPT = """
from Agent.flight import recorder, record_tool
@record_tool
def ask(messages): return 1
class Agent:
    agent_id, agent_role = "a", "r"
    @trace_agent_action
    def go(self, topic):
        return ask([{"content": "be short " * 90}, {"content": "tell of " * 90 + topic + " now" * 90}])
def build(spec): return Agent()
def main(): Agent().go("tea")
"""


@pytest.mark.further
def test_a_changed_prompt_of_many_messages_shows_the_changed_words(toy):
    toy.record(LONG_PROMPT)
    report = toy.change('topic + " now"', 'topic + " soon"').replay()
    found = report.outcome.divergence
    assert found.where == "argument messages[1]['content'] of tool.call ask"
    recorded, replayed = found.texts
    assert "tea now" in recorded and "tea soon" in replayed


def test_a_queue_is_compared_in_its_unfinished_tasks_and_a_generator_in_its_children():
    jobs, fewer = queue.Queue(), queue.Queue()
    for each in (jobs, fewer):
        each.put(1)
        each.put(2)
        each.get()
    fewer.task_done()
    found = difference(jobs, fewer)
    assert (found.path, found.recorded, found.replayed) == ("/unfinished_tasks", 2, 1)
    rng, spawned = np.random.default_rng(3), np.random.default_rng(3)
    spawned.spawn(2)
    assert difference(rng, spawned).path == "/n_children_spawned"
    older = recorded(rng)
    del older.value["seed"]
    assert Comparison().difference(older, recorded(spawned)) is None
