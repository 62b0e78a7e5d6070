"""The interface of the engines, temporary tables of an analysis, and optional libraries.

Separate from the engines, which `tail` does not load.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, Self

from Agent.analysis.query import views
from Agent.errors import MissingExtra


class QueryEngine(Protocol):
    """The interface of the engines: `Engine`, and `SparkEngine` for many sealed sessions."""

    remote: Sequence[Any]
    """The sessions in an object store, as `RemoteTree`."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a query; return a dict for each row. Parameters replace `?`."""

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """Return the only row of a query."""
        return self.rows(sql, parameters)[0]

    def counts(
        self, column: str, lines: str, most: int | None = None, number: str = "count(*)"
    ) -> dict[str, int]:
        """Return how often each value of a column occurs in lines, the most frequent first."""
        limit = "" if most is None else f" LIMIT {most}"
        rows = self.rows(
            f"SELECT {column} AS name, {number} AS n FROM {lines} GROUP BY 1 ORDER BY n DESC, name{limit}"
        )
        return {row["name"]: row["n"] for row in rows}

    def keep(self, name: str, query: str, parameters: Sequence[Any] = (), *, derived: bool = False) -> bool:
        """Keep the rows of a query as a table until `drop_table`; False if they are too many.

        A table that is derived from kept tables may have any number of rows.
        """

    def drop_table(self, name: str) -> None:
        """Drop a kept table, if it exists."""

    def ends_us(self) -> tuple[int, int] | None:
        """The times of the first and the last event; None without events."""

    @staticmethod
    def view_names() -> list[str]:
        """The names of the views for `sql()`."""
        return sorted([views.ACTION_STATES, *views.names()])

    def close(self) -> None:
        """Release what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
