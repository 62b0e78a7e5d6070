"""`runs --checkpoints` and `prune --checkpoints`, as they are typed."""

from __future__ import annotations

import json

import pytest

from Agent import setup_logging, shutdown_logging
from Agent.cli.main import main
from Agent.flight import CheckpointPolicy, recorder


@pytest.fixture
def runs(trace_root):
    """The ids of a run that went well and of one that failed; each left three checkpoints."""
    setup_logging()
    found = []
    for ok in (True, False):
        state = {"count": 0, "items": ["x"] * 300}
        policy = CheckpointPolicy(every_steps=1)
        found.append(recorder.start_run("counting", checkpoints=policy, state=lambda state=state: state))
        for number in range(3):
            with recorder.step(f"step_{number}"):
                state["count"] += 1
        recorder.finish_run(ok=ok)
    shutdown_logging()
    return found


def test_the_checkpoints_of_a_run_are_listed_with_why_and_what_they_take(run, runs, trace_root):
    done = run("runs", runs[0], "--checkpoints", "--root", trace_root)
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("step_")]
    assert [row[0] for row in rows] == ["step_0", "step_1", "step_2"]
    assert all("step" in row[3] for row in rows) and "delta" in rows[1]
    assert "3 checkpoints" in done.stderr
    listed = json.loads(run("runs", runs[0], "--checkpoints", "--json", "--root", trace_root).stdout)
    assert [each["kind"] for each in listed] == ["snapshot", "delta", "delta"]
    assert "--checkpoints" in run("runs", runs[0], "--root", trace_root).stdout


def test_what_only_the_runs_in_a_session_have_is_not_told_without_them(run, runs, trace_root):
    done = run("runs", "last", "--checkpoints", "--root", trace_root)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"it has 2 runs: {', '.join(sorted(runs))}" in done.stderr


def test_checkpoints_of_a_failed_run_outlive_those_of_one_that_went_well(run, runs, trace_root):
    command = [
        "prune",
        "--checkpoints",
        "--older-than",
        "0s",
        "--failed-older-than",
        "30d",
        "--root",
        trace_root,
    ]
    assert "3 checkpoints, 1 run whole would be removed" in run(*command, "--dry-run").stdout
    assert "3 checkpoints, 1 run whole removed" in run(*command).stdout
    assert "no checkpoint" in run("runs", runs[0], "--checkpoints", "--root", trace_root).stderr
    kept = json.loads(run("runs", runs[1], "--checkpoints", "--json", "--root", trace_root).stdout)
    assert [each["reason"] for each in kept] == ["step", "step", "step", "error"]
    # the runs themselves stay
    assert run("runs", runs[0], "--root", trace_root).returncode == 0


def test_only_the_last_checkpoints_of_a_run_that_went_well_are_kept_where_that_is_asked_for(
    run, runs, trace_root
):
    done = json.loads(
        run("prune", "--checkpoints", "--keep-last", "1", "--json", "--root", trace_root).stdout
    )
    assert (done["checkpoints"], done["runs"], done["dry_run"]) == (2, 0, False)
    left = json.loads(run("runs", runs[0], "--checkpoints", "--json", "--root", trace_root).stdout)
    assert [each["step_id"] for each in left] == ["step_2"]


@pytest.mark.parametrize(
    "arguments",
    [("--checkpoints", "--keep-sessions", "2"), ("--keep-last", "2"), ("--failed-older-than", "2d")],
)
def test_rules_for_sessions_and_for_checkpoints_are_not_mixed(run, trace_root, arguments):
    done = run("prune", *arguments, "--root", trace_root)
    assert done.returncode == 2 and "are for" in done.stderr


def test_a_session_with_one_run_names_the_command_that_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(tmp_path / "trace"))
    run_id = recorder.start_run("bob", labels={})
    step_id = recorder.start_step("think")
    recorder.finish_step(step_id, "think", "out")
    recorder.finish_run(ok=True)
    shutdown_logging()
    assert main(["runs", "last"]) == 0
    assert f"agent-trace runs {run_id} shows that run" in capsys.readouterr().out
    assert main(["runs", run_id]) == 0
    assert "think" in capsys.readouterr().out
