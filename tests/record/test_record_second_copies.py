"""A second copy of the package in one process, in another interpreter or imported anew, leaves the first as it is."""

import json
import sys
import textwrap

import pytest
from support.processes import run_python

AGENTS = """
import os, sys
from Agent import AgentLogger, trace_agent_action

def agent_of(agent_id, trace):
    class Kept:
        def __init__(self):
            self.agent_id, self.seen = agent_id, 0
        @trace()
        def act(self, x):
            self.seen += x
            return x
    return Kept()

first, logger = agent_of("first", trace_agent_action), AgentLogger("plain", "r")

def used():
    first.act(1)
    return logger.log_action("note", {"x": 1, "nested": {"t": (1, 2)}})

ids = [used()]
"""


def run(body, root):
    """What the program printed last as JSON."""
    done = run_python("-c", AGENTS + textwrap.dedent(body), cwd=root.parent, AGENT_TRACE_ROOT=str(root))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


def lines_of(root, name):
    paths = root.glob(f"session_*/agents/{name}*.log")
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="the module of subinterpreters has another name from 3.13 on"
)
@pytest.mark.integration
def test_a_subinterpreter_records_for_itself_and_leaves_the_program_its_own(trace_root):
    ids = run(
        """
        import _xxsubinterpreters as interpreters, json
        inside = '''
        from Agent import AgentLogger, shutdown_logging
        assert AgentLogger("sub", "r").log_action("note", {"x": 1})
        shutdown_logging()
        '''
        import textwrap
        interpreters.run_string(interpreters.create(), textwrap.dedent(inside))
        ids += [used(), used()]
        print(json.dumps(ids))
        """,
        trace_root,
    )
    assert all(ids)
    assert {line["id"] for line in lines_of(trace_root, "plain")} >= set(ids)
    assert [line["extra"]["action_type"] for line in lines_of(trace_root, "sub")] == ["note"]
    acts = [one for one in lines_of(trace_root, "first") if one["extra"]["event_type"] == "agent_action"]
    assert [one["state"]["set"]["seen"] for one in acts] == [1, 2, 3]


@pytest.mark.integration
def test_what_was_traced_before_the_package_is_imported_anew_goes_on(trace_root):
    ids = run(
        """
        import importlib, json
        for name in [one for one in sys.modules if one.partition(".")[0] == "Agent"]:
            del sys.modules[name]
        import Agent
        second = agent_of("second", Agent.trace_agent_action)
        other = Agent.AgentLogger("other", "r")
        for _ in range(3):
            ids.append(used())
            second.act(1)
            ids.append(other.log_action("note", {"x": 1}))
        # as a notebook's autoreload does
        importlib.reload(sys.modules["Agent.record.tracing.traced_call"])
        second.act(1)
        ids += [used(), other.log_action("note", {"x": 1})]
        print(json.dumps(ids))
        """,
        trace_root,
    )
    assert all(ids)
    found = [line["id"] for name in ("plain", "other") for line in lines_of(trace_root, name)]
    assert set(ids) <= set(found)
    for name in ("first", "second"):
        acts = [one for one in lines_of(trace_root, name) if one["extra"]["event_type"] == "agent_action"]
        assert [one["extra"]["result"] for one in acts] == [1] * len(acts)
        assert len(acts) >= 4
