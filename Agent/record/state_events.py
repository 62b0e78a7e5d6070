"""State as events: full `state` events, and the `code` and `state` of an agent's outermost action."""

from __future__ import annotations

from typing import Any

import orjson

from Agent.event.digest import digest_json
from Agent.event.pointers import escape
from Agent.record import installed
from Agent.record.binding import AgentBinding
from Agent.record.code_identity import CodeIdentity
from Agent.record.exposure import Sort, sort_of
from Agent.record.judge import Types
from Agent.record.pipeline import Pipeline
from Agent.record.state import StateTracker
from Agent.record.texts import clean_head


def emit_state(
    pipeline: Pipeline,
    binding: AgentBinding,
    tracker: StateTracker,
    obj: object,
    reason: str,
) -> None:
    """Write a full `state` event of an agent; where its own code fails, that is counted and told."""
    try:
        exposed = tracker.full(obj)
    except Exception as error:  # noqa: BLE001 - it is the user's `trace_state`, or a property
        pipeline.health.trouble("reading the state of an agent", error)
        return
    adopted: dict[str, str] = {}
    for name, value in exposed.fields.items():
        if sort_of(type(value)) is Sort.GENERATOR:
            if installed.open_reads is not None and (place := _adopted_at(value)) is not None:
                adopted[name] = place
            other = pipeline.agents.owners.other_owner(value, str(binding.agent_id))
            if other is not None:
                tracker.shared[name] = other
    capture = pipeline.capture
    inner, types = capture.user_body(exposed.fields, "/extra/fields")
    fields = orjson.loads(b"{" + inner + b"}")
    rest: dict[str, Any] = {
        "reason": reason,
        "digest": digest_json(fields, _below("/extra/fields", types)),
        "class": f"{type(obj).__module__}.{type(obj).__qualname__}",
    }
    opaque = _opaque_fields(types, "/extra/fields/")
    unseen = sorted({*exposed.unseen, *opaque})
    if tracker.shared:
        rest["shared"] = sorted(tracker.shared)
        rest["shared_with"] = tracker.shared
    if adopted:
        rest["adopted"] = adopted
    if unseen:
        rest["unseen"] = unseen
    more, _ = capture.body(rest)
    body = b'"fields":{' + inner + b"}," + more
    if tracker.init is not None and reason == "first":
        init_body, init_types = tracker.init
        body += b',"init":{' + init_body + b"}"
        types = {**(types or {}), **(init_types or {})} or None
    slot = binding.slot("state", 20)
    pipeline.emit(slot, f"State of {binding.agent_id} ({reason})", body=body, types=types)


def _adopted_at(generator: object) -> str | None:
    """What tells an adopted generator from others, None for one that is not."""
    from Agent.record.chance.sources import adoption_of

    adopted = adoption_of(generator)
    return None if adopted is None else adopted.place


def changes_tail(
    pipeline: Pipeline, tracker: StateTracker, obj: object, code: CodeIdentity
) -> tuple[bytes, Types | None]:
    """The bytes `,"code":...,"state":{...}` of an action that ends, and the tags of the changed values."""
    changed, gone = tracker.changes(obj)
    if tracker.failure is not None:
        pipeline.health.trouble("reading the state of an agent", tracker.failure)
        tracker.failure = None
        return code.tail, None
    if not changed and not gone:
        return code.tail_unchanged, None
    raw = pipeline.capture.judge.value(changed)
    if raw is not None and pipeline.capture.judge.clean(raw):
        unset = _names(pipeline, gone) if gone else b"[]"
        return b'%s,"state":{"set":%s,"unset":%s}' % (code.tail, raw, unset), None
    body, types = pipeline.capture.user_body(changed, "/state/set") if changed else (b"", None)
    unset = _names(pipeline, gone)
    return b'%s,"state":{"set":{%s},"unset":%s}' % (code.tail, body, unset), types


def _names(pipeline: Pipeline, names: list[str]) -> bytes:
    return orjson.dumps([clean_head(name, pipeline.redactor.text) for name in names]) if names else b"[]"


def _below(pointer: str, types: Types | None) -> Types:
    """The tags under a pointer, as seen from there."""
    return {known[len(pointer) :]: tag for known, tag in (types or {}).items() if known.startswith(pointer)}


def _opaque_fields(types: Types | None, prefix: str) -> set[str]:
    """The names of fields in which something cannot be restored."""
    names = set()
    for pointer, tag in (types or {}).items():
        if tag in {"opaque", "truncated"} and pointer.startswith(prefix):
            name = pointer[len(prefix) :].partition("/")[0]
            names.add(name.replace("~1", "/").replace("~0", "~"))
    return names


def field_pointer(name: str) -> str:
    """The pointer of a field in a full state."""
    return f"/extra/fields/{escape(name)}"


def emit_last_states(pipeline: Pipeline) -> None:
    """Write the full state of each agent that is still there: recording ends."""
    for known, obj in pipeline.agents.living():
        if known.tracker is not None:
            emit_state(pipeline, known.binding, known.tracker, obj, "exit")
