"""A fork in the worker process: the target's objects are brought to the point, and continue from there.

`record_fork` does this once and records it; `unrecorded.py` continues with many changes at one point, and
experiments continue with and without an event.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from Agent.errors import AgentTraceError, InputError, ReplayError, UsageError
from Agent.event.clock import format_timestamp
from Agent.event.model import Event, RedactedBytes
from Agent.event.ordering import order_key
from Agent.event.pointers import escape, unescape
from Agent.event.values.values import to_json
from Agent.flight.run_reading import RunRef
from Agent.flight.run_recorder import Recorder
from Agent.flight.tool_calls import OPEN_PLAYERS
from Agent.record.emit import installed
from Agent.record.emit.context import current_player, current_scope
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.pipeline import Pipeline, UnkeptLines, options_of_replay, record_lines, record_session
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.redaction import Redactor
from Agent.record.encode.safe_text import message_of
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.record.state.tracker import StateTracker
from Agent.record.tracing.state_events import emit_last_states, emit_state
from Agent.record.user_key import sign_targets
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.outcome import ReplayStopped, judge
from Agent.replay.drive.states import put_back, remove_fields
from Agent.replay.forks.fork_point import (
    ForkPoint,
    ForkTrigger,
    find_point,
    first_event,
    hidden_generator,
    start_for,
)
from Agent.replay.forks.outcome import ForkOutcome, Patch, RaisedError, apply_patch
from Agent.replay.forks.player import (
    ForkPlayer,
    ForkSources,
    ResponseRecorder,
    answerable,
    seed_generators,
)
from Agent.replay.plan.actions import DrivenAction, Plan, calls_in, make_plan
from Agent.replay.plan.recording import AgentFacts, is_traced_action, parents_of, spans_around
from Agent.replay.plan.target import Decoder, TargetFailed, objects_in
from Agent.replay.worker.driver import Driver
from Agent.replay.worker.jobs import report_progress
from Agent.replay.worker.workbench import Workbench, turn_recording_away
from Agent.tree.files.session import Lineage, SessionInfo, create_session, update_session
from Agent.tree.layout import FORKED, RESUMED
from Agent.tree.read.reader import write_summary
from Agent.tree.write.sink import Stream
from Agent.tree.write.writer import SessionWriter


class Fork:
    """One fork, from the request to the outcome: `bring` it to the point, then `go_on`, once or per process.

    Args:
        request: the request of `forking.py`.
        find: finds the point instead of the request's step; the recorded actions are then always called.
        reports_progress: whether it reports its progress; in a sweep only the whole sweep does.
        shows: returns whether the outcome includes an agent's state, given the agent and all agents with an
            object.
    """

    plan: Plan
    point: ForkPoint
    driver: Driver
    first: Event | None
    """The first event of the original after the point; None if the point is at the end."""
    resume: Callable[[], Any] | None
    """The method by which the agent continues by itself; None if the recorded actions are called."""
    player: ForkPlayer
    """Answers calls after the point."""
    sources: ForkSources
    """The sources (clocks, random generators, environment) after the point."""

    def __init__(
        self,
        request: dict[str, Any],
        find: Callable[[Plan], ForkPoint] | None = None,
        *,
        reports_progress: bool = False,
        shows: Callable[[str, Sequence[str]], bool] = lambda _agent, _given: True,
    ) -> None:
        self.bench = Workbench(request)
        self._find = find
        self._reports_progress = reports_progress
        self._shows = shows
        self._run_ids = frozenset(request["run_ids"])
        self._ref = RunRef(self.bench.recording.session, request["run_id"])
        self._step: str = request["step"]
        self._live: bool | list[str] = request["live"]
        if self._run_ids and self.bench.agent_id is None:
            self.bench.agent_id = self._agent_of_run()
        self.outcome = ForkOutcome()
        self.trigger: ForkTrigger | None = None
        """If the point is inside an action, watches the log lines for it."""

    def bring(self) -> None:
        """Build the target's objects, and bring them to the point.

        Raises:
            AgentTraceError: the point does not exist or cannot be reached; the message says why.
        """
        turn_recording_away(self.bench.directory)
        self.bench.install()
        try:
            self._build()
        except TargetFailed as error:
            raise ReplayError(str(error)) from error
        bench, agent_ids = self.bench, list(self.bench.given)
        self.plan = make_plan(bench.recording, frozenset(agent_ids), frozenset(bench.objects))
        if self._run_ids:
            own = {event.id for event in self._entries()}
            self.plan.take(action for action in self.plan.actions if action.event.id in own)
        find = self._find or (lambda plan: find_point(self._step, plan, bench.recording, self._ref))
        self.point = find(self.plan)
        self.outcome.agents = sorted(agent_ids)
        self.outcome.point = self.point.what
        self.outcome.remaining = len(self.plan.actions) - self.point.index
        may_resume = self._find is None and len(agent_ids) == 1
        self.resume = resume_of(bench.objects[agent_ids[0]]) if may_resume else None
        if self.resume is not None and self.point.state is not None:
            self._bring_by_state(self.point.state, agent_ids[0])
        elif self.plan.actions:
            self._bring_by_actions()
        else:
            raise ReplayError(
                "this run has no recorded action that can be replayed, and the target's object has no "
                "trace_resume()",
                remedy="trace the agent's methods, or give its class trace_restore(state) and trace_resume()",
            )
        rest = self.plan.actions[self.point.index :]
        self.sources = ForkSources(bench, bench.watch)
        self.driver.read_by(self.sources)
        wall_us = rest[0].call.began_us if rest and self.resume is None else 0.0
        last_us = (self.first or bench.recording.events[-1]).timestamp_us
        self.sources.begin_forks(self.first, wall_us or float(last_us), self.outcome)
        self.player = self._player_of(rest)

    def _bring_by_state(self, state: Recorded, agent_id: str) -> None:
        """Restore a checkpoint's state into an object that continues by itself."""
        restored = self.bench.decoder.restore(state)
        if restored.unrestored:
            raise ReplayError(f"the state at {self.point.what} cannot be restored: {restored.unrestored[0]}")
        if not isinstance(restored.value, dict):
            raise ReplayError(
                f"the state at {self.point.what} is not a mapping of names, which restoring needs"
            )
        self.driver = self.bench.driver_for(self.plan)
        put_back(self.bench.objects[agent_id], restored.value)
        self.outcome.start = self.point.what
        self.first = next((event for event in self.own_events() if self.point.is_behind(event)), None)

    def _bring_by_actions(self) -> None:
        """Restore the nearest state before the point, and replay the recorded actions up to it."""
        plan, point, recording, objects = self.plan, self.point, self.bench.recording, self.bench.given
        self.first = first_event(point, plan)
        is_alone = objects.keys() == self.bench.objects.keys()
        hidden = hidden_generator(objects, self.first, recording, self.bench.watch.seeded)
        start = start_for(point, plan, recording, self._ref, objects, is_alone=is_alone, hidden=hidden)
        if hidden is not None and start.begin:
            self.outcome.note(f"{hidden} starts over, since no checkpoint has its state")
        for agent_id, state in start.states.items():
            recording.agents[agent_id] = replace(recording.agents[agent_id], first_state=state, lives=1)
        self.driver = self.bench.driver_for(plan)
        prefix = plan.actions[start.begin : point.index]
        self.outcome.start, self.outcome.redriven = start.what, len(prefix)
        if not self.driver.bring_to(prefix, self.report_progress):
            reasons = judge(self.bench.outcome)[1] or [str(self.bench.outcome.divergence)]
            raise ReplayError(
                f"{point.what} cannot be reached: replaying the actions before it failed: {reasons[0]}",
                remedy="fork from a checkpoint, or with the recorded code",
            )
        for read in self.bench.outcome.sources:
            self.outcome.note(f"before the point: {read}, which is not recorded")
        for doubt in self.bench.outcome.doubts[:3]:
            self.outcome.note(doubt)
        if point.effect is not None:
            self.resume = None

    def report_progress(self) -> None:
        """Report how many actions are done, including those before the point."""
        if self._reports_progress:
            done = self.bench.outcome.counts.driven + self.outcome.steps
            report_progress(self.bench.directory, done, self.outcome.redriven + self.outcome.remaining)

    def unrecorded(self, observe: Callable[[bytes], None] | None = None) -> Pipeline:
        """Return a pipeline for forks that are not recorded.

        Args:
            observe: called with each line; the default is the method `observe`.
        """
        state = self.bench.recording.configuration("state", default="exit")
        pipeline = record_lines(
            UnkeptLines("unstored", observe or self.observe), "swept", options=options_of_replay(state)
        )
        for tracker, _, obj in trackers(pipeline, self.everybody(), self.bench.recording.agents):
            tracker.full(obj)
        return pipeline

    @property
    def is_of_one(self) -> bool:
        """Whether a single agent runs, so that a patch is one of its fields; else it is {agent: fields}."""
        return len(self.bench.objects) == 1 and None not in self.bench.objects.values()

    def everybody(self) -> dict[str, object]:
        """Return the agents known so far: the target's objects, and agents seen inside them."""
        nearby = {} if self.bench.driver is None else self.bench.driver.nearby
        return {**nearby, **self.bench.given}

    def observe(self, line: bytes) -> None:
        """Pass a written log line to the trigger."""
        if self.trigger is not None:
            self.trigger.observe(line)

    def go_on(
        self,
        pipeline: Pipeline,
        patch: Patch | None = None,
        seed: int | None = None,
        begin: Callable[[ForkPlayer], object] = lambda _player: None,
        call: Callable[[int, DrivenAction], Exception | None] | None = None,
    ) -> None:
        """Apply the changes, and run the rest; the result is in `outcome`.

        Args:
            pipeline: receives the fork's events, and passes each line to `observe`.
            patch: a change of the state at the point.
            seed: seeds the random generators at the point.
            begin: called when all objects are at the point.
            call: calls an action, given its index after the point, and returns the exception it raised.

        Raises:
            UsageError: the patch does not fit.
        """
        driver, point, sources = self.driver, self.point, self.sources
        pipeline.continue_span_ids(self.bench.pipeline)
        install_pipeline(pipeline)
        player, is_recorded = self.player, pipeline.artifacts is not None
        echo = (
            ResponseRecorder(pipeline, self.bench.errors, self.bench.recording.codes) if is_recorded else None
        )
        player.begin(self.bench.answers(pipeline), pipeline, echo)
        self.bench.peers.answer_by(lambda: player, player.stop)
        driver.hand_over(player, pipeline, self.outcome.changed)
        sources.go_on(player)
        player.left = sources.left
        installed.source_player = sources
        OPEN_PLAYERS.append(player)
        begin(player)
        current_player.set(player if player.is_needed else None)
        change = self._change(pipeline, patch, seed)
        if point.effect is None:
            change()
        else:
            self.trigger = ForkTrigger(point.effect, self.plan.actions[point.index].effects, change)
        if is_recorded:
            done = self.plan.actions[: point.index]
            before = {str(effect.agent_id): 1 for action in done for effect in action.effects}
            before |= Counter(action.agent_id for action in done)
            emit_states(pipeline, self.everybody(), self.bench.recording.agents, before)
        self.bench.watch.is_on = False
        if not player.reads_sources:
            installed.open_reads = None
        self.bench.watch.allows_network = bool(self._live)
        began = time.monotonic()
        with contextlib.suppress(ReplayStopped):  # `outcome.stopped` has the reason
            if self.resume is not None:
                self._go_on_alone(self.resume, player)
            else:
                around = current_scope.get()
                calls = call or (lambda _number, action: driver.go_on(action, around))
                self._drive_rest(self.plan.actions[point.index :], player, calls)
        self.outcome.seconds = time.monotonic() - began
        driver.close()
        trigger, objects = self.trigger, self.bench.given
        if trigger is not None and trigger.error is not None:
            raise trigger.error
        if trigger is not None and not trigger.has_acted and self.outcome.stopped is None:
            self.outcome.stopped = f"{self.outcome.point} was not reached, so nothing was changed"
        for agent_id, obj in {**acting_in(pipeline), **objects}.items():
            if self._shows(agent_id, list(objects)):
                self.outcome.states[agent_id] = state_of(obj, pipeline)

    def _go_on_alone(self, resume: Callable[[], Any], player: ForkPlayer) -> None:
        error = self.driver.raised_by(resume, [], {})
        self.outcome.note("the agent continued by its own trace_resume()")
        if error is not None:
            self.outcome.errors.append(raised(error, None, self.outcome.agents[0], "trace_resume"))
        if player.is_stopped:
            raise ReplayStopped

    def _drive_rest(
        self,
        rest: Sequence[DrivenAction],
        player: ForkPlayer,
        call: Callable[[int, DrivenAction], Exception | None],
    ) -> None:
        if not rest:
            self.outcome.note(
                "the original has no action after the point, and the object has no trace_resume()"
            )
        for number, action in enumerate(rest):
            player.current = action.call
            error = call(number, action)
            self.outcome.steps += 1
            self.report_progress()
            if player.is_stopped:
                raise ReplayStopped
            if error is not None:
                self.outcome.errors.append(raised(error, action, action.agent_id, action.call.name))

    def _change(self, pipeline: Pipeline, patch: Patch | None, seed: int | None) -> Callable[[], None]:
        def change() -> None:
            objects = self.bench.given
            everybody = {**self.everybody(), **acting_in(pipeline), **objects}
            if patch is not None:
                patch_objects(
                    objects if self.is_of_one else everybody,
                    patch,
                    self.bench.decoder,
                    self.outcome,
                    is_one=self.is_of_one,
                )
            if seed is not None and not seed_generators(everybody, seed):
                self.outcome.note("no agent exposes a generator: only module generators were seeded")

        return change

    def _player_of(self, rest: Sequence[DrivenAction]) -> ForkPlayer:
        """Return the player with the recorded responses after the point."""
        bench = self.bench
        own = frozenset(bench.objects)
        first = None if self.first is None else order_key(self.first)
        events = [
            event
            for event in self.own_events()
            if event.agent_id is None or event.agent_id in own
            if event.kind == "artifact.saved" or (first is not None and order_key(event) >= first)
        ]
        return ForkPlayer(
            own,
            bench.recording.agents.keys(),
            any("reads" in event.extra for event in bench.recording.events),
            bench.comparison,
            self.outcome,
            self._live,
            answerable((call for action in rest for call in calls_in(action.call)), own),
            [action.call for action in rest],
            bench.answers(bench.pipeline).calls_among(events),
        )

    def _entries(self) -> list[Event]:
        """Return the actions of the run: those made in it, and those that contain its start."""
        events = self.bench.recording.events
        parents = parents_of(events)
        around = {
            span_id
            for event in events
            if event.kind == "run.started" and event.run_id in self._run_ids
            for span_id in spans_around(event, parents)
        }
        return [
            event
            for event in events
            if is_traced_action(event)
            and event.code is not None
            and (event.run_id in self._run_ids or event.span_id in around)
        ]

    def _agent_of_run(self) -> str | None:
        """Return the run's agent: the only one with a root action in it, or else the recorder's agent."""
        acting = {event.agent_id for event in self._entries() if event.extra.get("root") is True} - {None}
        if len(acting) == 1:
            return acting.pop()
        owner = self.bench.request["owner"]
        return owner if owner in acting else None

    def own_events(self) -> list[Event]:
        """Return the events of the run."""
        if not self._run_ids:
            return self.bench.recording.events
        return [event for event in self.bench.recording.events if event.run_id in self._run_ids]

    def _build(self) -> None:
        built = self.bench.build()
        known = self.bench.recording.agents
        if any(facts.entries for facts in known.values()):
            self.bench.objects = objects_in(built, self.bench.agent_id, frozenset(known))
        else:
            # The recording has only steps and checkpoints, so no recorded agent name has to match the object.
            self.bench.objects = {agent_id_of(built) or self.bench.agent_id or "agent": built}
        self.bench.install()


def raised(error: Exception, action: DrivenAction | None, agent_id: str, name: str) -> RaisedError:
    """Return an exception in the form of `ForkOutcome.errors`."""
    number = 0 if action is None else action.number
    return RaisedError(number, name, agent_id, type(error).__qualname__, message_of(error))


def resume_of(obj: object) -> Callable[[], Any] | None:
    """Return the method `trace_resume`, by which an agent continues by itself; None if it has none."""
    method = getattr(obj, "trace_resume", None)
    return method if callable(method) and not inspect.isclass(method) else None


def emit_states(
    pipeline: Pipeline,
    objects: Mapping[str, object],
    facts: Mapping[str, AgentFacts],
    actions: Mapping[str, int],
) -> None:
    """Emit a full state of each agent that has acted, so that its actions need only record changes.

    An agent that has not acted emits its first state at its first action, as in the original.

    Args:
        actions: the entry actions of each agent before the point, so that the next full state is due at the
            same action as in the original.
    """
    for tracker, binding, obj in trackers(pipeline, objects, facts):
        tracker.actions = actions.get(str(binding.agent_id), 0)
        if tracker.actions:
            emit_state(pipeline, binding, tracker, obj, "first")


def trackers(
    pipeline: Pipeline, objects: Mapping[str, object], facts: Mapping[str, AgentFacts]
) -> Iterator[tuple[StateTracker, AgentBinding, object]]:
    """Yield the state tracker of each object that is an agent, set up as after its first action.

    Args:
        facts: facts about the original's agents; fields that were written from outside are watched here too.
    """
    for obj in objects.values():
        known = pipeline.agents.find(obj)
        if known is not None:
            tracker = pipeline.agents.tracker(known, obj)
            tracker.actions = 1
            own = facts.get(str(known.binding.agent_id))
            tracker.watched = frozenset(() if own is None else own.written)
            yield tracker, known.binding, obj


def acting_in(pipeline: Pipeline) -> dict[str, object]:
    """Return the living agents that a pipeline has seen, by id."""
    return {str(known.binding.agent_id): obj for known, obj in pipeline.agents.living()}


def state_of(obj: object, pipeline: Pipeline) -> dict[str, Any]:
    """Return the exposed state of an object as JSON values without secrets."""
    body, _ = pipeline.capture.user_body(read_state(obj).fields, "")
    fields: dict[str, Any] = orjson.loads(b"{" + body + b"}")
    return fields


def patch_objects(
    objects: Mapping[str, object], patch: Patch, decoder: Decoder, outcome: ForkOutcome, *, is_one: bool
) -> None:
    """Apply a patch to the states of objects.

    Args:
        objects: the objects that can be changed, by agent.
        patch: a patch of the agent's state if `is_one`, else of a mapping {agent: state}.
        decoder: restores the patched values.
        outcome: receives the names of the changed fields, and notes.
        is_one: whether there is only one agent.

    Raises:
        UsageError: an agent is unknown, or the patch does not fit.
    """
    if is_one:
        patches = dict.fromkeys(objects, patch)
    elif isinstance(patch, Mapping):
        patches = dict(patch)
    else:
        patches = _by_agent(patch)
    for agent_id, agent_patch in patches.items():
        if agent_id not in objects:
            known = ", ".join(list(objects)[:5])
            raise UsageError(
                f"the patch names {agent_id!r}, but the code of that agent does not run",
                remedy=f"with several agents a patch is {{agent: its changes}}, for {known}",
            )
        _patch(agent_id, objects[agent_id], agent_patch, decoder, outcome, with_agent=not is_one)


def _by_agent(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Split JSON patch operations on {agent: state} into operations per agent."""
    by_agent: dict[str, Any] = {}
    for operation in operations:
        moved = dict(operation)
        agents = set()
        for key in ("path", "from"):
            if key in operation:
                agent, slash, rest = str(operation[key]).removeprefix("/").partition("/")
                agents.add(unescape(agent))
                moved[key] = f"{slash}{rest}"
        if len(agents) != 1:
            raise UsageError(
                "one patch operation affects several agents", remedy="patch each agent separately"
            )
        by_agent.setdefault(agents.pop(), []).append(moved)
    return by_agent


def _patch(
    agent_id: str, obj: object, patch: Patch, decoder: Decoder, outcome: ForkOutcome, *, with_agent: bool
) -> None:
    dumped = to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of)
    patched = apply_patch(orjson.loads(dumped.json), dumped.types or {}, patch)
    values = {}
    for name in patched.changed:
        restored = decoder.restore(Recorded(patched.fields[name], patched.types, f"/{escape(name)}"))
        if restored.unrestored:
            raise UsageError(
                f"the field {name!r} of {agent_id} cannot be patched: {restored.unrestored[0]} in it cannot "
                "be restored",
                remedy="patch another field, or give the class trace_state() and trace_restore()",
            )
        values[name] = restored.value
    put_back(obj, values)
    remove_fields(obj, list(patched.removed))
    prefix = f"{agent_id}." if with_agent else ""
    outcome.changed += [prefix + name for name in (*patched.changed, *patched.removed)]
    for name in patched.added:
        outcome.note(f"the patch adds the field {name!r}, which {agent_id} does not have")
    if not patched.changed and not patched.removed:
        outcome.note(f"the patch changes nothing of {agent_id}")


# Recording a fork: a new session next to the original's, with one run in it.
#
# The session names its origin; its events are not copied to the mirrors.


class _ObservedSink:
    """Wraps a sink or a stream, and calls a function with each line that is written."""

    def __init__(self, inner: Any, observe: Callable[[bytes], None]) -> None:
        self._inner = inner
        self._observe = observe

    def open_stream(self, agent_id: str | None, category: str) -> Stream:
        """Open a stream of the sink, wrapped in the same way."""
        return _ObservedSink(self._inner.open_stream(agent_id, category), self._observe)

    def write(self, line: RedactedBytes) -> bool:
        """Write a line, then call the function with it."""
        written: bool = self._inner.write(line)
        self._observe(line)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _end(
    recorder: Recorder, pipeline: Pipeline, writer: SessionWriter, fork_id: str, outcome: ForkOutcome
) -> None:
    """End a fork's run, write the final states, and close the session; OSError if a part was not written."""
    failure = outcome.stopped or (str(outcome.errors[-1]) if outcome.errors else None)
    status = "partial" if outcome.stopped else None
    recorder.finish_run(failure is None, failure, status=status, run_id=fork_id)
    emit_last_states(pipeline)
    pipeline.close()
    # Recording only counts failures.
    names = [reason.partition(":")[2] for reason in writer.counters()]
    code = next((getattr(errno, name) for name in names if hasattr(errno, name)), None)
    if code is not None and pipeline.health.dropped:
        raise OSError(code, os.strerror(code))
    update_session(writer.session, ended_at=format_timestamp(time.time_ns() // 1000))
    write_summary(writer.session)


def _unwritten(what: str, path: Path, error: OSError) -> InputError:
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    remedy = "free disk space" if is_full else "copy the trace root to a writable place"
    return InputError(f"{what}: {error.strerror or error}", path=path, remedy=remedy)


def _lineage(request: dict[str, Any], fork: Fork) -> Lineage:
    """Return the fork's origin, as stored in its session."""
    names = ("run", "session_id", "session_uid", "step", "patch", "seed")
    return Lineage(
        **{name: request[name] for name in names},
        run_id=request["fork_id"],
        agents=tuple(sorted(fork.bench.objects)),
        by_itself=fork.resume is not None,
        from_event=None if fork.first is None else fork.first.id,
        from_timestamp=None if fork.first is None else fork.first.timestamp,
        relation=RESUMED if request["patch"] is None and request["seed"] is None else FORKED,
    )


def record_fork(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `forking.py`; the entry point of the worker process."""
    fork = Fork(request, reports_progress=True)
    fork.bring()
    bench, outcome = fork.bench, fork.outcome
    info, lineage = bench.recording.info, _lineage(request, fork)
    turn_recording_away(bench.directory)()
    writer, pipeline = new_session(
        Path(request["root"]),
        lineage,
        {} if info is None else dict(info.configuration),
        dict.fromkeys([*outcome.agents, "*"], request["target"]),
        fork.observe if fork.point.effect is not None else None,
    )
    turn_recording_away(bench.directory)
    recorder, fork_id = Recorder(), request["fork_id"]
    alone = outcome.agents[0] if len(outcome.agents) == 1 else None
    labels = {lineage.relation: f"{lineage.run} at {lineage.step}"}
    what, path = "its temporary files could not be written", bench.directory
    try:
        fork.go_on(
            pipeline,
            request["patch"],
            request["seed"],
            lambda _player: recorder.start_run(alone, labels, run_id=fork_id),
        )
        what, path = "its session could not be written", writer.session
        _end(recorder, pipeline, writer, fork_id, outcome)
    except (AgentTraceError, OSError) as error:
        pipeline.close()
        shutil.rmtree(writer.session)
        if isinstance(error, OSError):
            raise _unwritten(what, path, error) from error
        raise
    return {"session": str(writer.session), "outcome": outcome.to_object()}


def new_session(
    root: Path,
    lineage: Lineage,
    configuration: dict[str, Any],
    targets: dict[str, str],
    observe: Callable[[bytes], None] | None = None,
) -> tuple[SessionWriter, Pipeline]:
    """Create the session of a fork; return its writer, and the pipeline that records in it.

    Args:
        root: the trace root.
        lineage: the fork's origin.
        configuration: the original's settings that affect the recording.
        targets: the targets that can replay the fork, by agent.
        observe: called with each line, if given.

    Raises:
        InputError: the root is not writable.
    """
    redactor = Redactor(os.urandom(32), enabled=bool(configuration.get("redact", True)))
    info = SessionInfo.begun_now(
        argv=("agent-trace", "fork" if lineage.relation == FORKED else "resume"),
        configuration=configuration,
        targets=targets,
        other={lineage.relation: redactor.object(lineage.to_object())},
    )
    info = replace(info, target_signatures=sign_targets(info.session_uid, targets))
    try:
        session = create_session(root, info)
    except OSError as error:
        raise _unwritten("no session can be made there", root, error) from error
    writer = SessionWriter(session)
    sink: Any = None if observe is None else _ObservedSink(writer, observe)
    options = options_of_replay(configuration.get("state"), gone_states=True)
    pipeline = record_session(session, writer, redactor, options, sink=sink)
    pipeline.announce(writer, writer.durability)
    return writer, pipeline
