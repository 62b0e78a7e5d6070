"""Run the same queries over many sealed sessions with Spark, on this machine or on a cluster.

`SparkEngine` is a `QueryEngine`. It derives the columns of a query from the rows of the archives. PySpark is
in the extra `cluster`, and needs Java. The archives in an object store for which Spark has no Hadoop library
are read by the executors through fsspec: an executor then needs pyarrow, fsspec and fsspec's library for the
store, but not this package, since Spark sends it the code of the reading functions.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple

from Agent.analysis.query import views
from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.trees import RemoteTree, Trees, remote_trees
from Agent.analysis.query.user_queries import action_states, named_columns
from Agent.analysis.query.views import ROWS, ROWS_ASKED, has_legs, resolve, scan, worded
from Agent.archive.sealed.parquet_rows import (
    ENVELOPE,
    HAS_TIME,
    NO_KIND,
    flat_keys,
    literal,
    payload_columns,
    promoted_columns,
    quoted_name,
)
from Agent.archive.sealed.parts import Part
from Agent.errors import InputError, MissingExtra, UsageError
from Agent.event.clock import EVENT_TIME
from Agent.event.codec import CURRENT_SCHEMA

_OBJECT: Final = "concat('{{', array_join(transform({entries}, e -> concat({key}, ':', {value})), ','), '}}')"
"""A JSON object of entries whose values are JSON; a VARIANT would reorder the keys inside these values."""
_QUOTED: Final = "substr(to_json(array({0})), 2, length(to_json(array({0}))) - 2)"
_MEMBER: Final = (
    "element_at(transform(array(to_json({found})), v -> CASE WHEN v LIKE '{{%' OR v LIKE '[%' "
    "THEN try_element_at(from_json({text}, 'map<string,string>'), {name}) ELSE v END), 1)"
)
"""The JSON of a member: the original text of an object or a list, the VARIANT's text of other values."""
WORDS: Final = {
    "total": "sum", "about": "percentile_approx", "div": "div", "every": "1", "first": "slice",
    "wide": "DECIMAL(38, 0)", "each": "explode", "keys": "json_object_keys", "as_json": "",
    "object": _OBJECT.format(
        entries="array_sort(collect_list(struct(field, value)) FILTER (WHERE value IS NOT NULL))",
        key=_QUOTED.format("e.field"),
        value="e.value",
    ),
}  # fmt: skip
"""Spark's form of each placeholder in a query."""
_FUNCTIONS: Final = (
    "is_json_object(value STRING) RETURNS BOOLEAN RETURN json_object_keys(value) IS NOT NULL",
    "json_member(value STRING, name STRING) RETURNS STRING "
    "RETURN try_element_at(from_json(value, 'map<string,string>'), name)",
    "json_part(value STRING, name STRING) RETURNS STRING RETURN "
    + _MEMBER.format(
        found="try_element_at(CAST(try_parse_json(value) AS MAP<STRING, VARIANT>), name)",
        text="value",
        name="name",
    ),
    "json_texts(value STRING) RETURNS ARRAY<STRING> "
    "RETURN CASE WHEN value LIKE '[%' THEN from_json(value, 'array<string>') END",
)
_SETTINGS: Final = {
    "spark.app.name": "agent-trace",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.runSQLOnFiles": "false",  # a query reads these sessions and no other file
    "spark.sql.parquet.filterPushdown": "true",
}
_BASE: Final = "trace_rows"
_ON_THIS_MACHINE: Final = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
_LOCAL: Final = re.compile(r"local(-cluster)?\[.*\]|local")
_REMEDIES: Final = (
    (
        re.compile(r"Class org\.apache\.hadoop\.fs\.\S+ not found|No FileSystem for scheme"),
        "add the store's library to Spark, such as org.apache.hadoop:hadoop-aws of Spark's own Hadoop "
        "version, with spark.jars.packages in its spark-defaults.conf; or use s3://, which s3fs reads",
    ),
    (
        re.compile(r"No module named|has no attribute|ImportError"),
        "install pyarrow and the store's library, such as s3fs, in the executors' Python, which is that of "
        "PYSPARK_PYTHON",
    ),
)
"""The remedies for errors, by pattern in the first line."""
_AGAIN: Final = "repeat the query; if a part is damaged, agent-trace verify names it"
_NUMBERED: Final = re.compile(r"\$([0-9]+)")
"""A numbered parameter; Spark's parameters have names."""
DEFAULT_MASTER: Final = "local[*]"
_REFUSED: Final = re.compile(r"\b(CallMethodViaReflection|TryReflect|ScriptTransformation)\b")
"""The nodes in Spark's plans that could run other programs."""
_SQL_TYPES: Final = {
    "BIGINT": "BIGINT", "DOUBLE": "DOUBLE", "BOOLEAN": "BOOLEAN", "VARCHAR": "STRING", "JSON": "STRING",
    "VARCHAR[]": "ARRAY<STRING>",
}  # fmt: skip


class SparkEngine(QueryEngine):
    """A Spark session over sealed sessions; `close` ends it.

    Args:
        trees: the sessions.
        master: where it runs: `local[*]`, `spark://HOST:PORT`, `yarn`, `k8s://...`.
        settings: further settings of Spark, which take precedence.

    Raises:
        MissingExtra: pyspark or Java is missing.
        InputError: Spark does not start, or cannot read the archives.
    """

    def __init__(
        self, trees: Trees, master: str | None = None, settings: dict[str, str] | None = None
    ) -> None:
        self._spark = _started(master or DEFAULT_MASTER, settings or {})
        self._kept: dict[str, list[Any]] = {}
        self.remote: Sequence[RemoteTree] = ()
        self._has_views = False
        self._columns = _columns()
        try:
            with _translated(None):
                for function in _FUNCTIONS:
                    self._spark.sql(f"CREATE OR REPLACE TEMPORARY FUNCTION {function}")
                self._base(trees).createOrReplaceTempView(_BASE)
        except BaseException:
            self.close()
            raise

    def _base(self, trees: Trees) -> Any:
        """The events of all sessions, with a column for each key."""
        fitting: list[str] = []
        frames: list[Any] = []
        promoted = promoted_columns()
        for tree in trees.local:
            for part in tree.parts:
                path = str(part.parquet)
                if dict(part.promoted) == promoted and not tree.sources.only:
                    fitting.append(path)
                    continue
                rows = self._read([path])
                if tree.sources.only:
                    rows = rows.selectExpr("*", f"{literal(path)} AS filename").where(tree.sources.only)
                frames.append(_stored(rows, dict(part.promoted)))
            if tree.run_files:
                frames.append(_stored(self._lines(list(map(str, tree.run_files)), tree.session), {}))
        by_hadoop = [url for url in trees.remote if hadoop_reads(self._spark, url)]
        self.remote = remote_trees(url for url in trees.remote if url not in by_hadoop)
        frames += self._of_stores()
        remote = [f"{url.rstrip('/')}/archive/*.parquet" for url in by_hadoop]
        read = [self._read(places) for places in (fitting, *([url] for url in remote)) if places]
        return reduce(
            lambda one, other: one.unionByName(other), [_stored(r, promoted) for r in read] + frames
        )

    def _of_stores(self) -> Iterator[Any]:
        """Yield the events of sessions in object stores: of current archives, older ones, and runs."""
        archived: list[tuple[str, Part]] = []
        older: list[tuple[str, Part]] = []
        lines: list[tuple[str, str]] = []
        for tree in self.remote:
            for part in tree.parts:
                is_now = dict(part.promoted) == promoted_columns()
                (archived if is_now else older).append((f"{tree.url}/archive/{part.name}.parquet", part))
            lines += [(f"{tree.url}/{name}", name) for name in tree.run_files]
        for parts, promoted in ((archived, promoted_columns()), (older, {})):
            if parts:
                yield _stored(part_rows(self._spark, pieces_of(parts), _IN_ARCHIVES), promoted)
        if lines:
            yield _stored(_of_lines(text_rows(self._spark, lines)), {})

    def _read(self, places: list[str]) -> Any:
        # the columns of parts may differ by version
        return self._spark.read.parquet(*(_as_url(place) for place in places))

    def _lines(self, places: list[str], session: Path) -> Any:
        """The JSON lines of runs as rows of an archive that contains only lines."""
        text = self._spark.read.text([_as_url(place) for place in places])
        start = len(f"file://{session}/") + 1
        return _of_lines(
            text.selectExpr("value", f"substr(url_decode(_metadata.file_path), {start}) AS file")
        )

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run one of this package's queries; return a dict for each row."""
        with _translated(sql):
            return [row.asDict() for row in self._frame(sql, parameters).collect()]

    def _frame(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        text = resolve(sql, (ROWS,)) if has_legs(sql) else sql
        text = ROWS_ASKED.sub(lambda asked: self._rows_of(asked[1].split()), text)
        # in a string literal of Spark, a backslash begins an escape
        statement = worded(text, WORDS).replace("\\", "\\\\")
        if "$1" in statement and parameters:
            named = {f"p{number}": value for number, value in enumerate(parameters, 1)}
            return self._spark.sql(_NUMBERED.sub(r":p\1", statement), args=named)
        return self._spark.sql(statement, args=list(parameters) or None)

    def _rows_of(self, names: list[str]) -> str:
        """The sub-query of a scan."""
        columns = (f"{self._columns[name]} AS {quoted_name(name)}" for name in names)
        return f"SELECT {', '.join(columns)} FROM {_BASE}"

    def keep(self, name: str, query: str, parameters: Sequence[Any] = (), *, derived: bool = False) -> bool:
        """Keep the rows of a query as a table in the cluster's memory or on its disks, without a limit."""
        with _translated(query):
            frame = self._frame(f"SELECT * FROM {query}", parameters).persist()
            shown = self._without_plan(frame) if derived else frame
            shown.createOrReplaceTempView(name)
        # an earlier table of this name is released together with this one, whose rows may depend on it
        self._kept.setdefault(name, []).append(frame)
        return True

    def _without_plan(self, frame: Any) -> Any:
        """Return the rows of a kept frame as a table without a plan.

        A plan contains the plans of its tables, so if each round derives a table from itself, the plan
        doubles in each round. Lost rows can still be recomputed.
        """
        from pyspark.sql.classic.dataframe import DataFrame

        java_frame = frame._jdf  # noqa: SLF001 - PySpark has no name for it
        session = self._spark._jsparkSession  # noqa: SLF001
        return DataFrame(
            session.internalCreateDataFrame(java_frame.queryExecution().toRdd(), java_frame.schema(), False),
            self._spark,
        )

    def drop_table(self, name: str) -> None:
        """Drop a kept table, if it exists."""
        if frames := self._kept.pop(name, None):
            with _translated(None):
                self._spark.catalog.dropTempView(name)
                for frame in frames:
                    frame.unpersist()

    def ends_us(self) -> tuple[int, int] | None:
        """The times of the first and the last event; None without events."""
        row = self.row(f"SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}")
        return None if row["first_us"] is None else (row["first_us"], row["last_us"])

    # a user's query

    def user_columns(self, query: str) -> dict[str, str]:
        """The columns of a user's query with Spark's types; duplicate names get a number."""
        return named_columns((name, sql_type.upper()) for name, sql_type in self._asked(query).dtypes)

    def user_tuples(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a user's query as tuples."""
        with _translated(query):
            return [_plain(row) for row in self._asked(query).collect()]

    def user_batches(self, query: str, rows: int, most: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of `rows` rows, at most `most` in all; one partition is in memory at a time."""
        frame = self._asked(query) if most is None else self._asked(query).limit(most)
        batch: list[tuple[Any, ...]] = []
        with _translated(query):
            for row in frame.toLocalIterator():
                batch.append(_plain(row))
                if len(batch) == rows:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _asked(self, query: str) -> Any:
        """The rows of a user's query; UsageError if it does not only read the views."""
        if not self._has_views:
            with _translated(None):
                for statement in (*views.statements(), action_states()):
                    self._frame(statement)
            self._has_views = True
        # as a sub-query, so that a statement that is not a query does not parse
        text = query.rstrip().rstrip(";")
        with _translated(query):
            frame = self._spark.sql(f"SELECT * FROM (\n{text}\n)")
            plan = frame._jdf.queryExecution().analyzed().toJSON()  # noqa: SLF001 - the only way to it
        if (refused := _REFUSED.search(plan)) is not None:
            raise UsageError(
                f"a query only reads; this one would run another program ({refused[1]})",
                remedy="write SELECT ... FROM events, and see the views with agent-trace sql --schema",
            )
        return frame

    def close(self) -> None:
        """End Spark's session, and its processes on this machine."""
        spark, self._spark = self._spark, None
        if spark is not None:
            _stop(spark)


def _as_url(path: str) -> str:
    """A path or URL for Spark: paths become file URLs with escaped wildcards."""
    return path if "://" in path else Path(path).as_uri()


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(value.asDict(recursive=True) if hasattr(value, "asDict") else value for value in row)


_OWN: Final = {name: kind for name, kind in ENVELOPE.items() if name not in {"timestamp", "id", "type"}} | {
    "extra": "VARCHAR",
    "agent_role": "VARCHAR",
}
"""The columns of an archive, without those for the order, the agent and the kind."""
_IN_ARCHIVES: Final = {
    name: _SQL_TYPES.get(kind, kind)
    for name, kind in {
        "session_uid": "VARCHAR", "file": "VARCHAR", "raw": "BINARY", "ts_us": "BIGINT", "writer": "VARCHAR",
        "seq": "BIGINT", "agent_id": "VARCHAR", "event_type": "VARCHAR", **_OWN, **promoted_columns(),
    }.items()
}  # fmt: skip
"""All columns of an archive that are read, with Spark's types."""


def _of_lines(text: Any) -> Any:
    """JSON lines with the columns `value` and `file` as rows of an archive that contains only lines."""
    return text.selectExpr(
        "value AS text",
        "file",
        *(f"CAST(NULL AS {_SQL_TYPES[kind]}) AS {quoted_name(name)}" for name, kind in _OWN.items()),
        "unix_micros(try_cast(get_json_object(value, '$.timestamp') AS TIMESTAMP)) AS ts_us",
        "substr(get_json_object(value, '$.id'), 1, 8) AS writer",
        "try_cast(substr(get_json_object(value, '$.id'), 10) AS BIGINT) AS seq",
        "coalesce(get_json_object(value, '$.agent_id'), get_json_object(value, '$.extra.agent_id')) "
        "AS agent_id",
        f"coalesce(get_json_object(value, '$.type'), get_json_object(value, '$.extra.event_type'), "
        f"'{NO_KIND}') AS event_type",
    ).where(
        f"get_json_object(text, '$.timestamp') RLIKE '^({EVENT_TIME})$' AND "
        f"{HAS_TIME} AND seq IS NOT NULL AND "
        f"try_cast(get_json_object(text, '$.schema_version') AS BIGINT) BETWEEN 1 AND {CURRENT_SCHEMA}"
    )


def _stored(rows: Any, promoted: Collection[str]) -> Any:
    """The events of archive rows as `_COLUMNS` expects them.

    A row has either its columns or its line as bytes, from which they are read: `text` is that line,
    `payload` the payload, and `parsed` whether to read promoted keys from it.
    """
    has = set(rows.columns)
    text = "text" if "text" in has else "CAST(raw AS STRING)"
    columns = {"text": text, "payload": f"coalesce(extra, get_json_object({text}, '$.extra'))"}
    # a store that Hadoop reads has no descriptions of its parts, which may be of an older version
    is_now = set(promoted_columns()) <= has.intersection(promoted)
    columns |= {"parsed": f"{text} IS NOT NULL" if is_now else "true"}
    columns |= {name: name for name in ("file", "ts_us", "writer", "seq", "agent_id", "event_type")}
    for name, kind in {"session_uid": "VARCHAR", **_OWN, **promoted_columns()}.items():
        columns[name] = quoted_name(name) if name in has else f"CAST(NULL AS {_SQL_TYPES[kind]})"
    del columns["extra"]
    made = (f"{made} AS {quoted_name(name)}" for name, made in columns.items())
    return rows.where("event_type IS NOT NULL").selectExpr(*made)


def _columns() -> dict[str, str]:
    """The columns of all scans as expressions over the rows of `_stored`."""
    columns = {name: name for name in ("ts_us", "writer", "seq", "event_type", "agent_id")}
    columns |= {
        "timestamp": "concat(date_format(timestamp_micros(ts_us), 'yyyy-MM-dd'), 'T', "
        "date_format(timestamp_micros(ts_us), 'HH:mm:ss.SSSSSS'), 'Z')",
        "id": "concat(writer, '-', CAST(seq AS STRING))",
        "filename": "file",
    }
    for name, kind in ENVELOPE.items():
        if name not in columns and name != "type":
            columns[name] = f"coalesce({name}, {_of_json('text', name, kind)})"
    columns["level"] = f"coalesce({columns['level']}, 'INFO')"
    columns["state"] = f"CASE WHEN {columns['state']} LIKE '{{%' THEN {columns['state']} END"
    for name, kind in payload_columns().items():
        if name in columns:
            continue
        read = _of_json("payload", name, kind)
        if name in flat_keys():
            read = f"coalesce({read}, {_of_json('text', name, kind)})"
        if name in promoted_columns() or name in _OWN:
            read = f"coalesce({quoted_name(name)}, CASE WHEN parsed THEN {read} END)"
        columns[name] = read
    flat = " OR ".join(f"k = '{name}'" for name in sorted(flat_keys()))
    flat_members = _OBJECT.format(
        entries="map_entries(map_filter("
        f"CAST(try_parse_json(text) AS MAP<STRING, VARIANT>), (k, v) -> {flat}))",
        key=_QUOTED.format("e.key"),
        value=_MEMBER.format(found="e.value", text="text", name="e.key"),
    )
    return columns | {
        "is_flat": "payload IS NULL",
        "extra": f"coalesce(payload, {flat_members})",
    }


def _of_json(text: str, name: str, kind: str) -> str:
    """A key of a JSON object in one of the types of this package."""
    member = f"get_json_object({text}, '$.{name}')"
    if kind == "VARCHAR[]":
        return f"from_json({member}, 'array<string>')"
    if kind == "BIGINT":
        return f"coalesce(try_cast({member} AS BIGINT), try_cast(try_cast({member} AS DOUBLE) AS BIGINT))"
    return member if _SQL_TYPES[kind] == "STRING" else f"try_cast({member} AS {_SQL_TYPES[kind]})"


_NO_JAVA: Final = "install Java 17 or newer, for example with apt install default-jre-headless"


def _started(master: str, settings: dict[str, str]) -> Any:
    """Start Spark; its messages go to a file that is removed."""
    # a warning about pandas, which is not used here
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    try:
        from pyspark import SparkConf, SparkContext
        from pyspark.errors import PySparkException
        from pyspark.java_gateway import launch_gateway
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingExtra(
            "--engine spark needs pyspark", remedy="pip install 'agent-trace[cluster]'"
        ) from error
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise MissingExtra("--engine spark needs Java, which is not on the PATH", remedy=_NO_JAVA)
    local = _ON_THIS_MACHINE if _LOCAL.fullmatch(master) else {}
    conf = SparkConf().setMaster(master).setAll(list((_SETTINGS | local | settings).items()))
    with tempfile.TemporaryFile() as output:
        try:
            launch: Any = launch_gateway
            gateway = launch(conf, popen_kwargs={"stderr": output, "stdout": output})
            context = SparkContext(conf=conf, gateway=gateway)
        except (PySparkException, OSError, RuntimeError) as error:
            raise InputError(f"Spark does not start: {_why(output, error)}", remedy=_NO_JAVA) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "py4j":
                raise
            raise InputError(
                f"Spark does not start at {master}: {_first_line(error)}",
                remedy="check --master, and that this machine can reach it",
            ) from error
    if local and "PYSPARK_PYTHON" not in os.environ:
        context.pythonExec = sys.executable  # the first python3 on the PATH may lack the libraries
    context.setLogLevel("OFF")
    # it would print every error of a query to stderr
    logging.getLogger("SQLQueryContextLogger").disabled = True
    return SparkSession(context)


def _why(output: Any, error: Exception) -> str:
    output.seek(0)
    lines = [line.strip() for line in output.read().decode("utf-8", "replace").splitlines()]
    named = [line for line in lines if "Exception" in line or "Error" in line]
    return str((named or [_first_line(error)])[0][:300])


def _stop(spark: Any) -> None:
    """Stop Spark, its Java process and the connection to it, so that another can be started."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway  # noqa: SLF001 - which PySpark keeps for ever
    spark.stop()
    if gateway is not None:
        gateway.shutdown()
        if (process := getattr(gateway, "proc", None)) is not None:
            process.stdin.close()
            process.wait()
    SparkContext._gateway = SparkContext._jvm = None  # noqa: SLF001


def _first_line(error: Exception) -> str:
    """The first line of Spark's message about an error."""
    text = str(error).strip()
    java = getattr(error, "java_exception", None)
    if java is not None:
        text = str(java.getMessage() or java.toString())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("An error occurred")]
    # the traceback of an executor's Python ends with the error
    if "Traceback (most recent call last):" in lines:
        lines = [line for line in lines if not line.startswith((" ", "\t"))][-1:]
    return str(lines[0][:300]) if lines else type(error).__name__


@contextmanager
def _translated(query: str | None) -> Iterator[None]:
    """Translate Spark's errors into those of this package."""
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, ParseException, PySparkException

    try:
        yield
    except (ParseException, AnalysisException) as error:
        if query is None:
            raise InputError(f"the archives cannot be read: {_first_line(error)}") from error
        raise UsageError(
            f"the query failed: {_first_line(error)}",
            remedy=f"the views are {', '.join(SparkEngine.view_names())}",
        ) from error
    except (PySparkException, Py4JError) as error:
        first = _first_line(error)
        remedies = (remedy for pattern, remedy in _REMEDIES if pattern.search(first))
        raise InputError(f"Spark failed: {first}", remedy=next(remedies, _AGAIN)) from error


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
