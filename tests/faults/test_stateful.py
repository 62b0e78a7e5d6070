"""Any order of writing, rolling, queueing, retiring, forking, damaging, reading, following, killing and recovering,
against a model.

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
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from session_kit import START_US, Copied, ids_in, line_of, plain_ids
from support.session_files import record_files

from Agent.archive.recover import recover_session
from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.model import Event, RedactedBytes
from Agent.tree.layout import create_session_dir
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import read_account
from Agent.tree.retention import Retention
from Agent.tree.write.queued import QueuedSink
from Agent.tree.write.writer import SessionWriter

AGENTS = st.sampled_from(["creator_001", "a/b", "../x", ""])
TEXTS = st.text(max_size=300)
PARTS = st.integers(0, 9999)


def part_of(things, part):
    """One of some things, by a part in ten thousand of the way through them."""
    return things[len(things) * part // 10_000]


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
        self.retired: set[str] = set()
        self.queued_and_gone: dict[str, int] = {}
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

    @rule(agent_ids=st.lists(AGENTS, max_size=30), size=st.integers(1, 8), kill=st.booleans())
    def queue(self, agent_ids, size, kill):
        """A writer whose lines wait in memory; it ends, or is killed with the queue full or not."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.writer.after_fork_in_child()
                sink = SessionWriter(
                    self.session, durability="queued", segment_size_bytes=1500, max_open_files=2
                )
                queue = QueuedSink(sink, size=size, gather_s=0.001)
                store = sink.board.thread_slot()
                os.write(writing, f"writer {sink.writer}\n".encode())
                for agent_id in agent_ids:
                    seq = queue.next_seq()
                    store(seq)
                    assert queue.open_stream(agent_id, "agents").write(
                        line_of(sink.writer, seq, agent_id, "queued")
                    )
                    os.write(writing, f"{sink.writer}-{seq}\n".encode())
                if kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                queue.close(clean=False)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            writer, *ids = told.read().splitlines()
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if kill else 0)
        there = plain_ids(self.session)
        written = [identity for identity in ids if identity in there]
        # in order: what the kill met in memory are the last ones, and no more than may wait
        assert written == ids[: len(written)]
        assert len(ids) - len(written) <= (size if kill else 0)
        self.acknowledged.update(dict.fromkeys(written, "queued"))
        self.queued_and_gone[writer.removeprefix("writer ")] = len(ids) - len(written)

    @rule(max_session_bytes=st.sampled_from([1000, 4000, 20_000]))
    def retire(self, max_session_bytes):
        """What goes are whole rolled segments, said before; nothing else changes."""
        live = Counter()
        for path in record_files(self.session):
            if not path.name.removesuffix(".log").rpartition(".")[2].isdigit():
                live.update(ids_in(path))
        before = plain_ids(self.session)
        Retention(self.session, max_session_bytes).run()
        after = plain_ids(self.session)
        assert after <= before and live <= after
        self.retired |= set(before - after)
        numbers = read_account(self.session).numbers
        assert self.retired == {
            f"{writer}-{seq}"
            for writer, gone in numbers.items()
            for first, last in gone.ranges()
            for seq in range(first, last + 1)
        }

    @rule()
    def recover_a_copy(self):
        """As if everybody had been killed: nothing that can be read changes, and a second time nothing at all."""
        with self._copied() as session:
            for path in (session / ".state" / "writers").iterdir():
                claim = json.loads(path.read_bytes())
                path.write_text(json.dumps({**claim, "process_start_ticks": 1}))
            before = plain_ids(session)
            recover_session(session)
            assert plain_ids(session) == before
            assert all(path.read_bytes()[-1:] in {b"", b"\n"} for path in record_files(session))
            losses = TreeReader(session).losses()
            assert losses.clean and losses.total_read == len(before)
            assert losses.total_retired == len(self.retired)
            assert not recover_session(session).changed

    @rule()
    def read(self):
        reader = TreeReader(self.session)
        events = list(reader.events())
        texts = {event.id: event.extra.get("text", "") for event in events}
        assert texts == {identity: self.acknowledged[identity] for identity in self._there()}
        assert len(events) == len(texts)
        keys = [(event.timestamp_us, event.writer, event.seq) for event in events]
        assert keys == sorted(keys)

    @rule()
    def account(self):
        losses = TreeReader(self.session).losses()
        assert (losses.total_lost, losses.total_unknown) == (0, 0)
        assert losses.total_read == len(self._there())
        assert losses.total_retired == len(self.retired)
        for account in losses.writers:
            assert account.closed == (account.writer in self.closed)
            if account.writer in self.queued_and_gone:
                assert account.unacknowledged == self.queued_and_gone[account.writer]
            else:
                assert account.unacknowledged <= (1 if account.writer in self.killed else 0)

    @rule()
    def follow(self):
        while events := self.follower.poll():
            self.followed.update(event.id for event in events)
        self._check_followed(self.followed)

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
        self._check_followed(seen)

    # Which file and where is drawn without a look at the files: how far a queue had come differs between runs.

    @rule(which=PARTS, at=PARTS)
    def truncate_a_copy(self, which, at):
        with self._copied() as session:
            if files := self._files_of(session):
                path = part_of(files, which)
                os.truncate(path, part_of(range(path.stat().st_size), at))
                self._check_damaged(session)

    @rule(which=PARTS)
    def delete_a_segment_of_a_copy(self, which):
        with self._copied() as session:
            if files := self._files_of(session):
                part_of(files, which).unlink()
                self._check_damaged(session)

    @rule(which=PARTS, at=PARTS, noise=st.binary(min_size=1, max_size=20))
    def overwrite_a_part_of_a_copy(self, which, at, noise):
        with self._copied() as session:
            if files := self._files_of(session):
                path = part_of(files, which)
                content = bytearray(path.read_bytes())
                begin = part_of(range(len(content)), at)
                content[begin : begin + len(noise)] = noise
                path.write_bytes(content)
                reader = TreeReader(session)
                read = [event.id for event in reader.events()]
                assert len(read) == len(set(read))
                assert len(self._there() - set(read)) <= 2
                assert reader.losses().total_read == len(read)

    def _files_of(self, session):
        return [path for path in record_files(session) if path.stat().st_size]

    def _copied(self):
        return Copied(self.session)

    def _there(self) -> set[str]:
        return set(self.acknowledged) - self.retired

    def _check_followed(self, seen: Counter[str]) -> None:
        """Everything once; what was retired before somebody came to it he does not get."""
        assert set(seen.values()) <= {1}
        assert self._there() <= set(seen) <= set(self.acknowledged)

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
        assert plain_ids(self.session) == Counter(self._there())

    def teardown(self):
        self.follow()
        self.read()
        self.account()
        self.follower.close()
        self.writer.close(clean=False)
        shutil.rmtree(self.directory)


TestTree = pytest.mark.integration(Tree.TestCase)
TestTree.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


class LongTree(Tree):
    """The same at length."""


TestLongTree = pytest.mark.slow(LongTree.TestCase)
LongTree.TestCase.settings = settings(
    max_examples=600, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
