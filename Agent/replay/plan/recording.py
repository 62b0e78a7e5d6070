"""Which run is meant, as people name it, and a session's data about that run, read once.

For one agent, only what happened inside its actions is kept. `actions.py` turns it into a plan. The classes
of the recorded script are in `__main__` there, and in another module in a replay.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentNotFound, DamagedInput, RunNotFound, SessionNotFound
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.pointers import unescape
from Agent.event.values.opaque import refers_elsewhere
from Agent.flight.run_reading import RunRef as FlightRun
from Agent.flight.run_reading import find_run as find_flight_run
from Agent.tree.default_root import default_root
from Agent.tree.files.session import SessionInfo, lineage_within, open_session
from Agent.tree.layout import agents_dir, find_session, is_directory, session_file
from Agent.tree.read.reader import TreeReader

ACTION_KINDS = frozenset({"agent_action", "learning_update"})

_DIGEST_CHARS = 16
_MOST_FORKS = 64
_MOST_AROUND = 10_000
"""Spans around an event that are looked at: those of a damaged recording may lead to themselves."""

_FIELD_DEPTH = len("/extra/fields/NAME".split("/"))


@dataclass(slots=True)
class AgentFacts:
    """What was recorded about one agent as a whole."""

    agent_id: str
    role: str | None = None
    entries: int = 0
    """Actions that were the agent's outermost ones."""
    roots: int = 0
    """Those of them that nothing else was open above."""
    first_state: Event | None = None
    adopted: dict[str, str] = field(default_factory=dict)
    """Its fields that hold generators whose draws were recorded, and by what these are distinguished."""
    held: dict[int, str] = field(default_factory=dict)
    """Numbers of what it holds that code outside of actions may change, with the places."""
    has_values: bool = False
    """Whether containers and arrays count there, as in newer recordings."""
    has_records: bool = False
    """Whether those with instances of dataclasses or of classes of attrs do, too."""
    lives: int = 0
    """First states: more than one means that several objects had this id."""
    has_exit: bool = False
    shared_with: set[str | None] = field(default_factory=set)
    """Agents that were seen with its generators before it was; None where the record does not name them."""
    shared_objects: dict[str, set[str]] = field(default_factory=dict)
    """Its fields with an object that other agents were seen with, too, and those agents."""
    written: set[str] = field(default_factory=set)
    """Its fields that something else than its actions wrote, where recording looked for that."""
    written_outside: set[str] = field(default_factory=set)
    """Its fields with an object that something else than its actions changed in between."""
    queues_outside: set[str] = field(default_factory=set)
    """Its fields with a queue from which something else than its actions took, or into which it put."""
    calls: dict[str, str | None] = field(default_factory=dict)
    """Method name to the digest of the code that ran last."""


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """The function behind a code digest."""

    module: str
    qualname: str
    source: str | None

    @property
    def is_async(self) -> bool | None:
        """Tell whether it is a coroutine function; None if the source was not recorded."""
        if self.source is None:
            return None
        for line in self.source.splitlines():
            text = line.strip()
            if text.startswith("async def "):
                return True
            if text.startswith("def "):
                return False
        return None


@dataclass(slots=True)
class Recording:
    """One run as read."""

    session: Path
    agent_id: str | None
    info: SessionInfo | None
    events: list[Event] = field(default_factory=list)
    """In order of time, writer and number."""
    agents: dict[str, AgentFacts] = field(default_factory=dict)
    codes: dict[str, CodeFacts] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    """The program's own modules, each with the digest of its source file."""
    generator_states: dict[str, Event] = field(default_factory=dict)
    """States from which recorded draws are counted, by the event's id."""
    moves: list[Event] = field(default_factory=list)
    """Changes of what agents hold by code outside of actions, whichever agent's next action found them."""
    damage: list[str] = field(default_factory=list)
    lost: int = 0
    """Events that a cleanly closed or crashed writer took a number for and that are not there."""
    dropped: int = 0
    """Events that recording itself says it could not write."""
    torn: int = 0
    """Lines that end in the middle, as a crash leaves them."""
    is_complete: bool = True
    """Every writer of the session ended cleanly."""
    open_agents: dict[str, str | None] = field(default_factory=dict)
    """Span id to agent of what was under way when a process died, or is under way now."""

    def configuration(self, name: str, default: Any) -> Any:
        """Return a setting under which the session was recorded."""
        return default if self.info is None else self.info.configuration.get(name, default)


def read_recording(session: Path, agent_id: str | None = None) -> Recording:
    """Read a session, or what happened in it while one agent acted.

    Raises:
        AgentNotFound: the session has no event of that agent.
    """
    reader = open_reader(session)
    recording = Recording(session, agent_id, session_info(session))
    nesting = _Nesting(agent_id)
    scan = reader.scan()
    for event in scan:
        _note_facts(recording, event)
        if agent_id is None:
            recording.events.append(event)
        else:
            nesting.note(event)
    if agent_id is not None:
        if agent_id not in recording.agents:
            raise AgentNotFound(f"no readable event of agent {agent_id!r}", path=session)
        # A span's event comes after all that happened inside it, so what is inside is known by now only.
        # Where a process was killed, measurements that it held back are gone, and with them what they nested.
        wanted = {agent_id} if all(writer.closed for writer in scan.losses.writers) else {agent_id, None}
        recording.events = [
            event
            for event in reader.scan()
            if event.agent_id == agent_id or not wanted.isdisjoint(nesting.around(event))
        ]
    recording.events.sort(key=order_key)
    recording.moves.sort(key=order_key)
    for damage in reader.damage():
        if damage.reason.startswith("torn"):
            recording.torn += 1
        else:
            recording.damage.append(f"{damage.path.name}:{damage.line_number}: {damage.reason}")
    losses = scan.losses
    recording.lost = losses.total_lost + losses.total_unknown
    recording.is_complete = all(writer.closed for writer in losses.writers)
    recording.open_agents = {span.span_id: span.agent_id for span in reader.in_flight()}
    return recording


class RecordingParts:
    """The recordings of single agents, taken out of a whole session as `read_recording` gives them.

    Args:
        whole: what `read_recording` gives of a session.
    """

    def __init__(self, whole: Recording) -> None:
        self._whole = whole
        nesting = _Nesting()
        for event in whole.events:
            nesting.note(event)
        self._events: dict[str | None, list[Event]] = {}
        for event in whole.events:
            for agent_id in nesting.around(event) | {event.agent_id or ""}:
                self._events.setdefault(agent_id, []).append(event)

    def of(self, agent_id: str | None) -> Recording:
        """The recording of one agent, of the whole session without one.

        Raises:
            AgentNotFound: the session holds no event of that agent.
        """
        whole = self._whole
        if agent_id is None:
            return whole
        if agent_id not in whole.agents:
            raise AgentNotFound(f"no readable event of agent {agent_id!r}", path=whole.session)
        events = self._events.get(agent_id, [])
        orphans = [] if whole.is_complete else self._events.get(None, [])
        if orphans:
            events = sorted({event.id: event for event in (*events, *orphans)}.values(), key=order_key)
        return replace(whole, agent_id=agent_id, events=events)


def session_info(session: Path) -> SessionInfo | None:
    """What a session says of itself; None if that is lost: then targets and settings are missing."""
    try:
        return open_session(session)
    except (SessionNotFound, DamagedInput):
        return None


class _Nesting:
    """Which agents' entry actions a span stands in; numbers, since there may be millions of spans.

    Args:
        agent_id: whose actions count; everybody's without one.
    """

    def __init__(self, agent_id: str | None = None) -> None:
        self._agent_id = agent_id
        self._parents: dict[int, int | None] = {}
        self._owners: dict[int, frozenset[str | None]] = {}
        self._around: dict[int, frozenset[str | None]] = {}

    def note(self, event: Event) -> None:
        """Keep where a span stands, and whose it is."""
        span = _number(event.span_id)
        if span is None:
            return
        self._parents[span] = _number(event.parent_span_id)
        owner = None if event.code is None else event.agent_id
        if owner is not None and self._agent_id in {None, owner}:
            self._owners[span] = self._owners.get(span, frozenset()) | {owner}

    def around(self, event: Event) -> frozenset[str | None]:
        """The agents in whose entry actions an event stands; None among them where a span is missing."""
        passed = []
        span = _number(event.parent_span_id)
        found: frozenset[str | None] = frozenset()
        while span is not None:
            if span in self._around:
                found = self._around[span]
                break
            if span not in self._parents:
                found = frozenset({None})
                break
            passed.append(span)
            self._around[span] = frozenset()  # for the time being, which also ends a circle
            span = self._parents[span]
        for each in reversed(passed):
            if each in self._owners:
                found |= self._owners[each]
            self._around[each] = found
        return found


def parents_of(events: Iterable[Event]) -> dict[str, str | None]:
    """{span: the one around it}."""
    return {event.span_id: event.parent_span_id for event in events if event.span_id is not None}


def spans_around(event: Event, parents: Mapping[str, str | None]) -> Iterator[str]:
    """The spans around an event, the innermost first, up to one that is not recorded."""
    span_id, count = event.parent_span_id, 0
    while span_id is not None and count < _MOST_AROUND:
        yield span_id
        span_id, count = parents.get(span_id), count + 1


def _number(span_id: str | None) -> int | None:
    try:
        return None if span_id is None else int(span_id, 16)
    except ValueError:
        return None  # no hexadecimal number: not an id of ours


def began_us(event: Event) -> float:
    """Return when a span began, from its end and duration; rounded up."""
    duration = event.extra.get("duration_ms")
    if not isinstance(duration, (int, float)) or isinstance(duration, bool):
        return float(event.timestamp_us)
    captured = event.extra.get("capture_ms")
    if isinstance(captured, (int, float)):
        duration += captured
    return event.timestamp_us - duration * 1000 * (1 - 1e-6)


def method_name(event: Event) -> str:
    """Return the name of the traced function, without its classes."""
    return str(event.extra.get("call", "")).rpartition(".")[2]


def is_traced_action(event: Event) -> bool:
    """Tell whether a decorator or `instrument` wrote it, rather than a logger."""
    return event.kind in ACTION_KINDS and event.span_id is not None and "call" in event.extra


def _note_code(recording: Recording, extra: Mapping[str, Any]) -> None:
    recording.codes[str(extra.get("digest"))] = CodeFacts(
        str(extra.get("module", "")), str(extra.get("qualname", "")), extra.get("source")
    )
    modules = extra.get("modules")
    for name, digest in modules.items() if isinstance(modules, dict) else ():
        if len(str(digest)) == _DIGEST_CHARS:  # else hidden, as a secret is: the name sounded like one
            recording.modules[str(name)] = str(digest)


def _note_facts(recording: Recording, event: Event) -> None:
    if event.kind == "code":
        _note_code(recording, event.extra)
        return
    if event.kind == "source.state":
        recording.generator_states[event.id] = event
        return
    if event.kind == "log.dropped":
        count = event.extra.get("count")
        recording.dropped += count if isinstance(count, int) else 1
    if is_held_move(event):
        if _can_be_read(event.extra.get("moved")):
            recording.moves.append(event)
        else:
            recording.damage.append(f"event {event.id}: what code outside of actions changed cannot be read")
    agent_id = event.agent_id
    if agent_id is None:
        return
    facts = recording.agents.get(agent_id)
    if facts is None:
        facts = recording.agents[agent_id] = AgentFacts(agent_id)
    facts.role = event.agent_role or facts.role
    if is_traced_action(event):
        facts.calls[method_name(event)] = event.code or facts.calls.get(method_name(event))
        if event.code is not None:
            facts.entries += 1
            facts.roots += event.extra.get("root") is True
    elif event.kind == "state":
        _note_state(facts, event)
    elif is_held_move(event):
        _note_held(facts, event)
    elif event.kind == "state_change" and event.extra.get("trigger") == "outside":
        changed = event.extra.get("changed")
        facts.written.update(changed if isinstance(changed, dict) else ())
        facts.written.update(map(str, event.extra.get("unset") or ()))
        writers = event.extra.get("writers")
        known = writers if isinstance(writers, dict) else {}
        facts.queues_outside.update(name for name in _queues_in(event) if None in (known.get(name) or [None]))
        facts.written_outside.update(map(str, event.extra.get("objects") or ()))


def _note_state(facts: AgentFacts, event: Event) -> None:
    reason = event.extra.get("reason")
    if reason == "first":
        facts.lives += 1
        if facts.first_state is None or order_key(event) < order_key(facts.first_state):
            facts.first_state = event
    elif reason == "exit":
        facts.has_exit = True
    _note_held(facts, event)
    adopted = event.extra.get("adopted")
    facts.adopted.update(adopted if isinstance(adopted, dict) else {})
    together = event.extra.get("shared_objects")
    for name, other in together.items() if isinstance(together, dict) else ():
        facts.shared_objects.setdefault(name, set()).add(str(other))
    facts.written_outside.update(map(str, event.extra.get("written_outside") or ()))
    owners = event.extra.get("shared_with")
    if isinstance(owners, dict):
        facts.shared_with.update(owners.values())
    elif event.extra.get("shared") and reason != "gone":
        facts.shared_with.add(None)


def ends_of(event: Event) -> dict[str, str | None]:
    """Digests of what fields with references lead to as recording ends, by field, of a `state` event.

    None of what cannot be read, of agents that are gone, and in recordings without such digests.
    """
    if event.extra.get("reason") not in {"exit", "gone"}:
        return {}
    fields, digests = event.extra.get("fields") or {}, event.extra.get("end_content") or {}
    names = [name for name, shown_as in fields.items() if refers_elsewhere(shown_as)]
    return {name: digests.get(name) for name in (*names, *digests)}


def note_overlap(facts: AgentFacts) -> None:
    """Other tasks ran while an agent's actions waited, or it acted while others' did: they use its queues."""
    if facts.first_state is not None:
        facts.queues_outside.update(_queues_in(facts.first_state))


def _queues_in(event: Event) -> Iterator[str]:
    """The fields that a state or a write holds a queue in."""
    pointers = (
        pointer.split("/") for pointer, tag in (event.types or {}).items() if tag.startswith("queue:")
    )
    return (unescape(parts[3]) for parts in pointers if len(parts) == _FIELD_DEPTH)


def is_held_move(event: Event) -> bool:
    """Tell whether code outside of actions changed what an agent holds."""
    return event.kind == "state_change" and event.extra.get("trigger") == "held"


def _can_be_read(moved: object) -> bool:
    """Whether it is {number: {attribute: {...}}}."""
    return isinstance(moved, dict) and all(
        number.isdecimal()
        and isinstance(moves, dict)
        and all(isinstance(each, dict) for each in moves.values())
        for number, moves in moved.items()
    )


def _note_held(facts: AgentFacts, event: Event) -> None:
    held = event.extra.get("held")
    followed = event.extra.get("held_values")
    facts.has_values = facts.has_values or followed is True or followed == "records"
    facts.has_records = facts.has_records or followed == "records"
    for path, number in held.items() if isinstance(held, dict) else ():
        if type(number) is int:
            facts.held.setdefault(number, str(path))


def sharing_agents(
    objects: Iterable[str], facts: Mapping[str, AgentFacts], live: frozenset[str]
) -> frozenset[str]:
    """Driven agents whose generators an agent may hold, too, whose code does not run here."""
    outside = {agent_id for agent_id, fact in facts.items() if fact.first_state is not None} - live
    found = set()
    for agent_id in objects:
        own = facts[agent_id].shared_with if agent_id in facts else set()
        named = any(owner in outside for owner in own)
        unnamed = None in own and bool(outside)
        by_others = any({agent_id, None} & facts[other].shared_with for other in outside)
        if named or unnamed or by_others:
            found.add(agent_id)
    return frozenset(found)


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
            return None  # the original is gone
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
        and file.endswith(script.name)
        and Path(file).name == script.name
    }
    own = getattr(sys.modules.get(target_module), "__file__", None)
    if own in found:
        return target_module
    whole = found.get(str(script.absolute()))
    return whole if whole is not None or len(found) != 1 else next(iter(found.values()))


# Which run is meant: `last`, a session, or one agent of a session, as people name them.
#

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
        if is_directory(path) and (session_file(path).is_file() or agents_dir(path).is_dir()):
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
