"""What callers see of the class of a value, and no value shows, is no IDENTICAL where it changed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.archive.sealed.reader import open_reader
from Agent.replay import replay_run
from Agent.replay.compare.program_state import bases_still_here, kinds_in, kinds_of, kinds_otherwise

pytestmark = pytest.mark.process

PROGRAM = """
from dataclasses import dataclass
from enum import Enum

from Agent import setup_logging, trace_agent_action


class Urgent:
    pass


class ToolError(Exception):
    pass


class Fatal(ToolError):
    pass


class Message:
    def __init__(self, text):
        self.text = text


class Alarm(Message, Urgent):
    pass


class Meta(type):
    pass


class Other(type):
    pass


class Made(metaclass=Meta):
    def __init__(self):
        self.made = 1


@dataclass
class Price:
    amount: int


class Colour(Enum):
    RED = 1
    BLUE = 2
    GREEN = 3
    NAVY = 2


class Unused(Message):
    pass


class Sender:
    def __init__(self):
        self.agent_id, self.last = "s", None

    @trace_agent_action
    def send(self, text):
        self.last = Alarm(text)
        return self.last

    @trace_agent_action
    def fail(self):
        raise Fatal("x")

    @trace_agent_action
    def all(self, values):
        return list(values)


def build(spec):
    return Sender()


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    sender = Sender()
    message, rest = sender.send("fire"), sender.all([Made(), Price(1), Colour.RED])
    try:
        sender.fail()
    except (ToolError, ValueError):
        pass
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    directory = tmp_path / "post"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    return directory


def record(place: Path, source: str = PROGRAM, root: str = "trace") -> None:
    (place / "post.py").write_text(source.replace('trace_root="trace"', f'trace_root="{root}"'))
    subprocess.run([sys.executable, "post.py"], check=True, env=child_environment(), cwd=place)


def kinds(place: Path, root: str):
    (session,) = (place / root).glob("session_*")
    return kinds_of(open_reader(session).events())


DIVERGED = [
    ("class Fatal(ToolError)", "class Fatal(ToolError, ValueError)", "bases of post.Fatal"),
    ("class Alarm(Message, Urgent)", "class Alarm(Message)", "bases of post.Alarm"),
]


@pytest.mark.parametrize(("before", "after", "what"), DIVERGED)
@pytest.mark.further
def test_other_bases_of_a_class_of_values_are_diverged_where_unchanged_code_can_tell(
    place, before, after, what
):
    record(place)
    (place / "post.py").write_text((place / "post.py").read_text().replace(before, after))
    report = replay_run("last", root="trace")
    assert (report.verdict, report.exit_code) == ("DIVERGED", 1), str(report)
    assert report.divergence.where.startswith(what), str(report)


@pytest.mark.further
def test_without_the_program_other_bases_are_unverified_and_named(place):
    record(place)
    before, after, what = DIVERGED[0]
    (place / "post.py").write_text((place / "post.py").read_text().replace(before, after))
    report = replay_run("last", target="post:build", root="trace", program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"{what}, of which values are instances: recorded post.ToolError, Exception" in str(report)


@pytest.mark.further
def test_a_class_with_a_new_base_in_front_of_the_others_is_unverified(place):
    record(place)
    source = (place / "post.py").read_text()
    source = source.replace("class Message:", "class Text:\n    pass\n\n\nclass Message(Text):")
    (place / "post.py").write_text(source)
    report = replay_run("last", root="trace")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "recorded post.Message, post.Urgent, now post.Message, post.Text, post.Urgent" in str(report)


@pytest.mark.further
def test_bases_of_a_class_of_which_no_value_occurs_make_no_difference(place):
    record(place)
    source = (place / "post.py").read_text().replace("class Unused(Message)", "class Unused(Message, Urgent)")
    (place / "post.py").write_text(source)
    report = replay_run("last", root="trace")
    assert report.verdict == "IDENTICAL", str(report)


further = partial(pytest.param, marks=pytest.mark.further)
OTHERWISE = [
    ("metaclass=Meta", "metaclass=Other", ["metaclass of post.Made"]),
    ("@dataclass\n", "@dataclass(order=True)\n", ["flags of the dataclass post.Price"]),
    further("@dataclass\n", "@dataclass(frozen=True)\n", ["flags of the dataclass post.Price"]),
    ("@dataclass\n", "@dataclass(repr=False)\n", []),
    ("    BLUE = 2\n    GREEN = 3\n", "    GREEN = 3\n    BLUE = 2\n", ["members of post.Colour"]),
    further("    NAVY = 2\n", "    NAVY = 3\n", ["members of post.Colour"]),
    ("    NAVY = 2\n", "    NAVY = 2\n    GREY = 5\n", []),
    ("class Alarm(Message, Urgent)", "class Alarm(Urgent, Message)", ["bases of post.Alarm"]),
    ("class Message:", "from typing import Generic, TypeVar\nclass Message(Generic[TypeVar('T')]):", []),
    further(
        "class Colour(Enum)", "from enum import IntEnum\nclass Colour(IntEnum)", ["bases of post.Colour"]
    ),
]


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """What is recorded of the classes as they are."""
    directory = tmp_path_factory.mktemp("unchanged")
    record(directory)
    return kinds(directory, "trace")


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(("before", "after", "what"), OTHERWISE)
def test_what_callers_see_of_a_class_is_compared(place, unchanged, before, after, what):
    record(place, PROGRAM.replace(before, after, 1), "other")
    found = kinds_otherwise(unchanged, kinds(place, "other"), ["post.Message", "post.Urgent"])
    assert [each.what for each in found] == what


def test_a_base_that_moved_to_another_module_is_the_same_one():
    recorded = {"a.Alarm": {"bases": ["a.Message"]}}
    moved = {"a.Alarm": {"bases": ["texts.Message"]}}
    assert kinds_otherwise(recorded, moved, []) == []
    (still_there,) = kinds_otherwise(recorded, moved, ["a.Message"])
    assert still_there.is_sure


def test_classes_that_processes_tell_otherwise_and_damaged_ones_are_not_compared():
    told = [{"classes": {"a.X": {"bases": ["a.Y"]}, "a.Z": {}, "a.D": 3}}, {"classes": {"a.X": {}}}, None, 4]
    assert kinds_in(told) == {"a.Z": {}}


def test_a_base_is_found_under_its_name_only():
    assert bases_still_here(["builtins.ValueError", "json.ValueError", "gone.Base"]) == [
        "builtins.ValueError"
    ]


def test_a_recording_without_values_of_own_classes_tells_nothing_of_them(place):
    record(place, PROGRAM[: PROGRAM.index("    message, rest")] + "    pass\n")
    assert kinds(place, "trace") == {}
