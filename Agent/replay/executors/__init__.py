"""Executors, which continue from a checkpoint: the built-in ones, and `register_executor` for others."""

from Agent.replay.executors.replay_executor import register_executor, registered_names, unregister_executor
from Agent.replay.executors.result import AgentExecutor, Execution

__all__ = ["AgentExecutor", "Execution", "register_executor", "registered_names", "unregister_executor"]
