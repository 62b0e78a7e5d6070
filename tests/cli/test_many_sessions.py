"""Commands that read many sealed sessions together, and what they say where they cannot."""

from __future__ import annotations

import json
import sys

import pytest
from support.known_truth import make_session

from Agent.analysis.query.views import scan
from Agent.archive.sealed.reader import open_reader
from Agent.errors import InputError


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The trace roots of two hosts with a sealed session each, and one with an unsealed session."""
    roots = [tmp_path_factory.mktemp(name) for name in ("host_a", "host_b", "live")]
    for seed, root in enumerate(roots):
        make_session(root, events=2_000, agents=5, seed=seed, sealed=root != roots[2])
    return roots


def asked(run, *words):
    done = run(*map(str, words), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.integration
def test_two_sessions_together_have_what_each_of_them_has(places, run):
    one, other, _ = places
    both = asked(run, "analyze", "--engine", "duckdb", one, other)
    apart = [asked(run, "analyze", "--root", root) for root in (one, other)]
    assert both["total_events"] == sum(each["total_events"] for each in apart)
    assert both["errors"]["total_errors"] == sum(each["errors"]["total_errors"] for each in apart)
    assert both["losses"]["total_lost"] == sum(each["losses"]["total_lost"] for each in apart)
    assert len(both["sessions"]) == 2
    count = "SELECT count(*) AS n FROM events"
    pattern = one.parent / f"host_?{one.name.removeprefix('host_a')}"
    assert asked(run, "sql", count, pattern, "--engine", "duckdb")[0]["n"] == both["total_events"]
    errors = asked(run, "errors", one, other, "--engine", "duckdb")
    assert errors["total_errors"] == both["errors"]["total_errors"]


@pytest.mark.integration
def test_one_session_read_as_many_gives_the_same_report(places, run):
    alone = asked(run, "analyze", "--root", places[0])
    together = asked(run, "analyze", "last", "--engine", "duckdb", "--root", places[0])
    for key in ("errors", "learning", "interactions", "performance", "agents", "event_types", "marks"):
        assert together[key] == alone[key], key


@pytest.mark.integration
def test_a_complaint_about_two_sessions_is_explained_from_both(places, run):
    done = run("debug", "agent-000 fails", *map(str, places[:2]), "--engine", "duckdb", "--json")
    assert done.returncode in {0, 1}, done.stderr
    assert json.loads(done.stdout)["commands"] == []


@pytest.mark.integration
def test_a_report_of_one_session_read_as_many_is_the_same(places, run):
    root = places[0]
    agent = asked(run, "sql", "SELECT min(agent_id) AS agent FROM events", root, "--engine", "duckdb")[0][
        "agent"
    ]
    for words in (
        ["learning"],
        ["learning", agent],
        ["interactions"],
        ["causes", error_in(run, root), "--effects"],
    ):
        alone = run(*words, "--root", str(root), "--json")
        many = ["learning", "*"] if words == ["learning"] else words
        together = run(*many, *(["--engine", "duckdb", str(root)]), "--json")
        assert alone.stdout and together.stdout == alone.stdout, words
    for words in (["journey", agent], ["journey", agent, "--tree", "--all"], ["performance"]):
        alone = run(*words, "--root", str(root))
        together = run(*words, "--engine", "duckdb", str(root))
        assert alone.stdout and together.stdout == alone.stdout, words


def error_in(run, root):
    """The id of an event with recorded links around it."""
    query = "SELECT id FROM messages WHERE direction LIKE 'rec%' ORDER BY ts_us DESC LIMIT 1"
    return asked(run, "sql", query, root, "--engine", "duckdb")[0]["id"]


@pytest.mark.further
def test_a_journey_through_two_sessions_has_the_events_of_both(places, run):
    one, other = map(str, places[:2])
    count = (
        "SELECT agent_id, count(*) AS n FROM events WHERE agent_id IS NOT NULL GROUP BY ALL ORDER BY n DESC"
    )
    row = asked(run, "sql", count, one, other, "--engine", "duckdb")[0]
    both = run("journey", row["agent_id"], one, other, "--engine", "duckdb", "--json")
    assert len(both.stdout.splitlines()) == row["n"]
    shown = run("journey", row["agent_id"], one, other, "--engine", "duckdb")
    assert "and 1 more" in shown.stdout.splitlines()[0]
    assert run("journey", row["agent_id"], one, "--engine", "duckdb", "--gaps").returncode == 2
    assert run("journey", "nobody", one, "--engine", "duckdb").returncode == 3
    assert run("causes", "aaaaaaaa-1", one, other, "--engine", "duckdb").returncode == 3


def test_causes_of_more_events_than_are_read_are_refused_with_a_remedy(places, run):
    from Agent.analysis.causality.graph import around_event
    from Agent.analysis.query.engine import open_trees
    from Agent.analysis.query.trees import sealed_trees, selected_session

    trees = sealed_trees([str(places[0])])
    with open_trees(trees.local) as engine:
        event_id = error_in(run, places[0])
        wide, narrow = (around_event(engine, event_id, seconds) for seconds in (60, 0))
        with (
            pytest.raises(InputError, match="at most 100 are read") as told,
            selected_session(engine, trees, wide, 100),
        ):
            pass
        assert told.value.remedy == "give a shorter --lookback"
        with selected_session(engine, trees, narrow) as path:
            assert any(event.id == event_id for event in open_reader(path).events())


def test_a_session_that_is_not_sealed_is_named_with_the_remedy(places, run):
    done = run("errors", "--engine", "duckdb", *map(str, places))
    assert (done.returncode, done.stdout) == (3, "")
    assert "agent-trace seal" in done.stderr and str(places[2]) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.further
def test_several_sessions_need_an_engine_and_spark_needs_pyspark_and_java(places, run, monkeypatch, tmp_path):
    one, other, _ = map(str, places)
    for words in (["analyze", one, other], ["sql", "SELECT 1", one, "--master", "local[1]"]):
        done = run(*words)
        assert done.returncode == 2 and "--engine" in done.stderr, done.stderr
    assert run("errors", one, "--engine", "duckdb", "--master", "local[1]").returncode == 2
    assert run("analyze", one, "--engine", "duckdb", "--html", "x.html").returncode == 2
    assert run("errors", one, "--engine", "duckdb", "--tail").returncode == 2
    monkeypatch.setitem(sys.modules, "pyspark", None)
    done = run("errors", one, "--engine", "spark")
    assert done.returncode == 3 and "pip install 'agent-trace[cluster]'" in done.stderr
    assert run("errors", str(tmp_path / "none*"), "--engine", "duckdb").returncode == 3


@pytest.mark.further
def test_more_events_than_can_be_explained_are_refused_with_a_remedy(places):
    from Agent.analysis.debug.recorded import around_complaint
    from Agent.analysis.query.engine import open_trees
    from Agent.analysis.query.trees import sealed_trees, selected_session

    trees = sealed_trees([str(places[0])])
    with open_trees(trees.local) as engine:
        with (
            pytest.raises(InputError, match="at most 100 are read") as told,
            selected_session(engine, trees, around_complaint(engine, "everything is slow", 100), 100),
        ):
            pass
        assert told.value.remedy == "name the agents that it is about, or name fewer sessions"
        agents = engine.rows(
            "SELECT agent_id, count(*) AS n FROM " + scan() + " WHERE agent_id IS NOT NULL "
            "GROUP BY 1 ORDER BY n"
        )
        chosen = around_complaint(engine, f"{agents[0]['agent_id']} fails", 1_900)
        with selected_session(engine, trees, chosen, 1_900) as path:
            assert 0 < len(list(open_reader(path).events())) < 1_900
