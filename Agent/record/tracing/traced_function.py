"""What is known of a traced function before it is called: what the decorators and `instrument` share.

Its first recorded call loads what else that takes: `traced_call.py` comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from Agent.event.kinds import Category
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.installed import current_pipeline
from Agent.record.emit.levels import LIMITS
from Agent.record.emit.player import Answer, TracedCall, current_player
from Agent.record.tracing.functions import parameters_of
from Agent.tree.undisturbed import undisturbed

if TYPE_CHECKING:
    from Agent.record.state.agents import Known
    from Agent.record.tracing.code_identity import CodeIdentity
    from Agent.record.tracing.traced_call import Call

_RECEIVERS = frozenset({"self", "cls", "mcs", "_self", "this"})
_ACTION_KINDS = frozenset({"agent_action", "learning_update"})
_LABEL_KEY = {"agent_action": "action_type", "learning_update": "learning_stage", "metric": "metric_name"}
_CATEGORY = {
    "agent_action": Category.AGENTS,
    "learning_update": Category.LEARNING,
    "metric": Category.PERFORMANCE,
}


class TraceSpec:
    """What is known of a traced function before it is called.

    Args:
        function: the undecorated function.
        kind: the kind of event that a call leaves: agent_action, learning_update or metric.
        label: action type, update type or name of the measurement.
        attribute: the name under which the target holds it, where that is not the function's own.
        strict_state: look at the agent's state at entry too; None leaves it to the options.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        kind: str,
        label: str,
        *,
        level: int = 20,
        attribute: str | None = None,
        capture_args: bool = True,
        capture_result: bool = True,
        strict_state: bool | None = None,
        is_method: bool | None = None,
    ) -> None:
        self.function = function
        self.kind = kind
        self.label = label
        self.level = level
        self.capture_args = capture_args and kind != "metric"
        self.capture_result = capture_result and kind != "metric"
        self.strict_state = strict_state
        self.is_action = kind in _ACTION_KINDS
        self.category = _CATEGORY[kind].value
        self.limit = LIMITS[self.category]
        self.label_key = _LABEL_KEY[kind]
        self.slot_key = kind, level
        self.is_stepped = False
        """A generator, whose calls go on step by step."""
        self.is_async = False
        """A coroutine function: others act while it is open, so its events tell exactly when it began."""
        self.call_type: type[Call] | None = None
        self.open: Callable[[tuple[Any, ...], dict[str, Any]], Call | Answer | None] = self.begin
        """`begin`, or what does the same in less time once there was a call."""
        self.code: CodeIdentity | None = None
        owner, _, name = function.__qualname__.rpartition(".")
        self.qualname = f"{owner}.{attribute}" if attribute and owner else attribute or function.__qualname__
        self._unit = {"unit": "ms"} if name != self.qualname and kind == "metric" else {}
        self._parameters = parameters_of(function)
        first = next(iter(self._parameters.positional), self._parameters.rest)
        # A function in a class whose first parameter has another name than `self` may be a method, or what a
        # staticmethod will hold: the first call tells.
        in_class = owner != "" and not owner.endswith("<locals>")
        named_like_one = first in _RECEIVERS
        self.is_undecided = is_method is None and in_class and first is not None and not named_like_one
        self.treat_as_method(named_like_one if is_method is None else is_method)

    def treat_as_method(self, is_method: bool) -> None:
        """Settle whether the first argument is the target or an argument like the others."""
        self.is_method = is_method
        positional, rest = self._parameters
        self.names = positional[1:] if is_method else positional
        # The target may be the first of `*rest` itself.
        self.rest_name = rest if positional or not is_method else None
        self.max_plain_args = len(self.names) + is_method

    @undisturbed()
    def _prepare(self) -> type[Call]:
        """Make what its recorded calls need, once: their class, and the head of their payload."""
        import orjson

        from Agent.record.encode.native import native
        from Agent.record.tracing.generator_call import SteppedCall
        from Agent.record.tracing.traced_call import Call

        # The head is the same for every call, but for the mark of a root action.
        shared = {self.label_key: self.label, "call": self.qualname, **self._unit}
        self.head = orjson.dumps(shared)[1:-1] + b","
        self.head_root = orjson.dumps({**shared, "root": True})[1:-1] + b","
        self.call_type = SteppedCall if self.is_stepped else Call
        self.is_plain = self.kind != "metric" and not self.is_async and not self.is_stepped
        if native is not None and self.call_type is Call:
            self.open = native.Opener(self, self.begin, vars(installed), current_player, current_scope, Call)
        return self.call_type

    def target_of(self, args: tuple[Any, ...]) -> object:
        """The object whose method is called with these arguments; None for a function."""
        if self.is_undecided:
            self._decide(args)
        return args[0] if self.is_method and args else None

    def _decide(self, args: tuple[Any, ...]) -> None:
        """Treat it as a method if it is called with an object of the class that it was defined in."""
        owner = self.function.__qualname__.rpartition(".")[0]
        classes = type(args[0]).__mro__ if args else ()
        self.treat_as_method(
            any(cls.__qualname__ == owner and cls.__module__ == self.function.__module__ for cls in classes)
        )
        self.is_undecided = False

    @undisturbed()
    def identify(self) -> CodeIdentity:
        """The code of the function, looked up once."""
        if self.code is None:
            from Agent.record.tracing.code_identity import CodeIdentity

            self.code = CodeIdentity(self.function)
        return self.code

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; those of a `*name` parameter stand as a list under `*name`."""
        given = args[1:] if self.is_method else args
        if not given:
            return kwargs.copy()
        bound = dict(zip(self.names, given, strict=False))
        if len(given) > len(self.names) and self.rest_name is not None:
            bound[f"*{self.rest_name}"] = list(given[len(self.names) :])
        if kwargs:
            bound.update(kwargs)
        return bound

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | Answer | None:
        """The open call; an Answer that stands for the body; None where nothing is to be recorded."""
        if self.limit.value > self.level:
            return None
        try:
            pipeline = installed.active
            if pipeline is None:
                pipeline = current_pipeline()
                if self.limit.value > self.level:
                    return None  # only now a level is set: this was the first call of all
            target = args[0] if self.is_method and args and not self.is_undecided else self.target_of(args)
            known = pipeline.agents.find(target) if target is not None else None
            scope = current_scope.get()
            call_type = self.call_type or self._prepare()
            player = current_player.get()
            if player is None:
                return call_type(self, pipeline, target, known, scope, args, kwargs)
            arguments = self.arguments(args, kwargs)
            described = self._traced_call(target, known, scope, arguments)
            answer = player.enter(described)
            if answer is not None:
                return answer
            call = call_type(self, pipeline, target, known, scope, args, kwargs, arguments)
            call.leave = lambda result, error: player.leave(described, result, error)
        except Exception as error:
            if current_player.get() is not None:
                raise  # a replay's refusal is its answer
            self.not_recorded(error)
            return None
        return call

    def not_recorded(self, error: Exception) -> None:
        """Count a call that could not be begun."""
        active = installed.active
        if active is not None:
            active.health.trouble(f"the call of {self.qualname}", error)
            active.health.drop("a call could not be recorded")

    def _traced_call(
        self,
        target: object,
        known: Known | None,
        scope: SpanScope | None,
        arguments: dict[str, Any],
    ) -> TracedCall:
        agent = known.binding if known is not None else scope.agent if scope is not None else None
        # By position, which takes half the time.
        return TracedCall(
            self.kind,
            agent.agent_id if agent is not None else None,
            agent.agent_role if agent is not None else None,
            self.label,
            self.qualname,
            arguments,
            target,
            scope is None or not scope.actions,
            self.is_stepped,
        )
