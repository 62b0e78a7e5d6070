"""Results as tables for other programs: Arrow in memory, Parquet and CSV in files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, overload

import orjson

from Agent.analysis.query.kept import needed
from Agent.record.encode.safe_text import cut
from Agent.render.blocks import Cell, Grid, Words

if TYPE_CHECKING:
    from Agent.analysis.query.engine import Engine

_BATCH_ROWS: Final = 65_536
_SHOWN_ROWS: Final = 50
_SHOWN_CHARS: Final = 200

_INTEGERS: Final = range(-(2**63), 2**64)
"""The integers that are written as numbers in JSON."""


class Rows:  # noqa: PLW1641 - no hash, as a list has none
    """A result of dicts in order, also readable as an Arrow table by polars, pandas, pyarrow and DuckDB.

    It is not a list, because polars and pyarrow convert lists by other rules; `list(rows)` makes one.
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._rows = list(rows)

    def _all(self) -> list[dict[str, Any]]:
        return self._rows

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, Rows) else other)

    def __repr__(self) -> str:
        return repr(self._all())

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` with nested values as JSON; MissingExtra if pyarrow is not installed."""
        return table_of(self._rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Pass the rows to a library that reads Arrow, such as polars; MissingExtra without pyarrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


class SqlResult(Rows, Sequence[dict[str, Any]]):
    """The rows of one query as dicts; equal to a list of such dicts.

    The query runs when the rows are first accessed, and the rows are kept. `batches`, `to_df` and `to_arrow`
    run it again and keep nothing, so in a session that is still being recorded they may return more rows.

    Args:
        engine: over the session.
        query: one reading statement.

    Raises:
        UsageError: the statement does not only read, or names an unknown table or column.
    """

    def __init__(self, engine: Engine, query: str) -> None:
        self._engine = engine
        self.query = query
        self.types: dict[str, str] = engine.user_columns(query)
        """The columns with their SQL types, in order."""
        self._is_read = False
        super().__init__()

    @property
    def columns(self) -> list[str]:
        """The names of the columns; duplicates get a number."""
        return list(self.types)

    def batches(self, rows: int = 2048, most: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows as tuples in batches; memory stays flat for any number of rows.

        Args:
            rows: the size of a batch.
            most: the maximum number of rows; DuckDB then does not sort more than these.
        """
        return self._engine.user_batches(self.query, rows, most)

    def _all(self) -> list[dict[str, Any]]:
        if not self._is_read:
            tuples = self._engine.user_tuples(self.query)
            self._rows = [dict(zip(self.types, row, strict=True)) for row in tuples]
            self._is_read = True
        return self._rows

    def __repr__(self) -> str:
        return f"<SqlResult: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """The first 50 rows as a table, for notebooks; every value is text."""
        from Agent.render.html import block_html

        rows = [[_shown(value) for value in row.values()] for row in self._all()[:_SHOWN_ROWS]]
        left_out = len(self) - _SHOWN_ROWS
        more = block_html(Words(f"{left_out:,} rows more")) if left_out > 0 else ""
        return block_html(Grid(self.columns, rows)) + more

    def to_df(self) -> Any:
        """A pandas DataFrame; MissingExtra without pandas."""
        return self._engine.user_frame(self.query)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; MissingExtra without pyarrow."""
        return self._engine.user_arrow(self.query)

    def arrow_batches(self, rows: int = 65_536) -> Iterator[Any]:
        """Yield the schema, then the rows as `pyarrow.RecordBatch`, in flat memory."""
        return self._engine.user_arrow_batches(self.query, rows)


def _shown(value: object) -> object:
    return Cell("null", "soft") if value is None else cut(str(value), _SHOWN_CHARS)


def table_of(rows: Sequence[dict[str, Any]]) -> Any:
    """Return dicts as a `pyarrow.Table`: nested dicts become JSON text, as do lists of anything but texts.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    needed("pyarrow", "an Arrow table", "dataframe")
    import pyarrow  # type: ignore[import-untyped]

    names = list(dict.fromkeys(chain.from_iterable(rows)))
    columns = [pyarrow.array(_column([row.get(name) for row in rows])) for name in names]
    return pyarrow.Table.from_arrays(columns, names=names)


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    plain = kinds <= {str} or kinds <= {bool} or kinds <= {int, float}
    if plain or (
        kinds == {list} and all(isinstance(each, str) for value in values or () for each in value or ())
    ):
        return values
    return [None if value is None else cell(value) for value in values]


def cell(value: object) -> str:
    """The value as text: JSON for nested values."""
    if isinstance(value, str):
        return value
    return as_json(value).decode()


def as_json(value: object, *, is_indented: bool = False) -> bytes:
    """Return a value of the engine as JSON: bytes as hexadecimal, types that JSON lacks as text."""
    option = orjson.OPT_NON_STR_KEYS | is_indented * orjson.OPT_INDENT_2
    try:
        return orjson.dumps(value, default=_unknown, option=option)
    except orjson.JSONEncodeError:  # a HUGEINT, a TIMETZ
        return orjson.dumps(_with_texts(value), default=_unknown, option=option)


def _unknown(value: object) -> str:
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _with_texts(value: object) -> object:
    """Return the value with text in place of integers beyond 64 bits, times with a zone, and keys."""
    if isinstance(value, dict):
        return {str(key): _with_texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(item) for item in value]
    is_wide = isinstance(value, int) and value not in _INTEGERS
    return str(value) if is_wide or (isinstance(value, time) and value.tzinfo is not None) else value


def write_parquet(path: Path, result: SqlResult) -> int:
    """Write the rows of a query to a new Parquet file, in flat memory; return their number.

    Raises:
        MissingExtra: pyarrow is not installed.
        FileExistsError: the file exists.
    """
    needed("pyarrow", "Parquet", "dataframe")
    import pyarrow.parquet  # type: ignore[import-untyped]

    batches = result.arrow_batches(_BATCH_ROWS)
    schema = next(batches)
    number = 0
    with new_file(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            number += batch.num_rows
    return number


def plain(value: Any) -> Any:
    """The value, a list or a dict as JSON."""
    return cell(value) if isinstance(value, list | dict) else value


def write_csv(path: Path, result: SqlResult) -> int:
    """Write the rows of a query to a new CSV file with a header, in flat memory; return their number.

    Quoted as in RFC 4180, in UTF-8; null is empty, nested values are JSON.

    Raises:
        FileExistsError: the file exists.
    """
    with new_file(path) as file, io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="") as text:
        return csv_into(text, result.columns, result.batches())


def csv_into(
    text: TextIO,
    columns: Sequence[str],
    batches: Iterable[Sequence[Sequence[Any]]],
    form: Callable[[Any], Any] = plain,
) -> int:
    """Write rows as CSV with a header; return their number.

    Lines end with a newline alone, so that `tail -1` and `read` get no carriage return.

    Args:
        text: opened with `newline=""`.
        form: what to write for a value.
    """
    import csv

    number = 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(form, columns))
    for batch in batches:
        writer.writerows(map(form, row) for row in batch)
        number += len(batch)
    return number


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """A new file that only its owner reads; it is removed if the block fails."""
    with path.open("xb") as file:
        path.chmod(0o600)
        try:
            yield file
        except BaseException:
            path.unlink()
            raise


WRITERS: Final[dict[str, Callable[[Path, SqlResult], int]]] = {"parquet": write_parquet, "csv": write_csv}
"""The writers of files by format."""
