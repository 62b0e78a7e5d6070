"""The process that records: its end, its forks, and the lock under which recording begins and ends in it.

Importing the package loads this, since hooks are called in the order in which they were registered; what they
do is in `recording.py`, which comes with the first event.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from Agent.tree.files.session import Program


def _nothing() -> None:
    """Where nothing was recorded yet, nothing is to be done."""


class Hooks(NamedTuple):
    """What recording does when something happens to its process."""

    at_end: Callable[[], None] = _nothing
    before_fork: Callable[[], None] = _nothing
    after_fork_in_child: Callable[[], None] = _nothing


def _lacks_descriptors() -> bool:
    """Whether no file can be opened, because this process or the system has too many open."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return False


class Unrecorded:
    """The calls that came while nothing could be recorded, and when the next of them tries to begin again."""

    RETRY_NS = 1_000_000_000

    def __init__(self) -> None:
        self.calls = 0
        self.try_again_ns = 0
        self._lacked_descriptors = False
        self._removed: Path | None = None
        """The trace root in which something was removed."""

    def wait_for_removal(self, root: Path) -> None:
        """Try again when a trace root is gone, or after a while: until then it may be being emptied."""
        self._removed = root
        self.try_again_ns = time.monotonic_ns() + self.RETRY_NS

    def waits(self) -> bool:
        """Whether it is too soon to try again; where descriptors were lacking, not once one is free."""
        if time.monotonic_ns() >= self.try_again_ns:
            return False
        if self._removed is not None:
            return os.path.lexists(self._removed)
        return not self._lacked_descriptors or _lacks_descriptors()

    def require_descriptors(self) -> None:
        """Raise OSError where none is free: modules that cannot be opened would be taken for missing ones."""
        self._lacked_descriptors, self._removed = _lacks_descriptors(), None
        if self._lacked_descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def tell(self) -> None:
        """Say on stderr how many there were, where no session came to hold their number."""
        calls = self.take()
        if calls:
            from Agent.record.health import say

            say(f"{calls} events were not recorded: {obstacle() or 'nothing could be recorded'}")

    def take(self) -> int:
        """How many there were; they count as told from here on."""
        calls, self.calls, self.try_again_ns, self._removed = self.calls, 0, 0, None
        return calls


unrecorded = Unrecorded()
_hooks = Hooks()
_last: list[Callable[[], None]] = []
_ended = False
_obstacle: str | None = None
_forking = 0
"""The process that forks now, as its child sees it."""
_parents: dict[int, int | None] = {}
"""Who had started, by `multiprocessing`, the processes that this one was forked from; None for nobody."""
# Re-entrant: a signal handler may log while its own thread is setting up.
_lock = threading.RLock()


def wiring_lock() -> threading.RLock:
    """Held by whoever begins or ends recording: threads that log first together begin one session."""
    return _lock


def has_ended() -> bool:
    """Whether the process is ending and recording with it."""
    return _ended


def note_obstacle(what: str | None) -> None:
    """Keep why nothing is recorded; None once something is."""
    global _obstacle  # noqa: PLW0603 - of the one recording of this process
    _obstacle = what


def obstacle() -> str | None:
    """Why nothing is recorded; None if recording works."""
    return _obstacle


def set_hooks(hooks: Hooks) -> None:
    """Say what is to be done from now on."""
    global _hooks  # noqa: PLW0603 - of the one recording of this process
    _hooks = hooks


def program() -> Program | None:
    """The process whose program this one belongs to: the one that `multiprocessing` was first used by.

    That is this process itself, if no other started it by `multiprocessing`, or if that one has ended. None
    where `multiprocessing` is not loaded, and where the system does not say when processes started.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is None:
        return None
    from Agent.tree.files.session import Program

    own = Program.of(os.getpid())
    parent = processes.parent_process()
    first = None if parent is None else parent.pid
    while first is not None and _parents.get(first) is not None:
        first = _parents[first]
    if own is None or first is None:
        return own
    found = Program.of(first)
    # one that started later has got the number of a process that ended
    return own if found is None or found.start_ticks > own.start_ticks else found


begin_late: Callable[[], None] = _nothing
"""Begins a session that holds the number of unrecorded calls, if one can be made by now; set likewise."""
end_program: Callable[[], None] = _nothing
"""Ends the session that other processes of this program began; set once, by `config/first_event.py`."""


def call_at_last(what: Callable[[], None]) -> None:
    """Have something done when recording has ended with its process, as sending what it wrote last."""
    _last.append(what)


def _end_with_process() -> None:
    global _ended  # noqa: PLW0603 - a process ends once
    if unrecorded.calls:
        begin_late()
    _ended = True
    _hooks.at_end()
    unrecorded.tell()
    # what `multiprocessing` loads when it starts a process, by whichever method
    if "multiprocessing.popen_fork" in sys.modules:
        end_program()
    for call in _last:
        call()


def _before_fork() -> None:
    global _forking  # noqa: PLW0603 - of the one process
    # A child made while another thread begins to record would wait for that thread, which it does not have.
    # Not for ever: whoever holds the lock may be waiting for this very thread.
    _lock.acquire(timeout=5.0)
    _forking = os.getpid()
    _hooks.before_fork()


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):  # it was not had
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    processes = sys.modules.get("multiprocessing.process")
    # the child itself has not been told yet who started it
    parent = None if processes is None else processes.parent_process()
    _parents[_forking] = None if parent is None else parent.pid
    unrecorded.take()
    _hooks.after_fork_in_child()


# At import, not at the first event: what the program itself does at its end comes before, and is recorded.
atexit.register(_end_with_process)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
