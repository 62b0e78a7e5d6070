"""Changes to a recorded state: JSON merge patch (RFC 7386) and JSON patch (RFC 6902), with its tags.

A patch changes the JSON form of a state; `patch_objects` puts what it changed back onto the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from Agent.errors import UsageError
from Agent.event.pointers import copy_tree, escape, unescape

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
