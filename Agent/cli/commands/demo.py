"""Running programs: `demo` records a simulation, `run` an unmodified program, `control` pauses one."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import click

from Agent.cli import parameters, render
from Agent.cli.commands.replay import show_replay
from Agent.cli.parameters import Count, Place, Root, command, complete_runs, misuse
from Agent.cli.render import bar, shown, working
from Agent.errors import AgentNotFound, InputError, UsageError
from Agent.render import layout
from Agent.render.formats import cell
from Agent.tree.default_root import default_root
from Agent.tree.layout import find_session, session_id_of

if TYPE_CHECKING:
    from Agent.demo.platform import DemoRecording
    from Agent.replay import ReplayReport
    from Agent.tree.files.control import ControlledProgram

AGENTS, TICKS, SEED = 50, 40, 7
"""The defaults of `Agent.demo.platform`, repeated so that --help need not import it."""

_RUNNER: Final = "Agent.cli.run_program"
_PACKAGES: Final = Path(__file__).resolve().parents[3]
"""The directory of this package, which need not be installed."""

REPAIRED = "Agent.demo.targets:repaired_creator"


@command()
def demo(
    *,
    seed: Annotated[int, "--seed N"] = SEED,
    agents: Annotated[int, "--agents N", Count(min=2)] = AGENTS,
    ticks: Annotated[int, "--ticks N", Count(min=12)] = TICKS,
    root: Place,
) -> int:
    """Record a simulation, explain it, and replay it.

    The simulation is a content platform: creators learn what to publish and when, an audience reacts, posts
    spread, a tool fails now and then, and one creator has a bug. The demo finds the bug, replays that creator
    from its log, and replays it again with the bug fixed. The same seed gives the same simulation. Exit code
    0: every step had the expected result.

    Args:
        seed: Seed of the simulation.
        agents: Number of creators.
        ticks: Number of ticks.

    Examples:
        agent-trace demo
        agent-trace demo --seed 3 --agents 200 --place ./trace
    """
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    recording, seconds = _record(root, seed, agents, ticks)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # The replays run in processes, in parallel with the analysis of the log.
        same, repaired = (
            pool.submit(copy_context().run, _replay, recording, root, target) for target in (None, REPAIRED)
        )
        answer: dict[str, Any] = {"recording": _recording_object(recording, root, seconds)}
        _show_recording(recording, seconds)
        answer["analysis"] = _analyze(recording, root)
        answer["debug"] = _debug(recording, root)
        _show_replays(recording, root, same.result, repaired.result)
    answer["replay"], answer["replay_repaired"] = same.result().to_dict(), repaired.result().to_dict()
    answer["next_commands"] = _next_commands(recording, root, _tick_of_fault(recording, repaired.result()))
    render.document(lambda: answer)
    _show_end(recording, answer["next_commands"])
    verdicts = (str(same.result().verdict), str(repaired.result().verdict))
    return 0 if verdicts == ("IDENTICAL", "DIVERGED") and answer["debug"]["causes"] else 1


def _record(root: Path, seed: int, agents: int, ticks: int) -> tuple[DemoRecording, float]:
    """Record the simulation; return the recording and the duration in seconds."""
    from Agent.demo.platform import Settings, record_session

    began = time.perf_counter()
    settings = Settings(agents=agents, ticks=ticks, seed=seed)
    with bar("simulating") as show:
        recording = record_session(root, settings, lambda tick: show(tick / ticks))
    return recording, time.perf_counter() - began


def _agent(recording: DemoRecording) -> str:
    """The agent with the bug."""
    return recording.settings.throttled_client


def _issue(recording: DemoRecording) -> str:
    return f"Agent {_agent(recording)} stopped publishing"


def _run(recording: DemoRecording) -> str:
    return f"{recording.session_id}/{_agent(recording)}"


def _place(root: Path) -> str:
    """The option that lets a command find the root again; "" for the default root."""
    return "" if default_root() == root else f" --root {shlex.quote(str(root))}"


def _command(line: str) -> None:
    """Print a command line as the user would type it."""
    for part in layout.fitting(f"  $ {line}", render.width_of_page()):
        render.emit(render.paint(part, fg="cyan"))


def _recording_object(recording: DemoRecording, root: Path, seconds: float) -> dict[str, Any]:
    outcome = asdict(recording.outcome)
    outcome["cascades"] = len(recording.outcome.cascades)
    return {
        "session_id": recording.session_id,
        "session": str(recording.session),
        "root": str(root),
        "seconds": round(seconds, 3),
        "settings": asdict(recording.settings),
        "outcome": outcome,
        "fault_agent_id": _agent(recording),
    }


def _show_recording(recording: DemoRecording, seconds: float) -> None:
    settings, outcome = recording.settings, recording.outcome
    largest = max((cascade.size for cascade in outcome.cascades), default=0)
    render.heading("A content platform, simulated and recorded", f"seed {settings.seed}")
    render.pairs(
        (
            (
                "size",
                f"{settings.agents} creators, 4 audience segments, 1 trend service, {settings.ticks} ticks",
            ),
            ("posts", f"{outcome.posts:,}, which got {outcome.likes:,} likes, {outcome.comments:,} comments"),
            (
                "shares",
                f"{outcome.shares:,}, {len(outcome.cascades)} cascades, the largest with {largest} shares",
            ),
            ("among agents", f"{outcome.messages} messages, {outcome.collaborations} joint posts"),
            ("failures", f"{outcome.failures} lookups at the trend service"),
            ("took", f"{seconds:.1f} s, recording included"),
        )
    )


def _analyze(recording: DemoRecording, root: Path) -> dict[str, Any]:
    from Agent.analysis import analyze_session

    render.heading("What happened")
    _command(f"agent-trace analyze {recording.session_id}{_place(root)}")
    render.emit()
    with shown("reading the log"):
        report = analyze_session(recording.session_id, root)
    width = render.width_of_page()
    render.emit_report(report.to_text(width - 2), indent="  ", width=width)
    return report.to_dict()


def _debug(recording: DemoRecording, root: Path) -> dict[str, Any]:
    from Agent.analysis import LogAnalyzer

    render.heading("A bug to find")
    _command(f'agent-trace debug "{_issue(recording)}"{_place(root)}')
    render.emit()
    with working("looking for causes"):
        report = LogAnalyzer(recording.session_id, root).debug_issue(_issue(recording))
    for cause in report.causes[:1]:
        render.paragraph(cause.title, bold=True)
        for line in cause.explanation.splitlines():
            render.paragraph(line)
        render.paragraph(f"confidence {cause.confidence:.2f}", dim=True)
    if not report.causes:
        render.paragraph("Nothing found that explains it; try a longer simulation: --ticks 96")
    return report.to_dict()


def _replay(recording: DemoRecording, root: Path, target: str | None) -> ReplayReport:
    from Agent.replay import replay_run

    return replay_run(_run(recording), target, root)


def _show_replays(
    recording: DemoRecording,
    root: Path,
    same: Callable[[], ReplayReport],
    repaired: Callable[[], ReplayReport],
) -> None:
    """Print both replays, each as soon as it is done."""
    render.heading("The same agent, replayed from its log")
    _show_replay(recording, root, "", same)
    render.heading("The same agent with one line changed")
    render.paragraph("The quota error gives its retry time in seconds; this creator reads it as ticks.")
    for line in _changed_lines():
        for part in layout.fitting(f"  {line}", render.width_of_page()):
            render.emit(render.paint(part, fg="red" if line.startswith("-") else "green"))
    render.emit()
    _show_replay(recording, root, f" --target {REPAIRED}", repaired)


def _show_replay(
    recording: DemoRecording, root: Path, option: str, replayed: Callable[[], ReplayReport]
) -> None:
    _command(f"agent-trace replay {_run(recording)}{option}{_place(root)}")
    render.emit()
    with working("replaying"):
        report = replayed()
    show_replay(report, indent="  ", width=render.width_of_page())


def _changed_lines() -> list[str]:
    """The changed lines of the repaired creator, as a diff of the sources."""
    import difflib
    import inspect

    from Agent.demo.creators import Creator
    from Agent.demo.targets import RepairedCreator

    before, after = (inspect.getsource(cls.ticks_to_wait).splitlines() for cls in (Creator, RepairedCreator))
    difference = difflib.unified_diff(before, after, lineterm="", n=0)
    return [f"{line[0]} {line[1:].strip()}" for line in difference if line[:3] not in ("---", "+++", "@@ ")]


def _next_commands(recording: DemoRecording, root: Path, tick: int) -> list[str]:
    root_option, session = _place(root), recording.session_id
    stretch = f"--since tick:{max(tick - 2, 0)} --until tick:{tick + 2}"
    return [
        f"agent-trace journey {_agent(recording)} {stretch}{root_option}",
        f"agent-trace errors --session {session}{root_option}",
        f"agent-trace play {_run(recording)}{root_option}",
        f"agent-trace replay {session}/creator_001 --target Agent.demo.targets:changed_creator{root_option}",
        f"agent-trace tail -n 10 --type cascade --session {session}{root_option}",
    ]


def _tick_of_fault(recording: DemoRecording, repaired: ReplayReport) -> int:
    """The tick at which the repaired creator first differs, else that at which the agent last published."""
    from Agent.archive.sealed.reader import open_reader

    if repaired.divergence is not None:
        for event in open_reader(recording.session).agent_events(_agent(recording)):
            if event.id == repaired.divergence.event_id and event.tick is not None:
                return event.tick
    return recording.outcome.last_published.get(_agent(recording), 0)


def _show_end(recording: DemoRecording, commands: list[str]) -> None:
    render.heading("Where the files are, and what to try next")
    agent = recording.session / "agents" / f"{_agent(recording)}.log"
    render.pairs(
        (
            ("log files", f"{recording.session}/"),
            ("one agent", agent),
            ("the code", "Agent/demo/creators.py, Agent/demo/targets.py"),
        )
    )
    render.emit()
    for line in commands:
        _command(line)


@command(json=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    *,
    program: Annotated[str, "PROGRAM"],
    arguments: Annotated[tuple[str, ...], "[ARGUMENTS]", click.UNPROCESSED],
    is_module: Annotated[bool, "-m --module"],
    no_spans: bool,
    endpoint: Annotated[str | None, "--export-to URL"],
    content: bool,
    root: parameters.Root,
) -> None:
    """Run a program and record it, without changing it.

    Records what the program records itself, the classes that agent-trace.toml names under [[instrument]], and
    the spans of all libraries with an installed OpenTelemetry instrumentation, each in the action of the
    agent that caused it. The exit code is the program's.

    Args:
        is_module: PROGRAM is a module, as in python -m.
        no_spans: Record no spans of libraries, for programs that set their own tracer provider.
        endpoint: Also export the session as spans to this receiver of OTLP while it runs.
        content: Export arguments, results and prompts, too.

    Examples:
        agent-trace run simulation.py --ticks 100
        agent-trace run -m my_package.main
        agent-trace run --export-to http://localhost:6006 simulation.py
    """
    if any("\0" in word for word in (program, *arguments)):
        raise misuse("a program and its arguments cannot hold a NUL")
    settings = {"is_module": is_module, "spans": not no_spans, "endpoint": endpoint, "content": content}
    # Not `-m`: the program's directory takes the first place of the path, as if Python had started it.
    start = f"import sys; sys.path[0] = {str(_PACKAGES)!r}; from {_RUNNER} import main; sys.exit(main())"
    argv = [sys.executable, "-c", start, json.dumps(settings), program, *arguments]
    sys.stdout.flush()
    environment = {**os.environ, "AGENT_TRACE_ROOT": str(Path(root).absolute())}
    os.execve(sys.executable, argv, environment)  # noqa: S606 - this interpreter, this package


_WAIT_S: Final = 10.0
Request = Literal["status", "pause", "step", "resume", "set"]


@command()
def control(
    name: Annotated[str, "SESSION", {"shell_complete": complete_runs}],
    what: Annotated[Request, "{status|pause|step|resume|set}"],
    arguments: Annotated[tuple[str, ...], "[ARGUMENT]..."],
    wait: Annotated[float, "--wait SECONDS", parameters.NOT_NEGATIVE] = _WAIT_S,
    *,
    root: Root,
) -> int:
    """Pause a running program, step it, and change its agents.

    The program has to allow it, with setup_logging(control=True), and to mark its steps, with tick(n). It
    takes requests where a tick begins. pause holds it there until resume; step, or step N, lets one tick
    or N ticks begin and holds it again; set AGENT FIELD=VALUE changes a field that the agent exposes, while
    the program is paused or at the next tick. Each of these becomes an event, and a replay repeats the
    changes.

    VALUE is JSON, or a text; it must have the type that the field has. SESSION is an id, a unique prefix of
    one, a path, or last. Exit code 1: the program is not in the state for that, or began no tick in time, and
    the request was withdrawn; status: it ended or was killed. 2: the agent has no such field, or cannot take
    that value. 3: no program of the session allows control, or it has no such agent.

    Args:
        wait: How long to wait for the next tick.

    Examples:
        agent-trace control last pause
        agent-trace control last step 5
        agent-trace control last set household_7 wealth=100
        agent-trace control last status
        agent-trace control last resume
    """
    path = find_session(root, name)
    if what == "status":
        _no_more(what, arguments)
        return _status(path)
    request: dict[str, Any] = {"command": what}
    if what == "set":
        request |= _change(arguments)
    elif what == "step":
        request["ticks"] = _ticks(arguments)
    else:
        _no_more(what, arguments)
    return _ask(path, request, wait)


def _ask(session: Path, sent: dict[str, Any], wait_s: float) -> int:
    from Agent.tree.files.control import NoTick, request, user_name

    try:
        with shown("waiting for the program's next tick"):
            answer = request(session, {**sent, "by": user_name()}, wait_s)
    except NoTick as late:
        return _not_done(session, str(late))
    refused = answer.get("refused")
    if refused is None:
        render.document(lambda: {"session": session_id_of(session), "done": True, **_described(answer)})
        render.emit_text(_sentence(sent, answer))
        return 0
    message, remedy = str(refused["message"]), refused["remedy"]
    if refused["what"] == "state":
        return _not_done(session, f"{message}; {remedy}" if remedy else message)
    error = AgentNotFound if refused["what"] == "agent" else UsageError
    raise error(message, remedy=remedy)


def _not_done(session: Path, why: str) -> int:
    render.document(lambda: {"session": session_id_of(session), "done": False, "why": why})
    render.note(render.clean(why), always=True)
    return 1


def _sentence(request: dict[str, Any], answer: dict[str, Any]) -> str:
    from Agent.tree.files.control import before

    position = before(answer["tick"])
    if request["command"] == "set":
        return (
            f"{request['field']} of {request['agent_id']}{position}: {cell(answer['old'])} -> "
            f"{cell(answer['new'])} (event {answer['event_id']})"
        )
    return f"running on{position}" if request["command"] == "resume" else f"paused{position}"


def _described(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "id"}


def _change(arguments: tuple[str, ...]) -> dict[str, Any]:
    from Agent.event.values.plain import json_or_text

    if len(arguments) != 2 or "=" not in arguments[1][1:]:
        raise misuse("set takes AGENT FIELD=VALUE")
    name, _, text = arguments[1].partition("=")
    return {"agent_id": arguments[0], "field": name, "value": json_or_text(text), "text": text}


def _ticks(arguments: tuple[str, ...]) -> int:
    if len(arguments) > 1 or not all(each.isascii() and each.isdecimal() and int(each) for each in arguments):
        raise misuse("step takes the number of ticks, at least 1")
    return int(arguments[0]) if arguments else 1


def _no_more(what: str, arguments: tuple[str, ...]) -> None:
    if arguments:
        raise misuse(f"{what} takes nothing more")


def _status(session: Path) -> int:
    from Agent.tree.files.control import ENDED, controlled, read_program

    program = read_program(session)
    try:
        controlled(session)
    except InputError as error:
        if program is None:
            raise
        why: str | None = error.message
        state = ENDED if program.state == ENDED else "killed"
    else:
        assert program is not None  # noqa: S101 - else `controlled` raises
        why, state = None, program.state
    fields = {name: getattr(program, name) for name in ("tick", "since", "pid", "has_ticked")}
    render.document(lambda: {"session": session_id_of(session), "state": state, **fields})
    render.emit_text(why or _status_words(program))
    return 1 if why else 0


def _status_words(program: ControlledProgram) -> str:
    from Agent.tree.files.control import PAUSED, before

    if program.state == PAUSED:
        return f"paused{before(program.tick)} since {program.since} (process {program.pid})"
    ticks = "" if program.has_ticked else "; no tick has begun yet: with tick(n) marks the steps"
    return f"running (process {program.pid}){ticks}"
