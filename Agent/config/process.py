"""The recording process: its end, its forks, and the lock for starting and ending recording.

The package imports this module, since hooks run in the order of their registration; `recording.py`, which
the first event imports, sets what they do.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from Agent.event.system_clock import SystemClock
from Agent.record.health import say

if TYPE_CHECKING:
    from pathlib import Path

    from Agent.tree.files.session import Program


def _nothing() -> None:
    """The default hook: before the first event nothing needs to be done."""


def child_environment() -> dict[str, str]:
    """Return the environment of a process of the package: it finds the package, and joins no session."""
    from pathlib import Path

    environment = {name: value for name, value in os.environ.items() if name != "AGENT_TRACE_SESSION"}
    paths = (str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH", ""))
    return environment | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _lacks_descriptors() -> bool:
    """Whether no file can be opened, because the process or the system has too many open files."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return False


class Unrecorded:
    """Counts calls while nothing can be recorded, and decides when to try to start recording again."""

    RETRY_NS = 1_000_000_000

    def __init__(self) -> None:
        self.calls = 0
        self.try_again_ns = 0
        self.obstacle: str | None = None
        """Why nothing is recorded; None if recording works."""
        self._lacked_descriptors = False
        self._removed: Path | None = None
        """The trace root in which something was removed."""

    def wait_for_removal(self, root: Path) -> None:
        """Try again once the trace root is removed, or after a delay: its removal may be in progress."""
        self._removed = root
        self.try_again_ns = SystemClock.monotonic_ns() + self.RETRY_NS

    def waits(self) -> bool:
        """Whether it is too soon to try again; a lack of descriptors waits only until one is free."""
        if SystemClock.monotonic_ns() >= self.try_again_ns:
            return False
        if self._removed is not None:
            return os.path.lexists(self._removed)
        return not self._lacked_descriptors or _lacks_descriptors()

    def require_descriptors(self) -> None:
        """Raise OSError without a free descriptor: imports would then fail as if modules were missing."""
        self._lacked_descriptors, self._removed = _lacks_descriptors(), None
        if self._lacked_descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def report(self) -> None:
        """Report the number of lost calls on stderr, if no later session recorded it."""
        calls = self.take()
        if calls:
            subject = "1 event was" if calls == 1 else f"{calls} events were"
            say(f"{subject} not recorded: {self.obstacle or 'nothing could be recorded'}")

    def take(self) -> int:
        """Return the number of lost calls and reset it."""
        calls, self.calls, self.try_again_ns, self._removed = self.calls, 0, 0, None
        return calls


unrecorded = Unrecorded()
_last: list[Callable[[], None]] = []
_ended = False
_forking = 0
"""The process that is forking, for its child."""
_parents: dict[int, int | None] = {}
"""By pid of each ancestor by fork: the pid that had started it by `multiprocessing`, or None."""
# Re-entrant: a signal handler may log while its own thread starts recording.
_lock = threading.RLock()


def wiring_lock() -> threading.RLock:
    """The lock for starting and ending recording: threads that log first together start one session."""
    return _lock


def has_ended() -> bool:
    """Whether the process, and recording with it, is ending."""
    return _ended


def program() -> Program | None:
    """The root process of this program: the one that first used `multiprocessing`.

    It is this process itself if it was not started by `multiprocessing`, or if the root has ended. None if
    `multiprocessing` is not imported, or if the system does not report start times of processes.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is None:
        return None
    from Agent.tree.files.session import Program

    current = Program.of(os.getpid())
    parent = processes.parent_process()
    first = None if parent is None else parent.pid
    while first is not None and _parents.get(first) is not None:
        first = _parents[first]
    if current is None or first is None:
        return current
    first_program = Program.of(first)
    # a process that started later reuses the pid of one that ended
    return (
        current if first_program is None or first_program.start_ticks > current.start_ticks else first_program
    )


end_recording: Callable[[], None] = _nothing
"""Ends recording; set by `recording.py`, like the next two."""
before_fork: Callable[[], None] = _nothing
after_fork_in_child: Callable[[], None] = _nothing
begin_late: Callable[[], None] = _nothing
"""Starts a session for the number of lost calls, if that is possible now; set by `first_event.py`."""
end_program: Callable[[], None] = _nothing
"""Ends the session that other processes of this program began; set by `first_event.py`."""


def call_at_last(callback: Callable[[], None]) -> None:
    """Register a call for after the end of recording, such as sending the last events."""
    _last.append(callback)


def _end_with_process() -> None:
    global _ended  # noqa: PLW0603 - a process ends once
    if unrecorded.calls:
        begin_late()
    _ended = True
    end_recording()
    unrecorded.report()
    # every start method of `multiprocessing` imports this module
    if "multiprocessing.popen_fork" in sys.modules:
        end_program()
    for call in _last:
        call()


def _before_fork() -> None:
    global _forking  # noqa: PLW0603 - the one process
    # Otherwise a child forked while another thread starts recording would wait for a thread that it does not
    # have. With a timeout, since the holder of the lock may be waiting for this thread.
    _lock.acquire(timeout=5.0)
    _forking = os.getpid()
    before_fork()


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):  # the lock was not acquired in time
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    processes = sys.modules.get("multiprocessing.process")
    # in the child, `multiprocessing` has not yet set who started it: this is still the parent's value
    parent = None if processes is None else processes.parent_process()
    _parents[_forking] = None if parent is None else parent.pid
    unrecorded.take()
    after_fork_in_child()


# At import, so that the program's own exit handlers run before and are recorded.
atexit.register(_end_with_process)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
