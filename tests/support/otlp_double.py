"""A receiver of OTLP over HTTP for tests: it parses what arrives, and answers as it is told to."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PATH = "/v1/traces"


def plain(value: Any) -> Any:
    """An attribute's value."""
    kind = value.WhichOneof("value")
    return (
        [plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
    )


def attributes_of(holder: Any) -> dict[str, Any]:
    return {each.key: plain(each.value) for each in holder.attributes}


class OtlpReceiver:
    """Listens on a free port.

    Args:
        answers: asked with the number of the request; what it returns, (status, headers), is answered instead.
        rejects: how many spans of each request it rejects.
        path: where it listens.
        refusal: the body of what is answered instead.
    """

    def __init__(
        self,
        answers: Callable[[int], tuple[int, dict[str, str]] | None] = lambda _: None,
        rejects: int = 0,
        path: str = PATH,
        refusal: bytes = b"",
    ) -> None:
        self.answers = answers
        self.path = path
        self.refusal = refusal
        self.rejects = rejects
        self.requests = 0
        self.spans: list[Any] = []
        """As they came, repeated ones too."""
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.requests += 1
            told = self.answers(self.requests)
            if told is not None:
                return *told, self.refusal
            if path != self.path or headers.get("Content-Type") != "application/x-protobuf":
                return 404, {}, b""
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            self.headers.append(headers)
            for of_resource in request.resource_spans:
                self.resources.append(attributes_of(of_resource.resource))
                self.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
            answer = ExportTraceServiceResponse()
            if self.rejects:
                answer.partial_success.rejected_spans = self.rejects
                answer.partial_success.error_message = "no room"
            return 200, {}, answer.SerializeToString()

    def by_name(self) -> dict[str, Any]:
        """The last span of each name."""
        return {span.name: span for span in self.spans}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_of(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, answer = receiver.take(self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
