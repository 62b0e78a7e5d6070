"""Turn a prepared event into its line: number, time, bytes, session file, mirrors; one pipeline per session.

A logger or decorator checks the level and calls `Pipeline.emit`. `capture.py` makes the payload bytes,
`context.py` the context. The line goes to a `Sink`, such as `tree/write/writer.py`; `config/recording.py`
chooses the sink. `record_session` makes the pipeline of a session's files, `record_lines` one whose lines are
not written to a tree, as in replays.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from Agent.event.clock import Clock
from Agent.event.codec import CURRENT_SCHEMA, LINE_PREFIX
from Agent.event.kinds import Category
from Agent.event.model import RedactedBytes
from Agent.event.payloads import KINDS
from Agent.event.system_clock import SystemClock
from Agent.event.values.plain import read_json, write_json
from Agent.event.values.reading import DEFAULT_LIMITS, Limits
from Agent.record.emit.context import Reads, SpanScope, current_scope
from Agent.record.emit.lines import DurableErrors, EventBuffer, Stamps, ThreadStamps
from Agent.record.encode.capture import Capture, Types
from Agent.record.encode.event_template import AgentBinding, EmitPlain, HeadRoom, Slot
from Agent.record.encode.large_contents import LargeContents, ProgramContents
from Agent.record.encode.native import native
from Agent.record.encode.redaction import Levels, Redactor
from Agent.record.encode.safe_text import as_text, printable
from Agent.record.health import Health
from Agent.record.state.agents import Agents, agent_id_of
from Agent.record.state.class_fields import ClassFields
from Agent.record.state.introspection import instance_dict
from Agent.tree.write import writer
from Agent.tree.write.event_counts import MOST_ERRORS, EventCounts, shown_error
from Agent.tree.write.mirror import CLASSES_MIRRORED_BY
from Agent.tree.write.sink import NoRoom, Sink
from Agent.tree.write.writer import CLASSES_WRITTEN_BY

if TYPE_CHECKING:
    from Agent.record.emit.context import RunWatcher
    from Agent.record.state.tracker import Known
    from Agent.tree.write.artifacts import ArtifactFiles
    from Agent.tree.write.crash_board import Board
    from Agent.tree.write.sink import Sink
    from Agent.tree.write.writer import SessionWriter


_NO_PAYLOAD: Mapping[str, Any] = {}
_REPORT_AGAIN_NS = 1_000_000_000
_MANY_TAGS = 64  # fewer tags need less memory to write than the line itself


Put = Callable[[Slot, bytes, bytes, bytes, bytes], str]


class Lane(Protocol):
    """The fast path in C, which writes events with plain payloads and nothing to redact directly to files."""

    put: Put
    emit_plain: EmitPlain

    def hold(self, function: Put | None, /) -> None:
        """Pass the lines of calls to this function instead of `put`; None restores `put`."""

    def tell_outside(
        self, known: Known, obj: object, only: frozenset[str], are_written: bool, is_ahead: bool, /
    ) -> bool:
        """Do the work of `emit_outside` if only scalars were written; return whether that was all."""

    def emit_state(
        self,
        slot: Slot,
        label: str,
        fields: bytes,
        types: Types | None,
        said: dict[str, Any],
        more: list[tuple[bytes, bytes, Types | None]],
        /,
    ) -> bool:
        """Write a `state` event; False if `emit` has to.

        Args:
            fields: their JSON without braces.
            types: the tags of the whole event.
            said: further payload.
            more: further mappings, each with its key, its JSON without braces, and its tags.
        """


def _leveled(levels: Levels, put: Put) -> Put:
    """Wrap `put` so that each line is first reduced to its capture level."""

    def put_leveled(slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        return put(slot, levels.line(slot, b"".join((head, links, extra, rest))), b"", b"", b"")

    return put_leveled


class MirrorSink(Protocol):
    """Takes copies of lines, by category."""

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """Return the function that takes copies of a category's lines, or None if it has no mirror."""

    def flush(self) -> None:
        """Write the pending lines."""

    def close(self) -> None:
        """Write the pending lines and stop."""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """The options of recording; `config/options.py` builds them from the user's settings."""

    limits: Limits = DEFAULT_LIMITS
    buffer_entries: int = 100
    buffer_seconds: float = 5.0
    state_period: int = 256
    """The number of root actions of an agent between two full states."""
    strict_state: bool = False
    """Compare the state at the start of each action too, and record writes from outside of actions."""
    entry_looks: int = 8
    """The number of first actions of an agent that start with a check for writes from outside of actions.

    After one is found, all later actions start with it. 0 turns the check off."""
    probes: int = 3
    """The number of first actions after which large objects are checked for changes by other code."""
    sync_errors: bool = True
    """Sync errors to disk, unless the sink syncs every line."""
    reads_large: bool = False
    """Read arguments with much content in every call."""
    gone_states: bool = True
    """Write the last state of agents that were freed before recording ends."""
    follows_states: bool = False
    """Write full states of agents with large fields only where a recording has them (a replay)."""


class Turns:
    """Numbers the starts and ends of async calls of this process, and the states between them, in order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.is_used = False
        """Whether an async call has been numbered."""

    def next(self) -> int:
        """Return the next number."""
        self.is_used = True
        return next(self._numbers)


class PipelineSlots:
    """The attributes of a pipeline that are read in C at each call."""

    __slots__ = ("_next_span", "board", "codes_written", "lane", "watcher")


class Pipeline(PipelineSlots):
    """Writes events to sinks; never raises into the recorded program.

    Args:
        sink: the session's files, for events with ordinary durability.
        session_id: part of every event.
        redactor: redacts every value.
        mirrors: copies by category; None for none.
        board: the table of open spans and last numbers; None for none.
        open_buffered: creates the sink for buffered events on first use; None: they use `sink`.
        artifacts: the files of the artifacts of runs; None stores none.
    """

    program_state: Any = None
    """What the methods of agents reach in the program, made when the first agent acts."""
    program_payload: Mapping[str, Any] = MappingProxyType({})
    """What of it changed, at the end of recording."""

    def __init__(
        self,
        sink: Sink,
        *,
        session_id: str,
        redactor: Redactor,
        options: RecordOptions | None = None,
        mirrors: MirrorSink | None = None,
        board: Board | None = None,
        open_buffered: Callable[[], Sink] | None = None,
        clock: Clock | None = None,
        artifacts: ArtifactFiles | None = None,
    ) -> None:
        self.sink = sink
        self.artifacts = artifacts
        self.session_id = session_id
        self.redactor = redactor
        self.options = options or RecordOptions()
        self.mirrors = mirrors
        # Cached, so that all agents of a category share one function.
        self.mirror_of = None if mirrors is None else cache(mirrors.adder)
        self._use_board(board)
        self.health = Health(redactor.text)
        self.clock: Clock = clock or SystemClock()
        self.wall_ns, self.monotonic_ns = self.clock.wall_ns, self.clock.monotonic_ns
        self.capture = Capture(redactor, self.options.limits, agent_id_of)
        self.program_contents = ProgramContents(reads_always=self.options.reads_large)
        self.large_states = LargeContents(reads_always=self.options.reads_large, are_first_free=False)
        self.agents = Agents(
            self.binding,
            self.capture.judge,
            self.capture.reading.hides,
            is_keeping=self.options.gone_states,
            is_probing=self.options.entry_looks > 0,
        )
        self.class_fields = ClassFields(self.capture, reads_always=self.options.reads_large)
        self.stamps = Stamps(sink, self.clock, board)
        self.buffer = self._make_buffer(open_buffered)
        self.codes_written: set[object] = set()
        """The code objects whose `code` event this process has written."""
        self.turns = Turns()
        self.modules_written: set[str] = set()
        """The loaded modules of the program that are listed in a `code` event."""
        self.durable_errors = DurableErrors(self.monotonic_ns) if self.options.sync_errors else None
        self.closed = False
        self.is_gone = False
        """Whether its files were removed during recording."""
        self.at_close: list[Callable[[], None]] = []
        """Functions of other packages that are called when the session ends."""
        self.watcher: RunWatcher | None = None
        """Called at the end of actions and ticks and at phases, if a run uses checkpoints."""
        self._next_report_ns = 0
        self.room = HeadRoom()
        self._counts = EventCounts()
        self._bindings: dict[tuple[str | None, str | None, str, str], AgentBinding] = {}
        self._envelope = b'","schema_version":%d,"session_id":%s,' % (
            CURRENT_SCHEMA,
            orjson.dumps(session_id),
        )
        self._error_mirror = mirrors.adder(Category.ERRORS.value) if mirrors is not None else None
        self._next_span: Callable[[], int]
        self._begin_span_ids()
        self._levels = redactor.levels if redactor.levels and redactor.levels.reads_lines else None
        self.lane: Lane | None = None
        """The fast path in C for traced calls and loggers; None if they use Python."""
        self.put: Put = self._put
        self.emit_plain: EmitPlain = self.emit
        """`emit` with a slot, a label and a payload only; the fast path, if there is one, replaces it."""
        if self._levels is not None:
            self.put = _leveled(self._levels, self._put)
        elif native is not None and type(self.capture.judge) is native.Judge:
            self.lane = lane = self._native_lane()
            self.put, self.emit_plain = lane.put, lane.emit_plain

    def large_contents(self, function: object, *, of_results: bool = False) -> LargeContents:
        """Return the account of a traced function's large arguments, or of its large results."""
        return self.program_contents.of(function, of_results=of_results)

    def _native_lane(self) -> Lane:
        lane: Lane = native.Lane(  # type: ignore[union-attr]
            judge=self.capture.judge,
            state_period=self.options.state_period,
            entry_looks=self.options.entry_looks,
            strict_state=self.options.strict_state,
            probes=self.options.probes,
            sink=self.sink,
            wall_ns=self.wall_ns,
            monotonic_ns=self.monotonic_ns,
            stamps=self.stamps,
            threads=self.stamps.threads,
            begin_second=self.stamps.begin_second,
            health=self.health,
            # the Python functions to which it passes special cases
            emit=self.emit,
            read=self._read,
            report_drops=self._report_drops,
            no_room=self._no_room,
            scope=current_scope,
            room_error=NoRoom,
            write_globals=vars(writer),
            pipeline=self,
            plain_read=instance_dict,
            **self.agents.looked_at(),
        )
        return lane

    def _make_buffer(self, open_sink: Callable[[], Sink] | None) -> EventBuffer | None:
        if open_sink is None:
            return None

        def open_and_announce() -> Sink:
            sink = open_sink()
            self.announce(sink, "buffered")
            return sink

        entries, seconds = self.options.buffer_entries, self.options.buffer_seconds
        return EventBuffer(
            open_and_announce,
            self.stamps,
            self.health,
            self.clock,
            entries=entries,
            seconds=seconds,
            read=self._count_held,
        )

    def _count_held(self, slot: Slot, line: bytes) -> None:
        slot.written[0] += 1
        if slot.is_read:
            self.count(slot, line)

    def binding(
        self, agent_id: str | None, agent_role: str | None, logger: str, category: str = Category.AGENTS.value
    ) -> AgentBinding:
        """Return the prepared bytes of an agent, or of a category if `agent_id` is None."""
        key = (agent_id, agent_role, logger, category)
        binding = self._bindings.get(key)
        if binding is None:
            clean = self.redactor.text
            given_id, agent_role = (
                None if name is None else printable(name) for name in (agent_id, agent_role)
            )
            agent_id = None if given_id is None else clean(given_id)
            binding = self._bindings[key] = AgentBinding(
                agent_id=agent_id,
                agent_role=None if agent_role is None else clean(agent_role),
                logger=clean(printable(logger)),
                category=category,
                stream=self.sink.open_stream(agent_id, category),
                envelope=self._envelope,
                redactor=self.redactor,
                emit_plain=self.emit_plain,
                mirror_of=self.mirror_of,
                room=self.room,
            )
            binding.given_id = given_id
        return binding

    def next_span_id(self) -> str:
        """Return a span id, 16 hexadecimal digits, unique in the session."""
        return self._next_span().to_bytes(8).hex()

    def continue_span_ids(self, before: Pipeline) -> None:
        """Number spans and messages on from `before`, whose ids the agents' messages still contain."""
        self._next_span = before._next_span

    def emit(
        self,
        slot: Slot,
        label: str,
        payload: Mapping[str, Any] = _NO_PAYLOAD,
        *,
        causes: tuple[str, ...] = (),
        span_id: str | None = None,
        body: bytes | None = None,
        types: Types | None = None,
        tail: bytes = b"",
        buffered: bool = False,
    ) -> str:
        """Write one event and return its id; "" if it could not be made or written.

        Args:
            slot: kind, level and view.
            label: the message, or the part after its fixed beginning; line heads are cached by it.
            payload: values of the kind's own keys.
            causes: ids of events that led to this one, in addition to those of the scope.
            span_id: its own span, if the event is one.
            body: inner JSON bytes instead of `payload`, already redacted, with their `types`.
            tail: `,"code":...,"state":...`, already encoded.
            buffered: whether the event may wait in memory.
        """
        try:
            if type(label) is not str:
                # A label that is not text, such as an `action_type`, becomes text in the payload too.
                text = as_text(label)
                payload = {key: text if value is label else value for key, value in payload.items()}
                label = text
            if body is None:
                body, types = self.capture.body(payload)
            scope = current_scope.get()
            if scope is not None and scope.secrets:
                # These values were arguments with secret names of an enclosing call; here the name may
                # differ.
                label = self.redactor.text_without(scope.secrets, label)
                body, types = self.redactor.without(scope.secrets, body, types, "/extra")
            head = slot.heads.get(label) or slot.head(label)
            if scope is None:
                links = b"" if not causes else b',"causes":' + orjson.dumps(causes)
            else:
                if scope.fields:
                    body, types = self._with_fields(slot, scope.fields, body, types)
                links = scope.links if scope.links is not None and not causes else scope.link_bytes(causes)
            if span_id is not None:
                links = b',"span_id":"%s"%s' % (span_id.encode(), links)
            if types:
                tail = b'%s,"types":%s' % (
                    tail,
                    orjson.dumps(types) if len(types) < _MANY_TAGS else write_json(types),
                )
            extra = slot.extra if body else slot.extra_alone
            if buffered and self.buffer is not None:
                held = b"".join((head, links, extra, body, b"}", tail))
                if self._levels is not None:
                    # `line` takes whole lines; the buffer adds the end when it adds the number.
                    held = self._levels.line(slot, held + b"}\n")[:-2]
                return self.buffer.add(slot, held)
            return self.put(slot, head, links, extra, b"".join((body, b"}", tail, b"}\n")))
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self.health.drop("the event could not be made")
            self.health.trouble("emit", error)
            return ""

    def _put(self, slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        """Number, stamp and write one line; `rest` follows the `extra` common to the slot's events."""
        stamps, health = self.stamps, self.health
        now_us = stamps.now_us()
        if now_us >= stamps.look_at_us and not stamps.look(now_us):
            health.drop("the session's directory was removed")
            return ""
        try:
            line, identity = stamps.line(self.sink, head, links, extra, rest, now_us=now_us)
        except NoRoom as full:
            return self._no_room(full, slot, head, links, extra, rest)
        if not slot.binding.stream.write(line):
            health.drop("the file system refused the write")
            return ""
        self._count_written(slot, line)
        if health.unreported:
            self._report_drops()
        return identity

    def _count_written(self, slot: Slot, line: bytes) -> None:
        self.health.events += 1
        slot.written[0] += 1
        if slot.mirror is not None:
            slot.mirror(line)
        if slot.is_read:
            self._read(slot, line)

    def _read(self, slot: Slot, line: bytes) -> None:
        """Count what depends on the line, not on the slot alone; after an error, also flush and sync."""
        self.count(slot, line)
        if slot.urgent:
            self._after_error(slot, line)

    def count(self, slot: Slot, line: bytes) -> None:
        """Count an event from its line: the agent in its payload, the type of its error."""
        is_error = slot.kind == "error"
        if not is_error and b'"agent_id":' not in line:
            return
        event = read_json(line)
        extra = event.get("extra", event)
        agent_id = extra.get("agent_id")
        if slot.binding.agent_id is None and isinstance(agent_id, str):
            # It was counted for the category: move it to the agent in the payload.
            slot.written[0] -= 1
            slot.shared.cells.setdefault(agent_id, [0])[0] += 1
        if is_error:
            self._counts.error_types[str(extra.get("error_type", "unknown"))] += 1
            if len(self._counts.errors) < MOST_ERRORS:
                self._counts.errors.append(shown_error(event["timestamp"], event["id"], extra))

    def counts(self) -> EventCounts:
        """Return the counts of writers that closed without losses; call it after `close`."""
        return self._counts

    def _after_error(self, slot: Slot, line: bytes) -> None:
        """Copy an error to the mirror of errors, write buffered lines, and sync."""
        if slot.category != "errors" and self._error_mirror is not None:
            self._error_mirror(line)
        if self.buffer is not None:
            self.buffer.flush()
        self.sink.flush()
        if self.durable_errors is not None:
            self.durable_errors.ask(slot.binding.stream)

    def _no_room(self, full: NoRoom, slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        """Drop an event for which the sink has no room; errors are accepted anyway."""
        if slot.urgent:
            # An error may exceed the limit: its call waits until the queue is written anyway.
            parts = head, links, extra, rest
            now_us = self.stamps.now_us()
            line, identity = self.stamps.line(self.sink, *parts, now_us=now_us, seq=full.next_seq())
            slot.binding.stream.write(line)
            self._count_written(slot, line)
            return identity
        if slot.kind != "log.dropped":  # a dropped report is not a loss: the next report has its counts
            self.health.drop(full.reason)
        return ""

    def announce(self, sink: Sink, durability: str) -> None:
        """Write `log.opened` for a writer."""
        slot = self.binding(None, None, "system", Category.SYSTEM.value).slot("log.opened", 10)
        payload = {"writer": sink.writer, "pid": os.getpid(), "durability": durability}
        self._write_apart(sink, slot, payload, None)

    def close(self) -> None:
        """Write `log.closed` for each writer; no event follows."""
        if self.closed:
            return
        self.closed = True
        for leave in self.at_close:
            leave()
        self.flush()
        self.health.settle()
        if self.health.unreported:
            self._report_drops()
        slot = self.binding(None, None, "system", Category.SYSTEM.value).slot("log.closed", 10)
        sinks = [self.sink]
        if self.buffer is not None and self.buffer.sink is not None:
            sinks.append(self.buffer.sink)
        last_seqs: dict[str, int] = {}
        for sink in sinks:
            head: Callable[[], str | None] | None = getattr(sink, "head", None)
            chained = {} if head is None else {"head": head()}
            seq = sink.next_seq()
            counters = {**self.health.dropped, **self.health.notes}
            payload: dict[str, Any] = {
                "writer": sink.writer,
                "last_seq": seq,
                "counters": counters,
                **chained,
            }
            if self.program_payload and sink is self.sink:
                payload["program"] = self.program_payload
            if self._write_apart(sink, slot, payload, seq):
                last_seqs[sink.writer] = seq
        self.health.late = 0
        for sink in sinks:
            # If `log.closed` could not be written, the board is kept: losses are computed from it.
            sink.close(clean=sink.writer in last_seqs)
        self._settle_counts(last_seqs, len(sinks))
        if self.mirrors is not None:
            self.mirrors.close()

    def _settle_counts(self, last_seqs: dict[str, int], sinks: int) -> None:
        """Keep the counts if they cover every number that was taken."""
        counts = self._counts
        counts.rows.update(
            {
                (*key, agent_id): cell[0]
                for key, cells in self.room.written.copy().items()
                for agent_id, cell in cells.copy().items()
                if cell[0]
            }
        )
        if len(last_seqs) == sinks and sum(last_seqs.values()) == counts.rows.total():
            counts.writers = last_seqs

    def _write_apart(self, sink: Sink, slot: Slot, payload: dict[str, Any], seq: int | None) -> bool:
        """Write an event about a writer to that writer, outside any scope; return whether that worked."""
        body, _ = self.capture.body(payload)
        parts = slot.head(KINDS[slot.kind].message), slot.extra, body, b"}}\n"
        line, _ = self.stamps.line(sink, *parts, now_us=self.stamps.now_us(), seq=seq)
        written = sink.open_stream(None, Category.SYSTEM.value).write(line)
        if not written:
            self.health.drop("the file system refused the write")
            return False
        slot.written[0] += 1
        timestamp = line[len(LINE_PREFIX) : len(LINE_PREFIX) + 27].decode()
        self._counts.first, self._counts.last = self._counts.first or timestamp, timestamp
        return True

    def flush(self) -> None:
        """Write everything that is buffered to the files."""
        if self.buffer is not None:
            self.buffer.flush()
        if self.durable_errors is not None:
            self.durable_errors.finish()
        self.sink.flush()
        if self.mirrors is not None:
            self.mirrors.flush()

    def _use_board(self, board: Board | None) -> None:
        self.board = board
        if board is not None:
            board.clean = self.redactor.text

    def after_fork_in_child(self, board: Board | None) -> None:
        """Continue as a separate process with its own board; buffered lines belong to the parent."""
        self._use_board(board)
        self.stamps.after_fork_in_child(board)
        self._begin_span_ids()
        # The parent reports its own losses, and its files hold the states of its agents.
        self.health.forget()
        self.agents.forget_states()
        self._counts = EventCounts()
        for cells in self.room.written.values():
            for cell in cells.values():
                cell[0] = 0
        self.codes_written.clear()
        self.modules_written.clear()
        self.turns = Turns()
        if self.buffer is not None:
            self.buffer.forget()
        if self.durable_errors is not None:
            self.durable_errors.forget()

    def _begin_span_ids(self) -> None:
        # Four random bytes, then a counter: unique among processes without a system call for each span.
        self._next_span = itertools.count((int.from_bytes(os.urandom(4)) << 32) + 1).__next__

    def _with_fields(
        self, slot: Slot, fields: Mapping[str, Any], body: bytes, types: Types | None
    ) -> tuple[bytes, Types | None]:
        """Return the payload with the fields of the enclosing contexts; inner and own keys win."""
        present = read_json(b"{" + body + b"}")
        added: dict[str, Any] = {}
        for key, value in fields.items():
            if key in slot.own_keys:
                self.health.note("a context field had the name of one of our keys and moved to user.<key>")
                key = f"user.{key}"  # noqa: PLW2901 - the new name replaces the old one
            if key not in present:
                added[key] = value
        return self.capture.joined((body, types), self.capture.user_body(added, "/extra"))

    def _report_drops(self) -> None:
        """Write `log.dropped` now that writing works again.

        Some files may accept lines while the file of this report does not. Then it is tried again later,
        because each failed attempt is one more lost event.
        """
        if self.health.late is not None:
            return  # a queue might accept the report and drop it later, which would cause another report
        now_ns = self.monotonic_ns()
        if now_ns < self._next_report_ns and not self.closed:
            return
        self._next_report_ns = now_ns + _REPORT_AGAIN_NS
        unreported = self.health.unreported
        self.health.unreported = type(unreported)()
        slot = self.binding(None, None, "system", Category.SYSTEM.value).slot("log.dropped", 30)
        for reason, count in unreported.items():
            payload = {"count": count, "reason": reason}
            subject = "1 event was" if count == 1 else f"{count} events were"
            if not self.emit(slot, f"{subject} not written: {reason}", payload):
                self.health.unreported[reason] += count
        # A queued line may still be dropped, so with a queue the next report is not sent early.
        if not self.health.unreported and not getattr(self.sink, "defers", False):
            self._next_report_ns = 0


if native is not None:
    own = (AgentBinding, Health, PipelineSlots, Reads, Slot, SpanScope, Stamps, ThreadStamps)
    native.learn({each.__name__: each for each in (*own, *CLASSES_WRITTEN_BY, *CLASSES_MIRRORED_BY)})


SESSION = "session_"


class LineSink:
    """Takes the lines of one pipeline; `lines` holds those since the last `clear()`.

    Args:
        writer: the id of its writer.
    """

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.lines: list[bytes] = []
        self.next_seq = itertools.count(1).__next__

    def open_stream(self, agent_id: str | None, category: str) -> LineSink:  # noqa: ARG002 - one for all
        """Return this sink, which is its only stream."""
        return self

    def write(self, line: RedactedBytes) -> bool:
        """Append a line to `lines`."""
        self.lines.append(line)
        return True

    def clear(self) -> None:
        """Remove all lines."""
        self.lines.clear()

    def flush(self) -> None:
        """Do nothing: no line is buffered."""

    def close(self, *, clean: bool = True) -> None:
        """Do nothing: no file is open."""


class UnkeptLines(LineSink):
    """Passes each line to a function and stores none.

    Args:
        writer: the name of its writer; it must be a valid writer id if the lines are decoded.
        hear: called with each line.
    """

    def __init__(self, writer: str, hear: Callable[[bytes], None] = lambda _line: None) -> None:
        super().__init__(writer)
        self._hear = hear

    def write(self, line: RedactedBytes) -> bool:
        """Pass a line to `hear`."""
        self._hear(line)
        return True


def options_of_replay(
    state: object, *, gone_states: bool = False, follows_states: bool = False
) -> RecordOptions:
    """Return the options of a replay, without checks for writes from outside: the recording has these.

    Args:
        state: the session's setting, `strict` or `exit`.
        gone_states: write the last state of agents that were freed.
        follows_states: see `RecordOptions`.
    """
    return RecordOptions(
        strict_state=state == "strict",
        entry_looks=0,
        probes=0,
        reads_large=True,
        gone_states=gone_states,
        follows_states=follows_states,
    )


def record_session(
    session: Path,
    writer: SessionWriter,
    redactor: Redactor,
    options: RecordOptions,
    *,
    sink: Sink | None = None,
    mirrors: MirrorSink | None = None,
    open_buffered: Callable[[], Sink] | None = None,
) -> Pipeline:
    """Make the pipeline of a session's directory, with its files, board and artifacts.

    Args:
        writer: the writer of the session's files.
        sink: a sink that wraps the writer; default: the writer itself.
        mirrors: see `Pipeline`; so is `open_buffered`.
    """
    from Agent.tree.write.artifacts import ArtifactFiles

    return Pipeline(
        writer if sink is None else sink,
        session_id=session.name.removeprefix(SESSION),
        redactor=redactor,
        options=options,
        mirrors=mirrors,
        board=writer.board,
        open_buffered=open_buffered,
        artifacts=ArtifactFiles(session, sync=writer.durability == "disk"),
    )


def record_lines(
    sink: Sink,
    session_id: str,
    *,
    redact: bool = True,
    key: bytes | None = None,
    options: RecordOptions | None = None,
    clock: Clock | None = None,
) -> Pipeline:
    """Make a pipeline whose lines are not written to a tree.

    Args:
        sink: takes the lines.
        session_id: part of every event.
        key: the key of the tokens that replace secrets; None: a random key.
    """
    redactor = Redactor(os.urandom(32) if key is None else key, enabled=redact)
    return Pipeline(sink, session_id=session_id, redactor=redactor, options=options, clock=clock)
