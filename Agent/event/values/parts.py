"""Values without a codec that have more than attributes: split into parts, and rebuilt from them.

Functions and classes are found by name in the loaded modules, the code of a local function in the compiled
source of its module: recorded data supplies the values that a function holds, never its code. No constructor,
reduction or `__setstate__` of a user class runs; the C base class creates the object. Only functions of the
program and harmless ones of the standard library are found, so that a recording cannot pass `os.system` to
code that calls its argument.
"""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from Agent.event.classes import (
    attributes_of,
    by_class,
    class_name,
    find_class,
    has_own_reduction,
    is_installed,
    mro_of,
    namespace_of,
    restore_attributes,
    solid_base,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.values.arrays import Form, table_form
from Agent.event.values.class_codecs import Binding, Builder, pairs_of
from Agent.event.values.class_contents import at_name, contents_of_cell, newline_of, pieces_of
from Agent.event.values.content_digest import content_of
from Agent.event.values.reading import Hides

LOCAL = "local"
"""Tag of a local function or lambda: its code is looked up by name, the values that it holds are recorded."""
CELL = "cell"
"""Tag of a variable that a closure shares with its function."""

HELD_AS = "held_as"
"""The key of {name: place} of the secrets that a function or a partial holds; redaction takes it out."""
HOLDERS = ("local:", "parts:")
"""The beginnings of the tags of values that may have that key."""

_HARMLESS_MODULES = frozenset(
    "array collections datetime decimal fractions ipaddress itertools math operator _operator random "
    "statistics string time uuid".split()
)
_HARMLESS_BUILTINS = frozenset(
    "abs all any ascii bin bool bytearray bytes chr complex dict divmod enumerate filter float format "
    "frozenset hash hex id int isinstance issubclass iter len list map max min next object oct ord pow "
    "print range repr reversed round set slice sorted str sum tuple type zip".split()
)
_METHODS_OF = frozenset({str, bytes, bytearray, int, float, list, tuple, dict, set, frozenset, deque})


def is_harmless(module: Any, name: str) -> bool:
    """Whether a function or class of a module may be used: the program's own code, or plain tools."""
    if type(module) is not ModuleType:
        return False
    title = str(vars(module).get("__name__"))
    if title == "builtins":
        member = vars(module).get(name)
        return name in _HARMLESS_BUILTINS or (type(member) is type and issubclass(member, BaseException))
    if title in _HARMLESS_MODULES:
        return not any(part.startswith("_") for part in name.split("."))
    if title == "numpy":
        numpy: Any = module
        member = vars(module).get(name)
        return type(member) is numpy.ufunc or (type(member) is type and issubclass(member, numpy.generic))
    file = vars(module).get("__file__")
    is_ours = title.startswith("Agent.") and not title.startswith("Agent.demo.")
    return type(file) is str and not is_ours and not is_installed(file)


def parts_of(
    value: Any, kind: type, *, takes_code: bool = True, hides: Hides | None = None
) -> tuple[str, Any] | None:
    """Return the tag and parts of a value without a codec; None if it cannot be rebuilt.

    Args:
        takes_code: whether functions and classes count. In fields they do not: they belong to the replayed
            program, whose changes must show.
        hides: says which parameters and variables are named like secrets; None without redaction.
    """
    found = _parts_of(value, kind, takes_code)
    if hides is not None and found is not None and type(found[1]) is dict:
        held = _held_by_function(value) if kind is FunctionType else _held_by_partial(kind, found[1])
        secret = {
            name: place
            for name, place in held
            if hides.is_denied(name) or not hides.is_harmless((name,), b"{}")  # the latter of `token`
        }
        if secret:
            found[1][HELD_AS] = secret
    return found


def _held_by_function(function: Any) -> Iterator[tuple[str, str]]:
    """Yield the names of the values in a function's closure and defaults, and their places in its parts."""
    code = function.__code__
    for at, name in enumerate(code.co_freevars):
        yield name, f"cells/{at}/0"
    parameters = code.co_varnames[: code.co_argcount]
    count = len(function.__defaults__ or ())
    for at, name in enumerate(parameters[len(parameters) - count :] if count else ()):
        yield name, f"defaults/{at}"


def _held_by_partial(kind: type, reduced: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the parameters of the values that a partial holds by position, and their places in its parts."""
    if not issubclass(kind, partial):
        return
    function, arguments = reduced["parts"][:2]
    own = 0
    if isinstance(function, type):
        inits = (namespace_of(each).get("__init__") for each in mro_of(function))
        function, own = next((each for each in inits if each is not None), None), 1
    elif type(function) is MethodType:
        function, own = function.__func__, 1
    while type(function) is FunctionType and not function.__code__.co_argcount:
        function = function.__dict__.get("__wrapped__")  # a decorator takes what the function takes
    if type(function) is FunctionType:
        code = function.__code__
        for at, name in enumerate(code.co_varnames[own : code.co_argcount][: len(arguments)]):
            yield name, f"parts/1/{at}"


def _parts_of(value: Any, kind: type, takes_code: bool) -> tuple[str, Any] | None:
    if not takes_code and (kind in _OF_CODE or issubclass(kind, type)):
        return None
    if kind is FunctionType:
        return _function(value)
    if kind is BuiltinFunctionType:
        return _builtin(value)
    if kind is CellType:
        return CELL, contents_of_cell(value)
    if issubclass(kind, type):
        return _class(value)
    form = _form_of(kind)
    try:
        parts = None if form is None else form.split(value)
    except Exception as error:  # noqa: BLE001 - a library's class that changed: its objects stay comparable
        pass_on(error)
        return None
    if parts is None:
        return None
    reduced: dict[str, Any] = {"parts": parts}
    attributes = {} if table_form(kind) is form else attributes_of(value)
    if attributes:
        reduced["attributes"] = attributes
    return f"parts:{class_name(kind)}", reduced


_OF_CODE = frozenset({FunctionType, BuiltinFunctionType, MethodType, CellType})


def _build_parts(reduced: Any, argument: str, binding: Binding) -> Any:
    cls = _NAMED_HERE.get(argument) or binding.find(argument, lambda _: True)
    form = _form_of(cls)
    if form is None:
        raise LookupError(argument)
    instance = form.make(cls, *reduced["parts"])
    if reduced.get("attributes"):
        restore_attributes(instance, reduced["attributes"])
    return instance


@by_class
def _form_of(cls: type) -> Form | None:
    form = table_form(cls) or _alias_form(cls)
    base = solid_base(cls)
    if form is not None or (cls is not base and has_own_reduction(cls)):
        return form
    name = class_name(base)
    form = _FORMS.get(base) or (_BY_NAME.get(name) if find_class(name) is base else None)
    return _ERROR if form is None and issubclass(base, BaseException) else form


def _alias_form(cls: type) -> Form | None:
    """Return how `Box[int]` of a program's `Box` is rebuilt; None for classes that are no such alias.

    Its own reduction subscribes the class, which runs code of the class.
    """
    is_alias = class_name(cls) == "typing._GenericAlias" and find_class("typing._GenericAlias") is cls
    return _ALIAS if is_alias else None


_ALIAS = Form(lambda _: [], object.__new__)


# Functions and the values that they hold.


def _function(function: Any) -> tuple[str, Any] | None:
    module = sys.modules.get(function.__module__)
    qualname = function.__qualname__
    for steps, candidate in enumerate(at_name(module, qualname)):
        if candidate is function:
            name = f"function:{function.__module__}:{qualname}"
            return (name, steps) if is_harmless(module, qualname) else None
    module = sys.modules.get(str(function.__globals__.get("__name__")))
    if not is_harmless(module, qualname):
        return None
    cells = [*(function.__closure__ or ())]
    code = function.__code__
    home = function.__globals__.get("__name__")
    reduced: dict[str, Any] = {"code": content_of(code).text}
    names = {"__module__": function.__module__, "__qualname__": qualname, "__name__": function.__name__}
    usual = {"__module__": home, "__qualname__": code.co_qualname, "__name__": code.co_name}
    if names != usual:  # a decorator copied the names of the wrapped function
        reduced["names"] = names
    parts = {
        "cells": cells,
        "defaults": function.__defaults__,
        "keywords": function.__kwdefaults__,
        "attributes": function.__dict__,
    }
    reduced |= {key: part for key, part in parts.items() if part}
    return f"{LOCAL}:{home}:{code.co_qualname}", reduced


def _build_function(reduced: Any, argument: str, binding: Binding) -> Any:
    module_name, _, qualname = argument.partition(":")
    module = binding.module(module_name)
    if type(reduced) is not int or not is_harmless(module, qualname):
        raise LookupError(argument)
    function = next((each for steps, each in enumerate(at_name(module, qualname)) if steps == reduced), None)
    if type(function) is not FunctionType:
        raise LookupError(argument)
    return function


def local_code(
    reduced: Mapping[str, Any], argument: str, binding: Binding
) -> tuple[CodeType, dict[str, Any]]:
    """Return the code of a local function and the names of its module; LookupError if it is missing.

    If several have the same name, the recorded digest of the code selects one; a single one is used even if
    its code differs, since it may have been edited.
    """
    module_name, _, qualname = argument.partition(":")
    module = binding.module(module_name)
    if not is_harmless(module, qualname):
        raise LookupError(argument)
    codes = _codes_at(module, qualname)
    if len(codes) > 1:
        codes = [code for code in codes if content_of(code).text == reduced["code"]][:1]
    if not codes or len(codes[0].co_freevars) != len(reduced.get("cells", ())):
        raise LookupError(argument)
    return codes[0], vars(module)


def _codes_at(module: ModuleType, qualname: str) -> list[CodeType]:
    """Return the code of all functions with a qualified name in a module, compiled but not run."""
    code = _code_of(module)
    matches = [] if code is None else [code]
    for part in qualname.replace(".<locals>", "").split("."):
        inner = (each for code in matches for each in _inner_codes(code))
        matches = [each for each in inner if each.co_name == part]
    return [code for code in matches if code.co_qualname == qualname]


def _inner_codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if type(each) is CodeType:
            if each.co_name.startswith("<generic parameters of "):
                yield from _inner_codes(each)
            else:
                yield each


def _code_of(module: ModuleType) -> CodeType | None:
    """Return the code of a module; None if its source is not in a file."""
    known = _codes.get(module.__name__)
    if known is not None and known[0] is module:
        return known[1]
    file = vars(module).get("__file__")
    code = None
    if type(file) is str and file.endswith(".py"):
        import tokenize

        try:
            with tokenize.open(file) as source:
                code = compile(source.read(), file, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError):
            code = None  # the source is missing, or is being edited
    _codes[module.__name__] = (module, code)
    return code


_codes: dict[str, tuple[ModuleType, CodeType | None]] = {}


def _builtin(function: Any) -> tuple[str, Any] | None:
    owner = function.__self__
    if owner is None or type(owner) is ModuleType:
        module = sys.modules.get(function.__module__)
        name = function.__qualname__
        known = module is not None and vars(module).get(name) is function and is_harmless(module, name)
        return (f"builtin:{function.__module__}:{name}", None) if known else None
    return ("method", [owner, function.__name__]) if type(owner) in _METHODS_OF else None


def _build_builtin(_reduced: Any, argument: str, binding: Binding) -> Any:
    module_name, _, name = argument.partition(":")
    module = binding.module(module_name)
    function = vars(module).get(name) if is_harmless(module, name) else None
    if type(function) is not BuiltinFunctionType:
        raise LookupError(argument)
    return function


def _build_method(reduced: Any, _argument: str, _binding: Binding) -> Any:
    owner, name = reduced
    if type(owner) not in _METHODS_OF or name.startswith("_"):
        raise LookupError(name)
    return namespace_of(type(owner))[name].__get__(owner)


def _class(value: type) -> tuple[str, Any] | None:
    name = class_name(value)
    is_found = find_class(name) is value and _is_harmless_class(value)
    return (f"class:{name}", None) if is_found else None


def _is_harmless_class(cls: type) -> bool:
    module, _, name = class_name(cls).rpartition(".")
    while module and module not in sys.modules:
        module = module.rpartition(".")[0]
    return is_harmless(sys.modules.get(module), name)


# Objects that a module holds under a name.


def name_of(value: object) -> str | None:
    """Return `module:NAME` of an object that its class's module, or a class there, holds; None for others.

    Programs identify such objects by `is`, so a copy would not work.
    """
    title = namespace_of(type(value)).get("__module__")
    if type(title) is not str or type(module := sys.modules.get(title)) is not ModuleType:
        return None
    namespace = module.__dict__
    known = _names.get(title)
    if known is None or known[0] != len(namespace):
        known = _names[title] = (len(namespace), _names_in(namespace))
    name = known[1].get(id(value))
    if name is None or _object_at(module, name) is not value:
        return None
    return f"{module.__name__}:{name}"


_names: dict[str, tuple[int, dict[int, str]]] = {}


def _names_in(namespace: Mapping[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, member in list(namespace.items()):
        if issubclass(type(member), type):
            if namespace_of(member).get("__module__") == namespace.get("__name__"):
                names.update(
                    {id(each): f"{name}.{inner}" for inner, each in list(namespace_of(member).items())}
                )
        else:
            names[id(member)] = name
    return names


def _object_at(module: Any, name: str) -> Any:
    outer, _, inner = name.partition(".")
    member = vars(module).get(outer)
    if inner:
        return namespace_of(member).get(inner) if issubclass(type(member), type) else None
    return member


def named_object(name: str, binding: Binding) -> Any:
    """Return the object with that `module:NAME`; None if it is missing."""
    module_name, _, name = name.partition(":")
    return _object_at(binding.module(module_name), name)


def _build_named(_reduced: Any, argument: str, binding: Binding) -> Any:
    named = named_object(argument, binding)
    if named is None or attributes_of(named) or not _is_harmless_class(type(named)):
        raise LookupError(argument)
    return named


def _build_filled_by_function(reduced: Any, argument: str, binding: Binding) -> Any:
    """Build a `defaultdict` whose factory is a function that holds nothing, found by name and digest."""
    name, _, digest = argument.partition("@")
    chosen = binding.codecs.get(name)
    if callable(chosen) and content_of(chosen).text == digest:
        return defaultdict(chosen, pairs_of(reduced))
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            module, qualname = binding.module(".".join(parts[:cut])), ".".join(parts[cut:])
        except LookupError:
            continue  # a class of the module one level up
        if not is_harmless(module, qualname):
            continue
        codes = _codes_at(module, qualname)
        functions = [_without_cells(code, module) for code in codes if not code.co_freevars]
        for function in (*at_name(module, qualname), *functions):
            if type(function) is FunctionType and content_of(function).text == digest:
                return defaultdict(function, pairs_of(reduced))
    raise LookupError(name)


def _without_cells(code: CodeType, module: Any) -> FunctionType:
    function = FunctionType(code, vars(module))
    function.__qualname__ = code.co_qualname
    return function


# Objects of classes written in C.


def _make_method(_cls: type, function: Any, owner: Any) -> Any:
    if type(function) is not FunctionType:
        raise LookupError("no function")
    return MethodType(function, owner)


def _pieces(value: Any) -> list[Any]:
    return list(pieces_of(value, solid_base(type(value))).ordered)  # type: ignore[union-attr]


def _error_parts(value: Any) -> list[Any] | None:
    arguments, fields = pieces_of(value, solid_base(type(value))).ordered  # type: ignore[union-attr]
    return [list(arguments), {name: part for name, part in fields if name != "__class__"}]


def _make_error(cls: Any, arguments: list[Any], fields: dict[str, Any]) -> Any:
    base: Any = solid_base(cls)
    error = base.__new__(cls, *arguments)
    base.__init__(error, *arguments)
    for name, part in fields.items():
        member = next(space[name] for each in mro_of(base) if name in (space := namespace_of(each)))
        if member.__get__(error) != part:
            member.__set__(error, part)
    return error


_ERROR = Form(_error_parts, _make_error)


def _made(base: Any, cls: Any, *arguments: Any) -> Any:
    """Make an instance by its C class, without code of a class derived from it."""
    instance = base.__new__(cls)
    base.__init__(instance, *arguments)
    return instance


def _make_default(cls: Any, factory: Any, pairs: dict[Any, Any]) -> Any:
    if factory is not None and not callable(factory):
        raise LookupError("no factory")
    return _made(defaultdict, cls, factory, pairs)


def _referent(value: Any) -> list[Any] | None:
    """Return the dictionary behind a view or a proxy."""
    referents = gc.get_referents(value)
    return [referents[0]] if referents and type(referents[0]) is dict else None


def _make_array(cls: Any, code: str, raw: bytes) -> Any:
    array: Any = sys.modules["array"].array
    instance = array.__new__(cls, code)
    array.frombytes(instance, raw)
    return instance


def _array_parts(value: Any) -> list[Any]:
    array: Any = sys.modules["array"].array
    return [vars(array)["typecode"].__get__(value), array.tobytes(value)]


def _memoryview_parts(value: Any) -> list[Any] | None:
    try:
        is_plain = value.format == "B" and value.ndim == 1 and value.readonly
    except ValueError:  # it was released
        return None
    return [memoryview.tobytes(value)] if is_plain else None


def _file_parts(value: Any) -> list[Any] | None:
    base: Any = solid_base(type(value))
    if base.closed.__get__(value):
        return None
    content = base.getvalue(value)
    newline = newline_of(value) if type(content) is str else "\n"
    return [content, base.tell(value), *([] if newline == "\n" else [newline])]


def _make_file(cls: Any, content: Any, position: int, newline: str | None = "\n") -> Any:
    base: Any = solid_base(cls)
    if type(content) is str:  # with the ends of lines as they are
        file = _made(base, cls)
        base.__setstate__(file, (content, newline, position, None))
        return file
    file = _made(base, cls, content)
    base.seek(file, position)
    return file


def _make_pattern(_cls: type, pattern: Any, flags: int) -> Any:
    import re

    return re.compile(pattern, flags)


def _call_parts(value: Any) -> list[Any] | None:
    """Return the constructor arguments from the class's own C reduction; None if they do not suffice."""
    reduction: Any = type(value).__reduce__
    reduced = reduction(value)
    is_call = type(reduced) is tuple and len(reduced) == 2 and reduced[0] is type(value)
    return list(reduced[1]) if is_call else None


def _call(cls: Any, *parts: Any) -> Any:
    return cls(*parts)


_FORMS: dict[type, Form] = {
    SimpleNamespace: Form(lambda _: [], SimpleNamespace.__new__),
    MethodType: Form(
        lambda value: [value.__func__, value.__self__] if type(value.__func__) is FunctionType else None,
        _make_method,
    ),
    MappingProxyType: Form(_referent, lambda _, held: MappingProxyType(held)),
    type({}.keys()): Form(_referent, lambda _, held: dict.keys(held)),
    type({}.values()): Form(_referent, lambda _, held: dict.values(held)),
    type({}.items()): Form(_referent, lambda _, held: dict.items(held)),
    deque: Form(_pieces, lambda cls, most, *items: _made(deque, cls, items, most)),
    OrderedDict: Form(
        lambda value: [dict(OrderedDict.items(value))], lambda cls, pairs: _made(OrderedDict, cls, pairs)
    ),
    defaultdict: Form(
        lambda value: [vars(defaultdict)["default_factory"].__get__(value), dict(dict.items(value))],
        _make_default,
    ),
    memoryview: Form(_memoryview_parts, lambda _, raw: memoryview(raw)),
    GenericAlias: Form(
        lambda value: [value.__origin__, list(value.__args__)],
        lambda _, origin, held: GenericAlias(origin, tuple(held)),
    ),
}
"""Forms by C class, for classes that are always loaded."""

_NAMED_HERE = {class_name(cls): cls for cls in _FORMS}
"""Needed because some of them cannot be found in a module by name."""

_CALLED = Form(_call_parts, _call)
_BY_NAME: dict[str, Form] = {
    "functools.partial": Form(
        _pieces,
        lambda cls, function, arguments, keywords: solid_base(cls).__new__(
            cls, function, *arguments, **keywords
        ),
    ),
    "array.array": Form(_array_parts, _make_array),
    "_io.StringIO": Form(_file_parts, _make_file),
    "_io.BytesIO": Form(_file_parts, _make_file),
    "re.Pattern": Form(lambda value: [value.pattern, value.flags], _make_pattern),
    "time.struct_time": Form(
        lambda value: [list(value), {name: getattr(value, name) for name in ("tm_zone", "tm_gmtoff")}], _call
    ),
    "datetime.timezone": Form(lambda value: list(value.__getinitargs__()), _call),
    "zoneinfo.ZoneInfo": Form(lambda value: [value.key] if type(value.key) is str else None, _call),
    "operator.itemgetter": _CALLED,
    "decimal.Context": _CALLED,
    **{f"itertools.{name}": _CALLED for name in ("count", "repeat")},
}
"""Forms by name, for classes of modules that this package does not load."""

PART_BUILDERS: Mapping[str, Builder] = {
    "parts": _build_parts,
    "function": _build_function,
    "builtin": _build_builtin,
    "method": _build_method,
    "class": lambda _, argument, binding: binding.find(argument, _is_harmless_class),
    "named": _build_named,
    "defaultdict": _build_filled_by_function,
}
