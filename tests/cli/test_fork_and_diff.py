"""`diff`, `resume`, `fork` and the lists that show lineage: in words and as data, with their exit codes."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.usefixtures("one_user")

AGENT = "creator_002"


@pytest.fixture
def asked(run, recorded, tmp_path):
    """Runs commands over a copy of the recorded root: forks are written beside the original."""
    root = tmp_path / "trace"
    root.mkdir()
    shutil.copytree(recorded.session, root / recorded.session.name)

    def ask(*arguments: str):
        return run(*arguments, AGENT_TRACE_ROOT=str(root))

    return ask


@pytest.mark.further
def test_a_session_is_alike_to_itself_and_a_fork_parts_from_it(asked, recorded):
    name = f"{recorded.session_id}/{AGENT}"
    same = asked("diff", name, name)
    assert (same.returncode, same.stderr) == (0, "")
    assert "are alike" in same.stdout
    made = asked("fork", name, "--step", "tick:20", "--modify", '{"followers": 5000}', "--json")
    assert made.returncode == 1, made.stderr
    answer = json.loads(made.stdout)
    assert answer["changed"] == ["followers"]
    done = asked("diff", name, answer["fork_id"], "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)["divergence"]
    assert found == answer["comparison"]["divergence"]
    assert (found["agent_id"], found["b"]) == (AGENT, 5000)
    assert f"differ at tick {found['tick']}" in asked("diff", name, answer["fork_id"]).stdout


def test_a_run_that_goes_on_as_recorded_is_exit_code_0(asked, recorded):
    done = asked("resume", f"{recorded.session_id}/{AGENT}", "--step", "tick:20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "are alike" in done.stdout


@pytest.mark.integration
def test_a_whole_run_that_goes_on_from_amid_messages_is_alike(asked):
    done = asked("resume", "last", "--step", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "are alike" in done.stdout


@pytest.mark.further
def test_lists_show_a_fork_under_what_it_comes_from(asked, recorded):
    first = json.loads(asked("resume", "last", "-a", AGENT, "--step", "tick:30", "--json").stdout)
    second = json.loads(
        asked("fork", first["fork_id"], "--step", "1", "--modify", '{"followers": 1}', "--json").stdout
    )
    rows = json.loads(asked("sessions", "--json").stdout)["sessions"]
    assert [(row["origin"] or {}).get("relation") for row in rows] == [None, "resumed_from", "forked_from"]
    listed = asked("sessions").stdout.splitlines()
    assert [line.count("└") for line in listed[1:]] == [0, 1, 1]
    assert listed[3].index("└") > listed[2].index("└")
    runs = asked("runs").stdout
    assert runs.index(first["fork_id"]) < runs.index(f"└ {second['fork_id']}")
    origins = {
        row["run_id"]: row["origin"]["run"] for row in json.loads(asked("runs", "--json").stdout)["runs"]
    }
    assert origins[second["fork_id"]] == first["fork_id"]


def test_a_fork_that_has_to_stop_is_exit_code_4_and_names_the_call(asked, recorded):
    done = asked("fork", f"{recorded.session_id}/{AGENT}", "--step", "tick:20", "--seed", "3")
    assert done.returncode == 4
    assert "lookup of trend_service" in done.stdout


@pytest.mark.integration
def test_a_sweep_shows_a_distribution_and_the_command_of_the_smallest_change(asked, recorded):
    how = ["--step", "tick:44", "--sweep", "--vary", "followers=1,150,9000", "--outcome", "followers>5000"]
    done = asked("fork", f"{recorded.session_id}/{AGENT}", *how)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 forks of" in done.stdout
    assert """--modify '{"followers":9000}' --target """ in done.stdout
    answer = json.loads(asked("fork", f"{recorded.session_id}/{AGENT}", *how, "--json").stdout)
    assert answer["counts"] == {"false": 2, "true": 1}


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["fork", "last/{agent}", "--step", "1"], 2, "--modify"),
        (["fork", "last/{agent}", "--step", "1", "--modify", "{"], 2, "not JSON"),
        (["fork", "last/{agent}", "--step", "1", "--modify", "3"], 2, "not a patch"),
        (["fork", "last/{agent}", "--step", "1", "--seeds", "3", "--seed", "1"], 2, "--sweep"),
        (["fork", "last/{agent}", "--step", "1", "--sweep"], 2, "a sweep needs changes"),
        (["fork", "last/{agent}", "--step", "1", "--sweep", "--vary", "x"], 2, "FIELD=VALUE"),
        (["resume", "last/{agent}", "--step", "nowhere"], 3, "nowhere"),
        (["resume", "last/{agent}", "--step", "tick:500"], 3, "the last is of tick"),
        (["resume", "no_such_run", "--step", "1"], 3, "no_such_run"),
        (["resume", "last/{agent}", "--step", "1", "--target", "nothing.here:x"], 3, "nothing.here"),
        (["diff", "last", "no_such_run"], 3, "no_such_run"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(asked, arguments, code, says):
    done = asked(*(word.replace("{agent}", AGENT) for word in arguments))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert says in done.stderr
