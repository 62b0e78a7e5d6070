"""A session on its way to a receiver of OpenTelemetry: whole, with the same ids each time, whatever answers."""

from __future__ import annotations

import orjson
import pytest

pytest.importorskip("opentelemetry.proto", reason="OTLP needs opentelemetry-proto, of the extra [otel]")

from support.otlp_double import OtlpReceiver, attributes_of
from support.processes import run_python

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.archive import seal
from Agent.client.destination import Connection
from Agent.client.otlp import OtlpDelivery, OtlpDestination, OtlpShipment, otlp_destination, spans_of
from Agent.errors import ConfigurationError, NotDelivered, SessionInUse
from Agent.export.allow_list import AllowList
from Agent.flight import recorder
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions
from Agent.tree.retention import cursors_hold


def never(_seconds):
    return False


def record(root, steps=3):
    setup_logging(trace_root=root)
    with recorder.run("clerk"):
        for number in range(steps):
            with recorder.step(f"s{number}", "look"):
                AgentLogger("clerk", "writer").log_decision("format")
    shutdown_logging()
    return list_sessions(root)[-1].path


def ids(spans):
    return sorted((span.trace_id, span.span_id, span.parent_span_id) for span in spans)


def status(code, message):
    """A google.rpc.Status in protobuf: field 1 is a number, field 2 a text."""
    return bytes([8, code, 18, len(message)]) + message.encode()


def delivered(session, receiver, wait=never, **how):
    destination = OtlpDestination(receiver.url, headers=(("x-key", "k1"),), service="shop")
    connection = Connection(destination)
    delivery = OtlpDelivery(connection, {}, wait, destination=destination, **how)
    try:
        delivery.send(list(spans_of(session, open_session(session), AllowList())))
    finally:
        connection.close()
    return delivery.outcome


def test_every_span_arrives_with_the_name_of_the_program_and_the_headers(trace_root):
    session = record(trace_root)
    with OtlpReceiver() as receiver:
        outcome = delivered(session, receiver)
        assert [span.name for span in receiver.spans] == ["step look"] * 3 + ["invoke_agent clerk"]
        assert (outcome.sent, outcome.refused, outcome.bodies) == (4, 0, 1)
        assert receiver.resources[0]["service.name"] == "shop"
        assert receiver.resources[0]["openinference.project.name"] == "shop"
        assert receiver.headers[0]["x-key"] == "k1"


def test_a_receiver_that_is_away_for_a_while_gets_everything(trace_root):
    session = record(trace_root)
    answers = {1: (503, {"Retry-After": "0"}), 2: (429, {"Retry-After": "0"})}
    with OtlpReceiver(answers.get) as receiver:
        outcome = delivered(session, receiver, patience_s=30)
        assert (len(receiver.spans), outcome.sent, outcome.retries) == (4, 4, 2)


def test_what_a_receiver_rejects_is_counted_with_its_reason(trace_root):
    session = record(trace_root)
    with OtlpReceiver(rejects=1) as receiver:
        outcome = delivered(session, receiver)
        assert (outcome.sent, outcome.refused, dict(outcome.reasons)) == (3, 1, {"no room": 1})


def test_a_request_that_is_too_large_is_sent_in_parts(trace_root):
    session = record(trace_root)
    with OtlpReceiver({1: (413, {})}.get) as receiver:
        outcome = delivered(session, receiver)
        assert (len(receiver.spans), outcome.sent, receiver.requests) == (4, 4, 3)


def test_an_address_without_a_receiver_is_one_clear_error(trace_root):
    session = record(trace_root)
    with OtlpReceiver(lambda _: (404, {})) as receiver, pytest.raises(NotDelivered) as error:
        delivered(session, receiver)
    assert "accepts no spans: it answers 404" in str(error.value)
    assert "receiver of OTLP over HTTP" in str(error.value)


def test_a_growing_session_is_sent_as_its_spans_end_and_its_root_at_the_end(trace_root):
    setup_logging(trace_root=trace_root)
    with OtlpReceiver() as receiver, recorder.run("clerk"):
        with recorder.step("s1", "look"):
            pass
        session = list_sessions(trace_root)[-1].path
        with OtlpShipment(session, OtlpDestination(receiver.url), never) as shipment:
            shipment.ship()
            assert [span.name for span in receiver.spans] == ["step look"]
            with pytest.raises(SessionInUse):
                OtlpShipment(session, OtlpDestination(receiver.url), never)
            recorder.finish_run(ok=True)
            AgentLogger("clerk", "writer").log_decision("after the run")
            shutdown_logging()
            shipment.ship()
            assert shipment.end() and not shipment.end()
            shipment.ship()
        assert [span.name for span in receiver.spans][-2:] == ["invoke_agent clerk", "invoke_workflow"]
        live = ids(receiver.spans)
    assert live == ids(spans_of(session, open_session(session), AllowList()))


def test_spans_that_could_not_be_sent_are_sent_by_the_next_call(trace_root):
    session = record(trace_root)
    with OtlpReceiver({1: (400, {})}.get) as receiver:
        with OtlpShipment(session, OtlpDestination(receiver.url), never) as shipment:
            with pytest.raises(NotDelivered):
                shipment.ship()
            shipment.ship()
        assert len(receiver.spans) == 4


PROGRAM = """
import sys
from Agent import AgentLogger, trace_agent_action
from Agent.client import export_otlp

class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def answer(self):
        return 42

sender = export_otlp(sys.argv[1], service="shop")
Clerk().answer()
print(sender.flush(20.0)["sent"])
Clerk().answer()
"""


@pytest.mark.integration
def test_a_program_exports_itself_while_it_runs_and_whole_after_its_end(tmp_path, trace_root):
    import time

    with OtlpReceiver() as receiver:
        done = run_python("-c", PROGRAM, receiver.url, cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root))
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
        deadline = time.monotonic() + 30
        while len(receiver.spans) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        session = list_sessions(trace_root)[-1].path
        assert ids(receiver.spans) == ids(spans_of(session, open_session(session), AllowList()))
        assert attributes_of(receiver.by_name()["invoke_agent clerk answer"])["agent.name"] == "clerk"


def test_a_destination_is_read_from_the_variables_of_opentelemetry(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    found = otlp_destination(None)
    assert (found.place, dict(found.headers), found.service) == (
        "http://localhost:4318",
        {"api-key": "a b", "x": "1"},
        "shop",
    )
    assert otlp_destination("http://h:1/v1/traces").place == "http://h:1"
    assert "a b" not in repr(found)
    assert otlp_destination("http://elsewhere:1").shows_key and not found.shows_key
    assert not otlp_destination("https://elsewhere:1").shows_key
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    for endpoint, headers in ((None, {}), ("ftp://x", {}), ("http://h:1", {"a\r\nb": "c"})):
        with pytest.raises(ConfigurationError):
            otlp_destination(endpoint, headers)


@pytest.mark.parametrize(
    ("variables", "place", "path"),
    [
        ({"ENDPOINT": "http://h:1/otel/"}, "http://h:1/otel", "/v1/traces"),
        ({"ENDPOINT": "http://h:1", "TRACES_ENDPOINT": "http://t:2/in?no"}, None, None),
        ({"ENDPOINT": "http://h:1", "TRACES_ENDPOINT": "http://t:2/in/"}, "http://t:2/in/", ""),
        ({"ENDPOINT": "http://h:1", "TRACES_ENDPOINT": "http://t:2"}, "http://t:2", ""),
        ({"TRACES_ENDPOINT": "http://t:2/v1/traces"}, "http://t:2", "/v1/traces"),
    ],
)
def test_the_endpoint_for_traces_is_a_whole_address(monkeypatch, variables, place, path):
    for name, url in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", url)
    if place is None:
        with pytest.raises(ConfigurationError, match="not an address"):
            otlp_destination()
        return
    found = otlp_destination()
    assert (found.place, found.path) == (place, path)
    given = otlp_destination("http://given:3")
    assert (given.place, given.path) == ("http://given:3", "/v1/traces")


def test_variables_for_traces_go_before_those_for_all_signals(monkeypatch):
    for name, (of_all, of_traces) in {
        "HEADERS": ("a=1", "b=2"),
        "COMPRESSION": ("none", "gzip"),
        "PROTOCOL": ("grpc", "http/protobuf"),
    }.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", of_all)
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}", of_traces)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1")
    found = otlp_destination()
    assert (dict(found.headers), found.is_compressed) == ({"b": "2"}, True)
    assert OtlpDestination.from_order(orjson.loads(orjson.dumps(found.to_order()))) == found
    for name in ("HEADERS", "COMPRESSION", "PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}")
    with pytest.raises(ConfigurationError, match="grpc") as caught:
        otlp_destination()
    assert "4318" in caught.value.remedy
    found = otlp_destination("http://h:1")  # named here, so what the variable says of another does not count
    assert (dict(found.headers), found.is_compressed) == ({"a": "1"}, False)


def test_a_program_describes_itself_by_its_resource_attributes(trace_root, monkeypatch):
    session = record(trace_root)
    told = "service.name=shop,deployment.environment.name=te%20st,openinference.project.name=p,broken"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", told)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    with OtlpReceiver(path="/in") as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/in")
        with OtlpShipment(session, otlp_destination(), never) as shipment:
            shipment.ship_recorded()
        assert len(receiver.spans) == 4 and "Content-Encoding" not in receiver.headers[0]
        resource = receiver.resources[0]
    assert (resource["service.name"], resource["openinference.project.name"]) == ("shop", "p")
    assert resource["deployment.environment.name"] == "te st" and "broken" not in resource
    assert otlp_destination(service="named").service == "named"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    assert otlp_destination().service == "other"


@pytest.mark.first_case
@pytest.mark.parametrize(
    "refusal",
    [
        status(3, "the trace id is too short"),
        b'{"code": 3, "message": "the trace id is too short"}',
        b'{"detail": "the trace id is too short"}',
    ],
)
def test_a_refusal_says_what_the_receiver_said(trace_root, refusal):
    session = record(trace_root)
    with (
        OtlpReceiver(lambda _: (400, {}), refusal=refusal) as receiver,
        pytest.raises(NotDelivered, match="400 Bad Request: the trace id is too short"),
    ):
        delivered(session, receiver)
    with (
        OtlpReceiver(lambda _: (400, {}), refusal=b"<html>no") as receiver,
        pytest.raises(NotDelivered, match="400 Bad Request; use"),
    ):
        delivered(session, receiver)


def test_a_certificate_that_cannot_be_read_is_one_clear_error(monkeypatch, tmp_path):
    (tmp_path / "no.pem").write_text("no certificate")
    for path in (tmp_path / "absent.pem", tmp_path / "no.pem"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(path))
        with pytest.raises(ConfigurationError, match="certificate") as caught:
            otlp_destination("https://h:1")
        assert str(path) in caught.value.remedy


def resumed(session, receiver, **how):
    """Send what is left of a recorded session; returns the shipment."""
    with OtlpShipment(session, OtlpDestination(receiver.url), never, resume=True, **how) as shipment:
        shipment.ship_recorded()
    return shipment


def test_the_next_export_resumes_where_the_last_one_was(trace_root):
    session = record(trace_root)
    with OtlpReceiver() as receiver:
        first, second = resumed(session, receiver), resumed(session, receiver)
        assert (first.outcome.sent, first.already) == (4, 0)
        assert (second.outcome.sent, second.already, receiver.requests) == (0, 4, 1)
        assert ids(receiver.spans) == ids(spans_of(session, open_session(session), AllowList()))


@pytest.mark.first_case
@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_whatever_request_fails_the_next_export_sends_each_other_span_once_and_whole(
    trace_root, monkeypatch, failing
):
    monkeypatch.setattr("Agent.client.otlp.MAX_BATCH_SPANS", 3)
    session = record(trace_root, steps=9)
    whole = {span.span_id: span for span in spans_of(session, open_session(session), AllowList())}
    with OtlpReceiver({failing: (400, {})}.get) as receiver:
        with pytest.raises(NotDelivered) as error:
            resumed(session, receiver)
        sent = len(receiver.spans)
        assert f"{sent} spans were sent, {len(whole) - sent} were not" in str(error.value)
        assert "--resume" in str(error.value)
        rest = resumed(session, receiver)
        assert (rest.already, rest.outcome.sent) == (sent, len(whole) - sent)
        assert ids(receiver.spans) == ids(whole.values())
        # A span after the cursor has what happened in it before the cursor.
        for span in receiver.spans:
            assert len(span.events) == len(whole[span.span_id].events)


def test_a_live_export_that_ends_early_is_resumed_by_another(trace_root):
    setup_logging(trace_root=trace_root)
    with OtlpReceiver({2: (400, {})}.get) as receiver:
        with recorder.run("clerk"):
            with recorder.step("s1", "look"):
                AgentLogger("clerk", "writer").log_decision("format")
            session = list_sessions(trace_root)[-1].path
            with OtlpShipment(session, OtlpDestination(receiver.url), never) as shipment:
                shipment.ship()
                with recorder.step("s2", "write"):
                    pass
                with pytest.raises(NotDelivered):
                    shipment.ship()
                assert shipment.unsent() == 1
        shutdown_logging()
        rest = resumed(session, receiver)
        assert rest.already == 1
        assert ids(receiver.spans) == ids(spans_of(session, open_session(session), AllowList()))


def test_what_was_sealed_and_removed_meanwhile_is_resumed_from_the_archive(trace_root):
    session = record(trace_root, steps=5)
    with OtlpReceiver({1: (400, {})}.get) as receiver:
        with pytest.raises(NotDelivered):
            resumed(session, receiver)
        seal(session, remove=True)
        assert resumed(session, receiver).outcome.sent == 6
        assert resumed(session, receiver).already == 6


def test_with_content_what_was_sent_without_it_is_sent_again(trace_root):
    session = record(trace_root)
    with OtlpReceiver() as receiver:
        resumed(session, receiver)
        assert resumed(session, receiver, content=True).outcome.sent == 4
        assert resumed(session, receiver).already == 4


@pytest.mark.first_case
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"sent": 1}', b'{"sent": {"a": [[1]]}}', b"\xff"])
def test_a_damaged_cursor_costs_a_second_sending_and_nothing_else(trace_root, damage):
    session = record(trace_root)
    with OtlpReceiver() as receiver:
        resumed(session, receiver)
        (cursor,) = (session / ".state" / "cursors").glob("otlp-*.json")
        cursor.write_bytes(damage)
        assert resumed(session, receiver).outcome.sent == 4


def test_a_session_that_goes_on_after_an_export_sends_its_new_spans_and_its_root_again(trace_root):
    setup_logging(trace_root=trace_root)
    with OtlpReceiver() as receiver:
        with recorder.run("clerk"), recorder.step("s1", "look"):
            pass
        AgentLogger("clerk", "writer").log_decision("after the run")
        session = list_sessions(trace_root)[-1].path
        first = resumed(session, receiver)
        with recorder.run("clerk"), recorder.step("s2", "look"):
            pass
        shutdown_logging()
        second = resumed(session, receiver)
        assert (first.outcome.sent, second.outcome.sent, second.already) == (3, 3, 2)
        assert {span.name for span in receiver.spans[3:]} == {
            "step look", "invoke_agent clerk", "invoke_workflow",
        }  # fmt: skip


def test_retention_keeps_what_was_not_exported_yet(trace_root):
    session = record(trace_root)
    log = next((session / "agents").glob("*.log"))
    with OtlpReceiver({1: (400, {})}.get) as receiver:
        with OtlpShipment(session, OtlpDestination(receiver.url), never) as shipment:
            with pytest.raises(NotDelivered):
                shipment.ship()
            shipment.ship()
            assert not cursors_hold(session)(log, log.stat())
        with log.open("a") as file:
            file.write("{}\n")
        assert cursors_hold(session)(log, log.stat())


@pytest.mark.process
@pytest.mark.further
def test_a_program_that_ends_while_its_receiver_is_away_says_how_many_spans_are_left(tmp_path, trace_root):
    # The process that sends may take more than a second to start.
    unsent = "next(filter(None, (sender.flush(1.0)['unsent'] for _ in range(30))), None)"
    program = PROGRAM.replace('print(sender.flush(20.0)["sent"])', f"import Agent\nprint({unsent})")
    program += "\nfrom Agent.client.sender import finish_sender\nfinish_sender(sender)\nprint(Agent.health()['notes'])"
    with OtlpReceiver(lambda _: (503, {"Retry-After": "9"})) as receiver:
        done = run_python("-c", program, receiver.url, cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root))
    assert done.stdout.splitlines()[0] == "1"
    assert "'a span had not reached its receiver at the end of the program': 2" in done.stdout
    assert "0 spans have reached" in done.stderr and ", and 2 have not yet" in done.stderr
    assert f"agent-trace export otlp --resume --endpoint {receiver.url} --service shop " in done.stderr


def test_the_command_for_the_rest_names_the_same_cursor_and_shows_no_key():
    one = OtlpDestination("http://h:1/v1/traces", headers=(("x-key", "secret"),), service="my shop")
    assert one.command == "export otlp --resume --endpoint http://h:1 --service 'my shop' --header x-key=..."
    assert OtlpDestination("http://h:1").command == "export otlp --resume --endpoint http://h:1"
    whole = OtlpDestination("http://h:1/in", is_whole=True)
    assert whole.command == "export otlp --resume --traces-endpoint http://h:1/in"
