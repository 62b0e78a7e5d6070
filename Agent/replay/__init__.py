"""Run again: play what was recorded, or drive the code once more and say whether it still does the same."""

from Agent.flight.tool_replayer import ToolReplayer
from Agent.replay.differences.metrics import ReplayMetrics, replay_metrics
from Agent.replay.differences.parting import CommonCause, RunDivergence
from Agent.replay.differences.run_comparison import RunComparison, compare_runs
from Agent.replay.executors.replay_executor import ReplayExecutor
from Agent.replay.executors.result import ReplayConfig, ReplayResult
from Agent.replay.executors.saved_points import CheckpointManager, SavedCheckpoint
from Agent.replay.forks.forking import ForkResult, fork_run, resume_from_checkpoint
from Agent.replay.forks.sweeping import SweepReport, sweep_forks
from Agent.replay.outcome import Divergence, SourceRead
from Agent.replay.peers import Spec
from Agent.replay.playback import Playback, PlayedStep, play_run
from Agent.replay.report import ReplayReport
from Agent.replay.rerun import replay_run
from Agent.replay.target import remember_target
from Agent.replay.verdict import Verdict

__all__ = [
    "CheckpointManager",
    "CommonCause",
    "compare_runs",
    "Divergence",
    "fork_run",
    "ForkResult",
    "play_run",
    "Playback",
    "PlayedStep",
    "remember_target",
    "replay_metrics",
    "replay_run",
    "ReplayConfig",
    "ReplayExecutor",
    "ReplayMetrics",
    "ReplayReport",
    "ReplayResult",
    "resume_from_checkpoint",
    "RunComparison",
    "RunDivergence",
    "SavedCheckpoint",
    "SourceRead",
    "Spec",
    "sweep_forks",
    "SweepReport",
    "ToolReplayer",
    "Verdict",
]
