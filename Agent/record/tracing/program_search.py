"""The search for what methods of agents reach by name in the program: globals, classes, functions and data.

`program_state.py` looks at what it finds, before agents act and at the end of recording.
"""

from __future__ import annotations

import abc
import functools
import random
import sys
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from logging import Filterer, Logger
from opcode import EXTENDED_ARG, opmap
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, NamedTuple

from Agent.event.classes import by_class, class_name, is_partial, mro_of, namespace_of, own_attributes
from Agent.event.script_names import class_text, module_name
from Agent.event.values.plain import SCALARS
from Agent.record.state.agents import agent_id_of
from Agent.record.state.followed_values import has_traced_methods
from Agent.record.state.introspection import Sort, plain_attributes, sort_of
from Agent.record.tracing.function_facts import is_of_a_library, is_of_program

_MOST_FUNCTIONS = 2_000
_MOST_MODULES = 4
"""How many modules inside each other are followed, as in `package.part.module`."""
MOST_INSIDE = 2_000
"""How many members of containers and objects one search visits to find functions and classes."""
MOST_FOUND = 500
_MOST_OF_ONE_ID = 16
MOST_PARTS = 64
"""A dict or an object with at most this many members counts member by member."""
_UNREAD = (ModuleType, type, Logger)
FUNCTIONS = (FunctionType, MethodType, staticmethod, classmethod)
_KEPT = (MethodType, functools.partial)
_ACCESSORS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partialmethod: ("func",),
    functools.singledispatchmethod: ("dispatcher",),
}
_WRAPPED = "__wrapped__"
_WITH_VALUES = frozenset({"builtins", "collections", "array", "io", "_io", "numpy"})
"""Modules with classes whose objects hold values outside of attributes."""
_ORDERED = frozenset({dict, OrderedDict, defaultdict, Counter})
CONTAINERS = (list, dict, set, frozenset, tuple, deque)
_KEEPERS = frozenset({"_weakrefset", "weakref", "types", "collections", "queue", "asyncio", "sched"})
"""Modules of the standard library whose objects keep values of the program in attributes."""
# By `id`, because a metaclass may have its own `__hash__`.
_CALLED = frozenset(map(id, (*FUNCTIONS, functools.partial)))
PASSED = frozenset(map(id, (*SCALARS, bytes, random.Random)))
"""The `id`s of classes whose objects lead to no function of the program."""


_STORE, _ATTRIBUTE, _GLOBAL, _LOCAL, _CACHE = (
    opmap[name] for name in ("STORE_ATTR", "LOAD_ATTR", "LOAD_GLOBAL", "LOAD_FAST", "CACHE")
)
_FLAG_OF_ATTRIBUTE = sys.version_info >= (3, 12)
"""Whether the lowest bit of an index of `LOAD_ATTR` is a flag, as that of `LOAD_GLOBAL` is."""
ABSENT = "no such attribute"
"""Stands for the value of an attribute that a library or a function does not have."""
_ANY_NAME = frozenset({"globals", "exec", "eval", "vars", "f_globals"})
_ANY_ATTRIBUTE = frozenset({"getattr", "setattr", "vars", "__dict__"})
_ANY_MODULE = frozenset({"modules", "import_module", "__import__"})
_GENERATORS = {"random": ("random", "_inst"), "numpy": ("numpy.random.mtrand", "_rand")}
"""The generators behind the functions of these modules."""


class AgentPlace(NamedTuple):
    """An agent that was found, with its number among those of the same id."""

    agent_id: str
    number: int
    is_traced: bool
    """Whether its class has traced methods."""


class Code(NamedTuple):
    """What a function looks up, without its closure, or a module if `code` is None."""

    code: CodeType | None
    namespace: dict[str, Any]


def functions_reached(root: type | FunctionType) -> list[FunctionType]:
    """Return the program's functions that a function, or the methods of a class, reach by name."""
    search = Search([root])
    deque(search.parts(), maxlen=0)
    return search.functions


class Search:
    """One walk over the functions and classes that are reachable by name.

    Args:
        known: functions that an earlier walk followed, and to which this one adds; they are left out.
        agents: receives the agents that it meets, by their ids.
    """

    def __init__(
        self,
        roots: Iterable[type | FunctionType | Code],
        known: weakref.WeakSet[FunctionType] | None = None,
        agents: dict[AgentPlace, weakref.ref[Any]] | None = None,
    ) -> None:
        self._agents = agents
        self._known = weakref.WeakSet[FunctionType]() if known is None else known
        self._waiting: deque[tuple[str, Any]] = deque(
            (class_text(root) if isinstance(root, type) else "", root) for root in roots
        )
        self._seen: set[int] = set()
        self._seen_inside: set[int] = set()
        self.holders: dict[str, str] = {}
        """By the name of a member, that of its dict or object."""
        self.is_cut = False
        """Whether a limit ended the search."""
        self.references: dict[str, str] = {}
        """{name: what it is bound to} of modules, classes and functions of libraries."""
        self._found: dict[str, Any] = {}
        self._methods: dict[str, tuple[str, ...]] = {}
        """{class: each method, with the name of its function}; functions may be added at run time."""
        self.functions: list[FunctionType] = []
        self.code: dict[str, tuple[FunctionType | type, ...]] = {}
        """{name: the functions that it leads to, or the class}."""

    def parts(self, asked: Iterable[str] = ()) -> Iterator[tuple[str, Any]]:
        """Yield names and values; dicts and objects member by member.

        Args:
            asked: names of globals, or of members of theirs, that are yielded even if nothing reaches them.
        """
        while self._waiting and len(self._found) < MOST_FOUND and len(self.functions) < _MOST_FUNCTIONS:
            name, value = self._waiting.popleft()
            if id(value) in self._seen:
                continue
            self._seen.add(id(value))
            if type(value) is FunctionType:
                self._function(value)
            elif type(value) is Code:
                self._names(*value)
            elif type(value) is ModuleType:
                self._names(None, vars(value))
            else:
                self._class(name, value)
        self.is_cut = bool(self._waiting) or len(self._seen_inside) >= MOST_INSIDE
        for name, value in _globals_named(asked):
            self._found.setdefault(name, value)
        for name, value in self._found.items():
            for part, member in _parts(name, value):
                if part != name:
                    self.holders[part] = name
                yield part, member
            yield from _order(name, value)
        for name, methods in self._methods.items():
            yield f"methods of {name}", methods

    def _class(self, name: str, cls: type) -> None:
        if is_own_class(type(cls)):  # whose `__call__` runs where the class is called
            self._waiting.append((class_text(type(cls)), type(cls)))
        for base in mro_of(cls):
            if not is_own_class(base):
                continue
            place = name if base is cls else class_text(base)
            members = dict(namespace_of(base))
            self._methods[place] = tuple(
                sorted(
                    f"{attribute} is {getattr(value, '__qualname__', '')}"
                    for attribute, value in members.items()
                    if type(value) in FUNCTIONS
                )
            )
            for attribute, value in members.items():
                if type(value) in FUNCTIONS or not attribute.startswith("__"):
                    self._value(f"{place}.{attribute}", value)
            if issubclass(type(base), abc.ABCMeta):
                self._value(f"{place}.<registered>", _subclasses_by_name(base))

    def _names(self, code: CodeType | None, namespace: dict[str, Any]) -> str:
        """Follow the names that code looks up, None for all of the module.

        Returns:
            The name of the module; "" if it is not the program's.
        """
        place = module_name(namespace.get("__name__"))
        if type(place) is not str or not is_of_program(namespace.get("__name__")):
            return ""
        names = set[str]() if code is None else _names_in(code)
        if code is None or not names.isdisjoint(_ANY_NAME):  # which look up names that only a run computes
            names |= {name for name in list(namespace) if not name.startswith("__")}
        if not names.isdisjoint(_ANY_MODULE):
            modules = [each for each in list(sys.modules.values()) if type(each) is ModuleType]
            self._waiting += [("", each) for each in modules if is_of_program(each.__name__)]
        for name in names:
            if name in namespace:
                self._global(place, name, namespace[name], names)
            elif type(module := sys.modules.get(name)) is ModuleType:  # a function imports it
                self._global(place, name, module, names)
        for owner, attribute in () if code is None else _assigned_in(code, namespace):
            self._value(f"{reference_to(owner)}.{attribute}", _attribute_of(owner, attribute))
        return place

    def _function(self, function: FunctionType) -> None:
        if function in self._known:
            return
        self._known.add(function)
        place = self._names(function.__code__, function.__globals__)
        if not place:
            return
        self.functions.append(function)
        own = f"{place}.{function.__qualname__}"
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                self._value(f"{own}.<closure>.{name}", cell.cell_contents)
            except ValueError:  # not assigned yet
                continue
        for name, value in dict(function.__dict__).items():
            if not name.startswith("__"):
                self._value(f"{own}.{name}", value)
        code = function.__code__
        given = function.__defaults__ or ()
        positional = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
        held = [each for each in zip(positional, given, strict=False) if type(each[1]) not in SCALARS]
        # A number in this dict can be replaced, one in the tuple only with the tuple, which code shows.
        for name, value in [*held, *(function.__kwdefaults__ or {}).items()]:
            self._value(f"{own}.<default>.{name}", value)

    def _global(self, place: str, name: str, value: object, names: set[str], depth: int = 0) -> None:
        if type(value) is not ModuleType:
            self._value(f"{place}.{name}", value)
            return
        inner = vars(value)
        # Made by the program, which may use any name in it. Extension modules may be loaded by another name.
        is_made = inner.get("__spec__") is None and sys.modules.get(value.__name__) is not value
        if is_made:
            own, reached = f"{place}.{name}", [each for each in list(inner) if not each.startswith("__")]
        elif is_of_program(value.__name__):
            if not names.isdisjoint(_ANY_ATTRIBUTE):
                names = names | {each for each in list(inner) if not each.startswith("__")}
            own, reached = str(module_name(value.__name__)), [each for each in names if each in inner]
        else:
            self._refer(f"{place}.{name}", value)
            holder, kept = _GENERATORS.get(value.__name__, ("", ""))
            if holder in sys.modules:
                self._found.setdefault(f"{holder}.{kept}", vars(sys.modules[holder])[kept])
            return
        for each in reached:
            if type(inner[each]) is not ModuleType or depth < _MOST_MODULES:
                self._global(own, each, inner[each], names, depth + 1)

    def _value(self, name: str, value: Any) -> None:
        """Follow a value to functions and classes, and keep it if it is data of the program."""
        kind = type(value)
        if issubclass(kind, type):
            if is_own_class(value):
                self._waiting.append((class_text(value), value))
            self._note(name, value, (value,))
            return
        if kind in SCALARS:
            self._found.setdefault(name, value)
            return
        if kind not in FUNCTIONS and not issubclass(kind, (ModuleType, type)):
            self._follow(value)
        if kind in CONTAINERS:
            self._found.setdefault(name, value)
            return
        functions = tuple(functions_in(value, kind))
        self._waiting += [("", each) for each in functions]
        for place, registered in _registered_in(functions):
            self._waiting += [("", each) for each in registered]
            self._note(f"{name}.<registered>[{place!r}]", None, registered)
        if kind is ContextVar:
            variable, value = value, None
            with suppress(LookupError):  # neither set nor with a default
                value = variable.get()
        elif kind in {BuiltinFunctionType, MethodWrapperType} and (
            (type(value.__self__) in CONTAINERS and hasattr(type(value.__self__), value.__name__))
            or sort_of(type(value.__self__)) is Sort.GENERATOR
        ):
            value = value.__self__  # of such as `emit = LOG.append` and `put = TABLE.__setitem__`
        elif kind not in _KEPT and (
            kind in FUNCTIONS or kind in _ACCESSORS or _is_left_out(value, kind, wraps=bool(functions))
        ):
            self._note(name, value, functions)
            return
        if is_own_class(kind):
            self._waiting.append((class_text(kind), kind))
        self._found.setdefault(name, value)

    def _follow(self, value: object) -> None:
        """Follow the functions and classes that a container or an object holds."""
        for each in reached_inside((value,), MOST_INSIDE, self._seen_inside, self._agents):
            self._waiting.append((class_text(each) if isinstance(each, type) else "", each))

    def _note(self, name: str, value: object, held: tuple[FunctionType | type, ...]) -> None:
        own = tuple(
            one
            for one in held
            if (
                is_of_program(one.__globals__.get("__name__"))
                if type(one) is FunctionType  # a metaclass may answer `isinstance`
                else is_own_class(one)
            )
        )
        if not own:
            self._refer(name, value)
        elif len(self.code) < _MOST_FUNCTIONS:
            self.code.setdefault(name, own)

    def _refer(self, name: str, value: object) -> None:
        text = reference_to(value)
        if text and not text.startswith("Agent.") and len(self.references) < MOST_FOUND:
            self.references.setdefault(name, text)


def reference_to(value: Any) -> str:
    """Return the name of a module, a class or a function, and for other objects that of their class."""
    kind = type(value)
    if issubclass(kind, type):
        return class_text(value)
    if issubclass(kind, ModuleType):
        return str(module_name(value.__name__))
    if kind is FunctionType or kind is BuiltinFunctionType:
        return f"{module_name(value.__module__) or 'builtins'}.{value.__qualname__}"
    if issubclass(kind, Logger):
        return f"logger {value.name}"
    name = vars(kind).get("__name__") and getattr(value, "__name__", None)  # such as that of a ufunc
    return f"{class_text(kind)} {name}" if type(name) is str else class_text(kind)


def _assigned_in(code: CodeType, namespace: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield modules, classes, functions and loggers of which code assigns an attribute, with its name.

    Nothing else shows such an assignment, as `json.dumps = mine` or `helper.__defaults__ = (1,)`.
    """
    waiting = [code]
    for each in waiting:  # it grows
        waiting += [inner for inner in each.co_consts if type(inner) is CodeType]
        body = each.co_code
        for at in range(0, len(body), 2) if _STORE in body else ():
            owner: Any = None
            if body[at] == _STORE:
                *path, attribute = _chain(body, at, each)
                owner = namespace.get(path[0], sys.modules.get(path[0])) if path else None
                for step in path[1:]:
                    owner = _attribute_of(owner, step)
            if issubclass(type(owner), (ModuleType, type, FunctionType, Logger)):
                yield owner, attribute


def _chain(body: bytes, at: int, code: CodeType) -> list[str]:
    """Return the names of `a.b.c` of an instruction that stores c; only [c] if it begins with no name."""
    chain = [code.co_names[body[at + 1]]]
    while at > 0:
        at -= 2
        operation, index = body[at], body[at + 1]
        if at > 0 and body[at - 2] == EXTENDED_ARG:  # the index is larger
            break
        if operation == _ATTRIBUTE:
            chain.append(code.co_names[index >> _FLAG_OF_ATTRIBUTE])
        elif operation == _GLOBAL:
            return [code.co_names[index >> 1], *reversed(chain)]
        elif operation == _LOCAL and code.co_varnames[index] in code.co_names:  # imported in the function
            return [code.co_varnames[index], *reversed(chain)]
        elif operation != _CACHE:
            break
    return chain[:1]


def _attribute_of(owner: Any, name: str) -> Any:
    """Return an attribute of a module, class, function or logger without code of the program; or `ABSENT`."""
    if type(owner) is FunctionType and name.startswith("__"):
        return getattr(owner, name, ABSENT)
    if issubclass(type(owner), type):
        return namespace_of(owner).get(name, ABSENT)
    return own_attributes(owner).get(name, ABSENT)


def _globals_named(names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the globals of the program's modules with which names begin: of `main.table['a']` the table."""
    wanted = {name.partition("[")[0] for name in names}
    modules = [each for each in list(sys.modules.values()) if wanted and type(each) is ModuleType]
    for module in modules:
        if not is_of_program(module.__name__):
            continue
        place = module_name(module.__name__)
        inside = [name.removeprefix(f"{place}.") for name in wanted if name.startswith(f"{place}.")]
        for name in dict.fromkeys(each.partition(".")[0] for each in inside):
            value = vars(module).get(name)
            if value is not None and not issubclass(type(value), (type, ModuleType, *FUNCTIONS)):
                yield f"{place}.{name}", value


def reached_inside(
    values: Iterable[object],
    most: int,
    seen: set[int] | None = None,
    agents: dict[AgentPlace, weakref.ref[Any]] | None = None,
) -> Iterator[type | FunctionType | ModuleType]:
    """Yield functions, modules and classes of objects of the program, in values and in what they hold.

    Args:
        most: how many values to visit; of larger containers none is.
        seen: the `id`s of those that were visited before, to be filled.
        agents: the agents among them, to be filled.
    """
    waiting = deque[Any](values)
    seen = set() if seen is None else seen
    while waiting and len(seen) < most:
        value: Any = waiting.popleft()
        kind = type(value)
        if id(kind) in PASSED or id(value) in seen:
            continue
        seen.add(id(value))
        if id(kind) in _CALLED:
            for each in functions_in(value, kind):
                if is_of_program(each.__globals__.get("__name__")):
                    yield each
        elif issubclass(kind, type):
            if is_own_class(value):
                yield value
        elif kind is ModuleType:
            if is_of_program(value.__name__):
                yield value
        elif is_own_class(kind) and not issubclass(kind, _UNREAD):
            yield kind
            agent_id = agent_id_of(value)
            if agent_id is None:
                waiting.extend(plain_attributes(value).values())
            elif agents is not None and len(agents) < MOST_FOUND:
                is_traced = has_traced_methods(kind)
                places = (AgentPlace(str(agent_id), number, is_traced) for number in range(_MOST_OF_ONE_ID))
                place = next((each for each in places if each not in agents or agents[each]() is value), None)
                with suppress(TypeError):  # its class allows no weak references
                    if place is not None:
                        agents[place] = weakref.ref(value)
        waiting.extend(_members(value, kind, most))


def _members(value: Any, kind: type, most: int) -> Iterable[Any]:
    """Return the members of a container, and what a bound method or a `partial` holds."""
    if kind is MethodType:
        return (value.__self__,)
    if kind is functools.partial:
        return (*value.args, *value.keywords.values())
    if issubclass(kind, weakref.ref):
        return (value(),)
    if issubclass(kind, Filterer):  # a logger or a handler
        given = own_attributes(value)
        return (*given.get("handlers", ()), *given.get("filters", ()), given.get("parent"))
    base: Any = next((each for each in CONTAINERS if issubclass(kind, each)), None)
    if base is None:
        is_keeper = not is_own_class(kind) and class_name(kind).partition(".")[0] in _KEEPERS
        return tuple(plain_attributes(value).values()) if is_keeper else ()
    if base.__len__(value) > most:
        return ()
    return tuple(dict.values(value) if base is dict else base.__iter__(value))


@by_class
def leads_nowhere(kind: type) -> bool:
    """Whether objects of a class lead to nothing of the program, as plain objects of a library do."""
    name = namespace_of(kind).get("__module__")
    if not is_of_a_library(name) or class_name(kind).partition(".")[0] in _KEEPERS:
        return False
    return id(kind) not in _CALLED and not issubclass(kind, (type, ModuleType, weakref.ref, *CONTAINERS))


def functions_in(value: Any, kind: type) -> Iterator[FunctionType]:
    """Yield the functions that a function, a descriptor or a callable consists of, and what they wrap."""
    first = (value,)
    if kind in FUNCTIONS:
        first = (value if kind is FunctionType else value.__func__,)
    elif kind in _ACCESSORS:
        first = tuple(getattr(value, accessor) for accessor in _ACCESSORS[kind])
    elif kind is functools.partial:
        first = (value.func,)
    elif is_own_class(kind):
        return
    for each in first:
        function = each
        for _ in range(MOST_PARTS):
            if function is None:
                break
            if type(function) is FunctionType:
                yield function
            function = _wrapped(function)


def _registered_in(
    functions: Iterable[FunctionType],
) -> Iterator[tuple[str, tuple[FunctionType | type, ...]]]:
    """Yield classes and functions of what `functools.singledispatch` made; their order does not count."""
    for function in functions:
        registry = function.__dict__.get("registry")
        if type(registry) is MappingProxyType:
            for cls, registered in dict(registry).items():
                if issubclass(type(cls), type):
                    yield class_text(cls), tuple(functions_in(registered, type(registered)))


def _subclasses_by_name(cls: type) -> tuple[str, ...]:
    """Return the names of the classes that an abstract class takes for its own by `register`."""
    registry, *_ = abc._get_dump(cls)  # type: ignore[attr-defined] # noqa: SLF001 - nothing else shows them
    return tuple(sorted(class_text(each) for reference in registry if (each := reference()) is not None))


def _wrapped(value: Any) -> Any:
    try:
        if is_partial(type(value)):
            inner = own_attributes(value).get(_WRAPPED)
        else:
            inner = object.__getattribute__(value, "__dict__").get(_WRAPPED)
    except (AttributeError, TypeError):
        return None
    return getattr(inner, "__func__", inner)


def _is_left_out(value: object, kind: type, *, wraps: bool) -> bool:
    """Whether a value is no data: a module, a logger, a generator, a function of a library.

    Args:
        wraps: whether a function is in it.
    """
    if issubclass(kind, _UNREAD) or class_name(kind).startswith("Agent."):
        return True
    # A polynomial of numpy can be called, and is data all the same.
    return callable(value) and not is_own_class(kind) and (wraps or not plain_attributes(value))


def is_own_class(cls: type) -> bool:
    """Whether a class is of the program, and not of an installed library or of Python."""
    module = namespace_of(cls).get("__module__")
    return type(module) is str and is_of_program(module)


def _names_in(code: CodeType) -> set[str]:
    """Return the names that code looks up, with those of functions and comprehensions in it."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        each = waiting.pop()
        found.update(each.co_names)
        waiting += [inner for inner in each.co_consts if type(inner) is CodeType]
    return found


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    members: Mapping[Any, Any] | None = None
    text: Callable[[Any], str] = repr
    if type(value) is dict:
        members, text = value, lambda key: f"{name}[{key!r}]"
    elif is_own_class(type(value)) and agent_id_of(value) is None and not _holds_more(type(value)):
        members, text = plain_attributes(value), lambda key: f"{name}.{key}"
    if not members or len(members) > MOST_PARTS or not all(type(key) is str for key in members):
        yield name, value
        return
    for key, member in list(members.items()):
        yield text(key), member


@by_class
def _holds_more(cls: type) -> bool:
    """Whether objects of a class hold more than attributes, as those of a subclass of `list` do."""
    bases = (class_name(base).partition(".")[0] for base in mro_of(cls) if base is not object)
    return not _WITH_VALUES.isdisjoint(bases)


def _order(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a small dict in their order, which its digest and its members do not show."""
    if type(value) in _ORDERED and 1 < len(value) <= MOST_PARTS:
        keys = tuple(value)
        if SCALARS.issuperset(map(type, keys)):
            yield f"order of {name}", keys
