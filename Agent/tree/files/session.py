"""`session.json`, the description of a session; its writers; how processes of a program agree on a session.

The description is written when the session is created, and replaced as a whole at every change. A claim file
says which process uses a writer id; from the claims readers learn which writers there are and which of them
still run.

Processes of one program that started before a session existed share the file
`<root>/.programs/<pid>-<start>@<place>`, named after their common ancestor. It contains the name of the
session. A process that begins to record locks it until it knows its session, so that only one is created.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self, TypeVar

import orjson

from Agent.errors import AgentTraceError, DamagedInput, SessionNotFound, UsageError
from Agent.event.clock import format_timestamp
from Agent.event.ids import session_id_for, uuid7
from Agent.event.system_clock import SystemClock, turns
from Agent.tree.files.descriptors import close_lock, locked, open_lock
from Agent.tree.layout import (
    FORKED,
    NEW_FILE,
    NO_FOLLOW,
    NO_LINK,
    OPENED_ROOT,
    RESUMED,
    boards_dir,
    claims_dir,
    create_session_dir,
    entries_in,
    is_session_name,
    make_private,
    make_root,
    open_private,
    programs_dir,
    read_file,
    recorded_at,
    remove_empty_session,
    scan,
    session_file,
)
from Agent.version import __version__

# inode number of the initial pid namespace on Linux
_FIRST_PID_NAMESPACE = "4026531836"


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity of a writer, written when it starts."""

    writer: str
    pid: int
    process_start_ticks: int | None
    """Start of the process in clock ticks since boot; a later process with the same pid has another one."""
    boot_id: str | None
    host: str = ""
    durability: str = "unknown"
    kind: str = "unknown"
    claimed_at: str = ""

    def is_alive(self) -> bool:
        """Return whether the process runs; one of another machine or another boot counts as ended."""
        if self.host != hostname() or self.boot_id != boot_id():
            return False
        if self.process_start_ticks is not None:
            return process_start_ticks(self.pid) == self.process_start_ticks
        return is_running(self.pid)


def is_running(pid: int) -> bool:
    """Return whether a process with this pid exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@lru_cache(maxsize=1)
def boot_id() -> str | None:
    """Return the kernel's id of the current boot; None if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None  # a system without /proc


@lru_cache(maxsize=1)
def hostname() -> str:
    """Return a name for the scope in which our pids are unique.

    On the machine itself that is the host name. In a container, which has its own pids, it is
    `host#pid-namespace-number`, because several containers can have the same host name.
    """
    machine = os.uname().nodename
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return machine
    return machine if namespace == _FIRST_PID_NAMESPACE else f"{machine}#{namespace}"


def process_start_ticks(pid: int) -> int | None:
    """Return a process's start in clock ticks since boot; None if it does not run, or without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # the second field is the program's name in parentheses and may contain any characters
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) < 20 or fields[0] in {b"Z", b"X", b"x"}:
        return None
    return int(fields[19])


def write_claim(session: Path, claim: Claim) -> None:
    """Write a claim file; FileExistsError if the id is taken."""
    path = claims_dir(session) / f"{claim.writer}.json"
    fd = open_private(path, NEW_FILE)
    try:
        data = orjson.dumps(asdict(claim), option=orjson.OPT_APPEND_NEWLINE)
        if os.write(fd, data) != len(data):
            path.unlink()
            raise OSError(28, "no room for the claim", str(path))
    finally:
        os.close(fd)


def read_claims(session: Path) -> dict[str, Claim]:
    """Read the claims of a session by writer; a damaged claim still proves that its writer exists."""
    entries = entries_in(claims_dir(session), ".json")
    return {path.stem: _read_claim(path, path.stem) for path in entries}


def is_written(session: Path, *, is_ended: bool | None = None) -> bool:
    """Return whether a running process has the log of a session open.

    A process that has closed its log may continue to run; its board is then removed.

    Args:
        session: the session's directory.
        is_ended: whether the session is described as ended; default: read the description if it decides.
    """
    boards = boards_dir(session)
    living = [writer for writer, claim in read_claims(session).items() if claim.is_alive()]
    if any((boards / f"{writer}.board").exists() for writer in living):
        return True
    return bool(living) and not (open_session(session).ended_at is not None if is_ended is None else is_ended)


def _read_claim(path: Path, writer: str) -> Claim:
    try:
        return record_of(Claim, orjson.loads(read_file(path)), writer=writer)
    except (OSError, ValueError, TypeError):
        # the process was killed, or the disk was full, while it wrote its claim
        return Claim(writer, -1, -1, None)


_Stored = TypeVar("_Stored")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """The description of one session; its values are already redacted."""

    session_id: str
    session_uid: str
    """UUIDv7; together with an event's id it identifies the event globally."""
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
    """When the session was recovered, after its processes were killed."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    """Agent id to the `module:factory` that replays it."""
    target_signatures: Mapping[str, str] = field(default_factory=dict)
    """Agent id to the signature of its target, made with the key of who recorded it."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""

    @classmethod
    def begun_now(cls, **more: Any) -> Self:
        """Describe a session that this process starts now; `more` are further fields, by name."""
        now_ns = SystemClock.wall_ns()
        return cls(
            session_id=session_id_for(now_ns // 1000),
            session_uid=uuid7(now_ns // 1_000_000, os.urandom(10)),
            host=hostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            process_start_ticks=process_start_ticks(os.getpid()),
            python=sys.version.split()[0],
            versions={"agent-trace": __version__, "recording": _RECORDING},
            started_at=format_timestamp(now_ns // 1000),
            **more,
        )

    @classmethod
    def from_object(cls, stored: Mapping[str, Any]) -> Self:
        """Read a description; unknown keys go to `other`. TypeError if it is invalid."""
        names = {field.name for field in fields(cls)}
        other = {name: value for name, value in stored.items() if name not in names or name == "other"}
        return record_of(cls, stored, other=other)

    def target_for(self, agent_id: str | None) -> str | None:
        """Return the stored target of an agent, or of the whole session for None; None if there is none."""
        if agent_id is not None and agent_id in self.targets:
            return str(self.targets[agent_id])
        if "*" in self.targets:
            return str(self.targets["*"])
        return str(*self.targets.values()) if agent_id is None and len(self.targets) == 1 else None

    def to_object(self) -> dict[str, Any]:
        """Return the description as a JSON object, including unknown fields."""
        stored = asdict(self)
        other = stored.pop("other")
        return {**stored, **other}


_RECORDING: Final = "2"
"""The version of what a recording has, for readers that compare what an earlier one lacks."""
_STORED_AS: Final[Mapping[str, Any]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": int | float,
    "dict[str, Any]": dict,
    "Mapping[str, Any]": dict,
    "Mapping[str, str]": dict,
    "tuple[str, ...]": list,
}
"""{type of a field: type of its value in JSON}; each may be followed by `| None`."""


class OtherForm(TypeError):
    """Stored JSON has another form than what is read from it; its text says where."""


def record_of(cls: type[_Stored], stored: Mapping[str, Any], **overrides: Any) -> _Stored:
    """Make a dataclass from the members of a JSON object that match its fields' names and types.

    Args:
        overrides: the fields that are not read.

    Raises:
        OtherForm: it is no object, a value is of another type than its field, or one is missing.
    """
    if not isinstance(stored, Mapping):
        raise OtherForm(f"it is no object but {stored!r:.80}")
    for name, kind, may_be_none in _fields_of(cls):  # type: ignore[arg-type]
        if name in overrides or name not in stored:
            continue
        value, stored_as = stored[name], _STORED_AS[kind]
        if value is None and may_be_none:
            overrides[name] = None
            continue
        if not isinstance(value, stored_as) or isinstance(value, bool) != (stored_as is bool):
            raise OtherForm(f"{name} is {value!r:.80}")
        if stored_as is list and not all(isinstance(item, str) for item in value):
            raise OtherForm(f"{name} holds other items than texts: {value!r:.80}")
        overrides[name] = tuple(value) if stored_as is list else value
    try:
        return cls(**overrides)
    except TypeError:
        lacking = {each.name for each in fields(cls)} - overrides.keys()  # type: ignore[arg-type]
        raise OtherForm(f"it lacks some of {', '.join(sorted(lacking))}") from None


def why_unread(error: Exception) -> str:
    """Why a stored file cannot be used, in words: an error of Python about another form says nothing."""
    has_text = isinstance(error, OSError | ValueError | OtherForm | AgentTraceError)
    return str(error) if has_text else "its content has another form"


@cache
def _fields_of(cls: Any) -> list[tuple[str, str, bool]]:
    """The name of each field, its type without `| None`, and whether it may be None."""
    typed = [(each.name, str(each.type)) for each in fields(cls)]
    return [(name, kind.removesuffix(" | None"), kind.endswith(" | None")) for name, kind in typed]


def create_session(root: Path, info: SessionInfo) -> Path:
    """Create a session's directory and description; if the id is taken, the session gets `<id>-2`, and so on.

    Raises:
        OSError: the root cannot be written; the new directory is removed.
    """
    if root.name.startswith(OPENED_ROOT):
        raise UsageError(
            "nothing can be recorded beside an encrypted session that is opened for reading",
            path=recorded_at(root / info.session_id),
            remedy="make it readable first: agent-trace seal SESSION --restore",
        )
    session, final_id = create_session_dir(root, info.session_id)
    try:
        replace_file(session_file(session), _encode(replace(info, session_id=final_id)))
    except BaseException:
        remove_empty_session(session)
        raise
    return session


def open_session(session: Path) -> SessionInfo:
    """Read the description of a session.

    Raises:
        SessionNotFound: it has no `session.json`.
        DamagedInput: `session.json` cannot be read.
    """
    remedy = "its events can still be read"
    info = read_stored(session_file(session), SessionInfo.from_object, "session.json", remedy)
    if info is None:
        raise SessionNotFound("the session has no session.json", path=session, remedy=remedy)
    return info


def session_info(session: Path) -> SessionInfo | None:
    """Return a session's description; None if it is lost, and with it targets and settings."""
    try:
        return open_session(session)
    except (SessionNotFound, DamagedInput):
        return None  # its events can still be read


def read_stored(path: Path, make: Callable[[Any], _Stored], subject: str, remedy: str) -> _Stored | None:
    """Read a JSON file and convert it with `make`; None if the file is missing.

    Raises:
        DamagedInput: the file cannot be read, or `make` rejects it; the message calls it `subject`.
    """
    try:
        return make(orjson.loads(read_file(path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, FileNotFoundError) or not path.parent.is_dir():
            return None  # never written; every other failure is damage
        raise DamagedInput(
            f"{subject} cannot be read: {why_unread(error)}", path=path, remedy=remedy
        ) from None


def update_session(session: Path, **changes: Any) -> SessionInfo:
    """Change fields of a session's description; `targets`, their signatures and `versions` are merged.

    Safe to call from several processes at the same time.

    Raises:
        SessionNotFound, DamagedInput: as in `open_session`.
        OSError: it cannot be written.
    """
    with locked(session, wait=True):
        info = open_session(session)
        for name in ("targets", "target_signatures", "versions"):
            if name in changes:
                changes[name] = {**getattr(info, name), **changes[name]}
        info = replace(info, **changes)
        replace_file(session_file(session), _encode(info))
    return info


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically: a reader sees the old content or the new one."""
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to an OSError without a file name, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file that is synced and replaces `path` if the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW
    try:
        with naming(path), os.fdopen(open_private(temporary, flags), "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the original error is raised
            temporary.unlink()
        raise


_HALF_WRITTEN: Final = re.compile(r"\..+\.([0-9]{1,9})\.new")


def remove_half_written(files: Iterable[Path]) -> bool:
    """Remove those of some files that killed processes left of `replacing`; return whether there were any."""
    is_any = False
    for path in files:
        match = _HALF_WRITTEN.fullmatch(path.name)
        if match is not None and not is_running(int(match[1])):
            path.unlink(missing_ok=True)
            is_any = True
    return is_any


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user named: replaced atomically, but a link and what is no regular file stay.

    Files of the tree are replaced by `replace_file` instead, which follows no link.
    """
    try:
        # also refuses the link of another user in a directory such as /tmp, where the kernel protects it
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        is_regular = True  # a new file, or one that a link already names
    if is_regular:
        replace_file(Path(os.path.realpath(path)), data)
        return
    # a pipe, a terminal or a device: a file with its name would take its place
    with naming(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as file:
        file.write(data)


def give_name(source: Path, new: Path, name: Path) -> None:
    """Give a content a new name, by a link if possible; FileExistsError if the name is taken.

    Args:
        source: a file with the content, which is linked.
        new: a file with the content (may be `source`), which is renamed if linking is impossible.
        name: the new name.
    """
    try:
        os.link(source, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # The file has the maximum number of links, or the file system has none: rename the new file.
        if name.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken", str(name)) from None
        new.rename(name)


def replace_durably(path: Path, data: bytes) -> None:
    """Replace a file atomically, and return only when the new name is on the disk."""
    replace_file(path, data)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Sync the entries of a directory to the disk."""
    fd = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encode(info: SessionInfo) -> bytes:
    return orjson.dumps(info.to_object(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The origin of a forked or resumed run."""

    run: str
    """The original as on a command line: a run id, a session id, or `SESSION/agent_id`."""
    session_id: str
    session_uid: str
    step: str
    """The point from which it continues, as the user gave it."""
    run_id: str = ""
    """The id of the new run."""
    patch: Any = None
    """What was changed at that point; None for a resumed run."""
    seed: int | None = None
    """The seed of the random generators from that point on; None if they were not seeded."""
    agents: tuple[str, ...] = ()
    """The agents whose code ran; for all others the responses recorded in the original were used."""
    by_itself: bool = False
    """Whether it continued by calling a method of the agent instead of repeating the original's actions."""
    from_event: str | None = None
    """The first event of the original that has a counterpart in this run."""
    from_timestamp: str | None = None
    relation: str = field(default=FORKED)
    """`forked_from` or `resumed_from`."""

    def to_object(self) -> dict[str, Any]:
        """Return the lineage as a JSON object, without `relation`, which is its key in `session.json`."""
        stored = asdict(self)
        del stored["relation"]
        return {name: value for name, value in stored.items() if value is not None}

    @classmethod
    def from_object(cls, relation: str, stored: Mapping[str, Any]) -> Self:
        """Read the result of `to_object`; TypeError if a required field is missing."""
        known_fields = {name: value for name, value in stored.items() if name != "patch"}
        return record_of(cls, known_fields, patch=stored.get("patch"), relation=relation)


def lineage_within(info: SessionInfo) -> Lineage | None:
    """Return the lineage in a session's description; None for an original."""
    for relation in (FORKED, RESUMED):
        stored = info.other.get(relation)
        if isinstance(stored, Mapping):
            try:
                return Lineage.from_object(relation, stored)
            except TypeError:
                return None  # written by a later version: treat it as an original
    return None


def lineage_of(session: Path) -> Lineage | None:
    """Return the lineage of the session in a directory; None if its description cannot be read."""
    info = session_info(session)
    return None if info is None else lineage_within(info)


def as_tree(rows: Iterable[tuple[str, str | None]]) -> list[tuple[str, int]]:
    """Order rows (name, origin) as a tree: returns (name, depth), children after their origin.

    Names whose origin is not among the rows are roots; the given order is kept.
    """
    listed = list(rows)
    names = {name for name, _ in listed}
    children: dict[str | None, list[str]] = {}
    for name, origin in listed:
        children.setdefault(origin if origin in names and origin != name else None, []).append(name)
    nodes: list[tuple[str, int]] = []
    waiting = [(name, 0) for name in reversed(children.get(None, []))]
    while waiting:
        name, depth = waiting.pop()
        nodes.append((name, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return nodes


records_separately = False
"""Set by a replay: code that it calls must not record into the program's session."""

_PATIENCE_S: Final = 5.0
_TURN_S: Final = 0.002
"""How long to wait for another process, which may have been stopped while it held the lock."""
_LONGEST_NAME: Final = 255


class Program(NamedTuple):
    """The common ancestor of all processes of a program."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Describe a running process; None if the system does not report its start time."""
        ticks = process_start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def is_of(self, info: SessionInfo) -> bool:
        """Return whether a session belongs to this program."""
        return (info.pid, info.process_start_ticks, info.host, info.boot_id) == (*self, hostname(), boot_id())


class SessionAgreement:
    """The locked file in which a program's processes agree on a session.

    Args:
        root: the trace root.
        program: the program; sessions of others are ignored.
        fd: descriptor of the open file.
    """

    def __init__(self, root: Path, program: Program, fd: int) -> None:
        self._root = root
        self._program = program
        self._fd = fd

    def session(self) -> Path | None:
        """Return the agreed session; None if there is none, or it may no longer be written to."""
        name = os.pread(self._fd, _LONGEST_NAME, 0).decode("utf-8", "replace").strip()
        path = self._root / name
        if not is_session_name(name) or not _is_private_directory(path):
            return None
        try:
            info = open_session(path)
        except AgentTraceError:
            return None  # removed or damaged: the program starts another session
        return path if info.recovered_at is None and self._program.is_of(info) else None

    def agree(self, session: Path) -> None:
        """Make processes that start later join this session."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{session.name}\n".encode(), 0)

    def forget(self) -> None:
        """Make processes that start later begin a new session; also removes the files of dead programs."""
        directory = programs_dir(self._root)
        path = _pid_scope()
        for name in [entry.name for entry in scan(directory)]:
            process, _, where = name.partition("@")
            pid, _, ticks = process.partition("-")
            if where != path or not pid.isdigit() or not ticks.isdigit():
                continue
            left = Program(int(pid), int(ticks))
            if left == self._program or Program.of(left.pid) != left:
                with contextlib.suppress(FileNotFoundError):
                    (directory / name).unlink()
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()


@contextlib.contextmanager
def agree_on_session(root: Path, program: Program, *, create: bool) -> Iterator[SessionAgreement | None]:
    """Lock a program's meeting file under a trace root during the block; None if that is impossible.

    That is the case without advisory locks, if the root cannot be written, if the file or its directory
    belongs to another user or is writable by others, and if another process holds the lock for 5 s.

    Args:
        root: the trace root.
        program: the program whose processes meet.
        create: whether to create root and file; else None if they are missing.
    """
    if records_separately:
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
        yield SessionAgreement(root, program, fd)
    finally:
        close_lock(fd)


def _directory(root: Path, *, create: bool) -> Path:
    directory = programs_dir(root)
    if create:
        with contextlib.suppress(FileExistsError):
            make_private(directory)
    if not _is_private_directory(directory):
        raise PermissionError(13, "others can write there", str(directory))
    return directory


def _name(program: Program) -> str:
    return f"{program.pid}-{program.start_ticks}@{_pid_scope()}"


def _pid_scope() -> str:
    """Return an id of the scope in which pids are unique: this machine or container since its boot."""
    from hashlib import blake2b  # loads OpenSSL, which questions do not need

    return blake2b(f"{hostname()}|{boot_id()}".encode(), digest_size=6).hexdigest()


def _is_private_directory(path: Path) -> bool:
    """Return whether it is a directory (not a link) of this user that nobody else can write to."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_private(status)


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _locked(path: Path, *, create: bool) -> int | None:
    """Open and lock a file; None if the file cannot be trusted, or the lock is not free within 5 s."""
    fcntl: Any = __import__("fcntl")
    for _ in turns(_PATIENCE_S, _TURN_S):
        fd = open_lock(path, create=create)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            close_lock(fd)
            continue
        except OSError:
            close_lock(fd)
            raise
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and _is_private(status) and status.st_nlink == 1:
            return fd
        close_lock(fd)
        # a file without links was removed before we had the lock: try again
        if status.st_nlink:
            return None
    return None
