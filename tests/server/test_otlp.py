"""Spans of OpenTelemetry over HTTP: traces are runs, spans are steps, each once, and no free text stays."""

from __future__ import annotations

import base64
import gzip
import json
import random

import pytest

from Agent.store import RunFilter, open_store

pytest.importorskip("opentelemetry.proto", reason="OTLP needs opentelemetry-proto, of the extra [server]")

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from Agent.server.routes.otlp import MAX_OTLP_BYTES

PROSE = "please tell Jane Doe that her test was positive"
TRACE = bytes.fromhex("5b8efff798038103d269b633813fc60c")
T0_NS = 1_795_170_645_000_000_000
DEEP = (
    b'{"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": '
    + b'{"arrayValue": {"values": [' * 300
    + b"]}}" * 300
    + b"}]}}]}"
)
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def number_of(span_id: int) -> bytes:
    return span_id.to_bytes(8, "big")


def add(request, span_id, name, *, parent=1, trace=TRACE, start=0, seconds=1.0, error=None, **attributes):
    """One span; a name's double underscores are dots."""
    if not request.resource_spans:
        of_resource = request.resource_spans.add()
        for key, value in (("service.name", "shop"), ("service.version", "2.1.0"), ("host.name", PROSE)):
            of_resource.resource.attributes.add(key=key).value.string_value = value
        of_resource.scope_spans.add()
    span = (
        request.resource_spans[0]
        .scope_spans[0]
        .spans.add(trace_id=trace, span_id=number_of(span_id), name=name)
    )
    if parent is not None:
        span.parent_span_id = number_of(parent)
    span.start_time_unix_nano = T0_NS + int(start * 1e9)
    span.end_time_unix_nano = span.start_time_unix_nano + int(seconds * 1e9)
    for key, value in attributes.items():
        held = span.attributes.add(key=key.replace("__", ".")).value
        if isinstance(value, list):
            for each in value:
                held.array_value.values.add().string_value = each
        else:
            field = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[
                type(value)
            ]
            setattr(held, field, value)
    if error is not None:
        span.status.code = 2
        span.status.message = PROSE
        event = span.events.add(name="exception")
        event.attributes.add(key="exception.type").value.string_value = error
        event.attributes.add(key="exception.message").value.string_value = PROSE
        event.attributes.add(key="exception.stacktrace").value.string_value = PROSE
    return span


def conversation() -> ExportTraceServiceRequest:
    """An agent that plans, asks a model and calls a tool that fails."""
    request = ExportTraceServiceRequest()
    add(
        request,
        1,
        "invoke_agent Weather Agent",
        parent=None,
        seconds=4,
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name="weather_agent",
        gen_ai__conversation__id="conv_5j66UpCpwteGg4YSxUnt7lPY",
        gen_ai__system_instructions=PROSE,
    )
    add(
        request,
        2,
        "chat gpt-4o",
        start=1,
        gen_ai__operation__name="chat",
        gen_ai__provider__name="openai",
        gen_ai__request__model="gpt-4o",
        gen_ai__response__model="gpt-4o-2024-08-06",
        gen_ai__usage__input_tokens=120,
        gen_ai__request__temperature=0.5,
        gen_ai__response__finish_reasons=["stop", "length"],
        gen_ai__input__messages=json.dumps([{"role": "user", "content": PROSE}]),
        gen_ai__output__messages="yes",
    )
    add(
        request,
        3,
        "execute_tool get_weather",
        start=2,
        error="requests.exceptions.ConnectTimeout",
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name="get_weather",
        gen_ai__tool__call__arguments="Berlin",
        gen_ai__tool__call__result="positive",
        user__id="jane_doe",
    )
    return request


def send(service, request, *, headers=PROTOBUF, body=None):
    sent = request.SerializeToString() if body is None else body
    return service.post("/v1/traces", content=sent, headers=headers)


def hex_ids(request) -> dict:
    """The message as OTLP has JSON: ids in hexadecimal."""
    value = MessageToDict(request)
    for of_resource in value["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for key in {"traceId", "spanId", "parentSpanId"} & span.keys():
                    span[key] = base64.b64decode(span[key]).hex()
    return value


@pytest.mark.parametrize("encoding", ["protobuf", "protobuf in gzip", "json"])
def test_a_trace_is_a_run_and_its_spans_are_steps_whatever_it_is_sent_in(service, encoding):
    request = conversation()
    if encoding == "json":
        answer = service.post("/v1/traces", hex_ids(request))
        told = answer.json()["partialSuccess"]["errorMessage"]
    else:
        body, headers = request.SerializeToString(), dict(PROTOBUF)
        if encoding.endswith("gzip"):
            body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
        answer = send(service, request, headers=headers, body=body)
        told = ExportTraceServiceResponse.FromString(answer.content).partial_success.error_message
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "application/json" if encoding == "json" else "application/x-protobuf",
    )
    assert "left out" in told and "/spans/*/" in told
    run_id = TRACE.hex()
    run = service.get(f"/v1/runs/{run_id}").json()
    assert (run["agent_id"], run["agent_version"], run["status"]) == ("weather_agent", "2.1.0", "success")
    assert (run["duration_ms"], run["labels"]["service"]) == (4000, "shop")
    assert (run["failure_type"], run["failure_code"]) == ("tool", "timeout")
    steps = service.get(f"/v1/runs/{run_id}/steps").json()["items"]
    assert [(step["step_type"], step["name"], step["status"]) for step in steps] == [
        ("other", "weather_agent", "ok"),
        ("respond", "gpt-4o-2024-08-06", "ok"),
        ("tool", "get_weather", "error"),
    ]
    assert steps[1]["metadata"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": "stop,length",
    }
    everything = str([run, steps, service.get(f"/v1/runs/{run_id}/failures").json()])
    for word in ("Jane", "Berlin", "positive", "yes", "jane_doe"):
        assert word not in everything


@pytest.mark.integration
def test_the_same_spans_again_in_any_order_and_any_batches_are_the_same_steps(service):
    whole = conversation()
    spans = list(whole.resource_spans[0].scope_spans[0].spans)
    orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]]
    seen = []
    for number, order in enumerate(orders):
        for index in [*order, *order]:
            request = conversation()
            del request.resource_spans[0].scope_spans[0].spans[:]
            span = request.resource_spans[0].scope_spans[0].spans.add()
            span.CopyFrom(spans[index])
            span.trace_id = bytes([number + 1]) * 16
            assert send(service, request).status_code == 200
        run_id = (bytes([number + 1]) * 16).hex()
        run = service.get(f"/v1/runs/{run_id}").json() | {"run_id": "", "session_uid": ""}
        seen.append((run, service.get(f"/v1/runs/{run_id}/steps").json()["items"]))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][1]) == 3


def test_spans_that_are_none_are_counted_and_the_others_of_their_body_are_kept(service):
    request = ExportTraceServiceRequest()
    add(request, 1, "good", parent=None)
    add(request, 2, "no trace", trace=b"")
    add(request, 3, "short", trace=b"abc")
    add(request, 0, "no id")
    add(request, 4, "no time").start_time_unix_nano = 0
    add(request, 5, "past the calendar").end_time_unix_nano = 2**64 - 1
    answer = ExportTraceServiceResponse.FromString(send(service, request).content)
    assert answer.partial_success.rejected_spans == 4
    assert "trace_id is not an id of 16 bytes" in answer.partial_success.error_message
    steps = service.get(f"/v1/runs/{TRACE.hex()}/steps").json()["items"]
    assert [step["name"] for step in steps] == ["good", None]


def test_nothing_to_tell_is_an_empty_answer(service):
    request = ExportTraceServiceRequest()
    add(request, 1, "good", parent=None)
    del request.resource_spans[0].resource.attributes[2:]
    assert send(service, request).content == b""
    assert service.post("/v1/traces", {"resourceSpans": []}).json() == {}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (PROTOBUF, b"\xff\xff\xff", 400),
        (PROTOBUF | {"Content-Encoding": "gzip"}, b"no gzip", 400),
        ({"Content-Type": "application/json"}, b"[]", 400),
        ({"Content-Type": "application/json"}, b'{"resourceSpans": 7}', 400),
        (
            {"Content-Type": "application/json"},
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}',
            400,
        ),
        ({"Content-Type": "application/json"}, DEEP, 400),
        ({"Content-Type": "text/plain"}, b"", 415),
        (PROTOBUF | {"Content-Encoding": "gzip"}, gzip.compress(b"\x0a\x00" * MAX_OTLP_BYTES), 413),
    ],
)
def test_a_body_that_is_none_is_refused_and_stores_nothing(service, headers, body, status):
    answer = send(service, None, headers=headers, body=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status), answer.text
    assert service.get("/v1/runs").json()["items"] == []


def test_more_spans_than_a_body_may_hold_are_refused(service):
    request = ExportTraceServiceRequest()
    for number in range(1, 10_002):
        add(request, number, "a")
    assert send(service, request).status_code == 413


@pytest.mark.integration
@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_whatever_bytes_come_the_server_stands(service, count):
    chance = random.Random(7)
    whole = conversation().SerializeToString()
    for _ in range(count):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        cut = bytes(body[: chance.randint(1, len(body))])
        assert send(service, None, body=cut).status_code in (200, 400)
    assert send(service, conversation()).status_code == 200


def test_spans_are_events_so_journeys_errors_and_causes_answer_for_them(service):
    assert send(service, conversation()).status_code == 200
    run_id, uid = TRACE.hex(), "5b8efff7-9803-8103-d269-b633813fc60c"
    items = service.get("/v1/events", run_id=run_id).json()["items"]
    assert sorted((each["kind"], each["name"], each["agent_id"]) for each in items) == [
        ("agent_action", "weather_agent", "weather_agent"),
        ("error", "requests.exceptions.ConnectTimeout", "weather_agent"),
        ("model.call", "gpt-4o-2024-08-06", "weather_agent"),
        ("tool.call", "get_weather", "weather_agent"),
    ]
    by_kind = {each["kind"]: each for each in items}
    assert by_kind["tool.call"]["parent_span_id"] == by_kind["agent_action"]["span_id"]
    assert by_kind["error"]["parent_span_id"] == by_kind["tool.call"]["span_id"]
    assert by_kind["model.call"]["body"] == {"prompt_tokens": 120, "model_provider": "openai"}
    journey = service.get("/v1/journeys", run_id=run_id, agent_id="weather_agent").json()["items"]
    assert len(journey) == 4
    (group,) = service.get("/v1/errors", run_id=run_id).json()["items"]
    assert (group["failure_type"], group["failure_code"], group["count"]) == ("tool", "timeout", 1)
    causes = service.get("/v1/causes", session_uid=uid, event_id=by_kind["error"]["id"]).json()["items"]
    assert ("tool.call", "recorded") in [(each["event"]["kind"], each["edge"]["basis"]) for each in causes]
    assert PROSE not in str(items) + str(journey) + str(causes)


SPANS_OF_OTHERS = [
    # OpenLLMetry, in its older versions
    ({"traceloop__span__kind": "workflow", "traceloop__entity__name": "joke"}, ("span", "joke", {})),
    ({"traceloop__span__kind": "agent", "traceloop__entity__name": "joker"}, ("agent_action", "joker", {})),
    ({"traceloop__span__kind": "tool", "traceloop__entity__name": "look_up"}, ("tool.call", "look_up", {})),
    ({"traceloop__span__kind": "task", "traceloop__entity__name": "pick"}, ("span", "ended", {})),
    (
        {
            "llm__request__type": "chat",
            "gen_ai__system": "OpenAI",
            "gen_ai__request__model": "gpt-4o",
            "gen_ai__usage__prompt_tokens": 3,
            "gen_ai__usage__completion_tokens": 5,
        },
        ("model.call", "gpt-4o", {"prompt_tokens": 3, "completion_tokens": 5, "model_provider": "OpenAI"}),
    ),
    # Vercel's AI SDK, of JavaScript
    (
        {
            "operation__name": "ai.generateText.doGenerate",
            "gen_ai__system": "openai",
            "gen_ai__request__model": "gpt-4o",
            "gen_ai__usage__input_tokens": 7,
        },
        ("model.call", "gpt-4o", {"prompt_tokens": 7, "model_provider": "openai"}),
    ),
    ({"operation__name": "ai.toolCall", "ai__toolCall__name": "weather"}, ("tool.call", "weather", {})),
    # names that a convention has, and that are no calls
    ({"openinference__span__kind": "GUARDRAIL", "tool__name": "x"}, ("span", "ended", {})),
    ({"gen_ai__operation__name": "create_agent", "gen_ai__agent__name": "a"}, ("span", "a", {})),
    ({"gen_ai__operation__name": "embeddings", "gen_ai__request__model": "e-3"}, ("span", "e-3", {})),
]


@pytest.mark.first_case
@pytest.mark.parametrize(("attributes", "expected"), SPANS_OF_OTHERS)
def test_spans_of_other_instrumentations_are_what_they_name(service, attributes, expected):
    request = ExportTraceServiceRequest()
    add(request, 1, "ended", parent=None, **attributes)
    assert send(service, request).status_code == 200
    (event,) = service.get("/v1/events", run_id=TRACE.hex()).json()["items"]
    told = {key: value for key, value in event["body"].items() if key != "attributes"}
    assert (event["kind"], event["name"], told) == expected


def test_steps_of_spans_keep_their_tree_and_repeated_spans_are_the_same_events(service):
    for _ in range(2):
        assert send(service, conversation()).status_code == 200
    run = service.get(f"/v1/runs/{TRACE.hex()}").json()
    root = number_of(1).hex()
    parents = {step["step_key"]: step["parent_step_id"] for step in run["steps"]}
    assert parents == {root: None, number_of(2).hex(): root, number_of(3).hex(): root}
    assert len(service.get("/v1/events", run_id=TRACE.hex()).json()["items"]) == 4


def test_an_exception_that_several_spans_record_is_one_error_where_it_happened(service):
    request = ExportTraceServiceRequest()
    add(request, 1, "outer", parent=None, error="LookupError")
    add(request, 2, "inner", error="LookupError")
    send(service, request)
    (error,) = service.get("/v1/events", run_id=TRACE.hex(), kind="error").json()["items"]
    assert error["parent_span_id"] == number_of(2).hex()


def test_what_our_own_exporter_sends_comes_back_as_it_was_recorded(service, trace_root):
    from Agent import setup_logging, shutdown_logging, trace_agent_action
    from Agent.client.otlp import spans_of
    from Agent.export.otlp import as_protobuf
    from Agent.flight import recorder
    from Agent.tree.files.session import open_session
    from Agent.tree.layout import list_sessions

    class Clerk:
        agent_id = "clerk"

        @trace_agent_action
        def answer(self):
            raise LookupError(PROSE)

    setup_logging(trace_root=trace_root)
    with recorder.run("clerk"), recorder.step("s1", "think", step_type="plan"), pytest.raises(LookupError):
        Clerk().answer()
    shutdown_logging()
    session = list_sessions(trace_root)[-1].path
    from Agent.export.allow_list import AllowList

    body = as_protobuf(spans_of(session, open_session(session), AllowList()), "shop")
    assert send(service, None, body=body).status_code == 200
    (run,) = service.get("/v1/runs").json()["items"]
    steps = service.get(f"/v1/runs/{run['run_id']}").json()["steps"]
    assert (run["agent_id"], run["status"]) == ("clerk", "success")
    assert [(step["step_type"], step["name"]) for step in steps] == [
        ("other", "clerk"),
        ("plan", "think"),
        ("other", "answer"),
    ]
    (error,) = service.get("/v1/errors", run_id=run["run_id"]).json()["items"]
    assert error["name"] == "LookupError"


def test_a_key_for_queries_alone_sends_no_spans(service):
    headers = PROTOBUF | {"Authorization": f"Bearer {service.query_key}"}
    assert send(service, conversation(), headers=headers).status_code == 403


def test_the_real_exporter_delivers_what_its_sdk_records(service):
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    exporter = pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        reason="opentelemetry-exporter-otlp-proto-http is not installed",
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Status, StatusCode

    provider = sdk.TracerProvider(resource=Resource.create({"service.name": "shop"}))
    sender = exporter.OTLPSpanExporter(
        endpoint=f"{service.server.ingest_url}/v1/traces",
        headers={"Authorization": f"Bearer {service.ingest_key}"},
        compression=exporter.Compression.Gzip,
    )
    provider.add_span_processor(BatchSpanProcessor(sender))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(
        "invoke_agent helper", attributes={"gen_ai.agent.name": "helper"}
    ) as agent:
        trace_id = f"{agent.get_span_context().trace_id:032x}"
        for number in range(20):
            with tracer.start_as_current_span("execute_tool") as span:
                span.set_attributes(
                    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool_{number}"}
                )
                if number == 7:
                    span.record_exception(TimeoutError(PROSE))
                    span.set_status(Status(StatusCode.ERROR, PROSE))
    assert provider.force_flush()
    provider.shutdown()
    run = service.get(f"/v1/runs/{trace_id}").json()
    assert (run["agent_id"], run["status"], run["failure_code"]) == ("helper", "success", "timeout")
    steps = service.get(f"/v1/runs/{trace_id}/steps").json()["items"]
    assert [step["name"] for step in steps[1:]] == [f"tool_{number}" for number in range(20)]


def test_no_text_of_a_span_is_anywhere_in_the_database(service):
    send(service, conversation())
    with open_store(service.server.settings.database_url, role="query") as store:
        project = store.find_project(service.project)
        (run,) = store.list_runs(project, RunFilter()).items
        told = str(
            [run, store.list_steps(project, run["run_id"]), store.list_failures(project, run["run_id"])]
        )
    assert "weather_agent" in told
    assert not [word for word in ("Jane", "Berlin", "positive", "jane_doe") if word in told]


def test_of_a_span_that_ended_before_it_began_nobody_knows_how_long_it_took(service):
    request = ExportTraceServiceRequest()
    add(request, 1, "tick", parent=None, seconds=-5.0)
    posted = service.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert posted.status_code == 200
    run = service.get(f"/v1/runs/{TRACE.hex()}").json()
    (step,) = service.get(f"/v1/runs/{TRACE.hex()}/steps").json()["items"]
    assert (run["duration_ms"], step["latency_ms"]) == (None, None)
    stats = service.get("/v1/stats").json()
    assert (stats["runs"], stats["run_ms"], stats["steps"]) == (1, None, [])
