"""The executor of runs that nobody can go on with: it gives the recorded output back, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.replay.executors.protocol import Execution


class GenericExecutor:
    """The recorded output; no code was named that could make another."""

    async def execute(
        self,
        input: Any,  # noqa: A002, ARG002 - as the protocol has it
        state: Any,  # noqa: ARG002
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Execution:
        """The recorded output; never a proof."""
        return Execution(
            config["original_output"],
            user_code_ran=False,
            reasons=[
                "no user code ran: no executor can continue "
                f"{config['framework'] or 'this run'}, so the output is the recorded one; "
                "register_executor(name, function) and ReplayConfig(target=...) name code"
            ],
        )
