"""The file of `TraceSaver`: no secret reaches it, states restore, and erase, prune and verify look into it."""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.archive.erase.erasing import erase, target_of
from Agent.archive.prune import prune_checkpoints
from Agent.archive.verify import verify
from Agent.errors import SessionInUse, UsageError
from Agent.flight.checkpoints.graph_file import check_graph, graph_files, values_in
from Agent.flight.checkpoints.model import RetentionPolicy
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.names import name_says


@pytest.fixture(scope="module", autouse=True)
def libraries():
    """Loaded by the first test here: with their 700 modules, recordings of all other tests would take longer."""
    global END, START, StateGraph, interrupt, TraceSaver, without_secrets
    pytest.importorskip(
        "langgraph.graph", reason="langgraph is not installed; it is in the extra [frameworks]"
    )
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import interrupt

    from Agent.flight.integrations.langgraph_saver import TraceSaver, without_secrets


SECRET = "sk-proj-" + "Zq7Rt2Lm9XvB4nKc8WdY1sHf" * 2
SUBJECT = "Jane Döe <jane@example.org>"


@dataclass
class Login:
    user: str
    password: str


class State(TypedDict, total=False):
    messages: Annotated[list, lambda left, right: [*left, *right]]
    anything: object
    count: int


def thread(name):
    return {"configurable": {"thread_id": name}}


def graph(saver, say=lambda state: f"answer {state.get('count', 0)}", turns=3):
    def answer(state):
        return {"messages": [say(state)], "count": state.get("count", 0) + 1}

    made = StateGraph(State)
    made.add_node("answer", answer)
    made.add_edge(START, "answer")
    made.add_conditional_edges("answer", lambda state: "answer" if state["count"] < turns else END)
    return made.compile(checkpointer=saver)


def everything(root):
    """All bytes below a root, and all values of the graphs' files, whole."""
    found = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    for path in graph_files(root):
        found += b"".join(raw for _, raw in values_in(path))
    return found


@pytest.fixture
def saver(tmp_path):
    with TraceSaver(tmp_path / "root" / "langgraph.sqlite") as made:
        yield made


@pytest.mark.first_case
@pytest.mark.parametrize(
    "held",
    [
        {"api_key": SECRET},
        [f"use {SECRET} please"],
        {"headers": [["Authorization", f"Bearer {SECRET}"]]},
        Login("jane", SECRET),
        SECRET.encode(),
        {7: {"password": SECRET}, (1, 2): "plain"},
        {("password", "old"): "correct-Horse-7"},
    ],
    ids=["key", "text", "headers", "object", "bytes", "keys that are no text", "keys that are tuples"],
)
def test_no_secret_reaches_the_file_and_the_state_restores_with_tokens(saver, held):
    graph(saver).invoke({"messages": [f"my key is {SECRET}"], "anything": held}, thread("t"))
    state = graph(saver).get_state(thread("t")).values
    assert type(state["anything"]) is type(held) and len(state["messages"]) == 4
    assert "[redacted:" in repr(state["anything"]) and "[redacted:" in state["messages"][0]
    saver.close()
    assert SECRET.encode() not in everything(saver.path.parent)
    assert b"correct-Horse-7" not in everything(saver.path.parent)


def test_an_error_and_an_answer_of_a_person_are_saved_without_secrets(saver):
    def fail(state):
        raise ValueError(f"{SECRET} was refused")

    with pytest.raises(ValueError, match="refused"):
        graph(saver, fail).invoke({"messages": []}, thread("t"))
    with pytest.raises(ValueError, match="refused"):
        graph(saver, fail).invoke({"messages": []}, {**thread("u"), "metadata": {"api_key": SECRET}})
    saver.close()
    assert SECRET.encode() not in everything(saver.path.parent)


names = st.text(max_size=6).filter(
    lambda text: not name_says(text)
)  # what such a name holds is a secret, too
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=20) | st.binary(max_size=20) | st.uuids() | st.datetimes() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
    | st.dictionaries(st.integers(0, 99), inner, max_size=3) | st.sets(st.integers(0, 99), max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=plain)
def test_what_surrounds_a_secret_restores_as_it_was(value):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    serde, redactor = JsonPlusSerializer(), Redactor(b"key")
    typed = serde.dumps_typed({"held": value, "note": f"key {SECRET}"})
    kind, clean = without_secrets(redactor, typed)
    assert SECRET.encode() not in clean
    restored = serde.loads_typed((kind, clean))
    as_saved = serde.loads_typed(serde.dumps_typed({"held": value}))
    assert repr(restored["held"]) == repr(as_saved["held"])
    assert without_secrets(redactor, (kind, clean)) == (kind, clean)


def test_an_array_restores_whatever_its_bytes_are():
    numpy = pytest.importorskip("numpy")
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    serde, redactor = JsonPlusSerializer(), Redactor(b"key")
    numbers = numpy.frombuffer(SECRET.encode()[:48], dtype="<f8")
    held = {"numbers": numbers, "words": numpy.array(["plain", SECRET]), "note": SECRET}
    restored = serde.loads_typed(without_secrets(redactor, serde.dumps_typed(held)))
    assert restored["numbers"].tobytes() == numbers.tobytes()
    assert restored["words"].startswith("[redacted:")


def test_what_cannot_be_read_is_refused_and_what_is_encrypted_or_allowed_is_saved(tmp_path):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    class Odd:
        def __eq__(self, other):
            return isinstance(other, Odd)

        __hash__ = object.__hash__

    globals()["Odd"], Odd.__qualname__ = Odd, "Odd"
    refusing = TraceSaver(tmp_path / "a.sqlite", serde=JsonPlusSerializer(pickle_fallback=True))
    with refusing as saver, pytest.raises(UsageError, match="redact=False"):
        graph(saver).invoke({"messages": [], "anything": Odd()}, thread("t"))
    allowed = TraceSaver(tmp_path / "b.sqlite", serde=JsonPlusSerializer(pickle_fallback=True), redact=False)
    with allowed as saver:
        graph(saver).invoke({"messages": [SECRET], "anything": Odd()}, thread("t"))
        assert graph(saver).get_state(thread("t")).values["messages"][0] == SECRET


def test_encrypted_states_are_kept_whole_and_named_by_an_erasure(tmp_path):
    pytest.importorskip("Crypto", reason="pycryptodome is not installed")
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    with TraceSaver(tmp_path / "langgraph.sqlite", serde=serde) as saver:
        graph(saver).invoke({"messages": [SECRET]}, thread("t"))
        assert graph(saver).get_state(thread("t")).values["messages"][0] == SECRET
    assert SECRET.encode() not in everything(tmp_path)
    assert erase(tmp_path, target_of(match=SUBJECT)).proof.not_looked_into == {"encrypted graph states": 1}


def test_erase_removes_the_checkpoints_that_hold_a_value_and_every_byte_of_it(saver):
    long = "word " * 400  # so that later values are differences to those with the subject
    graph(saver, lambda state: f"answer {state['count']}").invoke(
        {"messages": [f"I am {SUBJECT} {long}"], "count": 0}, thread("t")
    )
    graph(saver).invoke({"messages": [long], "count": 0}, thread("other"))
    config = thread("u")
    graph(saver).invoke({"messages": ["x"], "anything": f"{SUBJECT} {long}", "count": 0}, config)
    graph(saver).update_state(config, {"anything": f"somebody {long}"})
    others = graph(saver).get_state(thread("other")).values
    root = saver.path.parent
    with pytest.raises(SessionInUse, match="has this file of TraceSaver open"):
        erase(root, target_of(match=SUBJECT))
    saver.close()
    told = erase(root, target_of(match=SUBJECT), dry_run=True).graph_checkpoints
    done = erase(root, target_of(match=SUBJECT))
    assert done.proof.clean and done.graph_checkpoints == told > 5
    assert SUBJECT.encode() not in everything(root)
    assert graph(saver).get_state(thread("other")).values == others
    assert graph(saver).get_state(thread("u")).values["anything"] == f"somebody {long}"
    assert list(saver.list(thread("t"))) == []
    saver.close()
    assert check_graph(saver.path).problems == ()
    assert saver.path.stat().st_mode & 0o777 == 0o600
    assert erase(root, target_of(match=SUBJECT)).graph_checkpoints == 0


def test_erase_removes_what_a_deleted_thread_left_in_free_pages(saver):
    graph(saver).invoke({"messages": [SUBJECT]}, thread("t"))
    graph(saver).invoke({"messages": ["x"]}, thread("u"))
    saver.delete_thread("t")
    saver.close()
    assert erase(saver.path.parent, target_of(match=SUBJECT)).proof.clean
    assert SUBJECT.encode() not in saver.path.read_bytes()
    assert graph(saver).get_state(thread("u")).values["messages"][0] == "x"


def test_a_state_that_is_read_through_an_erased_one_goes_with_it(saver):
    channels = pytest.importorskip("langgraph.channels.delta", reason="this LangGraph has no DeltaChannel")

    def extended(held, more):
        return [*(held or []), *(each for one in more for each in one)]

    held = Annotated[list, channels.DeltaChannel(extended, snapshot_frequency=100)]
    Delta = TypedDict("Delta", {"messages": held, "count": int})  # noqa: UP013 - no text annotations
    made = StateGraph(Delta)
    made.add_node("answer", lambda state: {"messages": ["plain"], "count": state["count"] + 1})
    made.add_edge(START, "answer")
    made.add_conditional_edges("answer", lambda state: "answer" if state["count"] < 4 else END)
    compiled = made.compile(checkpointer=saver)
    compiled.invoke({"messages": [SUBJECT], "count": 0}, thread("t"))
    assert SUBJECT in compiled.get_state(thread("t")).values["messages"]
    saver.close()
    assert erase(saver.path.parent, target_of(match=SUBJECT)).proof.clean
    assert all(SUBJECT not in repr(each) for each in compiled.get_state_history(thread("t")))
    assert compiled.get_state(thread("t")).values == {}


@pytest.mark.parametrize("kind", ["agent", "run"])
def test_erase_removes_the_checkpoints_of_an_agent_or_a_run_that_their_metadata_names(saver, kind):
    named = "clerk-" + "x" * 40
    graph(saver).invoke({"messages": ["x"]}, {"configurable": {"thread_id": "t", f"{kind}_id": named}})
    graph(saver).invoke({"messages": ["x"]}, thread("u"))
    saver.close()
    done = erase(saver.path.parent, target_of(**{kind: named}))
    assert done.proof.clean and done.graph_checkpoints == 5
    assert list(saver.list(thread("t"))) == [] and len(list(saver.list(thread("u")))) == 5


def at(age_days):
    """The id that LangGraph gives a checkpoint of this age."""
    ticks = int((time.time() - age_days * 86400) * 1e7) + 0x01B21DD213814000
    return str(uuid.UUID(int=(ticks >> 12) << 80 | 6 << 76 | (ticks & 0xFFF) << 64 | 2 << 62 | 1))


def test_prune_removes_old_threads_and_keeps_those_that_failed_or_wait_longer(saver):
    def wait(state):
        return interrupt("who are you?")

    for name, age_days in (("old", 20), ("older", 100), ("new", 1)):
        saved = at(age_days)
        graph(saver).invoke({"messages": ["x"]}, thread(name))
        graph(saver, wait).invoke({"messages": ["x"]}, thread(f"waits-{name}"))
        with sqlite3.connect(saver.path) as db:
            for waits in ("", "waits-"):
                (newest,) = db.execute(
                    "SELECT max(id) FROM checkpoint WHERE thread = ?", (waits + name,)
                ).fetchone()
                # the newest alone stays, under the id that it would have had
                db.execute("DELETE FROM checkpoint WHERE thread = ? AND id < ?", (waits + name, newest))
                for table, column in (("checkpoint", "id"), ("task_write", "checkpoint")):
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (saved, newest))
    root = saver.path.parent
    told = prune_checkpoints(root, RetentionPolicy(), dry_run=True)
    done = prune_checkpoints(root, RetentionPolicy())
    assert (told.runs, told.checkpoints) == (done.runs, done.checkpoints) == (3, 3)
    left = {each.config["configurable"]["thread_id"] for each in saver.list(None)}
    assert left == {"new", "waits-new", "waits-old"}
    assert dt.datetime.fromisoformat(next(iter(saver.list(None))).checkpoint["ts"])


def test_verify_reads_the_file_and_names_what_differs(trace_root):
    from Agent import setup_logging, shutdown_logging
    from Agent.utils import AgentLogger

    setup_logging(trace_root=trace_root)
    AgentLogger("writer").log_action("write", {})
    shutdown_logging()
    (session,) = (path for path in trace_root.iterdir() if path.name.startswith("session_"))
    with TraceSaver() as saver:
        assert saver.path == trace_root / "langgraph.sqlite"
        graph(saver).invoke({"messages": ["x"]}, thread("t"))
    found = verify(session)
    assert found.sound and [(each.threads, each.checkpoints) for each in found.graph_files] == [(1, 5)]
    with sqlite3.connect(saver.path) as db:
        ((number,),) = db.execute("SELECT min(id) FROM blob WHERE kind != 'null'")
        db.execute("UPDATE blob SET kind = 'null' WHERE id = ?", (number,))
    found = verify(session)
    assert not found.sound and f"value {number} differs from what was saved" in found.graph_files[0].problems
    saver.path.chmod(0o644)
    assert "mode is 644" in str(verify(session).graph_files[0].problems)
