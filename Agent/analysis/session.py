"""Find a session and count its losses; buffers of this process are flushed first.

Aggregates use the query engine, analyses of one agent use the reader.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.views import (
    EVENT_COLUMNS,
    TELLING,
    Only,
    engine_row,
    events_of,
    scan,
    whole_lines,
)
from Agent.archive.sealed.reader import NUMBER_BITS, PIECE, ArchiveLines, bits_of, open_reader
from Agent.errors import AgentNotFound, DamagedInput, SessionNotFound
from Agent.event.clock import format_timestamp
from Agent.event.code_places import CodePlace, CodePlaces
from Agent.event.model import Event
from Agent.render.formats import named
from Agent.tree import layout
from Agent.tree.default_root import trace_root
from Agent.tree.files.lines import DamageLog, Inode, LineDecoder, RawLine, Tail
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import inode_at, tree_files
from Agent.tree.read.losses import Accounting, Losses, Writers, add_accounts
from Agent.tree.read.reader import TreeReader, ranked
from Agent.tree.read.removal_logs import read_account

if TYPE_CHECKING:
    from Agent.analysis.query.engine import Engine

SessionRef = str | os.PathLike[str] | None


def find(session: SessionRef = None, root: str | os.PathLike[str] | None = None) -> Path:
    """Find a session's directory, after flushing the buffers of this process.

    Args:
        session: None for the session that this process records, else for the newest one; or an id, a unique
            prefix of one, or a path.
        root: the trace root; see `trace_root`.

    Raises:
        SessionNotFound: no session matches, or it has no files yet.
    """
    current = flush_recording()
    path = current if session is None and root is None and current is not None else None
    if path is None:
        path = layout.find_session(trace_root(root), session)
    if not open_reader(path).has_files():
        raise SessionNotFound(
            "the session has no events yet",
            path=path,
            remedy="record something first, or name another session",
        )
    return path


def flush_recording() -> Path | None:
    """Flush the buffers of this process; return the directory it records into, None if it does not record."""
    pipeline = sys.modules.get("Agent.record.emit.installed")
    if pipeline is None:  # nothing in this process records
        return None
    pipeline.flush_active()
    sink = getattr(pipeline.active_pipeline(), "sink", None)
    # A sink that writes no tree, such as one in memory, has no directory.
    directory = getattr(sink, "session", None)
    return directory if isinstance(directory, Path) else None


def agent_events(reader: TreeReader, agent_id: str) -> Iterator[Event]:
    """Yield the events of one agent in order, reading only its files.

    Raises:
        AgentNotFound: the session has no readable event of that agent; the remedy lists similar names.
    """
    is_known = False
    if reader.holds_agent(agent_id):
        for event in reader.agent_events(agent_id):
            is_known = True
            yield event
    if not is_known:
        raise unknown_agent(reader, agent_id)


def check_agent(reader: TreeReader, agent_id: str) -> None:
    """Raise AgentNotFound if the session has no files of that agent."""
    if not reader.holds_agent(agent_id):
        raise unknown_agent(reader, agent_id)


def unknown_agent(reader: TreeReader, agent_id: str) -> AgentNotFound:
    """The error for an unknown agent: its file if it has one, else up to 3 similar names as its remedy."""
    for path in layout.agent_files(reader.session, agent_id):
        try:
            os.close(layout.open_file(path)[0])
            problem = "no line of its file is an event of it"
        except OSError as error:
            problem = f"its file cannot be read: {error.strerror}"
        return AgentNotFound(
            f"no event of agent {agent_id!r} in this session; {problem}",
            path=path,
            remedy="agent-trace verify lists what is damaged",
        )
    known = sorted({agent.agent_id for agent in reader.agents()})
    import difflib

    close = difflib.get_close_matches(agent_id, known, n=3, cutoff=0.5)
    if close:
        remedy = f"did you mean {', '.join(map(named, close))}?"
    elif known:
        some = ", ".join(map(named, known[:5]))
        count = "1 agent" if len(known) == 1 else f"{len(known)} agents"
        remedy = f"it has {count}: {some}{', ...' if len(known) > 5 else ''}"
    else:
        remedy = "no agent was recorded in it"
    return AgentNotFound(f"no agent {agent_id!r} in this session", remedy=remedy)


_LOOKS: Final = 3


def code_places(session: Path, engine: Engine | None = None) -> CodePlaces:
    """Return the places of a session's traced functions; reads only the files of the category system.

    Args:
        session: its directory.
        engine: an engine over it, which reads less of the archive where these files are sealed.
    """
    places = CodePlaces()
    if engine is not None and not layout.category_files(session, "system"):
        sealed = f"SELECT {EVENT_COLUMNS} FROM {whole_lines(Only(kinds=['code']))} WHERE event_type = 'code'"
        for row in engine.rows(sealed):
            places.add(engine_row(row)["extra"])
        return places
    for event in open_reader(session).category_events("system"):
        if event.kind == "code":
            places.add(event.extra)
    return places


def file_and_line(place: CodePlace | None) -> dict[str, Any]:
    """Return `file` and `line` of a place; nothing for an unknown one."""
    return {} if place is None else {"file": place.file, "line": place.line}


def in_flight(reader: TreeReader) -> list[dict[str, Any]]:
    """List the open spans, oldest first; `alive` says whether their process is still running."""
    return [span.to_dict() | {"alive": span.alive} for span in reader.in_flight()]


def losses(path: Path, reader: TreeReader, engine: Engine) -> dict[str, Any]:
    """Count the events that are missing in the recording, by writer and in total.

    Returns:
        The keys of `Losses.to_dict`, `total_lost`, and `dropped`: {reason: count} of events that were never
        written and never got a number, as counted in the `log.dropped` events.
    """
    counted = _count(path, engine)
    if counted is None:
        recorded_losses, dropped = reader.losses(), _dropped(engine)
    else:
        recorded_losses, count = counted
        dropped = Counter[str]()
        for reason, number in count.dropped.values():
            dropped[reason] += number
    with suppress(DamagedInput):  # `recorded_losses` reports that file as damaged
        dropped.update(read_account(path).dropped_before(path))
    return {"total_lost": recorded_losses.total_lost, "dropped": ranked(dropped)} | recorded_losses.to_dict()


def written_losses(engine: QueryEngine) -> dict[str, Any]:
    """Count the missing events of sealed sessions from the numbers of their events only, in one query.

    The events of a writer are numbered 1, 2, 3 ... up to the last one, which its `log.closed` contains. If a
    writer did not close, the numbers after its last event are unknown.

    Returns:
        `clean` (nothing is missing, and every writer closed), `total_lost`, `dropped` ({reason: count}),
        `writers` and `unclosed` (their numbers).
    """
    lines = scan("last_seq", "count")
    row = engine.row(
        "SELECT count(*) AS writers, count(*) FILTER (WHERE closed IS NULL) AS unclosed, "
        "CAST(coalesce(sum(greatest(highest, coalesce(closed, 0)) - events), 0) AS BIGINT) AS missing, "
        "CAST(coalesce(sum(retired), 0) AS BIGINT) AS retired FROM ("
        "SELECT writer, count(DISTINCT seq) AS events, max(seq) AS highest, "
        "max(greatest(seq, last_seq)) FILTER (WHERE event_type = 'log.closed') AS closed, "
        f"sum(count) FILTER (WHERE event_type = 'log.retired') AS retired FROM {lines} GROUP BY writer)"
    )
    dropped = _dropped(engine)
    lost = max(0, row["missing"] - row["retired"])
    return {
        "clean": not lost and not dropped and not row["unclosed"],
        "total_lost": lost,
        "dropped": ranked(dropped),
        "writers": row["writers"],
        "unclosed": row["unclosed"],
    }


def _dropped(engine: QueryEngine) -> Counter[str]:
    lines = f"{scan('reason', 'count')} WHERE event_type = 'log.dropped' AND abs(count) < 1e15"
    return Counter(engine.counts("coalesce(reason, '')", lines, number="CAST(sum(count) AS BIGINT)"))


def counted_losses(path: Path, engine: Engine) -> Losses | None:
    """Count losses from event numbers alone, without decoding all lines; None if every line must be decoded.

    Files with damaged lines are always decoded, because a whole event may follow a torn line. Everything must
    be decoded if a running process damaged or seems to have lost something, or if a number occurs twice.
    """
    counted = _count(path, engine)
    return None if counted is None else counted[0]


@dataclass(slots=True)
class _Count:
    """The result of one scan of all lines; an item that is seen twice counts once."""

    seen: dict[str, SeqSet] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    retired: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    dropped: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    is_damaged: bool = False

    def account(self) -> Accounting:
        return Accounting(self.seen, self.closed, self.retired)


def _count(path: Path, engine: Engine) -> tuple[Losses, _Count] | None:
    count: _Count | None = None
    for _ in range(_LOOKS):
        # Before the files are read: numbers that a running writer takes later are not expected in them.
        writers = Writers(path, None if count is None else count.account())
        standing = _standing(path)
        count = _counted_lines(engine)
        if count is None or not _catch_up(path, standing, count, writers):
            return None
        damaged = _read_damaged(path, engine, count, writers) if count.is_damaged else 0
        if damaged is None:
            return None
        account = count.account()
        try:
            # After the files are read: retention logs a removal before it removes the file.
            add_accounts(account, path)
        except DamagedInput:
            return None  # the caller then uses the reader, which reports the damage
        all_losses = writers.losses(account, damaged)
        if writers.are_explained(all_losses):
            return all_losses, count
    return None


_PIECE_BYTES: Final = 65536 // 8
_TELLING_LINES: Final = (
    f"SELECT writer, seq, event_type, last_seq, reason, try_cast(count AS BIGINT) AS count FROM "
    f"{events_of(TELLING, 'last_seq', 'reason', 'count')}"
)


def _counted_lines(engine: Engine) -> _Count | None:
    """Collect event numbers as bits, and the log.* events; None if a number occurs twice."""
    count = _Count()
    without_count = False
    if (by_writer := engine.numbers()) is not None:
        for writer, bits_of_writer in by_writer.items():
            seen = count.seen.setdefault(writer, SeqSet())
            for piece, start in enumerate(range(0, len(bits_of_writer), _PIECE_BYTES)):
                seen.add_bits(piece, int.from_bytes(bits_of_writer[start : start + _PIECE_BYTES], "little"))
    else:
        for row in engine.rows(
            f"SELECT writer, {PIECE} AS piece, count(*) AS n, {NUMBER_BITS} AS bits FROM {scan()} "
            "GROUP BY writer, piece"
        ):
            bits = bits_of(row["bits"])
            if bits.bit_count() != row["n"]:
                return None
            count.seen.setdefault(row["writer"], SeqSet()).add_bits(row["piece"], bits)
        count.is_damaged = bool(engine.damaged_lines())
    for row in engine.rows(_TELLING_LINES):
        writer, seq, number = row["writer"], row["seq"], row["count"]
        if row["event_type"] == "log.closed":
            count.closed[writer] = max(count.closed.get(writer, 0), seq, row["last_seq"] or 0)
        elif row["event_type"] == "log.dropped":
            count.dropped[writer, seq] = (row["reason"] or "", number or 0)
        else:
            without_count |= number is None
    if without_count:
        count.retired = _retired_by_event(engine)
    return count


def _retired_by_event(engine: Engine) -> dict[str, list[tuple[int, int]]]:
    """The retired ranges from `log.retired` events without a count; the removal log has those with one."""
    retired: dict[str, list[tuple[int, int]]] = {}
    for row in engine.rows(
        "SELECT extra->>'$.writer' AS named, try_cast(extra->>'$.first_seq' AS BIGINT) AS first_seq, "
        f"try_cast(extra->>'$.last_seq' AS BIGINT) AS last_seq FROM {whole_lines()} "
        "WHERE event_type = 'log.retired' AND (extra->'$.count') IS NULL"
    ):
        if row["named"] and row["first_seq"] is not None and row["last_seq"] is not None:
            retired.setdefault(row["named"], []).append((row["first_seq"], row["last_seq"]))
    return retired


def _standing(path: Path) -> dict[Path, Inode]:
    """The session's current files, each with its inode."""
    return {file: inode for file in tree_files(path) if (inode := inode_at(file)) is not None}


def _catch_up(path: Path, before: dict[Path, Inode], count: _Count, writers: Writers) -> bool:
    """Read files that were renamed since `before`; return whether all their lines are whole.

    The engine opens files by name: if a file was rolled before the engine opened it, the engine read only
    its successor.
    """
    now = _standing(path)
    moved = [file for file, inode in now.items() if before.get(file) != inode]
    damage = DamageLog()
    _count_lines(Tail(path, damage.note_unreadable, lambda: moved).new_lines(), damage, count, writers)
    return damage.count == 0


def _read_damaged(path: Path, engine: Engine, count: _Count, writers: Writers) -> int | None:
    """Decode the files that hold damaged lines, add their events, and return the number of damaged lines.

    None if a writer is alive, since it may be writing such a line now, or if the engine counts damaged
    lines differently.
    """
    if writers.alive:
        return None
    damaged = engine.damaged_lines()
    names = [path / Path(name).relative_to(path.resolve()) for name in damaged]
    damage = DamageLog()
    _count_lines(_lines_of(path, names, damage), damage, count, writers)
    return damage.count if damage.count == sum(damaged.values()) else None


def _count_lines(lines: Iterable[RawLine], damage: DamageLog, count: _Count, writers: Writers) -> None:
    """Decode lines here, outside the engine, and add them to the count."""
    decoder = LineDecoder(damage, writers.knows)
    account = count.account()
    for raw in lines:
        event = decoder.decode(raw)
        if event is not None:
            account.see(event)
            _note_dropped(count, event)
    for writer, seqs in decoder.seen.items():
        count.seen.setdefault(writer, SeqSet()).update(seqs)


def _lines_of(path: Path, files: list[Path], damage: DamageLog) -> Iterator[RawLine]:
    """The lines of files that have no writer, including files that were sealed and removed."""
    there = [file for file in files if file.exists()]
    tail = Tail(path, damage.note_unreadable, lambda: there)
    yield from tail.new_lines()
    yield from (tailed.rest for tailed in tail.places.values() if tailed.rest is not None)
    archive = ArchiveLines(path)
    for file in files:
        if file not in there:
            yield from archive.lines(file)


def _note_dropped(count: _Count, event: Event) -> None:
    if event.kind == "log.dropped":
        number = event.extra.get("count")
        reason = str(event.extra.get("reason") or "")
        count.dropped[event.writer, event.seq] = (reason, number if isinstance(number, int) else 0)


def session_counts(session: Path) -> dict[str, Any]:
    """Count the contents of a session with the engine, in flat memory, without decoding lines if possible.

    Returns:
        `events`, `agents`, `errors`, `lost` (counts), `first_timestamp`, `last_timestamp` (None without
        events).

    Raises:
        SessionNotFound: the session does not exist.
        MissingExtra: duckdb is not installed.
    """
    from Agent.analysis.query.engine import open_engine

    reader = open_reader(session)
    with open_engine(session) as engine:
        row = engine.row(
            "SELECT count(*) AS events, count(DISTINCT agent_id) AS agents, "
            "count(*) FILTER (WHERE event_type = 'error') AS errors, "
            f"min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}"
        )
        recorded_losses = counted_losses(session, engine) or reader.losses()
    first_us, last_us = row.pop("first_us"), row.pop("last_us")
    return row | {
        "lost": recorded_losses.total_lost,
        "first_timestamp": None if first_us is None else format_timestamp(first_us),
        "last_timestamp": None if last_us is None else format_timestamp(last_us),
    }
