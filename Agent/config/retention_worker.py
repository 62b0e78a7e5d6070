"""What keeps the tree small while a program records: a thread that retires segments and removes old sessions.

`recording` starts it where a policy is set, and ends it before the session's last event.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from Agent.config.options import Options
from Agent.errors import AgentTraceError
from Agent.event.kinds import Category
from Agent.record.emit.pipeline import Pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from Agent.tree.retention import Retention, Retired

_INTERVAL_S: Final = 0.25
# what retention may take of the time, so that the program is not slowed by it
_SHARE: Final = 0.25
# how long the thread works before it pauses, and how long at most where it falls behind
_BURST_S: Final = 0.0003
_LONG_BURST_S: Final = 0.01
_PAUSE_S: Final = 0.001
_MUCH_PARTS: Final = 4
_LEAST_PAUSE_S: Final = 0.02
_PATIENCE_S: Final = 10.0
_LAST_PASS_S: Final = 1.0


class Keeper:
    """Holds one process's session to the policies of its options.

    Args:
        session: the session's directory.
        options: `max_session_bytes` and `keep_sessions`.
        pipeline: takes the `log.retired` events, and what went wrong.
        rolled: how many segments this process has rolled so far.
        began: whether this process made the session, and so has old ones removed.
    """

    def __init__(
        self,
        session: Path,
        options: Options,
        pipeline: Pipeline,
        rolled: Callable[[], int],
        *,
        began: bool,
    ) -> None:
        self._session = session
        self._options = options
        self._pipeline = pipeline
        self._rolled = rolled
        self._removes_sessions = began and options.keep_sessions > 0
        self._retention: Retention | None = None
        self._looked_at = 0
        self._burst_began = 0.0
        self._begin()

    def _begin(self) -> None:
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, name="agent-trace-retention", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:  # at the end of the interpreter; the end of the session does its pass
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
            if rolled == self._looked_at:
                pause_s = _INTERVAL_S
                continue
            began = time.monotonic()
            done = self._retire()
            took_s = time.monotonic() - began
            if done is not None and not done.in_use:
                self._looked_at = rolled
            # where much had to go, as much may have come meanwhile
            behind = done is not None and done.size_bytes > self._options.max_session_bytes // _MUCH_PARTS
            pause_s = _LEAST_PAUSE_S if behind else max(took_s * (1 / _SHARE - 1), _INTERVAL_S)

    def _retire(self) -> Retired | None:
        """One pass; None if it could not be made, or another process is at it."""
        from Agent.tree.retention import Retention

        with self._turn:
            if self._retention is None:
                self._retention = Retention(
                    self._session, self._options.max_session_bytes, breathe=self._breathe
                )
            try:
                done = self._retention.run()
            except (OSError, AgentTraceError) as error:
                self._pipeline.health.trouble("retention", error)
                return None
        if done is not None:
            self._tell(done)
        return done

    def _breathe(self, excess_bytes: int) -> bool:
        """Let the program go on: without these pauses each of its calls would wait for this thread.

        The further the record is beyond its limit the longer is the work between two pauses: a program that
        writes faster than its record may grow is slowed.
        """
        if threading.current_thread() is self._thread:
            now = time.perf_counter()
            excess = excess_bytes / self._options.max_session_bytes
            burst_s = _BURST_S if excess < 0.25 else min(_BURST_S + excess * _LONG_BURST_S, _LONG_BURST_S)
            if now - self._burst_began > burst_s:
                time.sleep(_PAUSE_S)
                self._burst_began = time.perf_counter()
        return not self._stopping.is_set()

    def _tell(self, done: Retired) -> None:
        from Agent.tree.retention import POLICY

        pipeline = self._pipeline
        for part in done.writers:
            slot = pipeline.binding(None, None, "system", Category.SYSTEM.value).slot("log.retired", 20)
            payload = {
                "writer": part.writer,
                "first_seq": part.first_seq,
                "last_seq": part.last_seq,
                "policy": POLICY,
                "count": part.events,
                "files": part.files,
                "size_bytes": part.size_bytes,
            }
            span = f"{part.first_seq} to {part.last_seq} of {part.writer}"
            pipeline.emit(slot, f"{part.events} events from {span} were retired", payload)

    def _remove_sessions(self) -> None:
        from Agent.tree.retention import finish_removals, oldest_beyond, remove_session, why_in_use

        root = self._session.parent
        try:
            finish_removals(root)
            for ref in oldest_beyond(root, self._options.keep_sessions):
                if self._stopping.is_set():
                    return
                if ref.path.name != self._session.name and why_in_use(ref.path) is None:
                    remove_session(ref.path)
        except OSError as error:
            self._pipeline.health.trouble("removal of old sessions", error)

    def stop(self) -> None:
        """End the thread, and hold the session to its limit once more."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=_PATIENCE_S)
            if thread.is_alive():  # the disk hangs; the end of the program does not wait for it
                return
        if self._options.max_session_bytes > 0:
            self._stopping = threading.Event()
            # also where nothing of this process rolled: its children may have been turned away by each other
            until = time.monotonic() + _LAST_PASS_S
            while self._retire() is None and time.monotonic() < until:
                time.sleep(_LAST_PASS_S / 10)

    def abandon(self) -> None:
        """End the thread of a session whose directory is gone."""
        self._stopping.set()

    def after_fork_in_child(self) -> None:
        """A child looks after its own segments; old sessions are its parent's business."""
        self._removes_sessions = False
        self._retention = None
        self._looked_at = self._rolled()
        self._begin()


def keeper_for(
    session: Path, options: Options, pipeline: Pipeline, rolled: Callable[[], int], *, began: bool
) -> Keeper | None:
    """The keeper that the options ask for; None where they set no policy."""
    if options.max_session_bytes <= 0 and not (began and options.keep_sessions > 0):
        return None
    return Keeper(session, options, pipeline, rolled, began=began)
