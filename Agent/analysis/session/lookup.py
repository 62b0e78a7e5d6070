"""Which session is asked about; what this process itself still holds back is flushed first.

Next: `engine` for aggregates, the reader for questions about one agent.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentNotFound, SessionNotFound
from Agent.event.model import Event
from Agent.tree import layout
from Agent.tree.default_root import default_root
from Agent.tree.read.reader import TreeReader

SessionRef = str | os.PathLike[str] | None


def trace_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The trace root: the one given, else the one configured, else ./trace."""
    return Path(root) if root is not None else default_root()


def find(session: SessionRef = None, root: str | os.PathLike[str] | None = None) -> Path:
    """The directory of the session asked about, flushed if this process records into it.

    Args:
        session: None for the one that this process records, else the newest; an id, a unique prefix or a
            path.
        root: the trace root; see `trace_root`.

    Raises:
        SessionNotFound: there is none of that name, or it holds no file yet.
    """
    current = flush_recording()
    path = current if session is None and root is None and current is not None else None
    if path is None:
        path = layout.find_session(trace_root(root), session)
    if not open_reader(path).has_files():
        raise SessionNotFound(
            "the session has no events yet",
            path=path,
            remedy="record something first, or name another session",
        )
    return path


def flush_recording() -> Path | None:
    """Write out what this process buffers; the directory it records into, None if it records nothing."""
    pipeline = sys.modules.get("Agent.record.emit.installed")
    if pipeline is None:  # nobody records in this process
        return None
    pipeline.flush_active()
    sink = getattr(pipeline.active_pipeline(), "sink", None)
    # A sink that writes no tree, such as one in memory, has no directory.
    directory = getattr(sink, "session", None)
    return directory if isinstance(directory, Path) else None


def agent_events(reader: TreeReader, agent_id: str) -> Iterator[Event]:
    """The events of one agent in order, from its files alone.

    Raises:
        AgentNotFound: the session holds no readable event of that agent; close names are the remedy.
    """
    found = False
    if reader.holds_agent(agent_id):
        for event in reader.agent_events(agent_id):
            found = True
            yield event
    if not found:
        raise unknown_agent(reader, agent_id)


def unknown_agent(reader: TreeReader, agent_id: str) -> AgentNotFound:
    """The error for an agent that the session does not know, with the names that come close."""
    known = sorted({agent.agent_id for agent in reader.agents() if agent.agent_id})
    close = difflib.get_close_matches(agent_id, known, n=3, cutoff=0.5)
    if close:
        remedy = f"did you mean {', '.join(close)}?"
    elif known:
        some = ", ".join(known[:5])
        remedy = f"it has {len(known)} agents: {some}{', ...' if len(known) > 5 else ''}"
    else:
        remedy = "no agent was recorded in it"
    return AgentNotFound(f"no agent {agent_id!r} in this session", remedy=remedy)
