"""The plan of a replay: the actions to call, in order, with the recorded calls and effects of each.

It is made from a `Recording` once the replayed agents are known; `driver.py` carries it out.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nextafter

from Agent.event.ids import split_event_id
from Agent.event.kinds import INTERVENTION, Meaning
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.payloads import kinds_of
from Agent.event.pointers import escape
from Agent.flight.recorded_calls import CALL_KINDS
from Agent.replay.compare.emitted_events import is_point
from Agent.replay.plan.recording import (
    Recording,
    began_us,
    is_held_move,
    is_traced_action,
    method_name,
    parents_of,
    spans_around,
    spans_from,
)
from Agent.tree.read.reader import no_collection

FRAMEWORK_KINDS = kinds_of(Meaning.BOOKKEEPING) | {"resource", "span", INTERVENTION}
"""Kinds that recording itself, its sampler thread or other libraries write, and not the replayed code."""
OVERLAP_US = 50
"""The tolerance between the end of one span and the start of the next, which are two clock reads."""
ASYNC_SLACK_US = 2_000
"""The maximum delay of the recorded start of an async call."""
_PROCESS_DIGITS = 8
"""The number of leading digits of a span id that identify its process."""


_CLOCK_US = 2
"""The tolerance between the end of one tool or model call and the start of the next."""


def is_of_framework(event: Event) -> bool:
    """Whether recording itself wrote the event: one of FRAMEWORK_KINDS, or a stored checkpoint."""
    return event.kind in FRAMEWORK_KINDS or (event.kind == "checkpoint" and "stored_as" in event.extra)


@dataclass(slots=True, eq=False)
class PlannedCall:
    """A recorded traced call, with the traced calls directly inside it."""

    event: Event
    agent_id: str | None
    name: str
    began_us: float
    parent: PlannedCall | None = None
    children: list[PlannedCall] = field(default_factory=list)
    is_taken: bool = False
    """Whether it was answered or happened again in this replay."""
    is_async: bool = False
    task: int = 0
    """The number of the asyncio task in which it ended; 0 if unknown."""
    turns: tuple[int, int] = (0, 0)
    """The positions of its start and end in the order of the async steps of its process; 0 if unknown."""
    resumed: tuple[int, ...] = ()
    """The positions in the same order at which it continued after an `await`."""
    writer: str = field(init=False)
    """The writer of its event."""
    seq: int = field(init=False)
    """The number of its event within the writer."""
    ended_us: int = field(init=False)
    """The time of its event, in microseconds since 1970."""

    def __post_init__(self) -> None:
        self.writer, self.seq = split_event_id(self.event.id)
        self.ended_us = self.event.timestamp_us

    @property
    def whose(self) -> str:
        """Its name and its agent."""
        return f"{self.name} of {self.agent_id}"

    @property
    def description(self) -> str:
        """Return a short description of the call."""
        return f"{self.whose} (event {self.event.id})"

    def overlaps(self, other: PlannedCall) -> bool:
        """Whether two calls ran concurrently, so that their order has no meaning."""
        if self.turns[1] and other.turns[1] and self.writer == other.writer:
            return self.turns[0] < other.turns[1] and other.turns[0] < self.turns[1]
        # A recorded start may be too late by the time of capturing the result, which matters only for tasks.
        slack = ASYNC_SLACK_US if self.is_async and other.is_async else -2
        return self.began_us < other.ended_us + slack and other.began_us < self.ended_us + slack


def calls_in(call: PlannedCall, live: Collection[str] | None = None) -> Iterator[PlannedCall]:
    """Yield the calls inside a call, in order.

    Args:
        live: the agents whose code runs; if given, calls inside an answered call are left out, since a fork
            does not make them.
    """
    for child in call.children:
        yield child
        if live is None or child.agent_id is None or child.agent_id in live:
            yield from calls_in(child, live)


@dataclass(slots=True)
class DrivenAction:
    """One action to replay, with what was recorded around and inside it."""

    number: int
    call: PlannedCall
    before: list[Event] = field(default_factory=list)
    """Full states and writes from outside since the agent's previous action."""
    after: list[Event] = field(default_factory=list)
    """Full states recorded when the action failed."""
    moved: list[Event] = field(default_factory=list)
    """Changes to objects that agents hold since the previous replayed action of any agent."""
    ahead: list[Event] = field(default_factory=list)
    """Writes to other agents before it by code outside of actions."""
    by_hand: list[Event] = field(default_factory=list)
    """Changes by hand (`agent-trace control`) since the previous replayed action of any agent."""
    by_hand_inside: list[Event] = field(default_factory=list)
    """The same at ticks that began inside it."""
    effects: list[Event] = field(default_factory=list)
    """The events inside it, in order, without those inside answered calls."""
    answered: int = 0
    """The number of calls in it that replayed code makes and the replay answers."""
    behind: list[int] = field(default_factory=list)
    """For each effect, how many of these calls had ended before it."""
    metrics: Counter[str] = field(default_factory=Counter)
    """The number of measurements inside it, by name."""
    overlaps: bool = False
    """Whether another replayed action was open at the same time."""
    resumed: tuple[int, ...] = ()
    """The positions at which its code continued after an `await`, without those inside answered calls."""
    is_plain: bool = False
    """Whether it has only plain values without tags, and only point events (`is_point`) inside it."""
    event: Event = field(init=False)
    """The event of the action."""
    agent_id: str = field(init=False)
    """The agent of the action."""

    def __post_init__(self) -> None:
        self.event, self.agent_id = self.call.event, str(self.call.agent_id)


@dataclass(slots=True)
class Plan:
    """Everything to replay."""

    actions: list[DrivenAction] = field(default_factory=list)
    last: dict[str, DrivenAction] = field(default_factory=dict)
    """{agent: its last replayed action}, in the order of their first ones."""
    exits: dict[str, Event] = field(default_factory=dict)
    """{agent: its state at a clean end}, including agents inside others."""
    gone: dict[str, Event] = field(default_factory=dict)
    """{agent: its state when it was garbage-collected before the end}, including agents inside others."""
    acted: dict[str, int] = field(default_factory=dict)
    """{garbage-collected agent: number of the last replayed action in which it acted}."""
    undriven: Counter[str] = field(default_factory=Counter)
    """{agent, or "" for none: number of its actions that are neither replayed nor inside replayed ones}."""
    of_no_agent: list[PlannedCall] = field(default_factory=list)
    """Those of no agent, in order."""
    functions: int = 0
    """The number of replayed agents' actions that are calls of functions, not of methods."""
    moved_last: list[Event] = field(default_factory=list)
    """Changes to objects that agents hold after the last replayed action."""
    by_hand_last: list[Event] = field(default_factory=list)
    """Changes by hand after the last replayed action."""
    written_last: dict[str, list[Event]] = field(default_factory=dict)
    """{agent: writes from outside after its last action}."""
    notes: Counter[str] = field(default_factory=Counter)
    """{replayed agent: number of its `log_action` notes outside replayed actions}."""

    def take(self, actions: Iterable[DrivenAction]) -> None:
        """Set the actions to replay."""
        self.actions = list(actions)
        self.last = {action.agent_id: action for action in self.actions}


@no_collection()
def make_plan(recording: Recording, given: frozenset[str], live: frozenset[str]) -> Plan:
    """Return the plan for a run.

    Args:
        recording: the run.
        given: the agents whose objects the target returns; their outermost actions can be replayed.
        live: the agents whose code runs: `given` and those inside them. Other agents' calls are answered.
    """
    tree = _CallTree(recording, live)
    plan = Plan()
    for call in sorted(tree.calls.values(), key=lambda call: (call.began_us, call.seq)):
        if call.event.code is None:
            continue  # only entry actions carry code
        # An entry without state is a call of a function, not of the agent's method.
        is_own = call.agent_id in given and call.event.state is not None
        if _is_inside(call, given) or (is_own and tree.is_open_above(call)):
            continue  # it happens inside that replayed action, or belongs to an action that never ended
        if is_own:
            tree.roots[str(call.event.span_id)] = DrivenAction(len(tree.roots) + 1, call)
        elif call.agent_id in given:
            plan.functions += 1
        else:
            plan.undriven[call.agent_id or ""] += 1
            plan.of_no_agent += [call] if call.agent_id is None else []
    plan.take(tree.roots.values())
    _mark_overlaps(plan.actions)
    _add_surroundings(recording, plan, tree, given)
    _add_gone(recording, plan, tree)
    for action in plan.actions:
        action.is_plain = _is_plain(action)
        action.resumed = _own_turns(action, live)
    return plan


def _own_turns(action: DrivenAction, live: frozenset[str]) -> tuple[int, ...]:
    """Return the positions at which an action continued after an `await`, without those in answered calls."""
    if any(event.kind in CALL_KINDS for event in action.effects):
        return ()  # the positions inside tool and model calls, which are answered too, are not recorded
    hidden = [each.turns for each in _answered_inside(action.call, live) if each.task == action.call.task]
    return tuple(
        turn for turn in action.call.resumed if not any(began < turn < ended for began, ended in hidden)
    )


def _answered_inside(call: PlannedCall, live: frozenset[str]) -> Iterator[PlannedCall]:
    for child in call.children:
        if child.agent_id in live:
            yield from _answered_inside(child, live)
        else:
            yield child


def _is_plain(action: DrivenAction) -> bool:
    event = action.event
    return (
        not (action.metrics or action.call.children or event.types)
        and all(is_point(each) and each.parent_span_id == event.span_id for each in action.effects)
        and event.state is not None
        and type(event.extra.get("call")) is str
        and "args" in event.extra
        and "result" in event.extra
        and "outcome" not in event.extra
        and "args_after" not in event.extra
    )


def _is_inside(call: PlannedCall, given: frozenset[str]) -> bool:
    """Whether a call is inside an action that can be replayed."""
    above = call.parent
    while above is not None:
        if above.agent_id in given and above.event.state is not None:
            return True
        above = above.parent
    return False


def _mark_overlaps(actions: list[DrivenAction]) -> None:
    last: DrivenAction | None = None
    for action in actions:
        if last is not None and action.call.began_us < last.call.ended_us - OVERLAP_US:
            action.overlaps = last.overlaps = True
        if last is None or action.call.ended_us > last.call.ended_us:
            last = action


def _add_surroundings(recording: Recording, plan: Plan, tree: _CallTree, given: frozenset[str]) -> None:
    """Assign the events to actions, by span and by the order of the agent's events."""
    live, roots = tree.live, tree.roots
    waiting: dict[str, list[Event]] = {agent: [] for agent in given}
    latest: dict[str, DrivenAction] = {}
    for event in recording.events:
        if is_of_framework(event) or is_held_move(event) or _is_ahead(event) or is_by_hand(event):
            continue
        own = roots.get(event.span_id or "")
        if own is not None:
            own.before = waiting[own.agent_id]
            waiting[own.agent_id] = []
            latest[own.agent_id] = own
            continue
        if tree.is_inside_tool(event):
            continue
        root = tree.root_of(event)
        if root is not None:
            _add_effect(root, event, live)
            continue
        caller = tree.caller_of(event)
        if caller is not None:
            caller.answered += 1
            continue
        agent = event.agent_id
        if agent in live and agent not in given and event.extra.get("reason") == "exit":
            plan.exits[agent] = event  # the only compared state of an agent inside others
        if agent is None or agent not in given or tree.is_inside_any(event):
            continue
        if event.kind == "state":
            _place_state(event, agent, plan, waiting, latest)
        elif event.kind == "state_change" and is_outside_write(event):
            waiting[agent].append(event)
        elif event.kind == "agent_action" and "call" not in event.extra:
            plan.notes[agent] += 1
    by_agent: defaultdict[str, list[DrivenAction]] = defaultdict(list)
    for action in plan.actions:
        by_agent[action.agent_id].append(action)
    for agent, events in waiting.items():
        waiting[agent] = _place_by_beginning(by_agent[agent], events)
    plan.moved_last = _place_next(recording.moves, roots, "moved")  # they were made while no action was open
    _place_by_hand(plan, recording, tree)
    ahead = [event for event in recording.events if _is_ahead(event) and event.agent_id in given]
    _add_last(plan, [*itertools.chain(*waiting.values()), *_place_ahead(ahead, roots)])


def _add_effect(root: DrivenAction, event: Event, live: frozenset[str]) -> None:
    if event.kind == "metric":
        # A peer with recorded responses does not run, so it records no measurements.
        if event.agent_id is None or event.agent_id in live:
            root.metrics[str(event.extra.get("metric_name"))] += 1
    elif not names_only_objects(event):
        root.effects.append(event)
        root.behind.append(root.answered)


def _add_gone(recording: Recording, plan: Plan, tree: _CallTree) -> None:
    """Add the final states of agents that were garbage-collected before the end, and their last actions."""
    for event in recording.events:
        if event.kind == "state" and event.extra.get("reason") == "gone" and event.agent_id in tree.live:
            plan.gone[event.agent_id] = event
    for call in tree.calls.values():
        agent_id = call.agent_id
        root = tree.action_around(call) if agent_id in plan.gone else None
        if agent_id is not None and root is not None:
            plan.acted[agent_id] = max(plan.acted.get(agent_id, 0), root.number)


def is_outside_write(event: Event) -> bool:
    """Whether an event is a change by code outside of actions, found when an action began or at the end."""
    return event.extra.get("trigger") == "outside" and "changed" in event.extra


def is_by_hand(event: Event) -> bool:
    """Whether an event is a change of an agent's field by hand, through `agent-trace control`."""
    return event.kind == "state_change" and event.extra.get("trigger") == INTERVENTION


_MUTABLE = frozenset({"set", "deque", "bytearray", "opaque"})


def is_given_copies(event: Event) -> bool:
    """Whether a replay of an action passes copies of mutable values, which others may have held."""
    arguments, held, types = event.extra.get("args"), event.extra.get("args_held") or (), event.types or {}
    for name, value in arguments.items() if type(arguments) is dict else ():
        tag = types.get(f"/extra/args/{escape(name)}")
        if (
            name not in held
            and type(value) in {dict, list}
            and (tag is None or tag in _MUTABLE or ":" in tag)
        ):
            return True
    return False


def names_only_objects(event: Event) -> bool:
    """Whether an event names only held objects that were written to since the agent's last action.

    Such events are not compared, since recording does not look at every object each time. The contents of
    the objects are compared at full states.
    """
    return is_outside_write(event) and not event.extra["changed"] and not event.extra.get("unset")


def _add_last(plan: Plan, events: Iterable[Event]) -> None:
    """Add writes to agents after their last action, which no action can repeat."""
    for event in filter(is_outside_write, events):
        plan.written_last.setdefault(str(event.agent_id), []).append(event)


def _is_ahead(event: Event) -> bool:
    """Whether an event is a write to an agent that was found when an action of another agent began."""
    return is_outside_write(event) and event.extra.get("ahead") is True


def _place_ahead(ahead: list[Event], roots: Mapping[str, DrivenAction]) -> Iterable[Event]:
    """Assign writes to other agents to the next action; return those after the last action."""
    waiting = deque(ahead)
    for action, events in _taken_in_turn(waiting, roots):
        own = [event for event in events if event.agent_id == action.agent_id]
        action.ahead += [event for event in events if event.agent_id != action.agent_id]
        if own:
            action.before = sorted([*own, *action.before], key=order_key)
    return waiting


def _taken_in_turn(
    waiting: deque[Event], roots: Mapping[str, DrivenAction]
) -> Iterator[tuple[DrivenAction, list[Event]]]:
    """Yield each action, in the order of their ends, with the waiting events before it, which are removed."""
    for action in sorted(roots.values(), key=lambda each: order_key(each.event)) if waiting else ():
        events = []
        while waiting and order_key(waiting[0]) < order_key(action.event):
            events.append(waiting.popleft())
        yield action, events


def _place_next(events: Iterable[Event], roots: Mapping[str, DrivenAction], name: str) -> list[Event]:
    """Add events to this list of the next action; return those after the last action."""
    waiting = deque(events)
    for action, own in _taken_in_turn(waiting, roots):
        getattr(action, name).extend(own)
    return list(waiting)


def _began_behind(action: DrivenAction, event: Event, turn: int) -> bool:
    """Whether an action began after a write or a state with a known turn of the event loop."""
    began = action.call.turns[0]
    # A synchronous action is not interrupted, so it began after the event if it ended after it.
    return began > turn if began else action.call.seq > event.seq


def _place_by_beginning(own: Sequence[DrivenAction], waiting: list[Event]) -> list[Event]:
    """Assign writes and states to the action that began next, if actions of one agent overlap.

    Returns:
        The writes and states after the start of the last action.
    """
    if not any(overlap(one, other) for one, other in itertools.pairwise(own)):
        return waiting
    events = sorted([*itertools.chain(*(each.before for each in own)), *waiting], key=order_key)
    beginnings = [each.call.began_us for each in own]
    first = 0
    for each in own:
        each.before = []
    unplaced: list[Event] = []
    for event in events:
        turn = event.extra.get("loop_turn")
        if type(turn) is int:
            later = (n for n in range(first, len(own)) if _began_behind(own[n], event, turn))
            position = first = next(later, len(own))
        else:
            position = bisect.bisect_left(beginnings, float(event.timestamp_us))
        (own[position].before if position < len(own) else unplaced).append(event)
    return unplaced


def _place_by_hand(plan: Plan, recording: Recording, tree: _CallTree) -> None:
    """Assign changes by hand to the action inside which their tick began, else to the next one."""
    waiting: list[Event] = []
    for event in recording.events:
        if not is_by_hand(event) or event.agent_id not in tree.live:
            continue
        root = tree.action_around(tree.enclosing(event.parent_span_id))
        if root is None:
            waiting.append(event)
        else:
            root.by_hand_inside.append(event)
    plan.by_hand_last = _place_next(waiting, tree.roots, "by_hand")


def _place_state(
    event: Event,
    agent: str,
    plan: Plan,
    waiting: dict[str, list[Event]],
    latest: dict[str, DrivenAction],
) -> None:
    reason = event.extra.get("reason")
    if reason == "exit":
        plan.exits[agent] = event
    elif reason == "error":
        if agent in latest:
            latest[agent].after.append(event)
    elif reason != "gone":
        waiting[agent].append(event)


class _CallTree:
    """The traced calls of a run as a tree.

    Args:
        live: the agents whose code runs.
    """

    def __init__(self, recording: Recording, live: frozenset[str]) -> None:
        self.live = live
        self.roots: dict[str, DrivenAction] = {}
        """{span id: replayed action}."""
        self._parents = parents_of(recording.events)
        self._open = recording.open_agents
        self.calls: dict[str, PlannedCall] = {}
        self._tools: set[str] = set()
        for event in recording.events:
            if event.span_id is None:
                continue
            if event.kind == "tool.call":
                self._tools.add(event.span_id)
            if is_traced_action(event):
                code = recording.codes.get(event.code or "")
                task, began, *resumed, ended = _in_loop(event)
                self.calls[event.span_id] = PlannedCall(
                    event,
                    event.agent_id,
                    method_name(event),
                    began_us(event),
                    is_async=bool(code is not None and code.is_async),
                    task=task,
                    turns=(began, ended),
                    resumed=tuple(resumed),
                )
        self._set_beginnings(recording)
        if not recording.is_complete:
            self._place_orphans(recording.events)
        for call in self.calls.values():
            above = call.parent = self.enclosing(call.event.parent_span_id)
            while above is not None and above is not call:
                above = above.parent
            if above is call:  # in lines that were edited, spans may lie inside each other
                call.parent = None
            if call.parent is not None and not self.is_inside_tool(call.event):
                call.parent.children.append(call)
        for call in self.calls.values():
            call.children.sort(key=lambda child: (child.began_us, child.seq))

    def _set_beginnings(self, recording: Recording) -> None:
        """Correct start times: no call begins after one with a later span id, or its agent's first state.

        A recorded start is too late by the time it took to capture the result. Span ids are numbered at the
        start of a call, so their order is exact.
        """
        # A recording of one agent lacks the first calls of other agents, so their first states do not help.
        firsts = {
            agent_id: facts.first_state
            for agent_id, facts in recording.agents.items()
            if recording.agent_id in {None, agent_id}
        }
        ended: defaultdict[str, list[float]] = defaultdict(list)  # ends of earlier spans of a process, sorted
        for span_id in sorted(self.calls):
            call, ends = self.calls[span_id], ended[span_id[:_PROCESS_DIGITS]]
            first = firsts.pop(str(call.agent_id), None) if call.event.state is not None else None
            if first is not None and first.writer == call.writer:
                # In a recording that a replay made, all first states precede all calls.
                behind = 0 if call.is_async else bisect.bisect_right(ends, call.began_us)
                earliest = max(float(first.timestamp_us), ends[behind - 1] if behind else 0.0)
                call.began_us = min(call.began_us, earliest)
            bisect.insort(ends, float(call.ended_us))
        later: dict[str, float] = {}
        for span_id in sorted(self.calls, reverse=True):
            call, process = self.calls[span_id], span_id[:_PROCESS_DIGITS]
            if process in later:
                call.began_us = min(call.began_us, nextafter(later[process], 0.0))
            later[process] = call.began_us

    def _place_orphans(self, events: list[Event]) -> None:
        """Find enclosing calls by writer, number and time for spans whose event was lost in a kill."""
        last: dict[str, Event] = {}
        for event in events:
            parent = event.parent_span_id
            if parent is not None and parent not in self._parents and parent not in self._open:
                known = last.get(parent)
                if known is None or event.seq > known.seq:
                    last[parent] = event
        for span_id, event in last.items():
            around = [
                call
                for call in self.calls.values()
                if call.writer == event.writer
                and call.seq > event.seq
                and call.began_us - ASYNC_SLACK_US <= event.timestamp_us
            ]
            if around:
                self._parents[span_id] = min(around, key=lambda call: call.seq).event.span_id

    def enclosing(self, span_id: str | None) -> PlannedCall | None:
        """Return the innermost traced call that is or contains a span."""
        around = spans_from(span_id, self._parents)
        return next((self.calls[each] for each in around if each in self.calls), None)

    def is_open_above(self, call: PlannedCall) -> bool:
        """Whether a call is inside a live agent's action that has no end in the recording."""
        around = spans_around(call.event, self._parents)
        missing = (span_id for span_id in around if span_id not in self._parents)
        return any(self._open.get(span_id) in self.live for span_id in missing)

    def root_of(self, event: Event) -> DrivenAction | None:
        """Return the replayed action that has an event as effect; None for answered calls and their contents.

        If an answered call called a live agent back, that agent's code runs again, so its effects count.
        """
        is_call = event.span_id in self.calls
        is_of_agent = is_call or event.kind == "state" or is_outside_write(event)
        if is_of_agent and event.agent_id not in self.live:
            return None
        call = self.enclosing(event.parent_span_id)
        if call is None or (call.agent_id not in self.live and not is_call):
            return None
        return self.action_around(call)

    def caller_of(self, event: Event) -> DrivenAction | None:
        """Return the replayed action in which replayed code made an answered call; None for other events."""
        call = self.calls.get(event.span_id or "")
        if call is None or call.agent_id in self.live or call.parent is None:
            return None
        return self.action_around(call.parent) if call.parent.agent_id in self.live else None

    def is_inside_tool(self, event: Event) -> bool:
        """Whether an event is inside a tool call, which a replay answers instead of running it."""
        return bool(self._tools) and not self._tools.isdisjoint(spans_around(event, self._parents))

    def is_inside_any(self, event: Event) -> bool:
        """Whether an event is inside a replayed action, including answered calls."""
        return self.action_around(self.enclosing(event.parent_span_id)) is not None

    def action_around(self, call: PlannedCall | None) -> DrivenAction | None:
        """Return the replayed action that is or contains a call."""
        while call is not None:
            root = self.roots.get(str(call.event.span_id))
            if root is not None:
                return root
            call = call.parent
        return None


def has_concurrent_calls(action: DrivenAction) -> bool:
    """Whether calls of agents, of tools or of models inside an action ran at the same time."""
    return _is_concurrent(action.call) or _has_concurrent_requests(action)


def _is_concurrent(call: PlannedCall) -> bool:
    children = call.children
    are_beside = any(one.overlaps(other) for one, other in itertools.pairwise(children))
    return are_beside or any(map(_is_concurrent, children))


def _has_concurrent_requests(action: DrivenAction) -> bool:
    """Whether two tool or model calls with the same parent span overlapped."""
    beside = defaultdict(list)
    for event in action.effects:
        if event.kind in CALL_KINDS:
            beside[event.parent_span_id].append((began_us(event), float(event.timestamp_us)))
    return any(
        later_began < ended - _CLOCK_US
        for calls in beside.values()
        for (_, ended), (later_began, _) in itertools.pairwise(sorted(calls))
    )


def overlap(one: DrivenAction, other: DrivenAction, *, is_loose: bool = False) -> bool:
    """Whether an action was open when a later one began.

    Args:
        is_loose: whether async actions of two agents may overlap by ASYNC_SLACK_US, since their recorded
            starts are too late by the time of capturing the result.
    """
    first, later = one.call, other.call
    if first.turns[1] and later.turns[1] and first.writer == later.writer:
        return later.turns[0] < first.turns[1]
    are_tasks = first.is_async and later.is_async and one.agent_id != other.agent_id
    slack_us = ASYNC_SLACK_US if is_loose and are_tasks else -OVERLAP_US
    # Events of a process are numbered in the order in which calls end.
    is_within = later.writer == first.writer and later.seq < first.seq
    return is_within or later.began_us < first.ended_us + slack_us


def groups_of(actions: Sequence[DrivenAction], *, is_loose: bool = False) -> Iterator[list[DrivenAction]]:
    """Yield the actions in order, in groups that ran at the same time."""
    group: list[DrivenAction] = []
    for action in actions:
        if group and not any(overlap(each, action, is_loose=is_loose) for each in reversed(group)):
            yield group
            group = []
        group.append(action)
    if group:
        yield group


def _in_loop(event: Event) -> list[int]:
    """Return task and turns (start, continuations, end) of an async call; three zeros if not recorded."""
    match event.extra.get("loop_turns"):
        case [int(), int(), int(), *_] as turns:
            return [each for each in turns if type(each) is int]
    return [0, 0, 0]


def ran_in_one_loop(group: Sequence[DrivenAction]) -> bool:
    """Whether concurrent actions may share one event loop: of two that overlap, at least one is async."""
    open_now: list[DrivenAction] = []
    for action in group:
        open_now = [each for each in open_now if overlap(each, action)]
        for each in open_now:
            if not (each.call.is_async or action.call.is_async):
                return False
        open_now.append(action)
    return len(group) > 1


def first_beside(actions: Sequence[DrivenAction]) -> int:
    """Return the number of the first action that may have run beside another in a loop; 0 for none."""
    near = [group for group in groups_of(actions, is_loose=True) if ran_in_one_loop(group)]
    return near[0][0].number if near else 0
