"""User code under watch in this process: reads of chance and time are noticed, the network is refused.

The hook stands only while the code itself runs, also between the awaits of a coroutine; whatever else the
event loop does is not seen. Its calls of tools and models get the recorded responses after the checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import FrameType
from typing import Any, Final

from Agent.errors import RunNotFound
from Agent.flight.recorded_calls import CallBook, RequestedCall, read_calls
from Agent.flight.run_reading import RunRef
from Agent.flight.tool_replayer import ToolReplayer
from Agent.record.emit.context import CallPlace
from Agent.record.sources.adopted import asker_of, module_of
from Agent.replay.compare.outcome import SourceRead
from Agent.replay.drive.watched import SourceWatch

_NETWORK: Final = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "socket.sendmsg",
}
_open_watch: ContextVar[ExecutorWatch | None] = ContextVar("agent_trace_executor_watch", default=None)


class ExecutorWatch(SourceWatch):
    """Notices what user code reads; without the process-wide hooks of a replay in a process of its own.

    Args:
        allows_network: somebody asked for live calls.
        frameworks: top-level packages whose own reads do not count, such as ids that a framework gives out.
    """

    def __init__(self, *, allows_network: bool, frameworks: Collection[str] = ()) -> None:
        super().__init__()
        self.allows_network = allows_network
        self._frameworks = frozenset(frameworks)

    def hook_in(self) -> None:
        """Only while user code runs, and in its context; see `open` and `noticing`."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Refuse the network in this context, and those made from it."""
        _install_audit()
        token = _open_watch.set(self)
        try:
            yield
        finally:
            _open_watch.reset(token)

    @contextmanager
    def noticing(self, step: int | None = None) -> Iterator[None]:
        """Notice what this thread reads in the block; a profiler that is at work comes back behind it."""
        before = sys.getprofile()
        if step is not None:
            self._step = step
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _note(self, source: str, frame: FrameType) -> None:
        asker = asker_of(frame)
        if asker is not None and module_of(asker.frame) not in self._frameworks:
            self._add(source, asker.frame)

    def refuse(self, frame: FrameType) -> None:
        """Say that the network was asked for, and by whom."""
        asker = asker_of(frame)
        if asker is not None:
            self._add("network", asker.frame)
        else:
            self.reads.append(SourceRead("network", "a library", "?", 0, self._step))


class watched:  # noqa: N801 - used like a function
    """An awaitable like the one given, noticed while it runs."""

    def __init__(self, awaitable: Awaitable[Any], watch: ExecutorWatch, step: int | None = None) -> None:
        self._awaitable = awaitable
        self._watch = watch
        self._step = step

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        resume: Callable[[], Any] = lambda: next(inner)  # noqa: E731 - one of three ways to go on
        while True:
            try:
                with self._watch.noticing(self._step):
                    waited = resume()
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed on to the code that waits
                resume = _thrower(inner, error)
            else:
                resume = _sender(inner, sent)


def _sender(inner: Any, value: Any) -> Callable[[], Any]:
    return lambda: next(inner) if value is None else inner.send(value)


def _thrower(inner: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: inner.throw(error)


@cache
def _install_audit() -> None:
    """Once a process, for there is no way back; it does nothing where no watch is open."""

    def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
        if event not in _NETWORK:
            return
        watch = _open_watch.get()
        if watch is None or watch.allows_network:
            return
        watch.refuse(sys._getframe(1))  # noqa: SLF001 - the one way to a caller
        raise PermissionError("the network is not allowed during a replay; ReplayConfig(live=...) allows it")

    sys.addaudithook(refuse)


class AnswersBehind(ToolReplayer):
    """Answers by name and arguments alone: executors call from other places than the recorded program."""

    def ask(self, kind: str, name: str, arguments: Any, _place: CallPlace | None = None) -> RequestedCall:
        """A call that is made now, wherever."""
        return super().ask(kind, name, arguments, None)


def replayer_behind(
    ref: RunRef, after_us: int, is_meant: Callable[[Collection[str]], bool] | None = None
) -> ToolReplayer:
    """The recorded responses of a run's tools and models, of those calls that ended behind a moment.

    Args:
        is_meant: says of the spans around a call whether it counts; all do without it.
    """
    try:
        book = read_calls(ref)
    except RunNotFound:
        book = CallBook(ref)
    book.calls = [
        call
        for call in book.calls
        if call.event.timestamp_us > after_us and (is_meant is None or is_meant(call.place[1]))
    ]
    return AnswersBehind(book=book, tolerance=0.0)
