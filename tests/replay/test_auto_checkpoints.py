"""Checkpoints made of what agents did: those whose whole state is recorded, and which field hid the others."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from Agent import setup_logging, shutdown_logging, trace_agent_action
from Agent.errors import EventNotFound, RunNotFound
from Agent.replay import CheckpointManager


class Creator:
    def __init__(self, agent_id):
        self.agent_id, self.agent_role = agent_id, "creator"
        self.rng = random.Random(agent_id)
        self.posts = 0

    @trace_agent_action
    def publish(self, ok=True):
        self.posts += 1
        if not ok:
            raise ValueError("not ok")
        return self.rng.random()


@pytest.fixture
def recorded(trace_root):
    setup_logging(trace_root=trace_root)
    for name in ("a", "b"):
        creator = Creator(name)
        creator.publish()
        with pytest.raises(ValueError, match="not ok"):
            creator.publish(ok=False)
        creator.publish()
        creator.publish()
    shutdown_logging()
    return trace_root


def test_an_agent_with_a_generator_has_checkpoints_where_its_state_is_recorded_whole(recorded):
    async def main():
        manager = CheckpointManager(recorded)
        ids = await manager.auto_checkpoint_trace("last/a")
        return manager.hidden_by, [await manager.get_checkpoint(each) for each in ids]

    hidden_by, found = asyncio.run(main())
    assert hidden_by == ("rng",)
    assert [(each.info.step_id, each.state["posts"]) for each in found] == [
        ("start", 0),
        ("step_2", 2),
        ("step_4", 4),
    ]
    assert isinstance(found[1].state["rng"], random.Random)


def test_the_checkpoint_before_the_first_step_has_the_time_of_its_state(recorded):
    manager = CheckpointManager(recorded)
    asyncio.run(manager.auto_checkpoint_trace("last"))
    for saved in asyncio.run(manager.list_checkpoints("last")):
        age = datetime.now(UTC) - datetime.fromisoformat(saved.info.timestamp)
        assert age < timedelta(hours=1), saved.checkpoint_id


def test_of_many_agents_at_most_the_limit_have_a_checkpoint_before_their_first_step(trace_root):
    setup_logging(trace_root=trace_root)
    for number in range(10):
        Creator(f"agent_{number}").publish()
    shutdown_logging()
    ids = asyncio.run(CheckpointManager(trace_root).auto_checkpoint_trace("last", limit=4))
    starts = [each for each in ids if ":start" in each]
    assert 2 <= len(starts) <= 4 and len(ids) <= 9
    alone = asyncio.run(CheckpointManager(trace_root).auto_checkpoint_trace("last/agent_1"))
    assert sum(":start" in each for each in alone) == 1  # an agent that was left out is asked for by its id


def test_where_no_state_is_known_the_field_that_hides_it_is_named(trace_root):
    class Odd:
        agent_id = "odd"

        def __init__(self):
            self.lock = (each for each in ())

        @trace_agent_action
        def act(self):
            return 1

    setup_logging(trace_root=trace_root)
    Odd().act()
    shutdown_logging()
    manager = CheckpointManager(trace_root)
    with pytest.raises(EventNotFound, match="lock"):
        asyncio.run(manager.auto_checkpoint_trace("last/odd"))


class Counter:
    def __init__(self, agent_id):
        self.agent_id, self.count = agent_id, 0

    @trace_agent_action
    def step(self):
        self.count += 1


@pytest.mark.first_case
@pytest.mark.parametrize("agent_id", ["a", "x" * 3000, 17, "a/b", "a\0b"])
def test_an_agent_of_any_id_has_checkpoints_and_its_id_alone_names_no_run(trace_root, agent_id):
    setup_logging(trace_root=trace_root)
    Counter(agent_id).step()
    shutdown_logging()
    manager = CheckpointManager(trace_root)
    assert len(asyncio.run(manager.auto_checkpoint_trace(f"last/{agent_id}"))) == 2
    for name in (agent_id, f"{trace_root}/{agent_id}"):
        with pytest.raises(RunNotFound, match="no run"):
            asyncio.run(manager.auto_checkpoint_trace(name))
