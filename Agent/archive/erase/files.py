"""Finds the data to erase in the files of a session and in the mirrors, and removes it.

Lines to erase are first entered into the account of retired numbers: until a file is rewritten its events are
read as before, afterwards they count as retired. So a step can be killed and repeated at any point. Archive
parts with such lines are first restored to log files; the session is sealed again at the end.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.chain_check import account_in_chains, forget_erased
from Agent.archive.erase.target import (
    AGENT,
    MATCH,
    ByteForms,
    ErasedArtifact,
    Target,
    holds,
    sealed_lines,
)
from Agent.archive.recover import recover_session
from Agent.archive.sealed.parts import Part, archive_dir, drop_part, read_parts, segments_only_archived
from Agent.archive.sealed.reader import open_reader, unseal
from Agent.archive.sealed.sealing import seal
from Agent.errors import DamagedInput, NotErased, RunNotFound
from Agent.event.model import Event
from Agent.flight.checkpoints.files import (
    REMOVED_FACT,
    Row,
    remove_unshared,
    saved_runs,
    shared_chunks_dir,
)
from Agent.flight.checkpoints.model import Removed
from Agent.flight.checkpoints.run import RunCheckpoints, remove
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.record.encode.redaction import Redactor
from Agent.tree.files.lines import MAX_LINE_BYTES, RawLine, first_id, is_event, read_lines
from Agent.tree.files.sequence_set import SeqSet, dropped_by, last_seq_in
from Agent.tree.files.session import replace_file, replacing
from Agent.tree.layout import (
    MIRROR_FILES,
    agents_dir,
    boards_dir,
    claims_dir,
    cursors_dir,
    entries_in,
    files_below,
    open_file,
    parse_file_name,
    read_file,
    recovered_file,
    run_dirs,
    run_ids,
    runs_dir,
    safe_name,
    session_file,
    session_id_of,
    summary_file,
    tree_files,
    view_dir,
)
from Agent.tree.read.reader import write_summary
from Agent.tree.read.removal_logs import (
    ERASED,
    Recovery,
    TornTail,
    read_account,
    read_recovery,
    write_account,
    write_recovery,
)
from Agent.tree.retention import delete_tree
from Agent.tree.write.artifacts import ROOT_RUN, artifacts_dir, blobs_dir
from Agent.tree.write.event_counts import forget_counts

_BATCH_LINES: Final = 4096
_CHUNK_BYTES: Final = 1024 * 1024


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


class SessionErasure:
    """What to erase from one session; `erase` does it.

    Args:
        session: the session's directory.
        target: the target, which gets the artifacts found.

    Raises:
        DamagedInput: an account of the session, or a part of its archive, cannot be read.
        NotErased: a checkpoint cannot be read.
    """

    def __init__(self, session: Path, target: Target) -> None:
        refuse_damaged_account(session)
        self._session, self._target = session, target
        session_id = session_id_of(session)
        target.artifacts.update(find_artifacts(session, target))
        self._lines = find_lines(session, target)
        named = {ErasedArtifact(session_id, *place) for place in self._lines.artifacts}
        if not named <= target.artifacts:
            # other events of these artifacts are erased as well: search again
            target.artifacts |= named
            self._lines = find_lines(session, target)
        self._artifacts = [each for each in target.artifacts if each.session_id == session_id]
        if self._lines.parts:
            target.sealed.add(session_id)
        self._replays = find_replays(session, target)
        self.erased = ErasedSession(
            session_id,
            events=self._lines.events,
            damaged_lines=self._lines.damaged,
            files=len(self._lines.files),
            parts=len(self._lines.parts),
            artifacts=len(self._artifacts),
            checkpoints=erase_checkpoints(session, target, dry_run=True),
            replays=len(self._replays),
            runs=len(target.run_dirs.intersection(run_ids(session))),
        )

    def erase(self, *, resumed: bool) -> None:
        """Erase it; each step can be repeated, and preserves what the next ones need."""
        session, target, lines = self._session, self._target, self._lines
        touched = resumed or self.erased.anything
        if touched and entries_in(boards_dir(session)):
            recover_session(session)
        erase_checkpoints(session, target)
        for replay in self._replays:
            delete_tree(replay)
        enter(session, lines)
        was_sealed, unsealed = open_parts(session, lines)
        judges = {path: self._judge_of(path) for path in [*lines.files, *unsealed]}
        names = {path: path.relative_to(session).as_posix() for path in judges}
        account_in_chains(session, {names[path]: judge for path, judge in judges.items()})
        drop_cursor_entries(session, lines.files)
        for path, judge in judges.items():
            rewrite(path, judge, target.forms)
        forget_erased(session)
        # After the lines that name them, since the plan lists the artifacts.
        remove_artifacts(session, self._artifacts)
        remove_runs(session, target)
        if touched:
            sweep_blobs(session)
        settle_torn_tails(session)
        changed = scrub(session, target)
        if touched or changed:
            forget_counts(session)
            if summary_file(session).exists():
                write_summary(session, open_reader(session))
        is_record = session_id_of(session) in target.sealed
        if was_sealed or is_record:
            seal(session, remove=is_record)

    def _judge_of(self, path: Path) -> Callable[[bytes], bytes | None]:
        is_whole_file = is_whole(self._session, path, self._target)
        session_id = session_id_of(self._session)
        return lambda line: self._target.judge(line, session_id, is_whole_file=is_whole_file).kept


@dataclass(slots=True)
class MatchingLines:
    """The lines of a session to erase."""

    files: list[Path] = field(default_factory=list)
    """The files that lose lines."""
    parts: list[str] = field(default_factory=list)
    """The archive parts that lose lines and whose log files were removed."""
    numbers: dict[str, SeqSet] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    dropped: list[tuple[str, int, str, int]] = field(default_factory=list)
    """(writer, seq, reason, count) of each `log.dropped` event to erase."""
    damaged: int = 0
    artifacts: set[tuple[str, str]] = field(default_factory=set)
    """(directory of the run, path) of the artifacts named by their `artifact.saved` events."""

    @property
    def events(self) -> int:
        """The number of events to erase."""
        return sum(map(len, self.numbers.values()))

    def note(self, event: Event | None) -> None:
        """Add a line to erase, and its event."""
        if event is None:
            self.damaged += 1
            return
        self.numbers.setdefault(event.writer, SeqSet()).add(event.seq)
        if event.kind == "log.closed":
            self.closed[event.writer] = last_seq_in(event)
        elif event.kind == "log.dropped":
            self.dropped.append((event.writer, event.seq, *dropped_by(event)))
        elif event.kind == "artifact.saved":
            self.artifacts.add((event.run_id or ROOT_RUN, str(event.extra.get("path"))))


def lines_of(path: Path) -> Iterator[RawLine]:
    """The lines of a file, overlong ones cut to their beginning; OSError if it cannot be read."""
    status = path.lstat()
    return read_lines(path, (status.st_dev, status.st_ino), max_line_bytes=MAX_LINE_BYTES)


def _line_chunks(raw: RawLine) -> Iterator[bytes]:
    """Yield a line in chunks, without its newline."""
    fd, _ = open_file(raw.path)
    with os.fdopen(fd, "rb") as file:
        file.seek(raw.offset)
        left_bytes = len(raw.line) + raw.left_out_bytes
        while chunk := file.read(min(left_bytes, _CHUNK_BYTES)):
            left_bytes -= len(chunk)
            yield chunk


def _long_line_holds(raw: RawLine, forms: ByteForms) -> bool:
    """Return whether an overlong line contains the target, without loading all of it."""
    return raw.left_out_bytes > 0 and forms.find_in_stream(_line_chunks(raw)) is not None


def _changed_lines(
    path: Path, target: Target, session_id: str, *, is_whole_file: bool = False
) -> Iterator[Event | None]:
    """Yield the event, if any, of each line of a file that is erased; OSError if it cannot be read."""
    for raw in lines_of(path):
        verdict = target.judge(raw.line, session_id, is_whole_file=is_whole_file)
        if verdict.kept is not raw.line or _long_line_holds(raw, target.forms):
            yield verdict.event


def find_lines(session: Path, target: Target) -> MatchingLines:
    """Find the lines to erase in the files of a session, and in its archive where the files were removed.

    Raises:
        OSError: one of them cannot be read.
        DamagedInput: a part of the archive cannot be read.
        MissingExtra: duckdb is not installed.
    """
    lines, session_id = MatchingLines(), session_id_of(session)
    for path in tree_files(session):
        hit = is_whole_file = is_whole(session, path, target)
        for event in _changed_lines(path, target, session_id, is_whole_file=is_whole_file):
            hit = True
            lines.note(event)
        if hit:
            lines.files.append(path)
    names_by_part = _names_by_part(session)
    for part, file, line in sealed_lines(part for part in read_parts(session) if part.name in names_by_part):
        if file not in names_by_part[part.name]:
            continue  # its log file exists and is read itself
        is_whole_file = is_whole(session, session / file, target)
        verdict = target.judge(line, session_id, is_whole_file=is_whole_file)
        if verdict.kept is not line:
            lines.note(verdict.event)
        if part.name not in lines.parts and (verdict.kept is not line or _is_named(part, target)):
            lines.parts.append(part.name)
    return lines


def _names_by_part(session: Path) -> dict[str, set[str]]:
    """{part: names of its files that were removed}."""
    names: dict[str, set[str]] = {}
    for part, segment in segments_only_archived(session, read_parts(session)):
        names.setdefault(part.name, set()).add(segment.file)
    return names


def _is_named(part: Part, target: Target) -> bool:
    """Return whether the session's description contains the target."""
    return any(
        (target.kind == AGENT and segment.agent_id == target.value)
        or target.is_named_by(f"{segment.agent_id or ''}\n{segment.file}")
        for segment in part.segments
    )


def open_parts(session: Path, lines: MatchingLines) -> tuple[bool, list[Path]]:
    """Drop the parts with lines to erase; if a part replaces its log files, they are restored first.

    Returns:
        Whether there were any, and the restored files.

    Raises:
        DamagedInput: a part cannot be read; it is as it was.
        OSError: its files cannot be written.
    """
    going = {path.relative_to(session).as_posix() for path in lines.files}
    is_any, restored = False, []
    names_by_part = _names_by_part(session)
    for part in read_parts(session):
        if part.name in lines.parts or any(segment.file in going for segment in part.segments):
            if files := names_by_part.get(part.name, set()):
                unseal(session, only=[part], files=files)
                restored += [each.path_in(session) for each in part.segments if each.file in files]
            drop_part(part)
            is_any = True
    return is_any, restored


def is_whole(session: Path, path: Path, target: Target) -> bool:
    """Return whether a whole file is erased, including damaged lines: that of an erased run or agent."""
    if target.kind == AGENT and path.parent == agents_dir(session):
        name = parse_file_name(path.name)
        return name is not None and name.stem == safe_name(target.value)
    return path.parent.parent == runs_dir(session) and path.parent.name in target.run_dirs


def enter(session: Path, lines: MatchingLines) -> None:
    """Enter the lines to erase into the account of the session.

    Raises:
        DamagedInput: the account cannot be read, so nothing may be removed.
        OSError: it cannot be written.
    """
    account = read_account(session)
    added = 0
    for writer, seq, reason, count in lines.dropped:
        seen_numbers = account.numbers.get(writer)
        if seen_numbers is None or seq not in seen_numbers:
            account.dropped[reason] += count
    for writer, numbers in lines.numbers.items():
        seen_numbers = account.numbers.setdefault(writer, SeqSet())
        before = len(seen_numbers)
        seen_numbers.update(numbers)
        added += len(seen_numbers) - before
    for writer, last in lines.closed.items():
        account.closed[writer] = max(account.closed.get(writer, 0), last)
    if added:
        account.events += added
        account.reasons[ERASED] += added
        write_account(session, account)


def rewrite(path: Path, judge: Callable[[bytes], bytes | None], forms: ByteForms) -> None:
    """Remove lines from a file, which is replaced atomically, or deleted if nothing remains.

    Args:
        path: the file; its modification time is preserved.
        judge: returns what remains of a line, or of the beginning of an overlong one.
        forms: an overlong line that contains one of them is removed.

    Raises:
        OSError: it cannot be read or replaced; it is as it was.
    """
    status = path.lstat()
    batches = _remaining_batches(path, judge, forms)
    first = next(batches, None)
    if first is None:
        path.unlink()
        return
    with replacing(path) as file:
        file.write(first)
        file.writelines(batches)
        file.flush()
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def _remaining_batches(
    path: Path, judge: Callable[[bytes], bytes | None], forms: ByteForms
) -> Iterator[bytes]:
    batch: list[bytes] = []
    for raw in lines_of(path):
        verdict = judge(raw.line)
        if verdict is None or _long_line_holds(raw, forms):
            continue
        # Do not complete the torn last line of a killed program: a newline would turn it into a damaged line.
        end = b"\n" if raw.complete else b""
        if raw.left_out_bytes:
            yield b"".join(batch)
            batch = []
            yield from _line_chunks(raw)
            yield end
            continue
        batch.append(verdict + end)
        if len(batch) == _BATCH_LINES:
            yield b"".join(batch)
            batch = []
    if batch:
        yield b"".join(batch)


def drop_cursor_entries(session: Path, files: Iterable[Path]) -> None:
    """Make followers of the session read the rewritten files from the beginning.

    Called before files are rewritten, which invalidates the positions in them.
    """
    first_ids = {first for path in files if (first := first_id(path)) is not None}
    for path in entries_in(cursors_dir(session), ".json"):
        try:
            stored = orjson.loads(read_file(path))
            entries = list(stored["files"])
            remaining = [entry for entry in entries if entry["first_id"] not in first_ids]
        except (ValueError, TypeError, KeyError):
            continue  # its user reports the damage and reads from the beginning
        if len(remaining) < len(entries):
            replace_file(path, orjson.dumps({**stored, "files": remaining}, option=orjson.OPT_APPEND_NEWLINE))


def settle_torn_tails(session: Path) -> None:
    """Update the positions of torn lines in the recovery's account, and drop those of erased lines.

    Raises:
        DamagedInput, OSError: it cannot be read or written.
    """
    recovery = read_recovery(session)
    settled: list[TornTail] = []
    by_file: dict[str, list[TornTail]] = {}
    for tail in recovery.torn_tails:
        by_file.setdefault(tail.file, []).append(tail)
    sealed = {each.file for _, each in segments_only_archived(session, read_parts(session))}
    for file, tails in by_file.items():
        # Files that exist only in the archive were not rewritten.
        is_archived = file in sealed and not (session / file).exists()
        settled += tails if is_archived else _matches_left(session / file, tails)
    if settled != recovery.torn_tails:
        write_recovery(session, Recovery(recovery.recovered_at, recovery.writers, settled))


def _matches_left(path: Path, tails: list[TornTail]) -> Iterator[TornTail]:
    if not path.exists():
        return
    sizes = Counter(tail.size_bytes for tail in tails)
    waiting = sorted(tails, key=lambda tail: tail.line_number)
    for raw in lines_of(path):
        size_bytes = len(raw.line) + raw.left_out_bytes
        if sizes[size_bytes] and not is_event(raw):
            match = next((tail for tail in waiting if tail.size_bytes == size_bytes), None)
            if match is not None and raw.number <= match.line_number:
                waiting.remove(match)
                sizes[size_bytes] -= 1
                yield TornTail(match.file, raw.number, raw.offset, size_bytes, match.writer)


def refuse_damaged_account(session: Path) -> None:
    """Raise DamagedInput, before anything is erased, if an account of the session cannot be read."""
    try:
        read_account(session)
        read_recovery(session)
    except DamagedInput as error:
        raise DamagedInput(error.message, path=error.path, remedy="nothing was erased") from None


ERASED_TEXT: Final = "[erased]"
"""Replaces an erased value in a description."""


def find_artifacts(session: Path, target: Target) -> Iterator[ErasedArtifact]:
    """Yield the artifacts that contain the value, or whose names do."""
    for run in _directories(runs_dir(session)) if target.kind == MATCH else ():
        base = artifacts_dir(session, run.name)
        for path in files_below(base):
            name = path.relative_to(base).as_posix()
            if target.is_named_by(name) or holds(path, target):
                yield ErasedArtifact(session_id_of(session), run.name, name)


def remove_artifacts(session: Path, artifacts: Iterable[ErasedArtifact]) -> None:
    """Remove artifacts of a session; OSError if one cannot be removed."""
    for artifact in artifacts:
        base = artifacts_dir(session, artifact.run_dir)
        path = base.joinpath(*artifact.path.split("/"))
        # The path is recorded data, so nothing outside the run's own directory is touched.
        if ".." in path.parts or not path.resolve().is_relative_to(base.resolve()):
            continue
        if path.is_file() and not path.is_symlink():
            path.unlink()
        _remove_empty(path.parent, base)


def _remove_empty(directory: Path, base: Path) -> None:
    """Remove the empty directories of an artifact's path."""
    while directory != base and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent


def sweep_blobs(session: Path) -> None:
    """Remove blobs without other names, and partly written files of killed processes."""
    for path in files_below(blobs_dir(session)):
        if path.name.endswith(".new") or path.lstat().st_nlink == 1:
            path.unlink()


_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


def find_replays(session: Path, target: Target) -> list[Path]:
    """Return the replay directories that contain the target; replays can be repeated."""
    replays = []
    for run in _directories(runs_dir(session)):
        for replay in _directories(run / "replays"):
            files = files_below(replay)
            if target.kind != MATCH:
                hit = any(not target.names.isdisjoint(_TEXTS.findall(read_file(path))) for path in files)
            else:
                hit = any(holds(path, target) for path in files) or target.is_named_by(replay.name)
            if hit:
                replays.append(replay)
    return replays


def remove_runs(session: Path, target: Target) -> None:
    """Remove the directories of erased runs; for a value, those whose names contain it."""
    for run in _directories(runs_dir(session)):
        named = target.kind == MATCH and target.is_named_by(run.name)
        if run.name in target.run_dirs or named:
            delete_tree(run)


def remove_leftovers(session: Path) -> None:
    """Remove temporary files, replaced originals left by ended processes, and the index of the pages."""
    for path in files_below(session):
        name = path.name
        if (name.startswith(".") and name.endswith(".new")) or name.startswith("index.sqlite.damaged"):
            path.unlink(missing_ok=True)
    left = entries_in(archive_dir(session), ".erasing", ".")
    left.append(view_dir(session))
    left += entries_in(session / ".state", beginning="spill-")
    left += [path for run in run_dirs(session) for path in entries_in(run, ".removed", "checkpoints.")]
    for path in left:
        delete_tree(path)


def scrub(session: Path, target: Target) -> bool:
    """Remove the target from the descriptions of a session; returns whether any file changed.

    Raises:
        DamagedInput: one of them is not JSON.
        OSError: one of them cannot be replaced.
    """
    paths = [session_file(session), recovered_file(session)]
    for directory in (claims_dir(session), cursors_dir(session)):
        paths += entries_in(directory, ".json")
    changed = [_scrub_file(path, target) for path in paths if path.exists()]
    return any(changed)


def _scrub_file(path: Path, target: Target) -> bool:
    try:
        stored = orjson.loads(read_file(path))
    except orjson.JSONDecodeError as error:
        raise DamagedInput(
            f"it cannot be read, so nothing can be erased from it: {error}",
            path=path,
            remedy="repair or remove it, and erase again",
        ) from None
    clean = _without_value(stored, target) if target.kind == MATCH else _without_names(stored, target)
    if clean == stored:
        return False
    replace_file(path, orjson.dumps(clean, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return True


def _without_value(value: Any, target: Target) -> Any:
    if isinstance(value, dict):
        return {_without_value(key, target): _without_value(item, target) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_value(item, target) for item in value]
    if isinstance(value, str):
        plain = value.replace(target.value, ERASED_TEXT)
        return plain if target.forms.find_in_text(plain) is None else ERASED_TEXT
    if value is not None and not isinstance(value, bool) and target.is_named_by(orjson.dumps(value).decode()):
        return 0
    return value


def _without_names(stored: Any, target: Target) -> Any:
    """A description without the agent's replay target and its spans that were open at a crash."""
    if not isinstance(stored, dict):
        return stored
    clean = dict(stored)
    if target.kind == AGENT and isinstance(clean.get("targets"), dict):
        clean["targets"] = {key: item for key, item in clean["targets"].items() if key != target.value}
    if isinstance(clean.get("writers"), dict):
        clean["writers"] = {
            writer: _without_spans(account, target) for writer, account in clean["writers"].items()
        }
    return clean


def _without_spans(account: Any, target: Target) -> Any:
    if not isinstance(account, dict) or "open_spans" not in account:
        return account
    remaining = [
        span
        for span in account["open_spans"]
        if not (target.kind == AGENT and span.get("agent_id") == target.value)
        and not target.is_named_by(str(span.get("name")))
    ]
    return {**account, "open_spans": remaining}


def _directories(parent: Path) -> list[Path]:
    return [path for path in entries_in(parent) if path.is_dir() and not path.is_symlink()]


def erase_checkpoints(session: Path, target: Target, *, dry_run: bool = False) -> int:
    """Remove the checkpoints to erase, and leftovers of killed removals; returns the number of checkpoints.

    Raises:
        NotErased: one of them cannot be read, so it may contain the value.
        OSError, DamagedInput: something cannot be opened or written; earlier removals stay done.
    """
    count = 0
    unreadable = []
    for directory in saved_runs(session):
        with _opened(session, directory) as run:
            rows = run.index.rows(removed=None)
            is_named = target.kind == MATCH and target.is_named_by(run.run_id)
            is_begun = run.index.fact(REMOVED_FACT) is not None
            if is_named or is_begun or directory.parent.name in target.run_dirs:
                unreadable.append(run.run_id)
                count += len(rows)
                continue
            numbers = set(_going(run, rows, target))
            count += len(numbers)
            if not dry_run and remove(run, [row for row in rows if row.number in numbers]) != Removed():
                run.index.shrink(vacuum=True)
    if not dry_run:
        with LocalCheckpointStore(session, redactor=Redactor(b"")) as store:
            for run_id in unreadable:
                # Opening a run whose removal was interrupted finishes that removal.
                with contextlib.suppress(RunNotFound):
                    store.delete_checkpoints(run_id)
        remove_unshared(shared_chunks_dir(session))
    return count


@contextlib.contextmanager
def _opened(session: Path, directory: Path) -> Iterator[RunCheckpoints]:
    """Open one run's checkpoints for the block."""
    run = RunCheckpoints(directory, shared_chunks_dir(session), make=False)
    try:
        yield run
    finally:
        run.close()


def _going(run: RunCheckpoints, rows: list[Row], target: Target) -> Iterator[int]:
    if target.kind == AGENT:
        yield from (row.number for row in rows if row.agent_id == target.value and not row.removed)
        rows = [row for row in rows if row.agent_id is None]
    elif target.kind != MATCH:
        return
    chains: dict[int, list[Row]] = {}
    for row in rows:
        chains.setdefault(row.chain, []).append(row)
    for chain in chains.values():
        yield from _matching(run, sorted(chain, key=lambda row: row.position), target)


def _matching(run: RunCheckpoints, chain: list[Row], target: Target) -> Iterator[int]:
    """The rows of a chain whose document or columns contain the value; for an agent, also the run's."""
    try:
        for row, value in zip(chain, run.documents(chain), strict=True):
            if row.removed:
                continue
            if target.kind == AGENT:
                state = value.get("state") if isinstance(value, dict) else None
                if isinstance(state, dict) and target.value in state:
                    yield row.number
                continue
            row_json = orjson.dumps({name: getattr(row, name) for name in Row.__slots__})
            if target.forms.find(orjson.dumps(value)) is not None or target.forms.find(row_json) is not None:
                yield row.number
    except (DamagedInput, FileNotFoundError) as error:
        raise NotErased(
            f"a checkpoint of run {run.run_id!r} cannot be read, so it cannot be searched",
            path=getattr(error, "path", None) or getattr(error, "filename", None),
            remedy="restore it from a copy, or delete the checkpoints of that run, and erase again",
        ) from error


_TEXT: Final = ".text"
_HEADER: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ID_AT_END: Final = re.compile(rb"\(([a-z2-7]{8}-[0-9]+)\)\Z")


def erase_from_mirrors(root: Path, target: Target, *, dry_run: bool = False) -> int:
    """Erase lines from every mirror; returns their number, without those of the text mirrors.

    Text mirrors are rewritten first, because the ids in the JSON mirrors identify the entries to erase.

    Raises:
        OSError: one of them cannot be read or replaced.
    """
    ids: set[bytes] = set()
    counts: Counter[Path] = Counter()
    for path in _mirrors(root, twins=False):
        for event in _changed_lines(path, target, ""):
            counts[path] += 1
            if event is not None:
                ids.add(event.id.encode())
    if not dry_run:
        for path in _mirrors(root, twins=True):
            if _twin_holds(path, target, ids):
                rewrite(path, _EntryJudge(target, ids).kept, target.forms)
        for path in counts:
            rewrite(path, lambda line: target.judge(line, "").kept, target.forms)
    return counts.total()


def _mirrors(root: Path, *, twins: bool) -> Iterator[Path]:
    """Return every JSON mirror, or every text mirror, with its backups."""
    for category, name in MIRROR_FILES.items():
        live = root / name
        for path in entries_in(live.parent, beginning=live.name) if category.endswith(_TEXT) == twins else ():
            number = path.name.removeprefix(live.name)
            if path.is_file() and not path.is_symlink() and (not number or number[1:].isdigit()):
                yield path


def _twin_holds(path: Path, target: Target, ids: set[bytes]) -> bool:
    judge = _EntryJudge(target, ids)
    return any(judge.kept(raw.line) is None or _long_line_holds(raw, target.forms) for raw in lines_of(path))


class _EntryJudge:
    """Judges the lines of a text twin: an entry is a line that begins with a time, and the lines below it.

    If the value is only below the first line of an entry, only the lines that contain it are erased.
    """

    def __init__(self, target: Target, ids: set[bytes]) -> None:
        self._target = target
        self._ids = ids
        self._drops_entry = False

    def kept(self, line: bytes) -> bytes | None:
        """What remains of the next line."""
        if _HEADER.match(line):
            self._drops_entry = self._drops_header(line)
        holds = self._target.kind == MATCH and self._target.forms.find(line) is not None
        return None if self._drops_entry or holds else line

    def _drops_header(self, line: bytes) -> bool:
        match = _ID_AT_END.search(line)
        if match is not None and match[1] in self._ids:
            return True
        return self._target.kind == AGENT and f" [{self._target.value}] ".encode() in line
