"""Artifacts on their way from a call to the run's directory, and the event that says so.

`record/encode/artifact_bytes.py` made the bytes, `tree/write/artifacts.py` stores them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.values.digest import without_tokens
from Agent.flight.open_runs.context import Run
from Agent.flight.open_runs.run_events import emit_run_event
from Agent.flight.open_runs.tagged_values import compared
from Agent.record.encode.artifact_bytes import EncodedArtifact, cleaned, encode_artifact, encode_json, is_text
from Agent.record.encode.safe_text import as_message
from Agent.tree.layout import safe_name
from Agent.tree.write.artifacts import ARTIFACT_SCHEME, Stored, artifact_ref, new_hash, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.capture import Capture

__all__ = ["save_artifact", "save_call_part", "save_encoded_part", "save_step_output"]

_NOT_STORED = "an artifact could not be stored"


def save_artifact(pipeline: Pipeline, run: Run, name: Any, data: Any, media_type: str | None) -> str:
    """Store what a program saves under a name of its own; the reference to it.

    Where it cannot be stored the reference is the one that it would have had, and that is counted.
    """
    path = safe_path(pipeline.redactor.text(as_message(name)))
    try:
        encoded, more = _encoded(
            pipeline, path, "artifact", lambda capture: encode_artifact(capture, data, media_type, path)
        )
    except Exception as error:  # noqa: BLE001 - a file that cannot be read, a frame that cannot be written
        return _not_stored(pipeline, path, error)
    return _save(pipeline, run, path, encoded, {"name": path, **more})


def save_step_output(pipeline: Pipeline, run: Run, step_id: str, output: Any) -> str:
    """Store the output of a step as JSON, whatever it is; the reference to it."""
    path = f"steps/{_file_name(pipeline, step_id)}.json"
    encoded, more = _encoded(pipeline, path, "output", lambda capture: encode_json(capture, output))
    return _save(pipeline, run, path, encoded, {"name": path, "step_id": step_id, **more})


def save_call_part(
    pipeline: Pipeline,
    run: Run,
    call_id: str,
    part: str,
    value: Any,
    step_id: str | None,
    *,
    tool: str | None = None,
) -> str:
    """Store a part of a call of a model or a tool of that name, text as text and anything else as JSON."""
    suffix = "txt" if isinstance(value, str) else "json"
    path = f"calls/{_file_name(pipeline, call_id)}/{part}.{suffix}"

    def encode(capture: Capture) -> EncodedArtifact:
        if isinstance(value, str):
            return encode_artifact(capture, value, "text/plain", path)
        return encode_json(capture, value)

    encoded, more = _encoded(pipeline, path, part, encode, tool)
    more["name"] = f"{part}.{suffix}"
    if step_id is not None:
        more["step_id"] = step_id
    return _save(pipeline, run, path, encoded, more)


def save_encoded_part(
    pipeline: Pipeline,
    run: Run,
    call_id: str,
    part: str,
    encoded: EncodedArtifact,
    *,
    tool: str | None = None,
) -> str:
    """Store a part of a call that is JSON already; the reference to it."""
    path = f"calls/{_file_name(pipeline, call_id)}/{part}.json"
    encoded, more = _encoded(pipeline, path, part, lambda capture: cleaned(capture, encoded), tool)
    return _save(pipeline, run, path, encoded, {"name": f"{part}.json", **more})


def _encoded(
    pipeline: Pipeline,
    path: str,
    part: str,
    encode: Callable[[Capture], EncodedArtifact],
    tool: str | None = None,
) -> tuple[EncodedArtifact, dict[str, Any]]:
    """An artifact as its capture level has it, and what its event says of that."""
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
    except Exception as error:  # noqa: BLE001 - a full disk, a file of the user's that cannot be read on
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
        payload.update(_told_for_comparison(encoded.content, encoded))
    # As text these pointers would look like keys of the user's, and those of secrets would be hidden.
    types = b'"value_types":' + orjson.dumps(encoded.types) if encoded.types else b""
    emit_run_event(pipeline, run, "artifact.saved", payload, judged=types)
    return stored.ref


def _told_for_comparison(content: bytes, encoded: EncodedArtifact) -> dict[str, Any]:
    """By what the artifact is compared with that of another recording, beside the digest of its bytes."""
    told: dict[str, Any] = {}
    rest = without_tokens(content)
    if rest is not None:
        told["digest_without_secrets"] = _digest(rest)
    if is_text(encoded.media_type or ""):
        found = compared(content, encoded.types or {})
        if found.content is not None:
            told["digest_compared"] = _digest(found.content)
        if found.unseen:
            told["unseen"] = list(found.unseen)
    return told


def _digest(content: bytes) -> str:
    hasher = new_hash()
    hasher.update(content)
    return hasher.hexdigest()


def _stored(pipeline: Pipeline, run: Run, path: str, encoded: EncodedArtifact) -> Stored:
    if pipeline.artifacts is not None:
        return pipeline.artifacts.save(run.directory_id, path, encoded.content)
    # Recording into memory keeps no files: what it would have been is known all the same.
    hasher, size_bytes = new_hash(), 0
    for chunk in (encoded.content,) if isinstance(encoded.content, bytes) else encoded.content:
        hasher.update(chunk)
        size_bytes += len(chunk)
    return Stored(artifact_ref(path), size_bytes, hasher.hexdigest())


def _not_stored(pipeline: Pipeline, path: str, error: Exception) -> str:
    pipeline.health.trouble(_NOT_STORED, error)
    pipeline.health.drop(_NOT_STORED)
    return artifact_ref(path)
