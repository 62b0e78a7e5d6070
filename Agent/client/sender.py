"""The agent's end of the process that sends: starts it, and asks it how far it is.

Nothing in here raises and nothing waits but `flush` and the end of the program: recording goes on whether or
not anything is sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.client.destination import Destination
from Agent.config.process import call_at_last
from Agent.errors import SessionInUse
from Agent.record.health import note, say
from Agent.tree.files.descriptors import close_lock, open_lock
from Agent.tree.layout import DIRECTORY_MODE, cursors_dir, safe_name

_MODULE: Final = "Agent.client.sender_process"
_NOTHING: Final[dict[str, Any]] = {"delivered": False, "sent": 0, "problem": "nothing is being sent"}


class Sender:
    """One process that sends one session to one place.

    Args:
        session: the session's directory.
        destination: where to.
        content: send payloads and messages, too.
        exit_timeout_s: how long the end of the program waits for what is still on its way.
    """

    def __init__(
        self, session: Path, destination: Destination, *, content: bool, exit_timeout_s: float
    ) -> None:
        self.session = session
        self.destination = destination
        self.exit_timeout_s = exit_timeout_s
        self.last: dict[str, Any] = dict(_NOTHING)
        """What the process answered last."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pipe, other = Pipe()
        """What it is asked by, and answers by; that it is closed says that this process has gone."""
        try:
            self._process = self._start(other)
        finally:
            other.close()
        order = {
            "session": os.fspath(session.resolve()),
            "url": destination.url,
            "api_key": destination.api_key,
            "content": content,
        }
        with contextlib.suppress(OSError):  # it did not start, as was said
            # The key goes through the pipe: arguments and environment are for others to read.
            self._pipe.send_bytes(orjson.dumps(order))

    @staticmethod
    def _start(pipe: Connection) -> subprocess.Popen[bytes] | None:
        fd = pipe.fileno()
        try:
            return subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [sys.executable, "-P", "-m", _MODULE, str(fd)],
                env=_environment(),
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError, TypeError) as error:
            note("the sending process could not be started")
            say(
                f"nothing is sent, because the sending process could not be started ({error}); "
                "`agent-trace ship` sends later"
            )
            return None

    def flush(self, timeout_s: float) -> dict[str, Any]:
        """Have everything sent that was recorded until now; what came of it."""
        return self._ask("flush", timeout_s)

    def finish(self, *, reap: bool = False) -> None:
        """Have the rest sent and let the process end; say so where not everything could be sent.

        Args:
            reap: wait until it has ended, where the program goes on.
        """
        answer = self._ask("finish", self.exit_timeout_s)
        self._leave(reap=reap and bool(answer.get("delivered")))
        if answer.get("delivered") or answer.get("elsewhere"):
            return
        why = f" ({answer['problem']})" if answer.get("problem") else ""
        say(
            f"not all events have reached {self.destination.place} yet{why}; nothing is lost: "
            f"`agent-trace ship --to {self.destination.place} {self.session.name.removeprefix('session_')}`"
        )

    def _leave(self, *, reap: bool) -> None:
        """Ask for nothing more; the process sends the rest and ends by itself."""
        process = self._process
        if process is None or self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):  # the program closed it
            self._pipe.close()
        try:
            process.wait(2.0 if reap else 0.0)
        except subprocess.TimeoutExpired:
            # Popen would warn of a process that is left alone; this one is meant to be.
            process.returncode = 0

    def _ask(self, order: str, timeout_s: float) -> dict[str, Any]:
        if self._pid != os.getpid():
            return {
                "delivered": False,
                "elsewhere": True,
                "problem": "the parent process sends",
            }
        problem = f"it took longer than {timeout_s:g} s"
        with self._lock:
            try:
                self._pipe.send_bytes(orjson.dumps({"order": order, "timeout_s": timeout_s}))
                if self._pipe.poll(timeout_s + 1.0):
                    self.last = orjson.loads(self._pipe.recv_bytes())
                    return self.last
            except (EOFError, OSError):
                problem = "the sending process has ended"
        return {**self.last, "delivered": False, "problem": problem}


class _Wanted(NamedTuple):
    """What somebody asked to have sent."""

    session: Path
    destination: Destination
    content: bool


_senders: dict[_Wanted, Sender | None] = {}
_lock = threading.Lock()


def sender_for(
    session: Path, destination: Destination, *, content: bool, exit_timeout_s: float
) -> Sender | None:
    """The process that sends this session there, begun by the first who asks.

    None where another process of the session has one: that sends what this one records, too.
    """
    wanted = _Wanted(session, destination, content)
    sender = _senders.get(wanted)
    if sender is not None:
        return sender
    with _lock:
        if not _senders:
            call_at_last(_finish_all)
        sender = _senders.get(wanted)
        if sender is None:
            if not is_sent_by_another(session, destination):
                sender = Sender(session, destination, content=content, exit_timeout_s=exit_timeout_s)
            _senders[wanted] = sender
    return sender


def finish_sender(sender: Sender) -> None:
    """Have the rest sent and let the process end, while the program goes on."""
    with _lock:
        for wanted in [wanted for wanted, known in _senders.items() if known is sender]:
            del _senders[wanted]
    sender.finish(reap=True)


def _finish_all() -> None:
    for wanted, known in list(_senders.items()):
        # Whoever sent for this process may have ended before it.
        sender = known or sender_for(
            wanted.session, wanted.destination, content=wanted.content, exit_timeout_s=5.0
        )
        if sender is not None:
            sender.finish()


def _begin_in_child() -> None:
    """A thread of the parent may hold the lock; it does not exist here."""
    global _lock  # noqa: PLW0603 - of this one process
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _environment() -> dict[str, str]:
    """That of this process, in which the other one finds the package and takes no part in the session."""
    package_parent = str(Path(__file__).resolve().parents[2])
    kept = {name: value for name, value in os.environ.items() if name != "AGENT_TRACE_SESSION"}
    paths = (package_parent, kept.get("PYTHONPATH", ""))
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept


def lock_sending(session: Path, destination: Destination) -> int | None:
    """What says that this process sends; None where the tree cannot be written, as on a copy to read.

    Raises:
        SessionInUse: another process does.
    """
    directory = cursors_dir(session)
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        lock = open_lock(directory / f"{safe_name(destination.cursor_name)}.lock", create=True)
    except OSError:
        return None  # the service stores an event once, so sending twice does no harm
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):  # what is told is that it is held
            close_lock(lock)
        raise SessionInUse(
            f"another process is sending this session to {destination.place}",
            path=session,
            remedy="it continues while the program runs; send again after that",
        ) from None
    return lock


def is_sent_by_another(session: Path, destination: Destination) -> bool:
    """Whether another process sends it there at this moment."""
    try:
        lock = lock_sending(session, destination)
    except SessionInUse:
        return True
    if lock is not None:
        close_lock(lock)
    return False
