"""Ids of writers, events, sessions and runs: pure functions of the given random bytes and time."""

from __future__ import annotations

# `base64` and `datetime` are imported by the functions that use them: every entry point of recording imports
# this module, and `import Agent` has to stay fast.

WRITER_CHARS = 8
SEQ_DIGITS = 18
"""The most digits that the number of an event may have; 18 digits always fit into 64 bits."""
SENT_ID = rf"[a-z2-7]{{{WRITER_CHARS}}}-[1-9][0-9]{{0,{SEQ_DIGITS - 1}}}"
"""The regular expression of the ids of events that a service takes, all of which `split_event_id` reads."""


def new_writer_id(random5: bytes) -> str:
    """Return a writer id, 8 characters of a-z and 2-7, from 5 random bytes."""
    if len(random5) != 5:
        raise ValueError("a writer id is made of exactly 5 random bytes")
    import base64

    return base64.b32encode(random5).decode("ascii").lower()


def event_id(writer: str, seq: int) -> str:
    """Return the id of the event with this number in this writer."""
    return f"{writer}-{seq}"


def split_event_id(text: str) -> tuple[str, int]:
    """Split an event id into its writer and number; ValueError for other texts."""
    writer, dash, seq = text.rpartition("-")
    # No leading zeros: the archive stores an integer, and would return 007 as 7.
    is_number = seq.isascii() and seq.isdigit() and len(seq) <= SEQ_DIGITS and (seq[0] != "0" or seq == "0")
    if not dash or len(writer) != WRITER_CHARS or not is_number:
        raise ValueError(f"not an event id: {text[:80]!r}")
    return writer, int(seq)


def session_id_for(unix_us: int) -> str:
    """Return the id of a session that starts at that time: YYYYMMDD_HHMMSS in UTC."""
    from Agent.event.clock import moment_of

    return moment_of(unix_us).strftime("%Y%m%d_%H%M%S")


def uuid7(unix_ms: int, random10: bytes) -> str:
    """Return a UUID of version 7 (RFC 9562): milliseconds since 1970, then 74 random bits."""
    if len(random10) != 10:
        raise ValueError("a UUIDv7 is made of exactly 10 random bytes")
    value = (unix_ms & ((1 << 48) - 1)) << 80 | int.from_bytes(random10, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_unix_ms(text: str) -> int:
    """Return the milliseconds since 1970 in a UUIDv7; ValueError for other ids."""
    digits = text.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError(f"not a UUIDv7: {text[:80]!r}")
    return int(digits[:12], 16)


def is_session_id(text: str) -> bool:
    """Return whether a text is YYYYMMDD_HHMMSS, with or without the suffix of sessions in the same second."""
    from datetime import datetime

    stamp, _, suffix = text.partition("-")
    if suffix and not suffix.isdigit():
        return False
    try:
        datetime.strptime(stamp, "%Y%m%d_%H%M%S")  # noqa: DTZ007 - only its shape is asked
    except ValueError:
        return False
    return len(stamp) == 15
