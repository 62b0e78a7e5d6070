"""What an interrupted or cancelled action raised counts, not only that it was."""

import pytest

from Agent.record.tracing.traced_call import Call

MODULE = """
import asyncio

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.done = "a", "worker", 0

    @trace_agent_action
    def act(self):
        self.done += 1
        raise {raised}

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for _ in range(2):
        try:
            agent.act()
        except BaseException:
            pass
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("raised", "instead", "verdict"),
    [
        ("KeyboardInterrupt('x')", "KeyboardInterrupt('y')", "DIVERGED"),
        ("KeyboardInterrupt", "KeyboardInterrupt(4)", "UNVERIFIED"),
        ("KeyboardInterrupt", "SystemExit", "UNVERIFIED"),
        ("SystemExit", "KeyboardInterrupt", "DIVERGED"),
        ("asyncio.CancelledError('x')", "asyncio.CancelledError('y')", "UNVERIFIED"),
        (
            "BaseExceptionGroup('g', [KeyboardInterrupt(1)])",
            "BaseExceptionGroup('g', [KeyboardInterrupt(2)])",
            "DIVERGED",
        ),
    ],
)
def test_another_exception_that_interrupts_an_action_is_a_difference(toy, raised, instead, verdict):
    toy.record(MODULE.format(raised=raised))
    same = toy.replay()
    assert same.divergence is None and same.verdict != "UNVERIFIED", str(same)
    report = toy.change(f"raise {raised}", f"raise {instead}").replay()
    # Somebody outside may have interrupted or cancelled what has no arguments, or was cancelled.
    assert report.verdict == verdict, str(report)
    assert (report.divergence.step, report.divergence.field) == (1, "outcome")


def test_a_recording_that_does_not_tell_what_was_raised_is_judged_without_it(toy, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(Call, "_member", lambda *_: b"")
        toy.record(MODULE.format(raised="KeyboardInterrupt('x')"))
    assert toy.replay().divergence is None
    assert toy.change("KeyboardInterrupt('x')", "KeyboardInterrupt('y')").replay().divergence is None
