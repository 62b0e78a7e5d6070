"""The clock, chance of the system and `uuid1`: what stands in the place of their functions.

`uuid4`, `secrets` and `SystemRandom` all read `os.urandom`, so that one is enough; `date.today()` and
`datetime.today()` read `time.time`. The class `datetime` itself cannot be replaced without breaking pickles
and `isinstance`, nor be written to, so its `now` is replaced in the mapping behind it (`datetime_seams.py`).
"""

from __future__ import annotations

import functools
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from Agent.record.emit import installed
from Agent.record.sources.adopted import reads_here
from Agent.record.sources.callers import asker_of

T = TypeVar("T")
Seam = tuple[Any, str, Callable[..., Any]]

CLOCKS = frozenset(
    {
        *(f"{name}{unit}" for unit in ("", "_ns") for name in ("time", "monotonic", "perf_counter")),
        *("process_time", "process_time_ns", "thread_time", "thread_time_ns"),
    }
)
"""Functions of `time` that read a clock."""
CLOCKS_BY_ID = frozenset({"clock_gettime", "clock_gettime_ns"})
"""Functions of `time` that read the clock whose id they are given."""
CLOCK_FORMS = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions that read the clock where fewer arguments than one more than this are given, or None."""


def read_source(
    source: str,
    frame: FrameType | None,
    now: Callable[[], T],
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
) -> T:
    """What a source gives whoever reads it in a frame: in a replay the record's, else kept on the way."""
    player, reads = installed.source_player, reads_here()
    if player is None and reads is None:
        return now()
    asker = asker_of(frame)
    if asker is None:
        return now()
    if asker.via and source == "os.urandom":
        source = asker.via
    decode = _same if decode is None else decode
    value = now() if player is None else player.read(source, asker.frame, now, decode)
    if reads is not None:
        reads.add(source, value if encode is None else encode(value))
    return value


def _same(value: Any) -> Any:
    return value


def seams() -> list[Seam]:
    """(owner, attribute, what stands in its place)."""
    found: list[Seam] = [(time, name, _clock(name)) for name in sorted(CLOCKS) if hasattr(time, name)]
    found += [(time, name, _clock_by_id(name)) for name in sorted(CLOCKS_BY_ID) if hasattr(time, name)]
    found += [(time, name, _form(name, needed)) for name, needed in CLOCK_FORMS.items()]
    entropy = _entropy(os.urandom, "os.urandom")
    found += [(os, "urandom", entropy), (random, "_urandom", entropy)]
    if hasattr(os, "getrandom"):
        found.append((os, "getrandom", _entropy(os.getrandom, "os.getrandom")))
    if getattr(uuid, "_generate_time_safe", None) is not None:
        found.append((uuid, "_generate_time_safe", _uuid_time()))
    return found


def _clock(name: str) -> Callable[..., Any]:
    original = getattr(time, name)
    source = f"time.{name}"

    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return original(*args, **kwargs)  # which says what is wrong with it
        return read_source(source, sys._getframe(1), original)  # noqa: SLF001 - the one way to a caller

    return read


def _clock_by_id(name: str) -> Callable[..., Any]:
    original = getattr(time, name)
    source = f"time.{name}"

    @functools.wraps(original)
    def read(clock_id: int, /) -> Any:
        return read_source(source, sys._getframe(1), lambda: original(clock_id))  # noqa: SLF001 - as above

    return read


def _form(name: str, needed: int) -> Callable[..., Any]:
    """A function that is given the time which it would have read."""
    original, now, local = getattr(time, name), time.time, time.localtime
    takes_seconds = name in {"localtime", "gmtime", "ctime"}
    source = f"time.{name}"

    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) < needed or (len(args) > needed and args[needed] is not None):
            return original(*args, **kwargs)
        seconds = read_source(source, sys._getframe(1), now)  # noqa: SLF001 - as above
        return original(*args[:needed], seconds if takes_seconds else local(seconds))

    return read


def _entropy(original: Callable[..., bytes], source: str) -> Callable[..., bytes]:
    @functools.wraps(original)
    def read(*args: Any, **kwargs: Any) -> bytes:
        frame = sys._getframe(1)  # noqa: SLF001 - as above
        return read_source(source, frame, lambda: original(*args, **kwargs), bytes.hex, bytes.fromhex)

    return read


def _uuid_time() -> Callable[[], Any]:
    """What `uuid1` is made of where the system's own library makes it: 16 bytes, and how safe they are."""
    original: Any = vars(uuid)["_generate_time_safe"]

    def encode(value: Any) -> list[Any]:
        return [bytes.hex(value[0]), value[1]]

    def decode(kept: Any) -> tuple[bytes, Any]:
        return bytes.fromhex(kept[0]), kept[1]

    @functools.wraps(original)
    def read() -> Any:
        return read_source("uuid.uuid1", sys._getframe(1), original, encode, decode)  # noqa: SLF001 - as above

    return read
