"""examples/ray_actors.py: actors of Ray record on two hosts, one is killed, and the sessions become one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.processes import REPOSITORY

from Agent.analysis import LogAnalyzer, debug_issue

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="ray is not installed")

KILLED_AT = 31
HEAVY_FROM = 25


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """What the example printed, and the trace root with the merged session."""
    directory = tmp_path_factory.mktemp("ray")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE")}
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / "ray_actors.py")],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, directory / "trace"


@pytest.fixture
def analyzer(merged):
    with LogAnalyzer(root=merged[1]) as found:
        yield found


def test_what_was_acknowledged_is_in_the_merged_session(merged):
    printed, _ = merged
    assert f"parcel {KILLED_AT}: the process of courier_2 is gone" in printed
    assert f"{HEAVY_FROM} deliveries acknowledged, {HEAVY_FROM} of them recorded" in printed
    assert "0 events lost" in printed


def test_the_killed_actor_has_an_open_span(analyzer):
    (span,) = analyzer.in_flight()
    assert (span["agent_id"], span["name"], span["alive"]) == ("courier_2", "deliver", False)


def test_no_delivery_stands_before_its_order(analyzer):
    places: dict[int, dict[str, int]] = {}
    rows = analyzer.sql("SELECT action_type, tick FROM actions ORDER BY ts_us")
    for place, row in enumerate(rows):
        places.setdefault(row["tick"], {}).setdefault(row["action_type"], place)
    assert len(places) == 40
    for tick, found in places.items():
        steps = [found[name] for name in ("order", "weigh", "deliver") if name in found]
        assert steps == sorted(steps)
        assert len(steps) == 3 or tick == KILLED_AT


def test_causes_lead_from_a_courier_to_the_setting_of_the_planner_on_the_other_host(analyzer):
    failed = (
        "SELECT id FROM actions WHERE agent_id = 'courier_1' AND outcome = 'error' ORDER BY ts_us LIMIT 1"
    )
    (first,) = analyzer.sql(failed)
    chain = [
        event["message"].removeprefix("Agent action: ")
        for event in analyzer.find_causality_chain(first["id"])
    ]
    assert chain.index("weigh") < chain.index("order") < chain.index("recalibrate")


def test_debug_names_the_planner_among_the_first_three_causes(merged):
    report = debug_issue("courier_1 fails: too heavy to lift", root=merged[1])
    assert any("planner" in cause.agent_ids and "tick 25" in cause.title for cause in report.causes[:3])
