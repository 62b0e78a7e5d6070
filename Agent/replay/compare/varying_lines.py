"""Lines whose value varies between processes: orders of sets, `hash`, `id`, `os.getpid`, `loop.time`.

A recording does not contain these values, and Python has no hook for them. If a difference varies between
processes, the source of the code that ran is searched for possible causes.
"""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from collections.abc import Collection, Iterable, Iterator
from types import FunctionType
from typing import cast

_OF_PROCESS = {
    "hash": "hash()",
    "id": "id()",
    "getpid": "os.getpid()",
    "getppid": "os.getppid()",
    "get_ident": "get_ident()",
    "get_native_id": "get_native_id()",
}
_BUILTIN = frozenset({"hash", "id"})
_SETS = frozenset({"set", "frozenset"})
_OF_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_WALKING = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "dict", "deque", "array"})
_MOST_LINES = 4


def varying_lines(functions: Iterable[FunctionType], set_fields: Collection[str]) -> list[str]:
    """Return such lines of the functions, as `os.getpid() in Nurse.treat (ward.py:40)`, at most four.

    Args:
        functions: those of the program that the differing action reaches.
        set_fields: the names of attributes that hold sets.
    """
    descriptions: dict[str, None] = {}
    for function in functions:
        try:
            lines, begin = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError, ValueError):
            continue  # no source, or source that cannot be parsed alone
        file = os.path.basename(function.__code__.co_filename)  # noqa: PTH119 - a name for people
        for line, what in sorted(_in_tree(tree, set_fields)):
            descriptions[f"{what} in {function.__qualname__} ({file}:{begin + line - 1})"] = None
            if len(descriptions) == _MOST_LINES:
                return list(descriptions)
    return list(descriptions)


def _in_tree(tree: ast.AST, set_fields: Collection[str]) -> set[tuple[int, str]]:
    names = _names_of_sets(tree, set_fields)
    lines: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name, is_plain = _called(node.func)
            if name in _OF_PROCESS and (is_plain or name not in _BUILTIN):
                lines.add((node.lineno, _OF_PROCESS[name]))
            elif name == "time" and not is_plain and _is_loop(cast("ast.Attribute", node.func).value):
                lines.add((node.lineno, "loop.time()"))
        for walked in _iterated_by(node):
            if _is_set(walked, names, set_fields):
                lines.add((walked.lineno, "the order of a set"))
    return lines


def _called(function: ast.expr) -> tuple[str, bool]:
    """Return the name of the called function, and whether it is called by a plain name."""
    if isinstance(function, ast.Name):
        return function.id, True
    return (function.attr if isinstance(function, ast.Attribute) else ""), False


def _is_loop(node: ast.expr) -> bool:
    """Whether an expression is named like an event loop: `loop`, `self._loop`, `get_running_loop()`."""
    name = _called(node.func)[0] if isinstance(node, ast.Call) else _called(node)[0]
    return name.lower().endswith("loop")


def _iterated_by(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions over which a node iterates."""
    if isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        yield node.iter
    elif isinstance(node, ast.Starred):
        yield node.value
    elif isinstance(node, ast.Call):
        name, is_plain = _called(node.func)
        if (is_plain and name in _WALKING) or name == "join":
            yield from node.args
        elif name == "pop" and not node.args and isinstance(node.func, ast.Attribute):
            yield node.func.value


def _names_of_sets(tree: ast.AST, set_fields: Collection[str]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_set(node.value, names, set_fields):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _is_set(node: ast.expr, names: Collection[str], set_fields: Collection[str]) -> bool:
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute):
        return node.attr in set_fields
    if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        return any(_is_set(side, names, set_fields) for side in (node.left, node.right))
    if isinstance(node, ast.Call):
        name, is_plain = _called(node.func)
        if is_plain:
            return name in _SETS
        is_of_set = isinstance(node.func, ast.Attribute) and _is_set(node.func.value, names, set_fields)
        return is_of_set and name in {*_OF_SETS, "copy"}
    return False
