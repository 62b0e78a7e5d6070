"""Read the lines of a session into columns: all of them at first, then those that were appended.

Most lines are read without making an `Event`; whatever is unusual goes through `LineDecoder`, so that the
same lines count as events here and in `TreeReader`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.analysis.query.views import is_error
from Agent.analysis.stats import number
from Agent.archive.sealed.reader import ArchiveLines
from Agent.event.model import Event
from Agent.tree.files.lines import DamageLog, Inode, LineDecoder, RawLine, Tail, event_behind
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import inode_at, parse_file_name, stem_files, tree_files
from Agent.tree.read.losses import Accounting, Writers
from Agent.view.columns import (
    BELIEVED,
    ERROR,
    FULL_STATE,
    NO_TICK,
    NOBODY,
    RECEIVED,
    SENT,
    STATE,
    WARNING,
    Batch,
    Index,
    Tables,
    merged,
)

_PASS_BYTES: Final = 8 * 1024 * 1024
_LONGEST_MS: Final = 1e12
_MOST_TICK: Final = 2**63 - 1


@dataclass(slots=True)
class Source:
    """A file with events: on disk (`inode` is set), or in the archive, where offsets are line numbers."""

    path: Path
    inode: Inode | None


class Gatherer:
    """Reads a session's events into batches; each call of `new_events` continues after the last.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.session = session
        self.tables = Tables()
        self.sources: list[Source] = []
        self.damage = DamageLog()
        self.writers = Writers(session)
        self.account = Accounting({})
        self.repeated = 0
        """How many events were left out, because another one has their id."""
        self._tail = Tail(session, self.damage.note_unreadable)
        self._decoder = LineDecoder(self.damage, self._knows)
        self._source_of: dict[Inode, int] = {}
        self._archive: ArchiveLines | None = ArchiveLines(session)
        self._total_bytes = 0
        self._kind_flags: dict[str, int] = {}

    def _knows(self, writer: str) -> bool:
        if not self.writers.knows(writer):
            self.writers = Writers(self.session)
        return self.writers.knows(writer)

    @property
    def progress(self) -> float:
        """Return which share of the files was read, 0 to 1."""
        done = sum(place.offset for place in self._tail.places.values())
        return min(done / self._total_bytes, 1.0) if self._total_bytes else 0.0

    def is_outdated(self) -> bool:
        """Return whether a file that was read is gone or rewritten, so that all is to be read again."""
        if not self.sources:
            return False
        known = {source.inode for source in self.sources if source.inode is not None}
        sizes: dict[Inode, int] = {}
        for path in tree_files(self.session):
            with contextlib.suppress(OSError):  # rolled or removed since it was listed
                status = path.lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
        places = self._tail.places
        return any(
            inode not in sizes or (inode in places and sizes[inode] < places[inode].offset) for inode in known
        )

    def merged(self, known: Index | None, batches: Sequence[Batch]) -> Index:
        """Return an index of known and new events."""
        index, repeated = merged(known, batches, self.tables)
        self.repeated += repeated
        return index

    def account_of(self, index: Index) -> Accounting:
        """Return the numbers that were read, by writer, with what the log says about itself."""
        writer, seq = index.columns["writer"], index.columns["seq"]
        order = np.lexsort((seq, writer))
        writer, seq = writer[order], seq[order]
        seen: dict[str, SeqSet] = {}
        for place, name in enumerate(self.tables.writers.texts):
            own = seq[slice(*np.searchsorted(writer, [place, place + 1]))]
            seen[name] = _set_of(own)
        return Accounting(seen, dict(self.account.closed), dict(self.account.retired))

    def new_events(self) -> Iterator[Batch]:
        """Yield what is new in batches of about 8 MiB of lines."""
        self._total_bytes = sum(_size_bytes(path) for path in tree_files(self.session))
        if self._archive is not None:
            yield from self._archived(self._archive.fixed())
            self._archive = None
        while True:
            batch = Batch()
            for raw in self._tail.new_lines(_PASS_BYTES):
                self._take(batch, raw, self._source(raw))
            if len(batch):
                yield batch
            if not self._tail.behind:
                return

    def _archived(self, archive: ArchiveLines) -> Iterator[Batch]:
        numbers: dict[Path, int] = {}
        batch = Batch()
        for raw in archive.lines_to_read(None, {}):
            source = numbers.get(raw.path)
            if source is None:
                source = numbers[raw.path] = len(self.sources)
                self.sources.append(Source(raw.path, None))
            self._take(batch, raw, source)
            if len(batch) >= 20_000:
                yield batch
                batch = Batch()
        if len(batch):
            yield batch

    def _source(self, raw: RawLine) -> int:
        source = self._source_of.get(raw.inode)
        if source is None:
            source = self._source_of[raw.inode] = len(self.sources)
            self.sources.append(Source(raw.path, raw.inode))
        elif self.sources[source].path != raw.path:
            self.sources[source].path = raw.path
        return source

    def paths_of(self, source: int) -> Iterator[Path]:
        """Yield where a file may be: where it was read, then the names that it can have been rolled to."""
        known = self.sources[source]
        yield known.path
        name = parse_file_name(known.path.name)
        if name is None:
            return
        for path in stem_files(known.path.parent, name.stem, known.path.suffix):
            if inode_at(path) == known.inode:
                known.path = path
                yield path

    def _take(self, batch: Batch, raw: RawLine, source: int) -> None:
        event = self._decoder.decode(raw)
        if event is None:
            return
        offset, flags = raw.offset, 0
        behind = None
        if not raw.line.startswith(
            b'{"timestamp":"%s","id":"%s"' % (event.timestamp.encode(), event.id.encode())
        ):
            behind = event_behind(raw.line)
        if behind is not None and behind[1].id == event.id:
            offset, flags = offset + behind[0], BELIEVED
        self._add(batch, event, source, offset, flags)

    def _add(self, batch: Batch, event: Event, source: int, offset: int, flags: int) -> None:
        tables, extra = self.tables, event.extra
        flags |= ERROR if is_error(event) else WARNING if event.level == "WARNING" else 0
        if event.state is not None or event.kind == "state_change":
            flags |= STATE
        if event.kind in {"state", "checkpoint"}:
            flags |= FULL_STATE
        agent_id = event.agent_id
        agent = NOBODY if agent_id is None else tables.agents.number(agent_id)
        if event.agent_role is not None:
            tables.roles[agent] = event.agent_role
        if event.kind == "agent_message":
            flags |= self._message(batch, extra)
        self.account.see(event)
        columns = batch.columns
        columns["t_us"].append(event.timestamp_us)
        columns["writer"].append(tables.writers.number(event.writer))
        columns["seq"].append(event.seq)
        columns["agent"].append(agent)
        columns["kind"].append(min(tables.kinds.number(event.kind), 65_535))
        columns["flags"].append(flags)
        columns["duration_us"].append(duration_us(event.span_id, extra))
        tick = event.tick
        columns["tick"].append(NO_TICK if tick is None or abs(tick) > _MOST_TICK else tick)
        columns["file"].append(source)
        columns["offset"].append(offset)

    def _message(self, batch: Batch, extra: Mapping[str, Any]) -> int:
        """Note a half of a message, and return its flag."""
        is_sent = str(extra.get("direction", "")).startswith("sen")
        message_id = extra.get("message_id")
        if message_id is not None:
            other = extra.get("recipient" if is_sent else "sender")
            digest = blake2b(str(message_id).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            batch.messages["place"].append(len(batch))
            batch.messages["key"].append(int.from_bytes(digest, "little"))
            batch.messages["party"].append(
                self.tables.parties.number(other) if isinstance(other, str) else -1
            )
        return SENT if is_sent else RECEIVED


def duration_us(span_id: str | None, extra: Mapping[str, Any]) -> float:
    """Return the duration of a span in microseconds; 0 for other events, and for what is no duration."""
    taken_ms = None if span_id is None else number(extra.get("duration_ms"))
    return taken_ms * 1000 if taken_ms is not None and 0 <= taken_ms < _LONGEST_MS else 0.0


def _set_of(seq: NDArray[Any]) -> SeqSet:
    """Return ascending numbers as a set."""
    found = SeqSet()
    breaks = np.flatnonzero(np.diff(seq) != 1)
    firsts, lasts = (
        seq[np.r_[0, breaks + 1]] if len(seq) else seq,
        seq[np.r_[breaks, -1]] if len(seq) else seq,
    )
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        found.add_range(first, last)
    return found


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # rolled or removed since it was listed
