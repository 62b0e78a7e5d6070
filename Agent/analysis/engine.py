"""DuckDB over the session's own files: loaded at the first aggregate, closed to all other files.

Every aggregate module asks `Engine.rows`; mirrors are never among the files, damaged lines never in a group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from Agent.analysis import views
from Agent.errors import InputError, MissingExtra, UsageError

MEMORY_LIMIT = "1GB"
_TRIES = 5
Answer = TypeVar("Answer")
_READING_STATEMENTS = frozenset({"SELECT", "EXPLAIN", "RELATION"})


class FilesMoved(InputError):
    """A file of the session went away, or cannot be read."""


class Engine:
    """One in-memory connection with the views of `views` over a session's files.

    Args:
        session: the session's directory.
        list_files: the files to read, asked again with every query: a session that is being recorded rolls
            its segments, and what moved while it was read is read once more.
    """

    def __init__(self, session: Path, list_files: Callable[[], Sequence[Path]]) -> None:
        self._given = session
        self._session = session.resolve()
        self._list_files = list_files
        self._files: list[str] = []
        self._connection: Any = None
        self._has_views = False

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to one of this room's own queries, a dict a row."""

        def fetch() -> list[dict[str, Any]]:
            cursor = self._execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return self._settled(fetch)

    def _settled(self, fetch: Callable[[], Answer]) -> Answer:
        """The answer over a list of files that is the same after the query as before it, if it can be had."""
        for _ in range(_TRIES):
            self._use_files()
            try:
                answer = fetch()
            except FilesMoved:
                if not self._use_files():
                    raise
                continue
            if not self._use_files():
                return answer
        return fetch()

    def _use_files(self) -> bool:
        """Look at the files that are there now; whether they are others than before."""
        files = [self._literal(path) for path in self._list_files() if not path.is_symlink()]
        if files == self._files:
            return False
        self._files = files
        if self._connection is not None:
            self._connection.execute("SET VARIABLE files = ?", [files])
        return True

    def _literal(self, path: Path) -> str:
        return escape(str(self._session / path.relative_to(self._given)))

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """The answer to a query that has exactly one row."""
        return self.rows(sql, parameters)[0]

    def user_rows(self, query: str) -> list[dict[str, Any]]:
        """The answer to a person's query, one statement that reads; UsageError for anything else."""
        self._check(query)
        return self.rows(query)

    def user_frame(self, query: str) -> Any:
        """The same as a pandas DataFrame; MissingExtra without pandas."""
        import importlib.util

        if importlib.util.find_spec("pandas") is None:
            raise MissingExtra(
                "a data frame needs pandas", remedy="pip install pandas, or use sql() for plain rows"
            )
        self._check(query)
        return self._settled(lambda: self._execute(query, ()).df())

    def damaged_lines(self) -> dict[str, int]:
        """How many lines of each file are no event; files without any are left out."""
        found = self.rows(views.damaged_lines())
        return {row["filename"]: row["lines"] for row in found}

    def close(self) -> None:
        """Let go of the connection; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._has_views = False

    def _check(self, query: str) -> None:
        self._use_files()
        connection = self._with_views()
        import duckdb

        try:
            parsed = connection.extract_statements(query)
        except duckdb.Error as error:
            raise _bad_query(error) from None
        if len(parsed) != 1 or parsed[0].type.name not in _READING_STATEMENTS:
            raise UsageError(
                "sql() takes one statement that reads", remedy=f"select from {', '.join(views.names())}"
            )

    def _execute(self, sql: str, parameters: Sequence[Any]) -> Any:
        connection = self._open()
        import duckdb  # opening has said clearly if it is missing

        try:
            return connection.execute(sql, list(parameters))
        except duckdb.IOException as error:
            raise FilesMoved(
                f"the session's files cannot be read: {_first_line(error)}",
                path=self._session,
                remedy="if it is being pruned, ask again",
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"the query needs more memory than the limit of {MEMORY_LIMIT}",
                path=self._session,
                remedy="ask for fewer columns or rows, or aggregate",
            ) from error
        except duckdb.Error as error:
            raise _bad_query(error) from error

    def _open(self) -> Any:
        if self._connection is not None:
            return self._connection
        try:
            import duckdb
        except ImportError as error:
            raise MissingExtra("aggregates need duckdb", remedy="pip install duckdb") from error
        connection = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "autoinstall_known_extensions": False,
                "temp_directory": self._spill(),
            }
        )
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET VARIABLE files = ?", [self._files])
        # From here on nothing but this session's files can be opened, whatever a query says.
        # The escaped form is what a pattern is checked against, the plain one what it matches.
        allowed = [str(self._session), escape(str(self._session))]
        connection.execute("SET allowed_directories = [?, ?]", allowed)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        self._connection = connection
        return connection

    def _with_views(self) -> Any:
        """The connection, with the views that only a person's query needs."""
        connection = self._open()
        if not self._has_views:
            for statement in views.statements():
                connection.execute(statement)
            self._has_views = True
        return connection

    def _spill(self) -> str:
        """Where a large sort may go: the session's cache directory if that can be written, else nowhere."""
        state = self._session / ".state"
        return str(state / f"spill-{os.getpid()}") if os.access(state, os.W_OK) else ""


def escape(path: str) -> str:
    """A path in which nothing is a wildcard: unescaped, `a?b.log` would read `aXb.log` too."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bad_query(error: Exception) -> UsageError:
    return UsageError(
        f"the query cannot be answered: {_first_line(error)}",
        remedy=f"the views are {', '.join(views.names())}; DESCRIBE is answered by SELECT * ... LIMIT 1",
    )
