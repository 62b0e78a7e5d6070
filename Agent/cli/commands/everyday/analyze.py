"""Commands that explain a session: `analyze` and `debug`; what they say is `Agent.analysis`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import shown, shown_forks


@click.command(
    epilog=parameters.examples(
        "agent-trace analyze",
        "agent-trace analyze 20261120_103045 --json",
        "agent-trace analyze --html report.html",
    )
)
@click.argument(
    "session_argument", metavar="[SESSION]", required=False, shell_complete=parameters.complete_sessions
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one self-contained HTML report with charts instead.",
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def analyze(session_argument: str | None, page: Path | None, session: str, as_json: bool, root: Path) -> None:
    """Report what happened in a session.

    Agents and their actions, errors, learning, interactions, performance, and whether the log is complete.
    SESSION is an id, a unique prefix of one, a path, or last.
    """
    from Agent.analysis import LogAnalyzer, analyze_session

    if page is not None:
        with shown():
            written = LogAnalyzer(session_argument or session, root).write_html(page)
        facts = {"path": str(written), "size_bytes": written.stat().st_size}
        if as_json:
            render.emit_json(facts)
        else:
            render.emit(f"{written} ({render.size(written.stat().st_size)})")
        return
    report = analyze_session(session_argument or session, root)
    if as_json:
        render.emit_json(report.to_dict())
    else:
        render.emit_report(str(report), width=render.width_of_terminal())


@click.command(
    epilog=parameters.examples(
        'agent-trace debug "Agent creator_017 stopped publishing"',
        'agent-trace debug "lookup times out" --markdown',
        'agent-trace debug "Agent creator_017 stopped publishing" --test --target mymodule:build',
    )
)
@click.argument("issue", metavar="TEXT")
@click.option("--markdown", is_flag=True, help="Print Markdown, to paste into an issue.")
@click.option("--all", "show_all", is_flag=True, help="Show every cause, and every candidate.")
@click.option("--test", is_flag=True, help="Test the leading causes by forks with and without them.")
@parameters.target_option(
    text="Test: the target, preferably one that builds all agents; default: the one the session remembers."
)
@click.option(
    "--outcome",
    metavar="FIELD",
    help="Test: the outcome to measure, a field at the end or FIELD>VALUE; default: taken from TEXT.",
)
@click.option("--live", multiple=True, metavar="NAME", help="Test: a call that may be executed; repeatable.")
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    metavar="N",
    help="Test: number of other random seeds; default 19.",
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def debug(
    issue: str,
    markdown: bool,
    show_all: bool,
    test: bool,
    session: str,
    as_json: bool,
    root: Path,
    **how: Any,
) -> int:
    """Find what explains an issue described in words.

    Finds the agents, kinds of events, errors and times that TEXT names, and ranks what may have caused it.
    --test runs your code from the moment of each leading cause, with and without it, under several seeds, and
    reports the difference. Exit code 1: no explanation was found.
    """
    from Agent.analysis import LogAnalyzer

    context = click.get_current_context()
    if not issue.strip():
        raise click.UsageError("TEXT is empty; describe the problem in a few words", context)
    if not test and any(given not in (None, ()) for given in how.values()):
        raise click.UsageError("--target, --outcome, --live and --seeds require --test", context)
    if test:
        parameters.find_code_here()
    with shown(), shown_forks("testing the causes"):
        report = LogAnalyzer(session, root).debug_issue(
            issue, test=test, **{name: given for name, given in how.items() if given is not None}
        )
    if as_json:
        render.emit_json(report.to_dict())
    elif markdown:
        render.emit(report.to_markdown())
    else:
        width = render.width_of_page()
        text = report.to_text(width) if show_all else report.to_screen(width=width)
        render.emit_report(text, width=render.width_of_terminal())
    return 0 if report.status == "cause" else 1
