"""The plan of an erasure: it stands under the trace root from before the first byte goes until all are gone.

Whoever finds one goes on with it. It holds what is erased, so it is the last thing that goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.erase.target import Target
from Agent.tree.files.session import read_stored, replace_durably

__all__ = [
    "PLAN_NAME",
    "plan_file",
    "read_plan",
    "remove_plan",
    "remove_unfinished_plans",
    "write_plan",
]

PLAN_NAME: Final = ".erasing.json"
PLAN_VERSION: Final = 1


def plan_file(root: Path) -> Path:
    """Where the plan stands."""
    return root / PLAN_NAME


def read_plan(root: Path) -> Target | None:
    """What an erasure that was interrupted had begun to erase; None where none was.

    Raises:
        DamagedInput: there is a plan that cannot be read.
    """
    what = "the plan of an erasure that was interrupted"
    return read_stored(plan_file(root), _target_in, what, "remove it, and erase the same again")


def _target_in(stored: Any) -> Target:
    if stored["version"] != PLAN_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return Target.from_object(stored["target"])


def write_plan(root: Path, target: Target) -> None:
    """Put the plan in place, on the disk itself; OSError if that is refused."""
    stored = {"version": PLAN_VERSION, "target": target.to_object()}
    replace_durably(plan_file(root), orjson.dumps(stored, option=orjson.OPT_APPEND_NEWLINE))


def remove_plan(root: Path) -> None:
    """Take the plan away."""
    plan_file(root).unlink(missing_ok=True)


def remove_unfinished_plans(root: Path) -> None:
    """Remove what is half written of a plan."""
    for path in root.glob(f".{PLAN_NAME}.*.new"):
        path.unlink(missing_ok=True)
