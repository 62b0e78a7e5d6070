"""Which script was recorded: its classes are in `__main__` there, and in another module in a replay."""

from __future__ import annotations

import sys
from pathlib import Path

from Agent.errors import DamagedInput, SessionNotFound
from Agent.tree.files.run_lineage import lineage_within
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.layout import find_session

_MOST_FORKS = 64


def recorded_script(session: Path, info: SessionInfo | None = None) -> Path | None:
    """The file that was run when a session was recorded, a fork's being its original's; None if nobody knows.

    Args:
        session: the session's directory.
        info: what it says of itself, where that was read already.
    """
    for _ in range(_MOST_FORKS):
        try:
            info = info or open_session(session)
            lineage = lineage_within(info)
            if lineage is None:
                return Path(info.argv[0]) if info.argv else None
            session, info = find_session(session.parent, lineage.session_id), None
        except (SessionNotFound, DamagedInput):
            return None
    return None


def script_name(session: Path, info: SessionInfo | None) -> str:
    """The name under which digests of a recording have the classes of its script."""
    script = recorded_script(session, info)
    return "__main__" if script is None else script.stem


def module_names(*sessions: Path) -> frozenset[str]:
    """The names, without packages, by which other processes import the scripts of some sessions."""
    scripts = [recorded_script(session) for session in sessions]
    return frozenset(script.stem for script in scripts if script is not None and script.suffix == ".py")


def script_module(target_module: str, session: Path, info: SessionInfo | None) -> str | None:
    """The loaded module that is the script that was recorded, `__main__` then; None where it is not clear.

    Args:
        target_module: the module of the target, which is the script most of the time.
        session: the session's directory.
        info: what it says of itself, where that was read already.
    """
    script = recorded_script(session, info)
    if script is None:
        return None
    found = {
        file: name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(file := getattr(module, "__file__", None), str)
        and Path(file).name == script.name
    }
    own = getattr(sys.modules.get(target_module), "__file__", None)
    if own in found:
        return target_module
    whole = found.get(str(script.absolute()))
    return whole if whole is not None or len(found) != 1 else next(iter(found.values()))
