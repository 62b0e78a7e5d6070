"""A fork in the process that carries it out: what the target gives is brought to the point, and goes on.

`child.py` does so once and records it, `sweep_child.py` with many changes at one point.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from Agent.errors import ReplayError
from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.flight.calls.call_site import OPEN_PLAYERS
from Agent.flight.matching.recorded_calls import Decoding, calls_among
from Agent.flight.runs.reading import RunRef
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.memory_sink import LineSink
from Agent.record.emit.pipeline import Pipeline, RecordOptions
from Agent.record.emit.player import current_player
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.drive.agent_stubs import Spec
from Agent.replay.drive.recorded_results import AnswerBook
from Agent.replay.drive.states import put_back
from Agent.replay.forks.drive import (
    ForkDriver,
    ForkTrigger,
    patch_objects,
    raised,
    resume_of,
    seed_generators,
)
from Agent.replay.forks.fork_point import ForkPoint, find_point, first_event, start_for, with_state
from Agent.replay.forks.hidden import hidden_generator
from Agent.replay.forks.outcome import ForkOutcome
from Agent.replay.forks.patches import Patch
from Agent.replay.forks.peer_events import Echo
from Agent.replay.forks.player import ForkAnswers, ForkPlayer, answerable
from Agent.replay.forks.sources import ForkSources
from Agent.replay.forks.states import acting_in, state_of, tell_states, trackers
from Agent.replay.judging.verdict import judge
from Agent.replay.plan.actions import Plan, make_plan
from Agent.replay.plan.recording import is_traced_action
from Agent.replay.plan.target import TargetFailed, objects_in
from Agent.replay.worker.child import Redrive, turn_recording_away
from Agent.replay.worker.progress import tell


@dataclass(slots=True)
class Brought:
    """Everything at the point, ready to be changed and to go on."""

    plan: Plan
    point: ForkPoint
    driver: ForkDriver
    first: Event | None
    """The first event of the original that the fork has a counterpart of."""
    resume: Callable[[], Any] | None
    answers: ForkAnswers | None = None
    """What the record answers from there on, where that was read already."""
    sources: ForkSources | None = None
    """What gives clocks and chance from there on, likewise."""


class Fork(Redrive):
    """One fork, from the request to the outcome."""

    driver_kind: type[ForkDriver] = ForkDriver
    player_kind: type[ForkPlayer] = ForkPlayer

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(request)
        self._run_ids = frozenset(request["run_ids"])
        self._ref = RunRef(self._recording.session, request["run_id"])
        self._step: str = request["step"]
        self._live: bool | list[str] = request["live"]
        if self._run_ids and self._agent_id is None:
            self._agent_id = self._agent_of_run()
        self.fork = ForkOutcome()
        self.is_telling = True
        """Whether who waits is told how far it is; of many forks only all of them are."""
        self._directory = Path(request["outcome_path"]).parent
        self.shows: Callable[[str, list[str]], bool] = lambda _agent, _given: True
        """Which agents' states the outcome holds, given the agent and those with an object."""

    def bring(self) -> Brought:
        """Bring everything to the point.

        Raises:
            AgentTraceError: there is no such point, or it cannot be reached; the text says why.
        """
        self.turn_away()
        self._install()
        try:
            self._build()
        except TargetFailed as error:
            raise ReplayError(str(error)) from error
        given = [name for name, obj in self._objects.items() if obj is not None]
        plan = make_plan(self._recording, frozenset(given), frozenset(self._objects))
        if self._run_ids:
            own = {event.id for event in self._entries()}
            plan.actions = [action for action in plan.actions if action.event.id in own]
        point = self._point(plan)
        self.fork.agents = sorted(given)
        self.fork.point = point.what
        resume = resume_of(self._objects[given[0]]) if len(given) == 1 else None
        if resume is not None and point.state is not None:
            return self._brought_by_state(plan, point, given[0], resume)
        if not plan.actions:
            raise ReplayError(
                "this run has no recorded action that can be replayed, and the target's object has no "
                "trace_resume()",
                remedy="trace the agent's methods, or give its class trace_restore(state) and trace_resume()",
            )
        return self._brought_by_actions(plan, point, given, resume)

    def _point(self, plan: Plan) -> ForkPoint:
        """Where it goes on."""
        return find_point(self._step, plan, self._recording, self._ref)

    def _brought_by_state(
        self, plan: Plan, point: ForkPoint, agent_id: str, resume: Callable[[], Any]
    ) -> Brought:
        assert point.state is not None  # noqa: S101 - the caller looked
        restored = self._decoder.restore(Recorded(point.state.fields, point.state.types, ""))
        if restored.unrestored:
            raise ReplayError(f"the state at {point.what} cannot be restored: {restored.unrestored[0]}")
        if not isinstance(restored.value, dict):
            raise ReplayError(
                f"the state at {point.what} is not a mapping of names, so no object can take it"
            )
        driver = self._driver_for(plan, self.driver_kind)
        put_back(self._objects[agent_id], restored.value)
        self.fork.start = point.what
        self.fork.remaining = len(plan.actions) - point.index
        later = (event for event in self._own_events() if point.is_behind(event))
        return Brought(plan, point, driver, next(later, None), resume)

    def _brought_by_actions(
        self, plan: Plan, point: ForkPoint, given: list[str], resume: Callable[[], Any] | None
    ) -> Brought:
        recording = self._recording
        objects = {name: self._objects[name] for name in given}
        is_alone = objects.keys() == self._objects.keys()
        hidden = hidden_generator(objects, first_event(point, plan), recording, self._watch.seeded)
        start = start_for(point, plan, recording, self._ref, objects, is_alone=is_alone, hidden=hidden)
        if hidden is not None and start.begin:
            self.fork.note(f"{hidden} starts over: no checkpoint holds its state")
        for agent_id, state in start.states.items():
            recording.agents[agent_id] = with_state(recording.agents[agent_id], state)
        driver = self._driver_for(plan, self.driver_kind)
        prefix = plan.actions[start.begin : point.index]
        self.fork.start, self.fork.redriven = start.what, len(prefix)
        self.fork.remaining = len(plan.actions) - point.index
        if not driver.bring_to(prefix, self.tell_progress):
            reasons = judge(self.outcome)[1] or [str(self.outcome.divergence)]
            raise ReplayError(
                f"{point.what} cannot be reached: replaying the actions before it failed: {reasons[0]}",
                remedy="fork from a checkpoint, or with the code that was recorded",
            )
        for read in self.outcome.sources:
            self.fork.note(f"before the point: {read}, which is not recorded")
        for doubt in self.outcome.doubts[:3]:
            self.fork.note(doubt)
        keeps_on = resume if point.effect is None else None
        return Brought(plan, point, driver, first_event(point, plan), keeps_on)

    def tell_progress(self) -> None:
        """Let whoever waits know how many of the actions are done, those before the point among them."""
        if self.is_telling:
            done = self.outcome.counts.driven + self.fork.steps
            tell(self._directory, done, self.fork.redriven + self.fork.remaining)

    def pipeline_into(self, sink: LineSink) -> Pipeline:
        """A pipeline for forks without a record: first states, which nobody would read, count as written."""
        strict = self._recording.configuration("state", default="exit") == "strict"
        options = RecordOptions(strict_state=strict, entry_looks=0, probes=0, gone_states=False)
        redactor = Redactor(os.urandom(32))
        pipeline = Pipeline(sink, session_id="swept", redactor=redactor, options=options)
        for tracker, _, obj in trackers(pipeline, self._everybody(), self._recording.agents):
            tracker.full(obj)
        return pipeline

    def _everybody(self) -> dict[str, object]:
        """The agents that are known by now: those given, and those seen inside them."""
        nearby = {} if self._driver is None else self._driver.nearby
        return {**nearby, **{name: obj for name, obj in self._objects.items() if obj is not None}}

    def read_answers(self, brought: Brought) -> None:
        """Read what the record answers from the point on, once for many forks."""
        brought.answers, brought.sources = self._answers(brought), self._sources(brought)

    def turn_away(self) -> Callable[[], None]:
        """Keep what the target sets up out of the tree; what it gives ends that."""
        return turn_recording_away(self._directory)

    def go_on(
        self,
        brought: Brought,
        patch: Patch | None,
        seed: int | None,
        pipeline: Pipeline,
        trigger_of: Callable[[ForkTrigger], None],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Change what is to be changed and drive the rest; the outcome tells what came of it.

        Args:
            pipeline: records it.
            trigger_of: takes what is to hear each line, where the point lies inside an action.
            begin: begins the run in that pipeline.

        Raises:
            UsageError: the patch does not fit.
        """
        driver, point = brought.driver, brought.point
        install_pipeline(pipeline)
        answers = brought.answers or self._answers(brought)
        sources = brought.sources or self._sources(brought)
        player = self._fork_player(answers, pipeline)
        current_player.set(player if player.is_needed else None)
        OPEN_PLAYERS.append(player)
        driver.hand_over(player, pipeline, self.fork.changed)
        sources.go_on(player)
        player.left = sources.left
        installed.source_player = sources
        begin()
        change = self._change(pipeline, patch, seed)
        trigger = None
        if point.effect is None:
            change()
        else:
            effects = brought.plan.actions[point.index].effects
            trigger = ForkTrigger(point.effect, effects, change)
            trigger_of(trigger)
        if pipeline.artifacts is not None:
            before = Counter(action.agent_id for action in brought.plan.actions[: point.index])
            tell_states(pipeline, self._everybody(), self._recording.agents, before)
        self._watch.is_on = False
        if not answers.reads_sources:
            installed.open_reads = None
        self._watch.allows_network = bool(self._live)
        began, used = time.monotonic(), time.process_time()
        with contextlib.suppress(ReplayStopped):  # the outcome knows why
            self._drive_rest(brought, player)
        self.fork.seconds, self.fork.processor_seconds = time.monotonic() - began, time.process_time() - used
        driver.close()
        if trigger is not None:
            self._end_trigger(trigger)
        self._note_states(pipeline)

    def _sources(self, brought: Brought) -> ForkSources:
        """What gives clocks, chance and environment from the point on."""
        sources = ForkSources(self._recording, self._player_now(), self._watch, self._decoder, self.outcome)
        brought.driver.read_by(sources)
        rest, first = brought.plan.actions[brought.point.index :], brought.first
        wall_us = rest[0].call.began_us if rest and brought.resume is None else 0.0
        sources.begin_forks(
            first, wall_us or float((first or self._recording.events[-1]).timestamp_us), self.fork
        )
        return sources

    def _end_trigger(self, trigger: ForkTrigger) -> None:
        if trigger.error is not None:
            raise trigger.error
        if not trigger.has_acted and self.fork.stopped is None:
            self.fork.stopped = f"{self.fork.point} was not reached, so nothing was changed"

    def _drive_rest(self, brought: Brought, player: ForkPlayer) -> None:
        fork, driver = self.fork, brought.driver
        around = current_scope.get()
        rest = brought.plan.actions[brought.point.index :]
        if brought.resume is not None:
            agent_id = fork.agents[0]
            error = driver.resume(brought.resume)
            fork.note("the agent continued by its own trace_resume()")
            if error is not None:
                fork.errors.append(raised(error, None, agent_id, "trace_resume"))
            if player.is_stopped:
                raise ReplayStopped
            return
        if not rest:
            fork.note("the original has no action after the point, and the object has no trace_resume()")
        for action in rest:
            player.current = action.call
            error = driver.go_on(action, around)
            fork.steps += 1
            self.tell_progress()
            if player.is_stopped:
                raise ReplayStopped
            if error is not None:
                fork.errors.append(raised(error, action, action.agent_id, action.call.name))

    def _change(self, pipeline: Pipeline, patch: Patch | None, seed: int | None) -> Callable[[], None]:
        def change() -> None:
            objects = {name: obj for name, obj in self._objects.items() if obj is not None}
            everybody = {**self._everybody(), **acting_in(pipeline), **objects}
            if patch is not None:
                is_one = set(objects) == set(self._objects) and len(objects) == 1
                patch_objects(
                    objects if is_one else everybody, patch, self._decoder, self.fork, is_one=is_one
                )
            if seed is not None and not seed_generators(everybody, seed):
                self.fork.note("no agent exposes a generator: only module generators were seeded")

        return change

    def _answers(self, brought: Brought) -> ForkAnswers:
        """What the record answers from the point on."""
        own = frozenset(self._objects)
        first = None if brought.first is None else order_key(brought.first)
        events = [
            event
            for event in self._own_events()
            if event.agent_id is None or event.agent_id in own
            if event.kind == "artifact.saved" or (first is not None and order_key(event) >= first)
        ]
        errors = self._errors()
        decoding = Decoding(self._decoder.codecs, self._decoder.find_class, errors, self._decoder.scripts)
        rest = brought.plan.actions[brought.point.index :]
        return ForkAnswers(
            own,
            frozenset(self._recording.agents),
            answerable((call for action in rest for call in _within(action.call)), own),
            calls_among(events, RunRef(self._recording.session, None), decoding),
            errors,
            any("reads" in event.extra for event in self._recording.events),
            [action.call for action in rest],
        )

    def _fork_player(self, answers: ForkAnswers, pipeline: Pipeline) -> ForkPlayer:
        player = self.player_kind(
            answers,
            AnswerBook(self._decoder, answers.errors, pipeline.session_id),
            self._comparison,
            self.fork,
            live=self._live,
        )
        player.pipeline = pipeline
        if pipeline.artifacts is not None:
            player.echo = Echo(pipeline, answers.errors, self._recording.codes)
        self._peers.answer_by(lambda: player, player.refuse)
        return player

    def _note_states(self, pipeline: Pipeline) -> None:
        given = {name: obj for name, obj in self._objects.items() if obj is not None}
        for agent_id, obj in {**acting_in(pipeline), **given}.items():
            if self.shows(agent_id, list(given)):
                self.fork.states[agent_id] = state_of(obj, pipeline)

    def _entries(self) -> list[Event]:
        """The outermost actions that belong to the run: made in it, or around its beginning."""
        events = self._recording.events
        parents = {event.span_id: event.parent_span_id for event in events if event.span_id is not None}
        around = set()
        for event in events:
            if event.kind == "run.started" and event.run_id in self._run_ids:
                span_id = event.parent_span_id
                while span_id is not None and span_id not in around:
                    around.add(span_id)
                    span_id = parents.get(span_id)
        return [
            event
            for event in events
            if is_traced_action(event)
            and event.code is not None
            and (event.run_id in self._run_ids or event.span_id in around)
        ]

    def _agent_of_run(self) -> str | None:
        """Whose run it is: who acts in it with nothing above, or whom the recorder was told."""
        acting = {event.agent_id for event in self._entries() if event.extra.get("root") is True} - {None}
        if len(acting) == 1:
            return acting.pop()
        owner = self._request["owner"]
        return owner if owner in acting else None

    def _own_events(self) -> list[Event]:
        if not self._run_ids:
            return self._recording.events
        return [event for event in self._recording.events if event.run_id in self._run_ids]

    def _build(self) -> None:
        given = self._given()
        if any(facts.entries for facts in self._recording.agents.values()):
            self._objects = objects_in(given, self._agent_id, frozenset(self._recording.agents))
        else:
            # Nothing but steps and checkpoints: whoever continues from one need not be known by name.
            self._objects = {agent_id_of(given) or self._agent_id or "agent": given}
        self._install()

    def _spec(self) -> Spec:
        spec = super()._spec()
        state = self._request.get("state")
        return spec if state is None else replace(spec, state=state)


def _within(call: Any) -> list[Any]:
    found, waiting = [], list(call.children)
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += each.children
    return found
