"""Causal graphs: as text, DOT and SVG; absent events; effects; and that only the files needed are read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.analysis.causality.event_links import find_event
from Agent.archive.sealed.sealing import seal
from Agent.errors import DamagedInput
from Agent.tree.read.reader import TreeReader

NASTY = 'he said "no" \\ <b>&amp;\n\x1b[31m end'


@pytest.fixture
def story(builder: SessionBuilder) -> dict[str, str]:
    """A planner tells a worker something, the worker fails by it and is noticed; one cause is nowhere."""
    ids = {}
    ids["plan"] = builder.emit("decision", "planner", decision_type="odd", message=NASTY)
    ids["sent"] = builder.emit(
        "agent_message", "planner", direction="sent", message_id="m1", sender="planner", recipient="worker",
        causes=(ids["plan"],),
    )  # fmt: skip
    span = builder.span()
    ids["got"] = builder.emit(
        "agent_message", "worker", direction="received", message_id="m1", sender="planner", recipient="worker",
        parent=span,
    )  # fmt: skip
    ids["error"] = builder.emit(
        "error", "worker", parent=span, level="ERROR", error_type="X", error_message="y",
        causes=(ids["got"], "aaaabbbb-999"),
    )  # fmt: skip
    ids["action"] = builder.emit(
        "agent_action", "worker", span=span, action_type="work", outcome="error", error_id=ids["error"],
        duration_ms=1.0,
    )  # fmt: skip
    ids["noticed"] = builder.emit("log", "watcher", causes=(ids["error"],))
    for n in range(5):
        builder.emit("log", f"bystander_{n}")
    return ids


def test_a_tree_shows_each_step_with_its_reason(builder: SessionBuilder, story: dict[str, str]) -> None:
    text = LogAnalyzer(builder.path).causal_graph(story["action"]).to_text()
    lines = text.splitlines()
    assert story["action"] in lines[0]
    depth = {name: next(line.index("1") for line in lines if f"[{story[name]}]" in line) for name in story
             if name != "noticed"}  # fmt: skip
    assert depth["action"] < depth["error"], depth
    assert depth["action"] < depth["got"] < depth["sent"] < depth["plan"], depth
    assert any("recorded: it is the message that planner sent" in line for line in lines)


def test_an_absent_cause_is_a_node_that_says_so(builder: SessionBuilder, story: dict[str, str]) -> None:
    graph = LogAnalyzer(builder.path).causal_graph(story["error"])
    (gone,) = graph.missing
    assert (gone.id, gone.effect_id) == ("aaaabbbb-999", story["error"])
    assert "not in the recording" in gone.why
    assert f"{gone.id}: {gone.why}" in graph.to_text()
    assert "aaaabbbb-999" in graph.to_dot()
    assert "aaaabbbb-999" in graph.to_svg()
    assert graph.to_dict()["missing"] == [gone.to_dict()]


def test_where_the_account_of_the_record_is_damaged_nothing_is_said_of_an_absent_cause(
    builder: SessionBuilder, story: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_self: TreeReader) -> None:
        raise DamagedInput("the account is torn")

    monkeypatch.setattr(TreeReader, "losses", damaged)
    (gone,) = LogAnalyzer(builder.path).causal_graph(story["error"]).missing
    assert gone.why.startswith("unknown") and "the account is torn" in gone.why


def test_what_is_only_older_than_the_lookback_is_not_absent(builder: SessionBuilder) -> None:
    old = builder.emit("log", "a")
    builder.pass_time(100)
    new = builder.emit("log", "a", causes=(old,))
    graph = LogAnalyzer(builder.path).causal_graph(new)
    assert (graph.causes, graph.missing) == ((), ())


def test_effects_are_what_names_it_and_what_came_of_that(
    builder: SessionBuilder, story: dict[str, str]
) -> None:
    graph = LogAnalyzer(builder.path).causal_graph(story["sent"], with_effects=True)
    found = {row["id"]: row["edge"]["rule"] for row in graph.effects}
    assert found[story["got"]] == "message"
    assert found[story["error"]] == "cause"
    assert {story["action"], story["noticed"]} <= found.keys()
    assert story["plan"] not in found
    assert LogAnalyzer(builder.path).causal_graph(story["noticed"], with_effects=True).effects == ()


def test_dot_has_a_line_for_every_node_and_edge_and_quotes_what_it_must(
    builder: SessionBuilder, story: dict[str, str]
) -> None:
    graph = LogAnalyzer(builder.path).causal_graph(story["action"], with_effects=True)
    lines = graph.to_dot().splitlines()
    assert (lines[0], lines[-1]) == ("digraph causes {", "}")
    quoted = r'"(?:[^"\\\n]|\\.)*"'
    node = re.compile(rf"  {quoted} \[label={quoted}(?:, (?:penwidth=2|style=dotted|color={quoted}))*\];")
    edge = re.compile(
        rf"  {quoted} -> {quoted} \[style=(?:solid|dashed), label={quoted}, tooltip={quoted}\];"
    )
    assert [line for line in lines[4:-1] if not node.fullmatch(line) and not edge.fullmatch(line)] == []
    assert sum(" -> " in line for line in lines) == len(list(graph.edges()))


def test_svg_is_one_whole_document_that_loads_nothing(builder: SessionBuilder, story: dict[str, str]) -> None:
    text = LogAnalyzer(builder.path).causal_graph(story["action"], with_effects=True).to_svg()
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "script" not in text and "href" not in text and text.count("http") == 1
    shown = "".join(root.itertext())
    assert all(story[name] in shown for name in ("action", "error", "got", "sent"))
    boxes = [
        (float(r.get("x", 0)), float(r.get("y", 0))) for r in root.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert len(boxes) == len(set(boxes)), "no box lies on another"


def test_a_chain_reads_the_files_of_the_agents_in_it_only(
    builder: SessionBuilder, story: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer = LogAnalyzer(builder.path)
    row = next(r for r in analyzer.trace_agent_journey("worker") if r["id"] == story["action"])
    read: list[str] = []
    events = TreeReader.events
    monkeypatch.setattr(
        TreeReader,
        "events",
        lambda self, agent_id=None, *a, **k: read.append(agent_id) or events(self, agent_id, *a, **k),
    )
    queries: list[str] = []
    monkeypatch.setattr(type(analyzer.engine), "rows", lambda self, sql, p=(): queries.append(sql) or [])
    chain = analyzer.find_causality_chain(row)
    assert {story["error"], story["got"], story["sent"], story["plan"]} <= {cause["id"] for cause in chain}
    assert set(read) == {"worker", "planner"}
    assert len(queries) <= 1, "the engine is asked for the absent cause only"


def test_an_event_is_found_by_its_bytes_in_any_file_and_after_sealing(builder: SessionBuilder) -> None:
    ids = [
        builder.emit("log", f"a{n % 7}" if n % 3 else None, message="x" * (n * 997 % 5000))
        for n in range(600)
    ]
    builder.emit("log", "liar", message="no", quoted=f'"id":"{ids[5]}"')
    analyzer = LogAnalyzer(builder.path)
    for event_id in (ids[0], ids[5], ids[299], ids[-1]):
        row = find_event(analyzer.reader, analyzer.engine, event_id)
        assert row is not None and row["id"] == event_id
    assert find_event(analyzer.reader, analyzer.engine, "aaaabbbb-77777") is None
    assert find_event(analyzer.reader, analyzer.engine, "no id at all") is None


@pytest.mark.integration
def test_live_and_sealed_give_one_answer(builder: SessionBuilder, story: dict[str, str]) -> None:
    def answers() -> tuple[object, ...]:
        analyzer = LogAnalyzer(builder.path)
        graph = analyzer.causal_graph(story["action"], with_effects=True)
        return (
            graph.to_text(), graph.to_dot(), analyzer.find_error_patterns(),
            analyzer.debug_issue("worker fails").to_dict()["causes"],
        )  # fmt: skip

    builder.emit("log.closed", writer=builder.writer, last_seq=builder.seq + 1, counters={})
    live = answers()
    seal(builder.path, remove=True)
    assert not list((builder.path / "agents").glob("*.log"))
    assert answers() == live
