"""Capture levels: record all of a value, all except secrets, or only its shape; by category, tool and field.

`Pipeline` passes each line through here only if a level other than `redacted` is set. A shape is a type, a
size and a keyed digest, `[str 34:9f2c6d1a0b3c4d5e]`: equal values have equal shapes, so that recordings of
shapes can still be compared. Fields that are kept at level `metadata` are listed by name, so that a new field
is not kept by accident.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from Agent.event.kinds import Home
from Agent.event.model import ENVELOPE_KEYS
from Agent.event.payloads import KINDS
from Agent.event.pointers import escape
from Agent.event.values.plain import read_json, write_json
from Agent.record.encode.artifact_bytes import JSON, EncodedArtifact
from Agent.record.encode.redaction import Redactor, redacted

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture
    from Agent.record.encode.event_template import Slot


FULL: Final = "full"
REDACTED: Final = "redacted"
METADATA: Final = "metadata"
CAPTURE_LEVELS: Final = (FULL, REDACTED, METADATA)
_FIELD, _TOOL = "field:", "tool:"
_BEGIN: Final = b'{"id":"'
_ENVELOPE: Final = frozenset({*ENVELOPE_KEYS, "type", "agent_id", "agent_role", "event_type"})
_PLACES: Final = re.compile(r"\{(\w+)\}").findall
"""Returns the fields in the message template of a kind."""
_TOOL_NAMES: Final = {"tool.call": "name", "model.call": "model_name"}


class CaptureLevels:
    """The levels of one session.

    Args:
        level: the level of everything without a rule.
        rules: a category, `tool:PATTERN` or `field:PATTERN` to a level. Fields are named by their path in the
            payload (`args.prompt`, `state.memory`, `artifacts/notes/page.txt`) or its last part. A field rule
            overrides a tool rule; of two rules of the same sort, the stricter one is used.
        redactor: replaces secrets, and computes the digests.
    """

    def __init__(self, level: str, rules: Mapping[str, str], redactor: Redactor) -> None:
        self.level = level
        self.redactor = redactor
        self._categories = {name: each for name, each in rules.items() if ":" not in name}
        self._tools = [(name[len(_TOOL) :], each) for name, each in rules.items() if name.startswith(_TOOL)]
        self._fields = [
            (name[len(_FIELD) :], each) for name, each in rules.items() if name.startswith(_FIELD)
        ]
        self.keeps_texts = FULL in {level, *rules.values()}
        """Whether some texts are recorded unchanged."""
        self.reads_lines = {level, *rules.values()} != {FULL}
        """Whether lines have to be processed here."""

    def _of(self, category: str, tool: str | None) -> str:
        """Return the level of an event; its fields may have other levels."""
        found = _strictest(each for pattern, each in self._tools if tool and fnmatchcase(tool, pattern))
        return found or self._categories.get(category, self.level)

    def _of_field(self, path: str, default: str) -> str:
        last = path.rpartition("/" if "/" in path else ".")[2]
        found = _strictest(
            each for pattern, each in self._fields if fnmatchcase(path, pattern) or fnmatchcase(last, pattern)
        )
        return found or default

    def line(self, slot: Slot, raw: bytes) -> bytes:
        """Apply the level to an event, given and returned as the bytes after the beginning `{"id":"`."""
        event = read_json(_BEGIN + raw)
        row = KINDS[slot.kind]
        is_run = row.home is Home.RUN
        payload: dict[str, Any] = event if is_run else event["extra"]
        named = payload.get(_TOOL_NAMES.get(slot.kind, ""))
        level = self._of(slot.category, named if isinstance(named, str) else None)
        types: Types = event.get("types") or {}
        declared = {field.name: field.type for field in row.fields}
        changed = {"message"}
        for key in [key for key in payload if key not in _ENVELOPE]:
            pointer = f"/{escape(key)}" if is_run else f"/extra/{escape(key)}"
            path = "state" if key == "fields" else key
            kind = declared.get(key)
            before = payload[key]
            payload[key] = self._field(before, pointer, path, level, types, kind)
            if payload[key] is not before:
                changed.add(key)
        state = event.get("state")
        if isinstance(state, dict) and isinstance(state.get("set"), dict):
            state["set"] = self._members(state["set"], "/state/set", "state", level, types)
            if level == METADATA:
                state.pop("drew", None)  # an unkeyed digest, as below
        is_hidden = level == METADATA and not changed.isdisjoint(_PLACES(row.message))
        if "message" in event and (is_hidden or self._of_field("message", "") == METADATA):
            event["message"] = shape_of(event["message"], "", {}, self.redactor)
        if level == METADATA and slot.kind == "state":
            # An unkeyed digest would let a reader verify a guess of the state.
            payload["digest"] = self.redactor.digest(str(payload.get("digest")).encode())
        event.pop("types", None)
        if types:
            event["types"] = types
        return write_json(event)[len(_BEGIN) :] + b"\n"

    def _field(
        self, value: Any, pointer: str, path: str, level: str, types: Types, declared: str | None = None
    ) -> Any:
        """Apply the level to one field; `declared` is its type if the kind defines the field."""
        explicit = self._of_field(path, "")
        own = explicit or level
        if own == METADATA and not explicit and declared and is_kept(path, value, declared):
            return value
        if isinstance(value, dict):
            keyed = own == METADATA and (path in KEYED or declared == "object")
            if keyed or self._differs_below(path, value):
                return self._members(value, pointer, path, own, types)
        if own == METADATA and declared == "array" and isinstance(value, list):
            places = (f"{pointer}/{number}" for number in range(len(value)))
            return [shape_of(*each, types, self.redactor) for each in zip(value, places, strict=True)]
        if own == METADATA:
            return shape_of(value, pointer, types, self.redactor)
        if own == REDACTED and self.keeps_texts:
            return self.redactor.value(value, pointer, types)
        return value

    def _members(
        self, value: dict[str, Any], pointer: str, path: str, level: str, types: Types
    ) -> dict[str, Any]:
        """Apply the level to each member of an object, and keep the members' names."""
        return {
            key: self._field(item, f"{pointer}/{escape(key)}", f"{path}.{key}", level, types)
            for key, item in value.items()
        }

    def _differs_below(self, path: str, value: Any) -> bool:
        """Whether a field rule applies to a member of the value, at any depth."""
        if not isinstance(value, dict) or not self._fields:
            return False
        return any(
            self._of_field(f"{path}.{key}", "") or self._differs_below(f"{path}.{key}", item)
            for key, item in value.items()
        )

    def document(self, values: dict[str, Any], types: Types) -> dict[str, Any]:
        """Apply the level to the values of a checkpoint: `state`, `messages` and `tool_calls`."""
        level = self._of("events", None)
        found = {}
        for key, value in values.items():
            pointer = f"/{escape(key)}"
            keyed = key == "state" and isinstance(value, dict) and not types.get(pointer)
            found[key] = (
                self._members(value, pointer, key, level, types)
                if keyed
                else self._field(value, pointer, key, level, types)
            )
        return found

    def of_artifact(self, names: Iterable[str], tool: str | None) -> str:
        """Return the level of an artifact, by its names: its path, and its role in a step or a call."""
        return _strictest(self._of_field(name, "") for name in names) or self._of("events", tool)

    def shaped(self, encoded: EncodedArtifact) -> EncodedArtifact:
        """Return the shape of an artifact, as an artifact with one JSON text."""
        content = encoded.content
        if encoded.media_type == JSON and isinstance(content, bytes):
            value, types = read_json(content), dict(encoded.types or {})
            shape = shape_of(value, "", types, self.redactor)
        elif encoded.media_type.startswith("text/plain") and isinstance(content, bytes):
            shape = shape_of(content.decode("utf-8", "surrogateescape"), "", {}, self.redactor)
        else:
            size_bytes, digest = self.redactor.stream_digest(
                (content,) if isinstance(content, bytes) else content
            )
            shape = f"[{encoded.media_type} {size_bytes}:{digest}]"
        return EncodedArtifact(JSON, redacted(write_json(shape) + b"\n"), {"": "opaque"})

    def kept(
        self,
        capture: Capture,
        names: Iterable[str],
        tool: str | None,
        encode: Callable[[Capture], EncodedArtifact],
    ) -> tuple[EncodedArtifact, str]:
        """Encode an artifact at its level; return it and the level.

        Args:
            capture: the pipeline's capture.
            names: the names of the artifact, as for `of_artifact`; the last is the path of its fields.
            tool: the tool to whose call it belongs, or None.
            encode: encodes the artifact with the capture that it is given.
        """
        known = list(names)
        level = self.of_artifact(known, tool)
        encoded = encode(capture.at(level))
        if encoded.media_type == JSON and isinstance(encoded.content, bytes):
            keyed = level == METADATA and known[-1] in KEYED
            if keyed or self._differs_below(known[-1], read_json(encoded.content) if self._fields else None):
                # Parts of the value have different levels: start from an encoding with unchanged texts.
                encoded = encode(capture)
                types: Types = dict(encoded.types or {})
                value = self._field(read_json(cast("bytes", encoded.content)), "", known[-1], level, types)
                return EncodedArtifact(JSON, redacted(write_json(value) + b"\n"), types or None), level
        return (self.shaped(encoded) if level == METADATA else encoded), level

    def arguments(self, argv: list[str]) -> list[str]:
        """Return a command line; at level `metadata`, the program's name and the shapes of the rest."""
        if self.level != METADATA:
            return argv
        return [*argv[:1], *(shape_of(word, "", {}, self.redactor) for word in argv[1:])]


def _strictest(levels: Iterable[str]) -> str:
    """Return the level that keeps least; empty if there is none."""
    found = set(levels)
    return next((level for level in reversed(CAPTURE_LEVELS) if level in found), "")


Types = dict[str, str]

KEPT: Final = frozenset(
    "action_type error_id call code_version direction message_id sender recipient digest class module "
    "qualname decision_type content_type content_id strategy_type learning_stage learning_type step "
    "action_id action_selected mode metric interaction_type source_id target_id connection_type "
    "root_agent_id parent_id collaboration_type participants metric_name unit operation error_type "
    "error_module fingerprint name context context_span component version writer durability policy source "
    "agent parent_run_id status step_id step_type step_span output_ref prompt_ref args_ref result_ref "
    "items_ref chunks_ref problem call_id model_name model_version model_provider tool_kind path ref "
    "adopted file media_type value_types open_steps unseen shared shared_with written_outside "
    "outside_content streams end_content objects usage currency interface site answered_by coded counters "
    "replay_id run_id target verdict rung recorded_id recorded_run previous capture stored_as "
    "agent_version".split()
)
"""Fields of this package with names, ids and references, which are kept at level `metadata`."""
_WORDS: Final = {
    "reason": frozenset({"first", "periodic", "error", "exit", "gone", "step", "tick", "time", "phase"}),
    "outcome": frozenset({"error", "cancelled", "closed", "interrupted"}),
}
"""Fields with words of this package; any other value is the user's and is not kept."""
KEYED: Final = frozenset(
    "args params labels changed init init.args init.kwargs error_attributes state configuration".split()
)
"""Fields whose keys are names from the code, and so are kept."""
_NUMBERS: Final = frozenset({"number", "integer", "boolean"})
_LONGEST_NAME: Final = 200
_OPAQUE: Final = "opaque"


def is_kept(name: str, value: Any, declared: str) -> bool:
    """Whether a field of a kind is kept at level `metadata`, because it holds no content of the user's.

    Args:
        name: the name of the field.
        value: the value of the field.
        declared: the type that the kind declares for it.
    """
    if declared in _NUMBERS:
        return isinstance(value, (int, float, bool))
    if name in _WORDS:
        return isinstance(value, str) and value in _WORDS[name]
    if name not in KEPT or (name == "context" and declared != "string"):
        return False
    if name == "source" and (not isinstance(value, str) or any(map(str.isspace, value))):
        return False  # in a `code` event it is source code of the program
    if name == "file" and isinstance(value, str) and ("/" in value or "\\" in value):
        return False  # in a `code` event it is a path, which names directories of the user's
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
    """Remove the tags at a pointer and below it from `types`; return them with pointers relative to it."""
    found = {}
    for known in [known for known in types if known == pointer or known.startswith(f"{pointer}/")]:
        found[known[len(pointer) :]] = types.pop(known)
    return found


def shape_of(value: Any, pointer: str, types: Types, redactor: Redactor) -> Any:
    """Return the shape of a JSON value with its tags, and tag its pointer as opaque; None stays None."""
    tags = below(pointer, types)
    if value is None and not tags:
        return None
    try:
        text = write_json([value, tags], orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # lone surrogates, from bytes that are not UTF-8
        text = json.dumps([value, tags], sort_keys=True).encode()
    kind, size = _kind_and_size(value, tags.get(""))
    types[pointer] = _OPAQUE
    return f"[{kind}{'' if size is None else f' {size}'}:{redactor.digest(text)}]"


def _kind_and_size(value: Any, tag: str | None) -> tuple[str, int | None]:
    """Return the name of a value's type, without names of user classes, and its size if it has one."""
    kind = type(value).__name__ if tag in {None, "redacted"} else str(tag).partition(":")[0]
    if kind in {"bytes", "bytearray"} and isinstance(value, str):
        return kind, len(value) * 3 // 4 - value[-2:].count("=")
    return kind, len(value) if isinstance(value, (str, list, dict)) else None
