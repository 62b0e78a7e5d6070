"""One traced call while it is open, from its arguments to its event.

`decorators.py` opens it. At entry the arguments are encoded, before the body can change them. At exit the
result and the duration are added; the outermost action of an agent also has the digest of the code that ran
and the state changes.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from contextvars import Token
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import orjson

from Agent.event.pointers import unescape
from Agent.event.values.opaque import LARGE_BYTES
from Agent.event.values.plain import SCALARS
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope, learn_secrets
from Agent.record.emit.installed import Limit
from Agent.record.encode.large_contents import (
    size_if_cut,
    sizes_if_cut,
    sizes_of_large,
    unread,
)
from Agent.record.encode.native import native
from Agent.record.state.agent_writes import BY, wait_for_turn
from Agent.record.state.agents import agent_id_of, tell_nameless
from Agent.record.state.introspection import is_object
from Agent.record.state.tracker import NONE, Known, StateTracker
from Agent.record.tracing.changed_arguments import (
    Place,
    Whole,
    args_after,
    cannot_change,
    held,
    most_whole,
    places_held,
    result_is,
    shares_parts,
    still_holds,
)
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.record.tracing.function_facts import CodeIdentity, FunctionFacts
from Agent.record.tracing.state_events import (
    changes_tail,
    emit_found,
    emit_gone_states,
    emit_outside,
    emit_state,
    look_at_given,
    tail_of_changes,
    values_of_many,
    with_draws,
)

if TYPE_CHECKING:
    from Agent.record.emit.context import Reads
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.capture import Types
    from Agent.record.encode.event_template import AgentBinding
    from Agent.record.state.held_objects import HeldObject

MOST_TURNS = 4_096
"""An async call that resumes more often records only this many turns."""


class Call:
    """A traced call that is open."""

    __slots__ = (
        "args_body", "binding", "board_slot", "changeable", "held", "is_entry", "is_probed", "leave",
        "pipeline", "reads", "root", "secrets", "span_id", "spec", "started_ns", "target", "token",
        "tracker", "turns", "types", "whole",
    )  # fmt: skip
    whole: Whole | None
    """The objects in arguments that are not plain, if those hold plain data alone."""
    turns: list[int]
    """Numbers of an async call's begin and resumptions, in the order of all such turns in the process."""

    _learn_secrets = staticmethod(learn_secrets)

    def __init__(
        self,
        spec: FunctionFacts,
        pipeline: Pipeline,
        target: object,
        known: Known | None,
        scope: SpanScope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.spec, self.pipeline, self.target = spec, pipeline, target
        self.leave: Callable[[Any, BaseException | None], None] | None = None
        if known is not None:
            binding = known.binding
        elif scope is not None and scope.agent is not None:
            binding = scope.agent
        else:
            binding = pipeline.binding(None, None, spec.kind, spec.category)
            if spec.is_action and target is not None and not issubclass(type(target), type):
                tell_nameless(target)
        self.binding: AgentBinding = binding
        self.tracker: StateTracker | None = None
        # `root`: no action is open at all. `is_entry`: no action of this agent is open. Entries record code
        # and state, so that one agent can be replayed alone even if another agent's action encloses it.
        self.root = spec.is_action and (scope is None or not scope.actions)
        self.is_entry = spec.is_action and (scope is None or binding not in scope.actions)
        self.is_probed = self.root and pipeline.agents.probe.left > 0 and pipeline.agents.probe.begins()
        self.held: tuple[HeldObject, ...] | None = None
        if self.is_entry and known is not None:
            self._look_at_state(known, target)
        if self.root:
            self._look_at_held(None if self.tracker is None else self.tracker.held)
        self.types: Types | None = None
        self.changeable: tuple[dict[str, Any], bytes | None, tuple[Any, ...]] | None = None
        """For actions whose arguments the body may change in place: the arguments, their JSON if they are
        plain, and the objects in them."""
        found: list[str] | None = None
        if spec.capture_args:
            arguments = spec.arguments(args, kwargs)
            # Taken before encoding, so that a change by another thread during it is noticed.
            kept = held(arguments) if spec.is_action else None
            raw = pipeline.capture.judge.value(arguments) if arguments else b"{}"
            if raw is not None:
                self.args_body = b'"args":%s,' % raw
                if kept is not None:
                    self.changeable = arguments, raw, kept
            else:
                found = self._careful_arguments(arguments)
        else:
            self.args_body = b""
        self.span_id = span_id = pipeline.next_span_id()
        inside = SpanScope(scope, span_id=span_id, name=spec.label, agent=binding, is_action=spec.is_action)
        if found:
            self._learn_secrets(inside, found)
        self.secrets = inside.secrets
        self.reads: Reads | None = None
        if installed.open_reads is not None and spec.is_action:
            self.reads = inside.reads = installed.open_reads(spec)
        self.token: Token[SpanScope | None] = current_scope.set(inside)
        self.board_slot = -1
        board = pipeline.board
        if board is not None:
            self.board_slot = board.open_span(
                span_id, binding.agent_id, spec.label, pipeline.wall_ns() // 1000
            )
        self.started_ns = pipeline.monotonic_ns()

    def _careful_arguments(self, arguments: dict[str, Any]) -> list[str]:
        """Encode arguments that are not plain; return the secrets among them, recognised by name."""
        spec, contents = self.spec, self.pipeline.large_contents(self.spec)
        look_at_given(self.pipeline, arguments)
        read, shown = arguments, arguments
        cut = sizes_if_cut(arguments, self.pipeline.capture.limits)
        large = spec.large_arguments.keys() | spec.large_changes.keys() | cut.keys()
        of_program = self.pipeline.program_contents
        large |= of_program.large_of(arguments)
        if large and not contents.is_due():
            read = {name: value for name, value in arguments.items() if name not in large}
            shown = {
                name: value if name in read else unread(value, is_cut=name in cut)
                for name, value in arguments.items()
            }
        can_change = spec.is_action and not cannot_change(map(type, read.values()))
        # Taken before encoding, as above.
        self.whole = Whole(read, spec.most_whole) if can_change else None
        found: list[str] = []
        body, self.types = self.pipeline.capture.body({"args": shown}, found=found)
        self.args_body = body + b","
        sizes = sizes_of_large(body, self.types, "args", self.pipeline.capture.limits)
        if sizes:
            of_program.note_large(map(arguments.__getitem__, sizes))
        if read is arguments:
            spec.most_whole = most_whole(body)
            spec.large_arguments = sizes
            contents.spend(sum(sizes.values()) + sum(cut.values()))
        elif sizes:  # arguments that were small when all were read last
            spec.large_arguments = {**spec.large_arguments, **sizes}
            contents.spend(sum(sizes.values()))
        if self.types and self.is_entry and self.tracker is not None:
            places = places_held(arguments, self.target)
            if places:
                self.args_body += b'"args_held":%s,' % orjson.dumps(places)
        if can_change:
            self.changeable = read, None, ()
        return found

    def _tell_gone(self) -> None:
        emit_gone_states(self.pipeline)

    def _look_at_state(self, known: Known, target: object) -> None:
        pipeline = self.pipeline
        if pipeline.agents.gone:
            self._tell_gone()
        tracker = self.tracker = known.tracker or pipeline.agents.tracker(known, target)
        actions, strict = tracker.actions, self.spec.strict_state
        if not actions:
            pipeline.agents.warn_of_twins(known, target)
        period = pipeline.options.state_period
        is_due = actions % period == 0
        if actions and self.root and tracker.heavy:
            if pipeline.options.follows_states:
                is_due = tracker.is_due
            elif is_due and pipeline.options.entry_looks:
                # A full state of a large graph may take longer than all actions of a period.
                is_due = not tracker.holds_large(target) or pipeline.large_states.is_due(period)
            elif not actions & (actions - 1) and pipeline.options.entry_looks:
                # Additional ones after 1, 2, 4, 8, ... actions find a difference in a large field sooner.
                is_due = tracker.holds_large(target) and pipeline.large_states.is_due()
                if is_due:
                    # By the number of fields: a small size may depend on where the program runs.
                    pipeline.large_states.spend(LARGE_BYTES * len(tracker.heavy))
        tracker.is_due = False
        # Also done before a periodic full state, which would otherwise contain writes that no event explains.
        if actions and (pipeline.options.strict_state if strict is None else strict):
            emit_outside(pipeline, known, target)
        elif actions and self.root:
            looks = pipeline.options.entry_looks
            if actions <= looks or (is_due and looks):
                emit_outside(pipeline, known, target)
            elif written := tracker.watched | (
                tracker.rewritten(tracker.present(target)) if looks else frozenset()
            ):
                emit_outside(pipeline, known, target, written)
        if is_due:
            reason = "first" if actions == 0 else "periodic"
            emit_state(pipeline, self.binding, tracker, target, reason)
        tracker.actions += 1

    def _look_at_held(self, held: tuple[HeldObject, ...] | None) -> None:
        if held is None and not self.pipeline.agents.between.is_watching:
            return
        self.held = held or ()
        self._look_between()

    def _look_between(self) -> None:
        """Record what code outside of actions changed in objects that agents hold."""
        between = self.pipeline.agents.between
        mine, taken = (threading.get_ident(),), between.taken
        try:
            wait_for_turn(taken, mine)
            found = between.begins(self.held or (), self)
            if found is not None:
                emit_found(self.pipeline, self.binding, found, self.held or ())
        finally:
            try:  # without a call, as in `BetweenActions.ended`
                if taken[BY] is mine:
                    del taken[BY]
            except KeyError:
                pass

    def end(self, result: Any) -> None:
        """The body returned: write the event."""
        pipeline = self.pipeline
        # First, so that the duration excludes the work of recording.
        duration_ns = pipeline.monotonic_ns() - self.started_ns
        try:
            self._close_scope()
            body = self.args_body if self.changeable is None else self._args_and_changes(result)
            if self.spec.capture_result:
                raw = pipeline.capture.judge.value(result)
                body = self._with_result(body, result) if raw is None else b'%s"result":%s,' % (body, raw)
            self._tell_end(self._emit(body, duration_ns), None)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def _tell_end(self, event_id: str, error: BaseException | None) -> None:
        if self.is_entry and self.pipeline.watcher is not None:
            self.pipeline.watcher.action_ended(self, event_id, error)

    def _with_result(self, body: bytes, result: object) -> bytes:
        """Append a result that is not plain to the body."""
        whole, types = self._told_result("result", result)
        self.types = _tags(self.types, types)
        return body + whole + b","

    def _told_result(self, key: str, result: object) -> tuple[bytes, Types | None]:
        """Encode a result, or what stands for one that this call cannot afford to read."""
        spec, capture = self.spec, self.pipeline.capture
        size = size_if_cut(result, capture.limits)
        # An account of its own: a call may be asked about its arguments, too.
        contents = self.pipeline.large_contents(spec, of_results=True)
        of_program = self.pipeline.program_contents
        is_large = bool(size or spec.large_result or of_program.large_of({key: result}))
        if is_large and not contents.is_due():
            return capture.body({key: unread(result, is_cut=size > 0)})
        whole, types = capture.body({key: result})
        spec.large_result = sum(
            sizes_of_large(b'"extra":{%s}' % whole, types, "extra", capture.limits, "").values()
        )
        if spec.large_result:
            of_program.note_large((result,))
        contents.spend(size + spec.large_result)
        return whole, types

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, the event, and the full state."""
        duration_ns = self.pipeline.monotonic_ns() - self.started_ns
        try:
            outcome = outcome_of(error)
            ending = b'"outcome":"%s",' % outcome.encode()
            if outcome == "error":
                # While the span is still open, so that the error is recorded inside it.
                more = {self.spec.label_key: self.spec.label, "call": self.spec.qualname}
                error_id = record_error(self.pipeline, self.binding, error, more=more)
                ending += b'"error_id":%s,' % orjson.dumps(error_id)
            elif isinstance(error, SystemExit):
                ending += self._member("exit_code", error.code)
            elif outcome == "interrupted" or error.args:
                raised = {"class": type(error).__qualname__, "args": list(error.args)}
                ending += self._member("raised", raised)
            self._close_scope()
            body = self.args_body if self.changeable is None else self._args_and_changes(error)
            event_id = self._emit(body + ending, duration_ns)
            if outcome == "error" and self.tracker is not None:
                emit_state(self.pipeline, self.binding, self.tracker, self.target, "error")
            self._tell_end(event_id, error if outcome == "error" else None)
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        if self.leave is not None:
            self.leave(None, error)

    def _member(self, name: str, value: object) -> bytes:
        """Return a value of the payload as JSON, with a comma behind it."""
        body, types = self.pipeline.capture.body({name: value})
        self.types = _tags(self.types, types)
        return body + b","

    def _args_and_changes(self, result: object) -> bytes:
        """Return the arguments as they were at entry, followed by those that the body changed in place."""
        assert self.changeable is not None  # noqa: S101 - the caller checked it; for the type checker
        capture, (arguments, plain, kept) = self.pipeline.capture, self.changeable
        spec, contents = self.spec, self.pipeline.large_contents(self.spec)
        now: tuple[bytes, Types | None] | None = None
        grown: Collection[str] = ()
        if plain is not None:
            is_same = still_holds(arguments, kept) or capture.judge.value(arguments) == plain
            if not is_same:
                grown = self._too_large_now(arguments)
        elif self.whole is not None and self.whole.is_in(arguments):
            is_same = True
        else:
            grown = self._too_large_now(arguments)
            shown = arguments
            if grown:
                shown = {name: unread(each) if name in grown else each for name, each in arguments.items()}
            now = capture.body({"args": shown})
            contents.spend(sum(spec.large_arguments.get(name, 0) for name in arguments))
            is_same = now[1] == self.types and self.args_body.startswith(now[0] + b",")
        # A replay may answer only the outermost call of an agent, and no root.
        may_be_answered = self.is_entry and not self.root
        if is_same:
            is_asked = may_be_answered and type(result) not in SCALARS
            given_back = result_is(arguments, result) if is_asked else None
            if given_back is None:
                return self.args_body
            return b'%s"result_is":%s,' % (self.args_body, orjson.dumps(given_back))
        entry, was_plain = self.args_body[:-1], plain is not None
        returned = result if may_be_answered else None
        changes, types = args_after(
            capture, arguments, entry, self.types, returned, was_plain=was_plain, now=now, unread=grown
        )
        if arguments.keys() >= spec.large_changes.keys():
            spec.large_changes = sizes_of_large(
                changes[:-1], types, "args_after", self.pipeline.capture.limits
            )
            contents.spend(sum(spec.large_changes.values()))
        is_tagged, self.types = bool(self.types), _tags(self.types, types)
        places: dict[str, Place] = {}
        if changes and self.tracker is not None:
            places = places_held(arguments, self.target)
            if places and not is_tagged:
                # With a tag, `_careful_arguments` has recorded it. A replay passes the agent's own object,
                # whose field changes with it.
                changes += b'"args_held":%s,' % orjson.dumps(places)
        is_of_agent = self.tracker is not None or not (self.is_entry or self.target is None)
        if changes and is_of_agent and shares_parts(arguments, places, self.target):
            changes += b'"args_shared":true,'
        return self.args_body + changes

    def _too_large_now(self, arguments: dict[str, Any]) -> Collection[str]:
        """Return the arguments that the body made so large that the call cannot afford to read them.

        Those that were as large at entry are read again, as they were then.
        """
        cut = sizes_if_cut(arguments, self.pipeline.capture.limits)
        if not cut:
            return ()
        contents = self.pipeline.large_contents(self.spec)
        grown = cut.keys() - {
            unescape(place.split("/")[3])
            for place, tag in (self.types or {}).items()
            if tag == "truncated" and place.startswith("/extra/args/")
        }
        unpaid = grown if grown and not contents.is_due() else set()
        contents.spend(sum(size for name, size in cut.items() if name not in unpaid))
        return unpaid

    def _close_scope(self) -> None:
        if self.board_slot >= 0 and self.pipeline.board is not None:
            self.pipeline.board.close_span(self.board_slot)
        self._leave_scope()

    def _leave_scope(self) -> None:
        try:
            current_scope.reset(self.token)
        except ValueError:
            self._note_other_context()

    def _note_other_context(self) -> None:
        """Count a span closed in another context than the one it was opened in, as at an event loop's end."""
        self.pipeline.health.note("a span was closed in another context")

    def _emit(self, body: bytes, duration_ns: int) -> str:
        """Write the event and return its id; in `body`, arguments and result are each followed by a comma."""
        spec, pipeline, types = self.spec, self.pipeline, self.types
        if self.held is not None:
            held, self.held = self.held, None
            pipeline.agents.between.ended(held, self)
        # Arguments and result were encoded without searching their texts for secrets; one pass does both.
        if body and not pipeline.capture.judge.clean(body):
            looked_at, types = pipeline.redactor.payload(body[:-1], types, "/extra")
            body = looked_at + b","
        if self.reads is not None:
            # A replay needs what was read, also from a source with a name such as `secrets`.
            self.reads.close()
            read, read_types = self.reads.body(pipeline.capture)
            body += read
            types = _tags(types, read_types)
        tail = b""
        if spec.is_action:  # nested ones as well: their function may never be an entry
            code = spec.code or spec.identify()
            if code not in pipeline.codes_written:
                code.tell(pipeline)
        if self.is_entry:
            present = None
            if self.is_probed:
                values: Iterable[object] = ()
                if self.tracker is not None:
                    # The state is read once. If that fails, `changes_tail` reads it again and reports why.
                    present = self.tracker.present(self.target) or None
                    values = values_of_many(self.tracker, present or {})
                for changed in pipeline.agents.probe.ended(values):
                    if is_object(changed, agent_id_of):
                        pipeline.agents.holders.note(changed, str(self.binding.agent_id))
            if self.tracker is not None:
                tail, state_types = changes_tail(pipeline, self.tracker, self.target, code, present)
                types = _tags(types, state_types)
            else:
                tail = code.tail
        if self.secrets:
            # A result may repeat a secret argument. The state is left alone: full states would repeat it.
            body, types = pipeline.redactor.without(self.secrets, body.removesuffix(b","), types, "/extra")
            body = body + b"," if body else b""
        return self._write(body, types, tail, duration_ns)

    def _state_tail(self, code: CodeIdentity) -> bytes | tuple[bytes, Types]:
        """Return the end of an entry action's line, with the tags of changed values if there are any."""
        assert self.tracker is not None  # noqa: S101 - the caller checked it; for the type checker
        tail, types = changes_tail(self.pipeline, self.tracker, self.target, code)
        return (tail, types) if types else tail

    def _changed_tail(self, code: CodeIdentity, changed: dict[str, Any]) -> bytes | tuple[bytes, Types]:
        """Return the same as `_state_tail`, for changes that are already known."""
        tracker = self.tracker
        assert tracker is not None  # noqa: S101 - as above
        if forms := tracker.forms:
            tracker.forms = NONE
        tail, types = tail_of_changes(self.pipeline, tracker, self.target, code, changed, [], forms)
        return (tail, types) if types else tail

    def _with_draws(self, tail: bytes | tuple[bytes, Types]) -> bytes | tuple[bytes, Types]:
        """Add to such an end of a line where the action left the generators that it drew from."""
        assert self.tracker is not None  # noqa: S101 - as above
        if isinstance(tail, tuple):
            return with_draws(self.pipeline, self.tracker, self.target, tail[0]), tail[1]
        return with_draws(self.pipeline, self.tracker, self.target, tail)

    def _write(self, body: bytes, types: Types | None, tail: bytes, duration_ns: int) -> str:
        """Write an event whose body is complete except for the duration."""
        spec, pipeline = self.spec, self.pipeline
        duration_ms = duration_ns / 1e6
        slot = self.binding.slots.get(spec.slot_key) or self.binding.slot(*spec.slot_key)
        if spec.kind == "metric":
            measured = b'%s%s"value":%.6g,"duration_ms":%.6g' % (spec.head, body, duration_ms, duration_ms)
            return pipeline.emit(slot, spec.label, body=measured, span_id=self.span_id, buffered=True)
        if spec.is_async:
            capture_ns = pipeline.monotonic_ns() - self.started_ns - duration_ns
            loop = orjson.dumps([_task_number(), *self.turns, pipeline.turns.next()])
            body = b'%s"capture_ms":%.6g,"loop_turns":%s,' % (body, capture_ns / 1e6, loop)
        whole = b'%s%s"duration_ms":%.6g' % (spec.head_root if self.root else spec.head, body, duration_ms)
        return pipeline.emit(slot, spec.label, body=whole, types=types, span_id=self.span_id, tail=tail)

    def resumed(self) -> None:
        """The body of an async call resumes after an `await`."""
        if len(self.turns) < MOST_TURNS:
            self.turns.append(self.pipeline.turns.next())

    def _trouble(self, error: BaseException) -> None:
        self.pipeline.health.drop("a call could not be recorded")
        self.pipeline.health.trouble(f"the end of {self.spec.qualname}", error)


if native is not None:
    read = (Call, CodeIdentity, FunctionFacts, Known, Limit, StateTracker)
    native.learn({each.__name__: each for each in read})
    native.quicken(Call)


def _task_number() -> int:
    """Return a number that identifies the running asyncio task in this process; 0 outside of tasks."""
    asyncio = sys.modules.get("asyncio")
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # another library's event loop
        return 0
    if task is None:
        return 0
    number = _task_numbers.get(task)
    if number is None:
        number = _task_numbers[task] = next(_new_task_numbers)
    return number


_task_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_new_task_numbers = itertools.count(1)


def _tags(types: Types | None, more: Types | None) -> Types | None:
    return {**types, **more} if types and more else types or more


class SteppedCall(Call):
    """A call that is open until its generator ends; `yielded` counts the items, which are not recorded."""

    __slots__ = ("active_ns", "outer", "resumed_ns", "scope", "yielded")

    body = None

    def __init__(self, *given: Any) -> None:
        self.outer = current_scope.get()
        super().__init__(*given)
        self.scope = current_scope.get()
        self.yielded = 0
        self.active_ns = 0
        self.resumed_ns = self.started_ns

    def suspend(self, _item: Any) -> None:
        """An item was yielded: leave the span while the consumer runs."""
        self.yielded += 1
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        self._leave_scope()

    def resume(self) -> None:
        """The body resumes: enter its span again, with the current tick of the simulation."""
        self.resumed_ns = self.pipeline.monotonic_ns()
        scope, around = self.scope, current_scope.get()
        if around is not None and around.tick is not None and scope is not None and around.tick != scope.tick:
            scope = SpanScope(scope, tick=around.tick)
        self.token = current_scope.set(scope)

    def end(self, result: Any) -> None:
        """The body returned: write the event."""
        body = b""
        if result is not None and self.spec.capture_result:
            try:
                raw, returned_types = self._told_result("returned", result)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                self._trouble(error)
            else:
                body = raw + b","
                self.types = _tags(self.types, returned_types)
        self._finish(body, result)

    def close(self) -> None:
        """The generator was closed or abandoned before its end: write the event."""
        self._finish(b'"outcome":"closed",', None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, and the event."""
        if self._is_late():
            return
        super().fail(error)

    def _finish(self, ending: bytes, result: Any) -> None:
        if self._is_late():
            return
        duration_ns = self.pipeline.monotonic_ns() - self.started_ns
        try:
            self._close_scope()
            self._tell_end(self._emit(self.args_body + ending, duration_ns), None)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def _is_late(self) -> bool:
        """Whether the recording in which it began has ended, so that its event cannot be written."""
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        if not self.pipeline.closed:
            return False
        self.pipeline.health.note("a generator outlived the recording that it began in")
        self._leave_scope()
        return True

    def _emit(self, body: bytes, duration_ns: int) -> str:
        """Write the event in the scope where the generator began, not in that of its last consumer."""
        counted = b'%s"yielded":%d,"active_ms":%.6g,' % (body, self.yielded, self.active_ns / 1e6)
        token = current_scope.set(self.outer)
        try:
            return super()._emit(counted, duration_ns)
        finally:
            current_scope.reset(token)
