"""Call each planned action on the factory's object and compare it; after a fork point, only call it."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn

from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.event.pointers import copy_tree, escape
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, TracedCall, current_scope
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.sources.generators import adopt_random
from Agent.record.sources.sources import adoption_of
from Agent.record.state.held_objects import GLOBALS
from Agent.record.state.identity import TRACED
from Agent.record.state.introspection import generators_of, live_attributes, plain_attributes
from Agent.record.tracing.changed_arguments import at_place
from Agent.replay.compare.comparison import Difference, Recorded, as_captured, in_payload
from Agent.replay.compare.outcome import MADE_BY_FACTORY, Divergence, ReplayStopped, short
from Agent.replay.drive.agent_stubs import MADE_OTHERWISE
from Agent.replay.drive.changes_between import ChangesByHand, HeldMoves, held_at
from Agent.replay.drive.judge import ActionJudge, ExpectedLine
from Agent.replay.drive.player import ReplayContext, current_lane, driven_here
from Agent.replay.drive.shared_objects import SharedObjects
from Agent.replay.drive.snapshots import LastStates, LivingAgents, ObjectsSeen, OutsideWrites, WholeStates
from Agent.replay.drive.source_results import SourceAnswers
from Agent.replay.drive.states import (
    SharedValues,
    agents_in,
    generators_in,
    is_generator,
    is_of_names,
    place_in,
    put_back,
    restorable,
)
from Agent.replay.drive.watched import SourceWatch
from Agent.replay.plan.actions import (
    DrivenAction,
    Plan,
    PlannedCall,
    groups_of,
    is_of_framework,
    is_outside_write,
    ran_in_one_loop,
)
from Agent.replay.plan.recorded_methods import MisfitArguments, RecordedMethods, bind_arguments
from Agent.replay.plan.recording import sharing_agents
from Agent.replay.plan.target import describe_unrestored, in_debugger, scope_around

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from Agent.replay.drive.interleaved import ConcurrentActions, ReplayLoop

_PLAIN = frozenset({bool, int, float, str, dict, list, tuple})
"""Types of results that can be neither awaited nor iterated as generators."""
_UNWRAPPED = ": use functools.wraps in the decorators below the trace decorator"
PreparedCall = tuple[Any, list[Any], dict[str, Any]]
"""A bound method with its positional and keyword arguments."""


class Driver:
    """Carries out a replay plan; the findings go into `outcome`.

    Args:
        objects: the factory's objects by agent.
        request: `keep_going` is the number of further differences to look for; `pdb` the number of the action
            before which the debugger opens; `turns` how concurrent actions are replayed: `sequential`,
            `loose`, `prompt`, `free`, or in the order that the recording suggests.
    """

    _unproved: dict[str, Any]
    """What made differences prove nothing when the first of several was found."""

    def __init__(
        self,
        context: ReplayContext,
        plan: Plan,
        objects: Mapping[str, object],
        watch: SourceWatch,
        sources: SourceAnswers,
        request: Mapping[str, Any],
    ) -> None:
        self._plan = plan
        self._objects = objects
        self._facts = context.recording.agents
        self._outcome = context.outcome
        self._player = context.player
        self._pipeline = context.pipeline
        self._sink = context.sink
        self._decoder = context.decoder
        self._methods = RecordedMethods(context.recording, context.decoder)
        self._comparison = context.comparison
        self._fields = context.fields
        self._states = context.states
        self._watch = watch
        self._sources = sources
        self._judge = ActionJudge(context)
        self._is_factory_strict = bool(request.get("strict_factory"))
        self._keep_going = int(request.get("keep_going") or 0)
        self._stop_at = int(request.get("pdb") or 0)
        self._order = str(request.get("turns") or "")
        self._is_sequential = self._order == "sequential" or bool(self._stop_at)
        self._expected = ExpectedLine(self._pipeline, self._sink)
        self._outside = OutsideWrites(context, self._put_back, frozenset(objects))
        self._entered = ObjectsSeen()
        self._latest: dict[str, Callable[[], object]] = {}
        """The last acting object of each agent."""
        self._restored: set[str] = set()
        self._shared = SharedValues()
        self._answered_at: list[int] = []
        """Number of lines that the action had recorded when each of its calls got its response."""
        self._current: DrivenAction | None = None
        self._loop: ReplayLoop | None = None
        self._is_ending = False
        """Whether open actions are being ended, whose exceptions are then not compared."""
        self._turns: ConcurrentActions | None = None
        self._found: list[Divergence] = []
        """Differences of actions that are replayed concurrently."""
        self._patched: Collection[str] = ()
        self._is_handed_over = False
        """True after `hand_over`: nothing is compared any more."""
        self._seen: list[Event] = []
        """Decoded lines of concurrent actions that were read."""
        self._suspects = sharing_agents(objects, self._facts, context.live)
        self._whole = WholeStates(context, self._put_back)
        self._held = HeldMoves(context, objects)
        self.nearby = LivingAgents()
        """Agents reachable from replayed ones; they keep the state that the factory gave them."""
        self._shared_objects = SharedObjects(self._outcome, context.recording.codes, self.nearby.get)
        self._by_hand = ChangesByHand(context, objects, self.nearby, self._put_back, self._keeps)
        self._by_hand.listen(plan, lambda: self._current)
        self.last_states = LastStates(context, plan, objects, self.nearby, self._judge, self._whole)

    def run(self) -> None:
        """Replay every action until one differs or nothing more can be verified."""
        try:
            with self._comparing():
                for group in self._groups():
                    try:
                        if len(group) == 1:
                            self._drive(group[0])
                        else:
                            self._drive_group(group)
                    except ReplayStopped:
                        if not self._continues_after(group[-1]):
                            raise
                self._by_hand.end(self._plan)
                self._outside.put_last(self._plan, self._objects)
                for action in self._plan.actions[-1:]:
                    self._held.put(action, self._plan.moved_last)
                self.last_states.compare()
        except ReplayStopped:
            pass  # the reason is in the outcome already
        finally:
            if self._outcome.further:
                self._outcome.put_first(self._unproved)
            self._remark_large_fields()
            self.close()

    def bring_to(self, actions: Sequence[DrivenAction], done: Callable[[], None]) -> bool:
        """Replay recorded actions and compare each with the recording; return whether all agreed.

        Args:
            done: called after each action.
        """
        try:
            with self._comparing():
                for action in actions:
                    self._drive(action)
                    done()
                for agent_id, obj in self._objects.items():
                    self._restore(agent_id, obj)
        except ReplayStopped:
            return False  # the reason is in the outcome
        return True

    @contextmanager
    def _comparing(self) -> Iterator[None]:
        """Compare what is replayed in the block with the recording."""
        self._player.stage = self
        self._outcome.sources = self._watch.reads
        # Reads get their recorded values, and the `reads` of these events are not used.
        keeps_reads, installed.open_reads = installed.open_reads, None
        try:
            yield
        finally:
            installed.open_reads = keeps_reads
            self._player.action = None
            self._watch.close()

    def hand_over(self, player: Any, pipeline: Pipeline, patched: Collection[str]) -> None:
        """Stop comparing: from here on `player` answers calls and `pipeline` records events.

        Args:
            player: only its method `stop`, which ends the replay, is used here.
            patched: fields that differ on purpose, as `agent.field` if there are several agents.
        """
        self._patched = patched
        self._is_handed_over = True
        self._player = player
        self._pipeline = pipeline

    def read_by(self, sources: SourceAnswers) -> None:
        """Let `sources` answer reads, and register the generators that the agents hold."""
        self._sources = sources
        for agent_id, obj in {**self.nearby, **self._objects}.items():
            self._allow_generators(agent_id, obj)

    def prepared(self, action: DrivenAction) -> PreparedCall:
        """Return the method of a recorded action and its recorded arguments."""
        return self._prepared(action.call, self._objects[action.agent_id])

    def go_on(
        self, action: DrivenAction, around: SpanScope | None, prepared: PreparedCall | None = None
    ) -> Exception | None:
        """Call a recorded action again; return the exception that it raised, or None.

        Args:
            prepared: the method and arguments to use instead of the recorded ones.
        """
        self._current = action
        obj = self._objects[action.agent_id]
        self._by_hand.repeat(action.by_hand)
        method, args, kwargs = prepared or self.prepared(action)
        # A wrapper around the traced method (Mesa's step counter, for example) repeats its own writes.
        for event in action.before if hasattr(method, TRACED) else ():
            if is_outside_write(event):
                self._impose(action, event, obj)
        self._outside.put_ahead(action, self._objects, self._keeps, is_compared=False)
        self._held.put(action, action.moved, is_compared=False)
        token = current_scope.set(scope_around(action.event, self._decoder, around))
        try:
            return self.raised_by(method, args, kwargs)
        finally:
            current_scope.reset(token)

    def raised_by(self, method: Any, args: list[Any], kwargs: dict[str, Any]) -> Exception | None:
        """Call a method; return the exception that it raised, or None."""
        try:
            self._call(method, args, kwargs)
        except Exception as error:  # noqa: BLE001 - the agent's exceptions are part of a fork's result
            return error
        return None

    def leave_loop(self) -> None:
        """Create a new event loop: after a fork of the process, the current one belongs to the parent."""
        self._loop = None

    def _groups(self) -> Iterator[Sequence[DrivenAction]]:
        """Yield the actions in replay order, concurrent ones as a group."""
        is_loose = self._order == "loose"
        if self._is_sequential or not (is_loose or any(each.overlaps for each in self._plan.actions)):
            for action in self._plan.actions:
                yield (action,)
            return
        for group in groups_of(self._plan.actions, is_loose=is_loose):
            if ran_in_one_loop(group):
                yield group
            else:
                yield from ([action] for action in group)

    def _drive_group(self, group: Sequence[DrivenAction]) -> None:
        """Replay concurrent actions; of several differences, keep that of the first action."""
        from Agent.replay.drive.interleaved import LaneEnded, turns_of

        divergences = self._found
        reasons = list(self._outcome.reasons)

        async def drive(action: DrivenAction) -> None:
            try:
                await self._drive_concurrently(action)
            except ReplayStopped:
                divergence, self._outcome.divergence = self._outcome.divergence, None
                if divergence is None:
                    raise
                divergences.append(divergence)
                self._player.is_stopped = False
                raise LaneEnded from None

        self._sink.clear()
        self._seen.clear()
        self._held.begin_action()
        self._sources.begin()
        self._current = group[0]
        self._watch.begin(group[0])
        loop = self._event_loop(group)
        self._turns = turns = turns_of(group, drive, self._order)
        try:
            loop.run_until_complete(turns.run())
        finally:
            self._turns = None
            turns.report_to(self._outcome)
            self._watch.end()
            if divergences:
                self._outcome.divergence = min(divergences, key=lambda divergence: divergence.step)
                self._outcome.reasons[:] = reasons  # later reasons may be consequences of the difference
                self._player.is_stopped = True
                divergences.clear()
        if self._player.is_stopped:
            raise ReplayStopped
        self._held.doubt_draws(group[0].agent_id)

    async def _drive_concurrently(self, action: DrivenAction) -> None:
        """Replay an action in a task, concurrently with others."""
        from Agent.replay.drive.interleaved import cancelled_as_recorded

        obj = self._objects[action.agent_id]
        self._by_hand.repeat(action.by_hand)
        method, args, kwargs = self._prepared(action.call, obj)
        given = self._shared_objects.given(action, obj, method, [*args, *kwargs.values()])
        self._note_ending(action)
        self._player.begin(action)
        token = current_scope.set(scope_around(action.event, self._decoder))
        error: BaseException | None = None
        result = None
        try:
            result = method(*args, **kwargs)
            awaitable = self._awaitable(method, result)
            if awaitable is not None:
                with cancelled_as_recorded(action):
                    result = await awaitable
        except ReplayStopped:
            pass  # `is_stopped` is checked below
        except BaseException as raised:
            if self._is_ending:
                raise
            error = raised
        finally:
            current_scope.reset(token)
        self._judge.begin(action)
        self._finish(action, method, obj, error)
        self._shared_objects.look(action, given, result)

    def _note_ending(self, action: DrivenAction) -> None:
        outcome, raised = (action.event.extra.get(name) for name in ("outcome", "raised"))
        # A signal interrupts without arguments.
        is_own = "exit_code" in action.event.extra or (outcome == "interrupted" and raised and raised["args"])
        if outcome in {"cancelled", "interrupted"} and not is_own:
            self._outcome.doubts.append(f"step {action.number} was {outcome} from outside")

    def _continues_after(self, action: DrivenAction) -> bool:
        """Whether to look for further differences after this action; if so, store the one found."""
        divergence = self._outcome.divergence
        if divergence is None or len(self._outcome.further) >= self._keep_going:
            return False
        if not self._outcome.further:
            self._unproved = self._outcome.unproved()
        self._outcome.further.append(divergence)
        self._outcome.divergence = None
        self._player.is_stopped = False
        self._whole.ended(action)
        return True

    def _remark_large_fields(self) -> None:
        divergence = self._outcome.divergence
        obj = None if divergence is None else self._objects.get(divergence.agent_id)
        remark = "" if divergence is None or obj is None else self._whole.describe_large(divergence, obj)
        if remark:
            self._outcome.remark(remark)

    def entered(self, call: TracedCall, recorded: PlannedCall | None) -> None:
        """Prepare a live agent whose action begins: restore its first state and apply writes from outside."""
        agent_id, target = str(call.agent_id), call.target
        if agent_id not in self._objects:
            self._outcome.inside[agent_id] += 1
        if target is None:
            return
        latest = self._latest.get(agent_id)
        if latest is None or latest() is not target:  # cheaper than a lookup by `id()`
            self._latest[agent_id] = self.nearby.add(agent_id, target)
            if self._entered.is_new(target):
                self.last_states.acts(agent_id, target)
                if self._objects.get(agent_id) is target:
                    self._identify_held(agent_id, target)  # as when the first state was recorded
                    self._held.begin(agent_id)
                    self._restore(agent_id, target)
                self._allow_generators(agent_id, target)
        action = driven_here() or self._current
        if action is None or recorded is not action.call:
            return
        if action.before or self._pipeline.options.strict_state:
            self._outside.compare(action, target)
        if action.before or action.ahead or action.moved:
            # Full states last: they include what was written and moved.
            for event in filter(is_outside_write, action.before):
                self._impose(action, event, target)
            self._outside.put_ahead(action, self._objects, self._keeps)
            self._held.put(action, action.moved)
            for event in action.before:
                if not is_outside_write(event):
                    self._impose(action, event, target)
        self._held.watch_draws(agent_id, target, is_suspect=agent_id in self._suspects)

    def _allow_generators(self, agent_id: str, target: object) -> None:
        """Let an agent's generators draw from their state, unless the draws were recorded one by one."""
        self._identify_held(agent_id, target)
        facts = self._facts.get(agent_id)
        known = {} if facts is None else facts.adopted
        is_compared = self._objects.get(agent_id) is target  # compared in its first state
        for name, generator in generators_in(target, self._fields if is_compared else None, agent_id):
            if name in known and self._identify(generator, known[name]):
                continue
            if facts is None or name not in facts.written_outside:
                self._watch.allow(generator)

    def _identify_held(self, agent_id: str, target: object) -> None:
        """Adopt generators inside an agent's fields, named FIELD.ATTRIBUTE, that the recording adopted."""
        facts = self._facts.get(agent_id)
        for name, place in ({} if facts is None else facts.adopted).items():
            field, _, attribute = name.partition(".")
            held = generators_of(plain_attributes(target).get(field)) if attribute else {}
            if name.startswith(GLOBALS):
                held, attribute = live_attributes(held_at(target, GLOBALS)) or {}, name[1:]
            generator = held.get(attribute)
            if generator is not None and not self._watch.is_of_chance(generator):
                self._identify(generator, place)

    def _identify(self, generator: Any, place: str) -> bool:
        """Answer a generator's draws with those recorded under a place; return whether it can be adopted."""
        if isinstance(generator, random.Random):
            adopt_random(generator, "?")
        adopted = adoption_of(generator)
        if adopted is not None:
            self._sources.places.identify(adopted, place)
        return adopted is not None

    def call_back(self, recorded: PlannedCall) -> None:
        """Repeat a call into a replayed agent that a call with a recorded response made in the recording."""
        obj = self._objects.get(str(recorded.agent_id))
        if obj is None:
            self._player.stop(
                f"{recorded.agent_id} was called back by a call with a recorded response, and the target "
                "returned no object"
            )
        method, args, kwargs = self._prepared(recorded, obj)
        if inspect.iscoroutinefunction(inspect.unwrap(method)):
            self._player.stop(
                f"{recorded.name} of {recorded.agent_id} is async and was called back, which is not supported"
            )
        try:
            method(*args, **kwargs)
        except Exception:  # noqa: BLE001 - its error event is compared; the caller gets its recorded response
            return

    def answered(self, call: TracedCall) -> None:
        """Note that a call of the replayed action got its response: events from here on follow that call."""
        if current_lane.get() is None:
            self._answered_at.append(len(self._sink.lines))
        if call.target is not None and self._entered.is_new(call.target):
            self._identify_held(str(call.agent_id), call.target)  # its first state adopted its generators

    def _drive(self, action: DrivenAction) -> None:
        obj = self._objects[action.agent_id]
        if action.by_hand:
            self._by_hand.repeat(action.by_hand)
        method, args, kwargs = self._prepared(action.call, obj)
        given = self._shared_objects.given(action, obj, method, [*args, *kwargs.values()])
        # The user's code may have set up logging since the last action.
        if installed.active is not self._pipeline:
            install_pipeline(self._pipeline)
        if "outcome" in action.event.extra:
            self._note_ending(action)
        self._sink.clear()
        self._answered_at.clear()
        if not action.is_plain:
            self._judge.begin(action)
        self._current = action
        self._player.begin(action)
        self._sources.begin()
        self._expected.expect(action)
        self._held.begin_action()
        token = current_scope.set(scope_around(action.event, self._decoder))
        error: BaseException | None = None
        result = None
        try:
            self._watch.begin(action)
            try:
                if action.number == self._stop_at:
                    in_debugger(method, partial(self._call, method, args, kwargs))
                else:
                    result = self._call(method, args, kwargs)
            finally:
                self._watch.end()
        except ReplayStopped:
            pass  # `is_stopped` is checked below
        except BaseException as raised:  # noqa: BLE001 - any exception is compared with the recording
            error = raised
        finally:
            current_scope.reset(token)
        self._held.doubt_draws(action.agent_id)
        self._finish(action, method, obj, error)
        self._shared_objects.look(action, given, result)

    def _finish(self, action: DrivenAction, method: Any, obj: object, error: BaseException | None) -> None:
        """Compare an action that ended, or the part of a stopped one that was replayed."""
        self._outcome.counts.driven += 1
        if self._player.is_stopped:
            spec = getattr(method, TRACED, None)
            if spec is not None:
                self._judge.note_code(action, spec.identify().digest)
            self._judge.look_back(action, self.effects_so_far())
            raise ReplayStopped
        if not self._player.has_begun:
            what = f" (it raised {type(error).__name__}: {error})" if error is not None else ""
            self._player.stop(
                f"{action.call.name} of {action.agent_id} recorded no event{what}: is it decorated, or "
                "instrumented in the factory's module?"
            )
        dropped = self._pipeline.health.dropped
        if dropped:
            self._player.stop(f"the replay could not be recorded: {', '.join(dropped)}")
        missing = self._player.end()
        ids = self._expected.came(action)
        if ids is not None and missing is None:
            self._judge.agreed(action, ids)
        else:
            answered_at = self._answered_at if current_lane.get() is None else None
            replayed = self._judge.compare(action, self._events(), missing, answered_at)
            self._expected.learn(action, replayed.code)
        self._sources.compare_left(action)
        self._whole.ended(action)
        for event in action.after:
            self._whole.compare(action, event, obj)
        if action.number >= self.last_states.begin:
            self.last_states.look(action.number)

    def _prepared(self, call: PlannedCall, obj: object) -> PreparedCall:
        event = call.event
        method = self._methods.find(obj, event)
        if method is None:
            self._player.stop(
                f"{type(obj).__qualname__} has no method {call.name!r}, which event {event.id} called"
                + (_UNWRAPPED if "<locals>." in str(event.extra.get("call")) else "")
            )
        recorded = event.extra.get("args")
        if event.types or type(recorded) is not dict or "args_held" in event.extra:
            recorded = self._restored_arguments(call, obj)
        else:
            recorded = copy_tree(recorded)
        try:
            args, kwargs = bind_arguments(method, recorded)
        except MisfitArguments as error:
            self._player.stop(f"the recorded arguments do not fit {call.description}: {error}")
        return method, args, kwargs

    def _restored_arguments(self, call: PlannedCall, obj: object) -> dict[str, Any]:
        event = call.event
        if "args" not in event.extra:
            self._player.stop(f"the arguments of {call.description} were not captured (capture_args=False)")

        def used(what: str) -> None:
            self._player.stop(
                f"{call.description} uses {what}, a task of the recorded process or a function that "
                "holds one: replay its caller instead"
            )

        recorded = in_payload(event, "args")
        restored = self._decoder.restore_argument(recorded, used)
        held = self._held_arguments(event, obj)
        own = tuple(f"/extra/args/{escape(name)}/" for name in held)
        lacking = [each for each in restored.unrestored if not f"{each.pointer}/".startswith(own)]
        if lacking or not isinstance(restored.value, dict):
            self._player.stop(describe_unrestored(call, lacking))
        if restored.is_redacted:
            self._outcome.doubts.append(f"an argument of {call.description} is redacted")
        return {**restored.value, **held}

    def _held_arguments(self, event: Event, obj: object) -> dict[str, Any]:
        """Return the arguments that are objects held by the agent, if they equal the recorded ones."""
        places = event.extra.get("args_held")
        if type(places) is not dict:
            return {}
        agent_id = str(event.agent_id)
        if agent_id in self._objects:
            self._restore(agent_id, obj)
        arguments: dict[str, Any] = {}
        for name, place in places.items():
            value, pointer = at_place(obj, place), f"/extra/args/{escape(name)}"
            recorded = Recorded(event.extra["args"].get(name), event.types or {}, pointer)
            here = as_captured(self._pipeline.capture.body({"value": value}, pointer), pointer).part("value")
            if value is not None and self._comparison.difference(recorded, here) is None:
                arguments[name] = value
        return arguments

    def _call(self, method: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        result = method(*args, **kwargs)
        awaitable = None if result is None or type(result) in _PLAIN else self._awaitable(method, result)
        if awaitable is not None:
            from Agent.replay.drive.interleaved import cancelled_as_recorded

            async def awaited() -> Any:
                with cancelled_as_recorded(action):
                    return await awaitable

            action = None if self._is_handed_over else self._current
            loop = self._event_loop(() if self._current is None else [self._current])
            result = loop.run_until_complete(awaited())
        return result

    def _awaitable(self, method: Any, result: Any) -> Awaitable[Any] | None:
        """Return the awaitable in a method's result, or None; a generator stops the replay."""
        if issubclass(type(result), (GeneratorType, AsyncGeneratorType)):
            name = getattr(method, "__qualname__", type(method).__qualname__)
            self._player.stop(f"{name} is a generator, and the recording has only the number of its items")
        return result if issubclass(type(result), Awaitable) else None

    def _event_loop(self, group: Sequence[DrivenAction]) -> AbstractEventLoop:
        """Return the event loop that all actions share, with a timeout that suits the given ones."""
        from Agent.replay.drive.interleaved import Patience, ReplayLoop

        if self._loop is None:
            self._loop = ReplayLoop(self._is_stuck, self._progress)
        self._loop.patience = Patience(group, is_compared=not self._is_handed_over)
        return self._loop

    def _progress(self) -> object:
        counts = self._outcome.counts
        return counts.driven, counts.answers, self._pipeline.stamps.threads.own.last_us

    def _is_stuck(self) -> None:
        """Handle an event loop without progress: begin the next action, or end the replay."""
        from Agent.replay.drive.interleaved import describe_wait

        if self._turns is not None and self._turns.go_on():
            return
        if self._found or self._is_ending or self._loop is None:
            raise ReplayStopped
        self._outcome.is_waiting = True
        self._player.stop(describe_wait(self._loop, self._turns, self._current))

    def _events(self) -> list[Event]:
        lines = self._sink.lines
        if current_lane.get() is None:
            return [decode_line(line) for line in lines]
        self._seen += [decode_line(line) for line in lines[len(self._seen) :]]
        return list(self._seen)

    def effects_so_far(self) -> list[Event]:
        """Return the events so far inside the action that is being replayed."""
        return [
            event
            for event in self._events()
            if event.parent_span_id is not None and not is_of_framework(event) and event.kind != "metric"
        ]

    def _restore(self, agent_id: str, obj: object) -> None:
        """Restore an object's first recorded state and verify that it took effect."""
        first = self._facts[agent_id].first_state
        if agent_id in self._restored or first is None:
            return
        self._restored.add(agent_id)
        known = self._pipeline.agents.find(obj)
        if known is not None:
            known.tracker = None  # changes by the factory do not belong to the replay
        self.nearby.update(agents_in(obj))
        first_state = restorable(first, self._decoder)
        self._compare_factory(agent_id, obj, first, first_state.fields)
        self._put_back(agent_id, obj, first_state.fields)
        if first_state.is_redacted:
            self._outcome.doubts.append(f"secrets in the first state of {agent_id} were replaced by tokens")
        self._whole.begin(agent_id, first, obj)
        pair = self._states.first_beyond_functions(first, obj, self._outcome)
        if pair is None:
            return
        name, difference = pair
        if name not in first_state.lacking:
            self._player.stop(
                f"the restored state of {agent_id} differs from the recording before its first action: field "
                f"{place_in(first, name, difference)}, recorded {short(difference.recorded)}, here "
                f"{short(difference.replayed)}"
            )
        if is_of_names(difference):
            # Surroundings cannot change what a name refers to, so the code must differ.
            self._differs_at_first(agent_id, first, name, difference)
        place = "" if not difference.path else f" at {place_in(first, name, difference)}"
        reason = (
            f"field {name} of {agent_id} {MADE_OTHERWISE}{place}: recorded "
            f"{short(difference.recorded)}, made {short(difference.replayed)}; build it in the factory as it "
            f"was before the first action, or ignore it: --ignore {name}; if its constructor was changed, "
            "--strict-factory makes that the difference"
        )
        names = self._of_code_alone(first, obj)
        if not names:
            if self._is_factory_strict:
                self._differs_at_first(agent_id, first, name, difference)
            self._player.stop(reason)
        self._outcome.changed_inside.update({f"{agent_id}.{each}": reason for each in names})

    def _of_code_alone(self, first: Event, obj: object) -> list[str]:
        """Return the differing fields if only code that they hold differs; the replay shows its effect."""
        with_code = [name for name, _ in self._states.differences(first, obj)]
        differs = partial(self._states.first, first, obj)
        return with_code if self._comparison.passes_code_from_here(differs) else []

    def _compare_factory(self, agent_id: str, obj: object, first: Event, restored: Collection[str]) -> None:
        """Report how the factory's object differs from the first recorded state, which replaces it."""
        self._outcome.factory_differences += self._fields.streams_made_otherwise(agent_id, first, obj)
        for name, difference in self._states.differences(first, obj, restored):
            if self._is_factory_strict:
                self._differs_at_first(agent_id, first, name, difference)
            if is_generator(first, name):
                description = f"the random generator {name} in another state; the recorded state is used"
            else:
                built, recorded = short(difference.replayed), short(difference.recorded)
                description = f"{place_in(first, name, difference)}={built}, recorded {recorded}"
            self._outcome.note_made(agent_id, name, description)

    def _differs_at_first(self, agent_id: str, first: Event, name: str, difference: Difference) -> NoReturn:
        action = driven_here() or self._current
        self._player.diverge(
            Divergence(
                1 if action is None else action.number,
                first.id,
                "" if action is None else action.call.name,
                agent_id,
                f"state.{name}",
                difference.recorded,
                difference.replayed,
                difference.path,
                MADE_BY_FACTORY,
            )
        )

    def _put_back(self, agent_id: str, obj: object, fields: Mapping[str, Any]) -> None:
        self._sources.is_putting = True
        try:
            put_back(obj, fields, self._shared)
        except Exception as error:  # noqa: BLE001 - user code may run on restoring
            self._player.stop(
                f"recorded fields could not be restored onto {agent_id}: {type(error).__name__}: {error}"
            )
        finally:
            self._sources.is_putting = False

    def _impose(self, action: DrivenAction, event: Event, obj: object) -> None:
        if event.kind == "state":
            first = self._facts[action.agent_id].first_state
            if event.extra.get("reason") != "first":
                self._whole.compare(action, event, obj)
            elif first is None or event.id != first.id:
                self._player.stop(
                    f"from step {action.number} on, {action.agent_id} was another object; the first one is "
                    "replayed"
                )
        elif is_outside_write(event):
            self._outside.impose(action.agent_id, event, obj, self._keeps(action.agent_id))

    def _keeps(self, agent_id: str) -> Collection[str]:
        """Return the fields that a fork has patched; writes from outside do not change them."""
        parts = (name.rpartition(".") for name in self._patched)
        return {name for owner, _, name in parts if owner in {"", agent_id}}

    def close(self) -> None:
        """Cancel the remaining asyncio tasks and close the loop."""
        if self._loop is None:
            return
        import asyncio

        self._is_ending = True
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._outcome.remarks.append(f"{len(tasks)} background tasks were still open at the end")
            # Tasks that ignore cancellation are left alone.
            with suppress(ReplayStopped):
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
        self._loop = None
