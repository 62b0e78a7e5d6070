"""Keeping a session: sealed into Parquet, read back from there as if its lines still stood in their files.

Start at `sealing`; `sealed_parts` says what lies in `archive/`, `reader` gives events of either form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.archive.reader import open_reader
    from Agent.archive.sealed_lines import unseal
    from Agent.archive.sealing import Sealed, seal

__all__ = ["open_reader", "seal", "Sealed", "unseal"]

_HOMES = {
    "open_reader": "reader",
    "Sealed": "sealing",
    "seal": "sealing",
    "unseal": "sealed_lines",
}


def __getattr__(name: str) -> Any:
    """The names of this package, each loaded when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"Agent.archive.{_HOMES[name]}"), name)
