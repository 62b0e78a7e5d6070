"""Keeping a session: sealed into Parquet, verified, recovered, pruned, erased, exported.

Start at `sealed.sealing`; `sealed.parts` says what lies in `archive/`, `sealed.reader` gives events of
either form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.archive.sealed.reader import open_reader, unseal
    from Agent.archive.sealed.sealing import Sealed, seal

__all__ = ["open_reader", "seal", "Sealed", "unseal"]

_HOMES = {
    "sealed.reader": "open_reader unseal",
    "sealed.sealing": "seal Sealed",
}

__getattr__ = _lazy_names(__name__, _HOMES)
