"""Version 4: the enclosing step of each step, so that a run is a tree; an index of model calls."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text, text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column, NULL for existing steps, and the index."""
    op.add_column(
        "steps",
        Column("parent_step_id", Text().with_variant(Text(collation="C"), "postgresql"), nullable=True),
    )
    models = text("kind = 'model.call'")
    op.create_index(
        "events_of_models",
        "events",
        ["project_id", "run_id"],
        postgresql_where=models,
        sqlite_where=models,
    )
