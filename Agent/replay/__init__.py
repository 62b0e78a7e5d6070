"""Run again: play what was recorded, or drive the code once more and say whether it still does the same."""

from Agent.flight.tool_replayer import ToolReplayer
from Agent.replay.outcome import Divergence, SourceRead
from Agent.replay.peers import Spec
from Agent.replay.playback import Playback, PlayedStep, play_run
from Agent.replay.report import ReplayReport
from Agent.replay.rerun import replay_run
from Agent.replay.verdict import Verdict

__all__ = [
    "Divergence",
    "play_run",
    "Playback",
    "PlayedStep",
    "replay_run",
    "ReplayReport",
    "SourceRead",
    "Spec",
    "ToolReplayer",
    "Verdict",
]
