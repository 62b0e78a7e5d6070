"""Agents that were gone before recording ended: what of their last state is compared, and what is said of the rest."""

import pytest

KEEPER = """
import random

class Keeper:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "keeper"
        self.rng = random.Random(3)
        self.rows = [0] * 3000

    @trace_agent_action
    def act(self, number):
        self.rows.append(number)
        return number

def build(spec):
    return Keeper()

def main():
    keeper = Keeper()
    for number in range(3):
        keeper.act(number)
    {more}
"""


def test_large_fields_and_generators_are_compared_as_the_agent_left_them(toy):
    report = toy.record(KEEPER.replace("{more}", "pass")).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)
    assert report.outcome.counts.covered == 3
    assert report.outcome.counts.full_states == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("self.rows.append(number + (number == 2))", "field rows"),
        ("self.rows.append(number); number == 2 and setattr(self, 'more', [number] * 3000)", "more"),
    ],
)
def test_a_change_that_only_they_show_is_never_green(toy, change, field):
    toy.record(KEEPER.replace("{more}", "pass"))
    report = toy.change("self.rows.append(number)", change).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert field in " ".join(report.reasons)


def test_the_difference_is_shown_with_what_makes_it_no_proof(toy):
    toy.record(KEEPER.replace("{more}", "pass"))
    report = toy.change("self.rows.append(number)", "self.rows.append(number + (number == 2))").replay()
    found = report.divergence
    assert (found.step, found.agent_id, found.field, found.path) == (3, "a", "state.rows", "/3002")
    assert (found.recorded, found.replayed) == (2, 3)
    assert "rows of a" in report.reasons[0] and "shutdown_logging()" in report.reasons[0]


@pytest.mark.first_case
@pytest.mark.parametrize("more", ["keeper.rows.clear()", "keeper.rng.random()", "keeper.rows[7] = 1"])
def test_what_others_did_to_it_behind_its_last_action_is_no_divergence(toy, more):
    report = toy.record(KEEPER.replace("{more}", more)).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "are not recorded" in report.reasons[0]


def test_fields_that_were_set_anew_behind_its_last_action_are_compared_as_they_were_before(toy):
    report = toy.record(KEEPER.replace("{more}", "keeper.rows, keeper.rng = [], None")).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)


@pytest.mark.further
def test_a_large_field_that_leads_to_other_objects_is_named_as_not_in_the_record(toy):
    source = KEEPER.replace("{more}", "pass").replace("[0] * 3000", "[Other(n) for n in range(900)]")
    source = source.replace("class Keeper", OTHER + "\nclass Keeper")
    report = toy.record(source).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ("rows",)), str(report)
    report = toy.change("self.rows.append(number)", "self.rows.append(number + 0)").replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the final value of rows of a is not in the recording" in report.reasons[0]
    assert "keep it until shutdown_logging()" in report.reasons[0]


OTHER = """
class Other:
    def __init__(self, number):
        self.agent_id, self.agent_role = f"other_{number}", "other"

    @trace_agent_action
    def nothing(self):
        pass
"""


@pytest.mark.integration
def test_a_large_field_that_cannot_be_kept_makes_changed_code_unverified_until_it_is_ignored(toy):
    source = KEEPER.replace("{more}", "pass").replace("[0] * 3000", "[Thing() for n in range(900)]")
    report = toy.record(
        source.replace("class Keeper", "class Thing:\n    def __del__(self): pass\n\nclass Keeper")
    ).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ("rows",)), str(report)
    report = toy.change("self.rows.append(number)", "self.rows.append(number + 0)").replay()
    assert (report.verdict, report.unseen) == ("UNVERIFIED", ("rows",)), str(report)
    assert report.reasons[0].endswith("keep it until shutdown_logging(), or ignore the field: --ignore rows")
    assert toy.replay(ignore=["rows"]).verdict == "IDENTICAL"


INSIDE = """
import random

class Walker:
    def __init__(self, number, rng):
        self.agent_id, self.agent_role = f"walker_{number}", "walker"
        self.number = number
        self.trail = [0] * 3000
        self.rng = rng
        self.grid = None

    @trace_agent_action
    def walk(self, tick):
        self.trail.append(tick * self.number)

class World:
    def __init__(self):
        self.agent_id, self.agent_role = "world", "world"
        self.time = 0
        rng = random.Random(5)
        self.walkers = [Walker(number, rng) for number in range(6)]

    @trace_agent_action
    def step(self):
        self.time += 1
        number = 0
        while number < len(self.walkers):
            self.walkers[number].walk(self.time)
            if self.walkers[number].number == self.time:
                del self.walkers[number]
            else:
                number += 1
        return len(self.walkers)

def build(spec):
    return {"world": World(), **spec.nested}

def main():
    world = World()
    for _ in range(4):
        world.step()
"""


@pytest.mark.further
def test_agents_that_go_in_the_midst_of_anothers_action_are_compared_too(toy):
    report = toy.record(INSIDE).replay("last")
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)
    assert report.outcome.counts.full_states == 7  # of six walkers, and of the world after its last action
    toy.change("tick * self.number", "tick * self.number + (tick == self.number == 2)")
    report = toy.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert (report.divergence.agent_id, report.divergence.field) == ("walker_2", "state.trail")
    assert report.divergence.step == 2


@pytest.mark.further
def test_a_generator_that_others_drew_from_later_in_that_action_is_named_and_nothing_else(toy):
    source = INSIDE.replace("self.trail.append", "self.rng.random(); self.trail.append")
    report = toy.record(source).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert {name.partition(".")[2] for name in report.unseen_at_end} == {"rng"}
    report = toy.change("tick * self.number)", "tick * self.number); self.trail.append(tick == 4)").replay(
        "last"
    )
    assert report.verdict == "UNVERIFIED", str(report)


SHARED = """
import random

class Player:
    def __init__(self, agent_id, rng):
        self.agent_id, self.agent_role = agent_id, "player"
        self.rng = rng

    @trace_agent_action
    def play(self, number):
        self.rng.random()
        return number

def make():
    rng = random.Random(5)
    return {agent_id: Player(agent_id, rng) for agent_id in "abc"}

def build(spec):
    return make()

def main():
    players = make()
    for number, agent_id in enumerate("aabcbcc"):
        players[agent_id].play(number)
        if agent_id == "a" and number:
            del players["a"]
"""


def test_a_shared_generator_is_compared_where_it_stood_when_each_agent_was_gone(toy):
    report = toy.record(SHARED).replay("last")
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)
    assert report.outcome.counts.full_states == 3
    more = "self.rng.random(), number == 6 and self.rng.random()"
    report = toy.change("self.rng.random()", more).replay("last")
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.step, report.divergence.field[:9]) == (7, "state.rng"), str(report)


def test_two_agents_that_had_one_id_after_each_other_are_not_taken_for_one(toy):
    source = KEEPER.replace("{more}", "other = Keeper()\n    del keeper\n    other.act(9)")
    report = toy.record(source).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "was another object" in report.reasons[0]


@pytest.mark.further
def test_a_field_that_is_compared_by_name_need_not_be_known_as_it_ended(toy):
    source = """
class World:
    def __init__(self):
        self.state, self.cells = 0, [{0}] * 3000

class Learner:
    def __init__(self, world):
        self.agent_id, self.agent_role = "a", "learner"
        self.world = world
        self.sum = 0

    @trace_agent_action
    def learn(self, number):
        self.sum += number
        return self.sum

def build(spec):
    return Learner(World())

def main():
    world = World()
    learner = Learner(world)
    for number in range(4):
        learner.learn(number)
        world.state += 1
"""
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert any("changed between its actions" in each for each in report.outcome.references), str(report)
    report = toy.change("self.sum += number", "self.sum += number + (number == 3)").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 4), str(report)


BOXED = """
class Box:
    def __init__(self):
        self.function, self.cells = print, [{0}] * 3000

class Keeper:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "keeper"
        self.box, self.sum = Box(), 0
        self.box.me = self.box
        self.other = [self.box]
        self.box.others = [Box(), self.other]

    @trace_agent_action
    def act(self, number):
        self.sum += number
        return self.sum

def build(spec):
    return Keeper()

def main():
    keeper = Keeper()
    for number in range(ACTIONS):
        keeper.act(number)
"""


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("actions", "held"), [(3, "print"), (6, "print"), (3, "(n for n in [])"), (6, "(n for n in [])")]
)
def test_a_change_in_the_last_action_of_an_object_that_went_with_its_agent_is_never_green(toy, actions, held):
    source = BOXED.replace("ACTIONS", str(actions)).replace("= print", f"= {held}")
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)
    is_known = held == "print" or actions == 3  # a generator is not held, and looked at three times only
    assert report.unseen_at_end == (() if is_known else ("box",)), str(report)
    last = f"self.sum += number; self.box.cells[0] = {{number // {actions - 1}}}"
    report = toy.change("self.sum += number", last).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "box of a" in report.reasons[0]


@pytest.mark.further
def test_a_large_field_that_holds_validators_of_pydantic_is_compared_as_the_agent_left_it(toy):
    pytest.importorskip("pydantic")
    source = KEEPER.replace("{more}", "pass").replace("import random", "import random, pydantic")
    source = source.replace("[0] * 3000", "[pydantic.TypeAdapter(list[int]), *[0] * 3000]")
    report = toy.record(source).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)
    report = toy.change("self.rows.append(number)", "self.rows.append(number + (number == 2))").replay()
    assert report.verdict != "IDENTICAL", str(report)


SPEAKERS = """
class Country:
    def __init__(self):
        self.rows, self.first = [0] * 3000, None

class Speaker:
    def __init__(self, name, country):
        self.agent_id, self.country, self.said = name, country, 0
        if name == "c":
            country.first = self

    @trace_agent_action
    def speak(self, number):
        self.said += number
        self.country.rows[number] += 1
        return self.said

def build(spec):
    country = Country()
    return {name: Speaker(name, country) for name in spec.agent_ids}

HOME = {}

def main():
    country = Country()
    HOME.update((name, Speaker(name, country)) for name in "abc")
    for number in range(9):
        if number == 4:
            del HOME["b"]
        for speaker in list(HOME.values()):
            speaker.speak(number)
        del speaker
"""


@pytest.mark.further
def test_what_a_gone_agent_held_and_another_holds_to_the_end_is_compared_there(toy):
    report = toy.record(SPEAKERS).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("rows[number] += 1", "rows[number] += 1 + (number == 2)").replay("last")
    assert report.verdict == "DIVERGED", str(report)


BY_WEAK_REFERENCES = """
import weakref
from Agent import instrument

class Sheep:
    def __init__(self, meadow, number):
        self.meadow, self.number, self.food = meadow, number, 3

    def step(self):
        self.food += 1
        if self.number == self.meadow.hungry:
            self.meadow.eat(self.number + 1)
        return self.food

class Meadow:
    def __init__(self):
        self.hungry = 0
        self.flock = {Sheep(self, number): None for number in range(8)}

    def eat(self, number):
        self.flock = {sheep: None for sheep in self.flock if sheep.number != number}

    def step(self):
        for reference in [weakref.ref(sheep) for sheep in self.flock]:
            if (sheep := reference()) is not None:  # as in Mesa, one that was removed may still act
                sheep.step()
            sheep = None
        self.hungry += 2
        return len(self.flock)

instrument(Meadow, methods=["step"], agent_id=lambda meadow: "meadow")
instrument(Sheep, methods=["step"], agent_id=lambda sheep: f"sheep_{sheep.number}")

def build(spec):
    return {"meadow": Meadow(), **spec.nested}

def main():
    meadow = Meadow()
    for _ in range(3):
        meadow.step()
"""


def test_a_replay_keeps_no_agent_alive_that_the_program_lets_go(toy):
    report = toy.record(BY_WEAK_REFERENCES).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.inside["sheep_1"] == 0  # it was eaten before it acted
    assert report.outcome.inside["sheep_3"] == 1
    refactored = toy.change("self.food += 1", "self.food = 1 + self.food").replay("last")
    assert refactored.verdict == "IDENTICAL", str(refactored)
    report = toy.change("self.food = 1 + self.food", "self.food += 1 + (self.number == 6)").replay("last")
    assert (report.verdict, report.divergence.step, report.divergence.inner_agent_id) == (
        "DIVERGED",
        1,
        "sheep_6",
    ), str(report)
