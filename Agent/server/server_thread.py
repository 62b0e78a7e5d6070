"""A server of uvicorn in a thread of this process: for the roles of the service and for the pages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from Agent.errors import InputError

HEAD_S: Final = 10.0
"""The timeout of the head of a request; on a new connection it includes the wait for the first byte."""
_START_S: Final = 30.0


def server_config(app: Any, **more: Any) -> uvicorn.Config:
    """Return the settings of a server that logs no requests and has no web sockets."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the client is the peer address; a header can be forged
        loop="asyncio",  # the limits of connections depend on it
        ws="none",
        **more,
    )


class ServerInThread(uvicorn.Server):
    """A server in a thread, without signal handlers: the caller stops it."""

    thread: threading.Thread | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen; the TLS handshake has the timeout of the head of a request."""
        if self.config.is_ssl:
            loop = asyncio.get_running_loop()
            loop.create_server = partial(  # type: ignore[method-assign]
                loop.create_server, ssl_handshake_timeout=HEAD_S
            )
        await super().startup(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    def start(self, listening: socket.socket, name: str) -> None:
        """Start, and return when the server responds.

        Raises:
            InputError: it did not start.
        """
        self.thread = threading.Thread(
            target=self.run, kwargs={"sockets": [listening]}, name=f"agent-trace-{name}", daemon=True
        )
        self.thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self.started:
            if not self.is_alive() or time.monotonic() > deadline_s:
                raise InputError(f"the server of {name} did not start", remedy="see the message above")
            time.sleep(0.01)

    def stop(self) -> None:
        """Finish running requests, and return when it has stopped."""
        self.should_exit = True
        if self.thread is not None:
            self.thread.join()

    def is_alive(self) -> bool:
        """Return whether the server is still running."""
        return self.thread is not None and self.thread.is_alive()
