"""Where everything lies on disk: the one place that makes and parses file names.

Writers go on to `segment` and `writer`; readers go on to `lines` and `reader`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from base64 import b32encode
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from Agent.errors import SessionNotFound

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
NO_LINK: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""The errors by which a file system says that it makes no hard link, or not this one."""
NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""Opens no link; 0 where the system has no such flag."""
NO_FILE: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.ELOOP, errno.ENXIO})
"""What `open_file` answers where there is no plain file: none, a link, a directory, a pipe, a socket."""
NO_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What listing a directory answers where there is none: nothing, a file, a link to nothing or to itself."""
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW
"""Makes a file that must not exist yet."""

CATEGORY_FILES: Final = {
    "learning": "learning",
    "interactions": "interactions",
    "performance": "performance",
    "events": "events",
    "system": "system",
    "errors": "errors",
}
"""Category to the stem of its session file, for events of no single agent; any other goes to `events`."""

MIRROR_FILES: Final = {
    "agents": "agents/agents.log",
    "learning": "learning/learning.log",
    "interactions": "interactions/interactions.log",
    "performance": "performance/performance.log",
    "events": "events/events.log",
    "system": "system/system.jsonl",
    "errors": "errors/errors.jsonl",
    "system.text": "system/system.log",
    "errors.text": "errors/errors.log",
}
"""Category to its rolling mirror under the root; the two `.text` ones are twins for people."""

RUN_CATEGORY: Final = "runs/"
"""How the category of a stream begins that is one run's; the run's id follows."""

LAST: Final = "last"
"""The newest session that a program recorded, on a command line."""

LAST_FORK: Final = "last-fork"
"""The newest session that `fork` or `resume` made."""

FORKED: Final = "forked_from"
RESUMED: Final = "resumed_from"
"""Keys of `session.json` that hold what a forked or resumed run was made from."""

_SESSION_PREFIX = "session_"
_SURROGATE = re.compile("[\udc80-\udcff]")
_PLAIN_NAME = re.compile(r"[a-z0-9_][a-z0-9_.\-]{0,99}")
_UNSAFE_RUN = re.compile(r"[^A-Za-z0-9_.\-]+")
_ENDS_LIKE_A_SEGMENT = re.compile(r"\.[0-9]+\Z")
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "clock$", "conin$", "conout$"}
    | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
)
_FILE_NAME = re.compile(
    r"(?P<stem>[^@/]+?)(?:@(?P<writer>[a-z2-7]{8}))?(?:\.(?P<segment>[1-9][0-9]{0,17}))?(?:\.log|\.jsonl)"
)
_SESSION_NAME = re.compile(r"session_(?P<second>.+?)(?:-(?P<repeat>[2-9]|[1-9][0-9]+))?")

_ROOT_README = """\
# trace/

Recordings of Agent Trace: one directory per session, and rolling mirrors by category.

- `session_YYYYMMDD_HHMMSS/` holds one execution of a program, named in UTC. Copy that directory to copy the
  whole session.
- `agents/`, `learning/`, `interactions/`, `performance/`, `events/`, `system/`, `errors/` mirror the lines of
  all sessions for people and their tools (`tail -F`). You may delete them at any time.

The files contain inputs and outputs of your agents, with secrets redacted; only you can read them. They are
JSON lines, except `system/system.log` and `errors/errors.log`, which show the same events as text.
`agent-trace sessions` lists the sessions, `agent-trace --help` the other commands.
"""


class FileName(NamedTuple):
    """What the name of a log file says: whose it is, which further writer made it, which segment it is."""

    stem: str
    writer: str | None
    segment: int | None


class SessionRef(NamedTuple):
    """One session under a root, by id and directory."""

    session_id: str
    path: Path


@lru_cache(maxsize=4096)
def safe_name(agent_id: str) -> str:
    """The one file stem of an agent: its id where that is harmless, else a readable part, `~` and a hash.

    Never empty, never holds `@`, never ends in `.digits`, at most 117 bytes of ASCII, and two different ids
    never share a name, not even on a file system that ignores case.
    """
    if _is_plain(agent_id):
        return agent_id
    import hashlib

    digest = hashlib.blake2b(agent_id.encode("utf-8", "surrogatepass"), digest_size=10).digest()
    readable = _UNSAFE_RUN.sub("_", agent_id).lstrip(".-")[:100].rstrip(".")
    # a device name stays one whatever follows its first dot, so that part is broken up
    if _is_device(readable):
        readable = "_" + readable[:99]
    return f"{readable or 'agent'}~{b32encode(digest).decode().lower()}"


def _is_plain(agent_id: str) -> bool:
    return (
        _PLAIN_NAME.fullmatch(agent_id) is not None
        and not agent_id.endswith(".")
        and _ENDS_LIKE_A_SEGMENT.search(agent_id) is None
        and not _is_device(agent_id)
    )


def _is_device(name: str) -> bool:
    return name.partition(".")[0].lower() in _DEVICES


def parse_file_name(name: str) -> FileName | None:
    """What `<stem>[@writer][.n].log` (`.jsonl`) says, or None for a name that is no log file of a session."""
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        return None
    number = found["segment"]
    return FileName(found["stem"], found["writer"], None if number is None else int(number))


def segment_order(name: FileName) -> tuple[str, str, float]:
    """Sort key that keeps a writer's segments together, oldest first and the live file last."""
    return (name.stem, name.writer or "", float("inf") if name.segment is None else name.segment)


def agents_dir(session: Path) -> Path:
    """Where the agents' files of a session lie."""
    return session / "agents"


def runs_dir(session: Path) -> Path:
    """Where the runs of a session lie."""
    return session / "runs"


def run_dir(session: Path, run_id: str) -> Path:
    """Where the events, artifacts, checkpoints and replays of one run lie."""
    return runs_dir(session) / safe_name(run_id)


def claims_dir(session: Path) -> Path:
    """Where the writers of a session leave their claims."""
    return session / ".state" / "writers"


def boards_dir(session: Path) -> Path:
    """Where the boards of the writers lie while their sessions are open."""
    return session / ".state" / "board"


def chains_dir(session: Path) -> Path:
    """Where the writers of a session leave the digests of what they wrote."""
    return session / ".state" / "chain"


def chain_file(session: Path, writer: str) -> Path:
    """The digests of one writer's blocks of lines."""
    return chains_dir(session) / f"{writer}.jsonl"


def cursors_dir(session: Path) -> Path:
    """Where those who send a session elsewhere leave how far they are."""
    return session / ".state" / "cursors"


def recovered_file(session: Path) -> Path:
    """What was found out about a crashed session when it was recovered."""
    return session / ".state" / "recovered.json"


def retired_file(session: Path) -> Path:
    """The account of what retention removed."""
    return session / ".state" / "retired.json"


def retention_lock_file(session: Path) -> Path:
    """What the one process that removes segments of a session has locked while it does."""
    return session / ".state" / "retention.lock"


def retention_pass_file(session: Path) -> Path:
    """What the one process that finds out which segments of a session have to go has locked."""
    return session / ".state" / "retention.pass"


def reading_lock_file(session: Path) -> Path:
    """What those have locked, together, who read a session's segments by name."""
    return session / ".state" / "reading.lock"


def programs_dir(root: Path) -> Path:
    """Where processes agree on a session that were started before there was one."""
    return root / ".programs"


def session_id_of(session: Path) -> str:
    """The id of the session in a directory, as its name has it."""
    return session.name.removeprefix(_SESSION_PREFIX)


def session_file(session: Path) -> Path:
    """The description of a session."""
    return session / "session.json"


def summary_file(session: Path) -> Path:
    """The cached summary of a session."""
    return session / "trace_summary.json"


def category_file(category: str) -> str:
    """The stem of the session file that holds a category's events of no single agent."""
    return CATEGORY_FILES.get(category, "events")


def agent_files(session: Path, agent_id: str) -> list[Path]:
    """All files of one agent, each writer's segments in order, the live one last; empty if it has none."""
    return stem_files(agents_dir(session), safe_name(agent_id))


def category_files(session: Path, category: str) -> list[Path]:
    """All files of one category's events of no single agent, in order."""
    return stem_files(session, category_file(category))


def stem_files(directory: Path, stem: str, suffix: str = ".log") -> list[Path]:
    """All files of one stem in one directory, in order."""
    return [directory / name for name, parsed in _log_files(directory, stem, suffix) if parsed.stem == stem]


def run_files(session: Path, run_id: str) -> list[Path]:
    """The files that hold a run's own events: `events.jsonl`, and those of further writers."""
    return stem_files(run_dir(session, run_id), "events", ".jsonl")


def run_ids(session: Path) -> list[str]:
    """The ids of a session's explicit runs, oldest first where they are UUIDs of version 7."""
    return [
        run.name
        for run in run_dirs(session)
        if (run / "events.jsonl").is_file() or stem_files(run, "events", ".jsonl")
    ]


def run_dirs(session: Path) -> list[Path]:
    """The directories of a session's runs by name, those without events included; links not followed."""
    runs = runs_dir(session)
    return [runs / name for name in sorted(each.name for each in _below(runs) if _is_plain_directory(each))]


def tree_files(session: Path) -> list[Path]:
    """Every file of a session's events, in order: the session's own, the agents', the runs'."""
    return log_files(session) + [file for name in run_ids(session) for file in run_files(session, name)]


def log_files(session: Path) -> list[Path]:
    """Every log file of a session, in order: the session's own first, then the agents'."""
    own = [session / name for name, parsed in _log_files(session) if parsed.stem in CATEGORY_FILES.values()]
    agents = agents_dir(session)
    return own + [agents / name for name, _ in _log_files(agents)]


def tree_entries(session: Path) -> Iterator[os.DirEntry[str]]:
    """The files of `tree_files` in no order and one at a time, since a list of them takes 1 KB for each."""
    yield from _entries(session, ".log", frozenset(CATEGORY_FILES.values()))
    yield from _entries(agents_dir(session), ".log")
    for name in run_ids(session):
        yield from _entries(runs_dir(session) / name, ".jsonl", frozenset({"events"}))


def _entries(directory: Path, suffix: str, stems: frozenset[str] | None = None) -> Iterator[os.DirEntry[str]]:
    for entry in _below(directory):
        if not entry.name.endswith(suffix):
            continue
        parsed = parse_file_name(entry.name)
        if parsed is not None and (stems is None or parsed.stem in stems):
            yield entry


def is_tree_file(session: Path, path: Path) -> bool:
    """Whether a path is, by its place and name, one of those that `tree_files` lists."""
    parsed = parse_file_name(path.name)
    if parsed is None:
        return False
    if path.suffix == ".jsonl":
        return parsed.stem == "events" and path.parent.parent == runs_dir(session)
    if path.parent == session:
        return parsed.stem in CATEGORY_FILES.values()
    return path.parent == agents_dir(session)


def _log_files(directory: Path, prefix: str = "", suffix: str = ".log") -> list[tuple[str, FileName]]:
    names: set[str] = set()
    # Twice, since one look can miss a file that gets its number just then: under the old name it was looked
    # for too late, under the new one too early.
    for _ in range(2):
        names.update(
            entry.name
            for entry in _below(directory)
            if entry.name.startswith(prefix) and entry.name.endswith(suffix)
        )
    parsed = [(name, found) for name in names if (found := parse_file_name(name)) is not None]
    return sorted(parsed, key=lambda pair: segment_order(pair[1]))


def inode_at(path: Path) -> tuple[int, int] | None:
    """Device and inode of what stands under a name, links not followed; None where nothing does."""
    try:
        status = path.lstat()
    except OSError:
        return None  # gone: equal to no other
    return status.st_dev, status.st_ino


def open_file(path: Path) -> tuple[int, os.stat_result]:
    """Open a plain file for reading, never through a link, never waiting for a pipe; else OSError."""
    fd = os.open(path, os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(fd)
    except OSError:
        os.close(fd)
        raise
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    raise OSError(errno.EINVAL, "not a plain file", str(path))


def read_file(path: Path) -> bytes:
    """All bytes of a plain file; OSError as `open_file`."""
    with os.fdopen(open_file(path)[0], "rb") as file:
        return file.read()


def scan(directory: Path) -> Iterator[os.DirEntry[str]]:
    """The entries of a directory in no order; none where there is no such directory.

    Everything in the tree is listed here. A name that is not UTF-8 is none of the tree's: no line, no query
    and no report could hold it. `passed_over` names what is left out.
    """
    try:
        with os.scandir(directory) as entries:
            yield from (entry for entry in entries if is_text(entry.name))
    except OSError as error:
        if error.errno not in NO_DIRECTORY:
            raise


def _below(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Those of a directory in a session; none of a link to one above it, whose files would count twice."""
    return iter(()) if leads_above(directory) else scan(directory)


def leads_above(path: Path) -> bool:
    """Whether a path is a link to a directory that it lies in itself."""
    if not path.is_symlink():
        return False
    # unlike `Path.resolve` it answers for a loop of links as well
    real = os.path.realpath
    return Path(real(path.parent)).is_relative_to(real(path))


def is_text(name: str) -> bool:
    """Whether a name is UTF-8; Python has bytes that are none as lone surrogates."""
    return name.isascii() or not _SURROGATE.search(name)


def _is_plain_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def shown_name(name: str) -> str:
    """A name as text, the bytes that are none as escapes."""
    return name if is_text(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def passed_over(directory: Path, *, below: bool = True) -> Iterator[tuple[Path, str]]:
    """What stands in a directory and is none of the tree's, each with the reason; links not followed.

    Args:
        directory: a session, or the trace root.
        below: look into the directories in it, too.
    """
    waiting = [directory]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno not in NO_DIRECTORY:
                raise
            continue
        for entry in found:
            path = place / entry.name
            if (why := _why_passed_over(entry, path)) is not None:
                yield path, why
            elif below and _is_plain_directory(entry):
                waiting.append(path)


def _why_passed_over(entry: os.DirEntry[str], path: Path) -> str | None:
    if not is_text(entry.name):
        return "its name is not UTF-8"
    if entry.is_symlink():
        return "a loop of links" if _is_loop(path) or leads_above(path) else None
    is_known = entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
    return None if is_known else "neither a file nor a directory"


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def files_below(directory: Path) -> list[Path]:
    """Every plain file below a directory by name, links not followed."""
    found, waiting = [], [directory]
    while waiting:
        place = waiting.pop()
        for entry in scan(place):
            if _is_plain_directory(entry):
                waiting.append(place / entry.name)
            elif entry.is_file(follow_symlinks=False):
                found.append(place / entry.name)
    return sorted(found)


def entries_in(directory: Path, ending: str = "", beginning: str = "") -> list[Path]:
    """The entries of a directory whose names begin and end so, by name; none where there is no directory."""
    names = [entry.name for entry in scan(directory)]
    return [
        directory / name for name in sorted(names) if name.startswith(beginning) and name.endswith(ending)
    ]


def make_root(root: Path) -> None:
    """Make the root of the tree and, once, the README.md that says what it is."""
    root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    try:
        fd = os.open(root / "README.md", NEW_FILE, FILE_MODE)
    except FileExistsError:
        return  # the README.md is there: nothing is overwritten
    with os.fdopen(fd, "w", encoding="utf-8") as readme:
        readme.write(_ROOT_README)


def create_session_dir(root: Path, session_id: str) -> tuple[Path, str]:
    """Make a session's directory exclusively; the second of one id becomes `<id>-2`, and so on.

    Returns:
        The directory and the id that it got.
    """
    make_root(root)
    for final_id in _candidates(session_id):
        session = root / f"{_SESSION_PREFIX}{final_id}"
        try:
            session.mkdir(mode=DIRECTORY_MODE)
        except FileExistsError:
            continue  # taken, so the next id is tried
        try:
            for directory in _made_with(session):
                directory.mkdir(mode=DIRECTORY_MODE)
        except OSError:
            remove_empty_session(session)
            raise
        return session, final_id
    raise AssertionError("unreachable: the candidates never end")


def _made_with(session: Path) -> tuple[Path, ...]:
    return agents_dir(session), session / ".state", claims_dir(session), boards_dir(session)


def remove_empty_session(session: Path) -> None:
    """Remove the empty directories of a session that could not be created."""
    for directory in (*reversed(_made_with(session)), session):
        with contextlib.suppress(OSError):  # whoever could not make it may not be able to remove it
            directory.rmdir()


def is_session_name(name: str) -> bool:
    """Whether a directory of that name under a root is a session."""
    return _SESSION_NAME.fullmatch(name) is not None and os.sep not in name


def _candidates(session_id: str) -> Iterator[str]:
    yield session_id
    repeat = 2
    while True:
        yield f"{session_id}-{repeat}"
        repeat += 1


def list_sessions(root: Path) -> list[SessionRef]:
    """The sessions under a root, newest last; empty where there is no such root."""
    found = [
        (match["second"], int(match["repeat"] or 1), entry.name)
        for entry in scan(root)
        if (match := _SESSION_NAME.fullmatch(entry.name)) and _is_plain_directory(entry)
    ]
    return [SessionRef(name.removeprefix(_SESSION_PREFIX), root / name) for _, _, name in sorted(found)]


def find_session(root: Path, ref: str | os.PathLike[str] | None = None) -> Path:
    """The directory of one session.

    Args:
        root: the trace root.
        ref: None or "last" for the newest that a program recorded, "last-fork" for the newest that `fork` or
            `resume` made, an id, a prefix of exactly one id, or a path.

    Raises:
        SessionNotFound: nothing, or more than one session, answers to that name.
    """
    if isinstance(ref, os.PathLike):
        return _session_at(Path(ref))
    sessions = list_sessions(root)
    if ref in {None, LAST, LAST_FORK}:
        wants_fork = ref == LAST_FORK
        for session in reversed(sessions):
            if _is_fork(session.path) is wants_fork:
                return session.path
        if wants_fork:
            raise SessionNotFound(
                "no forked or resumed run here yet", path=root, remedy="`agent-trace fork RUN` creates one"
            )
        raise SessionNotFound(
            "only forked or resumed runs are here" if sessions else "no session here yet",
            path=root,
            remedy="last-fork names the newest of them"
            if sessions
            else "name another trace root or record one",
        )
    assert ref is not None  # noqa: S101 - one of the three above, for the type checker
    wanted = ref.removeprefix(_SESSION_PREFIX)
    if wanted in {session.session_id for session in sessions}:
        return root / f"{_SESSION_PREFIX}{wanted}"
    matches = [session for session in sessions if wanted and session.session_id.startswith(wanted)]
    if len(matches) == 1:
        return matches[0].path
    if matches:
        ids = ", ".join(session.session_id for session in matches[:5])
        raise SessionNotFound(
            f"{ref!r} is the beginning of {len(matches)} sessions: {ids}",
            path=root,
            remedy="give more of the id",
        )
    if os.sep in ref:
        return _session_at(Path(ref))
    raise SessionNotFound(
        f"no session {ref!r}", path=root, remedy="`agent-trace sessions` lists all sessions"
    )


def _is_fork(session: Path) -> bool:
    """Whether `fork` or `resume` made it; one whose description cannot be read counts as recorded."""
    try:
        stored = orjson.loads(read_file(session_file(session)))
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(stored, dict) and not stored.keys().isdisjoint({FORKED, RESUMED})


def is_directory(path: Path) -> bool:
    """Whether a directory is there; unlike `Path.is_dir` False also for a name that is too long for one."""
    return os.path.isdir(path)  # noqa: PTH112


def _session_at(path: Path) -> Path:
    if is_directory(path) and (session_file(path).is_file() or agents_dir(path).is_dir()):
        return path
    raise SessionNotFound("no session there", path=path, remedy="give the path of a session_... directory")
