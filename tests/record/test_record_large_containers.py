"""Containers and texts that the limits would cut are read until their account is spent."""

from __future__ import annotations

import random
import sys
from collections import Counter, deque
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from record_kit import recording

from Agent import AgentLogger
from Agent.event.values.digest import digest_bytes
from Agent.event.values.opaque import head_of_bytes
from Agent.event.values.reading import DEFAULT_LIMITS, Limits
from Agent.flight import recorder
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.encode import large_contents
from Agent.record.encode.capture import EncodedField
from Agent.record.encode.large_contents import size_if_cut
from Agent.record.secrets import names
from Agent.utils import trace_agent_action

MANY = DEFAULT_LIMITS.max_items + 1
LONG = DEFAULT_LIMITS.max_bytes + 1
NOT_READ = "not read in this call"


class Reader:
    agent_id, agent_role = "reader", "reader"

    @trace_agent_action
    def see(self, given):
        return None

    @trace_agent_action
    def give(self, made):
        return made()

    @trace_agent_action
    def fill(self, place, count):
        place.extend(range(count))

    @trace_agent_action
    def collect(self, place, count):
        place.update(range(count))

    @trace_agent_action
    def walk(self, count):
        yield count
        return [0] * count


@pytest.fixture(autouse=True)
def nothing_free(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)


def calls(run, options=None):
    """The payloads of the actions that `run` did with a reader."""
    with recording(options) as recorded:
        run(Reader())
        return [event["extra"] for event in recorded.of("agent_action")]


def is_read(form):
    return type(form) is not dict or form.get("reference") != NOT_READ


MADE = {
    "list": lambda: [*range(MANY)],
    "tuple": lambda: (0,) * MANY,
    "deque": lambda: deque(range(MANY)),
    "set": lambda: {*range(MANY)},
    "frozenset": lambda: frozenset(range(MANY)),
    "dict": lambda: {f"name {number}": number for number in range(MANY)},
    "numbered": lambda: dict.fromkeys(range(MANY)),
    "nested": lambda: [[0] * 300] * 300,
    "texts": lambda: ["x" * 10_000] * 110,
    "text": lambda: "x" * LONG,
    "bytes": lambda: b"x" * LONG,
    "bytearray": lambda: bytearray(LONG),
}


SORTS = [
    pytest.param(what, marks=pytest.mark.further)
    if what in {"tuple", "deque", "frozenset", "numbered", "texts", "bytearray"}
    else what
    for what in MADE
]


@pytest.mark.first_case
@pytest.mark.parametrize("what", SORTS)
def test_what_the_limits_would_cut_is_read_in_the_first_calls_alone(what):
    value = MADE[what]()
    first, *later = calls(lambda reader: [reader.see(value) for _ in range(4)])
    assert is_read(first["args"]["given"])
    for call in later:
        form = call["args"]["given"]
        assert form == {"repr": f"<{form['class']} object>", "class": form["class"], "reference": NOT_READ}
        assert form["class"].endswith(type(value).__name__)
        assert "args_after" not in call


@pytest.mark.parametrize("what", SORTS)
@pytest.mark.further
def test_with_always_they_are_read_in_every_call(what):
    value = MADE[what]()
    seen = calls(lambda reader: [reader.see(value) for _ in range(2)], RecordOptions(reads_large=True))
    assert all(is_read(call["args"]["given"]) for call in seen)


@pytest.mark.further
def test_what_is_recorded_whole_is_read_in_every_call():
    kept = [{*range(20_000)}, dict.fromkeys(range(20_000)), "x" * 100_000, [0.123456789] * 20_000, (1, 2)]
    seen = calls(lambda reader: [reader.see(value) for value in kept for _ in range(3)])
    assert all(is_read(call["args"]["given"]) for call in seen)


def test_a_small_container_after_a_large_one_is_read():
    values = [{*range(MANY)}, {*range(MANY)}, {1, 2}]
    seen = [is_read(call["args"]["given"]) for call in calls(lambda reader: [*map(reader.see, values)])]
    assert seen == [True, False, True]


def test_a_container_that_is_cut_deep_inside_an_argument_is_not_read_after_it():
    world = {"grid": {"rows": [[0.5] * 300 for _ in range(300)]}}
    seen = [
        is_read(call["args"]["given"]) for call in calls(lambda reader: [reader.see(world) for _ in range(3)])
    ]
    assert seen == [True, False, False]


class Thing:
    def __init__(self):
        self.number, self.rows = 1, [1]


@pytest.mark.further
def test_a_container_that_is_cut_for_what_its_objects_hold_is_not_read_after_it():
    things = [Thing() for _ in range(8_000)]
    seen = calls(lambda reader: [reader.see(things) for _ in range(3)])
    assert [is_read(call["args"]["given"]) for call in seen] == [True, False, False]
    seen = calls(lambda reader: [reader.give(lambda: {"all": things}) for _ in range(3)])
    assert [is_read(call["result"]) for call in seen] == [True, False, False]


@pytest.mark.further
def test_results_are_read_as_often_by_an_account_of_their_own():
    seen = calls(lambda reader: [reader.give(MADE["dict"]) for _ in range(3)])
    assert [is_read(call["result"]) for call in seen] == [True, False, False]
    seen = calls(lambda reader: [reader.give(lambda: {*range(9)}) for _ in range(3)])
    assert all(is_read(call["result"]) for call in seen)


def test_what_a_generator_returns_is_read_as_often():
    seen = calls(lambda reader: [[*reader.walk(MANY)] for _ in range(3)])
    assert [is_read(call["returned"]) for call in seen] == [True, False, False]


@pytest.mark.parametrize("method", ["fill", "collect"])
def test_an_argument_that_the_body_made_so_large_is_read_as_often(method):
    def run(reader):
        for _ in range(3):
            getattr(reader, method)([] if method == "fill" else set(), MANY)

    seen = calls(run)
    assert all(call["args"]["place"] == [] for call in seen)
    assert [is_read(call["args_after"]["place"]) for call in seen] == [True, False, False]
    # A small change is recorded.
    (call,) = calls(lambda reader: getattr(reader, method)([] if method == "fill" else set(), 3))
    assert call["args_after"]["place"] == [0, 1, 2]


def test_the_size_is_that_of_builtin_values_and_their_members():
    limits = Limits(max_items=16, max_bytes=1024)
    assert size_if_cut([0] * 16, limits) == 0
    assert size_if_cut([0] * 17, limits) == 17 * large_contents.BYTES_AN_ITEM
    assert size_if_cut([[0] * 8, {1: 2}, (3, 4, 5, 6, 7)], limits) == 17 * large_contents.BYTES_AN_ITEM
    assert size_if_cut({"a": "x" * 600, "b": b"x" * 600}, limits) > 0
    assert size_if_cut("x" * 1024, limits) == 0 < size_if_cut("x" * 1025, limits)
    assert size_if_cut([[[0] * 99]], limits) == 0  # one level alone

    class Own(list):
        def __len__(self):
            raise AssertionError

    class Meta(type):
        def __hash__(cls):
            raise AssertionError

    class Hashed(metaclass=Meta):
        pass

    assert size_if_cut(Own([0] * 99), limits) == size_if_cut(Hashed(), limits) == 0
    assert size_if_cut([Own([0] * 99), Hashed()], limits) == 0


@pytest.mark.further
def test_names_that_differ_in_a_long_number_are_judged_once_and_as_before():
    judged = names._judged.__wrapped__
    chance = random.Random(4)
    parts = "key token 2fa b64 base64 pass pwd _ - . api Key KEY secret pin cvv v wpa2 oauth2 id code [ # ' count".split()
    parts += ["12345", "99999999", "000000001", "0", "64", " "]
    for _ in range(20_000):
        name = "".join(chance.choices(parts, k=chance.randint(1, 6)))
        assert names.name_says(name) == judged(name), name
    names._judged.cache_clear()
    for number in range(10_000, 20_000):
        assert names.name_says(f"user_{number}") == names.NONE
        assert names.name_says(f"{number}") == names.NONE
        assert names.name_says(f"api_key_{number}") == names.SURE
    assert names._judged.cache_info().misses == 3


class Learner:
    agent_id, agent_role = "learner", "learner"

    def __init__(self, **fields):
        vars(self).update(fields)

    @trace_agent_action
    def learn(self, change=None):
        return None if change is None else change(self)


@pytest.mark.parametrize("hold", [lambda array: array, lambda array: {"layer": array}, lambda array: [array]])
def test_an_array_that_is_recorded_by_its_digest_is_read_only_at_full_states(hold, monkeypatch):
    array = np.zeros(MANY)

    def change(agent):
        array[0] += 1

    with recording(RecordOptions(state_period=4)) as found:
        agent = Learner(weights=hold(array))
        agent.learn(change)
        digests = _count_digests(monkeypatch)
        for _ in range(8):
            agent.learn(change)
        assert all(event["state"]["set"] == {} for event in found.of("agent_action"))
        texts = [str(state["extra"]["fields"]["weights"]) for state in found.of("state")]
        assert len(set(texts)) == len(texts) > 1
        assert len(digests) <= 2 * (len(texts) - 1), "for the comparison and for the line"


def _count_digests(monkeypatch):
    taken = []

    def counted(data):
        taken.append(len(data))
        return digest_bytes(data)

    monkeypatch.setattr("Agent.event.values.arrays.digest_bytes", counted)
    return taken


@pytest.mark.parametrize(
    "value",
    [
        {(x, y): {"food": 1, "near": [x]} for x in range(60) for y in range(60)},
        [{"text": "x" * 50, "at": number} for number in range(2000)],
        [(np.zeros(4), number, 1.0) for number in range(300)],
        {"layer": np.ones(300), "name": "first"},
        {"path": [Path("a"), date(2026, 1, 2)], "seen": {(1, 2), (3, 4)}},
        [Learner(n=number) for number in range(3)],
        [object(), {"own": Path("b")}],
        list(range(MANY)),
    ],
    ids=lambda value: type(value).__name__ + str(len(value)),
)
@pytest.mark.further
def test_a_full_state_is_the_same_whether_the_comparison_encoded_it_or_not(value, monkeypatch):
    def recorded():
        with recording() as found:
            agent = Learner(value=value, number=1, beside=[1, (2,)])
            agent.learn()
            agent.learn(lambda agent: setattr(agent, "number", 2))
        return [
            (event["extra"].get("fields"), event.get("types"), event.get("state"))
            for event in found.events
            if event["extra"]["event_type"] in ("state", "agent_action")
        ]

    shared = recorded()
    monkeypatch.setattr(EncodedField, "is_whole", lambda _field, _value: False)
    assert recorded() == shared


@pytest.mark.parametrize(
    "given",
    [np.zeros(10 * MANY), [np.zeros(10 * MANY), np.ones(10 * MANY)], {"image": np.zeros((1000, 1000))}],
    ids=["array", "list", "dict"],
)
def test_a_large_array_in_arguments_is_read_until_its_account_is_spent(given, monkeypatch):
    with recording() as found:
        reader = Reader()
        for _ in range(large_contents.FREE_CALLS + 1):
            reader.see(given)
        digests = _count_digests(monkeypatch)
        for _ in range(20):
            reader.see(given)
        assert digests == []
        *_, last = found.of("agent_action")
        assert last["extra"]["args"]["given"]["reference"] == NOT_READ


@pytest.mark.parametrize(
    "hold", [lambda frame: frame, lambda frame: (frame, 1.0, {}), lambda frame: {"image": frame}]
)
def test_each_frame_of_a_game_is_read_as_an_argument_and_as_a_result(hold):
    frame = np.zeros((210, 160, 3), np.uint8)
    with recording() as found:
        reader = Reader()
        for number in range(3 * large_contents.FREE_CALLS):
            frame[0, 0, 0] = number
            reader.see(hold(frame))
            reader.give(lambda: hold(frame))
        assert NOT_READ not in found.text


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_of_a_payload_are_digested_once(kind, monkeypatch):
    taken = []

    def counted(data, chars):
        taken.append(len(data))
        return head_of_bytes(data, chars)

    monkeypatch.setattr("Agent.event.values.codecs.head_of_bytes", counted)
    with recording() as found:
        AgentLogger("creator").log_action("image", {"pixels": kind(LONG)})
        assert '"truncated"' in found.text
    assert taken == [LONG]


@pytest.mark.parametrize(
    "output",
    [list(range(MANY)), {"seen": [0.5, None, True] * MANY}, np.linspace(0, 1, MANY), [list(range(MANY))] * 2],
    ids=["list", "dict", "array", "lists"],
)
def test_a_number_of_a_step_output_costs_no_call_of_python(output):
    calls_of = Counter()

    def profile(frame, event, _argument):
        calls_of[frame.f_code.co_qualname] += event == "call"

    with recording(), recorder.run("long"), recorder.step("step-1", "numbers") as step:
        step.output = output
        sys.setprofile(profile)
    sys.setprofile(None)
    assert calls_of, "the output was stored while calls were counted"
    assert calls_of.total() < MANY // 10, calls_of.most_common(3)
