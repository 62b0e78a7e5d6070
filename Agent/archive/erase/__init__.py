"""Erases an agent, a run or a value from everything below a trace root, and proves the erasure."""

from Agent.archive.erase.erasing import Erasure, erase, target_of
from Agent.archive.erase.target import Target

__all__ = ["erase", "Erasure", "Target", "target_of"]
