"""Runs: steps, artifacts, tools, model calls and checkpoints of recorded tasks. Names only."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

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

__getattr__ = _lazy_names(__name__)
