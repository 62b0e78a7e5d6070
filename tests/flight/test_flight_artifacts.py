"""Artifacts: plain files under readable names, stored once, streamed, hashed, without secrets."""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from unittest.mock import MagicMock, Mock

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import run_python
from support.session_files import only_session

from Agent import health, setup_logging, shutdown_logging
from Agent.errors import DamagedInput
from Agent.event.model import RedactedBytes
from Agent.flight import find_run, read_run, recorder
from Agent.flight.artifact_saving import compared
from Agent.tree.files.session import SessionInfo, create_session
from Agent.tree.write.artifacts import (
    ArtifactFiles,
    artifact_path,
    artifacts_dir,
    new_hash,
    read_artifact,
    safe_path,
)

KEY = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5q" * 2
PRIVATE_KEY = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 20
    + "-----END PRIVATE KEY-----\n"
)


@pytest.fixture
def run_id():
    identity = recorder.start_run("artist")
    yield identity
    recorder.finish_run()


@pytest.fixture
def place(run_id, trace_root) -> Path:
    return trace_root / "runs" / run_id / "artifacts"


def stored(place: Path, ref: str) -> Path:
    return place / ref.removeprefix("artifact://artifacts/")


def saved_events(place: Path) -> list[dict]:
    lines = (place.parent / "events.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["type"] == "artifact.saved"]


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("name", "data", "media_type", "content"),
    [
        ("a.json", {"x": [1, None, "é"]}, "application/json", b'{"x":[1,null,"\xc3\xa9"]}\n'),
        ("b", {"x": 1}, "application/json", b'{"x":1}\n'),
        ("c.txt", "hello\n", "text/plain", b"hello\n"),
        ("d.json", '{"already": "json"}', "application/json", b'{"already": "json"}'),
        ("e.json", "no json", "application/json", b'"no json"\n'),
        ("f.bin", b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        ("g.png", b"\x89PNG\r\n", "image/png", b"\x89PNG\r\n"),
        ("h", b"plain text", "text/plain", b"plain text"),
        ("i.md", io.StringIO("# title"), "text/markdown", b"# title"),
        ("j", io.BytesIO(b"\x00\x01"), "application/octet-stream", b"\x00\x01"),
        ("k.json", 17, "application/json", b"17\n"),
        ("empty.txt", "", "text/plain", b""),
    ],
)  # fmt: skip
def test_a_value_is_a_plain_file_of_its_media_type(place, name, data, media_type, content):
    ref = recorder.save_artifact(name, data)
    assert stored(place, ref).read_bytes() == content
    (event,) = saved_events(place)
    assert (event["media_type"], event["size_bytes"], event["ref"]) == (media_type, len(content), ref)
    hasher = new_hash()
    hasher.update(content)
    assert event["digest"] == hasher.hexdigest()


def test_what_json_cannot_hold_is_tagged_beside_it(place):
    recorder.save_artifact("t.json", {"pair": (1, 2), "password": "hunter2hunter2"}, "application/json")
    (event,) = saved_events(place)
    assert event["value_types"] == {"/pair": "tuple", "/password": "redacted"}


def test_arrays_and_frames_come_back_as_they_were(place):
    array = numpy.arange(12.0).reshape(3, 4)
    frame = pandas.DataFrame({"name": ["a", "b"], "score": [1.5, 2.5]})
    stored_array = stored(place, recorder.save_artifact("weights.npy", array))
    assert numpy.array_equal(numpy.load(stored_array, allow_pickle=False), array)
    stored_frame = stored(place, recorder.save_artifact("table.csv", frame))
    assert pandas.read_csv(stored_frame).equals(frame)
    parquet = stored(place, recorder.save_artifact("t.parquet", frame, "application/vnd.apache.parquet"))
    assert pandas.read_parquet(parquet).equals(frame)
    assert json.loads(stored(place, recorder.save_artifact("objects", numpy.array([{}, None]))).read_text())
    assert [event["media_type"] for event in saved_events(place)] == [
        "application/x-npy",
        "text/csv",
        "application/vnd.apache.parquet",
        "application/json",
    ]


@pytest.mark.first_case
@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "/etc/passwd", "a/../../b", "..", ".", "", "/", "a\0b", "C:\\x\\y", "con.txt",
     ".hidden", "x" * 300, "a/" * 40 + "b", "events.jsonl", "naïve/☃.txt", "\ud800.txt", "..\\..\\x"],
)  # fmt: skip
def test_no_name_leaves_the_run(place, trace_root, name):
    before = {path for path in trace_root.parent.rglob("*") if not path.is_relative_to(trace_root)}
    ref = recorder.save_artifact(name, "content of it")
    path = stored(place, ref)
    assert path.resolve().is_relative_to(place.resolve())
    assert path.read_text() == "content of it"
    assert {path for path in trace_root.parent.rglob("*") if not path.is_relative_to(trace_root)} == before


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_names_share_a_file_only_where_they_are_the_same_path(one, other):
    first, second = safe_path(one), safe_path(other)
    assert not first.startswith("/")
    assert {".", "..", ""}.isdisjoint(first.split("/"))

    def parts(name):
        return [part for part in name.split("/") if part not in {"", "."}] or name

    assert (first.lower() == second.lower()) == (parts(one) == parts(other))


@pytest.mark.parametrize(
    "ref",
    [
        "artifact://artifacts/../events.jsonl",
        "artifact://artifacts//etc/passwd",
        "file:///etc/passwd",
        "x",
        "",
    ],
)
def test_a_reference_that_leads_out_of_the_run_is_refused(tmp_path, ref):
    with pytest.raises(DamagedInput, match="is not an artifact reference"):
        artifact_path(tmp_path, "run", ref)


def test_nothing_is_overwritten(place):
    refs = [recorder.save_artifact("out.txt", f"version {number}") for number in range(3)]
    assert [stored(place, ref).read_text() for ref in refs] == ["version 0", "version 1", "version 2"]
    assert [ref.rpartition("/")[2] for ref in refs] == ["out.txt", "out-2.txt", "out-3.txt"]


def test_equal_contents_are_stored_once_in_all_runs_of_a_session(trace_root):
    text = "the same long prompt\n" * 1000
    inodes = set()
    for _ in range(3):
        with recorder.run("a") as run:
            for name in ("one.txt", "two.txt"):
                ref = recorder.save_artifact(name, text)
                inodes.add(stored(trace_root / "runs" / run.run_id / "artifacts", ref).stat().st_ino)
    assert len(inodes) == 1


def test_a_blob_that_somebody_wrote_into_is_not_shared(place):
    text = "shared\n" * 2000
    first = stored(place, recorder.save_artifact("one.txt", text))
    first.write_text(text.replace("s", "S"))
    second = stored(place, recorder.save_artifact("two.txt", text))
    assert second.read_text() == text


def test_where_there_are_no_hard_links_each_name_has_a_copy(place, monkeypatch):
    def no_links(*_args, **_kwargs):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("Agent.tree.write.artifacts.os.link", no_links)
    text = "copied\n" * 2000
    refs = [recorder.save_artifact("x.txt", text) for _ in range(2)]
    assert [stored(place, ref).read_text() for ref in refs] == [text, text]
    assert not list(only_session(place.parents[2]).glob("blobs/.*.new"))


def test_what_was_changed_afterwards_is_noticed_when_it_is_read(run_id, place, trace_root):
    ref = recorder.save_artifact("facts.txt", "true")
    record = read_run(find_run(run_id, trace_root))
    assert b"".join(record.read(ref)) == b"true"
    stored(place, ref).write_text("fake")
    with pytest.raises(DamagedInput, match="digest differs"):
        b"".join(record.read(ref))
    stored(place, ref).unlink()
    with pytest.raises(DamagedInput, match="cannot be read"):
        list(record.read(ref))


SECRET_CARRIERS = [
    ("s.json", {"api_key": KEY, "text": f"use {KEY} please"}, None),
    ("s.txt", f"my key is {KEY}\n", None),
    ("s.md", f"{PRIVATE_KEY}", None),
    ("raw.json", json.dumps({"deep": {"password": "correct-horse-battery"}, "k": KEY}), "application/json"),
    ("bytes.txt", f"key={KEY}".encode(), None),
    ("file.json", io.BytesIO(json.dumps({"deep": {"password": "correct-horse-battery"}}).encode()), None),
    ("file.txt", io.StringIO("line\n" * 300_000 + PRIVATE_KEY + f"then {KEY}\n" + "line\n" * 300_000), None),
    ("frame.csv", pandas.DataFrame({"user": ["u"], "password": ["correct-horse-battery"]}), None),
    (f"named-{KEY}.txt", "x", None),
]


@pytest.mark.first_case
@pytest.mark.parametrize(("name", "data", "media_type"), SECRET_CARRIERS, ids=lambda value: str(value)[:12])
def test_no_secret_of_a_text_or_a_document_reaches_the_disk(trace_root, name, data, media_type):
    if hasattr(data, "seek"):
        data.seek(0)
    with recorder.run("a"):
        recorder.save_artifact(name, data, media_type)
        recorder.start_step(name)
        recorder.finish_step(name, output=name)
    shutdown_logging()
    assert any(path.is_file() for path in trace_root.rglob("artifacts/*"))
    for path in trace_root.rglob("*"):
        assert KEY not in str(path)
        if path.is_file():
            content = path.read_bytes()
            for secret in (KEY, "correct-horse-battery", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"):
                assert secret.encode() not in content, path


@pytest.mark.further
def test_a_long_text_without_secrets_is_stored_as_it_is(place):
    text = "".join(f"line {number} é ☃\n" for number in range(200_000)) + "x" * 6_000_000
    ref = recorder.save_artifact("long.txt", io.BytesIO(text.encode()))
    assert stored(place, ref).read_bytes() == text.encode()


def test_text_that_is_no_utf8_is_stored_as_it_is(place):
    raw = b"latin \xe9 text\n" * 10
    assert stored(place, recorder.save_artifact("l.txt", raw)).read_bytes() == raw
    assert stored(place, recorder.save_artifact("m.txt", io.BytesIO(raw))).read_bytes() == raw


class Exits:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name):
        raise SystemExit(name)


class Endless:
    """A file of no bytes, as proxies are that answer every call with themselves."""

    def read(self, _size):
        return self


@pytest.mark.parametrize("make", [MagicMock, Mock, Exits, Endless], ids=lambda each: each.__name__)
def test_no_object_closes_a_descriptor_of_the_program_or_ends_it(place, make):
    recorder.save_artifact("odd", make())
    os.fstat(1)  # what `int` makes of a mock


def test_a_pipe_or_device_is_not_waited_for_and_the_key_in_its_name_not_told(place, tmp_path, capfd):
    pipe = tmp_path / KEY
    os.mkfifo(pipe)
    for odd in (pipe, Path("/dev/zero"), tmp_path / f"{KEY}\x1b[2J"):
        recorder.save_artifact("odd", odd)
    assert health()["dropped"] == {"an artifact could not be stored": 3}
    err = capfd.readouterr().err
    assert "[redacted:" in err and KEY not in err and "\x1b" not in err


def test_a_path_is_read_and_one_that_is_not_there_is_counted(place, tmp_path):
    source = tmp_path / "data.bin"
    source.write_bytes(os.urandom(100_000))
    ref = recorder.save_artifact("copy.bin", source)
    assert stored(place, ref).read_bytes() == source.read_bytes()
    missing = recorder.save_artifact("gone.bin", tmp_path / "nowhere")
    assert not stored(place, missing).exists()
    assert health()["dropped"] == {"an artifact could not be stored": 1}
    assert len(saved_events(place)) == 1


LARGE = """
import resource, sys
from pathlib import Path
from Agent.flight import recorder

size_bytes = int(sys.argv[2])
with open(sys.argv[1], "wb") as file:
    file.truncate(size_bytes)
with recorder.run("a"):
    recorder.save_artifact("small.bin", b"first")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ref = recorder.save_artifact("large.bin", Path(sys.argv[1]))
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(ref, after_kib - before_kib)
"""


@pytest.mark.integration
@pytest.mark.parametrize("size_mib", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_a_file_is_stored_in_flat_memory(tmp_path, trace_root, size_mib):
    done = run_python("-c", LARGE, str(tmp_path / "source"), str(size_mib << 20), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ref, grown_kib = done.stdout.split()
    (path,) = trace_root.glob("runs/*/artifacts/large.bin")
    assert path.stat().st_size == size_mib << 20
    assert ref.endswith("large.bin")
    assert int(grown_kib) < 24 * 1024


KILLED = """
import os, sys, threading, time
from Agent.flight import recorder

recorder.start_run("a")

def die():
    time.sleep(float(sys.argv[1]))
    os.kill(os.getpid(), 9)

threading.Thread(target=die).start()
number = 0
while True:
    recorder.save_artifact(f"n/{number}.txt", str(number) * 20_000)
    number += 1
"""


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("after_s", [0.05, 0.12])
def test_every_artifact_that_the_record_tells_of_is_whole_after_a_kill(tmp_path, trace_root, after_s):
    done = run_python("-c", KILLED, str(after_s), cwd=tmp_path)
    assert done.returncode == -9
    (link,) = trace_root.glob("runs/*")
    record = read_run(find_run(link.name, trace_root))
    assert record.summary.state == "crashed"
    for artifact in record.artifacts:
        assert sum(map(len, record.read(artifact.ref))) == artifact.size_bytes


def test_many_threads_claim_names_of_their_own(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    session = create_session(tmp_path / "root", SessionInfo("20260101_000000", "uid"))
    files = ArtifactFiles(session)
    contents = [RedactedBytes(str(number % 7).encode() * 5000) for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda content: files.save("r", "same.txt", content), contents))
    assert len({each.ref for each in found}) == 60
    for content, each in zip(contents, found, strict=True):
        path = artifact_path(session, "r", each.ref)
        assert b"".join(read_artifact(path, each.digest)) == content
    assert len({path.stat().st_ino for path in artifacts_dir(session, "r").iterdir()}) == 7


def test_artifacts_are_on_the_disk_itself_where_durability_says_so(trace_root, monkeypatch):
    synced = []
    monkeypatch.setattr("Agent.tree.write.artifacts.os.fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    setup_logging(durability="disk")
    with recorder.run("a"):
        recorder.save_artifact("x.txt", "12345")
    assert 5 in synced


def test_a_directory_that_was_removed_meanwhile_is_made_again(place):
    recorder.save_artifact("kept/one.txt", "1")
    shutil.rmtree(place)
    ref = recorder.save_artifact("kept/two.txt", "2")
    assert stored(place, ref).read_text() == "2"
    assert not health()["dropped"]


def test_a_path_that_is_not_safe_is_refused_by_the_store_itself(tmp_path):
    session = create_session(tmp_path / "root", SessionInfo("20260101_000000", "uid"))
    for path in ("../x", "/etc/passwd", "a//b", "a/../b", "", "a\0b"):
        with pytest.raises(DamagedInput, match="leads out of the run"):
            ArtifactFiles(session).save("r", path, RedactedBytes(b"x"))


def test_two_recordings_of_one_secret_have_one_digest_without_secrets(trace_root):
    told = []
    for number in range(2):
        setup_logging(trace_root=trace_root / str(number))
        recorder.start_run("artist")
        recorder.save_artifact("call.json", {"password": f"hunter2-hunter-{number}", "n": 1})
        recorder.finish_run()
        shutdown_logging()
        (events,) = (trace_root / str(number) / "runs").glob("*/events.jsonl")
        lines = map(json.loads, events.read_text().splitlines())
        told.append(next(event for event in lines if event["type"] == "artifact.saved"))
    assert told[0]["digest"] != told[1]["digest"]
    assert told[0]["digest_without_secrets"] == told[1]["digest_without_secrets"]


def test_an_artifact_whose_tags_leave_a_secret_out_says_so(trace_root):
    told = []
    for number, secret in enumerate(("password=first-Q7zt9Lm2", "password=second-Q7zt9Lm2", "no secret")):
        setup_logging(trace_root=trace_root / str(number))
        recorder.start_run("artist")
        recorder.save_artifact("call.json", {"counts": defaultdict(lambda secret=secret: len(secret), a=1)})
        recorder.finish_run()
        shutdown_logging()
        (events,) = (trace_root / str(number) / "runs").glob("*/events.jsonl")
        lines = map(json.loads, events.read_text().splitlines())
        told.append(next(event for event in lines if event["type"] == "artifact.saved"))
    assert told[0]["digest_without_secrets"] == told[1]["digest_without_secrets"]
    assert "digest_without_secrets" not in told[2]


def test_an_artifact_is_compared_without_what_describes_values_that_have_no_codec():
    def document(name, **form):
        value = {
            "held": {"repr": f"<{name} object>", "class": name, **form},
            "secret": "[redacted:%016x]" % len(name),
        }
        return compared(json.dumps(value).encode(), {"/held": "opaque", "/secret": "redacted"})

    assert document("__main__.Box", digest="c1:1") == document("script.Box", digest="c1:1")
    assert document("__main__.Box", digest="c1:1") != document("script.Box", digest="c1:2")
    assert document("Box", digest="c1:1", same_as="/0") != document("Box", digest="c1:1")
    assert document("Box", unseen="it runs").unseen == ("it runs",)
    assert compared(b'{"a": 1}', {}) == (None, ())


def test_an_artifact_with_a_part_that_cannot_be_seen_says_so(place):
    pointer = ctypes.pointer(ctypes.c_int(1))
    recorder.save_artifact("pointer.json", {"held": pointer})
    assert "pointer" in saved_events(place)[-1]["unseen"][0]
