"""Load DuckDB; from version 2.0 without the Python part of its package, which queries do not use."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any, Final

from Agent.errors import MissingExtra

OLDEST_DUCKDB: Final = (1, 4)
"""Older versions lack functions and options that queries and sealing use."""
_KNOWN: Final = (2, 0)
"""The version whose extension is known to be enough."""


def load_duckdb(purpose: str) -> Any:
    """DuckDB, or its extension, which has all that queries use; MissingExtra if it is missing or too old.

    Importing the package takes three times as long as its extension: relations and expressions in Python.
    """
    try:
        if "duckdb" not in sys.modules and (extension := _extension()) is not None:
            return extension
        import duckdb
    except ImportError as error:
        raise MissingExtra(f"{purpose} needs duckdb", remedy="pip install duckdb") from error
    if numbers_of(duckdb.__version__) < OLDEST_DUCKDB:
        oldest = ".".join(map(str, OLDEST_DUCKDB))
        raise MissingExtra(
            f"{purpose} needs duckdb {oldest} or newer, and {duckdb.__version__} is installed",
            remedy=f"pip install 'duckdb>={oldest}'",
        )
    return duckdb


def numbers_of(version: object) -> tuple[int, ...]:
    """Return the first two numbers of a version; (0, 0) if it has none."""
    match = re.match(r"(\d+)\.(\d+)", str(version))
    return (0, 0) if match is None else (int(match[1]), int(match[2]))


def _extension() -> Any:
    """The extension alone; None for a version that is not known, or if the package is imported meanwhile."""
    try:
        import _duckdb
    except ImportError:
        return None
    extension: Any = _duckdb
    if numbers_of(extension.__version__) != _KNOWN or not hasattr(extension, "_set_arrow_sources"):
        return None
    # the package puts its own in their place when it is imported later
    extension._set_arrow_sources(_Sources)  # noqa: SLF001
    if "duckdb" not in sys.modules:
        return extension
    from duckdb import _sources  # waits for the thread that imports it

    extension._set_arrow_sources(_sources)  # noqa: SLF001
    return None


def _condition(*_: object) -> None:
    """A condition, which no source accepts."""


class _StreamSource:
    """The rows of an object with `__arrow_c_stream__`; conditions and columns are left to the engine."""

    one_shot = schema_is_stable = pull_under_gil = False

    def __init__(self, scanned: Any) -> None:
        self.obj = scanned

    def rows(self) -> None:
        """The number of rows, which is unknown."""

    def accepts(self, _predicate: object) -> bool:
        """Whether all rows will fulfil a condition."""
        return False

    def stream(self, _columns: object, _predicates: object) -> tuple[object, bool]:
        """A new stream, and whether it has only the given columns."""
        return self.obj.__arrow_c_stream__(), False


class _Sources:
    """What the extension asks for in place of `duckdb._sources`: the classes of conditions, and a source."""

    nodes = SimpleNamespace(**dict.fromkeys(("Col", "Lit", "Binary", "Unary", "Postfix", "In"), _condition))
    adapt = _StreamSource
