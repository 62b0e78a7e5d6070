"""Creates sessions from a file of a run or of a whole session, or from event rows in a database.

Everything in a file is checked first: names belong to a run, sizes and digests match the manifest, lines are
events. The session is built in a new directory and created by one rename. Database rows lack content
that was not sent; an artifact without its text is reported as damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Final

import orjson

from Agent.archive.run_export import (
    BUNDLE_VERSION,
    FORMAT,
    MANIFEST,
    Manifest,
    file_of,
    is_member_path,
    is_plain,
    wrong_artifact,
)
from Agent.errors import DamagedInput, InputError
from Agent.event.clock import format_timestamp, moment_of
from Agent.event.codec import CURRENT_SCHEMA, DamagedLine, decode_line, encode_event
from Agent.event.ids import session_id_for
from Agent.event.kinds import LEVEL_NAMES, Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.files import make_directory, unpacked_chunks
from Agent.flight.checkpoints.model import Checkpoint
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.run_reading import RunRef, read_run
from Agent.tree.files.descriptors import locked
from Agent.tree.files.lines import MAX_LINE_BYTES
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.session import (
    SessionInfo,
    create_session,
    naming,
    open_session,
    replace_file,
    update_session,
)
from Agent.tree.layout import (
    FORKED,
    NEW_FILE,
    RESUMED,
    agents_dir,
    boards_dir,
    claims_dir,
    entries_in,
    list_sessions,
    log_files,
    make_private,
    make_root,
    open_file,
    open_private,
    run_ids,
    runs_dir,
    safe_name,
    session_file,
    tree_files,
)
from Agent.tree.read.reader import write_summary
from Agent.tree.read.removal_logs import RetiredAccount, read_account, read_recovery, write_account
from Agent.tree.retention import delete_tree
from Agent.tree.write.artifacts import (
    ARTIFACT_SCHEME,
    ROOT_RUN,
    artifact_path,
    artifact_ref,
    make_run_dir,
    new_hash,
    safe_path,
)

NOT_EXPORTED: Final = "not exported"
"""The reason for numbers that a writer used outside the exported run."""
_STAGING: Final = ".importing-"
_CHUNK_BYTES: Final = 1024 * 1024
_ANY_RATIO_BYTES: Final = 64 << 20
_MAX_SEQ: Final = 1 << 32
_MAX_SCATTERED: Final = 65_536
"""The maximum number of chunks of 65,536 numbers; each chunk takes 8 KiB when numbers are counted."""
_MAX_MANIFEST_BYTES: Final = 256 << 20
_MAX_ENTRY_BYTES: Final = 512
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SESSION_ID: Final = re.compile(r"[0-9]{8}_[0-9]{6}(?:-[0-9]{1,6})?")
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_LOCATOR_64_BYTES: Final = 20
_MAX_COMMENT: Final = 65_535
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class PackageLimits:
    """Size limits of a package; a larger one is refused."""

    max_members: int = 200_000
    max_bytes: int = 8 << 30
    """The total size of all members, as stored and after decompressing checkpoints."""
    max_ratio: float = 100
    """How many times its own size a package may unpack to, if that is over 64 MiB."""
    max_damaged: int = 100_000
    """How many more lines of a session may be no events than are events: each takes 5 us to decode."""


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """The result of an import."""

    session: Path
    run_id: str | None
    runs: tuple[str, ...]
    events: int
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"session": str(self.session)}


def import_run(
    path: str | os.PathLike[str], root: Path, *, limits: PackageLimits | None = None
) -> ImportedRun:
    """Import a run, or a session, from a file that `export_run` or `export_bundle` wrote.

    Args:
        path: path of the file.
        root: the trace root to import to; created if missing.
        limits: size limits.

    Raises:
        DamagedInput: the file violates the format of `export_run`; nothing was written.
        InputError: the run already exists here, or the file cannot be read.
        OSError: it cannot be written.
    """
    source = Path(path)
    limits = limits or PackageLimits()
    try:
        file = source.open("rb")
    except (OSError, ValueError) as error:  # a ValueError: a path with a NUL
        raise InputError(
            f"the file cannot be read: {getattr(error, 'strerror', None) or error}",
            path=source,
            remedy="name a file of a run",
        ) from None
    with file, _open_package(file, source, limits) as package:
        manifest = _check_members(package, source, limits)
        _refuse_existing(root, manifest, source)
        with _rooted(root), _staging(root) as staging:
            _extract(package, manifest, staging, source, limits)
            numbers, last_us = _check_events(staging, manifest, source, limits)
            _describe(staging, manifest, source, last_us)
            _check_compressed(staging, source, limits)
            if not manifest.is_bundle:
                _account(staging, numbers)
            _refuse_odd_accounts(staging, source)
            _rebuild_indices(staging, manifest, source)
            write_summary(staging)
            session = _move_to_session(staging, root, manifest)
    for run in (*manifest.runs, ROOT_RUN):
        if (session / "runs" / run).is_dir():
            make_run_dir(session, run)
    return ImportedRun(
        session,
        manifest.run_id,
        manifest.runs,
        sum(map(len, numbers.values())),
        sum(size for size, _ in manifest.members.values()),
    )


def _refused(why: str, path: Path) -> DamagedInput:
    """Create the error for a file that `run_export` would not write."""
    return DamagedInput(f"the run cannot be imported: {why}", path=path, remedy="nothing was written")


def _open_package(file: IO[bytes], path: Path, limits: PackageLimits) -> zipfile.ZipFile:
    """Open a package after checking the size of its table of contents.

    Raises:
        DamagedInput: it is not a zip file, or has too many members.
    """
    _check_contents(file, path, limits)
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise _refused(f"it is not a zip file: {error}", path) from None


def _check_contents(file: IO[bytes], path: Path, limits: PackageLimits) -> None:
    """Check the size of the table of contents before parsing it."""
    size_bytes = file.seek(0, 2)
    tail_bytes = min(size_bytes, _END_BYTES + _MAX_COMMENT + _LOCATOR_64_BYTES + 56)
    file.seek(size_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _refused("it is not a zip file", path)
    count, contents_bytes = struct.unpack("<HL", tail[at + 10 : at + 16])
    at_64 = tail.rfind(_END_64, 0, at)
    if at_64 >= 0 and len(tail) - at_64 >= 56 and tail.find(_LOCATOR_64, at_64, at) >= 0:
        count, contents_bytes = struct.unpack("<QQ", tail[at_64 + 32 : at_64 + 48])
    if count > limits.max_members + 1 or contents_bytes > (limits.max_members + 1) * _MAX_ENTRY_BYTES:
        raise _refused(f"it has {count:,} members; at most {limits.max_members:,} are allowed", path)


def _check_members(package: zipfile.ZipFile, path: Path, limits: PackageLimits) -> Manifest:
    """Read the manifest, and check that every member is a regular file listed in it.

    Raises:
        DamagedInput: the first violation.
    """
    infos = package.infolist()
    if len(infos) > limits.max_members + 1:
        raise _refused(f"it has {len(infos):,} members; at most {limits.max_members:,} are allowed", path)
    seen: set[str] = set()
    for info in infos:
        why = _wrong_with(info, seen)
        if why is not None:
            raise _refused(f"the member {info.filename[:200]!r} {why}", path)
        seen.add(info.filename.casefold())
    try:
        manifest = _manifest_of(_manifest_bytes(package, path))
    except (ValueError, TypeError) as error:
        raise _refused(f"its manifest is invalid: {error}", path) from None
    sizes = {info.filename: info.file_size for info in infos if info.filename != MANIFEST}
    if sizes != {name: size for name, (size, _) in manifest.members.items()}:
        raise _refused("its members differ from those in its manifest", path)
    if sum(sizes.values()) > limits.max_bytes:
        raise _refused(
            f"it holds {sum(sizes.values()):,} bytes; at most {limits.max_bytes:,} are allowed", path
        )
    ratio = sum(sizes.values()) / path.stat().st_size
    if ratio > limits.max_ratio and sum(sizes.values()) > _ANY_RATIO_BYTES:
        unpacked = f"{sum(sizes.values()):,} bytes, {ratio:,.0f} times its size"
        raise DamagedInput(
            f"the run cannot be imported: it unpacks to {unpacked}",
            path=path,
            remedy="nothing was written; if you know where it comes from, agent-trace import bundle --large",
        )
    return manifest


def _wrong_with(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """Return what is wrong with an entry, as a clause; None if it is a regular file."""
    kind = info.external_attr >> 16 & 0o170000
    if info.filename != info.orig_filename or not is_plain(info.filename.split("/")):
        return "has a name that leads out of the session"
    if kind not in {0, 0o100000} or info.is_dir():
        return "is not a plain file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "uses another compression"
    return "is there twice" if info.filename.casefold() in seen else None


def _manifest_bytes(package: zipfile.ZipFile, path: Path) -> bytes:
    try:
        with package.open(MANIFEST) as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
    except KeyError:
        raise _refused("it has no manifest", path) from None
    except _UNREADABLE as error:
        raise _refused(f"its manifest cannot be read: {error}", path) from None
    if len(data) > _MAX_MANIFEST_BYTES:
        raise _refused("its manifest is too large", path)
    return data


_MANIFEST_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "format": str,
    "version": int,
    "schema_version": int,
    "session_id": str,
    "session_uid": str,
    "runs": list,
    "run_id": (str, type(None)),
    "members": dict,
}


def _typed(stored: Any) -> dict[str, Any]:
    """Check the types of a manifest's values; TypeError for another."""
    if not isinstance(stored, dict):
        raise TypeError("it is not an object")
    for name, kind in _MANIFEST_TYPES.items():
        if name not in stored or not isinstance(stored[name], kind):
            raise TypeError(f"{name} is {'of another type' if name in stored else 'missing'}")
    return stored


def _members_of(stored: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """The size and digest of each member; TypeError or ValueError for another entry."""
    for path, entry in stored.items():
        if not isinstance(entry, list) or [type(each) for each in entry] != [int, str]:
            raise TypeError(f"its entry for {path[:200]!r} is not a size and a digest")
        if entry[0] < 0 or not _DIGEST.fullmatch(entry[1]):
            raise ValueError(f"its entry for {path[:200]!r} is invalid")
    return {path: (size, digest) for path, (size, digest) in stored.items()}


def _manifest_of(data: bytes) -> Manifest:
    stored = _typed(orjson.loads(data))
    if stored["format"] != FORMAT:
        raise ValueError(f"the format is {stored['format']!r}")
    for name, supported in (("version", BUNDLE_VERSION), ("schema_version", CURRENT_SCHEMA)):
        if type(stored[name]) is not int or not 1 <= stored[name] <= supported:
            raise ValueError(f"{name} is {stored[name]!r}, this program knows {supported}")
    runs, run_id = stored["runs"], stored["run_id"]
    if not all(isinstance(run, str) for run in runs):
        raise TypeError("runs is not a list of ids")
    if any(safe_name(run) != run or run == ROOT_RUN for run in runs) or len(set(runs)) < len(runs):
        raise ValueError("a run has an invalid id")
    if run_id is not None and run_id not in runs:
        raise ValueError("its run is not in it")
    if not _SESSION_ID.fullmatch(stored["session_id"]) or not _UID.fullmatch(stored["session_uid"]):
        raise ValueError("it does not name a session")
    is_bundle = stored["version"] == BUNDLE_VERSION
    if is_bundle and run_id is not None:
        raise ValueError("a bundle is a whole session")
    members = _members_of(stored["members"])
    for path, (size, _) in members.items():
        if not is_member_path(path, {*runs, ROOT_RUN}, is_bundle=is_bundle) or size > _most_bytes(path):
            raise ValueError(f"{path[:200]!r} is not a path of a run's, or too large for it")
    return Manifest(
        stored["schema_version"],
        stored["session_id"],
        stored["session_uid"],
        run_id,
        tuple(runs),
        members,
        is_bundle,
    )


def _most_bytes(path: str) -> float:
    """Return the size limit of a member: description, packs and chunks are read into memory as a whole."""
    if path == "session.json":
        return 1 << 20
    if path.startswith(".state"):
        return 256 << 20
    return 256 << 20 if path.endswith(".zst") and "/checkpoints/" in path else float("inf")


def _refuse_existing(root: Path, manifest: Manifest, source: Path) -> None:
    for ref in list_sessions(root):
        for run in set(run_ids(ref.path)) & set(manifest.runs):
            raise InputError(
                f"run {run} already exists here",
                path=ref.path,
                remedy="erase it first, or choose another --root",
            )
        with contextlib.suppress(InputError):  # a session without a description is another one
            if manifest.run_id is None and open_session(ref.path).session_uid == manifest.session_uid:
                raise DamagedInput(
                    f"the session in {source.name} already exists here",
                    path=ref.path,
                    remedy="remove it first, or choose another --root",
                )


def _remove_leftovers(root: Path) -> None:
    """Remove the directories of killed imports; a running import holds a lock on its directory."""
    for path in entries_in(root, beginning=_STAGING):
        with contextlib.suppress(OSError), locked(path) as is_alone:  # already removed, or another user's
            if is_alone and not path.is_symlink():
                delete_tree(path)


@contextlib.contextmanager
def _rooted(root: Path) -> Iterator[None]:
    """Create the trace root for the block, which may fail: then a new root is removed."""
    new = [each for each in (root, *root.parents) if not os.path.lexists(each)]
    make_root(root)
    try:
        _remove_leftovers(root)
        yield
    except BaseException:
        if new:
            (root / "README.md").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another process has used it meanwhile
                for directory in new:
                    directory.rmdir()
        raise


@contextlib.contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """Yield a new directory, locked during the block, and removed unless it was renamed to a session."""
    staging = root / f"{_STAGING}{os.urandom(8).hex()}"
    make_private(staging)
    try:
        with locked(staging, wait=True):
            yield staging
    finally:
        if staging.is_dir():
            delete_tree(staging)


def _extract(
    package: zipfile.ZipFile, manifest: Manifest, staging: Path, source: Path, limits: PackageLimits
) -> None:
    """Write every member and compare it with the manifest; then check the lines."""
    for directory in (agents_dir(staging), staging / ".state", claims_dir(staging), boards_dir(staging)):
        make_private(directory)
    left_bytes = limits.max_bytes
    for name, (size_bytes, digest) in sorted(manifest.members.items()):
        target = staging.joinpath(*name.split("/"))
        make_directory(target.parent)
        left_bytes -= size_bytes
        try:
            copied = _copy(package, name, target, min(size_bytes, left_bytes + size_bytes))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            raise _refused(f"{name} cannot be read: {error}", source) from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise _refused(f"{name} is outside the file", source) from None
        if copied != (size_bytes, digest):
            raise _refused(f"{name} differs from the manifest", source)


def _copy(package: zipfile.ZipFile, name: str, target: Path, most_bytes: int) -> tuple[int, str]:
    """Write a member, at most one byte more than allowed; returns its size and digest."""
    hasher, size_bytes = new_hash(), 0
    fd = open_private(target, NEW_FILE)
    with package.open(name) as member, naming(target), os.fdopen(fd, "wb") as file:
        while chunk := member.read(min(_CHUNK_BYTES, most_bytes + 1 - size_bytes)):
            hasher.update(chunk)
            size_bytes += len(chunk)
            file.write(chunk)
            if size_bytes > most_bytes:
                break
    return size_bytes, hasher.hexdigest()


def _check_events(
    staging: Path, manifest: Manifest, source: Path, limits: PackageLimits
) -> tuple[dict[str, SeqSet], int]:
    """Return the numbers of the events by writer, and the time of the last event.

    Raises:
        DamagedInput: a line is not an event, or not one of the runs; in a bundle, too many are not events.
    """
    last_us = 0
    left = limits.max_damaged
    numbers: dict[str, SeqSet] = {}
    stretches: set[tuple[str, int]] = set()
    seen_runs: set[str | None] = set()
    for path in tree_files(staging):
        own_run = path.parent.name if path.suffix == ".jsonl" else None
        with os.fdopen(open_file(path)[0], "rb") as file:
            for line in iter(lambda file=file: file.readline(MAX_LINE_BYTES), b""):  # type: ignore[misc]
                try:
                    event = decode_line(line)
                    last_us = max(last_us, event.timestamp_us)
                except (DamagedLine, ValueError, OverflowError, RecursionError) as error:
                    left -= 1
                    if left < 0:
                        raise _refused(f"{path.name} consists of lines that are not events", source) from None
                    if manifest.is_bundle:  # readers count it as damaged, too
                        continue
                    raise _refused(f"{path.name} has a line that is not an event: {error}", source) from None
                left += 1
                stretches.add((event.writer, event.seq >> 16))
                if event.seq > _MAX_SEQ or len(stretches) > _MAX_SCATTERED:
                    raise _refused(
                        f"{path.name} holds the number {event.seq}, too far from the others", source
                    )
                seen_runs.add(own_run)
                if event.kind == "artifact.saved":
                    _check_reference(staging, event, path, source)
                wrong = wrong_artifact(event, manifest.members)
                if wrong is not None:
                    raise _refused(f"{wrong} was changed", source)
                belongs = own_run is None or event.run_id == own_run
                is_new = numbers.setdefault(event.writer, SeqSet()).add(event.seq)
                if not manifest.is_bundle and not (belongs and is_new):
                    raise _refused(
                        f"{path.name} has the event {event.id[:40]}, which belongs elsewhere", source
                    )
    missing = [run for run in manifest.runs if run not in seen_runs]
    if missing:
        raise _refused(f"it has no events of run {missing[0]}", source)
    return numbers, last_us


def _check_reference(staging: Path, event: Event, path: Path, source: Path) -> None:
    """Raise DamagedInput if an `artifact.saved` event does not refer to a file of its run."""
    try:
        artifact_path(staging, event.run_id or ROOT_RUN, str(event.extra.get("ref")))
    except DamagedInput as error:
        raise _refused(f"{path.name} has the event {event.id[:40]}, but {error.message}", source) from None


def _describe(staging: Path, manifest: Manifest, source: Path, last_us: int) -> None:
    """Write a new description with safe fields only: no host, no process, no code to load."""
    stored: Any = None
    # then the description is built from the manifest
    with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError):
        stored = orjson.loads(session_file(staging).read_bytes())
    if not isinstance(stored, dict):
        raise _refused("it has no description of its session", source)

    def text(name: str) -> str:
        value = stored.get(name)
        return value if isinstance(value, str) else ""

    versions = stored.get("versions")
    names = (FORKED, RESUMED) if manifest.is_bundle else ()
    origin = {name: stored[name] for name in names if isinstance(stored.get(name), dict)}
    info = SessionInfo(
        session_id=manifest.session_id,
        session_uid=manifest.session_uid,
        python=text("python"),
        versions={str(name): str(value) for name, value in versions.items()}
        if isinstance(versions, dict)
        else {},
        started_at=text("started_at"),
        ended_at=text("ended_at") or format_timestamp(last_us),
        recovered_at=text("recovered_at") or None,
        other={"imported": {"file": source.name, "run_id": manifest.run_id}, **origin},
    )
    replace_file(session_file(staging), orjson.dumps(info.to_object(), option=orjson.OPT_INDENT_2))


def _check_compressed(staging: Path, source: Path, limits: PackageLimits) -> None:
    """Refuse checkpoints that decompress to more than the limit."""
    left_bytes = limits.max_bytes
    for path in sorted(staging.glob("runs/*/checkpoints/**/*.zst")):
        try:
            for chunk in unpacked_chunks(path):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    break
        except DamagedInput as error:
            raise _refused(f"{path.name}: {error.message}", source) from None
        if left_bytes < 0:
            raise _refused(f"its checkpoints decompress to more than {limits.max_bytes:,} bytes", source)


def _account(staging: Path, numbers: dict[str, SeqSet]) -> None:
    """Count numbers that were not exported as retired, so that they do not appear as lost."""
    account = RetiredAccount(reasons=Counter())
    for writer, seen in numbers.items():
        account.closed[writer] = seen.highest
        absent = SeqSet.of_ranges(seen.missing(seen.highest))
        if absent:
            account.numbers[writer] = absent
            account.events += len(absent)
    account.reasons[NOT_EXPORTED] = account.events
    write_account(staging, account)


def _refuse_odd_accounts(staging: Path, source: Path) -> None:
    """Refuse accounts of removed or recovered events that cannot be read."""
    try:
        read_account(staging)
        read_recovery(staging)
    except DamagedInput as error:
        raise _refused(error.message, source) from None


def _rebuild_indices(staging: Path, manifest: Manifest, source: Path) -> None:
    """Rebuild the checkpoint indices, and check that each checkpoint loads."""
    for run in (*manifest.runs, ROOT_RUN):
        if not (staging / "runs" / run / "checkpoints").is_dir():
            continue
        with LocalCheckpointStore(staging) as store:
            try:
                store.rebuild_index(run)
                problem = next(iter(store.check(run)), None)
            except (DamagedInput, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
                raise _refused(f"the checkpoints of run {run} cannot be read: {error}", source) from None
            if problem is not None:
                raise _refused(f"a checkpoint of run {run} cannot be read: {problem}", source)
            if run != ROOT_RUN:
                ok = read_run(RunRef(staging, run)).summary.ok
                if ok is not None:
                    store.note_outcome(run, ok=ok)


def _move_to_session(staging: Path, root: Path, manifest: Manifest) -> Path:
    """Rename the directory to the first free session name."""
    for path in [*log_files(staging), staging]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    base = f"session_{manifest.session_id.partition('-')[0]}"
    number = 1
    while True:
        session = root / (base if number == 1 else f"{base}-{number}")
        number += 1
        if session.exists():
            continue
        try:
            staging.rename(session)
        except OSError:
            if session.exists():
                continue
            raise
        return session


_BESIDE_PAYLOAD: Final = ("message", "state", "types", "artifact_text", "logger", "code")


class StoredSession:
    """A session's directory under a trace root, created from event rows in a database.

    Args:
        root: the trace root, created if missing.
        session_uid: UUID of the session; any value if none of its events were sent.
        began_us: start time in microseconds since 1970.
    """

    def __init__(self, root: Path, session_uid: str, began_us: int) -> None:
        make_private(root, exist_ok=True)
        self._session_id = session_id_for(began_us)
        self._began_us = began_us
        began = format_timestamp(began_us)
        info = SessionInfo(self._session_id, session_uid, started_at=began, ended_at=began)
        self.path = create_session(root, info)
        for directory in (agents_dir(self.path), runs_dir(self.path)):
            make_private(directory, exist_ok=True)
        make_run_dir(self.path, ROOT_RUN)  # the session is found under its UUID by this
        self.lacking: list[str] = []
        """Artifacts whose content was not sent."""

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the lines of events and the contents of artifacts; call this once."""
        # One buffer for all lines of a file: separate objects would pin larger buffers allocated between
        # them, which takes 16 times the memory.
        lines: dict[str, bytearray] = {}
        slices: dict[str, list[tuple[tuple[int, str, int], slice]]] = {}
        run_ids: dict[str, str | None] = {}
        ended_us = self._began_us
        for row in rows:
            event = restored_event(row, self._session_id)
            ended_us = max(ended_us, event.timestamp_us)
            name = file_of(event)
            run_ids[name] = event.run_id
            of_file = lines.setdefault(name, bytearray())
            begin = len(of_file)
            of_file += encode_event(event)
            slices.setdefault(name, []).append((event.order, slice(begin, len(of_file))))
            if event.kind == "artifact.saved":
                self._save_artifact(event, row["body"].get("artifact_text"))
        for name, of_file in sorted(lines.items()):
            path = self.path.joinpath(*name.split("/"))
            run_id = run_ids[name]
            if path.name == "events.jsonl" and run_id is not None:
                make_run_dir(self.path, run_id)
            os.close(open_private(path, os.O_WRONLY | os.O_CREAT))
            with path.open("wb") as file:
                for _, part in sorted(slices[name], key=itemgetter(0)):
                    file.write(of_file[part])
        update_session(self.path, ended_at=format_timestamp(ended_us))

    def _save_artifact(self, event: Event, text: Any) -> None:
        ref = event.extra.get("ref")
        if not isinstance(ref, str) or ref != artifact_ref(safe_path(ref.removeprefix(ARTIFACT_SCHEME))):
            return  # an invalid reference, which is never used as a path
        if not isinstance(text, str):
            self.lacking.append(ref.removeprefix(ARTIFACT_SCHEME))
            return
        run_id = event.run_id or ROOT_RUN
        make_run_dir(self.path, run_id)
        path = artifact_path(self.path, run_id, ref)
        make_directory(path.parent)
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT))
        path.write_bytes(text.encode())


def restored_event(row: Mapping[str, Any], session_id: str) -> Event:
    """Convert a stored row back to the recorded event.

    Args:
        row: `event_id`, `ts_us`, `kind`, `severity`, `body` and the other columns of a stored event.
        session_id: the id of the new session.
    """
    kind, body = row["kind"], row["body"]
    extra = {key: value for key, value in body.items() if key not in _BESIDE_PAYLOAD}
    for key in ("agent_id", "agent_role", "outcome"):
        if row[key] is not None:
            extra[key] = row[key]
    if row["name"] is not None and kind in KINDS and KINDS[kind].about:
        extra[KINDS[kind].about] = row["name"]
    if row["duration_ms"] is not None:
        field_names = {field.name for field in KINDS[kind].fields} if kind in KINDS else set()
        extra["latency_ms" if "latency_ms" in field_names else "duration_ms"] = row["duration_ms"]
    if kind not in KINDS or KINDS[kind].home is not Home.RUN:
        extra["event_type"] = kind
    return Event(
        timestamp=format_timestamp(row["ts_us"]),
        id=row["event_id"],
        schema_version=CURRENT_SCHEMA,
        kind=kind,
        session_id=session_id,
        level=LEVEL_NAMES.get(row["severity"], "INFO"),
        causes=tuple(row["causes"] or ()),
        extra=extra,
        **{name: row[name] for name in ("run_id", "span_id", "parent_span_id", "tick")},
        **{name: body.get(name, "") for name in ("logger", "message")},
        **{name: body.get(name) for name in ("code", "state", "types")},
    )


def restored_checkpoint(run_id: str, row: Mapping[str, Any]) -> Checkpoint:
    """Convert a stored row to a checkpoint; its `state` and `state_types` are JSON texts."""
    tags = orjson.loads(row["state_types"])
    restorable = {pointer: tag for pointer, tag in tags.items() if tag != "redacted"}
    return Checkpoint(
        run_id,
        row["step_id"],
        decode_value(orjson.loads(row["state"]), restorable),
        agent_id=row["agent_id"],
        timestamp=moment_of(row["saved_us"]),
        tick=row["tick"],
        reason=row["reason"],
        event_id=row["event_id"],
    )
