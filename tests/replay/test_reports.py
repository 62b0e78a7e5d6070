"""What a report says: places and values as Python writes them, and what a person can do about it."""

import pytest

from Agent.replay.compare.outcome import ReplayOutcome, SourceRead, judge
from Agent.replay.compare.python_text import differing_pieces, differing_texts, python_path, python_text

SHOP = """
from dataclasses import dataclass

RATE = 2

@dataclass
class Order:
    price: int
    tags: list

class Shop:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "shop"
        self.orders = {}
        self.grid = [[0, 0], [0, 0]]
        self.seen = {}

    @trace_agent_action
    def sell(self, name, price):
        self.orders[name] = Order(price * RATE, [name])
        self.grid[1][0] += price
        self.seen[(name, 1)] = price
        return self.answer(price)

    def answer(self, price):
        return {"orders": [Order(price, [])], "long": "x" * 900 + str(price) + "y" * 900, "pair": (price, 1)}

def build(spec):
    return Shop()

def main():
    from Agent import tick
    shop = Shop()
    for number, name in enumerate(("a", "b", "c"), 7):
        with tick(number):
            shop.sell(name, number)
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "where", "recorded", "replayed"),
    [
        ("Order(price, [])", "Order(price + (price > 7), [])", "result['orders'][0].price", "8", "9"),
        ("Order(price, [])", "Order(price, [3])", "result['orders'][0].tags[0]", "no value", "3"),
        ('"pair": (price, 1)', '"pair": [price, 1]', "result['pair']", "(7, 1)", "[7, 1]"),
        ("price * RATE", "price * 3", "field orders['a'].price", "14", "21"),
        ("self.grid[1][0] += price", "self.grid[1][1] += price", "field grid[1][0]", "7", "0"),
        ("self.seen[(name, 1)] = price", "self.seen[(name, 1)] = 5", "field seen[('a', 1)]", "7", "5"),
        ("[name])", "(name,))", "field orders['a'].tags", "['a']", "('a',)"),
    ],
)
def test_a_difference_is_named_as_python_reaches_it(toy, old, new, where, recorded, replayed):
    report = toy.record(SHOP).change(old, new).replay()
    assert report.verdict == "DIVERGED", report
    found = report.divergence
    assert (found.where, found.texts) == (where, (recorded, replayed))
    lines = str(report).splitlines()
    tick = 6 + found.step
    assert f"step {found.step} (tick {tick}), sell of a" in lines[1]
    assert [line.strip() for line in lines[2:5]] == [where, f"recorded: {recorded}", f"replayed: {replayed}"]
    assert report.to_dict()["divergence"]["where"] == where


def test_of_long_texts_the_differing_piece_is_shown(toy):
    report = toy.record(SHOP).change("str(price)", "str(price + (price > 8))").replay()
    assert report.divergence.where == "result['long']"
    for text, digit in zip(report.divergence.texts, "90", strict=True):
        assert len(text) < 200
        assert f"x{digit}" in text or "x10y" in text
        assert (text.strip("'")[0], text.strip("'")[-1]) == ("…", "…")


def test_a_difference_without_changed_code_says_where_to_look(toy):
    report = toy.record(SHOP).change("RATE = 2", "RATE = 3").replay()
    assert report.is_same_code
    assert "no compared code changed" not in str(report)
    assert "changed since the recording, but in no replayed method: toy_module" in str(report).splitlines()[5]
    report = toy.change("price * RATE", "price * RATE * 1").replay()
    assert not report.is_same_code
    assert "no compared code changed" not in str(report)
    assert "changed since the recording: a.sell" in str(report)
    assert 'state="strict"' not in str(report)


def test_lines_of_a_report_fit_a_terminal(toy):
    from Agent.cli.render import wrapped

    report = toy.record(SHOP).change("RATE = 2", "RATE = 3").replay()
    assert all(len(part) <= 80 for line in str(report).splitlines()[:6] for part in wrapped(line, 80))


def test_values_are_written_as_python_writes_them():
    for value, text in [
        ({"tag": "set", "value": []}, "set()"),
        ({"tag": "frozenset", "value": [1]}, "frozenset({1})"),
        ({"tag": "bytes", "value": "YWI="}, "b'ab'"),
        ({"tag": "dataclass:shop.Order", "value": {"price": 3}}, "Order(price=3)"),
        ({"tag": "deque:9", "value": [1]}, "deque([1], maxlen=9)"),
        ({"tag": "enum:shop.Colour", "value": "red"}, "Colour('red')"),
        ({"tag": "map", "value": [[1, "a"], [2, None]]}, "{1: 'a', 2: None}"),
        ({"tag": "numpy.float64", "value": 1.5}, "numpy.float64(1.5)"),
        ({"tag": "float", "value": "NaN"}, "nan"),
        ({"tag": "agent", "value": "buyer_1"}, "agent buyer_1"),
        ({"order of keys": ["b", "a"]}, "keys in the order 'b', 'a'"),
        ({"a": [True, None, 1.0]}, "{'a': [True, None, 1.0]}"),
        ("<absent>", "no value"),
        ("text", "'text'"),
    ]:
        assert python_text(value) == text


def test_values_of_classes_with_one_name_are_told_apart():
    order, moved = ({"tag": f"dataclass:{module}.Order", "value": {"n": 0}} for module in ("shop", "menu"))
    assert differing_texts(order, moved) == (
        "Order(n=0) of class shop.Order",
        "Order(n=0) of class menu.Order",
    )
    assert differing_texts({"a": 1}, {"a": 2}) == ("{'a': 1}", "{'a': 2}")


def test_the_piece_around_the_first_difference_holds_it():
    for length in (10, 500, 5_000):
        for at in (0, length // 2, length - 1):
            one = "x" * length
            other = one[:at] + "y" + one[at + 1 :]
            left, right = differing_pieces(one, other, 80)
            assert left != right
            assert max(len(left), len(right)) <= 82
    assert differing_texts("same" * 100, "same" * 101)[0] != differing_texts("same" * 100, "same" * 101)[1]


def test_keys_of_every_type_stand_in_a_path():
    pairs, types = [[1, 2], [["a", 1], {"k": 0}]], {"/r": "map", "/r/1/0": "tuple"}
    for pointer, path in [("/1", "m[1]"), ('/["a",1]/k', "m[('a', 1)]['k']"), ("/7", "m[7]"), ("", "m")]:
        assert python_path(pointer, pairs, types, "/r", "m") == path
    assert python_path("/a~1b/0", {"a/b": [1]}, start="d") == "d['a/b'][0]"


def test_further_differences_are_listed_behind_the_first(toy):
    toy.record(SHOP).change('"pair": (price, 1)', '"pair": (price, 1 + (price > 7))')
    assert toy.replay().outcome.further == []
    report = toy.replay(keep_going=5)
    assert [each.step for each in (report.divergence, *report.outcome.further)] == [2, 3]
    lines = [line.strip() for line in str(report).splitlines()]
    assert lines[1].startswith("first difference: step 2 (tick 8)")
    (second,) = [
        number for number, line in enumerate(lines) if line.startswith("difference 2: step 3 (tick 9)")
    ]
    assert lines[second + 1 : second + 4] == ["result['pair'][1]", "recorded: 1", "replayed: 2"]
    assert report.to_dict()["further"][0]["where"] == "result['pair'][1]"


ASKED = """
from Agent.flight import record_tool

@record_tool
def look(number, seen):
    return number

class Scout:
    def __init__(self):
        self.agent_id = "a"

    @trace_agent_action
    def go(self, number, seen):
        return look(number, seen)

def build(spec):
    return Scout()

def main():
    scout = Scout()
    for number, seen in enumerate((1, 0.0, {1: 0}, (1,), [2, 1])):
        scout.go(number, seen)
    scout.go(5, {"api_key": "sk-live-1f9a0c37d2b84e65"})
"""


@pytest.mark.parametrize(
    ("step", "other", "recorded", "replayed"),
    [
        (1, "True", "1", "True"),
        (2, "-seen", "0.0", "-0.0"),
        (3, "{True: 0}", "{1: 0}", "{True: 0}"),
        (4, "list(seen)", "(1,)", "[1]"),
        (5, "tuple(seen)", "[2, 1]", "(2, 1)"),
    ],
)
def test_the_values_of_an_argument_that_differ_are_shown_apart(toy, step, other, recorded, replayed):
    changed = f"look(number, {other} if number == {step - 1} else seen)"
    report = toy.record(ASKED).change("look(number, seen)\n\ndef", f"{changed}\n\ndef").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", step), str(report)
    assert report.divergence.texts == (recorded, replayed)


def test_what_comes_up_after_the_first_difference_does_not_make_it_doubtful(toy):
    toy.record(ASKED).change("look(number, seen)\n\ndef", "look(number, seen) + 1\n\ndef")
    alone, with_others = toy.replay(program=False), toy.replay(program=False, keep_going=9)
    assert (alone.verdict, with_others.verdict) == ("DIVERGED", "DIVERGED"), str(with_others)
    assert [each.step for each in with_others.outcome.further] == [2, 3, 4, 5, 6]


WORLD = """
from dataclasses import dataclass
from Agent import instrument, tick

@dataclass
class Order:
    price: int

class Walker:
    def __init__(self, name):
        self.agent_id, self.orders = name, []

    def step(self, number):
        self.orders.append(Order(number))
        return {"order": self.orders[-1]}

class Model:
    def __init__(self):
        self.agent_id, self.number, self.walkers = "model", 0, [Walker("w0"), Walker("w1")]

    def step(self):
        self.number += 1
        for each in self.walkers:
            each.step(self.number)

instrument(Model, methods=["step"], agent_id="agent_id")
instrument(Walker, methods=["step"], agent_id="agent_id")

def build(spec):
    return {"model": Model(), **spec.nested}

def main():
    model = Model()
    for number in range(4):
        with tick(number):
            model.step()
"""


def test_a_difference_of_an_agent_inside_others_is_named_as_its_own(toy):
    report = toy.record(WORLD).change("Order(number)", "Order(number + (number == 3))").replay("last")
    found = report.divergence
    assert (found.step, found.tick, found.inner_agent_id) == (3, 2, "w0")
    assert found.where.startswith("result['order'].price of w0, in effect 1")
    assert found.texts == ("3", "4")


INSIDE = """
class Inner:
    agent_id = "inner"

    @trace_agent_action
    def ask(self, number):
        return number * 2

class Outer:
    agent_id = "outer"

    def __init__(self, inner):
        self.inner = inner

    @trace_agent_action
    def run(self, number):
        return self.inner.ask(number) + 1

def make():
    inner = Inner()
    return {"outer": Outer(inner), "inner": inner}

def build(spec):
    return make()

def main():
    agents = make()
    for number in range(3):
        agents["outer"].run(number)
"""


def test_changed_code_of_an_agent_that_acts_inside_another_is_named(toy):
    report = toy.record(INSIDE).change("number * 2", "number * 2 + (number > 1)").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)
    assert report.changed_code == ("inner.ask",)
    assert "no compared code changed" not in str(report)


def test_a_difference_of_what_the_factory_reads_says_where_to_look(toy, tmp_path):
    path = tmp_path / "rate.txt"
    path.write_text("2")
    source = SHOP.replace(
        "RATE = 2", f"from pathlib import Path\nRATE = int(Path({str(path)!r}).read_text())"
    )
    toy.record(source)
    path.write_text("3")
    told = str(toy.replay()).splitlines()
    assert "no compared code changed" in told[5] and 'state="strict"' in told[5]
    assert "and no module of the program" in told[5]


def test_reads_of_the_program_come_before_those_of_libraries_which_are_counted():
    own = SourceRead("time.time", "f", "own.py", 1, 1)
    libraries = [SourceRead("time.time", "g", "lib.py", line, 1, is_of_library=True) for line in range(4)]
    outcome = ReplayOutcome(sources=[*libraries, own])
    outcome.counts.driven = 1
    assert judge(outcome)[1] == [
        "time.time read by f (own.py:1) in step 1",
        "time.time read by g (lib.py:0) in step 1",
        "time.time read by g (lib.py:1) in step 1, and 2 more reads by installed libraries",
    ]
    outcome.sources = [*libraries[:3], own]
    assert judge(outcome)[1][-1].endswith("and 1 more read by installed libraries")
