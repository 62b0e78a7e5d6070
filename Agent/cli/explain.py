"""Commands that explain a session: `analyze` and `debug`; what they say is `Agent.analysis`'s."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli import parameters, render
from Agent.cli.progress import shown


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
    help="Write one self-contained page with plots instead.",
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def analyze(session_argument: str | None, page: Path | None, session: str, as_json: bool, root: Path) -> None:
    """Report what happened in a session.

    Agents and their actions, errors, learning, interactions, performance, and whether the record is complete.
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
    )
)
@click.argument("issue", metavar="TEXT")
@click.option("--markdown", is_flag=True, help="Print Markdown, to paste into an issue.")
@click.option("--all", "show_all", is_flag=True, help="Every cause, and all that was looked at.")
@click.option("--test", is_flag=True, help="Test each cause by a fork (not there yet).")
@parameters.session_option
@parameters.json_option
@parameters.root_option
def debug(
    issue: str, markdown: bool, show_all: bool, test: bool, session: str, as_json: bool, root: Path
) -> int:
    """Find what explains an issue told in plain words.

    Finds the agents, kinds of events, errors and times that TEXT names, and ranks what may have caused it.
    Exit code 1 says that nothing was found that explains it.
    """
    from Agent.analysis import LogAnalyzer

    if not issue.strip():
        raise click.UsageError(
            "TEXT is empty, describe what is wrong in a few words", click.get_current_context()
        )
    with shown():
        report = LogAnalyzer(session, root).debug_issue(issue, test=test)
    if as_json:
        render.emit_json(report.to_dict())
    elif markdown:
        render.emit(report.to_markdown())
    else:
        text = str(report) if show_all else report.to_screen()
        render.emit_report(text, width=render.width_of_terminal())
    return 0 if report.causes else 1
