"""`lnav`: the format with which the log file navigator reads this record; `formats/agent_trace.json` is it.

Whoever reads logs with lnav already gets time, level, agent and every named field, in SQL too.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from Agent.cli import parameters, render
from Agent.errors import InputError

FORMAT_NAME: Final = "agent_trace"
"""The name of the format, which is that of its table in lnav's SQL too."""


def format_bytes() -> bytes:
    """The format file as it is shipped."""
    return files("Agent.cli").joinpath("formats", f"{FORMAT_NAME}.json").read_bytes()


def formats_directory() -> Path:
    """Where lnav looks for formats: in `~/.lnav` where that is there, else in its configuration directory."""
    home = Path.home()
    configured = os.environ.get("XDG_CONFIG_HOME")
    if not configured and (home / ".lnav").is_dir():
        return home / ".lnav" / "formats"
    return (Path(configured) if configured else home / ".config") / "lnav" / "formats"


@click.group(
    epilog=parameters.examples(
        "agent-trace lnav install",
        "lnav trace/session_20261120_103045/agents",
        "agent-trace tail -f --json | lnav",
    )
)
def lnav() -> None:
    """Read logs with lnav, the log file navigator.

    Once installed, the format shows time, level, agent and message of each line, also in rotated and
    compressed files. In lnav's SQL prompt the table is agent_trace.
    """


@lnav.command()
@click.option(
    "--to",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Another directory of formats.  [default: lnav's own]",
)
@parameters.json_option
def install(directory: Path | None, as_json: bool) -> None:
    """Write the format file to lnav's directory, and print its path.

    Replaces an older one. With --to, pass lnav the directory above `formats` by lnav -I.
    """
    target = (directory or formats_directory()) / FORMAT_NAME / f"{FORMAT_NAME}.json"
    written = format_bytes()
    try:
        is_current = target.is_file() and target.read_bytes() == written
        if not is_current:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_suffix(f".{os.getpid()}.part")
            beside.write_bytes(written)
            beside.replace(target)
    except OSError as error:
        raise InputError(
            f"the format cannot be installed: {error.strerror}",
            path=target,
            remedy="choose a writable directory with --to",
        ) from error
    if as_json:
        render.emit_json({"path": str(target), "format": FORMAT_NAME, "changed": not is_current})
        return
    render.emit(str(target))
    render.note("it was already installed" if is_current else "now try: lnav trace/session_*/agents")


@lnav.command()
def show() -> None:
    """Print the format file."""
    render.emit_bytes(format_bytes())
