"""Bytes that begin as real lines and real files of a tree: every one has an answer, none raises out of reading."""

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from session_kit import START_US, Copied, line_of

from Agent.archive.recover import recover_session
from Agent.errors import AgentTraceError
from Agent.event.clock import format_timestamp
from Agent.event.codec import DamagedLine, decode_line, encode_event
from Agent.event.model import Event
from Agent.tree.files.lines import DamageLog, LineDecoder, RawLine
from Agent.tree.files.session import SessionInfo
from Agent.tree.layout import create_session_dir, session_file
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import read_account
from Agent.tree.retention import Retention
from Agent.tree.write.writer import SessionWriter

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def real_lines(draw: st.DrawFn) -> bytes:
    event = Event(
        timestamp=format_timestamp(START_US + draw(st.integers(0, 10**9))),
        id=f"{draw(st.sampled_from(['aaaaaaaa', 'k3v7q2ma']))}-{draw(st.integers(1, 10**6))}",
        schema_version=1,
        kind=draw(st.sampled_from(["agent_action", "log", "state", "log.closed", "log.retired"])),
        session_id="20261120_103045",
        level="INFO",
        logger="agent.creator",
        message=draw(st.text(max_size=40)),
        extra={"agent_id": "a", **draw(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=3))},
    )
    return encode_event(event)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A real line and what became of it: bytes changed, cut out, put in, doubled, glued, swapped."""
    line = draw(real_lines())
    data = bytearray(line[:-1])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        how = draw(st.sampled_from(["flip", "cut", "insert", "double", "glue", "swap"]))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at:end]
        elif how == "insert":
            data[at:at] = draw(
                st.binary(max_size=12) | st.sampled_from([b'"', b"\\", b"{", b"}", b"\x00", b"\xff"])
            )
        elif how == "double":
            data[at:at] = data[at:end]
        elif how == "glue":
            data += draw(real_lines())[: draw(st.integers(0, 200))]
        else:
            data[at:end] = data[at:end][::-1]
    return line, bytes(data)


@given(pair=mutated())
@settings(suppress_health_check=list(HealthCheck))
def test_the_codec_answers_every_bytes_with_an_event_or_with_damage(pair):
    _, data = pair
    try:
        event = decode_line(data)
    except DamagedLine:
        return
    # what is taken for an event is one: it can be put in order, written and read again as the same
    again = decode_line(encode_event(event))
    assert again == event


@given(data=st.binary(max_size=400))
@example(b"")
@example(b"{}")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"aaaaaaaa-99999999999999999999999999"}')
@example(b'{"timestamp":1,"id":2}')
def test_the_codec_answers_any_bytes_at_all(data):
    try:
        decode_line(data)
    except DamagedLine:
        return


@given(pair=mutated())
@settings(suppress_health_check=list(HealthCheck))
def test_a_damaged_line_never_becomes_an_event_that_nobody_wrote(pair):
    """An id or time can only come out changed where the damage went into that very value."""
    line, data = pair
    log = DamageLog()
    decoder = LineDecoder(log, lambda writer: writer in {"aaaaaaaa", "k3v7q2ma"})
    event = decoder.decode(RawLine(data, Path("x.log"), (1, 1), 1, 0, True))
    if event is None:
        assert log.count == 1
        return
    # its id and its time stand literally in what was read
    assert event.id.encode() in data
    assert event.timestamp.encode() in data or json.dumps(event.timestamp).encode() in data or b"\\u" in data
    if data == line[:-1]:
        assert event == decode_line(line)


@pytest.mark.further
@given(data=st.lists(mutated(), min_size=1, max_size=12), seed=st.randoms(use_true_random=False))
@settings(suppress_health_check=list(HealthCheck))
def test_reader_and_follower_survive_any_file(data, seed):
    directory = Path(tempfile.mkdtemp())
    try:
        session, _ = create_session_dir(directory, "20261120_103045")
        pieces = [seed.choice(pair) for pair in data]
        (session / "agents" / "a.log").write_bytes(b"\n".join(pieces))
        (session / ".state" / "writers" / "aaaaaaaa.json").write_bytes(pieces[0])
        reader = TreeReader(session)
        ids = [event.id for event in reader.events()]
        assert len(ids) == len(set(ids))
        assert reader.losses().total_read == len(ids)
        reader.agents()
        reader.in_flight()
        follower = Follower(session)
        followed = [event.id for event in follower.poll()]
        assert len(followed) == len(set(followed))
        assert set(followed) <= set(ids)
        cursor = json.loads(json.dumps(follower.cursor()))
        follower.close()
        resumed = Follower(session, cursor=cursor)
        assert resumed.poll() == []
        resumed.close()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def real_tree(tmp_path_factory):
    """A session with rolled, retired and torn files, a writer that ended and one whose process is gone."""
    session, _ = create_session_dir(tmp_path_factory.mktemp("real"), "20261120_103045")
    create = SessionInfo(session_id="20261120_103045", session_uid="0", pid=1, process_start_ticks=1)
    session_file(session).write_bytes(json.dumps(create.to_object()).encode())
    for clean in (True, False):
        writer = SessionWriter(session, segment_size_bytes=1500)
        store = writer.board.thread_slot()
        for _ in range(30):
            seq = writer.next_seq()
            store(seq)
            assert writer.open_stream(f"agent_{seq % 3}", "agents").write(
                line_of(writer.writer, seq, f"agent_{seq % 3}", "x" * 100)
            )
        writer.board.open_span("8f2c11d0a4e96b37", "agent_1", "act", START_US)
        writer.close(clean=clean)
    assert Retention(session, 8000).run() is not None
    for path in (session / ".state" / "writers").iterdir():
        claim = json.loads(path.read_bytes())
        path.write_text(json.dumps({**claim, "process_start_ticks": 1}))
    recovered = Copied(session)
    recover_session(recovered.session)
    shutil.copy(recovered.session / ".state" / "recovered.json", session / ".state")
    shutil.rmtree(recovered.session.parent)
    assert read_account(session).numbers
    return session


@pytest.mark.integration
@given(data=st.data())
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_whatever_the_files_of_a_tree_hold_reading_answers_and_keeping_refuses_in_words(real_tree, data):
    files = sorted(path for path in real_tree.rglob("*") if path.is_file() and path.stat().st_size)
    copied = Copied(real_tree)
    with copied as session:
        path = session / data.draw(st.sampled_from(files)).relative_to(real_tree)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content)))
            end = min(len(content), at + data.draw(st.integers(0, 40)))
            content[at:end] = data.draw(
                st.binary(max_size=20) | st.sampled_from([b"9" * 30, b"null", b"[]", b"{}"])
            )
        path.write_bytes(content)
        reader = TreeReader(session)
        ids = [event.id for event in reader.events()]
        assert len(ids) == len(set(ids))
        # events() puts in order, losses() counts: what stands in no file is told by both
        assert reader.losses().total_read == len(ids)
        reader.agents()
        reader.in_flight()
        with Follower(session) as follower:
            assert {event.id for event in follower.poll()} <= set(ids)
        for keep in (lambda: Retention(session, 2000).run(), lambda: recover_session(session)):
            with suppress(AgentTraceError):
                keep()
