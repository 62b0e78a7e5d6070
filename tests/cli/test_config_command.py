"""`agent-trace config`: what holds here, why, and where one looked; every command finds its root there."""

import json
import tomllib

import pytest

from Agent.config.load import options_from, preset_names
from Agent.config.options import SETTABLE


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The directory in which the commands of this test run, without a variable that names the root."""
    monkeypatch.delenv("AGENT_TRACE_ROOT")
    return tmp_path


def test_show_is_toml_that_says_the_same_again(run, project):
    (project / "agent-trace.toml").write_text(
        'level = "WARNING"\nkeep_sessions = 5\n[levels]\nagents = "ERROR"\n'
        '[captures]\n"tool:search" = "metadata"'
    )
    before = options_from({}, {"HOME": str(project)})
    done = run("config", "show")
    assert (done.returncode, done.stderr) == (0, "")
    told = tomllib.loads(done.stdout)
    assert set(told) == set(SETTABLE)
    assert (told["level"], told["keep_sessions"], told["trace_root"]) == (
        "WARNING",
        5,
        str(project / "trace"),
    )
    assert told["levels"]["agents"] == "ERROR" and told["levels"]["learning"] == "WARNING"
    assert told["captures"]["tool:search"] == "metadata" and told["captures"]["agents"] == "redacted"
    (project / "agent-trace.toml").write_text(run("config", "show", "--origin").stdout)
    after = options_from({}, {"HOME": str(project)})
    assert (after.level, after.keep_sessions, after.levels["agents"]) == (
        before.level,
        before.keep_sessions,
        before.levels["agents"],
    )


def test_show_says_where_each_setting_comes_from(run, project):
    path = project / "agent-trace.toml"
    path.write_text('preset = "production"\n\nqueue_size = 7\n[levels]\nlearning = "ERROR"')
    done = run("config", "show", "--origin", AGENT_TRACE_STATE="strict")
    options, _, tables = done.stdout.partition("[levels]")
    levels = tables.partition("[rotation]")[0]
    lines = {line.split(" = ")[0]: line for line in f"{options}{levels}".splitlines() if " = " in line}
    assert lines["preset"].endswith(f"# {path}:1")
    assert lines["queue_size"].endswith(f"# {path}:3")
    assert lines["learning"].startswith('learning = "ERROR"')
    assert f"# {path}:5" in done.stdout
    assert lines["state"].endswith("# AGENT_TRACE_STATE")
    assert lines["redact"].endswith("# default")
    assert "production.toml:" in lines["level"]


def test_show_as_json_has_value_origin_and_line(run, project):
    path = project / "agent-trace.toml"
    path.write_text("queue_size = 7")
    told = json.loads(run("config", "show", "--json").stdout)
    assert told["settings"]["queue_size"] == {"value": 7, "origin": str(path), "line": 1}
    assert told["settings"]["level"] == {"value": "DEBUG", "origin": "default", "line": None}
    assert (told["preset"], told["outputs"]) == (None, None)


def test_show_tells_what_logging_config_adds(run, project, monkeypatch):
    from Agent.config.logging_config import LOGGING_CONFIG

    monkeypatch.setitem(LOGGING_CONFIG["loggers"]["agent"], "handlers", [])
    monkeypatch.setitem(LOGGING_CONFIG["loggers"]["system"], "level", "ERROR")
    done = run("config", "show", "--origin")
    assert "LOGGING_CONFIG" in done.stdout and '"agents":[]' in done.stdout
    assert tomllib.loads(done.stdout)["levels"]["system"] == "ERROR"


def test_path_lists_what_is_looked_for_nearest_first(run, project, monkeypatch):
    below = project / "below"
    below.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project / "xdg"))
    (project / "pyproject.toml").write_text("[tool.ruff]")
    run("config", "path")
    monkeypatch.chdir(below)
    (below / "agent-trace.toml").write_text("level = 'INFO'")
    (project / "agent-trace.toml").write_text("level = 'ERROR'")
    rows = json.loads(run("config", "path", "--json").stdout)
    told = [(row["path"], row["state"]) for row in rows]
    assert told[:4] == [
        (str(below / "agent-trace.toml"), "read"),
        (str(below / "pyproject.toml"), "not there"),
        (str(project / "agent-trace.toml"), "not read: a nearer file was found"),
        (str(project / "pyproject.toml"), "not read: a nearer file was found"),
    ]
    assert told[-1] == (str(project / "xdg" / "agent-trace" / "config.toml"), "not there")
    (below / "agent-trace.toml").write_text("levle = 'INFO'")
    done = run("config", "path")
    assert done.returncode == 0
    assert (
        done.stdout.splitlines()[0].startswith(str(below)) and "wrong: unknown option 'levle'" in done.stdout
    )
    (below / "agent-trace.toml").unlink()
    (project / "agent-trace.toml").unlink()
    assert "has no [tool.agent-trace]" in run("config", "path").stdout


def test_presets_are_listed_and_shown(run):
    done = run("config", "presets")
    assert [line.split()[0] for line in done.stdout.splitlines()] == preset_names()
    shown = run("config", "presets", "production")
    assert tomllib.loads(shown.stdout)["level"] == "INFO"
    assert json.loads(run("config", "presets", "production", "--json").stdout) == tomllib.loads(shown.stdout)
    assert set(json.loads(run("config", "presets", "--json").stdout)) == set(preset_names())
    wrong = run("config", "presets", "prodution")
    assert wrong.returncode == 2 and "did you mean 'production'" in wrong.stderr
    assert run("config", "presets", "../production").returncode == 2


def test_a_wrong_file_is_one_line_and_exit_code_2(run, project):
    (project / "agent-trace.toml").write_text("\nlevle = 'INFO'")
    for command in (("config", "show"), ("sessions",), ("doctor",)):
        done = run(*command)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "agent-trace.toml:2" in done.stderr
    assert run("sessions", "--root", str(project)).returncode != 2
    assert run("sessions", "--help").returncode == 0


@pytest.mark.further
def test_commands_take_the_root_of_the_file_the_variable_and_the_flag(run, recorded, project, monkeypatch):
    (project / "agent-trace.toml").write_text(f"trace_root = {json.dumps(str(recorded.root))}")
    place = project / "a" / "b"
    place.mkdir(parents=True)
    run("sessions")
    monkeypatch.chdir(place)
    assert recorded.session_id in run("sessions").stdout
    assert run("analyze").returncode == 0
    assert run("play", "last").returncode == 0
    empty = str(project / "empty")
    assert recorded.session_id not in run("sessions", AGENT_TRACE_ROOT=empty).stdout
    assert recorded.session_id in run("sessions", "--root", str(recorded.root), AGENT_TRACE_ROOT=empty).stdout
    assert "AGENT_TRACE_ROOT" in run("sessions", "--help").stdout
