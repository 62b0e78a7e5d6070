"""The claim file of each writer in a session: which process uses this writer id, and whether it still runs.

Readers use claims to know the writers; `losses` uses them to find dead processes.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import orjson

from Agent.tree.layout import FILE_MODE, NEW_FILE, boards_dir, claims_dir, entries_in, read_file

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
    host: str
    durability: str
    kind: str
    claimed_at: str

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
    fd = os.open(path, NEW_FILE, FILE_MODE)
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


def is_written(session: Path, *, is_ended: bool) -> bool:
    """Return whether a running process has the log of a session open.

    A process that has closed its log may continue to run; its board is then removed.

    Args:
        session: the session's directory.
        is_ended: whether the session is described as ended.
    """
    boards = boards_dir(session)
    return any(
        claim.is_alive() and not (is_ended and not (boards / f"{writer}.board").exists())
        for writer, claim in read_claims(session).items()
    )


def _read_claim(path: Path, writer: str) -> Claim:
    try:
        stored = orjson.loads(read_file(path))
    except (OSError, orjson.JSONDecodeError):
        # the process was killed, or the disk was full, while it wrote its claim
        stored = None
    if not isinstance(stored, dict):
        stored = {}

    def text(key: str, default: str) -> str:
        value = stored.get(key)
        return value if isinstance(value, str) else default

    pid, ticks = stored.get("pid"), stored.get("process_start_ticks", -1)
    return Claim(
        writer=writer,
        pid=pid if isinstance(pid, int) else -1,
        process_start_ticks=ticks if ticks is None or isinstance(ticks, int) else -1,
        boot_id=text("boot_id", "") or None,
        host=text("host", ""),
        durability=text("durability", "unknown"),
        kind=text("kind", "unknown"),
        claimed_at=text("claimed_at", ""),
    )
