"""Follows a session while it is written: every new line exactly once.

A scan of the files decides what is new; notifications of the operating system only say when and where to look
first.
"""

from __future__ import annotations

import bisect
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from Agent.errors import DamagedInput, SessionNotFound
from Agent.event.model import Event
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
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import agents_dir, is_tree_file, open_file, tree_entries

CURSOR_VERSION: Final = 1
_POLL_BYTES: Final = 1024 * 1024
_POLL_INTERVAL_S: Final = 0.05
_BUSY_INTERVAL_S: Final = 0.01
# notices can be lost, so all files are looked at that often
_ALL_INTERVAL_S: Final = 0.25
_ALL_SHARE: Final = 0.04
# looking at the files, where names change or nothing gives notice, may take this part of the time
_LOOKING_SHARE: Final = 0.25
# after this time of never being at the end, notices rest
_BEHIND_S: Final = 1.0


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
                "no session there", path=session, remedy="give the path of a session_... directory"
            )
        self._damage = DamageLog()
        self._decoder = LineDecoder(self._damage, _KnownWriters(self.session).knows)
        self._tail = Tail(self.session, self._damage.note_unreadable)
        self._wake = threading.Event()
        self._observer: Any = None
        self._written: deque[Path] = deque()
        self._look_at_all_s = 0.0
        self._looked_s = 0.0
        self._ahead: list[tuple[RawLine, Event]] = []
        self._given = 0
        if cursor is not None:
            self._resume(cursor)
        elif not from_start:
            self._skip()

    def poll(self) -> list[Event]:
        """What is new since the last poll, in order of (timestamp, writer, seq) within the poll.

        At most about 1 MiB of lines a poll, so that a long session is taken in pieces; `behind` tells that
        more is there.
        """
        return [event for _, event in self._take()]

    def _take(self, only: Collection[Path] | None = None) -> list[tuple[RawLine, Event]]:
        """What is new, and what a `follow` that was left half way had still to yield."""
        found, self._ahead = self._ahead[self._given :], []
        for raw in self._tail.new_lines(_POLL_BYTES, only):
            event = self._decoder.decode(raw)
            if event is not None:
                found.append((raw, event))
        found.sort(key=lambda pair: event_key(pair[1]))
        return found

    @property
    def behind(self) -> bool:
        """Whether the last poll left lines that it could have read."""
        return self._tail.behind

    @property
    def vanished_files(self) -> int:
        """How many files went away before they were read to their end; `losses()` tells what was retired."""
        return self._tail.vanished

    @property
    def damaged_lines(self) -> int:
        """How many lines that are no event were met so far."""
        return self._damage.count

    def damage(self) -> list[Damage]:
        """What was met so far that is no event; lines are counted from where following began."""
        return self._damage.kept()

    def follow(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Yield events as they come until `stop()` is true and nothing new is there.

        Where the operating system gives notice an event is out within a few milliseconds; without (inotify is
        exhausted, a network file system) the files are looked at every 50 ms, and every 10 ms while lines
        come.
        """
        for batch in self._batches(stop, 0.0):
            for _, event in batch:
                # counted one by one, so that a cursor taken in between skips nothing that is still to be
                # yielded
                self._given += 1
                yield event

    def follow_lines(
        self, stop: Callable[[], bool], settle_s: float = 0.0
    ) -> Iterator[list[tuple[bytes, Event]]]:
        """The same in batches, each event behind its line as it stands in the recording, without the newline.

        A cursor that is taken while a batch is worked on stands behind it.

        Args:
            stop: as of `follow`.
            settle_s: how old an event must be to be yielded, so that those of several writers come in order.
        """
        for batch in self._batches(stop, settle_s):
            self._given = len(batch)
            yield [(own_line(raw.line, event), event) for raw, event in batch]

    def _batches(self, stop: Callable[[], bool], settle_s: float) -> Iterator[list[tuple[RawLine, Event]]]:
        self._start_notices()
        last_event, caught_up_s = 0.0, time.monotonic()
        while True:
            # asked before the files are looked at, so that what was written before it turned true is still
            # yielded
            stopping = stop()
            self._wake.clear()
            began = time.monotonic()
            only = None if stopping else self._noticed()
            events = self._take(only)
            settled = len(events) if stopping or self.behind else _settled(events, settle_s)
            self._ahead, self._given = events, 0
            if settled:
                batch = events[:settled]
                yield batch
                # it would stand beside the next one, in whoever took it
                batch.clear()
            self._ahead, self._given = events[settled:], 0
            any_came = bool(events)
            del events
            if self.behind:
                if time.monotonic() - caught_up_s > _BEHIND_S:
                    # all files are looked at anyway, and notices that nobody needs would gather
                    self.close()
                continue
            caught_up_s = time.monotonic()
            if stopping:
                return
            if self._observer is None:
                self._start_notices()
                # of what was written before them nobody gives notice
                self._look_at_all_s = 0.0
                continue
            now = time.monotonic()
            if any_came:
                last_event = now
            if self._ahead:
                time.sleep(settle_s)
                continue
            interval = _BUSY_INTERVAL_S if now - last_event < 1.0 else _POLL_INTERVAL_S
            if not any_came and not self._observer:
                # every look is one at all files
                time.sleep(min((now - began) * (1 / _LOOKING_SHARE - 1), _POLL_INTERVAL_S))
            self._wake.wait(interval)

    def _noticed(self) -> list[Path] | None:
        """The files that there was notice of since the last look; None if it is time to look at all."""
        written = {self._written.popleft() for _ in range(len(self._written))}
        now = time.monotonic()
        if self.behind or not self._observer or now >= self._look_at_all_s:
            # set before the look, so that a notice that comes meanwhile is not forgotten
            self._looked_s = now
            self._look_at_all_s = now + max(_ALL_INTERVAL_S, self._tail.listing_s / _ALL_SHARE)
            return None
        return [path for path in written if is_tree_file(self.session, path)]

    def _wake_for(self, path: Path | None) -> None:
        if path is None:
            soonest_s = self._looked_s + self._tail.listing_s / _LOOKING_SHARE
            self._look_at_all_s = min(self._look_at_all_s, soonest_s)
        else:
            self._written.append(path)
        self._wake.set()

    @property
    def read_bytes(self) -> int:
        """How much of all files was read."""
        return sum(place.offset for place in self._tail.places.values())

    def cursor(self) -> dict[str, Any]:
        """Where this follower is, as JSON; what it has yielded or returned is behind that point.

        What `follow` has yet to yield is before it. Only where threads of one program wrote into one file out
        of the order of their times can an event behind the point come again.
        """
        ahead: dict[Inode, tuple[int, int]] = {}
        for raw, _ in self._ahead[self._given :]:
            place_before = (raw.offset, raw.number - 1)
            ahead[raw.inode] = min(ahead.get(raw.inode, place_before), place_before)
        files = []
        # `relative_to` takes four times as long, and a session may have a file for each of 10,000 agents
        begin = f"{self.session.as_posix()}/"
        for inode, place in self._tail.places.items():
            offset, number = ahead.get(inode, (place.offset, place.number))
            files.append(
                {
                    "dev": inode[0],
                    "inode": inode[1],
                    "name": place.path.as_posix().removeprefix(begin),
                    "offset": offset,
                    "line_number": number,
                    "first_id": place.first_id,
                }
            )
        return {"version": CURSOR_VERSION, "files": files}

    def _resume(self, cursor: Mapping[str, Any]) -> None:
        """Find the cursor's files again by their first event, which no other file has."""
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
                # of the cursor, which goes away as a whole, not even the id is kept
                self._tail.places[inode] = FilePosition(path, *_place_of(entry), begins_with)

    def _files_twice(self) -> Iterator[tuple[Path, Inode]]:
        """Every file that has no place yet, looked for twice.

        One that is rolled between its listing and its opening is missed; it is rolled once, so the next time
        it is met under the name that it keeps.
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
        """Put every place behind the last whole line that is there now."""
        for path, _ in self._files_twice():
            try:
                fd, status = open_file(path)
            except OSError:
                continue  # gone, or unreadable, which the next poll notes
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
        """End the notices."""
        if self._observer:
            self._observer.stop()
            self._observer.join(timeout=5.0)
        self._observer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _KnownWriters:
    """The writers that have a claim in a session, read again where one is asked for that is not known.

    No method of the follower, which would then hold itself: whoever goes on from a cursor would have the
    places of two followers in memory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._writers: set[str] = set()

    def knows(self, writer: str) -> bool:
        """Whether that writer has a claim."""
        if writer not in self._writers:
            self._writers = set(read_claims(self._session))
        return writer in self._writers


def _settled(events: list[tuple[RawLine, Event]], settle_s: float) -> int:
    """How many at the beginning of a sorted list are old enough; all, where a clock was set back."""
    if not events or not settle_s:
        return len(events)
    now_us = time.time() * 1e6
    if events[-1][1].timestamp_us > now_us:
        return len(events)
    limit_us = now_us - settle_s * 1e6
    return bisect.bisect_right(events, limit_us, key=lambda pair: pair[1].timestamp_us)


def _place_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    return int(entry["offset"]), int(entry["line_number"])


class _Waker:
    """Tells which file was written to, and None where names change."""

    def __init__(self, wake: Callable[[Path | None], None]) -> None:
        self._wake = wake

    def dispatch(self, event: Any) -> None:
        """What watchdog calls with each notice."""
        # reading gives notice too, which would wake the reader for ever
        if event.event_type == "modified":
            # a directory is said to be modified whenever a file in it is closed
            if not event.is_directory:
                self._wake(Path(os.fsdecode(event.src_path)))
        elif event.event_type in {"created", "moved"}:
            self._wake(None)


def _start_notices(directories: Iterable[Path], wake: Callable[[Path | None], None]) -> Any:
    """An observer that calls `wake` with each file that is written to, and with None where names change.

    None where the system gives no notice: watchdog is not installed, or inotify's watches or instances are
    used up. Whoever waits has to look by himself then.
    """
    try:
        from watchdog.events import FileCreatedEvent, FileModifiedEvent, FileMovedEvent
        from watchdog.observers import Observer
    except ImportError:
        return None
    # a queue that overflowed costs nothing here, since a look at the files decides: it is not worth a warning
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    # openings and closings, the reader's own among them, would be most of what is told in a busy session
    wanted = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent]
    observer: Any = Observer()
    try:
        for directory in directories:
            observer.schedule(_Waker(wake), str(directory), recursive=False, event_filter=wanted)
        observer.start()
    except (OSError, RuntimeError):
        observer.stop()
        return None
    return observer
