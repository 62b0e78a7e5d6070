"""What stands around every call of the recorder: the pipeline in, and no error of recording out."""

from __future__ import annotations

from types import TracebackType

from Agent.flight.open_runs.run_events import is_recorded
from Agent.record.emit import installed
from Agent.record.emit.installed import current_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.safe_text import as_text
from Agent.record.health import say

__all__ = ["Guard", "pipeline_of_first_call"]


def pipeline_of_first_call() -> Pipeline | None:
    """The pipeline, set up by the first call of all; None where that shows that nothing is to be recorded."""
    try:
        pipeline = current_pipeline()
    except RuntimeError as error:
        # where recording was given up, or waits, that was said once
        if is_recorded() and not isinstance(error, installed.NotRecording):
            say(f"recording is not set up: {as_text(error)}")
        return None
    # Only now a level is set.
    return pipeline if is_recorded() else None


class Guard:
    """Gives the pipeline, None where nothing is recorded; no error of recording leaves the block."""

    __slots__ = ("_call", "_pipeline")

    def __init__(self, call: str) -> None:
        self._call = call
        self._pipeline: Pipeline | None = None

    def __enter__(self) -> Pipeline | None:
        if is_recorded():
            self._pipeline = installed.active or pipeline_of_first_call()
        return self._pipeline

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        if self._pipeline is not None:
            self._pipeline.health.trouble(f"recorder.{self._call}", error)
            self._pipeline.health.drop("an event of a run could not be made")
        return True
