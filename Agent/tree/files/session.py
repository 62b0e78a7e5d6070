"""`session.json`: what a session was, who ran it, what can replay it; how processes agree on one session.

The file is written when the session is made, and replaced as a whole whenever something is added.

Processes of one program that were started before any of them had a session meet in
`<root>/.programs/<pid>-<start>@<place>`, named after the process that the others descend from. It holds the
name of the session; a process that begins to record keeps it locked until it knows its session, so that one
is made.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self, TypeVar

import orjson

from Agent.errors import AgentTraceError, DamagedInput, SessionNotFound
from Agent.event.clock import format_timestamp
from Agent.event.ids import session_id_for, uuid7
from Agent.tree.files.descriptors import close_lock, locked, open_lock
from Agent.tree.files.writer_claim import boot_id, hostname, process_start_ticks
from Agent.tree.layout import (
    DIRECTORY_MODE,
    FILE_MODE,
    FORKED,
    NO_FOLLOW,
    RESUMED,
    create_session_dir,
    is_session_name,
    make_root,
    programs_dir,
    read_file,
    remove_empty_session,
    scan,
    session_file,
)
from Agent.version import __version__

_Stored = TypeVar("_Stored")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """The description of one session; the caller has redacted what needs it."""

    session_id: str
    session_uid: str
    """UUIDv7: with an event's id the key of that event anywhere."""
    host: str = ""
    boot_id: str | None = None
    pid: int = 0
    process_start_ticks: int | None = None
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    started_at: str = ""
    ended_at: str | None = None
    recovered_at: str | None = None
    """When somebody finished what its processes, having been killed, could not."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    """Agent id to the `module:factory` that replays it."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """What a later version wrote and this one does not know."""

    @classmethod
    def begun_now(cls, **more: Any) -> Self:
        """That of a session which this process begins now; `more` are further fields, by name."""
        now_ns = time.time_ns()
        return cls(
            session_id=session_id_for(now_ns // 1000),
            session_uid=uuid7(now_ns // 1_000_000, os.urandom(10)),
            host=hostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            process_start_ticks=process_start_ticks(os.getpid()),
            python=sys.version.split()[0],
            versions={"agent-trace": __version__},
            started_at=format_timestamp(now_ns // 1000),
            **more,
        )

    @classmethod
    def from_object(cls, stored: Mapping[str, Any]) -> Self:
        """The description in a JSON object; TypeError if something is missing or of a wrong type."""
        names = {field.name for field in fields(cls)} - {"other"}
        known: dict[str, Any] = {name: value for name, value in stored.items() if name in names}
        for name, value in known.items():
            if not isinstance(value, _STORED_AS.get(name, str | None)):
                raise TypeError(f"{name} is {type(value).__name__}")
        if "argv" in known:
            known["argv"] = tuple(known["argv"])
        other = {name: value for name, value in stored.items() if name not in names}
        return cls(**known, other=other)

    def target_for(self, agent_id: str | None) -> str | None:
        """The target that is remembered for an agent, or for the whole session (None)."""
        if agent_id is not None and agent_id in self.targets:
            return str(self.targets[agent_id])
        if "*" in self.targets:
            return str(self.targets["*"])
        return str(*self.targets.values()) if agent_id is None and len(self.targets) == 1 else None

    def to_object(self) -> dict[str, Any]:
        """As a JSON object, with what a later version wrote."""
        stored = asdict(self)
        other = stored.pop("other")
        return {**stored, **other}


_STORED_AS: dict[str, Any] = {
    **dict.fromkeys(("session_id", "session_uid", "host", "python", "started_at"), str),
    **dict.fromkeys(("versions", "configuration", "targets"), dict),
    "pid": int,
    "process_start_ticks": int | None,
    "argv": list,
}
"""The type of each field in JSON; of the others text or null."""


def create_session(root: Path, info: SessionInfo) -> Path:
    """Make a session's directory and description; a second one of the same second gets the id `<id>-2`.

    Raises:
        OSError: the root cannot be written; nothing is left of the session.
    """
    session, final_id = create_session_dir(root, info.session_id)
    try:
        replace_file(session_file(session), _encode(replace(info, session_id=final_id)))
    except OSError:
        remove_empty_session(session)
        raise
    return session


def open_session(session: Path) -> SessionInfo:
    """The description of a session.

    Raises:
        SessionNotFound: nothing is there.
        DamagedInput: it is there and cannot be read.
    """
    remedy = "its events can still be read"
    info = read_stored(session_file(session), SessionInfo.from_object, "session.json", remedy)
    if info is None:
        raise SessionNotFound("the session has no session.json", path=session, remedy=remedy)
    return info


def read_stored(path: Path, make: Callable[[Any], _Stored], what: str, remedy: str) -> _Stored | None:
    """What is made of the JSON in a file of ours; None where there is no such file.

    Raises:
        DamagedInput: `what` cannot be read, since `make` did not get what it expects.
    """
    try:
        return make(orjson.loads(read_file(path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, FileNotFoundError) or not path.parent.is_dir():
            return None  # never written; all else that fails is damage
        raise DamagedInput(f"{what} cannot be read: {error}", path=path, remedy=remedy) from None


def update_session(session: Path, **changes: Any) -> SessionInfo:
    """Replace some fields of a session's description; `targets` and `versions` are added to what is there.

    Processes of one session may do so at the same time.

    Raises:
        SessionNotFound, DamagedInput: as `open_session`.
        OSError: it cannot be written.
    """
    with locked(session, wait=True):
        info = open_session(session)
        for name in ("targets", "versions"):
            if name in changes:
                changes[name] = {**getattr(info, name), **changes[name]}
        info = replace(info, **changes)
        replace_file(session_file(session), _encode(info))
    return info


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place as a whole: a reader sees the old one or the new one."""
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the system refuses names this file where it names none, as a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A new file that is synced and takes the place of `path` if the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW
    try:
        with naming(path), os.fdopen(os.open(temporary, flags, FILE_MODE), "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that is raised counts
            temporary.unlink()
        raise


def replace_durably(path: Path, data: bytes) -> None:
    """The same, and the new name is on the disk itself before anything that follows from it is done."""
    replace_file(path, data)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
    fd = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encode(info: SessionInfo) -> bytes:
    return orjson.dumps(info.to_object(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a run was made from."""

    run: str
    """The original as a command line names it: a run's id, a session's, or `SESSION/agent_id`."""
    session_id: str
    session_uid: str
    step: str
    """Where it continues from, as it was asked for."""
    run_id: str = ""
    """This run's own id."""
    patch: Any = None
    """What was changed there; None where it was resumed as it was."""
    seed: int | None = None
    """What its generators were seeded with there, where they were."""
    agents: tuple[str, ...] = ()
    """Whose code ran; the rest was answered from the original."""
    by_itself: bool = False
    """Whether it went on by a method of its own, not by the original's actions being called again."""
    from_event: str | None = None
    """The first event of the original that this run has its own counterpart of."""
    from_timestamp: str | None = None
    relation: str = field(default=FORKED)
    """`forked_from` or `resumed_from`."""

    def to_object(self) -> dict[str, Any]:
        """As a JSON object, without the relation, which is the key that it stands under."""
        stored = asdict(self)
        del stored["relation"]
        return {name: value for name, value in stored.items() if value is not None}

    @classmethod
    def from_object(cls, relation: str, stored: Mapping[str, Any]) -> Self:
        """Back from that; TypeError where something necessary is missing."""
        names = {each.name for each in fields(cls)} - {"relation"}
        known = {name: value for name, value in stored.items() if name in names}
        known["agents"] = tuple(known.get("agents", ()))
        return cls(**known, relation=relation)


def lineage_within(info: SessionInfo) -> Lineage | None:
    """What the description of a session says of where its run comes from; None for an original."""
    for relation in (FORKED, RESUMED):
        stored = info.other.get(relation)
        if isinstance(stored, Mapping):
            try:
                return Lineage.from_object(relation, stored)
            except TypeError:
                return None  # of a later version: it is a session like others then
    return None


def lineage_of(session: Path) -> Lineage | None:
    """The same for the session in a directory."""
    try:
        return lineage_within(open_session(session))
    except (SessionNotFound, DamagedInput):
        return None  # its events can be read all the same


def as_tree(rows: Iterable[tuple[str, str | None]]) -> list[tuple[str, int]]:
    """(name, depth) of each of (name, name of what it was made from), children behind their origin.

    What comes from something that is not among them stands at the root, in the order given.
    """
    listed = list(rows)
    names = {name for name, _ in listed}
    children: dict[str | None, list[str]] = {}
    for name, origin in listed:
        children.setdefault(origin if origin in names and origin != name else None, []).append(name)
    found: list[tuple[str, int]] = []
    waiting = [(name, 0) for name in reversed(children.get(None, []))]
    while waiting:
        name, depth = waiting.pop()
        found.append((name, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return found


keeps_apart = False
"""Set by a replay: what the code records that it calls belongs to no program's session."""

_PATIENCE_S: Final = 5.0
"""How long to wait for another process; one that was stopped meanwhile must not stop this one."""
_LONGEST_NAME: Final = 255


class Program(NamedTuple):
    """The process that all processes of a program descend from."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """That of a running process; None where the system does not say when it started."""
        ticks = process_start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def is_of(self, info: SessionInfo) -> bool:
        """Whether a session is this program's."""
        return (info.pid, info.process_start_ticks, info.host, info.boot_id) == (*self, hostname(), boot_id())


class Meeting:
    """What a program's processes agreed on; it is locked as long as it is held.

    Args:
        root: the trace root.
        program: whose sessions count.
        fd: of the open file.
    """

    def __init__(self, root: Path, program: Program, fd: int) -> None:
        self._root = root
        self._program = program
        self._fd = fd

    def session(self) -> Path | None:
        """The session that was agreed on; None if there is none that may still be written to."""
        name = os.pread(self._fd, _LONGEST_NAME, 0).decode("utf-8", "replace").strip()
        path = self._root / name
        if not is_session_name(name) or not _is_own_directory(path):
            return None
        try:
            info = open_session(path)
        except AgentTraceError:
            return None  # gone or damaged: the program begins another
        return path if info.recovered_at is None and self._program.is_of(info) else None

    def agree(self, session: Path) -> None:
        """Have the processes that come later join this one."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{session.name}\n".encode(), 0)

    def forget(self) -> None:
        """Have the processes that come later begin again; files that killed programs left go, too."""
        directory = programs_dir(self._root)
        place = _place()
        for name in [entry.name for entry in scan(directory)]:
            process, _, where = name.partition("@")
            pid, _, ticks = process.partition("-")
            if where != place or not pid.isdigit() or not ticks.isdigit():
                continue
            left = Program(int(pid), int(ticks))
            if left == self._program or Program.of(left.pid) != left:
                with contextlib.suppress(FileNotFoundError):
                    (directory / name).unlink()
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()


@contextlib.contextmanager
def meet(root: Path, program: Program, *, create: bool) -> Iterator[Meeting | None]:
    """Hold a program's meeting under a trace root; None where its processes cannot meet.

    That is: without advisory locks, where the root cannot be written, where the file or its directory belongs
    to somebody else or may be written by others, and where another process holds it for 5 s.

    Args:
        root: the trace root.
        program: whose processes meet.
        create: whether to make root and file; else None where they are not there.
    """
    if keeps_apart:
        yield None
        return
    try:
        if create:
            make_root(root)
        fd = _locked(_directory(root, create=create) / _name(program), create=create)
    except (ImportError, OSError):
        fd = None
    if fd is None:
        yield None
        return
    try:
        yield Meeting(root, program, fd)
    finally:
        close_lock(fd)


def _directory(root: Path, *, create: bool) -> Path:
    directory = programs_dir(root)
    if create:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=DIRECTORY_MODE)
    if not _is_own_directory(directory):
        raise PermissionError(13, "others can write there", str(directory))
    return directory


def _name(program: Program) -> str:
    return f"{program.pid}-{program.start_ticks}@{_place()}"


def _place() -> str:
    """Where a pid means what it means here: this machine or container, since it was booted."""
    return blake2b(f"{hostname()}|{boot_id()}".encode(), digest_size=6).hexdigest()


def _is_own_directory(path: Path) -> bool:
    """Whether it is a directory, no link, of this user's, that nobody else may write."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(status)


def _is_own(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _locked(path: Path, *, create: bool) -> int | None:
    """A descriptor of the file of this name, locked; None if it cannot be trusted, or is held too long."""
    fcntl: Any = __import__("fcntl")
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        fd = open_lock(path, create=create)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            close_lock(fd)
            time.sleep(0.002)
            continue
        except OSError:
            close_lock(fd)
            raise
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and _is_own(status) and status.st_nlink == 1:
            return fd
        close_lock(fd)
        # without a name it was removed meanwhile, and the next to come makes another
        if status.st_nlink:
            return None
    return None
