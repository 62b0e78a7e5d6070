"""One side of a comparison of runs: its events by stream, and where the comparison begins.

A stream holds the events of one agent, or the events without an agent of one category or run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from Agent.archive.sealed.reader import ArchiveLines, open_reader
from Agent.errors import UsageError
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.flight.checkpoints.state_fold import is_outside_write
from Agent.flight.run_reading import RunName, RunRef, find_run
from Agent.flight.tool_replayer import short_json
from Agent.replay.plan.recording import REPLAYED, check_agent
from Agent.tree.files.session import Lineage, lineage_of, read_claims
from Agent.tree.layout import CATEGORY_FILES, agent_files, category_files
from Agent.tree.read.reader import TreeReader

COMPARED_CATEGORIES = tuple(name for name in CATEGORY_FILES if name not in {"performance", "system"})

_MAX_WAITING = 10_000
_BEHIND_ALL = ("9999", "", 0)
"""A sort key after every event."""


class StreamKey(NamedTuple):
    """The identity of a stream; the name of a run's stream is its index in the session."""

    kind: Literal["agent", "category", "run"]
    name: str


@dataclass(slots=True)
class RunSide:
    """One of the two runs."""

    ref: RunRef
    name: str
    reader: TreeReader
    lineage: Lineage | None
    run_ids: frozenset[str] = frozenset()
    """The run and its child runs; empty for a whole session."""
    agents: tuple[str, ...] = ()
    since: tuple[str, str, int] | None = None
    """The sort key of the first event that is compared; None for all events."""
    is_sealed: bool = False
    """Whether segments of the session are sealed to Parquet."""
    around: frozenset[str] = frozenset()
    """The span inside which the run was started, if any."""
    only_actions: bool = False
    """Whether only events inside actions are compared, since a fork does not run the code that calls them."""
    forked: Lineage | None = None
    """On both sides, the fork's origin if one side is a fork of the other."""

    @property
    def session(self) -> Path:
        """The session's directory."""
        return self.ref.session

    def streams(self) -> list[StreamKey]:
        """Return the streams of this side."""
        keys = [StreamKey("agent", name) for name in self.agents]
        if self.ref.agent_id is None:
            if not self.run_ids:
                keys += [StreamKey("category", name) for name in COMPARED_CATEGORIES]
            runs = frozenset() if self.only_actions else self.run_ids or frozenset(self.reader.run_ids())
            order = [name for name in self.reader.run_ids() if name in runs]
            keys += [StreamKey("run", str(index)) for index, _ in enumerate(order)]
        return keys

    def events(self, key: StreamKey) -> Iterator[Event]:
        """Yield the events of a stream in order."""
        events = self._all(key)
        events = inside_actions(events) if self.only_actions else events
        return self._of_run(events) if self.run_ids else events

    def counts(self, event: Event) -> bool:
        """Whether an event is compared; other events only update the state."""
        if self.since is not None and order_key(event) < self.since:
            return False
        if self.only_actions and is_outside_write(event):
            return False
        return not self.run_ids or event.run_id in self.run_ids or event.span_id in self.around

    def _of_run(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events up to the run's end, and later states that no other action precedes."""
        has_begun = False
        later: list[Event] = []
        for event in events:
            if self.counts(event):
                has_begun = True
                yield from later
                later = []
            elif has_begun:
                later.append(event)
                continue
            yield event
        for event in later:
            if event.code is not None:
                return
            yield event

    def _all(self, key: StreamKey) -> Iterator[Event]:
        if key.kind == "agent":
            return self.reader.events(key.name) if self.reader.holds_agent(key.name) else iter(())
        if key.kind == "category":
            return self.reader.category_events(key.name)
        runs = [name for name in self.reader.run_ids() if not self.run_ids or name in self.run_ids]
        if int(key.name) >= len(runs):
            return iter(())
        return (event for event in self.reader.run_events(runs[int(key.name)]) if event.agent_id is None)

    def files(self, key: StreamKey) -> list[Path] | None:
        """Return a stream's files in order, if one writer wrote all of it to unsealed files; else None."""
        if self.since is not None or self.run_ids or key.kind == "run" or self.is_sealed:
            return None
        if key.kind == "agent":
            paths = agent_files(self.session, key.name)
        else:
            paths = category_files(self.session, key.name)
        return None if any("@" in path.name for path in paths) else paths

    def writers(self) -> list[str]:
        """Return the writers of the session, and that of events that a fork kept from before its point."""
        return [*read_claims(self.session), REPLAYED]


def open_side(run: RunName, root: str | os.PathLike[str] | None) -> RunSide:
    """Open a run by name: a run's id or its beginning, a session, `SESSION/agent_id`, or `last`.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: it does not exist.
    """
    ref = find_run(run, root)
    reader = open_reader(ref.session)
    side = RunSide(ref, ref.name, reader, lineage_of(ref.session))
    side.is_sealed = bool(ArchiveLines(ref.session).files())
    if ref.run_id is not None:
        side.run_ids = frozenset(_with_children(reader, ref.run_id))
        began = next(reader.run_events(ref.run_id), None)
        if began is not None and began.parent_span_id is not None:
            side.around = frozenset([began.parent_span_id])
    known = [agent.agent_id for agent in reader.agents()]
    if ref.agent_id is not None:
        check_agent(reader, ref.agent_id)
        known = [ref.agent_id]
    side.agents = tuple(known)
    return side


def pair_agents(one: RunSide, other: RunSide) -> None:
    """Restrict both sides to the agent that one of them names.

    Raises:
        UsageError: they name two agents, whose events cannot be paired.
        AgentNotFound: a side does not have the agent.
    """
    named = [side.ref.agent_id for side in (one, other) if side.ref.agent_id is not None]
    if len(set(named)) > 1:
        raise UsageError(
            f"{one.name} and {other.name} are different agents, and only the same agent can be compared",
            remedy="name the same agent twice, or run `journey --summary` for each",
        )
    for side in (one, other):
        if named and side.ref.agent_id is None:
            check_agent(side.reader, named[0])
            side.ref = side.ref._replace(agent_id=named[0])
            side.agents = (named[0],)


def _with_children(reader: TreeReader, run_id: str) -> list[str]:
    run_ids = [run_id]
    parents = {}
    for name in reader.run_ids():
        began = next(reader.run_events(name), None)
        parents[name] = None if began is None else began.extra.get("parent_run_id")
    for name in run_ids:
        run_ids += [child for child, parent in parents.items() if parent == name and child not in run_ids]
    return run_ids


def inside_actions(events: Iterable[Event]) -> Iterator[Event]:
    """Yield one agent's actions, the events inside them, and its state events, in order."""
    waiting: list[Event] = []
    for event in events:
        if event.kind == "state" or is_outside_write(event):
            yield event
            continue
        waiting.append(event)
        if event.code is None or event.span_id is None:
            del waiting[:-_MAX_WAITING]
            continue
        parents = {each.span_id: each.parent_span_id for each in waiting if each.span_id is not None}
        inside = {event.span_id: True}
        rest = []
        for each in waiting:
            if each is event or _is_within(each.parent_span_id, parents, inside):
                yield each
            else:
                rest.append(each)
        waiting = rest


def _is_within(span_id: str | None, parents: Mapping[str, str | None], inside: dict[str, bool]) -> bool:
    passed = []
    while span_id is not None and span_id not in inside:
        passed.append(span_id)
        inside[span_id] = False  # also ends the loop if damaged parents form a cycle
        span_id = parents.get(span_id)
    is_inside = span_id is not None and inside[span_id]
    inside.update(dict.fromkeys(passed, is_inside))
    return is_inside


def align(one: RunSide, other: RunSide) -> list[str]:
    """Restrict a fork and its origin to the part that both have; return notes on what is left out."""
    notes = []
    for fork, origin in ((one, other), (other, one)):
        lineage = fork.lineage
        if lineage is None or not _is_of(lineage, origin):
            continue
        one.forked = other.forked = lineage
        origin.since = _BEHIND_ALL
        if lineage.from_event is not None and lineage.from_timestamp is not None:
            writer, seq = split_event_id(lineage.from_event)
            origin.since = (lineage.from_timestamp, writer, seq)
        agents = tuple(name for name in origin.agents if name in lineage.agents)
        left_out = len(origin.agents) - len(agents)
        known = {agent.agent_id for agent in origin.reader.agents()}
        fork.agents = tuple(name for name in fork.agents if name in lineage.agents or name not in known)
        origin.agents = agents
        origin.only_actions = fork.only_actions = not lineage.by_itself
        changed = "" if lineage.patch is None else f" with {short_json(lineage.patch)}"
        verb = lineage.relation.removesuffix("_from")
        notes.append(f"{fork.name} was {verb} from {origin.name} at {lineage.step}{changed}")
        if left_out:
            notes.append(f"{left_out} agents of {origin.name} did not run in the fork and are not compared")
        break
    return notes


def _is_of(lineage: Lineage, origin: RunSide) -> bool:
    if origin.session.name.removeprefix("session_") != lineage.session_id:
        return False
    return origin.lineage is None or origin.lineage.run_id != lineage.run_id
