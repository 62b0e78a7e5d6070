"""`export perfetto`, `parquet` and `csv`: files of a session for other tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import click

from Agent.cli import parameters, render
from Agent.cli.commands.export import export
from Agent.cli.parameters import Root, Run, command
from Agent.cli.render import shown, working
from Agent.errors import UsageError
from Agent.render import words

__all__ = ["export"]

NewFile = Annotated[Path, "FILE", click.Path(dir_okay=False, path_type=Path)]
Query = Annotated[str, "--query -q SQL", "The rows to write, as for agent-trace sql."]
_ALL: Final = "SELECT * FROM events ORDER BY ts_us, writer, seq"


@command(of=export)
def perfetto(*, run: Run, file: NewFile, root: Root) -> None:
    """Write a session as a trace of Perfetto.

    Open the file with ui.perfetto.dev, which reads it on your machine. A track for each agent with nested
    slices of what it did, instants for other events, flows from causes to effects such as messages, and
    counters for rewards and metrics. Names, ids and numbers are written, contents are not. RUN is a session.

    Examples:
        agent-trace export perfetto last trace.pftrace
    """
    from Agent.analysis.perfetto import write_perfetto

    analyzer = parameters.analyzer_of(run, root)
    with working("writing the trace"), _told(file):
        made = write_perfetto(file, analyzer.reader, analyzer.engine)
    render.document(lambda: {name: getattr(made, name) for name in _COUNTS} | {"path": str(file)})
    render.emit(
        f"{file} ({words.size(made.size_bytes)}): {words.plural(made.slices, 'slice')}, "
        f"{words.plural(made.instants, 'instant')}, {words.plural(made.flows, 'flow')}, "
        f"{words.plural(made.counter_values, 'value')} of counters on {words.plural(made.tracks, 'track')}"
    )


_COUNTS: Final = ("slices", "instants", "flows", "counter_values", "tracks", "size_bytes")


@command(of=export)
def parquet(*, run: Run, file: NewFile, query: Query = _ALL, root: Root) -> None:
    """Write the rows of a query, by default all events, as Parquet.

    RUN is a session, or SESSION/agent_id for one agent's events.

    Examples:
        agent-trace export parquet last events.parquet
        agent-trace export parquet last rewards.parquet -q "SELECT agent_id, tick, reward FROM rewards"
    """
    _write("parquet", run, file, query, root)


@command(of=export, name="csv")
def as_csv(*, run: Run, file: NewFile, query: Query = _ALL, root: Root) -> None:
    """Write the rows of a query, by default all events, as CSV with a header.

    Nested values are JSON. RUN is a session, or SESSION/agent_id for one agent's events.

    Examples:
        agent-trace export csv last errors.csv -q "SELECT tick, agent_id, message FROM errors"
    """
    _write("csv", run, file, query, root)


def _write(form: str, run: str, file: Path, query: str, root: Path) -> None:
    from Agent.analysis.query.engine import SqlResult
    from Agent.analysis.query.tables import WRITERS

    with parameters.engine_of(run, root) as engine, shown("writing the rows"), _told(file):
        number = WRITERS[form](file, SqlResult(engine, query))
    size_bytes = file.stat().st_size
    render.document(lambda: {"path": str(file), "rows": number, "size_bytes": size_bytes})
    render.emit(f"{file} ({words.size(size_bytes)}): {words.plural(number, 'row')}")


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn the refusal of an existing file into a usage error."""
    try:
        yield
    except FileExistsError:
        raise UsageError("the file exists", path=file, remedy="give a new one") from None
