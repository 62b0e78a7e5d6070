"""The schema's versions, forwards only; Alembic runs them."""
