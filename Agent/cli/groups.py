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


SECTIONS: tuple[tuple[str, tuple[CommandEntry, ...]], ...] = (
    (
        "Everyday",
        (
            CommandEntry(
                "demo",
                "Agent.cli.commands.everyday.demo:demo",
                "Record a simulation, explain it, and replay it.",
            ),
            CommandEntry(
                "sessions",
                "Agent.cli.commands.everyday.sessions:sessions",
                "List the recorded sessions, newest last.",
            ),
            CommandEntry(
                "analyze", "Agent.cli.commands.everyday.analyze:analyze", "Report what happened in a session."
            ),
            CommandEntry(
                "journey", "Agent.cli.commands.everyday.journey:journey", "Show what one agent did, in order."
            ),
            CommandEntry(
                "errors",
                "Agent.cli.commands.everyday.errors:errors",
                "Group the errors of a session by pattern.",
            ),
            CommandEntry(
                "debug",
                "Agent.cli.commands.everyday.analyze:debug",
                "Find what explains an issue described in words.",
            ),
            CommandEntry(
                "causes",
                "Agent.cli.commands.everyday.causes:causes",
                "Show what led to an event, across agents.",
            ),
            CommandEntry(
                "diff",
                "Agent.cli.commands.everyday.diff:diff",
                "Find where two runs differ, or compare their statistics.",
            ),
            CommandEntry(
                "tail",
                "Agent.cli.commands.everyday.tail:tail",
                "Print the newest events, and follow them with -f.",
            ),
            CommandEntry(
                "play",
                "Agent.cli.commands.everyday.replay:play",
                "Step through a run as recorded, without your code.",
            ),
            CommandEntry(
                "replay",
                "Agent.cli.commands.everyday.replay:replay",
                "Replay a run with your current code and compare the two.",
            ),
        ),
    ),
    (
        "Deeper",
        (
            CommandEntry(
                "learning", "Agent.cli.commands.deeper.learning:learning", "Show how agents learned."
            ),
            CommandEntry(
                "interactions",
                "Agent.cli.commands.deeper.interactions:interactions",
                "Show who interacted with whom, and what spread.",
            ),
            CommandEntry(
                "performance",
                "Agent.cli.commands.deeper.performance:performance",
                "Show where the time goes.",
            ),
            CommandEntry(
                "state", "Agent.cli.commands.deeper.state:state", "Show an agent's state at a moment."
            ),
            CommandEntry(
                "runs",
                "Agent.cli.commands.deeper.runs:runs",
                "List the recorded runs, newest first, or show one.",
            ),
            CommandEntry(
                "resume",
                "Agent.cli.commands.deeper.fork:resume",
                "Continue a recorded run from a point, as a new run.",
            ),
            CommandEntry(
                "fork",
                "Agent.cli.commands.deeper.fork:fork",
                "Continue a recorded run from a point, with something changed.",
            ),
            CommandEntry(
                "golden",
                "Agent.cli.commands.deeper.golden:golden",
                "Keep recorded runs as tests, and check them.",
            ),
            CommandEntry("sql", "Agent.cli.commands.deeper.sql:sql", "Query a session's events in SQL."),
            CommandEntry(
                "lnav", "Agent.cli.commands.deeper.lnav:lnav", "Read logs with lnav, the log file navigator."
            ),
        ),
    ),
    (
        "Keeping",
        (
            CommandEntry(
                "seal", "Agent.cli.commands.keeping.seal:seal", "Convert finished segments to Parquet."
            ),
            CommandEntry(
                "recover",
                "Agent.cli.commands.keeping.maintenance:recover",
                "Finish a session whose program was killed.",
            ),
            CommandEntry(
                "verify",
                "Agent.cli.commands.keeping.maintenance:verify",
                "Check that a session is complete and unedited.",
            ),
            CommandEntry(
                "prove",
                "Agent.cli.commands.keeping.maintenance:prove",
                "Prove that an event is part of a session.",
            ),
            CommandEntry(
                "prune",
                "Agent.cli.commands.keeping.maintenance:prune",
                "Remove whole sessions by policy, oldest first.",
            ),
            CommandEntry(
                "erase",
                "Agent.cli.commands.keeping.erase:erase",
                "Erase an agent, a run or a value, with proof.",
            ),
        ),
    ),
    (
        "Sharing",
        (
            CommandEntry(
                "serve",
                "Agent.cli.commands.sharing.serve:serve",
                "Run the service, a shared database of runs.",
            ),
            CommandEntry(
                "keys",
                "Agent.cli.commands.sharing.keys:keys",
                "Create, list and revoke API keys of the service.",
            ),
            CommandEntry(
                "ship", "Agent.cli.commands.sharing.ship:ship", "Send live or finished sessions to a service."
            ),
        ),
    ),
    (
        "Self",
        (
            CommandEntry(
                "doctor",
                "Agent.cli.commands.self_check.doctor:doctor",
                "Check that recording and replay work here.",
            ),
            CommandEntry(
                "config",
                "Agent.cli.commands.self_check.configuration:config",
                "Show the settings and where they come from.",
            ),
            CommandEntry(
                "version",
                "Agent.cli.commands.self_check.version:version",
                "Show the versions of Agent Trace, Python and libraries.",
            ),
        ),
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
