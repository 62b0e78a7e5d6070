"""Runs: steps, artifacts, tools, model calls and checkpoints of recorded tasks. Names only."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.event.values.codecs import register_codec
    from Agent.flight.calls.model_calls import Price, record_model_stream, set_prices
    from Agent.flight.calls.tool_recording import record_tool
    from Agent.flight.checkpoints.model import (
        Checkpoint,
        CheckpointPolicy,
        CheckpointStore,
        RetentionPolicy,
        StepEvent,
    )
    from Agent.flight.checkpoints.recording import checkpoint_store
    from Agent.flight.checkpoints.store import LocalCheckpointStore
    from Agent.flight.integrations import recorded_model
    from Agent.flight.matching.tool_replayer import ToolReplayer, replaying_tools
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
    "Checkpoint": "checkpoints.model",
    "checkpoint_store": "checkpoints.recording",
    "CheckpointPolicy": "checkpoints.model",
    "CheckpointStore": "checkpoints.model",
    "find_run": "runs.reading",
    "list_runs": "runs.reading",
    "LocalCheckpointStore": "checkpoints.store",
    "Price": "calls.model_calls",
    "read_run": "runs.reading",
    "record_model_stream": "calls.model_calls",
    "record_tool": "calls.tool_recording",
    "recorded_model": "integrations",
    "recorded_sources": "Agent.record.sources.sources",
    "Recorder": "runs.recorder",
    "recorder": "runs.recorder",
    "register_codec": "Agent.event.values.codecs",
    "replaying_tools": "matching.tool_replayer",
    "RetentionPolicy": "checkpoints.model",
    "RunRecord": "runs.reading",
    "RunSummary": "runs.reading",
    "set_prices": "calls.model_calls",
    "StepEvent": "checkpoints.model",
    "ToolReplayer": "matching.tool_replayer",
}

__getattr__ = _lazy_names(__name__, _HOMES)
