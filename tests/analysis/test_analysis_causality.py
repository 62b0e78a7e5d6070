"""Causal chains: recorded edges, inferred edges with their rule, across agents, within the time asked for."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.analysis.causality.event_links import Links
from Agent.errors import EventNotFound, UsageError


def chain_of(build: SessionBuilder, event_id: str, **options: Any) -> dict[str, dict[str, Any]]:
    return {cause["id"]: cause for cause in LogAnalyzer(build.path).find_causality_chain(event_id, **options)}


def test_a_cause_that_the_program_recorded_is_an_edge(builder: SessionBuilder) -> None:
    first = builder.emit("log", "a", message="first")
    second = builder.emit("log", "b", causes=(first,))
    chain = chain_of(builder, second)
    assert list(chain) == [first]
    assert chain[first]["edge"] == {
        "cause_id": first,
        "effect_id": second,
        "basis": "recorded",
        "rule": "cause",
        "reason": f"the program recorded {first} as a cause of it",
    }
    assert chain[first]["hops"] == 1


def test_an_error_goes_back_through_its_span_and_a_message_to_another_agent(builder: SessionBuilder) -> None:
    span = builder.span()
    bad = builder.emit("decision", "planner", decision_type="odd", message="Decision: odd")
    sent = builder.emit(
        "agent_message", "planner", direction="sent", message_id="m1", sender="planner", recipient="worker",
        causes=(bad,),
    )  # fmt: skip
    builder.pass_time(1)
    got = builder.emit(
        "agent_message", "worker", direction="received", message_id="m1", sender="planner", recipient="worker",
        parent=span,
    )  # fmt: skip
    error = builder.emit("error", "worker", parent=span, level="ERROR", error_type="X", error_message="y")
    action = builder.emit(
        "agent_action",
        "worker",
        span=span,
        action_type="work",
        outcome="error",
        error_id=error,
        duration_ms=1.0,
    )
    chain = chain_of(builder, action)
    assert {chain[i]["edge"]["rule"] for i in (error, got, sent, bad)} == {
        "error",
        "span",
        "message",
        "cause",
    }
    assert all(chain[i]["edge"]["basis"] == "recorded" for i in (error, got, sent, bad))
    assert next(iter(chain)) == error, "nearest first"
    assert (chain[got]["hops"], chain[sent]["hops"], chain[bad]["hops"]) == (1, 2, 3)
    assert {cause["agent_id"] for cause in chain.values()} == {"planner", "worker"}


def test_an_error_happened_inside_the_span_that_ended_after_it(builder: SessionBuilder) -> None:
    span = builder.span()
    error = builder.emit("error", "a", parent=span, level="ERROR", error_type="X", error_message="y")
    builder.pass_time(0.5)
    outer = builder.emit("agent_action", "a", span=span, action_type="work", duration_ms=900.0)
    chain = chain_of(builder, error)
    assert chain[outer]["edge"]["rule"] == "span"


@pytest.mark.parametrize(
    ("kind", "extra", "agent", "told"),
    [
        ("step.finished", {"name": "plan", "step_id": "s1"}, "a", "step 'plan'"),
        ("run.finished", {"ok": True}, "ann", "run 'ann'"),
        ("tool.call", {"name": "search"}, "a", "tool call 'search'"),
        ("agent_action", {"action_type": "work"}, "a", "agent action 'work'"),
        ("context_exit", {}, "a", "context exit"),
    ],
)
def test_a_span_without_a_message_is_told_by_its_kind_and_name(
    builder: SessionBuilder, kind: str, extra: dict[str, Any], agent: str, told: str
) -> None:
    span = builder.span()
    inner = builder.emit("log", agent, parent=span)
    outer = builder.emit(kind, agent, span=span, message="", duration_ms=1.0, **extra)
    assert chain_of(builder, inner)[outer]["edge"]["reason"] == f"it happened inside {told}"


def order_given(build: SessionBuilder) -> str:
    """Records an order of a doctor and two events that have less of it or came before; gives the order's id."""
    order = {"order": "baker-0035", "patient": "patient_08", "dose": 375.2}
    build.emit("agent_action", "doctor", action_type="prescribe", result=order)
    prescribed = build.emit("agent_action", "doctor", action_type="prescribe", result=order)
    build.emit("agent_action", "nurse", action_type="wash", result={"patient": "patient_08", "count": 3})
    return prescribed


ORDERED = {"order": {"order": "baker-0035", "patient": "patient_08", "dose": 375.2, "count": 3}}


def test_arguments_are_led_back_to_the_newest_event_with_most_of_their_rare_values(
    builder: SessionBuilder,
) -> None:
    prescribed = order_given(builder)
    prepared = builder.emit("agent_action", "pharmacy", action_type="prepare", args=ORDERED)
    chain = chain_of(builder, prepared)
    edge = chain[prescribed]["edge"]
    assert (list(chain), edge["basis"], edge["rule"]) == ([prescribed], "inferred", "passed_value")
    assert "'baker-0035' as result.order" in edge["reason"]


def test_arguments_inside_an_action_or_without_rare_values_are_led_back_to_nothing(
    builder: SessionBuilder,
) -> None:
    order_given(builder)
    span = builder.span()
    inner = builder.emit("agent_action", "pharmacy", action_type="prepare", args=ORDERED, parent=span)
    builder.emit("agent_action", "manager", action_type="manage", span=span, duration_ms=1.0)
    common = builder.emit("agent_action", "pharmacy", action_type="count", args={"count": 3})
    rules = [
        {cause["edge"]["rule"] for cause in chain_of(builder, each).values()} for each in (inner, common)
    ]
    assert rules == [{"span"}, set()]


def test_arguments_cost_one_further_query(builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    order_given(builder)
    prepared = builder.emit("agent_action", "pharmacy", action_type="prepare", args=ORDERED)
    asked: list[str] = []

    def counted(name: str) -> None:
        method = getattr(Links, name)
        monkeypatch.setattr(Links, name, lambda *given: (asked.append(name), method(*given))[1])

    counted("_ask")
    counted("containing")
    chain_of(builder, prepared)
    assert asked == ["containing"]


@pytest.mark.parametrize(
    ("kind", "extra", "rule"),
    [
        ("agent_action", {"action_type": "x", "state": {"set": {"mood": "sad"}}}, "state_before"),
        ("learning_update", {"learning_stage": "bandit"}, "learning_before_action"),
        ("strategy_update", {"strategy_type": "s"}, "strategy_before_action"),
        (
            "agent_message",
            {"direction": "received", "message_id": "m", "sender": "b"},
            "message_before_decision",
        ),
        ("error", {"error_type": "X", "error_message": "y", "level": "ERROR"}, "error_before"),
    ],
)
def test_each_rule_infers_from_the_nearest_event_of_its_sort(
    builder: SessionBuilder, kind: str, extra: dict[str, Any], rule: str
) -> None:
    builder.emit(kind, "a", **extra)
    builder.pass_time(1)
    nearest = builder.emit(kind, "a", **extra)
    builder.emit(kind, "somebody_else", **extra)
    decision = builder.emit("decision", "a", decision_type="t")
    direct = [cause for cause in chain_of(builder, decision).values() if cause["hops"] == 1]
    assert [(cause["id"], cause["edge"]["basis"], cause["edge"]["rule"]) for cause in direct] == [
        (nearest, "inferred", rule)
    ]
    assert direct[0]["edge"]["reason"]


def test_recorded_causes_come_before_inferred_ones(builder: SessionBuilder) -> None:
    builder.emit("strategy_update", "a", strategy_type="s")
    named = builder.emit("log", "b")
    builder.pass_time(30)
    decision = builder.emit("decision", "a", decision_type="t", causes=(named,))
    chain = list(chain_of(builder, decision).values())
    assert [cause["edge"]["basis"] for cause in chain] == ["recorded", "inferred"]


def test_nothing_older_than_the_lookback_is_a_cause(builder: SessionBuilder) -> None:
    old = builder.emit("log", "a")
    builder.pass_time(100)
    new = builder.emit("log", "a", causes=(old,))
    assert chain_of(builder, new) == {}
    assert list(chain_of(builder, new, lookback_seconds=101)) == [old]
    assert list(chain_of(builder, new, lookback_seconds=float("inf"))) == [old]


def test_what_comes_later_is_no_cause_even_if_the_record_says_so(builder: SessionBuilder) -> None:
    first = builder.emit("log", "a", causes=(f"{builder.writer}-2",))
    builder.emit("log", "a")
    assert chain_of(builder, first) == {}


def test_causes_in_a_circle_end(builder: SessionBuilder) -> None:
    span = builder.span()
    builder.emit("log", "a", causes=(f"{builder.writer}-3",))
    builder.emit("log", "a", causes=(f"{builder.writer}-1",))
    last = builder.emit("error", "a", level="ERROR", span=span, parent=span, causes=(f"{builder.writer}-2",))
    assert len(chain_of(builder, last)) == 2


def test_an_error_of_the_list_can_be_handed_in_as_it_is(builder: SessionBuilder) -> None:
    cause = builder.emit("log", "a")
    builder.emit("error", "a", level="ERROR", error_type="X", error_message="y", causes=(cause,))
    analyzer = LogAnalyzer(builder.path)
    newest = analyzer.get_errors()[-1]
    assert [found["id"] for found in analyzer.find_causality_chain(newest, lookback_seconds=60)] == [cause]
    assert analyzer.find_causality_chain(builder.events[-1])[0]["id"] == cause


def test_what_is_no_event_is_refused(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    analyzer = LogAnalyzer(builder.path)
    with pytest.raises(EventNotFound):
        analyzer.find_causality_chain("aaaabbbb-77")
    with pytest.raises(UsageError):
        analyzer.find_causality_chain({"message": "no id"})
    for seconds in (-1, float("nan")):
        with pytest.raises(UsageError):
            analyzer.find_causality_chain("aaaabbbb-1", lookback_seconds=seconds)


def test_a_cause_says_when_it_began_which_is_never_after_its_effect(builder: SessionBuilder) -> None:
    span = builder.span()
    error = builder.emit("error", "a", level="ERROR", parent=span, error_type="X", error_message="y")
    action = builder.emit(
        "agent_action", "a", span=span, duration_ms=5_000.0, outcome="error", error_id=error
    )
    (cause,) = LogAnalyzer(builder.path).find_causality_chain(error)
    failed = next(event for event in builder.events if event.id == error)
    assert cause["id"] == action
    assert cause["started_at"] < failed.timestamp < cause["timestamp"]
    shown = LogAnalyzer(builder.path).causal_graph(error).to_text()
    assert f"{cause['started_at'][11:23]}  a  agent_action" in shown
