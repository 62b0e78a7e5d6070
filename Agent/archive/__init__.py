"""Long-term storage of sessions: sealing into Parquet, verifying, recovering, pruning, erasing, exporting.

Start at `sealed.sealing`; `sealed.parts` describes the files in `archive/`, and `sealed.reader` reads events
from log files and from the archive.
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
