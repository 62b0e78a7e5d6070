"""Limits of a server: connections and their timeouts, and the sizes of bodies, packed and unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

import h11
import orjson
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from Agent.server.errors import Problem
from Agent.server.server_thread import HEAD_S
from Agent.server.settings import ServerSettings, is_loopback

MAX_CONNECTIONS: Final = 512
MAX_OF_ONE_CLIENT: Final = 384
"""The limit of one address, so that one client cannot block all others. It does not apply to loopback, which
all programs of this machine share."""
_MAX_REFUSED: Final = 128
"""The number of connections beyond a limit that get an error response; further ones are closed at once."""
REST_S: Final = 30.0
"""The timeout of the rest of a body after its request was answered, since a client reads the response after
sending; and of a client that does not read the response."""
_RETRY_AFTER_S: Final = 2


class _Accepted(socket.socket):
    """A connection that is counted while it is open."""

    leave: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the connection, and reduce the count."""
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()
        super().close()


class BoundedListener(socket.socket):
    """Accepts a limited number of connections, including those in the TLS handshake.

    Further ones are closed at once, even if the limit of open files is reached.
    """

    _spare: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hosts: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection.

        Raises:
            ConnectionAbortedError: the connection exceeded a limit and was closed.
        """
        if self._spare is None:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        try:
            plain, address = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._close_waiting()
            raise ConnectionAbortedError from error
        host = str(address[0])
        of_one = self._hosts[host] >= MAX_OF_ONE_CLIENT + _MAX_REFUSED and not is_loopback(host)
        if of_one or self._hosts.total() >= MAX_CONNECTIONS + _MAX_REFUSED:
            plain.close()
            raise ConnectionAbortedError
        self._hosts[host] += 1
        accepted = _Accepted(plain.family, plain.type, plain.proto, fileno=plain.detach())
        accepted.leave = partial(self._left, host)
        return accepted, address

    def _left(self, host: str) -> None:
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def _close_waiting(self) -> None:
        """Close the first waiting connection, using the spare file descriptor to accept it."""
        self._release()
        with contextlib.suppress(OSError):  # the client has left, or another thread took the descriptor
            super().accept()[0].close()

    def _release(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def close(self) -> None:
        """Stop listening."""
        self._release()
        super().close()


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with these limits."""

    _overdue: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Check the limits of connections, and start the timeout of the first head."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS or self._is_one_too_many():
            self.app = _too_many
        self._watch()

    def _is_one_too_many(self) -> bool:
        host = self.client[0] if self.client is not None else "localhost"
        if is_loopback(host):
            return False
        clients = (getattr(each, "client", None) for each in self.connections)
        of_host = [client for client in clients if client is not None and client[0] == host]
        return len(of_host) > MAX_OF_ONE_CLIENT

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timeouts of the connection."""
        self._unwatch()
        self._resume_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive data, with a timeout while no request is being answered."""
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its response, with a timeout."""
        super().pause_writing()
        self._resume_reading()
        self._unread = self.loop.call_later(REST_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue with a client that reads again."""
        self._resume_reading()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Cancel the timeout; uvicorn closes an idle connection after its keep-alive timeout."""
        self._unwatch()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's message
        """Send a `Problem` for data that is not HTTP, unless another response has begun."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the rest of the app's response is not sent
            self.cycle.message_event.set()
        problem = Problem(400, "this is not a request of HTTP/1.1")
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

    def _resume_reading(self) -> None:
        unread, self._unread = self._unread, None
        if unread is not None:
            unread.cancel()

    def _unwatch(self) -> None:
        overdue, self._overdue = self._overdue, None
        if overdue is not None:
            overdue.cancel()


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each request of a connection beyond the limit with an error."""
    problem = Problem(
        503,
        "the server has reached its limit of connections",
        remedy="send it again",
        headers={"Retry-After": str(_RETRY_AFTER_S), "Connection": "close"},
    )
    await problem.answer()(scope, receive, send)


T = TypeVar("T")

_ZLIB_WINDOWS: Final = {"gzip": 31, "deflate": 15}
_ENCODINGS: Final = "identity, gzip, deflate, zstd"
_MAX_WINDOW_BYTES: Final = 1 << 27
_PORTION_BYTES: Final = 1024
_MAX_MEMBERS: Final = 1_000
_MAX_VALUES: Final = 500_000
_TOKENS_PER_VALUE: Final = 3
"""The most tokens per value: its name, its text, and the separator before the next one."""
_TOKEN: Final = re.compile(rb'[,{[]|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Matches the characters that begin another value, and whole texts, in which they do not count."""
_LARGE_BYTES: Final = 65_536
_LARGE_AT_ONCE: Final = 2


def large_bodies() -> asyncio.Semaphore:
    """Make the semaphore that limits concurrent large bodies of an app, `app.state.large_bodies`."""
    return asyncio.Semaphore(_LARGE_AT_ONCE)


async def read_json_body(
    request: Request, settings: ServerSettings, make: Callable[[Any], T], *, optional: bool = False
) -> T:
    """Read the JSON body of a request and return `make(value)`.

    Args:
        make: called in a thread; to save memory, it should keep only the parts of the value that it needs.
        optional: treat a missing body as an empty object.

    Raises:
        Problem: 400 not JSON, 408 too slow, 413 too large, 415 unsupported type.
    """
    headers = request.headers
    if optional and "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
        return make({})
    return await read_body(
        request, settings, ("application/json",), lambda _type, unpacked: make(json_of(unpacked))
    )


async def read_body(
    request: Request,
    settings: ServerSettings,
    media_types: tuple[str, ...],
    make: Callable[[str, bytes], T],
    *,
    limit_bytes: int | None = None,
) -> T:
    """Read and unpack the body of a request and return `make(media_type, unpacked)`.

    Args:
        media_types: the supported types.
        make: called in a thread; for large bodies, only a limited number at a time.
        limit_bytes: the limit of the unpacked body, if lower than the server's.

    Raises:
        Problem: 400 damaged, 408 too slow, 413 too large, 415 unsupported type.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        remedy = f"send Content-Type: {' or '.join(media_types)}"
        raise Problem(415, "the body's type is not supported", remedy=remedy)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "zstd", *_ZLIB_WINDOWS):
        raise Problem(415, "the body's encoding is not supported", remedy=f"use one of {_ENCODINGS}")
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            sent = await _read_sent(request, settings.max_sent_bytes)
    except TimeoutError:
        raise Problem(408, "the body did not arrive in time", remedy="send it again") from None
    except ClientDisconnect:
        raise Problem(400, "the body ended early") from None
    most = (
        settings.max_unpacked_bytes if limit_bytes is None else min(limit_bytes, settings.max_unpacked_bytes)
    )

    def made() -> T:
        return make(media_type, _unpacked(sent, encoding, most))

    # In a thread, so that other requests are answered while a large body is unpacked and read.
    if encoding == "identity" and len(sent) <= _LARGE_BYTES:
        return await run_in_threadpool(made)
    async with request.app.state.large_bodies:
        return await run_in_threadpool(made)


async def _read_sent(request: Request, limit_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise _too_large("as sent", limit_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise _too_large("as sent", limit_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(which: str, limit_bytes: int) -> Problem:
    return Problem(413, f"the body is larger {which} than {limit_bytes:,} bytes", remedy="send it in parts")


def json_of(unpacked: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        Problem: 400 not JSON, 413 more than `_MAX_VALUES` values.
    """
    # A value of 2 bytes takes up to 100 bytes of memory when parsed.
    if sum(map(unpacked.count, (b",", b"{", b"["))) > _MAX_VALUES and _has_too_many(unpacked):
        text = f"the body holds more than {_MAX_VALUES:,} values"
        raise Problem(413, text, remedy="send it in parts")
    try:
        return orjson.loads(unpacked)
    except ValueError:
        raise Problem(400, "the body is not JSON in UTF-8") from None


def _has_too_many(unpacked: bytes) -> bool:
    """Return whether JSON has more than `_MAX_VALUES` values, ignoring separators within texts."""
    values = 0
    for count, token in enumerate(_TOKEN.finditer(unpacked)):
        values += token[0] in (b",", b"{", b"[")
        if values > _MAX_VALUES or count > _TOKENS_PER_VALUE * _MAX_VALUES:
            return True
    return False


def _unpacked(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Unpack a body, but never more than the limit; Problem if it is larger."""
    if encoding == "identity":
        if len(sent) > limit_bytes:
            raise _too_large("unpacked", limit_bytes)
        return sent
    import zstandard

    try:
        return b"".join(_members(sent, encoding, limit_bytes))
    except (zlib.error, zstandard.ZstdError):
        raise Problem(400, f"the body is not valid {encoding}") from None


def _members(sent: bytes, encoding: str, limit_bytes: int) -> Iterator[bytes]:
    """Yield the unpacked parts of a body, which may be several concatenated compressed members.

    Raises:
        Problem: it is too large, or ends within a member.
        zlib.error, zstandard.ZstdError: it is damaged, or followed by other data.
    """
    at, size_bytes = 0, 0
    for _ in range(_MAX_MEMBERS):
        unpacker, done = _unpacker(encoding), False
        while at < len(sent) and not done:
            # Small portions, so that the unpacked size of each is limited for every encoding.
            portion = sent[at : at + _PORTION_BYTES]
            part = unpacker.decompress(portion)
            size_bytes += len(part)
            if size_bytes > limit_bytes:
                raise _too_large("unpacked", limit_bytes)
            yield part
            done = unpacker.eof
            at += len(portion) - len(unpacker.unused_data)
        if not done:
            raise Problem(400, f"the body's {encoding} ends early")
        if at >= len(sent):
            return
    raise Problem(400, f"the body is {encoding} of more than {_MAX_MEMBERS:,} members")


def _unpacker(encoding: str) -> Any:
    """Make an object that unpacks one member."""
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj()
    return zlib.decompressobj(_ZLIB_WINDOWS[encoding])
