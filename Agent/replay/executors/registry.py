"""Executors by name: those of this package, and those that users register."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from Agent.errors import UsageError
from Agent.replay.executors.protocol import AgentExecutor, Execution


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


ExecutorFunction = Callable[..., Awaitable[Any]]

MOCK, GENERIC, LANGGRAPH, TRACED = "mock", "generic", "langgraph", "traced"
_REGISTERED: dict[str, AgentExecutor] = {}


class FunctionExecutor:
    """An executor that is one async function."""

    def __init__(self, function: ExecutorFunction) -> None:
        self.function = function

    async def execute(
        self,
        input: Any,  # noqa: A002 - as the protocol has it
        state: Any,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Any:
        """What the function gives."""
        return await self.function(input, state, config, overrides=overrides)


def register_executor(name: str, executor: ExecutorFunction | AgentExecutor) -> None:
    """Use this code to continue runs of a framework, in this process.

    Args:
        name: the framework: a run's label `framework`, or `ReplayConfig(executor=...)`. A name in use,
            including those of this package, is replaced.
        executor: an async function of (input, state, config, overrides=None), or an `AgentExecutor`.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"{name!r} is not a name of an executor", remedy="give a text")
    if isinstance(executor, type):
        raise UsageError(
            f"the executor {name} is the class {executor.__name__}", remedy="give an object of it"
        )
    if isinstance(executor, AgentExecutor) and inspect.iscoroutinefunction(executor.execute):
        _REGISTERED[name] = executor
    elif callable(executor) and _is_async(executor):
        _REGISTERED[name] = FunctionExecutor(executor)
    else:
        raise UsageError(
            f"the executor {name} is neither an async function nor an object with an async execute()",
            remedy="async def my_executor(input, state, config, overrides=None): ...",
        )


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - whether calling it gives a coroutine is the question
    )


def unregister_executor(name: str) -> None:
    """Remove a registered executor; one of this package is restored."""
    _REGISTERED.pop(name, None)


def registered_names() -> list[str]:
    """Return the names of all executors."""
    return sorted({*_REGISTERED, MOCK, GENERIC, LANGGRAPH, TRACED})


def find_executor(name: str) -> AgentExecutor:
    """The executor of a name.

    Raises:
        UsageError: there is none.
    """
    found = _REGISTERED.get(name)
    if found is not None:
        return found
    if name == MOCK:
        return MockExecutor()
    if name == GENERIC:
        return GenericExecutor()
    if name == LANGGRAPH:
        from Agent.replay.executors.langgraph import LangGraphExecutor

        return LangGraphExecutor()
    if name == TRACED:
        from Agent.replay.executors.traced import TracedExecutor

        return TracedExecutor()
    raise UsageError(
        f"no executor {name!r} is registered in this process",
        remedy=f"register_executor({name!r}, function); there are {', '.join(registered_names())}",
    )


def is_registered(name: str) -> bool:
    """Whether a user registered one of that name here."""
    return name in _REGISTERED
