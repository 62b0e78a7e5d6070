"""Find when a condition on agents' states held, over the whole history of one agent or of all."""

from __future__ import annotations

import ast
import keyword
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import simpleeval

from Agent.analysis.session import agent_events
from Agent.errors import UsageError
from Agent.event.model import Event
from Agent.flight.checkpoints.state_fold import StateFold, change_of
from Agent.tree.read.reader import TreeReader

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    each.__name__: each for each in (abs, all, any, bool, float, int, len, max, min, round, sorted, str, sum)
}
_MOST_BITS = 100_000
"""The maximum size of a power in bits: each state computes it, and simpleeval's limit allows minutes."""


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _MOST_BITS:
        raise simpleeval.NumberTooHigh
    return operator.pow(base, exponent)


def _remainder(value: Any, divisor: Any) -> Any:
    if isinstance(value, str | bytes):  # `%` formats a text, of any width
        raise TypeError("% is for numbers")
    return operator.mod(value, divisor)


_OPERATORS = {**simpleeval.DEFAULT_OPERATORS, ast.Pow: _power, ast.Mod: _remainder}
_HIDDEN = tuple(simpleeval.DISALLOW_PREFIXES)
_KNOWN_NODES = (*simpleeval.EvalWithCompoundTypes().nodes, *_OPERATORS, ast.Starred)
_FIELD = "field"
"""What a condition calls with the name of a field that is no identifier, or means something else here."""
_REMEDY = f"use fields, operators, and {', '.join(sorted(_FUNCTIONS))}"
_OF_THE_EVENT = ("tick", "agent_id")
"""Names that a condition may use although no agent has a field of that name."""

_CHANGING = frozenset({"state", "state_change"})


def intervals(reader: TreeReader, condition: str, agent_id: str | None = None) -> dict[str, Any]:
    """Find the intervals in which a condition on an agent's exposed fields held.

    The condition is evaluated after each event that changed a field, with the fields as JSON values, but all
    numbers as numbers; a member of an enum is its name.

    Args:
        condition: an expression in Python's syntax over names of fields, such as `cooldown_until > 1000` or
            `len(inbox) > 3 and not values['video']`, and over `tick` and `agent_id`; `field('a.b')` is the
            field of a name that is no identifier. It cannot call anything else but abs, all, any, bool,
            float, int, len, max, min, round, sorted, str and sum. An event without a tick has that of the
            agent's event before it; before the first tick, no comparison with it holds.
        agent_id: whose history; None for all agents of the session.

    Returns:
        `condition`; `names` of the fields in it; `agents`, how many have all of these fields; `intervals`,
        in order of time: `agent_id`, `since` and `until` (id, timestamp, tick and action of the event;
        `until` is None if the condition held at the end), and `values`, the fields at `since`; `failures`,
        {error: states for which the condition could not be evaluated}.

    Raises:
        AgentNotFound: the session does not contain this agent.
        UsageError: the condition cannot be evaluated, or no agent has one of its fields.
    """
    holds = _Condition(condition)
    watched: dict[str, _Watched] = {}
    # one pass for all agents: a session of 10,000 has to be opened once, not once for each
    for event in reader.events() if agent_id is None else agent_events(reader, agent_id):
        name = agent_id or event.agent_id
        if name is not None:
            if name not in watched:
                watched[name] = _Watched(name, holds)
            watched[name].add(event)
    listed = [stretch for name in sorted(watched) for stretch in watched[name].stretches]
    known = {field for each in watched.values() for field in each.fold.fields}
    with_all = sum(holds.fields <= each.fold.fields.keys() for each in watched.values())
    missing = sorted(holds.fields - known - holds.met)
    if missing:
        nearest = sorted(known, key=lambda field: (not field.startswith(missing[0]), field))
        listed_fields = ", ".join([*map(_written, nearest[:12]), *(["..."] if len(known) > 12 else [])])
        some = listed_fields or "none: no state was recorded"
        raise UsageError(f"no agent has a field {missing[0]!r}", remedy=f"recorded fields: {some}")
    failures = holds.failures if holds.has_ticks else holds.failures + holds.untimed
    listed.sort(key=lambda each: (each["since"]["timestamp"], each["since"]["id"]))
    return {
        "condition": condition,
        "names": sorted(holds.fields),
        "agents": with_all,
        "intervals": listed,
        "failures": dict(failures.most_common()),
    }


class _Condition:
    """A parsed condition."""

    def __init__(self, text: str) -> None:
        try:
            # "eval" refuses statements: `coins = 3` would hold always
            calls = _CallsOfField()
            self._tree = calls.visit(ast.parse(text.strip(), mode="eval").body)
            nodes = list(ast.walk(self._tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(
                f"the condition {text!r} is not an expression: {getattr(error, 'msg', error)}",
                remedy="write it as in Python, such as 'cooldown_until > 1000 and tick == 40', and a field "
                "whose name is no identifier as in \"field('a.b') > 3\"",
            ) from error
        for node in nodes:
            if why := _refusal(node):
                raise UsageError(f"the condition {text!r} {why}", remedy=_REMEDY)
        if alone := next((part for part in _parts(self._tree, nodes) if not _has_name(part)), None):
            raise UsageError(
                f"the condition {text!r} names no field in {ast.unparse(alone)}",
                remedy="write names of fields without quotes, or as in \"field('a.b') > 3\"",
            )
        names = [node for node in nodes if isinstance(node, ast.Name)]
        self._text = text
        of_loops = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        self._called = calls.fields
        self._names = {node.id for node in names} - _FUNCTIONS.keys() - of_loops - self._called.keys()
        self.fields = (self._names - {*_OF_THE_EVENT}) | {*self._called.values()}
        self.is_of_each_event = "tick" in self._names
        self.met: set[str] = set()
        """The names that some agent had at some time."""
        self.failures: Counter[str] = Counter()
        self.untimed: Counter[str] = Counter()
        """The failures before an agent's first tick; they count only if there are no ticks."""
        self.has_ticks = False

    def holds(self, fields: dict[str, Any], event: Event, tick: int | None) -> bool:
        """Return whether it holds; a field that the agent lacks, or an error, means that it does not."""
        of_event = {"tick": tick, "agent_id": event.agent_id}
        self.has_ticks |= tick is not None
        values = {name: fields.get(name, of_event.get(name)) for name in self._names}
        values |= {name: fields.get(field) for name, field in self._called.items()}
        self.met |= self.fields & fields.keys()
        if not self.fields <= fields.keys():
            return False
        try:
            return bool(
                simpleeval.EvalWithCompoundTypes(_OPERATORS, _FUNCTIONS, values).eval(self._text, self._tree)
            )
        except simpleeval.AttributeDoesNotExist as error:
            self.failures[f"AttributeError: it has no member {error.attr!r}"] += 1
            return False
        except simpleeval.InvalidExpression as error:
            raise UsageError(
                f"the condition {self._text!r} makes a number, text or list that is too large",
                remedy="compare with smaller values",
            ) from error
        except Exception as error:  # noqa: BLE001 - a state that the condition does not fit is counted, not hidden
            is_untimed = tick is None and self.is_of_each_event and isinstance(error, TypeError)
            (self.untimed if is_untimed else self.failures)[f"{type(error).__name__}: {error}"] += 1
            return False


class _CallsOfField(ast.NodeTransformer):
    """Replaces calls of `field` by names that no identifier is equal to."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        """{name: the field}."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(ast.Name(id=name), [ast.Constant(value=str(field))], []) if name == _FIELD:
                called = f"{_FIELD}({field!r})"
                self.fields[called] = field
                return ast.copy_location(ast.Name(called, ast.Load()), node)
            case _:
                return self.generic_visit(node)


def _parts(tree: ast.expr, nodes: list[ast.AST]) -> Iterator[ast.expr]:
    """The expressions that are the same for each state unless they have a name, as `'coins' == 3`."""
    yield tree
    for node in nodes:
        match node:
            case ast.Compare():
                yield node
            case ast.BoolOp(values=values):
                yield from values
            case _:
                pass


def _has_name(part: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id not in _FUNCTIONS for node in ast.walk(part))


def _written(field: str) -> str:
    """How a condition names a field."""
    is_other = keyword.iskeyword(field) or field in _FUNCTIONS or field in _OF_THE_EVENT
    return field if field.isidentifier() and not is_other else f"{_FIELD}({field!r})"


def _refusal(node: ast.AST) -> str:
    """Why a condition may not contain a node; "" if it may."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name == _FIELD:
            return f"calls {_FIELD} with something else than one name in quotes"
        case ast.Call(func=ast.Name(id=name)) if name not in _FUNCTIONS:
            return f"calls {name}"
        case ast.Call(func=ast.Attribute()):  # `'{:>999999999}'.format(x)` makes a text of any length
            return "calls a method"
        case (
            ast.FormattedValue(format_spec=ast.AST())
            | ast.BinOp(left=ast.JoinedStr() | ast.Constant(value=str() | bytes()), op=ast.Mod())
        ):
            return "formats a text"
        case ast.Attribute(attr=name) if name.startswith(_HIDDEN) or name in simpleeval.DISALLOW_METHODS:
            return f"reads the attribute {name}"
        case ast.expr() | ast.operator() | ast.unaryop() | ast.cmpop() if not isinstance(node, _KNOWN_NODES):
            return f"contains {ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__}"
        case _:
            return ""


class _Watched:
    """The intervals of one agent, whose events are added in order."""

    def __init__(self, agent_id: str, condition: _Condition) -> None:
        self._agent_id = agent_id
        self._condition = condition
        self._is_open = False
        self._tick: int | None = None
        self.fold = StateFold()
        self.stretches: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Evaluate the condition after an event."""
        condition, fold = self._condition, self.fold
        fold.add(event)
        self._tick = self._tick if event.tick is None else event.tick
        if event.state is None and event.kind not in _CHANGING and not condition.is_of_each_event:
            return
        holds = condition.holds(fold.with_numbers(beyond_json=True), event, self._tick)
        if holds and not self._is_open:
            values = {name: fold.fields[name] for name in sorted(condition.fields)}
            since = _point(event, self._tick)
            stretch = {"agent_id": self._agent_id, "since": since, "until": None, "values": values}
            self.stretches.append(stretch)
        elif self._is_open and not holds:
            self.stretches[-1]["until"] = _point(event, self._tick)
        self._is_open = holds


def _point(event: Event, tick: int | None) -> dict[str, Any]:
    return {"id": event.id, "timestamp": event.timestamp, "tick": tick, "action": change_of(event)}
