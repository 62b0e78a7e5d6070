"""DuckDB over the session's own files and archive: loaded at the first aggregate, closed to all other files.

Every aggregate module asks `Engine.rows`; mirrors are never among the files, damaged lines never in a group.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar, overload

from Agent.analysis.query import views
from Agent.analysis.query.data_files import (
    FORMS,
    KnownSources,
    Pack,
    Sources,
    Standing,
    files_of,
    new_pack,
    parts_of,
    standing_at,
)
from Agent.analysis.query.progress import (
    call_at_exit,
    has_expired,
    in_use,
    interruptible,
    is_ending,
    told_deadline,
)
from Agent.analysis.query.views import LIVE, has_legs, names_files, reads_files, resolve
from Agent.archive.sealed.parts import (
    Spill,
    archive_dir,
    connected,
    cores,
    escaped,
    load_duckdb,
    refuse_what_no_query_names,
)
from Agent.errors import DamagedInput, InputError, MissingExtra, UsageError
from Agent.record.encode.safe_text import cut
from Agent.render.blocks import Cell, Grid, Words
from Agent.render.html import block_html
from Agent.tree.files.lines import MAX_LINE_BYTES, RegularFiles
from Agent.tree.layout import agent_files, agents_dir, open_file
from Agent.tree.retention import nothing_retired

MEMORY_LIMIT = "1GB"
MOST_THREADS = 4
"""Each that reads lines holds two of the longest that may come, 128 MB: with eight nothing would be left."""
_TRIES = 5
_PATIENCE_S = 3.0
# where more files than so many are rolled while a query runs, as many are while it runs again
_FEW = 3
Answer = TypeVar("Answer")


class FilesMoved(InputError):
    """A file of the session went away, or cannot be read."""


class Engine:
    """One in-memory connection with the views of `views` over a session's files.

    Args:
        session: the session's directory.
        list_files: the files to read, asked again with every query that reads any: a session that is being
            recorded rolls its segments, and where a few were while it was read it is read once more.
        archive: whether what is sealed is read from the session's archive, too.
        agent_id: whose rows of the archive are wanted, where not all.
        deadline_s: how long one query may take; None for as long as it takes.

    Raises:
        UsageError: the deadline is no number of seconds.
    """

    def __init__(
        self,
        session: Path,
        list_files: Callable[[], Sequence[Path]],
        *,
        archive: bool = False,
        agent_id: str | None = None,
        deadline_s: float | None = None,
    ) -> None:
        if deadline_s is not None and not _is_deadline(deadline_s):
            raise UsageError(
                f"deadline_s is {deadline_s!r}, not a number of seconds",
                remedy="give a number above 0, or None for no limit",
            )
        self._deadline_s = deadline_s
        self._given = session
        self._session = session.resolve()
        parts = parts_of(session) if archive else None
        self._known = KnownSources(session, list_files, agent_id, parts=parts)
        self._list_files = list_files
        self._sources = Sources()
        self._by_name: dict[Path, Standing] = {}
        self._regular = RegularFiles()
        self._pack: Pack | None = None
        self._spill: Spill | None = None
        self._set: dict[str, list[str]] = {}
        self._connection: Any = None
        self._has_views = False

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to one of this package's own queries, a dict a row; over both forms of lines.

        One over kept tables alone is answered without a look at the files.
        """
        if not reads_files(sql):
            with in_use(self):
                return interruptible(self._open(), lambda: self._dicts(sql, parameters), self._deadline_s)
        return self._settled(lambda: self._dicts(self._resolved(sql), parameters), sql)

    def _dicts(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        cursor = self._execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        # rows are made as they are fetched, from files that may have gone since
        with self._translated(sql):
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def make_table(self, name: str, query: str, parameters: Sequence[Any] = ()) -> None:
        """Keep the rows of a query under a name until `drop_table`, all of them or, where it raises, none."""
        try:
            self.rows(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", parameters)
        except BaseException:
            # a first try may have made it, and the look at the files after it have failed
            self.drop_table(name)
            raise

    def drop_table(self, name: str) -> None:
        """Let go of kept rows, if there are any of that name."""
        if self._connection is not None:
            self.rows(f"DROP TABLE IF EXISTS {name}")

    def _settled(self, fetch: Callable[[], Answer], sql: str = "") -> Answer:
        """The answer over the files as they were listed when it began, none of which went away meanwhile."""
        with in_use(self):
            try:
                with nothing_retired(self._given):
                    return self._tried(fetch, sql)
            except FilesMoved:
                # retention began meanwhile, or files were removed by hand
                with nothing_retired(self._given):
                    return self._tried(fetch, sql)

    def _tried(self, fetch: Callable[[], Answer], sql: str) -> Answer:
        patience_s = time.monotonic() + _PATIENCE_S
        for left in reversed(range(_TRIES)):
            began = self._names_changed_ns()
            self._use_files(sql)
            try:
                answer = interruptible(self._open(), fetch, self._deadline_s)
            except FilesMoved:
                # nothing stands under a live name for the moment of a roll
                if not left or not self._moved():
                    raise
                continue
            # files that came meanwhile do not matter: what is in them happened later
            if self._names_changed_ns() == began or not 0 < self._moved() <= _FEW:
                break
            if time.monotonic() > patience_s:
                break
        return answer

    def _names_changed_ns(self) -> tuple[int, ...]:
        """When a file was last made, renamed or removed in the directories that are read."""
        found = []
        for directory in (self._session, agents_dir(self._session), archive_dir(self._session)):
            try:
                found.append(directory.stat().st_mtime_ns)
            except OSError:
                found.append(-1)  # not there, which is an answer, too
        return tuple(found)

    def _use_files(self, sql: str = "") -> None:
        """Look at the files that are there now; one of this package's own queries tells how they are read."""
        before, found = self._sources, self._known.find()
        connection = self._open()
        packed: frozenset[Path] = frozenset()
        pack = ""
        # which file a line stands in is not known of one that was packed with others
        if sql and self._pack is not None and not names_files(sql):
            packed, pack = self._pack.fill(found.standing, self._list_files), self._pack.path
        is_regular = self._regular.holds if has_legs(sql) else _unknown
        self._sources = found.told_apart(is_regular, packed, pack)
        self._by_name = {path: listed for path, listed in found.standing.items() if path not in packed}
        if before.statement != self._sources.statement:
            self._has_views = False
        for form in FORMS:
            self._name(connection, form, list(getattr(self._sources, form)))

    def _name(self, connection: Any, variable: str, files: list[str]) -> None:
        if self._set.get(variable) != files:
            connection.execute(f"SET VARIABLE {variable} = ?", [files])
            self._set[variable] = files

    def _moved(self) -> int:
        """How many names stand for another file by now, or for none: who read by name may have missed it."""
        return sum(
            (now := standing_at(path)) is None or now.inode != listed.inode
            for path, listed in self._by_name.items()
        )

    def _resolved(self, sql: str) -> str:
        sources = self._sources
        return resolve(sql, sources.forms, sources.only, uniform=sources.uniform)

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """The answer to a query that has exactly one row."""
        return self.rows(sql, parameters)[0]

    def user_columns(self, query: str) -> dict[str, str]:
        """The columns of the answer and their types in SQL; one that comes twice is numbered."""
        self._check(query)
        asked = columns_of(query)

        def fetch() -> list[tuple[Any, ...]]:
            self._with_views()
            cursor = self._execute(asked, ())
            return list(cursor.description if asked == query else cursor.fetchall())

        found: dict[str, str] = {}
        for name, sql_type, *_ in self._settled(fetch):
            number = sum(known == name or known.startswith(f"{name}:") for known in found)
            found[f"{name}:{number}" if name in found else name] = str(sql_type)
        return found

    def user_tuples(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a person's query in the order of its columns."""
        self._check(query)
        return self._settled(lambda: self._fetched(query, lambda cursor: cursor.fetchall()))

    def user_batches(self, query: str, rows: int, most: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """The same or the first of them, so many at a time, in flat memory; FilesMoved if they were pruned.

        Nothing else can be asked until the last batch was taken.
        """
        self._check(query)
        with in_use(self), nothing_retired(self._given):
            self._use_files()
            self._with_views()
            asked = query if most is None else first_of(self._connection, query, most)
            cursor = interruptible(self._connection, lambda: self._execute(asked, ()), self._deadline_s)
            fetch = partial(self._next, cursor, query, rows)
            while batch := interruptible(self._connection, fetch, self._deadline_s):
                yield batch

    def user_frame(self, query: str) -> Any:
        """The same as a pandas DataFrame; MissingExtra without pandas."""
        _need("pandas", "a data frame", "dataframe")
        self._check(query)
        return self._settled(lambda: self._fetched(query, lambda cursor: cursor.df()))

    def user_arrow(self, query: str) -> Any:
        """The same as a `pyarrow.Table`; MissingExtra without pyarrow."""
        _need("pyarrow", "an Arrow table", "dataframe")
        self._check(query)
        return self._settled(lambda: self._arrow_table(query))

    def _arrow_table(self, query: str) -> Any:
        self._with_views()
        # a relation is only made where no earlier answer is half read
        self._execute("SELECT 1", ()).fetchall()
        with self._translated(query):
            relation = self._open().sql(query)
            # under its older name before version 2
            return getattr(relation, "to_arrow_table", relation.arrow)()

    def _fetched(self, query: str, fetch: Callable[[Any], Answer]) -> Answer:
        # those of another form see nothing of what was sealed since the query was checked
        self._with_views()
        cursor = self._execute(query, ())
        with self._translated(query):
            return fetch(cursor)

    def _next(self, cursor: Any, query: str, rows: int) -> list[tuple[Any, ...]]:
        with self._translated(query):
            found: list[tuple[Any, ...]] = cursor.fetchmany(rows)
            return found

    def damaged_lines(self) -> dict[str, int]:
        """How many lines of each file are no event; files without any are left out."""
        self._use_files()
        found = self.damaged_in_archive
        if self._sources.live:
            rows = self.rows(views.damaged_lines())
            found |= {row["filename"]: row["lines"] + found.get(row["filename"], 0) for row in rows}
        return dict(sorted(found.items()))

    @property
    def damaged_in_archive(self) -> dict[str, int]:
        """The same of what is sealed, as far as the last question saw it."""
        return dict(self._sources.damaged)

    def interrupt(self) -> None:
        """Stop what the connection does."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        """Let go of the connection; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._has_views = False
            self._set = {}
        if self._spill is not None:
            self._spill.close()
            self._spill = None
        if self._pack is not None:
            self._pack.close()
            self._pack = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, query: str) -> None:
        connection = self._settled(self._with_views)
        import duckdb

        try:
            with in_use(self):
                check_reads_only(connection, query)
        except duckdb.Error as error:
            if is_ending():
                raise SystemExit from None
            raise _bad_query(error, query) from None

    def _execute(self, sql: str, parameters: Sequence[Any]) -> Any:
        connection = self._open()
        with self._translated(sql):
            return connection.execute(sql, list(parameters))

    @contextmanager
    def _translated(self, sql: str) -> Iterator[None]:
        """Errors of DuckDB as those of this package."""
        import duckdb  # opening has said clearly if it is missing

        try:
            yield
        except duckdb.IOException as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise InputError(
                    f"there is no room for what the query sorts: {_first_line(error)}",
                    path=self._session,
                    remedy="free disk space, or ask for fewer columns or rows",
                ) from error
            raise FilesMoved(
                f"the session's files cannot be read: {_first_line(error)}",
                path=self._session,
                remedy="if it is being pruned, repeat the query",
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"the query needs more memory than the limit of {MEMORY_LIMIT}",
                path=self._session,
                remedy="ask for fewer columns or rows, or aggregate",
            ) from error
        except MemoryError as error:
            raise InputError(
                "the answer does not fit into memory",
                path=self._session,
                remedy="ask for fewer columns or rows, or aggregate",
            ) from error
        except duckdb.InterruptException as error:
            if is_ending():
                raise SystemExit from None  # in a thread that ends with the interpreter
            if has_expired():
                raise InputError(
                    f"the query took longer than its {told_deadline()}",
                    path=self._session,
                    remedy="query less, or allow more time",
                ) from error
            raise _bad_query(error, sql) from error
        except duckdb.Error as error:
            if is_ending():
                raise SystemExit from None  # interrupted, in a thread that ends with the interpreter
            if (long := _LONG_LINE.search(str(error))) is not None:
                raise _too_long(Path(long[1])) from error
            if not self._session.is_dir():
                raise FilesMoved(f"the session is gone: {_first_line(error)}", path=self._session) from error
            raise _bad_query(error, sql) from error

    def _open(self) -> Any:
        if self._connection is not None:
            return self._connection
        duckdb = load_duckdb("an aggregate")
        refuse_what_no_query_names(self._session)
        self._spill = Spill(self._session)
        connection = connected(duckdb, self._spill, MEMORY_LIMIT, min(cores(), MOST_THREADS))
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET VARIABLE session = ?", [f"{self._session}/"])
        # Known to whoever listens, not written to the terminal by the engine itself. In Jupyter the engine
        # refuses it without ipywidgets: queries then run without progress.
        with contextlib.suppress(duckdb.InvalidInputException):
            connection.execute("SET enable_progress_bar = true")
            connection.execute("SET enable_progress_bar_print = false")
        # From here on nothing but this session's files can be opened, whatever a query says.
        # The escaped form is what a pattern is checked against, the plain one what it matches.
        allowed = [str(self._session), escaped(str(self._session))]
        connection.execute("SET allowed_directories = [?, ?]", allowed)
        self._pack = new_pack(self._session / ".state")
        if self._pack is not None:
            connection.execute("SET allowed_paths = [?]", [self._pack.path])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        self._connection = connection
        if not _engines:
            call_at_exit(_close_all)
        _engines.add(self)
        return connection

    def _with_views(self) -> Any:
        """The connection, with the views that only a person's query needs."""
        connection = self._open()
        if not self._has_views:
            if self._pack is not None:
                # a view is bound when it is made, here to a file that cannot go away
                self._name(connection, LIVE, [self._pack.path])
            for statement in views.statements():
                self._execute(self._resolved(statement), ())
            self._name(connection, LIVE, list(self._sources.live))
            self._has_views = True
        return connection


def _is_deadline(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value <= threading.TIMEOUT_MAX


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Every engine that opened a connection: one still open when the interpreter ends makes pages of noise."""


def _close_all() -> None:
    for engine in list(_engines):
        engine.close()


def open_engine(session: Path, agent_id: str | None = None, deadline_s: float | None = None) -> Engine:
    """An engine over everything a session holds, live and sealed, or over one agent's files alone."""
    if agent_id is None:
        return Engine(session, files_of(session).read, archive=True, deadline_s=deadline_s)
    files = partial(agent_files, session, agent_id)
    return Engine(session, files, archive=True, agent_id=agent_id, deadline_s=deadline_s)


def _unknown(_path: Path, _listed: Standing) -> bool:
    """Nobody looked, so every line is looked at."""
    return False


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bad_query(error: Exception, query: str) -> UsageError:
    return UsageError(
        f"the query failed: {told(error, query)}",
        remedy=f"the views are {', '.join(views.names())}",
    )


_LONG_LINE: Final = re.compile(r'"maximum_object_size" of .* reading file "(.*)" \(')


def _too_long(path: Path) -> DamagedInput:
    """What is said of a file with a line that the engine has no room for; recording writes none."""
    number, size_bytes = 1, 0
    with contextlib.suppress(OSError), os.fdopen(open_file(path)[0], "rb") as file:
        while size_bytes <= MAX_LINE_BYTES and (data := file.readline(1 << 20)):
            size_bytes += len(data)
            if data.endswith(b"\n"):
                number, size_bytes = number + 1, 0
    return DamagedInput(
        f"a line is longer than {MAX_LINE_BYTES >> 20} MiB, which no event is, and SQL cannot pass over it",
        path=path,
        line=number,
        remedy="remove that line; `verify` and `tail` read the file as it is",
    )


def _need(module: str, what: str, extra: str) -> None:
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingExtra(
            f"{what} needs {module}",
            remedy=f"pip install 'agent-trace[{extra}]', or use sql() for plain rows",
        )


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


_READING_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(?:ANALYZE\b|\([^()]*\))?", re.IGNORECASE)
_DESCRIBES: Final = re.compile(r"\s*(?:EXPLAIN|DESCRIBE|DESC|SUMMARIZE|SHOW)\b", re.IGNORECASE)
_DESCRIBE: Final = "DESCRIBE\n"
_PLACE: Final = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
_HINTS: Final = ("Did you mean", "Candidate bindings:")


# DuckDB writes from inside statements that begin like a question (`WITH x AS (COPY ...) SELECT`, `EXPLAIN
# ANALYZE COPY`), so what is let through is known node by node.
def check_reads_only(connection: Any, query: str) -> None:
    """Refuse everything but one statement that reads.

    Raises:
        UsageError: it writes, sets, loads or is more than one statement.
        duckdb.Error: it is no SQL.
    """
    import orjson

    statements = connection.extract_statements(query)
    kinds = [statement.type.name for statement in statements]
    inner = query
    if kinds == ["EXPLAIN"]:
        inner = query[found.end() :] if (found := _EXPLAIN.match(query)) else ""
        kinds = [statement.type.name for statement in connection.extract_statements(inner)]
    if kinds == ["SELECT"]:
        # only what reads can be serialised, and the tree names what stands inside
        text = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [inner]).fetchone()[0]
        tree = orjson.loads(text)
        if not tree["error"] and _nodes(tree) <= _READING_NODES:
            return
    if kinds == ["SELECT"]:
        kinds = ["one that writes"]
    what = "nothing" if not kinds else "several" if len(kinds) > 1 else kinds[0].replace("_", " ")
    raise UsageError(
        f"only a single reading statement is allowed, this is {what}",
        remedy="write SELECT ... FROM events, and see the views with agent-trace sql --schema",
    )


def columns_of(query: str) -> str:
    """A statement whose rows are the columns of another; that itself, where it describes already."""
    return query if _DESCRIBES.match(query) else _DESCRIBE + query


def first_of(connection: Any, query: str, rows: int) -> str:
    """A statement for the first rows of an answer alone, so that of an order no more is kept."""
    if _DESCRIBES.match(query):
        return query
    # on lines of its own, since a comment may stand at its end
    whole = query.rstrip().rstrip(";")
    limited = f"SELECT * FROM (\n{whole}\n) LIMIT {rows}"
    import duckdb

    try:
        connection.extract_statements(limited)
    except duckdb.Error:
        return query  # it cannot stand in brackets, such as with a comment behind its semicolon
    return limited


def _nodes(tree: Any) -> set[str]:
    """The kinds of queries in a serialised statement, at any depth."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE"):
                found.add(kind)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def told(error: Exception, query: str) -> str:
    """What DuckDB says about a query, as one clause with the place: its first line, hint, line and column."""
    text, lines = str(error), query.splitlines()
    first, _, rest = text.partition("\n")
    first = re.sub(r"^[A-Z]\w*(?: \w+)* Error: ", "", first).rstrip(".!")
    if "pytz" in first:
        return "a time with a zone needs pytz to be shown; write (x AT TIME ZONE 'UTC')"
    parts = [first[:1].lower() + first[1:] if first[1:2].islower() else first]
    place = _PLACE.search(text)
    if place is not None:
        line, column = int(place[1]), len(place[3]) - len(f"LINE {place[1]}: ") + 1
        shown = place[2]
        whole = lines[line - 1] if line <= len(lines) else ""
        if shown.startswith("...") and (at := whole.find(shown.strip("."))) >= 0:
            column += at - 3  # a long line is shown from its middle on
        line -= query.startswith(_DESCRIBE)
        parts.append(f"at line {line}, column {column}")
    hint = [line.strip() for line in rest.splitlines() if line.startswith(_HINTS)][:1]
    return " ".join(parts + [f"({line[:1].lower()}{line[1:]})" for line in hint])


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


def _shown(value: object) -> object:
    return Cell("null", "soft") if value is None else cut(str(value), _SHOWN_CHARS)
