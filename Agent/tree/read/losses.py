"""Classifies every number that a writer took: read, lost, unacknowledged, unknown, retired, in flight.

`Accounting` is pure: its inputs are the events read, the claims, the boards and the account of retention.
`Writers` and `Scan` read these from a session.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.event.system_clock import SystemClock
from Agent.tree.files.lines import DamageLog, LineDecoder, RawLine, Tail, tail_writer
from Agent.tree.files.sequence_set import SeqSet, last_seq_in, retired_by
from Agent.tree.files.session import Claim, read_claims
from Agent.tree.layout import boards_dir
from Agent.tree.read.removal_logs import ColdLines, RecoveredWriter, read_account, read_recovery
from Agent.tree.write.crash_board import BoardView, read_board
from Agent.tree.write.event_counts import EventCounts

_KEPT_RETIRED_RANGES: Final = 1000
HELD_IN_MEMORY: Final = frozenset({"buffered", "queued"})
"""Durabilities under which several lines can be in memory between getting a number and being written."""
ACCOUNTED_KINDS: Final = frozenset({"log.closed", "log.retired"})
"""The kinds of events that `Accounting.see` evaluates."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of numbers of one writer that are in no file, and why.

    `verdict`: `lost` (a clean end proves that they were taken), `unacknowledged` (the call that wrote it
    never returned), `unknown`, `retired` (removed by policy), `in_flight` (being written, or written after
    the files were read, by a writer that still runs).
    """

    first_seq: int
    last_seq: int
    verdict: str

    @property
    def count(self) -> int:
        """The number of events in the range."""
        return self.last_seq - self.first_seq + 1


class WriterLosses(NamedTuple):
    """The account of one writer: `read`, `retired` and the counts of the other gaps add up to `last_seq`.

    `gaps` contains at most 1,000 of the ranges that retention removed, since there can be as many ranges as
    events.
    """

    writer: str
    pid: int | None
    kind: str
    durability: str
    closed: bool
    alive: bool
    last_seq: int
    read: int
    gaps: tuple[Gap, ...]
    retired: int = 0
    """Events that a policy removed."""

    @property
    def is_unused(self) -> bool:
        """Whether it wrote at most `log.opened`, as in a forked process that records nothing.

        A second number may have been taken: for `log.closed`, which a pool's worker is often killed in.
        """
        begins = not (self.read and self.gaps and self.gaps[0].first_seq == 1)
        return self.read <= 1 and self.last_seq <= 2 and begins

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, or recorded nothing that could be incomplete."""
        return self.closed or self.is_unused

    def to_dict(self) -> dict[str, Any]:
        """Return JSON: its state and counts, and its first 100 gaps."""
        gaps = [[gap.first_seq, gap.last_seq, gap.verdict] for gap in self.gaps[:100]]
        return {name: getattr(self, name) for name in _SHOWN_OF_WRITER} | {"gaps": gaps}

    def _count(self, verdict: str) -> int:
        return sum(gap.count for gap in self.gaps if gap.verdict == verdict)

    @property
    def lost(self) -> int:
        """Missing events of a writer that ended cleanly."""
        return self._count("lost")

    @property
    def unacknowledged(self) -> int:
        """Events whose call had not returned when the process died, or that were in a queue or buffer."""
        return self._count("unacknowledged")

    @property
    def unknown(self) -> int:
        """Missing events without an explanation."""
        return self._count("unknown")

    @property
    def in_flight(self) -> int:
        """Events that were being written while the files were read."""
        return self._count("in_flight")


class Losses(NamedTuple):
    """The accounts of all writers of a session."""

    writers: tuple[WriterLosses, ...]
    damaged_lines: int = 0

    @property
    def total_read(self) -> int:
        """Events read."""
        return sum(writer.read for writer in self.writers)

    @property
    def total_lost(self) -> int:
        """Events lost."""
        return sum(writer.lost for writer in self.writers)

    @property
    def total_unacknowledged(self) -> int:
        """Events whose call had not returned, or that were in a queue or buffer."""
        return sum(writer.unacknowledged for writer in self.writers)

    @property
    def total_unknown(self) -> int:
        """Total of missing events without an explanation."""
        return sum(writer.unknown for writer in self.writers)

    @property
    def total_retired(self) -> int:
        """Events that a policy removed."""
        return sum(writer.retired for writer in self.writers)

    @property
    def clean(self) -> bool:
        """Whether no event whose call had returned is missing: none is lost or unknown.

        Unacknowledged events of a crash and events retired by policy do not count.
        """
        return self.total_lost == 0 and self.total_unknown == 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON: totals, and the account of each writer with its first 100 gaps."""
        return {
            "clean": self.clean,
            "read": self.total_read,
            "lost": self.total_lost,
            "unacknowledged": self.total_unacknowledged,
            "unknown": self.total_unknown,
            "retired": self.total_retired,
            "damaged_lines": self.damaged_lines,
            "writers": {writer.writer: writer.to_dict() for writer in self.writers},
        }


_SHOWN_OF_WRITER: Final = (
    "pid", "kind", "durability", "closed", "alive", "last_seq",
    "read", "lost", "unacknowledged", "unknown", "retired", "in_flight",
)  # fmt: skip


@dataclass(slots=True)
class Accounting:
    """Collects the data of the accounts; `seen` is the decoder's set of ids.

    `retired` are ranges from `log.retired` events, `removed` the numbers in the account of retention. A
    number in `removed` whose file still exists counts as read.
    """

    seen: Mapping[str, SeqSet]
    closed: dict[str, int] = field(default_factory=dict)
    retired: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    removed: Mapping[str, SeqSet] = field(default_factory=dict)
    recovered: Mapping[str, RecoveredWriter] = field(default_factory=dict)
    """What the recovery of their session found about killed writers."""

    def see(self, event: Event) -> None:
        """Evaluate an event of a kind in `ACCOUNTED_KINDS`; others are ignored."""
        if event.kind == "log.closed":
            self.closed[event.writer] = last_seq_in(event)
        elif event.kind == "log.retired" and (retired := retired_by(event)) is not None:
            self.retired.setdefault(retired[0], []).append(retired[1:])

    def add_account(self, removed: Mapping[str, SeqSet], closed: Mapping[str, int]) -> None:
        """Add the account of retention, which must be read after the files."""
        self.removed = removed
        for writer, last in closed.items():
            self.closed[writer] = max(last, self.closed.get(writer, 0))

    def losses(
        self,
        claims: Mapping[str, Claim],
        boards: Mapping[str, BoardView],
        alive: frozenset[str],
        damaged_lines: int,
        judged: Mapping[str, int] | None = None,
    ) -> Losses:
        """Compute the accounts of all writers with a claim or an event.

        Args:
            claims, boards, alive: their state before the files were read.
            damaged_lines: number of damaged lines.
            judged: for running writers, the number up to which missing events can be classified; later ones
                may be in parts of files that were read before they were written.
        """
        until = judged or {}
        writers = sorted(set(claims) | set(self.seen) | set(self.removed))
        accounts = [
            self._account(writer, claims.get(writer), boards.get(writer), writer in alive, until.get(writer))
            for writer in writers
        ]
        return Losses(tuple(accounts), damaged_lines)

    def _account(
        self, writer: str, claim: Claim | None, board: BoardView | None, alive: bool, judged: int | None
    ) -> WriterLosses:
        seen = self.seen.get(writer) or SeqSet()
        removed = (self.removed.get(writer) or SeqSet()).without(seen)
        # numbers that were read or removed need no explanation
        accounted = _union(seen, removed) if removed else seen
        durability = "unknown" if claim is None else claim.durability
        closed = writer in self.closed
        recovered = self.recovered.get(writer)
        last_seq = max(accounted.highest, self.closed.get(writer, 0), 0 if board is None else board.last_seq)
        last_seq = last_seq if recovered is None else max(accounted.highest, recovered.last_seq)
        retired, missing = _split(accounted.missing(last_seq), self.retired.get(writer, []))
        if judged is not None:
            # even if it has closed in between: the files read first did not yet contain all of its lines
            behind, missing = _split(missing, [(judged + 1, last_seq)])
            gaps = _explain(missing, accounted, board, durability, True)
            gaps += [Gap(first, last, "in_flight") for first, last in behind]
        elif closed:
            gaps = [Gap(first, last, "lost") for first, last in missing]
        elif recovered is not None:
            gaps = _with_recovery(missing, recovered)
        else:
            gaps = _explain(missing, accounted, board, durability, alive)
        by_event = sum(last - first + 1 for first, last in retired)
        retired += itertools.islice(removed.ranges(), _KEPT_RETIRED_RANGES)
        gaps += [Gap(first, last, "retired") for first, last in retired]
        return WriterLosses(
            writer=writer,
            pid=None if claim is None else claim.pid,
            kind="unknown" if claim is None else claim.kind,
            durability=durability,
            closed=closed,
            alive=alive and not closed,
            last_seq=last_seq,
            read=len(seen),
            gaps=tuple(sorted(gaps, key=lambda gap: gap.first_seq)),
            retired=by_event + len(removed),
        )


def _with_recovery(missing: list[tuple[int, int]], recovered: RecoveredWriter) -> list[Gap]:
    """Apply the verdicts of the recovery; other missing numbers existed then and are lost."""
    gaps: list[Gap] = []
    unexplained = missing
    for verdict in sorted({verdict for _, _, verdict in recovered.gaps}):
        inside, unexplained = _split(
            unexplained, [(low, high) for low, high, known in recovered.gaps if known == verdict]
        )
        gaps += [Gap(first, last, verdict) for first, last in inside]
    return gaps + [Gap(first, last, "lost") for first, last in unexplained]


def _union(one: SeqSet, other: SeqSet) -> SeqSet:
    both = SeqSet()
    both.update(one)
    both.update(other)
    return both


def _split(
    missing: Iterable[tuple[int, int]], retired: list[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Split the missing ranges into the parts inside and outside the retired ranges."""
    inside: list[tuple[int, int]] = []
    outside: list[tuple[int, int]] = []
    retired = sorted(retired)
    for first, last in missing:
        at = first
        for low, high in retired:
            start, end = max(low, at), min(high, last)
            if start > end:
                continue
            if at < start:
                outside.append((at, start - 1))
            inside.append((start, end))
            at = end + 1
        if at <= last:
            outside.append((at, last))
    return inside, outside


def _explain(
    missing: list[tuple[int, int]], seen: SeqSet, board: BoardView | None, durability: str, alive: bool
) -> list[Gap]:
    """Explain the missing numbers of a writer that was never closed.

    A thread held a number if the board lists it, or if the thread can have taken it but not yet stored it:
    each thread explains at most one number above its last stored one.
    """
    default_verdict = "in_flight" if alive else "unacknowledged"
    slots = frozenset() if board is None else frozenset(board.last_seq_by_thread)
    # a buffer is written in order, so only the highest numbers can be missing
    kept = seen.highest if durability in HELD_IN_MEMORY else math.inf
    stored, unexplained = _split((gap for gap in missing if gap[0] <= kept), [(slot, slot) for slot in slots])
    held = [*(gap for gap in missing if gap[0] > kept), *stored]
    gaps = [Gap(first, last, default_verdict) for first, last in held]
    in_queue = 0 if board is None or durability != "queued" else board.threads
    if sum(last - first + 1 for first, last in unexplained) <= in_queue:
        # each thread can have queued one line after others that took later numbers
        return gaps + [Gap(first, last, default_verdict) for first, last in unexplained]
    return gaps + _explain_unstored(unexplained, seen, board, default_verdict)


def _explain_unstored(
    unexplained: list[tuple[int, int]], seen: SeqSet, board: BoardView | None, default_verdict: str
) -> list[Gap]:
    if board is None:
        return [Gap(first, last, "unknown") for first, last in unexplained]
    # of threads that stored nothing yet or shared a slot, only the count is known
    free = [0] * max(board.threads - len(board.last_seq_by_thread), 0)
    free += [slot for slot in board.last_seq_by_thread if slot in seen]
    free.sort()
    gaps: list[Gap] = []
    # in ascending order: assign each number to the thread with the lowest last number
    for first, last in sorted(unexplained):
        at = first
        while at <= last and free and free[0] < at:
            free.pop(0)
            gaps.append(Gap(at, at, default_verdict))
            at += 1
        if at <= last:
            gaps.append(Gap(at, last, "unknown"))
    return gaps


MAX_PASSES: Final = 5
"""Maximum number of passes over a running session until all classifiable numbers are explained."""
RECHECK_S: Final = 0.02


class Writers:
    """A snapshot of the writers of a session: claims, boards, and which of them run.

    Create it before reading the files. A number taken before the snapshot is in a file or held by a thread;
    one taken later may be in a part of a file that was read too early. `losses` judges only the former.

    Args:
        session: the session's directory.
        account: the account of earlier passes, if any.
    """

    def __init__(self, session: Path, account: Accounting | None = None) -> None:
        self._session = session
        self.claims = read_claims(session)
        # before the boards: a writer that ends in between has already stored its last number
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
        """Return the highest number up to which no number was only in a buffer or queue."""
        seen = None if account is None else account.seen.get(writer)
        settled = 0 if seen is None else seen.highest
        return max(settled, self.boards[writer].last_seq) if self._has_live_board(writer) else settled

    def _has_live_board(self, writer: str) -> bool:
        return writer in self.boards and self.claims[writer].durability not in HELD_IN_MEMORY

    def losses(self, account: Accounting, damaged_lines: int) -> Losses:
        """Compute the losses; call this after reading the files."""
        began_since = read_claims(self._session).keys() - self.claims.keys()
        self._judged |= dict.fromkeys(began_since, 0)
        return account.losses(self.claims, self.boards, self.alive, damaged_lines, self._judged)

    def are_explained(self, losses: Losses) -> bool:
        """Return whether another pass could explain no more missing numbers of running writers."""
        return not any(
            writer.unknown + writer.lost > 0 or self._can_judge_more(writer)
            for writer in losses.writers
            if writer.writer in self._judged
        )

    def _can_judge_more(self, writer: WriterLosses) -> bool:
        """Return whether another pass could judge numbers that this one could not."""
        behind = [gap.last_seq for gap in writer.gaps if gap.verdict == "in_flight"]
        if writer.closed:
            return bool(behind)
        # without a usable board only the files show numbers, so the first pass could judge none
        is_first = self._judged.get(writer.writer, 0) == 0 and not self._has_live_board(writer.writer)
        return is_first and any(last < writer.last_seq for last in behind)

    def knows(self, writer: str) -> bool:
        """Return whether a writer has a claim."""
        return writer in self.claims

    def may_finish(self, raw: RawLine) -> bool:
        """Return whether a line without a newline may still be completed."""
        writer = tail_writer(raw)
        # if its writer is unknown, it may be any running writer
        return bool(self.alive) if writer is None else writer in self.alive


class Scan:
    """Yields each event of a session once; `losses` is set when iteration ends.

    Args:
        session: the session's directory.
        damage: records damaged lines.
        cold: the source of lines whose files were removed.
        kinds: the kinds of events to yield; None yields all. Others are accounted for, too; those in the
            archive without being read.
        tally: counts every event, including other kinds.
        counted: writer to last number, for writers whose files need not be read because all numbers up to
            it are known to be there.
        files: lists the files to read; None reads all.
    """

    def __init__(
        self,
        session: Path,
        damage: DamageLog,
        cold: ColdLines | None = None,
        kinds: Collection[str] | None = None,
        tally: EventCounts | None = None,
        counted: Mapping[str, int] | None = None,
        files: Callable[[], list[Path]] | None = None,
    ) -> None:
        self._session = session
        self._counted = counted or {}
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

    def _lines(self, account: Accounting, seen: dict[str, SeqSet]) -> Iterator[RawLine]:
        tail = Tail(self._session, self._damage.note_unreadable, self._files)
        cold = None if self._cold is None else self._cold.fixed()
        read = set() if cold is None else set(cold.files())
        for attempt in range(MAX_PASSES):
            if attempt:
                SystemClock.pause(RECHECK_S)
            self._writers = writers = Writers(self._session, account)
            if not attempt and cold is not None:
                kinds = None if self._kinds is None else self._kinds | ACCOUNTED_KINDS
                yield from cold.lines_to_read(kinds, seen, self._tally)
            # twice, because a file can be rolled between listing and opening; its numbered name is final
            yield from tail.new_lines()
            yield from tail.new_lines()
            if self._cold is not None and not self._counted:
                yield from self._sealed_meanwhile(self._cold, tail, read)
            self._close(account, writers)
            if writers.are_explained(self.losses):
                break
        yield from (rest for rest in tail.rests() if not writers.may_finish(rest))
        self._close(account, writers)

    def _sealed_meanwhile(self, cold: ColdLines, tail: Tail, read: set[Path]) -> Iterator[RawLine]:
        """Yield the lines of files that were sealed and removed before they were read."""
        sealed_paths = [path for path in cold.files() if path not in read]
        if sealed_paths:
            read.update(sealed_paths)
            seen = {position.path for position in tail.places.values() if position.offset}
            for path in sealed_paths:
                if path not in seen:
                    yield from cold.lines(path)

    def _close(self, account: Accounting, writers: Writers) -> None:
        # after the files: retention enters events into its account before it removes them
        try:
            add_accounts(account, self._session)
        except DamagedInput as error:
            self._damage.note_file(Path(error.path or self._session), str(error))
        self.losses = writers.losses(account, self._damage.count)


def add_accounts(account: Accounting, session: Path) -> None:
    """Add the accounts of recovery and retention of a session; DamagedInput if one cannot be read."""
    account.recovered = read_recovery(session).writers
    retired = read_account(session)
    account.add_account(retired.numbers, retired.closed)
