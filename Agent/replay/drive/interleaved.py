"""Replay actions that ran concurrently in one event loop, concurrently again.

They begin in the recorded order, each after all actions that had ended before it. The event loop decides
which open action continues at an `await`, as in the recording. Idle time is skipped.
"""

from __future__ import annotations

import asyncio
import bisect
import linecache
import os
import selectors
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, ClassVar

from Agent.record.tracing.decorators import step_by_step
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.drive.player import ActionProgress, current_lane
from Agent.replay.plan.actions import DrivenAction, overlap

_TURNS = 100_000
_MOST_TURNS = 5_000_000
_TURN_US = 2
"""Minimum duration of one iteration of an event loop."""
_LONGER = 10
"""The maximum wait for timers without an event, as a multiple of the recorded time."""
_MORE_EVENTS = 4
"""The number of events that count as progress, as a multiple of the recorded number."""
_OWN = str(Path(__file__).parents[2]) + os.sep
_ASYNCIO = str(Path(asyncio.__file__).parent) + os.sep


class LaneEnded(Exception):
    """An action differed from the recording, so that the next actions of its agent cannot be replayed."""


@dataclass(eq=False)
class ConcurrentActions:
    """Replays concurrent actions, each in its turn."""

    are_known: ClassVar[bool] = False
    """Whether the recording has the order of their turns."""

    _left: deque[DrivenAction]
    """The actions that have not begun, in the order in which they began in the recording."""
    _drive: Callable[[DrivenAction], Coroutine[Any, Any, None]]
    """Replays one action; it raises LaneEnded if its agent cannot continue."""
    _is_loose: bool = False
    """Whether an action that began shortly after an end may also begin before it."""
    has_held: bool = False
    """Whether an action continued late as in the recording."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _open: dict[int, DrivenAction] = field(default_factory=dict)
    """Actions that have begun and not ended."""
    _task_of: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """The task of each open action."""
    _stopped: set[str] = field(default_factory=set)
    """Agents that cannot continue."""

    async def run(self) -> None:
        """Replay all actions."""
        self._begin(self._take_ready())
        await self._until_all_ended()

    async def _until_all_ended(self) -> None:
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

    def report_to(self, outcome: ReplayOutcome) -> None:
        """Report the order of turns to the outcome."""
        outcome.has_held = outcome.has_held or self.has_held
        outcome.has_unknown_turns = outcome.has_unknown_turns or not self.are_known

    def go_on(self) -> bool:
        """Begin the next action although an action that precedes it in the recording has not ended.

        The recorded starts are slightly late. Returns False if no action is left.
        """
        if not self._left:
            return False
        self._begin([self._left.popleft()])
        return True

    def waiting(self) -> tuple[DrivenAction, asyncio.Task[None]] | None:
        """Return the first open action and its task."""
        first = self._open.get(min(self._open, default=0))
        return None if first is None else (first, self._task_of[first.number])

    def _take_ready(self) -> list[DrivenAction]:
        """Remove and return the next actions that are due."""
        ready: list[DrivenAction] = []
        while self._left:
            action = self._left[0]
            if action.agent_id in self._stopped:
                self._left.popleft()
                continue
            held_up = any(
                not overlap(each, action, is_loose=self._is_loose) for each in (*self._open.values(), *ready)
            )
            if held_up:
                break
            ready.append(self._left.popleft())
        return ready

    def _begin(self, actions: Sequence[DrivenAction]) -> None:
        for action in actions:
            self._open[action.number] = action
            self._task_of[action.number] = task = asyncio.create_task(self._run(action))
            self._tasks.add(task)

    async def _run(self, action: DrivenAction) -> None:
        current_lane.set(ActionProgress())
        following: DrivenAction | None = action
        while following is not None:
            action = following
            try:
                await self._drive(action)
            except LaneEnded:
                self._stopped.add(action.agent_id)
            following = self._end(action)

    def _end(self, action: DrivenAction) -> DrivenAction | None:
        """Close an action; return the next one if only its own agent continues."""
        del self._open[action.number]
        task = self._task_of.pop(action.number)
        ready = self._take_ready()
        if [each.agent_id for each in ready] == [action.agent_id]:
            self._open[ready[0].number], self._task_of[ready[0].number] = ready[0], task
            return ready[0]
        self._begin(ready)
        return None


@dataclass(eq=False)
class RecordedTasks(ConcurrentActions):
    """Replays concurrent actions whose asyncio tasks are known from the recording.

    Each recorded task becomes one task, so that the loop schedules them in the same way. An action begins,
    and continues after an `await`, once everything before it has happened. Tasks that began one after the
    other are created together, as by `gather`. Actions that are not async ran without interruption; each is
    replayed after everything that preceded it.
    """

    are_known = True

    holds: bool = True
    """Whether to impose when actions continue after an `await`, too."""

    async def run(self) -> None:
        """Replay all actions."""
        self._actions: dict[float, deque[DrivenAction]] = defaultdict(deque)
        """The remaining actions of each task; each action that is not async has its own key."""
        self._task_at: dict[float, float] = {}
        self._turns, self._behind = _in_one_order(self._left)
        self._inline = {self._turns[each.number][0] for own in self._behind.values() for each in own}
        actions = list(self._left)
        self._left.clear()
        for action in sorted(actions, key=lambda each: self._turns[each.number]):
            turns = self._turns[action.number]
            if action.call.task or turns[0] not in self._inline:
                task = action.call.task or -turns[0]
                self._actions[task].append(action)
                self._task_at.update(dict.fromkeys(turns, task))
        self._order = sorted(self._task_at)
        self._fresh = deque(self._actions)
        """Tasks to be created, in the order of their first actions."""
        self._resumed = {each.number: deque(each.resumed if self.holds else ()) for each in actions}
        """The recorded turns in which actions continue after an `await`."""
        all_turns = chain(chain(*self._turns.values()), *self._resumed.values())
        self._turns_left = sorted(all_turns, reverse=True)
        self._passed: set[float] = set()
        self._waiting: dict[float, asyncio.Future[None]] = {}
        """Waiting tasks by the turn that they wait for."""
        self._start()
        await self._until_all_ended()

    def go_on(self) -> bool:
        """Begin the next waiting task although it is not due; return False if none is left."""
        if self._waiting:
            self._waiting.pop(min(self._waiting)).set_result(None)
        elif self._fresh:
            self._make(self._fresh.popleft())
        else:
            return False
        return True

    def _is_due(self, turn: float) -> bool:
        """Whether everything before that turn has happened."""
        while self._turns_left and self._turns_left[-1] in self._passed:
            self._turns_left.pop()
        return not self._turns_left or self._turns_left[-1] >= turn

    def _start(self) -> None:
        """Create the tasks that can begin, and those that began directly after them."""
        created: set[float] = set()
        last = 0.0
        while self._fresh:
            number = self._fresh[0]
            turn = self._turns[self._actions[number][0].number][0]
            if created:
                between = self._order[
                    bisect.bisect(self._order, last) : bisect.bisect_left(self._order, turn)
                ]
                if not created.issuperset(self._task_at[each] for each in between):
                    return
            elif not self._is_due(turn):
                return
            last = turn
            created.add(number)
            self._make(self._fresh.popleft())

    def _make(self, number: float) -> None:
        self._tasks.add(asyncio.create_task(self._run_all(self._actions[number])))

    async def _run_all(self, actions: deque[DrivenAction]) -> None:
        while actions:
            action = actions.popleft()
            turn, end = self._turns[action.number]
            await self._until_due(turn)
            await self._run_one(action)
            for behind in self._behind.get(end, ()):
                await self._run_one(behind)
            self._wake()

    async def _until_due(self, turn: float) -> None:
        if not self._is_due(turn):
            future = self._waiting[turn] = asyncio.get_running_loop().create_future()
            await future

    async def _go_on(self, turn: float) -> None:
        """Continue an action in its recorded turn."""
        self.has_held = self.has_held or not self._is_due(turn)
        await self._until_due(turn)
        self._passed.add(turn)
        self._wake()

    def _wake(self) -> None:
        """Continue the tasks that are due."""
        while self._waiting and self._is_due(first := min(self._waiting)):
            self._waiting.pop(first).set_result(None)
        self._start()

    async def _run_one(self, action: DrivenAction) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._open[action.number], self._task_of[action.number] = action, task
        began, ended = self._turns[action.number]
        self._passed.add(began)
        self._wake()
        current_lane.set(ActionProgress())
        resumed = self._resumed[action.number]
        try:
            if action.agent_id not in self._stopped:
                await step_by_step(
                    self._drive(action), lambda: self._go_on(resumed.popleft()) if resumed else None
                )
        except LaneEnded:
            self._stopped.add(action.agent_id)
        del self._open[action.number], self._task_of[action.number]
        self._passed.update((ended, *resumed))


def turns_of(
    group: Sequence[DrivenAction], drive: Callable[[DrivenAction], Coroutine[Any, Any, None]], order: str
) -> ConcurrentActions:
    """Return the scheduler for concurrent actions, for one of the orders of `Driver`."""
    has_tasks = all(action.call.task or not action.call.is_async for action in group)
    is_recorded = has_tasks and len({action.event.writer for action in group}) == 1
    if is_recorded and order in {"", "free"}:
        return RecordedTasks(deque(group), drive, holds=not order)
    return ConcurrentActions(deque(group), drive, order == "loose")


def _in_one_order(
    actions: Collection[DrivenAction],
) -> tuple[dict[int, tuple[float, float]], dict[float, list[DrivenAction]]]:
    """Return the turns of each action's beginning and end, and the sync actions that follow each end.

    Calls are ordered by their starts, events by their ends.
    """
    tasks = [action for action in actions if action.call.task]
    turns: dict[int, tuple[float, float]] = {action.number: action.call.turns for action in tasks}
    begun = sorted((action.call.began_us, action.call.turns[0]) for action in tasks)
    ended = sorted((action.event.seq, action.call.turns[1]) for action in tasks)
    most_begun = list(accumulate((turn for _, turn in begun), max))
    behind: defaultdict[float, list[DrivenAction]] = defaultdict(list)
    others = sorted((each for each in actions if not each.call.task), key=lambda each: each.event.seq)
    for number, action in enumerate(others, 1):
        before = bisect.bisect_left(begun, (action.call.began_us, 0.0))
        ends = bisect.bisect_left(ended, (action.event.seq, 0.0))
        last_begun = most_begun[before - 1] if before else 0.0
        last_ended = ended[ends - 1][1] if ends else 0.0
        turn = max(last_begun, last_ended) + number / (len(others) + 1)
        turns[action.number] = turn, turn
        if last_ended > last_begun:
            behind[last_ended].append(action)
    return turns, behind


class Patience:
    """Limits on loop iterations without an event, and on waiting for timers.

    Both limits derive from the recording, so they also hold on a slow machine: between two events of these
    actions the program can have made at most that many iterations.

    Args:
        group: the actions.
        is_compared: whether the actions must agree with the recording; others may emit any number of events.
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
        """Number of events after which further ones count as those of an endless loop."""

    def is_over(self, seen: object, waited_s: float) -> bool:
        """Return whether this iteration exceeds the limit.

        Args:
            seen: a value that changes with every event.
            waited_s: idle time that the loop skipped since the last iteration.
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
    """An event loop that skips idle time.

    It reports tasks that wait for something that no task, timer, file or thread can deliver, and endless
    loops.

    Args:
        stuck: raises, or begins something.
        progress: returns a value that changes with every event.
    """

    def __init__(self, stuck: Callable[[], None], progress: Callable[[], object]) -> None:
        loop = self
        self.patience: Patience | None = None
        """The limits that detect endless loops."""
        self._skipped_s = 0.0

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
                skipped_s = 0.0
                # The loop itself registers one file, through which other threads wake it.
                if timeout != 0 and len(self.get_map()) <= 1 and threading.active_count() == 1:
                    woken = super().select(0)  # by a thread that has ended in the meantime
                    if woken:
                        return woken
                    if timeout is None:
                        stuck()
                    else:
                        skipped_s = timeout
                        loop._skipped_s += timeout
                    timeout = 0
                if loop.patience is not None and loop.patience.is_over(progress(), skipped_s):
                    stuck()
                    timeout = 0
                return super().select(timeout)

        super().__init__(Selector())

    def time(self) -> float:
        """Return the time of the loop's timers, in seconds."""
        return super().time() + self._skipped_s


def describe_wait(loop: ReplayLoop, turns: ConcurrentActions | None, current: DrivenAction | None) -> str:
    """Return which action waits, where, and what to do about it.

    Args:
        turns: the scheduler of concurrent actions.
        current: the action that is replayed alone.
    """
    waiting = None if turns is None else turns.waiting()
    action = current if waiting is None else waiting[0]
    tasks = asyncio.all_tasks(loop) if waiting is None else {waiting[1]}
    location = next(filter(None, map(_place_of_wait, tasks)), "")
    what = "the replayed code" if action is None else f"{action.call.name} of {action.agent_id}"
    return (
        f"{what} waits{location} for something that nothing in this replay does, such as an item from a task "
        "without a traced action: replay the whole session, or trace that task"
    )


def _place_of_wait(task: asyncio.Task[Any]) -> str:
    """Return where program code waits in a task, as ` at file:line (code)`; "" if none does."""
    location = ""
    step: Any = task.get_coro()
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith((_OWN, _ASYNCIO)):
            path, line = frame.f_code.co_filename, frame.f_lineno
            code = linecache.getline(path, line).strip()
            location = f" at {Path(path).name}:{line}" + (f" ({code})" if code else "")
        if frame is not None and frame.f_code is step_by_step.__code__:
            step = frame.f_locals["body"]
        else:
            step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)
    return location


@contextmanager
def cancelled_as_recorded(action: DrivenAction | None) -> Iterator[None]:
    """Cancel this task after the recorded duration, if the recorded action was cancelled from outside."""
    task = asyncio.current_task()
    if action is None or task is None or action.event.extra.get("outcome") != "cancelled":
        yield
        return
    loop, is_cancelled = asyncio.get_running_loop(), False

    def cancel() -> None:
        nonlocal is_cancelled
        is_cancelled = task.cancel()

    took_s = max(action.event.timestamp_us - action.call.began_us, 0.0) / 1e6
    timer = loop.call_later(took_s, cancel)
    try:
        yield
    finally:
        timer.cancel()
        if is_cancelled:
            task.uncancel()
