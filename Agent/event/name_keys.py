"""Which key of a kind's payload says what its events are about: the action, tool, model or class of error."""

from __future__ import annotations

from typing import Final

__all__ = ["NAME_KEYS"]

NAME_KEYS: Final = {
    "agent_action": "action_type",
    "learning_update": "learning_stage",
    "decision": "decision_type",
    "interaction": "interaction_type",
    "metric": "metric_name",
    "convergence": "metric",
    "throughput": "operation",
    "error": "error_type",
    "context_entry": "context",
    "context_exit": "context",
    "model.call": "model_name",
    "run.failure": "failure_code",
    **dict.fromkeys("tool.call step.started step.finished checkpoint phase milestone".split(), "name"),
    **dict.fromkeys(("simulation_start", "simulation_end"), "name"),
}
"""By kind; a database keeps what stands there in a column of its own."""
