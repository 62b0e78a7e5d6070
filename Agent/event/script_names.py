"""Names that differ between processes: modules of scripts, addresses in texts, directories of copies."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Final

import orjson

from Agent.event.classes import class_name, find_class
from Agent.event.pointers import escape

_MAIN: Final = b'"__main__"'
_ADDRESS_BEGIN: Final = b" at 0x"
_ADDRESS: Final = re.compile(rb" at 0x[0-9a-f]{9,16}(?=[>;])")
NAMED_CACHES: Final[list[dict[type, Any]]] = []
"""Caches by class whose entries contain its name; `name_script` clears them."""

COPIES: Final = "agent-trace-replay-"
"""The beginning of the names of directories with copies; `_scalars.h` searches for a part of it."""

_scripts: dict[str, str] = {}
directories: dict[str, str] = {}
"""{copy: original}."""


def name_script(module: str, name: str) -> None:
    """Use `name` for a module from now on, if the recorded script was imported as that module."""
    _scripts[module] = name
    for cache in NAMED_CACHES:
        cache.clear()


def name_copy(copy: str, original: str) -> None:
    """In digests, name the original of a directory where a program runs in a copy of it."""
    directories.update({os.path.realpath(copy): original, copy: original})


def as_original(data: bytes, copy: str, original: str) -> bytes:
    """Return JSON in which paths of a copy, also in JSON Pointers, are those of the original directory."""
    for each in (os.path.realpath(copy), copy):
        data = data.replace(_in_json(each), _in_json(original))
        data = data.replace(_in_json(escape(each)), _in_json(escape(original)))
    return data


def _in_json(path: str) -> bytes:
    return orjson.dumps(os.fsencode(path).decode("utf-8", "replace"))[1:-1]


def module_name(module: object) -> object:
    """Return a module's name; for `__main__`, the name under which other code imports the script."""
    if module == "__main__":
        if module not in _scripts:
            _scripts["__main__"] = _script_name()
        return _scripts["__main__"]
    return _scripts.get(module, module) if type(module) is str and _scripts else module


def imported(data: bytes) -> bytes:
    """Replace names that differ between processes in JSON: of modules, addresses and directories."""
    for copy, original in directories.items():
        data = data.replace(_in_json(copy), _in_json(original))
    if data.find(_ADDRESS_BEGIN) >= 0:
        data = without_addresses(data)
    if data.find(_MAIN) < 0:
        return data
    return data.replace(_MAIN, orjson.dumps(module_name("__main__")))


def without_addresses(data: bytes) -> bytes:
    """Remove memory addresses written by `repr`: some libraries store such texts; they differ in each run."""
    return data if data.find(_ADDRESS_BEGIN) < 0 else _ADDRESS.sub(_ADDRESS_BEGIN, data)


def text_elsewhere(text: str) -> bytes:
    """Return a text in the form that all processes share: without addresses, with original directories."""
    for copy, original in directories.items():
        text = text.replace(copy, original)
    return without_addresses(text.encode("utf-8", "surrogatepass"))


def is_changed_elsewhere(text: str) -> bool:
    """Whether another text may have the same form as this one in all processes."""
    return bool(directories) or _ADDRESS_BEGIN.decode() in text


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


_CLASS_ID = re.compile(r"([A-Za-z_][\w.<>]*):([1-9]\d{8,19})\b")
"""A class by its dotted name and its `id()`, as in schemas of pydantic."""


def without_class_ids(value: Any) -> Any:
    """Copy a schema without the ids of classes, which differ in every run."""
    kind = type(value)
    if kind is str:
        return _CLASS_ID.sub(_leave_out_id, value) if ":" in value else value
    if kind is dict:
        return {without_class_ids(key): without_class_ids(item) for key, item in value.items()}
    return kind(map(without_class_ids, value)) if kind is list or kind is tuple else value


def _leave_out_id(match: re.Match[str]) -> str:
    name = match[1]
    cls = find_class(name if "." in name else f"builtins.{name}")
    is_id = "<locals>" in name if cls is None else id(cls) == int(match[2])
    return f"{without_script(name)}:" if is_id else match[0]
