"""A growing session: the differences between one overview and the next, for a page that follows it."""

from __future__ import annotations

import ctypes
from typing import Any, Final, Self

from Agent.view.session_view import SessionView

_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 512 * 1024


def release_large_arrays() -> None:
    """Make the C library return arrays of 512 KiB and more to the system when they are freed.

    By default, glibc raises that limit up to 32 MB with each freed array. The index of a growing session is
    rebuilt many times per second, which would leave holes of its size in the heap. Only for a server's
    process; without `mallopt`, it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class Watch:
    """Reports news of a session to one page; while open, the files are checked many times per second.

    Args:
        view: the view of the session.
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
        """Return whether the session has changed since the last report."""
        return self._version is not self._view.version

    def news(self) -> dict[str, Any]:
        """Return the changes of the overview: `lanes` as {number: lane}, and the added `ticks`."""
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
