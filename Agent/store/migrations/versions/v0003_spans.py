"""Version 3: indices by span for the causes of an event, so that a large session is not read completely."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create both indices."""
    for name, column in (("events_by_span", "span_id"), ("events_within_span", "parent_span_id")):
        condition = text(f"{column} IS NOT NULL")
        op.create_index(
            name,
            "events",
            ["project_id", "session_uid", column],
            postgresql_where=condition,
            sqlite_where=condition,
        )
