"""Bodies of OTLP for `ingest_beside_phoenix.py`; run by phoenix's own interpreter, which has the protocol.

`python phoenix_spans.py DIRECTORY BODIES SPANS` writes so many bodies of so many spans: traces of ten, an agent
over models and tools, with names and numbers and no texts, so that both services store all of it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS_A_TRACE = 10


def fill(attributes, values):
    for key, value in values.items():
        attribute = attributes.add(key=key)
        if isinstance(value, str):
            attribute.value.string_value = value
        else:
            attribute.value.int_value = value


def body(spans: int) -> bytes:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    fill(of_resource.resource.attributes, {"service.name": "shop", "service.version": "1.0.0"})
    scope = of_resource.scope_spans.add()
    scope.scope.name = "benchmark"
    now_ns = time.time_ns()
    for number in range(spans):
        place = number % SPANS_A_TRACE
        if place == 0:
            trace_id, root_id = os.urandom(16), os.urandom(8)
        span = scope.spans.add(trace_id=trace_id, span_id=os.urandom(8), kind=1)
        span.start_time_unix_nano, span.end_time_unix_nano = now_ns + place, now_ns + place + 1_500_000
        if place == 0:
            span.span_id, span.name = root_id, "invoke_agent"
            kind = {"gen_ai.operation.name": "invoke_agent", "openinference.span.kind": "AGENT"}
            fill(span.attributes, kind | {"gen_ai.agent.name": "clerk"})
        elif place % 2:
            span.parent_span_id, span.name = root_id, "chat"
            kind = {"gen_ai.operation.name": "chat", "openinference.span.kind": "LLM"}
            model = {"gen_ai.request.model": "gpt-4o", "llm.model_name": "gpt-4o"}
            counts = {"gen_ai.usage.input_tokens": 120 + place, "gen_ai.usage.output_tokens": 40}
            fill(span.attributes, kind | model | counts)
        else:
            span.parent_span_id, span.name = root_id, "execute_tool"
            kind = {"gen_ai.operation.name": "execute_tool", "openinference.span.kind": "TOOL"}
            fill(span.attributes, kind | {"gen_ai.tool.name": "search_kb", "attempt": place})
    return request.SerializeToString()


def main(directory: str, bodies: str, spans: str) -> None:
    for number in range(int(bodies)):
        Path(directory, f"{number}.bin").write_bytes(body(int(spans)))


if __name__ == "__main__":
    main(*sys.argv[1:])
