"""The inner loops of the hot path in C; `native` is None if they were not built and Python code is used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType


def is_older_than_sources(built: str) -> bool:
    """Whether a C source file next to the built module is newer, so that the module may lack functions.

    A wheel has no C files, so this applies only to checkouts after an update.
    """
    path = Path(built)
    built_ns = path.stat().st_mtime_ns
    with os.scandir(path.parent) as entries:
        return any(
            entry.stat().st_mtime_ns > built_ns for entry in entries if entry.name.endswith((".c", ".h"))
        )


native: ModuleType | None
try:
    from Agent.record.encode import _native as native
except ImportError:  # installed without a compiler, or run from a source tree without a build
    native = None
if native is not None and is_older_than_sources(str(native.__file__)):
    native = None
    sys.stderr.write("agent-trace: the C part is older than its sources: run python hatch_build.py\n")
