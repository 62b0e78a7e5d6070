"""Runs: steps, artifacts, tools, model calls and checkpoints of recorded tasks. Names only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.event.values.registered import register_codec
    from Agent.flight.calls.model_streams import record_model_stream
    from Agent.flight.calls.tool_recording import record_tool
    from Agent.flight.checkpoints.model import Checkpoint, CheckpointStore, StepEvent
    from Agent.flight.checkpoints.policy import CheckpointPolicy, RetentionPolicy
    from Agent.flight.checkpoints.recording import checkpoint_store
    from Agent.flight.checkpoints.store import LocalCheckpointStore
    from Agent.flight.integrations import recorded_model
    from Agent.flight.matching.replaying import replaying_tools
    from Agent.flight.matching.tool_replayer import ToolReplayer
    from Agent.flight.open_runs.prices import Price, set_prices
    from Agent.flight.runs.reading import RunRecord, RunSummary, find_run, list_runs, read_run
    from Agent.flight.runs.recorder import Recorder, recorder
    from Agent.record.sources.sources import recorded_sources

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
    "Checkpoint": "Agent.flight.checkpoints.model",
    "checkpoint_store": "Agent.flight.checkpoints.recording",
    "CheckpointPolicy": "Agent.flight.checkpoints.policy",
    "CheckpointStore": "Agent.flight.checkpoints.model",
    "find_run": "Agent.flight.runs.reading",
    "list_runs": "Agent.flight.runs.reading",
    "LocalCheckpointStore": "Agent.flight.checkpoints.store",
    "Price": "Agent.flight.open_runs.prices",
    "read_run": "Agent.flight.runs.reading",
    "record_model_stream": "Agent.flight.calls.model_streams",
    "record_tool": "Agent.flight.calls.tool_recording",
    "recorded_model": "Agent.flight.integrations",
    "recorded_sources": "Agent.record.sources.sources",
    "Recorder": "Agent.flight.runs.recorder",
    "recorder": "Agent.flight.runs.recorder",
    "register_codec": "Agent.event.values.registered",
    "replaying_tools": "Agent.flight.matching.replaying",
    "RetentionPolicy": "Agent.flight.checkpoints.policy",
    "RunRecord": "Agent.flight.runs.reading",
    "RunSummary": "Agent.flight.runs.reading",
    "set_prices": "Agent.flight.open_runs.prices",
    "StepEvent": "Agent.flight.checkpoints.model",
    "ToolReplayer": "Agent.flight.matching.tool_replayer",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(
        import_module(home if home.startswith("Agent.") else f"{__name__}.{home}"), name
    )
    return value
