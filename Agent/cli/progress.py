"""A bar on the terminal for work that takes longer than a second; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


@contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """Give a function that is told the share that is done; the bar goes away at the end."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    drawn = _Bar(what)
    try:
        yield drawn.show
    finally:
        drawn.close()


class _Bar:
    """Made at the first share that is told, so that quick work draws, and loads, nothing."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress: object = None

    def show(self, share: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        if share >= 1.0:
            # what comes next on the terminal is an answer
            self.close()
            return
        if not isinstance(self._progress, Progress):
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task(self._what, total=1.0)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=share)

    def close(self) -> None:
        stop = getattr(self._progress, "stop", None)
        if stop is not None:
            stop()
        self._progress = None


@contextmanager
def shown(what: str = "reading the session") -> Iterator[None]:
    """Show how far long queries of `Agent.analysis` are while this is open."""
    from Agent.analysis.query.progress import listener

    with _heard(listener, what):
        yield


@contextmanager
def shown_forks(what: str) -> Iterator[None]:
    """Show how far forks are while this is open, where they take longer than a second."""
    from Agent.replay.worker.jobs import listener

    with _heard(listener, what):
        yield


@contextmanager
def _heard(listener: ContextVar[Callable[[float], None] | None], what: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    with bar(what) as show:
        token = listener.set(show)
        try:
            yield
        finally:
            listener.reset(token)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is being done whose share nobody knows, while this is open."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
