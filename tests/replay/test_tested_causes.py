"""Causes tested by forks, in worlds of which the truth is known: one thing is planted, others only look like it."""

import pytest

from Agent.analysis import debug_issue
from Agent.analysis.causality.chains import judged, judged_chance
from Agent.archive.sealed.reader import open_reader
from Agent.errors import ReplayError, TargetNotGiven
from Agent.replay import sweep_forks
from Agent.replay.forks.interventions import CauseExperiments
from Agent.tree.layout import list_sessions

SHOP = """
import random
from Agent import instrument, tick

class Worker:
    def __init__(self, number):
        self.agent_id, self.agent_role = f"worker_{number}", "worker"
        self.log = AgentLogger(self.agent_id, "worker")
        self.chance = random.Random(number)
        self.inbox, self.price, self.sold = [], 10, 0

    @trace_agent_action("work")
    def work(self):
        while self.inbox:
            message = self.inbox.pop(0)
            self.log.receive(message)
            self.price = message.body.get("price", self.price)
        if self.price > 100:
            raise ValueError(f"nobody pays {self.price}")
        if self.chance.random() < 0.8:
            self.sell()

    @trace_agent_action("sell")
    def sell(self):
        self.sold += 1

class Planner:
    def __init__(self, shop):
        self.agent_id, self.agent_role = "planner", "planner"
        self.shop, self.log = shop, AgentLogger("planner", "planner")

    @trace_agent_action("advise")
    def advise(self, day):
        for worker in self.shop.workers:
            if day % 4 == 0:
                worker.inbox.append(self.log.send(worker.agent_id, {"price": 10 + day % 3}))
        if day == 9:
            worker = self.shop.workers[2]
            worker.inbox.append(self.log.send("worker_3", {"price": 99999}))
            worker.inbox.append(self.log.send("worker_3", {"weather": "storm"}))

class Shop:
    def __init__(self):
        self.workers = [Worker(number) for number in range(1, 5)]
        self.planner = Planner(self)
        self.day = 0

    def step(self):
        self.planner.advise(self.day)
        for worker in self.workers:
            try:
                worker.work()
            except ValueError:
                pass
        self.day += 1

instrument(Shop, methods=["step"], agent_id=lambda shop: "shop", agent_role="shop")

def main():
    shop = Shop()
    for day in range(16):
        with tick(day):
            shop.step()

def build(spec):
    return {"shop": Shop(), **spec.nested}
"""


SCOUT = """
from Agent import tick
from Agent.flight import record_tool

@record_tool
def lookup(day):
    return {"map": "upside down" if day == 7 else "upright"}

class Scout:
    def __init__(self):
        self.agent_id, self.agent_role = "scout", "scout"
        self.log = AgentLogger("scout", "scout")
        self.ground, self.map, self.labels = 0.0, "upright", []

    @trace_agent_action("step")
    def step(self, reading, label):
        found = lookup(len(self.labels))
        if found["map"] != "upright":
            self.map = found["map"]
        self.labels.append(label)
        self.ground += 0.5 * (reading - self.ground)
        if self.map != "upright":
            self.log.log_decision("detour", {"why": self.map})
        if self.ground > -20:
            self.hunt()

    @trace_agent_action("hunt")
    def hunt(self):
        return len(self.labels)

def main():
    scout = Scout()
    for day in range(12):
        with tick(day):
            scout.step(-90000.0 if day == 5 else 1.0, "strange !!" if day == 4 else "plain")

def build(spec):
    return Scout()
"""

GAMBLER = """
import random
from Agent import tick

def luck(seed):
    chance = random.Random(seed)
    return sum(chance.random() < 0.5 for _ in range(12))

class Gambler:
    def __init__(self, seed):
        self.agent_id, self.agent_role = "gambler", "player"
        self.log, self.learning = AgentLogger("gambler", "player"), LearningLogger("luck", "gambler")
        self.chance = random.Random(seed)
        self.hats = []

    @trace_agent_action("play")
    def play(self, hat):
        self.hats.append(hat)
        self.learning.log_reward("play", reward=float(self.chance.random() < 0.5))

def main():
    gambler = Gambler(min(range(4000), key=luck))
    for day in range(12):
        with tick(day):
            gambler.play("a cursed hat" if day == 1 else "a hat")

def build(spec):
    return Gambler(0)
"""


WARD = """
from Agent import tick

class Pharmacy:
    def __init__(self):
        self.agent_id, self.made = "pharmacy", 0

    @trace_agent_action("make")
    def make(self, dose):
        self.made += 1
        return {"ml": 10 * dose}

class Patient:
    def __init__(self, number):
        self.agent_id, self.load = f"patient_{number}", 0

    @trace_agent_action("get")
    def get(self, bag):
        self.load += bag["ml"]

def main():
    pharmacy, patients = Pharmacy(), [Patient(1), Patient(2)]
    for day in range(8):
        with tick(day):
            bag = pharmacy.make(90 if day == 5 else day % 3)
            patients[day % 2].get(bag)

def build(spec):
    return {"pharmacy": Pharmacy(), "patient_1": Patient(1), "patient_2": Patient(2)}
"""


def events_of(toy):
    """Every event of the one session."""
    return list(open_reader(list_sessions(toy.root)[0].path).events())


def the_event(events, **wanted):
    """The first event whose payload has these values."""

    def value(event, key):
        own = {"kind": event.kind, "tick": event.tick, "agent_id": event.agent_id}
        return own.get(key, event.extra.get(key))

    return next(event for event in events if all(value(event, key) == wanted[key] for key in wanted))


def tried(toy, suspected, sort, series, agents, worse, seeds=5):
    """What forks show: first of chance alone, then of each event, judged as `debug` does."""
    session = list_sessions(toy.root)[0].path
    trials = CauseExperiments(
        session, sort, series, agents, target=f"{toy.name}:build", worse=worse, seeds=seeds
    )
    chance, *found = trials.try_events([(event.id, "", {event.id}) for event in suspected])
    assert chance[0].lacks is None, chance
    chosen = [next(each for each in ways if each.lacks is None) for ways in found]
    return (
        judged_chance(chance[0].change, chance[0].with_it[0], chance[0].without_it, worse),
        *(judged(each.change, each.with_it, each.without_it, worse, each.expected) for each in chosen),
    )


def ways_out(toy, event, outcome, agents=("worker_3",)):
    """What was tried to leave an event out, in words."""
    session = list_sessions(toy.root)[0].path
    trials = CauseExperiments(
        session, "state", (), agents, outcome=outcome, target=f"{toy.name}:build", seeds=1
    )
    _, found = trials.try_events([(event.id, "state_before_change", {event.id})])
    return [each.change for each in found]


def test_a_poisoned_message_is_shown_to_be_the_cause_and_the_other_one_beside_it_is_not(toy):
    events = events_of(toy.record(SHOP))
    poison = the_event(events, kind="agent_message", direction="sent", body={"price": 99999})
    storm = the_event(events, kind="agent_message", direction="received", body={"weather": "storm"})
    chance, shown, not_shown = tried(toy, [poison, storm], "count", ("error",), ("worker_3",), 1)
    assert (shown.verdict, shown.with_it, shown.without_it) == ("SHOWN", 3, 0)
    assert "message of tick 9" in shown.change
    assert "explains 3 of 3 (100%)" in str(shown)
    assert (not_shown.verdict, not_shown.effect) == ("INCONCLUSIVE", 0)
    assert not_shown.reason == "the same happens without it"
    assert chance.verdict == "INCONCLUSIVE"


@pytest.mark.further
def test_where_nothing_recorded_carries_a_change_to_what_is_measured_it_is_not_tested(toy):
    events = events_of(toy.record(WARD))
    session = list_sessions(toy.root)[0].path
    made, got = (the_event(events, action_type=name, tick=5) for name in ("make", "get"))
    trials = CauseExperiments(
        session, "state", (), (), outcome="patient_2.load", target=f"{toy.name}:build", seeds=2
    )
    _, of_made, of_got = trials.try_events([(each.id, "", {each.id}) for each in (made, got)])
    assert [each.lacks for each in of_made] == [
        "not testable: nothing recorded carries the change from pharmacy to patient_2"
    ]
    assert any(each.lacks is None and each.with_it[0] > each.without_it[0] for each in of_got), of_got


@pytest.mark.further
def test_a_change_may_reach_another_agent_by_an_object_that_both_hold(toy):
    shelf = "class Shelf:\n    bags = 0\n\nSHELF = Shelf()\n\nclass Pharmacy"
    shared = WARD.replace("class Pharmacy", shelf)
    for field in ("self.made", "self.load"):
        shared = shared.replace(f", {field} = ", f", self.shelf, {field} = ").replace('", 0', '", SHELF, 0')
    made = the_event(events_of(toy.record(shared)), action_type="make", tick=5)
    trials = CauseExperiments(
        list_sessions(toy.root)[0].path,
        "state",
        (),
        (),
        outcome="patient_2.load",
        target=f"{toy.name}:build",
        seeds=1,
    )
    _, of_made = trials.try_events([(made.id, "", {made.id})])
    assert not any("nothing recorded" in (each.lacks or "") for each in of_made)


@pytest.mark.further
def test_what_is_measured_is_never_what_is_undone(toy):
    events = events_of(toy.record(SHOP))
    work = the_event(events, action_type="work", agent_id="worker_3", tick=9)
    undone = [way for way in ways_out(toy, work, "worker_3.sold>3") if "undone" in way]
    assert undone, "its price may be undone, where something else is measured"
    assert not [way for way in ways_out(toy, work, "worker_3.price>100") if "undone" in way]


@pytest.mark.integration
def test_an_effect_on_what_hangs_on_chance_has_an_interval_and_another_agent_has_none(toy):
    events = events_of(toy.record(SHOP))
    poison = the_event(events, kind="agent_message", direction="sent", body={"price": 99999})
    _, shown = tried(toy, [poison], "count", ("action:sell",), ("worker_3",), -1, seeds=12)
    assert shown.verdict == "SHOWN"
    assert shown.low < shown.effect < shown.high < 0
    assert "Welch" in shown.method
    _, other = tried(toy, [poison], "count", ("action:sell",), ("worker_2",), -1, seeds=12)
    assert other.verdict == "INCONCLUSIVE"
    assert other.low <= 0 <= other.high


@pytest.mark.further
def test_a_bad_observation_is_shown_to_be_the_cause_and_a_strange_label_is_not(toy):
    events = events_of(toy.record(SCOUT))
    bad = the_event(events, action_type="step", tick=5)
    strange = the_event(events, action_type="step", tick=4)
    _, shown, not_shown = tried(toy, [bad, strange], "count", ("action:hunt",), ("scout",), -1)
    assert (shown.verdict, shown.with_it, shown.without_it) == ("SHOWN", 0, 6)
    assert "called with what it got" in shown.change
    assert (not_shown.verdict, not_shown.effect) == ("INCONCLUSIVE", 0)


@pytest.mark.further
def test_the_wrong_answer_of_a_tool_is_shown_to_be_the_cause_and_a_right_one_is_not(toy):
    events = events_of(toy.record(SCOUT))
    calls = [event for event in events if event.kind == "tool.call"]
    _, shown = tried(toy, [calls[7]], "count", ("decision:detour",), ("scout",), 1)
    assert (shown.verdict, shown.with_it, shown.without_it) == ("SHOWN", 5, 0)
    assert "answered as it was" in shown.change
    trials = CauseExperiments(
        list_sessions(toy.root)[0].path, "count", ("decision:detour",), ("scout",),
        target=f"{toy.name}:build", worse=1, seeds=1,
    )  # fmt: skip
    _, (right,) = trials.try_events([(calls[6].id, "", ())])
    assert right.lacks == "no intervention can leave this event out"


@pytest.mark.further
def test_an_unlucky_seed_is_shown_to_be_the_cause_and_what_was_worn_that_day_is_not(toy):
    events = events_of(toy.record(GAMBLER))
    hat = the_event(events, action_type="play", tick=1)
    chance, not_shown = tried(toy, [hat], "reward", ("reward",), ("gambler",), -1, seeds=19)
    assert chance.verdict == "SHOWN"
    assert chance.effect < chance.high < 0
    assert not_shown.verdict != "SHOWN"


@pytest.mark.further
def test_a_report_says_of_which_cause_a_fork_showed_the_effect(toy):
    events = events_of(toy.record(SHOP))
    poison = [event.id for event in events if event.extra.get("body") == {"price": 99999}]
    told = debug_issue(
        "worker_3 fails all the time", root=toy.root, test=True, target=f"{toy.name}:build", seeds=4
    )
    edges = [edge for edge in told.causes[0].edges if edge.basis == "tested"]
    assert {edge.cause_id for edge in edges} & set(poison), str(told)
    assert all(edge.test.verdict == "SHOWN" and edge.test.effect > 0 for edge in edges)
    assert told.causes[0].confidence == 0.95
    assert "tested SHOWN" in str(told)
    assert "forks" in told.tests[0]


@pytest.mark.further
def test_without_a_target_causes_stay_untested_and_one_line_says_how_to_give_one(toy):
    toy.record(SHOP)
    told = debug_issue("worker_3 fails all the time", root=toy.root, test=True)
    assert len(told.tests) == 1
    assert "give --target module:factory" in told.tests[0]
    assert not any(edge.test for cause in told.causes for edge in cause.edges)
    with pytest.raises(TargetNotGiven):
        CauseExperiments(list_sessions(toy.root)[0].path, "count", ("error",), ())


@pytest.mark.further
def test_a_fork_that_does_not_do_what_was_recorded_proves_nothing(toy):
    events = events_of(toy.record(SHOP))
    poison = the_event(events, kind="agent_message", direction="sent", body={"price": 99999})
    toy.change("if self.price > 100:", "if self.price > 100_000:")
    trials = CauseExperiments(
        list_sessions(toy.root)[0].path,
        "count",
        ("error",),
        ("worker_3",),
        target=f"{toy.name}:build",
        seeds=2,
    )
    chance, found = trials.try_events([(poison.id, "", ())])
    assert "does not do what was recorded (0 instead of 3)" in found[0].lacks
    assert chance[0].lacks


def test_how_often_an_action_is_called_from_outside_cannot_be_measured(toy):
    toy.record(SCOUT)
    session = list_sessions(toy.root)[0].path
    target = f"{toy.name}:build"
    with pytest.raises(ReplayError, match="called by code that is not replayed"):
        CauseExperiments(session, "count", ("action:step",), ("scout",), target=target, seeds=1).try_events(
            []
        )


def test_a_sweep_from_inside_an_action_changes_what_it_should(toy):
    events = events_of(toy.record(SCOUT))
    inside = the_event(events, kind="tool.call", tick=8)
    report = sweep_forks(
        f"{list_sessions(toy.root)[0].session_id}/scout", inside.id, [{"map": "torn"}],
        outcome="map=torn", target=f"{toy.name}:build", root=toy.root,
    )  # fmt: skip
    assert [fork.value for fork in report.forks] == [True], report.forks


@pytest.mark.further
def test_an_outcome_that_no_agent_has_is_told_and_tests_nothing(toy):
    events = events_of(toy.record(SHOP))
    poison = the_event(events, kind="agent_message", direction="sent", body={"price": 99999})
    for outcome in ("nothing>3", "worker_9.price>100"):
        with pytest.raises(ReplayError, match=r"no agent has a field .* AGENT\.FIELD"):
            ways_out(toy, poison, outcome, agents=())
    assert ways_out(toy, poison, "worker_3.price>100")


@pytest.mark.further
def test_what_would_go_on_as_before_is_counted_by_ticks(toy):
    events = events_of(toy.record(SHOP))
    poison = the_event(events, kind="agent_message", direction="sent", body={"price": 99999})
    trials = CauseExperiments(
        list_sessions(toy.root)[0].path,
        "count",
        ("action:sell",),
        ("worker_2",),
        target=f"{toy.name}:build",
        seeds=1,
    )
    _, (found, *_) = trials.try_events([(poison.id, "", {poison.id})])
    sold = sum(
        event.extra.get("action_type") == "sell" and event.agent_id == "worker_2" and event.tick < 9
        for event in events
    )
    assert found.expected == pytest.approx(sold * 6 / 9)
