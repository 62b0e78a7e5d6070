"""Recorded calls made again: one at a time, or several in one event loop at the same time.

For `replay --pdb` the debugger opens at the first line of the method, arguments in place.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, lru_cache
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
    "loop_that_notices",
    "MisfitArguments",
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
# open ones goes on at an `await` is the loop's affair, as it was then.

_PAUSE_US = 1_000
_LONGEST_PAUSE_S = 0.1


class LaneEnded(Exception):
    """An action did something else than recorded, so that what its agent did next cannot be replayed."""


class Turns:
    """Drives actions that ran at the same time, each when its turn has come.

    Args:
        group: the actions, in the order in which they began.
        drive: drives one of them; it raises LaneEnded where its agent cannot go on.
        is_loose: whether what began shortly behind an end may have begun before it.
    """

    def __init__(
        self,
        group: Sequence[DrivenAction],
        drive: Callable[[DrivenAction], Awaitable[None]],
        *,
        is_loose: bool = False,
    ) -> None:
        self._left = deque(group)
        self._is_loose = is_loose
        self._drive = drive
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[int, DrivenAction] = {}
        """What was begun and has not ended."""
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
            self._tasks.add(asyncio.create_task(self._run(action)))

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
        since_us = self._ended_us.get(action.agent_id, self._began_us)
        if action.call.began_us - since_us > _PAUSE_US:
            due_s = self._began_s + (action.call.began_us - self._began_us) / 1e6
            left_s = due_s - asyncio.get_running_loop().time()
            if left_s > 0:
                await asyncio.sleep(min(left_s, _LONGEST_PAUSE_S))


def loop_that_notices(stuck: Callable[[], None]) -> asyncio.AbstractEventLoop:
    """An event loop that tells when its tasks wait for what no task, timer, file or thread can bring.

    Args:
        stuck: raises, or begins something.
    """

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
            # The loop registers one file itself, by which other threads wake it.
            if timeout is None and len(self.get_map()) <= 1 and threading.active_count() == 1:
                stuck()
                timeout = 0
            return super().select(timeout)

    return asyncio.SelectorEventLoop(Selector())
