"""Join the sessions in which several hosts recorded one simulation into one new session.

Events keep their ids, so losses can still be counted by writer. If a host's clock was behind the times in the
messages it received (`hlc`, see `record/messages.py`), all of its times are moved forward by that difference,
so that effects follow their causes. The original sessions are not changed and keep their chains of digests,
which prove the original lines.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from Agent.archive.sealed.reader import ArchiveLines, open_reader
from Agent.errors import InputError, SessionInUse, UsageError
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.record.user_key import sign_targets, signed_targets
from Agent.tree.files.lines import first_id, read_lines
from Agent.tree.files.session import SessionInfo, create_session, open_session, update_session
from Agent.tree.layout import (
    agents_dir,
    boards_dir,
    claims_dir,
    entries_in,
    files_below,
    inode_at,
    log_files,
    make_private,
    open_file,
    open_private,
    parse_file_name,
    read_file,
    runs_dir,
)
from Agent.tree.read.reader import write_summary
from Agent.tree.read.removal_logs import (
    Recovery,
    RetiredAccount,
    read_account,
    read_recovery,
    write_account,
    write_recovery,
)
from Agent.tree.retention import living_writers

_HLC: Final = re.compile(rb',"hlc":[0-9]{1,17}')
_TIME: Final = slice(len('{"timestamp":"'), len('{"timestamp":"2026-11-20T10:30:45.123456Z'))


@dataclass(slots=True)
class Merged:
    """The result of `merge_sessions`."""

    session: Path
    sources: list[dict[str, Any]] = field(default_factory=list)
    """For each session: session_id, session_uid, host, path, shifted_us, renamed (files)."""
    lost: int = 0
    unknown: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "session_id": self.session.name.removeprefix("session_"),
            "path": str(self.session),
            "sources": self.sources,
            "lost": self.lost,
            "unknown": self.unknown,
        }


def merge_sessions(sessions: Sequence[Path], root: Path) -> Merged:
    """Merge several sessions, in order of their start, into a new one under a root.

    Raises:
        UsageError: fewer than two different sessions.
        SessionInUse: one of them is still recorded.
        InputError: one cannot be read, or two have different files with the same name.
    """
    infos = sorted(
        {open_session(path).session_uid: (open_session(path), path.resolve()) for path in sessions}.values(),
        key=lambda pair: (pair[0].started_at, pair[0].session_uid),
    )
    if len(infos) < 2:
        raise UsageError("merge joins two or more different sessions", remedy="name each host's session")
    for _, path in infos:
        if writers := living_writers(path):
            raise SessionInUse(
                f"the session is still recorded by process {next(iter(writers.values()))}",
                path=path,
                remedy="merge when the program has ended",
            )
    merged_dir = _created([info for info, _ in infos], root)
    try:
        return _filled(merged_dir, infos)
    except BaseException:
        shutil.rmtree(merged_dir, ignore_errors=True)
        raise


def _created(infos: Sequence[SessionInfo], root: Path) -> Path:
    ends = [info.ended_at for info in infos]
    fresh = SessionInfo.begun_now()
    targets = {name: target for info in reversed(infos) for name, target in info.targets.items()}
    signed = {name: target for info in reversed(infos) for name, target in signed_targets(info).items()}
    return create_session(
        root,
        replace(
            infos[0],
            session_uid=fresh.session_uid,
            ended_at=max(end for end in ends if end is not None) if all(ends) else None,
            targets=targets,
            target_signatures=sign_targets(fresh.session_uid, dict(signed.items() & targets.items())),
            other={},
        ),
    )


def _filled(merged_dir: Path, infos: Sequence[tuple[SessionInfo, Path]]) -> Merged:
    merged = Merged(merged_dir)
    retired, recovery = RetiredAccount(), Recovery()
    for info, path in infos:
        shifted_us = _behind_us(path)
        names = _copied_logs(path, merged_dir, shifted_us)
        _copy_state(path, merged_dir)
        _copy_runs(path, merged_dir, shifted_us)
        _add_accounts(path, names, retired, recovery)
        merged.sources.append(
            {
                "session_id": info.session_id,
                "session_uid": info.session_uid,
                "host": info.host,
                "path": str(path),
                "shifted_us": shifted_us,
                "renamed": {old: new for old, new in names.items() if old != new},
            }
        )
    if retired.numbers or retired.closed or retired.files:
        write_account(merged_dir, retired)
    if recovery.writers or recovery.torn_tails:
        write_recovery(merged_dir, recovery)
    update_session(merged_dir, other={"merged_from": merged.sources}, recovered_at=recovery.recovered_at)
    write_summary(merged_dir)
    losses = open_reader(merged_dir).losses()
    merged.lost, merged.unknown = losses.total_lost, losses.total_unknown
    return merged


def _behind_us(session: Path) -> int:
    """The maximum by which the clock of a session's host was behind the times it received."""
    most = 0
    for _, lines in _all_lines(session):
        for line in lines:
            if b',"hlc":' in line:
                most = max(most, _hlc_of(line))
    return most


def _hlc_of(line: bytes) -> int:
    try:
        return decode_line(line).hlc or 0
    except DamagedLine:
        return 0  # kept unchanged; readers count it as damaged


def _all_lines(session: Path) -> Iterator[tuple[Path, Iterable[bytes]]]:
    """Yield each log of a session with its lines: from disk, or from the archive if the file was removed."""
    present_logs = log_files(session)
    for path in present_logs:
        if (inode := inode_at(path)) is not None:
            yield path, (raw.line for raw in read_lines(path, inode))
    archive = ArchiveLines(session)
    for path in archive.files():
        if path not in present_logs:
            yield path, (raw.line for raw in archive.lines(path))


def _copied_logs(session: Path, merged_dir: Path, shifted_us: int) -> dict[str, str]:
    """Copy the logs; return their names in the new session, which differ if a name is taken."""
    logs = list(_all_lines(session))
    names = _names([path.relative_to(session).as_posix() for path, _ in logs], session, merged_dir)
    for path, lines in logs:
        target = merged_dir / names[path.relative_to(session).as_posix()]
        make_private(target.parent, exist_ok=True)
        _write(target, lines, shifted_us)
    return names


def _names(files: Sequence[str], session: Path, merged_dir: Path) -> dict[str, str]:
    """New names of files: all segments of a log are renamed if the new session already has one of them."""
    taken: dict[str, str] = {}
    for file in files:
        directory, _, base = file.rpartition("/")
        parsed = parse_file_name(base)
        if parsed is not None and (merged_dir / file).exists():
            owner = parsed.writer or _owner(session / file)
            taken[f"{directory}/{parsed.stem}@{parsed.writer}"] = owner
    names: dict[str, str] = {}
    for file in files:
        directory, _, base = file.rpartition("/")
        parsed = parse_file_name(base)
        taken_by = None if parsed is None else taken.get(f"{directory}/{parsed.stem}@{parsed.writer}")
        if parsed is None or taken_by is None:
            names[file] = file
            continue
        number = "" if parsed.segment is None else f".{parsed.segment}"
        name = f"{parsed.stem}@{taken_by}{number}{Path(base).suffix}"
        names[file] = f"{directory}/{name}" if directory else name
        if (merged_dir / names[file]).exists():
            raise InputError(
                f"another of the sessions has {names[file]} too",
                path=session,
                remedy="merge each session once, and not with a merged one that has it",
            )
    return names


def _owner(path: Path) -> str:
    """The writer of a log, by its first event."""
    if (identity := first_id(path)) is not None:
        return split_event_id(identity)[0]
    archive = ArchiveLines(path.parent.parent if path.parent.name == agents_dir(Path()).name else path.parent)
    for raw in archive.lines(path):
        return decode_line(raw.line).writer
    raise InputError("a log without events has the name of another", path=path, remedy="remove it")


def _write(target: Path, lines: Iterable[bytes], shifted_us: int) -> None:
    with _new(target) as file:
        file.writelines(_moved(line, shifted_us) + b"\n" for line in lines)


def _moved(line: bytes, shifted_us: int) -> bytes:
    """The line with its time moved to the common clock."""
    if not shifted_us or not line.startswith(b'{"timestamp":"'):
        return line
    try:
        moved = format_timestamp(parse_timestamp(line[_TIME].decode()) + shifted_us).encode()
    except ValueError:
        return line  # a damaged line has no valid time
    moved_line = line[: _TIME.start] + moved + line[_TIME.stop :]
    return (
        _HLC.sub(b"", moved_line, count=1) if b',"hlc":' in moved_line and _hlc_of(moved_line) else moved_line
    )


def _copy_state(session: Path, merged_dir: Path) -> None:
    """Copy the claims and boards, from which losses are computed."""
    for directory, target in (
        (claims_dir(session), claims_dir(merged_dir)),
        (boards_dir(session), boards_dir(merged_dir)),
    ):
        for path in entries_in(directory):
            _copy(path, target / path.name)


def _copy(path: Path, target: Path) -> None:
    make_private(target.parent, parents=True, exist_ok=True)
    descriptor, _ = open_file(path)
    with os.fdopen(descriptor, "rb") as source, _new(target) as file:
        shutil.copyfileobj(source, file)


def _new(target: Path) -> BinaryIO:
    return os.fdopen(open_private(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")


def _copy_runs(session: Path, merged_dir: Path, shifted_us: int) -> None:
    """Copy the runs; the times in their event files are moved like those of the logs."""
    for path in files_below(runs_dir(session)):
        target = runs_dir(merged_dir) / path.relative_to(runs_dir(session))
        if target.exists():
            if read_file(target) == read_file(path):
                continue
            raise InputError(
                f"the sessions have {target.relative_to(merged_dir)} in common, and it differs",
                path=session,
                remedy="give the runs of each host their own ids",
            )
        if shifted_us and path.suffix == ".jsonl" and (inode := inode_at(path)) is not None:
            make_private(target.parent, parents=True, exist_ok=True)
            _write(target, (raw.line for raw in read_lines(path, inode)), shifted_us)
        else:
            _copy(path, target)


def _add_accounts(session: Path, names: dict[str, str], retired: RetiredAccount, recovery: Recovery) -> None:
    """Add a session's accounts of lines that are no longer in its files."""
    account = read_account(session)
    account.settle(session)
    for writer, numbers in account.numbers.items():
        retired.numbers[writer] = numbers
    retired.closed |= account.closed
    retired.dropped += account.dropped
    retired.reasons += Counter(account.reasons)
    for name in ("files", "size_bytes", "events", "damaged_lines"):
        setattr(retired, name, getattr(retired, name) + getattr(account, name))
    other = read_recovery(session)
    recovery.writers |= other.writers
    recovery.torn_tails += [replace(tail, file=names.get(tail.file, tail.file)) for tail in other.torn_tails]
    recovery.recovered_at = max(filter(None, (recovery.recovered_at, other.recovered_at)), default=None)
