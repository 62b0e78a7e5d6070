"""Replay: play what was recorded, or run the code again and compare it with the recording."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.flight.tool_replayer import ToolReplayer
    from Agent.replay.compare.normaliser import Normaliser
    from Agent.replay.compare.outcome import Divergence, SourceRead, Verdict
    from Agent.replay.compare.report import ReplayReport
    from Agent.replay.diff.first_difference import CommonCause, RunDivergence
    from Agent.replay.diff.run_comparison import ReplayMetrics, RunComparison, compare_runs, replay_metrics
    from Agent.replay.drive.agent_stubs import Spec
    from Agent.replay.executors.replay_executor import ReplayExecutor
    from Agent.replay.executors.result import ReplayConfig, ReplayResult
    from Agent.replay.executors.saved_points import CheckpointManager, SavedCheckpoint
    from Agent.replay.forks.forking import (
        ForkResult,
        SweepReport,
        TurningPoint,
        fork_run,
        resume_from_checkpoint,
        sweep_forks,
        turning_point,
    )
    from Agent.replay.forks.unrecorded import Answer, ask_agent
    from Agent.replay.golden.adding import (
        AddedGolden,
        ShrunkGolden,
        accept_golden,
        add_golden,
        shrink_golden,
        update_golden,
    )
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
    "Answer",
    "ask_agent",
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
    "turning_point",
    "TurningPoint",
    "update_golden",
    "Verdict",
]

_HOMES = {
    "Agent.flight.tool_replayer": "ToolReplayer",
    "compare.normaliser": "Normaliser",
    "compare.outcome": "Divergence SourceRead Verdict",
    "compare.report": "ReplayReport",
    "diff.first_difference": "CommonCause RunDivergence",
    "diff.run_comparison": "compare_runs replay_metrics ReplayMetrics RunComparison",
    "drive.agent_stubs": "Spec",
    "executors.replay_executor": "ReplayExecutor",
    "executors.result": "ReplayConfig ReplayResult",
    "executors.saved_points": "CheckpointManager SavedCheckpoint",
    "forks.forking": "fork_run ForkResult resume_from_checkpoint sweep_forks SweepReport turning_point "
    "TurningPoint",
    "forks.unrecorded": "Answer ask_agent",
    "golden.adding": "accept_golden add_golden AddedGolden shrink_golden ShrunkGolden update_golden",
    "golden.trace": "check_golden find_golden GoldenReport GoldenTrace list_goldens remove_golden",
    "history": "HistoryReport replay_agents replay_runs ReplayedRun",
    "plan.target": "remember_target",
    "playback": "play_run Playback PlayedStep",
    "rerun": "replay_run",
}

__getattr__ = _lazy_names(__name__, _HOMES)
