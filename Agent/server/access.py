"""Access control: a key with the scope is required, or, on loopback only, none for users of this machine."""

from __future__ import annotations

import math
import re
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


class RateLimit:
    """Counts requests of each key against a rate.

    Args:
        per_second: the average number of requests of a key per second; 0 for no limit.
        now_s: the time source.
    """

    def __init__(self, per_second: float, now_s: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._now_s = now_s
        self._lock = threading.Lock()
        self._remaining: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key_id: str) -> float:
        """Count one request of a key; return 0 if it may be answered, else the seconds to wait."""
        if self._per_second <= 0:
            return 0.0
        full = max(1.0, self._per_second * _BURST_S)
        with self._lock:
            now_s = self._now_s()
            left, then_s = self._remaining.pop(key_id, (full, now_s))
            left = min(full, left + (now_s - then_s) * self._per_second)
            allowed = left >= 1
            self._remaining[key_id] = (left - 1 if allowed else left, now_s)
            if len(self._remaining) > _MAX_KEYS:
                self._remaining.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


_FORWARDED: Final = ("forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip")
_FORWARDED_BEGIN: Final = "x-forwarded-"


class Access:
    """Access control of one app.

    Args:
        store: the store of the keys.
        scope: the scope that a key must have.
        settings: the server's address and rate limit.
    """

    def __init__(self, store: Store, scope: Scope, settings: ServerSettings) -> None:
        self._store = store
        self._scope = scope
        self._keyless = not settings.needs_keys
        self._rate = RateLimit(settings.requests_per_second)

    def project(self, request: Request) -> Project:
        """Return the project of a request.

        Raises:
            Problem: 401 without a valid key if one is needed, 403 without the scope, 429 for too many
            requests.
        """
        project = self._project(request)
        request.state.project_id = project.project_id
        return project

    def _project(self, request: Request) -> Project:
        header = request.headers.get("authorization")
        if header is None:
            if self._keyless and _is_local(request):
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
        wait_s = self._rate.wait_s(grant.key_id)
        if wait_s > 0:
            raise Problem(
                429,
                "the key exceeds this server's request rate",
                remedy="ask again later",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        return grant.project


def _granted_by(name: str) -> Callable[[Request], Project]:
    def granted(request: Request) -> Project:
        access: Access = getattr(request.app.state, name)
        return access.project(request)

    return granted


GrantedReplay = Annotated[Project, Depends(_granted_by("replay_access"))]
"""The project of a request to a replay route; its key needs the scope `replay`, in the ingest app too."""


GrantedDelete = Annotated[Project, Depends(_granted_by("delete_access"))]
"""The project of a request that deletes; its key needs the scope `delete`."""

Granted = Annotated[Project, Depends(_granted_by("access"))]
"""The project of an authorised request; a parameter of all routes that are not public."""


def _unauthorized(message: str) -> Problem:
    return Problem(
        401,
        message,
        remedy="send Authorization: Bearer KEY; agent-trace keys add creates one",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _is_local(request: Request) -> bool:
    """Return whether a request is from a program on this machine, not from a proxy or a foreign web page.

    A web page in a browser can send requests to this machine. They have the page's origin, or are marked as
    cross-site, or, after DNS rebinding, have the page's name as the host.
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
    """Return whether a user followed a link: the browser shows the response to the user, not to the page."""
    return request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"


def _name_of(url: str) -> str:
    """Return the host of an address; empty where there is anything but a host and a port."""
    try:
        match = _HOST.fullmatch(urlsplit(url).netloc)
    except ValueError:
        return ""
    return "" if match is None else match[1]


_HOST: Final = re.compile(r"(\[[^\[\]]*\]|[^:@\[\]]*)(?::[0-9]*)?")
