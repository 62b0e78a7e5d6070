"""`export` converts sessions for other tools and machines; `import` makes sessions of what those have."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, TypedDict, Unpack

import click

from Agent.cli import parameters, render
from Agent.cli.commands.serve import patient, show_paths
from Agent.cli.parameters import Place, Root, Run, command, misuse
from Agent.cli.render import shown, working
from Agent.errors import UsageError
from Agent.render import formats
from Agent.tree.layout import NEW_FILE, find_session, open_private, recorded_at, session_id_of

if TYPE_CHECKING:
    from Agent.archive.log_import import ImportedLines
    from Agent.client.otlp import OtlpDestination, OtlpShipment
    from Agent.export.allow_list import AllowList
    from Agent.export.spans import Span
    from Agent.flight.run_reading import RunRef
    from Agent.record.encode.redaction import Redactor


_STILL_WRITTEN: Final = "a program is still writing to it: what has not ended is exported as unfinished"


@parameters.group(no_args_is_help=True)
def export() -> None:
    """Export recorded sessions for other tools.

    Examples:
        agent-trace export otlp --endpoint http://localhost:6006
        agent-trace export otlp --file spans.jsonl --json
        agent-trace export perfetto last trace.pftrace
        agent-trace export parquet last events.parquet
        agent-trace export bundle last session.zip
        agent-trace export inspect last log.json
    """


class HowToSend(TypedDict):
    """What is sent to a receiver, and how often.

    Args:
        content: Also export arguments, results, prompts, messages and states.
        follow: Continue until the session's programs have ended.
        resume: Send only what the receiver does not have by this session's cursor, which --resume, --follow
            and a program that exports itself keep.
        again: Send everything, such as to a receiver that lost its data, and begin the cursor anew.
        patience_s: How long to wait for an answer.
    """

    content: bool
    follow: Annotated[bool, "-f --follow"]
    resume: bool
    again: bool
    patience_s: parameters.Patience


@command(of=export)
def otlp(
    *,
    run: Annotated[str, "[RUN]", {"default": "last"}],
    endpoint: Annotated[
        str | None, "--endpoint URL", {"envvar": "OTEL_EXPORTER_OTLP_ENDPOINT", "show_envvar": True}
    ],
    traces_endpoint: Annotated[
        str | None,
        "--traces-endpoint URL",
        {"envvar": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "show_envvar": True},
    ],
    file: Annotated[Path | None, "--file FILE", parameters.OUTPUT],
    headers: Annotated[tuple[str, ...], "--header NAME=VALUE"],
    service: Annotated[str | None, "--service NAME", {"envvar": "OTEL_SERVICE_NAME", "show_envvar": True}],
    root: Root,
    **how: Unpack[HowToSend],
) -> int:
    """Export a run or a session as spans of OpenTelemetry.

    A trace for each run, a span for each action, step, tool and model call, with the GenAI conventions' names
    and OpenInference's kinds. Names, ids, numbers and short labels are exported; what was left out is listed
    by path. A second export gives the same ids. RUN is a run, a session with all its runs, or last (the
    default). Without --endpoint and --file, lines of OTLP JSON are printed.

    Args:
        endpoint: A receiver of OTLP over HTTP with protobuf.
        traces_endpoint: The same as a complete URL: /v1/traces is not appended.
        file: Write lines of OTLP JSON to this new file.
        headers: A header for the receiver, such as a key; repeatable.
        service: The name of the program; in Phoenix the project. Default: agent-trace.

    Examples:
        agent-trace export otlp --endpoint http://localhost:6006
        agent-trace export otlp last --resume --endpoint http://localhost:4318
        agent-trace export otlp last --again --endpoint http://localhost:4318
        agent-trace export otlp 01a1f918 --file spans.jsonl
        agent-trace export otlp last --follow --endpoint http://localhost:4318
    """
    from Agent.flight.run_reading import find_run

    receivers = {"endpoint": endpoint, "traces_endpoint": traces_endpoint}
    named = [name for name, url in receivers.items() if url is not None and not _is_from_environment(name)]
    if len(named) + (file is not None) > 1:
        raise misuse("give one of --file, --endpoint and --traces-endpoint")
    if named:  # a variable for the other option is ignored
        endpoint, traces_endpoint = (receivers[name] if name in named else None for name in receivers)
    elif traces_endpoint is not None:
        endpoint = None
    if file is not None:
        endpoint = traces_endpoint = None
    if endpoint is None and traces_endpoint is None and (headers or _keeps_cursor(how)):
        raise misuse("--header, --follow, --resume and --again need --endpoint or --traces-endpoint")
    if how["resume"] and how["again"]:
        raise misuse("--resume sends what is missing, --again everything; give one of them")
    ref = find_run(run, root)
    if ref.agent_id is not None:
        raise misuse("a trace is a whole run; give the session without the agent")
    if endpoint is not None or traces_endpoint is not None:
        from Agent.client.otlp import otlp_destination

        chosen = dict(_header(each) for each in headers) if headers else None
        destination = otlp_destination(endpoint, chosen, service, traces_endpoint=traces_endpoint)
        return _to_receiver(ref, destination, how)
    return _to_lines(ref, file, service, how["content"])


def _is_from_environment(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.ENVIRONMENT


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise misuse("a header is written NAME=VALUE")
    return name, value


def _runs(ref: RunRef) -> frozenset[str | None] | None:
    """The runs to export: one with its nested runs, or all of a session."""
    if ref.run_id is None:
        return None
    from Agent.archive.sealed.reader import open_reader

    return frozenset(open_reader(ref.session).begun_in([ref.run_id]))


def _spans(ref: RunRef, allowed: AllowList, content: bool) -> Iterator[Span]:
    from Agent.client.otlp import spans_of
    from Agent.tree.files.session import is_written, open_session

    if is_written(ref.session):
        render.note(_STILL_WRITTEN)
    yield from spans_of(ref.session, open_session(ref.session), allowed, runs=_runs(ref), content=content)


def _to_lines(ref: RunRef, file: Path | None, service: str | None, content: bool) -> int:
    from Agent.client.otlp import described_program
    from Agent.export.allow_list import AllowList
    from Agent.export.otlp import as_json, in_batches
    from Agent.record.user_key import redaction_key

    allowed = AllowList(redaction_key())
    name, attributes = described_program(service)
    count = size_bytes = 0
    with ExitStack() as stack:
        out: BinaryIO = sys.stdout.buffer
        if file is not None:
            with _reporting_existing(file):
                out = stack.enter_context(os.fdopen(open_private(file, NEW_FILE), "wb"))
        for portion in in_batches(_spans(ref, allowed, content)):
            line = as_json(portion, name, attributes) + b"\n"
            out.write(line)
            count, size_bytes = count + len(portion), size_bytes + len(line)
    if file is not None:
        render.document(
            lambda: {"file": str(file), "spans": count, "left_out": dict(allowed.dropped.most_common())}
        )
        render.emit(f"{file}: {formats.plural(count, 'span')}, {formats.size(size_bytes)}")
    show_paths("left out", allowed.dropped)
    return 0


def _keeps_cursor(how: HowToSend) -> bool:
    """Whether the session's cursor is updated."""
    return how["follow"] or how["resume"] or how["again"]


def _to_receiver(ref: RunRef, destination: OtlpDestination, how: HowToSend) -> int:
    if ref.run_id is not None and _keeps_cursor(how):
        raise misuse("--follow, --resume and --again export whole sessions")
    if destination.shows_key:
        render.note(f"the headers go to {destination.place} unencrypted; use https")
    place = destination.place
    wait = patient(lambda: f"{place}: no answer yet, trying for {how['patience_s']:g} seconds")
    already, problem = 0, None
    if _keeps_cursor(how):
        shipment = _ship(ref, destination, wait, how)
        outcome, dropped = shipment.outcome, shipment.dropped
        already, problem = shipment.already, shipment.cursor_problem
    else:
        outcome, dropped = _send(ref, destination, wait, how)
    answer = {
        "endpoint": destination.place, "session": str(recorded_at(ref.session)), "run": ref.run_id,
        "spans": outcome.sent,
        "already": already, "refused": outcome.refused, "reasons": dict(outcome.reasons),
        "requests": outcome.bodies, "bytes": outcome.bytes, "retries": outcome.retries,
        "left_out": dict(dropped.most_common()),
    }  # fmt: skip
    render.document(lambda: answer)
    amount = f"{formats.size(outcome.bytes)} in {formats.plural(outcome.bodies, 'request')}"
    if already and not outcome.sent and not outcome.refused:
        render.emit(f"everything is already at {destination.place}: {formats.plural(already, 'span')}")
        render.note("  --again sends all of them again, should it have lost them")
    else:
        before = f"; {formats.plural(already, 'span')} were there already" if already else ""
        render.emit(f"{formats.plural(outcome.sent, 'span')} sent to {destination.place}, {amount}{before}")
    show_paths("left out", dropped)
    for reason, times in outcome.reasons.items():
        render.note(f"  {formats.plural(times, 'span')} refused: {render.clean(reason)}")
    if problem is not None:
        render.note(f"  the cursor cannot be saved ({problem}), so --resume would send everything again")
    return 1 if outcome.refused else 0


def _send(ref: RunRef, destination: OtlpDestination, wait: Any, how: HowToSend) -> Any:
    from Agent.client.destination import Connection
    from Agent.client.otlp import OtlpDelivery
    from Agent.export.allow_list import AllowList
    from Agent.export.otlp import in_batches
    from Agent.record.user_key import redaction_key

    allowed = AllowList(redaction_key())
    with closing(Connection(destination)) as connection:
        delivery = OtlpDelivery(connection, {}, wait, destination=destination, patience_s=how["patience_s"])
        for portion in in_batches(_spans(ref, allowed, how["content"])):
            delivery.send(list(portion))
    return delivery.outcome, allowed.dropped


def _ship(ref: RunRef, destination: OtlpDestination, wait: Any, how: HowToSend) -> OtlpShipment:
    from Agent.client.otlp import OtlpShipment
    from Agent.tree.files.session import is_written

    named: dict[str, Any] = {**how}
    sent = {name: named[name] for name in ("content", "patience_s", "resume")}
    with OtlpShipment(ref.session, destination, wait, **sent) as shipment:
        if how["follow"]:
            shipment.ship_all(follow=True)
        else:
            if is_written(ref.session):
                render.note(_STILL_WRITTEN)
            shipment.ship_recorded()
    return shipment


NewFile = Annotated[Path, "FILE", parameters.OUTPUT]
Query = Annotated[str, "--query -q SQL", "The rows to write, as for agent-trace sql."]
_ALL: Final = "SELECT * FROM events ORDER BY ts_us, writer, seq"


@command(of=export)
def bundle(*, run: Run, file: NewFile, root: Root) -> None:
    """Write a session as one file, for another machine or an archive.

    The file is a zip with every log file as it is, artifacts, checkpoints, replays, and the digests made
    during recording; agent-trace import bundle makes the same session of it. It has no host, command line,
    settings or targets. RUN is a session; for one run, see runs --export.

    Examples:
        agent-trace export bundle last session.zip
        agent-trace export bundle 20261120_103045 incident.zip --json
    """
    from Agent.archive.run_export import export_bundle

    session, agent = parameters.split_run(run)
    if agent is not None:
        raise misuse("a bundle is a whole session; give it without the agent")
    with working("writing the bundle"):
        done = export_bundle(find_session(root, session), file)
    render.document(done.to_dict)
    render.emit(
        f"{done.path} ({formats.size(done.size_bytes)}): {formats.plural(done.events, 'event')}, "
        f"{formats.plural(len(done.runs), 'run')}"
    )
    render.note("it contains inputs and outputs of agents; share it only with people who may see them")


@command(of=export)
def inspect(*, run: Run, file: NewFile, root: Root) -> None:
    """Write a session as a log of an evaluation with Inspect.

    Each agent is a sample; actions are spans, and calls of models and tools and errors are Inspect's own
    events. inspect view shows it, and inspect_ai.log.read_eval_log reads it. What was imported from such a
    log has its samples, inputs and scores again. RUN is a session, a run, or SESSION/agent_id.

    Examples:
        agent-trace export inspect last logs/session.json
        agent-trace export inspect last/creator_017 creator.json
    """
    from Agent.export.inspect_log import write_inspect
    from Agent.flight.run_reading import find_run

    with working("writing the log"), _reporting_existing(file):
        written = write_inspect(file, find_run(run, root))
    render.document(lambda: asdict(written))
    render.emit(
        f"{file} ({formats.size(written.size_bytes)}): {formats.plural(written.events, 'event')} "
        f"of {formats.plural(written.samples, 'sample')}"
    )
    render.note("it contains inputs and outputs of agents; share it only with people who may see them")


@command(of=export)
def perfetto(*, run: Run, file: NewFile, root: Root) -> None:
    """Write a session as a trace of Perfetto.

    Open the file with ui.perfetto.dev, which reads it on your machine. A track for each agent with nested
    slices of its actions, instants for other events, flows from causes to effects such as messages, and
    counters for rewards and metrics. Names, ids and numbers are written, contents are not. RUN is a session.

    Examples:
        agent-trace export perfetto last trace.pftrace
    """
    from Agent.analysis.questions.perfetto import write_perfetto

    analyzer = parameters.analyzer_of(run, root)
    with working("writing the trace"), _reporting_existing(file):
        written = write_perfetto(file, analyzer.reader, analyzer.engine)
    render.document(lambda: asdict(written))
    render.emit(
        f"{file} ({formats.size(written.size_bytes)}): {formats.plural(written.slices, 'slice')}, "
        f"{formats.plural(written.instants, 'instant')}, {formats.plural(written.flows, 'flow')}, "
        f"{formats.plural(written.counter_values, 'value')} of counters "
        f"on {formats.plural(written.tracks, 'track')}"
    )


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
    from Agent.analysis.query.tables import WRITERS, SqlResult

    with parameters.engine_of(run, root) as engine, shown("writing the rows"), _reporting_existing(file):
        number = WRITERS[form](file, SqlResult(engine, query))
    size_bytes = file.stat().st_size
    render.document(lambda: {"path": str(file), "rows": number, "size_bytes": size_bytes})
    render.emit(f"{file} ({formats.size(size_bytes)}): {formats.plural(number, 'row')}")


@contextmanager
def _reporting_existing(file: Path) -> Iterator[None]:
    """Convert the error of an existing file to a usage error."""
    try:
        yield
    except FileExistsError:
        raise UsageError("the file exists", path=file, remedy="give a new one") from None


File = Annotated[str, "FILE"]
Large = Annotated[bool, "--large", "Import a file that unpacks to over 100 times its size."]
Map = Annotated[
    tuple[str, ...],
    "--map -m FIELD=PLACE",
    "Where a field of an event is: a.b, /a/b, or =text for a constant; repeatable, or with commas.",
]


@parameters.group(no_args_is_help=True)
def import_() -> None:
    """Import another program's log as a session.

    Secrets are replaced before anything is written. import bundle takes sessions of Agent Trace.

    Examples:
        agent-trace import jsonl app.jsonl --map agent_id=user.name --map action=event
        agent-trace import otlp spans.jsonl --json
        agent-trace import inspect evaluation.json
        agent-trace import bundle session.zip
    """


@command(of=import_, name="jsonl")
def from_jsonl(*, file: File, mapping: Map, root: Place) -> None:
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

    _import_file(import_lines, file, mapping, root)


@command(of=import_, name="otlp")
def from_otlp(*, file: File, mapping: Map, root: Place) -> None:
    """Import spans from lines of OTLP JSON as a session.

    Each span is an action of the agent that gen_ai.agent.id or .name names, else of the service. --map reads
    other attributes: agent_id=attributes.worker.

    Examples:
        agent-trace import otlp spans.jsonl
        agent-trace import otlp spans.jsonl -m tick=attributes.step
    """
    from Agent.archive.log_import import import_otlp

    _import_file(import_otlp, file, mapping, root)


@command(of=import_, name="inspect")
def from_inspect(*, file: File, mapping: Map, root: Place) -> None:
    """Import the JSON log of an evaluation with Inspect as a session.

    Each sample is an agent; calls of models and tools, and spans, are its actions. --map reads other members
    of Inspect's events. A log that ends in .eval becomes one in JSON by inspect log convert.

    Examples:
        agent-trace import inspect logs/2026-11-20_arithmetic.json
    """
    from Agent.archive.log_import import import_inspect

    _import_file(import_inspect, file, mapping, root)


@command(of=import_, name="bundle")
def from_bundle(*, file: File, root: Place, large: Large) -> int:
    """Import a session or a run that was exported elsewhere.

    Takes what export bundle and runs --export write. Everything in the file is checked first; a bad one is
    one error, and leaves nothing. It names no code to run: replay needs --target. Exit code 1: it is whole,
    but agent-trace verify finds losses or edits in what was recorded.

    Examples:
        agent-trace import bundle session.zip
        agent-trace import bundle session.zip --root elsewhere --json
    """
    from Agent.archive.run_import import PackageLimits, import_run
    from Agent.archive.verify import verify

    limits = PackageLimits(max_ratio=math.inf) if large else None
    with working("importing"):
        done = import_run(file, root, limits=limits)
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


def _import_file(
    convert: Callable[[Path, Iterable[str], Path, Redactor], ImportedLines],
    file: str,
    mapping: tuple[str, ...],
    root: Path,
) -> None:
    from Agent.record.encode.redaction import Redactor
    from Agent.record.user_key import redaction_key

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
