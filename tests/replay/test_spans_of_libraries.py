"""Spans that other libraries record in an action are no effects of it: a replay neither needs nor compares them."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the bridge needs opentelemetry-sdk, of the extra [otel]")

PROGRAM = """
class Clerk:
    agent_id, agent_role = "clerk", "writer"
    tracer = None
    def __init__(self): self.n = 0

    @trace_agent_action
    def act(self):
        if self.tracer is not None:
            self.tracer.start_span("GET").end()
        self.n += 1
        return self.n

def build(spec): return Clerk()

def main():
    from opentelemetry.sdk.trace import TracerProvider
    from Agent.bridges import AgentTraceSpanProcessor
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(AgentTraceSpanProcessor())
    Clerk.tracer = provider.get_tracer("a.library")
    clerk = Clerk()
    for _ in range(3): clerk.act()
    Clerk.tracer = None
"""


def test_a_replay_without_the_instrumentation_is_identical(toy):
    toy.record(PROGRAM)
    assert toy.replay("last/clerk").verdict == "IDENTICAL"
