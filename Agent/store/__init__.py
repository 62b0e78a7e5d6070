"""Public names of the service's database: SQLite or PostgreSQL with one schema. Needs the extra."""

from typing import TYPE_CHECKING

from Agent.lazy_names import extra_needed as _extra_needed
from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.store.database import Store
    from Agent.store.engines import Role
    from Agent.store.keys import ApiKey, IssuedKey, Scope
    from Agent.store.pool import Pool, create_pool, open_store
    from Agent.store.schema import (
        EventFilter,
        EventRow,
        FailureRow,
        Ingested,
        Page,
        Project,
        RunFilter,
        RunRow,
        StepRow,
    )

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
    "database": "Store",
    "engines": "Role",
    "keys": "ApiKey IssuedKey Scope",
    "pool": "create_pool open_store Pool",
    "schema": "EventFilter EventRow FailureRow Ingested Page Project RunFilter RunRow StepRow",
}

__getattr__ = _lazy_names(__name__, _HOMES, _extra_needed)
