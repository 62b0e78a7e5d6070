"""The accounts of lines that a session's files no longer contain: removed, recovered, or archived.

Retention writes its account before it removes a file; readers such as `losses` read it after the files.
"""

from __future__ import annotations

import base64
import contextlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from Agent.event.clock import event_time
from Agent.event.codec import CURRENT_SCHEMA
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.tree.files.lines import DamageLog, LineDecoder, RawLine, read_lines
from Agent.tree.files.sequence_set import SeqSet, dropped_by, last_seq_in, retired_by, runs_of_bits
from Agent.tree.files.session import read_stored, replace_durably
from Agent.tree.layout import open_file, recovered_file, retired_file
from Agent.tree.write.crash_board import BoardSpan
from Agent.tree.write.event_counts import EventCounts

ACCOUNT_VERSION: Final = 1
ERASED: Final = "erased"
"""The reason for events removed by an erasure; events removed by policy have no reason."""
_ACCOUNTED_KINDS: Final = frozenset({"log.closed", "log.dropped", "log.retired"})
_TOTALS: Final = ("files", "size_bytes", "events", "damaged_lines")
_RUNS_AS_TEXT = 64
_PIECE_BYTES = 8192
_CHUNK_BYTES = 64 * 1024
_BURST_LINES = 50
_TIMESTAMP_CHARS = 27
_HIGHEST_SEQ = 10**11


@dataclass(slots=True)
class Removal:
    """One file to remove: its identity, and facts that are lost with it."""

    file: str
    inode: int
    size_bytes: int
    events: int = 0
    damaged_lines: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Counts from its `log.dropped` events: {reason: count}."""

    def still_there(self, session: Path) -> bool:
        """Return whether this file still exists, by inode and size."""
        try:
            status = (session / self.file).lstat()
        except OSError:
            return False
        return (status.st_ino, status.st_size) == (self.inode, self.size_bytes)


@dataclass(slots=True)
class ScannedFile:
    """The content of a file that is to be removed."""

    removal: Removal
    numbers: dict[str, SeqSet]
    """The numbers of its events, by writer."""
    retired: dict[str, SeqSet] = field(default_factory=dict)
    """Numbers retired according to its `log.retired` events without a count."""
    closed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RetiredAccount:
    """The exact account of what was removed from a session.

    `removing` are the files of the last step. Their numbers are already in the account; a later pass removes
    those that still exist. Until then their events are read and do not count as retired.
    """

    numbers: dict[str, SeqSet] = field(default_factory=dict)
    """The retired numbers, by writer."""
    closed: dict[str, int] = field(default_factory=dict)
    """The last numbers of writers whose `log.closed` was retired."""
    dropped: Counter[str] = field(default_factory=Counter)
    files: int = 0
    size_bytes: int = 0
    events: int = 0
    damaged_lines: int = 0
    removing: list[Removal] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Number of events removed for a reason other than policy, by reason."""

    def add(self, scanned: ScannedFile) -> None:
        """Add a file that is about to be removed."""
        for numbers in (scanned.numbers, scanned.retired):
            for writer, seqs in numbers.items():
                self.numbers.setdefault(writer, SeqSet()).update(seqs)
        for writer, last in scanned.closed.items():
            self.closed[writer] = max(self.closed.get(writer, 0), last)
        self.removing.append(scanned.removal)

    def dropped_before(self, session: Path) -> Counter[str]:
        """Return the counts of the `log.dropped` events that were removed."""
        finished = [removal.dropped for removal in self.removing if not removal.still_there(session)]
        return sum(finished, Counter(self.dropped))

    def settle(self, session: Path) -> list[Removal]:
        """Count the removed files of the last step; files that still exist stay in `removing`."""
        finished: list[Removal] = []
        staying: list[Removal] = []
        for removal in self.removing:
            (staying if removal.still_there(session) else finished).append(removal)
        self.removing = staying
        self.files += len(finished)
        for removal in finished:
            self.size_bytes += removal.size_bytes
            self.events += removal.events
            self.damaged_lines += removal.damaged_lines
            self.dropped.update(removal.dropped)
        return finished


def read_removal(
    session: Path,
    path: Path,
    is_known_writer: Callable[[str], bool],
    breathe: Callable[[], object] = lambda: None,
) -> ScannedFile:
    """Read a file's content for the account.

    Args:
        session: the session's directory.
        path: the file.
        is_known_writer: as in `LineDecoder`.
        breathe: called every 50 lines, to pause for other threads.

    Raises:
        OSError: the file cannot be read.
    """
    fd, status = open_file(path)
    os.close(fd)
    damage = DamageLog()
    decoder = LineDecoder(damage, is_known_writer)
    scanned = ScannedFile(
        Removal(path.relative_to(session).as_posix(), status.st_ino, status.st_size), decoder.seen
    )
    quick = _EnvelopeReader(decoder.seen)
    for number, raw in enumerate(read_lines(path, (status.st_dev, status.st_ino), chunk_bytes=_CHUNK_BYTES)):
        if number % _BURST_LINES == 0:
            breathe()
        if quick.took(raw.line):
            scanned.removal.events += 1
        elif raw.line:
            event = decoder.decode(raw)
            if event is not None:
                scanned.removal.events += 1
                _note(scanned, event)
    scanned.removal.damaged_lines = damage.count
    return scanned


class _EnvelopeReader:
    """Recognises most events by their envelope, 3 times as fast as the decoder."""

    def __init__(self, seen: dict[str, SeqSet]) -> None:
        self._seen = seen
        self._second = ""
        self._writer = ""
        self._add: Callable[[int], bool] = lambda _: False

    def took(self, line: bytes) -> bool:
        """Add the number of a plain event; False if the line needs the decoder."""
        try:
            stored = orjson.loads(line)
            timestamp, identity, extra = stored["timestamp"], stored["id"], stored["extra"]
            if (
                stored["schema_version"] != CURRENT_SCHEMA
                or "type" in stored
                or extra.get("event_type") in _ACCOUNTED_KINDS
                or ("causes" in stored and not isinstance(stored["causes"], list))
                or len(timestamp) != _TIMESTAMP_CHARS
            ):
                return False
            if timestamp[:20] != self._second:
                event_time(timestamp)
                self._second = timestamp[:20]
            elif not (timestamp.isascii() and timestamp[20:26].isdigit() and timestamp[26] == "Z"):
                return False
            writer, seq = split_event_id(identity)
            if writer != self._writer:
                self._writer, self._add = writer, self._seen.setdefault(writer, SeqSet()).add
            return self._add(seq)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False


def _note(scanned: ScannedFile, event: Event) -> None:
    """Add the facts of `log.closed`, `log.dropped` and `log.retired` events."""
    if event.kind == "log.closed":
        scanned.closed[event.writer] = last_seq_in(event)
    elif event.kind == "log.dropped":
        reason, count = dropped_by(event)
        scanned.removal.dropped[reason] += count
    elif event.kind == "log.retired" and (retired := retired_by(event)) is not None:
        with contextlib.suppress(ValueError):  # ignore an impossible range
            scanned.retired.setdefault(retired[0], SeqSet()).update(_of_ranges([retired[1:]]))


def read_account(session: Path) -> RetiredAccount:
    """Read the account of a session; empty if nothing was retired.

    Raises:
        DamagedInput: the account cannot be read.
    """
    remedy = "without it they count as unknown; nothing more is retired until it is removed"
    account = read_stored(retired_file(session), _from_object, "the account of retired events", remedy)
    return account or RetiredAccount()


def write_account(session: Path, account: RetiredAccount) -> None:
    """Write the account and sync it to the disk; OSError if that fails."""
    data = orjson.dumps(_to_object(account), option=orjson.OPT_APPEND_NEWLINE)
    replace_durably(retired_file(session), data)


def _to_object(account: RetiredAccount) -> dict[str, Any]:
    return {
        "version": ACCOUNT_VERSION,
        **{name: getattr(account, name) for name in _TOTALS},
        "dropped": account.dropped,
        "closed": account.closed,
        "removing": [
            [entry.file, entry.inode, entry.size_bytes, entry.events, entry.damaged_lines, entry.dropped]
            for entry in account.removing
        ],
        "reasons": account.reasons,
        "writers": {writer: _numbers_object(numbers) for writer, numbers in sorted(account.numbers.items())},
    }


def _from_object(stored: Any) -> RetiredAccount:
    if stored["version"] != ACCOUNT_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return RetiredAccount(
        numbers={writer: _numbers_from(numbers) for writer, numbers in stored["writers"].items()},
        closed={writer: int(last) for writer, last in stored["closed"].items()},
        dropped=Counter({reason: int(count) for reason, count in stored["dropped"].items()}),
        **{name: int(stored[name]) for name in _TOTALS},
        removing=[
            Removal(str(file), int(inode), int(size), int(events), int(damaged), Counter(dropped))
            for file, inode, size, events, damaged, dropped in stored["removing"]
        ],
        reasons=Counter({reason: int(count) for reason, count in stored.get("reasons", {}).items()}),
    )


def _numbers_object(numbers: SeqSet) -> dict[str, Any]:
    """Encode numbers as ranges, or as compressed bits in chunks with more than 64 ranges."""
    ranges: list[list[int]] = []
    bits: dict[str, str] = {}
    for index, chunk in numbers.bits():
        if (chunk & ~(chunk << 1)).bit_count() > _RUNS_AS_TEXT:
            packed = zlib.compress(chunk.to_bytes(_PIECE_BYTES, "little"), 1)
            bits[str(index)] = base64.b64encode(packed).decode()
            continue
        for first, last in runs_of_bits(index << 16, chunk):
            if ranges and ranges[-1][1] == first - 1:
                ranges[-1][1] = last
            else:
                ranges.append([first, last])
    return {"ranges": ranges, "bits": bits}


def _numbers_from(stored: Any) -> SeqSet:
    numbers = _of_ranges(stored["ranges"])
    for index, text in stored["bits"].items():
        if not 0 <= int(index) <= _HIGHEST_SEQ >> 16:
            raise ValueError(f"a range of numbers at {index}")
        packed = base64.b64decode(text, validate=True)
        try:
            data = zlib.decompressobj().decompress(packed, _PIECE_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        numbers.add_bits(int(index), int.from_bytes(data, "little"))
    return numbers


def _of_ranges(ranges: Any) -> SeqSet:
    numbers = SeqSet()
    for first, last in ranges:
        # a huge number in a damaged file would allocate memory for its whole range
        if not 0 < first <= last <= _HIGHEST_SEQ:
            raise ValueError(f"a range from {first} to {last}")
        numbers.add_range(first, last)
    return numbers


RECOVERY_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TornTail:
    """The incomplete last line of a file; recovery keeps it and appends a newline."""

    file: str
    line_number: int
    offset: int
    size_bytes: int
    writer: str | None


@dataclass(frozen=True, slots=True)
class RecoveredWriter:
    """The account of a killed writer: `gaps` are (first, last, verdict) of numbers missing at the recovery.

    Other numbers up to `last_seq` existed then; if one is missing later, it was lost afterwards.
    """

    last_seq: int
    gaps: tuple[tuple[int, int, str], ...] = ()
    open_spans: tuple[BoardSpan, ...] = ()


@dataclass(slots=True)
class Recovery:
    """The findings of the recovery of a session."""

    recovered_at: str | None = None
    writers: dict[str, RecoveredWriter] = field(default_factory=dict)
    torn_tails: list[TornTail] = field(default_factory=list)

    def is_torn_tail(self, file: str, line_number: int) -> bool:
        """Return whether a damaged line is a torn tail that the recovery found."""
        return any(tail.file == file and tail.line_number == line_number for tail in self.torn_tails)


def read_recovery(session: Path) -> Recovery:
    """Read the findings of the recovery; empty if the session was never recovered.

    Raises:
        DamagedInput: the findings cannot be read.
    """
    remedy = "without it the losses of its writers are unknown"
    recovery = read_stored(recovered_file(session), _recovered_from, "the account of a recovery", remedy)
    return recovery or Recovery()


def write_recovery(session: Path, recovery: Recovery) -> None:
    """Write the findings and sync them to the disk; OSError if that fails."""
    stored = {
        "version": RECOVERY_VERSION,
        "recovered_at": recovery.recovered_at,
        "writers": dict(sorted(recovery.writers.items())),
        "torn_tails": recovery.torn_tails,
    }
    replace_durably(
        recovered_file(session), orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def _recovered_from(stored: Any) -> Recovery:
    if stored["version"] != RECOVERY_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return Recovery(
        recovered_at=stored["recovered_at"],
        writers={
            writer: RecoveredWriter(
                int(account["last_seq"]),
                tuple((int(first), int(last), str(verdict)) for first, last, verdict in account["gaps"]),
                tuple(BoardSpan(**span) for span in account["open_spans"]),
            )
            for writer, account in stored["writers"].items()
        },
        torn_tails=[TornTail(**tail) for tail in stored["torn_tails"]],
    )


class ColdLines(Protocol):
    """The lines of segments whose files were removed, by their former paths."""

    def files(self) -> dict[Path, str | None]:
        """Return the paths of the segments, in order, each with the agent of its first event."""

    def lines(self, path: Path) -> Iterator[RawLine]:
        """Yield the lines of one segment in their original order, without blank lines."""

    def fixed(self) -> ColdLines:
        """Return a snapshot: the segments that are removed now, regardless of later changes."""

    def lines_to_read(
        self, kinds: Collection[str] | None, seen: dict[str, SeqSet], tally: EventCounts | None = None
    ) -> Iterator[RawLine]:
        """Yield the lines of events of some kinds (None: all), and lines that have to be decoded first.

        Before the first line, the numbers of all other events are added to `seen`, by writer, and these
        events are counted in `tally`.
        """

    def ordered_lines(
        self, since_us: int | None, until_us: int | None, only: Collection[Path] | None = None
    ) -> Iterator[RawLine]:
        """Yield the lines of segments, all or some by path, in order of (timestamp, writer, seq).

        A damaged line follows the line before it in its segment.
        """
