"""Sealed sessions in an object store, read with `--engine duckdb`: in memory, and from an S3 server.

`test_spark_stores` compares what Spark reads there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.known_truth import make_session
from support.object_store import s3_server, why_no_server

from Agent.analysis.query.spark import part_reader, pieces_of
from Agent.archive.sealed.parts import read_parts

QUERY = "SELECT event_type, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC, event_type"
pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
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
def in_s3(truth) -> Iterator[str]:
    """The same copy in an S3 server on loopback."""
    if why := why_no_server():
        pytest.skip(why)
    with s3_server("traces") as store:
        store.put(f"{truth.session}/", f"traces/host/{truth.session.name}", recursive=True)
        yield "s3://traces/host"


def asked(run, *words):
    done = run(*map(str, words), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.integration
def test_a_session_in_a_store_gives_the_answers_of_its_original(run, truth, in_memory):
    for command in (["sql", QUERY], ["errors"], ["interactions"], ["learning", "*"]):
        here = asked(run, *command, truth.session, "--engine", "duckdb")
        assert here and here == asked(run, *command, in_memory, "--engine", "duckdb"), command


@pytest.mark.integration
def test_debug_names_the_complaint_and_the_session_of_a_pattern(run, truth, in_memory):
    for pattern in ("memory:///h*/session_*", str(truth.session.parent / "session_*")):
        done = run("debug", "agent fails", pattern, "--engine", "duckdb")
        named = ["Issue: agent fails", f"Session {truth.session.name.removeprefix('session_')}"]
        assert done.stdout.splitlines()[:2] == named


@pytest.mark.integration
def test_damaged_lines_are_counted_in_a_store_as_in_its_original(run, tmp_path):
    damaged = make_session(tmp_path, events=12_000, agents=18, seed=3, faults=["torn_file"], sealed=True)
    store = fsspec.filesystem("memory")
    store.put(f"{damaged.session}/", f"/damaged/{damaged.session.name}", recursive=True)
    try:
        here, there = (
            asked(run, "analyze", place, "--engine", "duckdb")["damaged_lines"]
            for place in (damaged.session, "memory:///damaged")
        )
    finally:
        store.rm("/damaged", recursive=True)
    assert here == there > 0


@pytest.mark.further
@pytest.mark.process
def test_the_functions_that_executors_run_need_no_module_of_this_package(truth, tmp_path):
    pickle = pytest.importorskip("pyspark.cloudpickle")
    parts = [(f"file://{part.parquet}", part) for part in read_parts(truth.session)]
    names = pyarrow.schema(
        [("seq", pyarrow.int64()), ("agent_id", pyarrow.string()), ("new", pyarrow.bool_())]
    )
    pieces = [tuple(piece) for piece in pieces_of(parts, 700)]
    assert len(pieces) > 1
    numbers = pyarrow.RecordBatch.from_pydict({"id": list(range(len(pieces)))})
    program = (
        "import sys; sys.modules['Agent'] = None\n"
        "from pyspark import cloudpickle\n"
        "read, numbers = cloudpickle.load(sys.stdin.buffer)\n"
        "rows = [row for batch in read(iter([numbers])) for row in batch.to_pylist()]\n"
        "print(len(rows), len({row['agent_id'] for row in rows}), {row['new'] for row in rows})"
    )
    sent = pickle.dumps((part_reader(pieces, names, {}), numbers))
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=False)
    events = sum(part.rows for _, part in parts)
    assert done.stdout.decode().split() == [str(events), "6", "{None}"], done.stderr.decode()


@pytest.mark.integration
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
