"""Who may ask: the holder of a key with the scope, or anybody here where only this machine is listened to."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request

from Agent.server.errors import Problem
from Agent.server.settings import ServerSettings, is_loopback
from Agent.store import Project, Scope, Store

_BURST_S: Final = 2.0
_MAX_KEYS: Final = 10_000


class Pace:
    """Counts requests of each key against a rate.

    Args:
        per_second: how many a key may ask on average; 0 for no limit.
        now_s: tells the time.
    """

    def __init__(self, per_second: float, now_s: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._now_s = now_s
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key_id: str) -> float:
        """Takes one request of a key; 0 where it may be answered, else the seconds until one may come."""
        if self._per_second <= 0:
            return 0.0
        full = max(1.0, self._per_second * _BURST_S)
        with self._lock:
            now_s = self._now_s()
            left, then_s = self._left.pop(key_id, (full, now_s))
            left = min(full, left + (now_s - then_s) * self._per_second)
            allowed = left >= 1
            self._left[key_id] = (left - 1 if allowed else left, now_s)
            if len(self._left) > _MAX_KEYS:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


_FORWARDED: Final = ("forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip")
_FORWARDED_BEGIN: Final = "x-forwarded-"


class Access:
    """Decides about requests to one app.

    Args:
        store: where the keys are.
        scope: what a key must be good for.
        settings: where the server listens and what a key may ask.
    """

    def __init__(self, store: Store, scope: Scope, settings: ServerSettings) -> None:
        self._store = store
        self._scope = scope
        self._keyless = not settings.needs_keys
        self._pace = Pace(settings.requests_per_second)

    def project(self, request: Request) -> Project:
        """The project that a request is about.

        Raises:
            Problem: 401 without a valid key where one is needed, 403 without the scope, 429 too often.
        """
        project = self._project(request)
        request.state.project_id = project.project_id
        return project

    def _project(self, request: Request) -> Project:
        header = request.headers.get("authorization")
        if header is None:
            if self._keyless and _from_here(request):
                return self._store.find_project("default")
            raise _unauthorized("a key is needed here")
        kind, _, token = header.partition(" ")
        grant = self._store.authenticate(token.strip()) if kind.lower() == "bearer" else None
        if grant is None:
            raise _unauthorized("the key is unknown or revoked")
        if self._scope not in grant.scopes:
            raise Problem(
                403,
                f"the key does not allow {self._scope}",
                remedy=f"create one with: agent-trace keys add --scope {self._scope}",
            )
        wait_s = self._pace.wait_s(grant.key_id)
        if wait_s > 0:
            raise Problem(
                429,
                "the key exceeds this server's request rate",
                remedy="ask again later",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        return grant.project


def _granted(request: Request) -> Project:
    access: Access = request.app.state.access
    return access.project(request)


def _granted_replay(request: Request) -> Project:
    access: Access = request.app.state.replay_access
    return access.project(request)


GrantedReplay = Annotated[Project, Depends(_granted_replay)]
"""The same of a route of replays, for which a key needs that scope, also beside the role of ingest."""

Granted = Annotated[Project, Depends(_granted)]
"""The project of a request that may be answered: what a route asks for that is not open to all."""


def _unauthorized(message: str) -> Problem:
    return Problem(
        401,
        message,
        remedy="send Authorization: Bearer KEY; agent-trace keys add creates one",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _from_here(request: Request) -> bool:
    """Whether a program on this machine asks by itself: no proxy for others, no web page of somebody else's.

    A page that a browser shows can send requests to this machine; they carry the page's origin, or say that
    they cross sites, or under a name that was made to point here, that name as the host.
    """
    if request.client is None or not is_loopback(request.client.host):
        return False
    if any(name in _FORWARDED or name.startswith(_FORWARDED_BEGIN) for name in request.headers):
        return False
    if request.headers.get("sec-fetch-site") == "cross-site" and not _is_opened(request):
        return False
    if not is_loopback(_name_of(f"//{request.headers.get('host', '')}")):
        return False
    origin = request.headers.get("origin")
    return origin is None or is_loopback(_name_of(origin))


def _is_opened(request: Request) -> bool:
    """Whether somebody followed a link to here: the browser shows what is answered to them alone."""
    return request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"


def _name_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
