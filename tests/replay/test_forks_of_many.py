"""Forks in which more than one agent takes part: simulations, peers that answer or run, tasks of a loop."""

import pytest
from test_whole_runs import SIMULATION

from Agent import setup_logging, shutdown_logging
from Agent.errors import UsageError
from Agent.replay import fork_run, remember_target, resume_from_checkpoint, sweep_forks
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions

PEERS = """
class Oracle:
    def __init__(self):
        self.agent_id, self.agent_role, self.asked = "oracle", "tool", 0

    @trace_agent_action
    def answer(self, question):
        self.asked += 1
        if question == "bad":
            raise KeyError("no answer")
        return f"{question}!"

class Asker:
    def __init__(self, oracle):
        self.agent_id, self.agent_role = "a", "asker"
        self.oracle, self.topic, self.heard, self.failed = oracle, "tea", [], 0

    @trace_agent_action
    async def ask(self, number):
        import asyncio
        await asyncio.sleep(0)
        try:
            self.heard.append(self.oracle.answer("bad" if number == 3 else f"{self.topic} {number}"))
        except KeyError:
            self.failed += 1
        return len(self.heard)

def main():
    import asyncio
    async def go():
        asker = Asker(Oracle())
        for number in range(1, 6):
            await asker.ask(number)
    asyncio.run(go())

def build(spec):
    return Asker(spec.peer("oracle"))

def build_with_oracle(spec):
    return Asker(Oracle())

def build_both(spec):
    oracle = Oracle()
    return {"a": Asker(oracle), "oracle": oracle}
"""


def origin(toy, agent="/a"):
    return f"{list_sessions(toy.root)[0].session_id}{agent}"


def fork(toy, step, patch=None, factory="build", agent="/a", **how):
    return fork_run(origin(toy, agent), step, patch, f"{toy.name}:{factory}", toy.root, **how)[1]


def test_peers_answer_a_resumed_agent_from_the_record_errors_included(toy):
    toy.record(PEERS)
    result = resume_from_checkpoint(origin(toy), "step_1", f"{toy.name}:build", toy.root)
    assert (result.state["heard"], result.state["failed"]) == (["tea 1!", "tea 2!", "tea 4!", "tea 5!"], 1)
    assert result.outcome.answered == {"oracle": 4}
    assert not result.comparison


@pytest.mark.further
def test_a_peer_that_is_asked_something_new_ends_the_fork_and_a_stand_in_cannot_be_live(toy):
    toy.record(PEERS)
    for live in (False, ["oracle"]):
        result = fork(toy, "step_1", {"topic": "rum"}, live=live)
        assert not result.completed
        assert "answer of oracle" in result.stopped
        assert "rum 2" in result.stopped


@pytest.mark.further
def test_a_real_peer_is_called_only_where_that_is_allowed(toy):
    toy.record(PEERS)
    result = fork(toy, "step_1", {"topic": "rum"}, "build_with_oracle")
    assert "--live oracle" in result.stopped
    result = fork(toy, "step_1", {"topic": "rum"}, "build_with_oracle", live="oracle")
    assert result.state["heard"] == ["tea 1!", "rum 2!", "rum 4!", "rum 5!"]
    assert result.outcome.live == {"oracle": 4}
    assert result.comparison.divergence.agent_id == "a"


@pytest.mark.further
def test_agents_with_objects_of_their_own_are_patched_by_name(toy):
    toy.record(PEERS)
    patch = {"oracle": {"asked": 10}, "a": {"topic": "rum"}}
    result = fork(toy, "step_2", patch, "build_both", agent="")
    assert result.states["oracle"]["asked"] == 13
    assert result.states["a"]["heard"][-1] == "rum 5!"
    assert sorted(result.outcome.changed) == ["a.topic", "oracle.asked"]
    operations = [{"op": "replace", "path": "/oracle/asked", "value": 0}]
    assert fork(toy, "step_2", operations, "build_both", agent="").states["oracle"]["asked"] == 3
    with pytest.raises(UsageError, match="'nobody'"):
        fork(toy, "step_2", {"nobody": {}}, "build_both", agent="")


@pytest.mark.further
def test_a_whole_simulation_goes_on_by_itself_and_what_is_changed_in_one_reaches_others(toy):
    toy.record(SIMULATION)
    same = resume_from_checkpoint(origin(toy, ""), "step_2", f"{toy.name}:build", toy.root)
    assert same.outcome.redriven == 2
    assert not same.comparison
    assert same.comparison.compared > 3
    changed = fork(toy, "step_2", {"walker_1": {"place": 100}}, agent="")
    assert changed.states["walker_1"]["place"] > 90
    assert changed.comparison.divergence.agent_id == "walker_1"
    report = sweep_forks(
        origin(toy, ""), "step_2", seeds=range(6), outcome="walker_1.place",
        target=f"{toy.name}:build", root=toy.root,
    )  # fmt: skip
    assert len(report.counts) > 1


def test_what_is_remembered_before_the_first_event_begins_the_session(trace_root):
    remember_target("shop.agents:build")
    shutdown_logging()
    (session,) = list_sessions(trace_root)
    assert open_session(session.path).targets == {"*": "shop.agents:build"}


def test_a_session_remembers_a_target_that_it_is_told(toy):
    toy.record(PEERS)
    session = setup_logging(trace_root=toy.root)
    try:
        remember_target("shop.agents:build")
        remember_target("shop.agents:other", "b")
    finally:
        shutdown_logging()
    assert open_session(session.path).targets == {"*": "shop.agents:build", "b": "shop.agents:other"}
    with pytest.raises(UsageError, match="module:factory"):
        remember_target("shop")
