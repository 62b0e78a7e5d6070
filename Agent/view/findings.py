"""What explains a session: `debug` without a text, and for complaints, found in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Final

from Agent.analysis.debug.debug_issue import DebugReport, debug_issue
from Agent.errors import AgentTraceError, UsageError

MOST_CHARS: Final = 2_000
_KEPT: Final = 16
_MOST_WAITING: Final = 8
_LEAST_INTERVAL_S: Final = 30.0


@dataclass(slots=True)
class _Finding:
    report: DebugReport | None = None
    failure: AgentTraceError | None = None
    events: int = -1
    """How many events the session had when it was asked for."""
    again_s: float = 0.0
    """When it may be looked for again, since the session has grown."""
    is_waiting: bool = False


class Findings:
    """The reports about one session by their text; the text "" stands for the session as a whole.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._found: OrderedDict[str, _Finding] = OrderedDict()
        self._asked: Queue[str | None] = Queue()
        self._thread: threading.Thread | None = None

    def report(self, text: str, events: int) -> DebugReport | None:
        """Return the report for a text, None until it is there; a grown session gets a new one in time.

        Raises:
            UsageError: the text is too long, or too many others are waiting.
            AgentTraceError: the session cannot be explained.
        """
        if len(text) > MOST_CHARS:
            raise UsageError(f"{len(text)} characters are too many", remedy=f"describe it in {MOST_CHARS}")
        with self._lock:
            found = self._found.setdefault(text, _Finding())
            self._found.move_to_end(text)
            if found.events != events and not found.is_waiting and time.monotonic() >= found.again_s:
                if sum(each.is_waiting for each in self._found.values()) >= _MOST_WAITING:
                    raise UsageError("too many other complaints are waiting", remedy="ask again in a minute")
                found.is_waiting, found.events = True, events
                self._asked.put(text)
                self._start()
            while len(self._found) > _KEPT and not next(iter(self._found.values())).is_waiting:
                self._found.popitem(last=False)
            if found.failure is not None:
                raise found.failure
            return found.report

    def close(self) -> None:
        """Stop the thread after what it is finding."""
        self._asked.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="findings", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (text := self._asked.get()) is not None:
            began = time.monotonic()
            report: DebugReport | None = None
            failure: AgentTraceError | None = None
            try:
                report = debug_issue(text, self._session)
            except AgentTraceError as error:
                failure = error
            ended = time.monotonic()
            with self._lock:
                found = self._found.setdefault(text, _Finding())
                found.report, found.failure, found.is_waiting = report, failure, False
                found.again_s = ended + max(_LEAST_INTERVAL_S, 10 * (ended - began))
