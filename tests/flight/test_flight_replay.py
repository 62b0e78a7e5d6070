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
