"""`PagesServer`: serves the pages of one trace root, by default on a free port of loopback."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import uvicorn

from Agent.errors import InputError
from Agent.server.pages.app import Pages
from Agent.server.settings import is_loopback, listen_on

_BACKLOG = 64
_START_S = 20.0
_DRAIN_S = 1
"""Seconds that running requests get after an interrupt."""


class _Told(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._say = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer."""
        await super().startup(sockets)
        self._say()


class PagesServer:
    """A server of the pages of one trace root.

    Args:
        root: the trace root.
        host: the address to listen on.
        port: its port; 0 for any free one.
        allow_fork: whether the pages may fork runs, which runs code.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self, root: Path, *, host: str = "127.0.0.1", port: int = 0, allow_fork: bool = False
    ) -> None:
        self.root = root
        self.token = secrets.token_urlsafe(24)
        self.host = host
        self._listening = listen_on(host, port, _BACKLOG)
        self.port: int = self._listening.getsockname()[1]
        self._app = Pages(root, token=self.token, host=host, allow_fork=allow_fork)
        self._thread: threading.Thread | None = None
        self._server: _Told | None = None

    def address(self, path: str = "/", **query: str | None) -> str:
        """Return the address of a page with the token, for one person; it is a secret."""
        name = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)  # noqa: S104 - only read here
        name = f"[{name}]" if ":" in name else name
        given = {"token": self.token} | {key: value for key, value in query.items() if value is not None}
        return f"http://{name}:{self.port}{path}?{urlencode(given)}"

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        return is_loopback(self.host)

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve in this thread until SIGINT or SIGTERM, which is raised again afterwards.

        Args:
            started: called when the server answers.
        """
        self._server = _Told(self._config(), started)
        try:
            self._server.run(sockets=[self._listening])
        finally:
            self._app.close()

    def __enter__(self) -> Self:
        """Serve in a thread."""
        self._server = server = _Told(self._config(), lambda: None)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [self._listening]}, name="agent-trace-pages", daemon=True
        )
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise InputError("the pages did not start", remedy="see the message above")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._app.close()

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the client is the peer address; a header can be forged
            timeout_graceful_shutdown=_DRAIN_S,
            loop="asyncio",
            http="h11",
            ws="none",
        )
