"""Follows a session while it is written: what is new since the last look, every line exactly once.

A look at the files decides what is new; notices of the operating system only say when to look.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from Agent.errors import DamagedInput, SessionNotFound
from Agent.event.model import Event
from Agent.tree.claim import read_claims
from Agent.tree.layout import agents_dir, tree_files
from Agent.tree.lines import Damage, DamageLog, LineDecoder, event_key, first_id, open_file
from Agent.tree.tailing import Place, Tail

__all__ = ["CURSOR_VERSION", "Follower"]

CURSOR_VERSION: Final = 1
_POLL_BYTES: Final = 32 * 1024 * 1024
_POLL_INTERVAL_S: Final = 0.05
_BUSY_INTERVAL_S: Final = 0.01
# looking at the files may take this part of the time
_LOOKING_SHARE: Final = 0.25


class Follower:
    """Yields the events of a growing session, across rolling segments and new files.

    Args:
        session: the session's directory.
        from_start: begin with what is there already, else with what comes from now on.
        cursor: go on where another follower was, as its `cursor()` said; `from_start` then means new files
            only.

    Raises:
        SessionNotFound: there is no such directory.
        DamagedInput: the cursor is none.
    """

    def __init__(
        self, session: Path, *, from_start: bool = True, cursor: Mapping[str, Any] | None = None
    ) -> None:
        self.session = Path(session)
        if not self.session.is_dir():
            raise SessionNotFound(
                "no session lies there", path=session, remedy="give the path of a session_... directory"
            )
        self._damage = DamageLog()
        self._claims: set[str] = set()
        self._decoder = LineDecoder(self._damage, self._knows)
        self._tail = Tail(self.session, self._damage.note_unreadable)
        self._wake = threading.Event()
        self._observer: Any = None
        if cursor is not None:
            self._resume(cursor)
        elif not from_start:
            self._skip()

    def _knows(self, writer: str) -> bool:
        if writer not in self._claims:
            self._claims = set(read_claims(self.session))
        return writer in self._claims

    def poll(self) -> list[Event]:
        """What is new since the last poll, in order of (timestamp, writer, seq) within the poll.

        At most about 32 MiB of lines a poll, so that a long session is taken in pieces; `behind` tells that
        more is there.
        """
        found = []
        for raw in self._tail.new_lines(_POLL_BYTES):
            event = self._decoder.decode(raw)
            if event is not None:
                found.append((event_key(event), event))
        found.sort(key=lambda pair: pair[0])
        return [event for _, event in found]

    @property
    def behind(self) -> bool:
        """Whether the last poll left lines that it could have read."""
        return self._tail.behind

    @property
    def truncated_files(self) -> int:
        """How many files became shorter, and were read again from their beginning."""
        return self._tail.truncated

    def damage(self) -> list[Damage]:
        """What was met so far that is no event; lines are counted from where following began."""
        return self._damage.kept()

    def follow(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Yield events as they come until `stop()` is true and nothing new is there.

        Where the operating system gives notice an event is out within a few milliseconds; without (inotify is
        exhausted, a network file system) the files are looked at every 50 ms, and every 10 ms while lines
        come.
        """
        self._start_notices()
        last_event = 0.0
        while True:
            # asked before the files are looked at, so that what was written before it turned true is still
            # yielded
            stopping = stop()
            self._wake.clear()
            began = time.monotonic()
            events = self.poll()
            yield from events
            if self.behind:
                continue
            if stopping:
                return
            now = time.monotonic()
            if events:
                last_event = now
            interval = _BUSY_INTERVAL_S if now - last_event < 1.0 else _POLL_INTERVAL_S
            pause = (now - began) * (1 / _LOOKING_SHARE - 1) if not events else 0.0
            # a wake-up waits a moment too, so that a busy session is read in batches
            time.sleep(min(pause, _POLL_INTERVAL_S))
            self._wake.wait(interval)

    def cursor(self) -> dict[str, Any]:
        """Where this follower is, as JSON; what it has yielded or returned is behind that point."""
        files = []
        for inode, place in self._tail.places.items():
            files.append(
                {
                    "dev": inode[0],
                    "inode": inode[1],
                    "name": place.path.relative_to(self.session).as_posix(),
                    "offset": place.offset,
                    "line_number": place.number,
                    "first_id": place.first_id,
                }
            )
        return {"version": CURSOR_VERSION, "files": files}

    def _resume(self, cursor: Mapping[str, Any]) -> None:
        """Find the cursor's files again by their first event, which no other file has."""
        try:
            version, entries = cursor["version"], list(cursor["files"])
            by_id = {entry["first_id"]: _place_of(entry) for entry in entries}
            by_inode = {(entry["dev"], entry["inode"]): _place_of(entry) for entry in entries}
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedInput(f"the cursor is damaged: {error!r}", remedy="follow from the start") from None
        if version != CURSOR_VERSION:
            raise DamagedInput(f"the cursor is of version {version!r}", remedy="follow from the start")
        for path in tree_files(self.session):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            inode = (status.st_dev, status.st_ino)
            begins_with = first_id(path)
            place = by_inode.get(inode) if begins_with is None else by_id.get(begins_with)
            if place is not None and place[2] == begins_with:
                self._tail.places[inode] = Place(path, *place)

    def _skip(self) -> None:
        """Put every place behind the last whole line that is there now."""
        for path in tree_files(self.session):
            try:
                fd, status = open_file(path)
            except OSError:
                continue
            try:
                offset = _after_last_newline(fd, status.st_size)
                begins_with = first_id(path)
            finally:
                os.close(fd)
            self._tail.places[status.st_dev, status.st_ino] = Place(path, offset, first_id=begins_with)

    def _start_notices(self) -> None:
        if self._observer is not None:
            return
        try:
            from Agent.tree.notices import start_notices
        except ImportError:
            self._observer = False
            return
        self._observer = start_notices((self.session, agents_dir(self.session)), self._wake.set)

    def close(self) -> None:
        """End the notices."""
        if self._observer:
            self._observer.stop()
        self._observer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _place_of(entry: Mapping[str, Any]) -> tuple[int, int, str | None]:
    return int(entry["offset"]), int(entry["line_number"]), entry["first_id"]


def _after_last_newline(fd: int, size_bytes: int) -> int:
    end = size_bytes
    while end > 0:
        start = max(end - 64 * 1024, 0)
        os.lseek(fd, start, os.SEEK_SET)
        at = os.read(fd, end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
