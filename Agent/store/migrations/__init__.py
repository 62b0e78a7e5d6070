"""The migrations of the schema, upgrades only; Alembic runs them."""
