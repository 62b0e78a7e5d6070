"""What differs outside the state of agents: globals, functions and the like at the end, and lines that vary.

A recording has digests of what changed while agents acted, and the names of what did not. Only changed code
can make a difference here, so nothing is compared if no code changed.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any, Final, NamedTuple, cast

from Agent.event.classes import find_class
from Agent.event.model import Event
from Agent.event.script_names import module_name
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import leaves_out_secrets, version_in
from Agent.record.tracing.process_settings import ENVIRONMENT
from Agent.record.tracing.program_state import OF_CLASS

UNCHANGED = "unchanged"
OF_STORED_CODE: Final = (
    "and what it does there is not recorded: return or store what it computes, in a traced action"
)
"""Why code that an action stores proves nothing."""
_NO_VALUE = "no value"
_BY_KEY = "by key"
_EMPTY = content_of({}).text
_DIGEST = re.compile(r"[a-z][0-9][\w./]*:[0-9a-f]+")  # not a token in the place of a secret


class LeftInProgram(NamedTuple):
    """The state of the program at the end of one run."""

    changed: Mapping[str, str]
    """{name: digest} of what changed while agents acted."""
    unchanged: frozenset[str]
    numbers: Mapping[str, int | float | str] = MappingProxyType({})
    """Those of them that are numbers, or names of what is in a library."""
    unknown: frozenset[str] | None = None
    """Names without a digest; None if the recording predates this list."""
    redacted: frozenset[str] = frozenset()
    """Names whose digests leave out secrets, which equal digests therefore do not compare."""
    carried: Mapping[str, str] = MappingProxyType({})
    """{name: digest} of the attributes of classes of which values are instances."""
    beside: Mapping[str, str] = MappingProxyType({})
    """{name: digest} of what did not change, in a dict or an object of which another member did."""
    exact: Mapping[str, str] = MappingProxyType({})
    """{name: digest} with the ids and moments in it, of what changed and holds some."""
    generators: Mapping[str, tuple[str, str]] = MappingProxyType({})
    """{name: digests of the positions} of random generators before agents acted, and at the end."""
    is_cut: bool = False
    """Whether a limit ended the search for names."""
    code: Mapping[str, str] | None = None
    """{name: digest} with the code that came in while agents acted; None if the recording predates it."""

    def shown(self, name: str) -> Any:
        """Return the content under a name for a report."""
        at = self.carried.get(name) or self.beside.get(name) or self.at(name)
        if at == _BY_KEY:
            return f"a dict with the keys {', '.join(sorted(self._keys_of(name)))}"
        return self.numbers.get(name, at if at in {UNCHANGED, _NO_VALUE} else f"content {at}")

    def at(self, name: str) -> str | None:
        """Return the digest under a name, or None.

        It is `UNCHANGED` if nothing changed, "no value" for a key that its dict lacks, and `_BY_KEY` for a
        dict whose keys have names of their own: all of them are texts.
        """
        if name in self.changed or name in self.unchanged:
            return self.changed.get(name, UNCHANGED)
        if self._keys_of(name):
            return _BY_KEY
        holder, bracket, _ = name.partition("[")
        of_process = holder if holder == ENVIRONMENT else f"{name.rpartition('.')[0]}.*"
        if of_process in self.unchanged:
            return UNCHANGED
        if not bracket or self.unknown is None or not self.unknown.isdisjoint((name, holder)):
            return None
        known = (*self.changed, *self.unchanged, *self.unknown)
        is_dict_known = any(each == holder or each.startswith(f"{holder}[") for each in known)
        return _NO_VALUE if is_dict_known else None

    def _keys_of(self, name: str) -> list[str]:
        known = (*self.changed, *self.unchanged, *(self.unknown or ()))
        return [each.removeprefix(name)[1:-1] for each in known if each.startswith(f"{name}[")]

    @property
    def wholes(self) -> frozenset[str]:
        """The names whose content has one digest, unless it is an empty dict."""
        return frozenset(name for name, digest in self.changed.items() if digest != _EMPTY)

    @classmethod
    def of(cls, recorded: object) -> LeftInProgram | None:
        """Read the state from an event's payload; None if it is missing or damaged."""
        if type(recorded) is not dict:
            return None
        unchanged, unknown, redacted = (
            _names_in(recorded.get(name)) for name in ("unchanged", "unknown", "redacted")
        )
        if type(recorded.get("changed")) is not dict or unchanged is None:
            return None
        digests, of_classes, beside, exact = (
            _digests_in(recorded.get(name)) for name in ("changed", "carried", "beside", "exact")
        )
        numbers = recorded.get("numbers")
        known = digests | of_classes | beside
        hidden = {name for name, digest in known.items() if leaves_out_secrets(digest)}
        hidden |= redacted or set()
        return cls(
            digests,
            unchanged,
            numbers if type(numbers) is dict else {},
            unknown,
            frozenset(hidden),
            carried=of_classes,
            beside=beside,
            exact=exact,
            generators=_pairs_in(recorded.get("generators")),
            is_cut=recorded.get("cut") is True,
            code=_digests_in(recorded["code"]) if "code" in recorded else None,
        )


def _names_in(recorded: object) -> frozenset[str] | None:
    return frozenset(map(str, recorded)) if type(recorded) is list else None


def _digests_in(recorded: object) -> dict[str, str]:
    digests = recorded if type(recorded) is dict else {}
    is_digest = _DIGEST.fullmatch
    return {str(name): each for name, each in digests.items() if type(each) is str and is_digest(each)}


def _pairs_in(recorded: object) -> dict[str, tuple[str, str]]:
    pairs = recorded.items() if type(recorded) is dict else ()
    return {
        str(name): (str(pair[0]), str(pair[1]))
        for name, pair in pairs
        if type(pair) is list and len(pair) == 2
    }


def program_state_of(events: Iterable[Event]) -> LeftInProgram | None:
    """Return the program state of a recording's only process; None if unknown, or for several processes."""
    recorded: list[Any] = [
        event.extra["program"] for event in events if event.kind == "log.closed" and "program" in event.extra
    ]
    return LeftInProgram.of(recorded[0]) if len(recorded) == 1 else None


Kind = Mapping[str, Any]
"""What callers see of a class beside its attributes; see `bases` and others in docs/FORMAT.md."""
_KINDS: Final = {
    "bases": "bases of",
    "metaclass": "metaclass of",
    "dataclass": "flags of the dataclass",
    "members": "members of",
}


class KindOtherwise(NamedTuple):
    """A class of which values are instances, and what its callers see otherwise."""

    what: str
    recorded: str
    replayed: str
    is_sure: bool
    """Whether code that did not change can tell the difference."""

    def __str__(self) -> str:
        """Describe the difference for a report."""
        return f"{self.what}, of which values are instances: recorded {self.recorded}, now {self.replayed}"


def kinds_in(programs: Iterable[object]) -> dict[str, Kind]:
    """Return {class: kind} of the states of programs at their ends, without classes that differ."""
    kinds: dict[str, Kind | None] = {}
    for program in programs:
        classes = program.get("classes") if isinstance(program, dict) else None
        for name, kind in classes.items() if isinstance(classes, dict) else ():
            if isinstance(kind, dict):
                kinds[name] = kind if kinds.setdefault(name, kind) == kind else None
    return {name: kind for name, kind in kinds.items() if kind is not None}


def kinds_of(events: Iterable[Event]) -> dict[str, Kind]:
    """Return {class: kind} of the classes of values in a recording; empty if it predates them."""
    return kinds_in(event.extra.get("program") for event in events if event.kind == "log.closed")


def bases_still_here(names: Iterable[str]) -> list[str]:
    """Return the names of those classes that this process has loaded under that name."""
    main = f"{module_name('__main__')}."
    return [
        name
        for name in names
        if find_class(name) or (name.startswith(main) and find_class(f"__main__.{name.removeprefix(main)}"))
    ]


def bases_in(kinds: Mapping[str, Kind]) -> list[str]:
    """Return the names of all bases."""
    return list(dict.fromkeys(base for kind in kinds.values() for base in kind.get("bases", ())))


def kinds_otherwise(
    recorded: Mapping[str, Kind], replayed: Mapping[str, Kind], here: Collection[str]
) -> list[KindOtherwise]:
    """Return how classes differ of which both have values, beginning with sure differences.

    Args:
        recorded: {class: kind}.
        replayed: the same of a run.
        here: the recorded bases that the run has under their names. Others of the same class name were moved.
    """
    found = []
    known = {*recorded, *bases_in(recorded)}
    for name in recorded.keys() & replayed.keys():
        for key, what in _KINDS.items():
            one, other = recorded[name].get(key, ()), replayed[name].get(key, ())
            is_sure = False
            if key == "bases":
                moved = _moved(one, other, here)
                lost = {*one} - {*other} - {*moved}
                gained = {*other} - {*one} - {*moved.values()}
                is_sure = not lost.isdisjoint(here) or not gained.isdisjoint(known)
                is_sure = is_sure or any(map(_is_of_python, gained))
                one, other = [_shown_base(moved.get(each, each)) for each in one], [*map(_shown_base, other)]
            elif key == "members":
                names = {*map(_alone, one)}  # others are new
                one, other = [*one], [each for each in other if _alone(each) in names]
            if one != other:
                shown = [each if type(each) is str else ", ".join(each) for each in (one, other)]
                found.append(KindOtherwise(f"{what} {name}", shown[0] or "none", shown[1] or "none", is_sure))
    return sorted(found, key=lambda each: (not each.is_sure, each.what))


def _moved(one: Iterable[str], other: Iterable[str], here: Collection[str]) -> dict[str, str]:
    """Return {recorded base: the base of the same name in another module} of those that are not here."""
    by_name = {each.rpartition(".")[2]: each for each in other}
    lost = [each for each in one if each not in here]
    return {each: by_name[last] for each in lost if (last := each.rpartition(".")[2]) in by_name}


def _is_of_python(base: str) -> bool:
    """Whether other code may know a base, as an exception of Python; not one of the abstract ones."""
    module = base.partition(".")[0]
    return module in sys.stdlib_module_names and module not in {"typing", "abc", "collections"}


def _shown_base(base: str) -> str:
    return base.removeprefix("builtins.")


def _alone(member: str) -> str:
    return member.partition("=")[0]


class LeftOtherwise(NamedTuple):
    """A name of the program whose final content differs from the recording."""

    name: str
    recorded: str
    runs: tuple[str | None, ...]
    """Its digest in each other run; None if it is not known there."""

    @property
    def is_steady(self) -> bool:
        """Whether all other runs agree."""
        return None not in self.runs and len(set(self.runs)) == 1


def left_otherwise(
    recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None], *, only_classes: bool = False
) -> list[LeftOtherwise]:
    """Return the names whose final content differs, beginning with those on which the runs agree.

    The attributes of classes of which values are instances are among them. A class of which a run has no
    values, and attributes that only the runs have, are not compared.

    A name that only the recording has counts as renamed if the runs have another name with the same content.
    A name that only the runs have, such as a new cache, cannot be compared; a new key of a dict that the
    recording has is a difference.

    Args:
        only_classes: return only those attributes.
    """
    known = [run for run in runs if run is not None]
    if recorded is None or len(known) < len(runs):
        return []
    classes = [{name.rpartition(".")[0] for name in run.carried} for run in known]
    differing = [
        LeftOtherwise(name, one, tuple(run.carried.get(name, _NO_VALUE) for run in known))
        for name, one in recorded.carried.items()
        if all(name.rpartition(".")[0] in each for each in classes)
    ]
    if not only_classes:
        differing += [
            LeftOtherwise(name, one, tuple(run.beside[name] for run in known))
            for name, one in recorded.beside.items()
            if all(name in run.beside for run in known)
        ]
    differing = [each for each in differing if set(each.runs) != {each.recorded}]
    names = () if only_classes else (*recorded.changed, *(name for run in known for name in run.changed))
    # Keys of a dict that has other keys than texts on one side, and so no names for them, say nothing alone.
    wholes = frozenset().union(*(side.wholes for side in (recorded, *known)))
    holders = ((name, name.partition("[")[0]) for name in names)
    for name in dict.fromkeys(holder if holder in wholes else name for name, holder in holders):
        one, others = recorded.at(name), tuple(run.at(name) for run in known)
        if one is None or all(other == one for other in others) or _is_of_another_python(one, others):
            continue
        if others == (None,) * len(others) and all(_is_elsewhere(one, run, recorded) for run in known):
            continue
        differing.append(LeftOtherwise(name, one, others))
    return sorted(differing, key=lambda each: not each.is_steady)


def draws_otherwise(
    recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]
) -> list[LeftOtherwise]:
    """Return the random generators that ended at another position, of those that began at the same one."""
    known = [run for run in runs if run is not None]
    if recorded is None or len(known) < len(runs):
        return []
    found = []
    for name, (first, last) in recorded.generators.items():
        others = [run.generators.get(name, ("", "")) for run in known]
        if {begun for begun, _ in others} == {first} and {end for _, end in others} != {last}:
            found.append(LeftOtherwise(name, last, tuple(end for _, end in others)))
    return found


def unknown_in(recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]) -> list[str]:
    """Return the names whose final content was read neither in the recording nor in all runs."""
    known = [side.unknown for side in (recorded, *runs) if side is not None and side.unknown is not None]
    return sorted(frozenset[str]().union(*known))


def moments_otherwise(
    recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]
) -> list[LeftOtherwise]:
    """Return the names whose final content differs in ids and moments; first those on which all runs agree.

    It is a difference only if the runs read no clock and make no ids.
    """
    known = [run for run in runs if run is not None]
    if recorded is None or len(known) < len(runs):
        return []
    differing = [
        LeftOtherwise(name, one, tuple(run.exact.get(name, run.at(name) or "") for run in known))
        for name, one in recorded.exact.items()
    ]
    differing = [each for each in differing if "" not in each.runs and set(each.runs) != {each.recorded}]
    return sorted(differing, key=lambda each: not each.is_steady)


def code_otherwise(recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]) -> list[str]:
    """Return the names whose content is equal except for code that came in while agents acted.

    A class is compared if all have values of it.
    """
    sides = [side for side in (recorded, *runs) if side is not None]
    codes = [side.code for side in sides if side.code is not None]
    if len(codes) <= len(runs):
        return []
    found = []
    for name in dict.fromkeys(name for code in codes for name in code):
        if name.startswith(OF_CLASS):
            is_comparable = all(name in code for code in codes)
        else:
            contents = {side.at(name) for side in sides}
            is_comparable = len(contents) == 1 and None not in contents
        one, *others = (code.get(name) for code in codes)
        if is_comparable and {*others} != {one} and not _is_of_another_python(one or UNCHANGED, others):
            found.append(name)
    return found


def redacted_in_all(recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]) -> int:
    """Return the number of names that ended equal in all runs except for secrets, which may differ."""
    known = [run for run in (recorded, *runs) if run is not None]
    if recorded is None or len(known) <= len(runs):
        return 0
    names = {name for run in known for name in run.redacted}
    return sum(len({run.at(name) for run in known}) == 1 for name in names)


def _is_elsewhere(digest: str, run: LeftInProgram, recorded: LeftInProgram) -> bool:
    return any(each == digest and recorded.at(name) is None for name, each in run.changed.items())


def _is_of_another_python(one: str, others: Iterable[str | None]) -> bool:
    """Whether digests of code cannot be compared, since bytecode differs between versions of Python."""
    versions = {version_in((each or "").partition(":")[0]) for each in (one, *others)}
    return len(versions - {""}) > 1


# Lines whose value varies between processes: orders of sets, `hash`, `id`, `os.getpid`, `loop.time`.
#
# A recording does not contain these values, and Python has no hook for them. If a difference varies between
# processes, the source of the code that ran is searched for possible causes.

_OF_PROCESS = {each: f"{each}()" for each in ("hash", "id", "get_ident", "get_native_id")} | {
    each: f"os.{each}()" for each in ("getpid", "getppid")
}
_BUILTIN = frozenset({"hash", "id"})
_SETS = frozenset({"set", "frozenset"})
_OF_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_WALKING = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "dict", "deque", "array"})
_MOST_LINES = 4


def varying_lines(
    functions: Iterable[FunctionType],
    set_fields: Collection[str],
    sources: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return such lines of the functions, as `os.getpid() in Nurse.treat (ward.py:40)`, at most four.

    Args:
        functions: those of the program that the differing action reaches.
        set_fields: the names of attributes that hold sets.
        sources: {qualified name: recorded source}; what is new in these functions is left out, since the
            recorded values did not vary because of it.
    """
    descriptions: dict[str, None] = {}
    for function in functions:
        try:
            lines, begin = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
            recorded = ast.parse(textwrap.dedent(sources.get(function.__qualname__, "")))
        except (OSError, TypeError, SyntaxError, ValueError):
            continue  # no source, or source that cannot be parsed alone
        file = os.path.basename(function.__code__.co_filename)  # noqa: PTH119 - a name for people
        known = {what for _, what in _in_tree(recorded, set_fields)}
        for line, what in sorted(_in_tree(tree, set_fields)):
            if function.__qualname__ in sources and what not in known:
                continue
            # Lines of generated code tell people nothing.
            place = "" if file.startswith("<") else f" ({file}:{begin + line - 1})"
            descriptions[f"{what} in {function.__qualname__}{place}"] = None
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
