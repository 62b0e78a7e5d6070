"""A fork in the worker process that is recorded: a new session beside the original's, with one run in it.

The session says where it comes from; nothing of it enters the categories across sessions.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from Agent.errors import AgentTraceError
from Agent.event.clock import format_timestamp
from Agent.event.model import RedactedBytes
from Agent.flight.runs.recorder import Recorder
from Agent.record.emit.opening import options_of_replay, record_session
from Agent.record.encode.redaction import Redactor
from Agent.record.tracing.state_events import emit_last_states
from Agent.replay.forks.fork import Brought, Fork
from Agent.tree.files.session import FORKED, RESUMED, Lineage, SessionInfo, create_session, update_session
from Agent.tree.read.summary import write_summary
from Agent.tree.write.sink import Stream
from Agent.tree.write.writer import SessionWriter


class HeardSink:
    """A sink whose every line is heard before the next is made; all else is the sink's own."""

    def __init__(self, sink: SessionWriter, hear: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._hear = hear

    def open_stream(self, agent_id: str | None, category: str) -> Stream:
        """The stream, heard."""
        return _HeardStream(self._sink.open_stream(agent_id, category), self._hear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


class _HeardStream:
    def __init__(self, stream: Any, hear: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._hear = hear

    def write(self, line: RedactedBytes) -> bool:
        """Write a line, then let it be heard."""
        written: bool = self._stream.write(line)
        self._hear(line)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ForkRecording:
    """One fork as it is recorded.

    Args:
        root: the trace root, where the session is made.
        run_id: the id of the run in it.
        lineage: where it comes from.
        configuration: settings of the original that count for what is recorded.
        targets: what replays it.
        hear: hears each line, None for nobody.

    Raises:
        OSError: the root cannot be written.
    """

    def __init__(
        self,
        root: Path,
        run_id: str,
        lineage: Lineage,
        configuration: dict[str, Any],
        targets: dict[str, str],
        hear: Callable[[bytes], None] | None = None,
    ) -> None:
        self.run_id = run_id
        redactor = Redactor(os.urandom(32), enabled=bool(configuration.get("redact", True)))
        command = "fork" if lineage.relation == FORKED else "resume"
        info = SessionInfo.begun_now(
            argv=("agent-trace", command),
            configuration=configuration,
            targets=targets,
            other={lineage.relation: redactor.object(lineage.to_object())},
        )
        self.session = create_session(root, info)
        writer = SessionWriter(self.session)
        sink: Any = None if hear is None else HeardSink(writer, hear)
        options = options_of_replay(configuration.get("state"), gone_states=True)
        self.pipeline = record_session(self.session, writer, redactor, options, sink=sink)
        self.pipeline.announce(writer, writer.durability)
        self._recorder = Recorder()
        self._lineage = lineage

    def begin_run(self, agent_id: str | None) -> None:
        """Begin the run; the pipeline is the installed one by now."""
        labels = {self._lineage.relation: f"{self._lineage.run} at {self._lineage.step}"}
        self._recorder.start_run(agent_id, labels, run_id=self.run_id)

    def discard(self) -> None:
        """Take the session away again: what was asked for could not be done."""
        self.pipeline.close()
        shutil.rmtree(self.session)

    def end(self, *, ok: bool, error: str | None, status: str | None) -> None:
        """End the run, write the last states, close the session."""
        self._recorder.finish_run(ok, error, status=status, run_id=self.run_id)
        emit_last_states(self.pipeline)
        self.pipeline.close()
        update_session(self.session, ended_at=format_timestamp(time.time_ns() // 1000))
        write_summary(self.session)


def _lineage(request: dict[str, Any], brought: Brought, agents: list[str]) -> Lineage:
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
    fork = Fork(request, is_telling=True)
    brought = fork.bring()
    bench, outcome = fork.bench, fork.outcome
    info = bench.recording.info
    fork.turn_away()()
    recording = ForkRecording(
        Path(request["root"]),
        request["fork_id"],
        _lineage(request, brought, sorted(bench.objects)),
        {} if info is None else dict(info.configuration),
        dict.fromkeys([*outcome.agents, "*"], request["target"]),
        fork.hear if brought.point.effect is not None else None,
    )
    fork.turn_away()
    alone = outcome.agents[0] if len(outcome.agents) == 1 else None
    try:
        fork.go_on(
            brought,
            recording.pipeline,
            request["patch"],
            request["seed"],
            lambda _player: recording.begin_run(alone),
        )
    except AgentTraceError:
        recording.discard()
        raise
    ended_well = outcome.stopped is None and not outcome.errors
    told = outcome.stopped or (str(outcome.errors[-1]) if outcome.errors else None)
    recording.end(ok=ended_well, error=told, status="partial" if outcome.stopped else None)
    return {"session": str(recording.session), "outcome": outcome.to_object()}
