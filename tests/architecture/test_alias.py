"""`agent_trace` is `Agent`: one set of modules under two names."""

import pkgutil
import subprocess
import sys

import pytest

import Agent

pytestmark = pytest.mark.process

SAME = """
import importlib, sys
import agent_trace, Agent
assert agent_trace is Agent
for name in sys.argv[1:]:
    first, second = importlib.import_module("agent_trace." + name), importlib.import_module("Agent." + name)
    assert first is second, name
    assert second.__spec__.name == second.__name__ == "Agent." + name, second.__spec__
from agent_trace.replay.plan.target import remember_target
assert remember_target.__module__ == "Agent.replay.plan.target"
"""


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.further
def test_every_package_is_the_same_module_under_both_names():
    packages = [found.name for found in pkgutil.iter_modules(Agent.__path__) if found.name != "__main__"]
    done = python("-c", SAME, *packages, "tree.layout", "server.app")
    assert done.returncode == 0, done.stderr


def test_a_module_that_agent_lacks_is_missing_under_the_alias_too():
    done = python("-c", "import agent_trace.no_such_module")
    assert "ModuleNotFoundError: No module named 'agent_trace.no_such_module'" in done.stderr


def test_the_alias_runs_as_a_command():
    assert python("-m", "agent_trace", "--version").stdout == python("-m", "Agent", "--version").stdout != ""
