"""The public names of a package, each loaded from its module when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str,
    homes: Mapping[str, str],
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[[str], Any]:
    """A `__getattr__` for the module of a package.

    Args:
        package: its full name.
        homes: by public name the module that holds it, below the package or by its full name.
        within: the block that a module is imported in, such as one that explains what is not installed.
    """

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        with within():
            module = import_module(home if home.startswith("Agent.") else f"{package}.{home}")
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find
