"""The threads of recording: a program neither waits for them nor loses a signal to them.

They are not in `threading.enumerate()`, since programs wait until every thread there has ended. They block
all signals, since the kernel gives a signal of the process to any thread that does not block it, even if the
program blocks it in all of its own to wait for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enumerations of `signal`
import _thread
import importlib
import os
import sys
import threading
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Final

_signals: Any = _signal
_FAULTS: Final = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL")
_BLOCKED: Final = (
    _signals.valid_signals() - {getattr(_signals, name) for name in _FAULTS}
    if hasattr(_signals, "pthread_sigmask")
    else None
)
"""All signals but those of a fault of the thread itself, which `faulthandler` reports."""
_running: Final[dict[int, BackgroundThread]] = {}


class BackgroundThread:
    """A thread that the end of the program does not wait for; it does not exist in a forked child.

    Nothing in it may call `threading.current_thread()`, which would add it to the threads of the program.
    """

    __slots__ = ("_done", "_work", "ident", "name")

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self.name = name
        self.ident: int | None = None
        self._work = work
        self._done = _thread.allocate_lock()

    def start(self) -> None:
        """Start the thread, once, and wait until it runs; RuntimeError if no thread can be started.

        None can in a subinterpreter: CPython ends the process if a thread is left when that is destroyed.
        """
        if _is_in_subinterpreter():
            raise RuntimeError("can't start a thread of recording in a subinterpreter")
        begun = _thread.allocate_lock()
        begun.acquire()
        self._done.acquire()
        # gevent replaces it: then the thread is a greenlet, which has the signals of this thread
        is_own = isinstance(_thread.start_new_thread, BuiltinFunctionType)
        # Until the thread blocks the signals, it has those of this thread, which waits for it. So nothing has
        # to be blocked here, where a signal handler that raises could leave it blocked.
        _thread.start_new_thread(self._run, (begun, _BLOCKED if is_own else None))
        begun.acquire()

    def _run(self, begun: _thread.LockType, blocked: set[int] | None) -> None:
        self.ident = _thread.get_ident()
        try:
            if blocked is not None:
                _signals.pthread_sigmask(_signals.SIG_BLOCK, blocked)
            _running[self.ident] = self
            begun.release()
            self._work()
        except BaseException:  # noqa: BLE001 - reported like that of any thread
            error: Any = (*sys.exc_info(), self)
            threading.excepthook(threading.ExceptHookArgs(error))
        finally:
            del self._work  # so that ended threads are in no cycle of references
            _running.pop(self.ident, None)
            self._done.release()

    def is_alive(self) -> bool:
        """Whether it runs in this process."""
        return self.ident is not None and _running.get(self.ident) is self

    def is_current(self) -> bool:
        """Whether it is the calling thread."""
        return current() is self

    def join(self, timeout: float) -> None:
        """Wait until it has ended, at most that many seconds; not in itself."""
        if self.is_alive() and not self.is_current() and self._done.acquire(timeout=timeout):
            self._done.release()


def _is_in_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # of Python 3.13, and before
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() != interpreters.get_main())
    return False


def current() -> BackgroundThread | None:
    """Return the calling thread if it is one of recording."""
    return _running.get(_thread.get_ident())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)
