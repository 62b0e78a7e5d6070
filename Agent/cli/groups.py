"""Which commands there are, in the sections of the help; a module is loaded when one of its commands is used.

`main.py` hangs this group under its entry point; the modules named here hold the commands.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

__all__ = ["SECTIONS", "CommandEntry", "PipeClosed", "SectionedGroup"]


class CommandEntry(NamedTuple):
    """One command: its name, where it is defined (`module:attribute`) and its line in the help."""

    name: str
    target: str
    summary: str


def _section(title: str, package: str, *rows: tuple[str, str, str]) -> tuple[str, tuple[CommandEntry, ...]]:
    """A section whose commands stand in one package: the name, the module and the line of each."""
    where = f"Agent.cli.commands.{package}"
    return title, tuple(CommandEntry(name, f"{where}.{module}:{name}", line) for name, module, line in rows)


SECTIONS: tuple[tuple[str, tuple[CommandEntry, ...]], ...] = (
    _section(
        "Everyday",
        "everyday",
        ("demo", "demo", "Record a simulation, explain it, and replay it."),
        ("sessions", "sessions", "List the recorded sessions, newest last."),
        ("analyze", "analyze", "Report what happened in a session."),
        ("journey", "journey", "Show what one agent did, in order."),
        ("errors", "errors", "Group the errors of a session by pattern."),
        ("debug", "analyze", "Find what explains an issue described in words."),
        ("causes", "causes", "Show what led to an event, across agents."),
        ("diff", "diff", "Find where two runs differ, or compare their statistics."),
        ("tail", "tail", "Print the newest events, and follow them with -f."),
        ("play", "replay", "Step through a run as recorded, without your code."),
        ("replay", "replay", "Replay a run with your current code and compare the two."),
    ),
    _section(
        "Deeper",
        "deeper",
        ("learning", "learning", "Show how agents learned."),
        ("interactions", "interactions", "Show who interacted with whom, and what spread."),
        ("performance", "performance", "Show where the time goes."),
        ("state", "state", "Show an agent's state at a moment."),
        ("runs", "runs", "List the recorded runs, newest first, or show one."),
        ("resume", "fork", "Continue a recorded run from a point, as a new run."),
        ("fork", "fork", "Continue a recorded run from a point, with something changed."),
        ("golden", "golden", "Keep recorded runs as tests, and check them."),
        ("sql", "sql", "Query a session's events in SQL."),
        ("lnav", "lnav", "Read logs with lnav, the log file navigator."),
    ),
    _section(
        "Keeping",
        "keeping",
        ("seal", "seal", "Convert finished segments to Parquet."),
        ("recover", "maintenance", "Finish a session whose program was killed."),
        ("verify", "maintenance", "Check that a session is complete and unedited."),
        ("prove", "maintenance", "Prove that an event is part of a session."),
        ("prune", "maintenance", "Remove whole sessions by policy, oldest first."),
        ("erase", "erase", "Erase an agent, a run or a value, with proof."),
    ),
    _section(
        "Sharing",
        "sharing",
        ("serve", "serve", "Run the service, a shared database of runs."),
        ("keys", "keys", "Create, list and revoke API keys of the service."),
        ("ship", "ship", "Send live or finished sessions to a service."),
    ),
    _section(
        "Self",
        "self_check",
        ("doctor", "doctor", "Check that recording and replay work here."),
        ("config", "configuration", "Show the settings and where they come from."),
        ("version", "version", "Show the versions of Agent Trace, Python and libraries."),
    ),
)
"""The sections of the help with their commands."""

_BY_NAME = {entry.name: entry for _, entries in SECTIONS for entry in entries}


class PipeClosed(Exception):
    """The reader of stdout went away; click would make an exit code of it that looks like an answer."""


class SectionedGroup(click.Group):
    """A click group that shows its commands in sections and imports a command's module on use only."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all commands, in the order of the help."""
        return list(_BY_NAME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, None if there is none."""
        entry = _BY_NAME.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Click's own, which is told about a closed pipe under another name."""
        from Agent.cli.output.progress import shown

        try:
            with shown():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise PipeClosed from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with a suggestion in the error where a name is near."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _BY_NAME:
            from difflib import get_close_matches

            near = get_close_matches(name, _BY_NAME, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            ctx.fail(f"there is no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The sections of the help, from the table and not from the modules."""
        width = max(map(len, _BY_NAME))
        for title, entries in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])
