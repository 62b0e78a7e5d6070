"""`sql`: query a session's events; the result is a table, CSV or JSON."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Unpack

from Agent.cli import parameters, render
from Agent.cli.parameters import Across, More, Root, command, misuse
from Agent.cli.render import shown
from Agent.render import formats, layout

if TYPE_CHECKING:
    from Agent.analysis.query.tables import SqlResult

QUERY_BYTES = 1_000_000


@command()
def sql(
    *,
    query: Annotated[str | None, "[QUERY]"],
    run: parameters.OneRun,
    more: More,
    schema: bool,
    as_csv: Annotated[bool, "--csv"],
    table: bool,
    limit: parameters.SomeLimit,
    timeout: Annotated[float, "--timeout SECONDS", parameters.ABOVE_ZERO] = 600,
    root: Root,
    **across: Unpack[Across],
) -> None:
    """Query a session's events in SQL.

    The views are events, actions, errors, rewards, interactions, messages, metrics, spans and more; --schema
    lists them with their columns. The dialect is the engine's, DuckDB's by default; a query can write and
    load nothing. QUERY is - for stdin, RUN a session, or SESSION/agent_id for one agent's events. With
    --engine, RUN and PATH are sealed sessions, trace roots or patterns of both.

    Args:
        schema: Show the views and their columns instead.
        as_csv: Print CSV with a header line.
        table: Print a table (default).
        limit: At most N rows.  [default: 200 in a table, else all]
        timeout: Stop a query that takes longer.

    Examples:
        agent-trace sql --schema
        agent-trace sql "SELECT action_type, avg(duration_ms) FROM actions GROUP BY ALL"
        agent-trace sql "SELECT agent_id, sum(reward) FROM rewards GROUP BY ALL" last --csv
        agent-trace sql --engine spark "SELECT count(*) FROM events" '/shared/*/trace'
        agent-trace sql - 20261120_103045/creator_001 < question.sql
    """
    from Agent.analysis.query.progress import bounds
    from Agent.analysis.query.tables import SqlResult

    parameters.exclusive(csv=as_csv, table=table, json=render.wants_json())
    if schema:
        run = query or run  # with --schema the only argument is the session
    elif not (query or "").strip():
        raise misuse('say what to ask, as in agent-trace sql "SELECT count(*) FROM events"')
    run = parameters.one_of(run, more, **across)
    engine = across["engine"]
    form = "json" if render.wants_json() else "csv" if as_csv else "table"
    if engine is None:
        opened = parameters.engine_of(run, root)
    else:
        opened = parameters.engine_over(parameters.trees_of((run, *more), root), **across)
    token = bounds.set(bounds.get()._replace(deadline_s=timeout))
    try:
        with shown("querying the session"):
            if schema:
                _show_schema(opened, form)
            else:
                write_rows(SqlResult(opened, _text(query or "")), form, limit)
    finally:
        bounds.reset(token)
        opened.close()


def _text(query: str) -> str:
    """The query; from stdin for `-`."""
    if query != "-":
        return query
    text = sys.stdin.read(QUERY_BYTES + 1)
    if len(text) > QUERY_BYTES:
        raise misuse("the query on stdin is longer than a million characters")
    return text


def _show_schema(engine: Any, form: str) -> None:
    columns = {name: engine.user_columns(f"SELECT * FROM {name}") for name in engine.view_names()}  # noqa: S608 - ours
    if form == "json":
        render.emit_json(columns)
    elif form == "csv":
        rows = [
            (view, name, sql_type)
            for view, view_columns in columns.items()
            for name, sql_type in view_columns.items()
        ]
        FORMATS["csv"](["view", "column", "type"], iter([rows]))
    else:
        for view, view_columns in columns.items():
            render.emit(render.paint(view, bold=True))
            shown_columns = ", ".join(f"{name} {sql_type}" for name, sql_type in view_columns.items())
            render.paragraph(shown_columns)


TABLE_ROWS: Final = 200
_LEAST_WIDTH: Final = 6
_WIDEST: Final = 100_000

Rows = Iterator[Sequence[tuple[Any, ...]]]
NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "U")


def write_rows(result: SqlResult, form: str, limit: int | None) -> None:
    """Print a result in one of the formats, at most `limit` rows."""
    if form == "table":
        _write_table(result, limit)
    else:
        FORMATS[form](result.columns, _first(result.batches(most=limit), limit))


def _first(batches: Iterator[list[tuple[Any, ...]]], limit: int | None) -> Rows:
    left = limit
    for batch in batches:
        yield batch if left is None else batch[:left]
        if left is not None:
            left -= len(batch)
            if left <= 0:
                return


def _write_json(columns: Sequence[str], batches: Rows) -> None:
    """Write a JSON array with one object per line, as rows are fetched."""
    from Agent.analysis.query.tables import as_json

    out = sys.stdout.buffer
    sys.stdout.flush()
    lead = b"[\n"
    for batch in batches:
        for row in batch:
            line = as_json(dict(zip(columns, row, strict=True)))
            out.write(lead + render.harmless_json(line))
            lead = b",\n"
    out.write(b"[]\n" if lead == b"[\n" else b"\n]\n")
    out.flush()


def _write_csv(columns: Sequence[str], batches: Rows) -> None:
    """Write CSV, quoted as in RFC 4180; null is empty, nested values are JSON.

    On a terminal, control characters are escaped.
    """
    from Agent.analysis.query.tables import csv_into, plain

    def printable(value: Any) -> Any:
        shown = plain(value)
        return render.clean(shown) if isinstance(shown, str) else shown

    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", newline="")
    sys.stdout.flush()
    try:
        csv_into(out, columns, batches, printable if sys.stdout.isatty() else plain)
        out.flush()
    finally:
        out.detach()


def _write_table(result: SqlResult, limit: int | None) -> None:
    most = limit or TABLE_ROWS
    batches = result.batches(most + 1, most + 1)
    rows = list(islice(chain.from_iterable(batches), most + 1))
    cells = [
        ["null" if value is None else render.clean(_short(value)) for value in row] for row in rows[:most]
    ]
    right = {at for at, sql_type in enumerate(result.types.values()) if sql_type.startswith(NUMBERS)}
    width, widths = render.width_of_terminal(), layout.widths_of([result.columns, *cells])
    widths, gap = layout.fitted(widths, [True] * len(widths), width, _LEAST_WIDTH)
    # each row of a table is padded to the widest one
    if sum(widths) + gap * (len(widths) - 1) > (_WIDEST if width is None else width):
        _write_records(result.columns, cells, width)
    else:
        for number, row in enumerate([result.columns, *cells]):
            line = (" " * gap).join(layout.padded(row, widths, right)).rstrip()
            render.emit(render.paint(line, bold=number == 0))
    if not cells:
        render.note("no rows")
    elif len(rows) > most:
        render.note(f"{formats.plural(most, 'row')} shown; for more, use -n N, --csv or --json")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    from Agent.analysis.query.tables import plain

    return str(plain(value))


def _write_records(columns: Sequence[str], cells: list[list[str]], width: int | None) -> None:
    """Print each row as a block of names and values, because a table would be too wide."""
    names = max(map(layout.display_width, columns))
    for number, row in enumerate(cells, 1):
        render.emit(render.paint(f"row {number}", bold=True))
        for name, cell in zip(columns, row, strict=True):
            text = cell if width is None else layout.clip(cell, max(width - names - 4, _LEAST_WIDTH))
            render.emit(f"  {render.paint(name.ljust(names), dim=True)}  {text}")


FORMATS: Final[dict[str, Callable[[Sequence[str], Rows], None]]] = {"json": _write_json, "csv": _write_csv}
"""The writers for formats that are written row by row."""
