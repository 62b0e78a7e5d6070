"""The contents of two artifacts, for recordings whose digests differ in every run.

A digest cannot be compared by form, as ids and times are: any two have the same. If a library put an id or a
time into what a model or a tool was given, the artifacts are read, and compared value by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from Agent.errors import InputError
from Agent.event.model import Event
from Agent.event.values.plain import read_json
from Agent.record.encode.artifact_bytes import is_text
from Agent.replay.compare.comparison import Recorded
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

_JSON: Final = "application/json"
_MOST_BYTES: Final = 64 * 1024 * 1024
_BINARY: Final = "its bytes differ, and may hold ids or times"
_UNSEEN: Final = "its digest differs, and its content cannot be read"


@dataclass(frozen=True, slots=True)
class ArtifactContents:
    """Reads the artifacts of two sessions.

    Args:
        recorded: the directory of the first session.
        replayed: that of the second.
    """

    recorded: Path
    replayed: Path

    def pair(self, one: Event, other: Event) -> tuple[Recorded, Recorded] | str:
        """Return the contents of two artifacts, or why they cannot be compared."""
        if any(not is_text(str(event.extra.get("media_type"))) for event in (one, other)):
            return _BINARY
        try:
            return _content(self.recorded, one), _content(self.replayed, other)
        except (InputError, OSError, ValueError):
            return _UNSEEN


def _content(session: Path, event: Event) -> Recorded:
    extra = event.extra
    if int(extra["size_bytes"]) > _MOST_BYTES:
        raise ValueError(_UNSEEN)
    # Its digest is not checked: paths in what another run recorded were replaced by those of the original.
    path = artifact_path(session, event.run_id or ROOT_RUN, str(extra["ref"]))
    raw = b"".join(read_artifact(path))
    if extra.get("media_type") != _JSON:
        return Recorded(raw.decode("utf-8", "surrogateescape"), {}, "")
    tags = extra.get("value_types")
    return Recorded(read_json(raw), tags if isinstance(tags, dict) else {}, "")
