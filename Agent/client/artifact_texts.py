"""What artifacts hold, where it is text and short enough to be sent along with content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

__all__ = ["MAX_ARTIFACT_BYTES", "artifact_text"]

MAX_ARTIFACT_BYTES: Final = 512 * 1024
"""Larger artifacts stay on this machine."""


def artifact_text(session: Path, event: Event) -> str | None:
    """The content of the artifact that an `artifact.saved` tells of.

    Returns:
        None for one that is larger than `MAX_ARTIFACT_BYTES`, is no text, was removed or damaged.
    """
    ref, size_bytes, digest = (event.extra.get(key) for key in ("ref", "size_bytes", "digest"))
    if not isinstance(ref, str) or not isinstance(size_bytes, int) or size_bytes > MAX_ARTIFACT_BYTES:
        return None
    try:
        path = artifact_path(session, event.run_id or ROOT_RUN, ref)
        content = b"".join(read_artifact(path, digest if isinstance(digest, str) else None))
        text = content.decode()
    except (DamagedInput, UnicodeDecodeError):
        return None  # the event goes without it, which the service tells whoever asks for a replay
    return None if "\0" in text else text
