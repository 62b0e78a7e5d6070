"""Tables of answers for other programs: Arrow in memory, Parquet and CSV in files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, overload

import orjson

from Agent.analysis.query.engine import SqlResult, needed

_BATCH_ROWS: Final = 65_536


class Rows:  # noqa: PLW1641 - no hash, as a list has none
    """An answer of dicts in order, and a table for whoever reads Arrow: polars, pandas, pyarrow, DuckDB.

    It is no list, because polars and pyarrow read lists by rules of their own; `list(rows)` is one.
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._rows[index]

    def __eq__(self, other: object) -> bool:
        return self._rows == (other._rows if isinstance(other, Rows) else other)

    def __repr__(self) -> str:
        return repr(self._rows)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` with nested values as JSON; MissingExtra if pyarrow is not installed."""
        return table_of(self._rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the rows to any library that reads Arrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def table_of(rows: Sequence[dict[str, Any]]) -> Any:
    """Return dicts as a `pyarrow.Table`: dicts in them become JSON text, as do lists of other than texts.

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
    """A value as text: JSON for what is nested."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value, default=_unknown, option=orjson.OPT_NON_STR_KEYS).decode()


def _unknown(value: object) -> str:
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


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
    with _new(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            number += batch.num_rows
    return number


def write_csv(path: Path, result: SqlResult) -> int:
    """Write the rows of a query to a new CSV file with a header, in flat memory; return their number.

    Quoted as in RFC 4180, in UTF-8; null is empty, nested values are JSON.

    Raises:
        FileExistsError: the file exists.
    """
    number = 0
    with _new(path) as file, io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(result.columns)
        for batch in result.batches():
            writer.writerows(
                [cell(value) if isinstance(value, list | dict) else value for value in row] for row in batch
            )
            number += len(batch)
    return number


@contextmanager
def _new(path: Path) -> Iterator[Any]:
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
