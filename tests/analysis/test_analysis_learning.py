"""Learning: curves, exploration, changes and lineage by the planted truth and by independent counts."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from known import Known

from Agent.analysis import LogAnalyzer
from Agent.analysis.query.engine import Engine
from Agent.errors import UsageError


@pytest.fixture(scope="module")
def report(known: Known) -> dict[str, Any]:
    analyzer = LogAnalyzer(known.truth.session)
    found = analyzer.learning_report()
    analyzer.close()
    return found


@pytest.mark.integration
def test_reward_sums_are_the_planted_ones(known: Known, report: dict[str, Any]) -> None:
    sums = {agent: row["total_rewards"] for agent, row in report["by_agent"].items() if row["reward_count"]}
    assert sums == pytest.approx(known.truth.rewards)
    assert report["total_rewards"] == pytest.approx(sum(known.truth.rewards.values()))
    curve = report["curves"]["rewards"]
    assert curve[-1]["cumulative"] == pytest.approx(report["total_rewards"])
    assert sum(point["count"] for point in curve) == known.truth.by_kind["reward"]
    assert len(curve) <= 50


def test_each_point_of_the_curves_is_what_the_lines_of_its_ticks_add_up_to(
    known: Known, report: dict[str, Any]
) -> None:
    by_tick: defaultdict[int, list[float]] = defaultdict(list)
    for event in known.of_kind("reward"):
        by_tick[event["tick"]].append(event["extra"]["reward"])
    assert report["curves"]["by"] == "tick"
    points = report["curves"]["rewards"]
    for point in points:
        values = [value for tick in range(point["first"], point["last"] + 1) for value in by_tick[tick]]
        assert (point["count"], point["sum"]) == (len(values), pytest.approx(math.fsum(values)))
    window = report["curves"]["moving_mean_points"]
    last = points[-window:]
    assert points[-1]["moving_mean"] == pytest.approx(
        sum(p["sum"] for p in last) / sum(p["count"] for p in last)
    )
    explored = [event["extra"]["exploration"] for event in known.of_kind("exploration")]
    curve = report["curves"]["exploration"]
    assert sum(point["choices"] for point in curve) == len(explored)
    assert sum(point["explored"] for point in curve) == sum(explored)


def test_a_collapse_of_rewards_is_a_shift_at_its_tick_with_both_levels(known: Known) -> None:
    fault = known.fault("reward_collapse")
    analyzer = LogAnalyzer(known.truth.session)
    found = analyzer.learning_report(fault.agent_id)
    width = max(point["last"] - point["first"] + 1 for point in found["curves"]["rewards"])
    shift = found["curves"]["shift"]
    assert abs(shift["at"] - (fault.tick + 1)) <= 2 * width
    assert shift["after"] < 0.3 * shift["before"]
    told = {row["id"]: row for row in found["changes"]["last"]}
    assert told[fault.cause_ids[0]]["after"] == {"learning_rate": 10.0, "quality": 0.0}
    assert found["changes"]["counts"]["policy_update"] == sum(
        event["extra"]["agent_id"] == fault.agent_id for event in known.of_kind("policy_update")
    )
    healthy = f"agent_{(fault.agent + 1) % known.truth.agents:05d}"
    if healthy not in {each.agent_id for each in known.truth.faults}:
        assert analyzer.learning_report(healthy)["curves"]["shift"] is None
    analyzer.close()


def test_lineage_leads_from_rewards_over_the_update_to_the_action_that_used_it(known: Known) -> None:
    agent = known.truth.faults[0].agent_id
    mine = {event["id"]: event for event in known.events if event["extra"].get("agent_id") == agent}
    found = LogAnalyzer(known.truth.session).learning_lineage(agent)
    kinds = ("learning_update", "policy_update", "training_step", "strategy_update")
    updates = [event for event in mine.values() if event["extra"]["event_type"] in kinds]
    assert found["count"] == len(updates)
    used = {cause for event in mine.values() for cause in event.get("causes", ())}
    assert found["with_recorded_experience"] == sum(bool(event.get("causes")) for event in updates)
    assert found["with_recorded_use"] == sum(event["id"] in used for event in updates)
    rewards = {cause for event in updates for cause in event.get("causes", ()) if cause in mine
               and mine[cause]["extra"]["event_type"] == "reward"}  # fmt: skip
    assert found["rewards_used"] == len(rewards) > 0
    for update in found["updates"]:
        causes = mine[update["id"]].get("causes", [])
        recorded = [edge["id"] for edge in update["experience"] if edge["source"] == "recorded"]
        assert recorded == causes
        assert all(edge["source"] == "recorded" for edge in update["experience"]) or not causes
        for edge in update["used_by"]:
            if edge["source"] == "recorded":
                assert update["id"] in mine[edge["id"]]["causes"]


def test_what_nobody_recorded_is_inferred_by_a_named_rule(builder: SessionBuilder) -> None:
    old = builder.emit("reward", "a", reward=1)
    first = builder.emit("policy_update", "a", policy_data={})
    rewards = [builder.emit("reward", "a", reward=n) for n in range(3)]
    span = builder.span()
    second = builder.emit("learning_update", "a", parent=span, learning_stage="q")
    late = builder.emit("reward", "a", parent=span, reward=9)
    own = builder.emit("agent_action", "a", span=span, action_type="learn", root=True)
    use = builder.emit("agent_action", "a", span=builder.span(), action_type="act", root=True)
    named = builder.emit(
        "policy_update", "a", policy_data={"from": second, "note": "aaaabbbb-999 is not an event"}
    )
    found = LogAnalyzer(builder.path).learning_lineage("a")
    edges = {row["id"]: row for row in found["updates"]}
    assert [(e["id"], e["rule"]) for e in edges[first]["experience"]] == [
        (old, "rewards since the update before")
    ]
    assert [(e["id"], e["rule"]) for e in edges[second]["experience"]] == [
        (late, "a reward in the span of the update")
    ]
    assert [(e["id"], e["source"], e["rule"]) for e in edges[named]["experience"]] == [
        (second, "recorded", "payload")
    ]
    assert [(e["id"], e["source"]) for e in edges[second]["used_by"]] == [(named, "recorded")]
    assert [(e["id"], e["source"]) for e in edges[first]["used_by"]] == [(own, "inferred")]
    assert own != use
    assert found["with_recorded_experience"] == 1
    assert len(rewards) == 3


def test_curves_run_along_episodes_where_rewards_carry_them(builder: SessionBuilder) -> None:
    for episode in range(4):
        for step in range(5):
            builder.emit("reward", "a", reward=episode + step, episode=episode)
    analyzer = LogAnalyzer(builder.path)
    curve = analyzer.learning_report("a", "episode")["curves"]
    assert [(p["first"], p["count"], p["sum"]) for p in curve["rewards"]] == [
        (episode, 5, 5 * episode + 10) for episode in range(4)
    ]
    assert analyzer.learning_report("a")["curves"]["by"] == "time"
    with pytest.raises(UsageError, match="no reward has a tick"):
        analyzer.learning_report("a", "tick")
    with pytest.raises(UsageError, match="not an axis"):
        analyzer.learning_report("a", "moon")


def test_an_agents_own_report_is_its_part_of_the_whole(known: Known, report: dict[str, Any]) -> None:
    agent = sorted(known.truth.by_agent)[3]
    analyzer = LogAnalyzer(known.truth.session)
    mine = analyzer.learning_report(agent)
    analyzer.close()
    for key, value in report["by_agent"][agent].items():
        assert mine[key] == value, key


def test_a_session_without_learning_has_empty_curves(trace_root: Path) -> None:
    build = SessionBuilder(trace_root)
    build.emit("log", "a")
    found = LogAnalyzer(build.path).learning_report()
    assert found["curves"]["rewards"] == found["curves"]["exploration"] == []
    assert found["curves"]["convergence"]["state"] == "too few points"


def test_curves_of_metrics_read_as_many_names_as_they_show_and_pass_over_texts(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(8):
        texts = {f"a{number:03}": "no number" for number in range(70)}
        metrics = texts | {f"m{number:03}": number + step for number in range(300)}
        builder.emit("training_step", "learner", step=step, metrics=metrics)
    read: list[int] = []
    rows_of = Engine.rows

    def counted(*given: Any) -> list[dict[str, Any]]:
        rows = rows_of(*given)
        read.append(sum("mean" in row and "timestamp" in row for row in rows))
        return rows

    monkeypatch.setattr(Engine, "rows", counted)
    curves = LogAnalyzer(root=builder.root).analyze_learning_progress("learner")["metric_curves"]
    assert list(curves) == [f"m{number:03}" for number in range(20)]
    assert [point["mean"] for point in curves["m003"]] == [float(3 + step) for step in range(8)]
    assert 0 < sum(read) < 100 * 8
