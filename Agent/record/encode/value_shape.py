"""The shape of a value: its type, its size and a keyed digest, `[str 34:9f2c6d1a0b3c4d5e]`, in its place.

`capture_levels.py` says where shapes stand for values. What is kept beside them is listed here, by name, so
that a field nobody thought of is none of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from Agent.record.encode.redaction import Redactor

__all__ = ["KEPT", "KEYED", "Types", "below", "is_kept", "shape_of"]

Types = dict[str, str]

KEPT: Final = frozenset(
    "action_type error_id call code_version direction message_id sender recipient digest class module "
    "qualname decision_type content_type content_id strategy_type learning_stage learning_type step "
    "action_id action_selected mode metric interaction_type source_id target_id connection_type "
    "root_agent_id parent_id collaboration_type participants metric_name unit operation error_type "
    "error_module fingerprint name context context_span component version writer durability policy source "
    "agent parent_run_id status step_id step_type step_span output_ref prompt_ref args_ref result_ref "
    "items_ref chunks_ref problem call_id model_name model_version model_provider tool_kind path ref "
    "adopted file media_type value_types open_steps unseen shared shared_with written_outside objects usage "
    "currency interface site answered_by coded counters replay_id run_id target verdict rung recorded_id "
    "recorded_run previous capture stored_as agent_version".split()
)
"""Own fields that hold names, ids and references: they are kept."""
_WORDS: Final = {
    "reason": frozenset({"first", "periodic", "error", "exit", "gone", "step", "tick", "time", "phase"}),
    "outcome": frozenset({"error", "cancelled", "closed", "interrupted"}),
}
"""Fields that hold one of our own words; what else stands there is the user's."""
KEYED: Final = frozenset(
    "args params labels changed init init.args init.kwargs error_attributes state configuration".split()
)
"""Fields whose keys are names out of the code, and so are kept."""
_NUMBERS: Final = frozenset({"number", "integer", "boolean"})
_LONGEST_NAME: Final = 200
_OPAQUE: Final = "opaque"


def is_kept(name: str, value: Any, declared: str) -> bool:
    """Whether a kind's own field is one that says how things went and not with what.

    Args:
        name: of the field.
        value: what stands there.
        declared: the type that the kind gives it.
    """
    if declared in _NUMBERS:
        return isinstance(value, (int, float, bool))
    if name in _WORDS:
        return isinstance(value, str) and value in _WORDS[name]
    if name not in KEPT or (name == "context" and declared != "string"):
        return False
    if name == "source" and (not isinstance(value, str) or any(map(str.isspace, value))):
        return False  # that of a `code` event is a program's
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else value.values()
        return declared in {"array", "object"} and all(map(_is_name, items))
    return _is_name(value)


def _is_name(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_name, value))
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, str) and len(value) <= _LONGEST_NAME)
    )


def below(pointer: str, types: Types) -> Types:
    """The tags at a place and below it, as pointers from there on, taken out of `types`."""
    found = {}
    for known in [known for known in types if known == pointer or known.startswith(f"{pointer}/")]:
        found[known[len(pointer) :]] = types.pop(known)
    return found


def shape_of(value: Any, pointer: str, types: Types, redactor: Redactor) -> Any:
    """The shape of a JSON value with its tags; the place is tagged as opaque. Nothing stays nothing."""
    tags = below(pointer, types)
    if value is None and not tags:
        return None
    try:
        told = orjson.dumps([value, tags], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # bytes that are no text came as surrogates
        told = json.dumps([value, tags], sort_keys=True).encode()
    kind, size = _kind_and_size(value, tags.get(""))
    types[pointer] = _OPAQUE
    return f"[{kind}{'' if size is None else f' {size}'}:{redactor.digest(told)}]"


def _kind_and_size(value: Any, tag: str | None) -> tuple[str, int | None]:
    """The name of a value's type, without the name of a class of the user's, and how large it is."""
    kind = type(value).__name__ if tag in {None, "redacted"} else str(tag).partition(":")[0]
    if kind in {"bytes", "bytearray"} and isinstance(value, str):
        return kind, len(value) * 3 // 4 - value[-2:].count("=")
    return kind, len(value) if isinstance(value, (str, list, dict)) else None
