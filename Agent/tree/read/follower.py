"""Follows a session while it is written: every new line exactly once.

A scan of the files determines what is new; notifications of the operating system only say when to scan, and
which files first.
"""

from __future__ import annotations

import bisect
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.event.system_clock import SystemClock
from Agent.tree.files.lines import (
    Damage,
    DamageLog,
    FilePosition,
    Inode,
    LineDecoder,
    RawLine,
    Tail,
    after_last_newline,
    event_key,
    first_id,
    own_line,
)
from Agent.tree.files.session import read_claims
from Agent.tree.layout import agents_dir, existing, is_tree_file, open_file, tree_entries

CURSOR_VERSION: Final = 1
_POLL_BYTES: Final = 1024 * 1024
_POLL_INTERVAL_S: Final = 0.05
_BUSY_INTERVAL_S: Final = 0.01
# notifications can be lost, so all files are checked at this interval
_ALL_INTERVAL_S: Final = 0.25
_ALL_SHARE: Final = 0.04
# checking all files after a rename, or without notifications, takes at most 25% of the time
_LOOKING_SHARE: Final = 0.25
# after being behind for this long, notifications are stopped
_BEHIND_S: Final = 1.0


class Follower:
    """Yields the events of a growing session, across rolling segments and new files.

    Args:
        session: the session's directory.
        from_start: start with the existing events; else with events written from now on.
        cursor: continue from the `cursor()` of another follower; `from_start` is then ignored, and files
            unknown to the cursor are read from their start.

    Raises:
        SessionNotFound: the directory is missing.
        DamagedInput: the cursor is invalid.
    """

    def __init__(
        self, session: Path, *, from_start: bool = True, cursor: Mapping[str, Any] | None = None
    ) -> None:
        self.session = existing(Path(session))
        self._damage = DamageLog()
        self._decoder = LineDecoder(self._damage, _KnownWriters(self.session).knows)
        self._tail = Tail(self.session, self._damage.note_unreadable)
        self._wake = threading.Event()
        self._observer: Any = None
        self._written: deque[Path] = deque()
        self._full_scan_s = 0.0
        self._scanned_s = 0.0
        self._ahead: list[tuple[RawLine, Event]] = []
        self._yielded = 0
        if cursor is not None:
            self._resume(cursor)
        elif not from_start:
            self._skip()

    def poll(self) -> list[Event]:
        """Return the new events since the last poll, ordered by (timestamp, writer, seq) within the poll.

        A poll reads at most about 1 MiB of lines; `behind` says whether more is waiting.
        """
        return [event for _, event in self._take()]

    def _take(self, only: Collection[Path] | None = None) -> list[tuple[RawLine, Event]]:
        """Return the new events, after those that an interrupted `follow` has not yielded yet."""
        lines, self._ahead = self._ahead[self._yielded :], []
        for raw in self._tail.new_lines(_POLL_BYTES, only):
            event = self._decoder.decode(raw)
            if event is not None:
                lines.append((raw, event))
        lines.sort(key=lambda pair: event_key(pair[1]))
        return lines

    @property
    def behind(self) -> bool:
        """Whether the last poll left lines unread."""
        return self._tail.behind

    @property
    def vanished_files(self) -> int:
        """Number of files removed before they were read to their end; `losses()` counts retired events."""
        return self._tail.vanished

    @property
    def damaged_lines(self) -> int:
        """How many damaged lines were read so far."""
        return self._damage.count

    def damage(self) -> list[Damage]:
        """Return the damaged lines so far; line numbers count from where following began."""
        return self._damage.kept()

    def follow(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Yield events as they are written, until `stop()` is true and nothing is new.

        With notifications an event is yielded within a few milliseconds. Without them (inotify is exhausted,
        a network file system) the files are checked every 50 ms, and every 10 ms while lines arrive.
        """
        for batch in self._batches(stop, 0.0):
            for _, event in batch:
                # counted one by one, so that a cursor taken in between skips no event that was not yielded
                self._yielded += 1
                yield event

    def follow_lines(
        self, stop: Callable[[], bool], settle_s: float = 0.0
    ) -> Iterator[list[tuple[bytes, Event]]]:
        """Yield batches of (line, event); the line is as recorded, without its newline.

        A cursor that is taken while a batch is processed points after the batch.

        Args:
            stop: as in `follow`.
            settle_s: minimum age of an event, so that events of several writers are yielded in order.
        """
        for batch in self._batches(stop, settle_s):
            self._yielded = len(batch)
            yield [(own_line(raw.line, event), event) for raw, event in batch]

    def _batches(self, stop: Callable[[], bool], settle_s: float) -> Iterator[list[tuple[RawLine, Event]]]:
        self._start_notices()
        last_event, caught_up_s = 0.0, SystemClock.monotonic_s()
        while True:
            # call it before reading the files, so that lines written before it became true are yielded
            stopping = stop()
            self._wake.clear()
            began = SystemClock.monotonic_s()
            only = None if stopping else self._noticed()
            events = self._take(only)
            settled = len(events) if stopping or self.behind else _settled(events, settle_s)
            self._ahead, self._yielded = events, 0
            if settled:
                batch = events[:settled]
                yield batch
                # release the events: the consumer may keep the list while the next batch is read
                batch.clear()
            self._ahead, self._yielded = events[settled:], 0
            any_came = bool(events)
            del events
            if self.behind:
                if SystemClock.monotonic_s() - caught_up_s > _BEHIND_S:
                    # all files are checked anyway, and unused notifications would pile up
                    self.close()
                continue
            caught_up_s = SystemClock.monotonic_s()
            if stopping:
                return
            if self._observer is None:
                self._start_notices()
                # nothing notifies of lines written before notifications started
                self._full_scan_s = 0.0
                continue
            now = SystemClock.monotonic_s()
            if any_came:
                last_event = now
            if self._ahead:
                SystemClock.pause(settle_s)
                continue
            interval = _BUSY_INTERVAL_S if now - last_event < 1.0 else _POLL_INTERVAL_S
            if not any_came and not self._observer:
                # without notifications, every check lists all files
                SystemClock.pause(min((now - began) * (1 / _LOOKING_SHARE - 1), _POLL_INTERVAL_S))
            self._wake.wait(interval)

    def _noticed(self) -> list[Path] | None:
        """Return the files with notifications since the last check; None if all files are due."""
        written = {self._written.popleft() for _ in range(len(self._written))}
        now = SystemClock.monotonic_s()
        if self.behind or not self._observer or now >= self._full_scan_s:
            # set before the check, so that a notification during it is not lost
            self._scanned_s = now
            self._full_scan_s = now + max(_ALL_INTERVAL_S, self._tail.listing_s / _ALL_SHARE)
            return None
        return [path for path in written if is_tree_file(self.session, path)]

    def _wake_for(self, path: Path | None) -> None:
        if path is None:
            soonest_s = self._scanned_s + self._tail.listing_s / _LOOKING_SHARE
            self._full_scan_s = min(self._full_scan_s, soonest_s)
        else:
            self._written.append(path)
        self._wake.set()

    @property
    def read_bytes(self) -> int:
        """Total number of bytes read."""
        return sum(position.offset for position in self._tail.places.values())

    def cursor(self) -> dict[str, Any]:
        """Return the position as JSON; a follower that starts from it continues after the yielded events.

        Events that `follow` has not yielded yet are yielded again. An event already yielded is repeated only
        if threads wrote into one file out of order of their timestamps.
        """
        ahead: dict[Inode, tuple[int, int]] = {}
        for raw, _ in self._ahead[self._yielded :]:
            place_before = (raw.offset, raw.number - 1)
            ahead[raw.inode] = min(ahead.get(raw.inode, place_before), place_before)
        files = []
        # `relative_to` takes 4 times as long, and a session can have 10,000 agent files
        begin = f"{self.session.as_posix()}/"
        for inode, position in self._tail.places.items():
            offset, number = ahead.get(inode, (position.offset, position.number))
            files.append(
                {
                    "dev": inode[0],
                    "inode": inode[1],
                    "name": position.path.as_posix().removeprefix(begin),
                    "offset": offset,
                    "line_number": number,
                    "first_id": position.first_id,
                }
            )
        return {"version": CURSOR_VERSION, "files": files}

    def _resume(self, cursor: Mapping[str, Any]) -> None:
        """Find the cursor's files by the id on their first line, which is unique."""
        try:
            version, entries = cursor["version"], cursor["files"]
            for entry in entries:
                _place_of(entry)
            by_id = {entry["first_id"]: entry for entry in entries}
            empty = {(entry["dev"], entry["inode"]): entry for entry in entries if entry["first_id"] is None}
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedInput(f"the cursor is damaged: {error!r}", remedy="follow from the start") from None
        if version != CURSOR_VERSION:
            raise DamagedInput(f"the cursor is of version {version!r}", remedy="follow from the start")
        for path, inode in self._files_twice():
            begins_with = first_id(path)
            entry = empty.get(inode) if begins_with is None else by_id.get(begins_with)
            if entry is not None:
                # keep no object of the cursor, so that its memory can be freed
                self._tail.places[inode] = FilePosition(path, *_place_of(entry), begins_with)

    def _files_twice(self) -> Iterator[tuple[Path, Inode]]:
        """Yield every file without a position, from two listings.

        A file that is rolled between listing and opening is missed; the second listing has its final name.
        """
        for _ in range(2):
            for entry in tree_entries(self.session):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # rolled or retired since it was listed
                if (status.st_dev, status.st_ino) not in self._tail.places:
                    yield Path(entry.path), (status.st_dev, status.st_ino)

    def _skip(self) -> None:
        """Set every position after the last complete line of its file."""
        for path, _ in self._files_twice():
            try:
                fd, status = open_file(path)
            except OSError:
                continue  # removed, or unreadable, which the next poll records
            try:
                offset = after_last_newline(fd, status.st_size)
                begins_with = first_id(path)
            finally:
                os.close(fd)
            self._tail.places[status.st_dev, status.st_ino] = FilePosition(path, offset, first_id=begins_with)

    def _start_notices(self) -> None:
        if self._observer is not None:
            return
        self._observer = _start_notices((self.session, agents_dir(self.session)), self._wake_for) or False

    def close(self) -> None:
        """Stop the notifications."""
        if self._observer:
            self._observer.stop()
            self._observer.join(timeout=5.0)
        self._observer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _KnownWriters:
    """The writers with a claim in a session; the claims are read again for an unknown writer.

    Not a method of the follower, because the reference cycle would keep a discarded follower, with all its
    positions, in memory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._writers: set[str] = set()

    def knows(self, writer: str) -> bool:
        """Return whether a writer has a claim."""
        if writer not in self._writers:
            self._writers = set(read_claims(self._session))
        return writer in self._writers


def _settled(events: list[tuple[RawLine, Event]], settle_s: float) -> int:
    """Return how many leading events of a sorted list are old enough; all if a clock was set back."""
    if not events or not settle_s:
        return len(events)
    now_us = SystemClock.wall_ns() / 1e3
    if events[-1][1].timestamp_us > now_us:
        return len(events)
    limit_us = now_us - settle_s * 1e6
    return bisect.bisect_right(events, limit_us, key=lambda pair: pair[1].timestamp_us)


def _place_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    return int(entry["offset"]), int(entry["line_number"])


class _Waker:
    """Reports each file that was written to, and None if names change."""

    def __init__(self, wake: Callable[[Path | None], None]) -> None:
        self._wake = wake

    def dispatch(self, event: Any) -> None:
        """Handle a notification from watchdog."""
        # reading also causes notifications, which would wake the reader forever
        if event.event_type == "modified":
            # a directory is reported as modified whenever a file in it is closed
            if not event.is_directory:
                self._wake(Path(os.fsdecode(event.src_path)))
        elif event.event_type in {"created", "moved"}:
            self._wake(None)


def _start_notices(directories: Iterable[Path], wake: Callable[[Path | None], None]) -> Any:
    """Start an observer that calls `wake` with each file that is written to, and with None if names change.

    None if notifications are unavailable, because inotify watches or instances are exhausted. The caller then
    has to poll.
    """
    from watchdog.events import FileCreatedEvent, FileModifiedEvent, FileMovedEvent
    from watchdog.observers import Observer

    # a queue overflow is harmless, because scans find all lines: suppress watchdog's warning
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    # leave out open and close events, including the reader's own: most events of a busy session are these
    event_types = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent]
    observer: Any = Observer()
    try:
        for directory in directories:
            observer.schedule(_Waker(wake), str(directory), recursive=False, event_filter=event_types)
        observer.start()
    except (OSError, RuntimeError):
        observer.stop()
        return None
    return observer
