"""One trial in the process that carries it out: up to the moment, and on from there with or without.

`child.py` forks itself where everything has been brought to the action that holds the moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Collection
from typing import Any, NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.errors import EventNotFound, ReplayError
from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.event.pointers import escape
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.matching.recorded_calls import CALL_KINDS, CallBook, Decoding, calls_among
from Agent.flight.runs.reading import RunRef
from Agent.record.emit.pipeline import Pipeline
from Agent.record.emit.player import Answer, TracedCall
from Agent.record.state.introspection import read_state
from Agent.record.tracing.error_restore import Unanswerable
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.drive.recorded_results import AnswerBook
from Agent.replay.drive.states import put_back, remove_fields
from Agent.replay.experiments.interventions import Intervention, interventions_at
from Agent.replay.experiments.locate import PlannedPlace, place_of
from Agent.replay.experiments.message_drop import GONE, DroppedMessage, same_message, without_message
from Agent.replay.experiments.metrics import Measure, MetricTally, recorded_outcome, recorded_value
from Agent.replay.experiments.player import CountingSink, InterventionMoment, TrialPlayer
from Agent.replay.forks.drive import ForkDriver, ForkTrigger, raised, seed_generators
from Agent.replay.forks.fork import Brought, Fork
from Agent.replay.forks.fork_point import ForkPoint
from Agent.replay.forks.player import ForkAnswers, ForkPlayer
from Agent.replay.forks.states import acting_in
from Agent.replay.plan.actions import DrivenAction, Plan, PlannedCall


class ExperimentVariant(NamedTuple):
    """One fork of a trial: what is done at the moment, and the seed of chance from there on."""

    intervention: Intervention | None
    seed: int | None


class Suspicion(NamedTuple):
    """An event that may have caused something."""

    event_id: str | None
    """None: nothing but the beginning, for trying other chance."""
    rule: str
    """By which it is suspected."""
    suspects: Collection[str]
    """Events whose values are not ordinary."""


class TrialDriver(ForkDriver):
    """Drives as a fork does; the action of the moment may be called with other arguments."""

    other_args: Event | None = None
    dropped: str | None = None

    def _prepared(self, call: PlannedCall, obj: object) -> tuple[Any, list[Any], dict[str, Any]]:
        if self.other_args is not None:
            call = dataclasses.replace(call, event=with_args_of(call.event, self.other_args))
        method, args, kwargs = super()._prepared(call, obj)
        if self.dropped is not None:
            args = [without_message(value, self.dropped) for value in args]
            kwargs = {name: without_message(value, self.dropped) for name, value in kwargs.items()}
        return method, args, kwargs

    def is_nothing_left(self, action: DrivenAction) -> bool:
        """Whether an argument of the action is nothing but the message that is dropped."""
        _, args, kwargs = self._prepared(action.call, self._objects[action.agent_id])
        return any(value is GONE for value in (*args, *kwargs.values()))


class Trial(Fork):
    """What may have caused something, ready to be left out."""

    driver_kind = TrialDriver
    player_kind = TrialPlayer

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(request)
        self.is_telling = False
        self.measure = Measure.from_object(request["measure"])
        self.tally = MetricTally(self.measure)
        self.place: PlannedPlace | None = None
        self.variant = ExperimentVariant(None, None)
        self.sink = CountingSink()
        self._suspicion = Suspicion(None, "", ())
        self._pipeline_now: Pipeline | None = None
        self._calls: CallBook | None = None

    @property
    def live(self) -> frozenset[str]:
        """Agents whose code runs."""
        return frozenset(self._objects)

    def _point(self, plan: Plan) -> ForkPoint:
        if self._suspicion.event_id is None:
            return ForkPoint("the beginning", 0)
        event = self._event(self._suspicion.event_id)
        self.place = place_of(event, plan, self.live)
        if self.place is None:
            raise ReplayError(f"{event.message or event.kind} ({event.id}) is outside the replayable part")
        return ForkPoint(f"the action that holds event {event.id}", self.place.index)

    def _event(self, event_id: str) -> Event:
        """An event of the session; other agents' are looked for in its files."""
        found = next((each for each in self._recording.events if each.id == event_id), None)
        if found is None:
            events = open_reader(self._recording.session).events()
            found = next((each for each in events if each.id == event_id), None)
        if found is None:
            raise EventNotFound(f"the session has no event {event_id!r}", path=self._recording.session)
        return found

    def import_target(self) -> None:
        """Load the target's module, once for all that are forked off; what is wrong with it is told later."""
        self.turn_away()
        self._install()
        with contextlib.suppress(Exception):  # it is imported again where its error has somebody to hear it
            importlib.import_module(str(self._request["target"]).partition(":")[0])

    def bring_to(self, suspicion: Suspicion) -> Brought:
        """Bring everything to the action that holds the moment; what follows are recorded actions."""
        self._suspicion = suspicion
        brought = self.bring()
        brought.resume = None
        if self.measure.agents and not self.live & {*self.measure.agents}:
            raise ReplayError(f"the code of {self.measure.agents[0]} does not run in what the target builds")
        self._refuse_entries(brought.plan)
        self._calls = self._all_calls()
        return brought

    def _refuse_entries(self, plan: Plan) -> None:
        """How often an action is called from outside is the record's in any fork."""
        for action in plan.actions:
            name = f"action:{action.event.extra.get('action_type')}"
            if name in self.measure.series and self.measure.is_of(action.agent_id):
                raise ReplayError(
                    f"{action.call.name} of {action.agent_id} is called by code that is not replayed, so "
                    "it happens as often in any fork",
                    remedy="give a target that builds the whole run",
                )

    def _all_calls(self) -> CallBook:
        decoding = Decoding(
            self._decoder.codecs, self._decoder.find_class, self._errors(), self._decoder.scripts
        )
        return calls_among(self._own_events(), RunRef(self._recording.session, None), decoding)

    def interventions(self) -> list[Intervention]:
        """What can be tried at the moment."""
        if self.place is None:
            return []
        _, rule, suspects = self._suspicion
        return interventions_at(self.place, self._recording, rule, suspects, self.live)

    def recorded(self, brought: Brought) -> Any:
        """The measure of the recording itself, behind the moment; None where the record does not tell it."""
        events = self._own_events()
        if self.measure.outcome:
            given = sorted(name for name, obj in self._objects.items() if obj is not None)
            return recorded_outcome(self.measure, events, given)
        if self.place is not None:
            moment = order_key(self.place.event)
            events = [event for event in events if order_key(event) > moment]
        elif brought.first is not None:
            moment = order_key(brought.first)
            events = [event for event in events if order_key(event) >= moment]
        return recorded_value(self.measure, events, self.live)

    def carry_out(self, brought: Brought, variant: ExperimentVariant, pipeline: Pipeline) -> None:
        """Go on from there with one variant; the outcome of the fork and the tally tell what came of it."""
        self.variant, self._pipeline_now = variant, pipeline
        self.go_on(brought, None, None, pipeline, lambda _trigger: None)
        if self.fork.stopped is None and self.sink.too_late:
            self.fork.stopped = "the message was received before it could be dropped"
        if pipeline.health.dropped:
            self.fork.stopped = f"what it did could not be counted: {', '.join(pipeline.health.dropped)}"

    # what happens at the moment

    def _fork_player(self, answers: ForkAnswers, pipeline: Pipeline) -> ForkPlayer:
        player = super()._fork_player(answers, pipeline)
        assert isinstance(player, TrialPlayer)  # noqa: S101 - this class makes no other
        chosen = self.variant.intervention
        self.player: TrialPlayer = player
        player.moment = InterventionMoment(
            self.place, self.tally, self._begin, lambda call: self._instead(call, answers), self._behind
        )
        self.sink.moment, self.sink.player = player.moment, player
        if self.place is not None and self.place.sort == "sending" and chosen is not None:
            player.dropping = DroppedMessage("")
        return player

    def _begin(self) -> None:
        if self.variant.seed is not None and not seed_generators(self._agents_now(), self.variant.seed):
            self.fork.note("no agent exposes a generator: only those of modules were seeded")

    def _agents_now(self) -> dict[str, object]:
        acting = {} if self._pipeline_now is None else acting_in(self._pipeline_now)
        return {**self._everybody(), **acting}

    def _instead(self, call: TracedCall, answers: ForkAnswers) -> Answer | None:
        chosen = self.variant.intervention
        if chosen is None or chosen.sort == "undo":
            return None
        if chosen.sort == "left_out":
            return Answer(None)
        if chosen.sort == "answer":
            assert chosen.ordinary is not None  # noqa: S101 - made with it
            return self._answer_of(chosen.ordinary, answers)
        if chosen.sort == "arguments":
            assert chosen.ordinary is not None  # noqa: S101 - made with it
            event = chosen.ordinary
            restored = self._decoder.restore(Recorded(event.extra["args"], event.types or {}, "/extra/args"))
            if restored.unrestored:
                self.player.stop(f"the arguments of event {event.id} cannot be restored")
            return self.player.called_with(call, restored.value)
        kept = {name: without_message(value, self._new_id(call)) for name, value in call.args.items()}
        if any(value is GONE for value in kept.values()):
            return Answer(None)
        return self.player.called_with(call, kept)

    def _new_id(self, call: TracedCall) -> str:
        """The id that the message of the moment has in this fork: that of the one in the same place."""
        assert self.place is not None and self.variant.intervention is not None  # noqa: S101
        recorded = self.variant.intervention.message_id
        return same_message(self.place.event.extra.get("args"), dict(call.args), str(recorded))

    def _answer_of(self, event: Event, answers: ForkAnswers) -> Answer:
        if event.kind in CALL_KINDS:
            assert self._calls is not None  # noqa: S101 - read when everything was brought to the point
            call = next(each for each in self._calls.calls if each.event.id == event.id)
            return self._calls.answer(call)
        assert self._pipeline_now is not None  # noqa: S101 - set before anything is replayed
        book = AnswerBook(self._decoder, answers.errors, self._pipeline_now.session_id)
        try:
            return book.answer(event)[0]
        except Unanswerable as error:
            self.player.stop(f"the response of event {event.id} cannot be restored: {error}")
            raise

    def _behind(self) -> None:
        chosen, place = self.variant.intervention, self.place
        if chosen is None or place is None or chosen.sort != "undo":
            return
        if place.sort == "between":
            self._set_back(place.event)
        else:
            self._undo(place.event)

    def _undo(self, event: Event) -> None:
        """Put back what an action changed of its agent, as it was before."""
        own = (each for each in self._own_events() if each.agent_id == event.agent_id and each.id != event.id)
        moment = order_key(event)
        fold = fold_events(StateFold(), (each for each in own if order_key(each) < moment))
        state = event.state or {}
        names = [*(state.get("set") or {}), *(state.get("unset") or [])]
        obj = self._agents_now().get(str(event.agent_id))
        if obj is None:
            self.player.stop(f"{event.agent_id} has no object whose state could be put back")
        values, types = {}, fold.types()
        for name in names:
            if name not in fold.fields:
                continue
            restored = self._decoder.restore(Recorded(fold.fields[name], types, f"/{escape(name)}"))
            if restored.unrestored:
                self.player.stop(f"{name} of {event.agent_id} cannot be restored: {restored.unrestored[0]}")
            values[name] = restored.value
        put_back(obj, values)
        remove_fields(obj, [name for name in names if name not in fold.fields])

    def _set_back(self, event: Event) -> None:
        """Set what the program changed between two actions back to what it was."""
        extra = event.extra
        own = extra.get("old_state")
        wanted = own if isinstance(own, dict) else {str(extra.get("name")): extra.get("old_value")}
        count = 0
        for obj in self._agents_now().values():
            exposed = read_state(obj).fields
            values = {name: value for name, value in wanted.items() if name in exposed}
            if values:
                put_back(obj, values)
                count += 1
        if not count:
            self.player.stop(f"no agent whose code runs has a field {', '.join(wanted)}")

    # driving

    def _drive_rest(self, brought: Brought, player: ForkPlayer) -> None:
        driver = brought.driver
        assert isinstance(driver, TrialDriver) and isinstance(player, TrialPlayer)  # noqa: S101
        moment = player.moment
        assert moment is not None  # noqa: S101 - given when the player was made
        rest = brought.plan.actions[brought.point.index :]
        if self.place is None:
            moment.begin()
            moment.end()
        for number, action in enumerate(rest):
            player.current = action.call
            error = self._first(driver, action, moment) if not number else driver.go_on(action, None)
            self.fork.steps += 1
            player.look_for_message()
            if player.is_stopped:
                raise ReplayStopped
            if error is not None:
                self.fork.errors.append(raised(error, action, action.agent_id, action.call.name))
        if not moment.has_come:
            self.fork.stopped = "the moment was not reached again"
        elif player.dropping is not None and not player.dropping.is_gone:
            self.fork.stopped = "the message was passed on in a way that cannot be intercepted"

    def _first(
        self, driver: TrialDriver, action: DrivenAction, moment: InterventionMoment
    ) -> Exception | None:
        """Replay the action that holds the moment."""
        place = self.place
        if place is None:
            return driver.go_on(action, None)
        if place.sort == "between":
            moment.begin()
            moment.end()
            return driver.go_on(action, None)
        if place.sort == "sending":
            self.sink.trigger = ForkTrigger(place.event, action.effects, moment.begin)
            return driver.go_on(action, None)
        if place.sort != "action":
            moment.enter_action()
            return driver.go_on(action, None)
        return self._first_itself(driver, action, moment)

    def _first_itself(
        self, driver: TrialDriver, action: DrivenAction, moment: InterventionMoment
    ) -> Exception | None:
        """Replay the action that is the moment itself."""
        chosen = self.variant.intervention
        moment.begin()
        error = None
        if chosen is not None and chosen.sort == "arguments":
            driver.other_args = chosen.ordinary
        if chosen is not None and chosen.sort == "drop":
            driver.dropped = chosen.message_id
        try:
            is_left_out = chosen is not None and (chosen.sort == "left_out" or driver.is_nothing_left(action))
            if not is_left_out:
                error = driver.go_on(action, None)
        finally:
            driver.other_args = driver.dropped = None
        moment.end()
        return error


def with_args_of(event: Event, other: Event) -> Event:
    """A recorded call with the arguments of another."""
    types = {at: tag for at, tag in (event.types or {}).items() if not at.startswith("/extra/args")}
    types |= {at: tag for at, tag in (other.types or {}).items() if at.startswith("/extra/args")}
    return dataclasses.replace(event, extra={**event.extra, "args": other.extra["args"]}, types=types)
