"""Servers in threads of this process, each on a separate port: for tests and for `agent-trace serve`."""

from __future__ import annotations

import gc
import resource
import secrets
import signal
import ssl
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from Agent.errors import InputError, MissingExtra
from Agent.server.app import make_app
from Agent.server.limits import BoundedConnection, BoundedListener
from Agent.server.server_thread import ServerInThread, server_config
from Agent.server.settings import ServerRole, ServerSettings, listen_on
from Agent.store import open_store
from Agent.store.engines import parse_url, shown_url

if TYPE_CHECKING:
    from Agent.server.pages.app import Pages

PAGES_PATH = "/view"
_DRAIN_S = 10
_KEEP_ALIVE_S = 30
_BACKLOG = 128
"""The number of connections that are accepted at once, before those beyond the limit are closed."""


class RunningServer:
    """Runs roles of a service within a `with` block.

    Args:
        settings: the server's settings; port 0 means any free port.
        roles: the roles to run; `ingest` and `replay` are one app on one port.

    Raises:
        InputError: the database does not open, a port is in use, or TLS fails with the given files.
    """

    def __init__(
        self, settings: ServerSettings, roles: Sequence[ServerRole] = ("ingest", "query", "replay")
    ) -> None:
        self.settings = settings
        self.roles = tuple(roles)
        self._ports: dict[ServerRole, int] = {}
        self._servers: list[ServerInThread] = []
        self._token = secrets.token_urlsafe(24)
        self._pages: Pages | None = None

    @property
    def ingest_url(self) -> str:
        """Return the URL of the ingest role."""
        return self._url("ingest")

    @property
    def query_url(self) -> str:
        """Return the URL of the query role."""
        return self._url("query")

    @property
    def replay_url(self) -> str:
        """Return the URL of the routes for checkpoints and replays."""
        return self._url("ingest" if "ingest" in self.roles else "replay")

    @property
    def pages_url(self) -> str | None:
        """Return the URL of the pages, with their token; None if they are not served."""
        return None if self._pages is None else f"{self.query_url}{PAGES_PATH}/?token={self._token}"

    def _url(self, role: ServerRole) -> str:
        scheme = "http" if self.settings.tls_certificate is None else "https"
        host = self.settings.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._ports[role]}"

    def start(self) -> None:
        """Start all roles, and return when each responds."""
        _check_certificate(self.settings)
        try:
            for role in sorted(self.roles):  # ingest starts first: it creates the tables that query reads
                if role != "replay" or "ingest" not in self.roles:
                    self._start(role)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Finish running requests, and return when all servers have stopped."""
        # Query first: the writing role can fold SQLite's log only when no reader uses it.
        for server in reversed(self._servers):
            server.stop()
        self._servers.clear()
        if self._pages is not None:
            self._pages.close()

    def alive(self) -> bool:
        """Return whether every server is still running."""
        return all(server.is_alive() for server in self._servers)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_pages(self, root: Path) -> Pages | None:
        """Make the pages of a trace root; None without their extra, which the service does not need."""
        from Agent.server.pages import Pages

        try:
            return Pages(root, token=self._token, host=self.settings.host)
        except MissingExtra:
            return None

    def _start(self, role: ServerRole) -> None:
        settings = self.settings
        port = settings.query_port if role == "query" else settings.ingest_port
        listening = listen_on(settings.host, port, _BACKLOG, BoundedListener)
        self._ports[role] = listening.getsockname()[1]
        try:
            app = make_app(settings, role=role, and_replay=role == "ingest" and "replay" in self.roles)
            if role == "query" and settings.pages_root is not None and settings.loopback:
                self._pages = self._make_pages(settings.pages_root)
                if self._pages is not None:
                    app.mount(PAGES_PATH, self._pages)
        except BaseException:
            listening.close()
            raise
        config = server_config(
            app,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            http=BoundedConnection,
            backlog=_BACKLOG,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        self._servers.append(server := ServerInThread(config))
        server.start(listening, role)


def _check_certificate(settings: ServerSettings) -> None:
    """Check that TLS is off or works with the given files.

    Raises:
        InputError: the files have no certificate, or not its key.
    """
    if settings.tls_certificate is None:
        return
    try:
        # Without this password, a protected key would prompt for one, perhaps without a user at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_certificate, settings.tls_key, password=lambda: ""
        )
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "one of them is not in PEM, or is encrypted").replace("_", " ").lower()
        raise InputError(
            f"TLS does not work with this certificate and key: {reason}",
            path=settings.tls_certificate,
            remedy="give both in PEM, the key without a password",
        ) from None


_POLL_S = 0.5
_FILES = 4096
"""The limit of open files: connections of two roles and of the database, and workers."""


def serve(
    settings: ServerSettings, roles: Sequence[ServerRole], *, started: Callable[[RunningServer], None]
) -> None:
    """Run roles until SIGTERM, after which running requests are finished.

    Args:
        settings: the settings of the servers.
        roles: the roles to run.
        started: called when all roles respond.

    Raises:
        KeyboardInterrupt: SIGINT was received; the servers were stopped as after SIGTERM.
        InputError: the database does not open, a port is in use, or a server stopped unexpectedly.
    """
    _allow_files()
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    try:
        with RunningServer(settings, roles) as server:
            # All present objects stay alive; without this, full collections would scan them, for 50 ms each.
            gc.freeze()
            started(server)
            while not ended.wait(_POLL_S):
                if not server.alive():
                    raise InputError("a server stopped unexpectedly", remedy="see the message above")
    finally:
        signal.signal(signal.SIGTERM, before)


def _allow_files() -> None:
    """Raise this process's limit of open files to `_FILES`, or to the hard limit if that is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def started_lines(server: RunningServer) -> list[str]:
    """Return the lines that are shown when the service has started."""
    lines = [f"{role}: {getattr(server, f'{role}_url')}" for role in server.roles]
    pages = [f"pages: {server.pages_url}"] if server.pages_url is not None else []
    return [*lines, *pages, f"database: {shown_url(parse_url(server.settings.database_url))}"]


def warnings_of(settings: ServerSettings, roles: Sequence[ServerRole]) -> list[str]:
    """Return warnings for the administrator about these settings."""
    warnings = [
        f"module {name} is missing here, so replays fail; check that PYTHONPATH contains its directory"
        for name in settings.executors
        if "replay" in roles and not _is_importable(name)
    ]
    if keys_missing(settings, roles):
        warnings.append(
            "no valid key exists yet, so every request is refused; create one with: agent-trace keys add"
        )
    if settings.tls_certificate is None and not settings.loopback:
        warnings.append("without TLS, keys are sent unencrypted; give --tls-certificate and --tls-key")
    return warnings


def _is_importable(module: str) -> bool:
    """Return whether the top-level package of a module can be found, without importing it."""
    try:
        return find_spec(module.partition(".")[0]) is not None
    except ValueError:
        return False


def keys_missing(settings: ServerSettings, roles: Sequence[ServerRole]) -> bool:
    """Return whether every request would be refused: keys are needed, and no valid one exists."""
    if not settings.needs_keys:
        return False
    # A server that only reads may lack the right to create the tables.
    with open_store(settings.database_url, role="query" if set(roles) == {"query"} else "admin") as store:
        return all(key.revoked_us is not None for key in store.list_keys())
