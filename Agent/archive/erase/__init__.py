"""An agent, a run or a value taken out of everything below a trace root, with proof."""

from Agent.archive.erase.erasing import Erasure, erase, target_of
from Agent.archive.erase.target import Target

__all__ = ["erase", "Erasure", "Target", "target_of"]
