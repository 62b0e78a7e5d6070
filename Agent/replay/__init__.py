"""Replay: play what was recorded, or run the code again and compare it with the recording."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.flight.matching.tool_replayer import ToolReplayer
    from Agent.replay.compare.normaliser import Normaliser
    from Agent.replay.compare.outcome import Divergence, ReplayReport, SourceRead, Verdict
    from Agent.replay.diff.first_difference import CommonCause, RunDivergence
    from Agent.replay.diff.metrics import ReplayMetrics, replay_metrics
    from Agent.replay.diff.run_comparison import RunComparison, compare_runs
    from Agent.replay.drive.agent_stubs import Spec
    from Agent.replay.executors.replay_executor import ReplayExecutor
    from Agent.replay.executors.result import ReplayConfig, ReplayResult
    from Agent.replay.executors.saved_points import CheckpointManager, SavedCheckpoint
    from Agent.replay.forks.forking import ForkResult, fork_run, resume_from_checkpoint
    from Agent.replay.forks.sweeping import SweepReport, sweep_forks
    from Agent.replay.golden.adding import AddedGolden, accept_golden, add_golden, update_golden
    from Agent.replay.golden.shrinking import ShrunkGolden, shrink_golden
    from Agent.replay.golden.trace import (
        GoldenReport,
        GoldenTrace,
        check_golden,
        find_golden,
        list_goldens,
        remove_golden,
    )
    from Agent.replay.history import HistoryReport, ReplayedRun, replay_agents, replay_runs
    from Agent.replay.plan.target import remember_target
    from Agent.replay.playback import Playback, PlayedStep, play_run
    from Agent.replay.rerun import replay_run

__all__ = [
    "accept_golden",
    "add_golden",
    "AddedGolden",
    "check_golden",
    "CheckpointManager",
    "CommonCause",
    "compare_runs",
    "Divergence",
    "find_golden",
    "fork_run",
    "ForkResult",
    "GoldenReport",
    "GoldenTrace",
    "HistoryReport",
    "list_goldens",
    "Normaliser",
    "play_run",
    "Playback",
    "PlayedStep",
    "remember_target",
    "remove_golden",
    "replay_agents",
    "replay_metrics",
    "replay_run",
    "replay_runs",
    "ReplayConfig",
    "ReplayedRun",
    "ReplayExecutor",
    "ReplayMetrics",
    "ReplayReport",
    "ReplayResult",
    "resume_from_checkpoint",
    "RunComparison",
    "RunDivergence",
    "SavedCheckpoint",
    "shrink_golden",
    "ShrunkGolden",
    "SourceRead",
    "Spec",
    "sweep_forks",
    "SweepReport",
    "ToolReplayer",
    "update_golden",
    "Verdict",
]

_HOMES = {
    "accept_golden": "golden.adding",
    "add_golden": "golden.adding",
    "AddedGolden": "golden.adding",
    "check_golden": "golden.trace",
    "CheckpointManager": "executors.saved_points",
    "CommonCause": "diff.first_difference",
    "compare_runs": "diff.run_comparison",
    "Divergence": "compare.outcome",
    "find_golden": "golden.trace",
    "fork_run": "forks.forking",
    "ForkResult": "forks.forking",
    "GoldenReport": "golden.trace",
    "GoldenTrace": "golden.trace",
    "HistoryReport": "history",
    "list_goldens": "golden.trace",
    "Normaliser": "compare.normaliser",
    "play_run": "playback",
    "Playback": "playback",
    "PlayedStep": "playback",
    "remember_target": "plan.target",
    "remove_golden": "golden.trace",
    "replay_agents": "history",
    "replay_metrics": "diff.metrics",
    "replay_run": "rerun",
    "replay_runs": "history",
    "ReplayConfig": "executors.result",
    "ReplayedRun": "history",
    "ReplayExecutor": "executors.replay_executor",
    "ReplayMetrics": "diff.metrics",
    "ReplayReport": "compare.outcome",
    "ReplayResult": "executors.result",
    "resume_from_checkpoint": "forks.forking",
    "RunComparison": "diff.run_comparison",
    "RunDivergence": "diff.first_difference",
    "SavedCheckpoint": "executors.saved_points",
    "shrink_golden": "golden.shrinking",
    "ShrunkGolden": "golden.shrinking",
    "SourceRead": "compare.outcome",
    "Spec": "drive.agent_stubs",
    "sweep_forks": "forks.sweeping",
    "SweepReport": "forks.sweeping",
    "ToolReplayer": "Agent.flight.matching.tool_replayer",
    "update_golden": "golden.adding",
    "Verdict": "compare.outcome",
}

__getattr__ = _lazy_names(__name__, _HOMES)
