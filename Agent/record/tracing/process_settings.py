"""Settings of the process, and attributes of imported modules, that code may change and no field shows."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from Agent.event.limits_of_time import pass_on
from Agent.event.script_names import module_name
from Agent.event.values.plain import SCALARS
from Agent.record.tracing.function_facts import is_of_program
from Agent.record.tracing.program_search import ABSENT, reference_to

ENVIRONMENT = "os.environ"
_MAPPING = type(os.environ)
_OF_TOOLS = frozenset({"PYTEST_CURRENT_TEST", "LINES", "COLUMNS"})
"""Variables that pytest and readline set by themselves."""


def process_settings(*, of_thread: bool) -> dict[str, Any]:
    """Return {name: scalar or tuple} of environment variables and of settings of Python and libraries.

    Args:
        of_thread: whether to read settings that each thread has for itself.
    """
    found: dict[str, Any] = {
        "sys.getrecursionlimit()": sys.getrecursionlimit(),
        "sys.getswitchinterval()": sys.getswitchinterval(),
        "sys.get_int_max_str_digits()": sys.get_int_max_str_digits(),
    }
    if type(os.environ) is _MAPPING:  # the program may put its own mapping in its place
        given = {name: value for name, value in os.environ.items() if name not in _OF_TOOLS}
        found |= {f"{ENVIRONMENT}[{name!r}]": value for name, value in given.items()}
    for name, (module, read) in _OF_MODULES.items():
        if module in sys.modules and (of_thread or name not in SETTINGS_OF_THREAD):
            try:
                found[name] = read(sys.modules[module])
            except Exception as error:  # noqa: BLE001 - the program may have replaced what it calls
                pass_on(error)
    return found


def _decimal_context(module: Any) -> tuple[Any, ...]:
    context = module.getcontext()
    traps = sorted(signal.__name__ for signal, is_set in context.traps.items() if is_set)
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, *traps


_OF_MODULES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "decimal.getcontext()": ("decimal", _decimal_context),
    "numpy.geterr()": ("numpy", lambda module: tuple(sorted(module.geterr().items()))),
    "locale.setlocale()": ("locale", lambda module: module.setlocale(module.LC_ALL)),
    "logging.disable()": ("logging", lambda module: module.root.manager.disable),
    "socket.getdefaulttimeout()": ("socket", lambda module: module.getdefaulttimeout()),
}
SETTINGS_OF_THREAD = frozenset({"decimal.getcontext()", "numpy.geterr()"})
"""Those that each thread has for itself."""


class ModuleAttributes:
    """The public functions, classes and scalars of libraries' modules that the program's modules hold.

    Code may replace them by `setattr` or in `__dict__`, where no byte code shows the name.
    """

    def __init__(self) -> None:
        own = [each for each in list(sys.modules.values()) if type(each) is ModuleType]
        held = [
            value
            for each in own
            if is_of_program(each.__name__)
            for value in list(vars(each).values())
            if type(value) is ModuleType and not is_of_program(value.__name__)
        ]
        self._modules = {id(each): (each, _public(each)) for each in (os, sys, builtins, *held)}

    @property
    def modules(self) -> list[str]:
        """The names of the modules."""
        return sorted(str(module_name(module.__name__)) for module, _ in self._modules.values())

    def replaced(self, asked: Iterable[str] = ()) -> Iterator[tuple[str, Any, Any, bool]]:
        """Yield attributes that were replaced, came in, or are asked for: name, first and last value.

        The last member says whether these are names of functions or classes, which count by name.
        """
        asked = frozenset(asked)
        for module, first in self._modules.values():
            last = vars(module)
            for name, value in [*first.items(), *((each, ABSENT) for each in _came_in(module, first))]:
                full = f"{module_name(module.__name__)}.{name}"
                now = last.get(name, ABSENT)
                if now is not value or full in asked:
                    shown = _shown(value), _shown(now)
                    # Recording itself replaces clocks and the like.
                    if not any(type(each) is str and each.startswith("Agent.") for each in shown):
                        yield full, *shown, type(now if value is ABSENT else value) not in SCALARS


_OF_PYTHON = ("_", "last_")
"""Private names, and those that `sys` has after an error that ended a thread, such as `last_type`."""
_COMPARED = SCALARS | {FunctionType, BuiltinFunctionType, type}


def _public(module: Any) -> dict[str, Any]:
    """Return the public functions, classes and scalars of a module."""
    return {
        name: value
        for name, value in list(vars(module).items())
        if type(name) is str and not name.startswith(_OF_PYTHON) and type(value) in _COMPARED
    }


def _came_in(module: Any, first: Collection[str]) -> list[str]:
    """Return the names that a module got since; of functions and classes those of the program.

    Libraries add some of their own when they are first used, such as `concurrent.futures.ThreadPoolExecutor`.
    """
    return [
        name
        for name, value in _public(module).items()
        if name not in first and (type(value) in SCALARS or is_of_program(str(value.__module__)))
    ]


def _shown(value: Any) -> Any:
    return value if type(value) in SCALARS else reference_to(value)
