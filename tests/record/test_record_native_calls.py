"""Calls that are recorded in C leave the lines that they leave without it, and notice the same changes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import enum
import errno
import random
import re
import sys
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from record_kit import recording
from strategies import json_values

from Agent import AgentLogger, health, setup_logging, shutdown_logging, tick
from Agent.event.values.values import to_json
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import active_pipeline
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.encode import capture as judging
from Agent.record.encode.native import native
from Agent.record.state import generators, same_members
from Agent.record.state import tracker as tracking
from Agent.testing import FakeClock
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import mirror, segment_writer, writer
from Agent.tree.write.crash_board import read_board
from Agent.utils import trace_agent_action

pytestmark = pytest.mark.skipif(native is None, reason="the native part was not built")


class Mood(enum.Enum):
    CALM = "calm"
    LOUD = "loud"


class Plan:
    def __init__(self, count):
        self.count = count


NUMBERS = st.one_of(
    st.floats(width=64).map(np.float64),
    st.floats(width=32).map(np.float32),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.integers(-128, 127).map(np.int8),
    st.booleans().map(np.bool_),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["password=hunter2", "sk-proj-" + "a1B2" * 8, "x" * 5000, "\ud800", 2**70]),
)  # fmt: skip
AWKWARD = st.one_of(
    NUMBERS,
    st.sampled_from(
        [Mood.CALM, Mood.LOUD, date(2026, 11, 20), timedelta(3), Decimal("1.50"), uuid.UUID(int=7)]
    ),
    st.sampled_from(uuid.SafeUUID).map(lambda safe: uuid.UUID(int=7, is_safe=safe)),
    st.sampled_from(
        [datetime(2026, 1, 2, tzinfo=UTC), range(4), b"ab", 3 + 4j, {1: 2}, {"a", "b"}, frozenset({3})]
    ),
    st.builds(Plan, st.one_of(st.integers(0, 3), SCALARS)),
    st.tuples(SCALARS, SCALARS, NUMBERS),
    st.lists(st.tuples(NUMBERS), max_size=2),
)
VALUES = st.one_of(SCALARS, AWKWARD, json_values)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "set",
                "put",
                "put",
                "grow",
                "unset",
                "give",
                "nested",
                "raise",
                "tick",
                "outside",
                "many",
                "tag",
                "swap",
            ]
        ),
        st.sampled_from(["mood", "energy", "seen", "api_key"]),
        VALUES,
    ),
    max_size=12,
)


BOX = [None]


class Peer:
    agent_id, agent_role = "peer", "peer"

    @trace_agent_action
    def take(self, first, *more, word=None):
        if isinstance(first, dict):
            first["taken"] = word
        return word


class Walker:
    agent_role = "walker"

    def __init__(self):
        self.agent_id, self.energy, self.mood = "walker", 3, "calm"
        self.peer = Peer()

    @trace_agent_action
    def set(self, name, value):
        setattr(self, name, value)

    @trace_agent_action
    def put(self, name):
        """Takes the value from elsewhere, so that the arguments are plain whatever it is."""
        setattr(self, name, BOX[0])

    @trace_agent_action
    def grow(self, name):
        held = getattr(self, name, None)
        if isinstance(held, list):
            held.append(BOX[0])
        elif isinstance(held, dict):
            held[name] = BOX[0]
        elif isinstance(held, tuple) and held and isinstance(held[0], list):
            held[0].append(BOX[0])

    @trace_agent_action
    def unset(self, name):
        with contextlib.suppress(AttributeError):
            delattr(self, name)

    @trace_agent_action(action_type="giving")
    def give(self, value):
        return value

    @trace_agent_action
    def nested(self, name, value):
        return self.peer.take(value, name, word=name)

    @trace_agent_action
    def fail(self, value):
        raise ValueError("no way")

    @trace_agent_action
    def many(self, *values, **named):
        self.count = len(values) + len(named)

    @trace_agent_action
    def tag(self, name, mood=None, /, **tags):
        if isinstance(tags.get("name"), list):
            tags["name"].append(name)


class Loner(Walker):
    """Holds no other agent, so that what it holds may be known by the version of its attributes."""

    def __init__(self):
        self.agent_id, self.energy, self.mood = "walker", 3, "calm"

    @trace_agent_action
    def nested(self, name, value):
        return PEER.take(value, name, word=name)


class SlottedWalker:
    __slots__ = ("__weakref__", "agent_id", "api_key", "count", "energy", "mood", "peer", "seen")
    agent_role = "walker"
    __init__, set, put, grow, unset = Walker.__init__, Walker.set, Walker.put, Walker.grow, Walker.unset
    give, nested, fail, many, tag = Walker.give, Walker.nested, Walker.fail, Walker.many, Walker.tag


@dataclasses.dataclass(eq=False)
class DataWalker(Walker):
    energy: float = 3
    mood: object = "calm"
    agent_id: str = "walker"
    peer: object = dataclasses.field(default_factory=Peer)
    spare: dataclasses.InitVar[int] = 0


WALKERS = st.sampled_from((Walker, SlottedWalker, DataWalker))
PEER = Peer()


def walk(steps, cls):
    walker = cls()
    for kind, name, value in steps:
        value = copy.deepcopy(value)
        if kind == "set":
            walker.set(name, value)
        elif kind in {"put", "grow"}:
            BOX[0] = value
            getattr(walker, kind)(name)
            walker.give(1)
        elif kind == "raise":
            with pytest.raises(ValueError, match="no way"):
                walker.fail(value)
        elif kind == "tick":
            with tick(7):
                walker.give(value)
        elif kind == "outside":
            setattr(walker, name, value)
        elif kind == "many":
            walker.many(value, 2, word=value)
        elif kind == "tag":
            walker.tag(name, **{"size": 2, "name": value, name: 1})
        elif kind == "swap":
            walker.energy, walker.mood = getattr(walker, "mood", 1), getattr(walker, "energy", 2)
            walker.give(None)
        elif kind == "unset":
            walker.unset(name)
        elif kind == "give":
            walker.give(value)
        else:
            walker.nested(name, value)


OPTIONS = st.sampled_from(
    [
        RecordOptions(),
        RecordOptions(entry_looks=0, probes=0),
        RecordOptions(entry_looks=0, probes=1, state_period=5),
        RecordOptions(entry_looks=0, strict_state=True),
    ]
)


ACTS = ("put", "energy", 1)
REWRITES = (
    np.float64(0),
    [1],
    [2],
    {"a": (1,)},
    {"a": (2,)},
    {1: 2},
    {1: 3},
    {"b"},
    {"c"},
    Mood.CALM,
    Mood.LOUD,
    7,
)


def lines_of(steps, redact, options, cls=Walker):
    with recording(options, FakeClock(), redact) as recorded:
        assert (recorded.pipeline.lane is None) == (judging.native is None)
        walk(steps, cls)
        # ids of spans begin with four random bytes
        spans = re.compile(rb'(span_id":")[0-9a-f]{8}')
        lines = [spans.sub(rb"\1", line) for line in recorded.sink.lines]
        health = recorded.health
        return lines, health.events, dict(health.dropped), dict(health.notes)


@pytest.mark.integration
@given(STEPS, st.booleans(), OPTIONS, WALKERS)
@example(
    [("set", "seen", (1, 2)), ("set", "energy", np.float64(2.5)), ("nested", "mood", {"a": [1]})] * 9,
    True,
    RecordOptions(),
    SlottedWalker,
)
@example(
    [("outside", "energy", n // 2) for n in range(3)] + [("give", "mood", n) for n in range(20)],
    True,
    RecordOptions(),
    Walker,
)
@example(
    [("outside", "energy", n // 9) if n % 2 else ("give", "mood", n) for n in range(60)],
    True,
    RecordOptions(),
    DataWalker,
)
@example(
    [
        step
        for n in range(12)
        for step in (
            ("outside", "energy", n // 2),
            ("outside", "mood", np.float64(n // 3)),
            ("give", "mood", n),
        )
    ],
    True,
    RecordOptions(probes=0),
    SlottedWalker,
)
@example(
    [
        ("set", "energy", np.float64(n // 2)) if n % 3 else ("set", "energy", np.float64("nan"))
        for n in range(9)
    ],
    True,
    RecordOptions(entry_looks=0),
    Walker,
)
@example(
    [("put", "seen", value) for value in ((1, 2), (1, 3), np.float64(1), [1], [2], {"a": (1,)}, 3)],
    True,
    RecordOptions(entry_looks=0),
    SlottedWalker,
)
@example(
    [("put", "seen", [1])] + [("grow", "seen", n) for n in (1, 1.0, True, [2])],
    True,
    RecordOptions(entry_looks=0),
    DataWalker,
)
@example(
    [("set", "mood", None)] * 7
    + [("set", "mood", np.float64(0)), ("set", "energy", np.float64(1)), ("swap", "mood", None)],
    False,
    RecordOptions(),
    Walker,
)
@example(
    [("tag", "mood", [1]), ("tag", "seen", 1.5), ("tag", "mood", date(2026, 1, 2))],
    True,
    RecordOptions(),
    DataWalker,
)
@example(
    [("give", "mood", 1)] * 9 + [step for value in REWRITES for step in (("outside", "mood", value), ACTS)],
    False,
    RecordOptions(),
    SlottedWalker,
)
def test_a_call_leaves_the_same_lines_with_and_without_the_native_part(steps, redact, options, cls):
    quick = lines_of(steps, redact, options, cls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "native", None)
        patch.setattr(tracking, "snapshot", same_members._snapshot)
        patch.setattr(tracking, "still_is", same_members._still_is)
        assert lines_of(steps, redact, options, cls) == quick


REST = [("give", "mood", 1)] * 3
PROBED = REST * 9
"""More than are looked at by Python in any case."""


@pytest.mark.integration
@given(STEPS, OPTIONS)
@example([*REST, ("outside", "energy", 4), *REST, ("outside", "energy", 4), *REST] * 2, RecordOptions())
@example([*REST, ("set", "seen", [1]), *REST, ("grow", "seen", 2), *REST], RecordOptions(probes=0))
@example([*REST, ("put", "energy", np.float64(2)), *REST, ("unset", "energy", None), *REST], RecordOptions())
@example(
    [*REST, ("outside", "seen", [1]), *REST, ("raise", "seen", 2), *REST, ("swap", "seen", 2)],
    RecordOptions(),
)
def test_an_agent_at_rest_leaves_the_same_lines_with_and_without_the_native_part(steps, options):
    steps = PROBED + steps
    quick = lines_of(steps, True, options, Loner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "native", None)
        patch.setattr(tracking, "snapshot", same_members._snapshot)
        patch.setattr(tracking, "still_is", same_members._still_is)
        assert lines_of(steps, True, options, Loner) == quick


class Field:
    """A world of agents, so large that those hold references to it."""

    def __init__(self):
        self.steps, self.herd, self.ground = 0, [], [[number] for number in range(600)]


class Animal:
    agent_role = "animal"

    def __init__(self, agent_id, world, place, energy):
        self.agent_id, self.world, self.place, self.energy = agent_id, world, place, energy

    @trace_agent_action
    def act(self, other, does):
        if does == "eats" and other is not self:
            other.world.herd.remove(other)
            other.place = None
        elif does == "leaves":
            self.place = 0
        elif does == "moves":
            self.place = Field()
        elif does == "bears":
            self.world.herd.append(Animal(f"{self.agent_id}.{self.world.steps}", self.world, self.place, 1.5))
        self.energy += 1


def live(steps):
    world, place = Field(), Field()
    place.herd = world.herd
    world.herd += [Animal(f"animal {number}", world, place, np.float64(number)) for number in range(3)]
    for number in range(12):
        world.herd[number % 3].act(None, "rests")
    for who, whom, does in [*steps, *((number % 3, 0, "rests") for number in range(9))]:
        world.steps += 1
        herd = world.herd
        herd[who % len(herd)].act(herd[whom % len(herd)], does)


LIVES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from(["eats", "leaves", "moves", "bears", "bears", "rests"]),
    ),
    max_size=14,
)


def lines_of_lives(steps):
    with recording(RecordOptions(), FakeClock()) as recorded:
        live(steps)
        names = re.compile(rb'(span_id":")[0-9a-f]{8}')
        return [names.sub(rb"\1", line) for line in recorded.sink.lines]


@pytest.fixture(scope="module")
def knows_fields():
    """After some objects of a class it is known that they are too large to be looked at."""
    for _ in range(5):
        lines_of_lives([(0, 0, "moves")] * 3)
    with recording() as recorded:
        for _ in range(12):
            recorded.pipeline.capture.constructor_body((Named(name="x", steps=1),), {}, "/extra/init")


@pytest.mark.further
@pytest.mark.usefixtures("knows_fields")
@given(LIVES)
@example(
    [(0, 1, "bears"), (3, 1, "rests"), (3, 1, "eats"), (0, 1, "rests"), (1, 0, "leaves"), (1, 0, "moves")]
)
@example([(0, 1, "bears"), (1, 3, "rests"), (3, 3, "rests"), (1, 2, "eats"), (0, 0, "rests")])
def test_agents_are_born_and_die_in_the_same_lines_with_and_without_the_native_part(steps):
    quick = lines_of_lives(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "native", None)
        patch.setattr(tracking, "snapshot", same_members._snapshot)
        patch.setattr(tracking, "still_is", same_members._still_is)
        assert lines_of_lives(steps) == quick
    assert any(b'"objects":["world"]' in line for line in quick)


class Giver:
    agent_role = "giver"

    def __init__(self, agent_id):
        self.agent_id, self.wealth = agent_id, 100

    @trace_agent_action
    def give(self, other):
        self.wealth -= 1
        other.wealth += 1


class OwnRandom(random.Random):
    """A generator of a class of the program."""


GENERATORS = {
    "random": random.Random,
    "own class": OwnRandom,
    "PCG64": np.random.default_rng,
    "MT19937": lambda seed: np.random.Generator(np.random.MT19937(seed)),
    "Philox": lambda seed: np.random.Generator(np.random.Philox(seed)),
    "RandomState": np.random.RandomState,
}
NAMES = (
    "rng",
    "rng_of_dice",
    'a "b"',
    "w\u00fcrfel",
    "n" * 70,
    "api_key",
    "sk-proj-" + "a1B2" * 8,
    *"bcdefg",
)


class Player:
    agent_role = "player"

    def __init__(self, kinds):
        self.agent_id, self.points = "player", 0
        for seed, (name, kind) in enumerate(kinds.items()):
            setattr(self, name, GENERATORS[kind](seed))

    @trace_agent_action
    def draw(self, name, how, points):
        generator = getattr(self, name, None)
        if how == "normal" and generator is not None:
            (generator.gauss if isinstance(generator, random.Random) else generator.normal)(0, 1)
        elif generator is not None:
            generator.random()
        self.points += points

    @trace_agent_action
    def draw_from_all(self):
        for name in NAMES:
            if hasattr(self, name):
                getattr(self, name).random()

    @trace_agent_action
    def take(self, name, kind):
        setattr(self, name, GENERATORS[kind](9) if kind in GENERATORS else kind)


KINDS = st.sampled_from(sorted(GENERATORS))
DRAWS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["draw", "draw", "normal", "all", "take", "drop", "outside"]), KINDS),
    max_size=12,
)  # fmt: skip


def lines_of_draws(kinds, draws):
    with recording(RecordOptions(), FakeClock()) as recorded:
        player = Player(kinds)
        for number, (name, how, kind) in enumerate(draws):
            if how == "all":
                player.draw_from_all()
            elif how == "take":
                player.take(name, kind)
            elif how == "drop":
                player.__dict__.pop(name, None)
                player.draw(name, "draw", 1)
            elif how == "outside" and hasattr(player, name):
                getattr(player, name).random()
                player.draw(name, "draw", 0)
            else:
                player.draw(name, how, number % 2)
        spans = re.compile(rb'(span_id":")[0-9a-f]{8}')
        return [spans.sub(rb"\1", line) for line in recorded.sink.lines]


@pytest.mark.further
@given(st.dictionaries(st.sampled_from(NAMES), KINDS, max_size=len(NAMES)), DRAWS)
@example(dict.fromkeys(NAMES, "random"), [("rng", "all", "PCG64")])
@example(
    {"rng": "PCG64", "b": "random"},
    [("rng", "all", "PCG64"), ("b", "normal", "PCG64"), ("b", "draw", "PCG64")],
)
@example(
    {"rng": "random"}, [("rng", "take", "own class"), ("rng", "draw", "PCG64"), ("rng", "drop", "PCG64")]
)
@example({"rng": "RandomState"}, [("rng", "normal", "PCG64"), ("rng", "normal", "PCG64")])
def test_where_actions_left_generators_is_the_same_with_and_without_the_native_part(kinds, draws):
    quick = lines_of_draws(kinds, draws)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "native", None)
        patch.setattr(generators, "native", None)
        assert lines_of_draws(kinds, draws) == quick


@pytest.mark.parametrize("kind", ["random", "PCG64", "MT19937", "RandomState"])
def test_where_an_action_left_its_generator_is_noted_without_a_call_of_python(monkeypatch, kind):
    with recording(RecordOptions()) as recorded:
        player, calls = Player({"rng": kind}), []
        for _ in range(30):
            player.draw("rng", "draw", 1)
        drawn = tracking.StateTracker.drawn
        monkeypatch.setattr(
            tracking.StateTracker, "drawn", lambda self, obj: calls.append(obj) or drawn(self, obj)
        )
        for _ in range(30):
            player.draw("rng", "draw", 1)
        assert [{*event["state"]["drew"]} for event in recorded.of("agent_action")[-30:]] == [{"rng"}] * 30
        assert not calls


def test_scalars_that_agents_write_to_others_are_noted_without_a_look_in_python(monkeypatch):
    with recording(RecordOptions()) as recorded:
        givers = [Giver(f"giver {number}") for number in range(3)]
        for number in range(150):
            givers[number % 3].give(givers[(number + (number > 50)) % 3])
        between, looks = type(recorded.pipeline.agents.between), []
        for name in ("begins", "ended"):
            method = getattr(between, name)
            monkeypatch.setattr(
                between, name, lambda *args, method=method: looks.append(method) or method(*args)
            )
        for number in range(90):
            givers[number % 3].give(givers[(number + 1) % 3])
        assert "writers" in str(recorded.of("state_change")[-1])
        assert not looks


def test_versions_are_noted_where_no_field_can_change_in_place():
    with recording(RecordOptions()) as recorded:
        noted = []
        loner, walker = Loner(), Walker()
        for each in (loner, walker):
            for _ in PROBED:
                each.give(1)
            noted.append(recorded.pipeline.agents.find(each).tracker.compared)
        loner.set("seen", [1])
        loner.seen.append(2)
        loner.give(1)
        assert recorded.of("state_change"), "a list is looked at although the attributes were not written"
        assert noted[1] is None, "the agent that it holds may get another id"
        assert (noted[0] is None) == (sys.version_info >= (3, 12))


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
@example([1, np.float64("nan"), 2**70, "\ud800"], {"x": np.int8(3), "token": "sk-proj-" + "a1B2" * 8})
@example([float("inf")], {"\ud800": 1})
def test_constructor_arguments_that_stand_alone_are_written_as_all_are(args, kwargs):
    with recording() as recorded:
        capture = recorded.pipeline.capture
        quick = capture.constructor_body(tuple(args), kwargs, "/extra/init")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judging, "native", None)
            assert capture.constructor_body(tuple(args), kwargs, "/extra/init") == quick
            patch.setattr(judging, "_stands_alone", lambda _: False)
            assert capture.constructor_body(tuple(args), kwargs, "/extra/init") == quick


class Named:
    """Too large to be looked at, with some attributes that are shown."""

    def __init__(self, **shown):
        self.ground = [[number] for number in range(600)]
        vars(self).update(shown)


REFERENCES = st.builds(
    lambda shown: Named(**shown),
    st.dictionaries(st.sampled_from(["name", "steps", "api_key", "w\u00fcrfel"]), VALUES, max_size=3),
)


@pytest.mark.further
@pytest.mark.usefixtures("knows_fields")
@given(
    st.lists(VALUES | REFERENCES, max_size=3), st.dictionaries(st.text(max_size=3), REFERENCES, max_size=2)
)
@example([Field(), np.float64(1.5), 3], {"place": Field()})
@example([Field(), 2**70, np.float64("nan")], {"api_key": Field()})
@example([[Field()], Field()], {})
@example([Named(name="Bearer " + "a1B2" * 8)], {"x": Named(steps=10**30)})
def test_objects_that_are_named_in_constructor_arguments_are_written_as_all_are(args, kwargs):
    place = args[0] if args else None
    with recording() as recorded:
        capture = recorded.pipeline.capture
        for _ in range(2):  # names become known
            quick = capture.constructor_body((*args, place), kwargs, "/extra/init")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judging, "native", None)
            assert capture.constructor_body((*args, place), kwargs, "/extra/init") == quick


@given(VALUES)
@example([[[[[[[[[1]]]]]]]]])
@example([[[[[[[[1]]]]]]]])
@example([0] * 510)
@example([0] * 511)
@example({"a": [0] * 507})
@example({1: [0] * 508})
def test_a_value_has_the_same_snapshot_with_and_without_the_native_part(value):
    snapshot = native.snapshot(value)
    twin = same_members._snapshot(value)
    assert (twin and [*map(id, twin)]) == (snapshot and [*map(id, snapshot)])
    if snapshot is not None:
        assert same_members._still_is(value, snapshot) and native.still_is(value, snapshot)


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held["list"].append(1),
        lambda held: held["list"].__setitem__(0, 1.0),
        lambda held: held["inner"][1].add("c"),
        lambda held: held["inner"][0].update(a=2),
        lambda held: held["inner"][0].pop("a"),
        lambda held: held.update(list=[1, 2]),
        lambda held: held.pop("list"),
    ],
)
def test_a_value_that_changed_in_place_is_not_what_it_was(change):
    value = {"list": [1, 2], "inner": ({"a": 1}, {"a", "b"}), "at": np.float64(1.5), "on": date(2026, 1, 2)}
    snapshot = native.snapshot(value)
    assert native.still_is(value, snapshot) and same_members._still_is(value, snapshot)
    change(value)
    assert not native.still_is(value, snapshot) and not same_members._still_is(value, snapshot)


def test_what_may_change_unseen_has_no_snapshot():
    class Text(str):
        __slots__ = ("more",)

    for value in (
        Plan(1),
        [Plan(1)],
        {"a": object()},
        (bytearray(b"a"),),
        Text("a"),
        np.zeros(2),
        {object(): 2},
        [0] * 600,
    ):
        assert native.snapshot(value) is None and same_members._snapshot(value) is None


@given(NUMBERS)
def test_a_number_of_numpy_is_the_same_to_the_judge_and_the_codec(number):
    with recording() as recorded:
        capture = recorded.pipeline.capture
        capture.careful_body({"n": number}, "/extra")  # which the judge hears of its type by
        judged = capture.judge.tagged({"n": number}, "/extra")
    dumped = to_json(number, "/extra/n")
    if judged is not None:
        assert judged == (b'{"n":%s}' % dumped.json, dumped.types)
    else:
        assert np.isinf(number) or np.isnan(number)


def test_a_duration_has_six_significant_digits():
    clock, drawn = FakeClock(), random.Random(1)
    durations_ns = [0, 1, 99, 100, 101, 120_000, 999_999, 1_000_000, 10**15]
    durations_ns += [drawn.randrange(10 ** drawn.randrange(1, 12)) for _ in range(1_000)]

    class Sleeper:
        agent_id = "sleeper"

        @trace_agent_action
        def sleep(self, number):
            clock.now_ns += durations_ns[number]

    with recording(clock=clock) as recorded:
        sleeper = Sleeper()
        for number in range(len(durations_ns)):
            sleeper.sleep(number)
    lines = [line for line in recorded.sink.lines if b'"action_type":"sleep"' in line]
    for line, duration_ns in zip(lines, durations_ns, strict=True):
        assert b'"duration_ms":%.6g}' % (duration_ns / 1e6) in line


def test_a_line_is_added_to_its_mirror_without_a_call_of_python_once_the_thread_is_awake(
    tmp_path, monkeypatch
):
    setup_logging(trace_root=tmp_path)

    class Baker:
        agent_id = "baker"

        @trace_agent_action
        def bake(self, number):
            return number

    try:
        baker, calls = Baker(), []
        baker.bake(0)
        monkeypatch.setattr(mirror.Adder, "__call__", lambda self, line: calls.append(line))
        for number in range(1, 4):
            baker.bake(number)
    finally:
        shutdown_logging()
    lines = [line for path in tmp_path.glob("agents/*.log") for line in path.read_bytes().splitlines()]
    assert sum(b'"action_type":"bake"' in line for line in lines) == 4
    assert not calls


def test_the_board_shows_a_call_while_its_body_runs(tmp_path):
    setup_logging(trace_root=tmp_path)

    class Baker:
        agent_id = "baker"

        @trace_agent_action
        def bake(self):
            (board,) = tmp_path.rglob("*.board")
            return [(span.agent_id, span.name, span.span_id) for span in read_board(board).open_spans]

        @trace_agent_action
        def again(self):
            return self.bake()

    try:
        for _ in range(2):
            shown = Baker().again()
            assert [row[:2] for row in shown] == [("baker", "again"), ("baker", "bake")]
        (board,) = tmp_path.rglob("*.board")
        assert read_board(board).open_spans == ()
    finally:
        shutdown_logging()


def refused_and_torn(directory, durability, patch):
    """What the files and the counters say where the system refuses one line and tears another one."""
    setup_logging(trace_root=directory, durability=durability)

    class Baker:
        agent_id = "baker"

        @trace_agent_action
        def bake(self, number):
            return number

    def refuses(fd, line):
        raise OSError(errno.ENOSPC, "full")

    try:
        baker, write = Baker(), writer._write
        ways = (write, refuses, write, lambda fd, line: write(fd, line[:10]), write)
        for number, way in enumerate(ways):
            patch.setattr(writer, "_write", way)
            patch.setattr(segment_writer, "_write", way)
            baker.bake(number)
        told = health()
    finally:
        shutdown_logging()
    (file,) = (
        path for path in directory.rglob("baker*.log") if path.parent.parent.name.startswith("session_")
    )
    found = re.findall(r'"result":(\d)', file.read_text())
    return found, told["dropped"], told["notes"], told["events"]


@pytest.mark.parametrize("durability", ["kernel", "disk"])
def test_a_line_that_is_refused_or_torn_is_met_as_without_the_native_part(tmp_path, durability):
    with pytest.MonkeyPatch.context() as patch:
        quick = refused_and_torn(tmp_path / "quick", durability, patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "native", None)
        assert refused_and_torn(tmp_path / "slow", durability, patch) == quick
    assert {"0", "2", "4"} <= set(quick[0])


def test_an_error_of_recording_never_gets_out_of_a_call(monkeypatch):
    with recording() as recorded:
        walker = Walker()
        for _ in range(30):
            walker.give(1)

        def fails(*_):
            raise RuntimeError("no number")

        for name, place in (("_next_span", "the call of"), ("sink", "the end of")):
            if name == "sink":
                monkeypatch.setattr(recorded.sink, "next_seq", fails)
            else:
                monkeypatch.setattr(recorded.pipeline, name, fails)
            assert walker.give(3) == 3
            assert current_scope.get() is None
            monkeypatch.undo()
            assert any(note.startswith(place) for note in recorded.health.notes)
        assert walker.give(4) == 4
        assert recorded.of("agent_action")[-1]["extra"]["result"] == 4
        assert sum(recorded.health.dropped.values()) == 2


class Stop(BaseException):
    """What a signal handler raises, as KeyboardInterrupt is."""


def test_an_event_that_has_its_number_is_written_before_a_signal_ends_the_call():
    with recording() as recorded:
        own, logger = recorded.pipeline.stamps.threads.own, AgentLogger("a", "x")
        logger.log_action("first", {"n": 0})
        store = own.store

        def interrupted(_):
            own.store = store
            raise Stop

        own.store = interrupted
        with pytest.raises(Stop):
            logger.log_action("second", {"n": 1})
        logger.log_action("third", {"n": 2})
        names = [event["extra"]["action_type"] for event in recorded.of("agent_action")]
        numbers = [int(event["id"].partition("-")[2]) for event in recorded.events]
    assert names == ["first", "second", "third"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("what", ["store", "_sync_one", "bring_to_disk"])
def test_a_synced_event_that_has_its_number_is_written_before_a_signal_ends_the_call(
    trace_root, monkeypatch, what
):
    setup_logging(trace_root=trace_root, durability="disk")
    logger = AgentLogger("a", "x")
    logger.log_action("first")
    pipeline = active_pipeline()
    place = {
        "store": pipeline.stamps.threads.own,
        "_sync_one": segment_writer.GroupCommit,
        "bring_to_disk": writer.SyncedStream,
    }[what]

    def interrupted(*_):
        raise Stop

    monkeypatch.setattr(place, what, interrupted)
    with pytest.raises(Stop):
        logger.log_action("second")
    monkeypatch.undo()
    logger.log_action("third")
    shutdown_logging()
    (session,) = (found.path for found in list_sessions(trace_root))
    actions = [event.extra["action_type"] for event in TreeReader(session).events("a")]
    assert actions == ["first", "second", "third"]
    losses = TreeReader(session).losses()
    assert losses.clean and losses.total_lost == 0
