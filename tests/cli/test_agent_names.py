"""What names an agent, first events, fields over time, patches without effect, options of groups, pages of `play`."""

import json
import sys
from itertools import repeat

import pytest

from Agent.cli import render

AGENT = "creator_017"


@pytest.mark.integration
def test_an_agent_may_name_its_session(ask, recorded):
    for session in ("last", recorded.session_id):
        assert ask("state", f"{session}/{AGENT}", "--json").stdout == ask("state", AGENT, "--json").stdout
    assert ask("journey", f"99990101/{AGENT}").returncode == 3
    assert ask("learning", f"last/{AGENT}", "--json").returncode == 0
    for command in ("analyze", "performance", "errors", "interactions"):
        found = json.loads(ask(command, f"last/{AGENT}", "--json").stdout)
        assert found != json.loads(ask(command, "--json").stdout)
        assert ask(command, "last/nobody").returncode == 3
    assert list(json.loads(ask("analyze", f"last/{AGENT}", "--json").stdout)["agents"]) == [AGENT]
    assert ask("interactions", f"last/{AGENT}", "--content", "x").returncode == 2
    found = json.loads(ask("debug", "stopped publishing", f"last/{AGENT}", "--json").stdout)
    assert found["issue"] == f"{AGENT} stopped publishing"
    assert ask("view", "last/nobody", "--no-open").returncode == 3
    done = ask("journey", f"last/{AGENT}", "last")
    assert done.returncode == 2 and "AGENT already names a session" in done.stderr


@pytest.mark.integration
def test_first_lists_the_beginning_of_a_journey(ask):
    every = ask("journey", AGENT, "--json").stdout.splitlines()
    assert ask("journey", AGENT, "--first", "3", "--json").stdout.splitlines() == every[:3]
    assert ask("journey", AGENT, "--first", "3", "--tree").returncode == 2


def test_why_looks_below_a_field(ask):
    values = json.loads(ask("state", AGENT, "--json").stdout)["fields"]["values"]
    key = next(iter(values))
    pointer = f"/values/{key.replace('/', '~1')}"
    for name in (f"values.{key}", pointer):
        found = json.loads(ask("state", AGENT, "--why", name, "--json").stdout)
        assert found["changes"][-1]["after"] == values[key]
        assert all(each.get("before") != each["after"] for each in found["changes"])
    assert ask("state", AGENT, "--why", "values.nothing").returncode == 3


def test_a_number_in_the_state_is_drawn_over_the_ticks(ask):
    done = ask("state", AGENT, "--plot", "cooldown_until")
    head, *lines, places = done.stdout.splitlines()
    assert done.returncode == 0 and head.startswith("cooldown_until of creator_017"), done.stderr
    assert len({len(line) for line in lines}) <= 2 and lines[0].split("│")[1].count(" ") > 10
    assert lines[-1].split("│")[1].startswith("▁") and "tick 0" in places and "tick 47" in places
    points = json.loads(ask("state", AGENT, "--plot", "cooldown_until", "--json").stdout)["points"]
    assert points[0]["value"] == 0 and len(points) == 2
    assert ask("state", AGENT, "--plot", "plan").returncode == 2


def test_a_group_takes_the_options_of_its_usual_command(ask):
    assert ask("config", "--json").stdout == ask("config", "show", "--json").stdout
    assert ask("golden", "--json").stdout == ask("golden", "list", "--json").stdout
    assert "Commands:" in ask("config", "--help").stdout


@pytest.mark.further
def test_a_patch_without_effect_is_reported(run, tmp_path):
    from Agent.demo.platform import Settings, record_session

    record_session(tmp_path / "trace", Settings(agents=3, ticks=12, seed=7))
    done = run("fork", "last/creator_001", "--step", "tick:8", "--modify", "{}", "--root", "trace")
    assert done.returncode == 1 and "--modify changed nothing" in done.stderr, done.stdout + done.stderr


def test_only_more_than_a_screen_goes_to_the_pager(monkeypatch, capsys):
    paged = []
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setattr(render.click, "echo_via_pager", lambda lines: paged.append(list(lines)))
    render.emit_pages(repeat("x", 50), paged=True)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    render.emit_pages(repeat("x", 9), paged=True)
    render.emit_pages(repeat("x", 50), paged=False)
    assert not paged and capsys.readouterr().out.count("x") == 109
    render.emit_pages(repeat("x", 50), paged=True)
    assert paged == [["x\n"] * 50]
