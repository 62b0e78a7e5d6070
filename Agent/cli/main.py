"""Where the command line starts and ends: arguments in, exit code out, every mistake told in one line.

`groups.py` comes next: it finds the module of the command that was named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from Agent.analysis.query.progress import Bounds, bounds, told_deadline
from Agent.cli.groups import PipeClosed, SectionedGroup
from Agent.errors import AgentTraceError
from Agent.version import __version__

__all__ = ["cli", "main", "run"]

PROGRAM = "agent-trace"
EXIT_USAGE, EXIT_UNREADABLE, EXIT_BUG, EXIT_INTERRUPTED = 2, 3, 70, 130

_QUERY_SECONDS, _QUERY_MEMORY_BYTES = 600, 2_000_000_000
"""What one query of a command may take: time, and memory beyond what the process has when it begins."""

_OF_COMMANDS = frozenset({"--root", "--session", "-s", "--json"})
"""Options that most commands take, and other programs before the command."""

EPILOG = f"""\b
Exit codes: 0 fine, 1 a negative answer, 2 usage, 3 unreadable or missing input,
4 unverified, 70 a bug in Agent Trace, 130 interrupted.

\b
Environment: AGENT_TRACE_ROOT (the trace root), NO_COLOR.
Completion: eval "$(_AGENT_TRACE_COMPLETE=bash_source {PROGRAM})"  (or zsh_source, fish_source).
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


def run() -> NoReturn:
    """Runs the command line of this process and ends it with the exit code."""
    sys.exit(main(sys.argv[1:], owns_process=True))


def main(arguments: Sequence[str], *, owns_process: bool = False) -> int:
    """Runs one command and gives its exit code; nothing is raised.

    Args:
        arguments: the words behind the program's name.
        owns_process: whether the process may be ended in the midst of a query that nothing else stops.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    token = bounds.set(Bounds(_QUERY_SECONDS, _QUERY_MEMORY_BYTES, _end_in_query if owns_process else None))
    try:
        result = cli.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, PipeClosed):
        return _pipe_closed()
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _say(_usage_line(error), error.exit_code)
    except AgentTraceError as error:
        return _say(str(error), error.exit_code)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return _say(f"{(error.strerror or str(error)).lower()}{place}", EXIT_UNREADABLE)
    except Exception as error:  # noqa: BLE001
        return _own_bug(error, show="--debug" in arguments)
    finally:
        bounds.reset(token)
    return result if isinstance(result, int) else 0


def _end_in_query(limit_s: float | None) -> None:
    """End the process while the engine works on, after its deadline or after Ctrl-C (None)."""
    code = EXIT_INTERRUPTED
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K\x1b[?25h")  # the progress bar goes, the cursor comes back
    if limit_s is not None:
        remedy = "query less, or allow more time"
        code = _say(f"the query took longer than its {told_deadline(limit_s)}; {remedy}", EXIT_UNREADABLE)
    # without its exit hooks, which wait for the engine
    os._exit(code)


def _say(message: str, code: int) -> int:
    """One line on stderr, whatever the message holds."""
    line = " ".join(message.split())
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    click.echo(f"{PROGRAM}: {printable}", err=True)
    return code


def _usage_line(error: click.ClickException) -> str:
    """Click's message as one clause that ends with where to read on."""
    message = error.format_message().strip().rstrip(".")
    if not message[:2].isupper():  # the name of an argument stays as it is
        message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    name = error.option_name if isinstance(error, click.NoSuchOption) else ""
    if name in _OF_COMMANDS and context is not None and context.command is cli:
        return f"{name} comes after the command: {PROGRAM} COMMAND {name}"
    return f"{message}; see {context.command_path} --help" if context is not None else message


def _pipe_closed() -> int:
    """The reader of the pipe went away, as `head` does; what is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _own_bug(error: Exception, *, show: bool) -> int:
    """Tells an error that nobody foresaw and keeps its details in a file."""
    import tempfile
    import traceback

    details = "".join(traceback.format_exception(error))
    if show:
        click.echo(details, err=True, nl=False)
        return _say("this is a bug in Agent Trace, see the details above", EXIT_BUG)
    with tempfile.NamedTemporaryFile(
        "w",
        encoding="utf-8",
        errors="backslashreplace",
        prefix="agent-trace-bug-",
        suffix=".txt",
        delete=False,
    ) as file:
        file.write(f"agent-trace {__version__}, Python {sys.version}\n{details}")
    return _say(
        f"this is a bug in Agent Trace ({type(error).__name__}), the details are in {file.name}", EXIT_BUG
    )
