"""Keeping a session: sealed into Parquet, verified, recovered, pruned, erased, exported.

Start at `sealed.sealing`; `sealed.parts` says what lies in `archive/`, `sealed.reader` gives events of
either form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.archive.sealed.reader import open_reader, unseal
    from Agent.archive.sealed.sealing import Sealed, seal

__all__ = ["open_reader", "seal", "Sealed", "unseal"]

_HOMES = {
    "open_reader": "sealed.reader",
    "Sealed": "sealed.sealing",
    "seal": "sealed.sealing",
    "unseal": "sealed.reader",
}


def __getattr__(name: str) -> Any:
    """The names of this package, each loaded when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"Agent.archive.{_HOMES[name]}"), name)
