"""Whether a target can be imported, asked before a recording is read.

Source is read first, and nothing runs. Where that leaves a doubt, a child process imports the module.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Agent.errors import TargetNotFound
from Agent.replay.plan.target import TargetNotImported, import_target, target_name, target_not_found
from Agent.replay.worker.jobs import Job, run_job

__all__ = ["check_target"]

_IMPORT = Job("import", "Agent.replay.worker.target_check:import_alone")


def check_target(target: str) -> None:
    """Raise unless `module:factory` can be imported in a process with the `sys.path` of this one.

    Raises:
        UsageError: it is no such name.
        TargetNotFound: there is no such module or factory, or importing the module fails.
    """
    module_name, _, qualname = target_name(target, None, None).partition(":")
    names = _names_in(module_name)
    if qualname in names:
        return
    try:
        result = run_job(_IMPORT, {"target": target})
    except TargetNotFound as error:
        close = difflib.get_close_matches(qualname, names, 1)
        if close:
            raise TargetNotFound(error.message, remedy=f"did you mean {module_name}:{close[0]}?") from None
        raise
    if result.answer is None:
        raise target_not_found(f"the target {module_name} ends the process that imports it")


def _names_in(module_name: str) -> list[str]:
    """The functions and classes at the top of a module's source; empty where it is not found or not read."""
    try:
        source = _source(module_name)
        tree = None if source is None else ast.parse(source.read_bytes())
    except (ImportError, OSError, SyntaxError, ValueError, AttributeError):
        return []
    return [] if tree is None else list(_defined(tree))


def _source(module_name: str) -> Path | None:
    """The file of a module that is in no package, or in a regular one on disk; nothing is imported."""
    head, *parts = module_name.split(".")
    spec = importlib.util.find_spec(head)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    for part in parts:
        below = path.parent / part
        path = below / "__init__.py" if (below / "__init__.py").is_file() else below.with_suffix(".py")
    return path if path.suffix == ".py" else None


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def import_alone(request: dict[str, Any]) -> dict[str, Any]:
    """Import the target that a request names, in the worker process.

    Raises:
        TargetNotFound: that is not possible.
    """
    from Agent.replay.worker.workbench import turn_recording_away

    turn_recording_away(Path(request["outcome_path"]).parent)
    try:
        import_target(request["target"])
    except TargetNotImported as error:
        raise target_not_found(str(error)) from error
    return {}
