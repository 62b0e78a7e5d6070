"""Read the recording of a run from the session once.

For one agent, only its events and those inside its actions are kept. `actions.py` makes a plan from it. The
classes of the recorded script are in `__main__` in the recording, and in another module in a replay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.archive.verify import changes_of_lines
from Agent.errors import AgentNotFound, DamagedInput, SessionNotFound
from Agent.event.classes import is_of_library
from Agent.event.kinds import ACTION_KINDS, HELD
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.pointers import unescape
from Agent.event.values.opaque import refers_elsewhere
from Agent.record.tracing.function_facts import module_digest
from Agent.render.formats import named, plural
from Agent.replay.compare.outcome import ReplayOutcome, listed
from Agent.tree.files.session import SessionInfo, lineage_within, open_session, read_claims, session_info
from Agent.tree.layout import files_below, find_session, session_id_of
from Agent.tree.read.losses import WriterLosses
from Agent.tree.read.reader import TreeReader, no_collection

REPLAYED = "replayed"
"""The writer of a replay's events; the events that a fork keeps from before its point have this prefix."""
_DIGEST_CHARS = 16
_MOST_FORKS = 64
_MOST_AROUND = 10_000
"""The most enclosing spans to follow, since the parents in a damaged recording may form a cycle."""

_FIELD_DEPTH = len("/extra/fields/NAME".split("/"))


@dataclass(slots=True)
class AgentFacts:
    """Facts about one agent, collected once."""

    agent_id: str
    role: str | None = None
    entries: int = 0
    """The number of its entry actions."""
    roots: int = 0
    """The number of its entry actions that no other action encloses."""
    first_state: Event | None = None
    adopted: dict[str, str] = field(default_factory=dict)
    """{field with a generator whose draws were recorded: the key of these draws}."""
    held: dict[int, str] = field(default_factory=dict)
    """{number: path} of held objects that code outside of actions may change."""
    lives: int = 0
    """The number of first states: more than one means that several objects had this id."""
    shared_with: set[str | None] = field(default_factory=set)
    """Agents that recorded the same generators earlier; None for agents that the recording does not name."""
    shared_objects: dict[str, set[str]] = field(default_factory=dict)
    """{field: other agents that hold the same object}."""
    written: set[str] = field(default_factory=set)
    """Fields that code other than its actions wrote, if recording looked for such writes."""
    written_outside: set[str] = field(default_factory=set)
    """Fields with an object that code other than its actions changed."""
    queues_outside: set[str] = field(default_factory=set)
    """Fields with a queue that code other than its actions uses."""
    calls: dict[str, str | None] = field(default_factory=dict)
    """{method: digest of the code that ran last}."""

    def note_overlap(self) -> None:
        """Mark its queues as used by others, since its actions overlapped with other tasks."""
        if self.first_state is not None:
            self.queues_outside.update(_queues_in(self.first_state))


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """The function behind a code digest."""

    module: str
    qualname: str
    source: str | None
    place: Mapping[str, Any] = field(default_factory=dict)
    """`file` and `line`, if they were recorded."""

    @property
    def is_async(self) -> bool | None:
        """Whether it is a coroutine function; None if the source was not recorded."""
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
    """The recording of a run, read into memory."""

    session: Path
    agent_id: str | None
    info: SessionInfo | None
    events: list[Event] = field(default_factory=list)
    """In order of time, writer and number."""
    agents: dict[str, AgentFacts] = field(default_factory=dict)
    codes: dict[str, CodeFacts] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    """{module of the program: digest of its source file}."""
    generator_states: dict[str, Event] = field(default_factory=dict)
    """{event id: state of a generator} from which recorded draws are counted."""
    moves: list[Event] = field(default_factory=list)
    """Changes to held objects by code outside of actions, of all agents."""
    closed: list[Event] = field(default_factory=list)
    """The last events of writers, also those of other agents."""
    damage: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Where lines are not what was written."""
    lost: int = 0
    """The number of missing events, from gaps in the writers' numbers."""
    dropped: int = 0
    """The number of events that recording reports as not written."""
    is_complete: bool = True
    """Whether every writer of the session ended cleanly."""
    lacks_workers: bool = False
    """Whether the program's first process ended cleanly, but others were killed, such as a pool's workers."""
    open_agents: dict[str, str | None] = field(default_factory=dict)
    """{open span: agent}, of actions that were running when a process died, or are running now."""

    @property
    def is_sound(self) -> bool:
        """Whether it is as it was written, and lacks nothing."""
        return self.is_complete and not (self.lost or self.dropped or self.damage or self.changed)

    def configuration(self, name: str, default: Any) -> Any:
        """Return a setting under which the session was recorded."""
        return default if self.info is None else self.info.configuration.get(name, default)

    @property
    def acting_agents(self) -> list[str]:
        """The ids of the agents with traced actions."""
        return sorted({each.agent_id for each in filter(is_traced_action, self.events) if each.agent_id})

    def reads(self) -> Iterator[tuple[Event, str, Any]]:
        """Yield the actions and the sources that they read, each with what the action read from it."""
        for event in self.events:
            for source, values in members(event, "reads").items():
                yield event, source, values

    @property
    def has_ids_and_times(self) -> bool:
        """Whether actions read clocks or ids, whose values differ in another run of the program."""
        return any(type(reads) is list and "@" not in source for _, source, reads in self.reads())

    @property
    def handles(self) -> list[str]:
        """The fields that full states list as handles, as `agent.field`."""
        states = (event for event in self.events if event.kind == "state")
        names = [f"{event.agent_id}.{name}" for event in states for name in event.extra.get("handles") or ()]
        return list(dict.fromkeys(names))

    def note_gaps(self, outcome: ReplayOutcome) -> None:
        """Note what is missing from it or was changed, and the unrecorded reads while it was made."""
        if self.changed:
            outcome.reason(
                f"the recording was changed after it was written: {self.changed[0]}: agent-trace verify "
                f"{session_id_of(self.session)}"
            )
        outcome.scope = "whole" if self.is_complete else "prefix"
        if self.lost:
            outcome.reason(f"{plural(self.lost, 'event', 'are')} missing from the recording of the session")
        if self.dropped:
            outcome.reason(
                f"{plural(self.dropped, 'event', 'were')} not written when the session was recorded"
            )
        for damage in self.damage[:3]:
            outcome.reason(f"the recording is damaged at {damage}")
        for event in self.events:
            if event.kind == "source.read" and "count" not in event.extra:
                extra = event.extra
                outcome.doubts.append(
                    f"while it was recorded, {extra.get('source')} was read unrecorded by "
                    f"{extra.get('call')} ({extra.get('file')}:{extra.get('line')})"
                )


_MOST_BYTES = 32 << 20
"""The size limit of a session whose events are all held in memory while those of one agent are chosen."""


@no_collection()
def read_recording(session: Path, agent_id: str | None = None) -> Recording:
    """Read a session, or only one agent's events and those inside its actions.

    Raises:
        AgentNotFound: the session has no event of that agent.
    """
    reader = open_reader(session)
    recording = Recording(session, agent_id, session_info(session))
    nesting = _Nesting(agent_id)
    may_be_inside = False
    all_events: list[Event] | None = [] if agent_id is not None and _is_small(session) else None
    scan = reader.scan()
    for event in scan:
        _note_facts(recording, event)
        if agent_id is None or (event.agent_id == agent_id and not may_be_inside):
            recording.events.append(event)
        elif event.agent_id != agent_id and event.parent_span_id is not None:
            may_be_inside = True
            recording.events.clear()
        if agent_id is not None:
            nesting.note(event)
        if all_events is not None:
            all_events.append(event)
    if agent_id is not None:
        if agent_id not in recording.agents:
            raise AgentNotFound(f"no readable event of agent {agent_id!r}", path=session)
        # A span's event is written after the events inside it, so nesting is known only after a first pass;
        # without events of others inside spans, one pass is enough. A large session is read again for them.
        # If a process was killed, spans that it had not written are missing: keep events inside those too.
        wanted = {agent_id} if all(writer.has_ended for writer in scan.losses.writers) else {agent_id, None}
        if may_be_inside:
            recording.events = [
                event
                for event in (reader.scan() if all_events is None else all_events)
                if event.agent_id == agent_id or not wanted.isdisjoint(nesting.around(event))
            ]
    recording.events.sort(key=order_key)
    recording.moves.sort(key=order_key)
    for damage in reader.damage():
        if not damage.reason.startswith("torn"):  # as a crash leaves it
            recording.damage.append(f"{damage.path.name}:{damage.line_number}: {damage.reason}")
    losses = scan.losses
    recording.lost = losses.total_lost + losses.total_unknown
    recording.is_complete = all(writer.has_ended for writer in losses.writers)
    recording.lacks_workers = not recording.is_complete and _outlived_all(session, losses.writers)
    heads = {
        event.writer: head for event in recording.closed if isinstance(head := event.extra.get("head"), str)
    }
    recording.changed = changes_of_lines(
        session, heads, is_running=any(not each.closed and each.alive for each in losses.writers)
    )
    recording.open_agents = {span.span_id: span.agent_id for span in reader.in_flight()}
    return recording


def _outlived_all(session: Path, writers: Iterable[WriterLosses]) -> bool:
    """Whether the program's first process ended cleanly, and no process that did not is still running."""
    open_writers = [each for each in writers if not each.has_ended]
    claims = read_claims(session)
    first = min(claims, key=lambda writer: claims[writer].claimed_at, default=None)
    return all(each.writer != first and not each.alive for each in open_writers)


def _is_small(session: Path) -> bool:
    try:
        return sum(path.stat().st_size for path in files_below(session)) <= _MOST_BYTES
    except OSError:  # a file that is renamed meanwhile
        return False


class RecordingParts:
    """The recordings of single agents, extracted from that of a whole session without reading it again.

    Args:
        whole: the result of `read_recording` for a session.
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
        """Return the recording of one agent, or of the whole session for None.

        Raises:
            AgentNotFound: the session has no event of that agent.
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


class _Nesting:
    """Finds the agents whose entry actions enclose an event.

    Args:
        agent_id: the agent whose actions count; None for all.
    """

    def __init__(self, agent_id: str | None = None) -> None:
        self._agent_id = agent_id
        self._parents: dict[str, str | None] = {}
        self._owners: dict[str, set[str | None]] = {}

    def note(self, event: Event) -> None:
        """Store a span's parent and, for an entry action, its agent."""
        if event.span_id is None:
            return
        self._parents[event.span_id] = event.parent_span_id
        if event.code is not None and event.agent_id is not None and self._agent_id in {None, event.agent_id}:
            self._owners.setdefault(event.span_id, set()).add(event.agent_id)

    def around(self, event: Event) -> set[str | None]:
        """Return the agents whose entry actions enclose an event; includes None if a span is missing."""
        agents: set[str | None] = set()
        for span_id in spans_around(event, self._parents):
            agents |= self._owners.get(span_id, set())
            if span_id not in self._parents:
                agents.add(None)
        return agents


def parents_of(events: Iterable[Event]) -> dict[str, str | None]:
    """Return {span id: parent span id}."""
    return {event.span_id: event.parent_span_id for event in events if event.span_id is not None}


def spans_around(event: Event, parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the enclosing spans of an event, innermost first, up to one that is not recorded."""
    return spans_from(event.parent_span_id, parents)


def spans_from(span_id: str | None, parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a span and those around it, innermost first, up to one that is not recorded."""
    count = 0
    while span_id is not None and count < _MOST_AROUND:
        yield span_id
        span_id, count = parents.get(span_id), count + 1


def began_us(event: Event) -> float:
    """Return the start of a span in microseconds since 1970, from its end and duration; rounded up."""
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
    """Whether a decorator or `instrument` wrote an action, rather than a logger."""
    return event.kind in ACTION_KINDS and event.span_id is not None and "call" in event.extra


def codes_of(events: Iterable[Event]) -> dict[str, str]:
    """Return {`agent.method`: digest of the code that ran last}; without an agent, the method alone.

    An action inside another one of its agent has no digest; a `code` event before it tells it by name.
    """
    digests: dict[str, str] = {}
    found: dict[str, str] = {}
    for event in events:
        if event.kind == "code":
            digests[str(event.extra.get("qualname"))] = str(event.extra.get("digest"))
        elif is_traced_action(event):
            code = event.code or digests.get(str(event.extra.get("call")))
            if code is not None:
                whose = "" if event.agent_id is None else f"{event.agent_id}."
                found[f"{whose}{method_name(event)}"] = code
    return found


def first_classes_of(events: Iterable[Event], script: str) -> dict[str, str]:
    """Return {agent: its class when it was first seen}; `script` is the name to import the script by."""
    classes: dict[str, str] = {}
    for event in events:
        name = event.extra.get("class")
        if event.kind == "state" and event.agent_id is not None and type(name) is str:
            module, _, rest = name.partition(".")
            classes.setdefault(event.agent_id, f"{script}.{rest}" if module == "__main__" else name)
    return classes


def members(event: Event, key: str) -> dict[str, Any]:
    """Return a mapping in an event's payload; empty if it is missing, or was edited to be something else."""
    value = event.extra.get(key)
    return value if isinstance(value, dict) else {}


def _note_code(recording: Recording, event: Event) -> None:
    extra = event.extra
    recording.codes[str(extra.get("digest"))] = CodeFacts(
        str(extra.get("module", "")),
        str(extra.get("qualname", "")),
        extra.get("source"),
        {key: extra[key] for key in ("file", "line") if key in extra},
    )
    for name, digest in members(event, "modules").items():
        if len(str(digest)) == _DIGEST_CHARS:  # else redacted, since the module's name looks like a secret's
            recording.modules[str(name)] = str(digest)


def with_changed_files(failure: str, recording: Recording) -> str:
    """Return why a replay compared nothing, with the code that changed since the recording."""
    changed = changed_files(recording)
    return f"{failure}; changed since the recording: {listed(changed)}" if changed else failure


def changed_files(recording: Recording) -> list[str]:
    """Return the traced functions that changed since the recording, and the modules of which none did.

    Only files are read, as after a replay that compared nothing.
    """
    files = {
        code.module: Path(file)
        for code in recording.codes.values()
        if type(file := code.place.get("file")) is str
    }
    directories = {str(file.parents[module.count(".")]) for module, file in files.items()}
    changed: list[str] = []
    for name, digest in recording.modules.items():
        if module_digest(name, directories) in {None, digest}:
            continue
        text = files[name].read_text("utf-8", "replace") if name in files else ""
        own = [code for code in recording.codes.values() if text and code.module == name]
        functions = [each.qualname for each in own if each.source is not None and each.source not in text]
        changed += functions or [name]
    return changed


def _note_facts(recording: Recording, event: Event) -> None:
    if event.kind == "code":
        _note_code(recording, event)
        return
    if event.kind == "source.state":
        recording.generator_states[event.id] = event
        return
    if event.kind == "log.closed":
        recording.closed.append(event)
    if event.kind == "log.dropped":
        count = event.extra.get("count")
        recording.dropped += count if isinstance(count, int) else 1
    if is_held_move(event):
        if _can_be_read(event.extra.get("moved")):
            recording.moves.append(event)
        else:
            recording.damage.append(f"event {event.id}: changes by code outside of actions cannot be read")
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
        facts.written.update(members(event, "changed"))
        facts.written.update(map(str, event.extra.get("unset") or ()))
        known = members(event, "writers")
        facts.queues_outside.update(name for name in _queues_in(event) if None in (known.get(name) or [None]))
        facts.written_outside.update(map(str, event.extra.get("objects") or ()))


def _note_state(facts: AgentFacts, event: Event) -> None:
    reason = event.extra.get("reason")
    if reason == "first":
        facts.lives += 1
        if facts.first_state is None or order_key(event) < order_key(facts.first_state):
            facts.first_state = event
    _note_held(facts, event)
    facts.adopted.update(members(event, "adopted"))
    for name, other in members(event, "shared_objects").items():
        facts.shared_objects.setdefault(name, set()).add(str(other))
    facts.written_outside.update(map(str, event.extra.get("written_outside") or ()))
    owners = event.extra.get("shared_with")
    if isinstance(owners, dict):
        facts.shared_with.update(map(str, owners.values()))


def ends_of(event: Event) -> dict[str, str | None]:
    """Return the digests of the final contents of referenced objects, by field, from a final `state` event.

    A digest is None if the content could not be read or was not recorded. Other events give {}.
    """
    if str(event.extra.get("reason")) not in {"exit", "gone"}:
        return {}
    fields, digests = event.extra.get("fields") or {}, event.extra.get("end_content") or {}
    names = [name for name, shown_as in fields.items() if refers_elsewhere(shown_as)]
    return {name: digests.get(name) for name in (*names, *digests)}


def _queues_in(event: Event) -> Iterator[str]:
    """Yield the fields with a queue in a state or a write."""
    pointers = (
        pointer.split("/") for pointer, tag in (event.types or {}).items() if tag.startswith("queue:")
    )
    return (unescape(parts[3]) for parts in pointers if len(parts) == _FIELD_DEPTH)


def is_held_move(event: Event) -> bool:
    """Whether an event is a change to an agent's held objects by code outside of actions."""
    return event.kind == "state_change" and event.extra.get("trigger") == HELD


def _can_be_read(moved: object) -> bool:
    """Whether recorded changes have the form {number: {attribute: {...}}}."""
    return isinstance(moved, dict) and all(
        number.isdecimal()
        and isinstance(moves, dict)
        and all(isinstance(each, dict) for each in moves.values())
        for number, moves in moved.items()
    )


def _note_held(facts: AgentFacts, event: Event) -> None:
    for path, number in members(event, "held").items():
        if type(number) is int:
            facts.held.setdefault(number, str(path))


def sharing_agents(
    objects: Iterable[str], facts: Mapping[str, AgentFacts], live: frozenset[str]
) -> frozenset[str]:
    """Return the replayed agents that may share generators with agents whose code does not run here."""
    outside = {agent_id for agent_id, fact in facts.items() if fact.first_state is not None} - live
    agents = set()
    for agent_id in objects:
        own = facts[agent_id].shared_with if agent_id in facts else set()
        named = any(owner in outside for owner in own)
        unnamed = None in own and bool(outside)
        by_others = any({agent_id, None} & facts[other].shared_with for other in outside)
        if named or unnamed or by_others:
            agents.add(agent_id)
    return frozenset(agents)


def recorded_arguments(session: Path) -> tuple[str, ...]:
    """Return the command line with which a session, or a fork's original, was recorded; () if unknown."""
    for _ in range(_MOST_FORKS):
        try:
            info = open_session(session)
            lineage = lineage_within(info)
            if lineage is None:
                return info.argv
            session = find_session(session.parent, lineage.session_id)
        except (SessionNotFound, DamagedInput):
            return ()  # the original was deleted
    return ()


def recorded_script(session: Path) -> Path | None:
    """Return the script that was run when a session was recorded; None if unknown."""
    arguments = recorded_arguments(session)
    return Path(arguments[0]) if arguments else None


def script_here(session: Path, target: str = "") -> Path | None:
    """Return the recorded script if it is in the directory from which a target is imported, or is here."""
    script = recorded_script(session)
    if script is None or script.suffix != ".py":
        return None
    path = (Path.cwd() / script).resolve()
    if not target:
        is_here = path.is_relative_to(Path.cwd()) and not is_of_library(str(path))
        return path if is_here and path.is_file() else None
    spec = PathFinder.find_spec(target.partition(":")[0].partition(".")[0])
    if spec is None or not path.is_file():
        return None
    # A package is a directory, with or without an `__init__.py`.
    paths = [spec.origin] if spec.submodule_search_locations is None else spec.submodule_search_locations
    directories = [Path(each).resolve().parent for each in paths if each is not None]
    return path if {path.parent, package_of(script)[1]} & set(directories) else None


def package_of(script: Path) -> tuple[str, Path]:
    """Return the package of a script that ran as `python -m package`, and the directory that holds it.

    For other scripts they are "" and the script's directory. `sys.argv[0]` is the full path of a module run
    with `-m`, but the path of a script as it was typed.
    """
    names: list[str] = []
    directory = script.parent
    if script.is_absolute() and script.name == "__main__.py":
        names.append(directory.name)
        directory = directory.parent
    while script.is_absolute() and (directory / "__init__.py").is_file():
        names.append(directory.name)
        directory = directory.parent
    return ".".join(reversed(names)), directory


def script_name(session: Path) -> str:
    """Return the module name of the script's classes in a recording's digests."""
    script = recorded_script(session)
    return "__main__" if script is None else script.stem


def module_names(*sessions: Path) -> frozenset[str]:
    """Return the names, without packages, under which other processes import the sessions' scripts."""
    scripts = [recorded_script(session) for session in sessions]
    return frozenset(script.stem for script in scripts if script is not None and script.suffix == ".py")


def script_module(target_module: str, session: Path) -> str | None:
    """Return the loaded module that was `__main__` in the recording; None if it is not loaded or ambiguous.

    Args:
        target_module: the target's module, which is usually the script.
        session: the session's directory.
    """
    script = recorded_script(session)
    if script is None:
        return None
    modules = {
        file: name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(file := getattr(module, "__file__", None), str)
        and file.endswith(script.name)
        and Path(file).name == script.name
    }
    own = getattr(sys.modules.get(target_module), "__file__", None)
    if own in modules:
        return target_module
    whole = modules.get(str(script.absolute()))
    return whole if whole is not None or len(modules) != 1 else next(iter(modules.values()))


def check_agent(reader: TreeReader, agent_id: str) -> None:
    """Raise AgentNotFound, which lists known agents, unless the session has this agent."""
    if reader.holds_agent(agent_id):
        return
    known = [agent.agent_id for agent in reader.agents()]
    raise AgentNotFound(
        f"no agent {agent_id!r} in this session",
        path=reader.session,
        remedy=f"it knows {', '.join(map(named, known[:5])) or 'none'}{', ...' if len(known) > 5 else ''}",
    )
