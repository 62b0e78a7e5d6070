"""`play` and `replay`: a run stepped through, and driven again with the same and with other code."""

from __future__ import annotations

import json
import shutil

import pytest
from support.session_files import of_agent, of_kind, session_events

pytestmark = pytest.mark.usefixtures("one_user")

AGENT = "creator_017"
PLANTED = "cooldown_until"


def actions(recorded, agent: str) -> list[dict]:
    """The actions of an agent that are not inside others of its own."""
    events = of_kind(of_agent(session_events(recorded.session), agent), "agent_action")
    own = {event["span_id"] for event in events}
    return [event for event in events if event["parent_span_id"] not in own]


@pytest.mark.integration
def test_replay_of_the_same_code_is_identical_and_exit_code_0(ask, recorded):
    done = ask("replay", f"{recorded.session_id}/{AGENT}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IDENTICAL" in done.stdout
    answer = json.loads(ask("replay", f"{recorded.session_id}/{AGENT}", "--json").stdout)
    assert answer["verdict"] == "IDENTICAL"
    assert answer["counts"]["driven"] == answer["counts"]["covered"] == len(actions(recorded, AGENT))


@pytest.mark.further
@pytest.mark.parametrize(
    "name",
    [
        ["last/{agent}"],
        ["last", "--agent", "{agent}"],
        ["{prefix}/{agent}"],
        ["{path}", "--agent", "{agent}"],
    ],
)
def test_a_run_is_named_by_last_prefix_path_and_agent(ask, recorded, name):
    words = {"agent": "creator_002", "prefix": recorded.session_id[:9], "path": recorded.session}
    done = ask("replay", *(word.format(**words) for word in name), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "IDENTICAL"


@pytest.mark.integration
def test_repaired_code_diverges_at_the_planted_fault(ask, recorded):
    done = ask("replay", f"last/{AGENT}", "--target", "Agent.demo.targets:repaired_creator", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "DIVERGED"
    first = found["divergence"]
    assert PLANTED in json.dumps(first)
    (fault,) = [
        event
        for event in of_kind(of_agent(session_events(recorded.session), AGENT), "state_change")
        if event["extra"]["trigger"] == "TrendQuotaExceeded"
    ]
    steps = actions(recorded, AGENT)
    assert steps[first["step"] - 1]["id"] == first["event_id"]
    assert steps[first["step"] - 1]["tick"] == fault["tick"]
    shown = ask("replay", f"last/{AGENT}", "--target", "Agent.demo.targets:repaired_creator")
    assert "DIVERGED" in shown.stdout
    assert PLANTED in shown.stdout


@pytest.mark.further
def test_a_changed_learner_diverges_in_what_it_learned(ask):
    done = ask("replay", "last/creator_001", "--target", "Agent.demo.targets:changed_creator", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["divergence"]["action"] == "receive_feedback"


@pytest.mark.further
def test_play_shows_every_step_without_any_code(ask, recorded):
    done = ask("play", f"last/{AGENT}")
    assert done.returncode == 0, done.stderr
    assert "cooldown_until" in done.stdout
    answer = json.loads(ask("play", f"last/{AGENT}", "--json").stdout)
    assert len(answer["steps"]) >= len(actions(recorded, AGENT))


def test_play_of_a_damaged_run_is_exit_code_1(run, recorded, trace_root):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "agents" / f"{AGENT}.log"
    lines = file.read_bytes().splitlines(keepends=True)
    del lines[10:12]
    lines[20] = lines[20][:40] + b"\n"
    file.write_bytes(b"".join(lines))
    assert run("play", f"last/{AGENT}").returncode == 1


def without_targets(recorded, trace_root):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    file = session / "session.json"
    description = json.loads(file.read_text())
    assert description["targets"]
    description["targets"] = {}
    file.write_text(json.dumps(description))


def test_without_a_target_it_is_one_line_with_the_remedy_and_exit_code_4(run, recorded, trace_root):
    without_targets(recorded, trace_root)
    done = run("replay", f"last/{AGENT}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1), done.stderr
    assert "--target" in done.stderr


@pytest.mark.parametrize("command", ["play", "replay"])
@pytest.mark.parametrize(("name", "says"), [("1999/creator_001", "1999"), ("last/nobody", "nobody")])
def test_a_run_that_is_not_there_is_one_line_and_exit_code_3(ask, command, name, says):
    done = ask(command, name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert says in done.stderr


def test_a_target_that_is_no_name_is_a_usage_error(ask):
    done = ask("replay", f"last/{AGENT}", "--target", "not-a-target")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "not-a-target" in done.stderr


@pytest.mark.parametrize("target", ["no_such_module:creator", "Agent.demo.targets:no_such_factory"])
def test_a_target_that_cannot_be_imported_is_one_line_and_exit_code_3(ask, target):
    done = ask("replay", f"last/{AGENT}", "--target", target)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.stderr
    assert target.partition(":")[0] in done.stderr


def test_a_target_beside_the_user_is_found(ask, tmp_path):
    (tmp_path / "my_targets.py").write_text("from Agent.demo.targets import creator as mine\n")
    done = ask("replay", f"last/{AGENT}", "--target", "my_targets:mine", "--json")
    assert json.loads(done.stdout)["verdict"] == "IDENTICAL", done.stdout


def test_replay_leaves_the_record_as_it_is(ask, recorded):
    before = {path: path.read_bytes() for path in recorded.session.rglob("*.log")}
    sessions = sorted(path.name for path in recorded.root.iterdir())
    assert ask("replay", f"last/{AGENT}").returncode == 0
    assert {path: path.read_bytes() for path in recorded.session.rglob("*.log")} == before
    assert sorted(path.name for path in recorded.root.iterdir()) == sessions


@pytest.mark.further
@pytest.mark.parametrize("command", ["play", "replay"])
def test_nothing_is_coloured_in_a_pipe(ask, command):
    assert "\x1b" not in ask(command, f"last/{AGENT}", TERM="xterm-256color").stdout
