"""Answers to HEAD, and ETags: a client that has an answer already gets 304 without a body.

The ETag is a digest of the body, so it holds for every server of a database. It saves the transfer, not the
query.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BEGINNINGS: Final = ("/v1/", "/api/", "/openapi.json")
"""The paths whose answers have an ETag; `/health` and `/metrics` differ each time."""
_CACHE_CONTROL: Final = (b"cache-control", b"private, no-cache")
"""A client may keep an answer, and has to ask each time whether it still holds."""


class Conditional:
    """Answers HEAD like GET without the body, and gives answers to GET an ETag, as an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        if scope["method"] == "HEAD":
            scope["method"] = "GET"  # routes know GET alone; what counts requests has seen the method
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer, of which the head is held back until its body is known."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._has_tag = str(scope["path"]).startswith(_BEGINNINGS)
        headers = dict(scope["headers"])
        self._known = {
            each.strip().removeprefix(b"W/") for each in headers.get(b"if-none-match", b"").split(b",")
        }
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._has_tag and message["status"] == 200:
                self._head = message
            else:
                await self._send(message)
            return
        head, self._head = self._head, None
        if head is not None:
            if message.get("more_body"):
                await self._send(head)  # a streamed answer has no ETag: its body is not known yet
            elif await self._is_known(head, message.get("body", b"")):
                return
        await self._send({**message, "body": b""} if self._is_head else message)

    async def _is_known(self, head: Message, body: bytes) -> bool:
        """Send the head with its ETag; return whether the client has the body, so that all is sent."""
        tag = b'"%s"' % blake2b(body, digest_size=12).hexdigest().encode()
        headers: list[Any] = [*head["headers"], (b"etag", b"W/" + tag), _CACHE_CONTROL]
        if not self._known & {tag, b"*"}:
            await self._send({**head, "headers": headers})
            return False
        kept = [(name, value) for name, value in headers if not name.startswith(b"content-")]
        await self._send({**head, "status": 304, "headers": kept})
        await self._send({"type": "http.response.body", "body": b""})
        return True
