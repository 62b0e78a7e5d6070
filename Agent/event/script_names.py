"""What one process calls things and another calls otherwise: a script's module, memory addresses in texts."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import orjson

from Agent.event.classes import class_name

_MAIN: Final = b'"__main__"'
_ADDRESS: Final = re.compile(rb" at 0x[0-9a-f]{9,16}(?=[>;])")
NAMED_CACHES: Final[list[dict[type, Any]]] = []
"""What is kept by class and holds its name; a new name clears it."""

_scripts: dict[str, str] = {}


def name_script(module: str, name: str) -> None:
    """Write `name` for the module of that name from here on: the script that was recorded, imported here."""
    _scripts[module] = name
    for cache in NAMED_CACHES:
        cache.clear()


def module_name(module: object) -> object:
    """A module's name, that of the script that runs being the one under which others import it."""
    if module == "__main__":
        if module not in _scripts:
            _scripts["__main__"] = _script_name()
        return _scripts["__main__"]
    return _scripts.get(module, module) if type(module) is str and _scripts else module


def imported(data: bytes) -> bytes:
    """JSON in which texts that say what a script's module is called say what it is called when imported.

    Memory addresses are left out of it.
    """
    data = without_addresses(data)
    if data.find(_MAIN) < 0:
        return data
    return data.replace(_MAIN, orjson.dumps(module_name("__main__")))


def without_addresses(data: bytes) -> bytes:
    """Texts without the memory addresses that `repr` wrote: libraries keep some, no two runs share one."""
    return data if data.find(b" at 0x") < 0 else _ADDRESS.sub(b" at 0x", data)


def _script_name() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and type(spec.name) is str:
        return spec.name.removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    if type(file) is not str:
        return "__main__"
    return file.replace("\\", "/").rpartition("/")[2].removesuffix(".py")


def class_text(cls: type) -> str:
    """The dotted name of a class, its module written as `module_name` does."""
    return without_script(class_name(cls))


def without_script(name: str) -> str:
    """A dotted name, its module written as `module_name` does."""
    if name.startswith("__main__"):
        return f"{module_name('__main__')}{name[8:]}"
    for module, told in _scripts.items():
        if name == module or name.startswith(module + "."):
            return told + name[len(module) :]
    return name
