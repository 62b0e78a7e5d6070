"""`journey`, `state`, `learning`, `interactions`, `performance`: a screen each, complete as JSON, one-line mistakes."""

from __future__ import annotations

import json
import re

import pytest
from support.session_files import of_agent, of_kind, session_events

AGENT = "creator_003"
PAGES = [
    ["journey", AGENT],
    ["journey", AGENT, "--tree"],
    ["journey", AGENT, "--all-sessions"],
    ["journey", AGENT, "--summary", "--gaps"],
    ["state", AGENT],
    ["state", AGENT, "--at", "tick:20", "--why", "followers"],
    ["state", AGENT, "--checkpoints"],
    ["learning"],
    ["learning", AGENT],
    ["interactions"],
    ["performance"],
]


@pytest.mark.first_case
@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_each_answer_is_a_screen_and_complete_as_json(ask, words):
    done = ask(*words, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 2 <= len(lines) <= 50
    if words != ["journey", AGENT]:  # its events are cut on a terminal only
        assert max(map(len, lines)) <= 100
        document = json.loads(ask(*words, "--json").stdout)
        assert document


@pytest.mark.further
def test_a_long_journey_begins_with_totals_and_says_how_to_see_more(ask, recorded):
    mine = of_agent(session_events(recorded.session), AGENT)
    done = ask("journey", AGENT)
    assert f"{len(mine):,} in " in done.stdout
    assert "missing events were not checked" in done.stdout
    assert "--all" in done.stderr
    events = [line for line in done.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert len(events) == 20
    assert "nothing missing" in ask("journey", AGENT, "--gaps").stdout


def test_a_tree_as_json_holds_every_event_of_the_agent_once(ask, recorded):
    mine = of_agent(session_events(recorded.session), AGENT)
    document = json.loads(ask("journey", AGENT, "--tree", "--json").stdout)
    assert sorted(node["id"] for node in document["nodes"]) == sorted(event["id"] for event in mine)
    assert document["left_out"] == 0
    spans = {event.get("span_id"): event for event in mine}
    by_id = {event["id"]: event for event in mine}
    trail = []
    for node in document["nodes"]:
        del trail[node["depth"] :]
        if node["depth"]:
            assert by_id[node["id"]]["parent_span_id"] == trail[-1]
            assert trail[-1] in spans
        trail.append(node["span_id"])


def test_the_session_can_be_named_behind_the_agent(ask, recorded):
    for run in (recorded.session_id, recorded.session_id[:9], "last", str(recorded.session), f"last/{AGENT}"):
        assert ask("state", AGENT, run, "--json").returncode == 0
    done = ask("state", AGENT, "last/creator_001")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "creator_001" in done.stderr


def test_a_moment_beyond_the_end_of_the_session_is_an_error(ask):
    done = ask("state", AGENT, "--at", "tick:9999")
    assert (done.returncode, done.stdout) == (3, "")
    assert re.search(r"no tick 9999.*its last tick is 47\n", done.stderr)
    late = ask("state", AGENT, "--at", "2999-01-01T00:00:00Z")
    assert (late.returncode, late.stdout) == (3, "")
    assert ask("state", AGENT, "--at", "tick:47").returncode == 0
    assert ask("state", AGENT, "--at", "tick:2").returncode == 0


@pytest.mark.further
def test_state_tells_the_fields_and_who_made_them(ask, recorded):
    mine = of_agent(session_events(recorded.session), AGENT)
    learned = [
        event
        for event in of_kind(mine, "agent_action")
        if "followers" in event.get("state", {}).get("set", {})
    ]
    event = learned[len(learned) // 2]
    found = json.loads(ask("state", AGENT, "--at", event["id"], "--json").stdout)
    assert found["fields"]["followers"] == event["state"]["set"]["followers"]
    assert found["made_by"]["followers"]["id"] == event["id"]
    assert found["types"]["/rng"] == "random.Random"
    page = ask("state", AGENT, "--at", event["id"]).stdout
    assert re.search(rf"followers +{event['state']['set']['followers']} .*{event['id']}", page)
    why = ask("state", AGENT, "--at", event["id"], "--why", "followers").stdout
    assert event["id"] in why.splitlines()[-2] + why.splitlines()[-1]


@pytest.mark.further
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["state", "creator_9"], 3, "did you mean"),
        (["state", AGENT, "--at", "1999-01-01"], 3, "the first known state"),
        (["state", AGENT, "--at", "noon"], 2, "tick:17"),
        (["state", AGENT, "--at", "aaaaaaaa-7"], 3, "no event"),
        (["state", AGENT, "--why", "moustache"], 3, "no field 'moustache'"),
        (["learning", "creator_9"], 3, "did you mean"),
        (["learning", "--by", "episode"], 2, "no reward has an episode"),
        (["learning", "--by", "moon"], 2, "tick"),
        (["interactions", "--content", "c99"], 3, "no event shares 'c99'"),
        (["performance", "1999"], 3, "no session '1999'"),
        (["journey", "nobody", "--all-sessions"], 3, "no agent 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_with_the_right_exit_code(ask, words, code, says):
    done = ask(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert says in done.stderr


@pytest.mark.further
def test_a_session_in_which_nothing_of_the_sort_happened_says_so(run):
    from Agent import AgentLogger, shutdown_logging

    AgentLogger("quiet").info("nothing much")
    shutdown_logging()
    for command, says in (
        ("learning", "no learning events"),
        ("interactions", "no interactions"),
        ("performance", "nothing was measured"),
    ):
        done = run(command)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        assert says in done.stderr
    assert run("journey", "quiet").returncode == 0
    assert run("state", "quiet").returncode == 3


@pytest.mark.further
def test_what_spread_is_shown_as_a_tree(ask, recorded):
    shares = [
        event
        for event in of_kind(session_events(recorded.session), "interaction")
        if event["extra"]["interaction_type"] == "share"
    ]
    top = json.loads(ask("interactions", "--json").stdout)["top_cascades"][0]
    mine = {e["extra"]["source_id"] for e in shares if e["extra"]["content_id"] == top["content_id"]}
    assert {row["agent_id"] for row in top["tree"]} == mine - {top["root_agent_id"]}
    page = ask("interactions", "--content", top["content_id"]).stdout
    assert all(name in page for name in mine)


@pytest.mark.further
def test_a_message_that_was_never_received_is_named_with_its_event(run):
    from Agent import AgentLogger, shutdown_logging

    ada, ben = AgentLogger("ada"), AgentLogger("ben")
    lost = ada.send("ben", {"sheet": 1})
    ben.receive(ada.send("ben", {"sheet": 2}))
    shutdown_logging()
    page = run("interactions").stdout
    assert "Never received, although a later one was" in page
    assert [line.split()[1:] for line in page.splitlines() if lost.event_id in line] == [
        ["ada", "ben", lost.event_id]
    ]


def test_errors_of_one_agent_are_its_own(ask):
    whole = json.loads(ask("errors", "--json").stdout)
    own = json.loads(ask("errors", "last/trend_service", "--json").stdout)
    assert 0 < own["total_errors"] <= whole["total_errors"]
    assert json.loads(ask("errors", "last/creator_001", "--json").stdout)["total_errors"] == 0
    done = ask("errors", "last/nobody")
    assert done.returncode == 3 and "no agent 'nobody'" in done.stderr
