"""Connections of a server: how many there may be, and how long one may hold its place without a request.

Whoever connects holds a place, with a key or without. So a head has to come in time, as has the rest of a
body that was answered already, and a connection that is one too many is told to come again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from Agent.server.errors import Problem
from Agent.server.settings import is_loopback

__all__ = ["BoundedConnection"]

MAX_CONNECTIONS: Final = 512
MAX_OF_ONE_CLIENT: Final = 384
"""Of one address, so that one client cannot keep out all others. Programs of this machine share theirs, and
are bounded together only."""
_MOST_TOLD: Final = 128
"""So many more are told so; what comes beyond them is closed at once, before files run out."""
HEAD_S: Final = 10.0
"""How long the head of a request may take, the first byte included."""
REST_S: Final = 30.0
"""How long the rest of a body may take whose request is answered, since the answer is read behind it; and how
long an answer may wait to be read."""
_RETRY_AFTER_S: Final = 2


class BoundedConnection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within these bounds."""

    _overdue: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection, and gives its first head its time."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS or self._is_one_too_many():
            self.app = _too_many
        if len(self.connections) > MAX_CONNECTIONS + _MOST_TOLD:
            transport.close()
        self._watch()

    def _is_one_too_many(self) -> bool:
        host = self.client[0] if self.client is not None else "localhost"
        if is_loopback(host):
            return False
        clients = (getattr(each, "client", None) for each in self.connections)
        own = [client for client in clients if client is not None and client[0] == host]
        return len(own) > MAX_OF_ONE_CLIENT

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place free."""
        self._unwatch()
        self._read_again()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what comes; what is no part of a request that is being answered has its time."""
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """Waits for who does not read the answers to what it asks, and not for ever."""
        super().pause_writing()
        self._read_again()
        self._unread = self.loop.call_later(REST_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on with one who reads again."""
        self._read_again()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Leaves a connection that waits for its next request to uvicorn, which ends it after a while."""
        self._unwatch()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Says that this is no HTTP, as any other problem is said."""
        problem = Problem(400, "malformed", "this is not a request of HTTP/1.1")
        answer = problem.answer()
        headers = [*answer.raw_headers, (b"connection", b"close")]
        events = (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._unwatch()
        elif self._overdue is None and not self.transport.is_closing():
            longest_s = REST_S if self.conn.their_state is h11.SEND_BODY else HEAD_S
            self._overdue = self.loop.call_later(longest_s, self.transport.close)

    def _read_again(self) -> None:
        unread, self._unread = self._unread, None
        if unread is not None:
            unread.cancel()

    def _unwatch(self) -> None:
        overdue, self._overdue = self._overdue, None
        if overdue is not None:
            overdue.cancel()


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request of a connection that is one too many."""
    problem = Problem(
        503,
        "unavailable",
        "the server has reached its limit of connections",
        remedy="send it again",
        headers={"Retry-After": str(_RETRY_AFTER_S), "Connection": "close"},
    )
    await problem.answer()(scope, receive, send)
