"""What is recorded now: the pipeline that events go to, and the lowest level of each category.

The first event sets the pipeline up, and every event asks for it. Loggers and decorators know `pipeline.py`
only through here, so that importing them does not load what stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS, Category
from Agent.record.emit.context import Reads, SpanScope, current_scope
from Agent.record.health import attend, note

if TYPE_CHECKING:
    from Agent.record.emit.context import SourcePlayer
    from Agent.record.emit.pipeline import Pipeline


active: Pipeline | None = None
"""The pipeline that events go to; the hot path reads it here, others call `active_pipeline()`."""
bootstrap: Callable[[], None] | None = None
"""What the first event calls when nobody set up recording; `Agent/__init__` names it."""
open_reads: Callable[[object], Reads] | None = None
"""Makes what a traced action reads of chance and time into; None while no source is recorded."""
source_player: SourcePlayer | None = None
"""What a replay installs: it answers sources from the recording."""


class NotRecording(RuntimeError):
    """Nothing can be recorded now; whoever set recording up has said why, and tries again by itself."""


def active_pipeline() -> Pipeline | None:
    """The pipeline that events go to now, None if none is installed."""
    return active


def current_pipeline() -> Pipeline:
    """The pipeline that events go to, set up now if nobody did."""
    if active is None and bootstrap is not None:
        bootstrap()
    if active is None:
        raise RuntimeError("recording is not set up: call Agent.setup_logging()")
    return active


def install_pipeline(pipeline: Pipeline | None) -> Pipeline | None:
    """Make this pipeline the one that events go to; what was installed before."""
    global active
    before, active = active, pipeline
    attend(pipeline.health if pipeline is not None else None)
    return before


def flush_active() -> None:
    """Bring what this process holds back to the files, so that reading sees it."""
    if active is not None:
        active.flush()


@contextmanager
def tick(number: int) -> Iterator[None]:
    """Set the simulation step for everything recorded in the block."""
    try:
        step = int(number)
    except Exception:  # noqa: BLE001 - a stranger's __int__ may do anything
        step = None
    if step is None or not -(2**63) <= step < 2**63:
        step = None
        note("a tick that is no number was left out")
    # What is no number leaves the step as it was: recording never raises into the code that is recorded.
    token = current_scope.set(SpanScope(current_scope.get(), tick=step))
    try:
        yield
    finally:
        current_scope.reset(token)
        if step is not None and active is not None and active.watcher is not None:
            active.watcher.tick_ended(step)


class Limit:
    """The lowest level that is recorded; shared by all who ask, changed by `setup_logging`."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


LIMITS: dict[str, Limit] = {category.value: Limit(0) for category in Category}
"""One limit a category; 0 until something is set up, so that the first event can set it up."""


def level_of(level: object) -> int:
    """The number of a level that was given by its name or number; ConfigurationError for any other value."""
    number = LEVELS.get(level.upper()) if isinstance(level, str) else level
    if number not in LEVELS.values() or isinstance(number, bool):
        raise ConfigurationError(f"unknown level {level!r}", remedy=f"use one of {', '.join(LEVELS)}")
    return int(number)  # type: ignore[call-overload,no-any-return]
