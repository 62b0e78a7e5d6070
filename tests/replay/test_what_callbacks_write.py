"""What functions write that methods reach through containers, fields and arguments is no IDENTICAL if it changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.replay import replay_run

pytestmark = pytest.mark.integration

PROGRAM = """
import collections
import functools
import types
import weakref

from Agent import trace_agent_action

BY_TABLE, BY_BUS, BY_FIELD, BY_LIST, BY_PARTIAL, BY_ARGUMENT, BY_OBJECT, BY_CLASS, BY_SET, BY_SPACE = ([] for _ in range(10))


def on_open(number):
    BY_TABLE.append(number)


HANDLERS = {"open": on_open}


class Bus:
    def __init__(self):
        self.subscribers = collections.defaultdict(list)

    def emit(self, topic, value):
        for each in self.subscribers[topic]:
            each(value)


bus = Bus()
bus.subscribers["sold"].append(lambda value: BY_BUS.append(value))


def by_partial(kind, number):
    BY_PARTIAL.append((kind, number))


class Strategy:
    def decide(self, number):
        BY_OBJECT.append(number)


class Job:
    def run(self, number):
        BY_CLASS.append(number)


class Observer:
    def handle(self, number):
        BY_SET.append(number)


observer = Observer()
WATCHING = weakref.WeakSet([observer])
CONFIGURATION = types.SimpleNamespace(steps=({"do": lambda number: BY_SPACE.append(number)},))
KINDS, RATES = {"job": Job}, {"gain": 3, "loss": 7}


class Passive:
    agent_id = "passive"

    def __init__(self):
        self.inbox = []


class Shop:
    def __init__(self, agent_id, on_done):
        self.agent_id, self.on_done = agent_id, on_done
        self.listeners = [lambda number: BY_LIST.append(number), functools.partial(by_partial, "a")]
        self.other = Passive()

    @trace_agent_action
    def act(self, number, callback, strategy):
        HANDLERS["open"](number)
        bus.emit("sold", number + 10)
        self.on_done(number + 20)
        for each in self.listeners:
            each(number + 30)
        callback(number + 40)
        strategy.decide(number + 50)
        self.other.inbox.append(number + 60)
        KINDS["job"]().run(number + 80)
        for each in WATCHING:
            each.handle(number + 90)
        CONFIGURATION.steps[0]["do"](number + 99)
        RATES["last"] = number
        if number == 2:
            self.__class__ = Closed


class Closed(Shop):
    pass


class Sold(Shop):
    pass


quiet = Shop("quiet", lambda number: None)
loud = Shop("loud", lambda number: BY_FIELD.append(number))
for number in range(3):
    quiet.act(number, lambda number: None, Strategy())
    loud.act(number, lambda number: BY_ARGUMENT.append(number), Strategy())
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(place: Path, source: str = PROGRAM) -> None:
    (place / "stock").mkdir()
    (place / "stock" / "__init__.py").write_text("")
    (place / "stock" / "shelf.py").write_text("LOG, HELD = [], []\n")
    (place / "late.py").write_text("LOG = []\n")
    (place / "shop.py").write_text(source)
    subprocess.run([sys.executable, "shop.py"], check=True, env=child_environment(), cwd=place)


MOMENTS = """
import collections
import contextvars
import datetime
import types

import stock.shelf
from Agent import trace_agent_action

TODAY = [datetime.datetime(2020, 1, 1)]
TURNS = collections.OrderedDict.fromkeys("abc")
SPACE = types.ModuleType("space")
SPACE.rate = 0
EMITTED = []
emit = EMITTED.append
CURRENT = contextvars.ContextVar("current", default=[])
UNSET = contextvars.ContextVar("unset")


class Basket(list):
    owner = None


BASKET = Basket()
BASKET.owner = "ada"


class Made(type):
    def __call__(cls, days):
        TODAY[0] += datetime.timedelta(days=days)


class Day(metaclass=Made):
    pass


MADE = []


class Ticket:
    def __new__(cls, number):
        MADE.append(number)
        return super().__new__(cls)


class Box:
    agent_id, mail = "box", ()


box = Box()


class Clerk:
    agent_id = "clerk"

    def __init__(self):
        self.turns, self.parts = 0, {"shelf": stock.shelf}

    @trace_agent_action
    def act(self):
        self.turns += 1
        Day(1)
        TURNS.move_to_end("a")
        SPACE.rate += 5
        Ticket(9)
        import late

        late.LOG.append(12)
        self.parts["shelf"].HELD.append(13)
        BASKET.append(14)
        emit(15)
        CURRENT.get().append(16)
        UNSET.set(17)
        stock.shelf.LOG.append(4)
        box.mail += (7,)


clerk = Clerk()
for _ in range(3):
    clerk.act()
"""


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("Day(1)", "Day(2)", "shop.TODAY"),
        ('move_to_end("a")', 'move_to_end("b")', "shop.TURNS"),
        ("rate += 5", "rate += 6", "shop.SPACE.rate"),
        ("(7,)", "(8,)", "fields of box"),
        ("Ticket(9)", "Ticket(8)", "shop.MADE"),
        ("LOG.append(4)", "LOG.append(5)", "stock.shelf.LOG"),
        ("append(12)", "append(22)", "late.LOG"),
        ("append(13)", "append(23)", "stock.shelf.HELD"),
        ("append(14)", "append(24)", "shop.BASKET"),
        ("emit(15)", "emit(25)", "shop.emit"),
        ("append(16)", "append(26)", "shop.CURRENT"),
        ("set(17)", "set(27)", "shop.UNSET"),
    ],
)
def test_what_a_run_without_clocks_leaves_is_compared_with_its_moments_and_orders(
    place, before, after, where
):
    record(place, MOMENTS)
    report = replayed(place, before, after, MOMENTS)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == f"{where}, as the program left it"


def test_a_moment_of_a_clock_is_no_difference(place):
    source = MOMENTS.replace("datetime.datetime(2020, 1, 1)", "datetime.datetime.now()")
    record(place, source)
    report = replayed(place, "Day(1)", "Day(1 + 0)", source)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "shop.TODAY agree by their form alone" in str(report)


COMPUTED = """
from Agent import trace_agent_action

SEEN = []


def on_open(number):
    SEEN.append(number)


class Door:
    agent_id = "door"

    @trace_agent_action
    def act(self, kind):
        globals()["on_" + kind](1)


Door().act("open")
"""


@pytest.mark.parametrize(("before", "after"), [("SEEN.append(number)", "pass"), ("(1)", "(2)")])
def test_a_function_that_is_looked_up_by_a_computed_name_is_followed(place, before, after):
    record(place, COMPUTED)
    report = replayed(place, before, after, COMPUTED)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == "shop.SEEN, as the program left it"


WITHOUT_AGENTS = """
from Agent import trace_agent_action


class Cat:
    energy = 10

    @trace_agent_action
    def live(self, number):
        self.energy -= burnt(number)
        return self.energy


def burnt(number):
    return 1 if number > 6 else 0


cat = Cat()
for number in range(10):
    cat.live(number)
"""
IN_PLACE = """
from Agent import trace_agent_action


class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def note(self, book):
        book.append(len(book))


clerk, book = Clerk(), []
for _ in range(3):
    clerk.note(book)
"""


IMMUTABLE = """
from typing import NamedTuple

from Agent import trace_agent_action


class Point(NamedTuple):
    x: int

    @property
    def agent_id(self):
        return "point"

    @trace_agent_action
    def move(self):
        return Point(self.x + 1)


class Amount(int):
    agent_id = "amount"

    @trace_agent_action
    def more(self):
        return Amount(self + 10)


point, amount = Point(0), Amount(0)
for _ in range(4):
    point, amount = point.move(), amount.more()
"""


@pytest.mark.parametrize(("before", "after"), [("self.x + 1", "self.x + 2"), ("self + 10", "self + 11")])
def test_the_value_of_an_immutable_agent_is_part_of_its_state(place, before, after):
    record(place, IMMUTABLE)
    report = replayed(place, before, after, IMMUTABLE)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.field == "state.self"


def test_a_changed_program_without_agents_differs_at_its_call(place):
    record(place, WITHOUT_AGENTS)
    report = replayed(place, "number > 6", "number > 7", WITHOUT_AGENTS)
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.step, report.divergence.action) == (8, "live")
    assert report.to_dict()["counts"]["actions"] == 10


def test_a_change_of_arguments_alone_is_something_that_was_compared(place):
    record(place, IN_PLACE)
    assert replayed(place, "len(book)", "len(book) + 0", IN_PLACE).verdict == "IDENTICAL"
    assert replayed(place, "len(book)", "len(book) + 1", IN_PLACE).verdict == "DIVERGED"


def replayed(place: Path, before: str, after: str, source: str = PROGRAM):
    assert source.count(before) == 1, before
    (place / "shop.py").write_text(source.replace(before, after))
    return replay_run("last", None, place / "trace")


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("BY_TABLE.append(number)", "BY_TABLE.append(-number)", "shop.BY_TABLE"),
        ('HANDLERS["open"](number)', 'HANDLERS["open"](-number)', "shop.BY_TABLE"),
        ("number + 10", "number + 11", "shop.BY_BUS"),
        ("number + 20", "number + 21", "shop.BY_FIELD"),
        ("number + 30", "number + 31", "shop.BY_LIST"),
        ("((kind, number))", "((number, kind))", "shop.BY_PARTIAL"),
        ("number + 40", "number + 41", "shop.BY_ARGUMENT"),
        ("number + 50", "number + 51", "shop.BY_OBJECT"),
        ("number + 60", "number + 61", "fields of passive"),
        ("number + 80", "number + 81", "shop.BY_CLASS"),
        ("BY_SET.append(number)", "BY_SET.append(-number)", "shop.BY_SET"),
        ("BY_SPACE.append(number)", "BY_SPACE.append(-number)", "shop.BY_SPACE"),
        ('"loss": 7', '"loss": 8', "shop.RATES['loss']"),
        ("        BY_OBJECT.append(number)", "        pass", "shop.BY_OBJECT"),
    ],
)
def test_a_changed_write_is_found_however_its_function_is_reached(place, before, after, where):
    record(place)
    report = replayed(place, before, after)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == f"{where}, as the program left it"


def test_another_class_that_an_action_gives_its_agent_is_found(place):
    record(place)
    report = replayed(place, "= Closed", "= Sold")
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.recorded, report.divergence.replayed) == ("Closed", "Sold")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("HANDLERS = {", "HANDLERS = {'never': print, "),
        ("BY_TABLE.append(number)", "BY_TABLE.extend([number])"),
        ("value: BY_BUS.append(value)", "value: BY_BUS.extend((value,))"),
    ],
)
def test_code_that_writes_the_same_stays_green(place, before, after):
    record(place)
    report = replayed(place, before, after)
    assert report.verdict == "IDENTICAL", str(report)
