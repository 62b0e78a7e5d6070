"""Recorded calls made again: one at a time, or several in one event loop at the same time.

For `replay --pdb` the debugger opens at the first line of the method, arguments in place.
"""

from __future__ import annotations

import asyncio
import inspect
import linecache
import os
import selectors
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from types import FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.pointers import escape
from Agent.replay.compare.comparison import Recorded
from Agent.replay.drive.player import Lane, current_lane
from Agent.replay.plan.actions import DrivenAction, overlap
from Agent.replay.plan.target import Decoder

__all__ = [
    "bind_arguments",
    "bound_method",
    "in_debugger",
    "LaneEnded",
    "MisfitArguments",
    "Patience",
    "place_of_wait",
    "ReplayLoop",
    "scope_fields",
    "Turns",
]

_OWN_KEYS = frozenset(
    {"agent_id", "agent_role", "event_type", "call", "root", "duration_ms", "error_id", "capture_ms"}
)


class _Binding(NamedTuple):
    """How a method takes arguments of certain names."""

    positions: tuple[str, ...]
    """Those that it takes by position."""
    rest: str | None
    """The list that it takes behind them; the others go by keyword."""


_BY_KEYWORD = _Binding((), None)


class MisfitArguments(Exception):
    """A method does not take the recorded arguments; the text says why."""


def bound_method(obj: object, call: str) -> Any:
    """The method that a recorded `call` names, as the object's users would get it; None if there is none.

    Args:
        obj: the object that the factory gave.
        call: the qualified name in the recording; what precedes its last part may be another class by now.
    """
    method = getattr(obj, _attribute_of(call), None)
    return method if callable(method) else None


@lru_cache(maxsize=1024)
def _attribute_of(call: str) -> str:
    """The name under which a class holds the method that a recorded `call` names."""
    owner, _, name = call.rpartition(".")
    if name.startswith("__") and not name.endswith("__"):
        return f"_{owner.rpartition('.')[2].lstrip('_')}{name}"
    return name


def bind_arguments(method: Any, recorded: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Recorded arguments as positions and keywords.

    Raises:
        MisfitArguments: the method takes others.
    """
    if type(method) is MethodType and type(method.__func__) is FunctionType:
        binding = _binding_of(method.__func__, tuple(recorded))
    else:
        binding = _bind(method, tuple(recorded))
    if binding is _BY_KEYWORD:
        return [], recorded
    keywords = dict(recorded)
    positions = [keywords.pop(name) for name in binding.positions]
    if binding.rest is not None:
        positions.extend(keywords.pop(binding.rest))
    return positions, keywords


@lru_cache(maxsize=1024)
def _binding_of(function: Any, names: tuple[str, ...]) -> _Binding:
    """How methods of that function take arguments; whether these fit is a matter of their names alone."""
    return _bind(MethodType(function, object()), names)


def _bind(method: Any, names: tuple[str, ...]) -> _Binding:
    """See `bind_arguments`."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return _BY_KEYWORD  # what it takes is not known
    parameters = list(signature.parameters.values())
    rest = next((f"*{p.name}" for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    has_rest = rest in names
    positions: list[str] = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            break
        by_position = has_rest or parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        if by_position and parameter.name in names:
            positions.append(parameter.name)
    named = dict.fromkeys(name for name in names if name not in positions and not (has_rest and name == rest))
    try:
        signature.bind(*positions, **named)
    except TypeError as error:
        raise MisfitArguments(str(error)) from None
    return _Binding(tuple(positions), rest if has_rest else None) if positions or has_rest else _BY_KEYWORD


@cache
def _own_keys(kind: str) -> frozenset[str]:
    """What an event of that kind holds of itself."""
    return _OWN_KEYS.union(field.name for field in KINDS[kind].fields) if kind in KINDS else _OWN_KEYS


def scope_fields(event: Event, decoder: Decoder) -> dict[str, Any]:
    """Fields that contexts around an action put into its event, and into all that happened inside it."""
    own = _own_keys(event.kind)
    if own.issuperset(event.extra):
        return {}
    fields = {}
    for key, value in event.extra.items():
        if key not in own:
            fields[key] = decoder.restore(Recorded(value, event.types or {}, f"/extra/{escape(key)}")).value
    return fields


def in_debugger(method: Callable[..., Any], call: Callable[[], None]) -> None:
    """Make a call, and open pdb at the first line of the function that the traced method stands for.

    Args:
        method: the traced method.
        call: calls it, and awaits what it gives where that is a coroutine.
    """
    import pdb  # noqa: T100 - somebody asked for the debugger

    function = inspect.unwrap(getattr(method, "__func__", method))
    code = getattr(function, "__code__", None)
    debugger = pdb.Pdb(nosigint=True, readrc=False)

    def look(frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "call" or frame.f_code is not code:
            return None
        debugger.set_trace(frame)
        return debugger.trace_dispatch

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)


# Actions that ran at the same time in one event loop, driven at the same time again.
#
# They begin in the recorded order, each when all those have ended that had ended before it. Which of the
# open ones goes on at an `await` is the loop's affair, as it was then. Time in which the program had
# nothing to do passes at once.

_PAUSE_US = 1_000
_LONGEST_PAUSE_S = 0.1
_TURNS = 100_000
_MOST_TURNS = 5_000_000
_TURN_US = 2
"""No turn of an event loop takes less."""
_LONGER = 10
"""How many times as long as the recording a replay may wait for timers without an event."""
_MORE_EVENTS = 4
"""How many times as many events as recorded a replay may leave before they no longer count."""
_OWN = str(Path(__file__).parents[1]) + os.sep
_ASYNCIO = str(Path(asyncio.__file__).parent) + os.sep


class LaneEnded(Exception):
    """An action did something else than recorded, so that what its agent did next cannot be replayed."""


class Turns:
    """Drives actions that ran at the same time, each when its turn has come.

    Args:
        group: the actions, in the order in which they began.
        drive: drives one of them; it raises LaneEnded where its agent cannot go on.
        is_loose: whether what began shortly behind an end may have begun before it.
        is_prompt: whether what can begin does so at once. Without it, an action that began late in the
            recording begins late, but what made it late may have been the recording of the others.
    """

    def __init__(
        self,
        group: Sequence[DrivenAction],
        drive: Callable[[DrivenAction], Awaitable[None]],
        *,
        is_loose: bool = False,
        is_prompt: bool = False,
    ) -> None:
        self.has_paused = False
        """Whether an action began late because it did so in the recording."""
        self._is_prompt = is_prompt
        self._left = deque(group)
        self._is_loose = is_loose
        self._drive = drive
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[int, DrivenAction] = {}
        """What was begun and has not ended."""
        self._task_of: dict[str, asyncio.Task[None]] = {}
        """The task in which an agent acts."""
        self._stopped: set[str] = set()
        """Agents that cannot go on."""
        self._ended_us: dict[str, float] = {}
        """When the last action of an agent had ended in the recording."""
        self._began_us = group[0].call.began_us
        self._began_s = 0.0

    async def run(self) -> None:
        """Drive them all."""
        self._began_s = asyncio.get_running_loop().time()
        self._begin(self._take_ready())
        try:
            while self._tasks:
                ended, _ = await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= ended
                for task in ended:
                    task.result()
                if not self._tasks:
                    self.go_on()
        finally:
            for task in self._tasks:
                task.cancel()

    def go_on(self) -> bool:
        """Begin the next action, though what had ended before it in the recording has not; False without one.

        When an action began is told a little late.
        """
        if not self._left:
            return False
        self._begin([self._left.popleft()])
        return True

    def waiting(self) -> tuple[DrivenAction, asyncio.Task[None]] | None:
        """The first action that was begun and has not ended, and its task."""
        first = self._open.get(min(self._open, default=0))
        return None if first is None else (first, self._task_of[first.agent_id])

    def _take_ready(self) -> list[DrivenAction]:
        """The next actions whose turn has come."""
        ready: list[DrivenAction] = []
        while self._left:
            action = self._left[0]
            if action.agent_id in self._stopped:
                self._left.popleft()
                continue
            held_up = any(
                each.agent_id == action.agent_id or not overlap(each, action, is_loose=self._is_loose)
                for each in (*self._open.values(), *ready)
            )
            if held_up:
                break
            ready.append(self._left.popleft())
        return ready

    def _begin(self, actions: Sequence[DrivenAction]) -> None:
        for action in actions:
            self._open[action.number] = action
            self._task_of[action.agent_id] = task = asyncio.create_task(self._run(action))
            self._tasks.add(task)

    async def _run(self, action: DrivenAction) -> None:
        current_lane.set(Lane())
        following: DrivenAction | None = action
        while following is not None:
            action = following
            await self._pause_before(action)
            try:
                await self._drive(action)
            except LaneEnded:
                self._stopped.add(action.agent_id)
            following = self._end(action)

    def _end(self, action: DrivenAction) -> DrivenAction | None:
        """An action ended; the next one where its own agent goes on at once and nobody else."""
        del self._open[action.number]
        self._ended_us[action.agent_id] = action.event.timestamp_us
        ready = self._take_ready()
        if [each.agent_id for each in ready] == [action.agent_id]:
            self._open[ready[0].number] = ready[0]
            return ready[0]
        self._begin(ready)
        return None

    async def _pause_before(self, action: DrivenAction) -> None:
        """Take the time that the program took before an action, so that others get as far as then."""
        if self._is_prompt:
            return
        since_us = self._ended_us.get(action.agent_id, self._began_us)
        if action.call.began_us - since_us > _PAUSE_US:
            due_s = self._began_s + (action.call.began_us - self._began_us) / 1e6
            left_s = due_s - asyncio.get_running_loop().time()
            if left_s > 0:
                self.has_paused = True
                await asyncio.sleep(min(left_s, _LONGEST_PAUSE_S))


class Patience:
    """How many turns a loop may take without an event, and how long it may wait for timers in them.

    Both come from the recording, so that no machine is too slow: between two events of these actions the
    program can have taken so many turns at most.

    Args:
        group: the actions.
        is_compared: whether they are to do what they did when recorded; what they do otherwise may leave any
            number of events.
    """

    def __init__(self, group: Sequence[DrivenAction], *, is_compared: bool) -> None:
        times = sorted(
            time_us
            for action in group
            for time_us in (
                action.call.began_us,
                float(action.event.timestamp_us),
                *(float(event.timestamp_us) for event in action.effects),
            )
        )
        gap_us = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
        self._most_turns = min(max(_TURNS, int(gap_us / _TURN_US)), _MOST_TURNS)
        self._longest_s = gap_us / 1e6 * _LONGER
        self._turns = 0
        self._waited_s = 0.0
        self._seen: object = None
        self._left = _MORE_EVENTS * len(times) + _TURNS if is_compared else None
        """How many events may come until further ones are those of an action that turns in circles."""

    def is_over(self, seen: object, waited_s: float) -> bool:
        """Whether the turn that begins now is one too many.

        Args:
            seen: something else whenever there was an event.
            waited_s: how long the loop let pass at once since the last turn.
        """
        if seen != self._seen and self._left != 0:
            self._seen, self._turns, self._waited_s = seen, 0, 0.0
            self._left = None if self._left is None else self._left - 1
            return False
        self._turns += 1
        self._waited_s += waited_s
        is_long = self._turns > _TURNS and self._waited_s > self._longest_s
        if not is_long and self._turns <= self._most_turns:
            return False
        self._turns, self._waited_s = 0, 0.0
        return True


class ReplayLoop(asyncio.SelectorEventLoop):
    """An event loop in which time passes at once while there is nothing to do.

    It tells when its tasks wait for what no task, timer, file or thread can bring, and when they turn in
    circles.

    Args:
        stuck: raises, or begins something.
        turned: is told before each turn how many seconds were skipped since the last one; raises, or begins
            something, where the tasks turn in circles.
    """

    def __init__(self, stuck: Callable[[], None], turned: Callable[[float], None]) -> None:
        loop = self
        self._skipped_s = 0.0

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
                skipped_s = 0.0
                # The loop registers one file itself, by which other threads wake it.
                if timeout != 0 and len(self.get_map()) <= 1 and threading.active_count() == 1:
                    woken = super().select(0)  # by a thread that has ended since
                    if woken:
                        return woken
                    if timeout is None:
                        stuck()
                    else:
                        skipped_s = timeout
                        loop._skipped_s += timeout
                    timeout = 0
                turned(skipped_s)
                return super().select(timeout)

        super().__init__(Selector())

    def time(self) -> float:
        """The time of its timers, in seconds."""
        return super().time() + self._skipped_s


def place_of_wait(task: asyncio.Task[Any]) -> str:
    """Where the code of the program waits in a task, as ` at file:line (code)`; "" where none does."""
    place = ""
    step: Any = task.get_coro()
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith((_OWN, _ASYNCIO)):
            path, line = frame.f_code.co_filename, frame.f_lineno
            code = linecache.getline(path, line).strip()
            place = f" at {Path(path).name}:{line}" + (f" ({code})" if code else "")
        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)
    return place
