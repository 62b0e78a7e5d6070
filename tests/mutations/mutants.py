"""Changes planted in a program: one place of its driven code, or a write to an agent outside any action.

Each is a change of the syntax tree; `mutants_of` draws them by seed and leaves out those that leave the text
as it was.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from made_programs import Program

Place = tuple[ast.AST, str, int]
"""A node, one of its lists of statements, and an index there."""


@dataclass(frozen=True)
class Mutant:
    """A program with one change."""

    kind: str
    what: str
    """The change in words: line, before, after."""
    body: str


def mutants_of(program: Program, count: int, chance: random.Random) -> list[Mutant]:
    """So many different mutants of a program, kinds in turn as far as it has places for them."""
    found: dict[str, Mutant] = {}
    kinds = list(_KINDS)
    chance.shuffle(kinds)
    for number in range(count * 8):
        if len(found) == count:
            break
        kind = kinds[number % len(kinds)]
        tree = ast.parse(program.body)
        what = _KINDS[kind](_driven(tree, program) if kind != OUTSIDE else [tree], chance)
        if what is None:
            continue
        body = ast.unparse(ast.fix_missing_locations(tree))
        if body != ast.unparse(ast.parse(program.body)):
            found.setdefault(body, Mutant(kind, what, body))
    return list(found.values())


def _driven(tree: ast.Module, program: Program) -> list[ast.AST]:
    """The functions whose bodies run in a re-drive."""
    inside = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name not in program.answered:
            inside += [each for each in node.body if isinstance(each, _FUNCTIONS) and each.name != "__init__"]
        elif (isinstance(node, ast.FunctionDef) and node.name == "fee") or (
            isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RATE"
        ):
            inside.append(node)
    return inside


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _nodes(roots: list[ast.AST], *kinds: type[ast.AST]) -> list[ast.AST]:
    """The nodes of those kinds in bodies, decorators left out."""
    found = []
    for root in roots:
        bodies = root.body if isinstance(root, _FUNCTIONS) else [root]
        found += [node for part in bodies for node in ast.walk(part) if isinstance(node, kinds)]
    return found


def _places(roots: list[ast.AST]) -> Iterator[Place]:
    for root in roots:
        for node in ast.walk(root):
            for name in ("body", "orelse"):
                statements = getattr(node, name, None)
                if isinstance(statements, list):
                    for index in range(len(statements)):
                        yield node, name, index


def _result(roots: list[ast.AST], chance: random.Random) -> str | None:
    """Another value where a function returns."""
    returns = [node for node in _nodes(roots, ast.Return) if node.value is not None]
    if not returns:
        return None
    node = chance.choice(returns)
    before = ast.unparse(node)
    value = ast.unparse(node.value)
    node.value = ast.parse(
        chance.choice(["None", "0", f"[{value}]", f"({value}, 1)", f"str({value})", "{}"]), mode="eval"
    ).body
    return f"{before} -> {ast.unparse(node)}"


def _constant(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A number, text or truth a little different."""
    found = [
        node
        for node in _nodes(roots, ast.Constant)
        if isinstance(node.value, (int, float, str)) and node.value not in ("", None)
    ]
    if not found:
        return None
    node = chance.choice(found)
    before = node.value
    if isinstance(before, str):
        node.value = before + "x"
    else:
        node.value = before + (1 if isinstance(before, int) else 0.25)
    return f"line {node.lineno}: {before!r} -> {node.value!r}"


_SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.Mod: ast.Add,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip


def _operator(roots: list[ast.AST], chance: random.Random) -> str | None:
    """Another operator."""
    found = [node for node in _nodes(roots, ast.BinOp, ast.AugAssign) if type(node.op) in _SWAPS]
    found += [node for node in _nodes(roots, ast.Compare) if type(node.ops[0]) in _SWAPS]
    if not found:
        return None
    node = chance.choice(found)
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops[0] = _SWAPS[type(node.ops[0])]()
    else:
        node.op = _SWAPS[type(node.op)]()
    return f"{before} -> {ast.unparse(node)}"


def _condition(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A condition turned round."""
    found = _nodes(roots, ast.If, ast.IfExp)
    if not found:
        return None
    node = chance.choice(found)
    before = ast.unparse(node.test)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return f"if {before} -> if {ast.unparse(node.test)}"


def _dropped_call(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A call that is not made, where a statement is nothing else."""
    found = [
        place
        for place in _places(roots)
        if isinstance(_at(place), ast.Expr) and isinstance(_at(place).value, (ast.Call, ast.Await))
    ]
    return _replace(found, chance, lambda statement: [ast.Pass()])


def _dropped_statement(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A statement that is left out."""
    found = [place for place in _places(roots) if isinstance(_at(place), (ast.Assign, ast.AugAssign))]
    return _replace([place for place in found if len(_list(place)) > 1], chance, lambda statement: [])


def _doubled(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A statement twice."""
    kinds = (ast.Expr, ast.AugAssign, ast.Assign, ast.For, ast.If)
    found = [place for place in _places(roots) if isinstance(_at(place), kinds)]
    return _replace(found, chance, lambda statement: [statement, copy.deepcopy(statement)])


def _swapped(roots: list[ast.AST], chance: random.Random) -> str | None:
    """Two statements in the other order."""
    found = [
        place
        for place in _places(roots)
        if place[2] + 1 < len(_list(place)) and not isinstance(_list(place)[place[2] + 1], ast.Return)
    ]
    if not found:
        return None
    place = chance.choice(found)
    statements, index = _list(place), place[2]
    statements[index], statements[index + 1] = statements[index + 1], statements[index]
    return f"line {statements[index].lineno} before line {statements[index + 1].lineno}"


def _extra_draw(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A draw or a reading of the clock more."""
    more = chance.choice(
        ["self.rng.random()", "self.rng.randint(1, 6)", "random.random()", "random.Random().random()",
         "time.time()", "random.shuffle([1, 2, 3])"]
    )  # fmt: skip
    return _inserted(roots, more, chance)


def _extra_write(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A field written once more inside an action."""
    more = chance.choice(
        ["self.cash = self.cash + 0.5", "self.extra = 1", "self.seen.append(0)", "self.mood = self.mood + '!'",
         "self.tags = set(self.tags) | {'z'}", "self.rng.seed(4)", "del self.level", "self.ledger.append(1)",
         "self.cash = int(self.cash)", "self.seen = tuple(self.seen)"]
    )  # fmt: skip
    return _inserted(roots, more, chance)


def _inserted(roots: list[ast.AST], more: str, chance: random.Random) -> str | None:
    methods = [root for root in roots if isinstance(root, _FUNCTIONS) and root.args.args[0].arg == "self"]
    places = list(_places(methods))
    if not places:
        return None
    place = chance.choice(places)
    _list(place).insert(place[2], ast.parse(more).body[0])
    return f"{more} before line {getattr(place[0], 'lineno', 0)}+{place[2]}"


def _outside_write(roots: list[ast.AST], chance: random.Random) -> str | None:
    """A field written between two calls, by whoever calls."""
    (tree,) = roots
    script = next(
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SCRIPT"
    )
    name, value = chance.choice(
        [("=cash", 12.5), ("=mood", "odd"), ("=level", 6), ("=seen", ["written"]), ("=extra", 3)]
    )
    calls = script.value.elts
    # Before the agent's first action it would be part of the state in which that begins.
    of_script = (ast.literal_eval(call)[:2] for call in calls)
    acts = [number for number, (agent, call) in enumerate(of_script) if agent == "a" and call[0] != "="]
    if not acts:
        return None
    index = chance.randint(acts[0] + 1, len(calls))
    calls.insert(index, ast.parse(repr(("a", name, (value,))), mode="eval").body)
    return f"{name[1:]} = {value!r} before call {index + 1}"


def _at(place: Place) -> ast.stmt:
    return _list(place)[place[2]]


def _list(place: Place) -> list[ast.stmt]:
    return getattr(place[0], place[1])


def _replace(
    places: list[Place], chance: random.Random, by: Callable[[ast.stmt], list[ast.stmt]]
) -> str | None:
    if not places:
        return None
    place = chance.choice(places)
    statement = _at(place)
    new = by(statement)
    _list(place)[place[2] : place[2] + 1] = new
    shown = "; ".join(ast.unparse(each) for each in new) or "nothing"
    return f"{ast.unparse(statement).splitlines()[0]} -> {shown.splitlines()[0]}"


OUTSIDE = "state write outside any action"
_KINDS: dict[str, Callable[[list[ast.AST], random.Random], str | None]] = {
    "changed result": _result,
    "changed constant": _constant,
    "changed operator": _operator,
    "changed condition": _condition,
    "dropped call": _dropped_call,
    "dropped statement": _dropped_statement,
    "doubled statement": _doubled,
    "swapped order": _swapped,
    "extra draw": _extra_draw,
    "state write inside an action": _extra_write,
    OUTSIDE: _outside_write,
}
KINDS = tuple(_KINDS)
