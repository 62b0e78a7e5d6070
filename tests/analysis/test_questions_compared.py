"""Every question about whole sessions is among those that are compared on both engines.

`test_spark_questions` compares them. Here DuckDB alone answers them all, and no function that asks either engine
may be left out: so a new question fails here until it is compared.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
from test_spark_questions import QUESTIONS, two_hosts

import Agent.analysis
from Agent.analysis.query.engine import open_trees

ABOUT_ONE_SESSION = frozenset(
    """
    causality.chains.causality_chain causality.chains.event_asked causality.event_links.find_event
    causality.event_links.load_event causality.graph.causal_graph debug.debug_issue.explain
    debug.debug_issue.held_lines debug.question.absent
    debug.question.events_naming
    debug.question.matching_messages debug.recorded.event_causes
    debug.recorded.unknown_events debug.root_causes.reading.read_log debug.root_causes.reading.survey
    questions.comparison.gather
    questions.comparison.values questions.errors.errors questions.journeys.journey_overview
    questions.journeys.record_gaps questions.perfetto.write_perfetto questions.provenance.provenance
    questions.states.agent_vars questions.states.check_within questions.states.checkpoints
    questions.states.field_changes questions.states.field_course questions.states.state_at
    report.session_report.export_analysis report.session_report.gather report.session_report.session_page
    report.session_report.session_summary report.session_report.write_page session.code_places
    session.counted_losses session.losses
    """.split()
)
"""What asks DuckDB alone, because it is about the files of one session or about rows held in memory."""


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of the package by name, without its own name."""
    for found in pkgutil.walk_packages(Agent.analysis.__path__, "Agent.analysis."):
        module = importlib.import_module(found.name)
        for name, each in vars(module).items():
            if inspect.isfunction(each) and each.__module__ == found.name:
                yield f"{found.name}.{name}".removeprefix("Agent.analysis."), inspect.unwrap(each)


def asks(function: Callable[..., Any], engine: str) -> bool:
    """Whether a parameter of a function is an engine of this type."""
    given = {name: kind for name, kind in function.__annotations__.items() if name != "return"}
    return any(engine in str(kind).split(" | ") for kind in given.values())


@pytest.mark.further
@pytest.mark.process
def test_every_function_that_asks_either_engine_is_run_by_a_compared_question(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    trees = two_hosts(tmp_path_factory, events=9_000, agents=18)
    with open_trees(trees.local) as engine:
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            for question in QUESTIONS.values():
                assert question(engine)
        finally:
            sys.setprofile(before)
    asking = {name: each.__code__ for name, each in functions() if asks(each, "QueryEngine")}
    assert len(asking) > 40
    missing = [name for name, code in asking.items() if code not in called]
    assert not missing, f"no question of test_spark_questions.QUESTIONS runs {missing}"


def test_what_asks_one_engine_alone_is_listed() -> None:
    alone = {name for name, each in functions() if asks(each, "Engine") and "._" not in name}
    assert alone == ABOUT_ONE_SESSION, "let it ask a QueryEngine, or name it in ABOUT_ONE_SESSION"
