"""A session as it grows: what differs between one overview and the next, for a page that follows it."""

from __future__ import annotations

import ctypes
from typing import Any, Final, Self

from Agent.view.session_view import SessionView

_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 512 * 1024


def give_back_large_arrays() -> None:
    """Have the C library return arrays of 512 KiB and more to the system when they are freed.

    By default, glibc raises that limit up to 32 MB with each array that it frees. The index of a session that
    grows is built anew many times a second, so the heap would have holes of its size. For a server's own
    process; without `mallopt`, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class Watch:
    """Tells one page what is new. While it is open, the session's files are looked at many times a second.

    Args:
        view: of the session.
    """

    def __init__(self, view: SessionView) -> None:
        self._view = view
        self._reported: dict[str, Any] = {}
        self._version: object = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._view.watch(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._view.watch(-1)

    @property
    def is_behind(self) -> bool:
        """Return whether the session has another content than what was reported last."""
        return self._version is not self._view.version

    def news(self) -> dict[str, Any]:
        """Return what of the overview is new: of `lanes` {number: lane}, of `ticks` those that were added."""
        self._version = self._view.version
        overview, reported = self._view.overview(), self._reported
        self._reported = overview
        if not reported:
            return overview
        new = {name: value for name, value in overview.items() if reported[name] != value}
        if "lanes" in new:
            old = reported["lanes"]
            new["lanes"] = {
                number: lane
                for number, lane in enumerate(overview["lanes"])
                if number >= len(old) or lane != old[number]
            }
        count = len(reported["ticks"])
        if "ticks" in new and overview["ticks"][:count] == reported["ticks"]:
            new["more_ticks"] = new.pop("ticks")[count:]
        return new
