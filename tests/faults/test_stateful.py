"""Any order of writing, rolling, forking, damaging, reading, following and killing, against a model; and fuzzing.

The model knows the lines that were acknowledged and what was done to the copy; reader and follower have to agree
with it after every step.
"""

import copy
import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from support.session_files import record_files

from Agent.event.clock import format_timestamp
from Agent.event.codec import DamagedLine, decode_line, encode_event
from Agent.event.model import Event, RedactedBytes
from Agent.tree.follower import Follower
from Agent.tree.layout import create_session_dir
from Agent.tree.lines import DamageLog, LineDecoder, RawLine
from Agent.tree.reader import TreeReader
from Agent.tree.writer import SessionWriter

START_US = 1_795_170_645_000_000
AGENTS = st.sampled_from(["creator_001", "a/b", "../x", ""])
TEXTS = st.text(max_size=300)


def line_of(writer: str, seq: int, agent_id: str, text: str, us: int = START_US) -> RedactedBytes:
    """One line as recording makes it."""
    event = Event(
        timestamp=format_timestamp(us + seq),
        id=f"{writer}-{seq}",
        schema_version=1,
        kind="agent_action",
        session_id="20261120_103045",
        level="INFO",
        logger="agent.creator",
        message="something happened",
        extra={"agent_id": agent_id, "event_type": "agent_action", "text": text},
    )
    return RedactedBytes(encode_event(event))


def plain_ids(session: Path) -> Counter[str]:
    """Ids of whole lines, read without the package; what has no newline yet is no line."""
    ids: Counter[str] = Counter()
    for path in record_files(session):
        *lines, _ = path.read_bytes().split(b"\n")
        for line in lines:
            try:
                ids[json.loads(line)["id"]] += 1
            except (ValueError, KeyError, TypeError):
                continue
    return ids


class Tree(RuleBasedStateMachine):
    """One session that several writers write, follow, leave and die in, and copies of it that are damaged."""

    cursors = Bundle("cursors")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.session, _ = create_session_dir(self.directory, "20261120_103045")
        self.writer = self._open()
        self.acknowledged: dict[str, str] = {}
        self.closed: set[str] = set()
        self.killed: set[str] = set()
        self.followed: Counter[str] = Counter()
        self.follower = Follower(self.session)

    def _open(self) -> SessionWriter:
        return SessionWriter(self.session, segment_size_bytes=1500, max_open_files=2)

    def _write(self, writer: SessionWriter, agent_id: str, text: str) -> str:
        seq = writer.next_seq()
        writer.board.thread_slot()(seq)
        line = line_of(writer.writer, seq, agent_id, text)
        assert writer.open_stream(agent_id, "agents").write(line)
        return f"{writer.writer}-{seq}"

    @rule(agent_id=AGENTS, text=TEXTS, count=st.integers(1, 8))
    def write(self, agent_id, text, count):
        for _ in range(count):
            self.acknowledged[self._write(self.writer, agent_id, text)] = text

    @rule(agent_id=AGENTS)
    def roll(self, agent_id):
        for _ in range(3):
            self.acknowledged[self._write(self.writer, agent_id, "x" * 700)] = "x" * 700

    @rule()
    def end_and_begin_again(self):
        seq = self.writer.next_seq()
        end = Event(
            timestamp=format_timestamp(START_US + seq),
            id=f"{self.writer.writer}-{seq}",
            schema_version=1,
            kind="log.closed",
            session_id="20261120_103045",
            level="DEBUG",
            logger="system",
            message="closed",
            extra={"event_type": "log.closed", "writer": self.writer.writer, "last_seq": seq},
        )
        assert self.writer.open_stream(None, "system").write(RedactedBytes(encode_event(end)))
        self.acknowledged[f"{self.writer.writer}-{seq}"] = ""
        self.writer.close()
        self.closed.add(self.writer.writer)
        self.writer = self._open()

    @rule(agent_id=AGENTS, count=st.integers(0, 6), kill=st.booleans(), torn=st.booleans())
    def fork(self, agent_id, count, kill, torn):
        """A child goes on with the parent's streams; it ends, or is killed, perhaps in the middle of a line."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            # nothing of the test may run on in the child
            try:
                self.writer.after_fork_in_child()
                for _ in range(count):
                    os.write(writing, self._write(self.writer, agent_id, "child").encode() + b"\n")
                os.write(writing, f"writer {self.writer.writer}\n".encode())
                if kill and torn:
                    seq = self.writer.next_seq()
                    self.writer.board.thread_slot()(seq)
                    line = line_of(self.writer.writer, seq, agent_id, "torn")
                    self.writer.open_stream(agent_id, "agents").write(RedactedBytes(line[: len(line) // 2]))
                if kill:
                    os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            lines = told.read().splitlines()
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if kill else 0)
        assert lines and lines[-1].startswith("writer ")
        self.acknowledged.update(dict.fromkeys(lines[:-1], "child"))
        self.killed.add(lines[-1].removeprefix("writer "))

    @rule()
    def read(self):
        reader = TreeReader(self.session)
        events = list(reader.events())
        assert {event.id: event.extra.get("text", "") for event in events} == self.acknowledged
        assert len(events) == len(self.acknowledged)
        keys = [(event.timestamp_us, event.writer, event.seq) for event in events]
        assert keys == sorted(keys)

    @rule()
    def account(self):
        losses = TreeReader(self.session).losses()
        assert (losses.total_lost, losses.total_unknown) == (0, 0)
        assert losses.total_read == len(self.acknowledged)
        for account in losses.writers:
            assert account.closed == (account.writer in self.closed)
            assert account.unacknowledged <= (1 if account.writer in self.killed else 0)

    @rule()
    def follow(self):
        while events := self.follower.poll():
            self.followed.update(event.id for event in events)
        assert self.followed == Counter(self.acknowledged.keys())

    @rule(target=cursors)
    def pause(self):
        """The cursor goes through JSON, as on disk; what was followed until now belongs to it."""
        return json.loads(json.dumps(self.follower.cursor())), frozenset(self.followed)

    @rule(paused=cursors)
    def resume(self, paused):
        cursor, before = paused
        again = Follower(self.session, cursor=copy.deepcopy(cursor))
        seen: Counter[str] = Counter(before)
        while events := again.poll():
            seen.update(event.id for event in events)
        again.close()
        assert seen == Counter(self.acknowledged.keys())

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def truncate_a_copy(self, data):
        with self._copied() as session:
            path = data.draw(st.sampled_from([p for p in record_files(session) if p.stat().st_size]))
            os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))
            self._check_damaged(session)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def delete_a_segment_of_a_copy(self, data):
        with self._copied() as session:
            data.draw(st.sampled_from(record_files(session))).unlink()
            self._check_damaged(session)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), noise=st.binary(min_size=1, max_size=20))
    def overwrite_a_part_of_a_copy(self, data, noise):
        with self._copied() as session:
            path = data.draw(st.sampled_from([p for p in record_files(session) if p.stat().st_size]))
            content = bytearray(path.read_bytes())
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + len(noise)] = noise
            path.write_bytes(content)
            reader = TreeReader(session)
            read = [event.id for event in reader.events()]
            assert len(read) == len(set(read))
            assert len(set(self.acknowledged) - set(read)) <= 2
            assert reader.losses().total_read == len(read)

    def _copied(self):
        return _Copy(self.session)

    def _check_damaged(self, session):
        """Whatever was taken away: what is left is read, once, and what is missing is told."""
        left = plain_ids(session)
        whole = set(left)
        reader = TreeReader(session)
        read = Counter(event.id for event in reader.events())
        assert set(read.values()) <= {1}
        # a line that only lost its newline is read, though it is no line for plain tools
        assert whole <= set(read) <= set(self.acknowledged)
        losses = reader.losses()
        assert losses.total_read == len(read)
        missing = {i for i in self.acknowledged if i not in read}
        told = {
            f"{account.writer}-{seq}"
            for account in losses.writers
            for gap in account.gaps
            for seq in range(gap.first_seq, gap.last_seq + 1)
        }
        # the last numbers of a writer without board and end are known to nobody
        for identity in missing - told:
            writer, _, seq = identity.rpartition("-")
            last = {account.writer: account.last_seq for account in losses.writers}.get(writer, 0)
            assert int(seq) > last
            assert writer in self.closed
        follower = Follower(session)
        seen = Counter()
        while events := follower.poll():
            seen.update(event.id for event in events)
        follower.close()
        assert seen == Counter(whole)

    @invariant()
    def nothing_acknowledged_is_missing(self):
        assert plain_ids(self.session) == Counter(self.acknowledged.keys())

    def teardown(self):
        self.follow()
        self.read()
        self.account()
        self.follower.close()
        self.writer.close(clean=False)
        shutil.rmtree(self.directory)


class _Copy:
    def __init__(self, session: Path) -> None:
        self._place = Path(tempfile.mkdtemp())
        self.session = self._place / session.name
        shutil.copytree(session, self.session)

    def __enter__(self) -> Path:
        return self.session

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)


TestTree = Tree.TestCase
TestTree.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


class LongTree(Tree):
    """The same at length."""


TestLongTree = pytest.mark.slow(LongTree.TestCase)
LongTree.TestCase.settings = settings(
    max_examples=600, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)

# Fuzzing: bytes that begin as real lines.

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
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
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
@settings(max_examples=200)
def test_the_codec_answers_any_bytes_at_all(data):
    try:
        decode_line(data)
    except DamagedLine:
        return


@given(pair=mutated())
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
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


@given(data=st.lists(mutated(), min_size=1, max_size=12), seed=st.randoms(use_true_random=False))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
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
