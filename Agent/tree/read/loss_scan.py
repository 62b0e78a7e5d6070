"""One pass over all files of a session, in no order across them, with the account of every number at its end.

The fastest way to see every event once; `reader.losses` and `summary` are made of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.tree.files.lines import DamageLog, LineDecoder, RawLine, tail_writer
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.tally import Tally
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import boards_dir
from Agent.tree.read.archive_seam import ColdLines
from Agent.tree.read.losses import HELD_IN_MEMORY, TELLING, Accounting, Losses, WriterLosses
from Agent.tree.read.recovery_log import read_recovery
from Agent.tree.read.retention_log import read_account
from Agent.tree.read.tailing import Tail
from Agent.tree.write.crash_board import BoardView, read_board

__all__ = ["LOOKS", "LOOK_AGAIN_S", "Scan", "Writers", "add_said"]

LOOKS: Final = 5
"""How often a session that goes on is looked at, at most, until all that can be judged is explained."""
LOOK_AGAIN_S: Final = 0.02


class Writers:
    """The writers of a session as they were at one moment: claims, boards, and which of them run.

    To be taken before the files are read. A number that was taken by then stands in a file, or is in a
    thread's hands; one that a running writer takes later may stand in a part of the files that was read
    before it came. `losses` judges the former alone.

    Args:
        session: the session's directory.
        account: what was read before, if anything.
    """

    def __init__(self, session: Path, account: Accounting | None = None) -> None:
        self._session = session
        self.claims = read_claims(session)
        # before the boards: a writer that ends in between has left its last word on its board
        self.alive = frozenset(writer for writer, claim in self.claims.items() if claim.is_alive())
        self.boards: dict[str, BoardView] = {}
        for writer in self.claims:
            board = read_board(boards_dir(session) / f"{writer}.board")
            if board is not None:
                self.boards[writer] = board
        ended = {} if account is None else account.closed
        self._judged = {
            writer: self._last_settled(writer, account) for writer in self.alive if writer not in ended
        }

    def _last_settled(self, writer: str, account: Accounting | None) -> int:
        """The last number of which it is known that it, and those below, were not only in memory."""
        seen = None if account is None else account.seen.get(writer)
        settled = 0 if seen is None else seen.highest
        return max(settled, self.boards[writer].last_seq) if self._has_live_board(writer) else settled

    def _has_live_board(self, writer: str) -> bool:
        return writer in self.boards and self.claims[writer].durability not in HELD_IN_MEMORY

    def losses(self, account: Accounting, damaged_lines: int) -> Losses:
        """The account, of what was read since this was taken and before; to be asked after the files."""
        began_since = read_claims(self._session).keys() - self.claims.keys()
        self._judged |= dict.fromkeys(began_since, 0)
        return account.losses(self.claims, self.boards, self.alive, damaged_lines, self._judged)

    def are_explained(self, losses: Losses) -> bool:
        """Whether another look could not tell more of what running writers seem to lack."""
        return not any(
            writer.unknown + writer.lost > 0 or self._next_tells(writer)
            for writer in losses.writers
            if writer.writer in self._judged
        )

    def _next_tells(self, writer: WriterLosses) -> bool:
        """Whether a look at the files as they are now judges what this one could not."""
        behind = [gap.last_seq for gap in writer.gaps if gap.verdict == "in_flight"]
        if writer.closed:
            return bool(behind)
        # of what was in memory the files alone tell, so there was nothing yet to judge it by
        is_first = self._judged.get(writer.writer, 0) == 0 and not self._has_live_board(writer.writer)
        return is_first and any(last < writer.last_seq for last in behind)

    def knows(self, writer: str) -> bool:
        """Whether that writer has a claim."""
        return writer in self.claims

    def may_finish(self, raw: RawLine) -> bool:
        """Whether a line without its newline may still get it."""
        writer = tail_writer(raw)
        # where too little is there to say whose it is, any running writer may be at it
        return bool(self.alive) if writer is None else writer in self.alive


class Scan:
    """The events of a session, once each; `losses` is the account when all were taken.

    Args:
        session: the session's directory.
        damage: where damaged lines are kept.
        cold: what holds the lines of segments that are no longer there as files.
        kinds: which events are given, where not all; the others are accounted for all the same, those in
            `archive_seam` without being read.
        tally: counts every event, those of other kinds included.
        counted: writers whose files are not read, since each of their numbers up to the one given stands
        there. files: those to read, where not all.
    """

    def __init__(
        self,
        session: Path,
        damage: DamageLog,
        cold: ColdLines | None = None,
        kinds: Collection[str] | None = None,
        tally: Tally | None = None,
        counted: Mapping[str, int] | None = None,
        files: Callable[[], list[Path]] | None = None,
    ) -> None:
        self._session = session
        self._counted = counted or {}
        self.is_counted = bool(counted)
        """Whether some writers' events are accounted for without being read."""
        self._files = files
        self._cold = cold
        self._kinds = None if kinds is None else frozenset(kinds)
        self._tally = tally
        self._damage = damage
        self._writers: Writers | None = None
        self.losses: Losses = Losses(())

    def __iter__(self) -> Iterator[Event]:
        decoder = LineDecoder(self._damage, self._knows)
        account = Accounting(decoder.seen)
        for writer, last_seq in self._counted.items():
            decoder.seen[writer] = SeqSet.of_ranges([(1, last_seq)])
            account.closed[writer] = last_seq
        for raw in self._lines(account, decoder.seen):
            event = decoder.decode(raw)
            if event is not None:
                account.see(event)
                if self._tally is not None:
                    self._tally.see(event)
                if self._kinds is None or event.kind in self._kinds:
                    yield event

    def _knows(self, writer: str) -> bool:
        return self._writers is not None and self._writers.knows(writer)

    def _cold_lines(self, seen: dict[str, SeqSet]) -> Iterator[RawLine]:
        if self._cold is None:
            return iter(())
        if self._kinds is None:
            return self._cold.all_lines()
        return self._cold.lines_to_read(self._kinds | TELLING, seen, self._tally)

    def _lines(self, account: Accounting, seen: dict[str, SeqSet]) -> Iterator[RawLine]:
        tail = Tail(self._session, self._damage.note_unreadable, self._files)
        for look in range(LOOKS):
            if look:
                time.sleep(LOOK_AGAIN_S)
            self._writers = writers = Writers(self._session, account)
            if not look:
                yield from self._cold_lines(seen)
            # twice, for a file that was rolled between its listing and its opening: it keeps its number
            yield from tail.new_lines()
            yield from tail.new_lines()
            self._close(account, writers)
            if writers.are_explained(self.losses):
                break
        for place in tail.places.values():
            if place.rest is not None and not writers.may_finish(place.rest):
                yield place.rest
        self._close(account, writers)

    def _close(self, account: Accounting, writers: Writers) -> None:
        # after the files: what retention removed meanwhile it had entered before
        try:
            add_said(account, self._session)
        except DamagedInput as error:
            self._damage.note_file(Path(error.path or self._session), str(error))
        self.losses = writers.losses(account, self._damage.count)


def add_said(account: Accounting, session: Path) -> None:
    """Take what retention and recovering left of a session; DamagedInput where that cannot be read."""
    account.add_recovery(read_recovery(session).writers)
    retired = read_account(session)
    account.add_account(retired.numbers, retired.closed)
