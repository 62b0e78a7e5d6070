"""Bodies of requests: bounded as sent and again as unpacked, before anything is made of them."""

from __future__ import annotations

import asyncio
import io
import zlib
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from Agent.server.problems import Problem
from Agent.server.settings import ServerSettings

__all__ = ["read_json"]

_ZLIB_WINDOWS: Final = {"gzip": 31, "deflate": 15}
_ENCODINGS: Final = "identity, gzip, deflate, zstd"
_MAX_WINDOW_BYTES: Final = 1 << 27


async def read_json(request: Request, settings: ServerSettings) -> Any:
    """The JSON value that a request brings.

    Raises:
        Problem: 400 where it is no JSON, 408 too slow, 413 too large, 415 of a type that is not taken.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, "unsupported", "the body's type is not taken", remedy="send application/json")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "zstd", *_ZLIB_WINDOWS):
        raise Problem(415, "unsupported", "the body's encoding is not taken", remedy=f"send {_ENCODINGS}")
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            sent = await _read_sent(request, settings.max_sent_bytes)
    except TimeoutError:
        raise Problem(408, "malformed", "the body did not arrive in time", remedy="send it again") from None
    except ClientDisconnect:
        raise Problem(400, "malformed", "the body ended early") from None
    # a large body takes a while to unpack and to read; others are answered meanwhile
    return await run_in_threadpool(_value_of, sent, encoding, settings.max_unpacked_bytes)


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
    return Problem(
        413, "too_large", f"the body is larger {which} than {limit_bytes:,} bytes", remedy="send it in parts"
    )


def _value_of(sent: bytes, encoding: str, limit_bytes: int) -> Any:
    unpacked = sent if encoding == "identity" else _unpacked(sent, encoding, limit_bytes)
    try:
        return orjson.loads(unpacked)
    except ValueError:
        raise Problem(400, "malformed", "the body is no JSON in UTF-8") from None


def _unpacked(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    """At most the limit is ever made of a body, however much it promises."""
    import zstandard

    whole = True
    try:
        if encoding == "zstd":
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
                io.BytesIO(sent)
            )
            unpacked = reader.read(limit_bytes + 1)
        else:
            unpacker = zlib.decompressobj(_ZLIB_WINDOWS[encoding])
            unpacked = unpacker.decompress(sent, limit_bytes + 1)
            whole = unpacker.eof
    except (zlib.error, zstandard.ZstdError, EOFError):
        raise Problem(400, "malformed", f"the body is no {encoding}") from None
    if len(unpacked) > limit_bytes:
        raise _too_large("unpacked", limit_bytes)
    if not whole:
        raise Problem(400, "malformed", f"the body's {encoding} ends early")
    return unpacked
