"""An agent that records runs is driven again like any other; where its artifacts lie makes no difference."""

from __future__ import annotations

import json
import sys

import pytest
from support.processes import run_python

AGENT = """
import sys
from Agent import shutdown_logging, trace_agent_action
from Agent.flight import recorder


class Bot:
    offset = 0

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.total = 0

    @trace_agent_action()
    def act(self, number):
        with recorder.step("think") as step:
            self.total += number
            step.output = {"total": self.total}
        with recorder.run("errand", {"number": number}):
            recorder.save_artifact("note.txt", f"total {self.total + self.offset}")
            recorder.record_model_call(model_name="m", prompt="p", output=str(self.total))
        return self.total


def same(spec):
    return Bot(spec.agent_id)


def other(spec):
    Bot.offset = 1
    return Bot(spec.agent_id)


if __name__ == "__main__":
    bots = [Bot("bot_1"), Bot("bot_2")]
    for number in range(3):
        for bot in bots:
            bot.act(number)
"""


@pytest.mark.integration
@pytest.mark.parametrize(("factory", "verdict", "code"), [("same", "IDENTICAL", 0), ("other", "DIVERGED", 1)])
def test_what_an_agent_keeps_is_compared_by_name_and_content(tmp_path, trace_root, factory, verdict, code):
    (tmp_path / "bots.py").write_text(AGENT)
    assert run_python("bots.py", cwd=tmp_path).returncode == 0
    done = run_python(
        "-m", "Agent", "replay", "last/bot_2", "--target", f"bots:{factory}", "--json", cwd=tmp_path
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (code, verdict), done.stdout + done.stderr
    assert sorted(path.name for path in trace_root.glob("session_*/runs/root/artifacts/steps/*")) == [
        f"think{suffix}.json" for suffix in ("-2", "-3", "-4", "-5", "-6", "")
    ]
    assert "bots" not in sys.modules


TOOLS = """
import os
import random
from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_model_stream, record_tool
from Agent.flight import recorder


def world():
    # What the outside says is another thing each time, and a replay may not ask it.
    assert "REPLAYED" not in os.environ
    return random.SystemRandom().random()


class Weather(Exception):
    pass


@record_tool
def deeper(city):
    return {city, world()}


@record_tool
def forecast(city, days=1):
    AgentLogger("station").info("asked")
    found = deeper(city)
    if city == "Atlantis":
        raise Weather(city)
    return {"days": days, "found": found, "large": ["x" * 100] * (400 if days > 1 else 1)}


@record_tool
async def later(city):
    return world()


@record_tool
def hours(count):
    for hour in range(count):
        yield hour, world()


def ask_model(prompt):
    return "".join(record_model_stream(lambda: iter([str(world())]), model_name="m", prompt=prompt))


class Planner:
    city = "Oslo"
    extra = False

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.seen = []

    @trace_agent_action()
    def plan(self, days):
        self.seen.append(sorted(map(str, forecast(self.city, days)["found"])))
        self.seen.append([list(hour) for hour in hours(2)])
        try:
            forecast("Atlantis")
        except Weather as error:
            self.seen.append(str(error))
        if self.extra:
            forecast("Rome")
        return ask_model(f"day {days}")

    @trace_agent_action()
    async def wait(self):
        return await later(self.city)


def same(spec):
    os.environ["REPLAYED"] = "1"
    return Planner(spec.agent_id)


def elsewhere(spec):
    Planner.city = "Bergen"
    return same(spec)


def more(spec):
    Planner.extra = True
    return same(spec)


def eager(spec):
    forecast("Oslo")
    return same(spec)


if __name__ == "__main__":
    import asyncio

    planner = Planner("planner_1")
    with recorder.run("trip"):
        planner.plan(1)
        planner.plan(2)
        asyncio.run(planner.wait())
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("factory", "verdict", "code", "told"),
    [
        ("same", "IDENTICAL", 0, ""),
        ("elsewhere", "DIVERGED", 1, "Bergen"),
        ("more", "DIVERGED", 1, "tool.call forecast"),
        ("eager", "UNVERIFIED", 4, "the factory calls forecast"),
    ],
)
def test_tools_and_models_of_a_driven_agent_answer_from_the_record(
    tmp_path, trace_root, factory, verdict, code, told
):
    (tmp_path / "tools.py").write_text(TOOLS)
    assert run_python("tools.py", cwd=tmp_path).returncode == 0
    done = run_python(
        "-m", "Agent", "replay", "last/planner_1", "--target", f"tools:{factory}", "--json", cwd=tmp_path
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (code, verdict), done.stdout + done.stderr
    assert told in done.stdout
