"""The rows of an answer as they are printed: a table for people, JSON and CSV, row by row, for programs."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from Agent.cli.output import render

if TYPE_CHECKING:
    from Agent.analysis.query.sql_result import SqlResult

__all__ = ["FORMATS", "TABLE_ROWS", "write_rows"]

TABLE_ROWS: Final = 200
_LEAST_WIDTH: Final = 6
_GAP: Final = 2

Rows = Iterator[Sequence[tuple[Any, ...]]]
NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "U")


def write_rows(result: SqlResult, form: str, limit: int | None) -> None:
    """Print an answer in one of the formats, at most `limit` rows of it."""
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
    """An array, an object a line; written as rows come."""
    import orjson

    out = sys.stdout.buffer
    sys.stdout.flush()
    options = orjson.OPT_NON_STR_KEYS
    lead = b"[\n"
    for batch in batches:
        for row in batch:
            out.write(
                lead + orjson.dumps(dict(zip(columns, row, strict=True)), default=_json, option=options)
            )
            lead = b",\n"
    out.write(b"[]\n" if lead == b"[\n" else b"\n]\n")
    out.flush()


def _json(value: object) -> object:
    """What JSON has no form for: bytes as hexadecimal, all else as text."""
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _write_csv(columns: Sequence[str], batches: Rows) -> None:
    """Comma-separated values, quoted as RFC 4180 has them; null is empty, nested values are JSON.

    Lines end as those of every other command do, so that `tail -1` and `read` get no carriage return.
    """
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", newline="")
    sys.stdout.flush()
    try:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for batch in batches:
            writer.writerows([_text(value) for value in row] for row in batch)
        out.flush()
    finally:
        out.detach()


def _text(value: Any) -> Any:
    if isinstance(value, list | dict):
        import orjson

        return orjson.dumps(value, default=_json, option=orjson.OPT_NON_STR_KEYS).decode()
    return value


def _write_table(result: SqlResult, limit: int | None) -> None:
    most = limit or TABLE_ROWS
    batches = result.batches(most + 1, most + 1)
    rows = list(islice(chain.from_iterable(batches), most + 1))
    cells = [
        ["null" if value is None else render.clean(_short(value)) for value in row] for row in rows[:most]
    ]
    right = {name for name, sql_type in result.types.items() if sql_type.startswith(NUMBERS)}
    width = render.width_of_terminal()
    widths = _widths(result.columns, cells, width)
    if widths is None:
        _write_records(result.columns, cells, width)
    else:
        _write_grid(result.columns, cells, widths, right)
    if not cells:
        render.note("no rows")
    elif len(rows) > most:
        render.note(f"{render.plural(most, 'row')} shown; for more, use -n N, --csv or --json")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(_text(value))


def _widths(columns: Sequence[str], cells: list[list[str]], room: int | None) -> list[int] | None:
    """How wide each column is so that a line fits, the widest being cut first; None where they cannot fit."""
    widths = [max(map(render.display_width, column)) for column in zip(columns, *cells, strict=True)] or [0]
    if room is None:
        return widths
    room -= _GAP * (len(widths) - 1)
    if sum(min(width, _LEAST_WIDTH) for width in widths) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _write_grid(
    columns: Sequence[str], cells: list[list[str]], widths: list[int], right: Iterable[str]
) -> None:
    sides = [name in set(right) for name in columns]
    render.emit(render.paint(render.in_columns(columns, widths, sides), bold=True))
    for row in cells:
        render.emit(render.in_columns(row, widths, sides))


def _write_records(columns: Sequence[str], cells: list[list[str]], width: int | None) -> None:
    """Each row as a block of names and values, where a table would be too wide."""
    names = max(map(render.display_width, columns))
    for number, row in enumerate(cells, 1):
        render.emit(render.paint(f"row {number}", bold=True))
        for name, cell in zip(columns, row, strict=True):
            text = cell if width is None else render.clip(cell, max(width - names - 4, _LEAST_WIDTH))
            render.emit(f"  {render.paint(name.ljust(names), dim=True)}  {text}")


FORMATS: Final[dict[str, Callable[[Sequence[str], Rows], None]]] = {"json": _write_json, "csv": _write_csv}
"""The formats that are written row by row."""
