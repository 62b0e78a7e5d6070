"""Which run is meant: `last`, a session, or one agent of a session, as people name them.

First of both walks; `recording` reads what was found.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from Agent.errors import AgentNotFound, RunNotFound, SessionNotFound
from Agent.flight.runs.reading import RunRef as FlightRun
from Agent.flight.runs.reading import find_run as find_flight_run
from Agent.tree.default_root import default_root
from Agent.tree.layout import agents_dir, find_session, session_file
from Agent.tree.read.reader import TreeReader

RunRef = str | os.PathLike[str] | None


class RunReference(NamedTuple):
    """A session's root run, or one agent of it."""

    session: Path
    agent_id: str | None

    @property
    def name(self) -> str:
        """How it is named on a command line."""
        session_id = self.session.name.removeprefix("session_")
        return session_id if self.agent_id is None else f"{session_id}/{self.agent_id}"


def find_run(
    run: RunRef = "last", root: str | os.PathLike[str] | None = None, agent_id: str | None = None
) -> RunReference:
    """The run of that name.

    Args:
        run: "last" or None for the newest session that a program recorded, "last-fork" for the newest that
            was forked or resumed, a session's id, a unique prefix of it or its path; each may be followed by
            `/agent_id`, and an agent's id may hold slashes itself.
        root: the trace root; the one configured, then ./trace without it.
        agent_id: one agent of the session, where `run` names none.

    Raises:
        SessionNotFound: nothing, or more than one session, answers to that name.
    """
    place = Path(root) if root is not None else default_root()
    if run is None or run == "last":
        return RunReference(find_session(place, None), agent_id)
    if isinstance(run, os.PathLike):
        return RunReference(find_session(place, run), agent_id)
    text = str(run)
    for session_text, rest in _readings(text):
        path = Path(session_text)
        if session_file(path).is_file() or agents_dir(path).is_dir():
            return RunReference(path, rest or agent_id)
    first_failure: SessionNotFound | None = None
    for session_text, rest in ((text, ""), _split(text)):
        try:
            return RunReference(find_session(place, session_text), rest or agent_id)
        except SessionNotFound as failure:
            first_failure = failure
    assert first_failure is not None  # noqa: S101 - the loop ran, for the type checker
    raise first_failure


def check_agent(reader: TreeReader, agent_id: str) -> None:
    """Raise AgentNotFound, with agents that there are, unless the session holds that one."""
    if reader.holds_agent(agent_id):
        return
    known = [agent.agent_id for agent in reader.agents()]
    raise AgentNotFound(
        f"no agent {agent_id!r} in this session",
        path=reader.session,
        remedy=f"it knows {', '.join(known[:5]) or 'none'}{', ...' if len(known) > 5 else ''}",
    )


def explicit_run(run: RunRef, root: str | os.PathLike[str] | None = None) -> FlightRun | None:
    """The run of the recorder that is meant, by its id or the only beginning of one; None where none is.

    Raises:
        RunNotFound: several runs begin so.
    """
    if not isinstance(run, str) or run == "last":
        return None
    try:
        found = find_flight_run(run, root)
    except SessionNotFound:
        return None  # then it may name a session or an agent
    except RunNotFound as error:
        if "is the beginning of" in error.message:
            raise
        return None
    return found if found.run_id is not None else None


def _split(text: str) -> tuple[str, str]:
    session_text, _, rest = text.partition("/")
    return session_text, rest


def _readings(text: str) -> list[tuple[str, str]]:
    """Every way to read the text as `path/agent_id`, the longest path first; none where it holds no slash."""
    if os.sep not in text:
        return []
    cuts = [len(text), *(place for place in range(len(text) - 1, 0, -1) if text[place] == os.sep)]
    return [(text[:cut], text[cut + 1 :]) for cut in cuts]
