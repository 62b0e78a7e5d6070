"""The entry point of Alembic, with a connection of `Agent.store.engines`, or without one to print the SQL."""

from __future__ import annotations

from alembic import context

from Agent.store.schema import METADATA

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(
        dialect_name="postgresql", target_metadata=METADATA, output_buffer=context.config.attributes["output"]
    )
else:
    context.configure(connection=connection, target_metadata=METADATA)

with context.begin_transaction():
    context.run_migrations()
