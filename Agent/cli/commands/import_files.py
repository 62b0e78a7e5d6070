"""`import`: make a session of what another program logged, or of a session that was exported elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from Agent.cli import parameters, render
from Agent.cli.parameters import Place, command
from Agent.cli.render import working
from Agent.render import formats
from Agent.tree.layout import session_id_of

if TYPE_CHECKING:
    from Agent.archive.log_import import ImportedLines
    from Agent.record.encode.redaction import Redactor

File = Annotated[str, "FILE"]
Map = Annotated[
    tuple[str, ...],
    "--map -m FIELD=PLACE",
    "Where a field of an event is: a.b, /a/b, or =text for a constant; repeatable, or with commas.",
]


@parameters.group(no_args_is_help=True)
def import_() -> None:
    """Make a session of what another program logged.

    Secrets are replaced before anything is written. import bundle takes sessions of Agent Trace.

    Examples:
        agent-trace import jsonl app.jsonl --map agent_id=user.name --map action=event
        agent-trace import otlp spans.jsonl --json
        agent-trace import inspect evaluation.json
        agent-trace import bundle session.zip
    """


@command(of=import_)
def jsonl(*, file: File, mapping: Map, root: Place) -> None:
    """Import JSON lines as a session.

    A line is one event. Fields of an event are timestamp (or started), level, message, logger, agent_id,
    agent_role, action, kind, tick, duration_ms (or duration_s), span_id, parent_span_id, id, causes and
    error. Those that --map does not name are looked for under usual names, such as ts, msg and agent.
    Everything else in a line stays in the event's payload. Skipped lines are counted. Exit code 3: no line
    is an event.

    Examples:
        agent-trace import jsonl app.jsonl
        agent-trace import jsonl app.jsonl -m timestamp=at,agent_id=user.name,action=/event/type
        agent-trace import jsonl app.jsonl -m agent_id==crawler --json
    """
    from Agent.archive.log_import import import_lines

    _import(import_lines, file, mapping, root)


@command(of=import_)
def otlp(*, file: File, mapping: Map, root: Place) -> None:
    """Import spans from lines of OTLP JSON as a session.

    Each span is an action of the agent that gen_ai.agent.id or .name names, else of the service. --map reads
    other attributes: agent_id=attributes.worker.

    Examples:
        agent-trace import otlp spans.jsonl
        agent-trace import otlp spans.jsonl -m tick=attributes.step
    """
    from Agent.archive.log_import import import_otlp

    _import(import_otlp, file, mapping, root)


@command(of=import_)
def inspect(*, file: File, mapping: Map, root: Place) -> None:
    """Import the JSON log of an evaluation with Inspect as a session.

    Each sample is an agent; calls of models and tools, and spans, are its actions. --map reads other members
    of Inspect's events. A log that ends in .eval becomes one in JSON by inspect log convert.

    Examples:
        agent-trace import inspect logs/2026-11-20_arithmetic.json
    """
    from Agent.archive.log_import import import_inspect

    _import(import_inspect, file, mapping, root)


@command(of=import_)
def bundle(*, file: File, root: Place) -> int:
    """Import a session or a run that was exported elsewhere.

    Takes what export bundle and runs --export write. Everything in the file is checked first; a bad one is
    one error, and leaves nothing. It names no code to run: replay needs --target. Exit code 1: it is whole,
    but agent-trace verify finds losses or edits in what was recorded.

    Examples:
        agent-trace import bundle session.zip
        agent-trace import bundle session.zip --root elsewhere --json
    """
    from Agent.archive.run_import import import_run
    from Agent.archive.verify import verify

    with working("importing"):
        done = import_run(file, root)
        verification = verify(done.session)
    session = session_id_of(done.session)
    render.document(lambda: done.to_dict() | {"sound": verification.sound})
    render.emit(f"{formats.plural(done.events, 'event')} imported as session {session}")
    for run_id in done.runs:
        render.emit(f"  run {run_id}")
    if verification.chain is not None and verification.sound:
        render.emit(
            f"{formats.plural(verification.chain.lines, 'line')} match the digests made during recording"
        )
    if not verification.sound:
        render.emit(render.paint("not sound", fg="red") + f": agent-trace verify {session} says why")
    render.note(f"agent-trace analyze {session} reports what happened in it")
    return 0 if verification.sound else 1


def _import(
    convert: Callable[[Path, Iterable[str], Path, Redactor], ImportedLines],
    file: str,
    mapping: tuple[str, ...],
    root: Path,
) -> None:
    from Agent.config.load import redaction_key
    from Agent.record.encode.redaction import Redactor

    with working("importing"):
        done = convert(Path(file), mapping, root, Redactor(redaction_key()))
    render.document(done.to_dict)
    session = session_id_of(done.session)
    agents = formats.plural(len(done.agents), "agent")
    render.emit(f"{formats.plural(done.events, 'event')} of {agents} imported as session {session}")
    if done.skipped:
        render.note(f"{formats.plural(done.skipped, 'line')} skipped: {'; '.join(done.problems)}")
    if done.unknown_causes:
        render.note(
            f"{formats.plural(done.unknown_causes, 'cause')} left out, which no earlier line has as its id"
        )
    render.note(f"agent-trace analyze {session} reports what happened in it")
