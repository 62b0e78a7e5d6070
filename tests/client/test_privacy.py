"""What reaches the service's database: no planted secret, no prompt, no answer, nothing that somebody wrote."""

from __future__ import annotations

import itertools
import re

import pytest
from support.databases import contents_of, postgres_server

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.client import AgentTracer
from Agent.client.destination import Destination
from Agent.client.shipment import Shipment
from Agent.flight import record_tool, recorder
from Agent.testing.canary import ENTRANCES, plant_all, plants, search
from Agent.tree.layout import list_sessions

pytest.importorskip("fastapi", reason="the service needs the extra [server]")

PROMPT = "You are a nurse. Tell Jane Doe, jane.doe@example.com, that her test was positive."
ANSWER = "Dear Jane, the result of your test is positive."
_numbers = itertools.count(1)
WORDS = [PROMPT, ANSWER, "Jane", "jane.doe", "nurse", "positive"]


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    from Agent.server import RunningServer, ServerSettings

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'database' / 'service.db'}"
    else:
        url = postgres_server().make_database(f"privacy_{next(_numbers)}")
    settings = ServerSettings(url, ingest_port=0, query_port=0, requests_per_second=0)
    with RunningServer(settings) as running:
        yield running, url


def ship_all(root, url):
    sent = 0
    for ref in list_sessions(root):
        with Shipment(ref.path, Destination(url), lambda _seconds: False) as shipment:
            while shipment.ship() or shipment.behind:
                pass
            assert shipment.outcome.refused == 0
            sent += shipment.outcome.sent
    return sent


@pytest.mark.integration
def test_the_canarys_secrets_and_the_texts_around_them_are_nowhere_in_the_database(service, tmp_path):
    running, url = service
    root, seed = tmp_path / "planted", "0123456789abcdef0123456789abcdef"
    missing = plant_all(root, "kernel", seed)
    assert ship_all(root, running.ingest_url) > 100
    contents = contents_of(url)
    entrances = search(contents, "kernel", seed, missing)
    assert [(entrance.name, entrance.leaks) for entrance in entrances if entrance.leaks] == []
    assert sum(entrance.planted for entrance in entrances) > 100
    # The words that were planted beside the secrets say where somebody's text came through. Names of modules
    # may leave, and some of those that plant are named by them.
    everything = re.sub(rb"planted_canary[0-9a-f]+", b"", b"\n".join(contents.values()))
    markers = [plant.marker for name in ENTRANCES for plant in plants(seed, name)]
    assert [marker for marker in markers if marker.encode() in everything] == []


@record_tool
def look_up(question):
    """A tool."""
    return {"answer": ANSWER, "asked": question}


def fail_in_a_run():
    with recorder.run("clerk", {"who": PROMPT, "patient": "Jane"}):
        with recorder.step("one", PROMPT) as step:
            step.output = ANSWER
            look_up(PROMPT)
        recorder.record_model_call(
            step_id="one",
            model_name="gpt-4o",
            params={"temperature": 0.2, "system": PROMPT},
            prompt=PROMPT,
            output=ANSWER,
        )
        recorder.save_artifact("reports/jane.doe.txt", ANSWER)
        raise ValueError(PROMPT)


@pytest.mark.integration
def test_prompts_answers_documents_and_messages_of_every_door_stay_here(service, trace_root):
    running, url = service
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("nurse bot of Jane", "a nurse")
    logger.log_action("answer", {"prompt": PROMPT}, {"result": ANSWER})
    logger.info(PROMPT, extra={"prompt": PROMPT, "count": 3})
    logger.log_decision("triage", {"options": [PROMPT]}, reasoning=ANSWER)
    logger.send("Jane Doe", PROMPT)
    with pytest.raises(ValueError, match="Jane"):
        fail_in_a_run()
    tracer = AgentTracer("clerk", "1.0.0", running.ingest_url)
    with tracer.start_run({"note": PROMPT}) as run, run.step("respond", "answer") as client_step:
        client_step.output = ANSWER
        client_step.add_metadata(
            {"prompt": PROMPT, "response": "positive", PROMPT: 1, "tokens": 12, "region": "eu-west-1"}
        )
        run.record_failure("model", PROMPT, ANSWER)
    assert tracer.flush(60)
    tracer.close()
    shutdown_logging()
    assert ship_all(trace_root, running.ingest_url) >= 1  # the ends of its writers, which came after
    everything = b"\n".join(contents_of(url).values())
    assert [word for word in WORDS if word.encode() in everything] == []
    for kept in (b"triage", b"look_up", b"gpt-4o", b"eu-west-1", b"ValueError", b'"temperature"'):
        assert kept in everything
    assert b"region" in everything
    assert b"tokens" in everything
