"""Version 2: checkpoints and replays. The reading role has no access to them, since they contain content."""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0002"
down_revision = "0001"

_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "checkpoints",
        Column("project_id", Integer, primary_key=True, autoincrement=False),
        Column("checkpoint_id", _ID, primary_key=True),
        Column("run_id", _ID, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("step_id", _ID, nullable=False),
        Column("agent_id", _ID),
        Column("saved_us", BigInteger, nullable=False),
        Column("tick", BigInteger),
        Column("reason", _ID),
        Column("event_id", _ID),
        Column("state", Text, nullable=False),
        Column("state_types", Text, nullable=False),
    )
    op.create_index(
        "checkpoints_by_run", "checkpoints", ["project_id", "run_id", "position", "checkpoint_id"]
    )
    op.create_table(
        "replays",
        Column("project_id", Integer, primary_key=True, autoincrement=False),
        Column("replay_id", _ID, primary_key=True),
        Column("run_id", _ID, nullable=False),
        Column("checkpoint_id", _ID, nullable=False),
        Column("status", _ID, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("due_us", BigInteger, nullable=False),
        Column("finished_us", BigInteger),
        Column("request", Text, nullable=False),
        Column("result", Text),
        Column("problem", Text),
    )
    op.create_index("replays_by_run", "replays", ["project_id", "run_id", "created_us", "replay_id"])
