"""Recording in this process: where sink, mirrors, board, redactor and pipeline meet, and how they end.

`setup_logging` hands in the options. Children find the session through the environment, forks become writers
of their own, and the end of the program is written into the record.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from Agent.config.load import redaction_key
from Agent.config.options import SETTABLE, Options, level_number
from Agent.errors import ConfigurationError
from Agent.event.clock import format_timestamp
from Agent.event.ids import session_id_for, uuid7
from Agent.record import pipeline as installed
from Agent.record.health import say
from Agent.record.levels import LIMITS
from Agent.record.pipeline import Pipeline, RecordOptions, install_pipeline
from Agent.record.redaction import Redactor
from Agent.record.resources import stop_samplers
from Agent.record.state_events import emit_last_states
from Agent.version import __version__

# The tree is imported where the first event needs it: importing the package should cost next to nothing.
if TYPE_CHECKING:
    from pathlib import Path

    from Agent.config.keeping import Keeper
    from Agent.config.outlets import Outlets
    from Agent.tree.mirror import Mirrors
    from Agent.tree.queued import QueuedSink, WhenFull
    from Agent.tree.writer import Durability, SessionWriter

SESSION_VARIABLE = "AGENT_TRACE_SESSION"
"""Tells child processes which session to join: `pid:start:path` of the process that began it."""


@dataclass(frozen=True, slots=True)
class RecordingSession:
    """The session that this process records into."""

    session_id: str
    path: Path
    root: Path
    options: Options


_session: RecordingSession | None = None
_pipeline: Pipeline | None = None
_writer: SessionWriter | None = None
_queue: QueuedSink | None = None
_mirrors: Mirrors | None = None
_keeper: Keeper | None = None
_ended = False
_obstacle: str | None = None
# Re-entrant: a signal handler may log while its own thread is setting up.
_lock = threading.RLock()


def wiring_lock() -> threading.RLock:
    """Held by whoever begins or ends recording: threads that log first together begin one session."""
    return _lock


def note_obstacle(what: str) -> None:
    """Keep why nothing is recorded, for `health()`."""
    global _obstacle  # noqa: PLW0603 - of the one session of this process
    _obstacle = what


def has_ended() -> bool:
    """Whether the process is ending and recording with it."""
    return _ended


def set_levels(options: Options) -> RecordingSession:
    """Let every category of the session that runs record from the level that the options give it."""
    global _session  # noqa: PLW0603 - the one session of this process
    if _session is None:
        raise RuntimeError("levels are those of a session, and there is none")
    _session = replace(_session, options=options)
    overall = level_number(options.level)
    for category, limit in LIMITS.items():
        own = level_number(options.levels.get(category, "DEBUG"))
        limit.value = max(overall, own)
    return _session


def begin(options: Options, outlets: Outlets | None = None) -> RecordingSession:
    """Begin to record into a new session, or into that of the process that started this one."""
    global _keeper, _session, _pipeline, _writer, _queue, _mirrors, _obstacle  # noqa: PLW0603 - the one session of this process
    from Agent.tree.artifacts import ArtifactFiles
    from Agent.tree.claim import process_start_ticks
    from Agent.tree.writer import SessionWriter

    redactor = Redactor(redaction_key() if options.redact else b"", enabled=options.redact)
    joined = _joinable(options)
    if joined is not None:
        path = joined
        session_id = path.name.removeprefix("session_")
    else:
        path, session_id = _create(options, redactor)
    try:
        _writer = writer = SessionWriter(
            path,
            durability=cast("Durability", options.durability),
            segment_size_bytes=options.segment_size_bytes,
            max_open_files=options.max_open_files,
            board=options.board,
        )
    except OSError as error:
        raise _unwritable(options.trace_root, error) from error
    root = path.parent
    from Agent.config.copies import open_copies

    _mirrors, copies = open_copies(root, options, outlets)
    _queue = _queued(writer, options) if options.durability == "queued" else None
    _pipeline = Pipeline(
        writer if _queue is None else _queue,
        session_id=session_id,
        redactor=redactor,
        options=RecordOptions(
            buffer_entries=options.buffer_entries,
            strict_state=options.state == "strict",
            sync_errors=options.sync_errors and options.durability != "disk",
        ),
        mirrors=copies,
        board=writer.board,
        open_buffered=(lambda: _buffered_writer(path, options)) if options.buffer_entries else None,
        artifacts=ArtifactFiles(path, sync=options.durability == "disk"),
    )
    _session = RecordingSession(session_id, path, root, options)
    set_levels(options)
    _obstacle = None
    install_pipeline(_pipeline)
    if _queue is not None:
        _queue.tell_refusals_to(_pipeline.health.take_back)
    _pipeline.announce(_pipeline.sink, writer.durability)
    if joined is None:
        os.environ[SESSION_VARIABLE] = f"{os.getpid()}:{process_start_ticks(os.getpid())}:{path.absolute()}"
    from Agent.config.keeping import keeper_for

    _keeper = keeper_for(path, options, _pipeline, lambda: _rolled_segments(writer), began=joined is None)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # Such a child may end without atexit.
        import multiprocessing.util

        _end_with_multiprocessing(multiprocessing.util)
    return _session


def _rolled_segments(writer: SessionWriter) -> int:
    buffer = _pipeline.buffer if _pipeline is not None else None
    return writer.rolled_segments + getattr(buffer and buffer.sink, "rolled_segments", 0)


def _queued(writer: SessionWriter, options: Options) -> QueuedSink:
    from Agent.tree.queued import QueuedSink

    return QueuedSink(writer, size=options.queue_size, when_full=cast("WhenFull", options.queue_full))


def _buffered_writer(path: Path, options: Options) -> SessionWriter:
    from Agent.tree.writer import SessionWriter

    return SessionWriter(
        path,
        durability="buffered",
        kind="performance metrics",
        segment_size_bytes=options.segment_size_bytes,
        max_open_files=max(4, options.max_open_files // 4),
        board=False,
    )


def _create(options: Options, redactor: Redactor) -> tuple[Path, str]:
    from Agent.tree.claim import boot_id, hostname, process_start_ticks
    from Agent.tree.session import SessionInfo, create_session

    now_ns = time.time_ns()
    info = SessionInfo(
        session_id=session_id_for(now_ns // 1000),
        session_uid=uuid7(now_ns // 1_000_000, os.urandom(10)),
        host=hostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        process_start_ticks=process_start_ticks(os.getpid()),
        python=sys.version.split()[0],
        started_at=format_timestamp(now_ns // 1000),
        argv=tuple(redactor.arguments(list(sys.argv))),
        versions={"agent-trace": __version__},
        configuration=redactor.object(_configuration(options)),
    )
    try:
        path = create_session(options.trace_root, info)
    except OSError as error:
        raise _unwritable(options.trace_root, error) from error
    return path, path.name.removeprefix("session_")


def _configuration(options: Options) -> dict[str, Any]:
    shown = {name: getattr(options, name) for name in SETTABLE}
    shown["trace_root"] = str(options.trace_root)
    return shown if options.outputs is None else {**shown, "outputs": options.outputs.described()}


def _unwritable(root: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the trace root cannot be written: {error.strerror or error}",
        path=root,
        remedy="set AGENT_TRACE_ROOT to a directory of your own",
    )


def _joinable(options: Options) -> Path | None:
    """The session of the process that started this one, while that process runs and records there."""
    from Agent.tree.claim import process_start_ticks

    text = os.environ.get(SESSION_VARIABLE, "")
    pid, _, rest = text.partition(":")
    start, _, path_text = rest.partition(":")
    if not pid.isdigit() or not path_text or int(pid) == os.getpid():
        return None
    if str(process_start_ticks(int(pid))) != start:
        return None
    from pathlib import Path

    path = Path(path_text)
    same_root = path.parent == options.trace_root.absolute()
    return path if path.is_dir() and (same_root or options.trace_root == Options().trace_root) else None


def shutdown_logging() -> None:
    """Write out what is held back, say in the record that it ends here, and stop recording."""
    with _lock:
        _shut_down()


def _shut_down() -> None:
    global _keeper, _session, _pipeline, _writer, _queue, _mirrors  # noqa: PLW0603 - the one session of this process
    session, pipeline, queue = _session, _pipeline, _queue
    if session is None or pipeline is None:
        return
    from Agent.config.last_words import LastWords

    last_words = LastWords(*_failure_counters(pipeline))
    stop_samplers()
    # While it is still installed: a `trace_state` of the user's may log something itself.
    emit_last_states(pipeline)
    if pipeline.mirrors is not None:
        # Likewise: a formatter of the user's may log, which would begin another session below.
        pipeline.mirrors.flush()
    keeper, _keeper = _keeper, None
    if keeper is not None:
        keeper.stop()
    _session = _pipeline = _writer = _queue = _mirrors = None
    if installed.active_pipeline() is pipeline:
        install_pipeline(None)
    for limit in LIMITS.values():
        limit.value = 0
    try:
        if queue is not None:
            queue.write_through()
        pipeline.close()
        if os.environ.get(SESSION_VARIABLE, "").startswith(f"{os.getpid()}:"):
            del os.environ[SESSION_VARIABLE]
            from Agent.tree.session import update_session
            from Agent.tree.summary import write_summary

            update_session(session.path, ended_at=format_timestamp(time.time_ns() // 1000))
            write_summary(session.path)
            if session.options.seal_at_end:
                from Agent.archive.sealing import seal

                seal(session.path)
    except Exception as error:  # noqa: BLE001 - the end of recording is no reason for the program to fail
        say(f"recording did not end well: {type(error).__name__}: {error}")
    last_words.tell()


def _failure_counters(pipeline: Pipeline) -> list[Callable[[], Mapping[str, int]]]:
    """What counts the failures of this process's files."""
    held_back = pipeline.buffer.sink if pipeline.buffer is not None else None
    counters = [getattr(sink, "counters", None) for sink in (_writer, held_back)]
    if _mirrors is not None:
        counters.append(_mirrors.counts.snapshot)
    return [count for count in counters if count is not None]


def current_session() -> RecordingSession | None:
    """The session that this process records into, None if it does not record."""
    return _session


def health() -> dict[str, Any]:
    """How recording does: events written, dropped by reason, notes, redactions, the writer's counters.

    Where it could not begin, `obstacle` says why.
    """
    pipeline = _pipeline
    if pipeline is None or _session is None:
        return {"recording": False} if _obstacle is None else {"recording": False, "obstacle": _obstacle}
    from Agent.config.copies import handler_counts

    held_back = pipeline.buffer.sink if pipeline.buffer is not None else None
    return {
        "recording": True,
        "session_id": _session.session_id,
        "path": str(_session.path),
        "events": pipeline.health.events,
        "dropped": dict(pipeline.health.dropped),
        "notes": dict(pipeline.health.notes),
        "redacted": pipeline.redactor.count,
        "buffered": len(pipeline.buffer) if pipeline.buffer is not None else 0,
        "queued": len(_queue) if _queue is not None else 0,
        "writer": _writer.counters() if _writer is not None else {},
        "buffered_writer": dict(getattr(held_back, "counters", dict)()),
        "mirrors": _mirrors.counts.snapshot() if _mirrors is not None else {},
        "handlers": handler_counts(pipeline.mirrors),
    }


def _end_with_process() -> None:
    global _ended  # noqa: PLW0603 - a process ends once
    _ended = True
    shutdown_logging()


def _before_fork() -> None:
    # A child made while another thread begins to record would wait for that thread, which it does not have.
    # Not for ever: whoever holds the lock may be waiting for this very thread.
    _lock.acquire(timeout=5.0)
    if _pipeline is not None:
        _pipeline.flush()


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):  # it was not had
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    pipeline = _pipeline
    if pipeline is None:
        return
    if _writer is not None:
        (_writer if _queue is None else _queue).after_fork_in_child()
        if _mirrors is not None:
            _mirrors.after_fork_in_child()
        pipeline.after_fork_in_child(_writer.board)
        pipeline.announce(pipeline.sink, _writer.durability)
        if _keeper is not None:
            _keeper.after_fork_in_child()
    forked = sys.modules.get("multiprocessing.util")
    if forked is not None:
        # Such children end without atexit; their own list of last things is cleared after this hook ran.
        forked.register_after_fork(_END, lambda _: _end_with_multiprocessing(forked))


class _End:
    """Something for multiprocessing to hold a weak reference to."""


_END = _End()


def _end_with_multiprocessing(util: ModuleType) -> None:
    util.Finalize(None, shutdown_logging, exitpriority=-100)


# At import, not at the first event: what the program itself does at its end comes before, and is recorded.
atexit.register(_end_with_process)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
