"""One run as one file that opens on another machine: events, artifacts, checkpoints, the runs begun in it.

The same run gives the same bytes. `run_import` is the way back; what both know of it is in `run_package`.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from Agent.archive.erase.files import chunks_of, files_below
from Agent.archive.run_package import MANIFEST, Manifest, artifact_member, is_member_path, wrong_artifact
from Agent.archive.sealed.reader import open_reader
from Agent.errors import DamagedInput, RunNotFound, SessionInUse, UsageError
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.kinds import Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.flight.checkpoints.storage.files import checkpoints_dir
from Agent.flight.checkpoints.storage.packs import PACK_SUFFIX, is_written_to
from Agent.flight.runs.reading import RunRef, read_run
from Agent.record.emit.context import states_of
from Agent.tree.files.session import open_session
from Agent.tree.layout import CATEGORY_FILES, FILE_MODE, category_file, run_dir, run_ids, safe_name
from Agent.tree.write.artifacts import ROOT_RUN, artifacts_dir, new_hash

_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
_OPEN_FILES: Final = 48
_BIG_BYTES: Final = 1 << 31
_SHARED_FIELDS: Final = ("session_id", "session_uid", "python", "versions", "started_at", "ended_at")


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """What was written."""

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
    """Write one run, with the runs begun in it, into a new file.

    Of the session go along: what it recorded in these runs, the code that ran in them, its ids and times.
    Neither host, command line and settings nor replays do.

    Args:
        ref: the run, as `find_run` gives it; of a session's root run the whole session goes along.
        path: of the file, which must not exist.
        only: which events go along; with it, of artifacts those that they tell of, and no checkpoints.

    Raises:
        UsageError: the file is there, or the run is narrowed to one agent.
        RunNotFound: nothing was recorded of the run.
        SessionInUse: a process still records the run, or writes checkpoints of it.
        DamagedInput: an artifact is not what was saved.
        OSError: it cannot be written; nothing stands under its name then.
    """
    target = Path(path)
    if target.exists():
        raise _is_there(target)
    if ref.agent_id is not None:
        raise UsageError("one agent's part of a run cannot be exported", remedy="name the run or the session")
    runs = _runs_of(ref)
    _refuse_if_open(ref, runs)
    aside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with tempfile.TemporaryDirectory(prefix="agent-trace-export-") as place:
            written = _Lines(Path(place))
            saved: list[Event] = []
            events = _gather(ref, runs, written, saved, only)
            members = dict(written.close())
            if only is not None:
                runs = tuple(run for run in runs if f"runs/{safe_name(run)}/events.jsonl" in members)
            told = None if only is None else set(map(artifact_member, saved))
            for run in (*runs, *([ROOT_RUN] if ref.run_id is None else [])):
                # What somebody put there by hand under a name that none of ours has stays there.
                members.update(
                    each
                    for each in _files_of(ref.session, run)
                    if is_member_path(each[0], {run}) and (told is None or each[0] in told)
                )
            description = _description(ref.session)
            manifest = _write(aside, members, description, ref, runs)
            _refuse_damaged(ref.session, saved, manifest)
        _give_name(aside, target)
    except FileExistsError:
        raise _is_there(target) from None
    finally:
        aside.unlink(missing_ok=True)
    return ExportedRun(target, ref.run_id, runs, events, len(manifest.members), target.stat().st_size)


def _is_there(target: Path) -> UsageError:
    return UsageError("the file already exists", path=target, remedy="remove it, or choose another name")


def _give_name(aside: Path, target: Path) -> None:
    """Put a file in place that replaces none."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system that knows no hard links
        aside.rename(target)


def _runs_of(ref: RunRef) -> tuple[str, ...]:
    """The explicit runs that go along: the run, and those begun in it, at any depth."""
    known = run_ids(ref.session)
    if ref.run_id is None:
        return tuple(known)
    if ref.run_id not in known:
        raise RunNotFound(f"no run {ref.run_id!r}", path=ref.session)
    found = open_reader(ref.session).begun_in({ref.run_id})
    return tuple(run for run in known if run in found)


def _refuse_if_open(ref: RunRef, runs: tuple[str, ...]) -> None:
    from Agent.tree.retention import living_writers

    open_ones = [run for run in runs if read_run(RunRef(ref.session, run)).summary.state == "running"]
    if open_ones or (ref.run_id is None and living_writers(ref.session)):
        raise SessionInUse(
            "a process still records it", path=ref.session, remedy="export it after the run has ended"
        )
    for run in (*runs, ROOT_RUN):
        for claim in checkpoints_dir(ref.session, run).glob("*.writer"):
            if is_written_to(claim):
                raise SessionInUse(
                    "a process writes checkpoints of it",
                    path=claim,
                    remedy="export it after the process has ended",
                )


class _Lines:
    """The files of the package's own session while they are written, few of them open at the same time."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._names: dict[str, Path] = {}

    def add(self, name: str, line: bytes) -> None:
        """Write a line at the end of a file."""
        file = self._open.get(name)
        if file is None:
            path = self._names.setdefault(name, self._place / str(len(self._names)))
            file = self._open[name] = path.open("ab")
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        file.write(line)

    def close(self) -> dict[str, Path]:
        """The files by their names in the package."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        return self._names


def _refuse_damaged(session: Path, saved: list[Event], manifest: Manifest) -> None:
    """Nothing where every artifact that goes along is what was saved; who imports it would refuse it."""
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
    saved: list[Event],
    only: Callable[[Event], bool] | None,
) -> int:
    """Write the events of the runs into the files that they stand in; how many there are.

    `saved` takes those that tell of artifacts.
    """
    reader = open_reader(ref.session)
    wanted = set(runs)
    codes: set[str | None] = set()
    states: set[str] = set()
    events = 0
    for event in reader.events():
        if only is not None and not only(event):
            continue
        if ref.run_id is None or event.run_id in wanted:
            written.add(file_of(event), encode_event(event))
            codes.add(event.code)
            states |= states_of(event.extra.get("reads"))
            if event.kind == "artifact.saved":
                saved.append(event)
            events += 1
    if ref.run_id is not None:
        for event in reader.events(kinds={"code", "source.state"}):
            digest = event.extra.get("digest")
            is_code = isinstance(digest, str) and digest in codes
            is_needed = event.id in states if event.kind == "source.state" else is_code
            if event.run_id not in wanted and is_needed:
                written.add(file_of(event), encode_event(event))
                events += 1
    return events


def file_of(event: Event) -> str:
    """The file of a session that an event stands in."""
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
    """The artifacts and checkpoints of a run by their names in the package; the index is rebuilt there."""
    base = artifacts_dir(session, run)
    for path in files_below(base):
        yield f"runs/{run}/artifacts/{path.relative_to(base).as_posix()}", path
    checkpoints = run_dir(session, run) / "checkpoints"
    for path in sorted(checkpoints.glob(f"*{PACK_SUFFIX}")):
        yield f"runs/{run}/checkpoints/{path.name}", path
    for path in sorted((checkpoints / "chunks").glob("*.json.zst")):
        yield f"runs/{run}/checkpoints/chunks/{path.name}", path


def _description(session: Path) -> bytes:
    """What goes along of `session.json`."""
    stored = open_session(session).to_object()
    shared = {name: stored[name] for name in _SHARED_FIELDS}
    return orjson.dumps(shared, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _write(
    aside: Path, members: dict[str, Path], description: bytes, ref: RunRef, runs: tuple[str, ...]
) -> Manifest:
    info = open_session(ref.session)
    told: dict[str, tuple[int, str]] = {}
    fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), FILE_MODE)
    with os.fdopen(fd, "w+b") as file:
        with zipfile.ZipFile(file, "w") as package:
            told["session.json"] = _add(package, "session.json", iter([description]), len(description))
            for name, path in sorted(members.items()):
                told[name] = _add(package, name, chunks_of(path), path.stat().st_size)
            session_id = ref.session.name.removeprefix("session_")
            manifest = Manifest(CURRENT_SCHEMA, session_id, info.session_uid, ref.run_id, runs, told)
            data = manifest.to_bytes()
            _add(package, MANIFEST, iter([data]), len(data))
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _add(package: zipfile.ZipFile, name: str, chunks: Iterator[bytes], size_bytes: int) -> tuple[int, str]:
    """Write one member; its size and digest."""
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
