"""A replay calls the function that was recorded, with all of its arguments, whatever stands around it."""

import pytest

HEAD = """
import functools

from Agent import instrument


class Agent:
    def __init__(self):
        self.agent_id, self.sum, self.calls = "a", 0, 0


def build(spec):
    return Walker()


def counted(function):
    @functools.wraps(function)
    def counts(self, *args, **kwargs):
        self.calls += 1
        return function(self, *args, **kwargs)

    return counts


def twice(function):
    @functools.wraps(function)
    def calls_twice(self, *given):
        function(self, *given)
        return function(self, *[each + 1 for each in given])

    return calls_twice

"""

PROGRAMS = {
    "keyword_beside_positional": """
class Walker(Agent):
    @trace_agent_action
    def add(self, number, /, *rest, **more):
        self.sum += number * 10 + sum(rest) + more["number"]
        return sorted(more)

def main():
    walker = Walker()
    walker.add(1, number=2, size=3)
    walker.add(1, 5, number=[4][0])
""",
    "cache_below": """
class Walker(Agent):
    @trace_agent_action
    @functools.lru_cache
    def add(self, number):
        return number + self.calls

def main():
    walker = Walker()
    walker.add(1)
    walker.add(1)
    walker.calls = 5
    walker.add(1)
    walker.add(2)
""",
    "cache_above": """
class Walker(Agent):
    @functools.cache
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum

def main():
    walker = Walker()
    walker.add(1)
    walker.add(1)
    walker.add.cache_clear()
    walker.add(1)
""",
    "base_by_name": """
class Base(Agent):
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum

class Walker(Base):
    @trace_agent_action
    def add(self, number):
        self.calls += 1
        return super().add(number + 1)

    def quietly(self, number):
        return super().add(number)

def main():
    walker = Walker()
    walker.add(1)
    Base.add(walker, 10)
    walker.quietly(3)
""",
    "base_alone": """
class Base(Agent):
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum

class Walker(Base):
    @trace_agent_action
    def add(self, number):
        return super().add(number + 1)

def main():
    Base.add(Walker(), 10)
""",
    "decorators_above": """
class Walker(Agent):
    @counted
    @twice
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum

def main():
    walker = Walker()
    walker.add(1)
    walker.add(5)
""",
    "decorators_between": """
class Walker(Agent):
    @counted
    @trace_agent_action("outer")
    @twice
    @trace_agent_action("inner")
    def add(self, number):
        self.sum += number
        return self.sum

def main():
    Walker().add(1)
""",
    "decorator_of_a_class": """
class Twice:
    def __init__(self, function):
        functools.update_wrapper(self, function)

    def __get__(self, obj, cls=None):
        return functools.partial(self, obj)

    def __call__(self, obj, number):
        self.__wrapped__(obj, number)
        return self.__wrapped__(obj, number)

class Walker(Agent):
    @Twice
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum

def main():
    Walker().add(1)
""",
    "method_of_an_object": """
class Walker(Agent):
    @twice
    def add(self, number):
        self.sum += number
        return self.sum

def build(spec):
    walker = Walker()
    instrument(walker, methods=["add"])
    return walker

def main():
    build(None).add(1)
""",
    "property": """
class Walker(Agent):
    @property
    @counted
    @trace_agent_action("get")
    def add(self):
        self.sum += 1
        return self.sum

    @add.setter
    @counted
    @trace_agent_action("set")
    def add(self, number):
        self.sum = number

def main():
    walker = Walker()
    walker.add
    walker.add = 7
    walker.add
""",
    "decorator_without_wraps": """
def tripled(function):
    def inner(self, *given):
        return 3 * function(self, *given)

    return inner

class Walker(Agent):
    @trace_agent_action("add")
    @tripled
    def add(self, number):
        self.sum += number
        return self.sum

    @trace_agent_action("drop")
    @tripled
    def drop(self, number):
        self.sum -= number
        return self.sum

def main():
    walker = Walker()
    walker.add(5)
    walker.drop(2)
""",
}


@pytest.mark.first_case
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_unchanged_program_is_identical_one_by_one(toy, name):
    toy.record(HEAD + PROGRAMS[name])
    report = toy.replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("keyword_beside_positional", 'more["number"]', '2 * more["number"]'),
        ("cache_below", "return number + self.calls", "return number + self.calls + 1"),
        ("cache_above", "self.sum += number", "self.sum += 2 * number"),
        ("base_by_name", "self.sum += number", "self.sum += number + (number == 3)"),
        ("base_by_name", "add(number + 1)", "add(number + 2)"),
        ("decorators_above", "self.sum += number", "self.sum += number + (number == 6)"),
        ("decorators_between", "self.sum += number", "self.sum -= number"),
        ("property", "self.sum = number", "self.sum = number + 1"),
        ("decorator_without_wraps", "self.sum -= number", "self.sum -= 2 * number"),
    ],
)
def test_a_changed_method_has_diverged(toy, name, old, new):
    toy.record(HEAD + PROGRAMS[name])
    toy.change(old, new)
    report = toy.replay(program=False)
    assert report.verdict == "DIVERGED", str(report)


def test_which_of_two_functions_of_one_name_was_called_is_not_guessed(toy):
    body = PROGRAMS["decorator_without_wraps"]
    toy.record(HEAD + body.replace('("add")', "").replace('("drop")', ""))
    report = toy.replay(program=False)
    assert report.verdict == "UNVERIFIED"
    assert "has no method 'inner'" in report.reasons[0] and "functools.wraps" in report.reasons[0]


OVERRIDE = """
class Walker(Base):
    @trace_agent_action
    def add(self, number):
        return super().add(number + 1)
"""
BASE = """
class Base(Agent):
    @trace_agent_action
    def add(self, number):
        self.sum += number
        return self.sum
"""


def test_an_override_that_was_added_since_is_called(toy):
    toy.record(HEAD + BASE + "\nclass Walker(Base):\n    pass\n\ndef main():\n    Walker().add(1)\n")
    toy.change("\nclass Walker(Base):\n    pass\n", OVERRIDE)
    assert toy.replay(program=False).verdict == "DIVERGED"


def test_an_override_of_the_class_that_the_factory_returns_instead_is_called(toy):
    toy.record(
        HEAD + BASE + OVERRIDE + "\ndef base(spec):\n    return Base()\n\ndef main():\n    Base().add(1)\n"
    )
    assert toy.replay(factory="base", program=False).verdict == "IDENTICAL"
    assert toy.replay(program=False).verdict == "DIVERGED"


PEERS = """
from Agent import trace_agent_action

class Peer:
    agent_id = "peer"

    @trace_agent_action
    def note(self, name, /, *rest, **tags):
        return [name, *rest, tags["name"]]

class Asker:
    agent_id = "a"

    def __init__(self, peer):
        self.peer, self.notes = peer, []

    @trace_agent_action
    def ask(self, name):
        self.notes.append(self.peer.note(name, name="tag", size=1))
        self.notes.append(self.peer.note(name, 2, name="tag", size=1))

def build(spec):
    return Asker(spec.peer("peer"))

def main():
    Asker(Peer()).ask("red")
"""


def test_a_peer_answers_a_call_with_a_keyword_argument_beside_a_positional_one_of_the_same_name(toy):
    toy.record(PEERS)
    report = toy.replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)
    toy.change('self.peer.note(name, name="tag"', 'self.peer.note("blue", name="tag"')
    assert toy.replay(program=False).verdict == "DIVERGED"
