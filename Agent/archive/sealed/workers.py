"""Work on parts of an archive side by side: a thread for each, with a connection of its own on one core.

`seal` makes and proves parts with it. A part is too small for one connection to keep two cores busy: its
tables come in blocks of a hundred thousand rows, and what is done outside the engine is done by one thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from Agent.archive.sealed.part_writer import cores, open_connection

__all__ = ["most_at_a_time", "side_by_side"]

MOST_WORKERS: Final = 4
"""Each holds a part in memory."""

_Result = TypeVar("_Result")
_Task = Callable[[Any], _Result]


def most_at_a_time() -> int:
    """How many tasks are worked on side by side where there are as many: a core each, at most four."""
    return min(cores(), MOST_WORKERS)


def side_by_side(session: Path, tasks: Sequence[_Task[_Result]], workers: int = 0) -> Generator[_Result]:
    """What each task gives, as they end; a task is handed a DuckDB connection.

    Args:
        session: whose `.state` takes what the engine has no memory for.
        tasks: what is to be done, in any order.
        workers: how many at a time; default: as many as there are cores, at most 4.

    What a task raises is raised here, and the others are interrupted; so they are when the generator is
    closed, which whoever may leave it early has to do.
    """
    number = min(workers or most_at_a_time(), MOST_WORKERS, len(tasks))
    if number < 2:
        with open_connection(session) as connection:
            for task in tasks:
                yield task(connection)
        return
    crew = _Crew(session, tasks, number)
    try:
        for _ in tasks:
            yield crew.result()
    finally:
        crew.end()


class _Crew:
    """Threads that take tasks from a queue."""

    def __init__(self, session: Path, tasks: Sequence[_Task[Any]], number: int) -> None:
        self._tasks: queue.SimpleQueue[_Task[Any]] = queue.SimpleQueue()
        for task in tasks:
            self._tasks.put(task)
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._connections: list[Any] = []
        # so that none is closed while it is interrupted
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(session, number), name="agent-trace-seal", daemon=True)
            for _ in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, session: Path, number: int) -> None:
        try:
            with open_connection(session, share=number) as connection:
                with self._lock:
                    self._connections.append(connection)
                try:
                    while not self._ending.is_set():
                        self._results.put((self._tasks.get_nowait()(connection), None))
                except queue.Empty:
                    # every task is done or taken
                    return
                finally:
                    with self._lock:
                        self._connections.remove(connection)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits for results
            self._results.put((None, error))

    def result(self) -> Any:
        """What the next task to end gave; what it raised is raised."""
        value, error = self._results.get()
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """Stop what is still under way, and wait until it has put its things away."""
        self._ending.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()
        for thread in self._threads:
            thread.join()
