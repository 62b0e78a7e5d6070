"""Encodes a value that a program saves as an artifact: its media type, and its bytes without secrets.

As for lines, this is the only way to the tree: `tree/write/artifacts.py` accepts only bytes that are made
here. `Agent.flight` calls it.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE, getincrementaldecoder
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import IO, Any, NamedTuple

import orjson

from Agent.event.limits_of_time import RAISED, pass_on
from Agent.event.model import RedactedBytes
from Agent.event.values.plain import DUMP_OPTIONS, read_json, write_json
from Agent.event.values.reading import Limits
from Agent.event.values.values import to_json
from Agent.record.encode.capture import Capture, Types
from Agent.record.encode.redaction import Redactor, redacted
from Agent.record.encode.safe_text import as_message
from Agent.record.secrets.names import LIKELY, SURE, looks_drawn

JSON = "application/json"
TEXT = "text/plain"
CSV = "text/csv"
BYTES = "application/octet-stream"
ARRAY = "application/x-npy"
PARQUET = "application/vnd.apache.parquet"

ARTIFACT_LIMITS = Limits(max_string_chars=1 << 30, max_bytes=1 << 30, max_items=50_000_000)
"""Artifacts are meant for large values, so these limits cut almost nothing."""

_BLOCK_BYTES = 1024 * 1024
_MAX_HELD_BYTES = 4 * _BLOCK_BYTES
_WHOLE_JSON_BYTES = 16 * _BLOCK_BYTES
_TEXT_TYPES = frozenset(
    f"application/{kind}" for kind in "json xml yaml toml x-ndjson javascript x-sh sql".split()
)
_UTF_32_MARKS = (BOM_UTF32_LE, BOM_UTF32_BE)
_WIDE_MARKS = (*_UTF_32_MARKS, BOM_UTF16_LE, BOM_UTF16_BE)
_KEY_BEGINS, _KEY_ENDS = b"-----BEGIN ", b"-----END "


class EncodedArtifact(NamedTuple):
    """An artifact in the form in which it is stored."""

    media_type: str
    content: RedactedBytes | Iterable[RedactedBytes]
    types: Types | None = None
    """{JSON Pointer: tag} of values that plain JSON cannot hold."""


def encode_artifact(capture: Capture, data: Any, media_type: str | None, name: str) -> EncodedArtifact:
    """Encode any value as an artifact; files are read block by block while they are stored.

    Args:
        capture: the pipeline's capture.
        data: text, bytes, a path or an open file, an array, a data frame, or any value, which becomes JSON.
        media_type: the type given by the program; None to infer it from the value and the name.
        name: the name of the artifact, whose suffix determines the type of bytes and text.

    Raises:
        OSError: the file at a given path cannot be read.
    """
    media_type = None if media_type is None else as_message(media_type)
    cls = type(data)  # `isinstance` would ask the object, whose `__class__` may run the program's code
    if issubclass(cls, (str, bytes, bytearray, memoryview)):
        return _encode_plain(capture, data, media_type, name)
    if issubclass(cls, PathLike):
        path = os.fspath(data)
        kind = media_type or guessed(os.fsdecode(path)) or guessed(name)
        return _encode_stream(capture.redactor, _opened(path), kind, closes=True)
    if _is_file(data):
        return _encode_stream(capture.redactor, data, media_type or guessed(name), closes=False)
    redactor = capture.redactor
    special = _encode_array(redactor, data, media_type) or _encode_frame(redactor, data, media_type)
    if special is not None:
        return special
    if media_type is not None and is_text(media_type) and media_type != JSON:
        return EncodedArtifact(media_type, _clean_text(capture.redactor, as_message(data)))
    return encode_json(capture, data)


def _opened(path: str | bytes) -> IO[bytes]:
    """Open a file without waiting for the other end of a pipe; OSError if it is no regular file."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a path may be bytes
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def _is_file(data: Any) -> bool:
    """Whether the value can be read like an open file."""
    try:
        return callable(data.read)
    except RAISED as error:  # of a user's __getattr__; then it is a value
        pass_on(error)
        return False


def encode_json(capture: Capture, value: Any) -> EncodedArtifact:
    """Encode any value as a JSON document, with tags to restore values that plain JSON cannot hold."""
    raw = capture.judge.value(value)
    if raw is not None and capture.judge.clean(raw):
        return EncodedArtifact(JSON, redacted(raw + b"\n"))
    dumped = to_json(value, "", ARTIFACT_LIMITS, capture.agent_of, capture.reading)
    types: Types = dict(dumped.types or {})
    raw = dumped.json
    if capture.redactor.enabled:
        clean = capture.redactor.value(read_json(raw), "", types)
        raw = write_json(clean, DUMP_OPTIONS)
    return EncodedArtifact(JSON, redacted(raw + b"\n"), types or None)


def cleaned(capture: Capture, encoded: EncodedArtifact) -> EncodedArtifact:
    """Redact a JSON document again, if this capture searches texts: the one that made it may not have."""
    if not isinstance(encoded.content, bytes) or capture.redactor is not capture.strict:
        return encoded
    types: Types = dict(encoded.types or {})
    clean = capture.redactor.value(read_json(encoded.content), "", types)
    raw = redacted(write_json(clean, DUMP_OPTIONS) + b"\n")
    return EncodedArtifact(encoded.media_type, raw, types or None)


def is_text(media_type: str) -> bool:
    """Whether content of this media type is text, which is searched for secrets."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml", "+yaml"))


def guessed(name: str) -> str | None:
    """Guess the media type from the suffix of a name; None if it is unknown."""
    from mimetypes import guess_type

    kind, encoding = guess_type(name.replace(":", "_"), strict=False)
    return BYTES if encoding else kind


def _encode_plain(
    capture: Capture, data: str | bytes | bytearray | memoryview, media_type: str | None, name: str
) -> EncodedArtifact:
    kind = media_type or guessed(name)
    if not isinstance(data, str):
        raw = bytes(data)
        if kind is None:
            kind = TEXT if _is_utf8(raw) else BYTES
        if not is_text(kind):
            return EncodedArtifact(kind, redacted(raw))
        if raw.startswith(_WIDE_MARKS):
            return EncodedArtifact(kind, _clean_wide_text(capture.redactor, raw))
        data = raw.decode("utf-8", "surrogateescape")
    elif kind is None or not is_text(kind):
        kind = kind or TEXT
    if kind == JSON:
        try:
            value = read_json(data.encode())
        except ValueError:
            # Not valid JSON: encode the text as a JSON string.
            return encode_json(capture, data)
        types: Types = {}
        clean = capture.redactor.value(value, "", types) if capture.redactor.enabled else value
        if clean != value:
            return EncodedArtifact(JSON, redacted(write_json(clean, DUMP_OPTIONS) + b"\n"), types or None)
        return EncodedArtifact(JSON, redacted(data.encode()))
    return EncodedArtifact(kind, _clean_text(capture.redactor, data))


def _clean_text(redactor: Redactor, text: str) -> RedactedBytes:
    clean = redactor.text(text)
    try:
        return redacted(clean.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return redacted(clean.encode("utf-8", "backslashreplace"))


def _clean_wide_text(redactor: Redactor, raw: bytes) -> RedactedBytes:
    """Return a text in UTF-16 or UTF-32, which begins with a byte order mark, without its secrets."""
    name = "utf-32" if raw.startswith(_UTF_32_MARKS) else "utf-16"
    try:
        text = raw.decode(name)
    except UnicodeDecodeError:
        return _clean_text(redactor, raw.decode("utf-8", "surrogateescape"))
    clean = redactor.text(text)
    return redacted(raw if clean == text else clean.encode(name))


def _is_utf8(raw: bytes, *, is_whole: bool = True) -> bool:
    if b"\0" in raw[:_BLOCK_BYTES]:
        return False
    try:
        getincrementaldecoder("utf-8")().decode(raw, final=is_whole)
    except UnicodeDecodeError:
        return False
    return True


def _encode_stream(redactor: Redactor, file: IO[Any], kind: str | None, *, closes: bool) -> EncodedArtifact:
    """Encode a file, which is read while it is stored; without a known type, its first block decides."""
    blocks = _blocks_of(file, closes=closes)
    first = next(blocks, b"")
    if kind is None:
        kind = TEXT if _is_utf8(first, is_whole=False) else BYTES
    whole = _chained(first, blocks)
    if not is_text(kind) or not redactor.enabled:
        return EncodedArtifact(kind, map(redacted, whole))
    if first.startswith(_WIDE_MARKS):
        return EncodedArtifact(kind, _clean_wide_text(redactor, b"".join(whole)))
    return EncodedArtifact(kind, _clean_blocks(redactor, whole, is_json=kind == JSON))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _blocks_of(file: IO[Any], *, closes: bool) -> Iterator[bytes]:
    try:
        while block := file.read(_BLOCK_BYTES):
            if not isinstance(block, (str, bytes, bytearray, memoryview)):
                raise TypeError("its read() returns neither text nor bytes")
            yield block.encode("utf-8", "surrogateescape") if isinstance(block, str) else bytes(block)
    finally:
        if closes:
            file.close()


def _clean_blocks(redactor: Redactor, blocks: Iterable[bytes], *, is_json: bool) -> Iterator[RedactedBytes]:
    """Yield text without its secrets in pieces, which end at line ends and outside of private keys."""
    held = b""
    most = _WHOLE_JSON_BYTES if is_json else _MAX_HELD_BYTES
    waits = is_json
    for block in blocks:
        held += block
        if waits and len(held) <= most:
            continue  # wait for the whole document, since its keys are judged, too
        waits = False
        cut = held.rfind(b"\n") + 1
        if held.count(_KEY_BEGINS, 0, cut) > held.count(_KEY_ENDS, 0, cut):
            cut = held.rfind(_KEY_BEGINS, 0, cut)
        if cut <= 0 and len(held) > _MAX_HELD_BYTES:
            cut = _end_of_word(held)
        if cut > 0:
            yield _clean_text(redactor, held[:cut].decode("utf-8", "surrogateescape"))
            held = held[cut:]
    if is_json and waits:
        yield _clean_document(redactor, held)
    elif held:
        yield _clean_text(redactor, held.decode("utf-8", "surrogateescape"))


def _end_of_word(held: bytes) -> int:
    """Return where to cut a line without an end: after the last blank or comma of its second half."""
    return max(held.rfind(b" ", len(held) // 2), held.rfind(b",", len(held) // 2), len(held) // 2) + 1


def _clean_document(redactor: Redactor, raw: bytes) -> RedactedBytes:
    try:
        value = read_json(raw)
    except orjson.JSONDecodeError:
        return _clean_text(redactor, raw.decode("utf-8", "surrogateescape"))
    clean = redactor.value(value, "", {})
    return redacted(raw if clean == value else write_json(clean, DUMP_OPTIONS) + b"\n")


def _clean_texts(redactor: Redactor, data: Any) -> Any:
    """Return an array of texts without their secrets; the array itself if it has none."""
    width, is_bytes = data.dtype.itemsize, data.dtype.kind == "S"
    texts = [each.decode("utf-8", "surrogateescape") if is_bytes else each for each in data.ravel().tolist()]
    clean = list(map(redactor.text, texts))
    if clean == texts:
        return data
    numpy = sys.modules["numpy"]
    if is_bytes:
        encoded = [each.encode("utf-8", "surrogateescape") for each in clean]
        return numpy.array(encoded, dtype=f"S{max(width, *map(len, encoded))}").reshape(data.shape)
    return numpy.array(clean).reshape(data.shape)


def _encode_array(redactor: Redactor, data: Any, media_type: str | None) -> EncodedArtifact | None:
    """Encode a numpy array in numpy's format; None for other values and for arrays of Python objects."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(type(data), numpy.ndarray) or media_type not in {None, ARRAY, BYTES}:
        return None
    if data.dtype.hasobject:
        return None
    if data.dtype.kind in "US" and redactor.enabled:
        data = _clean_texts(redactor, data)
    buffer = io.BytesIO()
    numpy.save(buffer, data, allow_pickle=False)
    return EncodedArtifact(ARRAY, redacted(buffer.getvalue()))


def _encode_frame(redactor: Redactor, data: Any, media_type: str | None) -> EncodedArtifact | None:
    """Encode a data frame of pandas or polars as CSV, or as JSON or Parquet on request; None for others."""
    module = type(data).__module__.partition(".")[0]
    if module not in {"pandas", "polars"} or type(data).__name__ != "DataFrame":
        return None
    is_pandas = module == "pandas"
    data = _without_secret_columns(redactor, data)
    if media_type == PARQUET:
        buffer = io.BytesIO()
        if is_pandas:
            data.to_parquet(buffer)
        else:
            data.write_parquet(buffer)
        return EncodedArtifact(PARQUET, redacted(buffer.getvalue()))
    if media_type == JSON:
        text = data.to_json(orient="records") if is_pandas else data.write_json()
        return EncodedArtifact(JSON, _clean_document(redactor, text.encode()))
    text = data.to_csv(index=False) if is_pandas else data.write_csv()
    return EncodedArtifact(CSV, _clean_text(redactor, text))


def _without_secret_columns(redactor: Redactor, frame: Any) -> Any:
    """Return the frame with tokens in columns with secret names.

    In columns whose names only may be those of secrets, only random-looking values are replaced.
    """
    columns: dict[Any, list[Any]] = {}
    for name in frame.columns if redactor.enabled else ():
        says = redactor.says(str(name))
        if says == SURE:
            columns[name] = [redactor.token(as_message(value)) for value in frame[name]]
        elif says == LIKELY and any(_is_drawn(value) for value in frame[name]):
            columns[name] = [redactor.token(value) if _is_drawn(value) else value for value in frame[name]]
    if not columns:
        return frame
    frame = frame.copy() if hasattr(frame, "copy") else frame.clone()
    for name, tokens in columns.items():
        if type(frame).__module__.startswith("pandas"):
            frame[name] = tokens
        else:
            frame = frame.with_columns(type(frame[name])(name, tokens))
    return frame


def _is_drawn(value: object) -> bool:
    return isinstance(value, str) and looks_drawn(value)
