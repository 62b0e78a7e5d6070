"""What explains a session: `debug` without a text, and for complaints, found once in the background.

A child process looks for it: it takes seconds of processor time and up to a gigabyte of memory, and the pages
go on answering meanwhile. As a module this is that child: `python -m Agent.view.findings SESSION`, with the
text on standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any, Final

import orjson

from Agent.errors import AgentTraceError, InputError, UsageError

MOST_CHARS: Final = 2_000
_KEPT: Final = 16
_MOST_WAITING: Final = 8
_LEAST_INTERVAL_S: Final = 30.0


@dataclass(slots=True)
class _Finding:
    report: dict[str, Any] | None = None
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
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()

    def report(self, text: str, events: int) -> dict[str, Any] | None:
        """Return the report for a text as `DebugReport.to_dict` gives it; None until it is there.

        A session that has grown gets a new one in time.

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
            for old in [key for key, each in self._found.items() if not each.is_waiting][:-_KEPT]:
                del self._found[old]
            if found.failure is not None:
                raise found.failure
            return found.report

    def close(self) -> None:
        """Stop looking."""
        with self._lock:
            self._closed.set()
            self._asked.put(None)
            if self._child is not None:
                self._child.kill()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="findings", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (text := self._asked.get()) is not None:
            began = time.monotonic()
            report: dict[str, Any] | None = None
            failure: AgentTraceError | None = None
            try:
                report = self._in_child(text)
            except AgentTraceError as error:
                failure = error
            except OSError as error:
                failure = InputError(f"what explains the session cannot be looked for: {error.strerror}")
            ended = time.monotonic()
            with self._lock:
                found = self._found.setdefault(text, _Finding())
                found.report, found.failure, found.is_waiting = report, failure, False
                found.again_s = ended + max(_LEAST_INTERVAL_S, 10 * (ended - began))

    def _in_child(self, text: str) -> dict[str, Any] | None:
        """Return the report that a child process makes; None if it was stopped."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
        with self._lock:
            if self._closed.is_set():
                return None
            self._child = subprocess.Popen(  # noqa: S603 - this interpreter and this package
                [sys.executable, "-P", "-m", __name__, str(self._session.absolute())],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        with self._child as child:
            answer, _ = child.communicate(text.encode("utf-8", "replace"))
        if self._closed.is_set():
            return None
        try:
            found = orjson.loads(answer)
            report, problem = found.get("report"), found.get("problem")
        except (orjson.JSONDecodeError, AttributeError):
            report, problem = (
                None,
                [f"the process that looked for it ended with code {child.returncode}", None],
            )
        if report is None:
            raise InputError(f"nothing was found: {problem[0]}", remedy=problem[1])
        return dict(report)


def main() -> None:
    """Print the report on the session that the first argument names, or why there is none."""
    from Agent.analysis.debug.debug_issue import debug_issue

    text = sys.stdin.buffer.read().decode()
    try:
        answer: dict[str, Any] = {"report": debug_issue(text, Path(sys.argv[1])).to_dict()}
    except AgentTraceError as error:
        answer = {"problem": [error.message, error.remedy]}
    sys.stdout.buffer.write(orjson.dumps(answer, default=str))


if __name__ == "__main__":
    main()
