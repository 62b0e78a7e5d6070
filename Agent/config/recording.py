"""Start and end recording in this process: connect sink, mirrors, board, redactor and pipeline.

`setup_logging` passes the options. Child processes find the session through the environment, forks get
their own writers, and the end of the program is recorded. If a policy is set, `RetentionThread` applies it:
it retires segments and removes old sessions.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from Agent.config import process
from Agent.config.options import Options, level_number
from Agent.config.process import call_at_last, unrecorded, wiring_lock
from Agent.errors import AgentTraceError, ConfigurationError, SessionInUse
from Agent.event.background_threads import BackgroundThread
from Agent.event.classes import forget_classes
from Agent.event.kinds import Category
from Agent.event.system_clock import SystemClock, turns
from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.record.emit import installed
from Agent.record.emit.installed import LIMITS, install_pipeline
from Agent.record.emit.pipeline import Pipeline, RecordOptions, record_session
from Agent.record.encode.capture import make_judge
from Agent.record.encode.redaction import Redactor
from Agent.record.health import TOO_LATE, Health, say
from Agent.record.loggers.resources import stop_samplers
from Agent.record.tracing.state_events import emit_last_states
from Agent.record.user_key import redaction_key
from Agent.tree.layout import agents_dir
from Agent.tree.write.event_counts import read_counts, save_counts
from Agent.tree.write.mirror import Mirrors
from Agent.tree.write.writer import Durability, SessionWriter

if TYPE_CHECKING:
    from Agent.config.handlers import OutputRouter
    from Agent.record.tracing.live_control import LiveControl
    from Agent.tree import retention
    from Agent.tree.write.queued import QueuedSink, WhenFull


_INTERVAL_S: Final = 0.25
# the largest share of time for retention, so that it does not slow down the program
_SHARE: Final = 0.25
# the work between two pauses, normally and at most (when retention falls behind)
_BURST_S: Final = 0.0003
_LONG_BURST_S: Final = 0.01
_PAUSE_S: Final = 0.001
_BEHIND_FRACTION: Final = 4
_LEAST_PAUSE_S: Final = 0.02
_PATIENCE_S: Final = 10.0
_LAST_PASS_S: Final = 1.0


@dataclass(eq=False, repr=False)
class RetentionThread:
    """Applies the retention policies of the options to this process's session.

    Args:
        session: the session's directory.
        options: `max_session_bytes` and `keep_sessions`.
        pipeline: gets the `log.retired` events, and errors of retention.
        rolled: returns the number of segments that this process has rolled.
        removes_sessions: whether to apply `keep_sessions`: only if this process created the session.
    """

    _session: Path
    _options: Options
    _pipeline: Pipeline
    _rolled: Callable[[], int]
    _removes_sessions: bool
    _retention: retention.Retention | None = None
    _rolled_before: int = 0
    _burst_began: float = 0.0

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._thread: BackgroundThread | None = BackgroundThread(self._run, "agent-trace-retention")
        try:
            self._thread.start()
        except RuntimeError as error:  # the interpreter is ending; the end of the session applies the policy
            self._thread = None
            self._pipeline.health.trouble("retention", error)

    def _run(self) -> None:
        if self._removes_sessions:
            self._remove_sessions()
        if self._options.max_session_bytes <= 0:
            return
        pause_s = _INTERVAL_S
        while not self._stopping.wait(pause_s):
            rolled = self._rolled()
            if rolled == self._rolled_before:
                pause_s = _INTERVAL_S
                continue
            began = SystemClock.monotonic_s()
            done = self._retire()
            took_s = SystemClock.monotonic_s() - began
            if done is not None and not done.in_use:
                self._rolled_before = rolled
            # if much was retired, as much may have been written in the meantime
            behind = (
                done is not None and done.size_bytes > self._options.max_session_bytes // _BEHIND_FRACTION
            )
            pause_s = _LEAST_PAUSE_S if behind else max(took_s * (1 / _SHARE - 1), _INTERVAL_S)

    def _retire(self) -> retention.Retired | None:
        """Apply the policy once; None if that failed or another process is doing it."""
        from Agent.tree import retention

        with self._turn:
            if self._retention is None:
                self._retention = retention.Retention(
                    self._session, self._options.max_session_bytes, may_continue=self._pause
                )
            try:
                done = self._retention.run()
            except (OSError, AgentTraceError) as error:
                self._pipeline.health.trouble("retention", error)
                return None
        if done is not None:
            self._emit_retired(done)
        return done

    def _pause(self, excess_bytes: int) -> bool:
        """Pause, so that the program's calls do not wait for this thread; return whether to continue.

        The further the session exceeds its limit, the longer the work between two pauses, which slows down a
        program that writes faster than retention deletes.
        """
        if self._thread is not None and self._thread.is_current():
            now = SystemClock.monotonic_s()
            excess = excess_bytes / self._options.max_session_bytes
            burst_s = _BURST_S if excess < 0.25 else min(_BURST_S + excess * _LONG_BURST_S, _LONG_BURST_S)
            if now - self._burst_began > burst_s:
                SystemClock.pause(_PAUSE_S)
                self._burst_began = SystemClock.monotonic_s()
        return not self._stopping.is_set()

    def _emit_retired(self, done: retention.Retired) -> None:
        from Agent.tree import retention

        pipeline = self._pipeline
        for part in done.writers:
            slot = pipeline.binding(None, None, "system", Category.SYSTEM.value).slot("log.retired", 20)
            payload = {
                "writer": part.writer,
                "first_seq": part.first_seq,
                "last_seq": part.last_seq,
                "policy": retention.POLICY,
                "count": part.events,
                "files": part.files,
                "size_bytes": part.size_bytes,
            }
            span = f"{part.first_seq} to {part.last_seq} of {part.writer}"
            subject = (
                f"1 event from {span} was" if part.events == 1 else f"{part.events} events from {span} were"
            )
            pipeline.emit(slot, f"{subject} retired", payload)

    def _remove_sessions(self) -> None:
        from Agent.tree import retention

        root = self._session.parent
        try:
            removed = retention.finish_removals(root)
            for ref in retention.oldest_beyond(root, self._options.keep_sessions):
                if self._stopping.is_set():
                    break
                if ref.path.name != self._session.name and retention.why_in_use(ref.path) is None:
                    removed += retention.remove_session(ref.path)
            if removed:
                retention.drop_dead_links(root)
        except OSError as error:
            self._pipeline.health.trouble("removal of old sessions", error)

    def stop(self) -> None:
        """Stop the thread, and apply the policy once more."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and not thread.is_current():
            thread.join(timeout=_PATIENCE_S)
            if thread.is_alive():  # the disk hangs; do not block the end of the program
                return
        if self._options.max_session_bytes > 0:
            self._stopping = threading.Event()
            # even if this process rolled nothing: its children may have blocked each other's passes
            for _ in turns(_LAST_PASS_S, _LAST_PASS_S / 10):
                if self._retire() is not None:
                    break

    def abandon(self) -> None:
        """Stop the thread of a session whose directory was removed."""
        self._stopping.set()

    def after_fork_in_child(self) -> None:
        """Continue in a forked child, for its own segments; only the parent removes old sessions."""
        self._removes_sessions = False
        self._retention = None
        self._rolled_before = self._rolled()
        self._begin()


def retention_thread_for(
    session: Path, options: Options, pipeline: Pipeline, rolled: Callable[[], int], *, began: bool
) -> RetentionThread | None:
    """Start a retention thread if the options set a policy that this process applies; else None."""
    if options.max_session_bytes <= 0 and not (began and options.keep_sessions > 0):
        return None
    return RetentionThread(session, options, pipeline, rolled, began and options.keep_sessions > 0)


# The first event imports the tree, so that importing the package is fast.


@dataclass(frozen=True, slots=True)
class RecordingSession:
    """The session that this process records into."""

    session_id: str
    path: Path
    root: Path
    options: Options

    def _repr_html_(self) -> str:
        from Agent.render.blocks import Section, Words
        from Agent.render.html import notebook_html

        about = Words(f"Recording in {self.path}, level {self.options.level}.")
        return notebook_html([Section(f"Session {self.session_id}", [about])])


@dataclass(slots=True)
class _Recording:
    """What records the session of this process."""

    session: RecordingSession
    pipeline: Pipeline
    writer: SessionWriter
    queue: QueuedSink | None
    mirrors: Mirrors | None
    retention: RetentionThread | None = None
    control: LiveControl | None = None

    @property
    def held_back(self) -> Any:
        """The sink of buffered metrics; None without a buffer."""
        return None if self.pipeline.buffer is None else self.pipeline.buffer.sink

    def rolled_segments(self) -> int:
        """The number of segments that this process has rolled."""
        return self.writer.rolled_segments + getattr(self.held_back, "rolled_segments", 0)

    def take_control(self) -> None:
        """Allow `agent-trace control` to pause the program; not in a replay, which controls ticks itself."""
        if installed.at_tick is not None:
            return
        from Agent.record.tracing.live_control import LiveControl
        from Agent.tree.files.control import ControlFiles

        health = self.pipeline.health
        try:
            control = LiveControl(self.pipeline, ControlFiles(self.session.path, self.writer.writer))
        except SessionInUse:
            health.note("another process of the session is controlled, so this one is not")
        except OSError as error:
            health.trouble("control", error)
        else:
            self.control, installed.at_tick = control, control.at_tick

    def leave_control(self) -> None:
        """Stop taking requests."""
        control, self.control = self.control, None
        if control is not None:
            if installed.at_tick == control.at_tick:
                installed.at_tick = None
            control.close()

    def line_counters(self) -> list[Callable[[], Mapping[str, int]]]:
        """Functions that return failure counts of this process's files in the session."""
        counters = [getattr(sink, "counters", None) for sink in (self.writer, self.held_back)]
        return [count for count in counters if count is not None]

    def mirror_counts(self) -> dict[str, int]:
        """The failure counts of the mirrors that were not reported at the start."""
        if (mirrors := self.mirrors) is None:
            return {}
        counts = mirrors.counts.snapshot()
        return {reason: n for reason, n in counts.items() if reason not in mirrors.refused_at_first}


_current: _Recording | None = None
_removed: tuple[Options, Health] | None = None
"""Options and loss counts of a session whose directory was removed."""
_late = Health()
"""Counts of the last ended session; calls in progress at its end are counted here too."""


def set_levels(options: Options) -> RecordingSession:
    """Set the levels of all categories in the running session from the options."""
    if _current is None:
        raise RuntimeError("levels can only be set during a session")
    _current.session = replace(_current.session, options=options)
    overall = level_number(options.level)
    for category, limit in LIMITS.items():
        level = level_number(options.levels.get(category, "DEBUG"))
        limit.value = max(overall, level)
    return _current.session


def begin(options: Options, outlets: OutputRouter | None = None) -> RecordingSession:
    """Start recording into a new session, or into that of the process that started this one."""
    global _current  # noqa: PLW0603 - the one session of this process
    # Load the code for the first action here, so that it is not measured as part of an action.
    import Agent.record.sources.sources
    import Agent.record.tracing.changed_arguments
    import Agent.record.tracing.traced_call  # noqa: F401
    from Agent.config.handlers import open_copies
    from Agent.config.session_join import enter_session, open_to_children

    options = placed(options)
    lacks: list[str] = []
    redactor = _open_redactor(options, lacks)
    entry = enter_session(options, redactor)
    path = entry.path
    writer = _open_writer(path, options)
    directories = _Directories(path)
    mirrors, copies = open_copies(path.parent, options, outlets)
    queue = _queued(writer, options) if options.durability == "queued" else None
    how = RecordOptions(
        buffer_entries=options.buffer_entries,
        strict_state=options.state == "strict",
        reads_large=options.large_arguments == "always",
        sync_errors=options.sync_errors and options.durability != "disk",
    )
    open_buffered = (lambda: _buffered_writer(path, options)) if options.buffer_entries else None
    pipeline = record_session(
        path, writer, redactor, how, sink=queue, mirrors=copies, open_buffered=open_buffered
    )
    session = RecordingSession(pipeline.session_id, path, path.parent, options)
    _current = recording = _Recording(session, pipeline, writer, queue, mirrors)
    set_levels(options)
    unrecorded.obstacle = None
    _take_over(pipeline)
    pipeline.stamps.watch(lambda: _directories_exist(recording, directories))
    install_pipeline(pipeline)
    for lack in lacks:
        pipeline.health.note(lack)
    if queue is not None:
        queue.on_refused(pipeline.health.take_back)
    pipeline.announce(pipeline.sink, writer.durability)
    open_to_children(entry)
    if options.control:
        recording.take_control()
    recording.retention = retention_thread_for(
        path, options, pipeline, recording.rolled_segments, began=entry.began
    )
    _end_as_child_of_multiprocessing()
    return recording.session


def placed(options: Options) -> Options:
    """The options with an absolute trace root, so that `os.chdir` does not move a session.

    Raises:
        ConfigurationError: the root is relative, and the working directory was removed.
    """
    try:
        return replace(options, trace_root=options.trace_root.absolute())
    except OSError as error:
        from Agent.config.session_join import unwritable

        raise unwritable(options.trace_root, error) from error


def options_of_removed() -> Options | None:
    """The options of a session whose directory was removed; None if there is none."""
    return None if _removed is None else _removed[0]


def _take_over(pipeline: Pipeline) -> None:
    """Add losses from the time without recording to the counts of the new pipeline."""
    global _removed, _late  # noqa: PLW0603 - the one session of this process
    if _removed is not None:
        # calls still in progress in the old pipeline are counted in the new one too
        _removed[1].hand_over(pipeline.health)
        _removed = None
    if calls := unrecorded.take():
        pipeline.health.drop("nothing could be recorded", calls)
    if late := _late.late:
        pipeline.health.drop(TOO_LATE, late)
    _late = Health()


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - made once per ms, and a `Path` takes twice as long
    return status.st_dev, status.st_ino


class _Directories:
    """The directories of a session's lines, with their inodes from when each was first seen."""

    def __init__(self, session: Path) -> None:
        self._session, self._agents = str(session), str(agents_dir(session))
        self._session_seen = _identity(self._session)
        self._agents_seen: tuple[int, int] | None = None

    def exist(self) -> bool:
        """Whether none was removed or replaced; OSError if that cannot be determined."""
        try:
            if self._agents_seen is not None:  # it is inside the session: if it is there, both are
                return _identity(self._agents) == self._agents_seen
            if _identity(self._session) != self._session_seen:
                return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        with suppress(FileNotFoundError, NotADirectoryError):  # created with an agent's first event
            self._agents_seen = _identity(self._agents)
        return True


def _directories_exist(recording: _Recording, directories: _Directories) -> bool:
    """Whether a recording's directories still exist unreplaced; if not, stop using it."""
    pipeline = recording.pipeline
    if pipeline.is_gone or recording is not _current:
        return not pipeline.is_gone
    try:
        is_there = directories.exist()
    except OSError:
        return True  # unknown, so assume that they exist
    if is_there:
        pipeline.health.seen_safe()
        return True
    with wiring_lock():
        if _current is recording:
            _leave_removed(recording)
    return False


def _leave_removed(recording: _Recording) -> None:
    """Stop recording into a removed directory; a later event starts a new session."""
    global _removed, _current  # noqa: PLW0603 - the one session of this process
    from Agent.config.session_join import SESSION_VARIABLE

    session, pipeline = recording.session, recording.pipeline
    pipeline.closed = pipeline.is_gone = True
    pipeline.health.lose_since_safe("the session's directory was removed")
    _removed = session.options, pipeline.health
    unrecorded.obstacle = "the session's directory was removed"
    unrecorded.wait_for_removal(session.root)
    _current = None
    recording.leave_control()
    install_pipeline(None)
    if os.environ.get(SESSION_VARIABLE, "").endswith(f":{session.path.absolute()}"):
        del os.environ[SESSION_VARIABLE]
    if recording.retention is not None:
        recording.retention.abandon()
    for sink in (recording.writer, recording.held_back):
        if sink is not None:
            sink.close(clean=False)
    if recording.mirrors is not None:
        recording.mirrors.close()


def _open_redactor(options: Options, lacks: list[str]) -> Redactor:
    """Create the redactor; report on stderr if texts, and secrets in them, are recorded unchanged."""
    is_plain = options.capture == "redacted" and set(options.captures.values()) <= {"redacted"}
    key = redaction_key(lacking=lacks.append) if options.redact or not is_plain else b""
    redactor = Redactor(key, enabled=options.redact)
    # It gives the redactor its check in C, if there is one: that in Python takes 30 ms to get ready.
    make_judge(redactor, DEFAULT_LIMITS)
    if not is_plain:
        from Agent.record.encode.capture_levels import CaptureLevels

        redactor.levels = levels = CaptureLevels(options.capture, options.captures, redactor)
        if levels.keeps_texts:
            say("capture is full: secrets inside texts are recorded unchanged")
    return redactor


def _open_writer(path: Path, options: Options) -> SessionWriter:
    try:
        return SessionWriter(
            path,
            durability=cast("Durability", options.durability),
            segment_size_bytes=options.segment_size_bytes,
            max_open_files=options.max_open_files,
            board=options.board,
        )
    except OSError as error:
        from Agent.config.session_join import unwritable

        raise unwritable(options.trace_root, error) from error


def _queued(writer: SessionWriter, options: Options) -> QueuedSink:
    from Agent.tree.write.queued import QueuedSink

    return QueuedSink(writer, size=options.queue_size, when_full=cast("WhenFull", options.queue_full))


def _buffered_writer(path: Path, options: Options) -> SessionWriter:
    return SessionWriter(
        path,
        durability="buffered",
        kind="performance metrics",
        segment_size_bytes=options.segment_size_bytes,
        max_open_files=max(4, options.max_open_files // 4),
        board=False,
    )


def shutdown_logging() -> None:
    """Flush everything, record the end, and stop recording.

    The reason why recording could not start is reset too: the next event tries again and reports its own.
    """
    with wiring_lock():
        if unrecorded.calls:
            process.begin_late()
        if _current is not None and not _current.pipeline.stamps.look() and _removed is not None:
            # A new session records the losses of the removed directory.
            try:
                begin(_removed[0])
            except (OSError, ConfigurationError) as error:
                say(f"losses cannot be recorded: {error}")
        _shut_down()
        unrecorded.report()
        unrecorded.obstacle = None
        for limit in LIMITS.values():
            limit.value = 0


def _shut_down() -> None:
    global _late, _current
    if (recording := _current) is None:
        return
    session, pipeline = recording.session, recording.pipeline
    of_lines = recording.line_counters()
    counters = [*of_lines, recording.mirror_counts]
    before = _refused(counters)
    _end_part(recording.leave_control)
    _end_part(stop_samplers)
    # Before the pipeline is removed, since a user's `trace_state` may log.
    _end_part(lambda: emit_last_states(pipeline))
    if pipeline.mirrors is not None:
        # Before the pipeline is removed, since a user's formatter may log, which would start another session.
        _end_part(pipeline.mirrors.flush)
    if recording.retention is not None:
        _end_part(recording.retention.stop)
    _late, _current = pipeline.health, None
    if installed.active_pipeline() is pipeline:
        install_pipeline(None)

    def end_writing() -> None:
        if recording.queue is not None:
            recording.queue.write_through()
        pipeline.close()
        # Lines that a mirror lacks are still in the session.
        if pipeline.counts().writers and not any(count() for count in of_lines):
            save_counts(session.path, pipeline.counts())
        _end_session(session)

    _end_part(end_writing)
    _report_refused(_refused(counters) - before)


def _end_part(end: Callable[[], object]) -> None:
    """End one part of recording; its failure reaches neither the program nor the other parts."""
    try:
        end()
    except Exception as error:  # noqa: BLE001 - an error while recording ends must not reach the program
        say(f"recording did not end cleanly: {type(error).__name__}: {error}")


def _end_session(session: RecordingSession) -> None:
    """Mark the session as ended, if this process is the one to end it."""
    from Agent.config.session_join import leave_session
    from Agent.tree.read.reader import write_summary

    if not leave_session(session.path):
        return
    write_summary(session.path, counts=read_counts(session.path))
    if session.options.seal_at_end:
        from Agent.archive.sealed.sealing import seal

        seal(session.path)


def _refused(counted: Iterable[Callable[[], Mapping[str, int]]]) -> Counter[str]:
    """Errors of the operating system by reason; a counter without ":" counts events that were written."""
    total: Counter[str] = Counter()
    for counters in counted:
        total.update({reason: n for reason, n in counters().items() if ":" in reason})
    return total


def _report_refused(new: Counter[str]) -> None:
    """Report new failures on stderr in one line, since no event can record them any more."""
    if new:
        reasons = ", ".join(
            reason if n == 1 else f"{reason} ({n} times)" for reason, n in sorted(new.items())
        )
        say(f"a failure while recording ended: {reasons}")


def current_session() -> RecordingSession | None:
    """The session that this process records into; None if it does not record."""
    return None if _current is None else _current.session


def health() -> dict[str, Any]:
    """Return the state of recording: events written, dropped by reason, notes, redactions, writer counters.

    The keys are always the same. If recording could not start, `obstacle` says why.
    """
    recording = _current
    if recording is None or not recording.pipeline.stamps.look():
        dropped, notes = (
            ({}, {}) if _removed is None else (dict(_removed[1].dropped), dict(_removed[1].notes))
        )
        if unrecorded.calls:
            dropped["nothing could be recorded"] = unrecorded.calls
        if _late.late:
            dropped[TOO_LATE] = _late.late
        nothing: dict[str, Any] = {
            "recording": False,
            "obstacle": unrecorded.obstacle,
            "session_id": None,
            "path": None,
            "events": 0,
            "dropped": dropped,
            "notes": notes,
        }
        counters: dict[str, Any] = {"writer": {}, "buffered_writer": {}, "mirrors": {}, "handlers": {}}
        return {**nothing, "redacted": 0, "buffered": 0, "queued": 0, **counters}
    from Agent.config.handlers import handler_counts

    session, pipeline = recording.session, recording.pipeline
    pipeline.health.settle()
    return {
        "recording": True,
        "obstacle": None,
        "session_id": session.session_id,
        "path": str(session.path),
        "events": pipeline.health.events,
        "dropped": dict(pipeline.health.dropped),
        "notes": dict(pipeline.health.notes),
        "redacted": pipeline.redactor.count,
        "buffered": len(pipeline.buffer) if pipeline.buffer is not None else 0,
        "queued": len(recording.queue) if recording.queue is not None else 0,
        "writer": recording.writer.counters(),
        "buffered_writer": dict(getattr(recording.held_back, "counters", dict)()),
        "mirrors": recording.mirrors.counts.snapshot() if recording.mirrors is not None else {},
        "handlers": handler_counts(pipeline.mirrors),
    }


def _before_fork() -> None:
    if _current is not None:
        _current.pipeline.flush()


def _after_fork_in_child() -> None:
    if (recording := _current) is None:
        return
    pipeline = recording.pipeline
    if recording.control is not None:
        recording.control = installed.at_tick = None  # requests are addressed to the parent
    (recording.writer if recording.queue is None else recording.queue).after_fork_in_child()
    if recording.mirrors is not None:
        recording.mirrors.after_fork_in_child()
    pipeline.after_fork_in_child(recording.writer.board)
    pipeline.announce(pipeline.sink, recording.writer.durability)
    if recording.retention is not None:
        recording.retention.after_fork_in_child()
    forked = sys.modules.get("multiprocessing.util")
    if forked is not None:
        # These children end without atexit; multiprocessing clears their finalizers after this hook.
        forked.register_after_fork(_END, lambda _: _end_with_multiprocessing(forked))


class _End:
    """An object for multiprocessing to hold a weak reference to."""


_END = _End()


def _end_as_child_of_multiprocessing() -> None:
    """Register the end of recording with `multiprocessing`, whose children may end without atexit."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        import multiprocessing.util

        _end_with_multiprocessing(multiprocessing.util)


def _end_with_multiprocessing(util: ModuleType) -> None:
    util.Finalize(None, shutdown_logging, exitpriority=-100)


process.end_recording = shutdown_logging
process.before_fork = _before_fork
process.after_fork_in_child = _after_fork_in_child
# Otherwise C libraries print pages about classes that outlive the interpreter.
call_at_last(forget_classes)
