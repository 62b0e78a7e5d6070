"""`demo`: recorded, explained, found, driven again, and with one line changed; and it can be shown to a friend."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment, run_python
from support.session_files import only_session, session_events

SMALL = ["--agents", "20", "--ticks", "48"]


@pytest.fixture(scope="module")
def as_data(tmp_path_factory):
    """Its answer as data, and where it lies."""
    place = tmp_path_factory.mktemp("demo") / "place"
    done = run_python(
        "-m", "Agent", "demo", *SMALL, "--seed", "3", "--json", "--place", str(place), cwd=place.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place, json.loads(done.stdout)


@pytest.mark.integration
def test_it_records_explains_and_drives_again(run, tmp_path):
    place = tmp_path / "place"
    done = run("demo", *SMALL, "--place", place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    titles = [
        "A content platform, simulated and recorded", "What happened", "A bug to find",
        "The same agent, replayed from its log", "The same agent with one line changed",
        "Where the files are, and what to try next",
    ]  # fmt: skip
    positions = [done.stdout.index(f"\n{title}") for title in titles]
    assert positions == sorted(positions)
    found, same, changed, end = (
        done.stdout[a:b] for a, b in zip(positions[2:], [*positions[3:], None], strict=True)
    )
    assert "cooldown_until" in found
    assert "TrendQuotaExceeded" in found
    assert re.search(r"^  IDENTICAL creator_017", same, re.MULTILINE)
    assert "- return error.retry_after\n" in changed
    assert re.search(r"^  \+ return error\.retry_after if ", changed, re.MULTILINE)
    assert re.search(r"^  DIVERGED creator_017", changed, re.MULTILINE)
    assert re.search(r"first difference: step \d+ \(tick \d+\), step of creator_017", changed)
    assert re.search(r"^ +field cooldown_until$", changed, re.MULTILINE)
    assert str(only_session(place)) in end
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert [line for line in lines if len(line) > 100 and str(tmp_path) not in line] == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.integration
def test_in_a_terminal_verdicts_have_their_colour(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "Agent", "demo", *SMALL, "--place", str(tmp_path / "place")]
    environment = {**child_environment(), "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    shown = bytearray()
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=environment) as demo:
        os.close(follower)
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(leader, 65536):
                shown += piece
    os.close(leader)
    assert demo.returncode == 0, shown
    for wanted in (b"\x1b[32m\x1b[1mIDENTICAL", b"\x1b[31m\x1b[1mDIVERGED"):
        assert wanted in shown, wanted


@pytest.mark.integration
def test_as_it_comes_it_finds_the_field_that_stopped_the_creator_and_the_call_that_set_it(run, tmp_path):
    done = run("demo", "--json", "--place", tmp_path / "place")
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads(done.stdout)["debug"]["causes"][0]
    assert first["title"].startswith("creator_017: cooldown_until is 3614 at tick 14")
    assert "TrendQuotaExceeded" in first["explanation"]


@pytest.mark.integration
def test_its_answer_as_data_is_one_document(as_data):
    place, answer = as_data
    session = Path(answer["recording"]["session"])
    assert session == only_session(place)
    assert answer["recording"]["settings"] == {"agents": 20, "ticks": 48, "seed": 3}
    assert answer["analysis"]["total_events"] == len(session_events(session))
    assert answer["analysis"]["actions"]["publish"] == answer["recording"]["outcome"]["posts"]
    assert (
        answer["debug"]["causes"][0]["agent_ids"][0] == answer["recording"]["fault_agent_id"] == "creator_017"
    )
    assert answer["replay"]["verdict"] == "IDENTICAL"
    divergence = answer["replay_repaired"]["divergence"]
    assert (divergence["action"], divergence["field"]) == ("step", "state.cooldown_until")
    assert divergence["recorded"] - divergence["replayed"] == 3600 - 1


@pytest.mark.integration
def test_the_first_suggestion_shows_the_fault(run, as_data):
    _, answer = as_data
    shown = run(*answer["next_commands"][0].split()[1:]).stdout
    assert "TrendQuotaExceeded" in shown
    assert "cooldown_until" in shown or "3600" in shown
    assert len(shown.splitlines()) < 20


@pytest.mark.integration
def test_the_next_commands_work_as_they_stand(run, as_data):
    _, answer = as_data
    assert len(answer["next_commands"]) > 3
    for command in answer["next_commands"]:
        program, *arguments = command.split()
        assert program == "agent-trace"
        done = run(*arguments)
        expected = 1 if "changed_creator" in command else 0
        assert done.returncode == expected, (command, done.stdout, done.stderr)
        assert done.stdout


@pytest.mark.integration
def test_the_smallest_run_shows_the_fault_too(run, tmp_path):
    done = run("demo", "--agents", "2", "--ticks", "12", "--place", tmp_path / "place")
    assert done.returncode == 0, done.stdout
    assert "IDENTICAL" in done.stdout
    assert "DIVERGED" in done.stdout


@pytest.mark.parametrize("arguments", [["--agents", "1"], ["--ticks", "3"], ["--seed", "x"]])
def test_a_wrong_size_is_one_line_and_exit_code_2(run, arguments):
    done = run("demo", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_place_that_cannot_be_made_is_one_line_and_exit_code_2(run, tmp_path):
    (tmp_path / "file").touch()
    done = run("demo", *SMALL, "--place", tmp_path / "file" / "trace")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "cannot be written" in done.stderr


def test_the_defaults_of_the_command_are_those_of_the_simulation():
    from Agent.cli.commands import demo
    from Agent.demo import platform

    assert (demo.AGENTS, demo.TICKS, demo.SEED) == (
        platform.DEFAULT_AGENTS,
        platform.DEFAULT_TICKS,
        platform.DEFAULT_SEED,
    )
    assert platform.DEFAULT_AGENTS >= 50
