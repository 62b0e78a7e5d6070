"""Two runs compared: where they part first, on which grounds that is said, and when they are alike."""

import os
from collections import Counter

import pytest

from Agent.archive.sealed.sealing import seal
from Agent.errors import AgentNotFound, InputError, UsageError
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.replay import compare_runs, fork_run, resume_from_checkpoint
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.emitted_events import event_difference
from Agent.replay.diff import run_comparison
from Agent.replay.diff.first_difference import SameIds, StreamWalk
from Agent.replay.diff.run_comparison import differing_events
from Agent.tree import layout
from Agent.tree.layout import agent_files, agents_dir, list_sessions

RING = """
import math
import random
from Agent import send, receive, tick

CHANGE = None
TICKS, AGENTS = 120, 4

class Walker:
    def __init__(self, number):
        self.agent_id, self.agent_role = f"w{number}", "walker"
        self.chance = random.Random(number)
        self.logger = AgentLogger(self.agent_id, "walker")
        self.place, self.stride = 0.0, 1.0

    @trace_agent_action
    def step(self, message):
        receive(message)
        way = self.chance.gauss(0, self.stride) + math.sin(message.body)
        self.logger.log_decision("way", {"way": way}, "chance")
        self.place += way
        return send("next", self.place)

def main():
    walkers = [Walker(number) for number in range(AGENTS)]
    for number in range(TICKS):
        with tick(number):
            if CHANGE is not None and number == CHANGE[0]:
                setattr(walkers[CHANGE[1]], *CHANGE[2])
            message = send_first(walkers[-1])
            for walker in walkers:
                message = walker.step(message)

def send_first(walker):
    return walker.logger.send("w0", walker.place)
"""


@pytest.fixture
def rings(toy):
    """Records the ring, unchanged and with each change that is asked for; gives the sessions' ids."""

    def record(*changes, **options):
        for change in changes:
            toy.record(RING.replace("CHANGE = None", f"CHANGE = {change!r}"), **options)
        return [session.session_id for session in list_sessions(toy.root)]

    return record


@pytest.fixture
def large(monkeypatch):
    """Makes every session count as large, so that it is bisected."""
    monkeypatch.setattr(run_comparison, "_SMALL_BYTES", 0)


@pytest.mark.further
def test_sessions_of_the_same_program_are_alike_whatever_their_ids_and_times(toy, rings):
    found = compare_runs(*rings(None, None), toy.root)
    assert (found.divergence, bool(found), found.exit_code) == (None, False, 0)
    assert found.compared > 120 * 4 * 4
    assert found.method == "walk", "that two are alike takes a look at everything"


@pytest.mark.further
def test_the_write_from_outside_is_the_first_difference(toy, rings, large):
    ticks = (1, 12, 60, 118)
    unchanged, *changed = rings(None, *((at, 2, ("stride", 3.0)) for at in ticks))
    for at, session in zip(ticks, changed, strict=True):
        for exhaustive in (False, True):
            found = compare_runs(unchanged, session, toy.root, exhaustive=exhaustive)
            divergence = found.divergence
            assert (divergence.tick, divergence.agent_id, divergence.field) == (at, "w2", "events"), (
                exhaustive
            )
            assert "state_change of w2" in str(found)
            assert found.method == ("walk" if exhaustive else "bisection"), at
            assert found.exit_code == 1


@pytest.mark.further
def test_each_agent_has_its_own_first_difference_and_all_its_events_that_differ(toy, rings):
    a, b = rings(None, (60, 2, ("stride", 3.0)))
    found = compare_runs(a, b, toy.root, every_agent=True)
    places = [(each.agent_id, each.tick) for each in found.of_agents]
    assert places[0] == ("w2", 60) and found.of_agents[0] == found.divergence
    assert dict(places) == {"w2": 60, "w3": 60, "w0": 61, "w1": 61}, "it goes around the ring"
    listed, more = differing_events(a, b, "w0", toy.root, most=1_000)
    assert not more and {each.tick for each in listed} == set(range(61, 120))
    assert all(each.event_a and each.event_b and each.a != each.b for each in listed)
    some, more = differing_events(a, b, "w0", toy.root, most=3)
    assert some == listed[:3] and more
    assert differing_events(a, a, "w0", toy.root) == ([], False)


@pytest.mark.further
def test_an_event_that_one_run_lacks_does_not_shift_the_pairs_behind_it(toy, rings):
    (a,) = rings(None)
    toy.record(
        RING.replace(
            "self.place += way", "self.place += way\n        if message.body == 0.0: self.logger.info('x')"
        )
    )
    b = list_sessions(toy.root)[-1].session_id
    listed, _ = differing_events(a, b, "w0", toy.root)
    assert [(each.event_a, each.where) for each in listed] == [(None, "an event that only one run has")]


@pytest.mark.further
def test_what_both_had_in_common_last_is_named(toy, rings, large):
    found = compare_runs(*rings(None, (60, 2, ("stride", 3.0))), toy.root)
    cause = found.divergence.common_cause
    assert (cause.what, cause.tick, cause.relation) == ("agent_action step of w2", 59, "before")


@pytest.mark.further
def test_bisection_and_walk_agree_where_chance_began_otherwise(toy, rings, large):
    (a,) = rings(None)
    toy.record(RING.replace("random.Random(number)", "random.Random(number + 1)"))
    b = list_sessions(toy.root)[-1].session_id
    found = [compare_runs(a, b, toy.root, exhaustive=exhaustive).divergence for exhaustive in (False, True)]
    assert found[0] == found[1]
    assert found[0].field == "state.chance"


@pytest.mark.further
def test_a_difference_that_leaves_no_trace_in_the_end_is_found_all_the_same(toy, rings, large):
    (a,) = rings(None)
    toy.record(RING.replace('{"way": way}', '{"way": way} | ({"odd": 1} if message.body == 0.0 else {})'))
    b = list_sessions(toy.root)[-1].session_id
    found = compare_runs(a, b, toy.root)
    assert (found.method, found.divergence.tick, found.divergence.path) == ("walk", 0, "/odd")


@pytest.mark.further
def test_one_agent_is_compared_alone(toy, rings):
    a, b = rings(None, (60, 2, ("stride", 3.0)))
    found = compare_runs(f"{a}/w1", f"{b}/w1", toy.root)
    assert (found.divergence.tick, found.divergence.agent_id) == (61, "w1")
    assert found.divergence.field == "args", "what it was given came before what it made of it"


def test_two_agents_are_not_called_alike_because_each_is_like_itself(toy, rings):
    (a,) = rings(None)
    with pytest.raises(UsageError, match="only the same agent can be compared"):
        compare_runs(f"{a}/w1", f"{a}/w2", toy.root)


@pytest.mark.further
def test_an_agent_that_one_side_names_is_compared_alone(toy, rings):
    a, b = rings(None, (60, 2, ("stride", 3.0)))
    whole = compare_runs(a, b, toy.root).divergence
    found = compare_runs(a, f"{b}/w1", toy.root).divergence
    assert (whole.agent_id, found.agent_id) == ("w2", "w1")


@pytest.mark.further
def test_steps_that_one_of_them_lacks_are_a_difference(toy, rings):
    (a,) = rings(None)
    toy.record(RING.replace("TICKS, AGENTS = 120, 4", "TICKS, AGENTS = 123, 4"))
    b = list_sessions(toy.root)[-1].session_id
    for exhaustive in (False, True):
        divergence = compare_runs(a, b, toy.root, exhaustive=exhaustive).divergence
        assert divergence.field == "events"
        assert divergence.a.startswith(("state exit", "<absent>"))
        assert divergence.b.startswith("agent_message"), "what only the longer one did"
        assert divergence.common_cause.tick == 119


@pytest.mark.further
def test_what_comes_behind_the_last_tick_is_no_earlier_than_what_comes_before_it(toy, rings, large):
    a, b = rings(None, (60, 2, ("stride", 3.0)))
    found = compare_runs(a, b, toy.root, exhaustive=True)
    assert found.divergence.tick == 60, "every last state differs, too, and carries no tick"


@pytest.mark.further
def test_sealed_sessions_are_walked_whole(toy, rings):
    names = rings(None, (60, 2, ("stride", 3.0)))
    for session in list_sessions(toy.root):
        seal(session.path, remove=True)
    found = compare_runs(*names, toy.root)
    assert (found.method, found.divergence.tick, found.divergence.agent_id) == ("walk", 60, "w2")
    assert any("sealed" in note for note in found.notes)


def test_two_runs_with_nothing_to_compare_are_not_called_alike(toy):
    toy.record("def main():\n    AgentLogger('a', 'b').debug('x')\n", level="ERROR")
    (session,) = list_sessions(toy.root)
    found = compare_runs(session.session_id, session.session_id, toy.root)
    assert (found.exit_code, found.compared) == (4, 0)
    assert "no comparable events or states" in str(found)


@pytest.mark.further
def test_a_damaged_line_is_passed_over_and_told(toy, rings):
    a, b = rings(None, None)
    (path,) = agent_files(list_sessions(toy.root)[1].path, "w3")
    lines = path.read_bytes().split(b"\n")
    lines[10] = lines[10][:40]
    path.write_bytes(b"\n".join(lines))
    found = compare_runs(a, b, toy.root)
    assert found.divergence.agent_id == "w3"
    assert any("damaged" in note for note in found.notes)


@pytest.mark.further
def test_a_run_that_is_not_there_is_one_error(toy, rings):
    (a,) = rings(None)
    with pytest.raises(InputError, match="nothing"):
        compare_runs(a, "nothing", toy.root)
    with pytest.raises(AgentNotFound, match="it knows w0"):
        compare_runs(a, f"{a}/w9", toy.root)


WARNED = """
from Agent import tick

class Walker:
    agent_id = "walker"

    def __init__(self):
        self.place = 0

    @trace_agent_action
    def step(self, way):
        self.place += way

def main():
    walker, guide = Walker(), AgentLogger("guide", "guide")
    for number in range(100):
        with tick(number):
            guide.send("walker", "stop" if CHANGED and number == 61 else "go")
            if HAS_STATES:
                walker.step(2 if CHANGED and number >= 63 else 1)
"""


@pytest.mark.parametrize("is_large", [False, True])
def test_a_difference_before_the_one_that_bisection_finds_is_found_or_said_to_be_possible(
    toy, monkeypatch, is_large
):
    if is_large:
        monkeypatch.setattr(run_comparison, "_SMALL_BYTES", 0)
    for changed in (False, True):
        toy.record(WARNED.replace("CHANGED", str(changed)).replace("HAS_STATES", "True"))
    found = compare_runs(*(session.session_id for session in list_sessions(toy.root)), toy.root)
    first, *_ = str(found).splitlines()
    says_so = "an earlier difference is possible" in first
    assert says_so == found.earlier_is_possible == found.to_dict()["earlier_is_possible"] == is_large
    assert (found.divergence.tick, found.method) == ((63, "bisection") if is_large else (61, "walk"))


def test_sessions_without_states_are_not_bisected(toy, large):
    for changed in (False, True):
        toy.record(WARNED.replace("CHANGED", str(changed)).replace("HAS_STATES", "False"))
    found = compare_runs(*(session.session_id for session in list_sessions(toy.root)), toy.root)
    assert (found.divergence.tick, found.method) == (61, "walk")
    assert any("no agent has states" in note for note in found.notes)


RUNS = """
from Agent.flight import record_tool
from Agent.flight import recorder

@record_tool
def price(city):
    return PRICES[city]

PRICES = {"Oslo": 10, "Rome": 20}

def trip(cities):
    with recorder.run("traveller"):
        for number, city in enumerate(cities):
            with recorder.step(f"step_{number}") as step:
                step.output = price(city)

def main():
    trip(["Oslo", "Rome"])
    trip(["Oslo", "Rome"])
    PRICES["Rome"] = 25
    trip(["Oslo", "Rome"])
"""


def test_recorded_runs_are_compared_by_what_they_did(toy):
    from Agent.flight import list_runs

    toy.record(RUNS)
    third, second, first = [run.run_id for run in list_runs(toy.root)]
    assert not compare_runs(first, second, toy.root)
    found = compare_runs(second, third, toy.root)
    assert (found.divergence.action, found.divergence.field) == ("tool.call", "result")
    assert (found.divergence.a, found.divergence.b) == (20, 25)


def _event(number, session, kind="decision", **more):
    return Event("2026-11-20T00:00:00.000000Z", f"{session}-{number}", 1, kind, session, **more)


def test_ids_of_the_two_sessions_pair_off_one_to_one_and_other_texts_do_not():
    same = SameIds(["aaaaaaaa", "bbbbbbbb"])
    assert same("aaaaaaaa-1", "bbbbbbbb-9")
    assert same("aaaaaaaa-1", "bbbbbbbb-9")
    assert not same("aaaaaaaa-1", "bbbbbbbb-8")
    assert not same("aaaaaaaa-2", "bbbbbbbb-9")
    assert not same("zzzzzzzz-1", "yyyyyyyy-2")
    assert not same("0123456789abcdef", "0123456789abcdee")


def test_events_that_name_their_counterparts_agree():
    same = SameIds(["aaaaaaaa", "bbbbbbbb"])
    walk = StreamWalk(Comparison(None, same), same)
    ones = [_event(1, "aaaaaaaa"), _event(2, "aaaaaaaa", causes=("aaaaaaaa-1",))]
    others = [_event(5, "bbbbbbbb"), _event(6, "bbbbbbbb", causes=("bbbbbbbb-5",))]
    assert walk.first_divergence(ones, others) is None
    third = _event(7, "bbbbbbbb", causes=("bbbbbbbb-6",))
    again = StreamWalk(Comparison(None, same), same)
    placed_divergence = again.first_divergence(
        [*ones, _event(3, "aaaaaaaa", causes=("aaaaaaaa-1",))], [*others, third]
    )
    assert placed_divergence is not None
    assert (placed_divergence.divergence.field, placed_divergence.divergence.number) == ("causes", 3)


def test_no_duration_of_any_kind_of_event_is_compared():
    for kind in KINDS.values():
        for each in kind.fields:
            if each.type == "number" and each.name.endswith(("_ms", "_s", "per_second")):
                one, other = (_event(1, "a", kind.name, extra={each.name: took}) for took in (1.0, 2.5))
                assert event_difference(one, other, Comparison(None)) is None, (kind.name, each.name)


STIRRER = """
class Cook:
    agent_id, agent_role = "cook", "cook"
    @trace_agent_action
    def stir(self):
        yield sum(range(50_000))
    @trace_agent_action
    def cook(self):
        return list(self.stir())

def main():
    Cook().cook()
    list(Cook().stir())
"""


def test_two_runs_of_traced_generators_are_alike(toy):
    for _ in range(2):
        toy.record(STIRRER)
    found = compare_runs(*(session.session_id for session in list_sessions(toy.root)), toy.root)
    assert found.divergence is None and found.compared >= 3


WORLD = """
class World:
    def __init__(self):
        self.agents, self.log = [], []

class Worker:
    def __init__(self, name, world):
        self.agent_id, self.agent_role, self.world, self.done = name, "worker", world, 0

    @trace_agent_action
    def work(self):
        self.done += 1
        self.world.log.append([{}])
        return self.done

def main():
    world = World()
    world.agents = [Worker(name, world) for name in ("ann", "bob", "eve")]
    for _ in range(200):
        for worker in world.agents:
            worker.work()
"""


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("exhaustive", [False, True])
def test_runs_that_differ_only_in_how_their_world_ends_are_not_alike(toy, exhaustive, large):
    for told in ("self.done", "self.done", "self.done % 150"):
        toy.record(WORLD.replace("{}", told))
    one, same, other = (session.session_id for session in list_sessions(toy.root))
    assert not compare_runs(one, same, toy.root, exhaustive=exhaustive)
    found = compare_runs(one, other, toy.root, exhaustive=exhaustive)
    divergence = found.divergence
    assert (found.exit_code, divergence.field, divergence.action) == (1, "state.world", "state exit"), str(
        found
    )
    assert found.method == ("walk" if exhaustive else "bisection")
    assert divergence.a.startswith("content c1:") and divergence.a != divergence.b


@pytest.mark.further
def test_a_fork_says_of_a_world_that_ends_with_other_content(toy):
    toy.record(WORLD.replace("{}", "self.done") + FACTORY)
    run = list_sessions(toy.root)[0].session_id
    _, same = fork_run(run, "300", {"eve": {"done": 100}}, f"{toy.name}:build", toy.root)
    assert list(same.comparison.not_compared) == [], str(same)
    toy.change("append([self.done])", "append([self.done % 150])")
    result = resume_from_checkpoint(run, "300", f"{toy.name}:build", toy.root)
    assert not result.comparison, str(result)
    assert "ended with different content" in result.comparison.not_compared["ann.world"], str(result)
    assert "are alike in everything that could be compared" in str(result)


FACTORY = """
def build(spec):
    world = World()
    world.agents = [Worker(name, world) for name in ("ann", "bob", "eve")]
    return {worker.agent_id: worker for worker in world.agents}
"""


def test_an_unchanged_fork_of_agents_that_share_a_world_is_alike(toy):
    toy.record(WORLD.replace("{}", "self.done") + FACTORY)
    run = list_sessions(toy.root)[0].session_id
    result = resume_from_checkpoint(run, "300", f"{toy.name}:build", toy.root)
    assert (result.exit_code, result.comparison.exit_code) == (0, 0), str(result)
    assert "agree" in str(result)
    assert not result.comparison.not_compared


def test_the_directories_of_a_session_are_not_listed_again_for_each_agent_and_run(toy, monkeypatch):
    def scans(agents, runs):
        toy.record(
            RING.replace("TICKS, AGENTS = 120, 4", f"TICKS, AGENTS = 2, {agents}")
            + f"""
from Agent.flight import recorder
ring = main
def main():
    ring()
    for _ in range({runs}):
        with recorder.run("r"):
            pass
"""
        )
        session = list_sessions(toy.root)[-1]
        os.utime(agents_dir(session.path), (1e9, 1e9))  # as if it had been recorded long ago
        seen = []
        scan = layout.scan
        with monkeypatch.context() as patched:
            patched.setattr(layout, "scan", lambda path: seen.append(path) or scan(path))
            assert not compare_runs(session.session_id, session.session_id, toy.root)
        return Counter(path.name for path in seen)

    few, many = scans(3, 3), scans(12, 12)
    assert many["agents"] == few["agents"]
    assert many["runs"] - few["runs"] <= 2 * 9 * 2  # each agent's events may be in any run
