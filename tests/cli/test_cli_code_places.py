"""Reports name the file and line of what they report on, in a form that terminals of editors open."""

from __future__ import annotations

import inspect
import json
import zipfile

import pytest

from Agent.demo.creators import Creator, TrendService
from Agent.render.formats import path_line

ISSUE = "Agent creator_017 stopped publishing"
FILE = inspect.getsourcefile(Creator)
SHOWN = FILE if "-packages" not in FILE else "Agent/demo/creators.py"
"""Of an installed package the path begins with the package."""


def line_of(method):
    return inspect.getsourcelines(inspect.unwrap(method))[1]


def test_errors_name_the_line_that_raised(ask):
    lines, first = inspect.getsourcelines(inspect.unwrap(TrendService.lookup))
    raising = {first + n for n, line in enumerate(lines) if line.lstrip().startswith("raise ")}
    answer = json.loads(ask("errors", "--json").stdout)
    places = {(each["file"], each["line"]) for each in answer["fingerprints"]}
    assert places and places <= {(FILE, line) for line in raising}
    assert f"at {SHOWN}:{answer['fingerprints'][0]['line']} in lookup" in ask("errors").stdout


def test_a_journey_names_where_the_actions_of_the_agent_begin(ask):
    answer = json.loads(ask("journey", "creator_017", "--summary", "--json").stdout)
    assert answer["code"]["step"] == {"file": FILE, "line": line_of(Creator.step)}
    assert f"{SHOWN}:{line_of(Creator.step)}  step\n" in ask("journey", "creator_017").stdout


def test_state_why_names_where_the_actions_that_changed_a_field_begin(ask):
    answer = json.loads(ask("state", "creator_017", "--why", "cooldown_until", "--json").stdout)
    assert (answer["changes"][-1]["file"], answer["changes"][-1]["line"]) == (FILE, line_of(Creator.step))
    assert (
        f"step is at {SHOWN}:{line_of(Creator.step)}\n"
        in ask("state", "creator_017", "--why", "cooldown_until").stdout
    )


@pytest.mark.integration
def test_debug_names_where_its_first_cause_is_on_a_line_of_its_own(ask):
    answer = json.loads(ask("debug", ISSUE, "--json").stdout)
    cause = answer["causes"][0]
    assert cause["file"] == FILE and cause["line"] > 0
    assert f"\n   at {SHOWN}:{cause['line']} in " in ask("debug", ISSUE).stdout


def test_a_path_below_the_working_directory_begins_there(run, recorded, monkeypatch):
    monkeypatch.chdir(inspect.getsourcefile(Creator).removesuffix("/demo/creators.py"))
    done = run("errors", "--root", recorded.root)
    assert "at demo/creators.py:" in done.stdout and FILE not in done.stdout


@pytest.mark.further
def test_what_is_exported_for_other_machines_has_no_path(run, recorded, tmp_path):
    file = tmp_path / "run.zip"
    done = run("runs", recorded.session_id, "--export", file, "--root", recorded.root)
    assert done.returncode == 0, done.stderr
    codes = []
    with zipfile.ZipFile(file) as made:
        for name in made.namelist():
            if name.endswith("system.log"):
                lines = map(json.loads, made.read(name).splitlines())
                codes += [line["extra"] for line in lines if line["extra"]["event_type"] == "code"]
    assert codes and all("file" not in code and code["line"] > 0 for code in codes)


def test_a_path_in_an_installed_package_begins_with_the_package():
    for directory in ("/home/me/.venv/lib/python3.12/site-packages/", "C:\\env\\Lib\\site-packages\\"):
        assert path_line(f"{directory}mesa/agent.py", 12) == "mesa/agent.py:12"
    assert path_line("/home/me/site-packages.py", 12) == "/home/me/site-packages.py:12"
