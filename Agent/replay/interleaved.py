"""Actions that ran at the same time in one event loop, driven at the same time again.

They begin in the recorded order, each when all those have ended that had ended before it. Which of the open
ones goes on at an `await` is the loop's affair, as it was then.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from Agent.replay.drive.player import Lane, current_lane
from Agent.replay.plan.actions import DrivenAction, overlap

__all__ = ["LaneEnded", "Turns", "loop_that_notices"]

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
