"""One pass over all files of a session, in no order across them, with the account of every number at its end.

The fastest way to see every event once; `reader.losses` and `summary` are made of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.tree.board import BoardView, read_board
from Agent.tree.claim import read_claims
from Agent.tree.cold import ColdLines
from Agent.tree.layout import boards_dir
from Agent.tree.lines import DamageLog, LineDecoder, RawLine, tail_writer
from Agent.tree.losses import Accounting, Losses, WriterLosses
from Agent.tree.recovered import read_recovery
from Agent.tree.retired import read_account
from Agent.tree.tailing import Tail

__all__ = ["Scan", "Writers", "add_said"]

# how often, and how far apart, a number that a running thread is just writing is looked for again
_LOOKS = 5
_LOOK_AGAIN_S = 0.02


class Writers:
    """The writers of a session as they were at one moment: claims, boards, and which of them run.

    The boards are read before the files: what stands on them was taken by then, and is in a file soon after.
    """

    def __init__(self, session: Path) -> None:
        self.claims = read_claims(session)
        self.boards: dict[str, BoardView] = {}
        for writer in self.claims:
            board = read_board(boards_dir(session) / f"{writer}.board")
            if board is not None:
                self.boards[writer] = board
        self.alive = frozenset(writer for writer, claim in self.claims.items() if claim.is_alive())

    def knows(self, writer: str) -> bool:
        """Whether that writer has a claim."""
        return writer in self.claims

    def may_finish(self, raw: RawLine) -> bool:
        """Whether a line without its newline may still get it."""
        writer = tail_writer(raw)
        # where too little is there to say whose it is, any running writer may be at it
        return bool(self.alive) if writer is None else writer in self.alive


class Scan:
    """The events of a session, once each; `losses` is the account when all were taken."""

    def __init__(self, session: Path, damage: DamageLog, cold: ColdLines | None = None) -> None:
        self._session = session
        self._cold = cold
        self._damage = damage
        self.losses: Losses = Losses(())

    def __iter__(self) -> Iterator[Event]:
        writers = Writers(self._session)
        decoder = LineDecoder(self._damage, writers.knows)
        account = Accounting(decoder.seen)
        tail = Tail(self._session, self._damage.note_unreadable)
        if self._cold is not None:
            for raw in self._cold.all_lines():
                event = decoder.decode(raw)
                if event is not None:
                    account.see(event)
                    yield event
        for look in range(_LOOKS):
            if look:
                time.sleep(_LOOK_AGAIN_S)
            for raw in _settled_lines(tail):
                event = decoder.decode(raw)
                if event is not None:
                    account.see(event)
                    yield event
            self._close(account, writers)
            if not any(_may_still_come(writer, writers) for writer in self.losses.writers):
                break
        for place in tail.places.values():
            if place.rest is not None and not writers.may_finish(place.rest):
                event = decoder.decode(place.rest)
                if event is not None:
                    account.see(event)
                    yield event
        self._close(account, writers)

    def _close(self, account: Accounting, writers: Writers) -> None:
        # after the files: what retention removed meanwhile it had entered before
        try:
            add_said(account, self._session)
        except DamagedInput as error:
            self._damage.note_file(Path(error.path or self._session), str(error))
        self.losses = account.losses(writers.claims, writers.boards, writers.alive, self._damage.count)


def add_said(account: Accounting, session: Path) -> None:
    """Take what retention and recovering left of a session; DamagedInput where that cannot be read."""
    account.add_recovery(read_recovery(session).writers)
    retired = read_account(session)
    account.add_account(retired.numbers, retired.closed)


def _may_still_come(account: WriterLosses, writers: Writers) -> bool:
    """Whether what seems to be missing may have been written, or its writer closed, behind the pass."""
    was_running = account.writer in writers.alive or account.writer not in writers.claims
    return was_running and account.unknown + account.lost > 0


def _settled_lines(tail: Tail) -> Iterator[RawLine]:
    """Passes until no new file shows up, such as one that was rolled between its listing and its opening."""
    known = -1
    while known != len(tail.places):
        known = len(tail.places)
        yield from tail.new_lines()
