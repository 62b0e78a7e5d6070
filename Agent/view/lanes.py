"""The lanes of a session: its agents, those with errors first; and facts about the whole session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.errors import DamagedInput, SessionNotFound
from Agent.record.encode.safe_text import cut, shown_safely
from Agent.render.formats import plural
from Agent.tree.files.session import SessionInfo, is_written, open_session
from Agent.view.index.columns import NOBODY, Index
from Agent.view.index.lines import FilesMovedError, Lines

MOST_TICKS: Final = 4_000
_WHY_CHARS: Final = 160
_DIGITS: Final = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Lanes:
    """The assignment of agents to lanes."""

    agents: NDArray[Any]
    """The agent of each lane."""
    lane_of: NDArray[Any]
    """The lane of each agent; -1 if it has no events."""

    @classmethod
    def of(cls, agents: Sequence[int], count: int) -> Lanes:
        """Make lanes of agents in this order; `count` is the number of agents."""
        lane_of = np.full(max(count, 1), -1, np.int64)
        lane_of[list(agents)] = np.arange(len(agents))
        return cls(np.array(agents, np.int64), lane_of)


def by_trouble(index: Index, open_spans: Mapping[str, Sequence[str]], earlier: Iterable[int] = ()) -> Lanes:
    """Order the agents by errors, spans that a killed process left open, warnings, role and name.

    Args:
        index: the index of the session.
        open_spans: {agent: names of the spans that a killed process left open}.
        earlier: agents that keep their lanes; new ones follow them.
    """
    events = index.events_of
    errors = counts(index, index.errors)
    warnings = counts(index, index.warnings)
    names, roles = index.tables.agents.texts, index.tables.roles

    def key(agent: int) -> tuple[Any, ...]:
        left = len(open_spans.get(names[agent], ())) if agent != NOBODY else 0
        return (
            -int(errors[agent]), -left, -int(warnings[agent]),
            agent == NOBODY, roles.get(agent, ""), _natural(names[agent]), agent,
        )  # fmt: skip

    listed = [agent for agent in earlier if events[agent]]
    unlisted = set(np.flatnonzero(events).tolist()).difference(listed)
    return Lanes.of([*listed, *sorted(unlisted, key=key)], index.agents)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts agent_2 before agent_10."""
    # not converted to numbers, since Python rejects thousands of digits
    parts = ((part.lstrip("0"), part.isdigit()) for part in _DIGITS.split(name))
    return [(len(text), text) if is_number else (-1, text) for text, is_number in parts]


def counts(index: Index, rows: NDArray[Any]) -> NDArray[Any]:
    """Count some rows by agent."""
    return np.bincount(index.agent[rows], minlength=index.agents)


def lane_rows(
    index: Index, lanes: Lanes, lines: Lines | None, open_spans: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Describe each lane; with `lines`, the last error of each is quoted."""
    errors = counts(index, index.errors)
    warnings = counts(index, index.warnings)
    last_error = {agent: int(index.errors_of(agent)[-1]) for agent in lanes.agents.tolist() if errors[agent]}
    quoted = {} if lines is None else _messages(index, lines, list(last_error.values()))
    rows = []
    for agent in lanes.agents.tolist():
        pieces = index.pieces_of(agent)
        name = index.tables.agents.texts[agent]
        left = open_spans.get(name, ()) if agent != NOBODY else ()
        rows.append(
            {
                "agent": name,
                "role": index.tables.roles.get(agent, ""),
                "events": int(index.events_of[agent]),
                "errors": int(errors[agent]),
                "first": index.time(int(pieces[0][0])),
                "last": index.time(int(pieces[-1][-1])),
                "why": _why(
                    int(errors[agent]), quoted.get(last_error.get(agent, -1)), left, int(warnings[agent])
                ),
            }
        )
    return rows


def _messages(index: Index, lines: Lines, rows: list[int]) -> dict[int, str]:
    try:
        pairs = zip(rows, lines.events(index, rows), strict=True)
        return {row: event.message or event.kind for row, event in pairs}
    except FilesMovedError:
        return {}  # show the counts only; the next index has the texts


def _why(errors: int, message: str | None, left: Sequence[str], warnings: int) -> str:
    parts = []
    if errors:
        last_message = "" if message is None else f", the last: {shown_safely(cut(message, _WHY_CHARS))}"
        parts.append(f"{plural(errors, 'error')}{last_message}")
    if left:
        parts.append(f"its process was killed inside {shown_safely(cut(left[-1], _WHY_CHARS))}")
    if warnings and not errors:
        parts.append(plural(warnings, "warning"))
    return "; ".join(parts)


def shown_ticks(index: Index) -> list[list[int]]:
    """Return [tick, time] of at most 4,000 recorded ticks, evenly sampled, with the first and the last."""
    ticks, rows = index.ticks
    if len(ticks) > MOST_TICKS:
        some = np.unique(np.linspace(0, len(ticks) - 1, MOST_TICKS).round().astype(np.int64))
        ticks, rows = ticks[some], rows[some]
    times = index.t_us[rows] - index.first_us
    return [[tick, t] for tick, t in zip(ticks.tolist(), times.tolist(), strict=True)]


def description(session: Path) -> SessionInfo | None:
    """Return the description of a session; None if it is missing or damaged."""
    try:
        return open_session(session)
    except (SessionNotFound, DamagedInput):
        return None  # its events can still be shown


def status_of(session: Path, info: SessionInfo | None) -> str:
    """Return whether a session is running, ended, or was killed; `unknown` without a description."""
    if is_written(session, is_ended=info is not None and info.ended_at is not None):
        return "running"
    if info is None:
        return "unknown"
    return "killed" if info.ended_at is None or info.recovered_at is not None else "ended"


def program_of(info: SessionInfo | None) -> str | None:
    """Return the command line of a session's program, with the script's name instead of its path."""
    if info is None or not info.argv:
        return None
    script = Path(str(info.argv[0]))
    name = script.parent.name if script.name == "__main__.py" else script.name
    return shown_safely(cut(" ".join([name, *map(str, info.argv[1:])]), _WHY_CHARS))


def replay_of(index: Index, info: SessionInfo | None) -> dict[str, Any]:
    """Return whether the session can be replayed, which needs states, and its stored targets."""
    kinds = index.tables.kinds
    state, action = kinds.get("state"), kinds.get("agent_action")
    if action is None or state is None or not index.has_full_state:
        return {"can": False, "text": "no action was recorded with its agent's state"}
    targets = {} if info is None else info.targets
    if not targets:
        return {"can": True, "text": "replay needs --target MODULE:FACTORY"}
    first = next(iter(targets.values()))
    some = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
    return {"can": True, "text": f"replay with {shown_safely(cut(str(first), 80))}{some}"}
