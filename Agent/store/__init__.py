"""The database of the service: SQLite or PostgreSQL behind one schema. Names only; needs the extra."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names
from Agent.store.extra import extra_needed as _extra_needed

if TYPE_CHECKING:
    from Agent.store.database import Store
    from Agent.store.engines import Role
    from Agent.store.filters import EventFilter, RunFilter
    from Agent.store.keys import ApiKey, IssuedKey, Scope
    from Agent.store.opening import open_store
    from Agent.store.pages import Page
    from Agent.store.pool import Pool, create_pool
    from Agent.store.projects import Project
    from Agent.store.rows import EventRow, FailureRow, Ingested, RunRow, StepRow

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
    "EventFilter": "filters",
    "EventRow": "rows",
    "FailureRow": "rows",
    "Ingested": "rows",
    "IssuedKey": "keys",
    "open_store": "opening",
    "Page": "pages",
    "Pool": "pool",
    "Project": "projects",
    "Role": "engines",
    "RunFilter": "filters",
    "RunRow": "rows",
    "Scope": "keys",
    "StepRow": "rows",
    "Store": "database",
}

__getattr__ = _lazy_names(__name__, _HOMES, _extra_needed)
