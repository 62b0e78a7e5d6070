"""Over HTTPS: what is sent arrives where the certificate is trusted, and nowhere else."""

from __future__ import annotations

import ssl

import httpx
import pytest
from support.processes import run_python
from support.services import ServedProcess, self_made_certificate

from Agent import AgentLogger, setup_logging, shutdown_logging

pytestmark = pytest.mark.integration

pytest.importorskip("fastapi", reason="the service needs the extra [server]")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-made certificate for this machine, and its key."""
    return self_made_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def service(certificate, tmp_path):
    cert, key = map(str, certificate)
    options = ("--tls-certificate", cert, "--tls-key", key)
    with ServedProcess(f"sqlite:///{tmp_path / 'service.db'}", tmp_path, *options) as served:
        yield served


@pytest.fixture
def recorded(trace_root):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("clerk", "writer")
    for number in range(30):
        logger.log_action("write", {"number": number})
    shutdown_logging()
    return trace_root


def ship(url, root, **settings):
    words = ["-m", "Agent", "ship", "--to", url, "--root", str(root), "--patience", "0.2"]
    return run_python(*words, cwd=root, **settings)


def test_a_session_arrives_where_the_certificate_is_trusted(service, recorded, certificate):
    url = service.ingest_url.replace("http://", "https://")
    done = ship(url, recorded, SSL_CERT_FILE=str(certificate[0]))
    assert done.returncode == 0, done.stderr
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with httpx.Client(verify=context, base_url=service.query_url.replace("http://", "https://")) as client:
        (session,) = client.get("/v1/sessions").json()["items"]
    assert session["events"] >= 30


def test_spans_arrive_where_the_variable_of_opentelemetry_names_the_certificate(
    service, recorded, certificate
):
    pytest.importorskip("opentelemetry.proto", reason="OTLP needs the extra [otel]")
    url = service.ingest_url.replace("http://", "https://")
    words = ["-m", "Agent", "export", "otlp", "--root", str(recorded), "--endpoint", url, "--patience", "0.2"]
    done = run_python(*words, cwd=recorded)
    assert done.returncode == 3 and "certificate is not trusted" in done.stderr, done.stderr
    done = run_python(*words, cwd=recorded, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate[0]))
    assert done.returncode == 0 and "1 span sent" in done.stdout, done.stderr


def test_nothing_is_sent_to_a_certificate_that_nobody_vouches_for(service, recorded):
    url = service.ingest_url.replace("http://", "https://")
    done = ship(url, recorded, SSL_CERT_FILE="/dev/null")
    assert done.returncode == 3
    assert "certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_speaks_tls_takes_nothing_in_the_clear(service, recorded, tmp_path):
    done = ship(service.ingest_url, recorded)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert b"clerk" not in b"".join(path.read_bytes() for path in tmp_path.glob("service.db*"))
