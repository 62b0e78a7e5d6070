"""An action tells where it left the generators in its agent's fields, so that each draw counts where it is made."""

from __future__ import annotations

import json
import random
import re

import numpy
import pytest
from support.session_files import remove_digests

from Agent.record.state import generators
from Agent.replay import compare_runs
from Agent.tree.layout import list_sessions

GENERATORS = [
    "numpy.random.default_rng(7)",
    "numpy.random.Generator(numpy.random.MT19937(7))",
    "numpy.random.Generator(numpy.random.Philox(7))",
    "numpy.random.RandomState(7)",
    "random.Random(7)",
]
BIRD = """
import random

import numpy

class Bird:
    def __init__(self, agent_id="a", rng=None):
        self.agent_id, self.seen = agent_id, 0
        self.rng = MADE if rng is None else rng

    @trace_agent_action
    def look(self, number):
        self.seen += 1
        if number == 3:
            self.rng.random()
        return self.seen

    @trace_agent_action
    def wait(self):
        return self.seen

def build(spec):
    return Bird()

def main():
    bird = Bird()
    for number in range(6):
        bird.look(number)
"""


def lines_of(toy):
    (log,) = toy.root.glob("session_*/agents/a.log")
    return log, [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.further
@pytest.mark.parametrize("made", GENERATORS)
def test_one_draw_more_or_fewer_is_a_difference_at_its_action_even_if_nothing_uses_it(toy, made):
    toy.record(BIRD.replace("MADE", made))
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    source = toy.source
    for before, after, step in (
        ("            self.rng.random()\n", "            pass\n", 4),
        ("if number == 3:", "if number in (2, 3):", 3),
        ("            self.rng.random()\n", "            self.rng.random(), self.rng.random()\n", 4),
    ):
        toy._save(source)
        report = toy.change(before, after).replay(program=False)
        found = report.divergence
        assert (report.verdict, found.step, found.field) == ("DIVERGED", step, "state.rng"), str(report)


def test_a_draw_at_another_place_of_the_same_action_is_the_same(toy):
    toy.record(BIRD.replace("MADE", GENERATORS[0]))
    old = "        self.seen += 1\n        if number == 3:\n            self.rng.random()\n"
    new = "        if number == 3:\n            self.rng.random()\n        self.seen += 1\n"
    report = toy.change(old, new).replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize("made", [GENERATORS[0], GENERATORS[3], GENERATORS[4]])
def test_draws_of_code_between_the_actions_are_no_difference(toy, made):
    source = BIRD.replace("MADE", made).replace(
        "        bird.look(number)", "        bird.look(number)\n        number == 5 or bird.rng.random()"
    )
    report = toy.record(source).replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize("made", [GENERATORS[0], GENERATORS[4]])
def test_a_generator_that_others_draw_from_as_well_proves_nothing_of_one_agent_alone(toy, made):
    source = BIRD.replace("MADE", made).replace(
        "    bird = Bird()", "    bird = Bird()\n    other = Bird('b', bird.rng)"
    )
    source = source.replace(
        "        bird.look(number)", "        other.look(number)\n        bird.look(number)"
    )
    report = toy.record(source).replay(program=False)
    assert report.verdict != "DIVERGED", str(report)


def test_a_field_without_draws_that_are_told_is_not_compared_in_older_recordings(toy):
    toy.record(BIRD.replace("MADE", GENERATORS[0]))
    log, _ = lines_of(toy)
    text = re.sub(r',"drew":\{[^}]*\}', "", log.read_text())
    text = re.sub(r'"streams":\[[^\]]*\],?', "", text)
    assert text != log.read_text()
    log.write_text(text)
    remove_digests(log.parents[1])
    report = toy.replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


def test_recordings_of_agents_without_a_generator_tell_nothing_of_it(toy):
    toy.record(BIRD.replace("MADE", "[1]").replace("self.rng.random()", "self.rng.append(1)"))
    _, events = lines_of(toy)
    assert all("drew" not in event.get("state", {}) for event in events)
    assert all("streams" not in event["extra"] for event in events)


@pytest.mark.parametrize("made", GENERATORS)
def test_only_actions_that_drew_tell_where_they_left_the_generator(toy, made):
    toy.record(BIRD.replace("MADE", made))
    _, events = lines_of(toy)
    actions = [event for event in events if event["extra"].get("action_type") == "look"]
    assert ["drew" in event["state"] for event in actions] == [number == 3 for number in range(6)]
    assert {*actions[3]["state"]["drew"]} == {"rng"}


def test_an_ignored_generator_is_not_compared(toy):
    toy.record(BIRD.replace("MADE", GENERATORS[0]))
    report = toy.change("if number == 3:", "if number == 2:").replay(ignore=["rng"], program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.parametrize("made", [*GENERATORS, "numpy.random.RandomState(numpy.random.Philox(7))"])
def test_a_generator_stands_at_the_same_place_with_and_without_the_c_part(made, monkeypatch):
    generator = eval(made, {"numpy": numpy, "random": random})
    for draws in (0, 1, 3, 700):
        for _ in range(draws):
            generator.random()
        found = generators.stream_position(generator)
        with monkeypatch.context() as without:
            without.setattr(generators, "native", None)
            assert generators.stream_position(generator) == found


@pytest.mark.first_case
@pytest.mark.parametrize("made", GENERATORS)
def test_diff_names_the_action_that_draws_once_more_even_if_nothing_uses_it(toy, made):
    toy.record(BIRD.replace("MADE", made))
    toy.record(BIRD.replace("MADE", made))
    toy.record(BIRD.replace("MADE", made).replace("if number == 3:", "if number in (2, 3):"))
    one, same, other = (each.session_id for each in list_sessions(toy.root))
    assert not compare_runs(one, same, root=toy.root)
    found = compare_runs(one, other, root=toy.root, exhaustive=True).divergence
    assert (found.action, found.field, found.a) == ("agent_action look", "state.rng", "<not drawn from>")
    assert compare_runs(one, other, root=toy.root)
