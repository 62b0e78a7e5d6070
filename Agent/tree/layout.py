"""The layout of the trace tree on disk: the only module that builds and parses file names.

For writing see `segment` and `writer`, for reading `lines` and `reader`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from base64 import b32encode
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from Agent.errors import DamagedInput, SessionEncrypted, SessionNotFound
from Agent.event.system_clock import SystemClock
from Agent.tree import default_root
from Agent.tree.links import leads_above, refuse_links

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
NO_LINK: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""Errors of a file system that does not support hard links, or refuses this one."""
NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""Makes `open` refuse symbolic links; 0 on systems without this flag."""
NO_FILE: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.ELOOP, errno.ENXIO})
"""Errors of `open_file` if the path is not a regular file: missing, a link, a directory, a pipe, a socket."""
NO_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors of listing a path that is not a directory: missing, a file, a dangling link, a loop of links."""
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW
"""Flags that create a file and fail if it exists."""

CATEGORY_FILES: Final = ("learning", "interactions", "performance", "events", "system", "errors")
"""The categories with a session file of that stem, for events without an agent; others go to `events`."""

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
"""Category to its rolling mirror under the root; the two `.text` entries hold the same events as text."""

RUN_CATEGORY: Final = "runs/"
"""Prefix of the category of a run's stream; the run's id follows."""

LAST: Final = "last"
"""Command line name of the newest session that a program recorded."""

LAST_FORK: Final = "last-fork"
"""Command line name of the newest session that `fork` or `resume` created."""

FORKED: Final = "forked_from"
RESUMED: Final = "resumed_from"
"""Keys of `session.json` that hold the origin of a forked or resumed run."""

OPENED_ROOT: Final = "agent-trace-opened-"
"""The prefix of the directories in which encrypted sessions are opened; nothing is recorded there."""

OPENED_FROM: Final = ".opened_from"
"""The file there that contains the path of the encrypted session."""

_SESSION_PREFIX = "session_"
_IN_SESSION = frozenset({"session.json", "sealed.aes", "agents", "archive", "runs", ".state"})
"""Every session has one of these names."""
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
    """The parts of a log file's name: stem, id of a further writer, segment number (None in a live file)."""

    stem: str
    writer: str | None
    segment: int | None


class SessionRef(NamedTuple):
    """One session under a root, by id and directory."""

    session_id: str
    path: Path


@lru_cache(maxsize=4096)
def safe_name(agent_id: str) -> str:
    """Return the file stem of an agent: its id if that is a safe name, else a readable part, `~` and a hash.

    The stem has 1 to 117 bytes of ASCII, contains no `@` and does not end in `.digits`. Two different ids
    never share a stem, not even on a file system that ignores case.
    """
    if _is_plain(agent_id):
        return agent_id
    import hashlib

    digest = hashlib.blake2b(agent_id.encode("utf-8", "surrogatepass"), digest_size=10).digest()
    readable = _UNSAFE_RUN.sub("_", agent_id).lstrip(".-")[:100].rstrip(".")
    # Windows ignores what follows the first dot of a device name, so the name itself has to change
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
    """Parse `<stem>[@writer][.n].log` (or `.jsonl`); None if the name is not that of a session's log file."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    number = match["segment"]
    return FileName(match["stem"], match["writer"], None if number is None else int(number))


def segment_order(name: FileName) -> tuple[str, str, float]:
    """Return a sort key that keeps a writer's segments together, oldest first and the live file last."""
    return (name.stem, name.writer or "", float("inf") if name.segment is None else name.segment)


def agents_dir(session: Path) -> Path:
    """Directory of a session's agent files."""
    return session / "agents"


def runs_dir(session: Path) -> Path:
    """Directory of a session's runs."""
    return session / "runs"


def run_dir(session: Path, run_id: str) -> Path:
    """Directory of one run: its events, artifacts, checkpoints and replays."""
    return runs_dir(session) / safe_name(run_id)


def claims_dir(session: Path) -> Path:
    """Directory of the writers' claims."""
    return session / ".state" / "writers"


def boards_dir(session: Path) -> Path:
    """Directory of the writers' crash boards, which exist while the session is open."""
    return session / ".state" / "board"


def chains_dir(session: Path) -> Path:
    """Directory of the digests that the writers keep of their lines."""
    return session / ".state" / "chain"


def chain_file(session: Path, writer: str) -> Path:
    """File with the digests of one writer's blocks of lines."""
    return chains_dir(session) / f"{writer}.jsonl"


def cursors_dir(session: Path) -> Path:
    """Directory of the positions of exporters that send the session elsewhere."""
    return session / ".state" / "cursors"


def view_dir(session: Path) -> Path:
    """Directory of the index for the pages of a session; it may be removed at any time."""
    return session / ".state" / "view"


def control_dir(session: Path) -> Path:
    """Directory with the requests to a running program that allows control; see `files/control.py`."""
    return session / ".state" / "control"


def recovered_file(session: Path) -> Path:
    """File with the findings of the recovery of a crashed session."""
    return session / ".state" / "recovered.json"


def retired_file(session: Path) -> Path:
    """File with the list of what retention removed."""
    return session / ".state" / "retired.json"


def retention_lock_file(session: Path) -> Path:
    """Lock of the process that removes segments of a session."""
    return session / ".state" / "retention.lock"


def retention_pass_file(session: Path) -> Path:
    """Lock of the process that runs a retention pass over a session."""
    return session / ".state" / "retention.pass"


def reading_lock_file(session: Path) -> Path:
    """Shared lock of the readers that open a session's segments by name."""
    return session / ".state" / "reading.lock"


def programs_dir(root: Path) -> Path:
    """Directory in which processes that were started before a session existed agree on one."""
    return root / ".programs"


def session_id_of(session: Path) -> str:
    """Return the session id in the name of a session's directory."""
    return session.name.removeprefix(_SESSION_PREFIX)


def session_file(session: Path) -> Path:
    """File with the description of a session."""
    return session / "session.json"


def encrypted_file(session: Path) -> Path:
    """File with a whole session, encrypted."""
    return session / "sealed.aes"


def is_encrypted(session: Path) -> bool:
    """Return whether a session can only be read with a key; one with a description is readable."""
    return encrypted_file(session).is_file() and not session_file(session).is_file()


def readable(session: Path) -> Path:
    """Return where a session can be read: its directory, or where an encrypted one is opened.

    Raises:
        SessionEncrypted: it is encrypted, and no key is given.
        InputError: a link in the place of one of its directories leads out of it.
    """
    if is_encrypted(session):
        return default_root.open_encrypted(session)
    refuse_links(session, leading_out=True)
    return session


def recorded_at(session: Path) -> Path:
    """Return the original directory of a session, also for an encrypted one that is opened."""
    if session.parent.name.startswith(OPENED_ROOT):
        with contextlib.suppress(OSError):  # use the directory in which it is opened
            return Path(os.fsdecode(read_file(session.parent / OPENED_FROM)))
    return session


def readable_sessions(root: Path) -> list[SessionRef]:
    """Return the sessions under a root as `list_sessions` does, encrypted ones opened if they can be."""
    sessions = []
    for ref in list_sessions(root):
        try:
            sessions.append(SessionRef(ref.session_id, readable(ref.path)))
        except (SessionEncrypted, DamagedInput):
            sessions.append(ref)  # it has no readable files
    return sessions


def summary_file(session: Path) -> Path:
    """File with the cached summary of a session."""
    return session / "trace_summary.json"


def category_file(category: str) -> str:
    """Return the stem of the session file for a category's events without an agent."""
    return category if category in CATEGORY_FILES else "events"


def agent_files(session: Path, agent_id: str) -> list[Path]:
    """Return all files of one agent, each writer's segments in order, the live file last."""
    return stem_files(agents_dir(session), safe_name(agent_id))


def category_files(session: Path, category: str) -> list[Path]:
    """Return all session files of one category, in order."""
    return stem_files(session, category_file(category))


def stem_files(directory: Path, stem: str, suffix: str = ".log") -> list[Path]:
    """Return all files with one stem in a directory, in order."""
    listed = _names_by_stem(directory, suffix)
    if listed is None:
        found = _log_files(directory, stem, suffix)
        return [directory / name for name, parsed in found if parsed.stem == stem]
    return [directory / name for name in listed.get(stem, ())]


def _names_by_stem(directory: Path, suffix: str) -> dict[str, list[str]] | None:
    """Return the names of a directory's log files by stem; None for one that changed a moment ago.

    Otherwise questions about each of 1,000 agents would list 1,000 files each time.
    """
    state, key = settled_state(directory), (str(directory), suffix)
    if state is None:
        return None
    known = _listings.get(key)
    if known is not None and known[0] == state:
        return known[1]
    by_stem: dict[str, list[str]] = {}
    for name, parsed in _log_files(directory, "", suffix):
        by_stem.setdefault(parsed.stem, []).append(name)
    while len(_listings) >= _MOST_LISTINGS:
        _listings.pop(next(iter(_listings), key), None)
    _listings[key] = state, by_stem
    return by_stem


_MOST_LISTINGS: Final = 32
_listings: dict[tuple[str, str], tuple[tuple[int, ...], dict[str, list[str]]]] = {}
SETTLED_NS: Final = 2_000_000_000
"""For so long after a change, another one may leave the same time: the file system's clock is coarse."""


def settled_state(*directories: Path) -> tuple[int, ...] | None:
    """Return a value that changes when a name in the directories changes; None if that cannot be relied on.

    None without directories, and if one is missing or changed in the last 2 s: another change within the
    resolution of the file system's clock would leave the same mtime.
    """
    facts: list[int] = []
    for directory in directories:
        try:
            status = directory.stat()
        except OSError:
            return None
        if SystemClock.wall_ns() - status.st_mtime_ns < SETTLED_NS:
            return None
        facts += (status.st_dev, status.st_ino, status.st_mtime_ns)
    return tuple(facts) or None


def run_files(session: Path, run_id: str) -> list[Path]:
    """Return the files of a run's own events: `events.jsonl`, its segments, and those of further writers."""
    return stem_files(run_dir(session, run_id), "events", ".jsonl")


def run_ids(session: Path) -> list[str]:
    """Return the ids of a session's runs, without the root run; sorted, so UUIDs of version 7 by age."""
    return [
        run.name
        for run in run_dirs(session)
        if (run / "events.jsonl").is_file() or stem_files(run, "events", ".jsonl")
    ]


def run_dirs(session: Path) -> list[Path]:
    """Return the directories of a session's runs by name, even without events; links are skipped."""
    runs = runs_dir(session)
    return [runs / name for name in sorted(each.name for each in _below(runs) if _is_plain_directory(each))]


def tree_files(session: Path) -> list[Path]:
    """Return every event file of a session, in order: the session's own, the agents', the runs'."""
    return log_files(session) + [file for name in run_ids(session) for file in run_files(session, name)]


def log_files(session: Path) -> list[Path]:
    """Return the log files of a session, in order: the session's own, then the agents'."""
    mirrors = [session / name for name, parsed in _log_files(session) if parsed.stem in CATEGORY_FILES]
    agents = agents_dir(session)
    return mirrors + [agents / name for name, _ in _log_files(agents)]


def tree_entries(session: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files of `tree_files` unordered and one at a time: a list would take 1 KB per file."""
    yield from _entries(session, ".log", frozenset(CATEGORY_FILES))
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
    """Return whether a path has the place and name of a file in `tree_files`."""
    parsed = parse_file_name(path.name)
    if parsed is None:
        return False
    if path.suffix == ".jsonl":
        return parsed.stem == "events" and path.parent.parent == runs_dir(session)
    if path.parent == session:
        return parsed.stem in CATEGORY_FILES
    return path.parent == agents_dir(session)


def _log_files(directory: Path, prefix: str = "", suffix: str = ".log") -> list[tuple[str, FileName]]:
    names: set[str] = set()
    # List twice: a single scan can miss a file that is renamed while it runs, because it can pass the new
    # name before the rename and the old name after it.
    for _ in range(2):
        names.update(
            entry.name
            for entry in _below(directory)
            if entry.name.startswith(prefix) and entry.name.endswith(suffix)
        )
    parsed = [(name, parsed_name) for name in names if (parsed_name := parse_file_name(name)) is not None]
    return sorted(parsed, key=lambda pair: segment_order(pair[1]))


def inode_at(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a path without following links; None if it is missing."""
    try:
        status = path.lstat()
    except OSError:
        return None  # missing: differs from every known inode
    return status.st_dev, status.st_ino


class NotPlainFile(OSError):
    """Raised where a file of the tree is expected and something else is, which is left alone."""

    remedy = "put the recorded file back in its place, or remove what is there"


LINK: Final = "a symbolic link, which is not followed"


def open_file(path: Path | str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; NotPlainFile for links and others. Does not block on a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):  # noqa: PTH114 - not a loop on the way to it
            raise NotPlainFile(errno.ELOOP, LINK, str(path)) from None
        raise
    try:
        status = os.fstat(fd)
    except OSError:
        os.close(fd)
        raise
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    raise NotPlainFile(errno.EINVAL, "not a plain file", str(path))


def read_file(path: Path) -> bytes:
    """Return all bytes of a regular file; OSError as in `open_file`."""
    with os.fdopen(open_file(path)[0], "rb") as file:
        return file.read()


def scan(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a directory, unordered; nothing if it does not exist.

    All listings of the tree use this function. Names that are not UTF-8 are skipped, because no line, query
    or report could contain them. `passed_over` lists what is skipped.
    """
    try:
        with os.scandir(directory) as entries:
            yield from (entry for entry in entries if is_text(entry.name))
    except OSError as error:
        if error.errno not in NO_DIRECTORY:
            raise


def _below(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Like `scan`, but nothing for a link to a directory above, whose files would count twice."""
    return iter(()) if leads_above(directory) else scan(directory)


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8; Python decodes other bytes to lone surrogates."""
    return name.isascii() or not _SURROGATE.search(name)


def _is_plain_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def shown_name(name: str) -> str:
    """Return a name as text, with bytes that are not UTF-8 as escapes."""
    return name if is_text(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def passed_over(directory: Path, *, below: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield the entries that readers of the tree skip, each with the reason; links are not followed.

    Args:
        directory: a session, or the trace root.
        below: whether to search subdirectories.
    """
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno not in NO_DIRECTORY:
                raise
            continue
        for entry in ordered:
            path = current / entry.name
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


def files_below(directory: Path, enters: Callable[[str], bool] = lambda _: True) -> list[Path]:
    """Return every regular file below a directory by name; links are not followed.

    Args:
        directory: where to begin.
        enters: whether to look into a directory of this name.
    """
    files, waiting = [], [directory]
    while waiting:
        current = waiting.pop()
        for entry in scan(current):
            if _is_plain_directory(entry):
                if enters(entry.name):
                    waiting.append(current / entry.name)
            elif entry.is_file(follow_symlinks=False):
                files.append(current / entry.name)
    return sorted(files)


def entries_in(directory: Path, ending: str = "", beginning: str = "") -> list[Path]:
    """Return the entries of a directory with a prefix and a suffix, sorted; empty if it does not exist."""
    names = [entry.name for entry in scan(directory)]
    return [
        directory / name for name in sorted(names) if name.startswith(beginning) and name.endswith(ending)
    ]


def make_private(path: Path, *, parents: bool = False, exist_ok: bool = False) -> None:
    """Create a directory that its owner alone may use, whatever the umask; parents get the usual mode."""
    try:
        path.mkdir(mode=DIRECTORY_MODE)
    except FileNotFoundError:
        if not parents or path.parent == path:
            raise
        for above in reversed([each for each in path.parents if not os.path.lexists(each)]):
            with contextlib.suppress(FileExistsError):
                above.mkdir()
                _let_owner_use(above)
        make_private(path, exist_ok=exist_ok)
    except OSError:
        if not exist_ok or not path.is_dir():
            raise
    else:
        _let_owner_use(path)


def _let_owner_use(directory: Path) -> None:
    mode = os.lstat(directory).st_mode
    if DIRECTORY_MODE & ~mode:
        directory.chmod(stat.S_IMODE(mode) | DIRECTORY_MODE)


def open_private(path: Path | str, flags: int, *, dir_fd: int | None = None) -> int:
    """Open a file; if that creates it, its owner alone may read and write it, whatever the umask."""
    fd = os.open(path, flags, FILE_MODE, dir_fd=dir_fd)
    status = os.fstat(fd)
    if FILE_MODE & ~status.st_mode and status.st_size == 0 and stat.S_ISREG(status.st_mode):
        os.fchmod(fd, FILE_MODE)
    return fd


def make_root(root: Path) -> None:
    """Create the trace root, and a README.md that explains it if none is there."""
    make_private(root, parents=True, exist_ok=True)
    try:
        fd = open_private(root / "README.md", NEW_FILE)
    except FileExistsError:
        return  # an existing README.md is kept
    with os.fdopen(fd, "w", encoding="utf-8") as readme:
        readme.write(_ROOT_README)


def create_session_dir(root: Path, session_id: str) -> tuple[Path, str]:
    """Create a session's directory; if the id is taken, the new one becomes `<id>-2`, and so on.

    Returns:
        The directory and the final id.
    """
    make_root(root)
    repeat = 1
    while True:
        final_id = session_id if repeat == 1 else f"{session_id}-{repeat}"
        repeat += 1
        session = root / f"{_SESSION_PREFIX}{final_id}"
        try:
            make_private(session)
        except FileExistsError:
            continue  # taken: try the next id
        try:
            for directory in _subdirectories(session):
                make_private(directory)
        except OSError:
            remove_empty_session(session)
            raise
        return session, final_id


def _subdirectories(session: Path) -> tuple[Path, ...]:
    return agents_dir(session), session / ".state", claims_dir(session), boards_dir(session)


def remove_empty_session(session: Path) -> None:
    """Remove the empty directories of a session whose creation failed."""
    for directory in (*reversed(_subdirectories(session)), session):
        with contextlib.suppress(OSError):  # what made creating it fail can make removing it fail
            directory.rmdir()


def is_session_name(name: str) -> bool:
    """Return whether a directory of this name under a root is a session."""
    return _SESSION_NAME.fullmatch(name) is not None and os.sep not in name


def _is_session(directory: Path, *, even_empty: bool) -> bool:
    names = [entry.name for entry in scan(directory)]
    return any(name in _IN_SESSION or name.endswith(".log") for name in names) or (even_empty and not names)


def list_sessions(root: Path, *, even_empty: bool = False) -> list[SessionRef]:
    """Return the sessions under a root, newest last; empty if the root does not exist.

    A directory with nothing of a session in it is none; with `even_empty`, one with nothing at all is.
    """
    sessions = [
        (match["second"], int(match["repeat"] or 1), entry.name)
        for entry in scan(root)
        if (match := _SESSION_NAME.fullmatch(entry.name)) and _is_plain_directory(entry)
        if _is_session(root / entry.name, even_empty=even_empty)
    ]
    return [SessionRef(name.removeprefix(_SESSION_PREFIX), root / name) for _, _, name in sorted(sessions)]


def find_session(root: Path, ref: str | os.PathLike[str] | None = None) -> Path:
    """Find where one session can be read: `find_session_dir`, opened if it is encrypted.

    Raises:
        SessionNotFound: no session, or more than one, matches.
        SessionEncrypted: it is encrypted, and no key is given.
    """
    return readable(find_session_dir(root, ref))


def find_session_dir(root: Path, ref: str | os.PathLike[str] | None = None) -> Path:
    """Find the directory of one session.

    Args:
        root: the trace root.
        ref: None or "last" for the newest that a program recorded, "last-fork" for the newest that `fork` or
            `resume` created, an id, a prefix of exactly one id, or a path.

    Raises:
        SessionNotFound: no session, or more than one, matches.
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
            problem, remedy = "no forked or resumed run here yet", "`agent-trace fork RUN` creates one"
        elif sessions:
            problem, remedy = "only forked or resumed runs are here", "last-fork names the newest of them"
        else:
            problem, remedy = "no session here yet", "name another trace root or record one"
        raise SessionNotFound(problem, path=root, remedy=remedy)
    assert ref is not None  # noqa: S101 - one of the three above, for the type checker
    session_ref = ref.removeprefix(_SESSION_PREFIX)
    if session_ref in {session.session_id for session in sessions}:
        return root / f"{_SESSION_PREFIX}{session_ref}"
    matches = [session for session in sessions if session_ref and session.session_id.startswith(session_ref)]
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
    """Return whether `fork` or `resume` created it; False if its description cannot be read."""
    try:
        stored = orjson.loads(read_file(session_file(readable(session))))
    except (OSError, orjson.JSONDecodeError, SessionEncrypted, DamagedInput):
        return False
    return isinstance(stored, dict) and not stored.keys().isdisjoint({FORKED, RESUMED})


def is_directory(path: Path) -> bool:
    """Return whether a directory exists; unlike `Path.is_dir`, False for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def existing(session: Path) -> Path:
    """Return the directory of a session; SessionNotFound if it is missing."""
    if session.is_dir():
        return session
    raise SessionNotFound("no session there", path=session, remedy=_SESSION_REMEDY)


def _session_at(path: Path) -> Path:
    if is_directory(path) and (
        session_file(path).is_file() or agents_dir(path).is_dir() or is_encrypted(path)
    ):
        return path
    raise SessionNotFound("no session there", path=path, remedy=_SESSION_REMEDY)


_SESSION_REMEDY: Final = "give the path of a session_... directory"
