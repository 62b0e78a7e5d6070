"""Sessions as logs of Inspect: agents are samples, calls are nested, and its own reader reads them."""

from __future__ import annotations

import json
import stat

import pytest
from support.session_files import session_directories

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.archive.log_import import import_inspect
from Agent.errors import RunNotFound
from Agent.export.inspect_log import write_inspect
from Agent.flight import find_run, record_tool, recorder
from Agent.record.encode.redaction import Redactor
from Agent.tree.layout import session_id_of

SECRET = "sk-proj-" + "Zq7Rt2Lm9XvB4nKc8WdY1sHf" * 2
PROMPT = [{"role": "system", "content": "be short"}, {"role": "user", "content": f"the key is {SECRET}"}]
ANSWER = {
    "choices": [
        {
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "hello",
                "tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": '{"x": 1}'}}],
            },
        }
    ]
}


@record_tool
def add(x, y=0):
    if x < 0:
        raise ValueError("below zero")
    return {"sum": x + y}


class Clerk:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.done = name, "clerk", 0

    @trace_agent_action("work")
    def work(self):
        self.done += 1
        self.ask()

    @trace_agent_action("ask")
    def ask(self):
        AgentLogger(self.agent_id).info("asked")


@pytest.fixture
def recorded(trace_root):
    setup_logging(trace_root=trace_root)
    recorder.start_run("runner", run_id="a-run")
    recorder.start_step("one", "one")
    recorder.record_model_call(
        model_name="gpt", prompt=PROMPT, output=ANSWER, prompt_tokens=5, completion_tokens=3, latency_ms=20
    )
    add(1, y=2)
    with pytest.raises(ValueError):
        add(-1)
    recorder.finish_step("one", "one", {"ok": True})
    recorder.finish_run()
    with tick(4):
        Clerk("a").work()
    Clerk("b").work()
    shutdown_logging()
    return session_directories(trace_root)[0]


def written(session, path, name=None):
    made = write_inspect(path, find_run(name or session_id_of(session), session.parent))
    return made, json.loads(path.read_bytes())


def test_agents_are_samples_and_actions_are_nested_spans(recorded, tmp_path):
    made, log = written(recorded, tmp_path / "log.json")
    samples = {sample["id"]: sample for sample in log["samples"]}
    assert {"a", "b", "runner"} <= samples.keys() and made.samples == len(samples)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    shown = [
        (event["event"], event.get("name"))
        for event in samples["a"]["events"]
        if event["event"].startswith("span")
    ]
    assert shown == [("span_begin", "work"), ("span_begin", "ask"), ("span_end", None), ("span_end", None)]
    work, ask = (event for event in samples["a"]["events"] if event["event"] == "span_begin")
    assert ask["parent_id"] == work["id"] and "parent_id" not in work
    told = [event["data"] for event in samples["a"]["events"] if event["event"] == "info"]
    assert "asked" in {each["message"] for each in told}
    (whole,) = (each for each in told if each.get("action_type") == "work")
    assert whole["state"]["set"]["done"] == 1


def test_calls_of_models_and_tools_are_inspect_s_own_events(recorded, tmp_path):
    _, log = written(recorded, tmp_path / "log.json", "a-run")
    (sample,) = (each for each in log["samples"] if each["id"] == "runner")
    (model,) = (event for event in sample["events"] if event["event"] == "model")
    assert model["model"] == "gpt" and model["output"]["usage"]["total_tokens"] == 8
    assert [message["role"] for message in model["input"]] == ["system", "user"]
    (choice,) = model["output"]["choices"]
    assert choice["stop_reason"] == "tool_calls" and choice["message"]["content"] == "hello"
    assert choice["message"]["tool_calls"] == [{"id": "c1", "function": "add", "arguments": {"x": 1}}]
    good, bad = (event for event in sample["events"] if event["event"] == "tool")
    assert (good["function"], json.loads(good["result"])) == ("add", {"sum": 3})
    assert bad["failed"] and "below zero" in bad["error"]["message"]
    assert log["stats"]["model_usage"] == {"gpt": {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}}
    assert SECRET not in json.dumps(log)


def test_one_agent_alone_the_same_bytes_twice_and_nothing_over_a_file(recorded, tmp_path):
    made, log = written(recorded, tmp_path / "log.json", f"{session_id_of(recorded)}/a")
    assert made.samples == 1 and log["samples"][0]["id"] == "a"
    again, _ = written(recorded, tmp_path / "again.json", f"{session_id_of(recorded)}/a")
    assert again.path.read_bytes() == made.path.read_bytes()
    with pytest.raises(FileExistsError):
        written(recorded, tmp_path / "log.json")
    with pytest.raises(RunNotFound):
        written(recorded, tmp_path / "no.json", f"{session_id_of(recorded)}/nobody")
    assert not (tmp_path / "no.json").exists()


def test_a_written_log_is_imported_with_the_same_actions(recorded, tmp_path):
    written(recorded, tmp_path / "log.json")
    done = import_inspect(tmp_path / "log.json", (), tmp_path / "back", Redactor(b"key"))
    assert done.skipped == 0 and {"agent_trace/a", "agent_trace/b"} <= done.agents
    from Agent import LogAnalyzer

    with LogAnalyzer(done.session) as analyzer:
        rows = analyzer.trace_agent_journey("agent_trace/a", nested=True)
        actions = [
            (row["extra"]["action_type"], row["depth"]) for row in rows if row["event_type"] == "agent_action"
        ]
    assert sorted(actions) == [("ask", 1), ("work", 0)]
    assert {row["tick"] for row in rows if row["event_type"] == "agent_action"} == {4}


def test_what_was_imported_from_a_log_has_its_samples_and_events_again(tmp_path):
    def at(second):
        return f"2026-11-20T10:00:{second:02}.000000+00:00"

    events = [
        {"event": "span_begin", "timestamp": at(0), "id": "s1", "name": "solvers", "type": "solvers", "span_id": "s1"},
        {"event": "state", "timestamp": at(1), "changes": [{"op": "add", "path": "/x", "value": 1}], "span_id": "s1"},
        {"event": "model", "timestamp": at(2), "completed": at(4), "model": "m/m", "input": [], "tools": [],
         "tool_choice": "auto", "config": {}, "output": {"model": "m/m", "choices": []}, "span_id": "s1"},
        {"event": "tool", "timestamp": at(4), "completed": at(5), "id": "c1", "function": "add",
         "arguments": {"x": 1}, "result": "2", "span_id": "s1", "error": {"type": "timeout", "message": "slow"}},
        {"event": "span_end", "timestamp": at(6), "id": "s1", "span_id": "s1"},
        {"event": "score", "timestamp": at(7), "score": {"value": "C"}},
    ]  # fmt: skip
    sample = {"input": "1 + 1?", "target": "2", "scores": {"includes": {"value": "C"}}, "events": events}
    samples = [{"id": "one", "epoch": 1, **sample}, {"id": "one", "epoch": 2, **sample}]
    samples[1]["error"] = {"message": "down", "traceback": ""}
    about = {
        "status": "success",  # although a sample failed
        "tags": ["night"],
        "results": {"total_samples": 2, "completed_samples": 2, "scores": [{"name": "includes", "scorer": "includes"}]},
    }  # fmt: skip
    told = {"task": "more/sums", "model": "m/m", "created": at(0)}
    held = {"version": 2, "eval": told, **about, "samples": samples}
    (tmp_path / "first.json").write_text(json.dumps(held))
    done = import_inspect(tmp_path / "first.json", (), tmp_path / "trace", Redactor(b"key"))
    _, log = written(done.session, tmp_path / "second.json")
    assert log["eval"].items() >= told.items() and log.items() >= about.items() and "error" not in log
    _, alone = written(
        done.session, tmp_path / "alone.json", f"{session_id_of(done.session)}/more/sums/one@2"
    )
    assert alone["status"] == "error" and alone["results"]["scores"] == []
    assert [(each["id"], each["epoch"]) for each in log["samples"]] == [("one", 1), ("one", 2)]
    for each in log["samples"]:
        assert {name: each[name] for name in ("input", "target", "scores")} == {
            name: sample[name] for name in ("input", "target", "scores")
        }
        assert [event["event"] for event in each["events"]] == [event["event"] for event in events]
        _, state, model, tool, _, score = each["events"]
        assert state["changes"] == events[1]["changes"] and score["score"] == {"value": "C"}
        assert (model["model"], model["output"]) == ("m/m", {"model": "m/m", "choices": []})
        assert (tool["function"], tool["arguments"], tool["result"]) == ("add", {"x": 1}, "2")
        assert tool["error"] == {"type": "timeout", "message": "slow"} and "error_id" not in tool


def test_inspect_s_own_reader_reads_it(recorded, tmp_path):
    reading = pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed")
    made, log = written(recorded, tmp_path / "log.json")
    read = reading.read_eval_log(str(made.path))
    assert (read.status, len(read.samples)) == ("success", made.samples)
    assert sum(len(sample.events) for sample in read.samples) == made.events
    (sample,) = (each for each in read.samples if each.id == "runner")
    model = next(event for event in sample.events if event.event == "model")
    assert model.output.completion == "hello" and model.output.message.tool_calls[0].function == "add"
    reading.write_eval_log(read, str(tmp_path / "own.eval"))
    again = reading.read_eval_log(str(tmp_path / "own.eval"))
    held = {each["id"]: len(each["events"]) for each in log["samples"]}
    assert {each.id: len(each.events) for each in again.samples} == held
