"""Executors by name: those of this package, and those that users register."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.errors import UsageError
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.replay.executors.result import AgentExecutor, Execution
from Agent.replay.forks.forking import ForkResult, fork_run, resume_from_checkpoint

ExecutorFunction = Callable[..., Awaitable[Any]]


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


class OwnExecutor(FunctionExecutor):
    """One of this package, which needs no watch."""


async def _mock(
    given: Any, state: Any, config: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Execution:
    """Give `overrides["output"]`, or the recorded output; show what the real executor would be given."""
    return Execution(
        {"output": config["original_output"], **(overrides or {})}["output"],
        user_code_ran=False,
        reasons=["a dry run: no user code ran, and no model or tool"],
        details={"would_run": config["would_run"], "input": given, "state": state},
    )


async def _generic(_given: Any, _state: Any, config: Mapping[str, Any], **_overrides: Any) -> Execution:
    """Give the recorded output: no code was named that could make another."""
    return Execution(
        config["original_output"],
        user_code_ran=False,
        reasons=[
            "no user code ran: no executor can continue "
            f"{config['framework'] or 'this run'}, so the output is the recorded one; "
            "register_executor(name, function) and ReplayConfig(target=...) name code"
        ],
    )


async def _traced(
    _given: Any, _state: Any, config: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Execution:
    """Go on with the traced actions of a run, in a worker process: a comparison of the states at the end.

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


MOCK, GENERIC, LANGGRAPH, TRACED = "mock", "generic", "langgraph", "traced"
_OWN: dict[str, ExecutorFunction] = {MOCK: _mock, GENERIC: _generic, TRACED: _traced}
_REGISTERED: dict[str, AgentExecutor] = {}


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
    return sorted({*_REGISTERED, *_OWN, LANGGRAPH})


def find_executor(name: str) -> AgentExecutor:
    """The executor of a name.

    Raises:
        UsageError: there is none.
    """
    found = _REGISTERED.get(name)
    if found is not None:
        return found
    if name in _OWN:
        return OwnExecutor(_OWN[name])
    if name == LANGGRAPH:
        from Agent.replay.executors.langgraph import LangGraphExecutor

        return LangGraphExecutor()
    raise UsageError(
        f"no executor {name!r} is registered in this process",
        remedy=f"register_executor({name!r}, function); there are {', '.join(registered_names())}",
    )


def is_registered(name: str) -> bool:
    """Whether a user registered one of that name here."""
    return name in _REGISTERED


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
