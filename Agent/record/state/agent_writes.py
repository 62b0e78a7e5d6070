"""Finds out whose action wrote a field of another agent, or whether it was written between actions.

An agent's own state shows only that other code wrote to it since its last action ended. That code may be
another agent's action, which a replay repeats, or code outside of actions, such as a scheduler. To tell them
apart, fields are compared whenever an outermost action ends and when the next one begins: at first those of
all agents, later only those that other code wrote.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from Agent.event.system_clock import turns
from Agent.event.values.codecs import UNFINISHED, is_queue, parts_of_queue
from Agent.event.values.plain import SCALARS, is_same_scalar
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.native import native
from Agent.record.health import trouble
from Agent.record.state.held_objects import HeldObject, HeldObjects, Moves
from Agent.record.state.same_members import count_members, snapshot, still_is
from Agent.record.state.tracker import Encoded, Known, StateTracker

_ACTIONS = 32
"""Number of outermost actions during which all agents are checked."""
_MOST_AGENTS = 64
_MOST_FIELDS = 64
_COUNTED_ITEMS = 96
LOOK_S = 0.1
_TURN_S = 0.0005
_VERSION, _CONTAINERS = 6, 7
"""Places in the list that `native.moved` compares."""
BY = "by"


def wait_for_turn(taken: dict[str, tuple[int]], mine: tuple[int]) -> None:
    """Wait up to `LOOK_S` until nobody else looks, and take the turn; the caller gives it back by `taken`.

    A lock would stay taken if a signal's handler raised right after `acquire`: every other thread would wait.

    Args:
        mine: the thread's id, in a tuple of this turn alone; a thread does not wait for itself.
    """
    if taken.setdefault(BY, mine)[0] == mine[0]:
        return
    for _ in turns(LOOK_S, _TURN_S):
        if taken.setdefault(BY, mine)[0] == mine[0]:
            return


"""How long an action waits for the lock, in seconds. The wait is limited because the thread that holds it may
run code of the program that waits for this action."""
Writers = tuple[str | None, ...]
"""The agents whose outermost actions wrote a field, in order; None for code outside of actions."""


class Written(NamedTuple):
    """Fields of an agent that code outside of actions wrote."""

    known: Known
    obj: object
    fields: list[str]


class Found(NamedTuple):
    """The changes made by code outside of actions."""

    moved: dict[int, Moves]
    """By the number of the object."""
    written: list[Written]


class _Facts(Protocol):
    @property
    def is_async(self) -> bool: ...


class Ended(Protocol):
    """The call of an outermost action."""

    binding: AgentBinding
    tracker: StateTracker | None

    turns: list[int]
    """For an async call, the numbers of its begin and its resumptions."""

    @property
    def spec(self) -> _Facts:
        """Facts about its function."""


class _Members(NamedTuple):
    """Identity and member count of a value: equal until the value is replaced, extended or shortened."""

    identity: int
    number: int
    last: int
    is_object: bool = False
    """Whether it is not a container, so that the only visible change is its replacement."""


class _OfQueue(NamedTuple):
    """The mark of a queue's items, its unfinished tasks, and its class."""

    items: object
    unfinished: object
    kind: type


class _Looked:
    """The fields of one agent as they were at the last check.

    Args:
        fields: the fields to check; None for all.
    """

    __slots__ = ("compared", "fields", "known", "marks", "number", "pending")

    def __init__(self, known: Known, fields: frozenset[str] | None) -> None:
        self.known = known
        self.fields = fields
        self.marks: dict[str, object] = {}
        self.number = 0
        """Number of the agent's fields at the last check."""
        self.compared: list[Any] = []
        """The marks in the form that `native.moved` compares; empty where it cannot."""
        self.pending: dict[str, Writers | None] = {}
        """By field, the writers of changes that are not recorded yet; None if they are unknown."""

    def take(self, present: Mapping[str, Any], known: dict[int, tuple[object, object]] | None = None) -> None:
        """Store the present fields as those of the last check.

        Args:
            known: by `id`, the containers that this look has marked, to be filled: many agents may share one.
        """
        before, number = self.marks, self.number
        self.number = len(present)
        fields = present.keys() if self.fields is None else self.fields & present.keys()
        marks = {} if known is None else known
        self.marks = {name: _mark_once(present[name], marks) for name in tuple(fields)[:_MOST_FIELDS]}
        if number != self.number or not self._replaces(before):
            self.list_compared()

    def _replaces(self, before: Mapping[str, object]) -> bool:
        """Put new marks of containers in the places of the old ones; False if there is more to do."""
        if not self.compared or before.keys() != self.marks.keys():
            return False
        names, marks = self.compared[_CONTAINERS], list(self.compared[_CONTAINERS + 1])
        for name, mark in self.marks.items():
            old = before[name]
            if mark is old or (type(mark) is _Members and type(old) is _Members and mark == old):
                continue
            if name not in names or type(mark) is not tuple or _is_flat(mark[-1]):
                return False
            marks[names.index(name)] = mark
        self.compared[_VERSION] = 0
        self.compared[_CONTAINERS + 1] = tuple(marks)
        return True

    def list_compared(self) -> None:
        """List the marks for `native.moved`: scalars, identities of objects and what is in containers."""
        scalars: dict[str, Any] = {}
        objects: dict[str, Any] = {}
        containers: dict[str, Any] = {}
        counted: dict[str, Any] = {}
        for name, mark in self.marks.items():
            if type(mark) is _Members and mark.is_object:
                objects[name] = mark.identity
            elif type(mark) is _Members:
                counted[name] = mark[:3]
            elif type(mark) in SCALARS:
                scalars[name] = mark
            elif type(mark) is tuple and _is_flat(mark[-1]):
                objects[name] = id(mark[-1])  # the mark keeps it alive
            elif type(mark) is tuple or type(mark) is _OfQueue:
                containers[name] = mark
            else:
                break
        tracker = self.known.tracker
        agent, names = (None, ()) if tracker is None else tracker.where_fields_are(self.fields)
        number = self.number if self.fields is None else len(self.fields)
        self.compared.clear()
        if agent is not None and number == len({**scalars, **objects, **containers, **counted}):
            self.compared.append(agent)
            for each in (scalars, objects):
                self.compared += tuple(each), tuple(each.values())
            # The number of all fields, if a further one counts; the version of `__dict__`, noted in C.
            self.compared += number if self.fields is None else -1, 0
            for each in (containers, counted):
                self.compared += tuple(each), tuple(each.values())
            self.compared.append(names)

    def moved(self, present: Mapping[str, Any]) -> list[str]:
        """Return the fields that differ from the last check."""
        marks = self.marks
        found = [
            name for name, mark in marks.items() if name not in present or _is_other(mark, present[name])
        ]
        if self.fields is None and len(marks) < _MOST_FIELDS:
            found += [name for name in present if name not in marks]
        return found


class AgentWrites:
    """Checks the fields of the agents of one pipeline for writes by other code.

    Args:
        known: all agents; the caller adds to this mapping.
        is_on: whether anything is checked.
    """

    __slots__ = (
        "_compared", "_has_threads", "_is_first", "_is_mixed", "_is_on", "_known", "_left", "_looked",
        "_order", "_thread", "is_watching",
    )  # fmt: skip

    def __init__(self, known: Mapping[int, Known], *, is_on: bool) -> None:
        self._known = known
        self._looked: dict[StateTracker, _Looked] = {}
        self._left = _ACTIONS if is_on else 0
        self._is_on = is_on
        self._is_first = is_on
        """Whether all agents are still checked."""
        self.is_watching = is_on
        """Whether any agent is checked."""
        self._order: list[tuple[StateTracker, _Looked]] = []
        """The items of `_looked`, until one is added or removed."""
        self._compared: list[list[Any]] = []
        """For each item of `_order`, the list that `native.moved` compares."""
        self._is_mixed = False
        """Whether actions have overlapped since the last check."""
        self._thread: int | None = None
        """The only thread in which actions ran; None before the first action and after several threads."""
        self._has_threads = False
        """Whether actions ran in several threads, so that another thread's action may be open at any time."""

    def begins(self, *, is_alone: bool) -> list[Written]:
        """An outermost action begins: return the writes since the last one ended.

        Args:
            is_alone: whether no other outermost action is open.
        """
        if not is_alone or self._has_threads:  # another thread's action may begin meanwhile
            self._is_mixed = True
            return []
        found = []
        for tracker, obj, looked in self._perhaps_changed():
            fields = looked.moved(tracker.present(obj)) if looked.marks else ()
            if fields:
                found.append(Written(looked.known, obj, list(fields)))
        return found

    def ended(self, own: StateTracker | None, writer: str | None, *, has_waited: bool, is_last: bool) -> None:
        """An outermost action ended: note it as the writer of the changes to other agents.

        Args:
            own: the state of its agent.
            writer: the id of its agent.
            has_waited: whether it was suspended, so that other tasks may have run before it ended.
            is_last: whether no other outermost action is open.
        """
        if not is_last:
            self._is_mixed = True
            return
        is_known = not self._is_mixed and not self._has_threads and writer is not None
        self._is_mixed = False
        if self._left:
            self._left -= 1
            self._add_all()
        if own is not None and own in self._looked:
            self._looked[own].pending.clear()
        marks: dict[int, tuple[object, object]] = {}
        encoded: Encoded = {}
        for tracker, obj, looked in self._perhaps_changed():
            present = tracker.present(obj)
            fields = looked.moved(present) if looked.marks and tracker is not own else ()
            if fields:
                unrecorded = tracker.rewritten(present, fields)
                tracker.note_late(present, unrecorded, encoded)
                for name in fields:
                    if name not in unrecorded:
                        looked.pending.pop(name, None)  # the agent's own nested action recorded it
                        continue
                    before = looked.pending.get(name, ())
                    if before is None or not is_known or (has_waited and _has_other_tasks()):
                        looked.pending[name] = None
                    elif writer not in before:
                        looked.pending[name] = (*before, writer)
            looked.take(present, marks)
        if self._left == 0 and self._is_first:
            self._is_first = False
            self._keep_written()

    def take_writers(self, known: Known, obj: object, fields: Iterable[str]) -> dict[str, Writers]:
        """Return the writers of fields that are recorded now, without fields whose writers are unknown.

        From now on these fields are checked.
        """
        tracker = known.tracker
        if tracker is None or tracker.is_explicit or not self._is_on or self._has_threads:
            return {}
        present = tracker.present(obj)
        looked = self._looked.get(tracker)
        if looked is None:
            names = frozenset(fields)
            if names and len(self._looked) < _MOST_AGENTS:
                looked = _Looked(known, names)
                looked.take(present)
                self._add(tracker, looked)
                self.is_watching = True
            return {}
        moved = set(looked.moved(present))
        writers: dict[str, Writers] = {}
        for name in fields:
            before = looked.pending.pop(name, ())
            if name in moved and (before is not None):
                writers[name] = (*before, None)
            elif before:
                writers[name] = before
            if looked.fields is not None and len(looked.fields) < _MOST_FIELDS:
                looked.fields |= {name}
            if name in present:
                looked.marks[name] = _mark(present[name])
            else:
                looked.marks.pop(name, None)
        looked.list_compared()
        return writers

    def late(self, tracker: StateTracker) -> dict[str, Any]:
        """Return the scalars that actions of others wrote to an agent, and that are not recorded yet."""
        looked = self._looked.get(tracker)
        marks = {} if looked is None else {name: looked.marks.get(name, self) for name in looked.pending}
        return {name: mark for name, mark in marks.items() if type(mark) in SCALARS}

    def is_checked(self, tracker: StateTracker) -> bool:
        """Whether all fields of an agent are checked."""
        looked = self._looked.get(tracker)
        return looked is not None and looked.fields is None and len(looked.marks) == looked.number

    def note_thread(self) -> None:
        """An outermost action begins in this thread."""
        thread = threading.get_ident()
        if self._thread is None and not self._has_threads:
            self._thread = thread
        elif self._thread != thread:
            self._thread, self._has_threads = None, True

    def _agents(self) -> Iterator[tuple[StateTracker, object, _Looked]]:
        for tracker, looked in list(self._looked.items()):
            obj = tracker.obj()
            if obj is None:
                self._looked.pop(tracker, None)
            elif tracker.actions:
                yield tracker, obj, looked

    def _perhaps_changed(self) -> list[tuple[StateTracker, object, _Looked]]:
        """Return the agents whose fields may differ from the last check."""
        if native is None:
            return list(self._agents())
        self._list_order()
        found = []
        for place in native.moved(self._compared):
            tracker, looked = self._order[place]
            obj = tracker.obj()
            if obj is None:
                self._looked.pop(tracker, None)
            elif tracker.actions:
                found.append((tracker, obj, looked))
        self._list_order()
        return found

    def _list_order(self) -> None:
        """List the items of `_looked` again if one was added or removed."""
        if len(self._order) != len(self._looked):
            self._order = list(self._looked.items())
            self._compared = [looked.compared for _, looked in self._order]

    def _add(self, tracker: StateTracker, looked: _Looked) -> None:
        """Check an agent from now on, and keep the list complete, which the C part needs."""
        is_listed = len(self._order) == len(self._looked)
        self._looked[tracker] = looked
        if is_listed:
            self._order = [*self._order, (tracker, looked)]
            self._compared = [*self._compared, looked.compared]

    def _add_all(self) -> None:
        for known in list(self._known.values()):
            tracker = known.tracker
            if tracker is None or tracker.is_explicit or tracker in self._looked:
                continue
            if len(self._looked) >= _MOST_AGENTS:
                return
            self._looked[tracker] = _Looked(known, None)

    def _keep_written(self) -> None:
        """From now on, check only the fields that were written by other code."""
        for tracker, looked in list(self._looked.items()):
            if looked.fields is None:
                looked.fields = tracker.watched.union(looked.pending)
            if not looked.fields:
                del self._looked[tracker]
                continue
            looked.marks = {name: mark for name, mark in looked.marks.items() if name in looked.fields}
            looked.list_compared()
        self.is_watching = bool(self._looked)


class BetweenActions:
    """Finds changes by code outside of actions, in agents and in objects that they hold.

    If only the action itself changed something, C code does the work of `begins` and `ended`.

    Args:
        known: all agents; the caller adds to this mapping.
        is_on: whether anything is checked.
    """

    __slots__ = ("_open", "is_watching", "objects", "taken", "writes")

    def __init__(self, known: Mapping[int, Known], *, is_on: bool) -> None:
        self.objects = HeldObjects(is_on=is_on)
        self.writes = AgentWrites(known, is_on=is_on)
        self.is_watching = is_on
        """Whether checks are also made at actions of agents that hold no checked objects."""
        self.taken: dict[str, tuple[int]] = {}
        """Whose turn it is to check, so that no action of another thread changes the objects meanwhile."""
        self._open = 0

    def begins(self, held: tuple[HeldObject, ...], _call: object) -> Found | None:
        """An outermost action begins: return the changes since the last one ended, or None.

        Args:
            held: the objects that the acting agent holds.
        """
        self._open += 1
        is_alone = self._open == 1
        self.writes.note_thread()
        moved: dict[int, Moves] = {}
        written: list[Written] = []
        try:
            if self.writes.is_watching:
                written = self.writes.begins(is_alone=is_alone)
            if is_alone:
                moved = self.objects.begins(held)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            trouble("looking at what agents hold", error)
        self._watch()
        return Found(moved, written) if moved or written else None

    def ended(self, held: tuple[HeldObject, ...], call: Ended) -> None:
        """An outermost action ended: attribute the changes since its begin to it."""
        mine, taken = (threading.get_ident(),), self.taken
        try:
            wait_for_turn(taken, mine)
            self._open -= 1
            is_last = self._open == 0
            self.objects.ended(held, is_last=is_last)
            if self.writes.is_watching:
                writer = call.binding.agent_id
                has_waited = call.spec.is_async and len(call.turns) > 1
                self.writes.ended(call.tracker, writer, has_waited=has_waited, is_last=is_last)
        except Exception as error:  # noqa: BLE001 - as above
            trouble("looking at what agents hold", error)
        finally:
            # without a call, since Python runs the handlers of signals behind calls
            try:
                if taken[BY] is mine:
                    del taken[BY]
            except KeyError:
                pass  # it took too long, and another thread has ended since
        self._watch()

    def take_writers(self, known: Known, obj: object, fields: Iterable[str]) -> dict[str, Writers]:
        """See `AgentWrites.take_writers`."""
        writers: dict[str, Writers] = {}
        try:
            writers = self.writes.take_writers(known, obj, fields)
        except Exception as error:  # noqa: BLE001 - as above
            trouble("looking at who wrote to an agent", error)
        self._watch()
        return writers

    def after_fork_in_child(self) -> None:
        """Nobody has the turn: a thread that the child does not have may have had it."""
        self.taken = {}

    def _watch(self) -> None:
        self.is_watching = self.objects.is_watching or self.writes.is_watching


if native is not None:
    native.learn({each.__name__: each for each in (AgentWrites, BetweenActions, HeldObjects, _Looked)})


def _has_other_tasks() -> bool:
    """Whether other code may have run while an action was suspended."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is not None and len(asyncio.all_tasks()) > 1
    except RuntimeError:  # no event loop of asyncio runs here
        return True


def _mark(value: Any) -> object:
    kind = type(value)
    if kind in SCALARS:
        return value
    if is_queue(kind):
        parts = parts_of_queue(value)
        return _OfQueue(_mark(parts["queue"]), parts[UNFINISHED], kind)
    if kind in _SIZED and len(value) > _COUNTED_ITEMS:
        return _Members(id(value), len(value), id(value[-1]) if kind is list or kind is deque else 0)
    found = snapshot(value)
    if found is not None:
        return found
    return _Members(id(value), count_members(value), 0, not issubclass(kind, tuple(_SIZED)))


def _mark_once(value: Any, known: dict[int, tuple[object, object]]) -> object:
    if type(value) not in _SIZED:
        return _mark(value)
    if id(value) not in known:
        known[id(value)] = value, _mark(value)
    return known[id(value)][1]


def _is_flat(value: Any) -> bool:
    """Whether a value that did not change stays what it is as long as it is the same object."""
    kind = type(value)
    return all(type(each) in SCALARS for each in value) if kind is tuple else kind not in _SIZED


_SIZED = frozenset({list, dict, set, frozenset, tuple, deque})


def _is_other(mark: object, value: Any) -> bool:
    if type(mark) is _OfQueue:
        if type(value) is not mark.kind:
            return True
        parts = parts_of_queue(value)
        return parts[UNFINISHED] != mark.unfinished or _is_other(mark.items, parts["queue"])
    if type(mark) is tuple:
        return not still_is(value, mark)
    if type(mark) is _Members:
        now = _mark(value)
        return type(now) is not _Members or now != mark
    return not is_same_scalar(mark, value)
