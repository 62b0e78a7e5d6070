"""Versions of recorded events, for those who read `events.jsonl` themselves, and what each demands.

The events of runs are events like all others, so this hands out what `Agent.event` has.
"""

from Agent.event.codec import CURRENT_SCHEMA, SchemaError, migrate_event, validate_event
from Agent.event.payloads import KINDS, Field, Kind

__all__ = ["CURRENT_SCHEMA", "Field", "Kind", "KINDS", "migrate_event", "SchemaError", "validate_event"]
