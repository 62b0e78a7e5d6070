"""A service for tests of the client: it reads the wire as the real one does, and answers as it is told to."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

from Agent.export import EventMessage, RunMessage, WireError, read_batch

Answers = Callable[
    ["IngestDouble", dict[str, Any], dict[str, str]], tuple[int, dict[str, Any], dict[str, str]] | None
]


class IngestDouble:
    """Listens on a port of its own; `events` holds each event once, by session and id.

    Args:
        answers: asked before a body is read; what it gives is answered instead, None lets it be taken.
        port: where to listen, any free one without it.
        content: whether the project takes content.
    """

    def __init__(self, answers: Answers | None = None, *, port: int = 0, content: bool = False) -> None:
        self.answers = answers
        self.content = content
        self.events: dict[tuple[str, str], EventMessage] = {}
        self.runs: list[RunMessage] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.duplicates = 0
        self.database = "first"
        self.requests = 0
        self.loses_answers = 0
        """How many bodies are still taken and answered as if they were not."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(
        self, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        with self._lock:
            self.requests += 1
            told = self.answers(self, body, headers) if self.answers is not None else None
            if told is not None:
                return told
            try:
                batch, dropped = read_batch(body, content=self.content)
            except WireError as error:
                return 422, {"error": {"code": "malformed", "message": error.problem, "path": error.path}}, {}
            if not body.get("events"):  # it asks which database answers
                return 200, {"database": self.database}, {}
            self.bodies.append(body)
            self.headers.append(headers)
            new = 0
            for event in batch.events:
                key = event.session_uid, event.event_id
                new += key not in self.events
                self.duplicates += key in self.events
                self.events[key] = event
            self.runs += batch.runs
            if self.loses_answers:
                self.loses_answers -= 1
                return 502, {}, {}
            refused = [{"index": n, "path": path, "problem": why} for n, path, why in batch.refused]
            counts = {
                "accepted": new,
                "duplicates": len(batch.events) - new,
                "refused": refused,
                "dropped": dict(dropped),
                "database": self.database,
            }
            return 200, counts, {}

    def make_anew(self) -> None:
        """Another, empty database at the same address."""
        with self._lock:
            self.database += " and another"
            self.events.clear()

    def everything(self) -> bytes:
        """All that came in, as one text to be searched."""
        return json.dumps(self.bodies).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handler_of(double: IngestDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            body = orjson.loads(gzip.decompress(sent))
            status, answer, more = double.take({**body, "path": self.path}, dict(self.headers))
            content = orjson.dumps(answer)
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **more,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the sender was killed meanwhile
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    return Handler
