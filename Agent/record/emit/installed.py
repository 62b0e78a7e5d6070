"""The installed pipeline, and the lowest recorded level of each category.

The first event sets up the pipeline, and every event looks it up here. Loggers and decorators use
`pipeline.py` only through this module, so that importing them does not load the pipeline and its
dependencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from Agent import record
from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS, Category
from Agent.record.emit.context import Reads, SpanScope, current_scope
from Agent.record.health import attend, note

if TYPE_CHECKING:
    from Agent.record.emit.context import SourcePlayer
    from Agent.record.emit.pipeline import Pipeline


active: Pipeline | None = None
"""The pipeline that writes events; the hot path reads this name, other code calls `active_pipeline()`."""
bootstrap: Callable[[], None] | None = None
"""The function that the first event calls if recording is not set up; `config/first_event.py` sets it."""
open_reads: Callable[[object], Reads] | None = None
"""Makes the `Reads` of a call of a traced function; None while no source is recorded."""
source_player: SourcePlayer | None = None
"""Answers reads of sources from the recording; installed by a replay."""
at_tick: Callable[[int | None], None] | None = None
"""Called where a tick begins, in its scope: a controlled program pauses, a replay repeats changes by hand."""

asked_of_program: Sequence[str] = ()
"""Globals of the program whose values are recorded at the end, also if no method reaches them any more."""


class NotRecording(RuntimeError):
    """Nothing can be recorded now; the setup of recording has reported the reason and will retry."""


def active_pipeline() -> Pipeline | None:
    """Return the installed pipeline, or None."""
    return active


def current_pipeline() -> Pipeline:
    """Return the installed pipeline; set up recording if necessary, RuntimeError if that fails."""
    if active is None and bootstrap is not None:
        bootstrap()
    if active is None:
        raise RuntimeError("recording is not set up: call Agent.setup_logging()")
    return active


def install_pipeline(pipeline: Pipeline | None) -> Pipeline | None:
    """Install a pipeline, and return the one installed before."""
    global active
    before, active = active, pipeline
    attend(pipeline.health if pipeline is not None else None)
    return before


def flush_active() -> None:
    """Write the buffered events of this process to the files, so that readers see them."""
    if active is not None:
        active.flush()


@contextmanager
def tick(number: int) -> Iterator[None]:
    """Set the simulation step, a whole number, for everything recorded in the block.

    A number between two whole ones is cut, so that 1.25 and 1.5 are both tick 1; `health()["notes"]` says so.
    Pass the number of the step instead, such as `round(now / dt)`.
    """
    step = None
    try:
        step = int(number)
    except Exception:  # noqa: BLE001 - a user's __int__ may raise anything
        note("a tick that is no number was left out")
    if step is not None and not -(2**63) <= step < 2**63:
        step = None
        note("a tick of more than 64 bits was left out")
    elif type(number) is not int and _is_cut(number, step):
        note("a tick that is no whole number was cut to one; pass the number of the step")
    # With an invalid number the block keeps the outer step: recording never raises into the recorded code.
    token = current_scope.set(SpanScope(current_scope.get(), tick=step))
    try:
        if at_tick is not None:
            at_tick(step)
        yield
    finally:
        current_scope.reset(token)
        if step is not None and active is not None and active.watcher is not None:
            active.watcher.tick_ended(step)


def _is_cut(number: object, step: int | None) -> bool:
    """Whether a number was not whole; a text that gives one is."""
    try:
        return step is not None and not isinstance(number, str | bytes) and bool(number != step)
    except Exception:  # noqa: BLE001 - a user's __ne__ may raise anything
        return False


class Limit:
    """The lowest recorded level of a category; all loggers share the object, `setup_logging` changes it."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


LIMITS: dict[str, Limit] = {category.value: Limit(0) for category in Category}
"""{category: its limit}; 0 before setup, so that the first event of any level sets up recording."""


def level_of(level: object) -> int:
    """Return the number of a level given by name or number; ConfigurationError for any other value."""
    number = LEVELS.get(level.upper()) if isinstance(level, str) else level
    if number not in LEVELS.values() or isinstance(number, bool):
        raise ConfigurationError(f"unknown level {level!r}", remedy=f"use one of {', '.join(LEVELS)}")
    return int(number)  # type: ignore[call-overload,no-any-return]


if record.on_load is not None:
    record.on_load()
