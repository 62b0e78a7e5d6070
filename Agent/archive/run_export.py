"""Exports a run, or a whole session as it is, to one file for another machine.

The file is a zip of a session with a manifest of members and digests; the same run always gives the same
bytes. A run is exported with its events, artifacts, checkpoints and nested runs. A bundle of a session
contains each log file byte by byte, with the digests made during recording. `run_import` imports both and
validates everything in the file.
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import orjson

from Agent.archive.recover import held_claim, refuse_unrecovered
from Agent.archive.sealed.parts import read_parts, segments_only_archived
from Agent.archive.sealed.reader import open_reader, unseal
from Agent.errors import DamagedInput, RunNotFound, SessionInUse, UsageError
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.kinds import Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.flight.checkpoints.files import PACK_SUFFIX
from Agent.flight.run_reading import RunRef, read_run
from Agent.record.emit.context import states_of
from Agent.tree.files.lines import chunks_of
from Agent.tree.files.session import give_name, naming, open_session
from Agent.tree.layout import (
    CATEGORY_FILES,
    FILE_MODE,
    FORKED,
    NO_FOLLOW,
    RESUMED,
    category_file,
    chains_dir,
    entries_in,
    files_below,
    open_private,
    parse_file_name,
    recovered_file,
    retired_file,
    run_dir,
    run_ids,
    safe_name,
    session_id_of,
    tree_files,
)
from Agent.tree.retention import living_writers
from Agent.tree.write.artifacts import ARTIFACT_SCHEME, ROOT_RUN, artifacts_dir, new_hash

FORMAT: Final = "agent-trace run"
PACKAGE_VERSION: Final = 1
BUNDLE_VERSION: Final = 2
"""The version of a bundle; earlier programs, which only support runs, reject it."""
MANIFEST: Final = "manifest.json"
_PART: Final = re.compile(r"(?!\.)[A-Za-z0-9_.~@\-]{1,160}")
_PACK: Final = re.compile(r"[0-9a-f]{1,32}-[0-9]{1,9}\.jsonl\.zst")
_CHUNK: Final = re.compile(r"[0-9a-f]{32}\.json\.zst")
_CHAIN: Final = re.compile(r"[a-z2-7]{8}\.jsonl")
_STATE: Final = ".state"
_MAX_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a package."""

    schema_version: int
    session_id: str
    session_uid: str
    run_id: str | None
    """None for a session's root run, which includes all runs."""
    runs: tuple[str, ...]
    """The runs in it, without the root run."""
    members: Mapping[str, tuple[int, str]]
    """By path: size in bytes, and BLAKE2b (32 bytes) in hexadecimal."""
    is_bundle: bool = False
    """Whether it is a whole session with its log files as they are."""

    def to_bytes(self) -> bytes:
        """Return the manifest as bytes."""
        stored = {
            "format": FORMAT,
            "version": BUNDLE_VERSION if self.is_bundle else PACKAGE_VERSION,
            "schema_version": self.schema_version,
            "session_id": self.session_id,
            "session_uid": self.session_uid,
            "run_id": self.run_id,
            "runs": self.runs,
            "members": {path: list(member) for path, member in sorted(self.members.items())},
        }
        return orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def artifact_member(event: Event) -> str:
    """Return the member name of an `artifact.saved` event's file."""
    ref = str(event.extra.get("ref"))
    return f"runs/{event.run_id or ROOT_RUN}/artifacts/{ref.removeprefix(ARTIFACT_SCHEME)}"


def wrong_artifact(event: Event, members: Mapping[str, tuple[int, str]]) -> str | None:
    """Return the member of an `artifact.saved` event if it exists and differs from what was saved."""
    if event.kind != "artifact.saved":
        return None
    name = artifact_member(event)
    digest = event.extra.get("digest")
    return name if name in members and isinstance(digest, str) and members[name][1] != digest else None


def is_member_path(path: str, run_dirs: set[str], *, is_bundle: bool = False) -> bool:
    """Return whether a package of these runs may contain a path; other paths are never written.

    Args:
        path: of the member.
        run_dirs: the names of the runs' directories.
        is_bundle: whether it is a bundle, which also has segments, digests of lines, and replays.
    """
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or not is_plain(parts):
        return False
    match parts:
        case ["session.json"]:
            return True
        case [name]:
            return _log_stem(name, ".log", is_bundle=is_bundle) in CATEGORY_FILES
        case ["agents", name]:
            return _log_stem(name, ".log", is_bundle=is_bundle) is not None
        case ["runs", run, *below] if run in run_dirs:
            return _is_of_run(run, below, is_bundle=is_bundle)
        case [".state", "retired.json" | "recovered.json"]:
            return is_bundle
        case [".state", "chain", name]:
            return is_bundle and _CHAIN.fullmatch(name) is not None
    return False


def _is_of_run(run: str, parts: list[str], *, is_bundle: bool) -> bool:
    """Return whether a package may contain a path in the directory of a run."""
    match parts:
        case [name]:
            return run != ROOT_RUN and _log_stem(name, ".jsonl", is_bundle=is_bundle) == "events"
        case ["artifacts", *below]:
            return bool(below) and not any("@" in part for part in below)
        case ["checkpoints", name]:
            return _PACK.fullmatch(name) is not None
        case ["checkpoints", "chunks", name]:
            return _CHUNK.fullmatch(name) is not None
        case ["replays", _, "report.json"]:
            return is_bundle
    return False


def _log_stem(name: str, suffix: str, *, is_bundle: bool) -> str | None:
    """Return the stem of a log file's name; None for another name, and for a segment outside of a bundle."""
    parsed = parse_file_name(name) if name.endswith(suffix) else None
    is_allowed = parsed is not None and (is_bundle or parsed[1:] == (None, None))
    return parsed.stem if parsed is not None and is_allowed else None


def is_plain(parts: list[str]) -> bool:
    """Return whether no part of a path leads outside or is hidden; only `.state` may begin with a dot."""
    return all(map(_PART.fullmatch, parts[1:] if parts[0] == _STATE else parts))


_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
_OPEN_FILES: Final = 48
_BIG_BYTES: Final = 1 << 31
_SHARED_FIELDS: Final = ("session_id", "session_uid", "python", "versions", "started_at", "ended_at")
BUNDLED_FIELDS: Final = ("recovered_at", FORKED, RESUMED)
"""Further fields of the description that a bundle has."""


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """The result of an export."""

    path: Path
    run_id: str | None
    runs: tuple[str, ...]
    events: int
    members: int
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"path": str(self.path)}


def export_run(
    ref: RunRef, path: str | os.PathLike[str], *, only: Callable[[Event], bool] | None = None
) -> ExportedRun:
    """Export one run, with the runs started within it, to a new file.

    The file contains the events of these runs, the code that ran in them, and the session's ids and times,
    but not the host, command line, settings or replays.

    Args:
        ref: the run, as returned by `find_run`; the root run exports the whole session.
        path: path of the file, which must not exist.
        only: which events to export; if given, only their artifacts and no checkpoints are included.

    Raises:
        UsageError: the file exists, or the run is narrowed to one agent.
        RunNotFound: the run has no events.
        SessionInUse: a process still records the run, or writes checkpoints of it.
        DamagedInput: an artifact differs from what was saved.
        OSError: it cannot be written; no file is left under its name.
    """
    target = Path(path)
    with _packing(target) as (aside, directory):
        if ref.agent_id is not None:
            message = "one agent's part of a run cannot be exported"
            raise UsageError(message, remedy="name the run or the session")
        runs = _runs_of(ref)
        _refuse_if_open(ref, runs)
        written = _Lines(directory)
        events, saved = _gather(ref, runs, written, only)
        members = dict(written.close())
        if only is not None:
            runs = tuple(run for run in runs if f"runs/{safe_name(run)}/events.jsonl" in members)
        saved_members = None if only is None else set(map(artifact_member, saved))
        for run in (*runs, *([ROOT_RUN] if ref.run_id is None else [])):
            # Files that the user put there under other names are not exported.
            members.update(
                each
                for each in _files_of(ref.session, run)
                if is_member_path(each[0], {run}) and (saved_members is None or each[0] in saved_members)
            )
        manifest = _write(aside, members, ref, runs)
        _refuse_damaged(ref.session, saved, manifest)
    return ExportedRun(target, ref.run_id, runs, events, len(manifest.members), target.stat().st_size)


def export_bundle(session: Path, path: str | os.PathLike[str]) -> ExportedRun:
    """Export a whole session to a new file, with its log files byte by byte.

    Sealed segments whose log files were removed are restored for it. In addition to the content that
    `export_run` writes for a root run, it has the digests made during recording, so that `verify` works on it
    elsewhere, the account of removed events, replays, and the session's origin if it is a fork. It has no
    host, command line, settings or targets.

    Args:
        session: the session's directory.
        path: path of the file, which must not exist.

    Raises:
        UsageError: the file exists, or the session's program was killed and it was not recovered.
        SessionNotFound: the session does not exist.
        SessionInUse: a process still records it, or writes checkpoints of it.
        DamagedInput: an artifact differs from what was saved, or a file does not have the name of a log file.
        OSError: it cannot be written; no file is left under its name.
    """
    target, ref = Path(path), RunRef(session, None)
    with _packing(target) as (aside, directory):
        runs = _runs_of(ref)
        _refuse_if_open(ref, runs)
        refuse_unrecovered(session)
        scan = open_reader(session).scan({"artifact.saved"})
        saved = list(scan)
        events = sum(writer.read for writer in scan.losses.writers)
        if not events:
            raise RunNotFound("the session has no events", path=session)
        members = _as_they_are(session, (*runs, ROOT_RUN), directory)
        manifest = _write(aside, members, ref, runs, is_bundle=True)
        _refuse_damaged(session, saved, manifest)
    return ExportedRun(target, None, runs, events, len(manifest.members), target.stat().st_size)


def _as_they_are(session: Path, runs: tuple[str, ...], directory: Path) -> dict[str, Path]:
    """Return the files of a bundle by member name; sealed ones are restored below `directory`."""
    members = {path.relative_to(session).as_posix(): path for path in tree_files(session)}
    sealed_segments = segments_only_archived(session, read_parts(session))
    for part in {part.name: part for part, _ in sealed_segments}.values():
        segments = {segment.file: segment for other, segment in sealed_segments if other.name == part.name}
        below = directory / part.name
        for path in unseal(session, below, only=[part], files=segments.keys()):
            name = path.relative_to(below).as_posix()
            # another writer may have taken the name of a removed file
            members[name if name not in members else str(segments[name].beside)] = path
    for name in members:
        if not is_member_path(name, set(runs), is_bundle=True):
            raise DamagedInput(
                "no recording gives a log file this name", path=session / name, remedy="move it elsewhere"
            )
    paths = [retired_file(session), recovered_file(session), *entries_in(chains_dir(session), ".jsonl")]
    for run in runs:
        members.update(_files_of(session, run))
        paths += files_below(run_dir(session, run) / "replays")
    members.update((path.relative_to(session).as_posix(), path) for path in paths if path.is_file())
    # files that the user put there are not exported
    return {name: path for name, path in members.items() if is_member_path(name, set(runs), is_bundle=True)}


@contextmanager
def _packing(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (a file, a directory for its parts); afterwards the file is renamed to the target, if free."""
    is_there = UsageError("the file already exists", path=target, remedy="remove it, or choose another name")
    if target.exists():
        raise is_there
    aside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with tempfile.TemporaryDirectory(prefix="agent-trace-export-") as directory:
            yield aside, Path(directory)
        give_name(aside, aside, target)
    except FileExistsError:
        raise is_there from None
    finally:
        aside.unlink(missing_ok=True)


def _runs_of(ref: RunRef) -> tuple[str, ...]:
    """Return the runs to export: the run and those started within it, at any depth."""
    existing = run_ids(ref.session)
    if ref.run_id is None:
        return tuple(existing)
    if ref.run_id not in existing:
        raise RunNotFound(f"no run {ref.run_id!r}", path=ref.session)
    nested = open_reader(ref.session).begun_in({ref.run_id})
    return tuple(run for run in existing if run in nested)


def _refuse_if_open(ref: RunRef, runs: tuple[str, ...]) -> None:
    open_ones = [run for run in runs if read_run(RunRef(ref.session, run)).summary.state == "running"]
    if open_ones or (ref.run_id is None and living_writers(ref.session)):
        raise SessionInUse(
            "a process still records it", path=ref.session, remedy="export it after the run has ended"
        )
    claim = held_claim(run_dir(ref.session, run) for run in (*runs, ROOT_RUN))
    if claim is not None:
        remedy = "export it after the process has ended"
        raise SessionInUse("a process writes checkpoints of it", path=claim, remedy=remedy)


class _Lines:
    """The log files of the package while they are written; only a few are open at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._names: dict[str, Path] = {}

    def add(self, name: str, line: bytes) -> None:
        """Append a line to a file."""
        file = self._open.get(name)
        if file is None:
            path = self._names.setdefault(name, self._directory / str(len(self._names)))
            file = self._open[name] = path.open("ab")
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        file.write(line)

    def close(self) -> dict[str, Path]:
        """Close all files; returns them by their names in the package."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        return self._names


def _refuse_damaged(session: Path, saved: list[Event], manifest: Manifest) -> None:
    """Raise DamagedInput if an exported artifact differs from what was saved: the import would refuse it."""
    for event in saved:
        wrong = wrong_artifact(event, manifest.members)
        if wrong is not None:
            raise DamagedInput(
                "the artifact was changed",
                path=session.joinpath(*wrong.split("/")),
                remedy="restore it from a copy, or remove it to export the run without it",
            )


def _gather(
    ref: RunRef,
    runs: tuple[str, ...],
    written: _Lines,
    only: Callable[[Event], bool] | None,
) -> tuple[int, list[Event]]:
    """Write the events of the runs to the package; return their number, and the `artifact.saved` events."""
    reader = open_reader(ref.session)
    wanted_ids = set(runs)
    codes: set[str | None] = set()
    states: set[str] = set()
    saved: list[Event] = []
    events = 0
    for event in reader.events():
        if only is not None and not only(event):
            continue
        if ref.run_id is None or event.run_id in wanted_ids:
            written.add(file_of(event), encode_event(_without_path(event)))
            codes.add(event.code)
            states |= states_of(event.extra)
            if event.kind == "artifact.saved":
                saved.append(event)
            events += 1
    if ref.run_id is not None:
        for event in reader.events(kinds={"code", "source.state"}):
            digest = event.extra.get("digest")
            is_code = isinstance(digest, str) and digest in codes
            is_needed = event.id in states if event.kind == "source.state" else is_code
            if event.run_id not in wanted_ids and is_needed:
                written.add(file_of(event), encode_event(_without_path(event)))
                events += 1
    return events, saved


def _without_path(event: Event) -> Event:
    """Return a `code` event without the path of its file, which names directories of this machine's user."""
    if event.kind != "code" or "file" not in event.extra:
        return event
    extra = {key: value for key, value in event.extra.items() if key != "file"}
    types = {at: tag for at, tag in (event.types or {}).items() if at != "/extra/file"}
    return replace(event, extra=extra, types=types or None)


def file_of(event: Event) -> str:
    """Return the session file of an event."""
    kind = KINDS.get(event.kind)
    if kind is not None and kind.home is Home.RUN and event.run_id is not None:
        return f"runs/{safe_name(event.run_id)}/events.jsonl"
    if event.agent_id is not None:
        return f"agents/{safe_name(event.agent_id)}.log"
    if kind is None or event.kind == "log":
        first = event.logger.partition(".")[0]
        stem = first if first in CATEGORY_FILES else "system"
    else:
        stem = category_file(str(kind.category))
    return f"{stem}.log"


def _files_of(session: Path, run: str) -> Iterator[tuple[str, Path]]:
    """Yield a run's artifacts and checkpoints by member name; the import rebuilds the index."""
    base = artifacts_dir(session, run)
    for path in files_below(base):
        yield f"runs/{run}/artifacts/{path.relative_to(base).as_posix()}", path
    checkpoints = run_dir(session, run) / "checkpoints"
    for path in entries_in(checkpoints, PACK_SUFFIX):
        yield f"runs/{run}/checkpoints/{path.name}", path
    for path in entries_in(checkpoints / "chunks", ".json.zst"):
        yield f"runs/{run}/checkpoints/chunks/{path.name}", path


def _write(
    aside: Path, members: dict[str, Path], ref: RunRef, runs: tuple[str, ...], *, is_bundle: bool = False
) -> Manifest:
    info = open_session(ref.session)
    stored = info.to_object()
    names = (*_SHARED_FIELDS, *BUNDLED_FIELDS) if is_bundle else _SHARED_FIELDS
    shared = {name: stored[name] for name in names if name in stored}
    description = orjson.dumps(shared, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    described: dict[str, tuple[int, str]] = {}
    fd = open_private(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW)
    with naming(aside), os.fdopen(fd, "w+b") as file:
        with zipfile.ZipFile(file, "w") as package:
            described["session.json"] = _add(package, "session.json", iter([description]), len(description))
            for name, path in sorted(members.items()):
                described[name] = _add(package, name, chunks_of(path), path.stat().st_size)
            session_id = session_id_of(ref.session)
            manifest = Manifest(
                CURRENT_SCHEMA, session_id, info.session_uid, ref.run_id, runs, described, is_bundle
            )
            data = manifest.to_bytes()
            _add(package, MANIFEST, iter([data]), len(data))
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _add(package: zipfile.ZipFile, name: str, chunks: Iterator[bytes], size_bytes: int) -> tuple[int, str]:
    """Write one member; returns its size and digest."""
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".zst") else zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = (0o100000 | FILE_MODE) << 16
    info.file_size = size_bytes
    hasher, written = new_hash(), 0
    with package.open(info, "w", force_zip64=size_bytes >= _BIG_BYTES) as member:
        for chunk in chunks:
            hasher.update(chunk)
            written += len(chunk)
            member.write(chunk)
    return written, hasher.hexdigest()
