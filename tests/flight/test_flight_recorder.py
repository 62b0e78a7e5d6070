"""The recorder: runs, steps, model calls; nested, concurrent, in other threads and processes, and misused."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest
from support.processes import run_python
from support.session_files import kind_of, only_session, session_events

import Agent
from Agent import AgentLogger, SystemLogger, health, setup_logging, shutdown_logging, trace_context
from Agent.config.text_mirrors import as_log_record
from Agent.event.ids import uuid7_unix_ms
from Agent.flight import Recorder, recorder
from Agent.flight.schema import CURRENT_SCHEMA, migrate_event, validate_event
from Agent.testing import record_in_memory
from Agent.tree.read.reader import TreeReader


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_events(root: Path, run_id: str) -> list[dict]:
    """What stands in a run's own file, found as a reader of the document finds it."""
    return lines_of(root / "runs" / run_id / "events.jsonl")


def types_of(events: list[dict]) -> list[str]:
    return [event["type"] for event in events]


def test_a_run_is_one_file_of_flat_lines_that_each_say_their_type(trace_root):
    run_id = recorder.start_run("planner", {"environment": "test"})
    recorder.start_step("plan", "Make a plan")
    output_ref = recorder.finish_step("plan", "Make a plan", {"goal": "tea"})
    recorder.finish_run(ok=True)
    events = run_events(trace_root, run_id)
    assert types_of(events) == [
        "run.started",
        "step.started",
        "artifact.saved",
        "step.finished",
        "run.finished",
    ]
    started, _, saved, finished, ended = events
    assert (started["agent"], started["labels"]) == ("planner", {"environment": "test"})
    assert {event["agent_id"] for event in events} == {"planner"}
    assert {event["run_id"] for event in events} == {run_id}
    assert finished["output_ref"] == saved["ref"] == output_ref == "artifact://artifacts/steps/plan.json"
    assert (ended["ok"], ended["status"]) == (True, "success")
    assert all(list(event)[:2] == ["timestamp", "id"] for event in events)
    assert [problem for event in events for problem in validate_event(event)] == []
    assert all(migrate_event(event)["schema_version"] == CURRENT_SCHEMA for event in events)
    assert json.loads((trace_root / "runs" / run_id / "artifacts/steps/plan.json").read_text()) == {
        "goal": "tea"
    }


def test_a_joined_run_whose_first_line_is_damaged_is_recorded_without_its_agent_and_told(trace_root, capfd):
    begun = recorder.start_run("planner")
    recorder.finish_run(ok=True)
    run_id = begun[:-4] + "0000"
    (directory := only_session(trace_root) / "runs" / run_id).mkdir()
    (directory / "events.jsonl").write_bytes(b'{"torn": \n')
    recorder.start_step("plan", run_id=run_id)
    assert health()["notes"]["reading whose run it is: DamagedLine"] == 1
    assert "recording had trouble in reading whose run it is" in capfd.readouterr().err


def test_run_ids_are_uuids_in_the_order_of_time_and_the_link_is_relative(trace_root):
    first, second = recorder.start_run("a"), recorder.start_run("b")
    assert uuid7_unix_ms(first) <= uuid7_unix_ms(second)
    link = trace_root / "runs" / first
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == only_session(trace_root).resolve() / "runs" / first


def test_a_run_begins_though_the_program_replaced_functions_of_the_system(trace_root, monkeypatch):
    recorder.finish_step("before")
    monkeypatch.setattr(os, "urandom", None)
    first, second = recorder.start_run("a"), recorder.start_run("b")
    assert first != second
    assert types_of(run_events(trace_root, first)) == ["run.started"]


def test_files_and_directories_of_a_run_are_the_users_alone(trace_root):
    run_id = recorder.start_run("a")
    recorder.save_artifact("notes/long.txt", "x" * 9000)
    recorder.finish_run()
    session = only_session(trace_root)
    found = [
        session / "runs",
        session / "blobs",
        *session.joinpath("runs").rglob("*"),
        *session.joinpath("blobs").rglob("*"),
    ]
    assert run_id in {path.name for path in found}
    for path in found:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_numbers_of_run_events_are_the_sessions_so_losses_are_exact(trace_root):
    AgentLogger("bob").log_action("before")
    recorder.start_run("a")
    AgentLogger("bob").log_action("within")
    recorder.finish_run()
    shutdown_logging()
    session = only_session(trace_root)
    losses = TreeReader(session).losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    (run_file,) = session.glob("runs/*/events.jsonl")
    run_file.write_text(run_file.read_text().splitlines(keepends=True)[0])
    assert TreeReader(session).losses().total_lost == 1


def test_what_is_recorded_in_a_run_carries_its_id_and_hangs_under_its_step(trace_root):
    with recorder.run("a") as run, recorder.step("think"):
        AgentLogger("bob").log_action("act")
        SystemLogger().info("no agent of its own")
    AgentLogger("bob").log_action("after")
    shutdown_logging()
    events = session_events(only_session(trace_root))
    act, after = [event for event in events if kind_of(event) == "agent_action"]
    step = next(event for event in run_events(trace_root, run.run_id) if event["type"] == "step.finished")
    assert act["run_id"] == run.run_id
    assert act["parent_span_id"] == step["span_id"]
    assert "run_id" not in after
    plain = next(event for event in events if event.get("message") == "no agent of its own")
    assert (plain["run_id"], plain["extra"]["agent_id"]) == (run.run_id, "a")


def test_a_block_that_fails_ends_step_and_run_with_one_error_event(trace_root):
    with pytest.raises(ValueError, match="no tea"), recorder.run("a") as run, recorder.step("brew"):
        raise ValueError("no tea")
    shutdown_logging()
    events = run_events(trace_root, run.run_id)
    step, end = (next(e for e in events if e["type"] == t) for t in ("step.finished", "run.finished"))
    errors = [e for e in session_events(only_session(trace_root)) if kind_of(e) == "error"]
    assert len(errors) == 1
    assert step["error_id"] == end["error_id"] == errors[0]["id"]
    assert (end["ok"], end["status"], end["error"]) == (False, "failure", "ValueError: no tea")
    assert step["output_ref"]


def test_runs_nest_and_each_has_its_own_file(trace_root):
    outer = recorder.start_run("outer")
    inner = recorder.start_run("inner")
    recorder.start_step("deep")
    recorder.finish_step("deep", output=1)
    recorder.finish_run()
    recorder.start_step("shallow")
    recorder.finish_step("shallow", output=2)
    recorder.finish_run()
    assert run_events(trace_root, inner)[0]["parent_run_id"] == outer
    assert [e["step_id"] for e in run_events(trace_root, inner) if e["type"] == "step.finished"] == ["deep"]
    assert [e["step_id"] for e in run_events(trace_root, outer) if e["type"] == "step.finished"] == [
        "shallow"
    ]


def test_tasks_of_one_loop_have_runs_of_their_own(trace_root):
    async def work(number: int) -> str:
        async with recorder.run(f"task{number}") as run:
            for step in range(3):
                async with recorder.step(f"s{step}") as block:
                    await asyncio.sleep(0.001)
                    block.output = number
            return run.run_id

    async def main() -> list[str]:
        return await asyncio.gather(*(work(number) for number in range(8)))

    for number, run_id in enumerate(asyncio.run(main())):
        events = run_events(trace_root, run_id)
        assert {event["agent_id"] for event in events} == {f"task{number}"}
        assert types_of(events).count("step.finished") == 3


def test_threads_have_runs_of_their_own_and_may_take_part_in_another(trace_root):
    shared = recorder.start_run("shared")
    own: list[str] = []

    def alone() -> None:
        with recorder.run("alone") as run, recorder.step("x"):
            own.append(run.run_id)

    def together(number: int) -> None:
        with recorder.attach(shared), recorder.step(f"part{number}"):
            AgentLogger("bob").log_action("helps")

    threads = [threading.Thread(target=alone) for _ in range(3)]
    threads += [threading.Thread(target=together, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.finish_run()
    shutdown_logging()
    assert len({*own, shared}) == 4
    assert {e["step_id"] for e in run_events(trace_root, shared) if e["type"] == "step.finished"} == {
        "part0",
        "part1",
        "part2",
    }
    helps = [e for e in session_events(only_session(trace_root)) if kind_of(e) == "agent_action"]
    assert {event["run_id"] for event in helps} == {shared}


PROCESSES = """
import multiprocessing, sys
from Agent.flight import recorder

def take_part(run_id):
    with recorder.attach(run_id), recorder.step("child") as step:
        step.output = {"done": True}

if __name__ == "__main__":
    run_id = recorder.start_run("parent")
    for method in ("fork", "spawn"):
        child = multiprocessing.get_context(method).Process(target=take_part, args=(run_id,))
        child.start()
        child.join()
    recorder.finish_run()
    print(run_id)
"""


@pytest.mark.integration
def test_child_processes_write_further_files_of_the_run(trace_root, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROCESSES)
    done = run_python(str(program), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip()
    directory = trace_root / "runs" / run_id
    further = sorted(directory.glob("events@*.jsonl"))
    assert len(further) == 2
    for path in further:
        assert {event["agent_id"] for event in lines_of(path)} == {"parent"}
    session = only_session(trace_root)
    steps = [e for e in TreeReader(session).run_events(run_id) if e.kind == "step.finished"]
    assert len({event.writer for event in steps}) == 2
    assert len({event.extra["output_ref"] for event in steps}) == 2
    assert TreeReader(session).losses().total_lost == 0


def test_steps_that_overlap_end_in_any_order(trace_root):
    run_id = recorder.start_run("a")
    recorder.start_step("first")
    recorder.start_step("second")
    recorder.finish_step("first", output=1)
    recorder.finish_step("second", output=2)
    AgentLogger("bob").log_action("after both")
    recorder.finish_run()
    shutdown_logging()
    events = run_events(trace_root, run_id)
    ends = {e["step_id"]: e for e in events if e["type"] == "step.finished"}
    assert all(end["duration_ms"] >= 0 and "problem" not in end for end in ends.values())
    (action,) = [e for e in session_events(only_session(trace_root)) if kind_of(e) == "agent_action"]
    assert action["parent_span_id"] == events[-1]["span_id"]  # the run's, since no step is open


def test_a_step_that_comes_again_has_an_output_of_its_own_each_time(trace_root):
    run_id = recorder.start_run("a")
    refs = []
    for number in range(3):
        recorder.start_step("loop")
        refs.append(recorder.finish_step("loop", output=number))
    recorder.finish_run()
    place = trace_root / "runs" / run_id / "artifacts"
    found = [json.loads((place / ref.removeprefix("artifact://artifacts/")).read_text()) for ref in refs]
    assert found == [0, 1, 2]


def test_finishing_a_step_that_is_not_open_is_counted_told_once_and_kept(trace_root, capfd):
    run_id = recorder.start_run("a")
    for _ in range(2):
        ref = recorder.finish_step("never", output={"kept": True})
    recorder.finish_run()
    assert health()["notes"]["a step was finished that is not open"] == 2
    assert capfd.readouterr().err.count("a step was finished that is not open") == 1
    ends = [e for e in run_events(trace_root, run_id) if e["type"] == "step.finished"]
    assert [(e["problem"], e["level"]) for e in ends] == [("it was not open", "WARNING")] * 2
    assert json.loads((trace_root / "runs" / run_id / "artifacts/steps/never.json").read_text()) == {
        "kept": True
    }
    assert ref.endswith("never-2.json")
    shutdown_logging()
    told = [
        e for e in session_events(only_session(trace_root)) if e.get("level") == "WARNING" and "extra" in e
    ]
    assert len(told) == 2


def test_finishing_a_run_where_none_is_open_does_no_harm(trace_root):
    recorder.finish_run()
    recorder.finish_run(ok=False, error="x")
    assert health()["notes"]["a run was finished, but none is open"] == 2


def test_a_run_that_ends_names_the_steps_that_are_open(trace_root):
    run_id = recorder.start_run("a")
    recorder.start_step("one")
    recorder.start_step("two")
    recorder.finish_run(ok=False, error="gave up", status="partial")
    end = run_events(trace_root, run_id)[-1]
    assert (end["open_steps"], end["error"], end["status"]) == (["one", "two"], "gave up", "partial")
    assert recorder.current_run_id is None


def test_outside_of_a_run_events_go_to_the_agents_file_and_artifacts_to_the_root_run(trace_root):
    with trace_context(AgentLogger("bob"), "alone"):
        ref = recorder.save_artifact("note.txt", "hello")
    recorder.start_step("nobody's")
    recorder.finish_step("nobody's", output=1)
    shutdown_logging()
    session = only_session(trace_root)
    uid = json.loads((session / "session.json").read_text())["session_uid"]
    assert (trace_root / "runs" / uid / "artifacts" / "note.txt").read_text() == "hello"
    bobs = lines_of(session / "agents" / "bob.log")
    (saved,) = [event for event in bobs if event.get("type") == "artifact.saved"]
    assert (saved["ref"], saved["agent_id"]) == (ref, "bob")
    assert "run_id" not in saved
    assert [e["type"] for e in lines_of(session / "events.log")] == [
        "step.started",
        "artifact.saved",
        "step.finished",
    ]


def test_two_recorders_have_runs_of_their_own_in_one_place(trace_root):
    one, other = Recorder("one", {"team": "a"}), Recorder("other")
    first, second = one.start_run(labels={"n": 1}), other.start_run()
    one.start_step("s")
    one.finish_step("s", output=1)
    assert types_of(run_events(trace_root, first))[-1] == "step.finished"
    assert run_events(trace_root, first)[0]["labels"] == {"team": "a", "n": 1}
    assert (one.current_run_id, other.current_run_id) == (first, second)
    one.finish_run()
    other.finish_run()
    assert [run_events(trace_root, run)[-1]["type"] for run in (first, second)] == ["run.finished"] * 2


def test_a_model_call_keeps_prompt_and_output_and_gives_the_outputs_reference(trace_root):
    run_id = recorder.start_run("a")
    ref = recorder.record_model_call(
        step_id="s", call_id="call_1", model_name="m", params={"temperature": 0.7}, prompt="hi",
        output=[{"role": "assistant", "content": "hello"}], prompt_tokens=1, latency_ms=5, id="theirs", cost_usd=0.1,
    )  # fmt: skip
    recorder.finish_run()
    place = trace_root / "runs" / run_id / "artifacts"
    assert (place / "calls/call_1/prompt.txt").read_text() == "hi"
    assert (
        json.loads((place / ref.removeprefix("artifact://artifacts/")).read_text())[0]["content"] == "hello"
    )
    call = next(e for e in run_events(trace_root, run_id) if e["type"] == "model.call")
    assert (call["output_ref"], call["prompt_tokens"], call["cost_usd"]) == (ref, 1, 0.1)
    assert call["user.id"] == "theirs"


def test_what_is_below_the_level_leaves_nothing_but_ids(trace_root):
    setup_logging(level="ERROR")
    run_id = recorder.start_run("a")
    assert recorder.start_step("s") == ""
    assert recorder.finish_step("s", output=1) == "artifact://artifacts/steps/s.json"
    assert recorder.save_artifact("x.txt", "x") == "artifact://artifacts/x.txt"
    recorder.finish_run()
    assert uuid7_unix_ms(run_id)
    assert not (trace_root / "runs").exists()


def test_nothing_that_is_given_to_it_raises(trace_root):
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

        __str__ = __repr__

        def __getattr__(self, name):
            raise RuntimeError(name)

    for value in (Broken(), object(), None, b"\xff", "\ud800", {1: {2}}, float("nan"), [...]):
        run_id = recorder.start_run(value, {"x": value})
        recorder.start_step(value, value)
        recorder.finish_step(value, value, value)
        recorder.record_model_call(
            value, value, value, value, value, value, value, value, value, value, value
        )
        recorder.save_artifact(value, value, value)
        recorder.finish_run(value, value)
        assert run_events(trace_root, run_id)[-1]["type"] == "run.finished"
    assert not health()["dropped"]


def test_a_disk_that_is_full_for_artifacts_is_counted_and_the_events_stand(trace_root, monkeypatch):
    run_id = recorder.start_run("a")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("Agent.tree.write.artifacts.ArtifactFiles.save", full)
    recorder.start_step("s")
    assert recorder.finish_step("s", output=1) == "artifact://artifacts/steps/s.json"
    recorder.finish_run()
    assert health()["dropped"] == {"an artifact could not be stored": 1}
    assert types_of(run_events(trace_root, run_id)) == [
        "run.started",
        "step.started",
        "step.finished",
        "run.finished",
    ]


def test_recording_into_memory_keeps_the_events_and_no_files(trace_root):
    with record_in_memory() as memory, recorder.run("a"):
        recorder.save_artifact("x.txt", "hello")
    saved = next(event for event in memory.events if event.kind == "artifact.saved")
    assert saved.extra["size_bytes"] == 5
    assert not trace_root.exists()


def test_a_run_left_open_by_an_ended_session_does_not_leak_into_the_next(trace_root):
    recorder.start_run("a")
    shutdown_logging()
    second = recorder.start_run("b")
    assert "parent_run_id" not in run_events(trace_root, second)[0]
    recorder.finish_run()
    assert recorder.current_run_id is None


def test_the_journey_of_an_agent_holds_its_runs(trace_root):
    with recorder.run("walker"), recorder.step("walk"):
        AgentLogger("walker").log_action("step")
    with recorder.run("other"):
        pass
    shutdown_logging()
    reader = TreeReader(only_session(trace_root))
    kinds = [event.kind for event in reader.agent_events("walker")]
    assert kinds == [
        "run.started",
        "step.started",
        "agent_action",
        "artifact.saved",
        "step.finished",
        "run.finished",
    ]
    assert {agent.agent_id for agent in reader.agents()} == {"walker", "other"}
    assert Agent.LogAnalyzer().analyze_agent_activity("walker")["total_logs"] == 6


def test_what_an_agent_does_in_the_run_of_another_is_in_its_own_journey(trace_root):
    class Bot:
        agent_id = "bot"

        @Agent.trace_agent_action()
        def act(self):
            with recorder.step("think"):
                pass

    with recorder.run("task") as run:
        Bot().act()
        with recorder.step("close"):
            pass
    with recorder.run("nothing to do with it"):
        pass
    shutdown_logging()
    reader = TreeReader(only_session(trace_root))
    steps = [event for event in reader.agent_events("bot") if event.kind == "step.finished"]
    assert [(event.extra["step_id"], event.run_id) for event in steps] == [("think", run.run_id)]
    assert [event.extra.get("step_id") for event in reader.agent_events("task")] == [
        None,
        "close",
        "close",
        "close",
        None,
    ]
    lines = [event for _, event in reader.event_lines("bot")]
    assert [event.id for event in lines] == [event.id for event in reader.agent_events("bot")]


def test_the_mirror_of_events_shows_runs_and_handlers_get_them_as_records(trace_root):
    with recorder.run("a"), recorder.step("s"):
        pass
    shutdown_logging()
    mirrored = (trace_root / "events" / "events.log").read_bytes().strip().splitlines()
    assert [json.loads(line)["type"] for line in mirrored][:2] == ["run.started", "step.started"]
    record = as_log_record(mirrored[1])
    assert (record.getMessage(), record.levelname, record.event_type) == (
        "Step s started",
        "INFO",
        "step.started",
    )
    assert (record.agent_id, record.step_id) == ("a", "s")


def test_each_kind_of_run_event_is_a_log_record(trace_root):
    run_id = recorder.start_run("a")
    recorder.record_model_call(model_name="m", prompt="p", output="o")
    recorder.finish_step("never", output=1)
    recorder.finish_run(ok=False, error="x")
    shutdown_logging()
    records = [as_log_record(json.dumps(event).encode()) for event in run_events(trace_root, run_id)]
    assert [record.levelname for record in records if record.event_type == "step.finished"] == ["WARNING"]
    assert all(record.getMessage() for record in records)


@pytest.mark.parametrize("durability", ["kernel", "disk", "queued"])
def test_runs_are_whole_under_every_durability(trace_root, durability):
    setup_logging(durability=durability)
    with recorder.run("a") as run:
        for number in range(20):
            with recorder.step("s") as step:
                step.output = number
    shutdown_logging()
    events = run_events(trace_root, run.run_id)
    assert types_of(events).count("step.finished") == 20
    assert TreeReader(only_session(trace_root)).losses().total_lost == 0


@pytest.mark.process
def test_a_fork_in_the_middle_of_a_run_writes_a_file_of_its_own(trace_root):
    run_id = recorder.start_run("a")
    recorder.start_step("shared")
    pid = os.fork()
    if pid == 0:
        try:
            recorder.finish_step("shared", output="child")
            recorder.save_artifact("child.txt", "c")
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    recorder.finish_step("shared", output="parent")
    recorder.finish_run()
    events = [event.kind for event in TreeReader(only_session(trace_root)).run_events(run_id)]
    assert events.count("step.finished") == 2
    (further,) = (trace_root / "runs" / run_id).glob("events@*.jsonl")
    assert types_of(lines_of(further)) == ["artifact.saved", "step.finished", "artifact.saved"]
