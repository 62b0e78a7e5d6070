"""Schema versions of recorded events and the fields of each kind, for code that reads `events.jsonl` itself.

The events of runs use the same schema as all other events, so this module re-exports names of `Agent.event`.
"""

from Agent.event.codec import CURRENT_SCHEMA, SchemaError, migrate_event, validate_event
from Agent.event.payloads import KINDS, Field, Kind

__all__ = ["CURRENT_SCHEMA", "Field", "Kind", "KINDS", "migrate_event", "SchemaError", "validate_event"]
