"""The agent's side of the sender process: start it, and request its progress.

Nothing here raises, and only `flush` and the end of the program wait: recording continues whether or not
sending works.
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
from Agent.config.process import call_at_last, child_environment
from Agent.errors import SessionInUse
from Agent.record.health import note, say
from Agent.tree.files.descriptors import close_lock, open_lock
from Agent.tree.layout import cursors_dir, make_private, safe_name

_MODULE: Final = "Agent.client.sender_process"
_NOTHING: Final[dict[str, Any]] = {"delivered": False, "sent": 0, "problem": "nothing is being sent"}


class Sender:
    """One process that sends one session to one service.

    Args:
        session: the session's directory.
        destination: the service.
        content: also send payloads and messages.
        exit_timeout_s: the seconds that the end of the program waits for unsent events.
    """

    def __init__(
        self, session: Path, destination: Destination, *, content: bool, exit_timeout_s: float
    ) -> None:
        self.session = session
        self.destination = destination
        self.exit_timeout_s = exit_timeout_s
        self.last: dict[str, Any] = dict(_NOTHING)
        """The last response of the process."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pipe, other = Pipe()
        """The pipe for orders and responses; its end tells the sender that this process has ended."""
        try:
            self._process = self._start(other)
        finally:
            other.close()
        order = {
            "session": os.fspath(session.resolve()),
            "content": content,
            **destination.to_order(),
        }
        with contextlib.suppress(OSError):  # the process did not start, which was already reported
            # The key is sent through the pipe, since other users can read arguments and environment.
            self._pipe.send_bytes(orjson.dumps(order))

    @staticmethod
    def _start(pipe: Connection) -> subprocess.Popen[bytes] | None:
        fd = pipe.fileno()
        try:
            return subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [sys.executable, "-P", "-m", _MODULE, str(fd)],
                env=child_environment(),
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
        """Send everything recorded until now, and return the sender's response."""
        return self._request("flush", timeout_s)

    def finish(self, *, reap: bool = False) -> None:
        """Send the rest and let the process end; report if not everything could be sent.

        Args:
            reap: wait for the end of the process, if the program continues.
        """
        answer = self._request("finish", self.exit_timeout_s)
        self._leave(reap=reap and bool(answer.get("delivered")))
        if answer.get("delivered") or answer.get("elsewhere"):
            return
        why = f" ({answer['problem']})" if answer.get("problem") else ""
        name = self.session.name.removeprefix("session_")
        url, unsent = self.destination.place, answer.get("unsent")
        message = f"not all events have reached {url}"
        if isinstance(unsent, int):
            note("a span had not reached its receiver at the end of the program", unsent)
            message = f"{answer['sent']} spans have reached {url}, and {unsent} have not"
        say(f"{message} yet{why}; nothing is lost: `agent-trace {self.destination.command} {name}`")

    def _leave(self, *, reap: bool) -> None:
        """Close the pipe; the process then sends the rest and ends."""
        process = self._process
        if process is None or self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):  # the program closed the pipe itself
            self._pipe.close()
        try:
            process.wait(2.0 if reap else 0.0)
        except subprocess.TimeoutExpired:
            # Popen would warn about a process that still runs, but this one is meant to outlive the program.
            process.returncode = 0

    def _request(self, order: str, timeout_s: float) -> dict[str, Any]:
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
        return {**self.last, "delivered": False, "problem": problem, "unsent": None}


class _SenderKey(NamedTuple):
    """The session to send, and where and how."""

    session: Path
    destination: Destination
    content: bool


_senders: dict[_SenderKey, Sender | None] = {}
_lock = threading.Lock()


def sender_for(
    session: Path, destination: Destination, *, content: bool, exit_timeout_s: float
) -> Sender | None:
    """Return the sender of a session to a service; the first call starts its process.

    None if another process of the session has one, which also sends the events of this process.
    """
    key = _SenderKey(session, destination, content)
    sender = _senders.get(key)
    if sender is not None:
        return sender
    with _lock:
        if not _senders:
            call_at_last(_finish_all)
        sender = _senders.get(key)
        if sender is None:
            if not is_sent_by_another(session, destination):
                sender = Sender(session, destination, content=content, exit_timeout_s=exit_timeout_s)
            _senders[key] = sender
    return sender


def finish_sender(sender: Sender) -> None:
    """Send the rest and end the process, while the program continues."""
    with _lock:
        for key in [key for key, known in _senders.items() if known is sender]:
            del _senders[key]
    sender.finish(reap=True)


def _finish_all() -> None:
    for key, registered in list(_senders.items()):
        # The other process that sent for this one may have ended: then start a sender for the rest.
        sender = registered or sender_for(
            key.session, key.destination, content=key.content, exit_timeout_s=5.0
        )
        if sender is not None:
            sender.finish()


def _begin_in_child() -> None:
    """Replace the lock: a thread of the parent, which does not exist in the child, may have held it."""
    global _lock  # noqa: PLW0603 - of this one process
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def lock_sending(session: Path, destination: Destination) -> int | None:
    """Take the lock of the session's sender; None if the tree is read-only.

    Raises:
        SessionInUse: another process has the lock.
    """
    directory = cursors_dir(session)
    try:
        make_private(directory, parents=True, exist_ok=True)
        lock = open_lock(directory / f"{safe_name(destination.cursor_name)}.lock", create=True)
    except OSError:
        return None  # the service stores an event once, so sending twice does no harm
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):  # report the held lock, not a failure to close the file
            close_lock(lock)
        raise SessionInUse(
            f"another process is sending this session to {destination.place}",
            path=session,
            remedy="it continues while the program runs; send again after that",
        ) from None
    return lock


def is_sent_by_another(session: Path, destination: Destination) -> bool:
    """Return whether another process is sending the session to this service."""
    try:
        lock = lock_sending(session, destination)
    except SessionInUse:
        return True
    if lock is not None:
        close_lock(lock)
    return False
