"""Commands for `Agent.analysis`: `sessions`, `analyze`, `debug`, `errors`, `causes` and statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import click

from Agent.analysis.reports import REPORTS, Report
from Agent.cli import parameters, render
from Agent.cli.parameters import Across, More, OneRun, Root, command, misuse
from Agent.cli.render import shown, shown_forks, working
from Agent.render import formats, layout
from Agent.render.blocks import Column, Section
from Agent.render.layout import sections_text
from Agent.tree.files.session import as_tree


@command()
def analyze(
    run: OneRun,
    more: More,
    page: Annotated[Path | None, "--html FILE", parameters.OUTPUT],
    root: Root,
    **across: Unpack[Across],
) -> None:
    """Report what happened in a session.

    Agents and their actions, errors, learning, interactions, performance, and whether the log is complete.
    RUN is a session: an id, a unique prefix of one, a path, or last; or SESSION/agent_id for one agent. With
    --engine, RUN and PATH are sealed sessions, trace roots or patterns of both, and the report is about all.

    Args:
        page: Write one self-contained HTML report with charts instead.

    Examples:
        agent-trace analyze
        agent-trace analyze last/creator_001 --json
        agent-trace analyze --html report.html
        agent-trace analyze --engine spark '/shared/*/trace'
    """
    from Agent.analysis.report.session_report import Analysis, analyze_session, trees_summary

    run = parameters.one_of(run, more, **across)
    session, agent = parameters.split_run(run)
    if page is not None:
        if across["engine"] is not None:
            raise misuse("--html is for one session, without --engine")
        if agent is not None:
            raise misuse("--html is for a session, without an agent")
        with working("drawing the report"):
            written = parameters.analyzer_of(run, root).write_html(page)
        size_bytes = written.stat().st_size
        render.document(lambda: {"path": str(written), "size_bytes": size_bytes})
        render.emit(f"{written} ({formats.size(size_bytes)})")
        return
    if across["engine"] is None:
        report = analyze_session(session, root, agent)
    else:
        trees = parameters.trees_of((run, *more), root)
        with working("reading the sessions"), parameters.engine_over(trees, **across) as engine:
            report = Analysis(trees_summary(trees, engine))
    render.document(report.to_dict)
    width = render.width_of_terminal()
    render.emit_report(report.to_text(width), width=width)


class DebugOptions(Across):
    """The options of `debug`: those of --test, and of many sessions.

    Args:
        engine: Read RUN and PATH (sealed sessions) together, and explain the events around what TEXT
            names.
        master: Where Spark runs; default: this machine, local[*].
        target: Test: the target, preferably one that builds all agents; default: the one the session
            remembers.
        outcome: Test: the outcome to measure, AGENT.FIELD at the end or AGENT.FIELD>VALUE; default: taken
            from TEXT.
        live: Test: a call that may be executed; repeatable.
        seeds: Test: number of other random seeds; default 19.
    """

    target: parameters.Target
    outcome: Annotated[str, "--outcome FIELD", {"default": "", "show_default": False}]
    live: Annotated[tuple[str, ...], "--live NAME"]
    seeds: Annotated[int | None, "--seeds N", parameters.FROM_ZERO]


@command()
def debug(
    issue: Annotated[str, "TEXT"],
    markdown: bool,
    show_all: Annotated[bool, "--all"],
    baseline: Annotated[tuple[str, ...], "--baseline RUN"],
    test: bool,
    run: OneRun,
    more: More,
    root: Root,
    **how: Unpack[DebugOptions],
) -> int:
    """Find what explains an issue described in words.

    Finds the agents, kinds of events, errors and times that TEXT names, and ranks what may have caused it.
    If TEXT contains an event id, that event is taken as the problem; otherwise debug chooses one.
    --test runs your code from the moment of each leading cause, with and without it, under several seeds, and
    reports the difference. RUN is a session, or SESSION/agent_id to name the agent. Exit code 1:
    no cause has a confidence of 0.5 or more; what is printed then is a hint.

    Args:
        markdown: Print Markdown, to paste into an issue.
        show_all: Show every cause, and every candidate.
        baseline: A session without the problem: what none of these sessions has counts as unusual;
            repeatable.
        test: Test the leading causes by forks with and without them.

    Examples:
        agent-trace debug "Agent creator_017 stopped publishing"
        agent-trace debug "lookup times out" --markdown
        agent-trace debug "lookup times out" --baseline 20261120_103045
        agent-trace debug "worker_2 is gone" --engine duckdb host-a/trace host-b/trace
        agent-trace debug "Agent creator_017 stopped publishing" --test --target mymodule:build
    """
    from Agent.analysis import LogAnalyzer
    from Agent.analysis.debug.recorded import around_complaint
    from Agent.analysis.session import check_agent

    parameters.exclusive(markdown=markdown, json=render.wants_json())
    if not issue.strip():
        raise misuse("TEXT is empty; describe the problem in a few words")
    across: Across = {"engine": how["engine"], "master": how["master"]}
    of_test: dict[str, Any] = {name: value for name, value in how.items() if name not in across}
    # names of code locations contain slashes
    agent = None if across["engine"] else parameters.split_run(run)[1]
    issue = issue if not agent or agent in issue else f"{agent} {issue}"
    if not test and any(given not in (None, (), "") for given in of_test.values()):
        raise misuse("--target, --outcome, --live and --seeds require --test")
    if (test or baseline) and across["engine"] is not None:
        raise misuse("--test and --baseline are for one session, without --engine")
    if test:
        parameters.make_code_importable()
    progress = shown_forks("testing the causes") if test else working("looking for causes")
    chosen = parameters.session_for(lambda engine: around_complaint(engine, issue), run, more, root, **across)
    with chosen as path, progress, LogAnalyzer(path) as analyzer:
        if agent is not None:
            check_agent(analyzer.reader, agent)
        usual = [parameters.session_of(each) for each in baseline]
        report = analyzer.debug_issue(issue, baselines=usual, test=test, **of_test)
    if across["engine"] is not None:
        report = replace(report, commands=())  # they would name the temporary session
    render.document(report.to_dict)
    if markdown:
        render.emit(report.to_markdown(), verbatim=True)
    else:
        width = render.width_of_page()
        text = report.to_text(width) if show_all else report.to_screen(width=width)
        render.emit_report(text, width=render.width_of_terminal())
    return 0 if report.status == "cause" else 1


LIMIT = 8


@command()
def errors(
    *,
    run: OneRun,
    more: More,
    limit: parameters.Limit = LIMIT,
    tail: bool,
    root: Root,
    **across: Unpack[Across],
) -> None:
    """Group errors, warnings and log messages by pattern.

    A pattern is errors of one type, raised in one place, whose messages differ only in numbers, ids, paths
    and quoted parts. Each pattern names the event id of an example, for agent-trace causes ID. RUN is a
    session, or SESSION/agent_id for one agent's errors. With --engine, RUN and PATH are sealed sessions,
    trace roots or patterns of both.

    Args:
        limit: Only the N most frequent patterns of errors.
        tail: Show what the agent did before each example.

    Examples:
        agent-trace errors
        agent-trace errors last --tail
        agent-trace errors --json
        agent-trace errors --engine duckdb host-a/trace host-b/trace
    """
    from Agent.analysis.questions.errors import error_patterns, journey_tail

    if across["engine"] is not None and tail:
        raise misuse("--tail is for one session, without --engine")
    with parameters.asked(run, more, root, **across) as about:
        patterns = error_patterns(about.engine)
    rows = patterns["fingerprints"][:limit]
    with_tails = about.reader is not None and (tail or render.wants_json())
    tails = {row["example_id"]: journey_tail(about.reader, row) for row in rows if with_tails}
    if render.wants_json():
        for row in rows if with_tails else ():
            row["tail"] = tails[row["example_id"]]
        render.emit_json(patterns)
        return
    from Agent.analysis.report.sections import error_sections

    _print(error_sections(patterns, rows, tails))
    hidden = patterns["total_fingerprints"] - len(rows)
    others = f", {formats.plural(hidden, 'pattern')} more" if hidden > 0 else ""
    total = patterns["total_errors"]
    render.note(f"{formats.plural(total, 'error')} in total{others}" if total else "no errors")


CAUSES_LIMIT = 12


@command()
def causes(
    *,
    event_id: Annotated[str, "ID"],
    run: OneRun,
    more: More,
    form: Annotated[Literal["text", "json", "dot", "svg"], "--format"] = "text",
    lookback: Annotated[float, "--lookback S", parameters.NOT_NEGATIVE] = 60.0,
    effects: bool,
    limit: parameters.Limit = CAUSES_LIMIT,
    root: Root,
    **across: Unpack[Across],
) -> int:
    """Show what led to an event, across agents.

    Each step back is recorded (a span, a cause, a message, an error) or inferred by a named rule, and shows
    its reason. RUN is a session or SESSION/AGENT. With --engine, RUN and PATH are sealed sessions, trace
    roots or patterns of both. Exit code 1: no cause was found.

    Args:
        form: Output format; dot is for Graphviz, svg is an image.
        lookback: How many seconds to look back for causes.
        effects: Also show what the event led to, over the same number of seconds.
        limit: Only the N nearest causes, as text.

    Examples:
        agent-trace causes k3v9q2ma-1042
        agent-trace causes k3v9q2ma-1042 last --lookback 600 --effects
        agent-trace causes k3v9q2ma-1042 --format svg > causes.svg
    """
    from Agent.analysis import LogAnalyzer
    from Agent.analysis.causality.graph import around_event

    if render.wants_json() and form in {"dot", "svg"}:
        raise misuse(f"--json and --format {form} exclude each other; give one")

    def choose(engine: Any) -> Any:
        return around_event(engine, event_id, lookback, with_effects=effects)

    with (
        parameters.session_for(choose, run, more, root, **across) as path,
        shown(),
        LogAnalyzer(path) as analyzer,
    ):
        graph = analyzer.causal_graph(event_id, lookback, with_effects=effects)
    if render.wants_json() or form == "json":
        render.emit_json(graph.to_dict())
    elif form == "dot":
        render.emit(graph.to_dot().rstrip("\n"), verbatim=True)
    elif form == "svg":
        render.emit(graph.to_svg().rstrip("\n"), verbatim=True)
    else:
        width = render.width_of_terminal()
        for line in map(render.clean, graph.to_text(limit).splitlines()):
            render.emit(line if width is None else _clipped(line, width))
    return 0 if graph.causes or graph.effects or graph.missing else 1


def _clipped(line: str, width: int) -> str:
    """The line in at most `width` columns; the id in brackets at the end, for the next command, stays."""
    text, gap, event_id = line.rpartition("  [")  # other texts in the line have no two blanks
    if not gap or not line.endswith("]"):
        return layout.clip(line, width)
    return layout.clip(text, width - len(gap + event_id)) + gap + event_id


STATE_STYLES = {"running": "good", "paused": "warn", "crashed": "bad"}


@command()
def sessions(limit: parameters.SomeLimit, root: Root) -> None:
    """List the recorded sessions, newest last.

    Each row shows the id, start, duration, numbers of agents, events and errors, the size of its files, and
    whether the session is running, paused (see control), closed or crashed. A forked or resumed session is
    listed under its origin.

    Args:
        limit: Only the newest N sessions.

    Examples:
        agent-trace sessions
        agent-trace sessions --json
    """
    from Agent.analysis.questions.listing import session_rows

    rows = session_rows(root, limit)
    render.document(lambda: {"root": str(root), "sessions": rows})
    if not rows:
        render.note(f"no session was recorded in {root} yet; agent-trace demo records one")
        return
    tree = as_tree((row["session_id"], (row["origin"] or {}).get("session_id")) for row in rows)
    by_id = {row["session_id"]: row for row in rows}
    render.table(
        [{**by_id[name], "name": indented(name, depth)} for name, depth in tree],
        Column("SESSION", "name"),
        Column("STARTED (UTC)", "started_at", lambda at: formats.date_time(at)[:16], whole=True),
        Column("DURATION", "duration_s", formats.seconds, spare=1),
        Column("AGENTS", "agents", formats.count, spare=2),
        Column("EVENTS", "events", formats.count),
        Column("ERRORS", "errors", formats.count),
        Column("MiB", "size_bytes", lambda size_bytes: f"{size_bytes / 2**20:,.1f}", spare=3),
        Column("STATE", "state", looks=STATE_STYLES),
    )
    for row in rows:
        if row["lost"]:
            lost, name = formats.plural(row["lost"], "event"), row["session_id"]
            render.note(f"{name} lost {lost}; agent-trace verify {name} shows which")
        if row["origin"]:
            origin = row["origin"]
            verb = origin["relation"].removesuffix("_from")
            render.note(f"{row['session_id']} was {verb} from {origin['run']} at {origin['step']}")
        if row["problem"]:
            ending = "" if row["state"] == "encrypted" else "; its events are still readable"
            render.note(f"{row['session_id']}: {row['problem']}{ending}")


def indented(name: str, depth: int) -> str:
    """A name in a tree, indented below its origin."""
    return f"{'  ' * (depth - 1)}└ {name}" if depth else name


def _print(sections: Iterable[Section]) -> None:
    width = render.width_of_terminal()
    render.emit_report(sections_text(sections, width), width=width)


@command()
def interactions(
    run: OneRun,
    more: More,
    content: Annotated[str | None, "--content ID"],
    root: Root,
    **across: Unpack[Across],
) -> None:
    """Show who interacted with whom, and what spread.

    The graph of interactions, connections and messages, the content that spread furthest, who worked
    together, and messages that nobody received. RUN is a session: an id, a unique prefix of one, a path, or
    last; or SESSION/agent_id for what one agent takes part in. With --engine, RUN and PATH are sealed
    sessions, trace roots or patterns of both.

    Args:
        content: Show how this piece of content spread, as a tree.

    Examples:
        agent-trace interactions
        agent-trace interactions last/creator_017
        agent-trace interactions --content creator_031-post-008
        agent-trace interactions last --json
        agent-trace interactions --engine spark '/shared/*/trace'
    """
    from Agent.analysis.questions.interactions import cascade, interaction_lines, interaction_report
    from Agent.analysis.report.details import cascade_sections, interaction_sections

    # whole: including what others did to the agent
    with parameters.asked(run, more, root, whole=True, **across) as (engine, agent, _):
        if content is None:
            report = interaction_report(engine, agent, edges=render.wants_json())
        elif agent is not None:
            raise misuse("--content shows how content spread in a session; leave out the agent")
        else:
            with interaction_lines(engine) as lines:
                spread = cascade(engine, lines, content)
    if content is not None:
        render.document(lambda: spread)
        _print(cascade_sections(spread))
        return
    render.document(lambda: report)
    if not report["graph"]["nodes"] and not report["total_interactions"] and not report["cascades"]["total"]:
        render.note("no interactions; InteractionLogger and AgentLogger.send record them")
        return
    _print(interaction_sections(report))
    if any(row["tree"] for row in report["top_cascades"]):
        first = report["top_cascades"][0]["content_id"]
        render.note(f"agent-trace interactions --content {first} shows how one spread")


def __getattr__(name: str) -> click.Command:
    """The command of a report."""
    if name not in REPORTS:
        raise AttributeError(name)
    return _command_of(REPORTS[name])


def _command_of(report: Report) -> click.Command:
    def of_agent(
        agent: parameters.SomeAgent,
        run: parameters.OneSession,
        more: More,
        options: parameters.Options,
        root: Root,
        **across: Unpack[Across],
    ) -> None:
        with parameters.asked(run, more, root, agent, **across) as about:
            found = report.ask(about.engine, about.agent, about.reader, options)
        render.document(lambda: found)
        sections = list(report.sections(found))
        if sections:
            _print(sections)
        else:
            render.note(report.nothing)

    def of_run(
        run: OneRun, more: More, options: parameters.Options, root: Root, **across: Unpack[Across]
    ) -> None:
        of_agent(None, run, more, options, root, **across)

    ask = of_agent if report.names_agent else of_run
    of_one = "" if report.names_agent else "; or SESSION/agent_id for one agent"
    of_all = ", and AGENT is an agent, or '*' for all" if report.names_agent else ""
    examples = "\n".join(f"    agent-trace {report.name} {each}".rstrip() for each in ("", *report.examples))
    ask.__doc__ = f"""{report.summary}

{report.about} RUN is a session: an id, a unique prefix of one, a path, or last{of_one}. With --engine, RUN
and PATH are sealed sessions, trace roots or patterns of both{of_all}.

Examples:
{examples}
"""
    return command(name=report.name, asks=report.function)(ask)
