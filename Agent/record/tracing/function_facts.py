"""Facts about a traced function that are known before a call: parameters, code, and contents of its events.

`inspect` is slow to import and to run. It is used only for callables that are not plain functions, and to get
the source once a call is recorded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.event.classes import is_of_library, mro_of, namespace_of
from Agent.event.kinds import ACTION_KINDS, Category
from Agent.event.limits_of_time import undisturbed
from Agent.record.emit.installed import LIMITS
from Agent.record.secrets.names import name_says
from Agent.record.state.identity import traced_files

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline

# The flags of a code object, as `inspect` names them.
_CO_VARARGS = 0x04
_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80
CO_ITERABLE_COROUTINE = 0x100
_CO_ASYNC_GENERATOR = 0x200
_MAX_SOURCE_CHARS = 16_384
_MOST_KEPT = 64
"""Maximum number of calls of a constructor with different numbers of arguments whose names are kept."""
_MODULES_PER_EVENT = 500
_MOST_MODULE_BYTES = 1024 * 1024

_SCRIPT = frozenset({"__main__", "__mp_main__"})
"""Module names of the script that runs; `multiprocessing` renames it to `__mp_main__` in a child process."""
_NOT_THE_PROGRAM = tuple(
    os.path.dirname(path) + os.sep  # noqa: PTH120
    for path in (os.__file__, sys.modules["Agent"].__file__)
    if path
)
"""Folders of the standard library (including installed packages) and of this package."""
BESIDE_PARAMETER = "**"
"""What stands before the name of a keyword argument whose name a positional argument has, too."""
_RECEIVERS = frozenset({"self", "cls", "mcs", "_self", "this"})
_LABEL_KEY = {"agent_action": "action_type", "learning_update": "learning_stage", "metric": "metric_name"}
_CATEGORY = {
    "agent_action": Category.AGENTS,
    "learning_update": Category.LEARNING,
    "metric": Category.PERFORMANCE,
}


class Parameters(NamedTuple):
    """The parameters of a function that take positional arguments."""

    positional: tuple[str, ...]
    rest: str | None
    """The name of `*rest`, None if there is none."""


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a function; none if its signature cannot be read."""
    code = _plain_code(function)
    if code is not None:
        named = code.co_argcount + code.co_kwonlyargcount
        rest = code.co_varnames[named] if code.co_flags & _CO_VARARGS else None
        return Parameters(code.co_varnames[: code.co_argcount], rest)
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Parameters((), None)
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = next((one.name for one in parameters if one.kind is inspect.Parameter.VAR_POSITIONAL), None)
    return Parameters(tuple(one.name for one in parameters if one.kind in by_position), rest)


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether it is an `async def` without a yield, or is marked as a coroutine function."""
    return bool(_sort(function) & _CO_COROUTINE)


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it returns a generator or an async generator."""
    return bool(_sort(function) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR))


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it returns an async generator."""
    return bool(_sort(function) & _CO_ASYNC_GENERATOR)


def _plain_code(function: Callable[..., Any]) -> CodeType | None:
    """Return the code of a plain function; None if it has attributes, such as a wrapper's or a marker's."""
    return function.__code__ if type(function) is FunctionType and not function.__dict__ else None


def _sort(function: Callable[..., Any]) -> int:
    """Return code flags that show whether a call returns a coroutine, a generator or an async generator."""
    code = _plain_code(function)
    if code is not None:
        return code.co_flags
    import inspect

    return (
        _CO_COROUTINE * inspect.iscoroutinefunction(function)
        | _CO_GENERATOR * inspect.isgeneratorfunction(function)
        | _CO_ASYNC_GENERATOR * inspect.isasyncgenfunction(function)
    )


def _importable(module: str) -> str:
    """Return the name under which a replay imports the module; for `__main__`, the script's own name."""
    if module not in _SCRIPT:
        return module
    script = sys.modules[module]
    spec = getattr(script, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    return os.path.splitext(os.path.basename(getattr(script, "__file__", None) or module))[0]  # noqa: PTH119, PTH122


def leave_unread(files: Iterable[str]) -> None:
    """Have `linecache` not open those source files that are no regular files: a pipe would block it."""
    import linecache

    for file in files:
        if file not in linecache.cache and os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113
            linecache.cache[file] = (0, None, [], file)


class CodeIdentity:
    """Module, qualified name, source and digest of one function.

    Without source (an interactive prompt, a frozen program), the digest is that of the compiled code.
    """

    __slots__ = ("digest", "module", "place", "qualname", "source", "tail", "tail_unchanged")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.module = _importable(str(getattr(function, "__module__", "")))
        self.qualname = str(getattr(function, "__qualname__", type(function).__qualname__))
        import inspect

        from Agent.event.values.digest import code_digest

        self.source: str | None
        try:
            leave_unread({inspect.getsourcefile(function) or ""})
            self.source = inspect.getsource(function)
        except (OSError, TypeError):
            self.source = None
        self.place = _place_of(function)
        """`file` and `line` where it begins, decorators included; empty without a file. Not in the digest."""
        code = getattr(function, "__code__", None)
        text = self.source or (
            code.co_code.hex() + repr(code.co_names) if code is not None else self.qualname
        )
        self.digest = code_digest(self.module, self.qualname, text)
        # The end of an action's line: for an agent without state, and for an agent whose state is unchanged.
        self.tail = b',"code":"%s"' % self.digest.encode()
        self.tail_unchanged = self.tail + b',"state":{"set":{},"unset":[]}'

    @undisturbed()
    def tell(self, pipeline: Pipeline) -> None:
        """Write the `code` event; callers check `pipeline.codes_written` first, so that it is written once.

        When more than 500 modules are new, the event is repeated with 500 of them each.
        """
        pipeline.codes_written.add(self)
        payload: dict[str, Any] = {"digest": self.digest, "module": self.module, "qualname": self.qualname}
        if self.source is not None:
            payload["source"] = self.source[:_MAX_SOURCE_CHARS]
        payload |= self.place
        modules = list(_new_modules(pipeline.modules_written).items())
        slot = pipeline.binding(None, None, "system", "system").slot("code", 10)
        for start in range(0, len(modules) or 1, _MODULES_PER_EVENT):
            part = dict(modules[start : start + _MODULES_PER_EVENT])
            pipeline.emit(slot, self.qualname, payload | {"modules": part} if part else payload)


def _place_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the file and line of a function's code, or of the function that it wraps.

    The path is absolute, as in a traceback; a prompt, an archive or a cell of a notebook is no file.
    """
    import inspect

    try:
        code = getattr(inspect.unwrap(function), "__code__", None)
    except ValueError:  # it wraps itself
        return {}
    if not isinstance(code, CodeType) or not os.path.isfile(code.co_filename):  # noqa: PTH113
        return {}
    return {"file": os.path.abspath(code.co_filename), "line": code.co_firstlineno}  # noqa: PTH100


def _new_modules(known: set[str]) -> dict[str, str]:
    """Return {module: digest} of the program's modules that are not in `known`; add all loaded ones to it."""
    new = sys.modules.keys() - known
    known.update(new)
    # What is below a package of a library is of the library, so that most of a thousand modules need no look.
    tops: dict[str, list[str]] = {}
    for name in new:
        tops.setdefault(name.partition(".")[0], []).append(name)
    own = [name for top, names in tops.items() if not _is_library(sys.modules.get(top)) for name in names]
    digests = {name: module_digest(name) for name in sorted(own)}
    return {_importable(name): digest for name, digest in digests.items() if digest is not None}


def _file_of(module: object) -> str | None:
    path = module.__dict__.get("__file__") if isinstance(module, ModuleType) else None
    return path if type(path) is str else None


def _is_library(module: object) -> bool:
    """Whether the file of a package or module shows that it belongs to a library."""
    path = _file_of(module)
    return path is not None and _is_library_file(path)


@lru_cache(maxsize=4096)
def _is_library_file(path: str) -> bool:
    return is_of_library(path) or path.startswith(_NOT_THE_PROGRAM)


def program_file(module: object) -> str | None:
    """Return the path of a module's source file; None for a library and for what has no such file."""
    path = _file_of(module)
    return path if path is not None and path.endswith(".py") and not _is_library_file(path) else None


def is_of_a_library(module: object) -> bool:
    """Whether a module's name is that of a loaded module of a library."""
    return type(module) is str and _is_library(sys.modules.get(module))


def is_of_program(module: object) -> bool:
    """Whether a module's name is that of a loaded module of the program."""
    if type(module) is not str:
        return False
    # `__main__` loses its `__file__` when the script ends, before what is registered for the exit runs.
    if module not in _of_program and program_file(sys.modules.get(module)) is not None:
        _of_program.add(module)
    return module in _of_program


_of_program: set[str] = set()


def _file_below(name: str, directories: Iterable[str]) -> str | None:
    """Return the source file of a module that is not loaded, without importing it."""
    for directory in directories:
        base = os.path.join(directory, *name.split("."))  # noqa: PTH118
        for path in (f"{base}.py", os.path.join(base, "__init__.py")):  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                return path
    return None


def directories_of(names: Iterable[str]) -> set[str]:
    """Return the directories from which the loaded modules among these were imported, without libraries."""
    found = set()
    for name in names:
        place = program_file(sys.modules.get(name))
        if place is not None:
            is_package = os.path.basename(place) == "__init__.py"  # noqa: PTH119
            for _ in range(name.count(".") + is_package + 1):
                place = os.path.dirname(place)  # noqa: PTH120
            found.add(place)
    return found


def module_digest(name: str, directories: Iterable[str] = ()) -> str | None:
    """Return the digest of a module's source file; None for a library or an unreadable file.

    Args:
        name: of a loaded module, or of one below `directories`.
        directories: where to look for a module that is not loaded, such as the script or a world that a
            target does not import.
    """
    path = program_file(sys.modules[name]) if name in sys.modules else _file_below(name, directories)
    if path is None:
        return None
    from Agent.event.values.digest import digest_bytes

    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_MODULE_BYTES + 1)
    except OSError:  # the module is in an archive, or its file was removed
        return None
    return digest_bytes(content) if len(content) <= _MOST_MODULE_BYTES else None


class FunctionFacts:
    """Facts about a traced function, computed before it is called.

    Args:
        function: the undecorated function.
        kind: the kind of event that a call writes: agent_action, learning_update or metric.
        label: action type, update type or name of the measurement.
        attribute: the name of the target's attribute that holds it, if that differs from the function's name.
        strict_state: also read the agent's state at entry; None means that the options decide.
    """

    # Those besides `__dict__` are read in C at each call.
    __slots__ = (
        "__dict__", "__weakref__", "capture_result", "code", "head", "head_root", "is_plain", "label",
        "slot_key",
    )  # fmt: skip
    head: bytes
    """The beginning of its events' payload; `head_root` is that of root actions. The first call sets both."""
    head_root: bytes
    is_plain: bool
    """Whether its events may take the fast path: neither a metric, nor async, nor a generator."""

    def __init__(
        self,
        function: Callable[..., Any],
        kind: str,
        label: str,
        *,
        level: int = 20,
        attribute: str | None = None,
        capture_args: bool = True,
        capture_result: bool = True,
        strict_state: bool | None = None,
        is_method: bool | None = None,
    ) -> None:
        self.function = function
        code = getattr(function, "__code__", None)
        if code is not None:
            traced_files.add(code.co_filename)
        self.kind = kind
        self.label = label
        self.level = level
        self.capture_args = capture_args and kind != "metric"
        self.capture_result = capture_result and kind != "metric"
        self.strict_state = strict_state
        self.is_action = kind in ACTION_KINDS
        self.category = _CATEGORY[kind].value
        self.limit = LIMITS[self.category]
        self.label_key = _LABEL_KEY[kind]
        self.slot_key = kind, level
        self.most_whole = 100_000
        """How many objects of its arguments it pays to note, by the last call; at first a guess."""
        self.large_arguments: dict[str, int] = {}
        self.large_changes: dict[str, int] = {}
        self.large_result = 0
        # In bytes of content, by argument, when it was read last: at the beginning, and what a call changed.
        self.is_stepped = False
        """Whether it is a generator, whose calls are suspended and resumed."""
        self.is_async = False
        """Whether it is a coroutine function: calls may interleave, so its events record their order."""
        self.code: CodeIdentity | None = None
        owner, _, name = function.__qualname__.rpartition(".")
        self.qualname = f"{owner}.{attribute}" if attribute and owner else attribute or function.__qualname__
        self.unit = {"unit": "ms"} if name != self.qualname and kind == "metric" else {}
        self._parameters = parameters_of(function)
        first = next(iter(self._parameters.positional), self._parameters.rest)
        # A function in a class whose first parameter is not named like `self` may be a method, or it may be
        # the function of a staticmethod. The first call decides.
        in_class = owner != "" and not owner.endswith("<locals>")
        named_like_one = first in _RECEIVERS
        self.is_undecided = is_method is None and in_class and first is not None and not named_like_one
        self.treat_as_method(named_like_one if is_method is None else is_method)

    def treat_as_method(self, is_method: bool) -> None:
        """Set whether the first argument is the target or an ordinary argument."""
        self.is_method = is_method
        positional, rest = self._parameters
        self.names = positional[1:] if is_method else positional
        # The first item of `*rest` may be the target.
        self.rest_name = rest if positional or not is_method else None
        self.max_plain_args = len(self.names) + is_method

    def target_of(self, args: tuple[Any, ...]) -> object:
        """Return the object whose method is called with these arguments; None for a function."""
        if self.is_undecided:
            self._decide(args)
        return args[0] if self.is_method and args else None

    def _decide(self, args: tuple[Any, ...]) -> None:
        """Treat it as a method if its first argument is an object of the class that defines it."""
        owner = self.function.__qualname__.rpartition(".")[0]
        classes = type(args[0]).__mro__ if args else ()
        self.treat_as_method(
            any(cls.__qualname__ == owner and cls.__module__ == self.function.__module__ for cls in classes)
        )
        self.is_undecided = False

    @undisturbed()
    def identify(self) -> CodeIdentity:
        """Return the identity of the function's code, computed once."""
        if self.code is None:
            self.code = CodeIdentity(self.function)
        return self.code

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; those of a `*name` parameter as a list under the key `*name`.

        A positional-only parameter and a keyword argument of one call may have the same name: the latter is
        under `**name`.
        """
        given = args[1:] if self.is_method else args
        if not given:
            return kwargs.copy()
        bound = dict(zip(self.names, given, strict=False))
        if len(given) > len(self.names) and self.rest_name is not None:
            bound[f"*{self.rest_name}"] = list(given[len(self.names) :])
        if bound.keys().isdisjoint(kwargs):
            bound.update(kwargs)
            return bound
        by_position = frozenset(bound)
        for name, value in kwargs.items():
            bound[f"{BESIDE_PARAMETER}{name}" if name in by_position else name] = value
        return bound


class ConstructorFacts:
    """What is known of a constructor's arguments: which are large, and which have names of secrets.

    `large_args` and `large_kwargs` have the positions and the names of those with over 4 KiB of content when
    they were read last. The names of positional parameters that are names of secrets are looked up once.

    Where `*args` takes the arguments, the parameters to which they are passed on have the names: those of
    `__new__`, and those of the next constructors if `*args` takes all.
    """

    __slots__ = ("_function", "_kept", "_own", "large_args", "large_kwargs")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.large_args: Collection[str] = ()
        self.large_kwargs: Collection[str] = ()
        self._own: Parameters | None = None
        self._kept: tuple[Any, dict[int, Mapping[int, str]]] = (None, {})
        """`__new__` of the last class, and what was found, by the number of arguments."""

    def secret_of(self, cls: type, count: int) -> Mapping[int, str]:
        """Return the names of secrets among the first `count` arguments of a class, by position."""
        new, known = self._kept
        if new is cls.__new__ and (found := known.get(count)) is not None:
            return found
        return self._look_up(cls, count)

    @undisturbed()
    def _look_up(self, cls: type, count: int) -> Mapping[int, str]:
        if self._own is None:
            self._own = _without_first(self._function)
        found: dict[int, str] = {}
        for names in _all_names(cls, self._own, count):
            for position, name in enumerate(names):
                if name_says(name) > name_says(found.get(position, "")):
                    found[position] = name
        new, known = self._kept
        is_same = new is cls.__new__ and len(known) < _MOST_KEPT
        self._kept = (cls.__new__, {**(known if is_same else {}), count: found})
        return found


def _all_names(cls: type, own: Parameters, count: int) -> Iterator[list[str]]:
    """Yield the names of the first `count` arguments for each function that takes them."""
    yield _names_in(own, count)
    new: Any = cls.__new__
    if new is not object.__new__:
        yield _names_in(_without_first(new), count)
    if own.rest is None or own.positional:
        return
    for base in mro_of(cls)[1:]:
        function = namespace_of(base).get("__init__")
        if function is not None and base is not object:
            next_one = _without_first(function)
            yield _names_in(next_one, count)
            if next_one.positional or next_one.rest is None:
                return


def _names_in(parameters: Parameters, count: int) -> list[str]:
    names = list(parameters.positional[:count])
    return names + [parameters.rest] * (count - len(names)) if parameters.rest is not None else names


def _without_first(function: Callable[..., Any]) -> Parameters:
    """Return the parameters without the one that takes the object or the class."""
    positional, rest = parameters_of(function)
    return Parameters(positional[1:], rest)
