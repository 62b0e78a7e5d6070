"""`erase` removes an agent, a run or a value from everything below a trace root, and proves the erasure.

A plan is on the disk before anything is removed, each step can be repeated, and the proof comes last: after a
kill, the next erasure continues. `target` defines what is erased, `files` finds and removes it. The proof
searches every byte below the root for the target, and also the content of compressed frames, SQLite rows and
sealed lines.
"""

from __future__ import annotations

import gzip
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.chain_check import account_in_chains, forget_erased, names_in_chain
from Agent.archive.erase.files import (
    MatchingLines,
    drop_cursor_entries,
    enter,
    erase_checkpoints,
    erase_from_mirrors,
    find_artifacts,
    find_lines,
    find_replays,
    find_sealed,
    is_whole,
    open_parts,
    refuse_damaged_account,
    remove_artifacts,
    remove_leftovers,
    remove_runs,
    rewrite,
    scrub,
    sealed_lines,
    settle_torn_tails,
    sweep_blobs,
)
from Agent.archive.erase.target import AGENT, MATCH, RUN, ErasedArtifact, Target
from Agent.archive.recover import recover_session, refuse_if_in_use
from Agent.archive.sealed.parts import read_parts
from Agent.archive.sealed.reader import open_reader
from Agent.archive.sealed.sealing import seal, tidy
from Agent.errors import DamagedInput, NotErased, SessionInUse, SessionNotFound, UsageError
from Agent.flight.checkpoints.files import unpacked_chunks
from Agent.flight.checkpoints.graph_file import (
    SQLITE_MAGIC,
    erase_from_graph,
    graph_files,
    is_encrypted,
    is_graph_file,
    read_only,
    refuse_if_open,
    values_in,
)
from Agent.tree.files.descriptors import locked
from Agent.tree.files.lines import chunks_of
from Agent.tree.files.session import read_stored, refuse_links, replace_durably
from Agent.tree.layout import (
    boards_dir,
    entries_in,
    list_sessions,
    open_file,
    parse_file_name,
    run_dirs,
    run_ids,
    safe_name,
    session_id_of,
    shown_name,
    summary_file,
    tree_files,
)
from Agent.tree.layout import is_encrypted as is_encrypted_session
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.summary import write_summary
from Agent.tree.retention import (
    delete_tree,
    drop_dead_links,
    finish_removals,
)
from Agent.tree.write.event_counts import forget_counts

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b"
_OPAQUE: Final = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
}
_CHUNK_BYTES: Final = 1024 * 1024
_DAMAGE: Final = (DamagedInput, gzip.BadGzipFile, EOFError, zlib.error, sqlite3.Error)
"""Errors raised when reading damaged compressed data or a damaged database."""


@dataclass(frozen=True, slots=True)
class FormMatch:
    """A trace of the target that remains: the file, and the form in which it was found."""

    file: str
    form: str


@dataclass(slots=True)
class Proof:
    """The result of the search for remaining traces."""

    files: int = 0
    size_bytes: int = 0
    forms: tuple[str, ...] = ()
    unpacked_files: int = 0
    """Number of files whose compressed or sealed content was searched, too."""
    left: list[FormMatch] = field(default_factory=list)
    not_looked_into: dict[str, int] = field(default_factory=dict)
    """Number of files, by kind, of which only the raw bytes were searched."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.left

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"clean": self.clean, **asdict(self)}


def prove(
    root: Path,
    target: Target,
    besides: Iterable[Path] = (),
    progress: Callable[[str, float], None] = lambda _step, _part: None,
) -> Proof:
    """Search every file below a trace root, and every name.

    Args:
        root: the trace root.
        target: the erased data.
        besides: files that are not searched: the plan of the erasure itself.
        progress: called with the step and how far it is, 0 to 1.

    Raises:
        OSError: a file cannot be read.
        DamagedInput: a part of an archive cannot be read.
    """
    proof = Proof(forms=target.forms.kinds)
    left_out = set(besides)
    everything = list(_everything_below(root))
    for number, path in enumerate(everything):
        progress("searching", number / len(everything))
        if path in left_out:
            continue
        name = shown_name(path.relative_to(root).as_posix())
        form = _form_in_name(path, name, target)
        if form is None and path.is_file() and not path.is_symlink():
            form = _search(path, target, proof)
        elif path.is_symlink():
            form = form or target.forms.find_in_text(os.fspath(path.readlink()))
        if form is not None:
            proof.left.append(FormMatch(name, form))
    for ref in list_sessions(root):
        if is_encrypted_session(ref.path):
            kind = "encrypted session"
            proof.not_looked_into[kind] = proof.not_looked_into.get(kind, 0) + 1
        _search_sealed(root, ref.path, target, proof)
    return proof


def holds(path: Path, target: Target) -> bool:
    """Return whether a file contains the target in any form, including inside compressed content."""
    return _search(path, target, Proof()) is not None


def _everything_below(root: Path) -> Iterator[Path]:
    for directory, directories, names in os.walk(root):
        for name in sorted((*directories, *names)):
            yield Path(directory, name)


def _form_in_name(path: Path, name: str, target: Target) -> str | None:
    """Return the form in which a file name contains the target; for an agent or a run, `name`."""
    if target.kind == AGENT:
        parsed = parse_file_name(path.name)
        is_agent_file = (
            path.parent.name == "agents" and parsed is not None and parsed.stem == safe_name(target.value)
        )
        is_of_session = path.parent.parent.name.startswith("session_")
        return "name" if is_agent_file and is_of_session else None
    if target.kind == "run":
        return "name" if path.parent.name == "runs" and path.name in target.run_dirs else None
    return target.forms.find_in_text(name)


def _search(path: Path, target: Target, proof: Proof) -> str | None:
    """Return the form in which a file contains the target."""
    proof.files += 1
    proof.size_bytes += path.stat().st_size
    form = target.forms.find_in_stream(names_in_chain(path) or chunks_of(path))
    if form is not None:
        return form
    with os.fdopen(open_file(path)[0], "rb") as file:
        head = file.read(16)
    if head.startswith(_ZSTD):
        return _unpacked(target, proof, unpacked_chunks(path), "zstd")
    if head.startswith(_GZIP):
        return _unpacked(target, proof, _gzip_chunks(path), "gzip")
    if head == SQLITE_MAGIC:
        rows = _graph_values(path, proof) if is_graph_file(path) else iter(())
        return _unpacked(target, proof, chain(rows, _sqlite_rows(path)), "SQLite")
    kind = next((kind for magic, kind in _OPAQUE.items() if head.startswith(magic)), None)
    if kind is not None and not (kind == "Parquet" and path.parent.name == "archive"):
        proof.not_looked_into[kind] = proof.not_looked_into.get(kind, 0) + 1
    return None


def _unpacked(target: Target, proof: Proof, chunks: Iterator[bytes], kind: str) -> str | None:
    try:
        form = target.forms.find_in_stream(chunks)
    except _DAMAGE:
        # A damaged file is not decoded; its raw bytes were searched.
        proof.not_looked_into[f"damaged {kind}"] = proof.not_looked_into.get(f"damaged {kind}", 0) + 1
        return None
    proof.unpacked_files += 1
    return None if form is None else f"{form} in {kind}"


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _graph_values(path: Path, proof: Proof) -> Iterator[bytes]:
    """Yield the values of a file of `TraceSaver`, and note if some are encrypted."""
    encrypted = False
    for kind, raw in values_in(path):
        encrypted = encrypted or is_encrypted(kind)
        yield raw + b"\n"
    if encrypted:
        kind = "encrypted graph states"
        proof.not_looked_into[kind] = proof.not_looked_into.get(kind, 0) + 1


def _sqlite_rows(path: Path) -> Iterator[bytes]:
    """Yield every row of every table as JSON, so that a value that spans pages is found."""
    with read_only(path) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            cursor = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a quoted name
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield orjson.dumps(dict(zip(names, row, strict=True)), default=_shown)


def _shown(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _search_sealed(root: Path, session: Path, target: Target, proof: Proof) -> None:
    """Search the lines in a session's archive."""
    searched: set[str] = set()
    lines_found: set[str] = set()
    for part, _, line in sealed_lines(read_parts(session)):
        name = part.parquet.relative_to(root).as_posix()
        searched.add(name)
        form = target.forms.find(line) if name not in lines_found else None
        if form is not None:
            lines_found.add(name)
            proof.left.append(FormMatch(name, f"{form} in Parquet"))
    proof.unpacked_files += len(searched)


SHORTEST_VALUE: Final = 3
"""A shorter value would match bytes in almost every file."""


@dataclass(slots=True)
class ErasedSession:
    """The parts of one session to erase."""

    session_id: str
    events: int = 0
    damaged_lines: int = 0
    files: int = 0
    """Number of log files that lose lines."""
    parts: int = 0
    """Number of archive parts that are rewritten."""
    artifacts: int = 0
    checkpoints: int = 0
    replays: int = 0
    runs: int = 0

    @property
    def anything(self) -> bool:
        """Whether anything is erased."""
        return any(value for name, value in asdict(self).items() if name != "session_id")


@dataclass(slots=True)
class Erasure:
    """The result of an erasure, with its proof."""

    kind: str
    value: str
    dry_run: bool = False
    resumed: bool = False
    """Whether it finished an interrupted erasure."""
    sessions: list[ErasedSession] = field(default_factory=list)
    mirror_lines: int = 0
    graph_checkpoints: int = 0
    """The number of erased LangGraph checkpoints in files of `TraceSaver`."""
    proof: Proof | None = None

    @property
    def events(self) -> int:
        """The number of events to erase."""
        return sum(session.events for session in self.sessions)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        proof = None if self.proof is None else self.proof.to_dict()
        return {**asdict(self), "events": self.events, "proof": proof}


@dataclass(slots=True)
class _SessionPlan:
    """The plan for one session: the data to erase, in the form that the steps need."""

    session: Path
    lines: MatchingLines
    artifacts: frozenset[ErasedArtifact]
    replays: list[Path]
    erased: ErasedSession


def target_of(*, agent: str | None = None, run: str | None = None, match: str | None = None) -> Target:
    """Create the target; UsageError unless exactly one is named, or if a value is too short."""
    criteria = [
        (kind, value) for kind, value in ((AGENT, agent), (RUN, run), (MATCH, match)) if value is not None
    ]
    if len(criteria) != 1:
        raise UsageError(
            "erase needs exactly one option", remedy="give --agent ID, --run ID or --match VALUE"
        )
    kind, value = criteria[0]
    if kind == MATCH and len(value.encode("utf-8", "surrogatepass")) < SHORTEST_VALUE:
        raise UsageError(
            f"{value!r} is too short to be distinguished from other bytes",
            remedy=f"give at least {SHORTEST_VALUE} characters",
        )
    if kind == AGENT:
        return Target(AGENT, value)
    return Target(RUN, value, frozenset([value])) if kind == RUN else Target(MATCH, value)


def erase(
    root: Path,
    target: Target | None,
    *,
    dry_run: bool = False,
    progress: Callable[[str, float], None] = lambda _step, _part: None,
) -> Erasure:
    """Erase the target from everything below a trace root, then search every byte for it.

    An interrupted erasure is finished first; nothing else is done if it is the same or `target` is None.

    Args:
        root: the trace root.
        target: what to erase, from `target_of`; None finishes an interrupted erasure.
        dry_run: change nothing, only report; files other than recordings are not searched.
        progress: called with the step and how far it is, 0 to 1.

    Raises:
        SessionNotFound: the root does not exist.
        SessionInUse: a process records under it, or another one erases.
        UsageError: no erasure was interrupted, and no target is given.
        NotErased: something cannot be rewritten or removed; the next erasure continues.
        DamagedInput: an account or a part of an archive cannot be read.
    """
    if not root.is_dir():
        raise SessionNotFound("no such trace root", path=root, remedy="choose one with --root")
    with locked(root) as is_alone:
        if not is_alone:
            raise SessionInUse(
                "another process erases under this root", path=root, remedy="wait for it and try again"
            )
        _refuse_if_in_use(root, progress)
        before = pending(root)
        target_or_pending = target or before
        if target_or_pending is None:
            raise UsageError(
                "no erasure was interrupted", remedy="give --agent ID, --run ID or --match VALUE"
            )
        if dry_run:
            return _dry(root, target_or_pending, progress)
        if before is not None:
            done = _erase(root, before, progress, resumed=True)
            if (target_or_pending.kind, target_or_pending.value) == (before.kind, before.value):
                return done
        return _erase(root, target_or_pending, progress)


def _refuse_if_in_use(root: Path, progress: Callable[[str, float], None]) -> None:
    refuse_if_open(root)
    sessions = list_sessions(root)
    for number, ref in enumerate(sessions):
        progress("asking who records", number / len(sessions))
        refuse_links(ref.path)
        refuse_if_in_use(ref.path, "erase when no process records under this root", run_dirs(ref.path))


def _dry(root: Path, target: Target, progress: Callable[[str, float], None]) -> Erasure:
    sessions, target = _find(root, target, progress)
    done = _report_of(target, sessions)
    done.dry_run = True
    done.mirror_lines = erase_from_mirrors(root, target, dry_run=True)
    done.graph_checkpoints = _erase_from_graphs(root, target, dry_run=True)
    return done


def _erase_from_graphs(root: Path, target: Target, *, dry_run: bool = False) -> int:
    finds = target.forms.find_in_stream
    return sum(erase_from_graph(path, finds, chunks_of(path), dry_run=dry_run) for path in graph_files(root))


def _report_of(target: Target, plans: list[_SessionPlan]) -> Erasure:
    sessions = [each.erased for each in plans if each.erased.anything]
    return Erasure(target.kind, target.value, sessions=sessions)


def _erase(
    root: Path, target: Target, progress: Callable[[str, float], None], *, resumed: bool = False
) -> Erasure:
    with _naming_failures(root):
        finish_removals(root)
        half_written = entries_in(root, ".new", f".{PLAN_NAME}.")
        for left in [*half_written, *entries_in(root, beginning=".mirrors-")]:
            delete_tree(left)
        sessions = list_sessions(root)
        for number, ref in enumerate(sessions):
            progress("tidying", number / len(sessions))
            remove_leftovers(ref.path)
            tidy(ref.path)
        plans, target = _find(root, target, progress)
        write_plan(root, target)
        for number, each in enumerate(plans):
            progress("erasing", number / len(plans))
            _erase_session(each, target, resumed=resumed)
        drop_dead_links(root)
        done = _report_of(target, plans)
        done.resumed = resumed
        progress("mirrors", 0.0)
        done.mirror_lines = erase_from_mirrors(root, target)
        progress("graphs", 0.0)
        done.graph_checkpoints = _erase_from_graphs(root, target)
        done.proof = prove(root, target, [plan_file(root)], progress)
        plan_file(root).unlink(missing_ok=True)
    return done


@contextmanager
def _naming_failures(root: Path) -> Iterator[None]:
    """Convert errors of the operating system to errors that explain the consequence."""
    try:
        yield
    except OSError as error:
        raise NotErased(
            f"a file cannot be rewritten or removed: {error.strerror or error}",
            path=error.filename or root,
            remedy="make it writable, or free disk space, and erase again: it continues where it stopped",
        ) from error


def _find(
    root: Path, target: Target, progress: Callable[[str, float], None]
) -> tuple[list[_SessionPlan], Target]:
    """Find what to erase in each session; also returns the target with the runs and artifacts found."""
    sessions = [ref.path for ref in list_sessions(root)]
    target = target.with_found(runs=_runs_in(sessions, target, progress))
    stored: dict[str, set[ErasedArtifact]] = {}
    for artifact in target.artifacts:
        stored.setdefault(artifact.session_id, set()).add(artifact)
    plans, sealed = [], set()
    for number, session in enumerate(sessions):
        progress("looking", number / len(sessions))
        refuse_damaged_account(session)
        # Artifacts are matched within their own session only, so a step does not grow with earlier sessions.
        own_artifacts = frozenset(stored.get(session_id_of(session), ()))
        session_target = target.within(own_artifacts)
        lines = _find_lines(session, session_target)

        def holds_it(path: Path, sought: Target = target) -> bool:
            return holds(path, sought)

        own_artifacts |= find_artifacts(session, session_target, holds_it, lines.artifacts)
        if own_artifacts != session_target.artifacts:
            # Their events are erased as well: search again, now including these artifacts.
            session_target = target.within(own_artifacts)
            lines = _find_lines(session, session_target)
        if lines.parts:
            sealed.add(session_id_of(session))
        replays = find_replays(session, session_target, holds_it)
        erased_session = ErasedSession(
            session_id_of(session),
            events=lines.events,
            damaged_lines=lines.damaged,
            files=len(lines.files),
            parts=len(lines.parts),
            artifacts=len(own_artifacts),
            checkpoints=erase_checkpoints(session, target, dry_run=True),
            replays=len(replays),
            runs=len(target.run_dirs.intersection(run_ids(session))),
        )
        plans.append(_SessionPlan(session, lines, own_artifacts, replays, erased_session))
    artifacts = frozenset(artifact for each in plans for artifact in each.artifacts)
    return plans, target.with_found(artifacts=artifacts, sealed=frozenset(sealed))


def _find_lines(session: Path, target: Target) -> MatchingLines:
    lines = MatchingLines()
    find_lines(session, tree_files(session), target, lines)
    find_sealed(session, target, lines)
    return lines


def _runs_in(sessions: list[Path], target: Target, progress: Callable[[str, float], None]) -> frozenset[str]:
    """Return the runs to erase completely: those started within an erased run, or for the agent."""
    if target.kind == MATCH:
        return frozenset()
    affected_runs = set(target.runs)
    for number, session in enumerate(sessions):
        progress("looking for runs", number / len(sessions))
        reader = TreeReader(session)
        if target.kind == RUN:
            affected_runs.update(reader.begun_in(frozenset(affected_runs)))
            continue
        for run_id in reader.run_ids():
            began = reader.run_beginning(run_id)
            if began and began.extra.get("agent") == target.value:
                affected_runs.add(run_id)
    return frozenset(affected_runs)


def _judge_of(session: Path, path: Path, target: Target) -> Callable[[bytes], bytes | None]:
    is_whole_file, session_id = is_whole(session, path, target), session_id_of(session)
    return lambda line: target.judge(line, session_id, is_whole_file=is_whole_file).kept


def _erase_session(session_plan: _SessionPlan, target: Target, *, resumed: bool) -> None:
    """The steps of one session; each can be repeated, and preserves what the next ones need."""
    session, lines = session_plan.session, session_plan.lines
    touched = resumed or session_plan.erased.anything
    if touched and entries_in(boards_dir(session)):
        recover_session(session)
    erase_checkpoints(session, target)
    for replay in session_plan.replays:
        delete_tree(replay)
    enter(session, lines)
    was_sealed, unsealed = open_parts(session, lines)
    judges = {path: _judge_of(session, path, target) for path in [*lines.files, *unsealed]}
    names = {path: path.relative_to(session).as_posix() for path in judges}
    account_in_chains(session, {names[path]: judge for path, judge in judges.items()})
    drop_cursor_entries(session, lines.files)
    for path, judge in judges.items():
        rewrite(path, judge, target.forms)
    forget_erased(session)
    # After the lines that name them, since the plan lists the artifacts.
    remove_artifacts(session, session_plan.artifacts)
    remove_runs(session, target)
    if touched:
        sweep_blobs(session)
    settle_torn_tails(session)
    changed = scrub(session, target)
    if touched or changed:
        forget_counts(session)
    if (touched or changed) and summary_file(session).exists():
        write_summary(session, open_reader(session))
    is_record = session_id_of(session) in target.sealed
    if was_sealed or is_record:
        seal(session, remove=is_record)


PLAN_NAME: Final = ".erasing.json"
PLAN_VERSION: Final = 1


def plan_file(root: Path) -> Path:
    """Path of the erasure plan."""
    return root / PLAN_NAME


def pending(root: Path) -> Target | None:
    """Return the target of an interrupted erasure; None if there is none.

    Raises:
        DamagedInput: the plan cannot be read.
    """
    description = "the plan of an erasure that was interrupted"
    return read_stored(plan_file(root), _target_in, description, "remove it, and erase the same again")


def _target_in(stored: Any) -> Target:
    if stored["version"] != PLAN_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return Target.from_object(stored["target"])


def write_plan(root: Path, target: Target) -> None:
    """Write the plan and sync it to the disk; OSError if that fails."""
    stored = {"version": PLAN_VERSION, "target": target.to_object()}
    replace_durably(plan_file(root), orjson.dumps(stored, option=orjson.OPT_APPEND_NEWLINE))
