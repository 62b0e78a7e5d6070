"""Reads what is new in a session's files: every complete line once, under whatever name its file stands.

`reader` makes one pass over all files with it, `follower` one pass after another.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from Agent.tree.files.lines import Inode, RawLine, begins_otherwise, id_of, read_lines
from Agent.tree.layout import parse_file_name, retired_file, stem_files, tree_files

# so long after it was rolled a segment that has not grown is left alone, and one that is away is gone
_SETTLED_S = 2.0
_LEAST_SHARE_BYTES = 64 * 1024
# looking for what has grown may take this part of the time of someone who is behind
_LISTING_SHARE = 0.05
_LISTING_INTERVAL_S = 0.25


@dataclass(slots=True)
class FilePosition:
    """How far one file was read."""

    path: Path
    offset: int = 0
    number: int = 0
    first_id: str | None = None
    size_bytes: int = 0
    mtime_ns: int = 0
    read_in_pass: int = 0
    quiet_since: float | None = None
    absent_since: float | None = None
    rest: RawLine | None = None
    """What stands after the last newline."""


class Tail:
    """The places in all files of one session, known by inode.

    Args:
        session: the session's directory.
        on_unreadable: told of a file that cannot be read.
        files: lists the files; all of the session's by default.
    """

    def __init__(
        self,
        session: Path,
        on_unreadable: Callable[[Path, Inode, OSError], None],
        files: Callable[[], list[Path]] | None = None,
    ) -> None:
        self._session = session
        self._retires = False
        self._on_unreadable = on_unreadable
        self._files = files or (lambda: tree_files(session))
        self.places: dict[Inode, FilePosition] = {}
        self.truncated = 0
        self.vanished = 0
        """Files that went away before they were read to their end, as retention takes them."""
        self.behind = False
        self._pass = 0
        self._waiting: deque[tuple[Inode, FilePosition]] = deque()
        self._share_bytes = 0
        self._list_again_s = 0.0
        self.listing_s = 0.0
        """How long the last look at all files took."""

    def new_lines(
        self, limit_bytes: int | None = None, only: Collection[Path] | None = None
    ) -> Iterator[RawLine]:
        """One pass: the complete lines that were not given out before.

        Args:
            limit_bytes: about how much is read in this pass; `behind` says afterwards whether more waits. The
                files that have grown are looked for now and then while much waits, and for the last time in
                the pass that is not behind.
            only: look at these files alone; what was renamed or removed is left to a pass over all.
        """
        self.behind = False
        if limit_bytes is None:
            for inode, place in self._grown_files(only):
                yield from self._lines_of(inode, place, None)
            return
        is_new = not self._waiting or time.monotonic() > self._list_again_s
        if is_new:
            self._list(limit_bytes, only)
        left_bytes = limit_bytes
        while self._waiting and left_bytes > 0:
            inode, place = self._waiting.popleft()
            begin = place.offset
            yield from self._lines_of(inode, place, self._share_bytes)
            place.read_in_pass = self._pass
            left_bytes -= place.offset - begin
        if self._waiting or not is_new:
            self.behind = True

    def _list(self, limit_bytes: int, only: Collection[Path] | None) -> None:
        """Note which files have grown, and how much of each is to be read."""
        began = time.monotonic()
        grown = self._grown_files(only)
        # whoever waited longest comes first, so that busy files starve no other
        grown.sort(key=lambda pair: pair[1].read_in_pass)
        self._waiting = deque(grown)
        self._share_bytes = max(limit_bytes // max(len(grown), 1), _LEAST_SHARE_BYTES)
        self._pass += 1
        ended = time.monotonic()
        if only is None:
            self.listing_s = ended - began
        self._list_again_s = ended + max(_LISTING_INTERVAL_S, self.listing_s / _LISTING_SHARE)

    def _grown_files(self, only: Collection[Path] | None) -> list[tuple[Inode, FilePosition]]:
        now = time.monotonic()
        self._retires = self._retires or os.path.lexists(retired_file(self._session))
        grown: list[tuple[Inode, FilePosition]] = []
        met: set[Inode] = set()
        settled = {
            place.path: inode
            for inode, place in self.places.items()
            if place.quiet_since is not None and now - place.quiet_since > _SETTLED_S
        }
        for path in self._files() if only is None else only:
            if path in settled:
                met.add(settled[path])
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # rolled or retired since it was listed
            inode = (status.st_dev, status.st_ino)
            # a file that is just being rolled has both names
            if inode not in met:
                met.add(inode)
                place = self._place(inode, path, status)
                if status.st_size > place.offset:
                    place.quiet_since = None
                    grown.append((inode, place))
                elif place.quiet_since is None and _is_rolled(path):
                    place.quiet_since = now
        if only is None:
            self._forget_absent(met, now)
        return grown

    def _place(self, inode: Inode, path: Path, status: os.stat_result) -> FilePosition:
        place = self.places.setdefault(inode, FilePosition(path))
        if status.st_size < place.offset:
            self.truncated += not self._retires
            place = self.places[inode] = FilePosition(path)
        elif self._is_reused(inode, place, path, status):
            place = self.places[inode] = FilePosition(path)
        place.path, place.size_bytes, place.absent_since = path, status.st_size, None
        place.mtime_ns = status.st_mtime_ns
        return place

    def _is_reused(self, inode: Inode, place: FilePosition, path: Path, status: os.stat_result) -> bool:
        """Whether the inode was one of a segment that retention removed, and is a new file's now."""
        if not self._retires or not place.offset or status.st_mtime_ns == place.mtime_ns:
            return False
        return begins_otherwise(path, inode, place.first_id)

    def _forget_absent(self, met: set[Inode], now: float) -> None:
        """Drop the places of files that are gone, whose inodes another file may get.

        One that is being rolled can be missed by a listing, so only one that stays away is gone.
        """
        for inode in [inode for inode in self.places if inode not in met]:
            place = self.places[inode]
            if place.absent_since is None:
                place.absent_since = now
            elif now - place.absent_since > _SETTLED_S:
                self.vanished += place.offset < place.size_bytes
                del self.places[inode]

    def _lines_of(self, inode: Inode, place: FilePosition, share: int | None) -> Iterator[RawLine]:
        place.rest = None
        lines = read_lines(
            place.path,
            inode,
            offset=place.offset,
            number=place.number,
            limit_bytes=share,
            # looking for one costs as much as listing all, which comes soon where a share is read
            find_again=lambda inode: self._find_again(place, inode) if share is None else None,
        )
        try:
            for raw in lines:
                if not raw.complete:
                    place.rest = raw
                    return
                place.offset = raw.offset + len(raw.line) + 1
                place.number = raw.number
                # not the line's number, which is counted from where following began
                if raw.offset == 0:
                    place.first_id = id_of(raw.line)
                # a blank line stands where a torn one was closed
                if raw.line:
                    yield raw
        except OSError as error:
            # gone between listing and opening, or not ours to read
            if not isinstance(error, FileNotFoundError):
                self._on_unreadable(place.path, inode, error)
            elif share is not None and not _is_rolled(place.path):
                self.behind = True
            return
        if place.offset < place.size_bytes:
            self.behind = True

    def _find_again(self, place: FilePosition, inode: Inode) -> Path | None:
        name = parse_file_name(place.path.name)
        if name is None or name.segment is not None:
            # one that has its number keeps its name, so it was removed
            return None
        for path in stem_files(place.path.parent, name.stem, place.path.suffix):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # rolled or retired since it was listed
            if (status.st_dev, status.st_ino) == inode:
                place.path = path
                return path
        return None


def _is_rolled(path: Path) -> bool:
    name = parse_file_name(path.name)
    return name is not None and name.segment is not None
