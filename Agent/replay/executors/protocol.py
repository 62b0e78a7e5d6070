"""The executor protocol: code that continues from a checkpoint and returns a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from Agent.replay.compare.outcome import SourceRead

NOT_GIVEN: Final[Any] = object()


@runtime_checkable
class AgentExecutor(Protocol):
    """Continues from a checkpoint with user code, or reports that it did not."""

    async def execute(
        self,
        input: Any,  # noqa: A002 - the name that the executors of users have
        state: Any,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Any:
        """Continue from a checkpoint.

        Args:
            input: the input of the step after the checkpoint, or that of `ReplayConfig`; None if it was not
                recorded.
            state: the state of the checkpoint, with the changes of `ReplayConfig`.
            config: `checkpoint_id`, `run_id`, `step_id`, `agent_id`, `session`, `framework`, `labels`,
                `original_output`, `target`, `modified_state`, `modified_input`, `live`, `timeout_seconds`.
            overrides: `ReplayConfig.overrides`, unchanged.

        Returns:
            The output, or an `Execution` with more details.
        """


@dataclass(slots=True)
class Execution:
    """The result of an executor with details."""

    output: Any
    user_code_ran: bool = True
    original: Any = NOT_GIVEN
    """What to compare the output with, where the executor knows better than the run's last output."""
    reasons: list[str] = field(default_factory=list)
    """What stands in the way of a verdict."""
    reads: list[SourceRead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    divergence: str | None = None
    """The first difference on the way, in words."""
    error: str | None = None
    """Type and text of what ended it early."""
    is_comparison: bool = False
    """Whether it was meant to differ, so that there is no verdict."""
    same_id: Callable[[str, str], bool] | None = None
    """Whether two texts are ids that were made by chance and stand for the same."""
    details: dict[str, Any] = field(default_factory=dict)
    """For programs: ids of what was made, counts."""
