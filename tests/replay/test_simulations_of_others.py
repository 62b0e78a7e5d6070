"""Simulations as strangers write them: scripts, shared lists, constructors that draw, agents inside agents."""

import os
import subprocess
import sys
import textwrap

import pytest

from Agent.replay import replay_run, resume_from_checkpoint

SCRIPT = """
from dataclasses import dataclass
from Agent import instrument, setup_logging, shutdown_logging, tick

@dataclass
class Message:
    sender: str
    text: str

class Person:
    def __init__(self, name):
        self.name, self.inbox = name, []

    def hear(self, message):
        self.inbox.append(message)
        return len(self.inbox)

instrument(Person, methods=["hear"], agent_id="name", agent_role="person")

def build(spec):
    return Person("ann")

if __name__ == "__main__":
    setup_logging()
    ann = Person("ann")
    for number in range(70):
        with tick(number):
            ann.hear(Message("bob", f"hello {number}"))
    shutdown_logging()
"""


@pytest.fixture
def script(toy):
    """The script above, recorded as people run it; what gives its module's name."""
    path = toy.directory / "s.py"
    path.write_text(textwrap.dedent(SCRIPT))
    environment = os.environ | {"AGENT_TRACE_ROOT": str(toy.root)}
    subprocess.run([sys.executable, str(path)], cwd=toy.directory, env=environment, check=True)
    return "s:build"


@pytest.mark.further
@pytest.mark.process
def test_a_field_that_grows_large_does_so_at_the_same_step_under_whatever_name_its_script_is_imported(
    toy, script
):
    report = replay_run("last/ann", target=script, root=toy.root)
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.fields > 20, "the field was looked at while it was small"


@pytest.mark.further
@pytest.mark.process
def test_what_goes_on_from_a_script_is_alike_although_its_classes_are_no_longer_those_of_main(toy, script):
    result = resume_from_checkpoint("last/ann", "tick:5", target=script, root=toy.root)
    assert not result.comparison, str(result)


BOARD = """
class Writer:
    def __init__(self, name, board):
        self.agent_id, self.agent_role = name, "writer"
        self.board, self.pages = board, {"all": board, "own": []}

    @trace_agent_action
    def write(self, text):
        self.board.append(text)
        self.pages["own"].append(len(self.board))
        return list(self.board)

def make():
    board = []
    return [Writer(name, board) for name in "ab"]

def build(spec):
    return {writer.agent_id: writer for writer in make()}

def main():
    writers = make()
    for number in range(6):
        for writer in writers[: 1 if number < 2 else 2]:
            writer.write(number)
"""


def test_a_list_that_two_fields_and_two_agents_hold_stays_one_list_when_states_are_put_back(toy):
    report = toy.record(BOARD).replay("last")
    assert report.verdict == "IDENTICAL", str(report)


def test_a_list_that_two_agents_hold_stays_one_where_the_run_is_resumed(toy):
    toy.record(BOARD)
    result = resume_from_checkpoint("last", "step_5", target=f"{toy.name}:build", root=toy.root)
    assert not result.comparison, str(result)


TOWN = """
import random
from Agent import instrument

class House:
    def __init__(self, number):
        self.number, self.sick = number, random.random() < 0.5

    def visit(self, others):
        self.sick = self.sick or any(other.sick for other in others)

    def rest(self, sick):
        return sick

class Town:
    def __init__(self, size, clock=None):
        self.houses = [House(number) for number in range(size)]
        self.clock, self.days = clock or iter(range(1000)), 0

    def step(self):
        self.days = next(self.clock) + 1
        for house in self.houses:
            house.visit(self.houses)
            # here
        return sum(house.sick for house in self.houses)

instrument(House, methods=["visit", "rest"], agent_id=lambda house: f"house_{house.number}")
instrument(Town, methods=["step"], agent_id=lambda town: "town")

def build(spec):
    return {"town": Town(*spec.init.args, **spec.init.kwargs), **spec.nested}

def seeded(spec):
    random.seed(4)
    return build(spec)

def wrong(spec):
    raise KeyError("no such town")

def main():
    random.seed(4)
    town = Town(24, clock=iter(range(1000)))
    for number in range(4):
        town.step()
"""


@pytest.mark.integration
def test_a_factory_that_draws_chance_proves_nothing_by_a_difference_and_is_told_where(toy):
    report = toy.record(TOWN).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert report.divergence is not None
    assert "random by House.__init__ (toy_module_" in str(report)
    report = toy.replay("last", "seeded")
    assert report.verdict == "IDENTICAL", str(report)


def test_what_cannot_be_restored_of_a_constructors_arguments_takes_nothing_else_with_it(toy):
    report = (
        toy.record(TOWN).change("*spec.init.args, **spec.init.kwargs", "**spec.init.kwargs").replay("last")
    )
    assert report.verdict == "UNVERIFIED"
    assert f"({toy.path.name}:" in report.reasons[0], "the line of the factory is named"
    assert "spec.init of town lacks" in report.reasons[0]
    assert report.reasons[0].endswith("clock")


def test_a_factory_that_fails_is_told_by_its_line(toy):
    report = toy.record(TOWN).replay("last", "wrong")
    line = toy.source.splitlines().index('    raise KeyError("no such town")') + 1
    assert f"raised KeyError: 'no such town' ({toy.path.name}:{line})" in report.reasons[0]


@pytest.mark.further
def test_the_first_difference_is_what_an_agent_inside_did_not_what_the_outer_one_made_of_it(toy):
    toy.record(TOWN.replace("# here", "house.rest(0)"))
    toy.change("house.rest(0)", "house.sick ^= (self.days, house.number) == (3, 7); house.rest(0)")
    report = toy.replay("last", "seeded")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)
    assert (report.divergence.inner_agent_id, report.divergence.inner_field) == ("house_7", "state.sick")
    assert (report.divergence.recorded, report.divergence.replayed) == ("<unchanged>", False)


def test_a_call_with_other_arguments_is_not_the_first_difference_where_an_action_before_it_differs(toy):
    toy.record(TOWN.replace("# here", "house.rest(house.sick)"))
    report = toy.change("or any(", "or not any(").replay("last", "seeded")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert report.divergence.inner_field == "state.sick"
    assert "agent_action visit of house_" in report.divergence.place


MODEL = """
import random
from pydantic import BaseModel, PrivateAttr

class Buyer(BaseModel):
    agent_id: str
    budget: float = 100.0
    _rng: random.Random = PrivateAttr(default_factory=lambda: random.Random(3))
    _bought: int = PrivateAttr(default=0)

    @trace_agent_action
    def buy(self, price):
        if self._rng.random() < 0.7:
            self.budget -= price
            self._bought += 1

def build(spec):
    return Buyer(agent_id="a")

def main():
    buyer = Buyer(agent_id="a")
    buyer._bought = 5
    for price in range(12):
        buyer.buy(price)
"""


@pytest.mark.further
def test_private_attributes_of_a_pydantic_model_are_its_state_too(toy):
    report = toy.record(MODEL).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("_bought += 1", "_bought += 1 + (self._bought == 7)").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state._bought"), str(report)


TANKS = """
class Tank:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "tank"
        self.name, self.level, self.below = name, 0, None

    @trace_agent_action
    def fill(self, amount):
        self.level += amount
        return self.name

    @trace_agent_action
    def take(self, amount):
        self.level += amount # take
        return [self.below.name, self.below.level > 5]

    @trace_agent_action
    def name_below(self):
        return self.below.name

def build(spec):
    upper, lower = Tank("upper"), Tank("lower")
    upper.below = lower
    return {"upper": upper, "lower": lower}[spec.agent_id]

def main():
    upper, lower = Tank("upper"), Tank("lower")
    upper.below = lower
    for number in range(6):
        upper.name_below()
        lower.fill(2)
        upper.take(1)
"""


def test_a_field_that_one_agent_reads_of_another_which_is_not_driven_makes_a_difference_prove_nothing(toy):
    report = toy.record(TANKS).replay("last/upper")
    assert report.verdict == "UNVERIFIED", str(report)
    line = toy.source.splitlines().index("        return [self.below.name, self.below.level > 5]") + 1
    assert f"level of lower by Tank.take ({toy.path.name}:{line})" in report.reasons[0]


@pytest.mark.further
def test_fields_of_others_that_never_change_leave_a_difference_what_it_is(toy):
    toy.record(TANKS.replace(", self.below.level > 5", ""))
    report = toy.change("amount # take", "amount + (self.level == 3)").replay("last/upper")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.level"), str(report)


SHOP = """
from pydantic import BaseModel

class Order(BaseModel):
    item: str
    count: int = 1

class Shop:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "shop"
        self.last = None
        self.orders = []

    @trace_agent_action
    def take(self, order):
        self.last = order
        self.orders.append(order)
        return Order(item=order.item, count=order.count + 1)

def build(spec):
    return Shop()

def main():
    shop = Shop()
    for count in range(4):
        shop.take(Order(item="tea", count=count))
"""


@pytest.mark.further
def test_pydantic_models_are_values_like_any_other(toy):
    report = toy.record(SHOP).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "all fields seen" in str(report)
    report = toy.change("order.count + 1)", "order.count + 1 + (order.count > 2))").replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 4, "result")


@pytest.mark.further
def test_chance_that_an_installed_library_draws_at_its_import_is_none_of_the_factorys(toy, tmp_path):
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "drawing_library.py").write_text("import os\nKEY = os.urandom(8)\n")
    toy.record(TOWN.replace("def build(spec):\n", "def build(spec):\n    import drawing_library\n"))
    sys.path.insert(0, str(place))
    try:
        report = toy.replay("last", "seeded")
        assert report.verdict == "IDENTICAL", str(report)
        toy.change("            # here\n", "            house.sick = not house.sick\n")
        report = toy.replay("last", "seeded")
        assert report.verdict == "DIVERGED", str(report)
    finally:
        sys.path.remove(str(place))
