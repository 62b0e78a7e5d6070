"""The inner loops of the hot path in C; None where they were not built: others then do the same in Python."""

from __future__ import annotations

from types import ModuleType

native: ModuleType | None
try:
    from Agent.record.encode import _native as native
except ImportError:  # built without a compiler, or run from a source tree in which nothing was built
    native = None
