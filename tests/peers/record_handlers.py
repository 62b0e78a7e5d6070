"""Our bridge in the shape of the handlers that peers' suites make: a stream's, and a rotated file's.

A stream gets what was recorded of each record, as the suite would read it; a file is the category mirror itself.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outcomes_plugin import called

from Agent import setup_logging, shutdown_logging
from Agent.config.logging_config import LOGGING_CONFIG
from Agent.record.bridges.logging_bridge import TraceHandler
from Agent.record.encode.redaction import redacted
from Agent.testing import MemorySink, record_in_memory
from Agent.tree.write.mirror import Mirrors

View = Callable[[dict[str, Any]], str]


def as_message(event: dict[str, Any]) -> str:
    """What a suite that compares text wants to see of an event: its message, all of it."""
    return str(event["extra"].get("full_message", event["message"]))


def as_fields(event: dict[str, Any]) -> str:
    """What a suite of a JSON formatter wants to see: the message and the user's keys, the traceback by its name."""
    fields = {key: value for key, value in event["extra"].items() if key != "event_type"}
    traceback = fields.get("traceback", "").removesuffix("\n")
    if traceback and traceback not in [fields[key] for key in fields if key != "traceback"]:
        fields.setdefault("exc_info", traceback)
    return json.dumps({**fields, "message": event["message"]}, ensure_ascii=False)


class _Recording:
    """The recording in memory of the case that runs."""

    sink: MemorySink | None = None
    view: View = staticmethod(as_message)


@contextmanager
def recording(view: View) -> Iterator[MemorySink]:
    """Record into memory for one case; what is recorded appears in streams as `view` makes it."""
    _Recording.view = staticmethod(view)
    with record_in_memory() as sink:
        _Recording.sink = sink
        try:
            yield sink
        finally:
            _Recording.sink = None


def lines_of(sink: MemorySink, start: int) -> list[dict[str, Any]]:
    """The records of a program, as JSON objects, from a position on."""
    events = [json.loads(line) for line in sink.lines[start:]]
    return [event for event in events if event["extra"]["event_type"] in ("log", "error")]


_emit_of_streams = logging.StreamHandler.emit


def _emit(self: Any, record: logging.LogRecord) -> None:
    """`StreamHandler.emit` by our bridge: what was recorded goes to the stream, and nothing else."""
    sink = _Recording.sink
    if sink is None or type(self).__module__.startswith("_pytest"):
        _emit_of_streams(self, record)
        return
    called()
    bridge = TraceHandler()
    bridge.setFormatter(self.formatter)
    try:
        with self.lock:
            start = len(sink.lines)
            bridge.emit(record)
            found = lines_of(sink, start)
            if found:
                self.stream.write(_Recording.view(found[-1]) + self.terminator)
                self.flush()
    except Exception:
        # Of the stream: the bridge itself raises nothing, which the message of a failed case would show.
        self.handleError(record)


def replace_streams() -> None:
    """Let every handler of a stream record, and show in its stream what was recorded."""
    logging.StreamHandler.emit = _emit


_NO_LIMIT = 1 << 60


class MirrorHandler(TraceHandler):
    """In the place of a rotating file handler: the file is the mirror of the category `system`.

    A whole recording stands behind it, session and all, under the directory of the file. `maxBytes=0`, which the
    configuration refuses, is a number that no file reaches. What a mirror has no word for (mode, encoding, delay,
    compression, rotation by time) is taken and not used.
    """

    form = "events"

    def __init__(
        self, filename: Any, mode: str = "a", maxBytes: int = 0, backupCount: int = 0, *_: Any, **__: Any
    ) -> None:
        super().__init__()
        called()
        self._sizes = (maxBytes if maxBytes > 0 else _NO_LIMIT, backupCount)
        self._path = Path(filename).absolute()
        self.baseFilename = str(self._path)
        shutdown_logging()
        config = copy.deepcopy(LOGGING_CONFIG)
        config["handlers"]["system_file"].update(
            filename=self.baseFilename, maxBytes=self._sizes[0], backupCount=backupCount
        )
        if self.form == "text":
            config["formatters"] = {"text": {"format": "%(message)s"}}
            config["handlers"]["system_file"]["formatter"] = "text"
        setup_logging(config, trace_root=self._path.parent)

    def emit(self, record: logging.LogRecord) -> None:
        called()
        super().emit(record)

    @property
    def stream(self) -> Path | None:
        """The file, once there is one."""
        return self._path if self._path.exists() else None

    def close(self) -> None:
        super().close()
        shutdown_logging()


class TextMirrorHandler(MirrorHandler):
    """The same, as a stdlib handler of files: text, and each record in the file before the call returns."""

    form = "text"

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.flush()

    def shouldRollover(self, record: logging.LogRecord | None) -> bool:
        """Whether writing this record rolls the file: seen by a mirror that writes it to a copy."""
        called()
        text = "" if record is None else self.format(record)
        with tempfile.TemporaryDirectory() as directory:
            path = self._path
            if not path.exists() or path.is_file():
                path = Path(directory, "copy.log")
                if self._path.exists():
                    shutil.copy(self._path, path)
            mirrors = Mirrors(
                Path(directory),
                rotation={"system": self._sizes},
                categories=("system",),
                files={"system": str(path)},
            )
            before = path.stat().st_ino if path.exists() else None
            mirrors.add("system", redacted(f"{text}\n".encode()), urgent=True)
            mirrors.close()
            return before is not None and path.stat().st_ino != before
