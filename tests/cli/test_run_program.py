"""`agent-trace run`: a program is recorded without an edit, and runs as Python would run it."""

from __future__ import annotations

import pytest
from support.processes import child_environment, run_python

from Agent.config.load import read_file
from Agent.errors import ConfigurationError
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

MARKET = """
class Trader:
    def __init__(self, name):
        self.unique_id, self.cash = name, 10

    def step(self, price):
        self.cash -= price
        return self.cash
"""
PROGRAM = """
import sys
from market import Trader

if __name__ == "__main__":
    print(sys.argv[1:], __file__, Trader("ann").step(int(sys.argv[1])))
    if sys.argv[1] == "13":
        raise LookupError("gone")
    sys.exit(7)
"""
CONFIGURATION = """
level = "INFO"

[[instrument]]
target = "market:Trader"
methods = ["step"]
agent_role = "trader"
"""


@pytest.fixture
def place(tmp_path):
    for name, text in (("market.py", MARKET), ("prog.py", PROGRAM), ("agent-trace.toml", CONFIGURATION)):
        (tmp_path / name).write_text(text)
    return tmp_path


def run_there(place, *words, **environment):
    root = str(place / "trace")
    return run_python("-P", "-m", "Agent", "run", "--root", root, *words, cwd=place, **environment)


@pytest.mark.process
def test_a_program_runs_with_its_arguments_and_its_exit_code_and_is_recorded(place):
    done = run_there(place, "prog.py", "3")
    assert (done.returncode, done.stdout) == (7, "['3'] prog.py 7\n"), done.stderr
    (session,) = list_sessions(place / "trace")
    (action,) = [event for event in TreeReader(session.path).events("ann") if event.kind == "agent_action"]
    assert (action.agent_role, action.extra["args"], action.extra["result"]) == ("trader", {"price": 3}, 7)


@pytest.mark.integration
def test_an_exception_is_shown_as_python_shows_it(place):
    done = run_there(place, "--no-spans", "prog.py", "13")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[1].startswith(
        '  File "prog.py", line 8'
    )
    assert lines[-1] == "LookupError: gone"


@pytest.mark.integration
def test_what_cannot_be_run_or_traced_is_one_line_with_its_place(place):
    done = run_there(place, "nothing.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "cannot be read" in done.stderr
    (place / "agent-trace.toml").write_text(CONFIGURATION.replace("step", "jump"))
    done = run_there(place, "prog.py", "3")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "market:Trader cannot be traced: Trader has no method 'jump'" in done.stderr
    assert "agent-trace.toml:4" in done.stderr


@pytest.mark.integration
def test_a_program_of_which_nothing_is_recorded_says_so(place):
    (place / "agent-trace.toml").unlink()
    (place / "empty.py").write_text("print(1)")
    done = run_there(place, "empty.py")
    assert (done.returncode, done.stdout) == (0, "1\n") and "nothing was recorded" in done.stderr


@pytest.mark.integration
def test_the_queries_of_a_program_arrive_under_its_agents(place):
    pytest.importorskip(
        "opentelemetry.instrumentation.sqlite3",
        reason="opentelemetry-instrumentation-sqlite3 is not installed",
    )
    query = "import sqlite3\n        sqlite3.connect(':memory:').cursor().execute('SELECT 42')\n        "
    (place / "market.py").write_text(MARKET.replace("self.cash -= price", query + "self.cash -= price"))
    assert run_there(place, "prog.py", "3").returncode == 7
    (session,) = list_sessions(place / "trace")
    events = {event.kind: event for event in TreeReader(session.path).events("ann")}
    assert events["span"].parent_span_id == events["agent_action"].span_id
    assert events["span"].extra["attributes"]["db.statement"] == "SELECT 42"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("instrument = 3", "not a list of tables"),
        ("[[instrument]]\ntarget = 'market'\nmethods = ['a']", "target is 'market'"),
        ("[[instrument]]\ntarget = 'm:C'", "has no methods"),
        ("[[instrument]]\ntarget = 'm:C'\nmethods = 'step'", "methods is 'step'"),
        ("[[instrument]]\ntarget = 'm:C'\nmethods = ['a']\nlevel = 'LOUD'", "unknown level"),
        ("[[instrument]]\ntarget = 'm:C'\nmethods = ['a']\nagent = 'x'", "unknown key 'agent'"),
        ("[[instrument]]\ntarget = 'm:C'\nmethods = ['a']\nagent_id = 4", "agent_id is 4"),
    ],
)
def test_a_wrong_table_is_one_error_with_path_and_line(tmp_path, text, told):
    path = tmp_path / "agent-trace.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as error:
        read_file(str(path))
    assert f"({path}:1)" in str(error.value)


CHILDREN = """
import subprocess, sys
from multiprocessing import get_context
from market import Trader

def trade(name):
    return Trader(name).step(2)

if __name__ == "__main__":
    Trader("ann").step(1)
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(trade, ["bob"]))
    code = "import market; print(market.Trader('cid').step(3), market.__spec__.loader)"
    print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    print(subprocess.run([sys.executable, "-c", "import site_told"], capture_output=True, text=True).stderr)
"""


@pytest.mark.further
@pytest.mark.process
def test_the_processes_that_a_program_starts_are_recorded_into_its_session(place):
    (place / "prog.py").write_text(CHILDREN)
    (place / "sitecustomize.py").write_text(
        "import sys, types; sys.modules['site_told'] = types.ModuleType('x')"
    )
    done = run_there(
        place, "--no-spans", "prog.py", PYTHONPATH=f"{child_environment()['PYTHONPATH']}:{place}"
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "[8]" and said[1].startswith("7 <_frozen_importlib_external.SourceFileLoader")
    assert said[3:] == [""], "the user's own sitecustomize ran, too"
    (session,) = list_sessions(place / "trace")
    reader = TreeReader(session.path)
    results = {
        event.agent_id: event.extra["result"]
        for name in ("ann", "bob", "cid")
        for event in reader.events(name)
        if event.kind == "agent_action"
    }
    assert results == {"ann": 9, "bob": 8, "cid": 7}


@pytest.mark.further
@pytest.mark.process
def test_a_class_that_a_child_process_cannot_trace_does_not_keep_it_from_running(place):
    code = (
        "import os, market; del os.environ['AGENT_TRACE_RUN_CHILDREN']; print(market.Trader('cid').step(3))"
    )
    (place / "prog.py").write_text(
        "import json, os, subprocess, sys\n"
        "told = json.loads(os.environ['AGENT_TRACE_RUN_CHILDREN'])\n"
        "told['entries'][0][2] = ['jump']\n"
        "os.environ['AGENT_TRACE_RUN_CHILDREN'] = json.dumps(told)\n"
        f"done = subprocess.run([sys.executable, '-c', {code!r}], capture_output=True, text=True)\n"
        "print(done.stdout, done.stderr)\n"
    )
    done = run_there(place, "--no-spans", "prog.py")
    assert done.stdout.startswith("7\n") and "market:Trader cannot be traced" in done.stdout, done
