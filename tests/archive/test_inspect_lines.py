"""Logs of evaluations with Inspect as sessions: samples as agents, calls and spans as nested actions."""

from __future__ import annotations

import json

import pytest

from Agent import LogAnalyzer
from Agent.archive.log_import import import_inspect
from Agent.archive.verify import verify
from Agent.errors import DamagedInput, InputError
from Agent.record.encode.redaction import Redactor

SECRET = "sk-proj-" + "Zq7Rt2Lm9XvB4nKc8WdY1sHf" * 2


def at(second):
    return f"2026-11-20T10:00:{second:02}.000000+00:00"


def event(kind, second, **members):
    return {"uuid": f"{kind}{second}", "timestamp": at(second), "event": kind, **members}


def log(**members):
    """The shape of inspect_ai 0.3.285, version 2 of its logs."""
    events = [
        event("span_begin", 0, id="s1", name="solvers", type="solvers", span_id="s1"),
        event("span_begin", 1, id="s2", name="generate", parent_id="s1", span_id="s2"),
        event("state", 2, changes=[{"op": "add"}], span_id="s2"),
        event("model", 2, model="mock/model", completed=at(5), span_id="s2", output={"completion": "add"}),
        event("tool", 5, function="add", arguments={"x": 1}, result=2, completed=at(6), span_id="s2"),
        event("span_end", 7, id="s2", span_id="s2"),
        event("span_end", 8, id="s1", span_id="s1"),
        event("score", 9, score={"value": "C"}),
        event(
            "error", 10, error={"message": "no quota", "traceback": "Traceback", "traceback_ansi": "\x1b[31m"}
        ),
    ]
    sample = {"id": "one", "epoch": 1, "input": f"key {SECRET}", "scores": {"includes": {"value": "C"}}}
    first = {**sample, "events": events, "messages": [{"role": "user", "content": "hello"}]}
    second = {**sample, "epoch": 2, "events": events[:1], "completed_at": at(30)}
    return {"version": 2, "eval": {"task": "sums"}, "samples": [first, second], **members}


def imported(tmp_path, held):
    path = tmp_path / "log.json"
    path.write_text(held if isinstance(held, str) else json.dumps(held))
    return import_inspect(path, (), tmp_path / "trace", Redactor(b"key"))


def test_samples_are_agents_and_calls_are_nested_actions_with_durations(tmp_path):
    done = imported(tmp_path, log())
    assert done.agents == {"sums/one", "sums/one@2"} and done.skipped == 0
    with LogAnalyzer(done.session) as analyzer:
        rows = list(analyzer.trace_agent_journey("sums/one", nested=True))
        actions = [row for row in rows if row["event_type"] == "agent_action"]
        assert [(row["extra"]["action_type"], row["duration_ms"], row["depth"]) for row in actions] == [
            ("solvers", 8000, 0), ("generate", 6000, 1), ("model mock/model", 3000, 2), ("tool add", 1000, 2),
        ]  # fmt: skip
        kinds = {row["extra"].get("source_kind") for row in rows if row["event_type"] == "log"}
        assert kinds == {"inspect.sample_begins", "inspect.state", "inspect.score", "inspect.sample_ends"}
        (error,) = analyzer.get_errors("sums/one")
        assert error["message"] == "no quota" and error["extra"]["failure"]["traceback"] == "Traceback"
        assert "\\u001b" not in json.dumps(rows)
        last = next(row for row in rows if row["extra"].get("source_kind") == "inspect.sample_ends")
        assert last["extra"]["messages"] == [{"role": "user", "content": "hello"}]
    assert verify(done.session).sound
    assert all(
        SECRET.encode() not in path.read_bytes() for path in tmp_path.rglob("trace/**/*") if path.is_file()
    )


@pytest.mark.parametrize("held", ["", "[]", "{}", '{"eval": {}}', "null", '"x"', '{"eval": 3}'])
def test_what_is_no_log_is_one_error(tmp_path, held):
    with pytest.raises(DamagedInput, match="not an Inspect log"):
        imported(tmp_path, held)


def test_a_log_in_inspects_own_form_and_one_without_events_are_named(tmp_path):
    with pytest.raises(DamagedInput, match="inspect log convert"):
        imported(tmp_path, "PK\x03\x04")
    with pytest.raises(InputError, match="no line is an event"):
        imported(tmp_path, log(samples=None))


def test_a_log_that_inspect_writes_is_imported_whole(tmp_path):
    inspect_ai = pytest.importorskip("inspect_ai", reason="inspect-ai is not installed")
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    answer = ModelOutput.from_content("mockllm/model", "the answer is 2")
    answer.usage = ModelUsage(input_tokens=5, output_tokens=3, total_tokens=8)
    task = inspect_ai.Task(
        name="sums",
        dataset=[Sample(id="one", input="1 + 1?", target="2")],
        solver=generate(),
        scorer=includes(),
    )
    model = get_model("mockllm/model", custom_outputs=[answer])
    (made,) = inspect_ai.eval(task, model=model, log_format="json", log_dir=str(tmp_path), display="none")
    done = import_inspect(
        tmp_path / made.location.rpartition("/")[2], (), tmp_path / "trace", Redactor(b"key")
    )
    assert done.skipped == 0 and done.agents == {"sums/one"}
    with LogAnalyzer(done.session) as analyzer:
        assert analyzer.analyze_agent_activity("sums/one")["action_counts"]["model mockllm/model"] == 1
