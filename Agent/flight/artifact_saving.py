"""Save artifacts, step outputs and large parts of calls as files of a run, with their digests."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from Agent.event.limits_of_time import RAISED
from Agent.event.pointers import fold_tags, value_at
from Agent.event.script_names import module_name, without_script
from Agent.event.values.digest import digest_named, leaves_out_secrets, without_tokens
from Agent.event.values.plain import read_json, write_json
from Agent.flight.open_runs import Run, emit_run_event
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.artifact_bytes import EncodedArtifact, cleaned, encode_artifact, encode_json, is_text
from Agent.record.encode.capture import Capture
from Agent.record.encode.safe_text import as_message
from Agent.record.tracing.changed_arguments import args_after
from Agent.tree.layout import safe_name
from Agent.tree.write.artifacts import (
    ARTIFACT_SCHEME,
    StoredArtifact,
    artifact_ref,
    digest_of,
    new_hash,
    safe_path,
)

_NOT_STORED = "an artifact could not be stored"


def save_artifact(pipeline: Pipeline, run: Run, name: Any, data: Any, media_type: str | None) -> str:
    """Store an artifact under the program's name for it and return the reference.

    A failure is counted; the returned reference is then the one that the artifact would have had.
    """
    path = safe_path(pipeline.redactor.text(as_message(name)))
    try:
        encoded, more = _encoded(
            pipeline, path, "artifact", lambda capture: encode_artifact(capture, data, media_type, path)
        )
    except RAISED as error:  # such as an unreadable file, or an odd data frame
        return _not_stored(pipeline, path, error)
    return _save(pipeline, run, path, encoded, {"name": path, **more})


def save_step_output(pipeline: Pipeline, run: Run, step_id: str, output: Any) -> str:
    """Store the output of a step as JSON and return the reference."""
    path = f"steps/{_file_name(pipeline, step_id)}.json"
    try:
        encoded, more = _encoded(pipeline, path, "output", lambda capture: encode_json(capture, output))
    except RAISED as error:  # such as one that takes more memory than there is
        return _not_stored(pipeline, path, error)
    return _save(pipeline, run, path, encoded, {"name": path, "step_id": step_id, **more})


def save_call_part(
    pipeline: Pipeline,
    run: Run,
    call_id: str,
    part: str,
    value: Any,
    step_id: str | None = None,
    *,
    tool: str | None = None,
) -> str:
    """Store a part of a call: a string as text, an encoded value unchanged, any other value as JSON.

    Args:
        call_id: names the directory of the call.
        part: names the file and selects the capture level, such as `prompt`.
        step_id: the step of the call, if any.
        tool: the name of the tool or model, which also selects the capture level.
    """
    suffix = "txt" if isinstance(value, str) else "json"
    path = f"calls/{_file_name(pipeline, call_id)}/{part}.{suffix}"

    def encode(capture: Capture) -> EncodedArtifact:
        if isinstance(value, EncodedArtifact):
            return cleaned(capture, value)
        if isinstance(value, str):
            return encode_artifact(capture, value, "text/plain", path)
        return encode_json(capture, value)

    try:
        encoded, more = _encoded(pipeline, path, part, encode, tool)
    except RAISED as error:
        return _not_stored(pipeline, path, error)
    more["name"] = f"{part}.{suffix}"
    if step_id is not None:
        more["step_id"] = step_id
    return _save(pipeline, run, path, encoded, more)


def _encoded(
    pipeline: Pipeline,
    path: str,
    part: str,
    encode: Callable[[Capture], EncodedArtifact],
    tool: str | None = None,
) -> tuple[EncodedArtifact, dict[str, Any]]:
    """Encode an artifact at its capture level; return it and the keys that its event gets for that level."""
    levels = pipeline.redactor.levels
    if levels is None:
        return encode(pipeline.capture), {}
    encoded, level = levels.kept(pipeline.capture, (f"artifacts/{path}", part), tool, encode)
    return encoded, {"capture": level}


def _file_name(pipeline: Pipeline, identity: str) -> str:
    return safe_name(pipeline.redactor.text(identity))


def _save(pipeline: Pipeline, run: Run, path: str, encoded: EncodedArtifact, more: dict[str, Any]) -> str:
    try:
        stored = _stored(pipeline, run, path, encoded)
    except RAISED as error:  # such as a full disk, or an exit in the file's read()
        return _not_stored(pipeline, path, error)
    payload: dict[str, Any] = {
        "path": stored.ref.removeprefix(ARTIFACT_SCHEME),
        "ref": stored.ref,
        "media_type": encoded.media_type,
        "size_bytes": stored.size_bytes,
        "digest": stored.digest,
        **more,
    }
    if isinstance(encoded.content, bytes):
        payload.update(_comparison_keys(encoded.content, encoded))
    # Added as bytes: the capture would take these pointers for user keys and redact those named like secrets.
    types = b'"value_types":' + write_json(encoded.types) if encoded.types else b""
    emit_run_event(pipeline, run, "artifact.saved", payload, judged=types)
    return stored.ref


def _comparison_keys(content: bytes, encoded: EncodedArtifact) -> dict[str, Any]:
    """The payload keys for comparison with another recording: digests without secrets and without names.

    `digest_without_secrets` ignores tokens, `digest_compared` ignores tokens, names of the script and
    descriptions of objects; `unseen` lists why parts cannot be compared. Each one is left out if it adds
    nothing to the digest of the bytes.
    """
    keys: dict[str, Any] = {}
    remainder = without_tokens(content)
    if remainder is None and any(map(leaves_out_secrets, (encoded.types or {}).values())):
        remainder = content
    if remainder is not None:
        keys["digest_without_secrets"] = digest_of([remainder])
    if is_text(encoded.media_type or ""):
        reduced_content = compared(content, encoded.types or {})
        if reduced_content.content is not None:
            keys["digest_compared"] = digest_of([reduced_content.content])
        if reduced_content.unseen:
            keys["unseen"] = list(reduced_content.unseen)
    return keys


def _stored(pipeline: Pipeline, run: Run, path: str, encoded: EncodedArtifact) -> StoredArtifact:
    if pipeline.artifacts is not None:
        return pipeline.artifacts.save(run.directory_id, path, encoded.content)
    # Recording into memory keeps no files, but the event needs the reference, size and digest.
    hasher, size_bytes = new_hash(), 0
    for chunk in (encoded.content,) if isinstance(encoded.content, bytes) else encoded.content:
        hasher.update(chunk)
        size_bytes += len(chunk)
    return StoredArtifact(artifact_ref(path), size_bytes, hasher.hexdigest())


def _not_stored(pipeline: Pipeline, path: str, error: BaseException) -> str:
    pipeline.health.trouble(_NOT_STORED, error)
    pipeline.health.drop(_NOT_STORED)
    return artifact_ref(path)


_SCRIPT = "__main__."
_SCRIPT_BYTES = b"__main__"
_COMPARED = ("digest", "reference", "handle")
_OF_CUTS = ("head", "class", "repr")
_LARGE = frozenset({"opaque", "truncated"})
_DESCRIBED = ("class", "repr", "attributes", "failure")


class Tagged(NamedTuple):
    """A JSON value and its tags, as pointers into it."""

    value: Any
    types: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A digest that ignores the order of names; "" if a part of the value could not be inspected."""
        kinds = self.types.values()
        if "opaque" not in kinds and "truncated" not in kinds:
            return digest_named(self.value, self.types)
        unseen: list[str] = []

        def reduced(tag: str, node: Any, at: str) -> Any:
            if tag == "opaque" and type(node) is dict:
                node = opaque_key(node)
            if is_unseen(tag, node):
                unseen.append(at)
            return node

        value = fold_tags(self.value, self.types, "", reduced)
        return "" if unseen else digest_named(value, self.types)

    @property
    def unseen(self) -> str | None:
        """The first part that could not be inspected, and why; None if there is none."""
        for pointer, tag in self.types.items():
            node = value_at(self.value, pointer) if tag in {"opaque", "truncated"} else None
            if type(node) is dict and is_unseen(tag, node):
                return f"{pointer.removeprefix('/')} cannot be seen: {node['unseen']}"
        return None

    @property
    def leaves_out_secrets(self) -> bool:
        """Whether a value with an equal digest may hold another secret."""
        nodes = (value_at(self.value, at) for at, tag in self.types.items() if tag in _LARGE)
        texts = (text for node in nodes if type(node) is dict for text in node.values() if type(text) is str)
        return any(map(leaves_out_secrets, (*self.types.values(), *texts)))

    def with_script(self, modules: Collection[str]) -> Tagged:
        """The value with the script's module names replaced by `__main__`, as the script itself records them.

        Args:
            modules: names under which this process imported the script.
        """
        if not modules or not self.types:
            return self
        names = "|".join(map(re.escape, sorted(modules, key=len, reverse=True)))
        in_tag, in_text = re.compile(rf":(?:{names})\."), re.compile(rf"(?<![\w.])(?:{names})\.")
        types = {at: in_tag.sub(f":{_SCRIPT}", tag, count=1) for at, tag in self.types.items()}
        if "opaque" not in types.values():
            return Tagged(self.value, types)

        def renamed(tag: str, node: Any, _at: str) -> Any:
            if tag != "opaque" or type(node) is not dict:
                return node
            texts = {key: node[key] for key in ("class", "repr") if type(node.get(key)) is str}
            return {**node, **{key: in_text.sub(_SCRIPT, text) for key, text in texts.items()}}

        return Tagged(fold_tags(self.value, self.types, "", renamed), types)


def opaque_key(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keys by which two objects without a codec are compared.

    These are the digest of its content, or the name of what it refers to; in recordings made before content
    digests, its description. For an object that could not be inspected, only the reason.
    """
    if "unseen" in node:
        return {"unseen": node["unseen"]}
    if str(node.get("digest", "")).startswith("c") or "reference" in node or "handle" in node:
        return {key: node[key] for key in _COMPARED if key in node}
    return {key: node[key] for key in _DESCRIBED if key in node}


def is_unseen(tag: str, node: Any) -> bool:
    """Whether the value could not be inspected, so that nothing is known about its content."""
    return tag in {"opaque", "truncated"} and type(node) is dict and "unseen" in node


class Compared(NamedTuple):
    """The part of a document that is equal in every process that produces the same document."""

    content: bytes | None
    """The document without secrets, names of the script and descriptions; None if it has none of them."""
    unseen: tuple[str, ...]
    """Why parts of it could not be inspected; equal content proves nothing about these parts."""


def compared(content: bytes, types: Mapping[str, str]) -> Compared:
    """Reduce a text or a JSON document to the part that can be compared between processes.

    Args:
        content: the document in UTF-8.
        types: {pointer: tag} of a JSON document; empty for a text.
    """
    unseen: list[str] = []

    def reduced(tag: str, node: Any, _at: str) -> Any:
        if type(node) is not dict:
            return node
        if is_unseen(tag, node):
            unseen.append(str(node["unseen"]))
        if tag == "truncated":
            members = {key: each for key, each in node.items() if key not in _OF_CUTS}
            name, mark, cls = str(node.get("tag", "")).partition(":")
            return {**members, "tag": f"{name}{mark}{without_script(cls)}"}
        return {**opaque_key(node), "same_as": node.get("same_as")}

    reduced_text = content
    large = {at: tag for at, tag in types.items() if tag in _LARGE}
    if large:
        reduced_text = write_json(fold_tags(read_json(content), large, "", reduced))
    if _SCRIPT_BYTES in reduced_text:
        reduced_text = reduced_text.replace(
            _SCRIPT_BYTES, str(module_name("__main__")).encode("utf-8", "replace")
        )
    reduced_text = without_tokens(reduced_text) or reduced_text
    return Compared(None if reduced_text == content else reduced_text, tuple(dict.fromkeys(unseen)))


LARGE_BYTES = 16_384
"""Values of this size or larger are stored in a separate file."""
_MAX_ITEM_BYTES = 32 * 1024 * 1024
"""Items of a generator are held in memory until it ends; above this size, all are dropped."""


@dataclass(slots=True, eq=False)
class CallParts:
    """Collects the parts of one call; each value is encoded at once, so that later changes do not matter.

    Args:
        run: the run that gets the artifacts.
        call_id: names the directory of the call's artifacts.
        tool: the name of the tool or model, which selects the capture level.
    """

    _pipeline: Pipeline
    _run: Run
    _call_id: str
    _tool: str | None = None
    _members: list[bytes] = field(default_factory=list)
    _items: list[bytes] = field(default_factory=list)
    _item_types: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    """The secrets found by their key names in the parts so far; later parts are searched for them."""
    _item_bytes: int = 0
    _lost: bool = False
    types: dict[str, str] = field(default_factory=dict)
    """The tags of the members, as pointers into the event's payload."""

    def members(self) -> bytes:
        """The members of a JSON object, with commas between them."""
        return b",".join(self._members)

    def add(self, member: bytes) -> None:
        """Add a member that is already JSON."""
        self._members.append(member)

    def take(self, part: str, value: Any) -> None:
        """Add a value as `"part": ...`, or as `"part_ref": ...` if it has `LARGE_BYTES` or more."""
        capture = self._pipeline.capture
        # The judge encodes plain values fast; None means that the value needs the full capture.
        raw = None if self.secrets else capture.judge.value(value)
        if raw is not None and len(raw) < LARGE_BYTES and capture.judge.clean(raw):
            self._members.append(b'"%s":%s' % (part.encode(), raw))
            return
        if raw is None or len(raw) < LARGE_BYTES:
            secrets = tuple(self.secrets)
            body, types = capture.body({part: value}, found=self.secrets)
            if secrets:
                body, types = self._pipeline.redactor.without(secrets, body, types, "/extra")
            if len(body) < LARGE_BYTES and (not types or "truncated" not in types.values()):
                self._members.append(body)
                self.types.update(types or {})
                return
        ref = save_call_part(self._pipeline, self._run, self._call_id, part, value, tool=self._tool)
        self._members.append(b'"%s_ref":%s' % (part.encode(), orjson.dumps(ref)))

    def take_changes(self, arguments: dict[str, Any] | None, result: object) -> None:
        """Add the arguments that the body changed in place; only if `args` are in the event itself.

        Args:
            arguments: the values that were taken as `args`; None if none of them is mutable.
            result: the response of the call.
        """
        taken = [member for member in self._members if member.startswith(b'"args":')]
        if arguments is None or not taken:
            return
        raw, types = args_after(self._pipeline.capture, arguments, taken[0], self.types, result)
        if raw:
            self._members.append(raw[:-1])
            self.types.update(types or {})

    def take_item(self, item: Any) -> None:
        """Encode and hold one item of a generator or stream."""
        if self._lost:
            return
        capture = self._pipeline.capture
        raw = capture.judge.value(item)
        if raw is None or not capture.judge.clean(raw):
            body, types = capture.body({"item": item}, "")
            raw = body[len(b'"item":') :]
            item_pointer = f"/extra/items/{len(self._items)}"
            for pointer, tag in (types or {}).items():
                self._item_types[item_pointer + pointer.removeprefix("/item")] = tag
        self._items.append(raw)
        self._item_bytes += len(raw)
        if self._item_bytes > _MAX_ITEM_BYTES:
            self.lose_items()

    def lose_items(self) -> None:
        """Drop the items; only their number will be recorded."""
        self._lost = True
        self._items.clear()
        self._item_types.clear()
        self._pipeline.health.note("the items of a generator were not kept")

    def end_items(self) -> None:
        """Add the held items as `items`, or as `items_ref` if they have `LARGE_BYTES` or more."""
        if self._lost:
            return
        self._hide_split_secrets()
        if self._item_bytes + len(self._items) < LARGE_BYTES:
            self._members.append(b'"items":[%s]' % b",".join(self._items))
            self.types.update(self._item_types)
            return
        self._members.append(b'"items_ref":%s' % orjson.dumps(self.save_items("items")))

    def _hide_split_secrets(self) -> None:
        """Replace the parts of secrets that items contain together: a model streams a key in pieces."""
        redactor = self._pipeline.redactor
        if not redactor.enabled or len(self._items) < 2:
            return
        items = [read_json(raw) for raw in self._items]
        clean = {place: iter(redactor.pieces(texts)) for place, texts in texts_by_place(items).items()}
        for number, item in enumerate(items):
            shown = _map_texts(item, "/", lambda place, _text: next(clean[place]))
            if shown != item:
                self._items[number] = write_json(shown)

    def save_items(self, part: str) -> str | None:
        """Store the held items as an artifact and return the reference; None if there are none."""
        if self._lost or not self._items:
            return None
        self._hide_split_secrets()
        prefix = len("/extra/items")
        types = {pointer[prefix:]: tag for pointer, tag in self._item_types.items()}
        encoded = encode_json(self._pipeline.capture, read_json(b"[%s]" % b",".join(self._items)))
        encoded = encoded._replace(types={**types, **(encoded.types or {})} or None)
        return save_call_part(self._pipeline, self._run, self._call_id, part, encoded, tool=self._tool)


def texts_by_place(node: Any) -> dict[str, list[str]]:
    """Return the texts in a JSON value by their places, in order; members of a list have the same place."""
    texts: defaultdict[str, list[str]] = defaultdict(list)

    def collect(place: str, text: str) -> str:
        texts[place].append(text)
        return text

    _map_texts(node, "", collect)
    return texts


def _map_texts(node: Any, place: str, change: Callable[[str, str], str]) -> Any:
    """Return a JSON value with each text changed, given its place; members of a list have the same."""
    if type(node) is str:
        return change(place, node)
    if type(node) is dict:
        return {key: _map_texts(each, f"{place}/{key}", change) for key, each in node.items()}
    return [_map_texts(each, f"{place}/", change) for each in node] if type(node) is list else node
