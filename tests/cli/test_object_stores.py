"""Sealed sessions in an object store, read with `--engine duckdb`: in memory, and from an S3 server."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator

import pytest
from support.known_truth import make_session

QUERY = "SELECT event_type, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC, event_type"
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return make_session(tmp_path_factory.mktemp("host"), events=2_000, agents=5, seed=3, sealed=True)


@pytest.fixture
def in_memory(truth) -> Iterator[str]:
    """The session's directory as a copy in fsspec's own store."""
    store = fsspec.filesystem("memory")
    store.put(f"{truth.session}/", f"/host/{truth.session.name}", recursive=True)
    yield f"memory:///host/{truth.session.name}"
    store.rm("/host", recursive=True)


@pytest.fixture
def in_s3(truth, monkeypatch) -> Iterator[str]:
    """The same copy in an S3 server on loopback."""
    for module in ("moto", "s3fs", "flask"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in (("ENDPOINT_URL", address), ("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s")):
        monkeypatch.setenv(f"AWS_{name}", value)
    fsspec.filesystem("s3").clear_instance_cache()
    store = fsspec.filesystem("s3")
    store.mkdir("traces")
    store.put(f"{truth.session}/", f"traces/host/{truth.session.name}", recursive=True)
    yield "s3://traces/host"
    server.stop()


def asked(run, *words):
    done = run(*map(str, words), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_session_in_a_store_gives_the_answers_of_its_original(run, truth, in_memory):
    for command in (["sql", QUERY], ["errors"], ["interactions"], ["learning", "*"]):
        here = asked(run, *command, truth.session, "--engine", "duckdb")
        assert here and here == asked(run, *command, in_memory, "--engine", "duckdb"), command


def test_a_root_a_pattern_and_a_session_of_this_machine_are_read_together(run, truth, in_memory):
    root = in_memory.rpartition("/")[0]
    one = asked(run, "analyze", root, "--engine", "duckdb")["total_events"]
    assert one == asked(run, "analyze", f"{root}/sess*", "--engine", "duckdb")["total_events"]
    both = asked(run, "sql", "SELECT count(*) AS n FROM events", root, truth.session, "--engine", "duckdb")
    assert both == [{"n": 2 * one}]
    journey = run("journey", "agent_00001", in_memory, "--engine", "duckdb", "--json")
    assert journey.returncode == 0 and len(journey.stdout.splitlines()) > 10, journey.stderr


def test_an_s3_server_is_read_and_no_other_place(run, truth, in_s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a\n1\n")
    here = asked(run, "errors", truth.session, "--engine", "duckdb")
    assert here == asked(run, "errors", in_s3, "--engine", "duckdb")
    for place in ("s3://traces/other.csv", "other.csv"):
        done = run("sql", f"SELECT * FROM read_csv('{place}')", in_s3, "--engine", "duckdb")
        assert done.returncode == 2 and "disabled by configuration" in done.stderr, done.stderr
    missing = run("errors", "s3://nothing/there", "--engine", "duckdb")
    assert (missing.returncode, missing.stdout) == (3, ""), missing.stderr
    assert missing.stderr.count("\n") == 1


def test_what_is_missing_or_not_sealed_is_said_in_one_line(run, truth, in_memory, monkeypatch):
    store = fsspec.filesystem("memory")
    for url, what in (("memory:///nowhere", "no session is there"), ("nosuch://x/y", "cannot be read")):
        done = run("errors", url, "--engine", "duckdb")
        assert done.returncode == 3 and what in done.stderr and done.stderr.count("\n") == 1, done.stderr
    store.pipe(f"/host/{truth.session.name}/agents/late.log", b"{}\n")
    done = run("errors", in_memory, "--engine", "duckdb")
    assert done.returncode == 3 and "agents/late.log would be left out" in done.stderr
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    done = run("errors", "gs://traces/host", "--engine", "duckdb")
    assert done.returncode == 3 and "pip install gcsfs" in done.stderr, done.stderr
