"""The public names of a package, each loaded from its module when it is first asked for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["lazy_names"]

_IMPORT: Final = re.compile(r"^    from (\S+) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)


def lazy_names(
    package: str, within: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Callable[[str], Any]:
    """A `__getattr__` for the module of a package.

    The module says once where each name comes from, for type checkers and for this: by the imports of its
    `if TYPE_CHECKING:` block.

    Args:
        package: its full name.
        within: the block that a module is imported in, such as one that explains what is not installed.
    """
    homes: dict[str, str] = {}

    def find(name: str) -> Any:
        if not homes:
            source = Path(str(sys.modules[package].__file__)).read_text("utf-8")
            for module, several, one in _IMPORT.findall(source):
                homes.update(dict.fromkeys((each.strip() for each in (several or one).split(",")), module))
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with within():
            module = import_module(home)
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find
