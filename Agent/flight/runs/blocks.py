"""Runs, steps and membership in a run as blocks: `with recorder.run(...)`, `.step(...)`, `.attach(...)`.

They work with `with` and `async with`, and call what `recorder.py` offers as calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from Agent.flight.open_runs.context import Run, RunScope, is_open

if TYPE_CHECKING:
    from Agent.flight.runs.recorder import Recorder

__all__ = ["AttachBlock", "Block", "RunBlock", "StepBlock"]


class Block:
    """A `with` or `async with` block that begins and ends something."""

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _begin(self) -> None:
        """What happens on entering."""

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError


class RunBlock(Block):
    """A block that is a run; `run_id` is known inside. It may be finished by hand before its end."""

    def __init__(
        self, recorder: Recorder, agent: str | None, labels: Mapping[str, Any] | None, **more: Any
    ) -> None:
        self._recorder = recorder
        self._agent, self._labels, self._more = agent, labels, more
        self.run_id = ""

    def _begin(self) -> None:
        self.run_id = self._recorder.start_run(self._agent, self._labels, **self._more)

    def _end(self, error: BaseException | None) -> None:
        if is_open(self.run_id):
            self._recorder.finish_run(error is None, error, run_id=self.run_id)


class StepBlock(Block):
    """A block that is a step: assign its `output`; `output_ref` is known behind it."""

    def __init__(self, recorder: Recorder, step_id: str, name: str | None, step_type: str | None) -> None:
        self._recorder = recorder
        self._step = step_id, name
        self._step_type = step_type
        self.output: Any = None
        self.output_ref: str | None = None

    def _begin(self) -> None:
        self._recorder.start_step(*self._step, step_type=self._step_type)

    def _end(self, error: BaseException | None) -> None:
        self.output_ref = self._recorder.finish_step(*self._step, self.output, error=error)


class AttachBlock(Block):
    """A block whose calls, and whatever else is recorded in it, belong to a run that is open elsewhere."""

    def __init__(self, recorder: Recorder, run_id: str) -> None:
        self._recorder = recorder
        self.run_id = run_id
        self._joined: tuple[Token[Run | None], RunScope] | None = None

    def _begin(self) -> None:
        self._joined = self._recorder.join(self.run_id)

    def _end(self, _error: BaseException | None) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            self._recorder.part(*joined)
