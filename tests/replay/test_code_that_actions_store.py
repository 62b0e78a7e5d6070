"""Code that actions store outside of agents proves nothing where it changed, as in fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.archive.sealed.reader import open_reader
from Agent.replay import replay_run
from Agent.replay.compare.program_state import LeftInProgram, code_otherwise

pytestmark = pytest.mark.process

PROGRAM = """
import functools
from contextvars import ContextVar

from Agent import setup_logging, trace_agent_action

RULES = []
HANDLERS = {}
CURRENT = ContextVar("current", default=None)
CLASSES = {}
BUILT = {}
CHOSEN = None
AT_IMPORT = [lambda x: x + 100]


def plain(x):
    return x + 200


def register(name, function):
    HANDLERS[name] = function


class Bus:
    def __init__(self):
        self.listeners = []


BUS = Bus()


class Settings:
    hooks = []

    def __init__(self):
        self.on = True


class Base:
    rule = staticmethod(plain)
    size = 3

    def area(self):
        return self.size


class Desk(Base):
    def __init__(self, agent_id):
        self.agent_id, self.settings, self.shape, self.shapes = agent_id, Settings(), None, None

    @trace_agent_action
    def learn(self, k):
        global CHOSEN
        first = lambda x: x * k + 1
        RULES.append(first)
        register("double", lambda x: x * k + 2)
        CURRENT.set(lambda x: x * k + 3)
        Settings.hooks.append(lambda x: x * k + 4)
        BUS.listeners.append(lambda x: x * k + 5)

        def rule(x):
            return x * k + 6

        Base.rule = staticmethod(rule)
        Base.price = staticmethod(lambda x: x * k + 14)
        Base.area = property(lambda self: self.size + 7)

        class Made:
            def area(self):
                return k + 8

        CLASSES["made"] = Made

        class Shape:
            size = 3

            def area(self):
                return self.size + 9

        self.shape = Shape()

        class Other:
            @functools.cached_property
            def area(self):
                return k + 10

        BUILT["other"] = Other()
        CHOSEN = lambda x: x + 11
        self.shapes = [type("Quick", (), {"area": lambda self: 12})()]
        plain.twice = functools.partial(lambda x: x + 13, 1)
        AT_IMPORT, plain

    @trace_agent_action
    def use(self, x):
        return self.price(x)


def build(spec):
    return Desk("a")


def untraced():
    return "before"


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    desk = Desk("a")
    desk.learn(2)
    print(desk.use(4), untraced())
"""

STORED = [
    ("x * k + 1\n", "shop.RULES"),
    ("x * k + 2)", "shop.HANDLERS['double']"),
    ("x * k + 3)", "shop.CURRENT"),
    ("x * k + 4)", "shop.Settings.hooks"),
    ("x * k + 5)", "shop.BUS.listeners"),
    ("x * k + 6", "shop.Base.rule"),
    ("self.size + 7", "shop.Base.area"),
    ("k + 8", "shop.CLASSES['made']"),
    ("self.size + 9", "class shop.Desk.learn.<locals>.Shape"),
    ("k + 10", "class shop.Desk.learn.<locals>.Other"),
    ("x + 11", "shop.CHOSEN"),
    ("lambda self: 12", "class shop.Quick"),
    ("x + 13", "shop.plain.twice"),
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    return directory


def record(place: Path, source: str = PROGRAM) -> None:
    (place / "shop.py").write_text(source)
    subprocess.run([sys.executable, "shop.py"], check=True, env=child_environment(), cwd=place)


def changed(place: Path, before: str, after: str, target: str | None = None, **options):
    assert PROGRAM.count(before) == 1, before
    (place / "shop.py").write_text(PROGRAM.replace(before, after))
    return replay_run("last", target, place / "trace", **options)


@pytest.mark.first_case
@pytest.mark.parametrize(("before", "where"), STORED, ids=[where for _, where in STORED])
def test_changed_code_that_an_action_stored_is_no_green_and_is_named(place, before, where):
    record(place)
    number = next(part for part in before.split() if part.strip(")").isdigit())
    after = before.replace(number, number.replace(number.strip(")"), "77"))
    report = changed(place, before, after, "shop:build", program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"code changed in {where}, and what it does there is not recorded" in str(report)


@pytest.mark.further
def test_changed_code_that_an_action_stored_is_named_by_runs_of_the_whole_program(place):
    record(place)
    for target in (None, "shop:build"):
        report = changed(place, "x * k + 1\n", "x * k + 77\n", target)
        assert report.verdict == "UNVERIFIED", str(report)
        assert "code changed in shop.RULES, and what it does there is not recorded" in str(report)
    report = changed(place, "x * k + 14)", "x * k + 77)")
    assert report.verdict == "DIVERGED", str(report)  # an action shows what that code does


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("        global CHOSEN\n", "        # more\n        global CHOSEN\n\n"),
        (
            "        first = lambda x: x * k + 1\n        RULES.append(first)",
            "        one = lambda x: x * k + 1\n        RULES.append(one)",
        ),
        ('return "before"', 'return "after"'),
        ("x + 100", "x + 101"),
        ("x + 200", "x + 201"),
        ("def plain", "HELPERS = {'new': lambda x: x}\n\n\ndef plain"),
        ("    def use(self, x):\n", "    def use(self, x):\n        len(BUILT)\n"),
    ],
)
def test_edits_of_other_code_leave_stored_code_as_it_was(place, before, after):
    record(place)
    for options in ({"program": False}, {}) if "before" in before else ({"program": False},):
        report = changed(place, before, after, "shop:build", **options)
        assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_function_that_an_action_chooses_is_compared_by_its_name(place):
    record(place)
    report = changed(place, "CHOSEN = lambda x: x + 11", "CHOSEN = plain", "shop:build", program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "shop.CHOSEN did not end as in the recording" in str(report)


def test_a_recording_without_stored_code_is_compared_as_before(place):
    record(place)
    (session,) = place.glob("trace/session_*")
    events = open_reader(session).events()
    (program,) = (event.extra["program"] for event in events if event.kind == "log.closed")
    assert program["code"].keys() == {"shop.Base.price", *(where for _, where in STORED)}
    old = LeftInProgram.of({"changed": {"a.F": "c1/3.11:1"}, "unchanged": []})
    new = LeftInProgram.of({"changed": {"a.F": "c1/3.11:1"}, "unchanged": [], "code": {"a.F": "c1/3.11:2"}})
    assert code_otherwise(old, [new]) == code_otherwise(new, [old]) == code_otherwise(None, [new]) == []


def test_code_is_compared_where_the_rest_is_equal_and_by_one_version_of_python():
    def left(digest: str, **code: str) -> LeftInProgram:
        return LeftInProgram({"F": digest}, frozenset(), code=code)

    one = left("c1/3.11:1", F="c1/3.11:2")
    assert code_otherwise(one, [one, left("c1/3.11:1", F="c1/3.11:3")]) == ["F"]
    assert code_otherwise(one, [left("c1/3.11:1")]) == ["F"]
    assert code_otherwise(one, [left("c1/3.11:4", F="c1/3.11:3")]) == []
    assert code_otherwise(one, [left("c1/3.11:1", F="c1/3.12:3")]) == []
    of_class = LeftInProgram({}, frozenset(), code={"class F": "c1/3.11:1"})
    assert code_otherwise(of_class, [of_class._replace(code={})]) == []
    assert code_otherwise(of_class, [of_class._replace(code={"class F": "c1/3.11:2"})]) == ["class F"]


OF_NO_AGENT = """
from Agent import setup_logging, trace_agent_action

class Desk:
    pool = []
    def __init__(self, agent_id):
        self.agent_id = agent_id
    @trace_agent_action()
    def put(self, k):
        self.pool.append(k)
        return k
    @classmethod
    @trace_agent_action()
    def drop(cls):
        cls.pool = cls.pool[-1:]

def build(spec):
    return Desk("a")

if __name__ == "__main__":
    setup_logging(trace_root="trace")
    desk = Desk("a")
    desk.put("x"); desk.put("y"); Desk.drop(); desk.put("z")
"""


@pytest.mark.further
def test_a_difference_after_an_action_of_no_agent_is_not_counted_if_no_code_changed(place):
    record(place, OF_NO_AGENT)
    report = replay_run("last", "shop:build", place / "trace", program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "actions of no agent ran before and were not replayed (drop)" in str(report)
    assert replay_run("last", "shop:build", place / "trace").verdict == "IDENTICAL"
