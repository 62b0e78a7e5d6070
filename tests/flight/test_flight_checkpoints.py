"""Checkpoints come back as they were saved, stay small, and survive deletion, damage and death."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.errors import DamagedInput, EventNotFound, RunNotFound, SessionInUse, UsageError
from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.event.values.values import Unrestored, decode_value
from Agent.flight.checkpoints.delta import apply, diff
from Agent.flight.checkpoints.files import CheckpointIndex, checkpoints_dir, shared_chunks_dir, split
from Agent.flight.checkpoints.model import (
    Checkpoint,
    CheckpointPolicy,
    CheckpointStore,
    RetentionPolicy,
    StepEvent,
)
from Agent.flight.checkpoints.recording import checkpoint_store
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.record.encode.redaction import Redactor

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e300]),
    st.text(max_size=3),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=2), inner, max_size=5)
    ),
    max_leaves=25,
)


def text_of(value: Any) -> bytes:
    return orjson.dumps(value)


def edited(value: Any, chance: random.Random) -> Any:
    """The value with one random edit somewhere in it: a leaf, an insertion, a removal, another order."""
    if isinstance(value, dict) and value and chance.random() < 0.95:
        value = dict(value)
        key = chance.choice(list(value))
        match chance.randrange(6):
            case 0 | 1:
                value[key] = edited(value[key], chance)
            case 2:
                del value[key]
            case 3:
                value[key] = value.pop(key)
            case 4:
                pairs = list(value.items())
                chance.shuffle(pairs)
                value = dict(pairs)
            case _:
                value[f"new{chance.randrange(9)}"] = chance.choice([1, True, 1.0, [], {}])
        return value
    if isinstance(value, list) and value and chance.random() < 0.95:
        value = list(value)
        place = chance.randrange(len(value))
        match chance.randrange(5):
            case 0 | 1:
                value[place] = edited(value[place], chance)
            case 2:
                del value[place]
            case 3:
                value.insert(place, chance.choice([0, -0.0, "x", None, {"k": [1]}]))
            case _:
                value.append(value.pop(place))
        return value
    return chance.choice([0, False, 0.0, -0.0, None, "", "leaf", [1], {"a": 1}, {}])


@given(values, values)
def test_a_delta_between_any_two_values_gives_the_second_to_the_byte(one: Any, other: Any) -> None:
    before = text_of(one)
    delta = diff(one, other)
    assert text_of(one) == before
    assert (delta is None) == (before == text_of(other))
    if delta is not None:
        assert text_of(apply(orjson.loads(before), orjson.loads(text_of(delta)))) == text_of(other)


@given(values, st.integers(0, 2**32), st.integers(1, 8))
def test_a_delta_of_random_edits_gives_the_edited_value_to_the_byte(
    value: Any, seed: int, edits: int
) -> None:
    chance = random.Random(seed)
    other = value
    for _ in range(edits):
        other = edited(other, chance)
    delta = diff(value, other)
    if delta is None:
        assert text_of(value) == text_of(other)
    else:
        assert text_of(apply(orjson.loads(text_of(value)), delta)) == text_of(other)


@pytest.mark.parametrize("distinct", [2, 10, 10**9])
def test_an_insertion_and_a_removal_leave_the_tail_of_a_list_out_of_the_delta(distinct: int) -> None:
    chance = random.Random(5)
    old = [chance.randrange(distinct) for _ in range(3000)]
    new = list(old)
    new.insert(100, -1)
    new.insert(1500, -2)
    del new[2500]
    assert len(text_of(diff(old, new))) < 120


def test_a_key_that_moves_to_the_end_costs_its_value_and_not_the_order_of_all_keys() -> None:
    old = {f"key{n}": n for n in range(1000)}
    new = dict(old)
    new["key3"] = new.pop("key3")
    delta = diff(old, new)
    assert len(text_of(delta)) < 60
    assert list(apply(dict(old), delta)) == list(new)


def test_a_record_in_a_list_that_changed_and_one_that_came_before_it_cost_two_records() -> None:
    old = [{"id": n, "text": f"a longer text, number {n}", "n": 0} for n in range(500)]
    new = [dict(record) for record in old]
    new[250]["n"] = 1
    new.insert(250, {"id": 999})
    assert len(text_of(diff(old, new))) < 80


@given(values)
def test_the_chunks_of_a_value_are_its_text(value: Any) -> None:
    assert b"".join(split(value)) == text_of(value)


def test_an_insertion_changes_few_chunks() -> None:
    chance = random.Random(1)
    rows = [{"id": n, "x": chance.random()} for n in range(20_000)]
    old = set(split({"rows": rows}))
    rows.insert(7000, {"id": -1, "x": 0.5})
    new = split({"rows": rows})
    assert len(new) > 10
    assert sum(chunk not in old for chunk in new) <= 2


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "trace" / "session_20261120_103045"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def store(session: Path) -> Any:
    with LocalCheckpointStore(session) as made:
        yield made


def big_state(seed: int = 0, items: int = 300) -> dict[str, Any]:
    chance = random.Random(seed)
    return {
        "items": [{"id": n, "score": chance.random(), "name": f"item {n}"} for n in range(items)],
        "q": {f"s{n}": chance.random() for n in range(50)},
    }


def steps(store: LocalCheckpointStore, run_id: str, count: int, **details: Any) -> list[bytes]:
    """Save so many steps of a state that changes a little; the text of each state."""
    chance = random.Random(count)
    state = big_state(1)
    texts = []
    for number in range(count):
        state["items"][chance.randrange(len(state["items"]))]["score"] = chance.random()
        state["items"].insert(chance.randrange(10), {"id": 1000 + number})
        state["q"]["s3"] = state["q"].pop("s3") + 1
        store.save_checkpoint(run_id, f"step_{number}", state, **details)
        texts.append(text_of(state))
    return texts


def loaded(store: LocalCheckpointStore, run_id: str, step_id: str, agent_id: str | None = None) -> bytes:
    return text_of(store.load_checkpoint(run_id, step_id, agent_id).state)


@pytest.mark.further
def test_every_step_loads_as_it_was_saved_in_this_process_and_after_it(
    store: LocalCheckpointStore, session: Path
) -> None:
    texts = steps(store, "run", 150)
    assert [loaded(store, "run", f"step_{n}") for n in range(150)] == texts
    store.close()
    with LocalCheckpointStore(session) as other:
        assert [loaded(other, "run", f"step_{n}") for n in range(150)] == texts
    kinds = [info.kind for info in store.list_checkpoints("run")]
    assert 2 <= kinds.count("snapshot") <= 4


@pytest.mark.further
@given(values, st.integers(0, 2**32), st.lists(st.integers(0, 29), max_size=12))
def test_any_sequence_of_edits_loads_exactly_also_after_some_steps_were_deleted(
    tmp_path_factory: pytest.TempPathFactory, value: Any, seed: int, deleted: list[int]
) -> None:
    chance = random.Random(seed)
    with LocalCheckpointStore(tmp_path_factory.mktemp("session")) as store:
        texts = {}
        for number in range(30):
            value = edited(value, chance)
            store.save_checkpoint("r", str(number), value)
            texts[str(number)] = text_of(value)
        store.delete_checkpoints("r", [str(number) for number in deleted])
        for number in deleted:
            texts.pop(str(number), None)
        assert {
            info.step_id: loaded(store, "r", info.step_id) for info in store.list_checkpoints("r")
        } == texts
        assert store.check("r") == []


def test_values_that_json_cannot_hold_come_back_as_they_were(store: LocalCheckpointStore) -> None:
    state = {
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "pair": (1, [2, {3}]),
        "q": {(0, "left"): 0.5, (1, "right"): float("inf")},
        "money": Decimal("1.10"),
        "last": deque([1, 2], maxlen=5),
        "order": OrderedDict([("$type", "x"), ("b", (1,))]),
        "$type": "a key of the user's",
        "nested": {"$type": "plain", "$value": {"$type": 1}, "at": [(1, 2)]},
        "bytes": b"\x00\xff",
        "big": 2**80,
    }
    store.save_checkpoint("r", "1", state)
    state["list"] = [(0,), *[{"when": datetime(2026, 1, n, tzinfo=UTC)} for n in range(1, 20)]]
    store.save_checkpoint("r", "2", state)
    state["list"].insert(0, datetime(2027, 1, 1, tzinfo=UTC))
    info = store.save_checkpoint("r", "3", state)
    assert info.kind == "delta" and info.size_bytes < 500
    found = store.load_checkpoint("r", "3")
    assert found.state == state and list(found.state) == list(state)
    assert type(found.state["order"]) is OrderedDict and type(found.state["pair"]) is tuple
    assert found.unrestored == ()


def test_a_value_that_cannot_be_restored_is_named_and_the_rest_comes_back(
    store: LocalCheckpointStore,
) -> None:
    held = threading.Lock()
    held.acquire()
    info = store.save_checkpoint("r", "1", {"lock": held, "n": 1})
    found = store.load_checkpoint("r", "1")
    assert info.opaque == 1
    assert found.unrestored == ("/state/lock",)
    assert isinstance(found.state["lock"], Unrestored) and found.state["n"] == 1


def test_secrets_in_states_messages_and_version_are_not_on_the_disk(session: Path) -> None:
    secret = "sk-ant-api03-" + "Ab1" * 20
    with LocalCheckpointStore(session, redactor=Redactor(b"key")) as store:
        store.save_checkpoint("r", "1", {"api_key": secret, "filler": big_state()})
        store.save_checkpoint(
            "r", "2", {"api_key": secret, "text": f"Bearer {secret}"}, messages=[secret], agent_version=secret,
            phase=secret,
        )  # fmt: skip
        assert "redacted" in str(store.load_checkpoint("r", "2").state["api_key"])
        assert store.load_checkpoint("r", "2").unrestored == ("/state/api_key", "/state/text", "/messages/0")
    assert all(secret.encode() not in path.read_bytes() for path in session.rglob("*") if path.is_file())


def test_documented_calls_take_a_checkpoint_a_mapping_or_three_arguments(store: LocalCheckpointStore) -> None:
    moment = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
    given_ = Checkpoint("run", "step_5", {"max_retries": 1}, messages=[{"role": "user"}], tool_calls=[{"n": 1}],
                        timestamp=moment, agent_version="1.2", code="5f0c", tick=3, phase="act", reason="step")  # fmt: skip
    store.save_checkpoint(given_)
    assert store.load_checkpoint("run", "step_5") == given_
    store.save_checkpoint({"run_id": "run", "step_id": "step_6", "state": 6})
    store.save_checkpoint("run", "step_7", {"n": 7}, agent_version="1.3")
    event = StepEvent(
        "step_8", {"n": 7}, "search", "search_docs", {"query": "x"}, {"docs": []}, {"n": 8}, moment
    )
    store.save_checkpoint(event.checkpoint("run"))
    assert [store.load_checkpoint("run", f"step_{n}").state for n in (6, 7, 8)] == [6, {"n": 7}, {"n": 8}]
    assert store.load_checkpoint("run", "step_7").agent_version == "1.3"
    assert isinstance(store, CheckpointStore) and isinstance(checkpoint_store, CheckpointStore)
    with pytest.raises(TypeError, match="step_id"):
        store.save_checkpoint({"run_id": "run", "state": 1})
    with pytest.raises(TypeError, match="nonsense"):
        store.save_checkpoint("run", "step_9", {}, nonsense=1)


def test_what_is_not_there_is_told_with_what_is(store: LocalCheckpointStore) -> None:
    with pytest.raises(RunNotFound, match="no checkpoints of a run 'none'"):
        store.load_checkpoint("none", "1")
    store.save_checkpoint("r", "step_1", 1)
    with pytest.raises(EventNotFound, match="step_1"):
        store.load_checkpoint("r", "step_2")
    for agent in ("a", "b"):
        store.save_checkpoint("r", "both", agent, agent_id=agent)
    with pytest.raises(EventNotFound, match="a, b"):
        store.load_checkpoint("r", "both")
    assert store.load_checkpoint("r", "both", "b").state == "b"


def test_agents_and_the_whole_simulation_have_chains_of_their_own(store: LocalCheckpointStore) -> None:
    for number in range(20):
        for agent in ("a", "b", None):
            store.save_checkpoint(
                "r", str(number), {"who": agent, "n": number, "pad": "x" * 200}, agent_id=agent
            )
    assert store.load_checkpoint("r", "7", "a").state["who"] == "a"
    assert store.load_checkpoint("r", "7").state["who"] is None
    assert len(store.list_checkpoints("r", "b")) == 20 and len(store.list_checkpoints("r")) == 60
    assert sum(info.kind == "snapshot" for info in store.list_checkpoints("r")) == 3


def test_a_step_that_is_saved_again_replaces_the_first_and_its_followers_stay(
    store: LocalCheckpointStore,
) -> None:
    texts = steps(store, "r", 10)
    store.save_checkpoint("r", "step_4", {"again": True})
    assert store.load_checkpoint("r", "step_4").state == {"again": True}
    store.prune(RetentionPolicy())
    assert [loaded(store, "r", f"step_{n}") for n in (3, 5, 9)] == [texts[3], texts[5], texts[9]]
    assert len(store.list_checkpoints("r")) == 10 and store.check("r") == []


def test_files_are_private_and_names_cannot_leave_the_session(session: Path) -> None:
    before = os.umask(0)
    try:
        with LocalCheckpointStore(session) as store:
            for run_id in ("../../escape", "a/b", "", "CON", "x" * 300):
                store.save_checkpoint(run_id, "../step", big_state())
                assert loaded(store, run_id, "../step") == text_of(big_state())
            assert len(store.runs()) == 5 and "../../escape" in store.runs()
            for path in session.rglob("*"):
                expected = 0o700 if path.is_dir() else 0o600
                assert stat.S_IMODE(path.stat().st_mode) == expected, path
    finally:
        os.umask(before)
    assert [path.name for path in session.parent.iterdir()] == [session.name]


def test_runs_agents_and_steps_share_chunks(store: LocalCheckpointStore, session: Path) -> None:
    state = big_state(items=4000)
    first = store.save_checkpoint("one", "1", state, agent_id="a")
    assert store.save_checkpoint("one", "1", state, agent_id="b").size_bytes < 600
    assert store.save_checkpoint("one", "2", state, agent_id="a", full=True).size_bytes < 600
    assert store.save_checkpoint("two", "1", state).size_bytes < 600
    assert first.size_bytes > 10_000
    chunks = [path.stat().st_ino for path in session.rglob("*.json.zst")]
    assert len(chunks) == 3 * len(set(chunks))
    store.delete_checkpoints("one")
    assert loaded(store, "two", "1") == text_of(state)
    store.delete_checkpoints("two")
    assert list(shared_chunks_dir(session).iterdir()) == []


@pytest.mark.parametrize("first", [True, False])
def test_a_removal_that_dies_beside_a_shared_chunk_leaves_none_behind_when_it_is_finished(
    store: LocalCheckpointStore, session: Path, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_checkpoint("r", "1", {"text": ["a word that goes"] * 2000})
    unlink = Path.unlink
    fails = iter([first, not first])

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".json.zst") and next(fails, False):
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with pytest.raises(OSError, match="Input"):
            store.delete_checkpoints("r")
    store.prune()
    assert store.runs() == []
    assert list(session.rglob("*.json.zst")) == []


@pytest.mark.process
def test_deleting_a_step_rebases_what_stood_on_it_and_its_bytes_are_gone(
    store: LocalCheckpointStore, session: Path
) -> None:
    states = [{"n": n, "pad": list(range(100)), "only": f"needle-{n * 7919}"} for n in range(12)]
    for number, state in enumerate(states):
        store.save_checkpoint("r", f"step_{number}", state)
    outcome = store.delete_checkpoints("r", ["step_0", "step_5", "step_6", "step_11"])
    assert (outcome.checkpoints, outcome.waiting) == (4, 0)
    kept = [n for n in range(12) if n not in (0, 5, 6, 11)]
    assert [info.step_id for info in store.list_checkpoints("r")] == [f"step_{n}" for n in kept]
    assert [store.load_checkpoint("r", f"step_{n}").state for n in kept] == [states[n] for n in kept]
    assert store.check("r") == []
    on_disk = subprocess.run(
        ["sh", "-c", "cat *.jsonl.zst"], cwd=checkpoints_dir(session, "r"), capture_output=True, check=True
    ).stdout
    from zstandard import ZstdDecompressor

    shown = ZstdDecompressor().stream_reader(on_disk, read_across_frames=True).read()
    assert b"needle-7919" in shown and b"needle-39595" not in shown
    assert (
        b'"step_5"' not in shown
        and b"step_5" not in (checkpoints_dir(session, "r") / "index.sqlite").read_bytes()
    )
    store.save_checkpoint("r", "later", {"n": 99})
    assert store.load_checkpoint("r", "later").state == {"n": 99}


def test_a_chain_that_another_process_writes_is_left_until_it_ends(session: Path) -> None:
    with LocalCheckpointStore(session) as writer, LocalCheckpointStore(session) as other:
        texts = steps(writer, "r", 6)
        outcome = other.delete_checkpoints("r", ["step_2"])
        assert (outcome.checkpoints, outcome.waiting) == (1, 1)
        with pytest.raises(EventNotFound):
            writer.load_checkpoint("r", "step_2")
        writer.save_checkpoint("r", "next", {"n": 1})
        with pytest.raises(SessionInUse):
            other.rebuild_index("r")
        writer.close()
        assert other.prune(RetentionPolicy()).waiting == 0
        assert [loaded(other, "r", f"step_{n}") for n in (1, 3, 5)] == [texts[1], texts[3], texts[5]]
        assert other.check("r") == []


@pytest.mark.integration
def test_many_runs_at_one_time_go_on_with_their_chains_and_hold_few_files(
    store: LocalCheckpointStore,
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(8):
        for run in range(25):
            store.save_checkpoint(f"run {run}", str(number), {**big_state(run), "n": number})
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 25 + 6 * 4 + 20
    for run in range(25):
        infos = store.list_checkpoints(f"run {run}")
        assert [info.kind for info in infos] == ["snapshot", *["delta"] * 7]
        assert store.load_checkpoint(f"run {run}", "5").state == {**big_state(run), "n": 5}


def test_a_run_whose_removal_died_half_way_is_gone_and_can_be_begun_anew(
    store: LocalCheckpointStore, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(store, "r", 3)
    with monkeypatch.context() as patch:
        patch.setattr(LocalCheckpointStore, "_delete_directory", lambda *_: (_ for _ in ()).throw(Killed))
        with contextlib.suppress(Killed):
            store.delete_checkpoints("r")
    with LocalCheckpointStore(session) as other, pytest.raises(RunNotFound):
        other.load_checkpoint("r", "step_1")
    store.save_checkpoint("r", "step_9", {"n": 9})
    assert [info.step_id for info in store.list_checkpoints("r")] == ["step_9"]
    assert store.delete_checkpoints("r").runs == 1
    assert not checkpoints_dir(session, "r").exists() and store.runs() == []


def test_a_run_that_another_process_removed_is_begun_anew(store: LocalCheckpointStore, session: Path) -> None:
    steps(store, "r", 3)
    store.close()
    store.list_checkpoints("r")
    with LocalCheckpointStore(session) as other:
        other.delete_checkpoints("r")
    info = store.save_checkpoint("r", "step_1", {"n": 1})
    assert info.kind == "snapshot" and store.load_checkpoint("r", "step_1").state == {"n": 1}


def test_threads_save_into_one_run(store: LocalCheckpointStore) -> None:
    def work(agent: str) -> None:
        for number in range(30):
            store.save_checkpoint("r", str(number), {"agent": agent, "n": number}, agent_id=agent)

    workers = [threading.Thread(target=work, args=(f"agent {n}",)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(store.list_checkpoints("r")) == 120
    assert store.load_checkpoint("r", "29", "agent 3").state == {"agent": "agent 3", "n": 29}
    assert store.check("r") == []


WRITER = """
import sys
from Agent.flight.checkpoints.store import LocalCheckpointStore
store = LocalCheckpointStore(sys.argv[1])
state = {"rows": [{"id": n, "x": n * 0.37} for n in range(900)], "writer": sys.argv[2]}
for number in range(100_000):
    state["rows"][number % 900]["x"] = number
    state["rows"].insert(number % 7, number)
    store.save_checkpoint("r", f"{sys.argv[2]}-{number}", state, full=number % 5 == 0)
    print(number, flush=True)
"""


def replayed(number: int, writer: str) -> dict[str, Any]:
    state: dict[str, Any] = {"rows": [{"id": n, "x": n * 0.37} for n in range(900)], "writer": writer}
    for step in range(number + 1):
        target = state["rows"][step % 900]
        if isinstance(target, dict):
            target["x"] = step
        state["rows"].insert(step % 7, step)
    return state


@pytest.mark.integration
def test_a_writer_that_is_killed_leaves_every_step_whose_save_had_returned(session: Path) -> None:
    code = WRITER.replace(
        'state["rows"][number % 900]["x"] = number',
        'target = state["rows"][number % 900]\n    if isinstance(target, dict): target["x"] = number',
    )
    for attempt, after in enumerate((1, 7, 23)):
        writer = f"w{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(session), writer], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        acknowledged = after + len(process.stdout.read().split("\n")) - 1
        process.wait()
        process.stdout.close()
        with LocalCheckpointStore(session) as store:
            listed = [info.step_id for info in store.list_checkpoints("r") if info.step_id.startswith(writer)]
            assert len(listed) - acknowledged in (0, 1)
            for number in {0, acknowledged - 1}:
                assert store.load_checkpoint("r", f"{writer}-{number}").state == replayed(number, writer)
    with LocalCheckpointStore(session) as store:
        store.prune(RetentionPolicy())
        assert store.check("r") == []
        assert not list(checkpoints_dir(session, "r").glob("w*.writer"))


PRUNER = """
import sys, time
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.checkpoints.model import RetentionPolicy
store = LocalCheckpointStore(sys.argv[1])
print("ready", flush=True)
while True:
    store.prune(RetentionPolicy())
    store.delete_checkpoints("r", [f"old-{n}" for n in range(0, 40, 3)])
"""


@pytest.mark.integration
def test_a_pruner_that_is_killed_beside_writers_harms_nothing(session: Path) -> None:
    code = WRITER.replace("range(100_000)", "range(30)").replace(
        'state["rows"][number % 900]["x"] = number', 'state["rows"][-1]["x"] = number'
    )
    old = {}
    with LocalCheckpointStore(session) as store:
        for number in range(40):
            old[number] = {"n": number, "pad": list(range(400))}
            store.save_checkpoint("r", f"old-{number}", old[number])
    command = [sys.executable, "-c"]
    writers = [
        subprocess.Popen([*command, code, str(session), name], stdout=subprocess.DEVNULL)
        for name in ("a", "b")
    ]
    for _ in range(3):
        pruner = subprocess.Popen([*command, PRUNER, str(session)], stdout=subprocess.PIPE)
        assert pruner.stdout is not None
        pruner.stdout.readline()
        time.sleep(random.random() / 3)
        pruner.kill()
        pruner.wait()
        pruner.stdout.close()
    assert [writer.wait() for writer in writers] == [0, 0]
    with LocalCheckpointStore(session) as store:
        store.prune(RetentionPolicy())
        assert store.check("r") == []
        listed = {info.step_id for info in store.list_checkpoints("r")}
        assert {f"{name}-{n}" for name in "ab" for n in range(30)} <= listed
        for number in range(40):
            if number % 3:
                assert store.load_checkpoint("r", f"old-{number}").state == old[number]


class Killed(BaseException):
    pass


@pytest.mark.first_case
@pytest.mark.parametrize("at", range(1, 40, 2))
def test_a_deletion_that_dies_anywhere_can_be_run_again(
    store: LocalCheckpointStore, session: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    texts = steps(store, "r", 12)
    store.close()
    calls = 0
    deleting = threading.get_ident()

    def dying(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if threading.get_ident() != deleting:  # the thread of a recording that goes on beside
                return original(*args, **kwargs)
            calls += 1
            if calls == at:
                raise Killed
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "pread", "open", "ftruncate", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        broken = LocalCheckpointStore(session)
        with contextlib.suppress(Killed):
            broken.delete_checkpoints("r", ["step_0", "step_4"])
    broken._runs.clear()
    kept = [n for n in range(12) if n not in (0, 4)]
    with LocalCheckpointStore(session) as after:
        assert [loaded(after, "r", f"step_{n}") for n in kept] == [texts[n] for n in kept]
        after.delete_checkpoints("r", ["step_0", "step_4"])
        assert [loaded(after, "r", f"step_{n}") for n in kept] == [texts[n] for n in kept]
        assert [info.step_id for info in after.list_checkpoints("r")] == [f"step_{n}" for n in kept]
    with LocalCheckpointStore(session) as last:
        last.prune(RetentionPolicy())
        assert last.check("r") == []


def test_a_save_that_the_disk_refuses_changes_nothing(
    store: LocalCheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = steps(store, "r", 4)

    def full(fd: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            store.save_checkpoint("r", "step_4", {"n": 1})
    assert [loaded(store, "r", f"step_{n}") for n in range(4)] == texts
    with pytest.raises(EventNotFound):
        store.load_checkpoint("r", "step_4")
    store.save_checkpoint("r", "step_4", {"n": 2})
    assert store.load_checkpoint("r", "step_4").state == {"n": 2}
    assert store.check("r") == []


def test_damage_is_told_with_its_path_and_the_other_chains_load(
    store: LocalCheckpointStore, session: Path
) -> None:
    texts = steps(store, "r", 6)
    store.close()
    with LocalCheckpointStore(session) as later:
        more = steps(later, "r", 2, agent_id="b")
    first, second = sorted(
        checkpoints_dir(session, "r").glob("*.zst"), key=lambda path: path.stat().st_mtime_ns
    )
    data = bytearray(first.read_bytes())
    data[-20] ^= 0xFF
    first.write_bytes(data)
    with pytest.raises(DamagedInput) as told:
        store.load_checkpoint("r", "step_5")
    assert told.value.path == str(first) and told.value.remedy
    assert loaded(store, "r", "step_4") == texts[4]
    assert loaded(store, "r", "step_1", "b") == more[1]
    assert [problem.step_id for problem in store.check("r")] == ["step_5"]
    second.unlink()
    assert {problem.agent_id for problem in store.check("r")} == {None, "b"}
    with pytest.raises(DamagedInput, match="missing"):
        store.load_checkpoint("r", "step_0", "b")
    assert store.delete_checkpoints("r", ["step_2", "step_5"]).damaged == 0
    assert loaded(store, "r", "step_4") == texts[4]


def test_a_removal_counts_what_stays_and_cannot_be_read(store: LocalCheckpointStore, session: Path) -> None:
    texts = steps(store, "r", 6)
    store.close()
    [pack] = checkpoints_dir(session, "r").glob("*.zst")
    data = bytearray(pack.read_bytes())
    data[-20] ^= 0xFF
    pack.write_bytes(data)
    removed = store.delete_checkpoints("r", ["step_2"])
    assert (removed.checkpoints, removed.damaged) == (1, 1)
    assert loaded(store, "r", "step_4") == texts[4]
    assert [problem.step_id for problem in store.check("r")] == ["step_5"]


def test_an_index_that_is_made_again_tells_what_of_the_packs_is_no_checkpoint(
    store: LocalCheckpointStore, session: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps(store, "r", 6)
    store.close()
    [pack] = checkpoints_dir(session, "r").glob("*.zst")
    data = bytearray(pack.read_bytes())
    data[-20] ^= 0xFF
    pack.write_bytes(data)
    assert store.rebuild_index("r") == 5
    assert re.search(rf"{pack}: its last \d+ bytes are not a complete checkpoint", capfd.readouterr().err)


def test_a_chunk_that_is_damaged_or_gone_is_told(store: LocalCheckpointStore, session: Path) -> None:
    store.save_checkpoint("r", "1", big_state(items=4000))
    chunk = next((checkpoints_dir(session, "r") / "chunks").iterdir())
    data = chunk.read_bytes()
    chunk.write_bytes(data[:-9])
    with pytest.raises(DamagedInput) as told:
        store.load_checkpoint("r", "1")
    assert told.value.path == str(chunk)
    chunk.unlink()
    with pytest.raises(DamagedInput, match="chunk"):
        store.load_checkpoint("r", "1")


def test_files_that_belong_to_no_checkpoint_are_told_and_collected(
    store: LocalCheckpointStore, session: Path
) -> None:
    texts = steps(store, "r", 3)
    directory = checkpoints_dir(session, "r")
    (directory / "chunks").mkdir(exist_ok=True)
    strays = [directory / "dead00-1.jsonl.zst", directory / "chunks" / f"{'0' * 32}.json.zst",
              directory / "chunks" / ".x.json.zst.1.new", directory / "dead00.writer"]  # fmt: skip
    for path in strays:
        path.write_bytes(b"half")
    assert {problem.path for problem in store.check("r")} == {str(path) for path in strays[:2]}
    store.prune(RetentionPolicy())
    assert not any(path.exists() for path in strays)
    assert [loaded(store, "r", f"step_{n}") for n in range(3)] == texts


def test_a_torn_tail_of_a_pack_is_cut_off_and_the_rest_loads(
    store: LocalCheckpointStore, session: Path
) -> None:
    texts = steps(store, "r", 5)
    store.close()
    pack = next(checkpoints_dir(session, "r").glob("*.jsonl.zst"))
    with pack.open("ab") as file:
        file.write(pack.read_bytes()[:100])
    assert [loaded(store, "r", f"step_{n}") for n in range(5)] == texts
    store.prune(RetentionPolicy())
    assert [loaded(store, "r", f"step_{n}") for n in range(5)] == texts
    assert not pack.exists()


def test_an_index_of_another_run_is_told_and_can_be_made_again(
    store: LocalCheckpointStore, session: Path
) -> None:
    for run_id in ("r", "other"):
        steps(store, run_id, 2)
    store.close()
    index = checkpoints_dir(session, "r") / "index.sqlite"
    index.write_bytes((checkpoints_dir(session, "other") / "index.sqlite").read_bytes())
    with LocalCheckpointStore(session) as later:
        with pytest.raises(DamagedInput, match="another run"):
            later.list_checkpoints("r")
        assert later.rebuild_index("r") == 2
        assert len(later.list_checkpoints("r")) == 2


def test_a_change_with_a_trigger_of_any_type_is_folded() -> None:
    line = (
        b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"k3v9q2ma-1","schema_version":1,"session_id":"s",'
        b'"level":"INFO","logger":"a","message":"m","extra":{"agent_id":"a","event_type":"state_change",'
        b'"trigger":["outside"],"changed":{"x":1}}}'
    )
    assert fold_events(StateFold(), [decode_line(line)]).fields == {}


def test_the_index_can_be_made_again_from_the_packs(store: LocalCheckpointStore, session: Path) -> None:
    texts = steps(store, "a run", 80, agent_version="7")
    store.save_checkpoint("a run", "step_3", {"again": 1})
    store.save_checkpoint("a run", "large", big_state(items=4000), agent_id="x", tick=4, reason="error")
    before = store.list_checkpoints("a run")
    store.close()
    (checkpoints_dir(session, "a run") / "index.sqlite").write_bytes(
        b"not a database, but long enough to be read"
    )
    with pytest.raises(DamagedInput, match="rebuild_index"):
        store.load_checkpoint("a run", "step_1")
    assert store.rebuild_index("a run") == 81
    after = store.list_checkpoints("a run")
    assert [(info.step_id, info.digest, info.tick, info.reason, info.timestamp) for info in after] == [
        (info.step_id, info.digest, info.tick, info.reason, info.timestamp) for info in before
    ]
    assert [loaded(store, "a run", f"step_{n}") for n in range(4, 80)] == texts[4:]
    assert store.load_checkpoint("a run", "step_3").state == {"again": 1}
    assert loaded(store, "a run", "large", "x") == text_of(big_state(items=4000))
    assert store.runs() == ["a run"] and store.check("a run") == []


def test_a_session_that_cannot_be_written_is_read(
    store: LocalCheckpointStore, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = steps(store, "r", 5)
    store.close()
    directory = checkpoints_dir(session, "r")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        assert loaded(LocalCheckpointStore(session), "r", "step_4") == texts[4]
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


@pytest.mark.process
def test_a_fork_goes_on_with_files_of_its_own(store: LocalCheckpointStore) -> None:
    texts = steps(store, "r", 3)
    pid = os.fork()
    if pid == 0:
        try:
            store.save_checkpoint("r", "child", {"from": "child"})
            ok = loaded(store, "r", "step_2") == texts[2]
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.save_checkpoint("r", "parent", {"from": "parent"})
    assert store.load_checkpoint("r", "child").state == {"from": "child"}
    assert store.load_checkpoint("r", "parent").state == {"from": "parent"}
    assert loaded(store, "r", "step_1") == texts[1] and store.check("r") == []


@pytest.mark.integration
def test_a_state_of_200_kb_that_changes_by_a_hundredth_keeps_within_three_hundredths(
    store: LocalCheckpointStore, session: Path
) -> None:
    chance = random.Random(3)
    state = big_state(items=3600)
    whole = 0
    for number in range(80):
        for _ in range(30):
            chance.choice(state["items"])["score"] = chance.random()
        for _ in range(3):
            state["items"].insert(
                chance.randrange(3000), {"id": number, "score": chance.random(), "name": "new"}
            )
            del state["items"][chance.randrange(3000)]
        key = chance.choice(list(state["q"]))
        state["q"][key] = state["q"].pop(key)
        whole += store.save_checkpoint("r", str(number), state).state_bytes
    assert whole > 80 * 190_000
    store.close()
    used = sum(path.stat().st_size for path in checkpoints_dir(session, "r").rglob("*") if path.is_file())
    assert used < 0.03 * whole
    assert loaded(store, "r", "79") == text_of(state)


def event(number: int, kind: str, extra: dict[str, Any], **more: Any) -> Event:
    return Event(
        timestamp=f"2026-11-20T10:30:{number:02d}.000000Z", id=f"abcdefgh-{number}", schema_version=1, kind=kind,
        session_id="s", level="INFO", logger="l", message="m", run_id=None, span_id=None, parent_span_id=None,
        causes=(), tick=None, extra={"agent_id": "a", **extra}, code=more.get("code"), state=more.get("state"),
        types=more.get("types"),
    )  # fmt: skip


def test_the_fold_gives_the_same_state_from_the_events_alone_and_from_a_checkpoint_on(
    store: LocalCheckpointStore,
) -> None:
    events = [event(1, "state", {"fields": {"n": 0, "when": "2026-01-01T00:00:00", "gone": 1}, "reason": "first"},
                    types={"/extra/fields/when": "datetime"})]  # fmt: skip
    events += [
        event(
            n,
            "agent_action",
            {"action_type": "act"},
            state={"set": {"n": n}, "unset": ["gone"] if n == 4 else []},
        )
        for n in range(2, 9)
    ]
    events.append(event(9, "agent_action", {}, state={"set": {"pair": [1, 2]}, "unset": []},
                        types={"/state/set/pair": "tuple"}))  # fmt: skip
    events.append(event(10, "state", {"fields": {"n": 8, "when": "2026-01-01T00:00:00", "pair": [1, 2]}},
                        types={"/extra/fields/when": "datetime", "/extra/fields/pair": "tuple"}))  # fmt: skip
    for end in (5, 8, 9, 10):
        whole = fold_events(StateFold(), events[:end])
        for begin in (1, 3, 4, 5):
            known = fold_events(StateFold(), events[:begin])
            store.save_checkpoint(
                "r", f"step_{begin}", decode_value(known.fields, known.types()), agent_id="a",
                event_id=events[begin - 1].id,
            )  # fmt: skip
            saved = StateFold.of(*store.recorded_state("r", f"step_{begin}", "a"))
            from_there = fold_events(saved, events[begin:end])
            assert (from_there.fields, from_there.types()) == (whole.fields, whole.types())


def test_a_trigger_says_why_a_checkpoint_is_due() -> None:
    trigger = CheckpointPolicy(every_steps=3).trigger("r")
    assert [trigger.due(0) for _ in range(7)] == [None, None, "step", None, None, "step", None]
    trigger = CheckpointPolicy(every_ticks=10).trigger("r")
    assert [trigger.due(0, tick=tick) for tick in (0, 5, 9, 10, 11, 25, 29, 30)] == [
        None, None, None, "tick", None, "tick", None, "tick",
    ]  # fmt: skip
    trigger = CheckpointPolicy(every_seconds=2).trigger("r")
    assert [trigger.due(int(s * 1e9)) for s in (0, 1, 2, 3, 4.5)] == [None, None, "time", None, "time"]
    trigger = CheckpointPolicy(phases=frozenset({"train"})).trigger("r")
    assert [trigger.due(0, phase=phase) for phase in ("warm", "train", "train", "warm", "train")] == [
        None, "phase", None, None, "phase",
    ]  # fmt: skip
    assert CheckpointPolicy().trigger("r").due(0, error=True) == "error"
    assert CheckpointPolicy(on_error=False).trigger("r").due(0, error=True) is None
    with pytest.raises(UsageError):
        CheckpointPolicy(every_steps=0)
    with pytest.raises(UsageError):
        CheckpointPolicy(sample=1.5)


def test_sampling_takes_its_part_of_the_runs_and_errors_in_all() -> None:
    policy = CheckpointPolicy(every_steps=1, sample=0.25)
    sampled = [run for run in map(str, range(2000)) if policy.samples(run)]
    assert 400 < len(sampled) < 600
    other = next(run for run in map(str, range(2000)) if run not in sampled)
    assert policy.trigger(sampled[0]).due(0) == "step"
    assert policy.trigger(other).due(0) is None
    assert policy.trigger(other).due(0, error=True) == "error"


def test_retention_keeps_failed_runs_longer(store: LocalCheckpointStore) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    for run_id, days in (
        ("new", 1),
        ("old", 30),
        ("old failed", 30),
        ("old error", 30),
        ("ancient failed", 100),
    ):
        moment = now - timedelta(days=days)
        reason = "error" if run_id == "old error" else "step"
        store.save_checkpoint(run_id, "1", {"n": 1}, timestamp=moment, reason=reason)
        if "failed" in run_id:
            store.note_outcome(run_id, ok=False)
    policy = RetentionPolicy(keep_days=14, keep_failed_days=90)
    assert store.prune(policy, now=now, dry_run=True).runs == 2
    assert len(store.runs()) == 5
    outcome = store.prune(policy, now=now)
    assert (outcome.runs, outcome.checkpoints) == (2, 2)
    assert sorted(store.runs()) == ["new", "old error", "old failed"]
    assert RetentionPolicy(keep_days=200).keep_failed_days == 200


def test_retention_thins_a_run_out_and_keeps_what_errors_left(store: LocalCheckpointStore) -> None:
    for number in range(20):
        store.save_checkpoint("r", str(number), {"n": number}, reason="error" if number == 4 else "step")
    store.note_outcome("r", ok=True)
    policy = RetentionPolicy(keep_days=None, keep_last=3)
    assert store.prune(policy).checkpoints == 16
    assert [info.step_id for info in store.list_checkpoints("r")] == ["4", "17", "18", "19"]
    assert [store.load_checkpoint("r", n).state["n"] for n in ("4", "17", "18", "19")] == [4, 17, 18, 19]
    assert store.prune(policy).checkpoints == 0


def test_the_store_of_the_session_saves_where_events_go_and_finds_it_later(trace_root: Path) -> None:
    from Agent import setup_logging, shutdown_logging

    setup_logging()
    run_id = "0190-run"
    info = checkpoint_store.save_checkpoint(run_id, "step_1", {"n": 1, "api_key": "hunter2hunter2"})
    assert info is not None
    assert checkpoint_store.load_checkpoint(run_id, "step_1").state["n"] == 1
    shutdown_logging()
    found = checkpoint_store.load_checkpoint(run_id, "step_1")
    assert found.state["n"] == 1 and "hunter2" not in str(found.state)
    assert [each.step_id for each in checkpoint_store.list_checkpoints(run_id)] == ["step_1"]
    (session,) = trace_root.glob("session_*")
    assert checkpoints_dir(session, run_id).is_dir()
    with pytest.raises(RunNotFound):
        checkpoint_store.load_checkpoint("no such run", "step_1")
    assert checkpoint_store.delete_checkpoints(run_id).runs == 1


def test_a_save_that_fails_is_counted_and_does_not_raise(
    trace_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from Agent import health, setup_logging

    setup_logging()
    checkpoint_store.save_checkpoint("r", "1", {"n": 1})

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("Agent.flight.checkpoints.run.append_frame", refused)
        assert checkpoint_store.save_checkpoint("r", "2", {"n": 2}) is None
    assert health()["dropped"] == {"a checkpoint could not be written": 1}
    assert "No space" in capfd.readouterr().err
    assert checkpoint_store.save_checkpoint("r", "3", {"n": 3}) is not None


@pytest.mark.process
def test_a_process_that_comes_and_goes_takes_no_file_from_an_index_that_is_open(tmp_path):
    """SQLite keeps new rows in a file beside the database, which the last process to leave removes."""
    path = tmp_path / "checkpoints" / "index.db"
    first, second = CheckpointIndex(path, make=True), CheckpointIndex(path, make=True)
    beside = path.with_name(f"{path.name}-wal")
    assert beside.exists()
    visit = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version'); c.close()"
    )
    visited = subprocess.run([sys.executable, "-c", visit, path], capture_output=True, text=True, check=False)
    assert (visited.returncode, visited.stderr) == (0, "")
    assert beside.exists()
    for index in (first, second):
        index.suspend()
