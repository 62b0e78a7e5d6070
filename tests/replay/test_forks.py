"""Runs resumed and forked: from steps, checkpoints, events and ticks, with recorded answers and without."""

import pytest

from Agent.errors import EventNotFound, ReplayError, TargetNotGiven, UsageError
from Agent.flight import find_run, list_runs, read_run
from Agent.replay import compare_runs, fork_run, replay_run, resume_from_checkpoint
from Agent.tree.files.session import lineage_of, open_session
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

LOOP = """
from Agent.flight import record_tool
from Agent.flight import recorder

@record_tool
def search_docs(query, attempt):
    return {"docs": []}

class Searcher:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "searcher"
        self.max_retries, self.tries, self.answer, self.place = 2, 0, None, (1, 2)

    @trace_agent_action
    def run(self, query):
        with recorder.run("a"):
            number = 0
            while self.answer is None:
                number += 1
                with recorder.step(f"step_{number}"):
                    docs = search_docs(query, self.tries)["docs"]
                    self.tries += 1
                    if docs or self.tries >= self.max_retries:
                        self.answer = "gave up" if not docs else docs[0]
        return self.answer

def main():
    Searcher().run("weather")

def build(spec):
    return Searcher()
"""

COUNTER = """
import random

class Counter:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "counter"
        self.total, self.step_size, self.label = 0, 1, ("x", 1)

    @trace_agent_action
    def add(self, number):
        self.total += number * self.step_size
        if self.total > 100:
            raise ValueError("too much")
        return self.total

def main():
    from Agent import tick
    counter = Counter()
    for number in range(1, 9):
        with tick(number):
            counter.add(number)

def build(spec):
    return Counter()
"""

CHANCE = COUNTER.replace(
    'self.total, self.step_size, self.label = 0, 1, ("x", 1)',
    "self.total, self.step_size, self.chance = 0, 1, random.Random(1)",
).replace("number * self.step_size", "number * self.step_size + self.chance.randint(0, 3)")

FREE = """
from Agent.flight import checkpoint_store
from Agent.flight import recorder

class Walker:
    def __init__(self):
        self.state = {"place": 0, "stride": 1, "last": 6}

    def trace_restore(self, state):
        self.state = dict(state)

    def trace_state(self):
        return self.state

    def trace_resume(self):
        while self.state["place"] < self.state["last"]:
            self.walk()

    def walk(self):
        self.state["place"] += self.state["stride"]

def main():
    walker = Walker()
    with recorder.run("walker") as run:
        for number in range(6):
            with recorder.step(f"step_{number}"):
                walker.walk()
            checkpoint_store.save_checkpoint(run.run_id, f"step_{number}", walker.state)

def build(spec):
    return Walker()
"""


KEPT = """
import random
from Agent.flight import CheckpointPolicy
from Agent.flight import recorder

class Counter:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "counter"
        self.total, self.step_size, self.chance = 0, 1, random.Random(1)

    @trace_agent_action
    def add(self, number):
        self.total += number * self.step_size + self.chance.randint(0, 3)
        return self.total

def main():
    with recorder.run("a", checkpoints=CheckpointPolicy(every_steps=2)):
        counter = Counter()
        for number in range(1, 9):
            with recorder.step(f"step_{number}"):
                counter.add(number)

def build(spec):
    return Counter()
"""


def fork(toy, run, step, patch=None, **how):
    return fork_run(run, step, patch, f"{toy.name}:build", toy.root, **how)


def origin(toy):
    """The agent in the session that was recorded first; `last` is the newest fork by and by."""
    return f"{list_sessions(toy.root)[0].session_id}/a"


def newest(toy):
    return next(list_runs(toy.root)).run_id


def test_a_fork_goes_on_from_behind_an_action_with_the_state_changed(toy):
    toy.record(COUNTER)
    fork_id, result = fork(toy, origin(toy), "step_3", {"step_size": 10})
    assert (result.completed, result.outcome.steps, result.outcome.redriven) == (True, 5, 0)
    assert result.outcome.changed == ["step_size"]
    # 1 + 2 + 3, then ten times as much: 4, 5 and what goes beyond a hundred
    assert [error.error_type for error in result.errors] == ["ValueError"] * 3
    assert result.state["total"] == 6 + 10 * (4 + 5 + 6 + 7 + 8)
    assert result.state["label"] == ["x", 1]
    assert fork_id == result.fork_id


def test_a_fork_is_a_run_with_lineage_in_a_session_of_its_own_and_leaves_the_original_as_it_was(toy):
    toy.record(COUNTER)
    (original,) = list_sessions(toy.root)
    before = {path: path.read_bytes() for path in original.path.rglob("*") if path.is_file()}
    fork_id, result = fork(toy, origin(toy), "step_3", {"step_size": 2})
    assert {path: path.read_bytes() for path in original.path.rglob("*") if path.is_file()} == before
    lineage = lineage_of(result.session)
    assert (lineage.relation, lineage.run, lineage.step) == (
        "forked_from", f"{original.session_id}/a", "step_3",
    )  # fmt: skip
    assert (lineage.patch, lineage.agents, lineage.run_id) == ({"step_size": 2}, ("a",), fork_id)
    record = read_run(find_run(fork_id, toy.root))
    assert (record.summary.state, record.summary.agent) == ("success", "a")
    reader = TreeReader(result.session)
    assert reader.losses().total_lost == 0
    assert sum(event.kind == "agent_action" for event in reader.events()) == 5
    assert {event.run_id for event in reader.events() if event.kind == "agent_action"} == {fork_id}


def test_what_is_resumed_unchanged_does_the_same_again(toy):
    toy.record(COUNTER)
    result = resume_from_checkpoint(origin(toy), "step_3", f"{toy.name}:build", toy.root)
    assert lineage_of(result.session).relation == "resumed_from"
    assert open_session(result.session).argv == ("agent-trace", "resume")
    assert not result.comparison
    assert result.comparison.compared == 5
    assert result.state["total"] == 36
    assert result.exit_code == 0


def test_a_fork_is_compared_with_its_origin_from_where_it_goes_on(toy):
    toy.record(COUNTER)
    fork_id, result = fork(toy, origin(toy), "tick:6", {"step_size": 2})
    divergence = result.comparison.divergence
    assert (divergence.tick, divergence.agent_id, divergence.field) == (6, "a", "result")
    assert (divergence.a, divergence.b) == (21, 27)
    again = compare_runs(result.run, fork_id, toy.root)
    assert again.divergence == divergence
    assert result.exit_code == again.exit_code == 1


@pytest.mark.further
def test_a_fork_can_be_replayed_and_forked_again(toy):
    toy.record(COUNTER)
    fork_id, first = fork(toy, origin(toy), "step_3", {"step_size": 2})
    session = first.session.name.removeprefix("session_")
    assert replay_run(f"{session}/a", root=toy.root).verdict == "IDENTICAL"
    _, second = fork(toy, fork_id, "step_1", {"total": 0})
    assert second.state["total"] == 2 * (5 + 6 + 7 + 8)
    assert lineage_of(second.session).run == fork_id


def test_generators_are_brought_to_the_point_by_driving_what_stands_before_it_again(toy):
    toy.record(CHANCE)
    result = resume_from_checkpoint(origin(toy), "step_3", f"{toy.name}:build", toy.root)
    assert result.outcome.redriven == 3
    assert "(first)" in result.outcome.start
    assert not result.comparison
    assert result.comparison.compared == 5


@pytest.mark.further
def test_a_seed_changes_what_comes_by_chance_and_nothing_else(toy):
    toy.record(CHANCE)
    totals = {fork(toy, origin(toy), "step_3", seed=seed)[1].state["total"] for seed in (1, 1, 2, 3)}
    assert 2 <= len(totals) <= 3


def test_code_that_no_longer_does_what_stands_before_the_point_is_told(toy):
    toy.record(CHANCE).change("self.chance.randint(0, 3)", "self.chance.randint(0, 9)")
    with pytest.raises(ReplayError, match=r"step_3|action 3.*cannot be reached.*step 1"):
        fork(toy, origin(toy), "step_3", {"step_size": 2})
    assert len(list_sessions(toy.root)) == 1


def test_changed_code_goes_on_from_a_state_that_the_record_holds(toy):
    toy.record(COUNTER).change("self.total += number * self.step_size", "self.total += 0")
    result = resume_from_checkpoint(origin(toy), "step_3", f"{toy.name}:build", toy.root)
    assert result.state["total"] == 6
    assert result.comparison.divergence.field == "result"


@pytest.mark.further
def test_a_step_inside_an_action_is_reached_by_driving_the_action_again_and_changed_there(toy):
    toy.record(LOOP)
    run_id = newest(toy)
    fork_id, result = fork(toy, run_id, "step_1", {"max_retries": 1})
    assert result.completed
    assert result.state["tries"] == 2, "the check behind the first step was over when the state was changed"
    _, result = fork(toy, run_id, "step_1", {"answer": "sunny"})
    assert (result.state["tries"], result.state["answer"]) == (1, "sunny")
    steps = [step.step_id for step in read_run(find_run(run_id, toy.root)).steps]
    assert steps == ["step_1", "step_2"]
    assert compare_runs(run_id, fork_id, toy.root).compared > 0


@pytest.mark.further
def test_a_call_without_a_recorded_answer_ends_the_fork_with_its_name_unless_it_is_allowed(toy):
    toy.record(LOOP)
    run_id = newest(toy)
    _, stopped = fork(toy, run_id, "step_1", {"max_retries": 4})
    assert (stopped.completed, stopped.exit_code) == (False, 4)
    assert "search_docs" in stopped.stopped
    assert "--live search_docs" in stopped.stopped
    assert stopped.outcome.answered == {"search_docs": 2}
    assert read_run(find_run(stopped.fork_id, toy.root)).summary.state == "partial"
    _, allowed = fork(toy, run_id, "step_1", {"max_retries": 4}, live=["search_docs"])
    assert allowed.completed
    assert allowed.state["tries"] == 4
    assert allowed.outcome.live["search_docs"] >= 2


def test_a_patch_that_does_not_fit_inside_an_action_is_one_error_too(toy):
    toy.record(LOOP)
    with pytest.raises(UsageError, match="does not fit"):
        fork(toy, newest(toy), "step_1", [{"op": "remove", "path": "/nothing"}])
    assert len(list_sessions(toy.root)) == 1


@pytest.mark.further
def test_an_agent_that_goes_on_by_itself_takes_up_a_checkpoint(toy):
    toy.record(FREE)
    run_id = newest(toy)
    result = resume_from_checkpoint(run_id, "step_2", f"{toy.name}:build", toy.root)
    assert result.state == {"place": 6, "stride": 1, "last": 6}
    assert result.outcome.start == "checkpoint step_2"
    _, result = fork(toy, run_id, "step_2", {"stride": 2, "last": 9})
    assert result.state == {"place": 9, "stride": 2, "last": 9}


@pytest.mark.further
@pytest.mark.parametrize(("step", "start", "redriven"), [("step_4", "step_4", 0), ("step_5", "step_4", 1)])
def test_what_the_recorder_kept_of_generators_needs_no_driving_again(toy, step, start, redriven):
    toy.record(KEPT)
    result = resume_from_checkpoint(newest(toy), step, f"{toy.name}:build", toy.root)
    assert (result.outcome.start, result.outcome.redriven) == (f"checkpoint {start}", redriven)
    assert not result.comparison
    assert result.comparison.compared == 8 - int(step[-1])


def test_an_event_is_a_point_too(toy):
    toy.record(COUNTER)
    (session,) = list_sessions(toy.root)
    events = [event for event in TreeReader(session.path).events("a") if event.kind == "agent_action"]
    _, result = fork(toy, origin(toy), events[4].id, {"total": 0})
    assert (result.outcome.steps, result.state["total"]) == (3, 6 + 7 + 8)


@pytest.mark.further
def test_operations_of_a_json_patch_change_the_state(toy):
    toy.record(COUNTER)
    operations = [
        {"op": "test", "path": "/total", "value": 6},
        {"op": "replace", "path": "/label/0", "value": "y"},
        {"op": "replace", "path": "/step_size", "value": 0},
    ]
    _, result = fork(toy, origin(toy), "step_3", operations)
    assert (result.state["label"], result.state["total"]) == (["y", 1], 6)
    with pytest.raises(UsageError, match="does not fit"):
        fork(toy, origin(toy), "step_3", [{"op": "test", "path": "/total", "value": 7}])
    assert len(list_sessions(toy.root)) == 2, "what could not be done leaves no session"


def test_a_patch_of_a_field_that_was_not_there_is_told(toy):
    toy.record(COUNTER)
    _, result = fork(toy, origin(toy), "step_3", {"stepsize": 3})
    assert any("'stepsize'" in note for note in result.outcome.notes)


@pytest.mark.further
@pytest.mark.parametrize(
    ("step", "hint"),
    [("step_9", "8 replayed actions"), ("no_such_step", "8 replayed"), ("tick:99", "the last is of tick 8")],
)
def test_a_point_that_is_not_there_is_one_error_with_what_there_is(toy, step, hint):
    toy.record(COUNTER)
    with pytest.raises(EventNotFound, match=step) as caught:
        fork(toy, origin(toy), step, {"total": 0})
    assert hint in str(caught.value)
    assert len(list_sessions(toy.root)) == 1


def test_without_a_target_there_is_one_error_with_the_hint(toy):
    toy.record(COUNTER)
    with pytest.raises(TargetNotGiven, match="--target"):
        fork_run("last/a", "step_1", {"total": 0}, root=toy.root)


def test_something_that_is_no_patch_is_refused(toy):
    toy.record(COUNTER)
    with pytest.raises(UsageError, match="not a patch"):
        fork(toy, origin(toy), "step_1", "total=0")
