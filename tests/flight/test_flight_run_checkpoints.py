"""Checkpoints that a run takes by itself: when, of whom, under which name, and what they cost the program: nothing."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.session_files import session_directories, session_events

from Agent import health, setup_logging, shutdown_logging, tick
from Agent.analysis.analyzer import LogAnalyzer
from Agent.flight import (
    CheckpointPolicy,
    RetentionPolicy,
    StepEvent,
    ToolReplayer,
    checkpoint_store,
    find_run,
    read_run,
    recorder,
)
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.utils import SystemLogger, trace_agent_action


class Counter:
    """An agent that counts; it has something large, which is recorded in full states only."""

    agent_version = "1.2"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.count = 0
        self.large = ["x" * 50] * 200

    @trace_agent_action("count")
    def add(self, fail: bool = False) -> int:
        self.count += 1
        self.large[self.count % 200] = f"changed {self.count}"
        if fail:
            raise ValueError("as it was told")
        return self.count


@pytest.fixture
def agents(trace_root: Path) -> list[Counter]:
    setup_logging()
    return [Counter("a"), Counter("b")]


def kept(run_id: str, agent_id: str | None = None) -> list[tuple[str, str | None, str | None]]:
    """Step, agent and reason of each checkpoint; of one agent where it is named."""
    found = checkpoint_store.list_checkpoints(run_id, agent_id)
    return [(each.step_id, each.agent_id, each.reason) for each in found]


def events_of_kind(trace_root: Path, kind: str) -> list[dict[str, Any]]:
    (session,) = session_directories(trace_root)
    return [event for event in session_events(session) if event.get("extra", {}).get("event_type") == kind]


def test_each_agent_is_kept_behind_every_third_of_its_actions(agents: list[Counter]) -> None:
    with recorder.run("counting", checkpoints=CheckpointPolicy(every_steps=3)) as run:
        for number in range(7):
            agents[0].add()
            if number < 4:
                agents[1].add()
    assert kept(run.run_id) == [("step_3", "a", "step"), ("step_3", "b", "step"), ("step_6", "a", "step")]
    found = checkpoint_store.load_checkpoint(run.run_id, "step_6", "a")
    assert found.state["count"] == 6 and found.state["large"][6] == "changed 6"
    assert found.agent_version == "1.2" and found.code is not None


def test_an_action_within_a_step_is_kept_under_that_step_and_a_second_one_under_a_number(
    agents: list[Counter],
) -> None:
    with recorder.run("counting", checkpoints=CheckpointPolicy(every_steps=1)) as run:
        for _ in range(2):
            with recorder.step("fetch"):
                agents[0].add()
                agents[0].add()
    assert [step for step, _, _ in kept(run.run_id)] == ["fetch", "fetch-2", "fetch-3", "fetch-4"]
    states = [
        checkpoint_store.load_checkpoint(run.run_id, step).state["count"] for step, _, _ in kept(run.run_id)
    ]
    assert states == [1, 2, 3, 4]


def test_ticks_are_kept_at_their_ends_when_every_agent_has_acted(agents: list[Counter]) -> None:
    with recorder.run("ticking", checkpoints=CheckpointPolicy(every_ticks=5, of="both")) as run:
        for number in range(11):
            with tick(number):
                agents[0].add()
                agents[1].add()
                agents[0].add()
    assert kept(run.run_id) == [
        ("tick_5", "a", "tick"), ("tick_5", "b", "tick"), ("tick_5", None, "tick"),
        ("tick_10", "a", "tick"), ("tick_10", "b", "tick"), ("tick_10", None, "tick"),
    ]  # fmt: skip
    whole = checkpoint_store.load_checkpoint(run.run_id, "tick_10")
    assert {name: state["count"] for name, state in whole.state.items()} == {"a": 22, "b": 11}
    assert whole.tick == 10
    assert (whole.agent_version, whole.agent_id) == ("1.2", None) and whole.code is not None


def test_the_first_step_of_a_phase_is_kept(agents: list[Counter]) -> None:
    policy = CheckpointPolicy(phases={"train"})
    with recorder.run("phases", checkpoints=policy) as run:
        agents[0].add()
        SystemLogger().log_phase("train")
        agents[0].add()
        agents[0].add()
        SystemLogger().log_phase("rest")
        agents[0].add()
    assert kept(run.run_id) == [("step_2", "a", "phase")]
    assert checkpoint_store.load_checkpoint(run.run_id, "step_2").phase == "train"


def test_time_that_has_gone_by_is_a_reason(agents: list[Counter], monkeypatch: pytest.MonkeyPatch) -> None:
    from Agent.record.emit import installed

    with recorder.run("waiting", checkpoints=CheckpointPolicy(every_seconds=60)) as run:
        now_ns = installed.active.monotonic_ns()
        for seconds in (0, 59, 61, 100, 122):
            monkeypatch.setattr(installed.active, "monotonic_ns", lambda s=seconds: now_ns + s * 10**9)
            agents[0].add()
    assert kept(run.run_id) == [("step_3", "a", "time"), ("step_5", "a", "time")]


def test_a_failed_action_is_kept_in_every_run_also_in_one_that_is_not_sampled(agents: list[Counter]) -> None:
    with recorder.run("failing", checkpoints=CheckpointPolicy(every_steps=1, sample=0.0)) as run:
        agents[0].add()
        with pytest.raises(ValueError, match="as it was told"):
            agents[0].add(fail=True)
    assert kept(run.run_id) == [("step_2", "a", "error")]
    assert checkpoint_store.load_checkpoint(run.run_id, "step_2").state["count"] == 2


def test_a_run_without_agents_says_itself_what_its_state_is(trace_root: Path) -> None:
    state = {"visited": {("a", 1)}, "count": 0}
    labels = {"agent_version": "2.0"}
    policy = CheckpointPolicy(every_steps=2)
    with recorder.run("plain", labels, checkpoints=policy, state=lambda: state) as run:
        for number in range(5):
            with recorder.step(f"step_{number}"):
                state["count"] += 1
    assert [step for step, _, _ in kept(run.run_id)] == ["step_1", "step_3"]
    found = checkpoint_store.load_checkpoint(run.run_id, "step_3")
    assert found.state == {"visited": {("a", 1)}, "count": 4}
    assert found.agent_version == "2.0" and found.code is not None


def test_a_run_that_fails_outside_of_any_step_leaves_its_state(trace_root: Path) -> None:
    state = {"count": 7}
    with pytest.raises(ValueError), recorder.run("failing", state=state) as run:  # noqa: PT012
        state["count"] += 1
        raise ValueError
    assert kept(run.run_id) == [("failure", None, "error")]
    assert checkpoint_store.load_checkpoint(run.run_id, "failure").state == {"count": 8}


def test_an_object_with_trace_state_is_asked_for_it(trace_root: Path) -> None:
    class Model:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.grid = [0, 0]

        def trace_state(self) -> dict[str, Any]:
            return {"grid": self.grid}

    model = Model()
    policy = CheckpointPolicy(every_steps=1)
    with recorder.run("model", checkpoints=policy, state=model) as run, recorder.step("one"):
        model.grid[1] = 5
    assert checkpoint_store.load_checkpoint(run.run_id, "one").state == {"grid": [0, 5]}


def test_every_checkpoint_is_an_event_of_its_run_and_agent(agents: list[Counter], trace_root: Path) -> None:
    with recorder.run("counting", checkpoints=CheckpointPolicy(every_steps=1, of="both")) as run:
        agents[0].add()
    checkpoint_store.save_checkpoint("by-hand", "one", {"n": 1})
    shutdown_logging()
    events = events_of_kind(trace_root, "checkpoint")
    told = [(event["run_id"], event["extra"].get("agent_id"), event["extra"]["step_id"]) for event in events]
    assert told == [(run.run_id, "a", "step_1"), (run.run_id, None, "step_1"), ("by-hand", None, "one")]
    (info,) = checkpoint_store.list_checkpoints(run.run_id, "a")
    extra = events[0]["extra"]
    assert (extra["digest"], extra["code_version"], extra["agent_version"]) == (info.digest, info.code, "1.2")
    assert (extra["reason"], extra["stored_as"], extra["state_bytes"]) == (
        "step",
        "snapshot",
        info.state_bytes,
    )
    (action,) = events_of_kind(trace_root, "agent_action")
    assert (info.event_id, info.code) == (action["id"], action["code"])


def test_state_at_says_that_an_array_of_which_only_a_digest_is_recorded_may_be_older(
    agents: list[Counter], trace_root: Path
) -> None:
    agents[0].large = {"layer": np.zeros(60_000)}
    for number in range(4):
        agents[0].add()
        agents[0].large["layer"][number] = 1
    found = LogAnalyzer().state_at("a")
    assert (found["fields"]["count"], found["sampled"]) == (4, ["large"])


def test_state_at_knows_large_fields_from_the_last_checkpoint(
    agents: list[Counter], trace_root: Path
) -> None:
    agent = agents[0]
    with recorder.run("counting", checkpoints=CheckpointPolicy(every_steps=5)):
        for _ in range(7):
            agent.add()
    found = LogAnalyzer().state_at("a")
    assert (found["fields"]["count"], found["fields"]["large"][5]) == (7, "changed 5")
    assert (found["made_by"]["large"]["action"], found["sampled"]) == ("checkpoint", ["large"])
    # without its checkpoints the record gives the full state before all actions, as it did
    checkpoint_store.prune(RetentionPolicy(keep_days=0))
    found = LogAnalyzer().state_at("a")
    assert (found["fields"]["count"], found["fields"]["large"][5]) == (7, "x" * 50)


def test_the_fold_and_the_checkpoints_agree_at_each_of_them(agents: list[Counter], trace_root: Path) -> None:
    chance = random.Random(5)
    with recorder.run("counting", checkpoints=CheckpointPolicy(every_steps=4)) as run:
        for _ in range(40):
            agents[chance.randrange(2)].add()
    shutdown_logging()
    analyzer = LogAnalyzer()
    for agent_id in ("a", "b"):
        for info in checkpoint_store.list_checkpoints(run.run_id, agent_id):
            state = checkpoint_store.load_checkpoint(run.run_id, info.step_id, agent_id).state
            (event,) = [
                each["id"]
                for each in analyzer.checkpoints(agent_id)
                if each["event_type"] == "checkpoint" and each["name"] == info.step_id
            ]
            assert analyzer.state_at(agent_id, event)["fields"] == state


def test_no_trouble_of_a_checkpoint_reaches_the_program_and_all_of_it_is_told(
    trace_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Angry(Counter):
        def trace_state(self) -> dict[str, Any]:
            if self.count == 2:
                raise RuntimeError("I will not say")
            return {"count": self.count}

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    setup_logging()
    agent = Angry("a")
    with recorder.run("angry", checkpoints=CheckpointPolicy(every_steps=1)) as run:
        agent.add()
        agent.add()
        with monkeypatch.context() as patch:
            patch.setattr("Agent.flight.checkpoints.run.append_frame", refused)
            assert agent.add() == 3
        agent.add()
    assert [step for step, _, _ in kept(run.run_id)] == ["step_1", "step_4"]
    assert health()["dropped"] == {
        "a checkpoint could not be taken": 1,
        "a checkpoint could not be written": 1,
    }
    told = capfd.readouterr().err
    assert "I will not say" in told and "No space left" in told


def test_what_is_done_to_tell_the_state_is_no_step(trace_root: Path) -> None:
    asked = []

    def state() -> dict[str, int]:
        with recorder.step(f"asked_{len(asked)}"):
            asked.append(1)
        return {"asked": len(asked)}

    policy = CheckpointPolicy(every_steps=1)
    with recorder.run("curious", checkpoints=policy, state=state) as run, recorder.step("one"):
        pass
    assert kept(run.run_id) == [("one", None, "step")]


def test_a_policy_that_is_none_is_counted_and_the_run_goes_on(trace_root: Path) -> None:
    with recorder.run("wrong", checkpoints=10) as run:  # type: ignore[arg-type]
        pass
    assert read_run(find_run(run.run_id)).summary.state == "success"
    assert health()["dropped"] != {}


def test_a_run_that_exposes_nothing_says_so(trace_root: Path) -> None:
    with recorder.run("empty", checkpoints=CheckpointPolicy(every_steps=1)), recorder.step("one"):
        pass
    assert health()["notes"] == {"a run has a checkpoint policy, but nothing in it exposed state": 1}


def test_threads_that_take_part_are_kept_each_with_its_own_steps(agents: list[Counter]) -> None:
    with recorder.run("threads", checkpoints=CheckpointPolicy(every_steps=10)) as run:

        def work(agent: Counter) -> None:
            with recorder.attach(run.run_id):
                for _ in range(50):
                    agent.add()

        threads = [threading.Thread(target=work, args=[agent]) for agent in agents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for agent_id in ("a", "b"):
        assert [step for step, _, _ in kept(run.run_id, agent_id)] == [
            f"step_{n}" for n in (10, 20, 30, 40, 50)
        ]


def test_failed_and_crashed_runs_outlive_those_that_went_well(
    agents: list[Counter], trace_root: Path
) -> None:
    runs = {}
    for name in ("well", "ill", "crashed"):
        runs[name] = recorder.start_run(name, checkpoints=CheckpointPolicy(every_steps=1))
        agents[0].add()
        if name != "crashed":
            recorder.finish_run(ok=name == "well")
    shutdown_logging()
    (session,) = session_directories(trace_root)
    with LocalCheckpointStore(session) as store:
        gone = store.prune(RetentionPolicy(keep_days=0, keep_failed_days=90))
        assert gone.runs == 1 and sorted(store.runs()) == sorted([runs["ill"], runs["crashed"]])


def test_a_step_event_comes_back_as_it_was_given(trace_root: Path) -> None:
    steps = [
        StepEvent(
            step_id=f"step_{number}",
            input_state={"tries": number},
            decision="search",
            tool_name="search_docs",
            tool_args={"query": f"q{number}"},
            tool_result={"docs": [number]},
            output_state={"tries": number + 1, "seen": {number}},
        )
        for number in range(4)
    ]
    with recorder.run("steps", checkpoints=CheckpointPolicy(every_steps=2)) as run:
        for step in steps:
            recorder.record_step(step)
    record = read_run(find_run(run.run_id))
    assert list(record.step_events()) == steps
    assert [step.step_id for step in record.steps] == [step.step_id for step in steps]
    assert ToolReplayer(run.run_id).replay("search_docs", {"query": "q2"}) == {"docs": [2]}
    assert [info.step_id for info in record.checkpoints()] == ["step_1", "step_3"]
    assert checkpoint_store.load_checkpoint(run.run_id, "step_3").state == steps[3].output_state


def test_what_is_no_step_is_counted_and_not_raised(trace_root: Path) -> None:
    with recorder.run("steps"):
        assert recorder.record_step({"decision": "none"}) == ""  # type: ignore[arg-type]
    assert health()["dropped"] == {"an event of a run could not be made": 1}
