"""The other answers: each is what a slow look through every line gives."""

from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.known_truth import make_session
from support.processes import run_python
from support.session_files import kind_of, session_events
from view_kit import SESSION, Slow, record, viewed

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.analysis.analyzer import LogAnalyzer
from Agent.analysis.causality.chains import TESTED, Edge, judged
from Agent.errors import AgentNotFound, EventNotFound, UsageError
from Agent.event.clock import format_timestamp
from Agent.view import open_view, session_list
from Agent.view.sessions import Watch


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A small session of known truth, its view, and its lines."""
    root = tmp_path_factory.mktemp("seen")
    make_session(root, events=2_500, agents=9, seed=5)
    (session,) = root.glob("session_*/")
    with viewed(session) as view:
        yield view, Slow(session)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A session recorded with the real loggers, its view, its lines and its analyzer."""
    session = record(tmp_path_factory.mktemp("recorded"), steps=40)
    with viewed(session) as view, LogAnalyzer(session) as analyzer:
        yield view, Slow(session), analyzer


module_wide = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
shares = st.floats(-0.1, 1.1)


def test_the_overview_counts_what_the_lines_say(seen):
    view, slow = seen
    told = view.overview()
    assert told["state"] == "ready" and told["progress"] == 1.0
    assert told["events"] == len(slow.events)
    assert told["errors"] == sum(is_error for _, _, is_error, _ in slow.rows)
    assert (told["first_us"], told["length_us"]) == (slow.first_us, slow.length_us)
    assert told["ticks"] == [list(pair) for pair in slow.ticks()]
    assert told["agents"] == len({slow.agent(e) for e in slow.events} - {SESSION})
    assert set(told["kinds"]) == {kind_of(e) for e in slow.events}
    for lane in told["lanes"]:
        own = [row for row in slow.rows if row[1] == lane["agent"]]
        assert lane["events"] == len(own)
        assert lane["errors"] == sum(row[2] for row in own)
        assert (lane["first"], lane["last"]) == (own[0][0], own[-1][0])
    assert sum(lane["events"] for lane in told["lanes"]) == len(slow.events)
    json.dumps(told)


def test_lanes_in_trouble_come_first_and_say_why(recorded):
    view, *_ = recorded
    lanes = view.overview()["lanes"]
    errors = [lane["errors"] for lane in lanes]
    assert errors == sorted(errors, reverse=True) and errors[0] == 8
    assert lanes[0]["why"] == "8 errors, the last: TimeoutError: no answer about topic 39"
    assert lanes[0]["role"] == "creator"
    # those with as much trouble are in the order of their names, numbers as numbers
    assert [lane["agent"] for lane in lanes if lane["errors"]] == ["ada", "bob", "cy_9", "cy_10"]
    assert lanes[-1]["agent"] == SESSION


@module_wide
@given(share=shares)
def test_counters_count_up_to_a_time_inclusive(seen, share):
    view, slow = seen
    t = share * slow.length_us
    until = [event for event, row in zip(slow.events, slow.rows, strict=True) if row[0] <= t]
    ticks = [event["tick"] for event in until if event.get("tick") is not None]
    assert view.counters(t=t) == {
        "events": len(until),
        "errors": sum(map(slow.is_error, until)),
        "messages": len({slow.payload(e)["message_id"] for e in until if kind_of(e) == "agent_message"}),
        "tick": ticks[-1] if ticks else None,
    }


@module_wide
@given(
    lanes=st.none() | st.sets(st.integers(0, 8), min_size=1).map(sorted),
    part=st.none() | st.tuples(shares, shares).map(sorted),
    limit=st.integers(1, 60),
    order=st.sampled_from(["asc", "desc"]),
    kind=st.sampled_from([None, "agent_action", "reward", "no such kind"]),
    errors=st.booleans(),
    q=st.sampled_from([None, "", "PUBLISH", "agent_00003", '"outcome":"ok"', "nowhere to be found"]),
)
def test_events_are_those_that_a_look_at_every_line_finds(seen, lanes, part, limit, order, kind, errors, q):
    view, slow = seen
    agents = None if lanes is None else {view.overview()["lanes"][lane]["agent"] for lane in lanes}
    t0, t1 = (None, None) if part is None else (each * slow.length_us for each in part)
    wanted = [
        event
        for event, (t, agent, is_error, _) in zip(slow.events, slow.rows, strict=True)
        if (agents is None or agent in agents)
        and (t0 is None or t0 <= t <= t1)
        and (kind is None or kind_of(event) == kind)
        and (is_error or not errors)
        and (not q or q.lower() in json.dumps(event, ensure_ascii=False, separators=(",", ":")).lower())
    ]
    if order == "desc":
        wanted.reverse()
    found = view.events(lanes=lanes, t0=t0, t1=t1, limit=limit, order=order, kind=kind, errors=errors, q=q)
    assert [each["id"] for each in found["events"]] == [event["id"] for event in wanted[:limit]]
    assert found["more"] == (len(wanted) > limit)


def test_an_event_of_the_list_has_all_that_the_contract_names(recorded):
    view, slow, _ = recorded
    (found,) = view.events(kind="error", limit=1)["events"]
    event = next(e for e in slow.events if kind_of(e) == "error")
    assert found == {
        "id": event["id"],
        "row": slow.events.index(event),
        "t": slow.t(event),
        "tick": event["tick"],
        "lane": [lane["agent"] for lane in view.overview()["lanes"]].index(slow.agent(event)),
        "agent": slow.agent(event),
        "kind": "error",
        "level": "ERROR",
        "text": found["text"],
        "duration_ms": None,
    }
    assert found["text"].startswith("TimeoutError: no answer about topic 4")


@pytest.mark.parametrize("q", ["ÜMLÄUT 8", "ümläut 8", 'chosen":"Ümläut 8'])
def test_text_is_found_in_any_case_and_alphabet(recorded, q):
    view, *_ = recorded
    found = view.search(q=q)["events"]
    assert len(found) == 4 and {each["kind"] for each in found} == {"decision"}


def test_a_search_finds_agents_by_name_or_role_and_at_most_50_events(recorded):
    view, *_ = recorded
    lanes = view.overview()["lanes"]
    assert [lanes[lane]["agent"] for lane in view.search(q="CY_")["agents"]] == ["cy_9", "cy_10"]
    assert len(view.search(q="creator")["agents"]) == 4
    assert len(view.search(q="creator")["events"]) == 50
    assert view.search(q="  ") == {"agents": [], "events": []}


@pytest.mark.parametrize(("by", "direction"), [("event", 0), ("hour", 1)])
def test_a_step_of_another_unit_or_direction_is_refused(seen, by, direction):
    view, _ = seen
    with pytest.raises(UsageError):
        view.step(t=1.0, by=by, direction=direction)


@module_wide
@given(
    share=shares,
    lanes=st.none() | st.sets(st.integers(0, 8), min_size=1).map(sorted),
    by=st.sampled_from(["event", "error", "tick"]),
    direction=st.sampled_from([1, -1]),
)
def test_a_step_leads_to_the_next_event_error_or_tick(seen, share, lanes, by, direction):
    view, slow = seen
    told = view.overview()["lanes"]
    agents = None if lanes is None else {told[lane]["agent"] for lane in lanes}
    t = share * slow.length_us
    if by == "tick":
        times = [first for _, first in slow.ticks()]
    else:
        times = [
            at
            for at, agent, is_error, _ in slow.rows
            if (agents is None or agent in agents) and (is_error or by == "event")
        ]
    there = [each for each in times if (each > t if direction > 0 else each < t)]
    found = view.step(t=t, lanes=lanes, by=by, direction=direction)
    if not there:
        assert found == {"t": None}
        return
    assert found["t"] == (min(there) if direction > 0 else max(there))
    event = slow.events[found["row"]]
    assert (found["id"], found["tick"]) == (event["id"], event.get("tick"))
    assert told[found["lane"]]["agent"] == slow.agent(event)


def test_arrows_join_the_halves_of_messages_and_are_sampled_evenly(recorded):
    view, slow, _ = recorded
    lanes = [lane["agent"] for lane in view.overview()["lanes"]]
    halves: dict[str, dict[str, dict]] = {}
    for event in slow.events:
        if kind_of(event) == "agent_message":
            halves.setdefault(slow.payload(event)["message_id"], {})[slow.payload(event)["direction"]] = event
    wanted = sorted((each["sent"]["id"], each["received"]["id"]) for each in halves.values())
    found = view.arrows(t0=0, t1=slow.length_us)
    assert found["total"] == len(wanted) == 56
    assert sorted((each["id0"], each["id1"]) for each in found["arrows"]) == wanted
    by_id = {event["id"]: event for event in slow.events}
    for each in found["arrows"]:
        sent, received = by_id[each["id0"]], by_id[each["id1"]]
        assert (each["t0"], each["t1"]) == (slow.t(sent), slow.t(received))
        assert (lanes[each["from"]], lanes[each["to"]]) == (slow.agent(sent), slow.agent(received))
    few = view.arrows(t0=0, t1=slow.length_us, limit=5)
    assert few["total"] == 56 and len(few["arrows"]) == 5
    assert few["arrows"][0] == found["arrows"][0] and few["arrows"][-1] == found["arrows"][-1]


@pytest.mark.further
def test_causes_and_effects_are_those_that_causes_finds(recorded):
    view, slow, analyzer = recorded
    chosen = [e for e in slow.events if kind_of(e) in ("error", "agent_message", "agent_action")]
    edges = 0
    for event in chosen[:: len(chosen) // 4]:
        found = view.event(event["id"])
        graph = analyzer.causal_graph(event["id"], with_effects=True)
        assert [each["id"] for each in found["causes"]] == [each["id"] for each in graph.causes]
        assert [each["id"] for each in found["effects"]] == [each["id"] for each in graph.effects]
        told = [(e["cause_id"], e["effect_id"], e["basis"], e["rule"], e["reason"]) for e in graph.edges()]
        assert [(e["from"], e["to"], e["basis"], e["rule"], e["reason"]) for e in found["edges"]] == told
        assert found["event"] == event and found["t"] == slow.t(event)
        nothing = {"causes": [], "effects": [], "edges": []}
        assert view.event(event["id"], links=False) == found | nothing
        edges += len(told)
    assert edges > 30


def test_an_event_that_is_not_there_is_said_to_be_missing(recorded):
    view, *_ = recorded
    for event_id in ("aaaaaaaa-1", f"{view.events(limit=1)['events'][0]['id']}999"):
        with pytest.raises(EventNotFound):
            view.event(event_id)
    with pytest.raises(UsageError):
        view.event("not an id")


@module_wide
@given(share=shares, agent=st.sampled_from(["ada", "cy_10"]))
def test_a_state_is_the_one_that_state_finds(recorded, share, agent):
    view, slow, analyzer = recorded
    t = share * slow.length_us
    found = view.state(agent=agent, t=t)
    try:
        wanted = analyzer.state_at(agent, format_timestamp(slow.first_us + int(t // 1)))
    except EventNotFound:
        assert found["fields"] == []
        return
    assert {each["name"]: json.loads(each["value"]) for each in found["fields"]} == wanted["fields"]
    for each in found["fields"]:
        assert each["changed_id"] == wanted["made_by"][each["name"]]["id"]
        assert slow.t(next(e for e in slow.events if e["id"] == each["changed_id"])) == each["changed"] <= t
    last = [e.get("tick") for e in slow.events if slow.agent(e) == agent and slow.t(e) <= t]
    assert found["tick"] == [tick for tick in last if tick is not None][-1]


def test_a_field_has_the_value_before_its_last_change_and_cut_values_say_so(recorded):
    view, slow, _ = recorded
    fields = {each["name"]: each for each in view.state(agent="ada", t=slow.length_us)["fields"]}
    assert (fields["posts"]["value"], fields["posts"]["before"]) == ("40", "39")
    assert fields["agent_id"]["before"] is None
    assert not fields["posts"]["is_cut"]
    assert json.loads(fields["mood"]["before"]) == "tired of topic 34"


@module_wide
@given(share=shares, field=st.sampled_from(["posts", "mood", "no such field"]))
def test_why_has_the_changes_that_state_why_lists(recorded, share, field):
    view, slow, analyzer = recorded
    t = share * slow.length_us
    found = view.why(agent="bob", field=field, t=t)["changes"]
    try:
        wanted = analyzer.field_changes("bob", field, format_timestamp(slow.first_us + int(t // 1)))[
            "changes"
        ]
    except EventNotFound:
        assert found == []
        return
    for own, other in zip(found, reversed(wanted), strict=False):
        assert (own["id"], own["tick"], own["action"]) == (other["id"], other["tick"], other["action"])
        assert [None if own[name] is None else json.loads(own[name]) for name in ("before", "after")] == [
            other.get("before"), other.get("after"),
        ]  # fmt: skip
    assert (
        len(found)
        == analyzer.field_changes("bob", field, format_timestamp(slow.first_us + int(t // 1)))["count"]
    )


def test_a_series_has_the_numbers_of_a_field(recorded):
    view, *_ = recorded
    points = view.series(agent="bob", field="posts")["points"]
    assert [value for _, value in points] == list(range(41))
    assert [t for t, _ in points] == sorted(t for t, _ in points)
    assert view.series(agent="bob", field="mood")["points"] == []


def test_an_agent_that_is_not_there_is_said_to_be_missing(recorded):
    view, *_ = recorded
    for ask in (
        lambda: view.state(agent="nobody", t=0),
        lambda: view.why(agent="nobody", field="x", t=0),
        lambda: view.series(agent="nobody", field="x"),
    ):
        with pytest.raises(AgentNotFound):
            ask()
    assert view.state(agent=SESSION, t=0)["fields"] == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("events", {"limit": 0}), ("events", {"limit": 1_001}), ("events", {"order": "up"}),
        ("events", {"lanes": [77]}), ("events", {"t0": float("nan")}),
        ("arrows", {"t0": 5, "t1": 4}), ("arrows", {"t0": 0, "t1": 4, "limit": 0}),
        ("counters", {"t": float("inf")}), ("step", {"t": 0, "by": "mood"}), ("step", {"t": 0, "direction": 2}),
        ("step", {"t": 0, "lanes": [77]}), ("findings", {"q": "x" * 2_001}),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_with_a_remedy(recorded, name, wrong):
    view, *_ = recorded
    with pytest.raises(UsageError) as refused:
        getattr(view, name)(**wrong)
    assert refused.value.remedy


@pytest.mark.integration
def test_findings_are_what_debug_says_and_the_same_for_a_complaint(recorded):
    view, _, analyzer = recorded
    for q in (None, "ada: TimeoutError"):
        wanted = analyzer.debug_issue(q or "")
        assert wanted.causes
        found = view.findings(q=q)
        for _ in range(600):
            if found["state"] == "ready":
                break
            time.sleep(0.1)
            found = view.findings(q=q)
        assert found["status"] == wanted.status
        assert [each["title"] for each in found["causes"]] == [each.title for each in wanted.causes[:3]]
        for each, cause in zip(found["causes"], wanted.causes, strict=False):
            assert set(cause.event_ids) <= {node["id"] for node in each["events"]}
            assert "\n".join([each["sentence"], *each["lines"]]) == "\n".join(cause.explanation.splitlines())


def test_sessions_are_listed_newest_first_and_opened_by_prefix(trace_root: Path):
    first = record(trace_root, steps=2)
    listed = session_list(trace_root)["sessions"]
    assert [each["id"] for each in listed] == [first.name.removeprefix("session_")]
    assert listed[0]["size_bytes"] >= sum(p.stat().st_size for p in first.glob("agents/*.log"))
    assert listed[0]["is_running"] is False and listed[0]["started"].endswith("Z")
    for name in ("newest", listed[0]["id"], listed[0]["id"][:9]):
        view = open_view(name, root=trace_root)
        assert view.session_id == listed[0]["id"]
        view.close()
    for name in ("no such session", "../trace", str(first)):
        with pytest.raises(Exception, match="no session"):
            open_view(name, root=trace_root)
    assert session_list(trace_root / "nowhere") == {"sessions": []}


def test_a_session_whose_log_was_closed_has_ended_though_its_program_runs_on(trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("a", "worker").info("a line")
    (path,) = trace_root.glob("session_*")
    with viewed(path) as view:
        assert view.overview()["status"] == "running"
        assert session_list(trace_root)["sessions"][0]["is_running"]
        shutdown_logging()
        assert view.overview()["status"] == "ended"
        assert not session_list(trace_root)["sessions"][0]["is_running"]


@pytest.mark.integration
def test_a_page_that_follows_is_told_of_every_event_and_only_of_what_is_new(trace_root):
    setup_logging(trace_root=trace_root)
    loggers = [AgentLogger(name, "worker") for name in ("a", "b")]
    with tick(1):
        for logger in loggers:
            logger.info("a line")
    (path,) = trace_root.glob("session_*")
    with viewed(path) as view, Watch(view) as watch:
        told = watch.news()
        assert told == view.overview() and not watch.is_behind
        for number in range(2, 30):
            with tick(number):
                loggers[1].info("a line")
            end_s = time.monotonic() + 10
            while not watch.is_behind:
                assert time.monotonic() < end_s, "it looks at the files by itself"
                time.sleep(0.01)
            news = watch.news()
            assert {"program", "kinds", "agents"}.isdisjoint(news) and len(news["lanes"]) == 1
            for place, lane in news.pop("lanes").items():
                told["lanes"][place] = lane
            told["ticks"] = told["ticks"] + news.pop("more_ticks")
            told |= news
            assert told == view.overview()
        shutdown_logging()
        end_s = time.monotonic() + 10
        while view.overview()["lost"] or not view.snapshot.lines.gatherer.is_explained:
            assert time.monotonic() < end_s, "what is lost is counted in the end"
            time.sleep(0.05)


def test_the_cursor_of_a_finding_is_where_its_change_is_part_of_the_state(trace_root):
    setup_logging(trace_root=trace_root)

    class Worker:
        agent_id, agent_role, wait = "a", "worker", 0

        def __init__(self):
            self.wait, self.log = 0, AgentLogger("a", "worker")

        @trace_agent_action
        def work(self):
            self.log.log_state_change({"wait": 0}, {"wait": 99}, trigger="x")
            self.wait = 99

    Worker().work()
    shutdown_logging()
    (path,) = trace_root.glob("session_*")
    with viewed(path) as view:
        (change,) = (e for e in view.events(limit=50)["events"] if e["kind"] == "state_change")
        (action,) = (e for e in view.events(limit=50)["events"] if e["kind"] == "agent_action")
        cause = {
            "title": "t",
            "explanation": "e",
            "confidence": 0.5,
            "edges": [],
            "event_ids": [change["id"]],
        }
        report = {"status": "found", "tests": [], "causes": [cause]}
        (found,) = view.snapshot.findings(report)["causes"]
        assert found["t"] == action["t"] and found["events"][0]["t"] == change["t"]


def test_the_edge_of_a_tested_cause_has_the_sentence_of_the_test(recorded):
    view, *_ = recorded
    test = judged("skip it", [5.0, 5.0], [1.0, 1.0], worse=1, expected=1.0)
    first, last = (view.events(limit=2)["events"][at]["id"] for at in (0, 1))
    tested = Edge(first, last, TESTED, "fork", "it was skipped", test)
    cause = {
        "title": "t",
        "explanation": "e",
        "confidence": 0.9,
        "edges": [tested.to_dict()],
        "event_ids": [first, last],
    }
    (found,) = view.snapshot.findings({"status": "found", "tests": [], "causes": [cause]})["causes"]
    assert found["edges"][0]["test"] == str(test)


FREED = """
import numpy as np
from Agent.view.sessions import release_large_arrays

def memory_mb():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) // 1024

CALL
np.ones(4_000_000)  # freed at once: larger than all that follow
before_mb = memory_mb()
held = [np.ones(131_072) for _ in range(200)]  # 1 MiB each
del held[:-1]
print(memory_mb() - before_mb)
"""


@pytest.mark.integration
def test_a_server_of_a_growing_session_gives_the_memory_of_freed_arrays_back(tmp_path):
    grown_mb = [
        int(run_python("-c", FREED.replace("CALL", call), cwd=tmp_path).stdout)
        for call in ("", "release_large_arrays()")
    ]
    if grown_mb[0] < 100:
        pytest.skip("this C library gives freed arrays back anyway")
    assert grown_mb[1] < 20


@pytest.mark.process
@pytest.mark.further
def test_a_fork_and_a_sweep_from_a_moment_run_the_code_of_today(trace_root, tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(
        textwrap.dedent(
            """
            from Agent import setup_logging, shutdown_logging, tick, trace_agent_action
            from Agent.replay import remember_target

            class Shop:
                def __init__(self, agent_id):
                    self.agent_id, self.price, self.sold = agent_id, 5, 0

                @trace_agent_action
                def sell(self):
                    self.sold += 1 if self.price < 4 else 0
                    return self.sold

            if __name__ == "__main__":
                setup_logging()
                shop = Shop("shop_1")
                remember_target("shop:Shop")
                for number in range(4):
                    with tick(number):
                        shop.sell()
                shutdown_logging()
            """
        )
    )
    assert run_python("shop.py", cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root)).returncode == 0
    (session,) = trace_root.glob("session_*")
    first = next(e["id"] for e in session_events(session) if kind_of(e) == "agent_action")
    monkeypatch.syspath_prepend(tmp_path)
    with viewed(session) as view:
        asked = {"agent": "shop_1", "at": first, "values": {}, "outcome": "sold>2"}

        def ended(**how):
            while (found := view.fork(**{**asked, **how}))["state"] == "pending":
                time.sleep(0.02)
            return found

        swept = ended(number=1, vary=["price=1,9"])
        assert dict(swept["bars"]) == {"true": 1, "false": 1}
        assert "smallest change that does" in swept["text"]
        forks = [ended(number=number, values={"price": "1"}, outcome=None) for number in (2, 3)]
        assert len({each["session"] for each in forks}) == 2, "each click is a fork of its own"
        assert forks[0]["changed"] == ["price"]
