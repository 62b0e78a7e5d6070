"""`SqlResult`: the answer to a query over a session, in the form that whoever asked wants it.

`LogAnalyzer.sql` gives one; nothing is read before rows are looked at.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

from Agent.analysis.query.engine import Engine

_SHOWN_ROWS: Final = 50
_SHOWN_CHARS: Final = 200


class SqlResult(Sequence[dict[str, Any]]):
    """The rows of one query, a dict each; equal to a list of such dicts.

    The query is run when rows are first looked at, and the rows are kept. `batches`, `to_df` and `to_arrow`
    run it for themselves and keep nothing: of a session that is still recorded they may find more.

    Args:
        engine: over the session.
        query: one statement that reads.

    Raises:
        UsageError: it is none, or names what is not there.
    """

    def __init__(self, engine: Engine, query: str) -> None:
        self._engine = engine
        self.query = query
        self.types: dict[str, str] = engine.user_columns(query)
        """The columns and their types in SQL, in order."""
        self._rows: list[dict[str, Any]] | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns; one that comes twice is numbered."""
        return list(self.types)

    def batches(self, rows: int = 2048, most: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """The rows as tuples, so many at a time: memory stays flat however long the answer is.

        Args:
            rows: how many at a time.
            most: how many in all, where not all are wanted: then a large order is not made as a whole.
        """
        return self._engine.user_batches(self.query, rows, most)

    def _all(self) -> list[dict[str, Any]]:
        if self._rows is None:
            names = self.columns
            found = self._engine.user_tuples(self.query)
            self._rows = [dict(zip(names, row, strict=True)) for row in found]
        return self._rows

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SqlResult):
            return self._all() == other._all()
        return self._all() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<SqlResult: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """The first 50 rows as a table, for notebooks; every value is text."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row.values()) + "</tr>"
            for row in self._all()[:_SHOWN_ROWS]
        )
        left_out = len(self) - _SHOWN_ROWS
        more = f"<p>{left_out:,} rows more</p>" if left_out > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def to_df(self) -> Any:
        """A pandas DataFrame; MissingExtra without pandas."""
        return self._engine.user_frame(self.query)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; MissingExtra without pyarrow."""
        return self._engine.user_arrow(self.query)


def _cell(value: object) -> str:
    if value is None:
        return "<i>null</i>"
    text = str(value)
    return html.escape(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")
