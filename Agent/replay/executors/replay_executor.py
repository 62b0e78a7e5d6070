"""`ReplayExecutor`: continues from a checkpoint with the executor that fits the run, and compares the result.

During the replay, tools and models return recorded responses, and network access is refused.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentTraceError, RecordingMiss, RunNotFound, UsageError
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.recorded_graphs import FRAMEWORK, GRAPH_STEP
from Agent.flight.run_reading import RunRef, read_run
from Agent.flight.tool_replayer import ToolReplayer, replaying_tools
from Agent.record.emit.installed import active_pipeline, install_pipeline
from Agent.record.emit.pipeline import Pipeline, UnkeptLines, record_lines
from Agent.replay.executors.result import (
    NOT_GIVEN,
    AgentExecutor,
    Execution,
    ReplayConfig,
    ReplayResult,
    judge_execution,
    replayer_after,
)
from Agent.replay.executors.saved_points import (
    CheckpointManager,
    RunSource,
    SavedCheckpoint,
    given_and_output,
)
from Agent.replay.executors.watch import ExecutorWatch
from Agent.replay.forks.forking import fork_run
from Agent.replay.forks.outcome import apply_patch, check_patch, merged
from Agent.replay.rerun import keep_json, make_replay_directory
from Agent.tree.files.session import session_info
from Agent.tree.write.artifacts import ROOT_RUN

_lock = threading.Lock()
_open: list[Pipeline] = []
"""The pipeline that discards events, once for each open replay that uses it."""


@contextmanager
def recording_suppressed() -> Iterator[None]:
    """Prevent events in this block from starting a new session.

    If this process is already recording a session, it goes on, and user code that executors run is recorded
    in it.
    """
    with _lock:
        is_mine = bool(_open) or active_pipeline() is None
        if is_mine:
            if not _open:
                pipeline = record_lines(UnkeptLines("replay"), "replay")
                install_pipeline(pipeline)
            else:
                pipeline = _open[0]
            _open.append(pipeline)
    try:
        yield
    finally:
        if is_mine:
            with _lock:
                pipeline = _open.pop()
                # If other code installed a pipeline in the meantime, leave it installed.
                if not _open and active_pipeline() is pipeline:
                    install_pipeline(None)


class ReplayExecutor:
    """Continues runs from checkpoints.

    Args:
        checkpoint_manager: provides the checkpoints.
        pool: the store that the manager was created with, if any.

    Raises:
        UsageError: the manager is not one, or the pool is a different one.
    """

    def __init__(self, checkpoint_manager: CheckpointManager, pool: Any = None) -> None:
        if not isinstance(checkpoint_manager, CheckpointManager):
            raise UsageError(
                f"a {type(checkpoint_manager).__name__} is not a CheckpointManager",
                remedy="ReplayExecutor(CheckpointManager())",
            )
        if pool is not None and pool is not checkpoint_manager.place:
            raise UsageError(
                "the executor and its manager use different stores",
                remedy="give both the same store, or only one of them",
            )
        self.checkpoints = checkpoint_manager

    async def replay(self, checkpoint_id: str, config: ReplayConfig | None = None) -> ReplayResult:
        """Continue from a checkpoint, and compare the output with the recorded one.

        The result has a verdict unless something was modified or a fork was made; see "Executors" in
        docs/FORKS.md.

        Raises:
            UsageError: an unknown executor, a patch that does not fit, or something the executor cannot do.
            RunNotFound, EventNotFound, DamagedInput: the checkpoint does not exist, or cannot be read.
            MissingExtra, TargetNotGiven: a library or a target that the executor needs is missing.
        """
        config = ReplayConfig() if config is None else config
        saved = await self.checkpoints.get_checkpoint(checkpoint_id)
        input_value, original, step_type = await asyncio.to_thread(self._recorded, saved)
        labels = await asyncio.to_thread(_labels, saved)
        name = config.executor or _framework(saved, step_type, config, labels)
        executor_config = _executor_config(saved, config, name, original, labels)
        chosen = MOCK if config.dry_run else name
        executor = find_executor(chosen)
        input_value, state = _input(input_value, config), _state(saved, config)
        began = time.perf_counter()
        execution = await _executed(executor, input_value, state, executor_config, config)
        if execution.original is NOT_GIVEN:
            execution.original = original
        result = ReplayResult(
            checkpoint_id=saved.checkpoint_id,
            run=saved.run,
            executor=chosen,
            input=input_value,
            execution=execution,
            duration_ms=(time.perf_counter() - began) * 1000,
            **judge_execution(execution, is_modified=config.is_modified),
        )
        await asyncio.to_thread(_keep, saved, result, self.checkpoints.source_of(saved.session))
        return result

    def _recorded(self, saved: SavedCheckpoint) -> tuple[Any, Any, str | None]:
        recorded_input, output, step_type = given_and_output(saved, NOT_GIVEN)
        return (
            recorded_input,
            self.checkpoints.last_state_like(saved) if output is NOT_GIVEN else output,
            step_type,
        )


def _executor_config(
    saved: SavedCheckpoint, config: ReplayConfig, name: str, original: Any, labels: dict[str, Any]
) -> dict[str, Any]:
    """Build the `config` argument of an executor."""
    names = ("target", "modified_input", "modified_state", "live", "timeout_seconds")
    return {
        "checkpoint_id": saved.checkpoint_id,
        "run": saved.run,
        "run_id": saved.ref.run_id,
        "session": str(saved.session),
        "step_id": saved.info.step_id,
        "agent_id": saved.info.agent_id,
        "saved_us": saved.saved_us,
        "framework": labels.get("framework"),
        "labels": labels,
        "would_run": name,
        "original_output": original,
        **{each: getattr(config, each) for each in names},
    }


async def _executed(
    executor: _Executor,
    given: Any,
    state: Any,
    executor_config: Mapping[str, Any],
    config: ReplayConfig,
) -> Execution:
    """Run the executor and return its result or error.

    It is watched, and its tool and model calls get recorded responses, unless its row says otherwise.
    """
    watch = ExecutorWatch(allows_network=bool(config.live))
    replayer: ToolReplayer | None = None
    try:
        with ExitStack() as around:
            around.enter_context(recording_suppressed())
            if executor.is_guarded:
                around.enter_context(watch.open())
                ref = RunRef(Path(executor_config["session"]), executor_config["run_id"])
                replayer = await asyncio.to_thread(replayer_after, ref, executor_config["saved_us"])
                around.enter_context(replaying_tools(replayer, live=config.live))
            running: Any = executor.execute(given, state, executor_config, overrides=config.overrides)
            if executor.is_guarded:
                running = watch.stepped(running, 1)
            async with asyncio.timeout(config.timeout_seconds):
                result = await running
    except RecordingMiss as error:
        return Execution(None, reasons=[str(error)], reads=watch.reads, error=str(error))
    except AgentTraceError:
        raise
    except TimeoutError as error:
        limit = config.timeout_seconds
        text = f"TimeoutError: {error}" if limit is None else f"it did not end within {limit} s"
        return Execution(None, reasons=[text], reads=watch.reads, error=text)
    except Exception as error:  # noqa: BLE001 - what user code raises is a result
        return Execution(None, reads=watch.reads, error=f"{type(error).__name__}: {error}")
    execution = result if isinstance(result, Execution) else Execution(result)
    execution.reads += watch.reads
    unused = [call.name for call in replayer.unused] if replayer is not None else []
    if unused:
        execution.reasons.append(
            f"{len(unused)} recorded calls after the checkpoint were not made: {', '.join(unused[:5])}"
        )
    return execution


def _input(recorded_input: Any, config: ReplayConfig) -> Any:
    if config.modified_input is None:
        return recorded_input
    if isinstance(recorded_input, dict) and isinstance(config.modified_input, Mapping):
        return merged(dict(recorded_input), config.modified_input)
    return config.modified_input


def _state(saved: SavedCheckpoint, config: ReplayConfig) -> Any:
    if config.modified_state is None:
        return saved.state
    check_patch(config.modified_state)
    if not isinstance(saved.state, dict):
        raise UsageError(
            f"the state of {saved.checkpoint_id} is a {type(saved.state).__name__}", remedy="patch a mapping"
        )
    return apply_patch(saved.state, {}, config.modified_state).fields


def _labels(saved: SavedCheckpoint) -> dict[str, Any]:
    if saved.ref.run_id is None:
        return {}
    try:
        return dict(read_run(saved.ref).summary.labels)
    except RunNotFound:
        return {}  # a run that left only checkpoints


def _framework(
    saved: SavedCheckpoint, step_type: str | None, config: ReplayConfig, labels: Mapping[str, Any]
) -> str:
    """Choose the executor: by the run's label, then by its steps, then by its target or the session's."""
    label = labels.get("framework")
    if label in registered_names():
        return str(label)
    if step_type is not None:
        return next(name for name, executor in _OWN.items() if executor.step_type == step_type)
    if config.target is not None:
        return TRACED_AGENTS
    info = session_info(saved.session)
    return TRACED_AGENTS if info is not None and info.targets else GENERIC


def _keep(saved: SavedCheckpoint, result: ReplayResult, source: RunSource | None) -> None:
    """Write the report to the run's directory, and to the source that the run came from, if any."""
    directory = make_replay_directory(saved.session, saved.ref.run_id or ROOT_RUN)
    if directory is None:
        result.execution.notes.append("the report could not be stored: the session cannot be written")
        return
    result.replay_id, result.path = directory.name, directory
    report = result.to_dict()
    if why := keep_json(directory / "report.json", report):
        result.execution.notes.append(f"the report could not be stored: {why}")
    if source is not None:
        source.keep_replay(saved.session, saved.info, directory.name, report)


# Executors by name: those of this package, and those that users register.

ExecutorFunction = Callable[..., Awaitable[Any]]


class _Executor(NamedTuple):
    execute: ExecutorFunction
    is_guarded: bool = True
    """Whether its reads of clock, chance and network are noticed, and its calls get recorded responses."""
    step_type: str | None = None
    """The type of recorded step that is continued with it, if the run's label names no executor."""


async def _mock(
    given: Any, state: Any, config: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Execution:
    """Return `overrides["output"]` or the recorded output, with the input the real executor would get."""
    return Execution(
        {"output": config["original_output"], **(overrides or {})}["output"],
        user_code_ran=False,
        reasons=["a dry run: no user code ran, and no model or tool"],
        details={"would_run": config["would_run"], "input": given, "state": state},
    )


async def _generic(_given: Any, _state: Any, config: Mapping[str, Any], **_overrides: Any) -> Execution:
    """Return the recorded output, since the executor has no code to run."""
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
    """Continue the traced actions of a run in a worker process, and compare the final states.

    Raises:
        UsageError: `modified_input` is set.
        TargetNotGiven: no target was given, and the session has none.
    """
    if config["modified_input"] is not None:
        raise UsageError(
            "the recorded actions are called with their recorded arguments",
            remedy="change the state instead, ReplayConfig(modified_state={...})",
        )
    session = Path(config["session"])
    _, result = await asyncio.to_thread(
        fork_run,
        config["run"],
        config["step_id"],
        config["modified_state"],
        config["target"],
        session.parent,
        seed=(overrides or {}).get("seed"),
        live=config["live"],
        timeout_seconds=config["timeout_seconds"],
    )
    parted = result.comparison.divergence
    reader = open_reader(session)
    original = await asyncio.to_thread(
        lambda: {each: dict(fold_events(StateFold(), reader.events(each)).fields) for each in result.states}
    )
    return Execution(
        _single(result.states),
        original=_single(original),
        reasons=[] if result.stopped is None else [f"it stopped: {result.stopped}"],
        notes=[str(result.comparison)],
        divergence=None if parted is None else str(parted),
        is_comparison=True,
        details={"fork_id": result.fork_id, "comparison": result.comparison.to_dict()},
    )


async def _langgraph(*given: Any, **overrides: Any) -> Execution:
    """Replay a recorded graph."""
    # Imported late so that replays without a graph do not load the LangGraph integration.
    from Agent.replay.executors.langgraph import replay_graph

    return await replay_graph(*given, **overrides)


MOCK, GENERIC, TRACED_AGENTS = "mock", "generic", "traced"
_OWN: dict[str, _Executor] = {
    # Neither runs user code, and their results say so.
    MOCK: _Executor(_mock, is_guarded=False),
    GENERIC: _Executor(_generic, is_guarded=False),
    # A worker process runs the user code, with guards of its own.
    TRACED_AGENTS: _Executor(_traced, is_guarded=False),
    # It guards the graph by itself, since LangGraph's own reads of clock and chance do not count.
    FRAMEWORK: _Executor(_langgraph, is_guarded=False, step_type=GRAPH_STEP),
}
_REGISTERED: dict[str, _Executor] = {}


def register_executor(name: str, executor: ExecutorFunction | AgentExecutor) -> None:
    """Register code that continues runs of a framework, for this process.

    Args:
        name: the framework: a run's label `framework`, or `ReplayConfig(executor=...)`. An executor with the
            same name, including a built-in one, is replaced.
        executor: an async function of (input, state, config, overrides=None), or an `AgentExecutor`.

    Raises:
        UsageError: `executor` is neither.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"{name!r} is not the name of an executor", remedy="give a string")
    if isinstance(executor, type):
        raise UsageError(
            f"the executor {name} is the class {executor.__name__}", remedy="give an instance of it"
        )
    if isinstance(executor, AgentExecutor) and inspect.iscoroutinefunction(executor.execute):
        _REGISTERED[name] = _Executor(executor.execute)
    elif callable(executor) and _is_async(executor):
        _REGISTERED[name] = _Executor(executor)
    else:
        raise UsageError(
            f"the executor {name} is neither an async function nor an object with an async execute()",
            remedy="async def my_executor(input, state, config, overrides=None): ...",
        )


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its call may return a coroutine
    )


def unregister_executor(name: str) -> None:
    """Remove a registered executor; a built-in one with that name is restored."""
    _REGISTERED.pop(name, None)


def registered_names() -> list[str]:
    """Return the names of all executors."""
    return sorted({*_REGISTERED, *_OWN})


def find_executor(name: str) -> _Executor:
    """Return the executor with this name.

    Raises:
        UsageError: no executor has this name.
    """
    executor = _REGISTERED.get(name) or _OWN.get(name)
    if executor is None:
        raise UsageError(
            f"no executor {name!r} is registered in this process",
            remedy=f"register_executor({name!r}, function); there are {', '.join(registered_names())}",
        )
    return executor


def _single(states: Mapping[str, Any]) -> Any:
    """Return the fields of a single agent, or {agent: fields} for several."""
    return next(iter(states.values())) if len(states) == 1 else dict(states)
