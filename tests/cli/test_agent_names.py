"""AGENT may be SESSION/AGENT; the first events, nested fields, patches without effect, and pages of `play`."""

import json
import sys
from itertools import repeat

from Agent.cli import render

AGENT = "creator_017"


def test_an_agent_may_name_its_session(ask, recorded):
    for session in ("last", recorded.session_id):
        assert ask("state", f"{session}/{AGENT}", "--json").stdout == ask("state", AGENT, "--json").stdout
    assert ask("journey", f"99990101/{AGENT}").returncode == 3
    assert ask("learning", f"last/{AGENT}", "--json").returncode == 0
    done = ask("journey", f"last/{AGENT}", "last")
    assert done.returncode == 2 and "AGENT already names a session" in done.stderr


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
