"""Declare commands by the signature of a function and its docstring, which is the help text.

`command` makes a click command from both:

    @command()
    def act(place: Annotated[str, "PLACE"], often: Annotated[int, "--often -o N", COUNT], quiet: bool) -> int:

The docstring of `act` describes `often` and `quiet` under Args, and shows calls under Examples. The first
text of an annotation gives the flags and the metavar or, without a dash, an argument; brackets make it
optional. A second text is the help of an option that several commands share. Other items are click types, or
dicts of further settings. Without flags the parameter's name is the flag. Shared ones are below `Root`.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

import click

from Agent.cli import render
from Agent.cli.render import shown, working
from Agent.errors import InputError, UsageError
from Agent.render.layout import command_lines
from Agent.tree.default_root import default_root

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from Agent.event.model import Event
    from Agent.replay.compare.normaliser import Normaliser

Options = NewType("Options", dict[str, Any])
"""The values of the options that `command(asks=...)` adds."""
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_EXAMPLE_WIDTH = 76
"""The help indents examples by two columns and leaves two free on a terminal of 80."""
_AGO = re.compile(r"-(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|min|h|d|w)", re.ASCII)
_LAST = ("session", "json", "root")
"""The last parameters in every help, in this order."""

FILE = click.Path(dir_okay=False, path_type=Path)


class _Directory(click.Path):
    """A directory, or a name that is free for one; click itself refuses only regular files."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; click.BadParameter if it is a device, or a link that leads to no directory."""
        path = super().convert(value, param, ctx)
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 - fails on no loop of links
            self.fail(f"{str(value)!r} is not a directory", param, ctx)
        return path


DIRECTORY = _Directory(file_okay=False, path_type=Path)


class _Output(click.Path):
    """A file to write, in a directory that is there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; InputError if its directory is missing, click.BadParameter for "-"."""
        if str(value) == "-":
            self.fail("'-' is not supported; name a file", param, ctx)
        place = Path(value).parent
        if not place.is_dir():
            remedy = f"create it: mkdir -p {shlex.quote(str(place))}"
            raise InputError("there is no such directory", path=place, remedy=remedy)
        return super().convert(value, param, ctx)


OUTPUT = _Output(dir_okay=False, path_type=Path)


class Count(click.IntRange):
    """A whole number from `min` on; one above `sys.maxsize - 1`, more than anything has, means that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; click.BadParameter if it is out of range."""
        return min(super().convert(value, param, ctx), sys.maxsize - 1)


COUNT = Count(min=1)
FROM_ZERO = Count(min=0)


def _click_parameter(name: str, annotated: Any, default: Any, text: str) -> click.Parameter:
    """Make the click parameter for an annotated parameter of a function."""
    kind, *more = get_args(annotated) if get_origin(annotated) is Annotated else (annotated,)
    specs = [each for each in more if isinstance(each, str)]
    how = _typed(kind)
    if default is not inspect.Parameter.empty:
        how["default"] = default
    for each in more:
        if isinstance(each, dict):
            how |= each
        elif isinstance(each, click.ParamType):
            how["type"] = each
    declarations = specs[0].split() if specs else []
    flags = [word for word in declarations if word.startswith("-")]
    metavar = " ".join(word for word in declarations if not word.startswith("-")) or None
    if metavar is not None and not flags:
        nargs = -1 if how.pop("multiple") else 1
        return click.Argument(
            [name], **{"metavar": metavar, "nargs": nargs, "required": metavar[0] != "[", **how}
        )
    flags = flags or [f"--{name.replace('_', '-')}"]
    shared_help = specs[-1] if len(specs) > 1 else ""
    return click.Option([name, *flags], **{"help": text or shared_help, "metavar": metavar, **how})


def _typed(kind: Any) -> dict[str, Any]:
    """Click settings for a type: bool, Literal, int, float, Path, a tuple of these; else text."""
    is_many = get_origin(kind) is tuple
    kind = get_args(kind)[0] if is_many else kind
    if get_origin(kind) in {UnionType, Union}:
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if kind is bool:
        return {"is_flag": True, "type": bool}
    if get_origin(kind) is Literal:
        return {"type": click.Choice(get_args(kind)), "multiple": is_many}
    return {"type": kind if kind in {int, float} else FILE if kind is Path else None, "multiple": is_many}


def command(
    *, of: click.Group | None = None, json: bool = True, asks: Callable[..., Any] | None = None, **how: Any
) -> Callable[[Any], click.Command]:
    """Make a click command from a function's annotations and docstring.

    Args:
        of: the group of the command; None for a top-level one.
        json: whether it takes --json, for which `render.document` prints JSON.
        asks: a function whose keyword-only parameters are further options, passed as the dict `options`.
        how: further arguments of `click.command`.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        more = [] if asks is None else [*_keyword_only(asks)]
        params = [*more, *_declared(function), *([_json_option()] if json else [])]
        params.sort(key=lambda each: _LAST.index(str(each.name)) if each.name in _LAST else -1)
        make = click.command if of is None else of.command
        about, _, examples = _parts(function)
        names = [str(each.name) for each in more]

        @wraps(function)
        def call(**given: Any) -> Any:
            return function(options={name: given.pop(name) for name in names}, **given)

        click_command: click.Command = make(epilog=_epilog(examples), params=params, help=about, **how)(
            function if asks is None else call
        )
        return click_command

    return decorate


def _declared(function: Callable[..., Any]) -> Iterator[click.Parameter]:
    """Yield the click parameters of a function; `**name: Unpack[...]` gives one for each key."""
    hints = get_type_hints(function, include_extras=True)
    texts = _texts(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if hints[name] is Options:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            (several,) = get_args(hints[name])
            for each, hint in get_type_hints(several, include_extras=True).items():
                yield _click_parameter(each, hint, parameter.empty, _texts(several).get(each, ""))
        else:
            declared = _click_parameter(name, hints[name], parameter.default, texts.get(name, ""))
            if declared.callback is _run_or_session:
                yield _session_instead
            yield declared


def _keyword_only(function: Callable[..., Any]) -> Iterator[click.Parameter]:
    """Yield the click parameters of a function's keyword-only parameters."""
    hints, texts = get_type_hints(function, include_extras=True), _texts(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            text = texts.get(name, "")
            yield _click_parameter(name, hints[name], parameter.default, text[:1].upper() + text[1:])


def _texts(described: Any) -> dict[str, str]:
    """The description of each parameter in the docstring's Args section; {} without one."""
    paragraphs = (each.partition(":") for each in re.split(r"\n    (?=\w)", f"\n{_parts(described)[1]}")[1:])
    return {name: " ".join(text.split()) for name, _, text in paragraphs}


def _parts(described: Any) -> tuple[str, str, str]:
    """Split a docstring into its text, its Args section and its examples."""
    text, _, examples = inspect.cleandoc(described.__doc__ or "").partition("\n\nExamples:\n")
    about, _, section = text.partition("\n\nArgs:\n")
    return about, re.split(r"\n\n(?=\w)", section, maxsplit=1)[0], examples


def _epilog(examples: str) -> str:
    """The examples for the end of the help; long ones are broken so that they can still be copied."""
    lines = [shown for line in examples.splitlines() for shown in command_lines(line[2:], _EXAMPLE_WIDTH)]
    title = "Examples:" if "\n" in examples else "Example:"
    return "\b\n" + "\n".join([title, *lines])


class _Group(click.Group):
    """A group whose options are those of its command `usual`, as in `config --json`."""

    def __init__(self, *arguments: Any, usual: str = "", **how: Any) -> None:
        super().__init__(*arguments, **how)
        self._usual = usual

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._usual and args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = [self._usual, *args]
        return super().parse_args(ctx, args)


def group(**how: Any) -> Callable[[Any], click.Group]:
    """Make a click group from a function, as `command` does; options alone go to its command `usual`."""
    decorator: Callable[[Any], Any] = command(json=False, cls=_Group, **how)
    return decorator


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[render.JSON_WANTED] = value


def _json_option() -> click.Option:
    return click.Option(
        ["--json"], is_flag=True, expose_value=False, callback=_remember_json, help="Print JSON."
    )


def misuse(message: str) -> click.UsageError:
    """A usage error for options that cannot be combined; click's handler adds the help command."""
    return click.UsageError(message, click.get_current_context(silent=True))


def exclusive(**given: object) -> None:
    """click.UsageError if more than one of these options has a value; names are those of the flags."""
    flags = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(flags) > 1:
        raise misuse(f"{' and '.join(flags)} exclude each other; give one")


def make_code_importable() -> None:
    """Make code in the working directory importable, as `python -m` does."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


# completion


def _root_of(ctx: click.Context) -> Path:
    """The trace root during shell completion, when defaults may not be set yet."""
    return Path(ctx.params.get("root") or default_root())


def _items(names: Iterable[str]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names]


def complete_sessions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete session ids, newest first."""
    from Agent.tree.layout import list_sessions

    names = ["last", "last-fork", *reversed([ref.session_id for ref in list_sessions(_root_of(ctx))])]
    return _items(name for name in names if name.startswith(incomplete))


def complete_agents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the agents of the given session, or of the newest."""
    return _items(_agents(ctx, ctx.meta.get(_SESSION), incomplete))


def _agents(ctx: click.Context, session: str | None, incomplete: str) -> list[str]:
    from Agent.archive.sealed.reader import open_reader
    from Agent.tree.layout import find_session

    try:
        agents = open_reader(find_session(_root_of(ctx), session)).agents()
    except InputError:
        return []  # completion cannot show an error; the command itself will
    return [each.agent_id for each in agents if each.agent_id.startswith(incomplete)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete sessions and, after a slash, the agents of one."""
    session, slash, agent = incomplete.partition("/")
    if not slash:
        return complete_sessions(ctx, param, incomplete)
    return _items(f"{session}/{each}" for each in _agents(ctx, session, agent))


# Sessions and agents.


_SESSION = "Agent.cli.session"


def _remember_session(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    ctx.meta[_SESSION] = value


def _run_or_session(ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    """The session from SESSION/AGENT, from the argument or from --session."""
    named = ctx.meta.get(_OF_AGENT)
    if named is not None:
        if value is not None or ctx.meta[_SESSION] != "last":
            raise misuse("AGENT already names a session")
        return str(named)
    return ctx.meta[_SESSION] if value is None else value


_OF_AGENT = "Agent.cli.session_of_agent"
_A_SESSION = re.compile(r"last|last-fork|[0-9]{4,8}(?:_[0-9]{1,6}(?:-[0-9]+)?)?_?")
"""Matches the part that names a session before a slash; other slashes belong to an agent's id."""


def _agent_alone(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """The agent of AGENT or SESSION/AGENT; the session is kept for RUN."""
    session, _, agent = (value or "").partition("/")
    if not agent or _A_SESSION.fullmatch(session) is None:
        return value
    ctx.meta[_OF_AGENT] = session
    return agent


def split_run(run: str) -> tuple[str, str | None]:
    """Split RUN into session and agent; the agent is None for a path or a session alone, "" after a slash."""
    session, slash, agent = (run, "", "") if Path(run).exists() else run.partition("/")
    return session or run, agent if slash else None


def session_of(run: str) -> str:
    """The session of a RUN."""
    return split_run(run)[0]


def session_of_both(run: str, agent: str | None = None) -> str:
    """The session of RUN, if AGENT is given separately.

    Raises:
        click.UsageError: RUN already names another agent.
    """
    session, named = split_run(run)
    if agent is not None and named not in (None, agent):
        raise misuse(f"RUN names {named} and AGENT is {agent}")
    return session


def sessions_of(session: str | None, root: Path, *, every: bool) -> list[Path]:
    """The directories of all sessions with `every`, else of the given or newest one, even if encrypted."""
    from Agent.tree.layout import find_session_dir, list_sessions

    if every and session is not None:
        raise misuse("give SESSION or --all")
    return [ref.path for ref in list_sessions(root)] if every else [find_session_dir(root, session or "last")]


def analyzer_of(run: str, root: Path, agent: str | None = None) -> Any:
    """The `LogAnalyzer` of a session."""
    from Agent.analysis import LogAnalyzer

    return LogAnalyzer(session_of_both(run, agent), root)


def _session_and_agent(run: str, root: Path, agent: str | None = None) -> tuple[Path, str | None]:
    """The session's directory, and the agent of AGENT or RUN; AgentNotFound if it has no such agent."""
    from Agent.analysis.session import check_agent, find
    from Agent.archive.sealed.reader import open_reader

    path = find(session_of_both(run, agent), root)
    agent = split_run(run)[1] if agent is None else agent
    if agent is not None:
        check_agent(open_reader(path), agent)
    return path, agent


def engine_of(run: str, root: Path) -> Any:
    """The engine over a session, or over one agent of SESSION/agent_id."""
    from Agent.analysis.query.engine import open_engine

    return open_engine(*_session_and_agent(run, root))


def trees_of(paths: Iterable[str], root: Path) -> Any:
    """The sealed sessions that paths, patterns, URLs and session ids name."""
    from Agent.analysis.query.trees import sealed_trees
    from Agent.tree.layout import find_session

    def place(path: str) -> str:
        is_place = "://" in path or Path(path).exists() or any(sign in path for sign in "*?[/")
        return path if is_place else str(find_session(root, path))

    return sealed_trees([place(path) for path in paths])


def engine_over(trees: Any, engine: str | None, master: str | None) -> Any:
    """The engine over sealed sessions that --engine and --master name."""
    if engine == "duckdb":
        from Agent.analysis.query.engine import open_trees
        from Agent.analysis.query.trees import remote_trees

        if master is not None:
            raise misuse("--master requires --engine spark")
        return open_trees(trees.local, remote_trees(trees.remote))
    from Agent.analysis.query.spark import SparkEngine

    return SparkEngine(trees, master)


class About(NamedTuple):
    """What a command reports about."""

    engine: Any
    agent: str | None = None
    reader: Any = None
    """Of the session; None for many sessions."""


@contextmanager
def asked(
    run: str,
    more: tuple[str, ...],
    root: Path,
    agent: str | None = None,
    *,
    whole: bool = False,
    **across: Unpack[Across],
) -> Iterator[About]:
    """RUN and its agent, if one is named; with --engine, RUN and PATH, which are sealed sessions.

    Args:
        agent: the agent, if RUN does not name it; '*' for all agents of sealed sessions.
        whole: the engine is over the whole session even if an agent is named.
    """
    from Agent.analysis.query.engine import open_engine
    from Agent.analysis.query.trees import of_agent
    from Agent.archive.sealed.reader import open_reader

    run = one_of(run, more, **across)
    if across["engine"] is None:
        path, agent = _session_and_agent(run, root, agent)
        with shown(), open_engine(path, None if whole else agent) as engine:
            yield About(engine, agent, open_reader(path))
    elif agent is None or agent == "*":
        with working("reading the sessions"), engine_over(trees_of((run, *more), root), **across) as engine:
            yield About(engine)
    else:
        chosen = session_for(lambda _: of_agent(agent), run, more, root, **across)
        with chosen as path, open_engine(path) as engine:
            yield About(engine, agent, open_reader(path))


@contextmanager
def session_for(
    choose: Callable[[Any], Any],
    run: str,
    more: tuple[str, ...],
    root: Path,
    agent: str | None = None,
    **across: Unpack[Across],
) -> Iterator[Path]:
    """The session of RUN; with --engine, what `choose` selects of RUN and PATH as a small session."""
    from Agent.analysis.query.trees import selected_session
    from Agent.analysis.session import find

    run = one_of(run, more, **across)
    if across["engine"] is None:
        yield find(session_of_both(run, agent), root)
        return
    trees = trees_of((run, *more), root)
    with ExitStack() as stack:
        with working("reading the sessions"), engine_over(trees, **across) as engine:
            path = stack.enter_context(selected_session(engine, trees, choose(engine)))
        yield path


def one_of(run: str, more: tuple[str, ...], engine: str | None, master: str | None) -> str:
    """RUN alone, without --engine; click.UsageError if other options need that."""
    if engine is None and (more or master is not None):
        raise misuse("several sessions and --master require --engine duckdb or --engine spark")
    return run


# Parameter types of times, kinds and tolerances.


class Since(NamedTuple):
    """The start of a range of events: a time or a tick."""

    timestamp_us: int | None = None
    tick: int | None = None

    def reached_by(self, event: Event) -> bool:
        """Whether the event is not before the start; an event without a tick is in no tick."""
        if self.tick is not None:
            return event.tick is not None and event.tick >= self.tick
        return self.timestamp_us is None or event.timestamp_us >= self.timestamp_us

    def passed_by(self, event: Event) -> bool:
        """Whether the event is at or after this as an end; for a tick, so is an event without one."""
        if self.tick is not None:
            return event.tick is None or event.tick >= self.tick
        return self.reached_by(event)


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> Since | None:
    """Parse `-3h`, `tick:40`, `2026-11-20T10:30:45Z` or `2026-11-20 10:30` (UTC without an offset)."""
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


def _existing_kinds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that the given kinds of events exist."""
    from Agent.config.options import near_miss
    from Agent.event.payloads import KINDS

    for value in values:
        if value not in KINDS:
            raise click.BadParameter(f"unknown kind of event {value!r}{near_miss(value, KINDS)}", ctx, param)
    return values


def _complete_kinds(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kinds of events."""
    from Agent.event.payloads import KINDS

    return _items(kind for kind in KINDS if kind.startswith(incomplete))


_NEAR = 1e-9
"""The default tolerance for numbers."""


def _normaliser(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Normaliser:
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


def _importable_target(ctx: click.Context, _param: click.Parameter, target: str | None) -> str | None:
    """Check that the target can be imported, before anything is read."""
    if target is not None and not ctx.resilient_parsing:
        from Agent.replay.worker.jobs import check_target

        make_code_importable()
        check_target(target)
    return target


class Number(click.FloatRange):
    """A finite number in a range, at most `threading.TIMEOUT_MAX`; click itself accepts nan and infinity."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; click.BadParameter if it is out of range."""
        number = super().convert(value, param, ctx)
        if not number <= threading.TIMEOUT_MAX:
            self.fail(f"{value!r} is not a number up to {threading.TIMEOUT_MAX:.0f}", param, ctx)
        return number


ABOVE_ZERO = Number(min=0, min_open=True)
NOT_NEGATIVE = Number(min=0)

# Shared parameters.

_WHEN = "this time: -3h, an ISO time, or tick:N."
_TARGET = "MODULE:NAME of a class or factory that builds the agent; default: the one the session remembers."
_NAMES = "A session id, a unique prefix of one, a path, last, or last-fork."
_ROOT = {
    "default": default_root,
    "show_default": "as configured, else trace",
    "envvar": "AGENT_TRACE_ROOT",
    "show_envvar": True,
}
_SESSIONS = {"shell_complete": complete_sessions}
_RUNS = {"shell_complete": complete_runs}
_INSTEAD = {"is_eager": True, "expose_value": False, "callback": _remember_session}

Root = Annotated[Path, "--root DIR", "The trace root.", DIRECTORY, _ROOT]
Place = Annotated[Path, "--place --root DIR", "Trace root to record in.", DIRECTORY, _ROOT]
OneSession = Annotated[str, "[RUN]", {"callback": _run_or_session}, _SESSIONS]
"""A session, as an argument or with --session; OneRun may also name an agent after a slash."""
OneRun = Annotated[str, "[RUN]", {"callback": _run_or_session}, _RUNS]
_SESSION_OPTION = Annotated[str, "--session -s ID", _NAMES, {"default": "last"}, _SESSIONS, _INSTEAD]
_session_instead = _click_parameter("session", _SESSION_OPTION, inspect.Parameter.empty, "")
More = Annotated[tuple[str, ...], "[PATH]..."]
"""Further sessions, trace roots or patterns, all sealed, for --engine."""


class Across(TypedDict):
    """The options of commands that read many sealed sessions together.

    Args:
        engine: Read RUN and PATH (sealed sessions) together, with DuckDB on this machine or with Spark.
        master: Where Spark runs; default: this machine, local[*].
    """

    engine: Literal["duckdb", "spark"] | None
    master: Annotated[str | None, "--master URL"]


Run = Annotated[str, "RUN", _RUNS]
SomeRun = Annotated[str | None, "[RUN]", _RUNS]
NewestSession = Annotated[str, "[RUN]", {"default": "last"}, _SESSIONS]
SomeSession = Annotated[str | None, "[SESSION]", _SESSIONS]
_AGENTS = {"shell_complete": complete_agents, "callback": _agent_alone}
Agent = Annotated[str, "AGENT", _AGENTS]
SomeAgent = Annotated[str | None, "[AGENT]", _AGENTS]
"""An agent, or SESSION/AGENT; must come before RUN, whose session it may give."""
OneAgent = Annotated[str | None, "--agent -a ID", "One agent of the session, if RUN does not name one."]
Limit = Annotated[int, "--limit -n N", COUNT]
SomeLimit = Annotated[int | None, "--limit -n N", COUNT]
Workers = Annotated[int | None, "--workers N", COUNT]
Seconds = Annotated[float | None, "--timeout SECONDS", "Stop after this many seconds.", ABOVE_ZERO]
Patience = Annotated[float, "--patience SECONDS", NOT_NEGATIVE, {"default": 30.0}]
Target = Annotated[str | None, "--target MODULE:FACTORY", _TARGET, {"callback": _importable_target}]
Network = Annotated[bool, "--network", "Allow network access during the replay."]
From = Annotated[Since | None, "--since WHEN", f"Only from {_WHEN}", {"callback": _since}]
Until = Annotated[Since | None, "--until WHEN", f"Only before {_WHEN}", {"callback": _since}]
Kinds = Annotated[
    tuple[str, ...],
    "--type -t KIND",
    "Only this kind of event; repeatable.",
    {"callback": _existing_kinds, "shell_complete": _complete_kinds},
]
Normalise = Annotated[
    Any,
    "--normalise WHAT",
    "Differences to allow: ids, times, order, paths, floats[=1e-9]; repeatable, or separated by commas.",
    {"multiple": True, "callback": _normaliser},
]
Ignore = Annotated[
    tuple[str, ...],
    "--ignore FIELD",
    "Ignore this field: field, agent.field or a pattern; repeatable, named in the report.",
]
