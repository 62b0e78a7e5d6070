"""The two facades hold names only: sorted, complete, and each leads somewhere."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import Agent
import Agent.bridges
import Agent.flight
import Agent.utils

UTILS_NAMES = {
    "AgentLogger",
    "InteractionLogger",
    "LearningLogger",
    "LogAnalyzer",
    "PerformanceLogger",
    "SystemLogger",
    "analyze_session",
    "debug_issue",
    "measure_performance",
    "trace_agent_action",
    "trace_context",
    "trace_errors",
    "trace_learning_update",
    "trace_performance",
}
AGENT_NAMES = UTILS_NAMES | {
    "caused_by",
    "health",
    "instrument",
    "receive",
    "send",
    "setup_logging",
    "shutdown_logging",
    "tick",
}
FLIGHT_NAMES = {"Recorder", "find_run", "list_runs", "read_run", "recorder"}
BRIDGE_NAMES = {"AgentTraceSpanProcessor", "TraceHandler", "structlog_processor", "structlog_renderer"}
FACADES = [
    (Agent, AGENT_NAMES),
    (Agent.utils, UTILS_NAMES),
    (Agent.bridges, BRIDGE_NAMES),
    (Agent.flight, FLIGHT_NAMES),
]
FACADE_NAMES = ["Agent", "Agent.utils", "Agent.bridges", "Agent.flight"]


def public_names(module: ModuleType) -> set[str]:
    """What a reader of the module finds that is this project's own and not one of its rooms."""
    names = set()
    for name in dir(module):
        value = getattr(module, name)
        own = str(getattr(value, "__module__", "")).startswith("Agent")
        if own and callable(value) and not name.startswith("_"):
            names.add(name)
    return names


@pytest.mark.parametrize(("module", "promised"), FACADES, ids=FACADE_NAMES)
def test_all_is_sorted_and_complete(module, promised):
    names = list(module.__all__)
    assert names == sorted(names, key=lambda name: (name.casefold(), name))
    assert len(names) == len(set(names))
    assert promised <= set(names), f"missing: {sorted(promised - set(names))}"
    exported = {name for name in names if not name.startswith("_")}
    assert public_names(module) <= exported, f"not in __all__: {sorted(public_names(module) - exported)}"


@pytest.mark.parametrize("module", [Agent, Agent.utils, Agent.bridges, Agent.flight], ids=FACADE_NAMES)
def test_every_name_resolves_and_is_documented(module):
    for name in module.__all__:
        value = getattr(module, name)
        assert isinstance(value, str) or inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize("module", [Agent, Agent.utils, Agent.bridges, Agent.flight], ids=FACADE_NAMES)
def test_a_name_that_does_not_exist_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name


@pytest.mark.parametrize("module", [Agent, Agent.utils, Agent.bridges, Agent.flight], ids=FACADE_NAMES)
def test_a_facade_defines_no_class_and_nothing_longer_than_a_hook(module):
    tree = ast.parse(Path(module.__file__).read_text())
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {node.name for node in functions} <= {"__getattr__", "__dir__"}
    assert all(node.end_lineno - node.lineno < 20 for node in functions)


def test_both_facades_hand_out_the_same_objects():
    for name in UTILS_NAMES:
        assert getattr(Agent, name) is getattr(Agent.utils, name)
