"""The driver: calls each planned action on the factory's object, and compares it with the recording.

Comes between `plan.py` and `verdict.py`, in the child process that `child.py` sets up.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.event.pointers import copy_tree
from Agent.record import installed
from Agent.record.chance.generators import adopt_random
from Agent.record.chance.sources import adoption_of
from Agent.record.context import Scope, current_scope
from Agent.record.installed import install_pipeline
from Agent.record.memory_sink import MemorySink
from Agent.record.pipeline import Pipeline
from Agent.record.player import TracedCall
from Agent.replay.calls import MisfitArguments, bind_arguments, bound_method, scope_fields
from Agent.replay.comparison import Comparison, Difference, Recorded
from Agent.replay.constructors import MADE_OTHERWISE
from Agent.replay.debugging import in_debugger
from Agent.replay.expected_line import ExpectedLine
from Agent.replay.fields import FieldRules
from Agent.replay.judge import ActionJudge
from Agent.replay.last_states import LastStates
from Agent.replay.outcome import Divergence, Outcome, ReplayStopped, short
from Agent.replay.outside_writes import OutsideWrites
from Agent.replay.plan import DrivenAction, Plan, RecordedCall, is_of_framework, is_outside_write
from Agent.replay.player import RecordedPlayer
from Agent.replay.python_text import python_path
from Agent.replay.recording import AgentFacts, sharing_agents
from Agent.replay.shared_values import SharedValues
from Agent.replay.source_answers import SourceAnswers
from Agent.replay.sources import SourceWatch
from Agent.replay.states import (
    agents_in,
    generator_state,
    generators_in,
    is_generator,
    is_of_names,
    put_back,
    restorable,
    state_difference,
    state_differences,
)
from Agent.replay.values import Decoder
from Agent.replay.whole_states import WholeStates

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


_PLAIN = frozenset({bool, int, float, str, dict, list, tuple})
"""Results that are neither awaited nor iterated for what they are."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a replay works with: it records, restores values, compares and watches."""

    pipeline: Pipeline
    sink: MemorySink
    decoder: Decoder
    comparison: Comparison
    judge: ActionJudge
    watch: SourceWatch
    sources: SourceAnswers
    fields: FieldRules
    strict_factory: bool = False
    keep_going: int = 0
    """How many differences to look for behind the first."""
    stop_at: int = 0
    """The number of the action before which the debugger is to open; 0 for none."""


class Driver:
    """Carries out a plan; its findings go into `outcome`.

    Args:
        objects: the factory's objects, by agent.
        facts: what was recorded about each agent.
    """

    def __init__(
        self,
        plan: Plan,
        objects: Mapping[str, object],
        facts: Mapping[str, AgentFacts],
        outcome: Outcome,
        player: RecordedPlayer,
        equipment: Equipment,
    ) -> None:
        self._plan = plan
        self._objects = objects
        self._facts = facts
        self._outcome = outcome
        self._player = player
        self._pipeline = equipment.pipeline
        self._sink = equipment.sink
        self._decoder = equipment.decoder
        self._comparison = equipment.comparison
        self._watch = equipment.watch
        self._sources = equipment.sources
        self._judge = equipment.judge
        self._fields = equipment.fields
        self._is_factory_strict = equipment.strict_factory
        self._keep_going = equipment.keep_going
        self._stop_at = equipment.stop_at
        self._expected = ExpectedLine(self._pipeline, self._sink)
        self._outside = OutsideWrites(
            self._pipeline, self._decoder, self._comparison, outcome, player, self._put_back
        )
        self._entered: set[int] = set()
        self._latest: dict[str, object] = {}
        """The object of each agent that acted last."""
        self._restored: set[str] = set()
        self._shared = SharedValues()
        self._answered_at: list[int] = []
        """How many lines the action had left when each of its calls was answered."""
        self._current: DrivenAction | None = None
        self._loop: AbstractEventLoop | None = None
        self._suspects = sharing_agents(objects, facts, player.live)
        self._whole = WholeStates(
            self._pipeline,
            self._decoder,
            self._comparison,
            outcome,
            player,
            self._suspects,
            self._put_back,
            self._fields,
            facts,
        )
        self._generators: dict[str, tuple[Any, str]] = {}
        self.nearby: dict[str, object] = {}
        """Agents that driven ones hold: they stay what the factory made them."""
        self._last_states = LastStates(
            plan, objects, self.nearby, facts, outcome, player, self._judge, self._whole, self._pipeline,
            self._comparison,
        )  # fmt: skip

    def run(self) -> None:
        """Replay every action until something differs or nothing more can be proved."""
        self._player.stage = self
        self._outcome.sources = self._watch.reads
        # Reads get their recorded values, and nobody looks at the `reads` of these events.
        keeps_reads, installed.open_reads = installed.open_reads, None
        try:
            for action in self._plan.actions:
                try:
                    self._drive(action)
                except ReplayStopped:
                    if not self._goes_on():
                        raise
            # The last action of each agent: later ones replace earlier ones in the mapping.
            for agent_id, action in {each.agent_id: each for each in self._plan.actions}.items():
                written = self._plan.written_last.get(agent_id, ())
                self._outside.put_last(action, self._objects[agent_id], written)
            self._last_states.compare()
            self._outside.end()
        except ReplayStopped:
            pass  # whoever stopped it has told the outcome why
        finally:
            self._put_first_in_front()
            installed.open_reads = keeps_reads
            self._player.action = None
            self._judge.settle()
            self._watch.close()
            self._close_loop()

    def _goes_on(self) -> bool:
        """Whether to look for further differences, this one being kept."""
        found = self._outcome.divergence
        if found is None or len(self._outcome.further) >= self._keep_going:
            return False
        self._outcome.further.append(found)
        self._outcome.divergence = None
        self._player.is_stopped = False
        return True

    def _put_first_in_front(self) -> None:
        found = self._outcome.further
        if found:
            last = [] if self._outcome.divergence is None else [self._outcome.divergence]
            self._outcome.divergence, *rest = (*found, *last)
            found[:] = rest

    def entered(self, call: TracedCall, recorded: RecordedCall | None) -> None:
        """A live agent's action begins: put back its first state, impose what came from outside."""
        agent_id, target = str(call.agent_id), call.target
        if agent_id not in self._objects:
            self._outcome.inside[agent_id] += 1
        if target is None:
            return
        self.nearby[agent_id] = target
        if self._latest.get(agent_id) is not target:  # which costs less than to ask for its `id()`
            self._latest[agent_id] = target
            if id(target) not in self._entered:
                self._entered.add(id(target))
                if self._objects.get(agent_id) is target:
                    self._restore(agent_id, target)
                self._allow_generators(agent_id, target)
        action = self._current
        if action is None or recorded is not action.call:
            return
        self._outside.compare(action, target)
        for event in action.before:
            self._impose(action, event, target)
        written = self._facts[agent_id].written_outside if agent_id in self._facts else ()
        if agent_id in self._suspects or written:
            for name, generator in generators_in(target):
                if adoption_of(generator) is None and (agent_id in self._suspects or name in written):
                    self._generators[name] = (generator, generator_state(generator))

    def _allow_generators(self, agent_id: str, target: object) -> None:
        """Let draws from an agent's generators come by its state, unless they were recorded one by one."""
        facts = self._facts.get(agent_id)
        for name, generator in generators_in(target):
            if facts is not None and name in facts.adopted:
                if isinstance(generator, random.Random):
                    adopt_random(generator, "?")
                adopted = adoption_of(generator)
                if adopted is not None:
                    self._sources.identify(adopted, facts.adopted[name])
                    continue
            if facts is None or name not in facts.written_outside:
                self._watch.allow(generator)

    def call_back(self, recorded: RecordedCall) -> None:
        """Make a call into a replayed agent that an answered call made in the recording."""
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
        except Exception:  # noqa: BLE001 - its error event is compared with the record; the caller is answered
            return

    def answered(self) -> None:
        """A call of the replayed action was answered: what it leaves from here on comes behind that."""
        self._answered_at.append(len(self._sink.lines))

    def _drive(self, action: DrivenAction) -> None:
        obj, event = self._objects[action.agent_id], action.event
        method, args, kwargs = self._prepared(action.call, obj)
        # The user's code may have set up recording since the last action.
        if installed.active is not self._pipeline:
            install_pipeline(self._pipeline)
        if event.extra.get("outcome") in {"cancelled", "interrupted"}:
            self._outcome.doubts.append(f"step {action.number} was {event.extra['outcome']} from outside")
        self._sink.clear()
        self._answered_at.clear()
        if not action.is_plain:
            self._judge.begin(action)
        self._current = action
        self._player.begin(action)
        self._sources.begin()
        self._expected.expect(action)
        self._generators.clear()
        tick, fields = event.tick, scope_fields(event, self._decoder)
        scope = Scope(None, tick=tick, fields=fields) if fields or tick is not None else None
        token = current_scope.set(scope)
        error: BaseException | None = None
        try:
            self._watch.begin(action)
            try:
                if action.number == self._stop_at:
                    in_debugger(method, partial(self._call, method, args, kwargs))
                else:
                    self._call(method, args, kwargs)
            finally:
                self._watch.end()
        except ReplayStopped:
            pass  # the player is stopped, which is looked at below
        except BaseException as raised:  # noqa: BLE001 - whatever it raises is compared with the record
            error = raised
        finally:
            current_scope.reset(token)
        self._outcome.counts.driven += 1
        if self._generators:
            self._doubt_draws(action)
        if self._player.is_stopped:
            self._judge.look_back(action, self.effects_so_far())
            raise ReplayStopped
        self._finish(action, obj, error)

    def _finish(self, action: DrivenAction, obj: object, error: BaseException | None) -> None:
        if not self._player.has_begun:
            what = f" (it raised {type(error).__name__}: {error})" if error is not None else ""
            self._player.stop(
                f"{action.call.name} of {action.agent_id} left no event{what}: is it decorated, or "
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
            replayed = self._judge.compare(action, self._events(), missing, self._answered_at)
            self._expected.learn(action, replayed.code)
        self._sources.compare_left(action)
        for event in action.after:
            self._whole.compare(action, event, obj, is_behind=True)
        if action.number >= self._last_states.begin:
            self._last_states.look(action.number)

    def _prepared(self, call: RecordedCall, obj: object) -> tuple[Any, list[Any], dict[str, Any]]:
        event = call.event
        method = bound_method(obj, str(event.extra.get("call")))
        if method is None:
            self._player.stop(
                f"{type(obj).__qualname__} has no method {call.name!r}, which event {event.id} called"
            )
        recorded = event.extra.get("args")
        if event.types or type(recorded) is not dict:
            recorded = self._restored_arguments(call)
        else:
            recorded = copy_tree(recorded)
        try:
            args, kwargs = bind_arguments(method, recorded)
        except MisfitArguments as error:
            self._player.stop(f"the recorded arguments do not fit {call.told}: {error}")
            raise
        return method, args, kwargs

    def _restored_arguments(self, call: RecordedCall) -> dict[str, Any]:
        event = call.event
        if "args" not in event.extra:
            self._player.stop(f"the arguments of {call.told} were not captured (capture_args=False)")
        restored = self._decoder.restore(Recorded(event.extra["args"], event.types or {}, "/extra/args"))
        if restored.unrestored or not isinstance(restored.value, dict):
            lacking = (restored.unrestored or ["they are not a mapping of names"])[0].replace(
                "/extra/args/", ""
            )
            self._player.stop(f"an argument of {call.told} cannot be restored: {lacking}")
        if restored.is_redacted:
            self._outcome.doubts.append(f"an argument of {call.told} is redacted")
        return dict(restored.value)

    def _call(self, method: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        result = method(*args, **kwargs)
        if result is None or type(result) in _PLAIN:
            return
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            name = getattr(method, "__qualname__", type(method).__qualname__)
            self._player.stop(f"{name} is a generator, and the recording has only the number of its items")
        if inspect.isawaitable(result):
            import asyncio

            if self._loop is None:
                self._loop = asyncio.new_event_loop()

            async def awaited() -> Any:
                return await result

            self._loop.run_until_complete(awaited())

    def _events(self) -> list[Event]:
        return [decode_line(line) for line in self._sink.lines]

    def effects_so_far(self) -> list[Event]:
        """What happened inside the action that is being replayed, up to now."""
        return [
            event
            for event in self._events()
            if event.parent_span_id is not None and not is_of_framework(event) and event.kind != "metric"
        ]

    def _restore(self, agent_id: str, obj: object) -> None:
        """Put the first recorded state onto an object and see that it is there."""
        first = self._facts[agent_id].first_state
        if agent_id in self._restored or first is None:
            return
        self._restored.add(agent_id)
        known = self._pipeline.agents.find(obj)
        if known is not None:
            known.tracker = None  # what the factory did is no part of its story
        self.nearby.update(agents_in(obj))
        first_state = restorable(first, self._decoder)
        self._compare_factory(agent_id, obj, first, first_state.fields)
        self._put_back(agent_id, obj, first_state.fields)
        if first_state.is_redacted:
            self._outcome.doubts.append(f"secrets in the first state of {agent_id} were replaced by tokens")
        self._whole.begin(agent_id, first, obj)
        self._outside.begin(agent_id, obj, self._facts[agent_id].written_outside)
        found = state_difference(first, obj, self._pipeline, self._comparison, self._fields)
        if found is None:
            return
        name, difference = found
        if name not in first_state.lacking:
            self._player.stop(
                f"the restored state of {agent_id} differs from the recording before its first action: field "
                f"{name}{difference.path}, recorded {difference.recorded!r}, here {difference.replayed!r}"
            )
        if is_of_names(difference):
            # What a name stands for cannot have come from the surroundings: it is the code that differs.
            self._differs_at_first(agent_id, first, name, difference)
        place = "" if not difference.path else f" at {python_path(difference.path, start=name)}"
        reason = (
            f"field {name} of {agent_id} {MADE_OTHERWISE}{place}: recorded "
            f"{difference.recorded!r}, made {difference.replayed!r}; build it in the factory as it was "
            f"before the first action, or ignore it: --ignore {name}"
        )
        names = self._of_code_alone(first, obj)
        if not names:
            self._player.stop(reason)
        self._outcome.changed_inside.update({f"{agent_id}.{each}": reason for each in names})

    def _of_code_alone(self, first: Event, obj: object) -> list[str]:
        """The fields that differ, if that is by code alone that they hold; a replay shows what it does."""
        with_code = [
            name for name, _ in state_differences(first, obj, self._pipeline, self._comparison, self._fields)
        ]
        self._comparison.passes_code = True
        if state_difference(first, obj, self._pipeline, self._comparison, self._fields) is None:
            return with_code
        self._comparison.passes_code = False
        return []

    def _compare_factory(self, agent_id: str, obj: object, first: Event, restored: Collection[str]) -> None:
        """Say how the factory's object differs from the first recorded state, which replaces its state."""
        for name, difference in state_differences(
            first, obj, self._pipeline, self._comparison, self._fields, restored
        ):
            if self._is_factory_strict:
                self._differs_at_first(agent_id, first, name, difference)
            if is_generator(first, name):
                told = f"the random generator {name} in another state; the recorded state is used"
            else:
                made, recorded = short(difference.replayed), short(difference.recorded)
                told = f"{name}{difference.path}={made}, recorded {recorded}"
            self._outcome.factory_differences.append(f"{agent_id}: factory made {told}")

    def _differs_at_first(self, agent_id: str, first: Event, name: str, difference: Difference) -> NoReturn:
        action = self._current
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
                "what the factory made",
            )
        )

    def _put_back(self, agent_id: str, obj: object, fields: Mapping[str, Any]) -> None:
        self._sources.is_putting = True
        try:
            put_back(obj, fields, self._shared)
        except Exception as error:  # noqa: BLE001 - the user's own code may restore
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

    def _keeps(self, agent_id: str) -> Collection[str]:  # noqa: ARG002 - forks ask
        """Fields that stay as they are, whatever was written there from outside."""
        return ()

    def _doubt_draws(self, action: DrivenAction) -> None:
        for name, (generator, before) in self._generators.items():
            if generator_state(generator) != before:
                self._outcome.reason(
                    f"{action.agent_id} draws from {name}, a generator that others draw from, too: their "
                    "draws were not recorded; `recorder.adopt(generator)`, there and in the target, does"
                )

    def _close_loop(self) -> None:
        if self._loop is None:
            return
        import asyncio

        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._outcome.remarks.append(f"{len(tasks)} background tasks were still open at the end")
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
