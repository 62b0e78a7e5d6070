"""Names that differ between processes: the module of a script (`__main__`), memory addresses in texts."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import orjson

from Agent.event.classes import class_name

_MAIN: Final = b'"__main__"'
_ADDRESS_BEGIN: Final = b" at 0x"
_ADDRESS: Final = re.compile(rb" at 0x[0-9a-f]{9,16}(?=[>;])")
NAMED_CACHES: Final[list[dict[type, Any]]] = []
"""Caches by class whose entries contain its name; `name_script` clears them."""

_scripts: dict[str, str] = {}


def name_script(module: str, name: str) -> None:
    """Use `name` for a module from now on, if the recorded script was imported as that module."""
    _scripts[module] = name
    for cache in NAMED_CACHES:
        cache.clear()


def module_name(module: object) -> object:
    """Return a module's name; for `__main__`, the name under which other code imports the script."""
    if module == "__main__":
        if module not in _scripts:
            _scripts["__main__"] = _script_name()
        return _scripts["__main__"]
    return _scripts.get(module, module) if type(module) is str and _scripts else module


def imported(data: bytes) -> bytes:
    """Replace `"__main__"` in JSON by the script's name when imported, and remove memory addresses."""
    if data.find(_ADDRESS_BEGIN) >= 0:
        data = without_addresses(data)
    if data.find(_MAIN) < 0:
        return data
    return data.replace(_MAIN, orjson.dumps(module_name("__main__")))


def without_addresses(data: bytes) -> bytes:
    """Remove memory addresses written by `repr`: some libraries store such texts; they differ in each run."""
    return data if data.find(_ADDRESS_BEGIN) < 0 else _ADDRESS.sub(_ADDRESS_BEGIN, data)


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
    """Return the dotted name of a class, with its module as `module_name` returns it."""
    return without_script(class_name(cls))


def without_script(name: str) -> str:
    """Return a dotted name, with its module as `module_name` returns it."""
    if name.startswith("__main__"):
        return f"{module_name('__main__')}{name[8:]}"
    for module, script_name in _scripts.items():
        if name == module or name.startswith(module + "."):
            return script_name + name[len(module) :]
    return name
