"""What stands around every call of the recorder: the pipeline in, and no error of recording out."""

from __future__ import annotations

from types import TracebackType

from Agent.flight.run_lines import is_recorded
from Agent.record import installed
from Agent.record.health import say
from Agent.record.installed import current_pipeline
from Agent.record.pipeline import Pipeline
from Agent.record.texts import as_text

__all__ = ["Guard", "pipeline_of_first_call"]


def pipeline_of_first_call() -> Pipeline | None:
    """The pipeline, set up by the first call of all; None where that shows that nothing is to be recorded."""
    try:
        pipeline = current_pipeline()
    except RuntimeError as error:
        if is_recorded() and not isinstance(error, installed.NotRecording):  # where recording was given up, that was said once
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
