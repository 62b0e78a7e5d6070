"""`agent-trace runs RUN --tools` and `--models`: what was called, how it ended, what it cost."""

from __future__ import annotations

import json

import pytest

from Agent import shutdown_logging
from Agent.cli.main import main
from Agent.flight import record_model_stream, record_tool, recorder, replaying_tools, set_prices


@record_tool
def search(query: str) -> str:
    if query == "nothing":
        raise LookupError("no such page")
    return query


@record_tool(kind="write")
def save(text: str) -> None:
    """Nothing comes of it."""


def ask_model(prompt: str) -> list:
    pieces = ["a", "b", {"usage": {"input_tokens": 1000, "output_tokens": 500}}]
    return list(record_model_stream(lambda: iter(pieces), model_name="small-1", prompt=prompt))


@pytest.fixture
def ids(trace_root) -> dict[str, str]:
    set_prices({"small-1": (2.0, 4.0)})
    with recorder.run("planner") as run, recorder.step("look"):
        search("tea")
        save("note")
        with pytest.raises(LookupError):
            search("nothing")
        ask_model("Hello")
        next(iter(record_model_stream(["x", "y"], model_name="other", prompt="left")))
        recorder.record_model_call(model_name="other", output="o", prompt_tokens=3)
    set_prices({})
    with recorder.run("empty") as empty:
        pass
    with replaying_tools(run.run_id), recorder.run("again") as again, recorder.step("look"):
        search("tea")
        ask_model("Hello")
    shutdown_logging()
    return {"run": run.run_id, "empty": empty.run_id, "again": again.run_id}


@pytest.fixture
def ask(capfdbinary, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        code = main(["runs", *arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return ask


def rows(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.strip()]


def test_tools_are_listed_with_kind_state_and_place(ids, ask):
    code, out, _ = ask(ids["run"], "--tools")
    heading, tea, note, nothing = rows(out)
    assert code == 0
    assert heading.split()[:5] == ["TIME", "(UTC)", "TOOL", "KIND", "STATE"]
    assert tea.split()[1:4] == ["search", "read", "ok"]
    assert tea.split()[-1] == "look"
    assert note.split()[1:4] == ["save", "write", "ok"]
    assert nothing.split()[1:4] == ["search", "read", "error"]
    assert nothing.endswith("LookupError: no such page")


def test_models_are_listed_with_tokens_cost_and_their_sum(ids, ask):
    code, out, err = ask(ids["run"], "--models")
    heading, small, left, by_hand = rows(out)
    assert code == 0
    assert "COST" in heading
    assert small.split()[1:7] == ["small-1", "ok", "1,000", "500", "0.004000", "USD"]
    assert left.split()[1:3] == ["other", "closed"]
    assert by_hand.split()[1:4] == ["other", "ok", "3"]
    assert "together 1,003 + 500 tokens, 0.004000 USD, 2 of unknown cost" in err


def test_answers_of_a_replay_are_shown_as_such_and_cost_nothing(ids, ask):
    _, tools, _ = ask(ids["again"], "--tools")
    _, models, err = ask(ids["again"], "--models")
    assert rows(tools)[1].split()[3] == "recorded"
    assert rows(models)[1].split()[2] == "recorded"
    assert "USD" not in models + err
    assert "unknown cost" not in err


def test_a_run_says_how_many_calls_it_made_and_how_to_see_them(ids, ask):
    _, out, _ = ask(ids["run"])
    assert "3 (1,003 + 500 tokens, 0.004000 USD), --models" in out
    assert "3, --tools" in out


def test_a_run_without_calls_says_so(ids, ask):
    for option, word in (("--tools", "@record_tool"), ("--models", "recorded_model")):
        code, out, err = ask(ids["empty"], option)
        assert (code, out) == (0, "")
        assert word in err


def test_calls_as_json_hold_all_that_is_known(ids, ask):
    _, out, _ = ask(ids["run"], "--models", "--json")
    small, left, _ = json.loads(out)
    assert (small["cost"], small["currency"], small["chunks"], small["path"]) == (0.004, "USD", 3, ["look"])
    assert left["outcome"] == "closed"
    _, out, _ = ask(ids["run"], "--tools", "--json")
    assert [call["kind"] for call in json.loads(out)] == ["read", "write", "read"]
    _, out, _ = ask(ids["run"], "--json")
    assert json.loads(out)["run"]["costs"] == {"USD": 0.004}
