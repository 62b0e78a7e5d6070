"""The worker process of replays: it handles one request under fixed limits, and writes the outcome to a file.

It gets a directory with the request and the events, but not the database or the server's environment.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

REQUEST: Final = "request.json"
SPOOL: Final = "events.jsonl"
OUTCOME: Final = "outcome.json"
_MAX_FILE_BYTES: Final = 1 << 30
_SPARE_S: Final = 5


def main(directory: Path) -> None:
    """Execute the request in a directory."""
    request = orjson.loads((directory / REQUEST).read_bytes())
    limit_process(request["memory_bytes"], request["timeout_s"])
    try:
        outcome = _outcome(directory, request)
    except MemoryError:
        outcome = {"out_of_memory": True}
    text = orjson.dumps(outcome, option=orjson.OPT_NON_STR_KEYS)
    aside = directory / f"{OUTCOME}.new"
    aside.write_bytes(text)
    aside.rename(directory / OUTCOME)


def limit_process(memory_bytes: int, timeout_s: float) -> None:
    """Set limits for this process, which it cannot raise again, since they are hard limits."""
    whole_s = int(timeout_s) + _SPARE_S
    for resource_kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, whole_s),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(resource_kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource_kind, (least, least))
    signal.alarm(whole_s)  # in case the server, which should end it, has stopped


def _outcome(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    from Agent.archive.run_import import StoredSession
    from Agent.errors import AgentTraceError, DamagedInput
    from Agent.export.allow_list import holds_content

    for module in request["executors"]:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a module of the operator may raise anything; it is reported
            message = (
                f"the module {module} of this server's executors cannot be loaded: {type(error).__name__}"
            )
            return {"problem": {"kind": "ConfigurationError", "message": message, "remedy": None}}
    # Read the rows twice: in memory they would take several times the size of their lines.
    began_us = min((row["ts_us"] for row in _rows(directory)), default=0)
    stored = StoredSession(directory / "trace", request["session_uid"], began_us)
    stored.add(_rows(directory))
    try:
        if request["do"] == "checkpoints":
            if not any(map(holds_content, _rows(directory))):
                return {"without_content": True}
            checkpoints, hidden = asyncio.run(_checkpoints(stored.path, request))
            return {"checkpoints": checkpoints, "lacking": stored.lacking, "hidden_by": hidden}
        return {"result": asyncio.run(_replay(stored.path, request))}
    except AgentTraceError as error:
        message, remedy = error.message.replace(str(directory), "."), error.remedy
        if request["run_id"] is None:  # the request named a session by its UUID
            message = message.replace("'last'", f"'{request['session_uid']}'")
        if isinstance(error, DamagedInput) and stored.lacking:
            message = f"artifacts of it were not sent, such as {stored.lacking[0]}"
            remedy = "only texts of at most 512 KiB are; replay it where it was recorded: agent-trace replay"
        return {"problem": {"kind": type(error).__name__, "message": message, "remedy": remedy}}


def _rows(directory: Path) -> Iterator[dict[str, Any]]:
    try:
        with (directory / SPOOL).open("rb") as file:
            yield from map(orjson.loads, file)
    except orjson.JSONDecodeError as error:
        raise MemoryError(str(error)) from None  # the server wrote these lines, so they are valid JSON


async def _checkpoints(session: Path, request: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    from Agent.flight.checkpoints.store import LocalCheckpointStore
    from Agent.replay.executors.saved_points import CheckpointManager

    manager = CheckpointManager(session)
    trace = request["run_id"] or "last"
    await manager.auto_checkpoint_trace(trace)
    with LocalCheckpointStore(session) as store:
        checkpoints = [
            {"position": position, **store.as_row(saved.info)}
            for position, saved in enumerate(await manager.list_checkpoints(trace))
        ]
    return checkpoints, list(manager.hidden_by)


async def _replay(session: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    from Agent.archive.run_import import restored_checkpoint
    from Agent.flight.checkpoints.store import LocalCheckpointStore
    from Agent.replay.executors.replay_executor import ReplayExecutor
    from Agent.replay.executors.result import ReplayConfig
    from Agent.replay.executors.saved_points import CheckpointManager
    from Agent.tree.write.artifacts import ROOT_RUN

    manager = CheckpointManager(session)
    checkpoint = request["checkpoints"][0]
    with LocalCheckpointStore(session) as store:
        for row in request["checkpoints"]:
            store.save_checkpoint(restored_checkpoint(request["run_id"] or ROOT_RUN, row))
    (matching,) = [
        saved.checkpoint_id
        for saved in await manager.list_checkpoints(request["run_id"] or "last")
        if (saved.info.step_id, saved.info.agent_id) == (checkpoint["step_id"], checkpoint["agent_id"])
    ]
    result = await ReplayExecutor(manager).replay(matching, ReplayConfig(**request["config"]))
    answer = result.to_dict()
    for key in ("replay_id", "checkpoint_id", "run"):
        del answer[key]  # ids in this temporary directory, which mean nothing elsewhere
    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
