"""Keeps the record of a session under a size: rolled segments go, oldest first, once it is said what goes.

`retired` is the account that is written before anything is removed. The room above runs this on a thread of
its own, never inside a logging call.
"""

from __future__ import annotations

import heapq
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from Agent.tree.files.file_locks import locked
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import parse_file_name, retention_lock_file, retention_pass_file, tree_entries
from Agent.tree.read.read_leases import nobody_reads
from Agent.tree.read.retention_log import (
    RetiredAccount,
    ScannedFile,
    read_account,
    read_removal,
    write_account,
)
from Agent.tree.retention.cursors import IsHeld, held_by_cursors
from Agent.tree.retention.in_use import WriterWatch

__all__ = ["POLICY", "Retention", "Retired", "WriterRetired", "finish_removal"]

POLICY: Final = "max_session_bytes"
# a pass frees this part of the limit beyond what it must, so that not every roll makes another
_SLACK_PARTS: Final = 16
# what a cursor or a reader holds may come to so many times the limit
_HELD_TIMES: Final = 2
# what one step of a pass removes, so that its account is written before long
_STEP_BYTES: Final = 256 * 1024 * 1024


class WriterRetired(NamedTuple):
    """What of one writer was removed: how many events, the first and the last, not all between them."""

    writer: str
    events: int
    first_seq: int
    last_seq: int
    files: int
    size_bytes: int


@dataclass(slots=True)
class Retired:
    """What one pass did."""

    files: int = 0
    size_bytes: int = 0
    writers: tuple[WriterRetired, ...] = ()
    left_bytes: int = 0
    """How large the record is now."""
    in_use: int = 0
    """Segments that were left since somebody has them open for writing."""
    held: int = 0
    """Segments that were left since a cursor has not passed them."""


class _Segment(NamedTuple):
    changed_ns: int
    segment: int
    path: str


class Retention:
    """The policy of one session; several processes may have one, of which one at a time is at work.

    Args:
        session: the session's directory.
        max_session_bytes: what its log files may come to.
        breathe: called again and again with the bytes that were too many when the pass began, for a pause in
            which other threads get their turn; false ends the pass after the file that is being read.
    """

    def __init__(
        self,
        session: Path,
        max_session_bytes: int,
        *,
        breathe: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.session = session
        self.max_session_bytes = max_session_bytes
        self._breathe = breathe
        self._watch = WriterWatch(retention_lock_file(session).parent)

    def run(self) -> Retired | None:
        """One pass; None if another process is at it, or somebody reads the segments by name.

        Who reads is waited for until the files come to twice the limit: a query that takes for ever shall not
        fill the disk. What he reads by name is then gone, and he has to ask again.

        Raises:
            OSError: a file or the account cannot be read, written or removed.
            DamagedInput: the account cannot be read, so nothing may be removed.
        """
        with locked(retention_pass_file(self.session), create=True) as mine:
            return self._pass() if mine else None

    def _pass(self) -> Retired | None:
        with _nobody_reading(self.session) as alone:
            pass
        if not alone and self._oldest_first()[1] <= _HELD_TIMES * self.max_session_bytes:
            return None
        account = read_account(self.session)
        _remove(self.session, account, at_once=not alone)
        oldest, total_bytes = self._oldest_first()
        done = Retired(left_bytes=total_bytes)
        if total_bytes <= self.max_session_bytes:
            return done
        by_writer: dict[str, WriterRetired] = {}
        going = True
        while going:
            files = done.files
            going = self._enter(account, oldest, done, by_writer)
            if done.files == files:
                break
            # said on the disk, then done: whoever is killed in between leaves both, and the next one goes on
            write_account(self.session, account)
            _remove(self.session, account, at_once=not alone)
        done.writers = tuple(by_writer[name] for name in sorted(by_writer))
        return done

    def _oldest_first(self) -> tuple[Iterator[_Segment], int]:
        """The rolled segments in the order in which they go, and the size of all files."""
        chains: dict[str, list[_Segment]] = {}
        total_bytes = 0
        for entry in tree_entries(self.session):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            total_bytes += status.st_size
            name = parse_file_name(entry.name)
            if name is not None and name.segment is not None and stat.S_ISREG(status.st_mode):
                live = f"{entry.path.removesuffix(entry.name)}{name.stem}@{name.writer or ''}"
                chains.setdefault(live, []).append(_Segment(status.st_mtime_ns, name.segment, entry.path))
        return _by_age(chains), total_bytes

    def _enter(
        self,
        account: RetiredAccount,
        oldest: Iterator[_Segment],
        done: Retired,
        by_writer: dict[str, WriterRetired],
    ) -> bool:
        """Enter the next segments into the account, one step's worth; whether more have to go after them."""
        is_held, claims = held_by_cursors(self.session), read_claims(self.session)
        target_bytes = self.max_session_bytes - self.max_session_bytes // _SLACK_PARTS
        excess_bytes = done.left_bytes + done.size_bytes - target_bytes
        step_bytes = 0

        def breathe() -> bool:
            return self._breathe(excess_bytes)

        for segment in oldest:
            path = Path(segment.path)
            try:
                if self._has_to_stay(path, is_held, done):
                    continue
                found = read_removal(self.session, path, claims.__contains__, breathe)
            except FileNotFoundError:
                continue
            account.add(found)
            _count(by_writer, found)
            size_bytes = found.removal.size_bytes
            done.files += 1
            done.size_bytes += size_bytes
            done.left_bytes -= size_bytes
            step_bytes += size_bytes
            if done.left_bytes <= target_bytes or not breathe():
                return False
            if step_bytes >= _STEP_BYTES:
                return True
        return False

    def _has_to_stay(self, path: Path, is_held: IsHeld, done: Retired) -> bool:
        if self._watch.is_open(path):
            done.in_use += 1
            return True
        if done.left_bytes <= _HELD_TIMES * self.max_session_bytes and is_held(path, path.lstat()):
            done.held += 1
            return True
        return False


def finish_removal(session: Path) -> int:
    """Remove what a pass that was killed had entered into the account; how many files stayed all the same.

    Raises:
        OSError, DamagedInput: as `Retention.run`.
    """
    with locked(retention_pass_file(session), create=True) as mine:
        account = read_account(session)
        if mine and account.removing:
            _remove(session, account)
            write_account(session, account)
        return len(account.removing)


def _by_age(chains: dict[str, list[_Segment]]) -> Iterator[_Segment]:
    """By their last change, those of one live name in the order of their numbers whatever the clock did."""
    for chain in chains.values():
        chain.sort(key=lambda one: one.segment, reverse=True)
    first = [(chain[-1], live) for live, chain in chains.items()]
    heapq.heapify(first)
    while first:
        segment, live = first[0]
        chain = chains[live]
        chain.pop()
        yield segment
        if chain:
            heapq.heapreplace(first, (chain[-1], live))
        else:
            heapq.heappop(first)


def _count(by_writer: dict[str, WriterRetired], found: ScannedFile) -> None:
    for writer, numbers in found.numbers.items():
        first = numbers.lowest
        before = by_writer.get(writer) or WriterRetired(writer, 0, first, 0, 0, 0)
        by_writer[writer] = WriterRetired(
            writer,
            before.events + len(numbers),
            min(before.first_seq, first),
            max(before.last_seq, numbers.highest),
            before.files + 1,
            before.size_bytes + found.removal.size_bytes,
        )


def _remove(session: Path, account: RetiredAccount, *, at_once: bool = False) -> None:
    """Remove the files that the account says are going, and book those that are gone.

    Where somebody reads by name and goes on reading they stay, to be removed by the next pass, but `at_once`.
    """
    waiting = [removal for removal in account.removing if removal.still_there(session)]
    if waiting:
        with _nobody_reading(session) as alone:
            for removal in waiting if alone or at_once else ():
                with suppress(FileNotFoundError):
                    (session / removal.file).unlink()
    account.settle(session)


@contextmanager
def _nobody_reading(session: Path) -> Iterator[bool]:
    """Whether nobody reads the segments by name while this is open; who comes meanwhile waits."""
    with locked(retention_lock_file(session), create=True, wait=True), nobody_reads(session) as alone:
        yield alone
