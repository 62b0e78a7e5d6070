"""Between what users call a checkpoint and its row in the index."""

from __future__ import annotations

import time
from datetime import UTC, timedelta

from Agent.event.clock import EPOCH
from Agent.flight.checkpoints.model import Checkpoint
from Agent.flight.checkpoints.storage.index import Row
from Agent.record.encode.redaction import Redactor

__all__ = ["checkpoint_of", "row_of"]


def row_of(given: Checkpoint, redactor: Redactor) -> Row:
    """What the index says of a checkpoint; texts of the user's pass the redactor as values do."""
    moment = given.timestamp
    if moment is None:
        saved_us = time.time_ns() // 1000
    else:
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        saved_us = (aware - EPOCH) // timedelta(microseconds=1)

    def text(value: object) -> str | None:
        return None if value is None else redactor.text(str(value))

    return Row(
        number=0, pack="", offset=0, frame_bytes=0, size_bytes=0, chain=0, position=0, state_bytes=0,
        digest="", step_id=redactor.text(str(given.step_id)),
        agent_id=None if given.agent_id is None else str(given.agent_id),
        saved_us=saved_us, agent_version=text(given.agent_version), code=text(given.code), tick=given.tick,
        phase=text(given.phase), reason=text(given.reason), event_id=given.event_id,
    )  # fmt: skip


def checkpoint_of(row: Row, run_id: str) -> Checkpoint:
    """What the index knows of a checkpoint; its values are the caller's business."""
    return Checkpoint(
        run_id=run_id,
        step_id=row.step_id,
        agent_id=row.agent_id,
        timestamp=EPOCH + timedelta(microseconds=row.saved_us),
        agent_version=row.agent_version,
        code=row.code,
        tick=row.tick,
        phase=row.phase,
        reason=row.reason,
        event_id=row.event_id,
        info=row.info(run_id),
    )
