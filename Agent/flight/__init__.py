"""Runs: steps, artifacts, tools, model calls and checkpoints of tasks; other libraries. Names only."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.event.values.codecs import register_codec
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
    from Agent.flight.integrations.environments import TraceWrapper, trace_mesa
    from Agent.flight.integrations.langgraph_saver import TraceSaver
    from Agent.flight.model_calls import Price, record_model_stream, set_prices
    from Agent.flight.run_fold import RunSummary
    from Agent.flight.run_reading import RunRecord, find_run, list_runs, read_run
    from Agent.flight.run_recorder import Recorder, recorder
    from Agent.flight.tool_calls import record_tool
    from Agent.flight.tool_replayer import ToolReplayer, replaying_tools
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
    "trace_mesa",
    "TraceSaver",
    "TraceWrapper",
]

_HOMES = {
    "Agent.event.values.codecs": "register_codec",
    "Agent.record.sources.sources": "recorded_sources",
    "model_calls": "Price record_model_stream set_prices",
    "tool_calls": "record_tool",
    "checkpoints.model": "Checkpoint CheckpointPolicy CheckpointStore RetentionPolicy StepEvent",
    "checkpoints.recording": "checkpoint_store",
    "checkpoints.store": "LocalCheckpointStore",
    "integrations": "recorded_model",
    "integrations.environments": "trace_mesa TraceWrapper",
    "integrations.langgraph_saver": "TraceSaver",
    "tool_replayer": "replaying_tools ToolReplayer",
    "run_fold": "RunSummary",
    "run_reading": "find_run list_runs read_run RunRecord",
    "run_recorder": "Recorder recorder",
}

__getattr__ = _lazy_names(__name__, _HOMES)
