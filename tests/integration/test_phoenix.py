"""A real arize-phoenix shows what was recorded: agents, tools and models with parents, kinds and tokens.

It needs a Phoenix of its own: PHOENIX_COMMAND names the program `phoenix` of an environment with arize-phoenix.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

import pytest
from support.processes import run_python

COMMAND = os.environ.get("PHOENIX_COMMAND", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="PHOENIX_COMMAND does not name the program of arize-phoenix"),
]

GRAPH = """
from typing import TypedDict
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from Agent.flight import record_tool, recorded_model
from Agent.flight.recorded_graphs import recorded_graph

class Asked(TypedDict):
    question: str
    notes: list

@record_tool
def search_kb(query: str) -> list:
    return [f"about {query}"]

usage = {"input_tokens": 11, "output_tokens": 4, "total_tokens": 15}
model = recorded_model(GenericFakeChatModel(messages=iter([AIMessage("tea", usage_metadata=usage)])))
builder = StateGraph(Asked)
builder.add_node("plan", lambda asked: {"notes": [model.invoke(asked["question"]).content]})
builder.add_node("look", lambda asked: {"notes": search_kb(asked["notes"][0])})
builder.add_edge(START, "plan")
builder.add_edge("plan", "look")
builder.add_edge("look", END)
recorded_graph(builder.compile(), agent="researcher").invoke({"question": "what?", "notes": []})
"""
DEMO = """
import sys
from pathlib import Path
from Agent.demo.platform import Settings, record_session
record_session(Path(sys.argv[1]), Settings(agents=6, ticks=24, seed=7))
"""


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory):
    from benchmarks.phoenix import Phoenix

    with Phoenix(Path(COMMAND), tmp_path_factory.mktemp("phoenix") / "server") as server:
        yield server


def exported(phoenix, tmp_path, service, *program):
    """Record a program, export it twice, and return the number of exported spans."""
    root = str(tmp_path / "trace")
    done = run_python("-c", *program, cwd=tmp_path, AGENT_TRACE_ROOT=root)
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        words = ("export", "otlp", "--root", root, "--endpoint", phoenix.url, "--service", service, "--json")
        done = run_python("-m", "Agent", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["spans"]


def spans_of(phoenix, service, count):
    """All spans of a project, once Phoenix shows them."""
    deadline = time.monotonic() + 120
    found = []
    while time.monotonic() < deadline:
        found, cursor = [], ""
        while True:
            url = f"{phoenix.url}/v1/projects/{service}/spans?limit=1000{cursor}"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    page = json.load(answer)
            except urllib.error.HTTPError:
                break
            found += page["data"]
            if not page.get("next_cursor"):
                break
            cursor = f"&cursor={page['next_cursor']}"
        if len(found) >= count:
            time.sleep(2)  # a second copy would arrive now
            return found
        time.sleep(0.5)
    raise AssertionError(f"phoenix shows {len(found)} of {count} spans")


def test_a_langgraph_run_is_there_with_parents_kinds_and_tokens_and_only_once(phoenix, tmp_path):
    pytest.importorskip("langgraph", reason="LangGraph is not installed")
    count = exported(phoenix, tmp_path, "graph", GRAPH)
    spans = spans_of(phoenix, "graph", count)
    assert len(spans) == count == 6
    by_id = {span["context"]["span_id"]: span for span in spans}
    tree = {
        span["name"]: (span["span_kind"], by_id[span["parent_id"]]["name"] if span["parent_id"] else None)
        for span in spans
    }
    assert tree == {
        "invoke_agent researcher": ("AGENT", None),
        "step LangGraph": ("CHAIN", "invoke_agent researcher"),
        "step plan": ("CHAIN", "step LangGraph"),
        "chat GenericFakeChatModel": ("LLM", "step plan"),
        "step look": ("CHAIN", "step LangGraph"),
        "execute_tool search_kb": ("TOOL", "step look"),
    }
    model = next(span for span in spans if span["span_kind"] == "LLM")["attributes"]
    assert [model[f"llm.token_count.{part}"] for part in ("prompt", "completion", "total")] == [11, 4, 15]
    assert model["llm.model_name"] == "GenericFakeChatModel" and model["agent.name"] == "researcher"


def test_the_demo_is_one_trace_of_agents_with_their_errors(phoenix, tmp_path):
    count = exported(phoenix, tmp_path, "demo", DEMO, str(tmp_path / "trace"))
    spans = spans_of(phoenix, "demo", count)
    assert len(spans) == count > 300
    ids = {span["context"]["span_id"] for span in spans}
    assert all(span["parent_id"] in ids for span in spans if span["parent_id"])
    assert sum(not span["parent_id"] for span in spans) == 1
    agents = {span["attributes"].get("agent.name") for span in spans if span["span_kind"] == "AGENT"}
    assert {"creator_000", "trend_service"} <= agents or len(agents) >= 7
    failed = [span for span in spans if span["status_code"] == "ERROR"]
    assert failed and any(event["name"] == "exception" for span in failed for event in span["events"])
