"""Programs over Mesa, LangGraph and openai-agents, recorded and driven again in new processes.

`python -m benchmarks.third_party` makes the same a table, beside a peer.
"""

from __future__ import annotations

import pytest

from benchmarks.third_party import Traced, is_right, missing
from benchmarks.third_party_programs import SUBJECTS, Subject

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=SUBJECTS, ids=lambda subject: subject.module)
def recorded(request, tmp_path_factory) -> tuple[Subject, Traced]:
    """One program, recorded once for all that is asked of it."""
    subject: Subject = request.param
    absent = missing(subject)
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed")
    return subject, Traced(subject, tmp_path_factory.mktemp(subject.module) / "program")


def test_the_program_as_it_was_is_identical(recorded):
    _, traced = recorded
    told = traced.redriven(None)
    assert is_right(told, None), told.text


def test_one_changed_line_diverges_at_exactly_that_step_with_agent_and_field(recorded):
    subject, traced = recorded
    told = traced.redriven(subject.changed)
    assert (told.verdict, told.step) == ("DIVERGED", subject.changed.step), told.text
    first = told.text[told.text.index("first difference") :].splitlines()[:2]
    assert all(name in " ".join(first) for name in subject.changed.named), told.text


def test_a_draw_past_the_recorder_is_unverified_by_its_place(recorded):
    subject, traced = recorded
    told = traced.redriven(subject.drawn)
    assert told.verdict == "UNVERIFIED", told.text
    reason = next(line for line in told.text.splitlines() if "because" in line)
    assert all(name in reason for name in subject.drawn.named), reason
