"""What methods of agents reach by name in the program: globals, closures, defaults, attributes of functions.

The names of the methods themselves are part of it, since an action may add some.

No field of an agent shows it. It is read when an agent of a class acts for the first time, and at the end of
recording; what changed in between is recorded in `log.closed` as digests, so that two runs can be compared.
So are the plain attributes of the program's classes of which agents returned, raised or held instances: each
instance has them, and no recorded value shows them. So are the bases of these classes, by which callers
catch an exception or tell values apart, and what else of a class's kind no value shows.

Digests leave code out, so that edited code alone is no other content. Where functions or classes came in
while agents acted, a second digest has their code: what they do later, no action may show.

The search begins at the class of an agent, at functions and objects in its fields, and at those that its
actions are given. It follows names through the functions and classes of the program's own modules, also
through those that containers and objects hold, such as a table of handlers. Values of installed libraries are
not looked at, and no cache of `functools`: what it holds follows from its function. Modules, classes and
functions of libraries count by name.
"""

from __future__ import annotations

import ast
import math
import os
import sys
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import _FIELD  # type: ignore[attr-defined]
from enum import EnumType
from logging import Logger
from operator import is_
from threading import get_ident
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TypeGuard

from Agent.event.classes import (
    class_name,
    find_class,
    find_in_classes,
    mro_of,
    namespace_of,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.script_names import class_text, module_name
from Agent.event.values.class_contents import is_at_its_name
from Agent.event.values.codecs import classes_met, forget_met, plan_of
from Agent.event.values.content_digest import whole_digest
from Agent.event.values.digest import ALGORITHM, digest_bytes, leaves_out_secrets, version_in
from Agent.event.values.opaque import ReachedObjects
from Agent.event.values.plain import SCALARS, any_may_be_made
from Agent.event.values.reading import Hides
from Agent.record.state.agents import agent_id_of
from Agent.record.state.generators import generator_mark
from Agent.record.state.introspection import Sort, plain_attributes, sort_of
from Agent.record.tracing.function_facts import program_file
from Agent.record.tracing.process_settings import (
    ENVIRONMENT,
    SETTINGS_OF_THREAD,
    ModuleAttributes,
    process_settings,
)
from Agent.record.tracing.program_search import (
    ABSENT,
    CONTAINERS,
    MOST_FOUND,
    MOST_INSIDE,
    MOST_PARTS,
    PASSED,
    AgentPlace,
    Code,
    Search,
    functions_in,
    is_own_class,
    leads_nowhere,
    reached_inside,
)

MOST_NODES = 10_000
"""How many values all digests of one look may cover; what comes after them is unknown."""
MOST_MEMBERS = 10_000
"""Larger containers are unknown."""
_BASES = vars(type)["__bases__"]
_NO_KINDS = frozenset({"builtins.object", "typing.Generic", "typing.Protocol", "abc.ABC"})
"""Bases that make no difference to callers."""
_FLAGS = ("eq", "order", "frozen", "unsafe_hash")
_NO_METHODS = frozenset({"__annotate__", "__annotate_func__"})
_LARGE = 1 << 53
_ALWAYS_PRESENT = ("changed", "numbers", "unchanged", "unknown", "code")
OF_AGENT = "fields of "
OF_CLASS = "class "
"""What stands before the names of classes among the digests with code."""
_MOST_GIVEN = 16
"""How many members of further agents' fields, and of the arguments of a call, are visited."""
_MOST_CODE = 256
"""How many functions in fields and arguments are followed."""
_BUILTIN = frozenset(map(id, CONTAINERS))


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_MOST_SCRIPT_BYTES = 1 << 20


def _written_ns(file: str | None) -> int | None:
    """Return when a file was written last; None if that is unknown."""
    try:
        return os.stat(file or "").st_mtime_ns  # noqa: PTH116
    except (OSError, ValueError):
        return None


class ProgramState:
    """Looks twice at what the agents of one recording reach by name.

    Args:
        hides: recognises secrets in texts; None if nothing is redacted.
    """

    def __init__(self, hides: Hides | None) -> None:
        self._hides = hides
        self._agents: set[type] = set()
        self._roots: dict[type, None] = {}
        self._named: dict[int, Code] = {}
        """By the `id` of its code, what functions in fields and arguments look up, and modules there."""
        self._passed = {*PASSED, id(Logger)}
        """The `id`s of classes of which no further object has to be searched."""
        self._looked_at: weakref.WeakSet[FunctionType] = weakref.WeakSet()
        self._acted: set[str | None] = set()
        self._others: dict[AgentPlace, weakref.ref[Any]] = {}
        """The agents in fields and arguments, some of which may never act."""
        self._first: dict[str, _Look] = {}
        self._settings: dict[str, Any] = {}
        self._attributes: ModuleAttributes | None = None
        """None before the first agent acts."""
        self._thread = get_ident()
        self._is_cut = False
        # `__main__` loses its `__file__` when the script ends.
        self._script = program_file(sys.modules.get("__main__"))
        self._script_written_ns = _written_ns(self._script)
        forget_met()

    def begin(self, cls: type, fields: Mapping[str, Any], agent_id: str | None) -> None:
        """Look at what an agent reaches by its class and by its fields, before its first action."""
        self._acted.add(agent_id)
        if cls in self._roots:
            self.reach(fields.values())
            return
        if self._attributes is None:
            self._settings = process_settings(of_thread=True)
            self._attributes = ModuleAttributes()
        self._roots[cls] = None
        self._agents.add(cls)
        # Objects in its fields are of classes that its methods call without naming them.
        self._look_first([cls, *self._new_in(fields.values(), MOST_INSIDE)])

    def reach(self, values: Iterable[object]) -> None:
        """Look at what new functions and objects among the values of fields or arguments lead to."""
        passed = self._passed
        values = [
            value
            for value in values
            if (kind := id(type(value))) not in passed
            and (kind not in _BUILTIN or value)
            and not (type(type(value)) is type and leads_nowhere(type(value)))
        ]
        if values and (new := self._new_in(values, _MOST_GIVEN)):
            self._look_first(new)

    def _new_in(self, values: Iterable[object], most: int) -> list[type | Code]:
        """Add to the roots the classes and functions in values; return those that are new."""
        new: list[type | Code] = []
        for each in reached_inside(values, most, agents=self._others):
            if isinstance(each, type):
                if each not in self._roots:
                    self._roots[each] = None
                    new.append(each)
                    self._passed.add(id(each))
                continue
            # Without the function, whose closure may hold agents.
            code = (
                Code(each.__code__, each.__globals__)
                if type(each) is FunctionType
                else Code(None, vars(each))
            )
            place = id(code.namespace if code.code is None else code.code)
            if place not in self._named and len(self._named) < _MOST_CODE:
                self._named[place] = code
                new.append(code)
        return new

    def _look_first(self, roots: list[type | Code]) -> None:
        met = frozenset(classes_met())
        for name, look in self._look(roots, self._looked_at):
            self._first.setdefault(name, look._replace(value=None, held=()))
        forget_met(kept=met)  # what this look met is not part of any value

    def payload(self, asked: Iterable[str] = ()) -> dict[str, Any]:
        """Return what changed since the first look, as JSON values.

        `changed` is {name: digest}, `beside` the same of the other members of a dict or object of which one
        changed, `exact` the same with ids and moments, which the other digests leave out, of what changed.
        `numbers` has those of `changed` and `beside` that are numbers, or names of what is in libraries.
        `unchanged` lists the other names, `redacted` those of them in which a secret may have changed, and
        `unknown` those without a digest. `generators` has the first and the last digest of random generators.
        `cut` says whether a limit ended the search.
        `code` is {name: digest} with the code of functions that came in, and of the classes of values that no
        module has; `carried` is {name: digest} of the attributes of classes that values have, `classes` is
        {class: facts} of their kinds.
        {} if nothing is known.

        Args:
            asked: globals to look at, too, even if nothing reaches them.
        """
        met = classes_met()  # before the look, which meets others
        looks = list(self._look([*self._roots, *self._named.values()], asked=asked))
        of_process = self._looks_at_process(asked, {name for name, _ in looks})
        payload = self._beside_first([*looks, *of_process.items()])
        if self._attributes is not None:  # one name for all variables and one for each module
            unchanged = {name for name in self._settings if not name.startswith(f"{ENVIRONMENT}[")}
            if get_ident() != self._thread:
                unchanged -= SETTINGS_OF_THREAD
            payload["unchanged"] += sorted(unchanged - of_process.keys())
            payload["unchanged"] += [ENVIRONMENT, *(f"{name}.*" for name in self._attributes.modules)]
        changed, numbers, code = payload["changed"], payload["numbers"], payload["code"]
        holders = {look.holder for name, look in looks if name in changed and look.holder}
        payload["beside"] = beside = {
            name: look.digest
            for name, look in looks
            if look.holder in holders and name not in changed and look.digest and not look.is_generator
        }
        numbers |= {name: look.value for name, look in looks if name in beside and _is_shown(look.value)}
        inside = self._met_in(look.value for name, look in looks if name in changed)
        code |= self._of_classes([*met, *inside])
        payload["carried"] = carried = {}
        for name, value in self._carried(met):
            digest = self._digest({name.rpartition(".")[2]: value}, ReachedObjects())
            if digest is not None:
                carried[name] = digest
                if _is_shown(value) and not leaves_out_secrets(digest):
                    numbers[name] = value
        in_others, of_gone = self._left_in_others()
        changed |= in_others
        payload["unknown"] += of_gone
        payload["classes"] = self._kinds(met)
        if not any(payload[key] for key in ("changed", "unchanged", "unknown", "carried", "classes")):
            return {}
        return {key: value for key, value in payload.items() if value or key in _ALWAYS_PRESENT}

    def _beside_first(self, looks: Sequence[tuple[str, _Look]]) -> dict[str, Any]:
        """Return what a second look shows beside the first one; see `payload`."""
        changed: dict[str, str] = {}
        code: dict[str, str] = {}
        numbers: dict[str, int | float | str] = {}
        exact: dict[str, str] = {}
        generators: dict[str, list[str]] = {}
        unchanged: list[str] = []
        redacted: list[str] = []
        unknown: list[str] = []
        lost = dict(self._first)
        for name, look in looks:
            first, digest = lost.pop(name, None), look.digest
            if look.is_definition and (first is None or first.has_same_code(look)):
                continue
            if look.is_generator:
                if first is not None and first.is_generator and first.digest and digest:
                    generators[name] = [first.digest, digest]
                continue
            if digest is None or (first is not None and first.digest is None):
                unknown.append(name)
                continue
            if first is None or first.digest != digest or not first.has_same_code(look):
                code |= self._with_code(name, look, first)
            is_same = first is not None and first.digest == digest
            if look.exact is not None and not (is_same and first is not None and first.exact == look.exact):
                exact[name] = look.exact
            if is_same:
                unchanged.append(name)
                if leaves_out_secrets(digest):
                    redacted.append(name)
                continue
            changed[name] = digest
            if _is_shown(look.value):
                numbers[name] = look.value
            elif look.is_reference:
                numbers[name] = str(look.value)
        by_member = {look.holder for _, look in looks}
        for name, first in () if self._is_cut else lost.items():
            if not first.is_definition and name not in by_member:
                changed[name], numbers[name] = f"{ALGORITHM}:{digest_bytes(ABSENT.encode())}", ABSENT
        return {
            "changed": changed,
            "numbers": numbers,
            "unchanged": unchanged,
            "exact": exact,
            "generators": generators,
            "unknown": unknown,
            "code": code,
            "redacted": redacted,
            "cut": self._is_cut,
        }

    def _left_in_others(self) -> tuple[dict[str, str], list[str]]:
        """Return {agent: digest} of what agents hold that never acted, of which no event shows it.

        The second part has those that are gone, of classes with traced methods. Agents whose ids may be new
        in each run are left out.
        """
        left: dict[str, str] = {}
        gone: list[str] = []
        for (agent_id, number, is_traced), ref in self._others.items():
            if agent_id in self._acted or any_may_be_made((agent_id,)):
                continue
            agent, name = ref(), f"{OF_AGENT}{agent_id}" + (f" ({number + 1})" if number else "")
            if agent is None and is_traced:
                gone.append(name)
            elif agent is not None and str(agent_id_of(agent)) == agent_id:
                digest = self._digest(plain_attributes(agent), ReachedObjects())
                if digest is not None:
                    left[name] = digest
        return left, gone

    def script_payload(self) -> dict[str, str]:
        """Return `{"script": digest}` of the main script without comments and docstrings; {} if unknown."""
        written_ns = _written_ns(self._script)
        if self._script is None or written_ns is None or written_ns != self._script_written_ns:
            return {}  # it was edited while it ran
        try:
            with open(self._script, "rb") as opened:
                tree = ast.parse(opened.read(_MOST_SCRIPT_BYTES))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # such as one that was cut
            return {}
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
        return {"script": f"{ALGORITHM}:{digest_bytes(ast.dump(tree).encode('utf-8', 'surrogatepass'))}"}

    def _with_code(self, name: str, look: _Look, first: _Look | None) -> dict[str, str]:
        """Return the digest with code under a name, if code came in.

        A module's function under another name counts by its own name alone.
        """
        digest = look.with_code
        known = set() if first is None else set(map(id, first.code))
        code = [
            each
            for one in look.held
            if not (type(one) is FunctionType and is_at_its_name(one) and _own_name(one) != name)
            for each in _code_of(one)
            if id(each) not in known
        ]
        if code:
            digest = self._digest(code, ReachedObjects(), with_code=True)
        return {} if digest is None else {name: digest}

    def _met_in(self, values: Iterable[object]) -> list[type]:
        """Return the classes of objects inside values."""
        met = classes_met()
        forget_met()
        for value in values:
            self._digest(value, ReachedObjects())
        found = classes_met()
        for cls in met:
            plan_of(cls)  # which meets it again
        return found

    def _of_classes(self, classes: Iterable[type]) -> dict[str, str]:
        """Return {class: digest with the code of its methods} of classes that no module has, as local ones.

        Those of one name, made by one statement that ran repeatedly, have one digest.
        """
        by_name: dict[str, dict[tuple[CodeType, ...], None]] = {}
        for cls in classes:
            if cls not in self._agents and len(by_name) < MOST_FOUND:
                code = _code_of(cls)
                if code:
                    by_name.setdefault(class_text(cls), {})[code] = None
        payload: dict[str, str] = {}
        for name, codes in by_name.items():
            found = {self._digest(code, ReachedObjects(), with_code=True) for code in codes}
            digests = sorted(digest for digest in found if digest is not None)
            if len(digests) > 1:
                algorithm = digests[0].partition(":")[0]
                digests = [f"{algorithm}:{digest_bytes(' '.join(digests).encode())}"]
            payload |= {f"{OF_CLASS}{name}": digest for digest in digests}
        return payload

    def _carried(self, met: Iterable[type]) -> Iterator[tuple[str, Any]]:
        """Yield the plain attributes of classes of the program that are no agents; of enums the members."""
        classes = {class_text(cls): cls for cls in met if cls not in self._agents}
        for name, cls in sorted(classes.items())[:MOST_FOUND]:
            if issubclass(type(cls), EnumType):
                for member, value in _members_of_enum(cls).items():
                    if _is_plain(value := getattr(value, "_value_", ...)):
                        yield f"{name}.{member}", value
                continue
            fields = find_in_classes(cls, "__dataclass_fields__")
            members: dict[str, Any] = {}
            for base in reversed(mro_of(cls)):
                if is_own_class(base):
                    members |= namespace_of(base)
            for attribute, value in sorted(members.items()):
                is_default = attribute == "_field_defaults" or (
                    type(fields) is dict and _is_field(fields.get(attribute))
                )
                if not attribute.startswith("__") and not is_default and _is_plain(value):
                    yield f"{name}.{attribute}", value

    def _kinds(self, met: Iterable[type]) -> dict[str, dict[str, Any]]:
        """Return {class: `_kind_of` it} of classes of the program that are no agents.

        Local classes of one name that differ in it are left out.
        """
        kinds: dict[str, dict[str, Any] | None] = {}
        for cls in met:
            if cls not in self._agents and is_own_class(cls) and len(kinds) < MOST_FOUND:
                name, kind = class_text(cls), _kind_of(cls)
                kinds[name] = kind if kinds.setdefault(name, kind) == kind else None
        return {name: kind for name, kind in sorted(kinds.items()) if kind is not None}

    def _look(
        self,
        roots: Iterable[type | Code],
        known: weakref.WeakSet[FunctionType] | None = None,
        asked: Iterable[str] = (),
    ) -> Iterator[tuple[str, _Look]]:
        nodes = 0
        search = Search(roots, known, self._others)
        for name, value in search.parts(asked):
            digest = with_code = exact = None
            is_generator = sort_of(type(value)) is Sort.GENERATOR
            is_small = nodes <= MOST_NODES and _size(value) <= MOST_MEMBERS
            if is_small or type(value) in SCALARS:
                reached = ReachedObjects()
                digest = _position_digest(value) if is_generator else self._digest(value, reached)
                nodes += reached.nodes
                if digest is not None and version_in(digest.partition(":")[0]):
                    with_code = self._digest(value, ReachedObjects(), with_code=True)
                if reached.made:
                    exact = self._digest(value, ReachedObjects(leaves_out_made=False))
            holder = search.holders.get(name, "")
            yield name, _Look(digest, value, with_code, exact=exact, holder=holder, is_generator=is_generator)
        self._is_cut = self._is_cut or search.is_cut
        for name, reference in search.references.items():
            yield name, _Look(self._digest(reference, ReachedObjects()), reference, is_reference=True)
        for name, held in search.code.items():
            names = tuple(map(_own_name, held))
            code = tuple(each for one in held for each in _code_of(one))
            digest = f"{ALGORITHM}:{digest_bytes(repr(names).encode('utf-8', 'surrogatepass'))}"
            yield name, _Look(digest, code=code, held=held, is_definition=names == (name,))

    def _looks_at_process(self, asked: Iterable[str], known: Collection[str]) -> dict[str, _Look]:
        """Return looks at what changed of the settings of the process and the attributes of modules."""
        if self._attributes is None:
            return {}
        looks: dict[str, _Look] = {}
        first, last = self._settings, process_settings(of_thread=get_ident() == self._thread)
        # A library that was imported since has no first settings.
        for name in (name for name in first.keys() | last.keys() if name in first or ENVIRONMENT in name):
            is_of_another_thread = name not in last and name in SETTINGS_OF_THREAD
            if is_of_another_thread or (name in first and name in last and first[name] == last[name]):
                continue
            if name in first:
                self._first[name] = self._look_at(name, first[name])
            if name in last:
                looks[name] = self._look_at(name, last[name])
        for name, one, other, is_named in self._attributes.replaced(asked):
            if name not in known:
                self._first[name] = self._look_at(name, one)
                looks[name] = self._look_at(name, other)._replace(is_reference=is_named)
        return looks

    def _look_at(self, name: str, value: object) -> _Look:
        """Return the look at a setting or an attribute of a module, whose name may be that of a secret."""
        content = {name.removeprefix(f"{ENVIRONMENT}['").removesuffix("']"): value}
        reached = ReachedObjects()
        digest, exact = self._digest(content, reached), None
        if reached.made:
            exact = self._digest(content, ReachedObjects(leaves_out_made=False))
        return _Look(digest, value, exact=exact)

    def _digest(self, value: object, reached: ReachedObjects, *, with_code: bool = False) -> str | None:
        return whole_digest(value, agent_id_of, self._hides, reached, with_code=with_code)


class _Look(NamedTuple):
    """What is under a name at one moment."""

    digest: str | None
    """Without code; None if it is unknown."""
    value: object = None
    with_code: str | None = None
    """The digest of data with code in it; None if it has none."""
    code: tuple[CodeType, ...] = ()
    """That of functions and classes under the name."""
    held: tuple[FunctionType | type, ...] = ()
    """These functions and classes."""
    exact: str | None = None
    """The digest with the ids and moments that may have been made anew; None if it has none."""
    holder: str = ""
    """The name of the dict or the object of which it is a member."""
    is_definition: bool = False
    """Whether it is a function or a class under its own name, as most are."""
    is_generator: bool = False
    """Whether it is a random generator."""
    is_reference: bool = False
    """Whether the value is the name of something in a library."""

    def has_same_code(self, other: _Look) -> bool:
        """Whether the same code is under the name at another moment of the process."""
        is_same = len(self.code) == len(other.code) and all(map(is_, self.code, other.code))
        return is_same and self.with_code == other.with_code


def _position_digest(generator: Any) -> str | None:
    """Return the digest of a generator's position, also if its draws are recorded; None if it has none."""
    try:
        mark = generator_mark(generator)
    except Exception as error:  # noqa: BLE001 - one of the operating system, or a class of the program's own
        pass_on(error)
        return None
    return f"{ALGORITHM}:{digest_bytes(mark.encode())}"


def _code_of(value: FunctionType | type) -> tuple[CodeType, ...]:
    """Return the code of a function, or of the methods of a class that no module has under its name."""
    if type(value) is FunctionType:
        return (value.__code__,)
    members = [
        member
        for base in mro_of(value)
        if is_own_class(base) and find_class(class_name(base)) is not base
        for name, member in sorted(namespace_of(base).items())
        if name not in _NO_METHODS
    ]
    return tuple(each.__code__ for member in members for each in functions_in(member, type(member)))


def _kind_of(cls: type) -> dict[str, Any]:
    """Return what callers see of a class beside its attributes, as JSON values.

    `bases` in the order of method resolution, without bases of libraries' bases, which change with these; an
    own `metaclass`; flags of a `dataclass`; `members` of an enum in order, aliases as `NAME=MEMBER`.
    """
    line = mro_of(cls)
    near = {id(base) for each in line if is_own_class(each) for base in _BASES.__get__(each)}
    names = [
        class_text(each)
        for each in line[1:]
        if is_own_class(each) or id(each) in near or class_name(each).startswith("builtins.")
    ]
    flags = find_in_classes(cls, "__dataclass_params__")
    found: dict[str, Any] = {
        "bases": [name for name in names if name not in _NO_KINDS],
        "metaclass": class_text(type(cls)) if is_own_class(type(cls)) else "",
        "dataclass": " ".join(name for name in _FLAGS if getattr(flags, name, False) is True),
        "members": [
            name if member._name_ == name else f"{name}={member._name_}"
            for name, member in _members_of_enum(cls).items()
        ],
    }
    return {name: value for name, value in found.items() if value}


def _members_of_enum(cls: type) -> dict[str, Any]:
    """Return the members of an enum by name, with aliases; none of other classes, and of those with many."""
    members = namespace_of(cls).get("_member_map_") if issubclass(type(cls), EnumType) else None
    return dict(members) if type(members) is dict and len(members) <= MOST_PARTS else {}


def _own_name(value: FunctionType | type) -> str:
    if type(value) is FunctionType:
        return f"{module_name(value.__globals__.get('__name__'))}.{value.__qualname__}"
    return class_text(value)


def _is_shown(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number that JSON holds."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < _LARGE)


def _is_field(field: object) -> bool:
    """Whether an attribute of a dataclass is the default of a field, which each instance has itself."""
    return field is not None and getattr(field, "_field_type", None) is _FIELD


def _is_plain(value: Any) -> bool:
    """Whether a value is a scalar, or a small container of plain values."""
    waiting: list[Any] = [value]
    for each in waiting:  # it grows
        kind = type(each)
        if kind is dict:
            waiting += [*each, *each.values()]
        elif kind in CONTAINERS:
            waiting += each
        elif kind not in SCALARS and kind is not bytes:
            return False
        if len(waiting) > MOST_PARTS:
            return False
    return True


def _size(value: object) -> int:
    """Return the number of members of a container of a builtin class; 0 for others."""
    base = next((each for each in CONTAINERS if issubclass(type(value), each)), None)
    return 0 if base is None else base.__len__(value)  # type: ignore[arg-type]
