"""A generator suspended in code that changed cannot be compared; the same code is compared as data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.event.values.content_digest import content_of
from Agent.replay import replay_run

pytestmark = pytest.mark.process

PROGRAM = """
from Agent import setup_logging, trace_agent_action

STEP = 1


def evens():
    n = 0
    while True:
        if n % 2 == 0:
            yield n
        n += STEP


class Feeder:
    def __init__(self):
        self.agent_id = "f"
        self.evens, self.count = evens(), [0, evens()]

    @trace_agent_action
    def take(self):
        self.count[0] += 1
        return next(self.evens)


def build(spec):
    return Feeder()


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    feeder = Feeder()
    print(feeder.take(), feeder.take(), feeder.take())
"""
LOCAL = "        if n % 2 == 0:", "        even = n % 2 == 0\n        if even:"


@pytest.fixture
def place(tmp_path, monkeypatch):
    directory = tmp_path / "feed"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    (directory / "feed.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "feed.py"], check=True, env=child_environment(), cwd=directory)
    return directory


def change(place: Path, before: str, after: str) -> None:
    assert before in PROGRAM
    (place / "feed.py").write_text((place / "feed.py").read_text().replace(before, after))


@pytest.mark.parametrize("target", [None, "feed:build"])
def test_a_refactored_generator_is_unverified_and_named(place, target):
    change(place, *LOCAL)
    report = replay_run("last", target=target, root="trace", program=target is None)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the generator feed.evens" in str(report)


@pytest.mark.further
def test_what_a_changed_generator_yields_is_compared(place):
    change(place, "            yield n\n", "            yield n + 1\n")
    report = replay_run("last", root="trace")
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == "result"


def test_what_stands_beside_a_changed_generator_is_compared(place):
    change(place, *LOCAL)
    change(place, "self.count[0] += 1", "self.count[0] += 2")
    report = replay_run("last", root="trace")
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
def test_a_generator_of_the_same_code_that_stands_elsewhere_is_diverged(place):
    change(
        place,
        "        return next(self.evens)",
        "        found = next(self.evens)\n        next(self.count[1])\n        return found",
    )
    report = replay_run("last", root="trace")
    assert report.verdict == "DIVERGED", str(report)


def numbers(n):
    while True:
        yield n


def test_a_digest_tells_the_code_of_suspended_generators_apart_from_their_frames():
    one, other = numbers(1), numbers(2)
    next(one), next(other)
    contents = content_of(one), content_of(other)
    assert contents[0].text != contents[1].text
    assert contents[0].generators == contents[1].generators
    assert [name.rpartition(".")[2] for name, _ in contents[0].generators] == ["numbers"]
    lists = content_of([one, 5]), content_of([other, 5]), content_of([one, 6])
    assert lists[0].without_frames == lists[1].without_frames != lists[2].without_frames
    assert content_of([1]).generators == () and content_of([lambda: 1]).generators == ()
