"""Version 4: the step around each step, so that a run is a tree."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the column; it is unknown of the steps that are stored."""
    op.add_column(
        "steps",
        Column("parent_step_id", Text().with_variant(Text(collation="C"), "postgresql"), nullable=True),
    )
