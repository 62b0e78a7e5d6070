"""`serve`: the service in this process until somebody ends it."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from Agent.errors import InputError
from Agent.server.running import RunningServer, ServerRole
from Agent.server.settings import ServerSettings
from Agent.store import open_store
from Agent.store.engines import parse_url, shown_url

__all__ = ["keys_missing", "serve", "started_lines", "warnings_of"]

_LOOK_S = 0.5


def serve(
    settings: ServerSettings, roles: Sequence[ServerRole], *, started: Callable[[RunningServer], None]
) -> None:
    """Runs the roles until SIGTERM, which ends them after the requests that have begun.

    Args:
        settings: where and on which database.
        roles: which apps.
        started: told once all of them answer.

    Raises:
        KeyboardInterrupt: SIGINT ended it; everything is down as after SIGTERM.
        InputError: the database does not open, a port is taken, or a server stopped unexpectedly.
    """
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    try:
        with RunningServer(settings, roles) as server:
            # What is here now stays: collections that walk over all of it would hold up requests for 50 ms.
            gc.freeze()
            started(server)
            while not ended.wait(_LOOK_S):
                if not server.alive():
                    raise InputError("a server stopped unexpectedly", remedy="see the message above")
    finally:
        signal.signal(signal.SIGTERM, before)


def started_lines(server: RunningServer) -> list[str]:
    """What a person reads when the service has started."""
    lines = [f"{role}: {getattr(server, f'{role}_url')}" for role in server.roles]
    return [*lines, f"database: {shown_url(parse_url(server.settings.database_url))}"]


def warnings_of(settings: ServerSettings, roles: Sequence[ServerRole]) -> list[str]:
    """What an administrator should know before others reach this server."""
    found = [
        f"there is no module {name} here, so replays fail; check that PYTHONPATH contains its directory"
        for name in settings.executors
        if "replay" in roles and not _is_there(name)
    ]
    if keys_missing(settings, roles):
        found.append(
            "there is no valid key yet, so every request is refused; create one with: agent-trace keys add"
        )
    if settings.tls_certificate is None and not settings.loopback:
        found.append("without TLS, keys are sent unencrypted; give --tls-certificate and --tls-key")
    return found


def _is_there(module: str) -> bool:
    """Whether a module, or the package that it is in, can be found; nothing of it is run here."""
    try:
        return find_spec(module.partition(".")[0]) is not None
    except ValueError:
        return False


def keys_missing(settings: ServerSettings, roles: Sequence[ServerRole]) -> bool:
    """Whether every request would be refused: keys are needed, and there is none that is good."""
    if not settings.needs_keys:
        return False
    # who only reads may have no right to make the tables
    with open_store(settings.database_url, role="query" if set(roles) == {"query"} else "admin") as store:
        return all(key.revoked_us is not None for key in store.list_keys())
