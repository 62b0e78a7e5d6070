"""The options that commands share, and the completion of their values; the command modules use them."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from Agent.analysis.text import command_lines
from Agent.cli import render
from Agent.tree.default_root import default_root

if TYPE_CHECKING:
    from Agent.event.model import Event
    from Agent.replay.compare.normaliser import Normaliser

F = TypeVar("F", bound=Callable[..., Any])

_TARGET_HELP = (
    "MODULE:NAME of a class or factory that builds the agent; default: the one the session remembers."
)
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_EXAMPLE_WIDTH = 76
"""The help indents them by two columns and leaves two free, in a terminal of 80."""
_AGO = re.compile(r"-(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|min|h|d|w)", re.ASCII)


def command(*examples: str, of: click.Group | None = None, **how: Any) -> Callable[[Any], click.Command]:
    """`click.command`, or that of a group, with examples of use at the end of the help."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    lines = [shown for line in examples for shown in command_lines(f"  {line}", _EXAMPLE_WIDTH)]
    epilog = "\b\n" + "\n".join([title, *lines])
    return (click.command if of is None else of.command)(epilog=epilog, **how)


def group(*examples: str, **how: Any) -> Callable[[Any], click.Group]:
    """`click.group`, with examples likewise."""
    made: Callable[[Any], Any] = command(*examples, cls=click.Group, **how)
    return made


def find_code_here() -> None:
    """Let the code that is replayed be found where `python -m` would find it too."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def target_option(text: str = _TARGET_HELP) -> Callable[[F], F]:
    """`--target`, looked for before anything is read."""
    return click.option("--target", metavar="MODULE:FACTORY", callback=_found_target, help=text)


def _found_target(ctx: click.Context, _param: click.Parameter, target: str | None) -> str | None:
    if target is not None and not ctx.resilient_parsing:
        from Agent.replay.worker.jobs import check_target

        find_code_here()
        check_target(target)
    return target


def _root_of(ctx: click.Context) -> Path:
    """The trace root while a shell asks for completions; defaults may not be filled in yet."""
    return Path(ctx.params.get("root") or default_root())


def complete_sessions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the recorded sessions, newest first."""
    from Agent.tree.layout import list_sessions

    names = ["last", "last-fork", *reversed([ref.session_id for ref in list_sessions(_root_of(ctx))])]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_agents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The agents of the session that was named, or of the newest."""
    from Agent.archive.sealed.reader import open_reader
    from Agent.errors import InputError
    from Agent.tree.layout import find_session

    try:
        agents = open_reader(find_session(_root_of(ctx), ctx.params.get("session"))).agents()
    except InputError:
        return []  # a shell that completes has no place to tell; the command itself will
    return [CompletionItem(each.agent_id) for each in agents if each.agent_id.startswith(incomplete)]


def root_option_of(*names: str, text: str = "The trace root.") -> Callable[[F], F]:
    """The trace root under these names."""
    return click.option(
        *names,
        "root",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_root,
        show_default="as configured, else trace",
        envvar="AGENT_TRACE_ROOT",
        show_envvar=True,
        help=text,
    )


root_option = root_option_of("--root")
session_option = click.option(
    "--session",
    "-s",
    metavar="ID",
    default="last",
    shell_complete=complete_sessions,
    help="A session id, a unique prefix of one, a path, last, or last-fork.",
)


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[render.JSON_WANTED] = value


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_remember_json, help="Print JSON."
)
"""Commands do not see it: `render.gave_json` and `render.wants_json` do."""


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options and arguments as one decorator, in the order of the help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


common_options = together(json_option, root_option)
session_options = together(session_option, json_option, root_option)
network_option = click.option("--network", is_flag=True, help="Allow network access during the replay.")
agent_argument = click.argument("agent", shell_complete=complete_agents)


def limit_option(text: str, default: int | None = None) -> Callable[[F], F]:
    """`--limit N`: at most so many."""
    return click.option("--limit", "-n", type=click.IntRange(min=1), default=default, metavar="N", help=text)


def workers_option(text: str) -> Callable[[F], F]:
    """`--workers N`: how many at a time."""
    return click.option("--workers", type=click.IntRange(min=1), metavar="N", help=text)


class Number(click.FloatRange):
    """A number in a range, as seconds to wait; nan, which is outside of no range, and infinity are none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; click.BadParameter for anything else."""
        number = super().convert(value, param, ctx)
        if not number <= threading.TIMEOUT_MAX:
            self.fail(f"{value!r} is not a number up to {threading.TIMEOUT_MAX:.0f}", param, ctx)
        return number


def timeout_option(name: str, text: str = "Stop after this many seconds.") -> Callable[[F], F]:
    """`--timeout SECONDS`, under a name of the command's own."""
    return click.option("--timeout", name, type=Number(min=0, min_open=True), metavar="SECONDS", help=text)


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sessions, and the agents of one behind its slash."""
    session, slash, agent = incomplete.partition("/")
    if not slash:
        return complete_sessions(ctx, param, incomplete)
    ctx.params["session"] = session
    found = complete_agents(ctx, param, agent)
    return [CompletionItem(f"{session}/{item.value}") for item in found]


def session_of(run: str | None) -> str | None:
    """The session of a RUN: what stands before the slash, where it is no path."""
    if run is None or Path(run).exists():
        return run
    return run.partition("/")[0] or run


def session_beside(run: str | None, session: str, agent: str | None = None) -> str:
    """RUN where it is given, else SESSION; of SESSION/agent the session, where AGENT is that agent.

    Raises:
        click.UsageError: RUN names another agent than AGENT.
    """
    if run is None:
        return session
    name, slash, named = run.rpartition("/")
    if slash and agent is not None and not Path(run).exists():
        if named != agent:
            raise click.UsageError(
                f"RUN names {named} and AGENT is {agent}", click.get_current_context(silent=True)
            )
        return name
    return run


def sessions_of(session: str | None, root: Path, *, every: bool) -> list[Path]:
    """Every session of the trace root, or the one named, by default the newest; click.UsageError for both."""
    from Agent.tree.layout import find_session, list_sessions

    if every and session is not None:
        raise click.UsageError("give SESSION or --all", click.get_current_context())
    return [ref.path for ref in list_sessions(root)] if every else [find_session(root, session or "last")]


def analyzer_of(run: str | None, session: str, root: Path, agent: str | None = None) -> Any:
    """The `LogAnalyzer` of the session named."""
    from Agent.analysis import LogAnalyzer

    return LogAnalyzer(session_beside(run, session, agent), root)


def engine_of(run: str, root: Path) -> Any:
    """The engine over a session, or over one agent of it where that is named behind a slash."""
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


session_argument = click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_sessions)
run_argument = click.argument("run", metavar="RUN", shell_complete=complete_runs)
agent_option = click.option(
    "--agent", "-a", metavar="ID", help="One agent of the session, if RUN does not name one."
)


@dataclass(frozen=True, slots=True)
class Since:
    """From when on events are wanted: a time or a tick."""

    timestamp_us: int | None = None
    tick: int | None = None

    def reached_by(self, event: Event) -> bool:
        """Whether the event happened then or later; one without a tick is in no tick."""
        if self.tick is not None:
            return event.tick is not None and event.tick >= self.tick
        return self.timestamp_us is None or event.timestamp_us >= self.timestamp_us

    def passed_by(self, event: Event) -> bool:
        """Whether the event is known to have happened then or later; one without a tick is in no tick."""
        if self.tick is not None:
            return event.tick is None or event.tick >= self.tick
        return self.reached_by(event)


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> Since | None:
    """`-3h`, `tick:40`, `2026-11-20T10:30:45Z`, `2026-11-20 10:30` (UTC where no offset is given)."""
    if value is None:
        return None
    if value.startswith("tick:"):
        if value[5:].isdecimal():
            return Since(tick=int(value[5:]))
        raise click.BadParameter(f"{value!r} is not a tick, write tick:40", ctx, param)
    ago = _AGO.fullmatch(value)
    if ago is not None:
        return Since(timestamp_us=time.time_ns() // 1000 - round(float(ago[1]) * UNITS_S[ago[2]] * 1e6))
    from Agent.event.clock import parse_timestamp

    try:
        return Since(timestamp_us=parse_timestamp(value))
    except ValueError:
        hint = "write -3h, 2026-11-20T10:30:45 (UTC) or tick:40"
        raise click.BadParameter(f"{value!r} is not a time, {hint}", ctx, param) from None


def _known_kinds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of events that were named, each of which must be one."""
    from Agent.config.options import near_miss
    from Agent.event.payloads import KINDS

    for value in values:
        if value not in KINDS:
            raise click.BadParameter(f"unknown kind of event {value!r}{near_miss(value, KINDS)}", ctx, param)
    return values


def _complete_kinds(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of events that begin so."""
    from Agent.event.payloads import KINDS

    return [CompletionItem(kind) for kind in KINDS if kind.startswith(incomplete)]


since_option = click.option(
    "--since",
    callback=_since,
    metavar="WHEN",
    help="Only from this time on: -3h, an ISO time, or tick:N.",
)
until_option = click.option(
    "--until", callback=_since, metavar="WHEN", help="Only before this time: -3h, an ISO time, or tick:N."
)


type_option = click.option(
    "--type",
    "-t",
    "kinds",
    multiple=True,
    callback=_known_kinds,
    shell_complete=_complete_kinds,
    metavar="KIND",
    help="Only this kind of event; repeatable.",
)


_NEAR = 1e-9
"""How far numbers may be apart where nobody says how far."""


def _normaliser(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Normaliser:
    from Agent.errors import UsageError
    from Agent.replay.compare.normaliser import Normaliser

    stored: dict[str, Any] = {}
    for value in (part for each in values for part in each.split(",") if part):
        name, sign, number = value.partition("=")
        try:
            stored[name] = float(number) if sign else True
        except ValueError:
            raise click.BadParameter(f"{number!r} is not a number", ctx, param) from None
    if stored.get("floats") is True:
        stored["floats"] = _NEAR
    try:
        return Normaliser.from_object(stored)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


normalise_option = click.option(
    "--normalise",
    "normaliser",
    multiple=True,
    callback=_normaliser,
    metavar="WHAT",
    help="Differences to allow: ids, times, order, paths, floats[=1e-9]; repeatable, or separated by commas.",
)
ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="FIELD",
    help="Ignore this field: field, agent.field or a pattern; repeatable, named in the report.",
)
