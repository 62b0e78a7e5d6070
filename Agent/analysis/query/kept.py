"""Temporary tables of an analysis, and optional libraries.

Separate from the engine, which `tail` does not load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from Agent.analysis.query.views import QueryEngine
from Agent.errors import MissingExtra


def needed(module: str, what: str, extra: str) -> None:
    """Check that an optional library is installed, without importing it; MissingExtra if it is not."""
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingExtra(
            f"{what} needs {module}",
            remedy=f"pip install 'agent-trace[{extra}]', or use sql() for plain rows",
        )


MAX_ROWS: Final = 3_000_000


class TableExpression(NamedTuple):
    """A table or sub-query for FROM, with its parameters."""

    text: str
    parameters: list[Any]


@contextmanager
def kept(
    engine: QueryEngine, name: str, query: str, parameters: Sequence[Any] = ()
) -> Iterator[TableExpression]:
    """Keep the rows of a query as a table inside the `with` block, if there are at most 3 million.

    Args:
        engine: over the session.
        name: of the table; two blocks with the same name must not be open at once.
        query: a sub-query in brackets that names its columns.
        parameters: of the query.
    """
    try:
        is_kept = engine.keep(name, query, parameters)
        yield TableExpression(name, []) if is_kept else TableExpression(query, list(parameters))
    finally:
        engine.drop_table(name)
