"""A fork in the worker process: it is recorded as a session of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Agent.errors import AgentTraceError
from Agent.replay.forks.drive import ForkTrigger
from Agent.replay.forks.fork import Brought, Fork
from Agent.replay.forks.recording import ForkRecording
from Agent.tree.files.run_lineage import FORKED, RESUMED, Lineage


def lineage_for(request: dict[str, Any], brought: Brought, agents: list[str]) -> Lineage:
    """What the fork's session says of where it comes from."""
    return Lineage(
        run=request["run"],
        session_id=request["session_id"],
        session_uid=request["session_uid"],
        step=request["step"],
        run_id=request["fork_id"],
        patch=request["patch"],
        seed=request["seed"],
        agents=tuple(agents),
        by_itself=brought.resume is not None,
        from_event=None if brought.first is None else brought.first.id,
        from_timestamp=None if brought.first is None else brought.first.timestamp,
        relation=RESUMED if request["patch"] is None and request["seed"] is None else FORKED,
    )


def record_fork(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `forking.py`."""
    fork = Fork(request)
    brought = fork.bring()
    triggers: list[ForkTrigger] = []

    def hear(line: bytes) -> None:
        for trigger in triggers:
            trigger.hear(line)

    info = fork.recording.info
    fork.turn_away()()
    recording = ForkRecording(
        Path(request["root"]),
        request["fork_id"],
        lineage_for(request, brought, sorted(fork.objects)),
        {} if info is None else dict(info.configuration),
        dict.fromkeys([*fork.fork.agents, "*"], request["target"]),
        hear if brought.point.effect is not None else None,
    )
    fork.turn_away()
    agents = fork.fork.agents
    try:
        fork.go_on(
            brought,
            request["patch"],
            request["seed"],
            recording.pipeline,
            triggers.append,
            lambda: recording.begin_run(agents[0] if len(agents) == 1 else None),
        )
    except AgentTraceError:
        recording.discard()
        raise
    outcome = fork.fork
    ended_well = outcome.stopped is None and not outcome.errors
    told = outcome.stopped or (str(outcome.errors[-1]) if outcome.errors else None)
    recording.end(ok=ended_well, error=told, status="partial" if outcome.stopped else None)
    return {"session": str(recording.session), "outcome": outcome.to_object()}
