"""Comparison of an action's effects: the events inside it, in order, by kind and payload.

Ids, times, durations and measured numbers differ in every run, and are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.pointers import escape, unescape
from Agent.event.values.digest import canonical_bytes
from Agent.record.encode.large_contents import unread_arguments
from Agent.replay.compare.comparison import (
    NAMES_OF_PAYLOADS,
    NAMES_OF_STATE,
    Agreement,
    ComparedFields,
    Comparison,
    Difference,
    Recorded,
    in_payload,
)
from Agent.replay.compare.folded_values import ABSENT, shown

_OWN_TO_A_RUN = frozenset(
    {
        "duration_ms",
        "active_ms",
        "capture_ms",
        "loop_turns",
        "loop_turn",
        "error_id",
        "raised",
        "reads",
        "root",
        "args_after",
        "args_held",
        "args_shared",
        "result_is",
    }
)
_OWN_BY_KIND: Mapping[str, frozenset[str]] = {
    "error": frozenset({"traceback", "fingerprint"}),
    "agent_message": frozenset({"message_id"}),
    "context_entry": frozenset({"context_span"}),
    "context_exit": frozenset({"context_span"}),
    "throughput": frozenset({"duration_s", "per_second"}),
    # A replay does not record the first three.
    "state_change": frozenset({"writers", "ahead", "objects", "asked_at"}),
    "intervention": frozenset({"asked_at", "paused_ms"}),
    # The path of an artifact depends on the run's other artifacts; its name and digest do not.
    "artifact.saved": frozenset({"path", "ref"}),
    "step.started": frozenset({"step_span"}),
    "step.finished": frozenset({"output_ref"}),
    "model.call": frozenset(
        [
            *("call_id", "prompt_ref", "output_ref", "chunks_ref", "latency_ms", "first_chunk_ms"),
            *("cost", "currency", "site", "path", "answered_by"),
        ]
    ),
    "tool.call": frozenset(
        ["call_id", "args_ref", "result_ref", "items_ref", "site", "path", "answered_by", "defaults"]
    ),
    "run.started": frozenset({"parent_run_id"}),
    "state": frozenset(
        [
            *(
                "reason",
                "digest",
                "class",
                "class_fields",
                "init",
                "shared",
                "shared_with",
                "shared_objects",
                "written_outside",
                "outside_content",
                "streams",
                "end_content",
                "adopted",
                "adopted_at",
            ),
            *("opaque", "unseen", "handles", "ignored"),
        ]
    ),
}
_HIDDEN = f"[redacted:{'0' * 16}]"


def is_point(event: Event) -> bool:
    """Whether an event has nothing that differs in every run, except its time."""
    return (
        event.span_id is None
        and event.state is None
        and not event.causes
        and not event.types
        and event.kind not in _OWN_BY_KIND
        and _OWN_TO_A_RUN.isdisjoint(event.extra)
    )


class Identifiers:
    """Matches ids of the recording with ids of the replay.

    Two ids match if they belong to events with the same index within one action.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}
        self._recorded: dict[str, tuple[int, str]] = {}
        self._replayed: dict[str, tuple[int, str]] = {}

    def begin(self, recorded: Sequence[Event]) -> None:
        """Begin an action with these recorded effects."""
        self._recorded = _places(recorded)

    def see(self, replayed: Sequence[Event]) -> None:
        """Set the effects of the current action that the replay has produced so far."""
        self._replayed = _places(replayed)

    def knows(self, recorded: str) -> bool:
        """Whether a text is a recorded id within the current action."""
        return recorded in self._recorded

    def same(self, recorded: str, replayed: str) -> bool:
        """Whether two ids belong to the same event."""
        if self._pairs.get(recorded) == replayed:
            return True
        place = self._recorded.get(recorded)
        if place is None or self._replayed.get(replayed) != place:
            return False
        self._pairs[recorded] = replayed
        return True

    def pair(self, recorded: str, replayed: str) -> None:
        """Match two ids."""
        self._pairs[recorded] = replayed

    def end(self) -> None:
        """End an action that agreed: keep its matches for later actions."""
        by_place = {place: identity for identity, place in self._replayed.items()}
        for identity, place in self._recorded.items():
            if place in by_place:
                self._pairs[identity] = by_place[place]


def _places(events: Sequence[Event]) -> dict[str, tuple[int, str]]:
    places: dict[str, tuple[int, str]] = {}
    for index, event in enumerate(events):
        places[event.id] = (index, "id")
        if event.span_id is not None:
            places[event.span_id] = (index, "span")
        message = event.extra.get("message_id")
        if (
            event.kind == "agent_message"
            and event.extra.get("direction") == "sent"
            and isinstance(message, str)
        ):
            places[message] = (index, "message")
    return places


class EffectDifference(NamedTuple):
    """An effect that differs."""

    place: str
    """The effect's number and description."""
    difference: Difference
    agent_id: str
    """The agent of the effect; "" for none."""

    @property
    def field(self) -> str:
        """The differing part of an action: `state.<name>`, `result` or `args`, with the path in it; or ""."""
        name, path = field_at(self.difference.path)
        return f"{name}{path}" if name in {"result", "args"} or name.startswith("state.") else ""


def field_at(path: str) -> tuple[str, str]:
    """Split a JSON Pointer within an event into the field, such as `state.<name>`, and the rest of it."""
    first, *rest = path.removeprefix("/").split("/")
    if first == "state" and rest[:1] == ["set"] and len(rest) > 1:
        first, rest = f"state.{rest[1]}", rest[2:]
    return unescape(first), "".join(f"/{part}" for part in rest)


def effect_difference(
    recorded: Sequence[Event], replayed: Sequence[Event], comparison: Comparison
) -> EffectDifference | None:
    """Return the first effect that differs; None if all agree.

    Args:
        recorded: the effects in the recording, in order.
        replayed: those of the replay.
        comparison: compares their payloads.
    """
    for number, (one, other) in enumerate(zip_longest(recorded, replayed), start=1):
        difference = pair_difference(one, other, comparison)
        if difference is not None:
            what = f" ({describe(one)})" if one is not None and other is not None else ""
            agent_id = next(event.agent_id for event in (one, other) if event is not None)
            return EffectDifference(f"effect {number}{what}", difference, agent_id or "")
    return None


def describe(event: Event) -> str:
    """Describe an effect in words: kind, name of the action, agent."""
    who = f" of {event.agent_id}" if event.agent_id is not None else ""
    what = event.extra.get("action_type") or event.extra.get("call") or event.extra.get("reason")
    if what == "gone" and event.kind == "state":
        what = "exit"  # garbage collection may delete an unused object at any time
    return f"{event.kind}{f' {what}' if isinstance(what, str) else ''}{who}"


def pair_difference(one: Event | None, other: Event | None, comparison: Comparison) -> Difference | None:
    """Return the first difference of two events, of which one may be missing; None if they are equal."""
    if one is not None and other is not None and describe(one) == describe(other):
        return event_difference(one, other, comparison)
    return Difference("", *(shown(ABSENT) if each is None else describe(each) for each in (one, other)))


def event_difference(one: Event, other: Event, comparison: Comparison) -> Difference | None:
    """Return the first difference of two events of one kind, except times and measurements; None if equal."""
    other = _with_names_of(one, other)
    for name in ("level", "logger", "tick"):
        if getattr(one, name) != getattr(other, name):
            return Difference(f"/{name}", getattr(one, name), getattr(other, name))
    if not comparison.same_ids(one.causes, other.causes):
        return Difference("/causes", list(one.causes), list(other.causes))
    if one.kind == "log":
        difference = comparison.difference(Recorded(one.message, {}, ""), Recorded(other.message, {}, ""))
        if difference is not None:
            return difference.under("/message")
    difference = _payload_difference(one, other, comparison)
    if difference is not None:
        return difference
    rules = comparison.fields
    if one.state is None and other.state is None:
        return None
    difference, agreed = comparison.compare(state_of(one, rules), state_of(other, rules), NAMES_OF_STATE)
    if rules is not None:
        rules.note_state(str(one.agent_id), agreed)
    return None if difference is None else as_change(difference).under("/state")


def _with_names_of(one: Event, other: Event) -> Event:
    """Return the second event with the argument names of the first where only names of parameters differ."""
    names, others = one.extra.get("args"), other.extra.get("args")
    if not isinstance(names, dict) or not isinstance(others, dict) or names.keys() == others.keys():
        return other
    renamed = {new: old for old, new in zip(names, others, strict=False) if new != old}
    is_other = len(names) != len(others) or one.kind not in ACTION_KINDS
    if is_other or not (renamed.keys().isdisjoint(names) and {*renamed.values()}.isdisjoint(others)):
        return other
    extra = dict(other.extra)
    for key in {"args", ARGS_AFTER} & extra.keys():
        extra[key] = {renamed.get(name, name): value for name, value in extra[key].items()}
    if "result_is" in extra:
        extra["result_is"] = renamed.get(extra["result_is"], extra["result_is"])
    types = {}
    for pointer, tag in (other.types or {}).items():
        parts = pointer.split("/")
        if len(parts) > 3 and parts[1] == "extra" and parts[2] in {"args", ARGS_AFTER}:
            name = unescape(parts[3])
            parts[3] = escape(renamed.get(name, name))
        types["/".join(parts)] = tag
    return replace(other, extra=extra, types=types or None)


def raised_difference(one: Event, other: Event, comparison: Comparison) -> Difference | None:
    """Return the difference of what two calls raised that were interrupted or cancelled; None if they agree.

    Nothing is compared if one recording does not tell it.
    """
    if _RAISED in one.extra and _RAISED in other.extra:
        difference = comparison.difference(in_payload(one, _RAISED), in_payload(other, _RAISED))
        return difference and difference.under(f"/{_RAISED}")
    for event, exits in ((one, other), (other, one)):
        if (
            event.extra.get("outcome") == "interrupted"
            and _RAISED in event.extra
            and "exit_code" in exits.extra
        ):
            return Difference(
                f"/{_RAISED}",
                *("SystemExit" if each is exits else each.extra[_RAISED]["class"] for each in (one, other)),
            )
    return None


def _payload_difference(one: Event, other: Event, comparison: Comparison) -> Difference | None:
    difference = raised_difference(one, other, comparison)
    if difference is not None:
        return difference
    # A recording that predates the key, or a call that uses no default, says nothing about them.
    defaults = [each.extra.get("defaults") for each in (one, other)]
    if one.kind == "tool.call" and None not in defaults and defaults[0] != defaults[1]:
        return Difference("/defaults", *defaults)
    rules = comparison.fields
    payloads = _payload(one, rules), _payload(other, rules)
    contents = None
    if one.kind == other.kind == "artifact.saved":
        are_same = _hold_the_same(one, other)
        contents = None if are_same else _contents(one, other, comparison)
        if are_same or contents is not None:
            payloads = _without_content(payloads[0]), _without_content(payloads[1])
    difference, agreed = comparison.compare(*payloads, NAMES_OF_PAYLOADS)
    if difference is None and type(contents) is str:
        agreed.unseen[_content_of(one)] = contents
    elif difference is None and contents is not None:
        difference, of_contents = comparison.compare(*contents)
        difference = difference and difference.under(_content_of(one))
        agreed.take(of_contents)
    if difference is None and rules is not None:
        rules.note_value(describe(one), agreed)
    return difference


_RAISED = "raised"
"""The key of what an interrupted or cancelled call raised, except a `SystemExit`."""
UNCHANGED = "<unchanged>"
ARGS_AFTER = "args_after"
"""The key of the arguments that a call changed in place, and the field of a difference there."""


def arguments_difference(
    one: Event, other: Event, comparison: Comparison, note: Callable[[str, Agreement], None] | None = None
) -> Difference | None:
    """Return the first argument that two calls changed in place differently; None if they agree.

    Args:
        note: takes the name of each argument that both changed, and how the two agreed.
    """
    other = _with_names_of(one, other)
    recorded, replayed = (event.extra.get(ARGS_AFTER) or {} for event in (one, other))
    unread = {*unread_arguments(one.extra), *unread_arguments(other.extra)}
    for name in (*recorded, *(name for name in replayed if name not in recorded)):
        if name in unread:
            continue
        if name in recorded and name in replayed:
            sides = in_payload(one, ARGS_AFTER).part(name), in_payload(other, ARGS_AFTER).part(name)
            difference, agreed = comparison.compare(*sides)
            if difference is not None:
                return difference.under(f"/{escape(name)}")
            if note is not None:
                note(name, agreed)
        else:
            texts = (shown(each[name]) if name in each else UNCHANGED for each in (recorded, replayed))
            return Difference(f"/{escape(name)}", *texts)
    return None


def as_change(difference: Difference) -> Difference:
    """Show a field that only one of two `{"set": ..., "unset": ...}` sets as unchanged on the other side."""
    if difference.path.count("/") != 2 or not difference.path.startswith("/set/"):
        return difference
    absent = shown(ABSENT)
    sides = [UNCHANGED if each == absent else each for each in (difference.recorded, difference.replayed)]
    return Difference(difference.path, *sides)


def _payload(event: Event, rules: ComparedFields | None = None) -> Recorded:
    left_out = _OWN_TO_A_RUN | _OWN_BY_KIND.get(event.kind, frozenset())
    if event.kind == "state":
        fields: Any = event.extra.get("fields")
        if isinstance(fields, dict) and rules is not None:
            compared_fields = rules.kept(str(event.agent_id), fields, event.types or {}, "/extra/fields")
            return Recorded(
                {"fields": compared_fields}, _kept(event.types, "/extra/fields", compared_fields), "/extra"
            )
    payload = {key: value for key, value in event.extra.items() if key not in left_out}
    types = _kept(event.types, "/extra", payload)
    if event.kind == "artifact.saved":
        rest = [payload.pop(name, None) for name in ("digest_compared", "digest_without_secrets")]
        if rest[1] is not None:
            # Tokens differ between recordings, so the digest without secrets is compared, marked as redacted.
            payload["digest"] = f"{_HIDDEN} {rest[1]}"
        if isinstance(payload.get("value_types"), dict):
            payload["value_types"] = _without_parts(payload["value_types"])
        if "unseen" in payload:
            payload["unseen"] = {"unseen": ", ".join(map(str, payload["unseen"]))}
            types["/extra/unseen"] = "opaque"
    return Recorded(payload, types, "/extra")


def _without_parts(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Drop tags inside opaque values, which describe how to restore the object and not its content."""
    objects = tuple(f"{at}/" for at, tag in tags.items() if tag == "opaque")
    return {at: tag for at, tag in tags.items() if not at.startswith(objects)}


def _hold_the_same(one: Event, other: Event) -> bool:
    """Whether two artifacts are equal except for secrets and descriptions of values without a codec.

    An artifact without `digest_compared` is represented by the digest of its bytes.
    """
    digests = [event.extra.get("digest_compared") for event in (one, other)]
    if digests == [None, None]:
        return False
    compared = [
        digest or event.extra.get("digest") for digest, event in zip(digests, (one, other), strict=True)
    ]
    return compared[0] == compared[1]


def _contents(one: Event, other: Event, comparison: Comparison) -> tuple[Recorded, Recorded] | str | None:
    """Return the contents of two artifacts, or why they cannot be compared; None if their digests count.

    Digests look like ids, so they count only where ids have to be equal.
    """
    if comparison.contents is None or one.extra.get("digest") == other.extra.get("digest"):
        return None
    contents = comparison.contents(one, other)
    return None if type(contents) is str and not comparison.overlooked.made else contents


def _content_of(event: Event) -> str:
    """Return the JSON Pointer of an artifact's content in a difference."""
    name = str(event.extra.get("name") or event.extra.get("ref")).rpartition("/")[2]
    return f"/{escape(f'content of {name}')}"


def _without_content(payload: Recorded) -> Recorded:
    """Drop size and digest from an artifact's payload, but keep the mark of a secret."""
    value = {key: item for key, item in payload.value.items() if key != "size_bytes"}
    is_marked = str(value["digest"]).startswith("[redacted:")
    value["digest"] = _HIDDEN if is_marked else None
    return payload._replace(value=value)


def _kept(types: Mapping[str, str] | None, pointer: str, kept_values: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of the kept values."""
    below = pointer + "/"
    return {
        at: tag
        for at, tag in (types or {}).items()
        if at.startswith(below) and unescape(at[len(below) :].partition("/")[0]) in kept_values
    }


def state_of(event: Event, rules: ComparedFields | None = None) -> Recorded:
    """Return the compared fields that an action changed."""
    changes: Mapping[str, Any] = event.state or {}
    state = {"set": changes.get("set", {}), "unset": changes.get("unset", [])}
    types = event.types or {}
    changed = state.get("set")
    if rules is not None and isinstance(changed, dict):
        compared_fields = rules.kept(str(event.agent_id), changed, types, "/state/set")
        if len(compared_fields) < len(changed):
            state, types = (
                {**state, "set": compared_fields},
                _kept(event.types, "/state/set", compared_fields),
            )
    return Recorded(state, types, "/state")


def sort_key(event: Event) -> tuple[str, bytes]:
    """Return a sort key for effects that does not depend on their time."""
    payload = _payload(event)
    return describe(event), canonical_bytes(payload.value, payload.types, payload.pointer)
