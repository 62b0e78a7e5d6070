"""Version 3: indices by span, for what led to an event: a large session was read whole for it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes both indices."""
    for name, column in (("events_by_span", "span_id"), ("events_within_span", "parent_span_id")):
        condition = text(f"{column} IS NOT NULL")
        op.create_index(
            name,
            "events",
            ["project_id", "session_uid", column],
            postgresql_where=condition,
            sqlite_where=condition,
        )
