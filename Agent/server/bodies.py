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

__all__ = ["read_body", "read_json"]

_ZLIB_WINDOWS: Final = {"gzip": 31, "deflate": 15}
_ENCODINGS: Final = "identity, gzip, deflate, zstd"
_MAX_WINDOW_BYTES: Final = 1 << 27


async def read_json(request: Request, settings: ServerSettings, *, optional: bool = False) -> Any:
    """The JSON value that a request brings.

    Args:
        optional: a request without a body brings an empty object.

    Raises:
        Problem: 400 where it is no JSON, 408 too slow, 413 too large, 415 of a type that is not taken.
    """
    if optional and not _has_body(request):
        return {}
    _, unpacked = await read_body(request, settings, ("application/json",))
    return await run_in_threadpool(_json_of, unpacked)


async def read_body(
    request: Request,
    settings: ServerSettings,
    media_types: tuple[str, ...],
    *,
    limit_bytes: int | None = None,
) -> tuple[str, bytes]:
    """The type of a body, and its bytes unpacked.

    Args:
        media_types: those that are taken.
        limit_bytes: of the unpacked body, where that may hold less than others.

    Raises:
        Problem: 400 where it is damaged, 408 too slow, 413 too large, 415 of a type that is not taken.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        remedy = f"send {' or '.join(media_types)}"
        raise Problem(415, "unsupported", "the body's type is not taken", remedy=remedy)
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
    most = (
        settings.max_unpacked_bytes if limit_bytes is None else min(limit_bytes, settings.max_unpacked_bytes)
    )
    # a large body takes a while to unpack and to read; others are answered meanwhile
    return media_type, await run_in_threadpool(_unpacked, sent, encoding, most)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


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


def _json_of(unpacked: bytes) -> Any:
    try:
        return orjson.loads(unpacked)
    except ValueError:
        raise Problem(400, "malformed", "the body is no JSON in UTF-8") from None


def _unpacked(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    """At most the limit is ever made of a body, however much it promises."""
    if encoding == "identity":
        if len(sent) > limit_bytes:
            raise _too_large("unpacked", limit_bytes)
        return sent
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
