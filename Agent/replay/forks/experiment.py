"""One experiment: a fork that replays up to an event, and continues with or without it.

The worker process reads the run once, and forks itself for every event to test. Each fork replays up to the
action that contains the event, and forks itself there for every variant. Nothing is recorded.

The *moment* is the point at which the tested event happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.errors import EventNotFound, ReplayError
from Agent.event.codec import decode_line
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.pointers import escape
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.recorded_calls import CALL_KINDS
from Agent.record.emit.context import Response, TracedCall, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.state.introspection import read_state
from Agent.record.tracing.failures import Unanswerable
from Agent.replay.compare.comparison import Recorded, in_payload
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.drive.states import put_back, remove_fields
from Agent.replay.forks.fork import Fork, acting_in
from Agent.replay.forks.fork_point import ForkPoint, ForkTrigger
from Agent.replay.forks.interventions import (
    COUNT,
    GONE,
    DroppedMessage,
    Intervention,
    Measure,
    MetricTally,
    PlannedPlace,
    fields_undone,
    interventions_at,
    place_of,
    recorded_outcome,
    recorded_value,
    same_message,
    without_message,
)
from Agent.replay.forks.outcome import OutcomeOf
from Agent.replay.forks.player import ForkPlayer, seed_generators
from Agent.replay.forks.unrecorded import fork_each, raise_first, silenced
from Agent.replay.plan.actions import DrivenAction, Plan
from Agent.replay.plan.recording import method_name
from Agent.replay.worker.fork_server import Forks
from Agent.replay.worker.jobs import as_object
from Agent.replay.worker.workbench import turn_recording_away

MIN_SEEDS = 5
CLEAR_SEEDS = 8
"""The number of seeds after which no more are tried if the values with and without the event do not overlap.
By chance that happens once in 6,435 experiments: in 2 of the 12,870 ways to divide 16 values into halves."""
PATIENCE_S = 30.0
"""The time for all seeds of one event; slow forks get fewer seeds, but at least MIN_SEEDS."""


class ExperimentVariant(NamedTuple):
    """One fork of an experiment: the intervention at the moment, and the random seed from there on."""

    intervention: Intervention | None
    seed: int | None


class Suspicion(NamedTuple):
    """An event that may be the cause."""

    event_id: str | None
    """None for the beginning of the run, where only the seed is varied."""
    rule: str
    """The rule by which it is suspected."""
    suspects: Collection[str]
    """The ids of events whose values are not ordinary."""


class Experiment:
    """Replays a run up to the moment, applies an intervention there, and measures the rest.

    It observes the calls and the log lines of its fork: it detects the moment, carries out the intervention,
    and counts the events that follow.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.measure = Measure(**request["measure"])
        self.tally = MetricTally(self.measure)
        shows = OutcomeOf.parse(self.measure.outcome or "error").concerns
        self.fork = Fork(request, self._point, shows=shows)
        self.place: PlannedPlace | None = None
        """The place of the moment; None for the beginning of the run."""
        self._suspicion = Suspicion(None, "", ())
        self._variant = ExperimentVariant(None, None)
        self._is_reached = self._is_counting = False
        self._is_in_action = True
        """Whether the action that contains the moment was entered, so that calls inside it are counted."""
        self._calls_before = 0
        """How many matching calls are still expected before the moment."""
        self._open: TracedCall | None = None
        """The call that is the moment, while its body runs."""
        self._trigger: ForkTrigger | None = None
        """Detects the moment if it is the sending of a message."""
        self._dropping: DroppedMessage | None = None
        self._is_too_late = False
        """Whether the message to drop was received already."""

    @property
    def _live(self) -> frozenset[str]:
        """The agents whose code runs."""
        return frozenset(self.fork.bench.objects)

    def _point(self, plan: Plan) -> ForkPoint:
        if self._suspicion.event_id is None:
            return ForkPoint("the beginning", 0)
        event = self._event(self._suspicion.event_id)
        self.place = place_of(event, plan, self._live)
        if self.place is None:
            raise ReplayError(f"{event.message or event.kind} ({event.id}) is outside the replayable part")
        self._calls_before = self.place.ordinal
        return ForkPoint(f"the action that holds event {event.id}", self.place.index)

    def _event(self, event_id: str) -> Event:
        """Return an event of the recording, or else of the session's files, which hold other agents' too."""
        recording = self.fork.bench.recording
        event = next((each for each in recording.events if each.id == event_id), None)
        if event is None:
            events = open_reader(recording.session).events()
            event = next((each for each in events if each.id == event_id), None)
        if event is None:
            raise EventNotFound(f"the session has no event {event_id!r}", path=recording.session)
        return event

    def import_target(self) -> None:
        """Import the target's module once for all forks; each fork reports an import error itself."""
        bench = self.fork.bench
        turn_recording_away(bench.directory)
        bench.install()
        with contextlib.suppress(Exception):  # each fork imports it again, and reports the error there
            importlib.import_module(str(bench.request["target"]).partition(":")[0])

    def bring_to(self, suspicion: Suspicion) -> None:
        """Replay up to the action that contains the moment."""
        self._suspicion = suspicion
        self.fork.bring()
        if self.measure.agents and not self._live & {*self.measure.agents}:
            raise ReplayError(f"the target builds no object that runs the code of {self.measure.agents[0]}")
        self._refuse_entries(self.fork.plan)
        bench = self.fork.bench
        self._calls = bench.answers(bench.pipeline).calls_among(self.fork.own_events())

    def _refuse_entries(self, plan: Plan) -> None:
        """Refuse to count entry actions: the replay calls them as often as recorded, whatever the variant."""
        for action in plan.actions:
            name = f"action:{action.event.extra.get('action_type')}"
            if name in self.measure.series and self.measure.is_of(action.agent_id):
                raise ReplayError(
                    f"{action.call.name} of {action.agent_id} is called by code that is not replayed, so "
                    "it happens as often in any fork",
                    remedy="give a target that builds the whole run",
                )

    def interventions(self) -> list[Intervention]:
        """Return the possible interventions at the moment; none of them sets the measured field."""
        if self.place is None:
            return []
        _, rule, suspects = self._suspicion
        ways = interventions_at(self.place, self.fork.bench.recording, rule, suspects, self._live)
        if not self.measure.outcome:
            return ways
        event, measured = self.place.event, OutcomeOf.parse(self.measure.outcome)
        # A setting from outside is put back on every agent that has it.
        agents = self._live if self.place.sort == "between" else [event.agent_id]
        undone = dict.fromkeys(fields_undone(event))
        if any(measured.is_set_by({name: value}, each) for name, value in undone.items() for each in agents):
            return [way for way in ways if way.sort != "undo"]
        return ways

    def recorded(self) -> Any:
        """Measure the recording after the moment; None if the recording does not contain the value."""
        events = self.fork.own_events()
        first = self.fork.first
        if self.measure.outcome:
            return recorded_outcome(self.measure, events, sorted(self.fork.bench.given))
        if self.place is not None:
            moment = order_key(self.place.event)
            events = [event for event in events if order_key(event) > moment]
        elif first is not None:
            moment = order_key(first)
            events = [event for event in events if order_key(event) >= moment]
        return recorded_value(self.measure, events, self._live)

    def expected(self) -> float | None:
        """Return the measure that the rest of the recording would have if it went on as before the moment.

        A count goes on at its rate by tick, or by second without ticks; a mean reward and a number stay what
        they were; a condition is expected to be the opposite of what was recorded. None where nothing
        precedes the moment, or the value is no number.
        """
        events = self.fork.own_events()
        if self.place is None or not events:
            return None
        moment = order_key(self.place.event)
        before = [event for event in events if order_key(event) < moment]
        if self.measure.outcome:
            is_condition = bool(OutcomeOf.parse(self.measure.outcome).sign)
            value = recorded_outcome(
                self.measure, events if is_condition else before, sorted(self.fork.bench.given)
            )
            if is_condition:
                return None if value is None else float(not value)
        else:
            value = recorded_value(self.measure, before, self._live)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if self.measure.sort != COUNT:
            return float(value)
        moment_event = self.place.event
        if moment_event.tick is not None:
            times = [float(each.tick) for each in events if each.tick is not None]
            at = float(moment_event.tick)
        else:
            times, at = [float(each.timestamp_us) for each in events], float(moment_event.timestamp_us)
        first, last = min(times), max(times)
        return float(value) * (last - at) / (at - first) if at > first else None

    def gap(self) -> str | None:
        """Return that nothing recorded carries a change to what is measured; None if something may.

        Actions that the replay calls itself get their recorded arguments, whatever the variant.
        """
        changed = None if self.place is None else self.place.event.agent_id
        agents = self.fork.bench.recording.agents
        measured = {*self.measure.agents}
        if self.measure.outcome:
            concerns = OutcomeOf.parse(self.measure.outcome).concerns
            measured = {agent_id for agent_id in agents if concerns(agent_id, ())}
        if (
            changed is None
            or not measured
            or not measured <= {each.agent_id for each in self.fork.plan.actions}
        ):
            return None
        shared = {
            agent_id: {other for others in facts.shared_objects.values() for other in others}
            for agent_id, facts in agents.items()
        }
        if not measured.isdisjoint(_reached_from(changed, self.fork.own_events(), shared)):
            return None
        others = ", ".join(sorted(measured))
        return f"not testable: nothing recorded carries the change from {changed} to {others}"

    def carry_out(self, variant: ExperimentVariant, pipeline: Pipeline) -> Any:
        """Continue from the moment with one variant, and return the measured value.

        Args:
            variant: the intervention and the seed.
            pipeline: receives the fork's events, and passes each line to `observe`.
        """
        self._variant, self._pipeline = variant, pipeline
        self.fork.go_on(pipeline, begin=self._observe, call=self._call)
        outcome, dropping = self.fork.outcome, self._dropping
        if outcome.stopped is None and not self._is_reached:
            outcome.stopped = "the moment was not reached again"
        elif outcome.stopped is None and dropping is not None and not dropping.is_gone:
            outcome.stopped = "the message was passed on in a way that cannot be intercepted"
        if outcome.stopped is None and self._is_too_late:
            outcome.stopped = "the message was received before it could be dropped"
        if pipeline.health.dropped:
            outcome.stopped = f"what it did could not be counted: {', '.join(pipeline.health.dropped)}"
        return self.tally.value(outcome)

    # observing the fork

    def _observe(self, player: ForkPlayer) -> None:
        self._player = player
        player.observer = self
        if self.place is None:
            self._begin()
            self._end()
        elif self.place.sort == "sending" and self._variant.intervention is not None:
            self._dropping = DroppedMessage("")

    def entered(self, call: TracedCall, answer: Callable[[TracedCall], Response | None]) -> Response | None:
        """Return a call's recorded response or, at the moment, the intervention's; None to run the body."""
        self._look_for_message()
        is_here = self._is_here(call)
        recorded = answer(call)
        if not is_here:
            if recorded is not None and self._is_counting:
                self._count(call, recorded)
            return recorded
        self._begin()
        other = self._instead(call) or recorded
        if other is None:
            self._open = call
            return None
        self._player.close_call(call)  # the player may have opened it as a call whose body runs
        self._end()
        return other

    def left(self, call: TracedCall) -> None:
        """Handle the end of a call's body: end the moment if it was this call."""
        if call is self._open:
            self._open = None
            self._end()
        self._look_for_message()

    def observe(self, line: bytes) -> None:
        """Count a log line if it is after the moment, and detect messages that are sent."""
        event = decode_line(line)
        if self._is_counting:
            self.tally.see(event)
        awaited = None if self._is_reached else self._trigger
        if awaited is not None:
            awaited.observe(line)  # calls `_begin` if this line is the moment
        if awaited is not None and awaited.has_acted:
            self._end()
            if self._dropping is not None:
                self._dropping = DroppedMessage(str(event.extra.get("message_id")))
        elif self._dropping is not None and event.extra.get("message_id") == self._dropping.message_id:
            self._is_too_late |= event.extra.get("direction") == "received"

    def _is_here(self, call: TracedCall) -> bool:
        """Whether a starting call is the moment; counts matching calls."""
        place = self.place
        if self._is_reached or place is None or place.sort not in {"call", "tool"}:
            return False
        if not self._is_in_action:
            self._is_in_action = call.kind in ACTION_KINDS  # the first entered call is the action itself
            return False
        if place.sort == "tool":
            key = CALL_KINDS[place.event.kind]
            fits = call.kind == place.event.kind and call.action_type == place.event.extra.get(key)
        else:
            own = (place.event.agent_id, method_name(place.event))
            fits = call.kind in ACTION_KINDS and (call.agent_id, call.qualname.rpartition(".")[2]) == own
        self._calls_before -= fits
        return fits and self._calls_before < 0

    def _count(self, call: TracedCall, answer: Response) -> None:
        """Count a call that got a response without running."""
        scope = current_scope.get()
        asker = scope.agent.agent_id if scope is not None and scope.agent is not None else None
        if call.kind == "model.call":
            series, agent_id = "model.call", asker
        elif call.kind in CALL_KINDS:
            series, agent_id = f"tool:{call.action_type}", asker
        else:
            series, agent_id = f"action:{call.action_type}", call.agent_id
        self.tally.see_answer(series, agent_id, failed=answer.error is not None)

    def _look_for_message(self) -> None:
        """Remove the message to drop from any container that holds it by now."""
        if self._dropping is not None:
            self._dropping.take_away()

    # at the moment

    def _begin(self) -> None:
        """Begin the moment: seed the random generators, with and without an intervention."""
        self._is_reached = True
        seed = self._variant.seed
        if seed is not None and not seed_generators(self._agents_now(), seed):
            self.fork.outcome.note("no agent exposes a generator: only those of modules were seeded")

    def _end(self) -> None:
        """End the moment: undo its changes if requested, and start counting."""
        chosen, place = self._variant.intervention, self.place
        if chosen is not None and place is not None and chosen.sort == "undo":
            if place.sort == "between":
                self._set_back(place.event)
            else:
                self._undo(place.event)
        self._is_counting = True

    def _agents_now(self) -> dict[str, object]:
        return {**self.fork.everybody(), **acting_in(self._pipeline)}

    def _instead(self, call: TracedCall) -> Response | None:
        chosen = self._variant.intervention
        if chosen is None or chosen.sort == "undo":
            return None
        if chosen.sort == "left_out":
            return Response(None)
        if chosen.sort == "drop":
            assert self.place is not None  # noqa: S101 - the moment has begun, so it has a place
            recorded = self.place.event.extra.get("args")
            new_id = same_message(recorded, dict(call.args), str(chosen.message_id))
            kept = {name: without_message(value, new_id) for name, value in call.args.items()}
            if any(value is GONE for value in kept.values()):
                return Response(None)
            return self._called_with(call, kept)
        event = chosen.ordinary
        assert event is not None  # noqa: S101 - both kinds have it
        if chosen.sort == "answer":
            return self._answer_of(event)
        restored = self.fork.bench.decoder.restore(in_payload(event, "args"))
        if restored.unrestored:
            self._player.stop(f"the arguments of event {event.id} cannot be restored")
        return self._called_with(call, restored.value)

    def _called_with(self, call: TracedCall, args: Mapping[str, Any]) -> Response:
        """Call the entered function with other arguments, and return its result or error."""
        method = getattr(call.target, call.qualname.rpartition(".")[2], None)
        if method is None or inspect.iscoroutinefunction(inspect.unwrap(method)) or call.is_generator:
            self._player.stop(
                f"{call.qualname} is not a plain method, so it cannot be called with other arguments"
            )
        try:
            return Response(method(**args))
        except ReplayStopped:
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets it, as without the experiment
            return Response(error=error)

    def _answer_of(self, event: Event) -> Response:
        if event.kind in CALL_KINDS:
            call = next(each for each in self._calls.calls if each.event.id == event.id)
            return self._calls.answer(call)
        try:
            return self.fork.bench.answers(self._pipeline).answer(event)[0]
        except Unanswerable as error:
            self._player.stop(f"the response of event {event.id} cannot be restored: {error}")

    def _undo(self, event: Event) -> None:
        """Restore the fields that an action changed in its agent to their values before the action."""
        own = (e for e in self.fork.own_events() if e.agent_id == event.agent_id and e.id != event.id)
        moment = order_key(event)
        fold = fold_events(StateFold(), (each for each in own if order_key(each) < moment))
        state = event.state or {}
        names = [*(state.get("set") or {}), *(state.get("unset") or [])]
        obj = self._agents_now().get(str(event.agent_id))
        if obj is None:
            self._player.stop(f"{event.agent_id} has no object whose state could be restored")
        values, types = {}, fold.types()
        for name in names:
            if name not in fold.fields:
                continue
            restored = self.fork.bench.decoder.restore(Recorded(fold.fields[name], types, f"/{escape(name)}"))
            if restored.unrestored:
                self._player.stop(f"{name} of {event.agent_id} cannot be restored: {restored.unrestored[0]}")
            values[name] = restored.value
        put_back(obj, values)
        remove_fields(obj, [name for name in names if name not in fold.fields])

    def _set_back(self, event: Event) -> None:
        """Restore fields that the program changed between two actions, on every agent that has them."""
        extra = event.extra
        own = extra.get("old_state")
        old_values = own if isinstance(own, dict) else {str(extra.get("name")): extra.get("old_value")}
        count = 0
        for obj in self._agents_now().values():
            exposed = read_state(obj).fields
            values = {name: value for name, value in old_values.items() if name in exposed}
            if values:
                put_back(obj, values)
                count += 1
        if not count:
            self._player.stop(f"no agent whose code runs has a field {', '.join(old_values)}")

    # calling

    def _call(self, number: int, action: DrivenAction) -> Exception | None:
        """Call an action; the first one contains the moment."""
        error = self._call_first(action) if not number else self.fork.driver.go_on(action, None)
        self._look_for_message()
        return error

    def _call_first(self, action: DrivenAction) -> Exception | None:
        place, driver = self.place, self.fork.driver
        if place is None:
            return driver.go_on(action, None)
        if place.sort == "action":
            return self._call_moment(action)
        if place.sort == "between":
            self._begin()
            self._end()
        elif place.sort == "sending":
            self._trigger = ForkTrigger(place.event, action.effects, self._begin)
        else:
            self._is_in_action = False
        return driver.go_on(action, None)

    def _call_moment(self, action: DrivenAction) -> Exception | None:
        """Call the action that is itself the moment, as the intervention requires."""
        driver, chosen = self.fork.driver, self._variant.intervention
        sort = None if chosen is None else chosen.sort
        self._begin()
        error = None
        if chosen is not None and chosen.ordinary is not None and sort == "arguments":
            call = dataclasses.replace(action.call, event=with_args_of(action.event, chosen.ordinary))
            action = dataclasses.replace(action, call=call)
        if sort != "left_out":
            method, args, kwargs = driver.prepared(action)
            if chosen is not None and sort == "drop":
                message_id = str(chosen.message_id)
                args = [without_message(value, message_id) for value in args]
                kwargs = {name: without_message(value, message_id) for name, value in kwargs.items()}
            if not any(value is GONE for value in (*args, *kwargs.values())):
                error = driver.go_on(action, None, (method, args, kwargs))
        self._end()
        return error


_BOTH_WAYS = ("source_id", "target_id")
"""Fields of an interaction that name its agents."""


def _reached_from(agent_id: str, events: Iterable[Event], shared: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the agents that a change in an agent may reach by what is recorded.

    Args:
        agent_id: the agent that changes.
        events: the events of the run.
        shared: the agents with which each agent shares objects; generators of random numbers carry no change.
    """
    events = list(events)
    by_id = {event.id: event.agent_id for event in events}
    by_span = {event.span_id: event.agent_id for event in events if event.span_id is not None}
    onward: dict[Any, set[Any]] = defaultdict(set)

    def link(one: Any, other: Any, *, both: bool = True) -> None:
        onward[one].add(other)
        if both:
            onward[other].add(one)

    for event in events:
        if event.kind == "agent_message":
            link(event.extra.get("sender"), event.extra.get("recipient"), both=False)
        for name in _BOTH_WAYS:
            if isinstance(other := event.extra.get(name), str):
                link(event.agent_id, other)
        if event.parent_span_id in by_span:
            link(event.agent_id, by_span[event.parent_span_id])
        for cause in event.causes:
            if cause in by_id:
                link(by_id[cause], event.agent_id, both=False)
    for one, others in shared.items():
        for other in others:
            link(one, other)
    reached, ahead = {agent_id}, [agent_id]
    while ahead:
        found = onward[ahead.pop()] - reached - {None}
        reached |= found
        ahead += found
    return reached


def with_args_of(event: Event, other: Event) -> Event:
    """Return a recorded call with the arguments of another one."""
    types = {at: tag for at, tag in (event.types or {}).items() if not at.startswith("/extra/args")}
    types |= {at: tag for at, tag in (other.types or {}).items() if at.startswith("/extra/args")}
    return dataclasses.replace(event, extra={**event.extra, "args": other.extra["args"]}, types=types)


def _tried(experiment: Experiment, suspicion: Suspicion, request: dict[str, Any]) -> dict[str, Any]:
    """Test one event with all its interventions and seeds; runs in a forked process."""
    experiment.bring_to(suspicion)
    forks = Forks(experiment.fork.bench.directory, request["workers"], reports_progress=False)
    pipeline = experiment.fork.unrecorded(experiment.observe)

    def try_all(variants: Sequence[ExperimentVariant]) -> list[dict[str, Any]]:
        tasks = [partial(experiment.carry_out, each, pipeline) for each in variants]
        return raise_first(fork_each(experiment.fork, forks, tasks))

    recorded = experiment.recorded()
    ways = experiment.interventions()
    gap = experiment.gap() if ways else None
    forked = ways[:1] if gap is not None else ways
    baseline, *first = try_all([ExperimentVariant(each, None) for each in (None, *forked)])
    if gap is not None and first[0]["value"] != baseline["value"]:
        gap, forked = None, ways  # something that was not recorded carries it
        first += try_all([ExperimentVariant(each, None) for each in ways[1:]])
    is_same = recorded is None or _is_equal(baseline["value"], recorded)
    result: dict[str, Any] = {
        "baseline": baseline,
        "recorded": recorded,
        "expected": experiment.expected(),
        "is_same": is_same,  # whether the unchanged fork reproduced the recorded value
        "tried": [
            {"description": way.description, "fork": fork} for way, fork in zip(forked, first, strict=True)
        ],
        "gap": gap,  # why no change can reach what is measured
        "chosen": None,  # the index of the intervention that was tried with other seeds as well
        "with_it": [],
        "without_it": [],
    }
    if not is_same or baseline["stopped"] is not None or baseline["value"] is None:
        return result
    if suspicion.event_id is None:
        return result | {"with_it": try_all([ExperimentVariant(None, seed) for seed in request["seeds"]])}
    if not ways or gap is not None:
        return result
    chosen = _clearest(baseline, first, request["worse"])
    seeds = request["seeds"][: _affordable(request, baseline)]
    if first[chosen]["value"] == baseline["value"]:
        seeds = seeds[:MIN_SEEDS]  # no effect with the recorded seed: save the time of the other seeds
    with_it: list[dict[str, Any]] = []
    without_it: list[dict[str, Any]] = []
    for some in (seeds[:CLEAR_SEEDS], seeds[CLEAR_SEEDS:]):
        tried = try_all([ExperimentVariant(each, seed) for each in (None, ways[chosen]) for seed in some])
        with_it += tried[: len(some)]
        without_it += tried[len(some) :]
        if _is_clear(with_it, without_it):
            break
    return result | {"chosen": chosen, "with_it": with_it, "without_it": without_it}


def _is_clear(with_it: Sequence[dict[str, Any]], without_it: Sequence[dict[str, Any]]) -> bool:
    """Return whether every fork with the event is on one side of every fork without it."""
    one, other = ([each["value"] for each in forks] for forks in (with_it, without_it))
    if not all(isinstance(value, (bool, int, float)) for value in (*one, *other)):
        return False
    return bool(max(one) < min(other) or max(other) < min(one))


def _clearest(baseline: dict[str, Any], first: list[dict[str, Any]], worse: int) -> int:
    """Return the index of the intervention with the largest improvement under the recorded seed, else 0.

    Its effect is then measured with other seeds, since on this seed the best of several is biased.
    """

    def gain(fork: dict[str, Any]) -> float:
        value = fork["value"]
        if fork["stopped"] is not None or not isinstance(value, (int, float)) or fork["errors"]:
            return -math.inf
        change = float(baseline["value"]) - float(value)
        return change * worse if worse else abs(change)

    if not isinstance(baseline["value"], (bool, int, float)):
        return 0
    return max(range(len(first)), key=lambda index: (gain(first[index]), -index))


def _affordable(request: dict[str, Any], baseline: dict[str, Any]) -> int:
    """Return how many seeds, each with and without the event, fit into PATIENCE_S; at least MIN_SEEDS."""
    each_s = 2 * max(baseline["seconds"], 1e-3) / request["workers"]
    return max(MIN_SEEDS, int(PATIENCE_S / each_s))


def try_events(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `CauseExperiments`; the entry point of the worker process."""
    began = time.monotonic()
    experiment = Experiment(request)
    experiment.import_target()
    suspicions = [Suspicion(**each) for each in request["events"]]
    forks = Forks(experiment.fork.bench.directory, 1, reports_progress=True)
    with silenced():
        results = forks.run([partial(_tried, experiment, each, request) for each in suspicions])
    died = {"error": as_object(ReplayError("its process died"))}
    return {"results": [each or died for each in results], "seconds": time.monotonic() - began}


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
