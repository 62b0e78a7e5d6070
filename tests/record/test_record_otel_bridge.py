"""Spans of instrumented libraries as events: of the agent that acts, inside its action, and redacted."""

from __future__ import annotations

import sqlite3
import threading

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the bridge needs opentelemetry-sdk, of the extra [otel]")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from Agent import instrument, tick, trace_agent_action
from Agent.bridges import AgentTraceSpanProcessor
from Agent.flight import recorder


@pytest.fixture
def provider():
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(AgentTraceSpanProcessor(ignore=["noise"]))
    yield made
    made.shutdown()


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("a.library")


class Clerk:
    agent_id = "clerk"

    def __init__(self, body):
        self.body = body

    @trace_agent_action
    def act(self):
        return self.body()


def test_a_span_belongs_to_the_acting_agent_and_stands_in_its_action(recorded, tracer):
    def body():
        with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={"http.status": 200}):
            pass

    with tick(7):
        Clerk(body).act()
    span, action = recorded.only("span"), recorded.only("agent_action")
    assert span["extra"]["agent_id"] == "clerk" and span["logger"] == "a.library"
    assert span["parent_span_id"] == action["span_id"] != span["span_id"]
    assert (span["tick"], span["message"], span["level"]) == (7, "Span GET", "INFO")
    extra = span["extra"]
    assert extra["attributes"] == {"http.status": 200}
    assert (extra["name"], extra["span_kind"], extra["library"]) == ("GET", "client", "a.library")
    assert 0 <= extra["duration_ms"] < 10_000


def test_nested_spans_keep_their_nesting_and_an_action_between_them_is_nearer(recorded, tracer):
    def body():
        with tracer.start_as_current_span("inner"), tracer.start_as_current_span("innermost"):
            pass

    with tracer.start_as_current_span("outer"):
        Clerk(body).act()
    by_name = {event["extra"]["name"]: event for event in recorded.of("span")}
    action = recorded.only("agent_action")
    assert by_name["innermost"]["parent_span_id"] == by_name["inner"]["span_id"]
    assert by_name["inner"]["parent_span_id"] == action["span_id"]
    assert "parent_span_id" not in by_name["outer"] and "agent_id" not in by_name["outer"]["extra"]


def test_a_span_that_ends_in_another_thread_belongs_to_where_it_began(recorded, tracer):
    kept = []
    Clerk(lambda: kept.append(tracer.start_span("late"))).act()
    thread = threading.Thread(target=kept[0].end)
    thread.start()
    thread.join()
    span, action = recorded.only("span"), recorded.only("agent_action")
    assert span["extra"]["agent_id"] == "clerk" and span["parent_span_id"] == action["span_id"]


def test_secrets_in_attributes_never_reach_the_disk(recorded, tracer):
    secret = "sk-ant-api03-" + "a1B2c3D4" * 5
    with tracer.start_as_current_span(
        "call", attributes={"password": "hunter2", "db.statement": secret}
    ) as span:
        span.add_event("sent", {"header": f"Bearer {secret}"})
    text = str(recorded.only("span"))
    assert "hunter2" not in text and secret not in text and "[redacted" in text


def test_a_failed_span_says_what_failed(recorded, tracer):
    with pytest.raises(LookupError), tracer.start_as_current_span("call"):
        raise LookupError("gone")
    with tracer.start_as_current_span("told") as span:
        span.set_status(Status(StatusCode.ERROR, "no answer"))
    failed, told = recorded.of("span")
    assert failed["level"] == told["level"] == "WARNING"
    assert (failed["extra"]["outcome"], failed["extra"]["error_type"]) == ("error", "LookupError")
    assert failed["extra"]["error_message"] == "gone"
    assert (told["extra"]["error_type"], told["extra"]["error_message"]) == ("_OTHER", "no answer")


def test_a_span_in_a_run_is_part_of_the_run(recorded, tracer):
    with recorder.run("clerk"), tracer.start_as_current_span("GET"):
        run_id = recorder.current_run_id
    of_log_view = [event for event in recorded.events if "extra" in event]
    assert [event["run_id"] for event in of_log_view if event["extra"]["event_type"] == "span"] == [run_id]


def test_levels_and_ignored_libraries_are_left_out(recorded, provider, level):
    provider.get_tracer("noise").start_span("x").end()
    level("system", 30)
    provider.get_tracer("a.library").start_span("x").end()
    assert recorded.of("span") == []


def test_a_failure_to_record_never_reaches_the_library(recorded, tracer, monkeypatch, capfd):
    monkeypatch.setattr("Agent.record.bridges.otel_bridge.current_pipeline", lambda: 1 / 0)
    tracer.start_span("x").end()
    assert "a span of another library could not be recorded" in capfd.readouterr().err


def test_queries_of_an_instrumented_sqlite3_arrive_under_the_right_agent(recorded, provider):
    instrumentation = pytest.importorskip(
        "opentelemetry.instrumentation.sqlite3",
        reason="opentelemetry-instrumentation-sqlite3 is not installed",
    )

    class Bookkeeper:
        def __init__(self, name):
            self.name = name

        def count(self):
            with sqlite3.connect(":memory:") as connection:
                found = connection.cursor().execute("SELECT 40 + 2").fetchone()[0]
            connection.close()
            return found

    instrument(Bookkeeper, methods=["count"], agent_id="name")
    made = instrumentation.SQLite3Instrumentor()
    made.instrument(tracer_provider=provider)
    try:
        assert [Bookkeeper("ann").count(), Bookkeeper("bob").count()] == [42, 42]
    finally:
        made.uninstrument()
    spans, actions = recorded.of("span"), recorded.of("agent_action")
    assert [span["extra"]["agent_id"] for span in spans] == ["ann", "bob"]
    assert [span["parent_span_id"] for span in spans] == [action["span_id"] for action in actions]
    assert spans[0]["extra"]["name"] == "SELECT" and "40 + 2" in str(spans[0]["extra"]["attributes"])


def test_an_agent_that_holds_the_proxy_of_an_instrumented_library_has_its_state(recorded, capfd):
    wrapt = pytest.importorskip("wrapt", reason="wrapt comes with opentelemetry-instrumentation")

    class Seller:
        agent_id = "nora"

        def __init__(self):
            self.sold, self.connection = 0, wrapt.ObjectProxy(sqlite3.connect(":memory:"))

        @trace_agent_action
        def sell(self):
            self.sold += 1

    Seller().sell()
    assert capfd.readouterr().err == ""
    (first,) = (event for event in recorded.of("state") if event["extra"]["reason"] == "first")
    assert first["extra"]["fields"]["sold"] == 0 and recorded.of("agent_action")[0]["state"]["set"] == {
        "sold": 1
    }
