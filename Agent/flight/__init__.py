"""Runs: what a recorded task was made of, and the states that it went through. Names only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.flight.checkpoint_model import Checkpoint, CheckpointStore, StepEvent
    from Agent.flight.checkpoint_policy import CheckpointPolicy, RetentionPolicy
    from Agent.flight.checkpoint_recording import checkpoint_store
    from Agent.flight.checkpoints import LocalCheckpointStore
    from Agent.flight.run_recorder import Recorder, recorder
    from Agent.flight.runs import RunRecord, RunSummary, find_run, list_runs, read_run

__all__ = [
    "Checkpoint",
    "checkpoint_store",
    "CheckpointPolicy",
    "CheckpointStore",
    "find_run",
    "list_runs",
    "LocalCheckpointStore",
    "read_run",
    "Recorder",
    "recorder",
    "RetentionPolicy",
    "RunRecord",
    "RunSummary",
    "StepEvent",
]

_HOMES = {
    "Checkpoint": "checkpoint_model",
    "checkpoint_store": "checkpoint_recording",
    "CheckpointPolicy": "checkpoint_policy",
    "CheckpointStore": "checkpoint_model",
    "find_run": "runs",
    "list_runs": "runs",
    "LocalCheckpointStore": "checkpoints",
    "read_run": "runs",
    "Recorder": "run_recorder",
    "recorder": "run_recorder",
    "RetentionPolicy": "checkpoint_policy",
    "RunRecord": "runs",
    "RunSummary": "runs",
    "StepEvent": "checkpoint_model",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
