"""Temporary tables of an analysis, and optional libraries.

Separate from the engine, which `tail` does not load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

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


@contextmanager
def kept(
    engine: QueryEngine, name: str, query: str, parameters: Sequence[Any] = (), *, derived: bool = False
) -> Iterator[str]:
    """Keep the rows of a query as a table inside the `with` block, if there are at most 3 million.

    Yields the table, or the query if its rows were not kept, as the text after FROM.

    Args:
        engine: over the session.
        name: of the table; two blocks with the same name must not be open at once.
        query: a sub-query in brackets that names its columns.
        parameters: of the query.
        derived: keep any number of rows, since the query is over kept rows.
    """
    try:
        yield name if engine.keep(name, query, parameters, derived=derived) else query
    finally:
        engine.drop_table(name)
