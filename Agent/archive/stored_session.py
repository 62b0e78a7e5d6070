"""A session made again of the rows that a database holds of its events, so that it can be read and replayed.

What was sent without content is not in them; an artifact without its text is missing, and told as damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.run_export import file_of
from Agent.event.clock import format_timestamp
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.ids import session_id_for
from Agent.event.kinds import LEVEL_NAMES, Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.model import Checkpoint
from Agent.tree.files.session import SessionInfo, create_session
from Agent.tree.layout import DIRECTORY_MODE, FILE_MODE, agents_dir, runs_dir
from Agent.tree.write.artifacts import (
    ARTIFACT_SCHEME,
    ROOT_RUN,
    artifact_path,
    artifact_ref,
    make_run_dir,
    safe_path,
)

_BESIDE: Final = ("message", "state", "types", "artifact_text", "logger", "code")


class StoredSession:
    """A session's directory under a trace root, made of the events that a database holds of it.

    Args:
        root: the trace root, made if need be.
        session_uid: of the session; any where no event of it was sent.
        began_us: when it began.
    """

    def __init__(self, root: Path, session_uid: str, began_us: int) -> None:
        root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        self._session_id = session_id_for(began_us)
        began = format_timestamp(began_us)
        info = SessionInfo(self._session_id, session_uid, started_at=began, ended_at=began)
        self.path = create_session(root, info)
        for directory in (agents_dir(self.path), runs_dir(self.path)):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        make_run_dir(self.path, ROOT_RUN)  # by which the session is found under its UUID
        self.lacking: list[str] = []
        """Artifacts that were not sent."""

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the lines of events, and of artifacts their contents; to be called once."""
        lines: dict[str, list[tuple[tuple[int, str, int], bytes]]] = {}
        for row in rows:
            event = restored_event(row, self._session_id)
            lines.setdefault(file_of(event), []).append((event.order, encode_event(event)))
            if event.kind == "artifact.saved":
                self._save_artifact(event, row["body"].get("artifact_text"))
        for name, of_file in sorted(lines.items()):
            path = self.path.joinpath(*name.split("/"))
            if path.name == "events.jsonl":
                make_run_dir(self.path, path.parent.name)
            path.touch(FILE_MODE)
            path.write_bytes(b"".join(line for _, line in sorted(of_file)))

    def _save_artifact(self, event: Event, text: Any) -> None:
        ref = event.extra.get("ref")
        if not isinstance(ref, str) or ref != artifact_ref(safe_path(ref.removeprefix(ARTIFACT_SCHEME))):
            return  # no recorder wrote that, and no path is made of it
        if not isinstance(text, str):
            self.lacking.append(ref.removeprefix(ARTIFACT_SCHEME))
            return
        run_id = event.run_id or ROOT_RUN
        make_run_dir(self.path, run_id)
        path = artifact_path(self.path, run_id, ref)
        below = path.relative_to(self.path)
        for directory in reversed(below.parents):
            (self.path / directory).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        path.touch(FILE_MODE)
        path.write_bytes(text.encode())


def restored_event(row: Mapping[str, Any], session_id: str) -> Event:
    """The event that a stored row tells of, as it stood in the recording.

    Args:
        row: `event_id`, `ts_us`, `kind`, `severity`, `body` and the other columns of a stored event.
        session_id: the session that it is to stand in.
    """
    kind, body = row["kind"], row["body"]
    extra = {key: value for key, value in body.items() if key not in _BESIDE}
    for key in ("agent_id", "agent_role", "outcome"):
        if row[key] is not None:
            extra[key] = row[key]
    if row["name"] is not None and kind in KINDS and KINDS[kind].about:
        extra[KINDS[kind].about] = row["name"]
    if row["duration_ms"] is not None:
        known = {field.name for field in KINDS[kind].fields} if kind in KINDS else set()
        extra["latency_ms" if "latency_ms" in known else "duration_ms"] = row["duration_ms"]
    if kind not in KINDS or KINDS[kind].home is not Home.RUN:
        extra["event_type"] = kind
    return Event(
        timestamp=format_timestamp(row["ts_us"]),
        id=row["event_id"],
        schema_version=CURRENT_SCHEMA,
        kind=kind,
        session_id=session_id,
        level=LEVEL_NAMES.get(row["severity"], "INFO"),
        logger=body.get("logger", ""),
        message=body.get("message", ""),
        run_id=row["run_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
        causes=tuple(row["causes"] or ()),
        tick=row["tick"],
        extra=extra,
        code=body.get("code"),
        state=body.get("state"),
        types=body.get("types"),
    )


def restored_checkpoint(run_id: str, row: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint as a session keeps it; `state` and `state_types` of the row are JSON texts."""
    tags = orjson.loads(row["state_types"])
    kept = {pointer: tag for pointer, tag in tags.items() if tag != "redacted"}
    return Checkpoint(
        run_id,
        row["step_id"],
        decode_value(orjson.loads(row["state"]), kept),
        agent_id=row["agent_id"],
        timestamp=datetime.fromtimestamp(row["saved_us"] / 1e6, UTC),
        tick=row["tick"],
        reason=row["reason"],
        event_id=row["event_id"],
    )
