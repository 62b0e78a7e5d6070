"""Determine the session that this process records into: that of its program if it exists, else a new one.

A parent process passes its session through the environment. Processes that were started before there was a
session find each other under the trace root (`tree/files/session.py`).

`recording.begin` calls it once, before it opens a writer.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from Agent.config.load import configured_root
from Agent.config.options import SETTABLE, Options
from Agent.config.process import program
from Agent.errors import ConfigurationError
from Agent.event.clock import format_timestamp
from Agent.event.system_clock import SystemClock
from Agent.record.encode.redaction import Redactor
from Agent.record.encode.safe_text import printable
from Agent.record.health import say
from Agent.tree.files import session as session_file
from Agent.tree.files.session import Program
from Agent.tree.layout import boards_dir
from Agent.tree.read.reader import write_summary
from Agent.tree.retention import living_writers
from Agent.tree.write.event_counts import read_counts

SESSION_VARIABLE: Final = "AGENT_TRACE_SESSION"
"""The variable that names the session to child processes: `pid:start:path` of its owner."""


_met: set[Path] = set()
"""The trace roots where this process has met other processes of its program."""


class JoinedSession(NamedTuple):
    """The session that a process records into."""

    path: Path
    began: bool
    """Whether this process created it."""
    owner: Program | None = None
    """The process that ends it, if the environment does not name it yet."""


def enter_session(options: Options, redactor: Redactor) -> JoinedSession:
    """Join or create the session to record into.

    Raises:
        ConfigurationError: no session can be created under the trace root.
    """
    joined = _joinable(options)
    if joined is not None:
        return JoinedSession(joined, began=False)
    descent = program()
    if descent is not None:
        root = options.trace_root
        with session_file.agree_on_session(root, descent, create=True) as meeting:
            if meeting is not None:
                _met.add(root)
                session = meeting.session()
                if session is not None:
                    _reopen(session)
                    return JoinedSession(session, began=False, owner=descent)
                session = _create(options, redactor, descent)
                meeting.agree(session)
                return JoinedSession(session, began=True, owner=descent)
    return JoinedSession(_create(options, redactor, None), began=True, owner=Program.of(os.getpid()))


def open_to_children(entry: JoinedSession) -> None:
    """Let processes started by this one record into its session."""
    if entry.owner is not None:
        pid, ticks = entry.owner
    elif entry.began:
        pid, ticks = os.getpid(), None
    else:
        return
    os.environ[SESSION_VARIABLE] = f"{pid}:{ticks}:{entry.path.absolute()}"


def leave_session(path: Path) -> bool:
    """Mark the session as ended, if this process is its owner or its last writer.

    Returns:
        Whether this process is the owner, after which no process joins the session.
    """
    is_owner = os.environ.get(SESSION_VARIABLE, "").startswith(f"{os.getpid()}:")
    root = path.parent.absolute()
    descent = program() if root in _met else None
    if not is_owner and descent is None:
        return False
    if is_owner or os.environ.get(SESSION_VARIABLE, "").endswith(f":{path.absolute()}"):
        del os.environ[SESSION_VARIABLE]
    if descent is None:
        _end(path)
        return is_owner
    with session_file.agree_on_session(root, descent, create=False) as meeting:
        if is_owner:
            _end(path)
            if meeting is not None:
                meeting.forget()
        elif meeting is not None and meeting.session() == path and not _others_write(path):
            _end(path)
    return is_owner


def end_program() -> None:
    """End sessions that other processes recorded, if this process is the root of the program."""
    current_program = program()
    if current_program is None or current_program.pid != os.getpid():
        return
    for root in _met | {configured_root().absolute()}:
        with session_file.agree_on_session(root, current_program, create=False) as meeting:
            if meeting is None:
                continue
            session = meeting.session()
            if session is not None:
                _end(session)
            meeting.forget()
        if session is not None:
            write_summary(session, counts=read_counts(session))


def _end(path: Path) -> None:
    session_file.update_session(path, ended_at=format_timestamp(SystemClock.wall_ns() // 1000))


def _reopen(path: Path) -> None:
    """Reopen a session that all processes had left."""
    try:
        if session_file.open_session(path).ended_at is not None:
            session_file.update_session(path, ended_at=None)
    except OSError as error:
        say(f"session.json cannot be written, so the session looks ended: {error}")


def _others_write(path: Path) -> bool:
    """Whether another running process has an open writer: closing it removes its board."""
    return any(
        pid != os.getpid() and (boards_dir(path) / f"{writer}.board").exists()
        for writer, pid in living_writers(path).items()
    )


def unwritable(root: Path, error: OSError) -> ConfigurationError:
    """The error for a trace root that cannot be written."""
    return ConfigurationError(
        f"the trace root cannot be written: {error.strerror or error}",
        path=root,
        remedy="set AGENT_TRACE_ROOT to a directory that you own",
    )


def _create(options: Options, redactor: Redactor, descent: Program | None) -> Path:
    info = session_file.SessionInfo.begun_now(
        argv=tuple(_arguments(redactor)), configuration=redactor.object(_configuration(options))
    )
    if descent is not None:
        info = replace(info, pid=descent.pid, process_start_ticks=descent.start_ticks)
    try:
        session = session_file.create_session(options.trace_root, info)
        owner = session.parent.stat().st_uid
    except OSError as error:
        raise unwritable(options.trace_root, error) from error
    if hasattr(os, "geteuid") and owner != os.geteuid():
        say(
            f"the trace root {options.trace_root} belongs to another user (uid {owner}), "
            "who can remove what is recorded"
        )
    return session


def _arguments(redactor: Redactor) -> list[str]:
    """The command line without its secrets, or only the shapes of its words under `metadata`."""
    arguments = redactor.arguments(list(map(printable, sys.argv)))
    return arguments if redactor.levels is None else redactor.levels.arguments(arguments)


def _configuration(options: Options) -> dict[str, Any]:
    shown = {name: getattr(options, name) for name in SETTABLE}
    shown["trace_root"] = printable(str(options.trace_root))
    return shown if options.outputs is None else {**shown, "outputs": options.outputs.described()}


def _joinable(options: Options) -> Path | None:
    """The session from the environment, if its process is still running and uses the same root."""
    text = os.environ.get(SESSION_VARIABLE, "")
    pid, _, session_text = text.partition(":")
    start, _, path_text = session_text.partition(":")
    if not pid.isdigit() or not path_text or int(pid) == os.getpid():
        return None
    if str(session_file.process_start_ticks(int(pid))) != start:
        return None
    path = Path(path_text)
    roots = path.parent, Options().trace_root.absolute()
    return path if path.is_dir() and options.trace_root in roots else None
