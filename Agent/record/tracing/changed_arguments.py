"""Arguments that a call changed in place: recorded as `args_after` in its event, applied again in a replay.

They are recorded only if the encoded arguments differ from those at entry, for actions and calls of tools. A
replay that answers a call changes the containers and objects that were passed instead of replacing them,
because the caller may hold them elsewhere. One that drives it compares what its code made of them. For an
argument that the agent itself holds, a replay passes the agent's own object, as the program did: changes to
a copy would not appear in the agent's fields.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from types import GetSetDescriptorType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.classes import (
    attributes_of,
    by_class,
    class_name,
    find_in_classes,
    mro_of,
    namespace_of,
    restore_attributes,
    solid_base,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.pointers import tags_below
from Agent.event.values.codecs import is_plain_class, plan_of
from Agent.event.values.content_digest import content_of
from Agent.event.values.plain import SCALARS, all_scalars, has_own_hash, read_json, write_json
from Agent.event.values.reading import Named
from Agent.record.emit.context import Response
from Agent.record.encode.large_contents import unread as not_read
from Agent.record.encode.large_contents import unread_arguments
from Agent.record.encode.native import native
from Agent.record.state.agents import agent_id_of
from Agent.record.tracing.failures import LACKING, Part, Unanswerable

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture, Types


_CONTAINERS = frozenset({list, dict, set, bytearray})
_UNCHANGING = SCALARS | {bytes, complex, frozenset}
_DICT_OFFSET: Any = vars(type)["__dictoffset__"]


def cannot_change(kinds: Iterable[type]) -> bool:
    """Whether all values of these types are immutable."""
    try:
        return _UNCHANGING.issuperset(kinds)
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
        return False


def _held(arguments: dict[str, Any]) -> tuple[Any, ...] | None:
    return None if cannot_change(map(type, arguments.values())) else ()


def _still_holds(_arguments: dict[str, Any], _held: tuple[Any, ...]) -> bool:
    return False


held: Callable[[dict[str, Any]], tuple[Any, ...] | None] = _held if native is None else native.held
"""All objects in plain arguments, or () if there are too many; None if no argument can change."""
still_holds: Callable[[dict[str, Any], tuple[Any, ...]], bool] = (
    _still_holds if native is None else native.still_holds
)
"""Whether arguments hold the same objects as before, so that nothing changed; if False, compare the JSON."""


_LEAST_WHOLE = 512
_OBJECTS_A_BYTE = 64


def most_whole(body: bytes) -> int:
    """Return how many objects of arguments it pays to note, by their JSON.

    The digest of an object takes longer than noting what it leads to; its reference is short work.
    """
    return max(_LEAST_WHOLE, len(body) * (1 if b'"reference":' in body else _OBJECTS_A_BYTE))


class Whole:
    """All objects reachable from arguments, noted before the arguments are encoded.

    Args:
        arguments: the arguments by name.
        most: the maximum number of objects, by the call before.
    """

    __slots__ = ("_kept",)

    def __init__(self, arguments: dict[str, Any], most: int) -> None:
        self._kept = None if native is None else native.whole(arguments, most)

    def is_in(self, arguments: dict[str, Any]) -> bool:
        """Whether they hold the same objects as before; if False, something may have changed."""
        return self._kept is not None and native is not None and native.is_whole(arguments, self._kept)


@by_class
def _has_dict_alone(cls: type) -> bool:
    """Whether objects of the class have a `__dict__` and nothing else."""
    return (
        solid_base(cls) is object
        and _DICT_OFFSET.__get__(cls) != 0
        and not any(namespace_of(base).get("__slots__") for base in mro_of(cls))
        and type(find_in_classes(cls, "__dict__")) is GetSetDescriptorType
    )


def result_is(arguments: Mapping[str, Any], result: object) -> str | None:
    """Return the name of the mutable argument that the call returned as its result, or None."""
    found = None
    for name, value in arguments.items():
        if value is result and not cannot_change((type(value),)):
            found = name
    return found


def args_after(
    capture: Capture,
    arguments: Mapping[str, Any],
    entry: bytes,
    types: Types | None,
    result: object,
    *,
    was_plain: bool = False,
    now: tuple[bytes, Types | None] | None = None,
    unread: Collection[str] = (),
) -> tuple[bytes, Types | None]:
    """Return `"args_after":{...},"result_is":"name",` and its tags; a key without a value is left out.

    Args:
        arguments: the arguments as they are now.
        entry: `"args":{...}` as it was recorded at entry.
        types: the tags of `entry`.
        result: the result of the call; if it is one of the arguments, `result_is` names that argument.
        was_plain: whether `entry` comes from the judge, so that no secret was replaced in it yet.
        now: the present arguments as `"args":{...}` with its tags, if the caller has encoded them.
        unread: names of arguments that became so large that this call does not read them.
    """
    given_back, found = result_is(arguments, result), None
    body = b"" if given_back is None else b'"result_is":%s,' % orjson.dumps(given_back)
    may_be: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = type(value)
        if cannot_change((kind,)):
            continue
        if name in unread:
            may_be[name] = not_read(value)
        elif kind in _CONTAINERS or capture.agent_of is None or capture.agent_of(value) is None:
            may_be[name] = value
    if was_plain:
        changed, tags = _changed_of_plain(capture, may_be, entry), None
    elif may_be:
        # All together, since the same object may occur in more than one argument.
        raw, tags = capture.body({"args": dict(arguments)}) if now is None else now
        changed = _changed(may_be, entry, types, raw, tags)
    else:
        return body, None
    if changed:
        raw, found = _written(capture, changed, tags)
        body += raw + b","
    return body, found


def _changed_of_plain(capture: Capture, arguments: Mapping[str, Any], entry: bytes) -> dict[str, Any]:
    """Return the arguments that differ from those at entry, if all of them were plain at entry."""
    before = read_json(b"{%s}" % entry)["args"]
    changed = {}
    for name, value in arguments.items():
        raw = capture.judge.value(value)
        if raw is None or write_json(before.get(name)) != raw:
            changed[name] = value
    return changed


def _changed(
    may_be: Mapping[str, Any], entry: bytes, types: Types | None, now: bytes, tags: Types | None
) -> dict[str, Any]:
    """Return the arguments whose JSON or tags differ from those at entry."""
    before, after = read_json(b"{%s}" % entry)["args"], read_json(b"{%s}" % now)["args"]
    return {
        name: value
        for name, value in may_be.items()
        if write_json(after[name]) != write_json(before.get(name))
        or tags_below(tags, f"/extra/args/{name}") != tags_below(types, f"/extra/args/{name}")
    }


def _written(capture: Capture, changed: Mapping[str, Any], tags: Types | None) -> tuple[bytes, Types | None]:
    """Encode the changed arguments; for an object that has only attributes, and no codec, encode these.

    Args:
        tags: those of all present arguments, None if they are not known.
    """
    at, raw, types = "/extra/args/", b"", tags
    if tags is None or "truncated" in tags.values():  # alone, they may not be cut
        at = "/extra/args_after/"
        raw, types = capture.body({"args_after": dict(changed)})
    shown = dict(changed)
    for name in changed:
        kind = type(changed[name])
        if types is None or types.get(at + name) != "opaque" or kind is Named or _has_more(kind):
            continue
        try:
            shown[name] = attributes_of(changed[name])
        except (ValueError, AttributeError, TypeError):
            continue  # its attributes are hidden: it is recorded as opaque, and a replay names it
        raw = b""
    return (raw, types) if raw else capture.body({"args_after": shown})


def _has_more(kind: type) -> bool:
    """Whether objects of a class may hold more than their attributes, which is in their content or digest."""
    plan = plan_of(kind)
    return not plan.is_simple and plan.base is not SimpleNamespace


_MAPPINGS = (OrderedDict, dict)
_FILL: Mapping[type, Callable[[Any, Any], None]] = {
    list: list.extend,
    set: set.update,
    deque: deque.extend,
    bytearray: bytearray.extend,
}


def with_changes(
    payload: Mapping[str, Any], part: Part, given: Mapping[str, Any], answer: Response
) -> Response:
    """Return the answer with a `change` that applies the recorded changes to the arguments.

    If the recorded call returned one of its arguments, the result is the argument of this call.

    Args:
        payload: that of the call's event.
        part: restores a value of the payload.
        given: the arguments of this call by name, as the objects that were passed.
        answer: the recorded response of the call.

    Raises:
        Unanswerable: an argument was changed in a way that cannot be repeated; the text names it. `change`
            may raise it, too.
    """
    changed, same = payload.get("args_after"), payload.get("result_is")
    unread = [*unread_arguments(payload), *unread_arguments(payload, "args_after")]
    if unread:
        raise Unanswerable(
            f"its argument {unread[0]} was not read, so what it changed there is not in the recording: drive "
            'both agents together, or record with large_arguments="always"'
        )
    if changed is None and same is None:
        return answer
    if isinstance(same, str) and same in given and answer.error is None:
        answer = answer._replace(result=given[same])
    if not isinstance(changed, dict):
        if changed is not None:
            raise Unanswerable("it changed an argument in place, and what it became is not in the recording")
        return answer
    wanted = {name: part(("args_after", name)) for name in changed}
    for name, value in wanted.items():
        if name not in given:
            raise Unanswerable(f"it changed its argument {name} in place, which is not given here")
        if value is LACKING:
            raise Unanswerable(
                f"it changed its argument {name} in place, a {type(given[name]).__qualname__} that cannot be "
                "restored: let that call return the change, or drive both agents together"
            )

    def change() -> None:
        for name, value in wanted.items():
            if not _become(given[name], value):
                raise Unanswerable(
                    f"it changed its argument {name} in place, and the {type(given[name]).__qualname__} "
                    f"given here cannot become the recorded {type(value).__qualname__}"
                )

    return answer._replace(change=change)


def _become(current: Any, wanted: Any) -> bool:
    """Change a value in place to have the content of `wanted`; return False if that is not possible."""
    if current is wanted:
        return True
    base: Any = next((cls for cls in mro_of(type(current)) if cls in _MAPPINGS or cls in _FILL), None)
    if base is list and isinstance(wanted, list):
        kept = [_merged(*pair) for pair in zip(list.__iter__(current), wanted, strict=False)]
        list.__setitem__(current, slice(None), [*kept, *wanted[len(kept) :]])
    elif base in _MAPPINGS and isinstance(wanted, dict):
        known = dict(base.items(current))
        base.clear(current)
        for key, value in wanted.items():
            base.__setitem__(current, key, _merged(known.get(key), value))
    elif base is not None and isinstance(wanted, base):
        base.clear(current)
        _FILL[base](current, wanted)
    elif isinstance(current, tuple) and isinstance(wanted, tuple):
        pairs = list(zip(tuple.__iter__(current), tuple.__iter__(wanted), strict=False))
        return len(current) == len(wanted) and all(
            type(one) in SCALARS or _become(one, other) for one, other in pairs
        )
    elif hasattr(current, "dtype") and hasattr(current, "shape"):
        return _fill_array(current, wanted)
    elif type(current) in SCALARS or agent_id_of(current) is not None:
        return False
    else:
        is_taken = _take_attributes(current, wanted)
        return is_taken and (not _has_more(type(current)) or content_of(current) == content_of(wanted))
    return base is None or type(current) is base or _take_attributes(current, wanted)


def _merged(current: Any, wanted: Any) -> Any:
    """Change `current` in place to equal `wanted` and return it; return `wanted` if that is not possible."""
    is_kept = type(current) is type(wanted) and type(current) not in SCALARS and _become(current, wanted)
    return current if is_kept else wanted


def _take_attributes(current: Any, wanted: Any) -> bool:
    """Set an object's attributes from another object of its class, or from a mapping of names to values."""
    expected = wanted
    try:
        known = attributes_of(current)
        if type(current) is type(wanted):
            wanted = attributes_of(wanted)
        elif type(wanted) is not dict or not known:
            return False
        if not known and not wanted:
            return bool(current == expected)
        restore_attributes(current, {name: _merged(known.get(name), value) for name, value in wanted.items()})
        for name in known.keys() - wanted.keys():
            object.__delattr__(current, name)
    except (ValueError, AttributeError, TypeError):
        return False
    return True


def _fill_array(current: Any, wanted: Any) -> bool:
    """Set the items of an array in place; return False if shape or dtype differ."""
    if getattr(wanted, "shape", None) != current.shape or getattr(wanted, "dtype", None) != current.dtype:
        return False
    try:
        current[...] = wanted
    except (ValueError, TypeError):  # it is read-only, or a data frame
        return False
    return True


_MOST_MEMBERS = 256
"""Longer lists and dicts in an agent's fields are not searched for arguments."""
_MOST_OBJECTS = 8
"""Number of objects in an agent's fields whose attributes are searched."""
_MOST_PARTS = 200
_NONE: Any = object()

Place = list[str | int]


def places_held(arguments: Mapping[str, Any], target: object) -> dict[str, Place]:
    """Return {argument name: path to it from the agent}, for objects and containers that the agent holds.

    A path begins with a field. An attribute of the object there may follow, then a key or an index.
    """
    found: dict[str, Place] = {}
    attributes = _attributes(target)
    if all_scalars(attributes.values()):
        return found
    wanted = {
        id(value): name
        for name, value in arguments.items()
        if not has_own_hash(kind := type(value)) and kind not in SCALARS and _can_change(kind)
    }
    if not wanted:
        return found
    opened = 0
    for field, value in attributes.items():
        kind = type(value)
        if (type(kind) is type and kind in SCALARS) or has_own_hash(kind):
            continue
        _look(value, [field], wanted, found)
        if kind is list or kind is dict or opened == _MOST_OBJECTS or not _can_change(kind):
            continue
        opened += 1
        for name, held in _attributes(value).items():
            kind = type(held)
            if (type(kind) is type and kind in SCALARS) or has_own_hash(kind):
                continue
            _look(held, [field, name], wanted, found)
    return found


def shares_parts(arguments: Mapping[str, Any], places: Mapping[str, Place], target: object) -> bool:
    """Whether the agent holds something that an argument holds, such as a list in a dict that was passed.

    A replay passes a copy of such an argument, in which that part does not change with the agent's field.
    """
    parts = parts_within([arguments[name] for name in arguments if name not in places], None)
    return bool(parts) and bool(parts_within([*_attributes(target).values()], parts))


def _parts_within(values: list[Any], among: set[int] | None) -> set[int] | bool:
    parts = map(id, _held_within(values))
    return set(parts) if among is None else not among.isdisjoint(parts)


def _held_within(values: list[Any]) -> Iterable[Any]:
    """Yield the changeable values among some and in them, up to 200."""
    waiting, seen = values, set[int]()
    while waiting and len(seen) < _MOST_PARTS:
        value = waiting.pop()
        kind = type(value)
        if kind in SCALARS or id(value) in seen or agent_id_of(value) is not None:
            continue
        seen.add(id(value))
        if kind is not tuple:
            yield value
        if kind is dict:
            waiting += value.copy().values()
        elif kind is list or kind is tuple:
            waiting += value[:]
        elif _has_dict_alone(kind):
            waiting += object.__getattribute__(value, "__dict__").copy().values()


def _parts_within_in_c(values: list[Any], among: set[int] | None) -> set[int] | bool:
    found: set[int] | bool = native.parts_within(values, agent_id_of, _has_dict_alone, among)  # type: ignore[union-attr]
    return found


parts_within: Callable[[list[Any], set[int] | None], Any]
parts_within = _parts_within if native is None else _parts_within_in_c
"""Returns the ids of the changeable values among some and in them; or whether one of them is in a set."""


def _look(value: Any, place: Place, wanted: Mapping[int, str], found: dict[str, Place]) -> None:
    """Add to `found` the arguments that a value is, or that it holds as members."""
    name = wanted.get(id(value))
    if name is not None:
        found.setdefault(name, place)
        return
    kind = type(value)
    if (kind is not list and kind is not dict) or len(value) > _MOST_MEMBERS:
        return
    members = value.copy()  # another thread may change it
    # This test runs in C and nearly always finds nothing, which saves the loop below.
    if wanted.keys().isdisjoint(map(id, members if kind is list else members.values())):
        return
    for step, member in _members(members):
        name = wanted.get(id(member))
        if name is not None:
            found.setdefault(name, [*place, step])


def _members(value: Any) -> Iterable[tuple[str | int, Any]]:
    if type(value) is list:
        return enumerate(value)
    return [(key, member) for key, member in value.items() if type(key) is str or type(key) is int]


@by_class
def _can_change(kind: type) -> bool:
    """Whether values of the class are mutable, so that the identity of an object matters."""
    return kind in _CHANGING or (kind not in SCALARS and (is_plain_class(kind) or _is_changing_record(kind)))


def _is_changing_record(kind: type) -> bool:
    """Whether it is an array, or a class of the program or a library with a codec and no frozen fields."""
    name = class_name(kind)
    if name == "numpy.ndarray":
        return True
    parameters = find_in_classes(kind, "__dataclass_params__")
    return (
        plan_of(kind).is_value
        and solid_base(kind) is object
        and name.partition(".")[0] not in sys.stdlib_module_names
        and not issubclass(kind, Enum)
        and getattr(parameters, "frozen", False) is not True
    )


_CHANGING = frozenset({list, dict, *_FILL, *_MAPPINGS})


def _attributes(value: object) -> dict[str, Any]:
    try:
        return attributes_of(value)
    except (ValueError, RuntimeError):  # the object hides them, or another thread is changing them
        return {}


def at_place(target: object, place: Iterable[str | int]) -> Any:
    """Return the value at a path of `places_held`, or None if the path does not exist."""
    found: Any = target
    for step in place:
        is_container = type(found) is list or type(found) is dict
        steps = _members(found) if is_container else _attributes(found).items()
        found = next((value for known, value in steps if known == step and type(known) is type(step)), _NONE)
        if found is _NONE:
            return None
    return found
