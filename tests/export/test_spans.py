"""Recorded events as spans: one trace a run, one span an action, step or call, and no content unasked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from Agent import (
    AgentLogger,
    caused_by,
    receive,
    send,
    setup_logging,
    shutdown_logging,
    tick,
    trace_agent_action,
    trace_context,
)
from Agent.client.otlp import spans_of
from Agent.export.allow_list import AllowList
from Agent.export.otlp import as_json, as_protobuf
from Agent.export.span_content import messages_in
from Agent.export.spans import MAX_SPAN_EVENTS, Span, SpanEvent, SpanMaker
from Agent.flight import record_tool, recorder
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

PROSE = "please tell Jane Doe that her test was positive"


@record_tool
def search_kb(query):
    return [f"about {query}"]


class Clerk:
    def __init__(self):
        self.agent_id = "clerk"
        self.logger = AgentLogger("clerk", "writer")

    @trace_agent_action
    def answer(self, question):
        self.logger.log_decision("format", {"why": PROSE})
        return self.look_up(question)

    @trace_agent_action
    def look_up(self, question):
        if "?" in question:
            return search_kb(question)
        raise LookupError(PROSE)


def record(root):
    """A run with a step, two actions, a tool, a model call and an error; and one action outside of it."""
    setup_logging(trace_root=root)
    clerk = Clerk()
    with recorder.run("clerk", {"agent_version": "1.2.0"}), tick(7):
        with recorder.step("plan", "think", step_type="plan"):
            clerk.answer(PROSE + "?")
            recorder.record_model_call(
                model_name="gpt-4o",
                model_provider="openai",
                prompt=PROSE,
                output=PROSE,
                prompt_tokens=11,
                completion_tokens=4,
                params={"temperature": 0.5},
                latency_ms=12.5,
            )
        with pytest.raises(LookupError):
            clerk.answer("nothing")
    clerk.answer("outside?")
    shutdown_logging()
    return list_sessions(root)[-1].path


def exported(session, **how):
    allowed = AllowList(b"k" * 32)
    return list(spans_of(session, open_session(session), allowed, **how)), allowed


def by_name(spans):
    return {span.name: span for span in spans}


@pytest.fixture
def session(trace_root):
    return record(trace_root)


def test_a_run_is_a_trace_whose_spans_have_the_nesting_of_the_record(session):
    spans, _ = exported(session)
    (run_id,) = [path.name for path in (session / "runs").iterdir() if path.name != "root"]
    of_run = [span for span in spans if span.trace_id == bytes.fromhex(run_id.replace("-", ""))]
    assert {span.trace_id.hex() for span in spans} == {
        run_id.replace("-", ""),
        open_session(session).session_uid.replace("-", ""),
    }
    found = {span.span_id: span for span in of_run}
    assert [span.name for span in of_run if not span.parent_span_id] == ["invoke_agent clerk"]
    tool = by_name(of_run)["execute_tool search_kb"]
    path = []
    while tool.parent_span_id:
        tool = found[tool.parent_span_id]
        path.append(tool.name)
    assert path == [
        "invoke_agent clerk look_up",
        "invoke_agent clerk answer",
        "step think",
        "invoke_agent clerk",
    ]


def test_the_function_of_an_action_is_named_as_the_conventions_say_and_its_path_only_with_content(session):
    for content in (False, True):
        spans = by_name(exported(session, content=content)[0])
        for function in (Clerk.answer, Clerk.look_up):  # the second is only called inside the first
            shown = spans[f"invoke_agent clerk {function.__name__}"].attributes
            place = function.__wrapped__.__code__.co_firstlineno
            name = f"{Clerk.__module__}.{function.__qualname__}"
            assert (shown["code.function.name"], shown["code.line.number"]) == (name, place)
            assert shown.get("code.file.path") == (str(Path(__file__).absolute()) if content else None)
        assert "agent_trace.code" not in shown, "it is no outermost action, whose code is compared"
        assert str(Path(__file__).parent) in as_json(spans.values(), "x").decode() or not content


def test_a_function_is_named_in_the_export_of_one_run_and_where_its_event_is_read_late(session):
    (run_id,) = [path.name for path in (session / "runs").iterdir() if path.name != "root"]
    spans = by_name(exported(session, runs=frozenset({run_id}))[0])
    assert "code.line.number" in spans["invoke_agent clerk answer"].attributes
    maker = SpanMaker(session, open_session(session), AllowList(b"k" * 32))
    late = [event for event in TreeReader(session).events() if event.kind != "code"]
    made = by_name(span for event in late if (span := maker.add(event)) is not None)
    assert "code.line.number" in made["invoke_agent clerk answer"].attributes


def test_spans_of_a_recording_without_files_name_the_function_alone(session):
    maker = SpanMaker(session, open_session(session), AllowList(b"k" * 32), content=True)
    events = list(TreeReader(session).events())
    for event in events:
        if event.kind == "code":
            del event.extra["file"], event.extra["line"]
    made = by_name(span for event in events if (span := maker.add(event)) is not None)
    found = made["invoke_agent clerk answer"].attributes
    assert [key for key in found if key.startswith("code.")] == ["code.function.name"]


def test_kinds_tokens_and_ticks_have_the_names_of_both_conventions(session):
    spans = by_name(exported(session)[0])
    model = spans["chat gpt-4o"]
    expected = {
        "gen_ai.operation.name": "chat",
        "openinference.span.kind": "LLM",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.usage.input_tokens": 11,
        "llm.token_count.completion": 4,
        "llm.token_count.total": 15,
        "agent_trace.tick": 7,
    }
    assert {name: model.attributes.get(name) for name in expected} == expected
    assert model.end_ns - model.start_ns == 12_500_000
    kinds = {name: span.attributes["openinference.span.kind"] for name, span in spans.items()}
    assert kinds["invoke_agent clerk answer"] == kinds["invoke_agent clerk"] == "AGENT"
    assert (kinds["execute_tool search_kb"], kinds["step think"]) == ("TOOL", "CHAIN")
    assert spans["execute_tool search_kb"].attributes["gen_ai.tool.name"] == "search_kb"
    assert spans["invoke_agent clerk"].attributes["agent_trace.labels.agent_version"] == "1.2.0"


def test_the_written_names_are_those_of_the_installed_conventions(session):
    gen_ai = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    inference = pytest.importorskip("openinference.semconv.trace")
    known = {value for name, value in vars(gen_ai).items() if name.startswith("GEN_AI")}
    code = pytest.importorskip("opentelemetry.semconv.attributes.code_attributes")
    known |= {value for name, value in vars(code).items() if name.startswith("CODE_")}
    known |= {value for name, value in vars(inference.SpanAttributes).items() if name.isupper()}
    operations = {each.value for each in gen_ai.GenAiOperationNameValues}
    kinds = {each.value for each in inference.OpenInferenceSpanKindValues}
    own = ("agent_trace.", "llm.input_messages.", "llm.output_messages.")
    spans, _ = exported(session, content=True)
    for span in spans:
        names = {name for name in span.attributes if not name.startswith(own)}
        assert names - known <= {"error.type"}, span.name
        assert span.attributes["openinference.span.kind"] in kinds
        assert span.attributes.get("gen_ai.operation.name", "chat") in operations


def test_an_error_is_an_exception_where_it_happened_and_the_status_of_every_span_it_left(session):
    spans, _ = exported(session)
    failed = [span for span in spans if span.status == 2]
    assert [span.name for span in failed] == ["invoke_agent clerk look_up", "invoke_agent clerk answer"]
    assert [span.attributes["error.type"] for span in failed] == ["LookupError", "LookupError"]
    (inner, outer) = [[event.name for event in span.events] for span in failed]
    assert "exception" in inner and "exception" not in outer
    told = next(event for event in failed[0].events if event.name == "exception").attributes
    assert told["exception.type"] == "LookupError"
    assert told["agent_trace.failure_type"] == "orchestration"


def test_no_content_leaves_unless_it_is_asked_for(session):
    spans, allowed = exported(session)
    assert PROSE.encode() not in as_json(spans, "shop")
    assert allowed.dropped["/extra/decision_data"] == 3
    spans, allowed = exported(session, content=True)
    shown = by_name(spans)
    assert PROSE in shown["invoke_agent clerk answer"].events[0].attributes["agent_trace.decision_data"]
    assert shown["execute_tool search_kb"].attributes["gen_ai.tool.call.arguments"] == '{"query":"outside?"}'
    assert PROSE in shown["chat gpt-4o"].attributes["gen_ai.input.messages"]
    failed = next(span for span in spans if span.status == 2)
    assert next(e for e in failed.events if e.name == "exception").attributes["exception.message"] == PROSE
    assert not any(path.startswith("/extra") for path in allowed.dropped)


def test_a_second_export_gives_the_same_bytes(session):
    first, second = (as_json(exported(session, content=True)[0], "shop") for _ in range(2))
    assert first == second


def test_both_encodings_say_the_same(session):
    pytest.importorskip("opentelemetry.proto", reason="the extra [otel] is not installed")
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans, _ = exported(session, content=True)
    line = json.loads(as_json(spans, "shop"))
    told = MessageToDict(
        ExportTraceServiceRequest.FromString(as_protobuf(spans, "shop")), use_integers_for_enums=True
    )
    assert in_hex(told) == without_empty(line)


def in_hex(value):
    import base64

    if isinstance(value, list):
        return [in_hex(each) for each in value]
    if isinstance(value, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {
            key: base64.b64decode(each).hex() if key in ids else in_hex(each) for key, each in value.items()
        }
    return value


def without_empty(value):
    """Protobuf leaves out what has its default."""
    if isinstance(value, list):
        return [without_empty(each) for each in value]
    if isinstance(value, dict):
        kept = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each != [] and (key, each) != ("message", "")}
    return value


@pytest.mark.parametrize("far_ns", [2**64 - 1, 2**64, 253_402_300_799_999_999_000])
def test_times_and_numbers_beyond_64_bits_do_not_end_an_export(far_ns):
    pytest.importorskip("opentelemetry.proto", reason="the extra [otel] is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    span = Span(b"t" * 16, b"s" * 8, name="a", start_ns=far_ns, end_ns=far_ns, attributes={"n": 2**63})
    span.add(SpanEvent("e", far_ns, {"n": -(2**63), "m": -(2**63) - 1}))
    request = ExportTraceServiceRequest.FromString(as_protobuf([span], "shop"))
    (sent,) = request.resource_spans[0].scope_spans[0].spans
    times = {sent.start_time_unix_nano, sent.end_time_unix_nano, sent.events[0].time_unix_nano}
    assert times == {2**64 - 1}
    assert sent.attributes[0].value.string_value == str(2**63)
    least, beyond = (each.value for each in sent.events[0].attributes)
    assert (least.int_value, beyond.string_value) == (-(2**63), str(-(2**63) - 1))
    line = json.loads(as_json([span], "shop"))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert line["endTimeUnixNano"] == line["events"][0]["timeUnixNano"] == str(2**64 - 1)


def test_only_the_spans_of_an_asked_run_are_exported(session):
    (run_id,) = [path.name for path in (session / "runs").iterdir() if path.name != "root"]
    spans, _ = exported(session, runs=frozenset([run_id]))
    assert {span.trace_id.hex() for span in spans} == {run_id.replace("-", "")}
    assert sum(not span.parent_span_id for span in spans) == 1


def test_a_recorded_cause_is_a_link_to_the_span_of_another_agent(trace_root):
    setup_logging(trace_root=trace_root)

    class Asker:
        agent_id = "asker"

        @trace_agent_action
        def ask(self):
            return send("answerer", {"q": 1})

    class Answerer:
        agent_id = "answerer"

        @trace_agent_action
        def serve(self, message):
            receive(message)

    Answerer().serve(Asker().ask())
    shutdown_logging()
    spans = by_name(exported(list_sessions(trace_root)[-1].path)[0])
    asked = spans["invoke_agent asker ask"]
    (link,) = spans["invoke_agent answerer serve"].links
    assert (link.trace_id, link.span_id) == (asked.trace_id, asked.span_id)


def test_a_run_started_in_an_action_is_a_trace_of_its_own_linked_to_it(trace_root):
    setup_logging(trace_root=trace_root)

    class Boss:
        agent_id = "boss"

        @trace_agent_action
        def delegate(self):
            with recorder.run("worker"):
                pass

    Boss().delegate()
    shutdown_logging()
    spans = by_name(exported(list_sessions(trace_root)[-1].path)[0])
    outer, inner = spans["invoke_agent boss delegate"], spans["invoke_agent worker"]
    assert inner.trace_id != outer.trace_id
    assert [(link.trace_id, link.span_id) for link in inner.links] == [(outer.trace_id, outer.span_id)]


def test_what_was_open_when_a_program_died_is_an_unfinished_span(trace_root):
    session = record(trace_root)
    events = list(TreeReader(session).events())
    maker = SpanMaker(session, open_session(session), AllowList())
    cut = next(n for n, event in enumerate(events) if event.kind == "tool.call") + 1
    spans = [span for event in events[:cut] if (span := maker.add(event)) is not None]
    spans += maker.finish()
    found = {span.span_id: span for span in spans}
    assert all(span.parent_span_id in found for span in spans if span.parent_span_id)
    assert sum(not span.parent_span_id for span in spans) == 1
    unfinished = [span for span in spans if span.attributes.get("agent_trace.unfinished")]
    names = {span.name for span in unfinished}
    assert names == {"unrecorded span", "step think", "invoke_agent clerk"}, "an action, its step, the run"


def test_more_than_128_events_of_a_span_are_counted(trace_root):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("busy", "writer")
    with trace_context(logger, "much"):
        for _ in range(MAX_SPAN_EVENTS + 5):
            logger.log_decision("again")
    shutdown_logging()
    span = by_name(exported(list_sessions(trace_root)[-1].path)[0])["context much"]
    assert (len(span.events), span.dropped_events) == (MAX_SPAN_EVENTS, 5)


def test_replays_and_their_first_difference_stand_at_the_root(session):
    place = session / "runs" / "root" / "replays" / "20261120_103045-aaaaaaaa"
    place.mkdir(parents=True)
    divergence = {"step": 3, "tick": 7, "agent_id": "clerk", "field": "state.n", "recorded": PROSE}
    report = {"verdict": "DIVERGED", "counts": {"actions": 5, "covered": 3}, "divergence": divergence}
    (place / "report.json").write_text(json.dumps(report))
    root = next(span for span in exported(session)[0] if span.name == "invoke_workflow")
    told = {event.name: event.attributes for event in root.events}
    assert told["agent_trace.replay"]["agent_trace.replay.verdict"] == "DIVERGED"
    assert told["agent_trace.divergence"]["agent_trace.divergence.step"] == 3
    assert told["agent_trace.divergence"]["agent_trace.divergence.field"] == "state.n"
    assert PROSE not in str(told)


def test_a_fork_names_its_origin(session):
    described = json.loads((session / "session.json").read_text())
    origin = "01a2102a-dad1-7a8b-b766-718d596bca2c"
    described["forked_from"] = {
        "run": "20261125_004613", "session_id": "20261125_004613", "session_uid": origin,
        "step": "step_3", "patch": {"secret": PROSE}, "seed": 5,
    }  # fmt: skip
    (session / "session.json").write_text(json.dumps(described))
    root = next(span for span in exported(session)[0] if span.name == "invoke_workflow")
    assert root.attributes["agent_trace.fork.relation"] == "forked_from"
    assert root.attributes["agent_trace.fork.step"] == "step_3"
    assert root.links[-1].trace_id.hex() == origin.replace("-", "")
    assert PROSE not in str(root)


CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "hi"}]},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}
ANSWERS = [
    ("a text", "hi", [("assistant", "hi")]),
    ("the chat of OpenAI", {"messages": CHAT, "model": "m"}, [("system", "be brief"), ("user", "hi")]),
    ("its answer", {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}]},
     [("assistant", "hi")]),
    ("the answer of Anthropic", {"role": "assistant", "content": [{"type": "text", "text": "hi"}]}, [("assistant", "hi")]),
    ("its question", {"system": "be brief", "messages": CHAT[1:]}, [("system", "be brief"), ("user", "hi")]),
    ("LangChain's", {"messages": [{"type": "human", "data": {"content": "hi"}}]}, [("user", "hi")]),
    ("LangChain's answer", {"generations": [{"message": {"type": "ai", "data": {"content": "hi"}}}]}, [("assistant", "hi")]),
    ("anything else", {"weights": [1, 2]}, [("assistant", '{"weights":[1,2]}')]),
]  # fmt: skip


def test_the_usual_forms_of_prompts_and_answers_are_messages_with_roles_and_texts():
    for name, value, expected in ANSWERS:
        found = messages_in(value, by_model=True)
        assert [(one["role"], one["parts"][0]["content"]) for one in found] == expected, name
        assert all(one["finish_reason"] for one in found), name
    (found,) = messages_in([{"role": "assistant", "content": None, "tool_calls": [CALL]}], by_model=True)
    assert found["parts"] == [{"type": "tool_call", "id": "c1", "name": "search", "arguments": '{"q": 1}'}]
    (found,) = messages_in([{"role": "tool", "content": "42", "tool_call_id": "c1"}], by_model=False)
    assert found["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "42"}]
    assert "finish_reason" not in found


KEYS = (
    "role",
    "content",
    "type",
    "text",
    "messages",
    "choices",
    "message",
    "data",
    "tool_calls",
    "tool_call_id",
    "function",
    "name",
)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["user", "tool_use", "tool_call", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


def has_the_form_of_the_conventions(message, by_model):
    """As the JSON schemas of gen_ai.input.messages and gen_ai.output.messages demand it."""
    texts = [message["role"], *([message["finish_reason"]] if by_model else [])]
    for part in message["parts"]:
        needed = {"text": "content", "tool_call": "name", "tool_call_response": "response"}
        assert needed[part["type"]] in part
        texts += [part[key] for key in ("content", "name", "id") if key in part]
    return all(isinstance(text, str) for text in texts)


@given(NESTED, st.booleans())
@example([{"content": [{"type": {}}]}], True)
def test_any_value_makes_messages_of_the_conventions_form(value, by_model):
    found = messages_in(value, by_model=by_model)
    assert found and all(has_the_form_of_the_conventions(each, by_model) for each in found)


SCHEMAS = os.environ.get("GENAI_SCHEMAS", "")


@pytest.mark.skipif(
    not SCHEMAS,
    reason="GENAI_SCHEMAS does not name the folder docs/gen-ai of OpenTelemetry's semantic conventions",
)
@given(NESTED | st.sampled_from([value for _, value, _ in ANSWERS]), st.booleans())
def test_messages_are_valid_by_the_json_schemas_of_the_conventions(value, by_model):
    jsonschema = pytest.importorskip("jsonschema", reason="it checks the schemas")
    name = f"gen-ai-{'output' if by_model else 'input'}-messages.json"
    found = json.loads(json.dumps(messages_in(value, by_model=by_model)))
    jsonschema.validate(found, json.loads((Path(SCHEMAS) / name).read_text()))


def test_a_cause_from_before_the_export_is_no_link(trace_root):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("clerk", "writer")
    with caused_by("aaaaaaaa-1"), trace_context(logger, "much"):
        send("other", {})
    shutdown_logging()
    spans, _ = exported(list_sessions(trace_root)[-1].path)
    assert all(not span.links for span in spans)
