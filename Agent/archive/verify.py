"""Verifies, writer by writer, that a session is complete and unchanged, or reports what is missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from Agent.archive.chain_check import ChainReport, check_chains
from Agent.archive.sealed.parts import (
    Part,
    archive_dir,
    beginning_digest,
    file_digest,
    read_parts,
    writer_of,
)
from Agent.archive.sealed.reader import open_reader
from Agent.errors import DamagedInput, SessionNotFound
from Agent.event.codec import payload_problems
from Agent.event.model import Event
from Agent.tree.files.lines import Damage
from Agent.tree.files.sequence_set import dropped_by
from Agent.tree.files.session import open_session, read_claims
from Agent.tree.layout import (
    chain_file,
    claims_dir,
    entries_in,
    passed_over,
    session_id_of,
    shown_name,
)
from Agent.tree.read.losses import WriterLosses
from Agent.tree.read.removal_logs import ERASED, Recovery, read_account, read_recovery
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, digest_of, read_artifact
from Agent.tree.write.event_counts import EventCounts

if TYPE_CHECKING:
    from Agent.flight.checkpoints.graph_file import GraphFile

_ID: Final = re.compile(r'"id":"([a-z2-7]{8})-')
_UNKNOWN: Final = "?"
_LOOKS: Final = 3
_COUNTS: Final = ("read", "lost", "unacknowledged", "unknown", "retired", "in_flight")


@dataclass(frozen=True, slots=True)
class VerifiedWriter:
    """One writer's account: `taken` is the sum of the six event counts after it."""

    writer: str
    pid: int | None
    kind: str
    state: str
    """`closed`, `running`, `killed`, `unused` (killed before it recorded anything), or `recovered`."""
    taken: int
    read: int
    lost: int
    unacknowledged: int
    unknown: int
    retired: int
    in_flight: int
    damaged_lines: int
    torn_tails: int


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file about the session, of its archive, or an artifact, that cannot be read or was changed."""

    path: str
    """The path in the session's directory; of an artifact without a valid reference, that reference."""
    problem: str


@dataclass(frozen=True, slots=True)
class OddPayload:
    """Events whose payload differs from the table of kinds (docs/FORMAT.md) in the same way."""

    problem: str
    """Which field, and what is wrong with it."""
    events: int
    first: str
    """The id of the earliest."""

    def __str__(self) -> str:
        return f"{self.problem}: {self.events:,} event{'s' * (self.events != 1)}, the first is {self.first}"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An entry of a session's directory that readers skip."""

    path: str
    """The path below the directory searched, with bytes that are not UTF-8 as escapes."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a session: the accounts of all writers, damage, and edits."""

    session: Path
    writers: tuple[VerifiedWriter, ...]
    damaged_lines: int
    """Number of damaged lines, without torn tails."""
    torn_tails: int
    erased: int = 0
    """How many of the retired events were removed by an erasure."""
    artifacts: int = 0
    """How many artifacts were read and compared with their digests."""
    damaged_artifacts: tuple[DamagedFile, ...] = ()
    parts: int = 0
    """How many parts of the archive were read and compared with their digests."""
    damaged_parts: tuple[str, ...] = ()
    """Parts that differ from what was sealed, as paths in the session."""
    damaged_files: tuple[DamagedFile, ...] = ()
    """The files that cannot be read: `session.json`, claims, and files of the archive."""
    uncounted: bool = False
    """Whether a damaged archive prevents counting the events."""
    undescribed_parts: tuple[str, ...] = ()
    """Parquet files without the JSON file that lists their segments, such as leftovers of a killed `seal`."""
    changed_files: tuple[str, ...] = ()
    """Log files that were sealed, still exist, and differ from their sealed form."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Number of events that recording reported as dropped, by reason; they do not affect `sound`."""
    passed_over: tuple[PassedOver, ...] = ()
    """Entries that were skipped; only events missing because of them affect `sound`."""
    odd_payloads: tuple[OddPayload, ...] = ()
    """Found in log files, and not in the archive; they are as the program recorded them, so they do not
    affect `sound`."""
    chain: ChainReport | None = None
    """The comparison with the digests made during recording; None if the session has none."""
    graph_files: tuple[GraphFile, ...] = ()
    """The files of `TraceSaver` under the trace root, which all sessions share."""
    damage: tuple[Damage, ...] = ()
    """The first 1,000 of the damaged lines."""
    is_complete: bool = False
    """Whether every process of the session ended cleanly."""

    @property
    def lost(self) -> int:
        """Number of missing events whose call had returned."""
        return sum(writer.lost for writer in self.writers)

    @property
    def unknown(self) -> int:
        """Number of missing events without an explanation."""
        return sum(writer.unknown for writer in self.writers)

    @property
    def sound(self) -> bool:
        """Whether nothing is lost, unexplained, damaged or edited, including artifacts and archive.

        Unacknowledged events, torn tails and events retired by policy are reported, but do not count.
        """
        lines_or_files = self.damaged_lines or self.damaged_artifacts or self.damaged_files or self.uncounted
        damaged = lines_or_files or self.damaged_parts or self.changed_files
        edited = self.chain is not None and self.chain.edits
        graphs = any(graph.problems for graph in self.graph_files)
        return not (self.lost or self.unknown or damaged or edited or graphs)

    def faults(self) -> Iterator[str]:
        """Yield what makes the session not sound, in words: one at least, unless it is."""
        for line in self.damage:
            yield f"{line.path.name}:{line.line_number}: {line.reason}"
        if unshown := self.damaged_lines - len(self.damage):
            yield f"{unshown} more damaged line{'s' * (unshown != 1)}"
        if missing := self.lost + self.unknown:
            yield "1 event is missing" if missing == 1 else f"{missing} events are missing"
        yield from (f"{each.path}: {each.problem}" for each in (*self.damaged_artifacts, *self.damaged_files))
        yield from (f"{path}: differs from what was sealed" for path in self.damaged_parts)
        yield from (f"{path}: its lines differ from those that were sealed" for path in self.changed_files)
        yield from map(str, () if self.chain is None else self.chain.edits)
        for graph in self.graph_files:
            yield from (f"{graph.path}: {problem}" for problem in graph.problems)
        if self.uncounted:
            yield "the events of a damaged archive were not counted"

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the verdict, totals, and a row for each writer."""
        stored = asdict(self)
        del stored["session"], stored["damage"], stored["is_complete"]
        writers = stored.pop("writers")
        return {
            "session_id": session_id_of(self.session),
            "path": str(self.session),
            "sound": self.sound,
            **{name: sum(writer[name] for writer in writers) for name in ("taken", *_COUNTS)},
            **stored,
            "chain": None if self.chain is None else self.chain.to_dict(),
            "graph_files": [graph._asdict() for graph in self.graph_files],
            "writers": writers,
        }


def verify(session: Path, heads: Iterable[str] = ()) -> Verification:
    """Account for every number that was taken, and compare every line, artifact and part with its digest.

    Args:
        session: the session's directory.
        heads: heads of the session or of its writers that were stored elsewhere.

    Raises:
        SessionNotFound: the session is missing.
        DamagedInput: the recovery's account cannot be read, or the archive, although no part differs from
            what was sealed.
        UsageError: an element of `heads` is not a head.
    """
    from Agent.flight.checkpoints.graph_file import check_graph, graph_files  # not for `changes_of_lines`

    reader = open_reader(session)
    recovery = read_recovery(session)
    unread: list[DamagedInput] = []
    parts = read_parts(session, unread)
    damaged_parts = list(_damaged_parts(parts))
    archive: dict[str, Any] = {
        "parts": len(parts) + len(unread),
        "damaged_parts": tuple(part.parquet.relative_to(session).as_posix() for part in damaged_parts),
        "damaged_files": (
            *(_damaged_file(session, error) for error in unread),
            *_damaged_descriptions(session),
        ),
        "undescribed_parts": () if unread else tuple(find_undescribed(session, parts)),
    }
    payloads = _Payloads()
    scan = reader.scan({"artifact.saved", "log.closed", "log.dropped"}, payloads)
    artifacts = _Artifacts(session)
    dropped: Counter[str] = Counter()
    heads_by_writer: dict[str, str] = {}
    try:
        for event in scan:
            if event.kind == "log.dropped":
                reason, count = dropped_by(event)
                dropped[reason] += count
            elif event.kind == "log.closed":
                if isinstance(head := event.extra.get("head"), str):
                    heads_by_writer[event.writer] = head
            else:
                artifacts.check(event)
    except DamagedInput:
        if not unread and not damaged_parts:
            raise
        return Verification(session, (), 0, 0, uncounted=True, **archive)
    losses = scan.losses
    damaged: Counter[str] = Counter()
    torn: Counter[str] = Counter()
    shown: list[Damage] = []
    for entry in reader.damage():
        is_torn = _is_torn_tail(session, entry, recovery)
        (torn if is_torn else damaged)[_writer_of(entry)] += 1
        if not is_torn:
            shown.append(entry)
    # the first 1,000 damages are kept, further ones are only counted
    damaged[_UNKNOWN] += losses.damaged_lines - damaged.total() - torn.total()
    rows = [
        _row(account, recovery, damaged.pop(account.writer, 0), torn.pop(account.writer, 0))
        for account in losses.writers
    ]
    if damaged.total() or torn.total():
        rows.append(_row_of_unknown(damaged.total(), torn.total()))
    return Verification(
        session,
        tuple(rows),
        sum(row.damaged_lines for row in rows),
        sum(row.torn_tails for row in rows),
        read_account(session).reasons[ERASED],
        artifacts.checked,
        tuple(artifacts.damaged),
        changed_files=tuple(_changed_files(session, parts)),
        dropped=dict(sorted((+dropped).items())),
        passed_over=tuple(find_passed_over(session)),
        odd_payloads=payloads.odd(),
        chain=_chains(
            session, heads_by_writer, list(heads), is_running=any(row.state == "running" for row in rows)
        ),
        graph_files=tuple(map(check_graph, graph_files(session.parent))),
        damage=tuple(shown),
        is_complete=all(writer.has_ended for writer in losses.writers),
        **archive,
    )


def changes_of_lines(session: Path, heads_by_writer: Mapping[str, str], *, is_running: bool) -> list[str]:
    """Return how a session's lines differ from what was written; [] if nothing shows a change.

    Args:
        session: the session's directory.
        heads_by_writer: the heads in `log.closed` events, by writer.
        is_running: whether a process may move lines to other files meanwhile.

    Raises:
        DamagedInput: the account of retired numbers, or the archive, cannot be read.
    """
    parts = read_parts(session)
    names = [part.parquet.relative_to(session).as_posix() for part in _damaged_parts(parts)]
    chain = None
    if not names:  # else lines of the archive may not be readable
        names += _changed_files(session, parts)
        chain = _chains(session, heads_by_writer, [], is_running=is_running)
    edits = () if chain is None else chain.edits
    return [*map(str, edits), *(f"{name}: differs from what was sealed" for name in names)]


def _damaged_parts(parts: Iterable[Part]) -> Iterator[Part]:
    return (part for part in parts if file_digest(part.parquet) != part.digest)


def _damaged_file(session: Path, error: DamagedInput) -> DamagedFile:
    return DamagedFile(Path(str(error.path)).relative_to(session).as_posix(), error.message)


def _damaged_descriptions(session: Path) -> Iterator[DamagedFile]:
    """Yield `session.json` and the claims that cannot be read, except those that a kill interrupted."""
    try:
        open_session(session)
    except SessionNotFound:
        pass  # it was never written, or it was removed
    except DamagedInput as error:
        yield _damaged_file(session, error)
    for writer, claim in read_claims(session).items():
        # digests begin only after the claim was written
        if claim.pid < 0 and chain_file(session, writer).exists():
            path = (claims_dir(session) / f"{writer}.json").relative_to(session)
            yield DamagedFile(path.as_posix(), "the claim of a writer cannot be read")


def find_passed_over(base: Path, *directories: Path, below: bool = True) -> list[PassedOver]:
    """Return the entries that readers skip in a base or in these places in it; with `below`, at any depth."""
    return [
        PassedOver(shown_name(path.relative_to(base).as_posix()), reason)
        for place in directories or (base,)
        for path, reason in passed_over(place, below=below)
    ]


def _chains(
    session: Path, heads_by_writer: Mapping[str, str], heads: list[str], *, is_running: bool
) -> ChainReport | None:
    report = check_chains(session, heads_by_writer, heads)
    for _ in range(_LOOKS if is_running else 1):
        if report is None or not report.edits:
            break
        # check again: a file that was rolled or sealed during the check is in another place now
        report = check_chains(session, heads_by_writer, heads)
    return report


def find_undescribed(session: Path, parts: Iterable[Part]) -> Iterator[str]:
    """Yield the Parquet files of an archive that no description names; nothing is read from them."""
    part_names = {part.parquet.name for part in parts}
    for path in entries_in(archive_dir(session), ".parquet"):
        if path.name not in part_names and not path.name.startswith("."):
            yield path.relative_to(session).as_posix()


def _changed_files(session: Path, parts: list[Part]) -> Iterator[str]:
    """Yield sealed files that still exist with other bytes; lines appended after sealing are allowed."""
    for part in parts:
        for segment in part.segments:
            path = segment.path_in(session)
            digest = beginning_digest(path, segment.size_bytes)
            if digest != segment.digest and path.is_file():  # otherwise it was removed after sealing
                yield path.relative_to(session).as_posix()


class _Payloads(EventCounts):
    """Counts, instead of events, the ways in which their payloads differ from the table of kinds."""

    def __init__(self) -> None:
        super().__init__()
        self._events: Counter[str] = Counter()
        self._first: dict[str, tuple[str, str]] = {}

    def see(self, event: Event) -> None:
        """Check one event."""
        for problem in payload_problems(event.kind, event.extra, event.types):
            self._events[problem] += 1
            place = event.timestamp, event.id
            self._first[problem] = min(place, self._first.get(problem, place))

    def odd(self) -> tuple[OddPayload, ...]:
        """Return what was found, the most frequent first."""
        return tuple(
            OddPayload(problem, events, self._first[problem][1])
            for problem, events in self._events.most_common()
        )


class _Artifacts:
    """Compares artifacts with the digests in their events; shared contents are read once."""

    def __init__(self, session: Path) -> None:
        self._session = session
        self._digests: dict[tuple[int, int], str] = {}
        self.checked = 0
        self.damaged: list[DamagedFile] = []

    def check(self, event: Event) -> None:
        """Check the file of an `artifact.saved` event."""
        ref, expected = event.extra.get("ref"), event.extra.get("digest")
        name, problem = str(ref)[:200], None
        try:
            path = artifact_path(self._session, event.run_id or ROOT_RUN, str(ref))
            name = path.relative_to(self._session).as_posix()
            self.checked += 1
            if self._digest(path) != expected and isinstance(expected, str):
                problem = "it differs from what was saved"
        except DamagedInput as error:
            problem = error.message
        except OSError as error:
            problem = f"it is missing: {error.strerror}"
        if problem is not None:
            self.damaged.append(DamagedFile(name, problem))

    def _digest(self, path: Path) -> str:
        status = path.lstat()
        inode = (status.st_dev, status.st_ino)
        if inode not in self._digests:
            self._digests[inode] = digest_of(read_artifact(path))
        return self._digests[inode]


def _is_torn_tail(session: Path, entry: Damage, recovery: Recovery) -> bool:
    if entry.reason.startswith("torn:"):
        return True
    try:
        name = entry.path.relative_to(session).as_posix()
    except ValueError:
        return False  # not a file of the session
    return recovery.is_torn_tail(name, entry.line_number)


def _writer_of(entry: Damage) -> str:
    """Return the writer of a damaged line: from its id if present, else from its file's name."""
    match = _ID.search(entry.text)
    if match is not None:
        return match[1]
    return writer_of(entry.path) or _UNKNOWN


def _row(account: WriterLosses, recovery: Recovery, damaged: int, torn: int) -> VerifiedWriter:
    if account.closed:
        state = "closed"
    elif account.alive:
        state = "running"
    else:
        killed = "unused" if account.is_unused else "killed"
        state = "recovered" if account.writer in recovery.writers else killed
    counts = {name: getattr(account, name) for name in ("writer", "pid", "kind", *_COUNTS)}
    return VerifiedWriter(
        **counts, state=state, taken=account.last_seq, damaged_lines=damaged, torn_tails=torn
    )


def _row_of_unknown(damaged: int, torn: int) -> VerifiedWriter:
    """Return the row for damaged lines of unknown writers."""
    return VerifiedWriter(_UNKNOWN, None, "unknown", _UNKNOWN, 0, 0, 0, 0, 0, 0, 0, damaged, torn)
