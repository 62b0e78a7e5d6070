"""The pipeline that events go to: set up by the first event, asked for by every one.

Doors such as loggers and decorators know `pipeline.py` only through here, so that importing them does not
load what stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from Agent.record.health import attend

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.sources.player import SourcePlayer
    from Agent.record.sources.reads import Reads

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
