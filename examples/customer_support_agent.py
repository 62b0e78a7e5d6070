"""A support agent whose runs a service shows: start `agent-trace serve`, then this program.

Without a service it records all the same, and says how to send the rest later.
"""

import os

from Agent.client import AgentTracer

KNOWN = {"refund": "Refunds take five days.", "invoice": "Invoices are in your account."}
SERVICE = os.environ.get("AGENT_TRACE_SERVICE", "http://localhost:8000")

tracer = AgentTracer(agent_id="support_agent", agent_version="1.0.0", api_url=SERVICE)
for question in ("refund", "warranty"):
    with tracer.start_run() as run:
        with run.step("retrieve", "search_kb") as step:
            found = [KNOWN[question]] if question in KNOWN else []
            step.add_metadata({"result_count": len(found)})
        with run.step("respond", "answer"):
            print(found[0] if found else "A colleague will write to you.")
        if not found:
            run.record_failure("retrieval", "empty_retrieval", message=f"nothing about {question}")
tracer.close()
