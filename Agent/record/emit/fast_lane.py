"""The path of nearly every event: a plain, clean payload, straight into its file.

It does the work of `Pipeline.emit` in one function, and hands over to it at the first special case. It is a
closure because each look-up through `self` would cost as much as the work itself; a test keeps the lines of
both paths equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from Agent.event.clock import Clock
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.timestamps import Stamps, ThreadStamps, stamped
from Agent.record.encode.capture import Capture
from Agent.record.encode.event_template import AgentBinding, EmitPlain, Slot
from Agent.record.encode.native import native
from Agent.record.health import Health
from Agent.record.state.introspection import instance_dict
from Agent.tree.write import writer
from Agent.tree.write.sink import NoRoom, Sink

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline

Put = Callable[[Slot, bytes, bytes, bytes, bytes], str]


class Detours(NamedTuple):
    """Where the fast lane sends special cases."""

    emit: EmitPlain
    """`Pipeline.emit`, for whatever is not plain and clean."""
    read: Callable[[Slot, bytes], None]
    """What else an error, or an event of no single agent, sets off once its line is written."""
    report_drops: Callable[[], None]
    """Writes `log.dropped` when writing works again."""
    no_room: Callable[[NoRoom, Slot, bytes, bytes, bytes, bytes], str]
    """What becomes of an event that a full queue gives no number."""


def make_fast_lane(
    sink: Sink, clock: Clock, stamps: Stamps, capture: Capture, health: Health, detours: Detours
) -> tuple[Put, EmitPlain]:
    """Return `put(slot, head, links, extra, rest)` and `emit_plain(slot, label, payload)`."""
    wall_ns, threads, begin_second = clock.wall_ns, stamps.threads, stamps.begin_second
    line_end, get_scope = capture.judge.line_end, current_scope.get
    emit, read, report_drops, no_room = detours

    def put(slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        """Number, stamp and write one line; `rest` follows what all events of the slot have in `extra`."""
        now_us = wall_ns() // 1000
        thread = threads.own
        if now_us < thread.last_us:
            now_us = thread.last_us
        thread.last_us = now_us
        if now_us >= stamps.look_at_us and not stamps.look(now_us):
            health.drop("the session's directory was removed")
            return ""
        fraction = now_us % 1_000_000
        second, prefix = stamps.second
        if second != now_us - fraction:
            prefix = begin_second(now_us - fraction)
        if thread.generation != stamps.generation:
            stamps.join_board(thread)
        try:
            seq = sink.next_seq()
        except NoRoom as full:
            return no_room(full, slot, head, links, extra, rest)
        thread.store(seq)
        line, identity = stamped(prefix, fraction, sink.writer, seq, head, links, extra, rest)
        if not slot.binding.stream.write(line):
            health.drop("the file system refused the write")
            return ""
        health.events += 1
        slot.written[0] += 1
        mirror = slot.mirror
        if mirror is not None:
            mirror(line)
        if slot.is_read:
            read(slot, line)
        if health.unreported:
            report_drops()
        return identity

    def emit_plain(slot: Slot, label: str, payload: dict[str, Any]) -> str:
        try:
            rest = line_end(payload)
            if rest is None:
                return emit(slot, label, payload)
            head = slot.heads.get(label)
            scope = get_scope()
            links = b"" if scope is None else scope.links
            if head is None or links is None or not payload or (scope is not None and scope.fields):
                return emit(slot, label, payload)
        except Exception:  # noqa: BLE001 - whatever is special about it, the other way knows
            return emit(slot, label, payload)
        try:
            return put(slot, head, links, slot.extra, rest)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            health.trouble("emit", error)
            health.drop("the event could not be written")
            return ""

    return put, emit_plain


class Lane(Protocol):
    """The same in C."""

    put: Put
    emit_plain: EmitPlain


def native_lane(pipeline: Pipeline, detours: Detours) -> Lane | None:
    """The lane in C of a pipeline; None where the native part is missing, or its judge is not in use."""
    if native is None or type(pipeline.capture.judge) is not native.Judge:
        return None
    agents, options, stamps = pipeline.agents, pipeline.options, pipeline.stamps
    lane: Lane = native.Lane(
        judge=pipeline.capture.judge,
        state_period=options.state_period,
        entry_looks=options.entry_looks,
        strict_state=options.strict_state,
        probes=options.probes,
        sink=pipeline.sink,
        wall_ns=pipeline.wall_ns,
        monotonic_ns=pipeline.monotonic_ns,
        stamps=stamps,
        threads=stamps.threads,
        begin_second=stamps.begin_second,
        health=pipeline.health,
        **detours._asdict(),
        scope=current_scope,
        room_error=NoRoom,
        write_globals=vars(writer),
        pipeline=pipeline,
        plain_read=instance_dict,
        **agents.looked_at(),
    )
    return lane


if native is not None:
    own = (AgentBinding, Slot, SpanScope, Stamps, ThreadStamps)
    native.learn({each.__name__: each for each in (*own, *writer.CLASSES_WRITTEN_BY)})
