"""The executor of a dry run: no user code, no model, no tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.replay.executors.protocol import Execution


class MockExecutor:
    """Gives `overrides["output"]`, or the recorded output; shows what the real executor would be given."""

    async def execute(
        self,
        input: Any,  # noqa: A002 - as the protocol has it
        state: Any,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Execution:
        """The answer of a dry run; never a proof."""
        given = dict(overrides or {})
        return Execution(
            given["output"] if "output" in given else config["original_output"],
            user_code_ran=False,
            reasons=["a dry run: no user code ran, and no model or tool"],
            details={"would_run": config["would_run"], "input": input, "state": state},
        )
