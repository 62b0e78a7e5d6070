"""`session.json`: what a session was, who ran it and what can replay it.

Written when the session is made, and replaced as a whole whenever something is added.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import orjson

from Agent.errors import DamagedInput, SessionNotFound
from Agent.event.clock import format_timestamp
from Agent.event.ids import session_id_for, uuid7
from Agent.tree.files.descriptors import locked
from Agent.tree.files.writer_claim import boot_id, hostname, process_start_ticks
from Agent.tree.layout import FILE_MODE, FORKED, RESUMED, create_session_dir, session_file
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
        OSError: the root cannot be written.
    """
    session, final_id = create_session_dir(root, info.session_id)
    replace_file(session_file(session), _encode(replace(info, session_id=final_id)))
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
        return make(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None  # never written; all else that fails is damage
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
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
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that is synced and takes the place of `path` if the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(temporary, flags, FILE_MODE), "wb") as file:
            yield file
            file.flush()
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
    fd = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
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
