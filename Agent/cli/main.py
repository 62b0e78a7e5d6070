"""The entry point of the command line: arguments in, exit code out, each error in one line.

`SECTIONS` lists every command with its module; a module is imported only when its command is used.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from keyword import iskeyword
from typing import Any, Final, NamedTuple, NoReturn

import click

from Agent.analysis.query.progress import Bounds, bounds, shown_deadline
from Agent.analysis.reports import REPORTS
from Agent.errors import AgentTraceError
from Agent.version import __version__


class CommandEntry(NamedTuple):
    """One command: its name, where it is defined (`module:attribute`), and its line in the help."""

    name: str
    target: str
    summary: str


def _section(title: str, *rows: tuple[str, str, str]) -> tuple[str, tuple[CommandEntry, ...]]:
    """A section from its title and (name, module, help line) of each command."""
    where = "Agent.cli.commands"
    return title, tuple(
        CommandEntry(name, f"{where}.{module}:{name}{'_' * iskeyword(name)}", line)
        for name, module, line in rows
    )


SECTIONS: tuple[tuple[str, tuple[CommandEntry, ...]], ...] = (
    _section(
        "Everyday",
        ("demo", "demo", "Record a simulation, explain it, and replay it."),
        ("run", "demo", "Run a program and record it, without changing it."),
        ("sessions", "analyze", "List the recorded sessions, newest last."),
        ("view", "serve", "Show a session in the browser: what went wrong, when, and why."),
        ("analyze", "analyze", "Report what happened in a session."),
        ("journey", "journey", "Show what one agent did, in order."),
        ("errors", "analyze", "Group errors, warnings and log messages by pattern."),
        ("debug", "analyze", "Find what explains an issue described in words."),
        ("causes", "analyze", "Show what led to an event, across agents."),
        ("diff", "replay", "Find where two runs differ, or compare their statistics."),
        ("tail", "tail", "Print the newest events, and follow them with -f."),
        ("play", "replay", "Step through a run as recorded, without your code."),
        ("replay", "replay", "Replay a run with your current code and compare the two."),
    ),
    _section(
        "Deeper",
        *((each.name, "analyze", each.summary) for each in REPORTS.values()),
        ("interactions", "analyze", "Show who interacted with whom, and what spread."),
        ("state", "journey", "Show an agent's state at a moment."),
        ("provenance", "journey", "Follow a value back to where it came from."),
        ("watch", "journey", "Find when a condition on agents' state held."),
        ("control", "demo", "Pause a running program, step it, and change its agents."),
        ("runs", "runs", "List the recorded runs, newest first, or show one."),
        ("resume", "replay", "Continue a recorded run from a point, as a new run."),
        ("fork", "replay", "Continue a recorded run from a point, with something changed."),
        ("ask", "replay", "Call a function on an agent as it was at a moment."),
        ("golden", "golden", "Keep recorded runs as tests, and check them."),
        ("sql", "sql", "Query a session's events in SQL."),
        ("lnav", "tail", "Read logs with lnav, the log file navigator."),
    ),
    _section(
        "Keeping",
        ("seal", "maintenance", "Convert finished segments to Parquet."),
        ("recover", "maintenance", "Finish a session whose program was killed."),
        ("merge", "maintenance", "Join the sessions of several hosts into one."),
        ("verify", "maintenance", "Check that a session is complete and unedited."),
        ("prove", "maintenance", "Prove that an event is part of a session."),
        ("prune", "maintenance", "Remove whole sessions by policy, oldest first."),
        ("erase", "maintenance", "Erase an agent, a run or a value, with proof."),
    ),
    _section(
        "Sharing",
        ("serve", "serve", "Run the service, a shared database of runs."),
        ("keys", "serve", "Create, list and revoke API keys of the service."),
        ("ship", "serve", "Send live or finished sessions to a service."),
        ("import", "export", "Import another program's log as a session."),
        ("export", "export", "Export recorded sessions for other tools."),
        ("mcp", "serve", "Answer questions of an MCP client about sessions."),
    ),
    _section(
        "Self",
        ("doctor", "doctor", "Check that recording and replay work here."),
        ("config", "doctor", "Show the settings and where they come from."),
        ("version", "doctor", "Show the versions of Agent Trace, Python and libraries."),
    ),
)
"""The sections of the help with their commands."""

_BY_NAME = {entry.name: entry for _, entries in SECTIONS for entry in entries}


class PipeClosed(Exception):
    """The reader of stdout closed the pipe; click would turn this into exit code 1, which means an answer."""


class SectionedGroup(click.Group):
    """A click group that lists its commands in sections and imports a command's module only on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all commands, in the order of the help."""
        return list(_BY_NAME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name; None if it does not exist."""
        entry = _BY_NAME.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a closed pipe becomes `PipeClosed`, so that click does not handle it."""
        from Agent.cli.render import shown

        try:
            with shown():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise PipeClosed from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command; for an unknown name, the error suggests a similar one."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _BY_NAME:
            from Agent.config.options import near_miss

            ctx.fail(f"unknown command {name!r}{near_miss(name, _BY_NAME)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the sections of the help from the table, without importing the modules."""
        width = max(map(len, _BY_NAME))
        for title, entries in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])


PROGRAM = "agent-trace"
EXIT_USAGE, EXIT_UNREADABLE, EXIT_BUG, EXIT_INTERRUPTED = 2, 3, 70, 130

_QUERY_SECONDS, _QUERY_MEMORY_BYTES = 600, 2_000_000_000
"""The limits of a command's queries: time in seconds, and memory beyond what the process uses at start."""

_REMEDIES = {
    errno.ENOSPC: "; free disk space",
    errno.EACCES: "; run it as a user who may do that",
    errno.EPERM: "; run it as a user who may do that",
    errno.EROFS: "; copy it to a place that can be written to",
}
"""What to do about an error of the operating system, appended to its message."""

_OF_COMMANDS = frozenset({"--root", "--session", "-s", "--json"})
"""Options of the commands that users may write before the command, as in other programs."""

EPILOG = f"""\b
Exit codes: 0 fine, 1 a negative answer, 2 usage, 3 unreadable or missing
input, 4 unverified, 70 a bug in Agent Trace, 130 interrupted.

\b
Environment: AGENT_TRACE_ROOT (the trace root), NO_COLOR.
Completion: eval "$(_AGENT_TRACE_COMPLETE=bash_source {PROGRAM})"
(zsh_source and fish_source for those shells).
Start with: {PROGRAM} demo
"""


@click.group(
    cls=SectionedGroup,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
def cli(debug: bool) -> None:
    """Record, explain and replay agents and multi-agent simulations from plain files."""


_NEW_OBJECTS: Final = 100_000
"""How many more objects there are when Python looks for garbage, at most some 10 MB."""


def run() -> NoReturn:
    """Run the command line of this process, and exit with its exit code."""
    _complete_standard_streams()
    # most of what a command makes lives until its end, so each of the many looks for garbage would be in vain
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    code = main(sys.argv[1:], owns_process=True)
    # nor does the interpreter have to look through all of it as it ends
    gc.freeze()
    sys.exit(code)


class _Remarks(io.FileIO):
    """Standard error; output that cannot be written is discarded, since nothing else could report it."""

    def write(self, data: Any) -> int:
        """Write the data, or discard it; return its size."""
        try:
            return super().write(data)
        except OSError:  # on a full disk or a closed pipe, the exit code still gives the answer
            return len(data)


def _complete_standard_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed, and keep failing remarks silent.

    Otherwise Python has None for such a stream, and the next opened file gets its descriptor, so that output
    would be written into that file.
    """
    free = os.open(os.devnull, os.O_RDWR)
    while free <= 2:  # `open` uses the lowest free descriptor, so each closed one of the three is filled
        free = os.dup(free)
    os.close(free)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None or not sys.stderr.isatty():
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        remarks = io.BufferedWriter(_Remarks(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(remarks, encoding, errors="backslashreplace", line_buffering=True)


def main(arguments: Sequence[str], *, owns_process: bool = False) -> int:
    """Run one command and return its exit code; it never raises.

    Args:
        arguments: the arguments after the program's name.
        owns_process: whether a query that does not react to interrupts may end the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    token = bounds.set(Bounds(_QUERY_SECONDS, _QUERY_MEMORY_BYTES, _end_in_query if owns_process else None))
    try:
        _refuse_undecodable(arguments)
        result = _result(arguments)
        _flush()
    except PipeClosed:  # the command ends with its output, as `tail` does
        _discard_output()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return _report(_usage_line(error), error.exit_code)
    except AgentTraceError as error:
        return _report(str(error), error.exit_code)
    except OSError as error:
        file_suffix = f" ({error.filename})" if error.filename else ""
        own = getattr(error, "remedy", "")
        remedy = f"; {own}" if own else _REMEDIES.get(error.errno or 0, "")
        return _report(f"{(error.strerror or str(error)).lower()}{file_suffix}{remedy}", EXIT_UNREADABLE)
    except Exception as error:  # noqa: BLE001
        return _report_bug(error, show="--debug" in arguments)
    finally:
        bounds.reset(token)
    return result if isinstance(result, int) else 0


def _result(arguments: Sequence[str]) -> object:
    """What the command returns; a group without a command prints its help."""
    try:
        return cli.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raw = argument.encode("utf-8", "surrogateescape")
            shown = raw.decode("utf-8", "backslashreplace")
            message = f"an argument is not UTF-8: {shown}; pass it in UTF-8"
            if raw.decode("utf-8", "replace").encode() == raw:
                encoding = sys.getfilesystemencoding()
                message = f"this locale reads arguments as {encoding}, not UTF-8: {shown}; set PYTHONUTF8=1"
            raise click.UsageError(message) from None


def _end_in_query(limit_s: float | None) -> None:
    """End the process during a query, after its deadline or, with None, after Ctrl-C."""
    code = EXIT_INTERRUPTED
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K\x1b[?25h")  # erase the progress bar and show the cursor
    if limit_s is not None:
        remedy = "query less, or allow more time"
        code = _report(f"the query took longer than its {shown_deadline(limit_s)}; {remedy}", EXIT_UNREADABLE)
    # skip exit hooks, which would wait for the query engine
    os._exit(code)


def _report(message: str, code: int) -> int:
    """Print a message as one line on stderr, wrapped on a terminal; return the exit code."""
    from Agent.cli import render

    render.note(f"{PROGRAM}: {render.clean(' '.join(message.split()))}")
    return code


def _usage_line(error: click.ClickException) -> str:
    """Click's message as one clause, with the help command to use."""
    message = error.format_message().strip().rstrip(".")
    if not message[:2].isupper():  # keep the case of an argument's name
        message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    name = error.option_name if isinstance(error, click.NoSuchOption) else ""
    if name[1:].isdecimal():  # click takes a negative number for an option
        message = f"{name} is neither an option nor a value that the option before it takes"
    if name in _OF_COMMANDS and context is not None and context.command is cli:
        return f"{name} comes after the command: {PROGRAM} COMMAND {name}"
    return f"{message}; see {context.command_path} --help" if context is not None else message


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    from Agent.cli import render

    render.discard_output()


def _report_bug(error: Exception, *, show: bool) -> int:
    """Report an unexpected error, and write its traceback to a file or, with --debug, to stderr."""
    import tempfile
    import traceback

    details = "".join(traceback.format_exception(error))
    if show:
        click.echo(details, err=True, nl=False)
        return _report("this is a bug in Agent Trace, see the details above", EXIT_BUG)
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            prefix="agent-trace-bug-",
            suffix=".txt",
            delete=False,
        ) as file:
            file.write(f"agent-trace {__version__}, Python {sys.version}\n{details}")
    except OSError:  # no file can be written
        return _report_bug(error, show=True)
    return _report(
        f"this is a bug in Agent Trace ({type(error).__name__}), the details are in {file.name}", EXIT_BUG
    )
