"""`errors`, `causes` and `diff`: in words, as data and as pictures, with their exit codes."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest
from support.session_files import of_kind, session_events

ISSUE = "creator_017 stopped publishing"
ONE_SCREEN = 40


@pytest.fixture
def change(recorded) -> str:
    events = of_kind(session_events(recorded.session), "state_change")
    return next(e["id"] for e in events if e["extra"].get("trigger") == "TrendQuotaExceeded")


@pytest.mark.integration
def test_causes_go_back_to_the_error_of_another_agent(ask, recorded, change):
    done = ask("causes", change)
    assert (done.returncode, done.stderr) == (0, "")
    assert change in done.stdout.splitlines()[0]
    assert "TrendQuotaExceeded: quota of creator_017 exceeded" in done.stdout
    assert "recorded: it ended with the error" in done.stdout
    assert len(done.stdout.splitlines()) <= ONE_SCREEN
    assert ask("causes", change, f"{recorded.session_id}/creator_017").stdout == done.stdout


@pytest.mark.integration
def test_causes_are_given_in_every_format(ask, change):
    answer = json.loads(ask("causes", change, "--json").stdout)
    assert answer == json.loads(ask("causes", change, "--format", "json").stdout)
    assert {row["edge"]["basis"] for row in answer["causes"]} == {"recorded", "inferred"}
    assert all(row["edge"]["reason"] for row in answer["causes"])
    assert ask("causes", change, "--format", "dot").stdout.startswith("digraph causes {\n")
    assert ET.fromstring(ask("causes", change, "--format", "svg").stdout).tag.endswith("svg")
    error = next(row["id"] for row in answer["causes"] if row["event_type"] == "error")
    ahead = json.loads(ask("causes", error, "--json", "--effects").stdout)["effects"]
    assert {row["edge"]["rule"] for row in ahead} >= {"error"}


@pytest.mark.integration
def test_an_event_that_is_not_there_is_exit_code_3(ask):
    done = ask("causes", "aaaabbbb-1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


def test_an_event_without_causes_is_exit_code_1(run, trace_root):
    from Agent import AgentLogger, shutdown_logging

    event_id = AgentLogger("a", "worker").log_action("x")
    shutdown_logging()
    done = run("causes", event_id)
    assert done.returncode == 1
    assert "no recorded cause" in done.stdout


@pytest.mark.further
def test_errors_fit_one_screen_and_name_trend_place_and_agents(ask, recorded):
    done = ask("errors", recorded.session_id)
    assert len(done.stdout.splitlines()) <= ONE_SCREEN
    # A trend goes by the clock, and the errors of a simulation come as fast as the machine lets them.
    assert any(trend in done.stdout for trend in ("steady", "rising", "falling", "burst"))
    assert re.search(r"at \S*Agent/demo/creators\.py:\d+ in lookup, 1 agent \(trend_service\)", done.stdout)
    with_tail = ask("errors", "--tail").stdout
    rows = json.loads(ask("errors", "--json").stdout)["fingerprints"]
    assert all(row["tail"][-1]["id"] == row["example_id"] for row in rows)
    assert rows[0]["tail"][0]["id"] in with_tail


@pytest.mark.further
def test_a_session_does_not_differ_from_itself(ask, recorded):
    done = ask("diff", "--stats", recorded.session_id, "last")
    assert (done.returncode, done.stderr) == (0, "")
    assert "No difference that noise does not explain." in done.stdout
    assert len(done.stdout.splitlines()) <= ONE_SCREEN


@pytest.mark.further
def test_an_agent_that_the_statistics_of_sessions_would_pass_over_is_refused(ask):
    done = ask("diff", "--stats", "last/creator_001", "last/creator_002")
    assert done.returncode == 2
    assert "leave the agent out" in done.stderr


@pytest.mark.further
def test_differences_are_exit_code_1_and_data(ask):
    done = ask("diff", "--stats", "--by", "agent_role", "--values", "audience,creator", "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["real"] == sum(each["is_real"] for each in answer["differences"]) > 0
    assert ask("diff", "--stats", "--by", "agent_role").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a"], "two runs"),
        (["--exhaustive", "--stats", "a", "b"], "--exhaustive"),
        (["--stats", "a"], "two sessions"),
        (["--stats", "--by", "x", "a", "b"], "one session"),
        (["--stats", "last", "last", "--values", "a,b"], "--by"),
    ],
)
def test_a_diff_that_is_not_there_or_half_asked_is_one_line_and_exit_code_2(ask, arguments, says):
    done = ask("diff", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr


@pytest.mark.integration
def test_testing_causes_says_why_nothing_was_shown(ask):
    one = "Agent.demo.targets:creator"  # builds one creator: the service that it asks cannot be asked again
    done = ask("debug", ISSUE, "--test", "--target", one)
    status = json.loads(ask("debug", ISSUE, "--json").stdout)["status"]
    assert (done.returncode, done.stderr) == (0 if status == "cause" else 1, "")
    assert "tested INCONCLUSIVE" in done.stdout
    assert "has no recorded response" in done.stdout
    assert "none shown" in done.stdout


@pytest.mark.integration
def test_debug_fits_one_screen_and_shows_all_if_asked(ask):
    short = ask("debug", ISSUE).stdout
    assert len(short.splitlines()) <= ONE_SCREEN
    assert "Examined" in ask("debug", ISSUE, "--all").stdout


@pytest.mark.further
def test_a_copied_session_is_the_same_in_numbers(ask, recorded, tmp_path):
    copy = tmp_path / "session_20200101_000000"
    shutil.copytree(recorded.session, copy)
    assert ask("diff", "--stats", recorded.session_id, copy).returncode == 0
