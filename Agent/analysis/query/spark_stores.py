"""Sealed sessions in an object store as Spark rows; the executors read them through fsspec.

Used for stores without a Hadoop library in Spark. An executor needs pyarrow, fsspec and fsspec's library for
the store; it does not need this package, since Spark sends it the code of the reading functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.archive.sealed.parts import Part
from Agent.errors import MissingExtra

_TASK_ROWS: Final = 500_000
"""The number of rows that one task reads; several tasks read a larger part."""
_OF_STORES: Final = ("AWS_", "AZURE_", "FSSPEC_", "GOOGLE_")
"""The prefixes of the environment variables from which fsspec's libraries read keys and endpoints."""
_HADOOP_ALONE: Final = "s3a"
"""Hadoop's scheme for S3: it selects Hadoop's library, even if that is missing."""


class Piece(NamedTuple):
    """Every `of`-th row group of a Parquet file in a store, from number `first`."""

    url: str
    first: int
    of: int


def pieces_of(parts: Iterable[tuple[str, Part]], most_rows: int = _TASK_ROWS) -> list[Piece]:
    """Divide parts, each with the URL of its file, into pieces of about `most_rows` rows."""
    numbered = ((url, -(-part.rows // most_rows) or 1) for url, part in parts)
    return [Piece(url, first, of) for url, of in numbered for first in range(of)]


def hadoop_reads(spark: Any, url: str) -> bool:
    """Whether Spark reads a URL with a Hadoop library."""
    from py4j.protocol import Py4JJavaError

    scheme = url.partition("://")[0]
    java = spark._jvm.org.apache.hadoop.fs.FileSystem  # noqa: SLF001 - the only way to it
    try:
        java.getFileSystemClass(scheme, spark._jsc.hadoopConfiguration())  # noqa: SLF001
    except Py4JJavaError:
        return scheme == _HADOOP_ALONE
    return True


def part_rows(spark: Any, pieces: list[Piece], columns: Mapping[str, str]) -> Any:
    """Read columns of archives, given by name with Spark's types; a column that a part lacks is NULL."""
    return _read(spark, part_reader, pieces, columns)


def text_rows(spark: Any, files: list[tuple[str, str]]) -> Any:
    """Read the lines of files, given as (URL, name), as columns `value` and `file`."""
    return _read(spark, line_reader, files, {"value": "STRING", "file": "STRING"})


def _read(spark: Any, reader: Callable[..., Any], of: Sequence[Any], columns: Mapping[str, str]) -> Any:
    from pyspark.sql.types import StructType

    schema: Any = StructType.fromDDL(", ".join(f"`{name}` {kind}" for name, kind in columns.items()))
    keys = {name: value for name, value in os.environ.items() if name.startswith(_OF_STORES)}
    tasks = min(len(of), max(spark.sparkContext.defaultParallelism * 4, len(of) // 16))
    try:
        from pyspark.sql.pandas.types import to_arrow_schema

        read = reader([tuple(each) for each in of], to_arrow_schema(schema), keys)
        return spark.range(0, len(of), 1, tasks).mapInArrow(read, schema)
    except ImportError as error:  # its message names the library and the version that PySpark requires
        raise MissingExtra(
            f"--engine spark needs more to read {of[0][0].partition('://')[0]}://: "
            f"{str(error).partition(';')[0]}",
            remedy="pip install 'agent-trace[cluster,dataframe]'",
        ) from error


# Nested functions, since Spark sends these as code, not as the name of their module.


def part_reader(pieces: list[tuple[Any, ...]], schema: Any, keys: dict[str, str]) -> Callable[..., Any]:
    """Return a function from batches of piece numbers to batches of these pieces' rows.

    `schema` is the Arrow schema of the rows; `keys` are set as environment variables.
    """

    def read(batches: Iterator[Any]) -> Iterator[Any]:
        import os

        os.environ.update(keys)  # before the import of fsspec, which reads its variables only then
        import pyarrow.parquet  # type: ignore[import-untyped]
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            url, first, of = pieces[number]
            store, path = url_to_fs(url)
            with store.open(path, cache_type="none") as file:
                part = pyarrow.parquet.ParquetFile(file, pre_buffer=True)
                has = set(part.schema_arrow.names) & set(schema.names)
                groups = range(first, part.num_row_groups, of)
                for rows in part.iter_batches(row_groups=groups, columns=list(has)):
                    columns = [
                        rows.column(key.name).cast(key.type)
                        if key.name in has
                        else pyarrow.nulls(len(rows), key.type)
                        for key in schema
                    ]
                    yield pyarrow.RecordBatch.from_arrays(columns, schema=schema)

    return read


def line_reader(files: list[tuple[str, str]], schema: Any, keys: dict[str, str]) -> Callable[..., Any]:
    """Return the same for the lines of files, each line with the name of its file."""

    def read(batches: Iterator[Any]) -> Iterator[Any]:
        import os
        from itertools import islice

        os.environ.update(keys)
        import pyarrow
        from fsspec.core import url_to_fs

        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            url, name = files[number]
            store, path = url_to_fs(url)
            with store.open(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
                while lines := list(islice(file, 4_096)):
                    yield pyarrow.RecordBatch.from_arrays(
                        [[line.rstrip("\n") for line in lines], [name] * len(lines)], schema=schema
                    )

    return read
