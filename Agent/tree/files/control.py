"""The files through which a command controls a running program that allows it.

The program describes itself in `.state/control/program.json`, with a token of this run. A request is a file
beside it that contains the token, one at a time; the program reads it at the beginning of a tick, and answers
in its description. Only the owner can read both files. Next: `record/tracing/live_control.py`.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import InputError, SessionInUse
from Agent.event.clock import format_timestamp
from Agent.event.system_clock import SystemClock
from Agent.tree.files.session import give_name, read_claims, replacing
from Agent.tree.layout import (
    NEW_FILE,
    control_dir,
    make_private,
    open_file,
    open_private,
    read_file,
)

RUNNING: Final = "running"
PAUSED: Final = "paused"
ENDED: Final = "ended"
_MOST_BYTES: Final = 1 << 20
_POLL_S: Final = 0.02
_LIVENESS_S: Final = 0.5
"""The interval between checks whether the program still runs, in seconds."""
_FOREIGN_REQUEST: Final = "a stale request, or one of another user, was refused"
_REMEDY: Final = "record it with setup_logging(control=True)"


@dataclass(slots=True)
class ControlledProgram:
    """The description of a controlled program."""

    writer: str
    """The id of its writer, whose claim shows whether the process still runs."""
    token: str
    """A secret of this run that every request must contain."""
    pid: int
    state: str = RUNNING
    """`running`, `paused` or `ended`."""
    has_ticked: bool = False
    """Whether any tick has begun."""
    tick: int | None = None
    """The tick before which it pauses."""
    since: str = ""
    """The time when the state began."""
    answered: dict[str, Any] | None = None
    """The last answer, with the `id` of its request."""


class ControlFiles:
    """The program's side: its description, and incoming requests.

    Args:
        session: the session's directory.
        writer: the id of the program's writer.

    Raises:
        SessionInUse: another process of the session is controlled already.
        OSError: the files cannot be written.
    """

    def __init__(self, session: Path, writer: str) -> None:
        directory = control_dir(session)
        make_private(directory, exist_ok=True)
        program = read_program(session)
        if program is not None and is_live(session, program):
            raise SessionInUse("another process of the session is controlled", path=directory)
        self._path = directory / "program.json"
        self._request = directory / "request.json"
        self._waiting = str(self._request)
        self.program = ControlledProgram(writer, secrets.token_hex(16), os.getpid())
        self._request.unlink(missing_ok=True)  # left by a killed program
        self.tell(state=RUNNING)

    def waits(self) -> bool:
        """Return whether a request is waiting."""
        return os.access(self._waiting, os.F_OK)

    def take(self) -> dict[str, Any] | None:
        """Remove the request and return it; None without one.

        Raises:
            PermissionError: the request belongs to another user, or has another program's token.
        """
        try:
            fd, status = open_file(self._request)
        except FileNotFoundError:
            return None
        except OSError as error:  # a link or a pipe
            self._request.unlink(missing_ok=True)
            raise PermissionError(_FOREIGN_REQUEST) from error
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MOST_BYTES)
        self._request.unlink(missing_ok=True)
        try:
            request = orjson.loads(data)
        except orjson.JSONDecodeError:
            request = None
        is_own = status.st_uid == os.geteuid() and not status.st_mode & 0o077
        token = request.get("token") if isinstance(request, dict) else None
        is_ours = isinstance(token, str) and hmac.compare_digest(token.encode(), self.program.token.encode())
        if not (is_own and is_ours):
            raise PermissionError(_FOREIGN_REQUEST)
        return dict(request)

    def tell(self, **changes: Any) -> None:
        """Change the description, and write it."""
        program = self.program
        if "state" in changes:
            program.since = format_timestamp(SystemClock.wall_ns() // 1000)
        for name, value in changes.items():
            setattr(program, name, value)
        with replacing(self._path, sync=False) as file:
            file.write(orjson.dumps(asdict(program)))

    def is_there(self) -> bool:
        """Return whether the description exists; without it, no request could resume a paused program."""
        return self._path.exists()

    def end(self) -> None:
        """End the control: the program accepts no further requests. Its last answer can still be read."""
        self._request.unlink(missing_ok=True)
        if self.is_there():
            self.tell(state=ENDED, token="", tick=None)


def read_program(session: Path) -> ControlledProgram | None:
    """Read the description of a controlled program; None if there is none or it cannot be read."""
    try:
        return ControlledProgram(**orjson.loads(read_file(control_dir(session) / "program.json")))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def is_live(session: Path, program: ControlledProgram) -> bool:
    """Return whether the process of a description still runs."""
    claim = None if program.state == ENDED else read_claims(session).get(program.writer)
    return claim is not None and claim.is_alive()


def controlled(session: Path) -> ControlledProgram:
    """Return the description of the live program of a session.

    Raises:
        InputError: the session has no live program that allows control.
    """
    program = read_program(session)
    if program is None:
        raise InputError("no running program of this session allows control", path=session, remedy=_REMEDY)
    if program.state == ENDED:
        raise InputError("the program of this session has ended", path=session)
    if not is_live(session, program):
        when = "" if program.state == RUNNING else f" while it was paused{before(program.tick)}"
        raise InputError(f"the program of this session was killed{when}", path=session)
    return program


def before(tick: int | None) -> str:
    """Return ` before tick N`; "" if the tick has no number."""
    return "" if tick is None else f" before tick {tick}"


def user_name() -> str:
    """Return the name of the requesting user; `unknown` without one."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class NoTick(Exception):
    """The program did not answer in time: no tick began, or a requested step did not end."""


def request(session: Path, content: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Hand a request to the live program of a session, and return its answer.

    Args:
        session: the session's directory.
        content: `command` and its arguments; see `LiveControl`.
        wait_s: how long to wait for the answer; a request that was not accepted by then is withdrawn.

    Raises:
        InputError: the session has no live program that allows control, or it ended.
        SessionInUse: another request waits.
        NoTick: the program did not answer in time.
    """
    program = controlled(session)
    until = SystemClock.monotonic_s() + wait_s
    own_id = secrets.token_hex(8)
    asked_at = format_timestamp(SystemClock.wall_ns() // 1000)
    message = {"id": own_id, "token": program.token, "asked_at": asked_at, **content}
    path = control_dir(session) / "request.json"
    _put(path, own_id, orjson.dumps(message), until)
    try:
        answer = _answer(session, own_id, until)
    except BaseException:
        _withdraw(path, own_id)
        raise
    if answer is not None:
        return answer
    if _withdraw(path, own_id):
        more = "" if program.has_ticked else "; it has begun none yet: with tick(n) marks its steps"
        raise NoTick(f"the program began no tick within {wait_s:g} s, and the request was withdrawn{more}")
    # it was accepted at the last moment
    answer = _answer(session, own_id, SystemClock.monotonic_s() + _LIVENESS_S)
    if answer is None:
        raise NoTick(f"the program goes on to its next tick, which took longer than {wait_s:g} s")
    return answer


def _put(path: Path, own_id: str, data: bytes, until: float) -> None:
    """Write a request atomically, if none is waiting."""
    temporary = path.with_name(f".{own_id}.new")
    fd = open_private(temporary, NEW_FILE)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        while True:
            try:
                return give_name(temporary, temporary, path)
            except FileExistsError:
                if SystemClock.monotonic_s() > until:
                    raise SessionInUse("another request waits for the next tick", path=path) from None
                SystemClock.pause(_POLL_S)
    finally:
        temporary.unlink(missing_ok=True)


def _answer(session: Path, own_id: str, until: float) -> dict[str, Any] | None:
    """Wait for the answer to a request; None after the timeout."""
    look_at = SystemClock.monotonic_s() + _LIVENESS_S
    while True:
        program = read_program(session)
        if program is not None and program.answered is not None and program.answered.get("id") == own_id:
            return program.answered
        now = SystemClock.monotonic_s()
        if program is None or program.state == ENDED:
            raise InputError("the program ended before it answered", path=session)
        if now > look_at:
            controlled(session)
            look_at = now + _LIVENESS_S
        if now > until:
            return None
        SystemClock.pause(_POLL_S)


def _withdraw(path: Path, own_id: str) -> bool:
    """Remove a request; return whether it had not been accepted."""
    with contextlib.suppress(OSError, orjson.JSONDecodeError, AttributeError):
        if orjson.loads(read_file(path)).get("id") == own_id:
            path.unlink()
            return True
    return False
