"""Rows that several questions ask for, read once: a table in the engine, or read each time if there are many.

Reading JSON lines is most of a question's time, so it is done once; what is too much to be held lies sealed,
where reading it again costs little.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from Agent.analysis.query.engine import Engine

__all__ = ["Source", "kept"]

MAX_ROWS: Final = 3_000_000


class Source(NamedTuple):
    """What stands behind FROM, and the parameters that it needs."""

    text: str
    parameters: list[Any]


@contextmanager
def kept(engine: Engine, name: str, query: str, parameters: Sequence[Any] = ()) -> Iterator[Source]:
    """Keep the rows of a query under a name for as long as this is open, if they are at most three million.

    Args:
        engine: over the session.
        name: of the table; two of one name are not open at once.
        query: a sub-query in brackets, which names the columns that it selects.
        parameters: of the query.
    """
    # not `SELECT *`, for which every column of a scan would be read
    engine.make_table(name, f"FROM {query} LIMIT {MAX_ROWS + 1}", parameters)
    try:
        number = engine.row(f"SELECT count(*) AS n FROM {name}")["n"]
        if number > MAX_ROWS:
            engine.drop_table(name)
            yield Source(query, list(parameters))
        else:
            yield Source(name, [])
    finally:
        engine.drop_table(name)
