"""Runs: steps, artifacts, tools, model calls and checkpoints of recorded tasks. Names only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.event.registered import register_codec
    from Agent.flight.checkpoint_model import Checkpoint, CheckpointStore, StepEvent
    from Agent.flight.checkpoint_policy import CheckpointPolicy, RetentionPolicy
    from Agent.flight.checkpoint_recording import checkpoint_store
    from Agent.flight.checkpoints import LocalCheckpointStore
    from Agent.flight.model_streams import record_model_stream
    from Agent.flight.prices import Price, set_prices
    from Agent.flight.recorded_models import recorded_model
    from Agent.flight.replaying import replaying_tools
    from Agent.flight.run_recorder import Recorder, recorder
    from Agent.flight.runs import RunRecord, RunSummary, find_run, list_runs, read_run
    from Agent.flight.tool_recording import record_tool
    from Agent.flight.tool_replayer import ToolReplayer
    from Agent.record.chance.sources import recorded_sources

__all__ = [
    "Checkpoint",
    "checkpoint_store",
    "CheckpointPolicy",
    "CheckpointStore",
    "find_run",
    "list_runs",
    "LocalCheckpointStore",
    "Price",
    "read_run",
    "record_model_stream",
    "record_tool",
    "recorded_model",
    "recorded_sources",
    "Recorder",
    "recorder",
    "register_codec",
    "replaying_tools",
    "RetentionPolicy",
    "RunRecord",
    "RunSummary",
    "set_prices",
    "StepEvent",
    "ToolReplayer",
]

_HOMES = {
    "Checkpoint": "checkpoint_model",
    "checkpoint_store": "checkpoint_recording",
    "CheckpointPolicy": "checkpoint_policy",
    "CheckpointStore": "checkpoint_model",
    "find_run": "runs",
    "list_runs": "runs",
    "LocalCheckpointStore": "checkpoints",
    "Price": "prices",
    "read_run": "runs",
    "record_model_stream": "model_streams",
    "record_tool": "tool_recording",
    "recorded_model": "recorded_models",
    "recorded_sources": "Agent.record.chance.sources",
    "Recorder": "run_recorder",
    "recorder": "run_recorder",
    "register_codec": "Agent.event.registered",
    "replaying_tools": "replaying",
    "RetentionPolicy": "checkpoint_policy",
    "RunRecord": "runs",
    "RunSummary": "runs",
    "set_prices": "prices",
    "StepEvent": "checkpoint_model",
    "ToolReplayer": "tool_replayer",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home if "." in home else f"{__name__}.{home}"), name)
    return value
