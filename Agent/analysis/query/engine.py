"""Run SQL over a session's files and archive with DuckDB, which is loaded by the first query.

All aggregate modules use `Engine.rows`. The engine can open no files outside the session; mirrors are never
read, and damaged lines never count.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
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
from typing import TYPE_CHECKING, Any, Final, TypeVar

from Agent.analysis.query import views
from Agent.analysis.query.data_files import (
    PATTERNS,
    KnownSources,
    Sources,
    files_of,
    standing_at,
)
from Agent.analysis.query.kept import MAX_ROWS, QueryEngine, needed
from Agent.analysis.query.progress import (
    call_at_exit,
    has_expired,
    in_use,
    interruptible,
    is_ending,
    shown_deadline,
)
from Agent.analysis.query.user_queries import (
    action_states,
    check_reads_only,
    columns_of,
    error_clause,
    first_of,
    named_columns,
    words_of,
)
from Agent.analysis.query.views import LINES_ASKED, MACROS, asked_in, reads_files, resolve, scan, worded
from Agent.archive.sealed.duckdb_module import load_duckdb, numbers_of
from Agent.archive.sealed.parts import OF_PART, archive_dir, escaped, file_digest, read_parts
from Agent.archive.sealed.reader import (
    Spill,
    connected,
    cores,
    parts_of,
    refuse_non_utf8_path,
)
from Agent.errors import DamagedInput, InputError, UsageError
from Agent.event.codec import CURRENT_SCHEMA
from Agent.tree.files.lines import MAX_LINE_BYTES
from Agent.tree.layout import agent_files, agents_dir, open_file
from Agent.tree.retention import nothing_retired

if TYPE_CHECKING:
    from Agent.analysis.query.trees import RemoteTree, SealedSources, SealedTree

MEMORY_LIMIT = "1GB"
_PURPOSE: Final = "an aggregate"
MOST_THREADS = 4
"""Each thread that reads lines holds two buffers of the longest line, 128 MB; 8 would use all memory."""
_SMALL_BYTES: Final = 128 << 20
"""Less is read by one thread: a second one costs a tenth more processor time, and saves hardly any time."""
_DESCRIBED_BYTES: Final = 8 << 30
"""Of less, the engine keeps what describes the columns of the archive, 6 KB for each MB of lines; to read it
takes each query 1 ms for each part."""
_TRIES = 5
_PATIENCE_S = 3.0
_FEW = 3  # if more files are rolled during a query, as many will be during the next try
Answer = TypeVar("Answer")

Files: type[_columns.Files] | None
try:
    from Agent.analysis.query import _columns

    Files = _columns.Files
except ImportError:  # not compiled: use DuckDB's own reader, which takes two to three times as long
    Files = None

_OLDEST_WITH_STREAMS: Final = (2, 0)
"""Older versions of DuckDB read an Arrow stream only once, and need pyarrow to read it again."""
_ODD: Final = 1
"""The mark of a file with a line that DuckDB's reader has to read; 2 marks a file that cannot be read."""


class FilesMoved(InputError):
    """A file of the session disappeared, or cannot be read."""


class Engine(QueryEngine):
    """One in-memory connection with the views of `views` over a session's files.

    Args:
        session: the session's directory.
        list_files: returns the files to read; called for every query that reads files. While a session is
            recorded its segments roll; if a few do so during a query, the query is repeated.
        archive: whether to read sealed segments from the session's archive.
        agent_id: only this agent's rows of the archive; None for all.
        deadline_s: the time limit of one query in seconds; None for no limit.
        trees: sealed sessions that are read instead; `session` is the first.
        remote: further sealed sessions in an object store.

    Raises:
        UsageError: the deadline is not a number of seconds above 0.
    """

    def __init__(
        self,
        session: Path,
        list_files: Callable[[], Sequence[Path]],
        *,
        archive: bool = False,
        agent_id: str | None = None,
        deadline_s: float | None = None,
        trees: Sequence[SealedTree] = (),
        remote: Sequence[RemoteTree] = (),
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
        self._known: KnownSources | SealedSources = KnownSources(session, list_files, agent_id, parts=parts)
        self._sessions = [tree.session for tree in trees] if trees or remote else [self._session]
        self.remote = remote
        if trees or remote:
            from Agent.analysis.query.trees import SealedSources

            self._known = SealedSources(trees, [tree.sources for tree in remote])
        self._list_files = list_files
        self._sources = Sources()
        self._files: Any = None
        """The `Files` of the current listing, with their index."""
        self._lines: dict[str, tuple[str, Any]] = {}
        """{requested columns and rows: name registered in DuckDB, the lines}."""
        self._listing = 0
        """The number of changes of `_lines`."""
        self._odd: set[str] = set()
        """Files with a line in a form that recording does not write; DuckDB's own reader reads them."""
        self._spill: Spill | None = None
        self._set: dict[str, list[str]] = {}
        self._connection: Any = None
        self._streams = False
        """Whether `_columns` reads the lines; else DuckDB's own reader reads every file."""
        self._views: tuple[Any, ...] | None = None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run one of this package's own queries; return a dict for each row.

        A query that uses only kept tables does not check the files.
        """
        if not reads_files(sql):
            with in_use(self):
                return interruptible(self._open(), lambda: self._dicts(sql, parameters), self._deadline_s)
        return self._settled(lambda: self._dicts(self._resolved(sql), parameters))

    def _dicts(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        cursor = self._execute(worded(sql), parameters)
        names = [column[0] for column in cursor.description]
        with self._translated(sql):  # rows are produced while they are fetched
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def keep(self, name: str, query: str, parameters: Sequence[Any] = (), *, derived: bool = False) -> bool:
        """Keep the rows of a query as a table; False for more than 3 million, unless it is derived."""
        bound = "" if derived else f" LIMIT {MAX_ROWS + 1}"
        try:
            made = self.row(
                f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {query}{bound}", parameters
            )
            if derived or made["Count"] <= MAX_ROWS:
                return True
        except BaseException:
            # a first try may have created the table before the check for moved files failed
            self.drop_table(name)
            raise
        self.drop_table(name)
        return False

    def drop_table(self, name: str) -> None:
        """Drop a kept table, if it exists."""
        if self._connection is not None:
            self.rows(f"DROP TABLE IF EXISTS {name}")

    def _settled(self, fetch: Callable[[], Answer]) -> Answer:
        """Run a query over the files as listed at its start; repeat it if files moved in the meantime."""
        with in_use(self):
            try:
                with nothing_retired(self._given):
                    return self._tried(fetch)
            except FilesMoved:
                # retention began in the meantime, or files were removed by hand
                with nothing_retired(self._given):
                    return self._tried(fetch)

    def _tried(self, fetch: Callable[[], Answer]) -> Answer:
        patience_s = time.monotonic() + _PATIENCE_S
        for left in reversed(range(_TRIES)):
            began = self._names_changed_ns()
            self._use_files()
            try:
                answer = interruptible(self._open(), fetch, self._deadline_s)
            except FilesMoved:
                # during a roll there is briefly no file under the live name
                if not left or not self._moved():
                    raise
                continue
            if self._found_odd():
                # files that change faster than they are read are left to DuckDB
                self._streams &= left > 1
                continue
            # new files do not matter: their events are later
            if self._names_changed_ns() == began or not 0 < self._moved() <= _FEW:
                break
            if time.monotonic() > patience_s:
                break
        return answer

    def _names_changed_ns(self) -> tuple[int, ...]:
        """The mtime of each directory, which changes when a file is created, renamed or removed."""
        times_ns = []
        for directory in (self._session, agents_dir(self._session), archive_dir(self._session)):
            try:
                times_ns.append(directory.stat().st_mtime_ns)
            except OSError:
                times_ns.append(-1)  # a missing directory, which may be created later
        return tuple(times_ns)

    def _use_files(self) -> None:
        """List the current files and pass them to DuckDB."""
        before = self._sources
        self._sources = self._known.find()
        connection = self._open()  # with threads for what was found
        if self._streams:
            self._sources = self._sources.set_apart(self._given, self._odd)
        if self._sources.lines != before.lines:
            self._forget_lines()
        for form in PATTERNS:
            files = list(self._sources.of(form))
            if self._set.get(form) != files:
                connection.execute(f"SET VARIABLE {form} = ?", [files])
                self._set[form] = files

    def _registered(self, source: str) -> str:
        """Register the requested columns of the live files' lines, if necessary; return their name."""
        if source not in self._lines:
            if self._files is None:
                self._files = _columns.Files(self._sources.lines, CURRENT_SCHEMA, MAX_LINE_BYTES)
            name, lines = f"lines_{len(self._lines)}", self._files.lines(*asked_in(source))
            # DuckDB registers nothing while the rows of an earlier result are pending
            with self._translated(source):
                self._open().execute("SELECT 1").fetchall()
                self._open().register(name, lines)
            self._lines[source] = name, lines
        return self._lines[source][0]

    def _found_odd(self) -> bool:
        """Whether a file could not be read as columns, or disappeared, so that the answer is wrong."""
        is_odd = False
        for _, lines in self._lines.values():
            for (path, inode, *_), mark in zip(self._sources.lines, lines.marks(), strict=True):
                is_odd |= mark != 0
                # DuckDB's reader then reports why an existing file cannot be read
                if mark == _ODD or (mark and (now := standing_at(Path(path))) and now.inode == inode):
                    self._odd.add(path)
        if is_odd:
            self._forget_lines()
        return is_odd

    def _forget_lines(self) -> None:
        self._lines, self._files = {}, None
        self._listing += 1

    def _are_fine(self) -> bool:
        """Check every line that is read as columns; False if DuckDB's reader has to read one."""
        for _, lines in self._lines.values():
            lines.look()
        return not any(any(lines.marks()) for _, lines in self._lines.values())

    def _moved(self) -> int:
        """The number of names that now refer to another file or to none, which a query may have missed."""
        return sum(
            (now := standing_at(path)) is None or now.inode != listed.inode
            for path, listed in self._sources.standing.items()
        )

    def _resolved(self, sql: str) -> str:
        sources = self._sources
        resolved = resolve(sql, sources.forms, sources.only, uniform=sources.uniform)
        return LINES_ASKED.sub(lambda asked: self._registered(asked[1]), resolved)

    def user_columns(self, query: str) -> dict[str, str]:
        """The columns of a user's query with their SQL types; duplicate names get a number."""
        words = self._check(query)
        statement = columns_of(query)

        def fetch() -> list[tuple[Any, ...]]:
            cursor = self._user_cursor(statement, words)
            with self._translated(query):
                return list(cursor.description if statement == query else cursor.fetchall())

        return named_columns((name, str(sql_type)) for name, sql_type, *_ in self._settled(fetch))

    def user_tuples(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a user's query as tuples."""
        return self._user_answer(query, lambda cursor: cursor.fetchall())

    def user_batches(self, query: str, rows: int, most: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of `rows` rows, at most `most` in all, in flat memory; FilesMoved if files vanish.

        The engine cannot run another query until the last batch was taken.
        """
        words = self._check(query)
        statement = query if most is None else first_of(self._open(), query, most)

        def begin() -> tuple[list[list[tuple[Any, ...]]], Any]:
            """The first two batches, and the cursor for the rest, for which all lines are checked."""
            cursor = self._user_cursor(statement, words)
            first = [batch for _ in range(2) if (batch := self._next(cursor, query, rows))]
            if len(first) == 2:
                self._are_fine()  # rows cannot be taken back once they are yielded
            return first, cursor if len(first) == 2 else None

        with in_use(self), nothing_retired(self._given):
            first, cursor = self._tried(begin)
            yield from first
            fetch = partial(self._next, cursor, query, rows)
            while cursor is not None and (batch := interruptible(self._connection, fetch, self._deadline_s)):
                yield batch

    def user_frame(self, query: str) -> Any:
        """Return the rows as a pandas DataFrame; MissingExtra without pandas."""
        needed("pandas", "a data frame", "dataframe")
        return self._user_answer(query, lambda cursor: cursor.df())

    def user_arrow(self, query: str) -> Any:
        """Return the rows as a `pyarrow.Table`; MissingExtra without pyarrow."""
        needed("pyarrow", "an Arrow table", "dataframe")
        return self._user_answer(
            query, lambda relation: getattr(relation, "to_arrow_table", relation.arrow)(), self._relation
        )

    def user_arrow_batches(self, query: str, rows: int) -> Iterator[Any]:
        """Yield the schema, then the rows as batches of pyarrow, in flat memory; MissingExtra without it."""
        needed("pyarrow", "an Arrow table", "dataframe")
        words = self._check(query)
        with in_use(self), nothing_retired(self._given):
            self._use_files()

            def began() -> Any:
                relation = self._relation(query, words)
                with self._translated(query):
                    # pyarrow's method has its old name before DuckDB 2
                    return getattr(relation, "to_arrow_reader", relation.fetch_arrow_reader)(rows)

            reader = interruptible(self._connection, began, self._deadline_s)
            yield reader.schema
            fetch = partial(self._next_batch, reader, query)
            while (batch := interruptible(self._connection, fetch, self._deadline_s)) is not None:
                yield batch

    def _next_batch(self, reader: Any, query: str) -> Any:
        import pyarrow  # type: ignore[import-untyped]

        try:
            with self._translated(query):
                return next(reader, None)
        except (pyarrow.ArrowException, OSError) as error:  # pyarrow converts DuckDB's errors to these
            raise _bad_query(error, query) from error

    def _relation(self, query: str, words: frozenset[str] | None) -> Any:
        """The query as DuckDB's relation."""
        import duckdb  # noqa: F401 - the package, which gives connections `sql`

        self._make_views(words)
        # DuckDB creates a relation only when no earlier result is pending
        self._execute("SELECT 1", ()).fetchall()
        with self._translated(query):
            return self._open().sql(query)

    def _user_answer(
        self,
        query: str,
        fetch: Callable[[Any], Answer],
        begin: Callable[[str, frozenset[str] | None], Any] | None = None,
    ) -> Answer:
        words = self._check(query)

        def answer() -> Answer:
            begun = (begin or self._user_cursor)(query, words)
            with self._translated(query):
                return fetch(begun)

        return self._settled(answer)

    def _next(self, cursor: Any, query: str, rows: int) -> list[tuple[Any, ...]]:
        with self._translated(query):
            tuples: list[tuple[Any, ...]] = cursor.fetchmany(rows)
            return tuples

    def numbers(self) -> dict[str, bytes] | None:
        """The numbers of all events by writer, as bits: 0 is the lowest bit of the first byte.

        None if only a query can count them: a number occurs twice, or some lines are in the archive or are
        read by DuckDB's own reader.
        """
        return self._settled(self._numbers)

    def _numbers(self) -> dict[str, bytes] | None:
        numbers: dict[str, bytes] | None = self._files.numbers() if self._has_index() else None
        return numbers

    def ends_us(self) -> tuple[int, int] | None:
        """The times of the first and the last event; None without events."""
        return self._settled(self._ends_us)

    def _ends_us(self) -> tuple[int, int] | None:
        if self._has_index():
            first_us, last_us = self._files.ends_us()
        else:
            sql = f"SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}"
            first_us, last_us = self._dicts(self._resolved(sql), ())[0].values()
        return None if first_us is None or first_us > last_us else (first_us, last_us)

    @property
    def is_indexed(self) -> bool:
        """Whether an earlier query built an index of all lines, which speeds up queries for single events."""
        return self._sources.forms == (views.LINES,) and (
            self._files is not None and self._files.ends_us() is not None
        )

    @property
    def is_archived(self) -> bool:
        """Whether an earlier query found every event in the columns of the archive."""
        return self._sources.uniform and not {views.LIVE, views.LINES}.intersection(self._sources.forms)

    def _has_index(self) -> bool:
        """Whether `_files` has an index of all lines; one pass over the lines builds it if necessary."""
        if self._sources.forms != (views.LINES,):
            return False
        self._resolved(f"SELECT event_type FROM {scan()}")
        if self._files.ends_us() is None:
            self._are_fine()
        return self._files.ends_us() is not None

    def damaged_lines(self) -> dict[str, int]:
        """Count the lines of each file that are not events; files without any are left out."""
        damaged = self._settled(self._damaged)
        return dict(sorted(damaged.items()))

    def _damaged(self) -> dict[str, int]:
        if self._sources.lines and not self._lines:
            self._resolved(scan())
        self._are_fine()
        damaged = self.damaged_in_archive
        # for a file of one byte some versions of the engine return a row, and others do not
        standing = self._sources.standing.items()
        ones = {str(path.resolve()) for path, listed in standing if listed.size_bytes == 1}
        # a file that is read as columns has none
        for row in self._dicts(views.damaged_lines(), ()) if self._sources.of(views.LIVE) else ():
            counted = 0 if row["filename"] in ones else damaged.get(row["filename"], 0)
            damaged[row["filename"]] = row["lines"] + counted
        return damaged

    @property
    def damaged_in_archive(self) -> dict[str, int]:
        """The damaged lines of sealed files, as of the last query."""
        return dict(self._sources.damaged)

    def interrupt(self) -> None:
        """Interrupt the running query."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        """Close the connection; the next query opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._views = None
            self._set = {}
            self._forget_lines()
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def _check(self, query: str) -> frozenset[str] | None:
        """The words of a user's query; None if it may use any column; UsageError if it does not only read."""
        connection = self._open()
        duckdb = load_duckdb(_PURPOSE)
        try:
            with in_use(self):
                return words_of(check_reads_only(connection, query))
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
        """Translate DuckDB's errors into those of this package."""
        duckdb = load_duckdb(_PURPOSE)
        try:
            yield
        except duckdb.IOException as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise InputError(
                    f"the disk has no space for the data that the query sorts: {_first_line(error)}",
                    path=self._session,
                    remedy="free disk space, or select fewer columns or rows",
                ) from error
            raise FilesMoved(
                f"the session's files cannot be read: {_first_line(error)}",
                path=self._session,
                remedy="if it is being pruned, repeat the query",
            ) from error
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            problem = f"the query needs more memory than the limit of {MEMORY_LIMIT}"
            if isinstance(error, MemoryError):
                problem = "the answer does not fit into memory"
            remedy = "ask for fewer columns or rows, or aggregate"
            raise InputError(problem, path=self._session, remedy=remedy) from error
        except duckdb.InterruptException as error:
            if is_ending():
                raise SystemExit from None  # in a thread that ends with the interpreter
            if has_expired():
                raise InputError(
                    f"the query took longer than its {shown_deadline()}",
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
                raise FilesMoved(
                    f"the session no longer exists: {_first_line(error)}", path=self._session
                ) from error
            if (damaged := _damaged_part(self._sessions, error)) is not None:
                raise DamagedInput(
                    f"a part of the archive cannot be read: {_first_line(error)}",
                    path=damaged,
                    remedy=OF_PART,
                ) from error
            raise _bad_query(error, sql) from error

    def _open(self) -> Any:
        if self._connection is not None:
            return self._connection
        duckdb = load_duckdb(_PURPOSE)
        refuse_non_utf8_path(self._session)
        streams = Files is not None and numbers_of(duckdb.__version__) >= _OLDEST_WITH_STREAMS
        known = self._known
        self._streams = streams and isinstance(known, KnownSources)
        is_small = streams and isinstance(known, KnownSources) and known.size_bytes() < _SMALL_BYTES
        self._spill = Spill(self._session)
        threads = 1 if is_small else min(cores(), MOST_THREADS)
        connection = connected(duckdb, self._spill, MEMORY_LIMIT, threads)
        connection.execute("SET preserve_insertion_order = false")
        if isinstance(known, KnownSources) and known.size_bytes() < _DESCRIBED_BYTES:
            connection.execute("SET parquet_metadata_cache = true")
        for macro in MACROS:
            connection.execute(f"CREATE TEMP MACRO {macro}")
        # for many sessions, the name within its session
        here = f"{self._session}/" if isinstance(known, KnownSources) else ""
        connection.execute("SET VARIABLE session = ?", [here])
        # Progress goes to the listener, not to the terminal. In Jupyter without ipywidgets DuckDB refuses
        # this; queries then run without progress.
        with contextlib.suppress(duckdb.InvalidInputException):
            connection.execute("SET enable_progress_bar = true")
            connection.execute("SET enable_progress_bar_print = false")
        # From here on DuckDB cannot open files outside these sessions, whatever the query is.
        # DuckDB checks a glob pattern in its escaped form and a matching file in its plain form.
        places = [*map(str, self._sessions), *(f"{tree.url}/" for tree in self.remote)]
        allowed = [name for each in places for name in (each, escaped(each))]
        for store in {id(tree.store): tree.store for tree in self.remote}.values():
            connection.register_filesystem(store)
        connection.execute(f"SET allowed_directories = [{', '.join('?' * len(allowed))}]", allowed)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        self._connection = connection
        if not _engines:
            call_at_exit(_close_all)
        _engines.add(self)
        return connection

    def _user_cursor(self, statement: str, words: frozenset[str] | None) -> Any:
        """Run a user's query over the views and columns that it names."""
        self._make_views(words)
        try:
            return self._execute(statement, ())
        except UsageError:
            if words is None:
                raise
        # again with all of them, so that the error can suggest similar names
        self._make_views(None)
        return self._execute(statement, ())

    def _make_views(self, words: frozenset[str] | None) -> None:
        # created again for each query, because segments may have been sealed since
        wanted = words, self._sources.statement, self._listing
        if wanted != self._views:
            of_states = [action_states()] if words is None or views.ACTION_STATES in words else []
            for statement in (*views.statements(words), *of_states):
                self._execute(worded(self._resolved(statement)), ())
            self._views = wanted


def _is_deadline(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value <= threading.TIMEOUT_MAX


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
"""All engines with an open connection, to close at exit, when an open one would print pages of errors."""


def _close_all() -> None:
    for engine in list(_engines):
        engine.close()


def open_engine(session: Path, agent_id: str | None = None, deadline_s: float | None = None) -> Engine:
    """Open an engine over a whole session, live and sealed, or over the files of one agent."""
    if agent_id is None:
        return Engine(session, files_of(session).read, archive=True, deadline_s=deadline_s)
    files = partial(agent_files, session, agent_id)
    return Engine(session, files, archive=True, agent_id=agent_id, deadline_s=deadline_s)


def open_trees(trees: Sequence[SealedTree], remote: Sequence[RemoteTree] = ()) -> Engine:
    """Open an engine over several sealed sessions together, on this machine and in an object store."""
    return Engine(trees[0].session if trees else Path.cwd(), list, trees=trees, remote=remote)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bad_query(error: Exception, query: str) -> UsageError:
    return UsageError(
        f"the query failed: {error_clause(error, query)}",
        remedy=f"the views are {', '.join(Engine.view_names())}",
    )


def _damaged_part(sessions: Sequence[Path], error: Exception) -> Path | None:
    """The part of an archive that an error of DuckDB names, or that differs from what was sealed."""
    duckdb = load_duckdb(_PURPOSE)
    of_the_query = duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException
    if isinstance(error, of_the_query):
        return None  # found before any data was read; all other errors may come from damaged data
    named = {Path(path).resolve() for path in _PARQUET.findall(str(error))}
    for part in (part for session in sessions for part in read_parts(session)):
        if part.parquet.resolve() in named or file_digest(part.parquet) != part.digest:
            return part.parquet
    return None


_PARQUET: Final = re.compile(r"""["']([^"']+\.parquet)["']""")
_LONG_LINE: Final = re.compile(r'"maximum_object_size" of .* reading file "(.*)" \(')


def _too_long(path: Path) -> DamagedInput:
    """The error for a line that is too long for the engine; recording never writes one."""
    number, size_bytes = 1, 0
    with contextlib.suppress(OSError), os.fdopen(open_file(path)[0], "rb") as file:
        while size_bytes <= MAX_LINE_BYTES and (data := file.readline(1 << 20)):
            size_bytes += len(data)
            if data.endswith(b"\n"):
                number, size_bytes = number + 1, 0
    return DamagedInput(
        f"a line is longer than {MAX_LINE_BYTES >> 20} MiB, which no event is, and SQL cannot skip it",
        path=path,
        line=number,
        remedy="remove that line; `verify` and `tail` read the file as it is",
    )
