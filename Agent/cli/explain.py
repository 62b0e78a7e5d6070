"""Commands that explain a session: `analyze`, `errors`, `debug`; what they say is `Agent.analysis`'s."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli import parameters, render


@click.command(
    epilog=parameters.examples("agent-trace analyze", "agent-trace analyze 20261120_103045 --json")
)
@click.argument(
    "session_argument", metavar="[SESSION]", required=False, shell_complete=parameters.complete_sessions
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def analyze(session_argument: str | None, session: str, as_json: bool, root: Path) -> None:
    """Report what happened in a session.

    Agents and their actions, errors, learning, interactions, performance, and whether the record is complete.
    SESSION is an id, a unique prefix of one, a path, or last.
    """
    from Agent.analysis import analyze_session

    report = analyze_session(session_argument or session, root)
    if as_json:
        render.emit_json(report.to_dict())
    else:
        render.emit_report(str(report), width=render.width_of_terminal())


@click.command(
    epilog=parameters.examples("agent-trace errors", "agent-trace errors --json --session 20261120")
)
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, metavar="N", help="Only the N most frequent."
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def errors(limit: int, session: str, as_json: bool, root: Path) -> None:
    """Group the errors of a session by pattern.

    A pattern is errors of one type from one place whose messages differ in numbers and quoted parts only.
    Each row names the event id of an example.
    """
    from Agent.analysis import LogAnalyzer

    patterns = LogAnalyzer(session, root).find_error_patterns()
    if as_json:
        render.emit_json(patterns)
        return
    if not patterns["total_errors"]:
        render.note("no errors")
        return
    rows = patterns["fingerprints"][:limit]
    width = max(len(render.count(row["count"])) for row in rows)
    for row in rows:
        number = render.paint(f"{render.count(row['count']).rjust(width)} x", bold=True)
        render.emit(
            f"  {number}  {render.clip(render.clean(row['message']), render.width_of_page() - width - 6)}"
        )
        when = f"{row['first_seen'][:23].replace('T', ' ')} to {row['last_seen'][11:23]}"
        about = f"{render.plural(row['agents'], 'agent')}, {when}, for example {row['example_id']}"
        render.emit(" " * (width + 6) + render.paint(about, dim=True))
    hidden = len(patterns["fingerprints"]) - len(rows)
    more = f", {render.plural(hidden, 'pattern')} more" if hidden > 0 else ""
    render.note(f"{render.plural(patterns['total_errors'], 'error')} in all{more}")


@click.command(
    epilog=parameters.examples(
        'agent-trace debug "Agent creator_017 stopped publishing"',
        'agent-trace debug "lookup times out" --markdown',
    )
)
@click.argument("issue", metavar="TEXT")
@click.option("--markdown", is_flag=True, help="Print Markdown, to paste into an issue.")
@parameters.session_option
@parameters.json_option
@parameters.root_option
def debug(issue: str, markdown: bool, session: str, as_json: bool, root: Path) -> int:
    """Find what explains an issue told in plain words.

    Finds the agents, kinds of events, errors and times that TEXT names, and ranks what may have caused it.
    Exit code 1 says that nothing was found that explains it.
    """
    from Agent.analysis import LogAnalyzer

    if not issue.strip():
        raise click.UsageError(
            "TEXT is empty, describe what is wrong in a few words", click.get_current_context()
        )
    report = LogAnalyzer(session, root).debug_issue(issue)
    if as_json:
        render.emit_json(report.to_dict())
    elif markdown:
        render.emit(report.to_markdown())
    else:
        render.emit_report(str(report), width=render.width_of_terminal())
    return 0 if report.causes else 1
