"""The database of the service: SQLite or PostgreSQL behind one schema. Names only; needs the extra."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names
from Agent.store.extra import extra_needed as _extra_needed

if TYPE_CHECKING:
    from Agent.store.database import Store
    from Agent.store.engines import Role
    from Agent.store.keys import ApiKey, IssuedKey, Project, Scope
    from Agent.store.pool import Pool, create_pool, open_store
    from Agent.store.rows import EventFilter, EventRow, FailureRow, Ingested, Page, RunFilter, RunRow, StepRow

__all__ = [
    "ApiKey",
    "create_pool",
    "EventFilter",
    "EventRow",
    "FailureRow",
    "Ingested",
    "IssuedKey",
    "open_store",
    "Page",
    "Pool",
    "Project",
    "Role",
    "RunFilter",
    "RunRow",
    "Scope",
    "StepRow",
    "Store",
]

_HOMES = {
    "ApiKey": "keys",
    "create_pool": "pool",
    "EventFilter": "rows",
    "EventRow": "rows",
    "FailureRow": "rows",
    "Ingested": "rows",
    "IssuedKey": "keys",
    "open_store": "pool",
    "Page": "rows",
    "Pool": "pool",
    "Project": "keys",
    "Role": "engines",
    "RunFilter": "rows",
    "RunRow": "rows",
    "Scope": "keys",
    "StepRow": "rows",
    "Store": "database",
}

__getattr__ = _lazy_names(__name__, _HOMES, _extra_needed)
