"""Runs read back, in Python and with `agent-trace runs`."""

from __future__ import annotations

import json

import pytest
from support.processes import run_python
from support.session_files import only_session

from Agent import AgentLogger, shutdown_logging, trace_context
from Agent.cli.main import main
from Agent.errors import RunNotFound
from Agent.flight import find_run, list_runs, read_run, recorder


@pytest.fixture
def recorded(trace_root) -> dict[str, str]:
    """Two runs, one within the other, a failed one, and something outside of all."""
    ids = {"outer": recorder.start_run("planner", {"team": "a"})}
    with recorder.run("helper") as inner, recorder.step("look", "Look it up") as step:
        step.output = {"found": 3}
    ids["inner"] = inner.run_id
    recorder.record_model_call(
        call_id="c1", model_name="m", prompt="p", output="o", prompt_tokens=10, completion_tokens=4
    )
    recorder.start_step("left open")
    recorder.finish_run(ok=False, error="no answer")
    with trace_context(AgentLogger("bob"), "outside"):
        recorder.save_artifact("note.txt", "from outside")
    shutdown_logging()
    return ids


@pytest.fixture
def ask(capfdbinary, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        code = main(["runs", *arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return ask


def test_runs_are_listed_newest_first_with_what_they_hold(recorded, trace_root):
    inner, outer = list_runs(trace_root)
    assert (inner.run_id, outer.run_id) == (recorded["inner"], recorded["outer"])
    assert (inner.agent, inner.state, inner.ok, inner.steps) == ("helper", "success", True, 1)
    assert inner.parent_run_id == outer.run_id
    assert (outer.state, outer.error, outer.labels) == ("failure", "no answer", {"team": "a"})
    assert (outer.model_calls, outer.prompt_tokens, outer.completion_tokens) == (1, 10, 4)
    assert outer.open_steps == ("left open",)
    assert outer.duration_s > 0


def test_a_run_tells_its_steps_calls_artifacts_and_the_runs_in_it(recorded, trace_root):
    outer = read_run(find_run(recorded["outer"], trace_root))
    assert [(step.step_id, step.state) for step in outer.steps] == [("left open", "open")]
    assert outer.children == (recorded["inner"],)
    assert [call.call_id for call in outer.model_calls] == ["c1"]
    assert [each.path for each in outer.artifacts] == ["calls/c1/prompt.txt", "calls/c1/output.txt"]
    inner = read_run(find_run(recorded["inner"], trace_root))
    (step,) = inner.steps
    assert (step.name, step.state) == ("Look it up", "ok")
    assert json.loads(b"".join(inner.read(step.output_ref))) == {"found": 3}


def test_every_way_to_name_a_run_finds_it(recorded, trace_root):
    session = only_session(trace_root)
    session_id = session.name.removeprefix("session_")
    uid = json.loads((session / "session.json").read_text())["session_uid"]
    outer = recorded["outer"]
    for name in (outer, outer[:-1], str(trace_root / "runs" / outer), session / "runs" / outer):
        found = find_run(name, trace_root)
        assert (found.session.resolve(), found.run_id) == (session.resolve(), outer)
    for name in (None, "last", session_id, session_id[:6], str(session), uid):
        assert (find_run(name, trace_root).run_id, find_run(name, trace_root).agent_id) == (None, None)
    assert find_run(f"{session_id}/bob", trace_root)[1:] == (None, "bob")


@pytest.mark.parametrize("name", ["nothing", "", "../runs", "/", "zz/bob", "runs/.."])
def test_what_names_no_run_is_one_clear_error(recorded, trace_root, name):
    with pytest.raises(RunNotFound):
        find_run(name, trace_root)


def test_a_beginning_of_two_runs_names_both(recorded, trace_root):
    one, other = recorded.values()
    common = "".join(a for a, b in zip(one, other, strict=True) if a == b)[:6]
    with pytest.raises(RunNotFound, match="beginning of 2 runs"):
        find_run(common, trace_root)


def test_a_root_run_is_what_was_recorded_outside_of_runs(recorded, trace_root):
    root = read_run(find_run("last", trace_root))
    assert [event.kind for event in root.events()] == ["artifact.saved"]
    assert b"".join(root.read(root.artifacts[0].ref)) == b"from outside"
    assert root.children == (recorded["outer"],)


CRASH = """
import os
from Agent.flight import recorder
print(recorder.start_run("doomed"), flush=True)
recorder.start_step("first")
recorder.finish_step("first", output=1)
recorder.start_step("second")
recorder.start_step("third")
os.kill(os.getpid(), 9)
"""


@pytest.mark.process
def test_a_run_whose_process_was_killed_is_crashed_and_names_its_open_steps(trace_root, tmp_path, ask):
    done = run_python("-c", CRASH, cwd=tmp_path)
    record = read_run(find_run(done.stdout.strip(), trace_root))
    assert (record.summary.state, record.summary.open_steps) == ("crashed", ("second", "third"))
    assert [step.state for step in record.steps] == ["ok", "open", "open"]
    code, out, _ = ask(done.stdout.strip())
    assert code == 0
    assert "crashed" in out
    assert "second, third" in out


def test_a_run_that_goes_on_is_running(trace_root):
    run_id = recorder.start_run("a")
    assert read_run(find_run(run_id, trace_root)).summary.state == "running"
    recorder.finish_run()


def test_a_torn_line_costs_that_line_only(recorded, trace_root):
    path = trace_root / "runs" / recorded["inner"] / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:50] + b"\n", *lines[2:]]))
    record = read_run(find_run(recorded["inner"], trace_root))
    assert (record.summary.state, [step.step_id for step in record.steps]) == ("success", ["look"])


def test_the_command_lists_runs_on_one_screen(recorded, ask):
    code, out, err = ask()
    assert (code, err) == (0, "")
    head, inner, outer = out.splitlines()
    assert head.split() == [
        "RUN",
        "STARTED",
        "(UTC)",
        "DURATION",
        "STATE",
        "STEPS",
        "MODEL",
        "AGENT",
        "LABELS",
    ]
    assert inner.split()[0] == recorded["inner"]
    assert outer.split()[-2:] == ["planner", "team=a"]
    code, out, _ = ask("--json", "-n", "1")
    answer = json.loads(out)
    assert [row["run_id"] for row in answer["runs"]] == [recorded["inner"]]
    assert answer["more"] is True


def test_the_command_shows_a_run_its_steps_and_its_artifacts(recorded, ask):
    code, out, _ = ask(recorded["outer"])
    assert code == 0
    for word in (
        "failure",
        "planner",
        "team=a",
        "no answer",
        "left open",
        "10 + 4 tokens",
        recorded["inner"],
    ):
        assert word in out
    assert len(out.splitlines()) < 24
    assert "Look it up" in ask(recorded["inner"], "--steps")[1]
    assert "steps/look.json" in ask(recorded["inner"], "--artifacts")[1]
    assert json.loads(ask(recorded["inner"], "--steps", "--json")[1])[0]["step_id"] == "look"
    whole = json.loads(ask(recorded["outer"], "--json")[1])
    assert (whole["run"]["run_id"], whole["children"]) == (recorded["outer"], [recorded["inner"]])


def test_the_command_prints_an_artifact_only_if_it_is_what_was_saved(recorded, trace_root, ask):
    assert ask(recorded["inner"], "--artifact", "steps/look.json")[:2] == (0, '{"found":3}\n')
    path = trace_root / "runs" / recorded["inner"] / "artifacts/steps/look.json"
    path.write_text('{"found":4}\n')
    code, out, err = ask(recorded["inner"], "--artifact", "steps/look.json")
    assert (code, out) == (3, "")
    assert "digest differs" in err
    assert ask(recorded["inner"], "--artifact", "nope")[0] == 3
    assert ask("--steps")[0] == 2
    assert ask("nothing")[0] == 3


def test_a_root_without_runs_says_so(trace_root, ask):
    AgentLogger("bob").log_action("x")
    shutdown_logging()
    code, out, err = ask()
    assert (code, out) == (0, "")
    assert "no run was recorded" in err


@pytest.mark.process
def test_importing_the_names_loads_nothing_heavy(tmp_path):
    done = run_python(
        "-c",
        "import sys; from Agent.flight import recorder; print([n for n in "
        "('numpy', 'pandas', 'zstandard', 'sqlite3', 'duckdb', 'asyncio', 'click') if n in sys.modules])",
        cwd=tmp_path,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_inside_a_step_belongs_to_it_unless_it_names_another(trace_root):
    with recorder.run("factory") as run:
        recorder.save_artifact("before.json", 1)
        with recorder.step("day0"):
            recorder.save_artifact("a.json", 1)
            recorder.record_model_call(model_name="m", output="yes")
            recorder.record_model_call(step_id="other", model_name="m", output="no")
    shutdown_logging()
    read = read_run(find_run(run.run_id, trace_root))
    of_files = {each.path: each.step_id for each in read.artifacts if "/" not in each.path}
    assert of_files == {"before.json": None, "a.json": "day0"}
    assert [each.step_id for each in read.model_calls] == ["day0", "other"]
