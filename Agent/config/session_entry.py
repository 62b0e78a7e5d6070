"""Which session this process records into: that of the process that started it, or a new one.

`recording.begin` asks once, before it opens a writer there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from Agent.config.options import SETTABLE, Options
from Agent.errors import ConfigurationError
from Agent.record.health import say
from Agent.record.redaction import Redactor
from Agent.tree.claim import process_start_ticks
from Agent.tree.session import SessionInfo, create_session

__all__ = ["SESSION_VARIABLE", "enter_session", "open_to_children", "unwritable"]

SESSION_VARIABLE: Final = "AGENT_TRACE_SESSION"
"""Tells child processes which session to join: `pid:start:path` of the process that began it."""


def enter_session(options: Options, redactor: Redactor) -> tuple[Path, bool]:
    """The session's directory, and whether this process began it.

    Raises:
        ConfigurationError: none can be made under the trace root.
    """
    joined = _joinable(options)
    return (_create(options, redactor), True) if joined is None else (joined, False)


def open_to_children(path: Path) -> None:
    """Let processes that this one starts record into its session."""
    pid = os.getpid()
    os.environ[SESSION_VARIABLE] = f"{pid}:{process_start_ticks(pid)}:{path.absolute()}"


def unwritable(root: Path, error: OSError) -> ConfigurationError:
    """What is raised where nothing can be recorded under the trace root."""
    return ConfigurationError(
        f"the trace root cannot be written: {error.strerror or error}",
        path=root,
        remedy="set AGENT_TRACE_ROOT to a directory of your own",
    )


def _create(options: Options, redactor: Redactor) -> Path:
    info = SessionInfo.begun_now(
        argv=tuple(_arguments(redactor)), configuration=redactor.object(_configuration(options))
    )
    try:
        session = create_session(options.trace_root, info)
        owner = options.trace_root.stat().st_uid
    except OSError as error:
        raise unwritable(options.trace_root, error) from error
    if hasattr(os, "geteuid") and owner != os.geteuid():
        say(
            f"the trace root {options.trace_root} belongs to another user (uid {owner}), who can remove what is recorded"
        )
    return session


def _arguments(redactor: Redactor) -> list[str]:
    """The command line without its secrets, or the shapes of its words where those alone are kept."""
    words = redactor.arguments(list(sys.argv))
    return words if redactor.levels is None else redactor.levels.arguments(words)


def _configuration(options: Options) -> dict[str, Any]:
    shown = {name: getattr(options, name) for name in SETTABLE}
    shown["trace_root"] = str(options.trace_root)
    return shown if options.outputs is None else {**shown, "outputs": options.outputs.described()}


def _joinable(options: Options) -> Path | None:
    """The session of the process that started this one, while that process runs and records there."""
    text = os.environ.get(SESSION_VARIABLE, "")
    pid, _, rest = text.partition(":")
    start, _, path_text = rest.partition(":")
    if not pid.isdigit() or not path_text or int(pid) == os.getpid():
        return None
    if str(process_start_ticks(int(pid))) != start:
        return None
    path = Path(path_text)
    same_root = path.parent == options.trace_root.absolute()
    return path if path.is_dir() and (same_root or options.trace_root == Options().trace_root) else None
