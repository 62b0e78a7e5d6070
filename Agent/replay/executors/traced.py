"""The executor of traced agents: a fork from the checkpoint, in a process of its own; see `forking.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.errors import UsageError
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.replay.executors.protocol import Execution
from Agent.replay.forks.forking import ForkResult, fork_run, resume_from_checkpoint


class TracedExecutor:
    """Goes on with the traced actions of a run; its output is the exposed state at the end."""

    async def execute(
        self,
        input: Any,  # noqa: A002, ARG002 - as the protocol has it
        state: Any,  # noqa: ARG002 - the fork reads it itself
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Execution:
        """Resume or fork; a comparison, no verdict.

        Raises:
            UsageError: another input was asked for.
            TargetNotGiven: no code was named, and the session remembers none.
        """
        if config["modified_input"] is not None:
            raise UsageError(
                "the recorded actions are called with their recorded arguments",
                remedy="change the state instead, ReplayConfig(modified_state={...})",
            )
        result = await asyncio.to_thread(_forked, config, dict(overrides or {}))
        parted = result.comparison.divergence
        original = await asyncio.to_thread(_final_states, Path(config["session"]), result)
        return Execution(
            _single(result.states),
            original=_single(original),
            reasons=[] if result.stopped is None else [f"it stopped: {result.stopped}"],
            notes=[str(result.comparison)],
            divergence=None if parted is None else str(parted),
            is_comparison=True,
            details={"fork_id": result.fork_id, "comparison": result.comparison.to_dict()},
        )


def _forked(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> ForkResult:
    run, root = config["run"], Path(config["session"]).parent
    how = {"live": config["live"], "timeout_seconds": config["timeout_seconds"]}
    patch, seed = config["modified_state"], overrides.get("seed")
    if patch is None and seed is None:
        return resume_from_checkpoint(run, config["step_id"], config["target"], root, **how)
    return fork_run(run, config["step_id"], patch, config["target"], root, seed=seed, **how)[1]


def _final_states(session: Path, result: ForkResult) -> dict[str, Any]:
    """The fields of those agents at the end of the original."""
    reader = open_reader(session)
    return {agent: dict(fold_events(StateFold(), reader.events(agent)).fields) for agent in result.states}


def _single(states: Mapping[str, Any]) -> Any:
    """Of one agent its fields, of several {agent: fields}."""
    return next(iter(states.values())) if len(states) == 1 else dict(states)
