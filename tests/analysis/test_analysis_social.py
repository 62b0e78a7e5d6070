"""The social graph, cascades and messages, each against a few lines of Python that count the same."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st
from known import Known

from Agent.analysis import LogAnalyzer
from Agent.analysis.questions import interactions
from Agent.analysis.report.details import interaction_sections
from Agent.errors import InputError

NAMES = ["ada", "ben", "cy", "dora", "it's", "eve"]
_events = st.lists(
    st.one_of(
        st.tuples(st.just("interaction"), st.sampled_from(NAMES), st.sampled_from([*NAMES, None])),
        st.tuples(st.just("connection"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("message"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("joint"), st.lists(st.sampled_from(NAMES), max_size=4)),
    ),
    max_size=30,
)


def components_of(ties: set[tuple[str, str]]) -> list[int]:
    """Sizes of the connected components, by spreading from each node in turn."""
    near = defaultdict(set)
    for one, other in ties:
        near[one].add(other)
        near[other].add(one)
    sizes, seen = [], set()
    for start in near:
        reached, pending = set(), [start]
        while start not in seen and pending:
            node = pending.pop()
            if node not in reached:
                reached.add(node)
                pending += near[node]
        seen |= reached
        if reached:
            sizes.append(len(reached))
    return sorted(sizes, reverse=True)


@pytest.mark.integration
@given(_events)
def test_the_graph_is_the_one_that_the_events_draw(events: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as directory:
        build = SessionBuilder(Path(directory))
        build.emit("log", "a")
        directed: Counter[tuple[str, str]] = Counter()
        joint: Counter[tuple[str, str]] = Counter()
        for number, (kind, *who) in enumerate(events):
            if kind == "interaction":
                build.emit("interaction", interaction_type="like", source_id=who[0], target_id=who[1])
            elif kind == "connection":
                build.emit("connection", source_id=who[0], target_id=who[1], connection_type="follow")
            elif kind == "message":
                build.emit(
                    "agent_message",
                    who[0],
                    direction="sent",
                    message_id=f"m{number}",
                    sender=who[0],
                    recipient=who[1],
                )
            else:
                build.emit("collaboration", collaboration_type="post", participants=who[0])
                joint.update(itertools.combinations(sorted(set(who[0])), 2))
                continue
            if who[1] is not None:
                directed[who[0], who[1]] += 1
        analyzer = LogAnalyzer(build.path)
        graph = analyzer.interaction_report(edges=True)["graph"]
        analyzer.close()
    pairs = {pair for pair in directed if pair[0] != pair[1]}
    assert graph["edges"] == len(pairs)
    assert graph["self_edges"] == len(directed) - len(pairs)
    mutual = sum((b, a) in pairs for a, b in pairs)
    assert graph["reciprocity"] == (mutual / len(pairs) if pairs else None)
    sizes = components_of({*directed, *joint})
    assert (graph["nodes"], graph["components"]["count"]) == (sum(sizes), len(sizes))
    assert graph["components"]["sizes"] == sizes
    weights = Counter()
    for edge in graph["edge_list"]:
        weights[edge["source"], edge["target"]] += edge["weight"]
    assert weights == directed + joint
    strongest = sorted(joint.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert [((row["one"], row["other"]), row["times"]) for row in graph["collaborations"]] == strongest
    for row in graph["top_connectors"]:
        name = row["agent_id"]
        assert row["out"] == sum(a == name for a, _ in pairs)
        assert row["in"] == sum(b == name for _, b in pairs)
        assert row["weight_out"] == sum(directed[pair] for pair in directed if pair[0] == name)
        assert row["weight_in"] == sum(directed[pair] for pair in directed if pair[1] == name)
        ties = {*pairs, *joint}
        assert row["neighbours"] == len({b for a, b in ties if a == name} | {a for a, b in ties if b == name})


def test_the_pairs_of_the_largest_groups_are_left_out_and_counted(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names in ("abc", "abc", "cba", "de", "fghij", "ij"):
        builder.emit("collaboration", collaboration_type="post", participants=list(names))
    builder.emit("collaboration", collaboration_type="review", participants=list("abc"))
    monkeypatch.setattr(interactions, "MAX_PAIRS", 8)
    with LogAnalyzer(builder.path) as analyzer:
        report = analyzer.interaction_report(edges=True)
    graph = report["graph"]
    # "de" and "ij" have a pair each, three groups of three pairs follow, of which two fit
    assert graph["collaborations_left_out"] == 2
    assert graph["nodes"] == 10
    assert graph["components"] == {"count": 3, "largest": 5, "sizes": [5, 3, 2]}
    assert {(edge["source"], edge["target"], edge["weight"]) for edge in graph["edge_list"]} >= {
        ("d", "e", 1),
        ("i", "j", 1),
        ("a", "b", 3),
    }
    assert not any("f" in (edge["source"], edge["target"]) for edge in graph["edge_list"])
    assert "2 collaborations" in str(list(interaction_sections(report)))


def test_a_cascade_is_a_tree_with_size_depth_breadth_and_speed(builder: SessionBuilder) -> None:
    made = builder.emit("content_generation", "ada", content_type="post", content_id="c1")
    shares = [("ben", "ada", 1), ("cy", "ada", 1), ("dora", "ben", 2), ("eve", "dora", 3), ("ben", "cy", 0)]
    ids = {}
    for who, parent, _ in shares:
        builder.pass_time(1)
        ids[who, parent] = builder.emit(
            "interaction", interaction_type="Share", source_id=who, target_id=parent, content_id="c1"
        )
    builder.emit("interaction", interaction_type="like", source_id="fay", target_id="ada", content_id="c1")
    told = builder.emit("cascade", content_id="c1", size=4, depth=3, root_agent_id="ada")
    found = LogAnalyzer(builder.path).cascade("c1")
    assert (found["size"], found["depth"], found["breadth"], found["by_depth"]) == (4, 3, 2, [2, 1, 1])
    assert (found["shares"], found["root_agent_id"], found["started_by"]) == (5, "ada", "content_generation")
    assert found["seconds_to"] == pytest.approx({1: 1, 2: 2}, abs=1e-3)
    assert found["half_s"] == pytest.approx(2, abs=1e-3)
    assert found["recorded"] == {"id": told, "size": 4, "depth": 3}
    assert [(row["depth"], row["agent_id"], row["id"]) for row in found["tree"]] == [
        (1, "ben", ids["ben", "ada"]),
        (2, "dora", ids["dora", "ben"]),
        (3, "eve", ids["eve", "dora"]),
        (1, "cy", ids["cy", "ada"]),
    ]
    assert made
    with pytest.raises(InputError, match="c9"):
        LogAnalyzer(builder.path).cascade("c9")


@pytest.mark.further
def test_any_tree_of_shares_is_found_again(builder: SessionBuilder) -> None:
    draw = random.Random(4)
    depths = {"n0": 0}
    for number in range(1, 200):
        parent = draw.choice(list(depths))
        depths[f"n{number}"] = depths[parent] + 1
        builder.emit(
            "interaction", interaction_type="repost", source_id=f"n{number}", target_id=parent, content_id="c"
        )
    found = LogAnalyzer(builder.path).interaction_report()["top_cascades"][0]
    assert {row["agent_id"]: row["depth"] for row in found["tree"]} == {k: v for k, v in depths.items() if v}
    counts = Counter(depth for depth in depths.values() if depth)
    assert found["by_depth"] == [counts[depth] for depth in range(1, max(counts) + 1)]
    assert (found["size"], found["root_agent_id"]) == (199, "n0")


@pytest.mark.further
def test_messages_are_paired_and_the_lost_ones_told_from_those_under_way(builder: SessionBuilder) -> None:
    ids: dict[str, str] = {}

    def send(name: str, to: str) -> None:
        ids[name] = builder.emit(
            "agent_message", "a", direction="sent", message_id=name, sender="a", recipient=to
        )

    def receive(name: str, by: str) -> None:
        builder.emit("agent_message", by, direction="received", message_id=name, sender="a", recipient=by)

    for name, to in (("m1", "b"), ("m2", "b"), ("m3", "b"), ("m4", "c")):
        builder.pass_time(1)
        send(name, to)
    receive("m3", "b")
    builder.pass_time(1)
    receive("m1", "b")
    receive("m1", "b")
    receive("m9", "b")
    send("m5", "b")
    found = LogAnalyzer(builder.path).interaction_report()["messages"]
    expected = {
        "sent": 5, "received": 4, "delivered": 2, "never_received": 3, "undelivered": 1, "never_sent": 1,
        "received_twice": 1,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert [(row["message_id"], row["sent_id"]) for row in found["oldest_undelivered"]] == [("m2", ids["m2"])]
    assert found["latency_ms"]["count"] == 2
    assert found["latency_ms"]["max"] == pytest.approx(4000, abs=1)
    assert found["slowest"][0]["message_id"] == "m1"


@pytest.mark.further
def test_the_numbers_of_a_generated_session_are_those_of_its_lines(known: Known) -> None:
    analyzer = LogAnalyzer(known.truth.session)
    found = analyzer.interaction_report(edges=True)
    analyzer.close()
    messages = defaultdict(dict)
    for event in known.of_kind("agent_message"):
        messages[event["extra"]["message_id"]][event["extra"]["direction"]] = event
    sent = [both for both in messages.values() if "sent" in both]
    told = found["messages"]
    assert told["sent"] == len(sent)
    assert told["delivered"] == sum("received" in both for both in sent)
    assert told["never_received"] == sum("received" not in both for both in sent) == known.truth.agents
    assert told["undelivered"] == 0, "the last tick's messages were under way"
    likes = known.of_kind("interaction")
    assert found["graph"]["by_type"]["interaction:like"]["weight"] == len(likes)
    pairs = Counter((e["extra"]["source_id"], e["extra"]["target_id"]) for e in likes)
    assert pairs == {
        (edge["source"], edge["target"]): edge["weight"]
        for edge in found["graph"]["edge_list"]
        if edge["type"] == "interaction:like"
    }
    largest = max(event["extra"]["size"] for event in known.of_kind("cascade"))
    assert found["top_cascades"][0]["size"] == largest
    assert found["top_cascades"][0]["source"] == "cascade events"
