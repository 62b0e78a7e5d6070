"""How large a field is that stands in each action's line, and which is looked at in full states only."""

from __future__ import annotations

HEAVY_BYTES = 4096
"""A field above that is read in full states only."""

_MARKS = (b'"', b":", b"<")
"""What stands before a module's name where a value tells its class: in JSON, in a tag, in a `repr`."""
_SCRIPT = "__main__"
_scripts = [_SCRIPT]


def is_heavy(raw: bytes) -> bool:
    """Whether a field with that JSON and those tags is read in full states only.

    The name of the script's own module does not count. It is `__main__` where the script runs and another
    where a replay imports it, and both have to come to the same answer.
    """
    size = len(raw)
    if size <= HEAVY_BYTES:
        return False
    for script in _scripts:
        name = script.encode() + b"."
        size -= len(name) * sum(raw.count(mark + name) for mark in _MARKS)
    return size > HEAVY_BYTES


def count_as_script(module: str) -> None:
    """Take a module for the script that was recorded, from here on."""
    _scripts[1:] = [module] if module != _SCRIPT else []
