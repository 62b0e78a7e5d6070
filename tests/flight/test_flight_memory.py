"""Artifacts and checkpoints ask for memory before orjson needs it, and where it is refused that is counted."""

import json

import pytest

from Agent import health, setup_logging, shutdown_logging
from Agent.event.values import plain
from Agent.flight import artifact_saving, checkpoint_store, recorder
from Agent.flight.checkpoints import delta, files
from Agent.record.encode.artifact_bytes import JSON

MOST_BYTES = 2_000_000
LARGE = {f"key {n}": ["text", n, {"x": n * 0.5}] for n in range(5_000)}


@pytest.fixture
def little_memory(monkeypatch):
    """Whoever asks for more than 2 MB is refused; what does not ask gets it."""

    def refusing(size):
        if size > MOST_BYTES:
            raise MemoryError
        return bytes(size)

    monkeypatch.setattr(plain, "bytes", refusing, raising=False)


def test_deltas_and_chunks_of_a_checkpoint_ask_first(little_memory):
    changed = {**LARGE, "key 7": None}
    for act in (lambda: delta.diff(LARGE, changed), lambda: files.split(LARGE)):
        with pytest.raises(MemoryError):
            act()
    assert delta.diff({"a": 1}, {"a": 2}) is not None
    assert b"".join(files.split({"a": 1})) == b'{"a":1}'


@pytest.mark.integration
def test_an_artifact_and_a_checkpoint_without_memory_are_counted_and_later_ones_are_kept(
    trace_root, monkeypatch
):
    setup_logging(trace_root=trace_root)
    run = recorder.start_run("r")
    document = json.dumps(LARGE)
    assert checkpoint_store.save_checkpoint(run, "first", LARGE) is not None
    with monkeypatch.context() as patched:

        def refusing(size):
            if size > MOST_BYTES:
                raise MemoryError
            return bytes(size)

        patched.setattr(plain, "bytes", refusing, raising=False)
        recorder.save_artifact("a.json", document, JSON)
        assert checkpoint_store.save_checkpoint(run, "second", {**LARGE, "more": 1}) is None
    dropped = health()["dropped"]
    assert dropped["an artifact could not be stored"] == 1
    assert dropped["a checkpoint could not be written"] == 1
    recorder.save_artifact("b.json", document, JSON)
    assert checkpoint_store.save_checkpoint(run, "third", LARGE) is not None
    assert health()["dropped"] == dropped


@pytest.mark.integration
def test_a_step_is_recorded_without_an_output_for_which_there_is_no_memory(trace_root, monkeypatch):
    setup_logging(trace_root=trace_root)

    def refuse(_capture, _value):
        raise MemoryError

    with recorder.run("r"):
        with monkeypatch.context() as patched:
            patched.setattr(artifact_saving, "encode_json", refuse)
            with recorder.step("one") as step:
                step.output = LARGE
        with recorder.step("two") as step:
            step.output = {"n": 1}
    assert health()["dropped"] == {"an artifact could not be stored": 1}
    shutdown_logging()
    (path,) = trace_root.glob("session_*/runs/*/events.jsonl")
    kinds = [(each["type"], each.get("step_id")) for each in map(json.loads, path.read_text().splitlines())]
    assert ("step.finished", "one") in kinds and ("step.finished", "two") in kinds
