"""Secrets sent through the recorder's ways in leave no byte form behind; what only looks like one survives."""

import base64
import io
import json
import re
from urllib.parse import quote

import numpy
import pytest
import zstandard
from support.session_files import only_session

from Agent import setup_logging, shutdown_logging
from Agent.flight import LocalCheckpointStore, Recorder, find_run, read_run, record_model_stream, record_tool
from Agent.testing import canary

LOOK_ALIKES = {
    "uuid": "01a1f91c-9bf2-74e5-ad5f-a403765ca0f6",
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "md5": "d41d8cd98f00b204e9800998ecf8427e",
    "git": "commit fde2e41a9c0d4f3f36a5dc0184282b54d0c88403",
    "date": "2026-11-20T10:30:45.123456Z",
    "path": "/usr/lib/python3/dist-packages/tokenize/keys/pass_through.py",
    "url": "https://example.com/authors/key-results?page=2&next_token_count=10",
    "version": "v1.23.4-rc.5+build.20261120",
    "base64": "aGVsbG8gd29ybGQsIHRoaXMgaXMgbm8gc2VjcmV0",
    "number": "4111-2222 items, 42% of 1e-9",
    "id": "agent_creator_001-step-0042-of-1000",
    "prose": "the secret of a good key is to pass the token on, says the author",
    "colour": "#ff00aa",
    "ip": "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "html": '<input type="password" name="pwd" required>',
}


@record_tool
def echo(value):
    return value


def contents(root):
    found = b""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found += data + b"\n"
            if data.startswith(b"\x28\xb5\x2f\xfd"):
                found += (
                    zstandard.ZstdDecompressor()
                    .stream_reader(io.BytesIO(data), read_across_frames=True)
                    .read()
                )
    return found + "\n".join(map(str, root.rglob("*"))).encode()


def forms(secret):
    raw = secret.encode()
    yield from (raw, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode())
    for skip in range(3):
        whole = raw[skip : skip + (len(raw) - skip) // 3 * 3]
        if len(whole) >= 9:
            yield base64.b64encode(whole)


@pytest.mark.integration
def test_no_form_of_any_secret_is_on_the_disk(trace_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    names = list(canary.ENTRANCES)
    own = {name: canary.ENTRANCES[name] for name in names[names.index("labels of a run") :]}
    assert len(own) == 12
    setup_logging(trace_root=trace_root)
    planted = [(enter, plant) for name, enter in own.items() for plant in canary.plants("s", name)]
    assert len(planted) >= 200 and len({plant.shape for _, plant in planted}) >= 20
    for enter, plant in planted:
        enter(plant)
    shutdown_logging()
    data = contents(trace_root)
    assert [plant.shape for _, plant in planted if plant.marker.encode() not in data] == []
    leaked = {
        (plant.entrance, plant.shape) for _, plant in planted for form in forms(plant.secret) if form in data
    }
    assert leaked == set()


def test_look_alikes_come_back_as_they_were(trace_root):
    setup_logging(trace_root=trace_root)
    recorder = Recorder(agent="clerk", labels=LOOK_ALIKES)
    with recorder.run() as run:
        with recorder.step("one") as step:
            step.output = LOOK_ALIKES
        for name, text in LOOK_ALIKES.items():
            recorder.save_artifact(f"texts/{name}.txt", text)
            recorder.record_model_call("one", call_id=name, model_name="m", prompt=text, output=[text])
            echo(text)
        with LocalCheckpointStore(only_session(trace_root)) as store:
            store.save_checkpoint(run.run_id, "s", {"held": LOOK_ALIKES, "list": list(LOOK_ALIKES.values())})
    shutdown_logging()
    record = read_run(find_run(run.run_id, trace_root))
    assert record.summary.labels == LOOK_ALIKES
    assert json.loads(b"".join(record.read("artifact://artifacts/steps/one.json"))) == LOOK_ALIKES
    for name, text in LOOK_ALIKES.items():
        assert b"".join(record.read(f"artifact://artifacts/texts/{name}.txt")) == text.encode(), name
        assert b"".join(record.read(f"artifact://artifacts/calls/{name}/prompt.txt")) == text.encode()
    told = [event.extra["args"]["value"] for event in record.events() if event.kind == "tool.call"]
    assert told == list(LOOK_ALIKES.values())
    with LocalCheckpointStore(only_session(trace_root)) as store:
        assert store.load_checkpoint(run.run_id, "s").state["held"] == LOOK_ALIKES
    assert b"[redacted:" not in contents(trace_root)


@pytest.mark.parametrize(
    "text", ["sent Basic YXBwOmh1bnRlcjI=.txt", "Basic YXBwOmh1bnRlcjI. Then", "Basic YXBwOmh1bnRlcjI"]
)
def test_a_basic_credential_is_known_whatever_stands_behind_it(text):
    from Agent.record.encode.redaction import Redactor

    assert "YXBwOmh1bnRlcjI" not in Redactor(b"k" * 32).text(text)


def test_a_checkpoint_of_a_step_that_names_a_secret_is_found_by_it_again(trace_root):
    secret = "sk-proj-" + "a1B2c3D4e5" * 4
    setup_logging(trace_root=trace_root)
    from Agent.flight import checkpoint_store

    checkpoint_store.save_checkpoint("r", f"step {secret}", {"n": 1})
    assert checkpoint_store.load_checkpoint("r", f"step {secret}").state == {"n": 1}
    (info,) = checkpoint_store.list_checkpoints("r")
    assert re.fullmatch(r"step \[redacted:[0-9a-f]{16}\]", info.step_id)
    checkpoint_store.delete_checkpoints("r", [f"step {secret}"])
    assert checkpoint_store.list_checkpoints("r") == []
    shutdown_logging()


SPLIT = "ghp_" + "k7Qm2Zx9Lp4Rt6Vw8Yb3Nc5Hd1Jf0Gs2Ta4U"


@pytest.mark.parametrize(
    "wrap", [str, lambda piece: {"delta": {"content": [piece]}}], ids=["texts", "deltas"]
)
@pytest.mark.parametrize("size", [1, 6, 11])
def test_a_secret_that_arrives_in_pieces_leaves_none_of_them(trace_root, wrap, size):
    pieces = ["the token is ", *(SPLIT[at : at + size] for at in range(0, len(SPLIT), size)), ", he said"]

    @record_tool
    def speak():
        yield from map(wrap, pieces)

    setup_logging(trace_root=trace_root)
    with Recorder().run("a"):
        told = list(speak())
        streamed = list(record_model_stream(lambda: map(wrap, pieces), model_name="m", prompt="p"))
    shutdown_logging()
    assert told == streamed == [*map(wrap, pieces)]
    texts = []
    for path in trace_root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            texts.append(re.sub(r"[^A-Za-z0-9_]", "", path.read_text("utf-8", "replace")))
    assert texts
    assert not any(SPLIT in re.sub("delta|content", "", text) for text in texts)
    found = contents(trace_root)
    assert b"the token is " in found and b", he said" in found and b"[redacted:" in found


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_secret_in_a_text_of_wide_characters_is_replaced(trace_root, encoding, as_file):
    setup_logging(trace_root=trace_root)
    raw = f"key: {SPLIT} and more".encode(encoding)
    with Recorder().run("a") as run_id:
        Recorder().save_artifact("a.txt", io.BytesIO(raw) if as_file else raw, "text/plain")
    shutdown_logging()
    assert SPLIT.encode(encoding)[4:] not in contents(trace_root)
    assert "and more".encode(encoding)[4:] in contents(trace_root), run_id


@pytest.mark.parametrize("kind", ["U", "S"])
def test_a_secret_in_an_array_of_texts_is_replaced(trace_root, kind):
    setup_logging(trace_root=trace_root)
    array = numpy.array([["plain", SPLIT]], dtype=f"{kind}60")
    with Recorder().run("a"):
        Recorder().save_artifact("a.npy", array)
        Recorder().save_artifact("b.npy", numpy.array(["plain"], dtype=f"{kind}60"))
    shutdown_logging()
    wide = "utf-32-le" if kind == "U" else "ascii"
    assert SPLIT.encode(wide) not in contents(trace_root)
    shapes = {numpy.load(path).shape for path in trace_root.rglob("artifacts/*.npy")}
    assert shapes == {(1, 2), (1,)}
