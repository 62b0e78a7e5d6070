"""The last state of agents that are gone before recording ends: what stands in it, and what is never kept for it."""

import dataclasses
import gc
import random
import sys
import threading
import weakref
from collections import Counter, defaultdict, deque
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from record_kit import recording
from strategies import hostile_values

from Agent import tick
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.state.agents import agent_id_of
from Agent.record.state.plain_data import is_plain_data
from Agent.record.tracing.state_events import emit_last_states
from Agent.utils import trace_agent_action

ROWS = [0] * 3000


class Agent:
    """One traced method that does whatever the test hands in."""

    def __init__(self, agent_id="p", **fields):
        self.agent_id = agent_id
        vars(self).update(fields)

    @trace_agent_action(capture_args=False, capture_result=False)
    def act(self, change=None):
        if change is not None:
            change(self)


@dataclasses.dataclass
class Order:
    name: str
    parts: list


def gone(found):
    return [event for event in found.of("state") if event["extra"]["reason"] == "gone"]


def act_and_go(agent_id="p", change=None, **fields):
    """An agent acts once and is gone; a weak reference to it."""
    agent = Agent(agent_id, **fields)
    agent.act(change)
    return weakref.ref(agent)


def test_the_next_action_of_any_agent_writes_the_last_state_of_one_that_is_gone(recorded):
    act_and_go(
        "a", lambda agent: (agent.rows.append(7), agent.rng.random()), rows=[*ROWS], rng=random.Random(3), n=1
    )
    assert gone(recorded) == []
    with tick(4):
        Agent("b").act()
    (event,) = gone(recorded)
    fields = decode_value(event["extra"]["fields"], event["types"], "/extra/fields")
    drawn = random.Random(3)
    drawn.random()
    assert fields["rows"] == [*ROWS, 7] and fields["n"] == 1 and fields["agent_id"] == "a"
    assert fields["rng"].getstate() == drawn.getstate()
    assert event["extra"]["agent_id"] == "a" and event["extra"]["class"].endswith(".Agent")
    assert "shared" not in event["extra"] and "unseen" not in event["extra"]
    # Whoever acts next has nothing to do with it.
    assert "tick" not in event and "parent_span_id" not in event
    assert recorded.of("state")[-1]["extra"]["agent_id"] == "b"


def test_the_end_of_recording_writes_the_last_states_of_all_that_are_gone(recorded):
    kept = Agent("kept", rows=[*ROWS])
    kept.act()
    for number in range(3):
        act_and_go(f"a{number}", rows=[*ROWS, number])
    emit_last_states(recorded.pipeline)
    ends = [(each["extra"]["agent_id"], each["extra"]["reason"]) for each in recorded.of("state")]
    assert sorted(end for end in ends if end[1] != "first") == [
        ("a0", "gone"),
        ("a1", "gone"),
        ("a2", "gone"),
        ("kept", "exit"),
    ]
    emit_last_states(recorded.pipeline)
    assert len(gone(recorded)) == 3


def test_agents_whose_actions_show_all_of_their_state_leave_one_only_after_the_last_action_of_all(recorded):
    act_and_go("first", x=1, rows=[1, 2], text="short", last=None)
    act_and_go("second", x=1, rows=[1, 2], text="short", last=None)
    emit_last_states(recorded.pipeline)
    (last,) = gone(recorded)
    assert (last["extra"]["agent_id"], last["extra"]["fields"]["rows"]) == ("second", [1, 2])
    assert "unchecked" not in last["extra"]


def test_agents_that_never_acted_leave_none(recorded):
    agent = Agent(rows=[*ROWS])
    recorded.pipeline.agents.find(agent)
    del agent
    emit_last_states(recorded.pipeline)
    assert recorded.of("state") == []


@pytest.mark.integration
@given(st.dictionaries(st.sampled_from(["x", "y", "z", "password"]), hostile_values, max_size=3))
def test_a_last_state_says_what_the_end_of_a_living_agent_says(fields):
    with recording() as found:
        agent = Agent(**{**fields, "rows": [*ROWS], "peer": None})
        other = Agent("other")
        agent.act(lambda agent: setattr(agent, "peer", other))
        emit_last_states(found.pipeline)
        living = found.of("state")[-1]
        agent.act()
        fields.clear()
        del agent
        emit_last_states(found.pipeline)
        ended = [event for event in gone(found) if event["extra"]["agent_id"] == "p"]
        if not ended:
            return  # something in the hostile values holds the agent by itself
        (event,) = ended
        hidden = {*living["extra"].get("unseen", ()), *event["extra"].get("unseen", ())}
        assert _fields(event, hidden) == _fields(living, hidden)


def _fields(event, hidden):
    fields = {name: value for name, value in event["extra"]["fields"].items() if name not in hidden}
    types = {
        at: tag for at, tag in event.get("types", {}).items() if at.split("/")[3].replace("~1", "/") in fields
    }
    return fields, types


def test_secrets_in_a_last_state_are_redacted(recorded):
    act_and_go(rows=[*ROWS, "hunter2-xyz"], password="hunter2-xyz", config={"api_key": "hunter2-xyz"})
    emit_last_states(recorded.pipeline)
    (event,) = gone(recorded)
    assert event["extra"]["fields"]["password"].startswith("[redacted:")
    assert event["extra"]["fields"]["config"]["api_key"].startswith("[redacted:")


def test_what_is_kept_lets_an_agent_go_that_was_in_it_from_the_start(recorded):
    class Holder(Agent):
        def __init__(self):
            super().__init__(rows=[*ROWS, self])

    holder = Holder()
    holder.act()
    holder.act(lambda agent: setattr(agent, "rows", [*agent.rows]))
    ref = weakref.ref(holder)
    del holder
    gc.collect()
    assert ref() is None
    emit_last_states(recorded.pipeline)
    (event,) = gone(recorded)
    assert "rows" not in event["extra"]["fields"]


@pytest.mark.parametrize(
    "put_in",
    [
        lambda rows, agent: rows.append(agent),
        lambda rows, agent: rows.append({"deep": [agent.act]}),
        lambda rows, agent: rows.append(lambda: agent),
    ],
)
def test_an_agent_that_its_large_field_holds_later_is_let_go_when_others_come(recorded, put_in):
    agent = Agent("a", rows=[*ROWS])
    agent.act()
    put_in(agent.rows, agent)  # behind its last action: nobody looks at it any more
    ref = weakref.ref(agent)
    del agent
    gc.collect()
    assert ref() is not None
    for number in range(3):
        act_and_go(f"b{number}", rows=[*ROWS])
    gc.collect()
    assert ref() is None


@pytest.mark.further
def test_agents_that_come_and_go_are_not_heaped_up_whatever_their_fields_come_to_hold(recorded):
    refs = []
    for number in range(200):
        agent = Agent(f"a{number}", rows=[*ROWS])
        agent.act()
        agent.rows.append(agent)
        refs.append(weakref.ref(agent))
        del agent
    gc.collect()
    assert sum(ref() is not None for ref in refs) < 10


def test_a_value_that_was_replaced_or_taken_away_is_not_kept(recorded):
    class Rows(list):
        pass

    agent = Agent(rows=Rows(ROWS), text="x" * 5000)
    ref = weakref.ref(agent.rows)
    agent.act()
    agent.act(lambda agent: setattr(agent, "rows", Rows(ROWS)))
    assert ref() is None
    ref = weakref.ref(agent.rows)
    agent.act(lambda agent: (setattr(agent, "rows", 3), setattr(agent, "text", "short")))
    assert ref() is None
    agent.act(lambda agent: setattr(agent, "rows", Rows(ROWS)))
    ref = weakref.ref(agent.rows)
    agent.act(lambda agent: delattr(agent, "rows"))
    assert ref() is None


def test_what_is_kept_goes_with_the_agent_once_its_last_state_is_written(recorded):
    class Rows(list):
        pass

    rows = Rows(ROWS)
    ref = weakref.ref(rows)
    act_and_go(rows=rows)
    del rows
    emit_last_states(recorded.pipeline)
    assert ref() is None


def test_a_value_that_somebody_else_still_holds_is_named_as_shared(recorded):
    grid, own = [*ROWS], [*ROWS]
    act_and_go("a", grid=grid, text="x" * 5000)
    act_and_go("b", grid=own)
    del own
    emit_last_states(recorded.pipeline)
    a, b = gone(recorded)
    assert a["extra"]["shared"] == ["grid"] and "shared" not in b["extra"]


def test_a_generator_that_several_agents_hold_is_named_with_the_other(recorded):
    rng = random.Random(3)
    one, other = Agent("a", rng=rng), Agent("b", rng=rng)
    one.act()
    other.act()
    del one, other, rng
    emit_last_states(recorded.pipeline)
    shared = {each["extra"]["agent_id"]: each["extra"]["shared_with"] for each in gone(recorded)}
    assert shared == {"a": {"rng": "b"}, "b": {"rng": "a"}}


def test_agents_that_go_in_many_threads_are_all_recorded_once(recorded):
    def work(number):
        for turn in range(5):
            act_and_go(f"a{number}-{turn}", rows=[*ROWS, number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emit_last_states(recorded.pipeline)
    ids = [event["extra"]["agent_id"] for event in gone(recorded)]
    assert sorted(ids) == sorted(f"a{number}-{turn}" for number in range(8) for turn in range(5))
    assert not recorded.health.dropped and not recorded.health.notes


def test_a_state_that_could_not_be_read_the_last_time_leaves_no_last_state(recorded):
    class Odd(Agent):
        is_broken = False

        def trace_state(self):
            if self.is_broken:
                raise RuntimeError("not now")
            return {"rows": [*ROWS]}

    odd = Odd()
    odd.act()
    odd.is_broken = True
    odd.act()
    del odd
    emit_last_states(recorded.pipeline)
    assert gone(recorded) == []


def test_a_child_process_does_not_write_the_last_states_of_its_parent(recorded):
    agent = Agent("b", rows=[*ROWS])
    agent.act()
    act_and_go("a", rows=[*ROWS])
    recorded.pipeline.agents.forget_states()
    del agent
    emit_last_states(recorded.pipeline)
    assert gone(recorded) == []


def test_nothing_is_kept_where_nobody_asked_for_last_states():
    with recording(RecordOptions(gone_states=False)) as found:
        agent = Agent(rows=[*ROWS])
        agent.act()
        known = found.pipeline.agents.find(agent)
        assert known.tracker.heavy == {"rows"} and known.tracker.kept == {}
        del agent
        emit_last_states(found.pipeline)
        assert gone(found) == []


def test_the_fold_keeps_what_it_knew_of_large_fields_that_could_not_be_kept(recorded):
    from Agent.event.codec import decode_line

    act_and_go("a", lambda agent: agent.rows.append(1), rows=[*ROWS, Agent("peer")], more=[*ROWS], x=1)
    emit_last_states(recorded.pipeline)
    fold = fold_events(StateFold(), map(decode_line, recorded.sink.lines))
    assert fold.base is not None and fold.base.extra["reason"] == "gone"
    assert len(fold.fields["rows"]) == 3001 and fold.tags["rows"] == {"/3000": "agent"}
    assert fold.fields["x"] == 1 and {"more", "rows"} <= {*fold.sampled}


class Rng(random.Random):
    pass


class Ending:
    def __del__(self):
        pass


@pytest.mark.parametrize(
    "value",
    [
        [1, "x", None, 2.5, b"y"],
        {"a": [1, {"b": (1, {2})}], 3: frozenset({4})},
        defaultdict(list, {"a": [1]}),
        Counter("abc"),
        deque([[1], [2]]),
        [Order("tea", [1, [2]])] * 3,
        np.arange(10),
        np.random.default_rng(3),
        random.Random(3),
        Rng(3),
        "x" * 5000,
        [lambda: 1, print, len],
        defaultdict(lambda: 1),
        [partial(max, key=len)],
        np.array([[1], "x"], dtype=object),
        pd.DataFrame({"arm": ["one", "two"], "when": pd.to_datetime(["2020-01-01", "2021-01-01"])}),
        pd.Series([[1], {2}], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        TypeAdapter(list[int]),
    ],
)
def test_data_is_told_from_what_may_lead_anywhere(value):
    assert is_plain_data(value, object(), agent_id_of)


@pytest.mark.parametrize(
    "value",
    [
        [lambda own=Agent("other"): own],
        {"lock": threading.Lock()},
        [Agent("other")],
        [Order("tea", [Agent("other")])],
        [partial(max, key=Agent("other").act)],
        [Ending()],
        [Agent("other").act],
        [sys.stdout],
        (number for number in range(3)),
        np.array([Agent("other")], dtype=object),
        [np.array([(1, Agent("other"))], dtype=[("a", int), ("b", object)])],
        pd.DataFrame({"who": [Agent("other")]}),
    ],
)
def test_what_may_lead_anywhere_is_told_from_data(value):
    assert not is_plain_data(value, object(), agent_id_of)


def test_adopted_generators_are_plain_data_too():
    from Agent.flight import recorder

    for generator in (random.Random(3), Rng(3), np.random.default_rng(3), np.random.RandomState(3)):
        assert is_plain_data([recorder.adopt(generator)], object(), agent_id_of)


def test_a_generator_that_holds_its_agent_is_no_plain_data():
    agent, rng = Agent(), Rng(3)
    rng.owner = agent
    assert not is_plain_data(rng, agent, agent_id_of)
    rows = [1]
    rows.append(rows)
    assert is_plain_data(rows, agent, agent_id_of)
    assert not is_plain_data(rows, rows, agent_id_of)
