"""Changes to a recorded state: JSON merge patch (RFC 7386) and JSON patch (RFC 6902), with its tags.

A patch changes the JSON form of a state; what it changed is put back onto the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from Agent.errors import UsageError
from Agent.event.pointers import copy_tree, escape, unescape
from Agent.event.values.serialise import to_json
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.replay.compare.comparison import Recorded
from Agent.replay.drive.states import put_back, remove_fields
from Agent.replay.forks.outcome import ForkOutcome
from Agent.replay.plan.values import Decoder

Patch = Mapping[str, Any] | list[dict[str, Any]]
"""A mapping is a merge patch: its members replace, `None` removes. A list is a JSON patch of operations."""


class Patched(NamedTuple):
    """A state after a patch."""

    fields: dict[str, Any]
    types: dict[str, str]
    changed: tuple[str, ...]
    """Names of the fields that are other ones now, or new."""
    added: tuple[str, ...]
    """Those of them that were not there."""
    removed: tuple[str, ...]


def check_patch(patch: object) -> None:
    """Refuse what is neither kind of patch.

    Raises:
        UsageError: it is none.
    """
    if isinstance(patch, Mapping):
        return
    if isinstance(patch, list) and all(isinstance(each, Mapping) and "op" in each for each in patch):
        return
    raise UsageError(
        f"{type(patch).__name__} is not a patch",
        remedy='give an object, {"max_retries": 3}, or a list of operations, '
        '[{"op": "replace", "path": "/max_retries", "value": 3}]',
    )


def apply_patch(fields: Mapping[str, Any], types: Mapping[str, str], patch: Patch) -> Patched:
    """The state with a patch applied; what is given is not changed.

    A value that is replaced keeps its tag where its JSON form is still of the same kind, so that a tuple
    stays a tuple and a date a date; tags inside of it go with what they stood for.

    Args:
        fields: JSON values by name.
        types: their tags, as pointers below the mapping of fields.

    Raises:
        UsageError: an operation cannot be carried out; it is named.
    """
    before = copy_tree(dict(fields))
    after = (
        merged(copy_tree(dict(fields)), patch)
        if isinstance(patch, Mapping)
        else _operated(copy_tree(dict(fields)), patch)
    )
    if not isinstance(after, dict):
        raise UsageError("the patch does not leave a mapping of fields", remedy="patch single fields")
    kept = {at: tag for at, tag in types.items() if _keeps_tag(_at(before, at), _at(after, at), at, types)}
    changed = [
        name
        for name, value in after.items()
        if name not in before or not _equal(before[name], value) or _tags(types, name) != _tags(kept, name)
    ]
    return Patched(
        after,
        kept,
        tuple(changed),
        tuple(name for name in changed if name not in before),
        tuple(name for name in before if name not in after),
    )


def merged(target: Any, patch: Any) -> Any:
    """JSON merge patch, as RFC 7386 defines it; the target may be changed."""
    if not isinstance(patch, Mapping):
        return patch
    found = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _operated(target: Any, operations: list[dict[str, Any]]) -> Any:
    import jsonpatch

    try:
        return jsonpatch.apply_patch(target, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise UsageError(
            f"the patch does not fit the state: {error}", remedy="`agent-trace state` lists its fields"
        ) from error


def leaves(patch: Patch) -> list[tuple[str, Any]]:
    """The single changes of a merge patch, as (pointer, value); of a JSON patch (its place, operation)."""
    if isinstance(patch, Mapping):
        return list(_leaves(patch, ""))
    return [(str(place), operation) for place, operation in enumerate(patch)]


def of_leaves(patch: Patch, kept: list[tuple[str, Any]]) -> Patch:
    """The patch with only those of its single changes."""
    if isinstance(patch, Mapping):
        wanted = {pointer for pointer, _ in kept}
        found = _cut(patch, "", wanted)
        return found if isinstance(found, dict) else {}
    return [operation for _, operation in kept]


def _leaves(node: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        pointer = f"{at}/{escape(str(key))}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, pointer)
        else:
            yield pointer, value


def _cut(node: Mapping[str, Any], at: str, wanted: set[str]) -> dict[str, Any]:
    found = {}
    for key, value in node.items():
        pointer = f"{at}/{escape(str(key))}"
        if isinstance(value, Mapping) and value:
            below = _cut(value, pointer, wanted)
            if below:
                found[key] = below
        elif pointer in wanted:
            found[key] = value
    return found


_NOTHING: Any = object()


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        if isinstance(value, dict):
            value = value.get(unescape(token), _NOTHING)
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return _NOTHING
    return value


def _keeps_tag(before: Any, after: Any, pointer: str, types: Mapping[str, str]) -> bool:
    if after is _NOTHING or type(before) is not type(after):
        return False
    if _equal(before, after):
        return True
    # a secret's token stands for that secret alone, and what has no codec has no other form
    return types[pointer] not in {"redacted", "opaque", "truncated"}


def _tags(types: Mapping[str, str], name: str) -> dict[str, str]:
    own = f"/{escape(name)}"
    return {at: tag for at, tag in types.items() if at == own or at.startswith(f"{own}/")}


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: 1 is neither True nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) or one != one


def patch_objects(
    objects: Mapping[str, object], patch: Patch, decoder: Decoder, outcome: ForkOutcome, *, is_one: bool
) -> None:
    """Change the states of objects.

    Args:
        objects: those that can be changed, by agent.
        patch: of the one agent's state where `is_one`, else of a mapping of agents to theirs.

    Raises:
        UsageError: an agent is unknown, or the patch does not fit.
    """
    if is_one:
        parts = dict.fromkeys(objects, patch)
    elif isinstance(patch, Mapping):
        parts = dict(patch)
    else:
        parts = _by_agent(patch)
    for agent_id, part in parts.items():
        if agent_id not in objects:
            known = ", ".join(list(objects)[:5])
            raise UsageError(
                f"the patch names {agent_id!r}, but the code of that agent does not run",
                remedy=f"with several agents a patch is {{agent: its changes}}, for {known}",
            )
        _patch(agent_id, objects[agent_id], part, decoder, outcome, with_agent=not is_one)


def _by_agent(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Operations on a mapping of agents as operations on each."""
    parts: dict[str, Any] = {}
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
        parts.setdefault(agents.pop(), []).append(moved)
    return parts


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
