"""Agents and what they hold that reads chance: functions of modules, numpy loaded late, generators without a seed."""

from __future__ import annotations

import importlib
import sys

import pytest

from Agent.record.sources import adopted

HOLDER = """
import random, time
from datetime import datetime
from functools import partial
from Agent.flight import recorded_sources
from Agent.utils import trace_agent_action

class Holder:
    def __init__(self, agent_id):
        self.agent_id, self.total = agent_id, 0
        self.roll, self.clock, self.now = random.randint, time.time, datetime.now
        self.tools = [partial(random.choice, [2, 3, 5])]

    @trace_agent_action
    def play(self):
        self.total += self.roll(1, 6) * self.tools[0]()
        return self.total

def build(spec):
    return Holder(spec.agent_id)

def main():
    random.seed(3)
    with recorded_sources():
        holder = Holder("a")
        for _ in range(4):
            holder.play()
"""

LATE = """
import numpy as np
from Agent.flight import recorded_sources
from Agent.utils import trace_agent_action

class Drawer:
    def __init__(self, agent_id):
        self.agent_id, self.arms = agent_id, None

    @trace_agent_action
    def draw(self):
        self.arms = np.random.randn(3)
        return float(self.arms[0])

def build(spec):
    return Drawer(spec.agent_id)

def main():
    np.random.seed(1)
    with recorded_sources():
        drawer = Drawer("a")
        drawer.draw()
        drawer.draw()
"""

GRID = """
import random
from Agent import instrument

class Place:
    def __init__(self, seed):
        self.dice, self.visits = [random.Random(seed)], 0

class Walker:
    def __init__(self, number, place):
        self.number, self.place = number, place

    def step(self):
        self.place.visits += 1
        return self.place.visits

class World:
    def __init__(self, seed=None):
        self.walkers = [Walker(number, Place(seed)) for number in range(3)]

    def step(self):
        return sum(walker.step() for walker in self.walkers)

instrument(Walker, methods=["step"], agent_id=lambda walker: f"walker_{walker.number}")
instrument(World, methods=["step"], agent_id=lambda world: "world")

def build(spec):
    return {"world": World(*spec.init.args, **spec.init.kwargs), **spec.nested}

def main():
    world = World()
    for _ in range(2):
        world.step()
"""


TOOLS = """
from Agent.utils import trace_agent_action
RATE = 2

class Toolbox:
    def __init__(self, tools):
        self.tools = tools

def toolbox():
    def price(text):
        return len(text) * RATE
    return Toolbox({"price": price, "name": lambda text: text.title()})

class Shop:
    def __init__(self, agent_id):
        self.agent_id, self.box, self.sold = agent_id, toolbox(), []

    @trace_agent_action
    def sell(self, text):
        tools = self.box.tools
        self.sold.append(tools["price"](text))
        return tools["name"](text) if len(text) > 3 else text

def build(spec):
    return Shop(spec.agent_id)

def main():
    shop = Shop("a")
    for text in ("tea", "fig", "rice"):
        shop.sell(text)
"""


def test_code_that_a_field_holds_is_replayed_and_what_it_does_otherwise_is_the_difference(toy):
    toy.record(TOOLS)
    report = toy.change("text.title()", "text.upper()").replay("last/a")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)
    assert "changed since the recording: functions in a.box" in str(report)
    report = toy.change("text.upper()", "text.title() if text else text").replay("last/a")
    assert report.verdict == "UNVERIFIED", "other code that does the same here is not the same"
    toy.record(TOOLS)
    report = toy.change('"price": price', '"price": price, "cost": price').replay("last/a")
    assert report.verdict == "UNVERIFIED", "another tool is not a change of code alone"


PROCESSES = """
from Agent import trace_agent_action

class Clock:
    def __init__(self):
        self.now, self.running = 0, []

    def step(self):
        self.now += 1
        for process in list(self.running):
            next(process)

def customer(clock, bank):
    while True:
        bank.total += 1 + (clock.now > 99)
        yield clock.now

class Bank:
    agent_id = "a"

    def __init__(self):
        self.clock, self.total = Clock(), 0

    @trace_agent_action
    def run(self):
        if self.clock.now % 3 == 0:
            self.clock.running.append(customer(self.clock, self))
        self.clock.step()
        return self.total

def build(spec):
    return Bank()

def main():
    bank = Bank()
    for _ in range(8):
        bank.run()
"""


def test_changed_code_of_a_process_begun_in_an_action_differs_where_it_does_something_else(toy):
    toy.record(PROCESSES)
    assert toy.replay("last/a").verdict == "IDENTICAL"
    report = toy.change("clock.now > 99", "clock.now > 5").replay("last/a")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 6), str(report)
    assert "changed since the recording: functions in a.clock" in str(report)


def test_changed_code_that_does_nothing_else_differs_where_a_field_first_holds_it(toy):
    toy.record(PROCESSES)
    report = toy.change("clock.now > 99", "clock.now > 98").replay("last/a")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


@pytest.mark.further
def test_a_function_that_reads_chance_or_time_is_known_by_its_name_wherever_it_is_held(toy):
    report = toy.record(HOLDER).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("random.randint, time.time", "random.randint, time.monotonic").replay("last/a")
    assert report.verdict != "IDENTICAL", str(report)
    report = (
        toy.record(HOLDER).change("random.choice, [2, 3, 5]", "random.choice, [2, 3, 7]").replay("last/a")
    )
    assert report.verdict != "IDENTICAL", str(report)


@pytest.mark.further
def test_numpy_that_loads_its_generators_late_is_answered_too(toy):
    report = toy.record(LATE).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.arms[0])", "self.arms[1])").replay("last/a")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


def test_a_generator_without_a_seed_in_what_the_factory_builds_is_told_by_its_place(toy):
    report = toy.record(GRID).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a generator without a seed by Place.__init__ (toy_module_" in str(report)
    report = toy.record(GRID.replace("World()", "World(seed=4)")).replay("last")
    assert report.verdict == "IDENTICAL", str(report)


def test_a_library_is_imported_while_its_module_is_and_not_while_it_is_run(tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "asking_library.py").write_text("asked(_getframe())\ndef ask(): asked(_getframe())\n")
    said = []
    monkeypatch.setattr(
        "builtins.asked", lambda frame: said.append(adopted.is_import_of_library(frame)), raising=False
    )
    monkeypatch.setattr("builtins._getframe", sys._getframe, raising=False)
    monkeypatch.syspath_prepend(str(library))
    module = importlib.import_module("asking_library")
    module.ask()
    path = library / "runner.py"  # as `python -m` runs a module of an installed package
    exec(compile("asked(_getframe())", str(path), "exec"), {"__name__": "__main__"})
    assert said == [True, False, False]


LAZY = """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.count = "a", "user", 0

    @trace_agent_action
    def act(self):
        import lazy_library
        self.count += 1
        return self.count, {more}

def build(spec):
    return Agent()

def main():
    Agent().act()
"""


@pytest.mark.further
@pytest.mark.process
def test_what_a_library_starts_while_it_is_imported_is_no_read_of_the_agent(toy, tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "lazy_library.py").write_text(
        "import random, subprocess\n"
        "def start():\n"
        "    try: return subprocess.run(['true'], check=False).returncode\n"
        "    except OSError: return None\n"
        "FOUND, LUCK = start(), random.Random().random()\n"
    )
    monkeypatch.syspath_prepend(str(library))
    report = toy.record(LAZY.format(more="None")).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.record(LAZY.format(more="lazy_library.start()")).replay()
    assert report.verdict != "IDENTICAL", str(report)
    assert "a new process" in str(report)


ADOPTED = """
import random
from Agent import instrument
from Agent.flight import recorder

recorder.adopt(random)

class House:
    def __init__(self, number):
        self.number, self.rooms = number, random.randint(1, 1_000_000)

    def visit(self):
        return self.rooms

class Town:
    def __init__(self):
        self.houses = [House(number) for number in range(3)]

    def step(self):
        return sum(house.visit() for house in self.houses) + random.random()

instrument(House, methods=["visit"], agent_id=lambda house: f"house_{house.number}")
instrument(Town, methods=["step"], agent_id=lambda town: "town")

def build(spec):
    return {"town": Town(), **spec.nested}

def seeded(spec):
    random.seed(4)
    return build(spec)

def main():
    random.seed(4)
    Town().step()
"""


def test_draws_of_a_factory_are_noticed_from_an_adopted_generator_too(toy):
    report = toy.record(ADOPTED).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "random by House.__init__ (toy_module_" in str(report)
    report = toy.replay("last", "seeded")
    assert report.verdict == "IDENTICAL", str(report)


GAME = """
import random
from Agent import instrument
from Agent.flight import recorder

recorder.adopt(random)

class Player:
    def __init__(self, number):
        self.number = number

    def act(self, seen):
        if seen > 2:
            return random.randint(1, 2)
        return random.randint(1, 6) if self.number else seen

class Game:
    def play(self):
        players = [Player(0), Player(1)]
        seen = 0
        for turn in range(4):
            seen = players[turn % 2].act(seen)
        return seen

instrument(Player, methods=["act"], agent_id=lambda player: f"player_{player.number}")
instrument(Game, methods=["play"], agent_id=lambda game: "game")

def build(spec):
    return {"game": Game(), **spec.nested}

def main():
    random.seed(SEED)
    Game().play()
"""


def test_a_draw_where_the_recorded_action_drew_at_other_places_alone_is_a_difference(toy):
    random = importlib.import_module("random")
    seed = next(seed for seed in range(99) if random.Random(seed).randint(1, 6) in {1, 2})
    report = toy.record(GAME.replace("SEED", str(seed))).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("seen > 2", "seen > 0").replay("last")
    assert report.verdict == "DIVERGED", str(report)


CLOCK = """
import time
from Agent.flight import recorded_sources
from Agent.utils import trace_agent_action

class Watchman:
    def __init__(self, agent_id):
        self.agent_id, self.rounds = agent_id, 0

    @trace_agent_action
    def look(self):
        self.rounds += time.clock_gettime(time.CLOCK_REALTIME) > 0
        return self.rounds

def build(spec):
    return Watchman(spec.agent_id)

def main():
    watchman = Watchman("a")
    with BLOCK:
        watchman.look()
"""


@pytest.mark.further
def test_a_clock_that_is_read_by_its_id_is_recorded_or_told(toy):
    report = toy.record(CLOCK.replace("BLOCK", "recorded_sources()")).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.record(CLOCK.replace("BLOCK", "__import__('contextlib').nullcontext()")).replay("last/a")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "time.clock_gettime read by Watchman.look (toy_module_" in str(report)


READING_LIBRARY = """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.count = "a", "user", 0

    @trace_agent_action
    def act(self):
        import stamping_library
        self.count += 1
        return self.count * 2, stamping_library.{what}

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for _ in range(3):
        agent.act()
"""


@pytest.fixture
def stamping_library(tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "stamping_library.py").write_text(
        "import datetime, random, time, uuid\n"
        "def stamp(): return bool(time.time()) and bool(uuid.uuid4()) and random.random() < 2\n"
        "def year(): return datetime.datetime.now().year\n"
        "def luck(): return round(random.random(), 6)\n"
    )
    monkeypatch.syspath_prepend(str(library))
    yield
    sys.modules.pop("stamping_library", None)


@pytest.mark.process
def test_a_library_s_clock_that_nothing_depends_on_is_a_note(toy, stamping_library):
    report = toy.record(READING_LIBRARY.format(what="stamp()")).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "note: installed libraries read time.time by stamp (stamping_library.py:2)" in str(report)
    toy.write(READING_LIBRARY.format(what="stamp()").replace("* 2", "* 3"))
    report = toy.replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("what", ["year()", "luck()"])
def test_a_library_s_clock_that_a_result_depends_on_proves_nothing(toy, stamping_library, what):
    report = toy.record(READING_LIBRARY.format(what=what)).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"{what[:-2]} (stamping_library.py:" in str(report)


MODEL = """
import random
from Agent import instrument

class Model:
    def __init__(self):
        self.random, self.agents = random.Random(3), []
        self.agents += [Trader(number, self) for number in range(4)]

class Trader:
    def __init__(self, number, model):
        self.agent_id, self.agent_role, self.model, self.coins = f"t{number}", "trader", model, 5

    @trace_agent_action
    def give(self):
        other = self.model.random.choice(self.model.agents)
        self.coins -= 1
        other.coins += 1
        return other.agent_id

def build(spec):
    return {trader.agent_id: trader for trader in Model().agents}

def main():
    model = Model()
    for _ in range(5):
        for trader in model.random.sample(model.agents, 4):
            trader.give()
"""


@pytest.mark.process
def test_draws_from_a_generator_of_the_model_replay_though_other_code_draws_from_it_too(toy):
    toy.record(MODEL)
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert "all fields seen" in str(report)
    assert toy.replay("last/t2").verdict == "IDENTICAL"
    toy.write(MODEL.replace("choice(self.model.agents)", "choice(self.model.agents[:3])"))
    report = toy.replay("last")
    assert report.verdict == "DIVERGED", str(report)


PEER = """
import random
from Agent import instrument

class Dice:
    def __init__(self, seed):
        self.rng = random.Random(seed)

class Judge:
    def __init__(self):
        self.agent_id, self.agent_role, self.held = "judge", "judge", None

    @trace_agent_action
    def take(self, number):
        return number

class Player:
    def __init__(self):
        self.agent_id, self.agent_role, self.judge, self.held = "a", "player", Judge(), None

    @trace_agent_action
    def step(self, number):
        self.held = self.judge.held = Dice(number)
        return self.judge.take(number)

def build(spec):
    return Player()

def main():
    player = Player()
    for number in range(4):
        player.step(number)
    return player
"""


@pytest.mark.further
@pytest.mark.process
def test_what_a_peer_s_first_state_adopted_is_adopted_where_the_peer_is_answered(toy):
    report = toy.record(PEER).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
