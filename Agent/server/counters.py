"""Counters of a server since its start, in Prometheus' format: of one project, or of all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX: Final = "agent_trace_"
_HELP: Final = {
    "checkpoint_success_ratio": "Share of the stored runs that have checkpoints.",
    "checkpoint_storage_bytes": "Size of all stored states.",
    "replays": "Replays that have ended.",
    "replay_success_ratio": "Share of the ended replays that were completed.",
    "replay_latency_seconds": "Mean time of the ended replays.",
    "replay_divergence_ratio": "Share of the completed replays that differ from what was recorded.",
    "events_accepted_total": "Events that were stored.",
    "events_duplicate_total": "Events that were stored before.",
    "events_refused_total": "Items of batches that were not events.",
    "runs_total": "Runs, or parts of runs, that were accepted.",
    "spans_accepted_total": "Spans of OpenTelemetry that were stored, or were stored before.",
    "spans_rejected_total": "Invalid spans.",
    "values_dropped_total": "Values that were left out because they may not be stored.",
    "requests_total": "Requests by route and status.",
    "request_seconds": "Duration of requests.",
}


def gauges_text(values: Mapping[str, float | None]) -> str:
    """Return gauges in Prometheus' text format; one whose value is None is left out."""
    lines: list[str] = []
    for name, value in values.items():
        if value is not None:
            lines += [*_head(name, "gauge"), f"{_PREFIX}{name} {value:.10g}"]
    return "".join(f"{line}\n" for line in lines)


class Counters:
    """The counters of one app."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._projects: dict[int | None, _Counts] = {}

    def add(self, project_id: int, name: str, number: int) -> None:
        """Add to a plain counter."""
        with self._lock:
            self._of(project_id).plain[name] += number

    def request(self, project_id: int | None, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; one without a valid key belongs to no project."""
        with self._lock:
            counts = self._of(project_id)
            counts.requests[method, route, status] += 1
            counts.seconds += seconds
            bucket = next((bound for bound in _BUCKETS_S if seconds <= bound), float("inf"))
            counts.buckets[bucket] += 1

    def _of(self, project_id: int | None) -> _Counts:
        return self._projects.setdefault(project_id, _Counts())

    def text(self, project_id: int | None = None) -> str:
        """Return the counters of one project, or of the whole server, in Prometheus' text format 0.0.4."""
        with self._lock:
            if project_id is None:
                return _sum(self._projects.values()).text()
            return self._of(project_id).text()


@dataclass(slots=True)
class _Counts:
    """The counters of one project."""

    plain: Counter[str] = field(default_factory=Counter)
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0

    def text(self) -> str:
        lines: list[str] = []
        for name in sorted(self.plain):
            lines += [*_head(name, "counter"), f"{_PREFIX}{name} {self.plain[name]}"]
        lines += _head("requests_total", "counter")
        for (method, route, status), number in sorted(self.requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"{_PREFIX}requests_total{{{labels}}} {number}")
        lines += _head("request_seconds", "histogram")
        below = 0
        for bound in (*_BUCKETS_S, float("inf")):
            below += self.buckets[bound]
            shown = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'{_PREFIX}request_seconds_bucket{{le="{shown}"}} {below}')
        lines.append(f"{_PREFIX}request_seconds_sum {self.seconds:.6f}")
        lines.append(f"{_PREFIX}request_seconds_count {below}")
        return "\n".join(lines) + "\n"


def _sum(projects: Iterable[_Counts]) -> _Counts:
    total = _Counts()
    for each in projects:
        total.plain.update(each.plain)
        total.requests.update(each.requests)
        total.buckets.update(each.buckets)
        total.seconds += each.seconds
    return total


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP {_PREFIX}{name} {_HELP[name]}", f"# TYPE {_PREFIX}{name} {kind}"]


class CountRequests:
    """Counts requests by the pattern of their route, so that no id becomes a label; others as `other`."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route: Any = scope.get("route")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            path = getattr(route, "path", "other")
            project_id = scope.get("state", {}).get("project_id")
            self._counters.request(project_id, method, path, status, time.perf_counter() - begun)
