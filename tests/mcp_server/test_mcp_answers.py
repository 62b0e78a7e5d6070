"""Answers of the MCP tools: bounded in characters, and honest about what was cut."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.mcp.worker import fitted

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=60,
)


def test_a_short_answer_is_complete():
    assert json.loads(fitted({"a": [1, "x", None, True, 0.5]}, 1000)) == {"a": [1, "x", None, True, 0.5]}


def test_a_long_answer_says_by_pointer_what_it_leaves_out():
    answer = json.loads(fitted({"rows": [["x" * 50]] * 1000, "text": "y" * 50_000, "n": 7}, 4000))
    assert answer["n"] == 7
    kept = len(answer["rows"])
    assert 0 < kept < 1000
    assert answer["left_out"]["/rows"] == f"{1000 - kept} items"
    assert answer["text"].startswith("yyy") and "/text" in answer["left_out"]


def test_values_without_json_become_text():
    odd = {"big": 1 << 70, "nan": float("nan"), "money": Decimal("1.10"), "bytes": b"\xff", 5: "\ud800"}
    assert json.loads(fitted(odd, 1000)) == {
        "big": str(1 << 70),
        "nan": "nan",
        "money": "1.10",
        "bytes": "ff",
        "5": "\\ud800",
    }


@pytest.mark.integration
@given(st.dictionaries(st.text(), VALUES), st.integers(1000, 3000))
def test_no_answer_is_longer_than_asked_or_no_json(answer, most):
    text = fitted(answer, most)
    assert len(text) <= most
    json.loads(text)


def test_a_deep_answer_is_cut_by_depth():
    deep = "x" * 30
    for _ in range(200):
        deep = {"k" * 30: deep}
    text = fitted({"deep": deep}, 2000)
    assert len(text) <= 2000 and json.loads(text)["left_out"]
