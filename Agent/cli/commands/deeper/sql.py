"""`sql`: a question to a session in SQL; `sql_output` writes the answer as table, JSON or CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import shown
from Agent.cli.output.sql_output import FORMATS, write_rows

QUERY_BYTES = 1_000_000


@click.command(
    epilog=parameters.examples(
        "agent-trace sql --schema",
        'agent-trace sql "SELECT action_type, count(*), avg(duration_ms) FROM actions GROUP BY ALL"',
        'agent-trace sql "SELECT agent_id, sum(reward) FROM rewards GROUP BY ALL" last --csv',
        "agent-trace sql - 20261120_103045/creator_001 < question.sql",
    )
)
@click.argument("query", metavar="QUERY", required=False)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=parameters.complete_runs)
@click.option("--schema", is_flag=True, help="Show the views and their columns instead.")
@click.option("--json", "form", flag_value="json", help="Print a JSON array with an object for each row.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV with a header line.")
@click.option("--table", "form", flag_value="table", default=True, help="Print a table (default).")
@parameters.limit_option("At most N rows.  [default: 200 in a table, else all]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    metavar="SECONDS",
    help="Stop a query that takes longer.",
)
@parameters.session_option
@parameters.root_option
def sql(
    query: str | None,
    run: str | None,
    schema: bool,
    form: str,
    limit: int | None,
    timeout: float,
    session: str,
    root: Path,
) -> None:
    """Query a session's events in SQL.

    The views are events, actions, errors, rewards, interactions, messages, metrics, spans and more; --schema
    lists them with their columns. The dialect is DuckDB's; a query can write and load nothing. QUERY is - for
    stdin, RUN a session, or SESSION/agent_id for one agent's events.
    """
    from Agent.analysis.query.progress import bounds
    from Agent.analysis.query.sql_result import SqlResult

    if schema and query is not None and run is None:
        query, run = None, query  # the one argument is the session then
    if not schema and not (query or "").strip():
        raise click.UsageError(
            'say what to ask, as in agent-trace sql "SELECT count(*) FROM events"',
            click.get_current_context(),
        )
    engine = _engine(run or session, root)
    token = bounds.set(bounds.get()._replace(deadline_s=timeout))
    try:
        with shown("querying the session"):
            if schema:
                _show_schema(engine, form)
                return
            write_rows(SqlResult(engine, _text(query or "")), form, limit)
    finally:
        bounds.reset(token)
        engine.close()


def _engine(run: str, root: Path) -> Any:
    """The engine over a session, or over one agent of it."""
    from Agent.analysis.query.engine import open_engine
    from Agent.analysis.session import find, unknown_agent
    from Agent.archive.sealed.reader import open_reader

    is_path = Path(run).is_dir()
    name, _, agent = (run, "", "") if is_path else run.partition("/")
    path = find(name, root)
    if not agent:
        return open_engine(path)
    reader = open_reader(path)
    if not reader.holds_agent(agent):
        raise unknown_agent(reader, agent)
    return open_engine(path, agent)


def _text(query: str) -> str:
    """The query, from stdin where it is a dash."""
    if query != "-":
        return query
    text = sys.stdin.read(QUERY_BYTES + 1)
    if len(text) > QUERY_BYTES:
        raise click.UsageError("the query on stdin is longer than a million characters")
    return text


def _show_schema(engine: Any, form: str) -> None:
    from Agent.analysis.query.views import names

    columns = {name: engine.user_columns(f"FROM {name}") for name in names()}
    if form == "json":
        render.emit_json(columns)
    elif form == "csv":
        rows = [(view, name, sql_type) for view, found in columns.items() for name, sql_type in found.items()]
        FORMATS["csv"](["view", "column", "type"], iter([rows]))
    else:
        for view, found in columns.items():
            render.emit(render.paint(view, bold=True))
            shown_columns = ", ".join(f"{name} {sql_type}" for name, sql_type in found.items())
            render.paragraph(shown_columns)
